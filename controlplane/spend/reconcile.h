/* reconcile.h: do the three accounts of what was spent agree? What decisions say was charged
 * (budget_ledger), what nodes settled (budget_period, with true-ups), and the decisions themselves
 * against their sums (spend_day, usage_hour). The result is stored in spend_check and
 * spend_difference. First, lives of allocations that ended are trued up: docs/decisions/0148 says
 * when all their rows are known to be there. Blocking; worker thread. */
#ifndef STEELYARD_CONTROLPLANE_SPEND_RECONCILE_H
#define STEELYARD_CONTROLPLANE_SPEND_RECONCILE_H

#include <stdint.h>

#include "controlplane/store/pq.h"

#define RECONCILE_ALARM_PPM        1000 /* 0.1 % */
#define RECONCILE_DIFFERENCES_MAX  50   /* Kept of one check: alarms, then the largest. */
#define RECONCILE_GRACE_DEFAULT_MS 1200000

struct reconcile_options {
    const char *actor;
    int64_t since_us;  /* Periods that ended before, and days before, are left out. */
    uint64_t grace_ms; /* Quiet time before a life's rows count as complete; 0: 20 minutes. */
};
struct reconcile_result {
    int64_t check_id;
    int64_t budgets;
    int64_t days;
    int64_t differing;
    int64_t alarms;
    int64_t worst_ppm;
    int64_t trued_up;
};

/* ERR_BUSY: another one runs. */
int reconcile_run(struct pq_conn *c, const struct reconcile_options *options,
                  struct reconcile_result *out_result, struct err *err) MUST_CHECK;
/* As above, if the last one began `every_ms` ago or longer; *out_ran says whether. */
int reconcile_due(struct pq_conn *c, uint64_t every_ms, struct reconcile_result *out_result,
                  bool *out_ran, struct err *err) MUST_CHECK;

#endif
