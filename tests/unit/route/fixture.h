/* fixture.h: random policies, calls and candidates from a seed; the same on every machine. */
#ifndef STEELYARD_TESTS_UNIT_ROUTE_FIXTURE_H
#define STEELYARD_TESTS_UNIT_ROUTE_FIXTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/route/selftest.h"

struct random { /* splitmix64 */
    uint64_t state;
};
uint64_t random_u64(struct random *r);
uint32_t random_below(struct random *r, uint32_t bound);
int64_t random_between(struct random *r, int64_t low, int64_t high);

/* A whole spec with its arrays; free with fixture_spec_deinit. */
struct fixture_spec {
    struct artifact_spec spec;
    struct str models[ARTIFACT_MODELS_MAX];
    struct str tasks[ARTIFACT_TASKS_MAX];
    char names[ARTIFACT_MODELS_MAX + ARTIFACT_TASKS_MAX][24];
    struct artifact_calib calib[ARTIFACT_MODELS_MAX];
    struct artifact_segment segments[2];
    struct artifact_metric metrics[2];
    struct artifact_vocab vocab[3];
    void *blocks[16];
    size_t block_count;
};
/* weight_max: of the int16 weights; 32767 for extremes. */
void fixture_spec_init(struct fixture_spec *f, struct random *r, uint32_t index_bits,
                       uint32_t models, uint32_t tasks, int32_t weight_max);
void fixture_spec_deinit(struct fixture_spec *f);

void fixture_features(struct random *r, uint32_t n, struct features *out);

/* One decision's inputs, everything in one place. */
struct fixture_case {
    struct features features;
    struct policy_params params;
    struct policy_request request;
    struct policy_candidate candidates[POLICY_CANDIDATES_MAX];
    uint32_t count;
    char version[32];
};
/* models: what the artifact knows (0: none is given). extreme: values at their limits. */
void fixture_case_init(struct fixture_case *c, struct random *r, uint32_t models, uint32_t count,
                       bool extreme);
struct selftest_case fixture_case_view(const struct fixture_case *c);

/* A decoded policy without and a finished file with self-test vectors. */
struct artifact *fixture_artifact(struct random *r, uint32_t index_bits, uint32_t models,
                                  uint32_t tasks, int32_t weight_max);
void fixture_file(uint64_t seed, uint32_t index_bits, uint32_t models, uint32_t tasks,
                  uint32_t vectors, struct buf *out);

#endif
