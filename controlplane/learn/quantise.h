/* quantise.h: floating-point heads to the integers of a policy file.
 *
 * Each group of lanes (quality, length, task) gets the largest shift at which its largest weight
 * still fits into int16, so that rounding costs at most half of a 2^-15 part of that weight. What
 * the file cannot hold (a weight beyond 2^14 logits) is refused by decoding. */
#ifndef STEELYARD_CONTROLPLANE_LEARN_QUANTISE_H
#define STEELYARD_CONTROLPLANE_LEARN_QUANTISE_H

#include "common/base/buf.h"
#include "common/route/artifact.h"
#include "common/route/selftest.h"
#include "controlplane/learn/heads.h"

struct quantised { /* Owns its arrays; spec points into them and into the data set's names. */
    struct artifact_spec spec;
    struct str models[ARTIFACT_MODELS_MAX];
    struct str tasks[ARTIFACT_TASKS_MAX];
    char task_names[ARTIFACT_TASKS_MAX][ARTIFACT_NAME_BYTES_MAX + 1];
    struct artifact_calib calib[ARTIFACT_MODELS_MAX]; /* Logistic until the caller sets it. */
    int16_t *weights;                                 /* All sparse groups, one after the other. */
    int16_t *dense;
    int32_t *biases;
};

/* meta, segments and explore of out->spec are left zero for the caller to fill, except for
 * feature_spec. models: names by ordinal, borrowed. */
int quantise_heads(const struct heads *heads, const struct fit_design *design,
                   const struct str *models, struct quantised *out) MUST_CHECK;
void quantise_deinit(struct quantised *q);
/* The policy without self-test vectors, ready for score.h. The caller destroys *out_artifact. */
int quantise_decode(const struct quantised *q, struct artifact **out_artifact,
                    struct err *err) MUST_CHECK;

#endif
