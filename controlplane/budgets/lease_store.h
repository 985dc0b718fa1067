/* lease_store.h: reports and grants in PostgreSQL: one transaction a message, and the only SQL of
 * the allocation protocol. Blocking, for worker threads (store/work.h).
 *
 * Locks are taken in one order: this node's own life (lease_life), then the periods in ascending
 * (budget, start, cfg), whose lock also guards the rows of budget_alloc below. What waits for
 * nobody (handing out recalls, sweeping) skips what is locked. Serialisation failures and deadlocks
 * with strangers are retried. If the outcome of a commit is unknown the report comes again:
 * counters are cumulative. Money is nano-USD, times unix microseconds. */
#ifndef STEELYARD_CONTROLPLANE_BUDGETS_LEASE_STORE_H
#define STEELYARD_CONTROLPLANE_BUDGETS_LEASE_STORE_H

#include "common/crypto/uuid.h"
#include "controlplane/budgets/lease.h"
#include "controlplane/store/pq.h"

#define LEASE_USAGE_MAX      512U /* Of a message. */
#define LEASE_RECALL_CHANNEL "steelyard_recall"

struct lease_settings {
    uint32_t fence_after_s; /* 0: GRANT_FENCE_AFTER_S. */
    uint32_t stream_max_s;  /* 0: GRANT_STREAM_MAX_S. */
    int64_t
        loss_window_us; /* Commits that a failover may lose; 0: none (synchronous replication). */
};
struct lease_usage {
    uint64_t budget;
    int64_t start_us; /* 0: the running period. */
    uint32_t cfg;
    bool next;
    struct grant_usage usage;
};
struct lease_report {
    struct uuid node_id;
    uint64_t epoch; /* 0: no usage, only a final. */
    bool echo_begin, echo_end;
    uint32_t echo_era; /* In: in which the stream's echo began. */
    struct lease_usage *usage;
    uint32_t usage_count;
    uint64_t final_epoch; /* 0: none. */
    bool final_exact, final_last;
    struct lease_usage *final;
    uint32_t final_count;
};
struct lease_reply {
    int64_t now_us;
    uint32_t era;      /* Of the database: for the next report's echo_era if this one began one. */
    bool epoch_closed; /* The life was closed: what it holds is void. */
    bool echo;         /* It should tell everything again. */
    struct lease_alloc *allocs;
    uint32_t alloc_count;
};

/* ERR_INVALID: absurd counters; nothing was stored. The caller frees with lease_reply_deinit. */
int lease_store_report(struct pq_conn *c, const struct lease_settings *settings,
                       const struct lease_report *report, struct lease_reply *out_reply,
                       struct err *err) MUST_CHECK;
/* Takes the recalls that wait for this life (a notification on LEASE_RECALL_CHANNEL named its
 * node).
 */
int lease_store_recalls(struct pq_conn *c, const struct uuid *node_id, uint64_t epoch,
                        struct lease_reply *out_reply, struct err *err) MUST_CHECK;
void lease_reply_deinit(struct lease_reply *reply);
/* Marks lives that were silent beyond fence and D_max as lost. Now and then, on any replica. */
int lease_store_sweep(struct pq_conn *c, const struct lease_settings *settings, unsigned *out_lost,
                      struct err *err) MUST_CHECK;
/* An operator says that a lost life will not come back: what it held is free again. The caller
 * writes the audit log in the same transaction or before. ERR_NOT_FOUND: no such life is lost. */
int lease_store_release(struct pq_conn *c, const struct uuid *node_id, uint64_t epoch,
                        struct err *err) MUST_CHECK;

#endif
