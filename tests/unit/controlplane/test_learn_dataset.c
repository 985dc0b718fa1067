#include <math.h>
#include <string.h>

#include "controlplane/learn/dataset.h"
#include "tests/lib/fault.h"

#define assert_near(a, b, most) assert_true(fabs((double)(a) - (double)(b)) <= (most))

static const struct str models[] = {{"small", 5}, {"large", 5}};

static struct dataset *make(uint32_t rows_max)
{
    struct dataset *d = NULL;
    struct err err = {0};
    assert_int_equal(dataset_create(models, 2, rows_max, &d, &err), 0);
    return d;
}

static const struct features some = {.n = 2, .index = {3, 9}, .dense = {256}};

static struct dataset_row row_of(const struct dataset_label *labels, uint32_t count)
{
    return (struct dataset_row){
        .features = &some,
        .unit = 1,
        .in_tok = 10,
        .task = STR("law"),
        .labels = labels,
        .label_count = count,
        .propensity = 1,
        .label_prob = 1,
        .weight = 1,
    };
}

static void what_is_added_is_kept_in_order(void **state)
{
    (void)state;
    const struct dataset_label both[] = {{0, 1, 20, 1e-5}, {1, 0, 30, 2e-4}};
    struct dataset *d = make(0);
    struct err err = {0};
    struct dataset_view v;
    struct features f;
    struct dataset_row row = row_of(both, 2);
    assert_int_equal(dataset_add(d, &row, &err), 0);
    row.label_count = 1;
    row.propensity = 0.25;
    row.task = STR("math");
    assert_int_equal(dataset_add(d, &row, &err), 0);
    dataset_view(d, &v);
    assert_int_equal(v.row_count, 2);
    assert_int_equal(v.task_count, 2);
    assert_int_equal(v.observed, 1);
    assert_int_equal(v.rows[1].task, 1);
    assert_near(v.rows[1].omega, 4, 1e-6);
    assert_near(v.labels[1].out_tok, 30, 1e-6);
    dataset_features(&v, 1, &f);
    assert_memory_equal(&f, &some, sizeof(f));
    dataset_destroy(d);
}

static void numbers_that_are_none_are_refused(void **state)
{
    (void)state;
    const double bad_scores[] = {-0.1, 1.1, INFINITY, -INFINITY};
    struct dataset *d = make(0);
    struct err err = {0};
    for (size_t i = 0; i < sizeof(bad_scores) / sizeof(bad_scores[0]); i++) {
        struct dataset_label l = {0, bad_scores[i], NAN, NAN};
        struct dataset_row row = row_of(&l, 1);
        assert_int_equal(dataset_add(d, &row, &err), ERR_INVALID);
        assert_true(err.message[0] != '\0');
    }
    const double bad_parts[] = {0, -1, 1.5, NAN, INFINITY};
    for (size_t i = 0; i < sizeof(bad_parts) / sizeof(bad_parts[0]); i++) {
        struct dataset_label l = {0, 1, NAN, NAN};
        struct dataset_row row = row_of(&l, 1);
        row.propensity = bad_parts[i];
        assert_int_equal(dataset_add(d, &row, &err), ERR_INVALID);
        row.propensity = 1;
        row.weight = bad_parts[i];
        assert_int_equal(dataset_add(d, &row, &err), ERR_INVALID);
        row.weight = 1;
        row.label_prob = bad_parts[i];
        assert_int_equal(dataset_add(d, &row, &err), ERR_INVALID);
    }
    struct dataset_label costs = {0, 1, 1, INFINITY};
    struct dataset_row row = row_of(&costs, 1);
    assert_int_equal(dataset_add(d, &row, &err), ERR_INVALID);
    struct dataset_label twice[] = {{1, 1, 1, 1}, {1, 1, 1, 1}};
    row = row_of(twice, 2);
    assert_int_equal(dataset_add(d, &row, &err), ERR_INVALID);
    twice[0].model = 2;
    assert_int_equal(dataset_add(d, &row, &err), ERR_INVALID);
    assert_int_equal(dataset_rows(d), 0);
    dataset_destroy(d);
}

static void models_must_be_distinct_and_few(void **state)
{
    (void)state;
    const struct str same[] = {STR("a"), STR("a")};
    struct dataset *d = NULL;
    struct err err = {0};
    assert_int_equal(dataset_create(same, 2, 0, &d, &err), ERR_INVALID);
    assert_int_equal(dataset_create(same, 0, 0, &d, &err), ERR_INVALID);
    assert_int_equal(dataset_create(same, 65, 0, &d, &err), ERR_INVALID);
    assert_null(d);
}

static void a_full_set_keeps_a_weighted_sample_that_is_the_same_every_time(void **state)
{
    (void)state;
    struct sha256 digest[2];
    double heavy = 0;
    for (int run = 0; run < 2; run++) {
        struct dataset *d = make(100);
        struct err err = {0};
        struct dataset_view v;
        double total = 0;
        heavy = 0;
        for (unsigned i = 0; i < 5000; i++) {
            struct dataset_label l = {0, 1, 1, 1};
            struct dataset_row row = row_of(&l, 1);
            row.unit = i;
            row.weight = i % 2 == 0 ? 1 : 0.2;
            assert_int_equal(dataset_add(d, &row, &err), 0);
        }
        dataset_view(d, &v);
        assert_true(v.row_count <= 100 && v.row_count >= 40);
        for (uint32_t i = 0; i < v.row_count; i++) {
            total += (double)v.rows[i].sample;
            heavy += v.rows[i].unit % 2 == 0 ? 1.0 / v.row_count : 0;
        }
        assert_true(total > 2500 && total < 10000); /* Stands for about 5,000 rows. */
        assert_int_equal(dataset_seen(d), 5000);
        assert_int_equal(dataset_digest(d, &digest[run]), 0);
        dataset_destroy(d);
    }
    assert_memory_equal(&digest[0], &digest[1], sizeof(digest[0]));
    assert_true(heavy > 0.65); /* Five in six by weight. */
}

static void adding_survives_each_failed_allocation(void **state)
{
    (void)state;
    const struct dataset_label l = {0, 1, 1, 1};
    bool fired = true;
    for (unsigned n = 0; fired; n++) {
        struct dataset *d = NULL;
        struct err err = {0};
        struct dataset_row row = row_of(&l, 1);
        fault_arm_alloc(n);
        int rc = dataset_create(models, 2, 4, &d, &err);
        for (int i = 0; rc == 0 && i < 40; i++) /* Also past the point where sampling starts. */
            rc = dataset_add(d, &row, &err);
        fired = fault_disarm();
        assert_int_equal(rc, fired ? ERR_NOMEM : 0);
        dataset_destroy(d);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_added_is_kept_in_order),
        cmocka_unit_test(numbers_that_are_none_are_refused),
        cmocka_unit_test(models_must_be_distinct_and_few),
        cmocka_unit_test(a_full_set_keeps_a_weighted_sample_that_is_the_same_every_time),
        cmocka_unit_test(adding_survives_each_failed_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
