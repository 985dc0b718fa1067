/* frontier.h: curves of mean quality over mean cost. Pure; no allocation.
 *
 * The frontier is the upper concave hull of the points up to the one of highest quality. AIQ
 * (RouterBench, Hu et al. 2024) = 1/(cmax - cmin) * integral of the frontier over [cmin, cmax],
 * flat to the right of its last point; compared curves share [cmin, cmax]. */
#ifndef STEELYARD_CONTROLPLANE_LEARN_FRONTIER_H
#define STEELYARD_CONTROLPLANE_LEARN_FRONTIER_H

#include <stdint.h>

struct frontier_point {
    double cost;
    double quality;
    uint32_t tag; /* Of the caller: which lambda or model. */
};

/* Reorders points; the first *returned count* of them are the hull, cost ascending. */
uint32_t frontier_hull(struct frontier_point *points, uint32_t count);
/* Of a hull. Left of its first point the curve is 0 quality. cost_max <= cost_min gives the quality
 * at cost_max. */
double frontier_aiq(const struct frontier_point *hull, uint32_t count, double cost_min,
                    double cost_max);
/* Least cost of a mix of hull points with this quality; NAN: more than any has. */
double frontier_cost_at(const struct frontier_point *hull, uint32_t count, double quality);
/* Greatest quality of a mix of hull points that costs no more; NAN: less than the cheapest. */
double frontier_quality_at(const struct frontier_point *hull, uint32_t count, double cost);

/* RouteLLM's APGR for two models over every possible cut: rows go to the strong model in order of
 * falling gain, ties together; (area - weak) / (strong - weak). Reorders gain, strong and weak.
 * NAN when both models are equally good or there are no rows. */
double frontier_apgr(double *gain, double *strong, double *weak, uint32_t count);

#endif
