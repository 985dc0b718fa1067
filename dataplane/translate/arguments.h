/* arguments.h: the arguments of a call, which are a text in some dialects and an object in others.
 */
#ifndef STEELYARD_DATAPLANE_TRANSLATE_ARGUMENTS_H
#define STEELYARD_DATAPLANE_TRANSLATE_ARGUMENTS_H

#include "common/base/arena.h"
#include "common/json/json.h"
#include "common/json/json_writer.h"

/* "" and "null" are {}; an object is itself (blanks around it cut); what is no JSON object is
 * {"rawInvalidInput":...}: the value, or the text as a string. *out is valid JSON, borrowed from
 * arguments or in the arena. scratch is overwritten. ERR_TOO_LARGE, ERR_NOMEM. */
int tr_arguments_object(struct json *scratch, struct str arguments, struct arena *arena,
                        struct str *out) MUST_CHECK;
/* A raw JSON value as the arguments of an object's member: {} as "{}", for dialects whose arguments
 * are a text. STR_NULL and null are "{}". */
struct str tr_arguments_text(struct str raw);
/* Is text one whole JSON object? scratch then holds its parse. */
bool tr_is_object(struct json *scratch, struct str text);

/* A member whose value is raw JSON; one whose value is a text that is left out if empty. */
void tr_put_raw(struct json_writer *w, const char *key, struct str json);
void tr_put_text(struct json_writer *w, const char *key, struct str text);
/* Numbers of TR_NUMBER_SCALE and whole ones; left out if TR_UNSET. */
void tr_put_number(struct json_writer *w, const char *key, int64_t value);
void tr_put_whole(struct json_writer *w, const char *key, int64_t value);

#endif
