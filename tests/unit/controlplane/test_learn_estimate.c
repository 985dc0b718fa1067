#include <math.h>

#include "controlplane/learn/estimate.h"
#include "tests/lib/fault.h"

#define assert_near(a, b, most) assert_true(fabs((double)(a) - (double)(b)) <= (most))

static void the_published_vectors_come_out(void **state)
{
    (void)state;
    const struct estimate_row rows[] = {
        {.propensity = .5, .reward = 1, .target = .9, .model = .6, .direct = .9 * .6 + .1 * .4},
        {.propensity = .8, .reward = 0, .target = .7, .model = .2, .direct = .3 * .5 + .7 * .2},
    };
    struct estimate e;
    assert_int_equal(estimate_policy(rows, 2, 1, 0, &e), 0);
    assert_near(e.ips, .9, 1e-9);
    assert_near(e.snips, .672897, 1e-6);
    assert_near(e.dm, .435, 1e-9);
    assert_near(e.dr, .7075, 1e-9);
    assert_near(e.switch_dr, .3475, 1e-9);
    assert_near(e.ess, 1.786394, 1e-6);
    assert_false(e.support);
}

static void a_row_that_could_not_have_been_chosen_is_refused(void **state)
{
    (void)state;
    struct estimate e;
    const struct estimate_row impossible = {.propensity = 0, .reward = 1, .target = 1};
    assert_int_equal(estimate_policy(&impossible, 1, 10, 0, &e), ERR_INVALID);
    assert_int_equal(estimate_policy(&impossible, 0, 10, 0, &e), ERR_INVALID);
}

static void the_interval_holds_the_mean_and_is_the_same_every_time(void **state)
{
    (void)state;
    struct estimate_row rows[400];
    struct estimate a;
    struct estimate b;
    for (unsigned i = 0; i < 400; i++)
        rows[i] = (struct estimate_row){.propensity = .5,
                                        .reward = i % 3 == 0,
                                        .target = i % 2 == 0,
                                        .model = .3,
                                        .direct = .3};
    assert_int_equal(estimate_policy(rows, 400, 10, 500, &a), 0);
    assert_int_equal(estimate_policy(rows, 400, 10, 500, &b), 0);
    assert_true(a.dr_low < a.dr && a.dr < a.dr_high);
    assert_true(a.dr_low == b.dr_low && a.dr_high == b.dr_high);
    assert_true(a.support);
}

static void estimating_survives_each_failed_allocation(void **state)
{
    (void)state;
    const struct estimate_row row = {.propensity = 1, .reward = 1, .target = 1};
    bool fired = true;
    for (unsigned n = 0; fired; n++) {
        struct estimate e;
        fault_arm_alloc(n);
        int rc = estimate_policy(&row, 1, 10, 10, &e);
        fired = fault_disarm();
        assert_int_equal(rc, fired ? ERR_NOMEM : 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_published_vectors_come_out),
        cmocka_unit_test(a_row_that_could_not_have_been_chosen_is_refused),
        cmocka_unit_test(the_interval_holds_the_mean_and_is_the_same_every_time),
        cmocka_unit_test(estimating_survives_each_failed_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
