/* A sample of the candidate's decisions, recomputed before a look. */
#include <stdio.h>

#include "common/crypto/digest.h"
#include "common/route/features.h"
#include "telemetry.pb-c.h"
#include "tests/lib/fault.h"
#include "tests/unit/controlplane/rollout/look_fixture.h"

/* A decision of the arm that arrived just now, with this record (hex). */
static void add(struct pq_conn *c, int64_t id, unsigned serial, const char *record, unsigned arm,
                unsigned flags)
{
    static char sql[4096];
    snprintf(
        sql, sizeof sql,
        "BEGIN; INSERT INTO decision (ts, request_id, node_id, epoch, seq, key_id, segment, "
        "endpoint, route, alias, task, generation, flags, status, http_status, cost, tokens_in, "
        "tokens_out, ttft_ms, latency_ms, attempts, excl_any, detail) VALUES (now(), "
        "'00000000-0000-7000-8000-0000000001%02x', '00000000-0000-7000-8000-000000000001', 1, %u, "
        "1, 0, '', '', '', '', 1, 0, 1, 200, 5, 5, 5, 5, 5, 1, 0, '\\x%s'); INSERT INTO canary_obs "
        "(bucket, rollout_id, request_id, unit_hash, arm, stage, slot, stratum, cluster, status, "
        "flags, cost, latency_ms, ttft_ms, tokens_out, chosen_q) VALUES ('2100-01-01', %lld, "
        "'00000000-0000-7000-8000-0000000001%02x', 77, %u, 0, 9, 1, 5, 1, %u, 5, 5, 5, 5, 0); "
        "COMMIT",
        serial, serial, record, (long long)id, serial, arm, flags);
    fixture_exec(c, sql);
}

static void add_decision(struct pq_conn *c, int64_t id, unsigned serial, const char *record)
{
    add(c, id, serial, record, 2, OBS_SERVED);
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

/* One that the stable version served, with what the candidate would have chosen of two models that
 * cost 1 and 2 USD a million tokens: a candidate without an artifact takes the first. */
static void add_shadow(struct pq_conn *c, int64_t id, unsigned serial, const char *params_hex,
                       uint32_t chosen)
{
    static char hex[2000];
    uint8_t request_id[16] = {1}, packed[900], sha[SHA256_BYTES];
    char *models[] = {(char *)(uintptr_t) "a", (char *)(uintptr_t) "b"};
    Steelyard__Telemetry__V1__Decision d = STEELYARD__TELEMETRY__V1__DECISION__INIT;
    Steelyard__Telemetry__V1__Shadow shadow = STEELYARD__TELEMETRY__V1__SHADOW__INIT;
    Steelyard__Telemetry__V1__Cand cand[2] = {STEELYARD__TELEMETRY__V1__CAND__INIT,
                                              STEELYARD__TELEMETRY__V1__CAND__INIT};
    Steelyard__Telemetry__V1__Cand *cands[] = {&cand[0], &cand[1]};
    struct features features = {.n = 0};
    uint8_t indices[FEATURES_ENCODED_MAX];
    int32_t dense[FEATURES_DENSE] = {0};
    assert_int_equal(hex_decode(str_from(params_hex), sha, sizeof sha), 0);
    features.index[features.n++] = 7;
    for (uint32_t i = 0; i < 2; i++) {
        cand[i].price_in = cand[i].price_out = (i + 1) * INT64_C(1000000000);
        cand[i].prior_out = 100;
    }
    d.request_id = (ProtobufCBinaryData){sizeof request_id, request_id};
    d.cand = cands;
    d.n_cand = d.n_models = 2;
    d.models = models;
    d.dense = dense;
    d.n_dense = FEATURES_DENSE;
    if (serial % 2 == 0) /* As of an older node. */
        d.features = (ProtobufCBinaryData){features_encode(&features, indices), indices};
    else
        d.packed_features = (ProtobufCBinaryData){features_pack(&features, indices), indices};
    d.t_in = 100;
    d.shadow = &shadow;
    shadow.params_sha = (ProtobufCBinaryData){sizeof sha, sha};
    shadow.chosen = chosen;
    shadow.ranked = 2;
    shadow.cost = 100 * 1000 + 100 * 1000; /* 200 tokens at 1 USD a million. */
    assert_true(steelyard__telemetry__v1__decision__get_packed_size(&d) <= sizeof packed);
    hex_encode(packed, steelyard__telemetry__v1__decision__pack(&d, packed), hex);
    add(c, id, serial, hex, 1, OBS_SERVED | OBS_SHADOWED);
}

static void what_the_candidate_would_have_chosen_is_recomputed_in_the_shadow(void **state)
{
    struct pq_conn *c = fixture_connect(*state);
    struct record_cache cache = {0};
    struct replay_result replayed;
    struct look_result out;
    struct rollout_plan plan;
    struct pq_params p = {0};
    struct pq_result *r = NULL;
    char params[SHA256_HEX_BYTES];
    struct err err = {0};
    const struct siphash_key key = {0};
    look_make_policy(c, "shade");
    fixture_exec(c, "ALTER TABLE policy_version DISABLE TRIGGER ALL; UPDATE policy_version SET "
                    "artifact = NULL WHERE name = 'shade'; ALTER TABLE policy_version ENABLE "
                    "TRIGGER ALL");
    look_short_plan(&plan);
    int64_t id = look_start(c, "shade", &plan, T0);
    pq_params_i64(&p, id);
    assert_int_equal(
        pq_conn_query(c, "SELECT candidate_params FROM rollout WHERE id = $1", &p, &r, &err), 0);
    (void)str_copy(pq_result_text(r, 0, 0), params, sizeof params);
    pq_result_destroy(r);
    add_shadow(c, id, 33, params, 1);
    assert_int_equal(rollout_replay(c, id, &cache, key, &replayed, &err), 0);
    if (replayed.field != NULL)
        fail_msg("%s", replayed.field);
    assert_int_equal(replayed.same, 1);
    add_shadow(c, id, 34, params, 2);
    assert_int_equal(rollout_replay(c, id, &cache, key, &replayed, &err), 0);
    assert_int_equal(replayed.same, 1);
    assert_int_equal(replayed.differ, 1);
    assert_string_equal(replayed.field, "shadow.chosen");
    assert_int_equal(rollout_look(c, &look_claim, id, T0 + 5 * S, &replayed, &out, &err), 0);
    assert_true(out.edge.changes);
    assert_int_equal(out.edge.to.state, ROLLOUT_STATE_HALTED);
    assert_int_equal(out.edge.reason, ROLLOUT_REASON_REPLAY);
    /* Not held against a resume; and one by other parameters halts as well. */
    assert_int_equal(
        rollout_command(c, &look_person, id, ROLLOUT_COMMAND_RESUME, T0 + 9 * S, &out, &err), 0);
    fixture_exec(c, "UPDATE canary_obs SET bucket = '2000-01-01' WHERE bucket = '2100-01-01'");
    assert_int_equal(rollout_replay(c, id, &cache, key, &replayed, &err), 0);
    assert_int_equal(replayed.same + replayed.differ, 0);
    params[0] = params[0] == '0' ? '1' : '0';
    add_shadow(c, id, 35, params, 1);
    assert_int_equal(rollout_replay(c, id, &cache, key, &replayed, &err), 0);
    assert_int_equal(replayed.differ, 1);
    assert_string_equal(replayed.field, "shadow.params");
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
        cmocka_unit_test(what_the_candidate_would_have_chosen_is_recomputed_in_the_shadow),
    };
    return cmocka_run_group_tests(tests, setup, fixture_stop_cluster);
}
