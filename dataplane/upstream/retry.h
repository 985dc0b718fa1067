/* retry.h: may a request be tried again, when, and what a provider's wait says. No clock, no I/O.
 *
 * Budget (RELIABILITY F16, F17): of the requests of a node in this window of 10 s and the one
 * before, at most 20 % are retries, but always three; and at most a share are second attempts
 * beside a first. One for all workers: each counts its requests in a lane of its own, a line that
 * nobody else writes to; the lanes are added up only when somebody wants to try again. A count
 * bears the number of its window, so that a window begins without anybody clearing the last one. */
#ifndef STEELYARD_DATAPLANE_UPSTREAM_RETRY_H
#define STEELYARD_DATAPLANE_UPSTREAM_RETRY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/base/str.h"

#define RETRY_WAIT_MAX_MS 300000U /* B41. */

#define RETRY_LANES 64U /* Workers beyond them share one with another. */

/* Counts of two windows: number of the window << 32 | count, by its parity. */
struct retry_count {
    _Atomic uint64_t of[2];
};
struct retry_lane {
    struct retry_count requests;
    char apart[64 - sizeof(struct retry_count)]; /* In lines of their own, wherever they begin. */
};
struct retry_budget { /* All zero at first. */
    struct retry_lane lanes[RETRY_LANES];
    struct retry_count retries;
    struct retry_count hedges;
};

/* Any thread. lane: any number, the same for one worker. */
void retry_budget_request(struct retry_budget *b, uint32_t lane, uint64_t now_ms); /* Once each. */
bool retry_budget_take(struct retry_budget *b, uint64_t now_ms); /* true: counted as used. */
/* The same for a second attempt beside the first; share: of 2^32. */
bool retry_budget_take_hedge(struct retry_budget *b, uint32_t share, uint64_t now_ms);

/* Full jitter (Brooker, 2015): uniform in [0, min(cap, base * 2^attempt)), attempt from 0; `random`
 * is any 64 random bits. */
uint32_t retry_backoff_ms(unsigned attempt, uint64_t random);

/* What an answer's headers ask us to wait, clamped to 0..300 s: retry-after-ms, then retry-after
 * (seconds, or a date of RFC 9110 section 5.6.7 in its preferred form). What is negative, past or
 * not understood is 0; what is too large is the maximum. STR_NULL = the header is not there.
 * *out_known: whether there was anything to understand. */
uint32_t retry_after_ms(struct str header_ms, struct str header, int64_t wall_us, bool *out_known);

#endif
