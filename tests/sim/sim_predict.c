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
#include "tests/sim/sim_predict_set.h"

#define KEYS_MAX   64
#define RESAMPLES  300
#define ROUNDS_MAX 8 /* Of exploration, until there are labels enough and a target is reached. */

static bool trace;
static uint64_t labels_wanted = 100; /* A model, on average: what section 6.7 calls normal. */

/* --- predicting ----------------------------------------------------------------------------------
 */

static void explain_row(const struct predict_set *s, const struct predict_log_entry *e,
                        const struct predict_policy *then, bool learned, struct explain_version *x)
{
    struct policy_decision d;
    double p[POLICY_CANDIDATES_MAX];
    double cost[POLICY_CANDIDATES_MAX];
    double quality[POLICY_CANDIDATES_MAX];
    predict_decide(s, then, e->row, 9, &d);
    for (uint32_t m = 0; m < s->meta.model_count; m++) {
        p[m] = predict_chance(&d, m);
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
        .cost = predict_charged(s, e->row, e->model),
        .score = (double)predict_label_of(s, e->row, e->model)->score,
        .label_prob = 1,
    };
    predict_check(explain_version_add(x, &row), "explain_version_add");
}

/* Calls by name: every model on every known question. */
static void explain_calls(const struct predict_set *s, const uint32_t *rows, uint32_t count,
                          const struct predict_policy *then, struct explain_version *x)
{
    for (uint32_t i = 0; i < count; i++) {
        struct policy_decision d;
        predict_decide(s, then, rows[i], 9, &d);
        for (uint32_t m = 0; m < s->meta.model_count; m++) {
            double expected = (double)d.row[m].cost * NANO;
            explain_version_call(x, s->meta.names[m], predict_charged(s, rows[i], m), expected,
                                 expected);
        }
    }
}

struct measured {
    double mean;
    double error; /* Standard error of the mean. */
};

static struct measured measure(const struct predict_set *s, const struct predict_policy *p,
                               const uint32_t *rows, uint32_t count)
{
    double sum = 0;
    double squares = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct policy_decision d;
        predict_decide(s, p, rows[i], 8, &d);
        double cost = predict_charged(s, rows[i], d.chosen);
        sum += cost;
        squares += cost * cost;
    }
    double mean = sum / count;
    return (struct measured){mean, sqrt((squares / count - mean * mean) / (count - 1))};
}

/* What the same mix of models costs on other questions, over what it costs on these, for models
 * that are used as often on all questions alike as the policy uses them on these: above 1, the
 * others are dearer whoever answers, and no choice of the policy is to blame. */
static double dearer_elsewhere(const struct predict_set *s, const struct predict_policy *p,
                               const uint32_t *rows, uint32_t count, const uint32_t *others,
                               uint32_t other_count)
{
    double share[POLICY_CANDIDATES_MAX] = {0};
    double here = 0;
    double there = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct policy_decision d;
        predict_decide(s, p, rows[i], 8, &d);
        share[d.chosen] += 1.0 / count;
    }
    for (uint32_t m = 0; m < s->meta.model_count; m++) {
        for (uint32_t i = 0; i < count; i++)
            here += share[m] * predict_charged(s, rows[i], m) / count;
        for (uint32_t i = 0; i < other_count; i++)
            there += share[m] * predict_charged(s, others[i], m) / other_count;
    }
    return there / here;
}

/* --- one key -------------------------------------------------------------------------------------
 */

struct questions {
    uint32_t *known, *fresh;
    uint32_t known_count, fresh_count;
};

static void divide(const struct predict_set *s, double share, struct questions *out)
{
    out->known = mem_calloc(s->view.row_count, sizeof *out->known);
    out->fresh = mem_calloc(s->view.row_count, sizeof *out->fresh);
    out->known_count = out->fresh_count = 0;
    for (uint32_t i = 0; i < s->view.row_count; i++) {
        if (predict_draw(s->view.rows[i].unit, DRAW_SPLIT, 0) < share)
            out->fresh[out->fresh_count++] = i;
        else
            out->known[out->known_count++] = i;
    }
    /* Files come by task: halves of the fresh ones must not. */
    for (uint32_t i = out->fresh_count; i-- > 1;) {
        uint32_t other = (uint32_t)(predict_draw(i, DRAW_HALF, 0) * (i + 1));
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

static void report(const struct predict_set *s, const char *pair,
                   const struct explain_version_result *r, const struct predict_policy *then,
                   struct measured m, struct measured own, uint32_t fresh, double dearer,
                   struct tally *io)
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
               s->name, pair, (unsigned long long)predict_key, r->rows,
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

static void predict_learned(const struct predict_set *s, const struct questions *q,
                            struct tally *io)
{
    static const double targets[] = {0.95, 0.90, 0.85, 0.80, 0.70, 0};
    struct predict_policy exploring = {0};
    struct predict_policy learned = {0};
    struct predict_log log = {0};
    struct dataset *data = NULL;
    struct explain_version *x = NULL;
    static struct explain_version_result r;
    bool trained = false;
    policy_params_init(&exploring.params);
    exploring.params.eps_cap = UINT32_MAX;
    predict_check(dataset_create(s->meta.names, s->meta.model_count, 0, &data, &predict_failure),
                  "dataset");
    for (uint64_t round = 0; round < ROUNDS_MAX && !trained; round++) {
        uint32_t from = log.count;
        predict_serve(s, &exploring, q->known, q->known_count, round, &log);
        for (uint32_t i = from; i < log.count; i++)
            predict_add_row(s, log.entries[i].row, &log.entries[i], data);
        if (log.count >= labels_wanted * s->meta.model_count)
            trained = predict_train(s, data, targets, &learned);
    }
    if (trained) {
        learned.params.eps_cap = UINT32_MAX; /* As the file says, as before. */
        predict_check(explain_version_create(true, &x), "explain_version");
        explain_version_trained(x, &learned.training);
        for (uint32_t i = 0; i < log.count; i++)
            explain_row(s, &log.entries[i], &learned, true, x);
        predict_check(explain_version_finish(x, RESAMPLES, &r), "explain_version_finish");
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

static void predict_cheaper(const struct predict_set *s, const struct questions *q,
                            struct tally *io)
{
    static const double first_targets[] = {0.95, 0.93, 0.90, 0};
    static const double targets[] = {0.90, 0.85, 0.80, 0.97, 0.99, 0};
    struct predict_policy first = {0};
    struct predict_policy cheaper = {0};
    struct predict_log log = {0};
    struct dataset *data = NULL;
    struct explain_version *x = NULL;
    static struct explain_version_result r;
    uint32_t half = q->fresh_count / 2;
    predict_check(dataset_create(s->meta.names, s->meta.model_count, 0, &data, &predict_failure),
                  "dataset");
    for (uint32_t i = 0; i < q->known_count; i++)
        predict_add_row(s, q->known[i], NULL, data);
    if (predict_train(s, data, first_targets, &first) &&
        predict_train(s, data, targets, &cheaper)) {
        first.params.eps_cap = cheaper.params.eps_cap = 0;
        predict_serve(s, &first, q->fresh, half, 0, &log);
        predict_check(explain_version_create(true, &x), "explain_version");
        explain_version_trained(x, &cheaper.training);
        for (uint32_t i = 0; i < log.count; i++)
            explain_row(s, &log.entries[i], &cheaper, false, x);
        explain_calls(s, q->known, q->known_count, &cheaper, x);
        predict_check(explain_version_finish(x, RESAMPLES, &r), "explain_version_finish");
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

static void summarise(const struct predict_set *s, const char *pair, struct tally *t)
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
            predict_check(str_parse_u64(str_from(argv[at]), KEYS_MAX, &keys), "--keys");
        else if (str_is(name, "--labels") && ++at < argc)
            predict_check(str_parse_u64(str_from(argv[at]), 100000, &labels_wanted), "--labels");
        else if (str_is(name, "--first") && ++at < argc)
            predict_check(str_parse_u64(str_from(argv[at]), UINT32_MAX, &first), "--first");
        else if (str_is(name, "--fresh") && ++at < argc)
            share = strtod(argv[at], NULL);
        else if (str_is(name, "--pair") && ++at < argc)
            pairs = str_is(str_from(argv[at]), "learned") ? 1 : 2;
        else
            predict_check(ERR_INVALID, argv[at < argc ? at : argc - 1]);
    }
    json_set_alloc_funcs(mem_alloc, mem_free);
    for (; at < argc; at++) {
        struct predict_set s;
        struct tally learned = {0};
        struct tally cheaper = {0};
        predict_load_set(argv[at], &s);
        for (uint64_t k = 0; k < keys; k++) {
            struct questions q;
            predict_key = first + k;
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
        predict_unload_set(&s);
    }
    return 0;
}
