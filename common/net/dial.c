/* Usual path: the resolver knows the name, one socket is made, its options set, connect is under
 * way when dial_start returns; it turns writable, the handles are closed, the callback gets the
 * descriptor. Ways it fails: no address; an address that is refused, denied or silent makes room
 * for the next at once or after the stagger; the deadline ends everything. All ends meet in
 * finish(), and the callback comes from the last handle's close callback. */
#include "common/net/dial.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/net/fetch.h"

#define TIMEOUT_MS_DEFAULT           2000U
#define STAGGER_MS_DEFAULT           250U
#define RECEIVE_BUFFER_BYTES_DEFAULT 65536U
#define NOTSENT_LOWAT_BYTES_DEFAULT  16384U
#define KEEPALIVE_S_DEFAULT          60U
#define KEEPALIVE_INTERVAL_S         10
#define KEEPALIVE_PROBES             6

int (*dial_connect_hook)(int fd, const struct sockaddr *address, socklen_t len);

static void on_handle_closed(struct dial *d)
{
    assert(d->state == DIAL_CLOSING && d->handles > 0);
    if (--d->handles > 0)
        return;
    d->state = DIAL_DONE;
    d->cb(d); /* May free d. */
}

static void on_timer_closed(uv_handle_t *handle)
{
    on_handle_closed(container_of(handle, struct dial, timer));
}

/* An attempt that failed while others go on closes its handle before the dial does. */
static void on_poll_closed(uv_handle_t *handle)
{
    struct dial *d = container_of(handle, struct dial_attempt, poll)->dial;
    if (d->state == DIAL_CLOSING)
        on_handle_closed(d);
    else
        d->handles--;
}

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

/* The handle leaves epoll before its descriptor is closed or handed on. */
static void close_attempt(struct dial_attempt *a)
{
    if (a->open) {
        a->open = false;
        uv_close((uv_handle_t *)&a->poll, on_poll_closed);
    }
    close_fd(&a->fd);
}

/* From RESOLVING or CONNECTING; winner NULL on failure. */
static void finish(struct dial *d, int status, struct dial_attempt *winner)
{
    const uint64_t now_ns = clock_mono_ns();
    assert(d->state == DIAL_RESOLVING || d->state == DIAL_CONNECTING);
    assert((status == 0) == (winner != NULL));
    if (d->state == DIAL_CONNECTING)
        d->result.connect_ns = now_ns - d->connecting_ns;
    else
        d->result.resolve_ns = now_ns - d->started_ns;
    d->state = DIAL_CLOSING;
    d->result.status = status;
    resolver_forget(&d->query);
    if (winner != NULL) {
        d->result.fd = winner->fd;
        winner->fd = -1;
        d->result.peer = d->answer.addresses[winner - d->attempts];
    }
    for (unsigned i = 0; i < d->next; i++)
        close_attempt(&d->attempts[i]);
    uv_close((uv_handle_t *)&d->timer, on_timer_closed);
}

/* What connect and socket say. Codes that mean something else here are left out: a firewall's EPERM
 * is not our own refusal. */
static int status_of_errno(int errno_value)
{
    int status = err_from_errno(errno_value);
    switch (status) {
    case ERR_REFUSED:
    case ERR_TIMEOUT:
    case ERR_LIMIT:
    case ERR_NOMEM:
        return status;
    case ERR_CLOSED: /* Reset within the handshake. */
        return ERR_REFUSED;
    default:
        return ERR_UNREACHABLE;
    }
}

static void note_error(struct dial *d, int status)
{
    if (d->error == 0 || status == ERR_REFUSED)
        d->error = status;
}

static void set_option(int fd, int level, int name, int value)
{
    (void)setsockopt(fd, level, name, &value, sizeof(value)); /* Each is only a bound or a hint. */
}

static int open_socket(const struct dial *d, int family)
{
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_TCP);
    if (fd < 0)
        return -1;
    set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    set_option(fd, SOL_SOCKET, SO_RCVBUF, (int)d->receive_buffer_bytes);
    if (d->send_buffer_bytes != 0)
        set_option(fd, SOL_SOCKET, SO_SNDBUF, (int)d->send_buffer_bytes);
    set_option(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, (int)d->notsent_lowat_bytes);
    set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, (int)d->keepalive_s);
    set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S);
    set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_PROBES);
    return fd;
}

static int connect_to(int fd, const union resolver_address *address)
{
    socklen_t len = address->any.sa_family == AF_INET ? sizeof(address->in) : sizeof(address->in6);
    int rc = dial_connect_hook != NULL ? dial_connect_hook(fd, &address->any, len)
                                       : connect(fd, &address->any, len);
    return rc == 0 ? 0 : errno;
}

static void step(struct dial *d);

static void on_poll(uv_poll_t *poll, int uv_status, int events)
{
    struct dial_attempt *a = container_of(poll, struct dial_attempt, poll);
    struct dial *d = a->dial;
    int error = 0;
    socklen_t len = sizeof(error);
    (void)events;
    (void)uv_status; /* The socket knows better why. */
    if (getsockopt(a->fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0)
        error = errno;
    d->pending--;
    if (error == 0) {
        finish(d, 0, a);
        return;
    }
    note_error(d, status_of_errno(error));
    close_attempt(a);
    step(d);
}

/* Waits for the attempt to end: 0. */
static int watch(struct dial_attempt *a)
{
    struct dial *d = a->dial;
    int rc = uv_poll_init(d->loop, &a->poll, a->fd);
    if (rc != 0)
        return err_from_uv(rc);
    a->open = true;
    d->handles++;
    rc = uv_poll_start(&a->poll, UV_WRITABLE, on_poll);
    if (rc == 0)
        d->pending++;
    return err_from_uv(rc);
}

/* Begins with the next address; true: it is under way. The dial may be CLOSING afterwards. */
static bool begin_attempt(struct dial *d)
{
    union resolver_address *address = &d->answer.addresses[d->next];
    struct dial_attempt *a = &d->attempts[d->next++];
    *a = (struct dial_attempt){.dial = d, .fd = -1};
    if (!fetch_address_allowed(&address->any, d->allow_private) ||
        (d->private_only && !fetch_address_is_private(&address->any))) {
        d->result.addresses_refused++;
        return false;
    }
    if (address->any.sa_family == AF_INET)
        address->in.sin_port = htons(d->port);
    else
        address->in6.sin6_port = htons(d->port);
    d->result.attempts++;
    a->fd = open_socket(d, address->any.sa_family);
    int error = a->fd >= 0 ? connect_to(a->fd, address) : errno;
    if (error == 0) {
        finish(d, 0, a);
        return false;
    }
    int status = error == EINPROGRESS ? watch(a) : status_of_errno(error);
    if (status == 0)
        return true;
    note_error(d, status);
    close_attempt(a);
    return false;
}

static void on_timer(uv_timer_t *timer)
{
    struct dial *d = container_of(timer, struct dial, timer);
    if (uv_now(d->loop) >= d->deadline_ms) {
        finish(d, ERR_TIMEOUT, NULL);
        return;
    }
    step(d);
}

static void arm(struct dial *d)
{
    uint64_t now_ms = uv_now(d->loop);
    uint64_t wait_ms = d->deadline_ms > now_ms ? d->deadline_ms - now_ms : 0;
    if (d->state == DIAL_CONNECTING && d->next < d->answer.count && d->stagger_ms < wait_ms)
        wait_ms = d->stagger_ms;
    (void)uv_timer_start(&d->timer, on_timer, wait_ms, 0);
}

/* CONNECTING, and the next address is due: at the beginning, after the stagger, after a failure. */
static void step(struct dial *d)
{
    assert(d->state == DIAL_CONNECTING);
    while (d->state == DIAL_CONNECTING && d->next < d->answer.count)
        if (begin_attempt(d))
            break;
    if (d->state != DIAL_CONNECTING)
        return;
    if (d->pending > 0)
        arm(d);
    else
        finish(d, d->error != 0 ? d->error : ERR_DENIED, NULL);
}

static void connect_all(struct dial *d)
{
    d->state = DIAL_CONNECTING;
    d->connecting_ns = clock_mono_ns();
    d->result.resolved = true;
    d->result.resolve_ns = d->connecting_ns - d->started_ns;
    step(d);
}

static void on_resolved(struct resolver_query *q, int status, const struct resolver_answer *answer)
{
    struct dial *d = container_of(q, struct dial, query);
    assert(d->state == DIAL_RESOLVING);
    if (status != 0) {
        finish(d, status, NULL);
        return;
    }
    d->answer = *answer;
    connect_all(d);
}

static uint32_t or_default(uint32_t value, uint32_t preset)
{
    return value != 0 ? value : preset;
}

int dial_start(struct dial *d, uv_loop_t *loop, struct resolver *r,
               const struct dial_config *config, dial_cb cb)
{
    assert(d->state == DIAL_IDLE || d->state == DIAL_DONE);
    if (config->port == 0)
        return ERR_INVALID;
    memset(d, 0, offsetof(struct dial, attempts));
    d->result.fd = -1;
    d->loop = loop;
    d->cb = cb;
    d->port = config->port;
    d->allow_private = config->allow_private;
    d->private_only = config->private_only;
    d->stagger_ms = or_default(config->stagger_ms, STAGGER_MS_DEFAULT);
    d->receive_buffer_bytes =
        or_default(config->receive_buffer_bytes, RECEIVE_BUFFER_BYTES_DEFAULT);
    d->send_buffer_bytes = config->send_buffer_bytes;
    d->notsent_lowat_bytes = or_default(config->notsent_lowat_bytes, NOTSENT_LOWAT_BYTES_DEFAULT);
    d->keepalive_s = or_default(config->keepalive_s, KEEPALIVE_S_DEFAULT);
    d->started_ns = clock_mono_ns();
    int rc = resolver_lookup(r, config->host, &d->answer, &d->query, on_resolved);
    if (rc != 0 && rc != ERR_AGAIN)
        return rc;
    (void)uv_timer_init(loop, &d->timer);
    d->handles = 1;
    uv_update_time(loop); /* A turn that took long must not eat the deadline. */
    d->deadline_ms = uv_now(loop) + or_default(config->timeout_ms, TIMEOUT_MS_DEFAULT);
    if (rc == 0) {
        connect_all(d);
        return 0;
    }
    d->state = DIAL_RESOLVING;
    arm(d);
    return 0;
}

void dial_cancel(struct dial *d)
{
    switch (d->state) {
    case DIAL_RESOLVING:
    case DIAL_CONNECTING:
        finish(d, ERR_CANCELED, NULL);
        break;
    case DIAL_CLOSING:
        d->result.status = ERR_CANCELED;
        close_fd(&d->result.fd);
        break;
    case DIAL_IDLE:
    case DIAL_DONE:
        break;
    }
}
