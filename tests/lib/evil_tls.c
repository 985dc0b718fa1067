/* The upstream's side of TLS, through memory BIOs: what comes in is fed, what must go out is
 * written raw. */
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/evil.h"

static void check(bool ok)
{
    if (!ok)
        abort();
}

static int on_alpn(SSL *tls, const unsigned char **out, unsigned char *out_len,
                   const unsigned char *in, unsigned in_len, void *unused)
{
    struct evil_peer *p = SSL_get_app_data(tls);
    static const unsigned char http11[] = "\x08http/1.1";
    (void)unused;
    p->evil->alpn_http11 = in_len == 9 && memcmp(in, http11, 9) == 0;
    return SSL_select_next_proto((unsigned char **)(uintptr_t)out, out_len, http11, 9, in,
                                 in_len) == OPENSSL_NPN_NEGOTIATED
               ? SSL_TLSEXT_ERR_OK
               : SSL_TLSEXT_ERR_NOACK;
}

static int on_name(SSL *tls, int *alert, void *unused)
{
    struct evil_peer *p = SSL_get_app_data(tls);
    (void)alert;
    (void)unused;
    (void)str_copy(str_from(SSL_get_servername(tls, TLSEXT_NAMETYPE_host_name)), p->evil->sni,
                   sizeof(p->evil->sni));
    return SSL_TLSEXT_ERR_OK;
}

SSL_CTX *evil_tls_context(const struct certs *who, int min_version, int max_version,
                          const char *client_ca)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    check(ctx != NULL && SSL_CTX_use_certificate(ctx, who->cert) == 1);
    check(SSL_CTX_use_PrivateKey(ctx, who->key) == 1);
    check(SSL_CTX_set_min_proto_version(ctx, min_version) == 1);
    check(SSL_CTX_set_max_proto_version(ctx, max_version) == 1);
    if (max_version != 0 && max_version < TLS1_2_VERSION) /* Refused by default today. */
        check(SSL_CTX_set_cipher_list(ctx, "ALL:@SECLEVEL=0") == 1);
    check(SSL_CTX_set_session_id_context(ctx, (const unsigned char *)"evil", 4) == 1);
    SSL_CTX_set_alpn_select_cb(ctx, on_alpn, NULL);
    check(SSL_CTX_set_tlsext_servername_callback(ctx, on_name) == 1);
    if (client_ca != NULL) {
        check(SSL_CTX_load_verify_locations(ctx, client_ca, NULL) == 1);
        SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    }
    return ctx;
}

void evil_tls_open(struct evil_peer *p)
{
    p->tls = SSL_new(p->evil->tls);
    p->tls_in = BIO_new(BIO_s_mem());
    p->tls_out = BIO_new(BIO_s_mem());
    check(p->tls != NULL && p->tls_in != NULL && p->tls_out != NULL);
    SSL_set_app_data(p->tls, p);
    SSL_set_bio(p->tls, p->tls_in, p->tls_out);
    SSL_set_accept_state(p->tls);
}

static void flush(struct evil_peer *p, bool of_script)
{
    char *data = NULL;
    long len = BIO_get_mem_data(p->tls_out, &data);
    if (len > 0)
        evil_write_raw(p, (struct str){.data = data, .len = (size_t)len}, of_script);
    (void)BIO_reset(p->tls_out);
}

void evil_tls_feed(struct evil_peer *p, struct str cipher)
{
    char plain[16384];
    int n;
    ERR_clear_error();
    check(BIO_write(p->tls_in, cipher.data, (int)cipher.len) == (int)cipher.len);
    while ((n = SSL_read(p->tls, plain, sizeof(plain))) > 0)
        check(buf_append(&p->in, plain, (size_t)n) == 0);
    if (SSL_get_error(p->tls, n) == SSL_ERROR_SSL)
        p->tls_failed = true;
    p->tls_resumed = SSL_is_init_finished(p->tls) && SSL_session_reused(p->tls);
    ERR_clear_error();
    flush(p, false);
}

/* Before the handshake is done nothing can be said: scripts read first. */
void evil_tls_send(struct evil_peer *p, struct str plain)
{
    size_t done = 0;
    ERR_clear_error();
    check(plain.len == 0 || SSL_write_ex(p->tls, plain.data, plain.len, &done) == 1);
    flush(p, true);
}

void evil_tls_shut(struct evil_peer *p)
{
    (void)SSL_shutdown(p->tls);
    flush(p, false);
}
