/* The variant c-d of SipHash makes c rounds a word and d at the end. */
#include "common/base/hash.h"

#include <stdbool.h>
#include <string.h>

#if defined(__x86_64__)
#include <nmmintrin.h>
#include <wmmintrin.h>
#endif

#include "common/base/hash_internal.h"
#include "common/base/siphash.h"

struct siphash_key siphash_key_from_bytes(const uint8_t bytes[16])
{
    return (struct siphash_key){.k0 = sip_load(bytes), .k1 = sip_load(bytes + 8)};
}

uint64_t siphash_1_3(struct siphash_key key, const void *data, size_t len)
{
    const uint8_t *p = data;
    struct sip s = sip_begin(key);
    for (size_t at = 0; at + 8 <= len; at += 8)
        s = sip_block(s, sip_load(p + at));
    return sip_final(sip_block(s, sip_last(p, len)));
}

uint64_t siphash_2_4(struct siphash_key key, const void *data, size_t len)
{
    const uint8_t *p = data;
    struct sip s = sip_begin(key);
    for (size_t at = 0; at + 8 <= len; at += 8)
        s = sip_block_2(s, sip_load(p + at));
    return sip_final_4(sip_block_2(s, sip_last(p, len)));
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
    for (; len >= 32; len -= 32, p += 32) {
        uint64_t a, b, c, d;
        memcpy(&a, p, sizeof a);
        memcpy(&b, p + 8, sizeof b);
        memcpy(&c, p + 16, sizeof c);
        memcpy(&d, p + 24, sizeof d);
        state = _mm_crc32_u64(_mm_crc32_u64(state, a), b);
        state = _mm_crc32_u64(_mm_crc32_u64(state, c), d);
    }
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

/* Each step of a CRC waits for the one before it, so three run side by side over pieces of a chunk.
 * A piece's CRC is moved behind n bytes by multiplying it with x^(8n - 33) mod P, carries aside:
 * the product goes into the last word of the chunk, whose step brings it back below x^32 (Gopal et
 * al., "Fast CRC Computation for iSCSI Polynomial Using CRC32 Instruction", Intel 2011). */
#define LANE_BYTES  128U
#define CHUNK_BYTES (3U * LANE_BYTES + 8U)
#define FOLD_BYTES  256U        /* From here on multiplying alone is faster. */
#define OVER_TWO    0xdcb17aa4U /* n = 2 * LANE_BYTES + 8; reflected, as all here. */
#define OVER_ONE    0x6992cea2U /* n = LANE_BYTES + 8 */

static inline uint64_t word_at(const uint8_t *p)
{
    uint64_t w;
    memcpy(&w, p, sizeof w);
    return w;
}

__attribute__((target("sse4.2,pclmul"))) static inline uint64_t chunk_crc(uint64_t a,
                                                                          const uint8_t *p)
{
    uint64_t b = 0, c = 0;
    for (const uint8_t *end = p + LANE_BYTES; p < end; p += 8) {
        a = _mm_crc32_u64(a, word_at(p));
        b = _mm_crc32_u64(b, word_at(p + LANE_BYTES));
        c = _mm_crc32_u64(c, word_at(p + 2 * LANE_BYTES));
    }
    const __m128i over = _mm_set_epi64x(OVER_ONE, OVER_TWO);
    __m128i moved = _mm_xor_si128(_mm_clmulepi64_si128(_mm_cvtsi64_si128((int64_t)a), over, 0x00),
                                  _mm_clmulepi64_si128(_mm_cvtsi64_si128((int64_t)b), over, 0x10));
    return _mm_crc32_u64(c, word_at(p + 2 * LANE_BYTES) ^ (uint64_t)_mm_cvtsi128_si64(moved));
}

bool hash_crc32c_has_pclmul(void)
{
    return __builtin_cpu_supports("pclmul") != 0 && __builtin_cpu_supports("sse4.2") != 0;
}

__attribute__((target("sse4.2,pclmul"))) uint32_t hash_crc32c_pclmul(uint32_t crc, const void *data,
                                                                     size_t len)
{
    const uint8_t *p = data;
    uint64_t state = (uint32_t)~crc;
    for (; len >= CHUNK_BYTES; len -= CHUNK_BYTES, p += CHUNK_BYTES)
        state = chunk_crc(state, p);
    return hash_crc32c_sse42(~(uint32_t)state, p, len);
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
    if (len >= FOLD_BYTES && hash_crc32c_has_avx512())
        return hash_crc32c_avx512(crc, data, len);
    if (len >= CHUNK_BYTES && hash_crc32c_has_pclmul())
        return hash_crc32c_pclmul(crc, data, len);
    if (hash_crc32c_has_sse42())
        return hash_crc32c_sse42(crc, data, len);
#endif
    return hash_crc32c_table(crc, data, len);
}
