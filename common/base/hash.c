/* The variant c-d of SipHash makes c rounds a word and d at the end. */
#include "common/base/hash.h"

#include <stdbool.h>
#include <string.h>

#if defined(__x86_64__)
#include <nmmintrin.h>
#endif

#include "common/base/hash_internal.h"

static uint64_t load64le(const uint8_t *p)
{
    uint64_t v = 0;
    for (unsigned i = 0; i < 8; i++)
        v |= (uint64_t)p[i] << (8 * i); /* Compilers make one load of it. */
    return v;
}

static uint64_t rotl(uint64_t x, unsigned bits)
{
    return (x << bits) | (x >> (64 - bits));
}

struct siphash_key siphash_key_from_bytes(const uint8_t bytes[16])
{
    return (struct siphash_key){.k0 = load64le(bytes), .k1 = load64le(bytes + 8)};
}

static inline __attribute__((always_inline)) void sip_rounds(uint64_t v[4], unsigned rounds)
{
    for (unsigned i = 0; i < rounds; i++) {
        v[0] += v[1];
        v[1] = rotl(v[1], 13) ^ v[0];
        v[0] = rotl(v[0], 32);
        v[2] += v[3];
        v[3] = rotl(v[3], 16) ^ v[2];
        v[0] += v[3];
        v[3] = rotl(v[3], 21) ^ v[0];
        v[2] += v[1];
        v[1] = rotl(v[1], 17) ^ v[2];
        v[2] = rotl(v[2], 32);
    }
}

static inline __attribute__((always_inline)) uint64_t
siphash(struct siphash_key key, const void *data, size_t len, unsigned c_rounds, unsigned d_rounds)
{
    const uint8_t *p = data;
    uint64_t v[4] = {key.k0 ^ 0x736f6d6570736575U, key.k1 ^ 0x646f72616e646f6dU,
                     key.k0 ^ 0x6c7967656e657261U, key.k1 ^ 0x7465646279746573U};
    size_t words = len / 8;
    for (size_t i = 0; i < words; i++) {
        uint64_t m = load64le(p + 8 * i);
        v[3] ^= m;
        sip_rounds(v, c_rounds);
        v[0] ^= m;
    }
    uint64_t last = (uint64_t)(len & 0xff) << 56;
    for (size_t i = 0; i < len % 8; i++)
        last |= (uint64_t)p[8 * words + i] << (8 * i);
    v[3] ^= last;
    sip_rounds(v, c_rounds);
    v[0] ^= last;
    v[2] ^= 0xff;
    sip_rounds(v, d_rounds);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

uint64_t siphash_1_3(struct siphash_key key, const void *data, size_t len)
{
    return siphash(key, data, len, 1, 3);
}

uint64_t siphash_2_4(struct siphash_key key, const void *data, size_t len)
{
    return siphash(key, data, len, 2, 4);
}

/* 0x82F63B78 is the reflected Castagnoli polynomial. Four bits a step: a table of one cache line.
 */
#define C(n)         crc_step4(n)
#define crc_step1(c) (((c) >> 1) ^ (((c)&1U) != 0 ? 0x82F63B78U : 0U))
#define crc_step2(c) crc_step1(crc_step1(c))
#define crc_step4(c) crc_step2(crc_step2((uint32_t)(c)))
static const uint32_t crc_table[16] = {C(0), C(1), C(2),  C(3),  C(4),  C(5),  C(6),  C(7),
                                       C(8), C(9), C(10), C(11), C(12), C(13), C(14), C(15)};
#undef C

uint32_t hash_crc32c_table(uint32_t crc, const void *data, size_t len)
{
    const uint8_t *p = data;
    crc = ~crc;
    for (size_t i = 0; i < len; i++) {
        crc ^= p[i];
        crc = (crc >> 4) ^ crc_table[crc & 15U];
        crc = (crc >> 4) ^ crc_table[crc & 15U];
    }
    return ~crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) uint32_t hash_crc32c_sse42(uint32_t crc, const void *data,
                                                             size_t len)
{
    const uint8_t *p = data;
    uint64_t state = ~crc;
    for (; len >= 8; len -= 8, p += 8) {
        uint64_t word = 0;
        memcpy(&word, p, sizeof word);
        state = _mm_crc32_u64(state, word);
    }
    uint32_t state32 = (uint32_t)state;
    for (; len > 0; len--, p++)
        state32 = _mm_crc32_u8(state32, *p);
    return ~state32;
}
#endif

bool hash_crc32c_has_sse42(void)
{
#if defined(__x86_64__)
    return __builtin_cpu_supports("sse4.2") != 0;
#else
    return false;
#endif
}

uint32_t crc32c(uint32_t crc, const void *data, size_t len)
{
#if defined(__x86_64__)
    if (hash_crc32c_has_sse42())
        return hash_crc32c_sse42(crc, data, len);
#endif
    return hash_crc32c_table(crc, data, len);
}
