#include "controlplane/learn/holdout.h"

#include <math.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/route/policy.h"
#include "controlplane/learn/frontier.h"
#include "controlplane/learn/pipeline.h"

#define POINTS      200
#define LAMBDA_LOW  1e-4 /* Quality per mean cost of the best model. */
#define LAMBDA_HIGH 1e3
#define Q16         65536.0

struct table { /* [rows][models] */
    uint32_t rows;
    uint32_t models;
    double *score;
    double *cost;
    double *quality; /* Expected. */
    int64_t *expected_cost;
    uint32_t *choice;
};

static int check_models(const struct artifact *a, const struct dataset *data, struct err *err)
{
    if (dataset_models(data) != a->model_count || dataset_rows(data) == 0)
        return err_set(err, ERR_INVALID, "no rows, or not the models of the policy");
    for (uint32_t m = 0; m < a->model_count; m++)
        if (!str_eq(dataset_model(data, m), a->models[m]))
            return err_set(err, ERR_INVALID, "model %u is '%.*s' here and another in the policy", m,
                           STR_ARG(dataset_model(data, m)));
    return 0;
}

static int allocate(struct table *t)
{
    size_t cells = (size_t)t->rows * t->models;
    t->score = mem_calloc(cells, sizeof(*t->score));
    t->cost = mem_calloc(cells, sizeof(*t->cost));
    t->quality = mem_calloc(cells, sizeof(*t->quality));
    t->expected_cost = mem_calloc(cells, sizeof(*t->expected_cost));
    t->choice = mem_calloc(t->rows, sizeof(*t->choice));
    return t->score == NULL || t->cost == NULL || t->quality == NULL || t->expected_cost == NULL ||
                   t->choice == NULL
               ? ERR_NOMEM
               : 0;
}

static void deinit(struct table *t)
{
    mem_free(t->score);
    mem_free(t->cost);
    mem_free(t->quality);
    mem_free(t->expected_cost);
    mem_free(t->choice);
}

static int fill_labels(const struct dataset_view *v, uint32_t row, struct table *t, struct err *err)
{
    const struct dataset_entry *e = &v->rows[row];
    if (e->label_count != t->models)
        return err_set(err, ERR_INVALID, "row %u lacks the answer of a model", row + 1);
    for (uint32_t k = 0; k < e->label_count; k++) {
        const struct dataset_cell *l = &v->labels[e->first_label + k];
        size_t at = (size_t)row * t->models + l->model;
        if (isnan(l->score) || isnan(l->cost_usd))
            return err_set(err, ERR_INVALID, "row %u lacks a score or a cost", row + 1);
        t->score[at] = (double)l->score;
        t->cost[at] = (double)l->cost_usd;
    }
    return 0;
}

static int fill(const struct artifact *a, const struct dataset_view *v, struct table *t,
                struct err *err)
{
    struct policy_candidate candidates[ARTIFACT_MODELS_MAX];
    struct policy_params params;
    struct policy_decision decision;
    struct features features;
    policy_params_init(&params);
    policy_params_from_artifact(&params, a, 0);
    for (uint32_t m = 0; m < t->models; m++) {
        candidates[m] = (struct policy_candidate){
            .ordinal = (int32_t)m, .price_cached = PRICE_UNKNOWN, .prior_q16 = POLICY_NO_PRIOR};
        learn_artifact_prices(a, m, &candidates[m].price_in, &candidates[m].price_out);
    }
    for (uint32_t i = 0; i < t->rows; i++) {
        struct policy_request request = {
            .t_in = v->rows[i].in_tok, .lambda = params.lambda, .sticky = POLICY_NONE};
        int rc = fill_labels(v, i, t, err);
        if (rc != 0)
            return rc;
        dataset_features(v, i, &features);
        rc = policy_decide(a, &features, &params, &request, candidates, t->models, &decision);
        if (rc != 0)
            return err_set(err, rc, "%s", err_text(rc));
        t->choice[i] = decision.greedy;
        for (uint32_t m = 0; m < t->models; m++) {
            t->quality[(size_t)i * t->models + m] = decision.row[m].q / Q16;
            t->expected_cost[(size_t)i * t->models + m] = decision.row[m].cost;
        }
    }
    return 0;
}

static struct frontier_point at_lambda(const struct table *t, double lambda)
{
    struct frontier_point p = {0};
    for (uint32_t i = 0; i < t->rows; i++) {
        const size_t at = (size_t)i * t->models;
        uint32_t best = 0;
        for (uint32_t m = 1; m < t->models; m++)
            if (t->quality[at + m] - lambda * (double)t->expected_cost[at + m] * 1e-9 >
                t->quality[at + best] - lambda * (double)t->expected_cost[at + best] * 1e-9)
                best = m;
        p.quality += t->score[at + best] / t->rows;
        p.cost += t->cost[at + best] / t->rows;
    }
    return p;
}

static void measure_curves(const struct table *t, struct holdout *out, uint32_t *out_cheapest)
{
    struct frontier_point curve[POINTS + 1];
    struct frontier_point mix[ARTIFACT_MODELS_MAX] = {0};
    uint32_t cheapest = 0;
    for (uint32_t m = 0; m < t->models; m++) {
        for (uint32_t i = 0; i < t->rows; i++) {
            mix[m].quality += t->score[(size_t)i * t->models + m] / t->rows;
            mix[m].cost += t->cost[(size_t)i * t->models + m] / t->rows;
        }
        cheapest = mix[m].cost < mix[cheapest].cost ? m : cheapest;
    }
    double low = mix[cheapest].cost;
    out->best_quality = mix[out->best].quality;
    out->best_cost = mix[out->best].cost;
    for (uint32_t k = 0; k <= POINTS; k++) {
        double part = (double)(k == 0 ? 0 : k - 1) / (POINTS - 1);
        double lambda = LAMBDA_LOW * pow(LAMBDA_HIGH / LAMBDA_LOW, part) / out->best_cost;
        curve[k] = at_lambda(t, k == 0 ? 0 : lambda);
    }
    uint32_t points = frontier_hull(curve, POINTS + 1);
    uint32_t singles = frontier_hull(mix, t->models);
    out->mix_cost = frontier_cost_at(mix, singles, out->quality);
    out->mix_cost_95 = frontier_cost_at(mix, singles, 0.95 * out->best_quality);
    out->curve_cost_95 = frontier_cost_at(curve, points, 0.95 * out->best_quality);
    out->aiq = frontier_aiq(curve, points, low, out->best_cost);
    out->mix_aiq = frontier_aiq(mix, singles, low, out->best_cost);
    *out_cheapest = cheapest;
}

static int measure_apgr(const struct table *t, uint32_t cheapest, struct holdout *out)
{
    size_t n = t->rows;
    double *x = mem_calloc(3 * n, sizeof(*x));
    if (x == NULL)
        return ERR_NOMEM;
    for (uint32_t i = 0; i < t->rows; i++) {
        size_t at = (size_t)i * t->models;
        x[i] = t->quality[at + out->best] - t->quality[at + cheapest];
        x[n + i] = t->score[at + out->best];
        x[2 * n + i] = t->score[at + cheapest];
    }
    out->apgr = out->best == cheapest ? NAN : frontier_apgr(x, x + n, x + 2 * n, t->rows);
    mem_free(x);
    return 0;
}

static int measure(const struct table *t, struct holdout *out)
{
    uint32_t cheapest = 0;
    for (uint32_t i = 0; i < t->rows; i++) {
        size_t at = (size_t)i * t->models;
        out->quality += t->score[at + t->choice[i]] / t->rows;
        out->cost += t->cost[at + t->choice[i]] / t->rows;
        for (uint32_t m = 0; m < t->models; m++) {
            double error = t->quality[at + m] - t->score[at + m];
            out->brier += error * error / t->rows / t->models;
        }
    }
    measure_curves(t, out, &cheapest);
    return measure_apgr(t, cheapest, out);
}

int holdout_evaluate(const struct artifact *a, const struct dataset *data, uint32_t best,
                     struct holdout *out, struct err *err)
{
    struct dataset_view v;
    struct table t = {.rows = dataset_rows(data), .models = a->model_count};
    struct holdout result = {.rows = t.rows, .best = best};
    int rc = check_models(a, data, err);
    if (rc != 0)
        return rc;
    if (best >= t.models)
        return err_set(err, ERR_INVALID, "model %u of %u", best, t.models);
    dataset_view(data, &v);
    rc = allocate(&t);
    if (rc == 0)
        rc = fill(a, &v, &t, err);
    if (rc == 0)
        rc = measure(&t, &result);
    deinit(&t);
    if (rc == 0)
        *out = result;
    return rc;
}
