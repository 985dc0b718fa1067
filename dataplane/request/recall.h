/* recall.h: items of answers that this node printed for callers of the Responses dialect, for those
 * who refer to one by its id in their next request instead of sending it back (Vercel's AI SDK does
 * by default). A vendor that speaks that dialect keeps them for its clients; where another one
 * answered, nobody else has them.
 *
 * Bounded and best-effort, as generations.h: a table of all workers without a lock, one place for
 * each id, taken over by who comes next; what is not there any more, or was told by another node,
 * is refused with what to do (docs/decisions/0223). Each key finds its own items alone. */
#ifndef STEELYARD_DATAPLANE_REQUEST_RECALL_H
#define STEELYARD_DATAPLANE_REQUEST_RECALL_H

#include "dataplane/request/request.h"

#define RECALL_PLACES_MAX 4096U
#define RECALL_PLACES_MIN 16U
#define RECALL_PART       16U    /* Of the memory that the process may use, at most. */
#define RECALL_ITEM_BYTES 16352U /* Of a longer item nothing is kept. */
#define RECALL_REFERENCES 256U   /* That are looked up for one request. */

struct recall;
/* memory_max: bytes that the process may use. Takes pages as places are used, but counts as a whole.
 * NULL: no memory. */
struct recall *recall_create(uint64_t memory_max);
uint32_t recall_places(const struct recall *memory);
void recall_destroy(struct recall *memory);
/* Any thread. item: JSON. */
void recall_put(struct recall *memory, uint64_t key_id, uint64_t id_hash, struct str item);
/* Bytes written to out, which has room for RECALL_ITEM_BYTES; 0: it is not there. */
size_t recall_find(struct recall *memory, uint64_t key_id, uint64_t id_hash, char *out);

/* The request has its record: what its answer says is kept. */
void recall_keep(struct request *r);
/* For a body that was refused for references to such items (call_refusal.not_kept): puts what is
 * kept in their place. 1: r->body is another one now, in the arena; 0: it is as it was. ERR_NOMEM.
 */
int recall_expand(struct request *r) MUST_CHECK;

#endif
