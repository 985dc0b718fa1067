/* way.h: ways of ordering a route's candidates that look at one integer each, beside the learned
 * policy. Pure: the same integers and the same draw give the same order on every machine.
 *
 * Candidates are sorted by priority, then by what the way looks at (smaller first), and whoever is
 * equal in both is drawn by weight, again and again until nobody is left. So a share is kept among
 * equals, and no way sends everything to the first of several idle ones. */
#ifndef STEELYARD_COMMON_ROUTE_WAY_H
#define STEELYARD_COMMON_ROUTE_WAY_H

#include <stdint.h>

#include "common/base/str.h"

#define WAY_CANDIDATES_MAX 64
#define WAY_WEIGHT_MAX     1000000U
#define WAY_PRIORITY_MAX   1000U
#define WAY_ALWAYS         UINT32_MAX /* p of one that had no equal. */

/* X(name, text): in the order of Way in control.proto. */
#define WAY_TABLE(X)                                                                               \
    X(LEARNED, "learned")               /* The policy: nothing here is used. */                    \
    X(PRIORITY, "priority")             /* Nothing but the priority. */                            \
    X(WEIGHTED, "weighted")             /* Nothing. */                                             \
    X(ROUND_ROBIN, "round-robin")       /* How many turns away. */                                 \
    X(LEAST_BUSY, "least-busy")         /* Requests in flight on this node. */                     \
    X(LOWEST_LATENCY, "lowest-latency") /* Expected milliseconds, of the policy's row. */          \
    X(LOWEST_COST, "lowest-cost")       /* Expected nano-USD, of the policy's row. */              \
    X(USAGE_BASED, "usage-based")       /* Tokens of the running minute on this node. */

enum way {
#define X(name, text) WAY_##name,
    WAY_TABLE(X)
#undef X
        WAYS
};
const char *way_name(uint32_t way); /* "least-busy"; NULL out of range. */
/* Also by the names that LiteLLM has for them. ERR_NOT_FOUND. */
int way_find(struct str name, enum way *out_way) MUST_CHECK;

struct way_candidate {
    int64_t measure; /* What the way looks at, unless the policy itself works it out. */
    uint32_t weight; /* 0: only where all equals have 0 or are gone. */
    uint32_t priority;
};

/* Everything of a decision that is a way's. Recorded as one block. */
struct way_input {
    uint32_t way; /* enum way */
    uint32_t count;
    struct way_candidate candidates[WAY_CANDIDATES_MAX];
};

/* open: bits of the positions that may be chosen; measure: by position, read for those alone.
 * out_order gets their positions, best first; out_p the chance of each to be the first, of 2^32,
 * rounded down but for one that gets the rest (0 for those behind; WAY_ALWAYS if it was certain).
 * Returns how many were ordered. */
uint32_t way_order(const struct way_input *in, const int64_t *measure, uint64_t open, uint32_t draw,
                   uint8_t *out_order, uint32_t *out_p);

#endif
