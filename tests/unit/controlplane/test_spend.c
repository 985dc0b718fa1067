/* What was spent, as it is asked for, compared, trued up and told, over a private database. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/net/fetch.h"
#include "common/net/httpd.h"
#include "controlplane/ingest/intake.h"
#include "controlplane/spend/keeper.h"
#include "controlplane/spend/notices.h"
#include "controlplane/spend/reconcile.h"
#include "tests/lib/fault.h"
#include "tests/unit/controlplane/admin_fixture.h"
#include "tests/unit/controlplane/fixture.h"

static const char yaml[] =
    "version: 1\n"
    "providers: {sim: {base_url: \"http://127.0.0.1:1/v1\", private: true}}\n"
    "models: {model-large: {deployments: [{provider: sim}]}}\n"
    "routes: {auto: {models: [model-large]}}\n";

#define TS0    INT64_C(1795233600000000) /* 2026-11-21 04:00 UTC */
#define DAY_US INT64_C(86400000000)

static const char *database;
static struct pq_conn *db;

PRINTF_LIKE(1, 2)
static int64_t one(const char *format, ...)
{
    char sql[2048];
    va_list args;
    va_start(args, format);
    vsnprintf(sql, sizeof sql, format, args);
    va_end(args);
    return fixture_i64(db, sql);
}

static void on_result(void *arg, const struct intake_result *result)
{
    assert_int_equal(result->outcome, INTAKE_STORED);
    *(bool *)arg = true;
}

/* Stores the decisions of a list as those of a node. */
static void store(struct buf *list, uint8_t node, uint64_t epoch, uint32_t count)
{
    struct intake_config config = {.conninfo = database, .connections = 1};
    struct intake_batch b = {.epoch = epoch, .first_seq = 1, .count = count, .records = *list};
    struct intake *in = NULL;
    struct err err = {0};
    uv_loop_t loop;
    bool done = false;
    memset(b.node_id.bytes, node, 16);
    *list = (struct buf){0};
    uv_loop_init(&loop);
    assert_int_equal(intake_create(&loop, &config, &in, &err), 0);
    assert_int_equal(intake_submit(in, &b, on_result, &done), 0);
    while (!done)
        uv_run(&loop, UV_RUN_ONCE);
    intake_close(in, NULL, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
}

static const char *text_of(const json_t *o, const char *a, const char *b)
{
    const json_t *v = json_object_get(o, a);
    if (b != NULL)
        v = json_object_get(v, b);
    const char *text = json_string_value(v);
    assert_non_null(text);
    return text;
}

static const json_t *item(const json_t *reply, const char *member, const char *value)
{
    size_t i;
    json_t *v;
    json_array_foreach(json_object_get(reply, "items"), i, v)
    {
        if (strcmp(text_of(v, member, NULL), value) == 0)
            return v;
    }
    fail_msg("no item %s", value);
    return NULL;
}

/* --- queries ------------------------------------------------------------------------------------
 */

static void make_accounts(void)
{
    fixture_exec(db, "INSERT INTO account (id, kind, name) VALUES (100, 'org', 'acme'), (101, "
                     "'team', 'web'), (102, 'team', 'ops'), (103, 'tag', 'batch'), (104, 'tag', "
                     "'night'), (105, 'user', 'ann')");
    fixture_exec(db, "INSERT INTO api_key (id, public_id, sha256, name) VALUES (11, 'kone', "
                     "sha256('1'), 'a'), (12, 'ktwo', sha256('2'), 'b')");
}

static void totals_are_the_sum_of_decisions_and_groups_their_parts(void **state)
{
    struct buf list = {0};
    (void)state;
    make_accounts();
    for (uint64_t i = 0; i < 20; i++) {
        struct fixture_decision d = {.serial = i,
                                     .ts_us = TS0 + (int64_t)(i % 2) * DAY_US + (int64_t)i,
                                     .key_id = 11 + i % 2,
                                     .cost = 1000000000 + (int64_t)i,
                                     .source = (uint32_t)(1 + i % 3),
                                     .accounts = {100, 101 + i % 2, 11 + i % 2, 103, 104}};
        if (i == 19) {
            d.flags = 512; /* No price was known. */
            d.cost = 0;
        }
        fixture_add_decision(&list, &d);
    }
    store(&list, 1, 1, 20);
    static const char *const bys[] = {"account", "key",   "team",   "org",    "user",
                                      "tag",     "model", "policy", "source", "day"};
    for (size_t i = 0; i < sizeof bys / sizeof bys[0]; i++) {
        char path[128];
        snprintf(path, sizeof path, "/api/v1/spend?since=2026-11-20&until=2026-11-23&by=%s",
                 bys[i]);
        json_t *r = admin_ask("GET", path, NULL, 200);
        assert_string_equal(text_of(r, "total", "cost_usd"), "19.000000171");
        assert_int_equal(
            json_integer_value(json_object_get(json_object_get(r, "total"), "decisions")), 20);
        assert_int_equal(
            json_integer_value(json_object_get(json_object_get(r, "total"), "unpriced")), 1);
        json_decref(r);
    }
    json_t *r =
        admin_ask("GET", "/api/v1/spend?since=2026-11-20&until=2026-11-23&by=team", NULL, 200);
    assert_string_equal(text_of(item(r, "team", "web"), "cost_usd", NULL), "10.00000009");
    json_decref(r);
    r = admin_ask("GET", "/api/v1/spend?since=2026-11-20&until=2026-11-23&by=key&team=ops", NULL,
                  200);
    assert_int_equal(json_array_size(json_object_get(r, "items")), 1);
    assert_string_equal(text_of(item(r, "key", "ktwo"), "cost_usd", NULL), "9.000000081");
    json_decref(r);
    r = admin_ask("GET", "/api/v1/spend?since=2026-11-21&until=2026-11-22&by=day", NULL, 200);
    assert_int_equal(json_array_size(json_object_get(r, "items")), 1);
    assert_string_equal(text_of(r, "total", "cost_usd"), "10.00000009");
    json_decref(r);
    r = admin_ask("GET", "/api/v1/spend?since=2026-11-20&until=2026-11-23&by=tag", NULL, 200);
    assert_string_equal(text_of(item(r, "tag", "night"), "cost_usd", NULL), "19.000000171");
    assert_string_equal(text_of(item(r, "tag", "batch"), "cost_usd", NULL), "19.000000171");
    json_decref(r);
    json_decref(admin_ask("GET", "/api/v1/spend?by=nobody", NULL, 400));
    json_decref(admin_ask("GET", "/api/v1/spend?source=guess", NULL, 400));
    json_decref(admin_ask("GET", "/api/v1/spend?team=none", NULL, 404));
}

static void litellm_scripts_find_their_fields(void **state)
{
    static const char *const fields[] = {
        "request_id",    "call_type", "api_key",           "spend",     "total_tokens",
        "prompt_tokens", "startTime", "completion_tokens", "endTime",   "model",
        "user",          "team_id",   "metadata",          "cache_hit", "request_tags"};
    (void)state;
    json_t *r = admin_ask("GET",
                          "/spend/logs?start_date=2026-11-21&end_date=2026-11-22&summarize=false"
                          "&api_key=kone",
                          NULL, 200);
    assert_int_equal(json_array_size(r), 10);
    const json_t *row = json_array_get(r, 0);
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++)
        if (json_object_get(row, fields[i]) == NULL)
            fail_msg("no field %s", fields[i]);
    assert_int_equal(json_integer_value(json_object_get(row, "total_tokens")), 150);
    char path[128];
    snprintf(path, sizeof path, "/spend/logs?request_id=%s", text_of(row, "request_id", NULL));
    json_t *single = admin_ask("GET", path, NULL, 200);
    assert_int_equal(json_array_size(single), 1);
    json_decref(single);
    json_decref(r);
    r = admin_ask("GET", "/spend/logs?start_date=2026-11-20&end_date=2026-11-23", NULL, 200);
    assert_int_equal(json_array_size(r), 2);
    assert_true(json_number_value(json_object_get(json_array_get(r, 0), "spend")) > 10.0);
    json_decref(r);
    r = admin_ask("GET", "/spend/keys", NULL, 200);
    assert_int_equal(json_array_size(r), 2);
    json_decref(r);
    r = admin_ask("GET", "/spend/tags?start_date=2026-11-20&end_date=2026-11-23", NULL, 200);
    assert_int_equal(json_array_size(r), 2);
    assert_int_equal(json_integer_value(json_object_get(json_array_get(r, 0), "log_count")), 20);
    json_decref(r);
    static const char *const groups[] = {"team", "customer", "api_key"};
    for (int i = 0; i < 3; i++) {
        snprintf(path, sizeof path,
                 "/global/spend/report?start_date=2026-11-20&end_date=2026-11-23&group_by=%s",
                 groups[i]);
        r = admin_ask("GET", path, NULL, 200);
        assert_int_equal(json_array_size(r), i == 1 ? 0 : 2);
        json_decref(r);
    }
    json_decref(admin_ask("GET", "/global/spend/report?group_by=provider", NULL, 400));
    json_decref(admin_ask("GET", "/spend/logs?page=2", NULL, 400));
}

/* --- reconciliation -----------------------------------------------------------------------------
 */

#define NODE(n) "'" n n n n "-" n n "-" n n "-" n n "-" n n n n n n "'"

static struct reconcile_result reconcile(void)
{
    struct reconcile_result r = {0};
    struct err err = {0};
    const struct reconcile_options o = {.actor = "test", .since_us = TS0, .grace_ms = 1};
    if (reconcile_run(db, &o, &r, &err) != 0)
        fail_msg("%s", err.message);
    return r;
}

static void charge(uint8_t node, uint64_t epoch, uint64_t lease_epoch, int64_t cost, unsigned count)
{
    struct buf list = {0};
    for (unsigned i = 0; i < count; i++)
        fixture_add_decision(&list, &(struct fixture_decision){.serial = epoch * 1000 + i,
                                                               .ts_us = TS0 + (int64_t)i,
                                                               .key_id = 11,
                                                               .cost = cost,
                                                               .accounts = {11},
                                                               .charges = {{1, TS0, 1}},
                                                               .lease_epoch = lease_epoch});
    store(&list, node, epoch, count);
}

static void age(void)
{
    fixture_exec(db, "UPDATE budget_ledger SET last_received = now() - interval '1 hour'; UPDATE "
                     "budget_alloc SET last_report = now() - interval '1 hour'; UPDATE lease_life "
                     "SET last_report = now() - interval '1 hour'");
}

static void ended_lives_are_trued_up_when_all_their_rows_are_there(void **state)
{
    (void)state;
    fixture_exec(db, "INSERT INTO budget (account_id, limit_nano, period) VALUES (11, 1000000, "
                     "'day')");
    assert_int_equal(one("SELECT id FROM budget"), 1);
    fixture_exec(db, "INSERT INTO budget_period (budget_id, period_start, cfg, period_end, "
                     "limit_nano, committed, settled) VALUES (1, '2026-11-21 04:00Z', 1, "
                     "'infinity', 1000000, 2300, 1300)");
    fixture_exec(db, "INSERT INTO lease_life (node_id, epoch, state, registered) VALUES "
                     "(" NODE("0a") ", 1, 1, now() - interval '2 h'), (" NODE(
                         "0b") ", 1, 2, "
                               "now() - interval '2 h')");
    /* a settled 300 of what rows say is 500; b is lost with 1000 of 2000, rows say 1400. */
    fixture_exec(db,
                 "INSERT INTO budget_alloc (budget_id, period_start, cfg, node_id, epoch, g, "
                 "s, r, state) VALUES (1, '2026-11-21 04:00Z', 1, " NODE(
                     "0a") ", 1, 700, 300, 400, "
                           "1), (1, '2026-11-21 04:00Z', 1, " NODE("0b") ", 1, 2000, 1000, 0, 2)");
    assert_int_equal(one("SELECT count(*) FROM budget_mismatch"), 0);
    charge(0x0a, 51, 1, 100, 5);
    charge(0x0b, 52, 1, 100, 14);
    age();
    /* Nothing later came from them: only upwards, and what is lost stays committed. */
    struct reconcile_result r = reconcile();
    assert_int_equal(r.trued_up, 1);
    assert_int_equal(one("SELECT adjust FROM budget_period"), 200);
    assert_int_equal(one("SELECT committed FROM budget_period"), 2300);
    assert_int_equal(r.alarms, 1); /* 1900 counted, 1500 booked. */
    assert_int_equal(one("SELECT counted FROM spend_difference WHERE check_id = %lld AND alarm",
                         (long long)r.check_id),
                     1900);
    /* Then the next lives have spent. */
    charge(0x0a, 53, 2, 1, 1);
    charge(0x0b, 54, 2, 1, 1);
    fixture_exec(
        db, "INSERT INTO lease_life (node_id, epoch) VALUES (" NODE(
                "0a") ", 2), "
                      "(" NODE(
                          "0b") ", 2); INSERT INTO budget_alloc (budget_id, period_start, cfg, "
                                "node_id, epoch, g, s, r) VALUES (1, '2026-11-21 04:00Z', 1, " NODE(
                                    "0a") ", 2, 9, "
                                          "1, 8), (1, '2026-11-21 04:00Z', 1, " NODE(
                                              "0b") ", 2, 9, 1, 8); UPDATE "
                                                    "budget_period SET committed = committed + 2, "
                                                    "settled = settled + 2");
    age();
    r = reconcile();
    assert_int_equal(r.alarms, 0);
    assert_int_equal(r.differing, 0);
    assert_int_equal(one("SELECT committed + adjust FROM budget_period"), 1902);
    assert_int_equal(one("SELECT settled + adjust FROM budget_period"), 1902);
    assert_int_equal(one("SELECT state FROM lease_life WHERE node_id = " NODE("0b") " AND epoch = "
                                                                                    "1"),
                     1);
    assert_int_equal(one("SELECT count(*) FROM budget_mismatch"), 0);
    /* Downwards too, now; and never twice. */
    fixture_exec(db, "UPDATE budget_alloc SET s = s + 50, r = r - 50 WHERE node_id = " NODE(
                         "0a") " AND epoch = 1; UPDATE budget_period SET settled = settled + 50, "
                               "committed = committed + 50");
    assert_int_equal(reconcile().trued_up, 1);
    assert_int_equal(one("SELECT adjust FROM budget_period"), 150);
    assert_int_equal(reconcile().trued_up, 0);
    assert_int_equal(one("SELECT count(*) FROM budget_adjust WHERE reason = 'trueup'"), 2);
}

static void a_gap_in_the_telemetry_forbids_truing_down(void **state)
{
    (void)state;
    fixture_exec(db, "UPDATE budget_alloc SET s = s + 50, r = r - 50 WHERE node_id = " NODE(
                         "0a") " AND epoch = 1; UPDATE budget_period SET settled = settled + 50, "
                               "committed = committed + 50; INSERT INTO telemetry_gap (node_id, "
                               "epoch, from_seq, to_seq, reason) VALUES (" NODE("0a") ", 99, 1, 2, "
                                                                                      "'test')");
    struct reconcile_result r = reconcile();
    assert_int_equal(r.trued_up, 0);
    assert_int_equal(r.differing, 1);
    assert_int_equal(r.alarms, 1);
    fixture_exec(db, "DELETE FROM telemetry_gap");
    assert_int_equal(reconcile().trued_up, 1);
}

static void a_row_that_is_gone_is_found_by_the_sums(void **state)
{
    (void)state;
    fixture_exec(db, "CREATE TABLE kept AS SELECT * FROM decision WHERE cost > 1000000018");
    fixture_exec(db, "DELETE FROM decision WHERE cost > 1000000017");
    struct reconcile_result r = reconcile();
    assert_int_equal(r.alarms, 2); /* By day and by hour. */
    json_t *reply = admin_ask("POST", "/api/v1/spend/reconcile", "{\"since\":\"2026-11-21\"}", 200);
    assert_int_equal(json_integer_value(json_object_get(reply, "alarms")), 2);
    assert_int_equal(json_array_size(json_object_get(reply, "differences")), 2);
    json_decref(reply);
    reply = admin_ask("GET", "/api/v1/spend/checks?limit=1", NULL, 200);
    assert_int_equal(json_array_size(json_object_get(reply, "items")), 1);
    json_decref(reply);
    assert_int_equal(one("SELECT count(*) FROM audit_log WHERE action = 'spend.reconcile'"), 1);
}

/* --- warnings -----------------------------------------------------------------------------------
 */

struct receiver {
    uv_loop_t loop;
    struct httpd *httpd;
    unsigned calls, refuse;
    char last_id[64], first_id[64];
};

/* The first `refuse` calls are answered 500. */
static void on_request(void *arg, struct httpd_request *req)
{
    struct receiver *r = arg;
    struct str id = httpd_header(req, STR("x-steelyard-notice-id"));
    struct str body = httpd_body(req);
    json_t *json = json_loadb(body.data, body.len, 0, NULL);
    assert_non_null(json);
    assert_true(str_copy(id, r->last_id, sizeof r->last_id));
    if (r->calls++ == 0)
        memcpy(r->first_id, r->last_id, sizeof r->first_id);
    assert_string_equal(text_of(json, "id", NULL), r->last_id);
    assert_string_equal(text_of(json, "account", NULL), "key:kone");
    json_decref(json);
    httpd_reply(req, r->calls <= r->refuse ? 500 : 204, STR_NULL, STR(""));
}

static void on_gone(void *arg)
{
    *(bool *)arg = true;
}

/* Runs a keeper until the sql gives the value. */
static void keep_until(struct receiver *r, bool allow_private, const char *sql, int64_t value,
                       struct keeper_stats *out_stats)
{
    struct work *work = NULL;
    struct keeper *keeper = NULL;
    struct err err = {0};
    bool gone = false, work_gone = false;
    assert_int_equal(
        work_create(&r->loop,
                    &(struct work_config){.conninfo = database, .application_name = "test-keeper"},
                    &work),
        0);
    struct leader *leader = NULL;
    const struct leader_config roles = {.work = work, .holder = "test"};
    assert_int_equal(leader_create(&r->loop, &roles, &leader, &err), 0);
    const struct keeper_config config = {.work = work,
                                         .leader = leader,
                                         .allow_private = allow_private,
                                         .scan_ms = 5,
                                         .retry_first_ms = 10,
                                         .reconcile_every_ms = INT64_C(1) << 40};
    assert_int_equal(keeper_start(&r->loop, &config, &keeper, &err), 0);
    while (one("%s", sql) != value)
        uv_run(&r->loop, UV_RUN_ONCE);
    *out_stats = keeper_stats(keeper);
    keeper_close(keeper, on_gone, &gone);
    while (!gone)
        uv_run(&r->loop, UV_RUN_ONCE);
    gone = false;
    leader_close(leader, on_gone, &gone);
    while (!gone)
        uv_run(&r->loop, UV_RUN_ONCE);
    work_close(work, on_gone, &work_gone);
    while (!work_gone)
        uv_run(&r->loop, UV_RUN_ONCE);
}

static void a_threshold_is_told_once_and_until_it_is_heard(void **state)
{
    struct receiver r = {.refuse = 2};
    struct keeper_stats stats;
    struct err err = {0};
    (void)state;
    uv_loop_init(&r.loop);
    assert_int_equal(httpd_start(&r.loop,
                                 &(struct httpd_config){
                                     .address = "127.0.0.1:0", .on_request = on_request, .arg = &r},
                                 &r.httpd, &err),
                     0);
    char sql[256];
    snprintf(sql, sizeof sql,
             "UPDATE budget SET webhook = 'http://127.0.0.1:%u/hook?a=b', limit_nano = 2400",
             (unsigned)httpd_port(r.httpd));
    fixture_exec(db, sql);
    fixture_exec(db, "UPDATE budget_period SET period_end = now() - interval '1 s'");
    fixture_exec(db, "INSERT INTO budget_period (budget_id, period_start, cfg, period_end, "
                     "limit_nano, settled) VALUES (1, now() - interval '1 h', 1, now() + interval "
                     "'1 h', 2400, 1919)");
    int64_t count = -1; /* One short of 80 %. */
    assert_int_equal(notices_scan(db, &count, &err), 0);
    assert_int_equal(count, 0);
    fixture_exec(db, "UPDATE budget_period SET settled = 1920 WHERE settled = 1919");
    keep_until(&r, true, "SELECT count(*) FROM spend_notice WHERE state = 'delivered'", 1, &stats);
    assert_int_equal(r.calls, 3);
    assert_string_equal(r.first_id, r.last_id);
    assert_int_equal(one("SELECT count(*) FROM spend_notice WHERE permille = 800 AND attempts = 3 "
                         "AND spent_nano = 1920 AND limit_nano = 2400"),
                     1);
    assert_int_equal(one("SELECT count(*) FROM audit_log WHERE action = 'budget.threshold' AND "
                         "subject = '1' AND detail::jsonb ->> 'threshold_percent' = '80.0' AND "
                         "detail::jsonb ->> 'id' = (SELECT id::text FROM spend_notice)"),
                     1);
    /* The limit itself is one more, once; nothing is told again. */
    fixture_exec(db, "UPDATE budget_period SET settled = 2500 WHERE settled = 1920");
    keep_until(&r, true, "SELECT count(*) FROM spend_notice WHERE state = 'delivered'", 2, &stats);
    assert_int_equal(notices_scan(db, &count, &err), 0);
    assert_int_equal(count, 0);
    assert_int_equal(r.calls, 4);
    assert_string_not_equal(r.first_id, r.last_id);
    httpd_close(r.httpd, NULL, NULL);
    uv_run(&r.loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&r.loop), 0);
}

static void b40_a_webhook_at_a_private_address_is_refused_unless_allowed(void **state)
{
    struct receiver r = {.refuse = 0};
    struct keeper_stats stats;
    (void)state;
    uv_loop_init(&r.loop);
    fixture_exec(db, "UPDATE spend_notice SET state = 'queued', url = CASE permille WHEN 800 THEN "
                     "'https://127.0.0.1:9/x' ELSE 'http://169.254.169.254/latest' END, attempts = "
                     "13, next_try = now()");
    keep_until(&r, false,
               "SELECT count(*) FROM spend_notice WHERE state = 'given_up' AND "
               "last_error <> ''",
               2, &stats);
    assert_int_equal(stats.delivered, 0);
    uv_run(&r.loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&r.loop), 0);
}

static int setup(void **state)
{
    struct err err = {0};
    (void)state;
    assert_int_equal(fetch_global_init(&err), 0);
    (void)cluster_start();
    database = cluster_database("spend", true);
    admin_fixture_start(database, yaml);
    db = fixture_connect(database);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    pq_conn_close(db);
    admin_fixture_stop();
    cluster_stop();
    fetch_global_deinit();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(totals_are_the_sum_of_decisions_and_groups_their_parts),
        cmocka_unit_test(litellm_scripts_find_their_fields),
        cmocka_unit_test(ended_lives_are_trued_up_when_all_their_rows_are_there),
        cmocka_unit_test(a_gap_in_the_telemetry_forbids_truing_down),
        cmocka_unit_test(a_row_that_is_gone_is_found_by_the_sums),
        cmocka_unit_test(a_threshold_is_told_once_and_until_it_is_heard),
        cmocka_unit_test(b40_a_webhook_at_a_private_address_is_refused_unless_allowed),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
