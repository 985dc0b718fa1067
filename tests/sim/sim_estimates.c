/* sim_estimates [--runs N] [--seed S] [--bootstraps B]: off-policy estimates where the
 * truth is known. A made-up service logs requests of units (conversations) under a policy that
 * explores, another policy is estimated from the log, and its true worth is a closed sum. Counted
 * over the runs of each setting: how often the interval at nominal 95 % holds the truth, for IPS,
 * SNIPS, DR and SWITCH and for the one that is said to be trusted. Each must in at least 90 %.
 *
 * Settings differ in the least propensity, in how rows hang together (units of one row, of five
 * that share a luck of their own, of very different sizes), in how wrong the reward model is, in
 * which labels were asked for, and in what is rewarded (a score; a cost with a long tail). */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "controlplane/learn/estimate.h"

#define ARMS       4
#define KINDS      8 /* Of requests. */
#define ROWS_MAX   12000
#define COVERAGE   0.90
#define RUNS_EXACT 500 /* From here on the share itself is judged; below with two errors of it. */

enum units { UNITS_ALONE, UNITS_OF_FIVE, UNITS_UNEVEN };
enum model { MODEL_RIGHT, MODEL_FLAT, MODEL_INVERTED };
enum labels { LABELS_ALL, LABELS_FIFTH, LABELS_BY_EXPLORED };

struct setting {
    const char *name;
    double floor; /* Least propensity of an arm. */
    enum units units;
    enum model model;
    enum labels labels;
    bool cost;
    uint32_t rows;
};
static const struct setting settings[] = {
    {"even chances, right model", .25, UNITS_ALONE, MODEL_RIGHT, LABELS_ALL, false, 1000},
    {"floor 0.10, flat model", .10, UNITS_ALONE, MODEL_FLAT, LABELS_ALL, false, 1500},
    {"floor 0.05, inverted model", .05, UNITS_ALONE, MODEL_INVERTED, LABELS_ALL, false, 2500},
    {"floor 0.02, right model", .02, UNITS_ALONE, MODEL_RIGHT, LABELS_ALL, false, 6000},
    {"floor 0.02, inverted model", .02, UNITS_ALONE, MODEL_INVERTED, LABELS_ALL, false, 6000},
    {"units of five, flat model", .10, UNITS_OF_FIVE, MODEL_FLAT, LABELS_ALL, false, 2000},
    {"units of five, inverted model", .05, UNITS_OF_FIVE, MODEL_INVERTED, LABELS_ALL, false, 3000},
    {"uneven units, flat model", .10, UNITS_UNEVEN, MODEL_FLAT, LABELS_ALL, false, 3000},
    {"one label in five, flat model", .10, UNITS_OF_FIVE, MODEL_FLAT, LABELS_FIFTH, false, 9000},
    {"labels 20 % and 5 %, flat model", .20, UNITS_ALONE, MODEL_FLAT, LABELS_BY_EXPLORED, false,
     9000},
    {"labels 20 % and 5 %, uneven units", .20, UNITS_UNEVEN, MODEL_INVERTED, LABELS_BY_EXPLORED,
     false, 12000},
    {"cost with a long tail, flat model", .10, UNITS_OF_FIVE, MODEL_FLAT, LABELS_ALL, true, 3000},
    {"cost with a long tail, right model", .05, UNITS_ALONE, MODEL_RIGHT, LABELS_ALL, true, 3000},
};
#define SETTINGS (sizeof(settings) / sizeof(settings[0]))

struct count {
    uint32_t runs;
    uint32_t supported;
    uint32_t held[ESTIMATE_KINDS];
    uint32_t trusted_held;
    double width[ESTIMATE_KINDS];
};

static uint64_t next_random(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15U);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
    return z ^ (z >> 31);
}

static double uniform(uint64_t *state)
{
    return (double)(next_random(state) >> 11) * 0x1p-53;
}

static double normal(uint64_t *state)
{
    double u = 1 - uniform(state);
    double v = uniform(state);
    return sqrt(-2 * log(u)) * cos(2 * M_PI * v);
}

/* Mean reward of an arm for a kind of request: arms are good at different kinds. */
static double mean_reward(const struct setting *s, uint32_t kind, uint32_t arm)
{
    double skill = 0.35 + 0.12 * arm - 0.05 * kind * (ARMS - 1 - arm) / 3.0;
    if ((kind + arm) % ARMS == 0)
        skill += 0.2;
    double quality = fmin(fmax(skill, 0.15), 0.85);
    return s->cost ? 0.4 * exp(0.9 * arm) * (1 + 0.2 * kind) : quality;
}

static double modelled(const struct setting *s, uint32_t kind, uint32_t arm)
{
    double scale = s->cost ? 4 : 1;
    switch (s->model) {
    case MODEL_RIGHT:
        return mean_reward(s, kind, arm);
    case MODEL_FLAT:
        return 0.5 * scale;
    case MODEL_INVERTED:
        return scale - mean_reward(s, kind, arm);
    }
    return 0;
}

/* The policy in service likes arm `kind mod ARMS`; the other one mostly another. */
static uint32_t served_greedy(uint32_t kind)
{
    return kind % ARMS;
}

static double target(uint32_t kind, uint32_t arm)
{
    uint32_t wanted = kind % 3 == 0 ? served_greedy(kind) : (kind + 1) % ARMS;
    return (arm == wanted ? 0.94 : 0.02);
}

static double propensity(const struct setting *s, uint32_t kind, uint32_t arm)
{
    return arm == served_greedy(kind) ? 1 - (ARMS - 1) * s->floor : s->floor;
}

static double truth(const struct setting *s)
{
    double sum = 0;
    for (uint32_t kind = 0; kind < KINDS; kind++)
        for (uint32_t arm = 0; arm < ARMS; arm++)
            sum += target(kind, arm) * mean_reward(s, kind, arm) / KINDS;
    return sum;
}

static uint32_t unit_size(const struct setting *s, uint64_t *state)
{
    switch (s->units) {
    case UNITS_ALONE:
        return 1;
    case UNITS_OF_FIVE:
        return 5;
    case UNITS_UNEVEN: { /* Pareto, 1..40. */
        double size = 1 / pow(1 - uniform(state), 1 / 1.3);
        return size > 40 ? 40 : (uint32_t)size;
    }
    }
    return 1;
}

static double draw_reward(const struct setting *s, uint32_t kind, uint32_t arm, double luck,
                          uint64_t *state)
{
    double mean = mean_reward(s, kind, arm);
    if (s->cost) /* Lognormal, sigma 0.8, mean as said; luck scales it. */
        return mean * (1 + 2 * luck) * exp(0.8 * normal(state) - 0.32);
    return uniform(state) < mean + luck ? 1 : 0;
}

static double label_chance(const struct setting *s, bool explored)
{
    switch (s->labels) {
    case LABELS_ALL:
        return 1;
    case LABELS_FIFTH:
        return 0.2;
    case LABELS_BY_EXPLORED:
        return explored ? 0.2 : 0.05;
    }
    return 1;
}

static struct estimate_row draw_row(const struct setting *s, uint64_t unit, uint32_t home,
                                    double luck, uint64_t *state)
{
    uint32_t kind = uniform(state) < 0.6 ? home : (uint32_t)(uniform(state) * KINDS);
    double u = uniform(state);
    uint32_t arm = 0;
    for (; arm + 1 < ARMS && u >= propensity(s, kind, arm); arm++)
        u -= propensity(s, kind, arm);
    struct estimate_row row = {.unit = unit,
                               .propensity = propensity(s, kind, arm),
                               .label_prob = label_chance(s, arm != served_greedy(kind)),
                               .reward = draw_reward(s, kind, arm, luck, state),
                               .target = target(kind, arm),
                               .model = modelled(s, kind, arm)};
    row.labelled = uniform(state) < row.label_prob;
    for (uint32_t a = 0; a < ARMS; a++)
        row.direct += target(kind, a) * modelled(s, kind, a);
    return row;
}

static uint32_t draw_rows(const struct setting *s, uint64_t *state, struct estimate_row *rows)
{
    uint32_t count = 0;
    for (uint64_t unit = 1; count + 40 < s->rows; unit++) {
        uint32_t size = unit_size(s, state);
        uint32_t home = (uint32_t)(uniform(state) * KINDS);
        double luck = s->units == UNITS_ALONE ? 0 : uniform(state) < 0.5 ? 0.14 : -0.14;
        for (uint32_t i = 0; i < size; i++)
            rows[count++] = draw_row(s, unit, home, luck, state);
    }
    return count;
}

static bool holds(const struct estimate_value *v, double value)
{
    return v->low <= value && value <= v->high;
}

static void run_once(const struct setting *s, uint64_t seed, uint32_t bootstraps,
                     struct estimate_row *rows, struct count *count)
{
    uint64_t state = seed;
    struct estimate_options options;
    struct estimate e;
    double value = truth(s);
    estimate_options_init(&options);
    options.bootstraps = bootstraps;
    if (s->cost)
        options.clip = options.tau = 1e9; /* No range, so nothing may be left out. */
    uint32_t n = draw_rows(s, &state, rows);
    if (estimate_policy(rows, n, &options, &e) != 0) {
        fprintf(stderr, "%s: seed %" PRIu64 " cannot be estimated\n", s->name, seed);
        exit(1);
    }
    count->runs++;
    if (!e.support)
        return;
    count->supported++;
    for (int k = 0; k < ESTIMATE_KINDS; k++) {
        count->held[k] += holds(&e.of[k], value);
        count->width[k] += (e.of[k].high - e.of[k].low) / 2;
    }
    count->trusted_held += holds(&e.of[e.trusted], value);
}

static bool good_enough(uint32_t held, uint32_t runs)
{
    double bound = COVERAGE;
    if (runs < RUNS_EXACT)
        bound -= 2 * sqrt(COVERAGE * (1 - COVERAGE) / runs);
    return held >= bound * runs;
}

static bool print_setting(const struct setting *s, const struct count *c)
{
    static const enum estimate_kind judged[] = {ESTIMATE_IPS, ESTIMATE_SNIPS, ESTIMATE_DR,
                                                ESTIMATE_SWITCH};
    double n = c->supported != 0 ? c->supported : 1;
    bool ok = c->supported != 0 && good_enough(c->trusted_held, c->supported);
    printf("%-36s %5u/%-5u", s->name, c->supported, c->runs);
    for (size_t k = 0; k < sizeof(judged) / sizeof(judged[0]); k++) {
        printf("  %s %.3f +-%.3f", estimate_kind_name(judged[k]), c->held[judged[k]] / n,
               c->width[judged[k]] / n);
        ok = ok && good_enough(c->held[judged[k]], c->supported);
    }
    printf("  trusted %.3f%s\n", c->trusted_held / n, ok ? "" : "  MISSED");
    return ok;
}

int main(int argc, char **argv)
{
    uint64_t runs = 40;
    uint64_t seed = 1;
    uint64_t bootstraps = ESTIMATE_BOOTSTRAPS;
    bool all = true;
    for (int i = 1; i + 1 < argc; i += 2) {
        uint64_t *value = strcmp(argv[i], "--runs") == 0         ? &runs
                          : strcmp(argv[i], "--seed") == 0       ? &seed
                          : strcmp(argv[i], "--bootstraps") == 0 ? &bootstraps
                                                                 : NULL;
        if (value == NULL) {
            fprintf(stderr, "usage: sim_estimates [--runs N] [--seed S] [--bootstraps B]\n");
            return 2;
        }
        *value = strtoull(argv[i + 1], NULL, 10);
    }
    struct estimate_row *rows = mem_calloc(ROWS_MAX, sizeof(*rows));
    if (rows == NULL)
        return 1;
    for (size_t k = 0; k < SETTINGS; k++) {
        struct count count = {0};
        for (uint64_t r = 0; r < runs; r++)
            run_once(&settings[k], (seed + r) * 1000003 + k, (uint32_t)bootstraps, rows, &count);
        all = print_setting(&settings[k], &count) && all;
        fflush(stdout);
    }
    mem_free(rows);
    printf("sim_estimates: %s\n", all ? "all intervals hold" : "an interval misses too often");
    return all ? 0 : 1;
}
