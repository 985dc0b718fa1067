/* retry.h: may a request be tried again, when, and what a provider's wait says. Pure.
 *
 * Budget (RELIABILITY F16): retries at most 20 % of the requests of the last windows, but always
 * `floor` of them; embedded by value, one thread each. */
#ifndef STEELYARD_DATAPLANE_UPSTREAM_RETRY_H
#define STEELYARD_DATAPLANE_UPSTREAM_RETRY_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/str.h"

#define RETRY_WAIT_MAX_MS 300000U /* B41. */

struct retry_budget {
    uint64_t window_start_ms;
    uint32_t requests[2]; /* Current and previous window of 10 s. */
    uint32_t retries[2];
};

void retry_budget_init(struct retry_budget *b);
void retry_budget_request(struct retry_budget *b, uint64_t now_ms); /* Once a request. */
bool retry_budget_take(struct retry_budget *b, uint64_t now_ms);    /* true: counted as used. */

/* Full jitter (Brooker, 2015): uniform in [0, min(cap, base * 2^attempt)), attempt from 0; `random`
 * is any 64 random bits. */
uint32_t retry_backoff_ms(unsigned attempt, uint64_t random);

/* What an answer's headers ask us to wait, clamped to 0..300 s: retry-after-ms, then retry-after
 * (seconds, or a date of RFC 9110 section 5.6.7 in its preferred form). What is negative, past or
 * not understood is 0; what is too large is the maximum. STR_NULL = the header is not there.
 * *out_known: whether there was anything to understand. */
uint32_t retry_after_ms(struct str header_ms, struct str header, int64_t wall_us, bool *out_known);

#endif
