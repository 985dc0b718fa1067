/* session.h: stickiness: which model served a conversation before, so that the provider's prompt
 * cache is used again. The last model travels in the x-steelyard-session answer header, signed for
 * the key, which the caller may echo; a name the caller made up is looked up in the worker's own
 * small memory. Best effort: without either the policy just decides. */
#ifndef STEELYARD_DATAPLANE_REQUEST_SESSION_H
#define STEELYARD_DATAPLANE_REQUEST_SESSION_H

#include "dataplane/request/request.h"

/* The caller names its conversation: its hash, and the model that served it last. Once, before the
 * others. */
void session_read(struct request *r);
/* Position of the conversation's model among the candidates, or POLICY_NONE. */
uint32_t session_position(const struct request *r);
/* The candidate at this position serves: remember it, and make the answer header. */
void session_note(struct request *r, uint32_t position);

/* Tokens of the prompt that the conversation's model may read from its provider's cache: all before
 * the last message of the user, if that is enough to be kept at all; 0 where nothing is known of the
 * conversation. What another model would have to read anew at the full price. */
uint32_t session_cached_tokens(const struct request *r);

#endif
