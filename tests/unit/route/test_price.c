#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/route/price.h"
#include "tests/unit/route/fixture.h"

static void costs_are_exact_and_rounded_up_once(void **state)
{
    (void)state;
    struct price p = PRICE_UNKNOWN_ALL;
    int64_t cost = -7;
    p.base.input = 75000000; /* $0.075 a million: 75 nano-USD a thousand tokens */
    p.base.output = 300000000;
    assert_int_equal(price_cost(&p, &(struct price_tokens){.input = 1000, .output = 10}, &cost), 0);
    assert_int_equal(cost, 75000 + 3000);
    assert_int_equal(price_cost(&p, &(struct price_tokens){0}, &cost), 0);
    assert_int_equal(cost, 0);
    p.base.input = 1; /* A millionth of a nano-USD a token. */
    p.base.output = 1;
    assert_int_equal(price_cost(&p, &(struct price_tokens){.input = 1, .output = 1}, &cost), 0);
    assert_int_equal(cost, 1);
    assert_int_equal(price_cost(&p, &(struct price_tokens){.input = 1000000}, &cost), 0);
    assert_int_equal(cost, 1);
    assert_int_equal(price_cost(&p, &(struct price_tokens){.input = 1000001}, &cost), 0);
    assert_int_equal(cost, 2);
}

static void unknown_rates_are_not_free(void **state)
{
    (void)state;
    struct price p = PRICE_UNKNOWN_ALL;
    int64_t cost = -7;
    assert_int_equal(price_cost(&p, &(struct price_tokens){.input = 1}, &cost), ERR_NOT_FOUND);
    p.base.input = 0; /* Free is a price. */
    assert_int_equal(price_cost(&p, &(struct price_tokens){.input = 9}, &cost), 0);
    assert_int_equal(cost, 0);
    assert_int_equal(price_cost(&p, &(struct price_tokens){.output = 1}, &cost), ERR_NOT_FOUND);
    p.base.input = 2000000;
    p.base.output = 8000000;
    const struct price_tokens all = {100, 10, 30, 20, 40, 7};
    assert_int_equal(price_cost(&p, &all, &cost), 0);
    assert_int_equal(cost, 100 * 2 + 10 * 8 + 30 * 2 + 20 * 4 + 40 * 8 + 7 * 4);
    p.base.cached_read = 1000000;
    p.base.cache_write = 3000000;
    p.base.reasoning = 9000000;
    assert_int_equal(price_cost(&p, &all, &cost), 0);
    assert_int_equal(cost, 100 * 2 + 10 * 8 + 30 * 1 + 20 * 3 + 40 * 9 + 7 * 4);
    p.base.cache_write_1h = 5000000;
    assert_int_equal(price_cost(&p, &all, &cost), 0);
    assert_int_equal(cost, 100 * 2 + 10 * 8 + 30 * 1 + 20 * 3 + 40 * 9 + 7 * 5);
    p.base.output = -2;
    assert_int_equal(price_cost(&p, &all, &cost), ERR_INVALID);
    assert_false(price_is_valid(&p));
}

static void costs_that_do_not_fit_are_refused(void **state)
{
    (void)state;
    struct price p = {.base = {PRICE_RATE_MAX, PRICE_RATE_MAX, PRICE_RATE_MAX, PRICE_RATE_MAX,
                               PRICE_RATE_MAX, PRICE_RATE_MAX}};
    int64_t cost = -7;
    const struct price_tokens huge = {UINT64_MAX, UINT64_MAX, UINT64_MAX,
                                      UINT64_MAX, UINT64_MAX, UINT64_MAX};
    assert_int_equal(price_cost(&p, &huge, &cost), ERR_OVERFLOW);
    assert_int_equal(cost, -7);
    const uint64_t most = INT64_MAX / 1000000000;
    assert_int_equal(price_cost(&p, &(struct price_tokens){.output = most}, &cost), 0);
    assert_int_equal(price_cost(&p, &(struct price_tokens){.output = most + 1}, &cost),
                     ERR_OVERFLOW);
}

static void an_affordable_output_never_exceeds_the_budget(void **state)
{
    (void)state;
    struct random r = {15};
    for (unsigned i = 0; i < 20000; i++) {
        struct price p = PRICE_UNKNOWN_ALL;
        struct price_tokens t = {.input = random_below(&r, 100000)};
        int64_t budget = random_between(&r, -5, 1000000000), cost;
        uint64_t tokens;
        p.base.input = random_between(&r, 0, 80000000000);
        p.base.output = random_between(&r, 1, 80000000000);
        assert_int_equal(price_affordable_output(&p, &t, budget, &tokens), 0);
        if (tokens > 0) {
            t.output = tokens;
            assert_int_equal(price_cost(&p, &t, &cost), 0);
            assert_true(cost <= budget);
        }
        t.output = tokens + 1;
        assert_int_equal(price_cost(&p, &t, &cost), 0);
        assert_true(cost > budget);
    }
    struct price p = PRICE_UNKNOWN_ALL;
    uint64_t tokens;
    p.base.input = 1;
    const struct price_tokens none = {0};
    assert_int_equal(price_affordable_output(&p, &none, 5, &tokens), ERR_NOT_FOUND);
    p.base.output = 0;
    assert_int_equal(price_affordable_output(&p, &none, 5, &tokens), 0);
    assert_true(tokens == UINT64_MAX);
}

/* ---- a slow reference: decimal digits, no arithmetic wider than a digit times a digit ---- */

enum { DIGITS = 48 };
struct big {
    uint8_t digit[DIGITS]; /* Least first. */
};

static struct big big_from(uint64_t v)
{
    struct big b = {0};
    for (unsigned i = 0; v > 0; i++, v /= 10)
        b.digit[i] = (uint8_t)(v % 10);
    return b;
}

static struct big big_add(struct big a, struct big b)
{
    unsigned carry = 0;
    for (unsigned i = 0; i < DIGITS; i++) {
        carry += (unsigned)a.digit[i] + b.digit[i];
        a.digit[i] = (uint8_t)(carry % 10);
        carry /= 10;
    }
    assert_int_equal(carry, 0);
    return a;
}

static struct big big_mul(struct big a, struct big b)
{
    struct big sum = {0};
    for (unsigned i = 0; i < DIGITS; i++) {
        unsigned carry = 0;
        for (unsigned k = 0; i + k < DIGITS; k++) {
            carry += (unsigned)a.digit[k] * b.digit[i] + sum.digit[i + k];
            sum.digit[i + k] = (uint8_t)(carry % 10);
            carry /= 10;
        }
        assert_int_equal(carry, 0);
    }
    return sum;
}

static int big_compare(struct big a, struct big b)
{
    for (unsigned i = DIGITS; i-- > 0;) {
        if (a.digit[i] != b.digit[i])
            return a.digit[i] < b.digit[i] ? -1 : 1;
    }
    return 0;
}

static uint64_t below(struct random *r, uint64_t bound)
{
    return random_u64(r) % bound;
}

/* A rate as the header says it counts; 2 * input when it must. */
static uint64_t rate_of(int64_t rate, int64_t otherwise)
{
    return (uint64_t)(rate != PRICE_UNKNOWN ? rate : otherwise);
}

static struct big reference_total(const struct price *p, const struct price_tokens *t)
{
    struct big in = big_add(big_add(big_from(t->input), big_from(t->cached_read)),
                            big_add(big_from(t->cache_write), big_from(t->cache_write_1h)));
    const struct price_rates *r = &p->base;
    for (uint32_t i = 0; i < p->tier_count; i++) {
        if (big_compare(in, big_from(p->tiers[i].above)) > 0)
            r = &p->tiers[i].rates;
    }
    int64_t hour = 2 * r->input > r->cache_write ? 2 * r->input : r->cache_write;
    const uint64_t part[][2] = {
        {t->input, (uint64_t)r->input},
        {t->output, (uint64_t)r->output},
        {t->cached_read, rate_of(r->cached_read, r->input)},
        {t->cache_write, rate_of(r->cache_write, 2 * r->input)},
        {t->cache_write_1h, rate_of(r->cache_write_1h, hour)},
        {t->reasoning, rate_of(r->reasoning, r->output)},
    };
    struct big total = {0};
    for (unsigned i = 0; i < sizeof part / sizeof part[0]; i++)
        total = big_add(total, big_mul(big_from(part[i][0]), big_from(part[i][1])));
    return total;
}

static int64_t any_rate(struct random *r, bool known)
{
    if (!known && below(r, 3) == 0)
        return PRICE_UNKNOWN;
    return below(r, 20) == 0 ? PRICE_RATE_MAX
                             : random_between(r, 0, below(r, 2) == 0 ? 100000000000 : 9);
}

static struct price_rates any_rates(struct random *r)
{
    return (struct price_rates){any_rate(r, true),  any_rate(r, true),  any_rate(r, false),
                                any_rate(r, false), any_rate(r, false), any_rate(r, false)};
}

static struct price any_price(struct random *r)
{
    struct price p = {.base = any_rates(r), .tier_count = (uint32_t)below(r, PRICE_TIERS_MAX + 1)};
    uint64_t above = 0;
    for (uint32_t i = 0; i < p.tier_count; i++) {
        above += 1 + below(r, 1000);
        p.tiers[i] = (struct price_tier){above, any_rates(r)};
    }
    return p;
}

/* `most` tokens, split at random over some of the kinds. */
static struct price_tokens any_split(struct random *r, uint64_t in, uint64_t out)
{
    struct price_tokens t = {0};
    uint64_t *const kind[] = {&t.input, &t.cached_read, &t.cache_write, &t.cache_write_1h};
    for (unsigned i = 0; i < 3; i++) {
        *kind[i] = below(r, 2) == 0 ? 0 : below(r, in + 1);
        in -= *kind[i];
    }
    *kind[below(r, 4)] += in;
    t.reasoning = below(r, 2) == 0 ? 0 : below(r, out + 1);
    t.output = out - t.reasoning;
    return t;
}

static void costs_equal_those_of_long_arithmetic(void **state)
{
    (void)state;
    struct random r = {4711};
    for (unsigned i = 0; i < 4000; i++) {
        struct price p = any_price(&r);
        uint64_t size = below(&r, 8) == 0 ? UINT64_C(1) << 40 : 5000;
        struct price_tokens t = any_split(&r, below(&r, size), below(&r, size));
        int64_t cost = -7;
        int rc = price_cost(&p, &t, &cost);
        struct big total = reference_total(&p, &t), million = big_from(1000000);
        if (rc == ERR_OVERFLOW) {
            assert_true(big_compare(total, big_mul(big_from(INT64_MAX), million)) > 0);
            continue;
        }
        assert_int_equal(rc, 0);
        /* The smallest whole number that is enough. */
        assert_true(big_compare(big_mul(big_from((uint64_t)cost), million), total) >= 0);
        if (cost > 0)
            assert_true(big_compare(big_mul(big_from((uint64_t)cost - 1), million), total) < 0);
    }
}

static void no_usage_costs_more_than_the_worst_case(void **state)
{
    (void)state;
    struct random r = {815};
    for (unsigned i = 0; i < 20000; i++) {
        struct price p = any_price(&r);
        uint64_t in = below(&r, 5000), out = below(&r, 5000);
        struct price_tokens t = any_split(&r, below(&r, in + 1), below(&r, out + 1));
        int64_t worst, cost;
        assert_int_equal(price_worst(&p, in, out, &worst), 0);
        assert_int_equal(price_cost(&p, &t, &cost), 0);
        assert_true(cost <= worst);
        t = any_split(&r, in, out);
        assert_int_equal(price_cost(&p, &t, &cost), 0);
        assert_true(cost <= worst);
    }
}

static void the_worst_case_is_met_by_some_usage(void **state)
{
    (void)state;
    struct random r = {99};
    for (unsigned i = 0; i < 2000; i++) {
        struct price p = any_price(&r);
        uint64_t in = below(&r, 3000), out = below(&r, 3000);
        int64_t worst, cost, most = 0;
        assert_int_equal(price_worst(&p, in, out, &worst), 0);
        for (uint32_t tier = 0; tier <= p.tier_count; tier++) {
            uint64_t end = tier < p.tier_count ? p.tiers[tier].above : UINT64_MAX;
            uint64_t n = in < end ? in : end;
            for (unsigned kind = 0; kind < 8; kind++) {
                struct price_tokens t = {0};
                uint64_t *const kinds[] = {&t.input, &t.cached_read, &t.cache_write,
                                           &t.cache_write_1h};
                *kinds[kind % 4] = n;
                *(kind < 4 ? &t.output : &t.reasoning) = out;
                assert_int_equal(price_cost(&p, &t, &cost), 0);
                most = cost > most ? cost : most;
            }
        }
        assert_int_equal(most, worst);
    }
}

static void a_clamped_output_is_the_largest_whose_worst_case_fits(void **state)
{
    (void)state;
    struct random r = {1717};
    for (unsigned i = 0; i < 20000; i++) {
        struct price p = any_price(&r);
        uint64_t in = below(&r, 5000), tokens;
        int64_t budget = random_between(&r, 0, 1000000000), worst;
        assert_int_equal(price_worst_output(&p, in, budget, &tokens), 0);
        assert_int_equal(price_worst(&p, in, 0, &worst), 0);
        if (worst > budget) {
            assert_true(tokens == 0);
            continue;
        }
        if (tokens < UINT32_MAX) {
            assert_int_equal(price_worst(&p, in, tokens, &worst), 0);
            assert_true(worst <= budget);
            assert_int_equal(price_worst(&p, in, tokens + 1, &worst), 0);
            assert_true(worst > budget);
        }
    }
}

static void an_affordable_output_counts_tiers_and_dear_reasoning(void **state)
{
    (void)state;
    struct random r = {31};
    for (unsigned i = 0; i < 20000; i++) {
        struct price p = any_price(&r);
        struct price_tokens t = any_split(&r, below(&r, 5000), 0);
        int64_t budget = random_between(&r, 0, 1000000000), cost;
        uint64_t tokens;
        assert_int_equal(price_affordable_output(&p, &t, budget, &tokens), 0);
        if (tokens == 0 || tokens > UINT32_MAX)
            continue;
        t.output = below(&r, tokens + 1);
        t.reasoning = tokens - t.output;
        assert_int_equal(price_cost(&p, &t, &cost), 0);
        assert_true(cost <= budget);
    }
}

/* Gemini 2.5 Pro as published: above 200,000 tokens of prompt all of the request costs more. */
static void a_tier_charges_the_whole_request_from_one_token_above_its_size(void **state)
{
    (void)state;
    struct price p = {.base = PRICE_RATES_UNKNOWN, .tier_count = 1};
    p.base.input = 1250000000;
    p.base.output = 10000000000;
    p.base.cached_read = 125000000;
    p.tiers[0] = (struct price_tier){.above = 200000, .rates = PRICE_RATES_UNKNOWN};
    p.tiers[0].rates.input = 2500000000;
    p.tiers[0].rates.output = 15000000000;
    int64_t cost;
    struct price_tokens t = {.input = 150000, .cached_read = 50000, .output = 1000};
    assert_int_equal(price_cost(&p, &t, &cost), 0);
    assert_int_equal(cost, 150000 * 1250 + 50000 * 125 + 1000 * 10000);
    t.cached_read++; /* Kept in the tier at the price of input: nobody published less. */
    assert_int_equal(price_cost(&p, &t, &cost), 0);
    assert_int_equal(cost, INT64_C(200001) * 2500 + 1000 * 15000);
    assert_ptr_equal(price_rates_at(&p, 200000), &p.base);
    assert_ptr_equal(price_rates_at(&p, 200001), &p.tiers[0].rates);
    assert_true(price_known(&p));
    p.tiers[0].rates.output = PRICE_UNKNOWN;
    assert_false(price_known(&p));
    assert_int_equal(price_cost(&p, &t, &cost), ERR_NOT_FOUND);
    assert_int_equal(price_worst(&p, 200001, 1, &cost), ERR_NOT_FOUND);
    assert_int_equal(price_worst(&p, 200000, 1, &cost), 0);
}

static void f36_a_price_is_known_only_with_both_rates(void **state)
{
    (void)state;
    struct price p = PRICE_UNKNOWN_ALL;
    int64_t cost;
    uint64_t tokens;
    assert_false(price_known(NULL));
    assert_false(price_known(&p));
    p.base.input = 0;
    assert_false(price_known(&p));
    assert_int_equal(price_worst(&p, 5, 1, &cost), ERR_NOT_FOUND);
    assert_int_equal(price_worst_output(&p, 5, 1, &tokens), ERR_NOT_FOUND);
    p.base.output = 0; /* Free is known. */
    assert_true(price_known(&p));
    assert_int_equal(price_worst(&p, 5, 1, &cost), 0);
    assert_int_equal(cost, 0);
    assert_int_equal(price_worst_output(&p, 5, 0, &tokens), 0);
    assert_true(tokens == UINT64_MAX);
}

static void tiers_out_of_order_are_no_price(void **state)
{
    (void)state;
    struct price p = {.base = {1, 1, 1, 1, 1, 1}, .tier_count = 2};
    p.tiers[0] = p.tiers[1] = (struct price_tier){.above = 10, .rates = p.base};
    assert_false(price_is_valid(&p));
    p.tiers[1].above = 11;
    assert_true(price_is_valid(&p));
    p.tiers[0].above = 0;
    assert_false(price_is_valid(&p));
    p.tiers[0].above = 10;
    p.tier_count = PRICE_TIERS_MAX + 1;
    assert_false(price_is_valid(&p));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(costs_are_exact_and_rounded_up_once),
        cmocka_unit_test(unknown_rates_are_not_free),
        cmocka_unit_test(costs_that_do_not_fit_are_refused),
        cmocka_unit_test(an_affordable_output_never_exceeds_the_budget),
        cmocka_unit_test(costs_equal_those_of_long_arithmetic),
        cmocka_unit_test(no_usage_costs_more_than_the_worst_case),
        cmocka_unit_test(the_worst_case_is_met_by_some_usage),
        cmocka_unit_test(a_clamped_output_is_the_largest_whose_worst_case_fits),
        cmocka_unit_test(an_affordable_output_counts_tiers_and_dear_reasoning),
        cmocka_unit_test(a_tier_charges_the_whole_request_from_one_token_above_its_size),
        cmocka_unit_test(f36_a_price_is_known_only_with_both_rates),
        cmocka_unit_test(tiers_out_of_order_are_no_price),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
