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

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* How many of the sorted values are <= limit. */
static uint32_t count_up_to(const double *sorted, uint32_t count, double limit)
{
    uint32_t low = 0;
    uint32_t high = count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (sorted[middle] <= limit)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

double drift_stability(double *before, uint32_t before_count, double *after, uint32_t after_count)
{
    double index = 0;
    uint32_t from_before = 0;
    uint32_t from_after = 0;
    if (before_count < DRIFT_ROWS_MIN || after_count < DRIFT_ROWS_MIN)
        return NAN;
    qsort(before, before_count, sizeof(*before), by_value);
    qsort(after, after_count, sizeof(*after), by_value);
    for (uint32_t bin = 1; bin <= DRIFT_BINS; bin++) {
        double limit =
            bin == DRIFT_BINS ? INFINITY : before[(uint64_t)before_count * bin / DRIFT_BINS];
        uint32_t to_before = count_up_to(before, before_count, limit);
        uint32_t to_after = count_up_to(after, after_count, limit);
        if (to_before == from_before && to_after == from_after)
            continue; /* Equal limits: the bin before has them all. */
        /* Half a row more in each, so that an empty bin has a logarithm. */
        double e = (to_before - from_before + 0.5) / (before_count + 0.5 * DRIFT_BINS);
        double a = (to_after - from_after + 0.5) / (after_count + 0.5 * DRIFT_BINS);
        index += (a - e) * log(a / e);
        from_before = to_before;
        from_after = to_after;
    }
    return index;
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
