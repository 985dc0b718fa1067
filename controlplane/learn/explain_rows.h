/* explain_rows.h: what explain_version.c gathers and explain_figures.c makes estimates of. Private
 * to these two. */
#ifndef STEELYARD_CONTROLPLANE_LEARN_EXPLAIN_ROWS_H
#define STEELYARD_CONTROLPLANE_LEARN_EXPLAIN_ROWS_H

#include "controlplane/learn/explain_version.h"

enum side { NOW, THEN, SIDES };

struct call_sums { /* What calls of a model cost against what was expected. */
    double actual;
    double expected[SIDES];
    /* Squares of weight times these, of routed calls. */
    double actual_squares;
    double expected_squares[SIDES];
    double products[SIDES];
    double weights;
    uint32_t count;
};

struct row {
    uint64_t unit;
    uint64_t first_arm;
    uint32_t arms;
    uint32_t task;
    uint32_t best[SIDES]; /* Likeliest choice: a model. */
    double greedy_cost;   /* Of that, under THEN. */
    uint32_t served;      /* Arm, or NONE. */
    bool evidence;
    double cost;
    double score;
    double label_prob;
    double propensity; /* Of the arm that served. */
    double overlap[SIDES];
    double quality[SIDES];        /* Expected under the policy ... */
    double served_quality[SIDES]; /* ... and of the arm that served. */
};
struct arm {
    uint8_t model;
    float p[SIDES];
    float cost[SIDES];
};

struct explain_version {
    bool now_recorded;
    struct row *rows;
    struct arm *arms;
    uint32_t row_count, row_room;
    uint64_t arm_count, arm_room;
    struct str models[EXPLAIN_VERSION_MODELS];
    uint32_t model_count;
    struct call_sums routed[EXPLAIN_VERSION_MODELS];
    struct call_sums named[EXPLAIN_VERSION_MODELS];
    struct str tasks[EXPLAIN_VERSION_TASKS];
    uint32_t task_count;
    struct call_sums calls[EXPLAIN_VERSION_MODELS]; /* Behind factor. */
    double factor[SIDES][EXPLAIN_VERSION_MODELS];
    uint32_t learned;
    struct explain_version_training training;
};

/* Sets factor and calls of all models, in x and in out. */
void explain_set_factors(struct explain_version *x, struct explain_version_result *out);
/* Expected cost of a row under a policy, corrected by model; and of the arm that served. */
double explain_row_cost(const struct explain_version *x, const struct row *row, int side,
                        double *out_served);
/* Cost and quality of both sides, after explain_set_factors. ERR_NOMEM. */
int explain_fill_figures(const struct explain_version *x, uint32_t bootstraps,
                         struct explain_version_result *out) MUST_CHECK;

#endif
