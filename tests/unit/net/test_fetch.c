/* What fetch promises, for sound and for broken peers. */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "common/base/mem.h"
#include "tests/lib/fault.h"
#include "tests/lib/wire.h"
#include "tests/unit/net/fetch_fixture.h"

static void spans_are_sent_back_to_back_with_the_given_headers(void **state)
{
    struct fixture *x = *state;
    const struct str body[] = {STR("one,"), STR(""), STR("two,"), STR("three")};
    const struct fetch_field fields[] = {{STR("X-A"), STR("b")},
                                         {STR("Content-Type"), STR("application/json")},
                                         {STR("X-Empty"), STR("")}};
    fetch_fixture_serve(x);
    assert_int_equal(fetch_fixture_run(x, (struct fetch_request){.method = STR("POST"),
                                                                 .target = STR("/a/../%2f?b=c"),
                                                                 .fields = fields,
                                                                 .field_count = 3,
                                                                 .body = body,
                                                                 .body_count = 4}),
                     0);
    const char *got = buf_cstr(&x->body);
    assert_non_null(strstr(got, "POST /a/../%2f?b=c|Host=127.0.0.1"));
    assert_non_null(strstr(got, "|X-A=b|Content-Type=application/json|X-Empty=|"));
    assert_non_null(strstr(got, "Content-Length=13|"));
    assert_non_null(strstr(got, "one,two,three"));
    assert_null(strstr(got, "Expect"));
    assert_null(strstr(got, "Encoding"));
    assert_null(strstr(got, "User-Agent"));
    assert_string_equal(x->type, "text/plain");
    assert_int_equal(x->result.phase, FETCH_COMPLETE);
    assert_int_equal(x->result.http_status, 200);
    assert_int_equal(x->result.sent_bytes, 13);
    assert_true(x->result.request_sent && x->result.reply_seen && !x->result.reused);
}

static void other_methods_and_large_bodies(void **state)
{
    struct fixture *x = *state;
    static char large[3U << 20];
    memset(large, 'a', sizeof(large));
    const struct str body[] = {{.data = large, .len = sizeof(large)}};
    fetch_fixture_serve(x);
    assert_int_equal(
        fetch_fixture_run(
            x, (struct fetch_request){.method = STR("PUT"), .body = body, .body_count = 1}),
        0);
    assert_true(x->body.len > sizeof(large));
    assert_true(strncmp(buf_cstr(&x->body), "PUT /|", 6) == 0);
    assert_int_equal(fetch_fixture_run(x, (struct fetch_request){.method = STR("DELETE")}), 0);
    assert_int_equal(strncmp(buf_cstr(&x->body), "DELETE /|", 9), 0);
    assert_int_equal(fetch_fixture_run(x, (struct fetch_request){.method = STR("HEAD")}), 0);
    assert_int_equal(x->body.len, 0);
    assert_int_equal(fetch_fixture_run(x, (struct fetch_request){.method = STR("POST")}), 0);
    assert_non_null(strstr(buf_cstr(&x->body), "Content-Length=0"));
}

static void f20_a_connection_is_used_again_after_an_exactly_framed_reply(void **state)
{
    struct fixture *x = *state;
    fetch_fixture_serve(x);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(fetch_fixture_run(x, (struct fetch_request){0}), 0);
        assert_int_equal(x->result.reused, i > 0);
    }
    assert_int_equal(fetch_origin_stats(x->origin).connections_opened, 1);
    assert_int_equal(fetch_origin_stats(x->origin).reused, 4);
}

static void f20_stray_bytes_close_the_connection(void **state)
{
    struct fixture *x = *state;
    fetch_fixture_serve_bytes(
        x, STR("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nabHTTP/1.1 200 OK\r\n"), false);
    assert_int_equal(fetch_fixture_run(x, (struct fetch_request){0}), 0);
    assert_string_equal(buf_cstr(&x->body), "ab"); /* B33: never delivered. */
    assert_int_equal(fetch_fixture_run(x, (struct fetch_request){0}), 0);
    assert_false(x->result.reused);
}

static void expect_fault(struct fixture *x, struct str canned, bool close_after, int status,
                         enum fetch_phase phase)
{
    fetch_fixture_serve_bytes(x, canned, close_after);
    assert_int_equal(fetch_fixture_run(x, (struct fetch_request){0}), status);
    assert_int_equal(x->result.phase, phase);
    assert_true(x->result.request_sent);
}

static void b32_garbage_is_a_protocol_fault(void **state)
{
    expect_fault(*state, STR("garbage\r\n\r\n"), true, ERR_PROTOCOL, FETCH_HEAD);
}

static void b32_a_close_before_the_head_is_told(void **state)
{
    expect_fault(*state, STR("HTTP/1.1 200 OK\r\nA: "), true, ERR_CLOSED, FETCH_HEAD);
}

static void b32_endless_interim_replies_are_a_fault(void **state)
{
#define I "HTTP/1.1 102 x\r\n\r\n"
    expect_fault(*state, STR(I I I I I I I I I I I I), false, ERR_PROTOCOL, FETCH_HEAD);
#undef I
}

static void b32_a_head_over_64_kib_is_a_fault(void **state)
{
    static char head[70000];
    (void)snprintf(head, sizeof(head), "HTTP/1.1 200 OK\r\n");
    for (size_t at = strlen(head); at < sizeof(head) - 1100; at += 1004) {
        memcpy(head + at, "X: ", 3);
        memset(head + at + 3, 'x', 999);
        memcpy(head + at + 1002, "\r\n", 2);
    }
    expect_fault(*state, (struct str){.data = head, .len = strlen(head)}, false, ERR_TOO_LARGE,
                 FETCH_HEAD);
}

static void b33_a_short_body_is_told(void **state)
{
    expect_fault(*state, STR("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab"), true, ERR_CLOSED,
                 FETCH_BODY);
}

static void b34_two_lengths_are_a_fault(void **state)
{
    expect_fault(*state, STR("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nab"),
                 false, ERR_PROTOCOL, FETCH_HEAD);
}

static void b34_length_and_coding_are_a_fault(void **state)
{
    expect_fault(*state,
                 STR("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n"),
                 false, ERR_PROTOCOL, FETCH_HEAD);
}

static void b34_unasked_compression_is_a_fault(void **state)
{
    expect_fault(*state,
                 STR("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\nab"),
                 false, ERR_PROTOCOL, FETCH_BODY);
}

static void b34_a_redirect_is_not_followed(void **state)
{
    struct fixture *x = *state;
    fetch_fixture_serve_bytes(
        x, STR("HTTP/1.1 302 x\r\nLocation: http://127.0.0.1/\r\nContent-Length: 0\r\n\r\n"),
        false);
    assert_int_equal(fetch_fixture_run(x, (struct fetch_request){0}), 0);
    assert_int_equal(x->result.http_status, 302);
    assert_int_equal(x->peer_count, 1);
}

static void f18_a_cut_stream_is_not_a_success(void **state)
{
    struct fixture *x = *state;
    fetch_fixture_serve(x);
    assert_int_equal(fetch_fixture_run(x, (struct fetch_request){.target = STR("/cut")}),
                     ERR_CLOSED);
    assert_string_equal(buf_cstr(&x->body), "part");
    assert_int_equal(x->result.phase, FETCH_BODY);
}

static void b36_a_body_over_its_maximum_is_cut(void **state)
{
    struct fixture *x = *state;
    fetch_fixture_serve(x);
    assert_int_equal(fetch_fixture_run(
                         x, (struct fetch_request){.target = STR("/large"), .body_max_bytes = 100}),
                     ERR_TOO_LARGE);
    assert_int_equal(x->body.len, 0);
}

static void f12_each_phase_has_its_deadline(void **state)
{
    struct fixture *x = *state;
    fetch_fixture_serve(x);
    assert_int_equal(fetch_fixture_run(x, (struct fetch_request){.target = STR("/never"),
                                                                 .timeouts = {.head_ms = 20}}),
                     ERR_TIMEOUT);
    assert_int_equal(x->result.phase, FETCH_HEAD);
    assert_int_equal(
        fetch_fixture_run(x, (struct fetch_request){.target = STR("/part?empty"),
                                                    .timeouts = {.first_byte_ms = 20}}),
        ERR_TIMEOUT);
    assert_int_equal(x->result.phase, FETCH_BODY);
    assert_int_equal(x->result.body_bytes, 0);
    assert_int_equal(fetch_fixture_run(x, (struct fetch_request){.target = STR("/part"),
                                                                 .timeouts = {.idle_ms = 20}}),
                     ERR_TIMEOUT);
    assert_int_equal(x->result.body_bytes, 4);
    assert_int_equal(fetch_fixture_run(x, (struct fetch_request){.target = STR("/part"),
                                                                 .timeouts = {.total_ms = 30}}),
                     ERR_TIMEOUT);
}

static void f12_a_handshake_that_hangs_has_its_own_deadline(void **state)
{
    struct fixture *x = *state;
    fetch_fixture_serve_bytes(x, STR_NULL, false);
    struct fetch_origin *plain = x->origin;
    fetch_origin_close(plain, NULL, NULL);
    (void)snprintf(x->url, sizeof(x->url), "https://127.0.0.1:%u", listener_port(x->listener));
    const struct fetch_origin_config config = {.url = x->url, .allow_private = true};
    assert_int_equal(fetch_origin_create(x->fl, &config, &x->origin, NULL), 0);
    assert_int_equal(fetch_fixture_run(
                         x, (struct fetch_request){.timeouts = {.connect_ms = 100, .tls_ms = 120}}),
                     ERR_TIMEOUT);
    assert_int_equal(x->result.phase, FETCH_TLS);
    assert_false(x->result.request_sent);
}

static void b39_a_peer_without_tls_is_a_tls_fault(void **state)
{
    struct fixture *x = *state;
    fetch_fixture_serve_bytes(x, STR("HTTP/1.1 400 x\r\n\r\n"), true);
    fetch_origin_close(x->origin, NULL, NULL);
    (void)snprintf(x->url, sizeof(x->url), "https://127.0.0.1:%u", listener_port(x->listener));
    const struct fetch_origin_config config = {.url = x->url, .allow_private = true};
    assert_int_equal(fetch_origin_create(x->fl, &config, &x->origin, NULL), 0);
    assert_int_equal(fetch_fixture_run(x, (struct fetch_request){0}), ERR_TLS);
}

static bool has_piece(void *arg)
{
    return ((struct fixture *)arg)->pieces > 0;
}

static void f23_a_paused_reply_stops_and_goes_on_without_loss(void **state)
{
    struct fixture *x = *state;
    fetch_fixture_serve(x);
    x->pause_at = 1;
    fetch_fixture_begin(
        x, (struct fetch_request){.target = STR("/large"), .timeouts = {.idle_ms = 30}});
    assert_true(wire_run(&x->loop, has_piece, x));
    wire_run_ms(&x->loop, 60); /* Longer than the idle deadline, which stands still. */
    assert_int_equal(x->pieces, 1);
    assert_int_equal(x->dones, 0);
    fetch_resume(x->fetch);
    assert_true(wire_run(&x->loop, fetch_fixture_is_done, x));
    assert_int_equal(x->result.status, 0);
    assert_int_equal(x->body.len, 1U << 20);
}

static bool one_is_gone(void *arg)
{
    return ((struct fixture *)arg)->gone > 0;
}

static void f19_cancelling_closes_the_connection(void **state)
{
    struct fixture *x = *state;
    fetch_fixture_serve(x);
    fetch_fixture_begin(x, (struct fetch_request){0});
    fetch_cancel(x->fetch);
    assert_int_equal(x->dones, 0); /* Not from inside the call. */
    assert_true(wire_run(&x->loop, fetch_fixture_is_done, x));
    assert_int_equal(x->result.status, ERR_CANCELED);
    assert_false(x->result.request_sent);
    fetch_fixture_begin(x, (struct fetch_request){.target = STR("/part")});
    assert_true(wire_run(&x->loop, has_piece, x));
    fetch_cancel(x->fetch);
    assert_true(wire_run(&x->loop, fetch_fixture_is_done, x));
    assert_int_equal(x->result.status, ERR_CANCELED);
    assert_true(wire_run(&x->loop, one_is_gone, x));
    assert_int_equal(fetch_origin_stats(x->origin).open_connections, 0);
    x->cancel_in_head = true;
    assert_int_equal(fetch_fixture_run(x, (struct fetch_request){.target = STR("/large")}),
                     ERR_CANCELED);
    assert_int_equal(x->body.len, 0);
}

static void b40_addresses_are_judged_by_their_range(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool never;
        bool only_private;
    } rows[] = {
        {"8.8.8.8", false, false},
        {"127.0.0.1", false, true},
        {"10.1.2.3", false, true},
        {"172.31.255.255", false, true},
        {"172.32.0.1", false, false},
        {"192.168.0.1", false, true},
        {"100.64.0.1", false, true},
        {"100.100.100.200", true, false},
        {"169.254.169.254", true, false},
        {"0.0.0.0", true, false},
        {"224.0.0.1", true, false},
        {"255.255.255.255", true, false},
        {"168.63.129.16", true, false},
        {"2606:4700::1", false, false},
        {"::1", false, true},
        {"::", true, false},
        {"fd12::1", false, true},
        {"fd00:ec2::254", true, false},
        {"fe80::1", true, false},
        {"ff02::1", true, false},
        {"::ffff:127.0.0.1", false, true},
        {"::ffff:169.254.169.254", true, false},
        {"64:ff9b::a9fe:a9fe", true, false},
        {"2002:a9fe:a9fe::1", true, false},
        {"2001:db8::1", true, false},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct sockaddr_in in = {.sin_family = AF_INET};
        struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
        const struct sockaddr *a = (const struct sockaddr *)(const void *)&in;
        if (inet_pton(AF_INET, rows[i].text, &in.sin_addr) != 1) {
            assert_int_equal(inet_pton(AF_INET6, rows[i].text, &in6.sin6_addr), 1);
            a = (const struct sockaddr *)(const void *)&in6;
        }
        assert_int_equal(fetch_address_allowed(a, true), !rows[i].never);
        assert_int_equal(fetch_address_is_metadata(a),
                         strcmp(rows[i].text, "169.254.169.254") == 0);
        assert_int_equal(fetch_address_allowed(a, false), !rows[i].never && !rows[i].only_private);
    }
}

static void b40_a_private_address_is_refused_at_the_socket(void **state)
{
    struct fixture *x = *state;
    fetch_fixture_serve(x);
    fetch_origin_close(x->origin, NULL, NULL);
    const struct fetch_origin_config config = {.url = "https://localhost:1"};
    assert_int_equal(fetch_origin_create(x->fl, &config, &x->origin, NULL), 0);
    assert_int_equal(fetch_fixture_run(x, (struct fetch_request){0}), ERR_DENIED);
    assert_false(x->result.request_sent);
    assert_true(fetch_origin_stats(x->origin).addresses_refused > 0);
    assert_int_equal(fetch_origin_stats(x->origin).connections_opened, 0);
}

static void a_closed_port_is_refused(void **state)
{
    struct fixture *x = *state;
    fetch_fixture_serve_bytes(x, STR_NULL, false);
    listener_close(x->listener, NULL, NULL);
    x->listener = NULL;
    assert_int_equal(fetch_fixture_run(x, (struct fetch_request){0}), ERR_REFUSED);
    assert_int_equal(x->result.phase, FETCH_CONNECT);
    assert_false(x->result.request_sent);
}

static void bad_origins_and_requests_are_refused(void **state)
{
    struct fixture *x = *state;
    const char *bad[] = {"",           "api.example.com", "https://",     "https://a/b",
                         "ftp://a",    "https://u:p@a",   "https://a:0",  "https://a:70000",
                         "https://a?", "https://a b",     "https://a%2e", NULL};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        const struct fetch_origin_config config = {.url = bad[i]};
        assert_int_equal(fetch_origin_create(x->fl, &config, &x->origin, NULL), ERR_INVALID);
    }
    const struct fetch_origin_config plain = {.url = "http://a"};
    assert_int_equal(fetch_origin_create(x->fl, &plain, &x->origin, NULL), ERR_DENIED);
    fetch_fixture_serve(x);
    const struct fetch_field fields[] = {{STR("Host"), STR("b")},
                                         {STR("Content-Length"), STR("1")},
                                         {STR("A"), STR("b\r\nc: d")},
                                         {STR("A b"), STR("c")}};
    for (size_t i = 0; i < 4; i++) {
        const struct fetch_request r = {
            .method = STR("GET"), .target = STR("/"), .fields = &fields[i], .field_count = 1};
        assert_int_equal(fetch_start(x->origin, &r, &fetch_fixture_callbacks, x, NULL),
                         ERR_INVALID);
    }
    const char *targets[] = {"", "a", "/a b", "/a\r\nb", "http://b/"};
    for (size_t i = 0; i < 5; i++) {
        const struct fetch_request r = {.method = STR("GET"), .target = str_from(targets[i])};
        assert_int_equal(fetch_start(x->origin, &r, &fetch_fixture_callbacks, x, NULL),
                         ERR_INVALID);
    }
}

static void a_body_is_not_sent_twice_when_an_old_connection_turns_out_dead(void **state)
{
    struct fixture *x = *state;
    const struct str body[] = {STR("once")};
    fetch_fixture_serve_bytes(x, STR("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab"), false);
    assert_int_equal(fetch_fixture_run(x, (struct fetch_request){0}), 0);
    fetch_fixture_begin(x, (struct fetch_request){.method = STR("POST"),
                                                  .body = body,
                                                  .body_count = 1,
                                                  .timeouts = {.head_ms = 5000}});
    wire_run_turns(&x->loop, 20);
    fetch_fixture_close_peer(x->peers[0]);
    x->peers[0] = NULL;
    assert_true(wire_run(&x->loop, fetch_fixture_is_done, x));
    assert_int_equal(x->result.status, ERR_CLOSED);
    if (x->peer_count > 1) /* Opened in vain. */
        assert_false(x->peers[1]->answered);
    assert_true(x->result.request_sent);
    assert_false(x->result.reply_seen);
    assert_true(x->result.reused);
}

static void on_simple(void *arg, const struct fetch_reply *reply)
{
    struct fixture *x = arg;
    x->result = reply->result;
    assert_true(str_is(reply->content_type, "text/plain"));
    assert_int_equal(buf_append_str(&x->body, buf_str(&reply->body)), 0);
    x->dones++;
}

static void simple_requests_copy_their_body(void **state)
{
    struct fixture *x = *state;
    char text[] = "fleeting";
    const struct str body[] = {str_from(text)};
    const struct fetch_request r = {
        .method = STR("POST"), .target = STR("/s"), .body = body, .body_count = 1};
    fetch_fixture_serve(x);
    assert_int_equal(fetch_simple(x->origin, &r, on_simple, x, NULL), 0);
    memset(text, 'x', sizeof(text) - 1);
    assert_true(wire_run(&x->loop, fetch_fixture_is_done, x));
    assert_int_equal(x->result.status, 0);
    assert_non_null(strstr(buf_cstr(&x->body), "fleeting"));
}

static void closing_an_origin_cancels_what_it_has(void **state)
{
    struct fixture *x = *state;
    fetch_fixture_serve(x);
    fetch_fixture_begin(x, (struct fetch_request){.target = STR("/part")});
    assert_true(wire_run(&x->loop, has_piece, x));
    bool closed = false;
    fetch_origin_close(x->origin, fetch_fixture_set_true, &closed);
    x->origin = NULL;
    assert_true(wire_run(&x->loop, fetch_fixture_is_true, &closed));
    assert_int_equal(x->dones, 1);
    assert_int_equal(x->result.status, ERR_CANCELED);
}

static void f30_each_failed_allocation_ends_in_one_answer(void **state)
{
    struct fixture *x = *state;
    const struct str body[] = {STR("hello")};
    const struct fetch_request r = {
        .method = STR("POST"), .target = STR("/f"), .body = body, .body_count = 1};
    fetch_fixture_serve_bytes(
        x, STR("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nab"), true);
    uint16_t port = listener_port(x->listener);
    fetch_origin_close(x->origin, NULL, NULL);
    x->origin = NULL;
    bool fired = true;
    for (unsigned n = 0; fired && n < 400; n++) {
        for (size_t i = 0; i < x->peer_count; i++)
            if (x->peers[i] != NULL)
                fetch_fixture_close_peer(x->peers[i]);
        x->peer_count = 0;
        fetch_fixture_make_origin(x, port);
        buf_clear(&x->body);
        assert_int_equal(buf_reserve(&x->body, 1000), 0);
        x->dones = 0;
        /* Only what happens inside start: the peer shares this process. */
        fault_arm_alloc(n);
        int rc = fetch_start(x->origin, &r, &fetch_fixture_callbacks, x, &x->fetch);
        fired = fault_disarm();
        assert_true(rc == 0 || rc == ERR_NOMEM);
        if (rc == 0)
            assert_true(wire_run(&x->loop, fetch_fixture_is_done, x));
        fetch_origin_close(x->origin, NULL, NULL);
        x->origin = NULL;
        wire_run_turns(&x->loop, 3);
    }
    assert_false(fired);
}

static int start_curl(void **state)
{
    (void)state;
    return fetch_global_init(NULL);
}

static int stop_curl(void **state)
{
    (void)state;
    fetch_global_deinit();
    return 0;
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, fetch_fixture_set_up, fetch_fixture_tear_down)
    const struct CMUnitTest tests[] = {
        T(spans_are_sent_back_to_back_with_the_given_headers),
        T(other_methods_and_large_bodies),
        T(f20_a_connection_is_used_again_after_an_exactly_framed_reply),
        T(f20_stray_bytes_close_the_connection),
        T(b32_garbage_is_a_protocol_fault),
        T(b32_a_close_before_the_head_is_told),
        T(b32_endless_interim_replies_are_a_fault),
        T(b32_a_head_over_64_kib_is_a_fault),
        T(b33_a_short_body_is_told),
        T(b34_two_lengths_are_a_fault),
        T(b34_length_and_coding_are_a_fault),
        T(b34_unasked_compression_is_a_fault),
        T(b34_a_redirect_is_not_followed),
        T(b36_a_body_over_its_maximum_is_cut),
        T(b39_a_peer_without_tls_is_a_tls_fault),
        T(b40_addresses_are_judged_by_their_range),
        T(b40_a_private_address_is_refused_at_the_socket),
        T(f12_each_phase_has_its_deadline),
        T(f12_a_handshake_that_hangs_has_its_own_deadline),
        T(f18_a_cut_stream_is_not_a_success),
        T(f19_cancelling_closes_the_connection),
        T(f23_a_paused_reply_stops_and_goes_on_without_loss),
        T(f30_each_failed_allocation_ends_in_one_answer),
        T(a_closed_port_is_refused),
        T(bad_origins_and_requests_are_refused),
        T(a_body_is_not_sent_twice_when_an_old_connection_turns_out_dead),
        T(simple_requests_copy_their_body),
        T(closing_an_origin_cancels_what_it_has),
    };
    return cmocka_run_group_tests(tests, start_curl, stop_curl);
}
