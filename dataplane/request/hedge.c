/* When it begins, who serves, and what becomes of the other.
 *
 * Usual path of a request that is hedged: armed when its first attempt has begun; the timer of the
 * worker finds it due and nothing of an answer there; ask() finds a target, the node's share and
 * the money, or is asked again later; a row is opened and it starts; one of the two decides it
 * (hedge_decide); the other's on_done ends it; the account waits for that (hedge_settled). */
#include "dataplane/request/hedge.h"

#include <assert.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "dataplane/limits/limits.h"
#include "dataplane/request/ask.h"
#include "dataplane/request/charge.h"
#include "dataplane/request/early.h"
#include "dataplane/request/steps.h"

#define HEDGES_KEPT  16U
#define TIMER_MS_MIN 5U /* What is due sooner is due together. */

/* Values of METER_HEDGES; told apart by address. */
static const char refused_nobody[] = "refused_nobody";
static const char refused_share[] = "refused_share";
static const char refused_budget[] = "refused_budget";
static const char refused_memory[] = "refused_memory";

static void count(struct request *r, const char *result)
{
    const struct str labels[] = {str_from(result)};
    metrics_inc(meter(&r->env->meters, METER_HEDGES, labels));
}

/* ---- places ---- */

void hedge_turn(struct request *r)
{
    struct hedge *h = r->work->hedge;
    const struct attempt at_hand = r->attempt;
    const struct attempt_words words = r->work->words;
    r->attempt = h->other;
    r->work->words = h->words;
    h->other = at_hand;
    h->words = words;
}

static bool take_memory(struct request *r)
{
    struct hedge *h = freelist_take(&r->env->hedges);
    if (h != NULL) {
        const size_t buffers = offsetof(struct hedge, other) + offsetof(struct attempt, reply);
        memset(h, 0, buffers);
    } else {
        h = mem_zalloc(sizeof *h);
        if (h == NULL)
            return false;
        attempt_init(&h->other);
    }
    r->work->hedge = h;
    return true;
}

void hedge_give(struct request *r)
{
    struct hedge *h = r->work->hedge;
    struct hedge_wait *w = &r->work->hedge_wait;
    if (w->at_ms != 0)
        list_remove(&w->link);
    if (w->refused != NULL)
        count(r, w->refused);
    w->at_ms = 0;
    w->refused = NULL;
    if (h == NULL)
        return;
    attempt_release(&h->other);
    if (r->env->hedges.count < HEDGES_KEPT) {
        freelist_put(&r->env->hedges, h);
    } else {
        attempt_deinit(&h->other);
        mem_free(h);
    }
    r->work->hedge = NULL;
}

void hedge_deinit(struct request_env *env)
{
    for (struct hedge *h; (h = freelist_take(&env->hedges)) != NULL;) {
        attempt_deinit(&h->other);
        mem_free(h);
    }
}

/* ---- the beginning ---- */

/* The first attempt is the only one, runs, and has shown nothing. */
static bool shows_nothing(const struct request *r)
{
    const struct attempt *a = &r->attempt;
    return a->call != NULL && !a->cancelled && !a->unseen && !a->reply.content && !r->committed &&
           r->attempt_count == 1 && !r->client_gone && r->fault == FAULT_NONE;
}

/* A pinned deployment is the only one that was asked for; a body of which a part has gone up
 * already is not there to go up twice. */
static bool may_begin(const struct request *r)
{
    const struct request_env *env = r->env;
    return !r->early && !r->path->free && r->work->pin_provider.len == 0 &&
           r->work->pin_name.len == 0 && !env->shedding && REQUEST_ATTEMPTS_MAX > 1 &&
           !atomic_load_explicit(&env->shared->ending, memory_order_relaxed) &&
           !queue_waits(&env->queue, r->route) && !queue_waits(&env->queue, r->attempt.model);
}

/* NULL: the second may begin, and is paid for; else why not now. */
static const char *refusal(struct request *r, uint64_t now_ms)
{
    struct request_work *w = r->work;
    if (!may_begin(r) || (w->next_target = attempt_pick_beside(r)) == NULL)
        return refused_nobody;
    if (!retry_budget_take_hedge(&r->env->shared->retries, r->route->hedge_share, now_ms))
        return refused_share;
    if (r->charge != NULL && charge_take_beside(r) != 0)
        return refused_budget;
    return NULL;
}

static bool start_other(struct request *r)
{
    attempt_open(r);
    r->attempt.record->flags |= RECORD_FLAG_HEDGE;
    if (spool_attempt(r->env->spool, r->intent, r->attempt.record, &r->position) != 0) {
        attempt_abandon(r);
        if (r->charge != NULL)
            charge_give_back(r);
        return false;
    }
    r->attempt.started = true;
    return attempt_start(r) == 0;
}

/* Memory comes last: what was taken for a second that does not begin goes back. */
static const char *ask(struct request *r)
{
    r->now_ns = clock_mono_ns();
    const char *refused = refusal(r, r->now_ns / 1000000);
    if (refused == NULL && !take_memory(r)) {
        if (r->charge != NULL)
            charge_give_back(r);
        refused = refused_memory;
    }
    return refused;
}

/* That nobody is there or no share is left may pass: it is asked again when the first has taken as
 * long again. So few wait for long that a share is left for the slowest. A budget that does not
 * hold two worst cases is not asked twice. */
static uint64_t again_ms(const struct request *r, const char *refused)
{
    if (refused != refused_nobody && refused != refused_share)
        return 0;
    const uint64_t now_ms = r->now_ns / 1000000, took_ms = now_ms - r->attempt.start_ns / 1000000;
    return now_ms + (took_ms > TIMER_MS_MIN ? took_ms : TIMER_MS_MIN);
}

/* When it is to be asked again; 0: never, it has begun or need not. */
static uint64_t begin(struct request *r)
{
    struct hedge_wait *w = &r->work->hedge_wait;
    if (!shows_nothing(r))
        return 0;
    w->refused = ask(r);
    if (w->refused != NULL)
        return again_ms(r, w->refused);
    hedge_turn(r);
    r->work->hedge->state = start_other(r) ? HEDGE_BOTH : HEDGE_OVER;
    hedge_turn(r); /* The first one stays at hand until something else is better. */
    ask_note(r);
    return 0;
}

/* ---- time ---- */

static void on_due(uv_timer_t *timer);

static void set_timer(struct request_env *env, uint64_t due_ms, uint64_t now_ms)
{
    const uint64_t wait_ms = due_ms > now_ms + TIMER_MS_MIN ? due_ms - now_ms : TIMER_MS_MIN;
    env->hedge_due_ms = due_ms;
    uv_timer_start(&env->hedge_timer, on_due, wait_ms, 0);
}

static void on_due(uv_timer_t *timer)
{
    struct request_env *env = container_of(timer, struct request_env, hedge_timer);
    const uint64_t now_ms = request_now_ms();
    uint64_t next_ms = UINT64_MAX;
    env->hedge_due_ms = 0;
    LIST_FOREACH_SAFE (it, tmp, &env->hedge_waits) {
        struct hedge_wait *w = container_of(it, struct hedge_wait, link);
        if (w->at_ms <= now_ms) /* Ends no request: no place in the list moves. */
            w->at_ms = begin(w->request);
        if (w->at_ms == 0)
            list_remove(&w->link);
        else if (w->at_ms < next_ms)
            next_ms = w->at_ms;
    }
    if (next_ms != UINT64_MAX)
        set_timer(env, next_ms, now_ms);
}

void hedge_arm_route(struct request *r)
{
    struct request_env *env = r->env;
    struct hedge_wait *w = &r->work->hedge_wait;
    const uint64_t now_ms = r->attempt.start_ns / 1000000;
    uint32_t after_ms = r->route->hedge_after_ms;
    if (after_ms == 0)
        after_ms = quantile_get(&r->attempt.target->endpoint->content[r->wants_stream]);
    if (after_ms == 0 || w->at_ms != 0 || r->early)
        return;
    w->request = r;
    w->at_ms = now_ms + after_ms;
    list_push_back(&env->hedge_waits, &w->link);
    if (env->hedge_due_ms == 0 || w->at_ms < env->hedge_due_ms)
        set_timer(env, w->at_ms, now_ms);
}

void hedge_tick(struct request *r, uint64_t now_ms)
{
    struct hedge *h = r->work->hedge;
    if (h->other.call == NULL)
        return;
    hedge_turn(r);
    (void)attempt_look(r, h->state == HEDGE_DECIDED ? h->until_ms : r->deadline_ms, now_ms);
    hedge_turn(r);
}

/* ---- who serves ---- */

/* The one that does not: nothing of it is a client's any more. It is read on where that costs
 * nothing more (F19), but only if it needs nothing of the request's, and if an answer may come
 * before its record (the last row is not known before). */
static void leave(struct request *r, struct hedge *h)
{
    struct attempt *a = &r->attempt;
    const struct request_settings *s = &r->env->shared->settings;
    const uint64_t now_ms = request_now_ms();
    a->unseen = true;
    if (!s->durability_host && a->target->origin->ops->sent(a->call) && attempt_read_on(r)) {
        h->until_ms = now_ms + s->unseen_ms;
        attempt_resume(r);
        return;
    }
    if (!a->cancelled && !a->reply.content) /* So long, at least, it would have taken. */
        quantile_observe_above(&a->target->endpoint->content[r->wants_stream],
                               (uint32_t)(now_ms - a->start_ns / 1000000));
    attempt_stop(r, RECORD_REASON_CANCELLED);
}

void hedge_decide(struct request *r)
{
    struct hedge *h = r->work->hedge;
    assert(h->state == HEDGE_BOTH && h->other.call != NULL);
    h->state = HEDGE_DECIDED;
    hedge_turn(r);
    leave(r, h);
    hedge_turn(r);
    ask_note(r);
}

void hedge_ended(struct request *r, bool faced)
{
    struct hedge *h = r->work->hedge;
    switch (h->state) {
    case HEDGE_BOTH:
        if (r->attempt.complete && !r->client_gone && r->fault == FAULT_NONE) {
            hedge_decide(r);
            break;
        }
        hedge_turn(r);
        h->state = HEDGE_OVER;
        ask_note(r);
        break;
    case HEDGE_DECIDED:
        if (!faced)
            break; /* Who serves has ended first. */
        hedge_turn(r);
        h->state = HEDGE_OVER;
        break;
    case HEDGE_OVER:
        break;
    }
}

void hedge_client_gone(struct request *r)
{
    struct hedge *h = r->work->hedge;
    if (h->state != HEDGE_BOTH)
        return;
    hedge_turn(r);
    attempt_leave_client(r);
    hedge_turn(r);
}

/* ---- the end ---- */

static int send_nowhere(void *client, const struct str *pieces, size_t count)
{
    (void)client;
    (void)pieces;
    (void)count;
    return 0;
}

static size_t none_queued(const void *client)
{
    (void)client;
    return 0;
}

static void release_nothing(void *client)
{
    (void)client;
}

static void done_already(void *client, enum client_end end)
{
    (void)client;
    (void)end;
}

static const struct client_ops nobody = {
    .send = send_nowhere,
    .queued = none_queued,
    .release_input = release_nothing,
    .done = done_already,
};

/* The client need not wait for what he does not see. What of the request is his is not looked at
 * any more. */
static void answer_client(struct request *r, struct hedge *h)
{
    const struct client_ops *client = r->client;
    void *client_arg = r->client_arg;
    report_answer(r);
    h->answered_ns = clock_mono_ns();
    if (r->limits != NULL)
        limits_answered(r->limits);
    r->client = &nobody;
    r->client_arg = NULL;
    r->head = NULL;
    r->body = STR_NULL;
    client->done(client_arg, request_client_end(r));
}

/* Whoever reads rows takes the last one for the answer. */
static void order_rows(struct request *r)
{
    struct record_attempt *last = &r->attempts[r->attempt_count - 1], *served = r->attempt.record;
    if (!r->committed || served == NULL || served == last)
        return;
    const struct record_attempt row = *served;
    memmove(served, served + 1, (size_t)(last - served) * sizeof *last);
    *last = row;
    r->attempt.record = last;
}

bool hedge_settled(struct request *r)
{
    struct hedge *h = r->work->hedge;
    if (h->other.call != NULL) {
        if (h->other.read_on && h->answered_ns == 0 && !r->client_gone)
            answer_client(r, h);
        return false;
    }
    const struct record_attempt *row = r->attempt.record;
    count(r, !r->committed || row == NULL            ? "failed"
             : (row->flags & RECORD_FLAG_HEDGE) != 0 ? "won"
                                                     : "lost");
    order_rows(r);
    return true;
}
