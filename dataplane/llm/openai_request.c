/* A caller's chat completion body: its fields checked and summed up. */
#include "common/route/features.h"
#include "dataplane/llm/openai_internal.h"

int openai_refuse(struct openai_reading *r, enum call_defect defect, uint32_t node,
                  const char *message)
{
    char path[JSON_PATH_BYTES];
    r->refusal->defect = defect;
    r->refusal->message = message;
    r->refusal->offset = -1;
    if (node != JSON_NONE) {
        json_path(r->json, node, path);
        r->refusal->param = arena_copy(r->arena, str_from(path));
    }
    return defect == CALL_NO_MEMORY ? ERR_NOMEM : ERR_INVALID;
}

static int missing(struct openai_reading *r, const char *param)
{
    r->refusal->defect = CALL_MISSING_FIELD;
    r->refusal->param = str_from(param);
    return ERR_INVALID;
}

static struct call_span span_of(const struct openai_reading *r, uint32_t node)
{
    struct str raw = json_raw(r->json, node);
    return (struct call_span){.at = (uint32_t)(raw.data - r->json->text.data),
                              .len = (uint32_t)raw.len};
}

static bool is_null(const struct openai_reading *r, uint32_t node)
{
    return json_kind(r->json, node) == JSON_NULL;
}

static int read_model(struct openai_reading *r, uint32_t node)
{
    size_t len = json_text_length(r->json, node);
    if (json_kind(r->json, node) != JSON_STRING || len == 0 || len > CALL_MODEL_BYTES_MAX)
        return openai_bad(r, node);
    r->call->model_value = span_of(r, node);
    if (json_text(r->json, node, r->arena, &r->call->model) != 0)
        return openai_refuse(r, CALL_NO_MEMORY, JSON_NONE, NULL);
    return 0;
}

static int read_stream(struct openai_reading *r, uint32_t node)
{
    if (is_null(r, node))
        return 0;
    return json_bool(r->json, node, &r->call->stream) == 0 ? 0 : openai_bad(r, node);
}

static int read_stream_options(struct openai_reading *r, uint32_t node)
{
    r->call->stream_options_value = span_of(r, node);
    if (is_null(r, node))
        return 0;
    if (json_kind(r->json, node) != JSON_OBJECT)
        return openai_bad(r, node);
    r->call->stream_options_empty = json_count(r->json, node) == 0;
    uint32_t usage = json_get(r->json, node, STR("include_usage"));
    if (usage == JSON_NONE)
        return 0;
    r->call->include_usage_value = span_of(r, usage);
    if (is_null(r, usage))
        return 0;
    return json_bool(r->json, usage, &r->call->include_usage) == 0 ? 0 : openai_bad(r, usage);
}

/* A whole number in a range; null is as if not given. */
static int read_count(struct openai_reading *r, uint32_t node, int64_t min, int64_t max,
                      int64_t *out)
{
    if (is_null(r, node))
        return 0;
    return json_i64(r->json, node, min, max, out) == 0 ? 0 : openai_bad(r, node);
}

static int read_max_tokens(struct openai_reading *r, uint32_t node)
{
    r->call->max_tokens_value = span_of(r, node);
    int64_t v = r->call->max_tokens;
    int rc = read_count(r, node, 1, UINT32_MAX, &v);
    r->call->max_tokens = (uint32_t)v;
    return rc;
}

static int read_max_completion(struct openai_reading *r, uint32_t node)
{
    r->call->max_completion_value = span_of(r, node);
    return read_count(r, node, 1, UINT32_MAX, &r->max_completion);
}

static int read_n(struct openai_reading *r, uint32_t node)
{
    int64_t v = 1;
    int rc = read_count(r, node, 1, CALL_CHOICES_MAX, &v);
    r->call->choices = (uint32_t)v;
    return rc;
}

static int read_top_logprobs(struct openai_reading *r, uint32_t node)
{
    int64_t v = 0;
    return read_count(r, node, 0, 20, &v);
}

/* A decimal number within [-max, max] or [0, max], in ten-thousandths. */
static int read_decimal(struct openai_reading *r, uint32_t node, int64_t min, int64_t max,
                        int64_t *out)
{
    bool exact;
    int64_t v = 0;
    if (is_null(r, node))
        return 0;
    if (json_fixed(r->json, node, 4, &v, &exact) != 0 || v < min || v > max)
        return openai_bad(r, node);
    *out = v;
    return 0;
}

static int read_temperature(struct openai_reading *r, uint32_t node)
{
    int64_t v = -1;
    int rc = read_decimal(r, node, 0, 20000, &v);
    if (v >= 0)
        r->call->temperature_q8 = (int32_t)(v * 256 / 10000);
    return rc;
}

static int read_top_p(struct openai_reading *r, uint32_t node)
{
    int64_t v;
    return read_decimal(r, node, 0, 10000, &v);
}

static int read_penalty(struct openai_reading *r, uint32_t node)
{
    int64_t v;
    return read_decimal(r, node, -20000, 20000, &v);
}

static int read_tools(struct openai_reading *r, uint32_t node)
{
    uint32_t tool;
    if (is_null(r, node))
        return 0;
    if (json_kind(r->json, node) != JSON_ARRAY)
        return openai_bad(r, node);
    for (uint32_t at = 0; json_next_element(r->json, node, &at, &tool);) {
        if (json_kind(r->json, tool) != JSON_OBJECT)
            return openai_bad(r, tool);
        /* {"type":"function","function":{"name"}}, or the older {"name"}. */
        uint32_t name = json_get(r->json, json_get(r->json, tool, STR("function")), STR("name"));
        if (name == JSON_NONE)
            name = json_get(r->json, tool, STR("name"));
        r->tokens_q8 += 256ULL * TOKENS_PER_TOOL + tokens_text_q8(json_raw(r->json, tool)) / 2;
        r->call->has_tools = true;
        if (r->call->tool_count < CALL_TOOLS_MAX && json_kind(r->json, name) == JSON_STRING &&
            json_text(r->json, name, r->arena, &r->call->tools[r->call->tool_count]) != 0)
            return openai_refuse(r, CALL_NO_MEMORY, JSON_NONE, NULL);
        if (json_kind(r->json, name) == JSON_STRING && r->call->tool_count < CALL_TOOLS_MAX)
            r->call->tool_count++;
    }
    return 0;
}

static int read_response_format(struct openai_reading *r, uint32_t node)
{
    if (is_null(r, node))
        return 0;
    if (json_kind(r->json, node) != JSON_OBJECT)
        return openai_bad(r, node);
    uint32_t type = json_get(r->json, node, STR("type"));
    r->call->json_mode = json_string_is(r->json, type, STR("json_object")) ||
                         json_string_is(r->json, type, STR("json_schema"));
    if (r->call->json_mode)
        r->tokens_q8 += tokens_text_q8(json_raw(r->json, node)) / 2;
    return 0;
}

static int read_effort(struct openai_reading *r, uint32_t node)
{
    if (is_null(r, node))
        return 0;
    if (json_kind(r->json, node) != JSON_STRING)
        return openai_bad(r, node);
    r->call->reasoning = !json_string_is(r->json, node, STR("none"));
    return 0;
}

static int read_bool(struct openai_reading *r, uint32_t node)
{
    bool ignored;
    return is_null(r, node) || json_bool(r->json, node, &ignored) == 0 ? 0 : openai_bad(r, node);
}

static int read_string(struct openai_reading *r, uint32_t node)
{
    return is_null(r, node) || json_kind(r->json, node) == JSON_STRING ? 0 : openai_bad(r, node);
}

static int read_user(struct openai_reading *r, uint32_t node)
{
    if (is_null(r, node))
        return 0;
    if (json_kind(r->json, node) != JSON_STRING)
        return openai_bad(r, node);
    if (json_text(r->json, node, r->arena, &r->call->user) != 0)
        return openai_refuse(r, CALL_NO_MEMORY, JSON_NONE, NULL);
    return 0;
}

/* Tiers that cost what the price says, or less. */
static int read_tier(struct openai_reading *r, uint32_t node)
{
    if (!is_null(r, node) && !json_string_is(r->json, node, STR("auto")) &&
        !json_string_is(r->json, node, STR("default")) &&
        !json_string_is(r->json, node, STR("flex")))
        r->call->price_varies = true;
    return read_string(r, node);
}

static int read_best_of(struct openai_reading *r, uint32_t node)
{
    int64_t v = 1;
    int rc = read_count(r, node, 1, INT32_MAX, &v);
    r->call->price_varies |= v != 1;
    return rc;
}

static int read_extra(struct openai_reading *r, uint32_t node)
{
    r->call->price_varies |= !is_null(r, node);
    return 0;
}

static int read_forbidden(struct openai_reading *r, uint32_t node)
{
    return openai_refuse(r, CALL_FORBIDDEN_FIELD, node, NULL);
}

#define FIELD(name, fn)                                                                            \
    {                                                                                              \
        {name, sizeof name - 1}, fn                                                                \
    }
static const struct field {
    struct str name;
    int (*read)(struct openai_reading *r, uint32_t node);
} fields[] = {
    FIELD("model", read_model),
    FIELD("messages", openai_read_messages),
    FIELD("stream", read_stream),
    FIELD("stream_options", read_stream_options),
    FIELD("max_tokens", read_max_tokens),
    FIELD("max_completion_tokens", read_max_completion),
    FIELD("temperature", read_temperature),
    FIELD("top_p", read_top_p),
    FIELD("n", read_n),
    FIELD("tools", read_tools),
    FIELD("functions", read_tools),
    FIELD("response_format", read_response_format),
    FIELD("reasoning_effort", read_effort),
    FIELD("presence_penalty", read_penalty),
    FIELD("frequency_penalty", read_penalty),
    FIELD("top_logprobs", read_top_logprobs),
    FIELD("logprobs", read_bool),
    FIELD("parallel_tool_calls", read_bool),
    FIELD("user", read_user),
    FIELD("service_tier", read_tier),
    FIELD("best_of", read_best_of),
    FIELD("speed", read_extra),
    FIELD("web_search_options", read_extra),
    FIELD("api_base", read_forbidden),
    FIELD("base_url", read_forbidden),
    FIELD("api_key", read_forbidden),
    FIELD("headers", read_forbidden),
    FIELD("extra_headers", read_forbidden),
    FIELD("extra_body", read_forbidden),
};

static int read_fields(struct openai_reading *r)
{
    uint32_t key, value;
    for (uint32_t at = 0; json_next_member(r->json, JSON_ROOT, &at, &key, &value);) {
        struct str name = json_plain(r->json, key);
        for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
            if (!openai_name_is(r->json, key, name, fields[i].name))
                continue;
            int rc = fields[i].read(r, value);
            if (rc != 0)
                return rc;
            break;
        }
    }
    return 0;
}

/* No token is shorter than a byte of its text, and JSON is never shorter than the text it holds;
 * tools and formats are in there too. Images count by the largest number published for one. */
static uint32_t tokens_most(const struct openai_reading *r, size_t body_bytes)
{
    uint64_t n = body_bytes - r->image_bytes + (uint64_t)TOKENS_IMAGE_MOST * r->call->images +
                 (uint64_t)TOKENS_MESSAGE_MOST * r->call->messages;
    return n > UINT32_MAX ? UINT32_MAX : (uint32_t)n;
}

static int refuse_json(const struct json_error *e, int rc, struct arena *arena,
                       struct call_refusal *out)
{
    if (rc == ERR_NOMEM) {
        out->defect = CALL_NO_MEMORY;
        return rc;
    }
    out->defect = CALL_BAD_JSON;
    out->offset = (int64_t)e->offset;
    out->message = json_problem_text(e->problem);
    if (e->path[0] != '\0')
        out->param = arena_copy(arena, str_from(e->path));
    return ERR_INVALID;
}

int openai_read_call(struct json *json, struct str body, struct arena *arena, struct call *out_call,
                     struct call_refusal *out_refusal)
{
    struct json_error error;
    struct openai_reading r = {.json = json,
                               .arena = arena,
                               .call = out_call,
                               .refusal = out_refusal,
                               .user_content = JSON_NONE,
                               .system_content = JSON_NONE,
                               .max_completion = -1};
    memset(out_call, 0, offsetof(struct call, tools));
    memset((char *)out_call + offsetof(struct call, text), 0,
           sizeof *out_call - offsetof(struct call, text));
    out_call->choices = 1;
    out_call->temperature_q8 = FEATURES_TEMPERATURE_UNSET;
    *out_refusal = (struct call_refusal){.offset = -1};
    int rc =
        json_scan_begun(json) ? json_scan_end(json, body, &error) : json_parse(json, body, &error);
    if (rc != 0)
        return refuse_json(&error, rc, arena, out_refusal);
    if (json_kind(json, JSON_ROOT) != JSON_OBJECT) {
        out_refusal->defect = CALL_BAD_JSON;
        out_refusal->offset = 0;
        return ERR_INVALID;
    }
    struct call_span object = span_of(&r, JSON_ROOT);
    out_call->object_open = object.at + 1;
    out_call->object_close = object.at + object.len - 1;
    rc = read_fields(&r);
    if (rc != 0)
        return rc;
    if (out_call->model.len == 0)
        return missing(&r, "model");
    if (out_call->messages == 0)
        return missing(&r, "messages");
    if (r.max_completion > 0)
        out_call->max_tokens = (uint32_t)r.max_completion;
    out_call->tokens_in = tokens_round(r.tokens_q8 + 256ULL * TOKENS_PER_REPLY);
    out_call->tokens_most = tokens_most(&r, body.len);
    if (!openai_take_texts(&r))
        return openai_refuse(&r, CALL_NO_MEMORY, JSON_NONE, NULL);
    return 0;
}
