/* Connections on the loop.
 *
 * Usual path: DOWN -(timer)-> RESOLVING -> CONNECTING -> SETUP -> READY <-> BUSY. A READY
 * connection is handed to whoever waits first; BUSY means a session holds it, with or without a
 * statement in flight. Any failure of the connection -> DOWN with the statement ended as
 * ERR_UNAVAILABLE, and the next attempt after a backoff of 50 ms doubling to 5 s, with jitter.
 * libpq's descriptor may change while connecting and is closed by PQfinish: the poll handle is
 * always stopped first, and each descriptor gets a fresh handle on the heap. While sending, input
 * is taken too, or both sides could wait on full buffers. */
#include <assert.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/base/rand.h"
#include "controlplane/store/pq_pool.h"

#define BACKOFF_FIRST_MS 50U
#define BACKOFF_MAX_MS   5000U
#define COPY_CHUNK_BYTES 65536U
#define SETUP_BYTES      4096U

static void conn_start(struct pq_session *s);
static void conn_lost(struct pq_session *s, const char *why);
static void conn_step(struct pq_session *s);
static void pool_serve(struct pq_pool *pool);

/* --- polling -----------------------------------------------------------------------------------
 */

static void on_poll_closed(uv_handle_t *handle)
{
    mem_free(handle);
}

static void poll_stop(struct pq_session *s)
{
    if (s->poll != NULL) {
        (void)uv_poll_stop(s->poll);
        s->poll->data = NULL;
        uv_close((uv_handle_t *)s->poll, on_poll_closed);
    }
    s->poll = NULL;
    s->fd = -1;
    s->events = 0;
}

static void on_poll(uv_poll_t *handle, int status, int events)
{
    struct pq_session *s = handle->data;
    (void)status; /* libpq finds out by itself, with a better message. */
    (void)events;
    if (s != NULL)
        conn_step(s);
}

int pool_poll_want(struct pq_session *s, int events)
{
    int fd = PQsocket(s->conn);
    if (fd < 0)
        return ERR_UNAVAILABLE;
    if (s->poll == NULL || s->fd != fd) {
        poll_stop(s);
        uv_poll_t *poll = mem_zalloc(sizeof *poll);
        if (poll == NULL)
            return ERR_NOMEM;
        if (uv_poll_init(s->pool->loop, poll, fd) != 0) {
            mem_free(poll);
            return ERR_IO;
        }
        poll->data = s;
        s->poll = poll;
        s->fd = fd;
    }
    if (s->events == events)
        return 0;
    s->events = events;
    return uv_poll_start(s->poll, events, on_poll) == 0 ? 0 : ERR_IO;
}

/* --- connecting --------------------------------------------------------------------------------
 */

void pool_on_retry(uv_timer_t *timer)
{
    struct pq_session *s = container_of(timer, struct pq_session, retry);
    if (s->lost_pending)
        conn_lost(s, "connection lost");
    else if (s->state == CONN_DOWN)
        conn_start(s);
}

static void conn_state_changed(struct pq_pool *pool, bool up, const char *message)
{
    if (pool->was_up == up)
        return;
    pool->was_up = up;
    if (pool->config.on_state != NULL && !pool->closing)
        pool->config.on_state(pool->config.arg, up, message);
}

static void conn_connect(struct pq_session *s)
{
    if (s->hostaddr[0] != '\0')
        pq_options_add(&s->options, "hostaddr", s->hostaddr);
    s->conn = PQconnectStartParams(s->options.keywords, s->options.values, 0);
    pq_options_deinit(&s->options);
    if (s->conn == NULL || PQstatus(s->conn) == CONNECTION_BAD) {
        conn_lost(s, s->conn == NULL ? "out of memory" : PQerrorMessage(s->conn));
        return;
    }
    (void)PQsetNoticeProcessor(s->conn, pq_ignore_notice, NULL);
    s->state = CONN_CONNECTING;
    /* As if PQconnectPoll had said WRITING. */
    if (pool_poll_want(s, UV_WRITABLE) != 0)
        conn_lost(s, "cannot watch the connection");
}

static void on_resolved(uv_getaddrinfo_t *req, int status, struct addrinfo *found)
{
    struct pq_session *s = container_of(req, struct pq_session, resolve);
    s->resolving = false;
    s->hostaddr[0] = '\0';
    if (status == 0 && found != NULL) {
        if (found->ai_family == AF_INET)
            (void)uv_ip4_name((struct sockaddr_in *)(void *)found->ai_addr, s->hostaddr,
                              sizeof s->hostaddr);
        else
            (void)uv_ip6_name((struct sockaddr_in6 *)(void *)found->ai_addr, s->hostaddr,
                              sizeof s->hostaddr);
    }
    uv_freeaddrinfo(found);
    if (s->pool->closing) {
        pq_options_deinit(&s->options);
        s->state = CONN_DOWN;
        pool_maybe_gone(s->pool);
    } else if (s->hostaddr[0] == '\0') {
        conn_lost(s, "the database's host name does not resolve");
    } else {
        conn_connect(s);
    }
}

static void conn_start(struct pq_session *s)
{
    struct pq_pool *pool = s->pool;
    s->connect_deadline_ms = clock_mono_ms() + pool->config.connect_timeout_ms;
    s->state = CONN_RESOLVING;
    s->hostaddr[0] = '\0';
    if (pq_options_init(&s->options, pool->conninfo, pool->application_name,
                        pool->config.connect_timeout_ms, NULL) != 0) {
        conn_lost(s, "out of memory");
        return;
    }
    if (s->options.host == NULL) {
        conn_connect(s);
        return;
    }
    if (uv_getaddrinfo(pool->loop, &s->resolve, on_resolved, s->options.host, s->options.port,
                       NULL) != 0) {
        conn_lost(s, "cannot resolve the database's host name");
        return;
    }
    s->resolving = true;
}

/* Everything after the connection is of no more use; the session's user, if any, keeps it until
 * pq_session_put. */
static void conn_lost(struct pq_session *s, const char *why)
{
    struct pq_pool *pool = s->pool;
    bool was_usable = s->state == CONN_READY || s->state == CONN_BUSY;
    char message[256];
    char state[PQ_SQLSTATE_BYTES];
    pq_error_describe(s->op.error, s->conn, state, message, sizeof message);
    if (s->conn == NULL)
        snprintf(message, sizeof message, "%s", why);
    poll_stop(s);
    PQfinish(s->conn);
    s->conn = NULL;
    if (!s->resolving)
        pq_options_deinit(&s->options);
    s->state = CONN_DOWN;
    s->lost_pending = false;
    if (was_usable) {
        pool->up--;
        if (pool->up == 0)
            conn_state_changed(pool, false, message);
    }
    s->backoff_ms = s->backoff_ms == 0
                        ? BACKOFF_FIRST_MS
                        : (s->backoff_ms * 2 > BACKOFF_MAX_MS ? BACKOFF_MAX_MS : s->backoff_ms * 2);
    if (!pool->closing && !s->held)
        (void)uv_timer_start(&s->retry, pool_on_retry,
                             s->backoff_ms / 2 + rand_below(s->backoff_ms / 2 + 1), 0);
    struct op op = s->op;
    s->op = (struct op){0};
    PQclear(op.result);
    PQclear(op.error);
    if (op.kind != OP_NONE && op.cb != NULL) {
        struct pq_reply reply = {.status = pool->closing ? ERR_CANCELED : ERR_UNAVAILABLE,
                                 .message = message};
        memcpy(reply.sqlstate, state, sizeof state);
        op.cb(op.arg, &reply);
    }
    if (pool->closing)
        pool_maybe_gone(pool);
}

/* --- statements --------------------------------------------------------------------------------
 */

static void op_end(struct pq_session *s)
{
    struct op op = s->op;
    s->op = (struct op){0};
    struct pq_reply reply = {0};
    char message[384] = "";
    if (op.error != NULL) {
        reply.status = pq_error_code(op.error, PQstatus(s->conn) == CONNECTION_BAD);
        pq_error_describe(op.error, s->conn, reply.sqlstate, message, sizeof message);
    } else {
        reply.result = pq_wrap(op.result);
    }
    reply.message = message;
    if (op.cb != NULL)
        op.cb(op.arg, &reply);
    PQclear(op.result);
    PQclear(op.error);
}

/* Pushes COPY data; false: the connection failed. */
static bool op_copy(struct pq_session *s)
{
    struct op *op = &s->op;
    while (op->copy_sent < op->copy.len) {
        size_t n = op->copy.len - op->copy_sent;
        if (n > COPY_CHUNK_BYTES)
            n = COPY_CHUNK_BYTES;
        int rc = PQputCopyData(s->conn, op->copy.data + op->copy_sent, (int)n);
        if (rc < 0)
            return false;
        if (rc == 0)
            return true;
        op->copy_sent += n;
        int flushed = PQflush(s->conn);
        if (flushed < 0)
            return false;
        if (flushed > 0)
            return true; /* Writable will come. */
    }
    int rc = PQputCopyEnd(s->conn, NULL);
    if (rc < 0)
        return false;
    if (rc > 0) {
        op->copy_open = false;
        op->copy_ended = true;
    }
    return true;
}

/* Takes results while there are any. Returns true when the statement is over. */
static bool op_collect(struct pq_session *s)
{
    struct op *op = &s->op;
    while (!op->copy_open && PQisBusy(s->conn) == 0) {
        PGresult *r = PQgetResult(s->conn);
        if (r == NULL)
            return true;
        if (PQresultStatus(r) == PGRES_COPY_IN) {
            PQclear(r);
            if (op->kind != OP_COPY) {
                (void)PQputCopyEnd(s->conn, "not expected");
                continue;
            }
            op->copy_open = true;
        } else if (pq_result_is_ok(r)) {
            PQclear(op->result);
            op->result = r;
        } else if (op->error == NULL) {
            op->error = r;
        } else {
            PQclear(r);
        }
    }
    return false;
}

static void conn_notifies(struct pq_session *s)
{
    for (PGnotify *n; s->conn != NULL && (n = PQnotifies(s->conn)) != NULL; PQfreemem(n)) {
        if (s->pool->config.on_notify != NULL && !s->pool->closing)
            s->pool->config.on_notify(s->pool->config.arg, str_from(n->relname),
                                      str_from(n->extra));
    }
}

/* Moves a connected session on: input, COPY data, output, results. */
static void conn_work(struct pq_session *s)
{
    if (PQconsumeInput(s->conn) == 0) {
        conn_lost(s, "connection lost");
        return;
    }
    conn_notifies(s);
    bool over = false;
    if (s->op.kind != OP_NONE) {
        over = op_collect(s);
        if (!over && s->op.copy_open) {
            if (!op_copy(s)) {
                conn_lost(s, "connection lost");
                return;
            }
            /* An error that came while data was still going out has been read already: no further
             * event will announce it. */
            if (!s->op.copy_open)
                over = op_collect(s);
        }
    }
    int flushed = PQflush(s->conn);
    if (flushed < 0 || PQstatus(s->conn) == CONNECTION_BAD) {
        conn_lost(s, "connection lost");
        return;
    }
    bool writing = flushed > 0 || s->op.copy_open;
    if (pool_poll_want(s, UV_READABLE | (writing ? UV_WRITABLE : 0)) != 0) {
        conn_lost(s, "cannot watch the connection");
        return;
    }
    if (over)
        op_end(s);
}

static void on_setup(void *arg, const struct pq_reply *reply)
{
    struct pq_session *s = arg;
    if (reply->status != 0) {
        if (reply->status != ERR_UNAVAILABLE && reply->status != ERR_CANCELED)
            s->lost_pending = true;
        return;
    }
    s->state = CONN_READY;
    s->backoff_ms = 0;
    s->pool->up++;
    conn_state_changed(s->pool, true, "connected");
}

static void conn_setup(struct pq_session *s)
{
    struct pq_pool *pool = s->pool;
    char sql[SETUP_BYTES + 256];
    if (PQsetnonblocking(s->conn, 1) != 0) {
        conn_lost(s, "cannot make the connection non-blocking");
        return;
    }
    snprintf(sql, sizeof sql,
             "SET statement_timeout = %u; SET TimeZone = 'UTC'; SET client_min_messages = warning; "
             "SET bytea_output = hex; SET DateStyle = ISO; " PQ_NO_JIT "; %s",
             pool->config.statement_timeout_ms, pool->setup);
    s->state = CONN_SETUP;
    pool_op_begin(s, OP_QUERY, on_setup, s);
    if (PQsendQuery(s->conn, sql) == 0) {
        conn_lost(s, "connection lost");
        return;
    }
    conn_work(s);
}

static void conn_step(struct pq_session *s)
{
    struct pq_pool *pool = s->pool;
    switch (s->state) {
    case CONN_CONNECTING:
        switch (PQconnectPoll(s->conn)) {
        case PGRES_POLLING_READING:
            if (pool_poll_want(s, UV_READABLE) != 0)
                conn_lost(s, "cannot watch the connection");
            return;
        case PGRES_POLLING_WRITING:
            if (pool_poll_want(s, UV_WRITABLE) != 0)
                conn_lost(s, "cannot watch the connection");
            return;
        case PGRES_POLLING_OK:
            conn_setup(s);
            break;
        case PGRES_POLLING_FAILED:
        case PGRES_POLLING_ACTIVE:
            conn_lost(s, "cannot connect");
            return;
        }
        break;
    case CONN_SETUP:
    case CONN_READY:
    case CONN_BUSY:
        conn_work(s);
        break;
    case CONN_DOWN:
    case CONN_RESOLVING:
        break;
    }
    if (s->lost_pending)
        conn_lost(s, "setup refused");
    pool_serve(pool);
}

/* --- the pool ----------------------------------------------------------------------------------
 */

static void waiter_end(struct waiter *w, int status, struct pq_session *s)
{
    pq_session_cb cb = w->cb;
    void *arg = w->arg;
    mem_free(w);
    cb(arg, status, s);
}

static void pool_serve(struct pq_pool *pool)
{
    if (pool->served || pool->closing)
        return;
    pool->served = true;
    for (unsigned i = 0; i < pool->config.size; i++) {
        struct pq_session *s = &pool->conns[i];
        /* Again while its user gives it back at once. */
        while (s->state == CONN_READY && !s->lost_pending && !list_empty(&pool->waiters)) {
            struct waiter *w = container_of(list_pop_front(&pool->waiters), struct waiter, node);
            pool->waiting--;
            pool->held++;
            s->held = true;
            s->state = CONN_BUSY;
            waiter_end(w, 0, s);
        }
    }
    pool->served = false;
}

void pool_on_tick(uv_timer_t *timer)
{
    struct pq_pool *pool = container_of(timer, struct pq_pool, tick);
    uint64_t now = clock_mono_ms();
    for (unsigned i = 0; i < pool->config.size; i++) {
        struct pq_session *s = &pool->conns[i];
        if (s->op.kind != OP_NONE && now > s->op.deadline_ms)
            conn_lost(s, "the server is silent");
        else if (s->state == CONN_CONNECTING && now > s->connect_deadline_ms)
            conn_lost(s, "connecting timed out");
    }
    if (pool->up == 0) {
        LIST_FOREACH_SAFE (it, tmp, &pool->waiters) {
            struct waiter *w = container_of(it, struct waiter, node);
            if (now - w->since_ms < pool->config.connect_timeout_ms)
                break; /* In order of arrival. */
            list_remove(it);
            pool->waiting--;
            waiter_end(w, ERR_UNAVAILABLE, NULL);
        }
    }
    pool_serve(pool);
}

int pq_pool_create(uv_loop_t *loop, const struct pq_pool_config *config, struct pq_pool **out_pool,
                   struct err *err)
{
    assert(config->size >= 1 && config->size <= 32);
    struct pq_options probe;
    int rc = pq_options_init(&probe, config->conninfo, "steelyard", 5000, err);
    if (rc != 0)
        return rc;
    pq_options_deinit(&probe);
    if (config->setup != NULL && strlen(config->setup) > SETUP_BYTES)
        return err_set(err, ERR_TOO_LARGE, "setup of a connection is over %u bytes", SETUP_BYTES);
    struct pq_pool *pool = mem_zalloc(sizeof *pool);
    if (pool == NULL)
        return err_set(err, ERR_NOMEM, "out of memory");
    list_init(&pool->waiters);
    pool->loop = loop;
    pool->config = *config;
    if (pool->config.queue_max == 0)
        pool->config.queue_max = 1024;
    if (pool->config.connect_timeout_ms == 0)
        pool->config.connect_timeout_ms = 5000;
    if (pool->config.statement_timeout_ms == 0)
        pool->config.statement_timeout_ms = 30000;
    pool->conninfo = mem_strdup(config->conninfo);
    pool->application_name = mem_strdup(config->application_name);
    pool->setup = mem_strdup(config->setup == NULL ? "" : config->setup);
    pool->conns = mem_calloc(config->size, sizeof *pool->conns);
    if (pool->conninfo == NULL || pool->application_name == NULL || pool->setup == NULL ||
        pool->conns == NULL) {
        mem_free(pool->conninfo);
        mem_free(pool->application_name);
        mem_free(pool->setup);
        mem_free(pool->conns);
        mem_free(pool);
        return err_set(err, ERR_NOMEM, "out of memory");
    }
    (void)uv_timer_init(loop, &pool->tick);
    (void)uv_timer_start(&pool->tick, pool_on_tick, POOL_TICK_MS, POOL_TICK_MS);
    for (unsigned i = 0; i < config->size; i++) {
        struct pq_session *s = &pool->conns[i];
        s->pool = pool;
        s->fd = -1;
        (void)uv_timer_init(loop, &s->retry);
        /* From the loop: no callback comes from inside create. */
        (void)uv_timer_start(&s->retry, pool_on_retry, 0, 0);
    }
    *out_pool = pool;
    return 0;
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct pq_pool *pool = handle->data;
    pool->closing_handles--;
    pool_maybe_gone(pool);
}

void pool_maybe_gone(struct pq_pool *pool)
{
    if (!pool->closing || pool->closing_handles > 0 || pool->held > 0)
        return;
    for (unsigned i = 0; i < pool->config.size; i++) {
        if (pool->conns[i].resolving || pool->conns[i].cancel != NULL)
            return;
    }
    pq_close_cb cb = pool->close_cb;
    void *arg = pool->close_arg;
    mem_free(pool->conninfo);
    mem_free(pool->application_name);
    mem_free(pool->setup);
    mem_free(pool->conns);
    mem_free(pool);
    if (cb != NULL)
        cb(arg);
}

void pq_pool_close(struct pq_pool *pool, pq_close_cb cb, void *arg)
{
    assert(!pool->closing);
    pool->closing = true;
    pool->close_cb = cb;
    pool->close_arg = arg;
    pool->closing_handles = 1 + pool->config.size;
    for (struct list *it; (it = list_pop_front(&pool->waiters)) != NULL;) {
        pool->waiting--;
        waiter_end(container_of(it, struct waiter, node), ERR_CANCELED, NULL);
    }
    for (unsigned i = 0; i < pool->config.size; i++) {
        struct pq_session *s = &pool->conns[i];
        s->retry.data = pool;
        uv_close((uv_handle_t *)&s->retry, on_handle_closed);
        if (s->resolving)
            (void)uv_cancel((uv_req_t *)&s->resolve);
        else if (s->conn != NULL)
            conn_lost(s, "closing");
    }
    pool->tick.data = pool;
    uv_close((uv_handle_t *)&pool->tick, on_handle_closed);
}

bool pq_pool_is_up(const struct pq_pool *pool)
{
    return pool->up > 0;
}
