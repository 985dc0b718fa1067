/* Folds and looks against a real server, on a clock of integers: what nodes would have reported is
 * inserted as rows. */
#include <stdio.h>
#include <string.h>

#include "common/base/rand.h"
#include "control.pb-c.h"
#include "controlplane/ingest/intake_canary.h"
#include "controlplane/rollout/look.h"
#include "tests/lib/fault.h"
#include "tests/unit/controlplane/fixture.h"

#define T0 INT64_C(1795233600000000)
#define S  INT64_C(1000000)

static struct leader_claim claim = {.role = LEADER_ROLLOUT, .term = 7, .holder = STR_NULL};
static const struct publish_actor person = {.name = {"operator", 8}, .reason = {"test", 4}};

/* --- a policy with a version in service and a candidate ------------------------------------------
 */

static uint64_t store_version(struct pq_conn *c, const char *name, const char *artifact)
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
    assert_int_equal(publish_policy_store(c, &person, &policy, &version, &err), 0);
    return version;
}

static void make_policy(struct pq_conn *c, const char *name)
{
    uint64_t generation;
    struct err err = {0};
    uint64_t v = store_version(c, name, "stable");
    assert_int_equal(publish_policy_promote(c, &person, str_from(name), v, &generation, &err), 0);
    (void)store_version(c, name, "candidate");
    fixture_exec(c, "INSERT INTO replica (id, address) VALUES ('r', '') ON CONFLICT (id) DO UPDATE "
                    "SET seen = now(); INSERT INTO node_presence (node_id, replica, connected, "
                    "applied) VALUES ('n1', 'r', true, 1000000) ON CONFLICT DO NOTHING");
}

static void short_plan(struct rollout_plan *plan)
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

static int64_t start(struct pq_conn *c, const char *policy, const struct rollout_plan *plan,
                     int64_t now_us)
{
    struct err err = {0};
    uint64_t generation;
    int64_t id = 0;
    const struct rollout_new in = {
        .policy = str_from(policy), .candidate = 2, .plan = plan, .now_us = now_us};
    assert_int_equal(publish_begin(c, &person, &err), 0);
    int rc = rollout_create(c, &person, &in, &id, &err);
    if (rc != 0)
        fail_msg("%s", err.message);
    assert_int_equal(
        publish_commit(c, &person, STR("rollout.start"), STR(""), STR_NULL, &generation, &err), 0);
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

struct traffic {
    double error_rate[2], cost[2], quality[2]; /* Stable, candidate. */
    bool votes;
};
static const struct traffic alike = {
    .error_rate = {0.02, 0.02}, .cost = {1000, 1000}, .quality = {0.8, 0.8}, .votes = true};

/* n requests of as many users as `units`, as they would be in the rollout's present stage. */
static void add_traffic(struct pq_conn *c, int64_t id, const struct traffic *t, unsigned n,
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

static struct look_result look(struct pq_conn *c, int64_t id, int64_t now_us)
{
    struct look_result out;
    struct err err = {0};
    int rc = rollout_look(c, &claim, id, now_us, NULL, &out, &err);
    if (rc != 0)
        fail_msg("%s", err.message);
    return out;
}

static int64_t value(struct pq_conn *c, const char *format, int64_t id)
{
    char sql[600];
    snprintf(sql, sizeof sql, "WITH x AS (SELECT %lld AS id) %s", (long long)id, format);
    return fixture_i64(c, sql);
}

/* --- folding -------------------------------------------------------------------------------------
 */

static void a_row_is_counted_once_however_late_its_transaction_commits(void **state)
{
    struct pq_conn *c = fixture_connect(*state), *late = fixture_connect(*state);
    struct rollout_plan plan;
    make_policy(c, "late");
    short_plan(&plan);
    int64_t id = start(c, "late", &plan, T0);
    char sql[700];
    snprintf(sql, sizeof sql,
             "BEGIN; INSERT INTO canary_obs (bucket, rollout_id, request_id, unit_hash, arm, "
             "stage, slot, stratum, cluster, status, flags, cost, latency_ms, ttft_ms, tokens_out, "
             "chosen_q) VALUES (now() - interval '7 minutes', %lld, "
             "'00000000-0000-7000-8000-0000000000aa', 77, 1, -1, 9, 1, 5, 1, 16, 5, 5, 5, 5, 0)",
             (long long)id);
    fixture_exec(late, sql);
    add_traffic(c, id, &alike, 40, 1000);
    /* Younger than the open transaction: they wait with it ... */
    assert_int_equal(look(c, id, T0 + 10 * S).rows, 0);
    /* ... and for minutes of that nothing is believed any more. */
    struct look_result r = look(c, id, T0 + 20 * S);
    assert_true(r.rows == 0);
    fixture_exec(late, "COMMIT");
    r = look(c, id, T0 + 30 * S);
    assert_int_equal(r.rows, 41);
    assert_int_equal(look(c, id, T0 + 40 * S).rows, 0);
    assert_int_equal(
        value(c, "SELECT sum(n)::bigint FROM canary_cell, x WHERE rollout_id = id", id), 41);
    assert_int_equal(value(c,
                           "SELECT sum(quality_n)::bigint FROM canary_cell, x WHERE rollout_id "
                           "= id",
                           id),
                     20);
    /* A vote that comes later counts then, and once. */
    fixture_exec(c, "INSERT INTO feedback (ts, request_id, key_id, source, received, score_q16, "
                    "label, comment) VALUES (to_timestamp(1795233600), "
                    "'00000000-0000-7000-8000-0000000000aa', 1, 'thumb', now(), 0, '', '')");
    (void)look(c, id, T0 + 50 * S);
    (void)look(c, id, T0 + 60 * S);
    assert_int_equal(value(c,
                           "SELECT sum(disliked)::bigint FROM canary_cell, x WHERE rollout_id = "
                           "id",
                           id),
                     1);
    assert_int_equal(value(c, "SELECT count(*) FROM canary_fold, x WHERE rollout_id = id", id), 2);
    assert_int_equal(value(c,
                           "SELECT exposures FROM canary_unit, x WHERE rollout_id = id AND "
                           "unit_hash = 77",
                           id),
                     1);
    pq_conn_close(late);
    pq_conn_close(c);
}

static void rows_of_many_writers_are_each_counted_once(void **state)
{
    enum { WRITERS = 5, ROUNDS = 120 };
    struct pq_conn *c = fixture_connect(*state), *w[WRITERS];
    bool open[WRITERS] = {false};
    struct rollout_plan plan;
    make_policy(c, "many");
    short_plan(&plan);
    int64_t id = start(c, "many", &plan, T0);
    int64_t committed = 0, pending[WRITERS] = {0}, counted = 0;
    char sql[600];
    for (unsigned i = 0; i < WRITERS; i++)
        w[i] = fixture_connect(*state);
    for (unsigned round = 0; round < ROUNDS; round++) {
        unsigned i = (unsigned)rand_below(WRITERS);
        switch (rand_below(4)) {
        case 0:
        case 1: {
            struct uuid uid = uuid_v7(T0 + round);
            char request[UUID_TEXT_BYTES];
            uuid_format(&uid, request);
            snprintf(sql, sizeof sql,
                     "%sINSERT INTO canary_obs (bucket, rollout_id, request_id, unit_hash, arm, "
                     "stage, slot, stratum, cluster, status, flags, cost, latency_ms, ttft_ms, "
                     "tokens_out, chosen_q) VALUES (now(), %lld, '%s', %u, 1, -1, 9, 1, 5, 1, 16, "
                     "5, 5, 5, 5, 0)",
                     open[i] ? "" : "BEGIN; ", (long long)id, request, round);
            fixture_exec(w[i], sql);
            open[i] = true;
            pending[i]++;
            break;
        }
        case 2:
            if (open[i]) {
                bool keep = rand_below(4) != 0;
                fixture_exec(w[i], keep ? "COMMIT" : "ROLLBACK");
                committed += keep ? pending[i] : 0;
                pending[i] = 0;
                open[i] = false;
            }
            break;
        default:
            counted += (int64_t)look(c, id, T0 + round * S).rows;
            assert_true(counted <= committed);
            break;
        }
    }
    for (unsigned i = 0; i < WRITERS; i++) {
        if (open[i]) {
            fixture_exec(w[i], "COMMIT");
            committed += pending[i];
        }
        pq_conn_close(w[i]);
    }
    counted += (int64_t)look(c, id, T0 + ROUNDS * S).rows;
    assert_int_equal(counted, committed);
    assert_int_equal(
        value(c, "SELECT sum(n)::bigint FROM canary_cell, x WHERE rollout_id = id", id), committed);
    pq_conn_close(c);
}

/* --- courses -------------------------------------------------------------------------------------
 */

/* Looks every 30 s of a clock of our own until the rollout ends or holds. */
static enum rollout_state run(struct pq_conn *c, int64_t id, const struct traffic *t,
                              unsigned per_look, int64_t *io_now, unsigned looks)
{
    enum rollout_state last = ROLLOUT_STATE_SHADOW;
    for (unsigned i = 0; i < looks; i++) {
        add_traffic(c, id, t, per_look, 3000);
        *io_now += 30 * S;
        struct look_result r = look(c, id, *io_now);
        last = r.edge.to.state;
        if (r.ended || last == ROLLOUT_STATE_HOLD || last == ROLLOUT_STATE_HALTED)
            break;
    }
    return last;
}

static void a_good_candidate_goes_from_the_shadow_to_everyone(void **state)
{
    struct pq_conn *c = fixture_connect(*state);
    struct rollout_plan plan;
    int64_t now = T0;
    make_policy(c, "good");
    short_plan(&plan);
    plan.machine.stage[0].dwell_min_s = plan.machine.stage[1].dwell_min_s = 60;
    plan.machine.stage[2].requests_min = 100;
    plan.rules.metric[GUARD_COST].margin = plan.rules.metric[GUARD_COST].goal = 0.2;
    plan.rules.metric[GUARD_QUALITY].margin = plan.rules.metric[GUARD_QUALITY].goal = 0.2;
    plan.machine.stage[0].units_min = 3;
    int64_t id = start(c, "good", &plan, now);
    assert_int_equal(value(c,
                           "SELECT count(*) FROM resource WHERE key IN ('rollout/good', "
                           "'params/good/candidate', 'artifact/good/candidate')",
                           id),
                     3);
    assert_int_equal(run(c, id, &alike, 1200, &now, 120), ROLLOUT_STATE_PROMOTED);
    assert_int_equal(value(c,
                           "SELECT version FROM policy_version WHERE name = 'good' AND state = "
                           "'current'",
                           id),
                     2);
    assert_int_equal(value(c,
                           "SELECT count(*) FROM resource WHERE key LIKE '%good/candidate' OR "
                           "key = 'rollout/good'",
                           id),
                     0);
    assert_int_equal(value(c,
                           "SELECT count(*) FROM resource WHERE key = 'artifact/good' AND body "
                           "= 'candidate'",
                           id),
                     1);
    /* Shadow, five stages, everyone: each with its evidence and its generation. */
    assert_int_equal(value(c,
                           "SELECT count(*) FROM rollout_event, x WHERE rollout_id = x.id AND "
                           "generation IS NOT NULL AND (from_state IS NULL OR (actor = "
                           "'controller' AND term = 7 AND evidence ? 'guards'))",
                           id),
                     7);
    assert_int_equal(value(c,
                           "SELECT count(*) FROM rollout, x WHERE rollout.id = x.id AND state = "
                           "'promoted' AND ended IS NOT NULL AND pct_bp = 10000",
                           id),
                     1);
    pq_conn_close(c);
}

static void a_candidate_that_fails_is_taken_back(void **state)
{
    struct pq_conn *c = fixture_connect(*state);
    struct rollout_plan plan;
    const struct traffic failing = {
        .error_rate = {0.02, 0.3}, .cost = {1000, 1000}, .quality = {0.8, 0.8}};
    int64_t now = T0;
    make_policy(c, "failing");
    short_plan(&plan);
    int64_t id = start(c, "failing", &plan, now);
    assert_int_equal(run(c, id, &failing, 1200, &now, 60), ROLLOUT_STATE_ROLLED_BACK);
    assert_int_equal(value(c,
                           "SELECT count(*) FROM rollout_event, x WHERE rollout_id = x.id AND "
                           "to_state = 'rolled_back' AND reason = 'breach' AND evidence ->> "
                           "'metric' = 'error' AND (evidence #>> "
                           "'{guards,error,verdict}') = 'breach'",
                           id),
                     1);
    assert_int_equal(value(c,
                           "SELECT version FROM policy_version WHERE name = 'failing' AND "
                           "state = 'current'",
                           id),
                     1);
    assert_int_equal(value(c,
                           "SELECT count(*) FROM resource WHERE key LIKE 'rollout/failing' OR "
                           "key LIKE '%failing/candidate'",
                           id),
                     0);
    pq_conn_close(c);
}

static void a_dearer_candidate_is_caught_by_the_cost_guard(void **state)
{
    struct pq_conn *c = fixture_connect(*state);
    struct rollout_plan plan;
    const struct traffic dear = {
        .error_rate = {0.02, 0.02}, .cost = {1000, 1300}, .quality = {0.8, 0.8}, .votes = true};
    int64_t now = T0;
    make_policy(c, "dear");
    short_plan(&plan);
    int64_t id = start(c, "dear", &plan, now);
    assert_int_equal(run(c, id, &dear, 1200, &now, 120), ROLLOUT_STATE_ROLLED_BACK);
    assert_int_equal(value(c,
                           "SELECT count(*) FROM rollout_event, x WHERE rollout_id = x.id AND "
                           "to_state = 'rolled_back' AND evidence ->> 'metric' = 'cost'",
                           id),
                     1);
    pq_conn_close(c);
}

static void without_evidence_it_holds(void **state)
{
    struct pq_conn *c = fixture_connect(*state);
    struct rollout_plan plan;
    const struct traffic silent = {.error_rate = {0.02, 0.02}, .cost = {1000, 1000}};
    int64_t now = T0;
    make_policy(c, "silent");
    short_plan(&plan);
    plan.machine.stage[2].dwell_max_s = 300;
    int64_t id = start(c, "silent", &plan, now);
    assert_int_equal(run(c, id, &silent, 600, &now, 120), ROLLOUT_STATE_HOLD);
    assert_int_equal(value(c,
                           "SELECT count(*) FROM rollout, x WHERE rollout.id = x.id AND state = "
                           "'hold' AND stage = 2 AND pct_bp = 2500 AND why = 'inconclusive'",
                           id),
                     1);
    /* A person takes it further, back to where it was first, or back altogether. */
    struct look_result out;
    struct err err = {0};
    assert_int_equal(rollout_command(c, &person, id, ROLLOUT_COMMAND_RESUME, now + S, &out, &err),
                     0);
    assert_int_equal(out.edge.to.state, ROLLOUT_STATE_CANARY);
    assert_int_equal(rollout_command(c, &person, id, ROLLOUT_COMMAND_RESUME, now + S, &out, &err),
                     ERR_CONFLICT);
    assert_int_equal(rollout_command(c, &person, id, ROLLOUT_COMMAND_ADVANCE, now + S, &out, &err),
                     0);
    assert_int_equal(out.edge.to.stage, 3);
    assert_int_equal(
        rollout_command(c, &person, id, ROLLOUT_COMMAND_ROLLBACK, now + 2 * S, &out, &err), 0);
    assert_true(out.ended);
    assert_int_equal(
        rollout_command(c, &person, id, ROLLOUT_COMMAND_ROLLBACK, now + 2 * S, &out, &err),
        ERR_CONFLICT);
    assert_int_equal(value(c,
                           "SELECT count(*) FROM rollout_event, x WHERE rollout_id = x.id AND "
                           "actor = 'operator' AND reason = 'operator' AND term = 0",
                           id),
                     4);
    pq_conn_close(c);
}

static void a_deposed_leader_changes_nothing(void **state)
{
    struct pq_conn *c = fixture_connect(*state);
    struct rollout_plan plan;
    struct look_result out;
    struct err err = {0};
    make_policy(c, "deposed");
    short_plan(&plan);
    int64_t id = start(c, "deposed", &plan, T0);
    add_traffic(c, id, &alike, 200, 1000);
    const struct leader_claim old = claim;
    claim.term = 8;
    (void)look(c, id, T0 + 10 * S);
    add_traffic(c, id, &alike, 200, 1000);
    int64_t before = value(c,
                           "SELECT hashtextextended(rollout::text, 0) FROM rollout, x WHERE "
                           "rollout.id = x.id",
                           id);
    assert_int_equal(rollout_look(c, &old, id, T0 + 3600 * S, NULL, &out, &err), ERR_CONFLICT);
    assert_int_equal(value(c,
                           "SELECT hashtextextended(rollout::text, 0) FROM rollout, x WHERE "
                           "rollout.id = x.id",
                           id),
                     before);
    assert_int_equal(value(c, "SELECT count(*) FROM canary_fold, x WHERE rollout_id = id", id), 1);
    assert_false(pq_conn_in_transaction(c));
    assert_int_equal(look(c, id, T0 + 20 * S).rows, 200); /* The new one counts them. */
    pq_conn_close(c);
}

/* A decision of the candidate that arrived just now, with this record (hex). */
static void add_decision(struct pq_conn *c, int64_t id, unsigned serial, const char *record)
{
    char sql[1600];
    snprintf(
        sql, sizeof sql,
        "BEGIN; INSERT INTO decision (ts, request_id, node_id, epoch, seq, key_id, segment, "
        "endpoint, route, alias, task, generation, flags, status, http_status, cost, tokens_in, "
        "tokens_out, ttft_ms, latency_ms, attempts, excl_any, detail) VALUES (now(), "
        "'00000000-0000-7000-8000-0000000001%02x', '00000000-0000-7000-8000-000000000001', 1, %u, "
        "1, 0, '', '', '', '', 1, 0, 1, 200, 5, 5, 5, 5, 5, 1, 0, '\\x%s'); INSERT INTO canary_obs "
        "(bucket, rollout_id, request_id, unit_hash, arm, stage, slot, stratum, cluster, status, "
        "flags, cost, latency_ms, ttft_ms, tokens_out, chosen_q) VALUES ('2100-01-01', %lld, "
        "'00000000-0000-7000-8000-0000000001%02x', 77, 2, 0, 9, 1, 5, 1, 16, 5, 5, 5, 5, 0); "
        "COMMIT",
        serial, serial, record, (long long)id, serial);
    fixture_exec(c, sql);
}

static void what_does_not_come_out_again_halts_and_is_not_held_against_a_resume(void **state)
{
    struct pq_conn *c = fixture_connect(*state);
    struct record_cache cache = {0};
    struct replay_result replayed;
    struct look_result out;
    struct rollout_plan plan;
    struct err err = {0};
    const struct siphash_key key = {0};
    make_policy(c, "again");
    short_plan(&plan);
    int64_t id = start(c, "again", &plan, T0);
    add_decision(c, id, 1, "ff"); /* In the shadow it serves nobody. */
    assert_int_equal(rollout_replay(c, id, &cache, key, &replayed, &err), 0);
    assert_int_equal(replayed.same + replayed.differ + replayed.skipped, 0);
    add_traffic(c, id, &alike, 400, 1000);
    assert_int_equal(look(c, id, T0 + 70 * S).edge.to.state, ROLLOUT_STATE_CANARY);
    /* Request id and no candidates: answered before there was a choice. */
    add_decision(c, id, 2, "0a1000000000000070008000000000000001");
    assert_int_equal(rollout_replay(c, id, &cache, key, &replayed, &err), 0);
    assert_int_equal(replayed.differ, 0);
    add_decision(c, id, 3, "ff");
    assert_int_equal(rollout_replay(c, id, &cache, key, &replayed, &err), 0);
    assert_int_equal(replayed.differ, 1);
    assert_string_equal(replayed.field, "record");
    assert_int_equal(rollout_look(c, &claim, id, T0 + 80 * S, &replayed, &out, &err), 0);
    assert_true(out.edge.changes);
    assert_int_equal(out.edge.to.state, ROLLOUT_STATE_HALTED);
    assert_int_equal(out.edge.reason, ROLLOUT_REASON_REPLAY);
    assert_int_equal(
        rollout_command(c, &person, id, ROLLOUT_COMMAND_RESUME, T0 + 90 * S, &out, &err), 0);
    assert_int_equal(rollout_replay(c, id, &cache, key, &replayed, &err), 0);
    assert_int_equal(replayed.differ, 0);
    record_cache_deinit(&cache);
    pq_conn_close(c);
}

static void a_freeze_blocks_what_goes_forward_and_nothing_else(void **state)
{
    struct pq_conn *c = fixture_connect(*state);
    struct rollout_plan plan;
    struct look_result out;
    struct err err = {0};
    int64_t now = T0;
    make_policy(c, "frozen");
    short_plan(&plan);
    int64_t id = start(c, "frozen", &plan, now);
    assert_int_equal(rollout_freeze(c, &person, STR_NULL, &err), 0);
    assert_int_equal(rollout_freeze(c, &person, STR_NULL, &err), ERR_CONFLICT);
    assert_int_equal(run(c, id, &alike, 200, &now, 8), ROLLOUT_STATE_SHADOW);
    assert_int_equal(rollout_command(c, &person, id, ROLLOUT_COMMAND_ADVANCE, now, &out, &err),
                     ERR_CONFLICT);
    assert_non_null(strstr(err.message, "freeze"));
    assert_int_equal(rollout_command(c, &person, id, ROLLOUT_COMMAND_ROLLBACK, now, &out, &err), 0);
    assert_int_equal(rollout_unfreeze(c, &person, STR(""), &err), 0);
    assert_int_equal(rollout_unfreeze(c, &person, STR(""), &err), ERR_NOT_FOUND);
    pq_conn_close(c);
}

static void an_override_takes_everyone_and_ends_by_itself(void **state)
{
    struct pq_conn *c = fixture_connect(*state);
    struct rollout_plan plan;
    struct err err = {0};
    uint64_t generation;
    int64_t id = 0;
    make_policy(c, "pinned");
    plan_default(&plan);
    const struct rollout_new in = {.policy = STR("pinned"),
                                   .candidate = 2,
                                   .plan = &plan,
                                   .expires_us = T0 + 100 * S,
                                   .now_us = T0};
    assert_int_equal(publish_begin(c, &person, &err), 0);
    assert_int_equal(rollout_create(c, &person, &in, &id, &err), 0);
    assert_int_equal(publish_commit(c, &person, STR("x"), STR(""), STR_NULL, &generation, &err), 0);
    assert_int_equal(value(c,
                           "SELECT count(*) FROM rollout, x WHERE rollout.id = x.id AND state = "
                           "'override' AND pct_bp = 10000",
                           id),
                     1);
    /* Nothing else can be started or promoted beside it. */
    assert_int_equal(publish_policy_promote(c, &person, STR("pinned"), 2, &generation, &err),
                     ERR_CONFLICT);
    assert_non_null(strstr(err.message, "override"));
    assert_false(look(c, id, T0 + 99 * S).ended);
    assert_true(look(c, id, T0 + 100 * S).ended);
    assert_true(look(c, id, T0 + 101 * S).ended);
    assert_int_equal(value(c,
                           "SELECT count(*) FROM rollout_event, x WHERE rollout_id = x.id AND "
                           "to_state = 'ended' AND reason = 'expired'",
                           id),
                     1);
    assert_int_equal(value(c, "SELECT count(*) FROM resource WHERE key = 'rollout/pinned'", id), 0);
    pq_conn_close(c);
}

static int try_create(struct pq_conn *c, const char *policy, uint32_t first_bp, int64_t expires_us,
                      struct err *err)
{
    struct rollout_plan plan;
    int64_t id = 0;
    plan_default(&plan);
    plan.machine.stage[0].share_bp = first_bp;
    const struct rollout_new in = {.policy = str_from(policy),
                                   .candidate = 2,
                                   .plan = &plan,
                                   .expires_us = expires_us,
                                   .now_us = T0};
    assert_int_equal(publish_begin(c, &person, err), 0);
    int rc = rollout_create(c, &person, &in, &id, err);
    publish_abort(c);
    return rc;
}

static void a_version_that_rows_could_not_tell_about_starts_at_one_percent_at_most(void **state)
{
    struct pq_conn *c = fixture_connect(*state);
    struct err err = {0};
    make_policy(c, "unproven");
    fixture_exec(c, "UPDATE policy_version SET verdict = 'no_support' WHERE name = 'unproven' AND "
                    "version = 2");
    assert_int_equal(try_create(c, "unproven", 150, 0, &err), ERR_INVALID);
    assert_non_null(strstr(err.message, "unproven@2 has the verdict no_support"));
    assert_non_null(strstr(err.message, "the plan begins at 1.50 %: put a stage of 1 % first"));
    assert_int_equal(try_create(c, "unproven", 101, 0, &err), ERR_INVALID);
    assert_int_equal(try_create(c, "unproven", 100, 0, &err), 0);
    assert_int_equal(try_create(c, "unproven", 10, 0, &err), 0);
    assert_int_equal(try_create(c, "unproven", 400, T0 + S, &err), 0); /* An override. */
    fixture_exec(c, "UPDATE policy_version SET verdict = 'support' WHERE name = 'unproven' AND "
                    "version = 2");
    assert_int_equal(try_create(c, "unproven", 400, 0, &err), 0);
    pq_conn_close(c);
}

static void what_is_in_service_is_changed_only_past_the_rollout(void **state)
{
    struct pq_conn *c = fixture_connect(*state);
    struct rollout_plan plan;
    struct err err = {0};
    uint64_t generation, version;
    make_policy(c, "taken");
    uint64_t third = store_version(c, "taken", "third");
    short_plan(&plan);
    int64_t id = start(c, "taken", &plan, T0);
    assert_int_equal(publish_policy_promote(c, &person, STR("taken"), third, &generation, &err),
                     ERR_CONFLICT);
    assert_non_null(strstr(err.message, "taken@2"));
    /* The version that is being rolled out: by hand to everyone, and the rollout is over. */
    assert_int_equal(publish_policy_promote(c, &person, STR("taken"), 2, &generation, &err), 0);
    assert_int_equal(value(c,
                           "SELECT count(*) FROM rollout, x WHERE rollout.id = x.id AND state = "
                           "'promoted'",
                           id),
                     1);
    const struct rollout_new in = {
        .policy = STR("taken"), .candidate = third, .plan = &plan, .now_us = T0 + S};
    assert_int_equal(publish_begin(c, &person, &err), 0);
    assert_int_equal(rollout_create(c, &person, &in, &id, &err), 0);
    assert_int_equal(publish_commit(c, &person, STR("x"), STR(""), STR_NULL, &generation, &err), 0);
    assert_int_equal(
        publish_policy_rollback(c, &person, STR("taken"), 0, &version, &generation, &err), 0);
    assert_int_equal(value(c,
                           "SELECT count(*) FROM rollout, x WHERE rollout.id = x.id AND state = "
                           "'rolled_back'",
                           id),
                     1);
    assert_int_equal(value(c, "SELECT count(*) FROM resource WHERE key = 'rollout/taken'", id), 0);
    pq_conn_close(c);
}

static void a_refusal_by_a_node_halts_until_a_person_resumes(void **state)
{
    struct pq_conn *c = fixture_connect(*state);
    struct rollout_plan plan;
    struct look_result out;
    struct err err = {0};
    int64_t now = T0;
    make_policy(c, "refused");
    short_plan(&plan);
    int64_t id = start(c, "refused", &plan, now);
    fixture_exec(c,
                 "INSERT INTO push_log (node_id, generation, accepted, key, code) SELECT 'n9', "
                 "generation, false, 'artifact/refused/candidate', 'self_test' FROM config_head");
    assert_int_equal(run(c, id, &alike, 20, &now, 3), ROLLOUT_STATE_HALTED);
    assert_int_equal(value(c, "SELECT count(*) FROM resource WHERE key = 'rollout/refused'", id),
                     0);
    assert_int_equal(rollout_command(c, &person, id, ROLLOUT_COMMAND_RESUME, now, &out, &err), 0);
    assert_int_equal(run(c, id, &alike, 20, &now, 3), ROLLOUT_STATE_SHADOW);
    pq_conn_close(c);
}

static void each_failed_allocation_of_a_look_leaves_the_rollout_as_it_was(void **state)
{
    struct pq_conn *c = fixture_connect(*state);
    struct rollout_plan plan;
    bool fired = true;
    make_policy(c, "memory");
    short_plan(&plan);
    int64_t id = start(c, "memory", &plan, T0);
    add_traffic(c, id, &alike, 50, 20);
    for (unsigned n = 0; fired; n++) {
        struct look_result out;
        struct err err = {0};
        fault_arm_alloc(n);
        int rc = rollout_look(c, &claim, id, T0 + 10 * S, NULL, &out, &err);
        fired = fault_disarm();
        assert_true(fired ? rc != 0 || out.rows == 50 : rc == 0);
        assert_false(pq_conn_in_transaction(c));
    }
    assert_int_equal(
        value(c, "SELECT sum(n)::bigint FROM canary_cell, x WHERE rollout_id = id", id), 50);
    pq_conn_close(c);
}

static int setup(void **state)
{
    (void)cluster_start();
    *state = (void *)(uintptr_t)cluster_database("look", true);
    rand_seed_thread(20261121);
    claim.holder = STR("here");
    struct pq_conn *c = fixture_connect(*state);
    fixture_exec(c, "UPDATE leader_fence SET term = 7, holder = 'here' WHERE role = 'rollout'");
    pq_conn_close(c);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_row_is_counted_once_however_late_its_transaction_commits),
        cmocka_unit_test(rows_of_many_writers_are_each_counted_once),
        cmocka_unit_test(a_good_candidate_goes_from_the_shadow_to_everyone),
        cmocka_unit_test(a_candidate_that_fails_is_taken_back),
        cmocka_unit_test(a_dearer_candidate_is_caught_by_the_cost_guard),
        cmocka_unit_test(without_evidence_it_holds),
        cmocka_unit_test(a_freeze_blocks_what_goes_forward_and_nothing_else),
        cmocka_unit_test(an_override_takes_everyone_and_ends_by_itself),
        cmocka_unit_test(a_version_that_rows_could_not_tell_about_starts_at_one_percent_at_most),
        cmocka_unit_test(what_is_in_service_is_changed_only_past_the_rollout),
        cmocka_unit_test(a_refusal_by_a_node_halts_until_a_person_resumes),
        cmocka_unit_test(each_failed_allocation_of_a_look_leaves_the_rollout_as_it_was),
        cmocka_unit_test(a_deposed_leader_changes_nothing),
        cmocka_unit_test(what_does_not_come_out_again_halts_and_is_not_held_against_a_resume),
    };
    return cmocka_run_group_tests(tests, setup, fixture_stop_cluster);
}
