/* Usual path: the listening descriptor turns readable, connections are accepted until the queue is
 * empty, a batch is full or the limit is reached. At the limit the poll stops until a release. When
 * descriptors run out it stops too, and a timer or a release starts it again (so it does at a limit
 * that is shared, where the release may be another's): a level-triggered poll left running would
 * spin on a queue it cannot empty. Any other failure of accept concerns one connection that is gone
 * already and is skipped. */
#include "common/net/listener.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/base/list.h"
#include "common/base/mem.h"
#include "common/base/str.h"

#define ACCEPT_BATCH      64
#define BACKLOG_DEFAULT   1024
#define UNIX_MODE_DEFAULT 0600U

/* ACCEPTING <-> FULL (release), ACCEPTING <-> STARVED (timer, release); any -> CLOSING. */
enum listener_state { LISTENER_ACCEPTING, LISTENER_FULL, LISTENER_STARVED, LISTENER_CLOSING };

struct listener {
    enum listener_state state;
    int fd;
    uint16_t port;
    unsigned handles; /* Not yet closed. */
    uv_poll_t poll;
    uv_timer_t retry;
    struct listener_config config; /* config.address is not kept. */
    struct listener_stats stats;
    listener_close_cb close_cb;
    void *close_arg;
    char unix_path[sizeof(((struct sockaddr_un *)0)->sun_path)];
};

struct bind_address {
    struct sockaddr_storage storage;
    socklen_t len;
    bool any_family; /* Both families where the machine has IPv6. */
};

static int parse_port(struct str s, uint16_t *out_port)
{
    uint64_t port = 0;
    int rc = str_parse_u64(s, UINT16_MAX, &port);
    if (rc == 0)
        *out_port = (uint16_t)port;
    return rc;
}

static int parse_unix(struct str path, struct bind_address *out)
{
    struct sockaddr_un *un = (struct sockaddr_un *)(void *)&out->storage;
    un->sun_family = AF_UNIX;
    if (path.len == 0 || !str_copy(path, un->sun_path, sizeof(un->sun_path)))
        return ERR_INVALID;
    out->len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + path.len + 1);
    return 0;
}

static void set_inet6(struct bind_address *out, const struct in6_addr *address, uint16_t port)
{
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)(void *)&out->storage;
    *in6 = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = htons(port)};
    in6->sin6_addr = *address;
    out->len = sizeof(*in6);
}

static void set_inet(struct bind_address *out, struct in_addr address, uint16_t port)
{
    struct sockaddr_in *in = (struct sockaddr_in *)(void *)&out->storage;
    *in = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port)};
    in->sin_addr = address;
    out->len = sizeof(*in);
}

static int parse_address(const char *text, struct bind_address *out)
{
    struct str s = str_from(text);
    memset(out, 0, sizeof(*out));
    if (str_starts(s, STR("unix:")))
        return parse_unix(str_slice(s, 5, s.len), out);
    size_t colon = s.len;
    while (colon > 0 && s.data[colon - 1] != ':')
        colon--;
    uint16_t port = 0;
    if (colon == 0 || parse_port(str_slice(s, colon, s.len), &port) != 0)
        return ERR_INVALID;
    struct str host = str_slice(s, 0, colon - 1);
    char host_text[INET6_ADDRSTRLEN];
    struct in_addr in;
    struct in6_addr in6;
    if (host.len == 0 || str_is(host, "*")) {
        out->any_family = true;
        set_inet6(out, &in6addr_any, port);
        return 0;
    }
    if (str_is(host, "localhost"))
        host = STR("127.0.0.1");
    bool bracketed = host.len >= 2 && host.data[0] == '[' && host.data[host.len - 1] == ']';
    if (bracketed)
        host = str_slice(host, 1, host.len - 1);
    if (!str_copy(host, host_text, sizeof(host_text)))
        return ERR_INVALID;
    if (bracketed && inet_pton(AF_INET6, host_text, &in6) == 1)
        set_inet6(out, &in6, port);
    else if (!bracketed && inet_pton(AF_INET, host_text, &in) == 1)
        set_inet(out, in, port);
    else
        return ERR_INVALID;
    return 0;
}

static int set_int(int fd, int level, int name, int value)
{
    return setsockopt(fd, level, name, &value, sizeof(value)) == 0 ? 0 : err_from_errno(errno);
}

/* A socket file nobody listens on any more is in the way of its successor. */
static bool is_stale(const struct bind_address *a)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    int rc = connect(fd, (const struct sockaddr *)(const void *)&a->storage, a->len);
    bool stale = rc != 0 && errno == ECONNREFUSED;
    close(fd);
    return stale;
}

static int bind_unix(struct listener *l, const struct bind_address *a)
{
    const struct sockaddr *sa = (const struct sockaddr *)(const void *)&a->storage;
    const char *path = ((const struct sockaddr_un *)(const void *)&a->storage)->sun_path;
    int rc = bind(l->fd, sa, a->len);
    if (rc != 0 && errno == EADDRINUSE && is_stale(a) && unlink(path) == 0)
        rc = bind(l->fd, sa, a->len);
    if (rc != 0)
        return errno == EADDRINUSE ? ERR_EXISTS : err_from_errno(errno);
    (void)str_copy(str_from(path), l->unix_path, sizeof(l->unix_path));
    mode_t mode = l->config.unix_mode != 0 ? l->config.unix_mode : UNIX_MODE_DEFAULT;
    return chmod(path, mode) == 0 ? 0 : err_from_errno(errno);
}

static int bind_inet(struct listener *l, const struct bind_address *a)
{
    const struct sockaddr *sa = (const struct sockaddr *)(const void *)&a->storage;
    int rc = set_int(l->fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (rc == 0 && l->config.reuse_port)
        rc = set_int(l->fd, SOL_SOCKET, SO_REUSEPORT, 1);
    if (rc == 0 && sa->sa_family == AF_INET6)
        rc = set_int(l->fd, IPPROTO_IPV6, IPV6_V6ONLY, a->any_family ? 0 : 1);
    if (rc != 0)
        return rc;
    if (bind(l->fd, sa, a->len) != 0)
        return errno == EADDRINUSE ? ERR_EXISTS : err_from_errno(errno);
    struct sockaddr_storage bound;
    socklen_t len = sizeof(bound);
    if (getsockname(l->fd, (struct sockaddr *)(void *)&bound, &len) != 0)
        return err_from_errno(errno);
    l->port = ntohs(bound.ss_family == AF_INET
                        ? ((const struct sockaddr_in *)(const void *)&bound)->sin_port
                        : ((const struct sockaddr_in6 *)(const void *)&bound)->sin6_port);
    return 0;
}

static int open_socket(struct listener *l, struct bind_address *a)
{
    l->fd = socket(a->storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (l->fd < 0 && errno == EAFNOSUPPORT && a->any_family) {
        uint16_t port = ((const struct sockaddr_in6 *)(const void *)&a->storage)->sin6_port;
        a->any_family = false;
        set_inet(a, (struct in_addr){.s_addr = htonl(INADDR_ANY)}, ntohs(port));
        l->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    }
    if (l->fd < 0)
        return err_from_errno(errno);
    int rc = a->storage.ss_family == AF_UNIX ? bind_unix(l, a) : bind_inet(l, a);
    if (rc != 0)
        return rc;
    int backlog = l->config.backlog > 0 ? l->config.backlog : BACKLOG_DEFAULT;
    if (listen(l->fd, backlog) != 0)
        return errno == EADDRINUSE ? ERR_EXISTS : err_from_errno(errno);
    return 0;
}

static void close_socket(struct listener *l)
{
    if (l->fd >= 0)
        close(l->fd);
    l->fd = -1;
    if (l->unix_path[0] != '\0')
        (void)unlink(l->unix_path);
}

/* Options that cannot be set (unix sockets have no TCP ones) leave a slower but sound connection.
 */
static void set_up_connection(const struct listener *l, int fd)
{
    if (l->unix_path[0] == '\0') {
        (void)set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1);
        if (l->config.notsent_lowat_bytes > 0)
            (void)set_int(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, (int)l->config.notsent_lowat_bytes);
    }
    if (l->config.send_buffer_bytes > 0)
        (void)set_int(fd, SOL_SOCKET, SO_SNDBUF, (int)l->config.send_buffer_bytes);
}

static bool is_full(const struct listener *l)
{
    const struct listener_limit *limit = l->config.limit;
    if (limit == NULL)
        return l->stats.open >= l->config.max_connections;
    return atomic_load_explicit(&limit->open, memory_order_relaxed) >= limit->max;
}

/* False: another listener took the last place meanwhile. */
static bool take_place(struct listener *l)
{
    struct listener_limit *limit = l->config.limit;
    if (limit != NULL &&
        atomic_fetch_add_explicit(&limit->open, 1, memory_order_relaxed) >= limit->max) {
        atomic_fetch_sub_explicit(&limit->open, 1, memory_order_relaxed);
        return false;
    }
    l->stats.open++;
    return true;
}

static void give_places(struct listener *l, uint32_t count)
{
    if (l->config.limit != NULL)
        atomic_fetch_sub_explicit(&l->config.limit->open, count, memory_order_relaxed);
    l->stats.open -= count;
}

static void on_readable(uv_poll_t *poll, int status, int events);
static void on_retry(uv_timer_t *timer);

static void pause_accepting(struct listener *l, enum listener_state state)
{
    int rc = uv_poll_stop(&l->poll);
    assert(rc == 0);
    (void)rc;
    l->state = state;
    if (state == LISTENER_STARVED)
        l->stats.paused_descriptors++;
    else
        l->stats.paused_limit++;
    if (state == LISTENER_STARVED || l->config.limit != NULL)
        (void)uv_timer_start(&l->retry, on_retry, LISTENER_RETRY_MS, 0);
}

static void resume_accepting(struct listener *l)
{
    (void)uv_timer_stop(&l->retry);
    l->state = LISTENER_ACCEPTING;
    if (uv_poll_start(&l->poll, UV_READABLE, on_readable) != 0)
        pause_accepting(l, LISTENER_STARVED); /* Tried again by the timer. */
}

static bool is_starved(int error)
{
    return error == EMFILE || error == ENFILE || error == ENOMEM || error == ENOBUFS;
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct listener *l = container_of(poll, struct listener, poll);
    (void)events;
    (void)status; /* An error of the listening socket shows in accept4 too. */
    for (int i = 0; i < ACCEPT_BATCH && l->state == LISTENER_ACCEPTING; i++) {
        if (!take_place(l)) {
            pause_accepting(l, LISTENER_FULL);
            return;
        }
        int fd = accept4(l->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0)
            give_places(l, 1);
        if (fd < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return;
        if (fd < 0 && (is_starved(errno) || errno == EINVAL || errno == EBADF)) {
            pause_accepting(l, LISTENER_STARVED);
            return;
        }
        if (fd < 0)
            continue; /* ECONNABORTED and network errors of that one connection. */
        l->stats.accepted++;
        set_up_connection(l, fd);
        if (is_full(l))
            pause_accepting(l, LISTENER_FULL);
        l->config.on_accept(l->config.arg, fd); /* May close the listener. */
    }
}

static void on_retry(uv_timer_t *timer)
{
    struct listener *l = container_of(timer, struct listener, retry);
    if (l->state == LISTENER_STARVED || (l->state == LISTENER_FULL && !is_full(l)))
        resume_accepting(l);
    else if (l->state == LISTENER_FULL)
        (void)uv_timer_start(&l->retry, on_retry, LISTENER_RETRY_MS, 0);
}

void listener_release(struct listener *l)
{
    assert(l->stats.open > 0);
    give_places(l, 1);
    if (l->state == LISTENER_FULL || l->state == LISTENER_STARVED)
        resume_accepting(l);
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct listener *l = handle->data;
    assert(l->state == LISTENER_CLOSING && l->handles > 0);
    if (--l->handles > 0)
        return;
    listener_close_cb cb = l->close_cb;
    void *arg = l->close_arg;
    mem_free(l);
    if (cb != NULL)
        cb(arg);
}

static void close_handle(struct listener *l, uv_handle_t *handle)
{
    handle->data = l;
    uv_close(handle, on_handle_closed);
}

void listener_close(struct listener *l, listener_close_cb cb, void *arg)
{
    assert(l->state != LISTENER_CLOSING);
    l->state = LISTENER_CLOSING;
    l->close_cb = cb;
    l->close_arg = arg;
    give_places(l, l->stats.open);
    close_handle(l, (uv_handle_t *)&l->poll);
    close_handle(l, (uv_handle_t *)&l->retry);
    close_socket(l); /* After uv_close has taken it out of epoll. */
}

int listener_start(uv_loop_t *loop, const struct listener_config *config,
                   struct listener **out_listener, struct err *err)
{
    struct bind_address address;
    uint32_t most = config->limit != NULL ? config->limit->max : config->max_connections;
    if (most == 0 || config->on_accept == NULL)
        return err_set(err, ERR_INVALID, "listen on %s: no connection limit", config->address);
    if (parse_address(config->address, &address) != 0)
        return err_set(err, ERR_INVALID,
                       "listen address '%s' is not valid; for example 127.0.0.1:8080",
                       config->address != NULL ? config->address : "");
    struct listener *l = mem_zalloc(sizeof(*l));
    if (l == NULL)
        return err_set(err, ERR_NOMEM, "listen on %s: out of memory", config->address);
    l->config = *config;
    l->config.address = NULL;
    int rc = open_socket(l, &address);
    if (rc == 0)
        rc = err_from_uv(uv_poll_init(loop, &l->poll, l->fd));
    if (rc != 0) {
        close_socket(l);
        mem_free(l);
        return err_set(err, rc, "listen on %s: %s", config->address, err_text(rc));
    }
    (void)uv_timer_init(loop, &l->retry);
    l->handles = 2;
    resume_accepting(l);
    *out_listener = l;
    return 0;
}

uint16_t listener_port(const struct listener *l)
{
    return l->port;
}

struct listener_stats listener_stats(const struct listener *l)
{
    return l->stats;
}
