/* Elections over etcd. Usual path: the machine of election.h says what to ask, the client asks it,
 * the answer goes back into the machine; a role that is ours then is claimed in Postgres by a job,
 * which makes its term and deposes every earlier one; then it is told.
 *
 * Of a role: not ours -> CLAIMING (job) -> LED -> not ours, by the clock, by etcd, or by Postgres.
 *
 * Ways to fail: etcd away: what is led ends trust_ms after the last confirmed keep-alive was sent,
 * and is claimed again, under the same term, when the lease is confirmed after all. Postgres away:
 * nothing is claimed until it is back; what is led stays. The fence refuses the claim: etcd lost
 * its revisions and nobody raised etcd_era since (docs/operations.md): the role is laid down, and
 * tried again later. */
#include <assert.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "controlplane/leader/etcd.h"
#include "controlplane/leader/leader_internal.h"

#define TTL_MS    10000U
#define CLAIM_MS  1000U
#define REVOKE_MS 1000U
#define REVOKES   3U /* Another endpoint each time. */

struct elector;
struct claim {
    struct elector *elector;
    enum leader_role role;
    bool working;  /* A job runs; it alone writes term and first. */
    int64_t asked; /* The revision of the job. */
    uint64_t term;
    bool first;
    int64_t revision; /* Claimed; 0: none. */
    int64_t lease;    /* Under which: an etcd that lost its data gives the same revisions again. */
    int64_t asked_lease;
    uint64_t claimed_term;
    uint64_t again_ms;
};

struct elector {
    struct leader *leader;
    struct etcd *etcd;
    struct election machine;
    uv_timer_t timer;
    struct claim claims[LEADER_ROLES];
    unsigned jobs;
    unsigned revokes; /* How often the lease was given back; until etcd says that it has it. */
    bool revoking;
    bool stopping, etcd_closed, timer_closed;
};

static void pump(struct elector *e);

/* --- the claim in Postgres ----------------------------------------------------------------------
 */

/* Worker thread. */
static int run_claim(void *arg, struct pq_conn *c, struct err *err)
{
    struct claim *claim = arg;
    struct pq_params p = {0};
    struct pq_result *r = NULL;
    pq_params_i64(&p, claim->asked);
    pq_params_text(&p, str_from(claim->elector->leader->holder));
    pq_params_text(&p, str_from(leader_role_name(claim->role)));
    int rc = pq_conn_query(
        c,
        "WITH old AS (SELECT role, term FROM leader_fence WHERE role = $3 FOR UPDATE) "
        "UPDATE leader_fence f SET term = (etcd_era::bigint << 40) + $1, holder = $2 FROM old "
        "WHERE f.role = old.role AND (old.term < (etcd_era::bigint << 40) + $1 OR "
        "(old.term = (etcd_era::bigint << 40) + $1 AND f.holder = $2)) "
        "RETURNING f.term, old.term = 0",
        &p, &r, err);
    if (rc != 0)
        return rc;
    if (pq_result_rows(r) == 1) {
        claim->term = (uint64_t)pq_result_i64(r, 0, 0);
        claim->first = pq_result_bool(r, 0, 1);
    } else {
        rc = err_set(err, ERR_CONFLICT,
                     "the database knows a higher term: if etcd has lost its data, raise "
                     "leader_fence.etcd_era");
    }
    pq_result_destroy(r);
    return rc;
}

static void maybe_stopped(struct elector *e);

static void on_claimed(void *arg, int status, const struct err *err)
{
    struct claim *claim = arg;
    struct elector *e = claim->elector;
    uint64_t now_ms = clock_mono_ms();
    claim->working = false;
    e->jobs--;
    if (e->stopping) {
        maybe_stopped(e);
        return;
    }
    if (status == 0) {
        claim->revision = claim->asked;
        claim->lease = claim->asked_lease;
        claim->claimed_term = claim->term;
    } else {
        log_event(status == ERR_CONFLICT ? LOG_ERROR : LOG_WARN, "a role was won but not claimed",
                  LOG_TEXT_FIELD("role", leader_role_name(claim->role)),
                  LOG_TEXT_FIELD("error", err->message));
        claim->again_ms = now_ms + CLAIM_MS;
        if (status == ERR_CONFLICT)
            election_leave(&e->machine, claim->role, e->machine.config.ttl_ms, now_ms);
    }
    pump(e);
}

static void review(struct elector *e, struct claim *claim, uint64_t now_ms)
{
    int64_t owned = election_owned(&e->machine, claim->role, now_ms);
    bool led = owned != 0 && owned == claim->revision && e->machine.lease == claim->lease;
    leader_set(e->leader, claim->role, led ? claim->claimed_term : 0, claim->first);
    if (owned == 0 || led || claim->working || now_ms < claim->again_ms)
        return;
    claim->asked = owned;
    claim->asked_lease = e->machine.lease;
    claim->working = work_submit(e->leader->config.work, run_claim, on_claimed, claim) == 0;
    e->jobs += claim->working;
}

/* --- etcd ---------------------------------------------------------------------------------------
 */

static void on_answer(void *arg, const struct election_op *op, const struct election_answer *answer)
{
    struct elector *e = arg;
    if (e->stopping)
        return;
    election_answer(&e->machine, op, answer, clock_mono_ms());
    pump(e);
}

static void on_timer(uv_timer_t *timer)
{
    pump(timer->data);
}

/* At most one a turn; the others are weighed anew. */
static void share(struct elector *e, uint64_t now_ms)
{
    const struct leader_config *config = &e->leader->config;
    for (unsigned i = 0; i < LEADER_ROLES; i++) {
        enum leader_role role = (enum leader_role)i;
        if (!election_is_surplus(&e->machine, role, now_ms))
            continue;
        bool owned = election_owned(&e->machine, role, now_ms) != 0;
        if (owned && config->is_busy != NULL && config->is_busy(config->arg, role))
            continue;
        if (owned)
            log_event(LOG_INFO, "a role is given to a control plane that leads fewer",
                      LOG_TEXT_FIELD("role", leader_role_name(role)));
        election_leave(&e->machine, role, e->machine.config.poll_ms, now_ms);
        return;
    }
}

static void pump(struct elector *e)
{
    if (e->leader->resigned)
        return;
    struct election_op op;
    uint64_t now_ms = clock_mono_ms();
    while (election_next(&e->machine, now_ms, &op)) {
        int rc = etcd_ask(e->etcd, &op, e->machine.config.ttl_ms / 1000, e->leader->holder,
                          e->machine.config.answer_ms, on_answer, e);
        if (rc != 0) {
            const struct election_answer none = {.status = rc};
            election_answer(&e->machine, &op, &none, now_ms);
        }
    }
    share(e, now_ms);
    for (unsigned i = 0; i < LEADER_ROLES; i++)
        review(e, &e->claims[i], now_ms);
    (void)uv_timer_start(&e->timer, on_timer, election_wake_ms(&e->machine, now_ms) - now_ms, 0);
}

/* --- life ---------------------------------------------------------------------------------------
 */

/* Replicas with numbered names begin with different roles. */
static unsigned first_role(const char *holder)
{
    unsigned sum = 0;
    for (; *holder != '\0'; holder++)
        sum += (unsigned char)*holder;
    return sum;
}

static int elector_start(struct leader *l, struct err *err)
{
    uint32_t ttl_ms = l->config.ttl_ms != 0 ? l->config.ttl_ms : TTL_MS;
    const struct election_config config = election_config_of(ttl_ms, first_role(l->holder));
    const struct etcd_config etcd = {.endpoints = l->config.etcd,
                                     .ca_file = l->config.etcd_ca,
                                     .cert_file = l->config.etcd_cert,
                                     .key_file = l->config.etcd_key};
    struct elector *e = mem_zalloc(sizeof *e);
    if (e == NULL)
        return err_set(err, ERR_NOMEM, "%s", err_text(ERR_NOMEM));
    int rc = etcd_create(l->loop, &etcd, &e->etcd, err);
    if (rc != 0) {
        mem_free(e);
        err_wrap(err, "--etcd");
        return rc;
    }
    e->leader = l;
    l->source_state = e;
    for (unsigned i = 0; i < LEADER_ROLES; i++)
        e->claims[i] = (struct claim){.elector = e, .role = (enum leader_role)i};
    election_init(&e->machine, &config, clock_mono_ms());
    (void)uv_timer_init(l->loop, &e->timer);
    e->timer.data = e;
    pump(e);
    return 0;
}

static void maybe_stopped(struct elector *e)
{
    struct leader *l = e->leader;
    if (e->jobs > 0 || !e->etcd_closed || !e->timer_closed)
        return;
    l->source_state = NULL;
    mem_free(e);
    leader_stopped(l);
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct elector *e = handle->data;
    e->timer_closed = true;
    maybe_stopped(e);
}

static void on_etcd_closed(void *arg)
{
    struct elector *e = arg;
    e->etcd_closed = true;
    maybe_stopped(e);
}

static void on_revoked(void *arg, const struct election_op *op,
                       const struct election_answer *answer);

static bool give_back(struct elector *e)
{
    e->revoking = e->machine.session == SESSION_HELD && e->revokes < REVOKES &&
                  etcd_revoke(e->etcd, e->machine.lease, REVOKE_MS, on_revoked, e) == 0;
    e->revokes += e->revoking;
    return e->revoking;
}

static void on_revoked(void *arg, const struct election_op *op,
                       const struct election_answer *answer)
{
    struct elector *e = arg;
    (void)op;
    bool again = answer->status != 0 && give_back(e);
    e->revoking = again;
    if (e->stopping && !again)
        etcd_close(e->etcd, on_etcd_closed, e);
}

/* The lease is given back, so that the next ones need not wait for its end. */
static void elector_resign(struct leader *l)
{
    struct elector *e = l->source_state;
    if (e == NULL)
        return;
    uv_timer_stop(&e->timer);
    (void)give_back(e); /* If it cannot be, the others wait for its end. */
}

static void elector_stop(struct leader *l)
{
    struct elector *e = l->source_state;
    if (e == NULL) {
        leader_stopped(l);
        return;
    }
    e->stopping = true;
    uv_close((uv_handle_t *)&e->timer, on_timer_closed);
    if (!e->revoking)
        etcd_close(e->etcd, on_etcd_closed, e);
}

static bool elector_holds(const struct leader *l, enum leader_role role)
{
    const struct elector *e = l->source_state;
    int64_t owned = election_owned(&e->machine, role, clock_mono_ms());
    const struct claim *claim = &e->claims[role];
    return owned != 0 && owned == claim->revision && e->machine.lease == claim->lease;
}

static void elector_give_up(struct leader *l, enum leader_role role)
{
    struct elector *e = l->source_state;
    e->claims[role].revision = 0;
    election_leave(&e->machine, role, e->machine.config.ttl_ms, clock_mono_ms());
}

static void elector_get_stats(const struct leader *l, struct leader_stats *out)
{
    const struct elector *e = l->source_state;
    const struct etcd_stats s = etcd_stats(e->etcd);
    out->etcd_asked = s.asked;
    out->etcd_failed = s.failed;
}

const struct leader_source leader_etcd = {
    .start = elector_start,
    .resign = elector_resign,
    .stop = elector_stop,
    .holds = elector_holds,
    .give_up = elector_give_up,
    .get_stats = elector_get_stats,
};
