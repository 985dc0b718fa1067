/* A caller's chat completion body in the neutral form: the fields beside the messages and tools. */
#include <string.h>

#include "dataplane/translate/effort.h"
#include "dataplane/translate/openai_internal.h"

static int read_nothing(struct tr_reading *r, uint32_t node)
{
    (void)r; /* Read by others (llm's read_call, the router), or it says nothing across dialects. */
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

static int read_max_tokens(struct tr_reading *r, uint32_t node)
{
    if (tr_is_given(r, tr_member(r, JSON_ROOT, STR("max_completion_tokens"))))
        return 0; /* The newer name has the word. */
    return tr_take_i64(r, node, 1, UINT32_MAX, &r->out->max_output);
}

static int read_max_completion(struct tr_reading *r, uint32_t node)
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

static int read_top_k(struct tr_reading *r, uint32_t node)
{
    return tr_take_i64(r, node, 0, INT32_MAX, &r->out->top_k);
}

static int read_seed(struct tr_reading *r, uint32_t node)
{
    return tr_take_i64(r, node, -INT64_C(999999999999999999), INT64_C(999999999999999999),
                       &r->out->seed);
}

static int read_n(struct tr_reading *r, uint32_t node)
{
    int64_t n = 1;
    int rc = tr_take_i64(r, node, 1, CALL_CHOICES_MAX, &n);
    r->out->choices = (uint32_t)n;
    return rc;
}

static int read_frequency_penalty(struct tr_reading *r, uint32_t node)
{
    return tr_take_number(r, node, &r->out->frequency_penalty);
}

static int read_presence_penalty(struct tr_reading *r, uint32_t node)
{
    return tr_take_number(r, node, &r->out->presence_penalty);
}

static int read_logprobs(struct tr_reading *r, uint32_t node)
{
    return tr_take_flag(r, node, &r->out->logprobs);
}

static int read_top_logprobs(struct tr_reading *r, uint32_t node)
{
    return tr_take_i64(r, node, 0, 20, &r->out->top_logprobs);
}

static int read_parallel(struct tr_reading *r, uint32_t node)
{
    return tr_take_flag(r, node, &r->out->parallel);
}

static int read_effort(struct tr_reading *r, uint32_t node)
{
    struct str name = STR_NULL;
    int rc = tr_take_text(r, node, &name);
    if (rc != 0)
        return rc;
    r->out->effort = tr_effort_of(name);
    return r->out->effort != TR_EFFORT_UNSET ? 0 : tr_reading_refuse(r, node, NULL);
}

/* OpenRouter's object: {effort, max_tokens, exclude, enabled}. */
static int read_reasoning(struct tr_reading *r, uint32_t node)
{
    bool exclude = false, enabled = true;
    uint32_t effort = tr_member(r, node, STR("effort"));
    if (json_kind(r->json, node) != JSON_OBJECT)
        return tr_reading_refuse(r, node, NULL);
    int rc = tr_is_given(r, effort) ? read_effort(r, effort) : 0;
    if (rc == 0)
        rc = tr_take_i64(r, tr_member(r, node, STR("max_tokens")), 0, INT32_MAX,
                         &r->out->think_budget);
    if (rc == 0)
        rc = tr_take_bool(r, tr_member(r, node, STR("exclude")), &exclude);
    if (rc == 0)
        rc = tr_take_bool(r, tr_member(r, node, STR("enabled")), &enabled);
    if (exclude)
        r->out->think_shown = 0;
    if (!enabled)
        r->out->effort = TR_EFFORT_NONE;
    else if (r->out->effort == TR_EFFORT_UNSET && r->out->think_budget == TR_UNSET)
        r->out->think_auto = true;
    return rc;
}

/* Anthropic's object, which clients of this dialect send to gateways as well. */
static int read_thinking(struct tr_reading *r, uint32_t node)
{
    uint32_t type = tr_member(r, node, STR("type"));
    if (tr_says(r, type, STR("disabled"))) {
        r->out->effort = TR_EFFORT_NONE;
        return 0;
    }
    if (!tr_says(r, type, STR("enabled")) && !tr_says(r, type, STR("adaptive")))
        return tr_reading_refuse(r, node, NULL);
    uint32_t budget = tr_member(r, node, STR("budget_tokens"));
    r->out->think_auto = !tr_is_given(r, budget);
    return tr_take_i64(r, budget, 0, INT32_MAX, &r->out->think_budget);
}

static int read_include_reasoning(struct tr_reading *r, uint32_t node)
{
    return tr_take_flag(r, node, &r->out->think_shown);
}

static int read_schema(struct tr_reading *r, uint32_t node)
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

static int read_format(struct tr_reading *r, uint32_t node)
{
    uint32_t type = tr_member(r, node, STR("type"));
    if (tr_says(r, type, STR("text")))
        return 0;
    if (tr_says(r, type, STR("json_object"))) {
        r->out->format = TR_FORMAT_JSON;
        return 0;
    }
    if (!tr_says(r, type, STR("json_schema")))
        return tr_reading_refuse(r, type == JSON_NONE ? node : type, NULL);
    uint32_t schema = tr_member(r, node, STR("json_schema"));
    return read_schema(r, schema == JSON_NONE ? node : schema);
}

static int read_verbosity(struct tr_reading *r, uint32_t node)
{
    if (!tr_says(r, node, STR("low")) && !tr_says(r, node, STR("medium")) &&
        !tr_says(r, node, STR("high")))
        return tr_reading_refuse(r, node, NULL);
    return tr_take_text(r, node, &r->out->verbosity);
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

/* Answers in text are what all give. */
static int read_modalities(struct tr_reading *r, uint32_t node)
{
    uint32_t one;
    for (uint32_t at = 0; json_next_element(r->json, node, &at, &one);)
        if (!tr_says(r, one, STR("text")))
            return tr_reading_unknown(r, "modalities");
    return 0;
}

static int read_store(struct tr_reading *r, uint32_t node)
{
    return json_kind(r->json, node) == JSON_TRUE ? tr_reading_unknown(r, "store") : 0;
}

static int read_web_search(struct tr_reading *r, uint32_t node)
{
    return tr_reading_refuse(
        r, node, "unsupported_tool: web search is the provider's own; this model has none");
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
    FIELD("messages", tr_openai_read_messages),
    FIELD("stream", read_stream),
    FIELD("stream_options", read_nothing),
    FIELD("max_tokens", read_max_tokens),
    FIELD("max_completion_tokens", read_max_completion),
    FIELD("temperature", read_temperature),
    FIELD("top_p", read_top_p),
    FIELD("top_k", read_top_k),
    FIELD("n", read_n),
    FIELD("stop", tr_take_stops),
    FIELD("seed", read_seed),
    FIELD("frequency_penalty", read_frequency_penalty),
    FIELD("presence_penalty", read_presence_penalty),
    FIELD("logprobs", read_logprobs),
    FIELD("top_logprobs", read_top_logprobs),
    FIELD("tools", tr_openai_read_tools),
    FIELD("functions", tr_openai_read_functions),
    FIELD("tool_choice", tr_openai_read_choice),
    FIELD("function_call", tr_openai_read_function_choice),
    FIELD("parallel_tool_calls", read_parallel),
    FIELD("response_format", read_format),
    FIELD("reasoning_effort", read_effort),
    FIELD("reasoning", read_reasoning),
    FIELD("thinking", read_thinking),
    FIELD("include_reasoning", read_include_reasoning),
    FIELD("verbosity", read_verbosity),
    FIELD("service_tier", read_tier),
    FIELD("metadata", tr_take_metadata),
    FIELD("user", read_user),
    FIELD("safety_identifier", read_safety_identifier),
    FIELD("prompt_cache_key", read_cache_key),
    FIELD("modalities", read_modalities),
    FIELD("store", read_store),
    FIELD("web_search_options", read_web_search),
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

int tr_openai_read_request(const struct json *j, struct arena *arena, struct tr_request *out,
                           struct call_refusal *refusal)
{
    struct tr_reading r;
    uint32_t key, value;
    int rc = tr_reading_begin(&r, j, arena, out, refusal);
    for (uint32_t at = 0; rc == 0 && json_next_member(j, JSON_ROOT, &at, &key, &value);)
        if (json_kind(j, value) != JSON_NULL)
            rc = read_field(&r, key, value);
    if (rc == 0)
        rc = tr_openai_keep_allowed(&r, json_get(j, JSON_ROOT, STR("tool_choice")));
    return rc;
}
