/* rows.h: the decisions that a rig's node records, kept for the test to look at, and recomputed as
 * the control plane does. */
#ifndef STEELYARD_TESTS_UNIT_DATAPLANE_NODE_ROWS_H
#define STEELYARD_TESTS_UNIT_DATAPLANE_NODE_ROWS_H

#include "controlplane/release/record.h"
#include "tests/unit/dataplane/node/rig.h"

#define ROWS_MAX      256
#define ROWS_BODY_MAX 24000

typedef Steelyard__Telemetry__V1__Decision Decision;

extern Decision *rows[ROWS_MAX];
extern size_t row_count;

/* rig_start; the rows to come are kept. */
void rows_begin(struct rig *r, const struct rig_options *options);
void rows_forget(void);
/* Every provider answers with a whole reply. */
void rows_script_all(struct rig *r);
/* A chat completion with more fields in its head; the body is at most ROWS_BODY_MAX bytes. */
void rows_ask(struct rig *r, const char *headers, const char *body, struct rig_answer *out);
/* As if it had travelled; the caller frees it. */
Decision *rows_copy(const Decision *d);
/* As the control plane reads it; closed with record_close. */
void rows_open(struct record_cache *cache, const Decision *d, struct record *out);
/* From the record alone, bit by bit; cache NULL: nothing else is known. */
void rows_replay(struct record_cache *cache, const Decision *d);

#endif
