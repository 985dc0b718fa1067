/* sim_guards.h: what the parts of sim_guards share: chance, and the table that is printed. */
#ifndef STEELYARD_TESTS_SIM_SIM_GUARDS_H
#define STEELYARD_TESTS_SIM_SIM_GUARDS_H

#include <stdbool.h>
#include <stdint.h>

double sim_uniform(void); /* [0, 1) */
double sim_normal(void);
static inline bool sim_chance(double p)
{
    return sim_uniform() < p;
}
/* Share of slots of the stage that request `i` of `count` falls into, if the four stages below 100
 * % take a quarter each. */
double sim_ramp(uint64_t i, uint64_t count);

/* A line of the table: how many of `runs` did it. most < 0: only reported. Else more than that
 * share, beyond what chance explains (three deviations), fails the run. */
void sim_rate(const char *name, uint32_t hits, uint32_t runs, double most);
/* Median and 90 % of values[count], sorted here; low and high bound the median (0, 0: only
 * reported).
 */
void sim_times(const char *name, double *values, uint32_t count, double low, double high);

void sim_events(uint32_t runs);
void sim_means(uint32_t runs);
void sim_ratios(uint32_t runs);

#endif
