/* entry.h: a request as its telemetry record, in two parts. */
#ifndef STEELYARD_DATAPLANE_REQUEST_ENTRY_H
#define STEELYARD_DATAPLANE_REQUEST_ENTRY_H

#include "dataplane/request/request.h"

/* Everything is borrowed from r. The decision's part is written once, with the intent, and is then
 * the spool's: nothing the outcome needs comes from r->work but the attempts. */
void entry_fill_decision(struct request *r, struct record_decision *out);
void entry_fill_outcome(struct request *r, struct record_outcome *out);

#endif
