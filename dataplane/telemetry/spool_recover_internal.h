/* spool_recover_internal.h: shared by spool_recover*.c. One old epoch at a time. */
#ifndef STEELYARD_DATAPLANE_TELEMETRY_SPOOL_RECOVER_INTERNAL_H
#define STEELYARD_DATAPLANE_TELEMETRY_SPOOL_RECOVER_INTERNAL_H

#include "dataplane/telemetry/spool_internal.h"

struct recovery_intent { /* One without an outcome so far. */
    struct list link;
    uint64_t id;
    struct buf decision; /* INTENT payload. */
    struct buf attempts; /* u32 length | ATTEMPT payload, repeated. */
};

struct recovery {
    struct spool_set *set;
    struct spool_recovery *stats;
    struct spool_epoch *epoch;
    struct list open[256]; /* By id's low byte. */
    uint64_t open_count;
    uint64_t first_seq; /* Of the segments that are there; 0: none. */
    uint64_t next_seq;
    struct buf records; /* New RECORD frames. */
    uint64_t record_count;
};

/* spool_recover.c. Counts and logs a file that is not ours; ERR_DENIED. */
int recovery_refuse(struct recovery *r, const char *dir, const char *name, const char *why);
/* Reads a regular file of our own. ERR_DENIED: refused and counted; ERR_NOT_FOUND. */
int recovery_read(struct recovery *r, int dir_fd, const char *name, struct buf *out) MUST_CHECK;

/* spool_recover_open.c */
struct recovery_intent *recovery_find(struct recovery *r, uint64_t id);
void recovery_close(struct recovery *r, struct recovery_intent *o);
void recovery_close_all(struct recovery *r);
int recovery_on_intent(struct recovery *r, uint64_t id, struct str payload) MUST_CHECK;
/* Twice is once; an intent that is not open is passed over. */
int recovery_on_attempt(struct recovery *r, uint64_t id, struct str payload) MUST_CHECK;
/* Appends a NODE_CRASH record for each open intent, in order of their ids. */
int recovery_crash_all(struct recovery *r) MUST_CHECK;

/* spool_recover_ring.c */
struct recovery_ring {
    bool found;
    struct buf bytes;
    struct spool_ring_scan scan;
};
/* A file that is no ring of this epoch is refused; then, as when there is none, found stays false.
 */
int recovery_ring_load(struct recovery *r, int dir_fd, struct recovery_ring *out_ring) MUST_CHECK;
void recovery_ring_deinit(struct recovery_ring *ring);
/* Before the segments: its intents are open until a record of a segment closes them. */
int recovery_ring_intents(struct recovery *r, struct recovery_ring *ring) MUST_CHECK;
/* After the segments: what is not in them. */
int recovery_ring_rest(struct recovery *r, struct recovery_ring *ring) MUST_CHECK;

#endif
