/* arm.h: which version of a policy under rollout decides a request. The same unit always gets the
 * same arm, on every node, as long as the rollout's share does not fall below its slot; a larger
 * share only adds units (common/route/slot.h). */
#ifndef STEELYARD_DATAPLANE_REQUEST_ARM_H
#define STEELYARD_DATAPLANE_REQUEST_ARM_H

#include "dataplane/request/request.h"

/* The route's policy has a rollout: notes what the record says of it, and for the candidate's arm
 * puts its version in r->policy and its ordinals in the candidates. Who names a policy himself has
 * no part. After the candidates are there, before the decision. No allocation, no lock. */
void arm_choose(struct request *r);

/* Keyed hash of the conversation, else of the end user, else of the request. Of the first under the
 * caller's key alone, of the second everywhere the same, as budgets of end users are. */
uint64_t arm_unit(const struct request *r);

#endif
