/* intake.h: telemetry into Postgres, each record exactly once.
 *
 * A record is identified by (node, epoch, seq). One transaction locks the stream's next_seq, skips
 * what is known, refuses a hole that no Gap explains, copies the rows, adds the sums (usage_hour,
 * candidate_hour, spend_day, budget_ledger), advances next_seq and commits; only then is the batch
 * acknowledged. If the outcome of a commit is unknown the batch is simply done again: the locked
 * next_seq decides. A record that cannot be decoded or that Postgres refuses goes to
 * ingest_deadletter as raw bytes and the stream advances past it.
 *
 * Batches of one stream are stored in order; batches of different streams in parallel over a few
 * connections. Loop thread only. */
#ifndef STEELYARD_CONTROLPLANE_INGEST_INTAKE_H
#define STEELYARD_CONTROLPLANE_INGEST_INTAKE_H

#include <stdint.h>
#include <uv.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/crypto/uuid.h"

#define INTAKE_BATCH_BYTES_MAX   (4U << 20)
#define INTAKE_BATCH_RECORDS_MAX 20000U

struct intake;

struct intake_config {
    const char *conninfo;
    unsigned connections;      /* 0: 4. */
    uint64_t queue_bytes_max;  /* Not yet committed, all streams; 0: 64 MiB. */
    uint32_t retry_for_ms;     /* While Postgres is away a batch waits this long; 0: 30 s. */
    uint32_t retry_backoff_ms; /* 0: 250 ms. */
};

struct intake_batch {
    struct uuid node_id;
    uint64_t epoch;
    uint64_t first_seq;
    uint32_t count;     /* Records as the sender says. */
    struct buf records; /* A packed RecordList, as it came (after decompression). */
};

enum intake_outcome {
    INTAKE_STORED,      /* Committed: acked_through. Also when all of it was known already. */
    INTAKE_HOLE,        /* Nothing stored: resend from expected_seq. */
    INTAKE_UNAVAILABLE, /* Postgres is away, or intake is closing: resend later. */
};

struct intake_result {
    enum intake_outcome outcome;
    uint64_t acked_through; /* STORED: every seq up to here is committed. */
    uint64_t expected_seq;  /* HOLE: the stream's next seq. */
    uint32_t stored;        /* Rows of this batch, by kind of fate. */
    uint32_t duplicates;
    uint32_t quarantined;
};
typedef void (*intake_cb)(void *arg, const struct intake_result *result);
typedef void (*intake_close_cb)(void *arg);

struct intake_stats {
    uint64_t records; /* Committed, without duplicates. */
    uint64_t duplicates;
    uint64_t quarantined;
    uint64_t batches;
    uint64_t transactions;
    uint64_t holes;
    uint64_t retries;
    uint64_t queue_bytes;
    uint64_t last_commit_mono_ms; /* 0: none yet. */
};

int intake_create(uv_loop_t *loop, const struct intake_config *config, struct intake **out_intake,
                  struct err *err) MUST_CHECK;
/* On 0 the records' memory is intake's (batch->records is emptied) and the callback comes exactly
 * once, later. ERR_BUSY: the queue is full; ERR_CANCELED: closing; ERR_NOMEM; ERR_TOO_LARGE;
 * ERR_CORRUPT: the framing of the list is broken or it holds another number of records. */
int intake_submit(struct intake *in, struct intake_batch *batch, intake_cb cb,
                  void *arg) MUST_CHECK;
/* Running transactions end as they will, waiting batches with UNAVAILABLE (from inside this call);
 * then the callback. */
void intake_close(struct intake *in, intake_close_cb cb, void *arg);
bool intake_is_up(const struct intake *in); /* Postgres is reachable. Credits are 0 while not. */
struct intake_stats intake_stats(const struct intake *in);

#endif
