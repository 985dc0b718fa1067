/* The users of pooled connections: taking one, statements, COPY, cancelling, giving it back. The
 * connection's own life is in pq_pool.c. */
#include <assert.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/base/rand.h"
#include "controlplane/store/pq_pool.h"

void pool_op_begin(struct pq_session *s, enum op_kind kind, pq_reply_cb cb, void *arg)
{
    s->op = (struct op){.kind = kind, .cb = cb, .arg = arg};
    s->op.deadline_ms =
        clock_mono_ms() + s->pool->config.statement_timeout_ms + POOL_SILENCE_GRACE_MS;
}

/* --- sessions ----------------------------------------------------------------------------------
 */

int pq_session_take(struct pq_pool *pool, pq_session_cb cb, void *arg)
{
    if (pool->closing)
        return ERR_CANCELED;
    if (pool->waiting >= pool->config.queue_max)
        return ERR_BUSY;
    struct waiter *w = mem_zalloc(sizeof *w);
    if (w == NULL)
        return ERR_NOMEM;
    w->cb = cb;
    w->arg = arg;
    w->since_ms = clock_mono_ms();
    list_push_back(&pool->waiters, &w->node);
    pool->waiting++;
    /* Served from the loop's next turn at the latest: a ready connection is woken by its timer. */
    for (unsigned i = 0; i < pool->config.size; i++) {
        if (pool->conns[i].state == CONN_READY) {
            (void)uv_timer_start(&pool->tick, pool_on_tick, 0, POOL_TICK_MS);
            break;
        }
    }
    return 0;
}

/* A statement could not be sent: the caller learns it from the callback on the next turn, as it
 * would had the connection died a moment later. */
static int op_send_failed(struct pq_session *s)
{
    s->lost_pending = true;
    (void)uv_timer_start(&s->retry, pool_on_retry, 0, 0);
    return 0;
}

static int op_sent(struct pq_session *s)
{
    int flushed = PQflush(s->conn);
    if (flushed < 0 || pool_poll_want(s, UV_READABLE | (flushed > 0 ? UV_WRITABLE : 0)) != 0)
        return op_send_failed(s);
    return 0;
}

int pq_session_query(struct pq_session *s, const char *sql, struct pq_params *params,
                     pq_reply_cb cb, void *arg)
{
    assert(s->held && s->op.kind == OP_NONE);
    struct pq_params none = {0};
    if (params == NULL)
        params = &none;
    int rc = params->status;
    if (rc == 0 && (s->conn == NULL || s->lost_pending))
        rc = ERR_UNAVAILABLE;
    if (rc != 0) {
        pq_params_deinit(params);
        return rc;
    }
    struct pq_values values;
    pq_params_values(params, &values);
    pool_op_begin(s, OP_QUERY, cb, arg);
    int sent = params->count == 0
                   ? PQsendQuery(s->conn, sql)
                   : PQsendQueryParams(s->conn, sql, (int)params->count, NULL, values.value,
                                       values.length, values.format, 0);
    pq_params_deinit(params);
    return sent == 0 ? op_send_failed(s) : op_sent(s);
}

int pq_session_copy_in(struct pq_session *s, const char *sql, struct str data, pq_reply_cb cb,
                       void *arg)
{
    assert(s->held && s->op.kind == OP_NONE);
    if (s->conn == NULL || s->lost_pending)
        return ERR_UNAVAILABLE;
    pool_op_begin(s, OP_COPY, cb, arg);
    s->op.copy = data;
    return PQsendQuery(s->conn, sql) == 0 ? op_send_failed(s) : op_sent(s);
}

static void cancel_run(uv_work_t *req)
{
    struct pq_session *s = container_of(req, struct pq_session, cancel_work);
    char message[256];
    (void)PQcancel(s->cancel, message, sizeof message);
}

static void cancel_done(uv_work_t *req, int status)
{
    struct pq_session *s = container_of(req, struct pq_session, cancel_work);
    (void)status;
    PQfreeCancel(s->cancel);
    s->cancel = NULL;
    pool_maybe_gone(s->pool);
}

void pq_session_cancel(struct pq_session *s)
{
    if (s->conn == NULL || s->op.kind == OP_NONE || s->cancel != NULL)
        return;
    s->cancel = PQgetCancel(s->conn);
    if (s->cancel != NULL &&
        uv_queue_work(s->pool->loop, &s->cancel_work, cancel_run, cancel_done) != 0) {
        PQfreeCancel(s->cancel);
        s->cancel = NULL;
    }
}

static void on_rolled_back(void *arg, const struct pq_reply *reply)
{
    struct pq_session *s = arg;
    if (reply->status == 0)
        s->state = CONN_READY;
    else if (s->conn != NULL)
        s->lost_pending = true;
}

void pq_session_put(struct pq_session *s)
{
    struct pq_pool *pool = s->pool;
    assert(s->held);
    s->held = false;
    pool->held--;
    if (pool->closing) {
        pool_maybe_gone(pool);
        return;
    }
    if (s->conn == NULL) {
        (void)uv_timer_start(&s->retry, pool_on_retry,
                             s->backoff_ms / 2 + rand_below(s->backoff_ms / 2 + 1), 0);
        return;
    }
    if (s->op.kind != OP_NONE || s->lost_pending) {
        s->op.cb = NULL;
        (void)op_send_failed(s);
        return;
    }
    if (PQtransactionStatus(s->conn) == PQTRANS_IDLE) {
        s->state = CONN_READY;
        if (!list_empty(&pool->waiters))
            (void)uv_timer_start(&pool->tick, pool_on_tick, 0, POOL_TICK_MS);
        return;
    }
    pool_op_begin(s, OP_QUERY, on_rolled_back, s);
    (void)(PQsendQuery(s->conn, "ROLLBACK") == 0 ? op_send_failed(s) : op_sent(s));
}

/* --- single statements ---------------------------------------------------------------------------
 */

struct single {
    const char *sql;
    struct pq_params params;
    pq_reply_cb cb;
    void *arg;
    struct pq_session *session;
};

static void single_end(struct single *q, const struct pq_reply *reply)
{
    pq_reply_cb cb = q->cb;
    void *arg = q->arg;
    struct pq_session *s = q->session;
    pq_params_deinit(&q->params);
    mem_free(q);
    cb(arg, reply);
    if (s != NULL)
        pq_session_put(s);
}

static void on_single_reply(void *arg, const struct pq_reply *reply)
{
    single_end(arg, reply);
}

static void on_single_session(void *arg, int status, struct pq_session *session)
{
    struct single *q = arg;
    q->session = session;
    if (status == 0)
        status = pq_session_query(session, q->sql, &q->params, on_single_reply, q);
    if (status != 0)
        single_end(q, &(struct pq_reply){.status = status, .message = "no connection"});
}

int pq_query(struct pq_pool *pool, const char *sql, struct pq_params *params, pq_reply_cb cb,
             void *arg)
{
    struct single *q = mem_zalloc(sizeof *q);
    if (q == NULL) {
        if (params != NULL)
            pq_params_deinit(params);
        return ERR_NOMEM;
    }
    *q = (struct single){.sql = sql, .cb = cb, .arg = arg};
    if (params != NULL) {
        q->params = *params;
        *params = (struct pq_params){0};
    }
    int rc = q->params.status != 0 ? q->params.status : pq_session_take(pool, on_single_session, q);
    if (rc != 0) {
        pq_params_deinit(&q->params);
        mem_free(q);
    }
    return rc;
}
