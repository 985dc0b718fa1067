/* Portkey's headers (portkey.ai/docs, "Configs"): a config is a strategy over targets. Here a
 * target names a provider or model that is configured; keys and hosts never come from a client. */
#include "dataplane/request/wishes_plan.h"

#include <string.h>

#define CONFIGURED_HERE "This is not taken from a client. Configure it on the gateway."
#define NO_GUARDS       "There are no guards here. Remove it."
#define CONFIG          "x-portkey-config"
#define METADATA        "x-portkey-metadata"

/* "@slug" and "@slug/model" are catalogue names: without the mark they are ours. */
static struct str unmarked(struct str name)
{
    return name.len > 1 && name.data[0] == '@' ? str_slice(name, 1, name.len) : name;
}

/* ---- what may stand there ---- */

static int check_text(struct wishes_reading *r, uint32_t node)
{
    struct str ignored;
    return wishes_take_name(r, node, &ignored);
}

/* A guard that is not obeyed must not look as if it were. */
static int refuse_guard(struct wishes_reading *r, uint32_t node)
{
    return wishes_refuse(r, node, NO_GUARDS);
}

static int check_codes(struct wishes_reading *r, uint32_t node)
{
    const struct wishes_codes *ignored;
    return plan_read_codes(r, node, &ignored);
}

/* Of the config and of a target alike. */
static const struct wishes_field target_fields[] = {
    WISHES_FIELD("strategy", wishes_pass),
    WISHES_FIELD("targets", wishes_pass),
    WISHES_FIELD("provider", wishes_pass),
    WISHES_FIELD("virtual_key", wishes_pass),
    WISHES_FIELD("model", wishes_pass),
    WISHES_FIELD("name", check_text),
    WISHES_FIELD("id", check_text),
    WISHES_FIELD("weight", wishes_pass),
    WISHES_FIELD("override_params", wishes_pass),
    WISHES_FIELD("retry", wishes_pass),
    WISHES_FIELD("cache", wishes_pass),
    WISHES_FIELD("request_timeout", wishes_pass),
    WISHES_FIELD("on_status_codes", check_codes), /* Portkey reads those of strategies. */
    WISHES_FIELD("strict_open_ai_compliance", wishes_check_bool), /* Always so. */
    WISHES_FIELD("input_guardrails", refuse_guard),
    WISHES_FIELD("output_guardrails", refuse_guard),
    WISHES_FIELD("before_request_hooks", refuse_guard),
    WISHES_FIELD("after_request_hooks", refuse_guard),
};
static const struct wishes_field strategy_fields[] = {
    WISHES_FIELD("mode", wishes_pass),
    WISHES_FIELD("on_status_codes", wishes_pass),
    WISHES_FIELD("conditions", wishes_pass),
    WISHES_FIELD("default", wishes_pass),
};
static const struct wishes_field condition_fields[] = {
    WISHES_FIELD("query", wishes_pass),
    WISHES_FIELD("then", wishes_pass),
};
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* ---- a target that has none inside ---- */

static int take_name_at(struct wishes_reading *r, uint32_t object, struct str key, struct str *out)
{
    const uint32_t node = json_get(r->json, object, key);
    if (!wishes_is_there(r->json, node))
        return 0;
    return wishes_take_name(r, node, out);
}

static int read_leaf(struct wishes_reading *r, struct plan_node *n, struct wishes_target *out)
{
    *out = (struct wishes_target){.model = unmarked(n->model), .terms = n->terms};
    int rc = take_name_at(r, n->json, STR("provider"), &out->provider);
    if (rc == 0)
        rc = take_name_at(r, n->json, STR("virtual_key"), &out->virtual_key);
    out->provider = unmarked(out->provider);
    if (rc != 0)
        return rc;
    if (out->provider.len + out->model.len + out->virtual_key.len == 0)
        return wishes_refuse(r, n->json, "A target names a provider, a model, or both.");
    out->path = wishes_path(r, n->json);
    return out->path.data != NULL ? 0 : ERR_NOMEM;
}

static int take_weight(struct wishes_reading *r, uint32_t object, uint32_t *out)
{
    int64_t millis = 1000;
    const uint32_t node = json_get(r->json, object, STR("weight"));
    int rc =
        wishes_is_there(r->json, node) ? wishes_take_decimal(r, node, 3, 1000000000, &millis) : 0;
    *out = rc == 0 ? (uint32_t)millis : 0;
    return rc;
}

/* ---- strategies ---- */

static int read_mode(struct wishes_reading *r, uint32_t node, enum plan_mode *out)
{
    static const struct str modes[] = {
        {"single", 6}, {"fallback", 8}, {"loadbalance", 11}, {"conditional", 11}};
    for (uint32_t i = 0; i < COUNT(modes); i++)
        if (json_string_is(r->json, node, modes[i])) {
            *out = (enum plan_mode)i;
            return 0;
        }
    return wishes_refuse(r, node, "The modes are single, fallback, loadbalance and conditional.");
}

/* Which child of the group is called so. */
static int find_child(struct wishes_reading *r, const struct wishes_plan *plan,
                      const struct plan_node *group, uint32_t node, uint32_t *out)
{
    struct str name = STR_NULL;
    int rc = wishes_take_name(r, node, &name);
    for (uint32_t i = 0; rc == 0 && i < group->count; i++)
        if (str_eq(plan->nodes[group->first + i].name, name)) {
            *out = i;
            return 0;
        }
    return rc != 0 ? rc : wishes_refuse(r, node, "No target beside it has this name.");
}

static int read_condition(struct wishes_reading *r, struct wishes_plan *plan,
                          const struct plan_node *group, uint32_t node)
{
    const struct json *j = r->json;
    if (plan->condition_count == PLAN_CONDITIONS_MAX)
        return wishes_refuse(r, node, "There are too many of these. Use at most 32 conditions.");
    struct plan_condition *c = &plan->conditions[plan->condition_count];
    int rc = wishes_fields(r, node, condition_fields, COUNT(condition_fields),
                           "A condition has a query and a then.");
    const uint32_t query = json_get(j, node, STR("query")), then = json_get(j, node, STR("then"));
    if (rc == 0 && (!wishes_is_there(j, query) || !wishes_is_there(j, then)))
        return wishes_refuse(r, node, "A condition has a query and a then.");
    if (rc == 0)
        rc = plan_read_query(r, query, plan, c);
    if (rc == 0)
        rc = find_child(r, plan, group, then, &c->then);
    plan->condition_count += rc == 0;
    return rc;
}

static int read_conditions(struct wishes_reading *r, struct wishes_plan *plan,
                           struct plan_node *group, uint32_t strategy)
{
    const struct json *j = r->json;
    const uint32_t list = json_get(j, strategy, STR("conditions"));
    const uint32_t other = json_get(j, strategy, STR("default"));
    uint32_t one;
    int rc = 0;
    if (json_kind(j, list) != JSON_ARRAY)
        return wishes_refuse(r, wishes_is_there(j, list) ? list : strategy,
                             "The mode conditional needs a list of conditions.");
    group->condition = plan->condition_count;
    for (uint32_t at = 0; rc == 0 && json_next_element(j, list, &at, &one);)
        rc = read_condition(r, plan, group, one);
    group->condition_count = plan->condition_count - group->condition;
    group->chosen_by_default = UINT32_MAX;
    if (rc == 0 && wishes_is_there(j, other))
        rc = find_child(r, plan, group, other, &group->chosen_by_default);
    return rc;
}

/* Its fallback's codes hold for all inside, until another fallback. */
static int inherit_codes(struct wishes_reading *r, struct plan_node *group, uint32_t codes)
{
    struct wishes_terms *t = arena_alloc(r->arena, sizeof *t);
    if (t == NULL)
        return ERR_NOMEM;
    if (group->terms != NULL)
        *t = *group->terms;
    else
        *t = (struct wishes_terms){.retries = -1};
    t->go_on = NULL;
    group->terms = t;
    return wishes_is_there(r->json, codes) ? plan_read_codes(r, codes, &t->go_on) : 0;
}

static int read_strategy(struct wishes_reading *r, struct plan_node *group)
{
    const struct json *j = r->json;
    const uint32_t node = json_get(j, group->json, STR("strategy"));
    group->mode = PLAN_SINGLE;
    if (!wishes_is_there(j, node)) /* Of targets without a strategy, Portkey asks the first. */
        return 0;
    int rc = wishes_fields(r, node, strategy_fields, COUNT(strategy_fields), NULL);
    const uint32_t mode = json_get(j, node, STR("mode"));
    const uint32_t codes = json_get(j, node, STR("on_status_codes"));
    if (rc == 0 && wishes_is_there(j, mode))
        rc = read_mode(r, mode, &group->mode);
    if (rc == 0 && (group->mode == PLAN_FALLBACK || wishes_is_there(j, codes)))
        rc = inherit_codes(r, group, codes);
    return rc;
}

/* ---- the tree ---- */

static int add_child(struct wishes_reading *r, struct wishes_plan *plan, uint32_t parent,
                     uint32_t node)
{
    const struct json *j = r->json;
    const struct plan_node *above = &plan->nodes[parent];
    const bool is_group = wishes_is_there(j, json_get(j, node, STR("targets")));
    if (is_group ? plan->group_count == PLAN_GROUPS_MAX : plan->leaf_count == WISHES_TARGETS_MAX)
        return wishes_refuse(r, node, "There are too many of these. Name at most 32.");
    struct plan_node *n = &plan->nodes[plan->count++];
    *n = (struct plan_node){.is_group = is_group,
                            .index = is_group ? plan->group_count++ : plan->leaf_count++,
                            .depth = above->depth + 1,
                            .json = node,
                            .model = above->model,
                            .terms = above->terms};
    int rc = wishes_fields(r, node, target_fields, COUNT(target_fields), CONFIGURED_HERE);
    if (rc == 0)
        rc = take_name_at(r, node, STR("name"), &n->name);
    if (rc == 0)
        rc = take_name_at(r, node, STR("model"), &n->model);
    if (rc == 0)
        rc = take_weight(r, node, &n->weight);
    if (rc == 0)
        rc = plan_read_terms(r, node, &n->terms, &n->model);
    if (rc == 0 && is_group && n->depth >= TREE_DEPTH_MAX)
        return wishes_refuse(r, node, "This is too deep. Nest targets at most 8 levels.");
    if (rc == 0 && !is_group && wishes_is_there(j, json_get(j, node, STR("strategy"))))
        return wishes_refuse(r, json_get(j, node, STR("strategy")), "A strategy needs targets.");
    return rc == 0 && !is_group ? read_leaf(r, n, &plan->leaves[n->index]) : rc;
}

static int read_group(struct wishes_reading *r, struct wishes_plan *plan, uint32_t at_node)
{
    const struct json *j = r->json;
    struct plan_node *group = &plan->nodes[at_node];
    const uint32_t list = json_get(j, group->json, STR("targets"));
    uint32_t one;
    if (json_kind(j, list) != JSON_ARRAY || json_count(j, list) == 0)
        return wishes_refuse(r, list, "This is a list of at least one target.");
    int rc = read_strategy(r, group);
    group->first = plan->count;
    for (uint32_t at = 0; rc == 0 && json_next_element(j, list, &at, &one); group->count++)
        rc = add_child(r, plan, at_node, one);
    if (rc == 0 && group->mode == PLAN_CONDITIONAL)
        rc = read_conditions(r, plan, group, json_get(j, group->json, STR("strategy")));
    return rc;
}

/* Level by level: a group's targets stand together, behind all groups of its level. */
static int read_plan(struct wishes_reading *r, const struct plan_node *root)
{
    struct wishes_plan *plan = arena_zalloc(r->arena, 1, sizeof *plan);
    int rc = 0;
    if (plan == NULL)
        return ERR_NOMEM;
    plan->nodes[0] = *root;
    plan->count = plan->group_count = 1;
    for (uint32_t i = 0; rc == 0 && i < plan->count; i++)
        if (plan->nodes[i].is_group)
            rc = read_group(r, plan, i);
    r->w->plan = plan;
    return rc;
}

static int read_config(struct wishes_reading *r)
{
    const struct json *j = r->json;
    struct wishes_target target;
    struct plan_node root = {.is_group =
                                 wishes_is_there(j, json_get(j, JSON_ROOT, STR("targets")))};
    int rc = wishes_fields(r, JSON_ROOT, target_fields, COUNT(target_fields), CONFIGURED_HERE);
    if (rc == 0)
        rc = take_name_at(r, JSON_ROOT, STR("model"), &root.model);
    if (rc == 0)
        rc = take_weight(r, JSON_ROOT, &root.weight);
    if (rc == 0)
        rc = plan_read_terms(r, JSON_ROOT, &root.terms, &root.model);
    if (rc == 0 && root.is_group)
        return read_plan(r, &root);
    if (rc == 0 && wishes_is_there(j, json_get(j, JSON_ROOT, STR("strategy"))))
        return wishes_refuse(r, json_get(j, JSON_ROOT, STR("strategy")),
                             "A strategy needs targets.");
    r->w->terms = root.terms;
    if (rc != 0 ||
        (root.model.len == 0 && !wishes_is_there(j, json_get(j, JSON_ROOT, STR("provider"))) &&
         !wishes_is_there(j, json_get(j, JSON_ROOT, STR("virtual_key")))))
        return rc; /* Nobody is named: the call's model is asked in this way. */
    rc = read_leaf(r, &root, &target);
    return rc == 0 ? wishes_add_target(r, JSON_ROOT, target) : rc;
}

int wishes_read_portkey(struct json *json, struct str text, struct arena *arena, struct wishes *w,
                        struct wishes_refusal *refusal)
{
    struct wishes_reading r;
    text = str_trim(text);
    if (text.len > 0 && text.data[0] != '{') {
        w->route = text;
        return 0;
    }
    w->target_count = 0;              /* It has the word over the body. */
    if (text.len <= WISHES_BYTES_MAX) /* What it says is asked for as long as there are attempts. */
        text = arena_copy(arena, text);
    if (text.data == NULL)
        return ERR_NOMEM;
    int rc = wishes_begin(&r, json, text, CONFIG, arena, w, refusal);
    return rc == 0 ? read_config(&r) : rc;
}

int wishes_read_metadata(struct json *json, struct str text, struct arena *arena, struct str *out,
                         uint32_t max, uint32_t *out_count, struct wishes_refusal *refusal)
{
    struct wishes_reading r;
    uint32_t key, value;
    *out_count = 0;
    int rc = wishes_begin(&r, json, text, METADATA, arena, NULL, refusal);
    if (rc != 0)
        return rc;
    if (json_kind(json, JSON_ROOT) != JSON_OBJECT)
        return wishes_refuse(&r, JSON_ROOT, NULL);
    for (uint32_t at = 0; json_next_member(json, JSON_ROOT, &at, &key, &value);) {
        struct str name, said;
        rc = wishes_take_name(&r, key, &name);
        if (rc == 0)
            rc = wishes_take_name(&r, value, &said);
        if (rc != 0)
            return rc;
        if (*out_count == max)
            return wishes_refuse(&r, value, "There are too many of these. Leave some out.");
        char *tag = arena_alloc(arena, name.len + 1 + said.len);
        if (tag == NULL)
            return ERR_NOMEM;
        memcpy(tag, name.data, name.len);
        tag[name.len] = '=';
        memcpy(tag + name.len + 1, said.data, said.len);
        out[(*out_count)++] = (struct str){tag, name.len + 1 + said.len};
    }
    return 0;
}
