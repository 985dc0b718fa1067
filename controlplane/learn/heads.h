/* heads.h: what is learned about a set of models, in floating point.
 *
 * Three heads (sections 6.2 and 6.3, with task knowledge in front):
 *   task     p_t(x) = softmax of a linear classifier, taught by the rows' task labels
 *   quality  logit q(x,m) = sum_t p_t(x) G[t][m] + gain * (w0 + u_m) . x
 *   length   ln o(x,m)    = sum_t p_t(x) L[t][m] + (v0 + y_m) . x
 * G and L are tables of group means, shrunk towards "group effect + model effect"; w0 is what makes
 * a prompt hard for everybody, u_m what model m adds (feature augmentation: Daume, 2007). The
 * linear parts are fitted as residuals of the table at the row's true group. Without task labels
 * there is one group. Above the artifact's number of groups, tasks whose tables are alike are
 * merged (Ward). Inputs are fit_design rows; one thread; deterministic. */
#ifndef STEELYARD_CONTROLPLANE_LEARN_HEADS_H
#define STEELYARD_CONTROLPLANE_LEARN_HEADS_H

#include <stdint.h>

#include "controlplane/learn/fit.h"

/* Penalties of the other heads; their lanes are divided by the square roots. */
#define HEADS_TASK_PENALTY          0.1
#define HEADS_LENGTH_SHARED_PENALTY 1.0
#define HEADS_LENGTH_DELTA_PENALTY  8.0
#define HEADS_GROUP_ROWS_MIN        8 /* Smaller groups of tasks are merged with the one most alike. */

struct heads_prior { /* By model; from the catalogue. */
    double quality;  /* Negative: unknown. */
    double out_tok;  /* 0: unknown. */
};

struct heads {
    uint32_t model_count;
    uint32_t group_count;                    /* 0: no task head; the tables then have one row. */
    int32_t *group_of;                       /* [task]: its group, or DATASET_NO_TASK. */
    uint32_t group_task[ARTIFACT_TASKS_MAX]; /* The most frequent task of a group ... */
    uint32_t group_size[ARTIFACT_TASKS_MAX]; /* ... and how many tasks are in it. */
    double *quality_table;                   /* [max(1, group_count)][model_count], logits */
    double *length_table;                    /* ln(tokens) */
    double *task_params;                     /* [column][group_count] */
    double *quality_params; /* [column][1 + model_count]: w0, u_m, in scaled lanes */
    double *length_params;
    double shared_penalty; /* Of w0; lanes are divided by its square root. */
    double delta_penalty;  /* Of each u_m. */
    double gain;           /* 0..1: share of the linear quality part that is used. */
};

struct heads_input {
    const struct fit_design *design;
    const uint32_t *rows; /* To learn from. */
    uint32_t row_count;
    const struct heads_prior *priors; /* [model_count], or NULL. */
    fit_continue_fn keep_going;
    void *keep_going_data;
};

/* Tables, task head and length head. The caller owns *out_heads afterwards (heads_deinit). */
int heads_fit_base(const struct heads_input *input, struct heads *out_heads) MUST_CHECK;
/* The linear quality part; starts from the last one. Keeps gain. */
int heads_fit_quality(const struct heads_input *input, double shared_penalty, double delta_penalty,
                      struct heads *heads) MUST_CHECK;
void heads_deinit(struct heads *heads);

/* One row, by model: logit of the table part, the linear part without gain, ln(tokens). */
void heads_predict(const struct heads *heads, const struct fit_design *design, uint32_t row,
                   double *out_table, double *out_linear, double *out_length);

double heads_logit(double q);    /* Of q clipped to 0.005..0.995. */
double heads_logistic(double z); /* 1 / (1 + e^-z) */

#endif
