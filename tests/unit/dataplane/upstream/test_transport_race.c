/* The race for a kept connection (F20, P6): many requests, each with its own nonce, against an
 * upstream that closes connections at random moments. The caller does as request/attempt does: what
 * ended on a used connection before any byte of a reply is sent once more, on a new one, and an
 * attempt that failed is made again, up to three. Two ledgers, ours and the upstream's, must
 * explain each other.
 *
 *   test_transport_race [TRANSPORT [REQUESTS [SEED]]]     defaults: all of them, 10000, 1 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/list.h"
#include "common/base/mem.h"
#include "tests/unit/dataplane/upstream/conform.h"
#include "tests/unit/dataplane/upstream/race_upstream.h"

#define AT_ONCE      32U
#define ATTEMPTS_MAX 3U

static size_t request_count = 10000;
static uint64_t seed = 1;

struct client_row {
    int status;
    bool happened;
    bool request_taken;
    bool reply_seen;
    bool reused;
};

struct race;

/* One request: its attempts one after the other. */
struct runner {
    struct race *race;
    struct transport_call *call;
    size_t nonce;
    unsigned starts;
    unsigned attempts;
    bool restarted;
    struct buf got;
    struct str body[3];
    char target[48];
};

struct race {
    struct conform *conform;
    struct race_upstream *upstream;
    struct client_row *rows;
    struct runner runners[AT_ONCE];
    size_t next_nonce;
    size_t answered;
    size_t given_up;
    size_t restarts;
    size_t running;
};

static char filler[70000];

static void start(struct runner *n);

static void next_request(struct runner *n)
{
    struct race *r = n->race;
    n->call = NULL;
    if (r->next_nonce == request_count) {
        r->running--;
        return;
    }
    n->nonce = r->next_nonce++;
    n->starts = 0;
    n->attempts = 1;
    n->restarted = false;
    start(n);
}

static enum fetch_flow on_head(void *arg, struct transport_call *call, unsigned status)
{
    (void)arg;
    (void)call;
    assert_int_equal(status, 200);
    return FETCH_GO;
}

static enum fetch_flow on_body(void *arg, struct transport_call *call, struct str piece)
{
    struct runner *n = arg;
    (void)call;
    assert_int_equal(buf_append_str(&n->got, piece), 0);
    return FETCH_GO;
}

static void expect_own_answer(struct runner *n)
{
    struct buf expected;
    buf_init(&expected, 1U << 20);
    race_body(n->nonce, &expected);
    assert_int_equal(n->got.len, expected.len);
    assert_memory_equal(n->got.data, expected.data, expected.len);
    buf_deinit(&expected);
}

static void on_done(void *arg, struct transport_call *call, const struct fetch_result *result)
{
    struct runner *n = arg;
    struct race *r = n->race;
    (void)call;
    r->rows[n->nonce * RACE_STARTS_MAX + n->starts - 1] =
        (struct client_row){.status = result->status,
                            .happened = true,
                            .request_taken = result->request_taken,
                            .reply_seen = result->reply_seen,
                            .reused = result->reused};
    if (result->status == 0) {
        expect_own_answer(n);
        r->answered++;
        next_request(n);
        return;
    }
    /* The upstream does nothing else; what it does may come before the connection was noticed. */
    bool in_time = result->status == ERR_CLOSED ||
                   (result->status == ERR_REFUSED && result->phase == FETCH_CONNECT);
    if (!in_time)
        print_error("nonce %zu, start %u: %s in phase %s\n", n->nonce, n->starts,
                    err_name(result->status), fetch_phase_name(result->phase));
    assert_true(in_time);
    assert_false(result->reused && n->restarted);
    if (result->reused && !result->reply_seen) {
        n->restarted = true;
        r->restarts++;
    } else if (n->attempts < ATTEMPTS_MAX) {
        n->attempts++;
        n->restarted = false;
    } else {
        r->given_up++;
        next_request(n);
        return;
    }
    start(n);
}

static const struct transport_callbacks callbacks = {
    .on_head = on_head, .on_body = on_body, .on_done = on_done};

/* Some requests are longer than what a socket takes at once, so that they can be cut while they are
 * sent. */
static void start(struct runner *n)
{
    struct conform *c = n->race->conform;
    size_t len = n->nonce % 97 == 0 ? sizeof(filler) : n->nonce % 1000;
    buf_clear(&n->got);
    (void)snprintf(n->target, sizeof(n->target), "/%zu/%u", n->nonce, n->starts);
    n->starts++;
    assert_true(n->starts <= RACE_STARTS_MAX);
    n->body[0] = STR("head ");
    n->body[1] = (struct str){filler, len};
    n->body[2] = STR(" tail");
    const struct fetch_request request = {.method = STR("POST"),
                                          .target = str_from(n->target),
                                          .body = n->body,
                                          .body_count = 3,
                                          .fresh = n->restarted,
                                          .timeouts = {.connect_ms = 20000, .head_ms = 20000}};
    assert_int_equal(c->ops->start(c->origin, &request, &callbacks, n, &n->call), 0);
}

/* What the two ledgers must say of each start. */
static size_t compare(struct race *r)
{
    size_t doubled = 0;
    for (size_t nonce = 0; nonce < request_count; nonce++) {
        size_t delivered = 0;
        for (size_t s = 0; s < RACE_STARTS_MAX; s++) {
            const struct client_row *ours = &r->rows[nonce * RACE_STARTS_MAX + s];
            const struct race_row *theirs = race_upstream_row(r->upstream, nonce, s);
            delivered += theirs->delivered;
            bool fine = theirs->delivered <= 1 && (ours->happened || theirs->delivered == 0) &&
                        (ours->request_taken || theirs->delivered == 0) &&
                        (!ours->reply_seen || theirs->replies > 0) &&
                        (theirs->delivered == 0 || ours->reused == theirs->on_used);
            if (ours->happened && ours->status == 0)
                fine = fine && theirs->delivered == 1 && theirs->replies == 1;
            else /* A reply that left whole and in peace must not be lost. */
                fine = fine && theirs->whole == 0;
            if (!fine)
                print_error("nonce %zu, start %zu: ours %d/%d/%d/%d status %s; theirs "
                            "%u/%u/%u/%d\n",
                            nonce, s, ours->happened, ours->request_taken, ours->reply_seen,
                            ours->reused, err_name(ours->status), theirs->delivered,
                            theirs->replies, theirs->whole, theirs->on_used);
            assert_true(fine);
        }
        doubled += delivered > 1;
    }
    return doubled;
}

static bool is_over(void *arg)
{
    return ((struct race *)arg)->running == 0;
}

static void f20_every_answer_is_its_own_and_both_ledgers_agree(void **state)
{
    struct conform *c = *state;
    struct race r = {.conform = c, .running = AT_ONCE};
    r.rows = mem_calloc(request_count * RACE_STARTS_MAX, sizeof(*r.rows));
    assert_non_null(r.rows);
    r.upstream = race_upstream_start(seed, request_count);
    conform_origin_at(c, "http", "127.0.0.1", race_upstream_port(r.upstream));
    for (size_t i = 0; i < AT_ONCE; i++) {
        r.runners[i].race = &r;
        buf_init(&r.runners[i].got, 1U << 20);
        next_request(&r.runners[i]);
    }
    while (!is_over(&r)) {
        size_t before = r.next_nonce; /* No limit but standing still. */
        assert_true(wire_run(&c->loop, is_over, &r) || r.next_nonce > before);
    }
    conform_origin_drop(c);
    race_upstream_stop(r.upstream);
    size_t doubled = compare(&r);
    assert_int_equal(r.answered + r.given_up, request_count);
    assert_true(r.given_up < request_count / 50); /* Three attempts, each cut one time in ten. */
    print_message("%zu asked, %zu answered, %zu given up after %u attempts, %zu sent again on "
                  "another connection, %zu delivered more than once, %llu connections; seed %llu\n",
                  request_count, r.answered, r.given_up, ATTEMPTS_MAX, r.restarts, doubled,
                  (unsigned long long)race_upstream_connections(r.upstream),
                  (unsigned long long)seed);
    race_upstream_destroy(r.upstream);
    for (size_t i = 0; i < AT_ONCE; i++)
        buf_deinit(&r.runners[i].got);
    mem_free(r.rows);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        CONFORM(f20_every_answer_is_its_own_and_both_ledgers_agree),
    };
    uint64_t count = request_count;
    memset(filler, 'f', sizeof(filler));
    if ((argc > 2 && str_parse_u64(str_from(argv[2]), 10000000, &count) != 0) ||
        (argc > 3 && str_parse_u64(str_from(argv[3]), UINT64_MAX, &seed) != 0)) {
        fprintf(stderr, "usage: test_transport_race [TRANSPORT [REQUESTS [SEED]]]\n");
        return 2;
    }
    request_count = (size_t)count;
    return conform_main(argc, argv, tests, 1);
}
