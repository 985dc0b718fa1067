#include <math.h>
#include <string.h>

#include "common/route/score.h"
#include "controlplane/learn/calibrate.h"
#include "tests/lib/fault.h"

#define assert_near(a, b, most) assert_true(fabs((double)(a) - (double)(b)) <= (most))

#define LABELS 600

/* Labels whose true chance is logistic(slope * z + shift), spread evenly. */
static void make_labels(struct calibrate_label *out, double slope, double shift)
{
    double owed = 0.5;
    for (unsigned i = 0; i < LABELS; i++) {
        double z = (double)i / LABELS * 6 - 3;
        owed += 1 / (1 + exp(-(slope * z + shift)));
        out[i] = (struct calibrate_label){
            .z = (int32_t)(z * 65536), .score = owed >= 1 ? 1 : 0, .weight = 1};
        owed -= owed >= 1 ? 1 : 0;
    }
}

static void assert_monotone(const struct artifact_calib *c)
{
    assert_in_range(c->count, 1, ARTIFACT_KNOTS_MAX);
    for (uint32_t k = 1; k < c->count; k++) {
        assert_true(c->z[k] > c->z[k - 1]);
        assert_true(c->q[k] >= c->q[k - 1]);
    }
    assert_true(c->q[c->count - 1] <= 65536);
}

static void every_method_is_monotone_and_close_to_the_truth(void **state)
{
    (void)state;
    struct calibrate_label labels[LABELS];
    for (int m = CALIBRATE_PLATT; m <= CALIBRATE_ISOTONIC; m++) {
        struct artifact_calib c;
        make_labels(labels, 0.5, -1);
        assert_int_equal(calibrate_fit((enum calibrate_method)m, labels, LABELS, &c), 0);
        assert_monotone(&c);
        double at_one = score_calibrate(&c, 65536) / 65536.0;
        assert_near(at_one, 1 / (1 + exp(.5)), .06);
    }
}

static void backward_scores_become_a_constant(void **state)
{
    (void)state;
    struct calibrate_label labels[LABELS];
    for (int m = CALIBRATE_PLATT; m <= CALIBRATE_ISOTONIC; m++) {
        struct artifact_calib c;
        make_labels(labels, -2, 0);
        assert_int_equal(calibrate_fit((enum calibrate_method)m, labels, LABELS, &c), 0);
        assert_monotone(&c);
        uint32_t low = score_calibrate(&c, -3 * 65536);
        uint32_t high = score_calibrate(&c, 3 * 65536);
        assert_true(high - low < 0.1 * 65536);
    }
}

static void the_number_of_labels_says_what_is_allowed(void **state)
{
    (void)state;
    assert_int_equal(calibrate_allowed(0), CALIBRATE_IDENTITY);
    assert_int_equal(calibrate_allowed(49), CALIBRATE_IDENTITY);
    assert_int_equal(calibrate_allowed(50), CALIBRATE_PLATT);
    assert_int_equal(calibrate_allowed(200), CALIBRATE_ISOTONIC);
}

static void constant_and_missing_labels_still_give_a_curve(void **state)
{
    (void)state;
    struct calibrate_label labels[LABELS];
    struct artifact_calib c;
    make_labels(labels, 1, 0);
    for (unsigned i = 0; i < LABELS; i++) {
        labels[i].score = 1;
        labels[i].z = 5;
    }
    for (int m = CALIBRATE_IDENTITY; m <= CALIBRATE_ISOTONIC; m++) {
        assert_int_equal(calibrate_fit((enum calibrate_method)m, labels, LABELS, &c), 0);
        assert_monotone(&c);
        assert_int_equal(calibrate_fit((enum calibrate_method)m, labels, 0, &c), 0);
        assert_monotone(&c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_method_is_monotone_and_close_to_the_truth),
        cmocka_unit_test(backward_scores_become_a_constant),
        cmocka_unit_test(the_number_of_labels_says_what_is_allowed),
        cmocka_unit_test(constant_and_missing_labels_still_give_a_curve),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
