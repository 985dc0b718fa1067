/* Roles and who is told. Terms come from the source; a change is told from an async callback, so
 * that nobody is called from inside his own call. */
#include "controlplane/leader/leader.h"

#include <assert.h>
#include <string.h>

#include "common/base/log.h"
#include "common/base/mem.h"
#include "controlplane/leader/leader_internal.h"

#define LEADER_IDLE_MS "3000"

static const char *const role_names[LEADER_ROLES] = {
    [LEADER_TRAINER] = "trainer",
    [LEADER_ROLLOUT] = "rollout",
    [LEADER_RATES] = "rates",
    [LEADER_KEEPER] = "keeper",
};

const char *leader_role_name(enum leader_role role)
{
    assert(role < LEADER_ROLES);
    return role_names[role];
}

int leader_fence(struct pq_conn *c, const struct leader_claim *claim, struct err *err)
{
    struct pq_params p = {0};
    struct pq_result *r = NULL;
    pq_params_i64(&p, (int64_t)claim->term);
    pq_params_text(&p, claim->holder.data == NULL ? STR("") : claim->holder);
    pq_params_text(&p, str_from(leader_role_name(claim->role)));
    /* A leader that is stopped in here holds the row; its successor must not wait for its return.
     */
    int rc = pq_conn_query(c,
                           "WITH s AS (SELECT set_config('idle_in_transaction_session_timeout', "
                           "'" LEADER_IDLE_MS "', true)) "
                           "UPDATE leader_fence SET term = $1, holder = $2 FROM s "
                           "WHERE role = $3 AND (term < $1 OR (term = $1 AND holder = $2))",
                           &p, &r, err);
    if (rc != 0)
        return rc;
    bool fenced = claim->term == 0 || pq_result_affected(r) == 0;
    pq_result_destroy(r);
    return fenced
               ? err_set(err, ERR_CONFLICT,
                         "another control plane leads '%s' now; this one may change nothing there",
                         leader_role_name(claim->role))
               : 0;
}

int leader_check(struct pq_conn *c, const struct leader_claim *claim, struct err *err)
{
    int rc = pq_conn_script(c, "BEGIN", err);
    if (rc == 0)
        rc = leader_fence(c, claim, err);
    if (rc == 0)
        return pq_conn_script(c, "COMMIT", err);
    pq_conn_attempt(c, "ROLLBACK");
    return rc;
}

bool leader_is_deposed(struct pq_conn *c, const struct leader_claim *claim)
{
    struct err ignored = {0};
    return leader_check(c, claim, &ignored) == ERR_CONFLICT;
}

static void on_changed(uv_async_t *async)
{
    struct leader *l = async->data;
    for (unsigned i = 0; i < LEADER_ROLES && !l->closing; i++) {
        enum leader_role role = (enum leader_role)i;
        uint64_t term = l->term[i];
        if (l->told[i] == term)
            continue;
        l->told[i] = term;
        log_event(LOG_INFO, term != 0 ? "leads a role" : "leads a role no more",
                  LOG_TEXT_FIELD("role", leader_role_name(role)), LOG_U64("term", term));
        if (l->config.on_change != NULL)
            l->config.on_change(l->config.arg, role, term);
    }
}

void leader_set(struct leader *l, enum leader_role role, uint64_t term, bool first)
{
    if (l->term[role] == term)
        return;
    if (l->resigned && term != 0)
        return; /* Found by a job that was under way. */
    l->term[role] = term;
    l->first[role] = first;
    (void)uv_async_send(&l->changed);
}

uint64_t leader_term(const struct leader *l, enum leader_role role)
{
    if (l->closing || l->term[role] == 0 || !l->source->holds(l, role))
        return 0;
    return l->term[role];
}

bool leader_get_claim(const struct leader *l, enum leader_role role, struct leader_claim *out_claim)
{
    uint64_t term = leader_term(l, role);
    if (term == 0)
        return false;
    *out_claim = (struct leader_claim){.role = role, .term = term, .holder = str_from(l->holder)};
    return true;
}

void leader_deposed(struct leader *l, enum leader_role role, uint64_t term)
{
    if (l->closing || term == 0)
        return;
    bool ends = l->term[role] == term;
    l->deposed[role]++;
    log_event(LOG_WARN,
              ends ? "another control plane took a role over"
                   : "a write under an earlier term was refused",
              LOG_TEXT_FIELD("role", leader_role_name(role)), LOG_U64("term", term));
    if (!ends)
        return;
    l->source->give_up(l, role);
    leader_set(l, role, 0, false);
}

struct leader_stats leader_get_stats(const struct leader *l)
{
    struct leader_stats stats = {0};
    if (!l->closing && l->source->get_stats != NULL)
        l->source->get_stats(l, &stats);
    memcpy(stats.deposed, l->deposed, sizeof stats.deposed);
    return stats;
}

bool leader_is_first(const struct leader *l, enum leader_role role)
{
    return l->term[role] != 0 && l->first[role];
}

int leader_create(uv_loop_t *loop, const struct leader_config *config, struct leader **out_leader,
                  struct err *err)
{
    struct leader *l = mem_zalloc(sizeof *l);
    if (l == NULL)
        return err_set(err, ERR_NOMEM, "%s", err_text(ERR_NOMEM));
    l->loop = loop;
    l->config = *config;
    l->source = config->etcd != NULL && config->etcd[0] != '\0' ? &leader_etcd : &leader_alone;
    if (!str_copy(str_from(config->holder), l->holder, sizeof l->holder) || l->holder[0] == '\0') {
        mem_free(l);
        return err_set(err, ERR_INVALID, "a replica's id has 1 to %d bytes",
                       LEADER_HOLDER_BYTES - 1);
    }
    (void)uv_async_init(loop, &l->changed, on_changed);
    l->changed.data = l;
    int rc = l->source->start(l, err);
    if (rc != 0) {
        leader_close(l, NULL, NULL);
        return rc;
    }
    *out_leader = l;
    return 0;
}

static void on_changed_closed(uv_handle_t *handle)
{
    struct leader *l = handle->data;
    void (*cb)(void *) = l->close_cb;
    void *arg = l->close_arg;
    mem_free(l);
    if (cb != NULL)
        cb(arg);
}

void leader_resign(struct leader *l)
{
    if (l->closing || l->resigned)
        return;
    l->resigned = true;
    for (unsigned i = 0; i < LEADER_ROLES; i++)
        leader_set(l, (enum leader_role)i, 0, false);
    l->source->resign(l);
}

void leader_stopped(struct leader *l)
{
    assert(l->closing);
    uv_close((uv_handle_t *)&l->changed, on_changed_closed);
}

void leader_close(struct leader *l, void (*cb)(void *arg), void *arg)
{
    assert(!l->closing);
    leader_resign(l);
    l->closing = true;
    l->close_cb = cb;
    l->close_arg = arg;
    l->source->stop(l);
}
