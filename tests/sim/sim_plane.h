/* sim_plane.h: the control plane of the simulation: the real rules (grant.h, lease.h) over tables
 * in memory, with transactions that a failover can take back. It mirrors lease_store.c's steps. */
#ifndef STEELYARD_TESTS_SIM_PLANE_H
#define STEELYARD_TESTS_SIM_PLANE_H

#include "controlplane/budgets/lease.h"
#include "dataplane/budget/allocation.h"

#define SIM_BUDGETS   3U
#define SIM_PERIODS   8U
#define SIM_LIVES     192U
#define SIM_ROWS      1024U
#define SIM_PERIOD_US INT64_C(1800000000) /* Half an hour. */
#define SIM_SAVES     8U

struct sim_budget {
    int64_t limit, offline;
    bool strict;
};
struct sim_period {
    struct grant_period p;
    bool made;
};
struct sim_life {
    uint32_t node;
    uint64_t epoch;
    bool closed, lost;
    int64_t registered_us, last_us;
    uint32_t echo_era;
};
struct sim_row {
    uint32_t budget, period, life;
    struct grant_row row;
    int64_t reserved, last_us;
    bool recall;
};
struct sim_db { /* What a failover restores. */
    struct sim_period period[SIM_BUDGETS][SIM_PERIODS];
    struct sim_life lives[SIM_LIVES];
    struct sim_row rows[SIM_ROWS];
    uint32_t life_count, row_count;
};
struct sim_plane {
    uint32_t budget_count;
    struct sim_budget budget[SIM_BUDGETS];
    int64_t epoch_us; /* Where period 0 begins. */
    struct sim_db db;
    struct sim_db saves[SIM_SAVES];
    int64_t saved_us[SIM_SAVES];
    uint32_t era;
    int64_t failover_us;
    int64_t loss_window_us;
    uint32_t fence_after_s;
    /* What soft mode gave out again, and what a failover forgot of lives that never spoke again. */
    int64_t released[SIM_BUDGETS][SIM_PERIODS];
    int64_t forgotten[SIM_BUDGETS][SIM_PERIODS];
    bool pushed[64];   /* A recall waits for this node. */
    const char *fault; /* An invariant that broke. */
};

struct sim_down { /* One message to a node. */
    struct budget_answer answer;
    uint32_t count;
    struct budget_alloc alloc[32];
};

uint32_t sim_plane_period(const struct sim_plane *p, int64_t now_us);
/* One LeaseUp in one transaction. echo_era: that the stream's echo began in (kept by the stream).
 */
void sim_plane_report(struct sim_plane *p, uint32_t node, const struct budget_report *r,
                      uint32_t *io_echo_era, int64_t now_us, struct sim_down *out);
/* Pending recalls, without a report. false: none. */
bool sim_plane_push(struct sim_plane *p, uint32_t node, uint64_t epoch, struct sim_down *out);
void sim_plane_sweep(struct sim_plane *p, int64_t now_us); /* Closes lives by time. */
void sim_plane_save(struct sim_plane *p, int64_t now_us);
void sim_plane_failover(struct sim_plane *p, int64_t now_us, uint64_t pick);
/* committed = sum of g - r, and the rest of what the tables' checks say. */
void sim_plane_check(struct sim_plane *p);

#endif
