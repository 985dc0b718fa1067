/* Arms and shadows on whole requests, and that what was recorded of them comes out again. */
#include <stdio.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/route/slot.h"
#include "control.pb-c.h"
#include "tests/unit/dataplane/node/replies.h"
#include "tests/unit/dataplane/node/rows.h"

#define ROLLOUT UINT64_C(1700000000123)
#define CANARY  STEELYARD__CONTROL__V1__ROLLOUT_STATE__ROLLOUT_CANARY
#define SHADOW  STEELYARD__CONTROL__V1__ROLLOUT_STATE__ROLLOUT_SHADOW
#define HOLD    STEELYARD__CONTROL__V1__ROLLOUT_STATE__ROLLOUT_HOLD
#define USERS   60

static void ask(struct rig *r, const char *headers, const char *body)
{
    struct rig_answer a;
    char text[2048];
    int n = snprintf(text, sizeof text,
                     "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n"
                     "Authorization: Bearer " RIG_KEY "\r\n%s"
                     "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
                     headers, strlen(body), body);
    rig_exchange_raw(r, text, (size_t)n, &a);
    assert_int_equal(a.status, 200);
    buf_deinit(&a.body);
}

static void ask_as(struct rig *r, unsigned user, const char *words)
{
    char body[512];
    snprintf(body, sizeof body,
             "{\"model\":\"auto\",\"user\":\"u%u\",\"messages\":[{\"role\":\"user\",\"content\":"
             "\"%s %u\"}]}",
             user, words, user);
    ask(r, "", body);
}

static void begin(struct rig *r, struct rig_rollout *rollout)
{
    const struct rig_options options = {.rollout = rollout, .large_price = 3000000000};
    rows_forget();
    rows_begin(r, &options);
    rows_script_all(r);
}

static void publish(struct rig *r, struct rig_rollout *rollout, uint64_t generation)
{
    const struct rig_options options = {
        .rollout = rollout, .large_price = 3000000000, .generation = generation};
    rig_publish(r, &options);
}

static bool is_version(ProtobufCBinaryData sha, const struct buf *body)
{
    struct sha256 sum = digest_sha256(body->data, body->len);
    return sha.len == SHA256_BYTES && memcmp(sha.data, sum.bytes, SHA256_BYTES) == 0;
}

/* ---- as the control plane reads it ---- */

static void cache_fill(struct record_cache *cache, const struct rig_rollout *o)
{
    enum artifact_reason reason;
    for (size_t i = 0; i < 2; i++) {
        struct sha256 sum = digest_sha256(o->artifacts[i].data, o->artifacts[i].len);
        memcpy(cache->artifacts[i].sha, sum.bytes, 32);
        assert_int_equal(artifact_decode(buf_str(&o->artifacts[i]), &cache->artifacts[i].artifact,
                                         &reason, NULL),
                         0);
        sum = digest_sha256(o->params[i].data, o->params[i].len);
        memcpy(cache->params[i].sha, sum.bytes, 32);
        buf_init(&cache->params[i].body, SIZE_MAX);
        assert_int_equal(buf_append_str(&cache->params[i].body, buf_str(&o->params[i])), 0);
        cache->params[i].used = true;
    }
}

/* As the control plane does before each look; and it finds any of what is recorded changed. */
static void check_shadow_replay(struct record_cache *cache, struct record *record,
                                const struct rig_rollout *o)
{
    const struct sha256 sum = digest_sha256(o->artifacts[1].data, o->artifacts[1].len);
    Steelyard__Telemetry__V1__Shadow *s = record->pb->shadow;
    const Steelyard__Telemetry__V1__Shadow good = *s;
    struct explain_mismatch mismatch = {.field = "none"};
    struct err err = {0};
    assert_int_equal(record_replay_shadow(NULL, cache, record, sum.bytes, &mismatch, &err), 0);
    if (mismatch.field != NULL)
        fail_msg("%s differs", mismatch.field);
    for (int change = 0; change < 5; change++) {
        static const char *const fields[] = {"shadow.chosen", "shadow.q", "shadow.cost",
                                             "shadow.excl_any"};
        s->chosen += change == 0;
        s->q += change == 1;
        s->cost += change == 2;
        s->excl_any ^= change == 3 ? 1U << 30 : 0;
        s->floor_q16 = change == 4 ? 65536 : s->floor_q16; /* Nobody is as good as that. */
        assert_int_equal(record_replay_shadow(NULL, cache, record, sum.bytes, &mismatch, &err), 0);
        assert_non_null(mismatch.field);
        if (change < 4)
            assert_string_equal(mismatch.field, fields[change]);
        *s = good;
    }
    s->ranked = 0; /* Of an older node. */
    assert_int_equal(record_replay_shadow(NULL, cache, record, sum.bytes, &mismatch, &err),
                     ERR_NOT_FOUND);
    *s = good;
}

/* The shadow of a row is what the candidate, asked with the row's inputs, prefers. */
static void check_shadow(struct record_cache *cache, const Decision *d, const struct rig_rollout *o)
{
    struct record record, other;
    struct policy_choice choice;
    assert_non_null(d->shadow);
    assert_true(is_version(d->shadow->params_sha, &o->params[1]));
    rows_open(cache, d, &record);
    check_shadow_replay(cache, &record, o);
    Decision *as_candidate = rows_copy(d);
    struct sha256 sum = digest_sha256(o->artifacts[1].data, o->artifacts[1].len);
    memcpy(as_candidate->policy_version.data, sum.bytes, 32);
    sum = digest_sha256(o->params[1].data, o->params[1].len);
    memcpy(as_candidate->params_sha.data, sum.bytes, 32);
    as_candidate->lambda = 2000000; /* Of its parameters. */
    rows_open(cache, as_candidate, &other);
    assert_int_equal(policy_greedy_by_valid(other.artifact, &other.features, &other.params,
                                            &other.request, other.candidates, (uint32_t)d->n_cand,
                                            &choice),
                     0);
    assert_int_equal(d->shadow->chosen, choice.position + 1);
    assert_int_equal(d->shadow->q, choice.q);
    assert_true(d->shadow->cost == choice.cost);
    assert_int_equal(d->shadow->excl_any, choice.excl_any);
    record_close(&record);
    record_close(&other);
    steelyard__telemetry__v1__decision__free_unpacked(as_candidate, NULL);
}

/* ---- tests ---- */

static void a_request_without_a_rollout_has_no_arm(void **state)
{
    (void)state;
    static struct rig r;
    struct rig_rollout o = {0};
    begin(&r, &o);
    ask_as(&r, 1, "hello");
    rig_stop(&r);
    assert_int_equal(row_count, 1);
    assert_true(is_version(rows[0]->params_sha, &o.params[0]));
    assert_true(rows[0]->rollout_id == 0 && rows[0]->unit == 0);
    assert_int_equal(rows[0]->arm, RECORD_ARM_NONE);
    assert_null(rows[0]->shadow);
    rig_rollout_deinit(&o);
}

static void both_arms_are_replayed_bit_by_bit_and_stable_ones_have_a_true_shadow(void **state)
{
    (void)state;
    for (int one_artifact = 0; one_artifact < 2; one_artifact++) {
        static struct rig r;
        struct record_cache cache = {0};
        size_t candidates = 0, churn = 0;
        struct rig_rollout o = {.id = ROLLOUT,
                                .state = CANARY,
                                .stage = 3,
                                .pct_bp = 5000,
                                .one_artifact = one_artifact != 0};
        begin(&r, &o);
        for (unsigned user = 0; user < USERS; user++)
            ask_as(&r, user, "what is the");
        rig_stop(&r);
        cache_fill(&cache, &o);
        assert_int_equal(row_count, USERS);
        for (size_t i = 0; i < row_count; i++) {
            const Decision *d = rows[i];
            bool candidate = d->arm == RECORD_ARM_CANDIDATE;
            assert_true(d->rollout_id == ROLLOUT);
            assert_int_equal(d->stage, 3);
            assert_int_equal(candidate, d->slot < 5000);
            assert_true(is_version(d->params_sha, &o.params[candidate]));
            assert_true(is_version(d->policy_version, &o.artifacts[candidate]));
            rows_replay(&cache, d);
            if (candidate) {
                candidates++;
                assert_null(d->shadow);
                continue;
            }
            assert_int_equal(d->arm, RECORD_ARM_STABLE);
            check_shadow(&cache, d, &o);
            churn += d->shadow->chosen != d->greedy + 1;
        }
        assert_in_range(candidates, USERS / 4, USERS * 3 / 4);
        if (!one_artifact)
            assert_true(churn > 0); /* Else the test would compare nothing. */
        record_cache_deinit(&cache);
        rig_rollout_deinit(&o);
    }
}

static const Decision *row_of(uint64_t generation, unsigned user)
{
    for (size_t i = 0; i < row_count; i++)
        if (rows[i]->generation == generation && user-- == 0)
            return rows[i];
    fail();
    return NULL;
}

static void a_unit_keeps_its_arm_and_a_larger_share_only_adds_units(void **state)
{
    (void)state;
    static struct rig r;
    static const uint32_t stages[] = {500, 2500, 10000};
    struct rig_rollout o = {.id = ROLLOUT, .state = CANARY, .pct_bp = 0};
    begin(&r, &o);
    for (uint64_t g = 0; g < 3; g++) {
        o.pct_bp = stages[g];
        publish(&r, &o, g + 2);
        for (unsigned user = 0; user < USERS; user++)
            ask_as(&r, user, g == 0 ? "something" : "something else");
    }
    rig_stop(&r);
    for (unsigned user = 0; user < USERS; user++) {
        for (uint64_t g = 0; g < 3; g++) {
            const Decision *d = row_of(g + 2, user), *before = row_of(g > 0 ? g + 1 : 2, user);
            assert_true(d->unit == before->unit);
            assert_int_equal(d->slot, before->slot);
            assert_true(d->arm >= before->arm);
        }
        assert_int_equal(row_of(4, user)->arm, RECORD_ARM_CANDIDATE);
    }
    rig_rollout_deinit(&o);
}

static void the_unit_is_the_conversation_else_the_end_user_else_the_request(void **state)
{
    (void)state;
    static struct rig r;
    struct rig_rollout o = {.id = ROLLOUT, .state = SHADOW, .pct_bp = 5000};
    static const char with_user[] =
        "{\"model\":\"auto\",\"user\":\"u\",\"messages\":[{\"role\":\"user\",\"content\":\"a\"}]}";
    begin(&r, &o);
    ask(&r, "x-steelyard-session: one\r\n", with_user);
    ask(&r, "x-steelyard-session: one\r\n", ASK);
    ask(&r, "x-steelyard-session: two\r\n", with_user);
    ask(&r, "", with_user);
    ask(&r, "", with_user);
    ask(&r, "", ASK);
    ask(&r, "", ASK);
    rig_stop(&r);
    assert_int_equal(row_count, 7);
    assert_true(rows[0]->unit == rows[1]->unit);
    assert_memory_equal(rows[0]->conv_hash.data, &rows[0]->unit, 8);
    assert_true(rows[0]->unit != rows[2]->unit);
    assert_true(rows[3]->unit == rows[4]->unit && rows[3]->unit != rows[0]->unit);
    assert_true(rows[5]->unit != rows[6]->unit && rows[5]->unit != rows[3]->unit);
    for (size_t i = 0; i < row_count; i++)
        assert_int_equal(rows[i]->arm,
                         RECORD_ARM_STABLE); /* In shadow nobody is the candidate's. */
    rig_rollout_deinit(&o);
}

static void a_candidate_that_may_not_be_used_leaves_stable_to_serve_and_says_so(void **state)
{
    (void)state;
    static struct rig r;
    struct rig_rollout o = {.id = ROLLOUT, .state = HOLD, .pct_bp = 10000, .stage = 1};
    o.closed = true;
    begin(&r, &o);
    ask_as(&r, 1, "hello");
    o.closed = false;
    publish(&r, &o, 2);
    ask_as(&r, 1, "hello");
    rig_stop(&r);
    assert_int_equal(rows[0]->arm, RECORD_ARM_UNAVAILABLE);
    assert_true(is_version(rows[0]->params_sha, &o.params[0]));
    assert_true(rows[0]->rollout_id == ROLLOUT);
    assert_null(rows[0]->shadow);
    assert_int_equal(rows[1]->arm, RECORD_ARM_CANDIDATE);
    assert_true(is_version(rows[1]->params_sha, &o.params[1]));
    rig_rollout_deinit(&o);
}

static void who_names_a_model_or_a_policy_has_no_part(void **state)
{
    (void)state;
    static struct rig r;
    struct rig_rollout o = {.id = ROLLOUT, .state = CANARY, .pct_bp = 10000};
    begin(&r, &o);
    ask(&r, "", "{\"model\":\"small\",\"messages\":[{\"role\":\"user\",\"content\":\"a\"}]}");
    ask(&r, "x-steelyard-policy: best\r\n", ASK);
    rig_stop(&r);
    for (size_t i = 0; i < 2; i++) {
        assert_true(rows[i]->rollout_id == 0);
        assert_int_equal(rows[i]->arm, RECORD_ARM_NONE);
        assert_null(rows[i]->shadow);
    }
    assert_true(is_version(rows[1]->params_sha, &o.params[0]));
    rig_rollout_deinit(&o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_without_a_rollout_has_no_arm),
        cmocka_unit_test(both_arms_are_replayed_bit_by_bit_and_stable_ones_have_a_true_shadow),
        cmocka_unit_test(a_unit_keeps_its_arm_and_a_larger_share_only_adds_units),
        cmocka_unit_test(the_unit_is_the_conversation_else_the_end_user_else_the_request),
        cmocka_unit_test(a_candidate_that_may_not_be_used_leaves_stable_to_serve_and_says_so),
        cmocka_unit_test(who_names_a_model_or_a_policy_has_no_part),
    };
    int failed = rig_run_for_each_transport(tests, sizeof tests / sizeof tests[0]);
    rows_forget();
    replies_free();
    return failed;
}
