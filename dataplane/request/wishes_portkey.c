/* Portkey's headers (portkey.ai/docs, "Configs"): a config is a strategy over targets. Here a
 * target names a provider or model that is configured; keys and hosts never come from a client. */
#include "dataplane/request/wishes_internal.h"

#include <string.h>

#define CONFIGURED_HERE "This is not taken from a client. Configure it on the gateway."
#define CONFIG          "x-portkey-config"
#define METADATA        "x-portkey-metadata"

enum mode { MODE_SINGLE, MODE_FALLBACK, MODE_LOADBALANCE };

/* "@slug" and "@slug/model" are catalogue names: without the mark they are ours. */
static struct str unmarked(struct str name)
{
    return name.len > 1 && name.data[0] == '@' ? str_slice(name, 1, name.len) : name;
}

static int nothing(struct wishes_reading *r, uint32_t node)
{
    (void)r;
    (void)node;
    return 0;
}

static int note_ignored(struct wishes_reading *r, uint32_t node)
{
    (void)node;
    r->w->ignored |= WISHES_IGNORED_RETRY;
    return 0;
}

static int read_mode(struct wishes_reading *r, uint32_t node)
{
    static const struct str modes[] = {{"single", 6}, {"fallback", 8}, {"loadbalance", 11}};
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++)
        if (json_string_is(r->json, node, modes[i])) {
            r->w->spread = i == MODE_LOADBALANCE;
            return 0;
        }
    return wishes_refuse(r, node,
                         "The modes are single, fallback and loadbalance. Conditions are "
                         "configured on the gateway.");
}

static int read_strategy(struct wishes_reading *r, uint32_t node)
{
    static const struct wishes_field fields[] = {
        WISHES_FIELD("mode", read_mode),
        WISHES_FIELD("on_status_codes", nothing), /* What is tried again is the gateway's to say. */
    };
    return wishes_fields(r, node, fields, sizeof fields / sizeof fields[0], NULL);
}

/* The members of a target and, where there is only one, of the config itself. */
static int read_overrides(struct wishes_reading *r, uint32_t node)
{
    static const struct wishes_field fields[] = {WISHES_FIELD("model", nothing)};
    return wishes_fields(r, node, fields, 1,
                         "Only the model is overridden here. Set the rest in the body.");
}

static const struct wishes_field target_fields[] = {
    WISHES_FIELD("provider", nothing),
    WISHES_FIELD("name", nothing),
    WISHES_FIELD("weight", nothing),
    WISHES_FIELD("override_params", read_overrides),
    WISHES_FIELD("retry", note_ignored),
    WISHES_FIELD("cache", note_ignored),
    WISHES_FIELD("request_timeout", note_ignored),
};

static int take_target(struct wishes_reading *r, uint32_t node)
{
    const struct json *j = r->json;
    struct wishes_target target = {.weight = 1};
    int64_t millis;
    uint32_t provider = json_get(j, node, STR("provider"));
    uint32_t weight = json_get(j, node, STR("weight"));
    uint32_t model = json_get(j, json_get(j, node, STR("override_params")), STR("model"));
    int rc = 0;
    if (provider != JSON_NONE && json_kind(j, provider) != JSON_NULL)
        rc = wishes_take_name(r, provider, &target.provider);
    if (rc == 0 && model != JSON_NONE && json_kind(j, model) != JSON_NULL)
        rc = wishes_take_name(r, model, &target.model);
    if (rc == 0 && weight != JSON_NONE && json_kind(j, weight) != JSON_NULL) {
        rc = wishes_take_decimal(r, weight, 3, 1000000000, &millis);
        target.weight = rc == 0 ? (uint32_t)millis : 0;
    } else {
        target.weight = 1000;
    }
    target.provider = unmarked(target.provider);
    target.model = unmarked(target.model);
    if (rc == 0 && target.provider.len + target.model.len == 0)
        return wishes_refuse(r, node, "A target names a provider, a model, or both.");
    return rc == 0 ? wishes_add_target(r, node, target) : rc;
}

static int read_targets(struct wishes_reading *r, uint32_t node)
{
    uint32_t one;
    int rc = 0;
    if (json_kind(r->json, node) != JSON_ARRAY || json_count(r->json, node) == 0)
        return wishes_refuse(r, node, NULL);
    for (uint32_t at = 0; rc == 0 && json_next_element(r->json, node, &at, &one);) {
        rc = wishes_fields(r, one, target_fields, sizeof target_fields / sizeof target_fields[0],
                           CONFIGURED_HERE);
        if (rc == 0)
            rc = take_target(r, one);
    }
    return rc;
}

static int read_config(struct wishes_reading *r)
{
    static const struct wishes_field fields[] = {
        WISHES_FIELD("strategy", read_strategy),
        WISHES_FIELD("targets", read_targets),
        WISHES_FIELD("provider", nothing),
        WISHES_FIELD("override_params", read_overrides),
        WISHES_FIELD("retry", note_ignored),
        WISHES_FIELD("cache", note_ignored),
        WISHES_FIELD("request_timeout", note_ignored),
    };
    int rc = wishes_fields(r, JSON_ROOT, fields, sizeof fields / sizeof fields[0], CONFIGURED_HERE);
    if (rc != 0)
        return rc;
    if (r->w->target_count > 0) /* Of targets, "single" has the first alone. */
        return 0;
    const bool named = json_get(r->json, JSON_ROOT, STR("provider")) != JSON_NONE ||
                       json_get(r->json, JSON_ROOT, STR("override_params")) != JSON_NONE;
    return named ? take_target(r, JSON_ROOT) : 0;
}

static int take_single(struct wishes_reading *r)
{
    uint32_t mode = json_get(r->json, json_get(r->json, JSON_ROOT, STR("strategy")), STR("mode"));
    if (r->w->target_count > 1 && !r->w->spread && !json_string_is(r->json, mode, STR("fallback")))
        r->w->target_count = 1;
    return 0;
}

int wishes_read_portkey(struct json *json, struct str text, struct arena *arena, struct wishes *w,
                        struct wishes_refusal *refusal)
{
    struct wishes_reading r;
    text = str_trim(text);
    if (text.len > 0 && text.data[0] != '{') {
        w->route = text;
        return 0;
    }
    int rc = wishes_begin(&r, json, text, CONFIG, arena, w, refusal);
    w->target_count = 0; /* It has the word over the body. */
    if (rc == 0)
        rc = read_config(&r);
    return rc == 0 ? take_single(&r) : rc;
}

int wishes_read_metadata(struct json *json, struct str text, struct arena *arena, struct str *out,
                         uint32_t max, uint32_t *out_count, struct wishes_refusal *refusal)
{
    struct wishes_reading r;
    uint32_t key, value;
    *out_count = 0;
    int rc = wishes_begin(&r, json, text, METADATA, arena, NULL, refusal);
    if (rc != 0)
        return rc;
    if (json_kind(json, JSON_ROOT) != JSON_OBJECT)
        return wishes_refuse(&r, JSON_ROOT, NULL);
    for (uint32_t at = 0; json_next_member(json, JSON_ROOT, &at, &key, &value);) {
        struct str name, said;
        rc = wishes_take_name(&r, key, &name);
        if (rc == 0)
            rc = wishes_take_name(&r, value, &said);
        if (rc != 0)
            return rc;
        if (*out_count == max)
            return wishes_refuse(&r, value, "There are too many of these. Leave some out.");
        char *tag = arena_alloc(arena, name.len + 1 + said.len);
        if (tag == NULL)
            return ERR_NOMEM;
        memcpy(tag, name.data, name.len);
        tag[name.len] = '=';
        memcpy(tag + name.len + 1, said.data, said.len);
        out[(*out_count)++] = (struct str){tag, name.len + 1 + said.len};
    }
    return 0;
}
