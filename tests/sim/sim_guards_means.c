/* sim_guards_means.c: the confidence sequence, on users who stay in their arm, differ from each
 * other, repeat themselves, and change while the share rises. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/base/rand.h"
#include "controlplane/rollout/exclusions.h"
#include "controlplane/rollout/mean_guard.h"
#include "sim_guards.h"

#define ALPHA     0.01
#define USERS_MAX 20000U
#define BUCKET    100U /* Requests. */
#define SAMPLE    20000U

struct mean_world {
    const char *name;
    uint32_t users;
    uint32_t requests;
    double skew;    /* Of activity: user i calls in proportion to (i + 1)^-skew. */
    double spread;  /* Deviation of the logarithm of a user's own mean. */
    double noise;   /* Of a request's logarithm around it. */
    double memory;  /* Correlation of a user's noise with that of the request before. */
    double drift;   /* Dear users (the upper half) call so many times more often at the end. */
    double effect;  /* Of the candidate, as a share of stable's mean. */
    bool label;     /* 0 or 1 instead of an amount. */
    bool scattered; /* Clusters are drawn per request: as if there were none. */
};

struct user {
    double slot, mean, last;
    uint32_t cluster;
};
struct world {
    const struct mean_world *w;
    struct user user[USERS_MAX];
    struct exclusion_unit seen[USERS_MAX];
    bool was_candidate[USERS_MAX];
    double activity[USERS_MAX]; /* Cumulative. */
    struct mean_bucket bucket;
    double sample[SAMPLE];
};
static struct world world;

static void make_users(const struct mean_world *w)
{
    double sum = 0.0;
    world.w = w;
    for (uint32_t i = 0; i < w->users; i++) {
        world.user[i] = (struct user){.slot = sim_uniform(),
                                      .mean = w->spread * sim_normal(),
                                      .last = sim_normal(),
                                      .cluster = (uint32_t)rand_below(MEAN_GUARD_CLUSTERS)};
        world.seen[i] = (struct exclusion_unit){.unit = i};
        world.was_candidate[i] = false;
        sum += pow(i + 1.0, -w->skew);
        world.activity[i] = sum;
    }
}

static uint32_t pick_user(double progress)
{
    const struct mean_world *w = world.w;
    for (;;) {
        const double x = sim_uniform() * world.activity[w->users - 1];
        uint32_t low = 0, high = w->users - 1;
        while (low < high) {
            const uint32_t middle = (low + high) / 2;
            if (world.activity[middle] > x)
                high = middle;
            else
                low = middle + 1;
        }
        /* Thinning: cheap users are turned away more often as time goes on. */
        if (w->drift <= 0.0 || world.user[low].mean > 0.0 ||
            sim_chance(1.0 / (1.0 + w->drift * progress)))
            return low;
    }
}

static double draw_value(struct user *u)
{
    const struct mean_world *w = world.w;
    u->last = w->memory * u->last + sqrt(1.0 - w->memory * w->memory) * sim_normal();
    const double x = u->mean + w->noise * u->last;
    return w->label ? (x > -1.0 ? 1.0 : 0.0) : exp(x);
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* What is frozen before: mean and cap. */
static void measure_baseline(double *out_mean, double *out_cap)
{
    double sum = 0.0;
    for (uint32_t i = 0; i < SAMPLE; i++)
        world.sample[i] = draw_value(&world.user[pick_user(0.0)]);
    qsort(world.sample, SAMPLE, sizeof(world.sample[0]), by_value);
    *out_cap = world.w->label ? 1.0 : world.sample[SAMPLE - SAMPLE / 200];
    for (uint32_t i = 0; i < SAMPLE; i++)
        sum += fmin(world.sample[i], *out_cap);
    *out_mean = sum / SAMPLE;
}

struct outcome {
    bool missed;        /* At some look the truth lay outside. */
    uint32_t shown_at;  /* Requests until surely at most 5 % (0.02) worse; 0: never. */
    uint32_t caught_at; /* Requests until surely more than 5 % (0.02) worse; 0: never. */
};

static void run_means(const struct mean_world *w, struct outcome *out)
{
    struct mean_guard g;
    struct mean_interval x;
    double mean, cap;
    uint64_t candidate_units = 0;
    *out = (struct outcome){0};
    make_users(w);
    measure_baseline(&mean, &cap);
    mean_guard_init(&g, mean, cap);
    const double truth = w->effect * mean, margin = w->label ? 0.02 : 0.05 * mean;
    for (uint32_t i = 0; i < w->requests; i++) {
        const uint32_t who = pick_user((double)i / w->requests);
        struct user *u = &world.user[who];
        const double pi = sim_ramp(i, w->requests);
        const bool candidate = u->slot < pi;
        const double y = fmin(draw_value(u), cap) + (candidate ? truth : 0.0);
        if (i % BUCKET == 0)
            world.bucket = (struct mean_bucket){.pi = pi};
        world.seen[who].exposures++;
        if (!world.seen[who].apart) {
            const uint32_t c =
                w->scattered ? (uint32_t)rand_below(MEAN_GUARD_CLUSTERS) : u->cluster;
            struct mean_cell *cell = &world.bucket.cell[candidate][c];
            cell->n++;
            cell->sum += y;
            cell->sumsq += y * y;
            candidate_units += candidate && !world.was_candidate[who];
            world.was_candidate[who] |= candidate;
        }
        if ((i + 1) % BUCKET != 0)
            continue;
        mean_guard_fold(&g, &world.bucket);
        (void)exclusions_mark(world.seen, w->users, i + 1);
        if (!mean_guard_look(&g, ALPHA, candidate_units, &x))
            continue;
        const double sign = w->label ? -1.0 : 1.0;
        const double half = (x.high - x.low) / 2.0, harm = sign * x.mean;
        out->missed |= truth < x.low || truth > x.high;
        if (out->shown_at == 0 && harm + half <= margin)
            out->shown_at = i + 1;
        if (out->caught_at == 0 && harm - half > margin)
            out->caught_at = i + 1;
    }
}

static void run_world(const struct mean_world *w, uint32_t runs)
{
    uint32_t missed = 0, shown = 0, caught = 0;
    double *shown_at = mem_alloc(runs * sizeof(double)),
           *caught_at = mem_alloc(runs * sizeof(double));
    if (shown_at == NULL || caught_at == NULL)
        abort();
    for (uint32_t i = 0; i < runs; i++) {
        struct outcome out;
        run_means(w, &out);
        missed += out.missed;
        shown += out.shown_at > 0;
        caught += out.caught_at > 0;
        shown_at[i] = out.shown_at > 0 ? out.shown_at : w->requests;
        caught_at[i] = out.caught_at > 0 ? out.caught_at : w->requests;
    }
    sim_rate(w->name, missed, runs, w->scattered ? -1 : 0.015);
    if (!w->scattered && shown * 2 > runs)
        sim_times("      requests until shown to be within the margin", shown_at, runs, 0, 0);
    if (!w->scattered && caught * 2 > runs)
        sim_times("      requests until shown to be beyond it", caught_at, runs, 0, 0);
    mem_free(shown_at);
    mem_free(caught_at);
}

void sim_means(uint32_t runs)
{
    /* clang-format off */
    static const struct mean_world worlds[] = {
        {"mean: every request another user", 20000, 40000, 0, 0, 1, 0, 0, 0, false, false},
        {"mean: 300 users of unequal cost", 300, 40000, 0, .7, .7, 0, 0, 0, false, false},
        {"mean: the same, if clusters were left out", 300, 40000, 0, .7, .7, 0, 0, 0, false, true},
        {"mean: 300 users, some heavy", 300, 40000, 1, .7, .7, 0, 0, 0, false, false},
        {"mean: 2,000 users, each much like before",
         2000, 40000, .5, .5, 1, .9, 0, 0, false, false},
        {"mean: 2,000 users, mix drifts during the ramp",
         2000, 40000, .5, .7, .7, .5, 4, 0, false, false},
        {"mean: 2,000 users, labels", 2000, 40000, .5, .7, .7, .5, 0, 0, true, false},
        {"mean: 2,000 users, 20 % dearer", 2000, 40000, .5, .5, .7, 0, 0, .2, false, false},
        {"mean: 20,000 users, no dearer", 20000, 40000, 0, .3, .5, 0, 0, 0, false, false},
        {"mean: 20,000 users, 20 % dearer", 20000, 40000, 0, .3, .5, 0, 0, .2, false, false},
    };
    /* clang-format on */
    for (size_t i = 0; i < sizeof(worlds) / sizeof(worlds[0]); i++)
        run_world(&worlds[i], runs);
}
