/* Portkey's configs whose order is more than one list: conditions, and fallbacks inside of shares.
 * They become `targets`, `conditions` and `default` of a route. A conditional deep inside is
 * lifted: each way in which the conditionals can choose is one condition of the route, in the order
 * in which the first choices come first; so the first that holds is what each of them would have
 * chosen. */
#include <string.h>

#include "controlplane/config/model.h"
#include "controlplane/config/rules.h"
#include "controlplane/import/portkey.h"

#define WAYS_MAX     4096U /* That are looked at: of lifted conditionals, all combinations. */
#define BRANCHES_MAX CONFIG_CONDITIONS_MAX
#define NOBODY       SIZE_MAX
#define MODELS_MAX   64U

struct branch {
    const struct yaml_node *query; /* NULL: the default. */
    size_t child;                  /* NOBODY: the target could not be imported, or there is none. */
};
/* What a target is in this tree. */
struct node {
    struct branch *branches; /* Of a conditional; the last one is its default. */
    unsigned branch_count;
    unsigned chosen;
    bool varies; /* A conditional is in there. */
    bool live;
    struct str made; /* Model or target that it is in the way at hand; len 0: none. */
    unsigned depth;
};
struct lift {
    struct portkey *p;
    struct node *nodes; /* Beside p->targets. */
    struct plan_route *route;
    unsigned models, targets, conditions, steps_left;
};

static bool has_mode(const struct portkey *p, size_t at, const char *mode)
{
    return str_is(tree_text(tree_get(tree_get(p->targets[at].node, "strategy"), "mode")), mode);
}

static bool is_group(const struct portkey *p, size_t at)
{
    const struct yaml_node *list = tree_get(p->targets[at].node, "targets");
    return list != NULL && list->kind == YAML_LIST;
}

static bool is_child(const struct portkey *p, size_t at, size_t parent)
{
    return at != 0 && p->targets[at].parent == parent;
}

bool portkey_needs_tree(const struct portkey *p)
{
    for (size_t at = 0; at < p->count; at++) {
        if (is_group(p, at) && has_mode(p, at, "conditional"))
            return true;
        /* A fallback anywhere in a share. */
        for (size_t up = at; up != 0 && is_group(p, at) && !has_mode(p, at, "loadbalance") &&
                             !has_mode(p, at, "single");
             up = p->targets[up].parent)
            if (has_mode(p, p->targets[up].parent, "loadbalance"))
                return true;
    }
    return false;
}

/* ---- conditions ---- */

/* May every text of a query stand in our file? */
static bool is_plain(const struct yaml_node *root)
{
    for (const struct yaml_node *at = root; at != NULL; at = tree_next(root, at)) {
        if ((at != root && at->parent->kind == YAML_MAP && !value_is_plain(at->key)) ||
            (at->kind == YAML_SCALAR && at->text.len > 0 && !value_is_plain(at->text)) ||
            (at->kind == YAML_SCALAR && tree_text(at).data == NULL))
            return false;
    }
    return true;
}

/* What is said behind $and, $or and $regex is not read by the original. */
static bool has_unread(const struct yaml_node *root)
{
    for (const struct yaml_node *at = root; at != NULL; at = tree_next(root, at)) {
        const bool ends =
            at != root && at->parent->kind == YAML_MAP &&
            (str_is(at->key, "$and") || str_is(at->key, "$or") || str_is(at->key, "$regex"));
        if (ends && at->next != NULL)
            return true;
    }
    return false;
}

/* Steps of a query; 0: it cannot be said here, and out_why says why. */
static uint32_t compile(struct lift *l, const struct yaml_node *query, struct str *out_why)
{
    struct rule_step steps[RULE_STEPS_MAX];
    struct findings findings;
    uint32_t count = 0;
    *out_why = STR("its texts cannot stand in the file");
    if (query == NULL || !is_plain(query))
        return 0;
    findings_init(&findings, "query");
    count = rules_compile(&findings, query, &l->p->import->arena, steps);
    if (count == 0) {
        const char *why = findings.count > 0 ? strrchr(findings.first.message, ':') : NULL;
        *out_why =
            value_shown(l->p->import, why != NULL ? str_trim(str_from(why + 1)) : STR_NULL, 200);
    }
    findings_deinit(&findings);
    return count;
}

static size_t child_named(const struct portkey *p, size_t parent, struct str name)
{
    for (size_t at = parent + 1; at < p->count; at++)
        if (is_child(p, at, parent) && name.len > 0 &&
            str_eq(portkey_text(p->targets[at].node, "name"), name))
            return at;
    return NOBODY;
}

static void read_condition(struct lift *l, size_t at, struct yaml_node *c)
{
    struct import *i = l->p->import;
    struct node *n = &l->nodes[at];
    struct yaml_node *query = tree_get(c, "query"), *then = tree_get(c, "then");
    const size_t child = child_named(l->p, at, tree_text(then));
    struct str why = STR_NULL;
    const bool full = n->branch_count >= BRANCHES_MAX;
    const uint32_t steps = full || child == NOBODY ? 0 : compile(l, query, &why);
    if (i->status != 0)
        return;
    note_add(i, then, child == NOBODY ? IMPORT_MANUAL : IMPORT_EXACT,
             child == NOBODY ? "left out: no target beside it has this name"
                             : "the target of a condition of the route");
    if (steps == 0) {
        note_add(i, query, IMPORT_MANUAL, "left out: %.*s",
                 STR_ARG(full              ? STR("more than 32 conditions")
                         : child == NOBODY ? STR("it names no target")
                                           : why));
        return;
    }
    const bool unread = has_unread(query);
    note_add(i, query, unread ? IMPORT_APPROXIMATE : IMPORT_EXACT,
             unread ? "a condition of the route; what stands behind $and, $or or $regex must hold, "
                      "too"
                    : "a condition of the route");
    n->branches[n->branch_count++] = (struct branch){.query = query, .child = child};
}

static void read_conditional(struct lift *l, size_t at)
{
    struct import *i = l->p->import;
    struct node *n = &l->nodes[at];
    struct yaml_node *strategy = tree_get(l->p->targets[at].node, "strategy");
    struct yaml_node *list = tree_get(strategy, "conditions");
    struct yaml_node *other = tree_get(strategy, "default");
    const size_t child = child_named(l->p, at, tree_text(other));
    n->branches = arena_zalloc(&i->arena, BRANCHES_MAX + 1, sizeof *n->branches);
    if (n->branches == NULL) {
        i->status = ERR_NOMEM;
        return;
    }
    for (struct yaml_node *c = list == NULL ? NULL : list->first; c != NULL; c = c->next)
        read_condition(l, at, c);
    n->branches[n->branch_count++] = (struct branch){.child = child};
    note_add(i, other, child == NOBODY ? IMPORT_MANUAL : IMPORT_EXACT,
             child == NOBODY ? "left out: no target beside it has this name"
                             : "`default` of the route");
    note_add(i, tree_get(strategy, "mode"), child == NOBODY ? IMPORT_APPROXIMATE : IMPORT_EXACT,
             child == NOBODY ? "`conditions` of the route; what meets none of them may be asked of "
                               "all its models"
                             : "`conditions` and `targets` of the route");
}

/* ---- targets ---- */

static bool is_taken(const struct lift *l, struct str name)
{
    for (const struct plan_target *t = l->route->targets; t != NULL; t = t->next)
        if (str_eq(t->name, name))
            return true;
    for (const struct plan_text *m = l->route->models; m != NULL; m = m->next) {
        const size_t len = m->text.len;
        if (str_starts(name, m->text) &&
            (name.len == len || str_starts(str_slice(name, len, name.len), STR("-group"))))
            return true;
    }
    return false;
}

static struct str name_target(struct lift *l, size_t at)
{
    struct import *i = l->p->import;
    struct str name = portkey_text(l->p->targets[at].node, "name");
    struct str base = name.len > 0 ? value_name(i, str_slice(name, 0, 60)) : STR("target");
    name = base;
    for (unsigned n = 2; i->status == 0 && is_taken(l, name); n++)
        name = value_join(i, "%.*s-%u", STR_ARG(base), n);
    return name;
}

static struct plan_member *add_member(struct lift *l, struct plan_target *t,
                                      struct plan_member *last, struct str what, uint64_t weight)
{
    struct plan_member *m = arena_zalloc(&l->p->import->arena, 1, sizeof *m);
    if (m == NULL) {
        l->p->import->status = ERR_NOMEM;
        return last;
    }
    *m = (struct plan_member){.what = what, .weight = weight};
    if (last == NULL)
        t->members = m;
    else
        last->next = m;
    return m;
}

/* A fallback or shares over what its members have become. */
static void make_group(struct lift *l, size_t at)
{
    struct import *i = l->p->import;
    struct node *n = &l->nodes[at];
    const bool balance = has_mode(l->p, at, "loadbalance");
    struct plan_target *t = arena_zalloc(&i->arena, 1, sizeof *t);
    struct plan_member *last = NULL;
    unsigned count = 0;
    if (t == NULL) {
        i->status = ERR_NOMEM;
        return;
    }
    for (size_t k = at + 1; k < l->p->count; k++) {
        const struct node *child = &l->nodes[k];
        if (!is_child(l->p, k, at) || child->made.len == 0 ||
            (balance && l->p->targets[k].weight == 0))
            continue;
        n->depth = child->depth > n->depth ? child->depth : n->depth;
        n->made = child->made;
        last = add_member(l, t, last, child->made, balance ? l->p->targets[k].weight : 0);
        count++;
    }
    if (count < 2) /* It is its only member. */
        return;
    t->name = n->made = name_target(l, at);
    t->balance = balance;
    n->depth++;
    if (++l->targets > TREE_TARGETS_MAX || count > TREE_MEMBERS_MAX || n->depth > TREE_DEPTH_MAX)
        i->status = i->status == 0 ? ERR_LIMIT : i->status;
    struct plan_target **to = &l->route->targets;
    while (*to != NULL)
        to = &(*to)->next;
    *to = t;
}

/* The first of its targets, or the one that was chosen. */
static void make_one(struct lift *l, size_t at)
{
    struct node *n = &l->nodes[at];
    size_t child = at + 1;
    while (child < l->p->count && !is_child(l->p, child, at))
        child++;
    if (n->branch_count > 0)
        child = n->branches[n->chosen].child;
    if (child < l->p->count) {
        n->made = l->nodes[child].made;
        n->depth = l->nodes[child].depth;
    }
}

/* The tree in one way of choosing; what no conditional is in is made once. */
static struct str make_way(struct lift *l)
{
    for (size_t at = l->p->count; at-- > 0 && l->p->import->status == 0;) {
        struct node *n = &l->nodes[at];
        if (!is_group(l->p, at) || !n->live || (!n->varies && n->made.len > 0))
            continue;
        n->made = STR_NULL;
        n->depth = 0;
        if (n->branch_count > 0 || has_mode(l->p, at, "single"))
            make_one(l, at);
        else
            make_group(l, at);
    }
    return l->nodes[0].made;
}

/* ---- ways ---- */

static bool may_live(const struct lift *l, size_t at)
{
    const size_t parent = l->p->targets[at].parent;
    const struct node *above = &l->nodes[parent];
    if (at == 0)
        return true;
    return above->live && (above->branch_count == 0 || above->branches[above->chosen].child == at);
}

/* Who can be reached. false: a conditional that cannot be has not its first choice, so that this
 * way was there already. */
static bool reach(struct lift *l)
{
    bool first = true;
    for (size_t at = 0; at < l->p->count; at++) {
        l->nodes[at].live = may_live(l, at);
        first = first && (l->nodes[at].live || l->nodes[at].chosen == 0);
    }
    return first;
}

static bool next_way(struct lift *l)
{
    for (size_t at = l->p->count; at-- > 0;) {
        struct node *n = &l->nodes[at];
        if (n->branch_count == 0)
            continue;
        if (++n->chosen < n->branch_count)
            return true;
        n->chosen = 0;
    }
    return false;
}

static void add_condition(struct lift *l, struct str then)
{
    struct import *i = l->p->import;
    struct plan_condition *c = arena_zalloc(&i->arena, 1, sizeof *c), **to = &l->route->conditions;
    if (c == NULL) {
        i->status = ERR_NOMEM;
        return;
    }
    c->then = then;
    for (size_t at = 0; at < l->p->count && i->status == 0; at++) {
        const struct node *n = &l->nodes[at];
        if (!n->live || n->branch_count == 0 || n->branches[n->chosen].query == NULL)
            continue;
        if (c->count == PLAN_QUERIES_MAX)
            i->status = ERR_LIMIT;
        else
            c->queries[c->count++] = n->branches[n->chosen].query;
    }
    if (c->count == 0) {
        l->route->chosen_by_default = then;
        return;
    }
    while (*to != NULL)
        to = &(*to)->next;
    *to = c;
    if (++l->conditions > CONFIG_CONDITIONS_MAX)
        i->status = ERR_LIMIT;
}

/* With too many ways the conditionals inside keep their defaults alone. */
static void limit_ways(struct lift *l)
{
    uint64_t ways = 1;
    for (size_t at = 0; at < l->p->count && ways <= WAYS_MAX; at++)
        ways *= l->nodes[at].branch_count > 0 ? l->nodes[at].branch_count : 1;
    if (ways <= CONFIG_CONDITIONS_MAX + 1)
        return;
    for (size_t at = 1; at < l->p->count; at++) {
        struct node *n = &l->nodes[at];
        if (n->branch_count < 2)
            continue;
        n->branches[0] = n->branches[n->branch_count - 1];
        n->branch_count = 1;
        note_add(l->p->import, tree_get(l->p->targets[at].node, "strategy"), IMPORT_MANUAL,
                 "only its default: all conditions together are more than 32");
    }
}

/* ---- the whole ---- */

static void note_group(struct lift *l, size_t at)
{
    struct yaml_node *mode = tree_get(tree_get(l->p->targets[at].node, "strategy"), "mode");
    const struct str word = tree_text(mode);
    const bool known = mode == NULL || str_is(word, "fallback") || str_is(word, "loadbalance") ||
                       str_is(word, "single");
    for (size_t k = at + 1; str_is(word, "loadbalance") && k < l->p->count; k++)
        if (is_child(l->p, k, at))
            portkey_weight(l->p, &l->p->targets[k]);
    note_add(l->p->import, mode, known ? IMPORT_EXACT : IMPORT_MANUAL,
             str_is(word, "single") ? "the first target"
             : known                ? "a target of the route"
                                    : "not known: the targets are fallbacks of each other");
}

static void read_nodes(struct lift *l)
{
    for (size_t at = 0; at < l->p->count && l->p->import->status == 0; at++) {
        if (!is_group(l->p, at))
            continue;
        if (has_mode(l->p, at, "conditional"))
            read_conditional(l, at);
        else
            note_group(l, at);
        portkey_note_codes(l->p, at);
    }
    for (size_t at = l->p->count; at-- > 0;) {
        l->nodes[at].varies = l->nodes[at].varies || l->nodes[at].branch_count > 0;
        if (at > 0 && l->nodes[at].varies)
            l->nodes[l->p->targets[at].parent].varies = true;
    }
}

static void add_models(struct lift *l)
{
    for (size_t at = 0; at < l->p->count && l->p->import->status == 0; at++) {
        if (is_group(l->p, at) || l->p->targets[at].chain == NULL)
            continue;
        struct str model = portkey_name_group(l->p, l->p->targets[at].chain);
        if (model.len > 0 && plan_text_add(l->p->import, &l->route->models, model, STR_NULL))
            l->models++;
        l->nodes[at].made = model;
    }
    if (l->models > MODELS_MAX)
        l->p->import->status = ERR_LIMIT;
}

void portkey_tree(struct portkey *p)
{
    struct import *i = p->import;
    struct lift l = {.p = p, .nodes = arena_zalloc(&i->arena, p->count, sizeof *l.nodes)};
    struct str name = p->route;
    for (unsigned n = 2; plan_find_route(i, name) != NULL && i->status == 0; n++)
        name = value_join(i, "%.*s-%u", STR_ARG(p->route), n);
    l.route = l.nodes != NULL && i->status == 0 ? plan_route(i, name) : NULL;
    if (l.route == NULL) {
        i->status = i->status == 0 ? ERR_NOMEM : i->status;
        return;
    }
    l.route->timeout_ms = p->timeout_ms;
    l.route->retries = p->retries;
    add_models(&l);
    read_nodes(&l);
    limit_ways(&l);
    do {
        if (!reach(&l))
            continue;
        const struct str then = make_way(&l);
        if (then.len > 0)
            add_condition(&l, then);
    } while (i->status == 0 && next_way(&l));
}
