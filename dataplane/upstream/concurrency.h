/* concurrency.h: how many requests a deployment may have under way on this node (RELIABILITY F21).
 * Additive increase, multiplicative decrease (Chiu and Jain, 1989): the limit is none until the
 * deployment shows that it has too much (429, 503, 529, a timeout, first contents far later than
 * usual); then it falls to three quarters of what was under way, at most once a second, and rises
 * by one for each two good answers while at least half of it is used. Pure but for the atomics;
 * any thread. */
#ifndef STEELYARD_DATAPLANE_UPSTREAM_CONCURRENCY_H
#define STEELYARD_DATAPLANE_UPSTREAM_CONCURRENCY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "dataplane/upstream/late.h"

#define CONCURRENCY_MIN 8U
#define CONCURRENCY_MAX 65536U /* Nobody has said that it is too much. */

struct concurrency {
    _Atomic uint32_t limit_x2; /* 0: CONCURRENCY_MAX. Twice the limit: rises by one. */
    _Atomic uint64_t cut_ms;   /* When it last fell. */
};

static inline uint32_t concurrency_limit(const struct concurrency *c)
{
    const uint32_t twice = atomic_load_explicit(&c->limit_x2, memory_order_relaxed);
    return twice == 0 ? CONCURRENCY_MAX : twice / 2;
}
void concurrency_good(struct concurrency *c, uint32_t inflight);
void concurrency_too_much(struct concurrency *c, uint32_t inflight, uint64_t now_ms);
/* First content after sample_ms where usual_ms are usual (0: nobody knows). A few of a hundred
 * always come far later, whatever the load; a deployment has too much (true) when more than a
 * quarter do. One thread. */
bool concurrency_late(struct late *l, uint32_t sample_ms, uint32_t usual_ms);

#endif
