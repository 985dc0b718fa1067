#include "dataplane/upstream/breaker.h"

const struct breaker_config breaker_defaults = {
    .failures_max = 5,
    .window_ms = 10000,
    .window_min = 20,
    .share_percent = 50,
    .base_ms = 5000,
    .max_ms = 300000,
    .probe_ms = 60000,
};

void breaker_init(struct breaker *b)
{
    *b = (struct breaker){.state = BREAKER_CLOSED};
}

static void window_turn(struct breaker *b, const struct breaker_config *c, uint64_t now_ms)
{
    uint64_t age = now_ms - b->window_start_ms;
    if (b->window_start_ms != 0 && age < c->window_ms)
        return;
    bool adjacent = b->window_start_ms != 0 && age < 2ULL * c->window_ms;
    /* Two quiet or good windows end a row of ejections. */
    if (b->bad[0] == 0 && b->bad[1] == 0 && b->state == BREAKER_CLOSED)
        b->ejections = 0;
    b->ok[1] = adjacent ? b->ok[0] : 0;
    b->bad[1] = adjacent ? b->bad[0] : 0;
    b->ok[0] = b->bad[0] = 0;
    b->window_start_ms = now_ms;
}

static void open_now(struct breaker *b, const struct breaker_config *c, uint64_t now_ms)
{
    if (b->ejections < UINT32_MAX)
        b->ejections++;
    uint64_t wait = (uint64_t)c->base_ms * b->ejections;
    if (wait > c->max_ms)
        wait = c->max_ms;
    b->state = BREAKER_OPEN;
    b->retry_at_ms = now_ms + wait;
    b->failures = 0;
    b->ok[0] = b->ok[1] = b->bad[0] = b->bad[1] = 0;
}

bool breaker_allow(struct breaker *b, const struct breaker_config *c, uint64_t now_ms)
{
    if (!breaker_would_allow(b, c, now_ms))
        return false;
    if (b->state != BREAKER_CLOSED) {
        b->state = BREAKER_PROBING;
        b->retry_at_ms = now_ms + c->probe_ms;
    }
    return true;
}

void breaker_record(struct breaker *b, const struct breaker_config *c, bool ok, uint64_t now_ms)
{
    switch (b->state) {
    case BREAKER_PROBING:
        if (ok) {
            b->state = BREAKER_CLOSED;
            b->failures = 0;
        } else {
            open_now(b, c, now_ms);
        }
        return;
    case BREAKER_OPEN: /* An attempt from before it opened; it says nothing new. */
        return;
    case BREAKER_CLOSED:
        break;
    }
    window_turn(b, c, now_ms);
    if (ok) {
        b->ok[0]++;
        b->failures = 0;
        return;
    }
    b->bad[0]++;
    b->failures++;
    uint64_t bad = (uint64_t)b->bad[0] + b->bad[1];
    uint64_t all = bad + b->ok[0] + b->ok[1];
    if (b->failures >= c->failures_max ||
        (all >= c->window_min && bad * 100 >= all * c->share_percent))
        open_now(b, c, now_ms);
}

void breaker_eject(struct breaker *b, const struct breaker_config *c, uint64_t now_ms)
{
    if (b->state == BREAKER_CLOSED)
        open_now(b, c, now_ms);
}

void breaker_abandon(struct breaker *b, uint64_t now_ms)
{
    if (b->state != BREAKER_PROBING)
        return;
    b->state = BREAKER_OPEN;
    b->retry_at_ms = now_ms;
}

uint64_t breaker_wait_ms(const struct breaker *b, uint64_t now_ms)
{
    if (b->state == BREAKER_CLOSED || now_ms >= b->retry_at_ms)
        return 0;
    return b->retry_at_ms - now_ms;
}
