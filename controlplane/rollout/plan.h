/* plan.h: how a rollout is to go: stages and dwells of the machine, the rules of the guards, the
 * width of a bucket. As JSON in rollout.cfg and in the body of the request that starts one; there
 * every member may be left out, and then the default holds. */
#ifndef STEELYARD_CONTROLPLANE_ROLLOUT_PLAN_H
#define STEELYARD_CONTROLPLANE_ROLLOUT_PLAN_H

#include <jansson.h>

#include "controlplane/rollout/machine.h"

#define PLAN_BUCKET_S_DEFAULT 10U
#define PLAN_BUCKET_S_REVERT  2U

struct rollout_plan {
    struct rollout_config machine;
    struct guard_rules rules;
    uint32_t bucket_s; /* How often rows are folded and the guards looked at, at most. */
};

/* Members that a body may have; NULL-terminated. */
extern const char *const plan_fields[];

void plan_default(struct rollout_plan *plan);
/* Back to a version that served before: straight to everyone once the nodes have it. */
void plan_revert(struct rollout_plan *plan);
/* Overwrites what the object gives, and checks the whole. ERR_INVALID with what is wrong. */
int plan_read(const json_t *object, struct rollout_plan *plan, struct err *err) MUST_CHECK;
/* All of it; the caller owns it. ERR_NOMEM. */
int plan_write(const struct rollout_plan *plan, json_t **out_object) MUST_CHECK;

#endif
