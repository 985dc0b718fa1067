#include "dataplane/credential/credential.h"

#include <assert.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/base/seqlock.h"

#define TRIES_MAX 1000U

struct credential {
    atomic_uint references;
    struct seqlock lock;
    _Atomic uint64_t until_ms;
    _Atomic uint64_t len;
    _Atomic uint64_t words[SEQLOCK_WORDS(CREDENTIAL_BYTES_MAX)];
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
    if (text.len > CREDENTIAL_BYTES_MAX)
        return ERR_TOO_LARGE;
    const bool alone = seqlock_write_begin(&c->lock);
    assert(alone);
    seqlock_store_bytes(c->words, text.data, text.len);
    seqlock_store(&c->len, text.len);
    seqlock_store(&c->until_ms, until_ms);
    seqlock_write_end(&c->lock);
    return 0;
}

bool credential_is_valid(const struct credential *c, uint64_t now_ms)
{
    return atomic_load_explicit(&c->until_ms, memory_order_relaxed) > now_ms;
}

/* False: it was written meanwhile. */
static bool copy(const struct credential *c, char *room, size_t *out_len, uint64_t *out_until_ms)
{
    uint64_t version;
    if (!seqlock_read_begin(&c->lock, &version))
        return false;
    *out_len = seqlock_load(&c->len);
    *out_until_ms = seqlock_load(&c->until_ms);
    seqlock_load_bytes(c->words, room, *out_len);
    return seqlock_read_end(&c->lock, version);
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
