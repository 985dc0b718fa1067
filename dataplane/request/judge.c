#include "dataplane/request/judge.h"

#include "dataplane/llm/openai_shape.h"
#include "dataplane/llm/tokens.h"
#include "dataplane/request/ask.h"
#include "dataplane/request/attempt.h"
#include "dataplane/request/early.h"
#include "dataplane/request/relay.h"
#include "dataplane/request/ways.h"
#include "dataplane/translate/dialects.h"
#include "dataplane/translate/exchange.h"
#include "dataplane/translate/told.h"

#define AUTH_COOLDOWN_MS    60000U /* B35: an operator has to act. */
#define LIMITED_COOLDOWN_MS 2000U  /* A 429 that names no wait. */
#define BUSY_COOLDOWN_MS    1000U  /* A 503 or 529 that names none. */

/* ---- how it ended ---- */

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
    tr_exchange_read_error(a->exchange, &r->env->json, a->status, r->work->words.error_name,
                           buf_str(&a->body), &r->arena, out);
}

static void note_advice(struct attempt *a, enum tr_error_kind kind, int64_t wait_ms)
{
    a->busy = kind == TR_ERROR_OVERLOADED;
    if (!a->wait_known && wait_ms >= 0 && wait_ms <= RETRY_WAIT_MAX_MS) {
        a->wait_ms = (uint32_t)wait_ms;
        a->wait_known = true;
    }
}

static enum snapshot_fallback fallback_of_kind(enum tr_error_kind kind)
{
    if (kind == TR_ERROR_CONTEXT_LENGTH)
        return SNAPSHOT_FALLBACK_CONTEXT_WINDOW;
    if (kind == TR_ERROR_CONTENT_POLICY)
        return SNAPSHOT_FALLBACK_CONTENT_POLICY;
    return kind == TR_ERROR_RATE_LIMITED ? SNAPSHOT_FALLBACK_RATE_LIMIT : SNAPSHOT_FALLBACK_ANY;
}

/* Which of the route's lists is due after it. */
static void note_kind(struct request *r, enum tr_error_kind kind)
{
    const enum snapshot_fallback due = fallback_of_kind(kind);
    if (due != SNAPSHOT_FALLBACK_ANY && ways_has_fallback(r, due))
        r->attempt.due = due;
}

/* In the caller's dialect the status is the reason; the body is asked only where the route has
 * somebody for one kind of error. */
static void note_own_kind(struct request *r)
{
    const struct attempt *a = &r->attempt;
    struct tr_error error;
    if (a->status == 429) {
        note_kind(r, TR_ERROR_RATE_LIMITED);
    } else if (ways_has_fallback(r, SNAPSHOT_FALLBACK_CONTEXT_WINDOW) ||
               ways_has_fallback(r, SNAPSHOT_FALLBACK_CONTENT_POLICY)) {
        tr_provider_find(ask_dialect(r, a->target->deployment))
            ->read_error(&r->env->json, a->status, r->work->words.error_name, buf_str(&a->body),
                         &r->arena, &error);
        note_kind(r, error.kind);
    }
}

/* What a provider of another dialect means is in its body. */
static enum record_reason reason_of_error(struct request *r)
{
    struct attempt *a = &r->attempt;
    struct tr_error error;
    enum record_reason reason;
    if (a->status < 400)
        return reason_of_status(a->status);
    if (a->exchange == NULL) {
        note_own_kind(r);
        /* Refused for what it is, whatever number stands on it. */
        return ways_is_refusal(a->due) && a->status < 500 ? RECORD_REASON_CLIENT_ERROR
                                                          : reason_of_status(a->status);
    }
    attempt_read_error(r, &error);
    note_kind(r, error.kind);
    note_advice(a, error.kind, error.wait_ms);
    reason = reason_of_kind(error.kind);
    /* Who fails, or wants to be paid, and blames the request is not believed. */
    return reason == RECORD_REASON_CLIENT_ERROR && (a->status >= 500 || a->status == 402)
               ? reason_of_status(a->status)
               : reason;
}

/* Under a status of success it is the deployment that failed, whatever it says of the request:
 * what it was asked for it had accepted. Limits and accounts are what they are. */
static enum record_reason reason_of_told(struct request *r, enum tr_error_kind kind,
                                         int64_t wait_ms)
{
    const enum record_reason reason = reason_of_kind(kind);
    note_kind(r, kind);
    note_advice(&r->attempt, kind, wait_ms);
    return reason == RECORD_REASON_CLIENT_ERROR ? RECORD_REASON_STATUS : reason;
}

enum record_reason judge_told(struct request *r)
{
    struct attempt *a = &r->attempt;
    struct tr_told told;
    if (a->exchange != NULL) {
        const struct tr_error *error = tr_exchange_error(a->exchange);
        return reason_of_told(r, error->kind, error->wait_ms);
    }
    if (!tr_told_in_event(r->dialect, &r->env->json, r->env->relayed.error, &told))
        return RECORD_REASON_STATUS;
    return reason_of_told(r, told.kind, told.wait_ms);
}

/* A whole reply that is none. */
static enum record_reason reason_of_reply(struct request *r, int rc)
{
    struct attempt *a = &r->attempt;
    struct tr_told told;
    if (rc == ERR_PROTOCOL && tr_told_in_reply(ask_dialect(r, a->target->deployment), &r->env->json,
                                               buf_str(&a->body), &told))
        return reason_of_told(r, told.kind, told.wait_ms);
    return RECORD_REASON_PROTOCOL;
}

/* A whole reply becomes the answer's pieces. */
static enum record_reason take_reply(struct request *r)
{
    struct attempt *a = &r->attempt;
    const struct provider_rewrite rewrite = {
        .model = a->model->id,
        .model_plain = a->model->plain,
        .usage_member = r->wants_price ? relay_usage_kept : NULL,
        .arg = r,
    };
    int rc;
    if (a->exchange != NULL) {
        r->piece_count = 1;
        rc = tr_exchange_read_reply(a->exchange, &r->env->json, &a->reply, buf_str(&a->body),
                                    &r->arena, &r->pieces[0]);
    } else {
        rc = a->adapter->read_reply(&r->env->json, &a->reply, buf_str(&a->body), &rewrite,
                                    &r->arena, r->pieces, &r->piece_count);
    }
    return rc == 0 ? RECORD_REASON_OK : reason_of_reply(r, rc);
}

enum record_reason judge_end(struct request *r, const struct fetch_result *result)
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

enum endpoint_outcome judge_outcome(enum record_reason reason)
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

/* Of a 429: what it says, else when its limits come back, which can only lengthen. */
static uint32_t limited_ms(const struct attempt *a)
{
    if (a->wait_known)
        return a->wait_ms;
    return a->wait_ms > LIMITED_COOLDOWN_MS ? a->wait_ms : LIMITED_COOLDOWN_MS;
}

void judge_cool_down(struct attempt *a, enum record_reason reason, uint64_t now_ms)
{
    struct endpoint *e = a->target->endpoint;
    if (reason == RECORD_REASON_AUTH)
        endpoint_cool(e, AUTH_COOLDOWN_MS, false, now_ms);
    else if (reason == RECORD_REASON_RATE_LIMITED)
        endpoint_cool(e, limited_ms(a), true, now_ms);
    else if (a->busy || a->status == 503 || a->status == 529)
        endpoint_cool(e, a->wait_known ? a->wait_ms : BUSY_COOLDOWN_MS, false, now_ms);
    if (reason == RECORD_REASON_RATE_LIMITED || reason == RECORD_REASON_TIMEOUT || a->busy ||
        a->status == 503 || a->status == 529)
        endpoint_congested(e, now_ms);
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

/* Told so under whatever status: nothing was made for us. */
static bool is_turned_away(enum record_reason reason)
{
    return reason == RECORD_REASON_RATE_LIMITED || reason == RECORD_REASON_AUTH;
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
    if (!a->reply.content && is_turned_away(reason))
        return RECORD_USAGE_NONE;
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

void judge_bill(struct request *r, enum record_reason reason, const struct fetch_result *result)
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

void judge_observe(struct request *r, uint64_t now_ns, const struct fetch_result *result)
{
    struct attempt *a = &r->attempt;
    const struct snapshot_deployment *d = a->target->deployment;
    uint64_t content_ns = a->content_ns != 0 ? a->content_ns : now_ns;
    uint32_t stream_ms = a->streaming ? (uint32_t)((now_ns - content_ns) / 1000000) : 0;
    uint32_t out = a->streaming ? a->record->tokens_out : 0;
    a->record->ttft_ms = (uint32_t)((content_ns - a->start_ns) / 1000000);
    a->record->total_ms = (uint32_t)((now_ns - a->start_ns) / 1000000);
    if (a->record->reason == RECORD_REASON_OK) {
        struct endpoint *e = a->target->endpoint;
        uint32_t usual_ms = endpoint_estimate(e, r->tokens_in).ttft_ms;
        if (concurrency_late(&e->late, a->record->ttft_ms, usual_ms))
            endpoint_congested(e, now_ns / 1000000);
        endpoint_observe(e, r->tokens_in, a->record->ttft_ms, out, stream_ms);
        quantile_observe(&e->content[a->streaming], a->record->ttft_ms);
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

_Static_assert(PRINT_BYTES_MAX == RECORD_PRINT_BYTES_MAX, "the record takes all of it");

void judge_print(struct request *r, uint64_t now_ms)
{
    const struct attempt *a = &r->attempt;
    const struct provider_reply *reply = &a->reply;
    a->record->fingerprint = reply->print;
    if (reply->print == 0 || endpoint_print_is_told(a->target->endpoint, reply->print, now_ms))
        return;
    struct str text = prints_text(&r->env->prints, reply->print);
    struct str kept = text.len > 0 ? arena_copy(&r->arena, text) : STR_NULL;
    if (kept.len > 0) {
        a->record->fingerprint_text = kept.data;
        a->record->fingerprint_text_len = (uint32_t)kept.len;
        endpoint_print_told(a->target->endpoint, reply->print, now_ms);
    } else if (reply->shapes != NULL && a->exchange == NULL) {
        openai_shapes_forget(reply->shapes, reply->shape); /* Read anew, the next one has it. */
    }
}
