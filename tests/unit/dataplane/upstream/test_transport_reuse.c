/* F20: a connection is used again only after an exactly framed, fully read reply without stray
 * bytes. After everything else the next request must arrive on a new connection. */
#include <string.h>

#include "common/base/mem.h"
#include "tests/unit/dataplane/upstream/conform.h"

#define OK_   "HTTP/1.1 200 OK\r\n"
#define SOUND OK_ "Content-Length: 5\r\n\r\nsound"

static void expect_new(struct conform *c)
{
    conform_expect(c, 0, "sound");
    assert_false(c->x.result.reused);
    assert_true(c->x.result.connect_ns > 0);
    assert_int_equal(c->evil.connections, 2);
}

static void f20_a_connection_serves_one_request_after_the_other(void **state)
{
    struct conform *c = *state;
    EVIL_SCRIPT(&c->evil, S_REQUEST, S_SEND(SOUND), S_REQUEST,
                S_SEND(OK_ "Transfer-Encoding: chunked\r\n\r\n5\r\nsound\r\n0\r\n\r\n"), S_AGAIN);
    for (int i = 0; i < 10; i++) {
        conform_expect(c, 0, "sound");
        assert_int_equal(c->x.result.reused, i > 0);
        assert_true((c->x.result.connect_ns > 0) == (i == 0));
    }
    assert_int_equal(c->evil.connections, 1);
}

static void f20_an_error_status_is_a_sound_reply(void **state)
{
    struct conform *c = *state;
    EVIL_SCRIPT(&c->evil, S_REQUEST, S_SEND("HTTP/1.1 500 x\r\nContent-Length: 2\r\n\r\nno"),
                S_REQUEST, S_SEND("HTTP/1.1 404 x\r\nContent-Length: 2\r\n\r\nno"), S_REQUEST,
                S_SEND(SOUND));
    conform_expect(c, 0, "no");
    conform_expect(c, 0, "no");
    conform_expect(c, 0, "sound");
    assert_int_equal(c->evil.connections, 1);
}

static void f20_a_reply_that_says_close_is_the_last(void **state)
{
    static const struct str rows[] = {
        STR(OK_ "Content-Length: 1\r\nConnection: close\r\n\r\n."),
        STR(OK_ "Content-Length: 1\r\nconnection: x-a, CLOSE\r\n\r\n."),
        STR(OK_ "Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n.\r\n0\r\n\r\n"),
        STR("HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\n."),
        STR("HTTP/1.0 200 OK\r\nContent-Length: 1\r\nConnection: close\r\n\r\n."),
    };
    struct conform *c = *state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        conform_serve(c, NULL);
        EVIL_SCRIPT(&c->evil, S_REQUEST, S_BYTES(rows[i]));
        EVIL_SCRIPT(&c->evil, S_REQUEST, S_SEND(SOUND));
        conform_expect(c, 0, ".");
        assert_true(wire_run(&c->loop, conform_saw_gone, c)); /* Ours closes it. */
        expect_new(c);
    }
}

/* Stray bytes: together with the reply, a turn later, or only when the next request starts. */
static void f20_stray_bytes_spoil_the_connection(void **state)
{
    static const struct str strays[] = {
        STR("x"),
        STR("\r\n"),
        STR("HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n"),
        STR("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"),
        STR("HTTP/1.1 100 Continue\r\n\r\n"),
    };
    static const struct str replies[] = {
        STR(SOUND),
        STR(OK_ "Transfer-Encoding: chunked\r\n\r\n5\r\nsound\r\n0\r\n\r\n"),
        STR(OK_ "Transfer-Encoding: chunked\r\n\r\n5\r\nsound\r\n0\r\nA: b\r\n\r\n"),
    };
    struct conform *c = *state;
    size_t ways = conform_does(c, CONFORM_LOOKS_BEFORE_USE) ? 3 : 2;
    for (size_t i = 0; i < 5 * 3 * ways; i++) {
        struct str stray = strays[i % 5];
        struct str reply = replies[i / 5 % 3];
        char both[256];
        memcpy(both, reply.data, reply.len);
        memcpy(both + reply.len, stray.data, stray.len);
        conform_serve(c, NULL);
        if (i / 15 == 0)
            EVIL_SCRIPT(&c->evil, S_REQUEST, S_BYTES(((struct str){both, reply.len + stray.len})));
        else
            EVIL_SCRIPT(&c->evil, S_REQUEST, S_BYTES(reply), S_TURNS(i / 15 == 1 ? 3 : 0), S_HOLD,
                        S_BYTES(stray));
        EVIL_SCRIPT(&c->evil, S_REQUEST, S_SEND(SOUND));
        conform_expect(c, 0, "sound");
        assert_true(i / 15 == 0 || wire_run(&c->loop, conform_saw_hold, c));
        if (i / 15 == 1) { /* Idle long enough to see it. */
            evil_go(&c->evil);
            wire_run_turns(&c->loop, 5);
        } else if (i / 15 == 2) { /* The bytes wait in the socket when the next one starts. */
            exchange_begin(c, &c->x, (struct fetch_request){0});
            evil_go(&c->evil);
            exchange_wait(&c->x);
            /* Either it was noticed in time, or it told its caller, who may try again. */
            if (c->x.result.status == 0) {
                assert_string_equal(buf_cstr(&c->x.body), "sound");
                assert_false(c->x.result.reused);
                continue;
            }
            assert_int_equal(c->x.result.status, ERR_CLOSED);
            assert_true(c->x.result.reused && !c->x.result.reply_seen);
        }
        expect_new(c);
    }
}

/* An upstream that closes or resets idle connections costs nothing but a new connection. */
static void f20_a_connection_that_ended_while_idle_is_not_used(void **state)
{
    struct conform *c = *state;
    for (int i = 0; i < 3; i++) {
        conform_serve(c, NULL);
        if (i == 0)
            EVIL_SCRIPT(&c->evil, S_REQUEST, S_SEND(SOUND), S_CLOSE);
        else if (i == 1)
            EVIL_SCRIPT(&c->evil, S_REQUEST, S_SEND(SOUND), S_TURNS(4), S_RESET);
        else
            EVIL_SCRIPT(&c->evil, S_REQUEST, S_SEND(SOUND), S_TURNS(4), S_SHUT);
        EVIL_SCRIPT(&c->evil, S_REQUEST, S_SEND(SOUND));
        conform_expect(c, 0, "sound");
        wire_run_turns(&c->loop, 10);
        expect_new(c);
    }
}

/* The end may come in the same packet as the last reply's last bytes. */
static void f20_an_end_behind_a_later_reply_is_seen(void **state)
{
    struct conform *c = *state;
    for (int i = 0; i < 3; i++) {
        conform_serve(c, NULL);
        if (i == 0)
            EVIL_SCRIPT(&c->evil, S_REQUEST, S_SEND(SOUND), S_REQUEST, S_SEND(SOUND), S_CLOSE);
        else if (i == 1)
            EVIL_SCRIPT(&c->evil, S_REQUEST, S_SEND(SOUND), S_REQUEST, S_SEND(SOUND), S_SHUT);
        else
            EVIL_SCRIPT(&c->evil, S_REQUEST, S_SEND(SOUND), S_REQUEST, S_SEND(SOUND), S_TURNS(4),
                        S_SHUT);
        EVIL_SCRIPT(&c->evil, S_REQUEST, S_SEND(SOUND));
        conform_expect(c, 0, "sound");
        conform_expect(c, 0, "sound");
        assert_true(c->x.result.reused);
        wire_run_turns(&c->loop, 10);
        expect_new(c);
    }
}

/* Longer than what is read at once, so that a read of a turn leaves something. */
static void f20_long_replies_of_a_kept_connection_come_whole(void **state)
{
#define BLOCK "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
    enum { TIMES = 4096, BYTES = TIMES * 64 };
    struct conform *c = *state;
    EVIL_SCRIPT(&c->evil, S_REQUEST, S_SEND(SOUND), S_REQUEST,
                S_SEND(OK_ "Content-Length: 262144\r\n\r\n"), S_FLOOD(TIMES, STR(BLOCK)), S_REQUEST,
                S_SEND(OK_ "Transfer-Encoding: chunked\r\n\r\n40000\r\n"),
                S_FLOOD(TIMES, STR(BLOCK)), S_SEND("\r\n0\r\n\r\n"), S_AGAIN);
    for (int i = 0; i < 6; i++) {
        c->x.drop = true;
        assert_int_equal(conform_run(c, (struct fetch_request){0}), 0);
        assert_int_equal(c->x.delivered, i % 3 == 0 ? 5 : BYTES);
        assert_int_equal(c->x.result.reused, i > 0);
    }
    assert_int_equal(c->evil.connections, 1);
#undef BLOCK
}

/* The peer had closed before the request came to it, and we could not know yet. */
static void f20_what_comes_to_a_closed_connection_was_never_taken(void **state)
{
    struct conform *c = *state;
    const struct str body[] = {STR("once")};
    const struct fetch_request r = {.body = body, .body_count = 1};
    conform_serve(c, NULL);
    EVIL_SCRIPT(&c->evil, S_REQUEST, S_SEND(SOUND), S_HOLD, S_CLOSE);
    EVIL_SCRIPT(&c->evil, S_REQUEST, S_SEND(SOUND));
    assert_int_equal(conform_run(c, r), 0);
    assert_true(wire_run(&c->loop, conform_saw_hold, c));
    evil_go(&c->evil);
    exchange_begin(c, &c->x, r);
    exchange_wait(&c->x);
    if (c->x.result.status == 0) { /* It looked before it used it. */
        assert_false(c->x.result.reused);
        return;
    }
    assert_int_equal(c->x.result.status, ERR_CLOSED);
    assert_true(c->x.result.reused && !c->x.result.reply_seen && !c->x.result.request_taken);
    assert_int_equal(conform_run(c, r), 0);
    assert_int_equal(c->evil.requests, 2);
}

/* The peer closed, and we could not know yet: told apart from a fault of the upstream. */
static void f20_a_kept_connection_that_dies_under_a_request_is_told(void **state)
{
    struct conform *c = *state;
    const struct str body[] = {STR("once")};
    const struct fetch_request r = {.body = body, .body_count = 1};
    for (int i = 0; i < 3; i++) {
        conform_serve(c, NULL);
        if (i == 0)
            EVIL_SCRIPT(&c->evil, S_REQUEST, S_SEND(SOUND), S_TAKE(1), S_RESET);
        else if (i == 1)
            EVIL_SCRIPT(&c->evil, S_REQUEST, S_SEND(SOUND), S_REQUEST, S_CLOSE);
        else
            EVIL_SCRIPT(&c->evil, S_REQUEST, S_SEND(SOUND), S_HEAD, S_DEAF, S_CLOSE);
        EVIL_SCRIPT(&c->evil, S_REQUEST, S_SEND(SOUND));
        assert_int_equal(conform_run(c, r), 0);
        assert_int_equal(conform_run(c, r), ERR_CLOSED);
        assert_true(c->x.result.reused && !c->x.result.reply_seen && c->x.result.request_sent);
        assert_true(
            c->x.result.request_taken); /* It had come; a reset does not say if it was read. */
        assert_int_equal(c->x.result.phase, FETCH_HEAD);
        wire_run_turns(&c->loop, 20);
        /* Nobody sent it a second time on his own. */
        assert_int_equal(c->evil.requests, i == 0 ? 1 : i == 1 ? 2 : 1);
        assert_int_equal(conform_run(c, r), 0);
        assert_false(c->x.result.reused);
    }
}

static void f20_unclean_ends_close_the_connection(void **state)
{
    struct conform *c = *state;
    static const struct str cuts[] = {
        STR(OK_ "Content-Length: 9\r\n\r\nab"),
        STR(OK_ "Transfer-Encoding: chunked\r\n\r\n5\r\nab"),
        STR(OK_ "Content-Len"),
        STR(""),
    };
    for (size_t i = 0; i < sizeof(cuts) / sizeof(cuts[0]); i++) {
        conform_serve(c, NULL);
        EVIL_SCRIPT(&c->evil, S_REQUEST, S_BYTES(cuts[i]));
        EVIL_SCRIPT(&c->evil, S_REQUEST, S_SEND(SOUND));
        assert_int_equal(conform_run(c, (struct fetch_request){.timeouts = {.total_ms = 20}}),
                         ERR_TIMEOUT);
        expect_new(c);
    }
}

/* The answer comes before the request has been taken whole: what is still to be sent would be read
 * as another request. */
static void f20_a_reply_to_half_a_request_is_the_last_on_its_connection(void **state)
{
    struct conform *c = *state;
    const size_t len = 8U << 20;
    char *large = mem_zalloc(len);
    assert_non_null(large);
    const struct str body = {large, len};
    EVIL_SCRIPT(&c->evil, S_HEAD, S_DEAF,
                S_SEND("HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno"), S_TURNS(50));
    EVIL_SCRIPT(&c->evil, S_REQUEST, S_SEND(SOUND));
    int rc = conform_run(c, (struct fetch_request){.body = &body, .body_count = 1});
    assert_int_equal(rc, 0);
    assert_int_equal(c->x.status, 413);
    assert_string_equal(buf_cstr(&c->x.body), "no");
    assert_true(c->x.result.sent_bytes < len);
    expect_new(c);
    mem_free(large);
}

static void f20_many_at_once_each_have_their_own_connection_and_leave_it_to_others(void **state)
{
    struct conform *c = *state;
    enum { MANY = 20 };
    static struct exchange many[MANY];
    EVIL_SCRIPT(&c->evil, S_REQUEST, S_HOLD, S_SEND(SOUND), S_AGAIN);
    for (unsigned round = 0; round < 3; round++) {
        c->evil.notes = 0;
        for (size_t i = 0; i < MANY; i++)
            exchange_begin(c, &many[i], (struct fetch_request){0});
        while (c->evil.notes < MANY)
            wire_run_turns(&c->loop, 1);
        evil_go(&c->evil);
        for (size_t i = 0; i < MANY; i++) {
            assert_true(wire_run(&c->loop, exchange_is_done, &many[i]));
            assert_int_equal(many[i].result.status, 0);
            assert_string_equal(buf_cstr(&many[i].body), "sound");
            assert_int_equal(many[i].result.reused, round > 0);
        }
    }
    assert_int_equal(c->evil.connections, MANY);
    for (size_t i = 0; i < MANY; i++)
        exchange_deinit(&many[i]);
}

/* For a second try: another kept connection might be as dead as the first. */
static void f20_a_call_may_ask_for_a_connection_of_its_own_making(void **state)
{
    struct conform *c = *state;
    static struct exchange first, second;
    EVIL_SCRIPT(&c->evil, S_REQUEST, S_SEND(SOUND), S_AGAIN);
    EVIL_SCRIPT(&c->evil, S_REQUEST, S_SEND(SOUND), S_AGAIN);
    EVIL_SCRIPT(&c->evil, S_REQUEST, S_HOLD, S_SEND(SOUND), S_AGAIN);
    conform_expect(c, 0, "sound");
    assert_int_equal(conform_run(c, (struct fetch_request){.fresh = true}), 0);
    assert_false(c->x.result.reused);
    conform_origin(
        c, (struct fetch_origin_config){
               .url = c->url, .allow_private = true, .allow_http = true, .max_connections = 1});
    for (unsigned i = 3; i < 6; i++) { /* Also where the only place is taken by a kept one. */
        c->evil.notes = 0;
        exchange_begin(c, &c->x, (struct fetch_request){.fresh = true});
        assert_true(wire_run(&c->loop, conform_saw_hold, c));
        evil_go(&c->evil);
        exchange_wait(&c->x);
        assert_int_equal(c->x.result.status, 0);
        assert_false(c->x.result.reused);
        assert_int_equal(c->evil.connections, i);
    }
    exchange_begin(c, &first, (struct fetch_request){0}); /* Or by a call before it. */
    exchange_begin(c, &second, (struct fetch_request){.fresh = true});
    while (first.dones == 0 || second.dones == 0) {
        evil_go(&c->evil);
        wire_run_turns(&c->loop, 1);
    }
    assert_true(first.result.status == 0 && first.result.reused);
    assert_true(second.result.status == 0 && !second.result.reused);
    assert_int_equal(c->evil.connections, 6);
    exchange_deinit(&first);
    exchange_deinit(&second);
}

static void idle_connections_over_their_maximum_are_closed(void **state)
{
    struct conform *c = *state;
    enum { MANY = 6 };
    static struct exchange many[MANY];
    EVIL_SCRIPT(&c->evil, S_REQUEST, S_HOLD, S_SEND(SOUND), S_AGAIN);
    conform_origin(c, (struct fetch_origin_config){0});
    conform_origin(c, (struct fetch_origin_config){.url = c->url,
                                                   .allow_private = true,
                                                   .allow_http = true,
                                                   .max_idle_connections = 2});
    for (size_t i = 0; i < MANY; i++)
        exchange_begin(c, &many[i], (struct fetch_request){0});
    while (c->evil.notes < MANY)
        wire_run_turns(&c->loop, 1);
    evil_go(&c->evil);
    for (size_t i = 0; i < MANY; i++) {
        assert_true(wire_run(&c->loop, exchange_is_done, &many[i]));
        assert_int_equal(many[i].result.status, 0);
        exchange_deinit(&many[i]);
    }
    wire_run_turns(&c->loop, 20);
    assert_int_equal(c->evil.gone, MANY - 2);
}

static void connections_over_their_maximum_wait(void **state)
{
    struct conform *c = *state;
    enum { MANY = 9 };
    static struct exchange many[MANY];
    EVIL_SCRIPT(&c->evil, S_REQUEST, S_HOLD, S_SEND(SOUND), S_AGAIN);
    conform_origin(c, (struct fetch_origin_config){0});
    conform_origin(
        c, (struct fetch_origin_config){
               .url = c->url, .allow_private = true, .allow_http = true, .max_connections = 2});
    for (size_t i = 0; i < MANY - 1; i++)
        exchange_begin(c, &many[i], (struct fetch_request){0});
    while (c->evil.notes < 2)
        wire_run_turns(&c->loop, 1);
    /* One that waits may give up, or be told to. */
    exchange_begin(c, &many[MANY - 1], (struct fetch_request){.timeouts = {.connect_ms = 20}});
    exchange_wait(&many[MANY - 1]);
    assert_int_equal(many[MANY - 1].result.status, ERR_TIMEOUT);
    assert_int_equal(many[MANY - 1].result.phase, FETCH_RESOLVE);
    exchange_cancel(&many[MANY - 2]);
    exchange_wait(&many[MANY - 2]);
    assert_int_equal(many[MANY - 2].result.status, ERR_CANCELED);
    assert_int_equal(c->evil.connections, 2);
    for (size_t i = 0; i < MANY - 2; i++) {
        while (many[i].dones == 0) {
            evil_go(&c->evil);
            wire_run_turns(&c->loop, 1);
        }
        assert_int_equal(many[i].result.status, 0);
        assert_string_equal(buf_cstr(&many[i].body), "sound");
        assert_int_equal(many[i].result.reused, i >= 2);
    }
    assert_int_equal(c->evil.connections, 2);
    for (size_t i = 0; i < MANY; i++)
        exchange_deinit(&many[i]);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        CONFORM(f20_a_connection_serves_one_request_after_the_other),
        CONFORM(f20_an_error_status_is_a_sound_reply),
        CONFORM(f20_a_reply_that_says_close_is_the_last),
        CONFORM(f20_stray_bytes_spoil_the_connection),
        CONFORM(f20_a_connection_that_ended_while_idle_is_not_used),
        CONFORM(f20_an_end_behind_a_later_reply_is_seen),
        CONFORM(f20_long_replies_of_a_kept_connection_come_whole),
        CONFORM(f20_what_comes_to_a_closed_connection_was_never_taken),
        CONFORM(f20_a_kept_connection_that_dies_under_a_request_is_told),
        CONFORM(f20_unclean_ends_close_the_connection),
        CONFORM(f20_a_reply_to_half_a_request_is_the_last_on_its_connection),
        CONFORM(f20_many_at_once_each_have_their_own_connection_and_leave_it_to_others),
        CONFORM(f20_a_call_may_ask_for_a_connection_of_its_own_making),
        CONFORM(idle_connections_over_their_maximum_are_closed),
        CONFORM(connections_over_their_maximum_wait),
    };
    return conform_main(argc, argv, tests, sizeof(tests) / sizeof(tests[0]));
}
