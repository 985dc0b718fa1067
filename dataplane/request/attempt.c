/* The driver's side of attempts: whether there is another one, and what is due with time. */
#include "dataplane/request/attempt.h"

#include "common/base/clock.h"
#include "common/base/rand.h"
#include "dataplane/request/charge.h"
#include "dataplane/request/hedge.h"
#include "dataplane/request/relay.h"
#include "dataplane/request/steps.h"
#include "dataplane/request/ways.h"
#include "dataplane/request/wishes_apply.h"
#include "dataplane/translate/exchange.h"

#define DONE_LINGER_MS    1000U /* After its end mark a stream may take so long to end. */
#define DEADLINE_SLACK_MS 20U   /* Less is no time for another attempt. */

static bool past(uint64_t deadline_ms, uint64_t now_ms)
{
    return deadline_ms != 0 && now_ms >= deadline_ms;
}

static uint32_t attempts_max(const struct request *r)
{
    uint32_t retries = r->route != NULL ? r->route->retries : REQUEST_ATTEMPTS_MAX - 1;
    return 1 + (retries < REQUEST_ATTEMPTS_MAX - 1 ? retries : REQUEST_ATTEMPTS_MAX - 1);
}

/* A fault that may be gone the next moment at the same place. */
static bool may_pass(const struct attempt *a)
{
    switch (a->record->reason) {
    case RECORD_REASON_CONNECT:
    case RECORD_REASON_CUT:
        return true;
    case RECORD_REASON_STATUS:
        return a->status >= 500;
    case RECORD_REASON_OK:
    case RECORD_REASON_TLS:
    case RECORD_REASON_TIMEOUT:
    case RECORD_REASON_RATE_LIMITED:
    case RECORD_REASON_AUTH:
    case RECORD_REASON_PROTOCOL:
    case RECORD_REASON_CANCELLED:
    case RECORD_REASON_CLIENT_ERROR:
    case RECORD_REASON_ADDRESS:
    case RECORD_REASON_NODE_CRASH:
        break;
    }
    return false;
}

/* Opens the next attempt, its intent on disk; false: there is none. */
static bool open_next(struct request *r)
{
    struct attempt *a = &r->attempt;
    uint64_t now_ms = request_now_ms();
    if (r->fault != FAULT_NONE || past(r->deadline_ms, now_ms + DEADLINE_SLACK_MS) ||
        r->attempt_count >= attempts_max(r) || a->record->reason == RECORD_REASON_CANCELLED)
        return false;
    const bool unsaid = a->unsaid; /* Nobody was asked: it is no retry. */
    r->work->due = a->due;
    bool other =
        wishes_may_go_on(r) && (ways_is_refusal(a->due) ? attempt_pick_other(r) : attempt_pick(r));
    if (!other && !(may_pass(a) && wishes_may_repeat(r) && attempt_pick_again(r)))
        return false;
    if (!unsaid && !retry_budget_take(&r->env->shared->retries, now_ms))
        return false;
    if (r->charge != NULL && charge_take(r) != 0) /* Without money the chain ends. */
        return false;
    if (!other)
        r->retry_at_ms = now_ms + 1 + retry_backoff_ms(r->attempt_count - 1, rand_u64());
    attempt_open(r);
    if (spool_attempt(r->env->spool, r->intent, a->record, &r->position) != 0) {
        attempt_abandon(r);
        request_fail(r, FAULT_SPOOL);
        return false;
    }
    return true;
}

/* An answer that another model may better: the provider has refused what a list of the route is
 * for. false: what there is goes to the caller. */
static bool open_listed(struct request *r)
{
    struct attempt *a = &r->attempt;
    if (a->reason != RECORD_REASON_CLIENT_ERROR || a->due == SNAPSHOT_FALLBACK_ANY ||
        r->stream == STREAM_COMMITTED)
        return false;
    const uint32_t at = r->at_position;
    if (open_next(r))
        return true;
    r->at_position = at;
    return false;
}

/* All attempts failed: what the client is told. */
static enum step_result give_up(struct request *r)
{
    uint32_t limited = 0, auth = 0;
    enum record_reason last = RECORD_REASON_STATUS;
    for (uint32_t i = 0; i < r->attempt_count; i++) {
        last = r->attempts[i].reason;
        limited += last == RECORD_REASON_RATE_LIMITED;
        auth += last == RECORD_REASON_AUTH;
    }
    const struct upstream_target *t = r->attempt.target;
    if (r->attempt.unsaid) {
        r->detail.param = r->work->refusal.param;
        r->detail.message = r->work->refusal.message;
        return request_fail(r, FAULT_CAPABILITY);
    }
    if (limited > 0 && limited == r->attempt_count) {
        uint64_t wait = t != NULL ? endpoint_cooldown_ms(t->endpoint, request_now_ms()) : 1000;
        r->detail.wait_ms = (int64_t)wait;
        return request_fail(r, FAULT_UPSTREAM_RATE_LIMITED);
    }
    if (auth > 0 && auth == r->attempt_count)
        return request_fail(r, FAULT_UPSTREAM_AUTH);
    if (last == RECORD_REASON_TIMEOUT)
        return request_fail(r, FAULT_TIMEOUT);
    return request_fail(r, FAULT_UPSTREAM_FAILED);
}

/* In the caller's dialect, with the words of the provider. */
static enum step_result tell_error(struct request *r)
{
    struct tr_error error;
    attempt_read_error(r, &error);
    r->outcome = RECORD_STATUS_FAILED;
    r->detail.said = error.message;
    if (error.kind == TR_ERROR_CONTEXT_LENGTH)
        return request_fail(r, FAULT_CONTEXT_LENGTH);
    return request_fail(r, error.kind == TR_ERROR_CONTENT_POLICY ? FAULT_CONTENT_POLICY
                                                                 : FAULT_UPSTREAM_REFUSED);
}

/* A provider's 4xx goes to the caller as it is, if it is JSON (rule 0); else it is told in our
 * words: never HTML, never an echo. */
static enum step_result take_client_error(struct request *r)
{
    struct attempt *a = &r->attempt;
    struct str body = buf_str(&a->body);
    if (a->exchange != NULL)
        return tell_error(r);
    if (r->stream != STREAM_NONE || json_parse(&r->env->json, body, NULL) != 0 ||
        json_kind(&r->env->json, JSON_ROOT) != JSON_OBJECT)
        return request_fail(r, FAULT_UPSTREAM_REFUSED);
    r->pieces[0] = body;
    r->piece_count = 1;
    r->outcome = RECORD_STATUS_FAILED;
    return STEP_NEXT;
}

static enum step_result take(struct request *r)
{
    r->committed = true;
    if (r->attempt.reason == RECORD_REASON_CLIENT_ERROR)
        return take_client_error(r);
    if (r->attempt.record->model != r->work->decision.chosen)
        r->flags |= RECORD_FLAG_FALLBACK_SERVED;
    return STEP_NEXT;
}

enum step_result step_attempt(struct request *r)
{
    struct attempt *a = &r->attempt;
    if (a->call != NULL) {
        if (r->committed && a->record->model != r->work->decision.chosen)
            r->flags |= RECORD_FLAG_FALLBACK_SERVED;
        return r->committed ? STEP_NEXT : STEP_WAIT;
    }
    for (;;) {
        if (r->client_gone) {
            r->outcome = RECORD_STATUS_CANCELLED;
            if (!a->started)
                a->record->reason = RECORD_REASON_CANCELLED;
            return STEP_FAIL;
        }
        if (r->fault != FAULT_NONE &&
            !a->complete) { /* The body turned out wrong, or time is up. */
            if (!a->started)
                a->record->reason = RECORD_REASON_CANCELLED;
            return give_up(r);
        }
        if (r->retry_at_ms != 0 && r->retry_at_ms > request_now_ms()) {
            request_poll(r);
            return STEP_WAIT;
        }
        r->retry_at_ms = 0;
        if (!a->started) {
            a->started = true;
            if (attempt_start(r) == 0) {
                hedge_arm(r);
                return STEP_WAIT;
            }
        } else if (a->complete) {
            if (open_listed(r))
                continue;
            return a->record != NULL ? take(r) : give_up(r);
        }
        if (!open_next(r))
            return give_up(r);
    }
}

/* ---- the client ---- */

bool attempt_read_on(struct request *r)
{
    struct request_shared *shared = r->env->shared;
    struct attempt *a = &r->attempt;
    /* What has gone up whole may be thought about already, though nothing has come back. */
    bool taken = a->status == 200 || (a->status == 0 && a->target->origin->ops->sent(a->call));
    if (!taken || a->cancelled || a->target->deployment->provider->abort_stops_billing ||
        atomic_load_explicit(&shared->ending, memory_order_relaxed))
        return false;
    if (atomic_fetch_add(&shared->unseen, 1) >= shared->settings.unseen_max) {
        atomic_fetch_sub(&shared->unseen, 1);
        return false;
    }
    a->unseen = a->read_on = true;
    a->unseen_left = shared->settings.unseen_bytes;
    return true;
}

bool attempt_take_unseen(struct request *r, size_t bytes)
{
    struct attempt *a = &r->attempt;
    if (bytes > a->unseen_left) {
        attempt_stop(r, RECORD_REASON_CANCELLED);
        return false;
    }
    a->unseen_left -= (uint32_t)bytes;
    return true;
}

void attempt_leave_client(struct request *r)
{
    if (attempt_read_on(r)) {
        r->deadline_ms = request_now_ms() + r->env->shared->settings.unseen_ms;
        attempt_resume(r);
    } else {
        attempt_stop(r, RECORD_REASON_CANCELLED);
    }
}

void attempt_client_gone(struct request *r)
{
    if (hedge_of(r) != NULL)
        hedge_client_gone(r);
    if (r->attempt.call != NULL)
        attempt_leave_client(r);
    else if (r->retry_at_ms != 0)
        request_run(r);
}

void attempt_client_writable(struct request *r)
{
    attempt_resume(r);
}

/* ---- time ---- */

bool attempt_look(struct request *r, uint64_t deadline_ms, uint64_t now_ms)
{
    struct attempt *a = &r->attempt;
    if (a->call == NULL || a->cancelled)
        return false;
    if (atomic_load_explicit(&r->env->shared->ending, memory_order_relaxed)) {
        if (!a->unseen)
            request_fail(r, FAULT_UNAVAILABLE);
        attempt_stop(r, RECORD_REASON_CANCELLED);
        return false;
    }
    if (past(deadline_ms, now_ms)) {
        attempt_stop(r, a->unseen ? RECORD_REASON_CANCELLED : RECORD_REASON_TIMEOUT);
        return false;
    }
    if (a->reply.done && now_ms - a->last_ms >= DONE_LINGER_MS) {
        attempt_stop(r, RECORD_REASON_OK);
        return false;
    }
    uint32_t first_ms = a->target->deployment->provider->timeouts.first_content_ms;
    if (r->wants_stream && a->content_ns == 0 && now_ms - a->start_ns / 1000000 >= first_ms) {
        attempt_stop(r, RECORD_REASON_TIMEOUT);
        return false;
    }
    return true;
}

void attempt_tick(struct request *r, uint64_t now_ms)
{
    if (hedge_of(r) != NULL)
        hedge_tick(r, now_ms);
    if (attempt_look(r, r->deadline_ms, now_ms))
        relay_keep_alive(r, now_ms);
}
