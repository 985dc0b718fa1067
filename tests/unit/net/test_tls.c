/* The engine: a client against a server in memory, cut wherever bytes can be cut. */
#include <stdio.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/net/tls_internal.h"
#include "tests/lib/fault.h"
#include "tests/unit/net/tls_fixture.h"

#define LARGE_BYTES 500000U

static int set_up(void **state)
{
    struct tls_pair *p = mem_zalloc(sizeof(*p));
    assert_non_null(p);
    tls_pair_init(p, *state, NULL, TLS_FILE_CA, TLS_FILE_GOOD);
    *state = p;
    return 0;
}

static int tear_down(void **state)
{
    tls_pair_deinit(*state);
    mem_free(*state);
    return 0;
}

static void assert_got(const struct buf *got, const char *text)
{
    assert_true(str_is(buf_str(got), text));
}

static void limit_to_1_2(struct tls_pair *p)
{
    (void)SSL_CTX_set_max_proto_version(p->server_context->ssl_ctx, TLS1_2_VERSION);
}

static void forget_tickets(struct tls_pair *p)
{
    SSL_SESSION *ticket;
    while ((ticket = tls_context_take_ticket(p->client_context)) != NULL) {
        if (SSL_SESSION_get_protocol_version(ticket) < TLS1_3_VERSION)
            SSL_SESSION_free(p->client_context->tickets[--p->client_context->stats.tickets]);
        SSL_SESSION_free(ticket);
    }
}

static void both_directions_carry_bytes(void **state)
{
    struct tls_pair *p = *state;
    tls_pair_open(p);
    assert_string_equal(tls_version(p->client), "TLSv1.3");
    assert_true(tls_cipher(p->client)[0] != '\0');
    assert_false(tls_resumed(p->client));
    tls_pair_say(p->client, "question", &p->to_server);
    tls_pair_pump(p, SIZE_MAX);
    assert_got(&p->server_got, "question");
    tls_pair_say(p->server, "answer", &p->to_client);
    tls_pair_pump(p, SIZE_MAX);
    assert_got(&p->client_got, "answer");
}

static void it_begins_with_a_hello_and_is_open_with_the_clients_last_word(void **state)
{
    struct tls_pair *p = *state;
    tls_pair_connect(p);
    assert_int_equal(tls_state(p->client), TLS_HANDSHAKING);
    assert_string_equal(tls_version(p->client), "");
    assert_string_equal(tls_cipher(p->client), "");
    const struct str piece = STR("early");
    assert_int_equal(tls_write(p->client, &piece, 1, &p->to_server), ERR_AGAIN);
    assert_int_equal(tls_pair_feed_server(p, SIZE_MAX), 0);
    assert_int_equal(tls_pair_feed_client(p, SIZE_MAX), 0);
    assert_int_equal(tls_state(p->client), TLS_OPEN);
    tls_pair_say(p->client, "in the same packet", &p->to_server);
    assert_int_equal(tls_pair_feed_server(p, SIZE_MAX), 0);
    assert_int_equal(tls_state(p->server), TLS_OPEN);
    assert_got(&p->server_got, "in the same packet");
}

static void the_handshake_may_arrive_byte_by_byte(void **state)
{
    struct tls_pair *p = *state;
    for (int version = 0; version < 2; version++) {
        if (version == 1)
            limit_to_1_2(p);
        tls_pair_connect(p);
        tls_pair_pump(p, 1);
        assert_int_equal(tls_state(p->client), TLS_OPEN);
        assert_int_equal(tls_state(p->server), TLS_OPEN);
        tls_pair_say(p->server, "answer", &p->to_client);
        tls_pair_pump(p, 1);
        assert_got(&p->client_got, "answer");
    }
    assert_string_equal(tls_version(p->client), "TLSv1.2");
}

/* The flight is fed in two parts; the answer to it may be whole. */
static void the_servers_flight_may_be_cut_anywhere(void **state)
{
    struct tls_pair *p = *state;
    size_t flight = 1;
    for (size_t cut = 1; cut < flight; cut++) {
        tls_pair_connect(p);
        assert_int_equal(tls_pair_feed_server(p, SIZE_MAX), 0);
        flight = p->to_client.len;
        assert_int_equal(tls_pair_feed_client(p, cut), 0);
        assert_int_equal(tls_state(p->client), TLS_HANDSHAKING);
        tls_pair_pump(p, SIZE_MAX);
        assert_int_equal(tls_state(p->client), TLS_OPEN);
        assert_int_equal(tls_state(p->server), TLS_OPEN);
    }
}

static void the_hello_may_be_cut_anywhere(void **state)
{
    struct tls_pair *p = *state;
    size_t hello = 2;
    for (size_t cut = 1; cut < hello; cut++) {
        tls_pair_connect(p);
        hello = p->to_server.len;
        assert_int_equal(tls_pair_feed_server(p, cut), 0);
        assert_int_equal(p->to_client.len, 0);
        tls_pair_pump(p, SIZE_MAX);
        assert_int_equal(tls_state(p->server), TLS_OPEN);
    }
}

/* Three records on one connection per cut. */
static void records_may_be_cut_anywhere(void **state)
{
    struct tls_pair *p = *state;
    size_t total = 2;
    tls_pair_open(p);
    for (size_t cut = 1; cut < total; cut++) {
        tls_pair_say(p->server, "one ", &p->to_client);
        tls_pair_say(p->server, "two ", &p->to_client);
        tls_pair_say(p->server, "three", &p->to_client);
        total = p->to_client.len;
        buf_clear(&p->client_got);
        assert_int_equal(tls_pair_feed_client(p, cut), 0);
        assert_int_equal(tls_pair_feed_client(p, SIZE_MAX), 0);
        assert_got(&p->client_got, "one two three");
    }
}

static void any_scratch_will_do(void **state)
{
    struct tls_pair *p = *state;
    const size_t sizes[] = {1, 2, 3, 7, 13, 26, 27, 64};
    tls_pair_open(p);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        char plain[64];
        tls_pair_say(p->server, "abcdefghijklm", &p->to_client);
        tls_pair_say(p->server, "nopqrstuvwxyz", &p->to_client);
        struct str in = buf_str(&p->to_client);
        size_t n = sizes[i];
        buf_clear(&p->client_got);
        while (n == sizes[i]) {
            assert_int_equal(tls_feed(p->client, &in, plain, sizes[i], &n, &p->to_server), 0);
            assert_true(n <= sizes[i]);
            assert_int_equal(buf_append(&p->client_got, plain, n), 0);
        }
        assert_int_equal(in.len, 0);
        assert_got(&p->client_got, "abcdefghijklmnopqrstuvwxyz");
        buf_clear(&p->to_client);
    }
}

static void small_pieces_are_one_record(void **state)
{
    struct tls_pair *p = *state;
    const struct str pieces[] = {STR("POST / HTTP/1.1\r\n"), STR(""), STR("\r\n"), STR("body")};
    tls_pair_open(p);
    assert_int_equal(tls_write(p->client, pieces, 4, &p->to_server), 0);
    assert_int_equal(p->to_server.len, 5 + 17 + 2 + 4 + 1 + 16); /* RFC 8446 section 5.2. */
    tls_pair_pump(p, SIZE_MAX);
    assert_got(&p->server_got, "POST / HTTP/1.1\r\n\r\nbody");
    assert_int_equal(tls_write(p->client, pieces, 0, &p->to_server), 0);
    assert_int_equal(tls_write(p->client, &pieces[1], 1, &p->to_server), 0);
    assert_int_equal(p->to_server.len, 0);
}

static void large_pieces_fill_their_records(void **state)
{
    struct tls_pair *p = *state;
    static char large[LARGE_BYTES];
    const size_t sizes[] = {16384 - 4, 16383, 16384, 16385, 32768, 40000, LARGE_BYTES};
    for (size_t i = 0; i < sizeof(large); i++)
        large[i] = (char)(i * 31 % 251);
    tls_pair_open(p);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        const struct str pieces[] = {STR("head"),
                                     {.data = large, .len = sizes[i]},
                                     STR("tail"),
                                     {.data = large, .len = 16384}};
        const size_t total = 4 + sizes[i] + 4 + 16384;
        const size_t records = (total + 16383) / 16384;
        assert_int_equal(tls_write(p->client, pieces, 4, &p->to_server), 0);
        assert_int_equal(p->to_server.len, total + records * 22);
        assert_true(p->to_server.len <= tls_cipher_bytes_max(total));
        buf_clear(&p->server_got);
        tls_pair_pump(p, 65536);
        assert_int_equal(p->server_got.len, total);
        assert_memory_equal(p->server_got.data, "head", 4);
        assert_memory_equal(p->server_got.data + 4, large, sizes[i]);
        assert_memory_equal(p->server_got.data + 4 + sizes[i], "tail", 4);
        assert_memory_equal(p->server_got.data + 8 + sizes[i], large, 16384);
    }
}

static void every_suite_fits_the_bound(void **state)
{
    struct tls_pair *p = *state;
    const char *suites[] = {"ECDHE-ECDSA-AES256-SHA384", "ECDHE-ECDSA-AES128-GCM-SHA256",
                            "ECDHE-ECDSA-CHACHA20-POLY1305", "ECDHE-ECDSA-AES128-SHA"};
    static char bytes[3 * 16384];
    limit_to_1_2(p);
    for (size_t i = 0; i < sizeof(suites) / sizeof(suites[0]); i++) {
        assert_int_equal(SSL_CTX_set_cipher_list(p->server_context->ssl_ctx, suites[i]), 1);
        assert_int_equal(SSL_CTX_set_cipher_list(p->client_context->ssl_ctx, suites[i]), 1);
        forget_tickets(p); /* They name their suite. */
        tls_pair_open(p);
        for (size_t len = 1; len <= sizeof(bytes); len += len < 40 ? 1 : 5000) {
            const struct str piece = {.data = bytes, .len = len};
            assert_int_equal(tls_write(p->client, &piece, 1, &p->to_server), 0);
            assert_true(p->to_server.len <= tls_cipher_bytes_max(len));
            tls_pair_pump(p, SIZE_MAX);
        }
    }
}

static void a_full_buffer_changes_nothing(void **state)
{
    struct tls_pair *p = *state;
    struct buf small;
    const struct str piece = STR("0123456789");
    tls_pair_open(p);
    buf_init(&small, 64);
    assert_int_equal(tls_write(p->client, &piece, 1, &small), ERR_TOO_LARGE);
    assert_int_equal(tls_close(p->client, &small), ERR_TOO_LARGE);
    assert_int_equal(small.len, 0);
    assert_int_equal(tls_state(p->client), TLS_OPEN);
    fault_arm_alloc(0);
    assert_int_equal(tls_write(p->client, &piece, 1, &small), ERR_TOO_LARGE);
    buf_deinit(&small);
    buf_init(&small, 1024);
    assert_int_equal(tls_write(p->client, &piece, 1, &small), ERR_NOMEM);
    assert_true(fault_disarm());
    assert_int_equal(tls_write(p->client, &piece, 1, &p->to_server), 0);
    tls_pair_pump(p, SIZE_MAX);
    assert_got(&p->server_got, "0123456789");
    buf_deinit(&small);
}

static void a_handshake_that_cannot_answer_fails(void **state)
{
    struct tls_pair *p = *state;
    struct buf small;
    struct err err = {0};
    char plain[64];
    size_t n = 0;
    tls_pair_connect(p);
    buf_init(&small, 16);
    struct str in = buf_str(&p->to_server);
    assert_int_equal(tls_feed(p->server, &in, plain, sizeof(plain), &n, &small), ERR_TOO_LARGE);
    assert_int_equal(tls_state(p->server), TLS_FAILED);
    assert_int_equal(tls_error(p->server, &err), ERR_TLS);
    assert_string_equal(err.message, err_text(ERR_TOO_LARGE));
    struct tls *second = tls_create(p->client_context);
    assert_non_null(second);
    assert_int_equal(tls_start(second, &small), ERR_TOO_LARGE);
    assert_int_equal(tls_state(second), TLS_FAILED);
    tls_destroy(second);
    buf_deinit(&small);
}

static void close_notify_is_an_end_and_a_cut_is_not(void **state)
{
    struct tls_pair *p = *state;
    tls_pair_open(p);
    tls_pair_say(p->server, "all", &p->to_client);
    assert_int_equal(tls_close(p->server, &p->to_client), 0);
    const size_t len = p->to_client.len;
    assert_int_equal(tls_close(p->server, &p->to_client), 0); /* Once. */
    assert_int_equal(p->to_client.len, len);
    const struct str piece = STR("more");
    assert_int_equal(tls_write(p->server, &piece, 1, &p->to_client), ERR_CLOSED);
    tls_pair_pump(p, SIZE_MAX);
    assert_got(&p->client_got, "all");
    assert_int_equal(tls_state(p->client), TLS_CLOSED);
    tls_feed_end(p->client);
    assert_int_equal(tls_state(p->client), TLS_CLOSED);
    assert_int_equal(tls_write(p->client, &piece, 1, &p->to_server), ERR_CLOSED);
    assert_int_equal(tls_close(p->client, &p->to_server), 0); /* Its own may still go. */
    assert_true(p->to_server.len > 0);
    tls_pair_pump(p, SIZE_MAX);
    assert_int_equal(tls_state(p->server), TLS_CLOSED);

    tls_pair_open(p);
    tls_pair_say(p->server, "part", &p->to_client);
    assert_int_equal(tls_pair_feed_client(p, p->to_client.len - 1), 0);
    tls_feed_end(p->client);
    assert_int_equal(tls_state(p->client), TLS_CUT);
    assert_int_equal(tls_pair_feed_client(p, SIZE_MAX), ERR_CLOSED);
    assert_int_equal(tls_error(p->client, NULL), 0);
    tls_pair_connect(p);
    tls_feed_end(p->client);
    assert_int_equal(tls_state(p->client), TLS_CUT);
    assert_int_equal(tls_close(p->client, &p->to_server), 0);
}

static void what_follows_close_notify_is_dropped(void **state)
{
    struct tls_pair *p = *state;
    tls_pair_open(p);
    assert_int_equal(tls_close(p->server, &p->to_client), 0);
    assert_int_equal(buf_append_text(&p->to_client, "stray"), 0);
    assert_int_equal(tls_pair_feed_client(p, SIZE_MAX), 0);
    assert_int_equal(tls_state(p->client), TLS_CLOSED);
    assert_int_equal(p->client_got.len, 0);
}

static void bytes_before_a_forged_record_are_good(void **state)
{
    struct tls_pair *p = *state;
    struct err err = {0};
    tls_pair_open(p);
    tls_pair_say(p->server, "good", &p->to_client);
    tls_pair_say(p->server, "evil", &p->to_client);
    p->to_client.data[p->to_client.len - 1] ^= 1;
    assert_int_equal(tls_pair_feed_client(p, SIZE_MAX), ERR_TLS);
    assert_got(&p->client_got, "good");
    assert_int_equal(tls_state(p->client), TLS_FAILED);
    assert_int_equal(tls_error(p->client, &err), ERR_TLS);
    assert_non_null(strstr(err.message, "bad record mac"));
    assert_true(p->to_server.len > 0); /* The alert. */
    assert_int_equal(tls_pair_feed_server(p, SIZE_MAX), ERR_TLS);
}

static void b39_a_peer_without_tls_is_refused(void **state)
{
    struct tls_pair *p = *state;
    struct err err = {0};
    tls_pair_connect(p);
    assert_int_equal(buf_append_text(&p->to_client, "HTTP/1.1 400 Bad Request\r\n\r\n"), 0);
    assert_int_equal(tls_pair_feed_client(p, SIZE_MAX), ERR_TLS);
    assert_int_equal(tls_error(p->client, &err), ERR_TLS);
    assert_string_equal(err.message, "wrong version number");
}

static void b11_plain_http_at_a_server_is_refused(void **state)
{
    struct tls_pair *p = *state;
    tls_pair_connect(p);
    buf_clear(&p->to_server);
    assert_int_equal(buf_append_text(&p->to_server, "GET / HTTP/1.1\r\n\r\n"), 0);
    assert_int_equal(tls_pair_feed_server(p, SIZE_MAX), ERR_TLS);
    assert_int_equal(tls_state(p->server), TLS_FAILED);
}

static void b11_old_tls_is_refused(void **state)
{
    struct tls_pair *p = *state;
    SSL_CTX *old = p->server_context->ssl_ctx;
    SSL_CTX_set_security_level(old, 0);
    (void)SSL_CTX_set_min_proto_version(old, TLS1_VERSION);
    (void)SSL_CTX_set_max_proto_version(old, TLS1_1_VERSION);
    tls_pair_connect(p);
    tls_pair_pump(p, SIZE_MAX);
    assert_int_equal(tls_state(p->server), TLS_FAILED);
    assert_int_equal(tls_state(p->client), TLS_FAILED);
}

static void b11_renegotiation_is_refused(void **state)
{
    struct tls_pair *p = *state;
    limit_to_1_2(p);
    tls_pair_open(p);
    SSL_clear_options(p->server->ssl, SSL_OP_NO_RENEGOTIATION);
    p->server->out = &p->to_client;
    assert_int_equal(SSL_renegotiate(p->server->ssl), 1);
    assert_int_equal(SSL_do_handshake(p->server->ssl), 1); /* A HelloRequest is under way. */
    p->server->out = NULL;
    assert_true(p->to_client.len > 0);
    assert_int_equal(tls_pair_feed_client(p, SIZE_MAX), 0);
    assert_int_equal(tls_state(p->client), TLS_OPEN); /* It said no_renegotiation. */
    assert_true(p->to_server.len > 0 && p->to_server.len < 64);
}

static void new_keys_are_answered_and_used(void **state)
{
    struct tls_pair *p = *state;
    tls_pair_open(p);
    assert_int_equal(SSL_key_update(p->server->ssl, SSL_KEY_UPDATE_REQUESTED), 1);
    tls_pair_say(p->server, "after", &p->to_client);
    assert_int_equal(tls_pair_feed_client(p, SIZE_MAX), 0);
    assert_got(&p->client_got, "after");
    tls_pair_say(p->client, "too", &p->to_server);
    assert_true(p->to_server.len > 3 + 22); /* Its own new key went first. */
    assert_true(p->to_server.len <= tls_cipher_bytes_max(3));
    tls_pair_pump(p, SIZE_MAX);
    assert_got(&p->server_got, "too");
}

static void another_protocol_is_refused(void **state)
{
    struct tls_pair *p = *state;
    struct err err = {0};
    p->server_context->protocol_bytes = 3;
    memcpy(p->server_context->protocol, "\x02h2", 3);
    tls_pair_connect(p);
    tls_pair_pump(p, SIZE_MAX);
    assert_int_equal(tls_state(p->server), TLS_FAILED);
    assert_int_equal(tls_state(p->client), TLS_FAILED);
    assert_int_equal(tls_error(p->client, &err), ERR_TLS);
    assert_non_null(strstr(err.message, "application protocol"));
}

/* Chooses what was not offered. */
static int choose_h2(SSL *ssl, const unsigned char **out, unsigned char *out_len,
                     const unsigned char *offered, unsigned offered_bytes, void *arg)
{
    (void)ssl;
    (void)arg;
    assert_int_equal(offered_bytes, 9);
    assert_memory_equal(offered, "\x08http/1.1", 9);
    *out = (const unsigned char *)"h2";
    *out_len = 2;
    return SSL_TLSEXT_ERR_OK;
}

static void a_server_that_insists_on_another_protocol_is_refused(void **state)
{
    struct tls_pair *p = *state;
    SSL_CTX_set_alpn_select_cb(p->server_context->ssl_ctx, choose_h2, NULL);
    tls_pair_connect(p);
    tls_pair_pump(p, SIZE_MAX);
    assert_int_equal(tls_state(p->client), TLS_FAILED);
    assert_int_equal(p->client_status, ERR_TLS);
}

static void a_server_without_protocols_speaks_http_1_1(void **state)
{
    struct tls_pair *p = *state;
    SSL_CTX_set_alpn_select_cb(p->server_context->ssl_ctx, NULL, NULL);
    tls_pair_open(p);
}

static void a_second_connection_resumes(void **state)
{
    struct tls_pair *p = *state;
    for (int version = 0; version < 2; version++) {
        if (version == 1) {
            limit_to_1_2(p);
            forget_tickets(p);
        }
        const uint64_t before = tls_context_stats(p->client_context).resumed;
        tls_pair_open(p);
        assert_false(tls_resumed(p->client));
        assert_true(tls_context_stats(p->client_context).tickets > 0);
        for (uint64_t i = 1; i <= 3; i++) {
            tls_pair_open(p);
            assert_true(tls_resumed(p->client));
            assert_true(tls_resumed(p->server));
            assert_int_equal(SSL_session_reused(p->client->ssl), 1);
            assert_int_equal(tls_context_stats(p->client_context).resumed, before + i);
        }
        tls_pair_say(p->client, "still works", &p->to_server);
        tls_pair_pump(p, SIZE_MAX);
        assert_got(&p->server_got, "still works");
    }
}

static void tickets_are_few_and_used_once(void **state)
{
    struct tls_pair *p = *state;
    struct tls *others[4];
    assert_int_equal(SSL_CTX_set_num_tickets(p->server_context->ssl_ctx, 8), 1);
    tls_pair_open(p);
    assert_int_equal(tls_context_stats(p->client_context).tickets, TLS_TICKETS_MAX);
    for (size_t i = 0; i < 4; i++) {
        others[i] = tls_create(p->client_context);
        assert_non_null(others[i]);
        assert_int_equal(tls_context_stats(p->client_context).tickets, 3 - i);
    }
    for (size_t i = 0; i < 4; i++)
        tls_destroy(others[i]);
}

static int64_t tomorrow_us(void)
{
    return 4102444800LL * 1000000; /* 2100. */
}

static uint64_t zero_ns(void)
{
    return 0;
}

static void old_tickets_are_not_offered(void **state)
{
    struct tls_pair *p = *state;
    const struct clock_source later = {.mono_ns = zero_ns, .wall_us = tomorrow_us};
    tls_pair_open(p);
    assert_true(tls_context_stats(p->client_context).tickets > 0);
    clock_set_source(&later);
    tls_pair_connect(p);
    clock_set_source(NULL);
    assert_int_equal(tls_context_stats(p->client_context).tickets, 0);
    tls_pair_pump(p, SIZE_MAX);
    assert_false(tls_resumed(p->client));
}

static void a_connection_that_was_cut_leaves_its_ticket_good(void **state)
{
    struct tls_pair *p = *state;
    limit_to_1_2(p); /* Here the connection's own session is the ticket. */
    tls_pair_open(p);
    tls_feed_end(p->client);
    tls_pair_open(p);
    assert_true(tls_resumed(p->client));
}

static void a_server_that_forgot_its_ticket_keys_gets_a_full_handshake(void **state)
{
    struct tls_pair *p = *state;
    unsigned char keys[80] = {1};
    tls_pair_open(p);
    assert_int_equal(SSL_CTX_set_tlsext_ticket_keys(p->server_context->ssl_ctx, keys, sizeof(keys)),
                     1);
    tls_pair_open(p);
    assert_false(tls_resumed(p->client));
}

static void each_failed_allocation_of_ours_is_told(void **state)
{
    struct tls_pair *p = *state;
    bool fired = true;
    for (unsigned n = 0; fired; n++) {
        fault_arm_alloc(n);
        struct tls *t = tls_create(p->client_context);
        fired = fault_disarm();
        assert_true((t == NULL) == fired);
        tls_destroy(t);
    }
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(both_directions_carry_bytes),
        T(it_begins_with_a_hello_and_is_open_with_the_clients_last_word),
        T(the_handshake_may_arrive_byte_by_byte),
        T(the_servers_flight_may_be_cut_anywhere),
        T(the_hello_may_be_cut_anywhere),
        T(records_may_be_cut_anywhere),
        T(any_scratch_will_do),
        T(small_pieces_are_one_record),
        T(large_pieces_fill_their_records),
        T(every_suite_fits_the_bound),
        T(a_full_buffer_changes_nothing),
        T(a_handshake_that_cannot_answer_fails),
        T(close_notify_is_an_end_and_a_cut_is_not),
        T(what_follows_close_notify_is_dropped),
        T(bytes_before_a_forged_record_are_good),
        T(b39_a_peer_without_tls_is_refused),
        T(b11_plain_http_at_a_server_is_refused),
        T(b11_old_tls_is_refused),
        T(b11_renegotiation_is_refused),
        T(new_keys_are_answered_and_used),
        T(another_protocol_is_refused),
        T(a_server_that_insists_on_another_protocol_is_refused),
        T(a_server_without_protocols_speaks_http_1_1),
        T(a_second_connection_resumes),
        T(tickets_are_few_and_used_once),
        T(old_tickets_are_not_offered),
        T(a_connection_that_was_cut_leaves_its_ticket_good),
        T(a_server_that_forgot_its_ticket_keys_gets_a_full_handshake),
        T(each_failed_allocation_of_ours_is_told),
    };
    return cmocka_run_group_tests(tests, tls_fixture_set_up, tls_fixture_tear_down);
}
