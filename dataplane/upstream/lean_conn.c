/* A connection. Usual path: dialled for a call (common/net/dial: name, addresses that are allowed,
 * socket options), a TLS handshake if the origin is https, then exchange after exchange. It is
 * watched for reading from its first use to its end, idle times included, so that an exchange costs
 * no epoll_ctl; only a pause, and a request the socket does not take at once, change that. Bytes or
 * an end on an idle connection close it. A broken one is read to its end first: a reply may stand
 * in front of the break. The kernel is asked to tell of what is new only, or it would look at each
 * socket twice (docs/decisions/0261). */
#include <assert.h>
#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "common/net/socket_call.h"
#include "dataplane/upstream/lean_internal.h"

#define DRAIN_READS_MAX 64U

static void on_poll(uv_poll_t *poll, int status, int events);
static struct str unhold(struct lean_conn *conn);

/* ---- memory ---- */

static struct lean_conn *conn_create(struct transport_origin *o)
{
    struct lean_conn *conn = slab_take(&o->transport->conn_slab);
    if (conn == NULL)
        return NULL;
    *conn = (struct lean_conn){.origin = o, .fd = -1};
    list_init(&conn->link);
    buf_init(&conn->kept, 2 * LEAN_READ_BYTES);
    o->structs++;
    return conn;
}

static void conn_free(struct lean_conn *conn)
{
    struct transport_origin *o = conn->origin;
    slab_give(&o->transport->conn_slab, conn);
    assert(o->structs > 0);
    o->structs--;
    lean_origin_check(o);
}

static void on_poll_closed(uv_handle_t *handle)
{
    conn_free(container_of(handle, struct lean_conn, poll));
}

void lean_conn_close(struct lean_conn *conn)
{
    struct transport_origin *o = conn->origin;
    assert(conn->call == NULL);
    if (conn->held)
        (void)unhold(conn);
    lean_pool_drop(conn);
    lean_reply_forget(conn);
    if (conn->dial != NULL) {
        dial_cancel(&conn->dial->dial); /* Its callback frees it. */
    } else if (conn->fd >= 0) {
        lean_tls_close(conn);
        uv_close((uv_handle_t *)&conn->poll, on_poll_closed);
        close(conn->fd);
        conn->fd = -1;
    } else {
        conn_free(conn); /* It never was one. */
    }
    assert(o->stats.open_connections > 0);
    o->stats.open_connections--;
    lean_pool_slot_free(o);
}

/* ---- watching ---- */

void lean_conn_watch(struct lean_conn *conn)
{
    const struct transport_call *c = conn->call;
    int events = 0;
    if (c == NULL || (!c->paused && conn->kept.len == 0))
        events |= UV_READABLE | UV_DISCONNECT;
    if (lean_send_pending(conn) || (c != NULL && c->state != LEAN_DIALING &&
                                    (c->unsent != NULL || c->wants_room) && !c->send_failed))
        events |= UV_WRITABLE;
    if (events == conn->events)
        return;
    conn->events = (uint8_t)events;
    conn->changes_only = false; /* uv registers it anew, its way. */
    if (events == 0)
        (void)uv_poll_stop(&conn->poll);
    else
        (void)uv_poll_start(&conn->poll, events, on_poll);
}

/* After a read. Where it took all there was, only changes are to be told. Where it left something,
 * or the event spoke of an end, what is there is: registered anew, it is told at once. */
static void watch_changes(struct lean_conn *conn, bool ends)
{
    const bool changes_only = conn->dry && !ends;
    if (conn->events != (UV_READABLE | UV_DISCONNECT) || changes_only == conn->changes_only)
        return;
    struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP, .data.fd = conn->fd};
    if (changes_only)
        event.events |= EPOLLET;
    const int epoll = uv_backend_fd(conn->origin->transport->loop);
    if (epoll_ctl(epoll, EPOLL_CTL_MOD, conn->fd, &event) == 0)
        conn->changes_only = changes_only;
}

/* ---- bytes in ---- */

static void take_plain(struct transport_call *c, struct str bytes)
{
    switch (lean_reply_input(c, &bytes)) {
    case LEAN_REPLY_PAUSED:
        lean_reply_keep(c, bytes);
        break;
    case LEAN_REPLY_COMPLETE:
        lean_call_complete(c, bytes.len == 0);
        break;
    case LEAN_REPLY_MORE:
    case LEAN_REPLY_ENDED:
        break;
    }
}

static void take_end(struct lean_conn *conn, bool clean)
{
    if (conn->secure != NULL)
        lean_tls_end(conn);
    else if (conn->call != NULL)
        lean_reply_end(conn->call, clean);
    else
        lean_conn_close(conn);
}

static size_t bytes_to_read(const struct lean_conn *conn)
{
    if (conn->call == NULL || conn->call->body.kind != HTTP1_BODY_CHUNKED)
        return LEAN_READ_BYTES;
    return conn->origin->transport->kept < LEAN_KEPT_MANY ? LEAN_PIECE_BYTES : LEAN_PIECE_LEAST;
}

static void take_bytes(struct lean_conn *conn, struct str bytes)
{
    if (conn->secure != NULL)
        lean_tls_input(conn, bytes);
    else
        take_plain(conn->call, bytes);
}

/* ---- what is held ---- */

static bool hold(struct lean_conn *conn, struct str bytes)
{
    struct transport *t = conn->origin->transport;
    if (!t->holds || conn->call == NULL || bytes.len > LEAN_HELD_BYTES ||
        t->held_count == LEAN_HELD_MAX || bytes.len > LEAN_HOLD_BYTES - t->held_bytes)
        return false;
    t->held[t->held_count++] =
        (struct lean_held){.conn = conn, .at = t->held_bytes, .bytes = (uint32_t)bytes.len};
    t->held_bytes += (uint32_t)bytes.len;
    conn->held = true;
    return true;
}

static struct str unhold(struct lean_conn *conn)
{
    struct transport *t = conn->origin->transport;
    struct lean_held *h = t->held;
    while (h->conn != conn)
        h++;
    h->conn = NULL;
    conn->held = false;
    return (struct str){t->in + h->at, h->bytes};
}

void lean_conn_work(struct transport *t)
{
    for (uint32_t i = 0; i < t->held_count; i++) {
        struct lean_conn *conn = t->held[i].conn;
        if (conn != NULL)
            take_bytes(conn, unhold(conn));
    }
    t->held_count = t->held_bytes = 0;
    t->holds = !t->closing;
    t->in_turn = true;
}

static bool is_paused(const struct lean_conn *conn)
{
    return conn->call != NULL && (conn->call->paused || conn->kept.len > 0);
}

/* One read. false: there was nothing to read. */
static bool receive(struct lean_conn *conn, bool may_hold)
{
    struct transport *t = conn->origin->transport;
    if (conn->held) { /* That came first. */
        take_bytes(conn, unhold(conn));
        if (conn->fd < 0 || is_paused(conn))
            return true;
    }
    if (conn->call == NULL && conn->secure == NULL) {
        lean_conn_close(conn); /* Nobody asked for what has come, or it is the end. */
        return true;
    }
    const size_t wanted = bytes_to_read(conn);
    char *in = t->in + t->held_bytes;
    ssize_t n = socket_call_recv(conn->fd, in, wanted, MSG_DONTWAIT);
    conn->dry = n < 0 ? errno != EINTR : (size_t)n < wanted;
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
        return errno == EINTR;
    const struct str bytes = {in, n > 0 ? (size_t)n : 0};
    if (n <= 0)
        take_end(conn, n == 0);
    else if (!may_hold || !hold(conn, bytes))
        take_bytes(conn, bytes);
    return true;
}

void lean_conn_drain(struct lean_conn *conn)
{
    unsigned reads = 0; /* A broken one has no more than what its socket holds. */
    while (reads < DRAIN_READS_MAX && conn->fd >= 0 && !is_paused(conn) && receive(conn, false))
        reads++;
    if (conn->fd < 0 || is_paused(conn))
        return; /* What comes after a pause is found out after it. */
    if (conn->call != NULL)
        lean_call_fail(conn->call, ERR_CLOSED);
    else
        lean_conn_close(conn);
}

static void send_more(struct lean_conn *conn)
{
    struct transport_call *c = conn->call;
    if (c != NULL && c->state != LEAN_DIALING) {
        lean_call_send(c);
        return;
    }
    int rc = lean_send_rest(conn);
    if (rc == 0 || rc == ERR_AGAIN)
        lean_conn_watch(conn);
    else
        lean_conn_drain(conn);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct lean_conn *conn = container_of(poll, struct lean_conn, poll);
    if (status < 0) {
        conn->events = 0; /* uv stopped it. */
        lean_conn_drain(conn);
        return;
    }
    if ((events & UV_WRITABLE) != 0)
        send_more(conn);
    if ((events & UV_READABLE) == 0 || (conn->events & UV_READABLE) == 0 || conn->fd < 0)
        return;
    const bool ends = (events & UV_DISCONNECT) != 0;
    (void)receive(conn, !ends);
    if (conn->fd >= 0)
        watch_changes(conn, ends);
}

/* ---- dialling ---- */

static int dial_fault(int status)
{
    return status == ERR_LIMIT || status == ERR_INVALID || status == ERR_BUSY ? ERR_UNREACHABLE
                                                                              : status;
}

static void conn_open(struct lean_conn *conn, int fd)
{
    struct transport_call *c = conn->call;
    struct transport_origin *o = conn->origin;
    if (uv_poll_init(o->transport->loop, &conn->poll, fd) != 0) {
        close(fd);
        lean_call_fail(c, ERR_NOMEM);
        return;
    }
    conn->fd = fd;
    o->stats.connections_opened++;
    if (o->tls != NULL) {
        c->result.phase = FETCH_TLS;
        c->ready_ms = uv_now(o->transport->loop);
        lean_call_arm(c);
        lean_tls_open(conn);
    } else {
        lean_conn_ready(conn);
    }
}

void lean_conn_ready(struct lean_conn *conn)
{
    struct transport_call *c = conn->call;
    c->result.connect_ns = uv_hrtime() - c->started_ns;
    lean_call_begin(c, conn);
    lean_conn_watch(conn);
    lean_call_send(c);
}

static void on_dialled(struct dial *dial)
{
    struct lean_dial *d = container_of(dial, struct lean_dial, dial);
    struct lean_conn *conn = d->conn;
    struct transport_call *c = conn->call;
    const struct dial_result result = dial->result;
    conn->dial = NULL;
    mem_free(d);
    conn->origin->stats.addresses_refused += result.addresses_refused;
    if (c == NULL) {
        if (result.fd >= 0)
            close(result.fd);
        conn_free(conn); /* lean_conn_close has counted it out. */
        return;
    }
    c->result.phase = result.resolved ? FETCH_CONNECT : FETCH_RESOLVE;
    if (result.status != 0)
        lean_call_fail(c, dial_fault(result.status));
    else
        conn_open(conn, result.fd);
}

static uint32_t connect_ms_left(const struct transport_call *c)
{
    uint64_t end = c->started_ms + c->timeouts.connect_ms;
    uint64_t now = uv_now(c->origin->transport->loop);
    return end > now ? (uint32_t)(end - now) : 1;
}

static uint32_t receive_bytes(const struct transport_origin *o)
{
    uint32_t share = LEAN_AHEAD_BYTES / (o->stats.open_connections + 1);
    if (share < LEAN_AHEAD_LEAST)
        share = LEAN_AHEAD_LEAST;
    return share < o->receive_buffer_bytes ? share : o->receive_buffer_bytes;
}

void lean_conn_dial(struct transport_call *c)
{
    struct transport_origin *o = c->origin;
    struct transport *t = o->transport;
    struct lean_conn *conn = conn_create(o);
    struct lean_dial *d = conn != NULL ? mem_zalloc(sizeof *d) : NULL;
    int rc = ERR_NOMEM;
    c->state = LEAN_DIALING;
    if (d != NULL) {
        const struct dial_config config = {
            .host = str_from(o->host),
            .port = o->port,
            .allow_private = o->allow_private,
            .private_only = o->tls == NULL,
            .timeout_ms = connect_ms_left(c),
            .receive_buffer_bytes = receive_bytes(o),
        };
        d->conn = conn;
        rc = dial_start(&d->dial, t->loop, t->resolver, &config, on_dialled);
    }
    if (rc == 0) {
        conn->dial = d;
        conn->call = c;
        c->conn = conn;
        o->stats.open_connections++;
        return;
    }
    mem_free(d); /* The slot was not taken: nobody who waits for one is told. */
    if (conn != NULL)
        conn_free(conn);
    lean_call_fail(c, dial_fault(rc));
}
