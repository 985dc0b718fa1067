#include "controlplane/evidence/drift.h"

#include <math.h>
#include <stdlib.h>

#define OFFSET_MAX  1.0
#define QUALITY_MIN 0.01

double drift_standardise(const struct drift_hour *hour)
{
    double n = (double)hour->labels;
    double variance = hour->variances + n * DRIFT_TOLERANCE * n * DRIFT_TOLERANCE;
    if (hour->labels == 0 || !(variance > 0))
        return 0;
    double z = hour->residuals / sqrt(variance);
    return fmin(fmax(z, -DRIFT_STEP_MAX), DRIFT_STEP_MAX);
}

enum drift_verdict drift_fold(struct drift_sums *sums, const struct drift_hour *hour,
                              double *out_value, double *out_bias)
{
    double z = drift_standardise(hour);
    *out_value = *out_bias = 0;
    sums->up = fmax(0, sums->up + z - DRIFT_ALLOWANCE);
    sums->down = fmax(0, sums->down - z - DRIFT_ALLOWANCE);
    if (sums->up == 0 && sums->down == 0) {
        *sums = (struct drift_sums){0};
        return DRIFT_NONE;
    }
    sums->residuals += hour->residuals;
    sums->labels += hour->labels;
    enum drift_verdict verdict = sums->down > DRIFT_BOUND ? DRIFT_WORSE
                                 : sums->up > DRIFT_BOUND ? DRIFT_BETTER
                                                          : DRIFT_NONE;
    if (verdict == DRIFT_NONE)
        return DRIFT_NONE;
    *out_value = verdict == DRIFT_WORSE ? sums->down : sums->up;
    *out_bias = sums->labels > 0 ? sums->residuals / (double)sums->labels : 0;
    *sums = (struct drift_sums){0};
    return verdict;
}

double drift_stability(const struct reference *before, double *after, uint32_t after_count)
{
    if (before->rows < DRIFT_ROWS_MIN || after_count < DRIFT_ROWS_MIN)
        return NAN;
    return reference_index(before, after, after_count);
}

static double logit(double q)
{
    double p = fmin(fmax(q, QUALITY_MIN), 1 - QUALITY_MIN);
    return log(p / (1 - p));
}

double drift_offset(double q, double bias)
{
    return fmin(fmax(logit(q + bias) - logit(q), -OFFSET_MAX), OFFSET_MAX);
}
