/* hash_crc_avx512.c: a CRC-32C by multiplication, 256 bytes a step, for processors whose carry-less
 * multiplication takes 64 bytes at once (Intel since 2019, AMD since 2022).
 *
 * A stretch of 16 bytes is moved behind D more bits by multiplying its halves with x^(D + 63) and
 * x^(D - 1) mod P (the product of reflected words has one factor x by itself) and adding both; the
 * result is again 16 bytes with the same remainder. So four registers are carried along, brought
 * into one, then into 16 bytes, whose remainder the processor's own CRC gives (Gopal et al., "Fast
 * CRC Computation for Generic Polynomials Using PCLMULQDQ Instruction", Intel 2009). */
#include "common/base/hash_internal.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

#define AVX512 __attribute__((target("avx512f,avx512vl,vpclmulqdq,pclmul,sse4.2")))
#define INLINE AVX512 static inline __attribute__((always_inline))

#define STEP_BYTES 256U

/* x^(D + 63) and x^(D - 1) mod P, reflected, by D. */
#define LOW(word) ((long long)((uint64_t)(word) << 32))
#define D_128     LOW(0x3171d430), LOW(0x3743f7bd)
#define D_256     LOW(0xa2158b34), LOW(0x33ccbbbc)
#define D_384     LOW(0x6051243f), LOW(0xa46ef4aa)
#define D_512     LOW(0x75bba45b), LOW(0x1c19243b)
#define D_1024    LOW(0x7417153f), LOW(0x6577b245)
#define D_1536    LOW(0x31c94608), LOW(0x7ccbbbf2)
#define D_2048    LOW(0x1426a815), LOW(0xe9a5d8be)
#define EACH(d)   _mm512_set_epi64(d, d, d, d)

bool hash_crc32c_has_avx512(void)
{
    return __builtin_cpu_supports("vpclmulqdq") != 0 && __builtin_cpu_supports("avx512vl") != 0 &&
           __builtin_cpu_supports("pclmul") != 0 && __builtin_cpu_supports("sse4.2") != 0;
}

INLINE __m512i load(const uint8_t *p)
{
    return _mm512_loadu_si512(p);
}

/* `what`, moved by what `by` says, and `more`. */
INLINE __m512i moved(__m512i what, __m512i by, __m512i more)
{
    return _mm512_ternarylogic_epi64(_mm512_clmulepi64_epi128(what, by, 0x00),
                                     _mm512_clmulepi64_epi128(what, by, 0x11), more, 0x96);
}

INLINE uint64_t remainder_of(__m512i all)
{
    /* The last 16 bytes stay where they are. */
    const __m512i in_place = _mm512_maskz_mov_epi64(0xc0, all);
    const __m512i sums =
        moved(all, _mm512_set_epi64(0, 0, D_128, D_256, D_384), in_place);
    const __m256i two =
        _mm256_xor_si256(_mm512_castsi512_si256(sums), _mm512_extracti64x4_epi64(sums, 1));
    const __m128i one =
        _mm_xor_si128(_mm256_castsi256_si128(two), _mm256_extracti128_si256(two, 1));
    return _mm_crc32_u64(_mm_crc32_u64(0, (uint64_t)_mm_cvtsi128_si64(one)),
                         (uint64_t)_mm_extract_epi64(one, 1));
}

AVX512 uint32_t hash_crc32c_avx512(uint32_t crc, const void *data, size_t len)
{
    const uint8_t *p = data;
    if (len < STEP_BYTES)
        return hash_crc32c_sse42(crc, data, len);
    const __m512i begin = _mm512_zextsi128_si512(_mm_cvtsi32_si128((int)~crc));
    __m512i a = _mm512_xor_si512(load(p), begin), b = load(p + 64), c = load(p + 128),
            d = load(p + 192);
    const __m512i step = EACH(D_2048);
    for (p += STEP_BYTES, len -= STEP_BYTES; len >= STEP_BYTES; p += STEP_BYTES, len -= STEP_BYTES) {
        a = moved(a, step, load(p));
        b = moved(b, step, load(p + 64));
        c = moved(c, step, load(p + 128));
        d = moved(d, step, load(p + 192));
    }
    a = moved(c, EACH(D_512), moved(a, EACH(D_1536), moved(b, EACH(D_1024), d)));
    for (; len >= 64; p += 64, len -= 64)
        a = moved(a, EACH(D_512), load(p));
    return hash_crc32c_sse42(~(uint32_t)remainder_of(a), p, len);
}
#endif
