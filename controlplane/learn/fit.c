#include "controlplane/learn/fit.h"

#include <lbfgs.h>
#include <math.h>
#include <string.h>

#include "common/base/mem.h"

#define FEATURE_VALUES   65536
#define DENSE_SPREAD     0.3  /* Standard deviation of a dense column. */
#define DENSE_MIN_SPREAD 0.02 /* Less than this in the rows' own units tells nothing. */
#define DENSE_SCALE_MAX  1.0  /* Weights of narrow columns must still fit the policy file. */
#define BIAS_VALUE       3.0  /* Of the constant column: a penalty of 1/9. */
#define LBFGS_EPSILON    1e-5 /* |gradient| / max(1, |x|) */
#define LBFGS_PAST       3    /* Also done when this many iterations ... */
#define LBFGS_DELTA      1e-4 /* ... gained less than this part of the value. */
#define LBFGS_MULTIPLE   16   /* The SSE build wants a multiple of 8 and aligned memory. */

static void standardise(struct fit_design *design)
{
    const struct dataset_view *v = design->view;
    for (uint32_t d = 0; d < FEATURES_DENSE; d++) {
        double sum = 0;
        double squares = 0;
        for (uint32_t i = 0; i < v->row_count; i++)
            sum += v->rows[i].dense[d];
        double mean = sum / v->row_count;
        for (uint32_t i = 0; i < v->row_count; i++) {
            double x = v->rows[i].dense[d] - mean;
            squares += x * x;
        }
        double spread = sqrt(squares / v->row_count) / 256;
        design->mean[d] = mean / 256;
        design->scale[d] =
            spread >= DENSE_MIN_SPREAD ? fmin(DENSE_SPREAD / spread, DENSE_SCALE_MAX) : 0;
    }
    design->mean[FEATURES_BIAS] = 0;
    design->scale[FEATURES_BIAS] = BIAS_VALUE;
    for (uint32_t i = 0; i < v->row_count; i++)
        for (uint32_t d = 0; d < FEATURES_DENSE; d++)
            design->dense[(size_t)i * FEATURES_DENSE + d] =
                (float)((v->rows[i].dense[d] / 256.0 - design->mean[d]) * design->scale[d]);
    for (uint32_t i = 0; i < v->row_count; i++)
        design->dense[(size_t)i * FEATURES_DENSE + FEATURES_BIAS] = (float)BIAS_VALUE;
}

int fit_design_init(struct fit_design *design, const struct dataset_view *view)
{
    memset(design, 0, sizeof(*design));
    design->view = view;
    design->row_count = view->row_count;
    uint64_t entries = 0;
    if (view->row_count != 0) {
        const struct dataset_entry *last = &view->rows[view->row_count - 1];
        entries = last->first_index + last->index_count;
    }
    uint32_t *number = mem_calloc(FEATURE_VALUES, sizeof(*number));
    design->column = mem_calloc(entries + 1, sizeof(*design->column));
    design->index = mem_calloc(FEATURE_VALUES, sizeof(*design->index));
    design->unit = mem_calloc((size_t)view->row_count + 1, sizeof(*design->unit));
    design->dense =
        mem_calloc(((size_t)view->row_count + 1) * FEATURES_DENSE, sizeof(*design->dense));
    if (number == NULL || design->column == NULL || design->index == NULL || design->unit == NULL ||
        design->dense == NULL) {
        mem_free(number);
        fit_design_deinit(design);
        return ERR_NOMEM;
    }
    for (uint64_t e = 0; e < entries; e++)
        number[view->indices[e]] = 1;
    for (uint32_t value = 0; value < FEATURE_VALUES; value++)
        if (number[value] != 0) {
            design->index[design->sparse_count] = (uint16_t)value;
            number[value] = design->sparse_count++;
        }
    for (uint64_t e = 0; e < entries; e++)
        design->column[e] = number[view->indices[e]];
    mem_free(number);
    design->column_count = design->sparse_count + FEATURES_DENSE;
    for (uint32_t i = 0; i < view->row_count; i++)
        if (view->rows[i].index_count != 0)
            design->unit[i] = (float)(1 / sqrt(view->rows[i].index_count));
    if (view->row_count != 0)
        standardise(design);
    return 0;
}

void fit_design_deinit(struct fit_design *design)
{
    mem_free(design->column);
    mem_free(design->index);
    mem_free(design->unit);
    mem_free(design->dense);
    memset(design, 0, sizeof(*design));
}

void fit_lanes(const struct fit_design *design, uint32_t row, const double *params, uint32_t lanes,
               double *out_s)
{
    const struct dataset_entry *e = &design->view->rows[row];
    const uint32_t *column = design->column + e->first_index;
    const float *dense = design->dense + (size_t)row * FEATURES_DENSE;
    memset(out_s, 0, lanes * sizeof(*out_s));
    for (uint32_t j = 0; j < e->index_count; j++) {
        const double *p = params + (size_t)column[j] * lanes;
        for (uint32_t k = 0; k < lanes; k++)
            out_s[k] += p[k];
    }
    for (uint32_t k = 0; k < lanes; k++)
        out_s[k] *= (double)design->unit[row];
    for (uint32_t d = 0; d < FEATURES_DENSE; d++) {
        const double *p = params + ((size_t)design->sparse_count + d) * lanes;
        double x = (double)dense[d];
        if (x == 0)
            continue;
        for (uint32_t k = 0; k < lanes; k++)
            out_s[k] += p[k] * x;
    }
}

/* gradient += x ds' of one row. */
static void scatter(const struct fit_design *design, uint32_t row, uint32_t lanes, const double *ds,
                    double *gradient)
{
    const struct dataset_entry *e = &design->view->rows[row];
    const uint32_t *column = design->column + e->first_index;
    const float *dense = design->dense + (size_t)row * FEATURES_DENSE;
    double scaled[FIT_LANES_MAX];
    for (uint32_t k = 0; k < lanes; k++)
        scaled[k] = ds[k] * (double)design->unit[row];
    for (uint32_t j = 0; j < e->index_count; j++) {
        double *g = gradient + (size_t)column[j] * lanes;
        for (uint32_t k = 0; k < lanes; k++)
            g[k] += scaled[k];
    }
    for (uint32_t d = 0; d < FEATURES_DENSE; d++) {
        double *g = gradient + ((size_t)design->sparse_count + d) * lanes;
        double x = (double)dense[d];
        if (x == 0)
            continue;
        for (uint32_t k = 0; k < lanes; k++)
            g[k] += ds[k] * x;
    }
}

static lbfgsfloatval_t evaluate_rows(void *instance, const lbfgsfloatval_t *x, lbfgsfloatval_t *g,
                                     const int n, const lbfgsfloatval_t step)
{
    const struct fit_problem *p = instance;
    double s[FIT_LANES_MAX];
    double ds[FIT_LANES_MAX];
    double value = 0;
    (void)step;
    for (int i = 0; i < n; i++) {
        value += x[i] * x[i];
        g[i] = x[i];
    }
    value /= 2;
    for (uint32_t i = 0; i < p->row_count; i++) {
        fit_lanes(p->design, p->rows[i], x, p->lanes, s);
        value += p->loss(p->context, p->rows[i], s, ds);
        scatter(p->design, p->rows[i], p->lanes, ds, g);
    }
    return value;
}

static int on_iteration(void *instance, const lbfgsfloatval_t *x, const lbfgsfloatval_t *g,
                        const lbfgsfloatval_t value, const lbfgsfloatval_t xnorm,
                        const lbfgsfloatval_t gnorm, const lbfgsfloatval_t step, int n, int k,
                        int ls)
{
    const struct fit_problem *p = instance;
    (void)x, (void)g, (void)value, (void)xnorm, (void)gnorm, (void)step, (void)n, (void)k, (void)ls;
    return p->keep_going == NULL || p->keep_going(p->keep_going_data) ? 0 : 1;
}

/* What the line search gives up on is at worst a point that no longer improves: good enough. */
static int from_lbfgs(int status)
{
    if (status == LBFGSERR_OUTOFMEMORY)
        return ERR_NOMEM;
    if (status == LBFGS_SUCCESS || status == LBFGS_STOP || status == LBFGS_ALREADY_MINIMIZED ||
        status == LBFGSERR_MAXIMUMITERATION || status == LBFGSERR_ROUNDING_ERROR ||
        status == LBFGSERR_MAXIMUMLINESEARCH || status == LBFGSERR_MINIMUMSTEP ||
        status == LBFGSERR_MAXIMUMSTEP || status == LBFGSERR_WIDTHTOOSMALL)
        return 0;
    return status > 0 ? ERR_CANCELED : ERR_INTERNAL;
}

static void default_parameters(lbfgs_parameter_t *parameters, uint32_t iterations)
{
    lbfgs_parameter_init(parameters);
    parameters->m = 6;
    parameters->epsilon = LBFGS_EPSILON;
    parameters->past = LBFGS_PAST;
    parameters->delta = LBFGS_DELTA;
    parameters->max_iterations = (int)iterations;
}

/* Runs the solver on a copy of io_x padded to what liblbfgs wants. */
static int run_lbfgs(size_t count, lbfgs_evaluate_t evaluate, lbfgs_progress_t progress,
                     void *instance, uint32_t iterations, double *io_x)
{
    size_t padded = (count + LBFGS_MULTIPLE - 1) / LBFGS_MULTIPLE * LBFGS_MULTIPLE;
    lbfgs_parameter_t parameters;
    if (padded > INT32_MAX)
        return ERR_LIMIT;
    double *x = mem_calloc(padded, sizeof(*x));
    if (x == NULL)
        return ERR_NOMEM;
    memcpy(x, io_x, count * sizeof(*x));
    default_parameters(&parameters, iterations);
    int rc = from_lbfgs(lbfgs((int)padded, x, NULL, evaluate, progress, instance, &parameters));
    if (rc == 0)
        memcpy(io_x, x, count * sizeof(*x));
    mem_free(x);
    return rc;
}

int fit_minimise(const struct fit_problem *problem, double *io_params)
{
    struct fit_problem copy = *problem;
    return run_lbfgs((size_t)problem->design->column_count * problem->lanes, evaluate_rows,
                     on_iteration, &copy, problem->iterations, io_params);
}

struct dense_problem {
    fit_dense_fn evaluate;
    const void *context;
    uint32_t count;
};

static lbfgsfloatval_t evaluate_dense(void *instance, const lbfgsfloatval_t *x, lbfgsfloatval_t *g,
                                      const int n, const lbfgsfloatval_t step)
{
    const struct dense_problem *p = instance;
    (void)step;
    memset(g + p->count, 0, ((size_t)n - p->count) * sizeof(*g));
    return p->evaluate(p->context, x, g);
}

int fit_minimise_dense(uint32_t count, fit_dense_fn evaluate, const void *context,
                       uint32_t iterations, double *io_x)
{
    struct dense_problem problem = {.evaluate = evaluate, .context = context, .count = count};
    return run_lbfgs(count, evaluate_dense, NULL, &problem, iterations, io_x);
}
