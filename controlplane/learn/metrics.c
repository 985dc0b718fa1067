#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/route/policy.h"
#include "common/route/score.h"
#include "controlplane/learn/run.h"

#define Q16                 65536.0
#define PROBABILITY_MIN     1e-6
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

double run_quality(const struct run *run, uint32_t i, uint32_t model)
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
                double q = run_quality(run, i, m);
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
        x[i] = run_quality(run, i, s->best) - run_quality(run, i, s->cheapest);
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
    int rc = estimate_mean(values, s->units, s->row_count, run_bootstraps(run), INTERVAL_CONFIDENCE,
                           &interval);
    run->metrics.quality_low = interval.low;
    run->metrics.quality_high = interval.high;
    mem_free(values);
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
                values[i] = fmax(values[i], run_quality(run, i, m));
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
        rc = run_estimate_choice(run, ours, &run->observed, &run->estimate);
    return rc;
}
