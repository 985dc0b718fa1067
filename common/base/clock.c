#include "common/base/clock.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static const struct clock_source *replaced;

static uint64_t system_ns(clockid_t id)
{
    struct timespec ts = {0};
    (void)clock_gettime(id, &ts); /* Fails only for an unknown clock. */
    return (uint64_t)ts.tv_sec * 1000000000U + (uint64_t)ts.tv_nsec;
}

uint64_t clock_mono_ns(void)
{
    return replaced != NULL ? replaced->mono_ns() : system_ns(CLOCK_MONOTONIC);
}

uint64_t clock_mono_ms(void)
{
    return clock_mono_ns() / 1000000U;
}

int64_t clock_wall_us(void)
{
    return replaced != NULL ? replaced->wall_us() : (int64_t)(system_ns(CLOCK_REALTIME) / 1000U);
}

/* Wall minus monotonic; who asks first decides. */
static int64_t steady_anchor_us(void)
{
    static _Atomic int64_t anchor_us;
    int64_t anchor = atomic_load_explicit(&anchor_us, memory_order_relaxed);
    if (anchor != 0)
        return anchor;
    int64_t fresh = clock_wall_us() - (int64_t)(clock_mono_ns() / 1000U);
    return atomic_compare_exchange_strong(&anchor_us, &anchor, fresh) ? fresh : anchor;
}

int64_t clock_steady_at_us(uint64_t mono_ns)
{
    return replaced != NULL ? replaced->wall_us() : steady_anchor_us() + (int64_t)(mono_ns / 1000U);
}

int64_t clock_steady_us(void)
{
    return clock_steady_at_us(clock_mono_ns());
}

uint64_t clock_thread_cpu_ns(void)
{
    return system_ns(CLOCK_THREAD_CPUTIME_ID);
}

void clock_set_source(const struct clock_source *source)
{
    replaced = source;
}

void clock_format_rfc3339(int64_t wall_us, char *out)
{
    /* Floor division, so that times before 1970 keep a positive fraction. */
    int64_t fraction_us = wall_us % 1000000;
    int64_t seconds = wall_us / 1000000;
    if (fraction_us < 0) {
        fraction_us += 1000000;
        seconds -= 1;
    }
    time_t t = (time_t)seconds;
    struct tm tm = {0};
    if (gmtime_r(&t, &tm) == NULL) /* The year does not fit an int. */
        tm = (struct tm){.tm_year = 70, .tm_mday = 1};
    char text[128];
    (void)snprintf(text, sizeof text, "%04d-%02d-%02dT%02d:%02d:%02d.%06dZ", tm.tm_year + 1900,
                   tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, (int)fraction_us);
    size_t len = strlen(text);
    len = len < CLOCK_RFC3339_BYTES ? len : CLOCK_RFC3339_BYTES - 1;
    memcpy(out, text, len);
    out[len] = '\0';
}
