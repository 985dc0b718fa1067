#include <math.h>

#include "common/base/mem.h"
#include "common/route/policy.h"
#include "controlplane/learn/run.h"

#define GAIN_CONFIDENCE   0.9 /* One-sided, section 6.8. */
#define COMPARE_UNITS_MIN 200 /* That the incumbent has not seen, to be compared on. */

/* What the choices are judged by: quality alone, or quality less lambda times cost. */
static double worth(const struct run *run, uint32_t row, uint32_t model, double lambda,
                    const struct dataset_cell *label)
{
    size_t at = (size_t)row * run->view.model_count + model;
    double in = run->view.rows[run->fit.rows[row]].in_tok;
    double quality = label != NULL ? (double)label->score : run_quality(run, row, model);
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
 * under the difference of the two. `compared`: only those that both are compared on. */
static uint32_t off_policy_rows(const struct run *run, const uint8_t *choice, const uint8_t *other,
                                bool compared, double lambda, struct estimate_row *out)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < run->fit.row_count; i++) {
        const struct dataset_entry *e = &run->view.rows[run->fit.rows[i]];
        const struct dataset_cell *l = &run->view.labels[e->first_label];
        if (e->label_count != 1 || isnan(l->score) || !(e->propensity < 1) ||
            (compared && !compares(run, i)))
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

uint32_t run_bootstraps(const struct run *run)
{
    return run->options->bootstraps != 0 ? run->options->bootstraps : ESTIMATE_BOOTSTRAPS;
}

int run_estimate_choice(const struct run *run, const uint8_t *choice, bool *out_any,
                        struct estimate *out)
{
    struct estimate_options options;
    struct estimate_row *rows = mem_calloc((size_t)run->fit.row_count + 1, sizeof(*rows));
    if (rows == NULL)
        return ERR_NOMEM;
    estimate_options_init(&options);
    options.bootstraps = run_bootstraps(run);
    uint32_t count = off_policy_rows(run, choice, NULL, false, 0, rows);
    int rc = count == 0 ? 0 : estimate_policy(rows, count, &options, out);
    *out_any = count != 0;
    mem_free(rows);
    return rc;
}

/* Can rows[count] tell what `choice` is worth where both are compared? rows: room for all. */
static int supports_choice(const struct run *run, const uint8_t *choice, double lambda,
                           struct estimate_row *rows, bool *out_support)
{
    struct estimate_options options;
    struct estimate estimate;
    estimate_options_init(&options);
    options.bootstraps = 0;
    uint32_t count = off_policy_rows(run, choice, NULL, true, lambda, rows);
    *out_support = false;
    int rc = count == 0 ? 0 : estimate_policy(rows, count, &options, &estimate);
    if (rc == 0 && count != 0)
        *out_support = estimate.support;
    return rc;
}

/* Utility over the incumbent's by what was observed: run->utility_gain_low is the lower end at
 * 90 %, one-sided. It stays as it is when no row can tell. Both need support by the very rows that
 * it is read off, of which there may be far fewer than ours was estimated on. */
static int estimate_gain(struct run *run, const uint8_t *ours, const uint8_t *theirs, double lambda)
{
    struct estimate_options options;
    struct estimate difference;
    bool our_support = false;
    bool their_support = false;
    struct estimate_row *rows = mem_calloc((size_t)run->fit.row_count + 1, sizeof(*rows));
    if (rows == NULL)
        return ERR_NOMEM;
    estimate_options_init(&options);
    options.bootstraps = run_bootstraps(run);
    options.confidence = 2 * GAIN_CONFIDENCE - 1;
    options.reward_low = options.reward_high = 0;
    uint32_t count = off_policy_rows(run, ours, theirs, true, lambda, rows);
    int rc = count == 0 ? 0 : estimate_policy(rows, count, &options, &difference);
    if (rc == 0 && count != 0)
        run->utility_gain_low = difference.of[ESTIMATE_DR].low;
    if (rc == 0)
        rc = supports_choice(run, ours, lambda, rows, &our_support);
    if (rc == 0)
        rc = supports_choice(run, theirs, lambda, rows, &their_support);
    run->compared_support = our_support && their_support;
    mem_free(rows);
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
        rc = estimate_mean(gain, units, count, run_bootstraps(run), 2 * GAIN_CONFIDENCE - 1, &mean);
    run->utility_gain_low = mean.low;
    run->compared = true;
    run->compared_support = true;
    mem_free(gain);
    mem_free(units);
    if (rc == 0 && run->observed)
        rc = estimate_gain(run, ours, theirs, lambda);
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
    return rc != 0 ? rc : run_estimate_choice(run, theirs, &any, &run->incumbent);
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
