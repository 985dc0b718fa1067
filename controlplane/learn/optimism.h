/* optimism.h: how much more a policy spends on rows that it has not learned from than on those that
 * it has, from the policies of cross-fitting: policy g was fitted without fold g.
 *
 * On rows that it has learned from, a policy sends requests where they happened to go well, which
 * it cannot on others. What folds spend cannot simply be compared with what the file of all rows
 * spends: each fold has a policy of its own, near an edge of the frontier one may cost four times
 * another, and questions of folds differ. But each policy meets the rows of each fold, and the
 * table
 *
 *   log cost(g, f) = policy(g) + fold(f) + optimism * [f = g] + noise
 *
 * takes both out: a two-way analysis of variance with one more term, balanced, so that
 *
 *   optimism = mean of the diagonal - mean of the rest
 *   error    = s * sqrt(1 / (folds - 1) + 1)
 *
 * s squared being the residual variance by its (folds - 1)^2 - 1 degrees of freedom. The first part
 * is the error of the mean; the second that the version spoken of is one more policy, whose
 * optimism differs from it as a cell does. A policy of all rows has learned from folds / (folds -
 * 1) times as many as each of these. A row counts that much less in it, or as much where penalties
 * hold it: between (folds - 1) / folds and 1 of the folds' optimism is its own, and the middle is
 * taken. */
#ifndef STEELYARD_CONTROLPLANE_LEARN_OPTIMISM_H
#define STEELYARD_CONTROLPLANE_LEARN_OPTIMISM_H

#include <stdint.h>

struct optimism { /* Of the policy of all rows. */
    double log;   /* Natural logarithm of cost on other rows over cost on its own. */
    double error; /* Its standard error. */
};

/* cost[g * folds + f]: mean cost of policy g on the rows of fold f. All zero where that cannot be
 * said: fewer than 2 folds, or a cost that is not positive. With 2 folds there is no residual, and
 * the error is as large as the optimism. */
struct optimism optimism_of_folds(const double *cost, uint32_t folds);

#endif
