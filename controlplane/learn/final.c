/* The policy that is served: the chosen configuration fitted on all rows, as integers, with
 * frontier, metrics and self-test vectors; then what that file does to the rows it was fitted on.
 * Cross-fitting judged its siblings, so the file itself is measured too. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/route/score.h"
#include "common/route/selftest.h"
#include "controlplane/learn/run.h"

#define NANO_PER_USD  1e9
#define Q16           65536.0
#define EPS_CAP_SMALL (UINT32_MAX / 20) /* 5 %, section 6.7 */
#define EPS_CAP       (UINT32_MAX / 50) /* 2 % */
#define METRICS_MAX   (2 * ARTIFACT_MODELS_MAX + 8)

static void fill_segment(const struct run *run, const struct learn_result *result,
                         struct artifact_segment *out)
{
    out->id = 0;
    out->name = STR("");
    out->lambda = run->sweep.lambda[run->target.point];
    for (uint32_t i = 0; i < result->frontier_count; i++) {
        const struct learn_point *p = &result->frontier[i];
        double quality = fmin(fmax(p->quality, 0), 1);
        out->points[out->point_count++] = (struct artifact_point){
            .lambda = sweep_lambda(p->lambda),
            .cost_nanousd = llrint(fmax(p->cost_usd, 0) * NANO_PER_USD),
            .quality_q16 = (uint32_t)lrint(quality * Q16),
        };
    }
}

static struct artifact_explore exploration(const struct run *run)
{
    double gamma = 10 * sqrt(run->view.row_count);
    return (struct artifact_explore){
        .gamma = (uint32_t)fmin(gamma, 1e6),
        .eps_cap = run->view.row_count < 1000 ? EPS_CAP_SMALL : EPS_CAP,
        .delta_q16 = 6554,
        .cost_ratio = 3,
    };
}

struct metrics {
    struct artifact_metric list[METRICS_MAX];
    char names[2 * ARTIFACT_MODELS_MAX][ARTIFACT_NAME_BYTES_MAX + 16];
    uint32_t count;
    uint32_t named;
};

static void put_metric(struct metrics *m, struct str name, double value, uint8_t decimals)
{
    if (!isfinite(value) || m->count == METRICS_MAX)
        return;
    m->list[m->count++] = (struct artifact_metric){
        .name = name, .value = llrint(value * pow(10, decimals)), .decimals = decimals};
}

static void put_price(struct metrics *m, const char *kind, struct str model, int64_t rate)
{
    char *name = m->names[m->named];
    int len = snprintf(name, sizeof(m->names[0]), "%s:%.*s", kind, STR_ARG(model));
    if (rate == PRICE_UNKNOWN || len > ARTIFACT_NAME_BYTES_MAX || m->count == METRICS_MAX)
        return;
    m->named++;
    m->list[m->count++] =
        (struct artifact_metric){.name = str_from(name), .value = rate, .decimals = 9};
}

static void fill_metrics(const struct run *run, struct metrics *out)
{
    const struct learn_point *chosen = &run->sweep.points[run->target.point];
    memset(out, 0, sizeof(*out));
    put_metric(out, STR("quality"), chosen->quality, 6);
    put_metric(out, STR("cost_usd"), chosen->cost_usd, 12);
    put_metric(out, STR("quality_best_single"), run->sweep.single_quality[run->sweep.best], 6);
    put_metric(out, STR("cost_usd_best_single"), run->sweep.single_cost[run->sweep.best], 12);
    put_metric(out, STR("aiq"), run->metrics.aiq, 6);
    put_metric(out, STR("auc"), run->metrics.auc, 6);
    put_metric(out, STR("ece"), run->metrics.ece.error, 6);
    for (uint32_t m = 0; m < run->view.model_count; m++) {
        put_price(out, "price_in", run->models[m], run->prices[m][0]);
        put_price(out, "price_out", run->models[m], run->prices[m][1]);
    }
}

struct selftests {
    struct features features[ARTIFACT_SELFTESTS_MAX];
    struct policy_request requests[ARTIFACT_SELFTESTS_MAX];
    struct selftest_case cases[ARTIFACT_SELFTESTS_MAX];
    struct policy_candidate candidates[ARTIFACT_MODELS_MAX];
    struct policy_params params;
    uint32_t count;
};

/* Rows spread evenly over the set, at the policy's own lambda, every other one exploring. */
static void fill_selftests(const struct run *run, const struct artifact_segment *segment,
                           struct selftests *out)
{
    uint32_t rows = run->view.row_count;
    out->count = rows < ARTIFACT_SELFTESTS_MAX ? rows : ARTIFACT_SELFTESTS_MAX;
    policy_params_init(&out->params);
    out->params.lambda = segment->lambda;
    for (uint32_t m = 0; m < run->view.model_count; m++)
        out->candidates[m] = (struct policy_candidate){
            .ordinal = (int32_t)m,
            .price_in = run->prices[m][0],
            .price_out = run->prices[m][1],
            .price_cached = PRICE_UNKNOWN,
            .prior_q16 = POLICY_NO_PRIOR,
        };
    for (uint32_t i = 0; i < out->count; i++) {
        uint32_t row = (uint32_t)((uint64_t)i * rows / out->count);
        dataset_features(&run->view, row, &out->features[i]);
        out->requests[i] = (struct policy_request){
            .t_in = run->view.rows[row].in_tok,
            .lambda = segment->lambda,
            .sticky = POLICY_NONE,
            .explore = i % 2 == 1,
            .request_id = {(uint8_t)i},
        };
        out->cases[i] = (struct selftest_case){
            .features = &out->features[i],
            .params = &out->params,
            .request = &out->requests[i],
            .candidates = out->candidates,
            .count = run->view.model_count,
        };
    }
}

static int encode(const struct run *run, struct quantised *q, struct learn_result *result,
                  struct err *err)
{
    struct artifact_segment *segment = mem_zalloc(sizeof(*segment));
    struct selftests *tests = mem_zalloc(sizeof(*tests));
    struct metrics *metrics = mem_zalloc(sizeof(*metrics));
    int rc = ERR_NOMEM;
    if (segment == NULL || tests == NULL || metrics == NULL)
        goto out;
    fill_segment(run, result, segment);
    fill_selftests(run, segment, tests);
    fill_metrics(run, metrics);
    memcpy(q->calib, run->calib, sizeof(q->calib));
    q->spec.calib = q->calib;
    q->spec.segments = segment;
    q->spec.segment_count = 1;
    q->spec.explore = exploration(run);
    q->spec.meta = (struct artifact_meta){
        .generation = run->options->generation,
        .parent = run->options->parent,
        .window_from_us = run->options->window_from_us,
        .window_to_us = run->options->window_to_us,
        .row_count = dataset_seen(run->data),
        .data_digest = run->digest,
        .feature_spec = FEATURES_SPEC,
        .hash_key_id = run->options->hash_key_id,
        .metrics = metrics->list,
        .metric_count = metrics->count,
    };
    rc = selftest_build(&q->spec, tests->cases, tests->count, &result->artifact, err);
    if (rc == 0)
        result->artifact_id = digest_sha256(result->artifact.data, result->artifact.len);
out:
    mem_free(segment);
    mem_free(tests);
    mem_free(metrics);
    return rc;
}

/* Quality and cost at the chosen lambda, beside what was predicted for the same rows. Where the
 * target is a cost, quality may be given up for it: then the gap is one of utility. */
static int measure_choices(struct run *run, const struct artifact *a)
{
    const struct sweep *s = &run->sweep;
    struct run_metrics *m = &run->metrics;
    const enum learn_target_kind kind = run->options->target.kind;
    const uint8_t *ours = s->choice + (size_t)run->target.point * s->row_count;
    bool quality = kind == LEARN_TARGET_QUALITY || kind == LEARN_TARGET_FLOOR;
    double lambda = quality ? 0 : s->points[run->target.point].lambda;
    uint8_t *choice = mem_calloc((size_t)s->row_count + 1, sizeof(*choice));
    double *gap = mem_calloc((size_t)s->row_count + 1, sizeof(*gap));
    int rc = choice == NULL || gap == NULL ? ERR_NOMEM : 0;
    if (rc == 0)
        rc = sweep_choose_with(a, NULL, &run->fit, &run->view, (const int64_t(*)[2])run->prices,
                               s->lambda[run->target.point], choice);
    m->final_quality = 0;
    for (uint32_t i = 0; rc == 0 && i < s->row_count; i++) {
        size_t at = (size_t)i * s->model_count;
        double reward = (double)s->outcome->reward[at + choice[i]];
        double cost = (double)s->outcome->cost[at + choice[i]];
        double cost_gap = cost - (double)s->outcome->cost[at + ours[i]];
        gap[i] = reward - (double)s->outcome->reward[at + ours[i]] - lambda * cost_gap;
        m->final_quality += s->weight[i] * reward;
    }
    if (rc == 0)
        sweep_mean(s, gap, &m->final_gap, &m->final_gap_error);
    mem_free(gap);
    if (rc == 0)
        run->final_choice = choice;
    else
        mem_free(choice);
    return rc;
}

/* How far the integers are from what was fitted. */
static void measure_rounding(struct run *run, const struct heads *heads, const struct artifact *a)
{
    double table[ARTIFACT_MODELS_MAX];
    double linear[ARTIFACT_MODELS_MAX];
    double length[ARTIFACT_MODELS_MAX];
    struct features features;
    struct score score;
    double sum = 0;
    for (uint32_t i = 0; i < run->fit.row_count; i++) {
        heads_predict(heads, &run->design, run->fit.rows[i], table, linear, length);
        dataset_features(&run->view, run->fit.rows[i], &features);
        score_models(a, &features, &score);
        for (uint32_t m = 0; m < heads->model_count; m++)
            sum += fabs(score.z[m] / Q16 - table[m] - heads->gain * linear[m]);
    }
    run->metrics.final_rounding = sum / ((double)run->fit.row_count * heads->model_count);
}

static int measure_final(struct run *run, const struct heads *heads,
                         const struct learn_result *result, struct err *err)
{
    struct artifact *a = NULL;
    enum artifact_reason reason;
    int rc = artifact_decode(buf_str(&result->artifact), &a, &reason, err);
    if (rc == 0)
        rc = measure_choices(run, a);
    if (rc == 0)
        rc = run_measure_costs(run, a);
    if (rc == 0)
        measure_rounding(run, heads, a);
    artifact_destroy(a);
    return rc;
}

int run_fit_final(struct run *run, struct learn_result *result, struct err *err)
{
    struct heads heads = {0};
    struct quantised q = {0};
    const struct crossfit_config *chosen = &run->fit.chosen;
    uint32_t *rows = mem_calloc((size_t)run->view.row_count + 1, sizeof(*rows));
    if (rows == NULL)
        return ERR_NOMEM;
    for (uint32_t i = 0; i < run->view.row_count; i++)
        rows[i] = i;
    struct heads_input input = {
        .design = &run->design,
        .rows = rows,
        .row_count = run->view.row_count,
        .priors = run->priors,
        .keep_going = run_report_progress,
        .keep_going_data = run,
    };
    int rc = run_enter(run, "fit");
    if (rc == 0)
        rc = heads_fit_base(&input, &heads);
    if (rc == 0)
        rc = run_enter(run, "fit");
    if (rc == 0 && chosen->gain > 0)
        rc = heads_fit_quality(&input, chosen->shared_penalty, chosen->delta_penalty, &heads);
    heads.gain = chosen->gain;
    if (rc == 0)
        rc = quantise_heads(&heads, &run->design, run->models, &q);
    if (rc == 0)
        rc = encode(run, &q, result, err);
    if (rc == 0)
        rc = measure_final(run, &heads, result, err);
    quantise_deinit(&q);
    heads_deinit(&heads);
    mem_free(rows);
    return rc;
}
