/* responses_internal.h: what the files of the Responses dialect share. */
#ifndef STEELYARD_DATAPLANE_TRANSLATE_RESPONSES_INTERNAL_H
#define STEELYARD_DATAPLANE_TRANSLATE_RESPONSES_INTERNAL_H

#include "dataplane/translate/dialects.h"
#include "dataplane/translate/pen.h"
#include "dataplane/translate/reading.h"

/* encrypted_content is the one opaque text an item of reasoning has. What we put there begins,
 * behind the seal, with this where it is all of a reasoning, not the signature of its text ... */
#define TR_RESPONSES_WHOLE   '='
/* ... and with this where it is the signature of the call that follows. Base64 begins with neither.
 */
#define TR_RESPONSES_OF_CALL '~'

/* ---- caller: requests ---- */
int tr_responses_read_request(const struct json *j, struct arena *arena, struct tr_request *out,
                              struct call_refusal *refusal) MUST_CHECK;
int tr_responses_read_input(struct tr_reading *r, uint32_t node) MUST_CHECK;

/* ---- caller: replies ---- */
/* In what the answer repeats of its request, nothing is left out that a client's types promise;
 * instructions and tools only if there is room. */
int tr_responses_print_echo(const struct tr_request *request, struct buf *out) MUST_CHECK;

int tr_responses_print_answer(const struct tr_print *print, const struct tr_answer *answer,
                              struct buf *out) MUST_CHECK;

/* ---- pieces of an answer, for both of its forms ---- */
struct tr_said { /* A text, perhaps escaped already. */
    struct str text;
    bool escaped;
};
enum tr_responses_status { TR_RESPONSES_OPEN, TR_RESPONSES_COMPLETED, TR_RESPONSES_INCOMPLETE };

void tr_responses_say_id(struct pen *p, const struct tr_print *print, const char *kind,
                         uint32_t index); /* "msg_<id>_3" */
/* One part of a message: output_text or refusal. */
void tr_responses_say_part(struct pen *p, bool refusal, struct tr_said text);
/* parts: JSON between the brackets. */
void tr_responses_say_message(struct pen *p, const struct tr_print *print, uint32_t index,
                              enum tr_responses_status status, struct str parts);
/* said: the arguments, or the input of a custom tool. call: its id, name and kind. */
void tr_responses_say_call(struct pen *p, const struct tr_print *print, uint32_t index,
                           enum tr_responses_status status, const struct tr_call *call,
                           struct tr_said said);
/* text: .data NULL: no summary. mark: of sealed (TR_RESPONSES_*); 0: a signature. */
void tr_responses_say_reasoning(struct pen *p, const struct tr_print *print, uint32_t index,
                                struct tr_said text, char mark, struct str opaque);
/* A response object up to its output: {"id":...,"output":[ ... */
void tr_responses_say_head(struct pen *p, const struct tr_print *print, const char *status,
                           const char *incomplete);
/* ... and from there: ],...}. usage NULL: null. */
void tr_responses_say_tail(struct pen *p, const struct tr_print *print,
                           const struct call_usage *usage);
/* "completed" or "incomplete", with the reason of the latter. */
const char *tr_responses_status_of(enum call_finish finish, const char **out_reason);

/* ---- provider ---- */
int tr_responses_print_request(const struct tr_request *request, const struct tr_target *target,
                               struct arena *arena, struct tr_terms *terms,
                               struct call_refusal *refusal, struct buf *out) MUST_CHECK;
int tr_responses_print_path(const struct tr_target *target, bool stream,
                            struct buf *out) MUST_CHECK;

#endif
