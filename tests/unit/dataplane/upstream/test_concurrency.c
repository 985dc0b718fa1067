/* How many may be under way at a deployment, and which one is too slow among its peers. */
#include "dataplane/upstream/concurrency.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/base/rand.h"
#include "dataplane/upstream/endpoint.h"

static void f21_there_is_no_limit_until_it_was_too_much(void **state)
{
    (void)state;
    struct concurrency c = {0};
    assert_int_equal(concurrency_limit(&c), CONCURRENCY_MAX);
    concurrency_good(&c, 5000);
    assert_int_equal(concurrency_limit(&c), CONCURRENCY_MAX);
    concurrency_too_much(&c, 100, 5000);
    assert_int_equal(concurrency_limit(&c), 75);
}

static void f21_the_limit_falls_once_a_second_and_not_below_its_least(void **state)
{
    (void)state;
    struct concurrency c = {0};
    concurrency_too_much(&c, 100, 5000);
    concurrency_too_much(&c, 75, 5999);
    assert_int_equal(concurrency_limit(&c), 75);
    concurrency_too_much(&c, 75, 6000);
    assert_int_equal(concurrency_limit(&c), 57);
    for (uint64_t t = 7000; t < 30000; t += 1000)
        concurrency_too_much(&c, 1, t);
    assert_int_equal(concurrency_limit(&c), CONCURRENCY_MIN);
}

static void f21_it_rises_by_one_for_two_good_answers_while_it_is_used(void **state)
{
    (void)state;
    struct concurrency c = {0};
    concurrency_too_much(&c, 100, 5000);
    concurrency_good(&c, 30); /* Less than half: nothing is known of more. */
    assert_int_equal(concurrency_limit(&c), 75);
    for (unsigned i = 0; i < 20; i++)
        concurrency_good(&c, 75);
    assert_int_equal(concurrency_limit(&c), 85);
}

/* How many of `count` such answers in a row it takes until there are too many; 0: all of them are
 * fine. */
static unsigned too_many_after(unsigned count, uint32_t sample_ms, uint32_t usual_ms)
{
    struct late l = {0};
    for (unsigned i = 1; i <= count; i++)
        if (concurrency_late(&l, sample_ms, usual_ms))
            return i;
    return 0;
}

static void f21_late_is_far_later_than_usual(void **state)
{
    (void)state;
    assert_int_equal(too_many_after(100, 60000, 0), 0);
    assert_int_equal(too_many_after(100, 4000, 1000), 0);
    assert_int_equal(too_many_after(100, 4004, 1000), 8);
    assert_int_equal(too_many_after(100, 900, 10), 0); /* Less than a second more. */
}

static void f21_a_few_late_answers_are_not_too_much_however_many_come(void **state)
{
    (void)state;
    struct late l = {0};
    rand_seed_thread(20261122);
    for (unsigned i = 0; i < 1000000; i++)
        assert_false(concurrency_late(&l, rand_below(100) < 5 ? 9000 : 100, 100));
    /* Every third is, soon and again. */
    unsigned cuts = 0;
    for (unsigned i = 0; i < 300; i++)
        cuts += concurrency_late(&l, i % 3 == 0 ? 9000 : 100, 100);
    assert_in_range(cuts, 3, 5);
}

static void f21_a_full_deployment_takes_no_more(void **state)
{
    (void)state;
    struct endpoint_shared shared = {0};
    struct endpoint one, other; /* Of two workers. */
    endpoint_init(&one, &shared);
    endpoint_init(&other, &shared);
    for (unsigned i = 0; i < CONCURRENCY_MIN; i++)
        assert_true(endpoint_take(i % 2 == 0 ? &one : &other, false, 1000));
    assert_false(endpoint_full(&one));
    endpoint_congested(&one, 1000);
    assert_true(endpoint_full(&one) && endpoint_full(&other));
    assert_false(endpoint_take(&other, true, 1001));
    endpoint_done(&one, ENDPOINT_OK, 1002);
    assert_true(endpoint_take(&other, false, 1003));
}

static void f21_room_is_seen_for_calls_to_come(void **state)
{
    (void)state;
    struct endpoint_shared shared = {0};
    struct endpoint e;
    endpoint_init(&e, &shared);
    assert_true(endpoint_has_room(&e, 1000, 1000)); /* Nobody has said that it is too much. */
    for (unsigned i = 0; i < CONCURRENCY_MIN; i++)
        assert_true(endpoint_take(&e, false, 1000));
    endpoint_congested(&e, 1000);
    assert_false(endpoint_has_room(&e, 1, 1000));
    endpoint_done(&e, ENDPOINT_CANCELLED, 1000);
    assert_true(endpoint_has_room(&e, 1, 1000));
    assert_false(endpoint_has_room(&e, 2, 1000));
    endpoint_cool(&e, 50, true, 1000);
    assert_false(endpoint_has_room(&e, 1, 1049));
    assert_true(endpoint_has_room(&e, 1, 1050));
    endpoint_eject_slow(&e, 1050);
    assert_false(endpoint_has_room(&e, 1, 1051));
}

static bool behind_after(struct endpoint *e, unsigned count, uint32_t ttft_ms, uint32_t peers_ms)
{
    bool behind = false;
    for (unsigned i = 0; i < count; i++)
        behind |= endpoint_is_behind(e, ttft_ms, peers_ms);
    return behind;
}

static void f14_slow_is_against_the_peers_and_after_enough_samples(void **state)
{
    (void)state;
    struct endpoint_shared shared = {0};
    struct endpoint e;
    endpoint_init(&e, &shared);
    assert_false(behind_after(&e, 19, 4000, 400));
    assert_true(behind_after(&e, 1, 4000, 400));
    assert_false(behind_after(&e, 100, 4000, 1400)); /* Not three times as late. */
    assert_false(behind_after(&e, 100, 510, 20));    /* Not half a second. */
    assert_false(behind_after(&e, 100, 4000, 0));    /* Nobody to compare with. */
    assert_false(behind_after(&e, 19, 4000, 400));   /* Counted anew. */
}

/* Of a hundred thousand answers, so many of a hundred late. */
static unsigned ejections(uint64_t seed, uint32_t late_percent)
{
    struct endpoint_shared shared = {0};
    struct endpoint e;
    unsigned count = 0;
    endpoint_init(&e, &shared);
    rand_seed_thread(seed);
    for (unsigned i = 0; i < 100000; i++)
        count += endpoint_is_behind(&e, rand_below(100) < late_percent ? 60000 : 300, 300);
    return count;
}

static void f14_a_few_very_late_answers_are_no_sign(void **state)
{
    (void)state;
    assert_int_equal(ejections(1, 2), 0);
    assert_int_equal(ejections(2, 10), 0);
    assert_int_equal(ejections(3, 20), 0);
    assert_in_range(ejections(4, 50), 100, 10000);
}

static void f14_a_slow_one_is_out_longer_each_time(void **state)
{
    (void)state;
    struct endpoint_shared shared = {0};
    struct endpoint e;
    endpoint_init(&e, &shared);
    endpoint_observe(&e, 100, 4000, 0, 0);
    endpoint_eject_slow(&e, 1000);
    assert_int_equal(endpoint_estimate(&e, 100).ttft_ms, 0); /* To be seen anew. */
    assert_false(endpoint_usable(&e, 1000 + breaker_defaults.base_ms - 1));
    assert_true(endpoint_take(&e, false, 1000 + breaker_defaults.base_ms));
    assert_false(endpoint_take(&e, false, 1000 + breaker_defaults.base_ms)); /* One probe. */
    endpoint_done(&e, ENDPOINT_OK, 7000);
    assert_true(endpoint_usable(&e, 7000));
    endpoint_eject_slow(&e, 7000);
    assert_false(endpoint_usable(&e, 7000 + 2 * breaker_defaults.base_ms - 1));
    assert_true(endpoint_usable(&e, 7000 + 2 * breaker_defaults.base_ms));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(f21_there_is_no_limit_until_it_was_too_much),
        cmocka_unit_test(f21_the_limit_falls_once_a_second_and_not_below_its_least),
        cmocka_unit_test(f21_it_rises_by_one_for_two_good_answers_while_it_is_used),
        cmocka_unit_test(f21_late_is_far_later_than_usual),
        cmocka_unit_test(f21_a_few_late_answers_are_not_too_much_however_many_come),
        cmocka_unit_test(f21_a_full_deployment_takes_no_more),
        cmocka_unit_test(f21_room_is_seen_for_calls_to_come),
        cmocka_unit_test(f14_slow_is_against_the_peers_and_after_enough_samples),
        cmocka_unit_test(f14_a_few_very_late_answers_are_no_sign),
        cmocka_unit_test(f14_a_slow_one_is_out_longer_each_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
