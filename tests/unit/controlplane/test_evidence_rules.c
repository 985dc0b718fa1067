#include <math.h>
#include <stdlib.h>

#include "common/route/artifact.h"
#include "common/route/policy.h"
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

/* By way of the report, as it is when somebody asks. */
static double stability(double *before, uint32_t before_count, double *after, uint32_t after_count)
{
    struct reference r;
    reference_make(before, before_count, &r);
    json_t *json = reference_json(&r);
    assert_int_equal(reference_read(json, &r), 0);
    json_decref(json);
    return drift_stability(&r, after, after_count);
}

static void what_is_no_reference_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "{}",
        "{\"rows\":5,\"limits\":[],\"shares\":[]}",
        "{\"rows\":5,\"limits\":[1],\"shares\":[1,2]}",
        "{\"rows\":5,\"limits\":[1],\"shares\":[2]}",
        "{\"rows\":0,\"limits\":[1],\"shares\":[1]}",
        "{\"rows\":5,\"limits\":[\"1\"],\"shares\":[1]}",
        "{\"rows\":5,\"limits\":[1,2,3,4,5,6,7,8,9,10,11],\"shares\":[1,0,0,0,0,0,0,0,0,0,0]}",
    };
    struct reference r;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        json_t *json = json_loads(bad[i], 0, NULL);
        assert_int_equal(reference_read(json, &r), ERR_INVALID);
        json_decref(json);
    }
    reference_make(NULL, 0, &r);
    assert_true(isnan(reference_index(&r, NULL, 0)));
}

static void others_requests_move_the_stability_index(void **state)
{
    (void)state;
    static double before[2000], after[2000];
    for (unsigned i = 0; i < 2000; i++) {
        before[i] = uniform();
        after[i] = uniform();
    }
    assert_true(stability(before, 2000, after, 2000) < .03);
    for (unsigned i = 0; i < 2000; i++)
        after[i] = sqrt(uniform());
    assert_true(stability(before, 2000, after, 2000) > DRIFT_PSI_MAX);
    /* A feature that is 0 or 1. */
    for (unsigned i = 0; i < 2000; i++) {
        before[i] = i % 10 == 0;
        after[i] = i % 10 == 1;
    }
    assert_true(stability(before, 2000, after, 2000) < .001);
    for (unsigned i = 0; i < 2000; i++)
        after[i] = i % 2;
    assert_true(stability(before, 2000, after, 2000) > DRIFT_PSI_MAX);
    for (unsigned i = 0; i < 2000; i++)
        before[i] = after[i] = 1;
    assert_near(stability(before, 2000, after, 2000), 0, 1e-9);
    assert_true(isnan(stability(before, 10, after, 2000)));
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

static void how_much_is_explored_follows_the_labels(void **state)
{
    (void)state;
    const uint32_t two = POLICY_EXPLORE_LOW;
    const uint32_t five = POLICY_EXPLORE_HIGH;
    assert_int_equal(policy_explore_cap(five, 0, 0), two);
    assert_int_equal(policy_explore_cap(five, 99, 99), two);
    assert_int_equal(policy_explore_cap(five, 100, 0), five);
    assert_int_equal(policy_explore_cap(five, 999, 400), five);
    assert_int_equal(policy_explore_cap(five, 5000, 99), five); /* One model is not known yet. */
    assert_int_equal(policy_explore_cap(five, 5000, 100), two);
    assert_int_equal(policy_explore_cap(two / 2, 500, 0), two / 2);
    assert_int_equal(policy_explore_cap(0, 500, 0), 0);
    assert_int_equal(policy_explore_cap(UINT32_MAX, 0, 0), UINT32_MAX);
}

static void an_empty_account_stops_exploration_until_half_of_it_is_free(void **state)
{
    (void)state;
    struct explore_account a = {.requests = 1000, .spend = 100, .extra = 1.9, .share = .02};
    assert_int_equal(pace_explore(&a, 77, 77), 77);
    a.extra = 2.1;
    assert_int_equal(pace_explore(&a, 77, 77), 0);
    a.extra = 1.9;
    assert_int_equal(pace_explore(&a, 77, 0), 0);
    a.extra = 1;
    assert_int_equal(pace_explore(&a, 77, 0), 77);
    a.extra = 50;
    a.requests = EXPLORE_REQUESTS_MIN - 1;
    assert_int_equal(pace_explore(&a, 77, 77), 77);
    a.requests = 1000;
    a.share = 0;
    assert_int_equal(pace_explore(&a, 77, 77), 0);
}

/* Ten days of traffic by hours, some of it explored at `ratio` times the price of the greedy
 * choice, looked at every five minutes as the control plane does. Returns the part of the last nine
 * days' spend that exploring added; *out_explored: the part of requests that explored. */
static double play_account(double ratio, uint32_t a_tick, double *out_explored)
{
    enum { TICKS_AN_HOUR = 12, HOURS = 240 };
    double spend[HOURS] = {0}, extra[HOURS] = {0}, requests[HOURS] = {0}, others[HOURS] = {0};
    double spent = 0, added = 0, explored = 0, asked = 0;
    uint32_t cap = POLICY_EXPLORE_LOW;
    for (int tick = 0; tick < HOURS * TICKS_AN_HOUR; tick++) {
        int hour = tick / TICKS_AN_HOUR;
        for (uint32_t i = 0; i < a_tick; i++) {
            bool other = uniform() * UINT32_MAX < cap;
            double cost = .5 + uniform(); /* Of the greedy choice. */
            spend[hour] += other ? ratio * cost : cost;
            extra[hour] += other ? (ratio - 1) * cost : 0;
            requests[hour]++;
            others[hour] += other;
            if (hour < 24)
                continue;
            spent += other ? ratio * cost : cost;
            added += other ? (ratio - 1) * cost : 0;
            explored += other;
            asked++;
        }
        struct explore_account day = {.share = .02};
        for (int h = hour; h >= 0 && h > hour - 24; h--) {
            day.spend += spend[h];
            day.extra += extra[h];
            day.requests += (uint64_t)requests[h];
            day.explored += (uint64_t)others[h];
        }
        cap = pace_explore(&day, policy_explore_cap(POLICY_EXPLORE_HIGH, 500, 0), cap);
    }
    *out_explored = explored / asked;
    return added / spent;
}

static void exploring_adds_no_more_than_its_share_of_spend(void **state)
{
    (void)state;
    static const double ratios[] = {1.1, 1.5, 3, 10, 40};
    for (size_t i = 0; i < sizeof ratios / sizeof ratios[0]; i++) {
        double explored;
        double share = play_account(ratios[i], 60, &explored);
        assert_true(share <= .02);
        if (ratios[i] < 1.3) /* Cheap enough never to be stopped. */
            assert_near(explored, .05, .003);
        else /* And it is used, not merely off. */
            assert_true(share > .009);
    }
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
        cmocka_unit_test(what_is_no_reference_is_refused),
        cmocka_unit_test(others_requests_move_the_stability_index),
        cmocka_unit_test(an_offset_moves_quality_by_the_bias_and_no_further_than_one),
        cmocka_unit_test(lambda_follows_the_spend_within_its_envelope),
        cmocka_unit_test(the_loop_settles),
        cmocka_unit_test(how_much_is_explored_follows_the_labels),
        cmocka_unit_test(an_empty_account_stops_exploration_until_half_of_it_is_free),
        cmocka_unit_test(exploring_adds_no_more_than_its_share_of_spend),
        cmocka_unit_test(training_waits_for_labels_and_hours_or_drift),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
