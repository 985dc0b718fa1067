#include <math.h>

#include "common/base/rand.h"
#include "controlplane/learn/ece.h"
#include "tests/lib/fault.h"

#define TRIALS 400
#define GATE   0.05 /* As the pipeline's. */

#define assert_near(a, b, most) assert_true(fabs((double)(a) - (double)(b)) <= (most))

static void two_bins_by_hand(void **state)
{
    (void)state;
    struct ece e = {0};
    assert_near(ece_value(&e).error, 0, 0);
    assert_near(ece_value(&e).chance, 0, 0);
    /* Off by 0.75, -0.25 and 0.75, of weight 1, 1 and 2: mean 0.5, variance 0.1875 * 3/2. */
    ece_add(&e, 1, .75, 0);
    ece_add(&e, 1, .75, 1);
    ece_add(&e, 2, .75, 0);
    assert_near(ece_value(&e).error, .5, 1e-12);
    assert_near(ece_value(&e).chance, sqrt(2 / M_PI * .28125 * 6) / 4, 1e-12);
    /* The other way in another bin: what is off there does not make up for it. */
    ece_add(&e, 4, 0, .5);
    assert_near(ece_value(&e).error, (.5 * 4 + .5 * 4) / 8, 1e-12);
}

static void one_label_scatters_as_far_as_it_can(void **state)
{
    (void)state;
    struct ece e = {0};
    ece_add(&e, 3, .5, 1);
    assert_near(ece_value(&e).error, .5, 1e-12);
    assert_near(ece_value(&e).chance, sqrt(2 / M_PI) * .5, 1e-12);
}

static void the_ends_have_bins(void **state)
{
    (void)state;
    struct ece e = {0};
    ece_add(&e, 1, 0, 0);
    ece_add(&e, 1, 1, 1);
    assert_int_equal(e.bins[0].labels, 1);
    assert_int_equal(e.bins[ECE_BINS - 1].labels, 1);
    assert_near(ece_value(&e).error, 0, 0);
    assert_near(ece_value(&e).chance, 0, 0);
}

static double uniform(void)
{
    return (double)(rand_u64() >> 11) * 0x1p-53;
}

struct trials {
    double error, chance;   /* Means. */
    double over, over_less; /* Share above the gate: of the error, and of it without chance. */
};

/* Quality anywhere in [0.2, 0.8]; the truth is `off` less. Scores are 0 or 1, or, with `fine`, near
 * the truth. */
static struct trials play(uint32_t labels, double off, bool fine)
{
    struct trials t = {0};
    for (int i = 0; i < TRIALS; i++) {
        struct ece e = {0};
        for (uint32_t k = 0; k < labels; k++) {
            const double q = .2 + .6 * uniform();
            const double u = uniform();
            const double truth = q - off;
            ece_add(&e, 1, q, fine ? truth + .1 * (u - .5) : u < truth ? 1 : 0);
        }
        const struct ece_value v = ece_value(&e);
        t.error += v.error / TRIALS;
        t.chance += v.chance / TRIALS;
        t.over += (v.error > GATE ? 1. : 0.) / TRIALS;
        t.over_less += (v.error - v.chance > GATE ? 1. : 0.) / TRIALS;
    }
    return t;
}

static void predictions_that_are_right_are_not_taken_for_wrong(void **state)
{
    (void)state;
    static const uint32_t counts[] = {100, 300, 700, 5000};
    rand_seed_thread(1);
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        const struct trials t = play(counts[i], 0, false);
        print_message("%u labels: ECE %.4f, by chance %.4f, over the gate %.3f and %.3f\n",
                      counts[i], t.error, t.chance, t.over, t.over_less);
        assert_near(t.error, t.chance, .06 * t.error);
        assert_true(t.over_less <= (counts[i] < 300 ? .12 : .01));
        assert_true(counts[i] > 300 || t.over > .5); /* What the allowance is for. */
    }
}

static void predictions_that_are_wrong_are_found(void **state)
{
    (void)state;
    rand_seed_thread(2);
    assert_true(play(700, .15, false).over_less > .98);
    assert_true(play(5000, .08, false).over_less > .95);
    assert_true(play(5000, .03, false).over_less < .02);
}

static void scores_that_scatter_less_are_allowed_less(void **state)
{
    (void)state;
    rand_seed_thread(3);
    const struct trials coarse = play(700, 0, false), fine = play(700, 0, true);
    assert_true(fine.chance < coarse.chance / 10);
    assert_near(fine.error, fine.chance, .06 * fine.error);
    assert_true(play(200, .06, true).over_less > .95);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_bins_by_hand),
        cmocka_unit_test(one_label_scatters_as_far_as_it_can),
        cmocka_unit_test(the_ends_have_bins),
        cmocka_unit_test(predictions_that_are_right_are_not_taken_for_wrong),
        cmocka_unit_test(predictions_that_are_wrong_are_found),
        cmocka_unit_test(scores_that_scatter_less_are_allowed_less),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
