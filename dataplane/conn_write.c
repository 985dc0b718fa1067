/* Writing: what is short is posted: copied to the pool's buffer and sent in the turn's end, or
 * before the loop waits, all connections' together (decisions 0195, 0288), and what is said to one
 * connection in a row in one system call. What is long is tried at once. Usually the kernel takes
 * all and nothing is kept. What it does not take is copied to an output borrowed from the pool and
 * follows by uv_write; more that is sent meanwhile gathers behind it. Once all is gone the output
 * goes back and a request that was told to wait goes on.
 *
 * Failures: a peer that is gone shows in the write and makes the request cancel, for what was
 * posted in the turn's end and never inside another's callback; a peer that takes nothing is seen
 * by the tick (conn_time.c). */
#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "common/base/mem.h"
#include "common/net/socket_call.h"
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

/* Bytes taken, 0 when the socket is full; ERR_CLOSED. What is in one piece, as posts are, needs no
 * vector; neither way raises a signal. */
static ssize_t send_pieces(int fd, const struct str *pieces, size_t count)
{
    const struct msghdr message = {
        .msg_iov = (struct iovec *)(uintptr_t)(const void *)pieces,
        .msg_iovlen = count,
    };
    ssize_t n;
    do
        n = count == 1
                ? socket_call_send(fd, pieces->data, pieces->len, MSG_NOSIGNAL | MSG_DONTWAIT)
                : socket_call_sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    if (n < 0 && errno != EAGAIN && errno != ENOBUFS)
        return ERR_CLOSED;
    return n > 0 ? n : 0;
}

static int send_now(struct conn *c, const struct str *pieces, size_t count, size_t total)
{
    ssize_t sent = c->writing ? 0 : send_pieces(c->fd, pieces, count);
    if (sent < 0)
        return (int)sent;
    return (size_t)sent == total ? 0 : keep(c, pieces, count, (size_t)sent, total);
}

/* ---- at the end of the turn ---- */

static void forget_post(struct conn_post *post)
{
    post->conn->posts--;
    post->conn = NULL;
}

/* Nothing of a connection goes after what failed. */
static int send_post(struct conn_pool *p, const struct conn_post *post)
{
    struct conn *c = post->conn;
    const struct str piece = {p->post_buffer + post->at, post->len};
    if (!c->broken)
        c->broken = send_now(c, &piece, 1, piece.len) != 0;
    return c->broken ? ERR_CLOSED : 0;
}

int conn_flush(struct conn *c)
{
    struct conn_pool *p = c->pool;
    int rc = 0;
    for (uint32_t i = 0; c->posts > 0; i++) {
        assert(i < p->post_count);
        struct conn_post *post = &p->posts[i];
        if (post->conn != c)
            continue;
        rc = send_post(p, post);
        forget_post(post);
    }
    return rc;
}

/* Tells nobody, for a callback of any connection may be on the stack: posts of the broken stay. */
static void send_posts(struct conn_pool *p)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < p->post_count; i++) {
        struct conn_post *post = &p->posts[i];
        if (post->conn == NULL)
            continue;
        if (send_post(p, post) == 0)
            forget_post(post);
        else
            p->posts[kept++] = *post;
    }
    p->post_count = kept;
    p->posted_bytes = 0;
}

static void before_the_loop_waits(uv_prepare_t *turn)
{
    struct conn_pool *p = container_of(turn, struct conn_pool, turn);
    uv_prepare_stop(turn);
    while (p->post_count > 0) {
        send_posts(p);
        for (uint32_t i = 0; i < p->post_count; i++)
            if (p->posts[i].conn != NULL && p->posts[i].conn->broken)
                conn_gone(p->posts[i].conn); /* Takes its posts along. */
    }
}

static void send_later(struct conn_pool *p)
{
    uv_prepare_start(&p->turn, before_the_loop_waits);
}

void conn_end_turn(void *pool)
{
    struct conn_pool *p = pool;
    p->in_turn = false;
    send_posts(p);
    if (p->post_count > 0) /* Of the broken. */
        send_later(p);
}

static bool post(struct conn *c, const struct str *pieces, size_t count, size_t total)
{
    struct conn_pool *p = c->pool;
    if (c->writing || total > CONN_POST_BYTES)
        return false;
    if (p->post_count == CONN_POSTS_MAX || total > sizeof p->post_buffer - p->posted_bytes)
        send_posts(p);
    if (p->post_count == CONN_POSTS_MAX) /* All broken. */
        return false;
    struct conn_post *last = p->post_count > 0 ? &p->posts[p->post_count - 1] : NULL;
    if (last != NULL && last->conn == c) {
        last->len += (uint32_t)total;
    } else {
        p->posts[p->post_count++] =
            (struct conn_post){.conn = c, .at = p->posted_bytes, .len = (uint32_t)total};
        c->posts++;
        if (!p->in_turn)
            send_later(p);
    }
    for (size_t i = 0; i < count; i++) {
        if (pieces[i].len > 0)
            memcpy(p->post_buffer + p->posted_bytes, pieces[i].data, pieces[i].len);
        p->posted_bytes += (uint32_t)pieces[i].len;
    }
    return true;
}

int conn_send(void *client, const struct str *pieces, size_t count)
{
    struct conn *c = client;
    size_t total = 0;
    assert(count <= SEND_PIECES_MAX);
    if (c->state == CONN_CLOSING || c->broken)
        return ERR_CLOSED;
    for (size_t i = 0; i < count; i++)
        total += pieces[i].len;
    if (total == 0 || post(c, pieces, count, total))
        return 0;
    int rc = conn_flush(c);
    return rc != 0 ? rc : send_now(c, pieces, count, total);
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
    if (conn_flush(c) != 0)
        conn_close(c, false);
    else if (!c->writing)
        finish_close(c);
    if (c->state == CONN_LINGER)
        conn_read(c);
}
