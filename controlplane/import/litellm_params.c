/* litellm_params and model_info of an entry: the cloud it is in, then every other key by a table.
 */
#include "controlplane/catalog/rows.h"
#include "controlplane/import/litellm.h"

#define PRIORITY_MAX 1000

static struct yaml_node *given(const struct litellm_entry *e, const char *key)
{
    struct yaml_node *n = tree_get(e->params, key);
    return n != NULL ? n : tree_get(e->credential, key);
}

/* A text that may stand in the file, with its finding; empty: it may not, or is not there. */
static struct str plain(struct import *i, struct yaml_node *node, const char *becomes)
{
    struct str s = tree_text(node), name;
    if (node == NULL)
        return STR_NULL;
    if (!value_is_environment(s, &name) && !value_is_plain(s)) {
        note_add(i, node, IMPORT_MANUAL, "left out: no plain text; give the provider's %s",
                 becomes);
        return STR_NULL;
    }
    note_add(i, node, IMPORT_EXACT, "%s", becomes);
    return s;
}

/* The address follows from region and project; both are parts of it, so they are checked. A
 * variable's value is checked when the file is read. */
static struct str part(struct import *i, struct yaml_node *node, const char *what,
                       struct str missing, struct litellm_entry *e, const char *told)
{
    struct str s = tree_text(node), name;
    bool is_variable = value_is_environment(s, &name);
    if (is_variable || value_is_region(s)) {
        note_add(i, node, IMPORT_EXACT, "%s", what);
        return s;
    }
    note_add(i, node, IMPORT_MANUAL, "left out: it cannot be a %s", what);
    e->told = told;
    e->manual = true;
    return missing;
}

static void cloud_aws(struct import *i, struct litellm_entry *e)
{
    struct yaml_node *identity = given(e, "aws_web_identity_token");
    struct yaml_node *id = given(e, "aws_access_key_id"), *key = given(e, "aws_secret_access_key");
    e->draft.region = part(i, given(e, "aws_region_name"), "region", STR("us-east-1"), e,
                           "write its region; us-east-1 stands there now");
    if (identity != NULL) {
        e->draft.credential = STR("aws_web_identity");
        e->draft.key = STR_NULL;
        note_add(i, identity, IMPORT_MANUAL,
                 "credential: aws_web_identity: token and role are found by the usual variables of "
                 "every node");
        return;
    }
    if (e->draft.key.len > 0)
        return; /* A key of Bedrock's own. */
    e->draft.credential = STR("aws_keys");
    e->draft.key = STR("os.environ/AWS_KEYS");
    note_add(i, id, IMPORT_MANUAL,
             "not copied: put ACCESS_KEY_ID:SECRET_ACCESS_KEY into the "
             "variable AWS_KEYS of every node");
    note_add(i, key, IMPORT_MANUAL, "not copied: it belongs into AWS_KEYS, too");
    note_add(i, given(e, "aws_session_token"), IMPORT_MANUAL,
             "not copied: it belongs into AWS_KEYS, too, as the third part");
    if (id == NULL && e->told == NULL) {
        e->told = "put ACCESS_KEY_ID:SECRET_ACCESS_KEY into AWS_KEYS of every node, or say "
                  "credential: aws_web_identity";
        e->manual = true;
    }
}

static void cloud_google(struct import *i, struct litellm_entry *e)
{
    struct yaml_node *account = given(e, "vertex_credentials");
    e->draft.region = part(i, given(e, "vertex_location"), "region", STR("us-central1"), e,
                           "write its location; us-central1 stands there now");
    e->draft.project = part(i, given(e, "vertex_project"), "project", STR("my-project"), e,
                            "write its project; my-project stands there now");
    if (account != NULL) {
        e->draft.credential = STR("google_service_account");
        e->draft.key = STR("os.environ/VERTEX_CREDENTIALS");
        note_add(i, account, IMPORT_MANUAL,
                 "not copied: put the account's JSON into the variable VERTEX_CREDENTIALS of every "
                 "node, or name its file: api_key: \"${file:/path}\"");
    } else if (e->draft.key.len == 0) {
        e->draft.credential = STR("google_metadata");
    }
}

void litellm_cloud(struct import *i, struct litellm_entry *e)
{
    const struct host *host = e->draft.host;
    struct yaml_node *key = given(e, "api_key");
    if (key != NULL)
        e->draft.key = value_secret(i, key, host->env);
    e->draft.version = plain(i, given(e, "api_version"), "version");
    if (host->auth == HOST_AUTH_SIGV4) {
        cloud_aws(i, e);
    } else if (host->auth == HOST_AUTH_GOOGLE) {
        cloud_google(i, e);
    } else if (key == NULL && host->auth != HOST_AUTH_NONE && host->env.len > 0) {
        e->draft.key = value_join(i, "os.environ/%.*s", STR_ARG(host->env));
        e->told = "its key is read from the usual variable";
    }
    if (host->base_url.len == 0 && e->draft.base_url.len == 0 && e->draft.region.len == 0) {
        e->draft.base_url = STR("https://base-url.invalid");
        e->told = "it has no api_base: write its address into base_url";
        e->manual = true;
    }
}

/* ---- single keys ---- */

static void on_weight(struct import *i, struct yaml_node *node, void *data)
{
    struct litellm_entry *e = data;
    int64_t weight;
    if (!tree_fixed(node, 6, &weight) || weight < 0) {
        note_add(i, node, IMPORT_MANUAL, "left out: no number");
        return;
    }
    e->weight = weight > 0 ? weight : 1;
    note_add(i, node, weight > 0 ? IMPORT_EXACT : IMPORT_APPROXIMATE,
             weight > 0 ? "weight" : "the smallest weight: one of 0 is not known here");
}

static void on_limit(struct import *i, struct yaml_node *node, void *data)
{
    struct litellm_entry *e = data;
    int64_t limit;
    bool ok = tree_fixed(node, 6, &limit) && limit > 0;
    if (ok && str_is(node->key, "rpm"))
        e->rpm = limit;
    else if (ok)
        e->tpm = limit;
    (void)i; /* What becomes of it depends on weight: note_shares. */
}

static void on_order(struct import *i, struct yaml_node *node, void *data)
{
    struct litellm_entry *e = data;
    int64_t order;
    if (!tree_fixed(node, 0, &order) || order > PRIORITY_MAX) {
        note_add(i, node, IMPORT_MANUAL, "left out: no number from 0 to %d", PRIORITY_MAX);
        return;
    }
    e->priority = (uint64_t)order;
    note_add(i, node, IMPORT_EXACT, "priority: lower ones are tried first");
}

static void on_timeout(struct import *i, struct yaml_node *node, void *data)
{
    struct litellm_entry *e = data;
    bool of_stream = str_is(node->key, "stream_timeout");
    uint64_t ms;
    if (!value_seconds(node, &ms)) {
        note_add(i, node, IMPORT_MANUAL, "left out: no number of seconds up to a day");
        return;
    }
    if (of_stream)
        e->draft.first_content_ms = ms < 3600000 ? ms : 3600000;
    else
        e->draft.total_ms = ms;
    note_add(i, node, of_stream ? IMPORT_APPROXIMATE : IMPORT_EXACT,
             of_stream ? "timeouts.first_content: how long a stream may take to begin"
                       : "timeouts.total of an attempt");
}

static void on_organization(struct import *i, struct yaml_node *node, void *data)
{
    struct litellm_entry *e = data;
    struct str s = tree_text(node);
    if (!value_is_plain(s)) {
        note_add(i, node, IMPORT_MANUAL, "left out: give it as the header openai-organization");
        return;
    }
    (void)plan_text_add(i, &e->draft.headers, STR("openai-organization"), s);
    note_add(i, node, IMPORT_EXACT, "the header openai-organization");
}

static struct str lower(struct import *i, struct str s)
{
    struct str copy = arena_copy(&i->arena, str_slice(s, 0, 64));
    char *to = (char *)(uintptr_t)copy.data; /* Our own copy. */
    for (size_t c = 0; to != NULL && c < copy.len; c++) {
        if (to[c] >= 'A' && to[c] <= 'Z')
            to[c] = (char)(to[c] - 'A' + 'a');
    }
    return copy;
}

static bool is_header(struct str name, struct str value)
{
    static const char *const ours[] = {"host",       "content-length", "content-type",
                                       "connection", "expect",         "transfer-encoding"};
    for (size_t k = 0; k < sizeof ours / sizeof ours[0]; k++) {
        if (str_is(name, ours[k]))
            return false;
    }
    for (size_t c = 0; c < name.len; c++) {
        char b = name.data[c];
        if (!((b >= 'a' && b <= 'z') || (b >= '0' && b <= '9') || b == '-' || b == '_'))
            return false;
    }
    return name.len > 0 && name.len < 64 && value_is_plain(value) && value.data[0] != ' ' &&
           value.data[value.len - 1] != ' ' && !str_starts(name, STR("x-amz-"));
}

static void on_headers(struct import *i, struct yaml_node *node, void *data)
{
    struct litellm_entry *e = data;
    unsigned count = 0;
    for (struct plan_text *t = e->draft.headers; t != NULL; t = t->next)
        count++;
    for (struct yaml_node *n = node->first; n != NULL; n = n->next) {
        struct str name = lower(i, n->key), value = tree_text(n);
        if (value_names_secret(name)) {
            note_add(i, n, IMPORT_MANUAL,
                     "not copied: it may be a credential; only api_key is one");
        } else if (n->key.len > 63 || count >= 16 || !is_header(name, value)) {
            note_add(i, n, IMPORT_MANUAL, "left out: it cannot be a header here");
        } else {
            (void)plan_text_add(i, &e->draft.headers, name, value);
            note_add(i, n, IMPORT_EXACT, "a header of the provider");
            count++;
        }
    }
}

static void on_rate(struct import *i, struct yaml_node *node, void *data)
{
    static const char *const keys[RATES] = {
        "input_cost_per_token",
        "output_cost_per_token",
        "cache_read_input_token_cost",
        "cache_creation_input_token_cost",
        "cache_creation_input_token_cost_above_1hr",
        "output_cost_per_reasoning_token",
    };
    struct litellm_entry *e = data;
    int64_t rate;
    unsigned at = 0;
    while (at + 1 < RATES && !str_is(node->key, keys[at]))
        at++;
    const char *other = at == 0 ? keys[1] : at == 1 ? keys[0] : NULL;
    if (e->model == NULL) {
        note_add(i, node, IMPORT_MANUAL, "left out: a pattern has no price");
    } else if (catalog_rate(tree_text(node), 0, &rate) != 0) {
        note_add(i, node, IMPORT_MANUAL, "left out: no price that can be kept exactly");
    } else if (other != NULL && tree_get(e->params, other) == NULL &&
               tree_get(e->info, other) == NULL) {
        note_add(i, node, IMPORT_MANUAL, "left out: a price needs both input and output");
    } else if (e->model->rates[at] >= 0 && e->model->rates[at] != rate) {
        note_add(i, node, IMPORT_APPROXIMATE,
                 "the price of the first deployment of this model holds for all");
    } else {
        char text[32];
        e->model->rates[at] = rate;
        note_add(i, node, IMPORT_EXACT, "price: %s USD a million tokens",
                 catalog_rate_text(rate, text));
    }
}

static void on_tokens(struct import *i, struct yaml_node *node, void *data)
{
    struct litellm_entry *e = data;
    int64_t tokens;
    bool of_context = !str_is(node->key, "max_output_tokens");
    if (e->model == NULL || !tree_fixed(node, 0, &tokens) || tokens < 1 || tokens > 100000000) {
        note_add(i, node, IMPORT_MANUAL, "left out: no number of tokens for one model");
        return;
    }
    uint64_t *member = of_context ? &e->model->context_window : &e->model->max_output;
    if (*member == 0 || (uint64_t)tokens < *member)
        *member = (uint64_t)tokens;
    note_add(i, node, IMPORT_APPROXIMATE,
             of_context ? "context_window: tokens in and out together, the least of the deployments"
                        : "max_output, the least of the deployments");
}

static void on_drop(struct import *i, struct yaml_node *node, void *data)
{
    struct litellm_entry *e = data;
    bool drop = true;
    (void)tree_bool(node, &drop);
    e->draft.reject = !drop;
    note_add(i, node, IMPORT_EXACT, "compat.unsupported_params: %s", drop ? "drop" : "reject");
}

/* As the configuration has it: 1 to 64 letters, digits and '-'. */
static bool is_region(struct str s)
{
    for (size_t c = 0; c < s.len; c++) {
        const char b = s.data[c], low = (char)(b | 0x20);
        if (!((low >= 'a' && low <= 'z') || (b >= '0' && b <= '9') || b == '-'))
            return false;
    }
    return s.len > 0 && s.len <= 64;
}

static void on_region(struct import *i, struct yaml_node *node, void *data)
{
    struct litellm_entry *e = data;
    if (is_region(tree_text(node)))
        e->region = plain(i, node, "region of the deployment");
    else
        note_add(i, node, IMPORT_MANUAL, "left out: no region; write it");
}

static void on_credential(struct import *i, struct yaml_node *node, void *data)
{
    const struct litellm_entry *e = data;
    note_add(i, node, e->credential != NULL ? IMPORT_EXACT : IMPORT_MANUAL,
             e->credential != NULL ? "its values stand at the provider"
                                   : "there is no such entry in credential_list");
}

#define OF_CALLERS "left out: requests bring their own; there are no defaults of a deployment"
#define OF_NODE    "left out: the node has breakers, cooldowns and retry budgets of its own measure"

/* LiteLLM has them in both places. */
#define RATE_RULES                                                                                 \
    {"input_cost_per_token", IMPORT_EXACT, NULL, on_rate},                                         \
        {"output_cost_per_token", IMPORT_EXACT, NULL, on_rate},                                    \
        {"cache_read_input_token_cost", IMPORT_EXACT, NULL, on_rate},                              \
        {"cache_creation_input_token_cost", IMPORT_EXACT, NULL, on_rate},                          \
        {"cache_creation_input_token_cost_above_1hr", IMPORT_EXACT, NULL, on_rate},                \
        {"output_cost_per_reasoning_token", IMPORT_EXACT, NULL, on_rate},                          \
        {"input_cost_per_*", IMPORT_UNSUPPORTED, "left out: only tokens are priced", NULL},        \
        {"output_cost_per_*", IMPORT_UNSUPPORTED, "left out: only tokens are priced", NULL},       \
        {"cache_read_*", IMPORT_UNSUPPORTED, "left out: no such rate", NULL},                      \
    {                                                                                              \
        "cache_creation_*", IMPORT_UNSUPPORTED, "left out: no such rate", NULL                     \
    }

static const struct rule param_rules[] = {
    {"custom_llm_provider", IMPORT_EXACT, "type of the provider", NULL},
    {"weight", IMPORT_EXACT, NULL, on_weight},
    {"rpm", IMPORT_EXACT, NULL, on_limit},
    {"tpm", IMPORT_EXACT, NULL, on_limit},
    {"order", IMPORT_EXACT, NULL, on_order},
    {"timeout", IMPORT_EXACT, NULL, on_timeout},
    {"request_timeout", IMPORT_EXACT, NULL, on_timeout},
    {"stream_timeout", IMPORT_EXACT, NULL, on_timeout},
    {"max_retries", IMPORT_UNSUPPORTED, "left out: how often is said by the route (retries)", NULL},
    {"num_retries", IMPORT_UNSUPPORTED, "left out: how often is said by the route (retries)", NULL},
    {"organization", IMPORT_EXACT, NULL, on_organization},
    {"extra_headers", IMPORT_EXACT, NULL, on_headers},
    {"headers", IMPORT_EXACT, NULL, on_headers},
    {"default_headers", IMPORT_EXACT, NULL, on_headers},
    RATE_RULES,
    {"drop_params", IMPORT_EXACT, NULL, on_drop},
    {"region_name", IMPORT_EXACT, NULL, on_region},
    {"litellm_credential_name", IMPORT_EXACT, NULL, on_credential},
    {"max_parallel_requests", IMPORT_APPROXIMATE,
     "left out: the node finds how many at a time a deployment takes", NULL},
    {"cooldown_time", IMPORT_APPROXIMATE, OF_NODE, NULL},
    {"allowed_fails*", IMPORT_APPROXIMATE, OF_NODE, NULL},
    {"ssl_verify", IMPORT_MANUAL,
     "left out: certificates are always checked; ca_file names your own authority", NULL},
    {"merge_reasoning_content_in_choices", IMPORT_UNSUPPORTED,
     "left out: reasoning stays apart from the answer", NULL},
    {"additional_drop_params", IMPORT_UNSUPPORTED,
     "left out: what a provider does not take is dropped by its dialect", NULL},
    {"allowed_openai_params", IMPORT_EXACT, "not needed: what a dialect knows passes", NULL},
    {"use_in_pass_through", IMPORT_UNSUPPORTED, "left out: there is no bare pass-through", NULL},
    {"use_litellm_proxy", IMPORT_UNSUPPORTED, "left out: give the provider's base_url", NULL},
    {"use_chat_completions_api", IMPORT_EXACT, "not needed: the dialect is found by the model",
     NULL},
    {"mock_response", IMPORT_UNSUPPORTED, "left out: nobody answers in a provider's place", NULL},
    {"mock_*", IMPORT_UNSUPPORTED, "left out: nobody answers in a provider's place", NULL},
    {"tags", IMPORT_UNSUPPORTED, "left out: deployments have no tags; a route names its models",
     NULL},
    {"max_budget", IMPORT_MANUAL,
     "left out: budgets are of keys, teams, tags and models: `steelyard budgets set`", NULL},
    {"budget_duration", IMPORT_MANUAL,
     "left out: budgets are of keys, teams, tags and models: `steelyard budgets set`", NULL},
    {"configurable_clientside_auth_params", IMPORT_UNSUPPORTED,
     "left out: callers cannot set addresses or keys of providers", NULL},
    {"azure_ad_token", IMPORT_MANUAL, "not copied: Azure is asked with a key (api_key)", NULL},
    {"tenant_id", IMPORT_MANUAL, "left out: Azure is asked with a key (api_key)", NULL},
    {"client_id", IMPORT_MANUAL, "left out: Azure is asked with a key (api_key)", NULL},
    {"client_secret", IMPORT_MANUAL, "not copied: Azure is asked with a key (api_key)", NULL},
    {"azure_*", IMPORT_MANUAL, "left out: Azure is asked with a key (api_key)", NULL},
    {"aws_*", IMPORT_MANUAL,
     "not copied: credential says aws_keys or aws_web_identity, with the usual variables", NULL},
    {"vertex_*", IMPORT_MANUAL, "not copied: see the provider's credential, project and region",
     NULL},
    {"guardrails", IMPORT_UNSUPPORTED, "left out: there are no guards in the file", NULL},
    {"cache_control_injection_points", IMPORT_UNSUPPORTED,
     "left out: marks of the caller pass, none are added", NULL},
    {"caching*", IMPORT_UNSUPPORTED, "left out: answers are not kept", NULL},
    {"model_group_alias", IMPORT_UNSUPPORTED, "left out: aliases are routes", NULL},
    {"provider_specific_params", IMPORT_UNSUPPORTED, OF_CALLERS, NULL},
    {"extra_body", IMPORT_UNSUPPORTED, OF_CALLERS, NULL},
    {"temperature", IMPORT_UNSUPPORTED, OF_CALLERS, NULL},
    {"top_p", IMPORT_UNSUPPORTED, OF_CALLERS, NULL},
    {"top_k", IMPORT_UNSUPPORTED, OF_CALLERS, NULL},
    {"max_tokens", IMPORT_UNSUPPORTED, OF_CALLERS, NULL},
    {"max_completion_tokens", IMPORT_UNSUPPORTED, OF_CALLERS, NULL},
    {"n", IMPORT_UNSUPPORTED, OF_CALLERS, NULL},
    {"stop", IMPORT_UNSUPPORTED, OF_CALLERS, NULL},
    {"seed", IMPORT_UNSUPPORTED, OF_CALLERS, NULL},
    {"presence_penalty", IMPORT_UNSUPPORTED, OF_CALLERS, NULL},
    {"frequency_penalty", IMPORT_UNSUPPORTED, OF_CALLERS, NULL},
    {"repetition_penalty", IMPORT_UNSUPPORTED, OF_CALLERS, NULL},
    {"logit_bias", IMPORT_UNSUPPORTED, OF_CALLERS, NULL},
    {"user", IMPORT_UNSUPPORTED, OF_CALLERS, NULL},
    {"metadata", IMPORT_UNSUPPORTED, OF_CALLERS, NULL},
    {"thinking", IMPORT_UNSUPPORTED, OF_CALLERS, NULL},
    {"reasoning_effort", IMPORT_UNSUPPORTED, OF_CALLERS, NULL},
    {"response_format", IMPORT_UNSUPPORTED, OF_CALLERS, NULL},
    {"tools", IMPORT_UNSUPPORTED, OF_CALLERS, NULL},
    {"tool_choice", IMPORT_UNSUPPORTED, OF_CALLERS, NULL},
    {"dimensions", IMPORT_UNSUPPORTED, OF_CALLERS, NULL},
    {"input_type", IMPORT_UNSUPPORTED, OF_CALLERS, NULL},
    {"encoding_format", IMPORT_UNSUPPORTED, OF_CALLERS, NULL},
    {"service_tier", IMPORT_UNSUPPORTED, OF_CALLERS, NULL},
    {"prompt_id", IMPORT_UNSUPPORTED, "left out: prompts are the callers' own", NULL},
    {"prompt_*", IMPORT_UNSUPPORTED, "left out: prompts are the callers' own", NULL},
    {"initial_prompt_value", IMPORT_UNSUPPORTED, "left out: prompts are the callers' own", NULL},
    {"roles", IMPORT_UNSUPPORTED, "left out: prompts are the callers' own", NULL},
    {"final_prompt_value", IMPORT_UNSUPPORTED, "left out: prompts are the callers' own", NULL},
    {"bos_token", IMPORT_UNSUPPORTED, "left out: prompts are the callers' own", NULL},
    {"eos_token", IMPORT_UNSUPPORTED, "left out: prompts are the callers' own", NULL},
    {"langfuse_*", IMPORT_UNSUPPORTED, "left out: records go to the database and OpenTelemetry",
     NULL},
    {"s3_*", IMPORT_UNSUPPORTED, "left out: files and batches are not served", NULL},
    {"adaptive_router_*", IMPORT_MANUAL,
     "left out: a route with a learned policy chooses among its models", NULL},
    {"auto_router_*", IMPORT_MANUAL,
     "left out: a route with a learned policy chooses among its models", NULL},
    {"complexity_router_*", IMPORT_MANUAL,
     "left out: a route with a learned policy chooses among its models", NULL},
    {.key = NULL},
};

#define OF_CATALOGUE                                                                               \
    "left out: what a model can do is known by the catalogue, or said by capabilities"

static const struct rule info_rules[] = {
    {"mode", IMPORT_EXACT, "not needed: the endpoint that is called says it", NULL},
    {"id", IMPORT_UNSUPPORTED, "left out: deployments are named by provider and model", NULL},
    {"adaptive_router_*", IMPORT_MANUAL,
     "left out: a route with a learned policy chooses among its models", NULL},
    {"db_model", IMPORT_UNSUPPORTED, "left out: there is one source of models, the file", NULL},
    {"base_model", IMPORT_MANUAL,
     "left out: prices go by the model's name at the provider; give `price` where they differ",
     NULL},
    {"max_tokens", IMPORT_UNSUPPORTED, "left out: see context_window and max_output of the model",
     NULL},
    {"max_input_tokens", IMPORT_EXACT, NULL, on_tokens},
    {"max_output_tokens", IMPORT_EXACT, NULL, on_tokens},
    {"litellm_provider", IMPORT_EXACT, "not needed: the provider is known", NULL},
    {"supports_*", IMPORT_UNSUPPORTED, OF_CATALOGUE, NULL},
    {"supported_*", IMPORT_UNSUPPORTED, OF_CATALOGUE, NULL},
    {"access_groups", IMPORT_MANUAL, "left out: keys name the routes and models they may use",
     NULL},
    {"team_id", IMPORT_MANUAL, "left out: keys name the routes and models they may use", NULL},
    {"team_public_model_name", IMPORT_MANUAL, "left out: keys name what they may use", NULL},
    {"health_check_*", IMPORT_UNSUPPORTED,
     "left out: nobody asks models for health; breakers watch the traffic", NULL},
    {"disable_background_health_check", IMPORT_EXACT, "not needed: there are no such checks", NULL},
    {"description", IMPORT_UNSUPPORTED, "left out: for lists there is display_name", NULL},
    {"version", IMPORT_UNSUPPORTED, "left out: nobody reads it here", NULL},
    {"base_model_*", IMPORT_UNSUPPORTED, "left out: nobody reads it here", NULL},
    {"metadata", IMPORT_UNSUPPORTED, "left out: nobody reads it here", NULL},
    RATE_RULES,
    {.key = NULL},
};

/* Whatever else an entry holds of its own is for LiteLLM's lists. */
static const struct rule entry_rules[] = {
    {"tpm", IMPORT_UNSUPPORTED, "left out: it counts inside litellm_params alone", NULL},
    {"rpm", IMPORT_UNSUPPORTED, "left out: it counts inside litellm_params alone", NULL},
    {"access_groups", IMPORT_MANUAL, "left out: keys name the routes and models they may use",
     NULL},
    {"guardrails", IMPORT_UNSUPPORTED, "left out: there are no guards in the file", NULL},
    {.key = NULL},
};

void litellm_params(struct import *i, struct litellm_entry *e)
{
    rules_apply(i, e->params, param_rules, e);
    rules_apply(i, e->info, info_rules, e);
    rules_apply(i, e->node, entry_rules, e);
}
