/* The order of tries: the chosen candidate's deployments by weight, then the policy's next
 * candidate outside the failure domains that failed, then the route's fallbacks. */
#include "common/base/clock.h"
#include "dataplane/request/ask.h"
#include "dataplane/request/attempt.h"
#include "dataplane/request/required.h"
#include "dataplane/request/session.h"
#include "dataplane/request/ways.h"
#include "dataplane/request/wishes_apply.h"

static bool was_tried(const struct request *r, uint32_t ordinal)
{
    for (uint32_t i = 0; i < r->work->tried_count; i++)
        if (r->work->tried[i] == ordinal)
            return true;
    return false;
}

/* 0: it may be asked now. Else the first reason why not, as a PICKED_PASSED bit. */
static uint32_t passed_over(const struct request *r, const struct snapshot_model *m,
                            const struct upstream_target *t, uint64_t now_ms)
{
    const struct snapshot_deployment *d = t->deployment;
    if (t->origin == NULL || !ask_may(r, d->provider) ||
        (r->path->free && !ask_counts(d->provider)))
        return PICKED_PASSED(UNFIT);
    if (was_tried(r, d->ordinal))
        return PICKED_PASSED(TRIED);
    if (required_pin_misses(r, d))
        return PICKED_PASSED(PINNED);
    const uint32_t lacks = required_lacks(r, d);
    if (lacks != 0)
        return (lacks & POLICY_EXCL(REGION)) != 0 ? PICKED_PASSED(REGION) : PICKED_PASSED(DATA);
    if (r->work->wishes != NULL && !wishes_try(r, m, d))
        return PICKED_PASSED(WISHES);
    if (endpoint_cooldown_ms(t->endpoint, now_ms) != 0)
        return PICKED_PASSED(COOLING);
    if (endpoint_full(t->endpoint))
        return PICKED_PASSED(FULL);
    return r->ignore_breakers || r->work->ignore_here || endpoint_usable(t->endpoint, now_ms)
               ? 0
               : PICKED_PASSED(EJECTED);
}

/* Who may be asked, looked at once: what follows chooses among these. */
static void look(const struct request *r, const struct snapshot_model *m, uint64_t now_ms,
                 struct picked *out)
{
    *out = (struct picked){.deployments = (uint8_t)m->deployment_count};
    for (uint32_t i = 0; i < m->deployment_count; i++) {
        const struct upstream_target *t = upstream_target(r->view, &m->deployments[i]);
        const uint32_t passed = passed_over(r, m, t, now_ms);
        out->passed |= passed;
        out->usable |= (uint64_t)(passed == 0) << i;
    }
}

static const struct upstream_target *target_at(const struct request *r,
                                               const struct snapshot_model *m, uint32_t place)
{
    return upstream_target(r->view, &m->deployments[place]);
}

static uint32_t first_of(uint64_t places)
{
    return (uint32_t)__builtin_ctzll(places);
}

/* Those of the lowest priority that are equal to the way. */
struct level {
    uint64_t places;
    uint64_t weight; /* Of all of them. */
    uint32_t priority;
    int64_t measure;
    bool measured; /* One of the same priority is worse. */
};

static struct level best_level(const struct request *r, const struct snapshot_model *m,
                               uint64_t usable, uint64_t now_ms)
{
    struct level l = {.places = 0};
    for (uint64_t left = usable; left != 0; left &= left - 1) {
        const uint32_t i = first_of(left);
        const struct upstream_target *t = target_at(r, m, i);
        const uint32_t priority = t->deployment->priority;
        const int64_t measure = ways_measure(r, t, now_ms);
        if (l.places == 0 || priority < l.priority ||
            (priority == l.priority && measure < l.measure))
            l = (struct level){.priority = priority,
                               .measure = measure,
                               .measured = l.places != 0 && priority == l.priority};
        if (priority != l.priority)
            continue;
        if (measure != l.measure) {
            l.measured = true;
            continue;
        }
        l.places |= UINT64_C(1) << i;
        l.weight += t->deployment->weight;
    }
    return l;
}

/* The one that the request itself would have first. */
static uint32_t draw_wished(const struct request *r, const struct snapshot_model *m,
                            uint64_t usable)
{
    uint32_t best = first_of(usable);
    for (uint64_t left = usable & (usable - 1); left != 0; left &= left - 1)
        if (wishes_prefer(r, m, target_at(r, m, first_of(left)), target_at(r, m, best)))
            best = first_of(left);
    return best;
}

/* Among equals: by turns, else by weight; a session's the same on every node. */
static uint32_t draw_equal(const struct request *r, const struct snapshot_model *m,
                           const struct level *l, bool turns)
{
    const uint64_t count = (uint64_t)__builtin_popcountll(l->places);
    uint64_t at = turns ? ways_turn_of_model(r, m) % count : session_draw(r, l->weight);
    for (uint64_t left = l->places; left != 0; left &= left - 1) {
        const uint64_t share = turns ? 1 : m->deployments[first_of(left)].weight;
        if (at < share)
            return first_of(left);
        at -= share;
    }
    return first_of(l->places);
}

static uint32_t choose(const struct request *r, const struct snapshot_model *m, uint64_t now_ms,
                       struct picked *p)
{
    p->equals = 1;
    p->by = PICKED_BY_ONLY;
    if ((p->usable & (p->usable - 1)) == 0)
        return first_of(p->usable);
    if (r->work->wishes != NULL && wishes_rank(r->work->wishes)) {
        p->by = PICKED_BY_WISH;
        return draw_wished(r, m, p->usable);
    }
    const uint64_t session = session_place(r, m) & p->usable;
    if (session != 0 && !ways_weighs_sessions(r)) {
        p->by = PICKED_BY_SESSION;
        return first_of(session);
    }
    const struct level l = best_level(r, m, p->usable, now_ms);
    p->equals = (uint8_t)__builtin_popcountll(l.places);
    if (p->equals == 1) {
        p->by = l.measured ? PICKED_BY_MEASURE : PICKED_BY_PRIORITY;
        return first_of(l.places);
    }
    if ((session & l.places) != 0) {
        p->by = PICKED_BY_SESSION;
        return first_of(session);
    }
    const bool turns = ways_of(r) == WAY_ROUND_ROBIN;
    p->by = turns ? PICKED_BY_TURN : PICKED_BY_WEIGHT;
    return draw_equal(r, m, &l, turns);
}

/* One of the model's usable deployments, by the request's own order, its session or the route's
 * way. NULL: none. */
static const struct upstream_target *draw(const struct request *r, const struct snapshot_model *m,
                                          uint64_t now_ms, struct picked *out)
{
    look(r, m, now_ms, out);
    if (out->usable == 0)
        return NULL;
    const uint32_t place = choose(r, m, now_ms, out);
    out->place = (uint8_t)(place + 1);
    return target_at(r, m, place);
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
        const struct upstream_target *t = draw(r, m, now_ms, &r->work->picked);
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
    r->work->picked = a->record->picked;
    r->work->picked.notes = 0;
    r->work->picked.by = PICKED_BY_AGAIN;
    return true;
}

const struct upstream_target *attempt_pick_beside(struct request *r)
{
    const bool all = r->ignore_breakers, here = r->work->ignore_here;
    r->ignore_breakers = r->work->ignore_here = false;
    const struct upstream_target *t =
        draw(r, r->attempt.model, r->now_ns / 1000000, &r->work->picked);
    r->ignore_breakers = all;
    r->work->ignore_here = here;
    return t;
}
