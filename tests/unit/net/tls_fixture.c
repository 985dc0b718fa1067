#include "tests/unit/net/tls_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "tests/lib/fault.h"

#define SCRATCH_BYTES 32768U
#define HOUR_S        3600L

static const struct {
    enum tls_file file;
    enum tls_file issuer; /* Itself: self-signed. */
    struct certs_spec spec;
} rows[] = {
    {TLS_FILE_CA, TLS_FILE_CA, {.name = "test CA"}},
    {TLS_FILE_GOOD, TLS_FILE_CA, {.name = "good", .names = "DNS:" TLS_HOST ",DNS:*.wild.example"}},
    {TLS_FILE_EXPIRED,
     TLS_FILE_CA,
     {.name = "expired", .names = "DNS:" TLS_HOST, .valid_from_s = -HOUR_S, .valid_until_s = -1}},
    {TLS_FILE_EARLY,
     TLS_FILE_CA,
     {.name = "early", .names = "DNS:" TLS_HOST, .valid_from_s = HOUR_S}},
    {TLS_FILE_OTHER_NAME, TLS_FILE_CA, {.name = TLS_HOST, .names = "DNS:other.example"}},
    {TLS_FILE_SELF_SIGNED, TLS_FILE_SELF_SIGNED, {.name = "self", .names = "DNS:" TLS_HOST}},
    {TLS_FILE_OTHER_CA, TLS_FILE_OTHER_CA, {.name = "other CA"}},
    {TLS_FILE_BY_OTHER_CA, TLS_FILE_OTHER_CA, {.name = "foreign", .names = "DNS:" TLS_HOST}},
    {TLS_FILE_ADDRESS, TLS_FILE_CA, {.name = "address", .names = "IP:192.0.2.1,IP:2001:db8::1"}},
    {TLS_FILE_COMMON_NAME, TLS_FILE_CA, {.name = TLS_HOST}},
    {TLS_FILE_CLIENT, TLS_FILE_CA, {.name = "client", .names = "DNS:node.example"}},
};

int tls_fixture_set_up(void **state)
{
    struct tls_fixture *f = mem_zalloc(sizeof(*f));
    struct certs certs[TLS_FILES] = {0};
    const char *base = getenv("TMPDIR");
    assert_non_null(f);
    char dir[sizeof(f->dir)];
    int n = snprintf(dir, sizeof(dir), "%s/steelyard-tls-XXXXXX", base != NULL ? base : "/tmp");
    assert_true(n > 0 && (size_t)n < sizeof(dir));
    assert_non_null(mkdtemp(dir));
    memcpy(f->dir, dir, sizeof(dir));
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        enum tls_file file = rows[i].file;
        const struct certs *issuer = rows[i].issuer != file ? &certs[rows[i].issuer] : NULL;
        (void)snprintf(f->cert[file], TLS_PATH_BYTES, "%s/%d.crt", dir, (int)file);
        (void)snprintf(f->key[file], TLS_PATH_BYTES, "%s/%d.key", dir, (int)file);
        certs[file] = certs_make(issuer, &rows[i].spec);
        certs_write(&certs[file], f->cert[file], f->key[file]);
    }
    for (size_t i = 0; i < TLS_FILES; i++)
        certs_free(&certs[i]);
    *state = f;
    return 0;
}

int tls_fixture_tear_down(void **state)
{
    struct tls_fixture *f = *state;
    for (size_t i = 0; i < TLS_FILES; i++) {
        (void)unlink(f->cert[i]);
        (void)unlink(f->key[i]);
    }
    (void)rmdir(f->dir);
    mem_free(f);
    return 0;
}

void tls_pair_init(struct tls_pair *p, const struct tls_fixture *f, const char *host,
                   enum tls_file ca, enum tls_file own)
{
    struct err err = {0};
    const struct tls_client_config client = {.host = str_from(host != NULL ? host : TLS_HOST),
                                             .ca_file = f->cert[ca]};
    const struct tls_server_config server = {.cert_file = f->cert[own], .key_file = f->key[own]};
    memset(p, 0, sizeof(*p));
    p->files = f;
    buf_init(&p->to_server, 4U << 20);
    buf_init(&p->to_client, 4U << 20);
    buf_init(&p->client_got, 4U << 20);
    buf_init(&p->server_got, 4U << 20);
    assert_int_equal(tls_context_create_client(&client, &p->client_context, &err), 0);
    assert_int_equal(tls_context_create_server(&server, &p->server_context, &err), 0);
}

void tls_pair_disconnect(struct tls_pair *p)
{
    tls_destroy(p->client);
    tls_destroy(p->server);
    p->client = NULL;
    p->server = NULL;
    p->client_status = 0;
    p->server_status = 0;
    buf_clear(&p->to_server);
    buf_clear(&p->to_client);
    buf_clear(&p->client_got);
    buf_clear(&p->server_got);
}

void tls_pair_deinit(struct tls_pair *p)
{
    tls_pair_disconnect(p);
    tls_context_destroy(p->client_context);
    tls_context_destroy(p->server_context);
    buf_deinit(&p->to_server);
    buf_deinit(&p->to_client);
    buf_deinit(&p->client_got);
    buf_deinit(&p->server_got);
}

void tls_pair_connect(struct tls_pair *p)
{
    tls_pair_disconnect(p);
    p->client = tls_create(p->client_context);
    p->server = tls_create(p->server_context);
    assert_non_null(p->client);
    assert_non_null(p->server);
    assert_int_equal(tls_start(p->server, &p->to_client), 0);
    assert_int_equal(tls_start(p->client, &p->to_server), 0);
    assert_true(p->to_server.len > 0);
}

static int feed(struct tls *t, struct buf *from, struct buf *got, struct buf *out,
                size_t piece_bytes)
{
    static char plain[SCRATCH_BYTES];
    struct str in = {.data = from->data, .len = from->len < piece_bytes ? from->len : piece_bytes};
    const size_t given = in.len;
    int rc = 0;
    size_t n = sizeof(plain);
    while (rc == 0 && n == sizeof(plain)) {
        rc = tls_feed(t, &in, plain, sizeof(plain), &n, out);
        assert_int_equal(buf_append(got, plain, n), 0);
    }
    assert_int_equal(rc == ERR_CLOSED ? 0 : in.len, 0);
    buf_consume(from, given);
    return rc;
}

int tls_pair_feed_client(struct tls_pair *p, size_t piece_bytes)
{
    int rc = feed(p->client, &p->to_client, &p->client_got, &p->to_server, piece_bytes);
    if (p->client_status == 0)
        p->client_status = rc;
    return rc;
}

int tls_pair_feed_server(struct tls_pair *p, size_t piece_bytes)
{
    int rc = feed(p->server, &p->to_server, &p->server_got, &p->to_client, piece_bytes);
    if (p->server_status == 0)
        p->server_status = rc;
    return rc;
}

void tls_pair_pump(struct tls_pair *p, size_t piece_bytes)
{
    while (p->to_server.len > 0 || p->to_client.len > 0) {
        if (p->to_server.len > 0)
            (void)tls_pair_feed_server(p, piece_bytes);
        if (p->to_client.len > 0)
            (void)tls_pair_feed_client(p, piece_bytes);
    }
}

void tls_pair_open(struct tls_pair *p)
{
    tls_pair_connect(p);
    tls_pair_pump(p, SIZE_MAX);
    assert_int_equal(tls_state(p->client), TLS_OPEN);
    assert_int_equal(tls_state(p->server), TLS_OPEN);
}

void tls_pair_say(struct tls *from, const char *text, struct buf *out)
{
    const struct str piece = str_from(text);
    assert_int_equal(tls_write(from, &piece, 1, out), 0);
}
