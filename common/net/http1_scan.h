/* http1_scan.h: the loops over a head's bytes, sixteen at a time where the processor has SSE2 and
 * one at a time elsewhere. Each has a scalar reference beside it that a fuzzer compares it with.
 * Nothing is read at or past data + end. For those who read and write heads. */
#ifndef STEELYARD_COMMON_NET_HTTP1_SCAN_H
#define STEELYARD_COMMON_NET_HTTP1_SCAN_H

#include <string.h>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "common/net/http1_chars.h"

/* Offset in [at, end) of the first byte below 0x20, or 0x7f; end when there is none. */
static inline size_t http1_scan_control_scalar(const char *data, size_t at, size_t end)
{
    for (; at < end; at++) {
        unsigned char c = (unsigned char)data[at];
        if (c < 0x20 || c == 0x7f)
            return at;
    }
    return end;
}

/* Offset in [at, end) of the first byte that is no tchar; end when there is none. */
static inline size_t http1_scan_name_scalar(const char *data, size_t at, size_t end)
{
    while (at < end && http1_is_tchar(data[at]))
        at++;
    return at;
}

/* Offset in [at, end) of the first byte that cannot be in a path: outside 0x21-0x7e, '#' or '?'. */
static inline size_t http1_scan_path_scalar(const char *data, size_t at, size_t end)
{
    for (; at < end; at++) {
        unsigned char c = (unsigned char)data[at];
        if (c <= 0x20 || c >= 0x7f || c == '#' || c == '?')
            return at;
    }
    return end;
}

#if defined(__SSE2__)

static inline __m128i http1_load16(const char *p)
{
    return _mm_loadu_si128((const __m128i *)(const void *)p);
}

/* 0xff where the byte, taken unsigned, is at most max. */
static inline __m128i http1_at_most(__m128i v, unsigned char max)
{
    return _mm_cmpeq_epi8(_mm_min_epu8(v, _mm_set1_epi8((char)max)), v);
}

static inline size_t http1_scan_control(const char *data, size_t at, size_t end)
{
    const __m128i del = _mm_set1_epi8(0x7f);
    for (; end - at >= 16; at += 16) {
        __m128i v = http1_load16(data + at);
        __m128i hit = _mm_or_si128(http1_at_most(v, 0x1f), _mm_cmpeq_epi8(v, del));
        unsigned mask = (unsigned)_mm_movemask_epi8(hit);
        if (mask != 0)
            return at + (unsigned)__builtin_ctz(mask);
    }
    return http1_scan_control_scalar(data, at, end);
}

/* Letters and '-' make up nearly every name; what else is a tchar is looked up. */
static inline size_t http1_scan_name(const char *data, size_t at, size_t end)
{
    for (; end - at >= 16; at += 16) {
        __m128i v = http1_load16(data + at);
        __m128i lower = _mm_or_si128(v, _mm_set1_epi8(0x20));
        __m128i letter = http1_at_most(_mm_sub_epi8(lower, _mm_set1_epi8('a')), 25);
        __m128i dash = _mm_cmpeq_epi8(v, _mm_set1_epi8('-'));
        unsigned known = (unsigned)_mm_movemask_epi8(_mm_or_si128(letter, dash));
        if (known != 0xffff) {
            at += (unsigned)__builtin_ctz(~known);
            return data[at] == ':' ? at : http1_scan_name_scalar(data, at, end);
        }
    }
    return http1_scan_name_scalar(data, at, end);
}

static inline size_t http1_scan_path(const char *data, size_t at, size_t end)
{
    for (; end - at >= 16; at += 16) {
        __m128i v = http1_load16(data + at);
        __m128i allowed = http1_at_most(_mm_sub_epi8(v, _mm_set1_epi8(0x21)), 0x7e - 0x21);
        __m128i mark = _mm_or_si128(_mm_cmpeq_epi8(v, _mm_set1_epi8('#')),
                                    _mm_cmpeq_epi8(v, _mm_set1_epi8('?')));
        unsigned fine = (unsigned)_mm_movemask_epi8(_mm_andnot_si128(mark, allowed));
        if (fine != 0xffff)
            return at + (unsigned)__builtin_ctz(~fine);
    }
    return http1_scan_path_scalar(data, at, end);
}

#else
#define http1_scan_control http1_scan_control_scalar
#define http1_scan_name    http1_scan_name_scalar
#define http1_scan_path    http1_scan_path_scalar
#endif

#define HTTP1_FOLD 0x2020202020202020U

/* data holds `wanted` in any case; both have len bytes, 4 or more. Only for bytes that are tchars,
 * of which no two differ in bit 0x20 alone but the letters; wanted is lower case. The two loads
 * overlap where len is no multiple of theirs. */
static inline bool http1_name_is(const char *data, const char *wanted, size_t len)
{
    if (len < 8) {
        uint32_t a, b, c, d;
        memcpy(&a, data, 4);
        memcpy(&b, wanted, 4);
        memcpy(&c, data + len - 4, 4);
        memcpy(&d, wanted + len - 4, 4);
        return (((a | (uint32_t)HTTP1_FOLD) ^ b) | ((c | (uint32_t)HTTP1_FOLD) ^ d)) == 0;
    }
    uint64_t a, b, diff = 0;
    for (size_t at = 0; at + 8 < len; at += 8) {
        memcpy(&a, data + at, 8);
        memcpy(&b, wanted + at, 8);
        diff |= (a | HTTP1_FOLD) ^ b;
    }
    memcpy(&a, data + len - 8, 8);
    memcpy(&b, wanted + len - 8, 8);
    diff |= (a | HTTP1_FOLD) ^ b;
    return diff == 0;
}

#endif
