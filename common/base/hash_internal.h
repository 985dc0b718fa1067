/* hash_internal.h: the ways to a CRC-32C and to the sums of hash_text, for the files of this folder
 * and the tests that hold them equal. */
#ifndef STEELYARD_COMMON_BASE_HASH_INTERNAL_H
#define STEELYARD_COMMON_BASE_HASH_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

bool hash_crc32c_has_sse42(void);
uint32_t hash_crc32c_table(uint32_t crc, const void *data, size_t len);
#if defined(__x86_64__)
uint32_t hash_crc32c_sse42(uint32_t crc, const void *data, size_t len);
bool hash_crc32c_has_pclmul(void); /* And SSE4.2. */
uint32_t hash_crc32c_pclmul(uint32_t crc, const void *data, size_t len);
bool hash_crc32c_has_avx512(void);
uint32_t hash_crc32c_avx512(uint32_t crc, const void *data, size_t len); /* hash_crc_avx512.c */
#endif

/* Both sums of NH over a chunk of len bytes, at most HASH_TEXT_CHUNK_BYTES, that is filled up with
 * zeros to a multiple of 32. */
typedef void (*hash_nh_fn)(const uint32_t *key, const uint8_t *chunk, size_t len,
                           uint64_t out_sums[2]);
enum hash_way { HASH_WAY_SCALAR, HASH_WAY_SSE2, HASH_WAY_AVX2, HASH_WAY_AVX512, HASH_WAYS };
hash_nh_fn hash_nh_of(enum hash_way way); /* NULL: not on this processor. */

#endif
