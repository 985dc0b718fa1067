#include <math.h>

#include "controlplane/learn/estimate.h"
#include "tests/lib/fault.h"

#define assert_near(a, b, most) assert_true(fabs((double)(a) - (double)(b)) <= (most))

static struct estimate_options options_of(double tau, uint32_t bootstraps)
{
    struct estimate_options options;
    estimate_options_init(&options);
    options.tau = tau;
    options.bootstraps = bootstraps;
    return options;
}

static void the_published_vectors_come_out(void **state)
{
    (void)state;
    const struct estimate_row rows[] = {
        {.unit = 1,
         .propensity = .5,
         .label_prob = 1,
         .labelled = true,
         .reward = 1,
         .target = .9,
         .model = .6,
         .direct = .9 * .6 + .1 * .4},
        {.unit = 2,
         .propensity = .8,
         .label_prob = 1,
         .labelled = true,
         .reward = 0,
         .target = .7,
         .model = .2,
         .direct = .3 * .5 + .7 * .2},
    };
    struct estimate_options options = options_of(1, 0);
    struct estimate e;
    assert_int_equal(estimate_policy(rows, 2, &options, &e), 0);
    assert_near(e.of[ESTIMATE_IPS].value, .9, 1e-9);
    assert_near(e.of[ESTIMATE_SNIPS].value, .672897, 1e-6);
    assert_near(e.of[ESTIMATE_DM].value, .435, 1e-9);
    assert_near(e.of[ESTIMATE_DR].value, .7075, 1e-9);
    assert_near(e.of[ESTIMATE_SWITCH].value, .3475, 1e-9);
    assert_near(e.ess, 1.786394, 1e-6);
    assert_false(e.support);
    assert_int_equal(e.trusted, ESTIMATE_DM);
}

static void a_row_that_could_not_have_been_chosen_is_refused(void **state)
{
    (void)state;
    struct estimate_options options = options_of(10, 0);
    struct estimate e;
    struct estimate_row bad = {.label_prob = 1, .labelled = true, .reward = 1, .target = 1};
    assert_int_equal(estimate_policy(&bad, 1, &options, &e), ERR_INVALID);
    assert_int_equal(estimate_policy(&bad, 0, &options, &e), ERR_INVALID);
    bad.propensity = .5;
    assert_int_equal(estimate_policy(&bad, 1, &options, &e), 0);
    bad.label_prob = 1.5;
    assert_int_equal(estimate_policy(&bad, 1, &options, &e), ERR_INVALID);
    bad.label_prob = 1;
    bad.reward = NAN;
    assert_int_equal(estimate_policy(&bad, 1, &options, &e), ERR_INVALID);
    bad.labelled = false; /* Then its reward is not read. */
    assert_int_equal(estimate_policy(&bad, 1, &options, &e), 0);
}

static void fill(struct estimate_row *rows, unsigned count, unsigned per_unit)
{
    for (unsigned i = 0; i < count; i++)
        rows[i] = (struct estimate_row){.unit = i / per_unit,
                                        .propensity = .5,
                                        .label_prob = 1,
                                        .labelled = true,
                                        .reward = i / per_unit % 3 == 0,
                                        .target = i % 2 == 0,
                                        .model = .3,
                                        .direct = .3};
}

static void the_interval_holds_the_mean_and_is_the_same_every_time(void **state)
{
    (void)state;
    struct estimate_row rows[400];
    struct estimate_options options = options_of(10, 500);
    struct estimate a;
    struct estimate b;
    fill(rows, 400, 1);
    assert_int_equal(estimate_policy(rows, 400, &options, &a), 0);
    assert_int_equal(estimate_policy(rows, 400, &options, &b), 0);
    for (int k = 0; k < ESTIMATE_KINDS; k++) {
        assert_true(a.of[k].low <= a.of[k].value && a.of[k].value <= a.of[k].high);
        assert_true(a.of[k].low == b.of[k].low && a.of[k].high == b.of[k].high);
    }
    assert_true(a.of[ESTIMATE_DR].low < a.of[ESTIMATE_DR].high);
    assert_true(a.support);
    assert_int_equal(a.trusted, ESTIMATE_DR);
    assert_int_equal(a.units, 400);
}

/* 20 rows of a conversation say hardly more than one of them. */
static void rows_of_one_unit_widen_the_interval(void **state)
{
    (void)state;
    struct estimate_row rows[1200];
    struct estimate_options options = options_of(10, 500);
    struct estimate alone;
    struct estimate together;
    fill(rows, 1200, 20);
    assert_int_equal(estimate_policy(rows, 1200, &options, &together), 0);
    for (unsigned i = 0; i < 1200; i++)
        rows[i].unit = i;
    assert_int_equal(estimate_policy(rows, 1200, &options, &alone), 0);
    assert_near(alone.of[ESTIMATE_DR].value, together.of[ESTIMATE_DR].value, 1e-12);
    double narrow = alone.of[ESTIMATE_DR].high - alone.of[ESTIMATE_DR].low;
    double wide = together.of[ESTIMATE_DR].high - together.of[ESTIMATE_DR].low;
    assert_true(wide > 2 * narrow);
    assert_int_equal(together.units, 60);
}

static void without_support_the_model_is_trusted_and_one_heavy_unit_is_enough(void **state)
{
    (void)state;
    struct estimate_row rows[1200];
    struct estimate_options options = options_of(10, 0);
    struct estimate e;
    fill(rows, 1200, 100); /* 12 units, each with 8 % of the weight. */
    assert_int_equal(estimate_policy(rows, 1200, &options, &e), 0);
    assert_true(e.ess >= ESTIMATE_ESS_MIN && e.weight_share > ESTIMATE_WEIGHT_MAX);
    assert_false(e.support);
    fill(rows, 1200, 1);
    for (unsigned i = 300; i < 1200; i++) /* ESS of 150. */
        rows[i].target = 0;
    assert_int_equal(estimate_policy(rows, 1200, &options, &e), 0);
    assert_near(e.ess, 150, 1e-9);
    assert_false(e.support);
    assert_int_equal(e.trusted, ESTIMATE_DM);
}

static void labels_asked_for_by_chance_stand_for_those_that_were_not(void **state)
{
    (void)state;
    struct estimate_row rows[1000];
    struct estimate_options options = options_of(10, 0);
    struct estimate e;
    for (unsigned i = 0; i < 1000; i++) {
        /* Half of the rows pay 1 and are labelled one time in ten, half pay 0 and always. */
        bool pays = i < 500;
        rows[i] = (struct estimate_row){.unit = i,
                                        .propensity = .5,
                                        .label_prob = pays ? .1 : 1,
                                        .labelled = !pays || i % 10 == 0,
                                        .reward = pays,
                                        .target = .5,
                                        .model = .25,
                                        .direct = .25};
    }
    assert_int_equal(estimate_policy(rows, 1000, &options, &e), 0);
    assert_near(e.of[ESTIMATE_IPS].value, .5, 1e-9);
    assert_near(e.of[ESTIMATE_SNIPS].value, .5, 1e-9);
    assert_near(e.of[ESTIMATE_DR].value, .5, 1e-9);
    assert_int_equal(e.labelled, 550);
}

/* What tau leaves out may be worth anything within the range of rewards. */
static void what_is_left_out_widens_the_interval(void **state)
{
    (void)state;
    struct estimate_row rows[1000];
    struct estimate_options options = options_of(10, 200);
    struct estimate e;
    fill(rows, 1000, 1);
    for (unsigned i = 0; i < 20; i++) {
        rows[i].propensity = .04; /* w = 25: 5 beyond clip, all of it beyond tau. */
        rows[i].target = 1;
    }
    assert_int_equal(estimate_policy(rows, 1000, &options, &e), 0);
    const struct estimate_value *ips = &e.of[ESTIMATE_IPS];
    const struct estimate_value *cut = &e.of[ESTIMATE_SWITCH];
    assert_true(ips->high - ips->low > 20 * 5 / 1000.0);
    assert_true(cut->high - cut->low > 20 * 25 / 1000.0);
    assert_near(e.cut, 500 / (500 + 980.0), .01);
}

static void estimating_survives_each_failed_allocation(void **state)
{
    (void)state;
    const struct estimate_row rows[2] = {
        {.unit = 1, .propensity = .5, .label_prob = 1, .labelled = true, .reward = 1, .target = 1},
        {.unit = 2, .propensity = .5, .label_prob = 1, .labelled = true, .target = 1}};
    const double values[2] = {1, 2};
    const uint64_t units[2] = {1, 2};
    struct estimate_options options = options_of(10, 10);
    bool fired = true;
    for (unsigned n = 0; fired; n++) {
        struct estimate e;
        struct estimate_value mean;
        fault_arm_alloc(n);
        int rc = estimate_policy(rows, 2, &options, &e);
        if (rc == 0)
            rc = estimate_mean(values, units, 2, 10, .9, &mean);
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
        cmocka_unit_test(rows_of_one_unit_widen_the_interval),
        cmocka_unit_test(without_support_the_model_is_trusted_and_one_heavy_unit_is_enough),
        cmocka_unit_test(labels_asked_for_by_chance_stand_for_those_that_were_not),
        cmocka_unit_test(what_is_left_out_widens_the_interval),
        cmocka_unit_test(estimating_survives_each_failed_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
