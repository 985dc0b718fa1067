#include "tests/unit/controlplane/rollout/look_fixture.h"

#include <stdio.h>
#include <string.h>

#include "common/base/rand.h"
#include "control.pb-c.h"
#include "tests/lib/fault.h"

struct leader_claim look_claim = {.role = LEADER_ROLLOUT, .term = 7, .holder = STR_NULL};
const struct publish_actor look_person = {.name = {"operator", 8}, .reason = {"test", 4}};

/* --- a policy with a version in service and a candidate ------------------------------------------
 */

uint64_t look_store_version(struct pq_conn *c, const char *name, const char *artifact)
{
    uint8_t body[256];
    Steelyard__Control__V1__Params m = STEELYARD__CONTROL__V1__PARAMS__INIT;
    m.policy = (char *)(uintptr_t)name;
    m.lambda = 5;
    size_t len = steelyard__control__v1__params__pack(&m, body);
    const struct publish_policy policy = {.name = str_from(name),
                                          .artifact = str_from(artifact),
                                          .params = {.data = (const char *)body, .len = len},
                                          .gates_ok = true};
    uint64_t version = 0;
    struct err err = {0};
    assert_int_equal(publish_policy_store(c, &look_person, &policy, &version, &err), 0);
    return version;
}

void look_make_policy(struct pq_conn *c, const char *name)
{
    uint64_t generation;
    struct err err = {0};
    uint64_t v = look_store_version(c, name, "stable");
    assert_int_equal(publish_policy_promote(c, &look_person, str_from(name), v, &generation, &err),
                     0);
    (void)look_store_version(c, name, "candidate");
    fixture_exec(c, "INSERT INTO replica (id, address) VALUES ('r', '') ON CONFLICT (id) DO UPDATE "
                    "SET seen = now(); INSERT INTO node_presence (node_id, replica, connected, "
                    "applied) VALUES ('n1', 'r', true, 1000000) ON CONFLICT DO NOTHING");
}

void look_short_plan(struct rollout_plan *plan)
{
    plan_default(plan);
    plan->machine.shadow_min_s = 60;
    plan->machine.shadow_requests_min = 100;
    for (uint32_t i = 0; i < plan->machine.stages; i++) {
        plan->machine.stage[i].dwell_min_s = 120;
        plan->machine.stage[i].requests_min = 50;
        plan->machine.stage[i].units_min = 10;
    }
    plan->machine.stage[4].requests_min = plan->machine.stage[4].units_min = 0;
}

int64_t look_start(struct pq_conn *c, const char *policy, const struct rollout_plan *plan,
                   int64_t now_us)
{
    struct err err = {0};
    uint64_t generation;
    int64_t id = 0;
    const struct rollout_new in = {
        .policy = str_from(policy), .candidate = 2, .plan = plan, .now_us = now_us};
    assert_int_equal(publish_begin(c, &look_person, &err), 0);
    int rc = rollout_create(c, &look_person, &in, &id, &err);
    if (rc != 0)
        fail_msg("%s", err.message);
    assert_int_equal(
        publish_commit(c, &look_person, STR("rollout.start"), STR(""), STR_NULL, &generation, &err),
        0);
    /* What stable was like is known. */
    char sql[400];
    snprintf(sql, sizeof sql,
             "UPDATE rollout SET baseline = baseline || '{\"rows\":5000,\"latency_p95_ms\":400,"
             "\"cost_p99_nanousd\":5000,\"cost_cap_nanousd\":6000,\"tokens_cap\":500}' WHERE id = "
             "%lld",
             (long long)id);
    fixture_exec(c, sql);
    return id;
}

/* --- traffic -------------------------------------------------------------------------------------
 */

const struct traffic look_alike = {
    .error_rate = {0.02, 0.02}, .cost = {1000, 1000}, .quality = {0.8, 0.8}, .votes = true};

/* n requests of as many users as `units`, as they would be in the rollout's present stage. */
void look_add_traffic(struct pq_conn *c, int64_t id, const struct traffic *t, unsigned n,
                      unsigned units)
{
    static uint64_t serial;
    struct buf sql = {0};
    char line[512];
    snprintf(line, sizeof line, "SELECT stage FROM rollout WHERE id = %lld", (long long)id);
    int stage = (int)fixture_i64(c, line);
    snprintf(line, sizeof line, "SELECT pct_bp FROM rollout WHERE id = %lld", (long long)id);
    int64_t share = fixture_i64(c, line);
    buf_init(&sql, 32U << 20);
    assert_int_equal(buf_append_str(&sql, STR("BEGIN;")), 0);
    for (unsigned i = 0; i < n; i++) {
        uint64_t unit = rand_below(units) + 1;
        struct uuid uid = uuid_v7(T0 + (int64_t)serial++);
        char request[UUID_TEXT_BYTES];
        uuid_format(&uid, request);
        int slot = (int)(unit * UINT64_C(0x9E3779B97F4A7C15) >> 32) % 10000;
        slot = slot < 0 ? -slot : slot;
        unsigned arm = slot < share ? 1 : 0;
        bool failed = (double)rand_below(1000000) < t->error_rate[arm] * 1e6;
        snprintf(line, sizeof line,
                 "INSERT INTO canary_obs (bucket, rollout_id, request_id, unit_hash, arm, stage, "
                 "slot, stratum, cluster, status, flags, cost, latency_ms, ttft_ms, tokens_out, "
                 "chosen_q) VALUES (now(), %lld, '%s', %llu, %u, %d, %d, 3, %u, 1, %d, %lld, %u, "
                 "30, %u, 0);",
                 (long long)id, request, (unsigned long long)unit, arm + 1, stage, slot,
                 intake_canary_cluster((uint64_t)id, unit), (failed ? 1 : 16) | 32,
                 (long long)(t->cost[arm] * (0.5 + (double)rand_below(1000) / 1000)),
                 100 + (unsigned)rand_below(300), 80 + (unsigned)rand_below(40));
        assert_int_equal(buf_append_str(&sql, str_from(line)), 0);
        if (!t->votes || i % 2 != 0)
            continue;
        bool good = (double)rand_below(1000) < t->quality[arm] * 1000;
        snprintf(
            line, sizeof line,
            "INSERT INTO feedback (ts, request_id, key_id, source, received, score_q16, label, "
            "comment) VALUES (to_timestamp(%lld), '%s', 1, 'judge', now(), %d, '', '');",
            (long long)(T0 / S), request, good ? 65536 : 0);
        assert_int_equal(buf_append_str(&sql, str_from(line)), 0);
    }
    assert_int_equal(buf_append(&sql, "COMMIT", 7), 0);
    fixture_exec(c, sql.data);
    buf_deinit(&sql);
}

struct look_result look_now(struct pq_conn *c, int64_t id, int64_t now_us)
{
    struct look_result out;
    struct err err = {0};
    int rc = rollout_look(c, &look_claim, id, now_us, NULL, &out, &err);
    if (rc != 0)
        fail_msg("%s", err.message);
    return out;
}

int64_t look_value(struct pq_conn *c, const char *format, int64_t id)
{
    char sql[600];
    snprintf(sql, sizeof sql, "WITH x AS (SELECT %lld AS id) %s", (long long)id, format);
    return fixture_i64(c, sql);
}

int look_setup(void **state, const char *database)
{
    (void)cluster_start();
    *state = (void *)(uintptr_t)cluster_database(database, true);
    rand_seed_thread(20261121);
    look_claim.holder = STR("here");
    struct pq_conn *c = fixture_connect(*state);
    fixture_exec(c, "UPDATE leader_fence SET term = 7, holder = 'here' WHERE role = 'rollout'");
    pq_conn_close(c);
    return 0;
}
