#include "controlplane/learn/estimate.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"

/* splitmix64: a fixed sequence, so that a report is the same every time. */
static uint64_t next_random(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15U);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
    return z ^ (z >> 31);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return x < y ? -1 : x > y;
}

int estimate_interval(const double *values, uint32_t count, uint32_t bootstraps, double *out_low,
                      double *out_high)
{
    uint64_t state = 1;
    if (count == 0 || bootstraps == 0)
        return ERR_INVALID;
    double *means = mem_calloc(bootstraps, sizeof(*means));
    if (means == NULL)
        return ERR_NOMEM;
    for (uint32_t b = 0; b < bootstraps; b++) {
        for (uint32_t i = 0; i < count; i++) {
            uint64_t draw = (next_random(&state) >> 32) * count >> 32;
            means[b] += values[draw];
        }
        means[b] /= count;
    }
    qsort(means, bootstraps, sizeof(*means), by_value);
    *out_low = means[bootstraps / 20];
    *out_high = means[bootstraps - 1 - bootstraps / 20];
    mem_free(means);
    return 0;
}

static void sum_rows(const struct estimate_row *rows, uint32_t count, double tau,
                     struct estimate *out)
{
    double weights = 0;
    double squares = 0;
    double largest = 0;
    double rewards = 0;
    for (uint32_t i = 0; i < count; i++) {
        const struct estimate_row *r = &rows[i];
        double w = r->target / r->propensity;
        weights += w;
        squares += w * w;
        largest = w > largest ? w : largest;
        rewards += w * r->reward;
        out->ips += (w < ESTIMATE_IPS_CLIP ? w : ESTIMATE_IPS_CLIP) * r->reward;
        out->dm += r->direct;
        out->dr += r->direct + w * (r->reward - r->model);
        out->switch_dr += r->direct + (w <= tau ? w * (r->reward - r->model) : 0);
    }
    out->ips /= count;
    out->dm /= count;
    out->dr /= count;
    out->switch_dr /= count;
    out->snips = weights > 0 ? rewards / weights : 0;
    out->ess = squares > 0 ? weights * weights / squares : 0;
    out->weight_share = weights > 0 ? largest / weights : 1;
    out->support = out->ess >= ESTIMATE_ESS_MIN && out->weight_share <= ESTIMATE_WEIGHT_MAX;
}

int estimate_policy(const struct estimate_row *rows, uint32_t count, double tau,
                    uint32_t bootstraps, struct estimate *out)
{
    if (count == 0)
        return ERR_INVALID;
    for (uint32_t i = 0; i < count; i++)
        if (!(rows[i].propensity > 0 && rows[i].propensity <= 1))
            return ERR_INVALID;
    struct estimate e = {0};
    sum_rows(rows, count, tau, &e);
    e.dr_low = e.dr_high = e.dr;
    if (bootstraps != 0) {
        double *values = mem_calloc(count, sizeof(*values));
        if (values == NULL)
            return ERR_NOMEM;
        for (uint32_t i = 0; i < count; i++)
            values[i] = rows[i].direct +
                        rows[i].target / rows[i].propensity * (rows[i].reward - rows[i].model);
        int rc = estimate_interval(values, count, bootstraps, &e.dr_low, &e.dr_high);
        mem_free(values);
        if (rc != 0)
            return rc;
    }
    *out = e;
    return 0;
}
