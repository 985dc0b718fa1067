/* The fence, outages, periods, lives that the plane closed. */
#include "budget_fixture.h"

static void in_contact(struct budget_fix *f)
{
    assert_true(fix_report(f));
    fix_ack(f);
}

static void silence_beyond_the_fence_gives_everything_free_back(void **state)
{
    struct budget_fix *f = *state;
    struct budget_reservation r, late;
    in_contact(f);
    assert_int_equal(fix_grant(f, 1, 100), 0);
    assert_int_equal(fix_reserve(f, &r, 1, 30), 0);
    f->mono_ms += 3563000;
    assert_int_equal(fix_reserve(f, &late, 1, 1), 0);
    budget_settle(&late, 1);
    /* The process stood still: its workers see the clock before the control thread does. */
    f->mono_ms += 1000;
    assert_int_equal(fix_reserve(f, &late, 1, 1), ERR_UNAVAILABLE);
    fix_pass(f, 0);
    assert_int_equal(fix_reserve(f, &late, 1, 1), ERR_LIMIT);
    budget_settle(&r, 20);
    budget_table_opened(f->table);
    assert_true(fix_report(f));
    assert_int_equal(fix_usage(f, 1)->settled, 21);
    assert_int_equal(fix_usage(f, 1)->returned, 69);
    assert_int_equal(fix_usage(f, 1)->want, 0);
    fix_ack(f);
    struct budget_table_stats stats;
    budget_table_get_stats(f->table, &stats);
    assert_int_equal(stats.fences, 1);
    assert_false(stats.fenced);
    assert_int_equal(fix_grant(f, 1, 200), 0);
    assert_int_equal(fix_reserve(f, &late, 1, 100), 0);
}

static void only_an_answer_after_the_commit_counts_as_contact(void **state)
{
    struct budget_fix *f = *state;
    struct budget_reservation r;
    in_contact(f);
    assert_int_equal(fix_grant(f, 1, 100), 0);
    f->mono_ms += 3000000;
    assert_true(fix_report(f)); /* Sent now, answered much later. */
    f->mono_ms += 600000;
    fix_pass(f, 0);
    assert_int_equal(fix_reserve(f, &r, 1, 1), ERR_LIMIT);
    fix_ack(f);
    assert_int_equal(fix_grant(f, 1, 300), 0);
    assert_int_equal(fix_reserve(f, &r, 1, 1), 0);
    budget_settle(&r, 1);
    f->mono_ms += 2964001; /* Counted from when it was sent. */
    assert_int_equal(fix_reserve(f, &r, 1, 1), ERR_UNAVAILABLE);
}

static void an_outage_allows_its_credit_once(void **state)
{
    struct budget_fix *f = *state;
    struct budget_reservation r;
    struct budget_alloc a = fix_alloc(f, 1, 10);
    in_contact(f);
    a.offline = 100;
    assert_int_equal(budget_table_apply(f->table, &a, f->mono_ms, f->wall_us), 0);
    budget_table_lost(f->table);
    assert_int_equal(budget_ask(f->table, 1, 50), ERR_UNAVAILABLE);
    fix_pass(f, 1000);
    assert_int_equal(fix_reserve(f, &r, 1, 50), ERR_LIMIT);
    fix_pass(f, 20000);
    uint64_t generation = budget_generation(f->table);
    assert_int_equal(budget_ask(f->table, 1, 50), ERR_UNAVAILABLE);
    fix_pass(f, 100);
    assert_true(budget_generation(f->table) > generation);
    assert_int_equal(fix_reserve(f, &r, 1, 50), 0);
    budget_settle(&r, 50);
    assert_int_equal(fix_reserve(f, &r, 1, 60), 0);
    assert_int_equal(budget_ask(f->table, 1, 1), ERR_UNAVAILABLE);
    fix_pass(f, 100);
    struct budget_reservation more;
    assert_int_equal(fix_reserve(f, &more, 1, 1), ERR_LIMIT);
    /* Beyond the fence the credit stays, the allocation goes; here nothing of it is left. */
    fix_pass(f, 3600000);
    budget_settle(&r, 40);
    assert_int_equal(fix_reserve(f, &more, 1, 20), 0);
    budget_settle(&more, 20);
    budget_table_opened(f->table);
    in_contact(f);
    assert_int_equal(fix_reserve(f, &more, 1, 0), ERR_LIMIT);
    fix_pass(f, 1000);
    assert_true(fix_report(f));
    assert_int_equal(fix_usage(f, 1)->settled, 110);
    assert_int_equal(fix_usage(f, 1)->granted, 10);
    assert_int_equal(fix_usage(f, 1)->reserved, 0);
}

static void a_request_is_charged_where_it_was_admitted(void **state)
{
    struct budget_fix *f = *state;
    struct budget_reservation r, next;
    int64_t free;
    in_contact(f);
    assert_int_equal(fix_grant(f, 1, 1000), 0);
    for (int i = 0; i < 60; i++) { /* There is a rate to carry over. */
        assert_int_equal(fix_reserve(f, &r, 1, 10), 0);
        budget_settle(&r, 10);
        fix_pass(f, 1000);
        if (fix_report(f))
            fix_ack(f);
    }
    assert_int_equal(fix_reserve(f, &r, 1, 10), 0);
    int64_t start = f->wall_us / FIX_DAY * FIX_DAY;
    f->wall_us = start + FIX_DAY - 50000000;
    bool asked = false;
    for (int i = 0; i < 3 && !asked; i++) {
        fix_pass(f, 1000);
        assert_true(fix_report(f));
        for (uint32_t n = 0; n < f->report.usage_count; n++)
            asked = asked || (f->report.usage[n].next && f->report.usage[n].want > 100 &&
                              f->report.usage[n].period_start_us == start);
        fix_ack(f);
    }
    assert_true(asked);
    struct budget_alloc a = fix_alloc(f, 1, 77);
    a.period_start_us = start + FIX_DAY;
    a.period_end_us = start + 2 * FIX_DAY;
    assert_int_equal(budget_table_apply(f->table, &a, f->mono_ms, f->wall_us), 0);
    assert_int_equal(fix_reserve(f, &next, 1, 100), 0);
    assert_int_equal(budget_ref_charge(&next.ref[0]).period_start_us, start);
    budget_settle(&next, 0);
    f->wall_us = start + FIX_DAY;
    assert_int_equal(fix_reserve(f, &next, 1, 78), ERR_LIMIT);
    assert_int_equal(fix_reserve(f, &next, 1, 77), 0);
    assert_int_equal(budget_ref_charge(&next.ref[0]).period_start_us, start + FIX_DAY);
    assert_int_equal(budget_extend(f->table, &r, 5, f->mono_ms, &free), 0);
    budget_settle(&r, 15);
    fix_pass(f, 1000);
    assert_int_equal(fix_reserve(f, &r, 1, 1), ERR_LIMIT);
    assert_true(fix_report(f));
    unsigned old = 0;
    for (uint32_t n = 0; n < f->report.usage_count; n++)
        if (f->report.usage[n].period_start_us == start) {
            assert_int_equal(f->report.usage[n].settled, 615);
            assert_int_equal(f->report.usage[n].want, 0); /* No more for a period that is over. */
            old++;
        }
    assert_int_equal(old, 1);
}

static void slots_of_old_periods_serve_again(void **state)
{
    struct budget_fix *f = *state;
    struct budget_table_stats stats;
    struct budget_reservation r;
    in_contact(f);
    for (int day = 0; day < 20; day++) {
        for (uint64_t b = 1; b <= 300; b++) {
            assert_int_equal(fix_grant(f, b, 100), 0);
            assert_int_equal(fix_reserve(f, &r, b, 10), 0);
            budget_settle(&r, 10);
        }
        f->mono_ms += 86400000;
        f->wall_us += FIX_DAY;
        for (int i = 0; i < 5; i++) {
            fix_pass(f, 1000);
            while (fix_report(f)) {
                for (uint32_t n = 0; n < f->report.usage_count; n++)
                    assert_int_equal(f->report.usage[n].settled, 10);
                fix_ack(f);
            }
        }
    }
    budget_table_get_stats(f->table, &stats);
    assert_int_equal(stats.slots, 0);
    assert_int_equal(stats.refused_slots, 0);
}

static void a_changed_budget_asks_for_the_period_of_its_new_kind(void **state)
{
    struct budget_fix *f = *state;
    struct budget_reservation r;
    in_contact(f);
    assert_int_equal(fix_grant(f, 1, 100), 0);
    struct budget_alloc a = fix_alloc(f, 1, 100);
    a.stale = true;
    assert_int_equal(budget_table_apply(f->table, &a, f->mono_ms, f->wall_us), 0);
    assert_int_equal(fix_reserve(f, &r, 1, 1), ERR_NOT_FOUND);
    a = fix_alloc(f, 1, 40);
    a.cfg = 2;
    assert_int_equal(budget_table_apply(f->table, &a, f->mono_ms, f->wall_us), 0);
    assert_int_equal(fix_reserve(f, &r, 1, 1), 0);
    assert_int_equal(budget_ref_charge(&r.ref[0]).cfg, 2);
}

static void a_closed_life_settles_what_is_open_and_then_ends(void **state)
{
    struct budget_fix *f = *state;
    struct budget_reservation r, next;
    struct budget_ref ref;
    in_contact(f);
    assert_int_equal(fix_grant(f, 1, 100), 0);
    assert_int_equal(fix_reserve(f, &r, 1, 30), 0);
    ref = r.ref[0];
    fix_pass(f, 1000);
    assert_true(fix_report(f));
    uint64_t old = budget_table_epoch(f->table);
    struct budget_answer a = {
        .acked_report = f->report.report_no, .lease_epoch = old, .epoch_closed = old};
    assert_false(budget_table_answered(f->table, &a, f->mono_ms, f->wall_us));
    assert_true(budget_table_epoch(f->table) > old);
    /* Who found the old slot, and who wants more on it, is sent back. */
    int64_t free;
    next = (struct budget_reservation){.count = 1, .ref = {ref}};
    assert_int_not_equal(budget_reserve(f->table, &next, 1, f->mono_ms, &free), 0);
    assert_int_not_equal(budget_extend(f->table, &r, 1, f->mono_ms, &free), 0);
    assert_int_equal(fix_grant(f, 1, 50), 0);
    assert_int_equal(fix_reserve(f, &next, 1, 5), 0);
    fix_pass(f, 1000);
    assert_true(fix_report(f));
    assert_int_equal(f->report.final_epoch, 0);
    fix_ack(f);
    assert_int_equal(r.lease_epoch, old);
    budget_settle(&r, 25);
    fix_pass(f, 1000);
    assert_true(fix_report(f));
    assert_int_equal(f->report.final_epoch, old);
    assert_int_equal(fix_final(f, 1)->settled, 25);
    assert_int_equal(fix_final(f, 1)->returned, 70);
    fix_ack(f);
    /* The file is gone; a look at its slots finds nobody's. */
    next = (struct budget_reservation){.count = 1, .ref = {ref}};
    assert_int_not_equal(budget_reserve(f->table, &next, 1, f->mono_ms, &free), 0);
    /* A grant to the old life that was under way is not taken by the new one. */
    a = (struct budget_answer){.lease_epoch = old};
    assert_false(budget_table_answered(f->table, &a, f->mono_ms, f->wall_us));
}

static void a_wrong_clock_is_set_right_by_the_planes(void **state)
{
    struct budget_fix *f = *state;
    struct budget_reservation r;
    assert_int_equal(fix_grant(f, 1, 100), 0);
    struct budget_answer a = {.lease_epoch = budget_table_epoch(f->table),
                              .now_us = f->wall_us + FIX_DAY};
    assert_true(budget_table_answered(f->table, &a, f->mono_ms, f->wall_us));
    assert_int_equal(fix_reserve(f, &r, 1, 1), ERR_NOT_FOUND);
    a.now_us = f->wall_us + 4000000;
    assert_true(budget_table_answered(f->table, &a, f->mono_ms, f->wall_us));
    assert_int_equal(fix_reserve(f, &r, 1, 1), 0);
}

static void others_returns_are_asked_for_a_few_times(void **state)
{
    struct budget_fix *f = *state;
    in_contact(f);
    assert_int_equal(budget_ask(f->table, 1, 10), 0);
    unsigned asked = 0;
    for (int i = 0; i < 100; i++) {
        if (fix_report(f) && fix_usage(f, 1) != NULL && fix_usage(f, 1)->need == 10) {
            asked++;
            fix_ack(f);
            struct budget_alloc a = fix_alloc(f, 1, 3);
            a.recalling = true;
            assert_int_equal(budget_table_apply(f->table, &a, f->mono_ms, f->wall_us), 0);
        }
        fix_pass(f, 10);
    }
    assert_int_equal(asked, 7);
}

static void silence_is_broken_by_an_empty_report(void **state)
{
    struct budget_fix *f = *state;
    in_contact(f);
    fix_pass(f, 9999);
    assert_false(fix_report(f));
    fix_pass(f, 1);
    assert_true(fix_report(f));
    assert_int_equal(f->report.usage_count, 0);
    assert_false(budget_table_overdue(f->table, f->mono_ms));
    assert_true(budget_table_overdue(f->table, f->mono_ms + 5001));
}

static void an_echo_of_many_slots_takes_several_messages(void **state)
{
    struct budget_fix *f = *state;
    for (uint64_t b = 1; b <= 1050; b++)
        assert_int_equal(fix_grant(f, b, 100), 0);
    unsigned told = 0, begins = 0, ends = 0;
    while (fix_report(f)) {
        begins += f->report.echo_begin;
        ends += f->report.echo_end;
        told += f->report.usage_count;
        fix_ack(f);
    }
    assert_int_equal(told, 1050);
    assert_int_equal(begins, 1);
    assert_int_equal(ends, 1);
    struct budget_answer a = {.lease_epoch = budget_table_epoch(f->table), .echo = true};
    assert_true(budget_table_answered(f->table, &a, f->mono_ms, f->wall_us));
    assert_true(fix_report(f));
    assert_true(f->report.echo_begin);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, fix_setup, fix_teardown)
    const struct CMUnitTest tests[] = {
        T(silence_beyond_the_fence_gives_everything_free_back),
        T(only_an_answer_after_the_commit_counts_as_contact),
        T(an_outage_allows_its_credit_once),
        T(a_request_is_charged_where_it_was_admitted),
        T(slots_of_old_periods_serve_again),
        T(a_changed_budget_asks_for_the_period_of_its_new_kind),
        T(a_closed_life_settles_what_is_open_and_then_ends),
        T(a_wrong_clock_is_set_right_by_the_planes),
        T(others_returns_are_asked_for_a_few_times),
        T(silence_is_broken_by_an_empty_report),
        T(an_echo_of_many_slots_takes_several_messages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
