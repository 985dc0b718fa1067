/* A caller's chat completion body in the neutral form: the fields beside the messages and tools. */
#include <string.h>

#include "dataplane/translate/effort.h"
#include "dataplane/translate/openai_internal.h"

static int read_max_tokens(struct tr_reading *r, uint32_t node)
{
    if (tr_is_given(r, tr_member(r, JSON_ROOT, STR("max_completion_tokens"))))
        return 0; /* The newer name has the word. */
    return tr_take_i64(r, node, 1, UINT32_MAX, &r->out->max_output);
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

/* OpenRouter's object: {effort, max_tokens, exclude, enabled}. */
static int read_reasoning(struct tr_reading *r, uint32_t node)
{
    bool exclude = false, enabled = true;
    uint32_t effort = tr_member(r, node, STR("effort"));
    if (json_kind(r->json, node) != JSON_OBJECT)
        return tr_reading_refuse(r, node, NULL);
    int rc = tr_is_given(r, effort) ? tr_openai_read_effort(r, effort) : 0;
    if (rc == 0)
        rc = tr_take_i64(r, tr_member(r, node, STR("max_tokens")), 0, INT32_MAX,
                         &r->out->think_budget);
    if (rc == 0)
        rc = tr_take_bool(r, tr_member(r, node, STR("exclude")), &exclude);
    if (rc == 0)
        rc = tr_take_bool(r, tr_member(r, node, STR("enabled")), &enabled);
    r->out->details = true;
    if (exclude) {
        r->out->think_shown = 0;
        r->out->think_hidden = true;
    }
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
    int rc = tr_take_flag(r, node, &r->out->think_shown);
    r->out->details = true;
    r->out->think_hidden |= r->out->think_shown == 0;
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
    return tr_openai_read_schema(r, schema == JSON_NONE ? node : schema);
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

static int read_web_search(struct tr_reading *r, uint32_t node)
{
    return tr_openai_unsupported(
        r, node, "unsupported_tool: web search is the provider's own; this model has none");
}

static const struct tr_field fields[] = {
    TR_FIELD("model", tr_field_model),
    TR_FIELD("messages", tr_openai_read_messages),
    TR_FIELD("stream", tr_field_stream),
    TR_FIELD("stream_options", tr_field_nothing),
    TR_FIELD("max_tokens", read_max_tokens),
    TR_FIELD("max_completion_tokens", tr_openai_read_max_output),
    TR_FIELD("temperature", tr_field_temperature),
    TR_FIELD("top_p", tr_field_top_p),
    TR_FIELD("top_k", tr_field_top_k),
    TR_FIELD("n", read_n),
    TR_FIELD("stop", tr_take_stops),
    TR_FIELD("seed", read_seed),
    TR_FIELD("frequency_penalty", read_frequency_penalty),
    TR_FIELD("presence_penalty", read_presence_penalty),
    TR_FIELD("logprobs", read_logprobs),
    TR_FIELD("top_logprobs", tr_openai_read_top_logprobs),
    TR_FIELD("tools", tr_openai_read_tools),
    TR_FIELD("functions", tr_openai_read_functions),
    TR_FIELD("tool_choice", tr_openai_read_choice),
    TR_FIELD("function_call", tr_openai_read_function_choice),
    TR_FIELD("parallel_tool_calls", tr_field_parallel),
    TR_FIELD("response_format", read_format),
    TR_FIELD("reasoning_effort", tr_openai_read_effort),
    TR_FIELD("reasoning", read_reasoning),
    TR_FIELD("thinking", read_thinking),
    TR_FIELD("include_reasoning", read_include_reasoning),
    TR_FIELD("verbosity", tr_openai_read_verbosity),
    TR_FIELD("service_tier", tr_openai_read_tier),
    TR_FIELD("metadata", tr_take_metadata),
    TR_FIELD("user", tr_openai_read_user),
    TR_FIELD("safety_identifier", tr_openai_read_safety_identifier),
    TR_FIELD("prompt_cache_key", tr_openai_read_cache_key),
    TR_FIELD("modalities", read_modalities),
    TR_FIELD("store", tr_openai_read_store),
    TR_FIELD("web_search_options", read_web_search),
    TR_FIELDS_ROUTER,
};

int tr_openai_read_request(const struct json *j, struct arena *arena, struct tr_request *out,
                           struct call_refusal *refusal)
{
    return tr_openai_read_body(j, arena, fields, sizeof fields / sizeof fields[0], out, refusal);
}
