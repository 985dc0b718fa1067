/* The policy file against what its report predicts: kinds of tasks with one best model each, told
 * apart by a few dense columns that are narrow and far from zero. */
#include <jansson.h>
#include <math.h>
#include <string.h>

#include "common/route/selftest.h"
#include "controlplane/learn/holdout.h"
#include "controlplane/learn/pipeline.h"
#include "tests/lib/fault.h"

#define MODELS 4
#define KINDS  5

enum model { STRONG, NUMBERS, WORDS, SMALL };

static const struct str models[MODELS] = {
    {"strong", 6}, {"numbers", 7}, {"words", 5}, {"small", 5}};
/* Each answers with 100 tokens. */
static const struct learn_model catalogue[MODELS] = {
    {.price_in = 0, .price_out = 10000000000, .prior_quality = -1},
    {.price_in = 0, .price_out = 2400000000, .prior_quality = -1},
    {.price_in = 0, .price_out = 1600000000, .prior_quality = -1},
    {.price_in = 0, .price_out = 600000000, .prior_quality = -1},
};
static const double cost[MODELS] = {1e-3, 2.4e-4, 1.6e-4, 6e-5};

struct kind {
    const char *task;
    double log_bytes; /* Means of the columns. */
    double word_len;
    unsigned right[MODELS]; /* Percent. */
};

static const struct kind kinds[KINDS] = {
    {"sums", 7.20, 4.10, {97, 98, 35, 55}},  {"dates", 6.80, 4.30, {97, 97, 30, 55}},
    {"units", 7.40, 4.45, {97, 98, 40, 60}}, {"letters", 7.05, 4.75, {97, 35, 98, 55}},
    {"facts", 7.60, 4.60, {97, 60, 97, 60}},
};

static uint32_t noise(uint32_t i, uint32_t purpose)
{
    uint32_t x = (i * 2654435761U) ^ (purpose * 2246822519U);
    x = (x ^ (x >> 15)) * 2246822519U;
    x = (x ^ (x >> 13)) * 3266489917U;
    return x ^ (x >> 16);
}

static int16_t around(double mean, uint32_t i, uint32_t purpose)
{
    double off = (noise(i, purpose) % 1000 + noise(i, purpose + 50) % 1000) / 1000.0 - 1;
    return (int16_t)lrint((mean + 0.12 * off) * 256);
}

static struct dataset *make_tasks(uint32_t first, uint32_t rows)
{
    struct dataset *d = NULL;
    struct err err = {0};
    assert_int_equal(dataset_create(models, MODELS, 0, &d, &err), 0);
    for (uint32_t i = first; i < first + rows; i++) {
        const struct kind *kind = &kinds[noise(i, 1) % KINDS];
        struct features f = {.dense = {[FEATURES_BIAS] = 256,
                                       [FEATURES_LOG_BYTES] = around(kind->log_bytes, i, 2),
                                       [FEATURES_LOG_T_IN] = around(kind->log_bytes - 1.8, i, 3),
                                       [FEATURES_WORD_LEN] = around(kind->word_len, i, 4)}};
        struct dataset_label labels[MODELS];
        for (uint16_t k = 0; k < 20; k++)
            f.index[f.n++] = (uint16_t)(k * 64 + noise(i, 10 + k) % 64);
        for (uint32_t m = 0; m < MODELS; m++)
            labels[m] =
                (struct dataset_label){m, noise(i, 200 + m) % 100 < kind->right[m], 100, cost[m]};
        struct dataset_row row = {
            .features = &f,
            .unit = i,
            .in_tok = 50,
            .task = str_from(kind->task),
            .labels = labels,
            .label_count = MODELS,
            .propensity = 1,
            .label_prob = 1,
            .weight = 1,
        };
        assert_int_equal(dataset_add(d, &row, &err), 0);
    }
    return d;
}

static bool gate_ok(const struct learn_result *r, const char *name)
{
    for (uint32_t i = 0; i < r->gate_count; i++)
        if (strcmp(r->gates[i].name, name) == 0) {
            print_message("%s\n", r->gates[i].detail);
            return r->gates[i].ok;
        }
    fail_msg("no gate %s", name);
    return false;
}

static double predicted(const struct learn_result *r)
{
    json_t *report = json_loadb(r->report.data, r->report.len, 0, NULL);
    json_t *chosen = json_object_get(report, "chosen");
    json_t *final = json_object_get(chosen, "final_on_training_rows");
    double quality = json_real_value(json_object_get(chosen, "quality_of_best"));
    assert_true(json_real_value(json_object_get(final, "quality")) > r->chosen.quality - 0.01);
    assert_true(json_real_value(json_object_get(final, "cost_usd")) > 0);
    assert_true(json_real_value(json_object_get(final, "rounding")) < 0.02);
    json_decref(report);
    return quality;
}

static void assert_cost_is_foreseen(const struct learn_result *r, double delivered)
{
    json_t *report = json_loadb(r->report.data, r->report.len, 0, NULL);
    json_t *costs = json_object_get(json_object_get(report, "chosen"), "costs");
    double foreseen = json_real_value(json_object_get(costs, "usd"));
    double error = json_real_value(json_object_get(costs, "error"));
    print_message("%.8f USD +- %.1f %% foreseen, %.8f delivered\n", foreseen, 100 * error,
                  delivered);
    assert_true(error > 0 && error < 0.2);
    assert_true(fabs(foreseen / delivered - 1) < 0.1);
    assert_true(json_real_value(json_object_get(costs, "over_own_error")) <= error);
    json_decref(report);
}

/* Trains on `rows` tasks and returns the cost on others, relative to the best model's. */
static double deliver(uint32_t rows)
{
    struct learn_options o;
    struct learn_result r;
    struct err err = {0};
    struct dataset *taught = make_tasks(0, rows);
    struct dataset *fresh = make_tasks(1000000, 3000);
    learn_options_init(&o);
    o.models = catalogue;
    assert_int_equal(learn_run(taught, &o, &r, &err), 0);
    assert_true(gate_ok(&r, "final_fit"));
    assert_true(r.passed);
    struct artifact *a = NULL;
    enum artifact_reason reason;
    struct artifact_expect expect = {0};
    struct holdout h;
    assert_int_equal(artifact_load(buf_str(&r.artifact), &expect, &a, &reason, &err), 0);
    assert_int_equal(holdout_evaluate(a, fresh, STRONG, &h, &err), 0);
    print_message("%u rows: %.4f of the best predicted, %.4f delivered at %.4f of its cost\n", rows,
                  predicted(&r), h.quality / h.best_quality, h.cost / h.best_cost);
    assert_true(h.quality / h.best_quality >= predicted(&r) - 0.015);
    assert_cost_is_foreseen(&r, h.cost);
    artifact_destroy(a);
    learn_result_deinit(&r);
    dataset_destroy(taught);
    dataset_destroy(fresh);
    return h.cost / h.best_cost;
}

static void new_tasks_get_the_quality_that_was_predicted_and_more_rows_cost_no_more(void **state)
{
    (void)state;
    double few = deliver(700);
    double many = deliver(3000);
    assert_true(few < 0.3);
    assert_true(many < 1.05 * few);
}

static void the_first_target_that_holds_is_taken(void **state)
{
    (void)state;
    static const double values[] = {1.9, 1.5, 0.9, 0.8};
    struct learn_options o;
    struct learn_result first;
    struct learn_result alone;
    struct err err = {0};
    struct dataset *taught = make_tasks(0, 700);
    learn_options_init(&o);
    o.models = catalogue;
    assert_int_equal(learn_run_first(taught, &o, values, 4, &first, &err), 0);
    assert_true(first.passed);
    o.target.value = 0.9;
    assert_int_equal(learn_run(taught, &o, &alone, &err), 0);
    assert_true(str_eq(buf_str(&first.artifact), buf_str(&alone.artifact)));
    assert_true(str_eq(buf_str(&first.report), buf_str(&alone.report)));
    learn_result_deinit(&first);
    learn_result_deinit(&alone);
    assert_int_equal(learn_run_first(taught, &o, values, 2, &first, &err), ERR_RANGE);
    assert_true(first.artifact.len == 0 && first.report.len != 0);
    learn_result_deinit(&first);
    dataset_destroy(taught);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_target_that_holds_is_taken),
        cmocka_unit_test(new_tasks_get_the_quality_that_was_predicted_and_more_rows_cost_no_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
