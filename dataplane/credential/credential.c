/* Source: H.-J. Boehm, "Can seqlocks get along with programming language memory models?", 2012,
 * without fences: each word is stored with release and loaded with acquire, so whoever has seen one
 * that is being written sees the odd number, too. */
#include "dataplane/credential/credential.h"

#include <string.h>

#include "common/base/mem.h"

#define WORDS     (CREDENTIAL_BYTES_MAX / sizeof(uint64_t))
#define TRIES_MAX 1000U

struct credential {
    atomic_uint references;
    atomic_uint sequence; /* Odd while it is written. */
    _Atomic uint64_t until_ms;
    _Atomic uint64_t len;
    _Atomic uint64_t words[WORDS];
};

struct credential *credential_create(void)
{
    struct credential *c = mem_zalloc(sizeof *c);
    if (c != NULL)
        atomic_init(&c->references, 1);
    return c;
}

struct credential *credential_ref(struct credential *c)
{
    (void)atomic_fetch_add_explicit(&c->references, 1, memory_order_relaxed);
    return c;
}

void credential_unref(struct credential *c)
{
    if (c == NULL || atomic_fetch_sub_explicit(&c->references, 1, memory_order_acq_rel) > 1)
        return;
    explicit_bzero(c, sizeof *c);
    mem_free(c);
}

bool credential_is_shared(const struct credential *c)
{
    return atomic_load_explicit(&c->references, memory_order_acquire) > 1;
}

int credential_set(struct credential *c, struct str text, uint64_t until_ms)
{
    const unsigned sequence = atomic_load_explicit(&c->sequence, memory_order_relaxed);
    if (text.len > CREDENTIAL_BYTES_MAX)
        return ERR_TOO_LARGE;
    atomic_store_explicit(&c->sequence, sequence + 1, memory_order_relaxed);
    for (size_t i = 0, at = 0; at < text.len; i++, at += sizeof(uint64_t)) {
        const size_t left = text.len - at;
        uint64_t word = 0;
        memcpy(&word, text.data + at, left < sizeof word ? left : sizeof word);
        atomic_store_explicit(&c->words[i], word, memory_order_release);
    }
    atomic_store_explicit(&c->len, text.len, memory_order_release);
    atomic_store_explicit(&c->until_ms, until_ms, memory_order_release);
    atomic_store_explicit(&c->sequence, sequence + 2, memory_order_release);
    return 0;
}

bool credential_is_valid(const struct credential *c, uint64_t now_ms)
{
    return atomic_load_explicit(&c->until_ms, memory_order_relaxed) > now_ms;
}

/* False: it was written meanwhile. */
static bool copy(const struct credential *c, char *room, size_t *out_len, uint64_t *out_until_ms)
{
    const unsigned before = atomic_load_explicit(&c->sequence, memory_order_acquire);
    const size_t len = atomic_load_explicit(&c->len, memory_order_acquire);
    *out_until_ms = atomic_load_explicit(&c->until_ms, memory_order_acquire);
    if ((before & 1) != 0)
        return false;
    for (size_t i = 0, at = 0; at < len; i++, at += sizeof(uint64_t)) {
        const uint64_t word = atomic_load_explicit(&c->words[i], memory_order_acquire);
        memcpy(room + at, &word, sizeof word);
    }
    *out_len = len;
    return atomic_load_explicit(&c->sequence, memory_order_relaxed) == before;
}

int credential_get(const struct credential *c, uint64_t now_ms, struct arena *arena,
                   struct str *out)
{
    const struct arena_mark mark = arena_mark(arena);
    uint64_t until_ms;
    if (!credential_is_valid(c, now_ms))
        return ERR_UNAUTHENTICATED;
    for (unsigned i = 0; i < TRIES_MAX; i++) {
        /* It may grow between the look at its length and the copy. */
        __attribute__((uninitialized)) char room[CREDENTIAL_BYTES_MAX];
        size_t len;
        if (!copy(c, room, &len, &until_ms))
            continue;
        *out = arena_copy(arena, (struct str){room, len});
        explicit_bzero(room, len);
        if (out->data == NULL) {
            arena_rewind(arena, mark);
            return ERR_TOO_LARGE;
        }
        return until_ms > now_ms ? 0 : ERR_UNAUTHENTICATED;
    }
    return ERR_AGAIN;
}
