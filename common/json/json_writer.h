/* json_writer.h: writes JSON into a buf; commas and nesting are its business, the order of calls is
 * the caller's (asserted: a key before each value in an object, each begin has its end).
 *
 * The first error sticks and later calls do nothing, so only json_writer_finish is checked. Text
 * may hold any bytes: those that are no UTF-8 become U+FFFD. Not thread-safe. */
#ifndef STEELYARD_COMMON_JSON_JSON_WRITER_H
#define STEELYARD_COMMON_JSON_JSON_WRITER_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/str.h"

#define JSON_WRITER_DEPTH_MAX 256U

/* Private; embed it. */
struct json_writer {
    struct buf *out;
    size_t begin; /* Length of *out before the first byte. */
    int status;
    uint32_t depth;
    bool comma;     /* A value has been written at this level. */
    bool after_key; /* A value is due. */
    bool in_string;
    uint64_t objects[JSON_WRITER_DEPTH_MAX / 64]; /* Bit per level: object, else array. */
};

void json_writer_init(struct json_writer *w, struct buf *out); /* Appends to out; borrowed. */
/* 0, or the first error: ERR_TOO_LARGE, ERR_NOMEM, ERR_LIMIT (depth). On error, out is as it was.
 */
int json_writer_finish(struct json_writer *w) MUST_CHECK;

void json_writer_begin_object(struct json_writer *w);
void json_writer_end_object(struct json_writer *w);
void json_writer_begin_array(struct json_writer *w);
void json_writer_end_array(struct json_writer *w);

void json_writer_key(struct json_writer *w, const char *key);
void json_writer_key_str(struct json_writer *w, struct str key);

void json_writer_string(struct json_writer *w, struct str text); /* STR_NULL is "". */
void json_writer_text(struct json_writer *w, const char *text);  /* NULL is null. */
void json_writer_i64(struct json_writer *w, int64_t value);
void json_writer_u64(struct json_writer *w, uint64_t value);
void json_writer_bool(struct json_writer *w, bool value);
void json_writer_null(struct json_writer *w);
/* value * 10^-scale, shortest form: 7000, 4 -> 0.7; 120, 1 -> 12. scale <= 18. */
void json_writer_fixed(struct json_writer *w, int64_t value, unsigned scale);
void json_writer_raw(struct json_writer *w, struct str json); /* One whole value, not checked. */

/* One string value out of parts. A character that is split between two parts becomes U+FFFD. */
void json_writer_begin_string(struct json_writer *w);
void json_writer_part(struct json_writer *w, struct str text);
void json_writer_end_string(struct json_writer *w);

/* Stands inside quotes as it is: ASCII that needs no escape. */
bool json_writer_is_bare(struct str text);
/* Escapes text as inside quotes, without them. */
int json_writer_escape(struct buf *out, struct str text) MUST_CHECK;

#endif
