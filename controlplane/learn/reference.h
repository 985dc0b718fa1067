/* reference.h: how a number was spread over the rows that a version learned from, and how far other
 * rows are from that: the population stability index, sum over tenths of (a - e) ln(a / e). Pure.
 */
#ifndef STEELYARD_CONTROLPLANE_LEARN_REFERENCE_H
#define STEELYARD_CONTROLPLANE_LEARN_REFERENCE_H

#include <jansson.h>
#include <stdint.h>

#include "common/base/err.h"

#define REFERENCE_BINS 10

struct reference {
    uint32_t rows;
    uint32_t count;               /* Bins; equal values share one. 0: nothing is known. */
    double limit[REFERENCE_BINS]; /* Upper end, inclusive; of the last one all that is above. */
    double share[REFERENCE_BINS]; /* Of rows; sums to 1. */
};
/* Tenths of values[count], which are sorted. count 0: no bins. */
void reference_make(double *values, uint32_t count, struct reference *out);
/* values are sorted; NAN without rows on a side. */
double reference_index(const struct reference *r, double *values, uint32_t count);

json_t *reference_json(const struct reference *r); /* NULL: out of memory. */
/* ERR_INVALID: not what reference_json makes. */
int reference_read(const json_t *json, struct reference *out) MUST_CHECK;

#endif
