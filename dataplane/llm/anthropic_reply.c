/* What a Messages provider answers, whole or as events: noted, and passed on but for the model's
 * name. An event is told by the "type" of its data; the name in the event line says the same. */
#include "dataplane/llm/anthropic.h"

#include "dataplane/llm/edit.h"
#include "dataplane/llm/reply.h"
#include "dataplane/llm/tokens.h"

enum call_finish anthropic_finish_of(struct str reason)
{
    static const struct {
        struct str name;
        enum call_finish finish;
    } names[] = {
        {{"end_turn", 8}, CALL_FINISH_STOP},
        {{"stop_sequence", 13}, CALL_FINISH_STOP},
        {{"pause_turn", 10}, CALL_FINISH_STOP},
        {{"max_tokens", 10}, CALL_FINISH_LENGTH},
        {{"model_context_window_exceeded", 29}, CALL_FINISH_LENGTH},
        {{"tool_use", 8}, CALL_FINISH_TOOL_CALLS},
        {{"refusal", 7}, CALL_FINISH_CONTENT_FILTER},
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (str_eq(reason, names[i].name))
            return names[i].finish;
    return CALL_FINISH_OTHER;
}

static void note_finish(struct provider_reply *reply, const struct json *j, uint32_t node)
{
    char name[32];
    if (json_kind(j, node) == JSON_STRING) {
        size_t len = json_text_head(j, node, sizeof name, name);
        reply->finish = anthropic_finish_of((struct str){name, len});
    }
}

/* One count of a usage object; what it does not say stays. */
static bool take(const struct json *j, uint32_t object, struct str key, uint64_t *io, bool *suspect)
{
    int64_t v = 0;
    uint32_t node = json_get(j, object, key);
    if (node == JSON_NONE || json_kind(j, node) == JSON_NULL)
        return false;
    if (json_i64(j, node, 0, INT64_C(1) << 40, &v) != 0)
        *suspect = true;
    *io = (uint64_t)v;
    return true;
}

void anthropic_note_usage(struct call_usage *u, const struct json *j, uint32_t node, bool final)
{
    if (json_kind(j, node) != JSON_OBJECT)
        return;
    /* input_tokens leaves out what was read from or written to the cache. */
    uint64_t input = u->tokens_in - u->tokens_cached - u->tokens_cache_write;
    (void)take(j, node, STR("input_tokens"), &input, &u->suspect);
    (void)take(j, node, STR("cache_read_input_tokens"), &u->tokens_cached, &u->suspect);
    (void)take(j, node, STR("cache_creation_input_tokens"), &u->tokens_cache_write, &u->suspect);
    uint64_t hour = u->tokens_cache_write_1h;
    uint32_t kept = json_get(j, node, STR("cache_creation"));
    (void)take(j, kept, STR("ephemeral_1h_input_tokens"), &hour, &u->suspect);
    u->tokens_cache_write_1h = hour < UINT32_MAX ? (uint32_t)hour : UINT32_MAX;
    uint32_t details = json_get(j, node, STR("output_tokens_details"));
    (void)take(j, details, STR("thinking_tokens"), &u->tokens_reasoning, &u->suspect);
    bool out = take(j, node, STR("output_tokens"), &u->tokens_out, &u->suspect);
    u->tokens_in = input + u->tokens_cached + u->tokens_cache_write;
    u->known |= final && out;
}

/* Text that a caller would read. */
static bool has_text(struct provider_reply *reply, const struct json *j, uint32_t node)
{
    struct str raw = json_raw(j, node);
    if (json_kind(j, node) != JSON_STRING || raw.len <= 2)
        return false;
    reply->text_q8 += tokens_text_q8(str_slice(raw, 1, raw.len - 1));
    reply->content_bytes += json_text_length(j, node);
    return true;
}

/* A block as it begins, or whole. */
static bool has_block(struct provider_reply *reply, const struct json *j, uint32_t block)
{
    uint32_t type = json_get(j, block, STR("type"));
    if (json_string_is(j, type, STR("text")))
        return has_text(reply, j, json_get(j, block, STR("text")));
    if (json_string_is(j, type, STR("thinking")))
        return has_text(reply, j, json_get(j, block, STR("thinking")));
    if (json_string_is(j, type, STR("tool_use"))) {
        uint32_t input = json_get(j, block, STR("input"));
        (void)has_text(reply, j, json_get(j, block, STR("name")));
        if (json_count(j, input) > 0) {
            reply->text_q8 += tokens_text_q8(json_raw(j, input));
            reply->content_bytes += json_raw(j, input).len;
        }
    }
    return json_kind(j, type) == JSON_STRING; /* Of any other type too: it is something. */
}

static bool has_delta(struct provider_reply *reply, const struct json *j, uint32_t delta)
{
    uint32_t type = json_get(j, delta, STR("type"));
    if (json_string_is(j, type, STR("text_delta")))
        return has_text(reply, j, json_get(j, delta, STR("text")));
    if (json_string_is(j, type, STR("thinking_delta")))
        return has_text(reply, j, json_get(j, delta, STR("thinking")));
    if (json_string_is(j, type, STR("input_json_delta")))
        return has_text(reply, j, json_get(j, delta, STR("partial_json")));
    return json_kind(j, type) == JSON_STRING; /* Signatures, citations. */
}

enum event_type {
    EVENT_MESSAGE_START,
    EVENT_BLOCK_START,
    EVENT_BLOCK_DELTA,
    EVENT_BLOCK_STOP,
    EVENT_MESSAGE_DELTA,
    EVENT_MESSAGE_STOP,
    EVENT_PING,
    EVENT_ERROR,
    EVENT_OTHER, /* Of a later version: passes. */
};

static enum event_type type_of(const struct json *j)
{
    /* The most frequent first. */
    static const struct {
        struct str name;
        enum event_type type;
    } types[] = {
        {{"content_block_delta", 19}, EVENT_BLOCK_DELTA},
        {{"content_block_start", 19}, EVENT_BLOCK_START},
        {{"content_block_stop", 18}, EVENT_BLOCK_STOP},
        {{"ping", 4}, EVENT_PING},
        {{"message_start", 13}, EVENT_MESSAGE_START},
        {{"message_delta", 13}, EVENT_MESSAGE_DELTA},
        {{"message_stop", 12}, EVENT_MESSAGE_STOP},
        {{"error", 5}, EVENT_ERROR},
    };
    uint32_t node = json_get(j, JSON_ROOT, STR("type"));
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        if (json_string_is(j, node, types[i].name))
            return types[i].type;
    return EVENT_OTHER;
}

/* Notes what the event says. *out_edited: the object whose model and usage are rewritten, or
 * JSON_NONE. */
static enum provider_event note_event(struct provider_reply *reply, const struct json *j,
                                      uint32_t *out_edited)
{
    uint32_t node;
    bool content = false;
    *out_edited = JSON_NONE;
    if (json_kind(j, json_get(j, JSON_ROOT, STR("type"))) != JSON_STRING)
        return json_get(j, JSON_ROOT, STR("error")) != JSON_NONE ? PROVIDER_ERROR : PROVIDER_BAD;
    switch (type_of(j)) {
    case EVENT_MESSAGE_START:
        node = json_get(j, JSON_ROOT, STR("message"));
        if (json_kind(j, node) != JSON_OBJECT)
            return PROVIDER_BAD;
        anthropic_note_usage(&reply->usage, j, json_get(j, node, STR("usage")), false);
        reply_note_model(reply, j, node);
        *out_edited = node;
        return PROVIDER_OPEN;
    case EVENT_BLOCK_START:
        content = has_block(reply, j, json_get(j, JSON_ROOT, STR("content_block")));
        return content ? PROVIDER_CONTENT : PROVIDER_OPEN;
    case EVENT_BLOCK_DELTA:
        content = has_delta(reply, j, json_get(j, JSON_ROOT, STR("delta")));
        return content ? PROVIDER_CONTENT : PROVIDER_OPEN;
    case EVENT_MESSAGE_DELTA:
        node = json_get(j, json_get(j, JSON_ROOT, STR("delta")), STR("stop_reason"));
        note_finish(reply, j, node);
        anthropic_note_usage(&reply->usage, j, json_get(j, JSON_ROOT, STR("usage")), true);
        *out_edited = JSON_ROOT;
        return json_kind(j, node) == JSON_STRING ? PROVIDER_CONTENT : PROVIDER_OPEN;
    case EVENT_MESSAGE_STOP:
        return PROVIDER_DONE;
    case EVENT_ERROR:
        return PROVIDER_ERROR;
    case EVENT_BLOCK_STOP:
    case EVENT_PING:
    case EVENT_OTHER:
        break;
    }
    return PROVIDER_OPEN;
}

/* The event's bytes, changed where they must be. The model of message_start stands in `message`;
 * its usage is an estimate, and no place for what the caller wants to find in the last one. */
static int write_event(const struct json *j, const struct provider_reply *reply, uint32_t edited,
                       const struct sse_event *event, const struct provider_rewrite *rewrite,
                       struct provider_out *out)
{
    struct edit_reply e = {.count = 0};
    struct provider_rewrite shown = *rewrite;
    if (edited == JSON_NONE)
        return provider_out_add(out, event->raw);
    if (edited != JSON_ROOT)
        shown.usage_member = NULL;
    int rc = edit_reply_note(&e, j, edited, &shown, &reply->usage);
    return rc == 0 ? edit_event(event, &e, out) : rc;
}

int anthropic_read_event(struct json *json, struct provider_reply *reply,
                         const struct sse_event *event, const struct provider_rewrite *rewrite,
                         struct provider_out *out, enum provider_event *out_kind)
{
    uint32_t edited;
    *out_kind = PROVIDER_SILENT;
    if (!event->has_data) /* A comment is a sign of life, and is handed on. */
        return event->has_comment ? provider_out_add(out, event->raw) : 0;
    reply->anything = true;
    int rc = json_parse(json, event->data, NULL);
    if (rc == ERR_NOMEM)
        return rc;
    *out_kind = rc == 0 ? note_event(reply, json, &edited) : PROVIDER_BAD;
    switch (*out_kind) {
    case PROVIDER_CONTENT:
        reply->content = true;
        return write_event(json, reply, edited, event, rewrite, out);
    case PROVIDER_OPEN:
        return write_event(json, reply, edited, event, rewrite, out);
    case PROVIDER_DONE:
        reply->done = true;
        return buf_append_str(&reply->end, event->raw);
    case PROVIDER_SILENT:
    case PROVIDER_USAGE:
    case PROVIDER_ERROR:
    case PROVIDER_BAD:
        break;
    }
    return 0;
}

_Static_assert(EDIT_PIECES(3) <= PROVIDER_REPLY_PIECES_MAX, "a model, a usage member, a comma");

int anthropic_read_reply(struct json *json, struct provider_reply *reply, struct str body,
                         const struct provider_rewrite *rewrite, struct arena *arena,
                         struct str *out_pieces, size_t *out_count)
{
    uint32_t block;
    int rc = json_parse(json, body, NULL);
    if (rc != 0)
        return rc == ERR_NOMEM ? rc : ERR_PROTOCOL;
    uint32_t content = json_get(json, JSON_ROOT, STR("content"));
    if (!json_string_is(json, json_get(json, JSON_ROOT, STR("type")), STR("message")) ||
        json_kind(json, content) != JSON_ARRAY)
        return ERR_PROTOCOL;
    for (uint32_t at = 0; json_next_element(json, content, &at, &block);)
        reply->content |= has_block(reply, json, block);
    note_finish(reply, json, json_get(json, JSON_ROOT, STR("stop_reason")));
    reply_note_model(reply, json, JSON_ROOT);
    anthropic_note_usage(&reply->usage, json, json_get(json, JSON_ROOT, STR("usage")), true);
    rc = edit_reply_apply(json, body, rewrite, &reply->usage, arena, out_pieces, out_count);
    reply->done = rc == 0;
    return rc;
}

const struct provider_adapter provider_anthropic = {
    .dialect = DIALECT_ANTHROPIC,
    .chat_path = {.data = "/v1/messages", .len = 12},
    .read_call = anthropic_read_call,
    .write_call = anthropic_write_call,
    .read_event = anthropic_read_event,
    .read_like = anthropic_read_like,
    .read_reply = anthropic_read_reply,
    .end_mark = {.data = "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n", .len = 51},
    .keepalive = {.data = "event: ping\ndata: {\"type\": \"ping\"}\n\n", .len = 36},
};
