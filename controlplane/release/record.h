/* record.h: a stored decision opened up again: the protobuf, the artifact and parameters it was
 * made with, and the inputs of common/route, ready to recompute. Worker thread. */
#ifndef STEELYARD_CONTROLPLANE_RELEASE_RECORD_H
#define STEELYARD_CONTROLPLANE_RELEASE_RECORD_H

#include "common/route/explain.h"
#include "controlplane/store/pq.h"
#include "telemetry.pb-c.h"

#define RECORD_CACHE 8

/* Artifacts and parameters by hash: many records share few. Zero-initialised is empty. */
struct record_cache {
    struct {
        uint8_t sha[32];
        struct artifact *artifact;
    } artifacts[RECORD_CACHE];
    struct {
        uint8_t sha[32];
        bool used;
        struct buf body;
    } params[RECORD_CACHE];
    unsigned next_artifact;
    unsigned next_params;
};
void record_cache_deinit(struct record_cache *cache);

enum record_skip {
    RECORD_USABLE,
    RECORD_NO_DECISION, /* Answered before it came to a choice. */
    RECORD_NO_ARTIFACT, /* Its artifact or parameters are not stored here. */
};

struct record {
    Steelyard__Telemetry__V1__Decision *pb;
    enum record_skip skip;
    bool has_features;
    struct features features;
    const struct artifact *artifact; /* Of the cache. */
    struct policy_params params;
    struct policy_request request;
    struct policy_candidate candidates[POLICY_CANDIDATES_MAX];
    struct way_input way;
    struct policy_decision recorded;
    struct explain_input input; /* Points into this struct. */
};
/* detail: decision.detail. ERR_CORRUPT, ERR_NOMEM, or a database error. */
int record_open(struct pq_conn *c, struct record_cache *cache, struct str detail,
                struct siphash_key draw_key, struct record *out_record, struct err *err) MUST_CHECK;
/* The same of a row whose first column is decision.detail. */
int record_open_row(struct pq_conn *c, struct record_cache *cache, const struct pq_result *row,
                    struct siphash_key draw_key, struct record *out_record,
                    struct err *err) MUST_CHECK;
void record_close(struct record *r);
/* The features of a decision, in either form that nodes have written. ERR_NOT_FOUND: none were
 * recorded; else as features_decode, ERR_CORRUPT for a dense value out of range too. */
int record_features(const Steelyard__Telemetry__V1__Decision *d,
                    struct features *out_features) MUST_CHECK;
/* Recomputes; .field NULL: equal. */
int record_replay(struct record *r, struct policy_decision *out_decision,
                  struct explain_mismatch *out_mismatch) MUST_CHECK;
/* The shadow of a decision of the stable version, recomputed by the candidate's artifact (NULL: it
 * has none) and the parameters that the shadow names: .field NULL: equal. ERR_NOT_FOUND: there is
 * none, or not all that it was computed from is recorded or stored; ERR_INVALID: such inputs give
 * no choice; ERR_NOMEM, or a database error. */
int record_replay_shadow(struct pq_conn *c, struct record_cache *cache, const struct record *r,
                         const uint8_t artifact_sha[32], struct explain_mismatch *out_mismatch,
                         struct err *err) MUST_CHECK;
/* A Params resource as the node reads it, over parameters that policy_params_init has set.
 * ERR_CORRUPT. */
int record_params(struct str body, const struct artifact *artifact,
                  struct policy_params *io_params) MUST_CHECK;
const char *record_status_name(uint32_t status);
const char *record_reason_name(uint32_t reason);
/* Where an attempt's token counts are from; "none": it used nothing, or the record is older. */
const char *record_source_name(uint32_t source, uint32_t flags);

#endif
