/* F23: a paused call stops reading, so that its upstream stalls within a bounded number of bytes;
 * resuming loses nothing. The same under TLS. */
#include <string.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "tests/unit/dataplane/upstream/conform.h"

#define OK_             "HTTP/1.1 200 OK\r\n"
/* Both sockets' buffers as the kernel doubles them, and what a transport may have read ahead. */
#define STALL_BYTES_MAX (1U << 20)
#define WAVE_BYTES      65521U /* A prime: pieces never fall in step with it. */

static char wave[WAVE_BYTES];
static const struct str wave_str = {wave, WAVE_BYTES};

static int make_wave(void **state)
{
    for (size_t i = 0; i < WAVE_BYTES; i++)
        wave[i] = (char)(i * 131 + (i >> 8));
    return conform_set_up(state);
}

static void expect_waves(const struct exchange *x, size_t count)
{
    assert_int_equal(x->body.len, count * WAVE_BYTES);
    for (size_t i = 0; i < count; i++)
        assert_memory_equal(x->body.data + i * WAVE_BYTES, wave, WAVE_BYTES);
}

static void expect_stall(struct conform *c, bool in_head)
{
    c->x.pause_in_head = in_head;
    c->x.pause_at = in_head ? 0 : 1;
    uint64_t before = evil_sent(&c->evil);
    exchange_begin(c, &c->x, (struct fetch_request){.body_max_bytes = UINT64_C(1) << 32});
    assert_true(wire_run(&c->loop, in_head ? exchange_has_head : exchange_has_piece, &c->x));
    wire_run_ms(&c->loop, 100); /* Until whatever moves on its own has moved. */
    assert_int_equal(c->x.pieces, in_head ? 0 : 1);
    assert_int_equal(c->x.dones, 0);
    assert_true(evil_sent(&c->evil) - before - c->x.delivered <= STALL_BYTES_MAX);
    exchange_resume(&c->x);
    exchange_wait(&c->x);
    assert_int_equal(c->x.result.status, 0);
}

static void f23_a_paused_call_stalls_its_upstream(void **state)
{
    struct conform *c = *state;
    EVIL_SCRIPT(&c->evil, S_REQUEST, S_SEND(OK_ "\r\n"), S_FLOOD(200, wave_str), S_CLOSE);
    expect_stall(c, false);
    expect_waves(&c->x, 200);
    expect_stall(c, true);
    expect_waves(&c->x, 200);
}

static void f23_chunks_and_tls_stall_alike(void **state)
{
    struct conform *c = *state;
    static const struct certs_spec ca_spec = {.name = "ca"};
    static const struct certs_spec spec = {.name = "evil", .names = "IP:127.0.0.1"};
    char ca_path[] = "/tmp/sy-flow-XXXXXX";
    int fd = mkstemp(ca_path);
    assert_true(fd >= 0 && close(fd) == 0);
    struct certs ca = certs_make(NULL, &ca_spec);
    struct certs who = certs_make(&ca, &spec);
    certs_write(&ca, ca_path, NULL);
    SSL_CTX *tls = evil_tls_context(&who, 0, 0, NULL);
    conform_serve(c, tls);
    EVIL_SCRIPT(&c->evil, S_REQUEST, S_SEND(OK_ "Transfer-Encoding: chunked\r\n\r\n63fa240\r\n"),
                S_FLOOD(1600, wave_str), S_SEND("\r\n0\r\n\r\n"));
    conform_origin(c, (struct fetch_origin_config){0});
    conform_origin(
        c, (struct fetch_origin_config){.url = c->url, .allow_private = true, .ca_file = ca_path});
    c->x.drop = true;
    expect_stall(c, false);
    assert_int_equal(c->x.delivered, UINT64_C(1600) * WAVE_BYTES);
    SSL_CTX_free(tls);
    certs_free(&who);
    certs_free(&ca);
    assert_int_equal(unlink(ca_path), 0);
}

static void f23_pausing_and_resuming_all_the_time_loses_nothing(void **state)
{
    struct conform *c = *state;
    EVIL_SCRIPT(&c->evil, S_REQUEST, S_SEND(OK_ "Content-Length: 1310420\r\n\r\n"),
                S_FLOOD(20, wave_str), S_AGAIN);
    for (unsigned every = 1; every <= 3; every++) {
        c->x.pause_every = every;
        c->x.pause_in_head = every != 2;
        exchange_begin(c, &c->x, (struct fetch_request){0});
        while (c->x.dones == 0) { /* Resuming is fine when not paused, and takes effect later. */
            wire_run_turns(&c->loop, 1);
            if (c->x.call != NULL)
                exchange_resume(&c->x);
        }
        assert_int_equal(c->x.result.status, 0);
        assert_true(c->x.pieces > 1);
        expect_waves(&c->x, 20);
        assert_true(c->x.result.reused == (every > 1));
    }
}

/* Many chunks in one read: a pause between them holds back the rest. */
static void f23_a_pause_within_one_read_holds_back_the_rest(void **state)
{
    struct conform *c = *state;
    EVIL_SCRIPT(&c->evil, S_REQUEST,
                S_SEND(OK_ "Transfer-Encoding: chunked\r\n\r\n"
                           "1\r\na\r\n1;x\r\nb\r\n3\r\ncde\r\n2\r\nfg\r\n0\r\n\r\n"),
                S_AGAIN);
    c->x.pause_every = 1;
    for (int i = 0; i < 3; i++) {
        exchange_begin(c, &c->x, (struct fetch_request){0});
        unsigned seen = 0;
        while (c->x.dones == 0) {
            wire_run_turns(&c->loop, 5);
            assert_true(c->x.pieces <= seen + 1);
            if (c->x.pieces > seen || c->x.heads == 0) {
                seen = c->x.pieces;
                if (c->x.call != NULL)
                    exchange_resume(&c->x);
            }
        }
        assert_int_equal(c->x.result.status, 0);
        assert_string_equal(buf_cstr(&c->x.body), "abcdefg");
    }
    assert_true(c->x.result.reused);
}

/* What the upstream does while its reader is paused is told afterwards, after the bytes. */
static void f23_an_end_during_a_pause_comes_after_the_bytes(void **state)
{
    struct conform *c = *state;
    EVIL_SCRIPT(&c->evil, S_REQUEST,
                S_SEND(OK_ "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n2\r\nbc\r\n"), S_TURNS(3),
                S_CLOSE);
    EVIL_SCRIPT(&c->evil, S_REQUEST, S_SEND(OK_ "\r\na"), S_TURNS(3), S_SEND("bc"), S_CLOSE);
    c->x.pause_at = 1;
    for (int i = 0; i < 2; i++) {
        exchange_begin(c, &c->x, (struct fetch_request){0});
        assert_true(wire_run(&c->loop, exchange_has_piece, &c->x));
        wire_run_turns(&c->loop, 20);
        assert_int_equal(c->x.pieces, 1);
        assert_int_equal(c->x.dones, 0);
        exchange_resume(&c->x);
        exchange_wait(&c->x);
        assert_int_equal(c->x.result.status, i == 0 ? ERR_CLOSED : 0);
        assert_string_equal(buf_cstr(&c->x.body), "abc");
    }
}

/* The deadlines of silence stand still while the silence is our own. */
static void f23_a_pause_does_not_count_as_silence(void **state)
{
    struct conform *c = *state;
    EVIL_SCRIPT(&c->evil, S_REQUEST, S_SEND(OK_ "\r\n"), S_FLOOD(0, wave_str));
    for (unsigned i = 0; i < 2; i++) {
        c->x.pause_in_head = i == 0;
        c->x.pause_at = i;
        exchange_begin(c, &c->x,
                       (struct fetch_request){.timeouts = {.first_byte_ms = i == 0 ? 30 : 0,
                                                           .idle_ms = i == 0 ? 0 : 30},
                                              .body_max_bytes = UINT64_C(1) << 32});
        assert_true(wire_run(&c->loop, i == 0 ? exchange_has_head : exchange_has_piece, &c->x));
        wire_run_ms(&c->loop, 90);
        assert_int_equal(c->x.dones, 0);
        exchange_cancel(&c->x);
        exchange_wait(&c->x);
    }
}

/* Another call of the same origin is not held up by a paused one. */
static void f23_a_paused_call_stands_in_nobodys_way(void **state)
{
    struct conform *c = *state;
    static struct exchange other;
    EVIL_SCRIPT(&c->evil, S_REQUEST, S_SEND(OK_ "\r\n"), S_FLOOD(0, wave_str));
    EVIL_SCRIPT(&c->evil, S_REQUEST, S_SEND(OK_ "Content-Length: 2\r\n\r\nok"), S_AGAIN);
    c->x.pause_at = 1;
    exchange_begin(c, &c->x, (struct fetch_request){.body_max_bytes = UINT64_C(1) << 32});
    assert_true(wire_run(&c->loop, exchange_has_piece, &c->x));
    for (int i = 0; i < 20; i++)
        assert_int_equal(exchange_run(c, &other, (struct fetch_request){0}), 0);
    assert_int_equal(c->x.pieces, 1);
    exchange_cancel(&c->x);
    exchange_wait(&c->x);
    exchange_deinit(&other);
}

int main(int argc, char **argv)
{
#define T(f) cmocka_unit_test_setup_teardown(f, make_wave, conform_tear_down)
    const struct CMUnitTest tests[] = {
        T(f23_a_paused_call_stalls_its_upstream),
        T(f23_chunks_and_tls_stall_alike),
        T(f23_pausing_and_resuming_all_the_time_loses_nothing),
        T(f23_a_pause_within_one_read_holds_back_the_rest),
        T(f23_an_end_during_a_pause_comes_after_the_bytes),
        T(f23_a_pause_does_not_count_as_silence),
        T(f23_a_paused_call_stands_in_nobodys_way),
    };
    return conform_main(argc, argv, tests, sizeof(tests) / sizeof(tests[0]));
}
