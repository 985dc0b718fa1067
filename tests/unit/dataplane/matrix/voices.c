#include "tests/unit/dataplane/matrix/voices.h"

#include <string.h>

#include "dataplane/translate/dialects.h"

/* ---- callers ---- */

#define USER "[{\"role\":\"user\",\"content\":\"hi\"}]"

const struct caller callers[DIALECT_CALLERS] = {
    {DIALECT_OPENAI, "openai",
     "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " RIG_KEY "\r\n",
     "{\"model\":\"", "\",\"messages\":" USER, ",\"stream\":true}", "data: [DONE]",
     "data: {\"error\":"},
    {DIALECT_RESPONSES, "responses",
     "POST /v1/responses HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " RIG_KEY "\r\n",
     "{\"model\":\"", "\",\"input\":\"hi\"", ",\"stream\":true}", "event: response.completed",
     "event: response.failed"},
    {DIALECT_ANTHROPIC, "anthropic",
     "POST /v1/messages HTTP/1.1\r\nHost: x\r\nx-api-key: " RIG_KEY "\r\n", "{\"model\":\"",
     "\",\"max_tokens\":99,\"messages\":" USER, ",\"stream\":true}", "event: message_stop",
     "event: error"},
};

void caller_ask(struct rig *r, const struct caller *c, const char *model, bool stream,
                struct rig_answer *out)
{
    const char *end = stream ? c->stream : "}";
    struct buf b;
    buf_init(&b, 65536);
    assert_int_equal(
        buf_printf(&b, "%sContent-Length: %zu\r\n\r\n%s%s%s%s", c->head,
                   strlen(c->before_model) + strlen(model) + strlen(c->ask) + strlen(end),
                   c->before_model, model, c->ask, end),
        0);
    rig_exchange_raw(r, b.data, b.len, out);
    buf_deinit(&b);
}

bool caller_ended(const struct caller *c, const struct rig_answer *a)
{
    return str_search(buf_str(&a->body), str_from(c->end)) >= 0;
}

bool caller_marked(const struct caller *c, const struct rig_answer *a)
{
    return str_search(buf_str(&a->body), str_from(c->mark)) >= 0;
}

/* ---- providers ---- */

bool voice_spoken(const struct voice *v)
{
    return tr_provider_find(v->dialect) != NULL;
}

/* ---- saying it ---- */

static void put(struct buf *out, const char *text, size_t len)
{
    assert_int_equal(buf_append(out, text, len), 0);
}

void voice_put_text(const struct voice *v, const char *text, struct voice_usage usage,
                    struct buf *out)
{
    for (const char *at; (at = strchr(text, '@')) != NULL; text = at + 2) {
        const char *more = "";
        put(out, text, (size_t)(at - text));
        switch (at[1]) {
        case 'I':
            more = usage.in;
            break;
        case 'O':
            more = usage.out;
            break;
        case 'S':
            more = usage.in != NULL && v->first != NULL ? v->first : "";
            break;
        default:
            assert_int_equal(at[1], 'U');
            more = usage.in != NULL ? v->usage : "";
        }
        voice_put_text(v, more, usage, out);
    }
    put(out, text, strlen(text));
}

static uint32_t crc32_of(const char *data, size_t len)
{
    uint32_t crc = UINT32_MAX;
    for (size_t i = 0; i < len; i++) {
        crc ^= (unsigned char)data[i];
        for (unsigned bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ ((crc & 1) != 0 ? 0xedb88320U : 0);
    }
    return ~crc;
}

static void put_u32(struct buf *out, uint32_t v)
{
    const char bytes[4] = {(char)(v >> 24), (char)(v >> 16), (char)(v >> 8), (char)v};
    put(out, bytes, 4);
}

static void put_header(struct buf *out, const char *name, const char *value)
{
    const char sizes[4] = {(char)strlen(name), 7, 0, (char)strlen(value)};
    put(out, sizes, 1);
    put(out, name, strlen(name));
    put(out, sizes + 1, 3);
    put(out, value, strlen(value));
}

/* Prelude, headers, payload, checksum. A name that begins with '!' is an exception's. */
static void put_aws(const struct voice_frame *frame, struct str payload, struct buf *out)
{
    const bool exception = frame->name[0] == '!';
    struct buf headers;
    size_t start = out->len;
    buf_init(&headers, 4096);
    put_header(&headers, exception ? ":exception-type" : ":event-type", frame->name + exception);
    put_header(&headers, ":content-type", "application/json");
    put_header(&headers, ":message-type", exception ? "exception" : "event");
    put_u32(out, (uint32_t)(16 + headers.len + payload.len));
    put_u32(out, (uint32_t)headers.len);
    put_u32(out, crc32_of(out->data + start, 8));
    put(out, headers.data, headers.len);
    put(out, payload.data, payload.len);
    put_u32(out, crc32_of(out->data + start, out->len - start));
    buf_deinit(&headers);
}

void voice_put_frame(const struct voice *v, const struct voice_frame *frame,
                     struct voice_usage usage, struct buf *out)
{
    if (v->dialect == DIALECT_BEDROCK) {
        struct buf payload;
        buf_init(&payload, 65536);
        voice_put_text(v, frame->data, usage, &payload);
        put_aws(frame, buf_str(&payload), out);
        buf_deinit(&payload);
        return;
    }
    if (frame->name != NULL) {
        put(out, "event: ", 7);
        put(out, frame->name, strlen(frame->name));
        put(out, "\n", 1);
    }
    put(out, "data: ", 6);
    voice_put_text(v, frame->data, usage, out);
    put(out, "\n\n", 2);
}

void voice_put_frames(const struct voice *v, const struct voice_speech *speech, size_t from,
                      size_t to, struct voice_usage usage, struct buf *out)
{
    for (size_t i = from; i < to; i++)
        voice_put_frame(v, &speech->frames[i], usage, out);
}
