#include <string.h>

#include "controlplane/rollout/machine.h"
#include "tests/lib/fault.h"

#define T0 1000000000LL /* ms */

static struct rollout_config config;
static struct rollout_place place;
static struct rollout_facts facts;

static int setup(void **state)
{
    (void)state;
    rollout_config_default(&config);
    place = rollout_start(T0);
    /* Everything is there and nothing is wrong. */
    facts = (struct rollout_facts){.now_ms = T0 + 86400000 / 2,
                                   .last_look_ms = T0 + 86400000 / 2 - 10000,
                                   .nodes = 100,
                                   .nodes_ready = 99,
                                   .shadow_requests = 100000,
                                   .requests = {100000, 100000},
                                   .units = 10000};
    for (uint32_t i = 0; i < GUARD_METRICS; i++)
        facts.guards.verdict[i] = i < GUARD_EVENTS ? GUARD_HARMLESS : GUARD_SHOWN;
    return 0;
}

static struct rollout_edge step(void)
{
    return rollout_step(&config, &place, &facts);
}

static void put(enum rollout_state state, int32_t stage, enum rollout_reason why)
{
    place = (struct rollout_place){
        .state = state, .stage = stage, .state_since_ms = T0, .stage_since_ms = T0, .why = why};
}

static void expect_edge(enum rollout_state state, int32_t stage, enum rollout_reason reason)
{
    const struct rollout_edge edge = step();
    assert_true(edge.changes);
    assert_int_equal(edge.reason, reason);
    assert_int_equal(edge.to.state, state);
    assert_int_equal(edge.to.stage, stage);
    assert_int_equal(edge.to.why, reason);
    assert_int_equal(edge.to.state_since_ms, facts.now_ms);
}

static void expect_stay(enum rollout_reason reason)
{
    const struct rollout_edge edge = step();
    assert_false(edge.changes);
    assert_int_equal(edge.reason, reason);
    assert_int_equal(edge.to.state, place.state);
    assert_int_equal(edge.to.stage, place.stage);
    assert_int_equal(edge.to.stage_since_ms, place.stage_since_ms);
}

static void a_good_version_goes_from_shadow_to_all_by_itself(void **state)
{
    (void)state;
    const uint32_t shares[] = {0, 100, 500, 2500, 5000, 10000, 10000};
    const uint32_t dwell_s[] = {600, 1800, 3600, 7200, 21600, 600};
    int64_t at = T0;
    for (uint32_t i = 0; i < 6; i++) {
        assert_int_equal(rollout_share_bp(&config, &place), shares[i]);
        at += (int64_t)dwell_s[i] * 1000;
        facts.now_ms = at - 1;
        facts.last_look_ms = at - 10000;
        expect_stay(ROLLOUT_REASON_DWELL);
        facts.now_ms = at;
        const struct rollout_edge edge = step();
        assert_true(edge.changes);
        assert_int_equal(edge.reason, ROLLOUT_REASON_READY);
        place = edge.to;
    }
    assert_int_equal(place.state, ROLLOUT_STATE_PROMOTED);
    assert_int_equal(rollout_share_bp(&config, &place), shares[6]);
}

static void without_nodes_that_have_it_no_stage_starts(void **state)
{
    (void)state;
    facts.nodes_ready = 98;
    expect_stay(ROLLOUT_REASON_WANTS_NODES);
    facts.nodes = facts.nodes_ready = 0;
    expect_stay(ROLLOUT_REASON_WANTS_NODES);
    facts.nodes = facts.nodes_ready = 1;
    expect_edge(ROLLOUT_STATE_CANARY, 0, ROLLOUT_REASON_READY);
}

static void a_stage_waits_for_requests_and_units_of_its_own(void **state)
{
    (void)state;
    put(ROLLOUT_STATE_CANARY, 1, ROLLOUT_REASON_READY);
    facts.requests[1] = 499;
    expect_stay(ROLLOUT_REASON_WANTS_REQUESTS);
    facts.requests[1] = 500;
    facts.requests[0] = 499;
    expect_stay(ROLLOUT_REASON_WANTS_REQUESTS);
    facts.requests[0] = 500;
    facts.units = 24;
    expect_stay(ROLLOUT_REASON_WANTS_UNITS);
    facts.units = 25;
    expect_edge(ROLLOUT_STATE_CANARY, 2, ROLLOUT_REASON_READY);
}

static void from_a_quarter_on_harm_must_have_been_ruled_out(void **state)
{
    (void)state;
    facts.guards.verdict[GUARD_QUALITY] = GUARD_HARMLESS;
    put(ROLLOUT_STATE_CANARY, 1, ROLLOUT_REASON_READY);
    expect_edge(ROLLOUT_STATE_CANARY, 2, ROLLOUT_REASON_READY);
    for (int32_t stage = 2; stage < 4; stage++) {
        put(ROLLOUT_STATE_CANARY, stage, ROLLOUT_REASON_READY);
        expect_stay(ROLLOUT_REASON_WANTS_EVIDENCE);
        assert_int_equal(step().metric, GUARD_QUALITY);
    }
    put(ROLLOUT_STATE_CANARY, 4, ROLLOUT_REASON_READY); /* Nothing is left to compare with. */
    facts.requests[0] = 0;
    expect_edge(ROLLOUT_STATE_PROMOTED, 4, ROLLOUT_REASON_READY);
    config.evidence = 0;
    facts.requests[0] = 1000;
    put(ROLLOUT_STATE_CANARY, 3, ROLLOUT_REASON_READY);
    expect_edge(ROLLOUT_STATE_CANARY, 4, ROLLOUT_REASON_READY);
}

static void without_labels_it_holds_and_goes_on_when_they_come(void **state)
{
    (void)state;
    put(ROLLOUT_STATE_CANARY, 2, ROLLOUT_REASON_READY);
    facts.guards.verdict[GUARD_QUALITY] = GUARD_NO_DATA;
    expect_stay(ROLLOUT_REASON_WANTS_EVIDENCE);
    facts.now_ms = T0 + 86400000;
    facts.last_look_ms = facts.now_ms - 10000;
    expect_edge(ROLLOUT_STATE_HOLD, 2, ROLLOUT_REASON_INCONCLUSIVE);
    assert_int_equal(step().metric, GUARD_QUALITY);
    place = step().to;
    assert_int_equal(rollout_share_bp(&config, &place), 2500);
    expect_stay(ROLLOUT_REASON_WANTS_OPERATOR);
    facts.guards.verdict[GUARD_QUALITY] = GUARD_SHOWN;
    expect_edge(ROLLOUT_STATE_CANARY, 2, ROLLOUT_REASON_NEW_EVIDENCE);
    place = step().to;
    expect_edge(ROLLOUT_STATE_CANARY, 3, ROLLOUT_REASON_READY);
}

static void what_is_missing_when_time_is_over_is_said(void **state)
{
    (void)state;
    facts.now_ms = T0 + 86400000;
    facts.last_look_ms = facts.now_ms - 10000;
    put(ROLLOUT_STATE_CANARY, 0, ROLLOUT_REASON_READY);
    facts.requests[1] = 0;
    expect_edge(ROLLOUT_STATE_HOLD, 0, ROLLOUT_REASON_TOO_FEW);
    facts.requests[1] = 1000;
    facts.units = 3;
    expect_edge(ROLLOUT_STATE_HOLD, 0, ROLLOUT_REASON_TOO_FEW);
    facts.units = 100;
    facts.nodes_ready = 0;
    expect_edge(ROLLOUT_STATE_HOLD, 0, ROLLOUT_REASON_NOT_ACKED);
    put(ROLLOUT_STATE_SHADOW, ROLLOUT_NO_STAGE, ROLLOUT_REASON_NONE);
    facts.shadow_requests = 0;
    expect_edge(ROLLOUT_STATE_HOLD, ROLLOUT_NO_STAGE, ROLLOUT_REASON_TOO_FEW);
    place = step().to;
    assert_int_equal(rollout_share_bp(&config, &place), 0);
    facts.shadow_requests = 100000;
    facts.nodes_ready = 100;
    expect_edge(ROLLOUT_STATE_SHADOW, ROLLOUT_NO_STAGE, ROLLOUT_REASON_NEW_EVIDENCE);
}

static void what_an_inconclusive_stage_does_is_a_choice(void **state)
{
    (void)state;
    facts.now_ms = T0 + 86400000;
    facts.last_look_ms = facts.now_ms - 10000;
    put(ROLLOUT_STATE_CANARY, 3, ROLLOUT_REASON_READY);
    config.inconclusive = ROLLOUT_INCONCLUSIVE_PROMOTE_IF_HARMLESS;
    facts.guards.verdict[GUARD_COST] = GUARD_HARMLESS;
    expect_edge(ROLLOUT_STATE_CANARY, 4, ROLLOUT_REASON_HARMLESS);
    facts.frozen = true;
    expect_stay(ROLLOUT_REASON_FROZEN);
    facts.frozen = false;
    facts.guards.verdict[GUARD_COST] = GUARD_UNDECIDED;
    expect_edge(ROLLOUT_STATE_HOLD, 3, ROLLOUT_REASON_INCONCLUSIVE);
    facts.guards.verdict[GUARD_COST] = GUARD_NO_DATA; /* Missing data is no pass. */
    expect_edge(ROLLOUT_STATE_HOLD, 3, ROLLOUT_REASON_INCONCLUSIVE);
    config.inconclusive = ROLLOUT_INCONCLUSIVE_ROLLBACK;
    expect_edge(ROLLOUT_STATE_ROLLED_BACK, 3, ROLLOUT_REASON_INCONCLUSIVE);
    facts.guards.verdict[GUARD_COST] = GUARD_SHOWN;
    facts.nodes_ready = 0; /* Says nothing about the candidate. */
    expect_edge(ROLLOUT_STATE_HOLD, 3, ROLLOUT_REASON_NOT_ACKED);
}

static const struct {
    enum rollout_state state;
    int32_t stage;
} running[] = {
    {ROLLOUT_STATE_SHADOW, ROLLOUT_NO_STAGE},
    {ROLLOUT_STATE_CANARY, 0},
    {ROLLOUT_STATE_CANARY, 2},
    {ROLLOUT_STATE_CANARY, 4},
    {ROLLOUT_STATE_HOLD, 1},
    {ROLLOUT_STATE_HOLD, ROLLOUT_NO_STAGE},
    {ROLLOUT_STATE_HALTED, 3},
};
#define RUNNING (sizeof(running) / sizeof(running[0]))

static void harm_rolls_back_from_every_state_whatever_else_is_said(void **state)
{
    for (size_t i = 0; i < RUNNING; i++)
        for (int kind = 0; kind < 3; kind++)
            for (uint32_t m = 0; m < GUARD_METRICS; m++) {
                setup(state);
                put(running[i].state, running[i].stage, ROLLOUT_REASON_READY);
                facts.frozen = facts.nack = facts.replay_mismatch = true;
                facts.data_age_s = 1000;
                facts.guards.ratio_mismatch = true;
                facts.command = kind == 2 ? ROLLOUT_COMMAND_ROLLBACK : ROLLOUT_COMMAND_ADVANCE;
                if (kind == 0)
                    facts.guards.verdict[m] = GUARD_BREACH;
                facts.guards.tripped = kind == 1;
                expect_edge(ROLLOUT_STATE_ROLLED_BACK, running[i].stage,
                            kind == 0   ? ROLLOUT_REASON_BREACH
                            : kind == 1 ? ROLLOUT_REASON_TRIP_WIRE
                                        : ROLLOUT_REASON_OPERATOR);
                if (kind == 0)
                    assert_int_equal(step().metric, m);
                place = step().to;
                assert_int_equal(rollout_share_bp(&config, &place), 0);
            }
}

static void what_makes_it_unsafe_to_go_on_takes_traffic_back(void **state)
{
    const enum rollout_reason reasons[] = {
        ROLLOUT_REASON_NACK,      ROLLOUT_REASON_REPLAY,   ROLLOUT_REASON_STALE,
        ROLLOUT_REASON_UNWATCHED, ROLLOUT_REASON_OPERATOR,
    };
    for (size_t i = 0; i + 1 < RUNNING; i++)
        for (size_t r = 0; r < 5; r++) {
            setup(state);
            put(running[i].state, running[i].stage, ROLLOUT_REASON_READY);
            facts.frozen = true; /* Blocks no way back. */
            facts.nack = r == 0;
            facts.replay_mismatch = r == 1;
            facts.data_age_s = r == 2 ? 301 : 300;
            facts.last_look_ms = facts.now_ms - (r == 3 ? 600001 : 600000);
            facts.command = r == 4 ? ROLLOUT_COMMAND_HALT : ROLLOUT_COMMAND_NONE;
            expect_edge(ROLLOUT_STATE_HALTED, running[i].stage, reasons[r]);
            place = step().to;
            assert_int_equal(rollout_share_bp(&config, &place), 0);
        }
}

static void what_was_halted_goes_on_only_by_an_operator_and_without_its_cause(void **state)
{
    (void)state;
    put(ROLLOUT_STATE_HALTED, 2, ROLLOUT_REASON_NACK);
    expect_stay(ROLLOUT_REASON_WANTS_OPERATOR);
    facts.command = ROLLOUT_COMMAND_RESUME;
    facts.nack = true;
    expect_stay(ROLLOUT_REASON_NACK);
    facts.nack = false;
    facts.frozen = true;
    expect_stay(ROLLOUT_REASON_FROZEN);
    facts.frozen = false;
    expect_edge(ROLLOUT_STATE_CANARY, 2, ROLLOUT_REASON_OPERATOR);
    assert_true(step().reset_ratio);
    assert_int_equal(step().to.stage_since_ms, facts.now_ms);
    put(ROLLOUT_STATE_HALTED, ROLLOUT_NO_STAGE, ROLLOUT_REASON_STALE);
    expect_edge(ROLLOUT_STATE_SHADOW, ROLLOUT_NO_STAGE, ROLLOUT_REASON_OPERATOR);
}

static void arms_of_the_wrong_size_hold_it_until_an_operator_looked(void **state)
{
    (void)state;
    put(ROLLOUT_STATE_CANARY, 1, ROLLOUT_REASON_READY);
    facts.guards.ratio_mismatch = true;
    expect_edge(ROLLOUT_STATE_HOLD, 1, ROLLOUT_REASON_SAMPLE_RATIO);
    place = step().to;
    facts.guards.ratio_mismatch = false;
    expect_stay(ROLLOUT_REASON_WANTS_OPERATOR);
    facts.command = ROLLOUT_COMMAND_RESUME;
    expect_edge(ROLLOUT_STATE_CANARY, 1, ROLLOUT_REASON_OPERATOR);
    assert_true(step().reset_ratio);
}

static void what_an_operator_holds_only_an_operator_resumes(void **state)
{
    (void)state;
    put(ROLLOUT_STATE_CANARY, 1, ROLLOUT_REASON_READY);
    facts.command = ROLLOUT_COMMAND_HOLD;
    expect_edge(ROLLOUT_STATE_HOLD, 1, ROLLOUT_REASON_OPERATOR);
    place = step().to;
    expect_stay(ROLLOUT_REASON_REFUSED);
    facts.command = ROLLOUT_COMMAND_NONE;
    expect_stay(ROLLOUT_REASON_WANTS_OPERATOR);
    facts.command = ROLLOUT_COMMAND_RESUME;
    expect_edge(ROLLOUT_STATE_CANARY, 1, ROLLOUT_REASON_OPERATOR);
    put(ROLLOUT_STATE_CANARY, 1, ROLLOUT_REASON_READY);
    expect_stay(ROLLOUT_REASON_REFUSED);
}

static void a_freeze_blocks_forward_edges_only(void **state)
{
    (void)state;
    facts.frozen = true;
    for (int32_t stage = ROLLOUT_NO_STAGE; stage < 5; stage++) {
        put(stage < 0 ? ROLLOUT_STATE_SHADOW : ROLLOUT_STATE_CANARY, stage, ROLLOUT_REASON_READY);
        expect_stay(ROLLOUT_REASON_FROZEN);
    }
    put(ROLLOUT_STATE_HOLD, 2, ROLLOUT_REASON_TOO_FEW);
    expect_stay(ROLLOUT_REASON_FROZEN);
    facts.command = ROLLOUT_COMMAND_RESUME;
    expect_stay(ROLLOUT_REASON_FROZEN);
    facts.command = ROLLOUT_COMMAND_ADVANCE;
    expect_stay(ROLLOUT_REASON_FROZEN);
}

static void an_operator_may_go_on_without_evidence_but_not_without_nodes(void **state)
{
    (void)state;
    facts.command = ROLLOUT_COMMAND_ADVANCE;
    facts.now_ms = T0 + 1000;
    facts.last_look_ms = T0;
    facts.requests[1] = 0;
    put(ROLLOUT_STATE_CANARY, 3, ROLLOUT_REASON_READY);
    expect_edge(ROLLOUT_STATE_CANARY, 4, ROLLOUT_REASON_OPERATOR);
    facts.nodes_ready = 0;
    expect_stay(ROLLOUT_REASON_WANTS_NODES);
    facts.nodes_ready = 100;
    put(ROLLOUT_STATE_HOLD, 4, ROLLOUT_REASON_OPERATOR);
    expect_edge(ROLLOUT_STATE_PROMOTED, 4, ROLLOUT_REASON_OPERATOR);
    put(ROLLOUT_STATE_HALTED, 3, ROLLOUT_REASON_NACK);
    expect_stay(ROLLOUT_REASON_REFUSED);
}

static void what_is_over_stays_over(void **state)
{
    (void)state;
    for (int command = ROLLOUT_COMMAND_NONE; command <= ROLLOUT_COMMAND_ROLLBACK; command++)
        for (uint32_t s = ROLLOUT_STATE_PROMOTED; s <= ROLLOUT_STATE_ROLLED_BACK; s++) {
            put((enum rollout_state)s, 4, ROLLOUT_REASON_READY);
            facts.command = (enum rollout_command)command;
            facts.nack = facts.guards.tripped = true;
            facts.guards.verdict[GUARD_ERROR] = GUARD_BREACH;
            expect_stay(command == ROLLOUT_COMMAND_NONE ? ROLLOUT_REASON_NONE
                                                        : ROLLOUT_REASON_REFUSED);
        }
}

static void a_revert_goes_straight_to_all_once_the_nodes_have_it(void **state)
{
    (void)state;
    struct err err;
    rollout_config_revert(&config);
    assert_int_equal(rollout_config_check(&config, &err), 0);
    facts = (struct rollout_facts){.now_ms = T0, .last_look_ms = T0, .nodes = 4, .nodes_ready = 3};
    expect_stay(ROLLOUT_REASON_WANTS_NODES);
    facts.nodes_ready = 4;
    expect_edge(ROLLOUT_STATE_CANARY, 0, ROLLOUT_REASON_READY);
    place = step().to;
    assert_int_equal(rollout_share_bp(&config, &place), 10000);
    expect_edge(ROLLOUT_STATE_PROMOTED, 0, ROLLOUT_REASON_READY);
}

static void a_configuration_that_cannot_be_is_refused(void **state)
{
    (void)state;
    struct err err;
    assert_int_equal(rollout_config_check(&config, &err), 0);
#define REFUSED(change)                                                                            \
    do {                                                                                           \
        rollout_config_default(&config);                                                           \
        change;                                                                                    \
        assert_int_equal(rollout_config_check(&config, &err), ERR_INVALID);                        \
    } while (0)
    REFUSED(config.stages = 0);
    REFUSED(config.stages = ROLLOUT_STAGES_MAX + 1);
    REFUSED(config.stages = 4);
    REFUSED(config.stage[0].share_bp = 0);
    REFUSED(config.stage[4].share_bp = 10001);
    REFUSED(config.stage[2].share_bp = 500);
    REFUSED(config.stage[2].dwell_max_s = 0);
    REFUSED(config.stage[2].dwell_min_s = 86401);
    REFUSED(config.shadow_max_s = 0);
    REFUSED(config.shadow_min_s = 86401);
    REFUSED(config.evidence = 1U << GUARD_ERROR);
    REFUSED(config.evidence = 1U << GUARD_METRICS);
    REFUSED(config.ttl_s = 0);
    REFUSED(config.stale_after_s = 0);
    REFUSED(config.ready_percent = 101);
    REFUSED(config.ready_percent = 0);
}

static void names_find_their_states_and_reasons(void **state)
{
    (void)state;
    enum rollout_state found;
    enum rollout_reason reason;
    for (uint32_t s = ROLLOUT_STATE_SHADOW; s <= ROLLOUT_STATE_ROLLED_BACK; s++) {
        assert_true(rollout_state_find(rollout_state_name((enum rollout_state)s), &found));
        assert_int_equal(found, s);
    }
    for (uint32_t r = ROLLOUT_REASON_NONE; r <= ROLLOUT_REASON_REFUSED; r++) {
        assert_true(rollout_reason_find(rollout_reason_name((enum rollout_reason)r), &reason));
        assert_int_equal(reason, r);
    }
    assert_false(rollout_state_find(STR(""), &found));
    assert_false(rollout_reason_find(STR("luck"), &reason));
}

#define TEST(name) cmocka_unit_test_setup(name, setup)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_good_version_goes_from_shadow_to_all_by_itself),
        TEST(without_nodes_that_have_it_no_stage_starts),
        TEST(a_stage_waits_for_requests_and_units_of_its_own),
        TEST(from_a_quarter_on_harm_must_have_been_ruled_out),
        TEST(without_labels_it_holds_and_goes_on_when_they_come),
        TEST(what_is_missing_when_time_is_over_is_said),
        TEST(what_an_inconclusive_stage_does_is_a_choice),
        TEST(harm_rolls_back_from_every_state_whatever_else_is_said),
        TEST(what_makes_it_unsafe_to_go_on_takes_traffic_back),
        TEST(what_was_halted_goes_on_only_by_an_operator_and_without_its_cause),
        TEST(arms_of_the_wrong_size_hold_it_until_an_operator_looked),
        TEST(what_an_operator_holds_only_an_operator_resumes),
        TEST(a_freeze_blocks_forward_edges_only),
        TEST(an_operator_may_go_on_without_evidence_but_not_without_nodes),
        TEST(what_is_over_stays_over),
        TEST(a_revert_goes_straight_to_all_once_the_nodes_have_it),
        TEST(a_configuration_that_cannot_be_is_refused),
        TEST(names_find_their_states_and_reasons),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
