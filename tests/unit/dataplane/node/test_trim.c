#include "dataplane/trim.h"

#include "tests/lib/fault.h"

#define MB (UINT64_C(1) << 20)

#define CODE (10 * MB)

/* Asks once a second from second `from` to `to`; how often it was due. */
static unsigned ask_with(struct trim_watch *t, uint64_t live, uint64_t beside, unsigned from,
                         unsigned to)
{
    unsigned due = 0;
    for (unsigned s = from; s < to; s++)
        due += trim_watch_due(t, live, live + beside, false, 1000 + s * UINT64_C(1000));
    return due;
}

static unsigned ask(struct trim_watch *t, uint64_t live, unsigned from, unsigned to)
{
    return ask_with(t, live, CODE, from, to);
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
        assert_int_equal(ask(&t, (80 - (s - 100) * 7) * MB, s, s + 1), 0);
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

static void what_came_and_went_unseen_is_given_back(void **state)
{
    (void)state;
    struct trim_watch t = {0};
    assert_int_equal(ask(&t, 3 * MB, 0, 10), 1);
    assert_int_equal(ask_with(&t, 3 * MB, CODE + 2 * MB - 1, 10, 100), 0); /* Not worth it. */
    assert_int_equal(ask_with(&t, 3 * MB, CODE + 7 * MB, 100, 101), 1);
    assert_int_equal(ask(&t, 3 * MB, 101, 1000), 0); /* And it stays away. */
}

static void what_is_allocated_counts_not_as_grown(void **state)
{
    (void)state;
    struct trim_watch t = {0};
    (void)ask(&t, 3 * MB, 0, 10);
    assert_int_equal(ask(&t, 40 * MB, 10, 1000), 0);
    /* While it moves nothing goes, whatever is beside it. */
    for (unsigned s = 1000; s < 1100; s++)
        assert_int_equal(ask_with(&t, (43 - s % 2 * 3) * MB, CODE + 20 * MB, s, s + 1), 0);
}

/* What is in use comes back each time: it is let alone longer and longer. */
static void what_comes_back_is_taken_less_and_less_often(void **state)
{
    (void)state;
    struct trim_watch t = {0};
    unsigned due = 0, late = 0, since = 0;
    for (unsigned s = 0; s < 10000; s++) {
        /* A second after each time little is resident, then all of it again. */
        const bool now = ask_with(&t, 3 * MB, s == since + 1 ? CODE : CODE + 9 * MB, s, s + 1);
        since = now ? s : since;
        due += now;
        late += now && s >= 5000;
    }
    assert_true(due >= 8 && due <= 30);
    assert_true(late >= 5 && late <= 10); /* Every ten minutes at last. */
    /* A burst begins it anew. */
    (void)ask_with(&t, 80 * MB, CODE + 9 * MB, 10000, 10010);
    assert_int_equal(ask(&t, 3 * MB, 10010, 10014), 1);
    assert_int_equal(ask(&t, 3 * MB, 10014, 10016), 0);
    assert_int_equal(ask_with(&t, 3 * MB, CODE + 9 * MB, 10016, 10019), 1);
}

/* Allocated as before, a little resident beside it: only that something is done is a reason. */
static unsigned look(struct trim_watch *t, bool busy, unsigned from, unsigned to)
{
    unsigned due = 0;
    for (unsigned s = from; s < to; s++)
        due += trim_watch_due(t, 3 * MB, 3 * MB + CODE + MB, busy, 1000 + s * UINT64_C(1000));
    return due;
}

static void what_was_left_to_do_is_waited_for(void **state)
{
    (void)state;
    struct trim_watch t = {0};
    assert_int_equal(look(&t, true, 0, 10), 1);
    assert_int_equal(look(&t, true, 10, 100), 0); /* As long as it lasts: it would come back. */
    assert_int_equal(look(&t, false, 100, 101), 1);
    assert_int_equal(look(&t, false, 101, 1000), 0); /* Once. */
    for (unsigned s = 1000; s < 2000; s++)           /* What comes and goes is no reason. */
        assert_int_equal(look(&t, s % 2 == 0, s, s + 1), 0);
}

static void not_again_in_the_next_moment(void **state)
{
    (void)state;
    struct trim_watch t = {0};
    assert_int_equal(look(&t, true, 0, 3), 0);
    assert_int_equal(look(&t, true, 3, 4), 1);
    assert_int_equal(look(&t, false, 4, 6), 0);
    assert_int_equal(look(&t, false, 6, 7), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_the_start_took_is_given_back_once),
        cmocka_unit_test(a_burst_is_given_back_once_it_is_over),
        cmocka_unit_test(ups_and_downs_of_little_are_left_alone),
        cmocka_unit_test(what_came_and_went_unseen_is_given_back),
        cmocka_unit_test(what_is_allocated_counts_not_as_grown),
        cmocka_unit_test(what_comes_back_is_taken_less_and_less_often),
        cmocka_unit_test(what_was_left_to_do_is_waited_for),
        cmocka_unit_test(not_again_in_the_next_moment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
