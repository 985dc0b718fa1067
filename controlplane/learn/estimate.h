/* estimate.h: what a policy would have been worth on rows that another policy served (off-policy
 * evaluation; names as in Open Bandit Pipeline; Dudik et al. 2014, Wang et al. 2017).
 *
 *   w = pi_e(a|x) / p_a,  v = 1 / label_prob
 *   IPS    = sum v min(w, clip) r / sum v          SNIPS = sum v w r / sum v w
 *   DM     = mean of direct                        DR    = DM + sum v w (r - q^) / sum v
 *   SWITCH = DR without the corrections of rows with w > tau
 * Sums of v go over labelled rows, DM over all, so that labels asked for by chance cost variance
 * and no bias. What clip and tau leave out is bounded by the range of rewards and widens the
 * interval of IPS and SWITCH: they are biased otherwise, and no resampling shows it.
 *
 * Intervals: bootstrap-t (Efron; Hall 1988) over units: whole units are drawn again, and each
 * resample is measured in its own cluster-robust standard error. Percentiles of resamples miss the
 * truth too often where few rows carry much weight (docs/evidence.md has figures).
 *
 * Rows whose choice had no alternative (sticky, pinned, fallback, p = 2^32) tell nothing about
 * others and must be left out by the caller. Pure but for scratch memory; deterministic. */
#ifndef STEELYARD_CONTROLPLANE_LEARN_ESTIMATE_H
#define STEELYARD_CONTROLPLANE_LEARN_ESTIMATE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/err.h"

#define ESTIMATE_IPS_CLIP   20.0
#define ESTIMATE_SWITCH_TAU 10.0
#define ESTIMATE_ESS_MIN    200.0
#define ESTIMATE_WEIGHT_MAX 0.05 /* Largest share of one row, or unit, in the sum of weights. */
#define ESTIMATE_BOOTSTRAPS 1000
#define ESTIMATE_CONFIDENCE 0.95

struct estimate_row {
    uint64_t unit;     /* What must be drawn together: conversation, user, question. */
    double propensity; /* Of what was chosen: (0, 1]. */
    double label_prob; /* Chance with which its label was asked for: (0, 1]. */
    bool labelled;     /* false: reward and model are not read; only direct counts. */
    double reward;
    double target; /* pi_e of what was chosen; of two policies' difference: theirs subtracted. */
    double model;  /* q^ of what was chosen. */
    double direct; /* sum over arms of pi_e * q^ */
};

struct estimate_options {
    double clip;
    double tau;
    uint32_t bootstraps; /* 0: no intervals (low = high = value). */
    double confidence;   /* Two-sided. */
    double reward_low;   /* Range of rewards; equal: not known, and intervals are not widened. */
    double reward_high;
};
/* Clip 20, tau 10, 1,000 resamples, 95 %, rewards in 0..1. */
void estimate_options_init(struct estimate_options *options);

enum estimate_kind {
    ESTIMATE_IPS,
    ESTIMATE_SNIPS,
    ESTIMATE_DM, /* Its interval knows nothing of the model's error. */
    ESTIMATE_DR,
    ESTIMATE_SWITCH,
    ESTIMATE_KINDS
};
const char *estimate_kind_name(enum estimate_kind kind); /* "ips", "snips", "dm", "dr", "switch" */

struct estimate_value {
    double value;
    double low;
    double high;
};

struct estimate {
    struct estimate_value of[ESTIMATE_KINDS];
    uint32_t rows;
    uint32_t labelled;
    uint32_t units;
    double ess;              /* (sum v|w|)^2 / sum (vw)^2 over labelled rows. */
    double weight_share;     /* Of the heaviest row or unit. */
    double correction_error; /* Standard error of what DR adds to DM. */
    double cut;              /* Share of the weight that lies beyond tau. */
    bool support; /* ess and weight_share are good enough to judge by; else NO_SUPPORT. */
    enum estimate_kind trusted; /* DR; SWITCH if its widened interval is less than half as wide; DM
                                   without support. */
};

/* ERR_INVALID without rows, with a propensity or label_prob outside (0, 1] or a number that is not
 * finite; ERR_NOMEM. */
int estimate_policy(const struct estimate_row *rows, uint32_t count,
                    const struct estimate_options *options, struct estimate *out) MUST_CHECK;

/* Mean of values[count] with an interval over units (ESTIMATE_DM of rows without labels). */
int estimate_mean(const double *values, const uint64_t *units, uint32_t count, uint32_t bootstraps,
                  double confidence, struct estimate_value *out) MUST_CHECK;

#endif
