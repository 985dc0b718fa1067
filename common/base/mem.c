/* The count of live bytes is kept in slots, one for each thread that allocates: the owner of a slot
 * adds to it without a locked instruction, and a reader sums all of them. What one thread allocates
 * another may free, so a slot alone means nothing and may be negative. A thread that ends leaves
 * its sum behind for the slot's next owner; when there are more threads than slots the rest share
 * the last one. */
#include "common/base/mem.h"

#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "common/base/checked.h"

#define SLOTS           128U      /* The last is shared. */
#define MAP_FROM_BYTES  (4 << 20) /* A body of a usual size is no mapping of its own ... */
#define KEPT_BYTES      (8 << 20) /* ... and not given back and taken again by each request. */
#define LOOKED_AT_BYTES (128U << 10)

static pthread_mutex_t trim_lock = PTHREAD_MUTEX_INITIALIZER;
static atomic_uint trims;

_Thread_local bool (*mem_fail_hook)(void);

struct slot {
    _Alignas(64) atomic_llong bytes; /* A cache line of its own. */
    atomic_bool taken;
};
static struct slot slots[SLOTS];
static atomic_uint slots_used; /* No slot from here on was ever taken, but perhaps the last. */
static pthread_key_t slot_key;
static pthread_once_t slot_once = PTHREAD_ONCE_INIT;
static _Thread_local struct slot *own;

static void slot_give(void *slot)
{
    own = &slots[SLOTS - 1]; /* Should another destructor free something yet. */
    atomic_store_explicit(&((struct slot *)slot)->taken, false, memory_order_release);
}

static void slot_make_key(void)
{
    if (pthread_key_create(&slot_key, slot_give) != 0)
        abort(); /* Before anything runs. */
}

static void slot_take(void)
{
    pthread_once(&slot_once, slot_make_key);
    own = &slots[SLOTS - 1];
    for (unsigned i = 0; i < SLOTS - 1; i++) {
        bool taken = false;
        if (!atomic_compare_exchange_strong_explicit(&slots[i].taken, &taken, true,
                                                     memory_order_acquire, memory_order_relaxed))
            continue;
        unsigned used = atomic_load(&slots_used);
        while (used < i + 1 && !atomic_compare_exchange_weak(&slots_used, &used, i + 1)) {
        }
        if (pthread_setspecific(slot_key, &slots[i]) == 0)
            own = &slots[i];
        else
            atomic_store(&slots[i].taken, false);
        return;
    }
}

static void mem_count(long long bytes)
{
    if (own == NULL)
        slot_take();
    if (__builtin_expect(own == &slots[SLOTS - 1], 0)) {
        atomic_fetch_add_explicit(&own->bytes, bytes, memory_order_relaxed);
        return;
    }
    long long now = atomic_load_explicit(&own->bytes, memory_order_relaxed);
    atomic_store_explicit(&own->bytes, now + bytes, memory_order_relaxed);
}

static bool mem_must_fail(void)
{
    return __builtin_expect(mem_fail_hook != NULL, 0) && mem_fail_hook();
}

static void *mem_counted(void *p)
{
    if (p != NULL)
        mem_count((long long)malloc_usable_size(p));
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
    mem_count((long long)malloc_usable_size(grown) - (long long)before);
    return grown;
}

void mem_free(void *p)
{
    if (p == NULL)
        return;
    mem_count(-(long long)malloc_usable_size(p));
    free(p);
}

/* With a sanitizer from malloc, which it watches. */
void *mem_map(size_t size_bytes)
{
#ifdef STEELYARD_ASAN
    return mem_zalloc(size_bytes);
#else
    if (mem_must_fail())
        return NULL;
    void *p = mmap(NULL, size_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return NULL;
    mem_count((long long)size_bytes);
    return p;
#endif
}

void mem_unmap(void *p, size_t size_bytes)
{
#ifdef STEELYARD_ASAN
    (void)size_bytes;
    mem_free(p);
#else
    if (p == NULL)
        return;
    mem_count(-(long long)size_bytes);
    if (munmap(p, size_bytes) != 0) /* As many mappings as there may be: only the addresses stay. */
        (void)madvise(p, size_bytes, MADV_DONTNEED);
#endif
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
    unsigned used = atomic_load(&slots_used);
    long long sum = atomic_load_explicit(&slots[SLOTS - 1].bytes, memory_order_relaxed);
    for (unsigned i = 0; i < used; i++)
        sum += atomic_load_explicit(&slots[i].bytes, memory_order_relaxed);
    return sum > 0 ? (uint64_t)sum : 0; /* Slots are read one after another. */
}

/* Left alone, glibc moves both by what was freed last: a piece of 16 MiB lets every heap keep 32
 * MiB at its end. */
void mem_limit_heaps(unsigned heaps)
{
    (void)mallopt(M_ARENA_MAX, (int)heaps);
    (void)mallopt(M_MMAP_THRESHOLD, MAP_FROM_BYTES);
    (void)mallopt(M_TRIM_THRESHOLD, KEPT_BYTES);
}

/* malloc_trim leaves the ends of all heaps but the first. One is looked at when a piece is freed,
 * if that was long enough, and there is nothing else that makes glibc look. */
void mem_trim_end(void)
{
    pthread_mutex_lock(&trim_lock);
    (void)mallopt(M_TRIM_THRESHOLD, 0);
    void *volatile piece = malloc(LOOKED_AT_BYTES);
    free(piece);
    (void)mallopt(M_TRIM_THRESHOLD, KEPT_BYTES);
    pthread_mutex_unlock(&trim_lock);
}

void mem_trim(void)
{
    (void)malloc_trim(0);
    atomic_fetch_add(&trims, 1);
}

unsigned mem_trims(void)
{
    return atomic_load_explicit(&trims, memory_order_relaxed);
}
