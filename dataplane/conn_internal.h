/* conn_internal.h: what the files of conn share. Not for other modules. */
#ifndef STEELYARD_DATAPLANE_CONN_INTERNAL_H
#define STEELYARD_DATAPLANE_CONN_INTERNAL_H

#include "dataplane/conn.h"

#define CONN_KEPT_BYTES      16384U /* Buffers above this are given back after use. */
#define CONN_AHEAD_BYTES_MAX HTTP1_REQUEST_HEAD_BYTES_MAX /* Pipelined: at most one head. */
#define CONN_BROUGHT_BYTES   16384                        /* A longer read is worked on at once. */
#define CONN_FREE_MAX        1024U                        /* Of each kind, kept for use. */

enum conn_state { CONN_IDLE, CONN_HEAD, CONN_BODY, CONN_BUSY, CONN_LINGER, CONN_CLOSING };

/* Bytes of a message and what was understood of them; a request borrows them while it runs. */
struct conn_message {
    void *next_free; /* First: the free list's link. */
    size_t body_at;  /* Where the decoded body ends in `in`; it begins at head_bytes. */
    size_t raw_at;   /* Undecoded bytes follow here. */
    bool in_place;   /* `in` has room for all of it and is not moved any more. */
    struct buf in;   /* Head and body. */
    struct http1_body body;
    struct http1_head head;
};

/* What the socket did not take at once, and what closing takes. */
struct conn_output {
    void *next_free; /* First: the free list's link. */
    struct conn *conn;
    struct buf sending; /* In flight. */
    struct buf waiting; /* Gathers meanwhile. */
    size_t unsent_seen; /* Of the write in flight, at the last tick that saw progress. */
    uint64_t progress_ms;
    union {
        uv_write_t write;
        uv_shutdown_t shutdown;
    } req;
};

struct conn {
    struct list link;
    struct list again_link;
    struct conn_pool *pool;
    struct request *request;
    struct conn_message *message; /* Being read or worked on; NULL: none, or released. */
    struct conn_message *ahead;   /* What came after it, while it is busy. */
    struct conn_output *out;      /* NULL: the kernel has everything. */
    uint64_t since_ms;            /* Start of the state. */
    uint64_t retire_ms;           /* max_age, jittered; 0: never. */
    uint8_t state;                /* enum conn_state */
    uint8_t minor_version;        /* Of the message at hand. */
    uint8_t posts;                /* How many of the pool's are this one's. */
    bool reading : 1;
    bool parsing : 1; /* conn_advance is on the stack. */
    bool socket_closed : 1;
    bool close_after : 1; /* No further request. */
    bool writing : 1;     /* out->sending is in flight. */
    bool was_full : 1;    /* The request was told to wait. */
    bool shut : 1;        /* Write side was shut down. */
    bool broken : 1;      /* A post failed: goes once no callback is on the stack. */
    int fd;               /* tcp's, for as long as the state is not CLOSING. */
    uv_tcp_t tcp;
};

/* conn.c */
void conn_state_set(struct conn *c, enum conn_state state);
/* The peer sees a reset when something was left to say: never a clean end of a broken answer. */
void conn_close(struct conn *c, bool reset);
void conn_gone(struct conn *c); /* Closes and tells the request. */
void conn_read(struct conn *c);
void conn_release(struct conn *c);                           /* Socket and request are gone. */
struct conn_message *conn_message_take(struct conn_pool *p); /* NULL: out of memory. */
void conn_message_put(struct conn_pool *p, struct conn_message *m); /* NULL is allowed. */

/* conn_message.c */
void conn_advance(struct conn *c);
void conn_reject(struct conn *c, enum fault fault);
void conn_room(struct conn *c, uv_buf_t *out); /* Where the next bytes are read to. */
/* May the message at hand take so many bytes more? */
bool conn_may_grow(const struct conn *c, size_t bytes);
void conn_on_idle(uv_idle_t *idle);
void conn_bring(void *pool); /* What was read in this turn. */

/* conn_write.c */
int conn_send(void *client, const struct str *pieces, size_t count);
size_t conn_queued(const void *client);
void conn_linger(struct conn *c);
void conn_output_put(struct conn *c);
/* Sends what is posted of this one; for when what follows must come after it. */
int conn_flush(struct conn *c) MUST_CHECK;
/* Sends what is posted to all, and tells nobody: what could not be sent is told of before the loop
 * waits. */
void conn_end_turn(void *pool);

#endif
