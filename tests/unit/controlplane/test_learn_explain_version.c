#include <math.h>
#include <string.h>

#include "controlplane/learn/explain_version.h"
#include "tests/lib/fault.h"

#define assert_near(a, b, most) assert_true(fabs((double)(a) - (double)(b)) <= (most))

static const struct str names[2] = {STR("cheap"), STR("dear")};

/* Two models; `now` takes the cheap one with chance p, `then` the dear one with chance q. */
struct plan {
    double now[2];
    double then[2];
    double cost[2];
    double quality[2];
};

static int add(struct explain_version *x, const struct plan *plan, uint64_t unit, struct str task,
               uint32_t served, double cost, double score)
{
    const struct explain_version_row row = {
        .unit = unit,
        .task = task,
        .arms = 2,
        .models = names,
        .recorded_p = plan->now,
        .now = {.p = plan->now, .cost = plan->cost, .quality = plan->quality},
        .then = {.p = plan->then, .cost = plan->cost, .quality = plan->quality},
        .evidence = true,
        .served = served,
        .cost = cost,
        .score = score,
        .label_prob = 1,
    };
    return explain_version_add(x, &row);
}

static const struct explain_version_model *find(const struct explain_version_result *r,
                                                const char *name)
{
    for (uint32_t i = 0; i < r->model_count; i++)
        if (str_is(r->model[i].name, name))
            return &r->model[i];
    fail_msg("no model %s", name);
    return NULL;
}

static void costs_that_were_expected_too_low_are_corrected(void **state)
{
    (void)state;
    const struct plan plan = {{.8, .2}, {.1, .9}, {.001, .010}, {.5, .9}};
    static struct explain_version_result r;
    struct explain_version *x;
    assert_int_equal(explain_version_create(true, &x), 0);
    for (uint64_t i = 0; i < 5000; i++) { /* Calls cost twice what was expected of them. */
        uint32_t served = i % 5 == 0 ? 1 : 0;
        assert_int_equal(
            add(x, &plan, i, STR("t"), served, served == 1 ? .020 : .002, served == 1 ? .8 : .4),
            0);
    }
    assert_int_equal(explain_version_finish(x, 200, &r), 0);
    assert_int_equal(r.rows, 5000);
    assert_int_equal(r.units, 5000);
    assert_near(r.churn, 1, 1e-9);
    assert_near(r.cost_now.of.value, .8 * .002 + .2 * .020, 1e-9);
    assert_near(r.cost_then.of.value, .1 * .002 + .9 * .020, 1e-6);
    assert_int_equal(r.cost_then.basis, EXPLAIN_DR);
    assert_int_equal(r.cost_now.basis, EXPLAIN_RECORDED);
    assert_near(r.quality_then.of.value, .1 * .4 + .9 * .8, 1e-6);
    assert_near(r.quality_now.of.value, .8 * .4 + .2 * .8, 1e-6);
    assert_near(find(&r, "dear")->factor, 2, .02);
    assert_near(find(&r, "dear")->share_then, .9, 1e-6);
    assert_near(find(&r, "cheap")->share_now, .8, 1e-6);
    assert_int_equal(r.flow_count, 1);
    assert_true(str_is(r.model[r.flow[0].from].name, "cheap"));
    assert_true(str_is(r.model[r.flow[0].to].name, "dear"));
    assert_near(r.flow[0].share, 1, 1e-9);
    assert_int_equal(r.task_count, 1);
    explain_version_destroy(x);
}

static void what_was_never_tried_is_the_models_word_and_says_so(void **state)
{
    (void)state;
    const struct plan plan = {{1, 0}, {0, 1}, {.001, .010}, {.5, .9}};
    static struct explain_version_result r;
    struct explain_version *x;
    assert_int_equal(explain_version_create(true, &x), 0);
    for (uint64_t i = 0; i < 1000; i++)
        assert_int_equal(add(x, &plan, i, STR(""), 0, .001, .4), 0);
    for (uint64_t i = 0; i < 200; i++) /* But somebody called it by its name. */
        explain_version_call(x, STR("dear"), .030, .010, .010);
    explain_version_call(x, STR("unheard of"), .030, .010, .010);
    assert_int_equal(explain_version_finish(x, 100, &r), 0);
    assert_int_equal(r.cost_then.basis, EXPLAIN_MODEL);
    assert_int_equal(r.quality_then.basis, EXPLAIN_MODEL);
    assert_near(r.cost_then.overlap, 0, 1e-9);
    assert_near(r.cost_then.of.value, .030, .0006);
    assert_near(r.quality_then.of.value, .9, 1e-9);
    assert_int_equal(r.model_count, 2);
    explain_version_destroy(x);
}

/* Without exploration, where it would do as before it is known what comes of it. */
static void a_certain_choice_it_would_repeat_is_its_own_evidence(void **state)
{
    (void)state;
    const struct plan same = {{1, 0}, {1, 0}, {.001, .010}, {.5, .9}};
    const struct plan other = {{1, 0}, {0, 1}, {.001, .010}, {.5, .9}};
    static struct explain_version_result r;
    struct explain_version *x;
    assert_int_equal(explain_version_create(true, &x), 0);
    for (uint64_t i = 0; i < 1000; i++)
        assert_int_equal(add(x, i % 5 == 0 ? &other : &same, i,
                             i % 5 == 0 ? STR("math") : STR("chat"), 0, .002, NAN),
                         0);
    assert_int_equal(explain_version_finish(x, 100, &r), 0);
    assert_int_equal(r.cost_then.basis, EXPLAIN_MIXED);
    assert_near(r.cost_then.overlap, .8, 1e-9);
    assert_near(r.churn, .2, 1e-9);
    assert_int_equal(r.quality_then.rows, 0);
    assert_true(isnan(r.quality_now.of.value));
    assert_int_equal(r.task_count, 2);
    assert_true(str_is(r.task[0].name, "chat"));
    assert_near(r.task[1].churn, 1, 1e-9);
    explain_version_destroy(x);
}

static void nonsense_is_refused(void **state)
{
    (void)state;
    struct plan plan = {{1, 0}, {1, 0}, {.001, .010}, {.5, .9}};
    static struct explain_version_result r;
    struct explain_version *x;
    assert_int_equal(explain_version_create(true, &x), 0);
    assert_int_equal(explain_version_finish(x, 10, &r), ERR_INVALID);
    assert_int_equal(add(x, &plan, 1, STR(""), 1, 0, 0), ERR_INVALID); /* Had no chance. */
    assert_int_equal(add(x, &plan, 1, STR(""), 7, 0, 0), ERR_INVALID);
    explain_version_destroy(x);
}

static int whole_life(void)
{
    const struct plan plan = {{.5, .5}, {.5, .5}, {.001, .010}, {.5, .9}};
    static struct explain_version_result r;
    struct explain_version *x = NULL;
    int rc = explain_version_create(false, &x);
    for (uint64_t i = 0; rc == 0 && i < 300; i++)
        rc = add(x, &plan, i, STR("t"), (uint32_t)(i % 2), .001, 1);
    if (rc == 0)
        rc = explain_version_finish(x, 10, &r);
    explain_version_destroy(x);
    return rc;
}

static void explaining_survives_each_failed_allocation(void **state)
{
    (void)state;
    bool fired = true;
    for (unsigned n = 0; fired; n++) {
        fault_arm_alloc(n);
        int rc = whole_life();
        fired = fault_disarm();
        assert_int_equal(rc, fired ? ERR_NOMEM : 0);
    }
}

/* Rows of a version that they say costs `cost`, with what training measured beside them. */
static struct explain_version_figure
joined_with(double cost, struct explain_version_training training, bool learned)
{
    const struct plan plan = {{0, 1}, {0, 1}, {.001, cost}, {.5, .9}};
    static struct explain_version_result r;
    struct explain_version *x;
    assert_int_equal(explain_version_create(true, &x), 0);
    for (uint64_t i = 0; i < 150; i++) { /* Too few to be evidence by themselves. */
        const struct explain_version_row row = {
            .unit = i,
            .arms = 2,
            .models = names,
            .recorded_p = plan.now,
            .now = {.p = plan.now, .cost = plan.cost, .quality = plan.quality},
            .then = {.p = plan.then, .cost = plan.cost, .quality = plan.quality},
            .learned = learned,
            .evidence = true,
            .served = 1,
            .cost = i % 2 == 0 ? 1.5 * cost : .5 * cost,
            .score = NAN,
            .label_prob = 1};
        assert_int_equal(explain_version_add(x, &row), 0);
    }
    explain_version_trained(x, &training);
    assert_int_equal(explain_version_finish(x, 200, &r), 0);
    assert_near(r.optimism, training.cost_ratio - 1, 1e-12);
    assert_near(r.optimism_error, training.ratio_error, 1e-12);
    explain_version_destroy(x);
    return r.cost_then;
}

static struct explain_version_figure joined(double cost, double trained, bool learned)
{
    return joined_with(
        cost, (struct explain_version_training){.cost_ratio = 1, .cost = trained, .error = .04},
        learned);
}

static void rows_that_were_learned_from_are_corrected_by_optimism(void **state)
{
    (void)state;
    const struct explain_version_training training = {.cost_ratio = 1.2, .ratio_error = .1};
    struct explain_version_figure other = joined_with(.010, training, false);
    struct explain_version_figure learned = joined_with(.010, training, true);
    assert_near(other.of.value, .010, .0001);
    assert_near(learned.of.value, 1.2 * other.of.value, 1e-9);
    double half = 1.2 * (other.of.high - other.of.value);
    assert_near(learned.of.high - learned.of.value, hypot(half, 1.96 * .1 * learned.of.value),
                1e-6);
}

/* Calls of the dear one cost twice as much where `then` sends requests. */
static void where_it_would_go_calls_tell_more_than_the_models_word(void **state)
{
    (void)state;
    const struct plan plans[2] = {{{.5, .5}, {1, 0}, {.001, .010}, {.5, .9}},
                                  {{.5, .5}, {0, 1}, {.001, .010}, {.5, .9}}};
    double errors[2];
    for (uint64_t rows = 40; rows <= 4000; rows *= 100) {
        static struct explain_version_result r;
        struct explain_version *x;
        assert_int_equal(explain_version_create(true, &x), 0);
        for (uint64_t i = 0; i < rows; i++) {
            uint32_t served = (uint32_t)(i / 2 % 2);
            double cost = served == 0 ? .001 : i % 2 == 0 ? .010 : .020;
            assert_int_equal(add(x, &plans[i % 2], i, STR("t"), served, cost, NAN), 0);
        }
        assert_int_equal(explain_version_finish(x, 200, &r), 0);
        assert_near(r.cost_then.direct.value, .0080, .0006); /* A factor of 1.5 by model. */
        assert_true(r.cost_then.of.low < .0105 && r.cost_then.of.high > .0105);
        errors[rows == 4000] = fabs(r.cost_then.of.value - .0105);
        explain_version_destroy(x);
    }
    assert_true(errors[1] < .0002);
    assert_true(errors[0] < .0025);
}

static void what_training_measured_joins_few_rows_and_yields_to_others(void **state)
{
    (void)state;
    struct explain_version_figure alone = joined(.010, 0, false);
    assert_near(alone.of.value, .010, .0001);
    assert_true(alone.of.high - alone.of.low > .0004); /* Calls vary by a half. */
    struct explain_version_figure near = joined(.010, .0102, false);
    assert_true(near.of.value > .01005 && near.of.value < .0102);
    assert_true(near.of.high - near.of.low < alone.of.high - alone.of.low);
    struct explain_version_figure far = joined(.010, .030, false);
    assert_near(far.of.value, .010, .0005);
    /* Of the rows it has learned from it is no second opinion. */
    assert_near(joined(.010, .0104, true).of.value, .010, .0001);
}

static void scores_that_were_seldom_asked_for_weigh_more(void **state)
{
    (void)state;
    const double p[2] = {.5, .5}, cost[2] = {.001, .002}, quality[2] = {.5, .5};
    static struct explain_version_result r;
    struct explain_version *x;
    assert_int_equal(explain_version_create(true, &x), 0);
    for (uint64_t i = 0; i < 4000; i++) { /* All bad ones are labelled, a tenth of the good ones. */
        bool good = i % 2 == 0;
        const struct explain_version_row row = {.unit = i,
                                                .arms = 2,
                                                .models = names,
                                                .recorded_p = p,
                                                .now = {.p = p, .cost = cost, .quality = quality},
                                                .then = {.p = p, .cost = cost, .quality = quality},
                                                .evidence = true,
                                                .served = (uint32_t)(i / 2 % 2),
                                                .cost = .001,
                                                .score = !good         ? 0
                                                         : i % 20 == 0 ? 1
                                                                       : NAN,
                                                .label_prob = good ? .1 : 1};
        assert_int_equal(explain_version_add(x, &row), 0);
    }
    const struct explain_version_row bad = {
        .arms = 2, .models = names, .recorded_p = p, .label_prob = 0};
    assert_int_equal(explain_version_add(x, &bad), ERR_INVALID);
    assert_int_equal(explain_version_finish(x, 200, &r), 0);
    assert_near(r.quality_now.of.value, .5, .001);
    assert_near(r.quality_then.of.value, .5, .02);
    explain_version_destroy(x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(costs_that_were_expected_too_low_are_corrected),
        cmocka_unit_test(what_was_never_tried_is_the_models_word_and_says_so),
        cmocka_unit_test(a_certain_choice_it_would_repeat_is_its_own_evidence),
        cmocka_unit_test(nonsense_is_refused),
        cmocka_unit_test(explaining_survives_each_failed_allocation),
        cmocka_unit_test(what_training_measured_joins_few_rows_and_yields_to_others),
        cmocka_unit_test(rows_that_were_learned_from_are_corrected_by_optimism),
        cmocka_unit_test(where_it_would_go_calls_tell_more_than_the_models_word),
        cmocka_unit_test(scores_that_were_seldom_asked_for_weigh_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
