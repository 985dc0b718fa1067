#include "controlplane/learn/optimism.h"

#include <math.h>

#include "controlplane/learn/crossfit.h"

static double squared(double x)
{
    return x * x;
}

struct optimism optimism_of_folds(const double *cost, uint32_t folds)
{
    double policy[CROSSFIT_FOLDS_MAX] = {0};
    double fold[CROSSFIT_FOLDS_MAX] = {0};
    double x[CROSSFIT_FOLDS_MAX][CROSSFIT_FOLDS_MAX];
    double mean = 0;
    double diagonal = 0;
    double residuals = 0;
    double k = folds;
    if (folds < 2 || folds > CROSSFIT_FOLDS_MAX)
        return (struct optimism){0, 0};
    for (uint32_t g = 0; g < folds; g++)
        for (uint32_t f = 0; f < folds; f++) {
            if (!(cost[g * folds + f] > 0))
                return (struct optimism){0, 0};
            x[g][f] = log(cost[g * folds + f]);
            policy[g] += x[g][f] / k;
            fold[f] += x[g][f] / k;
            mean += x[g][f] / (k * k);
            diagonal += g == f ? x[g][f] / k : 0;
        }
    double optimism = (diagonal - mean) * k / (k - 1); /* The rest's mean lies as far below. */
    for (uint32_t g = 0; g < folds; g++)
        for (uint32_t f = 0; f < folds; f++)
            residuals += squared(x[g][f] - policy[g] - fold[f] + mean -
                                 optimism * ((g == f ? 1 : 0) - 1 / k));
    double freedom = (k - 1) * (k - 1) - 1;
    double error = freedom > 0 ? sqrt(residuals / freedom * (1 / (k - 1) + 1)) : fabs(optimism);
    return (struct optimism){optimism * (k - 0.5) / k, error * (k - 0.5) / k};
}
