#include "common/base/arena.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "common/base/checked.h"
#include "common/base/mem.h"

#define ARENA_ALIGN 16U

/* The bytes follow the header; a chunk larger than ARENA_CHUNK_BYTES holds one allocation and goes
 * back to mem_free, never to the pool. */
struct arena_chunk {
    struct arena_chunk *next;
    size_t size;
    size_t used;
    size_t pad_; /* Keeps bytes[] on a 16-byte boundary. */
    _Alignas(ARENA_ALIGN) unsigned char bytes[];
};

void arena_pool_init(struct arena_pool *pool, size_t max_free_chunks)
{
    *pool = (struct arena_pool){.max_free = max_free_chunks};
}

void arena_pool_trim(struct arena_pool *pool, size_t keep)
{
    while (pool->free_count > keep) {
        struct arena_chunk *chunk = pool->free;
        pool->free = chunk->next;
        pool->free_count--;
        mem_free(chunk);
    }
}

void arena_pool_deinit(struct arena_pool *pool)
{
    arena_pool_trim(pool, 0);
}

void arena_init(struct arena *a, struct arena_pool *pool, size_t max_bytes)
{
    *a = (struct arena){.pool = pool, .max_bytes = max_bytes};
}

static struct arena_chunk *chunk_take(struct arena *a, size_t size)
{
#ifndef STEELYARD_ASAN
    struct arena_pool *pool = a->pool;
    if (size <= ARENA_CHUNK_BYTES)
        size = ARENA_CHUNK_BYTES;
    if (size == ARENA_CHUNK_BYTES && pool != NULL && pool->free != NULL) {
        struct arena_chunk *kept = pool->free;
        pool->free = kept->next;
        pool->free_count--;
        kept->used = 0;
        return kept;
    }
#else
    (void)a;
#endif
    size_t total = 0;
    if (!checked_add(sizeof(struct arena_chunk), size, &total))
        return NULL;
    struct arena_chunk *chunk = mem_alloc(total);
    if (chunk == NULL)
        return NULL;
    *chunk = (struct arena_chunk){.size = size};
    return chunk;
}

static void chunk_give(struct arena *a, struct arena_chunk *chunk)
{
#ifndef STEELYARD_ASAN
    struct arena_pool *pool = a->pool;
    if (chunk->size == ARENA_CHUNK_BYTES && pool != NULL && pool->free_count < pool->max_free) {
        chunk->next = pool->free;
        pool->free = chunk;
        pool->free_count++;
        return;
    }
#else
    (void)a;
#endif
    mem_free(chunk);
}

void arena_reset(struct arena *a)
{
    arena_rewind(a, (struct arena_mark){.chunk = NULL});
}

void *arena_alloc(struct arena *a, size_t size_bytes)
{
    size_t total = 0;
    size_t rounded = 0;
    if (!checked_add(a->used_bytes, size_bytes, &total) || total > a->max_bytes ||
        !checked_add(size_bytes, (size_t)ARENA_ALIGN - 1, &rounded))
        return NULL;
    rounded &= ~((size_t)ARENA_ALIGN - 1);
    struct arena_chunk *chunk = a->chunks;
#ifdef STEELYARD_ASAN
    rounded = size_bytes; /* A block of its own that ends where the caller's bytes end. */
    chunk = NULL;
#endif
    if (chunk == NULL || chunk->size - chunk->used < rounded) {
        chunk = chunk_take(a, rounded);
        if (chunk == NULL)
            return NULL;
        chunk->next = a->chunks;
        a->chunks = chunk;
    }
    void *p = chunk->bytes + chunk->used;
    chunk->used += rounded;
    a->used_bytes = total;
    return p;
}

void *arena_zalloc(struct arena *a, size_t count, size_t size_bytes)
{
    size_t total = 0;
    if (!checked_mul(count, size_bytes, &total))
        return NULL;
    void *p = arena_alloc(a, total);
    if (p != NULL)
        memset(p, 0, total);
    return p;
}

struct str arena_copy(struct arena *a, struct str s)
{
    if (s.len == SIZE_MAX)
        return STR_NULL;
    char *copy = arena_alloc(a, s.len + 1);
    if (copy == NULL)
        return STR_NULL;
    if (s.len > 0)
        memcpy(copy, s.data, s.len);
    copy[s.len] = '\0';
    return (struct str){.data = copy, .len = s.len};
}

char *arena_printf(struct arena *a, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (n < 0)
        return NULL;
    char *text = arena_alloc(a, (size_t)n + 1);
    if (text == NULL)
        return NULL;
    va_start(args, format);
    (void)vsnprintf(text, (size_t)n + 1, format, args);
    va_end(args);
    return text;
}

struct arena_mark arena_mark(const struct arena *a)
{
    return (struct arena_mark){
        .chunk = a->chunks,
        .offset = a->chunks != NULL ? a->chunks->used : 0,
        .used_bytes = a->used_bytes,
    };
}

void arena_rewind(struct arena *a, struct arena_mark mark)
{
    while (a->chunks != mark.chunk) {
        struct arena_chunk *chunk = a->chunks;
        a->chunks = chunk->next;
        chunk_give(a, chunk);
    }
    if (a->chunks != NULL)
        a->chunks->used = mark.offset;
    a->used_bytes = mark.used_bytes;
}
