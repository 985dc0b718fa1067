/* IDLE -> TURN (a worker, one policy after the other) -> IDLE. */
#include "controlplane/evidence/evidence.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "controlplane/rollout/store.h"

#define TICK_MS         300000U
#define TICKS_A_DRIFT   12 /* Every hour. */
#define TICKS_A_TRAIN   2  /* Every ten minutes. */
#define POLICIES_A_TURN 64

struct evidence {
    struct evidence_config config;
    uv_timer_t timer;
    bool running;
    bool closing;
    uint64_t ticks;
    struct evidence_stats stats;
    void (*close_cb)(void *arg);
    void *close_arg;
    /* Of the turn; the worker's while it runs. */
    struct leader_claim claim;
    const struct publish_set *set;
    struct evidence_policy policies[POLICIES_A_TURN];
    size_t count;
    unsigned parts;
    struct evidence_seen seen;
    uint64_t failed;
    char problem[640];
};

/* One policy that cannot be looked at does not keep the others from it; being deposed does. */
static int run_turn(void *arg, struct pq_conn *c, struct err *err)
{
    struct evidence *e = arg;
    for (size_t i = 0; i < e->count; i++) {
        int rc = evidence_turn(c, &e->claim, e->set, &e->policies[i], e->parts, clock_wall_us(),
                               &e->seen, err);
        if (pq_conn_in_transaction(c))
            pq_conn_attempt(c, "ROLLBACK");
        if (rc == 0)
            continue;
        e->failed++;
        snprintf(e->problem, sizeof e->problem, "%s: %s", e->policies[i].name,
                 err->message[0] != '\0' ? err->message : err_text(rc));
        if (rc == ERR_UNAVAILABLE || !pq_conn_is_usable(c) ||
            (rc == ERR_CONFLICT && leader_is_deposed(c, &e->claim)))
            return rc;
    }
    return 0;
}

static void on_closed(uv_handle_t *handle)
{
    struct evidence *e = handle->data;
    void (*cb)(void *) = e->close_cb;
    void *arg = e->close_arg;
    mem_free(e);
    if (cb != NULL)
        cb(arg);
}

static void on_turn(void *arg, int status, const struct err *err)
{
    struct evidence *e = arg;
    e->running = false;
    e->stats.turns++;
    publish_set_unref(e->set);
    e->set = NULL;
    if (status == ERR_CONFLICT)
        leader_deposed(e->config.leader, LEADER_TRAINER, e->claim.term);
    if (status != 0 || e->failed > 0) {
        e->stats.errors++;
        log_event(LOG_WARN, "policies were not all looked at",
                  LOG_TEXT_FIELD("error", e->failed > 0 ? e->problem : err->message));
    }
    e->stats.lambda_steps += e->seen.lambda_steps;
    e->stats.explore_steps += e->seen.explore_steps;
    e->stats.drifts += e->seen.drifts;
    e->stats.prints += e->seen.prints;
    e->stats.offsets += e->seen.offsets;
    e->stats.retrains += e->seen.retrains;
    if ((e->parts & EVIDENCE_DRIFT) != 0)
        e->stats.stability = e->seen.stability;
    if (e->seen.drifts > 0)
        log_event(LOG_WARN, "models or requests have changed", LOG_U64("count", e->seen.drifts));
    if (e->seen.retrains > 0)
        log_event(LOG_INFO, "training begins by itself", LOG_U64("count", e->seen.retrains));
    if (e->seen.lambda_steps + e->seen.explore_steps + e->seen.offsets > 0 &&
        e->config.on_published != NULL && !e->closing)
        e->config.on_published(e->config.arg);
    if (e->closing)
        uv_close((uv_handle_t *)&e->timer, on_closed);
}

static void on_timer(uv_timer_t *timer)
{
    struct evidence *e = timer->data;
    const struct publish_set *set = e->config.current(e->config.arg);
    if (e->running || e->closing || set == NULL ||
        !leader_get_claim(e->config.leader, LEADER_TRAINER, &e->claim))
        return;
    e->ticks++;
    e->parts = EVIDENCE_LAMBDA | EVIDENCE_EXPLORE |
               (e->ticks % TICKS_A_DRIFT == 1 ? EVIDENCE_DRIFT : 0U) |
               (e->ticks % TICKS_A_TRAIN == 0 ? EVIDENCE_RETRAIN : 0U);
    e->seen = (struct evidence_seen){0};
    e->failed = 0;
    e->count = 0;
    while (e->count < POLICIES_A_TURN &&
           e->config.policy(e->config.arg, e->count, &e->policies[e->count]))
        e->count++;
    if (e->count == 0)
        return;
    /* Before it is handed over: a worker may begin at once. */
    publish_set_ref(set);
    e->set = set;
    e->running = true;
    if (work_submit(e->config.work, run_turn, on_turn, e) == 0)
        return;
    publish_set_unref(set);
    e->set = NULL;
    e->running = false;
}

int evidence_start(uv_loop_t *loop, const struct evidence_config *config, struct evidence **out,
                   struct err *err)
{
    struct evidence *e = mem_zalloc(sizeof *e);
    if (e == NULL)
        return err_set(err, ERR_NOMEM, "%s", err_text(ERR_NOMEM));
    e->config = *config;
    uint32_t tick_ms = config->tick_ms != 0 ? config->tick_ms : TICK_MS;
    (void)uv_timer_init(loop, &e->timer);
    e->timer.data = e;
    (void)uv_timer_start(&e->timer, on_timer, tick_ms, tick_ms);
    *out = e;
    return 0;
}

struct evidence_stats evidence_get_stats(const struct evidence *e)
{
    return e->stats;
}

void evidence_close(struct evidence *e, void (*cb)(void *arg), void *arg)
{
    e->closing = true;
    e->close_cb = cb;
    e->close_arg = arg;
    (void)uv_timer_stop(&e->timer);
    if (!e->running)
        uv_close((uv_handle_t *)&e->timer, on_closed);
}

int evidence_start_rollout(void *arg, struct pq_conn *c, const struct publish_actor *actor,
                           struct str policy, uint64_t version, struct str verdict, struct err *err)
{
    struct rollout_plan plan;
    char subject[32], detail[160];
    int64_t id = 0, now_us = 0;
    uint64_t generation;
    (void)arg;
    plan_default(&plan);
    int rc = publish_begin(c, actor, err);
    if (rc == 0)
        rc = rollout_now(c, &now_us, err);
    if (rc == 0) {
        const struct rollout_new in = {
            .policy = policy, .candidate = version, .plan = &plan, .now_us = now_us};
        rc = rollout_create(c, actor, &in, &id, err);
    }
    snprintf(subject, sizeof subject, "%lld", (long long)id);
    snprintf(detail, sizeof detail, "{\"policy\":\"%.*s\",\"candidate\":%llu,\"verdict\":\"%.*s\"}",
             STR_ARG(str_slice(policy, 0, 64)), (unsigned long long)version,
             STR_ARG(str_slice(verdict, 0, 16)));
    if (rc == 0)
        rc = publish_commit(c, actor, STR("rollout.start"), str_from(subject), str_from(detail),
                            &generation, err);
    if (rc != 0)
        publish_abort(c);
    return rc;
}
