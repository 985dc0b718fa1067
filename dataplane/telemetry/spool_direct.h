/* spool_direct.h: segments past the page cache (docs/decisions/0255). Frames are gathered in chunks
 * of memory as they will stand in the file, block by block, and written with O_DIRECT; the chunks
 * stay for the shipper, which so reads no file while it keeps up. Where a file system refuses, or
 * the disk is slow, segments are written through the page cache as before.
 *
 * A write is made by a thread of its own, and waited for only so long: a disk that stalls must not
 * hold up the writer, who then goes on in the page cache. What is still under way keeps its buffer
 * and its descriptor; what it brings to its segment later are frames that stand in the next one
 * too. */
#ifndef STEELYARD_DATAPLANE_TELEMETRY_SPOOL_DIRECT_H
#define STEELYARD_DATAPLANE_TELEMETRY_SPOOL_DIRECT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/err.h"
#include "common/base/list.h"
#include "common/base/str.h"

#define SPOOL_BLOCK_BYTES 4096U    /* What writes begin and end at. */
#define SPOOL_CHUNK_BYTES 1048576U /* At most one write. */
#define SPOOL_CHUNKS_MAX  16U      /* Of a worker; older ones are read from their files. */
#define SPOOL_PATIENCE_MS 100U
#define SPOOL_REST_MS     60000U /* After a write that took longer. */

struct spool_set;
struct spool;
struct spool_segment;

/* Bytes [base, base + len) of a segment. Those below what is written never change; who holds it may
 * read them. Lists and counts are guarded by set->lock. */
struct spool_chunk {
    struct list link; /* Of spool->chunks, in the order of the file. */
    uint32_t number;  /* Of the segment. */
    uint64_t base;    /* A multiple of the block. */
    uint64_t from;    /* Where what it added begins; UINT64_MAX: frames go over its ends. */
    _Atomic size_t len;
    uint32_t holders;
    bool growing; /* The writer adds to it. */
    uint8_t *data;
};

/* The thread, one for a set. */
struct spool_direct;
int spool_direct_create(struct spool_direct **out_direct) MUST_CHECK; /* ERR_NOMEM, ERR_LIMIT. */
/* Waits for a write that is under way. NULL is fine. */
void spool_direct_destroy(struct spool_direct *direct);

/* The writer's, with drain_lock held. Begins a segment whose file stands at `path`: its header goes
 * out, in a block of its own. ERR_INVALID: through the page cache, please; nothing was written.
 * ERR_TIMEOUT and others: the file is of no more use. */
int spool_direct_begin(struct spool *s, uint32_t number, const char *path,
                       struct str header) MUST_CHECK;
/* Adds sealed frames to the segment that was begun last. After an error it takes no more. */
int spool_direct_append(struct spool *s, struct str frames) MUST_CHECK;
/* It gets no more frames; its chunks stay for the shipper. Also when none was begun. */
void spool_direct_end(struct spool *s);
/* A worker at rest keeps no memory: what was not shipped is read from the files. */
void spool_direct_trim(struct spool *s);

/* The disk does not keep up: for a while segments are begun in the page cache, which can take a
 * burst in. */
void spool_direct_rest(struct spool_direct *direct);

/* The chunk that holds what a frame at this offset begins with, and is held until it is dropped;
 * NULL: none. The shipper's. */
struct spool_chunk *spool_chunk_hold(struct spool *s, uint32_t number, uint64_t offset);
void spool_chunk_drop(struct spool *s, struct spool_chunk *chunk);
/* What ends at or before this offset of the segment was shipped: its memory can be used again. */
void spool_chunks_pass(struct spool *s, uint32_t number, uint64_t offset);
/* Bytes [from, to) of a segment, if all of them are here; with set->lock held. */
bool spool_chunks_find(const struct spool *s, uint32_t number, uint64_t from, uint64_t to,
                       uint8_t *out);

#endif
