/* What Cohere's v2 chat answers, as events: frames of a stream, and a whole reply. */
#include "dataplane/llm/reply.h"
#include "dataplane/translate/arguments.h"
#include "dataplane/translate/cohere_internal.h"

static uint32_t get(const struct cohere_frames *f, uint32_t object, struct str key)
{
    return json_get(f->r.json, object, key);
}

static bool type_is(const struct cohere_frames *f, struct str type)
{
    return json_string_is(f->r.json, get(f, JSON_ROOT, STR("type")), type);
}

/* ---- calls ---- */

static int put_arguments(struct cohere_frames *f, uint32_t node)
{
    struct tr_event e = {.kind = TR_EVENT_ARGUMENTS, .call_index = f->calls - 1};
    int rc = tr_reply_text(&f->r, node, &e.text);
    if (rc != 0 || e.text.len == 0 || str_is(str_trim(e.text), "null")) /* Of a call without. */
        return rc;
    return tr_reply_put(&f->r, &e);
}

static int begin_call(struct cohere_frames *f, uint32_t call)
{
    struct tr_event e = {.kind = TR_EVENT_CALL, .call_index = f->calls};
    uint32_t function = get(f, call, STR("function"));
    int rc = tr_reply_text(&f->r, get(f, call, STR("id")), &e.call.id);
    if (rc == 0)
        rc = tr_reply_text(&f->r, get(f, function, STR("name")), &e.call.name);
    if (rc == 0 && e.call.name.len == 0)
        rc = ERR_PROTOCOL;
    if (rc == 0)
        rc = tr_reply_put(&f->r, &e);
    if (rc != 0)
        return rc;
    f->calls++;
    f->call_open = true;
    return put_arguments(f, get(f, function, STR("arguments")));
}

static int end_call(struct cohere_frames *f)
{
    struct tr_event e = {.kind = TR_EVENT_PART_END, .call_index = f->calls - 1};
    if (!f->call_open)
        return 0;
    f->call_open = false;
    return tr_reply_put(&f->r, &e);
}

/* ---- contents ---- */

/* {"type":"text","text":T}, {"type":"thinking","thinking":T}; a piece of one need not say its type.
 */
static int put_content(struct cohere_frames *f, uint32_t content)
{
    const struct tr_event text = {.kind = TR_EVENT_TEXT}, thinking = {.kind = TR_EVENT_REASONING};
    int rc = tr_reply_put_text(&f->r, get(f, content, STR("thinking")), thinking);
    return rc == 0 ? tr_reply_put_text(&f->r, get(f, content, STR("text")), text) : rc;
}

static int put_start(struct cohere_frames *f)
{
    struct tr_event e = {.kind = TR_EVENT_START};
    int rc = tr_reply_text(&f->r, get(f, JSON_ROOT, STR("id")), &e.id);
    return rc == 0 ? tr_reply_put(&f->r, &e) : rc;
}

/* ---- the end ---- */

static const struct {
    const char *name;
    enum call_finish finish; /* NONE: it failed. */
} finishes[] = {
    {"COMPLETE", CALL_FINISH_STOP},
    {"STOP_SEQUENCE", CALL_FINISH_STOP},
    {"MAX_TOKENS", CALL_FINISH_LENGTH},
    {"TOOL_CALL", CALL_FINISH_TOOL_CALLS},
    {"ERROR_TOXIC", CALL_FINISH_CONTENT_FILTER},
    {"ERROR_LIMIT", CALL_FINISH_LENGTH},
    {"ERROR", CALL_FINISH_NONE},
    {"TIMEOUT", CALL_FINISH_NONE},
};

static enum call_finish finish_of(struct str name)
{
    for (size_t i = 0; i < sizeof finishes / sizeof finishes[0]; i++)
        if (str_is(name, finishes[i].name))
            return finishes[i].finish;
    return CALL_FINISH_OTHER;
}

/* What is billed, where it says so; what was seen of the prompt in a cache is a part of that. */
static int put_usage(struct cohere_frames *f, uint32_t usage)
{
    const struct json *j = f->r.json;
    struct tr_event e = {.kind = TR_EVENT_USAGE};
    uint32_t units = get(f, usage, STR("billed_units"));
    if (get(f, units, STR("input_tokens")) == JSON_NONE &&
        get(f, units, STR("output_tokens")) == JSON_NONE)
        units = get(f, usage, STR("tokens"));
    if (json_kind(j, units) != JSON_OBJECT)
        return 0;
    e.usage.known = true;
    e.usage.tokens_in = reply_count(j, units, STR("input_tokens"), &e.usage);
    e.usage.tokens_out = reply_count(j, units, STR("output_tokens"), &e.usage);
    e.usage.tokens_cached = reply_count(j, usage, STR("cached_tokens"), &e.usage);
    if (e.usage.tokens_cached > e.usage.tokens_in)
        e.usage.tokens_cached = e.usage.tokens_in;
    return tr_reply_put(&f->r, &e);
}

static int put_failure(struct cohere_frames *f, uint32_t message, bool late)
{
    struct tr_event e = {.kind = TR_EVENT_ERROR};
    struct str text;
    int rc = tr_reply_text(&f->r, message, &text);
    cohere_error_of(0, text, &e.error);
    if (late)
        e.error.kind = TR_ERROR_TIMEOUT;
    f->ended = true;
    return rc == 0 ? tr_reply_put(&f->r, &e) : rc;
}

/* finish_reason, error and usage of an object; then it is done. */
static int put_end(struct cohere_frames *f, uint32_t object)
{
    struct tr_event e = {.kind = TR_EVENT_FINISH};
    const struct tr_event done = {.kind = TR_EVENT_DONE};
    int rc = tr_reply_text(&f->r, get(f, object, STR("finish_reason")), &e.vendor_finish);
    if (rc == 0)
        rc = end_call(f);
    e.finish = finish_of(e.vendor_finish);
    if (rc == 0 && e.finish != CALL_FINISH_NONE)
        rc = tr_reply_put(&f->r, &e);
    if (rc == 0)
        rc = put_usage(f, get(f, object, STR("usage")));
    if (rc == 0 && e.finish == CALL_FINISH_NONE)
        return put_failure(f, get(f, object, STR("error")), str_is(e.vendor_finish, "TIMEOUT"));
    f->ended = true;
    return rc == 0 ? tr_reply_put(&f->r, &done) : rc;
}

/* ---- a stream ---- */

static int read_parsed(struct cohere_frames *f)
{
    const struct tr_event text = {.kind = TR_EVENT_TEXT};
    uint32_t delta = get(f, JSON_ROOT, STR("delta"));
    uint32_t message = get(f, delta, STR("message"));
    uint32_t call = get(f, message, STR("tool_calls"));
    if (type_is(f, STR("content-delta")) || type_is(f, STR("content-start")))
        return put_content(f, get(f, message, STR("content")));
    if (type_is(f, STR("tool-call-delta")))
        return f->call_open
                   ? put_arguments(f, get(f, get(f, call, STR("function")), STR("arguments")))
                   : ERR_PROTOCOL;
    if (type_is(f, STR("tool-call-start"))) {
        int rc = end_call(f);
        return rc == 0 ? begin_call(f, call) : rc;
    }
    if (type_is(f, STR("tool-call-end")))
        return end_call(f);
    if (type_is(f, STR("tool-plan-delta")))
        return tr_reply_put_text(&f->r, get(f, message, STR("tool_plan")), text);
    if (type_is(f, STR("message-start")))
        return put_start(f);
    if (type_is(f, STR("message-end")))
        return put_end(f, delta);
    /* Citations, and what a later version has; or an error, as a reply would hold it. */
    if (json_kind(f->r.json, get(f, JSON_ROOT, STR("type"))) == JSON_STRING)
        return 0;
    message = get(f, JSON_ROOT, STR("message"));
    return json_kind(f->r.json, message) == JSON_STRING ? put_failure(f, message, false)
                                                        : ERR_PROTOCOL;
}

int cohere_read_frame(void *state, struct json *json, const struct tr_frame *frame,
                      const struct tr_sink *sink)
{
    struct cohere_frames *f = state;
    if (f->ended)
        return 0;
    int rc = tr_replying_begin(&f->r, json, frame->data, sink);
    return rc == 0 ? read_parsed(f) : rc;
}

/* An end without message-end is no good one. */
int cohere_read_end(void *state, const struct tr_sink *sink)
{
    (void)state;
    (void)sink;
    return 0;
}

void cohere_frames_end(void *state)
{
    struct cohere_frames *f = state;
    buf_deinit(&f->r.text);
}

/* ---- a whole reply ---- */

static int read_message(struct cohere_frames *f)
{
    const struct json *j = f->r.json;
    const struct tr_event text = {.kind = TR_EVENT_TEXT};
    uint32_t at, item, message = get(f, JSON_ROOT, STR("message"));
    uint32_t content = get(f, message, STR("content"));
    if (json_kind(j, message) != JSON_OBJECT)
        return ERR_PROTOCOL;
    int rc = put_start(f);
    for (at = 0; rc == 0 && json_next_element(j, content, &at, &item);)
        rc = put_content(f, item);
    if (rc == 0)
        rc = tr_reply_put_text(&f->r, content, text); /* A text alone, as older ones had it. */
    if (rc == 0)
        rc = tr_reply_put_text(&f->r, get(f, message, STR("tool_plan")), text);
    for (at = 0; rc == 0 && json_next_element(j, get(f, message, STR("tool_calls")), &at, &item);) {
        rc = begin_call(f, item);
        if (rc == 0)
            rc = end_call(f);
    }
    return rc == 0 ? put_end(f, JSON_ROOT) : rc;
}

int cohere_read_reply(struct json *json, struct str body, const struct tr_sink *sink)
{
    struct cohere_frames f = {.calls = 0};
    int rc = tr_replying_begin(&f.r, json, body, sink);
    if (rc == 0)
        rc = read_message(&f);
    cohere_frames_end(&f);
    return rc;
}
