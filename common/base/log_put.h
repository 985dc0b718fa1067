/* log_put.h: the values of a JSON line, written where nothing of them is unusual: what is, is said
 * and left to log_line.c. For it, and for who writes a line of one shape for each request between
 * log_open and log_close. Each writes at `at` and returns where it ended. */
#ifndef STEELYARD_COMMON_BASE_LOG_PUT_H
#define STEELYARD_COMMON_BASE_LOG_PUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "common/base/digits.h"
#include "common/base/str.h"

#define LOG_VALUE_BYTES_MAX 256U /* A longer text is cut. */
#define LOG_NUMBER_BYTES    24U  /* Any number or truth value. */

static inline bool log_is_plain_byte(char c)
{
    return c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
}

#if defined(__SSE2__)
/* 0xff where the byte is none of plain ASCII: signed below 0x20 is a control byte or not ASCII. */
static inline __m128i log_odd_bytes(__m128i v)
{
    __m128i low = _mm_cmplt_epi8(v, _mm_set1_epi8(0x20));
    __m128i del = _mm_cmpeq_epi8(v, _mm_set1_epi8(0x7f));
    __m128i quote = _mm_cmpeq_epi8(v, _mm_set1_epi8('"'));
    __m128i slash = _mm_cmpeq_epi8(v, _mm_set1_epi8('\\'));
    return _mm_or_si128(_mm_or_si128(low, del), _mm_or_si128(quote, slash));
}

static inline bool log_put_blocks(char *at, const char *p, size_t n)
{
    __m128i odd = _mm_setzero_si128();
    for (size_t i = 0; i < n; i += 16) {
        size_t from = i + 16 <= n ? i : n - 16;
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)(p + from));
        _mm_storeu_si128((__m128i *)(void *)(at + from), v);
        odd = _mm_or_si128(odd, log_odd_bytes(v));
    }
    return _mm_movemask_epi8(odd) == 0;
}

static inline bool log_put_quarter_block(char *at, const char *p, size_t n)
{
    uint32_t a, b;
    memcpy(&a, p, 4);
    memcpy(&b, p + n - 4, 4);
    memcpy(at, &a, 4);
    memcpy(at + n - 4, &b, 4);
    __m128i v = _mm_unpacklo_epi32(_mm_cvtsi32_si128((int)a), _mm_cvtsi32_si128((int)b));
    return (_mm_movemask_epi8(log_odd_bytes(v)) & 0xff) == 0;
}

static inline bool log_put_half_block(char *at, const char *p, size_t n)
{
    __m128i a = _mm_loadl_epi64((const __m128i *)(const void *)p);
    __m128i b = _mm_loadl_epi64((const __m128i *)(const void *)(p + n - 8));
    _mm_storel_epi64((__m128i *)(void *)at, a);
    _mm_storel_epi64((__m128i *)(void *)(at + n - 8), b);
    return _mm_movemask_epi8(log_odd_bytes(_mm_unpacklo_epi64(a, b))) == 0;
}
#endif

/* Copies what is ASCII and needs no escape; false, with anything at at, when it is not. */
static inline bool log_put_plain(char *at, const char *p, size_t n)
{
#if defined(__SSE2__)
    if (n >= 16)
        return log_put_blocks(at, p, n);
    if (n >= 8)
        return log_put_half_block(at, p, n);
    if (n >= 4)
        return log_put_quarter_block(at, p, n);
#endif
    bool plain = true;
    for (size_t i = 0; i < n; i++) {
        at[i] = p[i];
        plain = plain && log_is_plain_byte(p[i]);
    }
    return plain;
}

/* text: a literal. */
#define LOG_PUT(at, text) log_put_bytes((at), (text), sizeof(text) - 1)
static inline char *log_put_bytes(char *at, const char *text, size_t len)
{
    if (len > 0)
        memcpy(at, text, len);
    return at + len;
}

/* In quotes. NULL: it needs care. */
static inline char *log_put_str(char *at, struct str s)
{
    if (s.len > LOG_VALUE_BYTES_MAX || !log_put_plain(at + 1, s.data, s.len))
        return NULL;
    *at = '"';
    at += s.len + 1;
    *at = '"';
    return at + 1;
}

#endif
