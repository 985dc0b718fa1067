/* json_internal.h: what the files of this folder share. */
#ifndef STEELYARD_COMMON_JSON_JSON_INTERNAL_H
#define STEELYARD_COMMON_JSON_JSON_INTERNAL_H

#include "common/base/hash.h"
#include "common/json/json.h"

/* struct json_node.info: kind in bits 0-2, a flag in bit 3, the count above. */
#define JSON_INFO_KIND        7U
#define JSON_INFO_ESCAPED     8U /* Strings: holds a backslash. */
#define JSON_INFO_INTEGER     8U /* Numbers: no fraction, no exponent. */
#define JSON_INFO_COUNT_SHIFT 4U

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

/* Both say the same of two strings: equal, and equal hashes, once escapes are undone. */
bool json_strings_equal(const struct json *j, uint32_t a, uint32_t b);
uint64_t json_string_hash(const struct json *j, uint32_t node, struct siphash_key key);

/* How many of len bytes need no look: no quote mark, backslash, control byte or non-ASCII. */
size_t json_plain_length_scalar(const unsigned char *p, size_t len);
size_t json_plain_length(const unsigned char *p, size_t len); /* SSE2 where there is one. */

#endif
