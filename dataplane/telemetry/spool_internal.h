/* spool_internal.h: shared by spool*.c and shipper*.c.
 *
 * Threads. A ring is filled by its worker and drained by whoever holds set->drain_lock (the writer
 * thread, or one that asked for it); so are the fields of struct spool marked "drain". A segment is
 * written under drain_lock, synced by the sync thread and read and deleted by the shipper on the
 * control loop. The lists (epochs of a set, segments of an epoch) are guarded by set->lock, taken
 * once a segment by the writer; `written`, `synced` and the counters are atomics. A segment is
 * freed only by the shipper, and only after its descriptor was closed, so that no other thread
 * holds it. drain_lock is taken before lock. */
#ifndef STEELYARD_DATAPLANE_TELEMETRY_SPOOL_INTERNAL_H
#define STEELYARD_DATAPLANE_TELEMETRY_SPOOL_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/types.h>

#include "common/base/buf.h"
#include "common/base/list.h"
#include "common/base/slab.h"
#include "dataplane/telemetry/spool.h"
#include "dataplane/telemetry/spool_format.h"
#include "dataplane/telemetry/spool_ring.h"

#define SPOOL_FILE_BYTES_MAX 536870912U /* A larger file was not written by a spool. */
#define SPOOL_FRAME_STEP     64U        /* Frames of a slot take a multiple of it. */
#define SPOOL_FRAME_CLASSES  (SLAB_OBJECT_BYTES_MAX / SPOOL_FRAME_STEP)
#define SPOOL_OUTCOME_SPACE  8192U     /* Kept free for each open request. */
#define SPOOL_UNSYNCED_BYTES 16777216U /* So much is synced before the interval is over. */
#define SPOOL_HARD_EXTRA                                                                           \
    67108864U /* Without audit_strict: so far above max_bytes, then refuse.                        \
               */

/* Disk behind a table, so that tests can make the n-th call fail or stop half-way. */
struct spool_io {
    int (*open_new)(const char *path);
    int (*open_spare)(const char *path);
    int (*fallocate)(int fd, uint64_t len); /* 0 or an errno. */
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
    uint64_t begun_end;       /* Offset after what it was made with. */
    int fd;                   /* -1: closed for writing. Guarded by set->lock. */
    bool sealed;              /* Nothing will be added. Guarded by set->lock. */
    bool rescued;             /* What was not synced was written again elsewhere. Same. */
    bool dir_synced;          /* Sync thread. */
    uint64_t retired;         /* Which it was of its epoch's retired ones. */
    uint32_t salt;            /* Of its frames. */
    _Atomic uint64_t written; /* End of good data. */
    _Atomic uint64_t synced;  /* What the shipper may read. */
    /* What the file takes: more than `written` when it was a longer segment before, and for the
     * zeros it grows by. Counted in set->bytes. */
    _Atomic uint64_t disk_bytes;
};

#define SPOOL_SPARE_SUFFIX ".free"
#define SPOOL_SPARES_MAX   8U /* Of a worker, retired ones included. */

struct spool_epoch {
    struct list link; /* Of set->epochs, ascending epoch. */
    uint64_t id;
    char *dir;
    bool live;       /* Has a worker; guarded by set->lock. */
    bool dir_synced; /* Its name is on the disk. Sync thread. */
    struct list segments;
    struct list retired; /* spool_spare.c; guarded by set->lock. */
    struct list spares;
    uint64_t last_retired;
    uint32_t spare_count; /* Of both. */
};

/* The worker's handle of an open request. */
struct spool_intent {
    uint64_t id;       /* Free: index + 1 of the next free one, 0: none. */
    uint32_t reserved; /* Bytes of the ring kept for its outcome. */
};

/* The writer's side of it, at the same index. */
struct spool_slot {
    uint64_t id;       /* 0: none is open. */
    uint64_t position; /* Of its INTENT, which stays in the ring while `framed` is false. */
    uint8_t *frames;   /* As in a segment: INTENT | ATTEMPT ... */
    uint32_t len;
    uint32_t segment; /* If framed: the frames stand in this one or in a later one. */
    bool dropped;     /* Written without features. */
    bool framed;      /* The frames are in a segment, or on their way. */
};

/* An INTENT that was met in the ring, in the order of positions. It is of no more use once its slot
 * is framed, free or another request's. */
struct spool_fresh {
    uint64_t position;
    uint32_t slot;
};

/* One way through the slots, a part a pass, in which what stands in old segments is carried. */
struct spool_round {
    uint32_t at;    /* The next slot; 0: no round is under way. */
    uint32_t below; /* What stands in a segment below this one is carried. */
    uint32_t low;   /* The first segment in which something stands, of the slots behind. */
    uint32_t floor; /* That of the last round. */
};

/* What a worker reads before it hands anything over. */
enum spool_gate { SPOOL_OPEN, SPOOL_FULL, SPOOL_BROKEN };

struct spool {
    /* Read by all. */
    struct spool_set *set;
    struct spool_epoch *epoch;
    _Atomic int gate; /* enum spool_gate, set when draining. */
    /* Worker. */
    char worker_apart[64]; /* From what other threads write, in the cache. */
    struct spool_ring ring;
    struct spool_intent *intents; /* open_max */
    uint32_t open_max;
    uint32_t fresh;       /* Intents never used start here. */
    uint64_t free_intent; /* Index + 1, 0: none. */
    uint64_t next_intent;
    _Atomic uint64_t next_seq;
    _Atomic uint32_t open_count;
    _Atomic uint64_t refused;
    /* Drain. */
    char drain_apart[64];
    struct spool_slot *slots;
    uint32_t slot_count;
    struct slab frames[SPOOL_FRAME_CLASSES]; /* Of slots, those that are not long. */
    struct spool_segment *current;           /* NULL: broken. */
    uint32_t next_number;
    uint64_t drained;      /* Position up to which entries are in `out` or written. */
    uint64_t drained_seq;  /* Next seq expected in the ring. */
    uint64_t passed;       /* What was published when the pace was last taken, ... */
    uint64_t passed_at_ms; /* ... when that was, ... */
    uint64_t wake_bytes;   /* ... and how much is to come between two passes by it. */
    struct buf out;        /* Frames to be written. */
    uint64_t out_records;
    uint64_t out_first_seq;         /* Of the first record in out. */
    struct buf fresh_slots;         /* struct spool_fresh: intents that no frame may tell of yet. */
    uint64_t retry_at_ms;           /* While broken. */
    uint64_t busy_at_ms;            /* Something was drained. */
    uint64_t trimmed_at_ms;         /* The slabs of frames were. */
    bool touched;                   /* Since the ring was last trimmed. */
    struct spool_round round;       /* spool_carry.c */
    _Atomic spool_position written; /* All up to here is in segments. */
    atomic_bool sync_failed; /* Set by the syncer; stays until the writer has written again. */
    _Atomic spool_position synced;
    _Atomic uint64_t written_seq; /* Of the next record; as written and synced. */
    _Atomic uint64_t synced_seq;
    /* What is open stands in segments from this number on, if it stands in any; as written and
     * synced. Those below may go. */
    _Atomic uint32_t written_floor;
    _Atomic uint32_t synced_floor;
};

/* An event one thread waits for and any rings; the call is made only if the bell is not rung yet.
 */
struct spool_bell {
    int fd;
    atomic_bool rung;
};
int spool_bell_init(struct spool_bell *bell) MUST_CHECK;
void spool_bell_deinit(struct spool_bell *bell);
void spool_bell_ring(struct spool_bell *bell);
void spool_bell_wait(struct spool_bell *bell, uint32_t timeout_ms); /* 0: until it is rung. */

struct spool_set {
    char *dir;
    int lock_fd;
    struct uuid node_id;
    struct uuid boot_id;
    uint64_t max_bytes;
    uint64_t segment_bytes;
    uint64_t ring_bytes;
    uint32_t sync_ms;
    uint32_t drain_ms;
    uint32_t open_max;
    uint32_t carry_after;
    bool audit_strict;
    struct spool *spools;
    uint32_t spool_count;
    pthread_mutex_t lock;
    pthread_mutex_t drain_lock;
    pthread_mutex_t sync_lock;    /* One pass at a time; taken before lock. */
    struct flat_scratch *scratch; /* Drain. */
    struct list epochs;
    _Atomic uint64_t bytes;
    _Atomic uint64_t records;  /* Of old epochs. */
    _Atomic uint64_t shipped;  /* Acknowledged, of all. */
    _Atomic uint64_t unsynced; /* Bytes written since the last sync began. */
    pthread_t writer;
    pthread_t syncer;
    struct spool_bell drain_bell;
    struct spool_bell sync_bell;
    void (*on_synced)(void *user); /* Guarded by lock. */
    void *synced_user;
    bool writer_started;
    bool syncer_started;
    atomic_bool stopping;
    atomic_bool sync_asked;
};

/* Drains, then syncs: one pass of the sync thread; tests call it directly. Returns when all that
 * was handed over before the call is synced (or marked failed). */
void spool_set_sync(struct spool_set *set);
void spool_sync_written(struct spool_set *set); /* Without draining. */
/* As spool_set_drain, but intents of late may stay in the rings: the writer's, see spool_drain.c.
 */
void spool_set_drain_lately(struct spool_set *set);
/* cb is called by whoever syncs, with set->lock held, when there is more to ship. NULL: no more. */
void spool_set_on_synced(struct spool_set *set, void (*cb)(void *user), void *user);

/* spool_segment.c */
char *spool_path_join(const char *dir, const char *name);      /* mem_free it. NULL: no memory. */
char *spool_segment_path(const struct spool_segment *segment); /* The same. */
void spool_segment_free(struct spool_segment *segment);
int spool_write_all(int fd, const void *data, size_t len) MUST_CHECK;
/* Writes s->out and empties it: to the current segment, or to a new one if that is full, has failed
 * or lost a sync. On error out stays as it is and the spool is broken. drain_lock held. */
int spool_flush(struct spool *s) MUST_CHECK;
int spool_segment_first(struct spool *s) MUST_CHECK; /* At the start. */
void spool_segment_seal(struct spool *s);            /* At the end. */

/* spool_spare.c. Takes a segment that is needed no more out of its epoch and keeps its file, or
 * deletes it. false: the disk refused, nothing has changed. The shipper's; no lock held. */
bool spool_segment_drop(struct spool_set *set, struct spool_segment *segment) MUST_CHECK;
/* The sync thread's, with set->lock held: what was retired up to `through` are spares, since the
 * directory was synced after that. */
void spool_spares_settle(struct spool_epoch *epoch, uint64_t through);
/* The writer's. A file under spool_spare_path(), whose disk_bytes stay counted; NULL: none. */
struct spool_segment *spool_spare_take(struct spool *s);
char *spool_spare_path(const struct spool_segment *segment); /* mem_free it. NULL: no memory. */
void spool_spare_remove(struct spool_set *set, struct spool_segment *segment); /* And frees it. */
void spool_spares_remove(struct spool_set *set, struct spool_epoch *epoch);    /* All. */

struct spool_epoch *spool_epoch_create(struct spool_set *set,
                                       uint64_t id); /* Not in the list yet. */
void spool_epoch_free(struct spool_epoch *epoch);

/* spool_pack.c: frames at the end of `out`; on error out is unchanged. */
int spool_pack_intent(struct buf *out, uint64_t id, const struct record_decision *d,
                      enum record_detail detail) MUST_CHECK;
int spool_pack_attempt(struct buf *out, uint64_t id, const struct record_attempt *a) MUST_CHECK;
/* decision: packed, of the intent; or NULL and d. */
struct spool_packing {
    uint64_t seq;
    uint64_t intent; /* 0: none. */
    struct str packed;
    const struct record_decision *d;
    enum record_detail detail;
    bool dropped; /* packed has no features. */
    const struct record_outcome *o;
};
int spool_pack_record(struct buf *out, const struct spool_packing *p) MUST_CHECK;
int spool_pack_feedback(struct buf *out, uint64_t seq, const struct record_feedback *f) MUST_CHECK;
/* In the place of a record that cannot be packed. */
int spool_pack_gap(struct buf *out, uint64_t seq) MUST_CHECK;

/* spool_carry.c. drain_lock held. Copies of open intents that stand in segments which should go are
 * written behind what the pass wrote, not many more bytes than that. On error what was not written
 * waits in out. */
#define SPOOL_CARRY_AFTER 8U /* Segments. */
int spool_carry(struct spool *s, size_t written_bytes) MUST_CHECK;
int spool_carry_all(struct spool *s, struct buf *out) MUST_CHECK; /* Of all, at once. */
static inline uint32_t spool_last_number(const struct spool *s)
{
    return s->next_number - 1; /* What is in out comes into this segment or a later one. */
}

/* spool_drain.c. drain_lock held. `lately`: intents of late may stay in the ring alone. */
void spool_drain(struct spool *s, bool lately);
/* How much is to come into the ring before the writer is woken, by what came in so long; at least
 * the minimum, which pays for being woken. */
#define SPOOL_WAKE_BYTES_MIN 12288U
uint64_t spool_wake_bytes(uint64_t came, uint64_t ms, uint64_t ring_size);
void spool_slots_init(struct spool *s);
size_t spool_out_limit(const struct spool_set *set); /* So much in out is written. */
void spool_slots_free(struct spool *s);

/* spool_sync.c: both threads. NULL: an old epoch. */
struct spool *spool_of_epoch(struct spool_set *set, const struct spool_epoch *epoch);
int spool_threads_start(struct spool_set *set, struct err *err) MUST_CHECK;
void spool_threads_stop(struct spool_set *set);

/* spool_recover.c: reads every old epoch into set->epochs. */
int spool_recover(struct spool_set *set, struct spool_recovery *out_recovery,
                  struct err *err) MUST_CHECK;
/* spool.c */
int spool_init(struct spool *s, struct spool_set *set, uint64_t epoch, struct err *err) MUST_CHECK;
void spool_deinit(struct spool *s);

#endif
