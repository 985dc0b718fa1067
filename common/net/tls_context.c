/* Contexts: what all connections of an origin or a listener have in common, and a client's
 * tickets. */
#include <arpa/inet.h>
#include <assert.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/net/tls_internal.h"

#define HOST_BYTES_MAX 253U

static const char http_1_1[] = "\x08http/1.1";
/* OpenSSL's own, but the smaller key first, as browsers have it: a tenth of a record's work. */
static const char suites_1_3[] = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:"
                                 "TLS_CHACHA20_POLY1305_SHA256";
static const unsigned char session_id_context[] = "steelyard";

int tls_library_error(struct err *err, int status, const char *what, const char *name)
{
    unsigned long code = ERR_peek_error();
    if (ERR_GET_REASON(code) == ERR_R_MALLOC_FAILURE)
        status = ERR_NOMEM;
    const char *reason = ERR_reason_error_string(code);
    (void)err_set(err, status, "%s%s%s%s: %s", what, name[0] != '\0' ? " '" : "", name,
                  name[0] != '\0' ? "'" : "", reason != NULL ? reason : err_text(status));
    ERR_clear_error();
    return status;
}

/* ---- tickets ---- */

static void drop_ticket(struct tls_context *c, unsigned index)
{
    SSL_SESSION_free(c->tickets[index]);
    c->stats.tickets--;
    for (unsigned i = index; i < c->stats.tickets; i++)
        c->tickets[i] = c->tickets[i + 1];
}

/* OpenSSL has a session that can be resumed; 1: it is ours now. */
static int on_new_session(SSL *ssl, SSL_SESSION *session)
{
    struct tls *t = SSL_get_app_data(ssl);
    struct tls_context *c = t->context;
    if (c->stats.tickets == TLS_TICKETS_MAX)
        drop_ticket(c, 0);
    c->tickets[c->stats.tickets++] = session;
    return 1;
}

static bool is_good(const SSL_SESSION *s)
{
    int64_t now_s = clock_wall_us() / 1000000;
    return SSL_SESSION_is_resumable(s) == 1 &&
           SSL_SESSION_get_time(s) + SSL_SESSION_get_timeout(s) > now_s;
}

SSL_SESSION *tls_context_take_ticket(struct tls_context *c)
{
    while (c->stats.tickets > 0) {
        SSL_SESSION *newest = c->tickets[c->stats.tickets - 1];
        if (!is_good(newest)) {
            drop_ticket(c, c->stats.tickets - 1);
            continue;
        }
        /* Using a ticket of TLS 1.3 twice would let an onlooker link connections (RFC 8446
         * appendix C.4); with TLS 1.2 there is often only the one. */
        if (SSL_SESSION_get_protocol_version(newest) >= TLS1_3_VERSION)
            c->stats.tickets--;
        else if (SSL_SESSION_up_ref(newest) != 1)
            return NULL;
        return newest;
    }
    return NULL;
}

/* ---- making them ---- */

/* The one alert that is an end and not a fault (RFC 8446 section 6.1). */
static void on_event(const SSL *ssl, int where, int value)
{
    struct tls *t = SSL_get_app_data(ssl);
    if (where == SSL_CB_READ_ALERT && (value & 0xff) == SSL_AD_CLOSE_NOTIFY)
        t->close_seen = true;
}

/* A key with a passphrase is refused; without this OpenSSL would ask on the terminal. */
static int on_passphrase(char *out, int size, int writing, void *arg)
{
    (void)out;
    (void)size;
    (void)writing;
    (void)arg;
    return -1;
}

static int load_own(struct tls_context *c, const char *cert_file, const char *key_file,
                    struct err *err)
{
    if (SSL_CTX_use_certificate_chain_file(c->ssl_ctx, cert_file) != 1)
        return tls_library_error(err, ERR_INVALID, "read certificate", cert_file);
    if (SSL_CTX_use_PrivateKey_file(c->ssl_ctx, key_file, SSL_FILETYPE_PEM) != 1)
        return tls_library_error(err, ERR_INVALID, "read private key", key_file);
    if (SSL_CTX_check_private_key(c->ssl_ctx) != 1)
        return tls_library_error(err, ERR_INVALID, "use private key", key_file);
    return 0;
}

static int make(bool server, struct tls_context **out_context, struct err *err)
{
    struct tls_context *c = mem_zalloc(sizeof(*c));
    if (c == NULL)
        return err_set(err, ERR_NOMEM, "no memory for a TLS context");
    c->server = server;
    c->bio_method = tls_bio_method();
    c->ssl_ctx = SSL_CTX_new(server ? TLS_server_method() : TLS_client_method());
    if (c->bio_method == NULL || c->ssl_ctx == NULL) {
        tls_context_destroy(c);
        return tls_library_error(err, ERR_NOMEM, "make a TLS context", "");
    }
    (void)SSL_CTX_set_min_proto_version(c->ssl_ctx, TLS1_2_VERSION);
    (void)SSL_CTX_set_options(c->ssl_ctx, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION |
                                              SSL_OP_CIPHER_SERVER_PREFERENCE);
    (void)SSL_CTX_set_mode(c->ssl_ctx, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_info_callback(c->ssl_ctx, on_event);
    SSL_CTX_set_default_passwd_cb(c->ssl_ctx, on_passphrase);
    *out_context = c;
    return 0;
}

static int trust(struct tls_context *c, const char *ca_file, int mode, struct err *err)
{
    int rc = tls_trust_get(ca_file, &c->trust, err);
    if (rc != 0)
        return rc;
    SSL_CTX_set1_cert_store(c->ssl_ctx, tls_trust_store(c->trust));
    SSL_CTX_set_verify(c->ssl_ctx, mode, NULL);
    return 0;
}

/* Name or address without brackets and the root's dot. */
static int copy_host(struct str host, char out[HOST_BYTES_MAX + 1], struct err *err)
{
    if (host.len >= 2 && host.data[0] == '[' && host.data[host.len - 1] == ']')
        host = str_slice(host, 1, host.len - 1);
    if (host.len > 1 && host.data[host.len - 1] == '.')
        host = str_slice(host, 0, host.len - 1);
    if (host.len == 0 || !str_copy(host, out, HOST_BYTES_MAX + 1))
        return err_set(err, ERR_INVALID, "host for TLS: not a name or address of 1 to %u bytes",
                       HOST_BYTES_MAX);
    return 0;
}

static int verify_host(struct tls_context *c, struct str host, struct err *err)
{
    char text[HOST_BYTES_MAX + 1];
    struct in6_addr address;
    X509_VERIFY_PARAM *param = SSL_CTX_get0_param(c->ssl_ctx);
    int rc = copy_host(host, text, err);
    if (rc != 0)
        return rc;
    /* An intermediate or the server's own certificate may be what the CA file pins. */
    (void)X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_PARTIAL_CHAIN);
    X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS |
                                               X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
    if (inet_pton(AF_INET, text, &address) == 1 || inet_pton(AF_INET6, text, &address) == 1) {
        if (X509_VERIFY_PARAM_set1_ip_asc(param, text) != 1)
            return tls_library_error(err, ERR_NOMEM, "verify address", text);
        return 0;
    }
    c->name = mem_strdup(text);
    if (c->name == NULL || X509_VERIFY_PARAM_set1_host(param, text, 0) != 1)
        return tls_library_error(err, ERR_NOMEM, "verify name", text);
    return 0;
}

static int set_up_client(struct tls_context *c, const struct tls_client_config *config,
                         struct err *err)
{
    int rc = verify_host(c, config->host, err);
    if (rc == 0)
        rc = trust(c, config->ca_file, SSL_VERIFY_PEER, err);
    if (rc != 0)
        return rc;
    if ((config->client_cert_file == NULL) != (config->client_key_file == NULL))
        return err_set(err, ERR_INVALID,
                       "a client certificate needs its key and a key needs its "
                       "certificate");
    if (config->client_cert_file != NULL)
        rc = load_own(c, config->client_cert_file, config->client_key_file, err);
    if (rc != 0)
        return rc;
    /* 0 means success here and only here. */
    if (SSL_CTX_set_alpn_protos(c->ssl_ctx, (const unsigned char *)http_1_1,
                                sizeof(http_1_1) - 1) != 0)
        return tls_library_error(err, ERR_NOMEM, "offer http/1.1", "");
    if (SSL_CTX_set_ciphersuites(c->ssl_ctx, suites_1_3) != 1)
        return tls_library_error(err, ERR_NOMEM, "offer cipher suites", "");
    (void)SSL_CTX_set_session_cache_mode(c->ssl_ctx, SSL_SESS_CACHE_CLIENT |
                                                         SSL_SESS_CACHE_NO_INTERNAL |
                                                         SSL_SESS_CACHE_NO_AUTO_CLEAR);
    SSL_CTX_sess_set_new_cb(c->ssl_ctx, on_new_session);
    return 0;
}

int tls_context_create_client(const struct tls_client_config *config,
                              struct tls_context **out_context, struct err *err)
{
    struct tls_context *c = NULL;
    int rc = make(false, &c, err);
    if (rc != 0)
        return rc;
    rc = set_up_client(c, config, err);
    if (rc != 0)
        tls_context_destroy(c);
    else
        *out_context = c;
    return rc;
}

/* RFC 7301 section 3.2: no protocol in common ends the handshake. */
static int on_protocols(SSL *ssl, const unsigned char **out, unsigned char *out_len,
                        const unsigned char *offered, unsigned offered_bytes, void *arg)
{
    const struct tls_context *c = arg;
    unsigned char *chosen = NULL;
    (void)ssl;
    if (SSL_select_next_proto(&chosen, out_len, (const unsigned char *)c->protocol,
                              c->protocol_bytes, offered, offered_bytes) != OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

static int set_up_server(struct tls_context *c, const struct tls_server_config *config,
                         struct err *err)
{
    struct str protocol = config->protocol.len > 0 ? config->protocol : STR("http/1.1");
    if (protocol.len >= TLS_PROTOCOL_BYTES_MAX)
        return err_set(err, ERR_INVALID, "protocol for TLS: longer than %u bytes",
                       TLS_PROTOCOL_BYTES_MAX - 1);
    c->protocol[0] = (char)protocol.len;
    memcpy(c->protocol + 1, protocol.data, protocol.len);
    c->protocol_bytes = (unsigned)protocol.len + 1;
    SSL_CTX_set_alpn_select_cb(c->ssl_ctx, on_protocols, c);
    /* Tickets hold the state: nothing is kept here for clients that come back. */
    (void)SSL_CTX_set_session_cache_mode(c->ssl_ctx, SSL_SESS_CACHE_OFF);
    (void)SSL_CTX_set_session_id_context(c->ssl_ctx, session_id_context,
                                         sizeof(session_id_context) - 1);
    int rc = load_own(c, config->cert_file, config->key_file, err);
    if (rc != 0 || config->client_ca_file == NULL)
        return rc;
    rc = trust(c, config->client_ca_file, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, err);
    if (rc != 0)
        return rc;
    STACK_OF(X509_NAME) *names = SSL_load_client_CA_file(config->client_ca_file);
    if (names == NULL)
        return tls_library_error(err, ERR_INVALID, "read certificates", config->client_ca_file);
    SSL_CTX_set_client_CA_list(c->ssl_ctx, names);
    return 0;
}

int tls_context_create_server(const struct tls_server_config *config,
                              struct tls_context **out_context, struct err *err)
{
    struct tls_context *c = NULL;
    int rc = make(true, &c, err);
    if (rc != 0)
        return rc;
    rc = set_up_server(c, config, err);
    if (rc != 0)
        tls_context_destroy(c);
    else
        *out_context = c;
    return rc;
}

void tls_context_destroy(struct tls_context *c)
{
    if (c == NULL)
        return;
    while (c->stats.tickets > 0)
        drop_ticket(c, c->stats.tickets - 1);
    SSL_CTX_free(c->ssl_ctx);
    tls_trust_put(c->trust);
    mem_free(c->name);
    mem_free(c);
}

struct tls_context_stats tls_context_stats(const struct tls_context *c)
{
    return c->stats;
}
