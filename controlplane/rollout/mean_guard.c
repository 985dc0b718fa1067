#include "controlplane/rollout/mean_guard.h"

#include <assert.h>
#include <math.h>

void mean_guard_init(struct mean_guard *g, double start, double range)
{
    *g = (struct mean_guard){.start = start, .range = range};
}

/* Stable's running mean, else what the baseline had; the candidate's, else stable's. */
static void running_means(const struct mean_guard *g, double *out_m0, double *out_m1)
{
    const double m0 = g->n[0] > 0 ? g->sum[0] / (double)g->n[0] : g->start;
    *out_m0 = m0;
    *out_m1 = g->n[1] > 0 ? g->sum[1] / (double)g->n[1] : m0;
}

/* A cell's share in every sum. With u = v psi = a + c (Y - m) and e = sum (Y - m):
 *   sum u = n a + c e,  sum u^2 = n a^2 + 2 a c e + c^2 sum (Y - m)^2. */
static void fold_cell(struct mean_guard *g, uint32_t cluster, const struct mean_cell *cell,
                      double v, double a, double c, double m)
{
    const double n = (double)cell->n;
    const double e = cell->sum - n * m;
    const double e2 = fmax(0.0, cell->sumsq - 2.0 * m * cell->sum + n * m * m);
    const double u = n * a + c * e;
    g->weight += n * v;
    g->weight2 += n * v * v;
    g->product += v * u;
    g->square += n * a * a + 2.0 * a * c * e + c * c * e2;
    g->cluster_psi[cluster] += u;
    g->cluster_weight[cluster] += n * v;
}

void mean_guard_fold(struct mean_guard *g, const struct mean_bucket *bucket)
{
    const double pi = bucket->pi;
    const double v = pi * (1.0 - pi);
    double m0, m1;
    running_means(g, &m0, &m1);
    assert(pi >= 0.0 && pi <= 1.0);
    for (uint32_t arm = 0; arm < 2; arm++) {
        for (uint32_t cluster = 0; cluster < MEAN_GUARD_CLUSTERS; cluster++) {
            const struct mean_cell *cell = &bucket->cell[arm][cluster];
            if (cell->n == 0)
                continue;
            g->n[arm] += cell->n;
            g->sum[arm] += cell->sum;
            if (v <= 0.0)
                continue;
            const double n = (double)cell->n;
            fold_cell(g, cluster, cell, v, v * (m1 - m0), arm == 1 ? 1.0 - pi : -pi,
                      arm == 1 ? m1 : m0);
            g->stable += n * v * m0 + (arm == 0 ? pi * (cell->sum - n * m0) : 0.0);
        }
    }
}

bool mean_guard_ready(const struct mean_guard *g, uint64_t candidate_units)
{
    return g->weight > 0.0 && g->n[0] >= MEAN_GUARD_REQUESTS_MIN &&
           g->n[1] >= MEAN_GUARD_REQUESTS_MIN && candidate_units >= MEAN_GUARD_UNITS_MIN;
}

/* range^2 is one more request as far off as one can be: without it, a thousand equal values would
 * pass for certainty. */
static double variance(const struct mean_guard *g, double d)
{
    const double apart = g->square - 2.0 * d * g->product + d * d * g->weight2;
    double together = 0.0;
    for (uint32_t i = 0; i < MEAN_GUARD_CLUSTERS; i++) {
        const double e = g->cluster_psi[i] - d * g->cluster_weight[i];
        together += e * e;
    }
    together *= MEAN_GUARD_CLUSTERS / (MEAN_GUARD_CLUSTERS - 1.0);
    return fmax(apart, together) + g->range * g->range;
}

double mean_guard_rho2(double v_opt, double alpha)
{
    const double l = -2.0 * log(alpha);
    return (l + log(l) + 1.0) / v_opt;
}

double mean_guard_half_width(double v, double weight, double rho2, double alpha)
{
    const double t = v * rho2 + 1.0;
    return sqrt(2.0 * t / rho2 * log(sqrt(t) / alpha)) / weight;
}

bool mean_guard_look(struct mean_guard *g, double alpha, uint64_t candidate_units,
                     struct mean_interval *out)
{
    if (!mean_guard_ready(g, candidate_units))
        return false;
    double total = 0.0;
    for (uint32_t i = 0; i < MEAN_GUARD_CLUSTERS; i++)
        total += g->cluster_psi[i];
    const double d = total / g->weight;
    const double v = variance(g, d);
    if (g->rho2 <= 0.0 && v > 0.0)
        g->rho2 = mean_guard_rho2(MEAN_GUARD_WEIGHT_OPT * v / g->weight, alpha);
    /* v is 0 if no two values ever differed and none can (models without a price). */
    const double half = v > 0.0 ? mean_guard_half_width(v, g->weight, g->rho2, alpha) : 0.0;
    *out = (struct mean_interval){.low = d - half,
                                  .mean = d,
                                  .high = d + half,
                                  .stable = g->stable / g->weight,
                                  .variance = v};
    return true;
}
