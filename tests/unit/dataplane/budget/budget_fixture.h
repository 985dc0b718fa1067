/* budget_fixture.h: a table in a directory of its own, and a plane that a test plays by hand. */
#ifndef STEELYARD_TESTS_BUDGET_FIXTURE_H
#define STEELYARD_TESTS_BUDGET_FIXTURE_H

#include "dataplane/budget/allocation.h"
#include "tests/lib/fault.h"

#define FIX_DAY  INT64_C(86400000000)
#define FIX_WALL (INT64_C(20000) * FIX_DAY + 3600000000) /* One o'clock. */

struct budget_fix {
    char dir[64];
    struct budget_table *table;
    struct budget_recovery found;
    struct budget_report report; /* The last one that went up. */
    uint64_t mono_ms;
    int64_t wall_us;
    uint8_t boot;
    uint32_t slots_max;
};

int fix_setup(void **state);
int fix_teardown(void **state);
void fix_open(struct budget_fix *f);  /* The process starts. */
void fix_close(struct budget_fix *f); /* It ends as kill -9 would: nothing is tidied up. */
void fix_pass(struct budget_fix *f, uint64_t ms);
bool fix_report(struct budget_fix *f); /* Into f->report. */
void fix_ack(struct budget_fix *f);    /* Of the last report, without allocs. */
/* A day's alloc of this budget, as the answer to what is under way (if it is). */
int fix_grant(struct budget_fix *f, uint64_t budget, int64_t granted);
struct budget_alloc fix_alloc(const struct budget_fix *f, uint64_t budget, int64_t granted);
/* Finds and reserves. */
int fix_reserve(struct budget_fix *f, struct budget_reservation *r, uint64_t budget,
                int64_t amount);
const struct budget_usage *fix_usage(const struct budget_fix *f, uint64_t budget);
const struct budget_usage *fix_final(const struct budget_fix *f, uint64_t budget);

#endif
