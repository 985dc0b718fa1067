/* dataset.h: the rows one policy is learned from, in memory, in the order they were added.
 *
 * A row is one request with one label (the model that served it: observed data) or with a label of
 * each model (full information: a probe, an offline set). Texts are gone by now: a row holds the
 * features the router itself sees. The task is a label for training and never an input of routing.
 *
 * Bounded: above `rows_max` rows are kept by priority sampling (Duffield, Lund, Thorup 2007) on the
 * label weight, drawn from the row's position, so that the same rows give the same sample.
 * One thread at a time. All memory comes from mem.h. */
#ifndef STEELYARD_CONTROLPLANE_LEARN_DATASET_H
#define STEELYARD_CONTROLPLANE_LEARN_DATASET_H

#include <stdint.h>

#include "common/base/err.h"
#include "common/base/str.h"
#include "common/crypto/digest.h"
#include "common/route/artifact.h"
#include "common/route/features.h"

#define DATASET_ROWS_MAX       2000000 /* Default and ceiling of rows_max. */
#define DATASET_TASKS_MAX      1024    /* Distinct task names; rows with further ones have none. */
#define DATASET_NO_TASK        (-1)
#define DATASET_WEIGHT_MAX     20.0 /* omega, section 6.2. */
#define DATASET_PROPENSITY_MIN 0.1  /* Weights are clipped at 1 / this. */

/* Label weights of section 6.1. */
#define DATASET_WEIGHT_EXACT    1.0
#define DATASET_WEIGHT_JUDGE    0.7
#define DATASET_WEIGHT_THUMB    0.5
#define DATASET_WEIGHT_IMPLICIT 0.2

struct dataset_label { /* What one model gave for one row. NAN: not known. */
    uint32_t model;    /* Ordinal in the data set's model list. */
    double score;      /* 0..1; a label without a score still teaches length. */
    double out_tok;    /* Output tokens. */
    double cost_usd;   /* What the call cost. */
};

struct dataset_row { /* All borrowed for the call. */
    const struct features *features;
    uint64_t unit; /* Hash of what must not be split over folds (user, conversation, question). */
    uint64_t cluster; /* Hash of what is drawn together in intervals (Decision.unit); 0: unit. */
    uint32_t in_tok;  /* t_in */
    struct str task;  /* len 0: none. */
    const struct dataset_label *labels;
    uint32_t label_count; /* 1: observed (see propensity); more: full information. */
    double propensity; /* Chance with which the labelled model was chosen; 1 if label_count > 1. */
    double label_prob; /* Chance with which the label was asked for; 1 if always. */
    double weight;     /* DATASET_WEIGHT_*. */
    bool seen;         /* The incumbent may have learned from it. */
    double age_days;   /* Weight halves every 14 days; 0 in offline sets. */
};

struct dataset;
/* models: ids by ordinal, copied; 1..ARTIFACT_MODELS_MAX, distinct. rows_max 0: the default. */
int dataset_create(const struct str *models, uint32_t model_count, uint32_t rows_max,
                   struct dataset **out_dataset, struct err *err) MUST_CHECK;
void dataset_destroy(struct dataset *d);
/* ERR_INVALID (with a message) for a score outside 0..1, an infinite or negative number, a weight,
 * propensity or label_prob outside (0, 1], an unknown ordinal, a model labelled twice; ERR_NOMEM.
 * On error the set is as before. */
int dataset_add(struct dataset *d, const struct dataset_row *row, struct err *err) MUST_CHECK;

uint32_t dataset_rows(const struct dataset *d); /* Kept now. */
uint64_t dataset_seen(const struct dataset *d); /* Added. */
uint32_t dataset_models(const struct dataset *d);
struct str dataset_model(const struct dataset *d, uint32_t ordinal);
/* sha256 over all rows in order (the data digest of the artifact). */
int dataset_digest(const struct dataset *d, struct sha256 *out_digest) MUST_CHECK;

/* Inside: rows as the trainer walks them. */
struct dataset_entry {
    uint64_t unit;
    uint64_t cluster;
    uint64_t first_index; /* Into indices. */
    uint64_t first_label; /* Into labels. */
    uint16_t index_count;
    uint16_t label_count;
    bool seen;
    uint32_t in_tok;
    int32_t task;     /* DATASET_NO_TASK or an index into tasks. */
    float omega;      /* Fit weight of each of its labels. */
    float ipw;        /* 1 / (propensity * label_prob), not clipped; 1 for full information. */
    float propensity; /* 1 for full information, and for a choice without an alternative. */
    float sample;     /* Weight in means: 1 unless rows were sampled. */
    int16_t dense[FEATURES_DENSE];
};
struct dataset_cell { /* A stored label. */
    uint32_t model;
    float score; /* NAN: not known. */
    float out_tok;
    float cost_usd;
};
struct dataset_view { /* Valid until the next dataset_add. */
    const struct dataset_entry *rows;
    const uint16_t *indices;
    const struct dataset_cell *labels;
    const struct str *tasks;
    uint32_t row_count;
    uint32_t task_count;
    uint32_t model_count;
    uint32_t observed; /* Rows with one label of several models. */
};
void dataset_view(const struct dataset *d, struct dataset_view *out_view);
void dataset_features(const struct dataset_view *v, uint32_t row, struct features *out_features);

#endif
