/* json_internal.h: what the files of this folder share. */
#ifndef STEELYARD_COMMON_JSON_JSON_INTERNAL_H
#define STEELYARD_COMMON_JSON_JSON_INTERNAL_H

#include "common/base/hash.h"
#include "common/json/json.h"
#include "common/json/json_length.h"

/* As many bytes that an escaped string has fewer once unescaped, or more. */
#define JSON_SAVED_UNKNOWN 0x0FFFFFFFU

/*   BEGIN -> VALUE -> (STRING | NUMBER | FIRST_MEMBER | FIRST_ELEMENT) ... -> AFTER -> ... -> END
 *   FIRST_MEMBER, AFTER -> KEY -> KEY_STRING -> COLON -> VALUE */
enum json_scan_state {
    SCAN_IDLE, /* Nothing was begun. */
    SCAN_BEGIN,
    SCAN_VALUE,
    SCAN_STRING,
    SCAN_NUMBER,
    SCAN_FIRST_MEMBER,
    SCAN_FIRST_ELEMENT,
    SCAN_KEY,
    SCAN_KEY_STRING,
    SCAN_COLON,
    SCAN_AFTER, /* A value inside a container has ended. */
    SCAN_END,   /* The root has ended. */
};

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

/* Surely no key of these is another's: a bit for each by its length and first byte is taken once.
 */
static inline bool json_keys_differ(const struct json *j, uint32_t object, uint32_t count)
{
    uint64_t seen = 0;
    const struct json_node *n = &j->nodes[object + 1];
    for (uint32_t i = 0; i < count; i++) {
        const unsigned first =
            (unsigned char)j->text.data[n->start + 1]; /* A quote mark's of "". */
        const uint64_t bit = UINT64_C(1) << ((n->end - n->start + 5 * first) & 63);
        if ((seen & bit) != 0 || (n->info & JSON_INFO_ESCAPED) != 0)
            return false;
        seen |= bit;
        n = &j->nodes[n[1].next];
    }
    return true;
}

/* Of a scan: the innermost open container ends before `end`. A repeated key is the scan's problem.
 */
static inline void json_scan_close(struct json *j, uint32_t end)
{
    struct json_scan *k = &j->scan;
    const uint32_t container = k->open;
    struct json_node *n = &j->nodes[container];
    const uint32_t count = n->info >> JSON_INFO_COUNT_SHIFT;
    k->open = n->next;
    k->depth--;
    k->state = k->depth > 0 ? SCAN_AFTER : SCAN_END;
    n->end = end;
    n->next = j->count;
    if ((n->info & JSON_INFO_KIND) == JSON_OBJECT && count > 1 &&
        !json_keys_differ(j, container, count))
        k->problem = (uint8_t)json_check_keys(j, container, count, &k->repeated_key);
}

/* Takes what is usual from `at` on; returns where it stopped. The scan stands there as if all of it
 * had been taken one by one (json_parse.c), which goes on. */
uint32_t json_scan_usual(struct json *j, const unsigned char *p, uint32_t len, uint32_t at);

/* Bytes that can be written into a string as they are, up to the first that perhaps cannot. */
size_t json_bare_length(const unsigned char *p, size_t len);

#endif
