/* The rig's policy and its rollout: two artifacts that know both models, and what goes with them.
 */
#include <string.h>

#include "control.pb-c.h"
#include "tests/unit/dataplane/node/rig_internal.h"
#include "tests/unit/route/fixture.h"

#define HASH_KEY_ID 5

static uint8_t salt[16] = {16, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1};

void rig_put_limits(struct resource_set *set)
{
    uint8_t bytes[4][16];
    Steelyard__Control__V1__Limits l = STEELYARD__CONTROL__V1__LIMITS__INIT;
    struct buf body;
    for (size_t i = 0; i < 4; i++)
        memset(bytes[i], (int)i + 1, sizeof bytes[i]);
    l.feature_key = (ProtobufCBinaryData){16, bytes[0]};
    l.draw_key = (ProtobufCBinaryData){16, bytes[1]};
    l.decision_id_key = (ProtobufCBinaryData){16, bytes[2]};
    l.text_key = (ProtobufCBinaryData){16, bytes[3]};
    l.hash_key_id = HASH_KEY_ID;
    buf_init(&body, 4096);
    RIG_PACK(steelyard__control__v1__limits, l, body);
    rig_put(set, STEELYARD__CONTROL__V1__RESOURCE_TYPE__RESOURCE_LIMITS, "limits", &body);
    buf_deinit(&body);
}

static void make_artifact(uint64_t seed, struct buf *out)
{
    struct random r = {seed};
    struct fixture_spec f;
    struct fixture_case input;
    struct err err = {0};
    fixture_spec_init(&f, &r, 8, 2, 0, 900);
    f.models[0] = STR("large");
    f.models[1] = STR("small");
    f.spec.meta.hash_key_id = HASH_KEY_ID;
    fixture_case_init(&input, &r, 2, 2, false);
    struct selftest_case test = fixture_case_view(&input);
    buf_init(out, SIZE_MAX);
    if (selftest_build(&f.spec, &test, 1, out, &err) != 0)
        fail_msg("%s", err.message);
    fixture_spec_deinit(&f);
}

static void make_params(uint64_t version, const struct buf *artifact, struct buf *out)
{
    Steelyard__Control__V1__Params p = STEELYARD__CONTROL__V1__PARAMS__INIT;
    struct sha256 sum = digest_sha256(artifact->data, artifact->len);
    p.policy = (char *)(uintptr_t) "best";
    p.version = version;
    p.artifact_sha256 = (ProtobufCBinaryData){SHA256_BYTES, sum.bytes};
    p.lambda = (int64_t)version * 1000000;
    p.eps_cap = version == 2 ? 1U << 30 : 0; /* The candidate explores. */
    p.delta_q16 = 65536;
    buf_init(out, SIZE_MAX);
    RIG_PACK(steelyard__control__v1__params, p, *out);
}

static void hex_of(const struct buf *body, char out[SHA256_HEX_BYTES])
{
    struct sha256 sum = digest_sha256(body->data, body->len);
    hex_encode(sum.bytes, SHA256_BYTES, out);
}

void rig_put_rollout(struct resource_set *set, struct rig_rollout *o)
{
    typedef Steelyard__Control__V1__Rollout Rollout;
    char stable[SHA256_HEX_BYTES], candidate[SHA256_HEX_BYTES];
    struct buf body;
    rig_rollout_deinit(o);
    make_artifact(1, &o->artifacts[0]);
    make_artifact(o->one_artifact ? 1 : 4, &o->artifacts[1]);
    for (size_t i = 0; i < 2; i++)
        make_params(i + 1, &o->artifacts[i], &o->params[i]);
    rig_put(set, 4, "artifact/best", &o->artifacts[0]);
    rig_put(set, 5, "params/best", &o->params[0]);
    if (o->id == 0)
        return;
    rig_put(set, 4, "artifact/best/candidate", &o->artifacts[1]);
    rig_put(set, 5, "params/best/candidate", &o->params[1]);
    hex_of(&o->params[0], stable);
    hex_of(&o->params[1], candidate);
    Rollout m = STEELYARD__CONTROL__V1__ROLLOUT__INIT;
    m.id = o->id;
    m.policy = (char *)(uintptr_t) "best";
    m.state = (Steelyard__Control__V1__RolloutState)o->state;
    m.stage = o->stage;
    m.pct_bp = o->pct_bp;
    m.salt = (ProtobufCBinaryData){sizeof salt, salt};
    m.stable_params = stable;
    m.candidate_params = candidate;
    buf_init(&body, 4096);
    RIG_PACK(steelyard__control__v1__rollout, m, body);
    rig_put(set, 7, "rollout/best", &body);
    buf_deinit(&body);
}

void rig_rollout_deinit(struct rig_rollout *o)
{
    for (size_t i = 0; i < 2; i++) {
        buf_deinit(&o->artifacts[i]);
        buf_deinit(&o->params[i]);
    }
}
