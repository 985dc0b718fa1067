/* pipeline.h: one training run: rows and a target in, a policy file and a report out.
 *
 *   fit (K-fold cross-fitting) -> quantise -> integer engine on the rows left out -> frontier
 *   -> lambda for the target -> fit on all rows -> self-test vectors -> gates -> report
 *
 * Every reported figure comes from the integer engine (common/route) on rows the weights behind it
 * have not seen. Deterministic: same rows, same options, same bytes. Pure of SQL, files and clocks;
 * runs for seconds to minutes, so never on a loop: call it from a worker thread. */
#ifndef STEELYARD_CONTROLPLANE_LEARN_PIPELINE_H
#define STEELYARD_CONTROLPLANE_LEARN_PIPELINE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/crypto/digest.h"
#include "common/route/artifact.h"
#include "controlplane/learn/dataset.h"

#define LEARN_POINTS_MAX       ARTIFACT_FRONTIER_MAX
#define LEARN_GATES_MAX        16
#define LEARN_CALLER_GATES_MAX 4
#define LEARN_ROWS_MIN         50 /* Fewer rows with a score teach nothing; priors serve until then. */

enum learn_target_kind {
    LEARN_TARGET_QUALITY, /* Mean quality >= value * that of the best single model. */
    LEARN_TARGET_FLOOR,   /* Mean quality >= value. */
    LEARN_TARGET_SAVE,    /* Mean cost <= (1 - value) * that of the best single model. */
    LEARN_TARGET_SPEND,   /* Mean cost of a request <= value USD. */
};
struct learn_target {
    enum learn_target_kind kind;
    double value;
};
/* "quality=0.95", "quality_floor=0.85", "save=60%" or "save=0.6", "spend=0.002" (USD a request; for
 * a day's budget divide by the requests a day). ERR_INVALID with a good example in the message. */
int learn_target_parse(struct str text, struct learn_target *out_target,
                       struct err *err) MUST_CHECK;

struct learn_progress {
    const char *phase; /* "fit", "calibrate", "evaluate", "finish"; static. */
    uint32_t done;     /* Of total, over the whole run. */
    uint32_t total;
};
/* Called often, on the calling thread. false cancels the run (ERR_CANCELED). */
typedef bool (*learn_progress_cb)(const struct learn_progress *progress, void *data);

struct learn_model {  /* What the catalogue knows of a model; by ordinal of the data set. */
    int64_t price_in; /* nano-USD per million tokens; PRICE_UNKNOWN: fitted from the rows' costs. */
    int64_t price_out;
    double prior_quality; /* 0..1, or negative: unknown (0.5). */
    double prior_out_tok; /* 0: unknown. */
};

struct learn_gate {   /* Section 6.8. */
    const char *name; /* "selftest", "calibration", "target", "final_fit", "incumbent", "cost", and
                         what the caller has judged. Static. */
    bool ok;
    char detail[160];
};

/* How well the rows can say what the policy would do. */
enum learn_verdict {
    LEARN_FULL,       /* Answers of all models were known. */
    LEARN_SUPPORT,    /* Observed answers carry the estimates. */
    LEARN_NO_SUPPORT, /* They do not: a rollout starts at 1 %, section 6.6. */
};
const char *learn_verdict_name(enum learn_verdict verdict); /* "full", "support", "no_support" */

struct learn_options {
    const struct learn_model *models; /* dataset_models() of them; NULL: nothing is known. */
    struct learn_target target;
    double confidence;    /* One-sided, that the target holds on new rows; 0.5..0.999. 0.9. */
    uint64_t generation;  /* Rising number of the policy; 1. */
    struct sha256 parent; /* Zero: none. */
    int64_t window_from_us;
    int64_t window_to_us;
    uint64_t hash_key_id;           /* Of the features' key. */
    struct str incumbent;           /* Policy file in service, same feature key; len 0: none. */
    double cost_max_usd;            /* Envelope: predicted mean cost of a request; 0: none. */
    const struct learn_gate *gates; /* Already judged by the caller; join the others. */
    uint32_t gate_count;            /* At most LEARN_CALLER_GATES_MAX. */
    uint32_t folds;                 /* 0: chosen by the number of rows. */
    uint32_t bootstraps;            /* Resamples behind intervals; 0: 1000. */
    learn_progress_cb on_progress;  /* May be NULL. */
    void *on_progress_data;
};
void learn_options_init(struct learn_options *options);

struct learn_point { /* Held-out means of the policy at one lambda. */
    double lambda;   /* Quality per USD. */
    double cost_usd; /* Per request. */
    double quality;
    double share[ARTIFACT_MODELS_MAX];
};

struct learn_result {
    struct buf artifact; /* Empty when the target cannot be reached. */
    struct sha256 artifact_id;
    struct buf
        report; /* JSON: data, metrics, frontier, singles, random_mix, oracle, chosen, gates. */
    struct learn_point chosen;
    struct learn_point frontier[LEARN_POINTS_MAX];
    uint32_t frontier_count;
    struct learn_gate gates[LEARN_GATES_MAX];
    uint32_t gate_count;
    bool passed; /* All gates are ok. */
    enum learn_verdict verdict;
    double churn; /* Rows that go elsewhere than with the incumbent; NAN without one. */
};

/* On success the caller owns *out_result (learn_result_deinit). ERR_RANGE: the target cannot be
 * reached, err says what can be, and *out_result holds frontier and report but no artifact (deinit
 * it too). Else ERR_INVALID (too few rows, no scores), ERR_CANCELED, ERR_NOMEM and an empty result.
 */
int learn_run(const struct dataset *data, const struct learn_options *options,
              struct learn_result *out_result, struct err *err) MUST_CHECK;
/* The first of values[count] (in place of target.value) that can be reached and whose gates pass;
 * fitted once for all of them. Else what the last one gave. */
int learn_run_first(const struct dataset *data, const struct learn_options *options,
                    const double *values, uint32_t count, struct learn_result *out_result,
                    struct err *err) MUST_CHECK;
void learn_result_deinit(struct learn_result *result); /* Also fine on a zeroed one. */

/* Prices as they travel in the file: META metrics "price_in:MODEL" and "price_out:MODEL", USD per
 * million tokens. Offline tools use them; serving takes prices from its catalogue and ignores them.
 * PRICE_UNKNOWN when the file has none. */
void learn_artifact_prices(const struct artifact *a, uint32_t ordinal, int64_t *out_price_in,
                           int64_t *out_price_out);

#endif
