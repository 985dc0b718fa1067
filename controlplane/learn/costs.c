/* What the policy's choices cost, honestly. A policy that has learned from some calls chooses
 * models that were cheap among those (winner's curse): what these calls cost tells too little. So
 * choices of weights that have not seen a fold are priced by calls of that fold alone:
 *
 *   cost = sum over folds f and models m of demand(f, m) * k(f, m)
 *   demand(f, m): expected cost of f's rows that weights without f send to m
 *   k(f, m):      what calls of m in f cost over what those weights expected of them, each call
 *                 weighted by 1 / its propensity
 *
 * Rows with answers of all models need none of this: their choice's own cost is known. */
#include <math.h>

#include "common/base/mem.h"
#include "common/route/fixed.h"
#include "common/route/score.h"
#include "controlplane/learn/run.h"

#define TOKENS_MAX (UINT32_C(1) << 20)

struct cell { /* Of a fold and a model. */
    double demand;
    double actual;
    double expected;
};
struct costs {
    struct cell cells[CROSSFIT_FOLDS_MAX][ARTIFACT_MODELS_MAX];
    double known; /* Cost of choices whose cost is known. */
    double expected;
    double *values; /* By row, as far as it is known without calls of others. */
};

static double known_cost(const struct run *run, const struct dataset_entry *e,
                         const struct dataset_cell *l)
{
    if (!isnan(l->cost_usd))
        return (double)l->cost_usd;
    return isnan(l->out_tok)
               ? NAN
               : outcome_cost_usd(run->prices[l->model], e->in_tok, (double)l->out_tok);
}

static double expected_unseen(const struct run *run, uint32_t row, uint32_t model)
{
    return outcome_cost_usd(run->prices[model], run->view.rows[run->fit.rows[row]].in_tok,
                            (double)run->fit.out_tok[(size_t)row * run->view.model_count + model]);
}

/* Cost of the row's choice, if the row has all answers; NAN: others' calls must tell. */
static double own_cost(const struct run *run, uint32_t row, uint32_t choice)
{
    const struct dataset_entry *e = &run->view.rows[run->fit.rows[row]];
    for (uint32_t k = 0; e->label_count > 1 && k < e->label_count; k++)
        if (run->view.labels[e->first_label + k].model == choice)
            return known_cost(run, e, &run->view.labels[e->first_label + k]);
    return NAN;
}

static void add_row(const struct run *run, uint32_t row, uint32_t choice, struct costs *c)
{
    const struct dataset_entry *e = &run->view.rows[run->fit.rows[row]];
    struct cell *fold = c->cells[run->fit.fold[run->fit.rows[row]]];
    double expected = expected_unseen(run, row, choice);
    double own = own_cost(run, row, choice);
    double weight = run->sweep.weight[row];
    c->expected += weight * expected;
    c->values[row] = isnan(own) ? expected : own;
    if (isnan(own))
        fold[choice].demand += weight * expected;
    else
        c->known += weight * own;
    if (e->label_count != 1)
        return;
    const struct dataset_cell *l = &run->view.labels[e->first_label];
    double v = weight * fmin(1 / (double)e->propensity, OUTCOME_WEIGHT_MAX);
    double cost = known_cost(run, e, l);
    if (isnan(cost))
        return;
    fold[l->model].actual += v * cost;
    fold[l->model].expected += v * expected_unseen(run, row, l->model);
}

/* Demand at what calls say, and the part of it that calls speak of. */
static double price_demand(const struct run *run, const struct costs *c)
{
    double demand = 0;
    double priced = 0;
    double told = 0;
    for (uint32_t f = 0; f < run->fit.fold_count; f++)
        for (uint32_t m = 0; m < run->view.model_count; m++) {
            const struct cell *cell = &c->cells[f][m];
            demand += cell->demand;
            if (!(cell->expected > 0))
                continue;
            told += cell->demand;
            priced += cell->demand * cell->actual / cell->expected;
        }
    return told > 0 ? demand * priced / told : demand;
}

/* Of the priced demand: residuals of all calls against one common factor, as a cell has too few. */
static double variance_of_calls(const struct run *run, const struct costs *c, double factor)
{
    double sum = 0;
    for (uint32_t i = 0; i < run->fit.row_count; i++) {
        const struct dataset_entry *e = &run->view.rows[run->fit.rows[i]];
        const struct dataset_cell *l = &run->view.labels[e->first_label];
        if (e->label_count != 1)
            continue;
        const struct cell *cell = &c->cells[run->fit.fold[run->fit.rows[i]]][l->model];
        double cost = known_cost(run, e, l);
        if (isnan(cost) || !(cell->expected > 0))
            continue;
        double v = run->sweep.weight[i] * fmin(1 / (double)e->propensity, OUTCOME_WEIGHT_MAX);
        double part =
            cell->demand / cell->expected * v * (cost - factor * expected_unseen(run, i, l->model));
        sum += part * part;
    }
    return sum;
}

/* What the file expects of its own choices on the rows it was fitted on. */
static double expected_own(const struct run *run, const struct artifact *a)
{
    struct features features;
    struct score score;
    double sum = 0;
    for (uint32_t i = 0; i < run->fit.row_count; i++) {
        uint32_t m = run->final_choice[i];
        dataset_features(&run->view, run->fit.rows[i], &features);
        score_models(a, &features, &score);
        sum += run->sweep.weight[i] *
               outcome_cost_usd(run->prices[m], run->view.rows[run->fit.rows[i]].in_tok,
                                fixed_exp2_u32(score.length_q16[m], TOKENS_MAX));
    }
    return sum;
}

int run_measure_costs(struct run *run, const struct artifact *a)
{
    const uint8_t *ours = run->sweep.choice + (size_t)run->target.point * run->fit.row_count;
    struct run_costs *out = &run->metrics.costs;
    struct costs *c = mem_zalloc(sizeof(*c));
    double error = 0;
    double mean;
    if (c == NULL)
        return ERR_NOMEM;
    c->values = mem_calloc((size_t)run->fit.row_count + 1, sizeof(*c->values));
    if (c->values == NULL) {
        mem_free(c);
        return ERR_NOMEM;
    }
    for (uint32_t i = 0; i < run->fit.row_count; i++)
        add_row(run, i, ours[i], c);
    sweep_mean(&run->sweep, c->values, &mean, &error);
    double honest = c->known + price_demand(run, c);
    double factor = c->expected > 0 ? honest / c->expected : 1;
    *out = (struct run_costs){
        .mean = honest,
        /* Each fold has a policy of its own, which is not quite the file's. */
        .rows_error = hypot(mean > 0 ? error / mean : 0, run->metrics.final_cost_ratio_error),
        .calls_error = honest > 0 ? sqrt(variance_of_calls(run, c, factor)) / honest : 0,
        .unseen = factor,
        .own = 1,
    };
    double own = expected_own(run, a);
    if (own > 0)
        out->own = honest / own;
    mem_free(c->values);
    mem_free(c);
    return 0;
}
