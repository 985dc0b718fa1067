/* The rules of granting, each with the numbers that decide it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "controlplane/budgets/grant.h"

#define LIMIT 1024000 /* min_grant 1000 */

static struct grant_answer report(struct grant_period *p, struct grant_row *row,
                                  struct grant_usage u, uint32_t nodes, int64_t recallable)
{
    const struct grant_context c = {.active_nodes = nodes, .recallable = recallable};
    return grant_report(p, row, &u, &c);
}

static void a_grant_is_bounded_by_want_share_and_what_is_left(void **state)
{
    (void)state;
    static const struct {
        int64_t committed, want, need;
        uint32_t nodes;
        int64_t granted;
    } cases[] = {
        {0, 500, 0, 1, 500},                 /* What it wants, */
        {0, 2000000, 0, 1, LIMIT / 2},       /* at most half, */
        {0, 2000000, 0, 4, LIMIT / 8},       /* or a share of half, */
        {0, 2000000, 0, 0, LIMIT / 2},       /* (nobody counted is one) */
        {LIMIT - 4000, 2000000, 0, 4, 1000}, /* but never less than min_grant, */
        {LIMIT - 400, 2000000, 0, 4, 400},   /* of what is there, */
        {LIMIT, 2000000, 5, 4, 0},           /* which may be nothing, */
        {LIMIT + 10, 2000000, 5, 4, 0},      /* or less. */
        {0, 0, 700000, 8, 700000},           /* A request's need goes before the share, */
        {LIMIT - 1000, 0, 700000, 8, 1000},  /* not before the limit. */
        {0, 3000, 700000, 8, 700000},        /* Also when want is smaller. */
        {0, 0, 0, 1, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct grant_period p = {.limit = LIMIT, .committed = cases[i].committed};
        struct grant_row row = {0};
        struct grant_answer a =
            report(&p, &row, (struct grant_usage){.want = cases[i].want, .need = cases[i].need},
                   cases[i].nodes, 0);
        if (a.granted != cases[i].granted)
            fail_msg("case %zu: %lld", i, (long long)a.granted);
        assert_int_equal(row.g, a.granted);
        assert_int_equal(p.committed, cases[i].committed + a.granted);
    }
}

static void what_is_held_already_counts_towards_what_is_wanted(void **state)
{
    (void)state;
    struct grant_period p = {.limit = LIMIT, .committed = 1000};
    struct grant_row row = {.g = 1000};
    assert_int_equal(report(&p, &row, (struct grant_usage){.want = 900}, 1, 0).granted, 0);
    assert_int_equal(report(&p, &row, (struct grant_usage){.want = 1200}, 1, 0).granted, 200);
    /* Spent money is not held; reserved is, so a need comes on top of it. */
    struct grant_usage u = {.settled = 600, .reserved = 500, .granted = 1200, .need = 300};
    assert_int_equal(report(&p, &row, u, 1, 0).granted, 200);
    assert_int_equal(row.s, 600);
    assert_int_equal(p.settled, 600);
}

static void grants_halve_as_the_money_ends(void **state)
{
    (void)state;
    struct grant_period p = {.limit = LIMIT};
    struct grant_row rows[2] = {0};
    int64_t last = LIMIT;
    int grants = 0;
    for (;; grants++) {
        struct grant_row *row = &rows[grants % 2];
        struct grant_usage u = {.granted = row->g, .settled = row->g, .want = LIMIT};
        struct grant_answer a = report(&p, row, u, 2, 0);
        assert_true(a.granted <= last);
        last = a.granted;
        if (a.granted == 0) {
            assert_true(a.exhausted);
            break;
        }
    }
    assert_int_equal(p.committed, LIMIT);
    assert_in_range(grants, 15, 60);
}

static void old_and_repeated_reports_change_nothing(void **state)
{
    (void)state;
    struct grant_period p = {.limit = LIMIT};
    struct grant_row row = {0};
    (void)report(&p, &row, (struct grant_usage){.want = 1000}, 1, 0);
    struct grant_usage u = {.granted = 1000, .settled = 300, .returned = 200};
    (void)report(&p, &row, u, 1, 0);
    struct grant_period p1 = p;
    struct grant_row row1 = row;
    (void)report(&p, &row, u, 1, 0);
    (void)report(&p, &row, (struct grant_usage){.granted = 500, .settled = 100}, 1, 0);
    assert_memory_equal(&p, &p1, sizeof p);
    assert_memory_equal(&row, &row1, sizeof row);
    assert_int_equal(p.committed, 800);
}

static void under_reservation_is_committed_afterwards(void **state)
{
    (void)state;
    struct grant_period p = {.limit = 1000, .committed = 1000};
    struct grant_row row = {.g = 1000};
    struct grant_answer a =
        report(&p, &row, (struct grant_usage){.granted = 1000, .settled = 1100}, 1, 0);
    assert_int_equal(row.g, 1100);
    assert_int_equal(p.committed, 1100);
    assert_int_equal(a.deficit, 100); /* Others give back, if they can. */
    assert_true(a.exhausted);
}

static void commits_that_a_failover_lost_come_back_with_the_echo(void **state)
{
    (void)state;
    struct grant_period p = {.limit = LIMIT};
    struct grant_row row = {0};
    const struct grant_context learning = {.active_nodes = 1, .learning = true};
    struct grant_usage u = {
        .granted = 5000, .settled = 100, .returned = 400, .want = 100000, .need = 10};
    struct grant_answer a = grant_report(&p, &row, &u, &learning);
    assert_int_equal(a.granted, 0);
    assert_false(a.exhausted);
    assert_true(a.recalling); /* Ask again: the answer is only late. */
    assert_int_equal(row.g, 5000);
    assert_int_equal(p.committed, 4600);
    assert_int_equal(p.settled, 100);
}

static void recalls_take_from_who_holds_most(void **state)
{
    (void)state;
    struct grant_period p = {.limit = LIMIT, .committed = LIMIT - 100};
    struct grant_row row = {0};
    struct grant_answer a = report(&p, &row, (struct grant_usage){.need = 5000}, 3, 9000);
    assert_int_equal(a.granted, 100);
    assert_int_equal(a.deficit, 4900);
    assert_true(a.recalling);
    assert_false(a.exhausted);
    struct grant_holding h[4] = {{.outstanding = 3000},
                                 {.outstanding = 6000, .reserved = 5500},
                                 {.outstanding = 900},
                                 {.outstanding = 4000}};
    assert_int_equal(grant_recall(h, 4, 1000, a.deficit), 5000);
    assert_true(h[0].chosen && h[3].chosen);
    assert_false(h[1].chosen || h[2].chosen);
    struct grant_holding one[2] = {{.outstanding = 3000}, {.outstanding = 9000}};
    (void)grant_recall(one, 2, 1000, 5000);
    assert_true(one[1].chosen && !one[0].chosen);
    assert_int_equal(grant_recall(NULL, 0, 1000, 5000), 0);
}

static void a_lowered_limit_grants_nothing_and_asks_back(void **state)
{
    (void)state;
    struct grant_period p = {.limit = 600, .committed = 1000, .adjust = 50};
    struct grant_row row = {.g = 300};
    struct grant_answer a =
        report(&p, &row, (struct grant_usage){.granted = 300, .want = 500}, 2, 400);
    assert_int_equal(a.granted, 0);
    assert_int_equal(a.deficit, 450);
    assert_false(a.exhausted);
    assert_int_equal(row.g, 300); /* Never taken away from here. */
    /* As returns arrive, the commitment falls below the new limit. */
    (void)report(&p, &row, (struct grant_usage){.granted = 300, .returned = 300}, 2, 0);
    assert_int_equal(p.committed, 700);
}

static void a_final_report_frees_the_rest(void **state)
{
    (void)state;
    static const struct {
        bool exact, strict;
        enum grant_state state;
        int64_t committed;
    } cases[] = {
        {true, true, GRANT_CLOSED, 250},
        {true, false, GRANT_CLOSED, 250},
        {false, false, GRANT_CLOSED, 250}, /* Soft: the bound's bracket. */
        {false, true, GRANT_LOST, 950},    /* Strict: stores may be missing. */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct grant_period p = {.limit = LIMIT, .committed = 1000, .settled = 200};
        struct grant_row row = {.g = 1000, .s = 200};
        const struct grant_usage u = {.settled = 250, .returned = 50, .granted = 1000};
        grant_final(&p, &row, &u, cases[i].exact, cases[i].strict);
        assert_int_equal(row.state, cases[i].state);
        assert_int_equal(p.committed, cases[i].committed);
        assert_int_equal(p.committed, row.g - row.r);
        assert_int_equal(p.settled, 250);
    }
    /* What it never used is not in its report. */
    struct grant_period p = {.limit = LIMIT, .committed = 1000};
    struct grant_row row = {.g = 1000};
    grant_final(&p, &row, NULL, true, true);
    assert_int_equal(p.committed, 0);
}

static void a_lost_life_keeps_its_money_in_strict_mode_until_it_speaks(void **state)
{
    (void)state;
    struct grant_period p = {.limit = LIMIT, .committed = 1000, .settled = 200};
    struct grant_row row = {.g = 1000, .s = 200};
    grant_lose(&p, &row, true);
    assert_int_equal(row.state, GRANT_LOST);
    assert_int_equal(p.committed, 1000);
    assert_int_equal(report(&p, &row, (struct grant_usage){.want = 5000, .need = 50}, 1, 0).granted,
                     0);
    const struct grant_usage u = {.settled = 300, .returned = 600, .granted = 1000};
    grant_final(&p, &row, &u, true, true);
    assert_int_equal(row.state, GRANT_CLOSED);
    assert_int_equal(p.committed, 300);
    grant_lose(&p, &row, true);
    assert_int_equal(row.state, GRANT_CLOSED);
}

static void a_released_life_that_speaks_again_is_an_overage(void **state)
{
    (void)state;
    for (int soft = 0; soft < 2; soft++) {
        struct grant_period p = {.limit = LIMIT, .committed = 1000, .settled = 200};
        struct grant_row row = {.g = 1000, .s = 200};
        grant_lose(&p, &row, soft == 0);
        if (soft == 0)
            grant_release(&p, &row);
        assert_int_equal(row.state, GRANT_CLOSED);
        assert_int_equal(p.committed, 200);
        const struct grant_usage u = {
            .settled = 650, .returned = 350, .granted = 1000, .want = 5000, .need = 50};
        assert_int_equal(report(&p, &row, u, 1, 0).granted, 0);
        assert_int_equal(p.committed, 650);
        assert_int_equal(p.settled, 650);
        assert_int_equal(row.overage, 450);
        assert_int_equal(row.g - row.r, 650);
        grant_final(&p, &row, &u, true, soft == 0);
        assert_int_equal(p.committed, 650);
        assert_true(row.g >= row.s + row.r);
    }
}

static void absurd_reports_are_told_apart(void **state)
{
    (void)state;
    assert_true(grant_usage_valid(&(struct grant_usage){.settled = 5}));
    assert_false(grant_usage_valid(&(struct grant_usage){.settled = -1}));
    assert_false(grant_usage_valid(&(struct grant_usage){.want = INT64_MAX}));
    assert_false(grant_usage_valid(
        &(struct grant_usage){.settled = INT64_C(1) << 60, .returned = (INT64_C(1) << 61) - 5}));
}

/* ---- the bound of section 3.3, over all orders of messages of a small world ---- */

#define NODES 3

struct world {
    struct grant_period p;
    struct grant_row rows[NODES];
    int64_t known[NODES], s[NODES], r[NODES]; /* The nodes' own. */
    struct grant_usage mail[NODES][4];        /* Reports under way, in any order, any number. */
    uint64_t seed;
};

static uint64_t draw(struct world *w, uint64_t bound)
{
    w->seed = w->seed * UINT64_C(6364136223846793005) + 1442695040888963407;
    return (w->seed >> 33) % bound;
}

static void step(struct world *w)
{
    size_t n = draw(w, NODES);
    int64_t free = w->known[n] - w->s[n] - w->r[n];
    switch (draw(w, 5)) {
    case 0:
        w->s[n] += (int64_t)draw(w, (uint64_t)free + 1);
        break;
    case 1:
        w->r[n] += (int64_t)draw(w, (uint64_t)free + 1);
        break;
    case 2:
        w->mail[n][draw(w, 4)] = (struct grant_usage){.settled = w->s[n],
                                                      .returned = w->r[n],
                                                      .granted = w->known[n],
                                                      .want = (int64_t)draw(w, 400),
                                                      .need = (int64_t)draw(w, 60)};
        break;
    case 3:
        (void)report(&w->p, &w->rows[n], w->mail[n][draw(w, 4)], NODES, (int64_t)draw(w, 2));
        break;
    case 4:
        if (w->rows[n].g > w->known[n])
            w->known[n] = w->rows[n].g; /* The answer arrives; else it was lost. */
        break;
    }
}

static void whatever_is_reported_in_whatever_order_spend_stays_below_committed(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 300; seed++) {
        struct world w = {.p = {.limit = 1000}, .seed = seed};
        for (int i = 0; i < 400; i++) {
            step(&w);
            int64_t committed = 0, spent = 0;
            for (size_t n = 0; n < NODES; n++) {
                committed += w.rows[n].g - w.rows[n].r;
                spent += w.s[n];
                assert_true(w.rows[n].g >= w.rows[n].s + w.rows[n].r);
                assert_true(w.known[n] <= w.rows[n].g);
            }
            if (committed != w.p.committed || committed > w.p.limit || spent > committed)
                fail_msg("seed %llu, step %d", (unsigned long long)seed, i);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_grant_is_bounded_by_want_share_and_what_is_left),
        cmocka_unit_test(what_is_held_already_counts_towards_what_is_wanted),
        cmocka_unit_test(grants_halve_as_the_money_ends),
        cmocka_unit_test(old_and_repeated_reports_change_nothing),
        cmocka_unit_test(under_reservation_is_committed_afterwards),
        cmocka_unit_test(commits_that_a_failover_lost_come_back_with_the_echo),
        cmocka_unit_test(recalls_take_from_who_holds_most),
        cmocka_unit_test(a_lowered_limit_grants_nothing_and_asks_back),
        cmocka_unit_test(a_final_report_frees_the_rest),
        cmocka_unit_test(a_lost_life_keeps_its_money_in_strict_mode_until_it_speaks),
        cmocka_unit_test(a_released_life_that_speaks_again_is_an_overage),
        cmocka_unit_test(absurd_reports_are_told_apart),
        cmocka_unit_test(whatever_is_reported_in_whatever_order_spend_stays_below_committed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
