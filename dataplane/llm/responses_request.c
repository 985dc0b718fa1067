/* A caller's Responses body: its fields checked and summed up, and sent on in spans. */
#include "dataplane/llm/responses_internal.h"

static int read_instructions(struct call_reading *r, uint32_t node)
{
    if (reading_null(r, node))
        return 0;
    if (json_kind(r->json, node) != JSON_STRING)
        return reading_bad(r, node);
    r->system_content = node; /* Before any message, wherever in the body it stands. */
    reading_weigh(r, node);
    r->tokens_q8 += 256ULL * TOKENS_PER_MESSAGE;
    return 0;
}

static int read_reasoning(struct call_reading *r, uint32_t node)
{
    if (reading_null(r, node))
        return 0;
    if (json_kind(r->json, node) != JSON_OBJECT)
        return reading_bad(r, node);
    reading_think_reasoning(r, node);
    uint32_t effort = json_get(r->json, node, STR("effort"));
    return effort == JSON_NONE ? 0 : reading_effort(r, effort);
}

/* What a tool of a host costs stands in no price of a token. */
static int read_tools(struct call_reading *r, uint32_t node)
{
    uint32_t tool;
    int rc = reading_tools(r, node);
    for (uint32_t at = 0; rc == 0 && json_next_element(r->json, node, &at, &tool);) {
        uint32_t type = json_get(r->json, tool, STR("type"));
        if (json_string_is(r->json, type, STR("function")) ||
            json_string_is(r->json, type, STR("custom")))
            continue;
        if (json_kind(r->json, type) != JSON_STRING)
            return reading_bad(r, type == JSON_NONE ? tool : type);
        r->call->price_varies = true;
        rc = reading_bind(r, type);
    }
    return rc;
}

static int read_tool_choice(struct call_reading *r, uint32_t node)
{
    if (json_kind(r->json, node) != JSON_OBJECT)
        return reading_string(r, node);
    uint32_t type = json_get(r->json, node, STR("type"));
    if (json_string_is(r->json, type, STR("function")) ||
        json_string_is(r->json, type, STR("custom")) ||
        json_string_is(r->json, type, STR("allowed_tools")))
        return 0;
    return type == JSON_NONE ? reading_bad(r, node) : reading_bind(r, type);
}

static int read_safety_identifier(struct call_reading *r, uint32_t node)
{
    return r->call->user.len > 0 ? reading_string(r, node) : reading_user(r, node);
}

/* Input that the provider keeps. */
static int read_kept(struct call_reading *r, uint32_t node)
{
    if (reading_null(r, node))
        return 0;
    r->call->input_elsewhere = true;
    return reading_bind(r, node);
}

static int read_background(struct call_reading *r, uint32_t node)
{
    bool on = false;
    if (reading_null(r, node))
        return 0;
    if (json_bool(r->json, node, &on) != 0)
        return reading_bad(r, node);
    return on ? reading_bind(r, node) : 0;
}

static const struct reading_field fields[] = {
    READING_FIELD("model", reading_model),
    READING_FIELD("input", responses_read_input),
    READING_FIELD("instructions", read_instructions),
    READING_FIELD("stream", reading_stream),
    READING_FIELD("max_output_tokens", reading_max_tokens),
    READING_FIELD("temperature", reading_temperature),
    READING_FIELD("top_p", reading_top_p),
    READING_FIELD("top_logprobs", reading_top_logprobs),
    READING_FIELD("tools", read_tools),
    READING_FIELD("tool_choice", read_tool_choice),
    READING_FIELD("parallel_tool_calls", reading_bool),
    READING_FIELD("text", reading_format_within),
    READING_FIELD("reasoning", read_reasoning),
    READING_FIELD("store", reading_bool),
    READING_FIELD("user", reading_user),
    READING_FIELD("safety_identifier", read_safety_identifier),
    READING_FIELD("service_tier", reading_tier),
    READING_FIELD("previous_response_id", read_kept),
    READING_FIELD("conversation", read_kept),
    READING_FIELD("prompt", read_kept),
    READING_FIELD("background", read_background),
    READING_FIELD("n", reading_extra),
    READING_FIELD("best_of", reading_extra),
    READING_FIELD("speed", reading_extra),
    READING_FIELD("web_search_options", reading_extra),
    READING_WISHES,
    READING_FORBIDDEN,
};

int responses_read_call(struct json *json, struct str body, struct arena *arena,
                        struct call *out_call, struct call_refusal *out_refusal)
{
    struct call_reading r;
    int rc = reading_call(&r, json, body, arena, out_call, out_refusal, fields,
                          sizeof fields / sizeof fields[0], "input");
    out_call->include_usage = true; /* It is part of the answer. */
    return rc;
}

static int clamp_edit(const struct call *call, struct arena *arena, struct edit *e)
{
    enum { ROOM = 48 };
    const struct call_span *given = &call->max_tokens_value;
    char *data = arena_alloc(arena, ROOM);
    struct buf b = {.data = data, .cap = ROOM, .max = ROOM};
    if (data == NULL)
        return ERR_NOMEM;
    int rc = given->len != 0 ? 0 : buf_append_text(&b, "\"max_output_tokens\":");
    if (rc == 0)
        rc = buf_append_u64(&b, call->clamp_out);
    if (rc == 0 && given->len == 0)
        rc = buf_append_char(&b, ',');
    *e = given->len != 0 ? (struct edit){given->at, given->len, buf_str(&b)}
                         : (struct edit){call->object_open, 0, buf_str(&b)};
    return rc;
}

int responses_write_call(const struct call *call, struct str body, struct str upstream_model,
                         struct arena *arena, struct str *out_pieces, size_t *out_count)
{
    struct edit edits[2 + CALL_THINKS];
    size_t count = 0;
    int rc = 0;
    if (edit_renames(call, upstream_model))
        rc = edit_model(call, upstream_model, arena, &edits[count++]);
    if (rc == 0 && call->clamp_out != 0)
        rc = clamp_edit(call, arena, &edits[count++]);
    if (rc == 0)
        rc = edit_think(call, arena, edits, &count);
    if (rc != 0)
        return rc;
    if (call->cut_count == 0) {
        *out_count = edit_apply(body, edits, count, out_pieces);
        return 0;
    }
    *out_count = 1;
    return edit_cut(call, body, edits, count, arena, out_pieces);
}
