#include "common/base/clock.h"
#include "tests/lib/fault.h"

#include "common/base/checked.h"

static uint64_t fixed_mono(void)
{
    return 5000000;
}

static int64_t fixed_wall(void)
{
    return 42;
}

static void a_source_replaces_both_clocks(void **state)
{
    (void)state;
    static const struct clock_source source = {fixed_mono, fixed_wall};
    clock_set_source(&source);
    assert_int_equal(clock_mono_ns(), 5000000);
    assert_int_equal(clock_mono_ms(), 5);
    assert_int_equal(clock_wall_us(), 42);
    assert_int_equal(clock_steady_us(), 42);
    clock_set_source(NULL);
    uint64_t before = clock_mono_ns();
    assert_true(clock_mono_ns() >= before);
    assert_true(clock_wall_us() > 1600000000000000);
    assert_true(clock_thread_cpu_ns() > 0);
    int64_t steady_us = clock_steady_us();
    assert_true(steady_us > 1600000000000000);
    assert_true(clock_steady_us() >= steady_us);
    assert_int_equal(clock_steady_at_us(7000000) - clock_steady_at_us(2000000), 5000);
}

static void time_is_written_as_rfc_3339(void **state)
{
    (void)state;
    char text[CLOCK_RFC3339_BYTES];
    clock_format_rfc3339(1795233300123456, text);
    assert_string_equal(text, "2026-11-21T03:55:00.123456Z");
    clock_format_rfc3339(0, text);
    assert_string_equal(text, "1970-01-01T00:00:00.000000Z");
    clock_format_rfc3339(-1, text);
    assert_string_equal(text, "1969-12-31T23:59:59.999999Z");
    clock_format_rfc3339(INT64_MAX, text);
    clock_format_rfc3339(INT64_MIN, text);
}

static void arithmetic_says_when_it_overflows(void **state)
{
    (void)state;
    int64_t out = 0;
    assert_true(checked_add((int64_t)1, (int64_t)2, &out));
    assert_int_equal(out, 3);
    assert_false(checked_add(INT64_MAX, (int64_t)1, &out));
    assert_false(checked_sub(INT64_MIN, (int64_t)1, &out));
    assert_false(checked_mul(INT64_MAX, (int64_t)2, &out));
    assert_int_equal(floor_shift_i64(-1, 1), -1);
    assert_int_equal(floor_shift_i64(-5, 1), -3);
    assert_int_equal(floor_shift_i64(5, 1), 2);
    assert_int_equal(floor_shift_i64(INT64_MIN, 63), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_source_replaces_both_clocks),
        cmocka_unit_test(time_is_written_as_rfc_3339),
        cmocka_unit_test(arithmetic_says_when_it_overflows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
