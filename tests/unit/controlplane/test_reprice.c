/* Stored attempts rated anew: signed, per budget and period, once, and without touching a row. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "controlplane/release/reprice.h"
#include "telemetry.pb-c.h"
#include "tests/lib/fault.h"
#include "tests/unit/controlplane/admin_fixture.h"
#include "tests/unit/controlplane/fixture.h"

#define YAML(in, out)                                                                              \
    "version: 1\n"                                                                                 \
    "providers: {local: {base_url: \"http://127.0.0.1:1/v1\", private: true}}\n"                   \
    "models:\n"                                                                                    \
    "  m: {deployments: [{provider: local}], price: {input: " in " USD, output: " out " USD}}\n"   \
    "  other: {deployments: [{provider: local}], price: {input: 1 USD, output: 1 USD}}\n"

#define DAY_US INT64_C(1795219200000000) /* 2026-11-21 */

static const char *database;
static struct pq_conn *db;
static int64_t budget;

/* Two attempts: the first at m (1,000 in, of which 200 cached; 100 out, of which 40 reasoning), the
 * second at other. Charged: 1,000 and 50 nano-USD. */
static void store_decision(unsigned serial)
{
    Steelyard__Telemetry__V1__Decision d = STEELYARD__TELEMETRY__V1__DECISION__INIT;
    Steelyard__Telemetry__V1__Attempt a[2], *attempts[2] = {&a[0], &a[1]};
    Steelyard__Telemetry__V1__Charge charge = STEELYARD__TELEMETRY__V1__CHARGE__INIT;
    Steelyard__Telemetry__V1__Charge *charges = &charge;
    char *models[2] = {(char *)(uintptr_t) "m", (char *)(uintptr_t) "other"};
    char *servers[1] = {(char *)(uintptr_t) "local/m"};
    char id[40];
    uint8_t detail[1024];
    for (int i = 0; i < 2; i++) {
        steelyard__telemetry__v1__attempt__init(&a[i]);
        a[i].model = (uint32_t)i;
        a[i].start_us = DAY_US + serial;
    }
    a[0].in = 1000;
    a[0].cached = 200;
    a[0].out = 100;
    a[0].reasoning = 40;
    a[0].cost = 1000;
    a[0].price_id = 9;
    a[1].in = a[1].out = 5;
    a[1].cost = 50;
    charge.budget = (uint64_t)budget;
    charge.period_start_us = DAY_US;
    charge.cfg = 1;
    d.attempt = attempts;
    d.n_attempt = 2;
    d.models = models;
    d.n_models = 2;
    d.servers = servers;
    d.n_servers = 1;
    d.charge = &charges;
    d.n_charge = 1;
    d.ts_us = DAY_US + serial;
    assert_true(steelyard__telemetry__v1__decision__get_packed_size(&d) < sizeof detail);
    size_t len = steelyard__telemetry__v1__decision__pack(&d, detail);
    snprintf(id, sizeof id, "00000000-0000-7000-8000-%012u", serial);
    struct pq_params p = {0};
    struct err err = {0};
    pq_params_time_us(&p, DAY_US + serial);
    pq_params_text(&p, str_from(id));
    pq_params_bytes(&p, (struct str){.data = (const char *)detail, .len = len});
    assert_int_equal(
        pq_conn_query(
            db,
            "WITH d AS (INSERT INTO decision (ts, request_id, node_id, epoch, seq, key_id, "
            "segment, endpoint, route, alias, task, generation, flags, status, http_status, cost, "
            "tokens_in, tokens_out, ttft_ms, latency_ms, attempts, excl_any, detail) VALUES ($1, "
            "$2::uuid, $2::uuid, 1, 1, 1, 0, '', '', '', '', 1, 0, 0, 200, 1050, 1005, 105, 0, 0, "
            "2, 0, $3) RETURNING ts, request_id) INSERT INTO attempt (ts, request_id, n, model, "
            "server, started, status, reason, ttft_ms, total_ms, tokens_in, tokens_out, cached, "
            "cost, price_id, flags) SELECT ts, request_id, v.n, v.model, 'local/m', ts, 200, 0, 0, "
            "0, 1, 1, 0, 0, 9, 0 FROM d, (VALUES (0, 'm'), (1, 'other')) v(n, model)",
            &p, NULL, &err),
        0);
}

static json_t *reprice(const char *extra, unsigned expected)
{
    char body[512];
    snprintf(body, sizeof body,
             "{\"model\":\"m\",\"since\":\"2026-11-21\",\"until\":\"2026-11-22\",\"reason\":\"the "
             "list was wrong\"%s}",
             extra);
    return admin_ask("POST", "/api/v1/budgets/reprice", body, expected);
}

static json_int_t number(const json_t *reply, const char *name)
{
    return json_integer_value(json_object_get(reply, name));
}

static const char *text(const json_t *o, const char *name)
{
    const char *t = json_string_value(json_object_get(o, name));
    return t == NULL ? "" : t;
}

static int64_t adjusted(void)
{
    return fixture_i64(db, "SELECT adjust FROM budget_period");
}

/* In force: 1 USD in, 10 USD out: 1,000 * 1,000 + 100 * 10,000 = 2,000,000 nano-USD. */
static void a_dry_run_shows_the_sums_by_account(void **state)
{
    (void)state;
    json_t *reply = reprice(",\"dry_run\":true", 200);
    assert_int_equal(number(reply, "decisions"), 3);
    assert_int_equal(number(reply, "attempts"), 3);
    assert_int_equal(number(reply, "changed"), 3);
    assert_string_equal(text(reply, "delta_usd"), "0.005997000");
    const json_t *sum = json_array_get(json_object_get(reply, "accounts"), 0);
    assert_string_equal(text(sum, "account"), "team:payers");
    assert_string_equal(text(sum, "amount_usd"), "0.005997000");
    assert_true(json_is_null(json_object_get(reply, "next")));
    json_decref(reply);
    assert_int_equal(adjusted(), 0);
    assert_int_equal(fixture_i64(db, "SELECT count(*) FROM attempt_reprice"), 0);
}

static void differences_are_posted_once_and_rows_stay_as_they_were(void **state)
{
    (void)state;
    json_t *reply = reprice("", 200);
    assert_int_equal(number(reply, "changed"), 3);
    json_decref(reply);
    assert_int_equal(adjusted(), 3 * (2000000 - 1000));
    assert_int_equal(fixture_i64(db, "SELECT sum(cost) FROM decision"), 3 * 1050);
    assert_int_equal(fixture_i64(db, "SELECT count(*) FROM audit_log WHERE action = "
                                     "'budgets.reprice' AND subject = 'm' AND reason = 'the list "
                                     "was wrong'"),
                     1);
    reply = reprice("", 200);
    assert_int_equal(number(reply, "changed"), 0);
    json_decref(reply);
    assert_int_equal(adjusted(), 3 * (2000000 - 1000));
    assert_int_equal(fixture_i64(db, "SELECT count(*) FROM budget_adjust"), 1);
}

static void a_second_correction_goes_on_from_the_first_and_may_be_negative(void **state)
{
    (void)state;
    admin_fixture_apply(database, YAML("0.001", "0.001")); /* 1 nano-USD a token: 1,100 each. */
    json_t *reply = reprice("", 200);
    assert_int_equal(number(reply, "changed"), 3);
    assert_string_equal(text(reply, "delta_usd"), "-0.005996700");
    json_decref(reply);
    assert_int_equal(adjusted(), 3 * (1100 - 1000));
}

static void what_has_no_period_or_price_is_told(void **state)
{
    (void)state;
    fixture_exec(db, "DELETE FROM resource WHERE key = 'prices'");
    json_t *reply = reprice("", 200);
    assert_int_equal(number(reply, "attempts"), 3);
    assert_int_equal(number(reply, "unpriced"), 3);
    assert_int_equal(number(reply, "changed"), 0);
    json_decref(reply);
    admin_fixture_apply(database, YAML("1", "10"));
}

static void many_decisions_go_in_batches_that_add_up(void **state)
{
    (void)state;
    char extra[128] = "";
    json_int_t changed = 0, batches = 0;
    for (unsigned i = 100; i < 100 + 2 * REPRICE_BATCH + 7; i++)
        store_decision(i);
    for (;;) {
        json_t *reply = reprice(extra, 200);
        changed += number(reply, "changed");
        batches++;
        bool more = json_is_string(json_object_get(reply, "next"));
        snprintf(extra, sizeof extra, ",\"cursor\":\"%s\"", text(reply, "next"));
        json_decref(reply);
        if (!more)
            break;
    }
    assert_int_equal(batches, 3);
    assert_int_equal(changed, 2 * REPRICE_BATCH + 10);
    assert_int_equal(adjusted(), (2 * REPRICE_BATCH + 10) * INT64_C(1999000));
    assert_int_equal(fixture_i64(db, "SELECT count(*) FROM (SELECT request_id, n FROM "
                                     "attempt_reprice WHERE request_id > "
                                     "'00000000-0000-7000-8000-000000000099' "
                                     "GROUP BY 1, 2 HAVING count(*) > 1) twice"),
                     0);
}

static void requests_that_are_wrong_are_refused(void **state)
{
    (void)state;
    json_decref(reprice(",\"cursor\":\"5\"", 400));
    json_decref(reprice(",\"cursor\":\"5.x\"", 400));
    json_decref(reprice(",\"all\":true", 400));
    json_decref(admin_ask("POST", "/api/v1/budgets/reprice", "{\"model\":\"m\"}", 400));
    json_decref(
        admin_ask("POST", "/api/v1/budgets/reprice", "{\"model\":\"m\",\"since\":\"when\"}", 400));
}

static int start(void **state)
{
    (void)state;
    (void)cluster_start();
    database = cluster_database("reprice", true);
    db = fixture_connect(database);
    admin_fixture_start(database, YAML("1", "10"));
    fixture_exec(db, "INSERT INTO account (id, kind, name) VALUES (77, 'team', 'payers')");
    fixture_exec(db,
                 "INSERT INTO budget (account_id, limit_nano, period) VALUES (77, 1000, 'day')");
    budget = fixture_i64(db, "SELECT id FROM budget");
    fixture_exec(db, "INSERT INTO budget_period (budget_id, period_start, cfg, period_end, "
                     "limit_nano) SELECT id, '2026-11-21', 1, '2026-11-22', 1000 FROM budget");
    for (unsigned i = 1; i <= 3; i++)
        store_decision(i);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    admin_fixture_stop();
    pq_conn_close(db);
    cluster_stop();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_dry_run_shows_the_sums_by_account),
        cmocka_unit_test(differences_are_posted_once_and_rows_stay_as_they_were),
        cmocka_unit_test(a_second_correction_goes_on_from_the_first_and_may_be_negative),
        cmocka_unit_test(what_has_no_period_or_price_is_told),
        cmocka_unit_test(many_decisions_go_in_batches_that_add_up),
        cmocka_unit_test(requests_that_are_wrong_are_refused),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
