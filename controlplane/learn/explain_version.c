#include "controlplane/learn/explain_version.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "controlplane/learn/explain_rows.h"

#define WEIGHT_MAX 20.0 /* Of one call in k(m). */

int explain_version_create(bool now_recorded, struct explain_version **out)
{
    struct explain_version *x = mem_zalloc(sizeof(*x));
    if (x == NULL)
        return ERR_NOMEM;
    x->now_recorded = now_recorded;
    x->training.cost_ratio = 1;
    *out = x;
    return 0;
}

static void free_names(struct str *names, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        mem_free((char *)(uintptr_t)names[i].data);
}

void explain_version_destroy(struct explain_version *x)
{
    if (x == NULL)
        return;
    free_names(x->models, x->model_count);
    free_names(x->tasks, x->task_count);
    mem_free(x->rows);
    mem_free(x->arms);
    mem_free(x);
}

/* --- adding --------------------------------------------------------------------------------------
 */

static uint32_t find_name(const struct str *names, uint32_t count, struct str name)
{
    uint32_t i = 0;
    while (i < count && !str_eq(names[i], name))
        i++;
    return i;
}

static int add_name(struct str *names, uint32_t *io_count, struct str name)
{
    char *copy = mem_alloc(name.len + 1);
    if (copy == NULL)
        return ERR_NOMEM;
    memcpy(copy, name.data, name.len);
    copy[name.len] = '\0';
    names[(*io_count)++] = (struct str){.data = copy, .len = name.len};
    return 0;
}

static int find_model(struct explain_version *x, struct str name, uint32_t *out_model)
{
    *out_model = find_name(x->models, x->model_count, name);
    if (*out_model < x->model_count)
        return 0;
    if (x->model_count == EXPLAIN_VERSION_MODELS)
        return ERR_LIMIT;
    return add_name(x->models, &x->model_count, name);
}

/* The last index stands for rows without a tag and for tags beyond the table. */
static int find_task(struct explain_version *x, struct str name, uint32_t *out_task)
{
    *out_task = EXPLAIN_VERSION_TASKS;
    if (name.len == 0)
        return 0;
    uint32_t at = find_name(x->tasks, x->task_count, name);
    if (at == EXPLAIN_VERSION_TASKS)
        return 0;
    *out_task = at;
    return at < x->task_count ? 0 : add_name(x->tasks, &x->task_count, name);
}

static int make_room(struct explain_version *x, uint32_t arms)
{
    if (x->row_count == x->row_room) {
        uint32_t room = x->row_room == 0 ? 256 : x->row_room * 2;
        struct row *rows = mem_realloc(x->rows, room * sizeof(*rows));
        if (rows == NULL)
            return ERR_NOMEM;
        x->rows = rows;
        x->row_room = room;
    }
    if (x->arm_count + arms > x->arm_room) {
        uint64_t room = x->arm_room == 0 ? 4096 : x->arm_room * 2;
        struct arm *all = mem_realloc(x->arms, room * sizeof(*all));
        if (all == NULL)
            return ERR_NOMEM;
        x->arms = all;
        x->arm_room = room;
    }
    return 0;
}

static const struct explain_version_side *side_of(const struct explain_version_row *row, int side)
{
    return side == NOW ? &row->now : &row->then;
}

static double known(double cost)
{
    return isnan(cost) ? 0 : cost;
}

static void fill_side(const struct explain_version_row *in, int side, struct row *out,
                      struct arm *arms)
{
    const struct explain_version_side *s = side_of(in, side);
    uint32_t best = 0;
    for (uint32_t i = 0; i < in->arms; i++) {
        arms[i].p[side] = (float)s->p[i];
        arms[i].cost[side] = (float)known(s->cost[i]);
        out->quality[side] += s->p[i] * s->quality[i];
        out->overlap[side] += in->recorded_p[i] > 0 ? s->p[i] : 0;
        best = s->p[i] > s->p[best] ? i : best;
    }
    out->best[side] = arms[best].model;
    if (side == THEN)
        out->greedy_cost = (double)arms[best].cost[side];
    if (in->served < in->arms)
        out->served_quality[side] = s->quality[in->served];
}

static void add_call(struct call_sums *sums, double weight, double cost, const double expected[2])
{
    sums->actual += weight * cost;
    sums->actual_squares += weight * cost * weight * cost;
    for (int s = 0; s < SIDES; s++) {
        sums->expected[s] += weight * expected[s];
        sums->expected_squares[s] += weight * expected[s] * weight * expected[s];
        sums->products[s] += weight * cost * weight * expected[s];
    }
    sums->weights += weight;
    sums->count++;
}

static bool row_valid(const struct explain_version_row *row)
{
    if (row->arms == 0 || row->arms > EXPLAIN_VERSION_MODELS ||
        !(row->label_prob > 0 && row->label_prob <= 1))
        return false;
    if (!row->evidence)
        return true;
    return row->served < row->arms && row->recorded_p[row->served] > 0 &&
           row->recorded_p[row->served] <= 1;
}

int explain_version_add(struct explain_version *x, const struct explain_version_row *in)
{
    struct row row = {.unit = in->unit,
                      .first_arm = x->arm_count,
                      .arms = in->arms,
                      .served = in->served,
                      .evidence = in->evidence,
                      .cost = in->cost,
                      .score = in->score,
                      .label_prob = in->label_prob,
                      .propensity = 1};
    if (!row_valid(in))
        return ERR_INVALID;
    if (x->row_count == EXPLAIN_VERSION_ROWS_MAX)
        return ERR_LIMIT;
    int rc = make_room(x, in->arms);
    if (rc == 0)
        rc = find_task(x, in->task, &row.task);
    for (uint32_t i = 0; rc == 0 && i < in->arms; i++) {
        uint32_t model;
        rc = find_model(x, in->models[i], &model);
        x->arms[x->arm_count + i] = (struct arm){.model = (uint8_t)model};
    }
    if (rc != 0)
        return rc;
    struct arm *arms = x->arms + x->arm_count;
    fill_side(in, NOW, &row, arms);
    fill_side(in, THEN, &row, arms);
    if (in->evidence) {
        row.propensity = in->recorded_p[in->served];
        double expected[SIDES] = {known(in->now.cost[in->served]),
                                  known(in->then.cost[in->served])};
        if (!isnan(in->cost))
            add_call(&x->routed[arms[in->served].model], fmin(1 / row.propensity, WEIGHT_MAX),
                     in->cost, expected);
    }
    x->learned += in->learned;
    x->rows[x->row_count++] = row;
    x->arm_count += in->arms;
    return 0;
}

void explain_version_trained(struct explain_version *x,
                             const struct explain_version_training *training)
{
    const struct explain_version_training *t = training;
    if (isfinite(t->cost_ratio) && t->cost_ratio > 0)
        x->training.cost_ratio = t->cost_ratio;
    if (isfinite(t->quality_excess))
        x->training.quality_excess = t->quality_excess;
    if (isfinite(t->ratio_error) && t->ratio_error > 0)
        x->training.ratio_error = t->ratio_error;
    if (t->cost > 0 && t->error > 0 && isfinite(t->error)) {
        x->training.cost = t->cost;
        x->training.error = t->error;
    }
}

void explain_version_call(struct explain_version *x, struct str model, double cost,
                          double expected_now, double expected_then)
{
    uint32_t m = find_name(x->models, x->model_count, model);
    double expected[SIDES] = {expected_now, expected_then};
    if (m < x->model_count && isfinite(cost) && isfinite(expected_now) && isfinite(expected_then))
        add_call(&x->named[m], 1, cost, expected);
}

/* --- shares, flows, tasks ------------------------------------------------------------------------
 */

static int by_share(const void *a, const void *b)
{
    const struct explain_version_flow *x = a;
    const struct explain_version_flow *y = b;
    return x->share > y->share ? -1 : x->share < y->share;
}

static int fill_flows(const struct explain_version *x, struct explain_version_result *out)
{
    uint32_t n = x->model_count;
    uint32_t used = 0;
    struct explain_version_flow *all = mem_calloc((size_t)n * n, sizeof(*all));
    if (all == NULL)
        return ERR_NOMEM;
    for (uint32_t i = 0; i < n * n; i++)
        all[i] = (struct explain_version_flow){.from = i / n, .to = i % n};
    for (uint32_t i = 0; i < x->row_count; i++) {
        const struct row *row = &x->rows[i];
        if (row->best[NOW] != row->best[THEN])
            all[row->best[NOW] * n + row->best[THEN]].share += 1.0 / x->row_count;
    }
    qsort(all, (size_t)n * n, sizeof(*all), by_share);
    while (used < n * n && used < EXPLAIN_VERSION_FLOWS && all[used].share > 0) {
        out->flow[used] = all[used];
        used++;
    }
    out->flow_count = used;
    mem_free(all);
    return 0;
}

static void fill_shares(const struct explain_version *x, struct explain_version_result *out)
{
    out->model_count = x->model_count;
    for (uint32_t i = 0; i < x->row_count; i++) {
        const struct row *row = &x->rows[i];
        out->churn += row->best[NOW] != row->best[THEN] ? 1.0 / x->row_count : 0;
        for (uint32_t k = 0; k < row->arms; k++) {
            const struct arm *arm = &x->arms[row->first_arm + k];
            out->model[arm->model].share_now += (double)arm->p[NOW] / x->row_count;
            out->model[arm->model].share_then += (double)arm->p[THEN] / x->row_count;
        }
    }
}

static int by_rows(const void *a, const void *b)
{
    const struct explain_version_task *x = a;
    const struct explain_version_task *y = b;
    return x->rows > y->rows ? -1 : x->rows < y->rows;
}

/* Per task the means of the model's word: too few rows to correct each by itself. */
static void fill_tasks(const struct explain_version *x, struct explain_version_result *out)
{
    struct explain_version_task all[EXPLAIN_VERSION_TASKS + 1] = {0};
    double served;
    for (uint32_t i = 0; i < x->row_count; i++) {
        const struct row *row = &x->rows[i];
        struct explain_version_task *t = &all[row->task];
        t->rows++;
        t->churn += row->best[NOW] != row->best[THEN];
        t->cost_now += explain_row_cost(x, row, NOW, &served);
        t->cost_then += explain_row_cost(x, row, THEN, &served);
        t->quality_now += row->quality[NOW];
        t->quality_then += row->quality[THEN];
    }
    for (uint32_t k = 0; k < EXPLAIN_VERSION_TASKS + 1; k++) {
        struct explain_version_task *t = &all[k];
        if (t->rows == 0)
            continue;
        t->name = k < x->task_count ? x->tasks[k] : (struct str){.data = "", .len = 0};
        t->churn /= t->rows;
        t->cost_now /= t->rows;
        t->cost_then /= t->rows;
        t->quality_now /= t->rows;
        t->quality_then /= t->rows;
        out->task[out->task_count++] = *t;
    }
    qsort(out->task, out->task_count, sizeof(out->task[0]), by_rows);
}

static int by_unit(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static int count_units(const struct explain_version *x, uint32_t *out_units)
{
    uint64_t *units = mem_calloc(x->row_count, sizeof(*units));
    if (units == NULL)
        return ERR_NOMEM;
    for (uint32_t i = 0; i < x->row_count; i++)
        units[i] = x->rows[i].unit;
    qsort(units, x->row_count, sizeof(*units), by_unit);
    *out_units = 0;
    for (uint32_t i = 0; i < x->row_count; i++)
        *out_units += i == 0 || units[i] != units[i - 1];
    mem_free(units);
    return 0;
}

int explain_version_finish(struct explain_version *x, uint32_t bootstraps,
                           struct explain_version_result *out)
{
    memset(out, 0, sizeof(*out));
    if (x->row_count == 0)
        return ERR_INVALID;
    out->rows = x->row_count;
    out->learned = x->learned;
    out->optimism = x->training.cost_ratio - 1;
    out->optimism_error = x->training.ratio_error;
    explain_set_factors(x, out);
    fill_shares(x, out);
    fill_tasks(x, out);
    int rc = count_units(x, &out->units);
    if (rc == 0)
        rc = fill_flows(x, out);
    return rc != 0 ? rc : explain_fill_figures(x, bootstraps, out);
}

const char *explain_version_basis_name(enum explain_version_basis basis)
{
    static const char *const names[] = {"recorded", "dr", "mixed", "model"};
    return names[basis];
}
