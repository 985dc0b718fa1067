/* require.h: what a route, a key or a request demands of the deployments that may serve it, and
 * whether one states as much. What is not stated does not hold: nobody is taken at a guess. Pure.
 */
#ifndef STEELYARD_COMMON_ROUTE_REQUIRE_H
#define STEELYARD_COMMON_ROUTE_REQUIRE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/str.h"

#define REQUIRE_REGIONS_MAX      16
#define REQUIRE_REGION_BYTES_MAX 64

/* DataTerms of control.proto. */
enum require_data {
    REQUIRE_NOT_COLLECTED = 1, /* What is sent is not learned from, nor sold. */
    REQUIRE_NOT_KEPT = 2,      /* It is not kept either. */
    REQUIRE_STATED = 4,        /* Of a deployment: its provider's words do not count. */
};

struct require {
    const struct str *regions; /* One of them; none: any. */
    uint32_t region_count;
    uint32_t data; /* REQUIRE_NOT_* */
};

static inline bool require_is_any(const struct require *q)
{
    return q->region_count == 0 && q->data == 0;
}
/* Letters, digits and '-', not at its ends. */
bool require_region_valid(struct str region);
/* Is `region` the wanted one, or a part of it by its name: "eu" admits "eu-west-1", "EU-West-1" and
 * "eu", not "europe". An empty one is no part of anything. */
bool require_admits(struct str wanted, struct str region);
/* Bits POLICY_EXCL(REGION) and (PRIVACY_CLASS) of what a deployment of this region and these data
 * terms lacks; 0: it may serve. */
uint32_t require_lacks(const struct require *q, struct str region, uint32_t data);
/* What a deployment's own word and its provider's come to. */
uint32_t require_data_terms(uint32_t own, bool provider_collects_nothing);

#endif
