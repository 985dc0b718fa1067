/* Usual path: a change starts the short timer, its end (or the long timer) gathers all nodes into
 * one JSON text, and a job writes it: the replica's row, a row a node. A node that came here from
 * another replica is ours from then on; that it went is written only while the row is still ours,
 * since it may have reached another one before we noticed. Postgres away: tried again at the next
 * turn. */
#include "controlplane/replicas/replicas.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/json/json_writer.h"

#define EVERY_MS   10000U
#define TOUCH_MS   200U
#define ROWS_BYTES (4U << 20)

struct replicas {
    struct replicas_config config;
    char id[REPLICAS_ID_BYTES];
    char address[REPLICAS_ID_BYTES];
    char build[64];
    uv_timer_t every, soon;
    unsigned handles;
    bool writing; /* A job runs; it alone reads what follows. */
    struct buf rows;
    char leads[REPLICAS_TEXT_BYTES];
    bool again; /* Something changed meanwhile. */
    bool closing;
    void (*close_cb)(void *arg);
    void *close_arg;
};

/* --- writing ------------------------------------------------------------------------------------
 */

static int run_write(void *arg, struct pq_conn *c, struct err *err)
{
    const struct replicas *r = arg;
    struct pq_params p = {0};
    pq_params_text(&p, str_from(r->id));
    pq_params_text(&p, str_from(r->address));
    pq_params_text(&p, str_from(r->build));
    pq_params_text(&p, str_from(r->leads));
    int rc = pq_conn_query(c,
                           "INSERT INTO replica AS r (id, address, build, leads) VALUES ($1, $2, "
                           "$3, $4) ON CONFLICT (id) DO UPDATE SET address = excluded.address, "
                           "build = excluded.build, leads = excluded.leads, "
                           "seen = clock_timestamp()",
                           &p, NULL, err);
    pq_params_text(&p, str_from(r->id));
    pq_params_text(&p, buf_str(&r->rows));
    if (rc == 0)
        rc = pq_conn_query(
            c,
            "INSERT INTO node_presence AS n (node_id, replica, connected, applied, nacked, build, "
            "peer, epoch, spool_records, spool_bytes, inflight, seen) "
            "SELECT j.node_id, $1, j.connected, j.applied, j.nacked, j.build, j.peer, j.epoch, "
            "j.spool_records, j.spool_bytes, j.inflight, to_timestamp(j.seen_us / 1e6) "
            "FROM jsonb_to_recordset($2::jsonb) AS j (node_id text, connected boolean, applied "
            "bigint, nacked bigint, build text, peer text, epoch numeric, spool_records bigint, "
            "spool_bytes bigint, inflight bigint, seen_us bigint) ORDER BY 1 "
            "ON CONFLICT (node_id) DO UPDATE SET replica = excluded.replica, "
            "since = CASE WHEN (n.connected, n.replica) IS DISTINCT FROM "
            "(excluded.connected, excluded.replica) THEN clock_timestamp() ELSE n.since END, "
            "connected = excluded.connected, applied = excluded.applied, nacked = excluded.nacked, "
            "build = excluded.build, peer = excluded.peer, epoch = excluded.epoch, "
            "spool_records = excluded.spool_records, spool_bytes = excluded.spool_bytes, "
            "inflight = excluded.inflight, seen = excluded.seen "
            "WHERE excluded.connected OR n.replica = excluded.replica",
            &p, NULL, err);
    pq_params_deinit(&p);
    if (rc == 0)
        rc = pq_conn_script(c,
                            "DELETE FROM node_presence WHERE NOT connected AND "
                            "seen < now() - interval '1 hour'; "
                            "DELETE FROM replica WHERE seen < now() - interval '1 hour'",
                            err);
    return rc;
}

static int run_withdraw(void *arg, struct pq_conn *c, struct err *err)
{
    const struct replicas *r = arg;
    struct pq_params p = {0};
    pq_params_text(&p, str_from(r->id));
    int rc = pq_conn_query(c,
                           "UPDATE node_presence SET connected = false, since = clock_timestamp() "
                           "WHERE replica = $1 AND connected",
                           &p, NULL, err);
    pq_params_text(&p, str_from(r->id));
    if (rc == 0)
        rc = pq_conn_query(c, "DELETE FROM replica WHERE id = $1", &p, NULL, err);
    pq_params_deinit(&p);
    return rc;
}

static int put_node(struct json_writer *w, const struct replicas_node *n)
{
    json_writer_begin_object(w);
    json_writer_key(w, "node_id");
    json_writer_text(w, n->node_id);
    json_writer_key(w, "connected");
    json_writer_bool(w, n->connected);
    json_writer_key(w, "applied");
    json_writer_u64(w, n->applied);
    json_writer_key(w, "nacked");
    json_writer_u64(w, n->nacked);
    json_writer_key(w, "build");
    json_writer_text(w, str_valid_utf8(str_from(n->build)) ? n->build : "?");
    json_writer_key(w, "peer");
    json_writer_text(w, str_valid_utf8(str_from(n->peer)) ? n->peer : "?");
    json_writer_key(w, "epoch");
    json_writer_u64(w, n->epoch);
    json_writer_key(w, "spool_records");
    json_writer_u64(w, n->spool_records & INT64_MAX);
    json_writer_key(w, "spool_bytes");
    json_writer_u64(w, n->spool_bytes & INT64_MAX);
    json_writer_key(w, "inflight");
    json_writer_u64(w, n->inflight);
    json_writer_key(w, "seen_us");
    json_writer_i64(w, n->seen_us);
    json_writer_end_object(w);
    return 0;
}

static int gather(struct replicas *r)
{
    struct json_writer w;
    struct replicas_node node;
    buf_clear(&r->rows);
    json_writer_init(&w, &r->rows);
    json_writer_begin_array(&w);
    for (size_t i = 0; r->config.node_at(r->config.arg, i, &node); i++)
        (void)put_node(&w, &node);
    json_writer_end_array(&w);
    r->leads[0] = '\0';
    if (r->config.leads != NULL)
        r->config.leads(r->config.arg, r->leads, sizeof r->leads);
    return json_writer_finish(&w);
}

static void maybe_withdraw(struct replicas *r);

static void on_soon(uv_timer_t *timer);

static void on_written(void *arg, int status, const struct err *err)
{
    struct replicas *r = arg;
    r->writing = false;
    if (status != 0 && status != ERR_CANCELED && status != ERR_UNAVAILABLE)
        log_event(LOG_WARN, "who is connected here was not written down",
                  LOG_TEXT_FIELD("error", err->message));
    if (r->closing)
        maybe_withdraw(r);
    else if (r->again)
        (void)uv_timer_start(&r->soon, on_soon, TOUCH_MS, 0);
    r->again = false;
}

static void write_rows(struct replicas *r)
{
    if (r->writing || r->closing) {
        r->again = true;
        return;
    }
    if (gather(r) == 0)
        r->writing = work_submit(r->config.work, run_write, on_written, r) == 0;
}

static void on_soon(uv_timer_t *timer)
{
    write_rows(timer->data);
}

void replicas_touch(struct replicas *r)
{
    if (r != NULL && !r->closing && !uv_is_active((uv_handle_t *)&r->soon))
        (void)uv_timer_start(&r->soon, on_soon, TOUCH_MS, 0);
}

/* --- life ---------------------------------------------------------------------------------------
 */

int replicas_start(uv_loop_t *loop, const struct replicas_config *config,
                   struct replicas **out_replicas, struct err *err)
{
    struct replicas *r = mem_zalloc(sizeof *r);
    uint32_t every = config->every_ms != 0 ? config->every_ms : EVERY_MS;
    if (r == NULL)
        return err_set(err, ERR_NOMEM, "%s", err_text(ERR_NOMEM));
    r->config = *config;
    (void)snprintf(r->id, sizeof r->id, "%s", config->id);
    (void)snprintf(r->address, sizeof r->address, "%s", config->address);
    (void)snprintf(r->build, sizeof r->build, "%s", config->build);
    buf_init(&r->rows, ROWS_BYTES);
    (void)uv_timer_init(loop, &r->every);
    (void)uv_timer_init(loop, &r->soon);
    r->every.data = r->soon.data = r;
    r->handles = 2;
    (void)uv_timer_start(&r->every, on_soon, every, every);
    write_rows(r);
    *out_replicas = r;
    return 0;
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct replicas *r = handle->data;
    void (*cb)(void *) = r->close_cb;
    void *arg = r->close_arg;
    if (--r->handles > 0)
        return;
    buf_deinit(&r->rows);
    mem_free(r);
    if (cb != NULL)
        cb(arg);
}

static void on_withdrawn(void *arg, int status, const struct err *err)
{
    struct replicas *r = arg;
    (void)status; /* The rows grow old by themselves. */
    (void)err;
    uv_close((uv_handle_t *)&r->every, on_handle_closed);
    uv_close((uv_handle_t *)&r->soon, on_handle_closed);
}

static void maybe_withdraw(struct replicas *r)
{
    if (r->writing)
        return;
    if (work_submit(r->config.work, run_withdraw, on_withdrawn, r) != 0)
        on_withdrawn(r, ERR_BUSY, NULL);
}

void replicas_close(struct replicas *r, void (*cb)(void *arg), void *arg)
{
    assert(!r->closing);
    r->closing = true;
    r->close_cb = cb;
    r->close_arg = arg;
    (void)uv_timer_stop(&r->every);
    (void)uv_timer_stop(&r->soon);
    maybe_withdraw(r);
}

/* --- asking -------------------------------------------------------------------------------------
 */

int replicas_acked(struct pq_conn *c, uint64_t generation, uint64_t *out_acked,
                   uint64_t *out_connected, struct err *err)
{
    struct pq_params p = {0};
    struct pq_result *r = NULL;
    pq_params_i64(&p, (int64_t)generation);
    pq_params_i64(&p, REPLICAS_ALIVE_S);
    int rc = pq_conn_query(c,
                           "SELECT count(*) FILTER (WHERE n.applied >= $1), count(*) "
                           "FROM node_presence n JOIN replica r ON r.id = n.replica WHERE "
                           "n.connected AND r.seen > now() - $2::bigint * interval '1 second'",
                           &p, &r, err);
    if (rc == 0) {
        *out_acked = (uint64_t)pq_result_i64(r, 0, 0);
        *out_connected = (uint64_t)pq_result_i64(r, 0, 1);
    }
    pq_result_destroy(r);
    return rc;
}

static void read_node(const struct pq_result *r, int row, struct replicas_node *out)
{
    struct str epoch = pq_result_text(r, row, 7);
    *out = (struct replicas_node){.connected = pq_result_bool(r, row, 4),
                                  .applied = (uint64_t)pq_result_i64(r, row, 5),
                                  .nacked = (uint64_t)pq_result_i64(r, row, 6),
                                  .spool_records = (uint64_t)pq_result_i64(r, row, 8),
                                  .spool_bytes = (uint64_t)pq_result_i64(r, row, 9),
                                  .inflight = (uint64_t)pq_result_i64(r, row, 10),
                                  .seen_us = pq_result_time_us(r, row, 11)};
    if (str_parse_u64(epoch, UINT64_MAX, &out->epoch) != 0)
        out->epoch = 0;
    (void)str_copy(pq_result_text(r, row, 0), out->node_id, sizeof out->node_id);
    (void)str_copy(pq_result_text(r, row, 1), out->replica, sizeof out->replica);
    (void)str_copy(pq_result_text(r, row, 2), out->build, sizeof out->build);
    (void)str_copy(pq_result_text(r, row, 3), out->peer, sizeof out->peer);
}

int replicas_nodes(struct pq_conn *c, struct replicas_node **out_nodes, size_t *out_count,
                   struct err *err)
{
    struct pq_params p = {0};
    struct pq_result *r = NULL;
    pq_params_i64(&p, REPLICAS_ALIVE_S);
    pq_params_i64(&p, REPLICAS_NODE_MAX);
    int rc = pq_conn_query(
        c,
        "SELECT n.node_id, n.replica, n.build, n.peer, n.connected AND coalesce(r.seen > now() - "
        "$1::bigint * interval '1 second', false), n.applied, n.nacked, n.epoch, n.spool_records, "
        "n.spool_bytes, n.inflight, n.seen FROM node_presence n LEFT JOIN replica r ON r.id = "
        "n.replica ORDER BY n.node_id LIMIT $2",
        &p, &r, err);
    if (rc != 0)
        return rc;
    size_t count = (size_t)pq_result_rows(r);
    struct replicas_node *nodes = mem_calloc(count + 1, sizeof *nodes);
    for (size_t i = 0; nodes != NULL && i < count; i++)
        read_node(r, (int)i, &nodes[i]);
    pq_result_destroy(r);
    if (nodes == NULL)
        return err_set(err, ERR_NOMEM, "%s", err_text(ERR_NOMEM));
    *out_nodes = nodes;
    *out_count = count;
    return 0;
}
