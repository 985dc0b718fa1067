/* meters.h: the node's metrics (INTERFACES section 4): the table of families, and what a worker
 * counts. Counting takes no lock. */
#ifndef STEELYARD_DATAPLANE_REQUEST_METERS_H
#define STEELYARD_DATAPLANE_REQUEST_METERS_H

#include "common/metrics/metrics.h"

enum meter {
    METER_REQUESTS,
    METER_DURATION,
    METER_TTFT,
    METER_TPOT,
    METER_OVERHEAD,
    METER_TOKENS,
    METER_COST,
    METER_ATTEMPTS,
    METER_HEDGES,
    METER_CONNECT,
    METER_DEPLOYMENT_UP,
    METER_COOLDOWN,
    METER_CONCURRENCY,
    METER_EJECTED,
    METER_PATTERNS_GIVEN_UP,
    METER_INFLIGHT,
    METER_STREAMS,
    METER_REJECTED,
    METER_IDEMPOTENCY,
    METER_CUT,
    METER_BUDGET_CLAMPED,
    METER_BUDGET_WAITS,
    METER_BUDGET_SLOTS,
    METER_BUDGET_CONTACT,
    METER_CONNECTIONS,
    METER_ACCEPT_PAUSED,
    METER_LEDGER,
    METER_CERTIFICATE,
    METER_CREDENTIAL,
    METER_CREDENTIAL_FETCHES,
    METER_POLICY_INFO,
    METER_POLICY_AGE,
    METER_DECISIONS,
    METER_ROLLOUTS_OPEN,
    METER_ROLLOUT_REVERTS,
    METER_SPOOL_RECORDS,
    METER_SPOOL_LAG,
    METER_SPOOL_BYTES,
    METER_SPOOL_RING,
    METER_SPOOL_REFUSED,
    METER_SPOOL_WAITS,
    METER_SYNC_CONNECTED,
    METER_READY,
    METER_BUILD_INFO,
    METER_COUNT
};
extern const struct metrics_family meters_table[METER_COUNT + 1];

struct meters {
    struct metrics_shard *shard;
    struct metrics_series *inflight;
    struct metrics_series *streams;
};
void meters_init(struct meters *m, struct metrics_shard *shard);

static inline struct metrics_series *meter(struct meters *m, enum meter family,
                                           const struct str *labels)
{
    return metrics_series_get(m->shard, (unsigned)family, labels);
}

/* reason: "auth", "size", "draining", "overload", ... */
void meters_reject(struct meters *m, const char *reason);
/* A client's connection; reason: "stall", "memory". */
void meters_cut(struct meters *m, const char *reason);

#endif
