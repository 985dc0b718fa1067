/* calibrate.h: integer scores to probabilities, by model. Isotonic regression (pool adjacent
 * violators) with at most 32 knots from 200 labels on, Platt scaling from 50 on, else the logistic
 * function itself. Pure but for scratch memory; deterministic. */
#ifndef STEELYARD_CONTROLPLANE_LEARN_CALIBRATE_H
#define STEELYARD_CONTROLPLANE_LEARN_CALIBRATE_H

#include <stdint.h>

#include "common/base/err.h"
#include "common/route/artifact.h"

#define CALIBRATE_ISOTONIC_LABELS_MIN 200
#define CALIBRATE_PLATT_LABELS_MIN    50

enum calibrate_method { CALIBRATE_IDENTITY, CALIBRATE_PLATT, CALIBRATE_ISOTONIC };
const char *calibrate_method_name(enum calibrate_method method);
/* What the number of labels allows. */
enum calibrate_method calibrate_allowed(uint32_t labels);

struct calibrate_label {
    int32_t z;
    float score; /* 0..1 */
    float weight;
};
/* Reorders labels. The result is always monotone: a score that orders backwards gives a constant.
 * ERR_NOMEM. */
int calibrate_fit(enum calibrate_method method, struct calibrate_label *labels, uint32_t count,
                  struct artifact_calib *out_calib) MUST_CHECK;

#endif
