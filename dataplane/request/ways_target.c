/* Conditions over what the request says of itself, and the order of the target they choose. */
#include "dataplane/request/ways.h"

#define PATH_PARTS_MAX 8

/* ---- what a path names ---- */

/* A tag "k=v" of the caller. */
static struct str metadata(const struct request *r, struct str key)
{
    const struct steering *s = &r->work->steering;
    for (uint32_t i = 0; i < s->tag_count; i++) {
        struct str name, value;
        if (str_cut(s->tags[i], '=', &name, &value) && str_eq(name, key))
            return value;
    }
    return STR_NULL;
}

static struct str text_of(struct request *r, uint32_t node)
{
    const struct json *j = &r->env->json;
    struct str text;
    switch (json_kind(j, node)) {
    case JSON_STRING:
        return json_text(j, node, &r->arena, &text) == 0 ? text : STR_NULL;
    case JSON_NUMBER:
    case JSON_TRUE:
    case JSON_FALSE:
        return json_raw(j, node);
    case JSON_MISSING:
    case JSON_NULL:
    case JSON_ARRAY:
    case JSON_OBJECT:
        break;
    }
    return STR_NULL;
}

/* "max_tokens", "response_format.type": members of the body. */
static struct str param(struct request *r, struct str path)
{
    uint32_t node = JSON_ROOT;
    for (unsigned i = 0; i < PATH_PARTS_MAX; i++) {
        struct str part, rest;
        if (!str_cut(path, '.', &part, &rest)) {
            part = path;
            rest = STR_NULL;
        }
        if (json_kind(&r->env->json, node) != JSON_OBJECT)
            return STR_NULL;
        node = json_get(&r->env->json, node, part);
        if (rest.data == NULL)
            return text_of(r, node);
        path = rest;
    }
    return STR_NULL;
}

struct str ways_value(void *request, struct str path)
{
    struct request *r = request;
    struct str root, rest;
    if (!str_cut(path, '.', &root, &rest))
        return STR_NULL;
    if (str_is(root, "metadata"))
        return metadata(r, rest);
    if (str_is(root, "params"))
        return param(r, rest);
    if (str_is(root, "url") && str_is(rest, "pathname"))
        return r->path_text;
    if (str_is(root, "headers") && r->head != NULL)
        return http1_field_get(r->head, rest);
    return STR_NULL;
}

/* ---- conditions ---- */

bool ways_hold(struct request *r, const struct rule_step *steps, uint32_t count)
{
    struct pattern_room *room = NULL;
    if (rule_has_patterns(steps, count)) {
        if (r->env->patterns == NULL)
            r->env->patterns = pattern_room_create();
        room = r->env->patterns;
    }
    return rule_holds(steps, count, ways_value, r, room);
}

void ways_begin(struct request *r)
{
    if (r->env->patterns != NULL)
        pattern_room_begin(r->env->patterns);
}

void ways_end(struct request *r)
{
    if (r->env->patterns == NULL || !pattern_room_gave_up(r->env->patterns))
        return;
    pattern_room_begin(r->env->patterns); /* Told once. */
    metrics_add(meter(&r->env->meters, METER_PATTERNS_GIVEN_UP, NULL), 1);
    request_warn(r, "condition_pattern_given_up");
}

/* ---- the target ---- */

static uint32_t target_of(struct request *r)
{
    const struct snapshot_route *route = r->route;
    /* The scan's nodes were given back with the call: the body is looked at once more, and only for
     * such a route. */
    if (route->condition_count > 0 && json_parse(&r->env->json, r->body, NULL) != 0)
        json_reset(&r->env->json, 0);
    uint32_t target = route->default_target;
    ways_begin(r);
    for (uint32_t i = 0; i < route->condition_count; i++) {
        const struct snapshot_condition *c = &route->conditions[i];
        if (ways_hold(r, c->steps, c->count)) {
            target = c->then;
            break;
        }
    }
    ways_end(r);
    return target;
}

void ways_choose_target(struct request *r)
{
    const struct snapshot_route *route = r->route;
    struct way_input *way = &r->work->way;
    uint8_t order[POLICY_CANDIDATES_MAX];
    const uint32_t target = target_of(r);
    if (target == POLICY_NONE)
        return;
    const uint64_t seed =
        siphash_2_4(r->snapshot->limits.draw_key, r->id.bytes, sizeof r->id.bytes);
    const uint32_t count = tree_order(&route->tree, target, seed, order);
    *way = (struct way_input){.way = WAY_PRIORITY, .count = r->work->candidate_count};
    r->work->by_target = true;
    r->policy = NULL;
    for (uint32_t i = 0; i < way->count; i++) {
        way->candidates[i] = (struct way_candidate){.weight = 1, .priority = WAY_PRIORITY_MAX + i};
        r->work->candidates[i].ordinal = POLICY_UNKNOWN_MODEL;
        if (i < route->candidate_count)
            r->work->candidates[i].excl |= POLICY_EXCL(CONDITION);
    }
    for (uint32_t i = 0; i < count; i++) {
        way->candidates[order[i]].priority = i + 1;
        r->work->candidates[order[i]].excl &= ~POLICY_EXCL(CONDITION);
    }
}
