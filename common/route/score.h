/* score.h: features and artifact to raw scores of every model: the linear part of the policy.
 *   class_t  = task_bias + linear + dense                     p = softmax2(class), sums to 65536
 *   z_m      = bias + linear + dense + (sum_t p_t * G[t][m] >> 16)      (off[m] is added by policy)
 *   length_m = bias + linear + dense + (sum_t p_t * L[t][m] >> 16)      log2(tokens), Q16
 * SIMD kernels are chosen once from the processor and give the same bits as the scalar one.
 * Pure; thread-safe; no allocation. */
#ifndef STEELYARD_COMMON_ROUTE_SCORE_H
#define STEELYARD_COMMON_ROUTE_SCORE_H

#include <stdint.h>

#include "common/route/artifact.h"
#include "common/route/features.h"

struct score {
    int32_t z[ARTIFACT_MODELS_MAX];
    int32_t length_q16[ARTIFACT_MODELS_MAX];
    uint32_t task_p[ARTIFACT_TASKS_MAX + 1]; /* Q16 */
};

void score_models(const struct artifact *a, const struct features *f, struct score *out_score);
uint32_t score_calibrate(const struct artifact_calib *calib, int32_t z); /* q, Q16 */

enum score_kernel { SCORE_SCALAR, SCORE_SSE2, SCORE_AVX2, SCORE_AVX512, SCORE_KERNELS };
/* Per lane, exact: the sum of W over the set, and the dense part. Both outputs hold
 * ARTIFACT_LANES_MAX and are 32-byte aligned. */
typedef void (*score_sum_fn)(const struct artifact *a, const struct features *f, int32_t *out_sums,
                             int32_t *out_dense);
/* NULL when this processor has it not. For tests and benchmarks; score_models picks the best. Rows
 * of 4 and 8 lanes have a way of their own beside the scalar one. */
score_sum_fn score_kernel(enum score_kernel kernel);
const char *score_kernel_name(enum score_kernel kernel);
enum score_kernel score_kernel_best(void);
void score_models_with(score_sum_fn sum, const struct artifact *a, const struct features *f,
                       struct score *out_score);

#endif
