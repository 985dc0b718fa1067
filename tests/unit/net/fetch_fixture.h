/* fetch_fixture.h: one exchange against httpd where the reply is sound, against canned bytes where
 * it is not, and what became of it. */
#ifndef STEELYARD_TESTS_UNIT_NET_FETCH_FIXTURE_H
#define STEELYARD_TESTS_UNIT_NET_FETCH_FIXTURE_H

#include "common/net/fetch.h"
#include "common/net/httpd.h"
#include "common/net/listener.h"

#define PEERS_MAX 64

struct peer {
    uv_tcp_t tcp;
    uv_write_t write;
    struct fixture *fixture;
    char in[65536];
    bool open;
    bool answered;
};

struct fixture {
    uv_loop_t loop;
    struct httpd *server;
    struct listener *listener;
    struct peer *peers[PEERS_MAX];
    size_t peer_count;
    struct str canned; /* What the raw server answers to each connection's first request. */
    bool close_after;
    char url[64];
    struct fetch_loop *fl;
    struct fetch_origin *origin;
    /* The exchange. */
    struct fetch *fetch;
    struct buf body;
    struct fetch_result result;
    unsigned heads;
    unsigned pieces;
    unsigned dones;
    unsigned pause_at; /* Piece that pauses; 0: none. */
    bool cancel_in_head;
    bool server_gone;
    bool loop_gone;
    bool listener_gone;
    size_t gone;
    char type[32];
};

extern const struct fetch_callbacks fetch_fixture_callbacks; /* arg: the fixture. */

int fetch_fixture_set_up(void **state);
int fetch_fixture_tear_down(void **state);
void fetch_fixture_serve(struct fixture *x); /* httpd; makes the origin. */
/* Each connection's first request gets these bytes. */
void fetch_fixture_serve_bytes(struct fixture *x, struct str canned, bool close_after);
void fetch_fixture_make_origin(struct fixture *x, uint16_t port);
void fetch_fixture_close_peer(struct peer *p);
void fetch_fixture_begin(struct fixture *x, struct fetch_request request);
int fetch_fixture_run(struct fixture *x, struct fetch_request request); /* Its status. */
bool fetch_fixture_is_done(void *fixture);
void fetch_fixture_set_true(void *flag);
bool fetch_fixture_is_true(void *flag);

#endif
