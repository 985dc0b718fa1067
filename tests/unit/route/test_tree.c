/* Conditions and nested targets, as functions. */
#include "common/route/tree.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/route/rule.h"

/* ---- conditions ---- */

static struct str value(void *arg, struct str path)
{
    (void)arg;
    if (str_is(path, "metadata.plan"))
        return STR("paid");
    if (str_is(path, "params.max_tokens"))
        return STR("1000");
    if (str_is(path, "params.temperature"))
        return STR("0.70");
    return STR_NULL;
}

static bool holds(enum rule_op op, const char *path, const char *text)
{
    const struct str v[] = {str_from(text)};
    const struct rule_step s = {.op = op, .path = str_from(path), .values = v, .value_count = 1};
    assert_true(rule_valid(&s, 1));
    return rule_holds(&s, 1, value, NULL, NULL);
}

static void each_operator_compares_as_it_says(void **state)
{
    (void)state;
    assert_true(holds(RULE_EQ, "metadata.plan", "paid"));
    assert_false(holds(RULE_EQ, "metadata.plan", "PAID"));
    assert_true(holds(RULE_EQ, "params.temperature", "0.7")); /* As numbers. */
    assert_true(holds(RULE_NE, "metadata.plan", "free"));
    assert_true(holds(RULE_NE, "metadata.none", "free"));
    assert_true(holds(RULE_NIN, "metadata.none", "free"));
    assert_false(holds(RULE_IN, "metadata.none", "free"));
    assert_true(holds(RULE_GT, "params.max_tokens", "999"));
    assert_false(holds(RULE_GT, "params.max_tokens", "1000"));
    assert_true(holds(RULE_GTE, "params.max_tokens", "1000"));
    assert_true(holds(RULE_LT, "params.max_tokens", "1000.5"));
    assert_true(holds(RULE_LTE, "params.max_tokens", "1000"));
    assert_false(holds(RULE_LT, "metadata.plan", "zzz")); /* Words have no size. */
    assert_false(holds(RULE_LT, "params.none", "5"));
}

static void conditions_are_joined(void **state)
{
    (void)state;
    const struct str paid[] = {STR("free"), STR("paid")}, many[] = {STR("2000")};
    const struct rule_step s[] = {
        {.op = RULE_IN, .path = STR("metadata.plan"), .values = paid, .value_count = 2},
        {.op = RULE_GT, .path = STR("params.max_tokens"), .values = many, .value_count = 1},
        {.op = RULE_AND, .count = 2},
        {.op = RULE_LT, .path = STR("params.max_tokens"), .values = many, .value_count = 1},
        {.op = RULE_OR, .count = 2},
    };
    assert_true(rule_valid(s, 5));
    assert_true(rule_holds(s, 5, value, NULL, NULL));
    assert_true(rule_valid(s, 3));
    assert_false(rule_holds(s, 3, value, NULL, NULL));
}

static void what_is_no_condition_is_refused(void **state)
{
    (void)state;
    const struct str v[] = {STR("1"), STR("2")};
    struct rule_step s[] = {
        {.op = RULE_EQ, .path = STR("a"), .values = v, .value_count = 1},
        {.op = RULE_AND, .count = 2},
    };
    assert_false(rule_valid(s, 0));
    assert_false(rule_valid(s, 2)); /* Two are asked for, one is there. */
    s[1].count = 0;
    assert_false(rule_valid(s, 2));
    s[1].count = 1;
    assert_true(rule_valid(s, 2));
    s[0].value_count = 2; /* $eq has one value. */
    assert_false(rule_valid(s, 1));
    s[0].op = RULE_OPS;
    assert_false(rule_valid(s, 1));
    s[1] = s[0] =
        (struct rule_step){.op = RULE_EQ, .path = STR("a"), .values = v, .value_count = 1};
    assert_false(rule_valid(s, 2)); /* Two results. */
}

/* ---- targets ---- */

static void nested_targets_become_an_order(void **state)
{
    (void)state;
    /* 3 = fallback(0, 4), 4 = balance(1, 2) */
    const struct tree_member outer[] = {{0, 1}, {4, 1}}, inner[] = {{1, 3}, {2, 1}};
    const struct tree_target targets[] = {{false, 2, outer}, {true, 2, inner}};
    const struct tree t = {.models = 3, .count = 2, .targets = targets};
    uint32_t second[3] = {0};
    uint8_t order[3];
    assert_true(tree_valid(&t));
    for (uint64_t seed = 0; seed < 4000; seed++) {
        assert_int_equal(tree_order(&t, 3, seed * UINT64_C(0x2545f4914f6cdd1d), order), 3);
        assert_int_equal(order[0], 0);
        second[order[1]]++;
        assert_int_equal(order[1] + order[2], 3);
    }
    assert_in_range(second[1], 2850, 3150);
    assert_int_equal(tree_order(&t, 4, 1, order), 2); /* One of them alone. */
    assert_int_equal(tree_order(&t, 2, 1, order), 1);
    assert_int_equal(order[0], 2);
}

static void a_target_in_itself_and_too_many_levels_are_refused(void **state)
{
    (void)state;
    struct tree_member m[10];
    struct tree_target targets[10];
    struct tree t = {.models = 1, .count = TREE_DEPTH_MAX, .targets = targets};
    for (uint32_t i = 0; i < 10; i++) {
        m[i] = (struct tree_member){i == 0 ? 0 : i, 1}; /* Each holds the one before it. */
        targets[i] = (struct tree_target){false, 1, &m[i]};
    }
    assert_true(tree_valid(&t));
    t.count = TREE_DEPTH_MAX + 1;
    assert_false(tree_valid(&t));
    t.count = 2;
    m[0].what = 2; /* Two that hold each other. */
    assert_false(tree_valid(&t));
    m[0].what = 1; /* Itself. */
    assert_false(tree_valid(&t));
    m[0].what = 3; /* Nobody. */
    assert_false(tree_valid(&t));
    m[0] = (struct tree_member){0, 1000001};
    assert_false(tree_valid(&t));
    targets[0].count = 0;
    assert_false(tree_valid(&t));
}

static void a_tree_that_repeats_itself_ends(void **state)
{
    (void)state;
    static struct tree_member m[TREE_DEPTH_MAX][TREE_MEMBERS_MAX];
    struct tree_target targets[TREE_DEPTH_MAX];
    for (uint32_t i = 0; i < TREE_DEPTH_MAX; i++) {
        for (uint32_t k = 0; k < TREE_MEMBERS_MAX; k++)
            m[i][k] = (struct tree_member){i == 0 ? k % 2 : 2 + i - 1, 1};
        targets[i] = (struct tree_target){i % 2 == 0, TREE_MEMBERS_MAX, m[i]};
    }
    const struct tree t = {.models = 2, .count = TREE_DEPTH_MAX, .targets = targets};
    uint8_t order[2];
    assert_true(tree_valid(&t));
    assert_int_equal(tree_order(&t, 2 + TREE_DEPTH_MAX - 1, 7, order), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_operator_compares_as_it_says),
        cmocka_unit_test(conditions_are_joined),
        cmocka_unit_test(what_is_no_condition_is_refused),
        cmocka_unit_test(nested_targets_become_an_order),
        cmocka_unit_test(a_target_in_itself_and_too_many_levels_are_refused),
        cmocka_unit_test(a_tree_that_repeats_itself_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
