/* A caller's chat completion body: checked, summed up, and sent on in spans. */
#include "dataplane/llm/openai.h"

#include <string.h>

#include "common/base/buf.h"
#include "common/json/json_writer.h"
#include "common/route/features.h"
#include "dataplane/llm/tokens.h"

struct reading {
    const struct json *json;
    struct arena *arena;
    struct call *call;
    struct call_refusal *refusal;
    uint32_t user_content;   /* Of the last user message. */
    uint32_t system_content; /* Of the first system or developer message. */
    uint64_t tokens_q8;
    int64_t max_completion; /* -1: not given. */
};

static int refuse(struct reading *r, enum call_defect defect, uint32_t node, const char *message)
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

static int bad(struct reading *r, uint32_t node)
{
    return refuse(r, CALL_BAD_FIELD, node, NULL);
}

static int missing(struct reading *r, const char *param)
{
    r->refusal->defect = CALL_MISSING_FIELD;
    r->refusal->param = str_from(param);
    return ERR_INVALID;
}

static struct call_span span_of(const struct reading *r, uint32_t node)
{
    struct str raw = json_raw(r->json, node);
    return (struct call_span){.at = (uint32_t)(raw.data - r->json->text.data),
                              .len = (uint32_t)raw.len};
}

static bool is_null(const struct reading *r, uint32_t node)
{
    return json_kind(r->json, node) == JSON_NULL;
}

/* Inside of a string's quotes, still escaped: good enough to be weighed. */
static struct str inside(const struct reading *r, uint32_t node)
{
    struct str raw = json_raw(r->json, node);
    return str_slice(raw, 1, raw.len - 1);
}

static void weigh(struct reading *r, uint32_t string)
{
    r->tokens_q8 += tokens_text_q8(inside(r, string));
    r->call->text_bytes += json_text_length(r->json, string);
}

/* ---- messages ---- */

static int read_image(struct reading *r, uint32_t part)
{
    uint32_t image = json_get(r->json, part, STR("image_url"));
    uint32_t detail = json_get(r->json, image, STR("detail"));
    enum tokens_image kind =
        json_string_is(r->json, detail, STR("low")) ? TOKENS_IMAGE_LOW : TOKENS_IMAGE_AUTO;
    if (json_kind(r->json, json_get(r->json, image, STR("url"))) != JSON_STRING)
        return bad(r, image == JSON_NONE ? part : image);
    r->call->images++;
    r->call->has_images = true;
    r->tokens_q8 += 256ULL * tokens_image(kind);
    return 0;
}

/* Bytes of a part that is not text count by their size: audio, files. */
static int read_blob(struct reading *r, uint32_t part)
{
    r->tokens_q8 += 256ULL * tokens_bytes(json_raw(r->json, part).len / 16);
    return 0;
}

static int read_text(struct reading *r, uint32_t part)
{
    uint32_t text = json_get(r->json, part, STR("text"));
    if (json_kind(r->json, text) != JSON_STRING)
        return bad(r, text == JSON_NONE ? part : text);
    weigh(r, text);
    return 0;
}

static int read_refusal(struct reading *r, uint32_t part)
{
    uint32_t text = json_get(r->json, part, STR("refusal"));
    if (json_kind(r->json, text) != JSON_STRING)
        return bad(r, text == JSON_NONE ? part : text);
    weigh(r, text);
    return 0;
}

static const struct part_type {
    struct str name;
    int (*read)(struct reading *r, uint32_t part);
} part_types[] = {
    {{"text", 4}, read_text},      {{"image_url", 9}, read_image}, {{"input_audio", 11}, read_blob},
    {{"file", 4}, read_blob},      {{"refusal", 7}, read_refusal}, {{"video_url", 9}, read_blob},
    {{"audio_url", 9}, read_blob},
};

static int read_part(struct reading *r, uint32_t part)
{
    uint32_t type = json_get(r->json, part, STR("type"));
    for (size_t i = 0; i < sizeof part_types / sizeof part_types[0]; i++)
        if (json_string_is(r->json, type, part_types[i].name))
            return part_types[i].read(r, part);
    return bad(r, type == JSON_NONE ? part : type);
}

static int read_content(struct reading *r, uint32_t content)
{
    uint32_t part;
    int rc = 0;
    switch (json_kind(r->json, content)) {
    case JSON_STRING:
        weigh(r, content);
        return 0;
    case JSON_ARRAY:
        for (uint32_t at = 0; rc == 0 && json_next_element(r->json, content, &at, &part);)
            rc = read_part(r, part);
        return rc;
    case JSON_MISSING: /* An assistant turn with tool calls alone. */
    case JSON_NULL:
        return 0;
    case JSON_FALSE:
    case JSON_TRUE:
    case JSON_NUMBER:
    case JSON_OBJECT:
        break;
    }
    return bad(r, content);
}

static const char *const roles[] = {"system", "developer", "user", "assistant", "tool", "function"};
enum { ROLE_SYSTEM, ROLE_DEVELOPER, ROLE_USER, ROLE_COUNT = 6 };

static int read_message(struct reading *r, uint32_t message)
{
    if (json_kind(r->json, message) != JSON_OBJECT)
        return bad(r, message);
    uint32_t role = json_get(r->json, message, STR("role"));
    unsigned kind = 0;
    while (kind < ROLE_COUNT && !json_string_is(r->json, role, str_from(roles[kind])))
        kind++;
    if (kind == ROLE_COUNT)
        return bad(r, role == JSON_NONE ? message : role);
    uint32_t content = json_get(r->json, message, STR("content"));
    r->call->messages++;
    r->tokens_q8 += 256ULL * TOKENS_PER_MESSAGE;
    if (kind == ROLE_USER) {
        r->call->turns++;
        r->user_content = content;
    } else if (kind <= ROLE_DEVELOPER && r->system_content == JSON_NONE) {
        r->system_content = content;
    }
    uint32_t calls = json_get(r->json, message, STR("tool_calls"));
    if (json_kind(r->json, calls) == JSON_ARRAY)
        r->tokens_q8 += tokens_text_q8(json_raw(r->json, calls)) / 2;
    return read_content(r, content);
}

static int read_messages(struct reading *r, uint32_t node)
{
    uint32_t message;
    int rc = 0;
    if (json_kind(r->json, node) != JSON_ARRAY || json_count(r->json, node) == 0)
        return bad(r, node);
    r->call->dialogue = json_raw(r->json, node);
    for (uint32_t at = 0; rc == 0 && json_next_element(r->json, node, &at, &message);)
        rc = read_message(r, message);
    return rc;
}

/* Walks the texts of a content: its string, or those of its parts. */
static bool next_text(const struct reading *r, uint32_t content, uint32_t *io_at,
                      uint32_t *out_text)
{
    uint32_t part;
    if (json_kind(r->json, content) == JSON_STRING) {
        *out_text = content;
        return (*io_at)++ == 0;
    }
    while (json_next_element(r->json, content, io_at, &part)) {
        *out_text = json_get(r->json, part, STR("text"));
        if (json_kind(r->json, *out_text) == JSON_STRING)
            return true;
    }
    return false;
}

/* Of a text that is put together from pieces: where its ends go. */
struct ends {
    char *out;    /* head + tail bytes, or the whole. */
    size_t head;  /* Wanted of the first bytes ... */
    size_t tail;  /* ... and of the last. */
    size_t total; /* Of the whole text. */
    size_t at;
};

static void ends_add(struct ends *e, const struct json *j, uint32_t text)
{
    size_t len = json_text_length(j, text);
    size_t end = e->at + len, tail_from = e->total - e->tail;
    if (e->at < e->head && len > 0)
        (void)json_text_head(j, text, e->head - e->at, e->out + e->at);
    if (end > tail_from && len > 0) {
        size_t n = end - tail_from < len ? end - tail_from : len;
        (void)json_text_tail(j, text, n, e->out + e->head + (end - n - tail_from));
    }
    if (end < e->total) { /* Another follows. */
        if (end < e->head)
            e->out[end] = '\n';
        if (end >= tail_from)
            e->out[e->head + end - tail_from] = '\n';
        end++;
    }
    e->at = end;
}

/* The texts of a content with line ends between them, unescaped; of a long one that has to be
 * copied only the first `head` and last `tail` bytes. */
static int text_of(struct reading *r, uint32_t content, size_t head, size_t tail,
                   struct str *out_text, uint64_t *out_total)
{
    struct ends e = {.head = head, .tail = tail};
    uint32_t text, first = JSON_NONE, count = 0;
    for (uint32_t at = 0; next_text(r, content, &at, &text); count++) {
        if (count == 0)
            first = text;
        e.total += json_text_length(r->json, text) + (count > 0);
    }
    *out_total = e.total;
    *out_text = STR_NULL;
    if (count == 0)
        return 0;
    if (count == 1 && (e.total <= head + tail || !json_is_escaped(r->json, first)))
        return json_text(r->json, first, r->arena, out_text);
    if (e.total <= head + tail) {
        e.head = e.total;
        e.tail = 0;
    }
    e.out = arena_alloc(r->arena, e.head + e.tail);
    if (e.out == NULL)
        return ERR_NOMEM;
    for (uint32_t at = 0; next_text(r, content, &at, &text);)
        ends_add(&e, r->json, text);
    *out_text = (struct str){.data = e.out, .len = e.head + e.tail};
    return 0;
}

/* ---- the other fields ---- */

static int read_model(struct reading *r, uint32_t node)
{
    size_t len = json_text_length(r->json, node);
    if (json_kind(r->json, node) != JSON_STRING || len == 0 || len > CALL_MODEL_BYTES_MAX)
        return bad(r, node);
    r->call->model_value = span_of(r, node);
    if (json_text(r->json, node, r->arena, &r->call->model) != 0)
        return refuse(r, CALL_NO_MEMORY, JSON_NONE, NULL);
    return 0;
}

static int read_stream(struct reading *r, uint32_t node)
{
    if (is_null(r, node))
        return 0;
    return json_bool(r->json, node, &r->call->stream) == 0 ? 0 : bad(r, node);
}

static int read_stream_options(struct reading *r, uint32_t node)
{
    r->call->stream_options_value = span_of(r, node);
    if (is_null(r, node))
        return 0;
    if (json_kind(r->json, node) != JSON_OBJECT)
        return bad(r, node);
    r->call->stream_options_empty = json_count(r->json, node) == 0;
    uint32_t usage = json_get(r->json, node, STR("include_usage"));
    if (usage == JSON_NONE)
        return 0;
    r->call->include_usage_value = span_of(r, usage);
    if (is_null(r, usage))
        return 0;
    return json_bool(r->json, usage, &r->call->include_usage) == 0 ? 0 : bad(r, usage);
}

/* A whole number in a range; null is as if not given. */
static int read_count(struct reading *r, uint32_t node, int64_t min, int64_t max, int64_t *out)
{
    if (is_null(r, node))
        return 0;
    return json_i64(r->json, node, min, max, out) == 0 ? 0 : bad(r, node);
}

static int read_max_tokens(struct reading *r, uint32_t node)
{
    int64_t v = r->call->max_tokens;
    int rc = read_count(r, node, 1, UINT32_MAX, &v);
    r->call->max_tokens = (uint32_t)v;
    return rc;
}

static int read_max_completion(struct reading *r, uint32_t node)
{
    return read_count(r, node, 1, UINT32_MAX, &r->max_completion);
}

static int read_n(struct reading *r, uint32_t node)
{
    int64_t v = 1;
    int rc = read_count(r, node, 1, CALL_CHOICES_MAX, &v);
    r->call->choices = (uint32_t)v;
    return rc;
}

static int read_top_logprobs(struct reading *r, uint32_t node)
{
    int64_t v = 0;
    return read_count(r, node, 0, 20, &v);
}

/* A decimal number within [-max, max] or [0, max], in ten-thousandths. */
static int read_decimal(struct reading *r, uint32_t node, int64_t min, int64_t max, int64_t *out)
{
    bool exact;
    int64_t v = 0;
    if (is_null(r, node))
        return 0;
    if (json_fixed(r->json, node, 4, &v, &exact) != 0 || v < min || v > max)
        return bad(r, node);
    *out = v;
    return 0;
}

static int read_temperature(struct reading *r, uint32_t node)
{
    int64_t v = -1;
    int rc = read_decimal(r, node, 0, 20000, &v);
    if (v >= 0)
        r->call->temperature_q8 = (int32_t)(v * 256 / 10000);
    return rc;
}

static int read_top_p(struct reading *r, uint32_t node)
{
    int64_t v;
    return read_decimal(r, node, 0, 10000, &v);
}

static int read_penalty(struct reading *r, uint32_t node)
{
    int64_t v;
    return read_decimal(r, node, -20000, 20000, &v);
}

static int read_tools(struct reading *r, uint32_t node)
{
    uint32_t tool;
    if (is_null(r, node))
        return 0;
    if (json_kind(r->json, node) != JSON_ARRAY)
        return bad(r, node);
    for (uint32_t at = 0; json_next_element(r->json, node, &at, &tool);) {
        if (json_kind(r->json, tool) != JSON_OBJECT)
            return bad(r, tool);
        /* {"type":"function","function":{"name"}}, or the older {"name"}. */
        uint32_t name = json_get(r->json, json_get(r->json, tool, STR("function")), STR("name"));
        if (name == JSON_NONE)
            name = json_get(r->json, tool, STR("name"));
        r->tokens_q8 += 256ULL * TOKENS_PER_TOOL + tokens_text_q8(json_raw(r->json, tool)) / 2;
        r->call->has_tools = true;
        if (r->call->tool_count < CALL_TOOLS_MAX && json_kind(r->json, name) == JSON_STRING &&
            json_text(r->json, name, r->arena, &r->call->tools[r->call->tool_count]) != 0)
            return refuse(r, CALL_NO_MEMORY, JSON_NONE, NULL);
        if (json_kind(r->json, name) == JSON_STRING && r->call->tool_count < CALL_TOOLS_MAX)
            r->call->tool_count++;
    }
    return 0;
}

static int read_response_format(struct reading *r, uint32_t node)
{
    if (is_null(r, node))
        return 0;
    if (json_kind(r->json, node) != JSON_OBJECT)
        return bad(r, node);
    uint32_t type = json_get(r->json, node, STR("type"));
    r->call->json_mode = json_string_is(r->json, type, STR("json_object")) ||
                         json_string_is(r->json, type, STR("json_schema"));
    if (r->call->json_mode)
        r->tokens_q8 += tokens_text_q8(json_raw(r->json, node)) / 2;
    return 0;
}

static int read_effort(struct reading *r, uint32_t node)
{
    if (is_null(r, node))
        return 0;
    if (json_kind(r->json, node) != JSON_STRING)
        return bad(r, node);
    r->call->reasoning = !json_string_is(r->json, node, STR("none"));
    return 0;
}

static int read_bool(struct reading *r, uint32_t node)
{
    bool ignored;
    return is_null(r, node) || json_bool(r->json, node, &ignored) == 0 ? 0 : bad(r, node);
}

static int read_string(struct reading *r, uint32_t node)
{
    return is_null(r, node) || json_kind(r->json, node) == JSON_STRING ? 0 : bad(r, node);
}

static int read_forbidden(struct reading *r, uint32_t node)
{
    return refuse(r, CALL_FORBIDDEN_FIELD, node, NULL);
}

#define FIELD(name, fn)                                                                            \
    {                                                                                              \
        {name, sizeof name - 1}, fn                                                                \
    }
static const struct field {
    struct str name;
    int (*read)(struct reading *r, uint32_t node);
} fields[] = {
    FIELD("model", read_model),
    FIELD("messages", read_messages),
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
    FIELD("user", read_string),
    FIELD("service_tier", read_string),
    FIELD("api_base", read_forbidden),
    FIELD("base_url", read_forbidden),
    FIELD("api_key", read_forbidden),
    FIELD("headers", read_forbidden),
    FIELD("extra_headers", read_forbidden),
    FIELD("extra_body", read_forbidden),
};

static int read_fields(struct reading *r)
{
    uint32_t key, value;
    for (uint32_t at = 0; json_next_member(r->json, JSON_ROOT, &at, &key, &value);) {
        for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
            if (!json_string_is(r->json, key, fields[i].name))
                continue;
            int rc = fields[i].read(r, value);
            if (rc != 0)
                return rc;
            break;
        }
    }
    return 0;
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
    struct reading r = {.json = json,
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
    out_call->object_open = (uint32_t)(json_raw(json, JSON_ROOT).data - body.data) + 1;
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
    uint64_t user_bytes;
    if (text_of(&r, r.user_content, FEATURES_TEXT_HEAD_BYTES, FEATURES_TAIL_BYTES, &out_call->text,
                &user_bytes) != 0 ||
        text_of(&r, r.system_content, FEATURES_SYSTEM_BYTES_MAX / 2, FEATURES_SYSTEM_BYTES_MAX / 2,
                &out_call->system, &out_call->system_bytes) != 0)
        return refuse(&r, CALL_NO_MEMORY, JSON_NONE, NULL);
    return 0;
}

/* ---- the way up ---- */

struct edit {
    uint32_t at;
    uint32_t cut; /* Bytes of the body that go. */
    struct str put;
};

static size_t stream_edit(const struct call *call, struct edit *e)
{
    const struct call_span *options = &call->stream_options_value;
    const struct call_span *usage = &call->include_usage_value;
    if (!call->stream || call->include_usage)
        return 0;
    if (options->len == 0)
        *e = (struct edit){call->object_open, 0,
                           STR("\"stream_options\":{\"include_usage\":true},")};
    else if (usage->len != 0)
        *e = (struct edit){usage->at, usage->len, STR("true")};
    else if (options->len == 4) /* null */
        *e = (struct edit){options->at, options->len, STR("{\"include_usage\":true}")};
    else
        *e = (struct edit){options->at + 1, 0,
                           call->stream_options_empty ? STR("\"include_usage\":true")
                                                      : STR("\"include_usage\":true,")};
    return 1;
}

static int quote(struct arena *arena, struct str text, struct str *out)
{
    size_t cap = 6 * text.len + 2;
    char *data = arena_alloc(arena, cap);
    struct buf b = {.data = data, .cap = cap, .max = cap};
    if (data == NULL)
        return ERR_NOMEM;
    if (buf_append_char(&b, '"') != 0 || json_writer_escape(&b, text) != 0 ||
        buf_append_char(&b, '"') != 0)
        return ERR_TOO_LARGE;
    *out = buf_str(&b);
    return 0;
}

int openai_write_call(const struct call *call, struct str body, struct str upstream_model,
                      struct arena *arena, struct str *out_pieces, size_t *out_count)
{
    struct edit edits[2];
    size_t count = stream_edit(call, &edits[0]);
    if (!str_eq(upstream_model, call->model)) {
        struct edit *e = &edits[count++];
        *e = (struct edit){.at = call->model_value.at, .cut = call->model_value.len};
        int rc = quote(arena, upstream_model, &e->put);
        if (rc != 0)
            return rc;
    }
    if (count == 2 && edits[0].at > edits[1].at) {
        struct edit first = edits[0];
        edits[0] = edits[1];
        edits[1] = first;
    }
    size_t from = 0, n = 0;
    for (size_t i = 0; i < count; i++) {
        out_pieces[n++] = str_slice(body, from, edits[i].at);
        out_pieces[n++] = edits[i].put;
        from = edits[i].at + edits[i].cut;
    }
    out_pieces[n++] = str_slice(body, from, body.len);
    *out_count = n;
    return 0;
}
