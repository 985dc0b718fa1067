/* `if:` of a condition: a tree of maps and lists as Portkey has it, to steps in postfix order. The
 * tree is no deeper than the file may be. */
#include "controlplane/config/rules.h"

#include <string.h>

#include "common/base/options.h"

struct compiler {
    struct findings *findings;
    struct rule_step *steps;
    uint32_t count;
    bool bad;
};

static void refuse(struct compiler *c, const struct yaml_node *node, const char *text)
{
    c->bad = true;
    table_finding(c->findings, node, "%s", text);
}

static struct rule_step *add(struct compiler *c, const struct yaml_node *node)
{
    if (c->count == RULE_STEPS_MAX) {
        if (!c->bad)
            refuse(c, node, "too many tests in one condition");
        return NULL;
    }
    return &c->steps[c->count++];
}

static void join(struct compiler *c, const struct yaml_node *node, enum rule_op op, uint32_t count)
{
    struct rule_step *s = count > 1 ? add(c, node) : NULL;
    if (s != NULL)
        *s = (struct rule_step){.op = op, .count = count};
}

static bool is_path(struct str path)
{
    static const char *const roots[] = {"metadata.", "params.", "headers."};
    for (size_t i = 0; i < sizeof roots / sizeof roots[0]; i++)
        if (str_starts(path, str_from(roots[i])) && path.len > strlen(roots[i]))
            return true;
    return str_is(path, "url.pathname");
}

static void add_pattern(struct compiler *c, const struct yaml_node *node, struct rule_step *s,
                        struct arena *arena)
{
    const char *problem = NULL;
    if (pattern_compile(node->text, arena, &s->pattern, &problem) == 0)
        return;
    c->bad = true;
    table_finding(c->findings, node, "no pattern: %s", problem != NULL ? problem : "out of memory");
}

static void add_test(struct compiler *c, const struct yaml_node *node, enum rule_op op,
                     struct str path, struct arena *arena)
{
    const bool many = op == RULE_IN || op == RULE_NIN;
    const uint32_t count = many && node->kind == YAML_LIST ? node->count : 1;
    if (many ? node->kind != YAML_LIST || count == 0 || count > RULE_VALUES_MAX
             : node->kind != YAML_SCALAR) {
        refuse(c, node, many ? "expected a list of 1 to 64 values" : "expected a single value");
        return;
    }
    struct rule_step *s = add(c, node);
    struct str *values = arena_zalloc(arena, count, sizeof *values);
    if (s == NULL || values == NULL) {
        c->bad = true;
        return;
    }
    uint32_t at = 0;
    for (const struct yaml_node *n = many ? node->first : node; n != NULL && at < count;
         n = n->next) {
        if (n->kind != YAML_SCALAR)
            refuse(c, n, "expected a single value");
        values[at++] = n->text;
    }
    *s = (struct rule_step){.op = op, .path = path, .values = values, .value_count = count};
    if (op == RULE_REGEX)
        add_pattern(c, node, s, arena);
}

static bool find_op(const struct yaml_node *node, enum rule_op *out)
{
    for (uint32_t i = 0; i < RULE_OPS; i++)
        if (str_is(node->key, rule_op_name(i))) {
            *out = (enum rule_op)i;
            return true;
        }
    return false;
}

static void unknown_op(struct compiler *c, const struct yaml_node *node)
{
    const char *names[RULE_OPS + 1];
    char text[128];
    for (uint32_t i = 0; i < RULE_OPS; i++)
        names[i] = rule_op_name(i);
    names[RULE_OPS] = NULL;
    const char *near = str_copy(node->key, text, sizeof text) ? options_nearest(text, names) : NULL;
    c->bad = true;
    table_finding(c->findings, node, "unknown operator%s%s%s",
                  near != NULL ? "; did you mean \"" : "", near != NULL ? near : "",
                  near != NULL ? "\"?" : "");
}

/* What a path must be: a value, or a map of operators. */
static void compile_tests(struct compiler *c, const struct yaml_node *node, struct arena *arena)
{
    uint32_t before = 0;
    if (!is_path(node->key)) {
        refuse(c, node, "a path starts with metadata., params. or headers., or is url.pathname");
        return;
    }
    if (node->kind != YAML_MAP) {
        add_test(c, node, node->kind == YAML_LIST ? RULE_IN : RULE_EQ, node->key, arena);
        return;
    }
    for (const struct yaml_node *n = node->first; n != NULL; n = n->next, before++) {
        enum rule_op op;
        if (!find_op(n, &op) || op == RULE_AND || op == RULE_OR)
            unknown_op(c, n);
        else
            add_test(c, n, op, node->key, arena);
    }
    if (before == 0)
        refuse(c, node, "an empty condition");
    join(c, node, RULE_AND, before);
}

/* Recursion goes down the file's tree, which the reader of YAML has bounded. */
static void compile_map(struct compiler *c, const struct yaml_node *node, struct arena *arena)
{
    uint32_t parts = 0;
    if (node->kind != YAML_MAP || node->count == 0) {
        refuse(c, node, "expected a map of conditions");
        return;
    }
    for (const struct yaml_node *n = node->first; n != NULL; n = n->next, parts++) {
        enum rule_op op;
        if (!find_op(n, &op)) {
            compile_tests(c, n, arena);
            continue;
        }
        if ((op != RULE_AND && op != RULE_OR) || n->kind != YAML_LIST || n->count == 0) {
            refuse(c, n, "expected $and or $or with a list, or a path");
            continue;
        }
        for (const struct yaml_node *k = n->first; k != NULL; k = k->next)
            compile_map(c, k, arena);
        join(c, n, op, n->count);
    }
    join(c, node, RULE_AND, parts);
}

uint32_t rules_compile(struct findings *f, const struct yaml_node *node, struct arena *arena,
                       struct rule_step *out_steps)
{
    struct compiler c = {.findings = f, .steps = out_steps};
    compile_map(&c, node, arena);
    return c.bad || !rule_valid(out_steps, c.count) ? 0 : c.count;
}

uint32_t rules_find(const struct route_config *r, struct str name)
{
    const struct candidate_config *models = r->models.data;
    const struct target_config *targets = r->targets.data;
    for (size_t i = 0; i < r->models.count; i++)
        if (str_eq(models[i].model, name))
            return (uint32_t)i;
    for (size_t i = 0; i < r->targets.count; i++)
        if (str_eq(targets[i].item.name, name))
            return (uint32_t)(r->models.count + i);
    return UINT32_MAX;
}
