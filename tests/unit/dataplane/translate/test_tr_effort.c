#include "dataplane/translate/effort.h"

#include <string.h>

#include "tests/lib/fault.h"

static void names_and_efforts_agree(void **state)
{
    (void)state;
    for (int e = TR_EFFORT_NONE; e <= TR_EFFORT_MAX; e++)
        assert_int_equal(tr_effort_of(str_from(tr_effort_name((enum tr_effort)e))), e);
    assert_int_equal(tr_effort_of(STR("")), TR_EFFORT_UNSET);
    assert_int_equal(tr_effort_of(STR("extreme")), TR_EFFORT_UNSET);
}

static void a_budget_becomes_the_highest_effort_it_pays_for(void **state)
{
    (void)state;
    static const struct {
        int64_t tokens;
        enum tr_effort effort;
    } rows[] = {{-5, TR_EFFORT_NONE},        {0, TR_EFFORT_NONE},     {1, TR_EFFORT_MINIMAL},
                {2047, TR_EFFORT_MINIMAL},   {2048, TR_EFFORT_LOW},   {8191, TR_EFFORT_LOW},
                {8192, TR_EFFORT_MEDIUM},    {16384, TR_EFFORT_HIGH}, {32768, TR_EFFORT_XHIGH},
                {INT64_MAX, TR_EFFORT_XHIGH}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_int_equal(tr_effort_of_budget(rows[i].tokens), rows[i].effort);
}

static void an_effort_that_is_not_there_goes_to_the_nearest_lower(void **state)
{
    (void)state;
    uint32_t usual = TR_EFFORT_BIT(TR_EFFORT_LOW) | TR_EFFORT_BIT(TR_EFFORT_MEDIUM) |
                     TR_EFFORT_BIT(TR_EFFORT_HIGH);
    assert_int_equal(tr_effort_clip(TR_EFFORT_MAX, usual), TR_EFFORT_HIGH);
    assert_int_equal(tr_effort_clip(TR_EFFORT_MEDIUM, usual), TR_EFFORT_MEDIUM);
    assert_int_equal(tr_effort_clip(TR_EFFORT_MINIMAL, usual), TR_EFFORT_LOW);
    assert_int_equal(tr_effort_clip(TR_EFFORT_NONE, usual), TR_EFFORT_LOW);
    assert_int_equal(tr_effort_clip(TR_EFFORT_NONE, usual | TR_EFFORT_BIT(TR_EFFORT_NONE)),
                     TR_EFFORT_NONE);
    assert_int_equal(tr_effort_clip(TR_EFFORT_MINIMAL, usual | TR_EFFORT_BIT(TR_EFFORT_NONE)),
                     TR_EFFORT_LOW);
    assert_int_equal(tr_effort_clip(TR_EFFORT_XHIGH, 0), TR_EFFORT_XHIGH);
    assert_int_equal(tr_effort_clip(TR_EFFORT_UNSET, usual), TR_EFFORT_UNSET);
}

static void a_budget_stays_within_its_bounds_and_below_the_output(void **state)
{
    (void)state;
    assert_int_equal(tr_budget_clip(16384, 1024, 0, TR_UNSET), 16384);
    assert_int_equal(tr_budget_clip(16384, 1024, 8000, TR_UNSET), 8000);
    assert_int_equal(tr_budget_clip(100, 1024, 0, 4096), 1024);
    assert_int_equal(tr_budget_clip(16384, 1024, 0, 4096), 4095);
    assert_int_equal(tr_budget_clip(16384, 1024, 0, 1024), 0); /* No room. */
    assert_int_equal(tr_budget_clip(0, 1024, 0, 4096), 0);
    assert_int_equal(tr_budget_clip(TR_UNSET, 1024, 0, 4096), 0);
}

static void either_way_of_asking_is_read_as_the_other(void **state)
{
    (void)state;
    struct tr_request r = {.effort = TR_EFFORT_HIGH, .think_budget = TR_UNSET};
    assert_int_equal(tr_budget_asked(&r), 16384);
    r = (struct tr_request){.effort = TR_EFFORT_UNSET, .think_budget = 9000};
    assert_int_equal(tr_effort_asked(&r), TR_EFFORT_MEDIUM);
    r = (struct tr_request){.effort = TR_EFFORT_UNSET, .think_budget = TR_UNSET};
    assert_int_equal(tr_effort_asked(&r), TR_EFFORT_UNSET);
    assert_true(tr_budget_asked(&r) == TR_UNSET);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_and_efforts_agree),
        cmocka_unit_test(a_budget_becomes_the_highest_effort_it_pays_for),
        cmocka_unit_test(an_effort_that_is_not_there_goes_to_the_nearest_lower),
        cmocka_unit_test(a_budget_stays_within_its_bounds_and_below_the_output),
        cmocka_unit_test(either_way_of_asking_is_read_as_the_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
