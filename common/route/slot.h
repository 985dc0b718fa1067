/* slot.h: where a unit of a rollout stands: one of 10,000 slots, of which the candidate serves
 * those below its share. A larger share only adds units; another salt shuffles all of them. The
 * node assigns by it, the control plane checks by it. Pure; thread-safe. */
#ifndef STEELYARD_COMMON_ROUTE_SLOT_H
#define STEELYARD_COMMON_ROUTE_SLOT_H

#include <stdint.h>

#include "common/base/hash.h"

#define SLOT_COUNT 10000U

/* SipHash-2-4 under the rollout's salt of segment (4 bytes) and unit (8 bytes), both little endian,
 * modulo 10,000. segment: the rollout's, 0 for one of all segments. */
uint32_t slot_of(struct siphash_key salt, uint32_t segment, uint64_t unit);

#endif
