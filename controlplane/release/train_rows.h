/* train_rows.h: what training takes from the catalogue in service and from stored decisions.
 * Private to controlplane/release. */
#ifndef STEELYARD_CONTROLPLANE_RELEASE_TRAIN_ROWS_H
#define STEELYARD_CONTROLPLANE_RELEASE_TRAIN_ROWS_H

#include "control.pb-c.h"
#include "controlplane/learn/pipeline.h"
#include "controlplane/release/train.h"
#include "controlplane/store/training_store.h"
#include "telemetry.pb-c.h"

/* The policy's routes, the models they choose among, and what is known of them. */
struct train_facts {
    Steelyard__Control__V1__Catalogue *catalogue;
    Steelyard__Control__V1__Prices *prices;
    struct str model_ids[ARTIFACT_MODELS_MAX]; /* Sorted, so that ordinals depend on names alone. */
    struct learn_model models[ARTIFACT_MODELS_MAX];
    uint32_t model_count;
    struct str *routes;
    size_t route_count;
    struct buf incumbent;       /* Artifact in service, or empty ... */
    int64_t incumbent_until_us; /* ... which may have learned from what was before. */
    struct buf params;          /* Params in service. */
    uint64_t next_version;
};
int train_facts_load(struct pq_conn *c, const struct publish_set *set, const char *policy,
                     struct train_facts *out_facts, struct err *err) MUST_CHECK;
void train_facts_deinit(struct train_facts *f);
int train_facts_routes(const struct train_facts *f, struct pq_params *p) MUST_CHECK; /* As lines. */
/* Params of a learned version: lambda and exploration shape of the artifact, floor and largest
 * exploration of the Params in service (which are the file's). */
int train_params(const struct train_facts *f, struct str artifact, struct buf *out,
                 struct err *err) MUST_CHECK;

/* Rows of training_stream into a data set. */
struct train_rows {
    const struct train_facts *facts;
    struct dataset *data;
    enum train_mode mode;
    int64_t now_us;
    uint64_t seen;
    uint64_t unusable;
    struct err err;
    /* FULL: answers to the question at hand. */
    struct buf question;
    struct features features;
    uint32_t in_tok;
    char task[128];
    double weight;
    int64_t ts_us;
    struct dataset_label labels[ARTIFACT_MODELS_MAX];
    uint32_t label_count;
};
void train_rows_init(struct train_rows *r, const struct train_facts *facts, struct dataset *data,
                     enum train_mode mode, int64_t now_us);
int train_rows_add(void *rows, const struct training_row *row); /* A training_row_cb. */
int train_rows_finish(struct train_rows *r) MUST_CHECK;         /* The last question. */
/* What is drawn together in intervals: the record's unit, else its request id. Never 0. */
uint64_t train_rows_cluster(const Steelyard__Telemetry__V1__Decision *d);
void train_rows_deinit(struct train_rows *r);

#endif
