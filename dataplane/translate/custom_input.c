/* The text of {"input":"..."} while it still comes: a tool's input is shown as it is written, and
 * may be long. */
#include <string.h>

#include "dataplane/translate/custom.h"

#define REPLACEMENT STR("\xef\xbf\xbd") /* U+FFFD */

enum head { HEAD_UNDECIDED, HEAD_TEXT, HEAD_EMPTY, HEAD_OTHER };

struct head_reader {
    const char *at, *end;
};

static void skip_blanks(struct head_reader *r)
{
    while (r->at < r->end && strchr(" \t\r\n", *r->at) != NULL && *r->at != '\0')
        r->at++;
}

/* HEAD_TEXT: all of it is there. */
static enum head expect(struct head_reader *r, struct str text)
{
    skip_blanks(r);
    for (size_t i = 0; i < text.len; i++, r->at++) {
        if (r->at == r->end)
            return HEAD_UNDECIDED;
        if (*r->at != text.data[i])
            return HEAD_OTHER;
    }
    return HEAD_TEXT;
}

static enum head judge(const struct tr_custom_input *in)
{
    static const struct str words[] = {{"\"input\"", 7}, {":", 1}, {"\"", 1}};
    struct head_reader r = {in->head, in->head + in->head_len};
    enum head found = expect(&r, STR("{"));
    skip_blanks(&r);
    if (found == HEAD_TEXT && r.at < r.end && *r.at == '}')
        return HEAD_EMPTY;
    for (size_t i = 0; found == HEAD_TEXT && i < sizeof words / sizeof words[0]; i++)
        found = expect(&r, words[i]);
    return found;
}

/* A byte of the head; what was held back goes out if it is something else. */
static int take_head(struct tr_custom_input *in, char c, struct buf *out)
{
    in->head[in->head_len++] = c;
    switch (judge(in)) {
    case HEAD_UNDECIDED:
        if (in->head_len < sizeof in->head)
            return 0;
        break;
    case HEAD_TEXT:
        in->state = TR_CUSTOM_TEXT;
        return 0;
    case HEAD_EMPTY:
        in->state = TR_CUSTOM_AFTER;
        return 0;
    case HEAD_OTHER:
        break;
    }
    in->state = TR_CUSTOM_RAW;
    return buf_append(out, in->head, in->head_len);
}

/* The first half of a pair whose second one did not come. */
static int put_lost(struct tr_custom_input *in, struct buf *out)
{
    bool lost = in->high != 0;
    in->high = 0;
    return lost ? buf_append_str(out, REPLACEMENT) : 0;
}

static int put_code(uint32_t code, struct buf *out)
{
    char utf8[4];
    size_t len = 0;
    if (code < 0x80) {
        utf8[len++] = (char)code;
    } else if (code < 0x800) {
        utf8[len++] = (char)(0xc0 | code >> 6);
        utf8[len++] = (char)(0x80 | (code & 0x3f));
    } else if (code < 0x10000) {
        utf8[len++] = (char)(0xe0 | code >> 12);
        utf8[len++] = (char)(0x80 | (code >> 6 & 0x3f));
        utf8[len++] = (char)(0x80 | (code & 0x3f));
    } else {
        utf8[len++] = (char)(0xf0 | code >> 18);
        utf8[len++] = (char)(0x80 | (code >> 12 & 0x3f));
        utf8[len++] = (char)(0x80 | (code >> 6 & 0x3f));
        utf8[len++] = (char)(0x80 | (code & 0x3f));
    }
    return buf_append(out, utf8, len);
}

static int put_unit(struct tr_custom_input *in, uint16_t unit, struct buf *out)
{
    const uint16_t high = in->high;
    if (high != 0 && unit >= 0xdc00 && unit <= 0xdfff) {
        in->high = 0;
        return put_code(0x10000 + ((uint32_t)(high - 0xd800) << 10) + (unit - 0xdc00U), out);
    }
    int rc = put_lost(in, out);
    if (rc != 0)
        return rc;
    if (unit >= 0xd800 && unit <= 0xdbff) {
        in->high = unit;
        return 0;
    }
    return unit >= 0xdc00 && unit <= 0xdfff ? buf_append_str(out, REPLACEMENT)
                                            : put_code(unit, out);
}

static int take_escape(struct tr_custom_input *in, char c, struct buf *out)
{
    static const char from[] = "bfnrt", to[] = "\b\f\n\r\t";
    in->state = TR_CUSTOM_TEXT;
    if (c == 'u') {
        in->state = TR_CUSTOM_HEX;
        in->hex = in->hex_digits = 0;
        return 0;
    }
    int rc = put_lost(in, out);
    const char *known = c != '\0' ? strchr(from, c) : NULL;
    return rc == 0 ? buf_append_char(out, known != NULL ? to[known - from] : c) : rc;
}

/* *out_again: the byte is none of the digits, and is looked at again. */
static int take_hex(struct tr_custom_input *in, char c, struct buf *out, bool *out_again)
{
    int digit = str_hex_value(c);
    *out_again = digit < 0;
    if (digit < 0) {
        in->state = TR_CUSTOM_TEXT;
        int rc = put_lost(in, out);
        return rc == 0 ? buf_append_str(out, REPLACEMENT) : rc;
    }
    in->hex = (uint16_t)((unsigned)in->hex << 4 | (unsigned)digit);
    if (++in->hex_digits < 4)
        return 0;
    in->state = TR_CUSTOM_TEXT;
    return put_unit(in, in->hex, out);
}

/* As many bytes as stand for themselves, and the one behind them. */
static int take_text(struct tr_custom_input *in, struct str piece, size_t *io_at, struct buf *out)
{
    size_t from = *io_at, at = from;
    while (at < piece.len && piece.data[at] != '"' && piece.data[at] != '\\')
        at++;
    int rc = at > from || piece.data[at] == '"' ? put_lost(in, out) : 0;
    if (rc == 0)
        rc = buf_append(out, piece.data + from, at - from);
    if (at < piece.len)
        in->state = piece.data[at++] == '"' ? TR_CUSTOM_AFTER : TR_CUSTOM_ESCAPE;
    *io_at = at;
    return rc;
}

int tr_custom_input_take(struct tr_custom_input *in, struct str piece, struct buf *out)
{
    int rc = 0;
    bool again;
    for (size_t at = 0; rc == 0 && at < piece.len;) {
        switch (in->state) {
        case TR_CUSTOM_HEAD:
            rc = take_head(in, piece.data[at++], out);
            break;
        case TR_CUSTOM_TEXT:
            rc = take_text(in, piece, &at, out);
            break;
        case TR_CUSTOM_ESCAPE:
            rc = take_escape(in, piece.data[at++], out);
            break;
        case TR_CUSTOM_HEX:
            rc = take_hex(in, piece.data[at], out, &again);
            at += again ? 0 : 1;
            break;
        case TR_CUSTOM_AFTER:
            return 0;
        case TR_CUSTOM_RAW:
            return buf_append(out, piece.data + at, piece.len - at);
        }
    }
    return rc;
}

int tr_custom_input_end(struct tr_custom_input *in, struct buf *out)
{
    struct head_reader r = {in->head, in->head + in->head_len};
    int rc = put_lost(in, out);
    if (in->state == TR_CUSTOM_HEAD) {
        skip_blanks(&r);
        if (rc == 0 && r.at < r.end)
            rc = buf_append(out, in->head, in->head_len);
    }
    in->state = TR_CUSTOM_AFTER;
    return rc;
}
