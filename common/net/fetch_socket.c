/* Sockets between curl and uv. Usual path: opened here after the address was checked, registered
 * for reading when curl first waits on it, left registered while the connection is idle and used
 * again, closed here. An idle connection that turns readable was closed by its peer or is
 * misbehaving: what it says is thrown away and the connection shut, so that curl finds it dead when
 * it looks at it before using it again (bytes alone would not tell it).
 *
 * curl closes a socket that is still connecting (cancelled, out of time, or the slower of two
 * address families) without telling. Its number may be another file's by then, and the loop must
 * not be asked to watch it: hence the inode, and the list of what an exchange opened. */
#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "common/net/fetch_internal.h"
#include "common/net/undelivered.h"

#define SOCKET_SLOTS_MIN 64U
#define SPOIL_READS_MAX  64

static struct fetch_socket *find_socket(const struct fetch_loop *fl, int fd)
{
    return fd >= 0 && (size_t)fd < fl->socket_slots ? fl->sockets[fd] : NULL;
}

bool fetch_socket_is_open(const struct fetch_origin *o, int fd)
{
    const struct fetch_socket *s = find_socket(o->loop, fd);
    return s != NULL && s->origin == o;
}

static int make_slot(struct fetch_loop *fl, int fd)
{
    if ((size_t)fd < fl->socket_slots)
        return 0;
    size_t slots = fl->socket_slots != 0 ? fl->socket_slots : SOCKET_SLOTS_MIN;
    while (slots <= (size_t)fd)
        slots *= 2;
    struct fetch_socket **grown = mem_realloc(fl->sockets, slots * sizeof(struct fetch_socket *));
    if (grown == NULL)
        return ERR_NOMEM;
    memset(grown + fl->socket_slots, 0, (slots - fl->socket_slots) * sizeof(struct fetch_socket *));
    fl->sockets = grown;
    fl->socket_slots = slots;
    return 0;
}

static uint64_t inode_of(int fd)
{
    struct stat st;
    return fstat(fd, &st) == 0 ? (uint64_t)st.st_ino : 0;
}

static void on_poll_closed(uv_handle_t *handle)
{
    struct fetch_socket *s = container_of(handle, struct fetch_socket, poll);
    struct fetch_origin *o = s->origin;
    mem_free(s);
    fetch_origin_handle_closed(o);
}

static void drop_socket(struct fetch_socket *s)
{
    s->origin->loop->sockets[s->fd] = NULL;
    list_remove(&s->by_port);
    list_remove(&s->opening);
    if (s->user != NULL)
        s->user->socket = NULL;
    if (s->ours) {
        assert(s->origin->stats.open_connections > 0);
        s->origin->stats.open_connections--;
    }
    uv_close((uv_handle_t *)&s->poll, on_poll_closed);
}

static struct fetch_socket *add_socket(struct fetch_origin *o, int fd, bool ours)
{
    struct fetch_loop *fl = o->loop;
    if (make_slot(fl, fd) != 0)
        return NULL;
    if (fl->sockets[fd] != NULL) /* Closed without a word: the number is new. */
        drop_socket(fl->sockets[fd]);
    struct fetch_socket *s = mem_zalloc(sizeof(*s));
    if (s == NULL || uv_poll_init(fl->uv, &s->poll, fd) != 0) {
        mem_free(s);
        return NULL;
    }
    s->origin = o;
    s->fd = fd;
    s->ours = ours;
    o->stats.open_connections += ours;
    list_init(&s->by_port);
    list_init(&s->opening);
    s->inode = inode_of(fd);
    fl->sockets[fd] = s;
    o->handles++;
    return s;
}

/* Nobody asked for what comes on an idle connection: it must not become somebody's reply (F20). */
static void spoil(const struct fetch_socket *s)
{
    char junk[4096];
    for (int i = 0; i < SPOIL_READS_MAX && recv(s->fd, junk, sizeof(junk), MSG_DONTWAIT) > 0; i++) {
    }
    (void)shutdown(s->fd, SHUT_RDWR);
}

static int port_of(int fd)
{
    struct sockaddr_storage address;
    socklen_t len = sizeof(address);
    if (getsockname(fd, (struct sockaddr *)(void *)&address, &len) != 0)
        return 0;
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
    if (address.ss_family == AF_INET6) {
        memcpy(&in6, &address, sizeof(in6));
        return ntohs(in6.sin6_port);
    }
    memcpy(&in, &address, sizeof(in));
    return ntohs(in.sin_port);
}

/* Of two tries by address family the one opened last may have lost: then all are asked. */
static struct fetch_socket *find_new(const struct fetch_origin *o, int opened_fd, int port)
{
    struct fetch_loop *fl = o->loop;
    struct fetch_socket *s = find_socket(fl, opened_fd);
    if (s != NULL && s->port == 0 && port_of(opened_fd) == port)
        return s;
    for (size_t i = 0; i < fl->socket_slots; i++) {
        s = fl->sockets[i];
        if (s != NULL && s->origin == o && s->ours && s->port == 0 && port_of(s->fd) == port)
            return s;
    }
    return NULL;
}

struct fetch_socket *fetch_socket_at(const struct fetch_origin *o, int opened_fd, int port)
{
    struct list *bucket = &o->loop->by_port[(unsigned)port % FETCH_PORT_BUCKETS];
    LIST_FOREACH (node, bucket) {
        struct fetch_socket *s = container_of(node, struct fetch_socket, by_port);
        if (s->port == port && s->origin == o)
            return s;
    }
    struct fetch_socket *s = find_new(o, opened_fd, port);
    if (s != NULL) {
        s->port = port;
        list_push_front(bucket, &s->by_port);
    }
    return s;
}

void fetch_socket_use(struct fetch_socket *s, struct fetch *f)
{
    s->used = true;
    if (s->user != NULL) /* Done with, but its on_done is still to come. */
        s->user->socket = NULL;
    s->user = f;
    f->socket = s;
    list_remove(&s->opening);
}

void fetch_socket_forget_opened(struct fetch *f)
{
    while (!list_empty(&f->opening))
        drop_socket(container_of(f->opening.next, struct fetch_socket, opening));
}

bool fetch_socket_has_bytes(const struct fetch_socket *s)
{
    char byte;
    return recv(s->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) >= 0; /* Or an end. */
}

static void on_ready(uv_poll_t *poll, int status, int events);

static int watch(struct fetch_socket *s, int events)
{
    if (s->registered == events)
        return 0;
    if (uv_poll_start(&s->poll, events, on_ready) != 0)
        return -1;
    s->registered = events;
    return 0;
}

/* A reset (status < 0, and uv has stopped watching) may come behind bytes that can still be read: a
 * whole reply, even. So curl is sent to read and write; alone, the error would end the exchange. */
static void on_ready(uv_poll_t *poll, int status, int events)
{
    struct fetch_socket *s = container_of(poll, struct fetch_socket, poll);
    struct fetch_origin *o = s->origin;
    struct fetch_loop *fl = o->loop;
    int fd = s->fd;
    if (status < 0)
        s->registered = 0;
    if (s->wanted == 0) {
        if (s->user == NULL) /* Else it is only paused. */
            spoil(s);
        (void)uv_poll_stop(poll);
        s->registered = 0;
        return;
    }
    int flags = 0;
    if (status < 0)
        flags = CURL_CSELECT_ERR | CURL_CSELECT_IN | CURL_CSELECT_OUT;
    if ((events & UV_READABLE) != 0)
        flags |= CURL_CSELECT_IN;
    if ((events & UV_WRITABLE) != 0)
        flags |= CURL_CSELECT_OUT;
    int running = 0;
    o->curl_depth++;
    (void)curl_multi_socket_action(o->multi, fd, flags, &running);
    o->curl_depth--;
    if (status < 0 && find_socket(fl, fd) == s && s->wanted != 0)
        (void)watch(s, s->wanted);
    fetch_origin_run(o);
}

int fetch_on_socket(CURL *easy, curl_socket_t fd, int what, void *origin, void *unused)
{
    struct fetch_origin *o = origin;
    struct fetch_socket *s = find_socket(o->loop, fd);
    (void)easy;
    (void)unused;
    if (what == CURL_POLL_REMOVE) {
        if (s == NULL)
            return 0;
        s->wanted = 0;
        if (!s->ours || (!s->used && inode_of(fd) != s->inode)) {
            drop_socket(s);
        } else if (!s->used) { /* Given up: it is about to be closed. */
            (void)uv_poll_stop(&s->poll);
            s->registered = 0;
        } else if (s->registered != 0) {
            return watch(s, UV_READABLE);
        }
        return 0;
    }
    if (s == NULL)
        s = add_socket(o, fd, false);
    if (s == NULL)
        return -1;
    s->wanted = what == CURL_POLL_IN    ? UV_READABLE
                : what == CURL_POLL_OUT ? UV_WRITABLE
                                        : UV_READABLE | UV_WRITABLE;
    return watch(s, s->wanted);
}

static bool may_connect(const struct fetch_origin *o, const struct sockaddr *address)
{
    if (o->allow_metadata && fetch_address_is_metadata(address))
        return true;
    return fetch_address_allowed(address, o->allow_private) &&
           (o->https || fetch_address_is_private(address));
}

curl_socket_t fetch_on_open(void *fetch, curlsocktype purpose, struct curl_sockaddr *address)
{
    struct fetch *f = fetch;
    struct fetch_origin *o = f->origin;
    if (purpose != CURLSOCKTYPE_IPCXN || !may_connect(o, &address->addr)) {
        f->denied = true;
        o->stats.addresses_refused++;
        return CURL_SOCKET_BAD;
    }
    int fd = socket(address->family, address->socktype | SOCK_CLOEXEC | SOCK_NONBLOCK,
                    address->protocol);
    if (fd < 0)
        return CURL_SOCKET_BAD;
    int bytes = (int)o->receive_buffer_bytes;
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
    struct fetch_socket *s = add_socket(o, fd, true);
    if (s == NULL) {
        close(fd);
        return CURL_SOCKET_BAD;
    }
    list_push_back(&f->opening, &s->opening);
    f->fd = fd;
    if (f->result.phase == FETCH_RESOLVE)
        f->result.phase = FETCH_CONNECT;
    o->stats.connections_opened++;
    return fd;
}

int fetch_on_close(void *origin, curl_socket_t fd)
{
    struct fetch_origin *o = origin;
    struct fetch_socket *s = find_socket(o->loop, fd);
    /* Over TLS curl has said goodbye by now, and that has not arrived either. */
    if (s != NULL && s->user != NULL && !o->https)
        s->user->undelivered = undelivered_at_end(fd);
    if (s != NULL)
        drop_socket(s); /* Out of epoll before the number can be used again. */
    return close(fd);
}
