#include "dataplane/upstream/retry.h"

#include <time.h>

#define WINDOW_MS       10000U
#define BUDGET_PERCENT  20U
#define BUDGET_FLOOR    3U
#define BACKOFF_BASE_MS 50U
#define BACKOFF_CAP_MS  2000U

void retry_budget_init(struct retry_budget *b)
{
    *b = (struct retry_budget){0};
}

static void window_turn(struct retry_budget *b, uint64_t now_ms)
{
    uint64_t age = now_ms - b->window_start_ms;
    if (age < WINDOW_MS)
        return;
    bool adjacent = age < 2ULL * WINDOW_MS;
    b->requests[1] = adjacent ? b->requests[0] : 0;
    b->retries[1] = adjacent ? b->retries[0] : 0;
    b->requests[0] = b->retries[0] = 0;
    b->window_start_ms = now_ms;
}

void retry_budget_request(struct retry_budget *b, uint64_t now_ms)
{
    window_turn(b, now_ms);
    b->requests[0]++;
}

bool retry_budget_take(struct retry_budget *b, uint64_t now_ms)
{
    window_turn(b, now_ms);
    uint64_t used = (uint64_t)b->retries[0] + b->retries[1];
    uint64_t allowed = ((uint64_t)b->requests[0] + b->requests[1]) * BUDGET_PERCENT / 100;
    if (allowed < BUDGET_FLOOR)
        allowed = BUDGET_FLOOR;
    if (used >= allowed)
        return false;
    b->retries[0]++;
    return true;
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
