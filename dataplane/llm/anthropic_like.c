/* The event that nearly all of a stream is made of: a piece of text in the very form in which
 * Anthropic writes it, printable ASCII and no escape in it. It is told by comparing bytes, at a
 * tenth of the price of a parse; whatever differs by one of them is for the strict reader, which
 * says the same of those that fit. */
#include "dataplane/llm/anthropic.h"

#include <string.h>

#include "dataplane/llm/tokens.h"

enum { INDEX_DIGITS_MAX = 4 };

#define S(text)                                                                                    \
    {                                                                                              \
        text, sizeof(text) - 1                                                                     \
    }
static const struct str beginning =
    S("event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":");
static const struct str kinds[] = {
    S(",\"delta\":{\"type\":\"text_delta\",\"text\":\""),
    S(",\"delta\":{\"type\":\"thinking_delta\",\"thinking\":\""),
    S(",\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":\""),
};

/* Behind what the text at *io_at begins with; false: with something else. */
static bool pass(struct str text, size_t *io_at, struct str expected)
{
    if (text.len - *io_at < expected.len ||
        memcmp(text.data + *io_at, expected.data, expected.len) != 0)
        return false;
    *io_at += expected.len;
    return true;
}

/* A number as JSON has it. */
static bool pass_index(struct str text, size_t *io_at)
{
    size_t at = *io_at;
    while (at < text.len && text.data[at] >= '0' && text.data[at] <= '9')
        at++;
    size_t digits = at - *io_at;
    if (digits == 0 || digits > INDEX_DIGITS_MAX || (digits > 1 && text.data[*io_at] == '0'))
        return false;
    *io_at = at;
    return true;
}

static bool pass_kind(struct str text, size_t *io_at)
{
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (pass(text, io_at, kinds[i]))
            return true;
    return false;
}

static bool is_plain(char c)
{
    return c >= ' ' && c <= '~' && c != '"' && c != '\\';
}

/* The event at the front: how long it is, and its text. 0: it is none of these. */
static size_t fits(struct str in, struct str *out_text)
{
    size_t at = 0;
    if (!pass(in, &at, beginning) || !pass_index(in, &at) || !pass_kind(in, &at))
        return 0;
    size_t from = at;
    while (at < in.len && is_plain(in.data[at]))
        at++;
    *out_text = str_slice(in, from, at);
    if (out_text->len == 0 || !pass(in, &at, STR("\"}")))
        return 0;
    while (at < in.len && in.data[at] == ' ') /* It is padded. */
        at++;
    return pass(in, &at, STR("}\n\n")) && at <= SSE_EVENT_BYTES_MAX ? at : 0;
}

int anthropic_read_like(struct provider_reply *reply, struct str *io_input,
                        const struct provider_rewrite *rewrite, struct provider_out *out)
{
    struct str text, in = *io_input;
    size_t len = fits(in, &text);
    (void)rewrite; /* There is nothing to rewrite in it. */
    if (len == 0)
        return 0;
    reply->anything = true;
    reply->content = true;
    reply->text_q8 += tokens_text_q8(text);
    reply->content_bytes += text.len;
    *io_input = str_slice(in, len, in.len);
    int rc = provider_out_add(out, str_slice(in, 0, len));
    return rc == 0 ? 1 : rc;
}
