/* apply.h: makes a configuration file the published state: catalogue, prices, limits, policies of
 * the file and keys of the file, in one transaction and at most one new generation. The same file
 * twice changes nothing. What operators made through the admin API (keys, promoted versions) stays.
 * Blocking: on a worker thread. */
#ifndef STEELYARD_CONTROLPLANE_RELEASE_APPLY_H
#define STEELYARD_CONTROLPLANE_RELEASE_APPLY_H

#include "controlplane/config/config.h"
#include "controlplane/release/publish.h"

/* config NULL: no file; then only the limits (with the keys) are published. */
int apply_config(struct pq_conn *c, const struct publish_actor *actor, const struct config *config,
                 const struct config_keys *keys, uint64_t *out_generation,
                 struct err *err) MUST_CHECK;

#endif
