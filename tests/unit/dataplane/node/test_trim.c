#include "dataplane/trim.h"

#include "tests/lib/fault.h"

#define MB (UINT64_C(1) << 20)

/* Asks once a second from second `from` to `to`; how often it was due. */
static unsigned ask(struct trim_watch *t, uint64_t live, unsigned from, unsigned to)
{
    unsigned due = 0;
    for (unsigned s = from; s < to; s++)
        due += trim_watch_due(t, live, 1000 + s * UINT64_C(1000));
    return due;
}

static void what_the_start_took_is_given_back_once(void **state)
{
    (void)state;
    struct trim_watch t = {0};
    assert_int_equal(ask(&t, 3 * MB, 0, 3), 0);
    assert_int_equal(ask(&t, 3 * MB, 3, 1000), 1);
}

static void a_burst_is_given_back_once_it_is_over(void **state)
{
    (void)state;
    struct trim_watch t = {0};
    (void)ask(&t, 3 * MB, 0, 10);
    assert_int_equal(ask(&t, 80 * MB, 10, 100), 0); /* As long as it lasts: nothing to gain. */
    for (unsigned s = 100; s < 110; s++)            /* While it drains: not yet. */
        assert_false(trim_watch_due(&t, (80 - (s - 100) * 7) * MB, 1000 + s * UINT64_C(1000)));
    assert_int_equal(ask(&t, 4 * MB, 110, 113), 0);
    assert_int_equal(ask(&t, 4 * MB, 113, 1000), 1);
}

static void ups_and_downs_of_little_are_left_alone(void **state)
{
    (void)state;
    struct trim_watch t = {0};
    (void)ask(&t, 3 * MB, 0, 10);
    for (unsigned s = 10; s < 1000; s += 20) {
        assert_int_equal(ask(&t, 6 * MB, s, s + 10), 0);
        assert_int_equal(ask(&t, 3 * MB, s + 10, s + 20), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_the_start_took_is_given_back_once),
        cmocka_unit_test(a_burst_is_given_back_once_it_is_over),
        cmocka_unit_test(ups_and_downs_of_little_are_left_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
