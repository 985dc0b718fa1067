/* run.h: what the steps of one training run share. Private to pipeline.c, final.c, metrics.c and
 * report.c. */
#ifndef STEELYARD_CONTROLPLANE_LEARN_RUN_H
#define STEELYARD_CONTROLPLANE_LEARN_RUN_H

#include "controlplane/learn/calibrate.h"
#include "controlplane/learn/crossfit.h"
#include "controlplane/learn/ece.h"
#include "controlplane/learn/estimate.h"
#include "controlplane/learn/pipeline.h"
#include "controlplane/learn/reference.h"
#include "controlplane/learn/sweep.h"

/* What the final file's choices cost on rows that it has not learned from (costs.c). */
struct run_costs {
    double mean;  /* USD a request. */
    double error; /* Standard error, a part of it. */
    double own;   /* USD on the rows it was fitted on. */
    double ratio; /* mean / own */
    double ratio_error;
};

struct run_metrics { /* All on rows left out, by the integer engine. */
    double auc;      /* Of q against score >= 0.5, mean over models that have both. */
    double log_loss;
    double brier;
    struct ece_value ece; /* All models together. */
    double ece_model[ARTIFACT_MODELS_MAX];
    uint32_t labels[ARTIFACT_MODELS_MAX]; /* Scores by model. */
    double aiq;                           /* Over [cheapest, best] single cost. */
    double aiq_random;                    /* Of mixing single models at random ("zero router"). */
    double aiq_oracle;                    /* Knowing all outcomes. */
    double apgr;        /* Best against cheapest single model; NAN if they are one. */
    double collapse;    /* Largest excess of the dearest model's share over the oracle's. */
    double quality_low; /* Bootstrap interval (5 %, 95 %) of quality relative to best ... */
    double quality_high;
    double final_quality; /* Of the final policy on the rows it was fitted on, at its lambda. */
    struct run_costs costs;
    double final_gap;       /* Of quality (cost targets: utility) over the prediction ... */
    double final_gap_error; /* ... and its standard error. */
    double final_rounding;  /* Mean |z| between its integers and what was fitted; logits. */
    double churn;           /* Rows that the incumbent sends elsewhere; NAN without one. */
};

struct run {
    const struct dataset *data;
    const struct learn_options *options;
    struct dataset_view view;
    struct fit_design design;
    struct str models[ARTIFACT_MODELS_MAX];
    struct heads_prior priors[ARTIFACT_MODELS_MAX];
    int64_t prices[ARTIFACT_MODELS_MAX][2];
    bool price_fitted[ARTIFACT_MODELS_MAX];
    struct sha256 digest;
    struct crossfit fit;
    struct artifact_calib calib[ARTIFACT_MODELS_MAX]; /* Of the final policy. */
    enum calibrate_method calib_method[ARTIFACT_MODELS_MAX];
    struct sweep sweep;
    struct frontier_point hull[SWEEP_LAMBDAS]; /* tag: point of the sweep. */
    uint32_t hull_count;
    struct frontier_point singles[ARTIFACT_MODELS_MAX]; /* Hull of single models. */
    uint32_t single_count;
    struct frontier_point oracle[SWEEP_LAMBDAS];
    uint32_t oracle_count;
    struct sweep_target target;
    struct run_metrics metrics;
    bool observed; /* estimate is set: there are rows of one observed arm. */
    struct estimate estimate;
    struct estimate incumbent;
    double utility_gain_low; /* Lower 5 % bound of utility over the incumbent's. */
    bool compared;           /* With an incumbent ... */
    bool compared_unseen;    /* ... on rows that it has not learned from ... */
    bool compared_support;   /* ... which can tell what both are worth. */
    uint32_t compared_units;
    double incumbent_ece; /* By its own file; NAN: not known. */
    /* Of dense features, then of predicted quality: the best model's, on rows left out. */
    struct reference reference[FEATURES_DENSE + 1];
    uint8_t *final_choice; /* [rows evaluated], of the file that was made. */
    uint32_t done;
    uint32_t steps;
    const char *phase;
};

/* Reports progress; false or ERR_CANCELED when the caller wants to stop. */
bool run_report_progress(void *run);
int run_enter(struct run *run, const char *phase) MUST_CHECK;
/* Fits, encodes and measures the policy file; after the target is chosen. */
int run_fit_final(struct run *run, struct learn_result *result, struct err *err) MUST_CHECK;
/* Calibrates the folds' artifacts (each by the other folds' rows) and run->calib by all rows, with
 * what the labels allow up to `most`. */
int run_calibrate(struct run *run, enum calibrate_method most) MUST_CHECK;
/* After run_calibrate and sweep_run: area under the curve and calibration error on rows left out.
 */
int run_compare_calibration(struct run *run, double *out_area,
                            struct ece_value *out_ece) MUST_CHECK;
/* Fills metrics.costs, after final_choice is set; a: the final file. */
int run_measure_costs(struct run *run, const struct artifact *a) MUST_CHECK;
/* Fills metrics, hulls and estimates after the sweep and the choice of the target. */
int run_measure(struct run *run) MUST_CHECK;
/* Resamples for an interval. */
uint32_t run_bootstraps(const struct run *run);
/* 0..1, of the row'th of run->fit.rows by its fold's calibrated model. */
double run_quality(const struct run *run, uint32_t row, uint32_t model);
/* What choice[run->fit.row_count] would have been worth; *out_any: some row can tell, else *out is
 * left alone. */
int run_estimate_choice(const struct run *run, const uint8_t *choice, bool *out_any,
                        struct estimate *out) MUST_CHECK;
/* Against the incumbent, after run_fit_final: on rows that it has not seen, where ours are choices
 * of weights that have not seen them either; or, with too few of those, both on rows that both have
 * learned from. */
int run_compare_incumbent(struct run *run, struct err *err) MUST_CHECK;
/* The report as JSON. result may lack the artifact. */
int run_report(const struct run *run, const struct learn_result *result,
               struct buf *out_json) MUST_CHECK;

#endif
