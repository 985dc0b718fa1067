/* Targets and conditions of a route, as text. */
#include "controlplane/import/internal.h"

#define MEMBER_WEIGHT_MAX 1000000U

static struct str given(const struct import *i, struct str name)
{
    const struct plan_model *m = plan_find_model(i, name);
    return m != NULL ? m->given : name;
}

static void put_target(struct import *i, const struct plan_target *t)
{
    uint64_t unit = 0, largest = 1;
    for (const struct plan_member *m = t->members; m != NULL; m = m->next) {
        unit = plan_common_divisor(m->weight, unit);
        largest = m->weight > largest ? m->weight : largest;
    }
    unit = unit == 0 ? 1 : unit;
    while (largest / unit > MEMBER_WEIGHT_MAX)
        unit *= 10;
    plan_put(i, "      ");
    plan_put_text(i, t->name);
    plan_put(i,
             t->balance ? ":\n        strategy: loadbalance\n        of:\n" : ":\n        of:\n");
    for (const struct plan_member *m = t->members; m != NULL; m = m->next) {
        const uint64_t weight = m->weight / unit;
        plan_put(i, t->balance ? "          - target: " : "          - ");
        plan_put_text(i, given(i, m->what));
        plan_put(i, "\n");
        if (t->balance)
            plan_put_number(i, "            weight: ", weight == 0 ? 1 : weight, "\n");
    }
}

/* On one line. All its texts are plain. */
static void put_query(struct import *i, const struct yaml_node *root)
{
    for (const struct yaml_node *at = root; at != NULL;) {
        const bool map = at->kind == YAML_MAP;
        if (at != root && at->parent->kind == YAML_MAP) {
            plan_put_text(i, at->key);
            plan_put(i, ": ");
        }
        if (at->kind == YAML_SCALAR)
            plan_put_text(i, at->text);
        else
            plan_put(i, map ? "{" : "[");
        if (at->first != NULL) {
            at = at->first;
            continue;
        }
        if (at->kind != YAML_SCALAR)
            plan_put(i, map ? "}" : "]");
        while (at != root && at->next == NULL) {
            at = at->parent;
            plan_put(i, at->kind == YAML_MAP ? "}" : "]");
        }
        if (at == root)
            return;
        plan_put(i, ", ");
        at = at->next;
    }
}

static void put_condition(struct import *i, const struct plan_condition *c)
{
    plan_put(i, c->count > 1 ? "      - if: {$and: [" : "      - if: ");
    for (unsigned n = 0; n < c->count; n++) {
        plan_put(i, n > 0 ? ", " : "");
        put_query(i, c->queries[n]);
    }
    plan_put(i, c->count > 1 ? "]}\n        then: " : "\n        then: ");
    plan_put_text(i, given(i, c->then));
    plan_put(i, "\n");
}

void plan_put_tree(struct import *i, const struct plan_route *r)
{
    if (r->targets != NULL)
        plan_put(i, "    targets:\n");
    for (const struct plan_target *t = r->targets; t != NULL && i->status == 0; t = t->next)
        put_target(i, t);
    if (r->conditions != NULL)
        plan_put(i, "    conditions:\n");
    for (const struct plan_condition *c = r->conditions; c != NULL && i->status == 0; c = c->next)
        put_condition(i, c);
    if (r->chosen_by_default.len > 0) {
        plan_put(i, "    default: ");
        plan_put_text(i, given(i, r->chosen_by_default));
        plan_put(i, "\n");
    }
}
