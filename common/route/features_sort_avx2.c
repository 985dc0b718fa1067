/* features_sort_avx2.c: indices ascending and once each. They are spread over the 256 values of
 * their high byte by counting; few then share one, and neighbours are compared and exchanged in
 * blocks of 16 until those few are in order too. No branch depends on a single index. */
#include "common/route/features_internal.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define AVX2   __attribute__((target("avx2,bmi,bmi2,popcnt")))
#define INLINE AVX2 static inline __attribute__((always_inline))

enum {
    MOST = FEATURES_SPARSE_MAX * 3 / 2,
    MOST_ALIKE = 40, /* Of one high byte: the set is quicker beyond that. */
    SOME = 6,        /* Where there are more, most of them are often the same number. */
    BUCKETS = 256,
    BLOCK = 16,
};

INLINE __m256i load(const void *p)
{
    return _mm256_loadu_si256((const __m256i *)p);
}

INLINE void store(void *p, __m256i v)
{
    _mm256_storeu_si256((__m256i *)p, v);
}

/* Each pair of bytes: the last number of the same 128 bits. */
INLINE __m256i last_of_half(__m256i v)
{
    return _mm256_shuffle_epi8(v, _mm256_set1_epi16(0x0F0E));
}

/* Turns counts into where each bucket begins; returns the highest count. */
INLINE unsigned begin_buckets(uint16_t *buckets)
{
    __m256i before = _mm256_setzero_si256(), most = before;
    for (unsigned b = 0; b < BUCKETS; b += BLOCK) {
        const __m256i count = load(buckets + b);
        most = _mm256_max_epu16(most, count);
        __m256i sum = _mm256_add_epi16(count, _mm256_slli_si256(count, 2));
        sum = _mm256_add_epi16(sum, _mm256_slli_si256(sum, 4));
        sum = _mm256_add_epi16(sum, _mm256_slli_si256(sum, 8));
        __m256i low_half = _mm256_permute2x128_si256(sum, sum, 0x08); /* In the high one. */
        sum = _mm256_add_epi16(sum, last_of_half(low_half));
        store(buckets + b, _mm256_add_epi16(before, _mm256_sub_epi16(sum, count)));
        sum = last_of_half(_mm256_permute4x64_epi64(sum, 0xFF));
        before = _mm256_add_epi16(before, sum);
    }
    const __m256i top = _mm256_set1_epi16((short)0xFFFF);
    most = _mm256_sub_epi16(top, most); /* Only the lowest can be found in one step. */
    __m128i least = _mm_min_epu16(_mm256_castsi256_si128(most), _mm256_extracti128_si256(most, 1));
    return 0xFFFFU - (unsigned)_mm_extract_epi16(_mm_minpos_epu16(least), 0);
}

INLINE __m256i ordered(__m256i v, __m256i swapped)
{
    return _mm256_blend_epi16(_mm256_min_epu16(v, swapped), _mm256_max_epu16(v, swapped), 0xAA);
}

/* Neighbours at even and odd places from `at` on, in order. */
AVX2 static void exchange(uint16_t *at, const uint16_t *end)
{
    const __m256i swap = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13));
    for (; at < end; at += (size_t)2 * BLOCK) {
        const __m256i v = load(at), v_swapped = _mm256_shuffle_epi8(v, swap);
        const __m256i w = load(at + BLOCK), w_swapped = _mm256_shuffle_epi8(w, swap);
        store(at, ordered(v, v_swapped));
        store(at + BLOCK, ordered(w, w_swapped));
    }
}

AVX2 static bool is_sorted(const uint16_t *at, const uint16_t *end)
{
    __m256i less = _mm256_setzero_si256();
    for (; at < end; at += BLOCK)
        less = _mm256_or_si256(less, _mm256_subs_epu16(load(at), load(at + 1)));
    return _mm256_testz_si256(less, less) != 0;
}

/* Moves the kept numbers of eight to the front, two bytes each: filled before main. */
static __m128i kept[256];

__attribute__((constructor)) static void fill_kept(void)
{
    for (unsigned bits = 0; bits < 256; bits++) {
        uint8_t order[16] = {0};
        for (unsigned place = 0, n = 0; place < 8; place++)
            if ((bits >> place & 1) != 0) {
                order[n++] = (uint8_t)(2 * place);
                order[n++] = (uint8_t)(2 * place + 1);
            }
        memcpy(&kept[bits], order, sizeof order);
    }
}

INLINE uint16_t *keep(uint16_t *to, __m128i v, unsigned bits)
{
    _mm_storeu_si128((__m128i *)(void *)to, _mm_shuffle_epi8(v, kept[bits]));
    return to + __builtin_popcount(bits);
}

/* Leaves out what stands behind its equal; before the first one stands another number. */
INLINE uint32_t keep_distinct(const uint16_t *sorted, uint32_t n, uint16_t *out)
{
    uint16_t *to = out;
    for (uint32_t i = 0; i < n; i += BLOCK) {
        const __m256i v = load(sorted + i), same = _mm256_cmpeq_epi16(v, load(sorted + i - 1));
        const __m128i low = _mm256_castsi256_si128(same), high = _mm256_extracti128_si256(same, 1);
        unsigned bits = (unsigned)_mm_movemask_epi8(_mm_packs_epi16(low, high)) ^ 0xFFFFU;
        if (n - i < BLOCK)
            bits = _bzhi_u32(bits, n - i);
        to = keep(to, _mm256_castsi256_si128(v), bits & 0xFF);
        to = keep(to, _mm256_extracti128_si256(v, 1), bits >> 8);
    }
    return (uint32_t)(to - out);
}

AVX2 uint32_t features_sort_avx2(const uint16_t *index, uint32_t n,
                                 uint16_t out_index[FEATURES_SPARSE_MAX])
{
    _Alignas(32) __attribute__((uninitialized)) uint16_t bucket[BUCKETS];
    _Alignas(32) __attribute__((uninitialized)) uint16_t room[BLOCK + MOST + 3 * BLOCK];
    __attribute__((uninitialized)) uint16_t distinct[MOST + BLOCK];
    uint16_t *const sorted = room + BLOCK;
    const uint8_t *const high = (const uint8_t *)index + 1; /* Every other byte. */
    if (n == 0 || n > MOST)
        return n == 0 ? 0 : FEATURES_UNSORTED;
    for (unsigned b = 0; b < BUCKETS; b += BLOCK)
        store(bucket + b, _mm256_setzero_si256());
#pragma GCC unroll 4
    for (uint32_t i = 0; i < n; i++)
        bucket[high[(size_t)2 * i]]++;
    const unsigned most = begin_buckets(bucket);
    if (most > MOST_ALIKE)
        return FEATURES_UNSORTED;
#pragma GCC unroll 4
    for (uint32_t i = 0; i < n; i++)
        sorted[bucket[high[(size_t)2 * i]]++] = index[i];
    for (unsigned i = 0; i < 3 * BLOCK; i += BLOCK) /* Nothing of them moves forward. */
        store(sorted + n + i, _mm256_set1_epi16((short)0xFFFF));
    for (unsigned i = 0; i < most; i++) { /* As often as a bucket has numbers is enough. */
        if (i >= SOME && i % 2 == 0 && is_sorted(sorted, sorted + n))
            break;
        exchange(sorted + i % 2, sorted + n);
    }
    sorted[-1] = (uint16_t)~sorted[0];
    n = keep_distinct(sorted, n, distinct);
    if (n > FEATURES_SPARSE_MAX)
        return FEATURES_UNSORTED;
    memcpy(out_index, distinct, n * sizeof distinct[0]);
    return n;
}
#else
extern int features_sort_avx2_is_not_here; /* A file must declare something. */
#endif
