#include "dataplane/upstream/endpoint.h"

#include "tests/lib/fault.h"

static void b41_a_running_cooldown_is_never_shortened(void **state)
{
    (void)state;
    struct endpoint_shared shared = {0};
    struct endpoint e;
    endpoint_init(&e, &shared);
    endpoint_cool(&e, 5000, true, 1000);
    endpoint_cool(&e, 1000, true, 1000);
    assert_int_equal(endpoint_cooldown_ms(&e, 1000), 5000);
    endpoint_cool(&e, 9000, true, 1000);
    assert_int_equal(endpoint_cooldown_ms(&e, 1000), 9000);
    assert_false(endpoint_usable(&e, 9999));
    assert_true(endpoint_usable(&e, 10000));
}

static void f13_a_cooled_deployment_is_refused_even_when_breakers_are_ignored(void **state)
{
    (void)state;
    struct endpoint_shared shared = {0};
    struct endpoint e;
    endpoint_init(&e, &shared);
    endpoint_cool(&e, 100, true, 1000);
    assert_false(endpoint_take(&e, true, 1050));
    assert_true(endpoint_take(&e, false, 1100));
    assert_int_equal(e.inflight, 1);
    endpoint_done(&e, ENDPOINT_OK, 1200);
    assert_int_equal(e.inflight, 0);
}

static void a_cooldown_seen_by_one_worker_holds_for_all(void **state)
{
    (void)state;
    struct endpoint_registry *r = endpoint_registry_create();
    struct endpoint_table a, b;
    endpoint_table_init(&a, r);
    endpoint_table_init(&b, r);
    struct endpoint *ea = endpoint_table_get(&a, STR("p"), STR("m"));
    struct endpoint *eb = endpoint_table_get(&b, STR("p"), STR("m"));
    assert_non_null(ea);
    assert_true(ea != eb);
    assert_ptr_equal(ea->shared, eb->shared);
    assert_ptr_equal(endpoint_table_get(&a, STR("p"), STR("m")), ea);
    endpoint_cool(ea, 100, true, 1000);
    assert_false(endpoint_usable(eb, 1001));
    endpoint_table_deinit(&a);
    endpoint_table_deinit(&b);
    endpoint_registry_destroy(r);
}

static void averages_move_towards_samples_and_fall_back_to_the_overall_one(void **state)
{
    (void)state;
    struct endpoint_shared shared = {0};
    struct endpoint e;
    endpoint_init(&e, &shared);
    struct endpoint_latency l = endpoint_estimate(&e, 100);
    assert_int_equal(l.ttft_ms, 0);
    endpoint_observe(&e, 100, 800, 11, 1000);
    l = endpoint_estimate(&e, 100);
    assert_int_equal(l.ttft_ms, 800);
    assert_int_equal(l.tpot_us, 100000);
    endpoint_observe(&e, 100, 0, 0, 0);
    assert_int_equal(endpoint_estimate(&e, 100).ttft_ms, 700);
    l = endpoint_estimate(&e, 100000); /* Another bucket has only the overall value. */
    assert_int_equal(l.ttft_ms, 700);
    for (int i = 0; i < 2000; i++)
        endpoint_observe(&e, 100, 3, 0, 0);
    assert_int_equal(endpoint_estimate(&e, 100).ttft_ms, 3);
}

static void token_buckets_are_logarithmic_and_bounded(void **state)
{
    (void)state;
    assert_int_equal(endpoint_bucket(0), 0);
    assert_int_equal(endpoint_bucket(1), 0);
    assert_int_equal(endpoint_bucket(2), 1);
    assert_int_equal(endpoint_bucket(1023), 9);
    assert_int_equal(endpoint_bucket(1024), 10);
    assert_int_equal(endpoint_bucket(UINT32_MAX), ENDPOINT_BUCKETS - 1);
}

static void f30_the_table_survives_each_failed_allocation(void **state)
{
    (void)state;
    bool fired = true;
    for (unsigned n = 0; fired; n++) {
        fault_arm_alloc(n);
        struct endpoint_registry *r = endpoint_registry_create();
        if (r != NULL) {
            struct endpoint_table t;
            endpoint_table_init(&t, r);
            struct endpoint *e = endpoint_table_get(&t, STR("p"), STR("m"));
            fired = fault_disarm();
            assert_true((e == NULL) == fired);
            endpoint_table_deinit(&t);
        } else {
            fired = fault_disarm();
            assert_true(fired);
        }
        endpoint_registry_destroy(r);
    }
}

static void the_text_of_a_fingerprint_is_told_once_a_day(void **state)
{
    (void)state;
    struct endpoint_shared shared = {.cooldown_until_ms = 0};
    struct endpoint e;
    endpoint_init(&e, &shared);
    assert_false(endpoint_print_is_told(&e, 7, 5));
    for (uint64_t print = 1; print <= ENDPOINT_PRINTS; print++)
        endpoint_print_told(&e, print, 5);
    for (uint64_t print = 1; print <= ENDPOINT_PRINTS; print++)
        assert_true(endpoint_print_is_told(&e, print, 86400000));
    assert_false(endpoint_print_is_told(&e, 1, 86400005));
    endpoint_print_told(&e, 1, 86400005); /* In the same place. */
    assert_true(endpoint_print_is_told(&e, 1, 86400006));
    assert_true(endpoint_print_is_told(&e, 2, 86400004));
    endpoint_print_told(&e, 99, 10); /* One more: the first of them goes. */
    assert_true(endpoint_print_is_told(&e, 99, 11));
    assert_false(endpoint_print_is_told(&e, 1, 86400006));
    assert_true(endpoint_print_is_told(&e, 2, 11));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(b41_a_running_cooldown_is_never_shortened),
        cmocka_unit_test(f13_a_cooled_deployment_is_refused_even_when_breakers_are_ignored),
        cmocka_unit_test(a_cooldown_seen_by_one_worker_holds_for_all),
        cmocka_unit_test(averages_move_towards_samples_and_fall_back_to_the_overall_one),
        cmocka_unit_test(token_buckets_are_logarithmic_and_bounded),
        cmocka_unit_test(the_text_of_a_fingerprint_is_told_once_a_day),
        cmocka_unit_test(f30_the_table_survives_each_failed_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
