/* uuid.h: UUID version 7 (RFC 9562 section 5.7): time-ordered identifiers of requests. Pure but for
 * the clock and the random source of common/base. */
#ifndef STEELYARD_COMMON_CRYPTO_UUID_H
#define STEELYARD_COMMON_CRYPTO_UUID_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/err.h"
#include "common/base/hash.h"
#include "common/base/str.h"

#define UUID_TEXT_BYTES 37 /* With the NUL. */

struct uuid {
    uint8_t bytes[16];
};

/* wall_us gives the 48-bit millisecond field and, in rand_a, the fraction of it (RFC 9562 method
 * 3), so that ids of one thread sort by time. */
struct uuid uuid_v7(int64_t wall_us);
int64_t uuid_time_ms(const struct uuid *u);
void uuid_format(const struct uuid *u, char out[UUID_TEXT_BYTES]);
int uuid_parse(struct str text, struct uuid *out) MUST_CHECK; /* Canonical form, either case. */

/* A decision id that every node can check without having made it: the last 32 bits are a keyed MAC
 * (SipHash-2-4, truncated) over the rest and the owner. `owner` is the API key's numeric id. */
struct uuid uuid_v7_signed(int64_t wall_us, uint64_t owner, struct siphash_key key);
bool uuid_signed_by(const struct uuid *u, uint64_t owner, struct siphash_key key);

#endif
