#include "tests/sim/sim_predict_set.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/base/str.h"
#include "controlplane/learn/outcome.h"

#define TWO_32 4294967296.0

struct err predict_failure;
uint64_t predict_key;

void predict_check(int rc, const char *what)
{
    if (rc == 0)
        return;
    fprintf(stderr, "sim_predict: %s: %s %s\n", what, err_text(rc), predict_failure.message);
    exit(1);
}

double predict_draw(uint64_t unit, enum purpose purpose, uint64_t round)
{
    const struct siphash_key key = {.k0 = predict_key, .k1 = (uint64_t)purpose << 8 | round};
    return (double)(siphash_1_3(key, &unit, sizeof unit) >> 11) * 0x1p-53;
}

/* --- a set ---------------------------------------------------------------------------------------
 */

void predict_load_set(const char *directory, struct predict_set *out)
{
    char path[1024];
    bool fitted[ARTIFACT_MODELS_MAX];
    const char *slash = strrchr(directory, '/');
    memset(out, 0, sizeof *out);
    out->name = slash != NULL ? slash + 1 : directory;
    out->hasher = mem_alloc(sizeof *out->hasher);
    features_hasher_init(out->hasher, (struct siphash_key){0, 0});
    snprintf(path, sizeof path, "%s/meta.json", directory);
    predict_check(rowfile_read_meta(path, &out->meta, &predict_failure), path);
    predict_check(
        dataset_create(out->meta.names, out->meta.model_count, 0, &out->data, &predict_failure),
        path);
    static const char *const files[] = {"train", "valid"};
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/%s.jsonl.gz", directory, files[i]);
        predict_check(rowfile_load(path, &out->meta, out->hasher, out->data, &predict_failure),
                      path);
    }
    dataset_view(out->data, &out->view);
    for (uint32_t m = 0; m < out->meta.model_count; m++) {
        out->prices[m][0] = out->meta.models[m].price_in;
        out->prices[m][1] = out->meta.models[m].price_out;
    }
    outcome_fit_prices(&out->view, out->prices, fitted);
    for (uint32_t m = 0; m < out->meta.model_count; m++) {
        out->meta.models[m].price_in = out->prices[m][0];
        out->meta.models[m].price_out = out->prices[m][1];
    }
}

void predict_unload_set(struct predict_set *s)
{
    dataset_destroy(s->data);
    rowfile_meta_deinit(&s->meta);
    mem_free(s->hasher);
}

const struct dataset_cell *predict_label_of(const struct predict_set *s, uint32_t row,
                                            uint32_t model)
{
    const struct dataset_entry *e = &s->view.rows[row];
    for (uint32_t k = 0; k < e->label_count; k++)
        if (s->view.labels[e->first_label + k].model == model)
            return &s->view.labels[e->first_label + k];
    return NULL;
}

/* What a node would have been charged: tokens at the price in force. */
double predict_charged(const struct predict_set *s, uint32_t row, uint32_t model)
{
    const struct dataset_cell *l = predict_label_of(s, row, model);
    return l == NULL
               ? 0
               : outcome_cost_usd(s->prices[model], s->view.rows[row].in_tok, (double)l->out_tok);
}

/* --- deciding ------------------------------------------------------------------------------------
 */

void predict_decide(const struct predict_set *s, const struct predict_policy *p, uint32_t row,
                    uint64_t round, struct policy_decision *out)
{
    struct policy_candidate c[POLICY_CANDIDATES_MAX];
    struct features features;
    struct policy_request request = {.t_in = s->view.rows[row].in_tok,
                                     .lambda = p->params.lambda,
                                     .mu = p->params.mu,
                                     .sticky = POLICY_NONE,
                                     .explore = true,
                                     .policy_version = STR("v")};
    const struct siphash_key key = {.k0 = predict_key, .k1 = DRAW_REQUEST << 8 | round};
    uint64_t id = siphash_1_3(key, &s->view.rows[row].unit, sizeof id);
    memcpy(request.request_id, &id, sizeof id);
    for (uint32_t m = 0; m < s->meta.model_count; m++)
        c[m] = (struct policy_candidate){.ordinal = p->artifact != NULL ? (int32_t)m : -1,
                                         .price_in = s->prices[m][0],
                                         .price_out = s->prices[m][1],
                                         .price_cached = PRICE_UNKNOWN,
                                         .prior_q16 = POLICY_NO_PRIOR};
    dataset_features(&s->view, row, &features);
    predict_check(
        policy_decide(p->artifact, &features, &p->params, &request, c, s->meta.model_count, out),
        "policy_decide");
}

double predict_chance(const struct policy_decision *d, uint32_t m)
{
    if ((d->flags & POLICY_FLAG_CERTAIN) != 0 || d->row[m].p == POLICY_ALWAYS)
        return m == d->chosen ? 1 : 0;
    return d->row[m].p / TWO_32;
}

/* --- training ------------------------------------------------------------------------------------
 */

void predict_serve(const struct predict_set *s, const struct predict_policy *p,
                   const uint32_t *rows, uint32_t count, uint64_t round, struct predict_log *io)
{
    io->entries = mem_realloc(io->entries, (io->count + count) * sizeof *io->entries);
    for (uint32_t i = 0; i < count; i++) {
        struct policy_decision d;
        struct predict_log_entry *e = &io->entries[io->count++];
        predict_decide(s, p, rows[i], round, &d);
        e->row = rows[i];
        e->model = d.chosen;
        for (uint32_t m = 0; m < s->meta.model_count; m++) {
            e->p[m] = predict_chance(&d, m);
            e->cost[m] = (double)d.row[m].cost * NANO;
            e->quality[m] = d.row[m].q / Q16;
        }
    }
}

void predict_add_row(const struct predict_set *s, uint32_t row, const struct predict_log_entry *e,
                     struct dataset *out)
{
    const struct dataset_entry *from = &s->view.rows[row];
    struct dataset_label labels[ARTIFACT_MODELS_MAX];
    struct features features;
    uint32_t count = 0;
    for (uint32_t m = 0; m < s->meta.model_count; m++) {
        const struct dataset_cell *l = predict_label_of(s, row, m);
        if (l == NULL || (e != NULL && e->model != m))
            continue;
        labels[count++] = (struct dataset_label){.model = m,
                                                 .score = (double)l->score,
                                                 .out_tok = (double)l->out_tok,
                                                 .cost_usd = predict_charged(s, row, m)};
    }
    struct dataset_row r = {
        .features = &features,
        .unit = from->unit,
        .in_tok = from->in_tok,
        .task = from->task >= 0 ? s->view.tasks[from->task] : STR_NULL,
        .labels = labels,
        .label_count = count,
        .propensity = e != NULL ? e->p[e->model] : 1,
        .label_prob = 1,
        .weight = 1,
    };
    dataset_features(&s->view, row, &features);
    predict_check(dataset_add(out, &r, &predict_failure), "dataset_add");
}

static double number(const json_t *object, const char *name)
{
    return json_number_value(json_object_get(object, name));
}

static void read_report(struct str text, struct predict_policy *out)
{
    json_t *report = json_loadb(text.data, text.len, 0, NULL);
    const json_t *chosen = json_object_get(report, "chosen");
    const json_t *own = json_object_get(chosen, "final_on_training_rows");
    const json_t *costs = json_object_get(chosen, "costs");
    out->training = (struct explain_version_training){
        .cost_ratio = number(costs, "over_own"),
        .ratio_error = number(costs, "over_own_error"),
        .quality_excess = number(own, "quality") - number(chosen, "quality"),
        .cost = number(costs, "usd"),
        .error = number(costs, "error"),
    };
    json_decref(report);
}

/* The first target that can be reached and whose gates pass; false: none. */
bool predict_train(const struct predict_set *s, const struct dataset *data, const double *targets,
                   struct predict_policy *out)
{
    struct learn_options options;
    enum artifact_reason reason;
    learn_options_init(&options);
    options.models = s->meta.models;
    options.target.kind = LEARN_TARGET_QUALITY;
    uint32_t count = 0;
    while (targets[count] > 0)
        count++;
    struct learn_result result = {0};
    int rc = learn_run_first(data, &options, targets, count, &result, &predict_failure);
    bool good = rc == 0 && result.passed;
    if (rc != 0 && rc != ERR_RANGE)
        predict_check(rc, "learn_run_first");
    if (good) {
        predict_check(
            artifact_decode(buf_str(&result.artifact), &out->artifact, &reason, &predict_failure),
            "artifact_decode");
        policy_params_init(&out->params);
        policy_params_from_artifact(&out->params, out->artifact, 0);
        read_report(buf_str(&result.report), out);
    }
    learn_result_deinit(&result);
    return good;
}
