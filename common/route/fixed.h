/* fixed.h: the integer functions of the decision path and their tables. The tables are constants of
 * the program; an artifact carries their digest-equal copy (section TABLES), so that a policy made
 * for other tables is refused instead of giving other numbers. Pure; thread-safe. */
#ifndef STEELYARD_COMMON_ROUTE_FIXED_H
#define STEELYARD_COMMON_ROUTE_FIXED_H

#include <stdint.h>

#define FIXED_RSQRT_MAX 512

/* round(2^15 / sqrt(n)); [0] is 0, [1] is 32768. */
extern const uint16_t fixed_rsqrt[FIXED_RSQRT_MAX + 1];
/* round(2^30 * 2^(i/256)), i = 0..256. */
extern const uint32_t fixed_exp2_table[257];
/* round(256 * log2(1 + i/256)), i = 0..255. */
extern const uint16_t fixed_log2_table[256];

/* log2(1 + value) in Q8.8, 0..16384. */
uint32_t fixed_log2p1_q8(uint64_t value);
/* 2^(x/65536) in Q30 for x <= 0; 0 once x < -31 * 65536. */
uint32_t fixed_exp2_neg_q30(int64_t x_q16);
/* round(2^(x/65536)), clipped to [1, max] (max >= 1). Used for expected output tokens. */
uint32_t fixed_exp2_u32(int64_t x_q16, uint32_t max);
/* 65536 / (1 + 2^(-x * log2(e))) for a Q16 logit: the calibration of a model without data. */
uint32_t fixed_logistic_q16(int32_t logit_q16);
/* Its inverse for a prior: q in Q16, clipped to [0.02, 0.98], to a Q16 logit; within 2^-8. */
int32_t fixed_logit_q16(uint32_t q_q16);

/* Probabilities in Q16 of the classes of Q16 base-2 scores; they sum to exactly 65536 (what the
 * rounding leaves goes to the highest score, the first of equals). 1 <= count <= 32. */
void fixed_softmax2_q16(const int32_t *score_q16, uint32_t count, uint32_t *out_p);

#endif
