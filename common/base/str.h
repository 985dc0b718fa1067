/* str.h: a borrowed slice of bytes, and the one place where text becomes a number.
 * A str owns nothing, need not end in NUL and may hold any byte. Pure; thread-safe. */
#ifndef STEELYARD_COMMON_BASE_STR_H
#define STEELYARD_COMMON_BASE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "common/base/err.h"

struct str {
    const char *data;
    size_t len;
};

#define STR(literal) ((struct str){.data = ("" literal), .len = sizeof(literal) - 1})
#define STR_NULL     ((struct str){.data = NULL, .len = 0})
/* printf("%.*s", STR_ARG(s)) */
#define STR_ARG(s)   (int)(s).len, ((s).data != NULL ? (s).data : "")

/* Whether n bytes are the same; for a few dozen, with no call and, between the ends, no branch.
 * What is longer than its loads is looked at by two that overlap. */
static inline bool str_same(const char *a, const char *b, size_t n)
{
    uint64_t p, q, x, y;
    uint32_t s, t, u, v;
#if defined(__SSE2__)
    if (n >= 16) {
        size_t at = n - 16;
        __m128i same = _mm_cmpeq_epi8(_mm_loadu_si128((const __m128i *)(const void *)(a + at)),
                                      _mm_loadu_si128((const __m128i *)(const void *)(b + at)));
        for (size_t i = 0; i < at; i += 16)
            same = _mm_and_si128(
                same, _mm_cmpeq_epi8(_mm_loadu_si128((const __m128i *)(const void *)(a + i)),
                                     _mm_loadu_si128((const __m128i *)(const void *)(b + i))));
        return _mm_movemask_epi8(same) == 0xffff;
    }
#else
    if (n > 16)
        return memcmp(a, b, n) == 0;
#endif
    if (n >= 8) {
        memcpy(&p, a, 8);
        memcpy(&q, b, 8);
        memcpy(&x, a + n - 8, 8);
        memcpy(&y, b + n - 8, 8);
        return ((p ^ q) | (x ^ y)) == 0;
    }
    if (n >= 4) {
        memcpy(&s, a, 4);
        memcpy(&t, b, 4);
        memcpy(&u, a + n - 4, 4);
        memcpy(&v, b + n - 4, 4);
        return ((s ^ t) | (u ^ v)) == 0;
    }
    for (size_t i = 0; i < n; i++)
        if (a[i] != b[i])
            return false;
    return true;
}

/* NULL gives STR_NULL. */
static inline struct str str_from(const char *text)
{
    return text != NULL ? (struct str){.data = text, .len = strlen(text)} : STR_NULL;
}

/* Clamped to s. */
static inline struct str str_slice(struct str s, size_t from, size_t to)
{
    if (to > s.len)
        to = s.len;
    if (from > to)
        from = to;
    /* NULL + 0 is undefined in C, hence the test. */
    return (struct str){.data = s.data != NULL ? s.data + from : NULL, .len = to - from};
}

static inline bool str_eq(struct str a, struct str b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

bool str_eq_nocase(struct str a, struct str b); /* ASCII only. */
static inline bool str_is(struct str a, const char *text)
{
    return str_eq(a, str_from(text));
}

/* Printable ASCII without quotation mark and backslash: stands in a JSON string as it is. */
bool str_is_plain(struct str s);
bool str_starts(struct str s, struct str prefix);
bool str_ends(struct str s, struct str suffix);
int str_compare(struct str a, struct str b);           /* As memcmp, shorter first. */
ptrdiff_t str_find(struct str s, char c);              /* Offset, or -1. */
ptrdiff_t str_search(struct str s, struct str needle); /* Offset, or -1. */
struct str str_trim(struct str s);                     /* Spaces and tabs, both ends. */
/* Cuts s at the first `separator`: head before it, *rest after it. Without one: head = s, false. */
bool str_cut(struct str s, char separator, struct str *out_head, struct str *out_rest);
/* Copies and NUL-terminates; false (and an empty string) if it does not fit or holds a NUL. */
bool str_copy(struct str s, char *out, size_t out_bytes);

/* Of a hexadecimal digit in either case; -1: it is none. */
static inline int str_hex_value(char c)
{
    const unsigned digit = (unsigned)(unsigned char)c - '0';
    const unsigned letter = ((unsigned)(unsigned char)c | 0x20U) - 'a';
    if (digit <= 9)
        return (int)digit;
    return letter <= 5 ? (int)letter + 10 : -1;
}

/* Decimal digits only: no sign (i64: one leading '-'), space, hex or leading '+'. */
int str_parse_u64(struct str s, uint64_t max, uint64_t *out_value) MUST_CHECK;
int str_parse_i64(struct str s, int64_t min, int64_t max, int64_t *out_value) MUST_CHECK;
/* "30s", "250ms", "2m", "1h", "7d" -> milliseconds. */
int str_parse_duration_ms(struct str s, uint64_t *out_ms) MUST_CHECK;
/* "4MiB", "64KiB", "512" -> bytes. */
int str_parse_size(struct str s, uint64_t *out_bytes) MUST_CHECK;
/* Decimal fraction to an integer in units of 10^-scale: "0.95", 4 -> 9500. Excess digits that are
 * not zero are ERR_RANGE, so no money is ever rounded silently. */
int str_parse_fixed(struct str s, unsigned scale, int64_t *out_value) MUST_CHECK;

bool str_valid_utf8(struct str s);
/* Bytes of the well-formed UTF-8 sequence at offset `at`; 0: none there, or past the end. */
size_t str_utf8_length(struct str s, size_t at);
/* Of well-formed UTF-8: as many whole characters as max bytes hold. */
struct str str_utf8_head(struct str s, size_t max_bytes);

#endif
