/* A sample of the candidate's decisions, recomputed before a look. */
#include <stdio.h>

#include "tests/lib/fault.h"
#include "tests/unit/controlplane/rollout/look_fixture.h"

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
    look_make_policy(c, "again");
    look_short_plan(&plan);
    int64_t id = look_start(c, "again", &plan, T0);
    add_decision(c, id, 1, "ff"); /* In the shadow it serves nobody. */
    assert_int_equal(rollout_replay(c, id, &cache, key, &replayed, &err), 0);
    assert_int_equal(replayed.same + replayed.differ + replayed.skipped, 0);
    look_add_traffic(c, id, &look_alike, 400, 1000);
    assert_int_equal(look_now(c, id, T0 + 70 * S).edge.to.state, ROLLOUT_STATE_CANARY);
    /* Request id and no candidates: answered before there was a choice. */
    add_decision(c, id, 2, "0a1000000000000070008000000000000001");
    assert_int_equal(rollout_replay(c, id, &cache, key, &replayed, &err), 0);
    assert_int_equal(replayed.differ, 0);
    add_decision(c, id, 3, "ff");
    assert_int_equal(rollout_replay(c, id, &cache, key, &replayed, &err), 0);
    assert_int_equal(replayed.differ, 1);
    assert_string_equal(replayed.field, "record");
    assert_int_equal(rollout_look(c, &look_claim, id, T0 + 80 * S, &replayed, &out, &err), 0);
    assert_true(out.edge.changes);
    assert_int_equal(out.edge.to.state, ROLLOUT_STATE_HALTED);
    assert_int_equal(out.edge.reason, ROLLOUT_REASON_REPLAY);
    assert_int_equal(
        rollout_command(c, &look_person, id, ROLLOUT_COMMAND_RESUME, T0 + 90 * S, &out, &err), 0);
    assert_int_equal(rollout_replay(c, id, &cache, key, &replayed, &err), 0);
    assert_int_equal(replayed.differ, 0);
    record_cache_deinit(&cache);
    pq_conn_close(c);
}

static int setup(void **state)
{
    return look_setup(state, "replay");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_does_not_come_out_again_halts_and_is_not_held_against_a_resume),
    };
    return cmocka_run_group_tests(tests, setup, fixture_stop_cluster);
}
