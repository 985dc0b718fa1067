/* edit.h: a text of which some spans are replaced and every other byte stays: a body on its way up,
 * an event or a reply on its way down. Private to this folder. Pure. */
#ifndef STEELYARD_DATAPLANE_LLM_EDIT_H
#define STEELYARD_DATAPLANE_LLM_EDIT_H

#include "dataplane/llm/provider.h"

struct edit {
    uint32_t at;
    uint32_t cut; /* Bytes that go. */
    struct str put;
};
#define EDITS_MAX          4
#define EDIT_PIECES(edits) (2 * (edits) + 1)

/* Sorts the edits, which do not overlap, and fills pieces: EDIT_PIECES(count) at most. Returns how
 * many there are; none is empty but for a text that is. */
size_t edit_apply(struct str text, struct edit *edits, size_t count, struct str *out_pieces);
/* A body with cuts, on its way up: one piece, in the arena. ERR_NOMEM. */
int edit_cut(const struct call *call, struct str body, const struct edit *edits, size_t count,
             struct arena *arena, struct str *out_piece) MUST_CHECK;
/* Whether a caller's body has another name for the model, or none. */
static inline bool edit_renames(const struct call *call, struct str upstream_model)
{
    return call->model_value.len != call->model.len + 2 || !str_eq(upstream_model, call->model);
}
/* The model's name in a caller's body, borrowed if it can stand there as it is; a member of its own
 * if the body had none. ERR_NOMEM. */
int edit_model(const struct call *call, struct str upstream_model, struct arena *arena,
               struct edit *out_edit) MUST_CHECK;
/* A number in place of a value. ERR_NOMEM. */
int edit_number(uint32_t number, const struct call_span *at, struct arena *arena,
                struct edit *out_edit) MUST_CHECK;
/* Reasoning stays below the most output, or else all of a body is refused: at most CALL_THINKS
 * more. ERR_NOMEM. */
int edit_think(const struct call *call, struct arena *arena, struct edit *edits,
               size_t *io_count) MUST_CHECK;
/* Between quotation marks, escaped where it must be. ERR_NOMEM. */
int edit_quote(struct arena *arena, struct str text, struct str *out) MUST_CHECK;

/* What a reply's JSON is changed by: "model" is said in quotes, and a member added to "usage". */
struct edit_reply {
    struct edit edits[EDITS_MAX];
    size_t count;
    char quoted[6 * CALL_MODEL_BYTES_MAX + 2];
};
/* A vendor that says a cost itself has it replaced: its price is not ours. The value of its member;
 * JSON_NONE: it has none, or the member to be added is another. */
#define EDIT_COST STR("\"cost\":")
uint32_t edit_same_cost(const struct json *j, uint32_t usage, struct str member);

/* object: the one that has the members; JSON_NONE: nothing is changed. No model in it: none is
 * added. member: len 0: none. 0, or ERR_TOO_LARGE for a model's name past all bounds. */
int edit_reply_note(struct edit_reply *e, const struct json *j, uint32_t object,
                    const struct provider_rewrite *rewrite,
                    const struct call_usage *usage) MUST_CHECK;
/* A whole reply as the caller gets it: edits of its root, into the pieces of the body. What is put
 * in lies in the arena. ERR_NOMEM, ERR_TOO_LARGE. */
int edit_reply_apply(const struct json *j, struct str body, const struct provider_rewrite *rewrite,
                     const struct call_usage *usage, struct arena *arena, struct str *out_pieces,
                     size_t *out_count) MUST_CHECK;
/* The event as the caller gets it: its raw bytes but for the edits of its data. */
int edit_append_event(const struct sse_event *event, struct edit_reply *e,
                      struct buf *out) MUST_CHECK;
int edit_event(const struct sse_event *event, struct edit_reply *e,
               struct provider_out *out) MUST_CHECK;

#endif
