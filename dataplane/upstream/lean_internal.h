/* lean_internal.h: what the files of the lean transport share. Not for other modules.
 *
 * lean.c: transport and origins. lean_call.c: a call's life. lean_request.c: its head, composed.
 * lean_send.c: bytes out. lean_conn.c: a connection's life, bytes in. lean_reply.c: what the bytes
 * mean. lean_pool.c: who gets which connection. lean_wheel.c: deadlines.
 *
 * Objects: a call belongs to an origin and has a connection from the moment one is dialled for it
 * or handed to it; a connection serves one call at a time and idles in between. Whatever ends badly
 * ends in one place, lean_call_fail, which closes the connection and leaves on_done for the end of
 * this turn of the loop or the next turn; only a reply that was read to its end finishes at once.
 */
#ifndef STEELYARD_DATAPLANE_UPSTREAM_LEAN_INTERNAL_H
#define STEELYARD_DATAPLANE_UPSTREAM_LEAN_INTERNAL_H

#include <uv.h>

#include "common/base/buf.h"
#include "common/base/list.h"
#include "common/base/slab.h"
#include "common/net/dial.h"
#include "common/net/fetch_check.h"
#include "common/net/http1_memory.h"
#include "common/net/resolver.h"
#include "common/net/tls.h"
#include "dataplane/upstream/lean.h"
#include "dataplane/upstream/transport.h"

#define LEAN_READ_BYTES     65536U /* The loop's one read buffer, before which lies: */
#define LEAN_HOLD_BYTES     65536U /* What was read in this turn and is held (transport.h: work). */
#define LEAN_HELD_MAX       32U
#define LEAN_HELD_BYTES     4096U /* Of one read; a longer one is worked on at once. */
/* Of a reply without a length, which a stream is: what is read beyond the mark of a client that
 * takes nothing has to be kept for it (F23). */
#define LEAN_PIECE_BYTES    16384U
#define LEAN_PIECE_LEAST    4096U /* ... once so many of them are kept: */
#define LEAN_KEPT_MANY      512U
/* What all connections of an origin may receive ahead, roughly: with more of them each that is made
 * receives less. */
#define LEAN_AHEAD_BYTES    (32U << 20)
#define LEAN_AHEAD_LEAST    8192U
#define LEAN_PLAIN_BYTES    32768U /* What is decrypted at a time: two records of TLS. */
#define LEAN_SEAL_BYTES     65536U /* What is encrypted at a time. */
#define LEAN_IDLE_MS        55000U /* An unused connection's age: most servers close theirs at 60 s. */
#define LEAN_REST_BYTES_MAX (4U * LEAN_SEAL_BYTES)
#define LEAN_GATHERS_KEPT   8U
#define LEAN_UNSENT_BYTES   1024U /* What usually waits; more is allocated. */
#define LEAN_ASKED_FIELDS   8U    /* Of a request that is composed from the last one. */

/* ---- time ---- */

#define LEAN_SLOTS   256U
#define LEAN_SLOT_MS 32U

struct lean_alarm {
    struct list link; /* In the slot of at_ms. */
    uint64_t at_ms;   /* Never later than what it stands for; UINT64_MAX: not set. */
    void (*ring)(struct lean_alarm *alarm);
};

struct lean_wheel {
    uv_timer_t timer;
    uint64_t done_slot; /* Slots are numbered from the loop's time 0; those up to here are over. */
    uint64_t due_slot;  /* What the timer is set for; UINT64_MAX: not set. */
    uint64_t used[LEAN_SLOTS / 64]; /* Slots that may hold an alarm. */
    struct list slots[LEAN_SLOTS];
};

void lean_wheel_init(struct lean_wheel *w, uv_loop_t *loop);
/* at_ms is before alarm->at_ms. */
void lean_wheel_hang(struct lean_wheel *w, struct lean_alarm *alarm, uint64_t at_ms);
/* Rings at at_ms or up to a slot later (seconds ahead: earlier; who is rung looks at the time). An
 * alarm that is set earlier already stays as it is. */
static inline void lean_wheel_set(struct lean_wheel *w, struct lean_alarm *alarm, uint64_t at_ms)
{
    if (at_ms < alarm->at_ms)
        lean_wheel_hang(w, alarm, at_ms);
}
void lean_wheel_unset(struct lean_alarm *alarm);

/* ---- transport and origin ---- */

struct lean_held {
    struct lean_conn *conn; /* NULL: closed meanwhile, or worked on already. */
    uint32_t at;            /* In the transport's `in`. */
    uint32_t bytes;
};

struct transport {
    uv_loop_t *loop;
    struct lean_wheel wheel;
    uv_idle_t idle;  /* Runs while `due` is not empty, unless `send` is about to run it. */
    struct list due; /* Calls that have something to do outside of their owners' calls. */
    struct list origins;
    struct resolver *resolver;
    struct slab call_slab; /* Of calls and connections. */
    struct slab conn_slab;
    struct slab unsent_slab; /* LEAN_UNSENT_BYTES */
    struct freelist gathers;
    struct buf cipher;              /* What TLS has for the peer of the connection at hand. */
    const struct http1_head *reply; /* While on_head runs. */
    struct http1_head head;         /* Heads that come in one piece ... */
    struct http1_memory heads;      /* ... and those that were like them. */
    char *in;            /* LEAN_HOLD_BYTES and LEAN_READ_BYTES: a read goes behind what is held. */
    uint32_t held_bytes; /* Of `in`. */
    uint32_t held_count;
    struct lean_held held[LEAN_HELD_MAX];
    bool holds;     /* Somebody calls `work`. */
    bool in_turn;   /* ... and has done so in this turn: `send` follows, and runs what is due. */
    char *plain;    /* LEAN_PLAIN_BYTES; NULL without https. */
    uint32_t kept;  /* Connections with a `kept` that is not empty. */
    unsigned parts; /* That close on their own: resolver, idle, timer. */
    bool closing;
    fetch_close_cb on_closed;
    void *on_closed_arg;
};

/* The head of the last request: what of it comes again (lean_request.c). */
struct lean_asked {
    struct buf text;      /* Up to Content-Length; its memory holds the rest. */
    size_t lasting_bytes; /* The same; 0: the next request is not compared with it. */
    uint32_t method_bytes;
    uint32_t target_bytes;
    size_t field_count;
    struct {
        uint32_t name;
        uint32_t value;
    } field_bytes[LEAN_ASKED_FIELDS];
};

struct transport_origin {
    struct list link;
    struct transport *transport;
    struct list idle;        /* Connections, the last used in front. */
    struct list waiting;     /* Calls, while all connections are taken. */
    struct list calls;       /* All others that have not ended. */
    struct lean_alarm alarm; /* The oldest idle connection's age. */
    struct tls_context *tls; /* NULL: plain. */
    char *host;
    char *after_target; /* " HTTP/1.1\r\nHost: ...\r\nAccept: ...\r\n" */
    uint32_t after_target_bytes;
    uint32_t receive_buffer_bytes;
    uint32_t max_connections;
    uint32_t max_idle;
    uint32_t idle_ms;    /* LEAN_IDLE_MS */
    uint32_t structs;    /* Connections whose memory is still in use. */
    uint32_t unfinished; /* Calls without their on_done. */
    uint16_t port;
    bool allow_private;
    bool closing;
    struct lean_stats stats;
    fetch_close_cb on_closed;
    void *on_closed_arg;
    struct lean_asked asked;
};

/* ---- calls ---- */

/*   WAITING --a connection is there--> HEAD --reply's head--> BODY --its end--> (on_done)
 *      |                                ^ |                     |
 *      +---a slot is there---> DIALING -+ |                     |
 *      |                          |       |                     |
 *      +--------------------------+-------+--- any failure -----+---> ENDED --next turn-->
 * (on_done)
 *
 * A call that finds an idle connection begins in HEAD: sending is part of it. */
enum lean_state {
    LEAN_WAITING,
    LEAN_DIALING, /* Name, TCP, TLS: result.phase says which. */
    LEAN_HEAD,
    LEAN_BODY,
    LEAN_ENDED,
};

/* What has not been sent of a request: memory behind it holds spans and head. */
struct lean_unsent {
    char *head;
    size_t head_bytes;
    size_t head_at;
    size_t span_count;
    size_t span_at;
    size_t span_offset;
    bool pooled;
    struct str spans[];
};

struct transport_call {
    struct list link; /* In the origin's list of its state. */
    struct list due;  /* In the transport's. */
    struct lean_alarm alarm;
    struct transport_origin *origin;
    struct lean_conn *conn; /* NULL while WAITING and once ENDED. */
    const struct transport_callbacks *callbacks;
    void *arg;
    struct lean_unsent *unsent;
    uint64_t body_max_bytes;
    uint64_t growing_left; /* Of a growing body: what has not been taken. */
    uint64_t started_ns;   /* 0: an open connection was there. */
    uint64_t started_ms;
    uint64_t ready_ms;     /* The connection's readiness; while DIALING: when TCP stood. */
    uint64_t last_byte_ms; /* ... of the body. */
    struct http1_body body;
    struct fetch_timeouts timeouts;
    struct fetch_result result;
    uint8_t state;
    bool reply_to_head : 1;
    bool keep_alive : 1;  /* The reply's head allows another exchange. */
    bool paused : 1;      /* The callee wants no more. */
    bool send_failed : 1; /* What is left of the request never goes out. */
    bool fresh : 1;       /* Wants no connection that was used. */
    bool growing : 1;     /* More of the body is to come: the reply is not waited for yet. */
    bool wants_room : 1;  /* An offer was not taken whole. */
};

/* lean_call.c */
int lean_call_start(struct transport_origin *o, const struct fetch_request *request,
                    const struct transport_callbacks *callbacks, void *arg,
                    struct transport_call **out_call) MUST_CHECK;
void lean_call_resume(struct transport_call *c);
size_t lean_call_offer(struct transport_call *c, const struct str *pieces, size_t count);
void lean_call_whole(struct transport_call *c, const struct fetch_timeouts *timeouts);
/* -> ENDED: closes the connection; on_done comes in the turn's end or next turn. Once only. */
void lean_call_fail(struct transport_call *c, int status);
/* The reply was read to its end: pools or closes the connection; on_done, last of all. */
void lean_call_complete(struct transport_call *c, bool reusable);
void lean_call_finish(struct transport_call *c);
void lean_call_due(struct transport_call *c);
void lean_call_run_due(struct transport *t);
/* The connection is the call's and ready: HEAD. */
void lean_call_begin(struct transport_call *c, struct lean_conn *conn);
/* Sends more of what is unsent, and deals with a failure. */
void lean_call_send(struct transport_call *c);
/* Sets the alarm to the deadline of its state, or to the soonest that one to come may have: for
 * whenever a wait begins, but for those that follow the head, which it has seen to. */
void lean_call_arm(struct transport_call *c);

/* lean_request.c */
int lean_request_compose(struct transport_origin *o, const struct fetch_request *r,
                         struct str *out_head) MUST_CHECK;
/* NULL: out of memory. */
struct lean_unsent *lean_unsent_create(struct transport *t, struct str head,
                                       const struct str *spans, size_t count);
void lean_unsent_free(struct transport_call *c); /* Also when it has none. */

/* ---- connections ---- */

/* Half a head of a reply: the rest had not arrived. */
struct lean_gather {
    struct http1_head head;
    struct buf bytes;
};

/* Only while it is being made. */
struct lean_dial {
    struct dial dial;
    struct lean_conn *conn;
};

struct lean_tls {
    struct tls *tls;
    struct buf rest; /* Cipher bytes the socket did not take, at most LEAN_REST_BYTES_MAX. */
    bool answered;   /* The engine had something to say after the request. */
};

struct lean_conn {
    uv_poll_t poll;
    struct list link; /* In the origin's idle list. */
    struct transport_origin *origin;
    struct transport_call *call; /* NULL: idle, or nobody waits for it any more. */
    struct lean_dial *dial;
    struct lean_tls *secure;
    struct lean_gather *gather;
    struct buf kept;        /* Of the body, arrived while paused. */
    uint64_t idle_since_ms; /* While idle. */
    int fd;                 /* -1: none (yet), or closed. */
    uint8_t events;         /* That uv watches. */
    bool changes_only;      /* The kernel tells of what is new, not of what is there. */
    bool dry;               /* The last read took all there was. */
    bool used;              /* It has served a call. */
    bool held;              /* What it said last is among the transport's. */
};

/* lean_conn.c */
/* Dials for the call, which has a slot. A failure is the call's, later. */
void lean_conn_dial(struct transport_call *c);
void lean_conn_close(struct lean_conn *conn);
void lean_conn_ready(struct lean_conn *conn); /* TLS stands, or none is needed. */
void lean_conn_watch(struct lean_conn *conn); /* What its state asks for. */
/* What was read in this turn and held back. */
void lean_conn_work(struct transport *t);
/* Reads what there is until the call ends, one way or another. */
void lean_conn_drain(struct lean_conn *conn);

/* lean_tls.c */
void lean_tls_open(struct lean_conn *conn); /* A failure is the call's. */
void lean_tls_close(struct lean_conn *conn);
void lean_tls_input(struct lean_conn *conn, struct str cipher);
void lean_tls_end(struct lean_conn *conn); /* The peer closed. */

/* lean_send.c: each sends what the socket takes. 0: all is out. ERR_AGAIN: the rest is in c->unsent
 * and goes as the socket takes it. Else it failed. */
int lean_send_more(struct transport_call *c) MUST_CHECK;
/* Bytes taken of these, perhaps none; or it failed. All that was given before is out. */
ssize_t lean_send_some(struct transport_call *c, const struct str *pieces, size_t count) MUST_CHECK;
/* What TLS left in t->cipher, which is empty after. */
int lean_send_cipher(struct lean_conn *conn) MUST_CHECK;
int lean_send_rest(struct lean_conn *conn) MUST_CHECK; /* Only what was sealed already. */
bool lean_send_pending(const struct lean_conn *conn);  /* Sealed and not sent. */

/* lean_pool.c */
/* A call in no list, with all of it unsent: dials for it, or lets it wait. */
void lean_pool_ask(struct transport_call *c);
struct lean_conn *lean_pool_take(struct transport_origin *o); /* NULL: none is idle. */
void lean_pool_release(struct lean_conn *conn);
void lean_pool_drop(struct lean_conn *conn);          /* It is being closed: no longer idle. */
void lean_pool_slot_free(struct transport_origin *o); /* Another connection may be made. */
void lean_pool_init(struct transport_origin *o);
void lean_pool_close(struct transport_origin *o);

/* lean_reply.c */
enum lean_reply {
    LEAN_REPLY_MORE,     /* All bytes were used. */
    LEAN_REPLY_PAUSED,   /* The rest waits. */
    LEAN_REPLY_COMPLETE, /* The rest is not of this reply. lean_call_complete is next. */
    LEAN_REPLY_ENDED,    /* The call failed or was cancelled; the connection is closed. */
};
/* Plain bytes of the peer for a call in HEAD or BODY; callbacks run. */
enum lean_reply lean_reply_input(struct transport_call *c, struct str *io_bytes);
/* After PAUSED or while paused: keeps a copy. */
void lean_reply_keep(struct transport_call *c, struct str bytes);
void lean_reply_forget(struct lean_conn *conn);  /* Frees what a reply left. */
void lean_reply_go_on(struct transport_call *c); /* With what was kept. */
/* No more bytes will come. clean: the peer said so (for TLS: by close_notify). */
void lean_reply_end(struct transport_call *c, bool clean);

/* lean.c */
void lean_transport_wake(struct transport *t);      /* Runs what is due, next turn. */
void lean_origin_check(struct transport_origin *o); /* Goes when it is closing and empty. */

#endif
