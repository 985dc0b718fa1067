/* train_queue.h: training runs that are asked for, on any replica, as rows of `job`; who leads
 * LEADER_TRAINER takes them. Blocking; worker thread. */
#ifndef STEELYARD_CONTROLPLANE_RELEASE_TRAIN_QUEUE_H
#define STEELYARD_CONTROLPLANE_RELEASE_TRAIN_QUEUE_H

#include "controlplane/leader/leader.h"
#include "controlplane/release/train.h"

#define TRAIN_TRIES_MAX 3 /* A run that ends with its process every time is given up. */

/* Puts a run in line; body: the request as it was asked for, JSON. ERR_NOT_FOUND: no such policy.
 * ERR_CONFLICT: one is in line or under way. */
int train_queue_put(struct pq_conn *c, const struct train_request *request, struct str body,
                    struct err *err) MUST_CHECK;
/* The next one becomes this claim's, state running; what is left running of this term or an earlier
 * one (nothing runs here when this is asked) is in line
 * again. A transaction of its own. ERR_CONFLICT: deposed, or as leader_is_deposed says. */
int train_queue_take(struct pq_conn *c, const struct leader_claim *claim,
                     struct train_request *out_request, bool *out_found,
                     struct err *err) MUST_CHECK;
/* Ends it, unless it is another term's by now. */
int train_queue_end(struct pq_conn *c, const struct leader_claim *claim, const char *job, bool ok,
                    struct str message, struct str result, struct err *err) MUST_CHECK;

#endif
