/* Bodies: a declared length, chunks (RFC 9112 section 7.1), or everything until the peer closes. */
#include <assert.h>

#include "common/net/http1.h"
#include "common/net/http1_chars.h"

/* Chunked: SIZE_FIRST -> SIZE (-> EXTENSION) -> SIZE_LF -> DATA -> DATA_CR -> DATA_LF ->
 * SIZE_FIRST; after size 0: TRAILER_FIRST -> NAME -> VALUE -> TRAILER_LF -> TRAILER_FIRST, or
 * END_LF -> DONE. */
enum body_state {
    BODY_DATA,
    BODY_SIZE_FIRST,
    BODY_SIZE,
    BODY_EXTENSION,
    BODY_SIZE_LF,
    BODY_DATA_CR,
    BODY_DATA_LF,
    BODY_TRAILER_FIRST,
    BODY_TRAILER_NAME,
    BODY_TRAILER_VALUE,
    BODY_TRAILER_LF,
    BODY_END_LF,
    BODY_DONE,
    BODY_REJECTED,
};

#define CHUNK_SIZE_DIGITS_MAX 16U
#define USUAL_SIZE_DIGITS     8U

static enum http1_result body_reject(struct http1_body *b, enum http1_reason reason)
{
    b->reason = reason;
    b->state = BODY_REJECTED;
    return HTTP1_REJECTED;
}

void http1_body_init_kind(struct http1_body *b, enum http1_body_kind kind, uint64_t length,
                          uint64_t max_bytes)
{
    *b = (struct http1_body){.kind = kind, .max_bytes = max_bytes};
    switch (kind) {
    case HTTP1_BODY_NONE:
        b->state = BODY_DONE;
        break;
    case HTTP1_BODY_LENGTH:
        b->left = length;
        b->state = length > 0 ? BODY_DATA : BODY_DONE;
        if (length > max_bytes)
            (void)body_reject(b, HTTP1_REASON_BODY_TOO_LARGE);
        break;
    case HTTP1_BODY_CHUNKED:
        b->state = BODY_SIZE_FIRST;
        break;
    case HTTP1_BODY_UNTIL_CLOSE:
        b->left = UINT64_MAX;
        b->state = BODY_DATA;
        break;
    }
}

void http1_body_init(struct http1_body *b, const struct http1_head *h, uint64_t max_bytes)
{
    http1_body_init_kind(b, h->body_kind, h->content_length, max_bytes);
}

bool http1_body_is_done(const struct http1_body *b)
{
    return b->state == BODY_DONE;
}

enum http1_result http1_body_close(struct http1_body *b)
{
    if (b->state == BODY_DONE)
        return HTTP1_DONE;
    if (b->state == BODY_REJECTED)
        return HTTP1_REJECTED;
    if (b->kind != HTTP1_BODY_UNTIL_CLOSE)
        return body_reject(b, HTTP1_REASON_CUT_SHORT);
    b->state = BODY_DONE;
    return HTTP1_DONE;
}

static bool is_control(char c)
{
    return ((unsigned char)c < 0x20 && c != '\t') || c == 0x7f;
}

/* The line of a chunk's size. Digits are counted too, so that zeros in front are bounded. */
static enum http1_reason size_byte(struct http1_body *b, char c)
{
    int digit = str_hex_value(c);
    if (digit >= 0) {
        if (b->state == BODY_SIZE_FIRST) {
            b->left = 0;
            b->line_bytes = 0;
            b->state = BODY_SIZE;
        }
        if (++b->line_bytes > CHUNK_SIZE_DIGITS_MAX || b->left > UINT64_MAX >> 5)
            return HTTP1_REASON_BAD_CHUNK_SIZE;
        b->left = b->left << 4 | (unsigned)digit;
        return HTTP1_REASON_NONE;
    }
    if (b->state == BODY_SIZE_FIRST || (c != '\r' && c != ';'))
        return HTTP1_REASON_BAD_CHUNK_SIZE;
    b->line_bytes = 0;
    b->state = c == ';' ? BODY_EXTENSION : BODY_SIZE_LF;
    return HTTP1_REASON_NONE;
}

static enum http1_reason size_line_end(struct http1_body *b, char c)
{
    if (c != '\n')
        return HTTP1_REASON_BAD_CHUNK_SIZE;
    if (b->left > b->max_bytes - b->payload_bytes)
        return HTTP1_REASON_BODY_TOO_LARGE;
    b->line_bytes = 0;
    b->state = b->left > 0 ? BODY_DATA : BODY_TRAILER_FIRST;
    return HTTP1_REASON_NONE;
}

static enum http1_reason extension_byte(struct http1_body *b, char c)
{
    if (c == '\r') {
        b->state = BODY_SIZE_LF;
        return HTTP1_REASON_NONE;
    }
    if (is_control(c) || ++b->line_bytes > HTTP1_CHUNK_EXTENSION_BYTES_MAX)
        return HTTP1_REASON_BAD_CHUNK_EXTENSION;
    return HTTP1_REASON_NONE;
}

static enum http1_reason trailer_byte(struct http1_body *b, char c)
{
    if (++b->line_bytes > HTTP1_TRAILER_BYTES_MAX)
        return HTTP1_REASON_BAD_TRAILER;
    switch ((enum body_state)b->state) {
    case BODY_TRAILER_FIRST:
        if (c == '\r') {
            b->state = BODY_END_LF;
            return HTTP1_REASON_NONE;
        }
        b->state = BODY_TRAILER_NAME;
        return http1_is_tchar(c) ? HTTP1_REASON_NONE : HTTP1_REASON_BAD_TRAILER;
    case BODY_TRAILER_NAME:
        if (c == ':')
            b->state = BODY_TRAILER_VALUE;
        else if (!http1_is_tchar(c))
            return HTTP1_REASON_BAD_TRAILER;
        return HTTP1_REASON_NONE;
    case BODY_TRAILER_VALUE:
        if (c == '\r')
            b->state = BODY_TRAILER_LF;
        else if (is_control(c))
            return HTTP1_REASON_BAD_TRAILER;
        return HTTP1_REASON_NONE;
    case BODY_TRAILER_LF:
        b->state = BODY_TRAILER_FIRST;
        return c == '\n' ? HTTP1_REASON_NONE : HTTP1_REASON_BAD_TRAILER;
    case BODY_END_LF:
        b->state = BODY_DONE;
        return c == '\n' ? HTTP1_REASON_NONE : HTTP1_REASON_BAD_TRAILER;
    case BODY_DATA:
    case BODY_SIZE_FIRST:
    case BODY_SIZE:
    case BODY_EXTENSION:
    case BODY_SIZE_LF:
    case BODY_DATA_CR:
    case BODY_DATA_LF:
    case BODY_DONE:
    case BODY_REJECTED:
        break;
    }
    assert(!"not in a trailer");
    return HTTP1_REASON_BAD_TRAILER;
}

/* Any byte that is not payload. */
static enum http1_reason framing_byte(struct http1_body *b, char c)
{
    switch ((enum body_state)b->state) {
    case BODY_SIZE_FIRST:
    case BODY_SIZE:
        return size_byte(b, c);
    case BODY_EXTENSION:
        return extension_byte(b, c);
    case BODY_SIZE_LF:
        return size_line_end(b, c);
    case BODY_DATA_CR:
        b->state = BODY_DATA_LF;
        return c == '\r' ? HTTP1_REASON_NONE : HTTP1_REASON_BAD_CHUNK_END;
    case BODY_DATA_LF:
        b->state = BODY_SIZE_FIRST;
        return c == '\n' ? HTTP1_REASON_NONE : HTTP1_REASON_BAD_CHUNK_END;
    case BODY_TRAILER_FIRST:
    case BODY_TRAILER_NAME:
    case BODY_TRAILER_VALUE:
    case BODY_TRAILER_LF:
    case BODY_END_LF:
        return trailer_byte(b, c);
    case BODY_DATA:
    case BODY_DONE:
    case BODY_REJECTED:
        break;
    }
    assert(!"payload, or after the end");
    return HTTP1_REASON_BAD_CHUNK_SIZE;
}

static void drop(struct str *io_input, size_t bytes)
{
    io_input->data += bytes;
    io_input->len -= bytes;
}

static inline bool is_crlf(struct str s)
{
    return s.len >= 2 && s.data[0] == '\r' && s.data[1] == '\n';
}

/* What stands between two chunks, as nearly everyone writes it and all of it there: the CRLF behind
 * the data, digits, CRLF. Takes what is usual in one look and leaves the rest to framing_byte,
 * which says the same of the same bytes. */
static void take_usual_framing(struct http1_body *b, struct str *io_input)
{
    const char *data = io_input->data;
    uint64_t size = 0;
    size_t at = 0;
    if (b->state == BODY_DATA_CR && is_crlf(*io_input)) {
        b->state = BODY_SIZE_FIRST;
        drop(io_input, 2);
        data = io_input->data;
    }
    if (b->state != BODY_SIZE_FIRST)
        return;
    size_t end = io_input->len < USUAL_SIZE_DIGITS + 2 ? io_input->len : USUAL_SIZE_DIGITS + 2;
    for (int digit; at + 2 < end && (digit = str_hex_value(data[at])) >= 0; at++)
        size = size << 4 | (unsigned)digit;
    if (at + 2 > end || data[at] != '\r' || data[at + 1] != '\n' || size == 0 ||
        size > b->max_bytes - b->payload_bytes)
        return;
    b->left = size;
    b->line_bytes = 0;
    b->state = BODY_DATA;
    drop(io_input, at + 2);
}

static enum http1_result take_payload(struct http1_body *b, struct str *io_input,
                                      struct str *out_piece)
{
    size_t take = io_input->len < b->left ? io_input->len : (size_t)b->left;
    if (take > b->max_bytes - b->payload_bytes)
        return body_reject(b, HTTP1_REASON_BODY_TOO_LARGE); /* Only without a declared length. */
    *out_piece = (struct str){.data = io_input->data, .len = take};
    drop(io_input, take);
    b->payload_bytes += take;
    if (b->kind != HTTP1_BODY_UNTIL_CLOSE)
        b->left -= take;
    if (b->left > 0)
        return HTTP1_DATA;
    b->state = b->kind == HTTP1_BODY_CHUNKED ? BODY_DATA_CR : BODY_DONE;
    if (b->state == BODY_DATA_CR && is_crlf(*io_input)) {
        b->state = BODY_SIZE_FIRST;
        drop(io_input, 2);
    }
    return HTTP1_DATA;
}

enum http1_result http1_body_next(struct http1_body *b, struct str *io_input, struct str *out_piece)
{
    for (;;) {
        if (b->state == BODY_REJECTED)
            return HTTP1_REJECTED;
        if (b->state == BODY_DONE)
            return HTTP1_DONE;
        if (b->kind == HTTP1_BODY_CHUNKED && b->state != BODY_DATA)
            take_usual_framing(b, io_input);
        if (io_input->len == 0)
            return HTTP1_MORE;
        if (b->state == BODY_DATA)
            return take_payload(b, io_input, out_piece);
        enum http1_reason reason = framing_byte(b, io_input->data[0]);
        if (reason != HTTP1_REASON_NONE)
            return body_reject(b, reason);
        drop(io_input, 1);
    }
}
