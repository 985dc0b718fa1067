/* replay_gate.h: do the incumbent's recorded decisions come out again, bit by bit? A gate of
 * training: where they do not, records cannot be trusted to teach. Worker thread. */
#ifndef STEELYARD_CONTROLPLANE_RELEASE_REPLAY_GATE_H
#define STEELYARD_CONTROLPLANE_RELEASE_REPLAY_GATE_H

#include "common/base/hash.h"
#include "controlplane/learn/pipeline.h"
#include "controlplane/store/pq.h"

#define REPLAY_GATE_DECISIONS 10000

/* The last REPLAY_GATE_DECISIONS decisions by this artifact. conninfo: for a second connection. */
int replay_gate(struct pq_conn *c, const char *conninfo, struct str artifact,
                struct siphash_key draw_key, struct learn_gate *out_gate,
                struct err *err) MUST_CHECK;

#endif
