/* What generateContent answers, as events: a stream is a row of objects that each look like a whole
 * reply, and ends with its transport (PROVIDER-TRANSLATION sections 8 and 9). */
#include "dataplane/translate/gemini_internal.h"

#include "dataplane/llm/reply.h"

#define ARGUMENTS_BYTES_MAX (4U << 20) /* Of one frame's pieces. */

static uint32_t get(const struct gemini_frames *f, uint32_t object, struct str key)
{
    return json_get(f->r.json, object, key);
}

static bool is_true(const struct gemini_frames *f, uint32_t object, struct str key)
{
    bool value = false;
    return json_bool(f->r.json, get(f, object, key), &value) == 0 && value;
}

/* ---- how it ended ---- */

static const struct {
    const char *name;
    enum call_finish finish; /* OTHER: it failed. */
} finishes[] = {
    {"STOP", CALL_FINISH_STOP},
    {"MAX_TOKENS", CALL_FINISH_LENGTH},
    {"CONTINUATION", CALL_FINISH_LENGTH},
    {"SAFETY", CALL_FINISH_CONTENT_FILTER},
    {"RECITATION", CALL_FINISH_CONTENT_FILTER},
    {"BLOCKLIST", CALL_FINISH_CONTENT_FILTER},
    {"PROHIBITED_CONTENT", CALL_FINISH_CONTENT_FILTER},
    {"SPII", CALL_FINISH_CONTENT_FILTER},
    {"LANGUAGE", CALL_FINISH_CONTENT_FILTER},
    {"MODEL_ARMOR", CALL_FINISH_CONTENT_FILTER},
    {"IMAGE_SAFETY", CALL_FINISH_CONTENT_FILTER},
    {"IMAGE_PROHIBITED_CONTENT", CALL_FINISH_CONTENT_FILTER},
    {"IMAGE_RECITATION", CALL_FINISH_CONTENT_FILTER},
    {"MALFORMED_FUNCTION_CALL", CALL_FINISH_NONE},
    {"UNEXPECTED_TOOL_CALL", CALL_FINISH_NONE},
    {"TOO_MANY_TOOL_CALLS", CALL_FINISH_NONE},
    {"OTHER", CALL_FINISH_NONE},
    {"NO_IMAGE", CALL_FINISH_NONE},
    {"IMAGE_OTHER", CALL_FINISH_NONE},
};

/* NONE: it failed; OTHER: a word of a later version. */
static enum call_finish finish_of(struct str name)
{
    for (size_t i = 0; i < sizeof finishes / sizeof finishes[0]; i++)
        if (str_is(name, finishes[i].name))
            return finishes[i].finish;
    return CALL_FINISH_OTHER;
}

static bool is_finished(const struct gemini_frames *f, uint32_t choice)
{
    return (f->finished >> choice & 1) != 0;
}

static int put_finish(struct gemini_frames *f, uint32_t choice, enum call_finish finish,
                      struct str said)
{
    struct tr_event e = {.kind = TR_EVENT_FINISH, .choice = choice};
    e.finish = finish;
    if (finish == CALL_FINISH_STOP && f->calls[choice] > 0)
        e.finish = CALL_FINISH_TOOL_CALLS;
    e.vendor_finish = said;
    f->finished |= 1U << choice;
    return tr_reply_put(&f->r, &e);
}

static void note_usage(struct gemini_frames *f)
{
    const struct json *j = f->r.json;
    uint32_t node = get(f, JSON_ROOT, STR("usageMetadata"));
    struct call_usage u = {.known = true};
    if (json_kind(j, node) != JSON_OBJECT)
        return;
    u.tokens_reasoning = reply_count(j, node, STR("thoughtsTokenCount"), &u);
    u.tokens_cached = reply_count(j, node, STR("cachedContentTokenCount"), &u);
    u.tokens_in = reply_count(j, node, STR("promptTokenCount"), &u) +
                  reply_count(j, node, STR("toolUsePromptTokenCount"), &u);
    u.tokens_out = reply_count(j, node, STR("candidatesTokenCount"), &u) + u.tokens_reasoning;
    f->usage = u;
}

static int put_usage(struct gemini_frames *f)
{
    struct tr_event e = {.kind = TR_EVENT_USAGE, .usage = f->usage};
    return f->usage.known ? tr_reply_put(&f->r, &e) : 0;
}

/* The model's own failure: what there was before is no whole answer. */
static int put_failure(struct gemini_frames *f, uint32_t candidate, struct str said)
{
    struct tr_event e = {.kind = TR_EVENT_ERROR};
    int rc = tr_reply_text(&f->r, get(f, candidate, STR("finishMessage")), &e.error.message);
    e.error.kind = TR_ERROR_UPSTREAM;
    e.error.message = str_utf8_head(e.error.message, 1024);
    e.error.code = said;
    e.error.wait_ms = -1;
    f->ended = true;
    if (rc == 0)
        rc = put_usage(f); /* It is billed for all that. */
    return rc == 0 ? tr_reply_put(&f->r, &e) : rc;
}

/* ---- parts ---- */

static int put_event(struct gemini_frames *f, enum tr_event_kind kind, uint32_t choice)
{
    struct tr_event e = {.kind = kind, .choice = choice};
    if (kind == TR_EVENT_PART_END)
        e.call_index = f->calls[choice] - 1;
    return tr_reply_put(&f->r, &e);
}

static int put_arguments(struct gemini_frames *f, uint32_t choice, struct str text)
{
    struct tr_event e = {.kind = TR_EVENT_ARGUMENTS, .choice = choice, .text = text};
    e.call_index = f->calls[choice] - 1;
    return text.len > 0 ? tr_reply_put(&f->r, &e) : 0;
}

static int begin_call(struct gemini_frames *f, uint32_t choice, uint32_t part, uint32_t call)
{
    struct tr_event e = {.kind = TR_EVENT_CALL, .choice = choice};
    int rc = tr_reply_text(&f->r, get(f, call, STR("id")), &e.call.id);
    if (rc == 0)
        rc = tr_reply_text(&f->r, get(f, call, STR("name")), &e.call.name);
    if (rc == 0)
        rc = tr_reply_text(&f->r, get(f, part, STR("thoughtSignature")), &e.call.signature);
    if (rc == 0 && e.call.name.len == 0)
        rc = ERR_PROTOCOL;
    e.call_index = f->calls[choice]++;
    return rc == 0 ? tr_reply_put(&f->r, &e) : rc;
}

static int end_call(struct gemini_frames *f, uint32_t choice)
{
    buf_clear(&f->text);
    int rc = gemini_args_end(&f->args[choice], &f->text);
    if (rc == 0)
        rc = put_arguments(f, choice, buf_str(&f->text));
    return rc == 0 ? put_event(f, TR_EVENT_PART_END, choice) : rc;
}

/* A piece of a call whose arguments come bit by bit. The first names it, the last does not say that
 * it goes on. */
static int put_piece(struct gemini_frames *f, uint32_t choice, uint32_t part, uint32_t call)
{
    struct gemini_args *args = &f->args[choice];
    uint32_t partial, list = get(f, call, STR("partialArgs"));
    int rc = 0;
    if (!args->open) {
        rc = begin_call(f, choice, part, call);
        *args = (struct gemini_args){.open = true};
    }
    if (f->text.max == 0)
        buf_init(&f->text, ARGUMENTS_BYTES_MAX);
    buf_clear(&f->text);
    for (uint32_t at = 0; rc == 0 && json_next_element(f->r.json, list, &at, &partial);)
        rc = gemini_args_put(args, f->r.json, partial, &f->text);
    if (rc == 0)
        rc = put_arguments(f, choice, buf_str(&f->text));
    if (rc != 0 || is_true(f, call, STR("willContinue")))
        return rc;
    return end_call(f, choice);
}

static int put_call(struct gemini_frames *f, uint32_t choice, uint32_t part, uint32_t call)
{
    const struct json *j = f->r.json;
    uint32_t args = get(f, call, STR("args"));
    if (json_kind(j, call) != JSON_OBJECT)
        return ERR_PROTOCOL;
    if (f->args[choice].open || json_kind(j, get(f, call, STR("partialArgs"))) == JSON_ARRAY ||
        is_true(f, call, STR("willContinue")))
        return put_piece(f, choice, part, call);
    int rc = begin_call(f, choice, part, call);
    if (rc == 0 && json_kind(j, args) == JSON_OBJECT)
        rc = put_arguments(f, choice, json_raw(j, args));
    return rc == 0 ? put_event(f, TR_EVENT_PART_END, choice) : rc;
}

/* Text or reasoning, and what it is signed with: the signature of what went before it. */
static int put_text(struct gemini_frames *f, uint32_t choice, uint32_t part)
{
    const bool thought = is_true(f, part, STR("thought"));
    struct tr_event text = {.kind = thought ? TR_EVENT_REASONING : TR_EVENT_TEXT, .choice = choice};
    struct tr_event seal = {.kind = TR_EVENT_SEAL, .choice = choice};
    int rc = tr_reply_text(&f->r, get(f, part, STR("thoughtSignature")), &seal.opaque);
    if (rc == 0 && !thought && seal.opaque.len > 0)
        rc = tr_reply_put(&f->r, &seal);
    if (rc == 0)
        rc = tr_reply_put_text(&f->r, get(f, part, STR("text")), text);
    if (rc == 0 && thought && seal.opaque.len > 0)
        rc = tr_reply_put(&f->r, &seal);
    return rc;
}

/* What the provider ran by itself, and pictures it made, have no words here. */
static int put_part(struct gemini_frames *f, uint32_t choice, uint32_t part)
{
    uint32_t call = get(f, part, STR("functionCall"));
    if (json_kind(f->r.json, part) != JSON_OBJECT)
        return ERR_PROTOCOL;
    return call != JSON_NONE ? put_call(f, choice, part, call) : put_text(f, choice, part);
}

static int put_candidate(struct gemini_frames *f, uint32_t candidate)
{
    const struct json *j = f->r.json;
    int64_t choice = 0;
    uint32_t part, index = get(f, candidate, STR("index"));
    uint32_t parts = get(f, get(f, candidate, STR("content")), STR("parts"));
    struct str said = STR_NULL;
    int rc = 0;
    if (json_kind(j, candidate) != JSON_OBJECT ||
        (index != JSON_NONE && json_i64(j, index, 0, CALL_CHOICES_MAX - 1, &choice) != 0))
        return ERR_PROTOCOL;
    if (is_finished(f, (uint32_t)choice))
        return 0;
    f->seen |= 1U << choice;
    for (uint32_t at = 0; rc == 0 && json_next_element(j, parts, &at, &part);)
        rc = put_part(f, (uint32_t)choice, part);
    if (rc == 0)
        rc = tr_reply_text(&f->r, get(f, candidate, STR("finishReason")), &said);
    if (rc != 0 || said.len == 0 || str_is(said, "FINISH_REASON_UNSPECIFIED"))
        return rc;
    if (f->args[choice].open)
        rc = end_call(f, (uint32_t)choice);
    if (rc != 0)
        return rc;
    enum call_finish finish = finish_of(said);
    return finish == CALL_FINISH_NONE ? put_failure(f, candidate, said)
                                      : put_finish(f, (uint32_t)choice, finish, said);
}

/* ---- objects ---- */

static int put_start(struct gemini_frames *f)
{
    struct tr_event e = {.kind = TR_EVENT_START};
    if (f->started)
        return 0;
    int rc = tr_reply_text(&f->r, get(f, JSON_ROOT, STR("responseId")), &e.id);
    if (rc == 0)
        rc = tr_reply_text(&f->r, get(f, JSON_ROOT, STR("modelVersion")), &e.model);
    f->started = true;
    return rc == 0 ? tr_reply_put(&f->r, &e) : rc;
}

static int put_error(struct gemini_frames *f)
{
    char room[GEMINI_ERROR_ROOM];
    struct tr_event e = {.kind = TR_EVENT_ERROR};
    gemini_error_of(f->r.json, 0, room, &e.error);
    f->ended = true;
    return tr_reply_put(&f->r, &e);
}

/* The question itself was refused. */
static int put_block(struct gemini_frames *f)
{
    struct str reason;
    uint32_t feedback = get(f, JSON_ROOT, STR("promptFeedback"));
    int rc = tr_reply_text(&f->r, get(f, feedback, STR("blockReason")), &reason);
    if (rc != 0 || reason.len == 0 || f->seen != 0)
        return rc;
    f->seen |= 1;
    return put_finish(f, 0, CALL_FINISH_CONTENT_FILTER, reason);
}

static bool is_reply(const struct gemini_frames *f)
{
    static const struct str names[] = {{"candidates", 10},
                                       {"promptFeedback", 14},
                                       {"usageMetadata", 13},
                                       {"responseId", 10},
                                       {"modelVersion", 12}};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (get(f, JSON_ROOT, names[i]) != JSON_NONE)
            return true;
    return false;
}

static int put_all(struct gemini_frames *f)
{
    const struct json *j = f->r.json;
    uint32_t candidate, candidates = get(f, JSON_ROOT, STR("candidates"));
    if (gemini_error_node(j) != JSON_NONE)
        return put_error(f);
    if (!is_reply(f))
        return ERR_PROTOCOL;
    int rc = put_start(f);
    note_usage(f);
    for (uint32_t at = 0;
         rc == 0 && !f->ended && json_next_element(j, candidates, &at, &candidate);)
        rc = put_candidate(f, candidate);
    if (rc == 0 && !f->ended)
        rc = put_block(f);
    return rc == 0 && f->finished != 0 && !f->ended ? put_usage(f) : rc;
}

int gemini_read_frame(void *state, struct json *json, const struct tr_frame *frame,
                      const struct tr_sink *sink)
{
    struct gemini_frames *f = state;
    if (f->ended)
        return 0;
    int rc = tr_replying_begin(&f->r, json, frame->data, sink);
    return rc == 0 ? put_all(f) : rc;
}

static int put_done(struct gemini_frames *f, const struct tr_sink *sink)
{
    const struct tr_event e = {.kind = TR_EVENT_DONE};
    f->ended = true;
    return sink->put(sink->arg, &e);
}

/* There is no end mark: it is whole if every answer said why it stopped. */
int gemini_read_end(void *state, const struct tr_sink *sink)
{
    struct gemini_frames *f = state;
    return f->ended || f->seen == 0 || f->finished != f->seen ? 0 : put_done(f, sink);
}

void gemini_frames_end(void *state)
{
    struct gemini_frames *f = state;
    buf_deinit(&f->r.text);
    buf_deinit(&f->text);
}

/* An answer that does not say why it stopped has, for all that, stopped. */
static int finish_rest(struct gemini_frames *f)
{
    int rc = 0;
    for (uint32_t i = 0; rc == 0 && i < CALL_CHOICES_MAX; i++) {
        if ((f->seen >> i & 1) == 0 || is_finished(f, i))
            continue;
        if (f->args[i].open)
            rc = end_call(f, i);
        if (rc == 0)
            rc = put_finish(f, i, CALL_FINISH_OTHER, STR_NULL);
        if (rc == 0)
            rc = put_usage(f);
    }
    return rc;
}

int gemini_read_reply(struct json *json, struct str body, const struct tr_sink *sink)
{
    struct gemini_frames f = {.started = false};
    int rc = tr_replying_begin(&f.r, json, body, sink);
    if (rc == 0)
        rc = put_all(&f);
    if (rc == 0 && !f.ended && f.seen == 0)
        rc = ERR_PROTOCOL; /* No answer at all, and no reason why. */
    if (rc == 0 && !f.ended)
        rc = finish_rest(&f);
    if (rc == 0 && !f.ended)
        rc = put_done(&f, sink);
    gemini_frames_end(&f);
    return rc;
}
