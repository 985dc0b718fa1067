/* limits_client.h: the node's side of Rates.Share: moves the table's reports up and the plane's
 * answers down, over one stream that is opened again whenever it ends, gives the table its time,
 * and keeps the safe share in a file for the next life. Runs on the node's control loop. */
#ifndef STEELYARD_DATAPLANE_LIMITS_LIMITS_CLIENT_H
#define STEELYARD_DATAPLANE_LIMITS_LIMITS_CLIENT_H

#include <uv.h>

#include "common/link/rpc.h"
#include "dataplane/limits/limits.h"

struct limits_client_options {
    uv_loop_t *loop;
    struct rpc_client *client;  /* NULL: no control plane, all limits are this node's. Borrowed. */
    struct limits_table *table; /* Borrowed. */
    const char *state_dir;      /* The file is "limits" in there. */
    const char *node_id;
    const char *build;
    struct rpc_backoff backoff;
};

struct limits_client;
/* Reads the file. */
int limits_client_create(const struct limits_client_options *options,
                         struct limits_client **out_client, struct err *err) MUST_CHECK;
void limits_client_start(struct limits_client *c);
/* The workers have ended: others may have its share, if the plane can be told. */
void limits_client_leave(struct limits_client *c);
bool limits_client_done(const struct limits_client *c); /* After leave: it was sent. */
/* cb once, later; the object is gone then. */
void limits_client_close(struct limits_client *c, void (*cb)(void *user), void *user);

#endif
