#include "dataplane/telemetry/record_indices.h"

#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

static inline uint8_t *write_count(uint8_t *at, uint32_t n)
{
    uint32_t two = n >= 0x80; /* n <= 512 */
    at[0] = (uint8_t)(n | two << 7);
    at[1] = (uint8_t)(n >> 7);
    return at + 1 + two;
}

static inline uint8_t *write_gap(uint8_t *at, uint32_t gap)
{
    uint32_t two = gap >= 0x80;
    at[0] = (uint8_t)(gap | two << 7);
    at[1] = (uint8_t)(gap >> 7);
    at += 1 + two;
    if (gap >= 0x4000) {
        at[-1] |= 0x80;
        *at++ = (uint8_t)(gap >> 14);
    }
    return at;
}

static inline uint8_t *write_some(uint8_t *at, const struct features *f, uint32_t from, uint32_t to)
{
    uint32_t next = from > 0 ? f->index[from - 1] + 1U : 0;
    for (uint32_t i = from; i < to; i++) {
        at = write_gap(at, (uint16_t)(f->index[i] - next));
        next = f->index[i] + 1U;
    }
    return at;
}

size_t record_write_indices_plain(const struct features *f, uint8_t out[RECORD_INDICES_MAX])
{
    return (size_t)(write_some(write_count(out, f->n), f, 0, f->n) - out);
}

#if defined(__x86_64__)
bool record_has_bmi2(void)
{
    return __builtin_cpu_supports("bmi2") != 0 && __builtin_cpu_supports("popcnt") != 0;
}

/* Four differences in their two-byte form, and which of the bytes count. */
__attribute__((target("bmi2,popcnt"))) static inline uint8_t *put_four(uint8_t *at, uint64_t bytes,
                                                                       uint64_t mask)
{
    uint64_t packed = _pext_u64(bytes, mask);
    memcpy(at, &packed, 8);
    return at + (uint32_t)_mm_popcnt_u64(mask) / 8;
}

__attribute__((target("bmi2,popcnt"))) size_t
record_write_indices_bmi2(const struct features *f, uint8_t out[RECORD_INDICES_MAX])
{
    const __m128i seven = _mm_set1_epi16(0x7f), high = _mm_set1_epi16(0x80),
                  low_byte = _mm_set1_epi16(0xff), one = _mm_set1_epi16(1);
    uint8_t *at = write_count(out, f->n);
    uint32_t i = f->n < 1 ? f->n : 1;
    at = write_some(at, f, 0, i);
    for (; i + 8 <= f->n; i += 8) {
        __m128i now = _mm_loadu_si128((const __m128i *)(const void *)&f->index[i]);
        __m128i before = _mm_loadu_si128((const __m128i *)(const void *)&f->index[i - 1]);
        __m128i gap = _mm_sub_epi16(_mm_sub_epi16(now, before), one);
        __m128i rest = _mm_srli_epi16(gap, 7);
        __m128i single = _mm_cmpeq_epi16(rest, _mm_setzero_si128());
        if (_mm_movemask_epi8(_mm_cmpgt_epi16(rest, seven)) != 0) { /* Some take three bytes. */
            at = write_some(at, f, i, i + 8);
            continue;
        }
        __m128i first = _mm_or_si128(_mm_and_si128(gap, seven), _mm_andnot_si128(single, high));
        __m128i bytes = _mm_or_si128(first, _mm_slli_epi16(rest, 8));
        __m128i mask = _mm_or_si128(low_byte, _mm_andnot_si128(single, _mm_set1_epi16(-1)));
        at = put_four(at, (uint64_t)_mm_cvtsi128_si64(bytes), (uint64_t)_mm_cvtsi128_si64(mask));
        at = put_four(at, (uint64_t)_mm_cvtsi128_si64(_mm_unpackhi_epi64(bytes, bytes)),
                      (uint64_t)_mm_cvtsi128_si64(_mm_unpackhi_epi64(mask, mask)));
    }
    return (size_t)(write_some(at, f, i, f->n) - out);
}

#define AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,avx512vbmi2,bmi2,popcnt")))

bool record_has_avx512(void)
{
    return record_has_bmi2() && __builtin_cpu_supports("avx512bw") != 0 &&
           __builtin_cpu_supports("avx512vl") != 0 && __builtin_cpu_supports("avx512vbmi2") != 0;
}

/* As with BMI2, 32 differences a step, the last ones under a mask. */
AVX512 size_t record_write_indices_avx512(const struct features *f, uint8_t out[RECORD_INDICES_MAX])
{
    const __m512i seven = _mm512_set1_epi16(0x7f), high = _mm512_set1_epi16(0x80),
                  one = _mm512_set1_epi16(1);
    uint8_t *at = write_count(out, f->n);
    const uint32_t n = f->n;
    at = write_some(at, f, 0, n < 1 ? n : 1);
    for (uint32_t i = 1; i < n; i += 32) {
        const uint32_t now = n - i < 32 ? n - i : 32;
        const __mmask32 valid = _bzhi_u32(~0U, now);
        const __m512i before = _mm512_maskz_loadu_epi16(valid, &f->index[i - 1]);
        const __m512i gap = _mm512_sub_epi16(
            _mm512_sub_epi16(_mm512_maskz_loadu_epi16(valid, &f->index[i]), before), one);
        if (_mm512_mask_cmpge_epu16_mask(valid, gap, _mm512_set1_epi16(0x4000)) != 0) {
            at = write_some(at, f, i, i + now); /* Some take three bytes. */
            continue;
        }
        const __mmask32 two = _mm512_mask_cmpge_epu16_mask(valid, gap, high);
        const __m512i low = _mm512_and_si512(gap, seven);
        const __m512i first = _mm512_mask_add_epi16(low, two, low, high);
        const __m512i bytes =
            _mm512_or_si512(first, _mm512_slli_epi16(_mm512_srli_epi16(gap, 7), 8));
        const uint64_t kept = _pdep_u64(valid, UINT64_C(0x5555555555555555)) |
                              _pdep_u64(two, UINT64_C(0xAAAAAAAAAAAAAAAA));
        _mm512_storeu_si512(at, _mm512_maskz_compress_epi8(kept, bytes));
        at += (uint32_t)_mm_popcnt_u64(kept);
    }
    return (size_t)(at - out);
}
#else
bool record_has_bmi2(void)
{
    return false;
}

size_t record_write_indices_bmi2(const struct features *f, uint8_t out[RECORD_INDICES_MAX])
{
    return record_write_indices_plain(f, out);
}

bool record_has_avx512(void)
{
    return false;
}

size_t record_write_indices_avx512(const struct features *f, uint8_t out[RECORD_INDICES_MAX])
{
    return record_write_indices_plain(f, out);
}
#endif

size_t record_write_indices(const struct features *f, uint8_t out[RECORD_INDICES_MAX])
{
    if (record_has_avx512())
        return record_write_indices_avx512(f, out);
    return record_has_bmi2() ? record_write_indices_bmi2(f, out)
                             : record_write_indices_plain(f, out);
}
