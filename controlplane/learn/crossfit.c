#include "controlplane/learn/crossfit.h"

#include <math.h>
#include <string.h>

#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/route/fixed.h"
#include "common/route/score.h"
#include "controlplane/learn/frontier.h"

#define LAMBDAS         60
#define LAMBDA_MIN      1e-3 /* Quality per mean cost of the best model ... */
#define LAMBDA_MAX      1e2
#define SHARED_PENALTY  2.0
#define REFERENCE_DELTA 1 /* Estimates behind pseudo-outcomes: this penalty ... */
#define REFERENCE_GAIN  0.75

static const double deltas[CROSSFIT_DELTAS] = {32, 8, 2, 0.5};
static const double gains[CROSSFIT_GAINS] = {0, 0.25, 0.5, 0.75, 1};

double crossfit_delta(uint32_t index)
{
    return deltas[index];
}

double crossfit_gain(uint32_t index)
{
    return gains[index];
}

uint32_t crossfit_fold_count(uint32_t rows, uint32_t wanted)
{
    uint32_t folds = wanted != 0 ? wanted : rows > 20000 ? 3 : 5;
    folds = folds > CROSSFIT_FOLDS_MAX ? CROSSFIT_FOLDS_MAX : folds;
    return folds < 2 ? 2 : folds;
}

uint32_t crossfit_steps(uint32_t fold_count)
{
    return fold_count * (CROSSFIT_DELTAS + 2);
}

static uint64_t unit_draw(uint64_t unit, uint64_t purpose)
{
    const struct siphash_key key = {.k0 = 0x666f6c64, .k1 = purpose};
    return siphash_1_3(key, &unit, sizeof(unit)) >> 16;
}

static int assign_folds(const struct dataset_view *v, struct crossfit *c)
{
    uint64_t bar = UINT64_C(1) << 48;
    c->fold = mem_calloc((size_t)v->row_count + 1, sizeof(*c->fold));
    c->rows = mem_calloc((size_t)v->row_count + 1, sizeof(*c->rows));
    if (c->fold == NULL || c->rows == NULL)
        return ERR_NOMEM;
    if (v->row_count > CROSSFIT_ROWS_MAX)
        bar = (uint64_t)((double)bar * CROSSFIT_ROWS_MAX / v->row_count);
    for (uint32_t i = 0; i < v->row_count; i++) {
        c->fold[i] = CROSSFIT_TRAIN_ALL;
        if (unit_draw(v->rows[i].unit, 1) >= bar)
            continue;
        c->fold[i] = (uint8_t)(unit_draw(v->rows[i].unit, 2) % c->fold_count);
        c->rows[c->row_count++] = i;
    }
    return 0;
}

static int allocate(struct crossfit *c)
{
    size_t cells = (size_t)c->row_count * c->model_count + 1;
    bool ok = true;
    for (uint32_t d = 0; d < CROSSFIT_DELTAS; d++) {
        c->linear[d] = mem_calloc(cells, sizeof(*c->linear[d]));
        ok = ok && c->linear[d] != NULL;
    }
    c->table = mem_calloc(cells, sizeof(*c->table));
    c->tokens = mem_calloc(cells, sizeof(*c->tokens));
    c->z = mem_calloc(cells, sizeof(*c->z));
    c->out_tok = mem_calloc(cells, sizeof(*c->out_tok));
    return ok && c->table != NULL && c->tokens != NULL && c->z != NULL && c->out_tok != NULL
               ? 0
               : ERR_NOMEM;
}

static void predict_fold(const struct crossfit_input *input, struct crossfit *c, uint32_t fold,
                         uint32_t delta)
{
    double table[ARTIFACT_MODELS_MAX];
    double linear[ARTIFACT_MODELS_MAX];
    double length[ARTIFACT_MODELS_MAX];
    for (uint32_t i = 0; i < c->row_count; i++) {
        if (c->fold[c->rows[i]] != fold)
            continue;
        size_t at = (size_t)i * c->model_count;
        heads_predict(&c->heads[fold], input->design, c->rows[i], table, linear, length);
        for (uint32_t m = 0; m < c->model_count; m++) {
            c->table[at + m] = (float)table[m];
            c->linear[delta][at + m] = (float)linear[m];
            c->tokens[at + m] = (float)fmin(fmax(exp(fmin(length[m], 14)), 1), 1 << 20);
        }
    }
}

static int step(const struct crossfit_input *input)
{
    return input->on_step == NULL || input->on_step(input->data) ? 0 : ERR_CANCELED;
}

static struct heads_input heads_input_of(const struct crossfit_input *input, const uint32_t *rows,
                                         uint32_t count)
{
    return (struct heads_input){
        .design = input->design,
        .rows = rows,
        .row_count = count,
        .priors = input->priors,
        .keep_going = input->keep_going,
        .keep_going_data = input->data,
    };
}

static uint32_t training_rows(const struct crossfit *c, uint32_t row_count, uint32_t fold,
                              uint32_t *out_rows)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < row_count; i++)
        if (c->fold[i] != fold)
            out_rows[count++] = i;
    return count;
}

static int fit_fold(const struct crossfit_input *input, struct crossfit *c, uint32_t fold,
                    uint32_t *scratch)
{
    uint32_t count = training_rows(c, input->design->row_count, fold, scratch);
    struct heads_input h = heads_input_of(input, scratch, count);
    int rc = step(input);
    if (rc == 0)
        rc = heads_fit_base(&h, &c->heads[fold]);
    for (uint32_t d = 0; rc == 0 && d < CROSSFIT_DELTAS; d++) {
        rc = step(input);
        if (rc == 0)
            rc = heads_fit_quality(&h, SHARED_PENALTY, deltas[d], &c->heads[fold]);
        if (rc == 0)
            predict_fold(input, c, fold, d);
    }
    return rc;
}

static int build_outcome(const struct crossfit_input *input, struct crossfit *c)
{
    size_t cells = (size_t)c->row_count * c->model_count;
    float *quality = mem_calloc(cells + 1, sizeof(*quality));
    if (quality == NULL)
        return ERR_NOMEM;
    for (size_t i = 0; i < cells; i++)
        quality[i] = (float)heads_logistic((double)c->table[i] +
                                           REFERENCE_GAIN * (double)c->linear[REFERENCE_DELTA][i]);
    int rc = outcome_build(input->design->view, c->rows, c->row_count, quality, c->tokens,
                           input->prices, &c->outcome);
    mem_free(quality);
    return rc;
}

/* Means of one model over the evaluated rows. */
static void single_means(const struct crossfit_input *input, const struct crossfit *c, uint32_t m,
                         double *out_quality, double *out_cost)
{
    double weight = 0;
    *out_quality = *out_cost = 0;
    for (uint32_t i = 0; i < c->row_count; i++) {
        double w = (double)input->design->view->rows[c->rows[i]].sample;
        weight += w;
        *out_quality += w * (double)c->outcome.reward[(size_t)i * c->model_count + m];
        *out_cost += w * (double)c->outcome.cost[(size_t)i * c->model_count + m];
    }
    *out_quality /= weight;
    *out_cost /= weight;
}

/* Mean outcome of choosing argmax q - lambda c, for one configuration. */
static void add_point(const struct crossfit_input *input, const struct crossfit *c,
                      const float *quality, const float *cost, double lambda,
                      struct frontier_point *out)
{
    double weight = 0;
    *out = (struct frontier_point){0};
    for (uint32_t i = 0; i < c->row_count; i++) {
        size_t at = (size_t)i * c->model_count;
        double w = (double)input->design->view->rows[c->rows[i]].sample;
        uint32_t best = 0;
        for (uint32_t m = 1; m < c->model_count; m++)
            if ((double)quality[at + m] - lambda * (double)cost[at + m] >
                (double)quality[at + best] - lambda * (double)cost[at + best])
                best = m;
        weight += w;
        out->quality += w * (double)c->outcome.reward[at + best];
        out->cost += w * (double)c->outcome.cost[at + best];
    }
    out->quality /= weight;
    out->cost /= weight;
}

static double area_of(const struct crossfit_input *input, const struct crossfit *c,
                      const float *quality, const float *cost, double cost_min, double cost_max)
{
    struct frontier_point points[LAMBDAS + 1];
    for (uint32_t k = 0; k <= LAMBDAS; k++) {
        double part = (double)(k == 0 ? 0 : k - 1) / (LAMBDAS - 1);
        double lambda = LAMBDA_MIN * pow(LAMBDA_MAX / LAMBDA_MIN, part) / cost_max;
        add_point(input, c, quality, cost, k == 0 ? 0 : lambda, &points[k]);
    }
    uint32_t count = frontier_hull(points, LAMBDAS + 1);
    return frontier_aiq(points, count, cost_min, cost_max);
}

static int choose(const struct crossfit_input *input, struct crossfit *c)
{
    size_t cells = (size_t)c->row_count * c->model_count;
    float *quality = mem_calloc(cells + 1, sizeof(*quality));
    float *cost = mem_calloc(cells + 1, sizeof(*cost));
    double best_quality = 0;
    double cost_max = 0;
    double cost_min = INFINITY;
    double best_area = -INFINITY;
    if (quality == NULL || cost == NULL) {
        mem_free(quality);
        mem_free(cost);
        return ERR_NOMEM;
    }
    for (uint32_t m = 0; m < c->model_count; m++) {
        double q;
        double single;
        single_means(input, c, m, &q, &single);
        cost_min = single < cost_min ? single : cost_min;
        if (m == 0 || q > best_quality) {
            best_quality = q;
            cost_max = single;
        }
    }
    cost_max = cost_max > 1e-12 ? cost_max : 1e-12;
    for (size_t i = 0; i < cells; i++)
        cost[i] = (float)outcome_cost_usd(
            input->prices[i % c->model_count],
            input->design->view->rows[c->rows[i / c->model_count]].in_tok, (double)c->tokens[i]);
    for (uint32_t g = 0; g < CROSSFIT_GAINS; g++)
        for (uint32_t d = 0; d < CROSSFIT_DELTAS; d++) {
            for (size_t i = 0; i < cells; i++)
                quality[i] =
                    (float)heads_logistic((double)c->table[i] + gains[g] * (double)c->linear[d][i]);
            double area = area_of(input, c, quality, cost, cost_min, cost_max);
            c->aiq[d][g] = area / (best_quality > 0 ? best_quality : 1);
            if (area > best_area) {
                best_area = area;
                c->chosen = (struct crossfit_config){SHARED_PENALTY, deltas[d], gains[g]};
            }
            if (gains[g] == 0) { /* The penalty does not matter without a linear part. */
                for (uint32_t k = 1; k < CROSSFIT_DELTAS; k++)
                    c->aiq[k][g] = c->aiq[0][g];
                break;
            }
        }
    mem_free(quality);
    mem_free(cost);
    return 0;
}

static int score_fold(const struct crossfit_input *input, struct crossfit *c, uint32_t fold,
                      struct err *err)
{
    struct quantised q;
    struct features features;
    struct score score;
    int rc = quantise_heads(&c->heads[fold], input->design, input->models, &q);
    if (rc == 0)
        rc = quantise_decode(&q, &c->artifacts[fold], err);
    for (uint32_t i = 0; rc == 0 && i < c->row_count; i++) {
        if (c->fold[c->rows[i]] != fold)
            continue;
        size_t at = (size_t)i * c->model_count;
        dataset_features(input->design->view, c->rows[i], &features);
        score_models(c->artifacts[fold], &features, &score);
        for (uint32_t m = 0; m < c->model_count; m++) {
            c->z[at + m] = score.z[m];
            c->out_tok[at + m] = fixed_exp2_u32(score.length_q16[m], UINT32_C(1) << 20);
        }
    }
    quantise_deinit(&q);
    return rc;
}

/* The chosen configuration once more in each fold, now through the integer engine. */
static int quantise_folds(const struct crossfit_input *input, struct crossfit *c, uint32_t *scratch,
                          struct err *err)
{
    int rc = 0;
    for (uint32_t fold = 0; rc == 0 && fold < c->fold_count; fold++) {
        rc = step(input);
        if (rc == 0 && c->chosen.gain > 0) {
            uint32_t count = training_rows(c, input->design->row_count, fold, scratch);
            struct heads_input h = heads_input_of(input, scratch, count);
            rc = heads_fit_quality(&h, c->chosen.shared_penalty, c->chosen.delta_penalty,
                                   &c->heads[fold]);
        }
        c->heads[fold].gain = c->chosen.gain;
        if (rc == 0)
            rc = score_fold(input, c, fold, err);
    }
    return rc;
}

int crossfit_run(const struct crossfit_input *input, struct crossfit *out, struct err *err)
{
    const struct dataset_view *v = input->design->view;
    memset(out, 0, sizeof(*out));
    out->model_count = v->model_count;
    out->fold_count = crossfit_fold_count(v->row_count, input->folds);
    uint32_t *scratch = mem_calloc((size_t)v->row_count + 1, sizeof(*scratch));
    int rc = scratch == NULL ? ERR_NOMEM : assign_folds(v, out);
    if (rc == 0)
        rc = allocate(out);
    for (uint32_t fold = 0; rc == 0 && fold < out->fold_count; fold++)
        rc = fit_fold(input, out, fold, scratch);
    if (rc == 0)
        rc = build_outcome(input, out);
    if (rc == 0)
        rc = choose(input, out);
    if (rc == 0)
        rc = quantise_folds(input, out, scratch, err);
    mem_free(scratch);
    return rc;
}

void crossfit_deinit(struct crossfit *c)
{
    for (uint32_t fold = 0; fold < CROSSFIT_FOLDS_MAX; fold++) {
        heads_deinit(&c->heads[fold]);
        artifact_destroy(c->artifacts[fold]);
    }
    for (uint32_t d = 0; d < CROSSFIT_DELTAS; d++)
        mem_free(c->linear[d]);
    mem_free(c->fold);
    mem_free(c->rows);
    mem_free(c->table);
    mem_free(c->tokens);
    mem_free(c->z);
    mem_free(c->out_tok);
    outcome_deinit(&c->outcome);
    memset(c, 0, sizeof(*c));
}
