/* The workers' side. A slot is filled before it is published and never taken away; the index is
 * open addressing with linear probing, inserted into by compare-and-swap: who loses the race for a
 * cell looks whether the winner is the same account, and so no account gets two slots. */
#include "dataplane/limits/limits.h"

#include <assert.h>
#include <sys/mman.h>

#include "common/base/mem.h"
#include "dataplane/limits/limits_internal.h"

#define WAIT_CONCURRENCY_NS UINT64_C(1000000000) /* When another request ends is not known. */
#define PROBES_MAX          256U

struct limits_table *limits_create(uint32_t slots_max, uint64_t now_ns)
{
    struct limits_table *t = mem_zalloc(sizeof(*t));
    if (t == NULL)
        return NULL;
    t->slots_max = slots_max != 0 ? slots_max : LIMITS_SLOTS_MAX;
    uint32_t cells = 16;
    while (cells < 2 * t->slots_max)
        cells *= 2;
    t->index_mask = cells - 1;
    t->started_ns = t->report_ns = now_ns;
    /* Addresses for as many accounts as there may ever be. Memory comes as they are used, so that
     * the ledger of memory (mem.h), which would count it at once, is not asked. */
    t->space_bytes = t->slots_max * sizeof(*t->slots) + cells * sizeof(*t->index);
    void *space = mmap(NULL, t->space_bytes, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (space == MAP_FAILED) {
        mem_free(t);
        return NULL;
    }
    t->slots = space;
    t->index = (_Atomic uint32_t *)(void *)(t->slots + t->slots_max);
    return t;
}

void limits_destroy(struct limits_table *t)
{
    if (t == NULL)
        return;
    (void)munmap(t->slots, t->space_bytes);
    mem_free(t);
}

/* ---- finding ---- */

static struct limits_slot *slot_new(struct limits_table *t, uint64_t account,
                                    const struct limits_values *v, uint64_t generation,
                                    uint32_t *out_index)
{
    uint32_t i = atomic_fetch_add(&t->used, 1);
    if (i >= t->slots_max) {
        atomic_fetch_sub(&t->used, 1);
        return NULL;
    }
    struct limits_slot *s = &t->slots[i];
    atomic_store(&s->account, account);
    atomic_store(&s->generation, generation);
    atomic_store(&s->per_min[LIMITS_REQUESTS], v->requests_per_min);
    atomic_store(&s->per_min[LIMITS_TOKENS], v->tokens_per_min);
    atomic_store(&s->concurrency, v->concurrency);
    for (int k = 0; k < LIMITS_KINDS; k++)
        atomic_store(&s->share[k], atomic_load(&t->safe));
    for (int k = 0; k < BUCKET_KINDS; k++) {
        atomic_store(&s->buckets[k].full_ns, atomic_load(&t->fresh.full_ns));
        atomic_store(&s->first[k], true);
    }
    *out_index = i;
    return s;
}

static void take_values(struct limits_slot *s, const struct limits_values *v, uint64_t generation,
                        uint64_t now_ns)
{
    const uint64_t per_min[BUCKET_KINDS] = {v->requests_per_min, v->tokens_per_min};
    uint64_t known = atomic_load(&s->generation);
    do {
        if (known >= generation)
            return;
    } while (!atomic_compare_exchange_weak(&s->generation, &known, generation));
    for (int k = 0; k < BUCKET_KINDS; k++) {
        uint64_t old_rate = slot_rate(s, k);
        uint64_t new_rate = bucket_rate(per_min[k], atomic_load(&s->share[k]));
        if (new_rate < old_rate || per_min[k] == 0)
            atomic_store(&s->per_min[k], per_min[k]);
        if (per_min[k] == 0 || known == 0) /* Or: the same part of it is left. */
            ;
        else if (atomic_load(&s->per_min[k]) == 0) /* Not limited until now. */
            bucket_reset(&s->buckets[k], 0, new_rate, now_ns);
        else
            bucket_rescale(&s->buckets[k], old_rate, new_rate, now_ns);
        atomic_store(&s->per_min[k], per_min[k]);
    }
    atomic_store(&s->concurrency, v->concurrency);
}

struct limits_slot *limits_slot_get(struct limits_table *t, uint64_t account,
                                    const struct limits_values *v, uint64_t generation,
                                    uint64_t now_ns)
{
    uint32_t at = (uint32_t)((account * UINT64_C(0x9e3779b97f4a7c15)) >> 32);
    struct limits_slot *mine = NULL;
    uint32_t my_index = 0;
    for (uint32_t n = 0; n < PROBES_MAX; n++, at++) {
        _Atomic uint32_t *cell = &t->index[at & t->index_mask];
        uint32_t found = atomic_load_explicit(cell, memory_order_acquire);
        if (found == 0) {
            if (mine == NULL)
                mine = slot_new(t, account, v, generation, &my_index);
            if (mine == NULL)
                break;
            if (atomic_compare_exchange_strong(cell, &found, my_index + 1)) {
                /* The safe share may have been changed before this slot could be seen. */
                for (int k = 0; k < LIMITS_KINDS; k++)
                    limits_set_share(mine, k, atomic_load(&t->safe), now_ns);
                return mine;
            }
        }
        struct limits_slot *s = &t->slots[found - 1];
        if (atomic_load_explicit(&s->account, memory_order_relaxed) == account) {
            if (mine != NULL) /* Lost the race; the slot stays unused. */
                atomic_store(&mine->account, 0);
            return s;
        }
    }
    atomic_fetch_add_explicit(&t->full, 1, memory_order_relaxed);
    return NULL;
}

int limits_find(struct limits_table *t, uint64_t account, const struct limits_values *values,
                uint64_t generation, uint64_t now_ns, struct limits_hold *hold)
{
    if (values->requests_per_min == 0 && values->tokens_per_min == 0 && values->concurrency == 0)
        return 0;
    struct limits_slot *s = hold->count < LIMITS_PATH_MAX
                                ? limits_slot_get(t, account, values, generation, now_ns)
                                : NULL;
    if (s == NULL)
        return ERR_LIMIT;
    for (uint32_t i = 0; i < hold->count; i++)
        if (hold->slots[i] == s)
            return 0;
    if (atomic_load_explicit(&s->generation, memory_order_relaxed) < generation)
        take_values(s, values, generation, now_ns);
    hold->slots[hold->count++] = s;
    return 0;
}

/* ---- admission ---- */

/* One is always let through: a limit below the number of nodes would otherwise be none at all. */
static uint64_t concurrency_here(const struct limits_slot *s)
{
    uint64_t all = atomic_load_explicit(&s->concurrency, memory_order_relaxed);
    if (all == 0)
        return UINT64_MAX;
    if (all > BUCKET_LIMIT_MAX)
        all = BUCKET_LIMIT_MAX;
    uint64_t here = all * atomic_load(&s->share[LIMITS_CONCURRENCY]) / BUCKET_SHARE_ONE;
    return here > 0 ? here : 1;
}

static void note_peak(struct limits_slot *s, uint32_t running)
{
    uint32_t peak = atomic_load_explicit(&s->peak, memory_order_relaxed);
    while (running > peak && !atomic_compare_exchange_weak(&s->peak, &peak, running))
        continue;
}

static bool take_bucket(struct limits_slot *s, int kind, uint64_t need, uint64_t now_ns)
{
    uint64_t wait;
    if (atomic_load_explicit(&s->per_min[kind], memory_order_relaxed) == 0 || need == 0)
        return true;
    uint64_t rate = slot_rate(s, kind);
    if (atomic_load_explicit(&s->first[kind], memory_order_relaxed) &&
        atomic_exchange(&s->first[kind], false))
        bucket_debit(&s->buckets[kind], need, rate, now_ns);
    else if (!bucket_take(&s->buckets[kind], need, rate, now_ns, &wait))
        return false;
    if (rate == 0)
        atomic_fetch_add(&s->advance[kind], need);
    return true;
}

static void return_bucket(struct limits_slot *s, int kind, uint64_t amount, uint64_t now_ns)
{
    if (atomic_load_explicit(&s->per_min[kind], memory_order_relaxed) != 0)
        bucket_credit(&s->buckets[kind], amount, slot_rate(s, kind), now_ns);
}

/* true: all of it was taken. */
static bool take_slot(struct limits_slot *s, uint64_t tokens, uint64_t now_ns)
{
    uint32_t running = atomic_fetch_add(&s->running, 1) + 1;
    if (running > concurrency_here(s)) {
        atomic_fetch_sub(&s->running, 1);
        atomic_fetch_add_explicit(&s->refused, 1, memory_order_relaxed);
        return false;
    }
    if (!take_bucket(s, LIMITS_REQUESTS, 1, now_ns)) {
        atomic_fetch_sub(&s->running, 1);
        return false;
    }
    if (!take_bucket(s, LIMITS_TOKENS, tokens, now_ns)) {
        return_bucket(s, LIMITS_REQUESTS, 1, now_ns);
        atomic_fetch_sub(&s->running, 1);
        return false;
    }
    note_peak(s, running);
    return true;
}

static void give_slot(struct limits_slot *s, uint64_t tokens, uint64_t now_ns)
{
    return_bucket(s, LIMITS_TOKENS, tokens, now_ns);
    return_bucket(s, LIMITS_REQUESTS, 1, now_ns);
    atomic_fetch_sub(&s->running, 1);
}

static uint64_t slot_wait_ns(const struct limits_slot *s, int kind, uint64_t tokens,
                             uint64_t now_ns)
{
    if (kind == LIMITS_CONCURRENCY)
        return atomic_load(&s->running) >= concurrency_here(s) ? WAIT_CONCURRENCY_NS : 0;
    if (atomic_load(&s->per_min[kind]) == 0)
        return 0;
    uint64_t need = kind == LIMITS_TOKENS ? tokens : 1;
    uint64_t rate = slot_rate(s, kind);
    uint64_t wait = bucket_wait_ns(&s->buckets[kind], need, rate, now_ns);
    /* Before the first share nothing comes in; it is asked for once a second. */
    return rate == 0 && wait > WAIT_CONCURRENCY_NS ? WAIT_CONCURRENCY_NS : wait;
}

static void explain(const struct limits_hold *hold, uint64_t tokens, uint64_t now_ns,
                    struct limits_refusal *out)
{
    *out = (struct limits_refusal){.kind = LIMITS_REQUESTS};
    for (uint32_t i = 0; i < hold->count; i++) {
        for (int k = 0; k < LIMITS_KINDS; k++) {
            uint64_t wait = slot_wait_ns(hold->slots[i], k, tokens, now_ns);
            if (wait > out->wait_ns)
                *out = (struct limits_refusal){.kind = (enum limits_kind)k, .wait_ns = wait};
        }
    }
}

bool limits_admit(struct limits_hold *hold, uint64_t tokens, uint64_t now_ns,
                  struct limits_refusal *out_refusal)
{
    uint32_t taken = 0;
    assert(!hold->admitted);
    for (uint32_t i = 0; i < hold->count; i++) {
        atomic_fetch_add_explicit(&hold->slots[i]->asked[LIMITS_REQUESTS], 1, memory_order_relaxed);
        atomic_fetch_add_explicit(&hold->slots[i]->asked[LIMITS_TOKENS], tokens,
                                  memory_order_relaxed);
    }
    while (taken < hold->count && take_slot(hold->slots[taken], tokens, now_ns))
        taken++;
    if (taken == hold->count) {
        hold->admitted = true;
        hold->tokens = tokens;
        return true;
    }
    explain(hold, tokens, now_ns, out_refusal);
    while (taken > 0)
        give_slot(hold->slots[--taken], tokens, now_ns);
    return false;
}

void limits_settle(struct limits_hold *hold, uint64_t tokens, uint64_t now_ns)
{
    if (!hold->admitted)
        return;
    hold->admitted = false;
    for (uint32_t i = 0; i < hold->count; i++) {
        struct limits_slot *s = hold->slots[i];
        if (tokens < hold->tokens)
            return_bucket(s, LIMITS_TOKENS, hold->tokens - tokens, now_ns);
        else if (tokens > hold->tokens && atomic_load(&s->per_min[LIMITS_TOKENS]) != 0)
            bucket_debit(&s->buckets[LIMITS_TOKENS], tokens - hold->tokens,
                         slot_rate(s, LIMITS_TOKENS), now_ns);
        if (!hold->answered)
            atomic_fetch_sub(&s->running, 1);
    }
}

void limits_answered(struct limits_hold *hold)
{
    if (!hold->admitted || hold->answered)
        return;
    hold->answered = true;
    for (uint32_t i = 0; i < hold->count; i++)
        atomic_fetch_sub(&hold->slots[i]->running, 1);
}

void limits_look(const struct limits_hold *hold, enum limits_kind kind, uint64_t now_ns,
                 struct limits_view *out_view)
{
    *out_view = (struct limits_view){.limit = 0};
    for (uint32_t i = 0; i < hold->count; i++) {
        const struct limits_slot *s = hold->slots[i];
        struct limits_view v = {.limit = 0};
        if (kind == LIMITS_CONCURRENCY) {
            uint64_t running = atomic_load(&s->running), here = concurrency_here(s);
            v.limit = atomic_load(&s->concurrency);
            v.remaining = here > running ? here - running : 0;
        } else {
            v.limit = atomic_load(&s->per_min[kind]);
            v.remaining = bucket_level(&s->buckets[kind], slot_rate(s, (int)kind), now_ns);
            v.full_in_ns = bucket_full_in_ns(&s->buckets[kind], now_ns);
        }
        if (v.limit != 0 && (out_view->limit == 0 || v.remaining < out_view->remaining))
            *out_view = v;
    }
}
