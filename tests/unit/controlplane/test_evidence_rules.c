#include <math.h>
#include <stdlib.h>

#include "common/route/artifact.h"
#include "controlplane/evidence/drift.h"
#include "controlplane/evidence/pace.h"
#include "tests/lib/fault.h"

#define assert_near(a, b, most) assert_true(fabs((double)(a) - (double)(b)) <= (most))

static uint64_t random_state = 7;
static double uniform(void)
{
    uint64_t z = (random_state += 0x9e3779b97f4a7c15U);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
    return (double)((z ^ (z >> 31)) >> 11) * 0x1p-53;
}

/* An hour of labels of a model that is said to be good at q and is at truth. */
static struct drift_hour hour_of(uint32_t labels, double q, double truth)
{
    struct drift_hour hour = {.labels = labels};
    for (uint32_t i = 0; i < labels; i++) {
        hour.residuals += (uniform() < truth ? 1 : 0) - q;
        hour.variances += q * (1 - q);
    }
    return hour;
}

static uint32_t hours_until(uint32_t labels, double q, double truth, uint32_t most,
                            enum drift_verdict wanted, double *out_bias)
{
    struct drift_sums sums = {0};
    double value;
    for (uint32_t h = 1; h <= most; h++) {
        struct drift_hour hour = hour_of(labels, q, truth);
        enum drift_verdict verdict = drift_fold(&sums, &hour, &value, out_bias);
        if (verdict != DRIFT_NONE) {
            assert_true(wanted == DRIFT_NONE || verdict == wanted); /* NONE: either. */
            assert_true(value > DRIFT_BOUND);
            return h;
        }
    }
    return 0;
}

static void a_model_that_became_worse_is_noticed_within_hours(void **state)
{
    (void)state;
    double bias;
    uint32_t hours = hours_until(50, .8, .6, 100, DRIFT_WORSE, &bias);
    assert_in_range(hours, 1, 8);
    assert_near(bias, -.2, .08);
    hours = hours_until(50, .6, .8, 100, DRIFT_BETTER, &bias);
    assert_in_range(hours, 1, 8);
    assert_near(bias, .2, .08);
}

static void a_model_that_is_as_it_was_is_left_alone_for_weeks(void **state)
{
    (void)state;
    double bias;
    unsigned alarms = 0;
    for (unsigned run = 0; run < 50; run++) /* k and h give 465 hours between false ones. */
        alarms += hours_until(50, .8, .8, 24 * 7, DRIFT_NONE, &bias) != 0 ? 1 : 0;
    assert_true(alarms <= 20);
    /* Many labels of a model whose calibration is off by a tolerable hair. */
    for (unsigned run = 0; run < 10; run++)
        assert_int_equal(hours_until(20000, .80, .79, 48, DRIFT_NONE, &bias), 0);
}

static void an_hour_without_labels_says_nothing(void **state)
{
    (void)state;
    const struct drift_hour none = {0};
    const struct drift_hour certain = {.labels = 3, .residuals = -3, .variances = 0};
    assert_near(drift_standardise(&none), 0, 0);
    assert_near(drift_standardise(&certain), -DRIFT_STEP_MAX, 0);
}

static void others_requests_move_the_stability_index(void **state)
{
    (void)state;
    static double before[2000], after[2000];
    for (unsigned i = 0; i < 2000; i++) {
        before[i] = uniform();
        after[i] = uniform();
    }
    assert_true(drift_stability(before, 2000, after, 2000) < .03);
    for (unsigned i = 0; i < 2000; i++)
        after[i] = sqrt(uniform());
    assert_true(drift_stability(before, 2000, after, 2000) > DRIFT_PSI_MAX);
    /* A feature that is 0 or 1. */
    for (unsigned i = 0; i < 2000; i++) {
        before[i] = i % 10 == 0;
        after[i] = i % 10 == 1;
    }
    assert_true(drift_stability(before, 2000, after, 2000) < .001);
    for (unsigned i = 0; i < 2000; i++)
        after[i] = i % 2;
    assert_true(drift_stability(before, 2000, after, 2000) > DRIFT_PSI_MAX);
    for (unsigned i = 0; i < 2000; i++)
        before[i] = after[i] = 1;
    assert_near(drift_stability(before, 2000, after, 2000), 0, 1e-9);
    assert_true(isnan(drift_stability(before, 10, after, 2000)));
}

static void an_offset_moves_quality_by_the_bias_and_no_further_than_one(void **state)
{
    (void)state;
    double z = log(.8 / .2) + drift_offset(.8, -.2);
    assert_near(1 / (1 + exp(-z)), .6, 1e-9);
    assert_near(drift_offset(.9, -.8), -1, 0);
    assert_near(drift_offset(.5, 0), 0, 0);
    assert_true(isfinite(drift_offset(.99, .5)) && isfinite(drift_offset(0, -1)));
}

static void lambda_follows_the_spend_within_its_envelope(void **state)
{
    (void)state;
    const int64_t approved = INT64_C(1000000000);
    struct pace_envelope e = pace_envelope_of(approved);
    assert_int_equal(e.low, approved / 2);
    assert_int_equal(e.high, approved * 2);
    assert_int_equal(pace_lambda(approved, 101, 100, &e), approved); /* Within the dead band. */
    assert_int_equal(pace_lambda(approved, 0, 0, &e), approved);     /* No target. */
    assert_near(pace_lambda(approved, 120, 100, &e), 1e9 * exp(.2 * .2), 2);
    assert_near(pace_lambda(approved, 1e9, 100, &e), 1.1e9, 2); /* Clipped to a tenth. */
    assert_near(pace_lambda(approved, 0, 100, &e), 1e9 * exp(-.1), 2);
    int64_t lambda = approved;
    for (int i = 0; i < 100; i++)
        lambda = pace_lambda(lambda, 1000, 100, &e);
    assert_int_equal(lambda, e.high);
    for (int i = 0; i < 100; i++)
        lambda = pace_lambda(lambda, 1, 100, &e);
    assert_int_equal(lambda, e.low);
    /* A new envelope is gone to by steps. */
    struct pace_envelope higher = pace_envelope_of(approved * 4);
    assert_near(pace_lambda(e.low, 100, 100, &higher), (double)e.low, 0);
    assert_near(pace_lambda(e.low, 50, 100, &higher), (double)e.low * 1.1, 2);
    assert_int_equal(pace_envelope_of(ARTIFACT_LAMBDA_MAX).high, ARTIFACT_LAMBDA_MAX);
}

/* Spend falls as lambda rises: the loop comes to rest near the target and does not swing. */
static void the_loop_settles(void **state)
{
    (void)state;
    struct pace_envelope e = pace_envelope_of(1000000);
    int64_t lambda = 1000000;
    double spend = 0;
    for (int i = 0; i < 200; i++) {
        spend = 130 * pow((double)lambda / 1e6, -.6);
        int64_t next = pace_lambda(lambda, spend, 100, &e);
        assert_true(fabs((double)next / (double)lambda - 1) <= PACE_STEP_MAX + 1e-6);
        lambda = next;
    }
    assert_near(spend, 100, 2.5);
}

static void training_waits_for_labels_and_hours_or_drift(void **state)
{
    (void)state;
    struct retrain_facts f = {.every_s = 21600, .since_s = 21600, .new_labels = 500, .rows = 1000};
    assert_int_equal(retrain_due(&f), RETRAIN_SCHEDULE);
    f.new_labels = 499;
    assert_int_equal(retrain_due(&f), RETRAIN_NOT);
    f.new_labels = 900;
    f.rows = 10000; /* A tenth of them is more. */
    assert_int_equal(retrain_due(&f), RETRAIN_NOT);
    f.drifted = true;
    assert_int_equal(retrain_due(&f), RETRAIN_DRIFT);
    f.since_s = 60;
    assert_int_equal(retrain_due(&f), RETRAIN_NOT);
    f.since_s = 86400;
    f.every_s = 0;
    assert_int_equal(retrain_due(&f), RETRAIN_NOT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_model_that_became_worse_is_noticed_within_hours),
        cmocka_unit_test(a_model_that_is_as_it_was_is_left_alone_for_weeks),
        cmocka_unit_test(an_hour_without_labels_says_nothing),
        cmocka_unit_test(others_requests_move_the_stability_index),
        cmocka_unit_test(an_offset_moves_quality_by_the_bias_and_no_further_than_one),
        cmocka_unit_test(lambda_follows_the_spend_within_its_envelope),
        cmocka_unit_test(the_loop_settles),
        cmocka_unit_test(training_waits_for_labels_and_hours_or_drift),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
