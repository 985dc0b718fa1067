/* workspace.h: what a request holds only for a while. The workspace is lent when the body is there.
 * Once a stream has begun no other attempt can follow, and the decision is the spool's since the
 * intent: then workspace, arena, held frames and the caller's head and body are let go, and what is
 * left (struct request alone) lives on for the minutes that a stream may take. */
#ifndef STEELYARD_DATAPLANE_REQUEST_WORKSPACE_H
#define STEELYARD_DATAPLANE_REQUEST_WORKSPACE_H

#include "dataplane/request/request.h"

bool workspace_take(struct request *r); /* false: out of memory. */
void workspace_give(struct request *r); /* Fine without one. */
/* Content was sent. Keeps everything where something of it is still needed: rows of earlier
 * attempts, or bytes of the request that the transport has yet to send. */
void workspace_shed(struct request *r);
void workspace_trim(struct request_env *env, size_t keep);
void workspace_deinit(struct request_env *env);

#endif
