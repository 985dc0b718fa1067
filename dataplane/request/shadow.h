/* shadow.h: what the candidate of a rollout would have chosen for a request that the stable version
 * serves: from the same features, prices, estimates and exclusions, without stickiness, exploration
 * or draw. Recorded only; nobody is called. */
#ifndef STEELYARD_DATAPLANE_REQUEST_SHADOW_H
#define STEELYARD_DATAPLANE_REQUEST_SHADOW_H

#include "dataplane/request/request.h"

/* After the decision of a request that has a part in a rollout. Costs a second decision without its
 * last steps, or a fraction of it where both versions share an artifact. No allocation. */
void shadow_decide(struct request *r);

#endif
