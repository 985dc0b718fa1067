/* Portkey's configs: a tree of targets under strategies. What is more than one list is made by
 * portkey_tree.c; else what a target comes to is a chain: groups
 * in the order in which they are tried, each with deployments that share the attempts by weight.
 * The chain of the whole is a route: its first group the model, the others its fallbacks. */
#include "controlplane/import/portkey.h"

#define TARGETS_MAX      1000U
#define CHAIN_MAX        32U
#define ROUTE_MODELS_MAX 64U

/* ---- strategies ---- */

static struct target *child_after(struct portkey *p, size_t parent, size_t *io_at)
{
    while (*io_at < p->count) {
        struct target *t = &p->targets[(*io_at)++];
        if (t->parent == parent && t != &p->targets[parent])
            return t;
    }
    return NULL;
}

static struct group *copy_group(struct portkey *p, const struct group *from)
{
    struct group *g = arena_zalloc(&p->import->arena, 1, sizeof *g);
    if (g == NULL) {
        p->import->status = ERR_NOMEM;
        return NULL;
    }
    *g = *from;
    g->next = NULL;
    return g;
}

static void in_order(struct portkey *p, size_t index)
{
    struct group **to = &p->targets[index].chain;
    struct target *child;
    size_t at = 0, count = 0;
    while ((child = child_after(p, index, &at)) != NULL) {
        for (struct group *g = child->chain; g != NULL && count < CHAIN_MAX; g = g->next) {
            *to = copy_group(p, g);
            if (*to == NULL)
                return;
            to = &(*to)->next;
            count++;
        }
    }
}

static void join(struct portkey *p, struct group *into, const struct group *from, uint64_t weight)
{
    uint64_t sum = 0;
    struct member **to = &into->members;
    while (*to != NULL)
        to = &(*to)->next;
    for (const struct member *m = from->members; m != NULL; m = m->next)
        sum += m->weight;
    for (const struct member *m = from->members; m != NULL; m = m->next) {
        struct member *copy = arena_zalloc(&p->import->arena, 1, sizeof *copy);
        if (copy == NULL) {
            p->import->status = ERR_NOMEM;
            return;
        }
        *copy = *m;
        copy->next = NULL;
        copy->weight =
            sum == m->weight ? weight : (uint64_t)((unsigned __int128)weight * m->weight / sum);
        copy->weight = copy->weight == 0 ? 1 : copy->weight;
        *to = copy;
        to = &copy->next;
    }
}

void portkey_weight(struct portkey *p, struct target *t)
{
    struct yaml_node *node = tree_get(t->node, "weight");
    int64_t weight = WEIGHT_ONE;
    t->weight = WEIGHT_ONE;
    if (node == NULL)
        return;
    if (!tree_fixed(node, 6, &weight) || weight > INT64_C(1000000000000000)) {
        note_add(p->import, node, IMPORT_MANUAL, "left out: no number");
        return;
    }
    t->weight = (uint64_t)weight;
    note_add(p->import, node, weight > 0 ? IMPORT_EXACT : IMPORT_APPROXIMATE,
             weight > 0 ? "weight" : "a weight of 0: the target is left out");
}

/* The first groups share the attempts; what each would try next is shared, too. */
static void balanced(struct portkey *p, size_t index)
{
    struct target *child;
    size_t at = 0;
    bool deep = false;
    while ((child = child_after(p, index, &at)) != NULL) {
        struct group **to = &p->targets[index].chain;
        portkey_weight(p, child);
        if (child->weight == 0)
            continue;
        deep = deep || (child->chain != NULL && child->chain->next != NULL);
        for (struct group *g = child->chain; g != NULL; g = g->next) {
            if (*to == NULL)
                *to = arena_zalloc(&p->import->arena, 1, sizeof **to);
            if (*to == NULL) {
                p->import->status = ERR_NOMEM;
                return;
            }
            join(p, *to, g, child->weight);
            to = &(*to)->next;
        }
    }
    struct yaml_node *mode = tree_get(tree_get(p->targets[index].node, "strategy"), "mode");
    note_add(p->import, mode, deep ? IMPORT_APPROXIMATE : IMPORT_EXACT,
             deep ? "weights of a model's deployments; the fallbacks of the targets are shared by "
                    "all of them"
                  : "weights of a model's deployments");
}

/* Names of groups are made once, when a route first uses them. */
static void make_route(struct portkey *p, struct str name, struct group *chain)
{
    struct plan_route *r = chain == NULL ? NULL : plan_route(p->import, name);
    unsigned count = 0;
    for (struct group *g = chain; g != NULL && r != NULL && count < ROUTE_MODELS_MAX;
         g = g->next, count++) {
        struct str model = portkey_name_group(p, g);
        if (model.len > 0 && (count == 0 || !str_eq(r->models->text, model)))
            (void)plan_text_add(p->import, count == 0 ? &r->models : &r->fallbacks, model,
                                STR_NULL);
    }
    if (r == NULL)
        return;
    r->timeout_ms = p->timeout_ms;
    r->retries = p->retries;
}

static bool is_same(const struct plan_model *m, const struct group *g)
{
    const struct plan_deployment *d = m->deployments;
    const struct member *k = g->members;
    while (d != NULL && k != NULL && d->provider == k->provider && str_eq(d->model, k->model) &&
           d->weight == k->weight) {
        d = d->next;
        k = k->next;
    }
    return d == NULL && k == NULL;
}

struct str portkey_name_group(struct portkey *p, struct group *g)
{
    struct import *i = p->import;
    bool one = g->members != NULL && g->members->next == NULL;
    struct str base =
        one ? value_name(i, g->members->model) : value_join(i, "%.*s-balanced", STR_ARG(p->route));
    struct str name = base;
    struct plan_model *m;
    if (one)
        g->members->weight = WEIGHT_ONE;
    for (unsigned n = 2; (m = plan_find_model(i, name)) != NULL && !is_same(m, g) && i->status == 0;
         n++)
        name = value_join(i, "%.*s-%u", STR_ARG(base), n);
    if (m != NULL || i->status != 0)
        return name;
    m = plan_model(i, name, NULL);
    for (const struct member *k = g->members; k != NULL && m != NULL; k = k->next) {
        struct plan_deployment *d = plan_deploy(i, m, k->provider, k->model);
        if (d != NULL)
            d->weight = k->weight;
    }
    return name;
}

void portkey_note_codes(struct portkey *p, size_t index)
{
    static const char text[] =
        "left out: the next one is asked after 408, 409, 425, 429, 5xx and broken connections";
    struct yaml_node *strategy = tree_get(p->targets[index].node, "strategy");
    note_add(p->import, tree_get(strategy, "on_status_codes"), IMPORT_APPROXIMATE, text);
    note_add(p->import, tree_get(strategy, "onStatusCodes"), IMPORT_APPROXIMATE, text);
    if (strategy != NULL && strategy->kind == YAML_SCALAR)
        note_add(p->import, strategy, IMPORT_MANUAL, "left out: a strategy is a map with a mode");
}

static void import_strategy(struct portkey *p, size_t index)
{
    struct import *i = p->import;
    struct target *t = &p->targets[index];
    struct yaml_node *strategy = tree_get(t->node, "strategy");
    struct yaml_node *mode = tree_get(strategy, "mode");
    struct str word = tree_text(mode);
    if (str_is(word, "loadbalance")) {
        balanced(p, index);
    } else {
        bool single = str_is(word, "single");
        size_t at = 0;
        struct target *child = single ? child_after(p, index, &at) : NULL;
        if (single)
            t->chain = child == NULL ? NULL : child->chain;
        else
            in_order(p, index);
        bool known = single || str_is(word, "fallback") || mode == NULL;
        note_add(i, mode, known ? IMPORT_EXACT : IMPORT_MANUAL,
                 single  ? "the first target"
                 : known ? "fallbacks in this order"
                         : "not known: the targets are fallbacks of each other");
    }
    portkey_note_codes(p, index);
}

/* ---- the whole ---- */

/* Level by level, so that a target comes behind the one it stands in. */
static void collect(struct portkey *p, struct yaml_node *root)
{
    p->targets[0] = (struct target){.node = root};
    p->count = 1;
    for (size_t at = 0; at < p->count; at++) {
        struct target *t = &p->targets[at];
        struct str model =
            portkey_text(portkey_get(t->node, "override_params", "overrideParams"), "model");
        struct yaml_node *timeout = portkey_get(t->node, "request_timeout", "requestTimeout");
        struct yaml_node *list = tree_get(t->node, "targets");
        int64_t ms;
        t->model = model.len > 0 || at == 0 ? model : p->targets[t->parent].model;
        t->timeout_ms = at == 0 ? 0 : p->targets[t->parent].timeout_ms;
        if (at > 0 && tree_fixed(timeout, 0, &ms) && ms >= 1 && ms <= 86400000)
            t->timeout_ms = (uint64_t)ms;
        for (struct yaml_node *n = list == NULL ? NULL : list->first; n != NULL; n = n->next) {
            if (n->kind != YAML_MAP)
                continue;
            if (p->count == TARGETS_MAX) {
                p->import->status = ERR_LIMIT;
                return;
            }
            p->targets[p->count++] = (struct target){.node = n, .parent = at};
        }
    }
}

static bool has_targets(const struct target *t)
{
    const struct yaml_node *list = tree_get(t->node, "targets");
    return list != NULL && list->kind == YAML_LIST;
}

static void import_config(struct import *i, struct yaml_node *node, struct str name)
{
    struct portkey p = {.import = i, .route = value_name(i, name), .retries = -1};
    p.targets = arena_zalloc(&i->arena, TARGETS_MAX, sizeof *p.targets);
    if (p.targets == NULL) {
        i->status = ERR_NOMEM;
        return;
    }
    collect(&p, node);
    portkey_limits(&p);
    for (size_t at = 0; at < p.count && i->status == 0; at++) {
        if (!has_targets(&p.targets[at]))
            portkey_leaf(&p, &p.targets[at]);
    }
    const bool tree = portkey_needs_tree(&p);
    if (tree && i->status == 0)
        portkey_tree(&p);
    for (size_t at = p.count; !tree && at-- > 0 && i->status == 0;) { /* From the inside. */
        if (has_targets(&p.targets[at]))
            import_strategy(&p, at);
    }
    for (size_t at = 0; at < p.count && i->status == 0; at++)
        portkey_rest(&p, &p.targets[at]);
    if (i->status == 0 && !tree)
        make_route(&p, p.route, p.targets[0].chain);
}

static void import_named(struct import *i, struct yaml_node *node, struct str fallback)
{
    struct yaml_node *inner = tree_get(node, "config");
    struct yaml_node *name = portkey_get(node, "slug", "name");
    if (inner == NULL || inner->kind != YAML_MAP) {
        import_config(i, node, fallback);
        return;
    }
    if (tree_text(name).len > 0) {
        fallback = tree_text(name);
        note_add(i, name, IMPORT_EXACT, "the route's name");
    }
    import_config(i, inner, fallback);
}

void portkey_import(struct import *i)
{
    struct str name = i->options.name == NULL ? STR("portkey") : str_from(i->options.name);
    unsigned n = 1;
    if (i->root->kind == YAML_MAP)
        import_named(i, i->root, name);
    for (struct yaml_node *c = i->root->first; i->root->kind == YAML_LIST && c != NULL;
         c = c->next, n++) {
        if (c->kind == YAML_MAP)
            import_named(i, c, value_join(i, "%.*s-%u", STR_ARG(name), n));
    }
}
