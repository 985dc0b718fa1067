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
#include "common/base/list.h"
#include "common/base/mem.h"
#include "common/base/rand.h"
#include "controlplane/store/pq_internal.h"

#define BACKOFF_FIRST_MS 50U
#define BACKOFF_MAX_MS   5000U
#define SILENCE_GRACE_MS 5000U
#define COPY_CHUNK_BYTES 65536U
#define TICK_MS          250U

enum conn_state { CONN_DOWN, CONN_RESOLVING, CONN_CONNECTING, CONN_SETUP, CONN_READY, CONN_BUSY };

enum op_kind { OP_NONE, OP_QUERY, OP_COPY };

/* The statement in flight. */
struct op {
    enum op_kind kind;
    struct str copy; /* Borrowed from the caller. */
    size_t copy_sent;
    bool copy_open; /* The server takes data. */
    bool copy_ended;
    PGresult *result;     /* Last good result. */
    PGresult *error;      /* First bad one. */
    uint64_t deadline_ms; /* Of our own, after the server's. */
    pq_reply_cb cb;
    void *arg;
};

struct pq_session { /* A connection; handed out when READY. */
    struct pq_pool *pool;
    enum conn_state state;
    PGconn *conn;
    struct pq_options options;
    uv_poll_t *poll;
    int fd;
    int events;
    uv_timer_t retry;
    uv_getaddrinfo_t resolve;
    char hostaddr[64];
    bool resolving;    /* The getaddrinfo callback is still to come. */
    bool held;         /* By a session's user. */
    bool lost_pending; /* Lost inside a call of the user: ended from the next turn. */
    uint32_t backoff_ms;
    uint64_t connect_deadline_ms;
    struct op op;
    uv_work_t cancel_work;
    PGcancel *cancel; /* Set while a cancel runs on a worker thread. */
};

struct waiter {
    struct list node;
    uint64_t since_ms;
    pq_session_cb cb;
    void *arg;
};

struct pq_pool {
    uv_loop_t *loop;
    char *conninfo;
    char *application_name;
    char *setup;
    struct pq_pool_config config;
    struct pq_session *conns;
    struct list waiters;
    unsigned waiting;
    unsigned held;
    unsigned up;
    unsigned closing_handles; /* Until 0 the pool cannot be freed. */
    bool was_up;
    bool closing;
    bool served; /* Waiters are being served: no recursion. */
    uv_timer_t tick;
    pq_close_cb close_cb;
    void *close_arg;
};

static void conn_start(struct pq_session *s);
static void conn_lost(struct pq_session *s, const char *why);
static void conn_step(struct pq_session *s);
static void pool_serve(struct pq_pool *pool);
static void pool_maybe_gone(struct pq_pool *pool);

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

static int poll_want(struct pq_session *s, int events)
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

static void on_retry(uv_timer_t *timer)
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
    if (poll_want(s, UV_WRITABLE) != 0)
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
        (void)uv_timer_start(&s->retry, on_retry,
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

static void op_begin(struct pq_session *s, enum op_kind kind, pq_reply_cb cb, void *arg)
{
    s->op = (struct op){.kind = kind, .cb = cb, .arg = arg};
    s->op.deadline_ms = clock_mono_ms() + s->pool->config.statement_timeout_ms + SILENCE_GRACE_MS;
}

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
        }
    }
    int flushed = PQflush(s->conn);
    if (flushed < 0 || PQstatus(s->conn) == CONNECTION_BAD) {
        conn_lost(s, "connection lost");
        return;
    }
    bool writing = flushed > 0 || s->op.copy_open;
    if (poll_want(s, UV_READABLE | (writing ? UV_WRITABLE : 0)) != 0) {
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
    char sql[1024];
    if (PQsetnonblocking(s->conn, 1) != 0) {
        conn_lost(s, "cannot make the connection non-blocking");
        return;
    }
    snprintf(sql, sizeof sql,
             "SET statement_timeout = %u; SET TimeZone = 'UTC'; SET client_min_messages = warning; "
             "SET bytea_output = hex; SET DateStyle = ISO; %s",
             pool->config.statement_timeout_ms, pool->setup);
    s->state = CONN_SETUP;
    op_begin(s, OP_QUERY, on_setup, s);
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
            if (poll_want(s, UV_READABLE) != 0)
                conn_lost(s, "cannot watch the connection");
            return;
        case PGRES_POLLING_WRITING:
            if (poll_want(s, UV_WRITABLE) != 0)
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

static void on_tick(uv_timer_t *timer)
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
    (void)uv_timer_start(&pool->tick, on_tick, TICK_MS, TICK_MS);
    for (unsigned i = 0; i < config->size; i++) {
        struct pq_session *s = &pool->conns[i];
        s->pool = pool;
        s->fd = -1;
        (void)uv_timer_init(loop, &s->retry);
        /* From the loop: no callback comes from inside create. */
        (void)uv_timer_start(&s->retry, on_retry, 0, 0);
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

static void pool_maybe_gone(struct pq_pool *pool)
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
            (void)uv_timer_start(&pool->tick, on_tick, 0, TICK_MS);
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
    (void)uv_timer_start(&s->retry, on_retry, 0, 0);
    return 0;
}

static int op_sent(struct pq_session *s)
{
    int flushed = PQflush(s->conn);
    if (flushed < 0 || poll_want(s, UV_READABLE | (flushed > 0 ? UV_WRITABLE : 0)) != 0)
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
    op_begin(s, OP_QUERY, cb, arg);
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
    op_begin(s, OP_COPY, cb, arg);
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
        (void)uv_timer_start(&s->retry, on_retry,
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
            (void)uv_timer_start(&pool->tick, on_tick, 0, TICK_MS);
        return;
    }
    op_begin(s, OP_QUERY, on_rolled_back, s);
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
