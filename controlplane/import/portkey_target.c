/* A target of Portkey's that has none inside: who is asked, with which key, for which model. */
#include "controlplane/import/portkey.h"

#define RETRIES_MAX 2 /* A request has three attempts at most. */

struct str portkey_text(const struct yaml_node *map, const char *key)
{
    return tree_text(tree_get(map, key));
}

/* ---- a target ---- */

static void on_headers(struct import *i, struct yaml_node *node, void *data)
{
    (void)data;
    note_add(i, node, IMPORT_UNSUPPORTED,
             "left out: fields of callers are not passed on; a provider has `headers` of its own");
}

static void on_retry(struct import *i, struct yaml_node *node, void *data)
{
    struct portkey *p = data;
    struct yaml_node *attempts = tree_get(node, "attempts");
    struct yaml_node *codes = tree_get(node, "on_status_codes");
    int64_t count;
    bool inner = p->targets != NULL && node->parent != p->targets[0].node;
    if (tree_fixed(attempts, 0, &count)) {
        int kept = count > RETRIES_MAX ? RETRIES_MAX : (int)count;
        bool larger = kept > p->retries;
        if (larger)
            p->retries = kept;
        note_add(i, attempts, inner || kept != count ? IMPORT_APPROXIMATE : IMPORT_EXACT,
                 inner ? "retries of the whole route: the largest of its targets"
                       : "retries of the route: %d",
                 kept);
    }
    note_add(i, codes, IMPORT_APPROXIMATE,
             "left out: tried again is after 408, 409, 425, 429, 5xx and broken connections");
    note_add(i, tree_get(node, "use_retry_after_header"), IMPORT_EXACT,
             "always so: Retry-After is heeded");
    note_add(i, tree_get(node, "use_retry_after_headers"), IMPORT_EXACT,
             "always so: Retry-After is heeded");
}

static void on_timeout(struct import *i, struct yaml_node *node, void *data)
{
    struct portkey *p = data;
    int64_t ms;
    bool whole = node->parent == p->targets[0].node;
    if (!tree_fixed(node, 0, &ms) || ms < 1 || ms > 86400000) {
        note_add(i, node, IMPORT_MANUAL, "left out: no number of milliseconds up to a day");
    } else if (whole) {
        p->timeout_ms = (uint64_t)ms;
        note_add(i, node, IMPORT_APPROXIMATE, "timeout of the route: with all its attempts");
    } else {
        note_add(i, node, IMPORT_EXACT, "timeouts.total of an attempt");
    }
}

static void on_cache(struct import *i, struct yaml_node *node, void *data)
{
    (void)data;
    note_add(i, node, IMPORT_UNSUPPORTED, "left out: answers are not kept");
}

static void on_override(struct import *i, struct yaml_node *node, void *data)
{
    (void)data;
    for (struct yaml_node *n = node->first; n != NULL; n = n->next) {
        if (str_is(n->key, "model"))
            continue; /* Told with the deployment. */
        note_add(i, n, IMPORT_UNSUPPORTED,
                 "left out: requests bring their own; nothing is written over them");
    }
}

#define CLOUD  "left out: see the provider's region, project and credential"
#define SECRET "not copied: see the provider's credential"
#define GUARD  "left out: there are no guards in the file"

static const struct rule target_rules[] = {
    {"retry", IMPORT_EXACT, NULL, on_retry},
    {"request_timeout", IMPORT_EXACT, NULL, on_timeout},
    {"requestTimeout", IMPORT_EXACT, NULL, on_timeout},
    {"cache", IMPORT_EXACT, NULL, on_cache},
    {"override_params", IMPORT_EXACT, NULL, on_override},
    {"overrideParams", IMPORT_EXACT, NULL, on_override},
    {"forward_headers", IMPORT_EXACT, NULL, on_headers},
    {"forwardHeaders", IMPORT_EXACT, NULL, on_headers},
    {"on_status_codes", IMPORT_APPROXIMATE,
     "left out: the next one is asked after 408, 409, 425, 429, 5xx and broken connections", NULL},
    {"name", IMPORT_EXACT, "named in findings alone", NULL},
    {"id", IMPORT_UNSUPPORTED, "left out: nobody reads it here", NULL},
    {"weight", IMPORT_EXACT, "not needed: it shares with nobody", NULL},
    {"metadata", IMPORT_MANUAL, "left out: requests bring it (x-portkey-metadata)", NULL},
    {"input_guardrails", IMPORT_UNSUPPORTED, GUARD, NULL},
    {"output_guardrails", IMPORT_UNSUPPORTED, GUARD, NULL},
    {"before_request_hooks", IMPORT_UNSUPPORTED, GUARD, NULL},
    {"after_request_hooks", IMPORT_UNSUPPORTED, GUARD, NULL},
    {"default_input_guardrails", IMPORT_UNSUPPORTED, GUARD, NULL},
    {"default_output_guardrails", IMPORT_UNSUPPORTED, GUARD, NULL},
    {"prompt_id", IMPORT_UNSUPPORTED, "left out: prompts are the callers' own", NULL},
    {"strict_open_ai_compliance", IMPORT_EXACT, "always so", NULL},
    {"strictOpenAiCompliance", IMPORT_EXACT, "always so", NULL},
    {"aws_*", IMPORT_MANUAL, SECRET, NULL},
    {"awsA*", IMPORT_MANUAL, SECRET, NULL},
    {"awsS*", IMPORT_MANUAL, SECRET, NULL},
    {"vertex_*", IMPORT_MANUAL, SECRET, NULL},
    {"vertexS*", IMPORT_MANUAL, SECRET, NULL},
    {"azure_*", IMPORT_MANUAL, "left out: Azure is asked with a key (api_key)", NULL},
    {"openai_project", IMPORT_MANUAL, "left out: give it as the header openai-project", NULL},
    {"beta", IMPORT_MANUAL, "left out: give it as a header of the provider", NULL},
    {"anthropic_*", IMPORT_MANUAL, "left out: give it as a header of the provider", NULL},
    {"cache_*", IMPORT_UNSUPPORTED, "left out: answers are not kept", NULL},
    {.key = NULL},
};

/* Either way of writing a key. */
struct yaml_node *portkey_get(const struct yaml_node *map, const char *a, const char *b)
{
    struct yaml_node *n = tree_get(map, a);
    return n != NULL ? n : tree_get(map, b);
}

/* "@openai-prod/gpt-4o": the integration's name, and the model behind it. */
static struct str without_slug(struct str s, struct str *out_slug)
{
    ptrdiff_t cut = str_find(s, '/');
    *out_slug = STR_NULL;
    if (!str_starts(s, STR("@")))
        return s;
    *out_slug = str_slice(s, 1, cut < 0 ? s.len : (size_t)cut);
    return cut < 0 ? STR_NULL : str_slice(s, (size_t)cut + 1, s.len);
}

/* Names that people give contain the provider's more often than not: "openai-prod". */
static const struct host *host_in(struct str slug)
{
    const struct host *best = NULL;
    struct str s = slug;
    while (s.len > 0 && best == NULL) {
        best = vendor_find(VENDOR_PORTKEY, s);
        do
            s.len--;
        while (s.len > 0 && s.data[s.len] != '-' && s.data[s.len] != '_');
    }
    return best;
}

static struct str variable_of(struct import *i, struct str name, struct str fallback)
{
    char out[64];
    size_t len = 0;
    for (size_t c = 0; c < name.len && len < 50; c++) {
        char b = name.data[c];
        if (b >= 'a' && b <= 'z')
            out[len++] = (char)(b - 'a' + 'A');
        else if ((b >= 'A' && b <= 'Z') || (b >= '0' && b <= '9' && len > 0))
            out[len++] = b;
        else if (len > 0)
            out[len++] = '_';
    }
    return len == 0 ? fallback : value_join(i, "%.*s_API_KEY", (int)len, out);
}

static void azure(struct import *i, struct target *t, struct plan_provider *p, struct str *model)
{
    struct yaml_node *resource = portkey_get(t->node, "azure_resource_name", "resourceName");
    struct yaml_node *deployment = portkey_get(t->node, "azure_deployment_id", "deploymentId");
    struct yaml_node *version = portkey_get(t->node, "azure_api_version", "apiVersion");
    resource = resource != NULL ? resource : tree_get(t->node, "resource_name");
    deployment = deployment != NULL ? deployment : tree_get(t->node, "deployment_id");
    version = version != NULL ? version : tree_get(t->node, "api_version");
    struct str name = tree_text(resource);
    bool ok = name.len > 0 && name.len < 100;
    for (size_t c = 0; c < name.len; c++) {
        char b = name.data[c];
        ok = ok && ((b >= 'a' && b <= 'z') || (b >= 'A' && b <= 'Z') || (b >= '0' && b <= '9') ||
                    b == '-');
    }
    if (ok)
        p->base_url = value_join(i, "https://%.*s.openai.azure.com", STR_ARG(name));
    note_add(i, resource, ok ? IMPORT_EXACT : IMPORT_MANUAL,
             ok ? "base_url" : "left out: no name of a resource; give base_url");
    if (value_is_plain(tree_text(version))) {
        p->version = tree_text(version);
        note_add(i, version, IMPORT_EXACT, "version");
    }
    if (value_is_plain(tree_text(deployment))) {
        *model = tree_text(deployment);
        note_add(i, deployment, IMPORT_EXACT, "the model's name at the provider");
    }
}

static void cloud(struct import *i, struct target *t, struct plan_provider *p)
{
    bool aws = p->host->auth == HOST_AUTH_SIGV4;
    struct yaml_node *region = aws ? portkey_get(t->node, "aws_region", "awsRegion")
                                   : portkey_get(t->node, "vertex_region", "vertexRegion");
    struct yaml_node *project = portkey_get(t->node, "vertex_project_id", "vertexProjectId");
    struct str where = tree_text(region);
    bool known = value_is_region(where);
    if (!known)
        where = aws ? STR("us-east-1") : STR("us-central1");
    note_add(i, region, known ? IMPORT_EXACT : IMPORT_MANUAL,
             known ? "region" : "left out: no region; write it");
    p->region = where;
    p->credential = aws ? STR("aws_keys") : STR("google_service_account");
    p->key = aws ? STR("os.environ/AWS_KEYS") : STR("os.environ/VERTEX_CREDENTIALS");
    if (aws)
        return;
    known = value_is_region(tree_text(project));
    p->project = known ? tree_text(project) : STR("my-project");
    note_add(i, project, known ? IMPORT_EXACT : IMPORT_MANUAL,
             known ? "project" : "left out: no project; write it");
}

/* The key, and what was told of virtual_key and api_key. */
static void credential(struct import *i, struct target *t, struct plan_provider *p, struct str slug)
{
    struct yaml_node *key = portkey_get(t->node, "api_key", "apiKey");
    struct yaml_node *virtual = portkey_get(t->node, "virtual_key", "virtualKey");
    struct str variable = variable_of(i, slug.len > 0 ? slug : tree_text(virtual), p->host->env);
    bool is_cloud = p->credential.len > 0;
    if (virtual != NULL && !is_cloud && key == NULL)
        p->key = value_join(i, "os.environ/%.*s", STR_ARG(variable));
    note_add(i, virtual, IMPORT_MANUAL,
             "put the key behind it into the variable %.*s of every node",
             STR_ARG(is_cloud ? STR("of the provider's credential") : variable));
    if (key != NULL && !is_cloud)
        p->key = value_secret(i, key, p->host->env);
    else
        note_add(i, key, IMPORT_MANUAL, "not copied: see the provider's credential");
    if (key == NULL && virtual == NULL && !is_cloud && p->host->auth != HOST_AUTH_NONE)
        p->key = slug.len > 0           ? value_join(i, "os.environ/%.*s", STR_ARG(variable))
                 : p->host->env.len > 0 ? value_join(i, "os.environ/%.*s", STR_ARG(p->host->env))
                                        : STR_NULL;
}

static const struct host *host_of_target(struct target *t, struct str slug, struct str model)
{
    struct str provider = portkey_text(t->node, "provider"), ignored;
    struct str virtual = tree_text(portkey_get(t->node, "virtual_key", "virtualKey"));
    const struct host *host = NULL;
    if (provider.len > 0 && !str_starts(provider, STR("@")))
        return vendor_find(VENDOR_PORTKEY, provider);
    if (slug.len > 0)
        host = host_in(slug);
    if (host == NULL && virtual.len > 0)
        host = host_in(virtual);
    if (host == NULL)
        host = vendor_of_model(without_slug(model, &ignored));
    return host;
}

static void add_member(struct portkey *p, struct target *t, const struct plan_provider *provider,
                       struct str model)
{
    struct member *m = arena_zalloc(&p->import->arena, 1, sizeof *m);
    struct group *g = arena_zalloc(&p->import->arena, 1, sizeof *g);
    if (m == NULL || g == NULL) {
        p->import->status = ERR_NOMEM;
        return;
    }
    *m = (struct member){.provider = provider, .model = model, .weight = WEIGHT_ONE};
    *g = (struct group){.members = m, .is_whole = true};
    t->chain = g;
}

void portkey_leaf(struct portkey *p, struct target *t)
{
    struct import *i = p->import;
    struct yaml_node *params = portkey_get(t->node, "override_params", "overrideParams");
    struct yaml_node *named = tree_get(params, "model");
    struct yaml_node *provider_node = tree_get(t->node, "provider");
    struct yaml_node *base = portkey_get(t->node, "custom_host", "customHost");
    struct str slug, model = t->model, at_provider, inner;
    const struct str given = i->options.model != NULL ? str_from(i->options.model) : STR_NULL;
    struct plan_provider like = {.total_ms = t->timeout_ms};
    at_provider = tree_text(provider_node);
    (void)without_slug(at_provider, &slug);
    if (slug.len == 0)
        (void)without_slug(model, &slug);
    like.host = host_of_target(t, slug, model.len > 0 ? model : given);
    if (like.host != NULL && base != NULL && str_is(like.host->name, "openai"))
        like.host = host_find(STR("custom"));
    if (like.host == NULL && base != NULL)
        like.host = host_find(STR("custom"));
    if (like.host == NULL) {
        note_add(i, t->node, IMPORT_MANUAL,
                 "left out: it is not said, or not known here, whose models it asks");
        return;
    }
    model = without_slug(model, &inner);
    if (base != NULL) {
        like.base_url = value_address(i, base, NULL);
        like.is_private = like.base_url.len > 0 && value_is_own_network(like.base_url);
    }
    if (str_is(like.host->name, "azure"))
        azure(i, t, &like, &model);
    if (like.host->auth == HOST_AUTH_SIGV4 || like.host->auth == HOST_AUTH_GOOGLE)
        cloud(i, t, &like);
    credential(i, t, &like, slug);
    if (like.host->base_url.len == 0 && like.base_url.len == 0 && like.region.len == 0)
        like.base_url = STR("https://base-url.invalid");
    const struct plan_provider *provider = plan_provider(i, &like);
    bool odd = like.base_url.len > 0 && str_search(like.base_url, STR("base-url.invalid")) >= 0;
    note_add(i, provider_node, odd || slug.len > 0 ? IMPORT_MANUAL : IMPORT_EXACT,
             odd ? "the provider %.*s: write its address into base_url"
             : slug.len > 0
                 ? "the provider %.*s, by its name: check it, and put its key into the variable "
                   "that api_key names"
                 : "the provider %.*s",
             STR_ARG(provider == NULL ? STR_NULL : provider->name));
    if (!value_is_plain(model) && i->options.model != NULL)
        model = str_from(i->options.model);
    if (!value_is_plain(model)) {
        struct yaml_node *at = provider_node != NULL ? provider_node : t->node;
        note_add(i, named, IMPORT_MANUAL, "left out: no plain text");
        note_add(i, at, IMPORT_MANUAL, "left out: no model is named");
        at = portkey_get(t->node, "virtual_key", "virtualKey");
        note_add(i, at, IMPORT_MANUAL, "left out: no model is named");
        return;
    }
    bool by_model = slug.len > 0 && str_starts(tree_text(named), STR("@"));
    note_add(i, named, by_model ? IMPORT_MANUAL : IMPORT_EXACT,
             by_model ? "deployment of %.*s; put the provider's key into the variable that its "
                        "api_key names"
                      : "deployment of %.*s",
             STR_ARG(value_shown(i, model, 80)));
    if (provider != NULL)
        add_member(p, t, provider, model);
}

void portkey_rest(struct portkey *p, struct target *t)
{
    struct import *i = p->import;
    struct yaml_node *params = portkey_get(t->node, "override_params", "overrideParams");
    if (t != p->targets && (t->node->marks & MARK_TOLD) != 0)
        return; /* Of the whole each key is told of. */
    rules_apply(i, t->node, target_rules, p);
    note_add(i, tree_get(params, "model"), IMPORT_EXACT, "the model of the targets inside");
}

void portkey_limits(struct portkey *p)
{
    static const struct rule retries[] = {{"retry", IMPORT_EXACT, NULL, on_retry}, {.key = NULL}};
    static const struct rule timeouts[] = {{"request_timeout", IMPORT_EXACT, NULL, on_timeout},
                                           {"requestTimeout", IMPORT_EXACT, NULL, on_timeout},
                                           {.key = NULL}};
    for (size_t at = 0; at < p->count; at++)
        rules_apply(p->import, p->targets[at].node, retries, p);
    rules_apply(p->import, p->targets[0].node, timeouts, p);
}
