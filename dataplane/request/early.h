/* early.h: a request whose model is named goes up while its body still comes (docs/decisions/0119).
 *
 * The model must stand in what has arrived, and must be one of ours, with no route and so no
 * learned choice. Then the request walks its steps with what is known (the length bounds the
 * tokens; there are no features), and its attempt sends the body as it comes, up to what the scan
 * has accepted and never the last bracket. Once the body is whole it is read as any other: if it is
 * refused the attempt is cancelled, and its upstream has not got a whole request; else the rest
 * goes, and the request is like any other from there. */
#ifndef STEELYARD_DATAPLANE_REQUEST_EARLY_H
#define STEELYARD_DATAPLANE_REQUEST_EARLY_H

#include "dataplane/request/request.h"

/* Between request_forward and the whole body. */
static inline bool early_open(const struct request *r)
{
    return r->early && !r->body_ready;
}

/* What is known of the call; for `parse`. */
enum step_result early_parse(struct request *r);
/* The body is whole, or wrong: what request_body does for others. */
void early_whole(struct request *r);
/* It ends with this, and with what runs for it. */
void early_refuse(struct request *r, enum fault fault);

/* For an attempt that begins while the body comes: what its request says of the body, and, once it
 * has begun, what can be sent of it. */
int early_start(struct request *r, struct fetch_request *request) MUST_CHECK;
void early_send(struct request *r);
void early_stop(struct request *r); /* A reply came first: nothing more is sent. */

/* parse.c: reads the body that is there into work->call, or fails with what is wrong with it. */
enum step_result parse_body(struct request *r);
bool parse_takes_type(const struct request *r); /* The body's media type. */

#endif
