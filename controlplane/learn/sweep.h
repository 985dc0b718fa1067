/* sweep.h: what the policy would do and give at every lambda, decided by the integer engine on rows
 * that its weights have not seen. Means are weighted by the rows' sampling weights; standard errors
 * treat rows of one unit as one (cluster-robust). */
#ifndef STEELYARD_CONTROLPLANE_LEARN_SWEEP_H
#define STEELYARD_CONTROLPLANE_LEARN_SWEEP_H

#include "controlplane/learn/crossfit.h"
#include "controlplane/learn/frontier.h"
#include "controlplane/learn/pipeline.h"

#define SWEEP_LAMBDAS 161 /* 0, then a log grid. */
#define SWEEP_NONE    UINT32_MAX

struct sweep {
    uint32_t row_count;
    uint32_t model_count;
    double *weight;    /* [row_count], sum 1 */
    uint32_t *by_unit; /* Rows, those of one unit together. */
    uint64_t *units;
    const struct outcome *outcome;
    uint8_t *choice; /* [SWEEP_LAMBDAS][row_count] */
    struct learn_point points[SWEEP_LAMBDAS];
    int64_t lambda[SWEEP_LAMBDAS]; /* As the engine takes it. */
    uint32_t best;                 /* Best single model ... */
    uint32_t cheapest;             /* ... and cheapest, by mean. */
    double single_quality[ARTIFACT_MODELS_MAX];
    double single_cost[ARTIFACT_MODELS_MAX];
};
/* Lambda in the engine's unit, clipped to its range. */
int64_t sweep_lambda(double quality_per_usd);

/* `fit` after crossfit_run with calibrated artifacts. Borrows its outcome. */
int sweep_run(const struct crossfit *fit, const struct dataset_view *view,
              const int64_t (*prices)[2], struct sweep *out) MUST_CHECK;
void sweep_deinit(struct sweep *s);
/* The same rows under one policy of another file (an incumbent); ordinal_of[m]: its ordinal of our
 * model m, or POLICY_UNKNOWN_MODEL. */
int sweep_choose_with(const struct artifact *a, const int32_t *ordinal_of,
                      const struct crossfit *fit, const struct dataset_view *view,
                      const int64_t (*prices)[2], int64_t lambda, uint8_t *out_choice) MUST_CHECK;

/* Mean of values[row] and its standard error. */
void sweep_mean(const struct sweep *s, const double *values, double *out_mean, double *out_error);

struct sweep_target {
    uint32_t point;  /* Of points; SWEEP_NONE: the target cannot be reached. */
    double bound;    /* One-sided bound of what was asked for: quality, ratio or cost. */
    double reached;  /* Its estimate. */
    bool certain;    /* The bound holds; else only the estimate does. */
    double possible; /* Best estimate over all lambdas, in the target's unit. */
};
/* Quality: largest lambda whose lower bound is good enough, walking up from the best one. Cost:
 * smallest lambda whose upper bound is. z: of the one-sided normal bound. */
int sweep_choose(const struct sweep *s, const struct learn_target *target, double z,
                 struct sweep_target *out) MUST_CHECK;

#endif
