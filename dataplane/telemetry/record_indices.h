/* record_indices.h: a list of features as features_encode writes it, for the writer thread, where
 * it is most of a record. Whether a difference takes one byte or two is a coin toss, so there is no
 * branch on it; with BMI2 eight differences are made at once and pext drops the bytes that are not
 * needed; with AVX-512 32 of them, which are packed in a register. Any list is written without
 * harm, also one that does not ascend. Pure; thread-safe. */
#ifndef STEELYARD_DATAPLANE_TELEMETRY_RECORD_INDICES_H
#define STEELYARD_DATAPLANE_TELEMETRY_RECORD_INDICES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/route/features.h"

/* Bytes that may be touched: what is written at a time is longer than what counts. */
#define RECORD_INDICES_MAX (FEATURES_ENCODED_MAX + 64)

/* Gives the number of bytes. f->n <= FEATURES_SPARSE_MAX. */
size_t record_write_indices(const struct features *f, uint8_t out[RECORD_INDICES_MAX]);

/* Its ways, for the test that holds them equal. */
size_t record_write_indices_plain(const struct features *f, uint8_t out[RECORD_INDICES_MAX]);
bool record_has_bmi2(void);
size_t record_write_indices_bmi2(const struct features *f, uint8_t out[RECORD_INDICES_MAX]);
bool record_has_avx512(void);
size_t record_write_indices_avx512(const struct features *f, uint8_t out[RECORD_INDICES_MAX]);

#endif
