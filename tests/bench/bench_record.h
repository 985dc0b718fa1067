/* bench_record.h: the record of a usual request for benchmarks: three candidates at most, one
 * attempt, two accounts; and a spool of its own to put it into. Ends the program if something
 * fails. */
#ifndef STEELYARD_TESTS_BENCH_BENCH_RECORD_H
#define STEELYARD_TESTS_BENCH_BENCH_RECORD_H

#include "dataplane/telemetry/shipper_batch.h"
#include "dataplane/telemetry/spool_internal.h"

#define BENCH_CANDIDATES 3

/* What all have in common; what differs is the caller's to fill in: request_id, conv_hash,
 * text_hash, features, decision. */
struct bench_record {
    struct policy_candidate candidates[BENCH_CANDIDATES];
    struct record_candidate models[BENCH_CANDIDATES];
    struct record_decision intent;
    struct record_attempt begun, done;
    struct record_outcome outcome;
};
/* Points into itself: stays where it is. */
void bench_record_init(struct bench_record *r);

_Noreturn void bench_fail(const char *what);

/* A new directory in TMPDIR, valid until the next. */
const char *bench_directory(void);
void bench_directory_remove(const char *dir);
/* by_hand: its threads look an hour later; the caller drains and syncs. */
struct spool_set *bench_spool(const char *dir, bool by_hand);
void bench_batch_init(struct shipper_batch *batch);
/* The next batch, packed as if to be sent; how many records, 0: none is synced. */
uint32_t bench_batch(struct shipper_batch *batch, struct shipper_cursor *cursor, bool compress);
/* As the shipper when all that was read is acknowledged: the last 64 MB are kept, older files go
 * and become new segments. */
void bench_spool_age(struct spool_set *set, struct shipper_cursor *cursor);

#endif
