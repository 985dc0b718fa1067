/* One exchange with a deployment: the request goes out in spans of the caller's body; the head says
 * what the rest is for; a whole reply is gathered, a stream goes to relay piece by piece; on_done
 * says how it ended, which is judged here once.
 *
 * Failures: whatever the transport reports, a status that is not 2xx, an event that is no event of
 * the dialect, an end without an end mark. All become a record_reason, the deployment's breaker and
 * cooldown are told, and the driver decides what follows. */
#include <assert.h>
#include <string.h>

#include "common/base/clock.h"
#include "dataplane/llm/tokens.h"
#include "dataplane/request/ask.h"
#include "dataplane/request/attempt.h"
#include "dataplane/request/charge.h"
#include "dataplane/request/early.h"
#include "dataplane/request/relay.h"
#include "dataplane/request/steps.h"
#include "dataplane/translate/exchange.h"

#define REPLY_BYTES_MAX     (16U << 20)
#define ERROR_BYTES_MAX     65536U
#define BODY_KEPT_BYTES     16384U
#define AUTH_COOLDOWN_MS    60000U /* B35: an operator has to act. */
#define LIMITED_COOLDOWN_MS 2000U  /* A 429 that names no wait. */
#define STALE_MS_MAX        1000U  /* Longer than any round trip. */
#define BUSY_COOLDOWN_MS    1000U  /* A 503 or 529 that names none. */

static const struct transport_callbacks callbacks;

void attempt_init(struct request *r)
{
    if (r->attempt.body.max == 0)
        buf_init(&r->attempt.body, REPLY_BYTES_MAX);
}

static void drop_exchange(struct attempt *a)
{
    if (a->exchange == NULL)
        return;
    tr_exchange_destroy(a->exchange);
    a->exchange = NULL;
}

void attempt_release(struct request *r)
{
    assert(r->attempt.call == NULL);
    drop_exchange(&r->attempt);
    if (r->attempt.reply.end.cap > BODY_KEPT_BYTES)
        provider_reply_deinit(&r->attempt.reply);
    if (r->attempt.body.cap > BODY_KEPT_BYTES)
        attempt_release_body(r);
}

void attempt_release_body(struct request *r)
{
    buf_deinit(&r->attempt.body);
    buf_init(&r->attempt.body, REPLY_BYTES_MAX);
}

void attempt_deinit(struct request *r)
{
    provider_reply_deinit(&r->attempt.reply);
    buf_deinit(&r->attempt.body);
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
    r->wants_usage = call->include_usage;
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
    a->model_plain = provider_is_plain(a->model->id);
    a->adapter = request_adapter(r);
    if (r->attempt_count == 0)
        r->work->own_warnings = r->warning_count;
    r->warning_count = r->work->own_warnings; /* Others' words went with their exchange. */
    a->record = &r->attempts[r->attempt_count++];
    *a->record = (struct record_attempt){
        .model = r->at_position,
        .server = a->target->deployment->name,
        .start_us = request_wall_us(r),
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
    uint32_t total = least(t->total_ms, left);
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
    if (!endpoint_take(a->target->endpoint, r->ignore_breakers, a->last_ms)) {
        a->record->reason = RECORD_REASON_CONNECT; /* Taken by someone else since it was picked. */
        return ERR_BUSY;
    }
    int rc = start(r);
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
    r->work->upstream_fields = buf_str(&out);
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
    if (wait.len > 0 && wait.len < 64 && http1_is_field_value(wait))
        r->work->retry_after = arena_copy(&r->arena, wait);
    r->work->upstream_retry = str_is(again, "true") ? 1 : str_is(again, "false") ? 0 : -1;
    if (a->exchange == NULL)
        return;
    struct str name = ops->header(call, STR("x-amzn-errortype"));
    r->work->error_name = name.len > 0 && name.len < 128 ? arena_copy(&r->arena, name) : STR_NULL;
}

static enum fetch_flow on_head(void *arg, struct transport_call *call, unsigned status)
{
    struct request *r = arg;
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
        return FETCH_GO;
    }
    if (status >= 400)
        keep_advice(r, call);
    if (r->dialect == DIALECT_ANTHROPIC && a->exchange == NULL)
        keep_fields(r, call);
    return FETCH_GO;
}

static enum fetch_flow on_body(void *arg, struct transport_call *call, struct str piece)
{
    (void)call;
    struct request *r = arg;
    struct attempt *a = &r->attempt;
    if (r->unseen && !attempt_take_unseen(r, piece.len))
        return FETCH_GO;
    if (r->stream == STREAM_COMMITTED) { /* By far the most calls: the loop's time will do. */
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

static void on_room(void *arg, struct transport_call *call)
{
    (void)call;
    early_send(arg);
}

/* ---- the end ---- */

static enum record_reason reason_of_result(const struct fetch_result *result)
{
    switch (result->status) {
    case ERR_REFUSED:
    case ERR_UNREACHABLE:
    case ERR_NOT_FOUND:
        return RECORD_REASON_CONNECT;
    case ERR_DENIED:
        return RECORD_REASON_ADDRESS;
    case ERR_TLS:
        return RECORD_REASON_TLS;
    case ERR_TIMEOUT:
        return RECORD_REASON_TIMEOUT;
    case ERR_CLOSED:
        return result->phase < FETCH_HEAD ? RECORD_REASON_CONNECT : RECORD_REASON_CUT;
    case ERR_CANCELED:
        return RECORD_REASON_CANCELLED;
    default:
        return RECORD_REASON_PROTOCOL;
    }
}

static enum record_reason reason_of_status(unsigned status)
{
    if (status == 401 || status == 402 || status == 403) /* Or our account there is empty. */
        return RECORD_REASON_AUTH;
    if (status == 429)
        return RECORD_REASON_RATE_LIMITED;
    if (status >= 500 || status == 404 || status == 408)
        return RECORD_REASON_STATUS;
    if (status >= 400)
        return RECORD_REASON_CLIENT_ERROR;
    return RECORD_REASON_PROTOCOL; /* 1xx, other 2xx, 3xx (never followed, B34). */
}

static enum record_reason reason_of_kind(enum tr_error_kind kind)
{
    switch (kind) {
    case TR_ERROR_INVALID_REQUEST:
    case TR_ERROR_CONTEXT_LENGTH:
    case TR_ERROR_CONTENT_POLICY:
        return RECORD_REASON_CLIENT_ERROR;
    case TR_ERROR_AUTHENTICATION:
    case TR_ERROR_PERMISSION:
    case TR_ERROR_QUOTA:
        return RECORD_REASON_AUTH;
    case TR_ERROR_RATE_LIMITED:
        return RECORD_REASON_RATE_LIMITED;
    case TR_ERROR_NOT_FOUND:
    case TR_ERROR_OVERLOADED:
    case TR_ERROR_TIMEOUT:
    case TR_ERROR_UPSTREAM:
        return RECORD_REASON_STATUS;
    }
    return RECORD_REASON_STATUS;
}

void attempt_read_error(struct request *r, struct tr_error *out)
{
    const struct attempt *a = &r->attempt;
    tr_exchange_read_error(a->exchange, &r->env->json, a->status, r->work->error_name,
                           buf_str(&a->body), &r->arena, out);
}

/* What a provider of another dialect means is in its body. */
static enum record_reason reason_of_error(struct request *r)
{
    struct attempt *a = &r->attempt;
    struct tr_error error;
    if (a->exchange == NULL || a->status < 400)
        return reason_of_status(a->status);
    attempt_read_error(r, &error);
    if (!a->wait_known && error.wait_ms >= 0 && error.wait_ms <= RETRY_WAIT_MAX_MS) {
        a->wait_ms = (uint32_t)error.wait_ms;
        a->wait_known = true;
    }
    return reason_of_kind(error.kind);
}

/* A whole reply becomes the answer's pieces. */
static enum record_reason take_reply(struct request *r)
{
    struct attempt *a = &r->attempt;
    const struct provider_rewrite rewrite = {.model = a->model->id, .model_plain = a->model_plain};
    if (a->exchange != NULL) {
        r->piece_count = 1;
        return tr_exchange_read_reply(a->exchange, &r->env->json, &a->reply, buf_str(&a->body),
                                      &r->arena, &r->pieces[0]) == 0
                   ? RECORD_REASON_OK
                   : RECORD_REASON_PROTOCOL;
    }
    if (a->adapter->read_reply(&r->env->json, &a->reply, buf_str(&a->body), &rewrite, &r->arena,
                               r->pieces, &r->piece_count) != 0)
        return RECORD_REASON_PROTOCOL;
    return RECORD_REASON_OK;
}

static enum record_reason judge(struct request *r, const struct fetch_result *result)
{
    struct attempt *a = &r->attempt;
    bool ended = a->reply.content &&
                 (a->reply.done || (result->status == 0 && a->reply.finish != CALL_FINISH_NONE));
    if (a->streaming && ended && (!a->cancelled || a->reason == RECORD_REASON_OK))
        return RECORD_REASON_OK;
    if (a->cancelled)
        return a->reason;
    if (result->status != 0)
        return reason_of_result(result);
    if (a->status != 200)
        return reason_of_error(r);
    return a->streaming ? RECORD_REASON_CUT : take_reply(r);
}

static enum endpoint_outcome outcome_of(enum record_reason reason)
{
    switch (reason) {
    case RECORD_REASON_OK:
    case RECORD_REASON_CLIENT_ERROR: /* It works; the caller was wrong. */
        return ENDPOINT_OK;
    case RECORD_REASON_RATE_LIMITED:
        return ENDPOINT_RATE_LIMITED;
    case RECORD_REASON_TIMEOUT:
        return ENDPOINT_TIMEOUT;
    case RECORD_REASON_CANCELLED:
    case RECORD_REASON_NODE_CRASH:
        return ENDPOINT_CANCELLED;
    case RECORD_REASON_CONNECT:
    case RECORD_REASON_TLS:
    case RECORD_REASON_STATUS:
    case RECORD_REASON_AUTH:
    case RECORD_REASON_PROTOCOL:
    case RECORD_REASON_CUT:
    case RECORD_REASON_ADDRESS:
        return ENDPOINT_ERROR;
    }
    return ENDPOINT_ERROR;
}

static void cool_down(struct attempt *a, enum record_reason reason, uint64_t now_ms)
{
    struct endpoint *e = a->target->endpoint;
    if (reason == RECORD_REASON_AUTH)
        endpoint_cool(e, AUTH_COOLDOWN_MS, false, now_ms);
    else if (reason == RECORD_REASON_RATE_LIMITED)
        endpoint_cool(e, a->wait_known ? a->wait_ms : LIMITED_COOLDOWN_MS, true, now_ms);
    else if (a->status == 503 || a->status == 529)
        endpoint_cool(e, a->wait_known ? a->wait_ms : BUSY_COOLDOWN_MS, false, now_ms);
}

/* May the provider have been at work on it, though nobody knows what it made? However it ended:
 * what has no head may have been cut by either side, and only the transport knows whether the
 * request had arrived. An answer that says that it failed is believed. */
static bool may_have_worked(const struct request *r, const struct fetch_result *result)
{
    const struct attempt *a = &r->attempt;
    if (early_open(r) || (r->work != NULL && r->work->early.growing && !r->work->early.whole))
        return false; /* A part of a request is none. */
    return a->status == 200 || (a->status == 0 && result->request_taken);
}

/* The provider itself ended what it had begun to say; else this node cut it. */
static bool ended_by_provider(const struct attempt *a, const struct fetch_result *result)
{
    return !a->cancelled && (result->status == 0 || result->status == ERR_CLOSED);
}

/* Does the billing end with a connection that this node cuts? Then what a stream has brought is
 * what was made, and nothing if the caller left before it began. */
static bool stops_billing(const struct request *r, enum record_reason reason)
{
    const struct attempt *a = &r->attempt;
    return a->target->deployment->provider->abort_stops_billing &&
           (r->flags & RECORD_FLAG_STREAM) != 0 &&
           (a->reply.content || reason == RECORD_REASON_CANCELLED);
}

/* Whose counts it is billed by (3.5 of the design; B38): the provider's, else ours, else what was
 * reserved: of an answer that comes whole, of a stream that goes on where nobody reads it, and of a
 * request without an answer nobody here knows how much was made. */
static enum record_usage usage_source(const struct request *r, enum record_reason reason,
                                      const struct fetch_result *result)
{
    const struct attempt *a = &r->attempt;
    if (a->reply.usage.known)
        return RECORD_USAGE_PROVIDER;
    if (a->status == 200 &&
        (reason == RECORD_REASON_OK || (a->reply.content && ended_by_provider(a, result))))
        return RECORD_USAGE_COUNTED;
    if (!may_have_worked(r, result))
        return RECORD_USAGE_NONE;
    return stops_billing(r, reason) ? RECORD_USAGE_COUNTED : RECORD_USAGE_ESTIMATED;
}

/* More than the model can take or make, whatever was asked for: no provider bills that. */
static bool beyond_model(const struct attempt *a, const struct call_usage *u)
{
    uint64_t out = a->model->max_output != 0 ? a->model->max_output : a->model->context_window;
    return (out != 0 && u->tokens_out / CALL_CHOICES_MAX > out) ||
           (a->model->context_window != 0 && u->tokens_in / 2 > a->model->context_window);
}

static void bill(struct request *r, enum record_reason reason, const struct fetch_result *result)
{
    struct attempt *a = &r->attempt;
    struct record_attempt *row = a->record;
    struct call_usage u = a->reply.usage;
    row->usage = usage_source(r, reason, result);
    if (row->usage == RECORD_USAGE_NONE)
        return;
    if (!u.known) {
        u.tokens_in = r->tokens_in;
        u.tokens_out = tokens_round(a->reply.text_q8);
        row->flags |= RECORD_FLAG_USAGE_ESTIMATED;
    }
    u.suspect |= beyond_model(a, &u);
    provider_usage_check(&u, r->tokens_in, a->reply.text_q8, a->reply.content_bytes);
    if (u.tokens_in == 0 && u.tokens_out == 0 && a->reply.content_bytes > 0)
        row->flags |= RECORD_FLAG_USAGE_SUSPECT; /* Believed, but somebody should look. */
    if (u.suspect) {
        row->flags |= RECORD_FLAG_USAGE_SUSPECT | RECORD_FLAG_USAGE_ESTIMATED;
        row->usage = RECORD_USAGE_COUNTED;
    }
    row->tokens_in = (uint32_t)u.tokens_in;
    row->tokens_out = (uint32_t)u.tokens_out;
    row->tokens_cached = (uint32_t)u.tokens_cached;
    row->tokens_cache_write = (uint32_t)u.tokens_cache_write;
    row->tokens_cache_write_1h = u.tokens_cache_write_1h;
    row->tokens_reasoning = (uint32_t)u.tokens_reasoning;
}

static void observe(struct request *r, uint64_t now_ns, const struct fetch_result *result)
{
    struct attempt *a = &r->attempt;
    const struct snapshot_deployment *d = a->target->deployment;
    uint64_t content_ns = a->content_ns != 0 ? a->content_ns : now_ns;
    uint32_t stream_ms = a->streaming ? (uint32_t)((now_ns - content_ns) / 1000000) : 0;
    uint32_t out = a->streaming ? a->record->tokens_out : 0;
    a->record->ttft_ms = (uint32_t)((content_ns - a->start_ns) / 1000000);
    a->record->total_ms = (uint32_t)((now_ns - a->start_ns) / 1000000);
    if (a->record->reason == RECORD_REASON_OK) {
        endpoint_observe(a->target->endpoint, r->tokens_in, a->record->ttft_ms, out, stream_ms);
        if (out > 1) {
            const struct str labels[] = {d->provider->name, a->model->id};
            metrics_observe(meter(&r->env->meters, METER_TPOT, labels),
                            (now_ns - content_ns) / (out - 1));
        }
    }
    if (result->connect_ns != 0) {
        const struct str labels[] = {d->provider->name};
        metrics_observe(meter(&r->env->meters, METER_CONNECT, labels), result->connect_ns);
    }
}

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
           !result->reply_seen && !a->restarted && !a->cancelled && !r->client_gone &&
           (now_ns - a->start_ns) / 1000000 < STALE_MS_MAX;
}

static void on_done(void *arg, struct transport_call *call, const struct fetch_result *result)
{
    (void)call;
    struct request *r = arg;
    struct attempt *a = &r->attempt;
    uint64_t now_ns = clock_mono_ns();
    a->call = NULL;
    if (was_stale(r, result, now_ns)) {
        a->restarted = true;
        if (result->request_sent)
            a->record->flags |= RECORD_FLAG_SENT_AGAIN;
        if (start(r) == 0)
            return;
        a->call = NULL;
    }
    if (a->streaming && !a->cancelled)
        relay_piece_end(r);
    enum record_reason reason = judge(r, result);
    a->complete = reason == RECORD_REASON_OK || reason == RECORD_REASON_CLIENT_ERROR;
    a->reason = reason;
    a->record->reason = reason;
    a->record->status = a->status;
    bill(r, reason, result);
    observe(r, now_ns, result);
    cool_down(a, reason, now_ns / 1000000);
    endpoint_done(a->target->endpoint, outcome_of(reason), now_ns / 1000000);
    request_run_at(r, now_ns);
}

static const struct transport_callbacks callbacks = {
    .on_head = on_head,
    .on_body = on_body,
    .on_room = on_room,
    .on_done = on_done,
};
