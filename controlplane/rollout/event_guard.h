/* event_guard.h: does the candidate cause more of a bad event than the stable version does?
 * One-sided test of "candidate rate <= (1 + tolerated) * stable rate" that may be looked at
 * whenever one likes (Ville's inequality; cf. Lindon et al., Anytime-Valid Inference for
 * Multinomial Count Data).
 *
 * An event is counted when it happens, with pi, the candidate's share of the exposures in the same
 * bucket and stratum. For each rate ratio e^th_j of the grid {1.1, 1.25, 1.5, 2, 3, 5, 10} above
 * 1 + tolerated, and th_0 = log(1 + tolerated), with z = 1 for a candidate's event:
 *   log M_j += (th_j - th_0) z - log(1 - pi + pi e^th_j) + log(1 - pi + pi e^th_0)
 *   M = mean of exp(log M_j)
 * M is at least 1 / alpha with a chance of at most alpha, ever, if the candidate is not worse.
 *
 * That is exact if events come one by one. Units that stay in their arm and differ from each other
 * (one fails always, another never) bring them in lumps, and a few such units in the candidate's
 * arm look like harm. So the lumps are measured in the stable arm, as the variance of its events
 * over 64 clusters of units against what single events would have; where it is surely larger, by a
 * factor of f, the breach asks for log M / f >= log(1 / alpha). f is never below 1: what is exact
 * stays so.
 *
 * Pure: no clock, no I/O. Callers fold each (bucket, stratum) once, in any order. At most one event
 * per unit per minute is to be counted, so that one caller who repeats itself is not a crowd; units
 * set apart (exclusions.h) and requests of arm `unavailable` are neither events nor exposures. */
#ifndef STEELYARD_CONTROLPLANE_ROLLOUT_EVENT_GUARD_H
#define STEELYARD_CONTROLPLANE_ROLLOUT_EVENT_GUARD_H

#include <stdbool.h>
#include <stdint.h>

#define EVENT_GUARD_GRID          7U
#define EVENT_GUARD_TOLERATED_MAX 8.0 /* At least one point of the grid stays above it. */
#define EVENT_GUARD_EVENTS_MIN    5U  /* Of the candidate, before anything can be a breach. */
#define EVENT_GUARD_UNITS_MIN     3U  /* That these events come from. */

#define EVENT_GUARD_CLUSTERS 64U

struct event_guard {
    double tolerated;               /* d: 0.1 allows a rate 10 % above stable's. */
    double log_m[EVENT_GUARD_GRID]; /* Grid points not above th_0 stay 0 and are left out. */
    uint64_t exposures[2];          /* Stable, candidate. */
    uint64_t events[2];
    uint64_t cluster_exposures[EVENT_GUARD_CLUSTERS]; /* Of stable. */
    uint64_t cluster_events[EVENT_GUARD_CLUSTERS];
};

/* Of one bucket and stratum: [0] stable, [1] candidate. */
struct event_cell {
    uint64_t exposures[2];
    uint64_t events[2]; /* Each at most its exposures. */
    /* Stable's, by cluster of the unit. All zero: nothing is learnt about lumps. */
    uint64_t cluster_exposures[EVENT_GUARD_CLUSTERS];
    uint64_t cluster_events[EVENT_GUARD_CLUSTERS];
};

/* tolerated in [0, EVENT_GUARD_TOLERATED_MAX]. */
void event_guard_init(struct event_guard *g, double tolerated);
/* A cell in which one arm has no exposures says nothing and only adds to the counts. */
void event_guard_fold(struct event_guard *g, const struct event_cell *cell);
/* One event at a share of pi in (0, 1); event_guard_fold is this for counts. */
void event_guard_event(struct event_guard *g, double pi, bool candidate);
/* f >= 1, as above; 1 before 20 stable events. */
double event_guard_lumps(const struct event_guard *g);
/* log M; 0 before any event. */
double event_guard_log_m(const struct event_guard *g);
/* candidate_units: distinct units that the candidate's events so far came from. */
bool event_guard_breached(const struct event_guard *g, double alpha, uint64_t candidate_units);

#endif
