/* throttle.h: rates and concurrency of the accounts on a request's path (dataplane/limits). */
#ifndef STEELYARD_DATAPLANE_REQUEST_THROTTLE_H
#define STEELYARD_DATAPLANE_REQUEST_THROTTLE_H

#include "dataplane/request/request.h"

#define THROTTLE_HEADERS_BYTES 768U /* Of what throttle_put_headers writes, at most. */

/* STEP_NEXT: nothing on the path is limited, or there is room on all of it, and r->limits holds it.
 * STEP_FAIL: refused, with the time to wait. */
enum step_result throttle_admit(struct request *r);
/* The request's attempts have ended: what they took replaces the estimate. Once; without an
 * admission it does nothing. */
void throttle_settle(struct request *r);
/* The hold is not looked at any more. */
void throttle_give(struct request *r);
/* "\r\nx-ratelimit-limit-requests: 60\r\n..." at a place with room; where it ended. r->limits is
 * not NULL. On the paths of the Anthropic dialect "anthropic-ratelimit-requests-limit" and so on;
 * there input and output tokens have one limit, and each is said to have it. */
char *throttle_put_headers(const struct request *r, char *at);
/* "6m0s", "1s", "250ms", "1m0.5s": rounded up to milliseconds. At most 32 bytes. */
char *throttle_put_duration(uint64_t ns, char *at);

#endif
