#include "dataplane/request/relay.h"

#include "common/base/clock.h"
#include "dataplane/request/account.h"
#include "dataplane/request/answer.h"
#include "dataplane/request/attempt.h"
#include "dataplane/request/dialect.h"
#include "dataplane/request/generations.h"
#include "dataplane/request/hedge.h"
#include "dataplane/request/judge.h"
#include "dataplane/request/session.h"
#include "dataplane/request/steps.h"
#include "dataplane/request/workspace.h"
#include "dataplane/translate/exchange.h"

#define HELD_BYTES_MAX 65536U /* Frames before the first content. */

/* Everything in one write: the pieces, with the places before and behind them for a chunk's
 * framing; the head, if there is one, stands further in front. */
static int send_framed(struct request *r, struct str *pieces, size_t count, size_t bytes,
                       struct str head)
{
    char chunk[HTTP1_CHUNK_HEAD_BYTES];
    if (r->client_gone)
        return ERR_CLOSED;
    r->sent_ms = uv_now(r->env->loop);
    if (r->minor_version > 0) {
        pieces[count++] = HTTP1_CHUNK_END;
        *--pieces = (struct str){chunk, http1_chunk_head(bytes, chunk)};
        count++;
    }
    if (head.len > 0) {
        *--pieces = head;
        count++;
    }
    return r->client->send(r->client_arg, pieces, count);
}

static int send_bytes(struct request *r, struct str head, struct str bytes)
{
    struct str room[4] = {{NULL, 0}, {NULL, 0}, bytes};
    return send_framed(r, room + 2, 1, bytes.len, head);
}

int relay_send(struct request *r, struct str bytes)
{
    return send_bytes(r, STR_NULL, bytes);
}

static int send_out(struct request *r, struct provider_out *out)
{
    if (out->gathering)
        return relay_send(r, buf_str(out->gathered));
    return send_framed(r, out->room + 1, out->count, out->bytes, STR_NULL);
}

/* Head, then what was held back. */
static int send_first(struct request *r)
{
    struct request_env *env = r->env;
    struct str held = buf_str(&r->attempt.body);
    generation_note(r, held);
    if (r->stream != STREAM_NONE || r->client_gone)
        return relay_send(r, held);
    buf_clear(&env->head);
    r->status = 200;
    r->content_type = STR("text/event-stream");
    if (answer_write_stream_head(r, false, &env->head) != 0)
        return ERR_NOMEM;
    return send_bytes(r, buf_str(&env->head), held);
}

static int put_cost(struct buf *b, const char *name, bool known, int64_t cost)
{
    int rc = buf_append_text(b, name);
    if (rc == 0)
        rc = known ? answer_write_usd(cost, b) : buf_append_text(b, "null");
    return rc;
}

/* "cost":... as OpenRouter has it, "steelyard":{"cost_usd":...,"decision_id":"..."}, or both: what
 * the caller asked to find in the usage. */
struct str relay_usage_member(void *arg, const struct call_usage *usage)
{
    struct request *r = arg;
    struct attempt *a = &r->attempt;
    struct buf *b = &r->env->head; /* Free between heads; the arena may have been let go. */
    struct call_usage u = *usage;
    uint64_t price_id;
    int64_t cost = 0;
    buf_clear(b);
    provider_usage_check(&u, r->tokens_in, a->reply.text_q8, a->reply.content_bytes);
    bool known =
        u.known && account_cost(a->target->deployment, a->record->start_us, &u, &price_id, &cost);
    int rc = r->wants_price ? put_cost(b, "\"cost\":", known, cost) : 0;
    if (rc == 0 && !r->wants_cost)
        return buf_str(b);
    if (rc == 0 && r->wants_price)
        rc = buf_append_char(b, ',');
    if (rc == 0)
        rc = put_cost(b, "\"steelyard\":{\"cost_usd\":", known, cost);
    if (rc == 0)
        rc = buf_append_text(b, ",\"decision_id\":\"");
    if (rc == 0)
        rc = buf_append_text(b, r->id_text);
    if (rc == 0)
        rc = buf_append_text(b, "\"}");
    return rc == 0 ? buf_str(b) : STR_NULL;
}

struct str relay_usage_kept(void *arg, const struct call_usage *usage)
{
    struct request *r = arg;
    struct str member = relay_usage_member(arg, usage);
    return member.len > 0 ? arena_copy(&r->arena, member) : member;
}

struct feed {
    struct provider_rewrite rewrite;
    bool content;
    bool stop;
    enum record_reason reason;
};

static void feed_start(struct request *r, struct feed *f)
{
    const struct attempt *a = &r->attempt;
    *f = (struct feed){
        .rewrite = {.model = a->model->id,
                    .model_plain = a->model->plain,
                    .want_usage = r->wants_usage,
                    .usage_member = r->wants_cost || r->wants_price ? relay_usage_member : NULL,
                    .arg = r},
        .reason = RECORD_REASON_OK,
    };
    provider_out_start(&r->env->relayed, &r->env->out);
}

static void feed_event(struct request *r, struct feed *f, enum provider_event kind)
{
    switch (kind) {
    case PROVIDER_SILENT:
    case PROVIDER_OPEN:
    case PROVIDER_USAGE:
    case PROVIDER_DONE: /* What follows it is never delivered (B37). */
        break;
    case PROVIDER_CONTENT:
        f->content = true;
        break;
    case PROVIDER_ERROR:
        f->stop = true;
        f->reason = judge_told(r);
        break;
    case PROVIDER_BAD:
        f->stop = true;
        f->reason = RECORD_REASON_PROTOCOL;
        break;
    }
}

/* Until the first content; all of what the read brought has its place behind what is held. */
static void hold(struct request *r, const struct feed *f, uint64_t now_ns)
{
    struct attempt *a = &r->attempt;
    struct provider_out *out = &r->env->relayed;
    if (a->body.len + out->bytes > HELD_BYTES_MAX + SSE_EVENT_BYTES_MAX ||
        provider_out_gather(out) != 0 || buf_append_str(&a->body, buf_str(out->gathered)) != 0) {
        attempt_stop(r, RECORD_REASON_PROTOCOL);
        return;
    }
    if (f->content && a->content_ns == 0) {
        a->content_ns = now_ns;
        r->committed = true;
        if (hedge_of(r) != NULL && hedge_of(r)->state == HEDGE_BOTH)
            hedge_decide(r);
        request_run(r); /* attempt is over, relay sends the head and what was held. */
    }
}

static size_t buffer_mark(const struct request_env *env)
{
    uint32_t mark = env->shared->settings.buffer_mark_bytes;
    return env->mark_most < mark ? env->mark_most : mark;
}

static bool read_next(struct request *r, struct feed *f, struct str *io_piece,
                      enum provider_event *out_kind)
{
    struct attempt *a = &r->attempt;
    struct request_env *env = r->env;
    if (a->exchange == NULL)
        return provider_read_next(a->adapter, &env->json, &a->reply, io_piece, &f->rewrite,
                                  &env->relayed, out_kind);
    return tr_exchange_read_next(a->exchange, &env->json, &a->reply, io_piece, &env->relayed,
                                 out_kind);
}

/* What the caller has been given, so that an error of ours can follow it. */
static void note_sequence(struct attempt *a, const struct provider_out *out)
{
    uint64_t next = a->sequence;
    if (out->gathering)
        next = dialect_next_sequence(buf_str(out->gathered), next);
    for (size_t i = 0; i < out->count; i++)
        next = dialect_next_sequence(out->room[i + 1], next);
    a->sequence = (uint32_t)next;
}

enum fetch_flow relay_piece(struct request *r, struct str piece, uint64_t now_ns)
{
    struct attempt *a = &r->attempt;
    struct feed f;
    enum provider_event kind;
    feed_start(r, &f);
    while (piece.len > 0 && !f.stop && !a->reply.done && read_next(r, &f, &piece, &kind)) {
        feed_event(r, &f, kind);
        if (kind != PROVIDER_SILENT)
            a->last_ms = now_ns / 1000000;
    }
    if (!f.stop && sse_reader_status(&a->reply.sse) != 0) {
        f.stop = true;
        f.reason = RECORD_REASON_PROTOCOL;
    }
    if (r->dialect == DIALECT_RESPONSES && a->exchange != NULL)
        note_sequence(a, &r->env->relayed);
    if (a->unseen) {
        if (f.content && a->content_ns == 0)
            a->content_ns = now_ns;
    } else if (r->env->relayed.bytes > 0) {
        if (r->stream != STREAM_COMMITTED)
            hold(r, &f, now_ns);
        else if (send_out(r, &r->env->relayed) != 0)
            request_gone(r);
    }
    if (a->call == NULL || a->cancelled)
        return FETCH_GO;
    if (f.stop) {
        attempt_stop(r, f.reason);
        return FETCH_GO;
    }
    if (a->unseen || r->client_gone)
        return FETCH_GO;
    size_t queued = r->client->queued(r->client_arg);
    return queued > 0 && queued > buffer_mark(r->env) ? FETCH_PAUSE : FETCH_GO;
}

/* Some dialects end with their connection. */
static void end_exchange(struct request *r)
{
    struct attempt *a = &r->attempt;
    struct provider_out *out = &r->env->relayed;
    provider_out_start(out, &r->env->out);
    tr_exchange_read_end(a->exchange, &r->env->json, &a->reply, out);
    if (r->dialect == DIALECT_RESPONSES)
        note_sequence(a, out);
    if (a->unseen || out->bytes == 0)
        return;
    if (r->stream == STREAM_COMMITTED) {
        if (send_out(r, out) != 0)
            request_gone(r);
    } else if (provider_out_gather(out) != 0 ||
               buf_append_str(&a->body, buf_str(out->gathered)) != 0) {
        a->reply.done = a->reply.content = false; /* Not whole, then. */
    }
}

void relay_piece_end(struct request *r, bool clean)
{
    struct provider_reply *reply = &r->attempt.reply;
    struct sse_event event;
    if (r->attempt.exchange != NULL) {
        if (clean) /* What is cut behind the finish lacks its usage, or more. */
            end_exchange(r);
        return;
    }
    /* The standard drops a block without its blank line; an end mark is still believed. No other
     * dialect than OpenAI's has one that stands alone. */
    if (!reply->done && sse_finish(&reply->sse, &event) && event.has_data &&
        str_eq(str_trim(event.data), STR("[DONE]")))
        reply->done = true;
}

enum step_result step_relay(struct request *r)
{
    struct attempt *a = &r->attempt;
    if (!a->streaming) { /* Whole: `report` sends it. */
        r->status = a->status;
        return STEP_NEXT;
    }
    if (r->stream != STREAM_COMMITTED && !a->unseen) {
        session_note(r, r->at_position);
        int rc = send_first(r);
        r->ttft_ns = clock_mono_ns() - r->start_ns;
        r->stream = STREAM_COMMITTED;
        metrics_gauge_add(r->env->meters.streams, 1);
        buf_clear(&a->body);
        if (rc != 0)
            request_gone(r);
        workspace_shed(r);
    }
    if (a->call != NULL)
        return STEP_WAIT;
    if (r->client_gone) {
        r->outcome = RECORD_STATUS_CANCELLED;
        return STEP_FAIL;
    }
    if (a->complete)
        return STEP_NEXT;
    r->outcome = RECORD_STATUS_PARTIAL;
    return request_fail(r,
                        a->reason == RECORD_REASON_TIMEOUT ? FAULT_TIMEOUT : FAULT_UPSTREAM_FAILED);
}

static int send_early_head(struct request *r)
{
    struct request_env *env = r->env;
    buf_clear(&env->head);
    r->status = 200;
    r->content_type = STR("text/event-stream");
    if (answer_write_stream_head(r, true, &env->head) != 0)
        return ERR_NOMEM;
    struct str head = buf_str(&env->head);
    r->stream = STREAM_HEAD_SENT;
    return r->client->send(r->client_arg, &head, 1);
}

void relay_keep_alive(struct request *r, uint64_t now_ms)
{
    const struct request_settings *s = &r->env->shared->settings;
    uint32_t silence_ms = s->keepalive_ms;
    uint32_t limit = r->snapshot->limits.keepalive_ms;
    uint64_t since_ms = r->sent_ms;
    if (!r->wants_stream || r->client_gone || r->client->queued(r->client_arg) > 0)
        return;
    if (limit != 0)
        silence_ms = limit;
    if (r->stream == STREAM_NONE) {
        silence_ms = r->snapshot->limits.stream_head_after_ms != 0
                         ? r->snapshot->limits.stream_head_after_ms
                         : s->stream_head_after_ms;
        since_ms = r->start_ns / 1000000;
    }
    if (now_ms - since_ms < silence_ms)
        return;
    if ((r->stream == STREAM_NONE && send_early_head(r) != 0) ||
        relay_send(r, provider_find_dialect(r->dialect)->keepalive) != 0)
        request_gone(r);
}
