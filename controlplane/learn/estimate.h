/* estimate.h: what a policy would have been worth on rows that another policy served (off-policy
 * evaluation; names as in Open Bandit Pipeline; Dudik et al. 2014, Wang et al. 2017). Rows whose
 * choice had no alternative (sticky, pinned, fallback) tell nothing and must be left out. */
#ifndef STEELYARD_CONTROLPLANE_LEARN_ESTIMATE_H
#define STEELYARD_CONTROLPLANE_LEARN_ESTIMATE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/err.h"

#define ESTIMATE_IPS_CLIP   20.0
#define ESTIMATE_SWITCH_TAU 10.0
#define ESTIMATE_ESS_MIN    200.0
#define ESTIMATE_WEIGHT_MAX 0.05 /* Largest share of one row in the sum of weights. */

struct estimate_row {
    double propensity; /* Of what was chosen, times the chance that it was labelled. */
    double reward;
    double target; /* pi_e of what was chosen. */
    double model;  /* q^ of what was chosen. */
    double direct; /* sum over arms of pi_e * q^ */
};

struct estimate {
    double ips;
    double snips;
    double dm;
    double dr;
    double switch_dr;
    double ess;
    double weight_share; /* Of the heaviest row. */
    double dr_low;       /* Bootstrap interval of dr, 5 % and 95 %. */
    double dr_high;
    bool support; /* ess and weight_share are good enough to judge by; else NO_SUPPORT. */
};

/* tau: of SWITCH. bootstraps 0: no interval. Deterministic. ERR_INVALID without rows or with a
 * propensity outside (0, 1]; ERR_NOMEM. */
int estimate_policy(const struct estimate_row *rows, uint32_t count, double tau,
                    uint32_t bootstraps, struct estimate *out) MUST_CHECK;

/* 5 % and 95 % bounds of the mean of values[count] under resampling. */
int estimate_interval(const double *values, uint32_t count, uint32_t bootstraps, double *out_low,
                      double *out_high) MUST_CHECK;

#endif
