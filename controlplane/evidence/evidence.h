/* evidence.h: what goes on about policies without being asked, while this replica leads
 * LEADER_TRAINER: lambda follows spend targets and exploration its account at every tick (5
 * minutes), drift is looked for every hour, training begins again when it is time (turn.h). The
 * database work is on worker threads. Should two control planes both believe that they lead, the
 * fence lets one write. Loop thread. */
#ifndef STEELYARD_CONTROLPLANE_EVIDENCE_EVIDENCE_H
#define STEELYARD_CONTROLPLANE_EVIDENCE_EVIDENCE_H

#include <uv.h>

#include "controlplane/evidence/turn.h"
#include "controlplane/store/work.h"

struct evidence;

struct evidence_config {
    struct work *work; /* Borrowed until evidence_close is done, as is the leader. */
    struct leader *leader;
    const struct publish_set *(*current)(void *arg); /* NULL until there is one. */
    /* The policy at `index`; false: no more. */
    bool (*policy)(void *arg, size_t index, struct evidence_policy *out);
    void (*on_published)(void *arg); /* A version was tuned. */
    void *arg;
    uint32_t tick_ms; /* 0: 5 minutes. */
};
int evidence_start(uv_loop_t *loop, const struct evidence_config *config, struct evidence **out,
                   struct err *err) MUST_CHECK;
struct evidence_stats {
    uint64_t turns; /* Since the start, as all of these. */
    uint64_t lambda_steps;
    uint64_t explore_steps;
    uint64_t drifts;
    uint64_t prints;
    uint64_t offsets;
    uint64_t retrains;
    uint64_t errors;
    double stability; /* Largest index of the last looks. */
};
struct evidence_stats evidence_get_stats(const struct evidence *e);
/* A turn under way is awaited. */
void evidence_close(struct evidence *e, void (*cb)(void *arg), void *arg);

/* What a trained version goes on to (trainer_config.start_rollout): a rollout by the default plan,
 * which begins in shadow and at 1 %. */
int evidence_start_rollout(void *arg, struct pq_conn *c, const struct publish_actor *actor,
                           struct str policy, uint64_t version, struct str verdict,
                           struct err *err) MUST_CHECK;

#endif
