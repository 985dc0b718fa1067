/* sim_guards_events.c: the event guard and the sample-ratio check. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/base/rand.h"
#include "controlplane/rollout/event_guard.h"
#include "controlplane/rollout/exclusions.h"
#include "controlplane/rollout/ratio.h"
#include "sim_guards.h"

#define ALPHA      0.01
#define UNITS_MAX  20000U
#define PER_MINUTE 6U /* Buckets. */

struct event_world {
    const char *name;
    double rate[2];    /* Of the event: stable, candidate. */
    double pi;         /* 0: the ramp. */
    double spread;     /* Deviation of the logarithm of a unit's own rate. */
    double outage;     /* Chance per minute that half of everything fails, in both arms. */
    uint32_t requests; /* Until it is called off. */
    uint32_t units;    /* 0: every request is its own. */
    uint32_t bucket;   /* Requests in one. */
};

struct unit {
    double slot, factor;
    uint32_t cluster;
    uint32_t event_minute; /* + 1 */
    bool had_candidate_event;
};
static struct unit units[UNITS_MAX];

static void make_units(const struct event_world *w)
{
    for (uint32_t i = 0; i < w->units; i++)
        units[i] = (struct unit){
            .slot = sim_uniform(),
            .cluster = (uint32_t)rand_below(EVENT_GUARD_CLUSTERS),
            .factor = w->spread > 0.0 ? exp(w->spread * sim_normal() - w->spread * w->spread / 2.0)
                                      : 1.0};
}

/* One rollout; the number of requests until the breach, 0: there was none. */
static uint32_t run_events(const struct event_world *w)
{
    struct event_guard g;
    struct event_cell cell = {0};
    uint64_t candidate_units = 0;
    double burst = 0.0;
    event_guard_init(&g, 0.0);
    make_units(w);
    for (uint32_t i = 0; i < w->requests; i++) {
        const uint32_t minute = i / (w->bucket * PER_MINUTE);
        const double pi = w->pi > 0.0 ? w->pi : sim_ramp(i, w->requests);
        struct unit alone;
        struct unit *unit = &alone;
        if (i % (w->bucket * PER_MINUTE) == 0)
            burst = sim_chance(w->outage) ? 0.5 : 0.0;
        if (w->units > 0)
            unit = &units[rand_below(w->units)];
        else
            alone = (struct unit){.slot = sim_uniform(),
                                  .factor = 1.0,
                                  .cluster = (uint32_t)rand_below(EVENT_GUARD_CLUSTERS)};
        const bool candidate = unit->slot < pi;
        cell.exposures[candidate]++;
        cell.cluster_exposures[unit->cluster] += !candidate;
        if (sim_chance(fmin(0.9, w->rate[candidate] * unit->factor + burst)) &&
            unit->event_minute != minute + 1) {
            unit->event_minute = minute + 1;
            cell.events[candidate]++;
            cell.cluster_events[unit->cluster] += !candidate;
            candidate_units += candidate && !unit->had_candidate_event;
            unit->had_candidate_event |= candidate;
        }
        if ((i + 1) % w->bucket != 0)
            continue;
        event_guard_fold(&g, &cell);
        cell = (struct event_cell){0};
        if (event_guard_breached(&g, ALPHA, candidate_units))
            return i + 1;
    }
    return 0;
}

static void count_alarms(const struct event_world *w, uint32_t runs, double most)
{
    uint32_t alarms = 0;
    for (uint32_t i = 0; i < runs; i++)
        alarms += run_events(w) > 0;
    sim_rate(w->name, alarms, runs, most);
}

static void time_alarms(const struct event_world *w, uint32_t runs, double low, double high)
{
    double *times = mem_alloc(runs * sizeof(*times));
    if (times == NULL)
        abort();
    for (uint32_t i = 0; i < runs; i++) {
        const uint32_t at = run_events(w);
        times[i] = at > 0 ? at : w->requests;
    }
    sim_times(w->name, times, runs, low, high);
    mem_free(times);
}

static void run_ratio(double reach, double *out_units, bool *out_alarm)
{
    struct ratio_guard g;
    ratio_guard_init(&g);
    *out_alarm = false;
    for (uint32_t i = 0; i < 20000; i += 20) {
        const double pi = sim_ramp(i, 20000);
        uint64_t n[2] = {0, 0};
        for (uint32_t k = 0; k < 20; k++) {
            const bool candidate = sim_chance(pi);
            /* What is lost on the way to the records is of the candidate. */
            if (!candidate || sim_chance(reach))
                n[candidate]++;
        }
        ratio_guard_fold(&g, pi, n[0], n[1]);
        if (!ratio_guard_breached(&g, RATIO_ALPHA))
            continue;
        *out_alarm = true;
        *out_units = i + 20;
        return;
    }
}

void sim_events(uint32_t runs)
{
    /* clang-format off */
    static const struct event_world calm[] = {
        {"event: no difference, 2 %, stage of 5 %", {.02, .02}, .05, 0, 0, 80000, 0, 100},
        {"event: no difference, 2 %, ramp", {.02, .02}, 0, 0, 0, 80000, 0, 100},
        {"event: no difference, 0.2 %, ramp", {.002, .002}, 0, 0, 0, 80000, 0, 100},
        {"event: no difference, 20,000 sticky units, ramp", {.02, .02}, 0, 0, 0, 80000, 20000, 100},
        {"event: no difference, outages of both arms, ramp", {.02, .02}, 0, 0, .05, 80000, 0, 100},
        {"event: 2,000 units of unequal rates (x/: 2), ramp",
         {.02, .02}, 0, .7, 0, 80000, 2000, 100},
        {"event: 300 units of unequal rates (x/: 2), ramp", {.02, .02}, 0, .7, 0, 80000, 300, 100},
        {"event: 300 units of very unequal rates (x/: 3), ramp",
         {.02, .02}, 0, 1.1, 0, 80000, 300, 100},
    };
    static const struct {
        struct event_world w;
        double low, high; /* Between which the median must be. */
    } bad[] = {
        {{"event: requests until caught, 2 % -> 20 %, stage of 5 %",
          {.02, .2}, .05, 0, 0, 5000, 0, 20}, 300, 750},
        {{"event: requests until caught, 2 % -> 4 %, stage of 5 %",
          {.02, .04}, .05, 0, 0, 200000, 0, 20}, 10000, 24000},
        {{"event: requests until caught, 2 % -> 3 %, stage of 5 %",
          {.02, .03}, .05, 0, 0, 400000, 0, 20}, 36000, 80000},
        {{"event: requests until caught, 2 % -> 3 %, stage of 25 %",
          {.02, .03}, .25, 0, 0, 400000, 0, 20}, 8500, 22000},
        {{"event: requests until caught, 0 % -> 10 %, stage of 1 %",
          {0, .1}, .01, 0, 0, 50000, 0, 20}, 3000, 6500},
        {{"event: the same as 2 % -> 4 %, 300 unequal units (x/: 2)",
          {.02, .04}, .05, .7, 0, 400000, 300, 20}, 0, 0},
    };
    /* clang-format on */
    for (size_t i = 0; i < sizeof(calm) / sizeof(calm[0]); i++)
        count_alarms(&calm[i], runs, ALPHA);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        time_alarms(&bad[i].w, runs, bad[i].low, bad[i].high);
}

void sim_ratios(uint32_t runs)
{
    uint32_t alarms = 0, caught = 0;
    double units_seen = 0.0;
    bool alarm;
    double *times = mem_alloc(runs * sizeof(*times));
    if (times == NULL)
        abort();
    for (uint32_t i = 0; i < runs; i++) {
        run_ratio(1.0, &units_seen, &alarm);
        alarms += alarm;
    }
    for (uint32_t i = 0; i < runs; i++) {
        times[i] = 20000;
        run_ratio(0.7, &times[i], &alarm);
        caught += alarm;
    }
    sim_rate("ratio: no difference, 20,000 units, ramp", alarms, runs, RATIO_ALPHA);
    sim_rate("ratio: caught, 30 % of the candidate's records are lost", caught, runs, -1);
    sim_times("ratio: units until caught", times, runs, 0, 0);
    mem_free(times);
}
