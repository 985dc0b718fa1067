/* node.h: the whole data plane in one object: the control loop (this thread: sync, shipper, probes
 * and metrics, drain) and the worker threads. main.c gives it settings and signals. */
#ifndef STEELYARD_DATAPLANE_NODE_H
#define STEELYARD_DATAPLANE_NODE_H

#include <uv.h>

#include "common/base/err.h"
#include "dataplane/settings.h"

#define NODE_BUILD "0.1.0"

struct node;

/* Makes the state directory, recovers the spool, loads the stored configuration, binds every
 * address and writes state_dir/addresses.json; workers run when this returns. settings are
 * borrowed.
 */
int node_create(uv_loop_t *loop, const struct settings *settings, struct node **out_node,
                struct err *err) MUST_CHECK;
/* Starts the drain (INTERFACES section 7); called again it skips the waiting. on_stopped comes
 * once, when everything was flushed and closed; then node_destroy. */
void node_drain(struct node *n, void (*on_stopped)(void *arg), void *arg);
void node_reload(struct node *n); /* SIGHUP. */
void node_dump(struct node *n);   /* SIGQUIT: state to the log. */
void node_destroy(struct node *n);

#endif
