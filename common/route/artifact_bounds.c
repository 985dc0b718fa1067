/* Proof that scores stay in range, from the weights alone. For a set of n features the linear part
 * of a lane is at most n * max|W| * fixed_rsqrt[n] >> shift, and n * fixed_rsqrt[n] is largest at
 * n = 512; the dense part at most the sum of |D[d]| * 2^15 >> shift; the task part at most the
 * largest |G|, because the probabilities sum to 1. Each floor adds at most 1. Every partial sum is
 * bounded by the sum of these bounds, so 32-bit sums in any order are exact. */
#include "common/base/checked.h"
#include "common/route/artifact_format.h"
#include "common/route/fixed.h"

static int64_t magnitude(int64_t v)
{
    return v < 0 ? -v : v;
}

static int64_t linear_factor(void)
{
    int64_t factor = 0;
    for (int64_t n = 1; n <= FIXED_RSQRT_MAX; n++)
        if (n * fixed_rsqrt[n] > factor)
            factor = n * fixed_rsqrt[n];
    return factor;
}

/* Largest |bias + linear + dense| of one lane. */
static int64_t lane_bound(const struct artifact *a, uint32_t lane, int64_t weight_max,
                          unsigned shift, unsigned dense_shift)
{
    int64_t bound = magnitude(a->bias[lane]);
    bound += floor_shift_i64(weight_max * linear_factor(), shift) + 1;
    for (unsigned d = 0; d < FEATURES_DENSE; d++)
        bound += floor_shift_i64(magnitude(a->dense[d][lane]) << 15, dense_shift) + 1;
    return bound;
}

static int64_t task_bound(const int32_t g[][ARTIFACT_MODELS_MAX], uint32_t tasks, uint32_t model)
{
    int64_t bound = 0;
    for (uint32_t t = 0; t < tasks; t++)
        if (magnitude(g[t][model]) > bound)
            bound = magnitude(g[t][model]);
    return bound + 1;
}

static void find_weight_max(const struct artifact *a, int32_t out_max[ARTIFACT_LANES_MAX])
{
    const int16_t *row = a->rows;
    for (uint32_t lane = 0; lane < ARTIFACT_LANES_MAX; lane++)
        out_max[lane] = 0;
    for (uint32_t r = 0; r < UINT32_C(1) << a->index_bits; r++, row += a->row_lanes)
        for (uint32_t lane = 0; lane < a->row_lanes; lane++) {
            int32_t w = row[lane] < 0 ? -row[lane] : row[lane];
            out_max[lane] = w > out_max[lane] ? w : out_max[lane];
        }
}

bool artifact_bounds_hold(const struct artifact *a)
{
    int32_t weight_max[ARTIFACT_LANES_MAX];
    const struct artifact_scale *s = &a->scale;
    find_weight_max(a, weight_max);
    for (uint32_t m = 0; m < a->model_count; m++) {
        uint32_t lane = m;
        int64_t bound =
            lane_bound(a, lane, weight_max[lane], s->quality_shift, s->quality_dense_shift) +
            task_bound(a->task_quality, a->task_count, m) + ARTIFACT_OFFSET_MAX;
        if (bound > ARTIFACT_SCORE_MAX)
            return false;
        lane = a->model_pad + m;
        bound = lane_bound(a, lane, weight_max[lane], s->length_shift, s->length_dense_shift) +
                task_bound(a->task_length, a->task_count, m);
        if (bound > ARTIFACT_SCORE_MAX)
            return false;
    }
    for (uint32_t t = 0; t < a->task_count; t++) {
        uint32_t lane = 2 * a->model_pad + t;
        if (lane_bound(a, lane, weight_max[lane], s->task_shift, s->task_dense_shift) >
            ARTIFACT_SCORE_MAX)
            return false;
    }
    return true;
}
