/* Which threshold lets a share of leads pass. */
#include "controlplane/release/calibrate_run.h"

#include "tests/lib/fault.h"

static uint32_t threshold(const uint32_t *leads, size_t count, uint32_t percent, size_t *reached)
{
    uint32_t copy[16];
    for (size_t i = 0; i < count; i++)
        copy[i] = leads[i];
    return calibrate_threshold(copy, count, percent * 10000, reached);
}

static void a_share_of_different_leads_is_met(void **state)
{
    (void)state;
    static const uint32_t leads[] = {40, 10, 30, 20};
    size_t reached;
    assert_int_equal(threshold(leads, 4, 50, &reached), 30);
    assert_int_equal(reached, 2);
    assert_int_equal(threshold(leads, 4, 100, &reached), 10);
    assert_int_equal(reached, 4);
    assert_int_equal(threshold(leads, 4, 0, &reached), 41);
    assert_int_equal(reached, 0);
}

static void equal_leads_go_together_to_the_nearer_share(void **state)
{
    (void)state;
    static const uint32_t leads[] = {9, 5, 5, 5, 5, 5, 5, 5, 5, 1};
    size_t reached;
    assert_int_equal(threshold(leads, 10, 30, &reached), 9);
    assert_int_equal(reached, 1);
    assert_int_equal(threshold(leads, 10, 60, &reached), 5);
    assert_int_equal(reached, 9);
}

static void above_a_lead_of_one_there_is_no_threshold(void **state)
{
    (void)state;
    static const uint32_t leads[] = {CALIBRATE_ONE, CALIBRATE_ONE};
    size_t reached;
    assert_int_equal(threshold(leads, 2, 0, &reached), CALIBRATE_ONE);
    assert_int_equal(reached, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_share_of_different_leads_is_met),
        cmocka_unit_test(equal_leads_go_together_to_the_nearer_share),
        cmocka_unit_test(above_a_lead_of_one_there_is_no_threshold),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
