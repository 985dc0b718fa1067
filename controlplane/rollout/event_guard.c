#include "controlplane/rollout/event_guard.h"

#include <assert.h>
#include <math.h>

#define LUMPS_EVENTS_MIN 20.0

static const double ratios[EVENT_GUARD_GRID] = {1.1, 1.25, 1.5, 2.0, 3.0, 5.0, 10.0};

static bool is_tested(const struct event_guard *g, uint32_t j)
{
    return ratios[j] > 1.0 + g->tolerated;
}

/* What a stable event adds to log M_j at a share of pi; a candidate's adds th_j - th_0 more. */
static double base_step(const struct event_guard *g, uint32_t j, double pi)
{
    return log1p(pi * g->tolerated) - log1p(pi * (ratios[j] - 1.0));
}

void event_guard_init(struct event_guard *g, double tolerated)
{
    assert(tolerated >= 0.0 && tolerated <= EVENT_GUARD_TOLERATED_MAX);
    *g = (struct event_guard){.tolerated = tolerated};
}

static void add_events(struct event_guard *g, double pi, double stable, double candidate)
{
    const double th_0 = log1p(g->tolerated);
    for (uint32_t j = 0; j < EVENT_GUARD_GRID; j++)
        if (is_tested(g, j))
            g->log_m[j] +=
                candidate * (log(ratios[j]) - th_0) + (stable + candidate) * base_step(g, j, pi);
}

void event_guard_event(struct event_guard *g, double pi, bool candidate)
{
    assert(pi > 0.0 && pi < 1.0);
    g->events[candidate]++;
    add_events(g, pi, candidate ? 0.0 : 1.0, candidate ? 1.0 : 0.0);
}

void event_guard_fold(struct event_guard *g, const struct event_cell *cell)
{
    for (int arm = 0; arm < 2; arm++) {
        g->exposures[arm] += cell->exposures[arm];
        g->events[arm] += cell->events[arm];
    }
    for (uint32_t i = 0; i < EVENT_GUARD_CLUSTERS; i++) {
        g->cluster_exposures[i] += cell->cluster_exposures[i];
        g->cluster_events[i] += cell->cluster_events[i];
    }
    if (cell->exposures[0] == 0 || cell->exposures[1] == 0)
        return;
    const double candidate = (double)cell->exposures[1];
    add_events(g, candidate / (candidate + (double)cell->exposures[0]), (double)cell->events[0],
               (double)cell->events[1]);
}

double event_guard_log_m(const struct event_guard *g)
{
    double largest = -INFINITY;
    uint32_t tested = 0;
    for (uint32_t j = 0; j < EVENT_GUARD_GRID; j++) {
        if (!is_tested(g, j))
            continue;
        tested++;
        largest = fmax(largest, g->log_m[j]);
    }
    double sum = 0.0; /* Of exp(log M_j - largest): no overflow, however clear the case. */
    for (uint32_t j = 0; j < EVENT_GUARD_GRID; j++)
        if (is_tested(g, j))
            sum += exp(g->log_m[j] - largest);
    return largest + log(sum / tested);
}

/* Pearson's statistic over the clusters, by its degrees of freedom: about 1 for single events, with
 * a deviation of about sqrt((2 + 1 / expected) / clusters). Within two deviations of 1 it is taken
 * for chance. */
double event_guard_lumps(const struct event_guard *g)
{
    double exposures = 0.0, events = 0.0, sum = 0.0;
    uint32_t clusters = 0;
    for (uint32_t i = 0; i < EVENT_GUARD_CLUSTERS; i++) {
        exposures += (double)g->cluster_exposures[i];
        events += (double)g->cluster_events[i];
        clusters += g->cluster_exposures[i] > 0;
    }
    if (events < LUMPS_EVENTS_MIN || events >= exposures || clusters < 2)
        return 1.0;
    const double rate = events / exposures;
    for (uint32_t i = 0; i < EVENT_GUARD_CLUSTERS; i++) {
        const double expected = rate * (double)g->cluster_exposures[i];
        const double e = (double)g->cluster_events[i] - expected;
        if (expected > 0.0)
            sum += e * e / (expected * (1.0 - rate));
    }
    const double chance = sqrt((2.0 + clusters / events) / clusters);
    const double lumps = sum / (clusters - 1);
    return lumps > 1.0 + 2.0 * chance ? lumps : 1.0;
}

bool event_guard_breached(const struct event_guard *g, double alpha, uint64_t candidate_units)
{
    return g->events[1] >= EVENT_GUARD_EVENTS_MIN && candidate_units >= EVENT_GUARD_UNITS_MIN &&
           event_guard_log_m(g) >= -log(alpha) * event_guard_lumps(g);
}
