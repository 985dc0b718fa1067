/* A caller's Messages body: its fields checked and summed up, and where it changes on the way up.
 * What is not in the table passes as it is: the dialect grows by fields that come with a beta
 * header, and neither may be lost without the other. */
#include "dataplane/llm/anthropic_internal.h"

enum { USUAL_EDITS = 2 + CALL_THINKS };
_Static_assert(EDIT_PIECES(USUAL_EDITS) <= PROVIDER_REQUEST_PIECES_MAX, "a body with its edits");

static int read_top_k(struct call_reading *r, uint32_t node)
{
    int64_t v = 0;
    return reading_count(r, node, 0, INT32_MAX, &v);
}

static int read_stops(struct call_reading *r, uint32_t node)
{
    uint32_t stop;
    if (reading_null(r, node))
        return 0;
    if (json_kind(r->json, node) != JSON_ARRAY)
        return reading_bad(r, node);
    for (uint32_t at = 0; json_next_element(r->json, node, &at, &stop);)
        if (json_kind(r->json, stop) != JSON_STRING)
            return reading_bad(r, stop);
    return 0;
}

/* Tools that the provider runs, and bills beside the tokens. */
static bool is_billed_apart(const struct json *j, uint32_t type)
{
    static const struct str prefixes[] = {{"web_search", 10}, {"code_execution", 14}};
    char head[16];
    size_t len = json_text_head(j, type, sizeof head, head);
    for (size_t i = 0; i < sizeof prefixes / sizeof prefixes[0]; i++)
        if (str_starts((struct str){head, len}, prefixes[i]))
            return true;
    return false;
}

static int read_tools(struct call_reading *r, uint32_t node)
{
    uint32_t tool;
    for (uint32_t at = 0; json_next_element(r->json, node, &at, &tool);)
        r->call->price_varies |= is_billed_apart(r->json, json_get(r->json, tool, STR("type")));
    return reading_tools(r, node);
}

/* {"type": "enabled" | "adaptive" | "between_tools" | "disabled", ...} */
static int read_thinking(struct call_reading *r, uint32_t node)
{
    if (reading_null(r, node))
        return 0;
    uint32_t type = json_get(r->json, node, STR("type"));
    if (json_kind(r->json, type) != JSON_STRING)
        return reading_bad(r, type == JSON_NONE ? node : type);
    r->call->reasoning = !json_string_is(r->json, type, STR("disabled"));
    if (json_string_is(r->json, type, STR("enabled")))
        reading_think(r, CALL_THINK_THINKING, node, json_get(r->json, node, STR("budget_tokens")));
    return 0;
}

static int read_metadata(struct call_reading *r, uint32_t node)
{
    if (reading_null(r, node))
        return 0;
    if (json_kind(r->json, node) != JSON_OBJECT)
        return reading_bad(r, node);
    uint32_t user = json_get(r->json, node, STR("user_id"));
    return user == JSON_NONE ? 0 : reading_user(r, user);
}

/* Values that cost what the price says. */
static int read_priced(struct call_reading *r, uint32_t node, struct str a, struct str b)
{
    if (!reading_null(r, node) && !json_string_is(r->json, node, a) &&
        !json_string_is(r->json, node, b))
        r->call->price_varies = true;
    return reading_string(r, node);
}

static int read_tier(struct call_reading *r, uint32_t node)
{
    return read_priced(r, node, STR("auto"), STR("standard_only"));
}

static int read_speed(struct call_reading *r, uint32_t node)
{
    return read_priced(r, node, STR("standard"), STR("standard"));
}

static int read_geo(struct call_reading *r, uint32_t node)
{
    return read_priced(r, node, STR("global"), STR("not_available"));
}

static const struct reading_field fields[] = {
    READING_FIELD("model", reading_model),
    READING_FIELD("messages", anthropic_read_messages),
    READING_FIELD("system", anthropic_read_system),
    READING_FIELD("max_tokens", reading_max_tokens),
    READING_FIELD("stream", reading_stream),
    READING_FIELD("tools", read_tools),
    READING_FIELD("thinking", read_thinking),
    READING_FIELD("output_config", reading_format_within),
    READING_FIELD("output_format", reading_format), /* As it was called in beta. */
    READING_FIELD("metadata", read_metadata),
    READING_FIELD("temperature", reading_temperature),
    READING_FIELD("top_p", reading_top_p),
    READING_FIELD("top_k", read_top_k),
    READING_FIELD("stop_sequences", read_stops),
    READING_FIELD("service_tier", read_tier),
    READING_FIELD("speed", read_speed),
    READING_FIELD("inference_geo", read_geo),
    READING_WISHES,
    READING_FORBIDDEN,
};

int anthropic_read_count(struct json *json, struct str body, struct arena *arena,
                         struct call *out_call, struct call_refusal *out_refusal)
{
    struct call_reading r;
    return reading_call(&r, json, body, arena, out_call, out_refusal, fields,
                        sizeof fields / sizeof fields[0], "messages");
}

int anthropic_read_call(struct json *json, struct str body, struct arena *arena,
                        struct call *out_call, struct call_refusal *out_refusal)
{
    int rc = anthropic_read_count(json, body, arena, out_call, out_refusal);
    if (rc == 0 && out_call->max_tokens == 0) {
        *out_refusal = (struct call_refusal){
            .defect = CALL_MISSING_FIELD, .offset = -1, .param = STR("max_tokens")};
        return ERR_INVALID;
    }
    out_call->include_usage = true; /* Always there in this dialect. */
    return rc;
}

/* Where the address says the model (Vertex AI) the body says the version in its place, which other
 * hosts are told in a field. */
static void edit_model_away(const struct call *call, struct str body, struct edit *e)
{
    const struct str member = STR("\"anthropic_version\":\"" ANTHROPIC_VERTEX_VERSION "\"");
    uint32_t end = call->model_value.at + call->model_value.len, at = call->model_value.at;
    if (call->model_value.len == 0) {
        *e = (struct edit){.at = call->object_open,
                           .put = STR("\"anthropic_version\":\"" ANTHROPIC_VERTEX_VERSION "\",")};
        return;
    }
    while (body.data[--at] != ':') {
    }
    for (unsigned quotes = 0; quotes < 2;) /* Of the key: however it is escaped, it holds none. */
        quotes += body.data[--at] == '"';
    *e = (struct edit){.at = at, .cut = end - at, .put = member};
}

/* The model's name, and the most output, with what it leaves for reasoning: unless that is off
 * already (thinking_off). At most USUAL_EDITS. */
static int usual_edits(const struct call *call, struct str body, struct str upstream_model,
                       bool thinking_off, struct arena *arena, struct edit *edits, size_t *io_count)
{
    int rc = 0;
    if (upstream_model.len == 0)
        edit_model_away(call, body, &edits[(*io_count)++]);
    else if (edit_renames(call, upstream_model))
        rc = edit_model(call, upstream_model, arena, &edits[(*io_count)++]);
    if (rc != 0 || call->clamp_out == 0)
        return rc;
    rc = edit_number(call->clamp_out, &call->max_tokens_value, arena, &edits[(*io_count)++]);
    return rc == 0 && !thinking_off ? edit_think(call, arena, edits, io_count) : rc;
}

/* The pieces as one. */
static int join(const struct str *pieces, size_t count, struct arena *arena, struct str *out)
{
    size_t len = 0;
    for (size_t i = 0; i < count; i++)
        len += pieces[i].len;
    char *data = arena_alloc(arena, len + 1);
    if (data == NULL)
        return ERR_NOMEM;
    struct buf b = {.data = data, .cap = len + 1, .max = len + 1};
    for (size_t i = 0; i < count; i++)
        if (buf_append_str(&b, pieces[i]) != 0)
            return ERR_TOO_LARGE;
    *out = buf_str(&b);
    return 0;
}

/* As many edits as there are seals: more than there may be pieces, so that they are joined. The
 * parse that found the body good is gone by now. */
static int write_unsealed(const struct call *call, struct str body, struct str upstream_model,
                          struct arena *arena, struct str *out)
{
    struct json json;
    struct anthropic_seals seals = {.room = 0};
    json_init(&json, JSON_NODES_MAX);
    int rc = json_parse(&json, body, NULL);
    if (rc != 0)
        goto out;
    anthropic_edit_seals(&json, &seals);
    seals.room = seals.count;
    seals.edits = arena_zalloc(arena, seals.count + USUAL_EDITS, sizeof *seals.edits);
    struct str *pieces =
        arena_zalloc(arena, EDIT_PIECES(seals.count + USUAL_EDITS), sizeof *pieces);
    if (seals.edits == NULL || pieces == NULL) {
        rc = ERR_NOMEM;
        goto out;
    }
    anthropic_edit_seals(&json, &seals);
    size_t count = seals.count;
    rc = usual_edits(call, body, upstream_model, seals.thinking_off, arena, seals.edits, &count);
    if (rc == 0)
        rc = join(pieces, edit_apply(body, seals.edits, count, pieces), arena, out);
out:
    json_deinit(&json);
    return rc;
}

int anthropic_write_call(const struct call *call, struct str body, struct str upstream_model,
                         struct arena *arena, struct str *out_pieces, size_t *out_count)
{
    struct edit edits[USUAL_EDITS];
    size_t count = 0;
    if (call->sealed) {
        *out_count = 1;
        return write_unsealed(call, body, upstream_model, arena, &out_pieces[0]);
    }
    int rc = usual_edits(call, body, upstream_model, false, arena, edits, &count);
    if (rc == 0)
        *out_count = edit_apply(body, edits, count, out_pieces);
    return rc;
}
