/* session.h: stickiness: which model, and under a route's affinity which of its deployments, served
 * a conversation before, so that the provider's prompt cache is used again. The last model travels
 * in the x-steelyard-session answer header, signed for the key, which the caller may echo; a name
 * the caller made up is looked up in the worker's own small memory. Best effort: without either the
 * policy just decides. */
#ifndef STEELYARD_DATAPLANE_REQUEST_SESSION_H
#define STEELYARD_DATAPLANE_REQUEST_SESSION_H

#include "dataplane/request/request.h"

/* The caller names its conversation: its hash, and the model that served it last. Once, before the
 * others. */
void session_read(struct request *r);
/* Position of the conversation's model among the candidates, or POLICY_NONE. */
uint32_t session_position(const struct request *r);
/* Under a route's affinity, and if it is known and not too long ago: the bit of the session's
 * deployment by its place in the model; 0: it is none of them. */
uint64_t session_place(const struct request *r, const struct snapshot_model *m);
bool session_is_at(const struct request *r, const struct snapshot_deployment *d);
/* Below `weight`: the same for all requests of a session under affinity, else at random. */
uint64_t session_draw(const struct request *r, uint64_t weight);
/* The candidate at this position serves: remember it, and make the answer header. */
void session_note_some(struct request *r, uint32_t position);
static inline void session_note(struct request *r, uint32_t position)
{
    if (r->work->conversation != 0)
        session_note_some(r, position);
}

/* Tokens of the prompt that the conversation's model may read from its provider's cache: all before
 * the last message of the user, if that is enough to be kept at all; 0 where nothing is known of
 * the conversation. What another model would have to read anew at the full price. */
uint32_t session_cached_tokens(const struct request *r);

#endif
