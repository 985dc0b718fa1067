/* Without etcd: this replica leads every role. It takes a new era of all of them in one
 * transaction, and looks now and then whether another one did the same since; then it leads nothing
 * until it is started anew, so that two of them do not take turns for ever.
 *
 *   TAKING -> HOLDING -> DEPOSED (or resigned)
 *
 * Postgres away: TAKING tries again at each tick; HOLDING goes on, since the fence decides anyway.
 */
#include <assert.h>

#include "common/base/log.h"
#include "common/base/mem.h"
#include "controlplane/leader/leader_internal.h"

#define CHECK_MS 3000U

enum alone_state { ALONE_TAKING, ALONE_HOLDING, ALONE_DEPOSED };

struct alone {
    struct leader *leader;
    enum alone_state state;
    uv_timer_t timer;
    bool working;                 /* A job runs; it alone writes found. */
    uint64_t found[LEADER_ROLES]; /* Of the job, as is first. */
    bool first[LEADER_ROLES];
    bool taking; /* What the job does. */
};

static enum leader_role role_of(struct str name)
{
    unsigned i = 0;
    while (i < LEADER_ROLES && !str_is(name, leader_role_name((enum leader_role)i)))
        i++;
    return (enum leader_role)i;
}

/* Worker thread. */
static int run_job(void *arg, struct pq_conn *c, struct err *err)
{
    struct alone *a = arg;
    struct pq_params p = {0};
    struct pq_result *r = NULL;
    const char *sql = "SELECT role, term, false FROM leader_fence";
    if (a->taking) {
        pq_params_text(&p, str_from(a->leader->holder));
        sql = "WITH old AS (SELECT role, term FROM leader_fence ORDER BY role FOR UPDATE) "
              "UPDATE leader_fence f SET etcd_era = etcd_era + 1, holder = $1, "
              "term = greatest((etcd_era + 1)::bigint << 40, f.term + 1) FROM old "
              "WHERE f.role = old.role RETURNING f.role, f.term, old.term = 0";
    }
    int rc = pq_conn_query(c, sql, &p, &r, err);
    for (int row = 0; rc == 0 && row < pq_result_rows(r); row++) {
        enum leader_role role = role_of(pq_result_text(r, row, 0));
        if (role < LEADER_ROLES) {
            a->found[role] = (uint64_t)pq_result_i64(r, row, 1);
            a->first[role] = pq_result_bool(r, row, 2);
        }
    }
    pq_result_destroy(r);
    return rc;
}

static void tick(struct alone *a);

static void on_timer_closed(uv_handle_t *handle)
{
    struct alone *a = handle->data;
    struct leader *l = a->leader;
    l->source_state = NULL;
    mem_free(a);
    leader_stopped(l);
}

static void note_held(struct alone *a)
{
    struct leader *l = a->leader;
    for (unsigned i = 0; i < LEADER_ROLES; i++) {
        if (a->found[i] > l->term[i] && l->term[i] != 0)
            leader_deposed(l, (enum leader_role)i, l->term[i]);
    }
}

static void note_taken(struct alone *a)
{
    a->state = ALONE_HOLDING;
    for (unsigned i = 0; i < LEADER_ROLES; i++)
        leader_set(a->leader, (enum leader_role)i, a->found[i], a->first[i]);
}

static void on_job(void *arg, int status, const struct err *err)
{
    struct alone *a = arg;
    a->working = false;
    if (a->leader->closing) {
        uv_close((uv_handle_t *)&a->timer, on_timer_closed);
        return;
    }
    if (status != 0) {
        log_event(LOG_WARN, "who leads is not known: Postgres does not answer",
                  LOG_TEXT_FIELD("error", err->message));
        return;
    }
    switch (a->state) {
    case ALONE_TAKING:
        note_taken(a);
        break;
    case ALONE_HOLDING:
        note_held(a);
        break;
    case ALONE_DEPOSED:
        break;
    }
}

static void tick(struct alone *a)
{
    if (a->working || a->state == ALONE_DEPOSED)
        return;
    a->taking = a->state == ALONE_TAKING;
    a->working = work_submit(a->leader->config.work, run_job, on_job, a) == 0;
}

static void on_timer(uv_timer_t *timer)
{
    tick(timer->data);
}

static int alone_start(struct leader *l, struct err *err)
{
    struct alone *a = mem_zalloc(sizeof *a);
    uint32_t every = l->config.check_ms != 0 ? l->config.check_ms : CHECK_MS;
    if (a == NULL)
        return err_set(err, ERR_NOMEM, "%s", err_text(ERR_NOMEM));
    a->leader = l;
    l->source_state = a;
    (void)uv_timer_init(l->loop, &a->timer);
    a->timer.data = a;
    (void)uv_timer_start(&a->timer, on_timer, every, every);
    tick(a);
    return 0;
}

static void alone_resign(struct leader *l)
{
    struct alone *a = l->source_state;
    if (a != NULL)
        a->state = ALONE_DEPOSED;
}

static void alone_stop(struct leader *l)
{
    struct alone *a = l->source_state;
    if (a == NULL)
        leader_stopped(l);
    else if (!a->working)
        uv_close((uv_handle_t *)&a->timer, on_timer_closed);
}

static bool alone_holds(const struct leader *l, enum leader_role role)
{
    (void)l;
    (void)role;
    return true;
}

static void alone_give_up(struct leader *l, enum leader_role role)
{
    struct alone *a = l->source_state;
    bool any = false;
    for (unsigned i = 0; i < LEADER_ROLES; i++)
        any = any || (i != (unsigned)role && l->term[i] != 0);
    if (!any)
        a->state = ALONE_DEPOSED;
}

const struct leader_source leader_alone = {
    .start = alone_start,
    .resign = alone_resign,
    .stop = alone_stop,
    .holds = alone_holds,
    .give_up = alone_give_up,
};
