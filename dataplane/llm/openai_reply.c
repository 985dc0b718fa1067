/* What an OpenAI-style provider answers, whole or as events. The usual is read by openai_usual.c;
 * what that does not know goes through the strict reader, which alone says what is wrong. */
#include "dataplane/llm/openai.h"

#include <string.h>

#include "common/json/json_splice.h"
#include "common/json/json_writer.h"
#include "dataplane/llm/edit.h"
#include "dataplane/llm/openai_shape.h"
#include "dataplane/llm/reply.h"
#include "dataplane/llm/tokens.h"

static void note_finish(struct provider_reply *reply, const struct json *j, uint32_t node)
{
    static const char *const names[] = {"stop", "length", "tool_calls", "function_call",
                                        "content_filter"};
    if (json_kind(j, node) != JSON_STRING)
        return;
    reply->finish = CALL_FINISH_OTHER;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (json_string_is(j, node, str_from(names[i])))
            reply->finish = call_finish_of(str_from(names[i]));
}

struct call_usage openai_read_usage(const struct json *j, uint32_t node)
{
    struct call_usage u = {.known = true};
    uint32_t in = json_get(j, node, STR("prompt_tokens_details"));
    uint32_t out = json_get(j, node, STR("completion_tokens_details"));
    if (json_get(j, node, STR("prompt_tokens")) == JSON_NONE ||
        json_get(j, node, STR("completion_tokens")) == JSON_NONE)
        return (struct call_usage){.known = false}; /* As if it were missing. */
    u.tokens_in = reply_count(j, node, STR("prompt_tokens"), &u);
    u.tokens_out = reply_count(j, node, STR("completion_tokens"), &u);
    u.tokens_cached = reply_count(j, in, STR("cached_tokens"), &u);
    if (u.tokens_cached == 0)
        u.tokens_cached = reply_count(j, node, STR("prompt_cache_hit_tokens"), &u);
    u.tokens_cache_write = reply_count(j, in, STR("cache_write_tokens"), &u);
    u.tokens_reasoning = reply_count(j, out, STR("reasoning_tokens"), &u);
    /* Some hosts leave reasoning out of completion_tokens; the total gives them away. */
    uint64_t total = reply_count(j, node, STR("total_tokens"), &u);
    if (u.tokens_reasoning > 0 && total == u.tokens_in + u.tokens_out + u.tokens_reasoning)
        u.tokens_out += u.tokens_reasoning;
    return u;
}

static void note_usage(struct provider_reply *reply, const struct json *j, uint32_t node)
{
    struct call_usage u = openai_read_usage(j, node);
    if (u.known)
        reply->usage = u;
}

static bool has_calls(struct provider_reply *reply, const struct json *j, uint32_t node)
{
    uint32_t call;
    if (json_kind(j, node) != JSON_ARRAY || json_count(j, node) == 0)
        return false;
    for (uint32_t at = 0; json_next_element(j, node, &at, &call);) {
        uint32_t function = json_get(j, call, STR("function"));
        (void)reply_text(reply, j, json_get(j, function, STR("name")));
        (void)reply_text(reply, j, json_get(j, function, STR("arguments")));
    }
    return true;
}

/* A delta or a message: is there anything a caller would read? */
static bool has_content(struct provider_reply *reply, const struct json *j, uint32_t node)
{
    bool any = reply_text(reply, j, json_get(j, node, STR("content")));
    any |= reply_text(reply, j, json_get(j, node, STR("reasoning_content")));
    any |= reply_text(reply, j, json_get(j, node, STR("reasoning")));
    any |= reply_text(reply, j, json_get(j, node, STR("refusal")));
    any |= has_calls(reply, j, json_get(j, node, STR("tool_calls")));
    any |= json_kind(j, json_get(j, node, STR("function_call"))) == JSON_OBJECT;
    any |= json_kind(j, json_get(j, node, STR("audio"))) == JSON_OBJECT;
    return any;
}

bool openai_has_error(const struct json *j)
{
    enum json_kind kind = json_kind(j, json_get(j, JSON_ROOT, STR("error")));
    return kind != JSON_MISSING && kind != JSON_NULL;
}

/* The usage object with one more member; 3 spans. */
static size_t usage_spans(struct str usage, struct str member, struct str *spans)
{
    bool empty = str_trim(str_slice(usage, 1, usage.len - 1)).len == 0;
    spans[0] = str_slice(usage, 0, usage.len - 1);
    spans[1] = empty ? STR_NULL : STR(",");
    spans[2] = member;
    spans[3] = STR("}");
    return 4;
}

#define EVENT_EDITS_MAX 1
#define QUOTED_BYTES    (6 * CALL_MODEL_BYTES_MAX + 2)

struct rewritten {
    struct json_edit edits[EVENT_EDITS_MAX];
    size_t count;
};

static int rename_model(const struct json *j, const struct provider_rewrite *rewrite, char *quoted,
                        struct rewritten *w)
{
    uint32_t model = json_get(j, JSON_ROOT, STR("model"));
    if (rewrite->model.len == 0 || json_string_is(j, model, rewrite->model))
        return 0;
    struct buf b = {.data = quoted, .cap = QUOTED_BYTES, .max = QUOTED_BYTES};
    if (buf_append_char(&b, '"') != 0 || json_writer_escape(&b, rewrite->model) != 0 ||
        buf_append_char(&b, '"') != 0)
        return ERR_TOO_LARGE;
    w->edits[w->count++] = (struct json_edit){.key = STR("model"), .value = buf_str(&b)};
    return 0;
}

static bool data_in_raw(const struct sse_event *event)
{
    return event->data.data >= event->raw.data &&
           event->data.data < event->raw.data + event->raw.len;
}

static int append_all(const struct str *pieces, size_t count, struct buf *out)
{
    int rc = 0;
    for (size_t i = 0; i < count && rc == 0; i++)
        rc = buf_append_str(out, pieces[i]);
    return rc;
}

/* Replaces each span that is the usage object by that object with the member added. */
static int append_with_usage(const struct json *j, const struct str *spans, size_t count,
                             struct str member, struct buf *out)
{
    uint32_t node = json_get(j, JSON_ROOT, STR("usage"));
    if (member.len == 0 || json_kind(j, node) != JSON_OBJECT)
        return append_all(spans, count, out);
    struct str usage = json_raw(j, node);
    struct str pieces[4];
    size_t n;
    uint32_t theirs = edit_same_cost(j, node, member);
    if (theirs != JSON_NONE) {
        struct str old = json_raw(j, theirs);
        size_t at = (size_t)(old.data - usage.data);
        pieces[0] = str_slice(usage, 0, at);
        pieces[1] = str_slice(member, EDIT_COST.len, member.len);
        pieces[2] = str_slice(usage, at + old.len, usage.len);
        n = 3;
    } else {
        n = usage_spans(usage, member, pieces);
    }
    int rc = 0;
    for (size_t i = 0; i < count && rc == 0; i++) {
        const char *from = spans[i].data, *to = spans[i].data + spans[i].len;
        if (usage.data < from || usage.data + usage.len > to) {
            rc = buf_append_str(out, spans[i]);
            continue;
        }
        rc = buf_append(out, from, (size_t)(usage.data - from));
        if (rc == 0)
            rc = append_all(pieces, n, out);
        if (rc == 0)
            rc = buf_append(out, usage.data + usage.len, (size_t)(to - (usage.data + usage.len)));
    }
    return rc;
}

/* The event with its JSON changed; appends to out. */
static int write_changed(const struct json *j, const struct sse_event *event,
                         const struct rewritten *w, struct str member, struct buf *out)
{
    struct str spans[JSON_SPLICE_SPANS(EVENT_EDITS_MAX)];
    size_t count = 0;
    int rc = json_splice(j, w->edits, w->count, spans, &count);
    if (rc != 0)
        return rc;
    const char *raw_end = event->raw.data + event->raw.len;
    if (!data_in_raw(event)) {
        /* Several data lines: JSON may be written on one, where line ends are only space. */
        struct buf line;
        buf_init(&line, SSE_EVENT_BYTES_MAX + CALL_MODEL_BYTES_MAX);
        rc = append_with_usage(j, spans, count, member, &line);
        if (rc == 0)
            rc = sse_write_event(out, event->name, buf_str(&line));
        buf_deinit(&line);
        return rc;
    }
    const char *data_end = event->data.data + event->data.len;
    rc = buf_append(out, event->raw.data, (size_t)(event->data.data - event->raw.data));
    if (rc == 0)
        rc = append_with_usage(j, spans, count, member, out);
    if (rc == 0)
        rc = buf_append(out, data_end, (size_t)(raw_end - data_end));
    return rc;
}

/* The event's bytes, changed where they must be. */
static int write_event(const struct json *j, const struct provider_reply *reply,
                       const struct sse_event *event, const struct provider_rewrite *rewrite,
                       struct provider_out *out)
{
    char quoted[QUOTED_BYTES];
    struct rewritten w = {.count = 0};
    struct str member = STR_NULL;
    int rc = rename_model(j, rewrite, quoted, &w);
    if (rewrite->usage_member != NULL &&
        json_kind(j, json_get(j, JSON_ROOT, STR("usage"))) == JSON_OBJECT)
        member = rewrite->usage_member(rewrite->arg, &reply->usage);
    if (rc != 0)
        return rc;
    if (w.count == 0 && member.len == 0)
        return provider_out_add(out, event->raw);
    rc = provider_out_gather(out);
    if (rc != 0)
        return rc;
    size_t before = out->gathered->len;
    rc = write_changed(j, event, &w, member, out->gathered);
    out->bytes += out->gathered->len - before;
    return rc;
}

static void note_print_strictly(struct provider_reply *reply, const struct json *j)
{
    (void)provider_reply_print(reply, json_plain(j, json_get(j, JSON_ROOT, STR("model"))),
                               json_plain(j, json_get(j, JSON_ROOT, STR("system_fingerprint"))));
}

/* What an event is; choices are looked through. */
static enum provider_event classify(struct provider_reply *reply, const struct json *j)
{
    uint32_t choice, choices = json_get(j, JSON_ROOT, STR("choices"));
    uint32_t usage = json_get(j, JSON_ROOT, STR("usage"));
    bool content = false, finish = false;
    if (json_kind(j, JSON_ROOT) != JSON_OBJECT)
        return PROVIDER_BAD;
    if (openai_has_error(j))
        return PROVIDER_ERROR;
    if (json_kind(j, choices) != JSON_ARRAY)
        return PROVIDER_BAD;
    if (json_kind(j, usage) != JSON_OBJECT)
        usage = json_get(j, json_get(j, JSON_ROOT, STR("x_groq")), STR("usage"));
    note_usage(reply, j, usage);
    for (uint32_t at = 0; json_next_element(j, choices, &at, &choice);) {
        uint32_t reason = json_get(j, choice, STR("finish_reason"));
        note_finish(reply, j, reason);
        finish |= json_kind(j, reason) == JSON_STRING;
        content |= has_content(reply, j, json_get(j, choice, STR("delta")));
    }
    if (content || (finish && reply->print == 0))
        note_print_strictly(reply, j);
    if (json_count(j, choices) == 0)
        return json_kind(j, usage) == JSON_OBJECT ? PROVIDER_USAGE : PROVIDER_OPEN;
    return content || finish ? PROVIDER_CONTENT : PROVIDER_OPEN;
}

/* ---- the usual ---- */

static void note_print(struct provider_reply *reply, struct openai_facts *f)
{
    f->print = provider_reply_print(reply, f->model, f->system);
}

static void note_facts(struct provider_reply *reply, const struct openai_facts *f)
{
    reply->content |= f->content;
    reply->text_q8 += f->text_q8;
    reply->content_bytes += f->content_bytes;
    if (f->finish_seen)
        reply->finish = f->finish;
    if (f->usage.known)
        reply->usage = f->usage;
}

/* The whole with the model's id in the place of the model's name; 1 or 3 spans. False: that takes
 * more than a span. */
static bool put_model(struct str whole, struct str model, const struct provider_rewrite *rewrite,
                      struct str *out_spans, size_t *out_count)
{
    if (rewrite->model.len == 0 || str_eq(model, rewrite->model)) {
        out_spans[0] = whole;
        *out_count = 1;
        return true;
    }
    if (model.data == NULL || !rewrite->model_plain)
        return false;
    const char *behind = model.data + model.len;
    out_spans[0] = (struct str){whole.data, (size_t)(model.data - whole.data)};
    out_spans[1] = rewrite->model;
    out_spans[2] = (struct str){behind, (size_t)(whole.data + whole.len - behind)};
    *out_count = 3;
    return true;
}

static enum provider_event kind_of(const struct openai_facts *f)
{
    if (f->choices == 0)
        return f->usage_object ? PROVIDER_USAGE : PROVIDER_OPEN;
    return f->content || f->finish_seen ? PROVIDER_CONTENT : PROVIDER_OPEN;
}

/* False: nothing was noted, the strict reader must look. */
static bool read_usual(struct provider_reply *reply, const struct sse_event *event,
                       const struct provider_rewrite *rewrite, struct provider_out *out,
                       enum provider_event *out_kind, int *out_rc)
{
    struct openai_facts f;
    struct str spans[3];
    size_t count;
    if (!data_in_raw(event) || !openai_usual_read(event->data, STR("delta"), &f) ||
        (f.usage_object && rewrite->usage_member != NULL) ||
        !put_model(event->raw, f.model, rewrite, spans, &count))
        return false;
    *out_kind = kind_of(&f);
    *out_rc = 0;
    note_facts(reply, &f);
    if (f.content || (f.finish_seen && reply->print == 0)) /* Other events need not be asked. */
        note_print(reply, &f);
    if (reply->shapes != NULL)
        openai_shapes_learn(reply->shapes, event->data, &f, &reply->shape);
    reply->content |= *out_kind == PROVIDER_CONTENT;
    if (*out_kind == PROVIDER_USAGE && !rewrite->want_usage)
        return true;
    for (size_t i = 0; i < count && *out_rc == 0; i++)
        *out_rc = provider_out_add(out, spans[i]);
    return true;
}

static void note_fit(struct provider_reply *reply, const struct openai_fit *fit)
{
    reply->content = true;
    reply->print = fit->print != 0 ? fit->print : reply->print;
    reply->text_q8 += fit->text_q8;
    reply->content_bytes += fit->content_bytes;
    if (fit->finish_seen)
        reply->finish = fit->finish;
    if (fit->usage.known)
        reply->usage = fit->usage;
}

int openai_read_like(struct provider_reply *reply, struct str *io_input,
                     const struct provider_rewrite *rewrite, struct provider_out *out)
{
    const struct str in = *io_input;
    if (reply->shapes == NULL || in.len < 8 || memcmp(in.data, "data: ", 6) != 0)
        return 0;
    const struct openai_fit *fit =
        openai_shapes_fit(reply->shapes, (struct str){in.data + 6, in.len - 6}, &reply->shape);
    if (fit == NULL)
        return 0;
    const char *end = fit->end + 2, *stop = in.data + in.len;
    const bool other = rewrite->model.len > 0 &&
                       (fit->model.len != rewrite->model.len ||
                        memcmp(fit->model.data, rewrite->model.data, fit->model.len) != 0);
    if (stop - fit->end < 2 || fit->end[0] != '\n' || fit->end[1] != '\n' ||
        (size_t)(end - in.data) > SSE_EVENT_BYTES_MAX ||
        (other && (fit->model.data == NULL || !rewrite->model_plain)) ||
        (fit->usage_object && rewrite->usage_member != NULL))
        return 0;
    reply->anything = true;
    note_fit(reply, fit);
    *io_input = (struct str){end, (size_t)(stop - end)};
    const char *from = in.data;
    int rc = 0;
    if (other) {
        rc = provider_out_add(out, (struct str){from, (size_t)(fit->model.data - from)});
        if (rc == 0)
            rc = provider_out_add(out, rewrite->model);
        from = fit->model.data + fit->model.len;
    }
    if (rc == 0)
        rc = provider_out_add(out, (struct str){from, (size_t)(end - from)});
    return rc == 0 ? 1 : rc;
}

int openai_read_event_strictly(struct json *json, struct provider_reply *reply,
                               const struct sse_event *event,
                               const struct provider_rewrite *rewrite, struct provider_out *out,
                               enum provider_event *out_kind)
{
    *out_kind = PROVIDER_SILENT;
    if (!event->has_data)
        return 0;
    reply->anything = true;
    if (str_eq(str_trim(event->data), STR("[DONE]"))) {
        reply->done = true;
        *out_kind = PROVIDER_DONE;
        return 0;
    }
    int rc = json_parse(json, event->data, NULL);
    if (rc == ERR_NOMEM)
        return rc;
    *out_kind = rc == 0 ? classify(reply, json) : PROVIDER_BAD;
    switch (*out_kind) {
    case PROVIDER_CONTENT:
        reply->content = true;
        return write_event(json, reply, event, rewrite, out);
    case PROVIDER_OPEN:
        return write_event(json, reply, event, rewrite, out);
    case PROVIDER_USAGE:
        return rewrite->want_usage ? write_event(json, reply, event, rewrite, out) : 0;
    case PROVIDER_SILENT:
    case PROVIDER_DONE:
    case PROVIDER_ERROR:
    case PROVIDER_BAD:
        break;
    }
    return 0;
}

int openai_read_event(struct json *json, struct provider_reply *reply,
                      const struct sse_event *event, const struct provider_rewrite *rewrite,
                      struct provider_out *out, enum provider_event *out_kind)
{
    int rc;
    if (!event->has_data || !read_usual(reply, event, rewrite, out, out_kind, &rc))
        return openai_read_event_strictly(json, reply, event, rewrite, out, out_kind);
    reply->anything = true;
    return rc;
}

static int write_renamed(const struct json *json, const struct provider_rewrite *rewrite,
                         struct arena *arena, struct str *out_pieces, size_t *out_count)
{
    struct rewritten w = {.count = 0};
    char *quoted = arena_alloc(arena, QUOTED_BYTES);
    if (quoted == NULL)
        return ERR_NOMEM;
    int rc = rename_model(json, rewrite, quoted, &w);
    return rc == 0 ? json_splice(json, w.edits, w.count, out_pieces, out_count) : rc;
}

_Static_assert(JSON_SPLICE_SPANS(EVENT_EDITS_MAX) <= PROVIDER_REPLY_PIECES_MAX,
               "a spliced reply fits the pieces");

int openai_read_reply_strictly(struct json *json, struct provider_reply *reply, struct str body,
                               const struct provider_rewrite *rewrite, struct arena *arena,
                               struct str *out_pieces, size_t *out_count)
{
    uint32_t choice;
    int rc = json_parse(json, body, NULL);
    if (rc != 0)
        return rc == ERR_NOMEM ? rc : ERR_PROTOCOL;
    uint32_t choices = json_get(json, JSON_ROOT, STR("choices"));
    if (json_kind(json, JSON_ROOT) != JSON_OBJECT || openai_has_error(json) ||
        json_kind(json, choices) != JSON_ARRAY || json_count(json, choices) == 0)
        return ERR_PROTOCOL;
    for (uint32_t at = 0; json_next_element(json, choices, &at, &choice);) {
        note_finish(reply, json, json_get(json, choice, STR("finish_reason")));
        reply->content |= has_content(reply, json, json_get(json, choice, STR("message")));
    }
    note_usage(reply, json, json_get(json, JSON_ROOT, STR("usage")));
    note_print_strictly(reply, json);
    rc = rewrite->usage_member != NULL
             ? edit_reply_apply(json, body, rewrite, &reply->usage, arena, out_pieces, out_count)
             : write_renamed(json, rewrite, arena, out_pieces, out_count);
    reply->done = rc == 0;
    return rc;
}

/* One that is not like those before. */
static int read_reply_anew(struct json *json, struct provider_reply *reply, struct str body,
                           const struct provider_rewrite *rewrite, struct arena *arena,
                           struct str *out_pieces, size_t *out_count)
{
    struct openai_facts f;
    if (!openai_usual_read(body, STR("message"), &f) || f.choices == 0 ||
        !put_model(body, f.model, rewrite, out_pieces, out_count))
        return openai_read_reply_strictly(json, reply, body, rewrite, arena, out_pieces, out_count);
    note_print(reply, &f);
    if (reply->shapes != NULL)
        openai_shapes_learn(reply->shapes, body, &f, &reply->shape);
    note_facts(reply, &f);
    reply->done = true;
    return 0;
}

int openai_read_reply(struct json *json, struct provider_reply *reply, struct str body,
                      const struct provider_rewrite *rewrite, struct arena *arena,
                      struct str *out_pieces, size_t *out_count)
{
    const struct openai_fit *fit = NULL;
    if (rewrite->usage_member != NULL)
        return openai_read_reply_strictly(json, reply, body, rewrite, arena, out_pieces, out_count);
    if (reply->shapes != NULL)
        fit = openai_shapes_fit(reply->shapes, body, &reply->shape);
    if (fit == NULL || fit->end != body.data + body.len ||
        !put_model(body, fit->model, rewrite, out_pieces, out_count))
        return read_reply_anew(json, reply, body, rewrite, arena, out_pieces, out_count);
    note_fit(reply, fit);
    reply->done = true;
    return 0;
}

const struct provider_adapter provider_openai = {
    .dialect = DIALECT_OPENAI,
    .chat_path = {.data = "/chat/completions", .len = 17},
    .read_call = openai_read_call,
    .write_call = openai_write_call,
    .write_part = openai_write_part,
    .write_rest = openai_write_rest,
    .part_end = openai_part_end,
    .part_pad = OPENAI_PART_PAD,
    .read_event = openai_read_event,
    .read_like = openai_read_like,
    .read_reply = openai_read_reply,
    .end_mark = {.data = "data: [DONE]\n\n", .len = 14},
    .keepalive = {.data = ": keepalive\n\n", .len = 13},
};
