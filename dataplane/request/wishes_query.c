/* Queries of Portkey's conditional configs: JSON to steps in postfix order (common/route/rule.h),
 * as controlplane/config/rules.c makes them of a route's `if`. A stack of its own, no recursion. */
#include "dataplane/request/wishes_plan.h"

#include <string.h>

#define OPERATORS "The operators are $eq, $ne, $gt, $gte, $lt, $lte, $in, $nin and $regex."
#define PATHS     "A path starts with metadata., params. or headers., or is url.pathname."
#define TOO_MANY  "There are too many tests in this condition. Use at most 64."

/* A map whose members, or a list whose maps, must be joined. */
struct frame {
    uint32_t node;
    uint32_t at;    /* Of the iteration. */
    uint32_t parts; /* Results that it has pushed. */
    enum rule_op op;
};
struct query {
    struct wishes_reading *r;
    struct wishes_plan *plan;
    struct rule_step steps[RULE_STEPS_MAX];
    uint32_t count;
    struct frame stack[2 * PLAN_QUERY_DEPTH];
    uint32_t depth;
};

static int add(struct query *q, uint32_t node, struct rule_step step)
{
    if (q->count == RULE_STEPS_MAX)
        return wishes_refuse(q->r, node, TOO_MANY);
    q->steps[q->count++] = step;
    return 0;
}

static int push(struct query *q, uint32_t node, enum rule_op op)
{
    const enum json_kind wanted = op == RULE_OPS ? JSON_OBJECT : JSON_ARRAY;
    const uint32_t count = json_count(q->r->json, node);
    if (json_kind(q->r->json, node) != wanted || count == 0)
        return wishes_refuse(q->r, node,
                             op == RULE_OPS ? "This is a map of at least one test."
                                            : "This is a list of at least one map of tests.");
    if (q->depth == 2 * PLAN_QUERY_DEPTH)
        return wishes_refuse(q->r, node, "This is too deep. Nest $and and $or at most 8 levels.");
    q->stack[q->depth++] = (struct frame){.node = node, .op = op == RULE_OPS ? RULE_AND : op};
    return 0;
}

static bool find_op(const struct json *j, uint32_t key, enum rule_op *out)
{
    for (uint32_t i = 0; i < RULE_OPS; i++)
        if (json_string_is(j, key, str_from(rule_op_name(i)))) {
            *out = (enum rule_op)i;
            return true;
        }
    return false;
}

static int take_value(struct query *q, uint32_t node, struct str *out)
{
    switch (json_kind(q->r->json, node)) {
    case JSON_STRING:
        return json_text(q->r->json, node, q->r->arena, out) == 0 ? 0 : ERR_NOMEM;
    case JSON_NUMBER:
    case JSON_TRUE:
    case JSON_FALSE:
        *out = json_raw(q->r->json, node);
        return 0;
    case JSON_MISSING:
    case JSON_NULL:
    case JSON_ARRAY:
    case JSON_OBJECT:
        break;
    }
    return wishes_refuse(q->r, node, "This is a single value: a string, a number, true or false.");
}

static int add_pattern(struct query *q, uint32_t node, struct rule_step *s)
{
    const char *problem = NULL;
    if (json_kind(q->r->json, node) != JSON_STRING)
        return wishes_refuse(q->r, node, "A $regex is a string.");
    if (q->plan->pattern_count == PLAN_PATTERNS_MAX)
        return wishes_refuse(q->r, node,
                             "There are too many patterns. Use at most 8, or configure the "
                             "conditions on the gateway.");
    q->plan->pattern_count++;
    int rc = pattern_compile(s->values[0], q->r->arena, &s->pattern, &problem);
    return rc == ERR_INVALID
               ? wishes_refuse(q->r, node,
                               "This pattern cannot be used. Correct it: at most 256 bytes, no "
                               "large repeats.")
               : rc;
}

static int add_test(struct query *q, uint32_t node, enum rule_op op, struct str path)
{
    const struct json *j = q->r->json;
    const bool many = op == RULE_IN || op == RULE_NIN;
    const uint32_t count = many ? json_count(j, node) : 1;
    uint32_t one, taken = 0;
    if (many && (json_kind(j, node) != JSON_ARRAY || count == 0 || count > RULE_VALUES_MAX))
        return wishes_refuse(q->r, node, "This is a list of 1 to 64 values.");
    struct str *values = arena_zalloc(q->r->arena, count, sizeof *values);
    if (values == NULL)
        return ERR_NOMEM;
    int rc = 0;
    if (!many)
        rc = take_value(q, node, &values[0]);
    for (uint32_t at = 0; many && rc == 0 && json_next_element(j, node, &at, &one);)
        rc = take_value(q, one, &values[taken++]);
    struct rule_step step = {.op = op, .path = path, .values = values, .value_count = count};
    if (rc == 0 && op == RULE_REGEX)
        rc = add_pattern(q, node, &step);
    return rc == 0 ? add(q, node, step) : rc;
}

static bool is_path(struct str path)
{
    static const struct str roots[] = {{"metadata.", 9}, {"params.", 7}, {"headers.", 8}};
    for (size_t i = 0; i < sizeof roots / sizeof roots[0]; i++)
        if (str_starts(path, roots[i]) && path.len > roots[i].len)
            return true;
    return str_is(path, "url.pathname");
}

/* A path with a value, or with a map of operators; its tests are one result. */
static int add_path(struct query *q, uint32_t key, uint32_t node)
{
    const struct json *j = q->r->json;
    uint32_t name, value, parts = 0;
    struct str path;
    int rc = wishes_take_name(q->r, key, &path);
    if (rc != 0)
        return rc;
    if (!is_path(path))
        return wishes_refuse(q->r, node, PATHS);
    q->plan->asks_params |= str_starts(path, STR("params."));
    if (json_kind(j, node) != JSON_OBJECT)
        return add_test(q, node, json_kind(j, node) == JSON_ARRAY ? RULE_IN : RULE_EQ, path);
    for (uint32_t at = 0; rc == 0 && json_next_member(j, node, &at, &name, &value); parts++) {
        enum rule_op op;
        if (!find_op(j, name, &op) || op == RULE_AND || op == RULE_OR)
            return wishes_refuse(q->r, value, OPERATORS);
        rc = add_test(q, value, op, path);
    }
    if (rc == 0 && parts == 0)
        return wishes_refuse(q->r, node, OPERATORS);
    return rc == 0 && parts > 1 ? add(q, node, (struct rule_step){.op = RULE_AND, .count = parts})
                                : rc;
}

/* One member of a map, or one map of a list. */
static int step(struct query *q, struct frame *f)
{
    const struct json *j = q->r->json;
    uint32_t key, value;
    enum rule_op op;
    if (json_kind(j, f->node) == JSON_ARRAY) {
        if (json_next_element(j, f->node, &f->at, &value)) {
            f->parts++;
            return push(q, value, RULE_OPS);
        }
    } else if (json_next_member(j, f->node, &f->at, &key, &value)) {
        f->parts++;
        if (!find_op(j, key, &op))
            return add_path(q, key, value);
        if (op != RULE_AND && op != RULE_OR)
            return wishes_refuse(q->r, value, PATHS);
        return push(q, value, op);
    }
    const struct frame done = *f;
    q->depth--;
    return done.parts > 1
               ? add(q, done.node, (struct rule_step){.op = done.op, .count = done.parts})
               : 0;
}

int plan_read_query(struct wishes_reading *r, uint32_t node, struct wishes_plan *plan,
                    struct plan_condition *out)
{
    struct query q = {.r = r, .plan = plan};
    int rc = push(&q, node, RULE_OPS);
    while (rc == 0 && q.depth > 0)
        rc = step(&q, &q.stack[q.depth - 1]);
    if (rc != 0)
        return rc;
    struct rule_step *steps = arena_zalloc(r->arena, q.count, sizeof *steps);
    if (steps == NULL)
        return ERR_NOMEM;
    memcpy(steps, q.steps, q.count * sizeof *steps);
    out->steps = steps;
    out->count = q.count;
    return rule_valid(steps, q.count) ? 0 : wishes_refuse(r, node, TOO_MANY);
}
