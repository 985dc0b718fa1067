/* selftest.h: the vectors an artifact carries: inputs of whole decisions and all their outputs. A
 * node that computes anything else must not serve the policy. Also the one byte form of a
 * decision's inputs and outputs, for tests and tools. Thread-safe. */
#ifndef STEELYARD_COMMON_ROUTE_SELFTEST_H
#define STEELYARD_COMMON_ROUTE_SELFTEST_H

#include "common/route/artifact.h"
#include "common/route/policy.h"

/* Inputs of one vector; all borrowed. */
struct selftest_case {
    const struct features *features;
    const struct policy_params *params;
    const struct policy_request *request; /* policy_version: at most 64 bytes. */
    const struct policy_candidate *candidates;
    uint32_t count;
};

/* One vector read back; everything in its own memory (about 10 KB). */
struct selftest_vector {
    struct features features;
    struct policy_params params;
    struct policy_request request; /* policy_version points into what was read. */
    struct policy_candidate candidates[POLICY_CANDIDATES_MAX];
    uint32_t count;
    struct policy_decision decision; /* As computed when it was written. */
};
/* The byte form of a decision's inputs and outputs. Writes off[0..model_count) of the parameters;
 * the reader must give the same model_count. decode moves *io_rest past the vector; ERR_CORRUPT. */
int selftest_encode(const struct selftest_case *c, uint32_t model_count,
                    const struct policy_decision *decision, struct buf *out) MUST_CHECK;
int selftest_decode(struct str *io_rest, uint32_t model_count,
                    struct selftest_vector *out_vector) MUST_CHECK;

/* Writes a finished file: encodes spec without vectors, decodes it (so that everything
 * artifact_decode checks holds), decides every case and appends the finished file to out.
 * 1..ARTIFACT_SELFTESTS_MAX cases. ERR_INVALID with a message when spec or a case is refused. */
int selftest_build(const struct artifact_spec *spec, const struct selftest_case *cases,
                   uint32_t case_count, struct buf *out, struct err *err) MUST_CHECK;
/* ERR_CORRUPT with reason SELFTEST_FORMAT or SELFTEST_DIFFERS (err names vector and field). No
 * allocation. */
int selftest_run(const struct artifact *a, enum artifact_reason *out_reason,
                 struct err *err) MUST_CHECK;

struct artifact_expect {
    uint64_t hash_key_id; /* This deployment's. */
    uint64_t newer_than;  /* Generation in service; 0: none. */
};
/* What a node does with a file: decode, deployment, generation, self-test. */
int artifact_load(struct str file, const struct artifact_expect *expect,
                  struct artifact **out_artifact, enum artifact_reason *out_reason,
                  struct err *err) MUST_CHECK;

#endif
