/* digest.h: SHA-256 and the text forms of bytes (hex, base64 of RFC 4648), over OpenSSL. Pure. */
#ifndef STEELYARD_COMMON_CRYPTO_DIGEST_H
#define STEELYARD_COMMON_CRYPTO_DIGEST_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/str.h"

#define SHA256_BYTES     32
#define SHA256_HEX_BYTES 65 /* With the NUL. */

struct sha256 {
    uint8_t bytes[SHA256_BYTES];
};

struct sha256 digest_sha256(const void *data, size_t len);
/* Incremental: create, any number of updates, final (which destroys). NULL: out of memory. */
struct digest_stream *digest_stream_create(void);
void digest_stream_update(struct digest_stream *d, const void *data, size_t len);
struct sha256 digest_stream_final(struct digest_stream *d);

bool digest_equal(const void *a, const void *b, size_t len); /* Constant time. */

void hex_encode(const void *data, size_t len, char *out); /* out: 2 * len + 1 bytes, lower case. */
int hex_decode(struct str hex, void *out, size_t out_bytes) MUST_CHECK; /* Exact length. */
int base64_encode(struct str data, struct buf *out) MUST_CHECK;
int base64_decode(struct str text, struct buf *out) MUST_CHECK; /* Strict: padding, no spaces. */

#endif
