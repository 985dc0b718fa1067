/* outcome.h: what every model would have given on every row that is evaluated.
 *
 * A label is taken as it is when the row has one for each model. Where a row has only the label of
 * the model that served it, the doubly robust pseudo-outcome (Dudik et al. 2014) stands in:
 *   r(m) = q^(m) + [m served] * w * (y - q^(m)),   w = 1 / (propensity * label_prob), clipped
 * whose mean over rows is unbiased for any policy; the same for cost. Also fits the prices of
 * models that have none. Values are in scores 0..1 and USD. */
#ifndef STEELYARD_CONTROLPLANE_LEARN_OUTCOME_H
#define STEELYARD_CONTROLPLANE_LEARN_OUTCOME_H

#include "controlplane/learn/dataset.h"

#define OUTCOME_WEIGHT_MAX 20.0

/* Rates in nano-USD per million tokens that are PRICE_UNKNOWN in io_prices are set by non-negative
 * least squares of cost on (in_tok, out_tok), each row relative to its cost; they stay unknown for
 * a model without costs. out_fitted[m] says which. */
void outcome_fit_prices(const struct dataset_view *view, int64_t (*io_prices)[2], bool *out_fitted);

struct outcome { /* [row_count][model_count], rows as in the caller's list. */
    uint32_t row_count;
    uint32_t model_count;
    uint32_t imputed; /* Cells that hold an estimate instead of a label. */
    float *reward;
    float *cost;
};
/* rows: which rows of view. quality and tokens: estimates by a model that has not seen the row,
 * [row_count][model_count]. */
int outcome_build(const struct dataset_view *view, const uint32_t *rows, uint32_t row_count,
                  const float *quality, const float *tokens, const int64_t (*prices)[2],
                  struct outcome *out) MUST_CHECK;
void outcome_deinit(struct outcome *o);

/* Expected cost, as the policy counts it: USD; 0 while the price is unknown. */
double outcome_cost_usd(const int64_t prices[2], double in_tok, double out_tok);

#endif
