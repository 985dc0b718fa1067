/* Tables are small convex problems on sums: in group g and for model m the rows give a weight N and
 * a sum of labels S, and z = base + a_g + b_m + d_gm with penalties that make d smallest of all, so
 * that a cell without rows is "how hard the group is" plus "how good the model is". */
#include "controlplane/learn/groups.h"

#include <math.h>
#include <string.h>

#include "common/base/mem.h"

#define PENALTY_GROUP     0.05
#define PENALTY_MODEL     0.05 /* Of a model without a prior. */
#define PENALTY_CELL      1.0  /* About five rows. */
#define PRIOR_ROWS        50.0 /* A catalogue prior counts as this many rows (section 6.2). */
#define PRIOR_QUALITY_MIN 0.02
#define ITERATIONS        200
#define LABELLED_ROWS_MIN 20    /* Fewer rows with a task label teach no classifier. */
#define MERGE_TASKS_MAX   128   /* The most frequent ones; the others count as unlabelled. */
#define LN_TOKENS_UNKNOWN 4.852 /* ln(128): a model whose length nobody has seen. */

struct cell {
    double weight;
    double sum;
};

struct table_problem {
    const struct cell *cells; /* [groups][models] */
    const double *prior;      /* [models]: centre of b_m. */
    const double *kappa;      /* [models]: penalty of b_m - prior. */
    uint32_t groups;
    uint32_t models;
    double unit;  /* Lengths: mean tokens; labels are counted in this unit. */
    bool poisson; /* Else logistic. */
};

/* Parameters: base, a[groups], b[models], d[groups][models]. */
static double table_value(const struct table_problem *p, const double *x, uint32_t g, uint32_t m)
{
    return x[0] + x[1 + g] + x[1 + p->groups + m] +
           x[1 + p->groups + p->models + (size_t)g * p->models + m];
}

static double cell_loss(const struct table_problem *p, const struct cell *cell, double z,
                        double *out_slope)
{
    if (p->poisson) {
        double mean = exp(z < 30 ? z : 30);
        *out_slope = cell->weight * mean - cell->sum / p->unit;
        return cell->weight * mean - cell->sum / p->unit * z;
    }
    double soft = z > 0 ? z + log1p(exp(-z)) : log1p(exp(z));
    *out_slope = cell->weight * heads_logistic(z) - cell->sum;
    return cell->weight * soft - cell->sum * z;
}

static double table_loss(const void *context, const double *x, double *gradient)
{
    const struct table_problem *p = context;
    size_t b = 1 + (size_t)p->groups;
    size_t d = b + p->models;
    double value = 0.5 * 1e-4 * x[0] * x[0];
    gradient[0] = 1e-4 * x[0];
    for (uint32_t g = 0; g < p->groups; g++) {
        value += 0.5 * PENALTY_GROUP * x[1 + g] * x[1 + g];
        gradient[1 + g] = PENALTY_GROUP * x[1 + g];
    }
    for (uint32_t m = 0; m < p->models; m++) {
        double off = x[b + m] - p->prior[m];
        value += 0.5 * p->kappa[m] * off * off;
        gradient[b + m] = p->kappa[m] * off;
    }
    for (uint32_t g = 0; g < p->groups; g++)
        for (uint32_t m = 0; m < p->models; m++) {
            size_t at = (size_t)g * p->models + m;
            double slope = 0;
            value += 0.5 * PENALTY_CELL * x[d + at] * x[d + at];
            value += cell_loss(p, &p->cells[at], table_value(p, x, g, m), &slope);
            gradient[d + at] = PENALTY_CELL * x[d + at] + slope;
            gradient[0] += slope;
            gradient[1 + g] += slope;
            gradient[b + m] += slope;
        }
    return value;
}

static int solve_table(const struct table_problem *p, double *out_table)
{
    size_t count = 1 + (size_t)p->groups + p->models + (size_t)p->groups * p->models;
    double *x = mem_calloc(count, sizeof(*x));
    if (x == NULL)
        return ERR_NOMEM;
    for (uint32_t m = 0; m < p->models; m++)
        x[1 + p->groups + m] = p->prior[m];
    int rc = fit_minimise_dense((uint32_t)count, table_loss, p, ITERATIONS, x);
    for (uint32_t g = 0; rc == 0 && g < p->groups; g++)
        for (uint32_t m = 0; m < p->models; m++)
            out_table[(size_t)g * p->models + m] = table_value(p, x, g, m);
    mem_free(x);
    return rc;
}

static int solve_quality(const struct heads_input *input, const struct cell *cells, uint32_t groups,
                         double *out_table)
{
    double prior[ARTIFACT_MODELS_MAX];
    double kappa[ARTIFACT_MODELS_MAX];
    uint32_t models = input->design->view->model_count;
    for (uint32_t m = 0; m < models; m++) {
        double q = input->priors != NULL ? input->priors[m].quality : -1;
        bool known = q >= 0;
        q = q < PRIOR_QUALITY_MIN ? PRIOR_QUALITY_MIN : q > 0.98 ? 0.98 : q;
        prior[m] = known ? heads_logit(q) : 0;
        kappa[m] = known ? PRIOR_ROWS * q * (1 - q) : PENALTY_MODEL;
    }
    struct table_problem p = {
        .cells = cells, .prior = prior, .kappa = kappa, .groups = groups, .models = models};
    return solve_table(&p, out_table);
}

static int solve_length(const struct heads_input *input, const struct cell *cells, uint32_t groups,
                        double *out_table)
{
    double prior[ARTIFACT_MODELS_MAX];
    double kappa[ARTIFACT_MODELS_MAX];
    uint32_t models = input->design->view->model_count;
    double weight = 0;
    double sum = 0;
    for (size_t i = 0; i < (size_t)groups * models; i++) {
        weight += cells[i].weight;
        sum += cells[i].sum;
    }
    double unit = sum > 0 ? sum / weight : exp(LN_TOKENS_UNKNOWN);
    for (uint32_t m = 0; m < models; m++) {
        double known = input->priors != NULL ? input->priors[m].out_tok : 0;
        prior[m] = known > 0 ? log(known / unit) : 0;
        kappa[m] = known > 0 ? PRIOR_ROWS : PENALTY_MODEL;
    }
    struct table_problem p = {.cells = cells,
                              .prior = prior,
                              .kappa = kappa,
                              .groups = groups,
                              .models = models,
                              .unit = unit,
                              .poisson = true};
    int rc = solve_table(&p, out_table);
    for (size_t i = 0; rc == 0 && i < (size_t)groups * models; i++)
        out_table[i] = log(unit) + (out_table[i] > -12 ? out_table[i] : -12);
    return rc;
}

/* Sums by (group, model); group_of NULL: one group. Rows without a group are left out, unless no
 * row has one. */
static void sum_cells(const struct heads_input *input, double omega_scale, const int32_t *group_of,
                      bool length, struct cell *out_cells)
{
    const struct dataset_view *v = input->design->view;
    for (uint32_t i = 0; i < input->row_count; i++) {
        const struct dataset_entry *e = &v->rows[input->rows[i]];
        int32_t group = group_of == NULL ? 0 : e->task >= 0 ? group_of[e->task] : DATASET_NO_TASK;
        for (uint32_t k = 0; group >= 0 && k < e->label_count; k++) {
            const struct dataset_cell *label = &v->labels[e->first_label + k];
            float value = length ? label->out_tok : label->score;
            struct cell *cell = &out_cells[(size_t)group * v->model_count + label->model];
            if (isnan(value))
                continue;
            cell->weight += (double)e->omega * omega_scale;
            cell->sum += (double)e->omega * omega_scale * (double)value;
        }
    }
}

struct merge { /* A group while tasks are being merged. */
    uint64_t rows;
    uint64_t largest_rows; /* Of its most frequent task. */
    uint32_t task;
    uint32_t size;
    double mean[ARTIFACT_MODELS_MAX]; /* Expected quality by model. */
};

static double ward(const struct merge *a, const struct merge *b, uint32_t models)
{
    double distance = 0;
    for (uint32_t m = 0; m < models; m++)
        distance += (a->mean[m] - b->mean[m]) * (a->mean[m] - b->mean[m]);
    double rows = (double)a->rows + (double)b->rows;
    return distance * (double)a->rows * (double)b->rows / (rows > 0 ? rows : 1);
}

static void merge_into(struct merge *a, const struct merge *b, uint32_t models)
{
    double rows = (double)a->rows + (double)b->rows;
    for (uint32_t m = 0; m < models; m++)
        a->mean[m] = (a->mean[m] * (double)a->rows + b->mean[m] * (double)b->rows) / rows;
    if (b->largest_rows > a->largest_rows) {
        a->largest_rows = b->largest_rows;
        a->task = b->task;
    }
    a->rows += b->rows;
    a->size += b->size;
}

/* The pair to merge next: the cheapest one, or with `small` the cheapest one for that group. */
static void find_pair(const struct merge *merges, uint32_t count, uint32_t models, int64_t small,
                      uint32_t *out_a, uint32_t *out_b)
{
    double least = INFINITY;
    for (uint32_t a = 0; a < count; a++)
        for (uint32_t b = a + 1; b < count; b++) {
            if (small >= 0 && a != (uint32_t)small && b != (uint32_t)small)
                continue;
            double cost = ward(&merges[a], &merges[b], models);
            if (cost < least) {
                least = cost;
                *out_a = a;
                *out_b = b;
            }
        }
}

static int64_t find_small(const struct merge *merges, uint32_t count)
{
    int64_t found = -1;
    for (uint32_t g = 0; g < count; g++)
        if (merges[g].rows < HEADS_GROUP_ROWS_MIN &&
            (found < 0 || merges[g].rows < merges[found].rows))
            found = g;
    return found;
}

/* Merges until the groups fit into the artifact and none is tiny. group_of maps tasks to groups. */
static uint32_t merge_groups(struct merge *merges, uint32_t count, uint32_t models,
                             int32_t *group_of, uint32_t task_count)
{
    for (;;) {
        int64_t small = find_small(merges, count);
        uint32_t a = 0;
        uint32_t b = 1;
        if (count < 2 || (count <= ARTIFACT_TASKS_MAX && small < 0))
            return count;
        find_pair(merges, count, models, small, &a, &b);
        merge_into(&merges[a], &merges[b], models);
        for (uint32_t g = b; g + 1 < count; g++)
            merges[g] = merges[g + 1];
        count--;
        for (uint32_t t = 0; t < task_count; t++)
            if (group_of[t] == (int32_t)b)
                group_of[t] = (int32_t)a;
            else if (group_of[t] > (int32_t)b)
                group_of[t]--;
    }
}

/* One group per task that occurs, the most frequent ones first when there are too many. */
static uint32_t start_groups(const uint64_t *rows, uint32_t task_count, struct merge *merges,
                             int32_t *group_of)
{
    uint64_t least = 1;
    uint32_t above = UINT32_MAX;
    while (above > MERGE_TASKS_MAX) { /* Raises the bar until few enough tasks pass it. */
        above = 0;
        uint64_t next = UINT64_MAX;
        for (uint32_t t = 0; t < task_count; t++)
            if (rows[t] >= least) {
                above++;
                next = rows[t] < next ? rows[t] : next;
            }
        least = above > MERGE_TASKS_MAX ? next + 1 : least;
    }
    uint32_t count = 0;
    for (uint32_t t = 0; t < task_count; t++) {
        group_of[t] = DATASET_NO_TASK;
        if (rows[t] < least)
            continue;
        merges[count] =
            (struct merge){.rows = rows[t], .largest_rows = rows[t], .task = t, .size = 1};
        group_of[t] = (int32_t)count++;
    }
    return count;
}

struct scratch {
    uint64_t *rows;       /* By task. */
    struct merge *merges; /* [MERGE_TASKS_MAX] */
    struct cell *cells;   /* [MERGE_TASKS_MAX][models] */
    double *table;
};

static int group_tasks(const struct heads_input *input, double omega_scale, struct scratch *s,
                       struct heads *h)
{
    const struct dataset_view *v = input->design->view;
    uint64_t labelled = 0;
    for (uint32_t i = 0; i < input->row_count; i++) {
        int32_t task = v->rows[input->rows[i]].task;
        if (task >= 0) {
            s->rows[task]++;
            labelled++;
        }
    }
    if (labelled < LABELLED_ROWS_MIN)
        return 0;
    uint32_t count = start_groups(s->rows, v->task_count, s->merges, h->group_of);
    if (count < 2)
        return 0;
    sum_cells(input, omega_scale, h->group_of, false, s->cells);
    int rc = solve_quality(input, s->cells, count, s->table);
    if (rc != 0)
        return rc;
    for (uint32_t g = 0; g < count; g++)
        for (uint32_t m = 0; m < v->model_count; m++)
            s->merges[g].mean[m] = heads_logistic(s->table[(size_t)g * v->model_count + m]);
    count = merge_groups(s->merges, count, v->model_count, h->group_of, v->task_count);
    if (count < 2)
        return 0;
    h->group_count = count;
    for (uint32_t g = 0; g < count; g++) {
        h->group_task[g] = s->merges[g].task;
        h->group_size[g] = s->merges[g].size;
    }
    return 0;
}

static int fill_tables(const struct heads_input *input, double omega_scale, struct scratch *s,
                       struct heads *h)
{
    uint32_t groups = h->group_count == 0 ? 1 : h->group_count;
    const int32_t *group_of = h->group_count == 0 ? NULL : h->group_of;
    size_t cells = (size_t)groups * h->model_count;
    h->quality_table = mem_calloc(cells, sizeof(*h->quality_table));
    h->length_table = mem_calloc(cells, sizeof(*h->length_table));
    if (h->quality_table == NULL || h->length_table == NULL)
        return ERR_NOMEM;
    memset(s->cells, 0, cells * sizeof(*s->cells));
    sum_cells(input, omega_scale, group_of, false, s->cells);
    int rc = solve_quality(input, s->cells, groups, h->quality_table);
    if (rc != 0)
        return rc;
    memset(s->cells, 0, cells * sizeof(*s->cells));
    sum_cells(input, omega_scale, group_of, true, s->cells);
    return solve_length(input, s->cells, groups, h->length_table);
}

int groups_build(const struct heads_input *input, double omega_scale, struct heads *io_heads)
{
    const struct dataset_view *v = input->design->view;
    size_t cells = (size_t)MERGE_TASKS_MAX * v->model_count;
    struct scratch s = {
        .rows = mem_calloc((size_t)v->task_count + 1, sizeof(*s.rows)),
        .merges = mem_calloc(MERGE_TASKS_MAX, sizeof(*s.merges)),
        .cells = mem_calloc(cells, sizeof(*s.cells)),
        .table = mem_calloc(cells, sizeof(*s.table)),
    };
    int rc = ERR_NOMEM;
    io_heads->group_of = mem_calloc((size_t)v->task_count + 1, sizeof(*io_heads->group_of));
    if (s.rows == NULL || s.merges == NULL || s.cells == NULL || s.table == NULL ||
        io_heads->group_of == NULL)
        goto out;
    rc = group_tasks(input, omega_scale, &s, io_heads);
    if (rc == 0)
        rc = fill_tables(input, omega_scale, &s, io_heads);
out:
    mem_free(s.rows);
    mem_free(s.merges);
    mem_free(s.cells);
    mem_free(s.table);
    return rc;
}
