/* Whom a transport talks to: B39 (certificates; no switch to ignore them) and B40 (addresses). What
 * is refused has not seen a byte of the request. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/dataplane/upstream/conform.h"

#define OK_   "HTTP/1.1 200 OK\r\n"
#define SOUND OK_ "Content-Length: 5\r\n\r\nsound"

#define HOUR_S 3600L
#define NAMES  "DNS:localhost,IP:127.0.0.1"

static char directory[] = "/tmp/sy-trust-XXXXXX";
static char ca_path[64], other_path[64], self_path[64], client_path[64], client_key_path[64];
static struct certs ca, other_ca, good, self;

static void path_of(char *out, const char *name)
{
    (void)snprintf(out, 64, "%s/%s", directory, name);
}

static void make_certificates(void)
{
    static const struct certs_spec ca_spec = {.name = "ca"};
    static const struct certs_spec other_spec = {.name = "other"};
    static const struct certs_spec spec = {.name = "localhost", .names = NAMES};
    static const struct certs_spec client_spec = {.name = "client", .names = "DNS:client"};
    assert_non_null(mkdtemp(directory));
    path_of(ca_path, "ca.pem");
    path_of(other_path, "other.pem");
    path_of(self_path, "self.pem");
    path_of(client_path, "client.pem");
    path_of(client_key_path, "client.key");
    ca = certs_make(NULL, &ca_spec);
    other_ca = certs_make(NULL, &other_spec);
    good = certs_make(&ca, &spec);
    self = certs_make(NULL, &spec);
    struct certs client = certs_make(&ca, &client_spec);
    certs_write(&ca, ca_path, NULL);
    certs_write(&other_ca, other_path, NULL);
    certs_write(&self, self_path, NULL);
    certs_write(&client, client_path, client_key_path);
    certs_free(&client);
}

static void remove_certificates(void)
{
    const char *paths[] = {ca_path, other_path, self_path, client_path, client_key_path};
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
        (void)unlink(paths[i]);
    (void)rmdir(directory);
    certs_free(&ca);
    certs_free(&other_ca);
    certs_free(&good);
    certs_free(&self);
}

/* The upstream with this certificate; ca_file: what the transport trusts. */
static void serve(struct conform *c, SSL_CTX *tls, const char *host, const char *ca_file)
{
    char url[64];
    conform_serve(c, tls);
    (void)snprintf(url, sizeof(url), "https://%s:%u", host, c->evil.port);
    conform_origin(
        c, (struct fetch_origin_config){.url = url, .allow_private = true, .ca_file = ca_file});
}

static void expect_refused(struct conform *c, const char *what, const struct certs *who,
                           const char *host, const char *ca_file)
{
    SSL_CTX *tls = evil_tls_context(who, 0, 0, NULL);
    serve(c, tls, host, ca_file);
    EVIL_SCRIPT(&c->evil, S_REQUEST, S_SEND(SOUND));
    int rc = conform_run(c, (struct fetch_request){0});
    if (rc != ERR_TLS)
        print_error("%s: %s\n", what, err_name(rc));
    assert_int_equal(rc, ERR_TLS);
    assert_int_equal(c->x.result.phase, FETCH_TLS);
    assert_false(c->x.result.request_sent);
    assert_int_equal(c->evil.requests, 0);
    assert_true(wire_run(&c->loop, conform_saw_gone, c));
    conform_serve(c, NULL);
    SSL_CTX_free(tls);
}

static void b39_certificates_that_do_not_hold_are_refused(void **state)
{
    struct conform *c = *state;
    static const struct {
        const char *what;
        struct certs_spec spec;
        const char *host;
    } rows[] = {
        {"expired",
         {.name = "localhost", .names = NAMES, .valid_from_s = -2 * HOUR_S, .valid_until_s = -1},
         "localhost"},
        {"not yet valid",
         {.name = "localhost", .names = NAMES, .valid_from_s = HOUR_S, .valid_until_s = 2 * HOUR_S},
         "localhost"},
        {"wrong name", {.name = "a", .names = "DNS:example.test"}, "localhost"},
        {"wrong name, right common name",
         {.name = "localhost", .names = "DNS:example.test"},
         "localhost"},
        {"a longer name", {.name = "a", .names = "DNS:localhost.test"}, "localhost"},
        {"a bare wildcard", {.name = "a", .names = "DNS:*"}, "localhost"},
        {"wrong address", {.name = "a", .names = "IP:127.0.0.2"}, "127.0.0.1"},
        {"an address as a name", {.name = "a", .names = "DNS:127.0.0.1"}, "127.0.0.1"},
        {"only a name", {.name = "127.0.0.1", .names = "DNS:localhost"}, "127.0.0.1"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct certs who = certs_make(&ca, &rows[i].spec);
        expect_refused(c, rows[i].what, &who, rows[i].host, ca_path);
        certs_free(&who);
    }
}

static void b39_signers_that_are_not_trusted_are_refused(void **state)
{
    struct conform *c = *state;
    static const struct certs_spec spec = {.name = "localhost", .names = NAMES};
    struct certs leaf = certs_make(&good, &spec); /* By a certificate that may not sign. */
    expect_refused(c, "self-signed", &self, "localhost", ca_path);
    expect_refused(c, "self-signed, system store", &self, "localhost", NULL);
    expect_refused(c, "unknown CA", &good, "localhost", other_path);
    expect_refused(c, "unknown CA, system store", &good, "localhost", NULL);
    expect_refused(c, "no CA in between", &leaf, "localhost", ca_path);
    certs_free(&leaf);
}

static void b39_what_holds_is_accepted(void **state)
{
    struct conform *c = *state;
    SSL_CTX *tls = evil_tls_context(&good, 0, 0, NULL);
    serve(c, tls, "localhost", ca_path);
    EVIL_SCRIPT(&c->evil, S_REQUEST, S_SEND(SOUND), S_AGAIN);
    conform_expect(c, 0, "sound");
    assert_true(c->x.result.connect_ns > 0);
    assert_string_equal(c->evil.sni, "localhost");
    assert_true(c->evil.alpn_http11);
    conform_expect(c, 0, "sound");
    assert_true(c->x.result.reused);
    serve(c, tls, "127.0.0.1", ca_path);
    EVIL_SCRIPT(&c->evil, S_REQUEST, S_SEND(SOUND), S_AGAIN);
    conform_expect(c, 0, "sound");
    assert_string_equal(c->evil.sni, ""); /* No address is a server name (RFC 6066). */
    conform_serve(c, NULL);
    SSL_CTX_free(tls);
    /* One that signed itself can be trusted by name of its own file. */
    tls = evil_tls_context(&self, 0, 0, NULL);
    serve(c, tls, "localhost", self_path);
    EVIL_SCRIPT(&c->evil, S_REQUEST, S_SEND(SOUND));
    (void)conform_run(c, (struct fetch_request){0});
    conform_serve(c, NULL);
    SSL_CTX_free(tls);
}

static void b39_old_tls_is_refused(void **state)
{
    struct conform *c = *state;
    static const int versions[] = {TLS1_VERSION, TLS1_1_VERSION};
    for (size_t i = 0; i < 2; i++) {
        SSL_CTX *tls = evil_tls_context(&good, versions[i], versions[i], NULL);
        serve(c, tls, "localhost", ca_path);
        EVIL_SCRIPT(&c->evil, S_REQUEST, S_SEND(SOUND));
        conform_expect(c, ERR_TLS, "");
        assert_int_equal(c->x.result.phase, FETCH_TLS);
        assert_int_equal(c->evil.requests, 0);
        conform_serve(c, NULL);
        SSL_CTX_free(tls);
    }
}

static void b39_tls_1_2_and_1_3_are_spoken(void **state)
{
    struct conform *c = *state;
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    for (size_t i = 0; i < 2; i++) {
        SSL_CTX *tls = evil_tls_context(&good, versions[i], versions[i], NULL);
        serve(c, tls, "localhost", ca_path);
        EVIL_SCRIPT(&c->evil, S_REQUEST, S_SEND_BY(1, SOUND), S_AGAIN);
        for (int n = 0; n < 3; n++) {
            conform_expect(c, 0, "sound");
            assert_true(c->x.result.reused == (n > 0));
        }
        conform_serve(c, NULL);
        SSL_CTX_free(tls);
    }
}

static void b39_a_peer_without_tls_is_refused(void **state)
{
    struct conform *c = *state;
    EVIL_SCRIPT(&c->evil, S_TAKE(1), S_SEND("HTTP/1.1 400 Bad Request\r\n\r\n"), S_CLOSE);
    conform_origin_at(c, "https", "127.0.0.1", c->evil.port);
    conform_expect(c, ERR_TLS, "");
    assert_false(c->x.result.request_sent);
}

static void a_handshake_that_is_cut_is_told(void **state)
{
    struct conform *c = *state;
    EVIL_SCRIPT(&c->evil, S_TAKE(1), S_CLOSE);
    EVIL_SCRIPT(&c->evil, S_TAKE(1), S_RESET);
    conform_origin_at(c, "https", "127.0.0.1", c->evil.port);
    for (int i = 0; i < 2; i++) {
        int rc = conform_run(c, (struct fetch_request){0});
        assert_true(rc == ERR_TLS || rc == ERR_CLOSED);
        assert_int_equal(c->x.result.phase, FETCH_TLS);
        assert_false(c->x.result.request_sent);
    }
}

static void sessions_are_resumed(void **state)
{
    struct conform *c = *state;
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    for (size_t i = 0; i < 2; i++) {
        SSL_CTX *tls = evil_tls_context(&good, versions[i], versions[i], NULL);
        serve(c, tls, "localhost", ca_path);
        EVIL_SCRIPT(&c->evil, S_REQUEST,
                    S_SEND(OK_ "Connection: close\r\nContent-Length: 5\r\n\r\nsound"));
        for (unsigned n = 0; n < 3; n++) {
            conform_expect(c, 0, "sound");
            assert_false(c->x.result.reused);
            assert_true(c->evil.peers[n]->tls_resumed == (n > 0));
        }
        conform_serve(c, NULL);
        SSL_CTX_free(tls);
    }
}

static void client_certificates_are_shown_where_they_are_asked_for(void **state)
{
    struct conform *c = *state;
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    for (size_t i = 0; i < 2; i++) {
        char url[64];
        SSL_CTX *tls = evil_tls_context(&good, versions[i], versions[i], ca_path);
        serve(c, tls, "localhost", ca_path);
        EVIL_SCRIPT(&c->evil, S_REQUEST, S_SEND(SOUND), S_AGAIN);
        int rc = conform_run(c, (struct fetch_request){0});
        /* Under TLS 1.3 the server's refusal comes after our side of the handshake. */
        assert_true(rc == ERR_TLS || (rc == ERR_CLOSED && i == 1));
        assert_int_equal(c->evil.requests, 0);
        (void)snprintf(url, sizeof(url), "https://localhost:%u", c->evil.port);
        conform_origin(c, (struct fetch_origin_config){.url = url,
                                                       .allow_private = true,
                                                       .ca_file = ca_path,
                                                       .client_cert_file = client_path,
                                                       .client_key_file = client_key_path});
        conform_expect(c, 0, "sound");
        conform_expect(c, 0, "sound");
        assert_true(c->x.result.reused);
        conform_serve(c, NULL);
        SSL_CTX_free(tls);
    }
    struct transport_origin *o;
    const struct fetch_origin_config half = {.url = "https://localhost:1",
                                             .client_cert_file = client_path};
    assert_int_equal(c->ops->origin_create(c->transport, &half, &o, NULL), ERR_INVALID);
}

/* Anybody on the path can end a TCP connection; only the peer can say close_notify. */
static void b33_a_body_until_the_end_must_end_with_close_notify(void **state)
{
    struct conform *c = *state;
    SSL_CTX *tls = evil_tls_context(&good, 0, 0, NULL);
    serve(c, tls, "localhost", ca_path);
    EVIL_SCRIPT(&c->evil, S_REQUEST, S_SEND(OK_ "\r\nhello"), S_TURNS(3), S_CLOSE);
    EVIL_SCRIPT(&c->evil, S_REQUEST, S_SEND(OK_ "\r\nhello"), S_TURNS(3), S_SHUT);
    conform_expect(c, conform_does(c, CONFORM_WANTS_CLOSE_NOTIFY) ? ERR_CLOSED : 0, "hello");
    conform_expect(c, 0, "hello");
    conform_serve(c, NULL);
    SSL_CTX_free(tls);
}

static void f20_stray_bytes_under_tls_spoil_the_connection(void **state)
{
    struct conform *c = *state;
    SSL_CTX *tls = evil_tls_context(&good, 0, 0, NULL);
    for (int i = 0; i < 3; i++) {
        serve(c, tls, "localhost", ca_path);
        if (i == 0)
            EVIL_SCRIPT(&c->evil, S_REQUEST, S_SEND(SOUND OK_ "Content-Length: 4\r\n\r\nevil"));
        else if (i == 1)
            EVIL_SCRIPT(&c->evil, S_REQUEST, S_SEND(SOUND), S_TURNS(3),
                        S_SEND(OK_ "Content-Length: 4\r\n\r\nevil"));
        else
            EVIL_SCRIPT(&c->evil, S_REQUEST, S_SEND(SOUND), S_TURNS(3), S_SHUT);
        EVIL_SCRIPT(&c->evil, S_REQUEST, S_SEND(SOUND));
        conform_expect(c, 0, "sound");
        wire_run_turns(&c->loop, 20);
        conform_expect(c, 0, "sound");
        assert_false(c->x.result.reused);
        assert_int_equal(c->evil.connections, 2);
    }
    conform_serve(c, NULL);
    SSL_CTX_free(tls);
}

static void files_that_cannot_be_read_are_no_way_around(void **state)
{
    struct conform *c = *state;
    struct transport_origin *o = NULL;
    SSL_CTX *tls = evil_tls_context(&good, 0, 0, NULL);
    serve(c, tls, "localhost", ca_path);
    EVIL_SCRIPT(&c->evil, S_REQUEST, S_SEND(SOUND));
    char url[64];
    (void)snprintf(url, sizeof(url), "https://localhost:%u", c->evil.port);
    const struct fetch_origin_config config = {
        .url = url, .allow_private = true, .ca_file = "/nonexistent/ca.pem"};
    conform_origin_drop(c);
    struct err err = {0};
    int rc = c->ops->origin_create(c->transport, &config, &o, &err);
    if (rc == 0) { /* Noticed only with the first connection. */
        c->origin = o;
        conform_expect(c, ERR_TLS, "");
    }
    assert_int_equal(c->evil.requests, 0);
    conform_serve(c, NULL);
    SSL_CTX_free(tls);
}

/* ---- addresses ---- */

static void expect_denied(struct conform *c, const char *url, bool allow_private)
{
    conform_origin(c, (struct fetch_origin_config){
                          .url = url, .allow_private = allow_private, .allow_http = allow_private});
    int rc = conform_run(c, (struct fetch_request){.timeouts = {.total_ms = 2000}});
    if (rc != ERR_DENIED)
        print_error("%s: %s\n", url, err_name(rc));
    assert_int_equal(rc, ERR_DENIED);
    assert_true(c->x.result.phase <= FETCH_CONNECT);
    assert_false(c->x.result.request_sent);
}

static void b40_private_addresses_are_refused_unless_allowed(void **state)
{
    struct conform *c = *state;
    char url[64];
    static const char *const hosts[] = {"127.0.0.1", "localhost", "127.1", "2130706433",
                                        "0x7f.0.0.1"};
    EVIL_SCRIPT(&c->evil, S_END);
    for (size_t i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++) {
        (void)snprintf(url, sizeof(url), "https://%s:%u", hosts[i], c->evil.port);
        expect_denied(c, url, false);
    }
    static const char *const urls[] = {
        "https://10.1.2.3",
        "https://172.16.0.1",
        "https://192.168.1.1",
        "https://100.64.0.1",
        "https://[::1]",
        "https://[fd12:3456::1]",
        "https://[::ffff:10.0.0.1]",
        "https://[64:ff9b::a00:1]",
    };
    for (size_t i = 0; i < sizeof(urls) / sizeof(urls[0]); i++)
        expect_denied(c, urls[i], false);
    wire_run_turns(&c->loop, 5);
    assert_int_equal(c->evil.connections, 0);
}

static void b40_link_local_and_metadata_addresses_are_always_refused(void **state)
{
    static const char *const urls[] = {
        "http://169.254.169.254",
        "http://169.254.1.1",
        "http://100.100.100.200",
        "http://192.0.0.192",
        "http://168.63.129.16",
        "http://0.0.0.0:80",
        "http://224.0.0.1",
        "http://255.255.255.255",
        "http://[fe80::1]",
        "http://[fd00:ec2::254]",
        "http://[::]",
        "http://[::ffff:169.254.169.254]",
        "http://[64:ff9b::a9fe:a9fe]",
        "http://2852039166", /* 169.254.169.254 as one number. */
    };
    for (size_t i = 0; i < sizeof(urls) / sizeof(urls[0]); i++)
        expect_denied(*state, urls[i], true);
}

static void b40_plain_http_goes_to_private_addresses_only(void **state)
{
    struct conform *c = *state;
    struct transport_origin *o;
    static const struct fetch_origin_config rows[] = {
        {.url = "http://127.0.0.1:1"},
        {.url = "http://127.0.0.1:1", .allow_private = true},
        {.url = "http://127.0.0.1:1", .allow_http = true},
    };
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(c->ops->origin_create(c->transport, &rows[i], &o, NULL), ERR_DENIED);
    expect_denied(c, "http://8.8.8.8:9", true);
    expect_denied(c, "http://[2606:4700::1]:9", true);
}

static void b40_names_are_bounded(void **state)
{
    struct conform *c = *state;
    struct transport_origin *o = NULL;
    char url[400];
    memset(url, 'a', sizeof(url));
    memcpy(url, "https://", 8);
    for (size_t i = 8 + 60; i < 8 + 254; i += 61)
        url[i] = '.';
    url[8 + 254] = '\0';
    const struct fetch_origin_config config = {.url = url};
    assert_int_equal(c->ops->origin_create(c->transport, &config, &o, NULL), ERR_INVALID);
}

static void a_name_that_is_none_is_not_found(void **state)
{
    struct conform *c = *state;
    conform_origin(c, (struct fetch_origin_config){.url = "https://nothing.invalid"});
    int rc = conform_run(c, (struct fetch_request){.timeouts = {.connect_ms = 8000}});
    /* Without any resolver it is unreachable or takes too long. */
    assert_true(rc == ERR_NOT_FOUND || rc == ERR_UNREACHABLE || rc == ERR_TIMEOUT);
    assert_int_equal(c->x.result.phase, FETCH_RESOLVE);
    assert_false(c->x.result.request_sent);
}

static void a_closed_port_is_refused(void **state)
{
    struct conform *c = *state;
    struct evil gone;
    evil_start(&gone, &c->loop, NULL);
    uint16_t port = gone.port;
    evil_stop(&gone);
    conform_origin_at(c, "http", "127.0.0.1", port);
    conform_expect(c, ERR_REFUSED, "");
    assert_int_equal(c->x.result.phase, FETCH_CONNECT);
    assert_false(c->x.result.request_sent);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        CONFORM(b39_certificates_that_do_not_hold_are_refused),
        CONFORM(b39_signers_that_are_not_trusted_are_refused),
        CONFORM(b39_what_holds_is_accepted),
        CONFORM(b39_old_tls_is_refused),
        CONFORM(b39_tls_1_2_and_1_3_are_spoken),
        CONFORM(b39_a_peer_without_tls_is_refused),
        CONFORM(a_handshake_that_is_cut_is_told),
        CONFORM(sessions_are_resumed),
        CONFORM(client_certificates_are_shown_where_they_are_asked_for),
        CONFORM(b33_a_body_until_the_end_must_end_with_close_notify),
        CONFORM(f20_stray_bytes_under_tls_spoil_the_connection),
        CONFORM(files_that_cannot_be_read_are_no_way_around),
        CONFORM(b40_private_addresses_are_refused_unless_allowed),
        CONFORM(b40_link_local_and_metadata_addresses_are_always_refused),
        CONFORM(b40_plain_http_goes_to_private_addresses_only),
        CONFORM(b40_names_are_bounded),
        CONFORM(a_name_that_is_none_is_not_found),
        CONFORM(a_closed_port_is_refused),
    };
    make_certificates();
    int failed = conform_main(argc, argv, tests, sizeof(tests) / sizeof(tests[0]));
    remove_certificates();
    return failed;
}
