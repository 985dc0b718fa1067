/* scan.h: a body's JSON is scanned while the body arrives (docs/decisions/0118), by the read that
 * has just brought the bytes into the cache. `parse` then takes the finished scan, and what it says
 * of the body is the same as for one that came in one piece.
 *
 * A scan under way holds at most as much memory as the body has bytes, and 64 KiB. One that would
 * need more, or finds none, is given up; then `parse` scans the whole body, as it does with one
 * that is there at once. */
#ifndef STEELYARD_DATAPLANE_REQUEST_SCAN_H
#define STEELYARD_DATAPLANE_REQUEST_SCAN_H

#include "dataplane/request/request.h"

/* All bytes so far; they may have moved. true: they are no beginning of a text of JSON. */
bool scan_feed(struct request *r, struct str so_far);
/* The reader for the body: in the midst of it, or the worker's own, with nothing begun. */
struct json *scan_reader(struct request *r);
const struct json *scan_peek(const struct request *r); /* Of the scan that is there. */
void scan_give(struct request *r);                     /* Fine without one. */
void scan_deinit(struct request_env *env);

#endif
