/* rand.h: randomness that a test can replace, and UUIDv7 (RFC 9562 section 5.7).
 * rand_secure reads the kernel's generator and is for secrets; rand_u64 is a per-thread generator
 * (xoshiro256**, seeded from the kernel) for jitter and draws that are logged. Thread-safe. */
#ifndef STEELYARD_COMMON_BASE_RAND_H
#define STEELYARD_COMMON_BASE_RAND_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/err.h"

int rand_secure(void *out, size_t len) MUST_CHECK;
uint64_t rand_u64(void);
uint64_t rand_below(uint64_t bound);  /* Uniform in [0, bound), bound > 0; no modulo bias. */
void rand_seed_thread(uint64_t seed); /* For tests and simulations: repeatable from here on. */

#endif
