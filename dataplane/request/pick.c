/* The order of tries: the chosen candidate's deployments by weight, then the policy's next
 * candidate outside the failure domains that failed, then the route's fallbacks. */
#include "common/base/clock.h"
#include "common/base/rand.h"
#include "dataplane/request/ask.h"
#include "dataplane/request/attempt.h"
#include "dataplane/request/required.h"
#include "dataplane/request/ways.h"
#include "dataplane/request/wishes_apply.h"

static bool was_tried(const struct request *r, uint32_t ordinal)
{
    for (uint32_t i = 0; i < r->work->tried_count; i++)
        if (r->work->tried[i] == ordinal)
            return true;
    return false;
}

static bool may_use(const struct request *r, const struct snapshot_model *m,
                    const struct upstream_target *t, uint64_t now_ms)
{
    const struct snapshot_deployment *d = t->deployment;
    if (t->origin == NULL || !ask_may(r, d->provider) || was_tried(r, d->ordinal))
        return false;
    if (r->path->free && !ask_counts(d->provider))
        return false;
    if (required_pin_misses(r, d) || required_lacks(r, d) != 0)
        return false;
    if (r->work->wishes != NULL && !wishes_try(r, m, d))
        return false;
    return endpoint_cooldown_ms(t->endpoint, now_ms) == 0 && !endpoint_full(t->endpoint) &&
           (r->ignore_breakers || r->work->ignore_here || endpoint_usable(t->endpoint, now_ms));
}

/* The first of those that may be used now and are equal to the way, of the lowest priority. */
struct level {
    const struct upstream_target *first; /* NULL: none. */
    int64_t measure;
    uint64_t weight; /* Of all of them. */
    uint32_t count;
};

static bool in_level(const struct request *r, const struct snapshot_model *m, const struct level *l,
                     const struct upstream_target *t, uint64_t now_ms)
{
    return t->deployment->priority == l->first->deployment->priority && may_use(r, m, t, now_ms) &&
           ways_measure(r, t, now_ms) == l->measure;
}

static struct level best_level(const struct request *r, const struct snapshot_model *m,
                               uint64_t now_ms)
{
    struct level l = {.first = NULL};
    for (uint32_t i = 0; i < m->deployment_count; i++) {
        const struct upstream_target *t = upstream_target(r->view, &m->deployments[i]);
        const struct snapshot_deployment *d = t->deployment;
        if (!may_use(r, m, t, now_ms))
            continue;
        const int64_t measure = ways_measure(r, t, now_ms);
        if (l.first == NULL || d->priority < l.first->deployment->priority ||
            (d->priority == l.first->deployment->priority && measure < l.measure))
            l = (struct level){.first = t, .measure = measure};
        if (d->priority == l.first->deployment->priority && measure == l.measure) {
            l.weight += d->weight;
            l.count++;
        }
    }
    return l;
}

/* The one that the request itself would have first. */
static const struct upstream_target *draw_wished(const struct request *r,
                                                 const struct snapshot_model *m, uint64_t now_ms)
{
    const struct upstream_target *best = NULL;
    for (uint32_t i = 0; i < m->deployment_count; i++) {
        const struct upstream_target *t = upstream_target(r->view, &m->deployments[i]);
        if (may_use(r, m, t, now_ms) && (best == NULL || wishes_prefer(r, m, t, best)))
            best = t;
    }
    return best;
}

/* One of the model's usable deployments, by the route's way: of the best that are equal one drawn
 * by weight, or the next one by turns. NULL: none. */
static const struct upstream_target *draw(const struct request *r, const struct snapshot_model *m,
                                          uint64_t now_ms)
{
    if (r->work->wishes != NULL && wishes_rank(r->work->wishes))
        return draw_wished(r, m, now_ms);
    const struct level l = best_level(r, m, now_ms);
    if (l.first == NULL || l.count == 1)
        return l.first;
    const bool turns = ways_of(r) == WAY_ROUND_ROBIN;
    uint64_t at = turns ? ways_turn_of_model(r, m) % l.count : rand_below(l.weight);
    for (uint32_t i = 0; i < m->deployment_count; i++) {
        const struct upstream_target *t = upstream_target(r->view, &m->deployments[i]);
        if (!in_level(r, m, &l, t, now_ms))
            continue;
        const uint64_t share = turns ? 1 : t->deployment->weight;
        if (at < share)
            return t;
        at -= share;
    }
    return l.first; /* Another worker has changed what was looked at. */
}

/* After an error that has a list of its own, that list; where it was the caller's doing, nothing
 * else. Then the decision's order, then the list for whatever goes wrong. */
static uint32_t next_position(const struct request *r)
{
    if (r->at_position == POLICY_NONE)
        return r->work->decision.chosen;
    if (r->work->due != SNAPSHOT_FALLBACK_ANY) {
        const uint32_t listed = ways_next_fallback(r, r->work->due);
        if (listed != POLICY_NONE || ways_is_refusal(r->work->due))
            return listed;
    }
    uint32_t next = policy_next(r->work->candidates, &r->work->decision, r->work->failed_mask);
    if (next == POLICY_NONE)
        next = ways_next_fallback(r, SNAPSHOT_FALLBACK_ANY);
    if (next == POLICY_NONE && r->work->wishes != NULL)
        next = wishes_fallback(r);
    return next;
}

static bool pick_from(struct request *r, uint32_t position)
{
    uint64_t now_ms = r->now_ns / 1000000;
    while (position != POLICY_NONE) {
        const struct snapshot_model *m = r->work->candidate_models[position];
        r->work->ignore_here = ways_most_out(r, m, now_ms);
        const struct upstream_target *t = draw(r, m, now_ms);
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

const struct upstream_target *attempt_pick_beside(struct request *r)
{
    const bool all = r->ignore_breakers, here = r->work->ignore_here;
    r->ignore_breakers = r->work->ignore_here = false;
    const struct upstream_target *t = draw(r, r->attempt.model, r->now_ns / 1000000);
    r->ignore_breakers = all;
    r->work->ignore_here = here;
    return t;
}
