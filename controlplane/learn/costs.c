/* What the file's choices cost on rows that it has not learned from: what they cost on its own
 * rows, times its optimism, as the policies of cross-fitting show it on folds that each has learned
 * from and has not (optimism.h). For that, a choice on a row with answers of all models costs what
 * its answer did, another what the file expects of it, whoever chose. */
#include <math.h>

#include "common/base/mem.h"
#include "common/route/fixed.h"
#include "common/route/score.h"
#include "controlplane/learn/optimism.h"
#include "controlplane/learn/run.h"

#define TOKENS_MAX (UINT32_C(1) << 20)

/* Of a row with answers of all models. */
static double known_cost(const struct run *run, const struct dataset_entry *e,
                         const struct dataset_cell *l)
{
    if (!isnan(l->cost_usd))
        return (double)l->cost_usd;
    return isnan(l->out_tok)
               ? NAN
               : outcome_cost_usd(run->prices[l->model], e->in_tok, (double)l->out_tok);
}

/* Cost of each model on each row. */
static void fill_prices(const struct run *run, const struct artifact *a, float *out)
{
    struct features features;
    struct score score;
    for (uint32_t i = 0; i < run->fit.row_count; i++) {
        const struct dataset_entry *e = &run->view.rows[run->fit.rows[i]];
        float *row = out + (size_t)i * run->view.model_count;
        dataset_features(&run->view, run->fit.rows[i], &features);
        score_models(a, &features, &score);
        for (uint32_t m = 0; m < run->view.model_count; m++)
            row[m] = (float)outcome_cost_usd(run->prices[m], e->in_tok,
                                             fixed_exp2_u32(score.length_q16[m], TOKENS_MAX));
        for (uint32_t k = 0; e->label_count > 1 && k < e->label_count; k++) {
            const struct dataset_cell *l = &run->view.labels[e->first_label + k];
            double known = known_cost(run, e, l);
            if (!isnan(known))
                row[l->model] = (float)known;
        }
    }
}

/* Mean cost of one policy's choices by fold. */
static void mean_by_fold(const struct run *run, const uint8_t *choice, const float *prices,
                         double *out)
{
    double weight[CROSSFIT_FOLDS_MAX] = {0};
    for (uint32_t f = 0; f < run->fit.fold_count; f++)
        out[f] = 0;
    for (uint32_t i = 0; i < run->fit.row_count; i++) {
        uint32_t f = run->fit.fold[run->fit.rows[i]];
        out[f] +=
            run->sweep.weight[i] * (double)prices[(size_t)i * run->view.model_count + choice[i]];
        weight[f] += run->sweep.weight[i];
    }
    for (uint32_t f = 0; f < run->fit.fold_count; f++)
        out[f] /= weight[f] > 0 ? weight[f] : 1;
}

static int measure_optimism(const struct run *run, const float *prices, uint8_t *choice,
                            struct optimism *out)
{
    double table[CROSSFIT_FOLDS_MAX * CROSSFIT_FOLDS_MAX];
    uint32_t folds = run->fit.fold_count;
    for (uint32_t g = 0; g < folds; g++) {
        int rc = sweep_choose_with(run->fit.artifacts[g], NULL, &run->fit, &run->view,
                                   (const int64_t(*)[2])run->prices,
                                   run->sweep.lambda[run->target.point], choice);
        if (rc != 0)
            return rc;
        mean_by_fold(run, choice, prices, table + (size_t)g * folds);
    }
    *out = optimism_of_folds(table, folds);
    return 0;
}

/* On the rows that the file was fitted on; of one observed answer, the doubly robust outcome. */
static void measure_own(const struct run *run, double *values, double *out_mean, double *out_error)
{
    const struct sweep *s = &run->sweep;
    for (uint32_t i = 0; i < s->row_count; i++)
        values[i] = (double)s->outcome->cost[(size_t)i * s->model_count + run->final_choice[i]];
    sweep_mean(s, values, out_mean, out_error);
}

int run_measure_costs(struct run *run, const struct artifact *a)
{
    struct run_costs *out = &run->metrics.costs;
    struct optimism optimism = {0};
    double error = 0;
    size_t rows = (size_t)run->fit.row_count + 1;
    double *values = mem_calloc(rows, sizeof(*values));
    uint8_t *choice = mem_calloc(rows, sizeof(*choice));
    float *prices = mem_calloc(rows * run->view.model_count, sizeof(*prices));
    int rc = values == NULL || choice == NULL || prices == NULL ? ERR_NOMEM : 0;
    if (rc == 0) {
        fill_prices(run, a, prices);
        rc = measure_optimism(run, prices, choice, &optimism);
    }
    if (rc == 0) {
        measure_own(run, values, &out->own, &error);
        out->ratio = exp(optimism.log);
        out->ratio_error = optimism.error;
        out->mean = out->own * out->ratio;
        out->error = out->own > 0 ? hypot(error / out->own, optimism.error) : 0;
    }
    mem_free(prices);
    mem_free(choice);
    mem_free(values);
    return rc;
}
