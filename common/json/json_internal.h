/* json_internal.h: what the files of this folder share. */
#ifndef STEELYARD_COMMON_JSON_JSON_INTERNAL_H
#define STEELYARD_COMMON_JSON_JSON_INTERNAL_H

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "common/base/hash.h"
#include "common/json/json.h"

/* struct json_node.info: kind in bits 0-2 (JSON_INFO_KIND), a flag in bit 3, above it the count or,
 * of an escaped string, how many bytes fewer it has once unescaped. */
#define JSON_INFO_ESCAPED     8U /* Strings: holds a backslash. */
#define JSON_INFO_INTEGER     8U /* Numbers: no fraction, no exponent. */
#define JSON_INFO_COUNT_SHIFT 4U
#define JSON_SAVED_UNKNOWN    0x0FFFFFFFU /* That many or more. */

/* Yields the bytes of a valid string, escapes undone. */
struct json_decoder {
    const unsigned char *at;
    const unsigned char *end;
    unsigned char pending[4];
    unsigned pending_at;
    unsigned pending_len;
};

struct json_decoder json_decoder_of(const struct json *j, uint32_t node);
bool json_decoder_next(struct json_decoder *d, unsigned char *out_byte);
/* Decodes the escape at p (a backslash) into out; returns how many bytes it takes. */
size_t json_decode_escape(const unsigned char *p, unsigned char out[4], unsigned *out_len);

/* Bytes of the escape at p (a backslash), `left` bytes before the end, and how many fewer it stands
 * for. 0: *out_problem, or if that is left as it was, more bytes are needed (not if whole). */
uint32_t json_check_escape(const unsigned char *p, uint32_t left, bool whole, uint32_t *out_saved,
                           enum json_problem *out_problem);

/* Both say the same of two strings: equal, and equal hashes, once escapes are undone. */
bool json_strings_equal(const struct json *j, uint32_t a, uint32_t b);
uint64_t json_string_hash(const struct json *j, uint32_t node, struct siphash_key key);

int json_problem_code(enum json_problem problem);
/* What the scan ended with, for people; the nodes may be read, not used, after it. */
void json_report(struct json *j, struct json_error *out_error);

bool json_reserve(struct json *j, uint64_t need); /* Room for as many nodes; false: no memory. */
enum json_problem json_check_keys(struct json *j, uint32_t object, uint32_t count,
                                  uint32_t *out_repeated);

#if defined(__SSE2__)
/* A bit for each of 16 bytes that is special inside a string. Compared as signed bytes, non-ASCII
 * is below the space as well. */
static inline unsigned json_special_16(const unsigned char *p)
{
    __m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
    __m128i special = _mm_or_si128(_mm_cmplt_epi8(v, _mm_set1_epi8(' ')),
                                   _mm_or_si128(_mm_cmpeq_epi8(v, _mm_set1_epi8('"')),
                                                _mm_cmpeq_epi8(v, _mm_set1_epi8('\\'))));
    return (unsigned)_mm_movemask_epi8(special);
}
#endif

/* Bytes that can be written into a string as they are, up to the first that perhaps cannot. */
size_t json_bare_length(const unsigned char *p, size_t len);

/* Bytes that need no look of their own, by the widest instructions the processor has; each way
 * gives the same number. NULL: not on this processor.
 *   plain: no quote mark, backslash, control byte or non-ASCII, and escapes of two bytes, counted
 *   space: white space of JSON
 *   wide: no quote mark, backslash or control byte, and whole characters of valid UTF-8 */
enum json_way { JSON_WAY_SCALAR, JSON_WAY_SSE2, JSON_WAY_AVX2, JSON_WAYS };
typedef size_t (*json_length_fn)(const unsigned char *p, size_t len);
struct json_lengths {
    size_t (*plain)(const unsigned char *p, size_t len, uint32_t *io_escapes);
    json_length_fn space;
    json_length_fn wide;
};
const struct json_lengths *json_lengths_of(enum json_way way);

extern struct json_lengths json_best; /* Set before main; private to the two functions below. */

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

#endif
