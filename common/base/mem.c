#include "common/base/mem.h"

#include <malloc.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/checked.h"

bool (*mem_fail_hook)(void);

static atomic_uint_fast64_t live_bytes;

static bool mem_must_fail(void)
{
    return __builtin_expect(mem_fail_hook != NULL, 0) && mem_fail_hook();
}

static void *mem_counted(void *p)
{
    if (p != NULL)
        atomic_fetch_add_explicit(&live_bytes, malloc_usable_size(p), memory_order_relaxed);
    return p;
}

void *mem_alloc(size_t size_bytes)
{
    if (mem_must_fail())
        return NULL;
    return mem_counted(malloc(size_bytes > 0 ? size_bytes : 1)); /* NULL only ever means "none". */
}

void *mem_zalloc(size_t size_bytes)
{
    return mem_calloc(1, size_bytes);
}

void *mem_calloc(size_t count, size_t size_bytes)
{
    if (mem_must_fail())
        return NULL;
    size_t total = 0;
    if (!checked_mul(count, size_bytes, &total))
        return NULL;
    return mem_counted(calloc(1, total > 0 ? total : 1));
}

void *mem_realloc(void *p, size_t size_bytes)
{
    if (mem_must_fail())
        return NULL;
    size_t before = p != NULL ? malloc_usable_size(p) : 0;
    void *grown = realloc(p, size_bytes > 0 ? size_bytes : 1);
    if (grown == NULL)
        return NULL;
    atomic_fetch_add_explicit(&live_bytes, malloc_usable_size(grown), memory_order_relaxed);
    atomic_fetch_sub_explicit(&live_bytes, before, memory_order_relaxed);
    return grown;
}

void mem_free(void *p)
{
    if (p == NULL)
        return;
    atomic_fetch_sub_explicit(&live_bytes, malloc_usable_size(p), memory_order_relaxed);
    free(p);
}

char *mem_strdup(const char *text)
{
    return mem_strndup(text, strlen(text));
}

char *mem_strndup(const char *text, size_t len)
{
    if (len == SIZE_MAX)
        return NULL;
    char *copy = mem_alloc(len + 1);
    if (copy == NULL)
        return NULL;
    if (len > 0)
        memcpy(copy, text, len);
    copy[len] = '\0';
    return copy;
}

uint64_t mem_live_bytes(void)
{
    return atomic_load_explicit(&live_bytes, memory_order_relaxed);
}
