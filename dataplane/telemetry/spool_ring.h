/* spool_ring.h: what a worker has handed over and the writer thread has not yet put into a segment.
 * One ring a worker, in a preallocated file of its epoch's directory, mapped shared: a store that
 * was made survives kill -9 of the process as write(2) does (docs/decisions/0090). One thread puts,
 * one takes; neither locks nor, in the usual case, makes a system call.
 *
 *   epoch directory/ring = header page | data
 *   header page = header, taken position at 1024, published position at 2048
 *   data        = entries at position % size; an entry may run over the end into the start
 *   entry       = struct spool_ring_entry | payload (flat.h), together a multiple of 16 bytes
 *
 * Positions only grow. Entries in [taken, published) are whole; what a dying process had begun is
 * not published. Each entry also carries its own position and a sum, for a host that died while the
 * pages were on their way to the disk. In the byte order of the machine: a ring is read by the same
 * machine that wrote it, after a restart.
 *
 *   INTENT    id = intent   payload = decision | attempt
 *   ATTEMPT   id = intent   payload = attempt
 *   OUTCOME   id = seq      payload = outcome; intent: the one it closes
 *   RECORD    id = seq      payload = decision | outcome
 *   FEEDBACK  id = seq      payload = feedback */
#ifndef STEELYARD_DATAPLANE_TELEMETRY_SPOOL_RING_H
#define STEELYARD_DATAPLANE_TELEMETRY_SPOOL_RING_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/crypto/uuid.h"
#include "dataplane/telemetry/flat.h"

#define SPOOL_RING_VERSION      8U
#define SPOOL_RING_VERSION_MIN  2U /* What is read; see flat.c. */
#define SPOOL_RING_HEADER_BYTES 80U
#define SPOOL_RING_PAGE_BYTES   65536U /* Of the header: a multiple of any page size. */
#define SPOOL_RING_BYTES_MIN    (1U << 18)
#define SPOOL_RING_BYTES_MAX    (1U << 30)
#define SPOOL_RING_NAME         "ring"
#define SPOOL_RING_TMP          "ring.tmp" /* Until it is whole. */

enum spool_ring_type {
    SPOOL_RING_INTENT = 1,
    SPOOL_RING_ATTEMPT = 2,
    SPOOL_RING_OUTCOME = 3,
    SPOOL_RING_RECORD = 4,
    SPOOL_RING_FEEDBACK = 5,
};

struct spool_ring_entry {
    uint64_t position; /* Its own. */
    uint64_t sum;      /* Of all behind it. */
    uint64_t id;
    uint64_t intent; /* OUTCOME: that it closes. */
    uint32_t len;    /* Of the whole entry. */
    uint32_t slot;   /* INTENT, ATTEMPT, OUTCOME: the open request's place. */
    uint32_t payload_len;
    uint32_t type;
};
#define SPOOL_RING_ENTRY_BYTES 48U
#define SPOOL_RING_INTENT_MAX                                                                      \
    (SPOOL_RING_ENTRY_BYTES + FLAT_DECISION_MAX + FLAT_ATTEMPT_MAX + 32U) /* Ends of 16 included.  \
                                                                           */
#define SPOOL_RING_RECORD_MAX                                                                      \
    (SPOOL_RING_INTENT_MAX + FLAT_OUTCOME_MAX + RECORD_ATTEMPTS_MAX * FLAT_ATTEMPT_MAX)

struct spool_ring {
    uint8_t *data; /* The file's data twice in a row, so that every entry is in one piece. */
    uint64_t size; /* Of the data; a power of two. */
    uint8_t *page;
    _Atomic uint64_t *taken; /* In the header page. */
    _Atomic uint64_t *published;
    /* The putting thread's. */
    uint64_t head;       /* Where the next entry goes. */
    uint64_t taken_seen; /* taken as last looked at. */
    uint64_t reserved;   /* Bytes kept for what must always fit. */
    /* The taking thread's: from this position of the head on it is to be woken. */
    _Atomic uint64_t wake_at;
};

/* Makes the file with its space in the directory of a new epoch, and maps it. It gets its name when
 * it is whole. size: a power of two of at least SPOOL_RING_BYTES_MIN. Blocking; at start-up. */
int spool_ring_create(const char *dir, uint64_t size, uint64_t epoch, const struct uuid *node_id,
                      const struct uuid *boot_id, struct spool_ring *out_ring) MUST_CHECK;
void spool_ring_unmap(struct spool_ring *ring); /* The file stays. Also fine on a zeroed one. */
/* Gives the memory of the mapping back; what the file holds stays. Any thread. */
void spool_ring_trim(struct spool_ring *ring);

/* ---- the putting thread ---- */

/* Free bytes beside what is reserved, at least `want` if there are. */
static inline bool spool_ring_fits(struct spool_ring *r, uint64_t want)
{
    if (r->size - (r->head - r->taken_seen) >= r->reserved + want)
        return true;
    r->taken_seen = atomic_load_explicit(r->taken, memory_order_acquire);
    return r->size - (r->head - r->taken_seen) >= r->reserved + want;
}
static inline struct spool_ring_entry *spool_ring_begin(struct spool_ring *r)
{
    return (struct spool_ring_entry *)(void *)(r->data + (r->head & (r->size - 1)));
}
/* payload_end: end of what was written behind the entry. type, id, slot and intent are set.
 * Publishes it; true: wake the taker. */
bool spool_ring_commit(struct spool_ring *r, struct spool_ring_entry *entry, uint8_t *payload_end);

/* ---- the taking thread ---- */

static inline uint64_t spool_ring_published(const struct spool_ring *r)
{
    return atomic_load_explicit(r->published, memory_order_acquire);
}
static inline uint64_t spool_ring_taken(const struct spool_ring *r)
{
    return atomic_load_explicit(r->taken, memory_order_acquire);
}
static inline void spool_ring_take(struct spool_ring *r, uint64_t position)
{
    atomic_store_explicit(r->taken, position, memory_order_release);
}
static inline void spool_ring_wake_at(struct spool_ring *r, uint64_t position)
{
    atomic_store_explicit(&r->wake_at, position, memory_order_relaxed);
}
/* The entry at a position below published, as this process wrote it. */
static inline const struct spool_ring_entry *spool_ring_at(const struct spool_ring *r,
                                                           uint64_t position)
{
    return (const struct spool_ring_entry *)(const void *)(r->data + (position & (r->size - 1)));
}
static inline struct str spool_ring_payload(const struct spool_ring_entry *e)
{
    return (struct str){.data = (const char *)(e + 1), .len = e->payload_len};
}

/* ---- files of dead processes ---- */

struct spool_ring_header {
    uint64_t epoch;
    uint64_t size;
    struct uuid node_id;
    struct uuid boot_id;
};
void spool_ring_header_encode(const struct spool_ring_header *h,
                              uint8_t out[SPOOL_RING_HEADER_BYTES]);
/* ERR_EOF (shorter), ERR_CORRUPT (magic, checksum, a size that cannot be), ERR_VERSION. */
int spool_ring_header_decode(struct str data, struct spool_ring_header *out_header) MUST_CHECK;

/* Entries of [taken, published) in one piece. */
struct spool_ring_scan {
    struct str data;
    uint64_t position; /* Of data's start. */
    size_t offset;     /* Of the next entry. */
    uint64_t quarantined;
};
/* file: the whole file. Copies what waits into out. ERR_CORRUPT: positions that cannot be. */
int spool_ring_collect(struct str file, const struct spool_ring_header *header, struct buf *out,
                       struct spool_ring_scan *out_scan) MUST_CHECK;
void spool_ring_rewind(struct spool_ring_scan *scan);
/* NULL: no more. A damaged entry is jumped over and counted. */
const struct spool_ring_entry *spool_ring_next(struct spool_ring_scan *scan,
                                               struct spool_ring_entry *scratch,
                                               struct str *out_payload);

#endif
