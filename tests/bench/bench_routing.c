/* Trains on one set's training rows and says how the policy does on its validation rows:
 *   bench_routing NAME TRAIN META VALID [TARGET] [observed]
 * "observed": one answer a question, of a model drawn uniformly, as traffic would show it. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "common/base/hash.h"
#include "common/base/mem.h"
#include "controlplane/learn/holdout.h"
#include "controlplane/learn/pipeline.h"
#include "controlplane/learn/rowfile.h"

static struct dataset *load(const char *path, const struct rowfile_meta *meta,
                            const struct features_hasher *hasher, struct err *err)
{
    struct dataset *d = NULL;
    int rc = dataset_create(meta->names, meta->model_count, 0, &d, err);
    if (rc == 0)
        rc = rowfile_load(path, meta, hasher, d, err);
    if (rc == 0)
        return d;
    dataset_destroy(d);
    return NULL;
}

/* Best single model of the rows, as the target counts it. */
static uint32_t find_best(const struct dataset *d)
{
    struct dataset_view v;
    double sum[ARTIFACT_MODELS_MAX] = {0};
    uint32_t best = 0;
    dataset_view(d, &v);
    for (uint32_t i = 0; i < v.row_count; i++)
        for (uint32_t k = 0; k < v.rows[i].label_count; k++) {
            const struct dataset_cell *l = &v.labels[v.rows[i].first_label + k];
            sum[l->model] += isnan(l->score) ? 0 : (double)l->score;
        }
    for (uint32_t m = 1; m < v.model_count; m++)
        best = sum[m] > sum[best] ? m : best;
    return best;
}

static struct dataset *observe(const struct dataset *full, const struct rowfile_meta *meta,
                               struct err *err)
{
    static const struct siphash_key key = {.k0 = 7, .k1 = 7};
    struct dataset *d = NULL;
    struct dataset_view v;
    struct features features;
    dataset_view(full, &v);
    int rc = dataset_create(meta->names, meta->model_count, 0, &d, err);
    for (uint32_t i = 0; rc == 0 && i < v.row_count; i++) {
        const struct dataset_entry *e = &v.rows[i];
        uint64_t draw = siphash_1_3(key, &e->unit, sizeof(e->unit)) % e->label_count;
        const struct dataset_cell *l = &v.labels[e->first_label + draw];
        struct dataset_label label = {.model = l->model,
                                      .score = (double)l->score,
                                      .out_tok = (double)l->out_tok,
                                      .cost_usd = (double)l->cost_usd};
        struct dataset_row row = {
            .features = &features,
            .unit = e->unit,
            .in_tok = e->in_tok,
            .task = e->task >= 0 ? v.tasks[e->task] : STR_NULL,
            .labels = &label,
            .label_count = 1,
            .propensity = 1.0 / e->label_count,
            .label_prob = 1,
            .weight = 1,
        };
        dataset_features(&v, i, &features);
        rc = dataset_add(d, &row, err);
    }
    if (rc == 0)
        return d;
    dataset_destroy(d);
    return NULL;
}

static void print_row(const char *name, const struct holdout *h, double seconds, size_t bytes)
{
    printf("%-16s %5u  %6.1f %6.1f %6.1f   %6.1f %6.1f   %6.4f %6.4f   %6.4f   %6.1f %5.1f\n", name,
           h->rows, 100 * h->quality / h->best_quality, 100 * h->cost / h->best_cost,
           100 * h->mix_cost / h->best_cost, 100 * h->curve_cost_95 / h->best_cost,
           100 * h->mix_cost_95 / h->best_cost, h->aiq / h->best_quality,
           h->mix_aiq / h->best_quality, h->apgr, seconds, (double)bytes / 1048576);
}

static int run(char **argv, const char *target, bool observed, struct err *err)
{
    struct rowfile_meta meta = {0};
    struct learn_options options;
    struct learn_result result = {0};
    struct artifact *a = NULL;
    enum artifact_reason reason;
    struct holdout holdout;
    struct features_hasher *hasher = mem_alloc(sizeof(*hasher));
    if (hasher == NULL)
        return ERR_NOMEM;
    features_hasher_init(hasher, (struct siphash_key){0, 0});
    learn_options_init(&options);
    int rc = learn_target_parse(str_from(target), &options.target, err);
    if (rc == 0)
        rc = rowfile_read_meta(argv[3], &meta, err);
    struct dataset *train = rc == 0 ? load(argv[2], &meta, hasher, err) : NULL;
    struct dataset *valid = rc == 0 ? load(argv[4], &meta, hasher, err) : NULL;
    struct dataset *seen = train != NULL && observed ? observe(train, &meta, err) : NULL;
    if (train == NULL || valid == NULL || (observed && seen == NULL))
        rc = rc != 0 ? rc : ERR_INVALID;
    struct timespec from;
    struct timespec to;
    (void)clock_gettime(CLOCK_MONOTONIC, &from);
    options.models = meta.models;
    if (rc == 0)
        rc = learn_run(observed ? seen : train, &options, &result, err);
    (void)clock_gettime(CLOCK_MONOTONIC, &to);
    if (rc == 0)
        rc = artifact_decode(buf_str(&result.artifact), &a, &reason, err);
    if (rc == 0)
        rc = holdout_evaluate(a, valid, find_best(train), &holdout, err);
    if (rc == 0)
        print_row(argv[1], &holdout,
                  (double)(to.tv_sec - from.tv_sec) + (double)(to.tv_nsec - from.tv_nsec) * 1e-9,
                  result.artifact.len);
    artifact_destroy(a);
    learn_result_deinit(&result);
    dataset_destroy(train);
    dataset_destroy(valid);
    dataset_destroy(seen);
    rowfile_meta_deinit(&meta);
    mem_free(hasher);
    return rc;
}

int main(int argc, char **argv)
{
    struct err err = {0};
    if (argc < 5) {
        fprintf(stderr, "usage: bench_routing NAME TRAIN META VALID [TARGET] [observed]\n");
        return 2;
    }
    const char *target = argc > 5 ? argv[5] : "quality=0.95";
    int rc = run(argv, target, argc > 6 && strcmp(argv[6], "observed") == 0, &err);
    if (rc != 0)
        printf("%-16s %s\n", argv[1], err.message[0] != '\0' ? err.message : err_text(rc));
    return rc == 0 ? 0 : 1;
}
