/* What a host of the Responses dialect answers, as typed events or whole, in neutral events. Items
 * that no function of ours asked for (of hosted tools) have no counterpart and are left out. */
#include <string.h>

#include "dataplane/llm/responses.h"
#include "dataplane/translate/replying.h"
#include "dataplane/translate/responses_ask.h"

#define CALLS_MAX 128U

struct call_place {
    uint32_t output_index;
    bool filled; /* Some of its arguments came. */
    bool ended;
};

struct frames {
    struct tr_replying r;
    bool started;
    bool ended;
    bool said;        /* Something of the output was. */
    bool text_came;   /* Pieces of the text, refusal ... */
    bool reason_came; /* ... or reasoning that is open. */
    bool joined;      /* A part of the summary is to be set off from the one before. */
    uint32_t call_count;
    struct call_place calls[CALLS_MAX];
};

static int put(struct frames *f, struct tr_event event)
{
    return tr_reply_put(&f->r, &event);
}

static uint32_t member(const struct frames *f, uint32_t object, struct str key)
{
    return json_get(f->r.json, object, key);
}

static bool is_type(const struct frames *f, uint32_t item, struct str type)
{
    return json_string_is(f->r.json, member(f, item, STR("type")), type);
}

static bool is_call(const struct frames *f, uint32_t item)
{
    return is_type(f, item, STR("function_call")) || is_type(f, item, STR("custom_tool_call"));
}

static int put_text(struct frames *f, enum tr_event_kind kind, uint32_t node, bool *io_came)
{
    if (json_text_length(f->r.json, node) == 0)
        return 0;
    *io_came = f->said = true;
    return tr_reply_put_text(&f->r, node, (struct tr_event){.kind = kind});
}

/* ---- calls ---- */

static uint32_t output_index(const struct frames *f)
{
    int64_t v = 0;
    (void)!json_i64(f->r.json, member(f, JSON_ROOT, STR("output_index")), 0, UINT32_MAX, &v);
    return (uint32_t)v;
}

static uint32_t find_call(const struct frames *f, uint32_t index)
{
    uint32_t at = f->call_count;
    while (at > 0 && f->calls[at - 1].output_index != index)
        at--;
    return at - 1; /* UINT32_MAX: no such one. */
}

static int put_call(struct frames *f, uint32_t item, uint32_t index)
{
    struct tr_event event = {.kind = TR_EVENT_CALL, .call_index = f->call_count};
    if (f->call_count == CALLS_MAX)
        return ERR_TOO_LARGE;
    f->calls[f->call_count++] = (struct call_place){.output_index = index};
    f->said = true;
    int rc = tr_reply_text(&f->r, member(f, item, STR("call_id")), &event.call.id);
    if (rc == 0)
        rc = tr_reply_text(&f->r, member(f, item, STR("name")), &event.call.name);
    event.call.custom = is_type(f, item, STR("custom_tool_call"));
    return rc == 0 ? put(f, event) : rc;
}

static int put_arguments(struct frames *f, uint32_t call, uint32_t node)
{
    if (json_text_length(f->r.json, node) == 0)
        return 0;
    f->calls[call].filled = true;
    return tr_reply_put_text(&f->r, node,
                             (struct tr_event){.kind = TR_EVENT_ARGUMENTS, .call_index = call});
}

/* An item of a call, whole: what its pieces did not say. */
static int end_call(struct frames *f, uint32_t item, uint32_t index)
{
    uint32_t call = find_call(f, index);
    int rc = 0;
    if (call == UINT32_MAX) {
        rc = put_call(f, item, index);
        call = f->call_count - 1;
    }
    if (rc == 0 && !f->calls[call].filled)
        rc = put_arguments(
            f, call,
            member(f, item,
                   is_type(f, item, STR("custom_tool_call")) ? STR("input") : STR("arguments")));
    if (rc != 0 || f->calls[call].ended)
        return rc;
    f->calls[call].ended = true;
    return put(f, (struct tr_event){.kind = TR_EVENT_PART_END, .call_index = call});
}

/* ---- messages and reasoning, whole ---- */

static int end_message(struct frames *f, uint32_t item)
{
    uint32_t part, content = member(f, item, STR("content"));
    bool came = f->text_came;
    int rc = 0;
    for (uint32_t at = 0; rc == 0 && !came && json_next_element(f->r.json, content, &at, &part);) {
        rc = put_text(f, TR_EVENT_TEXT, member(f, part, STR("text")), &f->text_came);
        if (rc == 0)
            rc = put_text(f, TR_EVENT_REFUSAL, member(f, part, STR("refusal")), &f->text_came);
    }
    bool any = f->text_came;
    f->text_came = false;
    return rc == 0 && any ? put(f, (struct tr_event){.kind = TR_EVENT_PART_END}) : rc;
}

/* Its summary, and its own words if that has none. */
static int put_reasons(struct frames *f, uint32_t item)
{
    const uint32_t lists[] = {member(f, item, STR("summary")), member(f, item, STR("content"))};
    uint32_t part;
    int rc = 0;
    for (size_t i = 0; i < 2 && rc == 0 && !f->reason_came; i++)
        for (uint32_t at = 0; rc == 0 && json_next_element(f->r.json, lists[i], &at, &part);) {
            if (f->reason_came)
                rc = put(f, (struct tr_event){.kind = TR_EVENT_REASONING, .text = STR("\n\n")});
            if (rc == 0)
                rc = put_text(f, TR_EVENT_REASONING, member(f, part, STR("text")), &f->reason_came);
        }
    return rc;
}

/* The id of the item and what is encrypted, as one value (responses_ask.h). */
static int put_sealed(struct frames *f, uint32_t item, bool whole)
{
    struct tr_event event = {.kind = whole ? TR_EVENT_REDACTED : TR_EVENT_SEAL};
    struct str id = STR_NULL, sealed = STR_NULL;
    struct buf joined;
    int rc = tr_reply_text(&f->r, member(f, item, STR("encrypted_content")), &sealed);
    if (rc == 0)
        rc = tr_reply_text(&f->r, member(f, item, STR("id")), &id);
    if (rc != 0 || sealed.len == 0)
        return rc;
    buf_init(&joined, id.len + 1 + sealed.len);
    if (str_find(id, TR_RESPONSES_ID_END) < 0)
        rc = buf_append_str(&joined, id);
    if (rc == 0)
        rc = buf_append_char(&joined, TR_RESPONSES_ID_END);
    if (rc == 0)
        rc = buf_append_str(&joined, sealed);
    event.opaque = buf_str(&joined);
    if (rc == 0)
        rc = put(f, event);
    buf_deinit(&joined);
    return rc;
}

static int end_reasoning(struct frames *f, uint32_t item)
{
    int rc = f->reason_came ? 0 : put_reasons(f, item);
    bool any = f->reason_came;
    f->reason_came = f->joined = false;
    if (rc == 0)
        rc = put_sealed(f, item, !any);
    return rc == 0 && any ? put(f, (struct tr_event){.kind = TR_EVENT_PART_END}) : rc;
}

static int end_item(struct frames *f, uint32_t item, uint32_t index)
{
    if (is_call(f, item))
        return end_call(f, item, index);
    if (is_type(f, item, STR("reasoning")))
        return end_reasoning(f, item);
    return is_type(f, item, STR("message")) ? end_message(f, item) : 0;
}

/* ---- the response ---- */

static int put_start(struct frames *f, uint32_t response)
{
    struct tr_event event = {.kind = TR_EVENT_START};
    if (f->started || json_kind(f->r.json, response) != JSON_OBJECT)
        return 0;
    f->started = true;
    int rc = tr_reply_text(&f->r, member(f, response, STR("id")), &event.id);
    if (rc == 0)
        rc = tr_reply_text(&f->r, member(f, response, STR("model")), &event.model);
    return rc == 0 ? put(f, event) : rc;
}

static int put_finish(struct frames *f, uint32_t response)
{
    struct tr_event event = {.kind = TR_EVENT_FINISH};
    uint32_t reason = member(f, member(f, response, STR("incomplete_details")), STR("reason"));
    event.finish = responses_read_finish(f->r.json, response);
    if (event.finish == CALL_FINISH_STOP && f->call_count > 0)
        event.finish = CALL_FINISH_TOOL_CALLS;
    int rc = tr_reply_text(&f->r, reason != JSON_NONE ? reason : member(f, response, STR("status")),
                           &event.vendor_finish);
    return rc == 0 ? put(f, event) : rc;
}

/* All of the output, unless events said it. */
static int put_output(struct frames *f, uint32_t response)
{
    uint32_t item, index = 0, output = member(f, response, STR("output"));
    int rc = 0;
    if (f->said)
        return 0;
    for (uint32_t at = 0; rc == 0 && json_next_element(f->r.json, output, &at, &item); index++)
        rc = end_item(f, item, index);
    return rc;
}

static int put_end(struct frames *f, uint32_t response)
{
    struct tr_event usage = {
        .kind = TR_EVENT_USAGE,
        .usage = responses_read_usage(f->r.json, member(f, response, STR("usage")))};
    if (json_kind(f->r.json, response) != JSON_OBJECT)
        return ERR_PROTOCOL;
    int rc = put_start(f, response);
    if (rc == 0)
        rc = put_output(f, response);
    if (rc == 0)
        rc = put_finish(f, response);
    if (rc == 0 && usage.usage.known)
        rc = put(f, usage);
    f->ended = true;
    return rc == 0 ? put(f, (struct tr_event){.kind = TR_EVENT_DONE}) : rc;
}

/* response: the one that failed, whose error is what is told; JSON_NONE: that of the root. */
static int put_error(struct frames *f, uint32_t response)
{
    char room[TR_OPENAI_ERROR_ROOM];
    struct tr_event event = {.kind = TR_EVENT_ERROR};
    f->ended = true;
    if (json_kind(f->r.json, response) == JSON_OBJECT &&
        json_parse(f->r.json, json_raw(f->r.json, response), NULL) != 0)
        return ERR_NOMEM;
    tr_openai_error_of(f->r.json, 0, room, &event.error);
    return put(f, event);
}

/* ---- events ---- */

static int on_added(struct frames *f)
{
    uint32_t item = member(f, JSON_ROOT, STR("item"));
    if (is_call(f, item))
        return put_call(f, item, output_index(f));
    return 0;
}

static int on_item_done(struct frames *f)
{
    return end_item(f, member(f, JSON_ROOT, STR("item")), output_index(f));
}

static int on_text(struct frames *f)
{
    return put_text(f, TR_EVENT_TEXT, member(f, JSON_ROOT, STR("delta")), &f->text_came);
}

static int on_refusal(struct frames *f)
{
    return put_text(f, TR_EVENT_REFUSAL, member(f, JSON_ROOT, STR("delta")), &f->text_came);
}

static int on_reasoning(struct frames *f)
{
    int rc = 0;
    if (f->joined && f->reason_came)
        rc = put(f, (struct tr_event){.kind = TR_EVENT_REASONING, .text = STR("\n\n")});
    f->joined = false;
    return rc == 0 ? put_text(f, TR_EVENT_REASONING, member(f, JSON_ROOT, STR("delta")),
                              &f->reason_came)
                   : rc;
}

static int on_summary_part(struct frames *f)
{
    f->joined = f->reason_came;
    return 0;
}

static int on_arguments(struct frames *f)
{
    uint32_t call = find_call(f, output_index(f));
    return call != UINT32_MAX ? put_arguments(f, call, member(f, JSON_ROOT, STR("delta")))
                              : ERR_PROTOCOL;
}

static int on_begin(struct frames *f)
{
    return put_start(f, member(f, JSON_ROOT, STR("response")));
}

static int on_end(struct frames *f)
{
    return put_end(f, member(f, JSON_ROOT, STR("response")));
}

static int on_failed(struct frames *f)
{
    return put_error(f, member(f, JSON_ROOT, STR("response")));
}

static int on_error(struct frames *f)
{
    return put_error(f, JSON_NONE);
}

static int on_keepalive(struct frames *f)
{
    return put(f, (struct tr_event){.kind = TR_EVENT_PING});
}

#define TYPE(name, fn)                                                                             \
    {                                                                                              \
        {name, sizeof name - 1}, fn                                                                \
    }
static const struct {
    struct str type;
    int (*read)(struct frames *f);
} types[] = {
    TYPE("response.output_text.delta", on_text),
    TYPE("response.function_call_arguments.delta", on_arguments),
    TYPE("response.custom_tool_call_input.delta", on_arguments),
    TYPE("response.reasoning_summary_text.delta", on_reasoning),
    TYPE("response.reasoning_text.delta", on_reasoning),
    TYPE("response.reasoning_summary_part.added", on_summary_part),
    TYPE("response.refusal.delta", on_refusal),
    TYPE("response.output_item.added", on_added),
    TYPE("response.output_item.done", on_item_done),
    TYPE("response.created", on_begin),
    TYPE("response.in_progress", on_begin),
    TYPE("response.completed", on_end),
    TYPE("response.incomplete", on_end),
    TYPE("response.failed", on_failed),
    TYPE("error", on_error),
    TYPE("keepalive", on_keepalive),
};

static int read_frame(void *state, struct json *json, const struct tr_frame *frame,
                      const struct tr_sink *sink)
{
    struct frames *f = state;
    if (f->ended || str_eq(str_trim(frame->data), STR("[DONE]")))
        return 0; /* The mark of the other dialect, which some hosts send, says nothing here. */
    int rc = tr_replying_begin(&f->r, json, frame->data, sink);
    if (rc != 0)
        return rc;
    uint32_t type = json_get(json, JSON_ROOT, STR("type"));
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        if (json_string_is(json, type, types[i].type))
            return types[i].read(f);
    if (json_kind(json, json_get(json, JSON_ROOT, STR("error"))) == JSON_OBJECT)
        return put_error(f, JSON_NONE);
    return json_kind(json, type) == JSON_STRING ? 0 : ERR_PROTOCOL;
}

static int read_end(void *state, const struct tr_sink *sink)
{
    (void)state; /* Only its own event ends a stream. */
    (void)sink;
    return 0;
}

static void end(void *state)
{
    struct frames *f = state;
    buf_deinit(&f->r.text);
}

static bool has_failed(const struct json *j)
{
    return json_kind(j, json_get(j, JSON_ROOT, STR("error"))) == JSON_OBJECT ||
           json_string_is(j, json_get(j, JSON_ROOT, STR("status")), STR("failed"));
}

static int read_reply(struct json *json, struct str body, const struct tr_sink *sink)
{
    struct frames f = {0};
    int rc = tr_replying_begin(&f.r, json, body, sink);
    if (rc == 0 && has_failed(json))
        rc = put_error(&f, JSON_NONE);
    else if (rc == 0 && json_kind(json, json_get(json, JSON_ROOT, STR("output"))) != JSON_ARRAY)
        rc = ERR_PROTOCOL;
    else if (rc == 0)
        rc = put_end(&f, JSON_ROOT);
    end(&f);
    return rc;
}

const struct tr_provider_dialect tr_provider_responses = {
    .dialect = DIALECT_RESPONSES,
    .framing = TR_FRAMING_SSE,
    .content_type = {.data = "text/event-stream", .len = 17},
    .event_bytes_max = RESPONSES_EVENT_BYTES_MAX, /* The last event repeats the whole answer. */
    .print_request = tr_responses_print_request,
    .print_path = tr_responses_print_path,
    .state_bytes = sizeof(struct frames),
    .read_frame = read_frame,
    .read_end = read_end,
    .read_reply = read_reply,
    .end = end,
    .read_error = tr_openai_read_error,
};
