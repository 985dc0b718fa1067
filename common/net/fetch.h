/* fetch.h: HTTP/1.1 requests to other servers, over libcurl's multi interface on a uv loop. The one
 * module that sees curl.
 *
 * struct fetch_loop: one per uv loop; resolver results, sockets, free lists.
 * struct fetch_origin: scheme, host, port and their TLS and address rules; owns the connections
 * that may serve it, so no connection, limit or credential is ever shared between origins. struct
 * fetch: one exchange. Exactly one on_done for each successful start, later, never from inside a
 * fetch_* call. No redirect, proxy, netrc, cookie, decompression or HTTP/2; certificates are always
 * verified; the address that was checked is the one connected to (RELIABILITY B32-B34, B39, B40,
 * F12, F20, F26). All calls on the loop's thread; they may be made from inside the callbacks. */
#ifndef STEELYARD_COMMON_NET_FETCH_H
#define STEELYARD_COMMON_NET_FETCH_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/str.h"

struct fetch_loop;
struct fetch_origin;
struct fetch;

typedef void (*fetch_close_cb)(void *arg);

/* Process-wide, before threads exist, once; and after they ended. */
int fetch_global_init(struct err *err) MUST_CHECK;
void fetch_global_deinit(void);

struct fetch_loop *fetch_loop_create(uv_loop_t *loop); /* NULL: out of memory. */
/* Every origin must have been closed (its callback may still be pending). cb may be NULL. */
void fetch_loop_close(struct fetch_loop *fl, fetch_close_cb cb, void *arg);

struct fetch_origin_config {
    const char *url;    /* "https://api.example.com", "http://127.0.0.1:8080"; a path is refused. */
    bool allow_private; /* Loopback, private and unique-local addresses. Link-local and cloud
                         * metadata addresses are refused in any case. */
    bool allow_http;    /* Plain http, and then to private addresses only. */
    /* 169.254.169.254 too, and over plain http: where clouds tell a machine who it is. For what
     * this process asks for itself, never for an address that somebody else chose. */
    bool allow_metadata;
    const char
        *ca_file; /* PEM; NULL: the system's store. There is no switch to skip verification. */
    const char *client_cert_file; /* mTLS; both or neither. */
    const char *client_key_file;
    uint32_t max_connections;      /* At once; more exchanges wait inside. 0: 256. */
    uint32_t max_idle_connections; /* 0: 64. */
    uint32_t receive_buffer_bytes; /* SO_RCVBUF (F23); 0: 64 KiB, the lean transport 32. */
};

/* ERR_INVALID with a message for a bad url (host over 253 bytes, user info, path, other scheme). */
int fetch_origin_create(struct fetch_loop *fl, const struct fetch_origin_config *config,
                        struct fetch_origin **out_origin, struct err *err) MUST_CHECK;
/* Cancels what still runs (each gets its on_done first), closes the connections; then the origin is
 * gone. cb may be NULL. */
void fetch_origin_close(struct fetch_origin *o, fetch_close_cb cb, void *arg);

struct fetch_origin_stats {
    uint64_t started;
    uint64_t connections_opened;
    uint64_t reused; /* Exchanges that found an open connection. */
    uint64_t addresses_refused;
    uint32_t running;
    uint32_t open_connections;
};
struct fetch_origin_stats fetch_origin_stats(const struct fetch_origin *o);

/* Where an exchange was when it ended, in this order. */
enum fetch_phase {
    FETCH_RESOLVE, /* Waiting for an address or a connection slot. */
    FETCH_CONNECT,
    FETCH_TLS,
    FETCH_HEAD, /* Sending the request, waiting for the reply's head. */
    FETCH_BODY,
    FETCH_COMPLETE, /* The reply was read whole. */
};
const char *fetch_phase_name(enum fetch_phase phase); /* "resolve", ... */

/* Milliseconds; 0 takes the default (F12). */
struct fetch_timeouts {
    uint32_t connect_ms;    /* Resolving and the TCP handshake: 2 s. */
    uint32_t tls_ms;        /* 3 s. */
    uint32_t head_ms;       /* From the connection's readiness to the end of the head: 30 s. */
    uint32_t first_byte_ms; /* ... to the first body byte, anew after a pause: 60 s. */
    uint32_t idle_ms;       /* Between body bytes; stands still while paused: 30 s. */
    uint32_t total_ms;      /* Everything, pauses included: 600 s. */
};

struct fetch_field {
    struct str name;
    struct str value;
};

/* Only read during fetch_start, except for the bytes the body spans point to. */
struct fetch_request {
    struct str method;                /* "GET", "POST", ... */
    struct str target;                /* "/v1/messages?beta=true": sent as it is. */
    const struct fetch_field *fields; /* Sent in this order, nothing is added but Host (the
                                       * origin's), Content-Length and Accept. Copied. */
    size_t field_count;
    const struct str *body; /* Sent back to back. The array is copied, the bytes are not: they must
                             * stay until on_done. */
    size_t body_count;      /* At most FETCH_BODY_SPANS_MAX. 0: no body. */
    /* The body has so many bytes and is handed over as it comes: struct transport_ops.offer. Then
     * there are no spans, and only a transport that has that takes the request. 0: no. */
    uint64_t growing_bytes;
    struct fetch_timeouts timeouts;
    uint64_t body_max_bytes; /* Of the reply; 0: 16 MiB. More ends it with ERR_TOO_LARGE. */
    bool fresh;              /* On a connection of its own making: no kept one. */
};
#define FETCH_BODY_SPANS_MAX 64

/* What the callee wants next. */
enum fetch_flow {
    FETCH_GO,
    FETCH_PAUSE, /* These bytes were taken; no more until fetch_resume. */
};

/* How an exchange ended. */
struct fetch_result {
    /* 0: reply complete. ERR_TIMEOUT, ERR_REFUSED, ERR_UNREACHABLE, ERR_NOT_FOUND (name),
     * ERR_DENIED (address), ERR_TLS, ERR_CLOSED (cut by the peer), ERR_PROTOCOL (garbage, framing
     * conflict, unasked encoding), ERR_TOO_LARGE (head or body), ERR_CANCELED, ERR_NOMEM,
     * ERR_UPSTREAM. */
    int status;
    enum fetch_phase phase; /* Where it was when that happened. */
    bool request_sent;      /* Any byte of the request may have reached the peer. */
    bool request_taken;     /* All of it may have: the peer may have been at work on it. */
    bool reply_seen;        /* Any byte of a reply arrived. */
    bool reused;            /* The connection had served another exchange before. */
    unsigned http_status;   /* 0: no head. */
    uint64_t sent_bytes;    /* Of the body. */
    uint64_t body_bytes;    /* Of the reply's body. */
    uint64_t connect_ns;    /* Resolve, TCP and TLS; 0 when reused. */
};

struct fetch_callbacks {
    /* The final head is complete (1xx are skipped). Read it with fetch_header. May be NULL. */
    enum fetch_flow (*on_head)(void *arg, struct fetch *f, unsigned status);
    enum fetch_flow (*on_body)(void *arg, struct fetch *f, struct str piece); /* May be NULL. */
    /* Last. f and all it lent are gone when this returns. Comes even while paused when nothing is
     * left to deliver. */
    void (*on_done)(void *arg, struct fetch *f, const struct fetch_result *result);
};

/* ERR_CANCELED: the origin is closing. ERR_INVALID: bytes in method, target or fields that would
 * break the head, a field that is curl's (Host, Content-Length, Transfer-Encoding, Connection,
 * Expect), too many spans. callbacks is borrowed (static). */
int fetch_start(struct fetch_origin *o, const struct fetch_request *request,
                const struct fetch_callbacks *callbacks, void *arg,
                struct fetch **out_fetch) MUST_CHECK;
/* on_done follows with ERR_CANCELED unless it ended otherwise first; no other callback comes. The
 * connection is closed, not pooled (F19). */
void fetch_cancel(struct fetch *f);
void fetch_resume(struct fetch *f);     /* Fine when not paused. */
bool fetch_sent(const struct fetch *f); /* The spans of the body are not looked at any more. */

/* Reply head, from on_head until on_done returns. .data NULL: absent. First one of that name. */
struct str fetch_header(const struct fetch *f, struct str name);
size_t fetch_header_count(const struct fetch *f);
void fetch_header_at(const struct fetch *f, size_t index, struct str *out_name,
                     struct str *out_value);
enum fetch_phase fetch_phase(const struct fetch *f);

/* Small exchanges with whole bodies. */
struct fetch_reply {
    struct fetch_result result;
    struct buf body; /* On failure what had arrived. */
    struct str content_type;
};
typedef void (*fetch_simple_cb)(void *arg, const struct fetch_reply *reply); /* Borrowed. */
/* request's bytes are copied, body included. out_fetch may be NULL; else it can be cancelled. */
int fetch_simple(struct fetch_origin *o, const struct fetch_request *request, fetch_simple_cb cb,
                 void *arg, struct fetch **out_fetch) MUST_CHECK;
/* Makes a loop of its own and runs it until the reply is there: for command-line tools and tests,
 * never on a loop's thread of a server. Writes status and body; out_body is initialised and grows
 * to request->body_max_bytes. Non-zero: no whole reply, err says why. */
int fetch_blocking(const struct fetch_origin_config *config, const struct fetch_request *request,
                   unsigned *out_http_status, struct buf *out_body, struct err *err) MUST_CHECK;

/* B40, pure: may this address be connected to? Unspecified, multicast, link-local, metadata and
 * IPv4-mapped forms of them: never. Loopback, private, shared, unique-local: allow_private. */
struct sockaddr;
bool fetch_address_allowed(const struct sockaddr *address, bool allow_private);
/* The only ones for plain http. */
bool fetch_address_is_private(const struct sockaddr *address);
bool fetch_address_is_metadata(const struct sockaddr *address); /* 169.254.169.254 */

#endif
