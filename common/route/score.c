/* The hot loop of a decision: up to 512 rows of int16 lanes summed into int32. A row is one run of
 * cache lines in a table of megabytes, so rows are fetched some steps ahead; after that the loads
 * are the cost and any SIMD width will do. */
#include "common/route/score.h"

#include <string.h>

#include "common/base/checked.h"
#include "common/route/fixed.h"
#include "common/route/score_narrow.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#define HAVE_X86 1
#else
#define HAVE_X86 0
#endif

#define AHEAD 12 /* Rows; about the latency of memory over the time a row takes. */

static inline const int16_t *row_of(const struct artifact *a, uint16_t index)
{
    return a->rows + (size_t)(index >> (FEATURES_INDEX_BITS - a->index_bits)) * a->row_lanes;
}

static inline void fetch_ahead(const struct artifact *a, const struct features *f, uint32_t i)
{
    if (i + AHEAD >= f->n)
        return;
    const char *p = (const char *)row_of(a, f->index[i + AHEAD]);
    for (size_t at = 0; at < a->row_lanes * sizeof(int16_t); at += 64)
        __builtin_prefetch(p + at);
}

/* Shift of the group that lanes lane..lane+7 belong to. */
static inline unsigned dense_shift_at(const struct artifact *a, uint32_t lane)
{
    if (lane < a->model_pad)
        return a->scale.quality_dense_shift;
    if (lane < 2 * a->model_pad)
        return a->scale.length_dense_shift;
    return a->scale.task_dense_shift;
}

static void sum_scalar(const struct artifact *a, const struct features *f, int32_t *out_sums,
                       int32_t *out_dense)
{
    memset(out_sums, 0, a->row_lanes * sizeof(int32_t));
    memset(out_dense, 0, a->row_lanes * sizeof(int32_t));
    for (uint32_t i = 0; i < f->n; i++) {
        const int16_t *row = row_of(a, f->index[i]);
        fetch_ahead(a, f, i);
        for (uint32_t lane = 0; lane < a->row_lanes; lane++)
            out_sums[lane] += row[lane];
    }
    for (uint32_t d = 0; d < FEATURES_DENSE; d++)
        for (uint32_t lane = 0; lane < a->row_lanes; lane++)
            out_dense[lane] += (int32_t)floor_shift_i64((int64_t)a->dense[d][lane] * f->dense[d],
                                                        dense_shift_at(a, lane));
}

#if HAVE_X86
static inline void sse2_add(__m128i *low, __m128i *high, const int16_t *row)
{
    __m128i v = _mm_load_si128((const __m128i *)(const void *)row);
    *low = _mm_add_epi32(*low, _mm_srai_epi32(_mm_unpacklo_epi16(v, v), 16));
    *high = _mm_add_epi32(*high, _mm_srai_epi32(_mm_unpackhi_epi16(v, v), 16));
}

static void sum_sse2(const struct artifact *a, const struct features *f, int32_t *out_sums,
                     int32_t *out_dense)
{
    for (uint32_t lane = 0; lane < a->row_lanes; lane += 16) {
        __m128i s0 = _mm_setzero_si128(), s1 = s0, s2 = s0, s3 = s0;
        for (uint32_t i = 0; i < f->n; i++) {
            const int16_t *row = row_of(a, f->index[i]) + lane;
            if (lane == 0)
                fetch_ahead(a, f, i);
            sse2_add(&s0, &s1, row);
            sse2_add(&s2, &s3, row + 8);
        }
        __m128i *to = (__m128i *)(void *)(out_sums + lane);
        _mm_store_si128(to, s0);
        _mm_store_si128(to + 1, s1);
        _mm_store_si128(to + 2, s2);
        _mm_store_si128(to + 3, s3);
    }
    for (uint32_t lane = 0; lane < a->row_lanes; lane += 8) {
        __m128i s0 = _mm_setzero_si128(), s1 = s0;
        __m128i shift = _mm_cvtsi32_si128((int)dense_shift_at(a, lane));
        for (uint32_t d = 0; d < FEATURES_DENSE; d++) {
            __m128i w = _mm_loadu_si128((const __m128i *)(const void *)&a->dense[d][lane]);
            __m128i x = _mm_set1_epi16(f->dense[d]);
            __m128i low = _mm_mullo_epi16(w, x), high = _mm_mulhi_epi16(w, x);
            s0 = _mm_add_epi32(s0, _mm_sra_epi32(_mm_unpacklo_epi16(low, high), shift));
            s1 = _mm_add_epi32(s1, _mm_sra_epi32(_mm_unpackhi_epi16(low, high), shift));
        }
        __m128i *to = (__m128i *)(void *)(out_dense + lane);
        _mm_store_si128(to, s0);
        _mm_store_si128(to + 1, s1);
    }
}

#define AVX2        __attribute__((target("avx2")))
#define INLINE_AVX2 AVX2 static inline __attribute__((always_inline))

/* Where the row of each feature begins, in numbers from the first row on. */
INLINE_AVX2 void find_rows(const struct artifact *a, const struct features *f, uint32_t *out_at)
{
    const __m128i shift = _mm_cvtsi32_si128((int)(FEATURES_INDEX_BITS - a->index_bits));
    const __m256i lanes = _mm256_set1_epi32((int)a->row_lanes);
    for (uint32_t i = 0; i < f->n; i += 8) {
        __m256i row =
            _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(const void *)&f->index[i]));
        row = _mm256_mullo_epi32(_mm256_srl_epi32(row, shift), lanes);
        _mm256_store_si256((__m256i *)(void *)(out_at + i), row);
    }
}

/* Of rows so wide that what a processor does ahead of its time does not reach AHEAD of them. */
static inline void fetch_row(const struct artifact *a, const int16_t *row)
{
    for (size_t at = 0; at < a->row_lanes * sizeof *row; at += 64)
        __builtin_prefetch((const char *)row + at);
}

INLINE_AVX2 __m256i avx2_row(const int16_t *row)
{
    return _mm256_cvtepi16_epi32(_mm_load_si128((const __m128i *)(const void *)row));
}

INLINE_AVX2 void avx2_store(int32_t *to, __m256i v)
{
    _mm256_store_si256((__m256i *)(void *)to, v);
}

/* As many lanes as eight registers hold, or half of that. */
INLINE_AVX2 void avx2_sum_wide(const struct artifact *a, const uint32_t *at, uint32_t n,
                               uint32_t lane, unsigned registers, int32_t *out)
{
    const bool fetch = lane == 0 && a->row_lanes > 32;
    __m256i s[8];
#pragma GCC unroll 8
    for (unsigned k = 0; k < registers; k++)
        s[k] = _mm256_setzero_si256();
    for (uint32_t i = 0; i < n; i++) {
        const int16_t *row = a->rows + at[i] + lane;
        if (fetch && i + AHEAD < n)
            fetch_row(a, a->rows + at[i + AHEAD]);
#pragma GCC unroll 8
        for (unsigned k = 0; k < registers; k++)
            s[k] = _mm256_add_epi32(s[k], avx2_row(row + (size_t)8 * k));
    }
#pragma GCC unroll 8
    for (unsigned k = 0; k < registers; k++)
        avx2_store(out + (size_t)8 * k, s[k]);
}

/* Two rows at a time: their lanes side by side, each pair added in one multiplication by one. */
INLINE_AVX2 void avx2_add_two(const int16_t *x, const int16_t *y, __m256i *io_low, __m256i *io_high)
{
    const __m256i ones = _mm256_set1_epi16(1);
    __m256i v = _mm256_load_si256((const __m256i *)(const void *)x);
    __m256i w = _mm256_load_si256((const __m256i *)(const void *)y);
    *io_low = _mm256_add_epi32(*io_low, _mm256_madd_epi16(_mm256_unpacklo_epi16(v, w), ones));
    *io_high = _mm256_add_epi32(*io_high, _mm256_madd_epi16(_mm256_unpackhi_epi16(v, w), ones));
}

AVX2 static void avx2_sum_16(const struct artifact *a, const uint32_t *at, uint32_t n,
                             uint32_t lane, int32_t *out)
{
    const int16_t *rows = a->rows + lane;
    __m256i low = _mm256_setzero_si256(), high = low, low2 = low, high2 = low;
    uint32_t i = 0;
    for (; i + 4 <= n; i += 4) {
        avx2_add_two(rows + at[i], rows + at[i + 1], &low, &high);
        avx2_add_two(rows + at[i + 2], rows + at[i + 3], &low2, &high2);
    }
    low = _mm256_add_epi32(low, low2);
    high = _mm256_add_epi32(high, high2);
    __m256i s0 = _mm256_permute2x128_si256(low, high, 0x20);
    __m256i s1 = _mm256_permute2x128_si256(low, high, 0x31);
    for (; i < n; i++) {
        s0 = _mm256_add_epi32(s0, avx2_row(rows + at[i]));
        s1 = _mm256_add_epi32(s1, avx2_row(rows + at[i] + 8));
    }
    avx2_store(out, s0);
    avx2_store(out + 8, s1);
}

AVX2 static void sum_avx2(const struct artifact *a, const struct features *f, int32_t *out_sums,
                          int32_t *out_dense)
{
    _Alignas(32) __attribute__((uninitialized)) uint32_t at[FEATURES_SPARSE_MAX];
    uint32_t lane = 0;
    find_rows(a, f, at);
    for (; lane + 64 <= a->row_lanes; lane += 64)
        avx2_sum_wide(a, at, f->n, lane, 8, out_sums + lane);
    for (; lane + 32 <= a->row_lanes; lane += 32)
        avx2_sum_wide(a, at, f->n, lane, 4, out_sums + lane);
    for (; lane < a->row_lanes; lane += 16)
        avx2_sum_16(a, at, f->n, lane, out_sums + lane);
    for (lane = 0; lane < a->row_lanes; lane += 16) {
        __m256i low = _mm256_setzero_si256(), high = low;
        const __m128i low_shift = _mm_cvtsi32_si128((int)dense_shift_at(a, lane));
        const __m128i high_shift = _mm_cvtsi32_si128((int)dense_shift_at(a, lane + 8));
#pragma GCC unroll 4
        for (uint32_t d = 0; d < FEATURES_DENSE; d++) {
            const int16_t *w = &a->dense[d][lane];
            const __m256i x = _mm256_set1_epi32(f->dense[d]); /* Zero stands beside each w. */
            __m256i v = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(const void *)w));
            __m256i u =
                _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(const void *)(w + 8)));
            v = _mm256_sra_epi32(_mm256_madd_epi16(v, x), low_shift);
            u = _mm256_sra_epi32(_mm256_madd_epi16(u, x), high_shift);
            low = _mm256_add_epi32(low, v);
            high = _mm256_add_epi32(high, u);
        }
        avx2_store(out_dense + lane, low);
        avx2_store(out_dense + lane + 8, high);
    }
}

#define AVX512        __attribute__((target("avx2,avx512f,avx512bw,avx512dq,avx512vl")))
#define INLINE_AVX512 AVX512 static inline __attribute__((always_inline))
#define REGISTERS_MAX (ARTIFACT_LANES_MAX / 16)

INLINE_AVX512 __m256i avx512_lanes(const int16_t *row)
{
    return _mm256_loadu_si256((const __m256i *)(const void *)row);
}

/* Whole rows, each in so many registers; of short ones several at a time, into sums of their own,
 * for one addition would wait for the other. */
INLINE_AVX512 void avx512_sum(const struct artifact *a, const uint32_t *at, uint32_t n,
                              unsigned registers, unsigned together, int32_t *out)
{
    __m512i s[REGISTERS_MAX];
    uint32_t i = 0;
#pragma GCC unroll 10
    for (unsigned k = 0; k < registers * together; k++)
        s[k] = _mm512_setzero_si512();
    for (; i + together <= n; i += together) {
        if (registers > 2 && i + AHEAD < n)
            fetch_row(a, a->rows + at[i + AHEAD]);
#pragma GCC unroll 10
        for (unsigned k = 0; k < registers * together; k++) {
            const int16_t *lanes = a->rows + at[i + k / registers] + (size_t)16 * (k % registers);
            s[k] = _mm512_add_epi32(s[k], _mm512_cvtepi16_epi32(avx512_lanes(lanes)));
        }
    }
    for (; i < n; i++)
#pragma GCC unroll 10
        for (unsigned k = 0; k < registers; k++)
            s[k] = _mm512_add_epi32(
                s[k], _mm512_cvtepi16_epi32(avx512_lanes(a->rows + at[i] + (size_t)16 * k)));
#pragma GCC unroll 10
    for (unsigned k = registers; k < registers * together; k++)
        s[k % registers] = _mm512_add_epi32(s[k % registers], s[k]);
#pragma GCC unroll 10
    for (unsigned k = 0; k < registers; k++)
        _mm512_storeu_si512(out + (size_t)16 * k, s[k]);
}

AVX512 static void sum_avx512(const struct artifact *a, const struct features *f, int32_t *out_sums,
                              int32_t *out_dense)
{
    _Alignas(32) __attribute__((uninitialized)) uint32_t at[FEATURES_SPARSE_MAX];
    find_rows(a, f, at);
    switch (a->row_lanes / 16) {
#define CASE(registers, together)                                                                  \
    case registers:                                                                                \
        avx512_sum(a, at, f->n, registers, together, out_sums);                                    \
        break;
        CASE(1, 4)
        CASE(2, 2)
        CASE(3, 2)
        CASE(4, 1)
        CASE(5, 1)
        CASE(6, 1)
        CASE(7, 1)
        CASE(8, 1)
        CASE(9, 1)
        CASE(10, 1)
#undef CASE
    default: /* Decoding refuses what is wider. */
        break;
    }
    for (uint32_t lane = 0; lane < a->row_lanes; lane += 16) {
        __m512i sum = _mm512_setzero_si512();
        const __m512i shift =
            _mm512_inserti64x4(_mm512_set1_epi32((int)dense_shift_at(a, lane)),
                               _mm256_set1_epi32((int)dense_shift_at(a, lane + 8)), 1);
        for (uint32_t d = 0; d < FEATURES_DENSE; d++) {
            const __m512i w = _mm512_cvtepu16_epi32(avx512_lanes(&a->dense[d][lane]));
            const __m512i product = _mm512_madd_epi16(w, _mm512_set1_epi32(f->dense[d]));
            sum = _mm512_add_epi32(sum, _mm512_srav_epi32(product, shift));
        }
        _mm512_storeu_si512(out_dense + lane, sum);
    }
}
#endif

score_sum_fn score_kernel(enum score_kernel kernel)
{
    switch (kernel) {
    case SCORE_SCALAR:
        return sum_scalar;
    case SCORE_SSE2:
#if HAVE_X86
        return sum_sse2;
#else
        return NULL;
#endif
    case SCORE_AVX2:
#if HAVE_X86
        return __builtin_cpu_supports("avx2") ? sum_avx2 : NULL;
#else
        return NULL;
#endif
    case SCORE_AVX512:
#if HAVE_X86 /* VBMI2: not those that slow down for wide registers (docs/decisions/0105). */
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("avx512bw") &&
                       __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
                       __builtin_cpu_supports("avx512vbmi2")
                   ? sum_avx512
                   : NULL;
#else
        return NULL;
#endif
    case SCORE_KERNELS:
        return NULL;
    }
    return NULL;
}

const char *score_kernel_name(enum score_kernel kernel)
{
    static const char *const names[SCORE_KERNELS] = {"scalar", "sse2", "avx2", "avx512"};
    return kernel < SCORE_KERNELS ? names[kernel] : NULL;
}

enum score_kernel score_kernel_best(void)
{
    for (int kernel = SCORE_KERNELS - 1; kernel > SCORE_SCALAR; kernel--)
        if (score_kernel((enum score_kernel)kernel) != NULL)
            return (enum score_kernel)kernel;
    return SCORE_SCALAR;
}

#if HAVE_X86
/* AVX512_FP16; not every compiler knows its name. */
static bool has_half_floats(void)
{
    unsigned a, b, c, d;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (d >> 23 & 1) != 0;
}

/* Gathers are quick where half floats are (Intel since 2023). Before, a mitigation slows them down,
 * and AMD's are made of single loads. */
static bool has_quick_gathers(void)
{
    return score_kernel(SCORE_AVX512) != NULL && has_half_floats() &&
           __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("bmi2");
}

static bool quick_gathers; /* Set before main, as is what scores are summed by. */
#endif

/* The same way through narrow rows. */
static score_sum_fn narrow_of(score_sum_fn sum)
{
#if HAVE_X86
    if (sum == sum_avx512 && quick_gathers)
        return score_sum_narrow_avx512;
    return sum == sum_scalar ? sum_scalar
           : sum == sum_sse2 ? score_sum_narrow_sse2
                             : score_sum_narrow_avx2;
#else
    return sum;
#endif
}

/* bias + linear + dense; artifact_bounds_hold proved that every sum fits. */
static inline int32_t lane_score(const struct artifact *a, uint32_t lane, const int32_t *sums,
                                 const int32_t *dense, int64_t rsqrt, unsigned shift)
{
    return a->bias[lane] + (int32_t)floor_shift_i64(sums[lane] * rsqrt, shift) + dense[lane];
}

void score_models_with(score_sum_fn sum, const struct artifact *a, const struct features *f,
                       struct score *out_score)
{
    __attribute__((uninitialized)) _Alignas(32) int32_t sums[ARTIFACT_LANES_MAX];
    __attribute__((uninitialized)) _Alignas(32) int32_t dense[ARTIFACT_LANES_MAX];
    __attribute__((uninitialized)) int64_t task_z[ARTIFACT_MODELS_MAX];
    __attribute__((uninitialized)) int64_t task_length[ARTIFACT_MODELS_MAX];
    memset(task_z, 0, a->model_count * sizeof task_z[0]);
    memset(task_length, 0, a->model_count * sizeof task_length[0]);
    const int64_t rsqrt = fixed_rsqrt[f->n];
    if (a->row_lanes <= SCORE_NARROW_LANES)
        sum = narrow_of(sum);
    sum(a, f, sums, dense);
    if (a->task_count > 0) {
        int32_t class_score[ARTIFACT_TASKS_MAX];
        for (uint32_t t = 0; t < a->task_count; t++)
            class_score[t] =
                lane_score(a, 2 * a->model_pad + t, sums, dense, rsqrt, a->scale.task_shift);
        fixed_softmax2_q16(class_score, a->task_count, out_score->task_p);
    }
    for (uint32_t t = 0; t < a->task_count; t++) {
        const int64_t p = out_score->task_p[t];
        for (uint32_t m = 0; p != 0 && m < a->model_count; m++) {
            task_z[m] += p * a->task_quality[t][m];
            task_length[m] += p * a->task_length[t][m];
        }
    }
    for (uint32_t m = 0; m < a->model_count; m++) {
        out_score->z[m] = lane_score(a, m, sums, dense, rsqrt, a->scale.quality_shift) +
                          (int32_t)floor_shift_i64(task_z[m], 16);
        out_score->length_q16[m] =
            lane_score(a, a->model_pad + m, sums, dense, rsqrt, a->scale.length_shift) +
            (int32_t)floor_shift_i64(task_length[m], 16);
    }
}

static score_sum_fn best = sum_scalar;

__attribute__((constructor)) static void choose_best(void)
{
#if HAVE_X86
    quick_gathers = has_quick_gathers();
#endif
    best = score_kernel(score_kernel_best());
}

void score_models(const struct artifact *a, const struct features *f, struct score *out_score)
{
    score_models_with(best, a, f, out_score);
}

uint32_t score_calibrate(const struct artifact_calib *calib, int32_t z)
{
    uint32_t low = 0, high = calib->count - 1;
    if (z <= calib->z[low])
        return calib->q[low];
    if (z >= calib->z[high])
        return calib->q[high];
    while (high - low > 1) {
        uint32_t middle = (low + high) / 2;
        if (calib->z[middle] <= z)
            low = middle;
        else
            high = middle;
    }
    int64_t width = (int64_t)calib->z[high] - calib->z[low];
    int64_t rise = (int64_t)calib->q[high] - calib->q[low];
    return calib->q[low] + (uint32_t)(((int64_t)z - calib->z[low]) * rise / width);
}
