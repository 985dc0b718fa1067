#include "controlplane/learn/quantise.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/base/mem.h"

#define INDEX_COUNT   (1U << FEATURES_INDEX_BITS)
#define LOG2E         1.4426950408889634
#define Q16           65536.0
#define DENSE_UNITS   (Q16 / 256) /* Of D without shift, for one unit of score by unit of x. */
/* |x| < 128, so this much in a lane is 3/4 of ARTIFACT_SCORE_MAX and fits int16 without shift. */
#define DENSE_SUM_MAX 96.0

/* One group of lanes in real units: w(column, lane) is what the column adds to the score. */
struct group {
    const struct fit_design *design;
    const double *params; /* NULL: all zero. */
    uint32_t stride;      /* Lanes in params. */
    uint32_t first;       /* First own lane in params; lane 0 is shared if first is 1. */
    uint32_t lanes;
    double shared_scale;
    double own_scale;
};

static double group_weight(const struct group *g, uint32_t column, uint32_t lane)
{
    if (g->params == NULL)
        return 0;
    const double *p = g->params + (size_t)column * g->stride;
    return (g->first == 0 ? 0 : p[0] * g->shared_scale) + p[g->first + lane] * g->own_scale;
}

static int16_t to_i16(double x)
{
    double r = nearbyint(x);
    return (int16_t)(r < -32767 ? -32767 : r > 32767 ? 32767 : r);
}

static int32_t to_i32(double x)
{
    double r = nearbyint(x);
    return (int32_t)(r < -(double)ARTIFACT_SCORE_MAX  ? -(double)ARTIFACT_SCORE_MAX
                     : r > (double)ARTIFACT_SCORE_MAX ? (double)ARTIFACT_SCORE_MAX
                                                      : r);
}

/* Largest shift up to `most` for which `largest` units fit into int16. */
static uint8_t find_shift(double largest, unsigned most)
{
    unsigned shift = most;
    while (shift > 0 && ldexp(largest, (int)shift) > 32767)
        shift--;
    return (uint8_t)shift;
}

/* score_q16 = sum(W) * 2^15/sqrt(n) >> shift, so one unit of W is 2^(15 - shift) / sqrt(n). */
static uint8_t put_sparse(const struct group *g, int16_t *out)
{
    double largest = 0;
    for (uint32_t c = 0; c < g->design->sparse_count; c++)
        for (uint32_t lane = 0; lane < g->lanes; lane++) {
            double w = fabs(group_weight(g, c, lane)) * Q16 / 32768;
            largest = w > largest ? w : largest;
        }
    uint8_t shift = find_shift(largest, ARTIFACT_SHIFT_MAX);
    for (uint32_t c = 0; c < g->design->sparse_count; c++)
        for (uint32_t lane = 0; lane < g->lanes; lane++)
            out[(size_t)g->design->index[c] * g->lanes + lane] =
                to_i16(ldexp(group_weight(g, c, lane) * Q16 / 32768, shift));
    return shift;
}

/* What a column of a lane adds to its score by unit of x, such that no lane leaves the range of
 * scores. A lane that would is weakened as a whole: cutting its largest weights alone would turn
 * the direction it looks in. */
static double dense_weight(const struct group *g, uint32_t d, uint32_t lane, double lane_sum)
{
    double w = group_weight(g, g->design->sparse_count + d, lane) * g->design->scale[d];
    return lane_sum > DENSE_SUM_MAX ? w * (DENSE_SUM_MAX / lane_sum) : w;
}

/* score_q16 = sum_d(D * x_q8 >> shift). The means of the standardised columns go to the bias, by
 * the weights that are written: a mean is many spreads wide, so a weight that was rounded would
 * else move every row. */
static uint8_t put_dense(const struct group *g, int16_t *out, double *io_bias)
{
    double sum[FIT_LANES_MAX] = {0};
    double largest = 0;
    for (uint32_t d = 0; d < FEATURES_DENSE; d++)
        for (uint32_t lane = 0; lane < g->lanes; lane++)
            sum[lane] += fabs(dense_weight(g, d, lane, 0));
    for (uint32_t d = 0; d < FEATURES_DENSE; d++)
        for (uint32_t lane = 0; lane < g->lanes; lane++)
            largest = fmax(largest, fabs(dense_weight(g, d, lane, sum[lane])) * DENSE_UNITS);
    uint8_t shift = find_shift(largest, ARTIFACT_DENSE_SHIFT_MAX);
    for (uint32_t d = 0; d < FEATURES_DENSE; d++)
        for (uint32_t lane = 0; lane < g->lanes; lane++) {
            double w = dense_weight(g, d, lane, sum[lane]);
            int16_t *to = &out[(size_t)d * g->lanes + lane];
            *to = to_i16(ldexp(w * DENSE_UNITS, shift));
            io_bias[lane] -= ldexp(*to, -(int)shift) / DENSE_UNITS * g->design->mean[d];
        }
    return shift;
}

static void put_bias(const double *bias, uint32_t count, int32_t *out)
{
    for (uint32_t i = 0; i < count; i++)
        out[i] = to_i32(bias[i] * Q16);
}

static void fill_quality(const struct heads *h, const struct fit_design *design,
                         struct quantised *q, int16_t *weights, int16_t *dense, int32_t *bias)
{
    double real[ARTIFACT_MODELS_MAX] = {0};
    struct group g = {
        .design = design,
        .params = h->gain > 0 ? h->quality_params : NULL,
        .stride = h->model_count + 1,
        .first = 1,
        .lanes = h->model_count,
        .shared_scale = h->gain / sqrt(h->shared_penalty),
        .own_scale = h->gain / sqrt(h->delta_penalty),
    };
    for (uint32_t m = 0; h->group_count == 0 && m < h->model_count; m++)
        real[m] = h->quality_table[m];
    q->spec.scale.quality_shift = put_sparse(&g, weights);
    q->spec.scale.quality_dense_shift = put_dense(&g, dense, real);
    put_bias(real, h->model_count, bias);
    q->spec.quality = weights;
    q->spec.quality_dense = dense;
    q->spec.quality_bias = bias;
}

static void fill_length(const struct heads *h, const struct fit_design *design, struct quantised *q,
                        int16_t *weights, int16_t *dense, int32_t *bias)
{
    double real[ARTIFACT_MODELS_MAX] = {0};
    struct group g = {
        .design = design,
        .params = h->length_params,
        .stride = h->model_count + 1,
        .first = 1,
        .lanes = h->model_count,
        .shared_scale = LOG2E / sqrt(HEADS_LENGTH_SHARED_PENALTY),
        .own_scale = LOG2E / sqrt(HEADS_LENGTH_DELTA_PENALTY),
    };
    for (uint32_t m = 0; h->group_count == 0 && m < h->model_count; m++)
        real[m] = h->length_table[m] * LOG2E;
    q->spec.scale.length_shift = put_sparse(&g, weights);
    q->spec.scale.length_dense_shift = put_dense(&g, dense, real);
    put_bias(real, h->model_count, bias);
    q->spec.length = weights;
    q->spec.length_dense = dense;
    q->spec.length_bias = bias;
}

static void fill_task(const struct heads *h, const struct fit_design *design, struct quantised *q,
                      int16_t *weights, int16_t *dense, int32_t *bias)
{
    double real[ARTIFACT_TASKS_MAX] = {0};
    size_t cells = (size_t)h->group_count * h->model_count;
    struct group g = {
        .design = design,
        .params = h->task_params,
        .stride = h->group_count,
        .lanes = h->group_count,
        .own_scale = LOG2E / sqrt(HEADS_TASK_PENALTY),
    };
    q->spec.scale.task_shift = put_sparse(&g, weights);
    q->spec.scale.task_dense_shift = put_dense(&g, dense, real);
    put_bias(real, h->group_count, bias);
    int32_t *quality = bias + h->group_count;
    int32_t *length = quality + cells;
    for (size_t i = 0; i < cells; i++) {
        quality[i] = to_i32(h->quality_table[i] * Q16);
        length[i] = to_i32(h->length_table[i] * LOG2E * Q16);
    }
    q->spec.task = weights;
    q->spec.task_dense = dense;
    q->spec.task_bias = bias;
    q->spec.task_quality = quality;
    q->spec.task_length = length;
}

/* A merged group is called after its most frequent task, "law" or "law+3" for four tasks. */
static void name_groups(const struct heads *h, const struct dataset_view *view, struct quantised *q)
{
    for (uint32_t g = 0; g < h->group_count; g++) {
        struct str name = str_slice(view->tasks[h->group_task[g]], 0, ARTIFACT_NAME_BYTES_MAX - 8);
        if (h->group_size[g] > 1)
            (void)snprintf(q->task_names[g], sizeof(q->task_names[g]), "%.*s+%u", STR_ARG(name),
                           h->group_size[g] - 1);
        else
            (void)snprintf(q->task_names[g], sizeof(q->task_names[g]), "%.*s", STR_ARG(name));
        q->tasks[g] = str_from(q->task_names[g]);
    }
}

int quantise_heads(const struct heads *heads, const struct fit_design *design,
                   const struct str *models, struct quantised *out)
{
    const uint32_t m = heads->model_count;
    const uint32_t t = heads->group_count;
    memset(out, 0, sizeof(*out));
    out->weights = mem_calloc((size_t)INDEX_COUNT * (2 * m + t), sizeof(*out->weights));
    out->dense = mem_calloc((size_t)FEATURES_DENSE * (2 * m + t), sizeof(*out->dense));
    out->biases = mem_calloc(2 * m + t + 2 * (size_t)m * t, sizeof(*out->biases));
    if (out->weights == NULL || out->dense == NULL || out->biases == NULL) {
        quantise_deinit(out);
        return ERR_NOMEM;
    }
    for (uint32_t i = 0; i < m; i++) {
        out->models[i] = models[i];
        artifact_calib_logistic(&out->calib[i]);
    }
    out->spec = (struct artifact_spec){
        .meta = {.generation = 1, .feature_spec = FEATURES_SPEC},
        .index_bits = FEATURES_INDEX_BITS,
        .model_count = m,
        .task_count = t,
        .models = out->models,
        .tasks = out->tasks,
        .calib = out->calib,
    };
    size_t lane_bytes = (size_t)INDEX_COUNT * m;
    size_t dense = (size_t)FEATURES_DENSE * m;
    fill_quality(heads, design, out, out->weights, out->dense, out->biases);
    fill_length(heads, design, out, out->weights + lane_bytes, out->dense + dense, out->biases + m);
    if (t != 0)
        fill_task(heads, design, out, out->weights + 2 * lane_bytes, out->dense + 2 * dense,
                  out->biases + 2 * m);
    name_groups(heads, design->view, out);
    return 0;
}

void quantise_deinit(struct quantised *q)
{
    mem_free(q->weights);
    mem_free(q->dense);
    mem_free(q->biases);
    memset(q, 0, sizeof(*q));
}

int quantise_decode(const struct quantised *q, struct artifact **out_artifact, struct err *err)
{
    struct buf file;
    enum artifact_reason reason;
    buf_init(&file, ARTIFACT_BYTES_MAX);
    int rc = artifact_encode(&q->spec, &file, err);
    if (rc == 0)
        rc = artifact_decode(buf_str(&file), out_artifact, &reason, err);
    buf_deinit(&file);
    return rc;
}
