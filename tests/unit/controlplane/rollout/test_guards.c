#include <math.h>
#include <string.h>

#include "controlplane/rollout/exclusions.h"
#include "controlplane/rollout/guards.h"
#include "tests/lib/fault.h"

#define assert_near(a, b, most) assert_true(fabs((double)(a) - (double)(b)) <= (most))

static const struct guard_baseline baseline = {.mean = {1e6, .8, 200}, .cap = {4e6, 1, 900}};

static void setup(struct guards *g)
{
    struct guard_rules rules;
    guard_rules_default(&rules);
    guards_init(g, &rules, &baseline);
}

/* Two values of each arm per cluster, base times 1 -+ spread, the candidate's `by` higher. */
static void fold_mean(struct guards *g, enum guard_metric metric, uint64_t n, double base,
                      double spread, double by)
{
    struct mean_bucket b = {.pi = .5};
    for (uint32_t arm = 0; arm < 2; arm++)
        for (uint32_t c = 0; c < MEAN_GUARD_CLUSTERS; c++) {
            const double m = base + (arm == 1 ? by : 0), s = spread * base;
            b.cell[arm][c] = (struct mean_cell){
                .n = n, .sum = (double)n * m, .sumsq = (double)n * (m * m + s * s)};
        }
    guards_fold_mean(g, metric, &b);
}

static const struct guard_look enough = {.units = 500, .units_valued = {500, 500, 500}};

static enum guard_verdict verdict_of(struct guards *g, enum guard_metric metric)
{
    struct guard_report report;
    guards_look(g, &enough, &report);
    return report.verdict[metric];
}

static void nothing_folded_is_no_data_and_neither_pass_nor_zero(void **state)
{
    (void)state;
    struct guards g;
    struct guard_report report;
    setup(&g);
    guards_look(&g, &enough, &report);
    for (uint32_t i = 0; i < GUARD_METRICS; i++)
        assert_int_equal(report.verdict[i], GUARD_NO_DATA);
    assert_false(report.ratio_mismatch);
    assert_false(report.tripped);
}

static void all_false_alarms_together_have_a_chance_of_five_percent(void **state)
{
    (void)state;
    struct guard_rules rules;
    struct err err;
    guard_rules_default(&rules);
    double sum = rules.ratio_alpha;
    for (uint32_t i = 0; i < GUARD_METRICS; i++)
        sum += rules.metric[i].alpha;
    assert_near(sum, 0.05, 1e-12);
    assert_int_equal(guard_rules_check(&rules, &err), 0);
    rules.metric[GUARD_TOKENS].alpha = 0.01;
    assert_int_equal(guard_rules_check(&rules, &err), ERR_INVALID);
    rules.metric[GUARD_TOKENS].on = false; /* What is not tested cannot be wrong. */
    assert_int_equal(guard_rules_check(&rules, &err), 0);
}

static void rules_outside_their_range_are_refused(void **state)
{
    (void)state;
    struct guard_rules rules;
    struct err err;
    const double nan_value = nan("");
    const struct {
        size_t at;
        double value;
    } bad[] = {
        {offsetof(struct guard_rules, metric[GUARD_COST].alpha), 0},
        {offsetof(struct guard_rules, metric[GUARD_COST].alpha), nan_value},
        {offsetof(struct guard_rules, metric[GUARD_ERROR].margin), -0.1},
        {offsetof(struct guard_rules, metric[GUARD_ERROR].margin), 9},
        {offsetof(struct guard_rules, metric[GUARD_COST].goal), 0.06},
        {offsetof(struct guard_rules, metric[GUARD_COST].goal), -1.5},
        {offsetof(struct guard_rules, ratio_alpha), 0},
        {offsetof(struct guard_rules, ratio_alpha), nan_value},
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        guard_rules_default(&rules);
        memcpy((char *)&rules + bad[i].at, &bad[i].value, sizeof(double));
        assert_int_equal(guard_rules_check(&rules, &err), ERR_INVALID);
    }
}

static void cost_is_judged_against_a_share_of_what_stable_costs(void **state)
{
    (void)state;
    const struct {
        uint64_t n;
        double by;
        enum guard_verdict verdict;
    } cases[] = {
        {15, 0, GUARD_NO_DATA},      {40, 0, GUARD_HARMLESS},    {40, .08e6, GUARD_UNDECIDED},
        {4000, 0, GUARD_SHOWN},      {4000, .03e6, GUARD_SHOWN}, {4000, .048e6, GUARD_HARMLESS},
        {4000, .07e6, GUARD_BREACH}, {4000, -.5e6, GUARD_SHOWN},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct guards g;
        setup(&g);
        fold_mean(&g, GUARD_COST, cases[i].n, 1e6, .5, cases[i].by);
        assert_int_equal(verdict_of(&g, GUARD_COST), cases[i].verdict);
        assert_int_equal(verdict_of(&g, GUARD_TOKENS), GUARD_NO_DATA);
    }
}

static void a_fifth_dearer_is_a_breach_after_a_few_thousand_requests(void **state)
{
    (void)state;
    struct guards g;
    setup(&g);
    for (int i = 0; i < 4; i++)
        fold_mean(&g, GUARD_COST, 30, 1e6, .5, .2e6);
    assert_int_equal(verdict_of(&g, GUARD_COST), GUARD_BREACH);
}

static void of_quality_less_is_worse(void **state)
{
    (void)state;
    const struct {
        double by;
        enum guard_verdict verdict;
    } cases[] = {
        {0, GUARD_SHOWN}, {.05, GUARD_SHOWN}, {-.019, GUARD_HARMLESS}, {-.05, GUARD_BREACH}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct guards g;
        setup(&g);
        fold_mean(&g, GUARD_QUALITY, 4000, .8, .5, cases[i].by);
        assert_int_equal(verdict_of(&g, GUARD_QUALITY), cases[i].verdict);
    }
}

static void a_declared_saving_must_be_shown_and_is_no_breach_when_missed(void **state)
{
    (void)state;
    struct guard_rules rules;
    struct guards g;
    guard_rules_default(&rules);
    rules.metric[GUARD_COST].goal = -0.1;
    guards_init(&g, &rules, &baseline);
    fold_mean(&g, GUARD_COST, 4000, 1e6, .5, 0);
    assert_int_equal(verdict_of(&g, GUARD_COST), GUARD_UNDECIDED);
    guards_init(&g, &rules, &baseline);
    fold_mean(&g, GUARD_COST, 4000, 1e6, .5, -.15e6);
    assert_int_equal(verdict_of(&g, GUARD_COST), GUARD_SHOWN);
}

static void what_is_switched_off_has_no_data(void **state)
{
    (void)state;
    struct guard_rules rules;
    struct guards g;
    guard_rules_default(&rules);
    rules.metric[GUARD_COST].on = false;
    rules.metric[GUARD_ERROR].on = false;
    guards_init(&g, &rules, &baseline);
    fold_mean(&g, GUARD_COST, 4000, 1e6, .5, 1e6);
    guards_fold_event(&g, GUARD_ERROR,
                      &(struct event_cell){.exposures = {900, 100}, .events = {0, 100}});
    assert_int_equal(verdict_of(&g, GUARD_COST), GUARD_NO_DATA);
    assert_int_equal(verdict_of(&g, GUARD_ERROR), GUARD_NO_DATA);
}

static void errors_of_the_candidate_alone_are_a_breach(void **state)
{
    (void)state;
    struct guards g;
    struct guard_report report;
    struct guard_look look = enough;
    setup(&g);
    guards_fold_event(&g, GUARD_ERROR,
                      &(struct event_cell){.exposures = {950, 50}, .events = {1, 6}});
    look.units_event[GUARD_ERROR] = 2;
    guards_look(&g, &look, &report);
    assert_int_equal(report.verdict[GUARD_ERROR], GUARD_HARMLESS);
    look.units_event[GUARD_ERROR] = 3;
    guards_look(&g, &look, &report);
    assert_int_equal(report.verdict[GUARD_ERROR], GUARD_BREACH);
    assert_true(report.log_m[GUARD_ERROR] > log(100));
    assert_int_equal(report.verdict[GUARD_TIMEOUT], GUARD_NO_DATA);
}

/* A model's outage fails both arms alike. */
static void an_outage_of_both_arms_is_neutral(void **state)
{
    (void)state;
    struct guards g;
    struct guard_look look = enough;
    struct guard_report report;
    setup(&g);
    look.units_event[GUARD_ERROR] = 100;
    for (int i = 0; i < 30; i++)
        guards_fold_event(&g, GUARD_ERROR,
                          &(struct event_cell){.exposures = {950, 50}, .events = {475, 25}});
    guards_look(&g, &look, &report);
    assert_int_equal(report.verdict[GUARD_ERROR], GUARD_HARMLESS);
}

static void the_trip_wire_needs_most_of_twenty_requests_of_five_units(void **state)
{
    (void)state;
    const struct {
        uint64_t requests, errors, units;
        bool trips;
    } cases[] = {{20, 11, 5, true}, {20, 10, 5, false},   {19, 19, 5, false}, {20, 20, 4, false},
                 {21, 11, 5, true}, {1000, 501, 5, true}, {0, 0, 0, false}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct guards g;
        struct guard_report report;
        setup(&g);
        const struct guard_look look = {.recent_requests = cases[i].requests,
                                        .recent_errors = cases[i].errors,
                                        .recent_units = cases[i].units};
        guards_look(&g, &look, &report);
        assert_int_equal(report.tripped, cases[i].trips);
    }
}

static void the_ratio_of_units_is_watched_on_both_sides(void **state)
{
    (void)state;
    const struct {
        uint64_t stable, candidate;
        bool mismatch;
    } cases[] = {{950, 50, false}, {940, 60, false}, {930, 70, false}, {900, 100, true},
                 {990, 10, true},  {1000, 0, true},  {0, 0, false}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct guards g;
        struct guard_report report;
        setup(&g);
        guards_fold_units(&g, .05, cases[i].stable, cases[i].candidate);
        guards_fold_units(&g, 0, 1000, 0);
        guards_fold_units(&g, 1, 0, 1000);
        guards_look(&g, &(struct guard_look){0}, &report);
        assert_int_equal(report.ratio_mismatch, cases[i].mismatch);
        assert_int_equal(g.ratio.units[1], cases[i].candidate);
    }
}

static void a_unit_of_a_twentieth_of_all_is_set_apart_and_stays_so(void **state)
{
    (void)state;
    struct exclusion_unit units[] = {{1, 20, false}, {2, 21, false}, {3, 359, false}, {4, 1, true}};
    assert_int_equal(exclusions_mark(units, 4, 399), 0); /* Too early to tell. */
    assert_int_equal(exclusions_mark(units, 4, 400), 2);
    assert_false(units[0].apart);
    assert_true(units[1].apart);
    assert_true(units[2].apart);
    assert_true(units[3].apart);
    assert_int_equal(exclusions_mark(units, 4, 1000000), 0);
    assert_true(units[1].apart);
    assert_true(exclusion_is_heavy(UINT64_MAX, UINT64_MAX));
}

static void names_find_their_metrics(void **state)
{
    (void)state;
    enum guard_metric found;
    for (uint32_t i = 0; i < GUARD_METRICS; i++) {
        assert_true(guard_metric_find(guard_metric_name((enum guard_metric)i), &found));
        assert_int_equal(found, i);
    }
    assert_false(guard_metric_find(STR("luck"), &found));
    assert_true(str_is(guard_verdict_name(GUARD_NO_DATA), "no_data"));
    assert_true(str_is(guard_verdict_name(GUARD_BREACH), "breach"));
}

static void fill(struct guards *g)
{
    struct guard_report report;
    setup(g);
    fold_mean(g, GUARD_COST, 40, 1e6, .5, 1e5);
    fold_mean(g, GUARD_QUALITY, 40, .8, .5, 0);
    guards_fold_event(g, GUARD_LATENCY,
                      &(struct event_cell){.exposures = {950, 50}, .events = {50, 6}});
    guards_fold_units(g, .05, 95, 5);
    guards_look(g, &enough, &report);
}

static void the_next_leader_goes_on_where_this_one_stopped(void **state)
{
    (void)state;
    struct guards g, back;
    struct buf bytes, again;
    struct err err;
    buf_init(&bytes, 65536);
    buf_init(&again, 65536);
    fill(&g);
    assert_int_equal(guards_encode(&g, &bytes), 0);
    assert_int_equal(guards_decode(buf_str(&bytes), &back, &err), 0);
    fold_mean(&g, GUARD_COST, 40, 1e6, .5, 1e5);
    fold_mean(&back, GUARD_COST, 40, 1e6, .5, 1e5);
    buf_clear(&bytes);
    assert_int_equal(guards_encode(&g, &bytes), 0);
    assert_int_equal(guards_encode(&back, &again), 0);
    assert_true(str_eq(buf_str(&bytes), buf_str(&again)));
    buf_deinit(&bytes);
    buf_deinit(&again);
}

static void a_damaged_state_is_refused_at_every_length(void **state)
{
    (void)state;
    struct guards g, back;
    struct buf bytes;
    struct err err;
    buf_init(&bytes, 65536);
    fill(&g);
    assert_int_equal(guards_encode(&g, &bytes), 0);
    const struct str whole = buf_str(&bytes);
    for (size_t n = 0; n < whole.len; n++)
        assert_int_equal(guards_decode(str_slice(whole, 0, n), &back, &err), ERR_INVALID);
    assert_int_equal(buf_append_char(&bytes, 0), 0);
    assert_int_equal(guards_decode(buf_str(&bytes), &back, &err), ERR_INVALID);
    bytes.len--;
    memset(bytes.data + 8, 0xff, 8); /* A chance that is no number. */
    assert_int_equal(guards_decode(buf_str(&bytes), &back, &err), ERR_INVALID);
    memset(bytes.data + 8, 0, 8); /* And one of 0. */
    assert_int_equal(guards_decode(buf_str(&bytes), &back, &err), ERR_INVALID);
    buf_deinit(&bytes);
}

static void without_memory_nothing_is_written(void **state)
{
    (void)state;
    struct guards g;
    struct buf bytes;
    buf_init(&bytes, 65536);
    fill(&g);
    for (unsigned n = 0;; n++) {
        fault_arm_alloc(n);
        const int rc = guards_encode(&g, &bytes);
        if (!fault_disarm()) {
            assert_int_equal(rc, 0);
            break;
        }
        assert_int_equal(rc, ERR_NOMEM);
        assert_int_equal(bytes.len, 0);
        buf_deinit(&bytes);
        buf_init(&bytes, 65536);
    }
    buf_deinit(&bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_folded_is_no_data_and_neither_pass_nor_zero),
        cmocka_unit_test(all_false_alarms_together_have_a_chance_of_five_percent),
        cmocka_unit_test(rules_outside_their_range_are_refused),
        cmocka_unit_test(cost_is_judged_against_a_share_of_what_stable_costs),
        cmocka_unit_test(a_fifth_dearer_is_a_breach_after_a_few_thousand_requests),
        cmocka_unit_test(of_quality_less_is_worse),
        cmocka_unit_test(a_declared_saving_must_be_shown_and_is_no_breach_when_missed),
        cmocka_unit_test(what_is_switched_off_has_no_data),
        cmocka_unit_test(errors_of_the_candidate_alone_are_a_breach),
        cmocka_unit_test(an_outage_of_both_arms_is_neutral),
        cmocka_unit_test(the_trip_wire_needs_most_of_twenty_requests_of_five_units),
        cmocka_unit_test(the_ratio_of_units_is_watched_on_both_sides),
        cmocka_unit_test(a_unit_of_a_twentieth_of_all_is_set_apart_and_stays_so),
        cmocka_unit_test(names_find_their_metrics),
        cmocka_unit_test(the_next_leader_goes_on_where_this_one_stopped),
        cmocka_unit_test(a_damaged_state_is_refused_at_every_length),
        cmocka_unit_test(without_memory_nothing_is_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
