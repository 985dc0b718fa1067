#include "common/route/score_narrow.h"

#if defined(__x86_64__)
#include <emmintrin.h>

/* 32-bit lanes; of rows of 4 lanes only `low` counts. */
struct sums {
    __m128i low, high;
};

#define INLINE static inline __attribute__((always_inline))

/* shift: of an index to its row. Most tables have a row for each index; then it is not shifted. */
INLINE const int16_t *row_at(const struct artifact *a, uint16_t index, unsigned shift,
                             uint32_t lanes)
{
    return a->rows + (size_t)((uint32_t)index >> shift) * lanes;
}

static inline __m128i two_of_4(const int16_t *first, const int16_t *second)
{
    __m128d both = _mm_load_sd((const double *)(const void *)first);
    return _mm_castpd_si128(_mm_loadh_pd(both, (const double *)(const void *)second));
}

static inline __m128i widen(__m128i v)
{
    return _mm_srai_epi32(_mm_unpacklo_epi16(v, v), 16);
}

/* Lanes of two rows side by side, each pair added in one multiplication by one. */
static inline struct sums add_pairs(struct sums s, __m128i v, __m128i w)
{
    const __m128i ones = _mm_set1_epi16(1);
    return (struct sums){
        _mm_add_epi32(s.low, _mm_madd_epi16(_mm_unpacklo_epi16(v, w), ones)),
        _mm_add_epi32(s.high, _mm_madd_epi16(_mm_unpackhi_epi16(v, w), ones)),
    };
}

INLINE struct sums sum_rows_of_4(const struct artifact *a, const struct features *f, unsigned shift)
{
    struct sums s = {_mm_setzero_si128(), _mm_setzero_si128()};
    const uint16_t *index = f->index, *const end = index + f->n;
    for (; end - index >= 4; index += 4)
        s = add_pairs(s, two_of_4(row_at(a, index[0], shift, 4), row_at(a, index[1], shift, 4)),
                      two_of_4(row_at(a, index[2], shift, 4), row_at(a, index[3], shift, 4)));
    s.low = _mm_add_epi32(s.low, s.high);
    for (; index < end; index++) {
        const void *row = row_at(a, *index, shift, 4);
        s.low = _mm_add_epi32(s.low, widen(_mm_loadl_epi64((const __m128i *)row)));
    }
    return s;
}

INLINE struct sums sum_rows_of_8(const struct artifact *a, const struct features *f, unsigned shift)
{
    struct sums s = {_mm_setzero_si128(), _mm_setzero_si128()};
    const uint16_t *index = f->index, *const end = index + f->n;
    for (; end - index >= 2; index += 2) {
        const void *first = row_at(a, index[0], shift, 8), *second = row_at(a, index[1], shift, 8);
        s = add_pairs(s, _mm_load_si128((const __m128i *)first),
                      _mm_load_si128((const __m128i *)second));
    }
    if (index < end) {
        const void *row = row_at(a, *index, shift, 8);
        s = add_pairs(s, _mm_load_si128((const __m128i *)row), _mm_setzero_si128());
    }
    return s;
}

/* Quality and length have a shift each: of rows of 8 lanes one half, of rows of 4 half of that. */
INLINE struct sums sum_dense(const struct artifact *a, const struct features *f, uint32_t lanes)
{
    const __m128i quality = _mm_cvtsi32_si128(a->scale.quality_dense_shift);
    const __m128i length = _mm_cvtsi32_si128(a->scale.length_dense_shift);
    struct sums s = {_mm_setzero_si128(), _mm_setzero_si128()};
    for (uint32_t d = 0; d < FEATURES_DENSE; d++) {
        const __m128i w = _mm_loadu_si128((const __m128i *)(const void *)a->dense[d]);
        const __m128i x = _mm_set1_epi16(f->dense[d]);
        const __m128i below = _mm_mullo_epi16(w, x), above = _mm_mulhi_epi16(w, x);
        const __m128i low = _mm_unpacklo_epi16(below, above);
        const __m128i high = lanes == 4 ? low : _mm_unpackhi_epi16(below, above);
        s.low = _mm_add_epi32(s.low, _mm_sra_epi32(low, quality));
        s.high = _mm_add_epi32(s.high, _mm_sra_epi32(high, length));
    }
    if (lanes == 4) /* Quality from the lower half of one, length from the upper of the other. */
        s.low = _mm_castpd_si128(_mm_move_sd(_mm_castsi128_pd(s.high), _mm_castsi128_pd(s.low)));
    return s;
}

static void store(struct sums s, int32_t *to)
{
    _mm_store_si128((__m128i *)(void *)to, s.low);
    _mm_store_si128((__m128i *)(void *)(to + 4), s.high);
}

static void sum_narrow(const struct artifact *a, const struct features *f, int32_t *out_sums,
                       int32_t *out_dense)
{
    const unsigned shift = FEATURES_INDEX_BITS - a->index_bits;
    if (a->row_lanes == 4) {
        store(shift == 0 ? sum_rows_of_4(a, f, 0) : sum_rows_of_4(a, f, shift), out_sums);
        store(sum_dense(a, f, 4), out_dense);
    } else {
        store(shift == 0 ? sum_rows_of_8(a, f, 0) : sum_rows_of_8(a, f, shift), out_sums);
        store(sum_dense(a, f, 8), out_dense);
    }
}

const score_sum_fn score_sum_narrow = sum_narrow;
#else
const score_sum_fn score_sum_narrow = NULL;
#endif
