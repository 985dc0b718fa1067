/* round.h: how many of a list are looked at now, so that each is looked at about once in ROUND_MS
 * and thousands of them never at once: they are in no cache, and others would wait for all of that.
 * Of a few, all. Pure: no clock of its own. */
#ifndef STEELYARD_COMMON_BASE_ROUND_H
#define STEELYARD_COMMON_BASE_ROUND_H

#include <stdint.h>

#define ROUND_MS    1000U
#define ROUND_LEAST 256U

struct round { /* Zeroed is ready. */
    uint64_t looked_ms;
};

static inline uint32_t round_part(struct round *r, uint32_t count, uint64_t now_ms)
{
    const uint64_t passed_ms = now_ms - r->looked_ms;
    r->looked_ms = now_ms;
    if (passed_ms >= ROUND_MS)
        return count;
    const uint64_t part = count * passed_ms / ROUND_MS + ROUND_LEAST;
    return part < count ? (uint32_t)part : count;
}

#endif
