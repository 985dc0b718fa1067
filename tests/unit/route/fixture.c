#include "tests/unit/route/fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/mem.h"

/* Later bits are left out, or the frozen corpus would be another one. */
#define EXCLUSIONS_DRAWN (POLICY_EXCLUSION_PRIVACY_CLASS + 1)

uint64_t random_u64(struct random *r)
{
    uint64_t z = (r->state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

uint32_t random_below(struct random *r, uint32_t bound)
{
    return (uint32_t)(random_u64(r) % bound);
}

int64_t random_between(struct random *r, int64_t low, int64_t high)
{
    return low + (int64_t)(random_u64(r) % ((uint64_t)(high - low) + 1));
}

static void *take_block(struct fixture_spec *f, size_t bytes)
{
    void *p = mem_zalloc(bytes > 0 ? bytes : 1);
    assert_non_null(p);
    f->blocks[f->block_count++] = p;
    return p;
}

static const int16_t *random_i16s(struct fixture_spec *f, struct random *r, size_t count,
                                  int32_t max)
{
    int16_t *p = take_block(f, count * sizeof *p);
    for (size_t i = 0; i < count; i++)
        p[i] = (int16_t)random_between(r, -max - (max == 32767), max);
    return p;
}

static const int32_t *random_i32s(struct fixture_spec *f, struct random *r, size_t count,
                                  int32_t max)
{
    int32_t *p = take_block(f, count * sizeof *p);
    for (size_t i = 0; i < count; i++)
        p[i] = (int32_t)random_between(r, -max, max);
    return p;
}

static void fill_calib(struct random *r, struct artifact_calib *c)
{
    if (random_below(r, 4) == 0) {
        artifact_calib_logistic(c);
        return;
    }
    c->count = 1 + random_below(r, ARTIFACT_KNOTS_MAX);
    int32_t z = (int32_t)random_between(r, -400000, -200000);
    uint32_t q = random_below(r, 2000);
    for (uint32_t k = 0; k < c->count; k++) {
        c->z[k] = z;
        c->q[k] = q;
        z += 1 + (int32_t)random_below(r, 30000);
        q += random_below(r, 2000);
        q = q > 65536 ? 65536 : q;
    }
}

static void fill_segment(struct random *r, uint32_t id, struct artifact_segment *s)
{
    memset(s, 0, sizeof *s);
    s->id = id;
    s->name = STR("everyone");
    s->lambda = random_between(r, 0, INT64_C(1) << 36);
    s->point_count = 1 + random_below(r, 20);
    int64_t lambda = 0, cost = 90000000;
    for (uint32_t i = 0; i < s->point_count; i++) {
        s->points[i] = (struct artifact_point){lambda, cost, random_below(r, 65537)};
        lambda += 1 + (int64_t)random_below(r, 1U << 30);
        cost -= random_below(r, 4000000);
    }
}

void fixture_spec_init(struct fixture_spec *f, struct random *r, uint32_t index_bits,
                       uint32_t models, uint32_t tasks, int32_t weight_max)
{
    struct artifact_spec *s = &f->spec;
    const size_t rows = (size_t)1 << index_bits;
    memset(f, 0, sizeof *f);
    for (uint32_t i = 0; i < models + tasks; i++)
        snprintf(f->names[i], sizeof f->names[i], "%s-%u", i < models ? "model" : "task", i);
    for (uint32_t m = 0; m < models; m++) {
        f->models[m] = str_from(f->names[m]);
        fill_calib(r, &f->calib[m]);
    }
    for (uint32_t t = 0; t < tasks; t++)
        f->tasks[t] = str_from(f->names[models + t]);
    fill_segment(r, 0, &f->segments[0]);
    fill_segment(r, 7, &f->segments[1]);
    f->metrics[0] = (struct artifact_metric){STR("aiq"), 712345, 6};
    f->metrics[1] = (struct artifact_metric){STR("rows"), 5351, 0};
    f->vocab[0] = (struct artifact_vocab){3, STR("integral")};
    f->vocab[1] = (struct artifact_vocab){900, STR("translate")};
    f->vocab[2] = (struct artifact_vocab){65535, STR("py thon")};
    *s = (struct artifact_spec){
        .meta = {.generation = 12,
                 .window_from_us = 1,
                 .window_to_us = 2,
                 .row_count = 5351,
                 .feature_spec = FEATURES_SPEC,
                 .hash_key_id = 77,
                 .metrics = f->metrics,
                 .metric_count = 2},
        .scale = {16, 16, 16, 10, 10, 10},
        .index_bits = index_bits,
        .model_count = models,
        .task_count = tasks,
        .models = f->models,
        .tasks = f->tasks,
        .quality = random_i16s(f, r, rows * models, weight_max),
        .length = random_i16s(f, r, rows * models, weight_max),
        .task = random_i16s(f, r, rows * tasks, weight_max),
        .quality_dense = random_i16s(f, r, FEATURES_DENSE * models, weight_max),
        .length_dense = random_i16s(f, r, FEATURES_DENSE * models, weight_max),
        .task_dense = random_i16s(f, r, FEATURES_DENSE * tasks, weight_max),
        .quality_bias = random_i32s(f, r, models, 100000),
        .length_bias = random_i32s(f, r, models, 600000),
        .task_bias = random_i32s(f, r, tasks, 100000),
        .task_quality = random_i32s(f, r, (size_t)tasks * models, 150000),
        .task_length = random_i32s(f, r, (size_t)tasks * models, 150000),
        .calib = f->calib,
        .segments = f->segments,
        .segment_count = 2,
        .explore = {100, 1U << 27, 6554, 3},
        .vocab = f->vocab,
        .vocab_count = 3,
    };
}

void fixture_spec_deinit(struct fixture_spec *f)
{
    while (f->block_count > 0)
        mem_free(f->blocks[--f->block_count]);
}

void fixture_features(struct random *r, uint32_t n, struct features *out)
{
    uint8_t seen[65536 / 8] = {0};
    for (uint32_t left = n; left > 0;) {
        uint32_t index = random_below(r, 65536);
        if ((seen[index / 8] >> (index % 8) & 1) != 0)
            continue;
        seen[index / 8] |= (uint8_t)(1U << (index % 8));
        left--;
    }
    out->n = 0;
    for (uint32_t i = 0; i < 65536; i++)
        if ((seen[i / 8] >> (i % 8) & 1) != 0)
            out->index[out->n++] = (uint16_t)i;
    for (unsigned d = 0; d < FEATURES_DENSE; d++)
        out->dense[d] = (int16_t)random_between(r, -2000, 4000);
}

static void fill_candidate(struct random *r, uint32_t models, bool extreme,
                           struct policy_candidate *c)
{
    const int64_t rate_max = extreme ? PRICE_RATE_MAX : INT64_C(75000000000);
    bool known = models > 0 && random_below(r, 6) != 0;
    *c = (struct policy_candidate){
        .ordinal = known ? (int32_t)random_below(r, models) : POLICY_UNKNOWN_MODEL,
        .excl = random_below(r, 5) == 0 ? UINT32_C(1) << random_below(r, EXCLUSIONS_DRAWN) : 0,
        .price_in = random_below(r, 12) == 0 ? PRICE_UNKNOWN : random_between(r, 0, rate_max),
        .price_out = random_below(r, 12) == 0 ? PRICE_UNKNOWN : random_between(r, 0, rate_max),
        .price_cached = random_below(r, 2) == 0 ? PRICE_UNKNOWN : random_between(r, 0, rate_max),
        .cached_tokens = random_below(r, 4) == 0 ? random_below(r, 5000) : 0,
        .max_out = random_below(r, 3) == 0 ? 0 : 1 + random_below(r, 128000),
        .ttft_est_ms = extreme ? (uint32_t)random_u64(r) : random_below(r, 4000),
        .tpot_est_us = extreme ? (uint32_t)random_u64(r) : random_below(r, 60000),
        .prior_q16 = random_below(r, 4) == 0 ? POLICY_NO_PRIOR : random_below(r, 65537),
        .prior_out = random_below(r, 2) == 0 ? 0 : random_below(r, 3000),
        .domain = random_below(r, 5),
        .live = random_below(r, 8),
    };
}

void fixture_case_init(struct fixture_case *c, struct random *r, uint32_t models, uint32_t count,
                       bool extreme)
{
    const int64_t lambda_max = extreme ? ARTIFACT_LAMBDA_MAX : INT64_C(1) << 37;
    const int64_t mu_max = extreme ? ARTIFACT_LAMBDA_MAX : INT64_C(1) << 31;
    memset(c, 0, sizeof *c);
    fixture_features(r, random_below(r, 513), &c->features);
    policy_params_init(&c->params);
    c->params.strategy = random_below(r, 20) == 0 ? POLICY_STATIC : POLICY_LEARNED;
    c->params.floor_soft = random_below(r, 2) == 0;
    c->params.gamma = extreme ? (uint32_t)random_u64(r) : random_below(r, 2000);
    c->params.eps_cap = random_below(r, 5) == 0 ? UINT32_MAX : (uint32_t)random_u64(r) / 4;
    c->params.delta_q16 = random_below(r, 30000);
    c->params.cost_ratio = extreme ? (uint32_t)random_u64(r) : 1 + random_below(r, 20);
    c->params.stick_margin = random_between(r, 0, INT64_C(1) << 33);
    c->params.draw_key = (struct siphash_key){random_u64(r), random_u64(r)};
    for (uint32_t m = 0; m < models; m++)
        c->params.off[m] =
            (int32_t)(extreme ? random_between(r, -ARTIFACT_OFFSET_MAX, ARTIFACT_OFFSET_MAX)
                              : random_between(r, -30000, 30000));
    for (uint32_t i = 0; i < count; i++)
        fill_candidate(r, models, extreme, &c->candidates[i]);
    c->count = count;
    snprintf(c->version, sizeof c->version, "version-%u", random_below(r, 1000));
    c->request = (struct policy_request){
        .t_in = extreme ? (uint32_t)random_u64(r) : random_below(r, 20000),
        .t_out_cap = random_below(r, 2) == 0 ? 0 : 1 + random_below(r, 8000),
        .lambda = random_below(r, 8) == 0 ? 0 : random_between(r, 0, lambda_max),
        .mu = random_below(r, 2) == 0 ? 0 : random_between(r, 0, mu_max),
        .floor_q16 = random_below(r, 3) == 0 ? random_below(r, 65537) : 0,
        .max_cost_nanousd = random_below(r, 4) == 0 ? random_between(r, 1, INT64_C(1) << 33) : 0,
        .max_latency_ms = random_below(r, 4) == 0 ? 1 + random_below(r, 60000) : 0,
        .sticky = random_below(r, 3) == 0 ? random_below(r, count) : POLICY_NONE,
        .explore = random_below(r, 4) != 0,
        .policy_version = str_from(c->version),
    };
    for (unsigned i = 0; i < 16; i++)
        c->request.request_id[i] = (uint8_t)random_u64(r);
}

struct selftest_case fixture_case_view(const struct fixture_case *c)
{
    return (struct selftest_case){&c->features, &c->params, &c->request, c->candidates, c->count};
}

struct artifact *fixture_artifact(struct random *r, uint32_t index_bits, uint32_t models,
                                  uint32_t tasks, int32_t weight_max)
{
    struct fixture_spec f;
    struct buf file;
    struct artifact *a = NULL;
    struct err err = {0};
    enum artifact_reason reason;
    buf_init(&file, ARTIFACT_BYTES_MAX);
    fixture_spec_init(&f, r, index_bits, models, tasks, weight_max);
    int rc = artifact_encode(&f.spec, &file, &err);
    if (rc == 0)
        rc = artifact_decode(buf_str(&file), &a, &reason, &err);
    if (rc != 0)
        fail_msg("%s", err.message);
    buf_deinit(&file);
    fixture_spec_deinit(&f);
    return a;
}

void fixture_file(uint64_t seed, uint32_t index_bits, uint32_t models, uint32_t tasks,
                  uint32_t vectors, struct buf *out)
{
    struct random r = {seed};
    struct fixture_spec f;
    struct err err = {0};
    struct selftest_case cases[ARTIFACT_SELFTESTS_MAX];
    struct fixture_case *inputs = mem_calloc(vectors, sizeof *inputs);
    assert_non_null(inputs);
    fixture_spec_init(&f, &r, index_bits, models, tasks, 900);
    for (uint32_t i = 0; i < vectors; i++) {
        fixture_case_init(&inputs[i], &r, models, 1 + random_below(&r, 6), false);
        cases[i] = fixture_case_view(&inputs[i]);
    }
    if (selftest_build(&f.spec, cases, vectors, out, &err) != 0)
        fail_msg("%s", err.message);
    mem_free(inputs);
    fixture_spec_deinit(&f);
}
