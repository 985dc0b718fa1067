/* json_splice.h: changes named top-level members of a parsed body and keeps every other byte.
 * Nothing is copied: the result is a list of spans of the body and of the edits. Pure. */
#ifndef STEELYARD_COMMON_JSON_JSON_SPLICE_H
#define STEELYARD_COMMON_JSON_JSON_SPLICE_H

#include <stddef.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/str.h"
#include "common/json/json.h"

/* An existing member is replaced, a missing one is added at the end. */
struct json_edit {
    struct str key;   /* Must need no escaping; each key once. */
    struct str value; /* JSON text; STR_NULL removes the member (no error if it is not there). */
};

/* The most spans that n edits can make. */
#define JSON_SPLICE_SPANS(n) (5 * (n) + 2)

/* spans: room for at least JSON_SPLICE_SPANS(edit_count). They live as long as the body and the
 * edits' text. ERR_INVALID: the body is no object, or a key needs escaping. */
int json_splice(const struct json *j, const struct json_edit *edits, size_t edit_count,
                struct str *spans, size_t *out_span_count) MUST_CHECK;

size_t json_splice_length(const struct str *spans, size_t span_count);
/* Appends all spans; on error out is as it was. */
int json_splice_flatten(const struct str *spans, size_t span_count, struct buf *out) MUST_CHECK;

#endif
