/* answer.h: heads and error bodies as they go to a client: INTERFACES section 2 (response headers)
 * and 3 (errors). Writes bytes; sends nothing. */
#ifndef STEELYARD_DATAPLANE_REQUEST_ANSWER_H
#define STEELYARD_DATAPLANE_REQUEST_ANSWER_H

#include "dataplane/request/request.h"

/* Head of an answer with this many body bytes. */
int answer_write_head(struct request *r, uint64_t body_bytes, struct buf *out) MUST_CHECK;
struct str answer_policy(const struct request *r); /* As its header says it. */
/* Head of an event stream. early: sent before it is known who serves. */
int answer_write_stream_head(struct request *r, bool early, struct buf *out) MUST_CHECK;
/* Makes r->fault the whole answer: status, body, headers. The body lives in the arena. */
void answer_set_fault(struct request *r);
/* `data: {"error":{...}}` as an event. */
int answer_write_error_event(struct request *r, struct buf *out) MUST_CHECK;
/* A complete answer to bytes that never became a request; the connection closes. */
int answer_write_refusal(enum fault fault, struct buf *out) MUST_CHECK;

/* "0.000012345": nine decimals, trailing zeros cut. */
int answer_write_usd(int64_t nanousd, struct buf *out) MUST_CHECK;
/* The same at a place with room for ANSWER_USD_BYTES; where it ended. */
char *answer_put_usd(int64_t nanousd, char *at);
struct str answer_cost(const struct request *r); /* The request's; until the next one is told. */

/* A buffer over arena memory of fixed size: never buf_deinit it. cap 0 when memory ran out. */
struct buf answer_arena_buf(struct request *r, size_t bytes);

#endif
