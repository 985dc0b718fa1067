/* A caller's Responses body in the neutral form: the fields beside input and tools
 * (PROVIDER-TRANSLATION section 10). */
#include "dataplane/translate/effort.h"
#include "dataplane/translate/responses_internal.h"

int tr_responses_unsupported(struct tr_reading *r, uint32_t node, const char *message)
{
    int rc = tr_reading_refuse(r, node, message);
    if (rc == ERR_INVALID)
        r->refusal->defect = CALL_FORBIDDEN_FIELD;
    return rc;
}

static int read_nothing(struct tr_reading *r, uint32_t node)
{
    (void)r; /* Read by others, or it says nothing across dialects. */
    (void)node;
    return 0;
}

static int read_model(struct tr_reading *r, uint32_t node)
{
    return tr_take_text(r, node, &r->out->model);
}

static int read_stream(struct tr_reading *r, uint32_t node)
{
    return tr_take_bool(r, node, &r->out->stream);
}

static int read_max_output(struct tr_reading *r, uint32_t node)
{
    return tr_take_i64(r, node, 1, UINT32_MAX, &r->out->max_output);
}

static int read_temperature(struct tr_reading *r, uint32_t node)
{
    return tr_take_number(r, node, &r->out->temperature);
}

static int read_top_p(struct tr_reading *r, uint32_t node)
{
    return tr_take_number(r, node, &r->out->top_p);
}

static int read_top_logprobs(struct tr_reading *r, uint32_t node)
{
    return tr_take_i64(r, node, 0, 20, &r->out->top_logprobs);
}

static int read_parallel(struct tr_reading *r, uint32_t node)
{
    return tr_take_flag(r, node, &r->out->parallel);
}

static int read_format(struct tr_reading *r, uint32_t node)
{
    struct tr_request *out = r->out;
    uint32_t type = tr_member(r, node, STR("type"));
    if (!tr_is_given(r, node) || tr_says(r, type, STR("text")))
        return 0;
    out->format = TR_FORMAT_JSON;
    if (tr_says(r, type, STR("json_object")))
        return 0;
    if (!tr_says(r, type, STR("json_schema")))
        return tr_reading_refuse(r, type == JSON_NONE ? node : type, NULL);
    int rc = tr_take_text(r, tr_member(r, node, STR("name")), &out->format_name);
    if (rc == 0)
        rc = tr_take_text(r, tr_member(r, node, STR("description")), &out->format_description);
    if (rc == 0)
        rc = tr_take_flag(r, tr_member(r, node, STR("strict")), &out->format_strict);
    if (rc == 0)
        rc = tr_take_object(r, tr_member(r, node, STR("schema")), &out->format_schema);
    if (out->format_schema.len > 0)
        out->format = TR_FORMAT_SCHEMA;
    return rc;
}

static int read_text(struct tr_reading *r, uint32_t node)
{
    uint32_t verbosity = tr_member(r, node, STR("verbosity"));
    if (json_kind(r->json, node) != JSON_OBJECT)
        return tr_reading_refuse(r, node, NULL);
    if (tr_is_given(r, verbosity) && !tr_says(r, verbosity, STR("low")) &&
        !tr_says(r, verbosity, STR("medium")) && !tr_says(r, verbosity, STR("high")))
        return tr_reading_refuse(r, verbosity, NULL);
    int rc = tr_take_text(r, verbosity, &r->out->verbosity);
    return rc == 0 ? read_format(r, tr_member(r, node, STR("format"))) : rc;
}

static int read_reasoning(struct tr_reading *r, uint32_t node)
{
    struct str name = STR_NULL;
    uint32_t effort = tr_member(r, node, STR("effort"));
    if (json_kind(r->json, node) != JSON_OBJECT)
        return tr_reading_refuse(r, node, NULL);
    if (tr_is_given(r, tr_member(r, node, STR("summary"))) ||
        tr_is_given(r, tr_member(r, node, STR("generate_summary"))))
        r->out->think_shown = 1;
    int rc = tr_take_text(r, effort, &name);
    if (rc != 0 || !tr_is_given(r, effort))
        return rc;
    r->out->effort = tr_effort_of(name);
    return r->out->effort != TR_EFFORT_UNSET ? 0 : tr_reading_refuse(r, effort, NULL);
}

static int read_tier(struct tr_reading *r, uint32_t node)
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

static int read_user(struct tr_reading *r, uint32_t node)
{
    if (tr_is_given(r, tr_member(r, JSON_ROOT, STR("safety_identifier"))))
        return 0;
    return tr_take_text(r, node, &r->out->user);
}

static int read_safety_identifier(struct tr_reading *r, uint32_t node)
{
    return tr_take_text(r, node, &r->out->user);
}

static int read_cache_key(struct tr_reading *r, uint32_t node)
{
    return tr_take_text(r, node, &r->out->cache_key);
}

static int read_include(struct tr_reading *r, uint32_t node)
{
    uint32_t one;
    int rc = 0;
    if (json_kind(r->json, node) != JSON_ARRAY)
        return tr_reading_refuse(r, node, NULL);
    for (uint32_t at = 0; rc == 0 && json_next_element(r->json, node, &at, &one);) {
        if (tr_says(r, one, STR("message.output_text.logprobs")))
            r->out->logprobs = 1;
        else if (!tr_says(r, one, STR("reasoning.encrypted_content"))) /* Always is. */
            rc = tr_reading_unknown(r, "include");
    }
    return rc;
}

static int read_truncation(struct tr_reading *r, uint32_t node)
{
    return tr_says(r, node, STR("auto")) ? tr_reading_unknown(r, "truncation") : 0;
}

static int read_store(struct tr_reading *r, uint32_t node)
{
    return json_kind(r->json, node) == JSON_TRUE ? tr_reading_unknown(r, "store") : 0;
}

static int read_kept(struct tr_reading *r, uint32_t node)
{
    return tr_responses_unsupported(
        r, node, "names what one provider keeps; send the whole dialogue as input");
}

static int read_background(struct tr_reading *r, uint32_t node)
{
    if (json_kind(r->json, node) != JSON_TRUE)
        return 0;
    return tr_responses_unsupported(r, node, "is not possible with this model's provider");
}

#define FIELD(name, fn)                                                                            \
    {                                                                                              \
        {name, sizeof name - 1}, fn                                                                \
    }
static const struct field {
    struct str name;
    int (*read)(struct tr_reading *r, uint32_t node);
} fields[] = {
    FIELD("model", read_model),
    FIELD("input", tr_responses_read_input),
    FIELD("instructions", read_nothing), /* By input, before it. */
    FIELD("stream", read_stream),
    FIELD("stream_options", read_nothing),
    FIELD("max_output_tokens", read_max_output),
    FIELD("temperature", read_temperature),
    FIELD("top_p", read_top_p),
    FIELD("top_logprobs", read_top_logprobs),
    FIELD("tools", tr_responses_read_tools),
    FIELD("tool_choice", tr_responses_read_choice),
    FIELD("parallel_tool_calls", read_parallel),
    FIELD("text", read_text),
    FIELD("reasoning", read_reasoning),
    FIELD("service_tier", read_tier),
    FIELD("metadata", tr_take_metadata),
    FIELD("user", read_user),
    FIELD("safety_identifier", read_safety_identifier),
    FIELD("prompt_cache_key", read_cache_key),
    FIELD("include", read_include),
    FIELD("truncation", read_truncation),
    FIELD("store", read_store),
    FIELD("previous_response_id", read_kept),
    FIELD("conversation", read_kept),
    FIELD("prompt", read_kept),
    FIELD("background", read_background),
    /* The router's. */
    FIELD("models", read_nothing),
    FIELD("provider", read_nothing),
    FIELD("route", read_nothing),
    FIELD("usage", read_nothing),
};

static int read_field(struct tr_reading *r, uint32_t key, uint32_t value)
{
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++)
        if (json_string_is(r->json, key, fields[i].name))
            return fields[i].read(r, value);
    return tr_reading_unknown_node(r, value);
}

int tr_responses_read_request(const struct json *j, struct arena *arena, struct tr_request *out,
                              struct call_refusal *refusal)
{
    struct tr_reading r;
    uint32_t key, value;
    int rc = tr_reading_begin(&r, j, arena, out, refusal);
    for (uint32_t at = 0; rc == 0 && json_next_member(j, JSON_ROOT, &at, &key, &value);)
        if (json_kind(j, value) != JSON_NULL)
            rc = read_field(&r, key, value);
    if (rc == 0)
        rc = tr_responses_keep_allowed(&r, json_get(j, JSON_ROOT, STR("tool_choice")));
    return rc;
}
