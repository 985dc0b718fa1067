#include "dataplane/llm/plain.h"

#include "dataplane/llm/anthropic.h"
#include "dataplane/llm/edit.h"
#include "dataplane/llm/openai_internal.h"
#include "dataplane/llm/reply.h"

/* ---- requests ---- */

/* One thing that is given: a text, a token of one, an object with a text, or a list of those. What
 * else there may be (an image) is weighed by its bytes. */
static void weigh_item(struct call_reading *r, uint32_t node)
{
    const struct json *j = r->json;
    uint32_t text;
    switch (json_kind(j, node)) {
    case JSON_STRING:
        reading_weigh(r, node);
        return;
    case JSON_NUMBER:
        r->tokens_q8 += 256;
        return;
    case JSON_OBJECT:
        text = json_get(j, node, STR("text"));
        if (json_kind(j, text) == JSON_STRING)
            reading_weigh(r, text);
        else
            r->tokens_q8 += 256ULL * tokens_bytes(json_raw(j, node).len);
        return;
    case JSON_ARRAY:
        if (json_count(j, node) > 0 && json_kind(j, json_at(j, node, 0)) == JSON_NUMBER)
            r->tokens_q8 += 256ULL * json_count(j, node);
        else
            r->tokens_q8 += 256ULL * tokens_bytes(json_raw(j, node).len);
        return;
    case JSON_MISSING:
    case JSON_NULL:
    case JSON_FALSE:
    case JSON_TRUE:
        return;
    }
}

static int read_input(struct call_reading *r, uint32_t node)
{
    const struct json *j = r->json;
    uint32_t item;
    struct str raw = json_raw(j, node);
    if (json_kind(j, node) != JSON_STRING &&
        (json_kind(j, node) != JSON_ARRAY || json_count(j, node) == 0))
        return reading_bad(r, node);
    if (json_kind(j, node) == JSON_STRING)
        reading_weigh(r, node);
    for (uint32_t at = 0;
         json_kind(j, node) == JSON_ARRAY && json_next_element(j, node, &at, &item);)
        weigh_item(r, item);
    r->user_content = node;
    r->call->dialogue = raw;
    r->call->messages = r->call->turns = 1;
    return 0;
}

static int read_query(struct call_reading *r, uint32_t node)
{
    if (json_kind(r->json, node) != JSON_STRING)
        return reading_bad(r, node);
    reading_weigh(r, node);
    return 0;
}

static int read_input_call(struct json *json, struct str body, struct arena *arena,
                           struct call *call, struct call_refusal *refusal)
{
    static const struct reading_field fields[] = {
        READING_FIELD("model", reading_model),
        READING_FIELD("input", read_input),
        READING_FIELD("user", reading_user),
        READING_FORBIDDEN,
    };
    struct call_reading r;
    return reading_call(&r, json, body, arena, call, refusal, fields,
                        sizeof fields / sizeof fields[0], "input");
}

static int read_completion_call(struct json *json, struct str body, struct arena *arena,
                                struct call *call, struct call_refusal *refusal)
{
    static const struct reading_field fields[] = {
        READING_FIELD("model", reading_model),
        READING_WISHES,
        READING_FIELD("prompt", read_input),
        READING_FIELD("stream", reading_stream),
        READING_FIELD("stream_options", openai_read_stream_options),
        READING_FIELD("max_tokens", reading_max_tokens),
        READING_FIELD("n", openai_read_n),
        READING_FIELD("best_of", openai_read_best_of),
        READING_FIELD("temperature", reading_temperature),
        READING_FIELD("top_p", reading_top_p),
        READING_FIELD("user", reading_user),
        READING_FORBIDDEN,
    };
    struct call_reading r;
    int rc = reading_call(&r, json, body, arena, call, refusal, fields,
                          sizeof fields / sizeof fields[0], "prompt");
    /* Each of several prompts has its own answers. */
    uint32_t prompt = rc == 0 ? json_get(json, JSON_ROOT, STR("prompt")) : JSON_NONE;
    if (json_kind(json, prompt) == JSON_ARRAY &&
        json_kind(json, json_at(json, prompt, 0)) != JSON_NUMBER) {
        uint64_t all = (uint64_t)call->choices * json_count(json, prompt);
        call->choices = all < UINT32_MAX ? (uint32_t)all : UINT32_MAX;
    }
    return rc;
}

static int read_rerank_call(struct json *json, struct str body, struct arena *arena,
                            struct call *call, struct call_refusal *refusal)
{
    static const struct reading_field fields[] = {
        READING_FIELD("model", reading_model),
        READING_FIELD("query", read_query),
        READING_FIELD("documents", read_input),
        READING_FORBIDDEN,
    };
    struct call_reading r;
    return reading_call(&r, json, body, arena, call, refusal, fields,
                        sizeof fields / sizeof fields[0], "documents");
}

/* Nothing but the model's name. */
static int write_model(const struct call *call, struct str body, struct str upstream_model,
                       struct arena *arena, struct str *out_pieces, size_t *out_count)
{
    struct edit edit;
    size_t count = 0;
    if (edit_renames(call, upstream_model)) {
        int rc = edit_model(call, upstream_model, arena, &edit);
        if (rc != 0)
            return rc;
        count = 1;
    }
    *out_count = edit_apply(body, &edit, count, out_pieces);
    return 0;
}

/* ---- replies ---- */

/* Tokens of a usage object that may name input alone. */
static void note_usage(struct provider_reply *reply, const struct json *j)
{
    uint32_t usage = json_get(j, JSON_ROOT, STR("usage"));
    uint32_t tokens = json_get(j, json_get(j, JSON_ROOT, STR("meta")), STR("tokens"));
    static const struct str names[] = {
        {"prompt_tokens", 13}, {"input_tokens", 12}, {"total_tokens", 12}};
    const uint32_t objects[] = {usage, tokens};
    for (size_t o = 0; o < 2; o++)
        for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
            if (json_kind(j, json_get(j, objects[o], names[i])) != JSON_NUMBER)
                continue;
            struct call_usage u = {.known = true};
            u.tokens_in = reply_count(j, objects[o], names[i], &u);
            u.tokens_out = reply_count(j, objects[o], STR("completion_tokens"), &u);
            reply->usage = u;
            return;
        }
}

/* list: the member that makes it such a reply. */
static int read_object(struct json *json, struct provider_reply *reply, struct str body,
                       const struct provider_rewrite *rewrite, struct arena *arena, struct str list,
                       struct str *out_pieces, size_t *out_count)
{
    int rc = json_parse(json, body, NULL);
    if (rc != 0)
        return rc == ERR_NOMEM ? rc : ERR_PROTOCOL;
    if (openai_has_error(json) || json_kind(json, json_get(json, JSON_ROOT, list)) != JSON_ARRAY)
        return ERR_PROTOCOL;
    note_usage(reply, json);
    rc = edit_reply_apply(json, body, rewrite, &reply->usage, arena, out_pieces, out_count);
    if (rc != 0)
        return rc;
    reply->done = reply->content = true;
    reply->finish = CALL_FINISH_STOP;
    return 0;
}

static int read_embeddings(struct json *json, struct provider_reply *reply, struct str body,
                           const struct provider_rewrite *rewrite, struct arena *arena,
                           struct str *out_pieces, size_t *out_count)
{
    return read_object(json, reply, body, rewrite, arena, STR("data"), out_pieces, out_count);
}

static int read_moderations(struct json *json, struct provider_reply *reply, struct str body,
                            const struct provider_rewrite *rewrite, struct arena *arena,
                            struct str *out_pieces, size_t *out_count)
{
    reply->usage = (struct call_usage){.known = true};
    return read_object(json, reply, body, rewrite, arena, STR("results"), out_pieces, out_count);
}

static int read_rerank(struct json *json, struct provider_reply *reply, struct str body,
                       const struct provider_rewrite *rewrite, struct arena *arena,
                       struct str *out_pieces, size_t *out_count)
{
    return read_object(json, reply, body, rewrite, arena, STR("results"), out_pieces, out_count);
}

static int read_count(struct json *json, struct provider_reply *reply, struct str body,
                      const struct provider_rewrite *rewrite, struct arena *arena,
                      struct str *out_pieces, size_t *out_count)
{
    int64_t tokens;
    (void)rewrite;
    (void)arena;
    int rc = json_parse(json, body, NULL);
    if (rc != 0)
        return rc == ERR_NOMEM ? rc : ERR_PROTOCOL;
    if (json_i64(json, json_get(json, JSON_ROOT, STR("input_tokens")), 0, INT64_MAX, &tokens) != 0)
        return ERR_PROTOCOL;
    reply->usage = (struct call_usage){.known = true};
    reply->done = reply->content = true;
    reply->finish = CALL_FINISH_STOP;
    out_pieces[0] = body;
    *out_count = 1;
    return 0;
}

/* Choices of a completion, whole or a piece of it. */
static bool note_choices(struct provider_reply *reply, const struct json *j)
{
    uint32_t choice;
    bool content = false;
    for (uint32_t at = 0;
         json_next_element(j, json_get(j, JSON_ROOT, STR("choices")), &at, &choice);) {
        struct str reason = json_plain(j, json_get(j, choice, STR("finish_reason")));
        content |= reply_text(reply, j, json_get(j, choice, STR("text")));
        if (reason.len > 0) {
            reply->finish = call_finish_of(reason);
            content = true;
        }
    }
    struct call_usage u = openai_read_usage(j, json_get(j, JSON_ROOT, STR("usage")));
    if (u.known)
        reply->usage = u;
    return content;
}

static int read_completion(struct json *json, struct provider_reply *reply, struct str body,
                           const struct provider_rewrite *rewrite, struct arena *arena,
                           struct str *out_pieces, size_t *out_count)
{
    int rc = read_object(json, reply, body, rewrite, arena, STR("choices"), out_pieces, out_count);
    if (rc == 0) {
        reply->usage = (struct call_usage){.known = false};
        (void)note_choices(reply, json);
    }
    return rc;
}

static int read_completion_event(struct json *json, struct provider_reply *reply,
                                 const struct sse_event *event,
                                 const struct provider_rewrite *rewrite, struct provider_out *out,
                                 enum provider_event *out_kind)
{
    struct edit_reply e;
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
    *out_kind = PROVIDER_BAD;
    if (rc != 0 || json_kind(json, JSON_ROOT) != JSON_OBJECT)
        return 0;
    if (openai_has_error(json)) {
        *out_kind = PROVIDER_ERROR;
        return 0;
    }
    uint32_t choices = json_get(json, JSON_ROOT, STR("choices"));
    if (json_kind(json, choices) != JSON_ARRAY)
        return 0;
    const bool content = note_choices(reply, json);
    if (json_count(json, choices) == 0) {
        *out_kind = PROVIDER_USAGE;
        if (!rewrite->want_usage)
            return 0;
    } else {
        *out_kind = content ? PROVIDER_CONTENT : PROVIDER_OPEN;
        reply->content |= content;
    }
    rc = edit_reply_note(&e, json, JSON_ROOT, rewrite, &reply->usage);
    return rc == 0 ? edit_event(event, &e, out) : rc;
}

/* Replies that are never streamed. */
static int read_no_event(struct json *json, struct provider_reply *reply,
                         const struct sse_event *event, const struct provider_rewrite *rewrite,
                         struct provider_out *out, enum provider_event *out_kind)
{
    (void)json;
    (void)reply;
    (void)event;
    (void)rewrite;
    (void)out;
    *out_kind = PROVIDER_BAD;
    return 0;
}

/* ---- the adapters ---- */

#define PATH(text)                                                                                 \
    {                                                                                              \
        .data = text, .len = sizeof(text) - 1                                                      \
    }

const struct provider_adapter provider_embeddings = {
    .dialect = DIALECT_OPENAI,
    .chat_path = PATH("/embeddings"),
    .read_call = read_input_call,
    .write_call = write_model,
    .read_event = read_no_event,
    .read_reply = read_embeddings,
};
const struct provider_adapter provider_completions = {
    .dialect = DIALECT_OPENAI,
    .chat_path = PATH("/completions"),
    .read_call = read_completion_call,
    .write_call = openai_write_call,
    .read_event = read_completion_event,
    .read_reply = read_completion,
    .end_mark = PATH("data: [DONE]\n\n"),
    .keepalive = PATH(": keepalive\n\n"),
};
const struct provider_adapter provider_moderations = {
    .dialect = DIALECT_OPENAI,
    .chat_path = PATH("/moderations"),
    .read_call = read_input_call,
    .write_call = write_model,
    .read_event = read_no_event,
    .read_reply = read_moderations,
};
const struct provider_adapter provider_rerank = {
    .dialect = DIALECT_OPENAI,
    .chat_path = PATH("/rerank"),
    .read_call = read_rerank_call,
    .write_call = write_model,
    .read_event = read_no_event,
    .read_reply = read_rerank,
};
const struct provider_adapter provider_count_tokens = {
    .dialect = DIALECT_ANTHROPIC,
    .chat_path = PATH("/v1/messages/count_tokens"),
    .read_call = anthropic_read_count,
    .write_call = write_model,
    .read_event = read_no_event,
    .read_reply = read_count,
};
