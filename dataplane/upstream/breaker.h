/* breaker.h: says whether a deployment may be tried. Pure: no I/O, no clock of its own.
 *
 *   CLOSED --failures in a row, or a bad share of a window--> OPEN
 *   OPEN --cooldown over, breaker_allow--> PROBING (that caller is the one probe)
 *   PROBING --success--> CLOSED      PROBING --failure--> OPEN (longer)
 *   PROBING --probe abandoned, or silent for the probe time--> OPEN (probe again at once)
 *
 * The time a deployment stays out is base_ms times the number of ejections in a row (RELIABILITY
 * F14), at most max_ms. Embedded by value; the fields are private. One thread. */
#ifndef STEELYARD_DATAPLANE_UPSTREAM_BREAKER_H
#define STEELYARD_DATAPLANE_UPSTREAM_BREAKER_H

#include <stdbool.h>
#include <stdint.h>

struct breaker_config {
    uint32_t failures_max;  /* In a row. */
    uint32_t window_ms;     /* Two windows of this length are kept. */
    uint32_t window_min;    /* Attempts before the share counts. */
    uint32_t share_percent; /* Failures in the window that open it. */
    uint32_t base_ms;       /* Time out, times the ejections in a row. */
    uint32_t max_ms;
    uint32_t probe_ms; /* A probe silent for so long no longer blocks the next. */
};
extern const struct breaker_config breaker_defaults;

enum breaker_state { BREAKER_CLOSED, BREAKER_OPEN, BREAKER_PROBING };

struct breaker {
    enum breaker_state state;
    uint32_t failures;  /* In a row, while closed. */
    uint32_t ejections; /* In a row; a success while closed for a window resets it. */
    uint64_t retry_at_ms;
    uint64_t window_start_ms;
    uint32_t ok[2], bad[2]; /* Current and previous window. */
};

void breaker_init(struct breaker *b);
/* Ask right before an attempt. Once the cooldown is over exactly one caller gets true and is the
 * probe; it must call breaker_record or breaker_abandon. */
bool breaker_allow(struct breaker *b, const struct breaker_config *config, uint64_t now_ms);
/* As breaker_allow would answer, without becoming the probe: for the decision. Of one that is not
 * closed the time counts, of a probe that at which it is taken for lost. */
static inline bool breaker_would_allow(const struct breaker *b, const struct breaker_config *config,
                                       uint64_t now_ms)
{
    (void)config;
    return b->state == BREAKER_CLOSED || now_ms >= b->retry_at_ms;
}
void breaker_record(struct breaker *b, const struct breaker_config *config, bool ok,
                    uint64_t now_ms);
/* It works, but not as its peers do: out as after failures, if it is closed. */
void breaker_eject(struct breaker *b, const struct breaker_config *config, uint64_t now_ms);
/* The attempt ended without saying anything about the deployment (the client left). */
void breaker_abandon(struct breaker *b, uint64_t now_ms);
/* Milliseconds until it may be tried; 0 = now. */
uint64_t breaker_wait_ms(const struct breaker *b, uint64_t now_ms);

#endif
