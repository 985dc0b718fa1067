#include "dataplane/llm/reading_memory.h"

#include "common/json/json_length.h"
#include "dataplane/llm/reading.h"

#define LEARNS_EVERY 8U /* Of what nobody sends again not each is worth it. */

/* Names of tools are behind tool_count, which is 0 of what is known. */
static inline void copy_call(struct call *to, const struct call *from)
{
    const size_t behind = offsetof(struct call, text);
    memcpy(to, from, offsetof(struct call, tools));
    memcpy((char *)to + behind, (const char *)from + behind, sizeof *to - behind);
}

static bool is_around(const struct reading_known *k, struct str body)
{
    return body.len - k->before >= k->behind && str_same(body.data, k->around, k->before) &&
           str_same(body.data + body.len - k->behind, k->around + k->before, k->behind);
}

/* What stands behind the text has moved by `by`, which may be less than nothing. */
static inline void move(uint32_t *io_at, uint32_t text_at, uint32_t by)
{
    if (*io_at > text_at)
        *io_at += by;
}

static void move_all(struct call *c, uint32_t text_at, uint32_t by)
{
    move(&c->model_value.at, text_at, by);
    move(&c->stream_options_value.at, text_at, by);
    move(&c->include_usage_value.at, text_at, by);
    move(&c->max_tokens_value.at, text_at, by);
    move(&c->max_completion_value.at, text_at, by);
    c->only_text.len += by;
    c->object_close += by;
}

static bool recall(const struct reading_known *k, struct json *json, struct str body,
                   struct arena *arena, struct call *call)
{
    struct call_refusal unused;
    if (!is_around(k, body) ||
        !json_parse_between(json, body, k->before, (uint32_t)body.len - k->behind))
        return false;
    const size_t longer = body.len - k->behind - k->before - k->text_len; /* Or less, modulo. */
    const uint32_t by = (uint32_t)longer;
    uint32_t model_at = k->model_at;
    copy_call(call, &k->call);
    move_all(call, k->before, by);
    move(&model_at, k->before, by);
    call->model.data = body.data + model_at;
    call->dialogue.data = body.data + k->dialogue_at;
    call->dialogue.len += longer;
    struct call_reading r = {.json = json,
                             .arena = arena,
                             .call = call,
                             .refusal = &unused,
                             .user_content = JSON_ROOT,
                             .system_content = JSON_NONE,
                             .tokens_q8 = k->tokens_q8};
    reading_weigh(&r, JSON_ROOT);
    return reading_sum(&r, body) == 0;
}

bool reading_memory_known(struct reading_memory *m, const struct provider_adapter *adapter,
                          struct json *json, struct str body, struct arena *arena,
                          struct call *out_call)
{
    if (body.len >= UINT32_MAX)
        return false;
    for (uint32_t i = 0; i < READING_MEMORY_BODIES; i++) {
        const uint32_t at = (m->last + i) % READING_MEMORY_BODIES;
        const struct reading_known *k = &m->known[at];
        if (k->adapter == adapter && body.len >= k->before &&
            recall(k, json, body, arena, out_call)) {
            m->last = at;
            return true;
        }
    }
    return false;
}

/* The whole of it, which is one of the body's spans; a name with escapes is elsewhere. */
static bool lies_in(struct str part, struct str body, uint32_t *out_at)
{
    if (part.data < body.data || part.data + part.len > body.data + body.len)
        return false;
    *out_at = (uint32_t)(part.data - body.data);
    return true;
}

static bool is_key(const struct json *json, uint32_t node)
{
    const struct str raw = json_raw(json, node);
    const size_t at = (size_t)(raw.data + raw.len - json->text.data);
    const struct str behind = str_slice(json->text, at, json->text.len);
    const size_t space = json_space_length((const unsigned char *)behind.data, behind.len);
    return space < behind.len && behind.data[space] == ':';
}

/* Somebody's words may be in any string but the model's name and the role. */
static bool has_other_strings(const struct json *json, struct str text)
{
    for (uint32_t i = 0; i < json->count; i++) {
        if (json_kind(json, i) != JSON_STRING || is_key(json, i) ||
            json_raw(json, i).data + 1 == text.data || json_text_length(json, i) == 0)
            continue;
        if (i == 0 || !is_key(json, i - 1) ||
            !(json_string_is(json, i - 1, STR("model")) ||
              json_string_is(json, i - 1, STR("role"))))
            return true;
    }
    return false;
}

static void learn(struct reading_memory *m, const struct provider_adapter *adapter,
                  const struct json *json, struct str body, const struct call *call)
{
    struct reading_known *k = &m->known[m->next];
    const struct call_span text = call->only_text;
    uint32_t model_at, dialogue_at;
    if (text.at == 0 || body.len - text.len > READING_MEMORY_BYTES || call->model.len == 0 ||
        !lies_in(call->model, body, &model_at) || !lies_in(call->dialogue, body, &dialogue_at))
        return;
    if ((k->adapter != NULL && ++m->missed % LEARNS_EVERY != 0) ||
        has_other_strings(json, (struct str){body.data + text.at, text.len}))
        return;
    m->last = m->next;
    m->next = (m->next + 1) % READING_MEMORY_BODIES;
    k->adapter = adapter;
    k->before = text.at;
    k->text_len = text.len;
    k->behind = (uint32_t)body.len - text.len - text.at;
    k->tokens_q8 = call->tokens_q8 - tokens_text_q8((struct str){body.data + text.at, text.len});
    k->model_at = model_at;
    k->dialogue_at = dialogue_at;
    memcpy(k->around, body.data, k->before);
    memcpy(k->around + k->before, body.data + text.at + text.len, k->behind);
    copy_call(&k->call, call);
    k->call.model.data = k->call.dialogue.data = k->call.text.data = NULL;
    k->call.text_bytes = 0; /* It is weighed anew. */
}

int reading_memory_read(struct reading_memory *m, const struct provider_adapter *adapter,
                        struct json *json, struct str body, struct arena *arena,
                        struct call *out_call, struct call_refusal *out_refusal)
{
    if (reading_memory_known(m, adapter, json, body, arena, out_call))
        return 0;
    int rc = adapter->read_call(json, body, arena, out_call, out_refusal);
    if (rc == 0)
        learn(m, adapter, json, body, out_call);
    return rc;
}
