#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/route/policy.h"
#include "common/route/score.h"
#include "controlplane/learn/run.h"

#define Q16                 65536.0
#define PROBABILITY_MIN     1e-6
#define GAIN_CONFIDENCE     0.9 /* One-sided, section 6.8. */
#define COMPARE_UNITS_MIN   200 /* That the incumbent has not seen, to be compared on. */
#define INTERVAL_CONFIDENCE 0.9 /* Two-sided: 5 % and 95 %. */

/* Labels of one model; fold_wanted: of that fold alone (`in`) or of all others. */
static uint32_t collect(const struct run *run, uint32_t model, uint32_t fold, bool all,
                        struct calibrate_label *out)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < run->fit.row_count; i++) {
        const struct dataset_entry *e = &run->view.rows[run->fit.rows[i]];
        if (!all && run->fit.fold[run->fit.rows[i]] == fold)
            continue;
        for (uint32_t k = 0; k < e->label_count; k++) {
            const struct dataset_cell *l = &run->view.labels[e->first_label + k];
            if (l->model != model || isnan(l->score))
                continue;
            out[count++] = (struct calibrate_label){
                .z = run->fit.z[(size_t)i * run->view.model_count + model],
                .score = l->score,
                .weight = e->omega,
            };
        }
    }
    return count;
}

int run_calibrate(struct run *run, enum calibrate_method most)
{
    int rc = 0;
    struct calibrate_label *labels = mem_calloc((size_t)run->fit.row_count + 1, sizeof(*labels));
    if (labels == NULL)
        return ERR_NOMEM;
    for (uint32_t m = 0; rc == 0 && m < run->view.model_count; m++) {
        uint32_t count = collect(run, m, 0, true, labels);
        enum calibrate_method method = calibrate_allowed(count);
        method = method < most ? method : most;
        run->calib_method[m] = method;
        run->metrics.labels[m] = count;
        rc = calibrate_fit(method, labels, count, &run->calib[m]);
        for (uint32_t fold = 0; rc == 0 && fold < run->fit.fold_count; fold++) {
            count = collect(run, m, fold, false, labels);
            rc = calibrate_fit(method, labels, count, &run->fit.artifacts[fold]->calib[m]);
        }
    }
    mem_free(labels);
    return rc;
}

static double quality_of(const struct run *run, uint32_t i, uint32_t model)
{
    const struct artifact *a = run->fit.artifacts[run->fit.fold[run->fit.rows[i]]];
    return score_calibrate(&a->calib[model],
                           run->fit.z[(size_t)i * run->view.model_count + model]) /
           Q16;
}

/* Chance that a good answer was expected to be better than a bad one (Mann-Whitney, from labels
 * sorted by z; ties count one half). NAN without both kinds. */
static int by_z(const void *a, const void *b)
{
    const struct calibrate_label *x = a;
    const struct calibrate_label *y = b;
    return x->z < y->z ? -1 : x->z > y->z;
}

static double area_under_roc(struct calibrate_label *labels, uint32_t count)
{
    double good = 0;
    double bad = 0;
    double pairs = 0;
    qsort(labels, count, sizeof(*labels), by_z);
    for (uint32_t i = 0; i < count;) {
        double good_here = 0;
        double bad_here = 0;
        uint32_t j = i;
        for (; j < count && labels[j].z == labels[i].z; j++)
            *(labels[j].score >= 0.5F ? &good_here : &bad_here) += 1;
        pairs += good_here * (bad + bad_here / 2);
        good += good_here;
        bad += bad_here;
        i = j;
    }
    return good > 0 && bad > 0 ? pairs / (good * bad) : NAN;
}

static int measure_predictions(struct run *run)
{
    struct run_metrics *out = &run->metrics;
    out->log_loss = out->brier = 0;
    struct ece all = {0};
    double weight = 0;
    double aucs = 0;
    uint32_t auc_count = 0;
    struct calibrate_label *labels = mem_calloc((size_t)run->fit.row_count + 1, sizeof(*labels));
    if (labels == NULL)
        return ERR_NOMEM;
    for (uint32_t m = 0; m < run->view.model_count; m++) {
        struct ece own = {0};
        for (uint32_t i = 0; i < run->fit.row_count; i++) {
            const struct dataset_entry *e = &run->view.rows[run->fit.rows[i]];
            for (uint32_t k = 0; k < e->label_count; k++) {
                const struct dataset_cell *l = &run->view.labels[e->first_label + k];
                if (l->model != m || isnan(l->score))
                    continue;
                double w = (double)e->omega;
                double y = (double)l->score;
                double q = quality_of(run, i, m);
                double p = fmin(fmax(q, PROBABILITY_MIN), 1 - PROBABILITY_MIN);
                ece_add(&own, w, q, y);
                ece_add(&all, w, q, y);
                weight += w;
                out->log_loss -= w * (y * log(p) + (1 - y) * log(1 - p));
                out->brier += w * (q - y) * (q - y);
            }
        }
        out->ece_model[m] = ece_value(&own).error;
        double auc = area_under_roc(labels, collect(run, m, 0, true, labels));
        if (!isnan(auc)) {
            aucs += auc;
            auc_count++;
        }
    }
    mem_free(labels);
    out->log_loss /= weight > 0 ? weight : 1;
    out->brier /= weight > 0 ? weight : 1;
    out->ece = ece_value(&all);
    out->auc = auc_count != 0 ? aucs / auc_count : NAN;
    return 0;
}

/* Who knew all outcomes, at every lambda; also how much more than that the policy uses the dearest
 * model (routing collapse: Lai and Ye, 2026). */
static void measure_oracle(struct run *run)
{
    const struct sweep *s = &run->sweep;
    uint32_t dearest = 0;
    for (uint32_t m = 1; m < s->model_count; m++)
        if (s->single_cost[m] > s->single_cost[dearest])
            dearest = m;
    for (uint32_t k = 0; k < SWEEP_LAMBDAS; k++) {
        struct frontier_point *p = &run->oracle[k];
        double share = 0;
        *p = (struct frontier_point){.tag = k};
        for (uint32_t i = 0; i < s->row_count; i++) {
            const float *r = s->outcome->reward + (size_t)i * s->model_count;
            const float *c = s->outcome->cost + (size_t)i * s->model_count;
            uint32_t best = 0;
            for (uint32_t m = 1; m < s->model_count; m++) {
                double gain = (double)r[m] - (double)r[best] -
                              s->points[k].lambda * ((double)c[m] - (double)c[best]);
                if (gain > 0 || (gain == 0 && c[m] < c[best]))
                    best = m;
            }
            p->quality += s->weight[i] * (double)r[best];
            p->cost += s->weight[i] * (double)c[best];
            share += best == dearest ? s->weight[i] : 0;
        }
        double excess = s->points[k].share[dearest] - share;
        run->metrics.collapse = fmax(run->metrics.collapse, excess);
    }
    run->oracle_count = frontier_hull(run->oracle, SWEEP_LAMBDAS);
}

static int measure_apgr(struct run *run)
{
    const struct sweep *s = &run->sweep;
    size_t n = (size_t)s->row_count + 1;
    double *x = mem_calloc(3 * n, sizeof(*x));
    if (x == NULL)
        return ERR_NOMEM;
    for (uint32_t i = 0; i < s->row_count; i++) {
        size_t at = (size_t)i * s->model_count;
        x[i] = quality_of(run, i, s->best) - quality_of(run, i, s->cheapest);
        x[n + i] = (double)s->outcome->reward[at + s->best];
        x[2 * n + i] = (double)s->outcome->reward[at + s->cheapest];
    }
    run->metrics.apgr =
        s->best == s->cheapest ? NAN : frontier_apgr(x, x + n, x + 2 * n, s->row_count);
    mem_free(x);
    return 0;
}

static void measure_curves(struct run *run)
{
    const struct sweep *s = &run->sweep;
    for (uint32_t k = 0; k < SWEEP_LAMBDAS; k++)
        run->hull[k] = (struct frontier_point){
            .cost = s->points[k].cost_usd, .quality = s->points[k].quality, .tag = k};
    run->hull_count = frontier_hull(run->hull, SWEEP_LAMBDAS);
    for (uint32_t m = 0; m < s->model_count; m++)
        run->singles[m] = (struct frontier_point){
            .cost = s->single_cost[m], .quality = s->single_quality[m], .tag = m};
    run->single_count = frontier_hull(run->singles, s->model_count);
    double low = s->single_cost[s->cheapest];
    double high = s->single_cost[s->best];
    run->metrics.aiq = frontier_aiq(run->hull, run->hull_count, low, high);
    run->metrics.aiq_random = frontier_aiq(run->singles, run->single_count, low, high);
    run->metrics.aiq_oracle = frontier_aiq(run->oracle, run->oracle_count, low, high);
}

/* What the choices are judged by: quality alone, or quality less lambda times cost. */
static double worth(const struct run *run, uint32_t row, uint32_t model, double lambda,
                    const struct dataset_cell *label)
{
    size_t at = (size_t)row * run->view.model_count + model;
    double in = run->view.rows[run->fit.rows[row]].in_tok;
    double quality = label != NULL ? (double)label->score : quality_of(run, row, model);
    double tokens = label != NULL && !isnan(label->out_tok) ? (double)label->out_tok
                                                            : (double)run->fit.tokens[at];
    double cost = label != NULL && !isnan(label->cost_usd)
                      ? (double)label->cost_usd
                      : outcome_cost_usd(run->prices[model], in, tokens);
    return lambda > 0 ? quality - lambda * cost : quality;
}

/* Rows to compare on: all, or those that the incumbent has not learned from. */
static bool compares(const struct run *run, uint32_t row)
{
    return !run->compared_unseen || !run->view.rows[run->fit.rows[row]].seen;
}

/* Rows that one model served and might not have, as off-policy rows under `choice`; with `other`
 * under the difference of the two. */
static uint32_t off_policy_rows(const struct run *run, const uint8_t *choice, const uint8_t *other,
                                double lambda, struct estimate_row *out)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < run->fit.row_count; i++) {
        const struct dataset_entry *e = &run->view.rows[run->fit.rows[i]];
        const struct dataset_cell *l = &run->view.labels[e->first_label];
        if (e->label_count != 1 || isnan(l->score) || !(e->propensity < 1) ||
            (other != NULL && !compares(run, i)))
            continue;
        double label_prob = 1 / ((double)e->ipw * (double)e->propensity);
        struct estimate_row row = {
            .unit = e->cluster,
            .propensity = (double)e->propensity,
            .label_prob = fmin(label_prob, 1),
            .labelled = true,
            .reward = worth(run, i, l->model, lambda, l),
            .target = choice[i] == l->model ? 1 : 0,
            .model = worth(run, i, l->model, lambda, NULL),
            .direct = worth(run, i, choice[i], lambda, NULL),
        };
        if (other != NULL) {
            row.target -= other[i] == l->model ? 1 : 0;
            row.direct -= worth(run, i, other[i], lambda, NULL);
        }
        out[count++] = row;
    }
    return count;
}

static uint32_t bootstraps_of(const struct run *run)
{
    return run->options->bootstraps != 0 ? run->options->bootstraps : ESTIMATE_BOOTSTRAPS;
}

static int estimate_choice(const struct run *run, const uint8_t *choice, bool *out_any,
                           struct estimate *out)
{
    struct estimate_options options;
    struct estimate_row *rows = mem_calloc((size_t)run->fit.row_count + 1, sizeof(*rows));
    if (rows == NULL)
        return ERR_NOMEM;
    estimate_options_init(&options);
    options.bootstraps = bootstraps_of(run);
    uint32_t count = off_policy_rows(run, choice, NULL, 0, rows);
    int rc = count == 0 ? 0 : estimate_policy(rows, count, &options, out);
    *out_any = count != 0;
    mem_free(rows);
    return rc;
}

/* Utility over the incumbent's by what was observed: *io_low is the lower end at 90 %, one-sided.
 * It stays as it is when no row can tell. */
static int estimate_gain(const struct run *run, const uint8_t *ours, const uint8_t *theirs,
                         double lambda, double *io_low)
{
    struct estimate_options options;
    struct estimate difference;
    struct estimate_row *rows = mem_calloc((size_t)run->fit.row_count + 1, sizeof(*rows));
    if (rows == NULL)
        return ERR_NOMEM;
    estimate_options_init(&options);
    options.bootstraps = bootstraps_of(run);
    options.confidence = 2 * GAIN_CONFIDENCE - 1;
    options.reward_low = options.reward_high = 0;
    uint32_t count = off_policy_rows(run, ours, theirs, lambda, rows);
    int rc = count == 0 ? 0 : estimate_policy(rows, count, &options, &difference);
    if (rc == 0 && count != 0)
        *io_low = difference.of[ESTIMATE_DR].low;
    mem_free(rows);
    return rc;
}

static int measure_interval(struct run *run, const uint8_t *choice)
{
    const struct sweep *s = &run->sweep;
    double best = fmax(s->single_quality[s->best], 1e-9);
    struct estimate_value interval = {0};
    double *values = mem_calloc((size_t)s->row_count + 1, sizeof(*values));
    if (values == NULL)
        return ERR_NOMEM;
    for (uint32_t i = 0; i < s->row_count; i++)
        values[i] = (double)s->outcome->reward[(size_t)i * s->model_count + choice[i]] *
                    s->weight[i] * s->row_count / best;
    int rc = estimate_mean(values, s->units, s->row_count, bootstraps_of(run), INTERVAL_CONFIDENCE,
                           &interval);
    run->metrics.quality_low = interval.low;
    run->metrics.quality_high = interval.high;
    mem_free(values);
    return rc;
}

/* Utility of both policies at our lambda, row by row, so that what they share cancels out. */
static int compare_choices(struct run *run, const uint8_t *ours, const uint8_t *theirs)
{
    const struct sweep *s = &run->sweep;
    double lambda = s->points[run->target.point].lambda;
    struct estimate_value mean = {0};
    double weights = 0;
    uint32_t count = 0;
    double *gain = mem_calloc((size_t)s->row_count + 1, sizeof(*gain));
    uint64_t *units = mem_calloc((size_t)s->row_count + 1, sizeof(*units));
    int rc = gain == NULL || units == NULL ? ERR_NOMEM : 0;
    for (uint32_t i = 0; rc == 0 && i < s->row_count; i++) {
        const float *r = s->outcome->reward + (size_t)i * s->model_count;
        const float *c = s->outcome->cost + (size_t)i * s->model_count;
        if (!compares(run, i))
            continue;
        weights += s->weight[i];
        units[count] = s->units[i];
        gain[count++] = s->weight[i] * ((double)r[ours[i]] - (double)r[theirs[i]] -
                                        lambda * ((double)c[ours[i]] - (double)c[theirs[i]]));
    }
    for (uint32_t i = 0; i < count; i++)
        gain[i] *= count / weights;
    if (rc == 0 && count != 0)
        rc = estimate_mean(gain, units, count, bootstraps_of(run), 2 * GAIN_CONFIDENCE - 1, &mean);
    run->utility_gain_low = mean.low;
    run->compared = true;
    mem_free(gain);
    mem_free(units);
    if (rc == 0 && run->observed)
        rc = estimate_gain(run, ours, theirs, lambda, &run->utility_gain_low);
    return rc;
}

/* Units among the rows that the incumbent has not seen. */
static uint32_t count_unseen(const struct run *run)
{
    const struct sweep *s = &run->sweep;
    uint32_t units = 0;
    for (uint32_t i = 0; i < s->row_count;) {
        uint64_t unit = s->units[s->by_unit[i]];
        bool unseen = false;
        for (; i < s->row_count && s->units[s->by_unit[i]] == unit; i++)
            unseen = unseen || !run->view.rows[run->fit.rows[s->by_unit[i]]].seen;
        units += unseen;
    }
    return units;
}

static double ece_of(const struct artifact *a)
{
    for (uint32_t i = 0; i < a->meta.metric_count; i++)
        if (str_is(a->meta.metrics[i].name, "ece"))
            return (double)a->meta.metrics[i].value / pow(10, a->meta.metrics[i].decimals);
    return NAN;
}

static int compare_with(struct run *run, const struct artifact *a, uint8_t *theirs)
{
    int32_t ordinal[ARTIFACT_MODELS_MAX];
    struct policy_params params;
    bool any = false;
    for (uint32_t m = 0; m < run->view.model_count; m++)
        ordinal[m] = artifact_model(a, run->models[m]);
    policy_params_init(&params);
    policy_params_from_artifact(&params, a, 0);
    int rc = sweep_choose_with(a, ordinal, &run->fit, &run->view, (const int64_t(*)[2])run->prices,
                               params.lambda, theirs);
    if (rc != 0)
        return rc;
    run->compared_units = count_unseen(run);
    run->compared_unseen = run->compared_units >= COMPARE_UNITS_MIN;
    run->incumbent_ece = ece_of(a);
    run->metrics.churn = 0;
    for (uint32_t i = 0; i < run->sweep.row_count; i++)
        run->metrics.churn += run->final_choice[i] != theirs[i] ? run->sweep.weight[i] : 0;
    const uint8_t *ours = run->sweep.choice + (size_t)run->target.point * run->fit.row_count;
    rc = compare_choices(run, run->compared_unseen ? ours : run->final_choice, theirs);
    return rc != 0 ? rc : estimate_choice(run, theirs, &any, &run->incumbent);
}

int run_compare_incumbent(struct run *run, struct err *err)
{
    struct artifact *a = NULL;
    enum artifact_reason reason;
    if (run->options->incumbent.len == 0)
        return 0;
    int rc = artifact_decode(run->options->incumbent, &a, &reason, err);
    if (rc != 0) {
        err_wrap(err, "incumbent");
        return rc;
    }
    uint8_t *theirs = mem_calloc((size_t)run->fit.row_count + 1, sizeof(*theirs));
    rc = theirs == NULL ? ERR_NOMEM : 0;
    if (rc == 0 && a->meta.hash_key_id == run->options->hash_key_id)
        rc = compare_with(run, a, theirs);
    mem_free(theirs);
    artifact_destroy(a);
    return rc;
}

int run_compare_calibration(struct run *run, double *out_area, struct ece_value *out_ece)
{
    int rc = measure_predictions(run);
    measure_curves(run);
    *out_area = run->metrics.aiq;
    *out_ece = run->metrics.ece;
    return rc;
}

/* What the rows are like, for whoever asks later whether requests have become others. */
static int measure_reference(struct run *run)
{
    uint32_t count = run->fit.row_count;
    double *values = mem_calloc((size_t)count + 1, sizeof(*values));
    if (values == NULL)
        return ERR_NOMEM;
    for (uint32_t f = 0; f <= FEATURES_DENSE; f++) {
        for (uint32_t i = 0; i < count; i++) {
            values[i] = 0;
            if (f < FEATURES_DENSE)
                values[i] = run->view.rows[run->fit.rows[i]].dense[f];
            for (uint32_t m = 0; f == FEATURES_DENSE && m < run->view.model_count; m++)
                values[i] = fmax(values[i], quality_of(run, i, m));
        }
        reference_make(values, count, &run->reference[f]);
    }
    mem_free(values);
    return 0;
}

int run_measure(struct run *run)
{
    run->metrics.churn = NAN;
    run->incumbent_ece = NAN;
    int rc = measure_predictions(run);
    measure_oracle(run);
    measure_curves(run);
    if (rc == 0)
        rc = measure_apgr(run);
    if (rc == 0)
        rc = measure_reference(run);
    if (rc != 0 || run->target.point == SWEEP_NONE)
        return rc;
    const uint8_t *ours = run->sweep.choice + (size_t)run->target.point * run->fit.row_count;
    rc = measure_interval(run, ours);
    if (rc == 0 && run->view.observed != 0)
        rc = estimate_choice(run, ours, &run->observed, &run->estimate);
    return rc;
}
