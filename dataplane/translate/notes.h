/* notes.h: what the translation of a request changed or left out, as codes for
 * x-steelyard-warnings and the record; and the answer to a field that the provider has no word for
 * (compat.unsupported_params). Pure. */
#ifndef STEELYARD_DATAPLANE_TRANSLATE_NOTES_H
#define STEELYARD_DATAPLANE_TRANSLATE_NOTES_H

#include "common/json/json.h"
#include "dataplane/translate/dialects.h"

/* Frees what terms own (names, customs); a zeroed struct is fine. */
void tr_terms_deinit(struct tr_terms *terms);

/* As tr_note, with a code made of a prefix and a caller's own word: bytes other than letters,
 * digits, '_', '.' are '_', it is cut at 48, and kept in terms. */
void tr_note_word(struct tr_terms *terms, const char *prefix, struct str word);

/* A field is refused: ERR_INVALID. param: static or in the arena, in the words of chat completions
 * ("seed", "messages[2].content"); the exchange puts it into those of the caller
 * (tr_param_for). message: static. */
int tr_refuse(struct call_refusal *refusal, const char *param, const char *message);
/* A field the provider has no word for: 0, noted as "dropped_" and the param; or it is refused
 * where the target says so. */
int tr_drop(const struct tr_target *target, struct tr_terms *terms, struct call_refusal *refusal,
            const char *param) MUST_CHECK;
/* The same for each of request->unknown: every print_request begins with it. */
int tr_drop_unknown(const struct tr_request *request, const struct tr_target *target,
                    struct tr_terms *terms, struct call_refusal *refusal) MUST_CHECK;
/* "stop" -> "stop_sequences" where the caller speaks anthropic. What it does not know stays. */
struct str tr_param_for(enum dialect caller, struct str param);
/* The same of a body at hand: of the names that mean it the one that stands there. */
struct str tr_param_in(enum dialect caller, struct str param, const struct json *body);

/* "dropped_seed, filled_result"; nothing if there are none. */
int tr_notes_print(const struct tr_terms *terms, struct buf *out) MUST_CHECK;

#endif
