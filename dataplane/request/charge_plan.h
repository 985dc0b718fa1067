/* charge_plan.h: which budgets a request is charged to, and what a weighing of its candidates found
 * (charge.h). Needed until the attempts are over. */
#ifndef STEELYARD_DATAPLANE_REQUEST_CHARGE_PLAN_H
#define STEELYARD_DATAPLANE_REQUEST_CHARGE_PLAN_H

#include "dataplane/budget/allocation.h"
#include "dataplane/state/accounts.h"
#include "dataplane/telemetry/record.h"

/* One budget on a path and whose it is. */
struct charge_budget {
    const struct account *account;
    const struct account_budget *budget;
};

/* What is known until the request's work is let go; in request_work. */
struct charge_plan {
    uint32_t count;   /* Budgets of the path. */
    uint32_t missing; /* Bits: this node holds nothing of them. */
    struct charge_budget budgets[BUDGET_PATH_MAX];
    struct record_charge charges[BUDGET_PATH_MAX];
    /* Of the last weighing, for the answer: */
    int64_t need; /* Least worst case of the candidates that are too dear; 0: none. */
    bool unpriced;
    struct charge_budget tight; /* Had least. */
    bool tight_missing;
    struct budget_ref tight_ref;
    int64_t tight_free;
};

#endif
