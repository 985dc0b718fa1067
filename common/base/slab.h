/* slab.h: objects of one size, many of which live long, in blocks of their own. Taken from malloc
 * they would stand between what a request needs only for a moment, and the holes that leaves are
 * memory the process keeps: with thousands of live streams that was as much as the streams. So
 * would the blocks, which are whole pages apart from malloc's.
 *
 * An object takes 8 bytes beside itself. A block without one is kept for the next until its owner
 * asks now and then (slab_trim) what was not needed since it asked before: what comes and goes with
 * every turn of a loop costs no mapping, and what a burst took goes back to the system. One thread
 * at a time; not for objects above SLAB_OBJECT_BYTES_MAX. docs/decisions/0292. */
#ifndef STEELYARD_COMMON_BASE_SLAB_H
#define STEELYARD_COMMON_BASE_SLAB_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/err.h"
#include "common/base/list.h"

#define SLAB_BLOCK_BYTES      16384U
#define SLAB_OBJECT_BYTES_MAX 2048U

struct slab {
    /* Private. */
    uint32_t object_bytes; /* With the word before it. */
    uint32_t per_block;
    struct list blocks; /* Those with room come first. */
    uint32_t empty;     /* Of them, without an object ... */
    uint32_t spare;     /* ... and the fewest there were since the last trim. */
    uint32_t live;
};

void slab_init(struct slab *s, size_t object_bytes);
void slab_deinit(struct slab *s);             /* No object is live. */
void *slab_take(struct slab *s) MUST_CHECK;   /* Not zeroed, aligned to 8. NULL: out of memory. */
void slab_give(struct slab *s, void *object); /* NULL is allowed. */
void slab_trim(struct slab *s);               /* Gives back as many blocks as stayed empty. */
void slab_trim_all(struct slab *s);           /* Keeps none that is empty. */

#endif
