#include "dataplane/upstream/resets.h"

#include <time.h>

#include "dataplane/upstream/retry.h"

#define VALUE_BYTES_MAX 40 /* Of a reset; longer ones are no such. */
#define EPOCH_S         UINT64_C(1000000000)
#define EPOCH_MS        UINT64_C(1000000000000)
#define WHOLE_MAX       UINT64_C(1000000000000000) /* 30,000 years; more is no number here. */

static uint32_t clamp_wait(int64_t ms)
{
    return ms <= 0 ? 0 : ms > RETRY_WAIT_MAX_MS ? RETRY_WAIT_MAX_MS : (uint32_t)ms;
}

static bool is_digit(struct str s, size_t at)
{
    return at < s.len && s.data[at] >= '0' && s.data[at] <= '9';
}

/* ---- durations and numbers ---- */

struct decimal {
    uint64_t whole;
    uint32_t thousandths;
};

/* Digits, and perhaps a point with more of them; moves past them. */
static bool take_decimal(struct str s, size_t *io_at, struct decimal *out)
{
    size_t at = *io_at;
    *out = (struct decimal){0};
    if (!is_digit(s, at))
        return false;
    for (; is_digit(s, at); at++) {
        out->whole = out->whole * 10 + (uint64_t)(s.data[at] - '0');
        if (out->whole > WHOLE_MAX)
            return false;
    }
    if (at < s.len && s.data[at] == '.') {
        uint32_t unit = 100;
        if (!is_digit(s, ++at))
            return false;
        for (; is_digit(s, at); at++, unit /= 10)
            out->thousandths += unit * (uint32_t)(s.data[at] - '0');
    }
    *io_at = at;
    return true;
}

static uint64_t wait_of(const struct decimal *d, uint64_t unit_ms)
{
    const uint64_t whole = d->whole > RETRY_WAIT_MAX_MS ? RETRY_WAIT_MAX_MS : d->whole;
    return whole * unit_ms + (d->thousandths * unit_ms + 999) / 1000;
}

/* Which unit stands there, from `from` on; moves past it. 0: none. */
static const struct unit {
    char name[3];
    uint8_t len;
    uint32_t ms;
} units[] = {{"d", 1, 86400000}, {"h", 1, 3600000}, {"ms", 2, 1}, {"m", 1, 60000}, {"s", 1, 1000}};

static uint32_t take_unit(struct str s, size_t *io_at)
{
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++)
        if (str_starts(str_slice(s, *io_at, s.len), (struct str){units[i].name, units[i].len})) {
            *io_at += units[i].len;
            return units[i].ms;
        }
    return 0;
}

static bool parse_duration(struct str s, uint32_t *out_ms)
{
    uint64_t sum = 0;
    uint32_t last = UINT32_MAX;
    for (size_t at = 0; at < s.len;) {
        struct decimal d;
        uint32_t unit;
        if (!take_decimal(s, &at, &d) || (unit = take_unit(s, &at)) == 0 || unit >= last)
            return false;
        sum += wait_of(&d, unit);
        last = unit;
    }
    *out_ms = sum > RETRY_WAIT_MAX_MS ? RETRY_WAIT_MAX_MS : (uint32_t)sum;
    return s.len > 0;
}

/* No wait is 30 years long: such a number is the time itself. */
static bool parse_number(struct str s, int64_t wall_us, uint32_t *out_ms)
{
    struct decimal d;
    size_t at = 0;
    if (!take_decimal(s, &at, &d) || at != s.len)
        return false;
    if (d.whole >= EPOCH_MS)
        *out_ms = clamp_wait((int64_t)d.whole - wall_us / 1000);
    else if (d.whole >= EPOCH_S)
        *out_ms = clamp_wait((int64_t)(d.whole * 1000 + d.thousandths) - wall_us / 1000);
    else
        *out_ms = clamp_wait((int64_t)wait_of(&d, 1000));
    return true;
}

/* ---- RFC 3339 ---- */

static bool take_digits(struct str s, size_t at, size_t count, int max, int *out)
{
    uint64_t value;
    for (size_t i = 0; i < count; i++)
        if (!is_digit(s, at + i))
            return false;
    if (str_parse_u64(str_slice(s, at, at + count), (uint64_t)max, &value) != 0)
        return false;
    *out = (int)value;
    return true;
}

static bool has(struct str s, size_t at, char upper)
{
    return at < s.len && (s.data[at] == upper || s.data[at] == (upper | 0x20));
}

/* "Z", "+05:30"; minutes east of Greenwich. */
static bool parse_offset(struct str s, int *out_minutes)
{
    int hours, minutes;
    if (s.len == 1 && has(s, 0, 'Z')) {
        *out_minutes = 0;
        return true;
    }
    if (s.len != 6 || (s.data[0] != '+' && s.data[0] != '-') || s.data[3] != ':' ||
        !take_digits(s, 1, 2, 23, &hours) || !take_digits(s, 4, 2, 59, &minutes))
        return false;
    *out_minutes = (s.data[0] == '-' ? -1 : 1) * (60 * hours + minutes);
    return true;
}

/* "2026-11-22T04:15:00Z", with a fraction of a second or not. */
static bool parse_time(struct str s, int64_t wall_us, uint32_t *out_ms)
{
    struct tm tm = {0};
    struct decimal second = {0};
    int year, month, day, offset;
    size_t at = 17;
    if (s.len < 20 || s.data[4] != '-' || s.data[7] != '-' || !has(s, 10, 'T') ||
        s.data[13] != ':' || s.data[16] != ':')
        return false;
    if (!take_digits(s, 0, 4, 9999, &year) || !take_digits(s, 5, 2, 12, &month) ||
        !take_digits(s, 8, 2, 31, &day) || !take_digits(s, 11, 2, 23, &tm.tm_hour) ||
        !take_digits(s, 14, 2, 59, &tm.tm_min))
        return false;
    if (!is_digit(s, 18) || is_digit(s, 19) || !take_decimal(s, &at, &second) ||
        second.whole > 60 || !parse_offset(str_slice(s, at, s.len), &offset))
        return false;
    tm.tm_year = year - 1900;
    tm.tm_mon = month - 1;
    tm.tm_mday = day;
    const int64_t minute_s = (int64_t)timegm(&tm) - 60 * (int64_t)offset;
    if (tm.tm_mday != day || tm.tm_mon != month - 1)
        return false; /* A month has not so many days. */
    *out_ms =
        clamp_wait((minute_s + (int64_t)second.whole) * 1000 + second.thousandths - wall_us / 1000);
    return true;
}

bool resets_parse(struct str value, int64_t wall_us, uint32_t *out_ms)
{
    const struct str s = str_trim(value);
    if (s.len > VALUE_BYTES_MAX)
        return false;
    return parse_number(s, wall_us, out_ms) || parse_duration(s, out_ms) ||
           parse_time(s, wall_us, out_ms);
}

/* ---- the fields ---- */

enum which { NEITHER, REMAINING, RESET };

static bool starts_nocase(struct str s, struct str head)
{
    return s.len >= head.len && str_eq_nocase(str_slice(s, 0, head.len), head);
}

static bool ends_nocase(struct str s, struct str tail)
{
    return s.len > tail.len && str_eq_nocase(str_slice(s, s.len - tail.len, s.len), tail);
}

/* What is left of a name without its tail. */
static enum which cut_tail(struct str name, struct str *out_rest)
{
    const struct str remaining = STR("-remaining"), reset = STR("-reset");
    const bool first = ends_nocase(name, remaining);
    if (!first && !ends_nocase(name, reset))
        return NEITHER;
    *out_rest = str_slice(name, 0, name.len - (first ? remaining.len : reset.len));
    return first ? REMAINING : RESET;
}

static enum which cut_head(struct str name, struct str *out_rest)
{
    const struct str remaining = STR("remaining"), reset = STR("reset");
    const bool first = starts_nocase(name, remaining);
    if (!first && !starts_nocase(name, reset))
        return NEITHER;
    *out_rest = str_slice(name, first ? remaining.len : reset.len, name.len);
    if (out_rest->len > 0 && out_rest->data[0] != '-')
        return NEITHER;
    return first ? REMAINING : RESET;
}

static struct resets_limit *find(struct resets *s, bool anthropic, struct str name)
{
    for (uint32_t i = 0; i < s->count; i++)
        if (s->limits[i].anthropic == anthropic && str_eq_nocase(s->limits[i].name, name))
            return &s->limits[i];
    if (s->count == RESETS_MAX)
        return NULL;
    s->limits[s->count] = (struct resets_limit){.name = name, .anthropic = anthropic};
    return &s->limits[s->count++];
}

/* "0", however many of them. */
static bool is_zero(struct str value)
{
    const struct str s = str_trim(value);
    for (size_t i = 0; i < s.len; i++)
        if (s.data[i] != '0')
            return false;
    return s.len > 0;
}

void resets_add(struct resets *s, struct str name, struct str value, int64_t wall_us)
{
    const struct str openai = STR("x-ratelimit-"), anthropic = STR("anthropic-ratelimit-");
    struct resets_limit *limit;
    struct str rest = STR_NULL;
    enum which which = NEITHER;
    const bool theirs = starts_nocase(name, anthropic);
    if (theirs)
        which = cut_tail(str_slice(name, anthropic.len, name.len), &rest);
    else if (starts_nocase(name, openai))
        which = cut_head(str_slice(name, openai.len, name.len), &rest);
    if (which == NEITHER || (limit = find(s, theirs, rest)) == NULL)
        return;
    if (which == REMAINING) {
        limit->remaining_seen++;
        limit->spent = is_zero(value);
    } else {
        limit->reset_seen++;
        limit->known = resets_parse(value, wall_us, &limit->wait_ms);
    }
}

uint32_t resets_wait_ms(const struct resets *s)
{
    uint32_t longest = 0;
    for (uint32_t i = 0; i < s->count; i++) {
        const struct resets_limit *l = &s->limits[i];
        if (l->spent && l->known && l->remaining_seen == 1 && l->reset_seen == 1 &&
            l->wait_ms > longest)
            longest = l->wait_ms;
    }
    return longest;
}
