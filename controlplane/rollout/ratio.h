/* ratio.h: do as many units come to each arm as the stage's share says? If not, the assignment or
 * the records of one arm are broken and no other guard can be believed: the rollout is held
 * (sample-ratio mismatch). Two-sided: ratios {1/1.5, 1/1.1, 1.1, 1.5}, may be looked at whenever
 * one likes (as event_guard.h). Counts units when they are first seen, against the nominal share of
 * that moment. */
#ifndef STEELYARD_CONTROLPLANE_ROLLOUT_RATIO_H
#define STEELYARD_CONTROLPLANE_ROLLOUT_RATIO_H

#include <stdbool.h>
#include <stdint.h>

#define RATIO_GRID  4U
#define RATIO_ALPHA 1e-4

struct ratio_guard {
    double log_m[RATIO_GRID];
    double expected;   /* Candidate's units, by the shares. */
    uint64_t units[2]; /* First seen as stable, as candidate. */
};

void ratio_guard_init(struct ratio_guard *g);
/* Units that were seen for the first time, in one bucket at one nominal share. A share of 0 or 1
 * says nothing and is left out. */
void ratio_guard_fold(struct ratio_guard *g, double pi, uint64_t stable, uint64_t candidate);
double ratio_guard_log_m(const struct ratio_guard *g);
bool ratio_guard_breached(const struct ratio_guard *g, double alpha);

#endif
