/* Ways of ordering: the order, its chances, and that a decision is made of nothing else. */
#include "common/route/way.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/route/explain.h"

#define ALL(n) ((UINT64_C(1) << (n)) - 1)

static struct way_input input(enum way way, uint32_t count)
{
    struct way_input in = {.way = way, .count = count};
    for (uint32_t i = 0; i < count; i++)
        in.candidates[i].weight = 1;
    return in;
}

static void every_way_has_a_name_and_litellms_names_are_known(void **state)
{
    (void)state;
    enum way way = WAYS;
    for (uint32_t i = 0; i < WAYS; i++) {
        assert_int_equal(way_find(str_from(way_name(i)), &way), 0);
        assert_int_equal(way, i);
    }
    assert_null(way_name(WAYS));
    assert_int_equal(way_find(STR("simple-shuffle"), &way), 0);
    assert_int_equal(way, WAY_WEIGHTED);
    assert_int_equal(way_find(STR("usage-based-routing-v2"), &way), 0);
    assert_int_equal(way, WAY_USAGE_BASED);
    assert_int_equal(way_find(STR("fastest"), &way), ERR_NOT_FOUND);
}

static void priority_comes_before_the_measure_and_the_measure_before_the_draw(void **state)
{
    (void)state;
    struct way_input in = input(WAY_LEAST_BUSY, 4);
    const int64_t measure[] = {0, 9, 3, 1};
    uint8_t order[4];
    uint32_t p[4];
    in.candidates[0].priority = 1;
    assert_int_equal(way_order(&in, measure, ALL(4), 0xffffffff, order, p), 4);
    assert_memory_equal(order, ((uint8_t[]){3, 2, 1, 0}), 4);
    assert_true(p[3] == WAY_ALWAYS && p[0] == 0 && p[1] == 0 && p[2] == 0);
    /* Whoever is excluded is not there at all. */
    assert_int_equal(way_order(&in, measure, ALL(4) & ~UINT64_C(8), 0, order, p), 3);
    assert_memory_equal(order, ((uint8_t[]){2, 1, 0}), 3);
    assert_int_equal(way_order(&in, measure, 0, 0, order, p), 0);
}

static void shares_are_those_of_the_weights(void **state)
{
    (void)state;
    struct way_input in = input(WAY_WEIGHTED, 4);
    const int64_t measure[4] = {0};
    const uint32_t weights[] = {5, 0, 2, 1}, draws = 80000;
    uint32_t first[4] = {0}, second[4] = {0};
    for (uint32_t i = 0; i < 4; i++)
        in.candidates[i].weight = weights[i];
    for (uint32_t i = 0; i < draws; i++) {
        uint8_t order[4];
        uint32_t p[4];
        const uint32_t draw = (uint32_t)(((uint64_t)i << 32) / draws);
        assert_int_equal(way_order(&in, measure, ALL(4), draw, order, p), 4);
        first[order[0]]++;
        second[order[1]]++;
        assert_int_equal(order[3], 1); /* Without weight: when the others are gone. */
        assert_true(p[1] == 0 && p[2] == UINT32_C(1) << 30 && p[3] == UINT32_C(1) << 29);
        assert_true((uint64_t)p[0] + p[1] + p[2] + p[3] == UINT64_C(1) << 32);
    }
    assert_int_equal(first[0], 50000);
    assert_int_equal(first[2], 20000);
    assert_int_equal(first[3], 10000);
    /* Of those left, as their weights: 5/8 * 2/3 + 1/8 * 2/7 = 0.4524 of the third. */
    assert_in_range(second[2], 35000, 37400);
    assert_in_range(second[3], 20000 * 1 / 6 + 50000 / 3 - 1500, 20000 / 6 + 50000 / 3 + 1500);
}

static void without_any_weight_the_first_is_certain(void **state)
{
    (void)state;
    struct way_input in = input(WAY_WEIGHTED, 3);
    const int64_t measure[3] = {0};
    uint8_t order[3];
    uint32_t p[3];
    for (uint32_t i = 0; i < 3; i++)
        in.candidates[i].weight = 0;
    assert_int_equal(way_order(&in, measure, ALL(3), 0xdeadbeef, order, p), 3);
    assert_memory_equal(order, ((uint8_t[]){0, 1, 2}), 3);
    assert_true(p[0] == WAY_ALWAYS && p[1] == 0 && p[2] == 0);
}

static void sixty_four_of_the_greatest_weight_do_not_overflow(void **state)
{
    (void)state;
    struct way_input in = input(WAY_WEIGHTED, 64);
    int64_t measure[64] = {0};
    uint8_t order[64];
    uint32_t p[64];
    uint64_t seen = 0, sum = 0;
    for (uint32_t i = 0; i < 64; i++)
        in.candidates[i].weight = WAY_WEIGHT_MAX;
    assert_int_equal(way_order(&in, measure, UINT64_MAX, UINT32_MAX, order, p), 64);
    assert_int_equal(order[0], 63);
    for (uint32_t i = 0; i < 64; i++) {
        seen |= UINT64_C(1) << order[i];
        sum += p[i];
    }
    assert_true(seen == UINT64_MAX && sum == UINT64_C(1) << 32);
}

/* ---- in a decision ---- */

struct setup {
    struct policy_params params;
    struct policy_request request;
    struct policy_candidate c[3];
    struct way_input way;
    struct policy_decision d;
};

static void setup_init(struct setup *s, enum way way)
{
    memset(s, 0, sizeof *s);
    policy_params_init(&s->params);
    s->way = input(way, 3);
    s->request = (struct policy_request){
        .t_in = 1000, .sticky = POLICY_NONE, .way = &s->way, .explore = true};
    for (uint32_t i = 0; i < 3; i++)
        s->c[i] = (struct policy_candidate){.ordinal = POLICY_UNKNOWN_MODEL,
                                            .prior_q16 = POLICY_NO_PRIOR,
                                            .price_in = 1000000 * (int64_t)(3 - i),
                                            .price_out = 1000000,
                                            .price_cached = PRICE_UNKNOWN,
                                            .ttft_est_ms = i == 1 ? 100 : 900,
                                            .prior_out = 10};
}

static void decide(struct setup *s)
{
    struct policy_decision again;
    const struct explain_input in = {
        .params = &s->params, .request = &s->request, .candidates = s->c, .count = 3};
    assert_int_equal(policy_decide(NULL, NULL, &s->params, &s->request, s->c, 3, &s->d), 0);
    assert_int_equal(explain_recompute(&in, &s->d, &again), 0);
    assert_null(explain_compare(&s->d, &again).field);
    assert_true((s->d.flags & POLICY_FLAG_STATIC) != 0);
    assert_true((s->d.flags & POLICY_FLAG_EXPLORED) == 0);
}

static void cost_and_latency_are_the_decisions_own(void **state)
{
    (void)state;
    struct setup s;
    setup_init(&s, WAY_LOWEST_COST);
    decide(&s);
    assert_int_equal(s.d.chosen, 2);
    assert_int_equal(s.d.fallback[0], 1);
    assert_true(s.d.row[2].u == 0 && s.d.row[1].u == -(INT64_C(1) << 36));
    s.c[2].price_in = PRICE_UNKNOWN; /* What nobody knows comes last. */
    decide(&s);
    assert_int_equal(s.d.chosen, 1);
    assert_int_equal(s.d.fallback[1], 2);
    setup_init(&s, WAY_LOWEST_LATENCY);
    decide(&s);
    assert_int_equal(s.d.chosen, 1);
    assert_true((s.d.flags & POLICY_FLAG_CERTAIN) != 0);
}

static void exclusions_come_before_the_way(void **state)
{
    (void)state;
    struct setup s;
    setup_init(&s, WAY_LOWEST_COST);
    s.c[2].excl = POLICY_EXCL(BREAKER_OPEN);
    s.request.max_cost_nanousd = 2100; /* The first costs more. */
    decide(&s);
    assert_int_equal(s.d.chosen, 1);
    assert_int_equal(s.d.fallback_count, 0);
    assert_true((s.d.row[0].excl & POLICY_EXCL(COST_CAP)) != 0);
    s.c[1].excl = POLICY_EXCL(RATE);
    decide(&s);
    assert_int_equal(s.d.chosen, POLICY_NONE);
}

static void equals_are_drawn_and_the_chance_is_recorded(void **state)
{
    (void)state;
    struct setup s;
    uint32_t served[3] = {0};
    setup_init(&s, WAY_LEAST_BUSY);
    s.way.candidates[0].measure = 7;
    s.way.candidates[1].weight = 3;
    for (uint32_t i = 0; i < 4000; i++) {
        memcpy(s.request.request_id, &i, sizeof i);
        decide(&s);
        served[s.d.chosen]++;
        assert_true((s.d.flags & POLICY_FLAG_CERTAIN) == 0);
        assert_true(s.d.row[1].p == UINT32_C(3) << 30 && s.d.row[2].p == UINT32_C(1) << 30);
        assert_int_equal(s.d.fallback[1], 0);
    }
    assert_int_equal(served[0], 0);
    assert_in_range(served[1], 2900, 3100);
}

static void inputs_that_are_no_way_are_refused(void **state)
{
    (void)state;
    struct setup s;
    setup_init(&s, WAY_WEIGHTED);
    s.way.count = 2;
    assert_int_equal(policy_decide(NULL, NULL, &s.params, &s.request, s.c, 3, &s.d), ERR_INVALID);
    setup_init(&s, WAYS);
    assert_int_equal(policy_decide(NULL, NULL, &s.params, &s.request, s.c, 3, &s.d), ERR_INVALID);
    setup_init(&s, WAY_WEIGHTED);
    s.way.candidates[1].weight = WAY_WEIGHT_MAX + 1;
    assert_int_equal(policy_decide(NULL, NULL, &s.params, &s.request, s.c, 3, &s.d), ERR_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_way_has_a_name_and_litellms_names_are_known),
        cmocka_unit_test(priority_comes_before_the_measure_and_the_measure_before_the_draw),
        cmocka_unit_test(shares_are_those_of_the_weights),
        cmocka_unit_test(without_any_weight_the_first_is_certain),
        cmocka_unit_test(sixty_four_of_the_greatest_weight_do_not_overflow),
        cmocka_unit_test(cost_and_latency_are_the_decisions_own),
        cmocka_unit_test(exclusions_come_before_the_way),
        cmocka_unit_test(equals_are_drawn_and_the_chance_is_recorded),
        cmocka_unit_test(inputs_that_are_no_way_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
