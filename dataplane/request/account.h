/* account.h: what tokens cost at a deployment, in integer nano-USD. */
#ifndef STEELYARD_DATAPLANE_REQUEST_ACCOUNT_H
#define STEELYARD_DATAPLANE_REQUEST_ACCOUNT_H

#include "dataplane/request/request.h"

/* false: no price is known for them. cached and cache_write are parts of in, reasoning of out. */
bool account_cost(const struct snapshot_deployment *d, int64_t wall_us, const struct call_usage *u,
                  uint64_t *out_price_id, int64_t *out_cost_nanousd);

#endif
