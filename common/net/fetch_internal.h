/* fetch_internal.h: what the files of fetch share. Not for other modules.
 * fetch.c: loop and origin; fetch_socket.c: sockets between curl and uv; fetch_transfer.c: one
 * exchange; fetch_request.c: copies what is asked for; fetch_reply.c: reads the reply. */
#ifndef STEELYARD_COMMON_NET_FETCH_INTERNAL_H
#define STEELYARD_COMMON_NET_FETCH_INTERNAL_H

#include <curl/curl.h>

#include "common/base/buf.h"
#include "common/base/list.h"
#include "common/net/fetch_check.h"
#include "common/net/http1.h"

#define FETCH_SPARE_MAX    64U
#define FETCH_PORT_BUCKETS 256U

struct fetch_loop {
    uv_loop_t *uv;
    uv_prepare_t prepare; /* Work asked for before the poll ... */
    uv_check_t check;     /* ... and during it. */
    uv_idle_t idle;       /* Runs while there is some, so that the poll does not wait. */
    struct list origins;
    struct list busy;              /* Origins with something to do, by their `work`. */
    struct fetch_socket **sockets; /* By descriptor. */
    size_t socket_slots;
    struct list by_port[FETCH_PORT_BUCKETS]; /* Sockets by the port of our end. */
    unsigned handles;
    bool closing;
    fetch_close_cb close_cb;
    void *close_arg;
};

struct fetch_origin {
    struct list node;
    struct list work;
    struct fetch_loop *loop;
    CURLM *multi;
    uv_timer_t timer;
    char url[FETCH_URL_BYTES];
    bool https;
    bool allow_private;
    bool allow_metadata;
    char *ca_file;
    char *client_cert_file;
    char *client_key_file;
    uint32_t receive_buffer_bytes;
    struct list starting;
    struct list running; /* With curl. */
    struct list ending;  /* Result known (or cancelled), on_done to come. */
    struct list resuming;
    struct list spare; /* Finished, easy handle kept. */
    uint32_t spare_count;
    unsigned handles;
    unsigned curl_depth; /* Inside curl: it must not be called again. */
    bool closing;
    bool closed; /* Handles are closing. */
    struct fetch_origin_stats stats;
    fetch_close_cb close_cb;
    void *close_arg;
};

/* A descriptor of curl's. Registered for reading from its first use until it is closed, so that an
 * exchange on an open connection costs no epoll_ctl. */
struct fetch_socket {
    uv_poll_t poll;
    struct fetch_origin *origin;
    int fd;
    int wanted;          /* UV_* that curl wants now; 0 for an idle connection. */
    int registered;      /* UV_* that uv watches. */
    bool ours;           /* Opened here; others are the resolver's and go when curl says so. */
    bool used;           /* A request was sent on it. */
    struct fetch *user;  /* Whose exchange is on it; NULL: idle. */
    struct list opening; /* In its fetch's list until a request is sent on it. */
    uint64_t inode;      /* Tells it from a later socket of the same number. */
    struct list by_port; /* In the loop's table, once the port is known. */
    int port;            /* Our end's; 0: not known yet. */
};

/* WAITING -> RUNNING -> ENDING -> SPARE. */
enum fetch_state { FETCH_WAITING, FETCH_RUNNING, FETCH_ENDING, FETCH_SPARE };

struct fetch {
    struct list node;   /* In the list of its state. */
    struct list resume; /* In origin->resuming. */
    enum fetch_state state;
    struct fetch_origin *origin;
    CURL *easy;
    uv_timer_t timer;
    uint64_t armed_ms;
    const struct fetch_callbacks *callbacks;
    void *arg;
    struct buf text;                                /* Strings that curl borrows. */
    struct curl_slist fields[FETCH_FIELDS_MAX + 2]; /* And what switches off curl's own. */
    struct str spans[FETCH_BODY_SPANS_MAX];
    size_t span_count;
    size_t span_at;
    size_t span_offset;
    uint64_t body_max_bytes;
    struct fetch_timeouts timeouts;
    struct buf head_bytes;
    struct http1_head head;
    struct http1_body body;
    size_t taken_bytes; /* Of what curl will bring again after a pause. */
    bool head_done;
    bool paused;                 /* The callee wants no more. */
    bool curl_paused;            /* curl was told. */
    bool denied;                 /* An address was refused. */
    bool with_curl;              /* In its multi handle. */
    bool undelivered;            /* Its connection ended before the request had arrived. */
    bool on_used;                /* Its connection had served another exchange. */
    bool reuse_forbidden;        /* curl was told to close the connection afterwards. */
    int fd;                      /* The socket opened last for it, or -1. */
    struct fetch_socket *socket; /* Which it is sent on. */
    struct list opening;         /* Sockets opened for it that are not in use yet. */
    bool silent;                 /* Cancelled: only on_done is left. */
    uint64_t started_ms;
    uint64_t tls_ms; /* When the TCP connection stood. */
    uint64_t ready_ms;
    uint64_t last_byte_ms;
    struct fetch_result result;
};

/* fetch.c */
void fetch_origin_wake(struct fetch_origin *o);
void fetch_origin_handle_closed(struct fetch_origin *o);
void fetch_origin_run(struct fetch_origin *o); /* Takes results and starts what waits. */

/* fetch_socket.c */
int fetch_on_socket(CURL *easy, curl_socket_t fd, int what, void *origin, void *unused);
curl_socket_t fetch_on_open(void *fetch, curlsocktype purpose, struct curl_sockaddr *address);
int fetch_on_close(void *origin, curl_socket_t fd);
bool fetch_socket_is_open(const struct fetch_origin *o, int fd);
/* The connection whose end here is `port`; opened_fd: the socket that was opened last for the
 * exchange, or -1. NULL: unknown. */
struct fetch_socket *fetch_socket_at(const struct fetch_origin *o, int opened_fd, int port);
void fetch_socket_use(struct fetch_socket *s, struct fetch *f);
/* The exchange is over: what it opened and did not use was closed by curl, told or not. */
void fetch_socket_forget_opened(struct fetch *f);
bool fetch_socket_has_bytes(const struct fetch_socket *s);

/* fetch_transfer.c */
struct fetch *fetch_take_spare(struct fetch_origin *o); /* NULL: out of memory. */
void fetch_destroy(struct fetch *f);
void fetch_begin(struct fetch *f);                   /* WAITING -> RUNNING. */
void fetch_end(struct fetch *f, int status);         /* -> ENDING; the first status wins. */
void fetch_end_curl(struct fetch *f, CURLcode code); /* curl says it is over. */
void fetch_finish(struct fetch *f);                  /* ENDING: on_done, then SPARE. */
void fetch_unpause(struct fetch *f);
void fetch_arm(struct fetch *f);
/* The first status wins; curl is told by the value its callback returns. */
void fetch_note_status(struct fetch *f, int status);

/* fetch_reply.c: curl's callbacks. */
size_t fetch_on_head_line(char *line, size_t size, size_t count, void *fetch);
size_t fetch_on_body(char *data, size_t size, size_t count, void *fetch);
void fetch_forbid_reuse(struct fetch *f, bool forbid);

/* fetch_request.c */
int fetch_prepare(struct fetch *f, const struct fetch_request *request) MUST_CHECK;

#endif
