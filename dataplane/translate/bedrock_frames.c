/* What Bedrock answers, as events: frames of ConverseStream, and a whole reply of Converse. */
#include "dataplane/translate/bedrock_internal.h"

#include "dataplane/llm/reply.h"
#include "dataplane/translate/aws_frames.h"

static uint32_t get(const struct bedrock_frames *f, uint32_t object, struct str key)
{
    return json_get(f->r.json, object, key);
}

static int put_done(struct bedrock_frames *f)
{
    const struct tr_event e = {.kind = TR_EVENT_DONE};
    f->ended = true;
    return tr_reply_put(&f->r, &e);
}

static int put_opaque(struct bedrock_frames *f, enum tr_event_kind kind, uint32_t node)
{
    struct tr_event e = {.kind = kind};
    int rc = tr_reply_text(&f->r, node, &e.opaque);
    return rc == 0 && e.opaque.len > 0 ? tr_reply_put(&f->r, &e) : rc;
}

/* ---- blocks ---- */

static uint32_t block_index(const struct bedrock_frames *f)
{
    int64_t index = 0;
    if (json_i64(f->r.json, get(f, JSON_ROOT, STR("contentBlockIndex")), 0, UINT32_MAX, &index) !=
        0)
        return 0;
    return (uint32_t)index;
}

/* The call whose block has this index: the latest one. False: it is no call's. */
static bool find_call(const struct bedrock_frames *f, uint32_t block, uint32_t *out_call)
{
    uint32_t known = f->calls < BEDROCK_CALLS_OPEN_MAX ? f->calls : BEDROCK_CALLS_OPEN_MAX;
    for (uint32_t i = 1; i <= known; i++)
        if (f->blocks[(f->calls - i) % BEDROCK_CALLS_OPEN_MAX] == block) {
            *out_call = f->calls - i;
            return true;
        }
    return false;
}

static int put_call(struct bedrock_frames *f, uint32_t use, uint32_t block)
{
    struct tr_event e = {.kind = TR_EVENT_CALL, .call_index = f->calls};
    f->blocks[f->calls++ % BEDROCK_CALLS_OPEN_MAX] = block;
    int rc = tr_reply_text(&f->r, get(f, use, STR("toolUseId")), &e.call.id);
    if (rc == 0)
        rc = tr_reply_text(&f->r, get(f, use, STR("name")), &e.call.name);
    return rc == 0 ? tr_reply_put(&f->r, &e) : rc;
}

/* text and signature of reasoning lie in the delta itself, in a whole block one level deeper. */
static int put_reasoning(struct bedrock_frames *f, uint32_t reasoning)
{
    struct tr_event e = {.kind = TR_EVENT_REASONING};
    uint32_t inner = get(f, reasoning, STR("reasoningText"));
    uint32_t text = inner != JSON_NONE ? inner : reasoning;
    int rc = tr_reply_put_text(&f->r, get(f, text, STR("text")), e);
    if (rc == 0)
        rc = put_opaque(f, TR_EVENT_SEAL, get(f, text, STR("signature")));
    return rc == 0 ? put_opaque(f, TR_EVENT_REDACTED, get(f, reasoning, STR("redactedContent")))
                   : rc;
}

static int put_block_start(struct bedrock_frames *f)
{
    uint32_t use = get(f, get(f, JSON_ROOT, STR("start")), STR("toolUse"));
    return json_kind(f->r.json, use) == JSON_OBJECT ? put_call(f, use, block_index(f)) : 0;
}

static int put_delta(struct bedrock_frames *f)
{
    uint32_t delta = get(f, JSON_ROOT, STR("delta"));
    uint32_t text = get(f, delta, STR("text")), use = get(f, delta, STR("toolUse"));
    uint32_t reasoning = get(f, delta, STR("reasoningContent"));
    struct tr_event e = {.kind = TR_EVENT_TEXT};
    if (text != JSON_NONE)
        return tr_reply_put_text(&f->r, text, e);
    if (reasoning != JSON_NONE)
        return put_reasoning(f, reasoning);
    e.kind = TR_EVENT_ARGUMENTS;
    if (use == JSON_NONE || !find_call(f, block_index(f), &e.call_index))
        return 0; /* Citations, and what later versions have. */
    return tr_reply_put_text(&f->r, get(f, use, STR("input")), e);
}

static int put_block_end(struct bedrock_frames *f)
{
    struct tr_event e = {.kind = TR_EVENT_PART_END};
    (void)find_call(f, block_index(f), &e.call_index);
    return tr_reply_put(&f->r, &e);
}

/* ---- the end ---- */

static const struct {
    const char *reason;
    enum call_finish finish;
} finishes[] = {
    {"end_turn", CALL_FINISH_STOP},
    {"stop_sequence", CALL_FINISH_STOP},
    {"tool_use", CALL_FINISH_TOOL_CALLS},
    {"max_tokens", CALL_FINISH_LENGTH},
    {"model_context_window_exceeded", CALL_FINISH_LENGTH},
    {"content_filtered", CALL_FINISH_CONTENT_FILTER},
    {"guardrail_intervened", CALL_FINISH_CONTENT_FILTER},
};

static int put_malformed(struct bedrock_frames *f, struct str reason)
{
    const struct tr_event e = {.kind = TR_EVENT_ERROR,
                               .error = {.kind = TR_ERROR_UPSTREAM,
                                         .message = STR("the model's output was malformed"),
                                         .code = reason,
                                         .wait_ms = -1}};
    f->ended = true;
    return tr_reply_put(&f->r, &e);
}

/* Of messageStop, and of a whole reply. */
static int put_finish(struct bedrock_frames *f)
{
    struct tr_event e = {.kind = TR_EVENT_FINISH, .finish = CALL_FINISH_OTHER};
    uint32_t fields = get(f, JSON_ROOT, STR("additionalModelResponseFields"));
    int rc = tr_reply_text(&f->r, get(f, JSON_ROOT, STR("stopReason")), &e.vendor_finish);
    if (rc == 0)
        rc = tr_reply_text(&f->r, get(f, fields, STR("stop_sequence")), &e.stop_sequence);
    if (rc != 0)
        return rc;
    if (e.vendor_finish.len == 0)
        return ERR_PROTOCOL;
    if (str_starts(e.vendor_finish, STR("malformed_")))
        return put_malformed(f, e.vendor_finish);
    for (size_t i = 0; i < sizeof finishes / sizeof finishes[0]; i++)
        if (str_is(e.vendor_finish, finishes[i].reason))
            e.finish = finishes[i].finish;
    return tr_reply_put(&f->r, &e);
}

/* inputTokens leaves out what was read from or written to the cache. */
static void note_usage(struct bedrock_frames *f, uint32_t node)
{
    const struct json *j = f->r.json;
    struct call_usage u = {.known = true};
    uint32_t detail, details = json_get(j, node, STR("cacheDetails"));
    if (json_kind(j, node) != JSON_OBJECT)
        return;
    u.tokens_cached = reply_count(j, node, STR("cacheReadInputTokens"), &u);
    u.tokens_cache_write = reply_count(j, node, STR("cacheWriteInputTokens"), &u);
    u.tokens_in =
        reply_count(j, node, STR("inputTokens"), &u) + u.tokens_cached + u.tokens_cache_write;
    u.tokens_out = reply_count(j, node, STR("outputTokens"), &u);
    for (uint32_t at = 0; json_next_element(j, details, &at, &detail);) {
        if (!json_string_is(j, json_get(j, detail, STR("ttl")), STR("1h")))
            continue;
        uint64_t hour = reply_count(j, detail, STR("inputTokens"), &u);
        u.tokens_cache_write_1h = hour < UINT32_MAX ? (uint32_t)hour : UINT32_MAX;
    }
    f->usage = u;
}

static int put_usage(struct bedrock_frames *f)
{
    note_usage(f, get(f, JSON_ROOT, STR("usage")));
    const uint32_t router = get(f, get(f, JSON_ROOT, STR("trace")), STR("promptRouter"));
    const struct tr_event e = {.kind = TR_EVENT_USAGE,
                               .usage = f->usage,
                               .model =
                                   json_plain(f->r.json, get(f, router, STR("invokedModelId")))};
    return f->usage.known && !f->ended ? tr_reply_put(&f->r, &e) : 0;
}

/* ---- frames ---- */

/* What an exception says; one without JSON is told by its name alone. */
static int put_exception(struct bedrock_frames *f, struct json *json, const struct tr_frame *frame,
                         const struct tr_sink *sink)
{
    struct tr_event e = {.kind = TR_EVENT_ERROR};
    struct str message = STR_NULL;
    int rc = tr_replying_begin(&f->r, json, frame->data, sink);
    if (rc == 0)
        rc = tr_reply_text(&f->r, get(f, JSON_ROOT, STR("message")), &message);
    if (rc == ERR_NOMEM || rc == ERR_TOO_LARGE)
        return rc;
    bedrock_error_of(0, frame->name, message, &e.error);
    f->ended = true;
    return tr_reply_put(&f->r, &e);
}

static int read_start(struct bedrock_frames *f)
{
    const struct tr_event e = {.kind = TR_EVENT_START};
    return tr_reply_put(&f->r, &e);
}

/* messageStop and metadata may come in either order; the later one ends it. */
static int read_stop(struct bedrock_frames *f)
{
    int rc = put_finish(f);
    f->stopped = true;
    return rc == 0 && f->told && !f->ended ? put_done(f) : rc;
}

static int read_metadata(struct bedrock_frames *f)
{
    int rc = put_usage(f);
    f->told = true;
    return rc == 0 && f->stopped && !f->ended ? put_done(f) : rc;
}

static const struct {
    const char *name;
    int (*read)(struct bedrock_frames *f);
} events[] = {
    {"contentBlockDelta", put_delta},    {"contentBlockStart", put_block_start},
    {"contentBlockStop", put_block_end}, {"messageStart", read_start},
    {"messageStop", read_stop},          {"metadata", read_metadata},
};

int bedrock_read_frame(void *state, struct json *json, const struct tr_frame *frame,
                       const struct tr_sink *sink)
{
    struct bedrock_frames *f = state;
    if (f->ended)
        return 0;
    if (frame->exception)
        return put_exception(f, json, frame, sink);
    for (size_t i = 0; i < sizeof events / sizeof events[0]; i++) {
        if (!str_is(frame->name, events[i].name))
            continue;
        int rc = tr_replying_begin(&f->r, json, frame->data, sink);
        if (rc == 0 && json_kind(json, JSON_ROOT) != JSON_OBJECT)
            rc = ERR_PROTOCOL;
        return rc == 0 ? events[i].read(f) : rc;
    }
    return frame->name.len > 0 ? 0 : ERR_PROTOCOL; /* Of a later version: it is skipped. */
}

/* A stream may end without its metadata: then nobody knows the usage, but the answer is whole. */
int bedrock_read_end(void *state, const struct tr_sink *sink)
{
    struct bedrock_frames *f = state;
    f->r.sink = sink;
    return f->stopped && !f->told && !f->ended ? put_done(f) : 0;
}

void bedrock_frames_end(void *state)
{
    struct bedrock_frames *f = state;
    buf_deinit(&f->r.text);
}

/* ---- a whole reply ---- */

static int put_block(struct bedrock_frames *f, uint32_t block, uint32_t index)
{
    struct tr_event e = {.kind = TR_EVENT_TEXT}, end = {.kind = TR_EVENT_PART_END};
    uint32_t text = get(f, block, STR("text")), use = get(f, block, STR("toolUse"));
    uint32_t reasoning = get(f, block, STR("reasoningContent"));
    int rc = 0;
    if (text != JSON_NONE) {
        rc = tr_reply_put_text(&f->r, text, e);
    } else if (reasoning != JSON_NONE) {
        rc = put_reasoning(f, reasoning);
    } else if (use != JSON_NONE) {
        uint32_t input = get(f, use, STR("input"));
        e = (struct tr_event){
            .kind = TR_EVENT_ARGUMENTS, .call_index = f->calls, .text = json_raw(f->r.json, input)};
        end.call_index = f->calls;
        rc = put_call(f, use, index);
        if (rc == 0 && json_count(f->r.json, input) > 0)
            rc = tr_reply_put(&f->r, &e);
    } else {
        return 0;
    }
    return rc == 0 ? tr_reply_put(&f->r, &end) : rc;
}

static int read_message(struct bedrock_frames *f)
{
    uint32_t block, index = 0;
    uint32_t message = get(f, get(f, JSON_ROOT, STR("output")), STR("message"));
    uint32_t content = get(f, message, STR("content"));
    if (json_kind(f->r.json, message) != JSON_OBJECT)
        return ERR_PROTOCOL;
    int rc = read_start(f);
    for (uint32_t at = 0; rc == 0 && json_next_element(f->r.json, content, &at, &block);)
        rc = put_block(f, block, index++);
    if (rc == 0)
        rc = put_finish(f);
    if (rc == 0)
        rc = put_usage(f);
    return rc == 0 && !f->ended ? put_done(f) : rc;
}

int bedrock_read_whole(struct json *json, struct str body, const struct tr_sink *sink)
{
    struct bedrock_frames f = {.calls = 0};
    int rc = tr_replying_begin(&f.r, json, body, sink);
    if (rc == 0)
        rc = read_message(&f);
    bedrock_frames_end(&f);
    return rc;
}

const struct tr_provider_dialect tr_provider_bedrock = {
    .dialect = DIALECT_BEDROCK,
    .framing = TR_FRAMING_AWS,
    .frames = &aws_frames,
    .content_type = {.data = "application/vnd.amazon.eventstream", .len = 34},
    .print_request = bedrock_print_request,
    .print_path = bedrock_print_path,
    .state_bytes = sizeof(struct bedrock_frames),
    .read_frame = bedrock_read_frame,
    .read_end = bedrock_read_end,
    .read_reply = bedrock_read_whole,
    .end = bedrock_frames_end,
    .read_error = bedrock_read_error,
};
