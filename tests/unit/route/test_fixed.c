#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/base/checked.h"
#include "common/route/fixed.h"
#include "tests/unit/route/fixture.h"

__extension__ typedef unsigned __int128 u128;

static void floor_shift_rounds_towards_minus_infinity(void **state)
{
    (void)state;
    assert_int_equal(floor_shift_i64(7, 1), 3);
    assert_int_equal(floor_shift_i64(-7, 1), -4);
    assert_int_equal(floor_shift_i64(-1, 40), -1);
    assert_int_equal(floor_shift_i64(-8, 3), -1);
    assert_int_equal(floor_shift_i64(-9, 3), -2);
    assert_int_equal(floor_shift_i64(INT64_MIN, 63), -1);
    assert_int_equal(floor_shift_i64(INT64_MIN, 0), INT64_MIN);
    assert_int_equal(floor_shift_i64(0, 5), 0);
}

static void the_inverse_root_table_is_rounded_to_nearest(void **state)
{
    (void)state;
    assert_int_equal(fixed_rsqrt[0], 0);
    for (uint64_t n = 1; n <= FIXED_RSQRT_MAX; n++) {
        uint64_t t = fixed_rsqrt[n]; /* (t - 1/2)^2 <= 2^30 / n < (t + 1/2)^2 */
        assert_true((2 * t - 1) * (2 * t - 1) * n <= UINT64_C(1) << 32);
        assert_true((2 * t + 1) * (2 * t + 1) * n > UINT64_C(1) << 32);
    }
}

/* Squares x in Q62 and keeps Q62: floor, which only narrows the interval checked below. */
static void the_exp2_table_is_rounded_to_nearest(void **state)
{
    (void)state;
    assert_int_equal(fixed_exp2_table[0], 1U << 30);
    assert_int_equal(fixed_exp2_table[256], 1U << 31);
    for (unsigned i = 1; i < 256; i++) {
        /* (t +- 1)^256 brackets 2^i * 2^(30*256); eight squarings in long double suffice for it. */
        long double low = ((long double)fixed_exp2_table[i] - 0.6L) / (1U << 30);
        long double high = ((long double)fixed_exp2_table[i] + 0.6L) / (1U << 30);
        for (unsigned s = 0; s < 8; s++) {
            low *= low;
            high *= high;
        }
        long double target = 1;
        for (unsigned s = 0; s < i; s++)
            target *= 2;
        assert_true(low < target && high > target);
    }
    for (unsigned i = 1; i < 257; i++)
        assert_true(fixed_exp2_table[i] > fixed_exp2_table[i - 1]);
}

static void the_log2_table_inverts_the_exp2_table(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 256; i++) {
        uint64_t mantissa = (256 + (uint64_t)i) << 22; /* 1 + i/256 in Q30 */
        unsigned k = fixed_log2_table[i];
        /* Half a step of the exponent is a factor of 2^(1/512) < 1.00136. */
        assert_true(mantissa * 1000000 <= (uint64_t)fixed_exp2_table[k] * 1001360);
        assert_true(mantissa * 1001360 >= (uint64_t)fixed_exp2_table[k] * 1000000);
    }
    assert_int_equal(fixed_log2p1_q8(0), 0);
    assert_int_equal(fixed_log2p1_q8(1), 256);
    assert_int_equal(fixed_log2p1_q8(2), 406); /* log2 3 = 1.58496 */
    assert_int_equal(fixed_log2p1_q8(255), 2048);
    assert_int_equal(fixed_log2p1_q8(UINT64_MAX), 16384);
    for (uint64_t v = 1, last = 0; v < UINT64_C(1) << 40; v += 1 + v / 7) {
        assert_true(fixed_log2p1_q8(v) >= last);
        last = fixed_log2p1_q8(v);
    }
}

static void exp2_gives_whole_tokens_within_its_limits(void **state)
{
    (void)state;
    assert_int_equal(fixed_exp2_u32(INT64_MIN, 9), 1);
    assert_int_equal(fixed_exp2_u32(0, 9), 1);
    assert_int_equal(fixed_exp2_u32(10 * 65536, UINT32_MAX), 1024);
    assert_int_equal(fixed_exp2_u32(10 * 65536, 1000), 1000);
    assert_int_equal(fixed_exp2_u32(15 * 32768, UINT32_MAX), 181); /* 2^7.5 = 181.02 */
    assert_int_equal(fixed_exp2_u32(31 * 65536 - 1, UINT32_MAX), 2147460965);
    assert_int_equal(fixed_exp2_u32(INT64_MAX, 77), 77);
    for (int64_t x = 0, last = 0; x < 31 * 65536; x += 61) {
        assert_true(fixed_exp2_u32(x, UINT32_MAX) >= last);
        last = fixed_exp2_u32(x, UINT32_MAX);
    }
    assert_int_equal(fixed_exp2_neg_q30(0), 1U << 30);
    assert_int_equal(fixed_exp2_neg_q30(-65536), 1U << 29);
    assert_int_equal(fixed_exp2_neg_q30(-31 * 65536), 0);
    assert_int_equal(fixed_exp2_neg_q30(-30 * 65536), 1);
    assert_int_equal(fixed_exp2_neg_q30(INT64_MIN), 0);
}

static void the_logistic_curve_is_symmetric_and_inverted(void **state)
{
    (void)state;
    assert_int_equal(fixed_logistic_q16(0), 32768);
    assert_int_equal(fixed_logistic_q16(65536), 47911); /* .731059 * 65536 = 47910.7 */
    assert_int_equal(fixed_logistic_q16(INT32_MAX), 65536);
    assert_int_equal(fixed_logistic_q16(INT32_MIN), 0);
    for (int32_t x = 0; x < 700000; x += 331)
        assert_int_equal(fixed_logistic_q16(x) + fixed_logistic_q16(-x), 65536);
    for (uint32_t q = 0; q <= 65536; q += 13) {
        uint32_t back = fixed_logistic_q16(fixed_logit_q16(q));
        uint32_t clipped = q < 1311 ? 1311 : q > 64225 ? 64225 : q;
        assert_true(back - clipped + 2 <= 4);
    }
}

static void class_probabilities_sum_to_exactly_one(void **state)
{
    (void)state;
    struct random r = {6};
    uint32_t p[32];
    for (unsigned i = 0; i < 5000; i++) {
        int32_t score[32];
        uint32_t count = 1 + random_below(&r, 32), sum = 0;
        int64_t span = i % 3 == 0 ? INT32_MAX : 200000;
        for (uint32_t t = 0; t < count; t++)
            score[t] = (int32_t)random_between(&r, -span, span);
        fixed_softmax2_q16(score, count, p);
        for (uint32_t t = 0; t < count; t++) {
            sum += p[t];
            for (uint32_t k = 0; k < t; k++)
                assert_true(score[t] <= score[k] || p[t] >= p[k]);
        }
        assert_int_equal(sum, 65536);
    }
    fixed_softmax2_q16((const int32_t[]){65536, 0}, 2, p); /* 2 : 1 */
    assert_int_equal(p[0], 43691);
    assert_int_equal(p[1], 21845);
    fixed_softmax2_q16((const int32_t[]){5, 5, 5}, 3, p);
    assert_int_equal(p[0], 21846);
    assert_int_equal(p[2], 21845);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(floor_shift_rounds_towards_minus_infinity),
        cmocka_unit_test(the_inverse_root_table_is_rounded_to_nearest),
        cmocka_unit_test(the_exp2_table_is_rounded_to_nearest),
        cmocka_unit_test(the_log2_table_inverts_the_exp2_table),
        cmocka_unit_test(exp2_gives_whole_tokens_within_its_limits),
        cmocka_unit_test(the_logistic_curve_is_symmetric_and_inverted),
        cmocka_unit_test(class_probabilities_sum_to_exactly_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
