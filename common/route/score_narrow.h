/* score_narrow.h: the sums of artifacts of at most four models without task classes, whose rows are
 * 4 or 8 lanes: a table of 65,536 rows takes 512 KiB or 1 MiB then, which stays in a second-level
 * cache where one of 2 MiB does not (docs/decisions/0240). */
#ifndef STEELYARD_COMMON_ROUTE_SCORE_NARROW_H
#define STEELYARD_COMMON_ROUTE_SCORE_NARROW_H

#include "common/route/score.h"

#define SCORE_NARROW_LANES 8U /* Rows of at most so many. */

/* As score_sum_fn; the same bits as the scalar kernel. SSE2 is on every x86-64, the others are
 * asked for by who calls. NULL on other processors. */
extern const score_sum_fn score_sum_narrow_sse2;
extern const score_sum_fn score_sum_narrow_avx2;
extern const score_sum_fn score_sum_narrow_avx512;

#endif
