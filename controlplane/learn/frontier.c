#include "controlplane/learn/frontier.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

static int by_cost(const void *a, const void *b)
{
    const struct frontier_point *p = a;
    const struct frontier_point *q = b;
    if (p->cost != q->cost)
        return p->cost < q->cost ? -1 : 1;
    if (p->quality != q->quality)
        return p->quality < q->quality ? -1 : 1;
    return p->tag < q->tag ? -1 : p->tag > q->tag;
}

/* b lies on or below the line from a to c. */
static bool below(const struct frontier_point *a, const struct frontier_point *b,
                  const struct frontier_point *c)
{
    return (b->quality - a->quality) * (c->cost - a->cost) <=
           (c->quality - a->quality) * (b->cost - a->cost);
}

uint32_t frontier_hull(struct frontier_point *points, uint32_t count)
{
    uint32_t n = 0;
    uint32_t best = 0;
    qsort(points, count, sizeof(*points), by_cost);
    for (uint32_t i = 0; i < count; i++) {
        struct frontier_point p = points[i];
        while (n >= 2 && below(&points[n - 2], &points[n - 1], &p))
            n--;
        if (n >= 1 && p.cost == points[n - 1].cost)
            n--; /* Sorted: p has the higher quality. */
        points[n++] = p;
    }
    for (uint32_t i = 1; i < n; i++)
        if (points[i].quality > points[best].quality)
            best = i;
    return n == 0 ? 0 : best + 1;
}

double frontier_quality_at(const struct frontier_point *hull, uint32_t count, double cost)
{
    if (count == 0 || cost < hull[0].cost)
        return NAN;
    for (uint32_t i = 1; i < count; i++)
        if (cost <= hull[i].cost)
            return hull[i - 1].quality + (hull[i].quality - hull[i - 1].quality) *
                                             (cost - hull[i - 1].cost) /
                                             (hull[i].cost - hull[i - 1].cost);
    return hull[count - 1].quality;
}

double frontier_cost_at(const struct frontier_point *hull, uint32_t count, double quality)
{
    if (count == 0 || isnan(quality))
        return NAN;
    if (hull[0].quality >= quality)
        return hull[0].cost;
    for (uint32_t i = 1; i < count; i++)
        if (hull[i].quality >= quality)
            return hull[i - 1].cost + (hull[i].cost - hull[i - 1].cost) *
                                          (quality - hull[i - 1].quality) /
                                          (hull[i].quality - hull[i - 1].quality);
    return NAN;
}

double frontier_aiq(const struct frontier_point *hull, uint32_t count, double cost_min,
                    double cost_max)
{
    double area = 0;
    double at = cost_min;
    if (count == 0)
        return NAN;
    if (cost_max <= cost_min) {
        double quality = frontier_quality_at(hull, count, cost_max);
        return isnan(quality) ? 0 : quality;
    }
    if (at < hull[0].cost)
        at = hull[0].cost;
    for (uint32_t i = 1; i < count && at < cost_max; i++) {
        if (hull[i].cost <= at)
            continue;
        double to = hull[i].cost < cost_max ? hull[i].cost : cost_max;
        area += (to - at) *
                (frontier_quality_at(hull, count, at) + frontier_quality_at(hull, count, to)) / 2;
        at = to;
    }
    if (at < cost_max)
        area += (cost_max - at) * hull[count - 1].quality;
    return area / (cost_max - cost_min);
}

struct cut {
    double gain;
    double strong;
    double weak;
};

/* Sorts the three arrays by falling gain (heap sort: in place, and ties stay together anyway). */
static void swap_cuts(double *gain, double *strong, double *weak, uint32_t a, uint32_t b)
{
    struct cut cut = {.gain = gain[a], .strong = strong[a], .weak = weak[a]};
    gain[a] = gain[b];
    strong[a] = strong[b];
    weak[a] = weak[b];
    gain[b] = cut.gain;
    strong[b] = cut.strong;
    weak[b] = cut.weak;
}

static void sift(double *gain, double *strong, double *weak, uint32_t at, uint32_t count)
{
    for (;;) {
        uint32_t child = 2 * at + 1;
        if (child >= count)
            return;
        if (child + 1 < count && gain[child + 1] < gain[child])
            child++;
        if (gain[at] <= gain[child])
            return;
        swap_cuts(gain, strong, weak, at, child);
        at = child;
    }
}

double frontier_apgr(double *gain, double *strong, double *weak, uint32_t count)
{
    double strong_sum = 0;
    double weak_sum = 0;
    for (uint32_t i = 0; i < count; i++) {
        strong_sum += strong[i];
        weak_sum += weak[i];
    }
    if (count == 0 || strong_sum == weak_sum)
        return NAN;
    for (uint32_t i = count / 2; i-- > 0;)
        sift(gain, strong, weak, i, count);
    for (uint32_t n = count; n-- > 1;) { /* A heap of the least leaves the order falling. */
        swap_cuts(gain, strong, weak, 0, n);
        sift(gain, strong, weak, 0, n);
    }
    double total = weak_sum;
    double area = 0;
    for (uint32_t i = 0; i < count;) {
        uint32_t j = i;
        double next = total;
        while (j < count && gain[j] == gain[i]) {
            next += strong[j] - weak[j];
            j++;
        }
        area += (j - i) * (total + next) / 2;
        total = next;
        i = j;
    }
    return (area / count - weak_sum) / (strong_sum - weak_sum);
}
