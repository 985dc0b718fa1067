/* Writing: conn_send tries once, with everything in one system call; usually the kernel takes all
 * and nothing is kept. What it does not take is copied to an output borrowed from the pool and
 * follows by uv_write; more that is sent meanwhile gathers behind it. Once all is gone the output
 * goes back and a request that was told to wait goes on.
 *
 * Failures: a peer that is gone shows in the write and makes the request cancel; a peer that takes
 * nothing is seen by the tick (conn_time.c). */
#include <assert.h>
#include <errno.h>
#include <sys/uio.h>

#include "common/base/mem.h"
#include "dataplane/conn_internal.h"

#define OUT_BYTES_MAX   (64U << 20)
#define SEND_PIECES_MAX 16

/* Pieces are handed to the kernel as they are. */
_Static_assert(sizeof(struct str) == sizeof(struct iovec) &&
                   offsetof(struct str, data) == offsetof(struct iovec, iov_base) &&
                   offsetof(struct str, len) == offsetof(struct iovec, iov_len),
               "a piece is laid out as an iovec");

static struct conn_output *output_take(struct conn *c)
{
    struct conn_pool *p = c->pool;
    struct conn_output *o = freelist_take(&p->outputs);
    if (o == NULL) {
        o = mem_zalloc(sizeof *o);
        if (o == NULL)
            return NULL;
        buf_init(&o->sending, OUT_BYTES_MAX);
        buf_init(&o->waiting, OUT_BYTES_MAX);
    }
    o->conn = c;
    p->outputs_used++;
    c->out = o;
    return o;
}

void conn_output_put(struct conn *c)
{
    struct conn_pool *p = c->pool;
    struct conn_output *o = c->out;
    if (o == NULL)
        return;
    c->out = NULL;
    p->outputs_used--;
    buf_clear(&o->sending);
    buf_clear(&o->waiting);
    if (o->sending.cap > CONN_KEPT_BYTES)
        buf_deinit(&o->sending);
    if (o->waiting.cap > CONN_KEPT_BYTES)
        buf_deinit(&o->waiting);
    if (p->outputs.count < CONN_FREE_MAX) {
        freelist_put(&p->outputs, o);
        return;
    }
    buf_deinit(&o->sending);
    buf_deinit(&o->waiting);
    mem_free(o);
}

static void finish_close(struct conn *c);
static int write_next(struct conn *c);

static void on_written(uv_write_t *req, int status)
{
    struct conn_output *o = container_of(req, struct conn_output, req.write);
    struct conn *c = o->conn;
    c->writing = false;
    buf_clear(&o->sending);
    if (c->state == CONN_CLOSING)
        return;
    o->progress_ms = uv_now(c->pool->loop);
    if (status != 0 || (o->waiting.len > 0 && write_next(c) != 0)) {
        conn_gone(c);
        return;
    }
    if (c->writing)
        return;
    conn_output_put(c);
    if (c->was_full) {
        c->was_full = false;
        if (c->request != NULL && c->state == CONN_BUSY)
            request_writable(c->request);
    }
    if (!c->writing && c->state == CONN_LINGER)
        finish_close(c);
}

static int write_next(struct conn *c)
{
    struct conn_output *o = c->out;
    struct buf swap = o->sending;
    o->sending = o->waiting;
    o->waiting = swap;
    if (o->sending.len > UINT32_MAX)
        return ERR_TOO_LARGE;
    uv_buf_t b = uv_buf_init(o->sending.data, (unsigned)o->sending.len);
    int rc = uv_write(&o->req.write, (uv_stream_t *)&c->tcp, &b, 1, on_written);
    if (rc != 0)
        return err_from_uv(rc);
    c->writing = true;
    o->unsent_seen = o->sending.len;
    o->progress_ms = uv_now(c->pool->loop);
    return 0;
}

size_t conn_queued(const void *client)
{
    const struct conn *c = client;
    if (c->out == NULL)
        return 0;
    return (c->writing ? uv_stream_get_write_queue_size((const uv_stream_t *)&c->tcp) : 0) +
           c->out->waiting.len;
}

/* What the socket did not take of the pieces, from `sent` bytes on, is copied. */
static int keep(struct conn *c, const struct str *pieces, size_t count, size_t sent, size_t total)
{
    if (c->out == NULL && output_take(c) == NULL)
        return ERR_NOMEM;
    struct buf *to = &c->out->waiting;
    if (buf_reserve(to, total - sent) != 0)
        return ERR_CLOSED;
    for (size_t i = 0; i < count; i++) {
        size_t skip = sent < pieces[i].len ? sent : pieces[i].len;
        sent -= skip;
        if (skip < pieces[i].len &&
            buf_append(to, pieces[i].data + skip, pieces[i].len - skip) != 0)
            return ERR_CLOSED;
    }
    c->was_full = true;
    return c->writing ? 0 : write_next(c);
}

int conn_send(void *client, const struct str *pieces, size_t count)
{
    struct conn *c = client;
    size_t sent = 0, total = 0;
    assert(count <= SEND_PIECES_MAX);
    if (c->state == CONN_CLOSING)
        return ERR_CLOSED;
    for (size_t i = 0; i < count; i++)
        total += pieces[i].len;
    if (!c->writing && total > 0) {
        ssize_t n;
        do
            n = writev(c->fd, (const struct iovec *)(const void *)pieces, (int)count);
        while (n < 0 && errno == EINTR);
        if (n < 0 && errno != EAGAIN && errno != ENOBUFS)
            return ERR_CLOSED;
        sent = n > 0 ? (size_t)n : 0;
    }
    return sent == total ? 0 : keep(c, pieces, count, sent, total);
}

static void on_shutdown(uv_shutdown_t *req, int status)
{
    (void)status;
    struct conn *c = container_of(req, struct conn_output, req.shutdown)->conn;
    if (c->state == CONN_LINGER) /* From now on only the peer's end, or linger_ms, is awaited. */
        conn_state_set(c, CONN_LINGER);
}

static void finish_close(struct conn *c)
{
    if (c->shut)
        return;
    if ((c->out == NULL && output_take(c) == NULL) ||
        uv_shutdown(&c->out->req.shutdown, (uv_stream_t *)&c->tcp, on_shutdown) != 0)
        conn_close(c, false);
    else
        c->shut = true;
}

/* Everything was sent or is queued: say the end, then read and drop until the peer ends too. */
void conn_linger(struct conn *c)
{
    conn_state_set(c, CONN_LINGER);
    if (!c->writing)
        finish_close(c);
    if (c->state == CONN_LINGER)
        conn_read(c);
}
