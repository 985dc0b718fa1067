/* Streams, and the transactions that empty them.
 *
 * Usual path: a batch joins the queue of its stream (node, epoch). A flight, one of `connections`,
 * takes the stream, locks its next_seq, builds rows from the front of the queue up to a size,
 * copies them, adds the sums, advances next_seq and commits; then every batch that is wholly behind
 * next_seq gets its callback.
 *
 *   IDLE -> TAKE -> LOCK -> COPY... -> COMMIT -> (again, or IDLE)
 *
 * Failures: Postgres away, a lost connection or a deadlock: nothing is known to be stored, the same
 * work is done again after a pause, from the next_seq that is then locked (F9). Postgres refuses
 * the data: the flight's size is halved until one record stands alone, and that one goes to
 * ingest_deadletter (F10). A hole: the batch is answered with what is expected. */
#include "controlplane/ingest/intake_flight.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "common/base/clock.h"

static void flight_step(struct flight *f, const struct pq_reply *reply);

/* --- one flight --------------------------------------------------------------------------------
 */

static void on_reply(void *arg, const struct pq_reply *reply)
{
    flight_step(arg, reply);
}

static int flight_query(struct flight *f, enum flight_state state)
{
    f->state = state;
    return pq_session_query(f->session, f->sql, NULL, on_reply, f);
}

static int flight_copy(struct flight *f, enum flight_state state, const char *sql,
                       const struct pq_copy *copy)
{
    f->state = state;
    return pq_session_copy_in(f->session, sql, buf_str(&copy->data), on_reply, f);
}

/* The stream goes back; the connection too. */
static void flight_end(struct flight *f, uint64_t pause_ms)
{
    struct intake *in = f->intake;
    struct stream *s = f->stream;
    struct pq_session *session = f->session;
    f->session = NULL;
    f->stream = NULL;
    f->state = FLIGHT_IDLE;
    if (session != NULL)
        pq_session_put(session);
    s->in_flight = false;
    s->not_before_ms = clock_mono_ms() + pause_ms;
    if (pause_ms > 0)
        in->stats.retries++;
    else
        s->not_before_ms = 0;
    if (pause_ms > 0 || in->closing)
        stream_expire(in, s, clock_mono_ms());
    stream_ready(in, s);
    stream_maybe_free(in, s);
    intake_serve(in);
    intake_maybe_gone(in);
}

static int flight_lock(struct flight *f)
{
    f->records = 0;
    char node[UUID_TEXT_BYTES];
    uuid_format(&f->stream->node_id, node);
    snprintf(f->sql, sizeof f->sql,
             "BEGIN; INSERT INTO ingest_stream AS s (node_id, epoch) VALUES ('%s', %lld) "
             "ON CONFLICT (node_id, epoch) DO UPDATE SET next_seq = s.next_seq RETURNING next_seq",
             node, (long long)(int64_t)f->stream->epoch);
    return flight_query(f, FLIGHT_LOCK);
}

/* Rows from the front of the queue. Stops at a hole, at the limit, or where the data would get too
 * large. */
static int flight_build(struct flight *f)
{
    struct stream *s = f->stream;
    uint64_t next = f->next_seq;
    int rc = 0;
    intake_rows_reset(&f->rows);
    f->records = f->duplicates = 0;
    f->hole = false;
    bool first = true;
    LIST_FOREACH (it, &s->batches) {
        struct batch *b = container_of(it, struct batch, node);
        struct str rest = b->rest, record;
        uint64_t seq = b->seq;
        while (rc == 0 && record_list_next(&rest, &record) == 0) {
            bool is_gap;
            uint64_t last = record_last_seq(record, seq, &is_gap);
            if (last < next) {
                seq = last + 1;
                continue; /* Known. */
            }
            if (seq > next) {
                f->hole = first;
                goto full;
            }
            if (f->records >= s->limit || intake_rows_bytes(&f->rows) >= FLIGHT_BYTES_MAX)
                goto full;
            if (s->bad_seq == seq)
                rc = intake_rows_add_bad(&f->rows, &s->node_id, s->epoch, seq, record,
                                         str_from(s->bad_sqlstate), str_from(s->bad_reason));
            else
                rc = intake_rows_add(&f->rows, &s->node_id, s->epoch, seq, record);
            f->records++;
            next = last + 1;
            seq = next;
            first = false;
        }
        if (rc != 0)
            break;
        first = false;
    }
full:
    f->after_seq = next;
    return rc != 0 ? rc : intake_rows_finish(&f->rows);
}

/* After the commit: whole batches are answered, a part of one moves its front. */
static void flight_settle(struct flight *f)
{
    struct intake *in = f->intake;
    struct stream *s = f->stream;
    uint32_t bads = f->rows.bads;
    LIST_FOREACH_SAFE (it, tmp, &s->batches) {
        struct batch *b = container_of(it, struct batch, node);
        struct str record;
        bool whole = true;
        while (b->rest.len > 0) {
            struct str rest = b->rest;
            bool is_gap;
            if (record_list_next(&rest, &record) != 0)
                break; /* Framing was checked. */
            uint64_t last = record_last_seq(record, b->seq, &is_gap);
            if (last >= f->after_seq) {
                whole = false;
                break;
            }
            if (last < f->next_seq) {
                b->duplicates++;
                in->stats.duplicates++;
            } else {
                b->stored++;
                in->stats.records++;
            }
            b->seq = last + 1;
            b->rest = rest;
        }
        if (!whole)
            break;
        /* Which record of a flight was bad is in the dead letters; here their number is enough. */
        b->quarantined += bads;
        bads = 0;
        batch_end(in, b, INTAKE_STORED, f->after_seq);
    }
    in->stats.quarantined += f->rows.bads;
}

static int flight_rollback(struct flight *f, int why)
{
    f->retry_status = why;
    snprintf(f->sql, sizeof f->sql, "ROLLBACK");
    return flight_query(f, FLIGHT_ROLLBACK);
}

/* Postgres refused the data: smaller next time, until the culprit stands alone. */
static void stream_refused(struct stream *s, const struct flight *f, const struct pq_reply *reply)
{
    if (f->records != 1) {
        s->limit = f->records > 1 ? f->records / 2 : 1;
        return;
    }
    s->limit = 1;
    s->bad_seq = f->next_seq;
    memcpy(s->bad_sqlstate, reply->sqlstate, sizeof s->bad_sqlstate);
    snprintf(s->bad_reason, sizeof s->bad_reason, "%s", reply->message);
}

/* Every transaction takes the tables in this order, and in each the rows by primary key: no two can
 * wait for each other. */
static const char charges_sql[] =
    "INSERT INTO budget_ledger AS l (budget_id, period_start, cfg, node_id, lease_epoch, cost, "
    "rows) SELECT budget_id, period_start, cfg, node_id, lease_epoch, sum(i.cost)::bigint, "
    "sum(i.rows)::bigint FROM charge_in i, (SELECT '%s'::uuid AS node_id) n "
    "GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2, 3, 4, 5 "
    "ON CONFLICT (budget_id, period_start, cfg, node_id, lease_epoch) DO UPDATE SET "
    "cost = l.cost + excluded.cost, rows = l.rows + excluded.rows, last_received = now(); ";

static int flight_commit(struct flight *f)
{
    struct stream *s = f->stream;
    char node[UUID_TEXT_BYTES], last_ts[96] = "",
                                charges[sizeof charges_sql + UUID_TEXT_BYTES] = "";
    uuid_format(&s->node_id, node);
    int shard = (int)((s->epoch ^ s->node_id.bytes[15]) & 7);
    if (f->rows.last_ts_us > 0)
        snprintf(last_ts, sizeof last_ts,
                 ", last_ts = timestamptz 'epoch' + %lld * interval '1 microsecond'",
                 (long long)f->rows.last_ts_us);
    if (f->rows.spend.charges.count > 0)
        snprintf(charges, sizeof charges, charges_sql, node);
    int n = snprintf(
        f->sql, sizeof f->sql,
        "INSERT INTO usage_hour AS u (hour, key_id, route, model, params_sha, shard, decisions, "
        "failed, explored, explore_cost, cost, unpriced, tokens_in, tokens_out, last_ts) SELECT "
        "hour, key_id, route, model, params_sha, %d, "
        "sum(decisions)::bigint, sum(failed)::bigint, sum(explored)::bigint, "
        "sum(explore_cost)::bigint, sum(cost)::bigint, sum(unpriced)::bigint, "
        "sum(tokens_in)::bigint, sum(tokens_out)::bigint, max(last_ts) "
        "FROM usage_in GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2, 3, 4, 5 "
        "ON CONFLICT (hour, key_id, route, model, params_sha, shard) DO UPDATE SET "
        "decisions = u.decisions + excluded.decisions, failed = u.failed + excluded.failed, "
        "explored = u.explored + excluded.explored, "
        "explore_cost = u.explore_cost + excluded.explore_cost, cost = u.cost + excluded.cost, "
        "unpriced = u.unpriced + excluded.unpriced, tokens_in = u.tokens_in + excluded.tokens_in, "
        "tokens_out = u.tokens_out + excluded.tokens_out, "
        "last_ts = greatest(u.last_ts, excluded.last_ts); "
        "INSERT INTO candidate_hour AS c (hour, route, model, shard, decisions, cost, actual, "
        "q_q16) SELECT hour, route, model, %d, sum(decisions)::bigint, "
        "sum(cost)::bigint, sum(actual)::bigint, sum(q_q16)::bigint FROM candidate_in "
        "GROUP BY 1, 2, 3 ORDER BY 1, 2, 3 "
        "ON CONFLICT (hour, route, model, shard) DO UPDATE SET "
        "decisions = c.decisions + excluded.decisions, cost = c.cost + excluded.cost, "
        "actual = c.actual + excluded.actual, q_q16 = c.q_q16 + excluded.q_q16; "
        "INSERT INTO spend_path (id, key_id, accounts) SELECT DISTINCT ON (path) path, key_id, "
        "accounts FROM spend_in ORDER BY path ON CONFLICT (id) DO NOTHING; "
        "INSERT INTO spend_day AS s (day, path, model, params_sha, source, shard, decisions, "
        "failed, cost, unpriced, tokens_in, tokens_out, tokens_cached, tokens_reasoning) SELECT "
        "day, path, model, params_sha, source, %d, sum(decisions)::bigint, sum(failed)::bigint, "
        "sum(cost)::bigint, sum(unpriced)::bigint, sum(tokens_in)::bigint, "
        "sum(tokens_out)::bigint, sum(tokens_cached)::bigint, sum(tokens_reasoning)::bigint "
        "FROM spend_in GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2, 3, 4, 5 "
        "ON CONFLICT (day, path, model, params_sha, source, shard) DO UPDATE SET "
        "decisions = s.decisions + excluded.decisions, failed = s.failed + excluded.failed, "
        "cost = s.cost + excluded.cost, unpriced = s.unpriced + excluded.unpriced, "
        "tokens_in = s.tokens_in + excluded.tokens_in, "
        "tokens_out = s.tokens_out + excluded.tokens_out, "
        "tokens_cached = s.tokens_cached + excluded.tokens_cached, "
        "tokens_reasoning = s.tokens_reasoning + excluded.tokens_reasoning; "
        "%s%s%s"
        "UPDATE ingest_stream SET next_seq = %llu%s WHERE node_id = '%s' AND epoch = %lld; COMMIT",
        shard, shard, shard, charges, f->rows.prints.sums.count > 0 ? intake_prints_sql : "",
        f->rows.votes == 0
            ? ""
            : "INSERT INTO feedback (ts, request_id, key_id, source, received, score_q16, label, "
              "comment, label_prob) "
              "SELECT ts, request_id, key_id, source, received, score_q16, "
              "label, comment, label_prob / 4294967296.0 FROM feedback_in ORDER BY position ON "
              "CONFLICT DO NOTHING; ",
        (unsigned long long)f->after_seq, last_ts, node, (long long)(int64_t)s->epoch);
    assert(n > 0 && (size_t)n < sizeof f->sql);
    return flight_query(f, FLIGHT_COMMIT);
}

/* Columns by name: a newer schema may have more. */
static const char copy_decision[] =
    "COPY decision (ts, request_id, node_id, epoch, seq, key_id, segment, endpoint, route, alias, "
    "task, policy_sha, params_sha, generation, flags, status, http_status, chosen_model, "
    "served_model, cost, tokens_in, tokens_out, ttft_ms, latency_ms, attempts, excl_any, "
    "text_hash, "
    "detail, greedy_model) FROM STDIN (FORMAT binary)";
static const char copy_attempt[] =
    "COPY attempt (ts, request_id, n, model, server, started, status, reason, ttft_ms, total_ms, "
    "tokens_in, tokens_out, cached, cost, price_id, flags, fingerprint, place, "
    "deployments, usable, equals, picked_by, passed, notes) FROM STDIN (FORMAT binary)";

static const char copy_canary[] =
    "COPY canary_obs (bucket, rollout_id, request_id, unit_hash, arm, stage, slot, stratum, "
    "cluster, status, flags, cost, latency_ms, ttft_ms, tokens_out, chosen_q, chosen_cost, "
    "shadow_q, shadow_cost) FROM STDIN (FORMAT binary)";

/* The COPYs in order; those without rows are left out. */
static int flight_next_copy(struct flight *f)
{
    struct intake_rows *r = &f->rows;
    switch (f->state) {
    case FLIGHT_LOCK:
        if (r->decisions > 0)
            return flight_copy(f, FLIGHT_DECISION, copy_decision, &r->decision);
        /* fall through */
    case FLIGHT_DECISION:
        if (r->attempts > 0)
            return flight_copy(f, FLIGHT_ATTEMPT, copy_attempt, &r->attempt);
        /* fall through */
    case FLIGHT_ATTEMPT:
        if (r->votes > 0)
            return flight_copy(f, FLIGHT_FEEDBACK, "COPY feedback_in FROM STDIN (FORMAT binary)",
                               &r->feedback);
        /* fall through */
    case FLIGHT_FEEDBACK:
        if (r->gaps > 0)
            return flight_copy(f, FLIGHT_GAP,
                               "COPY telemetry_gap (node_id, epoch, from_seq, to_seq, reason) "
                               "FROM STDIN (FORMAT binary)",
                               &r->gap);
        /* fall through */
    case FLIGHT_GAP:
        if (r->bads > 0)
            return flight_copy(f, FLIGHT_BAD,
                               "COPY ingest_deadletter (node_id, epoch, seq, sqlstate, error, raw) "
                               "FROM STDIN (FORMAT binary)",
                               &r->bad);
        /* fall through */
    case FLIGHT_BAD:
        if (r->usage.count > 0)
            return flight_copy(f, FLIGHT_USAGE, "COPY usage_in FROM STDIN (FORMAT binary)",
                               &r->usage_copy);
        /* fall through */
    case FLIGHT_USAGE:
        if (r->candidates.count > 0)
            return flight_copy(f, FLIGHT_CANDIDATE, "COPY candidate_in FROM STDIN (FORMAT binary)",
                               &r->candidate_copy);
        /* fall through */
    case FLIGHT_CANDIDATE:
        if (r->spend.days.count > 0)
            return flight_copy(f, FLIGHT_SPEND, "COPY spend_in FROM STDIN (FORMAT binary)",
                               &r->spend.day_copy);
        /* fall through */
    case FLIGHT_SPEND:
        if (r->spend.charges.count > 0)
            return flight_copy(f, FLIGHT_CHARGE, "COPY charge_in FROM STDIN (FORMAT binary)",
                               &r->spend.charge_copy);
        /* fall through */
    case FLIGHT_CHARGE:
        if (r->prints.sums.count > 0)
            return flight_copy(f, FLIGHT_PRINT, "COPY print_in FROM STDIN (FORMAT binary)",
                               &r->prints.copy);
        /* fall through */
    case FLIGHT_PRINT:
        if (r->canaries > 0)
            return flight_copy(f, FLIGHT_CANARY, copy_canary, &r->canary);
        /* fall through */
    case FLIGHT_CANARY:
        return flight_commit(f);
    case FLIGHT_IDLE:
    case FLIGHT_TAKE:
    case FLIGHT_COMMIT:
    case FLIGHT_ROLLBACK:
        break;
    }
    assert(!"no copy follows this state");
    return ERR_INTERNAL;
}

/* next_seq is locked and known. */
static int flight_locked(struct flight *f, const struct pq_result *result)
{
    f->next_seq = (uint64_t)pq_result_i64(result, 0, 0);
    int rc = flight_build(f);
    if (rc != 0) {
        /* Out of memory for this many: with fewer it may work. */
        if (f->stream->limit > 1 && f->records > 1)
            f->stream->limit = f->records / 2;
        return flight_rollback(f, rc);
    }
    if (f->after_seq == f->next_seq)
        return flight_rollback(f, 0); /* A hole, or all of it known: nothing to write. */
    return flight_next_copy(f);
}

static void flight_retry(struct flight *f)
{
    flight_end(f, f->intake->config.retry_backoff_ms);
}

static void flight_rolled_back(struct flight *f)
{
    if (f->retry_status == ERR_INVALID || f->retry_status == ERR_EXISTS) {
        flight_end(f, 0); /* The stream's limit was lowered. */
        return;
    }
    if (f->retry_status != 0) {
        flight_retry(f);
        return;
    }
    if (f->hole) {
        f->intake->stats.holes++;
        batch_end(f->intake, container_of(f->stream->batches.next, struct batch, node), INTAKE_HOLE,
                  f->next_seq);
    } else {
        flight_settle(f);
    }
    flight_end(f, 0);
}

static void flight_committed(struct flight *f)
{
    struct intake *in = f->intake;
    struct stream *s = f->stream;
    in->stats.transactions++;
    in->stats.last_commit_mono_ms = clock_mono_ms();
    s->bad_seq = 0;
    /* Back to full size step by step: the rest may hold more of the kind. */
    s->limit = s->limit >= FLIGHT_RECORDS_MAX / 2 ? FLIGHT_RECORDS_MAX : s->limit * 2;
    flight_settle(f);
    flight_end(f, 0);
}

static bool is_refusal(int status)
{
    return status == ERR_INVALID || status == ERR_EXISTS;
}

static void flight_step(struct flight *f, const struct pq_reply *reply)
{
    int rc = 0;
    if (reply->status == ERR_UNAVAILABLE || reply->status == ERR_CANCELED) {
        flight_retry(f);
        return;
    }
    if (reply->status != 0 && f->state != FLIGHT_ROLLBACK) {
        if (is_refusal(reply->status))
            stream_refused(f->stream, f, reply);
        else if (reply->status == ERR_TIMEOUT && f->records > 1)
            f->stream->limit = f->records / 2;
        rc = flight_rollback(f, reply->status);
        if (rc != 0)
            flight_retry(f);
        return;
    }
    switch (f->state) {
    case FLIGHT_LOCK:
        rc = flight_locked(f, reply->result);
        break;
    case FLIGHT_DECISION:
    case FLIGHT_ATTEMPT:
    case FLIGHT_FEEDBACK:
    case FLIGHT_GAP:
    case FLIGHT_BAD:
    case FLIGHT_USAGE:
    case FLIGHT_CANDIDATE:
    case FLIGHT_SPEND:
    case FLIGHT_CHARGE:
    case FLIGHT_PRINT:
    case FLIGHT_CANARY:
        rc = flight_next_copy(f);
        break;
    case FLIGHT_COMMIT:
        flight_committed(f);
        return;
    case FLIGHT_ROLLBACK:
        flight_rolled_back(f);
        return;
    case FLIGHT_IDLE:
    case FLIGHT_TAKE:
        assert(!"no reply is awaited in this state");
    }
    if (rc != 0)
        flight_retry(f);
}

void flight_on_session(void *arg, int status, struct pq_session *session)
{
    struct flight *f = arg;
    f->session = session;
    if (status != 0 || flight_lock(f) != 0)
        flight_retry(f);
}
