/* OpenRouter's presets: a request's fields under a name. Read are an object of them, a list, a map
 * of names, and what the site gives for one: {"name", "slug", "designated_version": {"config":
 * {}}}. Every model is asked at OpenRouter, under the name it has there. */
#include "controlplane/import/internal.h"

#define ROUTE_MODELS_MAX 64U

struct preset {
    struct str name;
    struct plan_route *route;
    unsigned count;
};

static const struct plan_provider *provider_of(struct import *i)
{
    struct plan_provider like = {.host = host_find(STR("openrouter")),
                                 .key = STR("os.environ/OPENROUTER_API_KEY")};
    return plan_provider(i, &like);
}

static void add_model(struct import *i, struct preset *p, struct yaml_node *node)
{
    struct str name = tree_text(node);
    if (!value_is_plain(name) || p->count == ROUTE_MODELS_MAX) {
        note_add(i, node, IMPORT_MANUAL, "left out: no model's name, or more than 64");
        return;
    }
    struct str ours = value_name(i, name);
    const struct plan_provider *provider = provider_of(i);
    struct plan_model *m = plan_find_model(i, ours);
    if (m == NULL && provider != NULL) {
        m = plan_model(i, ours, node);
        if (m != NULL)
            (void)plan_deploy(i, m, provider, name);
    }
    if (p->route == NULL)
        p->route = plan_route(i, value_name(i, p->name));
    if (m == NULL || p->route == NULL)
        return;
    bool first = p->route->models == NULL;
    bool added = first ? plan_text_add(i, &p->route->models, ours, STR_NULL)
                       : !str_eq(p->route->models->text, ours) &&
                             plan_text_add(i, &p->route->fallbacks, ours, STR_NULL);
    p->count += added;
    note_add(i, node, IMPORT_EXACT,
             first   ? "the model of the route %.*s"
             : added ? "a fallback of the route %.*s"
                     : "not needed in the route %.*s: it is there already",
             STR_ARG(p->route->name));
}

static void on_model(struct import *i, struct yaml_node *node, void *data)
{
    if (node->kind == YAML_SCALAR)
        add_model(i, data, node);
    for (struct yaml_node *n = node->first; node->kind == YAML_LIST && n != NULL; n = n->next)
        add_model(i, data, n);
}

#define REQUEST "left out: the same field may stand in every request"
#define STATED "left out: the route's require says it, once its deployments state that they keep to it"
static const struct rule provider_rules[] = {
    {"order", IMPORT_MANUAL, REQUEST, NULL},
    {"only", IMPORT_MANUAL, REQUEST, NULL},
    {"ignore", IMPORT_MANUAL, REQUEST, NULL},
    {"allow_fallbacks", IMPORT_MANUAL, REQUEST, NULL},
    {"sort", IMPORT_MANUAL, REQUEST, NULL},
    {"max_price", IMPORT_MANUAL, REQUEST, NULL},
    {"require_parameters", IMPORT_MANUAL, REQUEST, NULL},
    {"data_collection", IMPORT_MANUAL, STATED, NULL},
    {"zdr", IMPORT_MANUAL, STATED, NULL},
    {"quantizations", IMPORT_UNSUPPORTED, "left out: it is not known of deployments", NULL},
    {"preferred_*", IMPORT_UNSUPPORTED, "left out: a route may order by measured latency", NULL},
    {"experimental", IMPORT_UNSUPPORTED, "left out: nothing here answers to it", NULL},
    {"enforce_distillable_text", IMPORT_UNSUPPORTED, "left out: it is not known of models", NULL},
    {.key = NULL},
};

static void on_provider(struct import *i, struct yaml_node *node, void *data)
{
    rules_apply(i, node, provider_rules, data);
}

#define CALLERS "left out: requests bring their own; nothing is written over them"
static const struct rule preset_rules[] = {
    {"model", IMPORT_EXACT, NULL, on_model},
    {"models", IMPORT_EXACT, NULL, on_model},
    {"provider", IMPORT_EXACT, NULL, on_provider},
    {"system", IMPORT_UNSUPPORTED, "left out: prompts are the callers' own", NULL},
    {"system_prompt", IMPORT_UNSUPPORTED, "left out: prompts are the callers' own", NULL},
    {"messages", IMPORT_UNSUPPORTED, "left out: prompts are the callers' own", NULL},
    {"prompt", IMPORT_UNSUPPORTED, "left out: prompts are the callers' own", NULL},
    {"parameters", IMPORT_UNSUPPORTED, CALLERS, NULL},
    {"temperature", IMPORT_UNSUPPORTED, CALLERS, NULL},
    {"top_p", IMPORT_UNSUPPORTED, CALLERS, NULL},
    {"top_k", IMPORT_UNSUPPORTED, CALLERS, NULL},
    {"top_a", IMPORT_UNSUPPORTED, CALLERS, NULL},
    {"min_p", IMPORT_UNSUPPORTED, CALLERS, NULL},
    {"seed", IMPORT_UNSUPPORTED, CALLERS, NULL},
    {"stop", IMPORT_UNSUPPORTED, CALLERS, NULL},
    {"max_tokens", IMPORT_UNSUPPORTED, CALLERS, NULL},
    {"max_completion_tokens", IMPORT_UNSUPPORTED, CALLERS, NULL},
    {"frequency_penalty", IMPORT_UNSUPPORTED, CALLERS, NULL},
    {"presence_penalty", IMPORT_UNSUPPORTED, CALLERS, NULL},
    {"repetition_penalty", IMPORT_UNSUPPORTED, CALLERS, NULL},
    {"logit_bias", IMPORT_UNSUPPORTED, CALLERS, NULL},
    {"logprobs", IMPORT_UNSUPPORTED, CALLERS, NULL},
    {"top_logprobs", IMPORT_UNSUPPORTED, CALLERS, NULL},
    {"reasoning", IMPORT_UNSUPPORTED, CALLERS, NULL},
    {"include_reasoning", IMPORT_UNSUPPORTED, CALLERS, NULL},
    {"verbosity", IMPORT_UNSUPPORTED, CALLERS, NULL},
    {"response_format", IMPORT_UNSUPPORTED, CALLERS, NULL},
    {"structured_outputs", IMPORT_UNSUPPORTED, CALLERS, NULL},
    {"tools", IMPORT_UNSUPPORTED, CALLERS, NULL},
    {"tool_choice", IMPORT_UNSUPPORTED, CALLERS, NULL},
    {"parallel_tool_calls", IMPORT_UNSUPPORTED, CALLERS, NULL},
    {"stream", IMPORT_UNSUPPORTED, CALLERS, NULL},
    {"usage", IMPORT_EXACT, "always so: answers carry usage", NULL},
    {"user", IMPORT_UNSUPPORTED, CALLERS, NULL},
    {"metadata", IMPORT_UNSUPPORTED, CALLERS, NULL},
    {"transforms", IMPORT_UNSUPPORTED, "left out: what a caller said is not cut", NULL},
    {"plugins", IMPORT_UNSUPPORTED, "left out: there are no plugins", NULL},
    {"web_search_options", IMPORT_UNSUPPORTED, "left out: there are no plugins", NULL},
    {"route", IMPORT_EXACT, "always so: models are fallbacks in their order", NULL},
    {"name", IMPORT_UNSUPPORTED, "left out: a route has one name", NULL},
    {"slug", IMPORT_UNSUPPORTED, "left out: a route has one name", NULL},
    {"id", IMPORT_UNSUPPORTED, "left out: nobody reads it here", NULL},
    {"description", IMPORT_UNSUPPORTED, "left out: routes have none", NULL},
    {"version*", IMPORT_UNSUPPORTED, "left out: nobody reads it here", NULL},
    {"creator*", IMPORT_UNSUPPORTED, "left out: nobody reads it here", NULL},
    {"created_at", IMPORT_UNSUPPORTED, "left out: nobody reads it here", NULL},
    {"updated_at", IMPORT_UNSUPPORTED, "left out: nobody reads it here", NULL},
    {"status*", IMPORT_UNSUPPORTED, "left out: nobody reads it here", NULL},
    {"visibility", IMPORT_MANUAL, "left out: keys name the routes they may use", NULL},
    {"workspace_id", IMPORT_UNSUPPORTED, "left out: nobody reads it here", NULL},
    {"preset_id", IMPORT_UNSUPPORTED, "left out: nobody reads it here", NULL},
    {.key = NULL},
};

static bool is_preset(const struct yaml_node *n)
{
    return n->kind == YAML_MAP &&
           (tree_get(n, "model") != NULL || tree_get(n, "models") != NULL ||
            tree_get(n, "config") != NULL || tree_get(n, "designated_version") != NULL ||
            tree_get(n, "provider") != NULL);
}

/* The fields may lie two levels deep; the name, on any of them. */
static void import_preset(struct import *i, struct yaml_node *node, struct str name)
{
    struct yaml_node *version = tree_get(node, "designated_version");
    struct yaml_node *config = tree_get(version == NULL ? node : version, "config");
    struct yaml_node *named = tree_get(node, "slug");
    named = named != NULL ? named : tree_get(node, "name");
    if (tree_text(named).len > 0)
        name = tree_text(named);
    struct preset p = {.name = name};
    if (config != NULL && config->kind == YAML_MAP)
        rules_apply(i, config, preset_rules, &p);
    if (version != NULL && version->kind == YAML_MAP)
        rules_apply(i, version, preset_rules, &p);
    if (p.route != NULL || tree_get(node, "model") != NULL || tree_get(node, "models") != NULL)
        note_add(i, named, IMPORT_EXACT, "the route's name; @preset/ before it is not needed");
    rules_apply(i, node, preset_rules, &p);
}

void openrouter_import(struct import *i)
{
    struct str name = i->options.name == NULL ? STR("openrouter") : str_from(i->options.name);
    struct yaml_node *list = i->root->kind == YAML_LIST ? i->root : tree_get(i->root, "presets");
    unsigned n = 1;
    if (list == NULL)
        list = tree_get(i->root, "data");
    if (list == NULL && is_preset(i->root)) {
        import_preset(i, i->root, name);
        return;
    }
    if (list == NULL || list->kind == YAML_SCALAR)
        list = i->root;
    for (struct yaml_node *p = list->first; p != NULL; p = p->next, n++) {
        if (is_preset(p))
            import_preset(i, p,
                          p->key.len > 0 && list->kind == YAML_MAP
                              ? p->key
                              : value_join(i, "%.*s-%u", STR_ARG(name), n));
    }
}
