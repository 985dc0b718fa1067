/* One job at a time: list, look, write what waits; then the loop tells nodes and logs. While
 * Postgres is away the jobs fail, nobody is watched any more, and nodes go back to stable when
 * their ttl ends: which is what is to happen to a canary that nobody looks at. */
#include "controlplane/rollout/controller.h"

#include <assert.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/list.h"
#include "common/base/log.h"
#include "common/base/mem.h"

#define TICK_MS        1000U
#define FOLLOWER_TICKS 5U  /* Who does not lead only reads what is watched. */
#define WATCHED_S      60  /* A look is as good as a watch for so long. */
#define MORE_MAX       20U /* Folds of a backlog in one job. */
#define LOG_AGAIN_MS   60000U
#define SWEEP_MS       600000U /* How often rows that are kept no longer are looked for. */

struct job {
    struct leader_claim claim; /* term 0: not the leader. */
    struct aborts aborts;      /* A copy. */
    int64_t done[ABORTS_MAX];  /* Written, or pointless. */
    size_t done_count;
    uint64_t watched[ROLLOUT_ACTIVE_MAX];
    size_t watched_count;
    size_t active;
    struct look_result results[ROLLOUT_ACTIVE_MAX];
    size_t result_count;
    int look_status; /* First error of a look; the others were looked at all the same. */
    struct err look_err;
    uint64_t looks, failed;
    struct record_cache *cache; /* Of the controller; one job runs at a time. */
    struct siphash_key draw_key;
    uint64_t replayed, differ, differ_id;
    const char *differ_field;
    bool sweeps; /* Also removes what is kept no longer. */
    bool published;
    bool deposed;
};

struct controller {
    uv_loop_t *loop;
    struct controller_config config;
    uv_timer_t timer;
    struct aborts aborts;
    struct job job;
    struct record_cache cache;
    bool busy;
    bool closing;
    unsigned ticks;
    uint64_t logged_ms;
    uint64_t swept_ms;
    struct controller_stats stats;
    void (*close_cb)(void *arg);
    void *close_arg;
};

/* --- on a worker -------------------------------------------------------------------------------
 */

static int list_due(struct pq_conn *c, struct job *job, int64_t ids[ROLLOUT_ACTIVE_MAX],
                    size_t *out_count, struct err *err)
{
    struct pq_params p = {0};
    struct pq_result *r = NULL;
    pq_params_i64(&p, WATCHED_S);
    pq_params_i64(&p, ROLLOUT_ACTIVE_MAX);
    int rc =
        pq_conn_query(c,
                      "SELECT id, watched_at > now() - $1::bigint * interval '1 second', "
                      "watched_at <= now() - (cfg ->> 'bucket')::interval OR expires <= now(), "
                      "state <> 'halted' "
                      "FROM rollout WHERE ended IS NULL ORDER BY id LIMIT $2",
                      &p, &r, err);
    if (rc != 0)
        return rc;
    job->active = (size_t)pq_result_rows(r);
    job->watched_count = *out_count = 0;
    for (int i = 0; i < pq_result_rows(r); i++) {
        if (pq_result_bool(r, i, 1) && pq_result_bool(r, i, 3))
            job->watched[job->watched_count++] = (uint64_t)pq_result_i64(r, i, 0);
        if (pq_result_bool(r, i, 2))
            ids[(*out_count)++] = pq_result_i64(r, i, 0);
    }
    pq_result_destroy(r);
    return 0;
}

static void write_aborts(struct job *job, struct pq_conn *c)
{
    for (size_t i = 0; i < job->aborts.count; i++) {
        const struct abort_wish *w = &job->aborts.item[i];
        const struct publish_actor actor = {.name = str_from(w->actor),
                                            .reason = str_from(w->reason)};
        struct look_result result;
        struct err err = {0};
        int rc =
            rollout_command(c, &actor, w->id, ROLLOUT_COMMAND_ROLLBACK, w->ts_us, &result, &err);
        if (rc == 0)
            job->published = true;
        if (rc == 0 || rc == ERR_CONFLICT || rc == ERR_NOT_FOUND)
            job->done[job->done_count++] = w->id;
    }
}

/* Whether it can be asked is no reason not to look. */
static void replay(struct job *job, struct pq_conn *c, int64_t id, struct replay_result *out)
{
    struct err err = {0};
    if (rollout_replay(c, id, job->cache, job->draw_key, out, &err) != 0)
        return;
    job->replayed += out->same + out->differ;
    job->differ += out->differ;
    if (out->differ > 0) {
        job->differ_id = (uint64_t)id;
        job->differ_field = out->field;
    }
}

static void look_at(struct job *job, struct pq_conn *c, int64_t id)
{
    struct look_result result = {.more = true};
    struct replay_result replayed = {0};
    replay(job, c, id, &replayed);
    for (unsigned i = 0; i < MORE_MAX && result.more && !result.ended && !job->deposed; i++) {
        struct err err = {0};
        int rc = rollout_look(c, &job->claim, id, 0, i == 0 ? &replayed : NULL, &result, &err);
        job->looks++;
        if (rc != 0) {
            job->failed++;
            job->deposed = rc == ERR_CONFLICT && leader_is_deposed(c, &job->claim);
            if (job->look_status == 0) {
                job->look_status = rc;
                job->look_err = err;
            }
            return;
        }
        job->published = job->published || result.generation != 0;
        if (result.edge.changes || result.ended || i == 0)
            job->results[job->result_count] = result;
        else
            job->results[job->result_count].rows += result.rows;
    }
    job->result_count++;
}

/* Rows have been folded long since; the cells and the events stay. A part at a time. */
static void sweep(const struct job *job, struct pq_conn *c)
{
    struct err ignored = {0};
    int rc = pq_conn_script(c, "BEGIN", &ignored);
    if (rc == 0)
        rc = leader_fence(c, &job->claim, &ignored);
    if (rc == 0)
        rc = pq_conn_script(
            c,
            "DELETE FROM canary_obs WHERE ctid = ANY (ARRAY(SELECT ctid FROM canary_obs WHERE "
            "bucket < now() - interval '30 days' LIMIT 20000)); "
            "DELETE FROM canary_unit WHERE ctid = ANY (ARRAY(SELECT u.ctid FROM rollout r JOIN "
            "canary_unit u ON u.rollout_id = r.id WHERE r.ended < now() - interval '30 days' "
            "LIMIT 20000)); COMMIT",
            &ignored);
    if (rc != 0)
        pq_conn_attempt(c, "ROLLBACK"); /* The next time will do. */
}

static int run_job(void *arg, struct pq_conn *c, struct err *err)
{
    struct job *job = arg;
    int64_t due[ROLLOUT_ACTIVE_MAX];
    size_t due_count = 0;
    write_aborts(job, c);
    if (job->sweeps)
        sweep(job, c);
    int rc = list_due(c, job, due, &due_count, err);
    if (rc != 0 || job->claim.term == 0 || due_count == 0)
        return rc;
    for (size_t i = 0; i < due_count && !job->deposed; i++)
        look_at(job, c, due[i]);
    return list_due(c, job, due, &due_count, err); /* What is watched now. */
}

/* --- on the loop -------------------------------------------------------------------------------
 */

static void count_edge(struct controller_stats *stats, enum rollout_state state)
{
    switch (state) {
    case ROLLOUT_STATE_SHADOW:
    case ROLLOUT_STATE_CANARY:
    case ROLLOUT_STATE_PROMOTED:
        stats->forward++;
        break;
    case ROLLOUT_STATE_HOLD:
        stats->held++;
        break;
    case ROLLOUT_STATE_HALTED:
        stats->halted++;
        break;
    case ROLLOUT_STATE_ROLLED_BACK:
        stats->rolled_back++;
        break;
    }
}

static void tell_edge(struct controller *c, const struct look_result *r)
{
    c->stats.rows += r->rows;
    if (!r->edge.changes) {
        if (r->ended && r->is_override)
            log_event(LOG_WARN, "override ended", LOG_TEXT_FIELD("policy", r->policy),
                      LOG_I64("rollout", r->id));
        return;
    }
    enum rollout_state state = r->edge.to.state;
    count_edge(&c->stats, state);
    /* Sooner than the generation gets there, and for good. */
    if (state == ROLLOUT_STATE_ROLLED_BACK && c->config.on_abort != NULL)
        c->config.on_abort(c->config.arg, (uint64_t)r->id);
    log_event(state == ROLLOUT_STATE_CANARY || state == ROLLOUT_STATE_PROMOTED ||
                      state == ROLLOUT_STATE_SHADOW
                  ? LOG_INFO
                  : LOG_WARN,
              "rollout moved", LOG_TEXT_FIELD("policy", r->policy), LOG_I64("rollout", r->id),
              LOG_STR("from", rollout_state_name(r->from.state)),
              LOG_STR("to", rollout_state_name(state)), LOG_I64("stage", r->edge.to.stage),
              LOG_STR("reason", rollout_reason_name(r->edge.reason)),
              LOG_STR("metric", r->edge.reason == ROLLOUT_REASON_BREACH
                                    ? guard_metric_name(r->edge.metric)
                                    : STR("")));
}

static void log_failure(struct controller *c, const char *text)
{
    uint64_t now = clock_mono_ms();
    if (c->logged_ms != 0 && now - c->logged_ms < LOG_AGAIN_MS)
        return;
    c->logged_ms = now;
    log_event(LOG_WARN, "rollouts not looked at", LOG_TEXT_FIELD("error", text));
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct controller *c = handle->data;
    void (*cb)(void *) = c->close_cb;
    void *arg = c->close_arg;
    record_cache_deinit(&c->cache);
    mem_free(c);
    cb(arg);
}

static void maybe_gone(struct controller *c)
{
    if (c->closing && !c->busy)
        uv_close((uv_handle_t *)&c->timer, on_timer_closed);
}

static void on_job(void *arg, int status, const struct err *err)
{
    struct controller *c = container_of(arg, struct controller, job);
    struct job *job = &c->job;
    c->busy = false;
    for (size_t i = 0; i < job->done_count; i++)
        aborts_remove(&c->aborts, job->done[i]);
    for (size_t i = 0; i < job->result_count; i++)
        tell_edge(c, &job->results[i]);
    c->stats.looks += job->looks;
    c->stats.failed_looks += job->failed;
    c->stats.replayed += job->replayed;
    c->stats.replay_differs += job->differ;
    if (job->differ > 0)
        log_event(LOG_ERROR, "decisions of a candidate do not come out again",
                  LOG_U64("rollout", job->differ_id), LOG_U64("decisions", job->differ),
                  LOG_TEXT_FIELD("field", job->differ_field));
    if (job->looks > job->failed)
        c->stats.last_look_wall_s = (uint64_t)(clock_wall_us() / 1000000);
    if (job->deposed)
        leader_deposed(c->config.leader, LEADER_ROLLOUT, job->claim.term);
    else if (job->look_status != 0)
        log_failure(c, job->look_err.message);
    if (status == 0) {
        c->stats.active = job->active;
        c->stats.watched = job->watched_count;
        if (!c->closing)
            c->config.on_watch(c->config.arg, job->watched, job->watched_count);
    } else if (status != ERR_CANCELED) {
        c->stats.watched = 0;
        log_failure(c, err->message);
        if (!c->closing)
            c->config.on_watch(c->config.arg, NULL, 0);
    }
    if (job->published && !c->closing)
        c->config.on_published(c->config.arg);
    maybe_gone(c);
}

static void on_tick(uv_timer_t *timer)
{
    struct controller *c = timer->data;
    struct leader_claim claim = {.term = 0};
    bool leads = leader_get_claim(c->config.leader, LEADER_ROLLOUT, &claim);
    if (c->busy || c->closing || (!leads && ++c->ticks % FOLLOWER_TICKS != 0))
        return;
    memset(&c->job, 0, sizeof c->job);
    if (leads) {
        uint64_t now = clock_mono_ms();
        c->job.claim = claim;
        c->job.sweeps = c->swept_ms == 0 || now - c->swept_ms > SWEEP_MS;
        c->swept_ms = c->job.sweeps ? now : c->swept_ms;
    }
    c->job.aborts = c->aborts;
    c->job.cache = &c->cache;
    c->job.draw_key = c->config.draw_key;
    if (work_submit(c->config.work, run_job, on_job, &c->job) == 0)
        c->busy = true;
}

int controller_create(uv_loop_t *loop, const struct controller_config *config,
                      struct controller **out_controller, struct err *err)
{
    struct controller *c = mem_zalloc(sizeof *c);
    if (c == NULL)
        return err_set(err, ERR_NOMEM, "%s", err_text(ERR_NOMEM));
    c->loop = loop;
    c->config = *config;
    int rc = aborts_load(&c->aborts, config->state_dir, err);
    if (rc != 0) {
        mem_free(c);
        return rc;
    }
    uint32_t tick_ms = config->tick_ms == 0 ? TICK_MS : config->tick_ms;
    uv_timer_init(loop, &c->timer);
    c->timer.data = c;
    uv_timer_start(&c->timer, on_tick, tick_ms, tick_ms);
    for (size_t i = 0; i < c->aborts.count; i++)
        config->on_abort(config->arg, (uint64_t)c->aborts.item[i].id);
    *out_controller = c;
    return 0;
}

void controller_close(struct controller *c, void (*cb)(void *arg), void *arg)
{
    assert(!c->closing);
    c->closing = true;
    c->close_cb = cb;
    c->close_arg = arg;
    uv_timer_stop(&c->timer);
    maybe_gone(c);
}

int controller_abort(struct controller *c, const struct abort_wish *wish, struct err *err)
{
    c->config.on_abort(c->config.arg, (uint64_t)wish->id);
    if (c->config.on_wish != NULL)
        c->config.on_wish(c->config.arg, wish);
    return aborts_add(&c->aborts, wish, err);
}

void controller_hear(struct controller *c, const struct abort_wish *wish)
{
    struct err err = {0};
    if (c->closing)
        return;
    c->config.on_abort(c->config.arg, (uint64_t)wish->id);
    if (aborts_add(&c->aborts, wish, &err) != 0)
        log_event(LOG_WARN,
                  "an abort of another control plane is not kept: it is for that one to "
                  "write",
                  LOG_I64("rollout", wish->id), LOG_TEXT_FIELD("error", err.message));
}

void controller_settle(struct controller *c, int64_t id)
{
    aborts_remove(&c->aborts, id);
}

struct controller_stats controller_stats(const struct controller *c)
{
    struct controller_stats stats = c->stats;
    stats.aborts_waiting = c->aborts.count;
    return stats;
}
