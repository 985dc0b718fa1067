/* rpc_internal.h: shared by rpc_*.c only. */
#ifndef STEELYARD_COMMON_LINK_RPC_INTERNAL_H
#define STEELYARD_COMMON_LINK_RPC_INTERNAL_H

#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <pthread.h>

#include "common/base/list.h"
#include "common/link/rpc.h"

/* ---- completions from gRPC's queue to the loop (rpc_bridge.c) ---- */

/* One tag of the completion queue. */
struct rpc_op {
    void (*on_done)(struct rpc_op *op, bool ok);
    struct rpc_op *next;
    bool ok;
};

/* Somebody who no longer uses a bridge, until he was told that it is over. */
struct rpc_leave {
    struct rpc_op op;
    void (*on_closed)(void *user);
    void *user;
};

struct rpc_bridge {
    unsigned users; /* Clients or a server; the last one ends it. */
    uv_loop_t *loop;
    grpc_completion_queue *cq;
    pthread_t thread;
    pthread_mutex_t lock; /* head, tail, drained. */
    struct rpc_op *head;
    struct rpc_op **tail;
    bool drained; /* The queue is shut down and empty: the thread has ended or is about to. */
    uv_async_t async;
    struct rpc_leave *last; /* Who is told when it has ended. */
};
/* For one user. It frees itself when it has ended. */
int rpc_bridge_start(uv_loop_t *loop, struct rpc_bridge **out_bridge, struct err *err) MUST_CHECK;
/* For one more. */
struct rpc_bridge *rpc_bridge_share(struct rpc_bridge *b);
/* No call of this user may start a batch any more. on_closed once, later; tags of the user's calls
 * may still come back then if others use the bridge. leave: borrowed until then. */
void rpc_bridge_leave(struct rpc_bridge *b, struct rpc_leave *leave, void (*on_closed)(void *user),
                      void *user);
/* Runs op->on_done(op, true) in a later loop turn. Loop thread. */
void rpc_bridge_post(struct rpc_bridge *b, struct rpc_op *op);
/* What happens before a batch starts happens before its tag comes back; gRPC is not instrumented,
 * so ThreadSanitizer has to be told. */
void rpc_op_release(struct rpc_op *op);

/* ---- one stream, either side (rpc_stream.c) ---- */

struct rpc_send {
    struct rpc_send *next;
    grpc_byte_buffer *bytes;
    size_t size;
};

/* Rules of the core: at most one outstanding batch per kind of operation; SEND and RECV never share
 * a batch; out-parameters live until the tag is back; a stream ends with a NULL byte buffer.
 * `refs` counts outstanding tags and the owner's (until on_close). */
struct rpc_stream {
    struct list link; /* Of its client or server. */
    struct rpc_bridge *bridge;
    grpc_call *call;
    const ProtobufCMessageDescriptor *receives;
    const struct rpc_stream_events *events;
    void *user;
    void (*on_gone)(struct rpc_stream *stream, void *owner); /* After on_close. */
    void *owner;
    bool is_server;
    unsigned refs;
    struct rpc_op op_open, op_metadata, op_receive, op_send, op_end, op_close, op_resume;
    /* Receiving. */
    grpc_byte_buffer *received;
    grpc_byte_buffer *held; /* Taken while paused. */
    bool receiving, paused, ended, resuming;
    /* Sending. */
    struct rpc_send *queue;
    struct rpc_send **queue_tail;
    size_t queued_bytes, queue_max_bytes;
    bool opened, sending, refused, finishing, end_sent;
    grpc_status_code end_code;
    char *end_detail;
    /* The end. */
    grpc_metadata_array metadata_in, trailing;
    grpc_status_code code;
    grpc_slice detail;
    int cancelled;
    bool closed;
    char *peer;
};
struct rpc_stream *rpc_stream_create(struct rpc_bridge *bridge, bool is_server,
                                     const ProtobufCMessageDescriptor *receives); /* Or NULL. */
/* Takes over stream->call and starts the batches of its side. */
void rpc_stream_start_client(struct rpc_stream *stream);
void rpc_stream_start_server(struct rpc_stream *stream);
void rpc_stream_arm_receive(struct rpc_stream *stream);
void rpc_stream_destroy_unstarted(struct rpc_stream *stream);

/* ---- credentials (rpc_tls.c) ---- */

struct rpc_tls_files;
int rpc_tls_files_create(const struct rpc_tls *tls, struct rpc_tls_files **out_files,
                         struct err *err) MUST_CHECK;
void rpc_tls_files_destroy(struct rpc_tls_files *files);
bool rpc_tls_files_changed(struct rpc_tls_files *files);
int rpc_tls_client_credentials(struct rpc_tls_files *files, grpc_channel_credentials **out,
                               struct err *err) MUST_CHECK;
/* Reads the files again at a handshake after they changed. files must outlive the server. */
int rpc_tls_server_credentials(struct rpc_tls_files *files, grpc_server_credentials **out,
                               struct err *err) MUST_CHECK;
/* "host:port" or "unix:/path": may it be used without TLS? */
bool rpc_address_is_local(const char *address);

#endif
