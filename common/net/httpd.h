/* httpd.h: a small HTTP/1.1 server on one loop, for everything that is not the request path: admin
 * API, probes, metrics, and the servers that tests talk to.
 *
 * Each request is read whole (body up to a cap), then handed to one handler, which answers at once
 * or any time later, whole or as a stream. Requests of a connection are answered in order, one
 * ahead may be waiting in the buffer. No TLS: the ingress or loopback ends it. Everything on the
 * loop's thread; for several threads make one httpd each, with reuse_port. */
#ifndef STEELYARD_COMMON_NET_HTTPD_H
#define STEELYARD_COMMON_NET_HTTPD_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "common/base/err.h"
#include "common/base/str.h"
#include "common/net/http1.h"
#include "common/net/listener.h"

struct httpd;
/* One request, from the handler's call until exactly one of httpd_reply, httpd_end or httpd_abort
 * is called on it: always call one, also when the client is gone; after that the pointer is stale.
 */
struct httpd_request;

typedef void (*httpd_handler_cb)(void *arg, struct httpd_request *req);
typedef void (*httpd_event_cb)(void *arg, struct httpd_request *req);
typedef void (*httpd_close_cb)(void *arg);

struct httpd_config {
    const char *address; /* As in listener.h. */
    bool reuse_port;
    unsigned unix_mode;
    uint32_t max_connections;   /* 0: 1024. */
    uint64_t body_max_bytes;    /* 0: 1 MiB. More is 413. */
    uint32_t stream_mark_bytes; /* httpd_write says "full" above this; 0: 64 KiB. */
    /* 0 takes the default: head 10 s in all; a body may be slower than body_min_bytes_per_s (1 KiB)
     * only during its first body_grace_ms (10 s); a client that takes no byte of an answer for
     * stall_ms (30 s) is cut; an idle connection is closed after idle_ms (75 s). */
    uint32_t head_timeout_ms;
    uint32_t body_grace_ms;
    uint32_t body_min_bytes_per_s;
    uint32_t stall_ms;
    uint32_t idle_ms;
    httpd_handler_cb on_request;
    void *arg;
};

struct httpd_stats {
    uint64_t requests;
    uint64_t rejected[HTTP1_REASON_COUNT]; /* Answered here, by reason. */
    uint64_t stalled;                      /* Cut for reading too slowly. */
    struct listener_stats listener;
};

int httpd_start(uv_loop_t *loop, const struct httpd_config *config, struct httpd **out_httpd,
                struct err *err) MUST_CHECK;
/* Stops accepting; idle connections close; running requests are answered with Connection: close. */
void httpd_drain(struct httpd *h);
/* Cuts every connection; running requests get their gone event. The callback (may be NULL) comes
 * once each of them was finished by its owner; the server is gone then. */
void httpd_close(struct httpd *h, httpd_close_cb cb, void *arg);
uint16_t httpd_port(const struct httpd *h);
uint32_t httpd_running(const struct httpd *h); /* Requests not yet finished by their owner. */
/* Connections on which a request is being read, runs, or is not wholly answered yet: 0 after
 * httpd_drain means that httpd_close cuts nothing off. */
uint32_t httpd_busy(const struct httpd *h);
struct httpd_stats httpd_stats(const struct httpd *h);

/* The request. Slices live until it is finished. */
enum http1_method httpd_method(const struct httpd_request *req);
struct str httpd_path(const struct httpd_request *req);  /* Raw. */
struct str httpd_query(const struct httpd_request *req); /* .data NULL: no '?'. */
struct str httpd_body(const struct httpd_request *req);
struct str httpd_header(const struct httpd_request *req, struct str name); /* .data NULL: absent. */
const struct http1_head *httpd_head(const struct httpd_request *req);
uv_loop_t *httpd_loop(const struct httpd_request *req);
/* Value of a query parameter, percent-decoding left to the caller; .data NULL: absent. */
struct str httpd_query_get(const struct httpd_request *req, struct str name);

void httpd_set_user(struct httpd_request *req, void *user); /* For the handler's own state. */
void *httpd_user(const struct httpd_request *req);

/* Before reply or start. ERR_INVALID for bytes that would break the head, and for Content-Length,
 * Transfer-Encoding, Connection and Date, which are the server's. Copied. */
int httpd_add_header(struct httpd_request *req, struct str name, struct str value) MUST_CHECK;
/* Answers whole and finishes; body is copied. content_type .data NULL: no such header. When memory
 * runs out the connection is cut instead. */
void httpd_reply(struct httpd_request *req, unsigned status, struct str content_type,
                 struct str body);

/* A stream: start, write ..., end or abort. From start on, errors (client gone, no memory) are
 * sticky: the later calls return them and do nothing else. */
int httpd_start_stream(struct httpd_request *req, unsigned status,
                       struct str content_type) MUST_CHECK;
/* One chunk, copied and on its way before the loop sleeps. 0, or ERR_AGAIN: taken, but the client
 * is slow: wait for the drain event before writing more (16 times the mark is ERR_LIMIT: not
 * taken). */
int httpd_write(struct httpd_request *req, struct str piece) MUST_CHECK;
void httpd_end(struct httpd_request *req); /* Last chunk; finishes. */
/* Cuts the connection without the last chunk (or without any answer); finishes. What was written
 * before is still sent. */
void httpd_abort(struct httpd_request *req);

/* Called when the client leaves before the answer is finished: at most once, never from inside
 * another httpd call. The request must still be finished by its owner. NULL clears. */
void httpd_on_gone(struct httpd_request *req, httpd_event_cb cb, void *arg);
/* Called each time the buffer falls below the mark after httpd_write returned ERR_AGAIN. */
void httpd_on_drain(struct httpd_request *req, httpd_event_cb cb, void *arg);
bool httpd_is_gone(const struct httpd_request *req);

#endif
