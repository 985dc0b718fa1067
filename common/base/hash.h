/* hash.h: SipHash (Aumasson and Bernstein, 2012), a keyed hash of long texts, and CRC-32C (RFC 3720
 * appendix B.4). Pure. */
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

/* What a long text is told apart by: equal texts have equal hashes everywhere the key is the same,
 * and two different texts collide with a probability of about 2^-63 whoever chose them, as long as
 * the key is secret (docs/decisions/0104). About four times as fast as SipHash; not SipHash. */
#define HASH_TEXT_CHUNK_BYTES 1024U
struct hash_text_key { /* Private fields. */
    uint32_t nh[HASH_TEXT_CHUNK_BYTES / 4 + 2];
    struct siphash_key finish;
};
void hash_text_key_init(struct hash_text_key *key, struct siphash_key secret);
uint64_t hash_text(const struct hash_text_key *key, const void *data, size_t len);

/* Continues from crc (0 to begin). SSE4.2 where the processor has it, same value everywhere. */
uint32_t crc32c(uint32_t crc, const void *data, size_t len);

#endif
