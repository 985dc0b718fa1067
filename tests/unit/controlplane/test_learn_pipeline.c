#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/route/price.h"
#include "common/route/selftest.h"
#include "controlplane/learn/pipeline.h"
#include "tests/lib/fault.h"

#define assert_near(a, b, most) assert_true(fabs((double)(a) - (double)(b)) <= (most))

/* A world with a known optimum: "cheap" answers easy questions as well as "dear" and never hard
 * ones; which kind a question is can be read off its features. */
#define DEAR_COST  1e-3
#define CHEAP_COST 1e-5

static const struct str models[] = {{"cheap", 5}, {"dear", 4}};
static const struct learn_model catalogue[] = {
    {.price_in = 0, .price_out = 100000000, .prior_quality = -1},   /* 100 tokens: 1e-5 USD */
    {.price_in = 0, .price_out = 10000000000, .prior_quality = -1}, /* 1e-3 USD */
};

struct world {
    uint32_t rows;
    bool tasks;
    bool observed;
    double constant; /* Every score, or negative. */
    bool missing;    /* Every third score. */
    uint32_t seen;   /* Rows that the incumbent has learned from: the first ones. */
};

static uint32_t noise(uint32_t i)
{
    uint32_t x = i * 2654435761U + 12345;
    x ^= x >> 15;
    x *= 2246822519U;
    return x ^ (x >> 13);
}

static void make_row(const struct world *w, uint32_t i, struct dataset *d)
{
    bool hard = noise(i) % 2 == 0;
    struct features f = {.dense = {256}};
    struct dataset_label labels[] = {
        {0, hard ? 0 : 1, 100, CHEAP_COST},
        {1, noise(i + 77) % 20 != 0, 100, DEAR_COST},
    };
    struct err err = {0};
    f.index[f.n++] = hard ? 10 : 20;
    f.index[f.n++] = (uint16_t)(100 + noise(i + 1) % 50);
    f.index[f.n++] = (uint16_t)(200 + noise(i + 2) % 50);
    for (unsigned k = 0; k < 2; k++) {
        if (w->constant >= 0)
            labels[k].score = w->constant;
        if (w->missing && (i + k) % 3 == 0)
            labels[k].score = NAN;
    }
    uint32_t served = noise(i + 5) % 2;
    struct dataset_row row = {
        .features = &f,
        .unit = i,
        .in_tok = 50,
        .task = !w->tasks ? STR_NULL
                : hard    ? STR("hard")
                          : STR("easy"),
        .labels = w->observed ? &labels[served] : labels,
        .label_count = w->observed ? 1 : 2,
        .propensity = w->observed ? 0.5 : 1,
        .label_prob = 1,
        .weight = 1,
        .seen = i < w->seen,
    };
    assert_int_equal(dataset_add(d, &row, &err), 0);
}

static struct dataset *make_world(const struct world *w)
{
    struct dataset *d = NULL;
    struct err err = {0};
    assert_int_equal(dataset_create(models, 2, 0, &d, &err), 0);
    for (uint32_t i = 0; i < w->rows; i++)
        make_row(w, i, d);
    return d;
}

static int train(const struct world *w, const char *target, struct learn_result *result,
                 struct err *err)
{
    struct learn_options o;
    struct dataset *d = make_world(w);
    learn_options_init(&o);
    o.models = catalogue;
    assert_int_equal(learn_target_parse(str_from(target), &o.target, err), 0);
    int rc = learn_run(d, &o, result, err);
    dataset_destroy(d);
    return rc;
}

static void assert_optimal(const struct world *w)
{
    struct learn_result r;
    struct err err = {0};
    assert_int_equal(train(w, "quality=0.95", &r, &err), 0);
    /* Half of the rows go to each model: half the cost at the quality of the best. */
    assert_near(r.chosen.share[0], 0.5, 0.06);
    assert_true(r.chosen.quality > 0.95 * 0.95);
    assert_true(r.chosen.cost_usd < 0.6 * DEAR_COST);
    assert_true(r.passed);
    struct artifact *a = NULL;
    enum artifact_reason reason;
    struct artifact_expect expect = {0};
    assert_int_equal(artifact_load(buf_str(&r.artifact), &expect, &a, &reason, &err), 0);
    assert_int_equal(a->task_count, w->tasks ? 2 : 0);
    int64_t in = 0;
    int64_t out = 0;
    learn_artifact_prices(a, 1, &in, &out);
    assert_int_equal(in, 0);
    assert_int_equal(out, 10000000000);
    artifact_destroy(a);
    json_t *report = json_loadb(r.report.data, r.report.len, 0, NULL);
    assert_non_null(report);
    assert_string_equal(json_string_value(json_object_get(report, "best_single")), "dear");
    json_decref(report);
    learn_result_deinit(&r);
}

static void the_known_optimum_is_found(void **state)
{
    (void)state;
    assert_optimal(&(struct world){.rows = 600, .tasks = true, .constant = -1});
    assert_optimal(&(struct world){.rows = 600, .tasks = false, .constant = -1});
    assert_optimal(&(struct world){.rows = 1500, .tasks = true, .constant = -1, .missing = true});
}

static void it_is_also_found_from_one_observed_answer_a_question(void **state)
{
    (void)state;
    assert_optimal(&(struct world){.rows = 2500, .tasks = true, .observed = true, .constant = -1});
}

static void the_same_rows_give_the_same_bytes(void **state)
{
    (void)state;
    const struct world w = {.rows = 300, .tasks = true, .constant = -1};
    struct learn_result a;
    struct learn_result b;
    struct err err = {0};
    assert_int_equal(train(&w, "quality=0.9", &a, &err), 0);
    assert_int_equal(train(&w, "quality=0.9", &b, &err), 0);
    assert_int_equal(a.artifact.len, b.artifact.len);
    assert_memory_equal(a.artifact.data, b.artifact.data, a.artifact.len);
    assert_int_equal(a.report.len, b.report.len);
    assert_memory_equal(a.report.data, b.report.data, a.report.len);
    learn_result_deinit(&a);
    learn_result_deinit(&b);
}

static void each_kind_of_target_is_met(void **state)
{
    (void)state;
    const struct world w = {.rows = 600, .tasks = true, .constant = -1};
    struct learn_result r;
    struct err err = {0};
    assert_int_equal(train(&w, "quality_floor=0.9", &r, &err), 0);
    assert_true(r.chosen.quality >= 0.9);
    learn_result_deinit(&r);
    assert_int_equal(train(&w, "save=40%", &r, &err), 0);
    assert_true(r.chosen.cost_usd <= 0.6 * DEAR_COST);
    learn_result_deinit(&r);
    assert_int_equal(train(&w, "spend=0.0007", &r, &err), 0);
    assert_true(r.chosen.cost_usd <= 0.0007);
    assert_true(r.chosen.quality > 0.9);
    learn_result_deinit(&r);
}

static void what_cannot_be_reached_is_refused_with_the_frontier(void **state)
{
    (void)state;
    const struct world w = {.rows = 300, .tasks = true, .constant = -1};
    static const char *const targets[] = {"quality=1.5", "quality_floor=0.999",
                                          "spend=0.000000002"};
    for (size_t i = 0; i < sizeof(targets) / sizeof(targets[0]); i++) {
        struct learn_result r;
        struct err err = {0};
        assert_int_equal(train(&w, targets[i], &r, &err), ERR_RANGE);
        assert_non_null(strstr(err.message, "cannot be reached"));
        assert_int_equal(r.artifact.len, 0);
        assert_true(r.frontier_count > 0);
        assert_non_null(strstr(buf_cstr(&r.report), "\"frontier\":[{"));
        learn_result_deinit(&r);
    }
}

static void too_few_rows_are_refused(void **state)
{
    (void)state;
    static const uint32_t counts[] = {0, 1, 10, LEARN_ROWS_MIN - 1};
    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        struct world w = {.rows = counts[i], .tasks = true, .constant = -1};
        struct learn_result r;
        struct err err = {0};
        assert_int_equal(train(&w, "quality=0.9", &r, &err), ERR_INVALID);
        assert_null(r.artifact.data);
    }
    struct learn_result r;
    struct err err = {0};
    struct dataset *d = NULL;
    assert_int_equal(dataset_create(models, 2, 0, &d, &err), 0);
    for (uint32_t i = 0; i < 200; i++) {
        struct features f = {.n = 1, .index = {(uint16_t)i}};
        struct dataset_label l = {0, NAN, 5, 1e-5};
        struct dataset_row row = {.features = &f,
                                  .unit = i,
                                  .labels = &l,
                                  .label_count = 1,
                                  .propensity = 1,
                                  .label_prob = 1,
                                  .weight = 1};
        assert_int_equal(dataset_add(d, &row, &err), 0);
    }
    struct learn_options o;
    learn_options_init(&o);
    assert_int_equal(learn_run(d, &o, &r, &err), ERR_INVALID);
    dataset_destroy(d);
}

static void labels_that_tell_nothing_still_give_a_policy(void **state)
{
    (void)state;
    static const double constants[] = {0.5, 1};
    for (size_t i = 0; i < 2; i++) {
        struct world w = {.rows = LEARN_ROWS_MIN, .tasks = true, .constant = constants[i]};
        struct learn_result r;
        struct err err = {0};
        assert_int_equal(train(&w, "quality=0.95", &r, &err), 0);
        assert_true(r.chosen.share[0] > 0.99); /* Equally good: the cheap one. */
        learn_result_deinit(&r);
    }
}

static void one_model_is_always_chosen(void **state)
{
    (void)state;
    struct dataset *d = NULL;
    struct err err = {0};
    struct learn_result r;
    struct learn_options o;
    assert_int_equal(dataset_create(models, 1, 0, &d, &err), 0);
    for (uint32_t i = 0; i < 100; i++) {
        struct features f = {.n = 1, .index = {(uint16_t)(i % 7)}};
        struct dataset_label l = {0, i % 2, 5, 1e-5};
        struct dataset_row row = {.features = &f,
                                  .unit = i,
                                  .labels = &l,
                                  .label_count = 1,
                                  .propensity = 1,
                                  .label_prob = 1,
                                  .weight = 1};
        assert_int_equal(dataset_add(d, &row, &err), 0);
    }
    learn_options_init(&o);
    assert_int_equal(learn_run(d, &o, &r, &err), 0);
    assert_near(r.chosen.share[0], 1, 1e-9);
    learn_result_deinit(&r);
    dataset_destroy(d);
}

static bool stop_after(const struct learn_progress *progress, void *data)
{
    uint32_t *left = data;
    assert_true(progress->done <= progress->total);
    return (*left)-- > 0;
}

static void a_run_can_be_cancelled_at_any_time(void **state)
{
    (void)state;
    const struct world w = {.rows = 120, .tasks = true, .constant = -1};
    struct dataset *d = make_world(&w);
    int rc = ERR_CANCELED;
    for (uint32_t calls = 0; rc != 0; calls = calls * 2 + 1) {
        struct learn_options o;
        struct learn_result r;
        struct err err = {0};
        uint32_t left = calls;
        learn_options_init(&o);
        o.models = catalogue;
        o.on_progress = stop_after;
        o.on_progress_data = &left;
        rc = learn_run(d, &o, &r, &err);
        assert_true(rc == 0 || rc == ERR_CANCELED);
        learn_result_deinit(&r);
    }
    dataset_destroy(d);
}

/* Runs with the n-th allocation failing; true: there were as many. */
static bool run_without(struct dataset *d, unsigned n)
{
    struct learn_options o;
    struct learn_result r;
    struct err err = {0};
    learn_options_init(&o);
    o.models = catalogue;
    o.bootstraps = 10;
    fault_arm_alloc(n);
    int rc = learn_run(d, &o, &r, &err);
    bool fired = fault_disarm();
    assert_int_equal(rc, fired ? ERR_NOMEM : 0);
    learn_result_deinit(&r);
    return fired;
}

static void a_run_survives_failed_allocations(void **state)
{
    (void)state;
    const struct world w = {.rows = LEARN_ROWS_MIN, .tasks = true, .constant = -1};
    struct dataset *d = make_world(&w);
    unsigned n = 0;
    while (run_without(d, n))
        n += n < 40 ? 1 : 17; /* Fits repeat the same allocations. */
    dataset_destroy(d);
}

/* Most of the report's parts are made by a call each, and it comes last. */
static void no_report_lacks_what_could_not_be_allocated(void **state)
{
    (void)state;
    const struct world w = {.rows = LEARN_ROWS_MIN, .tasks = true, .constant = -1};
    struct dataset *d = make_world(&w);
    unsigned some = 0;
    while (run_without(d, some))
        some += 256;
    unsigned last = some >= 256 ? some - 256 : 0;
    while (run_without(d, last))
        last++;
    for (unsigned n = last > 1500 ? last - 1500 : 0; n < last; n++)
        assert_true(run_without(d, n));
    dataset_destroy(d);
}

static void the_incumbent_is_compared_with(void **state)
{
    (void)state;
    const struct world w = {.rows = 400, .tasks = true, .constant = -1};
    struct learn_result first;
    struct learn_result second;
    struct err err = {0};
    assert_int_equal(train(&w, "quality=0.95", &first, &err), 0);
    struct dataset *d = make_world(&w);
    struct learn_options o;
    learn_options_init(&o);
    o.models = catalogue;
    o.generation = 2;
    o.incumbent = buf_str(&first.artifact);
    o.cost_max_usd = 1e-9;
    assert_int_equal(learn_run(d, &o, &second, &err), 0);
    bool incumbent = false;
    bool cost = true;
    for (uint32_t i = 0; i < second.gate_count; i++) {
        if (strcmp(second.gates[i].name, "incumbent") == 0)
            incumbent = second.gates[i].ok;
        if (strcmp(second.gates[i].name, "cost") == 0)
            cost = second.gates[i].ok;
    }
    assert_true(incumbent);
    assert_false(cost);
    assert_false(second.passed);
    dataset_destroy(d);
    learn_result_deinit(&first);
    learn_result_deinit(&second);
}

static enum learn_verdict verdict_beside(const struct learn_result *incumbent, uint32_t seen)
{
    const struct world w = {
        .rows = 1000, .tasks = true, .observed = true, .constant = -1, .seen = seen};
    struct dataset *d = make_world(&w);
    struct learn_options o;
    struct learn_result r;
    struct err err = {0};
    learn_options_init(&o);
    o.models = catalogue;
    o.generation = 2;
    o.incumbent = buf_str(&incumbent->artifact);
    assert_int_equal(learn_run(d, &o, &r, &err), 0);
    const enum learn_verdict verdict = r.verdict;
    for (uint32_t i = 0; i < r.gate_count; i++)
        if (strcmp(r.gates[i].name, "incumbent") == 0)
            assert_int_equal(strstr(r.gates[i].detail, "(NO_SUPPORT)") != NULL,
                             verdict == LEARN_NO_SUPPORT);
    learn_result_deinit(&r);
    dataset_destroy(d);
    return verdict;
}

/* Half of the rows bear on a choice: 1,000 carry it and 600 do, 250 do not. */
static void what_the_compared_rows_cannot_tell_is_no_support(void **state)
{
    (void)state;
    const struct world w = {.rows = 400, .tasks = true, .constant = -1};
    struct learn_result incumbent;
    struct err err = {0};
    assert_int_equal(train(&w, "quality=0.95", &incumbent, &err), 0);
    assert_int_equal(verdict_beside(&incumbent, 0), LEARN_SUPPORT);
    assert_int_equal(verdict_beside(&incumbent, 400), LEARN_SUPPORT);
    assert_int_equal(verdict_beside(&incumbent, 750), LEARN_NO_SUPPORT);
    /* So few are unseen that both are compared on what both have learned from. */
    assert_int_equal(verdict_beside(&incumbent, 950), LEARN_SUPPORT);
    learn_result_deinit(&incumbent);
}

static void targets_are_parsed_and_nonsense_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"",          "quality",   "quality=", "quality=0",
                                      "quality=x", "save=120%", "speed=1",  "quality=-1"};
    struct learn_target t;
    struct err err = {0};
    assert_int_equal(learn_target_parse(STR("save=60%"), &t, &err), 0);
    assert_int_equal(t.kind, LEARN_TARGET_SAVE);
    assert_near(t.value, 0.6, 1e-12);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(learn_target_parse(str_from(bad[i]), &t, &err), ERR_INVALID);
        assert_non_null(strstr(err.message, "quality=0.95"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_known_optimum_is_found),
        cmocka_unit_test(it_is_also_found_from_one_observed_answer_a_question),
        cmocka_unit_test(the_same_rows_give_the_same_bytes),
        cmocka_unit_test(each_kind_of_target_is_met),
        cmocka_unit_test(what_cannot_be_reached_is_refused_with_the_frontier),
        cmocka_unit_test(too_few_rows_are_refused),
        cmocka_unit_test(labels_that_tell_nothing_still_give_a_policy),
        cmocka_unit_test(one_model_is_always_chosen),
        cmocka_unit_test(a_run_can_be_cancelled_at_any_time),
        cmocka_unit_test(a_run_survives_failed_allocations),
        cmocka_unit_test(no_report_lacks_what_could_not_be_allocated),
        cmocka_unit_test(the_incumbent_is_compared_with),
        cmocka_unit_test(what_the_compared_rows_cannot_tell_is_no_support),
        cmocka_unit_test(targets_are_parsed_and_nonsense_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
