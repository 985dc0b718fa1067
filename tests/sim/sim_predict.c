/* How well the cost of the next run is predicted, on recorded answers of real models:
 *   sim_predict [--keys N] [--first KEY] [--fresh SHARE] [--labels N] [--pair learned|cheaper]
 *               [--trace] SET_DIRECTORY...
 * A key divides a set's questions anew into those that are known and fresh ones, and draws what an
 * exploring policy serves. Then, with the product's own training, decision and explanation:
 *   learned  explored decisions on the known questions train a version; what explain says of it by
 *            the same decisions is compared with what it costs on the fresh questions
 *   cheaper  answers of every model to the known questions train a version and a cheaper one; the
 *            first serves one half of the fresh questions, by which explain speaks of the cheaper
 *            one, which then serves the other half
 * The error of one run has two parts: that of the prediction, and the luck of the fresh questions,
 * whose standard error is printed with it. Deterministic. */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/base/str.h"
#include "common/route/policy.h"
#include "controlplane/learn/explain_version.h"
#include "controlplane/learn/outcome.h"
#include "controlplane/learn/pipeline.h"
#include "controlplane/learn/rowfile.h"

#define KEYS_MAX   64
#define RESAMPLES  300
#define NANO       1e-9
#define Q16        65536.0
#define TWO_32     4294967296.0
#define ROUNDS_MAX 8 /* Of exploration, until there are labels enough and a target is reached. */

enum purpose { DRAW_SPLIT = 1, DRAW_HALF, DRAW_REQUEST };

static struct err failure;
static uint64_t key_now;
static bool trace;
static uint64_t labels_wanted = 100; /* A model, on average: what section 6.7 calls normal. */

static void check(int rc, const char *what)
{
    if (rc == 0)
        return;
    fprintf(stderr, "sim_predict: %s: %s %s\n", what, err_text(rc), failure.message);
    exit(1);
}

static double draw(uint64_t unit, enum purpose purpose, uint64_t round)
{
    const struct siphash_key key = {.k0 = key_now, .k1 = (uint64_t)purpose << 8 | round};
    return (double)(siphash_1_3(key, &unit, sizeof unit) >> 11) * 0x1p-53;
}

/* --- a set ---------------------------------------------------------------------------------------
 */

struct set {
    const char *name;
    struct rowfile_meta meta;
    struct dataset *data;
    struct dataset_view view;
    int64_t prices[ARTIFACT_MODELS_MAX][2];
    struct features_hasher *hasher;
};

static void load_set(const char *directory, struct set *out)
{
    char path[1024];
    bool fitted[ARTIFACT_MODELS_MAX];
    const char *slash = strrchr(directory, '/');
    memset(out, 0, sizeof *out);
    out->name = slash != NULL ? slash + 1 : directory;
    out->hasher = mem_alloc(sizeof *out->hasher);
    features_hasher_init(out->hasher, (struct siphash_key){0, 0});
    snprintf(path, sizeof path, "%s/meta.json", directory);
    check(rowfile_read_meta(path, &out->meta, &failure), path);
    check(dataset_create(out->meta.names, out->meta.model_count, 0, &out->data, &failure), path);
    static const char *const files[] = {"train", "valid"};
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/%s.jsonl.gz", directory, files[i]);
        check(rowfile_load(path, &out->meta, out->hasher, out->data, &failure), path);
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

static void unload_set(struct set *s)
{
    dataset_destroy(s->data);
    rowfile_meta_deinit(&s->meta);
    mem_free(s->hasher);
}

static const struct dataset_cell *label_of(const struct set *s, uint32_t row, uint32_t model)
{
    const struct dataset_entry *e = &s->view.rows[row];
    for (uint32_t k = 0; k < e->label_count; k++)
        if (s->view.labels[e->first_label + k].model == model)
            return &s->view.labels[e->first_label + k];
    return NULL;
}

/* What a node would have been charged: tokens at the price in force. */
static double charged(const struct set *s, uint32_t row, uint32_t model)
{
    const struct dataset_cell *l = label_of(s, row, model);
    return l == NULL
               ? 0
               : outcome_cost_usd(s->prices[model], s->view.rows[row].in_tok, (double)l->out_tok);
}

/* --- deciding ------------------------------------------------------------------------------------
 */

struct policy { /* artifact NULL: priors. */
    struct artifact *artifact;
    struct policy_params params;
    struct explain_version_training training;
};

static void decide(const struct set *s, const struct policy *p, uint32_t row, uint64_t round,
                   struct policy_decision *out)
{
    struct policy_candidate c[POLICY_CANDIDATES_MAX];
    struct features features;
    struct policy_request request = {.t_in = s->view.rows[row].in_tok,
                                     .lambda = p->params.lambda,
                                     .mu = p->params.mu,
                                     .sticky = POLICY_NONE,
                                     .explore = true,
                                     .policy_version = STR("v")};
    const struct siphash_key key = {.k0 = key_now, .k1 = DRAW_REQUEST << 8 | round};
    uint64_t id = siphash_1_3(key, &s->view.rows[row].unit, sizeof id);
    memcpy(request.request_id, &id, sizeof id);
    for (uint32_t m = 0; m < s->meta.model_count; m++)
        c[m] = (struct policy_candidate){.ordinal = p->artifact != NULL ? (int32_t)m : -1,
                                         .price_in = s->prices[m][0],
                                         .price_out = s->prices[m][1],
                                         .price_cached = PRICE_UNKNOWN,
                                         .prior_q16 = POLICY_NO_PRIOR};
    dataset_features(&s->view, row, &features);
    check(policy_decide(p->artifact, &features, &p->params, &request, c, s->meta.model_count, out),
          "policy_decide");
}

static double chance(const struct policy_decision *d, uint32_t m)
{
    if ((d->flags & POLICY_FLAG_CERTAIN) != 0 || d->row[m].p == POLICY_ALWAYS)
        return m == d->chosen ? 1 : 0;
    return d->row[m].p / TWO_32;
}

/* --- training ------------------------------------------------------------------------------------
 */

struct log_entry { /* One decision that was served. */
    uint32_t row;
    uint32_t model;
    double p[POLICY_CANDIDATES_MAX];
    double cost[POLICY_CANDIDATES_MAX]; /* Expected. */
    double quality[POLICY_CANDIDATES_MAX];
};
struct log {
    struct log_entry *entries;
    uint32_t count;
};

static void serve(const struct set *s, const struct policy *p, const uint32_t *rows, uint32_t count,
                  uint64_t round, struct log *io)
{
    io->entries = mem_realloc(io->entries, (io->count + count) * sizeof *io->entries);
    for (uint32_t i = 0; i < count; i++) {
        struct policy_decision d;
        struct log_entry *e = &io->entries[io->count++];
        decide(s, p, rows[i], round, &d);
        e->row = rows[i];
        e->model = d.chosen;
        for (uint32_t m = 0; m < s->meta.model_count; m++) {
            e->p[m] = chance(&d, m);
            e->cost[m] = (double)d.row[m].cost * NANO;
            e->quality[m] = d.row[m].q / Q16;
        }
    }
}

static void add_row(const struct set *s, uint32_t row, const struct log_entry *e,
                    struct dataset *out)
{
    const struct dataset_entry *from = &s->view.rows[row];
    struct dataset_label labels[ARTIFACT_MODELS_MAX];
    struct features features;
    uint32_t count = 0;
    for (uint32_t m = 0; m < s->meta.model_count; m++) {
        const struct dataset_cell *l = label_of(s, row, m);
        if (l == NULL || (e != NULL && e->model != m))
            continue;
        labels[count++] = (struct dataset_label){.model = m,
                                                 .score = (double)l->score,
                                                 .out_tok = (double)l->out_tok,
                                                 .cost_usd = charged(s, row, m)};
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
    check(dataset_add(out, &r, &failure), "dataset_add");
}

static double number(const json_t *object, const char *name)
{
    return json_number_value(json_object_get(object, name));
}

static void read_report(struct str text, struct policy *out)
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
static bool train(const struct set *s, const struct dataset *data, const double *targets,
                  struct policy *out)
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
    int rc = learn_run_first(data, &options, targets, count, &result, &failure);
    bool good = rc == 0 && result.passed;
    if (rc != 0 && rc != ERR_RANGE)
        check(rc, "learn_run_first");
    if (good) {
        check(artifact_decode(buf_str(&result.artifact), &out->artifact, &reason, &failure),
              "artifact_decode");
        policy_params_init(&out->params);
        policy_params_from_artifact(&out->params, out->artifact, 0);
        read_report(buf_str(&result.report), out);
    }
    learn_result_deinit(&result);
    return good;
}

/* --- predicting ----------------------------------------------------------------------------------
 */

static void explain_row(const struct set *s, const struct log_entry *e, const struct policy *then,
                        bool learned, struct explain_version *x)
{
    struct policy_decision d;
    double p[POLICY_CANDIDATES_MAX];
    double cost[POLICY_CANDIDATES_MAX];
    double quality[POLICY_CANDIDATES_MAX];
    decide(s, then, e->row, 9, &d);
    for (uint32_t m = 0; m < s->meta.model_count; m++) {
        p[m] = chance(&d, m);
        cost[m] = (double)d.row[m].cost * NANO;
        quality[m] = d.row[m].q / Q16;
    }
    struct explain_version_row row = {
        .unit = s->view.rows[e->row].unit,
        .task = s->view.rows[e->row].task >= 0 ? s->view.tasks[s->view.rows[e->row].task] : STR(""),
        .arms = s->meta.model_count,
        .models = s->meta.names,
        .recorded_p = e->p,
        .now = {.p = e->p, .cost = e->cost, .quality = e->quality},
        .then = {.p = p, .cost = cost, .quality = quality},
        .learned = learned,
        .evidence = true,
        .served = e->model,
        .cost = charged(s, e->row, e->model),
        .score = (double)label_of(s, e->row, e->model)->score,
        .label_prob = 1,
    };
    check(explain_version_add(x, &row), "explain_version_add");
}

/* Calls by name: every model on every known question. */
static void explain_calls(const struct set *s, const uint32_t *rows, uint32_t count,
                          const struct policy *then, struct explain_version *x)
{
    for (uint32_t i = 0; i < count; i++) {
        struct policy_decision d;
        decide(s, then, rows[i], 9, &d);
        for (uint32_t m = 0; m < s->meta.model_count; m++) {
            double expected = (double)d.row[m].cost * NANO;
            explain_version_call(x, s->meta.names[m], charged(s, rows[i], m), expected, expected);
        }
    }
}

struct measured {
    double mean;
    double error; /* Standard error of the mean. */
};

static struct measured measure(const struct set *s, const struct policy *p, const uint32_t *rows,
                               uint32_t count)
{
    double sum = 0;
    double squares = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct policy_decision d;
        decide(s, p, rows[i], 8, &d);
        double cost = charged(s, rows[i], d.chosen);
        sum += cost;
        squares += cost * cost;
    }
    double mean = sum / count;
    return (struct measured){mean, sqrt((squares / count - mean * mean) / (count - 1))};
}

/* What the same mix of models costs on other questions, over what it costs on these, for models
 * that are used as often on all questions alike as the policy uses them on these: above 1, the
 * others are dearer whoever answers, and no choice of the policy is to blame. */
static double dearer_elsewhere(const struct set *s, const struct policy *p, const uint32_t *rows,
                               uint32_t count, const uint32_t *others, uint32_t other_count)
{
    double share[POLICY_CANDIDATES_MAX] = {0};
    double here = 0;
    double there = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct policy_decision d;
        decide(s, p, rows[i], 8, &d);
        share[d.chosen] += 1.0 / count;
    }
    for (uint32_t m = 0; m < s->meta.model_count; m++) {
        for (uint32_t i = 0; i < count; i++)
            here += share[m] * charged(s, rows[i], m) / count;
        for (uint32_t i = 0; i < other_count; i++)
            there += share[m] * charged(s, others[i], m) / other_count;
    }
    return there / here;
}

/* --- one key -------------------------------------------------------------------------------------
 */

struct questions {
    uint32_t *known, *fresh;
    uint32_t known_count, fresh_count;
};

static void divide(const struct set *s, double share, struct questions *out)
{
    out->known = mem_calloc(s->view.row_count, sizeof *out->known);
    out->fresh = mem_calloc(s->view.row_count, sizeof *out->fresh);
    out->known_count = out->fresh_count = 0;
    for (uint32_t i = 0; i < s->view.row_count; i++) {
        if (draw(s->view.rows[i].unit, DRAW_SPLIT, 0) < share)
            out->fresh[out->fresh_count++] = i;
        else
            out->known[out->known_count++] = i;
    }
    /* Files come by task: halves of the fresh ones must not. */
    for (uint32_t i = out->fresh_count; i-- > 1;) {
        uint32_t other = (uint32_t)(draw(i, DRAW_HALF, 0) * (i + 1));
        uint32_t swap = out->fresh[i];
        out->fresh[i] = out->fresh[other];
        out->fresh[other] = swap;
    }
}

struct tally { /* Of the keys of one pair. */
    double errors[KEYS_MAX];
    double luck[KEYS_MAX]; /* Standard error of what was measured, relative. */
    uint32_t count;
    uint32_t held; /* Measured within the interval of the next run. */
};

static void report(const struct set *s, const char *pair, const struct explain_version_result *r,
                   const struct policy *then, struct measured m, struct measured own,
                   uint32_t fresh, double dearer, struct tally *io)
{
    const struct explain_version_figure *f = &r->cost_then;
    const struct explain_version_training *t = &then->training;
    double error = f->of.value / m.mean - 1;
    double half = (f->of.high - f->of.low) / 2;
    double z = (f->of.value - m.mean) / hypot(half / 1.96, m.error);
    if (trace)
        printf("%-16s %-8s %3llu %5u decisions %-6s ess %6.0f  predicted %.8f (%.8f to %.8f)  "
               "measured %.8f +-%4.1f %% on %4u  error %+6.1f %%  z %+5.2f | same mix %+6.1f  own "
               "questions %+6.1f  dm %+6.1f  dr %+6.1f  over own %.3f (+-%4.1f %%)  trained %+6.1f "
               "(+-%4.1f %%)\n",
               s->name, pair, (unsigned long long)key_now, r->rows,
               explain_version_basis_name(f->basis), f->ess, f->of.value, f->of.low, f->of.high,
               m.mean, 100 * m.error / m.mean, fresh, 100 * error, z, 100 * (dearer - 1),
               100 * (own.mean / m.mean - 1), 100 * (f->direct.value / m.mean - 1),
               100 * (f->corrected.value / m.mean - 1), t->cost_ratio, 100 * t->ratio_error,
               100 * (t->cost / m.mean - 1), 100 * t->error);
    fflush(stdout);
    io->errors[io->count] = error;
    io->luck[io->count++] = m.error / m.mean;
    io->held += fabs(z) <= 1.96;
}

static void predict_learned(const struct set *s, const struct questions *q, struct tally *io)
{
    static const double targets[] = {0.95, 0.90, 0.85, 0.80, 0.70, 0};
    struct policy exploring = {0};
    struct policy learned = {0};
    struct log log = {0};
    struct dataset *data = NULL;
    struct explain_version *x = NULL;
    static struct explain_version_result r;
    bool trained = false;
    policy_params_init(&exploring.params);
    exploring.params.eps_cap = UINT32_MAX;
    check(dataset_create(s->meta.names, s->meta.model_count, 0, &data, &failure), "dataset");
    for (uint64_t round = 0; round < ROUNDS_MAX && !trained; round++) {
        uint32_t from = log.count;
        serve(s, &exploring, q->known, q->known_count, round, &log);
        for (uint32_t i = from; i < log.count; i++)
            add_row(s, log.entries[i].row, &log.entries[i], data);
        if (log.count >= labels_wanted * s->meta.model_count)
            trained = train(s, data, targets, &learned);
    }
    if (trained) {
        learned.params.eps_cap = UINT32_MAX; /* As the file says, as before. */
        check(explain_version_create(true, &x), "explain_version");
        explain_version_trained(x, &learned.training);
        for (uint32_t i = 0; i < log.count; i++)
            explain_row(s, &log.entries[i], &learned, true, x);
        check(explain_version_finish(x, RESAMPLES, &r), "explain_version_finish");
        report(s, "learned", &r, &learned, measure(s, &learned, q->fresh, q->fresh_count),
               measure(s, &learned, q->known, q->known_count), q->fresh_count,
               dearer_elsewhere(s, &learned, q->fresh, q->fresh_count, q->known, q->known_count),
               io);
    }
    explain_version_destroy(x);
    artifact_destroy(learned.artifact);
    dataset_destroy(data);
    mem_free(log.entries);
}

static void predict_cheaper(const struct set *s, const struct questions *q, struct tally *io)
{
    static const double first_targets[] = {0.95, 0.93, 0.90, 0};
    static const double targets[] = {0.90, 0.85, 0.80, 0.97, 0.99, 0};
    struct policy first = {0};
    struct policy cheaper = {0};
    struct log log = {0};
    struct dataset *data = NULL;
    struct explain_version *x = NULL;
    static struct explain_version_result r;
    uint32_t half = q->fresh_count / 2;
    check(dataset_create(s->meta.names, s->meta.model_count, 0, &data, &failure), "dataset");
    for (uint32_t i = 0; i < q->known_count; i++)
        add_row(s, q->known[i], NULL, data);
    if (train(s, data, first_targets, &first) && train(s, data, targets, &cheaper)) {
        first.params.eps_cap = cheaper.params.eps_cap = 0;
        serve(s, &first, q->fresh, half, 0, &log);
        check(explain_version_create(true, &x), "explain_version");
        explain_version_trained(x, &cheaper.training);
        for (uint32_t i = 0; i < log.count; i++)
            explain_row(s, &log.entries[i], &cheaper, false, x);
        explain_calls(s, q->known, q->known_count, &cheaper, x);
        check(explain_version_finish(x, RESAMPLES, &r), "explain_version_finish");
        report(
            s, "cheaper", &r, &cheaper,
            measure(s, &cheaper, q->fresh + half, q->fresh_count - half),
            measure(s, &cheaper, q->fresh, half), q->fresh_count - half,
            dearer_elsewhere(s, &cheaper, q->fresh + half, q->fresh_count - half, q->fresh, half),
            io);
    }
    explain_version_destroy(x);
    artifact_destroy(first.artifact);
    artifact_destroy(cheaper.artifact);
    dataset_destroy(data);
    mem_free(log.entries);
}

static int by_size(const void *a, const void *b)
{
    double x = fabs(*(const double *)a);
    double y = fabs(*(const double *)b);
    return x < y ? -1 : x > y;
}

static void summarise(const struct set *s, const char *pair, struct tally *t)
{
    double squares = 0;
    double luck = 0;
    double bias = 0;
    uint32_t within = 0;
    if (t->count == 0) {
        printf("%-16s %-8s no version passed its gates\n", s->name, pair);
        return;
    }
    for (uint32_t i = 0; i < t->count; i++) {
        squares += t->errors[i] * t->errors[i] / t->count;
        luck += t->luck[i] * t->luck[i] / t->count;
        bias += t->errors[i] / t->count;
        within += fabs(t->errors[i]) <= 0.10;
    }
    qsort(t->errors, t->count, sizeof t->errors[0], by_size);
    printf(
        "%-16s %-8s %2u keys: median |error| %4.1f %%, mean %+5.1f %%, rms %4.1f %% of which luck "
        "%4.1f %%; %u within 10 %%; %u within the interval\n",
        s->name, pair, t->count, 100 * fabs(t->errors[t->count / 2]), 100 * bias,
        100 * sqrt(squares), 100 * sqrt(luck), within, t->held);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    uint64_t keys = 3;
    uint64_t first = 1;
    double share = 0.5;
    int at = 1;
    int pairs = 3;
    for (; at < argc && argv[at][0] == '-'; at++) {
        struct str name = str_from(argv[at]);
        if (str_is(name, "--trace"))
            trace = true;
        else if (str_is(name, "--keys") && ++at < argc)
            check(str_parse_u64(str_from(argv[at]), KEYS_MAX, &keys), "--keys");
        else if (str_is(name, "--labels") && ++at < argc)
            check(str_parse_u64(str_from(argv[at]), 100000, &labels_wanted), "--labels");
        else if (str_is(name, "--first") && ++at < argc)
            check(str_parse_u64(str_from(argv[at]), UINT32_MAX, &first), "--first");
        else if (str_is(name, "--fresh") && ++at < argc)
            share = strtod(argv[at], NULL);
        else if (str_is(name, "--pair") && ++at < argc)
            pairs = str_is(str_from(argv[at]), "learned") ? 1 : 2;
        else
            check(ERR_INVALID, argv[at < argc ? at : argc - 1]);
    }
    json_set_alloc_funcs(mem_alloc, mem_free);
    for (; at < argc; at++) {
        struct set s;
        struct tally learned = {0};
        struct tally cheaper = {0};
        load_set(argv[at], &s);
        for (uint64_t k = 0; k < keys; k++) {
            struct questions q;
            key_now = first + k;
            divide(&s, share, &q);
            if (pairs & 1)
                predict_learned(&s, &q, &learned);
            if (pairs & 2)
                predict_cheaper(&s, &q, &cheaper);
            mem_free(q.known);
            mem_free(q.fresh);
        }
        if (pairs & 1)
            summarise(&s, "learned", &learned);
        if (pairs & 2)
            summarise(&s, "cheaper", &cheaper);
        unload_set(&s);
    }
    return 0;
}
