/* All estimates are a ratio of sums over units, or the sum of two. So a resample is a count by
 * unit: its sums give the estimate, and the units' linearised parts give its standard error. */
#include "controlplane/learn/estimate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"

#define SWITCH_NARROWER 0.5
#define UNITS_MIN       2

enum { /* Sums of a unit. */
       SUM_ROWS,
       SUM_DIRECT,
       SUM_LABELS,   /* v */
       SUM_WEIGHTS,  /* v w */
       SUM_REWARDS,  /* v w r */
       SUM_CLIPPED,  /* v min(w, clip) r */
       SUM_RESIDUAL, /* v w (r - q) */
       SUM_SWITCHED, /* v w (r - q) where w <= tau */
       SUMS
};
struct sums {
    double of[SUMS];
};

/* of[top] / of[bottom] + of[top2] / of[bottom2]; top2 < 0: the first part alone. */
struct shape {
    int top, bottom, top2, bottom2;
};
static const struct shape shapes[ESTIMATE_KINDS] = {
    [ESTIMATE_IPS] = {SUM_CLIPPED, SUM_LABELS, -1, -1},
    [ESTIMATE_SNIPS] = {SUM_REWARDS, SUM_WEIGHTS, -1, -1},
    [ESTIMATE_DM] = {SUM_DIRECT, SUM_ROWS, -1, -1},
    [ESTIMATE_DR] = {SUM_DIRECT, SUM_ROWS, SUM_RESIDUAL, SUM_LABELS},
    [ESTIMATE_SWITCH] = {SUM_DIRECT, SUM_ROWS, SUM_SWITCHED, SUM_LABELS},
};

static const struct shape correction = {SUM_RESIDUAL, SUM_LABELS, -1, -1};

const char *estimate_kind_name(enum estimate_kind kind)
{
    static const char *const names[ESTIMATE_KINDS] = {"ips", "snips", "dm", "dr", "switch"};
    return names[kind];
}

void estimate_options_init(struct estimate_options *options)
{
    *options = (struct estimate_options){.clip = ESTIMATE_IPS_CLIP,
                                         .tau = ESTIMATE_SWITCH_TAU,
                                         .bootstraps = ESTIMATE_BOOTSTRAPS,
                                         .confidence = ESTIMATE_CONFIDENCE,
                                         .reward_low = 0,
                                         .reward_high = 1};
}

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

/* --- rows to units -------------------------------------------------------------------------------
 */

struct place {
    uint64_t unit;
    uint32_t row;
};

static int by_unit(const void *a, const void *b)
{
    const struct place *x = a;
    const struct place *y = b;
    if (x->unit != y->unit)
        return x->unit < y->unit ? -1 : 1;
    return x->row < y->row ? -1 : x->row > y->row;
}

struct work {
    struct sums *units;
    uint32_t unit_count;
    struct sums all;
    double squares;  /* Of v w. */
    double absolute; /* Sum of v |w|, ... */
    double heaviest; /* ... its largest part in a row or unit, ... */
    double beyond;   /* ... and what lies in rows with |w| > tau. */
    double ips_low;  /* What clip and tau left out may be worth, at least and at most. */
    double ips_high;
    double switch_low;
    double switch_high;
};

static bool row_valid(const struct estimate_row *r)
{
    if (!(r->propensity > 0 && r->propensity <= 1 && r->label_prob > 0 && r->label_prob <= 1))
        return false;
    return isfinite(r->direct) &&
           (!r->labelled || (isfinite(r->reward) && isfinite(r->target) && isfinite(r->model)));
}

/* factor * something within low..high */
static void widen(double factor, double low, double high, double *io_low, double *io_high)
{
    *io_low += fmin(factor * low, factor * high);
    *io_high += fmax(factor * low, factor * high);
}

/* Returns v |w|. */
static double add_row(const struct estimate_row *r, const struct estimate_options *o,
                      struct work *work, struct sums *unit)
{
    unit->of[SUM_ROWS]++;
    unit->of[SUM_DIRECT] += r->direct;
    if (!r->labelled)
        return 0;
    double v = 1 / r->label_prob;
    double w = r->target / r->propensity;
    double clipped = fmin(fmax(w, -o->clip), o->clip);
    bool known = o->reward_low < o->reward_high;
    unit->of[SUM_LABELS] += v;
    unit->of[SUM_WEIGHTS] += v * w;
    unit->of[SUM_REWARDS] += v * w * r->reward;
    unit->of[SUM_CLIPPED] += v * clipped * r->reward;
    unit->of[SUM_RESIDUAL] += v * w * (r->reward - r->model);
    if (fabs(w) <= o->tau) {
        unit->of[SUM_SWITCHED] += v * w * (r->reward - r->model);
    } else {
        work->beyond += v * fabs(w);
        if (known)
            widen(v * w, o->reward_low - r->model, o->reward_high - r->model, &work->switch_low,
                  &work->switch_high);
    }
    if (known)
        widen(v * (w - clipped), o->reward_low, o->reward_high, &work->ips_low, &work->ips_high);
    work->squares += v * w * v * w;
    work->heaviest = fmax(work->heaviest, v * fabs(w));
    return v * fabs(w);
}

static int gather(const struct estimate_row *rows, uint32_t count,
                  const struct estimate_options *options, struct work *work)
{
    struct place *order = mem_calloc(count, sizeof(*order));
    work->units = mem_calloc(count, sizeof(*work->units));
    if (order == NULL || work->units == NULL) {
        mem_free(order);
        return ERR_NOMEM;
    }
    for (uint32_t i = 0; i < count; i++)
        order[i] = (struct place){.unit = rows[i].unit, .row = i};
    qsort(order, count, sizeof(*order), by_unit);
    for (uint32_t i = 0; i < count;) {
        struct sums *unit = &work->units[work->unit_count++];
        uint64_t id = order[i].unit;
        double weight = 0;
        for (; i < count && order[i].unit == id; i++)
            weight += add_row(&rows[order[i].row], options, work, unit);
        for (int k = 0; k < SUMS; k++)
            work->all.of[k] += unit->of[k];
        work->absolute += weight;
        work->heaviest = fmax(work->heaviest, weight);
    }
    mem_free(order);
    return 0;
}

/* --- estimates -----------------------------------------------------------------------------------
 */

static double ratio(const struct sums *s, int top, int bottom)
{
    return top >= 0 && s->of[bottom] != 0 ? s->of[top] / s->of[bottom] : 0;
}

static double value_of(const struct sums *s, const struct shape *shape)
{
    return ratio(s, shape->top, shape->bottom) + ratio(s, shape->top2, shape->bottom2);
}

/* Cluster-robust, of the units as often as counts says (NULL: once). */
static double error_of(const struct work *work, const uint32_t *counts, const struct sums *all,
                       const struct shape *shape)
{
    double a = ratio(all, shape->top, shape->bottom);
    double b = ratio(all, shape->top2, shape->bottom2);
    double per_a = all->of[shape->bottom] != 0 ? 1 / all->of[shape->bottom] : 0;
    double per_b =
        shape->top2 >= 0 && all->of[shape->bottom2] != 0 ? 1 / all->of[shape->bottom2] : 0;
    double squares = 0;
    int top2 = shape->top2 >= 0 ? shape->top2 : shape->top;
    int bottom2 = shape->top2 >= 0 ? shape->bottom2 : shape->bottom;
    for (uint32_t g = 0; g < work->unit_count; g++) {
        const double *u = work->units[g].of;
        double part =
            (u[shape->top] - a * u[shape->bottom]) * per_a + (u[top2] - b * u[bottom2]) * per_b;
        squares += (counts != NULL ? counts[g] : 1) * part * part;
    }
    return sqrt(squares * work->unit_count / (work->unit_count - 1.0));
}

struct samples { /* Studentised differences of the resamples, by kind. */
    double *t[ESTIMATE_KINDS];
    uint32_t count[ESTIMATE_KINDS];
};

static void resample(const struct work *work, const double *values, uint64_t *state,
                     uint32_t *counts, uint32_t kinds, struct samples *out)
{
    struct sums all = {0};
    memset(counts, 0, work->unit_count * sizeof(*counts));
    for (uint32_t i = 0; i < work->unit_count; i++)
        counts[(next_random(state) >> 32) * work->unit_count >> 32]++;
    for (uint32_t g = 0; g < work->unit_count; g++)
        for (int k = 0; counts[g] != 0 && k < SUMS; k++)
            all.of[k] += counts[g] * work->units[g].of[k];
    for (int k = 0; k < ESTIMATE_KINDS; k++) {
        if ((kinds >> k & 1) == 0)
            continue;
        double error = error_of(work, counts, &all, &shapes[k]);
        double difference = value_of(&all, &shapes[k]) - values[k];
        /* Without spread in the resample there is no t: it stands at the end it lies at. */
        if (error > 0)
            out->t[k][out->count[k]++] = difference / error;
        else if (difference != 0)
            out->t[k][out->count[k]++] = difference > 0 ? INFINITY : -INFINITY;
    }
}

/* Quantile of sorted values; between infinities it stays finite by the last finite one. */
static double quantile(const double *sorted, uint32_t count, double part)
{
    uint32_t at = (uint32_t)(part * count);
    if (at >= count)
        at = count - 1;
    while (isinf(sorted[at]) && sorted[at] < 0 && at + 1 < count)
        at++;
    while (isinf(sorted[at]) && sorted[at] > 0 && at > 0)
        at--;
    return isinf(sorted[at]) ? 0 : sorted[at];
}

static void set_intervals(const struct work *work, struct samples *s, double confidence,
                          struct estimate_value *of)
{
    double tail = (1 - confidence) / 2;
    for (int k = 0; k < ESTIMATE_KINDS; k++) {
        if (s->count[k] == 0)
            continue;
        double error = error_of(work, NULL, &work->all, &shapes[k]);
        qsort(s->t[k], s->count[k], sizeof(double), by_value);
        of[k].low = of[k].value - quantile(s->t[k], s->count[k], 1 - tail) * error;
        of[k].high = of[k].value - quantile(s->t[k], s->count[k], tail) * error;
        of[k].low = fmin(of[k].low, of[k].value);
        of[k].high = fmax(of[k].high, of[k].value);
    }
}

static int bootstrap(const struct work *work, uint32_t bootstraps, double confidence,
                     uint32_t kinds, struct estimate_value *of)
{
    uint64_t state = 1;
    struct samples samples = {0};
    double values[ESTIMATE_KINDS];
    uint32_t *counts = mem_calloc(work->unit_count, sizeof(*counts));
    double *t = mem_calloc((size_t)bootstraps * ESTIMATE_KINDS, sizeof(*t));
    int rc = counts == NULL || t == NULL ? ERR_NOMEM : 0;
    for (int k = 0; rc == 0 && k < ESTIMATE_KINDS; k++) {
        samples.t[k] = t + (size_t)k * bootstraps;
        values[k] = of[k].value;
    }
    for (uint32_t b = 0; rc == 0 && b < bootstraps; b++)
        resample(work, values, &state, counts, kinds, &samples);
    if (rc == 0)
        set_intervals(work, &samples, confidence, of);
    mem_free(counts);
    mem_free(t);
    return rc;
}

static void widen_intervals(const struct work *work, struct estimate_value *of)
{
    double labels = work->all.of[SUM_LABELS];
    if (!(labels > 0))
        return;
    of[ESTIMATE_IPS].low += work->ips_low / labels;
    of[ESTIMATE_IPS].high += work->ips_high / labels;
    of[ESTIMATE_SWITCH].low += work->switch_low / labels;
    of[ESTIMATE_SWITCH].high += work->switch_high / labels;
}

static void judge(const struct work *work, const struct estimate_options *o, struct estimate *e)
{
    const struct estimate_value *dr = &e->of[ESTIMATE_DR];
    const struct estimate_value *cut = &e->of[ESTIMATE_SWITCH];
    e->correction_error =
        work->unit_count >= UNITS_MIN ? error_of(work, NULL, &work->all, &correction) : INFINITY;
    e->ess = work->squares > 0 ? work->absolute * work->absolute / work->squares : 0;
    e->weight_share = work->absolute > 0 ? work->heaviest / work->absolute : 1;
    e->cut = work->absolute > 0 ? work->beyond / work->absolute : 0;
    e->support = e->ess >= ESTIMATE_ESS_MIN && e->weight_share <= ESTIMATE_WEIGHT_MAX;
    e->trusted = !e->support ? ESTIMATE_DM : ESTIMATE_DR;
    if (e->support && o->reward_low < o->reward_high &&
        cut->high - cut->low < SWITCH_NARROWER * (dr->high - dr->low))
        e->trusted = ESTIMATE_SWITCH;
}

int estimate_policy(const struct estimate_row *rows, uint32_t count,
                    const struct estimate_options *options, struct estimate *out)
{
    struct work work = {0};
    struct estimate e = {.rows = count};
    if (count == 0)
        return ERR_INVALID;
    for (uint32_t i = 0; i < count; i++) {
        if (!row_valid(&rows[i]))
            return ERR_INVALID;
        e.labelled += rows[i].labelled;
    }
    int rc = gather(rows, count, options, &work);
    for (int k = 0; rc == 0 && k < ESTIMATE_KINDS; k++) {
        double value = value_of(&work.all, &shapes[k]);
        e.of[k] = (struct estimate_value){value, value, value};
    }
    e.units = work.unit_count;
    if (rc == 0 && options->bootstraps != 0 && work.unit_count >= UNITS_MIN)
        rc = bootstrap(&work, options->bootstraps, options->confidence, (1U << ESTIMATE_KINDS) - 1,
                       e.of);
    if (rc == 0 && options->bootstraps != 0)
        widen_intervals(&work, e.of);
    if (rc == 0)
        judge(&work, options, &e);
    mem_free(work.units);
    if (rc == 0)
        *out = e;
    return rc;
}

int estimate_mean(const double *values, const uint64_t *units, uint32_t count, uint32_t bootstraps,
                  double confidence, struct estimate_value *out)
{
    struct estimate_options options;
    struct work work = {0};
    struct estimate_value of[ESTIMATE_KINDS] = {0};
    struct estimate_row *rows = count == 0 ? NULL : mem_calloc(count, sizeof(*rows));
    if (count == 0)
        return ERR_INVALID;
    if (rows == NULL)
        return ERR_NOMEM;
    estimate_options_init(&options);
    for (uint32_t i = 0; i < count; i++)
        rows[i] = (struct estimate_row){
            .unit = units[i], .propensity = 1, .label_prob = 1, .direct = values[i]};
    int rc = gather(rows, count, &options, &work);
    double mean = value_of(&work.all, &shapes[ESTIMATE_DM]);
    of[ESTIMATE_DM] = (struct estimate_value){mean, mean, mean};
    if (rc == 0 && bootstraps != 0 && work.unit_count >= UNITS_MIN)
        rc = bootstrap(&work, bootstraps, confidence, 1U << ESTIMATE_DM, of);
    mem_free(work.units);
    mem_free(rows);
    if (rc == 0)
        *out = of[ESTIMATE_DM];
    return rc;
}
