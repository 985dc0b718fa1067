/* json_internal.h: what the files of this folder share. */
#ifndef STEELYARD_COMMON_JSON_JSON_INTERNAL_H
#define STEELYARD_COMMON_JSON_JSON_INTERNAL_H

#include "common/base/hash.h"
#include "common/json/json.h"
#include "common/json/json_length.h"

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

/* Bytes that can be written into a string as they are, up to the first that perhaps cannot. */
size_t json_bare_length(const unsigned char *p, size_t len);

#endif
