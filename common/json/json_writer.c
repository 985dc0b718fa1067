#include "common/json/json_writer.h"

#include <assert.h>

#include "common/json/json_internal.h"

void json_writer_init(struct json_writer *w, struct buf *out)
{
    *w = (struct json_writer){.out = out, .begin = out->len};
}

int json_writer_finish(struct json_writer *w)
{
    assert(w->status != 0 || (w->depth == 0 && !w->after_key && !w->in_string && w->comma));
    if (w->status != 0)
        w->out->len = w->begin;
    return w->status;
}

static void writer_put(struct json_writer *w, struct str s)
{
    if (w->status == 0)
        w->status = buf_append_str(w->out, s);
}

static bool writer_in_object(const struct json_writer *w)
{
    return w->depth > 0 && (w->objects[(w->depth - 1) / 64] >> ((w->depth - 1) % 64) & 1) != 0;
}

/* Before each value: the comma that is due, and the checks of the caller's order. */
static void writer_value(struct json_writer *w)
{
    assert(w->status != 0 || !w->in_string);
    assert(w->status != 0 || w->after_key == writer_in_object(w));
    assert(w->status != 0 || w->depth > 0 || !w->comma); /* One value in all. */
    if (w->comma && !w->after_key)
        writer_put(w, STR(","));
    w->comma = true;
    w->after_key = false;
}

static void writer_begin(struct json_writer *w, bool object)
{
    writer_value(w);
    if (w->status == 0 && w->depth == JSON_WRITER_DEPTH_MAX)
        w->status = ERR_LIMIT;
    if (w->status != 0)
        return;
    writer_put(w, object ? STR("{") : STR("["));
    uint64_t bit = (uint64_t)1 << (w->depth % 64);
    if (object)
        w->objects[w->depth / 64] |= bit;
    else
        w->objects[w->depth / 64] &= ~bit;
    w->depth++;
    w->comma = false;
}

static void writer_end(struct json_writer *w, bool object)
{
    if (w->status != 0)
        return;
    assert(w->depth > 0 && writer_in_object(w) == object && !w->after_key && !w->in_string);
    writer_put(w, object ? STR("}") : STR("]"));
    w->depth--;
    w->comma = true;
}

void json_writer_begin_object(struct json_writer *w)
{
    writer_begin(w, true);
}

void json_writer_end_object(struct json_writer *w)
{
    writer_end(w, true);
}

void json_writer_begin_array(struct json_writer *w)
{
    writer_begin(w, false);
}

void json_writer_end_array(struct json_writer *w)
{
    writer_end(w, false);
}

static int writer_escape_byte(struct buf *out, unsigned char c)
{
    static const char hex[] = "0123456789abcdef";
    static const char names[0x20] = {
        ['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\f'] = 'f', ['\r'] = 'r'};
    char escape[6] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]};
    if (c >= 0x20 || names[c] != '\0') {
        escape[1] = c >= 0x20 ? (char)c : names[c];
        return buf_append(out, escape, 2);
    }
    return buf_append(out, escape, sizeof escape);
}

/* What one look found at `from`: plain text, a character, an escape or a bad byte. */
static int writer_escape_next(struct buf *out, struct str text, size_t *io_from)
{
    const unsigned char *p = (const unsigned char *)text.data + *io_from;
    size_t run = json_bare_length(p, text.len - *io_from);
    if (run == 0 && *p < 0x80) {
        *io_from += 1;
        return writer_escape_byte(out, *p);
    }
    if (run == 0)
        run = str_utf8_length(text, *io_from);
    *io_from += run > 0 ? run : 1;
    return run > 0 ? buf_append(out, p, run) : buf_append_text(out, "\xEF\xBF\xBD");
}

bool json_writer_is_bare(struct str text)
{
    return json_bare_length((const unsigned char *)text.data, text.len) == text.len;
}

int json_writer_escape(struct buf *out, struct str text)
{
    size_t before = out->len;
    int rc = 0;
    for (size_t from = 0; from < text.len && rc == 0;)
        rc = writer_escape_next(out, text, &from);
    if (rc != 0)
        out->len = before;
    return rc;
}

static void writer_quoted(struct json_writer *w, struct str text)
{
    writer_put(w, STR("\""));
    if (w->status == 0)
        w->status = json_writer_escape(w->out, text);
    writer_put(w, STR("\""));
}

void json_writer_key(struct json_writer *w, const char *key)
{
    json_writer_key_str(w, str_from(key));
}

void json_writer_key_str(struct json_writer *w, struct str key)
{
    assert(w->status != 0 || (writer_in_object(w) && !w->after_key && !w->in_string));
    if (w->comma)
        writer_put(w, STR(","));
    writer_quoted(w, key);
    writer_put(w, STR(":"));
    w->after_key = true;
}

void json_writer_string(struct json_writer *w, struct str text)
{
    writer_value(w);
    writer_quoted(w, text);
}

void json_writer_text(struct json_writer *w, const char *text)
{
    if (text == NULL)
        json_writer_null(w);
    else
        json_writer_string(w, str_from(text));
}

void json_writer_i64(struct json_writer *w, int64_t value)
{
    writer_value(w);
    if (w->status == 0)
        w->status = buf_append_i64(w->out, value);
}

void json_writer_u64(struct json_writer *w, uint64_t value)
{
    writer_value(w);
    if (w->status == 0)
        w->status = buf_append_u64(w->out, value);
}

void json_writer_bool(struct json_writer *w, bool value)
{
    json_writer_raw(w, value ? STR("true") : STR("false"));
}

void json_writer_null(struct json_writer *w)
{
    json_writer_raw(w, STR("null"));
}

void json_writer_fixed(struct json_writer *w, int64_t value, unsigned scale)
{
    assert(scale <= 18);
    uint64_t magnitude = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    char fraction[19];
    while (scale > 0 && magnitude % 10 == 0 && magnitude != 0) {
        magnitude /= 10;
        scale--;
    }
    if (magnitude == 0)
        scale = 0;
    for (unsigned i = scale; i > 0; i--) {
        fraction[i] = (char)('0' + (char)(magnitude % 10));
        magnitude /= 10;
    }
    writer_value(w);
    if (value < 0)
        writer_put(w, STR("-"));
    if (w->status == 0)
        w->status = buf_append_u64(w->out, magnitude);
    fraction[0] = '.';
    if (scale > 0)
        writer_put(w, (struct str){.data = fraction, .len = scale + 1});
}

void json_writer_raw(struct json_writer *w, struct str json)
{
    writer_value(w);
    writer_put(w, json);
}

void json_writer_begin_string(struct json_writer *w)
{
    writer_value(w);
    writer_put(w, STR("\""));
    w->in_string = true;
}

void json_writer_part(struct json_writer *w, struct str text)
{
    assert(w->in_string);
    if (w->status == 0)
        w->status = json_writer_escape(w->out, text);
}

void json_writer_end_string(struct json_writer *w)
{
    assert(w->in_string);
    w->in_string = false;
    writer_put(w, STR("\""));
}
