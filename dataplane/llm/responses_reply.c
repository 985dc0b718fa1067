/* What a provider of the Responses dialect answers, whole or as events. */
#include <string.h>

#include "common/base/mem.h"
#include "dataplane/llm/edit.h"
#include "dataplane/llm/reply.h"
#include "dataplane/llm/responses.h"

struct call_usage responses_read_usage(const struct json *j, uint32_t node)
{
    if (json_kind(j, node) != JSON_OBJECT || json_get(j, node, STR("input_tokens")) == JSON_NONE ||
        json_get(j, node, STR("output_tokens")) == JSON_NONE)
        return (struct call_usage){0};
    struct call_usage u = {.known = true};
    uint32_t in = json_get(j, node, STR("input_tokens_details"));
    uint32_t out = json_get(j, node, STR("output_tokens_details"));
    u.tokens_in = reply_count(j, node, STR("input_tokens"), &u);
    u.tokens_out = reply_count(j, node, STR("output_tokens"), &u);
    u.tokens_cached = reply_count(j, in, STR("cached_tokens"), &u);
    u.tokens_cache_write = reply_count(j, in, STR("cache_write_tokens"), &u);
    u.tokens_reasoning = reply_count(j, out, STR("reasoning_tokens"), &u);
    return u;
}

static void note_usage(struct provider_reply *reply, const struct json *j, uint32_t node)
{
    struct call_usage u = responses_read_usage(j, node);
    if (u.known)
        reply->usage = u;
}

static bool is_call(const struct json *j, uint32_t item)
{
    uint32_t type = json_get(j, item, STR("type"));
    return json_string_is(j, type, STR("function_call")) ||
           json_string_is(j, type, STR("custom_tool_call"));
}

static enum call_finish incomplete_for(const struct json *j, uint32_t response)
{
    uint32_t reason = json_get(j, json_get(j, response, STR("incomplete_details")), STR("reason"));
    if (json_string_is(j, reason, STR("max_output_tokens")))
        return CALL_FINISH_LENGTH;
    return json_string_is(j, reason, STR("content_filter")) ? CALL_FINISH_CONTENT_FILTER
                                                            : CALL_FINISH_OTHER;
}

enum call_finish responses_read_finish(const struct json *j, uint32_t response)
{
    uint32_t item, output = json_get(j, response, STR("output"));
    if (json_string_is(j, json_get(j, response, STR("status")), STR("incomplete")))
        return incomplete_for(j, response);
    for (uint32_t at = 0; json_next_element(j, output, &at, &item);)
        if (is_call(j, item))
            return CALL_FINISH_TOOL_CALLS;
    return CALL_FINISH_STOP;
}

/* ---- events ---- */

/* Which event it is; what is not named here is recognised by how its name ends. */
enum kind { KIND_OTHER, KIND_OPEN, KIND_ITEM, KIND_DELTA, KIND_TEXT_DONE, KIND_END, KIND_ERROR };

static enum kind kind_of(struct str type)
{
    static const struct {
        struct str name;
        enum kind kind;
    } names[] = {
        {{"response.created", 16}, KIND_OPEN},
        {{"response.in_progress", 20}, KIND_OPEN},
        {{"response.queued", 15}, KIND_OPEN},
        {{"response.output_item.added", 26}, KIND_ITEM},
        {{"response.output_text.done", 25}, KIND_TEXT_DONE},
        {{"response.completed", 18}, KIND_END},
        {{"response.incomplete", 19}, KIND_END},
        {{"response.failed", 15}, KIND_ERROR},
        {{"error", 5}, KIND_ERROR},
    };
    if (str_ends(type, STR(".delta")) || str_ends(type, STR(".partial_image")))
        return KIND_DELTA;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (str_eq(type, names[i].name))
            return names[i].kind;
    return KIND_OTHER;
}

/* A message and reasoning begin empty; of all else the beginning says something. */
static bool item_says_something(struct provider_reply *reply, const struct json *j)
{
    uint32_t item = json_get(j, JSON_ROOT, STR("item"));
    uint32_t type = json_get(j, item, STR("type"));
    if (json_kind(j, type) != JSON_STRING || json_string_is(j, type, STR("message")) ||
        json_string_is(j, type, STR("reasoning")))
        return false;
    if (is_call(j, item))
        (void)reply_text(reply, j, json_get(j, item, STR("name")));
    return true;
}

static bool has_content(struct provider_reply *reply, const struct json *j, enum kind kind)
{
    switch (kind) {
    case KIND_ITEM:
        return item_says_something(reply, j);
    case KIND_DELTA:
        return reply_text(reply, j, json_get(j, JSON_ROOT, STR("delta"))) ||
               json_get(j, JSON_ROOT, STR("partial_image_b64")) != JSON_NONE;
    case KIND_TEXT_DONE: /* Of a host that sends no pieces. */
        return !reply->content && reply_text(reply, j, json_get(j, JSON_ROOT, STR("text")));
    case KIND_OTHER:
    case KIND_OPEN:
    case KIND_END:
    case KIND_ERROR:
        break;
    }
    return false;
}

static int note_seen(struct provider_reply *reply, const struct json *j, uint32_t response)
{
    int64_t v;
    if (reply->responses == NULL)
        reply->responses = mem_zalloc(sizeof *reply->responses);
    struct responses_seen *seen = reply->responses;
    if (seen == NULL)
        return ERR_NOMEM;
    struct str id = json_plain(j, json_get(j, response, STR("id")));
    if (json_i64(j, json_get(j, JSON_ROOT, STR("sequence_number")), 0, INT32_MAX, &v) == 0)
        seen->next = (uint64_t)v + 1;
    else
        seen->next++; /* Some hosts do not number them. */
    if (json_i64(j, json_get(j, response, STR("created_at")), 0, INT64_C(1) << 40, &v) == 0)
        seen->created_s = v;
    if (id.len > 0 && id.len <= sizeof seen->id) {
        memcpy(seen->id, id.data, id.len);
        seen->id_len = (uint8_t)id.len;
    }
    return 0;
}

/* The last event of a good stream is kept back. */
static int end_stream(struct json *json, struct provider_reply *reply,
                      const struct sse_event *event, struct edit_reply *edits,
                      enum provider_event *out_kind)
{
    int rc = edit_append_event(event, edits, &reply->end);
    if (rc != 0)
        return rc;
    reply->finish = responses_read_finish(json, json_get(json, JSON_ROOT, STR("response")));
    reply->done = true;
    *out_kind = reply->content ? PROVIDER_DONE : PROVIDER_CONTENT;
    reply->content = true;
    return 0;
}

static int read_parsed(struct json *json, struct provider_reply *reply,
                       const struct sse_event *event, const struct provider_rewrite *rewrite,
                       struct provider_out *out, enum provider_event *out_kind)
{
    struct edit_reply edits;
    uint32_t response = json_get(json, JSON_ROOT, STR("response"));
    struct str type = json_plain(json, json_get(json, JSON_ROOT, STR("type")));
    if (json_kind(json, JSON_ROOT) != JSON_OBJECT)
        return 0;
    enum kind kind = kind_of(type.data != NULL ? type : event->name);
    bool fault = json_kind(json, json_get(json, JSON_ROOT, STR("error"))) == JSON_OBJECT;
    if (type.data == NULL && !fault)
        return 0;
    int rc = note_seen(reply, json, response);
    if (rc != 0)
        return rc;
    note_usage(reply, json, json_get(json, response, STR("usage")));
    reply_note_model(reply, json, response);
    if (kind == KIND_ERROR || fault) {
        *out_kind = PROVIDER_ERROR;
        return 0;
    }
    if (kind == KIND_END && json_kind(json, response) != JSON_OBJECT)
        return 0;
    rc = edit_reply_note(&edits, json, response, rewrite, &reply->usage);
    if (rc != 0)
        return rc;
    if (kind == KIND_END)
        return end_stream(json, reply, event, &edits, out_kind);
    bool content = has_content(reply, json, kind);
    reply->content |= content;
    *out_kind = content ? PROVIDER_CONTENT : PROVIDER_OPEN;
    return edit_event(event, &edits, out);
}

int responses_read_event(struct json *json, struct provider_reply *reply,
                         const struct sse_event *event, const struct provider_rewrite *rewrite,
                         struct provider_out *out, enum provider_event *out_kind)
{
    *out_kind = PROVIDER_SILENT;
    /* Some hosts send the end mark of the other dialect, too; it says nothing here. */
    if (!event->has_data || str_eq(str_trim(event->data), STR("[DONE]")))
        return 0;
    reply->anything = true;
    int rc = json_parse(json, event->data, NULL);
    *out_kind = PROVIDER_BAD;
    if (rc != 0)
        return rc == ERR_NOMEM ? rc : 0;
    return read_parsed(json, reply, event, rewrite, out, out_kind);
}

/* ---- whole replies ---- */

static void note_item(struct provider_reply *reply, const struct json *j, uint32_t item)
{
    static const struct str lists[] = {{"content", 7}, {"summary", 7}};
    static const struct str texts[] = {{"name", 4}, {"arguments", 9}, {"input", 5}};
    uint32_t part;
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        uint32_t list = json_get(j, item, lists[i]);
        for (uint32_t at = 0; json_next_element(j, list, &at, &part);) {
            (void)reply_text(reply, j, json_get(j, part, STR("text")));
            (void)reply_text(reply, j, json_get(j, part, STR("refusal")));
        }
    }
    for (size_t i = 0; is_call(j, item) && i < sizeof texts / sizeof texts[0]; i++)
        (void)reply_text(reply, j, json_get(j, item, texts[i]));
}

int responses_read_reply(struct json *json, struct provider_reply *reply, struct str body,
                         const struct provider_rewrite *rewrite, struct arena *arena,
                         struct str *out_pieces, size_t *out_count)
{
    uint32_t item;
    int rc = json_parse(json, body, NULL);
    if (rc != 0)
        return rc == ERR_NOMEM ? rc : ERR_PROTOCOL;
    uint32_t output = json_get(json, JSON_ROOT, STR("output"));
    uint32_t status = json_get(json, JSON_ROOT, STR("status"));
    if (json_kind(json, output) != JSON_ARRAY ||
        json_kind(json, json_get(json, JSON_ROOT, STR("error"))) == JSON_OBJECT ||
        json_string_is(json, status, STR("failed")))
        return ERR_PROTOCOL;
    for (uint32_t at = 0; json_next_element(json, output, &at, &item);)
        note_item(reply, json, item);
    reply->content |= json_count(json, output) > 0;
    reply->finish = responses_read_finish(json, JSON_ROOT);
    note_usage(reply, json, json_get(json, JSON_ROOT, STR("usage")));
    reply_note_model(reply, json, JSON_ROOT);
    rc = edit_reply_apply(json, body, rewrite, &reply->usage, arena, out_pieces, out_count);
    reply->done = rc == 0;
    return rc;
}

_Static_assert(EDIT_PIECES(3) <= PROVIDER_REPLY_PIECES_MAX, "a reply with its edits fits");

const struct provider_adapter provider_responses = {
    .dialect = DIALECT_RESPONSES,
    .chat_path = {.data = "/responses", .len = 10},
    .event_bytes_max = RESPONSES_EVENT_BYTES_MAX,
    .read_call = responses_read_call,
    .write_call = responses_write_call,
    .read_event = responses_read_event,
    .read_reply = responses_read_reply,
    .keepalive = {.data = ": keepalive\n\n", .len = 13},
};
