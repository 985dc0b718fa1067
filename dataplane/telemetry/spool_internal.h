/* spool_internal.h: shared by spool*.c and shipper*.c.
 *
 * Threads. A segment is written by its worker, synced by the set's thread and read and deleted by
 * the shipper on the control loop. The lists (epochs of a set, segments of an epoch) are guarded by
 * set->lock, taken once a segment by the worker; `written`, `synced` and the set's counters are
 * atomics. A segment is freed only by the shipper, and only after its descriptor was closed, so
 * that no other thread holds it. */
#ifndef STEELYARD_DATAPLANE_TELEMETRY_SPOOL_INTERNAL_H
#define STEELYARD_DATAPLANE_TELEMETRY_SPOOL_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/types.h>

#include "common/base/list.h"
#include "dataplane/telemetry/spool.h"
#include "dataplane/telemetry/spool_format.h"

#define SPOOL_FILE_BYTES_MAX 536870912U /* A larger file was not written by a spool. */
#define SPOOL_OUTCOME_SPACE  8192U      /* Kept free for each open request. */
#define SPOOL_HARD_EXTRA                                                                           \
    67108864U /* Without audit_strict: so far above max_bytes, then refuse.                        \
               */

/* Disk behind a table, so that tests can make the n-th call fail or stop half-way. */
struct spool_io {
    int (*open_new)(const char *path);
    ssize_t (*write)(int fd, const void *data, size_t len);
    int (*fdatasync)(int fd);
    int (*rename)(const char *from, const char *to);
    int (*unlink)(const char *path);
};
extern struct spool_io spool_io;

struct spool_segment {
    struct list link; /* Of epoch->segments, ascending number. */
    struct spool_epoch *epoch;
    uint32_t number;
    uint64_t first_seq;
    uint64_t carry_end;       /* Offset after the open intents written at its start. */
    int fd;                   /* -1: closed for writing. Guarded by set->lock. */
    bool sealed;              /* Its worker is done with it. Guarded by set->lock. */
    bool rescued;             /* What was not synced was written again elsewhere. Same. */
    bool dir_synced;          /* Sync thread. */
    _Atomic uint64_t written; /* End of good data. */
    _Atomic uint64_t synced;  /* What the shipper may read. */
};

struct spool_epoch {
    struct list link; /* Of set->epochs, ascending epoch. */
    uint64_t id;
    char *dir;
    bool live; /* Has a worker; guarded by set->lock. */
    struct list segments;
};

struct spool_intent {
    struct list link;
    uint64_t id;
    bool pending;   /* The outcome could not be written yet: bytes is a RECORD frame without seq. */
    uint8_t *bytes; /* The intent's frames as written, kept for F8. */
    size_t len;
    size_t cap;
};

struct spool {
    struct spool_set *set;
    struct spool_epoch *epoch;
    struct spool_segment *current; /* NULL: broken. */
    uint32_t next_number;
    uint64_t next_seq;
    uint64_t next_intent;
    struct list open;     /* struct spool_intent, oldest first. */
    struct list pending;  /* Outcomes to be written, oldest first. */
    struct freelist free; /* Intents with their buffers. */
    uint32_t open_count;
    uint64_t retry_at_ms; /* While broken. */
    atomic_bool sync_failed;
    atomic_bool broken;
    _Atomic spool_position synced;
    uint8_t *scratch; /* SPOOL_SCRATCH_BYTES */
};
#define SPOOL_HEADROOM      64U
#define SPOOL_SCRATCH_BYTES (SPOOL_HEADROOM + SPOOL_PAYLOAD_MAX)

struct spool_set {
    char *dir;
    int lock_fd;
    struct uuid node_id;
    struct uuid boot_id;
    uint64_t max_bytes;
    uint64_t segment_bytes;
    uint32_t sync_ms;
    uint32_t open_max;
    bool audit_strict;
    struct spool *spools;
    uint32_t spool_count;
    pthread_mutex_t lock;
    struct list epochs;
    _Atomic uint64_t bytes;
    _Atomic uint64_t open_total;
    _Atomic uint64_t records; /* On disk. */
    _Atomic uint64_t shipped; /* Of them, acknowledged. */
    _Atomic uint64_t lost;    /* Outcomes without an intent that could not be written. */
    /* The sync thread. */
    pthread_t thread;
    pthread_cond_t wake;
    bool thread_started;
    bool stopping;
    bool sync_now;
};

/* One pass of the sync thread; tests call it directly. Returns when all that was written before the
 * call is synced (or marked failed). */
void spool_set_sync(struct spool_set *set);

char *spool_segment_path(const struct spool_segment *segment); /* mem_free it. NULL: no memory. */
/* Makes a segment file: header, then `rest`. On error no file is left. */
int spool_segment_create(struct spool_set *set, struct spool_epoch *epoch, uint32_t number,
                         uint64_t first_seq, struct spool_segment **out_segment) MUST_CHECK;
void spool_segment_free(struct spool_segment *segment);
int spool_write_all(int fd, const void *data, size_t len) MUST_CHECK;
struct spool_epoch *spool_epoch_create(struct spool_set *set,
                                       uint64_t id); /* Not in the list yet. */
void spool_epoch_free(struct spool_epoch *epoch);

/* spool_recover.c: reads every old epoch into set->epochs. */
int spool_recover(struct spool_set *set, struct spool_recovery *out_recovery,
                  struct err *err) MUST_CHECK;
/* spool.c */
int spool_init(struct spool *s, struct spool_set *set, uint64_t epoch, struct err *err) MUST_CHECK;
void spool_deinit(struct spool *s);

#endif
