/* listener.h: accepts connections on a TCP address or a unix socket under a connection limit.
 *
 * The listening socket is opened here, with SO_REUSEPORT when asked, so that each worker has its
 * own queue. At the limit, and when the process runs out of descriptors, accepting pauses (the
 * kernel queues) until a connection is released or, for descriptors and a limit that is shared,
 * RETRY_MS have passed: it never spins (RELIABILITY F25). All calls on the loop's thread. */
#ifndef STEELYARD_COMMON_NET_LISTENER_H
#define STEELYARD_COMMON_NET_LISTENER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "common/base/err.h"

#define LISTENER_RETRY_MS 100U

struct listener;

/* What several listeners, each on a loop of its own, may have open together. */
struct listener_limit {
    uint32_t max;          /* 0 is invalid. */
    _Atomic uint32_t open; /* Begins with 0; kept by the listeners. */
};

/* fd: non-blocking, close-on-exec, set up as the config says. It now belongs to the callee (usually
 * uv_tcp_open; that works for unix sockets too), who calls listener_release once it is closed. */
typedef void (*listener_accept_cb)(void *arg, int fd);
typedef void (*listener_close_cb)(void *arg);

struct listener_config {
    /* "127.0.0.1:8080", "[::1]:8080", "localhost:0", ":8080" (all addresses, both families where
     * the machine has IPv6), "unix:/run/x.sock". Names other than localhost are refused. */
    const char *address;
    uint32_t max_connections;     /* At once, over this listener; 0 is invalid without: */
    struct listener_limit *limit; /* Shared, in its place; outlives the listener. NULL: none. */
    int backlog;                  /* 0: 1024. */
    bool reuse_port;
    unsigned unix_mode;           /* Of the socket file; 0: 0600. */
    uint32_t notsent_lowat_bytes; /* TCP_NOTSENT_LOWAT; 0: the system's (F23). */
    uint32_t send_buffer_bytes;   /* SO_SNDBUF; 0: the system's. */
    listener_accept_cb on_accept;
    void *arg;
};

struct listener_stats {
    uint64_t accepted;
    uint64_t paused_limit;       /* Times accepting paused at max_connections. */
    uint64_t paused_descriptors; /* Times it paused for EMFILE and its like. */
    uint32_t open;
};

/* Binds and listens at once; connections arrive from the next loop turn. A stale unix socket file
 * is replaced, one that answers is ERR_EXISTS (as is a taken port). config is copied. */
int listener_start(uv_loop_t *loop, const struct listener_config *config,
                   struct listener **out_listener, struct err *err) MUST_CHECK;
/* No accept after this returns; connections live on and need no release any more. The callback (may
 * be NULL) comes in a later turn, and the listener is gone then. */
void listener_close(struct listener *l, listener_close_cb cb, void *arg);
/* One accepted connection has been closed. */
void listener_release(struct listener *l);
uint16_t listener_port(const struct listener *l); /* What port 0 became; 0 for unix. */
struct listener_stats listener_stats(const struct listener *l);

#endif
