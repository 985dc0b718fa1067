/* tls_internal.h: what the files of tls share. Not for other modules.
 * tls.c: one connection; tls_context.c: contexts and tickets; tls_trust.c: trust stores; tls_bio.c:
 * the ends that OpenSSL reads from and writes to. */
#ifndef STEELYARD_COMMON_NET_TLS_INTERNAL_H
#define STEELYARD_COMMON_NET_TLS_INTERNAL_H

#include <openssl/ssl.h>

#include "common/net/tls.h"

#define TLS_TICKETS_MAX        4U /* The newest are kept. */
#define TLS_PROTOCOL_BYTES_MAX 32U

/* A parsed CA file or the system's store, shared by the contexts of all threads. */
struct tls_trust;
int tls_trust_get(const char *ca_file, struct tls_trust **out_trust, struct err *err) MUST_CHECK;
void tls_trust_put(struct tls_trust *trust); /* NULL is allowed. */
X509_STORE *tls_trust_store(const struct tls_trust *trust);

struct tls_context {
    SSL_CTX *ssl_ctx;
    bool server;
    struct tls_trust *trust;                   /* NULL: a server that asks for no certificate. */
    const BIO_METHOD *bio_method;              /* Borrowed. */
    char *name;                                /* Client: for SNI; NULL: the host is an address. */
    char protocol[TLS_PROTOCOL_BYTES_MAX + 1]; /* Server: ALPN's form, length first. */
    unsigned protocol_bytes;
    SSL_SESSION *tickets[TLS_TICKETS_MAX]; /* Oldest first. */
    struct tls_context_stats stats;
};

/* Why a connection FAILED. */
enum tls_fault { TLS_FAULT_NONE, TLS_FAULT_LIBRARY, TLS_FAULT_CERTIFICATE, TLS_FAULT_PROTOCOL };

struct tls {
    SSL *ssl;
    struct tls_context *context;
    struct str in;   /* During a call: what OpenSSL has not read yet. */
    struct buf *out; /* During a call. */
    int out_status;  /* What out said when it took no more. */
    enum tls_state state;
    enum tls_fault fault;
    bool close_sent;
    bool close_seen;
    unsigned long fault_code; /* Of OpenSSL's error queue, or of its verification. */
};

/* Both ends of a connection: reads from t->in, writes to t->out. NULL: out of memory. */
const BIO_METHOD *tls_bio_method(void);
BIO *tls_bio_create(const BIO_METHOD *method, struct tls *t);

/* The newest ticket that is still good, owned by the caller; NULL: none. */
SSL_SESSION *tls_context_take_ticket(struct tls_context *c);

/* Empties OpenSSL's queue and names its first entry: ERR_NOMEM or `status`, with the reason. */
int tls_library_error(struct err *err, int status, const char *what, const char *name);

#endif
