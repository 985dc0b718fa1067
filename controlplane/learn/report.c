/* The report: one JSON object that says what was learned from, what it gives and why it passed. */
#include <jansson.h>
#include <math.h>

#include "common/crypto/digest.h"
#include "common/route/price.h"
#include "controlplane/learn/run.h"

#define NANO_PER_USD 1e9

static json_t *real(double x)
{
    return isfinite(x) ? json_real(x) : json_null();
}

/* What cannot be added takes the array with it: packing then fails, and no report lacks a part. */
static void append(json_t **array, json_t *value)
{
    if (json_array_append_new(*array, value) == 0)
        return;
    json_decref(*array);
    *array = NULL;
}

/* The same for a member of an object. */
static void set_named(json_t **object, struct str name, json_t *value)
{
    if (json_object_setn_new(*object, name.data, name.len, value) == 0)
        return;
    json_decref(*object);
    *object = NULL;
}

static void set(json_t **object, const char *name, json_t *value)
{
    set_named(object, str_from(name), value);
}

static json_t *text(struct str s)
{
    return json_stringn(s.data, s.len);
}

static json_t *hex(const struct sha256 *digest)
{
    char out[SHA256_HEX_BYTES];
    hex_encode(digest->bytes, SHA256_BYTES, out);
    return json_string(out);
}

static json_t *data_part(const struct run *run)
{
    json_t *tasks = json_array();
    const struct heads *h = &run->fit.heads[0];
    for (uint32_t g = 0; g < h->group_count; g++)
        append(&tasks, text(run->view.tasks[h->group_task[g]]));
    return json_pack(
        "{s:I,s:I,s:I,s:I,s:I,s:I,s:o,s:o}", "rows", (json_int_t)dataset_seen(run->data),
        "rows_used", (json_int_t)run->view.row_count, "rows_evaluated",
        (json_int_t)run->fit.row_count, "observed", (json_int_t)run->view.observed, "imputed",
        (json_int_t)run->fit.outcome.imputed, "tasks", (json_int_t)run->view.task_count,
        "task_groups", tasks, "digest", hex(&run->digest));
}

static json_t *price_of(const struct run *run, uint32_t model, unsigned which)
{
    int64_t rate = run->prices[model][which];
    return rate == PRICE_UNKNOWN ? json_null() : json_real((double)rate / NANO_PER_USD);
}

static json_t *models_part(const struct run *run)
{
    json_t *models = json_array();
    for (uint32_t m = 0; m < run->view.model_count; m++)
        append(&models,
               json_pack("{s:o,s:o,s:o,s:b,s:o,s:o,s:I,s:s,s:o}", "model", text(run->models[m]),
                         "price_in", price_of(run, m, 0), "price_out", price_of(run, m, 1),
                         "price_fitted", (int)run->price_fitted[m], "quality",
                         real(run->sweep.single_quality[m]), "cost_usd",
                         real(run->sweep.single_cost[m]), "labels",
                         (json_int_t)run->metrics.labels[m], "calibration",
                         calibrate_method_name(run->calib_method[m]), "ece",
                         real(run->metrics.ece_model[m])));
    return models;
}

static json_t *point_json(const struct run *run, const struct learn_point *p)
{
    json_t *shares = json_object();
    for (uint32_t m = 0; m < run->view.model_count; m++)
        if (p->share[m] > 0)
            set_named(&shares, run->models[m], real(p->share[m]));
    double cost = run->sweep.single_cost[run->sweep.best];
    double quality = run->sweep.single_quality[run->sweep.best];
    return json_pack("{s:o,s:o,s:o,s:o,s:o,s:o}", "lambda", real(p->lambda), "cost_usd",
                     real(p->cost_usd), "quality", real(p->quality), "cost_of_best",
                     real(p->cost_usd / cost), "quality_of_best", real(p->quality / quality),
                     "shares", shares);
}

static json_t *curve(const struct frontier_point *points, uint32_t count)
{
    json_t *out = json_array();
    for (uint32_t i = 0; i < count; i++)
        append(&out, json_pack("{s:o,s:o}", "cost_usd", real(points[i].cost), "quality",
                               real(points[i].quality)));
    return out;
}

static json_t *frontier_part(const struct run *run, const struct learn_result *result)
{
    json_t *points = json_array();
    for (uint32_t i = 0; i < result->frontier_count; i++)
        append(&points, point_json(run, &result->frontier[i]));
    return points;
}

static json_t *config_part(const struct run *run)
{
    json_t *areas = json_array();
    for (uint32_t d = 0; d < CROSSFIT_DELTAS; d++)
        for (uint32_t g = 0; g < CROSSFIT_GAINS; g++)
            append(&areas,
                   json_pack("{s:o,s:o,s:o}", "delta_penalty", real(crossfit_delta(d)), "gain",
                             real(crossfit_gain(g)), "area_of_best", real(run->fit.aiq[d][g])));
    return json_pack("{s:o,s:o,s:o,s:I,s:o}", "shared_penalty",
                     real(run->fit.chosen.shared_penalty), "delta_penalty",
                     real(run->fit.chosen.delta_penalty), "gain", real(run->fit.chosen.gain),
                     "folds", (json_int_t)run->fit.fold_count, "tried", areas);
}

static json_t *estimate_json(const struct estimate *e)
{
    json_t *out =
        json_pack("{s:I,s:I,s:I,s:o,s:o,s:o,s:s,s:s}", "rows", (json_int_t)e->rows, "labelled",
                  (json_int_t)e->labelled, "units", (json_int_t)e->units, "ess", real(e->ess),
                  "weight_share", real(e->weight_share), "cut", real(e->cut), "verdict",
                  e->support ? "SUPPORT" : "NO_SUPPORT", "trusted", estimate_kind_name(e->trusted));
    for (int k = 0; out != NULL && k < ESTIMATE_KINDS; k++)
        set(&out, estimate_kind_name((enum estimate_kind)k),
            json_pack("{s:o,s:o,s:o}", "value", real(e->of[k].value), "low", real(e->of[k].low),
                      "high", real(e->of[k].high)));
    return out;
}

static json_t *metrics_part(const struct run *run)
{
    const struct run_metrics *m = &run->metrics;
    const struct sweep *s = &run->sweep;
    double best = s->single_quality[s->best];
    double cost95 = frontier_cost_at(run->hull, run->hull_count, 0.95 * best);
    double mix95 = frontier_cost_at(run->singles, run->single_count, 0.95 * best);
    double unit = s->single_cost[s->best];
    json_t *out =
        json_pack("{s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o}", "auc", real(m->auc),
                  "log_loss", real(m->log_loss), "brier", real(m->brier), "ece", real(m->ece.error),
                  "ece_by_chance", real(m->ece.chance), "aiq", real(m->aiq), "aiq_random_mix",
                  real(m->aiq_random), "aiq_oracle", real(m->aiq_oracle), "apgr_best_cheapest",
                  real(m->apgr), "cost_at_95_of_best", real(cost95 / unit), "random_mix_cost_at_95",
                  real(mix95 / unit), "collapse_excess", real(m->collapse));
    if (out != NULL && run->observed)
        set(&out, "off_policy", estimate_json(&run->estimate));
    if (out != NULL && run->compared) {
        set(&out, "incumbent", estimate_json(&run->incumbent));
        set(&out, "utility_gain_low", real(run->utility_gain_low));
        set(&out, "compared_on_unseen", json_boolean(run->compared_unseen));
        set(&out, "unseen_units", json_integer((json_int_t)run->compared_units));
        set(&out, "churn", real(m->churn));
    }
    return out;
}

static json_t *chosen_part(const struct run *run)
{
    if (run->target.point == SWEEP_NONE)
        return json_null();
    json_t *out = point_json(run, &run->sweep.points[run->target.point]);
    if (out == NULL)
        return NULL;
    set(&out, "target_reached", real(run->target.reached));
    set(&out, "target_bound", real(run->target.bound));
    const struct run_costs *costs = &run->metrics.costs;
    set(&out, "final_on_training_rows",
        json_pack("{s:o,s:o,s:o}", "quality", real(run->metrics.final_quality), "cost_usd",
                  real(costs->own), "rounding", real(run->metrics.final_rounding)));
    set(&out, "costs",
        json_pack("{s:o,s:o,s:o,s:o}", "usd", real(costs->mean), "error", real(costs->error),
                  "over_own", real(costs->ratio), "over_own_error", real(costs->ratio_error)));
    set(&out, "certain", json_boolean(run->target.certain));
    set(&out, "quality_of_best_interval",
        json_pack("[oo]", real(run->metrics.quality_low), real(run->metrics.quality_high)));
    return out;
}

static json_t *references_part(const struct run *run)
{
    json_t *out = json_array();
    for (uint32_t f = 0; f <= FEATURES_DENSE; f++)
        append(&out, reference_json(&run->reference[f]));
    return out;
}

static json_t *gates_part(const struct learn_result *result)
{
    json_t *gates = json_array();
    for (uint32_t i = 0; i < result->gate_count; i++)
        append(&gates, json_pack("{s:s,s:b,s:s}", "name", result->gates[i].name, "ok",
                                 (int)result->gates[i].ok, "detail", result->gates[i].detail));
    return gates;
}

static json_t *target_part(const struct run *run)
{
    static const char *const names[] = {
        [LEARN_TARGET_QUALITY] = "quality",
        [LEARN_TARGET_FLOOR] = "quality_floor",
        [LEARN_TARGET_SAVE] = "save",
        [LEARN_TARGET_SPEND] = "spend",
    };
    return json_pack("{s:s,s:o,s:o,s:o}", "kind", names[run->options->target.kind], "value",
                     real(run->options->target.value), "confidence", real(run->options->confidence),
                     "best_possible", real(run->target.possible));
}

struct dump {
    struct buf *out;
    int rc;
};

/* Jansson does not look at what writing a member's name came to, so the first failure is kept. */
static int dump_to_buf(const char *data, size_t len, void *dump_of)
{
    struct dump *dump = dump_of;
    if (dump->rc == 0)
        dump->rc = buf_append(dump->out, data, len);
    return dump->rc == 0 ? 0 : -1;
}

int run_report(const struct run *run, const struct learn_result *result, struct buf *out_json)
{
    json_t *report = json_pack(
        "{s:o,s:s,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o}", "target", target_part(run),
        "verdict", learn_verdict_name(result->verdict), "chosen", chosen_part(run), "best_single",
        text(run->models[run->sweep.best]), "metrics", metrics_part(run), "config",
        config_part(run), "data", data_part(run), "models", models_part(run), "gates",
        gates_part(result), "frontier", frontier_part(run, result), "random_mix",
        curve(run->singles, run->single_count), "oracle", curve(run->oracle, run->oracle_count),
        "learned_from", references_part(run));
    if (report == NULL)
        return ERR_NOMEM;
    struct dump dump = {out_json, 0};
    int rc =
        json_dump_callback(report, dump_to_buf, &dump, JSON_COMPACT | JSON_REAL_PRECISION(9)) == 0
            ? dump.rc
            : ERR_NOMEM;
    json_decref(report);
    return rc;
}
