/* arena.h: bump allocator for what lives as long as one request; with a ceiling, mark and rewind.
 * Chunks come from a pool that belongs to one thread, so a request takes no malloc once the pool is
 * warm. With ASan every allocation is a malloc of its own, so that overruns and stale pointers
 * show. Not thread-safe: arena and pool belong to one thread. */
#ifndef STEELYARD_COMMON_BASE_ARENA_H
#define STEELYARD_COMMON_BASE_ARENA_H

#include "common/base/err.h"
#include "common/base/str.h"

#define ARENA_CHUNK_BYTES 4048U /* With its head and malloc's, a page. */

struct arena_chunk;

/* Keeps up to max_free chunks for the next request. */
struct arena_pool {
    struct arena_chunk *free;
    size_t free_count;
    size_t max_free;
};

struct arena {
    struct arena_pool *pool;
    struct arena_chunk *chunks; /* Newest first. */
    size_t used_bytes;          /* What was asked for, over all chunks. */
    size_t max_bytes;
};

struct arena_mark {
    struct arena_chunk *chunk;
    size_t offset;
    size_t used_bytes;
};

void arena_pool_init(struct arena_pool *pool, size_t max_free_chunks);
void arena_pool_deinit(struct arena_pool *pool);
void arena_pool_trim(struct arena_pool *pool, size_t keep); /* Frees kept chunks beyond those. */

void arena_init(struct arena *a, struct arena_pool *pool,
                size_t max_bytes); /* Allocates nothing. */
void arena_reset(struct arena *a); /* Frees everything. */
/* 16-byte aligned, not zeroed; NULL past the ceiling or when out of memory. */
void *arena_alloc(struct arena *a, size_t size_bytes) MUST_CHECK;
void *arena_zalloc(struct arena *a, size_t count, size_t size_bytes) MUST_CHECK;
/* Copy of s with a NUL after it; .data is NULL past the ceiling. */
struct str arena_copy(struct arena *a, struct str s);
char *arena_printf(struct arena *a, const char *format, ...) MUST_CHECK PRINTF_LIKE(2, 3);
struct arena_mark arena_mark(const struct arena *a);
void arena_rewind(struct arena *a, struct arena_mark mark); /* Frees all made since the mark. */

#endif
