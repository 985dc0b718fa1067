/* tls_fixture.h: certificates in files of a directory of their own, and a client and a server
 * engine that are joined by two buffers. */
#ifndef STEELYARD_TESTS_UNIT_NET_TLS_FIXTURE_H
#define STEELYARD_TESTS_UNIT_NET_TLS_FIXTURE_H

#include "common/net/tls.h"
#include "tests/lib/certs.h"

#define TLS_PATH_BYTES 128
#define TLS_HOST       "api.example"

enum tls_file {
    TLS_FILE_CA,
    TLS_FILE_GOOD, /* TLS_HOST and *.wild.example, signed by the CA. */
    TLS_FILE_EXPIRED,
    TLS_FILE_EARLY,
    TLS_FILE_OTHER_NAME,
    TLS_FILE_SELF_SIGNED, /* TLS_HOST. */
    TLS_FILE_OTHER_CA,
    TLS_FILE_BY_OTHER_CA, /* TLS_HOST. */
    TLS_FILE_ADDRESS,     /* 192.0.2.1 and 2001:db8::1, no name. */
    TLS_FILE_COMMON_NAME, /* TLS_HOST as its common name alone. */
    TLS_FILE_CLIENT,
    TLS_FILES,
};

struct tls_fixture {
    char dir[TLS_PATH_BYTES / 2];
    char cert[TLS_FILES][TLS_PATH_BYTES];
    char key[TLS_FILES][TLS_PATH_BYTES];
};

/* Group set-up and tear-down; the state is a struct tls_fixture. */
int tls_fixture_set_up(void **state);
int tls_fixture_tear_down(void **state);

struct tls_pair {
    const struct tls_fixture *files;
    struct tls_context *client_context;
    struct tls_context *server_context;
    struct tls *client;
    struct tls *server;
    struct buf to_server; /* Cipher bytes on their way. */
    struct buf to_client;
    struct buf client_got; /* Plain bytes that arrived. */
    struct buf server_got;
    int client_status; /* First error of each. */
    int server_status;
};

/* Contexts: client for host (NULL: TLS_HOST) trusting `ca`, server with `own`. */
void tls_pair_init(struct tls_pair *p, const struct tls_fixture *f, const char *host,
                   enum tls_file ca, enum tls_file own);
void tls_pair_deinit(struct tls_pair *p);
void tls_pair_connect(struct tls_pair *p);    /* New connections (the old are destroyed), hello. */
void tls_pair_disconnect(struct tls_pair *p); /* Destroys the connections, drops bytes under way. */
/* Feeds what is under way, at most piece_bytes at a time, until nothing moves any more. */
void tls_pair_pump(struct tls_pair *p, size_t piece_bytes);
/* One direction, once, what is there now. */
int tls_pair_feed_client(struct tls_pair *p, size_t piece_bytes);
int tls_pair_feed_server(struct tls_pair *p, size_t piece_bytes);
/* connect and pump; both must be OPEN. */
void tls_pair_open(struct tls_pair *p);
void tls_pair_say(struct tls *from, const char *text, struct buf *out);

#endif
