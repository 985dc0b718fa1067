/* offline.h: the twins of `policies train` and of serving that need no server: questions with
 * recorded answers in, a policy file out; a policy file and questions in, a choice a line out.
 *
 * The same trainer and the same integer engine as in production. Prices come from the meta file (or
 * are fitted from its costs) and travel in the policy file. Without a root key file the features
 * are hashed with the key of all zero bytes, so such a policy serves only a deployment without one.
 */
#ifndef STEELYARD_CONTROLPLANE_CTL_OFFLINE_H
#define STEELYARD_CONTROLPLANE_CTL_OFFLINE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/err.h"
#include "controlplane/learn/pipeline.h"

struct offline_train {
    const char *const *data; /* Row files; see controlplane/learn/rowfile.h. */
    unsigned data_count;
    const char *meta;
    const char *target;    /* As learn_target_parse takes it. */
    const char *out;       /* The policy file. */
    const char *report;    /* JSON; NULL: none. */
    const char *hash_key;  /* Root key file; NULL: zero key. */
    const char *incumbent; /* Policy file to compare with; NULL: none. */
    double confidence;     /* 0: the default. */
    learn_progress_cb on_progress;
    void *on_progress_data;
};
/* Writes out and report. ERR_RANGE: the target cannot be reached; report is written, out is not. On
 * success and on ERR_RANGE the caller owns *out_result. */
int offline_train(const struct offline_train *options, struct learn_result *out_result,
                  struct err *err) MUST_CHECK;

struct offline_route {
    const char *artifact;
    const char *queries; /* One JSON object with "query" a line, plain or gzip. */
    const char *out;     /* "-": standard output. */
    const char *hash_key;
    double lambda; /* Quality per USD; negative: the policy's own. */
};
/* A line each: {"id","model","quality":{model: 0..1},"cost_usd":{model: USD or null}}. */
int offline_route(const struct offline_route *options, uint64_t *out_count,
                  struct err *err) MUST_CHECK;

#endif
