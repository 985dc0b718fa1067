/* mean_guard.h: by how much does the candidate's mean (cost, output tokens, quality) differ from
 * the stable version's? A confidence sequence: its interval may be looked at whenever one likes and
 * covers the truth at all looks together (asymptotic confidence sequence, Waudby-Smith et al.;
 * mixture boundary of Howard et al.). Robust against sticky units by clusters (64, a hash of the
 * unit).
 *
 * Per request, with m1, m0 the arms' running means before its bucket, pi the nominal share of its
 * stage, Z = 1 for the candidate, weight v = pi (1 - pi):
 *   psi = (m1 - m0) + Z (Y - m1) / pi - (1 - Z) (Y - m0) / (1 - pi)
 *   D = sum v psi / sum v
 *   V = max(sum v^2 (psi - D)^2, 64/63 sum_g (sum_{i in g} v (psi - D))^2)
 *   D +- sqrt(2 (V rho2 + 1) / rho2 * log(sqrt(V rho2 + 1) / alpha)) / sum v
 * m1, m0, pi and v are one for a whole bucket, so that a cell (bucket, arm, cluster) needs to hold
 * only n, sum Y and sum Y^2: with a = v (m1 - m0),
 *   v psi = a + (1 - pi) (Y - m1)   of the candidate,   a - pi (Y - m0)   of stable,
 * which is linear in Y; its sums and sums of squares follow from the three (mean_guard.c).
 *
 * Y is winsorised by the caller, before it is summed, at the baseline's frozen 99.5th percentile;
 * requests without Y (no label) are in no cell. Pure: no clock, no I/O. Buckets are folded in the
 * order of their time, each once, cells in the order of arm and cluster: same cells, same bits. */
#ifndef STEELYARD_CONTROLPLANE_ROLLOUT_MEAN_GUARD_H
#define STEELYARD_CONTROLPLANE_ROLLOUT_MEAN_GUARD_H

#include <stdbool.h>
#include <stdint.h>

#define MEAN_GUARD_CLUSTERS     64U
#define MEAN_GUARD_REQUESTS_MIN 1000U  /* Per arm, with a value. */
#define MEAN_GUARD_UNITS_MIN    100U   /* Of the candidate. */
#define MEAN_GUARD_WEIGHT_OPT   2500.0 /* sum v of 10,000 requests at 50 %: narrowest there. */

struct mean_guard {
    double start;   /* Taken as stable's mean until there is one, and that as the candidate's. */
    double range;   /* The most that two values can differ. */
    uint64_t n[2];  /* Stable, candidate. */
    double sum[2];  /* Of Y. */
    double weight;  /* sum v */
    double weight2; /* sum v^2 */
    double product; /* sum v (v psi) */
    double square;  /* sum (v psi)^2 */
    double stable;  /* sum v (m0 + (1 - Z) (Y - m0) / (1 - pi)): stable's mean, weighted as D is */
    double rho2;    /* 0: not yet used. */
    double cluster_psi[MEAN_GUARD_CLUSTERS];    /* sum v psi */
    double cluster_weight[MEAN_GUARD_CLUSTERS]; /* sum v */
};

struct mean_cell {
    uint64_t n;
    double sum;   /* Of Y. */
    double sumsq; /* Of Y^2. */
};
/* One bucket at one share: [0] stable, [1] candidate. A bucket in which the stage changed is two.
 */
struct mean_bucket {
    double pi; /* Nominal share of the stage; 0 or 1 compares nothing and only adds to the means. */
    struct mean_cell cell[2][MEAN_GUARD_CLUSTERS];
};

struct mean_interval {
    double low, mean, high; /* Candidate minus stable. */
    double stable;          /* Stable's mean, weighted over the stages as `mean` is. */
    double variance;        /* V, with range^2 */
};

/* start: stable's mean as the baseline had it. range: the most that two values can differ, that is
 * the cap they are winsorised at (1 for a label in [0, 1]); range^2 is added to V as if one request
 * more had been as far off as one can be, so that a thousand equal values are not taken for
 * certainty. 0 if all values were 0 in the baseline (models without a price). */
void mean_guard_init(struct mean_guard *g, double start, double range);
void mean_guard_fold(struct mean_guard *g, const struct mean_bucket *bucket);
/* Are there enough requests, and units, for the interval to be what it says? */
bool mean_guard_ready(const struct mean_guard *g, uint64_t candidate_units);
/* False if not ready; the first call that is fixes rho2. alpha must be the same at all looks. */
bool mean_guard_look(struct mean_guard *g, double alpha, uint64_t candidate_units,
                     struct mean_interval *out);

/* The boundary: half width at V = variance and sum v = weight. */
double mean_guard_half_width(double variance, double weight, double rho2, double alpha);
/* rho2 whose boundary is narrowest at V = v_opt. */
double mean_guard_rho2(double v_opt, double alpha);

#endif
