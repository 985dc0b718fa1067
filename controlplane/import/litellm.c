/* LiteLLM's model_list: a group of entries with one model_name is a model with a deployment each.
 */
#include "controlplane/import/litellm.h"

#include "controlplane/catalog/builtin.h"

#define PATTERN_MODELS_MAX 200U

static bool has_star(struct str s)
{
    return str_find(s, '*') >= 0;
}

/* "bedrock/converse/x", "azure/responses/x": LiteLLM's hints on how to ask, which need no saying.
 */
static struct str without_hints(struct str model)
{
    static const char *const hints[] = {"converse/", "invoke/",   "responses/",
                                        "chat/",     "o_series/", "gpt5_series/"};
    for (size_t h = 0; h < sizeof hints / sizeof hints[0]; h++) {
        if (str_starts(model, str_from(hints[h])))
            return str_slice(model, str_from(hints[h]).len, model.len);
    }
    return model;
}

static bool is_of_openai(struct str base)
{
    return str_search(base, STR("//api.openai.com")) >= 0;
}

/* The host by the prefix of the model's name, or by its name alone. */
static const struct host *host_of_entry(struct litellm_entry *e, struct str model, bool has_base)
{
    struct str named = tree_text(tree_get(e->params, "custom_llm_provider")), prefix, rest;
    const struct host *host = NULL;
    e->upstream = model;
    if (str_cut(model, '/', &prefix, &rest) && rest.len > 0) {
        host = vendor_find(VENDOR_LITELLM, prefix);
        if (host != NULL && (named.len == 0 || vendor_find(VENDOR_LITELLM, named) == host))
            e->upstream = without_hints(rest);
    }
    if (named.len > 0)
        return vendor_find(VENDOR_LITELLM, named);
    if (host != NULL)
        return host;
    host = has_base && str_find(model, '/') >= 0 ? NULL : vendor_of_model(model);
    if (host != NULL && str_is(host->name, "gemini"))
        return host_find(STR("vertex")); /* Without a prefix LiteLLM means Vertex. */
    return host != NULL || !has_base ? host : host_find(STR("custom"));
}

static struct yaml_node *given(const struct litellm_entry *e, const char *key)
{
    struct yaml_node *n = tree_get(e->params, key);
    return n != NULL ? n : tree_get(e->credential, key);
}

bool litellm_resolve(struct import *i, struct litellm_entry *e)
{
    static const char *const no_dialogue[] = {
        "image_generation", "image_edit", "audio_speech", "audio_transcription",
        "video_generation", "ocr",        "vector_store", "search"};
    struct str model = tree_text(tree_get(e->params, "model"));
    struct str mode = tree_text(tree_get(e->info, "mode"));
    struct yaml_node *base = given(e, "api_base");
    if (base == NULL)
        base = given(e, "base_url");
    if (model.len == 0 || e->name.len == 0) {
        note_add(i, e->node, IMPORT_MANUAL,
                 "left out: it needs model_name and litellm_params.model");
        return false;
    }
    for (size_t k = 0; k < sizeof no_dialogue / sizeof no_dialogue[0]; k++) {
        if (str_is(mode, no_dialogue[k])) {
            note_add(i, e->node, IMPORT_UNSUPPORTED,
                     "left out: models of the mode %s are not served", no_dialogue[k]);
            return false;
        }
    }
    const struct host *host = host_of_entry(e, model, base != NULL);
    if (host != NULL && str_is(host->name, "vertex") && str_starts(e->upstream, STR("claude-")))
        host = host_find(STR("vertex-anthropic"));
    if (host != NULL && str_is(host->name, "openai") && base != NULL &&
        !is_of_openai(tree_text(base)))
        host = host_find(STR("custom"));
    if (host == NULL) {
        note_add(i, e->node, IMPORT_UNSUPPORTED,
                 "left out: the provider of %.*s is not known here; one that speaks chat "
                 "completions is the type custom with a base_url",
                 STR_ARG(value_shown(i, model, 80)));
        return false;
    }
    if (!value_is_plain(e->upstream)) {
        note_add(i, e->node, IMPORT_MANUAL, "left out: the model's name is no plain text");
        return false;
    }
    e->draft.host = host;
    if (base != NULL) {
        bool local = str_is(host->name, "ollama");
        e->draft.base_url = value_address(i, base, local ? "/v1" : NULL);
        if (str_eq(e->draft.base_url, host->base_url))
            e->draft.base_url = STR_NULL; /* It is the usual one. */
        e->draft.is_private = e->draft.base_url.len > 0 && value_is_own_network(e->draft.base_url);
    }
    return true;
}

/* The models of the shipped table in the place of a pattern. */
static unsigned fill_pattern(struct import *i, const struct litellm_entry *e,
                             const struct plan_provider *provider)
{
    unsigned count = 0;
    ptrdiff_t star = str_find(e->name, '*');
    struct str vendor = e->draft.host->catalog;
    for (size_t r = 0; r < catalog_builtin.count && count < PATTERN_MODELS_MAX; r++) {
        const struct catalog_row *row = &catalog_builtin.rows[r];
        if (!str_eq(row->provider, vendor) || !value_is_plain(row->model))
            continue;
        struct str name =
            value_name(i, value_join(i, "%.*s%.*s", STR_ARG(str_slice(e->name, 0, (size_t)star)),
                                     STR_ARG(row->model)));
        if (i->status != 0 || plan_find_model(i, name) != NULL)
            continue; /* One that is named by itself goes before a pattern. */
        struct plan_model *m = plan_model(i, name, e->node);
        if (m != NULL)
            (void)plan_deploy(i, m, provider, row->model);
        count++;
    }
    return count;
}

static void import_pattern(struct import *i, struct litellm_entry *e)
{
    struct yaml_node *model = tree_get(e->params, "model");
    struct yaml_node *name = tree_get(e->node, "model_name");
    bool one_star = str_ends(e->name, STR("*")) && str_is(e->upstream, "*") &&
                    e->draft.host->catalog.len > 0 && !str_is(e->draft.host->name, "azure");
    const struct plan_provider *provider = plan_provider(i, &e->draft);
    unsigned count = provider != NULL && one_star ? fill_pattern(i, e, provider) : 0;
    if (count > 0) {
        note_add(i, name, IMPORT_APPROXIMATE,
                 "a pattern: %u models of the shipped table stand in its place; others need an "
                 "entry of their own",
                 count);
        note_add(i, model, IMPORT_APPROXIMATE, "provider %.*s%s%s", STR_ARG(e->draft.host->name),
                 e->told == NULL ? "" : "; ", e->told == NULL ? "" : e->told);
        return;
    }
    note_add(i, name, IMPORT_MANUAL,
             "a pattern: models are named one by one here; add those that are asked for");
    note_add(i, model, IMPORT_MANUAL, "provider %.*s is there, its models are not",
             STR_ARG(e->draft.host->name));
}

static void note_model(struct import *i, struct litellm_entry *e)
{
    struct yaml_node *model = tree_get(e->params, "model");
    note_add(i, model, e->manual ? IMPORT_MANUAL : IMPORT_EXACT,
             "deployment of %.*s at the provider %.*s%s%s",
             STR_ARG(value_shown(i, e->upstream, 80)), STR_ARG(e->draft.host->name),
             e->told == NULL ? "" : "; ", e->told == NULL ? "" : e->told);
}

/* LiteLLM shares attempts by weight, and where there is none by rpm or tpm. */
static void note_shares(struct import *i, struct litellm_entry *e)
{
    bool by_rpm = e->weight < 0 && e->rpm > 0, by_tpm = e->weight < 0 && !by_rpm && e->tpm > 0;
    note_add(i, tree_get(e->params, "rpm"), by_rpm ? IMPORT_APPROXIMATE : IMPORT_UNSUPPORTED,
             by_rpm ? "share of the attempts (weight); the limit itself is found by the node, from "
                      "the provider's refusals"
                    : "no limit of a deployment is set: the node finds it from the provider's "
                      "refusals");
    note_add(i, tree_get(e->params, "tpm"), by_tpm ? IMPORT_APPROXIMATE : IMPORT_UNSUPPORTED,
             by_tpm ? "share of the attempts (weight); the limit itself is found by the node, from "
                      "the provider's refusals"
                    : "no limit of a deployment is set: the node finds it from the provider's "
                      "refusals");
    if (by_rpm)
        e->weight = e->rpm;
    else if (by_tpm)
        e->weight = e->tpm;
}

static void import_entry(struct import *i, struct litellm_entry *e)
{
    litellm_cloud(i, e);
    if (!has_star(e->name) && !has_star(e->upstream))
        e->model = plan_model(i, e->name, e->node);
    litellm_params(i, e);
    note_shares(i, e);
    if (e->model == NULL) {
        if (i->status == 0)
            import_pattern(i, e);
        return;
    }
    const struct plan_provider *provider = plan_provider(i, &e->draft);
    struct plan_deployment *d =
        provider == NULL ? NULL : plan_deploy(i, e->model, provider, e->upstream);
    if (d == NULL)
        return;
    d->region = e->region;
    d->priority = e->priority;
    if (e->weight >= 0)
        d->weight = (uint64_t)e->weight;
    note_model(i, e);
    bool same = str_eq(e->name, tree_text(tree_get(e->node, "model_name")));
    note_add(i, tree_get(e->node, "model_name"), same ? IMPORT_EXACT : IMPORT_APPROXIMATE,
             same ? "model %.*s" : "model %.*s: some of its characters cannot stand in a name",
             STR_ARG(e->name));
}

static struct yaml_node *credential_of(const struct import *i, struct str name)
{
    struct yaml_node *list = tree_get(i->root, "credential_list");
    for (struct yaml_node *n = list == NULL ? NULL : list->first; n != NULL; n = n->next) {
        if (name.len > 0 && str_eq(tree_text(tree_get(n, "credential_name")), name))
            return tree_get(n, "credential_values");
    }
    return NULL;
}

/* Patterns come last: what is named by itself goes before them. */
static void import_list(struct import *i, struct yaml_node *list, bool patterns)
{
    for (struct yaml_node *n = list->first; n != NULL && i->status == 0; n = n->next) {
        struct litellm_entry e = {.node = n,
                                  .params = tree_get(n, "litellm_params"),
                                  .info = tree_get(n, "model_info"),
                                  .weight = -1,
                                  .rpm = -1,
                                  .tpm = -1};
        struct str name = tree_text(tree_get(n, "model_name"));
        struct str model = tree_text(tree_get(e.params, "model"));
        if (n->kind != YAML_MAP)
            note_add(i, n, IMPORT_MANUAL, "left out: an entry is a map");
        if (n->kind != YAML_MAP || (has_star(name) || has_star(model)) != patterns)
            continue;
        e.name = name.len == 0 ? STR_NULL : value_name(i, name);
        e.credential = credential_of(i, tree_text(tree_get(e.params, "litellm_credential_name")));
        if (litellm_resolve(i, &e))
            import_entry(i, &e);
    }
}

/* An entry without a key is asked with the provider's usual variable, which therefore is not free
 * for a secret of the file. */
static void reserve_usual(struct import *i, struct yaml_node *list)
{
    for (struct yaml_node *n = list->first; n != NULL && i->status == 0; n = n->next) {
        struct litellm_entry e = {.params = tree_get(n, "litellm_params")};
        struct str model = tree_text(tree_get(e.params, "model"));
        if (model.len == 0 || tree_get(e.params, "api_key") != NULL ||
            tree_get(e.params, "litellm_credential_name") != NULL)
            continue;
        const struct host *host = host_of_entry(&e, model, tree_get(e.params, "api_base") != NULL);
        if (host != NULL && host->env.len > 0)
            (void)plan_text_add(i, &i->literals,
                                value_join(i, "os.environ/%.*s", STR_ARG(host->env)), host->env);
    }
}

void litellm_import(struct import *i)
{
    struct yaml_node *list = tree_get(i->root, "model_list");
    if (list != NULL && list->kind == YAML_LIST) {
        reserve_usual(i, list);
        import_list(i, list, false);
        import_list(i, list, true);
    }
    litellm_settings(i, i->root);
}
