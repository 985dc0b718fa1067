/* httpd_internal.h: what the three files of httpd share. Not for other modules.
 * httpd.c: the server and its timers; httpd_conn.c: one connection; httpd_request.c: the handler's
 * side of one request. */
#ifndef STEELYARD_COMMON_NET_HTTPD_INTERNAL_H
#define STEELYARD_COMMON_NET_HTTPD_INTERNAL_H

#include "common/base/buf.h"
#include "common/base/list.h"
#include "common/net/httpd.h"

#define HTTPD_READ_BYTES          65536U
#define HTTPD_IN_BYTES_MAX        (HTTP1_REQUEST_HEAD_BYTES_MAX + 2 * HTTPD_READ_BYTES)
#define HTTPD_AHEAD_STOP_BYTES    HTTP1_REQUEST_HEAD_BYTES_MAX
#define HTTPD_OUT_BYTES_MAX       (256U << 20)
#define HTTPD_HEADERS_BYTES_MAX   65536U
#define HTTPD_KEEP_BYTES          65536U /* Of memory that an idle connection keeps in each buffer. */
#define HTTPD_LINGER_MS           1000U
#define HTTPD_STREAM_LIMIT_FACTOR 16U

enum httpd_state { HTTPD_RUNNING, HTTPD_DRAINING, HTTPD_CLOSING };

struct httpd {
    enum httpd_state state;
    uv_loop_t *loop;
    struct httpd_config config; /* Defaults filled in; address not kept. */
    struct httpd_stats stats;
    struct listener *listener; /* NULL once closing. */
    bool listener_gone;
    unsigned timers; /* Not yet closed. */
    uv_timer_t sweep;
    uv_timer_t kick; /* One loop turn away: what may not happen inside a caller's call. */
    struct list conns;
    uint32_t running;
    int64_t date_s;
    char date[HTTP1_DATE_BYTES];
    httpd_close_cb close_cb;
    void *close_arg;
    char scratch[HTTPD_READ_BYTES]; /* Every read lands here and is used up in its callback. */
};

struct httpd_request {
    void *user;
    struct buf headers; /* Added by the handler, ready to send. */
    struct str body;
    bool open; /* Between the handler's call and its end. */
    bool gone;
    bool streaming;
    bool chunked;
    bool raw; /* HTTP/1.0: the body as it is, up to the close. */
    bool wants_drain;
    int status; /* Sticky error of a stream. */
    httpd_event_cb gone_cb;
    void *gone_arg;
    httpd_event_cb drain_cb;
    void *drain_arg;
};

/* HEAD -> BODY -> ANSWERING -> HEAD ...; LINGER after an answer to bytes that were not read; CLOSED
 * from all once the handle is being closed. The memory goes when the handle is closed and no
 * request is open. */
enum conn_state { CONN_HEAD, CONN_BODY, CONN_ANSWERING, CONN_LINGER, CONN_CLOSED };

struct httpd_conn {
    enum conn_state state;
    struct list node;
    struct httpd *server;
    uv_tcp_t tcp;
    uv_write_t write;
    struct buf in;    /* From the first byte of the head at hand. */
    struct buf ahead; /* What came while a request was open: its slices point into in. */
    struct buf body;  /* Body that did not arrive with its head. */
    struct buf out;
    struct buf flying; /* With libuv. */
    size_t consumed;   /* Of in, by the request at hand. */
    struct http1_head head;
    struct http1_body decoder;
    bool reading;
    bool writing;
    bool processing;  /* conn_process is running: no flush and no next request from below it. */
    bool close_after; /* Once everything is out. */
    bool linger_after;
    bool served; /* A request was handled. */
    bool broken; /* A write failed; the sweep or the read side will see to it. */
    bool handle_closed;
    uint64_t since_ms; /* When this state began; for HEAD, when its first byte came. */
    uint64_t progress_ms;
    size_t queued_before;
    struct httpd_request req;
};

/* httpd.c */
void httpd_kick(struct httpd *h);
const char *httpd_date(struct httpd *h);

/* httpd_conn.c */
void httpd_conn_accept(void *server, int fd);
void httpd_conn_process(struct httpd_conn *c);
void httpd_conn_flush(struct httpd_conn *c);
void httpd_conn_sweep(struct httpd_conn *c, uint64_t now_ms);
/* The connection is over for its client: tells the open request, closes the handle. */
void httpd_conn_cut(struct httpd_conn *c);
size_t httpd_conn_queued(const struct httpd_conn *c);
/* The open request ended. */
void httpd_conn_finished(struct httpd_conn *c);
bool httpd_conn_is_idle(const struct httpd_conn *c);
bool httpd_conn_is_over(const struct httpd_conn *c); /* Handle closed, no request open. */
void httpd_conn_free(struct httpd_conn *c);

/* httpd_request.c */
int httpd_write_head(struct httpd_conn *c, unsigned status, struct str content_type,
                     bool has_length, uint64_t length, bool chunked);

static inline struct httpd_conn *httpd_conn_of(const struct httpd_request *req)
{
    /* The request is a member of its connection; only the connection's constness is dropped. */
    return container_of((struct httpd_request *)(uintptr_t)req, struct httpd_conn, req);
}

#endif
