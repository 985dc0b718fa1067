/* resets.h: when a provider's rate limits come back, of an answer that says so limit by limit and
 * not in Retry-After. Pure.
 *
 * Read are pairs of fields: x-ratelimit-remaining-NAME and x-ratelimit-reset-NAME (OpenAI, and who
 * imitates it; OpenRouter without a NAME), anthropic-ratelimit-NAME-remaining and -reset. A limit
 * counts if nothing of it remains and its reset is understood. */
#ifndef STEELYARD_DATAPLANE_UPSTREAM_RESETS_H
#define STEELYARD_DATAPLANE_UPSTREAM_RESETS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/str.h"

#define RESETS_MAX 16 /* Limits of one answer; more are not looked at. */

struct resets_limit {
    struct str name; /* Borrowed from the head. */
    bool anthropic;
    bool spent; /* 0 remains. */
    bool known; /* wait_ms is what its reset says. */
    uint32_t remaining_seen, reset_seen; /* How often each came. */
    uint32_t wait_ms;
};
struct resets { /* All zero at first. */
    struct resets_limit limits[RESETS_MAX];
    uint32_t count;
};

/* A field of the head; any other is passed over. The slices are kept until resets_wait_ms. */
void resets_add(struct resets *s, struct str name, struct str value, int64_t wall_us);
/* The longest wait of a limit that is spent, at most 300 s; 0: none says any. A limit of which
 * either field came twice says nothing. */
uint32_t resets_wait_ms(const struct resets *s);

/* How long a reset is away, 0..300 s: "6m0s", "20ms" or "2m59.56s" (days to milliseconds, each
 * unit smaller than the one before), seconds ("7.66"), the time itself in seconds (from 10^9 on) or
 * milliseconds (from 10^12 on) since 1970, or as in RFC 3339. What is past is 0. False: none of
 * these. */
bool resets_parse(struct str value, int64_t wall_us, uint32_t *out_ms);

#endif
