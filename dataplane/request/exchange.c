/* One exchange with a deployment: the request goes out in spans of the caller's body; the head says
 * what the rest is for; a whole reply is gathered, a stream goes to relay piece by piece; on_done
 * says how it ended, which is judged once (judge.h). */
#include <assert.h>
#include <string.h>

#include "common/base/clock.h"
#include "dataplane/request/ask.h"
#include "dataplane/request/attempt.h"
#include "dataplane/request/charge.h"
#include "dataplane/request/early.h"
#include "dataplane/request/hedge.h"
#include "dataplane/request/judge.h"
#include "dataplane/request/relay.h"
#include "dataplane/request/steps.h"
#include "dataplane/request/ways.h"
#include "dataplane/request/wishes_apply.h"
#include "dataplane/translate/exchange.h"
#include "dataplane/upstream/resets.h"

#define REPLY_BYTES_MAX (16U << 20)
#define ERROR_BYTES_MAX 65536U
#define BODY_KEPT_BYTES 16384U
#define STALE_MS_MAX    1000U /* Longer than any round trip. */

static const struct transport_callbacks callbacks;

void attempt_init(struct attempt *a)
{
    if (a->body.max == 0)
        buf_init(&a->body, REPLY_BYTES_MAX);
}

static void drop_exchange(struct attempt *a)
{
    if (a->exchange == NULL)
        return;
    tr_exchange_destroy(a->exchange);
    a->exchange = NULL;
}

void attempt_release(struct attempt *a)
{
    assert(a->call == NULL);
    drop_exchange(a);
    if (a->reply.end.cap > BODY_KEPT_BYTES)
        provider_reply_deinit(&a->reply);
    if (a->body.cap > BODY_KEPT_BYTES)
        attempt_release_body(a);
}

void attempt_release_body(struct attempt *a)
{
    buf_deinit(&a->body);
    buf_init(&a->body, REPLY_BYTES_MAX);
}

void attempt_deinit(struct attempt *a)
{
    provider_reply_deinit(&a->reply);
    buf_deinit(&a->body);
}

bool attempt_running(const struct request *r)
{
    return r->attempt.call != NULL;
}

void attempt_note_call(struct request *r)
{
    const struct call *call = &r->work->call;
    r->tokens_in = call->tokens_in;
    r->wants_stream = call->stream;
    r->wants_price = r->work->wishes != NULL && r->work->wishes->include_cost;
    r->wants_usage = call->include_usage || r->wants_price;
    r->wants_cost = r->work->steering.usage;
    r->attempt.reply.shapes = r->wants_stream ? &r->env->shapes : &r->env->reply_shapes;
}

void attempt_open(struct request *r)
{
    struct attempt *a = &r->attempt;
    drop_exchange(a);
    memset(a, 0, offsetof(struct attempt, reply));
    provider_reply_reset(&a->reply);
    buf_clear(&a->body);
    attempt_note_call(r);
    a->target = r->work->next_target;
    a->model = r->work->candidate_models[r->at_position];
    a->adapter = request_adapter(r);
    if (r->attempt_count == 0)
        r->work->own_warnings = r->warning_count;
    r->warning_count = r->work->own_warnings; /* Others' words went with their exchange. */
    a->record = &r->attempts[r->attempt_count++];
    *a->record = (struct record_attempt){
        .model = r->at_position,
        .server = a->target->deployment->name,
        .start_us = request_wall_us(r),
        .picked = r->work->picked,
    };
    charge_note(r, a->record);
    if (r->work->tried_count < REQUEST_TRIED_MAX)
        r->work->tried[r->work->tried_count++] = a->target->deployment->ordinal;
}

void attempt_abandon(struct request *r)
{
    r->attempt_count--;
    r->attempt.target = NULL;
    r->attempt.record = NULL;
}

/* ---- out ---- */

static uint32_t least(uint64_t a, uint64_t b)
{
    uint64_t v = a < b ? a : b;
    return v > UINT32_MAX ? UINT32_MAX : (uint32_t)v;
}

/* A whole answer begins when all of it is thought out: its head may take as long as the whole,
 * unless the provider's own head timeout was set. */
static struct fetch_timeouts timeouts_of(const struct request *r, uint64_t now_ms)
{
    const struct snapshot_timeouts *t = &r->attempt.target->deployment->provider->timeouts;
    uint64_t left = r->deadline_ms > now_ms ? r->deadline_ms - now_ms : 1;
    uint32_t total = wishes_timeout(r, least(t->total_ms, left));
    bool default_head = t->head_ms == 30000;
    uint32_t head = r->wants_stream || !default_head ? t->head_ms : total;
    return (struct fetch_timeouts){
        .connect_ms = t->connect_ms,
        .tls_ms = t->tls_ms,
        .head_ms = least(head, total),
        .first_byte_ms = least(head > t->first_content_ms ? head : t->first_content_ms, total),
        .idle_ms = t->between_events_ms,
        .total_ms = total,
    };
}

static int start(struct request *r)
{
    struct attempt *a = &r->attempt;
    const struct upstream_target *t = a->target;
    __attribute__((uninitialized)) struct ask ask;
    if (!early_open(r))
        early_stop(r); /* What an attempt before this one had begun. */
    int rc = ask_build(r, &ask);
    if (rc != 0)
        return rc;
    ask.request.timeouts = timeouts_of(r, a->start_ns / 1000000);
    ask.request.fresh = a->restarted; /* Another kept one might be as dead. */
    /* Whether it asks for a stream may come later. */
    ask.request.body_max_bytes =
        r->wants_stream || early_open(r) ? UINT64_C(1) << 32 : REPLY_BYTES_MAX;
    rc = t->origin->ops->start(t->origin->origin, &ask.request, &callbacks, r, &a->call);
    if (rc == 0 && ask.request.growing_bytes != 0)
        early_send(r);
    return rc;
}

void attempt_whole(struct request *r)
{
    const struct attempt *a = &r->attempt;
    const struct fetch_timeouts timeouts = timeouts_of(r, a->start_ns / 1000000);
    a->target->origin->ops->whole(a->call, &timeouts);
}

int attempt_start(struct request *r)
{
    struct attempt *a = &r->attempt;
    a->start_ns = r->now_ns;
    a->last_ms = a->start_ns / 1000000;
    if (!endpoint_take(a->target->endpoint, r->ignore_breakers || r->work->ignore_here,
                       a->last_ms)) {
        a->record->reason = RECORD_REASON_CONNECT; /* Taken by someone else since it was picked. */
        return ERR_BUSY;
    }
    int rc = start(r);
    if (rc == 0)
        endpoint_use(a->target->endpoint, r->tokens_in, a->last_ms);
    if (rc != 0) {
        a->call = NULL;
        a->unsaid = rc == ERR_INVALID;
        a->record->reason = a->unsaid          ? RECORD_REASON_CLIENT_ERROR
                            : rc == ERR_DENIED ? RECORD_REASON_ADDRESS
                                               : RECORD_REASON_CONNECT;
        endpoint_done(a->target->endpoint, ENDPOINT_CANCELLED, a->last_ms);
    }
    return rc;
}

void attempt_stop(struct request *r, enum record_reason reason)
{
    struct attempt *a = &r->attempt;
    if (a->call == NULL || a->cancelled)
        return;
    a->cancelled = true;
    a->reason = reason;
    a->target->origin->ops->cancel(a->call);
}

void attempt_resume(struct request *r)
{
    struct attempt *a = &r->attempt;
    if (a->call == NULL || !a->paused)
        return;
    a->paused = false;
    a->last_ms = request_now_ms();
    a->target->origin->ops->resume(a->call);
}

/* ---- in ---- */

static bool is_stream(const struct request *r, struct str content_type)
{
    const struct attempt *a = &r->attempt;
    struct str wanted = STR("text/event-stream");
    if (a->exchange != NULL)
        wanted = tr_provider_find(ask_dialect(r, a->target->deployment))->content_type;
    return content_type.len >= wanted.len &&
           str_eq_nocase(str_slice(content_type, 0, wanted.len), wanted);
}

/* What a provider says to a client that may know more about it than we do. */
static bool passes(struct str name)
{
    return name.len > 28 &&
           str_eq_nocase(str_slice(name, 0, 28), STR("anthropic-ratelimit-unified-"));
}

#define PASSED_BYTES_MAX 2048U

static void keep_fields(struct request *r, struct transport_call *call)
{
    const struct transport_ops *ops = r->attempt.target->origin->ops;
    struct str name, value;
    struct buf out = {.cap = 0};
    for (size_t i = 0; ops->field(call, i, &name, &value); i++) {
        if (!passes(name) || !http1_is_field_value(value))
            continue;
        if (out.cap == 0) {
            char *room = arena_alloc(&r->arena, PASSED_BYTES_MAX);
            if (room == NULL)
                return;
            out = (struct buf){.data = room, .cap = PASSED_BYTES_MAX, .max = PASSED_BYTES_MAX};
        }
        const size_t before = out.len;
        if (buf_append_text(&out, "\r\n") != 0 || buf_append_str(&out, name) != 0 ||
            buf_append_text(&out, ": ") != 0 || buf_append_str(&out, value) != 0)
            out.len = before;
    }
    r->work->words.fields = buf_str(&out);
}

/* Limit by limit, in other fields than Retry-After. */
static uint32_t limits_ms(const struct attempt *a, struct transport_call *call)
{
    const struct transport_ops *ops = a->target->origin->ops;
    const int64_t now_us = clock_wall_us();
    struct resets resets = {.count = 0};
    struct str name, value;
    for (size_t i = 0; ops->field(call, i, &name, &value); i++)
        resets_add(&resets, name, value, now_us);
    return resets_wait_ms(&resets);
}

/* Of an error reply: what its head says about the next try. */
static void keep_advice(struct request *r, struct transport_call *call)
{
    struct attempt *a = &r->attempt;
    const struct transport_ops *ops = a->target->origin->ops;
    struct str wait = ops->header(call, STR("retry-after"));
    struct str again = ops->header(call, STR("x-should-retry"));
    a->wait_ms = retry_after_ms(ops->header(call, STR("retry-after-ms")), wait, clock_wall_us(),
                                &a->wait_known);
    if (a->status == 429 && !a->wait_known)
        a->wait_ms = limits_ms(a, call);
    if (wait.len > 0 && wait.len < 64 && http1_is_field_value(wait))
        r->work->words.retry_after = arena_copy(&r->arena, wait);
    r->work->words.retry = str_is(again, "true") ? 1 : str_is(again, "false") ? 0 : -1;
    if (a->exchange == NULL)
        return;
    struct str name = ops->header(call, STR("x-amzn-errortype"));
    r->work->words.error_name =
        name.len > 0 && name.len < 128 ? arena_copy(&r->arena, name) : STR_NULL;
}

static void take_head(struct request *r, struct transport_call *call, unsigned status)
{
    struct attempt *a = &r->attempt;
    const struct transport_ops *ops = a->target->origin->ops;
    struct str id = ops->header(call, STR("x-request-id"));
    a->status = status;
    if (id.len > 0 && id.len <= RECORD_TEXT_BYTES_MAX)
        a->record->provider_id = arena_copy(&r->arena, id);
    if (status == 200)
        a->streaming = r->wants_stream && is_stream(r, ops->header(call, STR("content-type")));
    if (early_open(r))
        early_stop(r);
    /* A request that is not there can only be refused. */
    if (status < 300 && ((r->wants_stream && !a->streaming) || early_open(r))) {
        attempt_stop(r, RECORD_REASON_PROTOCOL);
        return;
    }
    if (status >= 400)
        keep_advice(r, call);
    if (r->dialect == DIALECT_ANTHROPIC && a->exchange == NULL)
        keep_fields(r, call);
}

static enum fetch_flow on_head(void *arg, struct transport_call *call, unsigned status)
{
    struct request *r = arg;
    const bool faced = hedge_face(r, call);
    take_head(r, call, status);
    if (faced)
        hedge_turn(r);
    return FETCH_GO;
}

static enum fetch_flow take_body(struct request *r, struct str piece)
{
    struct attempt *a = &r->attempt;
    if (a->unseen && !attempt_take_unseen(r, piece.len))
        return FETCH_GO;
    /* By far the most calls: the loop's time will do. */
    if (r->stream == STREAM_COMMITTED &&
        !a->unseen) { /* By far the most calls: the loop's time will do. */
        enum fetch_flow next = relay_piece(r, piece, uv_now(r->env->loop) * 1000000);
        a->paused = next == FETCH_PAUSE;
        return next;
    }
    if (a->streaming) {
        enum fetch_flow next = relay_piece(r, piece, clock_mono_ns());
        a->paused = next == FETCH_PAUSE;
        return next;
    }
    a->last_ms = uv_now(r->env->loop);
    if (a->status >= 300 && a->body.len + piece.len > ERROR_BYTES_MAX) {
        /* What is longer is no error object: the rest is not looked at. */
    } else if (buf_append_str(&a->body, piece) != 0) {
        attempt_stop(r, RECORD_REASON_PROTOCOL);
    }
    return FETCH_GO;
}

/* Of the attempt that is not at hand: unless it is what serves from now on, that stays. */
__attribute__((noinline)) static enum fetch_flow other_body(struct request *r, struct str piece)
{
    struct hedge *h = r->work->hedge;
    const bool open = h->state == HEDGE_BOTH;
    hedge_turn(r);
    enum fetch_flow next = take_body(r, piece);
    if (!open || h->state != HEDGE_DECIDED)
        hedge_turn(r);
    return next;
}

static enum fetch_flow on_body(void *arg, struct transport_call *call, struct str piece)
{
    struct request *r = arg;
    return r->attempt.call == call ? take_body(r, piece) : other_body(r, piece);
}

static void on_room(void *arg, struct transport_call *call)
{
    (void)call;
    early_send(arg);
}

/* ---- the end ---- */

/* A kept connection that the provider had closed meanwhile says nothing about the provider: the
 * same try goes out once more, on another connection, under the intent it has, and its row says so.
 * Only if the first can never be billed: the provider has not had all of it. Where it may have, or
 * where finding out took longer than the moment in which such a connection is found dead, it is a
 * failed attempt, and whether it is sent again is a matter of retries, with money and rows of their
 * own. */
static bool was_stale(const struct request *r, const struct fetch_result *result, uint64_t now_ns)
{
    const struct attempt *a = &r->attempt;
    return result->status == ERR_CLOSED && result->reused && !result->request_taken &&
           !result->reply_seen && !a->restarted && !a->cancelled && !a->unseen && !r->client_gone &&
           (now_ns - a->start_ns) / 1000000 < STALE_MS_MAX;
}

static void on_done(void *arg, struct transport_call *call, const struct fetch_result *result)
{
    struct request *r = arg;
    const bool faced = hedge_face(r, call);
    struct attempt *a = &r->attempt;
    uint64_t now_ns = clock_mono_ns();
    a->call = NULL;
    if (was_stale(r, result, now_ns)) {
        a->restarted = true;
        if (result->request_sent)
            a->record->flags |= RECORD_FLAG_SENT_AGAIN;
        if (start(r) == 0) {
            if (faced)
                hedge_turn(r);
            return;
        }
        a->call = NULL;
    }
    if (a->streaming && !a->cancelled)
        relay_piece_end(r, result->status == 0);
    enum record_reason reason = judge_end(r, result);
    a->complete = reason == RECORD_REASON_OK || reason == RECORD_REASON_CLIENT_ERROR;
    a->reason = reason;
    a->record->reason = reason;
    a->record->status = a->status;
    judge_bill(r, reason, result);
    judge_print(r, now_ns / 1000000);
    judge_observe(r, now_ns, result);
    endpoint_use(a->target->endpoint, a->record->tokens_out, now_ns / 1000000);
    judge_cool_down(a, reason, now_ns / 1000000);
    endpoint_done(a->target->endpoint, judge_outcome(reason), now_ns / 1000000);
    if (reason == RECORD_REASON_OK)
        ways_eject_slow(r, now_ns / 1000000);
    if (a->read_on)
        atomic_fetch_sub(&r->env->shared->unseen, 1);
    a->read_on = false;
    if (hedge_of(r) != NULL)
        hedge_ended(r, faced);
    /* What has a second attempt, or a body to come, is told of at once. */
    if (hedge_of(r) != NULL || r->early)
        request_run_at(r, now_ns);
    else
        request_go_on(r, now_ns);
}

static const struct transport_callbacks callbacks = {
    .on_head = on_head,
    .on_body = on_body,
    .on_room = on_room,
    .on_done = on_done,
};
