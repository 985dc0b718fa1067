/* version_load.h: a version of a policy as it is stored, ready to decide. Worker thread. */
#ifndef STEELYARD_CONTROLPLANE_RELEASE_VERSION_LOAD_H
#define STEELYARD_CONTROLPLANE_RELEASE_VERSION_LOAD_H

#include "common/base/hash.h"
#include "common/route/policy.h"
#include "controlplane/store/pq.h"

/* *out_artifact is the caller's to destroy, also on error; NULL: it decides by priors. out_report:
 * what training wrote of it, JSON; may be NULL. ERR_NOT_FOUND: there is no such version. */
int version_load(struct pq_conn *c, const char *policy, uint64_t number,
                 struct siphash_key draw_key, struct artifact **out_artifact,
                 struct policy_params *out_params, struct buf *out_report,
                 struct err *err) MUST_CHECK;

#endif
