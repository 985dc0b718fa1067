/* intake_spend.h: what the decisions of one transaction cost, summed: per day, set of accounts,
 * model, policy and source of the usage (spend_day), and per budget, period and life of the node's
 * allocations (budget_ledger). One row of COPY data per distinct key. Pure but for memory: no I/O.
 * Private to controlplane/ingest. */
#ifndef STEELYARD_CONTROLPLANE_INGEST_INTAKE_SPEND_H
#define STEELYARD_CONTROLPLANE_INGEST_INTAKE_SPEND_H

#include "common/base/arena.h"
#include "common/base/map.h"
#include "common/crypto/uuid.h"
#include "controlplane/store/pq.h"
#include "telemetry.pb-c.h"

#define SPEND_ACCOUNTS_MAX 64U
#define SPEND_CHARGES_MAX  16U

struct intake_spend {
    struct arena *arena; /* Borrowed: keys and sums, until its reset. */
    struct map paths;
    struct map days;
    struct map charges;
    struct pq_copy day_copy;
    struct pq_copy charge_copy;
};

void intake_spend_init(struct intake_spend *s, struct arena *arena, size_t max_bytes);
void intake_spend_deinit(struct intake_spend *s);
void intake_spend_reset(struct intake_spend *s); /* Before the arena's. */
/* NULL: it can be added. */
const char *intake_spend_why_bad(const Steelyard__Telemetry__V1__Decision *d);
int intake_spend_add(struct intake_spend *s,
                     const Steelyard__Telemetry__V1__Decision *d) MUST_CHECK;
int intake_spend_finish(struct intake_spend *s) MUST_CHECK;

#endif
