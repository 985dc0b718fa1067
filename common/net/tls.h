/* tls.h: TLS 1.2 and 1.3 (RFC 5246, RFC 8446) as a pure engine over OpenSSL: bytes in, bytes out,
 * no socket and no loop. The one module with the tls_*.c files that sees OpenSSL's TLS; its users
 * do not.
 *
 * struct tls_context: one per origin (client) or listener (server): trust, certificate, the name
 * that is verified, tickets for resumption. struct tls: one connection.
 *
 * A client always verifies: chain to the CA file or the system's store, dates, and the host's name
 * or address in the certificate's subjectAltName (RFC 9525; the common name does not count). There
 * is no switch to skip that (RELIABILITY B39). No renegotiation, no compression, no early data.
 *
 * A context and its connections belong to one thread. Contexts of all threads share the parsed
 * trust stores. */
#ifndef STEELYARD_COMMON_NET_TLS_H
#define STEELYARD_COMMON_NET_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/str.h"

struct tls_context;
struct tls;

/* Optional, process-wide, before threads exist and before anything used OpenSSL (libcurl does, in
 * fetch_global_init): its memory is then taken through mem.h, so that the byte ledger sees it, and
 * each thread keeps two buffers for its next records. ERR_CONFLICT: too late, nothing changed.
 * ERR_NOMEM. */
int tls_global_init(void) MUST_CHECK;

/* Read during tls_context_create_client. Files are PEM. */
struct tls_client_config {
    struct str host; /* Name or address (also in brackets): verified, and sent as SNI if a name. */
    const char *ca_file;          /* NULL: the system's store. */
    const char *client_cert_file; /* Chain; both or neither. */
    const char *client_key_file;
};
/* ERR_INVALID with a message: files that cannot be read or do not fit each other, a bad host.
 * ERR_NOMEM. */
int tls_context_create_client(const struct tls_client_config *config,
                              struct tls_context **out_context, struct err *err) MUST_CHECK;

struct tls_server_config {
    const char *cert_file; /* Chain. */
    const char *key_file;
    const char
        *client_ca_file; /* Clients must show a certificate of these; NULL: they need none. */
    struct str protocol; /* ALPN: the one protocol spoken; STR_NULL: http/1.1. A client that offers
                          * others only is refused; one that offers none is not. */
};
int tls_context_create_server(const struct tls_server_config *config,
                              struct tls_context **out_context, struct err *err) MUST_CHECK;
/* Its connections must have been destroyed. NULL is allowed. */
void tls_context_destroy(struct tls_context *c);

struct tls_context_stats {
    uint64_t handshakes; /* Completed. */
    uint64_t resumed;    /* Of those. */
    uint64_t failures;
    uint32_t tickets; /* Kept now. */
};
struct tls_context_stats tls_context_stats(const struct tls_context *c);

/* HANDSHAKING -> OPEN -> CLOSED | CUT | FAILED; HANDSHAKING -> CUT | FAILED. */
enum tls_state {
    TLS_HANDSHAKING,
    TLS_OPEN,
    TLS_CLOSED, /* The peer said close_notify: what came before it is all there was. */
    TLS_CUT,    /* The transport ended without it. */
    TLS_FAILED, /* tls_error says why. */
};

struct tls *tls_create(struct tls_context *c); /* NULL: out of memory. */
void tls_destroy(struct tls *t);               /* NULL is allowed. */

enum tls_state tls_state(const struct tls *t);
bool tls_resumed(const struct tls *t); /* Once OPEN. */
/* Fills err with ERR_TLS and why it FAILED, "certificate: certificate has expired" for instance;
 * at most 256 bytes, no bytes of the peer's in it. Returns ERR_TLS; 0 and an untouched err when it
 * did not fail. */
int tls_error(const struct tls *t, struct err *err);

/* `out` below: cipher bytes for the peer are appended to it. It is the caller's, and only used
 * during the call; send it after each call that left something in it, also after an error (it may
 * hold the alert). One buffer can serve all connections of a loop. */

/* Once, first. Client: appends its hello. ERR_TLS, ERR_NOMEM, ERR_TOO_LARGE: FAILED. */
int tls_start(struct tls *t, struct buf *out) MUST_CHECK;

/* Takes cipher bytes from the front of io_cipher and writes what they hold to plain.
 * *out_plain_bytes is always written, with an error as well: the bytes before the fault are good.
 * Everything was taken unless plain is full: while *out_plain_bytes == plain_bytes, call again
 * (with what is left, which may be empty), before anything else arrives. During the handshake
 * no plain bytes come but with the record that ends it; watch tls_state. After close_notify the
 * rest is dropped.
 * ERR_TLS: FAILED. ERR_NOMEM, ERR_TOO_LARGE (out is full): FAILED as well. ERR_CLOSED: the state
 * was not HANDSHAKING or OPEN before. */
int tls_feed(struct tls *t, struct str *io_cipher, char *plain, size_t plain_bytes,
             size_t *out_plain_bytes, struct buf *out) MUST_CHECK;
/* The transport ended. OPEN and HANDSHAKING become CUT. */
void tls_feed_end(struct tls *t);

/* Appends the pieces, in as few records as they fit: small ones are gathered, so a head and a body
 * in parts are one record. All or nothing: ERR_TOO_LARGE (out's maximum) and ERR_NOMEM leave
 * connection and out as they were. ERR_AGAIN: still HANDSHAKING. ERR_CLOSED: not OPEN, or after
 * tls_close. ERR_TLS: FAILED. */
int tls_write(struct tls *t, const struct str *pieces, size_t count, struct buf *out) MUST_CHECK;
/* Upper bound of what tls_write appends for so many plain bytes. */
size_t tls_cipher_bytes_max(size_t plain_bytes);
/* Appends close_notify, once; fine in any state (then it appends nothing). What the peer still
 * sends can be fed. ERR_NOMEM, ERR_TOO_LARGE: not appended; closing the socket then looks cut. */
int tls_close(struct tls *t, struct buf *out) MUST_CHECK;

/* For logs: "TLSv1.3", "TLS_AES_128_GCM_SHA256"; static; "" before OPEN. */
const char *tls_version(const struct tls *t);
const char *tls_cipher(const struct tls *t);

#endif
