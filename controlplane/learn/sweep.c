#include "controlplane/learn/sweep.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/route/policy.h"

#define LAMBDA_UNIT 1152921504.606846976 /* 2^60 / 1e9 */
#define LAMBDA_LOW  1e-4                 /* Quality per mean cost of the best model ... */
#define LAMBDA_HIGH 1e3
#define COST_MIN    1e-12

int64_t sweep_lambda(double quality_per_usd)
{
    double lambda = quality_per_usd * LAMBDA_UNIT;
    return lambda <= 0                             ? 0
           : lambda >= (double)ARTIFACT_LAMBDA_MAX ? ARTIFACT_LAMBDA_MAX
                                                   : llrint(lambda);
}

static int by_unit(const void *a, const void *b, void *units)
{
    const uint64_t *u = units;
    uint32_t x = *(const uint32_t *)a;
    uint32_t y = *(const uint32_t *)b;
    if (u[x] != u[y])
        return u[x] < u[y] ? -1 : 1;
    return x < y ? -1 : x > y;
}

static int prepare(const struct crossfit *fit, const struct dataset_view *view, struct sweep *s)
{
    double sum = 0;
    size_t n = (size_t)fit->row_count + 1;
    s->row_count = fit->row_count;
    s->model_count = fit->model_count;
    s->outcome = &fit->outcome;
    s->weight = mem_calloc(n, sizeof(*s->weight));
    s->by_unit = mem_calloc(n, sizeof(*s->by_unit));
    s->units = mem_calloc(n, sizeof(*s->units));
    s->choice = mem_calloc(n * SWEEP_LAMBDAS, sizeof(*s->choice));
    if (s->weight == NULL || s->by_unit == NULL || s->units == NULL || s->choice == NULL)
        return ERR_NOMEM;
    for (uint32_t i = 0; i < s->row_count; i++) {
        s->weight[i] = (double)view->rows[fit->rows[i]].sample;
        s->units[i] = view->rows[fit->rows[i]].cluster;
        s->by_unit[i] = i;
        sum += s->weight[i];
    }
    for (uint32_t i = 0; i < s->row_count; i++)
        s->weight[i] /= sum;
    qsort_r(s->by_unit, s->row_count, sizeof(*s->by_unit), by_unit, s->units);
    return 0;
}

static void find_singles(struct sweep *s)
{
    for (uint32_t m = 0; m < s->model_count; m++)
        for (uint32_t i = 0; i < s->row_count; i++) {
            size_t at = (size_t)i * s->model_count + m;
            s->single_quality[m] += s->weight[i] * (double)s->outcome->reward[at];
            s->single_cost[m] += s->weight[i] * (double)s->outcome->cost[at];
        }
    for (uint32_t m = 1; m < s->model_count; m++) {
        if (s->single_quality[m] > s->single_quality[s->best])
            s->best = m;
        if (s->single_cost[m] < s->single_cost[s->cheapest])
            s->cheapest = m;
    }
}

static void fill_candidates(const int32_t *ordinal_of, uint32_t count, const int64_t (*prices)[2],
                            struct policy_candidate *out)
{
    memset(out, 0, count * sizeof(*out));
    for (uint32_t m = 0; m < count; m++)
        out[m] = (struct policy_candidate){
            .ordinal = ordinal_of != NULL ? ordinal_of[m] : (int32_t)m,
            .price_in = prices[m][0],
            .price_out = prices[m][1],
            .price_cached = PRICE_UNKNOWN,
            .prior_q16 = POLICY_NO_PRIOR,
        };
}

static struct policy_request request_of(uint32_t in_tok, int64_t lambda)
{
    return (struct policy_request){.t_in = in_tok, .lambda = lambda, .sticky = POLICY_NONE};
}

int sweep_choose_with(const struct artifact *a, const int32_t *ordinal_of,
                      const struct crossfit *fit, const struct dataset_view *view,
                      const int64_t (*prices)[2], int64_t lambda, uint8_t *out_choice)
{
    struct policy_candidate candidates[ARTIFACT_MODELS_MAX];
    struct policy_decision decision;
    struct policy_params params;
    struct features features;
    policy_params_init(&params);
    fill_candidates(ordinal_of, fit->model_count, prices, candidates);
    for (uint32_t i = 0; i < fit->row_count; i++) {
        struct policy_request request = request_of(view->rows[fit->rows[i]].in_tok, lambda);
        dataset_features(view, fit->rows[i], &features);
        int rc =
            policy_decide(a, &features, &params, &request, candidates, fit->model_count, &decision);
        if (rc != 0)
            return rc;
        out_choice[i] = (uint8_t)decision.greedy;
    }
    return 0;
}

/* All rows at one lambda, from the scores that crossfit_run took from the engine. */
static int choose_all(const struct crossfit *fit, const struct dataset_view *view,
                      const struct policy_candidate *candidates, int64_t lambda, uint8_t *out)
{
    struct policy_decision decision;
    struct policy_params params;
    policy_params_init(&params);
    for (uint32_t i = 0; i < fit->row_count; i++) {
        size_t at = (size_t)i * fit->model_count;
        struct policy_request request = request_of(view->rows[fit->rows[i]].in_tok, lambda);
        int rc = policy_decide_from_z(fit->artifacts[fit->fold[fit->rows[i]]], fit->z + at,
                                      fit->out_tok + at, &params, &request, candidates,
                                      fit->model_count, &decision);
        if (rc != 0)
            return rc;
        out[i] = (uint8_t)decision.greedy;
    }
    return 0;
}

static void fill_point(const struct sweep *s, const uint8_t *choice, struct learn_point *out)
{
    for (uint32_t i = 0; i < s->row_count; i++) {
        size_t at = (size_t)i * s->model_count + choice[i];
        out->quality += s->weight[i] * (double)s->outcome->reward[at];
        out->cost_usd += s->weight[i] * (double)s->outcome->cost[at];
        out->share[choice[i]] += s->weight[i];
    }
}

int sweep_run(const struct crossfit *fit, const struct dataset_view *view,
              const int64_t (*prices)[2], struct sweep *out)
{
    struct policy_candidate candidates[ARTIFACT_MODELS_MAX];
    memset(out, 0, sizeof(*out));
    int rc = prepare(fit, view, out);
    if (rc != 0)
        return rc;
    find_singles(out);
    fill_candidates(NULL, out->model_count, prices, candidates);
    double unit = fmax(out->single_cost[out->best], COST_MIN);
    for (uint32_t k = 0; rc == 0 && k < SWEEP_LAMBDAS; k++) {
        uint8_t *choice = out->choice + (size_t)k * out->row_count;
        double part = (double)(k == 0 ? 0 : k - 1) / (SWEEP_LAMBDAS - 2);
        double lambda = k == 0 ? 0 : LAMBDA_LOW * pow(LAMBDA_HIGH / LAMBDA_LOW, part) / unit;
        out->lambda[k] = sweep_lambda(lambda);
        out->points[k].lambda = (double)out->lambda[k] / LAMBDA_UNIT;
        rc = choose_all(fit, view, candidates, out->lambda[k], choice);
        if (rc == 0)
            fill_point(out, choice, &out->points[k]);
    }
    return rc;
}

void sweep_deinit(struct sweep *s)
{
    mem_free(s->weight);
    mem_free(s->by_unit);
    mem_free(s->units);
    mem_free(s->choice);
    memset(s, 0, sizeof(*s));
}

void sweep_mean(const struct sweep *s, const double *values, double *out_mean, double *out_error)
{
    double mean = 0;
    double squares = 0;
    uint32_t units = 0;
    for (uint32_t i = 0; i < s->row_count; i++)
        mean += s->weight[i] * values[i];
    for (uint32_t i = 0; i < s->row_count;) {
        double sum = 0;
        uint64_t unit = s->units[s->by_unit[i]];
        for (; i < s->row_count && s->units[s->by_unit[i]] == unit; i++)
            sum += s->weight[s->by_unit[i]] * (values[s->by_unit[i]] - mean);
        squares += sum * sum;
        units++;
    }
    *out_mean = mean;
    *out_error = units > 1 ? sqrt(squares * units / (units - 1)) : INFINITY;
}

/* What must be >= 0 on average, by row, at one lambda; as quality or as a part of best's cost. */
static void fill_margin(const struct sweep *s, const struct learn_target *target, uint32_t point,
                        double *out)
{
    const uint8_t *choice = s->choice + (size_t)point * s->row_count;
    for (uint32_t i = 0; i < s->row_count; i++) {
        const float *reward = s->outcome->reward + (size_t)i * s->model_count;
        const float *cost = s->outcome->cost + (size_t)i * s->model_count;
        double quality = (double)reward[choice[i]];
        double spent = (double)cost[choice[i]];
        switch (target->kind) {
        case LEARN_TARGET_QUALITY:
            out[i] = quality - target->value * (double)reward[s->best];
            break;
        case LEARN_TARGET_FLOOR:
            out[i] = quality - target->value;
            break;
        case LEARN_TARGET_SAVE:
            out[i] = (1 - target->value) * (double)cost[s->best] - spent;
            break;
        case LEARN_TARGET_SPEND:
            out[i] = target->value - spent;
            break;
        }
    }
}

/* A margin in the target's own unit. */
static double in_unit_of(const struct sweep *s, const struct learn_target *target, double margin)
{
    switch (target->kind) {
    case LEARN_TARGET_QUALITY:
        return target->value + margin / fmax(s->single_quality[s->best], 1e-9);
    case LEARN_TARGET_FLOOR:
        return target->value + margin;
    case LEARN_TARGET_SAVE:
        return target->value + margin / fmax(s->single_cost[s->best], COST_MIN);
    case LEARN_TARGET_SPEND:
        return target->value - margin;
    }
    return NAN;
}

int sweep_choose(const struct sweep *s, const struct learn_target *target, double z,
                 struct sweep_target *out)
{
    double mean[SWEEP_LAMBDAS];
    double low[SWEEP_LAMBDAS];
    double error = 0;
    uint32_t surest = 0;
    uint32_t most = 0;
    bool cost = target->kind == LEARN_TARGET_SAVE || target->kind == LEARN_TARGET_SPEND;
    double *values = mem_calloc((size_t)s->row_count + 1, sizeof(*values));
    if (values == NULL)
        return ERR_NOMEM;
    for (uint32_t k = 0; k < SWEEP_LAMBDAS; k++) {
        fill_margin(s, target, k, values);
        sweep_mean(s, values, &mean[k], &error);
        low[k] = mean[k] - z * error;
        surest = low[k] > low[surest] ? k : surest;
        most = mean[k] > mean[most] ? k : most;
    }
    mem_free(values);
    out->possible = in_unit_of(s, target, mean[most]);
    out->certain = low[surest] >= 0;
    out->point = out->certain ? surest : mean[most] >= 0 ? most : SWEEP_NONE;
    /* Quality targets leave the rest to cost, cost targets to quality: walk while it still holds.
     */
    if (out->certain && !cost)
        while (out->point + 1 < SWEEP_LAMBDAS && low[out->point + 1] >= 0)
            out->point++;
    if (out->certain && cost)
        while (out->point > 0 && low[out->point - 1] >= 0)
            out->point--;
    uint32_t at = out->point == SWEEP_NONE ? most : out->point;
    out->reached = in_unit_of(s, target, mean[at]);
    out->bound = in_unit_of(s, target, low[at]);
    return 0;
}
