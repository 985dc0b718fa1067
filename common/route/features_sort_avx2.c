/* features_sort_avx2.c: indices ascending and once each, by a bitmap of all 65,536 and a byte for
 * each of its words that says whether it is used. */
#include "common/route/features_internal.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define AVX2   __attribute__((target("avx2,bmi,bmi2,popcnt")))
#define INLINE AVX2 static inline __attribute__((always_inline))

enum { MOST = 2 * FEATURES_SPARSE_MAX };

INLINE __m256i *block_of(uint8_t *bytes)
{
    return (__m256i *)(void *)bytes;
}

/* Which of 64 bytes are 0xFF. */
INLINE uint64_t mask_of(const uint8_t *bytes)
{
    const __m256i *at = (const __m256i *)(const void *)bytes;
    return (uint32_t)_mm256_movemask_epi8(_mm256_load_si256(at)) |
           (uint64_t)(uint32_t)_mm256_movemask_epi8(_mm256_load_si256(at + 1)) << 32;
}

/* Most words that are used have one bit and some two, which nothing could foretell, so there is no
 * branch on it: both are written, and the second is overwritten where there is none. */
INLINE uint16_t *list_word(uint64_t bits, uint32_t base, uint16_t *to)
{
    const uint64_t second = _blsr_u64(bits), rest = _blsr_u64(second);
    to[0] = (uint16_t)(base + (uint32_t)_tzcnt_u64(bits));
    to[1] = (uint16_t)(base + (uint32_t)_tzcnt_u64(second));
    if (__builtin_expect(rest != 0, 0))
        (void)features_list_bits(rest, base, 2, to);
    return to + __builtin_popcountll(bits);
}

/* The bits of the words that are used, which are 0 again then. */
INLINE uint32_t list_used(struct features_set *set, const uint8_t *used, uint16_t *out)
{
    uint16_t *to = out;
    for (unsigned w = 0; w < FEATURES_SET_WORDS; w += 64)
        for (uint64_t mask = mask_of(used + w); mask != 0; mask = _blsr_u64(mask)) {
            const uint32_t word = w + (uint32_t)_tzcnt_u64(mask);
            to = list_word(set->bits[word], word * 64, to);
            set->bits[word] = 0;
        }
    return (uint32_t)(to - out);
}

INLINE uint32_t add(struct features_set *set, uint8_t *used, uint32_t index)
{
    used[index / 64] = 0xFF;
    return features_set_add(set, index);
}

INLINE void add_all(const uint16_t *index, uint32_t n, struct features_set *set, uint8_t *used)
{
#pragma GCC unroll 4
    for (uint32_t i = 0; i < n; i++)
        (void)add(set, used, index[i]);
}

/* In their order, as long as there is room: as many at a time as would have room were they all new.
 */
INLINE void add_first(const uint16_t *index, uint32_t n, struct features_set *set, uint8_t *used)
{
    const uint16_t *const end = index + n;
    size_t count = 0;
    while (index != end && count < FEATURES_SPARSE_MAX) {
        const size_t room = FEATURES_SPARSE_MAX - count, left = (size_t)(end - index);
        const uint16_t *const stop = index + (left < room ? left : room);
        for (; index != stop; index++)
            count += add(set, used, *index);
    }
}

INLINE uint32_t sort(const uint16_t *index, uint32_t n, bool all, struct features_set *set,
                     uint16_t out[MOST + 2])
{
    _Alignas(32) __attribute__((uninitialized)) uint8_t used[FEATURES_SET_WORDS];
    for (unsigned w = 0; w < FEATURES_SET_WORDS; w += 32)
        _mm256_store_si256(block_of(used + w), _mm256_setzero_si256());
    if (all)
        add_all(index, n, set, used);
    else
        add_first(index, n, set, used);
    return list_used(set, used, out);
}

/* Of up to MOST it is quicker to see at the end that they are too many, as they seldom are. */
AVX2 uint32_t features_sort_avx2(const uint16_t *index, uint32_t n, struct features_set *set,
                                 uint16_t out_index[FEATURES_SPARSE_MAX])
{
    __attribute__((uninitialized)) uint16_t sorted[MOST + 2];
    uint32_t count = n <= MOST ? sort(index, n, true, set, sorted) : n;
    if (count > FEATURES_SPARSE_MAX)
        count = sort(index, n, false, set, sorted);
    memcpy(out_index, sorted, count * sizeof sorted[0]);
    return count;
}
#else
extern int features_sort_avx2_is_not_here; /* A file must declare something. */
#endif
