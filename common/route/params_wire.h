/* params_wire.h: the message of a policy's parameters, read in one way by the node that decides by
 * it and by the control plane that decides again. */
#ifndef STEELYARD_COMMON_ROUTE_PARAMS_WIRE_H
#define STEELYARD_COMMON_ROUTE_PARAMS_WIRE_H

#include "common/route/policy.h"
#include "control.pb-c.h"

/* Over parameters that policy_params_init has set: where 0 means "not given", they stay. artifact
 * gives what the message has no place for and the ordinals of the offsets; NULL: none is here.
 * Returns the first model with an offset that the artifact does not know, borrowed from m, or NULL;
 * such offsets are left out. The result may be out of range: policy_params_valid. Pure. */
const char *policy_params_read(struct policy_params *params, const struct artifact *artifact,
                               const Steelyard__Control__V1__Params *m);

#endif
