/* The hot loop of a decision: up to 512 rows of int16 lanes summed into int32. A row is one run of
 * cache lines in a table of megabytes, so rows are fetched some steps ahead; after that the loads
 * are the cost and any SIMD width will do. */
#include "common/route/score.h"

#include <string.h>

#include "common/base/checked.h"
#include "common/route/fixed.h"

#if defined(__x86_64__)
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

#define AVX2 __attribute__((target("avx2")))

AVX2 static inline __m256i avx2_row(const int16_t *row)
{
    return _mm256_cvtepi16_epi32(_mm_load_si128((const __m128i *)(const void *)row));
}

AVX2 static inline void avx2_store(int32_t *to, __m256i v)
{
    _mm256_store_si256((__m256i *)(void *)to, v);
}

AVX2 static void avx2_sum_64(const struct artifact *a, const struct features *f, uint32_t lane,
                             int32_t *out)
{
    __m256i s0 = _mm256_setzero_si256(), s1 = s0, s2 = s0, s3 = s0, s4 = s0, s5 = s0, s6 = s0,
            s7 = s0;
    for (uint32_t i = 0; i < f->n; i++) {
        const int16_t *row = row_of(a, f->index[i]) + lane;
        if (lane == 0)
            fetch_ahead(a, f, i);
        s0 = _mm256_add_epi32(s0, avx2_row(row));
        s1 = _mm256_add_epi32(s1, avx2_row(row + 8));
        s2 = _mm256_add_epi32(s2, avx2_row(row + 16));
        s3 = _mm256_add_epi32(s3, avx2_row(row + 24));
        s4 = _mm256_add_epi32(s4, avx2_row(row + 32));
        s5 = _mm256_add_epi32(s5, avx2_row(row + 40));
        s6 = _mm256_add_epi32(s6, avx2_row(row + 48));
        s7 = _mm256_add_epi32(s7, avx2_row(row + 56));
    }
    avx2_store(out, s0);
    avx2_store(out + 8, s1);
    avx2_store(out + 16, s2);
    avx2_store(out + 24, s3);
    avx2_store(out + 32, s4);
    avx2_store(out + 40, s5);
    avx2_store(out + 48, s6);
    avx2_store(out + 56, s7);
}

AVX2 static void avx2_sum_32(const struct artifact *a, const struct features *f, uint32_t lane,
                             int32_t *out)
{
    __m256i s0 = _mm256_setzero_si256(), s1 = s0, s2 = s0, s3 = s0;
    for (uint32_t i = 0; i < f->n; i++) {
        const int16_t *row = row_of(a, f->index[i]) + lane;
        s0 = _mm256_add_epi32(s0, avx2_row(row));
        s1 = _mm256_add_epi32(s1, avx2_row(row + 8));
        s2 = _mm256_add_epi32(s2, avx2_row(row + 16));
        s3 = _mm256_add_epi32(s3, avx2_row(row + 24));
    }
    avx2_store(out, s0);
    avx2_store(out + 8, s1);
    avx2_store(out + 16, s2);
    avx2_store(out + 24, s3);
}

/* Two rows at a time: their lanes side by side, each pair added in one multiplication by one. */
AVX2 static void avx2_sum_16(const struct artifact *a, const struct features *f, uint32_t lane,
                             int32_t *out)
{
    const __m256i ones = _mm256_set1_epi16(1);
    const int16_t *rows = a->rows + lane;
    const size_t lanes = a->row_lanes;
    const unsigned shift = FEATURES_INDEX_BITS - a->index_bits;
    __m256i low = _mm256_setzero_si256(), high = low;
    uint32_t i = 0;
    for (; i + 2 <= f->n; i += 2) {
        const __m256i *x = (const __m256i *)(const void *)(rows + (f->index[i] >> shift) * lanes);
        const __m256i *y =
            (const __m256i *)(const void *)(rows + (f->index[i + 1] >> shift) * lanes);
        __m256i v = _mm256_loadu_si256(x), w = _mm256_loadu_si256(y);
        low = _mm256_add_epi32(low, _mm256_madd_epi16(_mm256_unpacklo_epi16(v, w), ones));
        high = _mm256_add_epi32(high, _mm256_madd_epi16(_mm256_unpackhi_epi16(v, w), ones));
    }
    __m256i s0 = _mm256_permute2x128_si256(low, high, 0x20);
    __m256i s1 = _mm256_permute2x128_si256(low, high, 0x31);
    if (i < f->n) {
        const int16_t *row = row_of(a, f->index[i]) + lane;
        s0 = _mm256_add_epi32(s0, avx2_row(row));
        s1 = _mm256_add_epi32(s1, avx2_row(row + 8));
    }
    avx2_store(out, s0);
    avx2_store(out + 8, s1);
}

AVX2 static void sum_avx2(const struct artifact *a, const struct features *f, int32_t *out_sums,
                          int32_t *out_dense)
{
    uint32_t lane = 0;
    for (; lane + 64 <= a->row_lanes; lane += 64)
        avx2_sum_64(a, f, lane, out_sums + lane);
    for (; lane + 32 <= a->row_lanes; lane += 32)
        avx2_sum_32(a, f, lane, out_sums + lane);
    for (; lane < a->row_lanes; lane += 16)
        avx2_sum_16(a, f, lane, out_sums + lane);
    for (lane = 0; lane < a->row_lanes; lane += 8) {
        __m256i sum = _mm256_setzero_si256();
        __m128i shift = _mm_cvtsi32_si128((int)dense_shift_at(a, lane));
        for (uint32_t d = 0; d < FEATURES_DENSE; d++) {
            __m256i w = _mm256_cvtepi16_epi32(
                _mm_loadu_si128((const __m128i *)(const void *)&a->dense[d][lane]));
            __m256i product = _mm256_mullo_epi32(w, _mm256_set1_epi32(f->dense[d]));
            sum = _mm256_add_epi32(sum, _mm256_sra_epi32(product, shift));
        }
        avx2_store(out_dense + lane, sum);
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
    case SCORE_KERNELS:
        return NULL;
    }
    return NULL;
}

const char *score_kernel_name(enum score_kernel kernel)
{
    static const char *const names[SCORE_KERNELS] = {"scalar", "sse2", "avx2"};
    return kernel < SCORE_KERNELS ? names[kernel] : NULL;
}

enum score_kernel score_kernel_best(void)
{
    for (int kernel = SCORE_KERNELS - 1; kernel > SCORE_SCALAR; kernel--)
        if (score_kernel((enum score_kernel)kernel) != NULL)
            return (enum score_kernel)kernel;
    return SCORE_SCALAR;
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

void score_models(const struct artifact *a, const struct features *f, struct score *out_score)
{
    score_models_with(score_kernel(score_kernel_best()), a, f, out_score);
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
