/* The usual field is short and needs no escape: then its room is checked once and its bytes are
 * copied; anything else goes the careful way, piece by piece. Both write the same. */
#include "common/base/log_line.h"

#include <string.h>

#include "common/base/clock.h"
#include "common/base/log_put.h"

#define TS              "{\"ts\":\""
#define TAIL_BYTES      32U /* Room for the mark of a cut line and its end. */
#define ROOM_BYTES      (LOG_LINE_BYTES - TAIL_BYTES)
#define KEY_BYTES_MAX   64U /* Of a field that is written in one go. */
#define FIELD_BYTES_MAX (KEY_BYTES_MAX + LOG_VALUE_BYTES_MAX + 16)

const char *const log_level_names[4] = {"debug", "info", "warn", "error"};

static void line_put(struct log_line *l, const char *data, size_t len)
{
    if (l->full || ROOM_BYTES - l->len < len) {
        l->full = true;
        return;
    }
    memcpy(l->data + l->len, data, len);
    l->len += len;
}

static void line_text(struct log_line *l, const char *text)
{
    line_put(l, text, strlen(text));
}

static void line_escape(struct log_line *l, unsigned char c)
{
    static const char hex[] = "0123456789abcdef";
    char escape[6] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]};
    if (c == '"' || c == '\\')
        line_put(l, (char[]){'\\', (char)c}, 2);
    else if (c == '\n')
        line_put(l, "\\n", 2);
    else
        line_put(l, escape, sizeof escape);
}

/* Between quotes; control bytes never reach a terminal, broken UTF-8 never reaches a collector. */
static void line_string(struct log_line *l, struct str s)
{
    bool cut = s.len > LOG_VALUE_BYTES_MAX;
    size_t len = cut ? LOG_VALUE_BYTES_MAX : s.len;
    line_put(l, "\"", 1);
    for (size_t i = 0; i < len;) {
        size_t n = str_utf8_length(s, i);
        unsigned char c = (unsigned char)s.data[i];
        if (n == 0) {
            line_text(l, "\xEF\xBF\xBD"); /* U+FFFD */
            n = 1;
        } else if (c < 0x20 || c == 0x7F || c == '"' || c == '\\') {
            line_escape(l, c);
        } else if (i + n > len) {
            break;
        } else {
            line_put(l, s.data + i, n);
        }
        i += n;
    }
    if (cut)
        line_text(l, "...");
    line_put(l, "\"", 1);
}

static inline char *put_number(char *at, const struct log_field *field)
{
    if (field->kind == LOG_KIND_BOOL) {
        memcpy(at, field->number != 0 ? "true" : "false", 5);
        return at + (field->number != 0 ? 4 : 5);
    }
    if (field->kind == LOG_KIND_I64 && (int64_t)field->number < 0) {
        *at++ = '-';
        return digits_put_u64(at, 0 - field->number);
    }
    return digits_put_u64(at, field->number);
}

static void careful_field(struct log_line *l, const struct log_field *field)
{
    char number[LOG_NUMBER_BYTES];
    size_t len = l->len;
    if (l->as_text) { /* Without the quotes. */
        line_put(l, " ", 1);
        line_put(l, field->key + 2, field->key_len - 4);
        line_put(l, "=", 1);
    } else {
        line_put(l, field->key, field->key_len);
    }
    if (field->kind == LOG_KIND_STR)
        line_string(l, field->str);
    else
        line_put(l, number, (size_t)(put_number(number, field) - number));
    if (l->full)
        l->len = len;
}

/* A JSON line with room for any short field: where the field ended, NULL when it needs care. */
static inline char *put_field(char *at, const struct log_field *field)
{
    memcpy(at, field->key, 16); /* The rest of it is overwritten. */
    if (field->key_len > 16)
        memcpy(at + 16, field->key + 16, field->key_len - 16);
    at += field->key_len;
    if (field->kind == LOG_KIND_U64)
        return digits_put_u64(at, field->number);
    if (field->kind != LOG_KIND_STR)
        return put_number(at, field);
    return log_put_str(at, field->str);
}

/* Each a whole field or none of it. */
void log_line_fields(struct log_line *l, const struct log_field *fields)
{
    /* Up to here there is room for any field. */
    const char *const last = l->as_text ? l->data : l->data + ROOM_BYTES - FIELD_BYTES_MAX;
    char *at = l->data + l->len, *end;
    for (; fields->kind != LOG_KIND_END; fields++) {
        if (at <= last && fields->key_len <= KEY_BYTES_MAX &&
            (end = put_field(at, fields)) != NULL) {
            at = end;
            continue;
        }
        l->len = (size_t)(at - l->data);
        careful_field(l, fields);
        at = l->data + l->len;
        if (l->full)
            break;
    }
    l->len = (size_t)(at - l->data);
}

/* `","level":"info","msg":...,"component":...`, but for the first quote. */
static void put_origin(struct log_line *l, const struct log_style *style, enum log_level level,
                       const char *msg)
{
#define LEVEL(name)                                                                                \
    {                                                                                              \
        "\",\"level\":\"" name "\"", sizeof("\",\"level\":\"" name "\"") - 1                       \
    }
    static const struct str levels[] = {LEVEL("debug"), LEVEL("info"), LEVEL("warn"),
                                        LEVEL("error")};
#undef LEVEL
    const struct log_field first[] = {LOG_TEXT_FIELD("msg", msg),
                                      LOG_STR("component", style->component), LOG_END};
    line_put(l, levels[level].data, levels[level].len);
    log_line_fields(l, first);
}

static bool know_second(struct log_start *s, int64_t now_s)
{
    char text[CLOCK_RFC3339_BYTES];
    clock_format_rfc3339(now_s * 1000000, text);
    size_t len = strlen(text);
    s->second_known = len == 27; /* Else a year that nobody logs in. */
    if (!s->second_known)
        return false;
    memcpy(s->second_text, TS, sizeof TS - 1);
    memcpy(s->second_text + sizeof TS - 1, text, len - 7); /* Without "123456Z". */
    s->second = now_s;
    return true;
}

static bool know_origin(struct log_start *s, const struct log_style *style, enum log_level level,
                        const char *msg)
{
    char data[LOG_LINE_BYTES];
    struct log_line l = {.data = data};
    line_put(&l, "Z", 1);
    put_origin(&l, style, level, msg);
    s->msg = NULL;
    if (l.len > sizeof s->origin)
        return false;
    memcpy(s->origin, data, l.len);
    s->origin_len = l.len;
    s->level = level;
    s->msg = msg;
    return true;
}

char *log_start_put(struct log_start *s, char *at, const struct log_style *style,
                    enum log_level level, const char *msg, int64_t now_us)
{
    int64_t now_s = now_us / 1000000;
    if (style->as_text || now_us < 0)
        return NULL;
    if ((!s->second_known || s->second != now_s) && !know_second(s, now_s))
        return NULL;
    if ((s->msg != msg || s->level != level) && !know_origin(s, style, level, msg))
        return NULL;
    uint32_t us = (uint32_t)(now_us - now_s * 1000000);
    memcpy(at, s->second_text, sizeof s->second_text);
    at += sizeof s->second_text;
    digits_put_two(at, us / 10000);
    digits_put_two(at + 2, us / 100 % 100);
    digits_put_two(at + 4, us % 100);
    memcpy(at + 6, s->origin, sizeof s->origin); /* The rest of it is overwritten. */
    return at + 6 + s->origin_len;
}

void log_line_begin(struct log_line *l, char *data, const struct log_style *style,
                    enum log_level level, const char *msg, struct log_start *start)
{
    char text[CLOCK_RFC3339_BYTES];
    int64_t now_us = clock_wall_us();
    *l = (struct log_line){.data = data, .as_text = style->as_text};
    char *end = start != NULL ? log_start_put(start, data, style, level, msg, now_us) : NULL;
    if (end != NULL) {
        l->len = (size_t)(end - data);
        return;
    }
    clock_format_rfc3339(now_us, text);
    if (!l->as_text) {
        line_text(l, TS);
        line_text(l, text);
        put_origin(l, style, level, msg);
        return;
    }
    line_text(l, text);
    line_put(l, " ", 1);
    line_text(l, log_level_names[level]);
    line_put(l, "     ", 6 - strlen(log_level_names[level]));
    line_put(l, style->component.data, style->component.len);
    line_text(l, ": ");
    line_text(l, msg);
}

void log_line_end(struct log_line *l)
{
    static const char cut_json[] = ",\"cut\":true";
    static const char cut_text[] = " cut=true";
    if (l->full) {
        const char *mark = l->as_text ? cut_text : cut_json;
        size_t len = strlen(mark);
        memcpy(l->data + l->len, mark, len); /* Into the room kept by TAIL_BYTES. */
        l->len += len;
    }
    if (!l->as_text)
        l->data[l->len++] = '}';
    l->data[l->len++] = '\n';
}
