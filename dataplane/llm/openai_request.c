/* A caller's chat completion body: its fields checked and summed up. */
#include "dataplane/llm/openai_internal.h"

int openai_read_stream_options(struct call_reading *r, uint32_t node)
{
    r->call->stream_options_value = reading_span(r, node);
    if (reading_null(r, node))
        return 0;
    if (json_kind(r->json, node) != JSON_OBJECT)
        return reading_bad(r, node);
    r->call->stream_options_empty = json_count(r->json, node) == 0;
    uint32_t usage = json_get(r->json, node, STR("include_usage"));
    if (usage == JSON_NONE)
        return 0;
    r->call->include_usage_value = reading_span(r, usage);
    if (reading_null(r, usage))
        return 0;
    return json_bool(r->json, usage, &r->call->include_usage) == 0 ? 0 : reading_bad(r, usage);
}

static int read_max_completion(struct call_reading *r, uint32_t node)
{
    r->call->max_completion_value = reading_span(r, node);
    return reading_count(r, node, 1, UINT32_MAX, &r->max_completion);
}

int openai_read_n(struct call_reading *r, uint32_t node)
{
    int64_t v = 1;
    int rc = reading_count(r, node, 1, CALL_CHOICES_MAX, &v);
    r->call->choices = (uint32_t)v;
    return rc;
}

static int read_penalty(struct call_reading *r, uint32_t node)
{
    int64_t v;
    return reading_decimal(r, node, -20000, 20000, &v);
}

int openai_read_best_of(struct call_reading *r, uint32_t node)
{
    int64_t v = 1;
    int rc = reading_count(r, node, 1, INT32_MAX, &v);
    r->call->price_varies |= v != 1;
    return rc;
}

/* Extensions, checked by who knows them. */
static int read_reasoning(struct call_reading *r, uint32_t node)
{
    reading_think_reasoning(r, node);
    return 0;
}

static int read_thinking(struct call_reading *r, uint32_t node)
{
    if (json_string_is(r->json, json_get(r->json, node, STR("type")), STR("enabled")))
        reading_think(r, CALL_THINK_THINKING, node, json_get(r->json, node, STR("budget_tokens")));
    return 0;
}

static const struct reading_field fields[] = {
    READING_FIELD("model", reading_model),
    READING_FIELD("messages", openai_read_messages),
    READING_FIELD("stream", reading_stream),
    READING_FIELD("stream_options", openai_read_stream_options),
    READING_FIELD("max_tokens", reading_max_tokens),
    READING_FIELD("max_completion_tokens", read_max_completion),
    READING_FIELD("temperature", reading_temperature),
    READING_FIELD("top_p", reading_top_p),
    READING_FIELD("n", openai_read_n),
    READING_FIELD("tools", reading_tools),
    READING_FIELD("functions", reading_tools),
    READING_FIELD("response_format", reading_format),
    READING_FIELD("reasoning_effort", reading_effort),
    READING_FIELD("reasoning", read_reasoning),
    READING_FIELD("thinking", read_thinking),
    READING_FIELD("presence_penalty", read_penalty),
    READING_FIELD("frequency_penalty", read_penalty),
    READING_FIELD("top_logprobs", reading_top_logprobs),
    READING_FIELD("logprobs", reading_bool),
    READING_FIELD("parallel_tool_calls", reading_bool),
    READING_FIELD("user", reading_user),
    READING_FIELD("service_tier", reading_tier),
    READING_FIELD("best_of", openai_read_best_of),
    READING_FIELD("speed", reading_extra),
    READING_FIELD("web_search_options", reading_extra),
    READING_WISHES,
    READING_FORBIDDEN,
};

int openai_read_call(struct json *json, struct str body, struct arena *arena, struct call *out_call,
                     struct call_refusal *out_refusal)
{
    struct call_reading r;
    int rc = reading_call(&r, json, body, arena, out_call, out_refusal, fields,
                          sizeof fields / sizeof fields[0], "messages");
    if (rc == 0 && r.max_completion > 0)
        out_call->max_tokens = (uint32_t)r.max_completion;
    return rc;
}
