/* plane.h: the control plane as a whole: one loop owns everything. Start and stop order are here;
 * what the parts do is in their rooms.
 *
 *   BOOTING  Postgres is awaited; schema, partitions, fence and configuration file are brought up
 *   LOADING  the published generation is being read
 *   SERVING  nodes and operators are served
 *   CLOSING  parts end in reverse order
 *
 * The probes' port is open from the first state on, so an outage of Postgres is seen, not felt. */
#ifndef STEELYARD_CONTROLPLANE_PLANE_H
#define STEELYARD_CONTROLPLANE_PLANE_H

#include <uv.h>

#include "common/base/err.h"
#include "controlplane/settings.h"

#ifndef STEELYARD_VERSION
#define STEELYARD_VERSION "unknown"
#endif

struct plane;

/* The file named by --config must be good: else ERR_SYNTAX with every finding logged. settings is
 * borrowed until plane_destroy. */
int plane_create(uv_loop_t *loop, const struct settings *settings, struct plane **out_plane,
                 struct err *err) MUST_CHECK;
void plane_reload(struct plane *p);     /* SIGHUP: a bad file keeps the old one. */
void plane_dump(const struct plane *p); /* SIGQUIT: what it is at, to the log. */
/* The first call ends in order, a second one at once. cb (may be NULL) comes once, last. */
void plane_drain(struct plane *p, void (*cb)(void *arg), void *arg);
/* 0, or ERR_*: why it ended by itself (a schema that this program does not know). */
int plane_status(const struct plane *p);
void plane_destroy(struct plane *p); /* After the loop ran out. */

#endif
