/* hash.h: SipHash (Aumasson and Bernstein, 2012) and CRC-32C (RFC 3720 appendix B.4). Pure. */
#ifndef STEELYARD_COMMON_BASE_HASH_H
#define STEELYARD_COMMON_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

struct siphash_key {
    uint64_t k0; /* Little endian reading of key bytes 0-7. */
    uint64_t k1;
};

struct siphash_key siphash_key_from_bytes(const uint8_t bytes[16]);
uint64_t siphash_1_3(struct siphash_key key, const void *data, size_t len);
uint64_t siphash_2_4(struct siphash_key key, const void *data, size_t len);

/* Continues from crc (0 to begin). SSE4.2 where the processor has it, same value everywhere. */
uint32_t crc32c(uint32_t crc, const void *data, size_t len);

#endif
