/* Queues of batches by stream, and the flights that are given to them (intake_flight.c). */
#include "controlplane/ingest/intake_flight.h"

#include <assert.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/mem.h"

#define CONNECTIONS_MAX 16U
#define TICK_MS         50U
#define SEQ_MAX         ((uint64_t)INT64_MAX - 1)

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

void stream_maybe_free(struct intake *in, struct stream *s)
{
    if (s->in_flight || !list_empty(&s->batches))
        return;
    list_remove(&s->ready);
    (void)map_remove(&in->streams, (struct str){.data = s->key, .len = sizeof s->key});
    mem_free(s);
}

void batch_end(struct intake *in, struct batch *b, enum intake_outcome outcome, uint64_t next_seq)
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
void stream_expire(struct intake *in, struct stream *s, uint64_t now_ms)
{
    LIST_FOREACH_SAFE (it, tmp, &s->batches) {
        struct batch *b = container_of(it, struct batch, node);
        if (!in->closing && now_ms - b->since_ms < in->config.retry_for_ms)
            return;
        batch_end(in, b, INTAKE_UNAVAILABLE, 0);
    }
}

void stream_ready(struct intake *in, struct stream *s)
{
    list_remove(&s->ready);
    if (!s->in_flight && !list_empty(&s->batches))
        list_push_back(&in->ready, &s->ready);
}

void intake_serve(struct intake *in)
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
        if (pq_session_take(in->pool, flight_on_session, f) != 0) {
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
    "params_sha bytea, decisions bigint, failed bigint, explored bigint, explore_cost bigint, "
    "cost bigint, unpriced bigint, tokens_in bigint, tokens_out bigint, last_ts timestamptz) "
    "ON COMMIT DELETE ROWS; "
    "CREATE TEMP TABLE candidate_in (hour timestamptz, route text, model text, decisions bigint, "
    "cost bigint, actual bigint, q_q16 bigint) ON COMMIT DELETE ROWS; "
    "CREATE TEMP TABLE spend_in (day date, path uuid, key_id bigint, accounts bigint[], model "
    "text, "
    "params_sha bytea, source smallint, decisions bigint, failed bigint, cost bigint, "
    "unpriced bigint, tokens_in bigint, tokens_out bigint, tokens_cached bigint, "
    "tokens_reasoning bigint) ON COMMIT DELETE ROWS; "
    "CREATE TEMP TABLE charge_in (budget_id bigint, period_start timestamptz, cfg integer, "
    "lease_epoch bigint, cost bigint, rows bigint) ON COMMIT DELETE ROWS; "
    "CREATE TEMP TABLE feedback_in (ts timestamptz, request_id uuid, key_id bigint, source text, "
    "received timestamptz, score_q16 integer, label text, comment bytea, position bigint, "
    "label_prob bigint) "
    "ON COMMIT DELETE ROWS; " INTAKE_PRINTS_SETUP;

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

void intake_maybe_gone(struct intake *in)
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
