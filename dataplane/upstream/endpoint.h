/* endpoint.h: what one worker knows of one deployment (a model at a provider): may it be tried, how
 * fast was it lately, how much is under way. Pure; embedded by value or in an endpoint_table.
 *
 * Each worker learns for itself, so that no lock stands on a request's path. What a provider told
 * us to wait (429, 503, 529, refused credentials) holds for all workers at once: the table's
 * cooldowns live in atomics shared by the node (struct endpoint_shared). */
#ifndef STEELYARD_DATAPLANE_UPSTREAM_ENDPOINT_H
#define STEELYARD_DATAPLANE_UPSTREAM_ENDPOINT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/base/err.h"
#include "common/base/map.h"
#include "common/base/str.h"
#include "dataplane/upstream/breaker.h"
#include "dataplane/upstream/concurrency.h"
#include "dataplane/upstream/quantile.h"

#define ENDPOINT_BUCKETS 16 /* log2 of the input tokens. */
#define ENDPOINT_PRINTS  4  /* A deployment may be several machines. */

/* Moving averages, newest sample weighs 1/8. 0 = nothing seen. */
struct endpoint_latency {
    uint32_t ttft_ms;
    uint32_t tpot_us; /* Microseconds a token after the first. */
};

/* One a deployment and node; lives until the node ends. */
struct endpoint_shared {
    _Atomic uint64_t cooldown_until_ms; /* Monotonic clock. */
    _Atomic uint64_t attempts[5];       /* By enum endpoint_outcome, for metrics. */
    _Atomic uint64_t used;              /* Minute << 40 | tokens in it. */
    _Atomic uint32_t inflight;          /* Of all workers. */
    struct concurrency concurrency;
    _Atomic bool rate_limited; /* The cooldown is a 429's. */
    _Atomic bool breaker_open; /* As the worker that changed it last saw it. */
    char *name;                /* "provider/upstream_model". */
    uint16_t provider_len;     /* Of name. */
    struct endpoint_shared *next;
};

enum endpoint_outcome {
    ENDPOINT_OK,
    ENDPOINT_RATE_LIMITED,
    ENDPOINT_TIMEOUT,
    ENDPOINT_ERROR,
    ENDPOINT_CANCELLED
};

struct endpoint {
    struct endpoint_shared *shared;
    struct breaker breaker;
    uint32_t inflight;
    struct endpoint_latency overall;
    struct endpoint_latency bucket[ENDPOINT_BUCKETS];
    struct {
        uint64_t print;
        uint64_t told_ms;
    } prints[ENDPOINT_PRINTS]; /* Fingerprints whose texts were told (llm/print.h). */
    uint8_t next_print;
    struct quantile content[2]; /* First content, ms: of whole answers, of streams. */
    struct late late;           /* Against what is usual here ... */
    struct late behind;         /* ... and against its peers. */
};

void endpoint_init(struct endpoint *e, struct endpoint_shared *shared);

/* Longest deadline wins; a running cooldown is never shortened (B41). */
void endpoint_cool(struct endpoint *e, uint32_t wait_ms, bool rate_limited, uint64_t now_ms);
static inline uint64_t endpoint_cooldown_ms(const struct endpoint *e,
                                            uint64_t now_ms) /* 0 = none. */
{
    const uint64_t until =
        atomic_load_explicit(&e->shared->cooldown_until_ms, memory_order_relaxed);
    return until > now_ms ? until - now_ms : 0;
}
/* For the decision. */
static inline bool endpoint_usable(const struct endpoint *e, uint64_t now_ms)
{
    return endpoint_cooldown_ms(e, now_ms) == 0 &&
           breaker_would_allow(&e->breaker, &breaker_defaults, now_ms);
}
/* Right before an attempt; may make the caller the probe. ignore_breaker: more than half of the
 * deployments are out, so that all are used (F14). */
bool endpoint_take(struct endpoint *e, bool ignore_breaker, uint64_t now_ms);
void endpoint_done(struct endpoint *e, enum endpoint_outcome outcome, uint64_t now_ms);
uint64_t endpoint_wait_ms(const struct endpoint *e, uint64_t now_ms);

/* On the whole node. */
static inline uint32_t endpoint_inflight(const struct endpoint *e)
{
    return atomic_load_explicit(&e->shared->inflight, memory_order_relaxed);
}
/* It has as many under way as it can take (F21). */
static inline bool endpoint_full(const struct endpoint *e)
{
    return endpoint_inflight(e) >= concurrency_limit(&e->shared->concurrency);
}
/* It can be asked, and still can after so many more calls have been started. */
static inline bool endpoint_has_room(const struct endpoint *e, uint32_t calls, uint64_t now_ms)
{
    return e->breaker.state == BREAKER_CLOSED && endpoint_cooldown_ms(e, now_ms) == 0 &&
           endpoint_inflight(e) + calls <= concurrency_limit(&e->shared->concurrency);
}
/* It said, or showed, that it has too much. */
void endpoint_congested(struct endpoint *e, uint64_t now_ms);
/* Outlier ejection (F14). First content came after ttft_ms, where it is peers_ttft_ms with its
 * peers for requests as large (the median of their averages; 0: nobody knows). True: more than a
 * third came more than three times as late, and half a second more; counted anew from here on. Of a
 * deployment like its peers at most a third are so late (Markov's inequality). */
bool endpoint_is_behind(struct endpoint *e, uint32_t ttft_ms, uint32_t peers_ttft_ms);
void endpoint_eject_slow(struct endpoint *e, uint64_t now_ms);
/* Was the text of this fingerprint told less than a day ago? If not, it is to be told now: by who
 * has it. */
bool endpoint_print_is_told(const struct endpoint *e, uint64_t print, uint64_t now_ms);
void endpoint_print_told(struct endpoint *e, uint64_t print, uint64_t now_ms);
/* Tokens of requests and answers, counted when they are sent and come; a minute of the monotonic
 * clock ends for all at once. */
void endpoint_use(struct endpoint *e, uint64_t tokens, uint64_t now_ms);
uint64_t endpoint_used(const struct endpoint *e, uint64_t now_ms);

static inline unsigned endpoint_bucket(uint32_t tokens_in)
{
    const unsigned log2 = 31U - (unsigned)__builtin_clz(tokens_in | 1);
    return log2 < ENDPOINT_BUCKETS ? log2 : ENDPOINT_BUCKETS - 1;
}
void endpoint_observe(struct endpoint *e, uint32_t tokens_in, uint32_t ttft_ms, uint32_t tokens_out,
                      uint32_t stream_ms);
/* The bucket's own average, else the overall one, else 0/0 (unknown). */
static inline struct endpoint_latency endpoint_estimate(const struct endpoint *e,
                                                        uint32_t tokens_in)
{
    struct endpoint_latency r = e->bucket[endpoint_bucket(tokens_in)];
    if (r.ttft_ms == 0)
        r.ttft_ms = e->overall.ttft_ms;
    if (r.tpot_us == 0)
        r.tpot_us = e->overall.tpot_us;
    return r;
}

/* All deployments a node ever knew; thread-safe (a lock, taken only when a snapshot is new to a
 * worker). */
struct endpoint_registry;
struct endpoint_registry *endpoint_registry_create(void);
void endpoint_registry_destroy(struct endpoint_registry *r);
struct endpoint_shared *endpoint_registry_get(struct endpoint_registry *r, struct str provider,
                                              struct str upstream_model); /* NULL: no memory. */
/* Calls fn for each; do not call the registry from fn. */
void endpoint_registry_each(struct endpoint_registry *r,
                            void (*fn)(void *arg, const struct endpoint_shared *e), void *arg);

/* One worker's endpoints, keyed by their shared part. */
struct endpoint_table {
    struct endpoint_registry *registry;
    struct map by_name;
};
void endpoint_table_init(struct endpoint_table *t, struct endpoint_registry *registry);
void endpoint_table_deinit(struct endpoint_table *t);
struct endpoint *endpoint_table_get(struct endpoint_table *t, struct str provider,
                                    struct str upstream_model); /* NULL: no memory. */

#endif
