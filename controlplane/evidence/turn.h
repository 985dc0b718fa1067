/* turn.h: one look at one policy: lambda towards its spend target, how much may be explored, drift
 * of its models and of what it is asked, and whether to train again. Every step is a transaction of
 * its own under the claim of LEADER_TRAINER, and an audit row. Blocking; worker thread. */
#ifndef STEELYARD_CONTROLPLANE_EVIDENCE_TURN_H
#define STEELYARD_CONTROLPLANE_EVIDENCE_TURN_H

#include "controlplane/leader/leader.h"
#include "controlplane/release/publish.h"
#include "controlplane/release/train.h"

struct evidence_policy {
    char name[TRAIN_NAME_BYTES];
    uint64_t retrain_every_s;  /* 0: never by itself. */
    enum train_target target;  /* When the version in service has none of its own; ... */
    double target_value;       /* ... 0: there is none either, and nothing is trained. */
    uint64_t label_maturity_s; /* Younger feedback waits. */
    double explore_spend;      /* Share of spend that exploring may add; 0: none. */
};

enum evidence_parts {
    EVIDENCE_LAMBDA = 1,
    EVIDENCE_DRIFT = 2,
    EVIDENCE_RETRAIN = 4,
    EVIDENCE_EXPLORE = 8,
};

struct evidence_seen {
    uint64_t lambda_steps;
    uint64_t explore_steps;
    uint64_t drifts;
    uint64_t prints; /* Of these: deployments that say they are another. */
    uint64_t offsets;
    uint64_t retrains;
    double stability; /* Largest index of the last look; 0: none. */
};

/* parts: which of the above. now_us: wall time. Adds to io_seen. ERR_CONFLICT: deposed. A policy
 * that has no version in service is left alone. */
int evidence_turn(struct pq_conn *c, const struct leader_claim *claim,
                  const struct publish_set *set, const struct evidence_policy *policy,
                  unsigned parts, int64_t now_us, struct evidence_seen *io_seen,
                  struct err *err) MUST_CHECK;

#endif
