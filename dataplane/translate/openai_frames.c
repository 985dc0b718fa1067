/* What a host of chat completions answers, as chunks or whole, in events (PROVIDER-TRANSLATION
 * sections 8 and 9). */
#include "dataplane/llm/openai.h"
#include "dataplane/translate/openai_internal.h"

struct frames {
    struct tr_replying r;
    struct tr_openai_calls calls;
    bool started;
    bool ended;
    uint32_t seen; /* A bit a choice. */
    uint32_t finished;
};

/* Once there is an id: Azure's first chunk, about the prompt, has an empty one. */
static int put_start(struct frames *f)
{
    struct tr_replying *r = &f->r;
    struct tr_event event = {.kind = TR_EVENT_START};
    if (f->started)
        return 0;
    int rc = tr_reply_text(r, json_get(r->json, JSON_ROOT, STR("id")), &event.id);
    if (rc == 0)
        rc = tr_reply_text(r, json_get(r->json, JSON_ROOT, STR("model")), &event.model);
    event.system = json_plain(r->json, json_get(r->json, JSON_ROOT, STR("system_fingerprint")));
    if (rc != 0 || (event.id.len == 0 &&
                    json_count(r->json, json_get(r->json, JSON_ROOT, STR("choices"))) == 0))
        return rc;
    f->started = true;
    return tr_reply_put(r, &event);
}

static int put_finish(struct frames *f, uint32_t choice, uint32_t node)
{
    struct tr_event event = {.kind = TR_EVENT_FINISH, .choice = choice};
    if (json_kind(f->r.json, node) != JSON_STRING || (f->finished >> choice & 1) != 0)
        return 0;
    int rc = tr_reply_text(&f->r, node, &event.vendor_finish);
    if (rc != 0 || event.vendor_finish.len == 0)
        return rc;
    event.finish = call_finish_of(event.vendor_finish);
    if (event.finish == CALL_FINISH_STOP && f->calls.begun[choice] > 0)
        event.finish = CALL_FINISH_TOOL_CALLS;
    f->finished |= 1U << choice;
    rc = tr_openai_put_held(&f->r, &f->calls, choice);
    return rc == 0 ? tr_reply_put(&f->r, &event) : rc;
}

static int put_choice(struct frames *f, uint32_t node, uint32_t otherwise, struct str part)
{
    const struct json *j = f->r.json;
    int64_t choice = otherwise;
    uint32_t index = json_get(j, node, STR("index"));
    if (json_kind(j, node) != JSON_OBJECT ||
        (json_kind(j, index) == JSON_NUMBER &&
         json_i64(j, index, 0, CALL_CHOICES_MAX - 1, &choice) != 0) ||
        choice >= CALL_CHOICES_MAX)
        return ERR_PROTOCOL;
    f->seen |= 1U << choice;
    int rc = tr_openai_put_message(&f->r, &f->calls, (uint32_t)choice, json_get(j, node, part));
    return rc == 0 ? put_finish(f, (uint32_t)choice, json_get(j, node, STR("finish_reason"))) : rc;
}

static int put_usage(struct frames *f)
{
    const struct json *j = f->r.json;
    uint32_t node = json_get(j, JSON_ROOT, STR("usage"));
    if (json_kind(j, node) != JSON_OBJECT)
        node = json_get(j, json_get(j, JSON_ROOT, STR("x_groq")), STR("usage"));
    struct tr_event event = {.kind = TR_EVENT_USAGE, .usage = openai_read_usage(j, node)};
    return event.usage.known ? tr_reply_put(&f->r, &event) : 0;
}

static int put_error(struct frames *f)
{
    char room[TR_OPENAI_ERROR_ROOM];
    struct tr_event event = {.kind = TR_EVENT_ERROR};
    tr_openai_error_of(f->r.json, 0, room, &event.error);
    f->ended = true;
    return tr_reply_put(&f->r, &event);
}

static int put_all(struct frames *f, struct str part)
{
    const struct json *j = f->r.json;
    uint32_t choice, n = 0, choices = json_get(j, JSON_ROOT, STR("choices"));
    if (openai_has_error(j))
        return put_error(f);
    if (json_kind(j, choices) != JSON_ARRAY)
        return ERR_PROTOCOL;
    int rc = put_start(f);
    for (uint32_t at = 0; rc == 0 && json_next_element(j, choices, &at, &choice);)
        rc = put_choice(f, choice, f->calls.whole ? n++ : 0, part);
    return rc == 0 ? put_usage(f) : rc;
}

static int put_done(struct frames *f, const struct tr_sink *sink)
{
    const struct tr_event event = {.kind = TR_EVENT_DONE};
    f->ended = true;
    return sink->put(sink->arg, &event);
}

static int read_frame(void *state, struct json *json, const struct tr_frame *frame,
                      const struct tr_sink *sink)
{
    struct frames *f = state;
    if (f->ended)
        return 0; /* What follows the end is nobody's. */
    if (str_eq(str_trim(frame->data), STR("[DONE]")))
        return put_done(f, sink);
    int rc = tr_replying_begin(&f->r, json, frame->data, sink);
    return rc == 0 ? put_all(f, STR("delta")) : rc;
}

static int read_end(void *state, const struct tr_sink *sink)
{
    struct frames *f = state;
    return f->ended || f->seen == 0 || f->finished != f->seen ? 0 : put_done(f, sink);
}

static void end(void *state)
{
    struct frames *f = state;
    buf_deinit(&f->r.text);
    tr_openai_calls_end(&f->calls);
}

static int read_reply(struct json *json, struct str body, const struct tr_sink *sink)
{
    struct frames f = {.calls.whole = true};
    int rc = tr_replying_begin(&f.r, json, body, sink);
    if (rc == 0 && json_count(json, json_get(json, JSON_ROOT, STR("choices"))) == 0 &&
        !openai_has_error(json))
        rc = ERR_PROTOCOL;
    if (rc == 0)
        rc = put_all(&f, STR("message"));
    if (rc == 0 && !f.ended)
        rc = put_done(&f, sink);
    end(&f);
    return rc;
}

const struct tr_provider_dialect tr_provider_openai = {
    .dialect = DIALECT_OPENAI,
    .framing = TR_FRAMING_SSE,
    .content_type = {.data = "text/event-stream", .len = 17},
    .print_request = tr_openai_print_request,
    .print_path = tr_openai_print_path,
    .state_bytes = sizeof(struct frames),
    .read_frame = read_frame,
    .read_end = read_end,
    .read_reply = read_reply,
    .end = end,
    .read_error = tr_openai_read_error,
};
