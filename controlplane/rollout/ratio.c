#include "controlplane/rollout/ratio.h"

#include <assert.h>
#include <math.h>

static const double ratios[RATIO_GRID] = {1.0 / 1.5, 1.0 / 1.1, 1.1, 1.5};

void ratio_guard_init(struct ratio_guard *g)
{
    *g = (struct ratio_guard){0};
}

void ratio_guard_fold(struct ratio_guard *g, double pi, uint64_t stable, uint64_t candidate)
{
    assert(pi >= 0.0 && pi <= 1.0);
    if (pi <= 0.0 || pi >= 1.0)
        return;
    const double units = (double)stable + (double)candidate;
    g->units[0] += stable;
    g->units[1] += candidate;
    g->expected += pi * units;
    for (uint32_t j = 0; j < RATIO_GRID; j++)
        g->log_m[j] += (double)candidate * log(ratios[j]) - units * log1p(pi * (ratios[j] - 1.0));
}

double ratio_guard_log_m(const struct ratio_guard *g)
{
    double largest = -INFINITY, sum = 0.0;
    for (uint32_t j = 0; j < RATIO_GRID; j++)
        largest = fmax(largest, g->log_m[j]);
    for (uint32_t j = 0; j < RATIO_GRID; j++)
        sum += exp(g->log_m[j] - largest);
    return largest + log(sum / RATIO_GRID);
}

bool ratio_guard_breached(const struct ratio_guard *g, double alpha)
{
    return ratio_guard_log_m(g) >= -log(alpha);
}
