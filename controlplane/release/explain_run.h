/* explain_run.h: the last decisions of a policy's routes, recomputed with a version of it, into
 * controlplane/learn/explain_version. Worker thread. */
#ifndef STEELYARD_CONTROLPLANE_RELEASE_EXPLAIN_RUN_H
#define STEELYARD_CONTROLPLANE_RELEASE_EXPLAIN_RUN_H

#include "common/base/hash.h"
#include "controlplane/learn/explain_version.h"
#include "controlplane/release/publish.h"

#define EXPLAIN_RUN_DEFAULT 10000

struct explain_run_request {
    const char *conninfo; /* For a second connection: rows stream in on the first one. */
    const struct publish_set *set;
    const char *policy;
    uint64_t version;
    uint64_t against;    /* 0: what was recorded. */
    uint32_t decisions;  /* Last so many; 1..EXPLAIN_VERSION_ROWS_MAX. */
    uint32_t bootstraps; /* 0: ESTIMATE_BOOTSTRAPS. */
    struct siphash_key draw_key;
};
struct explain_run {
    struct explain_version *x; /* The names of result point into it. */
    struct explain_version_result result;
    uint64_t seen;
    uint64_t unusable; /* No choice, no features, or no longer readable. */
    uint64_t named;    /* Calls of models that somebody named. */
    int64_t from_us, to_us;
};
/* On success the caller calls explain_run_deinit. ERR_NOT_FOUND: no such version, or no decision
 * that can be recomputed; ERR_CORRUPT, ERR_NOMEM, or a database error. */
int explain_run(struct pq_conn *c, const struct explain_run_request *request,
                struct explain_run *out, struct err *err) MUST_CHECK;
void explain_run_deinit(struct explain_run *run);

#endif
