#include "bench_artifact.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/base/buf.h"
#include "common/base/mem.h"

static uint64_t state = 88172645463325252U;

uint32_t bench_random(uint32_t bound)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)((state >> 16) % bound);
}

static void *must(void *p)
{
    if (p == NULL) {
        fputs("out of memory\n", stderr);
        exit(1);
    }
    return p;
}

static int16_t *weights(size_t count)
{
    int16_t *w = must(mem_calloc(count, sizeof *w));
    for (size_t i = 0; i < count; i++)
        w[i] = (int16_t)((int)bench_random(2000) - 1000);
    return w;
}

/* A policy of random weights; 65,536 rows. */
struct artifact *bench_artifact(uint32_t models, uint32_t tasks)
{
    struct str names[ARTIFACT_MODELS_MAX + ARTIFACT_TASKS_MAX];
    static char text[ARTIFACT_MODELS_MAX + ARTIFACT_TASKS_MAX][16];
    static struct artifact_calib calib[ARTIFACT_MODELS_MAX];
    static int32_t zeros[ARTIFACT_MODELS_MAX * ARTIFACT_TASKS_MAX];
    struct artifact *a = NULL;
    enum artifact_reason reason;
    struct err err = {0};
    struct buf file;
    for (uint32_t i = 0; i < models + tasks; i++) {
        snprintf(text[i], sizeof text[i], "m%u", i);
        names[i] = str_from(text[i]);
    }
    for (uint32_t m = 0; m < models; m++)
        artifact_calib_logistic(&calib[m]);
    int16_t *w = weights(65536U * models), *t = weights(65536U * tasks + 1);
    const struct artifact_spec spec = {
        .meta = {.feature_spec = FEATURES_SPEC},
        .scale = {16, 16, 16, 10, 10, 10},
        .index_bits = 16,
        .model_count = models,
        .task_count = tasks,
        .models = names,
        .tasks = names + models,
        .quality = w,
        .length = w,
        .task = t,
        .quality_dense = w,
        .length_dense = w,
        .task_dense = t,
        .quality_bias = zeros,
        .length_bias = zeros,
        .task_bias = zeros,
        .task_quality = zeros,
        .task_length = zeros,
        .calib = calib,
    };
    buf_init(&file, ARTIFACT_BYTES_MAX);
    if (artifact_encode(&spec, &file, &err) != 0 ||
        artifact_decode(buf_str(&file), &a, &reason, &err) != 0) {
        fprintf(stderr, "%s\n", err.message);
        exit(1);
    }
    buf_deinit(&file);
    mem_free(w);
    mem_free(t);
    return a;
}

struct policy_candidate bench_candidate(uint32_t model)
{
    return (struct policy_candidate){.ordinal = (int32_t)model,
                                     .price_in = 100000000 * ((int64_t)model + 1),
                                     .price_out = 400000000 * ((int64_t)model + 1),
                                     .price_cached = PRICE_UNKNOWN,
                                     .prior_q16 = POLICY_NO_PRIOR,
                                     .ttft_est_ms = 300,
                                     .tpot_est_us = 9000,
                                     .domain = model / 3};
}
