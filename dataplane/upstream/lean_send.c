/* Bytes out. A plain request goes with one sendmsg over head and spans; over TLS it is sealed
 * first, a bounded part at a time, and what the socket does not take of that is kept: sealed bytes
 * cannot be made again. sendmsg and not writev, so that a closed peer raises no signal. */
#include <assert.h>
#include <errno.h>
#include <sys/socket.h>

#include "common/net/socket_call.h"
#include "dataplane/upstream/lean_internal.h"

#define PIECES_MAX    (FETCH_BODY_SPANS_MAX + 1)
/* A kilobyte of the stack of which a few entries are used: the build zeroes what is not marked. */
#define UNINITIALIZED __attribute__((uninitialized))

static struct iovec part_of(struct str piece)
{
    return (struct iovec){.iov_base = (void *)(uintptr_t)piece.data, .iov_len = piece.len};
}

/* Bytes taken, 0 when the socket is full; ERR_CLOSED. */
static ssize_t send_parts(int fd, struct iovec *parts, size_t count)
{
    const struct msghdr message = {.msg_iov = parts, .msg_iovlen = count};
    ssize_t n;
    do {
        n = socket_call_sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    } while (n < 0 && errno == EINTR);
    if (n >= 0)
        return n;
    return errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS ? 0 : ERR_CLOSED;
}

static ssize_t send_pieces(int fd, const struct str *pieces, size_t count)
{
    UNINITIALIZED struct iovec parts[PIECES_MAX];
    for (size_t i = 0; i < count; i++)
        parts[i] = part_of(pieces[i]);
    return send_parts(fd, parts, count);
}

static size_t total_of(const struct str *pieces, size_t count)
{
    size_t total = 0;
    for (size_t i = 0; i < count; i++)
        total += pieces[i].len;
    return total;
}

/* ---- what is unsent ---- */

/* The next pieces, at most max_bytes of them. */
static size_t next_pieces(const struct lean_unsent *u, size_t max_bytes, struct str *out)
{
    size_t count = 0;
    if (u->head_at < u->head_bytes) {
        size_t len = u->head_bytes - u->head_at;
        len = len < max_bytes ? len : max_bytes;
        out[count++] = (struct str){u->head + u->head_at, len};
        max_bytes -= len;
    }
    size_t offset = u->span_offset;
    for (size_t i = u->span_at; i < u->span_count && max_bytes > 0; i++) {
        struct str piece = str_slice(u->spans[i], offset, u->spans[i].len);
        piece.len = piece.len < max_bytes ? piece.len : max_bytes;
        offset = 0;
        if (piece.len == 0)
            continue;
        out[count++] = piece;
        max_bytes -= piece.len;
    }
    return count;
}

/* So many bytes are gone; true: all are. */
static bool advance(struct transport_call *c, size_t bytes)
{
    struct lean_unsent *u = c->unsent;
    size_t of_head = u->head_bytes - u->head_at;
    of_head = of_head < bytes ? of_head : bytes;
    u->head_at += of_head;
    bytes -= of_head;
    c->result.sent_bytes += bytes;
    while (u->span_at < u->span_count) {
        size_t left = u->spans[u->span_at].len - u->span_offset;
        if (bytes < left) {
            u->span_offset += bytes;
            return false;
        }
        bytes -= left;
        u->span_at++;
        u->span_offset = 0;
    }
    assert(bytes == 0);
    return u->head_at == u->head_bytes;
}

/* ---- plain ---- */

static int plain_more(struct transport_call *c)
{
    UNINITIALIZED struct str pieces[PIECES_MAX];
    ssize_t n = send_pieces(c->conn->fd, pieces, next_pieces(c->unsent, SIZE_MAX, pieces));
    if (n < 0)
        return (int)n;
    if (!advance(c, (size_t)n))
        return ERR_AGAIN;
    lean_unsent_free(c);
    return 0;
}

/* ---- sealed ---- */

bool lean_send_pending(const struct lean_conn *conn)
{
    return conn->secure != NULL && conn->secure->rest.len > 0;
}

int lean_send_cipher(struct lean_conn *conn)
{
    struct buf *cipher = &conn->origin->transport->cipher;
    struct buf *rest = &conn->secure->rest;
    size_t at = 0;
    int rc = 0;
    if (rest->len == 0 && cipher->len > 0) {
        const struct str piece = buf_str(cipher);
        ssize_t n = send_pieces(conn->fd, &piece, 1);
        if (n < 0)
            rc = (int)n;
        else
            at = (size_t)n;
    }
    if (rc == 0 && at < cipher->len)
        rc = buf_append(rest, cipher->data + at, cipher->len - at);
    buf_clear(cipher);
    return rc != 0 ? rc : rest->len > 0 ? ERR_AGAIN : 0;
}

int lean_send_rest(struct lean_conn *conn)
{
    struct buf *rest = &conn->secure->rest;
    if (rest->len == 0)
        return 0;
    const struct str piece = buf_str(rest);
    ssize_t n = send_pieces(conn->fd, &piece, 1);
    if (n < 0)
        return (int)n;
    buf_consume(rest, (size_t)n);
    if (rest->len > 0)
        return ERR_AGAIN;
    buf_deinit(rest);
    buf_init(rest, LEAN_REST_BYTES_MAX);
    return 0;
}

static int seal(struct lean_conn *conn, const struct str *pieces, size_t count)
{
    struct buf *cipher = &conn->origin->transport->cipher;
    int rc = tls_write(conn->secure->tls, pieces, count, cipher);
    if (rc != 0) {
        buf_clear(cipher);
        return rc == ERR_NOMEM ? rc : ERR_CLOSED;
    }
    return lean_send_cipher(conn);
}

static int sealed_more(struct transport_call *c)
{
    struct lean_conn *conn = c->conn;
    UNINITIALIZED struct str pieces[PIECES_MAX];
    int rc = lean_send_rest(conn);
    while (rc == 0 && c->unsent != NULL) {
        size_t count = next_pieces(c->unsent, LEAN_SEAL_BYTES, pieces);
        rc = seal(conn, pieces, count);
        if ((rc == 0 || rc == ERR_AGAIN) && advance(c, total_of(pieces, count)))
            lean_unsent_free(c);
    }
    return rc;
}

/* ---- either ---- */

static int more(struct transport_call *c)
{
    if (c->conn->secure != NULL)
        return sealed_more(c);
    return c->unsent != NULL ? plain_more(c) : 0;
}

int lean_send_more(struct transport_call *c)
{
    int rc = more(c);
    if (rc == 0 || rc == ERR_AGAIN)
        lean_conn_watch(c->conn);
    return rc;
}

/* Sealed a bounded part at a time: what is sealed counts as taken. */
ssize_t lean_send_some(struct transport_call *c, const struct str *pieces, size_t count)
{
    UNINITIALIZED struct str some[PIECES_MAX];
    size_t n = 0, room = LEAN_SEAL_BYTES;
    if (c->conn->secure == NULL)
        return send_pieces(c->conn->fd, pieces, count < PIECES_MAX ? count : PIECES_MAX);
    for (; n < count && n < PIECES_MAX && room > 0; n++) {
        some[n] = str_slice(pieces[n], 0, room);
        room -= some[n].len;
    }
    int rc = seal(c->conn, some, n);
    return rc == 0 || rc == ERR_AGAIN ? (ssize_t)(LEAN_SEAL_BYTES - room) : rc;
}
