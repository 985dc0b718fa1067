/* The sums of what was spent are those of the rows, whatever happens on the way. */
#include <string.h>

#include "common/base/rand.h"
#include "controlplane/ingest/intake.h"
#include "tests/lib/fault.h"
#include "tests/lib/seed.h"
#include "tests/unit/controlplane/fixture.h"

#define TS0    INT64_C(1795233600000000) /* 2026-11-21 04:00 UTC */
#define DAY_US INT64_C(86400000000)

struct wait {
    unsigned pending;
    struct intake_result last;
};

static void on_result(void *arg, const struct intake_result *result)
{
    struct wait *w = arg;
    w->pending--;
    w->last = *result;
}

struct bed {
    uv_loop_t loop;
    struct intake *intake;
    struct pq_conn *c;
};

static void bed_open(struct bed *b, const char *db)
{
    struct intake_config config = {.conninfo = db, .connections = 3, .retry_backoff_ms = 20};
    struct err err = {0};
    uv_loop_init(&b->loop);
    b->c = fixture_connect(db);
    fixture_exec(b->c, "TRUNCATE decision, attempt, spend_day, spend_path, budget_ledger, "
                       "ingest_stream, ingest_deadletter, usage_hour, candidate_hour");
    assert_int_equal(intake_create(&b->loop, &config, &b->intake, &err), 0);
}

static void bed_close(struct bed *b)
{
    pq_conn_close(b->c);
    intake_close(b->intake, NULL, NULL);
    uv_run(&b->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&b->loop), 0);
}

static void submit(struct bed *b, struct wait *w, const struct buf *list, uint8_t node,
                   uint64_t first, uint32_t count)
{
    struct intake_batch batch = {.epoch = 1, .first_seq = first, .count = count};
    memset(batch.node_id.bytes, node, 16);
    buf_init(&batch.records, 64U << 20);
    assert_int_equal(buf_append_str(&batch.records, buf_str(list)), 0);
    w->pending++;
    assert_int_equal(intake_submit(b->intake, &batch, on_result, w), 0);
}

static void run(struct bed *b, struct wait *w)
{
    while (w->pending > 0)
        uv_run(&b->loop, UV_RUN_ONCE);
}

static int64_t one(struct bed *b, const char *sql)
{
    return fixture_i64(b->c, sql);
}

static void a_decision_counts_for_its_accounts_and_is_charged_to_its_budgets(void **state)
{
    struct bed b;
    struct wait w = {0};
    struct buf list = {0};
    bed_open(&b, *state);
    for (uint64_t i = 0; i < 3; i++)
        fixture_add_decision(&list,
                             &(struct fixture_decision){.serial = i,
                                                        .key_id = 7,
                                                        .cost = 100,
                                                        .ts_us = TS0 + (int64_t)i * DAY_US / 2 + 1,
                                                        .accounts = {500, 7, 9, 500},
                                                        .charges = {{1, TS0, 1}, {2, 0, 3}},
                                                        .lease_epoch = UINT64_C(5) << 32,
                                                        .source = (uint32_t)(i + 1)});
    fixture_add_decision(&list, &(struct fixture_decision){.serial = 9, .key_id = 0, .flags = 512});
    submit(&b, &w, &list, 1, 1, 4);
    run(&b, &w);
    assert_int_equal(w.last.outcome, INTAKE_STORED);
    assert_int_equal(one(&b, "SELECT count(*) FROM spend_path"), 2);
    assert_int_equal(one(&b, "SELECT count(*) FROM spend_path WHERE key_id = 7 AND accounts = "
                             "ARRAY[7, 9, 500]::bigint[]"),
                     1);
    assert_int_equal(one(&b, "SELECT count(*) FROM spend_path WHERE key_id = 0 AND accounts = "
                             "'{}'"),
                     1);
    assert_int_equal(one(&b, "SELECT count(*) FROM spend_path WHERE id = encode(substr(sha256("
                             "int8send(key_id) || array_send(accounts)), 1, 16), 'hex')::uuid"),
                     2);
    assert_int_equal(one(&b, "SELECT sum(cost) FROM spend_day WHERE day = '2026-11-21'"), 200);
    assert_int_equal(one(&b, "SELECT sum(cost) FROM spend_day WHERE day = '2026-11-22'"), 100);
    assert_int_equal(one(&b, "SELECT sum(tokens_in) FROM spend_day WHERE source = 2"), 100);
    assert_int_equal(one(&b, "SELECT sum(unpriced) FROM spend_day WHERE source = 0"), 1);
    assert_int_equal(one(&b, "SELECT sum(cost * rows) FROM budget_ledger"), 2 * 300 * 3);
    assert_int_equal(one(&b, "SELECT count(*) FROM budget_ledger WHERE budget_id = 2 AND cfg = 3 "
                             "AND period_start = 'epoch' AND lease_epoch = 21474836480"),
                     1);
    buf_deinit(&list);
    bed_close(&b);
}

static void what_cannot_be_a_charge_is_put_aside(void **state)
{
    struct bed b;
    struct wait w = {0};
    struct buf list = {0};
    bed_open(&b, *state);
    const struct fixture_charge bad[][2] = {{{UINT64_C(1) << 63, TS0, 1}},
                                            {{1, -1, 1}},
                                            {{1, INT64_MAX, 1}},
                                            {{1, TS0, UINT32_MAX}},
                                            {{1, TS0, 1}, {1, 0, 1}}};
    for (uint64_t i = 0; i < 5; i++) {
        struct fixture_decision d = {.serial = i, .key_id = 1, .cost = 5};
        memcpy(d.charges, bad[i], sizeof bad[i]);
        fixture_add_decision(&list, &d);
    }
    submit(&b, &w, &list, 1, 1, 5);
    run(&b, &w);
    assert_int_equal(w.last.quarantined, 5);
    assert_int_equal(one(&b, "SELECT count(*) FROM budget_ledger"), 0);
    assert_int_equal(one(&b, "SELECT count(*) FROM spend_day"), 0);
    buf_deinit(&list);
    bed_close(&b);
}

/* Several streams at once, every batch maybe sent again and again, some records refused by the
 * server: each sum is that of the rows that were stored. */
static void f9_f10_sums_equal_rows_through_redelivery_and_refused_records(void **state)
{
    struct bed b;
    struct wait w = {0};
    uint64_t total = 0, rows = 0, poisoned = 0, next[4] = {1, 1, 1, 1};
    rand_seed_thread(test_seed(20261121));
    bed_open(&b, *state);
    fixture_exec(b.c, "ALTER TABLE decision ADD CONSTRAINT no_poison CHECK (task <> 'poison')");
    for (unsigned round = 0; round < 60; round++) {
        unsigned node = (unsigned)rand_below(4);
        uint32_t count = 1 + (uint32_t)rand_below(80);
        struct buf list = {0};
        for (uint32_t i = 0; i < count; i++) {
            uint64_t key = 1 + rand_below(9);
            bool poison = rand_below(40) == 0;
            struct fixture_decision d = {.serial = rand_u64() >> 8,
                                         .ts_us = TS0 + (int64_t)rand_below(3 * DAY_US),
                                         .key_id = key,
                                         .cost = (int64_t)rand_below(1000000),
                                         .task = poison ? "poison" : "fine",
                                         .accounts = {100 + key % 2, 200 + key % 3, key},
                                         .charges = {{key, TS0, 1}, {50 + key % 2, 0, 1}},
                                         .lease_epoch = 1 + rand_below(2),
                                         .source = (uint32_t)rand_below(4)};
            fixture_add_decision(&list, &d);
            total += poison ? 0 : (uint64_t)d.cost;
            rows += !poison;
            poisoned += poison;
        }
        for (uint64_t again = 0; again <= rand_below(3); again++)
            submit(&b, &w, &list, (uint8_t)(node + 1), next[node], count);
        next[node] += count;
        buf_deinit(&list);
        if (round == 30)
            fixture_exec(b.c, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE "
                              "application_name = 'steelyard-intake'");
        if (w.pending > 12)
            run(&b, &w);
    }
    run(&b, &w);
    assert_int_equal(one(&b, "SELECT count(*) FROM decision"), rows);
    assert_int_equal(one(&b, "SELECT sum(cost) FROM decision"), total);
    assert_int_equal(one(&b, "SELECT count(*) FROM ingest_deadletter"), poisoned);
    assert_int_equal(one(&b, "SELECT sum(decisions) FROM spend_day"), rows);
    assert_int_equal(one(&b, "SELECT sum(cost) FROM spend_day"), total);
    assert_int_equal(one(&b, "SELECT sum(rows) FROM budget_ledger"), 2 * rows);
    assert_int_equal(one(&b, "SELECT sum(cost) FROM budget_ledger"), 2 * total);
    assert_int_equal(
        one(&b, "SELECT count(*) FROM (SELECT ts::date AS day, key_id, sum(cost) AS cost, count(*) "
                "AS n, sum(tokens_in) AS t FROM decision GROUP BY 1, 2) d FULL JOIN (SELECT "
                "day, key_id, sum(cost) AS cost, sum(decisions) AS n, sum(tokens_in) AS t FROM "
                "spend_day JOIN spend_path ON id = path GROUP BY 1, 2) s USING (day, key_id) "
                "WHERE (d.cost, d.n, d.t) IS DISTINCT FROM (s.cost, s.n, s.t)"),
        0);
    assert_int_equal(
        one(&b, "SELECT count(*) FROM (SELECT key_id, sum(cost) AS cost FROM decision GROUP BY 1) "
                "d FULL JOIN (SELECT budget_id AS key_id, sum(cost) AS cost FROM budget_ledger "
                "WHERE budget_id < 50 GROUP BY 1) l USING (key_id) WHERE d.cost IS DISTINCT FROM "
                "l.cost"),
        0);
    fixture_exec(b.c, "ALTER TABLE decision DROP CONSTRAINT no_poison");
    bed_close(&b);
}

static int setup(void **state)
{
    cluster_start();
    *state = (void *)(uintptr_t)cluster_database("intake_spend", true);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_decision_counts_for_its_accounts_and_is_charged_to_its_budgets),
        cmocka_unit_test(what_cannot_be_a_charge_is_put_aside),
        cmocka_unit_test(f9_f10_sums_equal_rows_through_redelivery_and_refused_records),
    };
    return cmocka_run_group_tests(tests, setup, fixture_stop_cluster);
}
