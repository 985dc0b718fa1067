/* Usual path of a connection: bytes are appended to `in` until a head is complete, the body is
 * taken from there or collected in `body`, the handler is called, and when it has finished, `in`
 * goes on with what came behind. A head or body that is wrong, late or too large is answered here
 * and the connection closed, after reading on for a moment so that the answer is not lost to a
 * reset. A client that leaves or stops reading is cut, and the open request is told. */
#include <assert.h>
#include <string.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "common/net/httpd_internal.h"

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *out)
{
    struct httpd_conn *c = container_of(handle, struct httpd_conn, tcp);
    (void)suggested;
    *out = uv_buf_init(c->server->scratch, HTTPD_READ_BYTES);
}

/* The memory goes in the server's next turn, so that no list is cut while it is walked. */
static void note_when_over(struct httpd_conn *c)
{
    if (c->handle_closed && !c->req.open)
        httpd_kick(c->server);
}

bool httpd_conn_is_over(const struct httpd_conn *c)
{
    return c->handle_closed && !c->req.open;
}

void httpd_conn_free(struct httpd_conn *c)
{
    list_remove(&c->node);
    buf_deinit(&c->in);
    buf_deinit(&c->ahead);
    buf_deinit(&c->body);
    buf_deinit(&c->out);
    buf_deinit(&c->flying);
    buf_deinit(&c->req.headers);
    mem_free(c);
}

static void on_closed(uv_handle_t *handle)
{
    struct httpd_conn *c = container_of(handle, struct httpd_conn, tcp);
    if (c->server->listener != NULL)
        listener_release(c->server->listener);
    c->handle_closed = true;
    note_when_over(c);
}

void httpd_conn_cut(struct httpd_conn *c)
{
    if (c->state == CONN_CLOSED)
        return;
    c->state = CONN_CLOSED;
    uv_close((uv_handle_t *)&c->tcp, on_closed);
    if (!c->req.open || c->req.gone)
        return;
    c->req.gone = true;
    c->req.status = ERR_CLOSED;
    if (c->req.gone_cb != NULL)
        c->req.gone_cb(c->req.gone_arg, &c->req); /* May finish the request. */
}

static void on_read(uv_stream_t *stream, ssize_t count, const uv_buf_t *data);

static void set_reading(struct httpd_conn *c, bool want)
{
    if (c->reading == want || c->state == CONN_CLOSED)
        return;
    c->reading = want;
    if (!want)
        (void)uv_read_stop((uv_stream_t *)&c->tcp);
    else if (uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read) != 0)
        c->broken = true;
}

size_t httpd_conn_queued(const struct httpd_conn *c)
{
    return c->out.len + uv_stream_get_write_queue_size((const uv_stream_t *)&c->tcp);
}

static void enter(struct httpd_conn *c, enum conn_state state)
{
    c->state = state;
    c->since_ms = uv_now(c->server->loop);
}

static void on_shut_down(uv_shutdown_t *shutdown, int status)
{
    (void)status;
    mem_free(shutdown);
}

/* Everything is out. Either closes, or says so to the peer and reads on until it closes too. */
static void close_or_linger(struct httpd_conn *c)
{
    c->close_after = false;
    uv_shutdown_t *shutdown = c->linger_after ? mem_alloc(sizeof(*shutdown)) : NULL;
    if (shutdown == NULL) {
        httpd_conn_cut(c);
        return;
    }
    if (uv_shutdown(shutdown, (uv_stream_t *)&c->tcp, on_shut_down) != 0) {
        mem_free(shutdown);
        httpd_conn_cut(c);
        return;
    }
    enter(c, CONN_LINGER);
    set_reading(c, true);
}

static void on_written(uv_write_t *write, int status)
{
    struct httpd_conn *c = container_of(write, struct httpd_conn, write);
    c->writing = false;
    buf_clear(&c->flying);
    if (c->flying.cap > HTTPD_KEEP_BYTES)
        buf_deinit(&c->flying); /* Its maximum came from out and is set again below. */
    c->flying.max = HTTPD_OUT_BYTES_MAX;
    if (c->state == CONN_CLOSED)
        return;
    if (status != 0) {
        httpd_conn_cut(c);
        return;
    }
    c->progress_ms = uv_now(c->server->loop);
    httpd_conn_flush(c);
    if (c->state == CONN_CLOSED || !c->req.open || !c->req.wants_drain)
        return;
    if (httpd_conn_queued(c) <= c->server->config.stream_mark_bytes) {
        c->req.wants_drain = false;
        if (c->req.drain_cb != NULL)
            c->req.drain_cb(c->req.drain_arg, &c->req);
    }
}

/* Sends what is in out: at once as far as the socket takes it, the rest when it can. Tells nobody
 * of an error: it may run inside the handler's calls. */
void httpd_conn_flush(struct httpd_conn *c)
{
    if (c->state == CONN_CLOSED || c->writing || c->broken)
        return;
    if (c->out.len > 0) {
        uv_buf_t data = uv_buf_init(c->out.data, (unsigned)c->out.len);
        int sent = uv_try_write((uv_stream_t *)&c->tcp, &data, 1);
        if (sent < 0 && sent != UV_EAGAIN) {
            c->broken = true;
            httpd_kick(c->server);
            return;
        }
        buf_consume(&c->out, sent > 0 ? (size_t)sent : 0);
    }
    if (c->out.len > 0) {
        struct buf spare = c->flying;
        c->flying = c->out;
        c->out = spare;
        uv_buf_t data = uv_buf_init(c->flying.data, (unsigned)c->flying.len);
        c->progress_ms = uv_now(c->server->loop);
        c->queued_before = c->flying.len;
        c->writing = uv_write(&c->write, (uv_stream_t *)&c->tcp, &data, 1, on_written) == 0;
        c->broken = !c->writing;
        if (c->broken)
            httpd_kick(c->server);
        return;
    }
    if (c->close_after)
        close_or_linger(c);
}

/* Answers a message that no handler will see, and stops listening to this client. */
static void reject(struct httpd_conn *c, enum http1_reason reason)
{
    struct str text = str_from(http1_reason_text(reason));
    c->server->stats.rejected[reason]++;
    c->close_after = true;
    c->linger_after = true;
    buf_clear(&c->req.headers);
    enter(c, CONN_LINGER); /* Bytes that still come are dropped. */
    if (httpd_write_head(c, http1_reason_status(reason), STR("text/plain"), true, text.len + 1,
                         false) != 0 ||
        buf_append_str(&c->out, text) != 0 || buf_append_char(&c->out, '\n') != 0)
        c->linger_after = false; /* No memory for an answer: just close. */
}

static void answer(struct httpd_conn *c, struct str body)
{
    struct httpd *h = c->server;
    struct httpd_request *req = &c->req;
    struct buf headers = req->headers;
    buf_clear(&headers);
    *req = (struct httpd_request){.headers = headers, .body = body, .open = true};
    enter(c, CONN_ANSWERING);
    c->served = true;
    c->linger_after = true;
    h->running++;
    h->stats.requests++;
    h->config.on_request(h->config.arg, req);
}

/* Feeds the decoder. What is behind the body goes to `ahead`, or stays in `in` when it is there. */
static void take_body(struct httpd_conn *c, struct str *io_input)
{
    struct str piece;
    enum http1_result result;
    while ((result = http1_body_next(&c->decoder, io_input, &piece)) == HTTP1_DATA) {
        if (buf_append_str(&c->body, piece) != 0) {
            httpd_conn_cut(c);
            return;
        }
    }
    if (result == HTTP1_REJECTED)
        reject(c, c->decoder.reason);
}

static void head_done(struct httpd_conn *c)
{
    const struct http1_head *head = &c->head;
    struct str rest = str_slice(buf_str(&c->in), head->head_bytes, c->in.len);
    c->consumed = head->head_bytes;
    buf_clear(&c->body);
    if (head->body_encoded && head->body_kind != HTTP1_BODY_NONE) {
        reject(c, HTTP1_REASON_BODY_ENCODED);
        return;
    }
    http1_body_init(&c->decoder, head, c->server->config.body_max_bytes);
    if (head->body_kind == HTTP1_BODY_LENGTH && c->decoder.reason == HTTP1_REASON_NONE &&
        rest.len >= head->content_length) {
        c->consumed += (size_t)head->content_length;
        answer(c, str_slice(rest, 0, (size_t)head->content_length));
        return;
    }
    enter(c, CONN_BODY);
    bool waits = head->expect_continue && rest.len == 0 && head->body_kind != HTTP1_BODY_NONE;
    struct str left = rest;
    take_body(c, &left);
    if (c->state != CONN_BODY)
        return;
    c->consumed += rest.len - left.len;
    if (http1_body_is_done(&c->decoder))
        answer(c, buf_str(&c->body));
    else if (waits && buf_append_text(&c->out, "HTTP/1.1 100 Continue\r\n\r\n") != 0)
        httpd_conn_cut(c);
}

/* Takes as many requests from the buffer as are answered at once. */
void httpd_conn_process(struct httpd_conn *c)
{
    if (c->processing)
        return;
    c->processing = true;
    while (c->state == CONN_HEAD && c->in.len > 0) {
        enum http1_result result = http1_head_parse(&c->head, c->in.data, c->in.len);
        if (result == HTTP1_MORE)
            break;
        if (result == HTTP1_REJECTED)
            reject(c, c->head.reason);
        else
            head_done(c);
    }
    c->processing = false;
    httpd_conn_flush(c);
}

bool httpd_conn_is_idle(const struct httpd_conn *c)
{
    return c->state == CONN_HEAD && !http1_head_begun(&c->head) && c->in.len == 0 &&
           httpd_conn_queued(c) == 0;
}

static void keep_little(struct buf *b, size_t keep_bytes)
{
    size_t max = b->max;
    if (b->cap <= keep_bytes)
        return;
    buf_deinit(b);
    buf_init(b, max);
}

void httpd_conn_finished(struct httpd_conn *c)
{
    struct httpd *h = c->server;
    assert(c->req.open && h->running > 0);
    h->running--;
    c->req.open = false;
    if (c->state == CONN_CLOSED) {
        note_when_over(c);
        return;
    }
    keep_little(&c->body, HTTPD_KEEP_BYTES);
    if (c->close_after) {
        enter(c, CONN_LINGER);
    } else {
        buf_consume(&c->in, c->consumed);
        c->consumed = 0;
        if (c->in.len == 0)
            keep_little(&c->in, HTTPD_KEEP_BYTES);
        if (c->ahead.len > 0 && buf_append_str(&c->in, buf_str(&c->ahead)) != 0)
            c->broken = true;
        buf_clear(&c->ahead);
        http1_request_init(&c->head);
        enter(c, CONN_HEAD);
        set_reading(c, true);
        if (h->state != HTTPD_RUNNING || c->broken || (c->in.len > 0 && !c->processing))
            httpd_kick(h);
    }
    if (!c->processing)
        httpd_conn_flush(c);
}

static void take_input(struct httpd_conn *c, struct str input)
{
    int rc = 0;
    switch (c->state) {
    case CONN_HEAD:
        if (c->in.len == 0)
            c->since_ms = uv_now(c->server->loop);
        rc = buf_append_str(&c->in, input);
        if (rc == 0)
            httpd_conn_process(c);
        break;
    case CONN_BODY:
        c->processing = true;
        take_body(c, &input);
        if (c->state == CONN_BODY && http1_body_is_done(&c->decoder)) {
            rc = buf_append_str(&c->ahead, input);
            if (rc == 0)
                answer(c, buf_str(&c->body));
        }
        c->processing = false;
        if (rc == 0)
            httpd_conn_process(c); /* Flushes, and goes on with what is behind. */
        break;
    case CONN_ANSWERING:
        rc = buf_append_str(&c->ahead, input);
        if (c->ahead.len >= HTTPD_AHEAD_STOP_BYTES)
            set_reading(c, false);
        break;
    case CONN_LINGER:
    case CONN_CLOSED:
        break;
    }
    if (rc != 0)
        httpd_conn_cut(c);
}

static void on_read(uv_stream_t *stream, ssize_t count, const uv_buf_t *data)
{
    struct httpd_conn *c = container_of(stream, struct httpd_conn, tcp);
    if (count == 0)
        return; /* EAGAIN. */
    if (count > 0) {
        take_input(c, (struct str){.data = data->base, .len = (size_t)count});
        return;
    }
    c->reading = false;
    bool answered = c->state == CONN_HEAD || c->state == CONN_LINGER;
    if (count == UV_EOF && answered && httpd_conn_queued(c) > 0) {
        c->close_after = true; /* It sent all it had and may still read the last answer. */
        c->linger_after = false;
        (void)uv_read_stop(stream);
        return;
    }
    httpd_conn_cut(c);
}

void httpd_conn_accept(void *server, int fd)
{
    struct httpd *h = server;
    struct httpd_conn *c = mem_zalloc(sizeof(*c));
    if (c == NULL || uv_tcp_init(h->loop, &c->tcp) != 0) {
        mem_free(c);
        close(fd);
        listener_release(h->listener);
        return;
    }
    c->server = h;
    buf_init(&c->in, HTTPD_IN_BYTES_MAX);
    buf_init(&c->ahead, HTTPD_IN_BYTES_MAX);
    buf_init(&c->body, h->config.body_max_bytes);
    buf_init(&c->out, HTTPD_OUT_BYTES_MAX);
    buf_init(&c->flying, HTTPD_OUT_BYTES_MAX);
    buf_init(&c->req.headers, HTTPD_HEADERS_BYTES_MAX);
    http1_request_init(&c->head);
    list_push_back(&h->conns, &c->node);
    enter(c, CONN_HEAD);
    if (uv_tcp_open(&c->tcp, fd) != 0) {
        close(fd);
        httpd_conn_cut(c);
        return;
    }
    set_reading(c, true);
    if (c->broken)
        httpd_conn_cut(c);
}

static bool body_is_too_slow(const struct httpd_conn *c, uint64_t now_ms)
{
    const struct httpd_config *config = &c->server->config;
    uint64_t elapsed_ms = now_ms - c->since_ms;
    if (elapsed_ms < config->body_grace_ms)
        return false;
    return c->decoder.payload_bytes < elapsed_ms * config->body_min_bytes_per_s / 1000;
}

static bool is_stalled(struct httpd_conn *c, uint64_t now_ms)
{
    if (!c->writing)
        return false;
    size_t queued = uv_stream_get_write_queue_size((const uv_stream_t *)&c->tcp);
    if (queued != c->queued_before) {
        c->queued_before = queued;
        c->progress_ms = now_ms;
    }
    return now_ms - c->progress_ms >= c->server->config.stall_ms;
}

/* A client that never sends a first request gets no more time than one that drips it. */
static uint64_t idle_limit_ms(const struct httpd_conn *c)
{
    if (c->server->state != HTTPD_RUNNING)
        return 0;
    return c->served ? c->server->config.idle_ms : c->server->config.head_timeout_ms;
}

void httpd_conn_sweep(struct httpd_conn *c, uint64_t now_ms)
{
    const struct httpd_config *config = &c->server->config;
    bool stalled = c->state != CONN_CLOSED && is_stalled(c, now_ms);
    if (stalled)
        c->server->stats.stalled++;
    if (c->broken || stalled) {
        httpd_conn_cut(c);
        return;
    }
    uint64_t elapsed_ms = now_ms - c->since_ms;
    switch (c->state) {
    case CONN_HEAD:
        if (c->in.len > 0 && elapsed_ms >= config->head_timeout_ms) {
            if (http1_head_begun(&c->head))
                reject(c, HTTP1_REASON_HEAD_TIMEOUT);
            else
                c->close_after = true;
            httpd_conn_flush(c);
        } else if (c->in.len == 0 && !c->writing && elapsed_ms >= idle_limit_ms(c)) {
            httpd_conn_cut(c);
        }
        break;
    case CONN_BODY:
        if (body_is_too_slow(c, now_ms)) {
            reject(c, HTTP1_REASON_BODY_TIMEOUT);
            httpd_conn_flush(c);
        }
        break;
    case CONN_LINGER:
        if (!c->writing && elapsed_ms >= HTTPD_LINGER_MS)
            httpd_conn_cut(c);
        break;
    case CONN_ANSWERING:
    case CONN_CLOSED:
        break;
    }
}
