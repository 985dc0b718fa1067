#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "common/net/httpd.h"
#include "tests/lib/calm.h"
#include "tests/lib/fault.h"
#include "tests/lib/wire.h"

#define H "Host: a\r\n"

struct fixture {
    uv_loop_t loop;
    struct httpd *server;
    struct wire wire;
    bool wire_open;
    bool closed;
    struct httpd_request *held[8];
    size_t held_count;
    size_t gone;
    size_t drained;
};

static void on_gone(void *arg, struct httpd_request *req)
{
    struct fixture *f = arg;
    assert_true(httpd_is_gone(req));
    f->gone++;
}

static void on_drain(void *arg, struct httpd_request *req)
{
    (void)req;
    ((struct fixture *)arg)->drained++;
}

static void echo(struct httpd_request *req)
{
    struct buf b;
    buf_init(&b, 1U << 22);
    assert_int_equal(buf_printf(&b, "%s %.*s ?%.*s x=%.*s ", http1_method_name(httpd_method(req)),
                                STR_ARG(httpd_path(req)), STR_ARG(httpd_query(req)),
                                STR_ARG(httpd_query_get(req, STR("x")))),
                     0);
    assert_int_equal(buf_append_str(&b, httpd_body(req)), 0);
    assert_int_equal(httpd_add_header(req, STR("X-Echo"), STR("1")), 0);
    assert_int_equal(httpd_add_header(req, STR("Content-Length"), STR("1")), ERR_INVALID);
    assert_int_equal(httpd_add_header(req, STR("X"), STR("a\r\nb")), ERR_INVALID);
    httpd_reply(req, 200, STR("text/plain"), buf_str(&b));
    buf_deinit(&b);
}

static void on_request(void *arg, struct httpd_request *req)
{
    struct fixture *f = arg;
    if (str_is(httpd_path(req), "/hold") || str_is(httpd_path(req), "/stream")) {
        httpd_on_gone(req, on_gone, f);
        httpd_on_drain(req, on_drain, f);
        httpd_set_user(req, f);
        if (str_is(httpd_path(req), "/stream"))
            assert_int_equal(httpd_start_stream(req, 200, STR("text/event-stream")), 0);
        f->held[f->held_count++] = req;
        return;
    }
    if (str_is(httpd_path(req), "/abort"))
        httpd_abort(req);
    else if (str_is(httpd_path(req), "/body"))
        httpd_reply(req, 200, STR("text/plain"), httpd_body(req));
    else if (str_is(httpd_path(req), "/empty"))
        httpd_reply(req, 204, STR_NULL, STR_NULL);
    else
        echo(req);
}

static void start_with(struct fixture *f, struct httpd_config config)
{
    config.address = "127.0.0.1:0";
    config.on_request = on_request;
    config.arg = f;
    assert_int_equal(httpd_start(&f->loop, &config, &f->server, NULL), 0);
    wire_open(&f->wire, &f->loop, httpd_port(f->server));
    f->wire_open = true;
}

static void start(struct fixture *f)
{
    start_with(f, (struct httpd_config){.body_max_bytes = 1U << 20});
}

static int set_up(void **state)
{
    struct fixture *f = mem_zalloc(sizeof(*f));
    assert_non_null(f);
    calm_clock();
    assert_int_equal(uv_loop_init(&f->loop), 0);
    *state = f;
    return 0;
}

static void on_closed(void *arg)
{
    ((struct fixture *)arg)->closed = true;
}

static bool is_closed(void *arg)
{
    return ((struct fixture *)arg)->closed;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    if (f->wire_open)
        wire_close(&f->wire);
    if (f->server != NULL) {
        httpd_close(f->server, on_closed, f);
        assert_true(wire_run(&f->loop, is_closed, f));
    }
    wire_run_turns(&f->loop, 2);
    assert_int_equal(uv_loop_close(&f->loop), 0);
    mem_free(f);
    return 0;
}

static void send_text(struct fixture *f, const char *text)
{
    wire_send(&f->wire, str_from(text));
}

static bool holds_one(void *arg)
{
    return ((struct fixture *)arg)->held_count > 0;
}

static bool one_is_gone(void *arg)
{
    return ((struct fixture *)arg)->gone > 0;
}

static void a_request_is_answered_and_the_connection_kept(void **state)
{
    struct fixture *f = *state;
    start(f);
    send_text(f, "GET /a%20b?x=1&y=2 HTTP/1.1\r\n" H "\r\n");
    assert_true(wire_run_until_has(&f->wire, "GET /a%20b ?x=1&y=2 x=1 "));
    assert_true(wire_has(&f->wire, "HTTP/1.1 200 OK\r\nDate: "));
    assert_true(wire_has(&f->wire, "\r\nContent-Type: text/plain\r\nContent-Length: 24\r\n"
                                   "X-Echo: 1\r\n\r\n"));
    assert_false(wire_has(&f->wire, "Connection: close"));
    send_text(f, "HEAD /two HTTP/1.1\r\n" H "\r\nGET /empty HTTP/1.1\r\n" H
                 "Connection: close\r\n\r\n");
    assert_true(wire_run_until_ended(&f->wire));
    assert_false(wire_has(&f->wire, "HEAD /two"));
    assert_true(wire_has(&f->wire, "Content-Length: 15"));
    assert_true(wire_has(&f->wire, "204 No Content"));
    assert_int_equal(httpd_stats(f->server).requests, 3);
}

static void bodies_arrive_whole_however_they_are_cut(void **state)
{
    struct fixture *f = *state;
    start(f);
    const char *text = "POST /l HTTP/1.1\r\n" H "Content-Length: 5\r\n\r\nhello"
                       "POST /c HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n"
                       "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
                       "GET /last HTTP/1.1\r\n" H "\r\n";
    for (size_t i = 0; text[i] != '\0'; i++) {
        wire_send(&f->wire, (struct str){.data = text + i, .len = 1});
        wire_run_turns(&f->loop, 1);
    }
    assert_true(wire_run_until_has(&f->wire, "GET /last ?"));
    assert_true(wire_has(&f->wire, "POST /l ? x= hello"));
    assert_true(wire_has(&f->wire, "POST /c ? x= abcde"));
    buf_clear(&f->wire.got);
    send_text(f, text); /* The same in one piece. */
    assert_true(wire_run_until_has(&f->wire, "GET /last ?"));
    assert_int_equal(httpd_stats(f->server).requests, 6);
}

static void b8_a_waiting_client_is_told_to_go_on(void **state)
{
    struct fixture *f = *state;
    start(f);
    send_text(f, "POST /l HTTP/1.1\r\n" H "Expect: 100-continue\r\nContent-Length: 2\r\n\r\n");
    assert_true(wire_run_until_has(&f->wire, "HTTP/1.1 100 Continue\r\n\r\n"));
    send_text(f, "ok");
    assert_true(wire_run_until_has(&f->wire, "x= ok"));
}

static void b9_pipelined_requests_are_answered_in_order(void **state)
{
    struct fixture *f = *state;
    start(f);
    send_text(f, "GET /hold HTTP/1.1\r\n" H "\r\nGET /second HTTP/1.1\r\n" H
                 "\r\nGET /third HTTP/1.1\r\n" H "\r\n");
    assert_true(wire_run(&f->loop, holds_one, f));
    wire_run_turns(&f->loop, 5);
    assert_int_equal(f->held_count, 1);
    assert_int_equal(httpd_running(f->server), 1);
    assert_int_equal(f->wire.got.len, 0);
    httpd_reply(f->held[0], 200, STR_NULL, STR("first"));
    assert_true(wire_run_until_has(&f->wire, "GET /third"));
    ptrdiff_t first = str_search(buf_str(&f->wire.got), STR("first"));
    ptrdiff_t second = str_search(buf_str(&f->wire.got), STR("/second"));
    assert_true(first > 0 && second > first);
}

static void b9_reading_stops_when_too_much_is_ahead(void **state)
{
    struct fixture *f = *state;
    start(f);
    send_text(f, "GET /hold HTTP/1.1\r\n" H "\r\n");
    assert_true(wire_run(&f->loop, holds_one, f));
    static char flood[4U << 20];
    memset(flood, 'x', sizeof(flood));
    uint64_t before = mem_live_bytes();
    wire_send(&f->wire, (struct str){.data = flood, .len = sizeof(flood)});
    wire_run_turns(&f->loop, 200);
    assert_true(mem_live_bytes() - before < sizeof(flood) + 600000); /* The wire's copy is one. */
    httpd_reply(f->held[0], 200, STR_NULL, STR("first"));
    assert_true(wire_run_until_ended(&f->wire));
    assert_true(wire_has(&f->wire, "414 URI Too Long"));
}

static void expect_rejection(struct fixture *f, const char *bytes, const char *status)
{
    start(f);
    send_text(f, bytes);
    assert_true(wire_run_until_ended(&f->wire));
    assert_true(wire_has(&f->wire, status));
    assert_true(wire_has(&f->wire, "Connection: close\r\n"));
    assert_int_equal(httpd_stats(f->server).requests, 0);
}

static void b1_a_bad_head_is_answered_and_closed(void **state)
{
    expect_rejection(*state, "GET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n" H "\r\n",
                     "HTTP/1.1 400 Bad Request");
}

static void b7_a_preface_of_http2_is_answered_505(void **state)
{
    expect_rejection(*state, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "HTTP/1.1 505 ");
}

static void b3_a_bad_chunk_is_answered_400(void **state)
{
    expect_rejection(*state, "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\nx\r\n",
                     "HTTP/1.1 400 Bad Request");
}

static void b12_a_compressed_body_is_answered_415(void **state)
{
    expect_rejection(
        *state, "POST / HTTP/1.1\r\n" H "Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\nab",
        "HTTP/1.1 415 ");
}

static void b4_a_large_body_is_answered_413_while_it_is_still_sent(void **state)
{
    struct fixture *f = *state;
    start(f);
    send_text(f, "POST / HTTP/1.1\r\n" H "Content-Length: 4194304\r\n\r\n");
    static char body[4U << 20];
    wire_send(&f->wire, (struct str){.data = body, .len = sizeof(body)});
    assert_true(wire_run_until_ended(&f->wire));
    assert_true(wire_has(&f->wire, "HTTP/1.1 413 "));
    assert_int_equal(f->wire.status, 0); /* Not a reset. */
}

static void b10_a_dripped_head_is_answered_408(void **state)
{
    struct fixture *f = *state;
    start_with(f, (struct httpd_config){.head_timeout_ms = 30});
    send_text(f, "GET / HT");
    assert_true(wire_run_until_ended(&f->wire));
    assert_true(wire_has(&f->wire, "HTTP/1.1 408 "));
    assert_int_equal(httpd_stats(f->server).rejected[HTTP1_REASON_HEAD_TIMEOUT], 1);
}

static void b10_a_dripped_body_is_answered_408(void **state)
{
    struct fixture *f = *state;
    start_with(f, (struct httpd_config){.body_grace_ms = 30, .body_min_bytes_per_s = 1000000});
    send_text(f, "POST / HTTP/1.1\r\n" H "Content-Length: 9\r\n\r\nab");
    assert_true(wire_run_until_ended(&f->wire));
    assert_true(wire_has(&f->wire, "HTTP/1.1 408 "));
    assert_int_equal(httpd_stats(f->server).rejected[HTTP1_REASON_BODY_TIMEOUT], 1);
}

static void an_idle_connection_is_closed_silently(void **state)
{
    struct fixture *f = *state;
    start_with(f, (struct httpd_config){.idle_ms = 30, .head_timeout_ms = 30});
    assert_true(wire_run_until_ended(&f->wire));
    assert_int_equal(f->wire.got.len, 0);
    wire_close(&f->wire);
    wire_open(&f->wire, &f->loop, httpd_port(f->server));
    send_text(f, "GET /x HTTP/1.1\r\n" H "\r\n");
    assert_true(wire_run_until_ended(&f->wire));
    assert_true(wire_has(&f->wire, "GET /x"));
}

static void b10_a_client_that_does_not_read_is_cut(void **state)
{
    struct fixture *f = *state;
    start_with(f, (struct httpd_config){.stall_ms = 40, .stream_mark_bytes = 1U << 20});
    send_text(f, "GET /stream HTTP/1.1\r\n" H "\r\n");
    assert_true(wire_run(&f->loop, holds_one, f));
    wire_run_turns(&f->loop, 3);
    wire_pause(&f->wire, true);
    static char piece[1U << 20];
    int rc = 0;
    for (int i = 0; i < 12 && (rc == 0 || rc == ERR_AGAIN); i++)
        rc = httpd_write(f->held[0], (struct str){.data = piece, .len = sizeof(piece)});
    assert_int_equal(rc, ERR_AGAIN);
    assert_true(wire_run(&f->loop, one_is_gone, f));
    assert_int_equal(httpd_stats(f->server).stalled, 1);
    assert_int_equal(httpd_write(f->held[0], STR("x")), ERR_CLOSED);
    httpd_end(f->held[0]);
    wire_pause(&f->wire, false);
}

static void a_stream_is_chunked_and_ends_with_the_last_chunk(void **state)
{
    struct fixture *f = *state;
    start(f);
    send_text(f, "GET /stream HTTP/1.1\r\n" H "\r\n");
    assert_true(wire_run_until_has(&f->wire, "Transfer-Encoding: chunked\r\n\r\n"));
    assert_int_equal(httpd_write(f->held[0], STR("one")), 0);
    assert_true(wire_run_until_has(&f->wire, "3\r\none\r\n"));
    assert_int_equal(httpd_write(f->held[0], STR("")), 0);
    assert_int_equal(httpd_write(f->held[0], STR("two")), 0);
    httpd_end(f->held[0]);
    assert_true(wire_run_until_has(&f->wire, "3\r\ntwo\r\n0\r\n\r\n"));
    send_text(f, "GET /next HTTP/1.1\r\n" H "\r\n");
    assert_true(wire_run_until_has(&f->wire, "GET /next"));
}

static void an_old_client_gets_its_stream_without_chunks(void **state)
{
    struct fixture *f = *state;
    start(f);
    send_text(f, "GET /stream HTTP/1.0\r\n\r\n");
    assert_true(wire_run_until_has(&f->wire, "Connection: close\r\n\r\n"));
    assert_int_equal(httpd_write(f->held[0], STR("plain")), 0);
    httpd_end(f->held[0]);
    assert_true(wire_run_until_ended(&f->wire));
    assert_true(str_ends(buf_str(&f->wire.got), STR("\r\n\r\nplain")));
}

static void f18_an_aborted_stream_lacks_the_last_chunk(void **state)
{
    struct fixture *f = *state;
    start(f);
    send_text(f, "GET /stream HTTP/1.1\r\n" H "\r\n");
    assert_true(wire_run(&f->loop, holds_one, f));
    assert_int_equal(httpd_write(f->held[0], STR("part")), 0);
    httpd_abort(f->held[0]);
    assert_true(wire_run_until_ended(&f->wire));
    assert_true(str_ends(buf_str(&f->wire.got), STR("4\r\npart\r\n")));
    wire_close(&f->wire);
    wire_open(&f->wire, &f->loop, httpd_port(f->server));
    send_text(f, "GET /abort HTTP/1.1\r\n" H "\r\n");
    assert_true(wire_run_until_ended(&f->wire));
    assert_int_equal(f->wire.got.len, 0);
}

static bool is_drained(void *arg)
{
    return ((struct fixture *)arg)->drained > 0;
}

static void f23_a_full_stream_says_so_and_tells_when_it_drained(void **state)
{
    struct fixture *f = *state;
    start_with(f, (struct httpd_config){.stream_mark_bytes = 1000});
    send_text(f, "GET /stream HTTP/1.1\r\n" H "\r\n");
    assert_true(wire_run(&f->loop, holds_one, f));
    wire_pause(&f->wire, true);
    static char piece[8000];
    memset(piece, 'y', sizeof(piece));
    int rc = 0;
    size_t sent = 0;
    while ((rc = httpd_write(f->held[0], (struct str){.data = piece, .len = sizeof(piece)})) == 0)
        sent += sizeof(piece);
    assert_int_equal(rc, ERR_AGAIN);
    sent += sizeof(piece);
    while (rc == ERR_AGAIN) {
        rc = httpd_write(f->held[0], (struct str){.data = piece, .len = 4000});
        sent += rc == ERR_AGAIN ? 4000 : 0;
    }
    assert_int_equal(rc, ERR_LIMIT);
    assert_int_equal(f->drained, 0);
    wire_pause(&f->wire, false);
    assert_true(wire_run(&f->loop, is_drained, f));
    httpd_end(f->held[0]);
    assert_true(wire_run_until_has(&f->wire, "0\r\n\r\n"));
    assert_true(f->wire.got.len > sent);
}

static void f19_the_handler_is_told_when_the_client_leaves(void **state)
{
    struct fixture *f = *state;
    start(f);
    send_text(f, "GET /hold HTTP/1.1\r\n" H "\r\n");
    assert_true(wire_run(&f->loop, holds_one, f));
    wire_close(&f->wire);
    f->wire_open = false;
    assert_true(wire_run(&f->loop, one_is_gone, f));
    assert_ptr_equal(httpd_user(f->held[0]), f);
    assert_true(str_is(httpd_path(f->held[0]), "/hold")); /* Still there for its owner. */
    wire_run_turns(&f->loop, 5);
    assert_int_equal(httpd_running(f->server), 1);
    httpd_reply(f->held[0], 200, STR_NULL, STR("late"));
    assert_int_equal(httpd_running(f->server), 0);
    assert_int_equal(f->gone, 1);
}

static void f31_draining_answers_what_runs_and_closes(void **state)
{
    struct fixture *f = *state;
    struct wire idle;
    start(f);
    wire_open(&idle, &f->loop, httpd_port(f->server));
    wire_send(&idle, STR("GET /x HTTP/1.1\r\n" H "\r\n"));
    assert_true(wire_run_until_has(&idle, "GET /x"));
    send_text(f, "GET /hold HTTP/1.1\r\n" H "\r\n");
    assert_true(wire_run(&f->loop, holds_one, f));
    httpd_drain(f->server);
    assert_true(wire_run_until_ended(&idle));
    httpd_reply(f->held[0], 200, STR_NULL, STR("last"));
    assert_true(wire_run_until_ended(&f->wire));
    assert_true(wire_has(&f->wire, "Connection: close"));
    assert_true(wire_has(&f->wire, "last"));
    wire_close(&idle);
}

static void closing_waits_for_the_owner_of_an_open_request(void **state)
{
    struct fixture *f = *state;
    start(f);
    send_text(f, "GET /hold HTTP/1.1\r\n" H "\r\n");
    assert_true(wire_run(&f->loop, holds_one, f));
    httpd_close(f->server, on_closed, f);
    assert_int_equal(f->gone, 0); /* Not from inside the call. */
    assert_true(wire_run(&f->loop, one_is_gone, f));
    wire_run_turns(&f->loop, 10);
    assert_false(f->closed);
    httpd_abort(f->held[0]);
    assert_true(wire_run(&f->loop, is_closed, f));
    f->server = NULL;
}

static void f30_each_failed_allocation_costs_at_most_the_connection(void **state)
{
    struct fixture *f = *state;
    start(f);
    bool fired = true;
    for (unsigned n = 0; fired; n++) {
        wire_close(&f->wire);
        wire_open(&f->wire, &f->loop, httpd_port(f->server));
        wire_send(&f->wire, STR("POST /body HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n"
                                "Connection: close\r\n\r\n2\r\nab\r\n0\r\n\r\n"));
        assert_int_equal(buf_reserve(&f->wire.got, 65536), 0);
        fault_arm_alloc(n);
        assert_true(wire_run_until_ended(&f->wire));
        fired = fault_disarm();
        if (!fired)
            assert_true(wire_has(&f->wire, "\r\n\r\nab"));
    }
}

static void unix_sockets_are_served(void **state)
{
    struct fixture *f = *state;
    char dir[] = "/tmp/steelyard-httpd-XXXXXX";
    char address[80];
    assert_non_null(mkdtemp(dir));
    (void)snprintf(address, sizeof(address), "unix:%s/s.sock", dir);
    const struct httpd_config config = {.address = address, .on_request = on_request, .arg = f};
    assert_int_equal(httpd_start(&f->loop, &config, &f->server, NULL), 0);
    wire_open_unix(&f->wire, &f->loop, address + 5);
    f->wire_open = true;
    send_text(f, "GET /unix HTTP/1.1\r\n" H "\r\n");
    assert_true(wire_run_until_has(&f->wire, "GET /unix"));
    httpd_drain(f->server);
    assert_int_equal(rmdir(dir), 0);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(a_request_is_answered_and_the_connection_kept),
        T(bodies_arrive_whole_however_they_are_cut),
        T(b8_a_waiting_client_is_told_to_go_on),
        T(b9_pipelined_requests_are_answered_in_order),
        T(b9_reading_stops_when_too_much_is_ahead),
        T(b1_a_bad_head_is_answered_and_closed),
        T(b3_a_bad_chunk_is_answered_400),
        T(b4_a_large_body_is_answered_413_while_it_is_still_sent),
        T(b7_a_preface_of_http2_is_answered_505),
        T(b12_a_compressed_body_is_answered_415),
        T(b10_a_dripped_head_is_answered_408),
        T(b10_a_dripped_body_is_answered_408),
        T(b10_a_client_that_does_not_read_is_cut),
        T(an_idle_connection_is_closed_silently),
        T(a_stream_is_chunked_and_ends_with_the_last_chunk),
        T(an_old_client_gets_its_stream_without_chunks),
        T(f18_an_aborted_stream_lacks_the_last_chunk),
        T(f19_the_handler_is_told_when_the_client_leaves),
        T(f23_a_full_stream_says_so_and_tells_when_it_drained),
        T(f30_each_failed_allocation_costs_at_most_the_connection),
        T(f31_draining_answers_what_runs_and_closes),
        T(closing_waits_for_the_owner_of_an_open_request),
        T(unix_sockets_are_served),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
