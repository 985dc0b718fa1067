#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/route/explain.h"
#include "common/route/fixed.h"
#include "tests/unit/route/fixture.h"

struct world {
    struct artifact *artifact;
    struct fixture_case c;
    struct policy_decision d;
    struct explain_input in;
};

/* Two models of the policy, nothing excluded. */
static void world_init(struct world *w, struct random *r, uint32_t tasks)
{
    memset(w, 0, sizeof *w);
    w->artifact = fixture_artifact(r, 10, 4, tasks, 900);
    fixture_case_init(&w->c, r, 4, 2, false);
    w->c.params.strategy = POLICY_LEARNED;
    w->c.request.floor_q16 = 0;
    w->c.request.max_cost_nanousd = 0;
    w->c.request.max_latency_ms = 0;
    w->c.request.explore = false;
    for (uint32_t i = 0; i < 2; i++) {
        w->c.candidates[i].ordinal = (int32_t)i;
        w->c.candidates[i].excl = 0;
    }
    w->in = (struct explain_input){w->artifact,   &w->c.features,  &w->c.params,
                                   &w->c.request, w->c.candidates, w->c.count};
    assert_int_equal(explain_recompute(&w->in, NULL, &w->d), 0);
}

static int64_t distance(int64_t a, int64_t b)
{
    return a > b ? a - b : b - a;
}

/* With few features and no dense part there are at most ten terms, so that all are listed. */
static void all_terms_together_are_the_difference(void **state)
{
    (void)state;
    struct random r = {51};
    unsigned complete = 0;
    for (unsigned i = 0; i < 60; i++) {
        struct world w;
        struct explain_terms terms;
        int64_t u = 0, z = 0;
        world_init(&w, &r, 0);
        fixture_features(&r, 4, &w.c.features);
        memset(w.c.features.dense, 0, sizeof w.c.features.dense);
        assert_int_equal(explain_recompute(&w.in, NULL, &w.d), 0);
        explain_terms(&w.in, &w.d, w.d.chosen, POLICY_NONE, &terms);
        assert_int_equal(terms.a, w.d.chosen);
        assert_int_equal(terms.b, 1 - w.d.chosen);
        assert_int_equal(terms.u_difference, w.d.row[terms.a].u - w.d.row[terms.b].u);
        for (uint32_t k = 0; k < terms.count; k++) {
            u += terms.term[k].u;
            z += terms.term[k].z;
        }
        if (w.d.row[0].z != w.d.row[1].z && terms.count < EXPLAIN_TERMS_MAX) {
            complete++; /* Each floor loses less than one unit of z. */
            int64_t z_difference = (int64_t)w.d.row[terms.a].z - w.d.row[terms.b].z;
            assert_true(distance(z, z_difference) <= 16);
            int64_t slack = INT64_C(1) << 28; /* 0.4 % of quality for 16 units of z. */
            assert_true(distance(u, terms.u_difference) <= slack);
        }
        for (uint32_t k = 1; k < terms.count; k++)
            assert_true(distance(terms.term[k - 1].u, 0) >= distance(terms.term[k].u, 0));
        artifact_destroy(w.artifact);
    }
    assert_true(complete > 40);
}

static void features_are_named_by_the_vocabulary(void **state)
{
    (void)state;
    struct random r = {52};
    struct world w;
    struct explain_terms terms;
    bool found = false;
    world_init(&w, &r, 0);
    w.c.features.n = 1;
    w.c.features.index[0] = 900;
    memset(w.c.features.dense, 0, sizeof w.c.features.dense);
    w.c.features.dense[FEATURES_CODE] = 256;
    assert_int_equal(explain_recompute(&w.in, NULL, &w.d), 0);
    explain_terms(&w.in, &w.d, 0, 1, &terms);
    for (uint32_t k = 0; k < terms.count; k++) {
        if (terms.term[k].kind == EXPLAIN_SPARSE) {
            assert_int_equal(terms.term[k].index, 900);
            assert_true(str_is(terms.term[k].word, "translate"));
            found = true;
        }
        if (terms.term[k].kind == EXPLAIN_DENSE)
            assert_true(str_is(terms.term[k].word, "code"));
    }
    assert_true(found);
    artifact_destroy(w.artifact);
}

static void task_classes_are_terms_of_their_own(void **state)
{
    (void)state;
    struct random r = {53};
    unsigned tasks = 0;
    for (unsigned i = 0; i < 20; i++) {
        struct world w;
        struct explain_terms terms;
        world_init(&w, &r, 3);
        fixture_features(&r, 3, &w.c.features);
        memset(w.c.features.dense, 0, sizeof w.c.features.dense);
        assert_int_equal(explain_recompute(&w.in, NULL, &w.d), 0);
        explain_terms(&w.in, &w.d, 0, 1, &terms);
        for (uint32_t k = 0; k < terms.count; k++)
            if (terms.term[k].kind == EXPLAIN_TASK) {
                assert_true(str_starts(terms.term[k].word, STR("task-")));
                tasks++;
            }
        artifact_destroy(w.artifact);
    }
    assert_true(tasks > 20);
}

static void models_outside_the_policy_differ_by_their_priors(void **state)
{
    (void)state;
    struct random r = {54};
    struct world w;
    struct explain_terms terms;
    world_init(&w, &r, 0);
    w.c.candidates[1].ordinal = POLICY_UNKNOWN_MODEL;
    w.c.candidates[1].prior_q16 = 32768;
    assert_int_equal(explain_recompute(&w.in, NULL, &w.d), 0);
    explain_terms(&w.in, &w.d, 0, 1, &terms);
    int64_t sum = 0;
    for (uint32_t k = 0; k < terms.count; k++) {
        assert_true(terms.term[k].kind == EXPLAIN_PRIOR || terms.term[k].kind == EXPLAIN_COST ||
                    terms.term[k].kind == EXPLAIN_LATENCY);
        sum += terms.term[k].u;
    }
    assert_int_equal(sum, terms.u_difference); /* No slope, so exact. */
    artifact_destroy(w.artifact);
}

static void any_changed_field_of_a_record_is_named(void **state)
{
    (void)state;
    struct random r = {55};
    struct world w;
    world_init(&w, &r, 2);
    assert_null(explain_compare(&w.d, &w.d).field);
#define NAMED(name, where, change)                                                                 \
    do {                                                                                           \
        struct policy_decision x = w.d;                                                            \
        change;                                                                                    \
        struct explain_mismatch m = explain_compare(&x, &w.d);                                     \
        assert_non_null(m.field);                                                                  \
        assert_string_equal(m.field, name);                                                        \
        assert_int_equal(m.position, where);                                                       \
    } while (0)
    NAMED("z", 1, x.row[1].z++);
    NAMED("q", 0, x.row[0].q++);
    NAMED("out_tok", 1, x.row[1].out_tok++);
    NAMED("cost", 1, x.row[1].cost++);
    NAMED("lat_ms", 1, x.row[1].lat_ms++);
    NAMED("u", 0, x.row[0].u++);
    NAMED("excl", 0, x.row[0].excl ^= 1);
    NAMED("p", 1, x.row[1].p--);
    NAMED("greedy", POLICY_NONE, x.greedy ^= 1);
    NAMED("chosen", POLICY_NONE, x.chosen ^= 1);
    NAMED("draw", POLICY_NONE, x.draw++);
    NAMED("flags", POLICY_NONE, x.flags ^= POLICY_FLAG_EXPLORED);
    NAMED("fallback", POLICY_NONE, x.fallback_count = 0);
    NAMED("fallback", 0, x.fallback[0] ^= 1);
    NAMED("count", POLICY_NONE, x.count = 1);
    artifact_destroy(w.artifact);
}

static void without_features_a_record_needs_its_scores(void **state)
{
    (void)state;
    struct random r = {56};
    struct world w;
    struct policy_decision again;
    world_init(&w, &r, 2);
    w.in.features = NULL;
    assert_int_equal(explain_recompute(&w.in, NULL, &again), ERR_INVALID);
    assert_int_equal(explain_recompute(&w.in, &w.d, &again), 0);
    assert_null(explain_compare(&w.d, &again).field);
    artifact_destroy(w.artifact);
}

static void every_kind_of_term_has_a_name(void **state)
{
    (void)state;
    for (int k = EXPLAIN_SPARSE; k <= EXPLAIN_LATENCY; k++)
        assert_string_not_equal(explain_kind_name((enum explain_kind)k), "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_terms_together_are_the_difference),
        cmocka_unit_test(features_are_named_by_the_vocabulary),
        cmocka_unit_test(task_classes_are_terms_of_their_own),
        cmocka_unit_test(models_outside_the_policy_differ_by_their_priors),
        cmocka_unit_test(any_changed_field_of_a_record_is_named),
        cmocka_unit_test(without_features_a_record_needs_its_scores),
        cmocka_unit_test(every_kind_of_term_has_a_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
