/* idempotency.h: a request that says its idempotency key (INTERFACES section 2, RELIABILITY B26) is
 * run once: while it runs, and for a day after it was answered whole, the same one again is told
 * so, or gets that answer, without a decision, an attempt or a cost. Names are of a caller's key
 * and path: nobody finds another's answer. Streams are not kept: while one runs, a second is
 * refused; afterwards it runs again. So do requests that failed. */
#ifndef STEELYARD_DATAPLANE_REQUEST_IDEMPOTENCY_H
#define STEELYARD_DATAPLANE_REQUEST_IDEMPOTENCY_H

#include "dataplane/request/request.h"

bool idempotency_wanted(const struct request *r); /* The steering headers were read. */
/* The body is whole. NEXT with r->repeat set: it is this request's; or, with *out_answered, r has
 * the answer that was given before. */
enum step_result idempotency_open(struct request *r, bool *out_answered);
/* The record is written: a whole answer is kept for who asks again. */
void idempotency_note(struct request *r);
void idempotency_give(struct request *r); /* At its end. */
/* Told again: the answer that it is; NULL: it is one of its own. */
const struct idempotency_answer *idempotency_told(const struct request *r);

#endif
