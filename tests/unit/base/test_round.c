#include "common/base/rand.h"
#include "common/base/round.h"
#include "tests/lib/fault.h"

#define MANY 10000U

/* Looks at parts of `count` things in turn, at random moments up to a fifth of a second apart. */
static void each_gets_a_look_a_second(uint32_t count)
{
    static uint64_t seen_ms[MANY];
    struct round r = {0};
    uint64_t now_ms = 5000;
    uint32_t at = 0;
    assert_int_equal(round_part(&r, count, now_ms), count); /* Nobody was looked at yet. */
    for (uint32_t i = 0; i < count; i++)
        seen_ms[i] = now_ms;
    while (now_ms < 30000) {
        const uint32_t passed_ms = (uint32_t)rand_below(200) + 1;
        now_ms += passed_ms;
        const uint32_t part = round_part(&r, count, now_ms);
        assert_in_range(part, 0, (uint64_t)count * passed_ms / ROUND_MS + ROUND_LEAST);
        for (uint32_t i = 0; i < part; i++, at = (at + 1) % count) {
            assert_in_range(now_ms - seen_ms[at], 0, ROUND_MS + 200);
            seen_ms[at] = now_ms;
        }
    }
}

static void each_of_many_gets_a_look_a_second_and_no_look_is_at_many(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        rand_seed_thread(seed);
        each_gets_a_look_a_second(MANY);
        each_gets_a_look_a_second(ROUND_LEAST + 1 + (uint32_t)rand_below(3000));
    }
}

static void few_are_looked_at_each_time(void **state)
{
    (void)state;
    struct round r = {0};
    for (uint64_t now_ms = 1; now_ms < 100; now_ms++)
        for (uint32_t count = 0; count <= ROUND_LEAST; count++)
            assert_int_equal(round_part(&r, count, now_ms), count);
}

static void after_a_pause_all_are(void **state)
{
    (void)state;
    struct round r = {.looked_ms = 1000};
    assert_int_equal(round_part(&r, MANY, 1000 + ROUND_MS), MANY);
    assert_int_equal(round_part(&r, MANY, 1000 + ROUND_MS), ROUND_LEAST);
    assert_int_equal(round_part(&r, MANY, UINT64_MAX), MANY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_of_many_gets_a_look_a_second_and_no_look_is_at_many),
        cmocka_unit_test(few_are_looked_at_each_time),
        cmocka_unit_test(after_a_pause_all_are),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
