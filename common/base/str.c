#include "common/base/str.h"

#include <assert.h>
#include <string.h>

#include "common/base/checked.h"

static unsigned char ascii_lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (unsigned char)(c + ('a' - 'A')) : (unsigned char)c;
}

#define EACH_BYTE(c) (UINT64_C(0x0101010101010101) * (c))

/* Eight bytes at a time: they may differ in bit 0x20 where both are letters. */
static bool word_eq_nocase(uint64_t a, uint64_t b)
{
    uint64_t differ = a ^ b;
    if (differ == 0)
        return true;
    uint64_t low = (a | EACH_BYTE(0x20)) & EACH_BYTE(0x7f);
    uint64_t from_a = low + EACH_BYTE(0x80 - 'a'); /* Bit 7: at least 'a'. */
    uint64_t past_z = low + EACH_BYTE(0x7f - 'z'); /* Bit 7: more than 'z'. */
    uint64_t letters = from_a & ~past_z & ~a & EACH_BYTE(0x80);
    return (differ & ~(letters >> 2)) == 0;
}

bool str_eq_nocase(struct str a, struct str b)
{
    uint64_t x, y;
    if (a.len != b.len)
        return false;
    if (a.len < 8) {
        for (size_t i = 0; i < a.len; i++)
            if (ascii_lower(a.data[i]) != ascii_lower(b.data[i]))
                return false;
        return true;
    }
    for (size_t at = 0; at < a.len; at += 8) {
        size_t from = a.len - at < 8 ? a.len - 8 : at; /* The last eight, some of them again. */
        memcpy(&x, a.data + from, 8);
        memcpy(&y, b.data + from, 8);
        if (!word_eq_nocase(x, y))
            return false;
    }
    return true;
}

bool str_is_plain(struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        const unsigned char c = (unsigned char)s.data[i];
        if (c < 0x20 || c >= 0x7f || c == '"' || c == '\\')
            return false;
    }
    return true;
}

bool str_starts(struct str s, struct str prefix)
{
    return s.len >= prefix.len && str_eq(str_slice(s, 0, prefix.len), prefix);
}

bool str_ends(struct str s, struct str suffix)
{
    return s.len >= suffix.len && str_eq(str_slice(s, s.len - suffix.len, s.len), suffix);
}

int str_compare(struct str a, struct str b)
{
    size_t common = a.len < b.len ? a.len : b.len;
    int order = common > 0 ? memcmp(a.data, b.data, common) : 0;
    if (order != 0)
        return order;
    return (a.len > b.len) - (a.len < b.len);
}

ptrdiff_t str_find(struct str s, char c)
{
    const char *at = s.len > 0 ? memchr(s.data, c, s.len) : NULL;
    return at != NULL ? at - s.data : -1;
}

ptrdiff_t str_search(struct str s, struct str needle)
{
    if (needle.len == 0)
        return 0;
    const char *at = s.len > 0 ? memmem(s.data, s.len, needle.data, needle.len) : NULL;
    return at != NULL ? at - s.data : -1;
}

struct str str_trim(struct str s)
{
    size_t from = 0;
    size_t to = s.len;
    while (from < to && (s.data[from] == ' ' || s.data[from] == '\t'))
        from++;
    while (to > from && (s.data[to - 1] == ' ' || s.data[to - 1] == '\t'))
        to--;
    return str_slice(s, from, to);
}

bool str_cut(struct str s, char separator, struct str *out_head, struct str *out_rest)
{
    ptrdiff_t at = str_find(s, separator);
    if (at < 0) {
        *out_head = s;
        *out_rest = str_slice(s, s.len, s.len);
        return false;
    }
    *out_head = str_slice(s, 0, (size_t)at);
    *out_rest = str_slice(s, (size_t)at + 1, s.len);
    return true;
}

bool str_copy(struct str s, char *out, size_t out_bytes)
{
    assert(out_bytes > 0);
    out[0] = '\0';
    if (s.len >= out_bytes || str_find(s, '\0') >= 0)
        return false;
    if (s.len > 0)
        memcpy(out, s.data, s.len);
    out[s.len] = '\0';
    return true;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

int str_parse_u64(struct str s, uint64_t max, uint64_t *out_value)
{
    uint64_t value = 0;
    bool fits = true;
    if (s.len == 0)
        return ERR_SYNTAX;
    size_t plain = s.len < 19 ? s.len : 19; /* So many digits cannot overflow. */
    for (size_t i = 0; i < plain; i++) {
        if (!is_digit(s.data[i]))
            return ERR_SYNTAX;
        value = value * 10 + (uint64_t)(s.data[i] - '0');
    }
    for (size_t i = plain; i < s.len; i++) {
        if (!is_digit(s.data[i]))
            return ERR_SYNTAX;
        fits = fits && checked_mul(value, (uint64_t)10, &value) &&
               checked_add(value, (uint64_t)(s.data[i] - '0'), &value);
    }
    if (!fits || value > max)
        return ERR_RANGE;
    *out_value = value;
    return 0;
}

int str_parse_i64(struct str s, int64_t min, int64_t max, int64_t *out_value)
{
    bool negative = s.len > 0 && s.data[0] == '-';
    uint64_t magnitude = 0;
    uint64_t limit = negative ? (uint64_t)INT64_MAX + 1 : (uint64_t)INT64_MAX;
    int rc = str_parse_u64(str_slice(s, negative ? 1 : 0, s.len), limit, &magnitude);
    if (rc != 0)
        return rc;
    /* -(2^63) has no positive twin: negate in unsigned arithmetic. */
    int64_t value = (int64_t)(negative ? 0 - magnitude : magnitude);
    if (value < min || value > max)
        return ERR_RANGE;
    *out_value = value;
    return 0;
}

struct str_unit {
    const char *name;
    uint64_t factor;
};

static int str_parse_with_unit(struct str s, const struct str_unit *units, size_t unit_count,
                               uint64_t *out_value)
{
    size_t digits = 0;
    uint64_t number = 0;
    while (digits < s.len && is_digit(s.data[digits]))
        digits++;
    int rc = str_parse_u64(str_slice(s, 0, digits), UINT64_MAX, &number);
    if (rc != 0)
        return rc;
    struct str unit = str_slice(s, digits, s.len);
    for (size_t i = 0; i < unit_count; i++) {
        if (str_is(unit, units[i].name)) {
            uint64_t value = 0;
            if (!checked_mul(number, units[i].factor, &value))
                return ERR_RANGE;
            *out_value = value;
            return 0;
        }
    }
    return ERR_SYNTAX;
}

int str_parse_duration_ms(struct str s, uint64_t *out_ms)
{
    static const struct str_unit units[] = {
        {"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000},
    };
    return str_parse_with_unit(s, units, sizeof units / sizeof units[0], out_ms);
}

int str_parse_size(struct str s, uint64_t *out_bytes)
{
    static const struct str_unit units[] = {
        {"", 1},
        {"B", 1},
        {"KiB", (uint64_t)1 << 10},
        {"MiB", (uint64_t)1 << 20},
        {"GiB", (uint64_t)1 << 30},
        {"TiB", (uint64_t)1 << 40},
    };
    return str_parse_with_unit(s, units, sizeof units / sizeof units[0], out_bytes);
}

/* The digits of one side of the point, onto *io_value; signed so that INT64_MIN can be reached. */
static bool fixed_push(int64_t *io_value, unsigned digit, bool negative)
{
    int64_t value = 0;
    if (!checked_mul(*io_value, (int64_t)10, &value))
        return false;
    return negative ? checked_sub(value, (int64_t)digit, io_value)
                    : checked_add(value, (int64_t)digit, io_value);
}

int str_parse_fixed(struct str s, unsigned scale, int64_t *out_value)
{
    bool negative = s.len > 0 && s.data[0] == '-';
    int64_t value = 0;
    bool exact = true;
    size_t i = negative ? 1 : 0;
    size_t whole_from = i;
    for (; i < s.len && is_digit(s.data[i]); i++)
        exact = exact && fixed_push(&value, (unsigned)(s.data[i] - '0'), negative);
    if (i == whole_from)
        return ERR_SYNTAX;
    unsigned decimals = 0;
    if (i < s.len && s.data[i] == '.') {
        size_t fraction_from = ++i;
        for (; i < s.len && is_digit(s.data[i]); i++) {
            unsigned digit = (unsigned)(s.data[i] - '0');
            if (decimals < scale) {
                exact = exact && fixed_push(&value, digit, negative);
                decimals++;
            } else {
                exact = exact && digit == 0;
            }
        }
        if (i == fraction_from)
            return ERR_SYNTAX;
    }
    if (i != s.len)
        return ERR_SYNTAX;
    for (; decimals < scale && exact && value != 0; decimals++)
        exact = fixed_push(&value, 0, negative);
    if (!exact)
        return ERR_RANGE;
    *out_value = value;
    return 0;
}

/* Length of the well-formed sequence at p (Unicode 15, table 3-7), or 0. */
static size_t utf8_sequence(const unsigned char *p, size_t left)
{
    unsigned char lead = p[0];
    unsigned char low = 0x80;
    unsigned char high = 0xBF;
    size_t len = 0;
    if (lead < 0x80)
        return 1;
    if (lead >= 0xC2 && lead <= 0xDF) {
        len = 2;
    } else if (lead >= 0xE0 && lead <= 0xEF) {
        len = 3;
        low = lead == 0xE0 ? 0xA0 : low;   /* Shorter forms exist. */
        high = lead == 0xED ? 0x9F : high; /* Surrogates. */
    } else if (lead >= 0xF0 && lead <= 0xF4) {
        len = 4;
        low = lead == 0xF0 ? 0x90 : low;
        high = lead == 0xF4 ? 0x8F : high; /* Past U+10FFFF. */
    } else {
        return 0;
    }
    if (left < len || p[1] < low || p[1] > high)
        return 0;
    for (size_t i = 2; i < len; i++) {
        if (p[i] < 0x80 || p[i] > 0xBF)
            return 0;
    }
    return len;
}

size_t str_utf8_length(struct str s, size_t at)
{
    return at < s.len ? utf8_sequence((const unsigned char *)s.data + at, s.len - at) : 0;
}

struct str str_utf8_head(struct str s, size_t max_bytes)
{
    if (s.len <= max_bytes)
        return s;
    s.len = max_bytes;
    while (s.len > 0 && ((unsigned char)s.data[s.len] & 0xC0U) == 0x80U)
        s.len--;
    return s;
}

bool str_valid_utf8(struct str s)
{
    size_t i = 0;
    while (i < s.len) {
        uint64_t word = 0;
        if (s.len - i >= sizeof word) {
            memcpy(&word, s.data + i, sizeof word);
            if ((word & 0x8080808080808080U) == 0) {
                i += sizeof word;
                continue;
            }
        }
        size_t n = str_utf8_length(s, i);
        if (n == 0)
            return false;
        i += n;
    }
    return true;
}
