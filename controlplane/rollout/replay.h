/* replay.h: do the candidate's decisions come out again? A sample of those that arrived since the
 * last look, and of what it would have chosen where the stable version served, recomputed from the
 * records' inputs by the version's own artifact and parameters as they are stored here. A node that
 * decides by anything else (a miscompiled kernel, bytes that rotted, a version that is not what its
 * name says) makes a mismatch: the rollout's trip wire. Blocking, on a worker's connection outside
 * a transaction. */
#ifndef STEELYARD_CONTROLPLANE_ROLLOUT_REPLAY_H
#define STEELYARD_CONTROLPLANE_ROLLOUT_REPLAY_H

#include "controlplane/release/record.h"

#define REPLAY_SAMPLE 16 /* Decisions a look, and as many shadows. */

struct replay_result {
    uint32_t same, differ;
    uint32_t skipped;  /* Never came to a choice, or by what is not stored or not recorded. */
    const char *field; /* Of the first that differs; static. */
};
/* Those that are not folded yet, newest first; none of a rollout that has halted or ended. cache:
 * of the caller, between looks. An error of the database leaves *out empty. */
int rollout_replay(struct pq_conn *c, int64_t id, struct record_cache *cache,
                   struct siphash_key draw_key, struct replay_result *out,
                   struct err *err) MUST_CHECK;

#endif
