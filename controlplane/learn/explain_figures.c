/* The figures of explain_version.h: factors by model, the estimates of cost and quality, and how
 * they are joined. */
#include <math.h>

#include "common/base/mem.h"
#include "controlplane/learn/explain_rows.h"

#define PSEUDO_CALLS 5.0 /* Of factor 1, so that three calls do not say too much. */
#define CALLS_ENOUGH 100 /* From so many routed calls on, named ones are not asked. */
#define Z95          1.959964
#define BY_CHANCE    2 /* Standard errors that two estimates of one thing may be apart. */

static void add_squares(struct call_sums *io, const struct call_sums *more)
{
    io->actual_squares += more->actual_squares;
    for (int side = 0; side < SIDES; side++) {
        io->expected_squares[side] += more->expected_squares[side];
        io->products[side] += more->products[side];
    }
}

void explain_set_factors(struct explain_version *x, struct explain_version_result *out)
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
double explain_row_cost(const struct explain_version *x, const struct row *row, int side,
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
        out.direct = explain_row_cost(x, row, side, &out.model);
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

struct told {
    double value;
    double error; /* Standard. */
};

/* Two estimates of one thing, by their errors. What lies between them beyond so many errors as
 * chance explains is doubt in `other` (random effects). The error of both holds how far they are
 * apart: which of them is right is not known either. */
static struct told join(struct told sure, struct told other, double chance)
{
    double gap = other.value - sure.value;
    double variance = sure.error * sure.error + other.error * other.error;
    double between = fmax(gap * gap - chance * chance * variance, 0);
    if (!(variance > 0))
        return sure;
    double trust = sure.error * sure.error / (variance + between);
    double apart = trust * (1 - trust) * gap * gap;
    return (struct told){sure.value + trust * gap,
                         sqrt(sure.error * sure.error * (1 - trust) + apart)};
}

static void move(struct estimate_value *io, double by)
{
    io->value += by;
    io->low += by;
    io->high += by;
}

static void widen(struct estimate_value *io, double error)
{
    io->low = io->value - hypot(io->value - io->low, Z95 * error);
    io->high = io->value + hypot(io->high - io->value, Z95 * error);
}

/* The version's word, and what requests that chose alike say of it: the word is uncertain by as
 * much as the calls behind it leave open, and where nobody chose alike it stays so. */
static struct estimate_value cost_of(const struct explain_version *x, int side,
                                     const struct estimate *e, double overlap)
{
    struct estimate_value out = e->of[ESTIMATE_DM];
    double open = out.value * calls_error(x, side);
    struct told said = {e->of[ESTIMATE_DR].value - out.value, e->correction_error};
    struct told both = {0, open};
    if (e->ess > 0 && isfinite(e->correction_error))
        both = join(said, both, 1);
    move(&out, both.value);
    widen(&out, sqrt(overlap * both.error * both.error + (1 - overlap) * open * open));
    return out;
}

/* Of `then`: see the header. */
static void correct_learned(const struct explain_version *x, bool cost, struct estimate_value *io)
{
    double part = (double)x->learned / x->row_count;
    if (!cost) {
        move(io, -part * x->training.quality_excess);
        return;
    }
    double factor = 1 + part * (x->training.cost_ratio - 1);
    io->value *= factor;
    io->low *= factor;
    io->high *= factor;
    widen(io, part * io->value * x->training.ratio_error);
}

/* What training measured is an estimate too, of rows that the version had not learned from then.
 * Exploration and lambda may have changed since: what they do to the version's word they do to it.
 */
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
        word += explain_row_cost(x, row, THEN, &served);
        greedy += row->greedy_cost * x->factor[THEN][row->best[THEN]];
    }
    double known = t->cost * (greedy > 0 ? word / greedy : 1);
    struct told rows = {io->value, (io->high - io->low) / (2 * Z95)};
    struct told both = join(rows, (struct told){known, known * t->error}, BY_CHANCE);
    io->value = both.value;
    io->low = both.value - Z95 * both.error;
    io->high = both.value + Z95 * both.error;
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
    out->of = cost ? cost_of(x, side, &e, overlap) : e.of[e.trusted];
    out->direct = e.of[ESTIMATE_DM];
    out->corrected = e.of[ESTIMATE_DR];
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

int explain_fill_figures(const struct explain_version *x, uint32_t bootstraps,
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
