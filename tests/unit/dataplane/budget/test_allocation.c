/* Workers' calls: reserve, extend, settle, ask. */
#include <pthread.h>

#include "budget_fixture.h"
#include "common/base/mem.h"

static void a_budget_is_unknown_until_it_was_granted(void **state)
{
    struct budget_fix *f = *state;
    struct budget_reservation r;
    assert_int_equal(fix_reserve(f, &r, 5, 10), ERR_NOT_FOUND);
    assert_true(fix_report(f)); /* The first of a stream: hello. */
    fix_ack(f);
    uint64_t generation = budget_generation(f->table);
    assert_int_equal(budget_ask(f->table, 5, 10), 0);
    assert_true(fix_report(f));
    assert_int_equal(fix_usage(f, 5)->need, 10);
    assert_int_equal(fix_usage(f, 5)->period_start_us, 0);
    fix_ack(f);
    assert_int_equal(fix_grant(f, 5, 100), 0);
    assert_true(budget_generation(f->table) > generation);
    assert_int_equal(fix_reserve(f, &r, 5, 10), 0);
    assert_int_equal(r.lease_epoch, budget_table_epoch(f->table));
    struct budget_charge c = budget_ref_charge(&r.ref[0]);
    assert_int_equal(c.budget, 5);
    assert_int_equal(c.cfg, 1);
    assert_int_equal(c.period_start_us, f->wall_us / FIX_DAY * FIX_DAY);
}

static void a_path_is_reserved_whole_or_not_at_all(void **state)
{
    struct budget_fix *f = *state;
    struct budget_reservation r = {.count = 3};
    int64_t free = -1;
    for (uint64_t b = 1; b <= 3; b++) {
        assert_int_equal(fix_grant(f, b, (int64_t)b * 100), 0);
        assert_int_equal(budget_find(f->table, b, f->wall_us, &r.ref[3 - b]), 0);
    }
    assert_int_equal(budget_reserve(f->table, &r, 101, f->mono_ms, &free), ERR_LIMIT);
    assert_int_equal(free, 100);
    assert_int_equal(r.amount, 0);
    for (uint32_t i = 0; i < 3; i++)
        assert_int_equal(budget_ref_free(&r.ref[i]), (3 - (int64_t)i) * 100);
    assert_int_equal(budget_reserve(f->table, &r, 60, f->mono_ms, &free), 0);
    assert_int_equal(budget_extend(f->table, &r, 41, f->mono_ms, &free), ERR_LIMIT);
    assert_int_equal(free, 40);
    assert_int_equal(budget_extend(f->table, &r, 40, f->mono_ms, &free), 0);
    assert_int_equal(r.amount, 100);
    budget_shrink(&r, 90);
    struct budget_reservation held = r;
    budget_settle(&r, 70);
    assert_int_equal(r.count, 0);
    for (uint32_t i = 0; i < 3; i++)
        assert_int_equal(budget_ref_free(&held.ref[i]), (3 - (int64_t)i) * 100 - 70);
}

static void a_cost_above_the_reservation_stops_admission(void **state)
{
    struct budget_fix *f = *state;
    struct budget_reservation r, next;
    assert_int_equal(fix_grant(f, 1, 100), 0);
    assert_int_equal(fix_reserve(f, &r, 1, 50), 0);
    struct budget_ref ref = r.ref[0];
    budget_settle(&r, 130);
    assert_int_equal(budget_ref_free(&ref), -30);
    assert_int_equal(fix_reserve(f, &next, 1, 0), ERR_LIMIT);
    int64_t free = 5;
    next = (struct budget_reservation){.count = 1, .ref = {ref}};
    assert_int_equal(budget_reserve(f->table, &next, 1, f->mono_ms, &free), ERR_LIMIT);
    assert_int_equal(free, 0);
}

static void no_budget_on_the_path_charges_nothing(void **state)
{
    struct budget_fix *f = *state;
    struct budget_reservation r = {0};
    assert_int_equal(budget_reserve(f->table, &r, BUDGET_AMOUNT_MAX, UINT64_MAX, NULL), 0);
    budget_settle(&r, 1);
}

static void pressure_counts_what_is_spent_and_reserved_anywhere(void **state)
{
    struct budget_fix *f = *state;
    struct budget_reservation r;
    struct budget_alloc a = fix_alloc(f, 1, 500000);
    a.spent_others = 250000;
    assert_int_equal(budget_table_apply(f->table, &a, f->mono_ms, f->wall_us), 0);
    assert_int_equal(fix_reserve(f, &r, 1, 100000), 0);
    assert_int_equal(budget_ref_pressure(&r.ref[0]), 65536 * 35 / 100);
    struct budget_ref refs[2] = {r.ref[0], r.ref[0]};
    budget_settle(&r, 150000);
    assert_int_equal(budget_pressure(refs, 2), 65536 * 4 / 10);
    assert_int_equal(budget_pressure(refs, 0), 0);
    a.spent_others = 900000;
    assert_int_equal(budget_table_apply(f->table, &a, f->mono_ms, f->wall_us), 0);
    assert_int_equal(budget_pressure(refs, 1), BUDGET_PRESSURE_ONE);
}

static void below_half_of_a_grant_the_node_asks_by_itself(void **state)
{
    struct budget_fix *f = *state;
    struct budget_reservation r;
    assert_int_equal(fix_grant(f, 1, 100), 0);
    assert_true(fix_report(f));
    fix_ack(f);
    fix_pass(f, 10);
    assert_int_equal(fix_reserve(f, &r, 1, 40), 0);
    assert_false(fix_report(f));
    assert_int_equal(fix_reserve(f, &r, 1, 20), 0);
    assert_true(fix_report(f));
    assert_int_equal(fix_usage(f, 1)->reserved, 60);
}

static void nothing_left_is_said_at_once_and_asked_again_later(void **state)
{
    struct budget_fix *f = *state;
    struct budget_alloc a = fix_alloc(f, 1, 0);
    a.exhausted = true;
    assert_int_equal(budget_table_apply(f->table, &a, f->mono_ms, f->wall_us), 0);
    assert_true(fix_report(f));
    fix_ack(f);
    assert_int_equal(budget_ask(f->table, 1, 10), ERR_LIMIT);
    assert_false(fix_report(f));
    fix_pass(f, 1001);
    assert_true(fix_report(f));
    assert_int_equal(fix_usage(f, 1)->need, 10);
    fix_ack(f);
    assert_int_equal(fix_grant(f, 1, 10), 0);
    assert_int_equal(budget_ask(f->table, 1, 10), 0);
}

static void all_that_wait_are_wanted_together(void **state)
{
    struct budget_fix *f = *state;
    assert_true(fix_report(f));
    fix_ack(f);
    assert_int_equal(budget_ask(f->table, 1, 10), 0);
    assert_true(fix_report(f));
    assert_int_equal(fix_usage(f, 1)->want, 40); /* One, and a few more. */
    fix_ack(f);
    for (int i = 0; i < 64; i++)
        assert_int_equal(budget_ask(f->table, 1, i % 2 == 0 ? 10 : 20), 0);
    assert_true(fix_report(f));
    assert_int_equal(fix_usage(f, 1)->need, 20);      /* So that each can be served, */
    assert_int_equal(fix_usage(f, 1)->want, 32 * 30); /* so that all are. */
    fix_ack(f);
    for (int i = 0; i < 64; i++)
        assert_int_equal(budget_ask(f->table, 1, BUDGET_AMOUNT_MAX / 3), 0);
    assert_true(fix_report(f));
    assert_int_equal(fix_usage(f, 1)->want, BUDGET_AMOUNT_MAX);
}

static void without_contact_an_ask_says_so(void **state)
{
    struct budget_fix *f = *state;
    assert_int_equal(budget_ask(f->table, 1, 10), ERR_UNAVAILABLE);
    assert_true(fix_report(f));
    fix_ack(f);
    assert_int_equal(budget_ask(f->table, 1, 10), 0);
    budget_table_lost(f->table);
    assert_int_equal(budget_ask(f->table, 1, 10), ERR_UNAVAILABLE);
}

static void many_budgets_may_wait_at_once_within_a_bound(void **state)
{
    struct budget_fix *f = *state;
    unsigned busy = 0;
    assert_true(fix_report(f));
    fix_ack(f);
    for (uint64_t b = 1; b <= 3000; b++)
        busy += budget_ask(f->table, b, 1) == ERR_BUSY;
    assert_in_range(busy, 3000 - 1024, 2800);
    unsigned told = 0;
    while (fix_report(f)) {
        told += f->report.usage_count;
        fix_ack(f);
    }
    assert_int_equal(told, 3000 - busy);
}

/* ---- threads ---- */

#define THREADS 4
#define ROUNDS  20000

struct crowd {
    struct budget_fix *f;
    unsigned seed;
    int64_t spent;
};

static void *crowd_run(void *arg)
{
    struct crowd *c = arg;
    uint64_t x = c->seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
    for (int i = 0; i < ROUNDS; i++) {
        x = x * UINT64_C(6364136223846793005) + 1442695040888963407;
        struct budget_reservation r = {.count = 3};
        int64_t free, amount = (int64_t)(x >> 40) % 100 + 1;
        bool found = true;
        for (uint64_t b = 1; b <= 3; b++)
            found = budget_find(c->f->table, b, c->f->wall_us, &r.ref[b - 1]) == 0 && found;
        if (!found || budget_reserve(c->f->table, &r, amount, c->f->mono_ms, &free) != 0) {
            (void)!budget_ask(c->f->table, x >> 62, amount);
            continue;
        }
        if (x >> 63 != 0 && budget_extend(c->f->table, &r, 5, c->f->mono_ms, &free) == 0)
            budget_shrink(&r, amount);
        budget_settle(&r, amount - (int64_t)(x & 1));
        c->spent += amount - (int64_t)(x & 1);
    }
    return NULL;
}

static void workers_at_once_spend_no_more_than_was_granted(void **state)
{
    struct budget_fix *f = *state;
    struct crowd crowd[THREADS];
    pthread_t threads[THREADS];
    int64_t limit = 400000, granted = 1000, spent = 0;
    for (uint64_t b = 1; b <= 3; b++)
        assert_int_equal(fix_grant(f, b, granted), 0);
    for (unsigned i = 0; i < THREADS; i++) {
        crowd[i] = (struct crowd){.f = f, .seed = i + 1};
        assert_int_equal(pthread_create(&threads[i], NULL, crowd_run, &crowd[i]), 0);
    }
    /* Grants, recalls and reports go on beside them. */
    for (int i = 0; i < 400; i++) {
        granted += granted < limit ? 1000 : 0;
        for (uint64_t b = 1; b <= 3; b++) {
            struct budget_alloc a = fix_alloc(f, b, granted);
            a.recall = i % 16 == (int)b;
            a.keep = 100;
            assert_int_equal(budget_table_apply(f->table, &a, f->mono_ms, f->wall_us), 0);
        }
        budget_table_tick(f->table, f->mono_ms, f->wall_us);
        if (fix_report(f)) {
            for (uint32_t n = 0; n < f->report.usage_count; n++)
                assert_true(f->report.usage[n].settled + f->report.usage[n].returned <= granted);
            fix_ack(f);
        }
    }
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        spent += crowd[i].spent;
    }
    budget_table_opened(f->table);
    assert_true(fix_report(f));
    for (uint64_t b = 1; b <= 3; b++) {
        const struct budget_usage *u = fix_usage(f, b);
        assert_int_equal(u->settled, spent);
        assert_int_equal(u->reserved, 0);
        assert_true(u->settled + u->returned <= granted);
    }
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, fix_setup, fix_teardown)
    const struct CMUnitTest tests[] = {
        T(a_budget_is_unknown_until_it_was_granted),
        T(a_path_is_reserved_whole_or_not_at_all),
        T(a_cost_above_the_reservation_stops_admission),
        T(no_budget_on_the_path_charges_nothing),
        T(pressure_counts_what_is_spent_and_reserved_anywhere),
        T(below_half_of_a_grant_the_node_asks_by_itself),
        T(nothing_left_is_said_at_once_and_asked_again_later),
        T(all_that_wait_are_wanted_together),
        T(without_contact_an_ask_says_so),
        T(many_budgets_may_wait_at_once_within_a_bound),
        T(workers_at_once_spend_no_more_than_was_granted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
