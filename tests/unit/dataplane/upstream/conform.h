/* conform.h: what every transport must do, asked of each one in turn. A test program lists its
 * tests and ends in conform_main; each test runs once for each transport, against a scripted
 * upstream (tests/lib/evil.h), both on one loop. conform_does says what may differ, and why. */
#ifndef STEELYARD_TESTS_UNIT_DATAPLANE_UPSTREAM_CONFORM_H
#define STEELYARD_TESTS_UNIT_DATAPLANE_UPSTREAM_CONFORM_H

#include "dataplane/upstream/transport.h"
#include "tests/lib/evil.h"
#include "tests/lib/fault.h"
#include "tests/lib/wire.h"

struct conform;

/* One call as its owner sees it. */
struct exchange {
    struct conform *conform;
    struct transport_call *call; /* NULL before start and after on_done. */
    struct buf body;
    struct fetch_result result;
    unsigned status; /* As on_head said. */
    unsigned heads;
    unsigned pieces;
    unsigned dones;
    uint64_t delivered; /* Body bytes. */
    char type[64];      /* content-type, read in on_head. */
    bool type_absent;
    /* What it does. */
    bool pause_in_head;
    unsigned pause_at;    /* Piece after which it pauses; 0: never. */
    unsigned pause_every; /* The same for every n-th. */
    bool cancel_in_head;
    unsigned cancel_at;                 /* Piece in which it cancels; 0: never. */
    bool drop;                          /* Counts the body, keeps none of it. */
    unsigned starve;                    /* The n-th allocation inside start fails; 0: none. */
    bool starved;                       /* It did, so that there may be no call. */
    bool nomem_is_fine;                 /* From start, with nothing started. */
    void (*on_end)(struct exchange *x); /* Called in on_done; may be NULL. */
    /* Of a body that grows: what may be offered now, and how far it was taken. */
    struct str grown;
    size_t taken;
    unsigned rooms; /* on_room came so often. */
};

struct conform {
    const struct transport_ops *ops;
    uv_loop_t loop;
    struct evil evil;
    struct transport *transport;
    struct transport_origin *origin;
    uv_check_t turn;
    bool evil_runs;
    bool inside;       /* A call into the transport: nothing may be called back. */
    struct exchange x; /* For tests that need but one. */
    char url[300];
};

/* One for each transport; *state is a struct conform with the upstream started, plain. */
int conform_set_up(void **state);
int conform_tear_down(void **state);
#define CONFORM(f) cmocka_unit_test_setup_teardown(f, conform_set_up, conform_tear_down)
/* Runs the group once for each transport (or for those whose name the first argument begins). */
int conform_main(int argc, char **argv, const struct CMUnitTest *tests, size_t count);

/* The scripted upstream again, now with TLS (NULL: without). Scripts are forgotten. */
void conform_serve(struct conform *c, SSL_CTX *tls);
/* Replaces the origin. .url NULL: the upstream, by address and as its TLS says, private allowed. */
void conform_origin(struct conform *c, struct fetch_origin_config config);
void conform_origin_at(struct conform *c, const char *scheme, const char *host, uint16_t port);
void conform_origin_drop(struct conform *c); /* Closes it and waits. */

/* method NULL: GET, or POST with a body; target NULL: "/". Makes the default origin if none is. */
void exchange_begin(struct conform *c, struct exchange *x, struct fetch_request request);
void exchange_wait(struct exchange *x); /* Until its one on_done; checks that there is no second. */
int exchange_run(struct conform *c, struct exchange *x, struct fetch_request request);
void exchange_cancel(struct exchange *x);
void exchange_resume(struct exchange *x);
void exchange_grow(struct exchange *x, struct str so_far); /* Offers what was not taken yet. */
void exchange_deinit(struct exchange *x);
/* The same for c->x. conform_expect: a GET that must end so, with this body. */
int conform_run(struct conform *c, struct fetch_request request);
void conform_expect(struct conform *c, int status, const char *body);

bool exchange_is_done(void *exchange);
bool exchange_has_piece(void *exchange);
bool exchange_has_head(void *exchange);
bool conform_saw_gone(void *conform);    /* The upstream saw a connection end. */
bool conform_saw_request(void *conform); /* ... and a whole request. */
bool conform_saw_hold(void *conform);    /* A script waits for evil_go. */
bool conform_connected(void *conform);

/* Where the two may differ: what this transport does. The reasons stand in the table in conform.c.
 */
enum conform_case {
    CONFORM_SEES_HALF_LINES,
    CONFORM_KEEPS_AFTER_NO_BODY,
    CONFORM_LOOKS_BEFORE_USE,
    CONFORM_WANTS_CLOSE_NOTIFY,
    CONFORM_SURVIVES_ALLOCATIONS,
    CONFORM_CASES,
};
bool conform_does(const struct conform *c, enum conform_case which);
bool conform_is_libcurl(const struct conform *c);

#endif
