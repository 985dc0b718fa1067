/* judge.h: what an attempt that has ended came to: why, what the deployment's breaker and cooldown
 * are told, by whose counts it is billed, what is learned of its speed. Each once, in this order.
 *
 * Failures: whatever the transport reports, a status that is not 2xx, an event that is no event of
 * the dialect, an end without an end mark. All become a record_reason, and the driver decides what
 * follows. */
#ifndef STEELYARD_DATAPLANE_REQUEST_JUDGE_H
#define STEELYARD_DATAPLANE_REQUEST_JUDGE_H

#include "dataplane/request/request.h"

/* A whole reply that is good becomes the answer's pieces. */
enum record_reason judge_end(struct request *r, const struct fetch_result *result);
void judge_bill(struct request *r, enum record_reason reason, const struct fetch_result *result);
void judge_observe(struct request *r, uint64_t now_ns, const struct fetch_result *result);
/* A stream's event was PROVIDER_ERROR: why that is, and how long it asks us to wait. */
enum record_reason judge_told(struct request *r);
/* What the answer said that made it, in the attempt's row; and its text if that is new. */
void judge_print(struct request *r, uint64_t now_ms);
void judge_cool_down(struct attempt *a, enum record_reason reason, uint64_t now_ms);
enum endpoint_outcome judge_outcome(enum record_reason reason);

#endif
