/* fit.h: convex fits of linear heads with L-BFGS (liblbfgs, float64), one thread, rows in a fixed
 * order: the same inputs give the same numbers.
 *
 * A design is a set of rows ready for arithmetic: unit-norm n-gram columns (only those that occur)
 * plus standardised dense columns. A head has `lanes` outputs per row, s = P' x, with one parameter
 * per column and lane; the loss of a row is a function of its lanes. The penalty is |P|^2 / 2, so a
 * head that wants another one scales its lanes inside the loss (s / sqrt(penalty)). */
#ifndef STEELYARD_CONTROLPLANE_LEARN_FIT_H
#define STEELYARD_CONTROLPLANE_LEARN_FIT_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/err.h"
#include "controlplane/learn/dataset.h"

#define FIT_LANES_MAX (ARTIFACT_MODELS_MAX + 1)

struct fit_design {
    uint32_t row_count;
    uint32_t sparse_count; /* Columns 0..sparse_count: n-grams. */
    uint32_t column_count; /* sparse_count + FEATURES_DENSE */
    const struct dataset_view *view;
    uint32_t *column; /* As view->indices, as column numbers. */
    uint16_t *index;  /* [sparse_count]: a column's feature index. */
    float *unit;      /* [row_count]: 1 / sqrt(n). */
    float *dense;     /* [row_count][FEATURES_DENSE], standardised. */
    double mean[FEATURES_DENSE];
    double scale[FEATURES_DENSE]; /* x_standardised = (x - mean) * scale; 0: not used. */
};
int fit_design_init(struct fit_design *design, const struct dataset_view *view) MUST_CHECK;
void fit_design_deinit(struct fit_design *design);

/* Loss of row `row` at lanes s, and its derivative by each lane into ds. */
typedef double (*fit_loss_fn)(const void *context, uint32_t row, const double *s, double *ds);
typedef bool (*fit_continue_fn)(void *data); /* false: stop, ERR_CANCELED. */

struct fit_problem {
    const struct fit_design *design;
    const uint32_t *rows; /* Those to fit on. */
    uint32_t row_count;
    uint32_t lanes;
    fit_loss_fn loss;
    const void *context;
    uint32_t iterations;
    fit_continue_fn keep_going; /* May be NULL. */
    void *keep_going_data;
};
/* io_params[column_count][lanes] holds the starting point and takes the solution. Stops at the
 * iteration limit without complaint. ERR_NOMEM, ERR_CANCELED. */
int fit_minimise(const struct fit_problem *problem, double *io_params) MUST_CHECK;
/* s = P' x of one row. */
void fit_lanes(const struct fit_design *design, uint32_t row, const double *params, uint32_t lanes,
               double *out_s);

/* The same solver for a small dense problem: value and gradient by callback. */
typedef double (*fit_dense_fn)(const void *context, const double *x, double *gradient);
int fit_minimise_dense(uint32_t count, fit_dense_fn evaluate, const void *context,
                       uint32_t iterations, double *io_x) MUST_CHECK;

#endif
