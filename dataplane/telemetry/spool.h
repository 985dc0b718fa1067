/* spool.h: intents and outcomes on disk before what they cover happens (promise P1).
 *
 * A spool belongs to one worker thread and has its own epoch; the set of them belongs to the node.
 * Usual path: spool_intent() before the first upstream byte, spool_attempt() before each later
 * attempt, spool_outcome() before the terminal bytes go to the client. Each is a few copies into
 * the worker's ring, a file mapped shared: what was stored there survives kill -9 (spool_ring.h,
 * docs/decisions/0090). No allocation, no lock, and no system call but one to wake the writer when
 * what five milliseconds bring waits, or a few records where little comes.
 *
 * The set's writer thread drains the rings when it is woken: it packs what stands there and
 * appends it to segments with few large writes. Another thread drains and syncs once a second; only
 * what is synced is shipped, so the control plane never knows more than the disk. With `host`
 * the caller waits for spool_synced() >= the position a call returned.
 *
 * Failures. A write or sync that fails is never retried on that file: the writer opens a new
 * segment, writes open intents (and what was not yet synced) again and goes on (F8). If that fails
 * too, the spool is not ready: intents are refused, outcomes wait in the ring, where space is kept
 * for one of every open intent, until a segment can be opened again. Near its limit the spool drops
 * features (90 %), then refuses intents (100 %, audit_strict) with space kept for requests already
 * running; without audit_strict the shipper gives up the oldest segments instead and reports a gap
 * (F7). The limit is looked at when the rings are drained: it may be passed by what comes between
 * two drains. */
#ifndef STEELYARD_DATAPLANE_TELEMETRY_SPOOL_H
#define STEELYARD_DATAPLANE_TELEMETRY_SPOOL_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/err.h"
#include "common/crypto/uuid.h"
#include "dataplane/telemetry/record.h"

#define SPOOL_SEGMENT_BYTES 8388608U
#define SPOOL_RING_BYTES    16777216U
#define SPOOL_ATTEMPTS_PART 16U    /* One in so many bytes of a ring is kept for later attempts. */
#define SPOOL_OPEN_MAX      65536U /* Open intents of one worker; its ring's size may allow less. */

struct spool_options {
    const char *dir;        /* state-dir/spool; made if missing (0700). */
    struct uuid node_id;    /* In every segment's header. */
    uint32_t spools;        /* One per worker. */
    uint64_t max_bytes;     /* Of all segments together (--spool-max-bytes). */
    uint64_t segment_bytes; /* 0: SPOOL_SEGMENT_BYTES. */
    uint32_t sync_ms;       /* 0: 1000. */
    bool audit_strict;
    uint32_t open_max;   /* Open intents per spool, 0: SPOOL_OPEN_MAX. */
    uint64_t ring_bytes; /* Per worker; a power of two from 256 KiB; 0: SPOOL_RING_BYTES. */
    uint32_t drain_ms;   /* The writer also comes by so often; 0: only when it is woken. */
};

struct spool_set;
struct spool;
struct spool_intent; /* An open request; handed back by spool_outcome. */

/* Where an entry ended; later positions compare greater. For durability `host`. */
typedef uint64_t spool_position;

struct spool_recovery {     /* What start-up found (F4, B44). */
    uint64_t epochs;        /* Old epochs with something to ship. */
    uint64_t records;       /* Good records in them. */
    uint64_t crashed;       /* Intents turned into STATUS_NODE_CRASH. */
    uint64_t quarantined;   /* Frames with a bad checksum, jumped over. */
    uint64_t replayed;      /* Of the records: found only in a ring. */
    uint64_t torn_bytes;    /* Cut off at ends of segments. */
    uint64_t refused_files; /* Unknown version, symlink, wrong owner, bad header. */
};

/* Recovers old epochs, starts new ones, the writer and the sync thread. Blocking; at start-up. */
int spool_set_create(const struct spool_options *options, struct spool_set **out_set,
                     struct spool_recovery *out_recovery, struct err *err) MUST_CHECK;
/* After workers and shipper stopped. Syncs, closes; open intents stay for the next start. */
void spool_set_destroy(struct spool_set *set);
struct spool *spool_set_spool(struct spool_set *set, uint32_t index);

/* Any thread. Bytes on disk (rings not counted) and unshipped records (those in rings too), for
 * Health and metrics. */
uint64_t spool_set_bytes(const struct spool_set *set);
uint64_t spool_set_records(const struct spool_set *set);
/* Acknowledged since the start. Any thread. */
uint64_t spool_set_shipped(const struct spool_set *set);
uint64_t spool_set_ring_bytes(const struct spool_set *set); /* Waiting in rings. */
uint64_t spool_set_refused(const struct spool_set *set);    /* Intents, records and feedback. */
bool spool_set_ready(
    const struct spool_set *set); /* false: some spool cannot write (F8) or full. */
/* Any thread but a worker's: all that was handed over before is in segments when it returns, if the
 * disk takes it. */
void spool_set_drain(struct spool_set *set);

/* ---- the worker's side: one thread per spool ---- */

/* The ring has no room for an intent until the writer has come by, whom it calls: nothing is full
 * or gone. */
bool spool_is_behind(struct spool *s);
/* Notes the intent and the attempt about to start.
 * ERR_NO_SPACE: spool or ring full (answer 503 with Retry-After). ERR_IO: not ready. ERR_LIMIT: too
 * many open intents. ERR_INVALID: counts above the RECORD_*_MAX (a bug). On error nothing has to be
 * undone. */
int spool_intent(struct spool *s, const struct record_decision *d,
                 const struct record_attempt *attempt, struct spool_intent **out_intent,
                 spool_position *out_position) MUST_CHECK;
/* A later attempt of an open request, which has room that nothing else takes. Errors as above; the
 * request may then only be finished. */
int spool_attempt(struct spool *s, struct spool_intent *intent,
                  const struct record_attempt *attempt, spool_position *out_position) MUST_CHECK;
/* The end of an open request: its record has the next seq. The intent is gone afterwards. Always
 * fits; attempts beyond those that were announced are left out when the ring is full. */
void spool_outcome(struct spool *s, struct spool_intent *intent, const struct record_outcome *o,
                   spool_position *out_position);
/* A request that never came to an attempt (refused, decided only), whole. Errors as spool_intent.
 */
int spool_record(struct spool *s, const struct record_decision *d, const struct record_outcome *o,
                 spool_position *out_position) MUST_CHECK;
int spool_feedback(struct spool *s, const struct record_feedback *f,
                   spool_position *out_position) MUST_CHECK;

bool spool_ready(const struct spool *s); /* Any thread; false: cannot write. */
uint64_t spool_epoch(const struct spool *s);
/* Any thread: everything up to this position is on stable storage. */
spool_position spool_synced(const struct spool *s);
/* Any thread: drain and sync now instead of at the end of the interval; what is asked for while a
 * sync runs is served by the next. */
void spool_request_sync(struct spool *s);

#endif
