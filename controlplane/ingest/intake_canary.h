/* intake_canary.h: what a decision of a rollout says about its arm: one row of COPY data for
 * canary_obs, in the transaction of the decision. No I/O. */
#ifndef STEELYARD_CONTROLPLANE_INGEST_INTAKE_CANARY_H
#define STEELYARD_CONTROLPLANE_INGEST_INTAKE_CANARY_H

#include <stdint.h>

#include "controlplane/store/pq.h"
#include "telemetry.pb-c.h"

/* canary_obs.flags. Numbers are stored: append only. */
enum intake_canary_flag {
    OBS_ERROR =
        1, /* An event of the error guard: FAILED, or an attempt that the provider failed. */
    OBS_FAILED = 2,    /* The client got an error, or half an answer, that was not its own fault. */
    OBS_TIMEOUT = 4,   /* An attempt ran out of time. */
    OBS_CLAMPED = 8,   /* A budget shortened the answer. */
    OBS_SERVED = 16,   /* The client got the whole answer. */
    OBS_SHADOWED = 32, /* It is known what the other version would have chosen ... */
    OBS_DIFFERS = 64,  /* ... and that it is another model. */
};

#define CANARY_STRATA   16U
#define CANARY_CLUSTERS 64U

/* Clusters of units are told apart by a key that follows from the rollout's id, so that a row can
 * be written without asking the database; it is independent of the salt of the slots, which is
 * random. */
void intake_canary_salt2(uint64_t rollout_id, uint8_t out_salt2[16]);
unsigned intake_canary_cluster(uint64_t rollout_id, uint64_t unit);

/* d->rollout_id is not 0 and d was found good. */
void intake_canary_add(struct pq_copy *copy, const Steelyard__Telemetry__V1__Decision *d);
/* OBS_* of a decision. */
unsigned intake_canary_flags(const Steelyard__Telemetry__V1__Decision *d);

#endif
