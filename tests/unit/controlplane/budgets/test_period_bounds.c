/* budget_period_bounds: time zones, changes of clocks, ends of months, anchors. */
#include <stdio.h>

#include "tests/lib/fault.h"
#include "tests/unit/controlplane/fixture.h"

static struct pq_conn *conn;

static const struct {
    const char *what, *period, *tz, *anchor, *at, *start, *end; /* UTC, but for `anchor` and `at` */
} cases[] = {
    {"a day", "day", "UTC", NULL, "2026-11-21 13:00Z", "2026-11-21 00:00Z", "2026-11-22 00:00Z"},
    {"its first moment is its own", "day", "UTC", NULL, "2026-11-21 00:00Z", "2026-11-21 00:00Z",
     "2026-11-22 00:00Z"},
    {"its last moment too", "day", "UTC", NULL, "2026-11-20 23:59:59.999999Z", "2026-11-20 00:00Z",
     "2026-11-21 00:00Z"},
    {"a day elsewhere", "day", "Asia/Kathmandu", NULL, "2026-11-21 18:20Z", "2026-11-21 18:15Z",
     "2026-11-22 18:15Z"},
    {"a short day", "day", "Europe/Berlin", NULL, "2026-03-29 10:00Z", "2026-03-28 23:00Z",
     "2026-03-29 22:00Z"},
    {"a long day", "day", "Europe/Berlin", NULL, "2026-10-25 10:00Z", "2026-10-24 22:00Z",
     "2026-10-25 23:00Z"},
    {"a day whose midnight is skipped", "day", "America/Santiago", NULL, "2026-09-06 12:00Z",
     "2026-09-06 04:00Z", "2026-09-07 03:00Z"},
    {"a day from six o'clock", "day", "Europe/Berlin", "2026-01-01 06:00 Europe/Berlin",
     "2026-07-01 03:00Z", "2026-06-30 04:00Z", "2026-07-01 04:00Z"},
    {"before its anchor", "day", "UTC", "2030-01-01 06:00Z", "2026-07-01 03:00Z",
     "2026-06-30 06:00Z", "2026-07-01 06:00Z"},
    {"a week begins on Monday", "week", "UTC", NULL, "2026-11-22 23:00Z", "2026-11-16 00:00Z",
     "2026-11-23 00:00Z"},
    {"or on the anchor's day", "week", "UTC", "2026-11-19 00:00Z", "2026-11-18 23:00Z",
     "2026-11-12 00:00Z", "2026-11-19 00:00Z"},
    {"a week over a change of clocks", "week", "America/New_York", NULL, "2026-11-01 12:00Z",
     "2026-10-26 04:00Z", "2026-11-02 05:00Z"},
    {"a month", "month", "UTC", NULL, "2026-02-28 23:59Z", "2026-02-01 00:00Z",
     "2026-03-01 00:00Z"},
    {"a leap month", "month", "UTC", NULL, "2028-02-29 12:00Z", "2028-02-01 00:00Z",
     "2028-03-01 00:00Z"},
    {"a month without its anchor's day", "month", "UTC", "2026-01-31 00:00Z", "2026-02-28 12:00Z",
     "2026-02-28 00:00Z", "2026-03-31 00:00Z"},
    {"and the one before", "month", "UTC", "2026-01-31 00:00Z", "2026-02-27 12:00Z",
     "2026-01-31 00:00Z", "2026-02-28 00:00Z"},
    {"a month long before its anchor", "month", "UTC", "2026-01-31 00:00Z", "2019-11-30 12:00Z",
     "2019-11-30 00:00Z", "2019-12-31 00:00Z"},
    {"a month over the new year", "month", "Pacific/Auckland", NULL, "2025-12-31 12:00Z",
     "2025-12-31 11:00Z", "2026-01-31 11:00Z"},
    {"no period at all", "total", "UTC", NULL, "2026-11-21 13:00Z", "1970-01-01 00:00Z",
     "infinity"},
    {"from its anchor on", "total", "UTC", "2026-01-31 00:00Z", "2026-11-21 13:00Z",
     "2026-01-31 00:00Z", "infinity"},
};

static void each_moment_has_its_period(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char sql[1024], anchor[80] = "NULL";
        if (cases[i].anchor != NULL)
            (void)snprintf(anchor, sizeof anchor, "'%s'", cases[i].anchor);
        (void)snprintf(sql, sizeof sql,
                       "SELECT (b.period_start = '%s'::timestamptz AND b.period_end = "
                       "'%s'::timestamptz)::int FROM budget_period_bounds('%s', '%s', "
                       "%s::timestamptz, '%s'::timestamptz) b",
                       cases[i].start, cases[i].end, cases[i].period, cases[i].tz, anchor,
                       cases[i].at);
        if (fixture_i64(conn, sql) != 1)
            fail_msg("%s", cases[i].what);
    }
}

static void periods_neither_overlap_nor_leave_a_hole(void **state)
{
    (void)state;
    /* Each moment of years lies in its period, and the end of one is the start of the next. */
    assert_int_equal(
        fixture_i64(conn,
                    "SELECT count(*) FROM unnest(ARRAY['day', 'week', 'month']) p, "
                    "unnest(ARRAY['UTC', 'Europe/Berlin', 'America/Santiago', 'Asia/Kathmandu', "
                    "'Pacific/Apia', 'America/Caracas', 'Africa/Casablanca']) z, "
                    "unnest(ARRAY[NULL, '2024-01-31 02:30Z'::timestamptz, "
                    "'2027-10-25 23:30Z'::timestamptz]) a, "
                    "generate_series('2010-01-01'::timestamptz, '2029-01-01', "
                    "'211 hours 59 minutes 7 seconds') at, "
                    "budget_period_bounds(p, z, a, at) b, "
                    "budget_period_bounds(p, z, a, b.period_end) n, "
                    "budget_period_bounds(p, z, a, b.period_end - interval '1 microsecond') l "
                    "WHERE b.period_start IS NULL OR b.period_end IS NULL OR at < b.period_start "
                    "OR at >= b.period_end OR n.period_start <> b.period_end OR "
                    "l.period_start <> b.period_start"),
        0);
}

static void times_survive_the_way_there_and_back(void **state)
{
    (void)state;
    assert_int_equal(fixture_i64(conn, "SELECT count(*) FROM unnest(ARRAY[0, 1, 999999, "
                                       "1795233600123456, 8000000000000000]) u "
                                       "WHERE steelyard_us(steelyard_time(u)) <> u"),
                     0);
    assert_int_equal(fixture_i64(conn, "SELECT steelyard_us('infinity')"), INT64_MAX);
}

static void corrections_add_up_and_stay(void **state)
{
    (void)state;
    fixture_exec(conn, "INSERT INTO budget_period (budget_id, period_start, cfg, period_end, "
                       "limit_nano) VALUES (1, '2026-01-01Z', 1, '2026-02-01Z', 100)");
    fixture_exec(conn, "INSERT INTO budget_adjust (budget_id, period_start, cfg, amount, actor, "
                       "reason) VALUES (1, '2026-01-01Z', 1, 30, 'a', 'b'), "
                       "(1, '2026-01-01Z', 1, -50, 'a', 'b')");
    assert_int_equal(fixture_i64(conn, "SELECT adjust FROM budget_period"), -20);
    struct err err;
    assert_int_not_equal(pq_conn_script(conn, "DELETE FROM budget_adjust", &err), 0);
}

int main(void)
{
    (void)cluster_start();
    conn = fixture_connect(cluster_database("bounds", true));
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_moment_has_its_period),
        cmocka_unit_test(periods_neither_overlap_nor_leave_a_hole),
        cmocka_unit_test(times_survive_the_way_there_and_back),
        cmocka_unit_test(corrections_add_up_and_stay),
    };
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    pq_conn_close(conn);
    cluster_stop();
    return rc;
}
