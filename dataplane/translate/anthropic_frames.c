/* What a Messages provider answers, as events: frames of a stream, and a whole message. */
#include "dataplane/translate/anthropic_internal.h"

#include "dataplane/llm/anthropic.h"

static uint32_t get(const struct anthropic_frames *f, uint32_t object, struct str key)
{
    return json_get(f->r.json, object, key);
}

static bool type_is(const struct anthropic_frames *f, uint32_t object, struct str type)
{
    return json_string_is(f->r.json, get(f, object, STR("type")), type);
}

static int put_opaque(struct anthropic_frames *f, enum tr_event_kind kind, uint32_t node)
{
    struct tr_event e = {.kind = kind};
    int rc = tr_reply_text(&f->r, node, &e.opaque);
    return rc == 0 && e.opaque.len > 0 ? tr_reply_put(&f->r, &e) : rc;
}

static int put_call(struct anthropic_frames *f, uint32_t block)
{
    struct tr_event e = {.kind = TR_EVENT_CALL, .call_index = f->calls++};
    uint32_t input = get(f, block, STR("input"));
    int rc = tr_reply_text(&f->r, get(f, block, STR("id")), &e.call.id);
    if (rc == 0)
        rc = tr_reply_text(&f->r, get(f, block, STR("name")), &e.call.name);
    if (rc == 0)
        rc = tr_reply_put(&f->r, &e);
    if (rc != 0 || json_count(f->r.json, input) == 0)
        return rc;
    e = (struct tr_event){
        .kind = TR_EVENT_ARGUMENTS, .call_index = f->calls - 1, .text = json_raw(f->r.json, input)};
    return tr_reply_put(&f->r, &e);
}

/* A block as it begins, or whole: what it holds is told the same way. */
static int put_block(struct anthropic_frames *f, uint32_t block)
{
    struct tr_event text = {.kind = TR_EVENT_TEXT}, thinking = {.kind = TR_EVENT_REASONING};
    if (type_is(f, block, STR("text"))) {
        f->block = ANTHROPIC_BLOCK_TEXT;
        return tr_reply_put_text(&f->r, get(f, block, STR("text")), text);
    }
    if (type_is(f, block, STR("thinking"))) {
        f->block = ANTHROPIC_BLOCK_THINKING;
        int rc = tr_reply_put_text(&f->r, get(f, block, STR("thinking")), thinking);
        return rc == 0 ? put_opaque(f, TR_EVENT_SEAL, get(f, block, STR("signature"))) : rc;
    }
    if (type_is(f, block, STR("redacted_thinking"))) {
        f->block = ANTHROPIC_BLOCK_OTHER;
        return put_opaque(f, TR_EVENT_REDACTED, get(f, block, STR("data")));
    }
    f->block = ANTHROPIC_BLOCK_OTHER;
    if (!type_is(f, block, STR("tool_use")))
        return 0;
    f->block = ANTHROPIC_BLOCK_CALL;
    return put_call(f, block);
}

static int put_delta(struct anthropic_frames *f, uint32_t delta)
{
    struct tr_event e = {.kind = TR_EVENT_TEXT};
    if (type_is(f, delta, STR("text_delta")))
        return tr_reply_put_text(&f->r, get(f, delta, STR("text")), e);
    if (type_is(f, delta, STR("thinking_delta"))) {
        e.kind = TR_EVENT_REASONING;
        return tr_reply_put_text(&f->r, get(f, delta, STR("thinking")), e);
    }
    if (type_is(f, delta, STR("signature_delta")))
        return put_opaque(f, TR_EVENT_SEAL, get(f, delta, STR("signature")));
    if (!type_is(f, delta, STR("input_json_delta")) || f->block != ANTHROPIC_BLOCK_CALL)
        return 0; /* Citations, and what is said of tools that the provider runs. */
    e.kind = TR_EVENT_ARGUMENTS;
    e.call_index = f->calls - 1;
    return tr_reply_put_text(&f->r, get(f, delta, STR("partial_json")), e);
}

static int put_block_end(struct anthropic_frames *f)
{
    struct tr_event e = {.kind = TR_EVENT_PART_END};
    enum anthropic_block block = f->block;
    f->block = ANTHROPIC_BLOCK_NONE;
    if (block == ANTHROPIC_BLOCK_NONE || block == ANTHROPIC_BLOCK_OTHER)
        return 0;
    if (block == ANTHROPIC_BLOCK_CALL)
        e.call_index = f->calls - 1;
    return tr_reply_put(&f->r, &e);
}

static int put_start(struct anthropic_frames *f, uint32_t message)
{
    struct tr_event e = {.kind = TR_EVENT_START};
    if (json_kind(f->r.json, message) != JSON_OBJECT)
        return ERR_PROTOCOL;
    anthropic_note_usage(&f->usage, f->r.json, get(f, message, STR("usage")), false);
    int rc = tr_reply_text(&f->r, get(f, message, STR("id")), &e.id);
    if (rc == 0)
        rc = tr_reply_text(&f->r, get(f, message, STR("model")), &e.model);
    return rc == 0 ? tr_reply_put(&f->r, &e) : rc;
}

/* stop_reason and stop_sequence of an object, and its usage from another. */
static int put_finish(struct anthropic_frames *f, uint32_t object, uint32_t usage)
{
    struct tr_event e = {.kind = TR_EVENT_FINISH};
    int rc = tr_reply_text(&f->r, get(f, object, STR("stop_reason")), &e.vendor_finish);
    if (rc == 0)
        rc = tr_reply_text(&f->r, get(f, object, STR("stop_sequence")), &e.stop_sequence);
    if (rc == 0 && e.vendor_finish.len > 0) {
        e.finish = anthropic_finish_of(e.vendor_finish);
        rc = tr_reply_put(&f->r, &e);
    }
    anthropic_note_usage(&f->usage, f->r.json, usage, true);
    e = (struct tr_event){.kind = TR_EVENT_USAGE, .usage = f->usage};
    return rc == 0 && f->usage.known ? tr_reply_put(&f->r, &e) : rc;
}

static int put_error(struct anthropic_frames *f)
{
    struct tr_event e = {.kind = TR_EVENT_ERROR};
    struct str type, message, code;
    uint32_t error = get(f, JSON_ROOT, STR("error"));
    uint32_t details = get(f, error, STR("details"));
    int rc = tr_reply_text(&f->r, get(f, error, STR("type")), &type);
    if (rc == 0)
        rc = tr_reply_text(&f->r, get(f, error, STR("message")), &message);
    if (rc == 0)
        rc = tr_reply_text(&f->r, get(f, details, STR("error_code")), &code);
    if (rc != 0)
        return rc;
    anthropic_error_of(0, type, message, code, &e.error);
    return tr_reply_put(&f->r, &e);
}

static int read_parsed(struct anthropic_frames *f)
{
    struct tr_event e = {.kind = TR_EVENT_PING};
    if (type_is(f, JSON_ROOT, STR("content_block_delta")))
        return put_delta(f, get(f, JSON_ROOT, STR("delta")));
    if (type_is(f, JSON_ROOT, STR("content_block_start")))
        return put_block(f, get(f, JSON_ROOT, STR("content_block")));
    if (type_is(f, JSON_ROOT, STR("content_block_stop")))
        return put_block_end(f);
    if (type_is(f, JSON_ROOT, STR("message_start")))
        return put_start(f, get(f, JSON_ROOT, STR("message")));
    if (type_is(f, JSON_ROOT, STR("message_delta")))
        return put_finish(f, get(f, JSON_ROOT, STR("delta")), get(f, JSON_ROOT, STR("usage")));
    if (type_is(f, JSON_ROOT, STR("ping")))
        return tr_reply_put(&f->r, &e);
    e.kind = TR_EVENT_DONE;
    if (type_is(f, JSON_ROOT, STR("message_stop")))
        return tr_reply_put(&f->r, &e);
    if (type_is(f, JSON_ROOT, STR("error")) || get(f, JSON_ROOT, STR("error")) != JSON_NONE)
        return put_error(f);
    /* Of a later version: it is skipped, if it is an event at all. */
    return json_kind(f->r.json, get(f, JSON_ROOT, STR("type"))) == JSON_STRING ? 0 : ERR_PROTOCOL;
}

int anthropic_read_frame(void *state, struct json *json, const struct tr_frame *frame,
                         const struct tr_sink *sink)
{
    struct anthropic_frames *f = state;
    int rc = tr_replying_begin(&f->r, json, frame->data, sink);
    return rc == 0 ? read_parsed(f) : rc;
}

/* An end without message_stop is no good one. */
int anthropic_read_end(void *state, const struct tr_sink *sink)
{
    (void)state;
    (void)sink;
    return 0;
}

void anthropic_frames_end(void *state)
{
    struct anthropic_frames *f = state;
    buf_deinit(&f->r.text);
}

static int read_message(struct anthropic_frames *f)
{
    struct tr_event done = {.kind = TR_EVENT_DONE};
    uint32_t block, content = get(f, JSON_ROOT, STR("content"));
    if (!type_is(f, JSON_ROOT, STR("message")) || json_kind(f->r.json, content) != JSON_ARRAY)
        return ERR_PROTOCOL;
    int rc = put_start(f, JSON_ROOT);
    for (uint32_t at = 0; rc == 0 && json_next_element(f->r.json, content, &at, &block);) {
        rc = put_block(f, block);
        if (rc == 0)
            rc = put_block_end(f);
    }
    if (rc == 0)
        rc = put_finish(f, JSON_ROOT, get(f, JSON_ROOT, STR("usage")));
    return rc == 0 ? tr_reply_put(&f->r, &done) : rc;
}

int anthropic_read_whole(struct json *json, struct str body, const struct tr_sink *sink)
{
    struct anthropic_frames f = {.calls = 0};
    int rc = tr_replying_begin(&f.r, json, body, sink);
    if (rc == 0) /* Some tell an error under 200. */
        rc = type_is(&f, JSON_ROOT, STR("error")) ? put_error(&f) : read_message(&f);
    anthropic_frames_end(&f);
    return rc;
}
