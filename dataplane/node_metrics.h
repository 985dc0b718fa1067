/* node_metrics.h: the gauges that are looked up when Prometheus asks, rather than kept. Control
 * thread. */
#ifndef STEELYARD_DATAPLANE_NODE_METRICS_H
#define STEELYARD_DATAPLANE_NODE_METRICS_H

#include "dataplane/budget/allocation.h"
#include "dataplane/request/meters.h"
#include "dataplane/state/sync.h"
#include "dataplane/telemetry/spool.h"
#include "dataplane/upstream/endpoint.h"

#define NODE_METRICS_POLICIES_MAX 32

struct node_metrics {
    struct meters meters; /* A shard of the control thread. */
    struct endpoint_registry *registry;
    struct snapshot_cell *cell;
    struct spool_set *spools;
    bool (*is_ready)(void *arg); /* NULL: not shown. Set after init. */
    void *is_ready_arg;
    const char *certificate;      /* --control-cert; NULL: none. */
    struct sync *sync;            /* NULL once closed. */
    struct keeper *keeper;        /* As sync; set before or after init. */
    struct budget_table *budgets; /* NULL: none. */
    uint64_t generation;          /* Whose policies are shown. */
    uint64_t spool_refused;       /* As counted so far, as the next two. */
    uint64_t shipped;             /* As last seen to move on, */
    uint64_t shipped_mono_ms;     /* and when. */
    uint64_t rollouts_expired;
    uint64_t rollouts_aborted;
    uint64_t tokens_fetched;
    uint64_t tokens_failed;
    struct shown_policy {
        char name[64];
        char version[24];
    } shown[NODE_METRICS_POLICIES_MAX];
    uint32_t shown_count;
};
/* All borrowed. ERR_NOMEM. */
int node_metrics_init(struct node_metrics *m, struct metrics *metrics,
                      struct endpoint_registry *registry, struct snapshot_cell *cell,
                      struct spool_set *spools, struct sync *sync, struct budget_table *budgets,
                      struct err *err) MUST_CHECK;

#endif
