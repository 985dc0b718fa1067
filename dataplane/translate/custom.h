/* custom.h: custom tools, which OpenAI's dialects have (tools[].type "custom", custom_tool_call):
 * such a tool is given a text as the model wrote it, not JSON. Where the provider has them, too,
 * they go as they are; any other gets a function of one argument, "input", whose text becomes the
 * caller's call of a custom tool again. */
#ifndef STEELYARD_DATAPLANE_TRANSLATE_CUSTOM_H
#define STEELYARD_DATAPLANE_TRANSLATE_CUSTOM_H

#include "dataplane/translate/dialects.h"

#define TR_CUSTOMS_BYTES_MAX 8192U /* Of all their names. */

/* Does the target take custom tools? */
bool tr_customs_are_native(enum dialect provider, const struct tr_target *target);

/* Before a request is printed, and once its tools are read: which of them are custom is kept in
 * terms; for a target without them the request's tools and calls become functions, in place, which
 * is noted ("custom_tool_as_function"; "unenforced_grammar" where one was asked for).
 * ERR_INVALID with *refusal: too many or too long names. ERR_TOO_LARGE: the arena's ceiling. */
int tr_customs_plan(struct tr_request *request, enum dialect provider,
                    const struct tr_target *target, struct arena *arena, struct tr_terms *terms,
                    struct call_refusal *refusal) MUST_CHECK;
/* name: as the caller knows it. */
bool tr_customs_has(const struct tr_terms *terms, struct str name);
void tr_customs_destroy(struct tr_customs *customs); /* NULL is allowed. */

/* ---- the argument of such a function, out of JSON that comes in pieces ---- */

#define TR_CUSTOM_HEAD_BYTES 64U

/* {"input":"..."} as it comes. What has another shape passes as it is: a model's slip is for the
 * tool to judge. Zeroed: nothing came yet. */
struct tr_custom_input {
    enum {
        TR_CUSTOM_HEAD,   /* Up to the quotation mark of the value. */
        TR_CUSTOM_TEXT,   /* In the value ... */
        TR_CUSTOM_ESCAPE, /* ... behind a backslash ... */
        TR_CUSTOM_HEX,    /* ... and behind its u. */
        TR_CUSTOM_AFTER,  /* The rest says nothing. */
        TR_CUSTOM_RAW,    /* It is not what was asked for. */
    } state;
    uint8_t head_len;
    uint8_t hex_digits;
    uint16_t hex;
    uint16_t high; /* The first half of a surrogate pair; 0: none. */
    char head[TR_CUSTOM_HEAD_BYTES];
};
/* Appends what the piece says to out. ERR_NOMEM, ERR_TOO_LARGE. */
int tr_custom_input_take(struct tr_custom_input *in, struct str piece, struct buf *out) MUST_CHECK;
/* ... and what is left at the end. */
int tr_custom_input_end(struct tr_custom_input *in, struct buf *out) MUST_CHECK;

#endif
