/* spool_fixture.h: a spool set of one spool that does nothing by itself, in a directory of its own,
 * and a reader that says exactly what it holds. */
#ifndef STEELYARD_TESTS_UNIT_DATAPLANE_SPOOL_FIXTURE_H
#define STEELYARD_TESTS_UNIT_DATAPLANE_SPOOL_FIXTURE_H

#include "dataplane/telemetry/shipper_read.h"
#include "dataplane/telemetry/spool_internal.h"
#include "telemetry.pb-c.h"
#include "tests/unit/dataplane/planes_fixture.h"

typedef Steelyard__Telemetry__V1__Decision Decision;

struct world {
    char *dir;
    struct spool_set *set;
    struct spool *spool;
    struct spool_recovery recovery;
    bool writer_held;
};

extern struct spool_io real_io;
extern struct sample sample;

int setup(void **state);
int teardown(void **state);
/* Neither drains nor syncs but when it is told to. */
void open_set(struct world *w, uint64_t max_bytes, uint64_t segment_bytes);
/* The same in a process that is to die, where nothing may fail but by must(). */
int try_open_set(struct world *w, uint64_t max_bytes, uint64_t segment_bytes,
                 struct err *err) MUST_CHECK;
void must(bool ok); /* Or the process ends with FAILED_EXIT. */
#define FAILED_EXIT 9
void close_set(struct world *w);
void empty_dir(struct world *w); /* The set is closed. */
/* The writer hangs until it is let go, by teardown at the latest. */
void hold_writer(struct world *w);
void let_writer_go(struct world *w);

/* Each call is drained at once: what a test reads is on disk as if there were no ring. */
int begin(struct world *w, uint32_t number, struct spool_intent **out);
void end(struct world *w, uint32_t number, struct spool_intent *intent);
void one(struct world *w, uint32_t number);
/* The same without draining. */
int begin_in_ring(struct world *w, uint32_t number, struct spool_intent **out);
void end_in_ring(struct world *w, uint32_t number, struct spool_intent *intent);

#define NUMBERS_MAX 65536
/* What a reader of one epoch finds. */
struct found {
    uint8_t ok[NUMBERS_MAX], crashed[NUMBERS_MAX]; /* Times, by number. */
    uint64_t records, crashes, gap_records, next_seq;
    uint64_t in_rollout; /* With all that sample_init says of it. */
    int64_t crash_cost;
};
void read_epoch(struct world *w, struct spool_epoch *epoch, struct found *f);
void read_first(struct world *w, struct found *f); /* The oldest epoch of a freshly opened set. */

char *first_segment(struct world *w, uint32_t number); /* Path, of the oldest epoch; mem_free it. */
struct str slurp(const char *path, struct buf *b);

#endif
