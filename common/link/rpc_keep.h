/* rpc_keep.h: one stream of a client that is opened again whenever it ends, at the client's next
 * target, after a wait with full jitter. What is said on it is the user's.
 *
 *   IDLE -> [wait] -> open -> on_opened ... on_lost -> [wait] -> open ...; any -> CLOSING -> gone
 *
 * With several targets the first round through all of them counts as one failure, and so does each
 * later one: a target that is gone costs one short wait. Streams of one client follow each other:
 * who loses its stream goes where the client is by then. The client's loop and thread. */
#ifndef STEELYARD_COMMON_LINK_RPC_KEEP_H
#define STEELYARD_COMMON_LINK_RPC_KEEP_H

#include "common/link/rpc.h"

struct rpc_keep;

/* NULL members are not called. */
struct rpc_keep_events {
    /* A stream was begun; whether anybody is there shows later. Say hello here. */
    void (*on_opened)(struct rpc_keep *keep, void *user);
    /* m is borrowed for the call. */
    void (*on_message)(struct rpc_keep *keep, const ProtobufCMessage *m, void *user);
    /* After rpc_keep_send had said ERR_BUSY, or rpc_stream_has_room no. */
    void (*on_writable)(struct rpc_keep *keep, void *user);
    /* The stream of the last on_opened is gone, also because of rpc_keep_close. */
    void (*on_lost)(struct rpc_keep *keep, const struct rpc_status *status, void *user);
};

struct rpc_keep_options {
    uv_loop_t *loop;
    struct rpc_client *client; /* NULL: there is nobody to talk to; no stream is ever opened.
                                  Borrowed: close it after the keep. */
    const struct rpc_method *method;
    const struct rpc_keep_events *events; /* Static storage. */
    void *user;
    struct rpc_backoff backoff; /* Its bases; zeros: the usual ones. */
};

int rpc_keep_create(const struct rpc_keep_options *options, struct rpc_keep **out_keep,
                    struct err *err) MUST_CHECK;
/* The first stream is opened in a later turn of the loop, without a wait. Once. */
void rpc_keep_start(struct rpc_keep *keep);

/* As rpc_stream_send; ERR_CLOSED also while there is no stream. */
int rpc_keep_send(struct rpc_keep *keep, const ProtobufCMessage *m) MUST_CHECK;
/* Borrowed; NULL while there is none. */
struct rpc_stream *rpc_keep_stream(const struct rpc_keep *keep);
/* The stream has proved useful: the next wait is a first one again. */
void rpc_keep_proved(struct rpc_keep *keep);
/* Gives the stream up (it cannot be used, or its answer is overdue): on_lost follows, later, and
 * then the next one. Nothing happens where there is none. */
void rpc_keep_give_up(struct rpc_keep *keep, int code, const char *detail);
/* Drops the present connection and goes to the next target, after a first wait: the peer is well
 * but somebody else should serve this stream. Where there is none, nothing happens. */
void rpc_keep_move_on(struct rpc_keep *keep);
/* The present stream, if any, is the last one. */
void rpc_keep_no_more(struct rpc_keep *keep);

/* cb once, later, after the last on_lost; the object is gone then. */
void rpc_keep_close(struct rpc_keep *keep, void (*cb)(void *user), void *user);

#endif
