/* record_indices.h: features as a record holds them: the indices as features_pack writes them, for
 * the worker, and the dense values, for the writer thread, without a loop over single ones. With
 * SSE2 16 indices are taken at a time, with AVX-512 64 of them. Any list is written without harm,
 * also one that does not ascend. Pure; thread-safe. */
#ifndef STEELYARD_DATAPLANE_TELEMETRY_RECORD_INDICES_H
#define STEELYARD_DATAPLANE_TELEMETRY_RECORD_INDICES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/route/features.h"

/* Bytes that may be touched: what is written at a time is longer than what counts, and of a list
 * that does not ascend every step may be a far one. */
#define RECORD_INDICES_MAX (FEATURES_PACKED_MAX + FEATURES_SPARSE_MAX + 64)
#define RECORD_DENSE_MAX   (3 * FEATURES_DENSE + 64)

/* Each gives the number of bytes. f->n <= FEATURES_SPARSE_MAX. */
size_t record_write_indices(const struct features *f, uint8_t out[RECORD_INDICES_MAX]);
/* Each value as a sint32, in a row. */
size_t record_write_dense(const int16_t dense[FEATURES_DENSE], uint8_t out[RECORD_DENSE_MAX]);

/* Their ways, for the tests that hold them equal. */
size_t record_write_indices_sse2(const struct features *f, uint8_t out[RECORD_INDICES_MAX]);
size_t record_write_dense_plain(const int16_t dense[FEATURES_DENSE], uint8_t out[RECORD_DENSE_MAX]);
bool record_has_avx512(void);
size_t record_write_indices_avx512(const struct features *f, uint8_t out[RECORD_INDICES_MAX]);
size_t record_write_dense_avx512(const int16_t dense[FEATURES_DENSE],
                                 uint8_t out[RECORD_DENSE_MAX]);

#endif
