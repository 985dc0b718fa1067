/* turn_internal.h: the parts of a turn. Private to controlplane/evidence. */
#ifndef STEELYARD_CONTROLPLANE_EVIDENCE_TURN_INTERNAL_H
#define STEELYARD_CONTROLPLANE_EVIDENCE_TURN_INTERNAL_H

#include <jansson.h>

#include "controlplane/evidence/turn.h"
#include "controlplane/release/train_rows.h"

struct turn {
    struct pq_conn *c;
    const struct leader_claim *claim;
    const struct evidence_policy *policy;
    const struct train_facts *facts;
    struct evidence_seen *seen;
    struct err *err;
    int64_t now_us;
    /* Of the version in service. */
    uint64_t version;
    uint64_t approved; /* Whose content it is but for what was tuned here. */
    int64_t promoted_us;
    int64_t created_us; /* Of the approved one. */
    uint64_t rows;      /* That it learned from. */
    int64_t lambda;
    int64_t approved_lambda;
    uint32_t explore;      /* Chances of 2^32: in force, ... */
    uint32_t explore_most; /* ... and what the file allows. */
    json_t *report;        /* Of the training of the approved one. */
    double spend_target;   /* USD a day; 0: none. */
    enum train_target target;
    double target_value;
    uint8_t artifact[SHA256_BYTES];
    bool has_artifact;
    bool quiet; /* No rollout is under way: numbers may be tuned. */
};

int turn_lambda(struct turn *t) MUST_CHECK;
uint64_t turn_least_labels(const struct turn *t); /* Of the model with the fewest. */
int turn_explore(struct turn *t) MUST_CHECK;
int turn_drift(struct turn *t) MUST_CHECK;
int turn_prints(struct turn *t) MUST_CHECK; /* Of drift, too. */
int turn_retrain(struct turn *t) MUST_CHECK;

#endif
