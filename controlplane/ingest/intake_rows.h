/* intake_rows.h: records to rows. Walks a packed RecordList, reads one record at a time and writes
 * the COPY data of one transaction: decisions, attempts, votes, gaps, bad records, what rollouts
 * see, and the sums. Pure but for memory: no I/O. Private to controlplane/ingest. */
#ifndef STEELYARD_CONTROLPLANE_INGEST_INTAKE_ROWS_H
#define STEELYARD_CONTROLPLANE_INGEST_INTAKE_ROWS_H

#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/map.h"
#include "common/crypto/uuid.h"
#include "controlplane/ingest/intake_print.h"
#include "controlplane/ingest/intake_spend.h"
#include "controlplane/store/pq.h"

#define INTAKE_COST_MAX INT64_C(1000000000000000) /* 1e6 USD: no request costs that. */

/* Cuts the next record off *io_list: 0, ERR_EOF when empty, ERR_CORRUPT. */
int record_list_next(struct str *io_list, struct str *out_record) MUST_CHECK;

/* Seq range of a record that stands at `seq`: to = seq, or a Gap's end. *out_gap says which. */
uint64_t record_last_seq(struct str record, uint64_t seq, bool *out_gap);

/* The body of a Record's last length-delimited field `number`, or .data NULL. So detail keeps the
 * node's own bytes and nothing is packed twice. */
struct str record_field(struct str record, uint32_t number);

struct intake_rows {
    struct arena_pool chunks;
    struct arena arena; /* Unpacked records and keys of the sums, until reset. */
    struct map usage;
    struct map candidates;
    struct intake_spend spend;
    struct intake_prints prints;
    struct pq_copy decision;
    struct pq_copy attempt;
    struct pq_copy feedback;
    struct pq_copy gap;
    struct pq_copy bad;
    struct pq_copy usage_copy;
    struct pq_copy candidate_copy;
    struct pq_copy canary;
    uint32_t decisions;
    uint32_t attempts;
    uint32_t votes;
    uint32_t gaps;
    uint32_t bads;
    uint32_t canaries;  /* Decisions of a rollout. */
    int64_t last_ts_us; /* Newest ts, 0: none. */
};

void intake_rows_init(struct intake_rows *r);
void intake_rows_deinit(struct intake_rows *r);
void intake_rows_reset(struct intake_rows *r);
/* Adds one record. A record that cannot be read becomes a row of ingest_deadletter. */
int intake_rows_add(struct intake_rows *r, const struct uuid *node_id, uint64_t epoch, uint64_t seq,
                    struct str record) MUST_CHECK;
/* One record as a dead letter, for what Postgres itself refused. */
int intake_rows_add_bad(struct intake_rows *r, const struct uuid *node_id, uint64_t epoch,
                        uint64_t seq, struct str record, struct str sqlstate,
                        struct str reason) MUST_CHECK;
/* Writes the sums and the trailers; then the copies are ready to send. */
int intake_rows_finish(struct intake_rows *r) MUST_CHECK;
uint64_t intake_rows_bytes(const struct intake_rows *r);

/* --- for intake_spend.c and intake_print.c --- */
/* At most 256 bytes that a UTF-8 text column takes. */
void intake_copy_text(struct pq_copy *c, struct str s);
void intake_add_sat(int64_t *sum, int64_t value);
/* An unknown cost is 0 in sums and counted in `unpriced`; the flag tells the two apart. */
int64_t intake_known_cost(const Steelyard__Telemetry__V1__Decision *d);
/* What an explored choice cost above the greedy one, by their expected costs; never below zero, as
 * a cheaper choice is no credit for a dearer one. */
int64_t intake_explore_cost(const Steelyard__Telemetry__V1__Decision *d);
bool intake_has_failed(const Steelyard__Telemetry__V1__Decision *d);
/* Finds or makes (zeroed, size bytes) the entry of a key; NULL: out of memory. */
void *intake_sum_entry(struct arena *a, struct map *m, const struct str *parts, size_t count,
                       size_t size, bool *out_new);

#endif
