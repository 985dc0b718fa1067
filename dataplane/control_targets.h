/* control_targets.h: --control as a list of targets: "host:port,[::1]:port,unix:/path". A name may
 * have several addresses (a headless Service, one a control plane): each is a target, so that the
 * node can go on from one that is gone to the next. Names are asked for again when a connection was
 * lost, and now and then. Loop thread. */
#ifndef STEELYARD_DATAPLANE_CONTROL_TARGETS_H
#define STEELYARD_DATAPLANE_CONTROL_TARGETS_H

#include <uv.h>

#include "common/link/rpc.h"

#define CONTROL_TARGETS_MAX 32U /* Of the list as it is written. */
#define CONTROL_CLIENTS_MAX 4U

struct control_targets;
/* tls NULL: plain text. ERR_INVALID with a message for a bad list. */
int control_targets_create(uv_loop_t *loop, const char *list, const struct rpc_tls *tls,
                           struct control_targets **out_targets, struct err *err) MUST_CHECK;
/* A client whose targets are kept up to date until control_targets_close. Each has a connection of
 * its own and goes on to other targets by itself. The caller closes it, after
 * control_targets_close. ERR_LIMIT: more than CONTROL_CLIENTS_MAX. */
int control_targets_client(struct control_targets *t, struct rpc_client **out_client,
                           struct err *err) MUST_CHECK;
/* cb once, later, also for NULL members; the object is gone then. */
void control_targets_close(struct control_targets *t, void (*cb)(void *user), void *user);

#endif
