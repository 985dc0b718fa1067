#include "dataplane/upstream/retry.h"

#include <time.h>

#define WINDOW_MS       10000U
#define BUDGET_PERCENT  20U
#define BUDGET_FLOOR    3U
#define BACKOFF_BASE_MS 50U
#define BACKOFF_CAP_MS  2000U

/* Numbered from one, so that zeroed memory is of a window long ago. */
static uint32_t window_of(uint64_t now_ms)
{
    return (uint32_t)(now_ms / WINDOW_MS) + 1;
}

static uint64_t count_in(const struct retry_count *c, uint32_t window)
{
    const uint64_t v = atomic_load_explicit(&c->of[window & 1], memory_order_relaxed);
    return (uint32_t)(v >> 32) == window ? (uint32_t)v : 0;
}

/* Of the window at hand and the one before. */
static uint64_t count_lately(const struct retry_count *c, uint32_t window)
{
    return count_in(c, window) + count_in(c, window - 1);
}

static uint64_t requests_lately(const struct retry_budget *b, uint32_t window)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < RETRY_LANES; i++)
        sum += count_lately(&b->lanes[i].requests, window);
    return sum;
}

/* Who comes late, with a window that is over, is counted in the one that runs. */
static void count_one(struct retry_count *c, uint32_t window)
{
    _Atomic uint64_t *cell = &c->of[window & 1];
    uint64_t seen = atomic_load_explicit(cell, memory_order_relaxed);
    while ((uint32_t)(seen >> 32) < window)
        if (atomic_compare_exchange_weak_explicit(cell, &seen, (uint64_t)window << 32 | 1,
                                                  memory_order_relaxed, memory_order_relaxed))
            return;
    atomic_fetch_add_explicit(cell, 1, memory_order_relaxed);
}

void retry_budget_request(struct retry_budget *b, uint32_t lane, uint64_t now_ms)
{
    count_one(&b->lanes[lane % RETRY_LANES].requests, window_of(now_ms));
}

/* Whose clock was read in a window that is over comes late, and is counted in the one that runs. */
static uint32_t window_at(const struct retry_count *c, uint64_t now_ms)
{
    uint32_t window = window_of(now_ms);
    for (size_t i = 0; i < 2; i++) {
        const uint64_t v = atomic_load_explicit(&c->of[i], memory_order_relaxed);
        if ((uint32_t)(v >> 32) > window)
            window = (uint32_t)(v >> 32);
    }
    return window;
}

/* One more, unless that would be more than `most` in two windows. Whoever is first to a place has
 * it: nobody waits for another. */
static bool take(struct retry_count *c, uint32_t window, uint64_t most)
{
    _Atomic uint64_t *cell = &c->of[window & 1];
    uint64_t seen = atomic_load_explicit(cell, memory_order_relaxed), next;
    do {
        if ((uint32_t)(seen >> 32) > window)
            return false; /* It began just now. */
        const bool here = (uint32_t)(seen >> 32) == window;
        const uint64_t used = (here ? (uint32_t)seen : 0) + count_in(c, window - 1);
        if (used >= most)
            return false;
        next = here ? seen + 1 : (uint64_t)window << 32 | 1;
    } while (!atomic_compare_exchange_weak_explicit(cell, &seen, next, memory_order_relaxed,
                                                    memory_order_relaxed));
    return true;
}

bool retry_budget_take(struct retry_budget *b, uint64_t now_ms)
{
    const uint32_t window = window_at(&b->retries, now_ms);
    const uint64_t allowed = requests_lately(b, window) * BUDGET_PERCENT / 100;
    return take(&b->retries, window, allowed < BUDGET_FLOOR ? BUDGET_FLOOR : allowed);
}

bool retry_budget_take_hedge(struct retry_budget *b, uint32_t share, uint64_t now_ms)
{
    const uint32_t window = window_at(&b->hedges, now_ms);
    return take(&b->hedges, window, requests_lately(b, window) * share >> 32);
}

uint32_t retry_backoff_ms(unsigned attempt, uint64_t random)
{
    uint64_t span = (uint64_t)BACKOFF_BASE_MS << (attempt < 16 ? attempt : 16);
    if (span > BACKOFF_CAP_MS)
        span = BACKOFF_CAP_MS;
    return (uint32_t)(random % span);
}

/* Digits with an optional fraction, in units of 10^-3 of what is written; false: not a number. */
static bool number_ms(struct str s, uint64_t unit_ms, uint32_t *out_ms)
{
    uint64_t whole = 0, frac = 0, scale = 1;
    size_t i = 0;
    for (; i < s.len && s.data[i] >= '0' && s.data[i] <= '9'; i++)
        if (whole <= RETRY_WAIT_MAX_MS)
            whole = whole * 10 + (uint64_t)(s.data[i] - '0');
    if (i == 0)
        return false;
    if (i < s.len && s.data[i] == '.') {
        for (i++; i < s.len && s.data[i] >= '0' && s.data[i] <= '9'; i++) {
            if (scale < 1000) {
                frac = frac * 10 + (uint64_t)(s.data[i] - '0');
                scale *= 10;
            }
        }
    }
    if (i != s.len)
        return false;
    uint64_t ms = whole * unit_ms + frac * unit_ms / scale;
    *out_ms = ms > RETRY_WAIT_MAX_MS ? RETRY_WAIT_MAX_MS : (uint32_t)ms;
    return true;
}

/* "Sun, 06 Nov 1994 08:49:37 GMT" */
static bool parse_date(struct str s, int64_t *out_unix)
{
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    uint64_t day, year, hour, minute, second;
    if (s.len != 29 || s.data[3] != ',' || !str_ends(s, STR(" GMT")) || s.data[19] != ':' ||
        s.data[22] != ':')
        return false;
    if (str_parse_u64(str_slice(s, 5, 7), 31, &day) != 0 ||
        str_parse_u64(str_slice(s, 12, 16), 9999, &year) != 0 ||
        str_parse_u64(str_slice(s, 17, 19), 23, &hour) != 0 ||
        str_parse_u64(str_slice(s, 20, 22), 59, &minute) != 0 ||
        str_parse_u64(str_slice(s, 23, 25), 60, &second) != 0)
        return false;
    int month = -1;
    for (int m = 0; m < 12; m++)
        if (str_eq(str_slice(s, 8, 11), (struct str){.data = months + 3 * m, .len = 3}))
            month = m;
    if (month < 0)
        return false;
    struct tm tm = {.tm_year = (int)year - 1900,
                    .tm_mon = month,
                    .tm_mday = (int)day,
                    .tm_hour = (int)hour,
                    .tm_min = (int)minute,
                    .tm_sec = (int)second};
    *out_unix = (int64_t)timegm(&tm);
    return true;
}

uint32_t retry_after_ms(struct str header_ms, struct str header, int64_t wall_us, bool *out_known)
{
    uint32_t ms = 0;
    int64_t at;
    *out_known = true;
    if (header_ms.data != NULL && number_ms(str_trim(header_ms), 1, &ms))
        return ms;
    header = str_trim(header);
    if (header.len > 0 && number_ms(header, 1000, &ms))
        return ms;
    if (parse_date(header, &at)) {
        int64_t wait_ms = at * 1000 - wall_us / 1000;
        if (wait_ms <= 0)
            return 0;
        return wait_ms > RETRY_WAIT_MAX_MS ? RETRY_WAIT_MAX_MS : (uint32_t)wait_ms;
    }
    *out_known = false;
    return 0;
}
