#include "common/route/score_narrow.h"

#if defined(__x86_64__)
#include <immintrin.h>

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

const score_sum_fn score_sum_narrow_sse2 = sum_narrow;

/* ---- AVX2: a row is widened as it is loaded, so that nothing is put side by side ---- */

#define AVX2        __attribute__((target("avx2")))
#define INLINE_AVX2 AVX2 static inline __attribute__((always_inline))

INLINE_AVX2 __m128i widen_row_of_4(const int16_t *row)
{
    return _mm_cvtepi16_epi32(_mm_loadl_epi64((const __m128i *)(const void *)row));
}

INLINE_AVX2 __m256i widen_row_of_8(const int16_t *row)
{
    return _mm256_cvtepi16_epi32(_mm_load_si128((const __m128i *)(const void *)row));
}

/* Four sums: one addition would wait for the other. */
INLINE_AVX2 __m128i avx2_sum_of_4(const struct artifact *a, const struct features *f,
                                  unsigned shift)
{
    const uint16_t *index = f->index, *const end = index + f->n;
    __m128i s[4] = {_mm_setzero_si128(), _mm_setzero_si128(), _mm_setzero_si128(),
                    _mm_setzero_si128()};
    for (; end - index >= 8; index += 8)
#pragma GCC unroll 8
        for (unsigned i = 0; i < 8; i++)
            s[i % 4] = _mm_add_epi32(s[i % 4], widen_row_of_4(row_at(a, index[i], shift, 4)));
    for (; index < end; index++)
        s[0] = _mm_add_epi32(s[0], widen_row_of_4(row_at(a, *index, shift, 4)));
    return _mm_add_epi32(_mm_add_epi32(s[0], s[1]), _mm_add_epi32(s[2], s[3]));
}

INLINE_AVX2 __m256i avx2_sum_of_8(const struct artifact *a, const struct features *f,
                                  unsigned shift)
{
    const uint16_t *index = f->index, *const end = index + f->n;
    __m256i s[4] = {_mm256_setzero_si256(), _mm256_setzero_si256(), _mm256_setzero_si256(),
                    _mm256_setzero_si256()};
    for (; end - index >= 8; index += 8)
#pragma GCC unroll 8
        for (unsigned i = 0; i < 8; i++)
            s[i % 4] = _mm256_add_epi32(s[i % 4], widen_row_of_8(row_at(a, index[i], shift, 8)));
    for (; index < end; index++)
        s[0] = _mm256_add_epi32(s[0], widen_row_of_8(row_at(a, *index, shift, 8)));
    return _mm256_add_epi32(_mm256_add_epi32(s[0], s[1]), _mm256_add_epi32(s[2], s[3]));
}

/* Every lane has the shift of its half. Of rows of 4 the upper half of the result means nothing. */
INLINE_AVX2 __m256i avx2_dense(const struct artifact *a, const struct features *f, uint32_t lanes)
{
    const __m128i quality = _mm_set1_epi32(a->scale.quality_dense_shift);
    const __m128i length = _mm_set1_epi32(a->scale.length_dense_shift);
    const __m256i shift = lanes == 4
                              ? _mm256_castsi128_si256(_mm_unpacklo_epi64(quality, length))
                              : _mm256_inserti128_si256(_mm256_castsi128_si256(quality), length, 1);
    __m256i sum = _mm256_setzero_si256();
#pragma GCC unroll 4
    for (uint32_t d = 0; d < FEATURES_DENSE; d++) {
        const void *weights = a->dense[d];
        /* Zero stands beside each weight, so that a product of pairs is that of one. */
        const __m256i w = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)weights));
        const __m256i product = _mm256_madd_epi16(w, _mm256_set1_epi16(f->dense[d]));
        sum = _mm256_add_epi32(sum, _mm256_srav_epi32(product, shift));
    }
    return sum;
}

AVX2 static void sum_narrow_avx2(const struct artifact *a, const struct features *f,
                                 int32_t *out_sums, int32_t *out_dense)
{
    const unsigned shift = FEATURES_INDEX_BITS - a->index_bits;
    __m256i *const dense = (__m256i *)(void *)out_dense;
    if (a->row_lanes == 4) {
        _mm_store_si128((__m128i *)(void *)out_sums,
                        shift == 0 ? avx2_sum_of_4(a, f, 0) : avx2_sum_of_4(a, f, shift));
        _mm256_store_si256(dense, avx2_dense(a, f, 4));
    } else {
        _mm256_store_si256((__m256i *)(void *)out_sums,
                           shift == 0 ? avx2_sum_of_8(a, f, 0) : avx2_sum_of_8(a, f, shift));
        _mm256_store_si256(dense, avx2_dense(a, f, 8));
    }
}

const score_sum_fn score_sum_narrow_avx2 = sum_narrow_avx2;

/* ---- AVX-512: the rows of 16 features are gathered in words of four lanes ---- */

#define AVX512        __attribute__((target("avx2,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,bmi2")))
#define INLINE_AVX512 AVX512 static inline __attribute__((always_inline))

/* Without optimisation a gather is a macro of the compiler's, whose mask has a sign. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wsign-conversion"
INLINE_AVX512 __m512i gather(__mmask8 valid, __m256i at, const int16_t *from)
{
    return _mm512_mask_i32gather_epi64(_mm512_setzero_si512(), valid, at, from, sizeof(int64_t));
}
#pragma GCC diagnostic pop

/* Lanes of two rows side by side, each pair added as it is added to the sum. */
INLINE_AVX512 __m512i add_two(__m512i sum, __m512i low, __m512i high)
{
    const __m512i ones = _mm512_set1_epi16(1);
    sum = _mm512_dpwssd_epi32(sum, _mm512_unpacklo_epi16(low, high), ones);
    return _mm512_dpwssd_epi32(sum, _mm512_unpackhi_epi16(low, high), ones);
}

/* Of the next 16 features those that are valid; sum has a word of each row's lanes four times. */
INLINE_AVX512 void add_sixteen(const struct artifact *a, const uint16_t *index, __m128i shift,
                               __mmask16 valid, uint32_t words, __m512i io_sums[2])
{
    __m512i at = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(valid, index));
    at = _mm512_srl_epi32(at, shift);
    if (words == 2)
        at = _mm512_slli_epi32(at, 1);
    const __m256i low = _mm512_castsi512_si256(at), high = _mm512_extracti64x4_epi64(at, 1);
    for (uint32_t word = 0; word < words; word++) {
        const int16_t *const from = a->rows + (size_t)4 * word;
        io_sums[word] = add_two(io_sums[word], gather((__mmask8)valid, low, from),
                                gather((__mmask8)(valid >> 8), high, from));
    }
}

INLINE_AVX512 __m128i total(__m512i sum)
{
    const __m256i half =
        _mm256_add_epi32(_mm512_castsi512_si256(sum), _mm512_extracti64x4_epi64(sum, 1));
    return _mm_add_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
}

INLINE_AVX512 struct sums avx512_sum(const struct artifact *a, const struct features *f,
                                     uint32_t words)
{
    const __m128i shift = _mm_cvtsi32_si128((int)(FEATURES_INDEX_BITS - a->index_bits));
    __m512i sums[2] = {_mm512_setzero_si512(), _mm512_setzero_si512()};
    uint32_t i = 0;
    for (; i + 16 <= f->n; i += 16)
        add_sixteen(a, f->index + i, shift, 0xFFFF, words, sums);
    if (i < f->n)
        add_sixteen(a, f->index + i, shift, (__mmask16)_bzhi_u32(0xFFFF, f->n - i), words, sums);
    return (struct sums){total(sums[0]), total(sums[1])};
}

/* The numbers of eight words' dense features, each in four places: those of every other word, as
 * unpacking takes them. */
INLINE_AVX512 __m512i every_other(uint32_t words)
{
    const __m512i place = _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
    return words == 1 ? _mm512_slli_epi32(place, 1) : place;
}

/* Quality and length have a shift each: of one word a half, of two words one each. */
INLINE_AVX512 struct sums avx512_dense(const struct artifact *a, const struct features *f,
                                       uint32_t words)
{
    enum { APART = ARTIFACT_LANES_MAX / 4 };
    const __m512i zero = _mm512_setzero_si512(),
                  x = _mm512_maskz_loadu_epi16((1U << FEATURES_DENSE) - 1, f->dense);
    const __m128i quality = _mm_set1_epi32(a->scale.quality_dense_shift);
    const __m128i length = _mm_set1_epi32(a->scale.length_dense_shift);
    const __m128i both = _mm_unpacklo_epi64(quality, length);
    const __m512i low_shift = _mm512_broadcast_i32x4(words == 1 ? both : quality);
    const __m512i high_shift = _mm512_broadcast_i32x4(words == 1 ? both : length);
    const __m256i at = words == 1 ? _mm256_setr_epi32(0, APART, 2 * APART, 3 * APART, 4 * APART,
                                                      5 * APART, 6 * APART, 7 * APART)
                                  : _mm256_setr_epi32(0, 1, APART, APART + 1, 2 * APART,
                                                      2 * APART + 1, 3 * APART, 3 * APART + 1);
    __m512i low_of = every_other(words), low = zero, high = zero;
#pragma GCC unroll 6
    for (uint32_t d = 0; d < FEATURES_DENSE; d += 8 / words) {
        const __m512i w = gather(0xFF, at, a->dense[d]);
        const __m512i high_of = _mm512_add_epi32(low_of, _mm512_set1_epi32(words == 1));
        /* Zero stands beside each weight, so that a product of pairs is that of one. */
        const __m512i below =
            _mm512_madd_epi16(_mm512_unpacklo_epi16(w, zero), _mm512_permutexvar_epi16(low_of, x));
        const __m512i above =
            _mm512_madd_epi16(_mm512_unpackhi_epi16(w, zero), _mm512_permutexvar_epi16(high_of, x));
        low = _mm512_add_epi32(low, _mm512_srav_epi32(below, low_shift));
        high = _mm512_add_epi32(high, _mm512_srav_epi32(above, high_shift));
        low_of = _mm512_add_epi32(low_of, _mm512_set1_epi32((int)(8 / words)));
    }
    return words == 1 ? (struct sums){total(_mm512_add_epi32(low, high)), _mm_setzero_si128()}
                      : (struct sums){total(low), total(high)};
}

AVX512 static void sum_narrow_avx512(const struct artifact *a, const struct features *f,
                                     int32_t *out_sums, int32_t *out_dense)
{
    if (a->row_lanes == 4) {
        store(avx512_sum(a, f, 1), out_sums);
        store(avx512_dense(a, f, 1), out_dense);
    } else {
        store(avx512_sum(a, f, 2), out_sums);
        store(avx512_dense(a, f, 2), out_dense);
    }
}

const score_sum_fn score_sum_narrow_avx512 = sum_narrow_avx512;
#else
const score_sum_fn score_sum_narrow_sse2 = NULL;
const score_sum_fn score_sum_narrow_avx2 = NULL;
const score_sum_fn score_sum_narrow_avx512 = NULL;
#endif
