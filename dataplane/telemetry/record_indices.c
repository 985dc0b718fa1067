#include "dataplane/telemetry/record_indices.h"

#include <assert.h>
#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "common/base/varint.h"

size_t record_write_dense_plain(const int16_t dense[FEATURES_DENSE], uint8_t out[RECORD_DENSE_MAX])
{
    uint8_t *at = out;
    for (uint32_t i = 0; i < FEATURES_DENSE; i++) {
        uint32_t v = (uint16_t)(dense[i] * 2 ^ (dense[i] < 0 ? 0xffff : 0));
        at = varint_write(at, v);
    }
    return (size_t)(at - out);
}

#if defined(__x86_64__)
/* 16 indices, or `now` of them. *io_before: the upper bytes of the 16 before; gives where what is
 * far has come to. */
static inline uint8_t *pack_16(const uint16_t *from, uint32_t now, __m128i *io_before,
                               uint8_t *low_bytes, uint8_t *low_row, uint8_t *high_row,
                               uint8_t *far)
{
    const __m128i byte = _mm_set1_epi16(0xff), most = _mm_set1_epi8(FEATURES_FAR_STEP);
    const __m128i a = _mm_loadu_si128((const __m128i *)(const void *)from);
    const __m128i b = _mm_loadu_si128((const __m128i *)(const void *)(from + 8));
    const __m128i lower = _mm_packus_epi16(_mm_and_si128(a, byte), _mm_and_si128(b, byte));
    const __m128i upper = _mm_packus_epi16(_mm_srli_epi16(a, 8), _mm_srli_epi16(b, 8));
    const __m128i before = _mm_or_si128(_mm_slli_si128(upper, 1), _mm_srli_si128(*io_before, 15));
    const __m128i step = _mm_sub_epi8(upper, before), code = _mm_min_epu8(step, most);
    const uint32_t valid = (1U << now) - 1;
    const uint32_t low = (uint32_t)_mm_movemask_epi8(_mm_slli_epi16(code, 7)) & valid;
    const uint32_t high = (uint32_t)_mm_movemask_epi8(_mm_slli_epi16(code, 6)) & valid;
    memcpy(low_bytes, &lower, now);
    memcpy(low_row, &low, (now + 7) / 8);
    memcpy(high_row, &high, (now + 7) / 8);
    for (uint32_t left = low & high; left != 0; left &= left - 1)
        *far++ = (uint8_t)((from[__builtin_ctz(left)] >> 8) -
                           ((const uint8_t *)&before)[__builtin_ctz(left)] - FEATURES_FAR_STEP);
    *io_before = upper;
    return far;
}

size_t record_write_indices_sse2(const struct features *f, uint8_t out[RECORD_INDICES_MAX])
{
    static_assert(FEATURES_SPARSE_MAX % 16 == 0, "16 are read at a time");
    const uint32_t n = f->n, row_bytes = (n + 7) / 8;
    uint8_t *at = varint_write(out, n), *low = at + n, *high = low + row_bytes;
    uint8_t *far = high + row_bytes;
    __m128i before = _mm_setzero_si128();
    uint32_t i = 0;
    for (; i + 16 <= n; i += 16)
        far = pack_16(&f->index[i], 16, &before, at + i, low + i / 8, high + i / 8, far);
    if (i < n)
        far = pack_16(&f->index[i], n - i, &before, at + i, low + i / 8, high + i / 8, far);
    return (size_t)(far - out);
}

#define AVX512                                                                                     \
    __attribute__((target("avx512f,avx512bw,avx512vl,avx512vbmi,avx512vbmi2,bmi2,popcnt")))

bool record_has_avx512(void)
{
    return __builtin_cpu_supports("avx512bw") != 0 && __builtin_cpu_supports("avx512vl") != 0 &&
           __builtin_cpu_supports("avx512vbmi") != 0 &&
           __builtin_cpu_supports("avx512vbmi2") != 0 && __builtin_cpu_supports("bmi2") != 0 &&
           __builtin_cpu_supports("popcnt") != 0;
}

/* Where the parts of what is written have come to, and the upper bytes of the 64 before. */
struct packing {
    uint8_t *low_bytes, *low_row, *high_row, *far;
    __m512i before;
};

#define FOUR(i)          (i), (i) + 1, (i) + 2, (i) + 3
#define SIXTEEN(i)       FOUR(i), FOUR((i) + 4), FOUR((i) + 8), FOUR((i) + 12)
#define EVERY_2(i)       (i), (i) + 2, (i) + 4, (i) + 6, (i) + 8, (i) + 10, (i) + 12, (i) + 14
#define EVERY_2_OF_64(i) EVERY_2(i), EVERY_2((i) + 16), EVERY_2((i) + 32), EVERY_2((i) + 48)

/* Of two registers in a row: the lower bytes of 64 values and the upper ones; and of a register
 * and the one before it: the byte before each. */
static const uint8_t lower_of[64] = {EVERY_2_OF_64(0), EVERY_2_OF_64(64)};
static const uint8_t upper_of[64] = {EVERY_2_OF_64(1), EVERY_2_OF_64(65)};
static const uint8_t before_of[64] = {127,      SIXTEEN(0), SIXTEEN(16), SIXTEEN(32), FOUR(48),
                                      FOUR(52), FOUR(56),   60,          61,          62};

/* 64 indices, or those that are valid. */
AVX512 static inline __attribute__((always_inline)) void pack_64(const uint16_t *from,
                                                                 __mmask64 valid, struct packing *p)
{
    const bool all = valid == ~UINT64_C(0);
    const __m512i most = _mm512_set1_epi8(FEATURES_FAR_STEP);
    const __m512i a = _mm512_maskz_loadu_epi16((__mmask32)valid, from);
    const __m512i b = _mm512_maskz_loadu_epi16((__mmask32)(valid >> 32), from + 32);
    const __m512i lower = _mm512_permutex2var_epi8(a, _mm512_loadu_si512(lower_of), b);
    const __m512i upper = _mm512_permutex2var_epi8(a, _mm512_loadu_si512(upper_of), b);
    const __m512i before =
        _mm512_permutex2var_epi8(upper, _mm512_loadu_si512(before_of), p->before);
    const __m512i step = _mm512_sub_epi8(upper, before), code = _mm512_min_epu8(step, most);
    const uint64_t low = _mm512_mask_test_epi8_mask(valid, code, _mm512_set1_epi8(1));
    const uint64_t high = _mm512_mask_test_epi8_mask(valid, code, _mm512_set1_epi8(2));
    const size_t bytes = all ? 8 : ((size_t)_mm_popcnt_u64(valid) + 7) / 8;
    const __mmask16 whole = (__mmask16)_bzhi_u32(0xff, (uint32_t)bytes);
    if (all) {
        _mm512_storeu_si512(p->low_bytes, lower);
        memcpy(p->low_row, &low, 8);
        memcpy(p->high_row, &high, 8);
    } else {
        _mm512_mask_storeu_epi8(p->low_bytes, valid, lower);
        _mm_mask_storeu_epi8(p->low_row, whole, _mm_cvtsi64_si128((long long)low));
        _mm_mask_storeu_epi8(p->high_row, whole, _mm_cvtsi64_si128((long long)high));
    }
    _mm512_storeu_si512(p->far,
                        _mm512_maskz_compress_epi8(low & high, _mm512_sub_epi8(step, most)));
    p->low_bytes += 64;
    p->low_row += 8;
    p->high_row += 8;
    p->far += (uint32_t)_mm_popcnt_u64(low & high);
    p->before = upper;
}

AVX512 size_t record_write_indices_avx512(const struct features *f, uint8_t out[RECORD_INDICES_MAX])
{
    const uint32_t n = f->n, row_bytes = (n + 7) / 8;
    uint8_t *at = varint_write(out, n);
    struct packing p = {.low_bytes = at,
                        .low_row = at + n,
                        .high_row = at + n + row_bytes,
                        .far = at + n + 2 * (size_t)row_bytes,
                        .before = _mm512_setzero_si512()};
    uint32_t i = 0;
    for (; i + 64 <= n; i += 64)
        pack_64(&f->index[i], ~UINT64_C(0), &p);
    if (i < n)
        pack_64(&f->index[i], _bzhi_u64(~UINT64_C(0), n - i), &p);
    return (size_t)(p.far - out);
}

/* All at once, if none takes more than two bytes. */
AVX512 size_t record_write_dense_avx512(const int16_t dense[FEATURES_DENSE],
                                        uint8_t out[RECORD_DENSE_MAX])
{
    static_assert(FEATURES_DENSE < 32, "in one register");
    const __mmask32 valid = (1U << FEATURES_DENSE) - 1;
    const __m512i seven = _mm512_set1_epi16(0x7f), high = _mm512_set1_epi16(0x80);
    const __m512i v = _mm512_maskz_loadu_epi16(valid, dense);
    const __m512i zigzag = _mm512_xor_si512(_mm512_slli_epi16(v, 1), _mm512_srai_epi16(v, 15));
    if (_mm512_cmpge_epu16_mask(zigzag, _mm512_set1_epi16(0x4000)) != 0)
        return record_write_dense_plain(dense, out);
    const __mmask32 two = _mm512_cmpge_epu16_mask(zigzag, high);
    const __m512i low = _mm512_and_si512(zigzag, seven);
    const __m512i first = _mm512_mask_add_epi16(low, two, low, high);
    const __m512i bytes =
        _mm512_or_si512(first, _mm512_slli_epi16(_mm512_srli_epi16(zigzag, 7), 8));
    const uint64_t kept = _pdep_u64(valid, UINT64_C(0x5555555555555555)) |
                          _pdep_u64(two, UINT64_C(0xAAAAAAAAAAAAAAAA));
    _mm512_storeu_si512(out, _mm512_maskz_compress_epi8(kept, bytes));
    return (uint32_t)_mm_popcnt_u64(kept);
}
#else
size_t record_write_indices_sse2(const struct features *f, uint8_t out[RECORD_INDICES_MAX])
{
    return features_pack(f, out);
}

bool record_has_avx512(void)
{
    return false;
}

size_t record_write_indices_avx512(const struct features *f, uint8_t out[RECORD_INDICES_MAX])
{
    return features_pack(f, out);
}

size_t record_write_dense_avx512(const int16_t dense[FEATURES_DENSE], uint8_t out[RECORD_DENSE_MAX])
{
    return record_write_dense_plain(dense, out);
}
#endif

size_t record_write_indices(const struct features *f, uint8_t out[RECORD_INDICES_MAX])
{
    return record_has_avx512() ? record_write_indices_avx512(f, out)
                               : record_write_indices_sse2(f, out);
}

size_t record_write_dense(const int16_t dense[FEATURES_DENSE], uint8_t out[RECORD_DENSE_MAX])
{
    return record_has_avx512() ? record_write_dense_avx512(dense, out)
                               : record_write_dense_plain(dense, out);
}
