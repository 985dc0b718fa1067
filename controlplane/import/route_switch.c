/* route-switch: models with their providers, and one way of choosing among them. Its file has no
 * published schema; docs/switching.md lists the fields that are read. */
#include "controlplane/import/internal.h"

struct entry {
    struct plan_provider draft;
    struct str name, upstream;
    int64_t weight;
    struct plan_model *model;
};

static struct yaml_node *first_of(const struct yaml_node *map, const char *a, const char *b,
                                  const char *c)
{
    struct yaml_node *n = tree_get(map, a);
    n = n != NULL || b == NULL ? n : tree_get(map, b);
    return n != NULL || c == NULL ? n : tree_get(map, c);
}

static void on_weight(struct import *i, struct yaml_node *node, void *data)
{
    struct entry *e = data;
    if (tree_fixed(node, 2, &e->weight) && e->weight > 0 && e->weight <= 1000000) {
        note_add(i, node, plan_has_strategies() ? IMPORT_EXACT : IMPORT_MANUAL,
                 "weight, in hundredths, where the strategy is weighted");
        return;
    }
    e->weight = 100;
    note_add(i, node, IMPORT_MANUAL, "left out: no number above 0");
}

static void on_timeout(struct import *i, struct yaml_node *node, void *data)
{
    struct entry *e = data;
    bool ok = value_seconds(node, &e->draft.total_ms) ||
              (str_parse_duration_ms(tree_text(node), &e->draft.total_ms) == 0 &&
               e->draft.total_ms >= 1 && e->draft.total_ms <= 86400000);
    if (!ok)
        e->draft.total_ms = 0;
    note_add(i, node, ok ? IMPORT_EXACT : IMPORT_MANUAL,
             ok ? "timeouts.total of an attempt" : "left out: no time up to a day");
}

#define CALLERS "left out: requests bring their own; nothing is written over them"
static const struct rule model_rules[] = {
    {"weight", IMPORT_EXACT, NULL, on_weight},
    {"timeout", IMPORT_EXACT, NULL, on_timeout},
    {"timeout_seconds", IMPORT_EXACT, NULL, on_timeout},
    {"temperature", IMPORT_UNSUPPORTED, CALLERS, NULL},
    {"max_tokens", IMPORT_UNSUPPORTED, CALLERS, NULL},
    {"top_p", IMPORT_UNSUPPORTED, CALLERS, NULL},
    {"parameters", IMPORT_UNSUPPORTED, CALLERS, NULL},
    {"cost*", IMPORT_MANUAL, "left out: the unit is not known; give the model a price", NULL},
    {"enabled", IMPORT_UNSUPPORTED, "left out: a model that is not wanted is not in the file",
     NULL},
    {"description", IMPORT_UNSUPPORTED, "left out: for lists there is display_name", NULL},
    {"max_retries", IMPORT_UNSUPPORTED, "left out: how often is said by the route (retries)", NULL},
    {.key = NULL},
};

static void add_candidate(struct import *i, struct plan_route *route, struct str name,
                          int64_t weight)
{
    struct plan_text *t;
    if (!plan_text_add(i, &route->models, name, STR_NULL))
        return;
    for (t = route->models; t->next != NULL;)
        t = t->next;
    t->weight = (uint64_t)weight;
}

static void import_model(struct import *i, struct yaml_node *node, struct plan_route *route)
{
    struct entry e = {.weight = 100}; /* In hundredths. */
    bool keyed = node->parent->kind == YAML_MAP;
    struct yaml_node *name = first_of(node, "name", keyed ? NULL : "id", keyed ? NULL : "model");
    struct yaml_node *upstream = first_of(node, "model", "model_name", "model_id");
    struct yaml_node *provider = first_of(node, "provider", "type", NULL);
    struct yaml_node *base = first_of(node, "base_url", "api_base", "endpoint");
    struct yaml_node *key = first_of(node, "api_key", "apiKey", NULL);
    struct yaml_node *variable = first_of(node, "api_key_env", "api_key_env_var", NULL);
    struct str ours = tree_text(name), theirs = tree_text(upstream), vendor = tree_text(provider);
    if (ours.len == 0 && keyed)
        ours = node->key;
    theirs = theirs.len == 0 ? ours : theirs;
    e.draft.host = vendor.len > 0 ? vendor_find(VENDOR_LITELLM, vendor) : vendor_of_model(theirs);
    if (e.draft.host == NULL && base != NULL)
        e.draft.host = host_find(STR("custom"));
    if (e.draft.host == NULL || ours.len == 0 || !value_is_plain(theirs)) {
        note_add(i, node, IMPORT_MANUAL, "left out: no name, or a provider that is not known here");
        return;
    }
    if (base != NULL) {
        e.draft.base_url = value_address(i, base, NULL);
        e.draft.is_private = e.draft.base_url.len > 0 && value_is_own_network(e.draft.base_url);
    }
    if (e.draft.base_url.len == 0 && e.draft.host->base_url.len == 0)
        e.draft.base_url = STR("https://base-url.invalid");
    struct str named, word = value_join(i, "os.environ/%.*s", STR_ARG(tree_text(variable)));
    if (key != NULL) {
        e.draft.key = value_secret(i, key, e.draft.host->env);
    } else if (variable != NULL && value_is_environment(word, &named)) {
        e.draft.key = word;
    } else if (e.draft.host->env.len > 0) {
        e.draft.key = value_join(i, "os.environ/%.*s", STR_ARG(e.draft.host->env));
    }
    note_add(i, variable, e.draft.key.len > 0 ? IMPORT_EXACT : IMPORT_MANUAL, "api_key");
    rules_apply(i, node, model_rules, &e);
    const struct plan_provider *made = plan_provider(i, &e.draft);
    struct str given = value_name(i, ours);
    struct plan_model *m = plan_model(i, given, node);
    struct plan_deployment *d = made == NULL || m == NULL ? NULL : plan_deploy(i, m, made, theirs);
    if (d == NULL)
        return;
    if (route != NULL)
        add_candidate(i, route, given, e.weight);
    note_add(i, provider, IMPORT_EXACT, "the provider %.*s", STR_ARG(made->name));
    note_add(i, name, IMPORT_EXACT, "model %.*s", STR_ARG(given));
    note_add(i, upstream, IMPORT_EXACT, "the model's name at the provider");
    note_add(i, tree_get(node, "id"), IMPORT_UNSUPPORTED, "left out: it has one name");
    if (node->kind == YAML_SCALAR)
        note_add(i, node, IMPORT_EXACT, "model %.*s", STR_ARG(given));
}

static void on_strategy(struct import *i, struct yaml_node *node, void *data);
static const struct rule strategy_rules[] = {
    {"name", IMPORT_EXACT, NULL, on_strategy},
    {"type", IMPORT_EXACT, NULL, on_strategy},
    {.key = NULL},
};

static void on_strategy(struct import *i, struct yaml_node *node, void *data)
{
    static const struct {
        const char *theirs, *ours;
        enum import_verdict verdict;
    } names[] = {
        {"round-robin", "round-robin", IMPORT_EXACT},
        {"round_robin", "round-robin", IMPORT_EXACT},
        {"roundrobin", "round-robin", IMPORT_EXACT},
        {"weighted", "weighted", IMPORT_EXACT},
        {"random", "weighted", IMPORT_EXACT},
        {"performance", "lowest-latency", IMPORT_APPROXIMATE},
        {"latency", "lowest-latency", IMPORT_APPROXIMATE},
    };
    struct plan_route *route = data;
    size_t n = 0;
    if (node->kind == YAML_MAP) {
        rules_apply(i, node, strategy_rules, data);
        return;
    }
    while (n < sizeof names / sizeof names[0] && !str_is(tree_text(node), names[n].theirs))
        n++;
    if (n == sizeof names / sizeof names[0] || !plan_has_strategies()) {
        note_add(i, node, IMPORT_MANUAL,
                 "left out: the route's learned policy chooses; it starts with the first model and "
                 "learns from feedback");
        return;
    }
    route->strategy = names[n].ours;
    if (!str_is(tree_text(node), "weighted")) {
        for (struct plan_text *t = route->models; t != NULL; t = t->next)
            t->weight = 0;
    }
    note_add(i, node, names[n].verdict, "strategy: %s of the route", names[n].ours);
}

static const struct rule rules[] = {
    {"strategy", IMPORT_EXACT, NULL, on_strategy},
    {"routing_strategy", IMPORT_EXACT, NULL, on_strategy},
    {"server", IMPORT_MANUAL, "left out: listeners are options; see server.listen", NULL},
    {"host", IMPORT_MANUAL, "left out: listeners are options; see server.listen", NULL},
    {"port", IMPORT_MANUAL, "left out: listeners are options; see server.listen", NULL},
    {"database", IMPORT_MANUAL, "left out: records lie in PostgreSQL (store.postgres)", NULL},
    {"storage", IMPORT_MANUAL, "left out: records lie in PostgreSQL (store.postgres)", NULL},
    {"db_path", IMPORT_MANUAL, "left out: records lie in PostgreSQL (store.postgres)", NULL},
    {"optimization", IMPORT_MANUAL, "left out: policies are learned again by `retrain`", NULL},
    {"optimizer", IMPORT_MANUAL, "left out: policies are learned again by `retrain`", NULL},
    {"interval*", IMPORT_MANUAL, "left out: policies are learned again by `retrain`", NULL},
    {"prompts", IMPORT_UNSUPPORTED, "left out: prompts are the callers' own", NULL},
    {"datasets", IMPORT_UNSUPPORTED, "left out: feedback is what policies learn from", NULL},
    {"logging", IMPORT_UNSUPPORTED, "left out: logs are JSON lines", NULL},
    {"log_level", IMPORT_UNSUPPORTED, "left out: logs are JSON lines", NULL},
    {"metrics", IMPORT_EXACT, "not needed: nodes always have /metrics", NULL},
    {"auth", IMPORT_MANUAL, "not copied: keys are made with `steelyard keys create`", NULL},
    {"api_keys", IMPORT_MANUAL, "not copied: keys are made with `steelyard keys create`", NULL},
    {.key = NULL},
};

void route_switch_import(struct import *i)
{
    struct str name = i->options.name == NULL ? STR("route-switch") : str_from(i->options.name);
    struct yaml_node *list = tree_get(i->root, "models");
    struct yaml_node *routing = tree_get(i->root, "routing");
    struct plan_route *route = plan_route(i, value_name(i, name));
    if (route == NULL)
        return; /* i->status says why. */
    if (list == NULL)
        list = tree_get(i->root, "providers");
    for (struct yaml_node *n = list == NULL ? NULL : list->first; n != NULL && i->status == 0;
         n = n->next)
        import_model(i, n, route);
    rules_apply(i, routing, rules, route);
    rules_apply(i, i->root, rules, route);
    if (route->strategy == NULL) {
        for (struct plan_text *t = route->models; t != NULL; t = t->next)
            t->weight = 0; /* Not for a learned policy. */
    }
}
