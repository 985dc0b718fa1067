/* seqlock.h: bytes that are written now and then and read by any number of threads, none of which
 * waits: a reader that was overtaken is told so and takes what it has for nothing. The bytes lie in
 * words that are atomic by themselves: each is stored with release and loaded with acquire, so
 * whoever has seen one that is being written sees the odd number, too, and no fence is needed.
 * Inline.
 *
 * Source: H.-J. Boehm, "Can seqlocks get along with programming language memory models?", 2012. */
#ifndef STEELYARD_COMMON_BASE_SEQLOCK_H
#define STEELYARD_COMMON_BASE_SEQLOCK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define SEQLOCK_WORDS(bytes) (((bytes) + sizeof(uint64_t) - 1) / sizeof(uint64_t))

/* Zeroed: nothing was written yet. Even: at rest; odd: being written. */
struct seqlock {
    _Atomic uint64_t version;
};

/* False: somebody else writes. Between begin and end, stores alone. */
static inline bool seqlock_write_begin(struct seqlock *l)
{
    uint64_t version = atomic_load_explicit(&l->version, memory_order_relaxed);
    return version % 2 == 0 &&
           atomic_compare_exchange_strong_explicit(&l->version, &version, version + 1,
                                                   memory_order_acquire, memory_order_relaxed);
}

static inline void seqlock_write_end(struct seqlock *l)
{
    (void)atomic_fetch_add_explicit(&l->version, 1, memory_order_release);
}

static inline void seqlock_store(_Atomic uint64_t *word, uint64_t value)
{
    atomic_store_explicit(word, value, memory_order_release);
}

static inline void seqlock_store_bytes(_Atomic uint64_t *words, const void *from, size_t bytes)
{
    const char *at = from;
    uint64_t word;
    for (; bytes >= sizeof word; bytes -= sizeof word, at += sizeof word) {
        memcpy(&word, at, sizeof word);
        seqlock_store(words++, word);
    }
    if (bytes > 0) {
        word = 0;
        memcpy(&word, at, bytes);
        seqlock_store(words, word);
    }
}

/* False: nothing was written yet, or somebody writes. Then loads, then end: whether they belong
 * together. */
static inline bool seqlock_read_begin(const struct seqlock *l, uint64_t *out_version)
{
    *out_version = atomic_load_explicit(&l->version, memory_order_acquire);
    return *out_version != 0 && *out_version % 2 == 0;
}

static inline bool seqlock_read_end(const struct seqlock *l, uint64_t version)
{
    return atomic_load_explicit(&l->version, memory_order_relaxed) == version;
}

static inline uint64_t seqlock_load(const _Atomic uint64_t *word)
{
    return atomic_load_explicit(word, memory_order_acquire);
}

static inline void seqlock_load_bytes(const _Atomic uint64_t *words, void *to, size_t bytes)
{
    char *at = to;
    uint64_t word;
    for (; bytes >= sizeof word; bytes -= sizeof word, at += sizeof word) {
        word = seqlock_load(words++);
        memcpy(at, &word, sizeof word);
    }
    word = bytes > 0 ? seqlock_load(words) : 0;
    memcpy(at, &word, bytes);
}

#endif
