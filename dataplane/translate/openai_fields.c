/* Fields of a request that OpenAI's two dialects, chat completions and Responses, have alike. */
#include "dataplane/translate/effort.h"
#include "dataplane/translate/openai_internal.h"

int tr_openai_read_effort(struct tr_reading *r, uint32_t node)
{
    struct str name = STR_NULL;
    int rc = tr_take_text(r, node, &name);
    if (rc != 0)
        return rc;
    r->out->effort = tr_effort_of(name);
    return r->out->effort != TR_EFFORT_UNSET ? 0 : tr_reading_refuse(r, node, NULL);
}

int tr_openai_read_schema(struct tr_reading *r, uint32_t node)
{
    struct tr_request *out = r->out;
    if (json_kind(r->json, node) != JSON_OBJECT)
        return tr_reading_refuse(r, node, NULL);
    int rc = tr_take_text(r, tr_member(r, node, STR("name")), &out->format_name);
    if (rc == 0)
        rc = tr_take_text(r, tr_member(r, node, STR("description")), &out->format_description);
    if (rc == 0)
        rc = tr_take_flag(r, tr_member(r, node, STR("strict")), &out->format_strict);
    if (rc == 0)
        rc = tr_take_object(r, tr_member(r, node, STR("schema")), &out->format_schema);
    out->format = out->format_schema.len > 0 ? TR_FORMAT_SCHEMA : TR_FORMAT_JSON;
    return rc;
}

int tr_openai_read_verbosity(struct tr_reading *r, uint32_t node)
{
    if (!tr_says(r, node, STR("low")) && !tr_says(r, node, STR("medium")) &&
        !tr_says(r, node, STR("high")))
        return tr_reading_refuse(r, node, NULL);
    return tr_take_text(r, node, &r->out->verbosity);
}

int tr_openai_read_tier(struct tr_reading *r, uint32_t node)
{
    static const struct {
        struct str name;
        enum tr_tier tier;
    } tiers[] = {{{"auto", 4}, TR_TIER_AUTO},
                 {{"default", 7}, TR_TIER_DEFAULT},
                 {{"flex", 4}, TR_TIER_FLEX},
                 {{"priority", 8}, TR_TIER_PRIORITY},
                 {{"fast", 4}, TR_TIER_PRIORITY}};
    for (size_t i = 0; i < sizeof tiers / sizeof tiers[0]; i++) {
        if (tr_says(r, node, tiers[i].name)) {
            r->out->tier = tiers[i].tier;
            return 0;
        }
    }
    return tr_reading_unknown(r, "service_tier");
}

int tr_openai_read_user(struct tr_reading *r, uint32_t node)
{
    if (tr_is_given(r, tr_member(r, JSON_ROOT, STR("safety_identifier"))))
        return 0;
    return tr_take_text(r, node, &r->out->user);
}

int tr_openai_read_safety_identifier(struct tr_reading *r, uint32_t node)
{
    return tr_take_text(r, node, &r->out->user);
}

int tr_openai_read_cache_key(struct tr_reading *r, uint32_t node)
{
    return tr_take_text(r, node, &r->out->cache_key);
}

int tr_openai_read_store(struct tr_reading *r, uint32_t node)
{
    return json_kind(r->json, node) == JSON_TRUE ? tr_reading_unknown(r, "store") : 0;
}

int tr_openai_read_top_logprobs(struct tr_reading *r, uint32_t node)
{
    return tr_take_i64(r, node, 0, 20, &r->out->top_logprobs);
}

int tr_openai_read_max_output(struct tr_reading *r, uint32_t node)
{
    return tr_take_i64(r, node, 1, UINT32_MAX, &r->out->max_output);
}

int tr_openai_read_body(const struct json *j, struct arena *arena, const struct tr_field *fields,
                        size_t count, struct tr_request *out, struct call_refusal *refusal)
{
    struct tr_reading r;
    int rc = tr_reading_begin(&r, j, arena, out, refusal);
    if (rc == 0)
        rc = tr_reading_fields(&r, fields, count);
    if (rc == 0)
        rc = tr_openai_keep_allowed(&r, json_get(j, JSON_ROOT, STR("tool_choice")));
    return rc;
}
