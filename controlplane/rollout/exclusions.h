/* exclusions.h: which units are too heavy to be tested with the others. One that makes more than 5
 * % of all exposures is a test of itself, whichever arm it fell into; it is reported apart and left
 * out of every guard.
 *
 * What a bucket leaves out is decided by the exposures before it, and a unit that was once set
 * apart stays apart: so nothing that was folded has to be taken back, and no bucket's own data
 * choose which of it counts. In the first 400 exposures every unit is heavy and none is set apart.
 */
#ifndef STEELYARD_CONTROLPLANE_ROLLOUT_EXCLUSIONS_H
#define STEELYARD_CONTROLPLANE_ROLLOUT_EXCLUSIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define EXCLUSION_SHARE_BP      500U /* Of 10,000. */
#define EXCLUSION_EXPOSURES_MIN 400U /* In all, before any unit is set apart. */

struct exclusion_unit {
    uint64_t unit;      /* Its keyed hash. */
    uint64_t exposures; /* In both arms, since the rollout began. */
    bool apart;         /* In and out. */
};

bool exclusion_is_heavy(uint64_t exposures, uint64_t total);
/* Marks the heavy ones of all units; returns how many were newly marked. total: exposures of all,
 * those apart included. */
size_t exclusions_mark(struct exclusion_unit *units, size_t count, uint64_t total);

#endif
