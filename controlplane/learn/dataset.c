#include "controlplane/learn/dataset.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "common/base/hash.h"
#include "common/base/map.h"
#include "common/base/mem.h"

#define HALF_LIFE_DAYS 14.0

struct dataset {
    struct dataset_entry *rows;
    double *priority; /* Of each row: weight / u, see sample_down(). */
    uint16_t *indices;
    struct dataset_cell *labels;
    struct str *tasks;
    struct map task_by_name; /* name -> position + 1 */
    struct str *models;
    uint64_t row_cap, index_cap, label_cap;
    uint64_t index_count, label_count;
    uint64_t seen;
    double threshold; /* tau of the priority sample; 0: nothing was left out yet. */
    uint32_t row_count, task_count, task_cap, model_count, rows_max, observed;
};

static int copy_str(struct str s, struct str *out)
{
    char *copy = mem_strndup(s.len != 0 ? s.data : "", s.len);
    if (copy == NULL)
        return ERR_NOMEM;
    *out = (struct str){.data = copy, .len = s.len};
    return 0;
}

int dataset_create(const struct str *models, uint32_t model_count, uint32_t rows_max,
                   struct dataset **out_dataset, struct err *err)
{
    if (model_count == 0 || model_count > ARTIFACT_MODELS_MAX)
        return err_set(err, ERR_INVALID, "%u models: 1 to %d are possible", model_count,
                       ARTIFACT_MODELS_MAX);
    for (uint32_t m = 0; m < model_count; m++) {
        if (models[m].len == 0 || models[m].len > ARTIFACT_NAME_BYTES_MAX)
            return err_set(err, ERR_INVALID, "model %u has no name or one above %d bytes", m,
                           ARTIFACT_NAME_BYTES_MAX);
        for (uint32_t other = 0; other < m; other++)
            if (str_eq(models[m], models[other]))
                return err_set(err, ERR_INVALID, "model '%.*s' is listed twice",
                               STR_ARG(models[m]));
    }
    struct dataset *d = mem_zalloc(sizeof(*d));
    if (d == NULL)
        return err_set(err, ERR_NOMEM, "out of memory");
    map_init(&d->task_by_name);
    d->rows_max = rows_max == 0 || rows_max > DATASET_ROWS_MAX ? DATASET_ROWS_MAX : rows_max;
    d->models = mem_calloc(model_count, sizeof(*d->models));
    if (d->models == NULL)
        goto nomem;
    for (uint32_t m = 0; m < model_count; m++) {
        if (copy_str(models[m], &d->models[m]) != 0)
            goto nomem;
        d->model_count = m + 1;
    }
    *out_dataset = d;
    return 0;
nomem:
    dataset_destroy(d);
    return err_set(err, ERR_NOMEM, "out of memory");
}

void dataset_destroy(struct dataset *d)
{
    if (d == NULL)
        return;
    for (uint32_t t = 0; t < d->task_count; t++)
        mem_free((void *)(uintptr_t)d->tasks[t].data);
    for (uint32_t m = 0; m < d->model_count; m++)
        mem_free((void *)(uintptr_t)d->models[m].data);
    map_deinit(&d->task_by_name);
    mem_free(d->tasks);
    mem_free(d->models);
    mem_free(d->rows);
    mem_free(d->priority);
    mem_free(d->indices);
    mem_free(d->labels);
    mem_free(d);
}

static bool in_unit(double x)
{
    return x > 0 && x <= 1; /* False for NaN. */
}

static bool usable(double x)
{
    return isnan(x) || (isfinite(x) && x >= 0);
}

static int check_row(const struct dataset *d, const struct dataset_row *row, struct err *err)
{
    if (!in_unit(row->weight) || !in_unit(row->propensity) || !in_unit(row->label_prob))
        return err_set(err, ERR_INVALID,
                       "weight, propensity and label probability must be above 0 and at most 1");
    if (!isfinite(row->age_days))
        return err_set(err, ERR_INVALID, "age is not a finite number");
    if (row->label_count == 0 || row->label_count > d->model_count)
        return err_set(err, ERR_INVALID, "%u labels for %u models", row->label_count,
                       d->model_count);
    if (row->features->n > FEATURES_SPARSE_MAX)
        return err_set(err, ERR_INVALID, "more than %d features", FEATURES_SPARSE_MAX);
    uint64_t labelled = 0;
    for (uint32_t i = 0; i < row->label_count; i++) {
        const struct dataset_label *l = &row->labels[i];
        if (l->model >= d->model_count)
            return err_set(err, ERR_INVALID, "label for model %u of %u", l->model, d->model_count);
        if ((labelled >> l->model & 1) != 0)
            return err_set(err, ERR_INVALID, "model %u is labelled twice", l->model);
        labelled |= UINT64_C(1) << l->model;
        if (!usable(l->score) || l->score > 1)
            return err_set(err, ERR_INVALID, "score %g is not within 0..1", l->score);
        if (!usable(l->out_tok) || l->out_tok > 1e9 || !usable(l->cost_usd) || l->cost_usd > 1e9)
            return err_set(err, ERR_INVALID, "tokens or cost negative or out of range");
    }
    return 0;
}

/* Makes room for `extra` more of what *io_array holds `count` of. */
static int grow(void **io_array, uint64_t *io_cap, uint64_t count, uint64_t extra, size_t size)
{
    if (count + extra <= *io_cap)
        return 0;
    uint64_t cap = *io_cap + *io_cap / 2;
    if (cap < count + extra)
        cap = count + extra + 64;
    void *grown = mem_realloc(*io_array, cap * size);
    if (grown == NULL)
        return ERR_NOMEM;
    *io_array = grown;
    *io_cap = cap;
    return 0;
}

static int grow_all(struct dataset *d, const struct dataset_row *row)
{
    uint64_t cap = d->row_cap;
    int rc = grow((void **)&d->priority, &cap, d->row_count, 1, sizeof(*d->priority));
    if (rc == 0)
        rc = grow((void **)&d->rows, &d->row_cap, d->row_count, 1, sizeof(*d->rows));
    if (rc == 0)
        rc = grow((void **)&d->indices, &d->index_cap, d->index_count, row->features->n,
                  sizeof(*d->indices));
    if (rc == 0)
        rc = grow((void **)&d->labels, &d->label_cap, d->label_count, row->label_count,
                  sizeof(*d->labels));
    return rc;
}

/* Position of a task name, adding it when there is room. */
static int task_intern(struct dataset *d, struct str name, int32_t *out_task)
{
    *out_task = DATASET_NO_TASK;
    if (name.len == 0 || name.len > ARTIFACT_NAME_BYTES_MAX)
        return 0;
    uintptr_t known = (uintptr_t)map_get(&d->task_by_name, name);
    if (known != 0) {
        *out_task = (int32_t)(known - 1);
        return 0;
    }
    if (d->task_count == DATASET_TASKS_MAX)
        return 0;
    uint64_t cap = d->task_cap;
    struct str copy = STR_NULL;
    if (grow((void **)&d->tasks, &cap, d->task_count, 1, sizeof(*d->tasks)) != 0)
        return ERR_NOMEM;
    d->task_cap = (uint32_t)cap;
    if (copy_str(name, &copy) != 0)
        return ERR_NOMEM;
    if (map_put(&d->task_by_name, copy, (void *)(uintptr_t)(d->task_count + 1), NULL) != 0) {
        mem_free((void *)(uintptr_t)copy.data);
        return ERR_NOMEM;
    }
    *out_task = (int32_t)d->task_count;
    d->tasks[d->task_count++] = copy;
    return 0;
}

/* The k-th smallest of n values, reordering them (Hoare's selection). */
static double select_kth(double *x, uint32_t n, uint32_t k)
{
    uint32_t lo = 0;
    uint32_t hi = n - 1;
    while (lo < hi) {
        double pivot = x[lo + (hi - lo) / 2];
        uint32_t i = lo;
        uint32_t j = hi;
        for (;;) {
            while (x[i] < pivot)
                i++;
            while (x[j] > pivot)
                j--;
            if (i >= j)
                break;
            double swap = x[i];
            x[i++] = x[j];
            x[j--] = swap;
        }
        if (k <= j)
            hi = j;
        else
            lo = j + 1;
    }
    return x[k];
}

/* Priority sampling: row i has priority omega_i / u_i; those above tau stay and count as
 * max(1, tau / omega_i). Half of the rows go at a time, so that the cost per row stays constant. */
static int sample_down(struct dataset *d)
{
    double *copy = mem_calloc(d->row_count, sizeof(*copy));
    if (copy == NULL)
        return ERR_NOMEM;
    memcpy(copy, d->priority, d->row_count * sizeof(*copy));
    d->threshold = select_kth(copy, d->row_count, d->row_count / 2);
    mem_free(copy);
    uint32_t kept = 0;
    uint64_t indices = 0;
    uint64_t labels = 0;
    d->observed = 0;
    for (uint32_t i = 0; i < d->row_count; i++) {
        struct dataset_entry row = d->rows[i];
        if (!(d->priority[i] > d->threshold))
            continue;
        memmove(d->indices + indices, d->indices + row.first_index,
                row.index_count * sizeof(*d->indices));
        memmove(d->labels + labels, d->labels + row.first_label,
                row.label_count * sizeof(*d->labels));
        row.first_index = indices;
        row.first_label = labels;
        indices += row.index_count;
        labels += row.label_count;
        d->observed += row.label_count == 1;
        d->priority[kept] = d->priority[i];
        d->rows[kept++] = row;
    }
    d->row_count = kept;
    d->index_count = indices;
    d->label_count = labels;
    return 0;
}

static double row_omega(const struct dataset_row *row)
{
    double age = row->age_days > 0 ? row->age_days : 0;
    double inverse = row->label_count > 1 ? 1 : 1 / row->propensity;
    if (inverse > 1 / DATASET_PROPENSITY_MIN)
        inverse = 1 / DATASET_PROPENSITY_MIN;
    double omega = row->weight * exp2(-age / HALF_LIFE_DAYS) * inverse / row->label_prob;
    return omega < 1e-6 ? 1e-6 : omega > DATASET_WEIGHT_MAX ? DATASET_WEIGHT_MAX : omega;
}

/* Uniform in (0, 1], from the position alone. */
static double position_draw(uint64_t position)
{
    static const struct siphash_key key = {.k0 = 0x73616d706c65, .k1 = 1};
    return (double)((siphash_1_3(key, &position, sizeof(position)) >> 11) + 1) * 0x1p-53;
}

static void store_row(struct dataset *d, const struct dataset_row *row, int32_t task, double omega)
{
    struct dataset_entry *e = &d->rows[d->row_count++];
    *e = (struct dataset_entry){
        .unit = row->unit,
        .cluster = row->cluster != 0 ? row->cluster : row->unit,
        .first_index = d->index_count,
        .first_label = d->label_count,
        .index_count = row->features->n,
        .seen = row->seen,
        .label_count = (uint16_t)row->label_count,
        .in_tok = row->in_tok,
        .task = task,
        .omega = (float)omega,
        .propensity = (float)(row->label_count > 1 ? 1 : row->propensity),
        .ipw = (float)(row->label_count > 1 ? 1 : 1 / (row->propensity * row->label_prob)),
        .sample = 1,
    };
    memcpy(e->dense, row->features->dense, sizeof(e->dense));
    memcpy(d->indices + d->index_count, row->features->index,
           row->features->n * sizeof(*d->indices));
    d->index_count += row->features->n;
    for (uint32_t i = 0; i < row->label_count; i++)
        d->labels[d->label_count++] = (struct dataset_cell){
            .model = row->labels[i].model,
            .score = (float)row->labels[i].score,
            .out_tok = (float)row->labels[i].out_tok,
            .cost_usd = (float)row->labels[i].cost_usd,
        };
    d->observed += row->label_count == 1;
}

int dataset_add(struct dataset *d, const struct dataset_row *row, struct err *err)
{
    int rc = check_row(d, row, err);
    if (rc != 0)
        return rc;
    double omega = row_omega(row);
    double priority = omega / position_draw(d->seen);
    int32_t task = DATASET_NO_TASK;
    if (d->threshold > 0 && !(priority > d->threshold)) {
        d->seen++;
        return 0;
    }
    if (d->row_count == d->rows_max) {
        rc = sample_down(d);
        if (rc != 0)
            return err_set(err, rc, "out of memory");
        if (!(priority > d->threshold)) {
            d->seen++;
            return 0;
        }
    }
    rc = grow_all(d, row);
    if (rc == 0)
        rc = task_intern(d, row->task, &task);
    if (rc != 0)
        return err_set(err, rc, "out of memory");
    d->priority[d->row_count] = priority;
    store_row(d, row, task, omega);
    d->seen++;
    return 0;
}

uint32_t dataset_rows(const struct dataset *d)
{
    return d->row_count;
}

uint64_t dataset_seen(const struct dataset *d)
{
    return d->seen;
}

uint32_t dataset_models(const struct dataset *d)
{
    return d->model_count;
}

struct str dataset_model(const struct dataset *d, uint32_t ordinal)
{
    assert(ordinal < d->model_count);
    return d->models[ordinal];
}

int dataset_digest(const struct dataset *d, struct sha256 *out_digest)
{
    struct digest_stream *s = digest_stream_create();
    if (s == NULL)
        return ERR_NOMEM;
    for (uint32_t m = 0; m < d->model_count; m++)
        digest_stream_update(s, d->models[m].data, d->models[m].len + 1);
    for (uint32_t i = 0; i < d->row_count; i++) {
        const struct dataset_entry *e = &d->rows[i];
        uint64_t head[5] = {e->unit, e->cluster, e->index_count, e->label_count, e->in_tok};
        float weights[3] = {e->omega, e->ipw, e->sample};
        digest_stream_update(s, head, sizeof(head));
        digest_stream_update(s, weights, sizeof(weights));
        digest_stream_update(s, e->dense, sizeof(e->dense));
        digest_stream_update(s, d->indices + e->first_index, e->index_count * sizeof(*d->indices));
        digest_stream_update(s, d->labels + e->first_label, e->label_count * sizeof(*d->labels));
        if (e->task >= 0)
            digest_stream_update(s, d->tasks[e->task].data, d->tasks[e->task].len + 1);
    }
    *out_digest = digest_stream_final(s);
    return 0;
}

void dataset_view(const struct dataset *d, struct dataset_view *out_view)
{
    /* A sampled row stands for tau / omega rows like it. Set here: tau may still rise. */
    for (uint32_t i = 0; d->threshold > 0 && i < d->row_count; i++) {
        double stands_for = d->threshold / (double)d->rows[i].omega;
        d->rows[i].sample = (float)(stands_for > 1 ? stands_for : 1);
    }
    *out_view = (struct dataset_view){
        .rows = d->rows,
        .indices = d->indices,
        .labels = d->labels,
        .tasks = d->tasks,
        .row_count = d->row_count,
        .task_count = d->task_count,
        .model_count = d->model_count,
        .observed = d->model_count > 1 ? d->observed : 0,
    };
}

void dataset_features(const struct dataset_view *v, uint32_t row, struct features *out_features)
{
    assert(row < v->row_count);
    const struct dataset_entry *e = &v->rows[row];
    memset(out_features, 0, sizeof(*out_features));
    out_features->n = e->index_count;
    memcpy(out_features->index, v->indices + e->first_index,
           e->index_count * sizeof(*out_features->index));
    memcpy(out_features->dense, e->dense, sizeof(e->dense));
}
