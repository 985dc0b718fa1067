/* Bytes of a peer that is not one of ours, cut where the first bytes say: a client after its hello,
 * or a server; with a scratch of a few bytes or a large one. Whatever comes, the engine takes all
 * of it, says so in its state and never gives more than the scratch holds. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/net/tls.h"
#include "tests/lib/certs.h"

#define PATH_BYTES 64
#define HEAD_BYTES 3U /* Role, piece, scratch. */

static struct tls_context *client;
static struct tls_context *server;

static void make_contexts(void)
{
    char cert[PATH_BYTES] = "/tmp/steelyard-fuzz-crt-XXXXXX";
    char key[PATH_BYTES] = "/tmp/steelyard-fuzz-key-XXXXXX";
    const struct certs_spec spec = {.name = "test", .names = "DNS:api.example"};
    int cert_fd = mkstemp(cert);
    int key_fd = mkstemp(key);
    if (cert_fd < 0 || key_fd < 0)
        abort();
    struct certs own = certs_make(NULL, &spec);
    certs_write(&own, cert, key);
    certs_free(&own);
    const struct tls_client_config client_config = {.host = STR("api.example"), .ca_file = cert};
    const struct tls_server_config server_config = {.cert_file = cert, .key_file = key};
    if (tls_context_create_client(&client_config, &client, NULL) != 0 ||
        tls_context_create_server(&server_config, &server, NULL) != 0)
        abort();
    (void)close(cert_fd);
    (void)close(key_fd);
    (void)unlink(cert);
    (void)unlink(key);
}

static int feed(struct tls *t, struct str piece, size_t scratch_bytes, struct buf *out)
{
    static char scratch[256];
    size_t n = scratch_bytes;
    int rc = 0;
    while (rc == 0 && n == scratch_bytes) {
        rc = tls_feed(t, &piece, scratch, scratch_bytes, &n, out);
        assert(n <= scratch_bytes);
    }
    enum tls_state state = tls_state(t);
    assert(rc == 0 ? piece.len == 0 && state != TLS_FAILED : state != TLS_OPEN);
    return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf out;
    if (client == NULL)
        make_contexts();
    if (size < HEAD_BYTES)
        return 0;
    struct tls *t = tls_create(data[0] % 2 == 0 ? client : server);
    if (t == NULL)
        return 0;
    buf_init(&out, 1U << 20);
    size_t piece_bytes = data[1] != 0 ? data[1] : 65536U;
    size_t scratch_bytes = data[2] != 0 ? data[2] : 256U;
    int rc = tls_start(t, &out);
    for (size_t at = HEAD_BYTES; at < size && rc == 0; at += piece_bytes) {
        struct str piece = {.data = (const char *)data + at,
                            .len = size - at < piece_bytes ? size - at : piece_bytes};
        rc = tls_state(t) == TLS_HANDSHAKING || tls_state(t) == TLS_OPEN
                 ? feed(t, piece, scratch_bytes, &out)
                 : ERR_CLOSED;
    }
    tls_feed_end(t);
    assert(tls_state(t) != TLS_OPEN && tls_state(t) != TLS_HANDSHAKING);
    tls_destroy(t);
    buf_deinit(&out);
    return 0;
}
