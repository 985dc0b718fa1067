/* evil.h: an upstream that does what a script says, byte by byte, and keeps count of what it saw.
 * On the test's own loop, at an ephemeral loopback port, plain or TLS. It never sleeps: a step ends
 * with an event (bytes came, bytes were taken, loop turns passed, the test said go). Its own
 * allocations are none of tests/lib/fault.h's.
 *
 * The i-th connection runs the i-th script; further ones the last script. A script that has ended
 * leaves its connection open and reading, so that the client's close is seen. */
#ifndef STEELYARD_TESTS_LIB_EVIL_H
#define STEELYARD_TESTS_LIB_EVIL_H

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "common/base/buf.h"
#include "common/base/list.h"
#include "common/net/http1.h"
#include "tests/lib/certs.h"

#define EVIL_STEPS_MAX       24
#define EVIL_SCRIPTS_MAX     16
#define EVIL_CONNECTIONS_MAX 4096

enum evil_what {
    EVIL_END,     /* Script is over. */
    EVIL_HEAD,    /* Waits for a request's head. */
    EVIL_REQUEST, /* Waits for a whole request. */
    EVIL_TAKE,    /* Waits for `count` more raw bytes. */
    EVIL_SEND,    /* Sends `bytes`, `count` at a time with a loop turn between; 0: all at once. */
    EVIL_FLOOD,   /* Sends `bytes` `count` times as fast as they are taken; 0: for ever. */
    EVIL_TURNS,   /* Lets `count` loop turns pass. */
    EVIL_HOLD,    /* Waits for evil_go. */
    EVIL_DEAF,    /* Reads no more. */
    EVIL_SHUT,    /* FIN (close_notify first, under TLS); goes on reading. */
    EVIL_CLOSE,   /* Closes without a word of TLS. Unread bytes make it a reset. */
    EVIL_RESET,
    EVIL_AGAIN, /* From the first step. */
};

struct evil_step {
    enum evil_what what;
    struct str bytes; /* Must stay. */
    size_t count;
};

struct evil_script {
    struct evil_step steps[EVIL_STEPS_MAX];
};

struct evil_peer {
    struct evil *evil;
    struct list ticking;
    uv_tcp_t tcp;
    const struct evil_script *script;
    size_t at;        /* Step. */
    size_t progress;  /* Within it. */
    unsigned pending; /* Writes of the script under way. */
    struct buf in;    /* Plain bytes that no step has taken yet. */
    struct http1_head head;
    struct http1_body body;
    bool in_body;
    size_t scanned; /* Of in, by body. */
    bool closing;
    bool closed;
    SSL *tls;
    BIO *tls_in; /* Owned by tls. */
    BIO *tls_out;
    /* What was seen. */
    unsigned requests;
    uint64_t received; /* Plain bytes. */
    uint64_t sent;     /* Plain bytes of steps begun. */
    bool gone;         /* The client closed or reset. */
    bool tls_failed;
    bool tls_resumed;
};

struct evil {
    uv_loop_t *loop;
    uv_tcp_t tcp;
    uv_check_t check;
    uv_idle_t idle; /* So that turns pass while a script waits for them. */
    uint16_t port;
    SSL_CTX *tls; /* Borrowed; NULL: plain. */
    struct list ticking;
    struct evil_script scripts[EVIL_SCRIPTS_MAX];
    size_t script_count;
    struct evil_peer *peers[EVIL_CONNECTIONS_MAX];
    unsigned handles;
    bool closing;
    /* What was seen. */
    unsigned connections;
    unsigned requests;
    unsigned gone;
    struct buf last; /* The last whole request, as it came. */
    char sni[256];
    bool alpn_http11; /* Offered, and alone. */
    size_t notes;     /* Holds entered: a test can wait for one. */
};

/* Listens at once. tls: see evil_tls_context. Aborts when it cannot. */
void evil_start(struct evil *e, uv_loop_t *loop, SSL_CTX *tls);
void evil_stop(struct evil *e); /* Cuts what is open; runs the loop until all is closed. */
/* Appends a script: evil_script(&e, (struct evil_step[]){{EVIL_HEAD}, ...}, n). Steps are copied.
 */
void evil_script(struct evil *e, const struct evil_step *steps, size_t count);
#define EVIL_SCRIPT(e, ...)                                                                        \
    evil_script((e), (const struct evil_step[]){__VA_ARGS__},                                      \
                sizeof((const struct evil_step[]){__VA_ARGS__}) / sizeof(struct evil_step))
/* Steps, to be written in a script. */
#define EVIL_STEP(what, n) ((struct evil_step){what, {NULL, 0}, n})
#define S_HEAD             EVIL_STEP(EVIL_HEAD, 0)
#define S_REQUEST          EVIL_STEP(EVIL_REQUEST, 0)
#define S_TAKE(n)          EVIL_STEP(EVIL_TAKE, n)
#define S_SEND(text)       ((struct evil_step){EVIL_SEND, STR(text), 0})
#define S_SEND_BY(n, text) ((struct evil_step){EVIL_SEND, STR(text), n})
#define S_BYTES(data)      ((struct evil_step){EVIL_SEND, data, 0})
#define S_FLOOD(n, data)   ((struct evil_step){EVIL_FLOOD, data, n})
#define S_TURNS(n)         EVIL_STEP(EVIL_TURNS, n)
#define S_HOLD             EVIL_STEP(EVIL_HOLD, 0)
#define S_DEAF             EVIL_STEP(EVIL_DEAF, 0)
#define S_SHUT             EVIL_STEP(EVIL_SHUT, 0)
#define S_CLOSE            EVIL_STEP(EVIL_CLOSE, 0)
#define S_RESET            EVIL_STEP(EVIL_RESET, 0)
#define S_AGAIN            EVIL_STEP(EVIL_AGAIN, 0)
#define S_END              EVIL_STEP(EVIL_END, 0)
void evil_go(struct evil *e);             /* Every connection that holds goes on. */
uint64_t evil_sent(const struct evil *e); /* Bytes the kernel took, over all connections. */

/* A socket that never completes a handshake: its queue is full. */
struct evil_wall {
    int listener;
    int fillers[4];
    uint16_t port;
};
void evil_wall_start(struct evil_wall *w);
void evil_wall_stop(struct evil_wall *w);

/* Server side of TLS. min and max: TLS1_2_VERSION, ...; 0: no limit. client_ca: PEM file whose
 * certificates clients must show; NULL: none is asked for. */
SSL_CTX *evil_tls_context(const struct certs *who, int min_version, int max_version,
                          const char *client_ca);

/* Between evil.c and evil_tls.c. */
void evil_tls_open(struct evil_peer *p);
void evil_tls_feed(struct evil_peer *p, struct str cipher); /* Appends what it holds to p->in. */
void evil_tls_send(struct evil_peer *p, struct str plain);
void evil_tls_shut(struct evil_peer *p);
void evil_write_raw(struct evil_peer *p, struct str bytes, bool of_script);

#endif
