/* workload.h: sends tasks with known answers through the gateway, says of each whether it was right
 * (POST /v1/feedback), and sums up what it cost and how good it was. One loop, one thread. */
#ifndef STEELYARD_DEPLOY_WORKLOAD_WORKLOAD_H
#define STEELYARD_DEPLOY_WORKLOAD_WORKLOAD_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/err.h"

#define WORKLOAD_MODELS_MAX 16U
#define WORKLOAD_NAME_BYTES 64U

struct workload_config {
    const char *url; /* "http://127.0.0.1:8080" */
    const char *key;
    const char *models[WORKLOAD_MODELS_MAX]; /* What is asked for, in turn. */
    unsigned model_count;
    uint32_t count; /* Requests in all. */
    bool each;      /* Every task to every model, so that the models can be compared on it. */
    uint32_t concurrency;
    uint64_t seed; /* Of the tasks: the same seed sends the same ones. */
    bool feedback;
    const char *label;
    bool quiet;
};

struct workload_share {
    char model[WORKLOAD_NAME_BYTES];
    uint32_t requests;
};

struct workload_summary {
    uint32_t requests, failed, right, unpriced, feedback_failed;
    int64_t cost_nanousd;
    double p50_ms, p95_ms, seconds;
    struct workload_share served[WORKLOAD_MODELS_MAX];
    unsigned served_count;
    char decision_id[64]; /* Of the last answer. */
    char policy[WORKLOAD_NAME_BYTES];
    char first_error[256];
    char first_feedback_error[256];
    bool interrupted; /* SIGINT: what was under way was finished or cut, the rest not sent. */
};

int workload_run(const struct workload_config *config, struct workload_summary *out,
                 struct err *err) MUST_CHECK;
int workload_write_json(const char *label, const struct workload_summary *s,
                        struct buf *out) MUST_CHECK;
/* A table over files that workload_write_json wrote; qualities are also given as a share of the
 * file labelled `best_label`. */
int workload_compare(char *const *paths, unsigned count, const char *best_label, struct buf *out,
                     struct err *err) MUST_CHECK;

#endif
