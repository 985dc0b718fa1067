/* hash_internal.h: the two ways to a CRC-32C, for hash.c and the test that holds them equal. */
#ifndef STEELYARD_COMMON_BASE_HASH_INTERNAL_H
#define STEELYARD_COMMON_BASE_HASH_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

bool hash_crc32c_has_sse42(void);
uint32_t hash_crc32c_table(uint32_t crc, const void *data, size_t len);
#if defined(__x86_64__)
uint32_t hash_crc32c_sse42(uint32_t crc, const void *data, size_t len);
#endif

#endif
