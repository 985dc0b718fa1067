/* str.h: a borrowed slice of bytes, and the one place where text becomes a number.
 * A str owns nothing, need not end in NUL and may hold any byte. Pure; thread-safe. */
#ifndef STEELYARD_COMMON_BASE_STR_H
#define STEELYARD_COMMON_BASE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/err.h"

struct str {
    const char *data;
    size_t len;
};

#define STR(literal) ((struct str){.data = ("" literal), .len = sizeof(literal) - 1})
#define STR_NULL     ((struct str){.data = NULL, .len = 0})
/* printf("%.*s", STR_ARG(s)) */
#define STR_ARG(s)   (int)(s).len, ((s).data != NULL ? (s).data : "")

struct str str_from(const char *text);                      /* NULL gives STR_NULL. */
struct str str_slice(struct str s, size_t from, size_t to); /* Clamped to s. */
bool str_eq(struct str a, struct str b);
bool str_eq_nocase(struct str a, struct str b); /* ASCII only. */
bool str_is(struct str a, const char *text);
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
