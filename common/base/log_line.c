/* The usual field is short and needs no escape: then its room is checked once and its bytes are
 * copied; anything else goes the careful way, piece by piece. Both write the same. */
#include "common/base/log_line.h"

#include <string.h>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "common/base/clock.h"

#define TAIL_BYTES      32U /* Room for the mark of a cut line and its end. */
#define ROOM_BYTES      (LOG_LINE_BYTES - TAIL_BYTES)
#define VALUE_BYTES_MAX 256U
#define NUMBER_BYTES    24U /* Any number or truth value. */
#define KEY_BYTES_MAX   64U /* Of a field that is written in one go. */
#define FIELD_BYTES_MAX (KEY_BYTES_MAX + VALUE_BYTES_MAX + 16)

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
    bool cut = s.len > VALUE_BYTES_MAX;
    size_t len = cut ? VALUE_BYTES_MAX : s.len;
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

static bool is_plain_byte(char c)
{
    return c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
}

#if defined(__SSE2__)
/* 0xff where the byte is none of plain ASCII: signed below 0x20 is a control byte or not ASCII. */
static inline __m128i odd_bytes(__m128i v)
{
    __m128i low = _mm_cmplt_epi8(v, _mm_set1_epi8(0x20));
    __m128i del = _mm_cmpeq_epi8(v, _mm_set1_epi8(0x7f));
    __m128i quote = _mm_cmpeq_epi8(v, _mm_set1_epi8('"'));
    __m128i slash = _mm_cmpeq_epi8(v, _mm_set1_epi8('\\'));
    return _mm_or_si128(_mm_or_si128(low, del), _mm_or_si128(quote, slash));
}

static inline bool put_blocks(char *at, const char *p, size_t n)
{
    __m128i odd = _mm_setzero_si128();
    for (size_t i = 0; i < n; i += 16) {
        size_t from = i + 16 <= n ? i : n - 16;
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)(p + from));
        _mm_storeu_si128((__m128i *)(void *)(at + from), v);
        odd = _mm_or_si128(odd, odd_bytes(v));
    }
    return _mm_movemask_epi8(odd) == 0;
}

static inline bool put_quarter_block(char *at, const char *p, size_t n)
{
    uint32_t a, b;
    memcpy(&a, p, 4);
    memcpy(&b, p + n - 4, 4);
    memcpy(at, &a, 4);
    memcpy(at + n - 4, &b, 4);
    __m128i v = _mm_unpacklo_epi32(_mm_cvtsi32_si128((int)a), _mm_cvtsi32_si128((int)b));
    return (_mm_movemask_epi8(odd_bytes(v)) & 0xff) == 0;
}

static inline bool put_half_block(char *at, const char *p, size_t n)
{
    __m128i a = _mm_loadl_epi64((const __m128i *)(const void *)p);
    __m128i b = _mm_loadl_epi64((const __m128i *)(const void *)(p + n - 8));
    _mm_storel_epi64((__m128i *)(void *)at, a);
    _mm_storel_epi64((__m128i *)(void *)(at + n - 8), b);
    return _mm_movemask_epi8(odd_bytes(_mm_unpacklo_epi64(a, b))) == 0;
}
#endif

/* Copies what is ASCII and needs no escape; false, with anything at at, when it is not. */
static inline bool put_plain(char *at, const char *p, size_t n)
{
#if defined(__SSE2__)
    if (n >= 16)
        return put_blocks(at, p, n);
    if (n >= 8)
        return put_half_block(at, p, n);
    if (n >= 4)
        return put_quarter_block(at, p, n);
#endif
    bool plain = true;
    for (size_t i = 0; i < n; i++) {
        at[i] = p[i];
        plain = plain && is_plain_byte(p[i]);
    }
    return plain;
}

/* The last two digits of it. */
static inline void put_two(char *at, uint32_t value)
{
    uint32_t tens = value * 103 >> 10; /* Exact below 100. */
    at[0] = (char)('0' + tens);
    at[1] = (char)('0' + (value - tens * 10));
}

/* Writes to at and returns where it ended; there is room for NUMBER_BYTES. */
static inline char *put_u64(char *at, uint64_t value)
{
    if (value < 10) {
        *at = (char)('0' + value);
        return at + 1;
    }
    size_t digits = value < 100 ? 2 : value < 1000 ? 3 : 4;
    for (uint64_t rest = value / 10000; rest > 0; rest /= 10)
        digits++;
    size_t left = digits;
    for (; left >= 2; left -= 2, value /= 100)
        put_two(at + left - 2, (uint32_t)(value % 100));
    if (left == 1)
        *at = (char)('0' + value);
    return at + digits;
}

static inline char *put_number(char *at, const struct log_field *field)
{
    if (field->kind == LOG_KIND_BOOL) {
        memcpy(at, field->number != 0 ? "true" : "false", 5);
        return at + (field->number != 0 ? 4 : 5);
    }
    if (field->kind == LOG_KIND_I64 && (int64_t)field->number < 0) {
        *at++ = '-';
        return put_u64(at, 0 - field->number);
    }
    return put_u64(at, field->number);
}

static void careful_field(struct log_line *l, const struct log_field *field)
{
    char number[NUMBER_BYTES];
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
        return put_u64(at, field->number);
    if (field->kind != LOG_KIND_STR)
        return put_number(at, field);
    if (field->str.len > VALUE_BYTES_MAX || !put_plain(at + 1, field->str.data, field->str.len))
        return NULL;
    *at = '"';
    at += field->str.len + 1;
    *at = '"';
    return at + 1;
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

static void put_time(struct log_line *l, struct log_second *second)
{
    int64_t now_us = clock_wall_us();
    int64_t now_s = now_us / 1000000;
    if (second == NULL || now_us < 0) {
        char text[CLOCK_RFC3339_BYTES];
        clock_format_rfc3339(now_us, text);
        line_text(l, text);
        return;
    }
    if (!second->known || second->second != now_s) {
        char text[CLOCK_RFC3339_BYTES];
        clock_format_rfc3339(now_us, text);
        second->len = (uint8_t)(strlen(text) - 7); /* Without "123456Z". */
        memcpy(second->text, text, second->len);
        second->second = now_s;
        second->known = true;
    }
    if (ROOM_BYTES - l->len < sizeof second->text + 7) {
        l->full = true; /* Never: a line begins with it. */
        return;
    }
    uint32_t us = (uint32_t)(now_us - now_s * 1000000);
    char *at = l->data + l->len;
    memcpy(at, second->text, sizeof second->text);
    at += second->len;
    put_two(at, us / 10000);
    put_two(at + 2, us / 100 % 100);
    put_two(at + 4, us % 100);
    at[6] = 'Z';
    l->len += second->len + 7U;
}

void log_line_begin(struct log_line *l, char *data, const struct log_style *style,
                    enum log_level level, const char *msg, struct log_second *second)
{
#define LEVEL(name)                                                                                \
    {                                                                                              \
        "\",\"level\":\"" name "\"", sizeof("\",\"level\":\"" name "\"") - 1                       \
    }
    static const struct str levels[] = {LEVEL("debug"), LEVEL("info"), LEVEL("warn"),
                                        LEVEL("error")};
#undef LEVEL
    *l = (struct log_line){.data = data, .as_text = style->as_text};
    if (l->as_text) {
        put_time(l, second);
        line_put(l, " ", 1);
        line_text(l, log_level_names[level]);
        line_put(l, "     ", 6 - strlen(log_level_names[level]));
        line_put(l, style->component.data, style->component.len);
        line_text(l, ": ");
        line_text(l, msg);
        return;
    }
    const struct log_field first[] = {LOG_TEXT_FIELD("msg", msg),
                                      LOG_STR("component", style->component), LOG_END};
    line_put(l, "{\"ts\":\"", 7);
    put_time(l, second);
    line_put(l, levels[level].data, levels[level].len);
    log_line_fields(l, first);
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
