/* Buckets: what goes through, when the next goes through, and that no change of rate makes more. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* After the headers it needs. */
#include <cmocka.h>

#include "common/base/rand.h"
#include "dataplane/limits/bucket.h"

#define SECOND_NS UINT64_C(1000000000)
#define START_NS  (1000 * SECOND_NS)

static bool take(struct bucket *b, uint64_t need, uint64_t rate, uint64_t now_ns)
{
    uint64_t wait;
    return bucket_take(b, need, rate, now_ns, &wait);
}

static void a_minutes_worth_goes_through_at_once_and_no_more(void **state)
{
    (void)state;
    struct bucket b = {0};
    uint64_t rate = bucket_rate(60, BUCKET_SHARE_ONE), wait = 0;
    for (int i = 0; i < 60; i++)
        assert_true(bucket_take(&b, 1, rate, START_NS, &wait));
    assert_false(bucket_take(&b, 1, rate, START_NS, &wait));
    assert_int_equal(wait, SECOND_NS);
    assert_false(take(&b, 1, rate, START_NS + wait - 1));
    assert_true(take(&b, 1, rate, START_NS + wait));
    assert_int_equal(bucket_level(&b, rate, START_NS + 31 * SECOND_NS), 30);
    assert_int_equal(bucket_full_in_ns(&b, START_NS + 31 * SECOND_NS), 30 * SECOND_NS);
}

static void what_is_larger_than_the_bucket_waits_until_it_is_full_and_is_owed(void **state)
{
    (void)state;
    struct bucket b = {0};
    uint64_t rate = bucket_rate(1000, BUCKET_SHARE_ONE), wait = 0;
    assert_true(take(&b, 2500, rate, START_NS));
    assert_int_equal(bucket_level(&b, rate, START_NS), 0);
    assert_false(bucket_take(&b, 1000, rate, START_NS, &wait));
    assert_int_equal(wait, 150 * SECOND_NS);
    assert_true(take(&b, 1000, rate, START_NS + wait));
}

static void one_goes_through_an_idle_bucket_however_small_its_rate(void **state)
{
    (void)state;
    struct bucket b = {0};
    uint64_t rate = bucket_rate(1, BUCKET_SHARE_ONE / 4), wait = 0;
    assert_true(take(&b, 1, rate, START_NS));
    assert_false(bucket_take(&b, 1, rate, START_NS, &wait));
    assert_int_equal(wait, 240 * SECOND_NS); /* One every four minutes. */
    struct bucket none = {0};
    assert_true(take(&none, 1, 0, START_NS));
    assert_false(take(&none, 1, 0, START_NS + SECOND_NS));
}

static void what_was_not_used_comes_back_and_what_was_used_beyond_is_owed(void **state)
{
    (void)state;
    struct bucket b = {0};
    uint64_t rate = bucket_rate(6000, BUCKET_SHARE_ONE);
    assert_true(take(&b, 5000, rate, START_NS));
    bucket_credit(&b, 4000, rate, START_NS);
    assert_int_equal(bucket_level(&b, rate, START_NS), 5000);
    bucket_debit(&b, 5500, rate, START_NS);
    assert_int_equal(bucket_level(&b, rate, START_NS), 0);
    assert_int_equal(bucket_full_in_ns(&b, START_NS), 65 * SECOND_NS);
    bucket_credit(&b, 1000000, rate, START_NS); /* Never above full. */
    assert_int_equal(bucket_level(&b, rate, START_NS), 6000);
}

static void a_change_of_rate_neither_makes_nor_loses_what_is_there(void **state)
{
    (void)state;
    struct bucket b = {0};
    uint64_t low = bucket_rate(60, BUCKET_SHARE_ONE / 4), high = bucket_rate(60, BUCKET_SHARE_ONE);
    for (int i = 0; i < 5; i++)
        assert_true(take(&b, 1, low, START_NS)); /* Ten of fifteen are left. */
    bucket_rescale(&b, low, high, START_NS);
    assert_int_equal(bucket_level(&b, high, START_NS), 10);
    bucket_rescale(&b, high, low, START_NS);
    assert_int_equal(bucket_level(&b, low, START_NS), 10);
    bucket_rescale(&b, low, bucket_rate(60, BUCKET_SHARE_ONE / 10), START_NS);
    assert_in_range(bucket_level(&b, bucket_rate(60, BUCKET_SHARE_ONE / 10), START_NS), 5, 6);
    /* A debt stays what it is, too. */
    struct bucket owing = {0};
    assert_true(take(&owing, 120, high, START_NS));
    bucket_rescale(&owing, high, low, START_NS);
    assert_int_equal(bucket_full_in_ns(&owing, START_NS), (60 + 240) * SECOND_NS);
}

/* Any mix of takes, credits of what was taken, and changes of rate: what went through in any window
 * is at most what was there plus what the rates brought in, plus the one that always fits. */
static void in_any_window_no_more_than_rate_and_burst_goes_through(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 200; seed++) {
        rand_seed_thread(seed);
        struct bucket b = {0};
        uint64_t limit = 1 + rand_u64() % 500;
        uint32_t share = BUCKET_SHARE_ONE / 3;
        uint64_t now = START_NS, brought_q = 0, taken = 0;
        for (int i = 0; i < 2000; i++) {
            uint64_t step = rand_u64() % (SECOND_NS / 2);
            brought_q += step / 1000 * limit * (share >> 10);
            now += step;
            if (rand_u64() % 50 == 0) {
                uint32_t next = 1 + (uint32_t)(rand_u64() % BUCKET_SHARE_ONE);
                bucket_rescale(&b, bucket_rate(limit, share), bucket_rate(limit, next), now);
                share = next;
            }
            while (rand_u64() % 3 != 0 && take(&b, 1, bucket_rate(limit, share), now))
                taken++;
            uint64_t most = brought_q / 60000000 / (BUCKET_SHARE_ONE >> 10) + limit / 3 + 3;
            if (taken > most)
                fail_msg("seed %llu: %llu taken, at most %llu", (unsigned long long)seed,
                         (unsigned long long)taken, (unsigned long long)most);
        }
    }
}

static void extremes_do_not_overflow(void **state)
{
    (void)state;
    struct bucket b = {0};
    uint64_t wait = 0;
    uint64_t most = bucket_rate(UINT64_MAX, UINT32_MAX);
    assert_true(take(&b, UINT64_MAX, most, START_NS));
    assert_false(bucket_take(&b, UINT64_MAX, most, START_NS, &wait));
    assert_in_range(wait, 1, BUCKET_BACKLOG_MAX);
    bucket_debit(&b, UINT64_MAX, 1, START_NS);
    bucket_rescale(&b, most, 1, START_NS);
    assert_int_equal(bucket_full_in_ns(&b, START_NS), BUCKET_BACKLOG_MAX);
    bucket_rescale(&b, 1, 0, START_NS);
    bucket_rescale(&b, 0, most, START_NS);
    bucket_credit(&b, UINT64_MAX, 1, START_NS);
    assert_int_equal(bucket_full_in_ns(&b, START_NS), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_minutes_worth_goes_through_at_once_and_no_more),
        cmocka_unit_test(what_is_larger_than_the_bucket_waits_until_it_is_full_and_is_owed),
        cmocka_unit_test(one_goes_through_an_idle_bucket_however_small_its_rate),
        cmocka_unit_test(what_was_not_used_comes_back_and_what_was_used_beyond_is_owed),
        cmocka_unit_test(a_change_of_rate_neither_makes_nor_loses_what_is_there),
        cmocka_unit_test(in_any_window_no_more_than_rate_and_burst_goes_through),
        cmocka_unit_test(extremes_do_not_overflow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
