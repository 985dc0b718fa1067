#include "controlplane/learn/explain_version.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"

#define WEIGHT_MAX   20.0 /* Of one call in k(m). */
#define PSEUDO_CALLS 5.0  /* Of factor 1, so that three calls do not say too much. */
#define Z95          1.959964
#define CALLS_ENOUGH 100 /* From so many routed calls on, named ones are not asked. */

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
    if (t->cost > 0 && t->rows_error > 0 && isfinite(t->rows_error) && t->calls_error >= 0 &&
        isfinite(t->calls_error)) {
        x->training.cost = t->cost;
        x->training.rows_error = t->rows_error;
        x->training.calls_error = t->calls_error;
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

/* --- figures -------------------------------------------------------------------------------------
 */

static void add_squares(struct call_sums *io, const struct call_sums *more)
{
    io->actual_squares += more->actual_squares;
    for (int side = 0; side < SIDES; side++) {
        io->expected_squares[side] += more->expected_squares[side];
        io->products[side] += more->products[side];
    }
}

static void set_factors(struct explain_version *x, struct explain_version_result *out)
{
    for (uint32_t m = 0; m < x->model_count; m++) {
        struct call_sums s = x->routed[m];
        if (s.count < CALLS_ENOUGH) {
            s.actual += x->named[m].actual;
            s.weights += x->named[m].weights;
            s.count += x->named[m].count;
            for (int side = 0; side < SIDES; side++)
                s.expected[side] += x->named[m].expected[side];
            add_squares(&s, &x->named[m]);
        }
        x->calls[m] = s;
        out->model[m].name = x->models[m];
        out->model[m].calls = s.count;
        for (int side = 0; side < SIDES; side++) {
            double more = s.weights > 0 ? PSEUDO_CALLS * s.expected[side] / s.weights : 0;
            double below = s.expected[side] + more;
            x->factor[side][m] = below > 0 ? (s.actual + more) / below : 1;
        }
        out->model[m].factor = x->factor[THEN][m];
    }
}

/* Expected cost of a row under a policy, corrected by model; and of the arm that served. */
static double row_cost(const struct explain_version *x, const struct row *row, int side,
                       double *out_served)
{
    const struct arm *arms = x->arms + row->first_arm;
    double sum = 0;
    *out_served = 0;
    for (uint32_t i = 0; i < row->arms; i++) {
        double cost = x->factor[side][arms[i].model] * (double)arms[i].cost[side];
        sum += (double)arms[i].p[side] * cost;
        if (i == row->served)
            *out_served = cost;
    }
    return sum;
}

/* Standard error of mean cost under a policy that comes from how little calls say of their cost, as
 * a part of it. How calls of all models scatter counts for each: those of a model that was cheap by
 * luck scatter least. */
static double calls_error(const struct explain_version *x, int side)
{
    double spend[EXPLAIN_VERSION_MODELS] = {0};
    double residuals = 0;
    double squares = 0;
    double all = 0;
    double sum = 0;
    for (uint32_t i = 0; i < x->row_count; i++)
        for (uint32_t k = 0; k < x->rows[i].arms; k++) {
            const struct arm *arm = &x->arms[x->rows[i].first_arm + k];
            double cost = x->factor[side][arm->model] * (double)arm->cost[side];
            spend[arm->model] += (double)arm->p[side] * cost;
            all += (double)arm->p[side] * cost;
        }
    for (uint32_t m = 0; m < x->model_count; m++) {
        const struct call_sums *c = &x->calls[m];
        double k = x->factor[side][m];
        residuals +=
            c->actual_squares - 2 * k * c->products[side] + k * k * c->expected_squares[side];
        squares += k * k * c->expected_squares[side];
    }
    for (uint32_t m = 0; m < x->model_count && squares > 0 && all > 0; m++) {
        const struct call_sums *c = &x->calls[m];
        double scatter = fmax(residuals, 0) / squares;
        if (c->expected[side] > 0)
            sum += spend[m] / all * (spend[m] / all) * scatter * c->expected_squares[side] /
                   (c->expected[side] * c->expected[side]);
    }
    return sqrt(sum);
}

static struct estimate_row off_policy_row(const struct explain_version *x, const struct row *row,
                                          int side, bool cost)
{
    struct estimate_row out = {
        .unit = row->unit, .propensity = row->propensity, .label_prob = cost ? 1 : row->label_prob};
    double value = cost ? row->cost : row->score;
    if (cost) {
        out.direct = row_cost(x, row, side, &out.model);
    } else {
        out.direct = row->quality[side];
        out.model = row->served_quality[side];
    }
    out.labelled = row->evidence && !isnan(value);
    if (!out.labelled)
        return out;
    out.reward = value;
    out.target = (double)x->arms[row->first_arm + row->served].p[side];
    return out;
}

static enum explain_version_basis basis_of(const struct estimate *e, double overlap)
{
    if (!e->support)
        return EXPLAIN_MODEL;
    return overlap >= EXPLAIN_VERSION_OVERLAP ? EXPLAIN_DR : EXPLAIN_MIXED;
}

/* Of `then`: see the header. */
static void correct_learned(const struct explain_version *x, bool cost, struct estimate_value *io)
{
    double part = (double)x->learned / x->row_count;
    double factor = cost ? 1 + part * (x->training.cost_ratio - 1) : 1;
    double less = cost ? 0 : part * x->training.quality_excess;
    io->value = io->value * factor - less;
    io->low = io->low * factor - less;
    io->high = io->high * factor - less;
}

static void widen(struct estimate_value *io, double half)
{
    io->low = io->value - hypot(io->value - io->low, half);
    io->high = io->value + hypot(io->high - io->value, half);
}

/* The estimate from the rows and the one from training, by their errors; what is between them
 * beyond these is doubt in the latter. Exploration and lambda may have changed since: what they do
 * to the version's word they do to what training measured. */
static void join_training(const struct explain_version *x, struct estimate_value *io)
{
    const struct explain_version_training *t = &x->training;
    double greedy = 0;
    double word = 0;
    double served;
    if (!(t->cost > 0) || x->learned == x->row_count)
        return;
    for (uint32_t i = 0; i < x->row_count; i++) {
        const struct row *row = &x->rows[i];
        word += row_cost(x, row, THEN, &served);
        greedy += row->greedy_cost * x->factor[THEN][row->best[THEN]];
    }
    double known = t->cost * (greedy > 0 ? word / greedy : 1);
    double error = known * hypot(t->rows_error, t->calls_error);
    double own = (io->high - io->low) / (2 * Z95);
    double gap = known - io->value;
    double between = fmax(gap * gap - error * error - own * own, 0);
    if (!(own > 0))
        return;
    double trust = own * own / (own * own + error * error + between);
    double half = Z95 * own * sqrt(1 - trust);
    io->value += trust * gap;
    io->low = io->value - half;
    io->high = io->value + half;
}

static int estimate_side(const struct explain_version *x, int side, bool cost, uint32_t bootstraps,
                         struct estimate_row *rows, struct explain_version_figure *out)
{
    struct estimate_options options;
    struct estimate e;
    double overlap = 0;
    estimate_options_init(&options);
    options.bootstraps = bootstraps;
    if (cost)
        options.reward_low = options.reward_high = 0;
    for (uint32_t i = 0; i < x->row_count; i++) {
        rows[i] = off_policy_row(x, &x->rows[i], side, cost);
        overlap += x->rows[i].overlap[side] / x->row_count;
    }
    int rc = estimate_policy(rows, x->row_count, &options, &e);
    if (rc != 0)
        return rc;
    out->basis = basis_of(&e, overlap);
    out->of = e.of[e.trusted];
    out->direct = e.of[ESTIMATE_DM];
    out->corrected = e.of[ESTIMATE_DR];
    if (cost && e.trusted == ESTIMATE_DM)
        widen(&out->of, Z95 * out->of.value * calls_error(x, side));
    if (side == THEN)
        correct_learned(x, cost, &out->of);
    if (side == THEN && cost)
        join_training(x, &out->of);
    out->ess = e.ess;
    out->weight_share = e.weight_share;
    out->overlap = overlap;
    out->rows = e.labelled;
    return 0;
}

/* Mean of what was; scores as often as their kind was asked for. */
static int measure_now(const struct explain_version *x, bool cost, uint32_t bootstraps,
                       struct estimate_row *rows, struct explain_version_figure *out)
{
    struct estimate_options options;
    struct estimate e;
    uint32_t count = 0;
    estimate_options_init(&options);
    options.bootstraps = bootstraps;
    options.reward_low = options.reward_high = 0;
    for (uint32_t i = 0; i < x->row_count; i++) {
        double value = cost ? x->rows[i].cost : x->rows[i].score;
        if (!isnan(value))
            rows[count++] = (struct estimate_row){.unit = x->rows[i].unit,
                                                  .propensity = 1,
                                                  .label_prob = cost ? 1 : x->rows[i].label_prob,
                                                  .labelled = true,
                                                  .reward = value,
                                                  .target = 1};
    }
    *out = (struct explain_version_figure){.basis = EXPLAIN_RECORDED,
                                           .of = {NAN, NAN, NAN},
                                           .ess = count,
                                           .weight_share = 1,
                                           .overlap = 1,
                                           .rows = count};
    int rc = count == 0 ? 0 : estimate_policy(rows, count, &options, &e);
    if (rc == 0 && count != 0) {
        out->of = e.of[ESTIMATE_SNIPS];
        out->ess = e.ess;
        out->weight_share = e.weight_share;
    }
    return rc;
}

static int fill_figures(const struct explain_version *x, uint32_t bootstraps,
                        struct explain_version_result *out)
{
    struct estimate_row *rows = mem_calloc(x->row_count, sizeof(*rows));
    if (rows == NULL)
        return ERR_NOMEM;
    int rc = estimate_side(x, THEN, true, bootstraps, rows, &out->cost_then);
    if (rc == 0)
        rc = estimate_side(x, THEN, false, bootstraps, rows, &out->quality_then);
    if (rc == 0)
        rc = x->now_recorded ? measure_now(x, true, bootstraps, rows, &out->cost_now)
                             : estimate_side(x, NOW, true, bootstraps, rows, &out->cost_now);
    if (rc == 0)
        rc = x->now_recorded ? measure_now(x, false, bootstraps, rows, &out->quality_now)
                             : estimate_side(x, NOW, false, bootstraps, rows, &out->quality_now);
    mem_free(rows);
    return rc;
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
        t->cost_now += row_cost(x, row, NOW, &served);
        t->cost_then += row_cost(x, row, THEN, &served);
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
    set_factors(x, out);
    fill_shares(x, out);
    fill_tasks(x, out);
    int rc = count_units(x, &out->units);
    if (rc == 0)
        rc = fill_flows(x, out);
    return rc != 0 ? rc : fill_figures(x, bootstraps, out);
}

const char *explain_version_basis_name(enum explain_version_basis basis)
{
    static const char *const names[] = {"recorded", "dr", "mixed", "model"};
    return names[basis];
}
