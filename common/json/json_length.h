/* json_length.h: how far a text of JSON needs no look byte by byte, for those who read it. Pure;
 * thread-safe; nothing is read behind p + len. */
#ifndef STEELYARD_COMMON_JSON_JSON_LENGTH_H
#define STEELYARD_COMMON_JSON_JSON_LENGTH_H

#include <stddef.h>
#include <stdint.h>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#if defined(__SSE2__)
/* A bit for each of 16 bytes that is special inside a string. With bit 1 the other way round the
 * quote mark is right behind the control bytes, and below them, as signed bytes, is non-ASCII. */
static inline unsigned json_special_16(const unsigned char *p)
{
    __m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
    __m128i above = _mm_cmpgt_epi8(_mm_xor_si128(v, _mm_set1_epi8(2)), _mm_set1_epi8('"' ^ 2));
    __m128i fine = _mm_andnot_si128(_mm_cmpeq_epi8(v, _mm_set1_epi8('\\')), above);
    return (unsigned)_mm_movemask_epi8(fine) ^ 0xFFFFU;
}
#endif

/* Bytes that need no look of their own, by the widest instructions the processor has; each way
 * gives the same number. NULL: not on this processor.
 *   plain: no quote mark, backslash, control byte or non-ASCII, and escapes of two bytes, counted
 *   space: white space of JSON
 *   wide: no quote mark, backslash or control byte, and whole characters of valid UTF-8 */
enum json_way { JSON_WAY_SCALAR, JSON_WAY_SSE2, JSON_WAY_AVX2, JSON_WAY_AVX512, JSON_WAYS };
typedef size_t (*json_length_fn)(const unsigned char *p, size_t len);
struct json_lengths {
    size_t (*plain)(const unsigned char *p, size_t len, uint32_t *io_escapes);
    json_length_fn space;
    json_length_fn wide;
};
const struct json_lengths *json_lengths_of(enum json_way way);

extern struct json_lengths json_best; /* Set before main; private to the functions below. */

static inline size_t json_space_length(const unsigned char *p, size_t len)
{
    return json_best.space(p, len);
}

static inline size_t json_wide_length(const unsigned char *p, size_t len)
{
    return json_best.wide(p, len);
}

/* Most strings end within the first bytes looked at. */
static inline size_t json_plain_length(const unsigned char *p, size_t len, uint32_t *io_escapes)
{
#if defined(__SSE2__)
    if (len >= 16) {
        unsigned mask = json_special_16(p);
        unsigned first = (unsigned)__builtin_ctz(mask | 0x10000U);
        if (first < 16 && p[first] == '"')
            return first;
        return first + json_best.plain(p + first, len - first, io_escapes);
    }
#endif
    return json_best.plain(p, len, io_escapes);
}

#define JSON_SHORT_BYTES 64

/* The same number, for what is mostly a few dozen bytes, as ids and the texts of events are: those
 * are not worth a call. */
static inline size_t json_short_length(const unsigned char *p, size_t len, uint32_t *io_escapes)
{
    size_t at = 0;
#if defined(__SSE2__)
    for (; len - at >= 16 && at < JSON_SHORT_BYTES; at += 16) {
        const unsigned mask = json_special_16(p + at);
        if (mask == 0)
            continue;
        at += (unsigned)__builtin_ctz(mask);
        if (p[at] == '"')
            return at;
        break;
    }
#endif
    return at + json_best.plain(p + at, len - at, io_escapes);
}

#endif
