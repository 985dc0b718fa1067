/* The audit questions over decisions that are known one by one; the log of changes and that nothing
 * can be taken out of it; days that come, go, and come back from DEFAULT. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/mem.h"
#include "controlplane/ingest/intake.h"
#include "controlplane/store/migrate.h"
#include "tests/bench/audit/world.h"
#include "tests/unit/controlplane/admin_fixture.h"
#include "tests/unit/controlplane/fixture.h"

#define DECISIONS 6000U
#define DAYS      6U
#define DAY_US    WORLD_DAY_US
#define NOW_US    (INT64_C(1795219200000000) + DAY_US / 2) /* 2026-11-21, noon. */

static const char yaml[] =
    "version: 1\n"
    "providers: {sim: {base_url: \"http://127.0.0.1:1/v1\", private: true}}\n"
    "models:\n"
    "  large: {deployments: [{provider: sim}], price: {input: 2 USD, output: 8 USD}, "
    "prior_quality: 0.9}\n"
    "routes: {plain: {models: [large]}}\n";

static const char *database;
static struct world world;
static struct world_facts facts[DECISIONS];

/* --- decisions that are known --------------------------------------------------------------------
 */

static void on_stored(void *arg, const struct intake_result *result)
{
    (void)arg;
    assert_int_equal(result->outcome, INTAKE_STORED);
    assert_int_equal(result->quarantined, 0);
}

static void store_decisions(void)
{
    uv_loop_t loop;
    struct intake *in = NULL;
    struct err err = {0};
    const struct intake_config config = {.conninfo = database};
    uint64_t next = 1;
    uv_loop_init(&loop);
    assert_int_equal(intake_create(&loop, &config, &in, &err), 0);
    for (unsigned i = 0; i < DECISIONS;) {
        struct intake_batch b = {.node_id = {{1}}, .epoch = 1, .first_seq = next};
        for (unsigned n = 0; n < 1000; n++, i++)
            world_add(&world, i, &b.records, &b.count, &facts[i]);
        next += b.count;
        assert_int_equal(intake_submit(in, &b, on_stored, NULL), 0);
    }
    while (intake_stats(in).records < next - 1)
        uv_run(&loop, UV_RUN_ONCE);
    intake_close(in, NULL, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
}

static void make_accounts(struct pq_conn *c)
{
    char sql[1024], hex[65];
    (void)snprintf(
        sql, sizeof sql,
        "INSERT INTO account (id, kind, name) VALUES (1000, 'team', 'team0');"
        "INSERT INTO api_key (id, public_id, sha256, name) SELECT %llu + i, 'bench' || i, "
        "sha256(('key ' || i)::bytea), 'key ' || i FROM generate_series(0, 9) i;"
        "INSERT INTO budget (account_id, limit_nano, period) VALUES (1000, 5000000000, "
        "'day');",
        (unsigned long long)WORLD_KEY(0));
    fixture_exec(c, sql);
    for (unsigned v = 1; v <= world_versions(&world); v++) {
        world_params_hex(0, v, hex);
        (void)snprintf(
            sql, sizeof sql,
            "INSERT INTO policy_params (sha256, body) VALUES (decode('%s', 'hex'), '');"
            "INSERT INTO policy_version (name, version, state, params, created_by) VALUES "
            "('chat-policy', %u, 'archived', decode('%s', 'hex'), 'trainer')",
            hex, v, hex);
        fixture_exec(c, sql);
    }
}

static int start(void **state)
{
    struct err err = {0};
    unsigned created, dropped;
    (void)state;
    (void)cluster_start();
    database = cluster_database("audit", true);
    world_init(&world, DECISIONS, DAYS, NOW_US);
    struct pq_conn *c = fixture_connect(database);
    const struct partitions_config config = {.days_ahead = DAYS + 7};
    if (partitions_maintain(c, &config, world.start_us, &created, &dropped, &err) != 0)
        return -1;
    make_accounts(c);
    pq_conn_close(c);
    store_decisions();
    admin_fixture_start(database, yaml);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    admin_fixture_stop();
    cluster_stop();
    return 0;
}

/* All pages of a list, newest first unless ascending; each item must be of the expected ids. */
static size_t read_pages(const char *path, bool ascending)
{
    char page[512], cursor[64] = "", last[64] = "";
    size_t count = 0;
    do {
        (void)snprintf(page, sizeof page, "%s%s%s", path, cursor[0] != '\0' ? "&cursor=" : "",
                       cursor);
        json_t *json = admin_ask("GET", page, NULL, 200);
        size_t i;
        json_t *item;
        json_array_foreach(json_object_get(json, "items"), i, item)
        {
            const char *id = json_string_value(json_object_get(item, "id"));
            if (last[0] != '\0')
                assert_true(ascending ? strcmp(id, last) > 0 : strcmp(id, last) < 0);
            (void)snprintf(last, sizeof last, "%s", id);
            count++;
        }
        const char *next = json_string_value(json_object_get(json, "next"));
        (void)snprintf(cursor, sizeof cursor, "%s", next != NULL ? next : "");
        json_decref(json);
    } while (cursor[0] != '\0');
    return count;
}

static void a_key_in_an_hour_is_found_whole_with_what_was_excluded(void **state)
{
    char path[160];
    (void)state;
    for (unsigned hour = 0; hour < 24; hour += 5) {
        int64_t from = world.start_us + 2 * DAY_US + hour * INT64_C(3600000000);
        size_t expected = 0, excluded = 0, told = 0;
        for (unsigned i = 0; i < DECISIONS; i++) {
            bool in = facts[i].key == 0 && facts[i].ts_us >= from &&
                      facts[i].ts_us < from + INT64_C(3600000000);
            expected += in;
            excluded += in && facts[i].excluded;
        }
        (void)snprintf(path, sizeof path,
                       "/api/v1/audit/keys/bench0?hour=2026-11-18T%02u:30:00Z&limit=7", hour);
        assert_int_equal(read_pages(path, false), expected);
        (void)snprintf(path, sizeof path,
                       "/api/v1/audit/keys/bench0?hour=2026-11-18T%02u:59:59Z&limit=1000", hour);
        json_t *json = admin_ask("GET", path, NULL, 200);
        size_t i;
        json_t *item;
        json_array_foreach(json_object_get(json, "items"), i, item) told +=
            json_object_size(json_object_get(item, "excluded")) > 0;
        assert_int_equal(told, excluded);
        json_decref(json);
    }
    json_decref(admin_ask("GET", "/api/v1/audit/keys/nobody?hour=1h", NULL, 404));
}

static void decisions_that_did_not_take_the_best_are_found_by_version(void **state)
{
    char path[160];
    (void)state;
    for (unsigned v = 1; v <= world_versions(&world); v++) {
        size_t expected = 0;
        for (unsigned i = 0; i < DECISIONS; i++)
            expected += facts[i].policy == 0 && facts[i].version == v && facts[i].off_greedy;
        assert_true(expected > 0);
        (void)snprintf(path, sizeof path, "/api/v1/audit/off-greedy?policy=chat-policy@%u&limit=11",
                       v);
        assert_int_equal(read_pages(path, false), expected);
    }
    json_t *json =
        admin_ask("GET", "/api/v1/audit/off-greedy?policy=chat-policy@1&limit=50", NULL, 200);
    size_t i;
    json_t *item;
    json_array_foreach(json_object_get(json, "items"), i, item)
    {
        const char *greedy = json_string_value(json_object_get(item, "greedy"));
        assert_string_not_equal(greedy, json_string_value(json_object_get(item, "chosen")));
        const char *because = json_string_value(json_object_get(item, "because"));
        assert_true(strcmp(because, "explored") == 0 || strcmp(because, "sticky") == 0);
    }
    json_decref(json);
    json_decref(admin_ask("GET", "/api/v1/audit/off-greedy?policy=chat-policy@99", NULL, 404));
    json_decref(admin_ask("GET", "/api/v1/audit/off-greedy", NULL, 400));
}

static void requests_that_another_model_served_are_found(void **state)
{
    size_t expected = 0, of_a_day = 0;
    int64_t from = world.start_us + 3 * DAY_US;
    (void)state;
    for (unsigned i = 0; i < DECISIONS; i++) {
        expected += facts[i].elsewhere;
        of_a_day += facts[i].elsewhere && facts[i].ts_us >= from && facts[i].ts_us < from + DAY_US;
    }
    assert_true(expected > 0);
    assert_int_equal(read_pages("/api/v1/audit/served-elsewhere?limit=9", false), expected);
    assert_int_equal(
        read_pages("/api/v1/audit/served-elsewhere?limit=9&since=2026-11-19&until=2026-11-20",
                   false),
        of_a_day);
    json_decref(admin_ask("GET", "/api/v1/audit/served-elsewhere?cursor=zzz", NULL, 400));
}

static void one_request_has_its_charges_arm_and_votes(void **state)
{
    char path[160], id[UUID_TEXT_BYTES];
    unsigned rolling = 0;
    (void)state;
    for (unsigned i = 0; i < DECISIONS && rolling == 0; i++) {
        uuid_format(&facts[i].id, id);
        (void)snprintf(path, sizeof path, "/api/v1/audit/requests/%s", id);
        if (i % 50 != 0 || facts[i].ts_us < world.start_us + 4 * DAY_US || facts[i].version == 0)
            continue;
        json_t *json = admin_ask("GET", path, NULL, 200);
        assert_int_equal(json_array_size(json_object_get(json, "charges")), 2);
        assert_int_equal(json_array_size(json_object_get(json, "feedback")), 1);
        assert_int_equal(json_array_size(json_object_get(json, "candidates")), 4);
        assert_true(json_array_size(json_object_get(json, "attempts")) >= 1);
        assert_int_equal(json_array_size(json_object_get(json, "accounts")), 3);
        rolling += json_is_object(json_object_get(json, "rollout"));
        json_decref(json);
    }
    assert_int_equal(rolling, 1);
    json_decref(
        admin_ask("GET", "/api/v1/audit/requests/01a1e566-1d1a-7de3-9668-8145a11b3f9d", NULL, 404));
}

static void an_export_is_every_decision_once_and_goes_on_from_a_cursor(void **state)
{
    (void)state;
    assert_int_equal(read_pages("/api/v1/decisions/export?limit=251", true), DECISIONS);
    json_t *json = admin_ask("GET", "/api/v1/decisions/export?limit=1", NULL, 200);
    const json_t *item = json_array_get(json_object_get(json, "items"), 0);
    const json_t *record = json_object_get(item, "record");
    assert_int_equal(json_array_size(json_object_get(record, "candidates")), 4);
    assert_true(json_is_integer(json_object_get(item, "seq")));
    json_decref(json);
}

/* --- the books -----------------------------------------------------------------------------------
 */

static void spend_is_told_by_period_with_every_correction(void **state)
{
    struct pq_conn *c = fixture_connect(database);
    (void)state;
    fixture_exec(c,
                 "INSERT INTO budget_period (budget_id, period_start, cfg, period_end, limit_nano, "
                 "committed, settled) SELECT id, date '2026-11-18', 1, date '2026-11-19', "
                 "limit_nano, 4000000000, 4000000000 FROM budget;"
                 "INSERT INTO budget_adjust (budget_id, period_start, cfg, amount, actor, reason) "
                 "SELECT id, date '2026-11-18', 1, 1500000000, 'operator', 'a price was wrong' "
                 "FROM budget");
    pq_conn_close(c);
    json_t *json = admin_ask("GET", "/api/v1/audit/spend?account=team:team0", NULL, 200);
    const json_t *p = json_array_get(json_object_get(json, "items"), 0);
    assert_string_equal(json_string_value(json_object_get(p, "spent_usd")), "5.5");
    assert_string_equal(json_string_value(json_object_get(p, "limit_usd")), "5");
    assert_true(json_is_true(json_object_get(p, "over")));
    assert_int_equal(json_integer_value(json_object_get(p, "adjustment_count")), 1);
    const json_t *a = json_array_get(json_object_get(p, "adjustments"), 0);
    assert_string_equal(json_string_value(json_object_get(a, "actor")), "operator");
    json_decref(json);
    json_decref(admin_ask("GET", "/api/v1/audit/spend?account=team:nobody", NULL, 404));
    json_decref(admin_ask("GET", "/api/v1/audit/spend", NULL, 400));
}

static void who_moved_a_rollout_is_told_with_the_evidence(void **state)
{
    struct pq_conn *c = fixture_connect(database);
    (void)state;
    fixture_exec(
        c,
        "INSERT INTO rollout (id, policy, stable, candidate, stable_params, candidate_params, "
        "state, stage, salt, salt2, cfg, created_by, folded_xid) VALUES (77, 'chat-policy', 1, 2, "
        "'a', 'b', 'canary', 1, decode(md5('a'), 'hex'), decode(md5('b'), 'hex'), '{}', "
        "'operator', '0');"
        "INSERT INTO rollout_event (rollout_id, from_state, from_stage, to_state, to_stage, "
        "pct_bp, "
        "actor, reason, evidence) VALUES (77, 'shadow', -1, 'canary', 0, 100, 'key:ann', 'go', "
        "'{}'),"
        "(77, 'canary', 0, 'canary', 1, 500, 'controller', 'dwell', '{\"looks\": 180}')");
    pq_conn_close(c);
    json_t *json = admin_ask("GET", "/api/v1/audit/rollouts/77?stage=1", NULL, 200);
    assert_int_equal(json_array_size(json_object_get(json, "events")), 1);
    const json_t *e = json_array_get(json_object_get(json, "events"), 0);
    assert_string_equal(json_string_value(json_object_get(e, "actor")), "controller");
    assert_int_equal(json_integer_value(json_object_get(json_object_get(e, "evidence"), "looks")),
                     180);
    json_decref(json);
    json_decref(admin_ask("GET", "/api/v1/audit/rollouts/78", NULL, 404));
}

static void a_change_is_logged_with_the_rows_before_and_after(void **state)
{
    (void)state;
    json_t *made = admin_ask("POST", "/api/v1/keys", "{\"name\": \"audited\", \"rpm\": 5}", 201);
    char path[200], id[64];
    (void)snprintf(id, sizeof id, "%s", json_string_value(json_object_get(made, "id")));
    json_decref(made);
    (void)snprintf(path, sizeof path, "/api/v1/keys/%s/update", id);
    json_decref(admin_ask("POST", path, "{\"rpm\": 9, \"reason\": \"more work\"}", 200));
    (void)snprintf(path, sizeof path, "/api/v1/audit?subject=%s&action=key.update", id);
    json_t *json = admin_ask("GET", path, NULL, 200);
    const json_t *row = json_array_get(json_object_get(json, "items"), 0);
    assert_string_equal(json_string_value(json_object_get(row, "reason")), "more work");
    bool found = false;
    size_t i;
    json_t *change;
    json_array_foreach(json_object_get(row, "changes"), i, change)
    {
        assert_null(json_object_get(json_object_get(change, "after"), "sha256"));
        if (strcmp(json_string_value(json_object_get(change, "which")), id) != 0)
            continue;
        found = true;
        assert_int_equal(
            json_integer_value(json_object_get(json_object_get(change, "before"), "rpm")), 5);
        assert_int_equal(
            json_integer_value(json_object_get(json_object_get(change, "after"), "rpm")), 9);
    }
    assert_true(found);
    json_decref(json);
}

#define TRIES(table) "DELETE FROM " table, "TRUNCATE " table, "UPDATE " table " SET id = DEFAULT"

static void what_was_logged_stays(void **state)
{
    static const char *const tries[] = {TRIES("audit_log"), TRIES("audit_change"),
                                        TRIES("rollout_event")};
    struct pq_conn *c = fixture_connect(database);
    (void)state;
    for (size_t i = 0; i < sizeof tries / sizeof tries[0]; i++) {
        struct err err = {0};
        assert_int_not_equal(pq_conn_script(c, tries[i], &err), 0);
        assert_string_equal(pq_conn_sqlstate(c), "23000");
    }
    pq_conn_close(c);
}

/* --- days ----------------------------------------------------------------------------------------
 */

struct told {
    unsigned count[4];
};

static void on_event(void *arg, enum partitions_event event, const char *name, uint64_t rows,
                     uint64_t bytes)
{
    struct told *t = arg;
    (void)rows;
    (void)bytes;
    assert_non_null(name);
    t->count[event]++;
}

static void rows_without_a_day_get_one_and_expired_ones_go(void **state)
{
    const char *db = cluster_database("days", true);
    struct pq_conn *c = fixture_connect(db);
    struct told told = {{0}};
    struct partitions_config config = {
        .days_ahead = 2, .retention_days = 30, .on_event = on_event, .arg = &told};
    struct err err = {0};
    unsigned created, dropped;
    uint64_t rows, ahead;
    (void)state;
    fixture_exec(
        c, "INSERT INTO feedback (ts, request_id, key_id, source, received, score_q16, label, "
           "comment) SELECT timestamptz '2026-11-21 UTC' - i * interval '20 days', "
           "gen_random_uuid(), 1, 'thumb', now(), 1, '', '' FROM generate_series(0, 4) i");
    assert_int_equal(partitions_default_rows(c, &rows, &err), 0);
    assert_int_equal(rows, 5);
    assert_int_equal(partitions_maintain(c, &config, NOW_US, &created, &dropped, &err), 0);
    assert_int_equal(partitions_default_rows(c, &rows, &err), 0);
    assert_int_equal(rows, 0);
    assert_int_equal(told.count[PARTITIONS_ADOPTED], 2); /* Today, and 20 days ago. */
    assert_int_equal(fixture_i64(c, "SELECT count(*) FROM feedback"), 2);
    assert_int_equal(fixture_i64(c, "SELECT count(*) FROM feedback_20261101"), 1);
    assert_int_equal(partitions_days_ahead(c, NOW_US, &ahead, &err), 0);
    assert_int_equal(ahead, 2);
    assert_int_equal(partitions_days_ahead(c, NOW_US + 9 * DAY_US, &ahead, &err), 0);
    assert_int_equal(ahead, 0);
    pq_conn_close(c);
}

static void a_day_in_use_is_left_to_the_next_run_and_each_table_has_its_time(void **state)
{
    const char *db = cluster_database("use", true);
    struct pq_conn *c = fixture_connect(db), *reader = fixture_connect(db);
    struct told told = {{0}};
    struct partitions_config config = {.days_ahead = 1, .on_event = on_event, .arg = &told};
    struct err err = {0};
    unsigned created, dropped;
    (void)state;
    assert_int_equal(partitions_maintain(c, &config, NOW_US, &created, &dropped, &err), 0);
    config.retention_days = 30;
    config.attempt_days = 5;
    fixture_exec(reader, "BEGIN; SELECT count(*) FROM attempt");
    assert_int_equal(
        partitions_maintain(c, &config, NOW_US + 10 * DAY_US, &created, &dropped, &err), 0);
    assert_int_equal(dropped, 0);
    assert_int_equal(told.count[PARTITIONS_IN_USE], 6); /* Three to come, three to go. */
    fixture_exec(reader, "COMMIT");
    assert_int_equal(
        partitions_maintain(c, &config, NOW_US + 10 * DAY_US, &created, &dropped, &err), 0);
    assert_int_equal(dropped, 3);
    assert_int_equal(told.count[PARTITIONS_DROPPED], 3);
    assert_int_equal(fixture_i64(c, "SELECT (to_regclass('attempt_20261121') IS NULL AND "
                                    "to_regclass('decision_20261121') IS NOT NULL)::int"),
                     1);
    assert_int_equal(
        fixture_i64(c, "SELECT count(*) FROM audit_log WHERE action = 'partition.drop'"), 3);
    /* One that was detached, but not dropped, is found again. */
    fixture_exec(c, "ALTER TABLE decision DETACH PARTITION decision_20261121");
    assert_int_equal(
        partitions_maintain(c, &config, NOW_US + 60 * DAY_US, &created, &dropped, &err), 0);
    assert_int_equal(fixture_i64(c, "SELECT (to_regclass('decision_20261121') IS NULL)::int"), 1);
    pq_conn_close(reader);
    pq_conn_close(c);
}

/* What docs/decisions/0186 rests on. */
static void the_server_detaches_nothing_concurrently_beside_a_default_partition(void **state)
{
    const char *db = cluster_database("beside", true);
    struct pq_conn *c = fixture_connect(db);
    struct err err = {0};
    (void)state;
    fixture_exec(c, "CREATE TABLE decision_20261121 PARTITION OF decision FOR VALUES FROM "
                    "('2026-11-21') TO ('2026-11-22')");
    assert_int_not_equal(
        pq_conn_query(c, "ALTER TABLE decision DETACH PARTITION decision_20261121 CONCURRENTLY",
                      NULL, NULL, &err),
        0);
    assert_string_equal(pq_conn_sqlstate(c), "55000");
    pq_conn_close(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_key_in_an_hour_is_found_whole_with_what_was_excluded),
        cmocka_unit_test(decisions_that_did_not_take_the_best_are_found_by_version),
        cmocka_unit_test(requests_that_another_model_served_are_found),
        cmocka_unit_test(one_request_has_its_charges_arm_and_votes),
        cmocka_unit_test(an_export_is_every_decision_once_and_goes_on_from_a_cursor),
        cmocka_unit_test(spend_is_told_by_period_with_every_correction),
        cmocka_unit_test(who_moved_a_rollout_is_told_with_the_evidence),
        cmocka_unit_test(a_change_is_logged_with_the_rows_before_and_after),
        cmocka_unit_test(what_was_logged_stays),
        cmocka_unit_test(rows_without_a_day_get_one_and_expired_ones_go),
        cmocka_unit_test(a_day_in_use_is_left_to_the_next_run_and_each_table_has_its_time),
        cmocka_unit_test(the_server_detaches_nothing_concurrently_beside_a_default_partition),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
