/* reprice.h: what stored attempts at a model cost by the prices that are published now, for the
 * time at which they were made, against what was charged: signed adjustments of the budgets they
 * were charged to. Rows of decisions and attempts never change; what an attempt was last rated at
 * is kept apart, so that running twice posts nothing twice. In batches, each in the caller's
 * transaction. */
#ifndef STEELYARD_CONTROLPLANE_RELEASE_REPRICE_H
#define STEELYARD_CONTROLPLANE_RELEASE_REPRICE_H

#include "common/base/str.h"
#include "common/crypto/uuid.h"
#include "controlplane/store/pq.h"

#define REPRICE_BATCH 500

struct reprice_request { /* Borrowed. */
    struct str model;    /* As in the catalogue. */
    int64_t since_us, until_us;
    int64_t after_us; /* Go on behind this decision; 0 and an empty id: from the beginning. */
    char after_id[UUID_TEXT_BYTES];
    struct str actor, reason;
};

struct reprice_sum { /* Of one budget in one period. */
    uint64_t budget;
    int64_t period_start_us;
    uint32_t cfg;
    int64_t amount; /* nano-USD; above 0: more was spent than charged. */
    bool posted;    /* False: its period is not known here, nothing to adjust. */
};

struct reprice_result {
    uint64_t decisions; /* Looked at. */
    uint64_t attempts;  /* At this model, of these. */
    uint64_t changed;   /* Whose cost is another now. */
    uint64_t unpriced;  /* Without a price still, or without counts of tokens. */
    int64_t delta;      /* Of all that changed, also what no budget was charged for. nano-USD. */
    struct reprice_sum *sums; /* Ascending by budget and period. */
    size_t sum_count;
    bool more; /* Go on behind last_us, last_id. */
    int64_t last_us;
    char last_id[UUID_TEXT_BYTES];
};
void reprice_result_deinit(struct reprice_result *r);

/* One batch. ERR_OVERFLOW: sums that cannot be. *out is to be deinitialised also after an error. */
int reprice_batch(struct pq_conn *c, const struct reprice_request *request,
                  struct reprice_result *out, struct err *err) MUST_CHECK;

#endif
