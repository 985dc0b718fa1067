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
#include "controlplane/ingest/intake.h"

#include <assert.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/list.h"
#include "common/base/map.h"
#include "common/base/mem.h"
#include "controlplane/ingest/intake_rows.h"
#include "controlplane/store/pq.h"

#define FLIGHT_RECORDS_MAX 4000U
#define FLIGHT_BYTES_MAX   (4U << 20)
#define CONNECTIONS_MAX    16U
#define SQL_BYTES          4096U
#define TICK_MS            50U
#define SEQ_MAX            ((uint64_t)INT64_MAX - 1)

struct batch {
    struct list node;
    struct buf records;
    struct str rest; /* Of records: what is not known to be committed. */
    uint64_t seq;    /* Of the first record of rest. */
    uint64_t bytes;
    uint64_t since_ms;
    intake_cb cb;
    void *arg;
    uint32_t stored;
    uint32_t duplicates;
    uint32_t quarantined;
};

struct stream {
    char key[24]; /* node id, epoch */
    struct uuid node_id;
    uint64_t epoch;
    struct list batches;
    struct list ready; /* In intake.ready while it waits for a flight. */
    bool in_flight;
    uint64_t not_before_ms;
    uint32_t limit;   /* Records of the next flight; halves on refusal. */
    uint64_t bad_seq; /* This record alone goes to the dead letters; 0: none. */
    char bad_sqlstate[PQ_SQLSTATE_BYTES];
    char bad_reason[256];
};

enum flight_state {
    FLIGHT_IDLE,
    FLIGHT_TAKE,
    FLIGHT_LOCK,
    FLIGHT_DECISION,
    FLIGHT_ATTEMPT,
    FLIGHT_FEEDBACK,
    FLIGHT_GAP,
    FLIGHT_BAD,
    FLIGHT_USAGE,
    FLIGHT_CANDIDATE,
    FLIGHT_COMMIT,
    FLIGHT_ROLLBACK,
};

struct flight {
    struct intake *intake;
    enum flight_state state;
    struct stream *stream;
    struct pq_session *session;
    struct intake_rows rows;
    uint64_t next_seq;  /* As locked. */
    uint64_t after_seq; /* As it will be after the commit. */
    uint32_t records;   /* New ones of this flight. */
    uint32_t duplicates;
    bool hole;        /* The first batch starts behind next_seq. */
    int retry_status; /* Why a rollback is under way. */
    char sql[SQL_BYTES];
};

struct intake {
    uv_loop_t *loop;
    struct intake_config config;
    struct pq_pool *pool;
    struct map streams;
    struct list ready;
    struct flight *flights;
    uv_timer_t tick;
    bool closing;
    bool pool_gone;
    struct intake_stats stats;
    intake_close_cb close_cb;
    void *close_arg;
};

static void flight_step(struct flight *f, const struct pq_reply *reply);
static void intake_serve(struct intake *in);
static void intake_maybe_gone(struct intake *in);

/* --- streams -----------------------------------------------------------------------------------
 */

static void stream_key(const struct uuid *node_id, uint64_t epoch, char key[24])
{
    memcpy(key, node_id->bytes, 16);
    memcpy(key + 16, &epoch, 8);
}

static struct stream *stream_of(struct intake *in, const struct uuid *node_id, uint64_t epoch)
{
    char key[24];
    stream_key(node_id, epoch, key);
    struct stream *s = map_get(&in->streams, (struct str){.data = key, .len = sizeof key});
    if (s != NULL)
        return s;
    s = mem_zalloc(sizeof *s);
    if (s == NULL)
        return NULL;
    memcpy(s->key, key, sizeof key);
    s->node_id = *node_id;
    s->epoch = epoch;
    s->limit = FLIGHT_RECORDS_MAX;
    list_init(&s->batches);
    list_init(&s->ready);
    if (map_put(&in->streams, (struct str){.data = s->key, .len = sizeof s->key}, s, NULL) != 0) {
        mem_free(s);
        return NULL;
    }
    return s;
}

static void stream_maybe_free(struct intake *in, struct stream *s)
{
    if (s->in_flight || !list_empty(&s->batches))
        return;
    list_remove(&s->ready);
    (void)map_remove(&in->streams, (struct str){.data = s->key, .len = sizeof s->key});
    mem_free(s);
}

static void batch_end(struct intake *in, struct batch *b, enum intake_outcome outcome,
                      uint64_t next_seq)
{
    struct intake_result result = {.outcome = outcome,
                                   .stored = b->stored,
                                   .duplicates = b->duplicates,
                                   .quarantined = b->quarantined};
    if (outcome == INTAKE_STORED)
        result.acked_through = next_seq - 1;
    else if (outcome == INTAKE_HOLE)
        result.expected_seq = next_seq;
    in->stats.queue_bytes -= b->bytes;
    in->stats.batches++;
    intake_cb cb = b->cb;
    void *arg = b->arg;
    list_remove(&b->node);
    buf_deinit(&b->records);
    mem_free(b);
    cb(arg, &result);
}

/* Ends the batches that have waited too long; in order, so that what follows is not stored before
 * what came first. */
static void stream_expire(struct intake *in, struct stream *s, uint64_t now_ms)
{
    LIST_FOREACH_SAFE (it, tmp, &s->batches) {
        struct batch *b = container_of(it, struct batch, node);
        if (!in->closing && now_ms - b->since_ms < in->config.retry_for_ms)
            return;
        batch_end(in, b, INTAKE_UNAVAILABLE, 0);
    }
}

static void stream_ready(struct intake *in, struct stream *s)
{
    list_remove(&s->ready);
    if (!s->in_flight && !list_empty(&s->batches))
        list_push_back(&in->ready, &s->ready);
}

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

static int flight_commit(struct flight *f)
{
    struct stream *s = f->stream;
    char node[UUID_TEXT_BYTES], last_ts[96] = "";
    uuid_format(&s->node_id, node);
    int shard = (int)((s->epoch ^ s->node_id.bytes[15]) & 7);
    if (f->rows.last_ts_us > 0)
        snprintf(last_ts, sizeof last_ts,
                 ", last_ts = timestamptz 'epoch' + %lld * interval '1 microsecond'",
                 (long long)f->rows.last_ts_us);
    int n = snprintf(
        f->sql, sizeof f->sql,
        "INSERT INTO usage_hour AS u (hour, key_id, route, model, params_sha, shard, decisions, "
        "failed, explored, cost, unpriced, tokens_in, tokens_out, last_ts) SELECT hour, key_id, "
        "route, model, params_sha, %d, "
        "sum(decisions)::bigint, sum(failed)::bigint, sum(explored)::bigint, sum(cost)::bigint, "
        "sum(unpriced)::bigint, sum(tokens_in)::bigint, sum(tokens_out)::bigint, max(last_ts) "
        "FROM usage_in GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2, 3, 4, 5 "
        "ON CONFLICT (hour, key_id, route, model, params_sha, shard) DO UPDATE SET "
        "decisions = u.decisions + excluded.decisions, failed = u.failed + excluded.failed, "
        "explored = u.explored + excluded.explored, cost = u.cost + excluded.cost, "
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
        "%s"
        "UPDATE ingest_stream SET next_seq = %llu%s WHERE node_id = '%s' AND epoch = %lld; COMMIT",
        shard, shard,
        f->rows.votes == 0
            ? ""
            : "INSERT INTO feedback (ts, request_id, key_id, source, received, score_q16, label, "
              "comment) "
              "SELECT ts, request_id, key_id, source, received, score_q16, "
              "label, comment FROM feedback_in ORDER BY position ON CONFLICT DO NOTHING; ",
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
    "detail) FROM STDIN (FORMAT binary)";
static const char copy_attempt[] =
    "COPY attempt (ts, request_id, n, model, server, started, status, reason, ttft_ms, total_ms, "
    "tokens_in, tokens_out, cached, cost, price_id, flags) FROM STDIN (FORMAT binary)";

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

static void on_session(void *arg, int status, struct pq_session *session)
{
    struct flight *f = arg;
    f->session = session;
    if (status != 0 || flight_lock(f) != 0)
        flight_retry(f);
}

static void intake_serve(struct intake *in)
{
    if (in->closing)
        return;
    uint64_t now = clock_mono_ms();
    for (unsigned i = 0; i < in->config.connections; i++) {
        struct flight *f = &in->flights[i];
        if (f->state != FLIGHT_IDLE)
            continue;
        struct stream *s = NULL;
        LIST_FOREACH (it, &in->ready) {
            struct stream *candidate = container_of(it, struct stream, ready);
            if (candidate->not_before_ms <= now) {
                s = candidate;
                break;
            }
        }
        if (s == NULL)
            return;
        f->state = FLIGHT_TAKE;
        f->stream = s;
        f->session = NULL;
        if (pq_session_take(in->pool, on_session, f) != 0) {
            f->state = FLIGHT_IDLE;
            f->stream = NULL;
            return; /* The tick tries again. */
        }
        list_remove(&s->ready);
        s->in_flight = true;
    }
}

/* --- the intake --------------------------------------------------------------------------------
 */

static void on_tick(uv_timer_t *timer)
{
    struct intake *in = container_of(timer, struct intake, tick);
    uint64_t now = clock_mono_ms();
    LIST_FOREACH_SAFE (it, tmp, &in->ready) {
        struct stream *s = container_of(it, struct stream, ready);
        if (!pq_pool_is_up(in->pool))
            stream_expire(in, s, now);
        stream_maybe_free(in, s);
    }
    intake_serve(in);
}

static const char setup_sql[] =
    "CREATE TEMP TABLE usage_in (hour timestamptz, key_id bigint, route text, model text, "
    "params_sha bytea, decisions bigint, failed bigint, explored bigint, cost bigint, "
    "unpriced bigint, tokens_in bigint, tokens_out bigint, last_ts timestamptz) "
    "ON COMMIT DELETE ROWS; "
    "CREATE TEMP TABLE candidate_in (hour timestamptz, route text, model text, decisions bigint, "
    "cost bigint, actual bigint, q_q16 bigint) ON COMMIT DELETE ROWS; "
    "CREATE TEMP TABLE feedback_in (ts timestamptz, request_id uuid, key_id bigint, source text, "
    "received timestamptz, score_q16 integer, label text, comment bytea, position bigint) "
    "ON COMMIT DELETE ROWS";

int intake_create(uv_loop_t *loop, const struct intake_config *config, struct intake **out_intake,
                  struct err *err)
{
    struct intake *in = mem_zalloc(sizeof *in);
    if (in == NULL)
        return err_set(err, ERR_NOMEM, "out of memory");
    in->loop = loop;
    in->config = *config;
    in->config.conninfo = NULL; /* The pool has its copy. */
    if (in->config.connections == 0)
        in->config.connections = 4;
    if (in->config.connections > CONNECTIONS_MAX)
        in->config.connections = CONNECTIONS_MAX;
    if (in->config.queue_bytes_max == 0)
        in->config.queue_bytes_max = 64U << 20;
    if (in->config.retry_for_ms == 0)
        in->config.retry_for_ms = 30000;
    if (in->config.retry_backoff_ms == 0)
        in->config.retry_backoff_ms = 250;
    list_init(&in->ready);
    map_init(&in->streams);
    in->flights = mem_calloc(in->config.connections, sizeof *in->flights);
    if (in->flights == NULL) {
        mem_free(in);
        return err_set(err, ERR_NOMEM, "out of memory");
    }
    struct pq_pool_config pool = {.conninfo = config->conninfo,
                                  .application_name = "steelyard-intake",
                                  .size = in->config.connections,
                                  .setup = setup_sql};
    int rc = pq_pool_create(loop, &pool, &in->pool, err);
    if (rc != 0) {
        mem_free(in->flights);
        mem_free(in);
        return rc;
    }
    for (unsigned i = 0; i < in->config.connections; i++) {
        in->flights[i].intake = in;
        intake_rows_init(&in->flights[i].rows);
    }
    (void)uv_timer_init(loop, &in->tick);
    (void)uv_timer_start(&in->tick, on_tick, TICK_MS, TICK_MS);
    *out_intake = in;
    return 0;
}

/* Checks the framing and counts. */
static int check_list(struct str list, uint32_t count, uint64_t first_seq)
{
    struct str record;
    uint32_t n = 0;
    int rc;
    while ((rc = record_list_next(&list, &record)) == 0)
        n++;
    if (rc != ERR_EOF || n != count || n == 0 || first_seq == 0 || first_seq > SEQ_MAX - count)
        return ERR_CORRUPT;
    return 0;
}

int intake_submit(struct intake *in, struct intake_batch *batch, intake_cb cb, void *arg)
{
    if (in->closing)
        return ERR_CANCELED;
    if (batch->records.len > INTAKE_BATCH_BYTES_MAX || batch->count > INTAKE_BATCH_RECORDS_MAX)
        return ERR_TOO_LARGE;
    if (in->stats.queue_bytes > 0 &&
        in->stats.queue_bytes + batch->records.len > in->config.queue_bytes_max)
        return ERR_BUSY;
    int rc = check_list(buf_str(&batch->records), batch->count, batch->first_seq);
    if (rc != 0)
        return rc;
    struct stream *s = stream_of(in, &batch->node_id, batch->epoch);
    if (s == NULL)
        return ERR_NOMEM;
    struct batch *b = mem_zalloc(sizeof *b);
    if (b == NULL) {
        stream_maybe_free(in, s);
        return ERR_NOMEM;
    }
    b->records = batch->records;
    batch->records = (struct buf){0};
    b->rest = buf_str(&b->records);
    b->seq = batch->first_seq;
    b->bytes = b->records.len;
    b->since_ms = clock_mono_ms();
    b->cb = cb;
    b->arg = arg;
    in->stats.queue_bytes += b->bytes;
    list_push_back(&s->batches, &b->node);
    stream_ready(in, s);
    intake_serve(in);
    return 0;
}

static void on_pool_closed(void *arg)
{
    struct intake *in = arg;
    in->pool_gone = true;
    intake_maybe_gone(in);
}

static void on_tick_closed(uv_handle_t *handle)
{
    struct intake *in = container_of(handle, struct intake, tick);
    pq_pool_close(in->pool, on_pool_closed, in);
}

static void intake_maybe_gone(struct intake *in)
{
    if (!in->closing)
        return;
    for (unsigned i = 0; i < in->config.connections; i++) {
        if (in->flights[i].state != FLIGHT_IDLE)
            return;
    }
    if (!in->pool_gone) {
        if (uv_is_closing((uv_handle_t *)&in->tick) == 0)
            uv_close((uv_handle_t *)&in->tick, on_tick_closed);
        return;
    }
    intake_close_cb cb = in->close_cb;
    void *arg = in->close_arg;
    for (unsigned i = 0; i < in->config.connections; i++)
        intake_rows_deinit(&in->flights[i].rows);
    assert(in->streams.count == 0);
    map_deinit(&in->streams);
    mem_free(in->flights);
    mem_free(in);
    if (cb != NULL)
        cb(arg);
}

void intake_close(struct intake *in, intake_close_cb cb, void *arg)
{
    assert(!in->closing);
    in->closing = true;
    in->close_cb = cb;
    in->close_arg = arg;
    LIST_FOREACH_SAFE (it, tmp, &in->ready) {
        struct stream *s = container_of(it, struct stream, ready);
        stream_expire(in, s, clock_mono_ms());
        stream_maybe_free(in, s);
    }
    intake_maybe_gone(in);
}

bool intake_is_up(const struct intake *in)
{
    return pq_pool_is_up(in->pool);
}

struct intake_stats intake_stats(const struct intake *in)
{
    return in->stats;
}
