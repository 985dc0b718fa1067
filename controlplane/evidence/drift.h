/* drift.h: has a model, or what it is asked, become another one? Pure.
 *
 * Per model: two one-sided cumulative sums (Page 1954) of the hourly mean of (y - q) / sigma with
 * allowance k = 0.5 and bound h = 5 (LEARNING-AND-CONTROL 6.8). sigma is that of the hour's mean:
 * of the labels' chance, q (1 - q) each, and of the calibration error that gates tolerate, so that
 * many labels of a model that is off by a hair are not drift. Hours with few labels wait for more.
 *
 * Per policy: the population stability index of predicted quality and of dense features (learn/
 * reference.h); above 0.2 the requests are others than those learned from. */
#ifndef STEELYARD_CONTROLPLANE_EVIDENCE_DRIFT_H
#define STEELYARD_CONTROLPLANE_EVIDENCE_DRIFT_H

#include <stdbool.h>
#include <stdint.h>

#include "controlplane/learn/reference.h"

#define DRIFT_ALLOWANCE  0.5
#define DRIFT_BOUND      5.0
#define DRIFT_TOLERANCE  0.02 /* Of mean quality: what calibration may be off by. */
#define DRIFT_STEP_MAX   4.0  /* One hour says no more than this. */
#define DRIFT_LABELS_MIN 5    /* Of an hour; fewer wait. */
#define DRIFT_PSI_MAX    0.2
#define DRIFT_ROWS_MIN   500 /* On both sides of an index. */

struct drift_hour { /* Labels of one model in one hour, or several when they were few. */
    uint64_t labels;
    double residuals; /* Sum of y - q. */
    double variances; /* Sum of q (1 - q). */
};
/* The hour's mean in its own sigma; 0 without labels. */
double drift_standardise(const struct drift_hour *hour);

struct drift_sums { /* Zero: nothing has been seen. */
    double up;
    double down;
    double residuals; /* Since the larger of the two left zero, with ... */
    uint64_t labels;
};
enum drift_verdict { DRIFT_NONE, DRIFT_BETTER, DRIFT_WORSE };
/* Folds an hour in. After a verdict the sums begin anew; *out_value is the sum that crossed and
 * *out_bias the mean of y - q since it left zero. */
enum drift_verdict drift_fold(struct drift_sums *sums, const struct drift_hour *hour,
                              double *out_value, double *out_bias);

/* after is sorted; NAN with fewer than DRIFT_ROWS_MIN on a side. */
double drift_stability(const struct reference *before, double *after, uint32_t after_count);

/* What to add to a model's score (logits) so that mean quality q becomes q + bias; at most one. */
double drift_offset(double q, double bias);

#endif
