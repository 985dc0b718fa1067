/* ways.h: a route whose order is not its policy's (common/route/way.h): what the way looks at, of
 * the candidates for the decision, and of a model's deployments for each attempt. And the lists of
 * models that take over by what went wrong. */
#ifndef STEELYARD_DATAPLANE_REQUEST_WAYS_H
#define STEELYARD_DATAPLANE_REQUEST_WAYS_H

#include "dataplane/request/request.h"
#include "dataplane/request/wishes_apply.h"

/* WAY_LEARNED for a named model, and where the caller named a policy. */
static inline enum way ways_of(const struct request *r)
{
    if (r->route == NULL || r->policy != NULL)
        return WAY_LEARNED;
    return r->work->wishes == NULL ? r->route->way : wishes_way(r, r->route->way);
}
/* Smaller is better; 0 where the way looks at nothing. */
int64_t ways_measured(const struct request *r, enum way way, const struct upstream_target *t,
                      uint64_t now_ms);
static inline int64_t ways_measure(const struct request *r, const struct upstream_target *t,
                                   uint64_t now_ms)
{
    const enum way way = ways_of(r);
    return way == WAY_LEARNED ? 0 : ways_measured(r, way, t, now_ms);
}
/* Leaving a session's deployment is a matter of cost, which the way compares; else it is left for
 * its health alone. */
static inline bool ways_weighs_sessions(const struct request *r)
{
    return ways_of(r) == WAY_LOWEST_COST;
}
/* More than half of the model's deployments are ejected: then all are used (F14). */
bool ways_most_of_some_out(const struct request *r, const struct snapshot_model *m,
                           uint64_t now_ms);
static inline bool ways_most_out(const struct request *r, const struct snapshot_model *m,
                                 uint64_t now_ms)
{
    return m->deployment_count >= 2 && ways_most_of_some_out(r, m, now_ms);
}
/* After a good answer: is the deployment an outlier among those of its model, and not half of them
 * out already? Then it is ejected (F14). */
void ways_eject_slow(struct request *r, uint64_t now_ms);
/* ways_target.c: which target the route's conditions choose, if it has any. Then the policy is not
 * asked: the candidates outside are excluded, and the order is the target's. Once, with the
 * candidates. */
void ways_choose_target(struct request *r);
static inline bool ways_has_target(const struct snapshot_route *route)
{
    return route->condition_count != 0 || route->default_target != POLICY_NONE;
}
/* What a path of a condition means; of params only while env->json holds the body. .data NULL: it
 * is not there. */
struct str ways_value(void *request, struct str path);
/* Does a condition hold? Between ways_begin and ways_end, which tells what was given up. */
bool ways_hold(struct request *r, const struct rule_step *steps, uint32_t count);
void ways_begin(struct request *r);
void ways_end(struct request *r);
/* The candidates are all there, with the exclusions of this node. Sets policy_request.way, or
 * leaves it NULL. */
void ways_fill(struct request *r);
/* The next of some equal deployments of a model, by turns on this worker. */
uint32_t ways_turn_of_model(const struct request *r, const struct snapshot_model *m);

/* Behind the route's candidates stand those of its fallbacks that are none, out of the decision's
 * reach. */
void ways_add_fallbacks(struct request *r);
static inline bool ways_has_fallbacks(const struct snapshot_route *route)
{
    uint32_t any = 0;
    for (uint32_t kind = 0; kind < SNAPSHOT_FALLBACKS; kind++)
        any |= route->fallbacks[kind].count;
    return any != 0;
}
/* Of a list: is it for what the request is, not for what a provider cannot do just now? */
static inline bool ways_is_refusal(enum snapshot_fallback due)
{
    return due == SNAPSHOT_FALLBACK_CONTEXT_WINDOW || due == SNAPSHOT_FALLBACK_CONTENT_POLICY;
}
bool ways_has_fallback(const struct request *r, enum snapshot_fallback kind);
/* The first of that list that may be tried; POLICY_NONE: none is left. */
uint32_t ways_next_fallback(const struct request *r, enum snapshot_fallback kind);
/* No candidate takes so long a prompt: those of the list may be chosen. false: there are none. */
bool ways_open_long(struct request *r);

#endif
