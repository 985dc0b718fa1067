/* What holds for the whole of LiteLLM: fallbacks, retries, time limits and aliases become routes of
 * the groups' names; the rest is told. */
#include "controlplane/config/config.h"
#include "controlplane/import/litellm.h"

#define RETRIES_MAX      2 /* A request has three attempts at most. */
#define ROUTE_MODELS_MAX 64

/* retries: of all routes. -1 and 0: not given. */
struct globals {
    int retries;
    uint64_t timeout_ms;
    const char *strategy;       /* NULL: not given. */
    struct plan_text *defaults; /* default_fallbacks */
    bool wants_routes;
};

static struct plan_route *route_of(struct import *i, struct str group)
{
    struct plan_route *r = plan_find_model(i, group) == NULL ? NULL : plan_route(i, group);
    if (r != NULL)
        (void)plan_text_add(i, &r->models, group, STR_NULL);
    return r;
}

static size_t length(const struct plan_text *list)
{
    size_t count = 0;
    for (; list != NULL; list = list->next)
        count++;
    return count;
}

static void add_fallback(struct import *i, struct plan_route *r, struct plan_text **list,
                         const char *what, struct yaml_node *node)
{
    struct str name = tree_text(node);
    if (name.len > 0)
        name = value_name(i, name);
    if (name.len == 0) {
        note_add(i, node, IMPORT_MANUAL, "left out: a fallback is a model's name");
    } else if (plan_find_model(i, name) == NULL) {
        note_add(i, node, IMPORT_MANUAL, "left out: model_list has no %.*s",
                 STR_ARG(value_shown(i, name, 80)));
    } else if (length(*list) >= ROUTE_MODELS_MAX) {
        note_add(i, node, IMPORT_MANUAL, "left out: a route has at most %d fallbacks",
                 ROUTE_MODELS_MAX);
    } else if (str_eq(name, r->name) || !plan_text_add(i, list, name, STR_NULL)) {
        note_add(i, node, IMPORT_EXACT, "not needed: it is tried already");
    } else {
        note_add(i, node, IMPORT_EXACT, "%s of the route %.*s", what, STR_ARG(r->name));
    }
}

/* Which list a key of LiteLLM's fills. */
static struct plan_text **list_of(struct plan_route *r, struct str key, const char **out_what)
{
    if (str_is(key, "context_window_fallbacks")) {
        *out_what = "fallback for prompts that are too long";
        return &r->too_long;
    }
    if (str_is(key, "content_policy_fallbacks")) {
        *out_what = "fallback for content that is refused";
        return &r->refused;
    }
    *out_what = "fallback";
    return &r->fallbacks;
}

/* One map of a list: {group: [others]}. */
static void fallbacks_of(struct import *i, struct yaml_node *map, struct str key)
{
    for (struct yaml_node *n = map->first; n != NULL; n = n->next) {
        struct plan_route *r = route_of(i, value_name(i, n->key));
        const char *what;
        if (r == NULL && i->status == 0)
            note_add(i, n, IMPORT_MANUAL, "left out: model_list has no %.*s",
                     STR_ARG(value_shown(i, n->key, 80)));
        if (r == NULL)
            continue;
        struct plan_text **list = list_of(r, key, &what);
        if (n->kind == YAML_SCALAR)
            add_fallback(i, r, list, what, n);
        for (struct yaml_node *f = n->first; f != NULL; f = f->next)
            add_fallback(i, r, list, what, f);
    }
}

static void on_fallbacks(struct import *i, struct yaml_node *node, void *data)
{
    (void)data;
    if (node->kind == YAML_MAP)
        fallbacks_of(i, node, node->key);
    for (struct yaml_node *n = node->first; node->kind == YAML_LIST && n != NULL; n = n->next) {
        if (n->kind == YAML_MAP)
            fallbacks_of(i, n, node->key);
        else
            note_add(i, n, IMPORT_MANUAL, "left out: no map of a model's name to its fallbacks");
    }
}

static void on_typed_fallbacks(struct import *i, struct yaml_node *node, void *data)
{
    if (plan_has_typed_fallbacks())
        on_fallbacks(i, node, data);
    else
        note_add(i, node, IMPORT_MANUAL,
                 "left out: a route has one list of fallbacks, whatever went wrong");
}

static void on_default_fallbacks(struct import *i, struct yaml_node *node, void *data)
{
    struct globals *g = data;
    for (struct yaml_node *n = node->first; n != NULL; n = n->next) {
        struct str name = tree_text(n);
        name = name.len == 0 ? name : value_name(i, name);
        if (name.len == 0 || plan_find_model(i, name) == NULL) {
            note_add(i, n, IMPORT_MANUAL, "left out: model_list has no such model");
            continue;
        }
        (void)plan_text_add(i, &g->defaults, name, STR_NULL);
        g->wants_routes = true;
        note_add(i, n, IMPORT_EXACT, "the last fallback of every route");
    }
}

static void on_retries(struct import *i, struct yaml_node *node, void *data)
{
    struct globals *g = data;
    int64_t retries;
    if (!tree_fixed(node, 0, &retries)) {
        note_add(i, node, IMPORT_MANUAL, "left out: no number");
        return;
    }
    if (g->retries >= 0) {
        note_add(i, node, IMPORT_EXACT, "not needed: router_settings says it");
        return;
    }
    bool fits = retries <= RETRIES_MAX;
    g->retries = fits ? (int)retries : RETRIES_MAX;
    g->wants_routes = true;
    note_add(i, node, fits ? IMPORT_EXACT : IMPORT_APPROXIMATE,
             fits ? "retries: %d of every route"
                  : "retries: %d of every route: a request has three attempts at most",
             g->retries);
}

static void on_timeout(struct import *i, struct yaml_node *node, void *data)
{
    struct globals *g = data;
    uint64_t ms;
    if (!value_seconds(node, &ms)) {
        note_add(i, node, IMPORT_MANUAL, "left out: no number of seconds up to a day");
        return;
    }
    if (g->timeout_ms > 0) {
        note_add(i, node, IMPORT_EXACT, "not needed: router_settings says it");
        return;
    }
    g->timeout_ms = ms;
    g->wants_routes = true;
    note_add(i, node, IMPORT_APPROXIMATE,
             "timeout of every route: of a request with all its attempts");
}

static void copy_list(struct import *i, const struct plan_text *from, struct plan_text **to)
{
    for (; from != NULL; from = from->next)
        (void)plan_text_add(i, to, from->text, STR_NULL);
}

static void on_aliases(struct import *i, struct yaml_node *node, void *data)
{
    (void)data;
    for (struct yaml_node *n = node->first; node->kind == YAML_MAP && n != NULL; n = n->next) {
        struct yaml_node *target = n->kind == YAML_MAP ? tree_get(n, "model") : n;
        struct str name = tree_text(target);
        name = name.len == 0 ? name : value_name(i, name);
        struct plan_model *m = name.len == 0 ? NULL : plan_find_model(i, name);
        if (m == NULL) {
            note_add(i, n, IMPORT_MANUAL, "left out: model_list has no such model");
            continue;
        }
        struct plan_route *r = plan_route(i, value_name(i, n->key));
        const struct plan_route *own = plan_find_route(i, name);
        if (r == NULL)
            return;
        r->models = NULL;
        (void)plan_text_add(i, &r->models, name, STR_NULL);
        if (own != NULL && own != r) {
            copy_list(i, own->fallbacks, &r->fallbacks);
            copy_list(i, own->too_long, &r->too_long);
            copy_list(i, own->refused, &r->refused);
        }
        note_add(i, target, IMPORT_EXACT, "the route %.*s", STR_ARG(r->name));
        note_add(i, tree_get(n, "hidden"), IMPORT_APPROXIMATE,
                 "GET /v1/models lists it, where the key may use it");
    }
}

static void on_drop(struct import *i, struct yaml_node *node, void *data)
{
    bool drop = true;
    (void)data;
    (void)tree_bool(node, &drop);
    for (struct plan_provider *p = i->plan.providers; p != NULL && !drop; p = p->next)
        p->reject = true;
    note_add(i, node, IMPORT_EXACT, "compat.unsupported_params: %s", drop ? "drop" : "reject");
}

static void on_strategy(struct import *i, struct yaml_node *node, void *data)
{
    static const struct {
        const char *theirs, *ours;
    } names[] = {
        {"least-busy", "least-busy"},
        {"latency-based-routing", "lowest-latency"},
        {"cost-based-routing", "lowest-cost"},
        {"usage-based-routing", "usage-based"},
        {"usage-based-routing-v2", "usage-based"},
    };
    struct globals *g = data;
    size_t n = 0;
    while (n < sizeof names / sizeof names[0] && !str_is(tree_text(node), names[n].theirs))
        n++;
    if (str_is(tree_text(node), "simple-shuffle")) {
        note_add(i, node, IMPORT_EXACT, "as it is: attempts are shared by weight");
    } else if (n == sizeof names / sizeof names[0] || !plan_has_strategies()) {
        note_add(i, node, IMPORT_MANUAL,
                 "left out: the deployments of a model share its attempts by priority and weight");
    } else {
        g->strategy = names[n].ours;
        g->wants_routes = true;
        note_add(i, node, IMPORT_APPROXIMATE,
                 "strategy: %s of every route, by what each node sees itself", names[n].ours);
    }
}

/* Names of callbacks: what is always on is exact. */
static void on_callbacks(struct import *i, struct yaml_node *node, void *data)
{
    (void)data;
    struct yaml_node *first = node->kind == YAML_LIST ? node->first : node;
    for (struct yaml_node *n = first; n != NULL; n = node->kind == YAML_LIST ? n->next : NULL) {
        struct str name = tree_text(n);
        if (str_is(name, "prometheus"))
            note_add(i, n, IMPORT_EXACT, "not needed: nodes always have /metrics");
        else if (str_is(name, "otel") || str_is(name, "arize_phoenix") ||
                 str_is(name, "opentelemetry"))
            note_add(i, n, IMPORT_MANUAL,
                     "traces go by OpenTelemetry: see the nodes' settings for the exporter");
        else
            note_add(i, n, IMPORT_UNSUPPORTED,
                     "left out: there are no callbacks; records are in the database, see "
                     "`steelyard decisions export`");
    }
}

static void on_credentials(struct import *i, struct yaml_node *node, void *data)
{
    (void)data;
    for (struct yaml_node *n = node->first; n != NULL; n = n->next) {
        struct yaml_node *values = tree_get(n, "credential_values");
        note_add(i, tree_get(n, "credential_name"), IMPORT_EXACT,
                 "its values stand at the providers that use it");
        note_add(i, tree_get(n, "credential_info"), IMPORT_UNSUPPORTED, "left out: for lists");
        for (struct yaml_node *v = values == NULL ? NULL : values->first; v != NULL; v = v->next)
            note_add(i, v, IMPORT_MANUAL, "not copied: no entry of model_list uses it");
    }
}

static void on_environment(struct import *i, struct yaml_node *node, void *data)
{
    (void)data;
    for (struct yaml_node *n = node->first; n != NULL; n = n->next)
        note_add(i, n, IMPORT_MANUAL,
                 "not copied: set the variable where the nodes and the control plane start");
}

#define BREAKERS "left out: the node has breakers, cooldowns and retry budgets of its own measure"
#define NO_REDIS "not needed: nodes share limits through the control plane"
#define NO_CACHE "left out: answers are not kept"
#define LOGS     "left out: logs are JSON lines and never hold what was said"
#define NO_GUARD "left out: there are no guards in the file"
#define KEYS     "left out: keys, teams and budgets are made with `steelyard keys|teams|budgets`"

static const struct rule router_rules[] = {
    {"routing_strategy", IMPORT_EXACT, NULL, on_strategy},
    {"num_retries", IMPORT_EXACT, NULL, on_retries},
    {"timeout", IMPORT_EXACT, NULL, on_timeout},
    {"fallbacks", IMPORT_EXACT, NULL, on_fallbacks},
    {"default_fallbacks", IMPORT_EXACT, NULL, on_default_fallbacks},
    {"context_window_fallbacks", IMPORT_EXACT, NULL, on_typed_fallbacks},
    {"content_policy_fallbacks", IMPORT_EXACT, NULL, on_typed_fallbacks},
    {"stream_timeout", IMPORT_MANUAL, "left out: give the providers timeouts.first_content", NULL},
    {"max_retries", IMPORT_EXACT, NULL, on_retries},
    {"retry_after", IMPORT_APPROXIMATE, "left out: waits grow by themselves and heed Retry-After",
     NULL},
    {"retry_policy", IMPORT_APPROXIMATE,
     "left out: what may be tried again is decided by the kind of failure, within one number",
     NULL},
    {"model_group_retry_policy", IMPORT_MANUAL, "left out: give the routes `retries`", NULL},
    {"allowed_fails", IMPORT_APPROXIMATE, BREAKERS, NULL},
    {"allowed_fails_policy", IMPORT_APPROXIMATE, BREAKERS, NULL},
    {"cooldown_time", IMPORT_APPROXIMATE, BREAKERS, NULL},
    {"disable_cooldowns", IMPORT_UNSUPPORTED, BREAKERS, NULL},
    {"enable_pre_call_checks", IMPORT_EXACT,
     "always so: a model that cannot take a request is not asked", NULL},
    {"optional_pre_call_checks", IMPORT_APPROXIMATE,
     "left out: conversations stay with their model while its cache is worth it", NULL},
    {"routing_strategy_args", IMPORT_UNSUPPORTED, "left out: see routing_strategy", NULL},
    {"enable_tag_filtering", IMPORT_UNSUPPORTED, "left out: deployments have no tags", NULL},
    {"tag_filtering_*", IMPORT_UNSUPPORTED, "left out: deployments have no tags", NULL},
    {"redis_*", IMPORT_EXACT, NO_REDIS, NULL},
    {"cache_responses", IMPORT_UNSUPPORTED, NO_CACHE, NULL},
    {"cache_kwargs", IMPORT_UNSUPPORTED, NO_CACHE, NULL},
    {"caching_groups", IMPORT_UNSUPPORTED, NO_CACHE, NULL},
    {"client_ttl", IMPORT_EXACT, "not needed: connections are kept as providers allow", NULL},
    {"set_verbose", IMPORT_UNSUPPORTED, LOGS, NULL},
    {"debug_level", IMPORT_UNSUPPORTED, LOGS, NULL},
    {"provider_budget_config", IMPORT_MANUAL,
     "left out: budgets are of keys, teams, tags and models: `steelyard budgets set`", NULL},
    {"alerting_config", IMPORT_MANUAL, "left out: see the alert rules that come with it", NULL},
    {"assistants_config", IMPORT_UNSUPPORTED, "left out: assistants are not served", NULL},
    {"search_tools", IMPORT_UNSUPPORTED, "left out: no search is served", NULL},
    {"polling_interval", IMPORT_EXACT, "not needed", NULL},
    {"default_priority", IMPORT_UNSUPPORTED, "left out: requests have no priority", NULL},
    {"default_max_parallel_requests", IMPORT_APPROXIMATE,
     "left out: the node finds how many at a time a deployment takes", NULL},
    {"default_litellm_params", IMPORT_UNSUPPORTED, "left out: requests bring their own", NULL},
    {"max_fallbacks", IMPORT_APPROXIMATE, "left out: a route's retries bound all attempts", NULL},
    {"ignore_invalid_deployments", IMPORT_UNSUPPORTED,
     "left out: a file with an error is refused whole", NULL},
    {.key = NULL},
};
static const struct rule alias_rules[] = {
    {"model_group_alias", IMPORT_EXACT, NULL, on_aliases},
    {"model_alias_map", IMPORT_EXACT, NULL, on_aliases},
    {.key = NULL},
};

static const struct rule litellm_rules[] = {
    {"num_retries", IMPORT_EXACT, NULL, on_retries},
    {"request_timeout", IMPORT_EXACT, NULL, on_timeout},
    {"fallbacks", IMPORT_EXACT, NULL, on_fallbacks},
    {"default_fallbacks", IMPORT_EXACT, NULL, on_default_fallbacks},
    {"context_window_fallbacks", IMPORT_EXACT, NULL, on_typed_fallbacks},
    {"content_policy_fallbacks", IMPORT_EXACT, NULL, on_typed_fallbacks},
    {"drop_params", IMPORT_EXACT, NULL, on_drop},
    {"modify_params", IMPORT_EXACT, "always so: dialogues are put in order (compat.repair)", NULL},
    {"callbacks", IMPORT_EXACT, NULL, on_callbacks},
    {"success_callback", IMPORT_EXACT, NULL, on_callbacks},
    {"failure_callback", IMPORT_EXACT, NULL, on_callbacks},
    {"service_callback", IMPORT_EXACT, NULL, on_callbacks},
    {"audit_log_callbacks", IMPORT_EXACT, NULL, on_callbacks},
    {"callback_settings", IMPORT_UNSUPPORTED, "left out: there are no callbacks", NULL},
    {"cache", IMPORT_UNSUPPORTED, NO_CACHE, NULL},
    {"cache_params", IMPORT_UNSUPPORTED, NO_CACHE, NULL},
    {"enable_redis_*", IMPORT_EXACT, NO_REDIS, NULL},
    {"set_verbose", IMPORT_UNSUPPORTED, LOGS, NULL},
    {"json_logs", IMPORT_EXACT, "always so", NULL},
    {"log_*", IMPORT_UNSUPPORTED, LOGS, NULL},
    {"suppress_debug_info", IMPORT_EXACT, "always so", NULL},
    {"turn_off_message_logging", IMPORT_EXACT, "always so: records hold no messages", NULL},
    {"redact_*", IMPORT_EXACT, "always so: records hold no messages", NULL},
    {"redact_user_api_key_info", IMPORT_EXACT, "always so", NULL},
    {"ssl_verify", IMPORT_MANUAL,
     "left out: certificates are always checked; ca_file names your own authority", NULL},
    {"ssl_*", IMPORT_MANUAL, "left out: ca_file of a provider names your own authority", NULL},
    {"allowed_fails", IMPORT_APPROXIMATE, BREAKERS, NULL},
    {"cooldown_time", IMPORT_APPROXIMATE, BREAKERS, NULL},
    {"guardrails*", IMPORT_UNSUPPORTED, NO_GUARD, NULL},
    {"default_internal_user_params", IMPORT_MANUAL, KEYS, NULL},
    {"default_team_*", IMPORT_MANUAL, KEYS, NULL},
    {"default_key_*", IMPORT_MANUAL, KEYS, NULL},
    {"key_generation_settings", IMPORT_MANUAL, KEYS, NULL},
    {"upperbound_key_generate_params", IMPORT_MANUAL, KEYS, NULL},
    {"max_internal_user_budget", IMPORT_MANUAL, KEYS, NULL},
    {"internal_user_budget_duration", IMPORT_MANUAL, KEYS, NULL},
    {"max_end_user_budget*", IMPORT_MANUAL, KEYS, NULL},
    {"max_budget", IMPORT_MANUAL, KEYS, NULL},
    {"budget_duration", IMPORT_MANUAL, KEYS, NULL},
    {"max_ui_session_budget", IMPORT_MANUAL, KEYS, NULL},
    {"tag_budget_config", IMPORT_MANUAL, KEYS, NULL},
    {"priority_reservation*", IMPORT_UNSUPPORTED,
     "left out: nodes are fair between keys by themselves", NULL},
    {"public_model_groups*", IMPORT_MANUAL, "left out: keys name what they may use", NULL},
    {"public_agent_groups", IMPORT_UNSUPPORTED, "left out: agents are not served", NULL},
    {"forward_traceparent_to_llm_provider", IMPORT_MANUAL,
     "left out: give the providers propagate: true", NULL},
    {"add_function_to_prompt", IMPORT_UNSUPPORTED, "left out: tools are not written into prompts",
     NULL},
    {"disable_*", IMPORT_UNSUPPORTED, "left out: nothing here answers to it", NULL},
    {"enable_*", IMPORT_UNSUPPORTED, "left out: nothing here answers to it", NULL},
    {"custom_provider_map", IMPORT_UNSUPPORTED,
     "left out: a provider that speaks chat completions is the type custom", NULL},
    {"prompts", IMPORT_UNSUPPORTED, "left out: prompts are the callers' own", NULL},
    {"global_prompt_directory", IMPORT_UNSUPPORTED, "left out: prompts are the callers' own", NULL},
    {"prompt_directory", IMPORT_UNSUPPORTED, "left out: prompts are the callers' own", NULL},
    {"code_interpreter_*", IMPORT_UNSUPPORTED, "left out: tools are run by the callers", NULL},
    {"websearch_*", IMPORT_UNSUPPORTED, "left out: tools are run by the callers", NULL},
    {"mcp_*", IMPORT_UNSUPPORTED, "left out: tools' servers are the callers' own", NULL},
    {"s3_*", IMPORT_UNSUPPORTED, "left out: see `steelyard decisions export`", NULL},
    {"aws_*", IMPORT_UNSUPPORTED, "left out: see `steelyard decisions export`", NULL},
    {"datadog_*", IMPORT_UNSUPPORTED, "left out: records go by OpenTelemetry", NULL},
    {"langfuse_*", IMPORT_UNSUPPORTED, "left out: records go by OpenTelemetry", NULL},
    {"prometheus_*", IMPORT_UNSUPPORTED, "left out: the metrics are those of the reference", NULL},
    {"custom_prometheus_*", IMPORT_UNSUPPORTED, "left out: the metrics are those of the reference",
     NULL},
    {"require_auth_for_metrics_endpoint", IMPORT_EXACT,
     "not needed: metrics have a listener of their own", NULL},
    {"telemetry", IMPORT_EXACT, "not needed: nothing is sent to anyone", NULL},
    {"default_vertex_config", IMPORT_MANUAL, "left out: say it at each model", NULL},
    {"include_cost_in_streaming_usage", IMPORT_UNSUPPORTED, "left out: nothing here answers to it",
     NULL},
    {"store_audit_logs", IMPORT_EXACT, "always so: `steelyard audit log`", NULL},
    {.key = NULL},
};

static const struct rule general_rules[] = {
    {"master_key", IMPORT_MANUAL,
     "not copied: the first start makes an operator's key; callers get theirs by `steelyard keys "
     "create`",
     NULL},
    {"database_url", IMPORT_MANUAL,
     "not copied: give it a database of its own (store.postgres), or let `steelyard serve` make "
     "one",
     NULL},
    {"database_*", IMPORT_UNSUPPORTED, "left out: see the options of the control plane", NULL},
    {"store_model_in_db", IMPORT_UNSUPPORTED, "left out: models are in the file alone", NULL},
    {"store_prompts_in_*", IMPORT_UNSUPPORTED, "left out: records hold no messages", NULL},
    {"maximum_spend_logs_*", IMPORT_MANUAL, "left out: give store.retention", NULL},
    {"disable_spend_logs", IMPORT_UNSUPPORTED, "left out: every request is accounted for", NULL},
    {"proxy_batch_write_at", IMPORT_EXACT, "not needed: records are on disk before they are sent",
     NULL},
    {"use_redis_transaction_buffer", IMPORT_EXACT, NO_REDIS, NULL},
    {"alerting*", IMPORT_MANUAL, "left out: see the alert rules that come with it", NULL},
    {"alert_*", IMPORT_MANUAL, "left out: see the alert rules that come with it", NULL},
    {"spend_report_frequency", IMPORT_MANUAL, "left out: see `steelyard report`", NULL},
    {"background_health_checks", IMPORT_UNSUPPORTED,
     "left out: nobody asks models for health; breakers watch the traffic", NULL},
    {"use_shared_health_check", IMPORT_EXACT, "not needed: there are no such checks", NULL},
    {"health_check_*", IMPORT_EXACT, "not needed: there are no such checks", NULL},
    {"max_parallel_requests", IMPORT_MANUAL, "left out: give the keys a concurrency", NULL},
    {"global_max_parallel_requests", IMPORT_MANUAL,
     "left out: nodes shed load by measure; keys have a concurrency", NULL},
    {"max_request_size_mb", IMPORT_MANUAL, "left out: give server.body_max", NULL},
    {"max_response_size_mb", IMPORT_UNSUPPORTED, "left out: answers are bounded by the node", NULL},
    {"infer_model_from_keys", IMPORT_UNSUPPORTED, "left out: models are named", NULL},
    {"completion_model", IMPORT_UNSUPPORTED, "left out: callers name the model", NULL},
    {"user_header_name", IMPORT_UNSUPPORTED, "left out: `user` of the request is read", NULL},
    {"user_header_mappings", IMPORT_UNSUPPORTED, "left out: `user` of the request is read", NULL},
    {"litellm_key_header_name", IMPORT_UNSUPPORTED,
     "left out: keys come as authorization or x-api-key", NULL},
    {"pass_through_endpoints", IMPORT_UNSUPPORTED, "left out: there is no bare pass-through", NULL},
    {"forward_*", IMPORT_UNSUPPORTED, "left out: fields of callers are not passed on", NULL},
    {"custom_auth*", IMPORT_UNSUPPORTED, "left out: keys are Steelyard's own", NULL},
    {"enable_jwt_auth", IMPORT_UNSUPPORTED, "left out: keys are Steelyard's own", NULL},
    {"litellm_jwtauth", IMPORT_UNSUPPORTED, "left out: keys are Steelyard's own", NULL},
    {"enable_oauth2_*", IMPORT_UNSUPPORTED, "left out: keys are Steelyard's own", NULL},
    {"role_*", IMPORT_MANUAL, "left out: a key has a role: `steelyard keys create --role`", NULL},
    {"key_management_*", IMPORT_MANUAL, "left out: secrets are variables or files of the nodes",
     NULL},
    {"allowed_routes", IMPORT_MANUAL, "left out: a key names the endpoints it may use", NULL},
    {"admin_only_routes", IMPORT_EXACT, "not needed: the admin API has a listener of its own",
     NULL},
    {"public_routes", IMPORT_UNSUPPORTED, "left out: every request needs a key", NULL},
    {"allowed_ips", IMPORT_MANUAL, "left out: let the network say who may reach it", NULL},
    {"use_x_forwarded_for", IMPORT_UNSUPPORTED, "left out: addresses of callers are not used",
     NULL},
    {"enforce_user_param", IMPORT_UNSUPPORTED, "left out: `user` is free", NULL},
    {"enforced_params", IMPORT_UNSUPPORTED, "left out: no field is asked for", NULL},
    {"reject_clientside_metadata_tags", IMPORT_UNSUPPORTED, "left out: tags are the key's", NULL},
    {"custom_*", IMPORT_UNSUPPORTED, "left out: no code of others is run", NULL},
    {"team_metadata_*", IMPORT_UNSUPPORTED, "left out: teams carry no metadata", NULL},
    {"coordination_redis", IMPORT_EXACT, NO_REDIS, NULL},
    {"otel", IMPORT_MANUAL, "traces go by OpenTelemetry: see the nodes' settings for the exporter",
     NULL},
    {"supported_db_objects", IMPORT_EXACT, "not needed", NULL},
    {"ui_*", IMPORT_UNSUPPORTED, "left out: the console is the control plane's own", NULL},
    {"default_team_disabled", IMPORT_MANUAL, KEYS, NULL},
    {"allow_*", IMPORT_UNSUPPORTED, "left out: nothing here answers to it", NULL},
    {"disable_*", IMPORT_UNSUPPORTED, "left out: nothing here answers to it", NULL},
    {"enable_*", IMPORT_UNSUPPORTED, "left out: nothing here answers to it", NULL},
    {"mcp_*", IMPORT_UNSUPPORTED, "left out: tools' servers are the callers' own", NULL},
    {.key = NULL},
};

static const struct rule root_rules[] = {
    {"credential_list", IMPORT_EXACT, NULL, on_credentials},
    {"x-*", IMPORT_EXACT, "not needed: it stands where it is named", NULL},
    {"environment_variables", IMPORT_EXACT, NULL, on_environment},
    {"include", IMPORT_MANUAL, "left out: import the files it names as well, and join the results",
     NULL},
    {"guardrails", IMPORT_UNSUPPORTED, NO_GUARD, NULL},
    {"callback_settings", IMPORT_UNSUPPORTED, "left out: there are no callbacks", NULL},
    {"mcp_servers", IMPORT_UNSUPPORTED, "left out: tools' servers are the callers' own", NULL},
    {"mcp_tools", IMPORT_UNSUPPORTED, "left out: tools' servers are the callers' own", NULL},
    {"prompts", IMPORT_UNSUPPORTED, "left out: prompts are the callers' own", NULL},
    {"policies", IMPORT_UNSUPPORTED, NO_GUARD, NULL},
    {"policy_attachments", IMPORT_UNSUPPORTED, NO_GUARD, NULL},
    {"files_settings", IMPORT_UNSUPPORTED, "left out: files and batches are not served", NULL},
    {"finetune_settings", IMPORT_UNSUPPORTED, "left out: fine-tuning is not served", NULL},
    {"assistant_settings", IMPORT_UNSUPPORTED, "left out: assistants are not served", NULL},
    {"vector_store_registry", IMPORT_UNSUPPORTED, "left out: no search is served", NULL},
    {"vector_stores", IMPORT_UNSUPPORTED, "left out: no search is served", NULL},
    {"search_tools", IMPORT_UNSUPPORTED, "left out: no search is served", NULL},
    {"sandbox_tools", IMPORT_UNSUPPORTED, "left out: tools are run by the callers", NULL},
    {"worker_*", IMPORT_EXACT, "not needed: a node uses the cores it has", NULL},
    {"default_vertex_config", IMPORT_MANUAL, "left out: say it at each model", NULL},
    {"agent_list", IMPORT_UNSUPPORTED, "left out: agents are not served", NULL},
    {"agents", IMPORT_UNSUPPORTED, "left out: agents are not served", NULL},
    {.key = NULL},
};

static void apply_globals(struct import *i, const struct globals *g)
{
    for (struct plan_model *m = i->plan.models; m != NULL && g->wants_routes; m = m->next)
        (void)route_of(i, m->name);
    for (struct plan_route *r = i->plan.routes; r != NULL; r = r->next) {
        if (g->retries >= 0)
            r->retries = g->retries;
        if (g->strategy != NULL)
            r->strategy = g->strategy;
        if (g->timeout_ms > 0)
            r->timeout_ms = g->timeout_ms;
        for (const struct plan_text *t = g->defaults; t != NULL; t = t->next) {
            if (!str_eq(t->text, r->name) && length(r->fallbacks) < ROUTE_MODELS_MAX)
                (void)plan_text_add(i, &r->fallbacks, t->text, STR_NULL);
        }
    }
}

void litellm_settings(struct import *i, struct yaml_node *root)
{
    struct globals g = {.retries = -1};
    struct yaml_node *router = tree_get(root, "router_settings");
    struct yaml_node *settings = tree_get(root, "litellm_settings");
    rules_apply(i, router, router_rules, &g);
    rules_apply(i, settings, litellm_rules, &g);
    rules_apply(i, tree_get(root, "general_settings"), general_rules, &g);
    apply_globals(i, &g);
    rules_apply(i, router, alias_rules, &g);
    rules_apply(i, settings, alias_rules, &g);
    rules_apply(i, root, root_rules, &g);
    /* Aliases are routes like any other. */
    g.wants_routes = false;
    apply_globals(i, &g);
}
