/* weights.h: what a version of a policy brings into a decision beside its artifact; for the one
 * that decides and for the one that is only asked (shadow.h). */
#ifndef STEELYARD_DATAPLANE_REQUEST_WEIGHTS_H
#define STEELYARD_DATAPLANE_REQUEST_WEIGHTS_H

#include "dataplane/request/charge.h"
#include "dataplane/request/wishes_apply.h"

/* p NULL: no policy. Of q the output cap, lambda, mu and the floor. */
static inline void weights_fill(struct request *r, const struct snapshot_policy *p,
                                const struct policy_params *params, struct policy_request *q)
{
    q->t_out_cap = r->work->call.max_tokens;
    if (q->t_out_cap == 0 && p != NULL)
        q->t_out_cap = p->default_out_tokens;
    policy_preference_apply(p != NULL ? p->artifact : NULL, r->identity->segment,
                            wishes_position(r), params, &q->lambda, &q->mu);
    if (r->charge != NULL)
        q->lambda = charge_lambda(r, q->lambda);
    q->floor_q16 = params->floor_q16;
    if (r->work->steering.quality_q16 > q->floor_q16)
        q->floor_q16 = r->work->steering.quality_q16;
    if (r->work->wishes != NULL)
        wishes_weigh(r->work->wishes, params, q);
}

#endif
