/* rowfile.h: questions with recorded answers from files, for training and routing offline.
 *
 * One JSON object a line, plain or gzip. Full information, arrays in the order of META's models:
 *   {"id","task","query","in_tok","score":[..],"out_tok":[..],"cost_usd":[..]}
 * One observed answer:
 *   {"id","task","query","in_tok","model":"name","score":1,"out_tok":87,"cost_usd":0.002,
 *    "propensity":0.2}
 * task, out_tok, cost_usd and propensity may be missing; null in an array is "not known". Optional:
 * "weight" (0..1]. META.json: {"models":[{"name","price_in","price_out"}]}, prices in USD per
 * million tokens and optional, "prior_quality" optional. Members not named here are ignored. A bad
 * line is refused with its number. */
#ifndef STEELYARD_CONTROLPLANE_LEARN_ROWFILE_H
#define STEELYARD_CONTROLPLANE_LEARN_ROWFILE_H

#include <jansson.h>
#include <stdint.h>

#include "common/base/err.h"
#include "common/base/str.h"
#include "common/route/features.h"
#include "controlplane/learn/dataset.h"
#include "controlplane/learn/pipeline.h"

#define ROWFILE_LINE_BYTES_MAX (4U << 20)
#define ROWFILE_META_BYTES_MAX (4U << 20)

struct rowfile_meta {
    uint32_t model_count;
    struct str names[ARTIFACT_MODELS_MAX]; /* Point into json. */
    struct learn_model models[ARTIFACT_MODELS_MAX];
    json_t *json; /* Private. */
};
int rowfile_read_meta(const char *path, struct rowfile_meta *out_meta, struct err *err) MUST_CHECK;
void rowfile_meta_deinit(struct rowfile_meta *meta);

/* 0, or an error that ends the reading. row is borrowed. */
typedef int (*rowfile_line_cb)(const json_t *row, uint64_t line, void *data, struct err *err);
/* Each line that is not blank. Errors carry path and line number. */
int rowfile_each(const char *path, rowfile_line_cb on_line, void *data, struct err *err) MUST_CHECK;

struct rowfile_query { /* Slices point into the row. */
    struct str id;
    struct str task;
    struct features features;
    uint32_t in_tok; /* Estimated at 4 bytes a token if the row has none. */
};
int rowfile_parse_query(const json_t *row, const struct features_hasher *hasher,
                        struct rowfile_query *out_query, struct err *err) MUST_CHECK;

/* All rows of a file into a data set made for meta's models. */
int rowfile_load(const char *path, const struct rowfile_meta *meta,
                 const struct features_hasher *hasher, struct dataset *io_dataset,
                 struct err *err) MUST_CHECK;

#endif
