/* lease_client.h: the node's side of Budget.Lease: moves the table's reports up and the plane's
 * grants down, over one stream that is opened again whenever it ends, and gives the table its time.
 * Runs on the node's control loop beside sync, over the same rpc_client. */
#ifndef STEELYARD_DATAPLANE_BUDGET_LEASE_CLIENT_H
#define STEELYARD_DATAPLANE_BUDGET_LEASE_CLIENT_H

#include <uv.h>

#include "common/link/rpc.h"
#include "dataplane/budget/allocation.h"

struct lease_client_options {
    uv_loop_t *loop;
    struct rpc_client *client; /* NULL: no control plane; the table only gets its time. Borrowed. */
    struct budget_table *table; /* Borrowed; its wake is set by lease_client_create. */
    const char *node_id;
    const char *build;
    struct rpc_backoff backoff;
};

struct lease_client;
/* Before workers use the table. */
int lease_client_create(const struct lease_client_options *options,
                        struct lease_client **out_client, struct err *err) MUST_CHECK;
void lease_client_start(struct lease_client *c);
/* The workers have ended: gives everything back and says so, if the plane is there. */
void lease_client_retire(struct lease_client *c);
/* After retire: nothing is left to say, or nobody is there to hear it. */
bool lease_client_done(const struct lease_client *c);
bool lease_client_connected(const struct lease_client *c);
/* cb once, later; the object is gone then. Workers must have ended: their wake points here. */
void lease_client_close(struct lease_client *c, void (*cb)(void *user), void *user);

#endif
