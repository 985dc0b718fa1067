/* Folds and looks against a real server, on a clock of integers: what nodes would have reported is
 * inserted as rows. */
#include <stdio.h>
#include <string.h>

#include "common/base/rand.h"
#include "control.pb-c.h"
#include "tests/lib/fault.h"
#include "tests/unit/controlplane/rollout/look_fixture.h"

/* --- folding -------------------------------------------------------------------------------------
 */

static void a_row_is_counted_once_however_late_its_transaction_commits(void **state)
{
    struct pq_conn *c = fixture_connect(*state), *late = fixture_connect(*state);
    struct rollout_plan plan;
    look_make_policy(c, "late");
    look_short_plan(&plan);
    int64_t id = look_start(c, "late", &plan, T0);
    char sql[700];
    snprintf(sql, sizeof sql,
             "BEGIN; INSERT INTO canary_obs (bucket, rollout_id, request_id, unit_hash, arm, "
             "stage, slot, stratum, cluster, status, flags, cost, latency_ms, ttft_ms, tokens_out, "
             "chosen_q) VALUES (now() - interval '7 minutes', %lld, "
             "'00000000-0000-7000-8000-0000000000aa', 77, 1, -1, 9, 1, 5, 1, 16, 5, 5, 5, 5, 0)",
             (long long)id);
    fixture_exec(late, sql);
    look_add_traffic(c, id, &look_alike, 40, 1000);
    /* Younger than the open transaction: they wait with it ... */
    assert_int_equal(look_now(c, id, T0 + 10 * S).rows, 0);
    /* ... and for minutes of that nothing is believed any more. */
    struct look_result r = look_now(c, id, T0 + 20 * S);
    assert_true(r.rows == 0);
    fixture_exec(late, "COMMIT");
    r = look_now(c, id, T0 + 30 * S);
    assert_int_equal(r.rows, 41);
    assert_int_equal(look_now(c, id, T0 + 40 * S).rows, 0);
    assert_int_equal(
        look_value(c, "SELECT sum(n)::bigint FROM canary_cell, x WHERE rollout_id = id", id), 41);
    assert_int_equal(
        look_value(c,
                   "SELECT sum(quality_n)::bigint FROM canary_cell, x WHERE rollout_id "
                   "= id",
                   id),
        20);
    /* A vote that comes later counts then, and once. */
    fixture_exec(c, "INSERT INTO feedback (ts, request_id, key_id, source, received, score_q16, "
                    "label, comment) VALUES (to_timestamp(1795233600), "
                    "'00000000-0000-7000-8000-0000000000aa', 1, 'thumb', now(), 0, '', '')");
    (void)look_now(c, id, T0 + 50 * S);
    (void)look_now(c, id, T0 + 60 * S);
    assert_int_equal(
        look_value(c,
                   "SELECT sum(disliked)::bigint FROM canary_cell, x WHERE rollout_id = "
                   "id",
                   id),
        1);
    assert_int_equal(look_value(c, "SELECT count(*) FROM canary_fold, x WHERE rollout_id = id", id),
                     2);
    assert_int_equal(look_value(c,
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
    look_make_policy(c, "many");
    look_short_plan(&plan);
    int64_t id = look_start(c, "many", &plan, T0);
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
            counted += (int64_t)look_now(c, id, T0 + round * S).rows;
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
    counted += (int64_t)look_now(c, id, T0 + ROUNDS * S).rows;
    assert_int_equal(counted, committed);
    assert_int_equal(
        look_value(c, "SELECT sum(n)::bigint FROM canary_cell, x WHERE rollout_id = id", id),
        committed);
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
        look_add_traffic(c, id, t, per_look, 3000);
        *io_now += 30 * S;
        struct look_result r = look_now(c, id, *io_now);
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
    look_make_policy(c, "good");
    look_short_plan(&plan);
    plan.machine.stage[0].dwell_min_s = plan.machine.stage[1].dwell_min_s = 60;
    plan.machine.stage[2].requests_min = 100;
    plan.rules.metric[GUARD_COST].margin = plan.rules.metric[GUARD_COST].goal = 0.2;
    plan.rules.metric[GUARD_QUALITY].margin = plan.rules.metric[GUARD_QUALITY].goal = 0.2;
    plan.machine.stage[0].units_min = 3;
    int64_t id = look_start(c, "good", &plan, now);
    assert_int_equal(look_value(c,
                                "SELECT count(*) FROM resource WHERE key IN ('rollout/good', "
                                "'params/good/candidate', 'artifact/good/candidate')",
                                id),
                     3);
    assert_int_equal(run(c, id, &look_alike, 1200, &now, 120), ROLLOUT_STATE_PROMOTED);
    assert_int_equal(
        look_value(c,
                   "SELECT version FROM policy_version WHERE name = 'good' AND state = "
                   "'current'",
                   id),
        2);
    assert_int_equal(look_value(c,
                                "SELECT count(*) FROM resource WHERE key LIKE '%good/candidate' OR "
                                "key = 'rollout/good'",
                                id),
                     0);
    assert_int_equal(
        look_value(c,
                   "SELECT count(*) FROM resource WHERE key = 'artifact/good' AND body "
                   "= 'candidate'",
                   id),
        1);
    /* Shadow, five stages, everyone: each with its evidence and its generation. */
    assert_int_equal(look_value(c,
                                "SELECT count(*) FROM rollout_event, x WHERE rollout_id = x.id AND "
                                "generation IS NOT NULL AND (from_state IS NULL OR (actor = "
                                "'controller' AND term = 7 AND evidence ? 'guards'))",
                                id),
                     7);
    assert_int_equal(
        look_value(c,
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
    look_make_policy(c, "failing");
    look_short_plan(&plan);
    int64_t id = look_start(c, "failing", &plan, now);
    assert_int_equal(run(c, id, &failing, 1200, &now, 60), ROLLOUT_STATE_ROLLED_BACK);
    assert_int_equal(look_value(c,
                                "SELECT count(*) FROM rollout_event, x WHERE rollout_id = x.id AND "
                                "to_state = 'rolled_back' AND reason = 'breach' AND evidence ->> "
                                "'metric' = 'error' AND (evidence #>> "
                                "'{guards,error,verdict}') = 'breach'",
                                id),
                     1);
    assert_int_equal(look_value(c,
                                "SELECT version FROM policy_version WHERE name = 'failing' AND "
                                "state = 'current'",
                                id),
                     1);
    assert_int_equal(look_value(c,
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
    look_make_policy(c, "dear");
    look_short_plan(&plan);
    int64_t id = look_start(c, "dear", &plan, now);
    assert_int_equal(run(c, id, &dear, 1200, &now, 120), ROLLOUT_STATE_ROLLED_BACK);
    assert_int_equal(look_value(c,
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
    look_make_policy(c, "silent");
    look_short_plan(&plan);
    plan.machine.stage[2].dwell_max_s = 300;
    int64_t id = look_start(c, "silent", &plan, now);
    assert_int_equal(run(c, id, &silent, 600, &now, 120), ROLLOUT_STATE_HOLD);
    assert_int_equal(
        look_value(c,
                   "SELECT count(*) FROM rollout, x WHERE rollout.id = x.id AND state = "
                   "'hold' AND stage = 2 AND pct_bp = 2500 AND why = 'inconclusive'",
                   id),
        1);
    /* A look_person takes it further, back to where it was first, or back altogether. */
    struct look_result out;
    struct err err = {0};
    assert_int_equal(
        rollout_command(c, &look_person, id, ROLLOUT_COMMAND_RESUME, now + S, &out, &err), 0);
    assert_int_equal(out.edge.to.state, ROLLOUT_STATE_CANARY);
    assert_int_equal(
        rollout_command(c, &look_person, id, ROLLOUT_COMMAND_RESUME, now + S, &out, &err),
        ERR_CONFLICT);
    assert_int_equal(
        rollout_command(c, &look_person, id, ROLLOUT_COMMAND_ADVANCE, now + S, &out, &err), 0);
    assert_int_equal(out.edge.to.stage, 3);
    assert_int_equal(
        rollout_command(c, &look_person, id, ROLLOUT_COMMAND_ROLLBACK, now + 2 * S, &out, &err), 0);
    assert_true(out.ended);
    assert_int_equal(
        rollout_command(c, &look_person, id, ROLLOUT_COMMAND_ROLLBACK, now + 2 * S, &out, &err),
        ERR_CONFLICT);
    assert_int_equal(look_value(c,
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
    look_make_policy(c, "deposed");
    look_short_plan(&plan);
    int64_t id = look_start(c, "deposed", &plan, T0);
    look_add_traffic(c, id, &look_alike, 200, 1000);
    const struct leader_claim old = look_claim;
    look_claim.term = 8;
    (void)look_now(c, id, T0 + 10 * S);
    look_add_traffic(c, id, &look_alike, 200, 1000);
    int64_t before = look_value(c,
                                "SELECT hashtextextended(rollout::text, 0) FROM rollout, x WHERE "
                                "rollout.id = x.id",
                                id);
    assert_int_equal(rollout_look(c, &old, id, T0 + 3600 * S, NULL, &out, &err), ERR_CONFLICT);
    assert_int_equal(look_value(c,
                                "SELECT hashtextextended(rollout::text, 0) FROM rollout, x WHERE "
                                "rollout.id = x.id",
                                id),
                     before);
    assert_int_equal(look_value(c, "SELECT count(*) FROM canary_fold, x WHERE rollout_id = id", id),
                     1);
    assert_false(pq_conn_in_transaction(c));
    assert_int_equal(look_now(c, id, T0 + 20 * S).rows, 200); /* The new one counts them. */
    pq_conn_close(c);
}

static void a_freeze_blocks_what_goes_forward_and_nothing_else(void **state)
{
    struct pq_conn *c = fixture_connect(*state);
    struct rollout_plan plan;
    struct look_result out;
    struct err err = {0};
    int64_t now = T0;
    look_make_policy(c, "frozen");
    look_short_plan(&plan);
    int64_t id = look_start(c, "frozen", &plan, now);
    assert_int_equal(rollout_freeze(c, &look_person, STR_NULL, &err), 0);
    assert_int_equal(rollout_freeze(c, &look_person, STR_NULL, &err), ERR_CONFLICT);
    assert_int_equal(run(c, id, &look_alike, 200, &now, 8), ROLLOUT_STATE_SHADOW);
    assert_int_equal(rollout_command(c, &look_person, id, ROLLOUT_COMMAND_ADVANCE, now, &out, &err),
                     ERR_CONFLICT);
    assert_non_null(strstr(err.message, "freeze"));
    assert_int_equal(
        rollout_command(c, &look_person, id, ROLLOUT_COMMAND_ROLLBACK, now, &out, &err), 0);
    assert_int_equal(rollout_unfreeze(c, &look_person, STR(""), &err), 0);
    assert_int_equal(rollout_unfreeze(c, &look_person, STR(""), &err), ERR_NOT_FOUND);
    pq_conn_close(c);
}

static void an_override_takes_everyone_and_ends_by_itself(void **state)
{
    struct pq_conn *c = fixture_connect(*state);
    struct rollout_plan plan;
    struct err err = {0};
    uint64_t generation;
    int64_t id = 0;
    look_make_policy(c, "pinned");
    plan_default(&plan);
    const struct rollout_new in = {.policy = STR("pinned"),
                                   .candidate = 2,
                                   .plan = &plan,
                                   .expires_us = T0 + 100 * S,
                                   .now_us = T0};
    assert_int_equal(publish_begin(c, &look_person, &err), 0);
    assert_int_equal(rollout_create(c, &look_person, &in, &id, &err), 0);
    assert_int_equal(
        publish_commit(c, &look_person, STR("x"), STR(""), STR_NULL, &generation, &err), 0);
    assert_int_equal(
        look_value(c,
                   "SELECT count(*) FROM rollout, x WHERE rollout.id = x.id AND state = "
                   "'override' AND pct_bp = 10000",
                   id),
        1);
    /* Nothing else can be started or promoted beside it. */
    assert_int_equal(publish_policy_promote(c, &look_person, STR("pinned"), 2, &generation, &err),
                     ERR_CONFLICT);
    assert_non_null(strstr(err.message, "override"));
    assert_false(look_now(c, id, T0 + 99 * S).ended);
    assert_true(look_now(c, id, T0 + 100 * S).ended);
    assert_true(look_now(c, id, T0 + 101 * S).ended);
    assert_int_equal(look_value(c,
                                "SELECT count(*) FROM rollout_event, x WHERE rollout_id = x.id AND "
                                "to_state = 'ended' AND reason = 'expired'",
                                id),
                     1);
    assert_int_equal(
        look_value(c, "SELECT count(*) FROM resource WHERE key = 'rollout/pinned'", id), 0);
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
    assert_int_equal(publish_begin(c, &look_person, err), 0);
    int rc = rollout_create(c, &look_person, &in, &id, err);
    publish_abort(c);
    return rc;
}

static void a_version_that_rows_could_not_tell_about_starts_at_one_percent_at_most(void **state)
{
    struct pq_conn *c = fixture_connect(*state);
    struct err err = {0};
    look_make_policy(c, "unproven");
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
    look_make_policy(c, "taken");
    uint64_t third = look_store_version(c, "taken", "third");
    look_short_plan(&plan);
    int64_t id = look_start(c, "taken", &plan, T0);
    assert_int_equal(
        publish_policy_promote(c, &look_person, STR("taken"), third, &generation, &err),
        ERR_CONFLICT);
    assert_non_null(strstr(err.message, "taken@2"));
    /* The version that is being rolled out: by hand to everyone, and the rollout is over. */
    assert_int_equal(publish_policy_promote(c, &look_person, STR("taken"), 2, &generation, &err),
                     0);
    assert_int_equal(
        look_value(c,
                   "SELECT count(*) FROM rollout, x WHERE rollout.id = x.id AND state = "
                   "'promoted'",
                   id),
        1);
    const struct rollout_new in = {
        .policy = STR("taken"), .candidate = third, .plan = &plan, .now_us = T0 + S};
    assert_int_equal(publish_begin(c, &look_person, &err), 0);
    assert_int_equal(rollout_create(c, &look_person, &in, &id, &err), 0);
    assert_int_equal(
        publish_commit(c, &look_person, STR("x"), STR(""), STR_NULL, &generation, &err), 0);
    assert_int_equal(
        publish_policy_rollback(c, &look_person, STR("taken"), 0, &version, &generation, &err), 0);
    assert_int_equal(
        look_value(c,
                   "SELECT count(*) FROM rollout, x WHERE rollout.id = x.id AND state = "
                   "'rolled_back'",
                   id),
        1);
    assert_int_equal(look_value(c, "SELECT count(*) FROM resource WHERE key = 'rollout/taken'", id),
                     0);
    pq_conn_close(c);
}

static void a_refusal_by_a_node_halts_until_a_person_resumes(void **state)
{
    struct pq_conn *c = fixture_connect(*state);
    struct rollout_plan plan;
    struct look_result out;
    struct err err = {0};
    int64_t now = T0;
    look_make_policy(c, "refused");
    look_short_plan(&plan);
    int64_t id = look_start(c, "refused", &plan, now);
    fixture_exec(c,
                 "INSERT INTO push_log (node_id, generation, accepted, key, code) SELECT 'n9', "
                 "generation, false, 'artifact/refused/candidate', 'self_test' FROM config_head");
    assert_int_equal(run(c, id, &look_alike, 20, &now, 3), ROLLOUT_STATE_HALTED);
    assert_int_equal(
        look_value(c, "SELECT count(*) FROM resource WHERE key = 'rollout/refused'", id), 0);
    assert_int_equal(rollout_command(c, &look_person, id, ROLLOUT_COMMAND_RESUME, now, &out, &err),
                     0);
    assert_int_equal(run(c, id, &look_alike, 20, &now, 3), ROLLOUT_STATE_SHADOW);
    pq_conn_close(c);
}

static void each_failed_allocation_of_a_look_leaves_the_rollout_as_it_was(void **state)
{
    struct pq_conn *c = fixture_connect(*state);
    struct rollout_plan plan;
    bool fired = true;
    look_make_policy(c, "memory");
    look_short_plan(&plan);
    int64_t id = look_start(c, "memory", &plan, T0);
    look_add_traffic(c, id, &look_alike, 50, 20);
    for (unsigned n = 0; fired; n++) {
        struct look_result out;
        struct err err = {0};
        fault_arm_alloc(n);
        int rc = rollout_look(c, &look_claim, id, T0 + 10 * S, NULL, &out, &err);
        fired = fault_disarm();
        assert_true(fired ? rc != 0 || out.rows == 50 : rc == 0);
        assert_false(pq_conn_in_transaction(c));
    }
    assert_int_equal(
        look_value(c, "SELECT sum(n)::bigint FROM canary_cell, x WHERE rollout_id = id", id), 50);
    pq_conn_close(c);
}

static int setup(void **state)
{
    return look_setup(state, "look");
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
    };
    return cmocka_run_group_tests(tests, setup, fixture_stop_cluster);
}
