/* fixture.h: a private PostgreSQL cluster for the tests of one program, and telemetry records. */
#ifndef STEELYARD_TESTS_UNIT_CONTROLPLANE_FIXTURE_H
#define STEELYARD_TESTS_UNIT_CONTROLPLANE_FIXTURE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/crypto/uuid.h"
#include "controlplane/store/work.h"

/* Starts one (tests/lib/postgres); the process ends with a message when that fails: these tests are
 * never skipped. Returns the conninfo, which lives until cluster_stop. */
const char *cluster_start(void);
const char *cluster_start_durable(void); /* Flushes to disk, as in service. */
void cluster_restart(void);              /* As a crash would. */
void cluster_stop(void);
/* A database of its own inside the cluster, migrated if asked; conninfo to use. */
const char *cluster_database(const char *name, bool migrated);
const char *cluster_dir(void);

/* A group's teardown. */
int fixture_stop_cluster(void **state);
/* What closes says so to fixture_on_closed with a bool; the loop runs until it is set. */
void fixture_on_closed(void *closed);
void fixture_run_until(uv_loop_t *loop, const bool *closed);
void fixture_close_work(uv_loop_t *loop, struct work *work);

struct pq_conn *fixture_connect(const char *conninfo);
int64_t fixture_i64(struct pq_conn *c, const char *sql); /* First value of the first row. */
void fixture_exec(struct pq_conn *c, const char *sql);

/* What a made-up decision looks like; zero is a plain good one. */
struct fixture_decision {
    int64_t ts_us;
    uint64_t key_id;
    uint64_t serial; /* Makes the id and the numbers. */
    const char *route;
    const char *task;
    int64_t cost;
    struct uuid *out_id;
    uint64_t accounts[6]; /* Up to the first 0. */
    struct fixture_charge {
        uint64_t budget; /* 0: no more. */
        int64_t period_start_us;
        uint32_t cfg;
    } charges[4];
    uint64_t lease_epoch;
    uint32_t source; /* Of the attempt's usage. */
    uint32_t flags;
    uint64_t rollout_id, unit; /* 0: of no rollout. */
    uint32_t arm, stage, slot;
    uint32_t reason; /* AttemptReason of the attempt. */
    uint64_t print;  /* Its fingerprint; 0: none. */
    const char *print_text;
};
/* Each appends one record to a packed RecordList. */
void fixture_add_decision(struct buf *list, const struct fixture_decision *d);
void fixture_add_feedback(struct buf *list, const struct uuid *request_id, uint64_t key_id,
                          const char *source, int32_t score_q16, int64_t ts_us);
void fixture_add_gap(struct buf *list, uint64_t from, uint64_t to);
void fixture_add_garbage(struct buf *list, uint64_t serial);

#endif
