/* quantile.h: the 95th percentile of what was seen lately, in two words and without samples:
 * frugal streaming (Ma, Muthukrishnan and Sandler, "Frugal streaming for estimating quantiles",
 * 2013), with steps in proportion to the estimate, so that what takes milliseconds and what takes
 * minutes are followed alike. A sample above moves the estimate up by 19 steps, one below down by
 * one: it rests where 5 of 100 are above. Integers only; pure; one thread. */
#ifndef STEELYARD_DATAPLANE_UPSTREAM_QUANTILE_H
#define STEELYARD_DATAPLANE_UPSTREAM_QUANTILE_H

#include <stdint.h>

#define QUANTILE_SAMPLES_MIN 32U /* Fewer say nothing of one in twenty. */

struct quantile { /* All zero at first. */
    uint64_t estimate_q16;
    uint32_t samples;
};

void quantile_observe(struct quantile *q, uint32_t sample);
/* Of a sample that is only known to be larger than this. */
void quantile_observe_above(struct quantile *q, uint32_t least);
uint32_t quantile_get(const struct quantile *q); /* 0: too few have been seen. */

#endif
