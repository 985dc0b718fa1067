#include "dataplane/llm/provider.h"

#include <string.h>

#include "common/base/mem.h"
#include "dataplane/llm/anthropic.h"
#include "dataplane/llm/openai.h"
#include "dataplane/llm/openai_shape.h"
#include "dataplane/llm/responses.h"
#include "dataplane/llm/tokens.h"

/* More tokens than any model takes or makes. */
#define TOKENS_ABSURD     (UINT64_C(1) << 26)
/* No token of any vocabulary in use stands for more text than this, on average over an answer. */
#define BYTES_A_TOKEN_MAX 64U

static const struct provider_adapter *const adapters[DIALECTS] = {
    [DIALECT_OPENAI] = &provider_openai,
    [DIALECT_RESPONSES] = &provider_responses,
    [DIALECT_ANTHROPIC] = &provider_anthropic,
};

const struct provider_adapter *provider_find_dialect(enum dialect dialect)
{
    return dialect < DIALECTS ? adapters[dialect] : NULL;
}

const char *call_finish_name(enum call_finish f)
{
    switch (f) {
    case CALL_FINISH_NONE:
        return "";
    case CALL_FINISH_STOP:
        return "stop";
    case CALL_FINISH_LENGTH:
        return "length";
    case CALL_FINISH_TOOL_CALLS:
        return "tool_calls";
    case CALL_FINISH_CONTENT_FILTER:
        return "content_filter";
    case CALL_FINISH_OTHER:
        return "other";
    }
    return "";
}

enum call_finish call_finish_of(struct str name)
{
    static const struct {
        struct str name;
        enum call_finish finish;
    } names[] = {
        {{"stop", 4}, CALL_FINISH_STOP},
        {{"length", 6}, CALL_FINISH_LENGTH},
        {{"tool_calls", 10}, CALL_FINISH_TOOL_CALLS},
        {{"function_call", 13}, CALL_FINISH_TOOL_CALLS},
        {{"content_filter", 14}, CALL_FINISH_CONTENT_FILTER},
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (str_eq(name, names[i].name))
            return names[i].finish;
    return CALL_FINISH_OTHER;
}

void provider_out_start(struct provider_out *out, struct buf *gathered)
{
    out->count = 0;
    out->bytes = 0;
    out->gathered = gathered;
    out->gathering = false;
}

int provider_out_gather(struct provider_out *out)
{
    if (out->gathering)
        return 0;
    buf_clear(out->gathered);
    for (size_t i = 0; i < out->count; i++) {
        int rc = buf_append_str(out->gathered, out->room[i + 1]);
        if (rc != 0)
            return rc;
    }
    out->gathering = true;
    out->count = 0;
    return 0;
}

int provider_out_copy(struct provider_out *out, struct str span)
{
    struct str *last = out->count > 0 ? &out->room[out->count] : NULL;
    if (!out->gathering && last != NULL && last->data + last->len == span.data) {
        last->len += span.len;
        out->bytes += span.len;
        return 0;
    }
    int rc = provider_out_gather(out);
    if (rc == 0)
        rc = buf_append_str(out->gathered, span);
    if (rc == 0)
        out->bytes += span.len;
    return rc;
}

static bool read_next(const struct provider_adapter *adapter, struct json *json,
                      struct provider_reply *reply, struct str *io_input,
                      const struct provider_rewrite *rewrite, struct provider_out *out,
                      enum provider_event *out_kind)
{
    struct sse_event event;
    sse_reader_allow(&reply->sse, adapter->event_bytes_max);
    if (!sse_reader_next(&reply->sse, io_input, &event))
        return false;
    if (adapter->read_event(json, reply, &event, rewrite, out, out_kind) != 0 ||
        (event.copied && provider_out_gather(out) != 0))
        *out_kind = PROVIDER_BAD;
    if (*out_kind == PROVIDER_ERROR)
        out->error = event.data;
    return true;
}

bool provider_read_next(const struct provider_adapter *adapter, struct json *json,
                        struct provider_reply *reply, struct str *io_input,
                        const struct provider_rewrite *rewrite, struct provider_out *out,
                        enum provider_event *out_kind)
{
    if (io_input->len == 0)
        return false;
    int rc = adapter->read_like != NULL && sse_reader_at_block(&reply->sse)
                 ? adapter->read_like(reply, io_input, rewrite, out)
                 : 0;
    if (rc == 0)
        return read_next(adapter, json, reply, io_input, rewrite, out, out_kind);
    sse_reader_took(&reply->sse);
    *out_kind = rc > 0 ? PROVIDER_CONTENT : PROVIDER_BAD;
    return true;
}

void provider_reply_reset(struct provider_reply *reply)
{
    struct sse_reader sse = reply->sse;
    struct buf end = reply->end;
    struct responses_seen *responses = reply->responses;
    bool ready = reply->sse_ready;
    memset(reply, 0, sizeof *reply);
    reply->sse = sse;
    reply->sse_ready = true;
    reply->end = end;
    reply->responses = responses;
    if (responses != NULL)
        memset(responses, 0, sizeof *responses);
    if (ready) {
        sse_reader_reset(&reply->sse);
        buf_clear(&reply->end);
    } else {
        sse_reader_init(&reply->sse, 0);
        buf_init(&reply->end, PROVIDER_END_BYTES_MAX);
    }
}

void provider_reply_deinit(struct provider_reply *reply)
{
    if (reply->sse_ready) {
        sse_reader_deinit(&reply->sse);
        buf_deinit(&reply->end);
        mem_free(reply->responses);
        reply->responses = NULL;
    }
    reply->sse_ready = false;
}

uint64_t provider_reply_print(struct provider_reply *reply, struct str model, struct str system)
{
    const struct openai_shapes *shapes = reply->shapes;
    uint64_t print = prints_note(shapes != NULL ? shapes->prints : NULL, model, system);
    if (print != 0)
        reply->print = print;
    return print;
}

void provider_usage_check(struct call_usage *u, uint32_t tokens_in_estimate, uint64_t text_q8_seen,
                          uint64_t content_bytes_seen)
{
    if (!u->known)
        return;
    bool absurd = u->tokens_in > TOKENS_ABSURD || u->tokens_out > TOKENS_ABSURD ||
                  u->tokens_cached > TOKENS_ABSURD || u->tokens_reasoning > TOKENS_ABSURD ||
                  u->tokens_cache_write > TOKENS_ABSURD;
    /* Nothing at all is what a provider says that takes no money for it; a part of it is not. */
    bool nothing = u->tokens_in == 0 && u->tokens_out == 0 && u->tokens_cached == 0 &&
                   u->tokens_cache_write == 0 && u->tokens_reasoning == 0;
    bool too_little = (u->tokens_in == 0 && tokens_in_estimate > 0) ||
                      u->tokens_out * BYTES_A_TOKEN_MAX < content_bytes_seen;
    if (absurd || (too_little && !nothing))
        u->suspect = true;
    if (u->suspect) {
        u->tokens_in = tokens_in_estimate;
        u->tokens_out = tokens_round(text_q8_seen);
        u->tokens_cached = u->tokens_cache_write = u->tokens_reasoning = 0;
        u->tokens_cache_write_1h = 0;
    }
    /* Parts of a whole: xAI has reported more cached tokens than prompt tokens. */
    if (u->tokens_cached > u->tokens_in)
        u->tokens_cached = u->tokens_in;
    if (u->tokens_cache_write > u->tokens_in - u->tokens_cached)
        u->tokens_cache_write = u->tokens_in - u->tokens_cached;
    if (u->tokens_cache_write_1h > u->tokens_cache_write)
        u->tokens_cache_write_1h = (uint32_t)u->tokens_cache_write;
    if (u->tokens_reasoning > u->tokens_out)
        u->tokens_reasoning = u->tokens_out;
}
