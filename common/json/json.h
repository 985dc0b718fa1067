/* json.h: strict reader of RFC 8259 for the request path, in one pass and without recursion.
 *
 * The result is a list of small nodes that hold offsets into the text, so whatever is not changed
 * is never written anew (json_splice.h). The text is borrowed and must live as long as the parse.
 * Refused: invalid UTF-8, lone surrogates, raw control bytes, NaN and Infinity, comments, trailing
 * commas, bytes after the value, a BOM, and a key that an object repeats after unescaping. Numbers
 * never pass through floating point. Keys are hashed under a random key, so no choice of keys makes
 * parsing worse than linear.
 *
 * A node is named by its index; the root is JSON_ROOT. Every accessor takes JSON_NONE and says
 * "missing", so look-ups can be chained and checked once. One struct json belongs to one thread;
 * any number of threads may read a finished parse.
 *
 * No name here is also one of jansson's (json_string, json_string_length, ...): both libraries are
 * linked into the control plane, and the linker would take either. */
#ifndef STEELYARD_COMMON_JSON_JSON_H
#define STEELYARD_COMMON_JSON_JSON_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/err.h"
#include "common/base/str.h"

#define JSON_DEPTH_MAX  256U
#define JSON_NODES_MAX  100000U
#define JSON_PATH_BYTES 128U
#define JSON_ROOT       0U
#define JSON_NONE       UINT32_MAX

enum json_kind {
    JSON_MISSING, /* Of JSON_NONE alone. */
    JSON_NULL,
    JSON_FALSE,
    JSON_TRUE,
    JSON_NUMBER,
    JSON_STRING,
    JSON_ARRAY,
    JSON_OBJECT,
};

/* Private to json*: struct json_node.info is the kind, a flag, and above it the count or, of an
 * escaped string, how many bytes fewer it has once unescaped. */
#define JSON_INFO_KIND        7U
#define JSON_INFO_ESCAPED     8U /* Strings: holds a backslash. */
#define JSON_INFO_INTEGER     8U /* Numbers: no fraction, no exponent. */
#define JSON_INFO_COUNT_SHIFT 4U

/* Private to json*.c. In the order of the text: a container, then what is in it; a member is its
 * key, then its value. */
struct json_node {
    uint32_t start; /* Of the span, quotes and brackets included. */
    uint32_t end;   /* One past it. */
    uint32_t next;  /* The node after this one and all inside it. */
    uint32_t info;  /* Kind, two flags, number of members or elements. */
};

/* Private to json*.c: where a scan stands. */
struct json_scan {
    uint32_t at;           /* Bytes done with. */
    uint32_t start;        /* Of the string or number under way. */
    uint32_t saved;        /* Bytes its escapes take beyond what they stand for. */
    uint32_t open;         /* Innermost open container. */
    uint32_t repeated_key; /* The node, when that is the problem. */
    uint16_t depth;
    uint8_t state;
    uint8_t problem;
    bool escaped; /* The string under way holds a backslash. */
};

/* Embed it, keep it from text to text: its memory is used again. */
struct json {
    struct str text;
    struct json_node *nodes;
    uint32_t count;
    uint32_t capacity;
    uint32_t max_nodes;
    struct json_scan scan;
};

enum json_problem {
    JSON_PROBLEM_NONE,
    JSON_PROBLEM_SYNTAX,    /* A byte that cannot stand here. */
    JSON_PROBLEM_EARLY_END, /* The text stops inside a value, or is blank. */
    JSON_PROBLEM_TRAILING,  /* Bytes after the value. */
    JSON_PROBLEM_BOM,
    JSON_PROBLEM_UTF8,
    JSON_PROBLEM_CONTROL,   /* A raw byte below 0x20 in a string. */
    JSON_PROBLEM_ESCAPE,    /* Not an escape of RFC 8259 section 7. */
    JSON_PROBLEM_SURROGATE, /* One half of a pair without the other. */
    JSON_PROBLEM_NUMBER,    /* Not a number of RFC 8259 section 6. */
    JSON_PROBLEM_REPEATED_KEY,
    JSON_PROBLEM_DEPTH,
    JSON_PROBLEM_NODES,
    JSON_PROBLEM_SIZE, /* The text does not fit 32-bit offsets. */
    JSON_PROBLEM_MEMORY,
};

struct json_error {
    enum json_problem problem;
    size_t offset; /* Of the byte at fault; for a repeated key, where it comes again. */
    char path[JSON_PATH_BYTES]; /* "messages[2].role" for a repeated key, else "". */
};

void json_init(struct json *j, uint32_t max_nodes); /* Allocates nothing. */
void json_deinit(struct json *j);                   /* Also fine on a zeroed struct. */
/* Forgets the parse; frees the memory if it is for more than keep_nodes. */
void json_reset(struct json *j, uint32_t keep_nodes);

/* Parses the whole text; on failure j is empty and *out_error (may be NULL) says why.
 * ERR_SYNTAX: malformed. ERR_EOF: cut off. ERR_EXISTS: repeated key. ERR_LIMIT: depth or nodes.
 * ERR_TOO_LARGE: over 4 GiB. ERR_NOMEM. */
int json_parse(struct json *j, struct str text, struct json_error *out_error) MUST_CHECK;
/* The same in parts, while a body arrives: begin, feed as often as bytes come, end. Each call is
 * given all bytes so far (they may have moved; none may have changed), looks at the new ones only,
 * and the result is that of json_parse whatever the parts were. A parse under way needs a struct
 * json of its own. Between begin and end no accessor may be used; json_reset gives up. max_nodes
 * may be raised from call to call, so that nodes grow with the text.
 *
 * feed: 0, or the error that end will report, so that it may be refused early. An error that only a
 * later byte can tell (a number or escape that is cut) is found late. end: as json_parse, and frees
 * nothing.
 */
void json_scan_begin(struct json *j);
int json_scan_feed(struct json *j, struct str so_far) MUST_CHECK;
int json_scan_end(struct json *j, struct str text, struct json_error *out_error) MUST_CHECK;
/* Of a scan under way (as an exception): the value of a member of the root object, or JSON_NONE
 * while it is not wholly there; *out_key_end: where its key ends, 0 while that has not come. Looks
 * at the root's first JSON_SCAN_MEMBERS_MAX members, so that it may be asked after every feed. */
#define JSON_SCAN_MEMBERS_MAX 64U
uint32_t json_scan_member(const struct json *j, struct str key, uint32_t *out_key_end);
/* ... bytes that were scanned and lie before the end of the root: a text that stops there is no
 * JSON, whatever was left out. */
size_t json_scan_inside(const struct json *j);
bool json_scan_begun(const struct json *j);               /* And not ended. */
/* Of a text known to be JSON but for what is between two quote marks of it, bytes [from, to): makes j
 * the parse of that string alone, as the root. false: it is none, holds an escape of more than two
 * bytes, or there is no memory; j is empty then. */
bool json_parse_between(struct json *j, struct str text, uint32_t from, uint32_t to) MUST_CHECK;
const char *json_problem_text(enum json_problem problem); /* For people; static; echoes no input. */

static inline enum json_kind json_kind(const struct json *j, uint32_t node)
{
    return node < j->count ? (enum json_kind)(j->nodes[node].info & JSON_INFO_KIND) : JSON_MISSING;
}
/* Its span; borrowed from the text. */
static inline struct str json_raw(const struct json *j, uint32_t node)
{
    if (node >= j->count)
        return STR_NULL;
    const struct json_node *n = &j->nodes[node];
    return (struct str){.data = j->text.data + n->start, .len = n->end - n->start};
}
/* The text of a string or key without escapes; .data NULL: it has some, or is no string. */
static inline struct str json_plain(const struct json *j, uint32_t node)
{
    if (node >= j->count)
        return STR_NULL;
    const struct json_node *n = &j->nodes[node];
    if ((n->info & (JSON_INFO_KIND | JSON_INFO_ESCAPED)) != JSON_STRING)
        return STR_NULL;
    return (struct str){.data = j->text.data + n->start + 1, .len = n->end - n->start - 2};
}
/* Members or elements; else 0. */
static inline uint32_t json_count(const struct json *j, uint32_t node)
{
    return json_kind(j, node) >= JSON_ARRAY ? j->nodes[node].info >> JSON_INFO_COUNT_SHIFT : 0;
}
/* The value of a member, or JSON_NONE; compares after unescaping. Linear in the members. */
uint32_t json_get(const struct json *j, uint32_t object, struct str key);
/* The element at index, or JSON_NONE. Linear. */
uint32_t json_at(const struct json *j, uint32_t array, uint32_t index);
/* Iteration: for (uint32_t at = 0; json_next_member(j, object, &at, &key, &value);). False at the
 * end, and at once if the node is of another kind. */
static inline bool json_next_member(const struct json *j, uint32_t object, uint32_t *io_at,
                                    uint32_t *out_key, uint32_t *out_value)
{
    if (json_kind(j, object) != JSON_OBJECT)
        return false;
    uint32_t key = *io_at != 0 ? *io_at : object + 1;
    if (key >= j->nodes[object].next)
        return false;
    *out_key = key;
    *out_value = key + 1; /* A key is a single node. */
    *io_at = j->nodes[key + 1].next;
    return true;
}
static inline bool json_next_element(const struct json *j, uint32_t array, uint32_t *io_at,
                                     uint32_t *out_value)
{
    if (json_kind(j, array) != JSON_ARRAY)
        return false;
    uint32_t value = *io_at != 0 ? *io_at : array + 1;
    if (value >= j->nodes[array].next)
        return false;
    *out_value = value;
    *io_at = j->nodes[value].next;
    return true;
}

/* Strings and keys. Without escapes, *out_text is a slice of the text and takes no memory; else it
 * lies in the arena. ERR_INVALID: not a string. ERR_TOO_LARGE: past the arena's ceiling, or no
 * memory. It may hold NUL (\u0000). */
int json_text(const struct json *j, uint32_t node, struct arena *a,
              struct str *out_text) MUST_CHECK;
/* Its first, or last, bytes: as many as it has, at most max; the rest is not looked at. Returns how
 * many were written to out. 0 also if it is no string. */
size_t json_text_head(const struct json *j, uint32_t node, size_t max, char *out);
size_t json_text_tail(const struct json *j, uint32_t node, size_t max, char *out);
bool json_string_is(const struct json *j, uint32_t node, struct str text); /* Decodes nothing. */
bool json_is_escaped(const struct json *j, uint32_t node);    /* A string that holds an escape. */
size_t json_text_length(const struct json *j, uint32_t node); /* Decoded bytes; 0: no string. */

/* Exact integers. ERR_INVALID: not a number, or has a fraction or exponent. ERR_RANGE: over 18
 * digits, or outside min..max. */
int json_i64(const struct json *j, uint32_t node, int64_t min, int64_t max,
             int64_t *out_value) MUST_CHECK;
/* Any number in units of 10^-scale, cut towards zero: 0.7, scale 4 -> 7000. *out_exact says whether
 * nothing was cut; with NULL there, cutting is ERR_RANGE. More than 18 digits: ERR_RANGE. */
int json_fixed(const struct json *j, uint32_t node, unsigned scale, int64_t *out_value,
               bool *out_exact) MUST_CHECK;
int json_bool(const struct json *j, uint32_t node, bool *out_value) MUST_CHECK;

/* "messages[2].content" of a node; "" for the root. Keys are cut, and bytes that are not letters,
 * digits, '-' or '_' become '?', so that an error message can carry it. */
void json_path(const struct json *j, uint32_t node, char out[JSON_PATH_BYTES]);

#endif
