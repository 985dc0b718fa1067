/* baseline.h: what the stable version was like before: percentiles above which a request counts as
 * slow or dear, caps that values are winsorised at, means. Frozen, so that a rollout is not judged
 * by what it did itself. Blocking: on a worker's connection. */
#ifndef STEELYARD_CONTROLPLANE_ROLLOUT_BASELINE_H
#define STEELYARD_CONTROLPLANE_ROLLOUT_BASELINE_H

#include <jansson.h>

#include "common/base/str.h"
#include "controlplane/rollout/guards.h"
#include "controlplane/store/pq.h"

#define BASELINE_ROWS_MAX 20000U /* The newest of the version, of the last seven days. */
#define BASELINE_ROWS_MIN 1000U  /* With fewer it is taken again when the shadow ends. */

struct rollout_baseline {
    uint64_t rows;         /* Served requests it was taken from; 0: nothing is known. */
    double latency_p95_ms; /* Slow: above. */
    double cost_p99;       /* nano-USD. Dear: above. */
    double cost_cap;       /* p99.5 */
    double tokens_cap;     /* p99.5 */
    double cost_mean, tokens_mean, quality_mean;
    double error_rate;
    uint64_t votes;
};

/* params: hex sha256 of the version's Params. */
int baseline_take(struct pq_conn *c, struct str params, int64_t now_us,
                  struct rollout_baseline *out, struct err *err) MUST_CHECK;
void baseline_for_guards(const struct rollout_baseline *b, struct guard_baseline *out);
int baseline_write(const struct rollout_baseline *b, json_t **out_object) MUST_CHECK;
void baseline_read(const json_t *object, struct rollout_baseline *out);

#endif
