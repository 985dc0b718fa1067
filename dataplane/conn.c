/* Usual path: on_read parses a head out of `in`, begins a request, decodes the body in place behind
 * the head, hands it over; the request sends through conn_send (one writev; what the socket does
 * not take is copied and follows by uv_write) and ends with on_done, which looks for the next head
 * in what came ahead.
 *
 * Failures: a malformed head or body is answered once and the connection lingers, reading and
 * dropping, so that the answer is not lost to a reset; a peer that leaves while a request runs
 * makes the request cancel; a peer that reads nothing for stall_ms is cut. */
#include "dataplane/conn.h"

#include <assert.h>
#include <string.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/base/rand.h"
#include "dataplane/request/answer.h"

#define IN_KEPT_BYTES   16384U /* Buffers above this are given back between requests. */
#define AHEAD_BYTES_MAX HTTP1_REQUEST_HEAD_BYTES_MAX /* Pipelined: at most one head. */
#define OUT_BYTES_MAX   (64U << 20)
#define FREE_CONNS_MAX  1024U

const struct conn_config conn_defaults = {
    .head_ms = 10000,
    .body_grace_ms = 10000,
    .body_min_rate = 1024,
    .stall_ms = 30000,
    .idle_ms = 75000,
    .max_age_ms = 300000,
    .linger_ms = 2000,
    .body_max_bytes = 32U << 20,
};

enum conn_state { CONN_IDLE, CONN_HEAD, CONN_BODY, CONN_BUSY, CONN_LINGER, CONN_CLOSING };

struct conn {
    struct list link; /* First: the free list's link overlays it. */
    struct conn_pool *pool;
    uv_tcp_t tcp;
    enum conn_state state;
    bool reading;
    bool parsing; /* conn_advance is on the stack. */
    bool socket_closed;
    bool close_after; /* No further request. */
    bool writing;     /* write_req is in flight. */
    bool was_full;    /* The request was told to wait. */
    bool shut;        /* Write side was shut down. */
    struct request *request;
    struct buf in;    /* Head and body of the message at hand. */
    struct buf ahead; /* What came after it, while it is busy. */
    struct http1_head head;
    struct http1_body body;
    size_t body_at;    /* Where the decoded body ends in `in`; it begins at head_bytes. */
    size_t raw_at;     /* Undecoded bytes follow here. */
    struct buf out[2]; /* [0] is being written, [1] gathers. */
    uv_write_t write_req;
    uv_shutdown_t shutdown_req;
    size_t unsent_seen; /* Of the write in flight, at the last tick that saw progress. */
    uint64_t since_ms;  /* Start of the state. */
    uint64_t progress_ms;
    uint64_t retire_ms; /* max_age, jittered; 0: never. */
};

static void conn_advance(struct conn *c);

void conn_pool_init(struct conn_pool *p, uv_loop_t *loop, struct request_env *env,
                    const struct conn_config *config)
{
    p->env = env;
    p->listener = NULL;
    p->config = *config;
    p->loop = loop;
    p->open_count = 0;
    p->free = (struct freelist){0};
    p->closing = false;
    list_init(&p->open);
}

static void conn_free(struct conn *c)
{
    buf_deinit(&c->in);
    buf_deinit(&c->ahead);
    buf_deinit(&c->out[0]);
    buf_deinit(&c->out[1]);
    mem_free(c);
}

void conn_pool_deinit(struct conn_pool *p)
{
    assert(list_empty(&p->open));
    for (struct conn *c; (c = freelist_take(&p->free)) != NULL;)
        conn_free(c);
}

/* Socket and request are gone. */
static void conn_release(struct conn *c)
{
    struct conn_pool *p = c->pool;
    list_remove(&c->link);
    p->open_count--;
    if (p->free.count < FREE_CONNS_MAX && c->in.cap <= IN_KEPT_BYTES &&
        c->out[0].cap <= IN_KEPT_BYTES && c->out[1].cap <= IN_KEPT_BYTES &&
        c->ahead.cap <= IN_KEPT_BYTES)
        freelist_put(&p->free, c);
    else
        conn_free(c);
}

static void on_closed(uv_handle_t *handle)
{
    struct conn *c = container_of((uv_tcp_t *)handle, struct conn, tcp);
    c->socket_closed = true;
    if (c->pool->listener != NULL)
        listener_release(c->pool->listener);
    if (c->request == NULL)
        conn_release(c);
}

static void conn_state_set(struct conn *c, enum conn_state state)
{
    c->state = state;
    c->since_ms = uv_now(c->pool->loop);
}

/* The peer sees a reset when something was left to say: never a clean end of a broken answer. */
static void conn_close(struct conn *c, bool reset)
{
    if (c->state == CONN_CLOSING)
        return;
    conn_state_set(c, CONN_CLOSING);
    if (reset && !c->shut && !uv_is_closing((uv_handle_t *)&c->tcp) &&
        uv_tcp_close_reset(&c->tcp, on_closed) == 0)
        return;
    if (!uv_is_closing((uv_handle_t *)&c->tcp))
        uv_close((uv_handle_t *)&c->tcp, on_closed);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    (void)suggested;
    struct conn *c = container_of((uv_tcp_t *)handle, struct conn, tcp);
    *buf = uv_buf_init(c->pool->read_buffer, sizeof c->pool->read_buffer);
}

static void conn_gone(struct conn *c)
{
    struct request *r = c->request;
    conn_close(c, false);
    if (r != NULL)
        request_gone(r);
}

static void on_read(uv_stream_t *stream, ssize_t nread, const uv_buf_t *buf)
{
    struct conn *c = container_of((uv_tcp_t *)stream, struct conn, tcp);
    if (nread == 0)
        return;
    if (nread < 0) {
        conn_gone(c);
        return;
    }
    struct buf *into = NULL;
    switch (c->state) {
    case CONN_IDLE:
        conn_state_set(c, CONN_HEAD);
        into = &c->in;
        break;
    case CONN_HEAD:
    case CONN_BODY:
        into = &c->in;
        break;
    case CONN_BUSY:
        into = &c->ahead;
        break;
    case CONN_LINGER: /* Dropped. */
    case CONN_CLOSING:
        return;
    }
    if (buf_append(into, buf->base, (size_t)nread) != 0) {
        conn_gone(c);
        return;
    }
    if (c->state != CONN_BUSY) {
        conn_advance(c);
    } else if (c->ahead.len > AHEAD_BYTES_MAX) {
        uv_read_stop(stream);
        c->reading = false;
    }
}

static void conn_read(struct conn *c)
{
    if (c->reading || c->state == CONN_CLOSING)
        return;
    c->reading = uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read) == 0;
    if (!c->reading)
        conn_gone(c);
}

/* ---- writing ---- */

static void conn_finish_close(struct conn *c);
static int conn_write_next(struct conn *c);

static void on_written(uv_write_t *req, int status)
{
    struct conn *c = container_of(req, struct conn, write_req);
    c->writing = false;
    buf_clear(&c->out[0]);
    if (c->state == CONN_CLOSING)
        return;
    c->progress_ms = uv_now(c->pool->loop);
    if (status != 0 || (c->out[1].len > 0 && conn_write_next(c) != 0)) {
        conn_gone(c);
        return;
    }
    if (c->was_full && c->out[1].len == 0) {
        c->was_full = false;
        if (c->request != NULL && c->state == CONN_BUSY)
            request_writable(c->request);
    }
    if (!c->writing && c->state == CONN_LINGER)
        conn_finish_close(c);
}

static int conn_write_next(struct conn *c)
{
    struct buf swap = c->out[0];
    c->out[0] = c->out[1];
    c->out[1] = swap;
    if (c->out[0].len > UINT32_MAX)
        return ERR_TOO_LARGE;
    uv_buf_t b = uv_buf_init(c->out[0].data, (unsigned)c->out[0].len);
    int rc = uv_write(&c->write_req, (uv_stream_t *)&c->tcp, &b, 1, on_written);
    if (rc != 0)
        return err_from_uv(rc);
    c->writing = true;
    c->unsent_seen = c->out[0].len;
    c->progress_ms = uv_now(c->pool->loop);
    return 0;
}

static size_t conn_queued(const void *client)
{
    const struct conn *c = client;
    return (c->writing ? uv_stream_get_write_queue_size((const uv_stream_t *)&c->tcp) : 0) +
           c->out[1].len;
}

#define SEND_PIECES_MAX 16

/* What the socket does not take of the pieces, from `sent` bytes on, is copied. */
static int conn_keep(struct conn *c, const struct str *pieces, size_t count, size_t sent)
{
    for (size_t i = 0; i < count; i++) {
        size_t skip = sent < pieces[i].len ? sent : pieces[i].len;
        sent -= skip;
        if (skip < pieces[i].len &&
            buf_append(&c->out[1], pieces[i].data + skip, pieces[i].len - skip) != 0)
            return ERR_CLOSED;
    }
    c->was_full = true;
    return c->writing ? 0 : conn_write_next(c);
}

static int conn_send(void *client, const struct str *pieces, size_t count)
{
    struct conn *c = client;
    uv_buf_t bufs[SEND_PIECES_MAX];
    size_t sent = 0;
    assert(count <= SEND_PIECES_MAX);
    if (c->state == CONN_CLOSING)
        return ERR_CLOSED;
    if (!c->writing) {
        unsigned n = 0;
        for (size_t i = 0; i < count; i++)
            if (pieces[i].len > 0) /* libuv does not write through the pointer. */
                bufs[n++] = uv_buf_init((char *)(uintptr_t)pieces[i].data, (unsigned)pieces[i].len);
        int rc = n > 0 ? uv_try_write((uv_stream_t *)&c->tcp, bufs, n) : 0;
        if (rc < 0 && rc != UV_EAGAIN)
            return ERR_CLOSED;
        sent = rc > 0 ? (size_t)rc : 0;
    }
    size_t total = 0;
    for (size_t i = 0; i < count; i++)
        total += pieces[i].len;
    return sent == total ? 0 : conn_keep(c, pieces, count, sent);
}

static void on_shutdown(uv_shutdown_t *req, int status)
{
    (void)status;
    struct conn *c = container_of(req, struct conn, shutdown_req);
    if (c->state == CONN_LINGER) /* From now on only the peer's end, or linger_ms, is awaited. */
        conn_state_set(c, CONN_LINGER);
}

static void conn_finish_close(struct conn *c)
{
    if (c->shut)
        return;
    if (uv_shutdown(&c->shutdown_req, (uv_stream_t *)&c->tcp, on_shutdown) != 0)
        conn_close(c, false);
    else
        c->shut = true;
}

/* Everything was sent or is queued: say the end, then read and drop until the peer ends too. */
static void conn_linger(struct conn *c)
{
    conn_state_set(c, CONN_LINGER);
    buf_clear(&c->in);
    buf_clear(&c->ahead);
    if (!c->writing)
        conn_finish_close(c);
    if (c->state == CONN_LINGER)
        conn_read(c);
}

/* ---- messages ---- */

static void conn_reject(struct conn *c, enum fault fault)
{
    struct buf out;
    buf_init(&out, 4096);
    if (answer_write_refusal(fault, &out) == 0) {
        struct str piece = buf_str(&out);
        if (conn_send(c, &piece, 1) != 0) {
            buf_deinit(&out);
            conn_close(c, false);
            return;
        }
    }
    buf_deinit(&out);
    meters_reject(&c->pool->env->meters, fault == FAULT_OVERLOAD ? "overload" : "head");
    conn_linger(c);
}

static void on_done(void *client, enum client_end end)
{
    struct conn *c = client;
    c->request = NULL;
    if (c->socket_closed) {
        conn_release(c);
        return;
    }
    if (c->state == CONN_CLOSING)
        return;
    /* A chunked answer without its last chunk is visibly broken, and the error frame before it
     * still arrives; HTTP/1.0 knows only the reset. */
    if (end == CLIENT_CUT && c->head.minor_version == 0) {
        conn_close(c, true);
        return;
    }
    /* In state BODY the rest of the body was never read: the next message cannot be found. */
    bool unread = c->state == CONN_BODY && c->head.body_kind != HTTP1_BODY_NONE;
    if (end != CLIENT_KEEP || c->close_after || unread) {
        conn_linger(c);
        return;
    }
    /* What lies behind the message, then what came ahead, is the next message. */
    buf_consume(&c->in, c->raw_at <= c->in.len ? c->raw_at : c->in.len);
    if (c->in.len == 0 && c->in.cap > IN_KEPT_BYTES) {
        buf_deinit(&c->in);
        buf_init(&c->in, c->pool->config.body_max_bytes + 2 * HTTP1_REQUEST_HEAD_BYTES_MAX);
    }
    if (c->ahead.len > 0 && buf_append_str(&c->in, buf_str(&c->ahead)) != 0) {
        conn_close(c, true);
        return;
    }
    buf_clear(&c->ahead);
    http1_request_init(&c->head);
    conn_state_set(c, c->in.len > 0 ? CONN_HEAD : CONN_IDLE);
    conn_read(c);
    if (!c->parsing && c->state == CONN_HEAD)
        conn_advance(c);
}

/* What came behind the message stays, for on_done. */
static void conn_release_input(void *client)
{
    struct conn *c = client;
    buf_consume(&c->in, c->raw_at <= c->in.len ? c->raw_at : c->in.len);
    c->raw_at = c->body_at = 0;
    if (c->in.len > 0)
        return;
    buf_deinit(&c->in);
    buf_init(&c->in, c->pool->config.body_max_bytes + 2 * HTTP1_REQUEST_HEAD_BYTES_MAX);
}

static const struct client_ops client_ops = {
    .send = conn_send,
    .queued = conn_queued,
    .release_input = conn_release_input,
    .done = on_done,
};

static enum fault fault_of_reason(enum http1_reason reason)
{
    switch (http1_reason_status(reason)) {
    case 405:
        return FAULT_METHOD;
    case 408:
        return FAULT_HEAD_TIMEOUT;
    case 413:
        return FAULT_TOO_LARGE;
    case 414:
        return FAULT_URI_TOO_LONG;
    case 415:
        return FAULT_MEDIA_TYPE;
    case 417:
        return FAULT_EXPECTATION;
    case 431:
        return FAULT_HEADERS_TOO_LARGE;
    case 505:
        return FAULT_HTTP_VERSION;
    default:
        return FAULT_BAD_HEAD;
    }
}

/* true: the head is complete and a request was begun (it may have ended already). */
static bool conn_head(struct conn *c)
{
    switch (http1_head_parse(&c->head, c->in.data, c->in.len)) {
    case HTTP1_MORE:
        return false;
    case HTTP1_REJECTED:
        conn_reject(c, fault_of_reason(c->head.reason));
        return false;
    case HTTP1_DATA:
    case HTTP1_DONE:
        break;
    }
    c->body_at = c->raw_at = c->head.head_bytes;
    http1_body_init(&c->body, &c->head, c->pool->config.body_max_bytes);
    conn_state_set(c, CONN_BODY);
    uint64_t now_ms = uv_now(c->pool->loop);
    if (!c->head.keep_alive || c->pool->closing || (c->retire_ms != 0 && now_ms >= c->retire_ms))
        c->close_after = true;
    c->request = request_begin(c->pool->env, &client_ops, c, &c->head);
    if (c->request == NULL) {
        if (c->state == CONN_BODY) /* Not begun at all, rather than begun and ended. */
            conn_reject(c, FAULT_OVERLOAD);
        return c->state == CONN_HEAD;
    }
    if (c->head.expect_continue && request_wants_body(c->request)) {
        const struct str go_on = STR("HTTP/1.1 100 Continue\r\n\r\n");
        if (conn_send(c, &go_on, 1) != 0)
            conn_gone(c);
    }
    return c->state == CONN_BODY || c->state == CONN_HEAD;
}

/* Decodes what is there; true: progress was made and something else is next. */
static bool conn_body(struct conn *c)
{
    for (;;) {
        struct str rest = {.data = c->in.data + c->raw_at, .len = c->in.len - c->raw_at};
        struct str piece = STR_NULL;
        enum http1_result result = http1_body_next(&c->body, &rest, &piece);
        c->raw_at = c->in.len - rest.len;
        switch (result) {
        case HTTP1_DATA: /* Chunk heads vanish: the payload closes up. */
            if (piece.data != c->in.data + c->body_at)
                memmove(c->in.data + c->body_at, piece.data, piece.len);
            c->body_at += piece.len;
            break;
        case HTTP1_MORE:
            /* Chunk heads must not pile up in the buffer. */
            if (c->raw_at > c->body_at && c->raw_at == c->in.len)
                c->in.len = c->raw_at = c->body_at;
            return false;
        case HTTP1_REJECTED: {
            struct request *r = c->request;
            enum fault f = fault_of_reason(c->body.reason);
            c->close_after = true;
            conn_state_set(c, CONN_BUSY);
            request_reject(r, f == FAULT_BAD_HEAD ? FAULT_BAD_BODY : f);
            return true;
        }
        case HTTP1_DONE:
            conn_state_set(c, CONN_BUSY);
            http1_head_rebase(&c->head, c->in.data);
            request_body(c->request, (struct str){.data = c->in.data + c->head.head_bytes,
                                                  .len = c->body_at - c->head.head_bytes});
            return true;
        }
    }
}

/* Goes on with what was read, iteratively: a request may end inside, and the next begin. */
static void conn_advance(struct conn *c)
{
    bool again = true;
    c->parsing = true;
    while (again) {
        again = false;
        if (c->state == CONN_HEAD && c->in.len > 0)
            again = conn_head(c);
        else if (c->state == CONN_BODY && c->request != NULL)
            again = conn_body(c);
    }
    c->parsing = false;
}

void conn_open(struct conn_pool *p, int fd)
{
    struct conn *c = freelist_take(&p->free);
    if (c == NULL)
        c = mem_zalloc(sizeof *c);
    if (c == NULL || p->closing) {
        if (c != NULL)
            conn_free(c);
        close(fd);
        if (p->listener != NULL)
            listener_release(p->listener);
        return;
    }
    struct buf in = c->in, ahead = c->ahead, out0 = c->out[0], out1 = c->out[1];
    memset(c, 0, offsetof(struct conn, head)); /* The head is large; its init is enough. */
    c->in = in;
    c->ahead = ahead;
    c->out[0] = out0;
    c->out[1] = out1;
    if (c->in.max == 0) {
        buf_init(&c->in, p->config.body_max_bytes + 2 * HTTP1_REQUEST_HEAD_BYTES_MAX);
        buf_init(&c->ahead, AHEAD_BYTES_MAX + sizeof p->read_buffer);
        buf_init(&c->out[0], OUT_BYTES_MAX);
        buf_init(&c->out[1], OUT_BYTES_MAX);
    }
    buf_clear(&c->in);
    buf_clear(&c->ahead);
    buf_clear(&c->out[0]);
    buf_clear(&c->out[1]);
    c->pool = p;
    list_init(&c->link);
    list_push_back(&p->open, &c->link);
    p->open_count++;
    http1_request_init(&c->head);
    conn_state_set(c, CONN_IDLE);
    c->progress_ms = c->since_ms;
    c->retire_ms = 0;
    if (p->config.max_age_ms != 0)
        c->retire_ms = c->since_ms + p->config.max_age_ms * 9ULL / 10 +
                       rand_below(p->config.max_age_ms / 5ULL + 1);
    uv_tcp_init(p->loop, &c->tcp);
    int rc = uv_tcp_open(&c->tcp, fd);
    if (rc != 0)
        close(fd);
    else
        uv_tcp_nodelay(&c->tcp, 1);
    if (rc != 0)
        conn_close(c, false);
    else
        conn_read(c);
}

/* ---- time ---- */

static void conn_tick(struct conn *c, uint64_t now_ms)
{
    const struct conn_config *config = &c->pool->config;
    uint64_t in_state = now_ms - c->since_ms;
    if (c->writing) {
        size_t unsent = uv_stream_get_write_queue_size((uv_stream_t *)&c->tcp);
        if (unsent < c->unsent_seen) {
            c->unsent_seen = unsent;
            c->progress_ms = now_ms;
        } else if (now_ms - c->progress_ms >= config->stall_ms) {
            struct request *r = c->request;
            conn_close(c, true);
            if (r != NULL)
                request_gone(r);
            return;
        }
    }
    switch (c->state) {
    case CONN_IDLE:
        if (in_state >= config->idle_ms || (c->retire_ms != 0 && now_ms >= c->retire_ms))
            conn_close(c, false);
        break;
    case CONN_HEAD:
        if (in_state >= config->head_ms)
            conn_reject(c, FAULT_HEAD_TIMEOUT);
        break;
    case CONN_BODY:
        if (in_state >= config->body_grace_ms &&
            c->body.payload_bytes < in_state * config->body_min_rate / 1000) {
            c->close_after = true;
            conn_state_set(c, CONN_BUSY);
            request_reject(c->request, FAULT_HEAD_TIMEOUT);
        }
        break;
    case CONN_LINGER:
        if (c->shut && in_state >= config->linger_ms)
            conn_close(c, false);
        break;
    case CONN_BUSY:
    case CONN_CLOSING:
        break;
    }
}

void conn_pool_tick(struct conn_pool *p, uint64_t now_ms)
{
    LIST_FOREACH_SAFE (it, tmp, &p->open)
        conn_tick(container_of(it, struct conn, link), now_ms);
}

void conn_pool_drain(struct conn_pool *p)
{
    p->closing = true;
    LIST_FOREACH_SAFE (it, tmp, &p->open) {
        struct conn *c = container_of(it, struct conn, link);
        c->close_after = true;
        if (c->state == CONN_IDLE)
            conn_close(c, false);
    }
}

void conn_pool_cut(struct conn_pool *p)
{
    p->closing = true;
    LIST_FOREACH_SAFE (it, tmp, &p->open) {
        struct conn *c = container_of(it, struct conn, link);
        struct request *r = c->request;
        conn_close(c, true);
        if (r != NULL)
            request_gone(r);
    }
}

void conn_pool_cut_largest(struct conn_pool *p)
{
    struct conn *largest = NULL;
    size_t most = 0;
    LIST_FOREACH (it, &p->open) {
        struct conn *c = container_of(it, struct conn, link);
        size_t held = c->in.cap + c->ahead.cap + c->out[0].cap + c->out[1].cap;
        if (c->state != CONN_CLOSING && held > most) {
            most = held;
            largest = c;
        }
    }
    if (largest != NULL) {
        struct request *r = largest->request;
        conn_close(largest, true);
        if (r != NULL)
            request_gone(r);
    }
}
