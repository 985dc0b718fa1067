/* policy_internal.h: what policy_versions.c and publish_rollout.c share. Private to
 * controlplane/release. All between publish_begin and publish_commit. */
#ifndef STEELYARD_CONTROLPLANE_RELEASE_POLICY_INTERNAL_H
#define STEELYARD_CONTROLPLANE_RELEASE_POLICY_INTERNAL_H

#include "controlplane/release/publish.h"

#define POLICY_NAME_MAX    64U
#define POLICY_STATE_BYTES 16U

struct policy_content {
    struct buf artifact_sha; /* Empty: none. */
    struct buf params;
};
void policy_content_init(struct policy_content *x);
void policy_content_deinit(struct policy_content *x);

/* version 0: the one in `state`. ERR_NOT_FOUND. */
int policy_load_version(struct pq_conn *c, struct str name, uint64_t version, const char *state,
                        uint64_t *out_version, char out_state[POLICY_STATE_BYTES],
                        struct policy_content *out, struct err *err) MUST_CHECK;
/* Whoever is current steps back. */
int policy_retire_current(struct pq_conn *c, struct str name, struct err *err) MUST_CHECK;
/* "artifact/<name><suffix>" (an empty sha removes it) and "params/<name><suffix>". */
int policy_put_resources(struct pq_conn *c, struct str name, const char *suffix,
                         const struct buf *artifact_sha, struct str params,
                         struct err *err) MUST_CHECK;

#endif
