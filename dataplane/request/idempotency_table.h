/* idempotency_table.h: what a node knows of the idempotency keys of its callers (RELIABILITY B26):
 * that a request is under way, or what it was answered. One table of all workers, in memory:
 * another node, and this one after a restart, knows nothing of them (docs/decisions/0265).
 *
 *   (nothing) -> claim -> RUNNING -> keep    -> DONE -> a day later, or for room -> (nothing)
 *                            |
 *                            +----- release without keep ----------------------> (nothing)
 *
 * Bounded by bytes; for room, the oldest answers go first, never a request that runs. A lock is
 * held for a look-up: it is taken by requests that bring a key alone. */
#ifndef STEELYARD_DATAPLANE_REQUEST_IDEMPOTENCY_TABLE_H
#define STEELYARD_DATAPLANE_REQUEST_IDEMPOTENCY_TABLE_H

#include <stdint.h>

#include "common/base/err.h"
#include "common/base/str.h"
#include "common/crypto/digest.h"

#define IDEMPOTENCY_KEPT_MS    (24ULL * 3600 * 1000)
#define IDEMPOTENCY_PART       16U /* Of the memory that the process may use, at most ... */
#define IDEMPOTENCY_BYTES_MIN  (1ULL << 20) /* ... within these. */
#define IDEMPOTENCY_BYTES_MAX  (256ULL << 20)
#define IDEMPOTENCY_ANSWER_MAX (4U << 20) /* Of a longer one nothing is kept; also not above ...   \
                                           */
#define IDEMPOTENCY_SHARE      4U         /* ... this part of all. */

/* An answer as it is told again. */
struct idempotency_answer {
    unsigned status;
    struct str content_type;
    struct str decision; /* Its id as text. */
    struct str policy;
    struct str provider; /* Who served ... */
    struct str model;    /* ... and with what. */
    struct str body;
};

enum idempotency_state {
    IDEMPOTENCY_CLAIMED, /* Nobody has it: the caller does from now on. */
    IDEMPOTENCY_RUNNING, /* Somebody's request is under way. */
    IDEMPOTENCY_DONE,
    IDEMPOTENCY_OTHER, /* It came with another body. */
    IDEMPOTENCY_FULL,  /* No room, all of what is there being under way; or no memory. */
};

struct idempotency_table;
struct idempotency_entry;
/* memory_max: bytes that the process may use. NULL: no memory. */
struct idempotency_table *idempotency_table_create(uint64_t memory_max);
void idempotency_table_destroy(struct idempotency_table *t); /* Nothing is held any more. */

/* Any thread, as all below. name: of who asks and the key; body: of what is asked. With CLAIMED and
 * DONE *out_entry is held until it is released; else it is NULL. *out_dropped: answers that went
 * before their day was over, to make room. */
enum idempotency_state idempotency_claim(struct idempotency_table *t, const struct sha256 *name,
                                         const struct sha256 *body, uint64_t now_ms,
                                         struct idempotency_entry **out_entry,
                                         uint64_t *out_dropped);
/* Of a claimed one, once: it is DONE. Copies. ERR_TOO_LARGE, ERR_NOMEM: nothing is kept. */
int idempotency_keep(struct idempotency_table *t, struct idempotency_entry *e,
                     const struct idempotency_answer *answer, uint64_t *out_dropped) MUST_CHECK;
/* Of a DONE one; valid while it is held. */
const struct idempotency_answer *idempotency_answer(const struct idempotency_entry *e);
void idempotency_release(struct idempotency_table *t, struct idempotency_entry *e);

uint64_t idempotency_bytes(struct idempotency_table *t);

#endif
