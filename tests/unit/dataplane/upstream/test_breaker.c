#include "dataplane/upstream/breaker.h"

#include "tests/lib/fault.h"

static const struct breaker_config config = {
    .failures_max = 3,
    .window_ms = 1000,
    .window_min = 10,
    .share_percent = 50,
    .base_ms = 100,
    .max_ms = 250,
    .probe_ms = 500,
};

/* One row a call: what is told at what time, and the state after it. */
struct row {
    uint64_t at_ms;
    enum { ASK_YES, ASK_NO, OK, BAD, LEFT } event;
    enum breaker_state after;
};

static void play(const struct row *rows, size_t count)
{
    struct breaker b;
    breaker_init(&b);
    for (size_t i = 0; i < count; i++) {
        switch (rows[i].event) {
        case ASK_YES:
            assert_true(breaker_would_allow(&b, &config, rows[i].at_ms));
            assert_true(breaker_allow(&b, &config, rows[i].at_ms));
            break;
        case ASK_NO:
            assert_false(breaker_would_allow(&b, &config, rows[i].at_ms));
            assert_false(breaker_allow(&b, &config, rows[i].at_ms));
            break;
        case OK:
        case BAD:
            breaker_record(&b, &config, rows[i].event == OK, rows[i].at_ms);
            break;
        case LEFT:
            breaker_abandon(&b, rows[i].at_ms);
            break;
        }
        assert_int_equal(b.state, rows[i].after);
    }
}
#define PLAY(rows) play(rows, sizeof(rows) / sizeof((rows)[0]))

static void f14_opens_after_failures_in_a_row_and_lets_one_probe_through(void **state)
{
    (void)state;
    const struct row rows[] = {
        {1000, ASK_YES, BREAKER_CLOSED},  {1000, BAD, BREAKER_CLOSED},
        {1001, BAD, BREAKER_CLOSED},      {1002, BAD, BREAKER_OPEN},
        {1050, ASK_NO, BREAKER_OPEN},     {1101, ASK_NO, BREAKER_OPEN},
        {1102, ASK_YES, BREAKER_PROBING}, {1102, ASK_NO, BREAKER_PROBING},
        {1110, OK, BREAKER_CLOSED},       {1111, ASK_YES, BREAKER_CLOSED},
    };
    PLAY(rows);
}

static void f14_stays_out_longer_each_time_in_a_row_up_to_the_maximum(void **state)
{
    (void)state;
    const struct row rows[] = {
        {1000, BAD, BREAKER_CLOSED},      {1000, BAD, BREAKER_CLOSED}, {1000, BAD, BREAKER_OPEN},
        {1100, ASK_YES, BREAKER_PROBING}, {1100, BAD, BREAKER_OPEN},   {1299, ASK_NO, BREAKER_OPEN},
        {1300, ASK_YES, BREAKER_PROBING}, {1300, BAD, BREAKER_OPEN},   {1549, ASK_NO, BREAKER_OPEN},
        {1550, ASK_YES, BREAKER_PROBING},
    };
    PLAY(rows);
}

static void a_success_between_failures_starts_the_row_again(void **state)
{
    (void)state;
    const struct row rows[] = {
        {1000, BAD, BREAKER_CLOSED}, {1000, BAD, BREAKER_CLOSED}, {1000, OK, BREAKER_CLOSED},
        {1000, BAD, BREAKER_CLOSED}, {1000, BAD, BREAKER_CLOSED}, {1001, BAD, BREAKER_OPEN},
    };
    PLAY(rows);
}

static void half_of_a_window_failing_opens_it_without_a_row(void **state)
{
    (void)state;
    struct breaker b;
    breaker_init(&b);
    for (unsigned i = 0; i < 9; i++) {
        breaker_record(&b, &config, i % 2 == 0, 1000 + i);
        assert_int_equal(b.state, BREAKER_CLOSED);
    }
    breaker_record(&b, &config, false, 1010);
    assert_int_equal(b.state, BREAKER_OPEN);
    assert_int_equal(breaker_wait_ms(&b, 1010), 100);
    assert_int_equal(breaker_wait_ms(&b, 1200), 0);
}

static void old_windows_do_not_count(void **state)
{
    (void)state;
    struct breaker b;
    breaker_init(&b);
    for (unsigned i = 0; i < 8; i++)
        breaker_record(&b, &config, i % 2 == 0, 1000);
    for (unsigned i = 0; i < 2; i++)
        breaker_record(&b, &config, i % 2 == 0, 9000);
    assert_int_equal(b.state, BREAKER_CLOSED);
}

static void an_abandoned_or_silent_probe_makes_room_for_the_next(void **state)
{
    (void)state;
    const struct row rows[] = {
        {1000, BAD, BREAKER_CLOSED},     {1000, BAD, BREAKER_CLOSED},
        {1000, BAD, BREAKER_OPEN},       {1100, ASK_YES, BREAKER_PROBING},
        {1110, LEFT, BREAKER_OPEN},      {1110, ASK_YES, BREAKER_PROBING},
        {1609, ASK_NO, BREAKER_PROBING}, {1610, ASK_YES, BREAKER_PROBING},
        {1620, OK, BREAKER_CLOSED},
    };
    PLAY(rows);
}

static void late_results_of_older_attempts_do_not_close_an_open_one(void **state)
{
    (void)state;
    const struct row rows[] = {
        {1000, BAD, BREAKER_CLOSED}, {1000, BAD, BREAKER_CLOSED}, {1000, BAD, BREAKER_OPEN},
        {1001, OK, BREAKER_OPEN},    {1002, BAD, BREAKER_OPEN},   {1100, ASK_YES, BREAKER_PROBING},
    };
    PLAY(rows);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(f14_opens_after_failures_in_a_row_and_lets_one_probe_through),
        cmocka_unit_test(f14_stays_out_longer_each_time_in_a_row_up_to_the_maximum),
        cmocka_unit_test(a_success_between_failures_starts_the_row_again),
        cmocka_unit_test(half_of_a_window_failing_opens_it_without_a_row),
        cmocka_unit_test(old_windows_do_not_count),
        cmocka_unit_test(an_abandoned_or_silent_probe_makes_room_for_the_next),
        cmocka_unit_test(late_results_of_older_attempts_do_not_close_an_open_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
