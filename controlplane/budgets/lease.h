/* lease.h: one node's report about one budget, answered. Pure: the rows that the answer depends on
 * go in, changed rows and the answer come out. lease_store.h reads and writes them in a
 * transaction; the simulation (tests/sim) does the same over tables in memory.
 *
 * Money is nano-USD, times unix microseconds. */
#ifndef STEELYARD_CONTROLPLANE_BUDGETS_LEASE_H
#define STEELYARD_CONTROLPLANE_BUDGETS_LEASE_H

#include "controlplane/budgets/grant.h"

#define LEASE_FOREVER_US INT64_MAX

/* When the transaction runs, and after what. */
struct lease_moment {
    int64_t now_us;
    int64_t failover_us; /* When this era of the database began, 0: the first. */
    bool unechoed;       /* Some life that may be alive has not told everything in this era. */
    bool young;          /* This life was registered less than the loss window ago. */
};

struct lease_alloc { /* budget.proto's Alloc. */
    uint64_t budget;
    int64_t start_us, end_us;
    uint32_t cfg;
    bool exhausted, recall, unknown, stale, recalling;
    int64_t granted, keep, limit, spent_others, offline;
};

struct lease_item {
    struct grant_usage usage;
    /* The budget as it is now. */
    uint64_t budget;
    bool known; /* Neither missing nor removed. */
    bool strict;
    uint32_t cfg_now;
    int64_t offline;
    /* The period, and this life's row of it; zeros if it is new. */
    int64_t start_us, end_us;
    uint32_t cfg;
    struct grant_period period;
    struct grant_row row;
    /* The other lives' active rows. `chosen` comes out: recall it, to keep grant_min. */
    struct grant_holding *others;
    uint32_t other_count;
    uint32_t others_active; /* That reported within GRANT_ACTIVE_US. */
    /* Out. */
    struct lease_alloc alloc;
    bool tell; /* The answer holds it. */
};

void lease_decide(struct lease_item *item, const struct lease_moment *moment);

#endif
