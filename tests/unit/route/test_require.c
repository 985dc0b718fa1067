#include "common/route/require.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <string.h>

#include <cmocka.h>

#include "common/route/policy.h"

static void a_region_admits_itself_and_its_parts_in_any_case(void **state)
{
    (void)state;
    static const struct {
        const char *wanted, *region;
        bool admitted;
    } rows[] = {
        {"eu", "eu", true},
        {"eu", "eu-west-1", true},
        {"EU", "eu-West-1", true},
        {"eu-west", "EU-WEST-3", true},
        {"eu-west-1", "eu-west-1", true},
        {"eu", "europe-west4", false},
        {"eu-west-1", "eu-west-10", false},
        {"eu-west-1", "eu", false}, /* Somewhere in there: it need not be the part. */
        {"us", "eu", false},
        {"us", "", false},
        {"", "eu", false},
        {"", "", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (require_admits(str_from(rows[i].wanted), str_from(rows[i].region)) != rows[i].admitted)
            fail_msg("%s, %s", rows[i].wanted, rows[i].region);
}

static void what_is_not_stated_does_not_hold(void **state)
{
    (void)state;
    static const struct str regions[] = {{"eu", 2}, {"ch", 2}};
    const struct require any = {.regions = NULL};
    const struct require region = {.regions = regions, .region_count = 2};
    const struct require deny = {.data = REQUIRE_NOT_COLLECTED};
    const struct require both = {
        .regions = regions, .region_count = 2, .data = REQUIRE_NOT_KEPT | REQUIRE_NOT_COLLECTED};
    assert_true(require_is_any(&any) && !require_is_any(&region) && !require_is_any(&deny));
    assert_int_equal(require_lacks(&any, STR(""), 0), 0);
    assert_int_equal(require_lacks(&region, STR(""), 3), POLICY_EXCL(REGION));
    assert_int_equal(require_lacks(&region, STR("ch-1"), 0), 0);
    assert_int_equal(require_lacks(&deny, STR("eu"), 0), POLICY_EXCL(PRIVACY_CLASS));
    assert_int_equal(require_lacks(&deny, STR("eu"), REQUIRE_NOT_COLLECTED), 0);
    assert_int_equal(require_lacks(&both, STR("us"), REQUIRE_NOT_COLLECTED),
                     POLICY_EXCL(REGION) | POLICY_EXCL(PRIVACY_CLASS));
    assert_int_equal(require_lacks(&both, STR("eu"), REQUIRE_NOT_COLLECTED | REQUIRE_NOT_KEPT), 0);
}

static void a_demand_of_a_newer_version_is_met_by_nobody(void **state)
{
    (void)state;
    const struct require newer = {.data = 64};
    assert_int_equal(require_lacks(&newer, STR("eu"), REQUIRE_NOT_COLLECTED | REQUIRE_NOT_KEPT),
                     POLICY_EXCL(PRIVACY_CLASS));
}

static void a_deployments_own_word_stands_before_its_providers(void **state)
{
    (void)state;
    const uint32_t all = REQUIRE_NOT_COLLECTED | REQUIRE_NOT_KEPT;
    assert_int_equal(require_data_terms(0, false), 0);
    assert_int_equal(require_data_terms(0, true), all);
    assert_int_equal(require_data_terms(REQUIRE_STATED, true), 0);
    assert_int_equal(require_data_terms(REQUIRE_NOT_KEPT, false), all); /* Kept nowhere: not sold. */
    assert_int_equal(require_data_terms(REQUIRE_STATED | REQUIRE_NOT_COLLECTED, true),
                     REQUIRE_NOT_COLLECTED);
}

static void a_region_is_a_word_with_hyphens_inside(void **state)
{
    (void)state;
    static const char *const good[] = {"eu", "EU-West-1", "1", "us-gov-west-1"};
    static const char *const bad[] = {"", "-eu", "eu-", "eu west", "eu_west", "e\xc3\xbc"};
    char most[REQUIRE_REGION_BYTES_MAX + 1];
    memset(most, 'a', sizeof most);
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        assert_true(require_region_valid(str_from(good[i])));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(require_region_valid(str_from(bad[i])));
    assert_true(require_region_valid((struct str){most, sizeof most - 1}));
    assert_false(require_region_valid((struct str){most, sizeof most}));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_region_admits_itself_and_its_parts_in_any_case),
        cmocka_unit_test(what_is_not_stated_does_not_hold),
        cmocka_unit_test(a_demand_of_a_newer_version_is_met_by_nobody),
        cmocka_unit_test(a_deployments_own_word_stands_before_its_providers),
        cmocka_unit_test(a_region_is_a_word_with_hyphens_inside),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
