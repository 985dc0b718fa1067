#include "dataplane/request/generations.h"

#include <string.h>

#include "common/base/mem.h"
#include "common/base/seqlock.h"

_Static_assert(sizeof(struct generation) % 8 == 0, "its last word is whole");

struct place {
    struct seqlock lock;
    _Atomic uint64_t words[SEQLOCK_WORDS(sizeof(struct generation))];
};
struct generations {
    _Atomic uint64_t next;
    struct place places[GENERATIONS_MAX];
};

struct generations *generations_create(void)
{
    return mem_calloc(1, sizeof(struct generations));
}

void generations_destroy(struct generations *g)
{
    mem_free(g);
}

/* The next one was written a whole round ago: it comes while others are served. */
static void prefetch_place(const struct place *p)
{
    for (size_t i = 0; i < sizeof *p; i += 64)
        __builtin_prefetch((const char *)p + i, 1);
}

void generations_put(struct generations *g, const struct generation *entry)
{
    uint64_t at = atomic_fetch_add_explicit(&g->next, 1, memory_order_relaxed);
    struct place *p = &g->places[at % GENERATIONS_MAX];
    if (!seqlock_write_begin(&p->lock))
        return; /* Somebody a whole round behind is still at it: nothing is waited for. */
    const size_t used = offsetof(struct generation, names) + entry->model_len + entry->provider_len;
    seqlock_store_bytes(p->words, entry, (used + 7) & ~(size_t)7);
    seqlock_write_end(&p->lock);
    prefetch_place(&g->places[(at + 1) % GENERATIONS_MAX]);
}

static bool read_place(struct place *p, struct generation *out)
{
    uint64_t version;
    if (!seqlock_read_begin(&p->lock, &version))
        return false;
    seqlock_load_bytes(p->words, out, sizeof *out);
    return seqlock_read_end(&p->lock, version);
}

bool generations_find(struct generations *g, uint64_t key_id, const uint8_t decision[16],
                      uint32_t hash, struct generation *out)
{
    const uint64_t next = atomic_load_explicit(&g->next, memory_order_relaxed);
    for (uint64_t back = 1; back <= GENERATIONS_MAX && back <= next; back++) {
        if (!read_place(&g->places[(next - back) % GENERATIONS_MAX], out) || out->key_id != key_id)
            continue;
        if (out->answer == hash || out->request_id == hash ||
            (decision != NULL && memcmp(out->decision, decision, sizeof out->decision) == 0))
            return true;
    }
    return false;
}
