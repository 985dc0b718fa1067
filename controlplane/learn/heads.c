#include "controlplane/learn/heads.h"

#include <math.h>
#include <string.h>

#include "common/base/mem.h"
#include "controlplane/learn/groups.h"

#define ITERATIONS_TASK    100
#define ITERATIONS_QUALITY 100
#define ITERATIONS_LENGTH  60
#define LN_TOKENS_MAX      14.0

double heads_logit(double q)
{
    double p = q < 0.005 ? 0.005 : q > 0.995 ? 0.995 : q;
    return log(p / (1 - p));
}

double heads_logistic(double z)
{
    return 1 / (1 + exp(-z));
}

static double softplus(double z)
{
    return z > 0 ? z + log1p(exp(-z)) : log1p(exp(z));
}

/* What the loss functions of the residual fits share. */
struct context {
    const struct dataset_view *view;
    const struct heads *heads;
    const float *group_p; /* [row][group] of rows without a task label; NULL: all have one. */
    double shared_scale;
    double delta_scale;
    double omega_scale;
    double mean_out[ARTIFACT_MODELS_MAX];
};

/* Table value of a training row: at its own group, or mixed by the classifier. */
static double offset(const struct context *c, const double *table, uint32_t row, uint32_t model)
{
    const struct heads *h = c->heads;
    const struct dataset_entry *e = &c->view->rows[row];
    if (h->group_count == 0)
        return table[model];
    int32_t group = e->task >= 0 ? h->group_of[e->task] : DATASET_NO_TASK;
    if (group >= 0)
        return table[(size_t)group * h->model_count + model];
    double sum = 0;
    for (uint32_t g = 0; g < h->group_count; g++)
        sum += (double)c->group_p[(size_t)row * h->group_count + g] *
               table[(size_t)g * h->model_count + model];
    return sum;
}

static double quality_loss(const void *context, uint32_t row, const double *s, double *ds)
{
    const struct context *c = context;
    const struct dataset_entry *e = &c->view->rows[row];
    double omega = (double)e->omega * c->omega_scale;
    double loss = 0;
    memset(ds, 0, (c->heads->model_count + 1) * sizeof(*ds));
    for (uint32_t i = 0; i < e->label_count; i++) {
        const struct dataset_cell *label = &c->view->labels[e->first_label + i];
        if (isnan(label->score))
            continue;
        uint32_t m = label->model;
        double z = offset(c, c->heads->quality_table, row, m) + s[0] * c->shared_scale +
                   s[m + 1] * c->delta_scale;
        double error = heads_logistic(z) - (double)label->score;
        loss += omega * (softplus(z) - (double)label->score * z);
        ds[0] += omega * error * c->shared_scale;
        ds[m + 1] = omega * error * c->delta_scale;
    }
    return loss;
}

/* Quasi-Poisson: counts in units of the model's mean, so that one row weighs about one. */
static double length_loss(const void *context, uint32_t row, const double *s, double *ds)
{
    const struct context *c = context;
    const struct dataset_entry *e = &c->view->rows[row];
    double omega = (double)e->omega * c->omega_scale;
    double loss = 0;
    memset(ds, 0, (c->heads->model_count + 1) * sizeof(*ds));
    for (uint32_t i = 0; i < e->label_count; i++) {
        const struct dataset_cell *label = &c->view->labels[e->first_label + i];
        uint32_t m = label->model;
        if (isnan(label->out_tok) || !(c->mean_out[m] > 0))
            continue;
        double l = offset(c, c->heads->length_table, row, m) + s[0] * c->shared_scale +
                   s[m + 1] * c->delta_scale;
        double mean = exp(l < LN_TOKENS_MAX ? l : LN_TOKENS_MAX);
        double weight = omega / c->mean_out[m];
        double error = mean - (double)label->out_tok;
        loss += weight * (l < LN_TOKENS_MAX ? mean : mean * (1 + l - LN_TOKENS_MAX)) -
                weight * (double)label->out_tok * l;
        ds[0] += weight * error * c->shared_scale;
        ds[m + 1] = weight * error * c->delta_scale;
    }
    return loss;
}

static void softmax(const double *s, uint32_t count, double scale, double *out_p)
{
    double top = s[0];
    double sum = 0;
    for (uint32_t k = 1; k < count; k++)
        top = s[k] > top ? s[k] : top;
    for (uint32_t k = 0; k < count; k++) {
        out_p[k] = exp((s[k] - top) * scale);
        sum += out_p[k];
    }
    for (uint32_t k = 0; k < count; k++)
        out_p[k] /= sum;
}

static double task_scale(void)
{
    return 1 / sqrt(HEADS_TASK_PENALTY);
}

static double task_loss(const void *context, uint32_t row, const double *s, double *ds)
{
    const struct context *c = context;
    const struct dataset_entry *e = &c->view->rows[row];
    uint32_t groups = c->heads->group_count;
    int32_t group = e->task >= 0 ? c->heads->group_of[e->task] : DATASET_NO_TASK;
    if (group < 0) {
        memset(ds, 0, groups * sizeof(*ds));
        return 0;
    }
    softmax(s, groups, task_scale(), ds);
    double p = ds[group] > 1e-300 ? ds[group] : 1e-300;
    for (uint32_t k = 0; k < groups; k++)
        ds[k] = (ds[k] - (k == (uint32_t)group)) * task_scale();
    return -log(p);
}

/* Weights count relative to each other: rows all drawn with propensity 1/10 are no more evidence
 * than as many rows of weight 1 (Kish's effective size). */
static double find_omega_scale(const struct heads_input *input)
{
    double sum = 0;
    double squares = 0;
    for (uint32_t i = 0; i < input->row_count; i++) {
        double omega = (double)input->design->view->rows[input->rows[i]].omega;
        sum += omega;
        squares += omega * omega;
    }
    return squares > 0 ? sum / squares : 1;
}

static void find_mean_out(const struct heads_input *input, double *out_mean)
{
    const struct dataset_view *v = input->design->view;
    double weight[ARTIFACT_MODELS_MAX] = {0};
    memset(out_mean, 0, ARTIFACT_MODELS_MAX * sizeof(*out_mean));
    for (uint32_t i = 0; i < input->row_count; i++) {
        const struct dataset_entry *e = &v->rows[input->rows[i]];
        for (uint32_t k = 0; k < e->label_count; k++) {
            const struct dataset_cell *l = &v->labels[e->first_label + k];
            if (isnan(l->out_tok))
                continue;
            out_mean[l->model] += (double)e->omega * (double)l->out_tok;
            weight[l->model] += (double)e->omega;
        }
    }
    for (uint32_t m = 0; m < v->model_count; m++)
        out_mean[m] = weight[m] > 0 ? out_mean[m] / weight[m] : 0;
}

static void predict_groups(const struct heads *h, const struct fit_design *design, uint32_t row,
                           double *out_p)
{
    double s[FIT_LANES_MAX];
    fit_lanes(design, row, h->task_params, h->group_count, s);
    softmax(s, h->group_count, task_scale(), out_p);
}

/* Mixes for the rows that have no task label; *out_p stays NULL when there is none. */
static int mix_unlabelled(const struct heads_input *input, const struct heads *h, float **out_p)
{
    const struct dataset_view *v = input->design->view;
    double p[FIT_LANES_MAX];
    *out_p = NULL;
    for (uint32_t i = 0; h->group_count != 0 && i < input->row_count; i++) {
        uint32_t row = input->rows[i];
        if (v->rows[row].task >= 0 && h->group_of[v->rows[row].task] >= 0)
            continue;
        if (*out_p == NULL)
            *out_p = mem_calloc((size_t)v->row_count * h->group_count, sizeof(**out_p));
        if (*out_p == NULL)
            return ERR_NOMEM;
        predict_groups(h, input->design, row, p);
        for (uint32_t g = 0; g < h->group_count; g++)
            (*out_p)[(size_t)row * h->group_count + g] = (float)p[g];
    }
    return 0;
}

static struct fit_problem problem_of(const struct heads_input *input, uint32_t lanes,
                                     fit_loss_fn loss, const struct context *c, uint32_t iterations)
{
    return (struct fit_problem){
        .design = input->design,
        .rows = input->rows,
        .row_count = input->row_count,
        .lanes = lanes,
        .loss = loss,
        .context = c,
        .iterations = iterations,
        .keep_going = input->keep_going,
        .keep_going_data = input->keep_going_data,
    };
}

static int fit_task(const struct heads_input *input, struct heads *h)
{
    if (h->group_count == 0)
        return 0;
    h->task_params =
        mem_calloc((size_t)input->design->column_count * h->group_count, sizeof(*h->task_params));
    if (h->task_params == NULL)
        return ERR_NOMEM;
    struct context c = {.view = input->design->view, .heads = h};
    struct fit_problem p = problem_of(input, h->group_count, task_loss, &c, ITERATIONS_TASK);
    return fit_minimise(&p, h->task_params);
}

static int fit_length(const struct heads_input *input, struct heads *h)
{
    struct context c = {
        .view = input->design->view,
        .heads = h,
        .shared_scale = 1 / sqrt(HEADS_LENGTH_SHARED_PENALTY),
        .delta_scale = 1 / sqrt(HEADS_LENGTH_DELTA_PENALTY),
        .omega_scale = find_omega_scale(input),
    };
    float *group_p = NULL;
    find_mean_out(input, c.mean_out);
    int rc = mix_unlabelled(input, h, &group_p);
    if (rc == 0) {
        c.group_p = group_p;
        struct fit_problem p =
            problem_of(input, h->model_count + 1, length_loss, &c, ITERATIONS_LENGTH);
        rc = fit_minimise(&p, h->length_params);
    }
    mem_free(group_p);
    return rc;
}

int heads_fit_quality(const struct heads_input *input, double shared_penalty, double delta_penalty,
                      struct heads *heads)
{
    struct context c = {
        .view = input->design->view,
        .heads = heads,
        .shared_scale = 1 / sqrt(shared_penalty),
        .delta_scale = 1 / sqrt(delta_penalty),
        .omega_scale = find_omega_scale(input),
    };
    float *group_p = NULL;
    int rc = mix_unlabelled(input, heads, &group_p);
    if (rc == 0) {
        c.group_p = group_p;
        struct fit_problem p =
            problem_of(input, heads->model_count + 1, quality_loss, &c, ITERATIONS_QUALITY);
        rc = fit_minimise(&p, heads->quality_params);
    }
    if (rc == 0) {
        heads->shared_penalty = shared_penalty;
        heads->delta_penalty = delta_penalty;
    }
    mem_free(group_p);
    return rc;
}

int heads_fit_base(const struct heads_input *input, struct heads *out_heads)
{
    struct heads h = {
        .model_count = input->design->view->model_count,
        .shared_penalty = 1,
        .delta_penalty = 1,
        .gain = 1,
    };
    size_t params = (size_t)input->design->column_count * (h.model_count + 1);
    int rc = groups_build(input, find_omega_scale(input), &h);
    if (rc == 0) {
        h.quality_params = mem_calloc(params, sizeof(*h.quality_params));
        h.length_params = mem_calloc(params, sizeof(*h.length_params));
        rc = h.quality_params == NULL || h.length_params == NULL ? ERR_NOMEM : 0;
    }
    if (rc == 0)
        rc = fit_task(input, &h);
    if (rc == 0)
        rc = fit_length(input, &h);
    if (rc == 0) {
        *out_heads = h;
        return 0;
    }
    heads_deinit(&h);
    return rc;
}

void heads_deinit(struct heads *heads)
{
    mem_free(heads->group_of);
    mem_free(heads->quality_table);
    mem_free(heads->length_table);
    mem_free(heads->task_params);
    mem_free(heads->quality_params);
    mem_free(heads->length_params);
    memset(heads, 0, sizeof(*heads));
}

void heads_predict(const struct heads *heads, const struct fit_design *design, uint32_t row,
                   double *out_table, double *out_linear, double *out_length)
{
    double p[FIT_LANES_MAX] = {1};
    double s[FIT_LANES_MAX];
    uint32_t groups = heads->group_count == 0 ? 1 : heads->group_count;
    uint32_t models = heads->model_count;
    if (heads->group_count != 0)
        predict_groups(heads, design, row, p);
    memset(out_table, 0, models * sizeof(*out_table));
    memset(out_length, 0, models * sizeof(*out_length));
    for (uint32_t g = 0; g < groups; g++)
        for (uint32_t m = 0; m < models; m++) {
            out_table[m] += p[g] * heads->quality_table[(size_t)g * models + m];
            out_length[m] += p[g] * heads->length_table[(size_t)g * models + m];
        }
    fit_lanes(design, row, heads->quality_params, models + 1, s);
    for (uint32_t m = 0; m < models; m++)
        out_linear[m] = s[0] / sqrt(heads->shared_penalty) + s[m + 1] / sqrt(heads->delta_penalty);
    fit_lanes(design, row, heads->length_params, models + 1, s);
    for (uint32_t m = 0; m < models; m++)
        out_length[m] +=
            s[0] / sqrt(HEADS_LENGTH_SHARED_PENALTY) + s[m + 1] / sqrt(HEADS_LENGTH_DELTA_PENALTY);
}
