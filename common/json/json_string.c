#include "common/json/json_internal.h"

#include <string.h>

#define HASH_CHUNK_BYTES 64U
#define ESCAPE_BYTES_MAX 12U /* Two surrogates. */

/* Four hex digits; -1 if they are not. */
static int32_t read_hex4(const unsigned char *p)
{
    int32_t value = 0;
    for (unsigned i = 0; i < 4; i++) {
        int c = p[i];
        int lower = c | 0x20;
        if (c >= '0' && c <= '9')
            value = value * 16 + (c - '0');
        else if (lower >= 'a' && lower <= 'f')
            value = value * 16 + (lower - 'a' + 10);
        else
            return -1;
    }
    return value;
}

static uint32_t check_unicode_escape(const unsigned char *p, uint32_t left, uint32_t *out_saved,
                                     enum json_problem *out_problem)
{
    *out_problem = JSON_PROBLEM_ESCAPE;
    if (left < 6) { /* Cut off, or closed by a quote mark too early. */
        if (memchr(p, '"', left) == NULL)
            *out_problem = JSON_PROBLEM_EARLY_END;
        return 0;
    }
    int32_t unit = read_hex4(p + 2);
    if (unit < 0)
        return 0;
    *out_saved = unit < 0x80 ? 5 : unit < 0x800 ? 4 : 3;
    if (unit < 0xD800 || unit > 0xDFFF)
        return 6;
    int32_t low = -1;
    if (unit <= 0xDBFF && left >= 12 && p[6] == '\\' && p[7] == 'u')
        low = read_hex4(p + 8);
    *out_problem = JSON_PROBLEM_SURROGATE;
    *out_saved = 8;
    return low >= 0xDC00 && low <= 0xDFFF ? 12 : 0;
}

uint32_t json_check_escape(const unsigned char *p, uint32_t left, bool whole, uint32_t *out_saved,
                           enum json_problem *out_problem)
{
    int c = left > 1 ? p[1] : -1;
    *out_saved = 1;
    if (c == 'n' || c == '"' || c == '\\' || c == '/' || c == 'b' || c == 'f' || c == 'r' ||
        c == 't')
        return 2;
    if (c >= 0 && c != 'u') {
        *out_problem = JSON_PROBLEM_ESCAPE;
        return 0;
    }
    if (!whole && left < ESCAPE_BYTES_MAX)
        return 0;
    return check_unicode_escape(p, left, out_saved, out_problem);
}

static unsigned hex4(const unsigned char *p)
{
    unsigned value = 0;
    for (unsigned i = 0; i < 4; i++) {
        unsigned c = p[i];
        value = value << 4 | (c <= '9' ? c - '0' : (c | 0x20U) - 'a' + 10);
    }
    return value;
}

static unsigned utf8_encode(uint32_t c, unsigned char out[4])
{
    if (c < 0x80) {
        out[0] = (unsigned char)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (unsigned char)(0xC0U | c >> 6);
        out[1] = (unsigned char)(0x80U | (c & 0x3FU));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (unsigned char)(0xE0U | c >> 12);
        out[1] = (unsigned char)(0x80U | (c >> 6 & 0x3FU));
        out[2] = (unsigned char)(0x80U | (c & 0x3FU));
        return 3;
    }
    out[0] = (unsigned char)(0xF0U | c >> 18);
    out[1] = (unsigned char)(0x80U | (c >> 12 & 0x3FU));
    out[2] = (unsigned char)(0x80U | (c >> 6 & 0x3FU));
    out[3] = (unsigned char)(0x80U | (c & 0x3FU));
    return 4;
}

size_t json_decode_escape(const unsigned char *p, unsigned char out[4], unsigned *out_len)
{
    static const char from[] = "bfnrt";
    static const char to[] = "\b\f\n\r\t";
    *out_len = 1;
    if (p[1] != 'u') {
        const char *control = strchr(from, p[1]);
        out[0] = control != NULL ? (unsigned char)to[control - from] : p[1];
        return 2;
    }
    uint32_t c = hex4(p + 2);
    size_t taken = 6;
    if (c >= 0xD800 && c <= 0xDBFF) {
        c = 0x10000 + ((c - 0xD800) << 10) + (hex4(p + 8) - 0xDC00); /* The parse saw its half. */
        taken = 12;
    }
    *out_len = utf8_encode(c, out);
    return taken;
}

static struct str string_inside(const struct json *j, uint32_t node)
{
    const struct json_node *n = &j->nodes[node];
    return (struct str){.data = j->text.data + n->start + 1, .len = n->end - n->start - 2};
}

static bool string_is_plain(const struct json *j, uint32_t node)
{
    return (j->nodes[node].info & JSON_INFO_ESCAPED) == 0;
}

bool json_is_escaped(const struct json *j, uint32_t node)
{
    return json_kind(j, node) == JSON_STRING && !string_is_plain(j, node);
}

struct json_decoder json_decoder_of(const struct json *j, uint32_t node)
{
    struct str s = string_inside(j, node);
    const unsigned char *from = (const unsigned char *)s.data;
    return (struct json_decoder){.at = from, .end = from + s.len};
}

bool json_decoder_next(struct json_decoder *d, unsigned char *out_byte)
{
    if (d->pending_at < d->pending_len) {
        *out_byte = d->pending[d->pending_at++];
        return true;
    }
    if (d->at == d->end)
        return false;
    if (*d->at != '\\') {
        *out_byte = *d->at++;
        return true;
    }
    d->at += json_decode_escape(d->at, d->pending, &d->pending_len);
    d->pending_at = 1;
    *out_byte = d->pending[0];
    return true;
}

bool json_strings_equal(const struct json *j, uint32_t a, uint32_t b)
{
    if (string_is_plain(j, a) && string_is_plain(j, b))
        return str_eq(string_inside(j, a), string_inside(j, b));
    struct json_decoder da = json_decoder_of(j, a);
    struct json_decoder db = json_decoder_of(j, b);
    for (;;) {
        unsigned char ca = 0;
        unsigned char cb = 0;
        bool more_a = json_decoder_next(&da, &ca);
        bool more_b = json_decoder_next(&db, &cb);
        if (more_a != more_b || ca != cb)
            return false;
        if (!more_a)
            return true;
    }
}

/* Chained over chunks, so that a decoded string needs no memory of its own. The whole string
 * counts: with only a prefix hashed, long keys could be made to collide. */
static uint64_t hash_chunk(uint64_t chain, const void *data, size_t len, struct siphash_key key)
{
    key.k0 ^= chain;
    return siphash_1_3(key, data, len);
}

uint64_t json_string_hash(const struct json *j, uint32_t node, struct siphash_key key)
{
    uint64_t chain = 0;
    if (string_is_plain(j, node)) {
        struct str s = string_inside(j, node);
        for (; s.len >= HASH_CHUNK_BYTES; s = str_slice(s, HASH_CHUNK_BYTES, s.len))
            chain = hash_chunk(chain, s.data, HASH_CHUNK_BYTES, key);
        return hash_chunk(chain, s.data, s.len, key);
    }
    struct json_decoder d = json_decoder_of(j, node);
    unsigned char chunk[HASH_CHUNK_BYTES];
    size_t len = 0;
    while (json_decoder_next(&d, &chunk[len])) {
        if (++len == sizeof chunk) {
            chain = hash_chunk(chain, chunk, len, key);
            len = 0;
        }
    }
    return hash_chunk(chain, chunk, len, key);
}

/* The length of an escaped string, unescaped. */
static size_t string_count(struct str s)
{
    size_t total = 0;
    for (ptrdiff_t run; (run = str_find(s, '\\')) >= 0;) {
        unsigned char decoded[4];
        unsigned len = 0;
        size_t at = (size_t)run;
        size_t taken = json_decode_escape((const unsigned char *)s.data + at, decoded, &len);
        total += at + len;
        s = str_slice(s, at + taken, s.len);
    }
    return total + s.len;
}

size_t json_text_length(const struct json *j, uint32_t node)
{
    if (json_kind(j, node) != JSON_STRING)
        return 0;
    struct str s = string_inside(j, node);
    if (string_is_plain(j, node))
        return s.len;
    uint32_t saved = j->nodes[node].info >> JSON_INFO_COUNT_SHIFT;
    return saved != JSON_SAVED_UNKNOWN ? s.len - saved : string_count(s);
}

/* Writes decoded bytes [skip, skip + max) of what begins at s; returns how many there were. */
static size_t string_decode(struct str s, size_t skip, size_t max, char *out)
{
    size_t n = 0;
    while (s.len > 0 && n < max) {
        unsigned char decoded[4];
        unsigned len = 0;
        size_t look = skip + (max - n) < s.len ? skip + (max - n) : s.len;
        const char *escape = memchr(s.data, '\\', look);
        size_t run = escape != NULL ? (size_t)(escape - s.data) : look;
        size_t from = skip < run ? skip : run;
        size_t keep = run - from < max - n ? run - from : max - n;
        if (keep > 0)
            memcpy(out + n, s.data + from, keep);
        n += keep;
        skip -= from;
        s = str_slice(s, run, s.len);
        if (escape == NULL)
            continue;
        s = str_slice(s, json_decode_escape((const unsigned char *)s.data, decoded, &len), s.len);
        for (unsigned i = 0; i < len && n < max; i++) {
            if (skip > 0)
                skip--;
            else
                out[n++] = (char)decoded[i];
        }
    }
    return n;
}

int json_text(const struct json *j, uint32_t node, struct arena *a, struct str *out_text)
{
    if (json_kind(j, node) != JSON_STRING)
        return ERR_INVALID;
    if (string_is_plain(j, node)) {
        *out_text = string_inside(j, node);
        return 0;
    }
    size_t len = json_text_length(j, node);
    char *decoded = arena_alloc(a, len);
    if (decoded == NULL)
        return ERR_TOO_LARGE;
    (void)string_decode(string_inside(j, node), 0, len, decoded);
    *out_text = (struct str){.data = decoded, .len = len};
    return 0;
}

size_t json_text_head(const struct json *j, uint32_t node, size_t max, char *out)
{
    return json_kind(j, node) == JSON_STRING ? string_decode(string_inside(j, node), 0, max, out)
                                             : 0;
}

/* The last place at or before `at` that is not inside an escape. */
static size_t escape_border(const unsigned char *p, size_t at)
{
    size_t i = at;
    while (i > 0 && at - i < ESCAPE_BYTES_MAX && p[i - 1] != '\\')
        i--;
    if (i == 0 || p[i - 1] != '\\')
        return at;
    size_t last = i - 1, first = last;
    while (first > 0 && p[first - 1] == '\\')
        first--;
    if ((last - first) % 2 == 1)
        return at; /* Nothing but escaped backslashes. */
    /* The second half of a pair of surrogates goes with the first. */
    if (p[last + 1] == 'u' && (p[last + 2] | 0x20) == 'd' && (p[last + 3] | 0x20) >= 'c')
        return last - 6;
    return last;
}

size_t json_text_tail(const struct json *j, uint32_t node, size_t max, char *out)
{
    if (json_kind(j, node) != JSON_STRING)
        return 0;
    struct str s = string_inside(j, node);
    /* No byte takes more than six. */
    if (s.len / 6 > max)
        s = str_slice(s, escape_border((const unsigned char *)s.data, s.len - 6 * max), s.len);
    size_t total = string_is_plain(j, node) ? s.len : string_count(s);
    return string_decode(s, total > max ? total - max : 0, max, out);
}

bool json_string_is(const struct json *j, uint32_t node, struct str text)
{
    if (json_kind(j, node) != JSON_STRING)
        return false;
    if (string_is_plain(j, node))
        return str_eq(string_inside(j, node), text);
    struct json_decoder d = json_decoder_of(j, node);
    unsigned char c = 0;
    size_t i = 0;
    while (json_decoder_next(&d, &c)) {
        if (i == text.len || (unsigned char)text.data[i] != c)
            return false;
        i++;
    }
    return i == text.len;
}
