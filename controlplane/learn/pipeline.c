/* The usual path of learn_run: prepare (design, prices) -> crossfit_run -> calibrate -> sweep ->
 * choose lambda -> measure -> fit on all rows -> encode with self-test vectors -> gates -> report.
 * It ends early when the caller cancels, memory runs out, the rows cannot teach anything, or the
 * target is out of reach (then with a report, so that a person sees what is possible). */
#include "controlplane/learn/pipeline.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/route/price.h"
#include "controlplane/learn/run.h"

#define STEPS_AFTER_FITS 7    /* Three calibrations, evaluate, two final fits, finish. */
#define ECE_MAX          0.05 /* Beyond what so few labels show by chance. */
#define REGRET_MAX       0.005
#define FINAL_GAP_MAX    0.02 /* Of the best model's quality. */
#define FINAL_NOISE      2    /* Standard errors; where outcomes are estimates. */
#define ROUNDING_MAX     0.05 /* Logits, on average. */
#define NANO_PER_USD     1e9
#define REPORT_BYTES_MAX (16U << 20)

void learn_options_init(struct learn_options *options)
{
    memset(options, 0, sizeof(*options));
    options->target = (struct learn_target){.kind = LEARN_TARGET_QUALITY, .value = 0.95};
    options->confidence = 0.9;
    options->generation = 1;
}

int learn_target_parse(struct str text, struct learn_target *out_target, struct err *err)
{
    static const struct {
        const char *name;
        enum learn_target_kind kind;
        double most; /* 0: any. */
    } kinds[] = {
        {"quality", LEARN_TARGET_QUALITY, 2},
        {"quality_floor", LEARN_TARGET_FLOOR, 1},
        {"save", LEARN_TARGET_SAVE, 1},
        {"spend", LEARN_TARGET_SPEND, 0},
    };
    struct str name;
    struct str value;
    int64_t fixed = 0;
    bool cut = str_cut(text, '=', &name, &value);
    bool percent = cut && str_ends(value, STR("%"));
    if (percent)
        value.len--;
    for (size_t k = 0; cut && k < sizeof(kinds) / sizeof(kinds[0]); k++) {
        if (!str_is(name, kinds[k].name))
            continue;
        if (str_parse_fixed(value, 9, &fixed) != 0 || fixed <= 0)
            break;
        double number = (double)fixed / NANO_PER_USD / (percent ? 100 : 1);
        if (kinds[k].most > 0 && number > kinds[k].most)
            break;
        *out_target = (struct learn_target){.kind = kinds[k].kind, .value = number};
        return 0;
    }
    return err_set(err, ERR_INVALID,
                   "target '%.*s' is not one of quality=0.95, quality_floor=0.85, save=60%%, "
                   "spend=0.002",
                   STR_ARG(text));
}

bool run_report_progress(void *data)
{
    const struct run *run = data;
    struct learn_progress progress = {.phase = run->phase, .done = run->done, .total = run->steps};
    return run->options->on_progress == NULL ||
           run->options->on_progress(&progress, run->options->on_progress_data);
}

static bool on_step(void *data)
{
    struct run *run = data;
    bool go_on = run_report_progress(run);
    run->done++;
    return go_on;
}

int run_enter(struct run *run, const char *phase)
{
    run->phase = phase;
    return on_step(run) ? 0 : ERR_CANCELED;
}

/* z with P(N(0,1) > z) = 1 - confidence (Acklam's rational approximation is more than a bound on a
 * bound needs: Newton's method on erfc does). */
static double normal_quantile(double confidence)
{
    double z = 0;
    for (int i = 0; i < 60; i++) {
        double p = 0.5 * erfc(-z * M_SQRT1_2);
        double density = exp(-z * z / 2) / sqrt(2 * M_PI);
        double step = (p - confidence) / density;
        z -= fmin(fmax(step, -0.5), 0.5);
    }
    return z;
}

static int check_input(const struct run *run, struct err *err)
{
    const struct learn_options *o = run->options;
    uint64_t scored = 0;
    if (!(o->confidence >= 0.5 && o->confidence <= 0.999))
        return err_set(err, ERR_INVALID, "confidence %g is not within 0.5..0.999", o->confidence);
    if (!(isfinite(o->target.value) && o->target.value > 0))
        return err_set(err, ERR_INVALID, "the target is not a positive number");
    for (uint32_t i = 0; i < run->view.row_count; i++)
        for (uint32_t k = 0; k < run->view.rows[i].label_count; k++)
            if (!isnan(run->view.labels[run->view.rows[i].first_label + k].score)) {
                scored++;
                break;
            }
    if (scored < LEARN_ROWS_MIN)
        return err_set(err, ERR_INVALID, "%llu rows with a score: training needs %d",
                       (unsigned long long)scored, LEARN_ROWS_MIN);
    return 0;
}

static int prepare(struct run *run, struct err *err)
{
    dataset_view(run->data, &run->view);
    int rc = check_input(run, err);
    if (rc != 0)
        return rc;
    for (uint32_t m = 0; m < run->view.model_count; m++) {
        const struct learn_model *known = run->options->models;
        run->models[m] = dataset_model(run->data, m);
        run->priors[m] = (struct heads_prior){.quality = -1};
        run->prices[m][0] = run->prices[m][1] = PRICE_UNKNOWN;
        if (known == NULL)
            continue;
        run->priors[m] = (struct heads_prior){.quality = known[m].prior_quality,
                                              .out_tok = known[m].prior_out_tok};
        run->prices[m][0] = known[m].price_in;
        run->prices[m][1] = known[m].price_out;
    }
    outcome_fit_prices(&run->view, run->prices, run->price_fitted);
    rc = dataset_digest(run->data, &run->digest);
    return rc != 0 ? rc : fit_design_init(&run->design, &run->view);
}

static int cross_fit(struct run *run, struct err *err)
{
    struct crossfit_input input = {
        .design = &run->design,
        .priors = run->priors,
        .prices = (const int64_t(*)[2])run->prices,
        .models = run->models,
        .folds = run->options->folds,
        .on_step = on_step,
        .keep_going = run_report_progress,
        .data = run,
    };
    run->phase = "fit";
    run->steps = crossfit_steps(crossfit_fold_count(run->view.row_count, run->options->folds)) +
                 STEPS_AFTER_FITS;
    return crossfit_run(&input, &run->fit, err);
}

static int sweep_calibrated(struct run *run, enum calibrate_method most)
{
    sweep_deinit(&run->sweep);
    int rc = run_calibrate(run, most);
    return rc != 0
               ? rc
               : sweep_run(&run->fit, &run->view, (const int64_t(*)[2])run->prices, &run->sweep);
}

static double beyond_chance(struct ece_value e)
{
    return e.error - e.chance;
}

/* A calibration per model corrects each model's mean and adds noise of its own; with few labels the
 * noise costs more than the correction gains. So the one that routes best on rows left out is
 * taken, among those that are calibrated well enough. */
static int choose_calibration(struct run *run)
{
    enum calibrate_method best = CALIBRATE_IDENTITY;
    double best_area = 0;
    double best_off = INFINITY;
    int rc = 0;
    for (int m = CALIBRATE_IDENTITY; rc == 0 && m <= CALIBRATE_ISOTONIC; m++) {
        double area = 0;
        struct ece_value ece = {0};
        rc = run_enter(run, "calibrate");
        if (rc == 0)
            rc = sweep_calibrated(run, (enum calibrate_method)m);
        if (rc == 0)
            rc = run_compare_calibration(run, &area, &ece);
        const double off = beyond_chance(ece);
        bool better = best_off > ECE_MAX ? off < best_off : off <= ECE_MAX && area > best_area;
        if (rc == 0 && better) {
            best = (enum calibrate_method)m;
            best_area = area;
            best_off = off;
        }
    }
    return rc != 0 ? rc : sweep_calibrated(run, best);
}

static int evaluate(struct run *run)
{
    int rc = choose_calibration(run);
    if (rc == 0)
        rc = run_enter(run, "evaluate");
    if (rc == 0)
        rc = sweep_choose(&run->sweep, &run->options->target,
                          normal_quantile(run->options->confidence), &run->target);
    return rc != 0 ? rc : run_measure(run);
}

/* Hull points by rising lambda, thinned to what the file holds; cost must not rise. */
static void fill_frontier(const struct run *run, struct learn_result *result)
{
    double last = -1;
    for (uint32_t i = run->hull_count; i-- > 0;) {
        const struct learn_point *p = &run->sweep.points[run->hull[i].tag];
        if (p->lambda <= last || result->frontier_count == LEARN_POINTS_MAX)
            continue;
        last = p->lambda;
        result->frontier[result->frontier_count++] = *p;
    }
}

static void put_gate(struct learn_result *result, const char *name, bool ok, const char *format,
                     ...) PRINTF_LIKE(4, 5);
static void put_gate(struct learn_result *result, const char *name, bool ok, const char *format,
                     ...)
{
    struct learn_gate *gate = &result->gates[result->gate_count++];
    va_list args;
    gate->name = name;
    gate->ok = ok;
    va_start(args, format);
    (void)vsnprintf(gate->detail, sizeof(gate->detail), format, args);
    va_end(args);
}

/* What the policy's own vectors say about the file as a node would load it. */
static int gate_selftest(const struct run *run, struct learn_result *result)
{
    struct artifact *a = NULL;
    struct err err = {0};
    enum artifact_reason reason;
    struct artifact_expect expect = {.hash_key_id = run->options->hash_key_id,
                                     .newer_than = run->options->generation - 1};
    int rc = artifact_load(buf_str(&result->artifact), &expect, &a, &reason, &err);
    artifact_destroy(a);
    if (rc == ERR_NOMEM)
        return rc;
    put_gate(result, "selftest", rc == 0, "%s", rc == 0 ? "all vectors equal" : err.message);
    return 0;
}

/* The file on its own training rows: it can only look better there than its siblings did on rows
 * left out. Quality estimated from one observed answer a row may differ by its noise. */
static void gate_final(const struct run *run, struct learn_result *result)
{
    const struct run_metrics *m = &run->metrics;
    double best = fmax(run->sweep.single_quality[run->sweep.best], 1e-9);
    double most = FINAL_GAP_MAX * best;
    if (run->view.observed != 0)
        most += FINAL_NOISE * m->final_gap_error;
    put_gate(
        result, "final_fit", m->final_gap >= -most && m->final_rounding <= ROUNDING_MAX,
        "%+.4f of the best against the prediction, at least %+.4f; rounding %.4f, at most %.2f",
        m->final_gap / best, -most / best, m->final_rounding, ROUNDING_MAX);
}

/* Without support a rollout may start all the same, at its smallest. */
static void gate_incumbent(const struct run *run, struct learn_result *result)
{
    bool support = result->verdict != LEARN_NO_SUPPORT;
    put_gate(result, "incumbent", run->utility_gain_low >= -REGRET_MAX || !support,
             "utility against the incumbent at least %+.4f on %s%s; %.1f %% go elsewhere",
             run->utility_gain_low,
             run->compared_unseen ? "rows it has not seen" : "rows that both have seen",
             support ? "" : " (NO_SUPPORT)", 100 * run->metrics.churn);
}

static void gate_calibration(const struct run *run, struct learn_result *result)
{
    const struct ece_value ece = run->metrics.ece;
    const double theirs = run->incumbent_ece;
    const bool ok = beyond_chance(ece) <= ECE_MAX;
    if (!ok && ece.error <= theirs)
        put_gate(result, "calibration", true, "ECE %.4f, the incumbent's %.4f", ece.error, theirs);
    else
        put_gate(result, "calibration", ok,
                 "ECE %.4f, %.4f of it expected by chance of so few labels; the rest at most %.2f",
                 ece.error, ece.chance, ECE_MAX);
}

static enum learn_verdict verdict_of(const struct run *run)
{
    if (run->view.observed == 0)
        return LEARN_FULL;
    bool support = run->observed && run->estimate.support;
    return support && (!run->compared || run->compared_support) ? LEARN_SUPPORT : LEARN_NO_SUPPORT;
}

const char *learn_verdict_name(enum learn_verdict verdict)
{
    static const char *const names[] = {"full", "support", "no_support"};
    return names[verdict];
}

static int fill_gates(const struct run *run, struct learn_result *result)
{
    const struct learn_point *chosen = &run->sweep.points[run->target.point];
    double envelope = run->options->cost_max_usd;
    int rc = gate_selftest(run, result);
    gate_calibration(run, result);
    put_gate(result, "target", run->target.certain,
             "%.4f expected, %.4f with %g %% confidence, asked %.4f", run->target.reached,
             run->target.bound, 100 * run->options->confidence, run->options->target.value);
    gate_final(run, result);
    if (run->compared)
        gate_incumbent(run, result);
    if (envelope > 0)
        put_gate(result, "cost", chosen->cost_usd <= envelope, "%.9f USD a request, at most %.9f",
                 chosen->cost_usd, envelope);
    for (uint32_t i = 0; i < run->options->gate_count && i < LEARN_CALLER_GATES_MAX; i++)
        result->gates[result->gate_count++] = run->options->gates[i];
    result->passed = true;
    for (uint32_t i = 0; i < result->gate_count; i++)
        result->passed = result->passed && result->gates[i].ok;
    return rc;
}

static int refuse_target(const struct run *run, struct err *err)
{
    const struct sweep *s = &run->sweep;
    return err_set(err, ERR_RANGE,
                   "the target %.4g cannot be reached: at best %.4g; the best single model has "
                   "quality %.4f at %.6g USD, the cheapest %.4f at %.6g USD",
                   run->options->target.value, run->target.possible, s->single_quality[s->best],
                   s->single_cost[s->best], s->single_quality[s->cheapest],
                   s->single_cost[s->cheapest]);
}

static int finish(struct run *run, struct learn_result *result, struct err *err)
{
    bool reachable = run->target.point != SWEEP_NONE;
    int rc = 0;
    fill_frontier(run, result);
    if (reachable) {
        result->chosen = run->sweep.points[run->target.point];
        rc = run_fit_final(run, result, err);
        if (rc == 0)
            rc = run_compare_incumbent(run, err);
        result->verdict = verdict_of(run);
        if (rc == 0)
            rc = run_enter(run, "finish");
        if (rc == 0)
            rc = fill_gates(run, result);
    }
    result->churn = run->metrics.churn;
    if (rc == 0)
        rc = run_report(run, result, &result->report);
    if (rc == 0 && !reachable)
        rc = refuse_target(run, err);
    return rc;
}

/* One target on what prepare and cross_fit left; the caller owns *out in any case. */
static int run_target(struct run *run, const struct learn_options *options,
                      struct learn_result *out, struct err *err)
{
    buf_init(&out->artifact, ARTIFACT_BYTES_MAX);
    buf_init(&out->report, REPORT_BYTES_MAX);
    run->options = options;
    run->target.point = SWEEP_NONE;
    memset(&run->metrics, 0, sizeof(run->metrics));
    mem_free(run->final_choice);
    run->final_choice = NULL;
    int rc = evaluate(run);
    return rc != 0 ? rc : finish(run, out, err);
}

static bool has_report(int rc, const struct learn_result *result)
{
    return rc == 0 || (rc == ERR_RANGE && result->report.len != 0);
}

int learn_run_first(const struct dataset *data, const struct learn_options *options,
                    const double *values, uint32_t count, struct learn_result *out_result,
                    struct err *err)
{
    struct learn_options now = *options;
    struct learn_result result = {0};
    struct err why = {0};
    struct run *run = mem_zalloc(sizeof(*run));
    int rc = ERR_NOMEM;
    memset(out_result, 0, sizeof(*out_result));
    now.target.value = values[0];
    if (run != NULL) {
        run->data = data;
        run->options = &now;
        rc = prepare(run, &why);
        if (rc == 0)
            rc = cross_fit(run, &why);
        bool again = rc == 0;
        for (uint32_t i = 0; again && i < count; i++) {
            learn_result_deinit(&result);
            now.target.value = values[i];
            rc = run_target(run, &now, &result, &why);
            again = has_report(rc, &result) && !result.passed;
        }
        mem_free(run->final_choice);
        sweep_deinit(&run->sweep);
        crossfit_deinit(&run->fit);
        fit_design_deinit(&run->design);
        mem_free(run);
    }
    if (rc != 0)
        err_set(err, rc, "%s", why.message[0] != '\0' ? why.message : err_text(rc));
    if (has_report(rc, &result))
        *out_result = result;
    else
        learn_result_deinit(&result);
    return rc;
}

int learn_run(const struct dataset *data, const struct learn_options *options,
              struct learn_result *out_result, struct err *err)
{
    return learn_run_first(data, options, &options->target.value, 1, out_result, err);
}

void learn_result_deinit(struct learn_result *result)
{
    buf_deinit(&result->artifact);
    buf_deinit(&result->report);
    memset(result, 0, sizeof(*result));
}

static int64_t find_price(const struct artifact *a, const char *kind, uint32_t ordinal)
{
    char name[ARTIFACT_NAME_BYTES_MAX + 16];
    (void)snprintf(name, sizeof(name), "%s:%.*s", kind, STR_ARG(a->models[ordinal]));
    for (uint32_t i = 0; i < a->meta.metric_count; i++) {
        const struct artifact_metric *m = &a->meta.metrics[i];
        if (str_is(m->name, name) && m->decimals == 9 && m->value >= 0 &&
            m->value <= PRICE_RATE_MAX)
            return m->value;
    }
    return PRICE_UNKNOWN;
}

void learn_artifact_prices(const struct artifact *a, uint32_t ordinal, int64_t *out_price_in,
                           int64_t *out_price_out)
{
    *out_price_in = find_price(a, "price_in", ordinal);
    *out_price_out = find_price(a, "price_out", ordinal);
}
