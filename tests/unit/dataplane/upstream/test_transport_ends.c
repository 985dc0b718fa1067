/* How calls end early: F19 (cancelled in every phase: the connection is closed), F12 (every phase
 * has its deadline), an origin closed under its calls, and failed allocations (F30). Whatever
 * happens, there is exactly one on_done, later. */
#include <string.h>

#include "common/base/mem.h"
#include "tests/unit/dataplane/upstream/conform.h"

#define OK_   "HTTP/1.1 200 OK\r\n"
#define SOUND OK_ "Content-Length: 5\r\n\r\nsound"

static char large[8U << 20]; /* More than any socket takes. */
static const struct str large_body = {large, sizeof(large)};

/* The next call is sound and on another connection than the cancelled one. */
static void expect_fresh_start(struct conform *c, unsigned connections)
{
    c->x.pause_at = 0;
    c->x.cancel_at = 0;
    c->x.cancel_in_head = c->x.pause_in_head = false;
    conform_expect(c, 0, "sound");
    assert_false(c->x.result.reused);
    assert_int_equal(c->evil.connections, connections);
}

static void cancel_now(struct conform *c, enum fetch_phase phase)
{
    exchange_cancel(&c->x);
    assert_int_equal(c->x.dones, 0);
    exchange_wait(&c->x);
    assert_int_equal(c->x.result.status, ERR_CANCELED);
    assert_int_equal(c->x.result.phase, phase);
}

static void f19_cancelled_at_once(void **state)
{
    struct conform *c = *state;
    EVIL_SCRIPT(&c->evil, S_REQUEST, S_SEND(SOUND));
    exchange_begin(c, &c->x, (struct fetch_request){0});
    exchange_cancel(&c->x);
    exchange_cancel(&c->x); /* Twice is as good as once, and resuming changes nothing. */
    exchange_resume(&c->x);
    exchange_wait(&c->x);
    assert_int_equal(c->x.result.status, ERR_CANCELED);
    assert_true(c->x.result.phase <= FETCH_CONNECT);
    assert_int_equal(c->evil.requests, 0);
    conform_expect(c, 0, "sound");
}

static void f19_cancelled_while_connecting(void **state)
{
    struct conform *c = *state;
    struct evil_wall wall;
    evil_wall_start(&wall);
    conform_origin_at(c, "http", "127.0.0.1", wall.port);
    exchange_begin(c, &c->x, (struct fetch_request){0});
    wire_run_turns(&c->loop, 10);
    cancel_now(c, FETCH_CONNECT);
    assert_false(c->x.result.request_sent);
    evil_wall_stop(&wall);
}

static void f19_cancelled_in_the_handshake(void **state)
{
    struct conform *c = *state;
    EVIL_SCRIPT(&c->evil, S_TAKE(1), S_HOLD);
    conform_origin_at(c, "https", "127.0.0.1", c->evil.port);
    exchange_begin(c, &c->x, (struct fetch_request){0});
    assert_true(wire_run(&c->loop, conform_saw_hold, c));
    cancel_now(c, FETCH_TLS);
    assert_false(c->x.result.request_sent);
    assert_true(wire_run(&c->loop, conform_saw_gone, c));
}

static void f19_cancelled_while_sending(void **state)
{
    struct conform *c = *state;
    EVIL_SCRIPT(&c->evil, S_TAKE(100000), S_DEAF, S_HOLD, S_SEND("x"));
    EVIL_SCRIPT(&c->evil, S_REQUEST, S_SEND(SOUND));
    exchange_begin(c, &c->x, (struct fetch_request){.body = &large_body, .body_count = 1});
    assert_true(wire_run(&c->loop, conform_saw_hold, c));
    cancel_now(c, FETCH_HEAD);
    assert_true(c->x.result.request_sent && !c->x.result.reply_seen);
    assert_true(c->x.result.sent_bytes < sizeof(large) && !c->x.result.request_taken);
    expect_fresh_start(c, 2);
}

static void f19_cancelled_while_waiting_for_the_head(void **state)
{
    struct conform *c = *state;
    EVIL_SCRIPT(&c->evil, S_REQUEST, S_HOLD);
    EVIL_SCRIPT(&c->evil, S_REQUEST, S_SEND(OK_ "A: b\r\n"), S_TURNS(5), S_HOLD);
    EVIL_SCRIPT(&c->evil, S_REQUEST, S_SEND(SOUND));
    for (unsigned i = 1; i <= 2; i++) {
        c->evil.notes = c->evil.gone = 0;
        exchange_begin(c, &c->x, (struct fetch_request){0});
        assert_true(wire_run(&c->loop, conform_saw_hold, c));
        cancel_now(c, FETCH_HEAD);
        assert_true(c->x.result.request_sent && c->x.result.request_taken);
        assert_true(c->x.result.reply_seen == (i == 2));
        assert_true(wire_run(&c->loop, conform_saw_gone, c));
    }
    expect_fresh_start(c, 3);
}

static void f19_cancelled_in_on_head(void **state)
{
    struct conform *c = *state;
    EVIL_SCRIPT(&c->evil, S_REQUEST, S_SEND(SOUND));
    c->x.cancel_in_head = true;
    conform_expect(c, ERR_CANCELED, "");
    assert_int_equal(c->x.result.http_status, 200);
    assert_true(wire_run(&c->loop, conform_saw_gone, c));
    expect_fresh_start(c, 2);
}

static void f19_cancelled_in_the_body(void **state)
{
    struct conform *c = *state;
    EVIL_SCRIPT(&c->evil, S_REQUEST, S_SEND(OK_ "Content-Length: 500\r\n\r\nab"), S_HOLD);
    EVIL_SCRIPT(&c->evil, S_REQUEST, S_SEND(SOUND));
    exchange_begin(c, &c->x, (struct fetch_request){0});
    assert_true(wire_run(&c->loop, exchange_has_piece, &c->x));
    cancel_now(c, FETCH_BODY);
    assert_int_equal(c->x.result.body_bytes, 2);
    assert_true(wire_run(&c->loop, conform_saw_gone, c));
    expect_fresh_start(c, 2);
}

static void f19_cancelled_in_on_body_also_within_one_read(void **state)
{
    struct conform *c = *state;
    EVIL_SCRIPT(&c->evil, S_REQUEST,
                S_SEND(OK_ "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n1\r\nb\r\n1\r\nc\r\n"
                           "0\r\n\r\n"));
    EVIL_SCRIPT(&c->evil, S_REQUEST, S_SEND(SOUND));
    c->x.cancel_at = 2;
    conform_expect(c, ERR_CANCELED, "ab");
    assert_true(wire_run(&c->loop, conform_saw_gone, c));
    expect_fresh_start(c, 2);
}

static void f19_cancelled_while_paused(void **state)
{
    struct conform *c = *state;
    for (unsigned i = 0; i < 2; i++) {
        conform_serve(c, NULL);
        EVIL_SCRIPT(&c->evil, S_REQUEST, S_SEND(OK_ "\r\n"), S_FLOOD(0, STR("0123456789")));
        EVIL_SCRIPT(&c->evil, S_REQUEST, S_SEND(SOUND));
        c->x.pause_in_head = i == 0;
        c->x.pause_at = i;
        exchange_begin(c, &c->x, (struct fetch_request){0});
        assert_true(wire_run(&c->loop, i == 0 ? exchange_has_head : exchange_has_piece, &c->x));
        wire_run_turns(&c->loop, 20);
        cancel_now(c, FETCH_BODY);
        assert_int_equal(c->x.pieces, i);
        assert_true(wire_run(&c->loop, conform_saw_gone, c));
        expect_fresh_start(c, 2);
    }
}

/* ---- deadlines ---- */

static void expect_timeout(struct conform *c, struct fetch_request r, enum fetch_phase phase)
{
    assert_int_equal(conform_run(c, r), ERR_TIMEOUT);
    assert_int_equal(c->x.result.phase, phase);
}

static void f12_connecting_has_its_deadline(void **state)
{
    struct conform *c = *state;
    struct evil_wall wall;
    evil_wall_start(&wall);
    conform_origin_at(c, "http", "127.0.0.1", wall.port);
    expect_timeout(c, (struct fetch_request){.timeouts = {.connect_ms = 30}}, FETCH_CONNECT);
    assert_false(c->x.result.request_sent);
    expect_timeout(c, (struct fetch_request){.timeouts = {.total_ms = 30}}, FETCH_CONNECT);
    evil_wall_stop(&wall);
}

static void f12_the_handshake_has_its_deadline(void **state)
{
    struct conform *c = *state;
    EVIL_SCRIPT(&c->evil, S_END);
    conform_origin_at(c, "https", "127.0.0.1", c->evil.port);
    /* libcurl has one deadline for both. */
    expect_timeout(c, (struct fetch_request){.timeouts = {.connect_ms = 400, .tls_ms = 100}},
                   FETCH_TLS);
    assert_false(c->x.result.request_sent);
    assert_true(wire_run(&c->loop, conform_saw_gone, c));
}

static void f12_the_head_has_its_deadline_however_it_drips(void **state)
{
    struct conform *c = *state;
    const struct fetch_request r = {.timeouts = {.head_ms = 120}};
    EVIL_SCRIPT(&c->evil, S_REQUEST);
    EVIL_SCRIPT(&c->evil, S_REQUEST, S_SEND(OK_ "A: "), S_TURNS(3), S_SEND_BY(1, "abcdef"));
    EVIL_SCRIPT(&c->evil, S_REQUEST, S_SEND("HTTP/1.1 100 x\r\n\r\n"));
    EVIL_SCRIPT(&c->evil, S_DEAF); /* Does not even take the request. */
    for (unsigned i = 1; i <= 3; i++) {
        c->evil.gone = 0;
        expect_timeout(c, r, FETCH_HEAD);
        assert_true(c->x.result.request_sent && c->x.result.request_taken);
        assert_true(c->x.result.reply_seen == (i > 1));
        assert_true(wire_run(&c->loop, conform_saw_gone, c));
        assert_int_equal(c->evil.connections, i);
    }
    expect_timeout(
        c,
        (struct fetch_request){.body = &large_body, .body_count = 1, .timeouts = {.head_ms = 120}},
        FETCH_HEAD);
    assert_true(c->x.result.sent_bytes < sizeof(large) && !c->x.result.request_taken);
}

static void f12_the_first_byte_has_its_deadline(void **state)
{
    struct conform *c = *state;
    EVIL_SCRIPT(&c->evil, S_REQUEST, S_SEND(OK_ "Content-Length: 2\r\n\r\n"));
    expect_timeout(c, (struct fetch_request){.timeouts = {.first_byte_ms = 150}}, FETCH_BODY);
    assert_int_equal(c->x.heads, 1);
    assert_int_equal(c->x.pieces, 0);
}

static void f12_silence_between_bytes_has_its_deadline(void **state)
{
    struct conform *c = *state;
    EVIL_SCRIPT(&c->evil, S_REQUEST, S_SEND(OK_ "Content-Length: 9\r\n\r\n"), S_TURNS(3),
                S_SEND_BY(1, "part"));
    expect_timeout(c, (struct fetch_request){.timeouts = {.idle_ms = 150}}, FETCH_BODY);
    assert_string_equal(buf_cstr(&c->x.body), "part");
    assert_true(wire_run(&c->loop, conform_saw_gone, c));
}

static void f12_all_of_it_has_its_deadline(void **state)
{
    struct conform *c = *state;
    EVIL_SCRIPT(&c->evil, S_REQUEST, S_SEND(OK_ "\r\n"), S_FLOOD(0, STR("x")));
    EVIL_SCRIPT(&c->evil, S_REQUEST, S_SEND(OK_ "\r\n"), S_FLOOD(0, STR("x")));
    c->x.drop = true;
    expect_timeout(
        c,
        (struct fetch_request){.timeouts = {.total_ms = 150}, .body_max_bytes = UINT64_C(1) << 40},
        FETCH_BODY);
    assert_true(c->x.delivered > 0);
    c->x.pause_at = 1; /* Pauses do not stop that clock. */
    expect_timeout(
        c,
        (struct fetch_request){.timeouts = {.total_ms = 150}, .body_max_bytes = UINT64_C(1) << 40},
        FETCH_BODY);
    assert_int_equal(c->x.pieces, 1);
}

static void f12_a_deadline_that_is_met_leaves_the_connection_alone(void **state)
{
    struct conform *c = *state;
    EVIL_SCRIPT(&c->evil, S_REQUEST, S_SEND(SOUND), S_AGAIN);
    const struct fetch_request r = {.timeouts = {.connect_ms = 5000,
                                                 .tls_ms = 5000,
                                                 .head_ms = 5000,
                                                 .first_byte_ms = 5000,
                                                 .idle_ms = 30,
                                                 .total_ms = 5000}};
    assert_int_equal(conform_run(c, r), 0);
    wire_run_ms(&c->loop, 60);
    assert_int_equal(conform_run(c, r), 0);
    assert_true(c->x.result.reused);
}

/* ---- origins and callbacks ---- */

static void start_another(struct exchange *x)
{
    struct conform *c = x->conform;
    static const struct transport_callbacks none = {0};
    const struct fetch_request r = {.method = STR("GET"), .target = STR("/")};
    struct transport_call *call;
    assert_int_equal(c->ops->start(c->origin, &r, &none, NULL, &call), ERR_CANCELED);
    x->on_end = NULL;
}

static void closing_an_origin_ends_what_it_has(void **state)
{
    struct conform *c = *state;
    enum { MANY = 5 };
    static struct exchange many[MANY];
    EVIL_SCRIPT(&c->evil, S_REQUEST, S_HOLD);
    EVIL_SCRIPT(&c->evil, S_REQUEST, S_SEND(OK_ "A: b"), S_TURNS(4), S_HOLD);
    EVIL_SCRIPT(&c->evil, S_REQUEST, S_SEND(OK_ "\r\n"), S_TURNS(4), S_HOLD);
    EVIL_SCRIPT(&c->evil, S_REQUEST, S_SEND(OK_ "\r\nab"), S_TURNS(4), S_HOLD);
    for (size_t i = 0; i + 1 < MANY; i++) {
        exchange_begin(c, &many[i], (struct fetch_request){0});
        while (c->evil.notes <= i)
            wire_run_turns(&c->loop, 1);
    }
    exchange_begin(c, &many[MANY - 1], (struct fetch_request){0}); /* Not even on its way. */
    many[0].on_end = start_another;
    conform_origin_drop(c);
    for (size_t i = 0; i < MANY; i++) {
        assert_int_equal(many[i].dones, 1);
        assert_int_equal(many[i].result.status, ERR_CANCELED);
        exchange_deinit(&many[i]);
    }
    while (c->evil.gone < MANY - 1)
        wire_run_turns(&c->loop, 1);
}

static unsigned starts_left;

static void start_next(struct exchange *x)
{
    struct conform *c = x->conform;
    x->on_end = starts_left-- > 0 ? start_next : NULL;
    if (x->on_end != NULL)
        exchange_begin(c, x, (struct fetch_request){0});
}

static void a_call_may_be_started_from_on_done(void **state)
{
    struct conform *c = *state;
    EVIL_SCRIPT(&c->evil, S_REQUEST, S_SEND(SOUND), S_AGAIN);
    c->x.on_end = start_next;
    starts_left = 3;
    exchange_begin(c, &c->x, (struct fetch_request){0});
    while (c->evil.requests < 4 || c->x.dones == 0)
        wire_run_turns(&c->loop, 1);
    assert_int_equal(c->x.result.status, 0);
    assert_true(c->x.result.reused);
    assert_int_equal(c->evil.connections, 1);
}

static struct exchange *victim;

static void cancel_victim(struct exchange *x)
{
    (void)x;
    if (victim->call != NULL)
        exchange_cancel(victim);
}

static void one_call_may_cancel_another(void **state)
{
    struct conform *c = *state;
    static struct exchange other;
    EVIL_SCRIPT(&c->evil, S_REQUEST, S_SEND(OK_ "\r\nab"), S_HOLD);
    EVIL_SCRIPT(&c->evil, S_REQUEST, S_SEND(SOUND));
    victim = &c->x;
    exchange_begin(c, &c->x, (struct fetch_request){0});
    assert_true(wire_run(&c->loop, exchange_has_piece, &c->x));
    other.on_end = cancel_victim;
    assert_int_equal(exchange_run(c, &other, (struct fetch_request){0}), 0);
    exchange_wait(&c->x);
    assert_int_equal(c->x.result.status, ERR_CANCELED);
    exchange_deinit(&other);
}

/* The upstream shares this process, so only what happens inside start is made to fail. */
static void f30_each_failed_allocation_in_start_is_told(void **state)
{
    struct conform *c = *state;
    bool fired = true;
    EVIL_SCRIPT(&c->evil, S_REQUEST, S_SEND(SOUND), S_CLOSE);
    conform_expect(c, 0, "sound");
    for (unsigned n = 0; fired && n < 400; n++) {
        conform_origin(c, (struct fetch_origin_config){0});
        c->x.starve = n + 1;
        exchange_begin(c, &c->x, (struct fetch_request){0});
        fired = c->x.starved;
        if (c->x.call != NULL)
            exchange_wait(&c->x);
    }
    assert_false(fired);
    c->x.starve = 0;
    conform_expect(c, 0, "sound");
}

/* From start to on_done, on connections made anew: it ends once, and the next call is sound. */
static void f30_each_failed_allocation_of_an_exchange_ends_in_one_answer(void **state)
{
    struct conform *c = *state;
    const struct str body[] = {STR("one"), large_body};
    bool fired = true;
    size_t failed = 0;
    if (!conform_does(c, CONFORM_SURVIVES_ALLOCATIONS))
        return;
    EVIL_SCRIPT(&c->evil, S_REQUEST, S_SEND(OK_ "X: "), S_TURNS(2),
                S_SEND("y\r\nTransfer-Encoding: chunked\r\n\r\n"
                       "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"),
                S_AGAIN);
    c->x.drop = true;
    c->x.pause_at = 1;
    conform_origin_at(c, "http", "localhost", c->evil.port);
    for (unsigned n = 0; fired && n < 2000; n++) {
        conform_origin_at(c, "http", "localhost", c->evil.port);
        uv_update_time(&c->loop);
        fault_arm_alloc(n);
        c->x.nomem_is_fine = true;
        exchange_begin(c, &c->x,
                       (struct fetch_request){.body = body, .body_count = n % 2 == 0 ? 2 : 1});
        while (c->x.call != NULL) {
            wire_run_turns(&c->loop, 1);
            if (c->x.call != NULL && c->x.pieces == 1)
                exchange_resume(&c->x);
        }
        fired = fault_disarm();
        failed += c->x.dones == 0 || c->x.result.status != 0;
        assert_true(fired || c->x.result.status == 0);
    }
    assert_false(fired);
    assert_true(failed > 1);
    c->x.nomem_is_fine = false;
    c->x.pause_at = 0;
    assert_int_equal(conform_run(c, (struct fetch_request){0}), 0);
    assert_int_equal(c->x.delivered, 5);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        CONFORM(f19_cancelled_at_once),
        CONFORM(f19_cancelled_while_connecting),
        CONFORM(f19_cancelled_in_the_handshake),
        CONFORM(f19_cancelled_while_sending),
        CONFORM(f19_cancelled_while_waiting_for_the_head),
        CONFORM(f19_cancelled_in_on_head),
        CONFORM(f19_cancelled_in_the_body),
        CONFORM(f19_cancelled_in_on_body_also_within_one_read),
        CONFORM(f19_cancelled_while_paused),
        CONFORM(f12_connecting_has_its_deadline),
        CONFORM(f12_the_handshake_has_its_deadline),
        CONFORM(f12_the_head_has_its_deadline_however_it_drips),
        CONFORM(f12_the_first_byte_has_its_deadline),
        CONFORM(f12_silence_between_bytes_has_its_deadline),
        CONFORM(f12_all_of_it_has_its_deadline),
        CONFORM(f12_a_deadline_that_is_met_leaves_the_connection_alone),
        CONFORM(closing_an_origin_ends_what_it_has),
        CONFORM(a_call_may_be_started_from_on_done),
        CONFORM(one_call_may_cancel_another),
        CONFORM(f30_each_failed_allocation_in_start_is_told),
        CONFORM(f30_each_failed_allocation_of_an_exchange_ends_in_one_answer),
    };
    return conform_main(argc, argv, tests, sizeof(tests) / sizeof(tests[0]));
}
