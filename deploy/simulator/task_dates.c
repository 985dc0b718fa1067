/* Days between dates, dates after days, days of the week (proleptic Gregorian calendar). */
#include "deploy/simulator/tasks_internal.h"

static const char *const weekdays[] = {"Monday", "Tuesday",  "Wednesday", "Thursday",
                                       "Friday", "Saturday", "Sunday"};

struct date {
    int64_t year, month, day;
};

/* Days since 1970-01-01, and back (Hinnant, "chrono-compatible low-level date algorithms"). */
static int64_t days_from_date(struct date d)
{
    int64_t y = d.month <= 2 ? d.year - 1 : d.year;
    int64_t era = y / 400, yoe = y - era * 400;
    int64_t doy = (153 * (d.month + (d.month > 2 ? -3 : 9)) + 2) / 5 + d.day - 1;
    return era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719468;
}

static struct date date_from_days(int64_t z)
{
    z += 719468;
    int64_t era = z / 146097, doe = z - era * 146097;
    int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100), mp = (5 * doy + 2) / 153;
    struct date d = {.day = doy - (153 * mp + 2) / 5 + 1, .month = mp + (mp < 10 ? 3 : -9)};
    d.year = yoe + era * 400 + (d.month <= 2 ? 1 : 0);
    return d;
}

static bool scan_date(struct str *s, struct date *out)
{
    scan_spaces(s);
    struct str t = *s;
    int64_t minus_month, minus_day; /* "2031-04-17" reads as 2031, -4, -17. */
    if (!scan_i64(&t, &out->year) || !scan_i64(&t, &minus_month) || !scan_i64(&t, &minus_day))
        return false;
    out->month = -minus_month;
    out->day = -minus_day;
    if (out->year < 1600 || out->year > 2999 || out->month < 1 || out->month > 12 || out->day < 1 ||
        out->day > 31)
        return false;
    *s = t;
    return true;
}

static void put_date(struct task_text *t, struct date d)
{
    task_put(t, "%04lld-%02lld-%02lld", (long long)d.year, (long long)d.month, (long long)d.day);
}

static bool solve_between(struct str s, unsigned *out_difficulty, struct task_text *answer)
{
    struct date from, to;
    if (!scan_after(&s, "How many days are there from ") || !scan_date(&s, &from) ||
        !scan_literal(&s, " to ") || !scan_date(&s, &to))
        return false;
    *out_difficulty = from.year != to.year ? 5 : from.month != to.month ? 3 : 1;
    task_put(answer, "%lld", (long long)(days_from_date(to) - days_from_date(from)));
    return true;
}

static bool solve_after(struct str s, unsigned *out_difficulty, struct task_text *answer)
{
    int64_t days;
    struct date from;
    if (!scan_after(&s, "What date is ") || !scan_i64(&s, &days) ||
        !scan_literal(&s, " days after ") || !scan_date(&s, &from) || days > 100000 || days < 0)
        return false;
    *out_difficulty = days < 20 ? 2 : days < 100 ? 3 : 4;
    put_date(answer, date_from_days(days_from_date(from) + days));
    return true;
}

static bool solve_weekday(struct str s, unsigned *out_difficulty, struct task_text *answer)
{
    struct date d;
    if (!scan_after(&s, "What day of the week is ") || !scan_date(&s, &d))
        return false;
    *out_difficulty = d.year < 2000 ? 4 : 2;
    int64_t index = (days_from_date(d) + 3) % 7; /* 1970-01-01 was a Thursday. */
    task_put(answer, "%s", weekdays[index < 0 ? index + 7 : index]);
    return true;
}

static bool solve(struct str prompt, unsigned *out_difficulty, struct task_text *answer)
{
    return solve_between(prompt, out_difficulty, answer) ||
           solve_after(prompt, out_difficulty, answer) ||
           solve_weekday(prompt, out_difficulty, answer);
}

static int64_t month_days(int64_t year, int64_t month)
{
    static const int64_t lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return lengths[month - 1] + (month == 2 && leap ? 1 : 0);
}

/* Steps day by day: slow, obvious, and not the solver's formula. */
static struct date date_step(struct date d, int64_t days)
{
    while (days-- > 0) {
        if (++d.day > month_days(d.year, d.month)) {
            d.day = 1;
            if (++d.month > 12) {
                d.month = 1;
                d.year++;
            }
        }
    }
    return d;
}

static void generate(struct task_rng *r, unsigned level, struct task_text *prompt,
                     struct task_text *answer)
{
    static const int64_t spans[] = {12, 19, 90, 300, 900};
    /* 2001-01-01 was a Monday. */
    struct date first = {.year = 2001, .month = 1, .day = 1};
    int64_t offset = (int64_t)task_rng_below(r, 12000);
    struct date from = date_step(first, offset);
    int64_t days = 1 + (int64_t)task_rng_below(r, (uint64_t)spans[level - 1]);
    switch (task_rng_below(r, 3)) {
    case 0:
        task_put(prompt, "How many days are there from ");
        put_date(prompt, from);
        task_put(prompt, " to ");
        put_date(prompt, date_step(from, days));
        task_put(prompt, "?");
        task_put(answer, "%lld", (long long)days);
        return;
    case 1:
        task_put(prompt, "What date is %lld days after ", (long long)days);
        put_date(prompt, from);
        task_put(prompt, "?");
        put_date(answer, date_step(from, days));
        return;
    default: /* The third of three. */
        task_put(prompt, "What day of the week is ");
        put_date(prompt, from);
        task_put(prompt, "?");
        task_put(answer, "%s", weekdays[offset % 7]);
        return;
    }
}

const struct task_family_row task_dates = {.generate = generate, .solve = solve};
