/* rpc.h: bidirectional streams of protobuf messages between the planes. The only file (with
 * rpc_*.c) that sees gRPC: users see messages of protobuf-c, a loop and callbacks.
 *
 * A client or server owns one completion queue and the thread that waits on it; completions go to
 * the loop through a list and one uv_async. All state belongs to the loop's thread: call everything
 * here from it, and every callback arrives on it. Never fork after rpc_init.
 *
 * Credentials: without files the connection is plain text and only loopback addresses and unix
 * sockets are accepted (ERR_DENIED otherwise); with them it is TLS in both directions: the peer
 * must show a certificate of the CA. Files are read again when they change (F33).
 *
 * A stream that closes is gone: who wants another one at once keeps one with rpc_keep.h. */
#ifndef STEELYARD_COMMON_LINK_RPC_H
#define STEELYARD_COMMON_LINK_RPC_H

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "common/base/err.h"
#include "common/base/str.h"

#define RPC_MESSAGE_BYTES_MAX 4194304U  /* Either direction; larger closes the stream. */
#define RPC_SEND_BYTES_MAX    16777216U /* Default bound of a stream's send queue. */
#define RPC_STREAMS_MAX       4096U     /* Default bound of a server's open streams. */
#define RPC_METADATA_BYTES    16384
#define RPC_TARGETS_MAX       64U /* Of one client. */

void rpc_init(void);     /* Once a process, before threads that use it. Counted. */
void rpc_shutdown(void); /* Blocks until gRPC's threads ended. */

struct rpc_tls { /* All three or none. Borrowed for the call. */
    const char *cert_file;
    const char *key_file;
    const char *ca_file;
    const char
        *server_name; /* Client: name in the server's certificate; NULL: that of the address. */
};

/* How a stream ended. gRPC's canonical codes that matter here. */
enum rpc_code {
    RPC_OK = 0,
    RPC_CANCELLED = 1,
    RPC_INVALID = 3,
    RPC_DEADLINE = 4,
    RPC_DENIED = 7,
    RPC_EXHAUSTED = 8,
    RPC_UNIMPLEMENTED = 12,
    RPC_INTERNAL = 13,
    RPC_UNAVAILABLE = 14,
    RPC_UNAUTHENTICATED = 16,
};
struct rpc_status {
    int code;           /* enum rpc_code, or another canonical code. */
    const char *detail; /* For logs; borrowed for the callback. From the peer: escape it. */
};

struct rpc_stream;

/* NULL members are not called. */
struct rpc_stream_events {
    /* m is borrowed for the call. */
    void (*on_message)(struct rpc_stream *stream, const ProtobufCMessage *m, void *user);
    /* The send queue fell to half of its bound or below after a send was refused with ERR_BUSY or
     * rpc_stream_has_room had said no. */
    void (*on_writable)(struct rpc_stream *stream, void *user);
    /* The peer will send no more. A server stream should call rpc_stream_finish soon. */
    void (*on_end)(struct rpc_stream *stream, void *user);
    /* Exactly once, last of all, never from inside a call to this module. The stream is gone when
     * it returns. */
    void (*on_close)(struct rpc_stream *stream, const struct rpc_status *status, void *user);
};

/* One method of a service: "/steelyard.control.v1.Control/Sync". Static storage. */
struct rpc_method {
    const char *path;
    const ProtobufCMessageDescriptor *request;  /* What the client sends. */
    const ProtobufCMessageDescriptor *response; /* What the server sends. */
};

/* Packs and queues. ERR_BUSY: the queue is at its bound (wait for on_writable); ERR_CLOSED: no more
 * can be sent; ERR_TOO_LARGE: above RPC_MESSAGE_BYTES_MAX; ERR_NOMEM. */
int rpc_stream_send(struct rpc_stream *stream, const ProtobufCMessage *m) MUST_CHECK;
/* Whether a message of so many bytes would be queued now; false: on_writable follows. */
bool rpc_stream_has_room(struct rpc_stream *stream, size_t bytes);
size_t rpc_stream_queued_bytes(const struct rpc_stream *stream);
/* Stops taking messages; what was already taken (at most one) still arrives after resume. */
void rpc_stream_pause(struct rpc_stream *stream);
void rpc_stream_resume(struct rpc_stream *stream);
/* After what is queued: client: no more messages will come; server: ends the stream with this
 * status (detail is copied). */
void rpc_stream_finish(struct rpc_stream *stream, int code, const char *detail);
/* At once; on_close follows. */
void rpc_stream_cancel(struct rpc_stream *stream, int code, const char *detail);
void rpc_stream_set_user(struct rpc_stream *stream, const struct rpc_stream_events *events,
                         void *user);
void rpc_stream_set_send_max(struct rpc_stream *stream, size_t bytes);

/* ---- who is at the other end ---- */

/* true: the peer showed a certificate of the CA. */
bool rpc_stream_authenticated(const struct rpc_stream *stream);
/* Does the peer's certificate name it so: a DNS name equal to `name`, or a URI "urn:uuid:<name>" or
 * ending in "/node/<name>". Always false without TLS. */
bool rpc_stream_peer_is(const struct rpc_stream *stream, struct str name);
/* "ipv4:10.0.0.7:51234"; borrowed. */
const char *rpc_stream_peer(const struct rpc_stream *stream);

/* When a certificate ends, Unix seconds: the first one of a PEM file. ERR_NOT_FOUND: no such file;
 * ERR_CORRUPT: no certificate in it. Any thread. */
int rpc_tls_ends(const char *cert_file, int64_t *out_unix_s) MUST_CHECK;

/* ---- client ---- */

struct rpc_client;
/* target: "host:port", "[::1]:port" or "unix:/path". tls NULL: plain text. */
int rpc_client_create(uv_loop_t *loop, const char *target, const struct rpc_tls *tls,
                      struct rpc_client **out_client, struct err *err) MUST_CHECK;
/* One of several, all of which do the same (1 to RPC_TARGETS_MAX). A connection is made only to
 * that which is used: at first one drawn at random, so that many clients spread; another after
 * rpc_client_turn_on. names[i]: what the certificate of targets[i] must say, NULL: as tls says,
 * else the name in the target. names NULL: all are. All texts are copied. beside: a client
 * of the same loop that is not being closed, whose thread serves this one too; each has its own
 * connection, and either may be closed first. NULL: a thread of its own. */
int rpc_client_create_list(uv_loop_t *loop, const char *const *targets, const char *const *names,
                           size_t count, const struct rpc_tls *tls, struct rpc_client *beside,
                           struct rpc_client **out_client, struct err *err) MUST_CHECK;
/* Replaces the list (addresses of a name may change). Streams that are open stay as they are; the
 * target in use stays the one in use if it is still listed, else one is drawn. On an error the old
 * list stays. */
int rpc_client_set_targets(struct rpc_client *client, const char *const *targets,
                           const char *const *names, size_t count, struct err *err) MUST_CHECK;
/* The target in use, as it was given; borrowed until the list changes. */
const char *rpc_client_target(const struct rpc_client *client);
size_t rpc_client_target_count(const struct rpc_client *client);
/* A number for the choice of target that new streams get; it rises with each other choice. */
uint64_t rpc_client_turn(const struct rpc_client *client);
/* Goes on to the next target, unless somebody has done so since that turn: whoever loses a stream
 * says so, and a lost connection with several streams counts once. */
void rpc_client_turn_on(struct rpc_client *client, uint64_t turn);
/* Starts a stream; events and user as rpc_stream_set_user. deadline_ms 0: none. An unreachable peer
 * shows as on_close with RPC_UNAVAILABLE. */
int rpc_client_open(struct rpc_client *client, const struct rpc_method *method,
                    uint64_t deadline_ms, const struct rpc_stream_events *events, void *user,
                    struct rpc_stream **out_stream) MUST_CHECK;
/* Cancels what is open; cb after the last on_close, the thread's end and all handles' close. The
 * client is gone when cb is called. */
void rpc_client_close(struct rpc_client *client, void (*cb)(void *user), void *user);

/* ---- server ---- */

struct rpc_server;
struct rpc_server_options {
    const char *address;  /* "127.0.0.1:0", "[::1]:8091", "unix:/path" */
    struct rpc_tls tls;   /* cert_file NULL: plain text. */
    uint32_t streams_max; /* 0: RPC_STREAMS_MAX. Above it: RPC_EXHAUSTED. */
};
/* A stream was opened by a peer: set its events with rpc_stream_set_user, or cancel it. */
typedef void (*rpc_accept_cb)(struct rpc_stream *stream, const struct rpc_method *method,
                              void *user);
/* methods: borrowed for the server's life. Unknown ones are answered with RPC_UNIMPLEMENTED. */
int rpc_server_create(uv_loop_t *loop, const struct rpc_server_options *options,
                      const struct rpc_method *methods, uint32_t method_count,
                      rpc_accept_cb on_accept, void *user, struct rpc_server **out_server,
                      struct err *err) MUST_CHECK;
/* "127.0.0.1:34567" as bound. */
const char *rpc_server_address(const struct rpc_server *server);
/* No new streams; after grace_ms what is still open is cancelled. cb last of all; the server is
 * gone when it is called. */
void rpc_server_close(struct rpc_server *server, uint64_t grace_ms, void (*cb)(void *user),
                      void *user);

/* ---- reconnecting: full jitter (uniform in [0, min(cap, base * 2^n)]), pure but for the draw ----
 */

#define RPC_BACKOFF_BASE_MS 500U
#define RPC_BACKOFF_CAP_MS  30000U
struct rpc_backoff {
    uint32_t failures;
    uint32_t base_ms; /* 0: RPC_BACKOFF_BASE_MS. */
    uint32_t cap_ms;  /* 0: RPC_BACKOFF_CAP_MS. */
};
uint64_t rpc_backoff_next_ms(struct rpc_backoff *b);
void rpc_backoff_reset(struct rpc_backoff *b); /* After a stream has proved useful. */

#endif
