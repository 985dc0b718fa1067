/* What a call's counts come to. */
#include "dataplane/request/account.h"

#include "tests/lib/fault.h"

/* Rates a million tokens, so that a token of each kind costs a number of its own. */
static const struct snapshot_price price = {.id = 9,
                                            .price.base = {.input = 1000000,
                                                           .output = 5000000,
                                                           .cached_read = 100000,
                                                           .cache_write = 1250000,
                                                           .cache_write_1h = 2000000,
                                                           .reasoning = PRICE_UNKNOWN}};
static const struct snapshot_deployment deployment = {.price_count = 1, .prices = &price};

static void what_is_kept_an_hour_costs_its_own_rate(void **state)
{
    const struct call_usage usage = {.known = true,
                                     .tokens_in = 1000,
                                     .tokens_cached = 200,
                                     .tokens_cache_write = 300,
                                     .tokens_cache_write_1h = 100,
                                     .tokens_out = 10};
    uint64_t price_id = 0;
    int64_t cost = 0;
    (void)state;
    assert_true(account_cost(&deployment, 1, &usage, &price_id, &cost));
    assert_int_equal(price_id, 9);
    assert_int_equal(cost, 500 + 200 / 10 + 250 + 100 * 2 + 10 * 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_kept_an_hour_costs_its_own_rate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
