/* What connections hold, and what happens when there is no memory: the ledger sees OpenSSL here. */
#include <openssl/crypto.h>
#include <pthread.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/net/tls_internal.h"
#include "tests/lib/fault.h"
#include "tests/unit/net/tls_fixture.h"

#define CONNECTIONS    64U
#define IDLE_BYTES_MAX 16384U

static int set_up(void **state)
{
    struct tls_pair *p = mem_zalloc(sizeof(*p));
    assert_non_null(p);
    tls_pair_init(p, *state, NULL, TLS_FILE_CA, TLS_FILE_GOOD);
    tls_pair_open(p); /* Whatever OpenSSL sets up once is there now. */
    *state = p;
    return 0;
}

static int tear_down(void **state)
{
    tls_pair_deinit(*state);
    mem_free(*state);
    return 0;
}

static void an_idle_connection_is_small(void **state)
{
    struct tls_pair *p = *state;
    struct tls *clients[CONNECTIONS];
    uint64_t most = 0;
    for (size_t i = 0; i < CONNECTIONS; i++) {
        const uint64_t before = mem_live_bytes();
        tls_pair_connect(p);
        tls_pair_pump(p, SIZE_MAX);
        most = mem_live_bytes() - before > most ? mem_live_bytes() - before : most;
        tls_pair_say(p->client, "question", &p->to_server);
        tls_pair_say(p->server, "answer", &p->to_client);
        tls_pair_pump(p, SIZE_MAX);
        assert_int_equal(tls_state(p->client), TLS_OPEN);
        clients[i] = p->client;
        p->client = NULL;
    }
    const uint64_t before = mem_live_bytes();
    for (size_t i = 0; i < CONNECTIONS; i++)
        tls_destroy(clients[i]);
    const uint64_t each = (before - mem_live_bytes()) / CONNECTIONS;
    print_message("an idle client connection holds %llu bytes, both ends after a handshake %llu\n",
                  (unsigned long long)each, (unsigned long long)most);
    assert_true(each > 0 && each < IDLE_BYTES_MAX);
}

static unsigned allocations;

static bool count_allocation(void)
{
    allocations++;
    return false;
}

static void buffers_of_records_are_kept_for_the_next_record(void **state)
{
    void *blocks[3];
    (void)state;
    for (size_t i = 0; i < 3; i++)
        blocks[i] = OPENSSL_malloc(16600);
    for (size_t i = 0; i < 3; i++) /* Two are kept, from here on at least. */
        OPENSSL_free(blocks[i]);
    const uint64_t before = mem_live_bytes();
    mem_fail_hook = count_allocation;
    allocations = 0;
    blocks[0] = OPENSSL_malloc(16384);
    blocks[1] = OPENSSL_malloc(17408);
    assert_int_equal(allocations, 0);
    assert_int_equal(mem_live_bytes(), before);
    blocks[2] = OPENSSL_malloc(16600);
    assert_int_equal(allocations, 1);
    for (size_t i = 0; i < 3; i++)
        OPENSSL_free(blocks[i]);
    assert_int_equal(mem_live_bytes(), before);
    blocks[0] = OPENSSL_malloc(17409); /* Not a record's. */
    assert_int_equal(allocations, 2);
    blocks[0] = OPENSSL_realloc(blocks[0], 100);
    OPENSSL_free(OPENSSL_realloc(NULL, 1));
    assert_null(OPENSSL_realloc(blocks[0], 0));
    mem_fail_hook = NULL;
    assert_int_equal(mem_live_bytes(), before);
}

static void records_do_without_malloc(void **state)
{
    struct tls_pair *p = *state;
    allocations = 0;
    for (int i = 0; i < 10; i++) {
        if (i == 1)
            mem_fail_hook = count_allocation;
        buf_clear(&p->client_got);
        buf_clear(&p->server_got);
        tls_pair_say(p->client, "question", &p->to_server);
        tls_pair_pump(p, SIZE_MAX);
        tls_pair_say(p->server, "answer", &p->to_client);
        tls_pair_pump(p, SIZE_MAX);
    }
    mem_fail_hook = NULL;
    assert_int_equal(allocations, 0);
}

static void *use_a_record(void *arg)
{
    OPENSSL_free(OPENSSL_malloc(16600));
    return arg;
}

static void what_a_thread_kept_goes_with_it(void **state)
{
    pthread_t thread;
    (void)state;
    const uint64_t before = mem_live_bytes();
    assert_int_equal(pthread_create(&thread, NULL, use_a_record, NULL), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(mem_live_bytes(), before);
}

static void nothing_is_left_behind(void **state)
{
    struct tls_pair *p = *state;
    const uint64_t before = mem_live_bytes();
    for (int i = 0; i < 20; i++) {
        tls_pair_open(p);
        tls_pair_say(p->client, "question", &p->to_server);
        tls_pair_pump(p, SIZE_MAX);
    }
    /* Tickets are replaced, not gathered: each differs in length by a little. */
    assert_true(mem_live_bytes() < before + 2048);
}

/* All of the first ones, then every 13th: a handshake has thousands, most of them in OpenSSL's
 * look-ups of algorithms. */
static unsigned next_allocation(unsigned n)
{
    return n + (n < 256 ? 1 : 13);
}

/* Allocations of a connection's life fail in turn, OpenSSL's included: it ends in an error or,
 * where OpenSSL can do without, in success; never in a crash, a leak or plain bytes lost. */
static void f30_failed_allocations_of_a_connection_are_told(void **state)
{
    struct tls_pair *p = *state;
    bool fired = true;
    unsigned failed = 0;
    for (unsigned n = 0; fired; n = next_allocation(n)) {
        tls_pair_disconnect(p);
        fault_arm_alloc(n);
        p->client = tls_create(p->client_context);
        p->server = p->client != NULL ? tls_create(p->server_context) : NULL;
        bool ok = p->server != NULL && tls_start(p->client, &p->to_server) == 0;
        for (int turn = 0; ok && turn < 4; turn++) {
            char plain[256];
            size_t count = 0;
            struct tls *t = turn % 2 == 0 ? p->server : p->client;
            struct buf *from = turn % 2 == 0 ? &p->to_server : &p->to_client;
            struct buf *to = turn % 2 == 0 ? &p->to_client : &p->to_server;
            struct str in = buf_str(from);
            ok = tls_feed(t, &in, plain, sizeof(plain), &count, to) == 0;
            buf_clear(from);
        }
        const struct str piece = STR("bytes");
        ok = ok && tls_write(p->client, &piece, 1, &p->to_server) == 0;
        fired = fault_disarm();
        failed += !ok;
        assert_true(ok || fired);
        if (p->client != NULL && tls_state(p->client) == TLS_FAILED)
            assert_int_equal(tls_error(p->client, NULL), ERR_TLS);
    }
    assert_true(failed > 10);
    tls_pair_open(p); /* The contexts are none the worse. */
}

static void f30_failed_allocations_of_a_context_are_told(void **state)
{
    struct tls_pair *p = *state;
    const struct tls_fixture *f = p->files;
    const struct tls_client_config client = {.host = STR(TLS_HOST),
                                             .ca_file = f->cert[TLS_FILE_OTHER_CA],
                                             .client_cert_file = f->cert[TLS_FILE_CLIENT],
                                             .client_key_file = f->key[TLS_FILE_CLIENT]};
    bool fired = true;
    for (unsigned n = 0; fired; n = next_allocation(n)) {
        struct tls_context *c = NULL;
        struct err err = {0};
        fault_arm_alloc(n);
        int rc = tls_context_create_client(&client, &c, &err);
        fired = fault_disarm();
        assert_true((rc == 0) == (c != NULL));
        assert_true(rc == 0 || (fired && err.message[0] != '\0'));
        tls_context_destroy(c);
    }
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(an_idle_connection_is_small),
        T(buffers_of_records_are_kept_for_the_next_record),
        T(records_do_without_malloc),
        T(what_a_thread_kept_goes_with_it),
        T(nothing_is_left_behind),
        T(f30_failed_allocations_of_a_connection_are_told),
        T(f30_failed_allocations_of_a_context_are_told),
    };
    if (tls_global_init() != 0)
        return 1;
    return cmocka_run_group_tests(tests, tls_fixture_set_up, tls_fixture_tear_down);
}
