/* recorded.h: one set of recorded questions and answers (a folder with meta.json, train.jsonl.gz,
 * valid.jsonl.gz and perhaps responses.jsonl.gz) in memory. For test programs; errors are fatal
 * with a message, because without the data there is no test. */
#ifndef STEELYARD_TESTS_LIB_RECORDED_H
#define STEELYARD_TESTS_LIB_RECORDED_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/map.h"

#define RECORDED_MODELS_MAX 64

struct recorded_row {
    char *id;
    char *task;
    char *query;
    uint32_t in_tok;
    double *score; /* By model; NaN where nothing was recorded. */
    uint32_t *out_tok;
    double *cost_usd;
    const char **response; /* By model; NULL where only the score was recorded. */
};

struct recorded_set {
    char *name; /* Of the folder. */
    char *models[RECORDED_MODELS_MAX];
    size_t model_count;
    struct recorded_row *train;
    size_t train_count;
    struct recorded_row *valid;
    size_t valid_count;
    struct map by_query; /* Query text -> struct recorded_row *. */
};

struct recorded_set *recorded_load(const char *directory);
/* Index of a model, or -1. */
int recorded_model(const struct recorded_set *set, struct str name);

#endif
