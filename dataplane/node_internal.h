/* node_internal.h: what the files of node share. Not for other modules. */
#ifndef STEELYARD_DATAPLANE_NODE_INTERNAL_H
#define STEELYARD_DATAPLANE_NODE_INTERNAL_H

#include "common/crypto/uuid.h"
#include "common/link/rpc.h"
#include "common/net/address.h"
#include "common/net/probes.h"
#include "dataplane/budget/lease_client.h"
#include "dataplane/control_targets.h"
#include "dataplane/credential/keeper.h"
#include "dataplane/limits/limits_client.h"
#include "dataplane/node.h"
#include "dataplane/node_metrics.h"
#include "dataplane/state/sync.h"
#include "dataplane/telemetry/shipper.h"
#include "dataplane/trim.h"
#include "dataplane/worker.h"

enum node_state {
    NODE_RUNNING,
    NODE_DELAY,
    NODE_DRAIN,
    NODE_ENDING,
    NODE_STOPPING,
    NODE_FLUSH,
    NODE_CLOSING,
    NODE_STOPPED
};

struct node {
    const struct settings *settings;
    uv_loop_t *loop;
    enum node_state state;
    uint64_t since_ms;
    char id[UUID_TEXT_BYTES];
    struct uuid uuid;
    char listen[ADDRESS_BYTES_MAX]; /* With the port that 0 became. */
    struct request_shared shared;
    struct listener_limit connections;
    struct endpoint_registry *registry;
    struct metrics *metrics;
    struct node_metrics meters;
    struct snapshot_cell *cell;
    struct spool_set *spools;
    struct control_targets *targets; /* NULL: no control plane. */
    struct rpc_client *client;
    struct rpc_client *rates_client; /* Rates are with one control plane, the rest is anywhere. */
    struct keeper *keeper;           /* Outlives sync, whose snapshots take from it. */
    struct sync *sync;
    struct limits_client *limits;
    struct shipper *shipper;
    struct budget_table *budgets;
    struct lease_client *leases;
    struct httpd *httpd;
    struct probes probes;
    struct probe_check checks[8];
    uv_timer_t timer;
    uint32_t turns;
    struct trim_watch trim;
    struct worker **workers;
    uint32_t worker_count;
    void (*on_stopped)(void *arg);
    void *on_stopped_arg;
};

void node_on_timer(uv_timer_t *timer); /* node_stop.c */

#endif
