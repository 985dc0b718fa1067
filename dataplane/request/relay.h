/* relay.h: a provider's events on their way to the client. Until the first content they are held
 * back (another deployment may still take over); from then on every piece is sent as it comes, and
 * reading stops while the client is full. */
#ifndef STEELYARD_DATAPLANE_REQUEST_RELAY_H
#define STEELYARD_DATAPLANE_REQUEST_RELAY_H

#include "dataplane/request/request.h"

/* A piece of the provider's stream. */
enum fetch_flow relay_piece(struct request *r, struct str piece, uint64_t now_ns);
/* The stream ended: what the reader still holds. clean: as its framing says it should. */
void relay_piece_end(struct request *r, bool clean);
/* Bytes of the event stream to the client, as one chunk. */
int relay_send(struct request *r, struct str bytes) MUST_CHECK;
/* Comments in silence, and the early head. */
void relay_keep_alive(struct request *r, uint64_t now_ms);

/* "steelyard":{...} of a usage object, if the caller asked for it (provider_rewrite). */
struct str relay_usage_member(void *arg, const struct call_usage *usage);
/* The same in the request's arena. */
struct str relay_usage_kept(void *arg, const struct call_usage *usage);

#endif
