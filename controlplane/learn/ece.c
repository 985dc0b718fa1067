#include "controlplane/learn/ece.h"

#include <math.h>

void ece_add(struct ece *e, double weight, double quality, double score)
{
    const double off = quality - score;
    struct ece_bin *b = &e->bins[(uint32_t)fmin(quality * ECE_BINS, ECE_BINS - 1)];
    b->labels++;
    b->weight += weight;
    b->weight_squares += weight * weight;
    b->off += weight * off;
    b->off_squares += weight * off * off;
    b->widest += weight * quality * (1 - quality);
}

/* One label does not say how far they scatter: as far as it can be. */
static double variance_of(const struct ece_bin *b)
{
    if (b->labels < 2)
        return b->widest / b->weight;
    const double mean = b->off / b->weight;
    const double n = b->labels;
    return fmax(0, b->off_squares / b->weight - mean * mean) * n / (n - 1);
}

struct ece_value ece_value(const struct ece *e)
{
    double weight = 0;
    struct ece_value v = {0};
    for (uint32_t k = 0; k < ECE_BINS; k++) {
        const struct ece_bin *b = &e->bins[k];
        if (b->labels == 0)
            continue;
        weight += b->weight;
        v.error += fabs(b->off);
        v.chance += sqrt(M_2_PI * variance_of(b) * b->weight_squares);
    }
    if (weight > 0) {
        v.error /= weight;
        v.chance /= weight;
    }
    return v;
}
