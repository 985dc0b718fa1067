#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/checked.h"
#include "common/route/fixed.h"
#include "common/route/score.h"
#include "tests/unit/route/fixture.h"

static const struct {
    uint32_t models, tasks;
} shapes[] = {{1, 0}, {2, 0},  {3, 0},   {4, 0},   {5, 0},  {2, 1},  {8, 0},
              {8, 8}, {9, 31}, {13, 14}, {24, 16}, {40, 0}, {64, 31}};
#define SHAPES (sizeof shapes / sizeof shapes[0])

static void expect_same_by_all_kernels(const struct artifact *a, const struct features *f)
{
    struct score expected, actual;
    memset(&expected, 0, sizeof expected);
    score_models_with(score_kernel(SCORE_SCALAR), a, f, &expected);
    for (int k = SCORE_SSE2; k < SCORE_KERNELS; k++) {
        if (score_kernel((enum score_kernel)k) == NULL)
            continue;
        memset(&actual, 0, sizeof actual);
        score_models_with(score_kernel((enum score_kernel)k), a, f, &actual);
        assert_memory_equal(&actual, &expected, sizeof actual);
    }
}

static void simd_sums_equal_scalar_sums_bit_for_bit(void **state)
{
    (void)state;
    struct random r = {101};
    for (unsigned round = 0; round < 52; round++) {
        uint32_t models = shapes[round % SHAPES].models, tasks = shapes[round % SHAPES].tasks;
        const uint32_t bits = round >= 1 && round <= 3 ? 16 : 8 + random_below(&r, 3);
        struct artifact *a =
            fixture_artifact(&r, bits, models, tasks, round % 2 == 0 ? 32767 : 500);
        for (unsigned i = 0; i < 20; i++) {
            struct features f;
            fixture_features(&r, i == 0 ? 0 : i == 1 ? 512 : random_below(&r, 513), &f);
            for (unsigned d = 0; d < FEATURES_DENSE && i == 1; d++)
                f.dense[d] = d % 2 == 0 ? INT16_MIN : INT16_MAX;
            expect_same_by_all_kernels(a, &f);
        }
        artifact_destroy(a);
    }
}

/* Rows of 4 and of 8 lanes, which are taken several at a time; the last row is where the table
 * ends. */
static void narrow_rows_are_summed_alike_of_every_number_of_features(void **state)
{
    (void)state;
    struct random r = {303};
    for (uint32_t models = 1; models <= 4; models++)
        for (uint32_t bits = 8; bits <= 16; bits += 4) {
            struct artifact *a = fixture_artifact(&r, bits, models, 0, 32767);
            for (uint32_t n = 0; n <= 70; n++) {
                struct features f;
                fixture_features(&r, n, &f);
                if (n > 0)
                    f.index[n - 1] = UINT16_MAX;
                expect_same_by_all_kernels(a, &f);
            }
            artifact_destroy(a);
        }
}

/* The formula of the header, written once more without lanes, groups or shortcuts. */
static int64_t plain_score(const struct artifact_spec *s, const struct features *f,
                           const int16_t *w, const int16_t *dense, int32_t bias, uint32_t column,
                           uint32_t columns, unsigned shift, unsigned dense_shift)
{
    int64_t sum = 0, score = bias;
    for (uint32_t i = 0; i < f->n; i++)
        sum += w[(size_t)(f->index[i] >> (16 - s->index_bits)) * columns + column];
    score += floor_shift_i64(sum * fixed_rsqrt[f->n], shift);
    for (unsigned d = 0; d < FEATURES_DENSE; d++)
        score += floor_shift_i64((int64_t)dense[d * columns + column] * f->dense[d], dense_shift);
    return score;
}

static void scores_follow_the_written_formula(void **state)
{
    (void)state;
    struct random r = {202};
    for (unsigned round = 0; round < 26; round++) {
        struct fixture_spec spec;
        struct buf file;
        struct artifact *a = NULL;
        enum artifact_reason reason;
        struct features f;
        struct score score;
        const struct artifact_spec *s = &spec.spec;
        bool unshifted = round % 2 == 1; /* 24 * 1000 * 2^15 is in range without a dense shift. */
        const uint8_t dense_shift = unshifted ? 0 : 10;
        score_sum_fn sum = score_kernel((enum score_kernel)(round % SCORE_KERNELS));
        buf_init(&file, ARTIFACT_BYTES_MAX);
        fixture_spec_init(&spec, &r, 9, shapes[round % SHAPES].models, shapes[round % SHAPES].tasks,
                          unshifted ? 1000 : 3000);
        spec.spec.scale.quality_dense_shift = dense_shift;
        spec.spec.scale.length_dense_shift = (uint8_t)(dense_shift + 1);
        spec.spec.scale.task_dense_shift = dense_shift;
        assert_int_equal(artifact_encode(s, &file, NULL), 0);
        assert_int_equal(artifact_decode(buf_str(&file), &a, &reason, NULL), 0);
        fixture_features(&r, random_below(&r, 513), &f);
        for (unsigned d = 0; d < FEATURES_DENSE && round % 3 == 0; d++)
            f.dense[d] = d % 2 == 0 ? INT16_MIN : INT16_MAX;
        score_models_with(sum != NULL ? sum : score_kernel(SCORE_SCALAR), a, &f, &score);
        int32_t class_score[ARTIFACT_TASKS_MAX];
        uint32_t p[ARTIFACT_TASKS_MAX] = {0};
        for (uint32_t t = 0; t < s->task_count; t++)
            class_score[t] = (int32_t)plain_score(s, &f, s->task, s->task_dense, s->task_bias[t], t,
                                                  s->task_count, 16, dense_shift);
        if (s->task_count > 0)
            fixed_softmax2_q16(class_score, s->task_count, p);
        for (uint32_t m = 0; m < s->model_count; m++) {
            int64_t g = 0, l = 0;
            for (uint32_t t = 0; t < s->task_count; t++) {
                g += (int64_t)p[t] * s->task_quality[t * s->model_count + m];
                l += (int64_t)p[t] * s->task_length[t * s->model_count + m];
            }
            int64_t z = plain_score(s, &f, s->quality, s->quality_dense, s->quality_bias[m], m,
                                    s->model_count, 16, dense_shift);
            int64_t y = plain_score(s, &f, s->length, s->length_dense, s->length_bias[m], m,
                                    s->model_count, 16, dense_shift + 1U);
            assert_int_equal(score.z[m], z + floor_shift_i64(g, 16));
            assert_int_equal(score.length_q16[m], y + floor_shift_i64(l, 16));
        }
        artifact_destroy(a);
        buf_deinit(&file);
        fixture_spec_deinit(&spec);
    }
}

static void calibration_interpolates_between_knots_and_is_flat_outside(void **state)
{
    (void)state;
    const struct artifact_calib c = {3, {-100, 0, 50}, {1000, 3000, 65536}};
    assert_int_equal(score_calibrate(&c, INT32_MIN), 1000);
    assert_int_equal(score_calibrate(&c, -100), 1000);
    assert_int_equal(score_calibrate(&c, -50), 2000);
    assert_int_equal(score_calibrate(&c, -1), 2980);
    assert_int_equal(score_calibrate(&c, 0), 3000);
    assert_int_equal(score_calibrate(&c, 25), 3000 + 62536 / 2);
    assert_int_equal(score_calibrate(&c, INT32_MAX), 65536);
    const struct artifact_calib wide = {2, {INT32_MIN, INT32_MAX}, {0, 65536}};
    assert_int_equal(score_calibrate(&wide, 0), 32768);
    const struct artifact_calib one = {1, {5}, {42}};
    assert_int_equal(score_calibrate(&one, 4), 42);
    assert_int_equal(score_calibrate(&one, 6), 42);
}

static void calibration_never_falls(void **state)
{
    (void)state;
    struct artifact_calib c;
    artifact_calib_logistic(&c);
    for (int32_t z = -600000, last = 0; z < 600000; z += 97) {
        int32_t q = (int32_t)score_calibrate(&c, z);
        assert_true(q >= last);
        int32_t exact = (int32_t)fixed_logistic_q16(z);
        assert_true(q - exact < 300 && exact - q < 300); /* 0.0046 */
        last = q;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(simd_sums_equal_scalar_sums_bit_for_bit),
        cmocka_unit_test(narrow_rows_are_summed_alike_of_every_number_of_features),
        cmocka_unit_test(scores_follow_the_written_formula),
        cmocka_unit_test(calibration_interpolates_between_knots_and_is_flat_outside),
        cmocka_unit_test(calibration_never_falls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
