#include "dataplane/upstream/retry.h"

#include <pthread.h>
#include <string.h>

#include "tests/lib/fault.h"

static void f16_three_retries_are_always_allowed_then_a_fifth_of_the_requests(void **state)
{
    (void)state;
    struct retry_budget b = {0};
    for (int i = 0; i < 3; i++)
        assert_true(retry_budget_take(&b, 100000));
    assert_false(retry_budget_take(&b, 100000));
    for (int i = 0; i < 20; i++)
        retry_budget_request(&b, (uint32_t)i, 100001);
    assert_true(retry_budget_take(&b, 100001)); /* 20 % of 20 is 4. */
    assert_false(retry_budget_take(&b, 100001));
}

static void f16_the_budget_forgets_after_two_windows(void **state)
{
    (void)state;
    struct retry_budget b = {0};
    for (int i = 0; i < 3; i++)
        assert_true(retry_budget_take(&b, 100000));
    assert_false(retry_budget_take(&b, 111000));
    assert_true(retry_budget_take(&b, 135000));
}

/* Whoever serves them: a node with four workers has no more than a node with one. */
static void f16_the_budget_is_the_nodes_however_many_workers_it_has(void **state)
{
    (void)state;
    struct retry_budget b = {0};
    for (uint32_t i = 0; i < 1000; i++)
        retry_budget_request(&b, i % 4, 100000);
    unsigned taken = 0;
    while (retry_budget_take(&b, 100001))
        taken++;
    assert_int_equal(taken, 200);
}

static void f16_requests_of_the_last_window_count_and_older_ones_do_not(void **state)
{
    (void)state;
    struct retry_budget b = {0};
    for (uint32_t i = 0; i < 100; i++)
        retry_budget_request(&b, 70, 100000); /* More workers than lanes share some. */
    unsigned taken = 0;
    while (retry_budget_take(&b, 110000))
        taken++;
    assert_int_equal(taken, 20);
    taken = 0;
    while (retry_budget_take(&b, 130000))
        taken++;
    assert_int_equal(taken, 3);
}

static void f16_a_clock_that_was_read_late_gives_nothing_back(void **state)
{
    (void)state;
    struct retry_budget b = {0};
    for (int i = 0; i < 3; i++)
        assert_true(retry_budget_take(&b, 120000));
    assert_false(retry_budget_take(&b, 119999));
    assert_false(retry_budget_take(&b, 120000));
}

#define WORKERS  4
#define REQUESTS 20000

struct worker {
    pthread_t thread;
    struct retry_budget *budget;
    uint32_t lane;
    unsigned retries, hedges;
};

static void *work(void *arg)
{
    struct worker *w = arg;
    for (uint32_t i = 0; i < REQUESTS; i++) {
        retry_budget_request(w->budget, w->lane, 100000);
        w->retries += retry_budget_take(w->budget, 100000);
        w->hedges += retry_budget_take_hedge(w->budget, UINT32_MAX / 20 + 1, 100000);
    }
    return NULL;
}

/* All want one for every request, all at once. */
static void f16_f17_workers_that_all_want_more_get_no_more_than_their_share(void **state)
{
    (void)state;
    static struct retry_budget b;
    struct worker workers[WORKERS];
    unsigned retries = 0, hedges = 0;
    memset(&b, 0, sizeof b);
    for (uint32_t i = 0; i < WORKERS; i++) {
        workers[i] = (struct worker){.budget = &b, .lane = i};
        assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
    }
    for (uint32_t i = 0; i < WORKERS; i++) {
        pthread_join(workers[i].thread, NULL);
        retries += workers[i].retries;
        hedges += workers[i].hedges;
    }
    assert_in_range(retries, WORKERS * REQUESTS / 5 - WORKERS, WORKERS * REQUESTS / 5);
    assert_in_range(hedges, WORKERS * REQUESTS / 20 - WORKERS, WORKERS * REQUESTS / 20);
}

static void f17_second_attempts_have_a_share_of_their_own_and_no_floor(void **state)
{
    (void)state;
    struct retry_budget b = {0};
    const uint32_t five = 214748365;
    assert_false(retry_budget_take_hedge(&b, five, 100000));
    for (uint32_t i = 0; i < 19; i++)
        retry_budget_request(&b, i, 100000);
    assert_false(retry_budget_take_hedge(&b, five, 100000));
    retry_budget_request(&b, 0, 100000);
    assert_true(retry_budget_take_hedge(&b, five, 100000));
    assert_false(retry_budget_take_hedge(&b, five, 100000));
    assert_true(retry_budget_take(&b, 100000)); /* What these have used is not those'. */
    assert_false(retry_budget_take_hedge(&b, 0, 100000));
}

static void f16_backoff_is_full_jitter_that_doubles_up_to_its_cap(void **state)
{
    (void)state;
    assert_int_equal(retry_backoff_ms(0, 49), 49);
    assert_int_equal(retry_backoff_ms(0, 50), 0);
    assert_int_equal(retry_backoff_ms(1, 99), 99);
    assert_int_equal(retry_backoff_ms(1, 100), 0);
    assert_int_equal(retry_backoff_ms(60, 1999), 1999);
    assert_int_equal(retry_backoff_ms(60, 2000), 0);
}

static void b41_retry_after_is_clamped_and_never_trusted(void **state)
{
    (void)state;
    static const struct {
        const char *ms, *header;
        uint32_t want;
        bool known;
    } rows[] = {
        {NULL, "5", 5000, true},
        {NULL, " 5 ", 5000, true},
        {NULL, "0", 0, true},
        {NULL, "0.25", 250, true},
        {"250", "5", 250, true},
        {"12.5", NULL, 12, true},
        {"x", "5", 5000, true},
        {NULL, "-5", 0, false},
        {NULL, "+5", 0, false},
        {NULL, "1e3", 0, false},
        {NULL, "", 0, false},
        {NULL, NULL, 0, false},
        {NULL, "99999999999999999999999999", 300000, true},
        {"99999999999999999999999999", NULL, 300000, true},
        {NULL, "300", 300000, true},
        {NULL, "301", 300000, true},
        {NULL, "Sun, 06 Nov 1994 08:49:47 GMT", 10000, true},
        {NULL, "Sun, 06 Nov 1994 08:49:27 GMT", 0, true},
        {NULL, "Sun, 06 Nov 2094 08:49:37 GMT", 300000, true},
        {NULL, "Sun, 06 Nox 1994 08:49:47 GMT", 0, false},
        {NULL, "Sunday, 06-Nov-94 08:49:37 GMT", 0, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        bool known = !rows[i].known;
        uint32_t ms = retry_after_ms(str_from(rows[i].ms), str_from(rows[i].header),
                                     784111777LL * 1000000, &known);
        assert_int_equal(ms, rows[i].want);
        assert_int_equal(known, rows[i].known);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(f16_three_retries_are_always_allowed_then_a_fifth_of_the_requests),
        cmocka_unit_test(f16_the_budget_forgets_after_two_windows),
        cmocka_unit_test(f16_the_budget_is_the_nodes_however_many_workers_it_has),
        cmocka_unit_test(f16_requests_of_the_last_window_count_and_older_ones_do_not),
        cmocka_unit_test(f16_a_clock_that_was_read_late_gives_nothing_back),
        cmocka_unit_test(f16_f17_workers_that_all_want_more_get_no_more_than_their_share),
        cmocka_unit_test(f17_second_attempts_have_a_share_of_their_own_and_no_floor),
        cmocka_unit_test(f16_backoff_is_full_jitter_that_doubles_up_to_its_cap),
        cmocka_unit_test(b41_retry_after_is_clamped_and_never_trusted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
