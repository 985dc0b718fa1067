/* sim_guards [--runs N] [--seed S]: how often the guards of a rollout cry wolf, and how soon they
 * cry when there is one. The real guards, folded and looked at as the control plane does, on
 * traffic whose truth is known. Prints one table (docs/guards.md holds it) and fails if a figure is
 * worse than what is promised. The same seed and number of runs print the same table. */
#include "sim_guards.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/rand.h"
#include "common/base/str.h"

static uint32_t failures;

double sim_uniform(void)
{
    return (double)(rand_u64() >> 11) * 0x1p-53;
}

double sim_normal(void)
{
    const double r = sqrt(-2.0 * log(1.0 - sim_uniform()));
    return r * cos(6.283185307179586 * sim_uniform());
}

double sim_ramp(uint64_t i, uint64_t count)
{
    static const double shares[] = {0.01, 0.05, 0.25, 0.5};
    return shares[i * 4 / count];
}

void sim_rate(const char *name, uint32_t hits, uint32_t runs, double most)
{
    const double share = (double)hits / runs;
    const double chance = 3.0 * sqrt(fmax(most, 0.0) * runs);
    const bool bad = most >= 0.0 && hits > most * runs + chance;
    if (most >= 0.0)
        printf("| %-58s | %7.4f | at most %-6.4g | %s\n", name, share, most, bad ? "FAILED" : "ok");
    else
        printf("| %-58s | %7.4f | %-14s |\n", name, share, "");
    failures += bad;
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

void sim_times(const char *name, double *values, uint32_t count, double low, double high)
{
    qsort(values, count, sizeof(*values), by_value);
    const double median = values[count / 2];
    /* Of a few runs it is not much of a median. */
    const bool bad = high > 0.0 && count >= 20 && (median < low || median > high);
    printf("| %-58s | %7.0f | 90 %%: %-8.0f | %s\n", name, median, values[count * 9 / 10],
           bad ? "FAILED" : (high > 0.0 ? "ok" : ""));
    failures += bad;
}

static bool take_number(int argc, char **argv, int *i, uint64_t max, uint64_t *out)
{
    *i += 1;
    return *i < argc && str_parse_u64(str_from(argv[*i]), max, out) == 0;
}

int main(int argc, char **argv)
{
    uint64_t runs = 400, seed = 20250101;
    for (int i = 1; i < argc; i++) {
        if ((strcmp(argv[i], "--runs") == 0 && take_number(argc, argv, &i, 1000000, &runs)) ||
            (strcmp(argv[i], "--seed") == 0 && take_number(argc, argv, &i, UINT64_MAX, &seed)))
            continue;
        fprintf(stderr, "usage: sim_guards [--runs N] [--seed S]\n");
        return 2;
    }
    if (runs == 0)
        runs = 1;
    printf("sim_guards --runs %llu --seed %llu\n\n", (unsigned long long)runs,
           (unsigned long long)seed);
    void (*const parts[])(uint32_t) = {sim_events, sim_means, sim_ratios};
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        rand_seed_thread(seed + i); /* Each part alone repeats, too. */
        parts[i]((uint32_t)runs);
        fflush(stdout);
    }
    printf("\nsim_guards: %s\n", failures == 0 ? "all figures hold" : "figures do not hold");
    return failures == 0 ? 0 : 1;
}
