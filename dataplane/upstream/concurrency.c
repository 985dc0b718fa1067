#include "dataplane/upstream/concurrency.h"

#define CUT_EVERY_MS 1000U /* What was sent before the last cut says nothing about it. */
#define LATE_TIMES   4U
#define LATE_MORE_MS 1000U
#define LATE_WEIGHT  3U
#define LATE_ROW     8U

void concurrency_good(struct concurrency *c, uint32_t inflight)
{
    uint32_t twice = atomic_load_explicit(&c->limit_x2, memory_order_relaxed);
    if (twice == 0 || (uint64_t)inflight * 4 < twice)
        return;
    uint32_t next = twice + 1 >= 2 * CONCURRENCY_MAX ? 0 : twice + 1;
    /* One that is lost to another worker is no matter. */
    atomic_compare_exchange_strong_explicit(&c->limit_x2, &twice, next, memory_order_relaxed,
                                            memory_order_relaxed);
}

void concurrency_too_much(struct concurrency *c, uint32_t inflight, uint64_t now_ms)
{
    uint64_t last = atomic_load_explicit(&c->cut_ms, memory_order_relaxed);
    if (last != 0 && now_ms < last + CUT_EVERY_MS)
        return;
    if (!atomic_compare_exchange_strong_explicit(&c->cut_ms, &last, now_ms, memory_order_relaxed,
                                                 memory_order_relaxed))
        return; /* Another worker cuts it. */
    uint32_t limit = concurrency_limit(c);
    if (inflight < limit)
        limit = inflight;
    limit -= limit / 4;
    if (limit < CONCURRENCY_MIN)
        limit = CONCURRENCY_MIN;
    atomic_store_explicit(&c->limit_x2, 2 * limit, memory_order_relaxed);
}

bool concurrency_late(struct late *l, uint32_t sample_ms, uint32_t usual_ms)
{
    const bool late = late_is(sample_ms, usual_ms, LATE_TIMES, LATE_MORE_MS);
    return late_too_many(l, late, LATE_WEIGHT, LATE_ROW);
}
