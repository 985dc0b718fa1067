/* bucket.h: a token bucket in one 64-bit atomic: the time at which it will be full again (GCRA,
 * ITU-T I.371; the virtual scheduling algorithm). A bucket holds what its rate brings in
 * BUCKET_SPAN_NS, so its burst follows the rate and nothing else is stored.
 *
 * A take of `need` is let through when the level is at least min(need, burst); it is charged in
 * full, below zero if it must: so nothing is too large for ever, and one request always fits
 * through an idle bucket however small its rate. In any window W of one bucket:
 * taken <= rate * W + max(burst, largest need).
 *
 * Integers only; times are monotonic nanoseconds and passed in. Any thread, no lock. */
#ifndef STEELYARD_DATAPLANE_LIMITS_BUCKET_H
#define STEELYARD_DATAPLANE_LIMITS_BUCKET_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define BUCKET_SPAN_NS     UINT64_C(60000000000)
#define BUCKET_BACKLOG_MAX UINT64_C(86400000000000) /* A debt is paid after a day at most. */
#define BUCKET_LIMIT_MAX   (UINT64_C(1) << 33)      /* Per minute; above it is taken as this. */
#define BUCKET_SHARE_ONE   (UINT32_C(1) << 30)

struct bucket {
    _Atomic uint64_t full_ns; /* In the past: it is full. */
};

/* A rate is a limit per minute times a share of it (of BUCKET_SHARE_ONE). */
static inline uint64_t bucket_rate(uint64_t per_min, uint32_t share)
{
    uint64_t limit = per_min < BUCKET_LIMIT_MAX ? per_min : BUCKET_LIMIT_MAX;
    return limit * (share < BUCKET_SHARE_ONE ? share : BUCKET_SHARE_ONE);
}

/* true: taken. false: *out_wait_ns is the time until it would be, if nobody else takes. */
bool bucket_take(struct bucket *b, uint64_t need, uint64_t rate, uint64_t now_ns,
                 uint64_t *out_wait_ns);
/* The same question without taking; 0: now. */
uint64_t bucket_wait_ns(const struct bucket *b, uint64_t need, uint64_t rate, uint64_t now_ns);
/* What was taken turned out less, or more. */
void bucket_credit(struct bucket *b, uint64_t amount, uint64_t rate, uint64_t now_ns);
void bucket_debit(struct bucket *b, uint64_t amount, uint64_t rate, uint64_t now_ns);
/* The rate changes: what is in the bucket (or owed) stays the same number, cut to the new burst.
 * Store a lower rate before this and a higher one after it: then whoever takes in between is
 * charged too much rather than too little. */
void bucket_rescale(struct bucket *b, uint64_t old_rate, uint64_t new_rate, uint64_t now_ns);
/* Full but for `used`. */
void bucket_reset(struct bucket *b, uint64_t used, uint64_t rate, uint64_t now_ns);

uint64_t bucket_level(const struct bucket *b, uint64_t rate, uint64_t now_ns); /* 0 in debt. */
uint64_t bucket_full_in_ns(const struct bucket *b, uint64_t now_ns);           /* 0: full. */

#endif
