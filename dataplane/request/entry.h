/* entry.h: a request as its telemetry record. */
#ifndef STEELYARD_DATAPLANE_REQUEST_ENTRY_H
#define STEELYARD_DATAPLANE_REQUEST_ENTRY_H

#include "dataplane/request/request.h"

/* Everything is borrowed from r. */
void entry_fill(struct request *r, struct record_decision *out);

#endif
