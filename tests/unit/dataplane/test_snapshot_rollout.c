#include <stdio.h>
#include <string.h>

#include "common/link/wire.h"
#include "control.pb-c.h"
#include "dataplane/state/snapshot_build.h"
#include "dataplane/state/snapshot_disk.h"
#include "tests/lib/fault.h"
#include "tests/unit/dataplane/planes_fixture.h"
#include "tests/unit/route/fixture.h"

typedef Steelyard__Control__V1__Params Params;
typedef Steelyard__Control__V1__Rollout Rollout;

/* Policy "best" at version 1 and its candidate at version 2; each test changes one thing. */
struct inputs {
    struct buf catalogue, keys, limits;
    struct buf artifact, next_artifact;
    struct buf params, next_params, rollout;
    uint64_t generation;
    uint32_t ttl_s;
    const struct snapshot *previous;
    bool without_next, without_rollout;
};

static void pack(struct buf *out, const ProtobufCMessage *m)
{
    buf_deinit(out);
    buf_init(out, SIZE_MAX);
    assert_int_equal(wire_pack(m, out), 0);
}

static void pack_params(struct buf *out, const struct buf *artifact, uint64_t version,
                        int64_t lambda)
{
    struct sha256 sum = digest_sha256(artifact->data, artifact->len);
    Params p = STEELYARD__CONTROL__V1__PARAMS__INIT;
    p.policy = wire_text("best");
    p.version = version;
    p.lambda = lambda;
    p.artifact_sha256 = (ProtobufCBinaryData){.len = SHA256_BYTES, .data = sum.bytes};
    pack(out, &p.base);
}

static uint8_t salt[16] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};

static Rollout rollout_of(const struct inputs *in, char stable[SHA256_HEX_BYTES],
                          char candidate[SHA256_HEX_BYTES])
{
    struct sha256 sum = digest_sha256(in->params.data, in->params.len);
    hex_encode(sum.bytes, SHA256_BYTES, stable);
    sum = digest_sha256(in->next_params.data, in->next_params.len);
    hex_encode(sum.bytes, SHA256_BYTES, candidate);
    Rollout m = STEELYARD__CONTROL__V1__ROLLOUT__INIT;
    m.id = 1700000000123;
    m.policy = wire_text("best");
    m.state = STEELYARD__CONTROL__V1__ROLLOUT_STATE__ROLLOUT_CANARY;
    m.stage = 2;
    m.pct_bp = 2500;
    m.salt = (ProtobufCBinaryData){.len = sizeof salt, .data = salt};
    m.stable_params = stable;
    m.candidate_params = candidate;
    return m;
}

static void pack_rollout(struct inputs *in)
{
    char stable[SHA256_HEX_BYTES], candidate[SHA256_HEX_BYTES];
    Rollout m = rollout_of(in, stable, candidate);
    pack(&in->rollout, &m.base);
}

static void inputs_init(struct inputs *in)
{
    static uint8_t bytes[16];
    memset(in, 0, sizeof(*in));
    ProtobufCBinaryData key = {.len = sizeof(bytes), .data = bytes};
    Steelyard__Control__V1__Limits m = STEELYARD__CONTROL__V1__LIMITS__INIT;
    m.feature_key = m.draw_key = m.decision_id_key = m.text_key = key;
    m.hash_key_id = 77; /* The fixture's. */
    pack(&in->limits, &m.base);
    body_catalogue(&in->catalogue, "best");
    body_keys(&in->keys, false);
    buf_init(&in->artifact, SIZE_MAX);
    buf_init(&in->next_artifact, SIZE_MAX);
    fixture_file(11, 8, 3, 0, 4, &in->artifact);
    fixture_file(12, 8, 3, 0, 4, &in->next_artifact);
    pack_params(&in->params, &in->artifact, 1, 0);
    pack_params(&in->next_params, &in->next_artifact, 2, 5);
    pack_rollout(in);
    in->generation = 3;
}

static void inputs_deinit(struct inputs *in)
{
    struct buf *all[] = {&in->catalogue,     &in->keys,   &in->limits,      &in->artifact,
                         &in->next_artifact, &in->params, &in->next_params, &in->rollout};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        buf_deinit(all[i]);
}

static int put(struct resource_set *set, const char *key, const struct buf *body, uint32_t ttl_s)
{
    struct resource *r = resource_create(1, str_from(key), buf_str(body));
    if (r == NULL)
        return ERR_NOMEM;
    r->ttl_s = ttl_s;
    return resource_set_put(set, r);
}

static int fill(const struct inputs *in, struct resource_set *set)
{
    const struct {
        const char *key;
        const struct buf *body;
        bool absent;
    } rows[] = {
        {"catalogue", &in->catalogue, false},
        {"keys", &in->keys, false},
        {"limits", &in->limits, false},
        {"artifact/best", &in->artifact, false},
        {"params/best", &in->params, false},
        {"artifact/best/candidate", &in->next_artifact, in->next_artifact.len == 0},
        {"params/best/candidate", &in->next_params, in->without_next},
        {"rollout/best", &in->rollout, in->without_rollout},
    };
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < sizeof rows / sizeof rows[0]; i++)
        if (!rows[i].absent)
            rc = put(set, rows[i].key, rows[i].body, in->ttl_s);
    return rc;
}

static int build(const struct inputs *in, struct snapshot **out, struct snapshot_refusal *refusal)
{
    struct resource_set *set = resource_set_create();
    if (set == NULL)
        return ERR_NOMEM;
    int rc = fill(in, set);
    struct snapshot_inputs inputs = {
        .era = 1, .generation = in->generation, .previous = in->previous};
    if (rc == 0)
        rc = snapshot_build(set, &inputs, out, refusal);
    if (rc != 0)
        resource_set_destroy(set);
    return rc;
}

static struct snapshot *must_accept(const struct inputs *in)
{
    struct snapshot *s = NULL;
    struct snapshot_refusal refusal;
    if (build(in, &s, &refusal) != 0)
        fail_msg("refused: %s %s: %s", refusal.code, refusal.key, refusal.detail);
    return s;
}

static void expect_refusal(const struct inputs *in, const char *code, const char *key)
{
    struct snapshot *s = NULL;
    struct snapshot_refusal refusal;
    assert_true(build(in, &s, &refusal) != 0);
    assert_string_equal(refusal.code, code);
    assert_string_equal(refusal.key, key);
    assert_true(refusal.detail[0] != '\0');
    assert_null(s);
}

static void a_rollout_joins_two_versions_of_a_policy_and_begins_closed(void **state)
{
    (void)state;
    struct inputs in;
    inputs_init(&in);
    struct snapshot *s = must_accept(&in);
    assert_int_equal(s->policy_count, 1);
    const struct snapshot_policy *p = snapshot_policy(s, STR("best"));
    const struct snapshot_rollout *r = p->rollout;
    assert_non_null(r);
    assert_true(r->id == 1700000000123);
    assert_int_equal(r->state, ROLLOUT_STATE_CANARY);
    assert_int_equal(r->stage, 2);
    assert_int_equal(r->pct_bp, 2500);
    assert_int_equal(r->ttl_ms, 600000);
    assert_ptr_equal(r->stable, p);
    assert_int_equal(r->candidate->version, 2);
    assert_int_equal(r->candidate->params.lambda, 5);
    assert_true(str_is(r->candidate->version_text, "best@2"));
    assert_null(r->candidate->rollout);
    assert_ptr_not_equal(r->candidate->artifact, p->artifact);
    assert_false(snapshot_rollout_open(r));
    const struct snapshot_route *route = snapshot_route(s, STR("main"));
    assert_ptr_equal(route->policy, p);
    for (uint32_t i = 0; i < route->candidate_count; i++)
        assert_int_equal(route->candidates[i].next_ordinal,
                         artifact_model(r->candidate->artifact, route->candidates[i].model->id));
    snapshot_unref(s);
    inputs_deinit(&in);
}

static void a_candidate_is_verified_before_its_rollout_comes(void **state)
{
    (void)state;
    struct inputs in;
    inputs_init(&in);
    in.without_rollout = true;
    struct snapshot *s = must_accept(&in);
    assert_null(snapshot_policy(s, STR("best"))->rollout);
    assert_int_equal(snapshot_next_policy(s, STR("best"))->version, 2);
    assert_null(snapshot_next_policy(s, STR("main")));
    snapshot_unref(s);
    in.next_artifact.data[in.next_artifact.len - 20] ^= 1;
    pack_params(&in.next_params, &in.next_artifact, 2, 5);
    struct snapshot_refusal refusal;
    s = NULL;
    assert_true(build(&in, &s, &refusal) != 0);
    assert_memory_equal(refusal.code, "ARTIFACT_", 9);
    assert_string_equal(refusal.key, "artifact/best/candidate");
    inputs_deinit(&in);
}

static void a_candidate_with_the_stable_artifact_shares_it(void **state)
{
    (void)state;
    struct inputs in;
    inputs_init(&in);
    buf_deinit(&in.next_artifact);
    pack_params(&in.next_params, &in.artifact, 2, 5);
    pack_rollout(&in);
    struct snapshot *s = must_accept(&in);
    const struct snapshot_policy *p = snapshot_policy(s, STR("best"));
    assert_non_null(p->artifact);
    assert_ptr_equal(p->rollout->candidate->artifact, p->artifact);
    snapshot_unref(s);
    inputs_deinit(&in);
}

static void a_promoted_candidate_is_not_decoded_again(void **state)
{
    (void)state;
    struct inputs in, next;
    inputs_init(&in);
    struct snapshot *s = must_accept(&in);
    const struct artifact *artifact = snapshot_next_policy(s, STR("best"))->artifact;
    inputs_init(&next);
    next.without_next = next.without_rollout = true;
    next.previous = s;
    next.generation = 4;
    buf_deinit(&next.artifact);
    next.artifact = next.next_artifact;
    next.next_artifact = (struct buf){0};
    pack_params(&next.params, &next.artifact, 2, 5);
    struct snapshot *promoted = must_accept(&next);
    assert_ptr_equal(snapshot_policy(promoted, STR("best"))->artifact, artifact);
    snapshot_unref(s);
    snapshot_unref(promoted);
    inputs_deinit(&in);
    inputs_deinit(&next);
}

static void a_rollout_of_versions_that_are_not_here_is_refused(void **state)
{
    (void)state;
    struct inputs in;
    inputs_init(&in);
    in.without_next = true;
    expect_refusal(&in, "REFERENCE", "rollout/best");
    in.without_next = false;
    pack_params(&in.next_params, &in.next_artifact, 2, 6); /* Another body than it names. */
    expect_refusal(&in, "REFERENCE", "rollout/best");
    pack_rollout(&in);
    pack_params(&in.params, &in.artifact, 1, 1);
    expect_refusal(&in, "REFERENCE", "rollout/best");
    pack_rollout(&in);
    snapshot_unref(must_accept(&in));
    buf_clear(&in.next_artifact); /* Its artifact is nowhere. */
    expect_refusal(&in, "REFERENCE", "params/best/candidate");
    inputs_deinit(&in);
}

static void values_out_of_range_are_refused(void **state)
{
    (void)state;
    struct inputs in;
    inputs_init(&in);
    char stable[SHA256_HEX_BYTES], candidate[SHA256_HEX_BYTES];
    Rollout m = rollout_of(&in, stable, candidate);
    m.id = 0;
    pack(&in.rollout, &m.base);
    expect_refusal(&in, "INVALID", "rollout/best");
    m = rollout_of(&in, stable, candidate);
    m.pct_bp = 10001;
    pack(&in.rollout, &m.base);
    expect_refusal(&in, "INVALID", "rollout/best");
    m = rollout_of(&in, stable, candidate);
    m.salt.len = 15;
    pack(&in.rollout, &m.base);
    expect_refusal(&in, "INVALID", "rollout/best");
    m = rollout_of(&in, stable, candidate);
    m.policy = wire_text("other");
    pack(&in.rollout, &m.base);
    expect_refusal(&in, "INVALID", "rollout/best");
    buf_clear(&in.rollout);
    assert_int_equal(buf_append_str(&in.rollout, STR("\xff\xff")), 0);
    expect_refusal(&in, "MALFORMED", "rollout/best");
    inputs_deinit(&in);
}

static void in_shadow_and_in_states_of_later_versions_no_slot_is_the_candidates(void **state)
{
    (void)state;
    static const struct {
        uint32_t state;
        enum rollout_state taken;
        uint32_t pct_bp;
    } rows[] = {{STEELYARD__CONTROL__V1__ROLLOUT_STATE__ROLLOUT_SHADOW, ROLLOUT_STATE_SHADOW, 0},
                {STEELYARD__CONTROL__V1__ROLLOUT_STATE__ROLLOUT_HOLD, ROLLOUT_STATE_HOLD, 2500},
                {STEELYARD__CONTROL__V1__ROLLOUT_STATE__ROLLOUT_UNKNOWN, ROLLOUT_STATE_UNKNOWN, 0},
                {9, ROLLOUT_STATE_UNKNOWN, 0}};
    struct inputs in;
    inputs_init(&in);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char stable[SHA256_HEX_BYTES], candidate[SHA256_HEX_BYTES];
        Rollout m = rollout_of(&in, stable, candidate);
        m.state = (Steelyard__Control__V1__RolloutState)rows[i].state;
        pack(&in.rollout, &m.base);
        struct snapshot *s = must_accept(&in);
        assert_int_equal(s->rollouts[0].state, rows[i].taken);
        assert_int_equal(s->rollouts[0].pct_bp, rows[i].pct_bp);
        snapshot_unref(s);
    }
    inputs_deinit(&in);
}

static void p8_one_number_has_one_content_also_between_candidate_and_stable(void **state)
{
    (void)state;
    struct inputs in, next;
    inputs_init(&in);
    struct snapshot *s = must_accept(&in);
    inputs_init(&next);
    next.previous = s;
    next.generation = 4;
    /* The candidate in service by its number, with another content. */
    pack_params(&next.next_params, &next.next_artifact, 2, 6);
    pack_rollout(&next);
    expect_refusal(&next, "VERSION", "params/best/candidate");
    /* Promoted, with another content. */
    pack_params(&next.params, &next.next_artifact, 2, 7);
    next.without_next = next.without_rollout = true;
    struct buf artifact = next.artifact;
    next.artifact = next.next_artifact;
    next.next_artifact = (struct buf){0};
    expect_refusal(&next, "VERSION", "params/best");
    next.next_artifact = next.artifact;
    next.artifact = artifact;
    /* An older number may come back as a candidate. */
    in.previous = NULL;
    pack_params(&in.params, &in.artifact, 9, 0);
    pack_rollout(&in);
    snapshot_unref(must_accept(&in));
    snapshot_unref(s);
    inputs_deinit(&in);
    inputs_deinit(&next);
}

static void a_gate_is_shared_by_all_snapshots_with_the_rollout(void **state)
{
    (void)state;
    struct inputs in;
    inputs_init(&in);
    struct snapshot *a = must_accept(&in);
    in.previous = a;
    in.generation = 4;
    struct snapshot *b = must_accept(&in);
    atomic_store(&a->rollouts[0].gate->open, true);
    assert_true(snapshot_rollout_open(&b->rollouts[0]));
    snapshot_unref(a);
    assert_true(snapshot_rollout_open(&b->rollouts[0]));
    snapshot_unref(b);
    inputs_deinit(&in);
}

static void a_ttl_comes_with_its_resource_and_stays_over_a_restart(void **state)
{
    (void)state;
    char *dir = temp_dir_make();
    struct inputs in;
    struct err err = {0};
    inputs_init(&in);
    in.ttl_s = 42;
    struct snapshot *s = must_accept(&in);
    assert_int_equal(s->rollouts[0].ttl_ms, 42000);
    struct snapshot_loaded loaded;
    assert_int_equal(snapshot_disk_load(dir, &loaded, &err), 0);
    assert_int_equal(snapshot_disk_save(dir, s->resources, 1, 3, &err), 0);
    snapshot_unref(s);
    assert_int_equal(snapshot_disk_load(dir, &loaded, &err), 0);
    struct snapshot_inputs inputs = {.era = 1, .generation = 3};
    struct snapshot_refusal refusal;
    assert_int_equal(snapshot_build(loaded.set, &inputs, &s, &refusal), 0);
    assert_int_equal(s->rollouts[0].ttl_ms, 42000);
    snapshot_unref(s);
    inputs_deinit(&in);
    temp_dir_remove(dir);
}

static void building_with_a_rollout_survives_each_failed_allocation(void **state)
{
    (void)state;
    struct inputs in;
    inputs_init(&in);
    bool fired = true;
    for (unsigned n = 0; fired; n++) {
        struct snapshot *s = NULL;
        struct snapshot_refusal refusal;
        fault_arm_alloc(n);
        int rc = build(&in, &s, &refusal);
        fired = fault_disarm();
        assert_true((rc == 0) == (s != NULL));
        assert_true(rc == 0 || fired);
        snapshot_unref(s);
    }
    inputs_deinit(&in);
}

static void a_rollout_cut_anywhere_is_refused_or_names_nothing_here(void **state)
{
    (void)state;
    struct inputs in;
    inputs_init(&in);
    for (size_t len = in.rollout.len; len-- > 0;) {
        in.rollout.len = len;
        struct snapshot *s = NULL;
        struct snapshot_refusal refusal;
        assert_true(build(&in, &s, &refusal) != 0);
        assert_string_equal(refusal.key, "rollout/best");
    }
    inputs_deinit(&in);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_rollout_joins_two_versions_of_a_policy_and_begins_closed),
        cmocka_unit_test(a_candidate_is_verified_before_its_rollout_comes),
        cmocka_unit_test(a_candidate_with_the_stable_artifact_shares_it),
        cmocka_unit_test(a_promoted_candidate_is_not_decoded_again),
        cmocka_unit_test(a_rollout_of_versions_that_are_not_here_is_refused),
        cmocka_unit_test(values_out_of_range_are_refused),
        cmocka_unit_test(in_shadow_and_in_states_of_later_versions_no_slot_is_the_candidates),
        cmocka_unit_test(p8_one_number_has_one_content_also_between_candidate_and_stable),
        cmocka_unit_test(a_gate_is_shared_by_all_snapshots_with_the_rollout),
        cmocka_unit_test(a_ttl_comes_with_its_resource_and_stays_over_a_restart),
        cmocka_unit_test(building_with_a_rollout_survives_each_failed_allocation),
        cmocka_unit_test(a_rollout_cut_anywhere_is_refused_or_names_nothing_here),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
