/* tally.h: what a request counts in the metrics. Requests that are alike (path, route, deployment,
 * status, streamed or not) count in the same series; a worker remembers those of the last few
 * kinds, so that the usual request looks none of them up. */
#ifndef STEELYARD_DATAPLANE_REQUEST_TALLY_H
#define STEELYARD_DATAPLANE_REQUEST_TALLY_H

#include "dataplane/request/request.h"

void tally_decision(struct request *r, const struct snapshot_model *chosen); /* NULL: none. */
void tally_attempt(struct request *r, const struct record_attempt *row);
/* Its kind, which stays until the next request is counted. */
struct tally_kind *tally_end(struct request *r, uint64_t duration_ns);
struct str tally_route(const struct request *r); /* Its name as a label; .data NULL: undecided. */

#endif
