/* Reports and grants in a real PostgreSQL: periods, the transaction, ends of lives, failover. */
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "common/base/mem.h"
#include "controlplane/budgets/lease_store.h"
#include "tests/lib/fault.h"
#include "tests/unit/controlplane/fixture.h"

static const struct lease_settings plain = {0};
static const char *db;

static int connect_fresh(void **state)
{
    static int serial;
    char name[32];
    (void)snprintf(name, sizeof name, "lease%d", serial++);
    db = cluster_database(name, true);
    struct pq_conn *c = fixture_connect(db);
    fixture_exec(c, "INSERT INTO account (id, kind, name) SELECT n, 'team', 't' || n "
                    "FROM generate_series(1, 20) n");
    *state = c;
    return 0;
}

static int disconnect(void **state)
{
    pq_conn_close(*state);
    return 0;
}

/* columns and values: what is not the account, the limit and a day. */
static uint64_t budget(struct pq_conn *c, int64_t account, int64_t limit, const char *columns,
                       const char *values)
{
    char sql[512];
    (void)snprintf(sql, sizeof sql,
                   "INSERT INTO budget (account_id, limit_nano, period%s) VALUES (%lld, %lld, "
                   "'day'%s) RETURNING id",
                   columns, (long long)account, (long long)limit, values);
    return (uint64_t)fixture_i64(c, sql);
}
#define DAY   "", ""
#define SOFT  ", mode", ", 'soft'"
#define DEBTS ", carry", ", 'debt'"

static struct uuid node(uint8_t n)
{
    return (struct uuid){.bytes = {1, 2, 3, 4, 5, 6, 0x70, 8, 0x80, 10, 11, 12, 13, 14, 15, n}};
}

static struct lease_reply report(struct pq_conn *c, uint8_t n, uint64_t epoch,
                                 struct lease_usage *usage, uint32_t count)
{
    const struct lease_report r = {
        .node_id = node(n), .epoch = epoch, .usage = usage, .usage_count = count};
    struct lease_reply reply;
    struct err err = {0};
    if (lease_store_report(c, &plain, &r, &reply, &err) != 0)
        fail_msg("%s", err.message);
    return reply;
}

/* One usage; the answer's alloc. */
static struct lease_alloc one(struct pq_conn *c, uint8_t n, uint64_t epoch, struct lease_usage u)
{
    struct lease_reply reply = report(c, n, epoch, &u, 1);
    struct lease_alloc a = {0};
    if (reply.alloc_count > 0)
        a = reply.allocs[0];
    lease_reply_deinit(&reply);
    assert_int_equal(fixture_i64(c, "SELECT count(*) FROM budget_mismatch"), 0);
    return a;
}

static void the_first_ask_opens_the_running_period(void **state)
{
    struct pq_conn *c = *state;
    uint64_t b = budget(c, 1, 1024000, DAY);
    struct lease_alloc a =
        one(c, 1, 7, (struct lease_usage){.budget = b, .usage = {.want = 5000, .need = 100}});
    assert_int_equal(a.granted, 5000);
    assert_int_equal(a.limit, 1024000);
    assert_int_equal(a.cfg, 1);
    assert_int_equal(a.end_us - a.start_us, INT64_C(86400000000));
    assert_int_equal(a.start_us,
                     fixture_i64(c, "SELECT (extract(epoch FROM date_trunc('day', now() AT TIME "
                                    "ZONE 'UTC') AT TIME ZONE 'UTC') * 1000000)::bigint"));
    struct lease_usage u = {.budget = b,
                            .start_us = a.start_us,
                            .cfg = 1,
                            .usage = {.granted = 5000, .settled = 2000, .returned = 500}};
    a = one(c, 1, 7, u);
    assert_int_equal(a.granted, 5000);
    assert_int_equal(fixture_i64(c, "SELECT committed FROM budget_period"), 4500);
    assert_int_equal(fixture_i64(c, "SELECT settled FROM budget_period"), 2000);
}

static void an_unknown_budget_and_a_removed_one_are_to_be_forgotten(void **state)
{
    struct pq_conn *c = *state;
    struct lease_alloc a =
        one(c, 1, 7, (struct lease_usage){.budget = 999, .usage = {.need = 100}});
    assert_true(a.unknown);
    assert_int_equal(a.budget, 999);
    uint64_t b = budget(c, 1, 1000, DAY);
    a = one(c, 1, 7, (struct lease_usage){.budget = b, .usage = {.need = 100}});
    assert_int_equal(a.granted, 100);
    fixture_exec(c, "UPDATE budget SET removed = now()");
    struct lease_usage u = {.budget = b,
                            .start_us = a.start_us,
                            .cfg = 1,
                            .usage = {.granted = 100, .settled = 60, .need = 500}};
    a = one(c, 1, 7, u);
    assert_true(a.unknown);
    assert_int_equal(fixture_i64(c, "SELECT settled FROM budget_period"), 60);
    assert_int_equal(fixture_i64(c, "SELECT committed FROM budget_period"), 100);
}

static void another_kind_of_period_makes_the_old_one_stale(void **state)
{
    struct pq_conn *c = *state;
    uint64_t b = budget(c, 1, 1024000, DAY);
    struct lease_alloc a = one(c, 1, 7, (struct lease_usage){.budget = b, .usage = {.want = 100}});
    fixture_exec(c, "UPDATE budget SET period = 'month'");
    a = one(c, 1, 7,
            (struct lease_usage){.budget = b,
                                 .start_us = a.start_us,
                                 .cfg = 1,
                                 .usage = {.granted = 100, .settled = 10, .want = 900}});
    assert_true(a.stale);
    assert_int_equal(a.granted, 100);
    a = one(c, 1, 7, (struct lease_usage){.budget = b, .usage = {.want = 100}});
    assert_int_equal(a.cfg, 2);
    assert_false(a.stale);
    assert_int_equal(fixture_i64(c, "SELECT count(*) FROM budget_period"), 2);
}

static void the_next_period_opens_only_shortly_before_it_begins(void **state)
{
    struct pq_conn *c = *state;
    uint64_t far = budget(c, 1, 1024000, ", anchor", ", now()");
    uint64_t near = budget(c, 2, 1024000, ", anchor", ", now() + interval '70 seconds'");
    for (int i = 0; i < 2; i++) {
        uint64_t b = i == 0 ? far : near;
        struct lease_alloc a =
            one(c, 1, 7, (struct lease_usage){.budget = b, .usage = {.want = 100}});
        struct lease_alloc next = one(c, 1, 7,
                                      (struct lease_usage){.budget = b,
                                                           .start_us = a.start_us,
                                                           .cfg = 1,
                                                           .next = true,
                                                           .usage = {.want = 300}});
        assert_int_equal(next.granted, i == 0 ? 0 : 300);
        if (i == 1)
            assert_int_equal(next.start_us, a.end_us);
    }
}

static void a_debt_is_carried_over_where_that_is_asked_for(void **state)
{
    struct pq_conn *c = *state;
    uint64_t b = budget(c, 1, 1000, DEBTS);
    char sql[256];
    (void)snprintf(sql, sizeof sql,
                   "INSERT INTO budget_period (budget_id, period_start, cfg, period_end, "
                   "limit_nano, committed) VALUES (%llu, now() - interval '2 days', 1, now() - "
                   "interval '1 day', 1000, 1300)",
                   (unsigned long long)b);
    fixture_exec(c, sql);
    struct lease_usage u = {.budget = b, .usage = {.need = 900}};
    struct lease_reply reply = report(c, 1, 7, &u, 1);
    assert_int_equal(reply.allocs[0].granted, 700);
    assert_int_equal(reply.allocs[0].limit, 700);
    assert_true(reply.allocs[0].exhausted);
    lease_reply_deinit(&reply);
    assert_int_equal(fixture_i64(c, "SELECT amount FROM budget_adjust"), 300);
}

static void the_last_money_is_called_back_from_idle_nodes(void **state)
{
    struct pq_conn *c = *state;
    uint64_t b = budget(c, 1, 1024000, DAY);
    struct lease_alloc a =
        one(c, 1, 7, (struct lease_usage){.budget = b, .usage = {.need = 1000000}});
    assert_int_equal(a.granted, 1000000);
    a = one(c, 2, 9, (struct lease_usage){.budget = b, .usage = {.need = 50000}});
    assert_int_equal(a.granted, 24000);
    assert_true(a.recalling);
    assert_false(a.exhausted);
    struct uuid first = node(1);
    struct lease_reply reply;
    assert_int_equal(lease_store_recalls(c, &first, 7, &reply, NULL), 0);
    assert_int_equal(reply.alloc_count, 1);
    assert_true(reply.allocs[0].recall);
    assert_int_equal(reply.allocs[0].keep, 1000);
    lease_reply_deinit(&reply);
    assert_int_equal(lease_store_recalls(c, &first, 7, &reply, NULL), 0);
    assert_int_equal(reply.alloc_count, 0);
    lease_reply_deinit(&reply);
    struct lease_usage u = {.budget = b,
                            .start_us = a.start_us,
                            .cfg = 1,
                            .usage = {.granted = 1000000, .settled = 100000, .returned = 899000}};
    (void)one(c, 1, 7, u);
    u.usage = (struct grant_usage){.granted = 24000, .need = 50000};
    a = one(c, 2, 9, u);
    assert_int_equal(a.granted, 50000);
}

static void a_final_report_frees_what_was_not_spent_also_what_it_does_not_name(void **state)
{
    struct pq_conn *c = *state;
    uint64_t b[2] = {budget(c, 1, 1024000, DAY), budget(c, 2, 1024000, DAY)};
    struct lease_alloc a[2];
    for (int i = 0; i < 2; i++)
        a[i] = one(c, 1, 7, (struct lease_usage){.budget = b[i], .usage = {.want = 5000}});
    struct lease_usage last = {.budget = b[0],
                               .start_us = a[0].start_us,
                               .cfg = 1,
                               .usage = {.granted = 5000, .settled = 1200, .returned = 300}};
    struct lease_usage u = {.budget = b[0], .usage = {.want = 100}};
    struct lease_report r = {.node_id = node(1),
                             .epoch = 8,
                             .usage = &u,
                             .usage_count = 1,
                             .final_epoch = 7,
                             .final_exact = true,
                             .final_last = true,
                             .final = &last,
                             .final_count = 1};
    for (uint32_t twice = 0; twice < 2; twice++) {
        struct lease_reply reply;
        r.usage_count = twice;
        assert_int_equal(lease_store_report(c, &plain, &r, &reply, NULL), 0);
        assert_int_equal(reply.alloc_count, twice);
        assert_false(reply.epoch_closed);
        lease_reply_deinit(&reply);
        assert_int_equal(fixture_i64(c, "SELECT sum(committed)::bigint FROM budget_period"),
                         1200 + (twice == 0 ? 0 : 100));
        assert_int_equal(fixture_i64(c, "SELECT count(*) FROM budget_alloc WHERE state = 1"), 2);
        assert_int_equal(fixture_i64(c, "SELECT count(*) FROM budget_mismatch"), 0);
    }
    /* The dead life's message that was still under way changes nothing, and is told so. */
    u = (struct lease_usage){.budget = b[1], .usage = {.need = 999}};
    struct lease_reply reply = report(c, 1, 7, &u, 1);
    assert_true(reply.epoch_closed);
    assert_int_equal(reply.alloc_count, 0);
    lease_reply_deinit(&reply);
    assert_int_equal(fixture_i64(c, "SELECT sum(committed)::bigint FROM budget_period"), 1300);
}

static void a_silent_life_is_lost_and_strict_money_waits_for_release(void **state)
{
    struct pq_conn *c = *state;
    uint64_t strict = budget(c, 1, 1024000, DAY), soft = budget(c, 2, 1024000, SOFT);
    (void)one(c, 1, 7, (struct lease_usage){.budget = strict, .usage = {.want = 5000}});
    (void)one(c, 1, 7, (struct lease_usage){.budget = soft, .usage = {.want = 3000}});
    unsigned lost;
    assert_int_equal(lease_store_sweep(c, &plain, &lost, NULL), 0);
    assert_int_equal(lost, 0);
    fixture_exec(c, "UPDATE lease_life SET last_report = now() - interval '4501 seconds'");
    assert_int_equal(lease_store_sweep(c, &plain, &lost, NULL), 0);
    assert_int_equal(lost, 1);
    assert_int_equal(fixture_i64(c, "SELECT sum(committed)::bigint FROM budget_period"), 5000);
    assert_int_equal(fixture_i64(c, "SELECT count(*) FROM budget_mismatch"), 0);
    struct uuid id = node(1);
    struct err err;
    assert_int_equal(lease_store_release(c, &id, 8, &err), ERR_NOT_FOUND);
    assert_int_equal(lease_store_release(c, &id, 7, &err), 0);
    assert_int_equal(fixture_i64(c, "SELECT sum(committed)::bigint FROM budget_period"), 0);
    assert_int_equal(lease_store_release(c, &id, 7, &err), ERR_NOT_FOUND);
    struct lease_usage u = {.budget = strict, .usage = {.need = 1}};
    struct lease_reply reply = report(c, 1, 7, &u, 1);
    assert_true(reply.epoch_closed);
    lease_reply_deinit(&reply);
}

static void after_a_failover_strict_budgets_wait_for_every_echo(void **state)
{
    struct pq_conn *c = *state;
    uint64_t b = budget(c, 1, 1024000, DAY);
    for (uint8_t n = 1; n <= 2; n++)
        (void)one(c, n, 7, (struct lease_usage){.budget = b, .usage = {.want = 5000}});
    /* The timeline rises by one; what was granted last is gone. */
    fixture_exec(c, "UPDATE lease_era SET era = era - 1; UPDATE budget_alloc SET g = 2000; "
                    "UPDATE budget_period SET committed = 4000");
    struct lease_usage u = {.budget = b, .usage = {.need = 100}};
    struct lease_reply reply = report(c, 3, 7, &u, 1);
    assert_true(reply.echo);
    assert_int_equal(reply.allocs[0].granted, 0);
    assert_true(reply.allocs[0].recalling);
    int64_t start = reply.allocs[0].start_us;
    lease_reply_deinit(&reply);
    for (uint8_t n = 1; n <= 3; n++) {
        struct lease_usage e = {
            .budget = b, .start_us = start, .cfg = 1, .usage = {.granted = n < 3 ? 5000 : 0}};
        const struct lease_report r = {.node_id = node(n),
                                       .epoch = 7,
                                       .usage = &e,
                                       .usage_count = 1,
                                       .echo_begin = true,
                                       .echo_end = true};
        assert_int_equal(lease_store_report(c, &plain, &r, &reply, NULL), 0);
        assert_false(reply.echo);
        lease_reply_deinit(&reply);
    }
    assert_int_equal(fixture_i64(c, "SELECT committed FROM budget_period"), 10000);
    assert_int_equal(one(c, 3, 7, u).granted, 100);
}

static void absurd_counters_are_refused_whole(void **state)
{
    struct pq_conn *c = *state;
    struct lease_usage u = {.budget = 1, .usage = {.settled = -5}};
    const struct lease_report r = {.node_id = node(1), .epoch = 7, .usage = &u, .usage_count = 1};
    struct lease_reply reply;
    assert_int_equal(lease_store_report(c, &plain, &r, &reply, NULL), ERR_INVALID);
    assert_int_equal(fixture_i64(c, "SELECT count(*) FROM lease_life"), 0);
}

static void a_report_survives_each_failed_allocation(void **state)
{
    struct pq_conn *c = *state;
    uint64_t b = budget(c, 1, 1024000, DAY);
    bool fired = true;
    for (unsigned n = 0; fired; n++) {
        struct lease_usage u = {.budget = b, .usage = {.granted = 10, .need = 100}};
        const struct lease_report r = {.node_id = node(1),
                                       .epoch = 8,
                                       .usage = &u,
                                       .usage_count = 1,
                                       .final_epoch = 7,
                                       .final_exact = true,
                                       .final_last = true,
                                       .final = &u,
                                       .final_count = 1};
        struct lease_reply reply;
        fault_arm_alloc(n);
        int rc = lease_store_report(c, &plain, &r, &reply, NULL);
        fired = fault_disarm();
        assert_int_equal(rc, fired ? ERR_NOMEM : 0);
        lease_reply_deinit(&reply);
        assert_true(pq_conn_is_usable(c));
        assert_int_equal(fixture_i64(c, "SELECT count(*) FROM budget_mismatch"), 0);
        assert_true(n < 1000);
    }
}

/* ---- several replicas and nodes at once ---- */

#define RUNNERS 6
#define TURNS   40

struct runner {
    uint8_t n;
    unsigned failed;
};

static void *run_reports(void *arg)
{
    struct runner *r = arg;
    struct pq_conn *c = fixture_connect(db);
    int64_t granted[8] = {0}, start[8] = {0};
    for (int turn = 0; turn < TURNS; turn++) {
        struct lease_usage u[8];
        /* In an order of its own: the store sorts. */
        for (uint32_t i = 0; i < 8; i++) {
            uint32_t b = (i * 3 + r->n + (uint32_t)turn) % 8;
            u[i] = (struct lease_usage){
                .budget = b + 1,
                .start_us = start[b],
                .cfg = start[b] != 0,
                .usage = {.granted = granted[b], .settled = granted[b], .need = 700}};
        }
        const struct lease_report report = {
            .node_id = node(r->n), .epoch = 7, .usage = u, .usage_count = 8};
        struct lease_reply reply;
        if (lease_store_report(c, &plain, &report, &reply, NULL) != 0) {
            r->failed++;
            continue;
        }
        for (uint32_t i = 0; i < reply.alloc_count; i++) {
            uint64_t b = reply.allocs[i].budget - 1;
            if (reply.allocs[i].granted > granted[b])
                granted[b] = reply.allocs[i].granted;
            start[b] = reply.allocs[i].start_us;
        }
        lease_reply_deinit(&reply);
    }
    pq_conn_close(c);
    return NULL;
}

static void many_at_once_neither_deadlock_nor_promise_too_much(void **state)
{
    struct pq_conn *c = *state;
    struct runner runners[RUNNERS];
    pthread_t threads[RUNNERS];
    for (int i = 1; i <= 8; i++)
        assert_int_equal(budget(c, i, 100000, DAY), i);
    for (uint8_t i = 0; i < RUNNERS; i++) {
        runners[i] = (struct runner){.n = i};
        assert_int_equal(pthread_create(&threads[i], NULL, run_reports, &runners[i]), 0);
    }
    for (int i = 0; i < RUNNERS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(runners[i].failed, 0);
    }
    assert_int_equal(fixture_i64(c, "SELECT count(*) FROM budget_mismatch"), 0);
    assert_int_equal(fixture_i64(c, "SELECT count(*) FROM budget_period WHERE committed = 100000"),
                     8);
}

int main(void)
{
    (void)cluster_start();
#define T(name) cmocka_unit_test_setup_teardown(name, connect_fresh, disconnect)
    const struct CMUnitTest tests[] = {
        T(the_first_ask_opens_the_running_period),
        T(an_unknown_budget_and_a_removed_one_are_to_be_forgotten),
        T(another_kind_of_period_makes_the_old_one_stale),
        T(the_next_period_opens_only_shortly_before_it_begins),
        T(a_debt_is_carried_over_where_that_is_asked_for),
        T(the_last_money_is_called_back_from_idle_nodes),
        T(a_final_report_frees_what_was_not_spent_also_what_it_does_not_name),
        T(a_silent_life_is_lost_and_strict_money_waits_for_release),
        T(after_a_failover_strict_budgets_wait_for_every_echo),
        T(absurd_counters_are_refused_whole),
        T(a_report_survives_each_failed_allocation),
        T(many_at_once_neither_deadlock_nor_promise_too_much),
    };
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    cluster_stop();
    return rc;
}
