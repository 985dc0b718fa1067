#include "dataplane/request/shadow.h"

#include <string.h>

#include "dataplane/request/weights.h"

/* One pass over the route's candidates each: the other version knows them by other ordinals. */
static void use_ordinals(struct request *r, bool next)
{
    const struct snapshot_route *route = r->route;
    for (uint32_t i = 0; i < route->candidate_count; i++)
        r->work->candidates[i].ordinal =
            next ? route->candidates[i].next_ordinal : route->candidates[i].ordinal;
}

static void note_weights(struct record_rollout *a, const struct request *r,
                         const struct policy_request *q)
{
    a->shadow_lambda = q->lambda;
    a->shadow_mu = q->mu;
    a->shadow_floor_q16 = q->floor_q16;
    a->shadow_out_cap = q->t_out_cap;
    a->shadow_ranked = r->route->candidate_count;
}

static int ask(struct request *r, const struct snapshot_policy *p, struct policy_choice *out)
{
    const struct request_work *w = r->work;
    const struct snapshot_policy *decided_by = r->policy;
    struct policy_request q = w->policy_request;
    weights_fill(r, p, &p->params, &q);
    q.sticky = POLICY_NONE;
    note_weights(&r->work->rollout, r, &q);
    if (p->artifact == decided_by->artifact && q.t_out_cap == w->policy_request.t_out_cap)
        return policy_greedy_beside(p->artifact, &w->decision, &decided_by->params, &p->params, &q,
                                    w->candidates, out);
    use_ordinals(r, true);
    int rc = policy_greedy_by_valid(p->artifact, &w->features, &p->params, &q, w->candidates,
                                    w->candidate_count, out);
    use_ordinals(r, false);
    return rc;
}

void shadow_decide(struct request *r)
{
    struct record_rollout *a = &r->work->rollout;
    struct policy_choice choice;
    if (a->arm != RECORD_ARM_STABLE)
        return;
    if (r->work->wishes != NULL && r->work->wishes->sort != WISHES_SORT_NONE)
        return; /* The candidates are not in the route's order. */
    const struct snapshot_policy *p = r->policy->rollout->candidate;
    if (ask(r, p, &choice) != 0)
        return; /* The record says that there is none. */
    a->has_shadow = 1;
    a->shadow_chosen = choice.position == POLICY_NONE ? 0 : choice.position + 1;
    a->shadow_q = choice.q;
    a->shadow_cost_nanousd = choice.cost;
    a->shadow_excl_any = choice.excl_any;
    memcpy(a->shadow_params_sha, p->params_sha.bytes, sizeof a->shadow_params_sha);
}
