#include "dataplane/upstream/quantile.h"

#include "tests/lib/fault.h"

static uint64_t draw(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005ULL + 1442695040888963407ULL;
    return *seed >> 33;
}

static void f17_nothing_is_said_before_enough_was_seen(void **state)
{
    (void)state;
    struct quantile q = {0};
    for (unsigned i = 0; i + 1 < QUANTILE_SAMPLES_MIN; i++)
        quantile_observe(&q, 100);
    assert_int_equal(quantile_get(&q), 0);
    quantile_observe(&q, 100);
    assert_in_range(quantile_get(&q), 95, 117);
}

/* Uniform up to ten scales: 95 of 100 are below 0.95 of the largest. */
static void f17_one_in_twenty_is_above(void **state)
{
    (void)state;
    uint64_t seed = 11;
    for (uint32_t most = 100; most <= 1000000; most *= 100) {
        struct quantile q = {0};
        for (int i = 0; i < 3000; i++)
            quantile_observe(&q, (uint32_t)(draw(&seed) % most));
        unsigned above = 0;
        for (int i = 0; i < 4000; i++) {
            const uint32_t sample = (uint32_t)(draw(&seed) % most);
            above += sample > quantile_get(&q);
            quantile_observe(&q, sample);
        }
        assert_in_range(above, 4000 * 25 / 1000, 4000 * 75 / 1000);
    }
}

static void f17_it_follows_a_deployment_that_becomes_slower_or_faster(void **state)
{
    (void)state;
    struct quantile q = {0};
    for (int i = 0; i < 500; i++)
        quantile_observe(&q, 50);
    for (int i = 0; i < 100; i++)
        quantile_observe(&q, 5000);
    assert_in_range(quantile_get(&q), 4900, 5400);
    for (int i = 0; i < 3000; i++)
        quantile_observe(&q, 50);
    assert_in_range(quantile_get(&q), 49, 55);
}

/* One that lost was at least so slow: else a deployment that always loses would look as fast as it
 * is when it does not. */
static void f17_what_is_cut_off_counts_as_more(void **state)
{
    (void)state;
    struct quantile q = {0};
    for (int i = 0; i < 200; i++)
        quantile_observe(&q, 100);
    const uint32_t before = quantile_get(&q);
    for (int i = 0; i < 20; i++)
        quantile_observe_above(&q, quantile_get(&q) + 1);
    assert_true(quantile_get(&q) > before + before / 2);
    const uint32_t at = quantile_get(&q);
    quantile_observe_above(&q, at / 2); /* Says nothing. */
    assert_int_equal(quantile_get(&q), at);
}

static void extremes_stay_in_range(void **state)
{
    (void)state;
    struct quantile q = {0};
    for (int i = 0; i < 100000; i++)
        quantile_observe(&q, UINT32_MAX);
    for (int i = 0; i < 100000; i++)
        quantile_observe_above(&q, UINT32_MAX);
    assert_int_equal(quantile_get(&q), UINT32_MAX);
    for (int i = 0; i < 100000; i++)
        quantile_observe(&q, 0);
    assert_int_equal(quantile_get(&q), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(f17_nothing_is_said_before_enough_was_seen),
        cmocka_unit_test(f17_one_in_twenty_is_above),
        cmocka_unit_test(f17_it_follows_a_deployment_that_becomes_slower_or_faster),
        cmocka_unit_test(f17_what_is_cut_off_counts_as_more),
        cmocka_unit_test(extremes_stay_in_range),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
