#include <math.h>

#include "controlplane/learn/crossfit.h"
#include "controlplane/learn/optimism.h"
#include "tests/lib/fault.h"

#define FOLDS 5

#define assert_near(a, b, most) assert_true(fabs((double)(a) - (double)(b)) <= (most))

/* Of a version of all rows: between (FOLDS - 1) / FOLDS and 1 of the folds'. */
static const double share = (FOLDS - 0.5) / FOLDS;

/* policies[g] * questions[f], more by `optimism` on rows that g has not learned from. */
static void fill(const double *policies, const double *questions, double optimism, double *out)
{
    for (uint32_t g = 0; g < FOLDS; g++)
        for (uint32_t f = 0; f < FOLDS; f++)
            out[g * FOLDS + f] = policies[g] * questions[f] * (g == f ? exp(optimism) : 1);
}

static void policies_and_questions_that_differ_are_no_optimism(void **state)
{
    (void)state;
    const double policies[FOLDS] = {.001, .001, .004, .0012, .0009};
    const double questions[FOLDS] = {1, 1.3, .8, 1.1, 2};
    double cost[FOLDS * FOLDS];
    fill(policies, questions, 0, cost);
    struct optimism none = optimism_of_folds(cost, FOLDS);
    assert_near(none.log, 0, 1e-12);
    assert_near(none.error, 0, 1e-12);
    fill(policies, questions, .2, cost);
    struct optimism some = optimism_of_folds(cost, FOLDS);
    assert_near(some.log, .2 * share, 1e-12);
    assert_near(some.error, 0, 1e-12);
    fill(policies, questions, -.1, cost);
    assert_near(optimism_of_folds(cost, FOLDS).log, -.1 * share, 1e-12);
}

static double noise(uint64_t *io_state)
{
    double sum = 0;
    for (int k = 0; k < 12; k++) {
        *io_state = *io_state * 6364136223846793005U + 1442695040888963407U;
        sum += (double)(*io_state >> 11) * 0x1p-53;
    }
    return sum - 6;
}

static void its_error_is_what_it_scatters_by(void **state)
{
    (void)state;
    const double even[FOLDS] = {1, 1, 1, 1, 1};
    const uint32_t runs = 4000;
    uint64_t random = 7;
    double mean = 0;
    double squares = 0;
    double variances = 0;
    for (uint32_t i = 0; i < runs; i++) {
        double cost[FOLDS * FOLDS];
        fill(even, even, .1, cost);
        for (uint32_t k = 0; k < FOLDS * FOLDS; k++)
            cost[k] *= exp(.05 * noise(&random));
        struct optimism o = optimism_of_folds(cost, FOLDS);
        mean += o.log / runs;
        squares += o.log * o.log / runs;
        variances += o.error * o.error / runs;
    }
    assert_near(mean, .1 * share, .002);
    assert_near(sqrt(squares - mean * mean), .05 * share / sqrt(FOLDS - 1), .001);
    /* And the version itself is one more policy. */
    assert_near(sqrt(variances), .05 * share * sqrt(1.0 / (FOLDS - 1) + 1), .001);
}

static void what_cannot_be_said_is_nothing(void **state)
{
    (void)state;
    double cost[4] = {1.2, 1, 1, 1.2};
    struct optimism two = optimism_of_folds(cost, 2);
    assert_near(two.log, log(1.2) * .75, 1e-12);
    assert_near(two.error, two.log, 1e-12);
    cost[1] = 0;
    two = optimism_of_folds(cost, 2);
    assert_true(two.log == 0 && two.error == 0);
    cost[1] = NAN;
    assert_true(optimism_of_folds(cost, 2).log == 0);
    assert_true(optimism_of_folds(cost, 1).log == 0);
    assert_true(optimism_of_folds(cost, CROSSFIT_FOLDS_MAX + 1).log == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(policies_and_questions_that_differ_are_no_optimism),
        cmocka_unit_test(its_error_is_what_it_scatters_by),
        cmocka_unit_test(what_cannot_be_said_is_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
