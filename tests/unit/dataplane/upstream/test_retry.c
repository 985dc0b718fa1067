#include "dataplane/upstream/retry.h"

#include "tests/lib/fault.h"

static void f16_three_retries_are_always_allowed_then_a_fifth_of_the_requests(void **state)
{
    (void)state;
    struct retry_budget b;
    retry_budget_init(&b);
    for (int i = 0; i < 3; i++)
        assert_true(retry_budget_take(&b, 100000));
    assert_false(retry_budget_take(&b, 100000));
    for (int i = 0; i < 20; i++)
        retry_budget_request(&b, 100001);
    assert_true(retry_budget_take(&b, 100001)); /* 20 % of 20 is 4. */
    assert_false(retry_budget_take(&b, 100001));
}

static void f16_the_budget_forgets_after_two_windows(void **state)
{
    (void)state;
    struct retry_budget b;
    retry_budget_init(&b);
    for (int i = 0; i < 3; i++)
        assert_true(retry_budget_take(&b, 100000));
    assert_false(retry_budget_take(&b, 111000));
    assert_true(retry_budget_take(&b, 135000));
}

static void f16_backoff_is_full_jitter_that_doubles_up_to_its_cap(void **state)
{
    (void)state;
    assert_int_equal(retry_backoff_ms(0, 49), 49);
    assert_int_equal(retry_backoff_ms(0, 50), 0);
    assert_int_equal(retry_backoff_ms(1, 99), 99);
    assert_int_equal(retry_backoff_ms(1, 100), 0);
    assert_int_equal(retry_backoff_ms(60, 1999), 1999);
    assert_int_equal(retry_backoff_ms(60, 2000), 0);
}

static void b41_retry_after_is_clamped_and_never_trusted(void **state)
{
    (void)state;
    static const struct {
        const char *ms, *header;
        uint32_t want;
        bool known;
    } rows[] = {
        {NULL, "5", 5000, true},
        {NULL, " 5 ", 5000, true},
        {NULL, "0", 0, true},
        {NULL, "0.25", 250, true},
        {"250", "5", 250, true},
        {"12.5", NULL, 12, true},
        {"x", "5", 5000, true},
        {NULL, "-5", 0, false},
        {NULL, "+5", 0, false},
        {NULL, "1e3", 0, false},
        {NULL, "", 0, false},
        {NULL, NULL, 0, false},
        {NULL, "99999999999999999999999999", 300000, true},
        {"99999999999999999999999999", NULL, 300000, true},
        {NULL, "300", 300000, true},
        {NULL, "301", 300000, true},
        {NULL, "Sun, 06 Nov 1994 08:49:47 GMT", 10000, true},
        {NULL, "Sun, 06 Nov 1994 08:49:27 GMT", 0, true},
        {NULL, "Sun, 06 Nov 2094 08:49:37 GMT", 300000, true},
        {NULL, "Sun, 06 Nox 1994 08:49:47 GMT", 0, false},
        {NULL, "Sunday, 06-Nov-94 08:49:37 GMT", 0, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        bool known = !rows[i].known;
        uint32_t ms = retry_after_ms(str_from(rows[i].ms), str_from(rows[i].header),
                                     784111777LL * 1000000, &known);
        assert_int_equal(ms, rows[i].want);
        assert_int_equal(known, rows[i].known);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(f16_three_retries_are_always_allowed_then_a_fifth_of_the_requests),
        cmocka_unit_test(f16_the_budget_forgets_after_two_windows),
        cmocka_unit_test(f16_backoff_is_full_jitter_that_doubles_up_to_its_cap),
        cmocka_unit_test(b41_retry_after_is_clamped_and_never_trusted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
