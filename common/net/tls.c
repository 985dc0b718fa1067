/* One connection. Usual path: tls_start gives the hello; each tls_feed lets OpenSSL read what
 * arrived, first to shake hands and then record by record, straight into the caller's scratch;
 * tls_write seals pieces into the caller's buffer. OpenSSL is only asked to read when there is
 * something to read, so a call costs no futile attempt. Ways it fails: OpenSSL refuses what the
 * peer sent (FAILED, the alert is in out), or out takes no more (FAILED as well, because OpenSSL
 * cannot take a record back). tls_write asks for the room first, so that a full buffer there
 * changes nothing. */
#include "common/net/tls.h"

#include <assert.h>
#include <openssl/err.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/net/tls_internal.h"

/* Header 5, explicit nonce or IV 16, MAC 48, padding 16, content type 1: every suite fits. */
#define RECORD_OVERHEAD_BYTES_MAX 86U
#define RECORD_PLAIN_BYTES        16384U /* RFC 8446 section 5.1. */
#define ALERT_BYTES_MAX           (2U + RECORD_OVERHEAD_BYTES_MAX)

static const char protocol_name[] = "http/1.1";

/* ---- around every call into OpenSSL ---- */

static void enter(struct tls *t, struct str in, struct buf *out)
{
    t->in = in;
    t->out = out;
    t->out_status = 0;
}

static void leave(struct tls *t)
{
    t->in = STR_NULL;
    t->out = NULL;
}

static int fail_for(struct tls *t, enum tls_fault fault, unsigned long code)
{
    t->state = TLS_FAILED;
    t->fault = fault;
    t->fault_code = code;
    t->context->stats.failures++;
    ERR_clear_error();
    return ERR_TLS;
}

/* OpenSSL gave up; `code` is why. */
static int fail(struct tls *t, unsigned long code)
{
    const long verified = SSL_get_verify_result(t->ssl);
    if (t->out_status != 0) {
        (void)fail_for(t, TLS_FAULT_LIBRARY, 0);
        return t->out_status;
    }
    if (ERR_GET_REASON(code) == ERR_R_MALLOC_FAILURE) {
        (void)fail_for(t, TLS_FAULT_LIBRARY, code);
        return ERR_NOMEM;
    }
    if (ERR_GET_LIB(code) == ERR_LIB_SSL &&
        ERR_GET_REASON(code) == SSL_R_CERTIFICATE_VERIFY_FAILED && verified != X509_V_OK)
        return fail_for(t, TLS_FAULT_CERTIFICATE, (unsigned long)verified);
    return fail_for(t, TLS_FAULT_LIBRARY, code);
}

/* ---- life ---- */

static bool set_up(struct tls *t)
{
    struct tls_context *c = t->context;
    BIO *bio = tls_bio_create(c->bio_method, t);
    if (bio == NULL)
        return false;
    SSL_set_bio(t->ssl, bio, bio); /* Owns it now. */
    if (SSL_set_app_data(t->ssl, t) != 1)
        return false;
    if (c->server) {
        SSL_set_accept_state(t->ssl);
        return true;
    }
    SSL_set_connect_state(t->ssl);
    if (c->name != NULL && SSL_set_tlsext_host_name(t->ssl, c->name) != 1)
        return false;
    SSL_SESSION *ticket = tls_context_take_ticket(c);
    if (ticket != NULL) {
        (void)SSL_set_session(t->ssl, ticket); /* Without it the handshake is a full one. */
        SSL_SESSION_free(ticket);
    }
    return true;
}

struct tls *tls_create(struct tls_context *c)
{
    struct tls *t = mem_zalloc(sizeof(*t));
    if (t == NULL)
        return NULL;
    t->context = c;
    t->ssl = SSL_new(c->ssl_ctx);
    if (t->ssl != NULL && set_up(t))
        return t;
    tls_destroy(t);
    ERR_clear_error();
    return NULL;
}

void tls_destroy(struct tls *t)
{
    if (t == NULL)
        return;
    /* OpenSSL spoils the ticket of a connection that ends without close_notify, as TLS 1.0 asked
     * for; RFC 5246 section 7.2.1 no longer does. */
    if (t->ssl != NULL && t->state != TLS_FAILED && t->state != TLS_HANDSHAKING)
        SSL_set_shutdown(t->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free(t->ssl);
    mem_free(t);
}

enum tls_state tls_state(const struct tls *t)
{
    return t->state;
}

bool tls_resumed(const struct tls *t)
{
    return t->state != TLS_HANDSHAKING && SSL_session_reused(t->ssl) == 1;
}

const char *tls_version(const struct tls *t)
{
    return t->state == TLS_HANDSHAKING ? "" : SSL_get_version(t->ssl);
}

const char *tls_cipher(const struct tls *t)
{
    const SSL_CIPHER *cipher = t->state == TLS_HANDSHAKING ? NULL : SSL_get_current_cipher(t->ssl);
    return cipher != NULL ? SSL_CIPHER_get_name(cipher) : "";
}

int tls_error(const struct tls *t, struct err *err)
{
    const char *reason = NULL;
    switch (t->fault) {
    case TLS_FAULT_NONE:
        return 0;
    case TLS_FAULT_CERTIFICATE:
        return err_set(err, ERR_TLS, "certificate: %s",
                       X509_verify_cert_error_string((long)t->fault_code));
    case TLS_FAULT_PROTOCOL:
        return err_set(err, ERR_TLS, "the server chose another protocol than %s", protocol_name);
    case TLS_FAULT_LIBRARY:
        reason = ERR_reason_error_string(t->fault_code);
        break;
    }
    return err_set(err, ERR_TLS, "%s",
                   reason != NULL       ? reason
                   : t->out_status != 0 ? err_text(t->out_status)
                                        : "the connection failed");
}

/* ---- bytes in ---- */

/* The server may choose what was offered or nothing (RFC 7301 section 3.1). */
static bool protocol_is_ours(const struct tls *t)
{
    const unsigned char *chosen = NULL;
    unsigned len = 0;
    if (t->context->server)
        return true; /* The selection was made by the context. */
    SSL_get0_alpn_selected(t->ssl, &chosen, &len);
    return len == 0 ||
           (len == sizeof(protocol_name) - 1 && memcmp(chosen, protocol_name, len) == 0);
}

/* 0: go on or wait for more, by the state. */
static int shake_hands(struct tls *t)
{
    ERR_clear_error(); /* What another user of the thread left would be taken for ours. */
    int rc = SSL_do_handshake(t->ssl);
    if (rc != 1)
        /* The first entry of the queue is the cause, later ones are who noticed. */
        return SSL_get_error(t->ssl, rc) == SSL_ERROR_WANT_READ ? 0 : fail(t, ERR_peek_error());
    if (!protocol_is_ours(t))
        return fail_for(t, TLS_FAULT_PROTOCOL, 0);
    t->state = TLS_OPEN;
    t->context->stats.handshakes++;
    t->context->stats.resumed += SSL_session_reused(t->ssl) == 1;
    return 0;
}

/* Nothing came of a read. ERR_AGAIN: more cipher bytes are needed. SSL_get_error would ask OpenSSL's
 * error queue as well, and keeping that clean for it would cost each record. */
static int explain_read(struct tls *t)
{
    if (SSL_want_read(t->ssl))
        return ERR_AGAIN;
    if (!t->close_seen || t->out_status != 0)
        return fail(t, ERR_peek_last_error());
    t->state = TLS_CLOSED;
    return 0;
}

static int read_records(struct tls *t, char *plain, size_t plain_bytes, size_t *out_plain_bytes)
{
    size_t got = 0;
    int rc = 0;
    while (rc == 0 && t->state == TLS_OPEN && got < plain_bytes &&
           (t->in.len > 0 || SSL_has_pending(t->ssl) == 1)) {
        size_t n = 0;
        if (SSL_read_ex(t->ssl, plain + got, plain_bytes - got, &n) == 1)
            got += n;
        else
            rc = explain_read(t);
    }
    *out_plain_bytes = got;
    return rc == ERR_AGAIN ? 0 : rc;
}

int tls_start(struct tls *t, struct buf *out)
{
    assert(t->state == TLS_HANDSHAKING);
    if (t->context->server)
        return 0;
    enter(t, STR_NULL, out);
    int rc = shake_hands(t);
    leave(t);
    return rc;
}

int tls_feed(struct tls *t, struct str *io_cipher, char *plain, size_t plain_bytes,
             size_t *out_plain_bytes, struct buf *out)
{
    int rc = 0;
    assert(plain_bytes > 0);
    *out_plain_bytes = 0;
    if (t->state != TLS_HANDSHAKING && t->state != TLS_OPEN)
        return ERR_CLOSED;
    enter(t, *io_cipher, out);
    if (t->state == TLS_HANDSHAKING)
        rc = shake_hands(t);
    if (t->state == TLS_OPEN)
        rc = read_records(t, plain, plain_bytes, out_plain_bytes);
    *io_cipher = t->in;
    if (t->state != TLS_HANDSHAKING && t->state != TLS_OPEN)
        io_cipher->len = 0; /* Nothing after the end counts. */
    leave(t);
    return rc;
}

void tls_feed_end(struct tls *t)
{
    if (t->state == TLS_HANDSHAKING || t->state == TLS_OPEN)
        t->state = TLS_CUT;
}

/* ---- bytes out ---- */

size_t tls_cipher_bytes_max(size_t plain_bytes)
{
    /* One more for the new key that must go first when the peer asked for it (RFC 8446 section
     * 4.6.3). */
    size_t records = plain_bytes / RECORD_PLAIN_BYTES + 2;
    return plain_bytes + records * RECORD_OVERHEAD_BYTES_MAX;
}

static int seal(struct tls *t, const char *data, size_t len)
{
    size_t written = 0;
    if (len == 0)
        return 0;
    if (SSL_write_ex(t->ssl, data, len, &written) != 1)
        return fail(t, ERR_peek_last_error());
    assert(written == len); /* The room was there, so nothing made it stop half way. */
    return 0;
}

/* Fills records to the brim: whole ones out of a large piece as they are, the rest by way of
 * `record`. */
static int seal_pieces(struct tls *t, const struct str *pieces, size_t count)
{
    static _Thread_local char record[RECORD_PLAIN_BYTES];
    size_t filled = 0;
    int rc = 0;
    for (size_t i = 0; i < count && rc == 0; i++) {
        struct str s = pieces[i];
        while (s.len > 0 && rc == 0) {
            size_t n;
            if (filled == 0 && s.len >= RECORD_PLAIN_BYTES) {
                n = s.len - s.len % RECORD_PLAIN_BYTES;
                rc = seal(t, s.data, n);
            } else {
                n = s.len < sizeof(record) - filled ? s.len : sizeof(record) - filled;
                memcpy(record + filled, s.data, n);
                filled += n;
            }
            s = str_slice(s, n, s.len);
            if (filled == sizeof(record)) {
                rc = rc == 0 ? seal(t, record, filled) : rc;
                filled = 0;
            }
        }
    }
    return rc == 0 ? seal(t, record, filled) : rc;
}

int tls_write(struct tls *t, const struct str *pieces, size_t count, struct buf *out)
{
    size_t total = 0;
    if (t->state == TLS_HANDSHAKING)
        return ERR_AGAIN;
    if (t->state != TLS_OPEN || t->close_sent)
        return ERR_CLOSED;
    for (size_t i = 0; i < count; i++)
        total += pieces[i].len;
    if (total == 0)
        return 0;
    int rc = buf_reserve(out, tls_cipher_bytes_max(total));
    if (rc != 0)
        return rc;
    enter(t, STR_NULL, out);
    rc = count == 1 ? seal(t, pieces[0].data, pieces[0].len) : seal_pieces(t, pieces, count);
    leave(t);
    return rc;
}

int tls_close(struct tls *t, struct buf *out)
{
    if (t->close_sent || (t->state != TLS_OPEN && t->state != TLS_CLOSED))
        return 0;
    int rc = buf_reserve(out, ALERT_BYTES_MAX);
    if (rc != 0)
        return rc;
    enter(t, STR_NULL, out);
    t->close_sent = true;
    rc = SSL_shutdown(t->ssl) < 0 ? fail(t, ERR_peek_last_error()) : 0;
    leave(t);
    return rc;
}
