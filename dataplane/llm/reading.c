/* What the readers of callers' bodies have in common: fields that several dialects have. */
#include "dataplane/llm/reading.h"
#include "common/route/features.h"

int reading_refuse(struct call_reading *r, enum call_defect defect, uint32_t node,
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

int reading_bind(struct call_reading *r, uint32_t node)
{
    char path[JSON_PATH_BYTES];
    if (r->call->bound_to.len > 0)
        return 0;
    json_path(r->json, node, path);
    r->call->bound_to = arena_copy(r->arena, str_from(path));
    if (r->call->bound_to.data == NULL)
        return reading_refuse(r, CALL_NO_MEMORY, JSON_NONE, NULL);
    return 0;
}

bool reading_is_sealed(const struct call_reading *r, uint32_t node)
{
    char head[4];
    return json_text_head(r->json, node, sizeof head, head) == sizeof head &&
           memcmp(head, "sy1.", sizeof head) == 0;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

static int grow_cuts(struct call_reading *r)
{
    uint32_t room = r->cuts_room == 0 ? 8 : 2 * r->cuts_room;
    struct call_span *cuts = arena_alloc(r->arena, room * sizeof *cuts);
    if (cuts == NULL)
        return reading_refuse(r, CALL_NO_MEMORY, JSON_NONE, NULL);
    if (r->call->cut_count > 0)
        memcpy(cuts, r->cuts, r->call->cut_count * sizeof *cuts);
    r->call->cuts = r->cuts = cuts;
    r->cuts_room = room;
    return 0;
}

/* Up to the next element; or of the last one from behind the one before that stays. */
int reading_cut(struct call_reading *r, uint32_t element)
{
    const char *text = r->json->text.data;
    struct call_span *last = r->call->cut_count > 0 ? &r->cuts[r->call->cut_count - 1] : NULL;
    struct call_span span = reading_span(r, element);
    uint32_t from = span.at, to = span.at + span.len;
    if (last != NULL && last->at + last->len == from) {
        from = last->at;
        r->call->cut_count--;
    }
    while (is_blank(text[to]))
        to++;
    if (text[to] == ',') {
        to++;
        while (is_blank(text[to]))
            to++;
    } else {
        uint32_t before = from;
        while (is_blank(text[before - 1]))
            before--;
        if (text[before - 1] == ',')
            from = before - 1;
    }
    if (r->call->cut_count == r->cuts_room && grow_cuts(r) != 0)
        return ERR_NOMEM;
    r->cuts[r->call->cut_count++] = (struct call_span){.at = from, .len = to - from};
    return 0;
}

static int note_wish(struct call_reading *r, enum call_wish which, uint32_t node)
{
    struct call_wish_spans *w = &r->call->wishes[which];
    const uint32_t at = r->json->nodes[node - 1].start; /* A member's key stands before it. */
    const struct call_span value = reading_span(r, node);
    w->member = (struct call_span){.at = at, .len = value.at + value.len - at};
    if (!reading_null(r, node))
        w->value = value;
    r->call->wished = true;
    return 0;
}

int reading_wish_models(struct call_reading *r, uint32_t node)
{
    return note_wish(r, CALL_WISH_MODELS, node);
}

int reading_wish_provider(struct call_reading *r, uint32_t node)
{
    return note_wish(r, CALL_WISH_PROVIDER, node);
}

int reading_wish_route(struct call_reading *r, uint32_t node)
{
    return note_wish(r, CALL_WISH_ROUTE, node);
}

int reading_wish_usage(struct call_reading *r, uint32_t node)
{
    return note_wish(r, CALL_WISH_USAGE, node);
}

int reading_wish_preferences(struct call_reading *r, uint32_t node)
{
    return note_wish(r, CALL_WISH_PREFERENCES, node);
}

int reading_need_model(struct call_reading *r)
{
    if (r->call->model.len > 0 || r->call->wishes[CALL_WISH_MODELS].value.len > 0)
        return 0;
    return reading_missing(r, "model");
}

int reading_missing(struct call_reading *r, const char *param)
{
    r->refusal->defect = CALL_MISSING_FIELD;
    r->refusal->param = str_from(param);
    return ERR_INVALID;
}

int reading_model(struct call_reading *r, uint32_t node)
{
    size_t len = json_text_length(r->json, node);
    if (json_kind(r->json, node) != JSON_STRING || len == 0 || len > CALL_MODEL_BYTES_MAX)
        return reading_bad(r, node);
    r->call->model_value = reading_span(r, node);
    if (json_text(r->json, node, r->arena, &r->call->model) != 0)
        return reading_refuse(r, CALL_NO_MEMORY, JSON_NONE, NULL);
    return 0;
}

int reading_stream(struct call_reading *r, uint32_t node)
{
    if (reading_null(r, node))
        return 0;
    return json_bool(r->json, node, &r->call->stream) == 0 ? 0 : reading_bad(r, node);
}

int reading_count(struct call_reading *r, uint32_t node, int64_t min, int64_t max, int64_t *out)
{
    if (reading_null(r, node))
        return 0;
    return json_i64(r->json, node, min, max, out) == 0 ? 0 : reading_bad(r, node);
}

int reading_decimal(struct call_reading *r, uint32_t node, int64_t min, int64_t max, int64_t *out)
{
    bool exact;
    int64_t v = 0;
    if (reading_null(r, node))
        return 0;
    if (json_fixed(r->json, node, 4, &v, &exact) != 0 || v < min || v > max)
        return reading_bad(r, node);
    *out = v;
    return 0;
}

int reading_temperature(struct call_reading *r, uint32_t node)
{
    int64_t v = -1;
    int rc = reading_decimal(r, node, 0, 20000, &v);
    if (v >= 0)
        r->call->temperature_q8 = (int32_t)(v * 256 / 10000);
    return rc;
}

int reading_top_p(struct call_reading *r, uint32_t node)
{
    int64_t v;
    return reading_decimal(r, node, 0, 10000, &v);
}

int reading_bool(struct call_reading *r, uint32_t node)
{
    bool ignored;
    return reading_null(r, node) || json_bool(r->json, node, &ignored) == 0 ? 0
                                                                            : reading_bad(r, node);
}

int reading_string(struct call_reading *r, uint32_t node)
{
    return reading_null(r, node) || json_kind(r->json, node) == JSON_STRING ? 0
                                                                            : reading_bad(r, node);
}

int reading_tools(struct call_reading *r, uint32_t node)
{
    uint32_t tool;
    if (reading_null(r, node))
        return 0;
    if (json_kind(r->json, node) != JSON_ARRAY)
        return reading_bad(r, node);
    for (uint32_t at = 0; json_next_element(r->json, node, &at, &tool);) {
        if (json_kind(r->json, tool) != JSON_OBJECT)
            return reading_bad(r, tool);
        /* {"type":"function","function":{"name"}}, or the older {"name"}; a custom tool's is in
         * "custom". */
        uint32_t name = json_get(r->json, json_get(r->json, tool, STR("function")), STR("name"));
        if (name == JSON_NONE)
            name = json_get(r->json, tool, STR("name"));
        if (name == JSON_NONE)
            name = json_get(r->json, json_get(r->json, tool, STR("custom")), STR("name"));
        r->tokens_q8 += 256ULL * TOKENS_PER_TOOL + tokens_text_q8(json_raw(r->json, tool)) / 2;
        r->call->has_tools = true;
        if (r->call->tool_count < CALL_TOOLS_MAX && json_kind(r->json, name) == JSON_STRING &&
            json_text(r->json, name, r->arena, &r->call->tools[r->call->tool_count]) != 0)
            return reading_refuse(r, CALL_NO_MEMORY, JSON_NONE, NULL);
        if (json_kind(r->json, name) == JSON_STRING && r->call->tool_count < CALL_TOOLS_MAX)
            r->call->tool_count++;
    }
    return 0;
}

int reading_max_tokens(struct call_reading *r, uint32_t node)
{
    r->call->max_tokens_value = reading_span(r, node);
    int64_t v = r->call->max_tokens;
    int rc = reading_count(r, node, 1, UINT32_MAX, &v);
    r->call->max_tokens = (uint32_t)v;
    return rc;
}

int reading_top_logprobs(struct call_reading *r, uint32_t node)
{
    int64_t v = 0;
    return reading_count(r, node, 0, 20, &v);
}

int reading_format(struct call_reading *r, uint32_t node)
{
    if (reading_null(r, node))
        return 0;
    if (json_kind(r->json, node) != JSON_OBJECT)
        return reading_bad(r, node);
    uint32_t type = json_get(r->json, node, STR("type"));
    r->call->json_mode = json_string_is(r->json, type, STR("json_object")) ||
                         json_string_is(r->json, type, STR("json_schema"));
    if (r->call->json_mode)
        r->tokens_q8 += tokens_text_q8(json_raw(r->json, node)) / 2;
    return 0;
}

int reading_format_within(struct call_reading *r, uint32_t node)
{
    if (reading_null(r, node))
        return 0;
    if (json_kind(r->json, node) != JSON_OBJECT)
        return reading_bad(r, node);
    uint32_t format = json_get(r->json, node, STR("format"));
    return format == JSON_NONE ? 0 : reading_format(r, format);
}

int reading_effort(struct call_reading *r, uint32_t node)
{
    if (reading_null(r, node))
        return 0;
    if (json_kind(r->json, node) != JSON_STRING)
        return reading_bad(r, node);
    r->call->reasoning = !json_string_is(r->json, node, STR("none"));
    return 0;
}

void reading_think(struct call_reading *r, enum call_think_way way, uint32_t object,
                   uint32_t tokens)
{
    struct call_think *think = &r->call->think[way];
    int64_t count = 0;
    if (json_kind(r->json, tokens) != JSON_NUMBER || json_raw(r->json, tokens).data[0] == '-')
        return;
    if (json_i64(r->json, tokens, 0, UINT32_MAX, &count) != 0)
        count = UINT32_MAX;
    *think = (struct call_think){.value = reading_span(r, object),
                                 .tokens_value = reading_span(r, tokens),
                                 .tokens = (uint32_t)count};
}

void reading_think_reasoning(struct call_reading *r, uint32_t node)
{
    if (json_kind(r->json, json_get(r->json, node, STR("enabled"))) != JSON_FALSE)
        reading_think(r, CALL_THINK_REASONING, node, json_get(r->json, node, STR("max_tokens")));
}

int reading_user(struct call_reading *r, uint32_t node)
{
    if (reading_null(r, node))
        return 0;
    if (json_kind(r->json, node) != JSON_STRING)
        return reading_bad(r, node);
    if (json_text(r->json, node, r->arena, &r->call->user) != 0)
        return reading_refuse(r, CALL_NO_MEMORY, JSON_NONE, NULL);
    return 0;
}

/* Tiers that cost what the price says, or less. */
int reading_tier(struct call_reading *r, uint32_t node)
{
    if (!reading_null(r, node) && !json_string_is(r->json, node, STR("auto")) &&
        !json_string_is(r->json, node, STR("default")) &&
        !json_string_is(r->json, node, STR("flex")))
        r->call->price_varies = true;
    return reading_string(r, node);
}

int reading_extra(struct call_reading *r, uint32_t node)
{
    r->call->price_varies |= !reading_null(r, node);
    return 0;
}

int reading_forbidden(struct call_reading *r, uint32_t node)
{
    return reading_refuse(r, CALL_FORBIDDEN_FIELD, node, NULL);
}

/* No token is shorter than a byte of its text, and JSON is never shorter than the text it holds;
 * tools and formats are in there too. Images count by the largest number published for one. */
static uint32_t tokens_most(const struct call_reading *r, size_t body_bytes)
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

/* As find_field; as good as never. */
static const struct reading_field *find_escaped(const struct json *j, uint32_t key,
                                                const struct reading_field *fields, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (json_string_is(j, key, fields[i].name))
            return &fields[i];
    return NULL;
}

/* NULL: none of them. Names differ mostly in length or first byte; none is empty. */
static inline const struct reading_field *
find_field(const struct json *j, uint32_t key, const struct reading_field *fields, size_t count)
{
    const struct str name = json_plain(j, key);
    if (name.data == NULL)
        return find_escaped(j, key, fields, count);
    for (const struct reading_field *f = fields; f < fields + count; f++)
        if (f->name.len == name.len && f->name.data[0] == name.data[0] &&
            memcmp(f->name.data, name.data, name.len) == 0)
            return f;
    return NULL;
}

int reading_fields(struct call_reading *r, const struct reading_field *fields, size_t count)
{
    uint32_t key, value;
    int rc = 0;
    for (uint32_t at = 0; rc == 0 && json_next_member(r->json, JSON_ROOT, &at, &key, &value);) {
        const struct reading_field *field = find_field(r->json, key, fields, count);
        rc = field != NULL ? field->read(r, value) : 0;
    }
    return rc;
}

int reading_begin(struct call_reading *r, struct json *json, struct str body, struct arena *arena,
                  struct call *out_call, struct call_refusal *out_refusal)
{
    struct json_error error;
    *r = (struct call_reading){.json = json,
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
    struct call_span object = reading_span(r, JSON_ROOT);
    out_call->object_open = object.at + 1;
    out_call->object_close = object.at + object.len - 1;
    return 0;
}

/* Is what was read so plain that another text in the place of its own would change nothing but the
 * estimates? That is so of a string that is the content of the one message. */
static bool has_only_text(const struct call_reading *r)
{
    const struct call *c = r->call;
    return c->messages == 1 && c->turns == 1 &&
           json_kind(r->json, r->user_content) == JSON_STRING && r->system_content == JSON_NONE &&
           c->text_bytes == json_text_length(r->json, r->user_content) && c->images == 0 &&
           r->image_bytes == 0 && !c->has_tools && !c->sealed && c->cut_count == 0 && !c->wished &&
           !c->input_elsewhere && c->bound_to.len == 0 && c->user.len == 0 &&
           c->think[CALL_THINK_THINKING].value.len == 0 &&
           c->think[CALL_THINK_REASONING].value.len == 0;
}

int reading_sum(struct call_reading *r, struct str body)
{
    r->call->tokens_q8 = r->tokens_q8;
    r->call->tokens_in = tokens_round(r->tokens_q8 + 256ULL * TOKENS_PER_REPLY);
    r->call->tokens_most = r->call->input_elsewhere ? UINT32_MAX : tokens_most(r, body.len);
    if (!reading_take_texts(r))
        return reading_refuse(r, CALL_NO_MEMORY, JSON_NONE, NULL);
    return 0;
}

int reading_end(struct call_reading *r, struct str body)
{
    if (has_only_text(r)) {
        const struct call_span quoted = reading_span(r, r->user_content);
        r->call->only_text = (struct call_span){.at = quoted.at + 1, .len = quoted.len - 2};
    }
    return reading_sum(r, body);
}

int reading_call(struct call_reading *r, struct json *json, struct str body, struct arena *arena,
                 struct call *out_call, struct call_refusal *out_refusal,
                 const struct reading_field *fields, size_t count, const char *input)
{
    int rc = reading_begin(r, json, body, arena, out_call, out_refusal);
    if (rc == 0)
        rc = reading_fields(r, fields, count);
    if (rc == 0)
        rc = reading_need_model(r);
    if (rc != 0)
        return rc;
    if (out_call->messages == 0 && !out_call->input_elsewhere)
        return reading_missing(r, input);
    return reading_end(r, body);
}
