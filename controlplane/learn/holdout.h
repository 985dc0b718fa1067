/* holdout.h: how a finished policy file does on rows with the answers of every model, such as a
 * validation set: at its own lambda and over all lambdas. Integer engine only. */
#ifndef STEELYARD_CONTROLPLANE_LEARN_HOLDOUT_H
#define STEELYARD_CONTROLPLANE_LEARN_HOLDOUT_H

#include "common/route/artifact.h"
#include "controlplane/learn/dataset.h"

struct holdout {
    uint32_t rows;
    uint32_t best;  /* Best single model of the policy's training rows, as the caller says. */
    double quality; /* Means at the policy's lambda; costs in USD. */
    double cost;
    double best_quality; /* Of always calling the best single model. */
    double best_cost;
    double mix_cost; /* What a blind mix of single models needs for `quality`; NAN: none has it. */
    double
        curve_cost_95;  /* Least cost on the policy's curve at 95 % of the best model's quality. */
    double mix_cost_95; /* The same for blind mixes. */
    double aiq;         /* Area of the curve from the cheapest to the best model's cost. */
    double mix_aiq;
    double apgr;  /* Best against cheapest model, by predicted gain. */
    double brier; /* Of predicted quality. */
};
/* ERR_INVALID: no rows, other models than the policy's, or a row that lacks a score or cost. Prices
 * are the policy's own. */
int holdout_evaluate(const struct artifact *a, const struct dataset *data, uint32_t best,
                     struct holdout *out, struct err *err) MUST_CHECK;

#endif
