#include "dataplane/upstream/quantile.h"

#include <stdbool.h>

#define UP        19U
#define STEP      256U /* A step is so small a part of the estimate ... */
#define STEP_WARM 128U /* ... and larger among the first. */
#define WARM      128U

static void move(struct quantile *q, uint64_t sample_q16, bool known)
{
    const uint64_t step = q->estimate_q16 / (q->samples < WARM ? STEP_WARM : STEP) + 1;
    if (q->samples < UINT32_MAX)
        q->samples++;
    if (q->samples == 1) { /* Anything is as good a beginning. */
        q->estimate_q16 = sample_q16;
        return;
    }
    if (sample_q16 > q->estimate_q16) /* Perhaps beyond it: else what is near would weigh less. */
        q->estimate_q16 += UP * step;
    else if (known)
        q->estimate_q16 -= q->estimate_q16 > step ? step : q->estimate_q16;
}

void quantile_observe(struct quantile *q, uint32_t sample)
{
    move(q, (uint64_t)sample << 16, true);
}

void quantile_observe_above(struct quantile *q, uint32_t least)
{
    const uint64_t least_q16 = ((uint64_t)least << 16) + 1;
    /* As far as this is above the estimate the sample is, too; below, nothing is known. */
    move(q, least_q16, false);
}

uint32_t quantile_get(const struct quantile *q)
{
    if (q->samples < QUANTILE_SAMPLES_MIN)
        return 0;
    const uint64_t whole = (q->estimate_q16 + (UINT64_C(1) << 16) - 1) >> 16;
    return whole > UINT32_MAX ? UINT32_MAX : (uint32_t)whole;
}
