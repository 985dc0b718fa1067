/* The end of every request, in this order: its record is in the spool, the terminal bytes go to the
 * client, the metrics count it, one access line is written. */
#include <assert.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "dataplane/request/answer.h"
#include "dataplane/request/charge.h"
#include "dataplane/request/entry.h"
#include "dataplane/request/generations.h"
#include "dataplane/request/hedge.h"
#include "dataplane/request/idempotency.h"
#include "dataplane/request/idempotency_table.h"
#include "dataplane/request/recall.h"
#include "dataplane/request/relay.h"
#include "dataplane/request/session.h"
#include "dataplane/request/steps.h"
#include "dataplane/request/tally.h"

static enum record_status outcome_of(const struct request *r)
{
    if (r->outcome != RECORD_STATUS_UNKNOWN)
        return r->outcome;
    if (r->client_gone)
        return RECORD_STATUS_CANCELLED;
    return r->fault != FAULT_NONE ? RECORD_STATUS_FAILED : RECORD_STATUS_OK;
}

/* Without an intent: both parts at once. Apart from write_record, for they are large. */
__attribute__((noinline)) static void write_whole(struct request *r, const struct record_outcome *o)
{
    __attribute__((uninitialized)) struct record_decision d;
    entry_fill_decision(r, &d);
    if (spool_record(r->env->spool, &d, o, &r->position) != 0)
        log_event(LOG_ERROR, "no decision record: the spool takes none",
                  LOG_STR("component", STR("report")), LOG_STR("request_id", r->request_id));
}

static void write_record(struct request *r)
{
    __attribute__((uninitialized)) struct record_outcome o;
    r->outcome = outcome_of(r);
    uint64_t entered_ns = r->now_ns;
    r->now_ns = clock_mono_ns();
    r->overhead_ns += r->now_ns - entered_ns;
    if (hedge_of(r) != NULL && hedge_of(r)->answered_ns != 0)
        r->now_ns = hedge_of(r)->answered_ns; /* So long the client has waited. */
    entry_fill_outcome(r, &o);
    if (r->intent == NULL) {
        write_whole(r, &o);
        return;
    }
    spool_outcome(r->env->spool, r->intent, &o, &r->position);
    r->intent = NULL;
}

/* ---- terminal bytes ---- */

static int send_whole(struct request *r)
{
    struct request_env *env = r->env;
    struct str pieces[REQUEST_PIECES_MAX + 1];
    uint64_t total = 0;
    buf_clear(&env->head);
    for (size_t i = 0; i < r->piece_count; i++)
        total += r->pieces[i].len;
    if (answer_write_head(r, total, &env->head) != 0)
        return ERR_NOMEM;
    pieces[0] = buf_str(&env->head);
    for (size_t i = 0; i < r->piece_count; i++)
        pieces[i + 1] = r->pieces[i];
    bool head_only = r->method == HTTP1_HEAD;
    return r->client->send(r->client_arg, pieces, head_only ? 1 : r->piece_count + 1);
}

static int send_stream_end(struct request *r)
{
    char head[HTTP1_CHUNK_HEAD_BYTES];
    const struct attempt *a = &r->attempt;
    const struct str mark = a->reply.end.len > 0 ? buf_str(&a->reply.end) : a->adapter->end_mark;
    if (r->minor_version == 0) {
        r->keep_alive = false; /* Its end is the connection's. */
        return r->client->send(r->client_arg, &mark, 1);
    }
    const struct str pieces[] = {
        {head, http1_chunk_head(mark.len, head)}, mark, HTTP1_CHUNK_END, HTTP1_LAST_CHUNK};
    return r->client->send(r->client_arg, pieces, 4);
}

/* An error event, then neither end mark nor last chunk: a clean end would read as success (F18). */
static int send_stream_error(struct request *r)
{
    struct request_env *env = r->env;
    r->stream_broken = true;
    buf_clear(&env->out);
    if (answer_write_error_event(r, &env->out) != 0)
        return ERR_NOMEM;
    return relay_send(r, buf_str(&env->out));
}

static void send_end(struct request *r)
{
    int rc;
    if (r->client_gone)
        return;
    if (r->stream == STREAM_NONE)
        rc = send_whole(r);
    else if (r->fault == FAULT_NONE)
        rc = send_stream_end(r);
    else
        rc = send_stream_error(r);
    if (rc != 0) {
        r->client_gone = true;
        r->keep_alive = false;
    }
}

void report_answer(struct request *r)
{
    const bool unknown = r->cost_unknown;
    if (r->fault != FAULT_NONE && r->stream == STREAM_NONE)
        answer_set_fault(r);
    r->cost_unknown = true; /* As yet. */
    send_end(r);
    r->cost_unknown = unknown;
}

/* ---- the access line ---- */

static void log_access(struct request *r, struct tally_kind *k, uint64_t duration_ns)
{
    /* The one that served is the last. */
    const struct record_attempt *last =
        r->attempt_count > 0 ? &r->attempts[r->attempt_count - 1] : NULL;
    const struct access a = {
        .method = r->method == HTTP1_POST ? STR("POST") : str_from(http1_method_name(r->method)),
        .path = r->path_text,
        .path_stays = r->path_is_static,
        .status = r->status,
        .request_id = r->request_id,
        .decision_id = r->decided    ? (struct str){r->id_text, UUID_TEXT_BYTES - 1}
                       : r->repeated ? idempotency_told(r)->decision
                                     : STR_NULL,
        .route = tally_route(r),
        .served = r->committed ? last->server : STR_NULL,
        .key_id = r->identity != NULL ? r->identity->public_id : STR_NULL,
        .cost_usd = answer_cost(r),
        .ttft_ms = r->ttft_ns / 1000000,
        .duration_ms = duration_ns / 1000000,
        .tokens_in = last != NULL ? last->tokens_in : 0,
        .tokens_out = last != NULL ? last->tokens_out : 0,
        .attempts = r->attempt_count,
        .client_gone = r->client_gone,
    };
    access_write(&k->access, &a, request_wall_us(r));
}

static bool awaits_disk(struct request *r)
{
    if (!r->env->shared->settings.durability_host || !r->decided)
        return false;
    if (spool_synced(r->env->spool) >= r->position)
        return false;
    request_poll(r);
    return true;
}

enum step_result step_report(struct request *r)
{
    if (!r->recorded) {
        if (r->fault != FAULT_NONE && r->stream == STREAM_NONE)
            answer_set_fault(r);
        if (r->decided) {
            if (r->committed && r->stream == STREAM_NONE && r->fault == FAULT_NONE)
                session_note(r, r->at_position);
            write_record(r);
            generation_keep(r);
            if (r->attempt.exchange != NULL)
                recall_keep(r);
            if (r->repeat != NULL)
                idempotency_note(r);
        }
        /* Beside its record: what dies in between is a matter of one request. */
        if (r->charge != NULL)
            charge_settle(r);
        r->recorded = true;
    }
    if (awaits_disk(r))
        return STEP_WAIT;
    send_end(r);
    uint64_t duration_ns = r->now_ns - r->start_ns;
    if (r->stream == STREAM_COMMITTED)
        metrics_gauge_add(r->env->meters.streams, -1);
    struct tally_kind *k = tally_end(r, duration_ns);
    if (r->env->shared->settings.access_log)
        log_access(r, k, duration_ns);
    return STEP_NEXT;
}
