/* calibrate_run.h: at which threshold a share of the last decisions goes to the strongest model.
 * For each recorded decision the version's own decision function says how much quality the
 * strongest candidate has over the cheapest one; the threshold is the lead that the wanted share
 * reaches. What a node does with it is in dataplane/request/wishes.h. Worker thread. */
#ifndef STEELYARD_CONTROLPLANE_RELEASE_CALIBRATE_RUN_H
#define STEELYARD_CONTROLPLANE_RELEASE_CALIBRATE_RUN_H

#include "common/base/hash.h"
#include "controlplane/release/publish.h"

#define CALIBRATE_DEFAULT 10000U
#define CALIBRATE_MAX     1000000U
#define CALIBRATE_ONE     65536U /* Of qualities and thresholds. */

/* Which threshold to use so that of so many leads a share (millionths) is at or above it: of the
 * two next to it the one whose share is closer. Sorts the leads. count is not 0. */
uint32_t calibrate_threshold(uint32_t *leads, size_t count, uint32_t share_millionths,
                             size_t *out_reached);

struct calibrate_request {
    const char *conninfo; /* For a second connection: rows stream in on the first one. */
    const struct publish_set *set;
    const char *policy;
    uint64_t version;
    uint32_t decisions; /* Last so many; 1..CALIBRATE_MAX. */
    uint32_t share_millionths;
    struct siphash_key draw_key;
};
struct calibrate_result {
    uint32_t threshold_q16;
    uint64_t decisions;
    uint64_t unusable;
    uint64_t strong; /* Decisions that reach the threshold. */
};
/* ERR_NOT_FOUND: no such version, or nothing that can be recomputed; ERR_CORRUPT, ERR_NOMEM, or a
 * database error. */
int calibrate_run(struct pq_conn *c, const struct calibrate_request *request,
                  struct calibrate_result *out, struct err *err) MUST_CHECK;

#endif
