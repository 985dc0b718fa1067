#include "dataplane/request/generations.h"

#include <string.h>

#include "common/base/mem.h"

#define WORDS ((sizeof(struct generation) + 7) / 8)

/* Even: at rest; odd: being written. The words are atomics, so that a reader that is too late reads
 * nonsense, but never races. */
struct place {
    _Atomic uint64_t version;
    _Atomic uint64_t words[WORDS];
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

void generations_put(struct generations *g, const struct generation *entry)
{
    uint64_t words[WORDS] = {0};
    uint64_t at = atomic_fetch_add_explicit(&g->next, 1, memory_order_relaxed);
    struct place *p = &g->places[at % GENERATIONS_MAX];
    uint64_t version = atomic_load_explicit(&p->version, memory_order_relaxed);
    if (version % 2 != 0 ||
        !atomic_compare_exchange_strong_explicit(&p->version, &version, version + 1,
                                                 memory_order_acquire, memory_order_relaxed))
        return; /* Somebody a whole round behind is still at it: nothing is waited for. */
    memcpy(words, entry, sizeof *entry);
    for (size_t i = 0; i < WORDS; i++)
        atomic_store_explicit(&p->words[i], words[i], memory_order_release);
    atomic_store_explicit(&p->version, version + 2, memory_order_release);
}

static bool read_place(struct place *p, struct generation *out)
{
    uint64_t words[WORDS];
    uint64_t version = atomic_load_explicit(&p->version, memory_order_acquire);
    if (version == 0 || version % 2 != 0)
        return false;
    for (size_t i = 0; i < WORDS; i++)
        words[i] = atomic_load_explicit(&p->words[i], memory_order_acquire);
    if (atomic_load_explicit(&p->version, memory_order_relaxed) != version)
        return false;
    memcpy(out, words, sizeof *out);
    return true;
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
