/* bench_artifact.h: a policy of random weights and candidates for it, for benchmarks. */
#ifndef STEELYARD_TESTS_BENCH_BENCH_ARTIFACT_H
#define STEELYARD_TESTS_BENCH_BENCH_ARTIFACT_H

#include "common/route/artifact.h"
#include "common/route/policy.h"

/* The same row of numbers in every run. */
uint32_t bench_random(uint32_t bound);
/* 65,536 rows of random weights. Ends the program if that fails. */
struct artifact *bench_artifact(uint32_t models, uint32_t tasks);
struct policy_candidate bench_candidate(uint32_t model);

#endif
