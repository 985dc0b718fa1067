#include <math.h>

#include "controlplane/learn/frontier.h"
#include "tests/lib/fault.h"

#define assert_near(a, b, most) assert_true(fabs((double)(a) - (double)(b)) <= (most))

static void the_published_hull_and_area_come_out(void **state)
{
    (void)state;
    struct frontier_point p[] = {{1, .5, 0}, {2, .6, 1}, {3, .55, 2}, {4, .9, 3}};
    uint32_t n = frontier_hull(p, 4);
    assert_int_equal(n, 2);
    assert_int_equal(p[0].tag, 0);
    assert_int_equal(p[1].tag, 3);
    assert_near(frontier_aiq(p, n, 1, 4), .7, 1e-12);
    assert_near(frontier_aiq(p, n, 1, 7), .8, 1e-12); /* Flat to the right. */
}

static void a_hull_ends_at_the_best_point(void **state)
{
    (void)state;
    struct frontier_point p[] = {{1, .5, 0}, {1, .7, 1}, {2, .9, 2}, {5, .8, 3}};
    uint32_t n = frontier_hull(p, 4);
    assert_int_equal(n, 2);
    assert_int_equal(p[0].tag, 1);
    assert_near(frontier_cost_at(p, n, .8), 1.5, 1e-12);
    assert_near(frontier_quality_at(p, n, 1.5), .8, 1e-12);
    assert_true(isnan(frontier_cost_at(p, n, .95)));
    assert_true(isnan(frontier_quality_at(p, n, .5)));
    assert_near(frontier_cost_at(p, n, .1), 1, 1e-12);
}

static void no_points_have_no_curve(void **state)
{
    (void)state;
    struct frontier_point p[1] = {{0}};
    assert_int_equal(frontier_hull(p, 0), 0);
    assert_true(isnan(frontier_aiq(p, 0, 0, 1)));
    assert_int_equal(frontier_hull(p, 1), 1);
}

static void apgr_is_one_half_for_no_knowledge_and_more_for_some(void **state)
{
    (void)state;
    double same[4] = {1, 1, 1, 1};
    double strong[4] = {1, 1, 1, 0};
    double weak[4] = {0, 1, 0, 0};
    assert_near(frontier_apgr(same, strong, weak, 4), .5, 1e-12);
    double gain[4] = {.1, .2, .9, .8};
    double strong2[4] = {1, 0, 1, 1};
    double weak2[4] = {1, 0, 0, 0};
    /* Both gains come first: quality 1, 2, 3, 3, 3 of 4 over the cuts. */
    assert_near(frontier_apgr(gain, strong2, weak2, 4), .75, 1e-12);
    assert_true(isnan(frontier_apgr(gain, weak2, weak2, 4)));
    assert_true(isnan(frontier_apgr(gain, strong2, weak2, 0)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_published_hull_and_area_come_out),
        cmocka_unit_test(a_hull_ends_at_the_best_point),
        cmocka_unit_test(no_points_have_no_curve),
        cmocka_unit_test(apgr_is_one_half_for_no_knowledge_and_more_for_some),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
