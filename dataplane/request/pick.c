/* The order of tries: the chosen candidate's deployments by weight, then the policy's next
 * candidate outside the failure domains that failed, then the route's fallbacks. */
#include "common/base/clock.h"
#include "common/base/rand.h"
#include "dataplane/request/ask.h"
#include "dataplane/request/attempt.h"

static bool was_tried(const struct request *r, uint32_t ordinal)
{
    for (uint32_t i = 0; i < r->work->tried_count; i++)
        if (r->work->tried[i] == ordinal)
            return true;
    return false;
}

static bool may_use(const struct request *r, const struct upstream_target *t, uint64_t now_ms)
{
    const struct snapshot_deployment *d = t->deployment;
    if (t->origin == NULL || !ask_may(r, d->provider) || was_tried(r, d->ordinal))
        return false;
    if (r->path->free && !ask_counts(d->provider))
        return false;
    if (r->work->pin_provider.len > 0 && !str_eq(d->provider->name, r->work->pin_provider) &&
        !str_eq(d->name, r->work->call.model))
        return false;
    return endpoint_cooldown_ms(t->endpoint, now_ms) == 0 &&
           (r->ignore_breakers || endpoint_usable(t->endpoint, now_ms));
}

/* One of the model's usable deployments, drawn by weight; NULL: none. */
static const struct upstream_target *draw(const struct request *r, const struct snapshot_model *m,
                                          uint64_t now_ms)
{
    uint64_t total = 0;
    const struct upstream_target *only = NULL;
    for (uint32_t i = 0; i < m->deployment_count; i++) {
        const struct upstream_target *t = upstream_target(r->view, &m->deployments[i]);
        if (may_use(r, t, now_ms)) {
            total += t->deployment->weight;
            only = t;
        }
    }
    if (only == NULL || total == only->deployment->weight)
        return only;
    uint64_t at = rand_below(total);
    for (uint32_t i = 0; i < m->deployment_count; i++) {
        const struct upstream_target *t = upstream_target(r->view, &m->deployments[i]);
        if (!may_use(r, t, now_ms))
            continue;
        if (at < t->deployment->weight)
            return t;
        at -= t->deployment->weight;
    }
    return only;
}

static bool key_may(const struct request *r, const struct snapshot_model *m)
{
    return snapshot_key_has_model(r->identity, m);
}

/* Behind the policy's candidates, in the route's order. */
static uint32_t next_fallback(const struct request *r)
{
    if (r->route == NULL)
        return POLICY_NONE;
    for (uint32_t i = r->route->candidate_count; i < r->work->candidate_count; i++)
        if ((r->work->failed_mask >> i & 1) == 0 && key_may(r, r->work->candidate_models[i]))
            return i;
    return POLICY_NONE;
}

static uint32_t next_position(const struct request *r)
{
    if (r->at_position == POLICY_NONE)
        return r->work->decision.chosen;
    uint32_t next = policy_next(r->work->candidates, &r->work->decision, r->work->failed_mask);
    return next != POLICY_NONE ? next : next_fallback(r);
}

static bool pick_from(struct request *r, uint32_t position)
{
    uint64_t now_ms = r->now_ns / 1000000;
    while (position != POLICY_NONE) {
        const struct upstream_target *t = draw(r, r->work->candidate_models[position], now_ms);
        r->at_position = position;
        if (t != NULL) {
            r->work->next_target = t;
            return true;
        }
        r->work->failed_mask |= UINT64_C(1) << position;
        position = next_position(r);
    }
    return false;
}

bool attempt_pick(struct request *r)
{
    return pick_from(r, r->at_position != POLICY_NONE ? r->at_position : next_position(r));
}

bool attempt_pick_other(struct request *r)
{
    r->work->failed_mask |= UINT64_C(1) << r->at_position;
    return pick_from(r, next_position(r));
}

bool attempt_pick_again(struct request *r)
{
    const struct attempt *a = &r->attempt;
    if (a->target == NULL || endpoint_cooldown_ms(a->target->endpoint, request_now_ms()) != 0)
        return false;
    r->at_position = a->record->model;
    r->work->next_target = a->target;
    return true;
}
