/* The table of a node: admission on several accounts, shares that come, end and change. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* After the headers it needs. */
#include <cmocka.h>

#include "common/base/mem.h"
#include "dataplane/limits/limits.h"
#include "tests/lib/fault.h"

#define SECOND_NS UINT64_C(1000000000)
#define START_NS  (1000 * SECOND_NS)
#define KEY       UINT64_C(77)
#define TEAM      UINT64_C(5)

static struct limits_report report; /* Large. */

static struct limits_table *alone(void)
{
    struct limits_table *t = limits_create(64, START_NS);
    assert_non_null(t);
    limits_alone(t, START_NS);
    return t;
}

static struct limits_hold hold_of(struct limits_table *t, uint64_t account, uint64_t rpm,
                                  uint64_t tpm, uint64_t concurrency)
{
    struct limits_hold h = {.count = 0};
    const struct limits_values v = {rpm, tpm, concurrency};
    assert_int_equal(limits_find(t, account, &v, 1, START_NS, &h), 0);
    return h;
}

/* How many of `tries` requests go through now; each has ended at once. */
static int go_through(struct limits_table *t, uint64_t rpm, int tries, uint64_t now_ns)
{
    int through = 0;
    for (int i = 0; i < tries; i++) {
        struct limits_refusal why;
        struct limits_hold h = hold_of(t, KEY, rpm, 0, 0);
        if (limits_admit(&h, 10, now_ns, &why)) {
            through++;
            limits_settle(&h, 10, now_ns);
        }
    }
    return through;
}

static void answer(struct limits_table *t, uint64_t no, uint32_t safe, uint32_t share,
                   uint64_t now_ns)
{
    const struct limits_share shares = {.account = KEY, .share = {share, share, share}};
    limits_report(t, now_ns, &report);
    const struct limits_answer a = {.report_no = report.report_no,
                                    .answer_no = no,
                                    .term = 1,
                                    .safe = safe,
                                    .nodes = 3,
                                    .count = share != 0,
                                    .shares = &shares};
    assert_true(limits_apply(t, &a, now_ns));
}

/* A node that has been in its place for a while. */
static struct limits_table *settled(uint32_t safe)
{
    struct limits_table *t = limits_create(64, START_NS - 200 * SECOND_NS);
    assert_non_null(t);
    answer(t, 1, safe, 0, START_NS - 100 * SECOND_NS);
    return t;
}

static void nothing_limited_is_always_admitted(void **state)
{
    (void)state;
    struct limits_table *t = alone();
    struct limits_refusal why;
    struct limits_hold h = hold_of(t, KEY, 0, 0, 0);
    assert_int_equal(h.count, 0);
    assert_true(limits_admit(&h, 1000, START_NS, &why));
    limits_settle(&h, 10, START_NS);
    limits_destroy(t);
}

static void requests_tokens_and_concurrency_each_refuse_with_their_wait(void **state)
{
    (void)state;
    struct limits_table *t = alone();
    struct limits_refusal why;
    assert_int_equal(go_through(t, 60, 70, START_NS), 60);
    struct limits_hold h = hold_of(t, KEY, 60, 0, 0);
    assert_false(limits_admit(&h, 10, START_NS, &why));
    assert_int_equal(why.kind, LIMITS_REQUESTS);
    assert_int_equal(why.wait_ns, SECOND_NS);

    struct limits_hold tokens = hold_of(t, 78, 0, 600, 0);
    assert_true(limits_admit(&tokens, 500, START_NS, &why));
    struct limits_hold more = hold_of(t, 78, 0, 600, 0);
    assert_false(limits_admit(&more, 200, START_NS, &why));
    assert_int_equal(why.kind, LIMITS_TOKENS);
    assert_int_equal(why.wait_ns, 10 * SECOND_NS);
    limits_settle(&tokens, 100, START_NS); /* It took less: the other one fits. */
    assert_true(limits_admit(&more, 200, START_NS, &why));
    limits_settle(&more, 700, START_NS); /* It took more: that is owed. */
    struct limits_view view;
    limits_look(&more, LIMITS_TOKENS, START_NS, &view);
    assert_int_equal(view.limit, 600);
    assert_int_equal(view.remaining, 0);
    assert_int_equal(view.full_in_ns, 80 * SECOND_NS);

    struct limits_hold one = hold_of(t, 79, 0, 0, 2), two = one, three = one;
    assert_true(limits_admit(&one, 1, START_NS, &why));
    assert_true(limits_admit(&two, 1, START_NS, &why));
    assert_false(limits_admit(&three, 1, START_NS, &why));
    assert_int_equal(why.kind, LIMITS_CONCURRENCY);
    assert_true(why.wait_ns > 0);
    limits_settle(&one, 1, START_NS);
    limits_settle(&one, 1, START_NS); /* A second time changes nothing. */
    assert_true(limits_admit(&three, 1, START_NS, &why));
    struct limits_hold four = hold_of(t, 79, 0, 0, 2);
    assert_false(limits_admit(&four, 1, START_NS, &why));
    limits_destroy(t);
}

static void what_one_account_refuses_is_taken_from_none(void **state)
{
    (void)state;
    struct limits_table *t = alone();
    struct limits_refusal why;
    struct limits_view view;
    struct limits_hold h = hold_of(t, TEAM, 100, 10000, 5);
    const struct limits_values key = {.requests_per_min = 1};
    assert_int_equal(limits_find(t, KEY, &key, 1, START_NS, &h), 0);
    assert_int_equal(limits_find(t, KEY, &key, 1, START_NS, &h), 0); /* Twice on the path. */
    assert_int_equal(h.count, 2);
    assert_true(limits_admit(&h, 50, START_NS, &why));
    limits_settle(&h, 50, START_NS);
    for (int i = 0; i < 10; i++)
        assert_false(limits_admit(&h, 50, START_NS, &why));
    assert_int_equal(why.wait_ns, 60 * SECOND_NS);
    limits_look(&h, LIMITS_REQUESTS, START_NS, &view); /* The one with the least left. */
    assert_int_equal(view.limit, 1);
    h.count = 1;
    limits_look(&h, LIMITS_REQUESTS, START_NS, &view);
    assert_int_equal(view.remaining, 99);
    limits_look(&h, LIMITS_TOKENS, START_NS, &view);
    assert_int_equal(view.remaining, 9950);
    limits_look(&h, LIMITS_CONCURRENCY, START_NS, &view);
    assert_int_equal(view.remaining, 5);
    limits_destroy(t);
}

static void a_changed_limit_keeps_what_is_left_and_the_newest_snapshot_counts(void **state)
{
    (void)state;
    struct limits_table *t = alone();
    struct limits_view view;
    assert_int_equal(go_through(t, 100, 40, START_NS), 40);
    struct limits_hold h = {.count = 0};
    const struct limits_values more = {.requests_per_min = 1000}, less = {.requests_per_min = 30};
    assert_int_equal(limits_find(t, KEY, &more, 2, START_NS, &h), 0);
    limits_look(&h, LIMITS_REQUESTS, START_NS, &view);
    assert_int_equal(view.limit, 1000);
    assert_int_equal(view.remaining, 60);
    h.count = 0;
    assert_int_equal(limits_find(t, KEY, &less, 3, START_NS, &h), 0);
    limits_look(&h, LIMITS_REQUESTS, START_NS, &view);
    assert_int_equal(view.limit, 30);
    assert_int_equal(view.remaining, 30);
    h.count = 0;
    assert_int_equal(limits_find(t, KEY, &more, 2, START_NS, &h), 0); /* An older snapshot. */
    limits_look(&h, LIMITS_REQUESTS, START_NS, &view);
    assert_int_equal(view.limit, 30);
    limits_destroy(t);
}

static void before_its_first_answer_a_life_lets_one_request_through(void **state)
{
    (void)state;
    struct limits_table *t = limits_create(64, START_NS);
    struct limits_refusal why;
    assert_int_equal(go_through(t, 60, 10, START_NS), 1);
    struct limits_hold h = hold_of(t, KEY, 60, 0, 0);
    assert_false(limits_admit(&h, 10, START_NS, &why));
    assert_int_equal(why.wait_ns, SECOND_NS);
    answer(t, 1, BUCKET_SHARE_ONE / 3, 0, START_NS);
    assert_int_equal(go_through(t, 60, 30, START_NS), 0); /* The last life may have had it all. */
    assert_int_equal(go_through(t, 60, 30, START_NS + 9 * SECOND_NS + 1000), 2); /* Of three. */
    uint64_t full = START_NS + 80 * SECOND_NS;
    answer(t, 2, BUCKET_SHARE_ONE / 3, 0, full);
    assert_in_range(go_through(t, 60, 30, full), 19, 20);
    limits_destroy(t);
}

static void without_a_plane_the_share_of_the_last_life_comes_into_force_late(void **state)
{
    (void)state;
    struct limits_table *t = limits_create(64, START_NS);
    limits_remember(t, BUCKET_SHARE_ONE / 2, 2);
    assert_int_equal(limits_safe(t), BUCKET_SHARE_ONE / 2);
    assert_int_equal(go_through(t, 60, 10, START_NS), 1);
    limits_tick(t, START_NS + LIMITS_HOLD_NS - 1);
    assert_int_equal(go_through(t, 60, 10, START_NS + LIMITS_HOLD_NS - 1), 0);
    limits_tick(t, START_NS + LIMITS_HOLD_NS);
    assert_int_equal(go_through(t, 60, 50, START_NS + LIMITS_HOLD_NS), 0);
    assert_int_equal(go_through(t, 60, 50, START_NS + LIMITS_HOLD_NS + 70 * SECOND_NS), 30);
    limits_destroy(t);
}

static void a_share_ends_with_its_time_and_a_small_one_is_held_longer(void **state)
{
    (void)state;
    const uint32_t third = BUCKET_SHARE_ONE / 3;
    struct limits_table *t = settled(third);
    answer(t, 2, third, BUCKET_SHARE_ONE / 10 * 9, START_NS);
    /* More may come; what is there stays. */
    assert_in_range(go_through(t, 600, 1000, START_NS), 199, 200);
    uint64_t ends = START_NS + LIMITS_TTL_NS;
    limits_tick(t, ends - 1);
    assert_in_range(go_through(t, 600, 1000, ends - 1), 89, 90); /* 540 a minute. */
    limits_tick(t, ends);
    limits_tick(t, ends + 30 * SECOND_NS);
    assert_in_range(go_through(t, 600, 1000, ends + 30 * SECOND_NS), 99, 101); /* 200 a minute. */
    /* A small one. */
    uint64_t later = ends + 100 * SECOND_NS;
    answer(t, 3, third, BUCKET_SHARE_ONE / 100, later);
    assert_in_range(go_through(t, 600, 1000, later), 5, 6);
    limits_tick(t, later + LIMITS_TTL_NS + 9 * SECOND_NS);
    assert_in_range(go_through(t, 600, 1000, later + LIMITS_TTL_NS + 9 * SECOND_NS), 1, 2);
    limits_tick(t, later + LIMITS_HOLD_NS);
    limits_tick(t, later + LIMITS_HOLD_NS + 10 * SECOND_NS);
    assert_in_range(go_through(t, 600, 1000, later + LIMITS_HOLD_NS + 10 * SECOND_NS), 32, 34);
    struct limits_stats stats;
    limits_get_stats(t, &stats);
    assert_int_equal(stats.shared, 0);
    assert_int_equal(stats.accounts, 1);
    limits_destroy(t);
}

static void an_answer_out_of_order_or_of_an_older_term_changes_nothing(void **state)
{
    (void)state;
    struct limits_table *t = limits_create(64, START_NS);
    answer(t, 5, BUCKET_SHARE_ONE / 2, 0, START_NS);
    struct limits_answer a = {
        .report_no = 1, .answer_no = 4, .term = 1, .safe = BUCKET_SHARE_ONE, .nodes = 1};
    assert_false(limits_apply(t, &a, START_NS));
    a.answer_no = 6;
    a.report_no = 2; /* Of a report that was never sent. */
    assert_false(limits_apply(t, &a, START_NS));
    a.report_no = 1;
    a.term = 2;
    a.answer_no = 1; /* A new term counts anew. */
    a.safe = BUCKET_SHARE_ONE / 4;
    assert_true(limits_apply(t, &a, START_NS));
    a.term = 1;
    a.answer_no = 9;
    assert_false(limits_apply(t, &a, START_NS));
    assert_int_equal(limits_safe(t), BUCKET_SHARE_ONE / 4);
    for (int i = 0; i < 40; i++)
        limits_report(t, START_NS, &report);
    a.term = 3; /* The report is forgotten: when its time began is not known. */
    assert_false(limits_apply(t, &a, START_NS));
    limits_destroy(t);
}

static void a_share_may_come_before_the_first_request_of_its_account(void **state)
{
    (void)state;
    struct limits_table *t = settled(BUCKET_SHARE_ONE / 2);
    answer(t, 2, BUCKET_SHARE_ONE / 2, BUCKET_SHARE_ONE / 20, START_NS);
    assert_in_range(go_through(t, 100, 100, START_NS), 4, 5);
    answer(t, 3, BUCKET_SHARE_ONE / 2, BUCKET_SHARE_ONE, START_NS);
    assert_int_equal(go_through(t, 100, 100, START_NS), 0); /* More may come; none is made. */
    assert_in_range(go_through(t, 100, 100, START_NS + 6 * SECOND_NS), 10, 11);
    limits_destroy(t);
}

static void a_report_says_what_was_asked_for_in_parts_of_the_limit(void **state)
{
    (void)state;
    struct limits_table *t = limits_create(64, START_NS);
    answer(t, 1, BUCKET_SHARE_ONE / 2, 0, START_NS);
    assert_false(limits_busy(t));
    (void)go_through(t, 60, 120, START_NS);
    struct limits_hold running = hold_of(t, 9, 0, 0, 4);
    struct limits_refusal why;
    assert_true(limits_admit(&running, 1, START_NS, &why));
    uint64_t now = START_NS + 5 * SECOND_NS;
    limits_report(t, now, &report);
    assert_true(limits_busy(t));
    assert_int_equal(report.applied, 1);
    assert_int_equal(report.count, 2);
    assert_int_equal(report.demands[0].account, KEY);
    /* 120 in five seconds of 60 a minute: 24 times the limit, cut to what fits. */
    assert_int_equal(report.demands[0].want[LIMITS_REQUESTS], UINT32_MAX);
    assert_int_equal(report.demands[1].held, BUCKET_SHARE_ONE / 4);
    assert_int_equal(report.demands[1].want[LIMITS_CONCURRENCY], BUCKET_SHARE_ONE / 4);
    for (int i = 0; i < 60; i++)
        limits_report(t, now += SECOND_NS, &report);
    assert_int_equal(report.count, 1); /* What runs is told as long as it does. */
    limits_settle(&running, 1, now);
    for (int i = 0; i < 60; i++)
        limits_report(t, now += SECOND_NS, &report);
    assert_int_equal(report.count, 0);
    assert_false(limits_busy(t));
    limits_destroy(t);
}

static void a_full_table_refuses_and_says_so(void **state)
{
    (void)state;
    struct limits_table *t = limits_create(4, START_NS);
    struct limits_stats stats;
    const struct limits_values v = {.requests_per_min = 1};
    for (uint64_t i = 1; i <= 4; i++) {
        struct limits_hold h = {.count = 0};
        assert_int_equal(limits_find(t, i, &v, 1, START_NS, &h), 0);
    }
    struct limits_hold h = {.count = 0};
    assert_int_equal(limits_find(t, 5, &v, 1, START_NS, &h), ERR_LIMIT);
    assert_int_equal(limits_find(t, 3, &v, 1, START_NS, &h), 0);
    limits_get_stats(t, &stats);
    assert_int_equal(stats.full, 1);
    limits_destroy(t);
}

static void a_table_is_made_whole_or_not_at_all(void **state)
{
    (void)state;
    bool fired = true;
    for (unsigned n = 0; fired; n++) {
        fault_arm_alloc(n);
        struct limits_table *t = limits_create(64, START_NS);
        fired = fault_disarm();
        assert_true((t == NULL) == fired);
        limits_destroy(t);
    }
}

/* ---- many workers ---- */

struct worker {
    struct limits_table *table;
    uint64_t through;
};

static void *work(void *arg)
{
    struct worker *w = arg;
    for (int i = 0; i < 4000; i++) {
        struct limits_refusal why;
        struct limits_hold h = {.count = 0};
        const struct limits_values v = {1000, 0, 3};
        const struct limits_values other = {1000000, 1000000, 0};
        if (limits_find(w->table, KEY, &v, 1, START_NS, &h) != 0 ||
            limits_find(w->table, 1000 + (uint64_t)i % 40, &other, 1, START_NS, &h) != 0)
            return w;
        if (limits_admit(&h, 10, START_NS, &why)) {
            w->through++;
            limits_settle(&h, 10, START_NS);
        }
    }
    return NULL;
}

static void workers_together_take_no_more_than_one_would(void **state)
{
    (void)state;
    struct limits_table *t = alone();
    struct worker workers[4];
    pthread_t threads[4];
    uint64_t through = 0;
    for (int i = 0; i < 4; i++) {
        workers[i] = (struct worker){.table = t};
        assert_int_equal(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
    }
    for (int i = 0; i < 20; i++) {
        limits_report(t, START_NS, &report);
        limits_tick(t, START_NS);
    }
    for (int i = 0; i < 4; i++) {
        void *wrong;
        assert_int_equal(pthread_join(threads[i], &wrong), 0);
        assert_null(wrong);
        through += workers[i].through;
    }
    assert_int_equal(through, 1000); /* Time stood still: one bucket, and all of it. */
    limits_report(t, START_NS, &report);
    for (uint32_t i = 0; i < report.count; i++) /* One slot an account, nothing under way. */
        assert_int_equal(report.demands[i].held, 0);
    assert_int_equal(report.count, 41);
    limits_destroy(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_limited_is_always_admitted),
        cmocka_unit_test(requests_tokens_and_concurrency_each_refuse_with_their_wait),
        cmocka_unit_test(what_one_account_refuses_is_taken_from_none),
        cmocka_unit_test(a_changed_limit_keeps_what_is_left_and_the_newest_snapshot_counts),
        cmocka_unit_test(before_its_first_answer_a_life_lets_one_request_through),
        cmocka_unit_test(without_a_plane_the_share_of_the_last_life_comes_into_force_late),
        cmocka_unit_test(a_share_ends_with_its_time_and_a_small_one_is_held_longer),
        cmocka_unit_test(an_answer_out_of_order_or_of_an_older_term_changes_nothing),
        cmocka_unit_test(a_share_may_come_before_the_first_request_of_its_account),
        cmocka_unit_test(a_report_says_what_was_asked_for_in_parts_of_the_limit),
        cmocka_unit_test(a_full_table_refuses_and_says_so),
        cmocka_unit_test(a_table_is_made_whole_or_not_at_all),
        cmocka_unit_test(workers_together_take_no_more_than_one_would),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
