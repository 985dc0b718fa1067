/* conn.h: one client connection: reads a message, starts a request, keeps the bytes the request
 * borrows, sends what it says (what is short at the end of the loop's turn), stops reading when
 * told enough came ahead (B9), and cuts who is too slow (B10).
 *
 *   IDLE -> HEAD -> BODY -> BUSY -> IDLE ...        any -> LINGER -> CLOSING        any -> CLOSING
 *
 * A connection is small: what it needs only for a time (a message's bytes and head, what waits to
 * be written) is borrowed from the worker's pool and goes back as soon as it is not needed.
 *
 * A request outlives its client while it reads on for usage; the memory of the connection stays
 * until both the socket and the request are gone. All on the worker's thread. */
#ifndef STEELYARD_DATAPLANE_CONN_H
#define STEELYARD_DATAPLANE_CONN_H

#include <uv.h>

#include "common/base/slab.h"
#include "common/net/http1_memory.h"
#include "common/net/listener.h"
#include "dataplane/request/request.h"

struct conn;

struct conn_config {
    uint32_t head_ms;       /* A head in all. */
    uint32_t body_grace_ms; /* A body may be slower than body_min_rate only so long. */
    uint32_t body_min_rate; /* Bytes a second. */
    uint32_t stall_ms;      /* No byte of an answer taken. */
    uint32_t idle_ms;       /* Between requests. */
    uint32_t max_age_ms;    /* Then closed after the next answer; +- 10 %. 0: never. */
    uint32_t linger_ms;     /* Reading on after a refusal, so that it is not lost to a reset. */
    uint64_t body_max_bytes;
    uint64_t memory_max_bytes; /* Of the process: near it no body grows (F24). 0: not watched. */
};
extern const struct conn_config conn_defaults;

/* What goes to a socket at the end of the turn: wakes of the loop's peers cost more than the copy.
 */
#define CONN_POSTS_MAX  64U
#define CONN_POST_BYTES 4096U /* Of one; more goes at once. */

struct conn_post {
    struct conn *conn; /* NULL: gone, or sent before its turn. */
    uint32_t at;       /* In post_buffer. */
    uint32_t len;
};

/* What the connections of one worker share. */
struct conn_pool {
    struct request_env *env;
    struct listener *listener; /* Told of each connection that ended; NULL: none. */
    struct conn_config config;
    uv_loop_t *loop;
    struct list open; /* Its front is looked at next by the tick. */
    uint32_t open_count;
    struct round round;
    struct list brought; /* Were read in this turn; what they said is looked at in its end. */
    struct list again;   /* Have more to do than one turn is for. */
    uv_idle_t idle;
    struct slab slab;         /* Of connections. */
    struct freelist messages; /* Messages and outputs kept for use. */
    struct freelist outputs;
    uint32_t messages_used;
    uint32_t outputs_used;
    uint32_t post_count;
    uint32_t posted_bytes;
    bool closing;
    bool in_turn; /* What was read in it is being driven: conn_end_turn sends what is posted. */
    uv_prepare_t turn; /* Sends what is posted at another time, before the loop waits. */
    struct http1_memory heads;
    char read_buffer[65536];
    struct conn_post posts[CONN_POSTS_MAX];
    char post_buffer[65536];
};
void conn_pool_init(struct conn_pool *p, uv_loop_t *loop, struct request_env *env,
                    const struct conn_config *config);
void conn_pool_close(struct conn_pool *p); /* open is empty; then a loop turn, then deinit. */
void conn_pool_deinit(struct conn_pool *p);

/* Takes over fd, whatever happens. */
void conn_open(struct conn_pool *p, int fd);
/* Every so often: looks at a part of the connections, at each within a second or a call. */
void conn_pool_tick(struct conn_pool *p, uint64_t now_ms);
/* Gives back what is kept beyond what is in use now. */
void conn_pool_trim(struct conn_pool *p);
/* Closes what is idle; what runs is closed after its answer. */
void conn_pool_drain(struct conn_pool *p);
/* Cuts everything. */
void conn_pool_cut(struct conn_pool *p);
/* F24, at 95 % of the memory: cuts the connection that holds most. */
void conn_pool_cut_largest(struct conn_pool *p);

#endif
