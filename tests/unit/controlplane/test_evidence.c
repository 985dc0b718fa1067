/* A policy is looked at, against a real server: lambda, drift, training again. */
#include "controlplane/evidence/turn.h"

#include <stdio.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/crypto/digest.h"
#include "common/route/policy.h"
#include "control.pb-c.h"
#include "telemetry.pb-c.h"
#include "tests/lib/fault.h"
#include "tests/unit/controlplane/fixture.h"

#define HOUR_US INT64_C(3600000000)

static const struct leader_claim claim = {.role = LEADER_TRAINER, .term = 7, .holder = STR("test")};

/* The catalogue: route "auto" of policy "p" chooses between "good" and "cheap". */
static struct publish_set make_set(struct buf *body, struct publish_resource *item)
{
    Steelyard__Control__V1__Catalogue m = STEELYARD__CONTROL__V1__CATALOGUE__INIT;
    Steelyard__Control__V1__Route route = STEELYARD__CONTROL__V1__ROUTE__INIT;
    Steelyard__Control__V1__Route *routes[] = {&route};
    char *models[] = {(char *)(uintptr_t) "good", (char *)(uintptr_t) "cheap"};
    route.name = (char *)(uintptr_t) "auto";
    route.policy = (char *)(uintptr_t) "p";
    route.models = models;
    route.n_models = 2;
    m.routes = routes;
    m.n_routes = 1;
    buf_init(body, 4096);
    assert_int_equal(buf_reserve(body, 4096), 0);
    body->len = steelyard__control__v1__catalogue__pack(&m, (uint8_t *)body->data);
    *item = (struct publish_resource){.key = STR("catalogue"), .body = buf_str(body)};
    return (struct publish_set){.era = 1, .generation = 1, .items = item, .count = 1};
}

static uint64_t put_version(struct pq_conn *c, const char *target, const char *artifact)
{
    struct publish_actor actor = {.name = STR("operator"), .reason = STR("test")};
    Steelyard__Control__V1__Params m = STEELYARD__CONTROL__V1__PARAMS__INIT;
    struct buf params = {0};
    struct err err = {0};
    uint64_t version = 0, generation = 0;
    m.lambda = 1000000000;
    m.explore_most = POLICY_EXPLORE_HIGH;
    m.eps_cap = POLICY_EXPLORE_LOW;
    buf_init(&params, 4096);
    assert_int_equal(buf_reserve(&params, 4096), 0);
    params.len = steelyard__control__v1__params__pack(&m, (uint8_t *)params.data);
    struct publish_policy policy = {.name = STR("p"),
                                    .artifact = artifact != NULL ? str_from(artifact) : STR_NULL,
                                    .params = buf_str(&params),
                                    .target_json = str_from(target),
                                    .rows = 1000,
                                    .gates_ok = true};
    assert_int_equal(publish_policy_store(c, &actor, &policy, &version, &err), 0);
    assert_int_equal(publish_policy_promote(c, &actor, STR("p"), version, &generation, &err), 0);
    buf_deinit(&params);
    return version;
}

/* A decision by `artifact` that `model` (0 good, 1 cheap) served, expected at q, labelled score. */
static void put_decision(struct pq_conn *c, uint32_t serial, int64_t ts_us, int64_t cost,
                         const char *artifact, uint32_t model, double q, int score)
{
    static char sql[8192];
    char hex[4096], stamp[CLOCK_RFC3339_BYTES];
    uint8_t id[16] = {1, 2, 3}, packed[2000];
    Steelyard__Telemetry__V1__Decision d = STEELYARD__TELEMETRY__V1__DECISION__INIT;
    Steelyard__Telemetry__V1__Cand cand[2] = {STEELYARD__TELEMETRY__V1__CAND__INIT,
                                              STEELYARD__TELEMETRY__V1__CAND__INIT};
    Steelyard__Telemetry__V1__Cand *cands[] = {&cand[0], &cand[1]};
    char *models[] = {(char *)(uintptr_t) "good", (char *)(uintptr_t) "cheap"};
    struct sha256 sha = digest_sha256(artifact, strlen(artifact));
    memcpy(id + 12, &serial, sizeof serial);
    cand[0].q = cand[1].q = (uint32_t)(q * 65536);
    d.request_id = (ProtobufCBinaryData){sizeof id, id};
    d.policy_version = (ProtobufCBinaryData){SHA256_BYTES, sha.bytes};
    d.cand = cands;
    d.n_cand = 2;
    d.models = models;
    d.n_models = 2;
    d.chosen = model;
    d.served = model + 1;
    assert_true(steelyard__telemetry__v1__decision__get_packed_size(&d) <= sizeof packed);
    size_t len = steelyard__telemetry__v1__decision__pack(&d, packed);
    hex_encode(packed, len, hex);
    char id_hex[33], sha_hex[SHA256_HEX_BYTES];
    hex_encode(id, sizeof id, id_hex);
    hex_encode(sha.bytes, SHA256_BYTES, sha_hex);
    clock_format_rfc3339(ts_us, stamp);
    int n = snprintf(
        sql, sizeof sql,
        "INSERT INTO decision (ts, request_id, node_id, epoch, seq, key_id, segment, endpoint, "
        "route, alias, task, policy_sha, generation, flags, status, http_status, chosen_model, "
        "served_model, cost, tokens_in, tokens_out, ttft_ms, latency_ms, attempts, excl_any, "
        "detail) VALUES ('%s', '%s', '00000000-0000-0000-0000-000000000001', 1, %u, 1, 0, 'chat', "
        "'auto', 'auto', '', '\\x%s', 1, 0, 1, 200, '%s', '%s', %lld, 1, 1, 1, 1, 1, 0, '\\x%s')",
        stamp, id_hex, serial, sha_hex, models[model], models[model], (long long)cost, hex);
    assert_true(n > 0 && (size_t)n < sizeof sql);
    fixture_exec(c, sql);
    if (score < 0)
        return;
    snprintf(sql, sizeof sql,
             "INSERT INTO feedback (ts, request_id, key_id, source, received, score_q16, label, "
             "comment) VALUES ('%s', '%s', 1, 'eval', '%s', %d, '', '')",
             stamp, id_hex, stamp, score * 65536);
    fixture_exec(c, sql);
}

static struct pq_conn *fresh(const char *name)
{
    struct pq_conn *c = fixture_connect(cluster_database(name, true));
    fixture_exec(c, "INSERT INTO leader_fence (role) VALUES ('trainer') ON CONFLICT DO NOTHING");
    return c;
}

static struct evidence_seen look(struct pq_conn *c, const struct evidence_policy *policy,
                                 unsigned parts, int64_t now_us)
{
    struct buf body = {0};
    struct publish_resource item;
    struct publish_set set = make_set(&body, &item);
    struct evidence_seen seen = {0};
    struct err err = {0};
    int rc = evidence_turn(c, &claim, &set, policy, parts, now_us, &seen, &err);
    if (rc != 0)
        fail_msg("%s: %s", err_text(rc), err.message);
    buf_deinit(&body);
    return seen;
}

static void lambda_follows_a_spend_target_by_versions_of_its_own(void **state)
{
    (void)state;
    struct pq_conn *c = fresh("lambda");
    const struct evidence_policy policy = {.name = "p"};
    int64_t now = clock_wall_us();
    uint64_t approved = put_version(c, "{\"spend_usd_per_day\":24}", NULL);
    for (uint32_t i = 0; i < 100; i++) /* 2 USD in the last hour: 48 a day, 24 are wanted. */
        put_decision(c, i, now - 60000000, 20000000, "", 0, .5, -1);
    struct evidence_seen seen = look(c, &policy, EVIDENCE_LAMBDA, now);
    assert_int_equal(seen.lambda_steps, 1);
    assert_int_equal(fixture_i64(c, "SELECT lambda_to FROM lambda_step"), 1100000000);
    assert_int_equal(fixture_i64(c, "SELECT approved FROM lambda_step"), approved);
    assert_int_equal(fixture_i64(c, "SELECT count(*) FROM audit_log WHERE action = 'policy.tune'"),
                     1);
    for (int i = 0; i < 20; i++)
        (void)look(c, &policy, EVIDENCE_LAMBDA, now);
    /* The end of the envelope around what was approved, and no further. */
    assert_int_equal(fixture_i64(c, "SELECT max(lambda_to) FROM lambda_step"), 2000000000);
    assert_int_equal(fixture_i64(c, "SELECT count(DISTINCT approved) FROM lambda_step"), 1);
    assert_int_equal(look(c, &policy, EVIDENCE_LAMBDA, now).lambda_steps, 0);
    assert_int_equal(fixture_i64(c, "SELECT count(*) FROM policy_version WHERE state = 'current'"),
                     1);
    /* Without enough requests there is no pace. */
    assert_int_equal(look(c, &policy, EVIDENCE_LAMBDA, now + 3 * HOUR_US).lambda_steps, 0);
    pq_conn_close(c);
}

static void a_model_that_became_worse_is_believed_less_and_trained_anew(void **state)
{
    (void)state;
    struct pq_conn *c = fresh("drift");
    const struct evidence_policy policy = {.name = "p", .retrain_every_s = 21600};
    uint64_t version = put_version(c, "{\"quality\":0.95}", "artifact");
    int64_t now = clock_wall_us() / HOUR_US * HOUR_US + 40 * HOUR_US;
    int64_t start = now - 20 * HOUR_US;
    uint32_t serial = 0;
    for (int h = 0; h < 10; h++)
        for (uint32_t i = 0; i < 40; i++) { /* "cheap" is expected at 0.8 and is at 0.4. */
            int good = i % 5 != 0;
            int cheap = i % 5 < 2;
            put_decision(c, serial++, start + h * HOUR_US + i * 1000000, 1, "artifact", 0, .8,
                         good);
            put_decision(c, serial++, start + h * HOUR_US + i * 1000000, 1, "artifact", 1, .8,
                         cheap);
        }
    struct evidence_seen seen = look(c, &policy, EVIDENCE_DRIFT, now);
    assert_true(seen.drifts >= 1 && seen.offsets >= 1);
    uint64_t drifts = seen.drifts; /* A turn takes a day's hours; the next one the rest. */
    drifts += look(c, &policy, EVIDENCE_DRIFT, now).drifts;
    assert_int_equal(fixture_i64(c, "SELECT count(*) FROM drift_event WHERE model <> 'cheap'"), 0);
    assert_int_equal(
        fixture_i64(c, "SELECT count(*) FROM drift_event WHERE kind = 'worse' AND bias < -0.3"),
        (int64_t)drifts);
    assert_int_equal(fixture_i64(c, "SELECT copy_of FROM policy_version WHERE state = 'current'"),
                     version);
    /* Each hour once. */
    seen = look(c, &policy, EVIDENCE_DRIFT, now);
    assert_int_equal(seen.drifts, 0);
    /* Labels enough for drift, too few for the schedule's 500 ... */
    fixture_exec(c, "UPDATE policy_version SET created = now() - interval '1 day'");
    seen = look(c, &policy, EVIDENCE_RETRAIN, now);
    assert_int_equal(seen.retrains, 1);
    assert_int_equal(fixture_i64(c, "SELECT count(*) FROM job WHERE actor = 'schedule'"), 1);
    /* ... and not while one is in line. */
    assert_int_equal(look(c, &policy, EVIDENCE_RETRAIN, now).retrains, 0);
    pq_conn_close(c);
}

/* Hours before now; away_h 0: it had not been there before. */
static void put_print(struct pq_conn *c, const char *model, const char *server, int print,
                      int since_h, int last_h, int away_h, int requests)
{
    char sql[512], away[64] = "NULL";
    if (away_h > 0)
        snprintf(away, sizeof away, "now() - interval '%d hours'", away_h);
    snprintf(sql, sizeof sql,
             "INSERT INTO fingerprint VALUES ('%s', '%s', %d, NULL, now() - interval '%d hours', "
             "now() - interval '%d hours', %s, now() - interval '%d hours', %d)",
             model, server, print, since_h + away_h, since_h, away, last_h, requests);
    fixture_exec(c, sql);
}

static void who_answers_at_a_deployment_is_another_once(void **state)
{
    (void)state;
    struct pq_conn *c = fresh("prints");
    const struct evidence_policy policy = {.name = "p", .retrain_every_s = 21600};
    (void)put_version(c, "{\"quality\":0.95}", "artifact");
    const int64_t now = clock_wall_us();
    const struct {
        const char *server;
        int old[4], other[4]; /* since, last seen, away, requests */
        bool changed;
    } cases[] = {
        {"it was there, another came", {200, 2, 0, 1000}, {3, 0, 0, 100}, true},
        {"both take turns, one is new", {200, 0, 0, 1000}, {3, 0, 0, 100}, true},
        {"too few answers yet", {200, 2, 0, 1000}, {3, 0, 0, 99}, false},
        {"both from the first day on", {200, 0, 0, 1000}, {180, 0, 0, 1000}, false},
        {"its first day", {20, 1, 0, 1000}, {3, 0, 0, 1000}, false},
        {"known before the version learned", {900, 0, 0, 1000}, {200, 0, 0, 1000}, false},
        {"who was there is not established", {200, 2, 0, 99}, {3, 0, 0, 1000}, false},
        {"it is back, another served meanwhile", {700, 5, 0, 1000}, {3, 0, 900, 200}, true},
        {"it is back, nobody served meanwhile", {1700, 1000, 0, 1000}, {3, 0, 900, 200}, false},
    };
    int expected = 0;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const int *a = cases[i].old, *b = cases[i].other;
        put_print(c, "good", cases[i].server, 1, a[0], a[1], a[2], a[3]);
        put_print(c, "good", cases[i].server, 2, b[0], b[1], b[2], b[3]);
        put_print(c, "of another policy", cases[i].server, 1, 200, 2, 0, 1000);
        put_print(c, "of another policy", cases[i].server, 2, 3, 0, 0, 1000);
        expected += cases[i].changed;
    }
    struct evidence_seen seen = look(c, &policy, EVIDENCE_DRIFT, now);
    assert_int_equal(seen.prints, expected);
    assert_int_equal(seen.drifts, expected);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char sql[256];
        snprintf(sql, sizeof sql,
                 "SELECT count(*) FROM drift_event WHERE kind = 'fingerprint' AND policy = 'p' AND "
                 "model = 'good' AND print = 2 AND server = '%s'",
                 cases[i].server);
        if (fixture_i64(c, sql) != cases[i].changed)
            fail_msg("%s", cases[i].server);
    }
    /* Each once. */
    assert_int_equal(look(c, &policy, EVIDENCE_DRIFT, now).prints, 0);
    fixture_exec(c, "UPDATE drift_event SET ts = ts - interval '2 days'; UPDATE fingerprint SET "
                    "since = since - interval '2 days'");
    assert_int_equal(look(c, &policy, EVIDENCE_DRIFT, now).prints, 0);
    pq_conn_close(c);
}

static void another_model_behind_a_deployment_starts_training(void **state)
{
    (void)state;
    struct pq_conn *c = fresh("printtrain");
    const struct evidence_policy policy = {.name = "p", .retrain_every_s = 21600};
    (void)put_version(c, "{\"quality\":0.95}", "artifact");
    const int64_t now = clock_wall_us();
    fixture_exec(c, "UPDATE policy_version SET created = now() - interval '2 hours'");
    for (uint32_t i = 0; i < 150; i++) /* Enough after drift, too few for the schedule. */
        put_decision(c, i, now - HOUR_US, 1, "artifact", i % 2, .8, i % 5 != 0);
    put_print(c, "cheap", "there/small", 1, 200, 2, 0, 1000);
    assert_int_equal(look(c, &policy, EVIDENCE_DRIFT | EVIDENCE_RETRAIN, now).retrains, 0);
    put_print(c, "cheap", "there/small", 2, 1, 0, 0, 500);
    struct evidence_seen seen = look(c, &policy, EVIDENCE_DRIFT | EVIDENCE_RETRAIN, now);
    assert_int_equal(seen.prints, 1);
    assert_int_equal(seen.retrains, 1);
    assert_int_equal(seen.offsets, 0);
    assert_int_equal(fixture_i64(c, "SELECT count(*) FROM job WHERE actor = 'schedule'"), 1);
    pq_conn_close(c);
}

static void what_nobody_says_any_more_is_forgotten(void **state)
{
    (void)state;
    struct pq_conn *c = fresh("printforget");
    const struct evidence_policy policy = {.name = "p"};
    (void)put_version(c, "{\"quality\":0.95}", "artifact");
    put_print(c, "good", "a", 1, 9000, 2161, 0, 1000);
    put_print(c, "good", "a", 2, 9000, 2159, 0, 1000);
    for (int i = 0; i < 200; i++) /* One for each answer. */
        put_print(c, "good", "b", i, 3, i < 150 ? 2 : 0, 0, i < 10 ? 5 : 1);
    put_print(c, "good", "c", 1, 3, 2, 0, 1);
    (void)look(c, &policy, EVIDENCE_DRIFT, clock_wall_us());
    assert_int_equal(fixture_i64(c, "SELECT sum(print) FROM fingerprint WHERE server = 'a'"), 2);
    assert_int_equal(fixture_i64(c, "SELECT count(*) FROM fingerprint WHERE server = 'b'"), 60);
    assert_int_equal(fixture_i64(c, "SELECT count(*) FROM fingerprint WHERE server = 'c'"), 1);
    pq_conn_close(c);
}

static void put_usage(struct pq_conn *c, int64_t ts_us, int64_t cost, int64_t extra)
{
    char sql[512], stamp[CLOCK_RFC3339_BYTES];
    clock_format_rfc3339(ts_us / HOUR_US * HOUR_US, stamp);
    snprintf(sql, sizeof sql,
             "INSERT INTO usage_hour (hour, key_id, route, model, params_sha, shard, decisions, "
             "failed, explored, explore_cost, cost, unpriced, tokens_in, tokens_out, last_ts) "
             "VALUES ('%s', 1, 'auto', 'good', '', 0, 100, 0, 5, %lld, %lld, 0, 1, 1, '%s')",
             stamp, (long long)extra, (long long)cost, stamp);
    fixture_exec(c, sql);
}

static void exploration_follows_its_account_by_versions_of_its_own(void **state)
{
    (void)state;
    struct pq_conn *c = fresh("explore");
    const struct evidence_policy policy = {.name = "p", .explore_spend = .02};
    int64_t now = clock_wall_us();
    uint64_t approved = put_version(c, "{\"quality\":0.95}", "artifact");
    /* A thousand labels, but no word of how many each model has: still learning. */
    assert_int_equal(look(c, &policy, EVIDENCE_EXPLORE, now).explore_steps, 1);
    assert_int_equal(fixture_i64(c, "SELECT cap_to FROM explore_step ORDER BY id DESC LIMIT 1"),
                     POLICY_EXPLORE_HIGH);
    assert_int_equal(look(c, &policy, EVIDENCE_EXPLORE, now).explore_steps, 0);
    put_usage(c, now, 1000000, 20001); /* Just above two in a hundred, ... */
    assert_int_equal(look(c, &policy, EVIDENCE_EXPLORE, now).explore_steps, 1);
    assert_int_equal(fixture_i64(c, "SELECT cap_to FROM explore_step ORDER BY id DESC LIMIT 1"), 0);
    assert_int_equal(look(c, &policy, EVIDENCE_EXPLORE, now).explore_steps, 0);
    put_usage(c, now - 2 * HOUR_US, 1000500, 0); /* ... and half of that. */
    assert_int_equal(look(c, &policy, EVIDENCE_EXPLORE, now).explore_steps, 1);
    assert_int_equal(fixture_i64(c, "SELECT cap_to FROM explore_step ORDER BY id DESC LIMIT 1"),
                     POLICY_EXPLORE_HIGH);
    assert_int_equal(
        fixture_i64(c, "SELECT count(*) FROM policy_version WHERE created_by = 'explore'"), 3);
    assert_int_equal(fixture_i64(c, "SELECT copy_of FROM policy_version WHERE state = 'current'"),
                     (int64_t)approved);
    pq_conn_close(c);
}

static void a_deposed_leader_changes_nothing(void **state)
{
    (void)state;
    struct pq_conn *c = fresh("deposed");
    const struct evidence_policy policy = {.name = "p"};
    struct buf body = {0};
    struct publish_resource item;
    struct publish_set set = make_set(&body, &item);
    struct evidence_seen seen = {0};
    struct err err = {0};
    int64_t now = clock_wall_us();
    (void)put_version(c, "{\"spend_usd_per_day\":24}", NULL);
    for (uint32_t i = 0; i < 100; i++)
        put_decision(c, i, now - 60000000, 20000000, "", 0, .5, -1);
    fixture_exec(c, "UPDATE leader_fence SET term = 9 WHERE role = 'trainer'");
    assert_int_equal(evidence_turn(c, &claim, &set, &policy, EVIDENCE_LAMBDA, now, &seen, &err),
                     ERR_CONFLICT);
    assert_int_equal(fixture_i64(c, "SELECT count(*) FROM lambda_step"), 0);
    buf_deinit(&body);
    pq_conn_close(c);
}

static int start(void **state)
{
    (void)state;
    (void)cluster_start();
    return 0;
}
static int stop(void **state)
{
    (void)state;
    cluster_stop();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lambda_follows_a_spend_target_by_versions_of_its_own),
        cmocka_unit_test(a_model_that_became_worse_is_believed_less_and_trained_anew),
        cmocka_unit_test(who_answers_at_a_deployment_is_another_once),
        cmocka_unit_test(another_model_behind_a_deployment_starts_training),
        cmocka_unit_test(what_nobody_says_any_more_is_forgotten),
        cmocka_unit_test(exploration_follows_its_account_by_versions_of_its_own),
        cmocka_unit_test(a_deposed_leader_changes_nothing),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
