/* mem.h: the one caller of malloc and, for memory alone, of mmap. Counts what is live and has the
 * hook by which tests make the n-th allocation fail. Thread-safe. Nothing here aborts: NULL means
 * out of memory. */
#ifndef STEELYARD_COMMON_BASE_MEM_H
#define STEELYARD_COMMON_BASE_MEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/err.h"

void *mem_alloc(size_t size_bytes) MUST_CHECK;                /* Not zeroed. */
void *mem_zalloc(size_t size_bytes) MUST_CHECK;               /* Zeroed. */
void *mem_calloc(size_t count, size_t size_bytes) MUST_CHECK; /* Zeroed; NULL on overflow. */
void *mem_realloc(void *p, size_t size_bytes) MUST_CHECK;     /* On NULL, p is untouched. */
void mem_free(void *p);                                       /* NULL is allowed. */
char *mem_strdup(const char *text) MUST_CHECK;
char *mem_strndup(const char *text, size_t len) MUST_CHECK; /* Copies len bytes, adds NUL. */

/* Whole pages, zeroed, apart from what malloc hands out: freed they are the system's at once, and
 * they never stand between pieces that live shorter. A system call each. */
void *mem_map(size_t size_bytes) MUST_CHECK;
void mem_unmap(void *p, size_t size_bytes); /* NULL is allowed. */

/* What is allocated now, as malloc_usable_size sees it. Sums a counter of each thread: cheap, but
 * for a tick rather than for every request. */
uint64_t mem_live_bytes(void);
/* Few heaps, so that what one thread freed another can use, and pieces below 4 MiB come from them.
 * Before threads exist. */
void mem_limit_heaps(unsigned heaps);
/* Gives free memory back to the system, but for the ends of other threads' heaps. Takes
 * milliseconds after large frees. */
void mem_trim(void);
/* How often that was done; another thread that sees it rise gives the end of its own heap back.
 * Both any thread. */
unsigned mem_trims(void);
void mem_trim_end(void);

/* For tests: called before each allocation of the thread that sets it; true makes it fail. NULL
 * (the default) = never. */
extern _Thread_local bool (*mem_fail_hook)(void);

#endif
