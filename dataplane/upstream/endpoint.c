#include "dataplane/upstream/endpoint.h"

#include <pthread.h>
#include <string.h>

#include "common/base/mem.h"

#define PRINT_AGAIN_MS UINT64_C(86400000)

void endpoint_init(struct endpoint *e, struct endpoint_shared *shared)
{
    memset(e, 0, sizeof *e);
    e->shared = shared;
    breaker_init(&e->breaker);
}

bool endpoint_print_is_told(const struct endpoint *e, uint64_t print, uint64_t now_ms)
{
    for (unsigned i = 0; i < ENDPOINT_PRINTS; i++)
        if (e->prints[i].print == print)
            return now_ms - e->prints[i].told_ms < PRINT_AGAIN_MS;
    return false;
}

void endpoint_print_told(struct endpoint *e, uint64_t print, uint64_t now_ms)
{
    unsigned at = 0;
    while (at < ENDPOINT_PRINTS && e->prints[at].print != print)
        at++;
    if (at == ENDPOINT_PRINTS) {
        at = e->next_print;
        e->next_print = (uint8_t)((at + 1) % ENDPOINT_PRINTS);
    }
    e->prints[at].print = print;
    e->prints[at].told_ms = now_ms;
}

void endpoint_cool(struct endpoint *e, uint32_t wait_ms, bool rate_limited, uint64_t now_ms)
{
    uint64_t until = now_ms + wait_ms;
    uint64_t seen = atomic_load_explicit(&e->shared->cooldown_until_ms, memory_order_relaxed);
    if (seen < until)
        atomic_store_explicit(&e->shared->rate_limited, rate_limited, memory_order_relaxed);
    while (seen < until &&
           !atomic_compare_exchange_weak_explicit(&e->shared->cooldown_until_ms, &seen, until,
                                                  memory_order_relaxed, memory_order_relaxed)) {
    }
}

bool endpoint_take(struct endpoint *e, bool ignore_breaker, uint64_t now_ms)
{
    if (endpoint_cooldown_ms(e, now_ms) != 0 || endpoint_full(e))
        return false;
    if (!breaker_allow(&e->breaker, &breaker_defaults, now_ms) && !ignore_breaker)
        return false;
    e->inflight++;
    atomic_fetch_add_explicit(&e->shared->inflight, 1, memory_order_relaxed);
    return true;
}

void endpoint_done(struct endpoint *e, enum endpoint_outcome outcome, uint64_t now_ms)
{
    e->inflight--;
    atomic_fetch_sub_explicit(&e->shared->inflight, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&e->shared->attempts[outcome], 1, memory_order_relaxed);
    switch (outcome) {
    case ENDPOINT_OK:
        concurrency_good(&e->shared->concurrency, endpoint_inflight(e) + 1);
        breaker_record(&e->breaker, &breaker_defaults, true, now_ms);
        break;
    case ENDPOINT_TIMEOUT:
    case ENDPOINT_ERROR:
        breaker_record(&e->breaker, &breaker_defaults, false, now_ms);
        break;
    case ENDPOINT_RATE_LIMITED: /* Has its own cooldown: it is busy, not broken. */
    case ENDPOINT_CANCELLED:
        breaker_abandon(&e->breaker, now_ms);
        break;
    }
    atomic_store_explicit(&e->shared->breaker_open, e->breaker.state != BREAKER_CLOSED,
                          memory_order_relaxed);
}

uint64_t endpoint_wait_ms(const struct endpoint *e, uint64_t now_ms)
{
    uint64_t cooldown = endpoint_cooldown_ms(e, now_ms);
    uint64_t breaker = breaker_wait_ms(&e->breaker, now_ms);
    return cooldown > breaker ? cooldown : breaker;
}

void endpoint_congested(struct endpoint *e, uint64_t now_ms)
{
    concurrency_too_much(&e->shared->concurrency, endpoint_inflight(e), now_ms);
}

#define BEHIND_TIMES   3U
#define BEHIND_MORE_MS 500U
#define BEHIND_WEIGHT  2U
#define BEHIND_ROW     20U

bool endpoint_is_behind(struct endpoint *e, uint32_t ttft_ms, uint32_t peers_ttft_ms)
{
    const bool late = late_is(ttft_ms, peers_ttft_ms, BEHIND_TIMES, BEHIND_MORE_MS);
    return late_too_many(&e->behind, late, BEHIND_WEIGHT, BEHIND_ROW);
}

void endpoint_eject_slow(struct endpoint *e, uint64_t now_ms)
{
    breaker_eject(&e->breaker, &breaker_defaults, now_ms);
    /* What it is like afterwards is to be seen anew. */
    e->overall = (struct endpoint_latency){0};
    memset(e->bucket, 0, sizeof e->bucket);
    atomic_store_explicit(&e->shared->breaker_open, true, memory_order_relaxed);
}

#define USED_BITS 40
#define USED_MAX  ((UINT64_C(1) << USED_BITS) - 1)

static uint64_t used_in(uint64_t used, uint64_t now_ms)
{
    return used >> USED_BITS == (now_ms / 60000 & (UINT64_MAX >> USED_BITS)) ? used & USED_MAX : 0;
}

void endpoint_use(struct endpoint *e, uint64_t tokens, uint64_t now_ms)
{
    uint64_t seen = atomic_load_explicit(&e->shared->used, memory_order_relaxed), next;
    do {
        uint64_t sum = used_in(seen, now_ms) + (tokens < USED_MAX ? tokens : USED_MAX);
        next = now_ms / 60000 << USED_BITS | (sum < USED_MAX ? sum : USED_MAX);
    } while (!atomic_compare_exchange_weak_explicit(&e->shared->used, &seen, next,
                                                    memory_order_relaxed, memory_order_relaxed));
}

uint64_t endpoint_used(const struct endpoint *e, uint64_t now_ms)
{
    return used_in(atomic_load_explicit(&e->shared->used, memory_order_relaxed), now_ms);
}

static void average(uint32_t *io_average, uint32_t sample)
{
    if (*io_average == 0) {
        *io_average = sample > 0 ? sample : 1;
        return;
    }
    int64_t step = ((int64_t)sample - (int64_t)*io_average) / 8;
    /* Integer division would stop short of the sample: move at least one unit. */
    if (step == 0 && sample != *io_average)
        step = sample > *io_average ? 1 : -1;
    int64_t next = (int64_t)*io_average + step;
    *io_average = next > 0 ? (uint32_t)next : 1;
}

void endpoint_observe(struct endpoint *e, uint32_t tokens_in, uint32_t ttft_ms, uint32_t tokens_out,
                      uint32_t stream_ms)
{
    struct endpoint_latency *b = &e->bucket[endpoint_bucket(tokens_in)];
    average(&e->overall.ttft_ms, ttft_ms);
    average(&b->ttft_ms, ttft_ms);
    if (tokens_out < 2)
        return;
    uint64_t us = (uint64_t)stream_ms * 1000 / (tokens_out - 1);
    uint32_t tpot = us > UINT32_MAX ? UINT32_MAX : (uint32_t)us;
    average(&e->overall.tpot_us, tpot);
    average(&b->tpot_us, tpot);
}

struct endpoint_registry {
    pthread_mutex_t lock;
    struct map by_name;
    struct endpoint_shared *all;
};

struct endpoint_registry *endpoint_registry_create(void)
{
    struct endpoint_registry *r = mem_zalloc(sizeof *r);
    if (r == NULL)
        return NULL;
    pthread_mutex_init(&r->lock, NULL);
    map_init(&r->by_name);
    return r;
}

void endpoint_registry_destroy(struct endpoint_registry *r)
{
    if (r == NULL)
        return;
    while (r->all != NULL) {
        struct endpoint_shared *e = r->all;
        r->all = e->next;
        mem_free(e->name);
        mem_free(e);
    }
    map_deinit(&r->by_name);
    pthread_mutex_destroy(&r->lock);
    mem_free(r);
}

static struct str shared_name(const struct endpoint_shared *e)
{
    return str_from(e->name);
}

static struct endpoint_shared *shared_create(struct str provider, struct str model)
{
    struct endpoint_shared *e = mem_zalloc(sizeof *e);
    if (e == NULL)
        return NULL;
    e->name = mem_alloc(provider.len + model.len + 2);
    if (e->name == NULL) {
        mem_free(e);
        return NULL;
    }
    memcpy(e->name, provider.data, provider.len);
    e->name[provider.len] = '/';
    memcpy(e->name + provider.len + 1, model.data, model.len);
    e->name[provider.len + 1 + model.len] = '\0';
    e->provider_len = (uint16_t)provider.len;
    return e;
}

static struct endpoint_shared *registry_get_locked(struct endpoint_registry *r, struct str provider,
                                                   struct str model)
{
    struct endpoint_shared *fresh = shared_create(provider, model);
    if (fresh == NULL)
        return NULL;
    struct endpoint_shared *known = map_get(&r->by_name, shared_name(fresh));
    if (known == NULL && map_put(&r->by_name, shared_name(fresh), fresh, NULL) == 0) {
        fresh->next = r->all;
        r->all = fresh;
        return fresh;
    }
    mem_free(fresh->name);
    mem_free(fresh);
    return known;
}

struct endpoint_shared *endpoint_registry_get(struct endpoint_registry *r, struct str provider,
                                              struct str upstream_model)
{
    if (provider.len > UINT16_MAX)
        return NULL;
    pthread_mutex_lock(&r->lock);
    struct endpoint_shared *e = registry_get_locked(r, provider, upstream_model);
    pthread_mutex_unlock(&r->lock);
    return e;
}

void endpoint_registry_each(struct endpoint_registry *r,
                            void (*fn)(void *arg, const struct endpoint_shared *e), void *arg)
{
    pthread_mutex_lock(&r->lock);
    for (const struct endpoint_shared *e = r->all; e != NULL; e = e->next)
        fn(arg, e);
    pthread_mutex_unlock(&r->lock);
}

void endpoint_table_init(struct endpoint_table *t, struct endpoint_registry *registry)
{
    t->registry = registry;
    map_init(&t->by_name);
}

void endpoint_table_deinit(struct endpoint_table *t)
{
    size_t i = 0;
    for (const struct map_entry *m; (m = map_next(&t->by_name, &i)) != NULL;)
        mem_free(m->value);
    map_deinit(&t->by_name);
}

struct endpoint *endpoint_table_get(struct endpoint_table *t, struct str provider,
                                    struct str upstream_model)
{
    struct endpoint_shared *shared = endpoint_registry_get(t->registry, provider, upstream_model);
    if (shared == NULL)
        return NULL;
    struct endpoint *e = map_get(&t->by_name, shared_name(shared));
    if (e != NULL)
        return e;
    e = mem_alloc(sizeof *e);
    if (e == NULL)
        return NULL;
    endpoint_init(e, shared);
    if (map_put(&t->by_name, shared_name(shared), e, NULL) != 0) {
        mem_free(e);
        return NULL;
    }
    return e;
}
