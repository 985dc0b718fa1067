/* dial.h: a TCP connection to host and port: resolve, then happy eyeballs (RFC 8305 section 5:
 * families in turn, a next address each stagger_ms or as soon as one failed, the first connection
 * wins and the others are closed), all under one deadline. Each address is judged right before its
 * socket is made (fetch_address_allowed, RELIABILITY B40), and the one that was judged is the one
 * connected to. Gives a plain descriptor; what is spoken on it is not known here.
 *
 * All calls on the loop's thread; they may be made from inside callbacks. */
#ifndef STEELYARD_COMMON_NET_DIAL_H
#define STEELYARD_COMMON_NET_DIAL_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "common/base/err.h"
#include "common/base/str.h"
#include "common/net/resolver.h"

/* Read during dial_start. 0 takes the default. */
struct dial_config {
    struct str host;               /* As in resolver_lookup. */
    uint16_t port;                 /* Host byte order; 0 is ERR_INVALID. */
    bool allow_private;            /* See fetch_address_allowed. */
    bool private_only;             /* Plain http: public addresses are refused too. */
    uint32_t timeout_ms;           /* Names and connections together: 2 s (F12). */
    uint32_t stagger_ms;           /* 250 ms. */
    uint32_t receive_buffer_bytes; /* SO_RCVBUF (F23): 65536. */
    uint32_t send_buffer_bytes;    /* SO_SNDBUF; 0: the kernel's. */
    uint32_t notsent_lowat_bytes;  /* TCP_NOTSENT_LOWAT: 16384. */
    uint32_t keepalive_s;          /* Idle time before the first TCP probe: 60 s. */
};

struct dial_result {
    /* 0, or ERR_NOT_FOUND (name), ERR_DENIED (every address was refused by B40), ERR_REFUSED,
     * ERR_UNREACHABLE, ERR_TIMEOUT, ERR_CANCELED, ERR_LIMIT (descriptors), ERR_NOMEM. When several
     * addresses failed: ERR_REFUSED if one of them answered so, else the first one's error. */
    int status;
    int fd; /* Connected, non-blocking, close-on-exec, TCP_NODELAY, watched by nobody; the
             * caller's. -1 on failure. */
    union resolver_address peer; /* With the port. */
    bool resolved;               /* The addresses were known (else it ended before that). */
    unsigned addresses_refused;  /* By B40. */
    unsigned attempts;           /* Connections begun. */
    uint64_t resolve_ns;
    uint64_t connect_ns; /* From the first connection begun to the end. */
};

struct dial;
/* d->result says what came of it. d and its handles are free when this is called: it may be started
 * again or freed inside. */
typedef void (*dial_cb)(struct dial *d);

/* IDLE -> RESOLVING -> CONNECTING -> CLOSING -> DONE
 *   IDLE -> CONNECTING when the answer was known; RESOLVING -> CLOSING on failure or cancel.
 * CLOSING waits for the handles of sockets and timer; its last close callback makes it DONE and
 * calls back. DONE is IDLE with a result. */
enum dial_state { DIAL_IDLE, DIAL_RESOLVING, DIAL_CONNECTING, DIAL_CLOSING, DIAL_DONE };

struct dial_attempt {
    uv_poll_t poll;
    struct dial *dial;
    int fd;    /* -1: none. */
    bool open; /* The handle is initialised and not being closed. */
};

/* Embedded by the caller, zeroed before the first use; about 2 KiB, needed only while it dials.
 * Private but for `result` (in the callback) and `state`. */
struct dial {
    struct dial_result result;
    enum dial_state state;
    uv_loop_t *loop;
    dial_cb cb;
    struct resolver_query query;
    struct resolver_answer answer;
    uv_timer_t timer; /* The next address or the deadline, whichever is first. */
    uint64_t started_ns;
    uint64_t connecting_ns;
    uint64_t deadline_ms; /* Of uv_now. */
    unsigned next;        /* Address not yet tried. */
    unsigned pending;     /* Attempts under way. */
    unsigned handles;     /* Not yet closed. */
    int error;            /* Of the attempts so far. */
    uint32_t stagger_ms;
    uint32_t receive_buffer_bytes;
    uint32_t send_buffer_bytes;
    uint32_t notsent_lowat_bytes;
    uint32_t keepalive_s;
    uint16_t port;
    bool allow_private;
    bool private_only;
    struct dial_attempt attempts[RESOLVER_ADDRESSES_MAX];
};

/* An error means that no callback comes (ERR_INVALID, and what resolver_lookup says at once:
 * ERR_NOT_FOUND, ERR_BUSY, ERR_NOMEM, ERR_CANCELED). 0: exactly one, later. The resolver must live
 * until then. d must be IDLE or DONE. */
int dial_start(struct dial *d, uv_loop_t *loop, struct resolver *r,
               const struct dial_config *config, dial_cb cb) MUST_CHECK;
/* The callback follows with ERR_CANCELED and no descriptor, also when a connection stood already
 * and only the callback was missing. Fine when nothing runs. */
void dial_cancel(struct dial *d);

/* For tests: in place of connect(2), errno and all. NULL (the default): connect(2). */
extern int (*dial_connect_hook)(int fd, const struct sockaddr *address, socklen_t len);

#endif
