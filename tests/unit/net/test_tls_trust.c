/* Which servers and clients are believed, and which contexts can be made at all. */
#include <openssl/pem.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/net/tls_internal.h"
#include "tests/lib/fault.h"
#include "tests/unit/net/tls_fixture.h"

static void expect_good(const struct tls_fixture *f, const char *host, enum tls_file ca,
                        enum tls_file own)
{
    struct tls_pair p;
    struct err err = {0};
    tls_pair_init(&p, f, host, ca, own);
    tls_pair_open(&p);
    assert_int_equal(tls_error(p.client, &err), 0);
    assert_int_equal(err.code, 0);
    tls_pair_deinit(&p);
}

static void expect_refused(const struct tls_fixture *f, const char *host, enum tls_file ca,
                           enum tls_file own, const char *reason)
{
    struct tls_pair p;
    struct err err = {0};
    tls_pair_init(&p, f, host, ca, own);
    for (int i = 0; i < 2; i++) { /* A refusal leaves nothing that a second try could resume. */
        tls_pair_connect(&p);
        tls_pair_pump(&p, SIZE_MAX);
        assert_int_equal(tls_state(p.client), TLS_FAILED);
        assert_int_equal(p.client_status, ERR_TLS);
        assert_int_equal(tls_error(p.client, &err), ERR_TLS);
        assert_non_null(strstr(err.message, "certificate: "));
        assert_non_null(strstr(err.message, reason));
        assert_int_equal(tls_state(p.server), TLS_FAILED); /* It was told by an alert. */
        const struct str piece = STR("secret");
        assert_int_equal(tls_write(p.client, &piece, 1, &p.to_server), ERR_CLOSED);
        assert_int_equal(p.to_server.len, 0);
    }
    assert_int_equal(tls_context_stats(p.client_context).failures, 2);
    tls_pair_deinit(&p);
}

static void b39_a_certificate_of_the_trusted_ca_is_accepted(void **state)
{
    expect_good(*state, NULL, TLS_FILE_CA, TLS_FILE_GOOD);
    expect_good(*state, "API.Example", TLS_FILE_CA, TLS_FILE_GOOD);
    expect_good(*state, "api.example.", TLS_FILE_CA, TLS_FILE_GOOD);
}

static void b39_an_expired_certificate_is_refused(void **state)
{
    expect_refused(*state, NULL, TLS_FILE_CA, TLS_FILE_EXPIRED, "expired");
}

static void b39_a_certificate_that_is_not_yet_valid_is_refused(void **state)
{
    expect_refused(*state, NULL, TLS_FILE_CA, TLS_FILE_EARLY, "not yet valid");
}

static void b39_a_certificate_for_another_name_is_refused(void **state)
{
    expect_refused(*state, NULL, TLS_FILE_CA, TLS_FILE_OTHER_NAME, "hostname mismatch");
    expect_refused(*state, "api.example.evil", TLS_FILE_CA, TLS_FILE_GOOD, "hostname mismatch");
    expect_refused(*state, "sub.api.example", TLS_FILE_CA, TLS_FILE_GOOD, "hostname mismatch");
}

static void b39_a_common_name_alone_is_no_name(void **state)
{
    expect_refused(*state, NULL, TLS_FILE_CA, TLS_FILE_COMMON_NAME, "hostname mismatch");
}

static void b39_a_star_stands_for_one_label(void **state)
{
    expect_good(*state, "a.wild.example", TLS_FILE_CA, TLS_FILE_GOOD);
    expect_refused(*state, "a.b.wild.example", TLS_FILE_CA, TLS_FILE_GOOD, "hostname mismatch");
    expect_refused(*state, "wild.example", TLS_FILE_CA, TLS_FILE_GOOD, "hostname mismatch");
}

static void b39_a_self_signed_certificate_is_refused(void **state)
{
    expect_refused(*state, NULL, TLS_FILE_CA, TLS_FILE_SELF_SIGNED, "self-signed");
}

static void b39_a_self_signed_certificate_can_be_pinned(void **state)
{
    expect_good(*state, NULL, TLS_FILE_SELF_SIGNED, TLS_FILE_SELF_SIGNED);
    expect_good(*state, NULL, TLS_FILE_GOOD, TLS_FILE_GOOD);
    expect_refused(*state, "other.example", TLS_FILE_GOOD, TLS_FILE_GOOD, "hostname mismatch");
}

static void b39_another_ca_is_refused(void **state)
{
    expect_refused(*state, NULL, TLS_FILE_CA, TLS_FILE_BY_OTHER_CA, "unable to get local issuer");
}

static void b39_an_address_must_be_in_the_certificate(void **state)
{
    expect_good(*state, "192.0.2.1", TLS_FILE_CA, TLS_FILE_ADDRESS);
    expect_good(*state, "[2001:db8::1]", TLS_FILE_CA, TLS_FILE_ADDRESS);
    expect_refused(*state, "192.0.2.2", TLS_FILE_CA, TLS_FILE_ADDRESS, "IP address mismatch");
    expect_refused(*state, "192.0.2.1", TLS_FILE_CA, TLS_FILE_GOOD, "IP address mismatch");
    expect_refused(*state, NULL, TLS_FILE_CA, TLS_FILE_ADDRESS, "hostname mismatch");
}

static void b39_the_systems_store_does_not_know_a_test_ca(void **state)
{
    const struct tls_fixture *f = *state;
    struct tls_pair p;
    struct err err = {0};
    tls_pair_init(&p, f, NULL, TLS_FILE_CA, TLS_FILE_GOOD);
    tls_context_destroy(p.client_context);
    const struct tls_client_config client = {.host = STR(TLS_HOST)};
    assert_int_equal(tls_context_create_client(&client, &p.client_context, &err), 0);
    tls_pair_connect(&p);
    tls_pair_pump(&p, SIZE_MAX);
    assert_int_equal(tls_state(p.client), TLS_FAILED);
    tls_pair_deinit(&p);
}

static void a_name_is_sent_and_an_address_is_not(void **state)
{
    const struct tls_fixture *f = *state;
    struct tls_pair p;
    tls_pair_init(&p, f, "[2001:db8::1]", TLS_FILE_CA, TLS_FILE_ADDRESS);
    tls_pair_open(&p);
    assert_null(SSL_get_servername(p.server->ssl, TLSEXT_NAMETYPE_host_name));
    tls_pair_deinit(&p);
    tls_pair_init(&p, f, "api.example.", TLS_FILE_CA, TLS_FILE_GOOD);
    tls_pair_open(&p);
    assert_string_equal(SSL_get_servername(p.server->ssl, TLSEXT_NAMETYPE_host_name),
                        "api.example");
    tls_pair_deinit(&p);
}

static void make_mutual(struct tls_pair *p, const struct tls_fixture *f, enum tls_file shown)
{
    struct err err = {0};
    tls_pair_init(p, f, NULL, TLS_FILE_CA, TLS_FILE_GOOD);
    tls_context_destroy(p->server_context);
    const struct tls_server_config server = {.cert_file = f->cert[TLS_FILE_GOOD],
                                             .key_file = f->key[TLS_FILE_GOOD],
                                             .client_ca_file = f->cert[TLS_FILE_CA]};
    assert_int_equal(tls_context_create_server(&server, &p->server_context, &err), 0);
    if (shown == TLS_FILES)
        return;
    tls_context_destroy(p->client_context);
    const struct tls_client_config client = {.host = STR(TLS_HOST),
                                             .ca_file = f->cert[TLS_FILE_CA],
                                             .client_cert_file = f->cert[shown],
                                             .client_key_file = f->key[shown]};
    assert_int_equal(tls_context_create_client(&client, &p->client_context, &err), 0);
}

static void a_client_certificate_is_shown_when_asked_for(void **state)
{
    struct tls_pair p;
    make_mutual(&p, *state, TLS_FILE_CLIENT);
    tls_pair_open(&p);
    X509 *shown = SSL_get1_peer_certificate(p.server->ssl);
    assert_non_null(shown);
    X509_free(shown);
    tls_pair_deinit(&p);
}

static void a_client_without_a_good_certificate_is_refused(void **state)
{
    const enum tls_file shown[] = {TLS_FILES, TLS_FILE_BY_OTHER_CA, TLS_FILE_EXPIRED};
    for (size_t i = 0; i < sizeof(shown) / sizeof(shown[0]); i++) {
        struct tls_pair p;
        struct err err = {0};
        make_mutual(&p, *state, shown[i]);
        tls_pair_connect(&p);
        tls_pair_pump(&p, SIZE_MAX);
        assert_int_equal(tls_state(p.server), TLS_FAILED);
        assert_int_equal(tls_state(p.client), TLS_FAILED); /* Told after its own handshake. */
        assert_int_equal(tls_error(p.client, &err), ERR_TLS);
        assert_non_null(strstr(err.message, "alert"));
        tls_pair_deinit(&p);
    }
}

static void write_text(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void expect_bad_client(struct tls_client_config config, const char *named)
{
    struct tls_context *c = NULL;
    struct err err = {0};
    assert_int_equal(tls_context_create_client(&config, &c, &err), ERR_INVALID);
    assert_null(c);
    assert_non_null(strstr(err.message, named));
}

static void files_that_do_not_serve_are_named(void **state)
{
    const struct tls_fixture *f = *state;
    struct tls_context *c = NULL;
    struct err err = {0};
    char junk[TLS_PATH_BYTES];
    (void)snprintf(junk, sizeof(junk), "%s/junk", f->dir);
    write_text(junk, "-----BEGIN CERTIFICATE-----\njunk\n-----END CERTIFICATE-----\n");
    const struct str host = STR(TLS_HOST);
    expect_bad_client((struct tls_client_config){.host = host, .ca_file = "/nowhere/ca.pem"},
                      "/nowhere/ca.pem");
    expect_bad_client((struct tls_client_config){.host = host, .ca_file = junk}, junk);
    write_text(junk, "");
    expect_bad_client((struct tls_client_config){.host = host, .ca_file = junk}, junk);
    expect_bad_client(
        (struct tls_client_config){.host = host, .client_cert_file = f->cert[TLS_FILE_CLIENT]},
        "needs its key");
    expect_bad_client((struct tls_client_config){.host = host,
                                                 .client_cert_file = f->cert[TLS_FILE_CLIENT],
                                                 .client_key_file = f->key[TLS_FILE_GOOD]},
                      "private key");
    expect_bad_client((struct tls_client_config){.host = host,
                                                 .client_cert_file = "/nowhere/c",
                                                 .client_key_file = f->key[TLS_FILE_GOOD]},
                      "/nowhere/c");
    expect_bad_client((struct tls_client_config){.host = STR_NULL}, "host");
    expect_bad_client((struct tls_client_config){.host = {.data = "a\0b", .len = 3}}, "host");
    const struct tls_server_config server = {.cert_file = f->cert[TLS_FILE_GOOD],
                                             .key_file = f->key[TLS_FILE_CA]};
    assert_int_equal(tls_context_create_server(&server, &c, &err), ERR_INVALID);
    assert_null(c);
    assert_int_equal(unlink(junk), 0);
}

/* PKCS #8 (RFC 5958) that needs a passphrase; asking for it on a terminal would hang a server. */
static void a_key_with_a_passphrase_is_refused_without_asking(void **state)
{
    const struct tls_fixture *f = *state;
    char path[TLS_PATH_BYTES];
    (void)snprintf(path, sizeof(path), "%s/locked", f->dir);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    EVP_PKEY *key = EVP_EC_gen("P-256");
    assert_int_equal(PEM_write_PrivateKey(file, key, EVP_aes_128_cbc(),
                                          (const unsigned char *)"secret", 6, NULL, NULL),
                     1);
    EVP_PKEY_free(key);
    assert_int_equal(fclose(file), 0);
    expect_bad_client((struct tls_client_config){.host = STR(TLS_HOST),
                                                 .client_cert_file = f->cert[TLS_FILE_CLIENT],
                                                 .client_key_file = path},
                      path);
    assert_int_equal(unlink(path), 0);
}

static void contexts_share_a_trust_store_until_its_file_changes(void **state)
{
    const struct tls_fixture *f = *state;
    char path[TLS_PATH_BYTES];
    struct tls_trust *stores[4] = {0};
    (void)snprintf(path, sizeof(path), "%s/changing", f->dir);
    assert_int_equal(link(f->cert[TLS_FILE_CA], path), 0);
    assert_int_equal(tls_trust_get(path, &stores[0], NULL), 0);
    assert_int_equal(tls_trust_get(path, &stores[1], NULL), 0);
    assert_ptr_equal(stores[0], stores[1]);
    assert_int_equal(tls_trust_get(f->cert[TLS_FILE_CA], &stores[2], NULL), 0);
    assert_ptr_not_equal(stores[0], stores[2]);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(link(f->cert[TLS_FILE_OTHER_CA], path), 0);
    assert_int_equal(tls_trust_get(path, &stores[3], NULL), 0);
    assert_ptr_not_equal(stores[0], stores[3]);
    for (size_t i = 0; i < 4; i++)
        tls_trust_put(stores[i]);
    assert_int_equal(unlink(path), 0);
    struct tls_trust *first = NULL;
    struct tls_trust *second = NULL;
    assert_int_equal(tls_trust_get(NULL, &first, NULL), 0);
    assert_int_equal(tls_trust_get(NULL, &second, NULL), 0);
    assert_ptr_equal(first, second);
    tls_trust_put(first);
    tls_trust_put(second);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(b39_a_certificate_of_the_trusted_ca_is_accepted),
        cmocka_unit_test(b39_an_expired_certificate_is_refused),
        cmocka_unit_test(b39_a_certificate_that_is_not_yet_valid_is_refused),
        cmocka_unit_test(b39_a_certificate_for_another_name_is_refused),
        cmocka_unit_test(b39_a_common_name_alone_is_no_name),
        cmocka_unit_test(b39_a_star_stands_for_one_label),
        cmocka_unit_test(b39_a_self_signed_certificate_is_refused),
        cmocka_unit_test(b39_a_self_signed_certificate_can_be_pinned),
        cmocka_unit_test(b39_another_ca_is_refused),
        cmocka_unit_test(b39_an_address_must_be_in_the_certificate),
        cmocka_unit_test(b39_the_systems_store_does_not_know_a_test_ca),
        cmocka_unit_test(a_name_is_sent_and_an_address_is_not),
        cmocka_unit_test(a_client_certificate_is_shown_when_asked_for),
        cmocka_unit_test(a_client_without_a_good_certificate_is_refused),
        cmocka_unit_test(files_that_do_not_serve_are_named),
        cmocka_unit_test(a_key_with_a_passphrase_is_refused_without_asking),
        cmocka_unit_test(contexts_share_a_trust_store_until_its_file_changes),
    };
    return cmocka_run_group_tests(tests, tls_fixture_set_up, tls_fixture_tear_down);
}
