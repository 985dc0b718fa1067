/* Waiting for room: bounds, turns, and that nobody's flood keeps others out. */
#include "dataplane/request/queue.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static const char where[2];

/* Requests are told apart by address alone. */
static const char people[256];
#define WHO(i) ((const void *)&people[i])

static void f21_the_queue_is_bounded_and_nobody_waits_for_ever(void **state)
{
    (void)state;
    static struct queue q;
    for (unsigned i = 0; i < QUEUE_MAX; i++)
        assert_int_equal(queue_join(&q, WHO(i), where, i / QUEUE_SHARE_MAX, 10, 1000),
                         QUEUE_JOINED);
    assert_int_equal(queue_join(&q, WHO(200), where, 99, 10, 1000), QUEUE_FULL);
    assert_false(queue_is_over(&q, WHO(3), 1000 + QUEUE_WAIT_MS - 1));
    assert_true(queue_is_over(&q, WHO(3), 1000 + QUEUE_WAIT_MS));
    assert_true(queue_is_over(&q, WHO(200), 0)); /* Does not wait at all. */
    queue_leave(&q, WHO(3), false);
    assert_int_equal(queue_join(&q, WHO(200), where, 99, 10, 1000), QUEUE_JOINED);
    for (unsigned i = 0; i < 256; i++)
        queue_leave(&q, WHO(i), false);
    assert_int_equal(q.count, 0);
    assert_false(queue_waits(&q, where));
}

static void f22_a_tenant_has_a_share_of_the_queue_and_no_more(void **state)
{
    (void)state;
    static struct queue q;
    for (unsigned i = 0; i < QUEUE_SHARE_MAX; i++)
        assert_int_equal(queue_join(&q, WHO(i), where, 1, 10, 1000), QUEUE_JOINED);
    assert_int_equal(queue_join(&q, WHO(100), where, 1, 10, 1000), QUEUE_OVER_SHARE);
    assert_int_equal(queue_join(&q, WHO(101), where, 2, 10, 1000), QUEUE_JOINED);
}

static const void *next_of(struct queue *q, unsigned people_count)
{
    for (unsigned i = 0; i < people_count; i++) {
        if (!queue_is_over(q, WHO(i), 0) && queue_is_next(q, WHO(i))) {
            queue_leave(q, WHO(i), true);
            return WHO(i);
        }
    }
    return NULL;
}

static void f22_who_floods_gets_no_more_than_who_does_not(void **state)
{
    (void)state;
    static struct queue q;
    for (unsigned i = 0; i < 12; i++) /* The flood was here first. */
        assert_int_equal(queue_join(&q, WHO(i), where, 1, 100, 1000 + i), QUEUE_JOINED);
    for (unsigned i = 12; i < 16; i++)
        assert_int_equal(queue_join(&q, WHO(i), where, 2, 100, 1100 + i), QUEUE_JOINED);
    unsigned quiet = 0;
    for (unsigned i = 0; i < 8; i++)
        quiet += (const char *)next_of(&q, 16) >= &people[12];
    assert_int_equal(quiet, 4); /* Each second turn. */
    for (unsigned i = 0; i < 8; i++)
        assert_non_null(next_of(&q, 16));
    assert_null(next_of(&q, 16));
}

static void f22_turns_are_by_tokens(void **state)
{
    (void)state;
    static struct queue q;
    for (unsigned i = 0; i < 8; i++)
        assert_int_equal(queue_join(&q, WHO(i), where, 1, 1000, 1000 + i), QUEUE_JOINED);
    for (unsigned i = 8; i < 16; i++)
        assert_int_equal(queue_join(&q, WHO(i), where, 2, 250, 1100 + i), QUEUE_JOINED);
    unsigned small = 0;
    for (unsigned i = 0; i < 10; i++)
        small += (const char *)next_of(&q, 16) >= &people[8];
    assert_int_equal(small, 8); /* Four of them weigh what one of the others does. */
}

static void those_for_another_route_do_not_wait_for_each_other(void **state)
{
    (void)state;
    static struct queue q;
    assert_int_equal(queue_join(&q, WHO(0), where, 1, 10, 1000), QUEUE_JOINED);
    assert_int_equal(queue_join(&q, WHO(1), where + 1, 1, 10, 1001), QUEUE_JOINED);
    assert_int_equal(queue_join(&q, WHO(2), where, 1, 10, 1002), QUEUE_JOINED);
    assert_true(queue_is_next(&q, WHO(0)));
    assert_true(queue_is_next(&q, WHO(1)));
    assert_false(queue_is_next(&q, WHO(2)));
    queue_leave(&q, WHO(0), true);
    assert_true(queue_is_next(&q, WHO(2)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(f21_the_queue_is_bounded_and_nobody_waits_for_ever),
        cmocka_unit_test(f22_a_tenant_has_a_share_of_the_queue_and_no_more),
        cmocka_unit_test(f22_who_floods_gets_no_more_than_who_does_not),
        cmocka_unit_test(f22_turns_are_by_tokens),
        cmocka_unit_test(those_for_another_route_do_not_wait_for_each_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
