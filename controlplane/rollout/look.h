/* look.h: one look at one rollout: fold, guards, machine, and the edge that follows. And what
 * people do to one, which is the same without a fold. Blocking: on a worker's connection, which is
 * in no transaction. */
#ifndef STEELYARD_CONTROLPLANE_ROLLOUT_LOOK_H
#define STEELYARD_CONTROLPLANE_ROLLOUT_LOOK_H

#include "controlplane/leader/leader.h"
#include "controlplane/rollout/fold.h"
#include "controlplane/rollout/replay.h"

struct look_result {
    int64_t id;
    char policy[ROLLOUT_POLICY_BYTES];
    bool is_override;
    struct rollout_edge edge; /* changes: it was taken and committed. */
    struct rollout_place from;
    bool ended; /* It has no say any more, by this edge or before. */
    bool more;  /* Rows are left over: look again at once. */
    uint64_t rows;
    uint64_t generation; /* Of the edge; 0: none. */
};

/* By the leader: claim fences both transactions (what was folded; the edge). now_us 0: the
 * database's clock. replayed: what rollout_replay found just before; NULL: it was not asked.
 * ERR_CONFLICT: deposed, nothing of this look was kept that is not fenced. */
int rollout_look(struct pq_conn *c, const struct leader_claim *claim, int64_t id, int64_t now_us,
                 const struct replay_result *replayed, struct look_result *out,
                 struct err *err) MUST_CHECK;

/* By a person, on any replica: the lock on the head orders it with the leader's edges. now_us: when
 * it takes effect; 0: now. Of an override only ROLLBACK (its end) is possible. ERR_CONFLICT with
 * what is in the way; ERR_NOT_FOUND. */
int rollout_command(struct pq_conn *c, const struct publish_actor *actor, int64_t id,
                    enum rollout_command command, int64_t now_us, struct look_result *out,
                    struct err *err) MUST_CHECK;

/* report.c: what a look saw, for rollout.report and for the evidence of an edge. */
int report_write(const struct rollout *r, const struct rollout_facts *facts,
                 const struct rollout_edge *edge, json_t **out_report) MUST_CHECK;

#endif
