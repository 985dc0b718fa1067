/* schema.h: JSON schemas as providers take them. A schema is given and returned as the text of one
 * JSON object; what lies in it may be nested as deep as the parser allows, and is walked with a
 * stack of its own. Memory is the arena's, and a parse's while it runs. */
#ifndef STEELYARD_DATAPLANE_TRANSLATE_SCHEMA_H
#define STEELYARD_DATAPLANE_TRANSLATE_SCHEMA_H

#include "common/base/arena.h"
#include "common/base/str.h"

/* What $ref may make of a schema, at most. */
#define TR_SCHEMA_BYTES_MAX 1048576U

/* Gemini's `parameters` and `responseSchema` (an OpenAPI schema): $ref is replaced by what it
 * points to; $schema, $id, $defs, additionalProperties and default go; type [T, "null"] and anyOf
 * with null are nullable; const is an enum of one, enums are strings with format "enum".
 * *out is empty if the root is an object without properties (then parameters are left out).
 * ERR_UNSUPPORTED: refers to itself, or to elsewhere: send it as parametersJsonSchema.
 * ERR_INVALID: no JSON object. ERR_TOO_LARGE, ERR_NOMEM. */
int tr_schema_gemini(struct str schema, struct arena *arena, struct str *out) MUST_CHECK;

/* Strict schemas of anthropic and bedrock: each object has additionalProperties false, bounds and
 * patterns go into the description in words, oneOf is anyOf, formats that are not known go.
 * ERR_INVALID: no JSON object. ERR_TOO_LARGE, ERR_NOMEM. */
int tr_schema_strict(struct str schema, struct arena *arena, struct str *out) MUST_CHECK;

/* Has this text as root an object with "type":"object"; what anthropic wants of input_schema. */
int tr_schema_object(struct str schema, struct arena *arena, struct str *out) MUST_CHECK;

#endif
