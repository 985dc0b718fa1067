/* required.h: what the route, the key and the request itself require of whom they are sent to
 * (common/route/require.h), asked in one place: of every deployment that is looked at for the
 * decision, and again before each attempt, whatever it is for. */
#ifndef STEELYARD_DATAPLANE_REQUEST_REQUIRED_H
#define STEELYARD_DATAPLANE_REQUEST_REQUIRED_H

#include "dataplane/request/request.h"

/* The route and the wishes are known. Before the others, and again if wishes came late. */
void required_note(struct request *r);

/* Asked only where something is required. */
uint32_t required_lacks_some(const struct request *r, const struct snapshot_deployment *d);
/* The exclusion bits of what this deployment lacks; 0: it may be asked. */
static inline uint32_t required_lacks(const struct request *r, const struct snapshot_deployment *d)
{
    return r->work->required ? required_lacks_some(r, d) : 0;
}
/* Another deployment of the model was named by the caller ("provider/model"). */
static inline bool required_pin_misses(const struct request *r, const struct snapshot_deployment *d)
{
    return r->work->pin_provider.len > 0 && !str_eq(d->provider->name, r->work->pin_provider) &&
           !str_eq(d->name, r->work->pin_name);
}
/* Of a model: 0 if any that may be asked lacks nothing, else the bits of all of them. */
uint32_t required_lacks_model(const struct request *r, const struct snapshot_model *m);

/* Nobody is left because of it: the answer says what was required, and by whom. */
enum step_result required_refuse(struct request *r, enum policy_exclusion_index exclusion);

#endif
