#include <sched.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/link/wire.h"
#include "dataplane/telemetry/flat.h"
#include "telemetry.pb-c.h"
#include "tests/unit/dataplane/planes_fixture.h"

typedef Steelyard__Telemetry__V1__Decision Decision;

static uint8_t bytes[RECORD_BYTES_MAX];

static Decision *unpack(struct str packed)
{
    ProtobufCMessage *m = NULL;
    assert_int_equal(wire_unpack(&steelyard__telemetry__v1__decision__descriptor, packed, &m), 0);
    return (Decision *)m;
}

/* Byte for byte what protobuf-c writes: same order, same defaults left out. */
static void check_packing(struct str part)
{
    static uint8_t again[RECORD_BYTES_MAX];
    Decision *d = unpack(part);
    assert_int_equal(protobuf_c_message_get_packed_size(&d->base), part.len);
    (void)protobuf_c_message_pack(&d->base, again);
    assert_memory_equal(again, part.data, part.len);
    wire_free(&d->base);
}

/* The two parts in a row, as one message. */
static Decision *encode_both(const struct record_decision *d, enum record_detail detail,
                             const struct record_outcome *o, uint32_t more_flags)
{
    size_t len = 0, more = 0;
    assert_int_equal(record_encode_decision(d, detail, bytes, sizeof(bytes), &len), 0);
    check_packing((struct str){.data = (const char *)bytes, .len = len});
    if (o != NULL)
        assert_int_equal(
            record_encode_outcome(o, more_flags, bytes + len, sizeof(bytes) - len, &more), 0);
    if (o != NULL && (o->flags | more_flags) != 0)
        check_packing((struct str){.data = (const char *)bytes + len, .len = more});
    return unpack((struct str){.data = (const char *)bytes, .len = len + more});
}

static Decision *encode(const struct record_decision *d, enum record_detail detail)
{
    return encode_both(d, detail, NULL, 0);
}

static void every_field_of_a_decision_arrives(void **state)
{
    (void)state;
    static struct sample s;
    sample_init(&s, 42);
    Decision *d = encode_both(&s.d, RECORD_FULL, &s.o, 0);
    assert_memory_equal(d->request_id.data, s.d.request_id.bytes, 16);
    assert_int_equal(d->ts_us, s.d.ts_us);
    assert_int_equal(d->key_id, 7);
    assert_int_equal(d->n_accounts, 2);
    assert_true(d->accounts[1] == UINT64_MAX);
    assert_int_equal(d->segment, 4);
    assert_int_equal(d->n_tags, 2);
    assert_string_equal(d->tags[1], "team=a");
    assert_int_equal(d->conv_hash.len, 8);
    assert_string_equal(d->alias, "main");
    assert_int_equal(d->policy_version.len, 32);
    assert_int_equal(d->params_sha.len, 32);
    assert_int_equal(d->era, 1);
    assert_int_equal(d->generation, 9);
    assert_int_equal(d->feature_spec, FEATURES_SPEC);
    assert_int_equal(d->hash_key_id, 5);
    assert_int_equal(d->config_age_s, 60);
    assert_int_equal(d->ts_correction_us, -3);
    struct features f;
    assert_int_equal(features_unpack(wire_bytes(d->packed_features), &f), 0);
    assert_int_equal(f.n, 300);
    assert_memory_equal(f.index, s.features.index, 300 * sizeof(f.index[0]));
    assert_int_equal(d->n_dense, FEATURES_DENSE);
    for (int i = 0; i < FEATURES_DENSE; i++)
        assert_int_equal(d->dense[i], s.features.dense[i]);
    assert_int_equal(d->t_in, 42);
    assert_int_equal(d->pref, -1);
    assert_int_equal(d->n_cand, 3);
    for (int i = 0; i < 3; i++) {
        const Steelyard__Telemetry__V1__Cand *c = d->cand[i];
        assert_int_equal(c->model, i);
        assert_int_equal(c->z, s.decision.row[i].z);
        assert_int_equal(c->q, 50000);
        assert_int_equal(c->out_tok, 321);
        assert_true(c->cost == s.decision.row[i].cost);
        assert_int_equal(c->lat_ms, 2222);
        assert_true(c->u == s.decision.row[i].u);
        assert_int_equal(c->excl, 4);
        assert_int_equal(c->p, 0x80000000);
        assert_int_equal(c->live, 2);
        assert_int_equal(c->ttft_est, 250);
        assert_int_equal(c->tpot_est_us, 9000);
        assert_int_equal(c->price_id, 77);
        assert_int_equal(c->price_in, 150000000);
        assert_true(c->price_out == PRICE_UNKNOWN);
        assert_int_equal(c->prior_q, i == 0 ? 0 : 40000);
        assert_int_equal(c->prior_out, 200);
        assert_int_equal(c->domain, 3);
        assert_int_equal(c->max_out, 4096);
        assert_string_equal(d->models[i], "model-name");
    }
    assert_int_equal(d->greedy, 1);
    assert_int_equal(d->draw, 0xdeadbeef);
    assert_int_equal(d->chosen, 2);
    assert_int_equal(d->flags, RECORD_FLAG_STREAM);
    assert_int_equal(d->n_fallback, 2);
    assert_int_equal(d->fallback[0], 1);
    assert_int_equal(d->n_attempt, 2);
    assert_int_equal(d->attempt[0]->model, 2);
    assert_int_equal(d->attempt[0]->reason, 4);
    assert_string_equal(d->attempt[0]->provider_id, "req_1");
    assert_int_equal(d->attempt[1]->endpoint, 1);
    assert_int_equal(d->attempt[1]->start_us, 1700000000900000);
    assert_int_equal(d->attempt[1]->in, 10);
    assert_int_equal(d->attempt[1]->out, 20);
    assert_int_equal(d->attempt[1]->cached, 3);
    assert_int_equal(d->attempt[1]->reasoning, 4);
    assert_int_equal(d->attempt[1]->cache_write, 5);
    assert_int_equal(d->attempt[1]->cost, 4567);
    assert_int_equal(d->attempt[1]->flags, RECORD_FLAG_USAGE_ESTIMATED);
    assert_int_equal(d->attempt[0]->usage, 0);
    assert_int_equal(d->attempt[0]->reserved, 0);
    assert_int_equal(d->attempt[1]->usage, RECORD_USAGE_COUNTED);
    assert_int_equal(d->attempt[1]->reserved, 8888);
    assert_int_equal(d->attempt[1]->n_charge, 1);
    assert_int_equal(d->attempt[1]->charge[0]->budget, 33);
    assert_true(d->attempt[0]->fingerprint == 0);
    assert_true(d->attempt[1]->fingerprint == UINT64_MAX - 5);
    assert_string_equal(d->attempt[1]->fingerprint_text, "small-2026-05 fp_1");
    assert_int_equal(d->attempt[0]->place, 0); /* Not recorded. */
    assert_int_equal(d->attempt[1]->place, 64);
    assert_int_equal(d->attempt[1]->deployments, 64);
    assert_true(d->attempt[1]->usable == UINT64_C(0x8000000000000001));
    assert_int_equal(d->attempt[1]->equals, 2);
    assert_int_equal(d->attempt[1]->picked_by, PICKED_BY_WEIGHT);
    assert_int_equal(d->attempt[1]->passed, PICKED_PASSED(REGION) | PICKED_PASSED(EJECTED));
    assert_true(d->attempt[1]->notes == UINT64_C(1) << 34);
    assert_int_equal(d->n_charge, 2);
    assert_true(d->charge[0]->budget == UINT64_MAX);
    assert_int_equal(d->charge[0]->period_start_us, 1699999000000000);
    assert_int_equal(d->charge[0]->cfg, 3);
    assert_int_equal(d->charge[1]->budget, 32);
    assert_true(d->lease_epoch == UINT64_C(5) << 32);
    assert_int_equal(d->budget_pressure, 40000);
    assert_int_equal(d->budget_clamp, 300);
    assert_int_equal(d->n_servers, 2);
    assert_string_equal(d->servers[0], "local/large");
    assert_string_equal(d->servers[1], "local/small");
    assert_int_equal(d->status, STEELYARD__TELEMETRY__V1__DECISION_STATUS__STATUS_OK);
    assert_int_equal(d->served, 2);
    assert_int_equal(d->cost, 4567);
    assert_int_equal(d->reserved, 99999);
    assert_int_equal(d->text_hash.len, 8);
    assert_string_equal(d->endpoint, "chat.completions");
    assert_string_equal(d->client_request_id, "r-1");
    assert_int_equal(d->http_status, 200);
    assert_string_equal(d->error_code, "");
    assert_string_equal(d->finish_reason, "stop");
    assert_int_equal(d->ttft_ms, 170);
    assert_int_equal(d->duration_ms, 1800);
    assert_int_equal(d->overhead_us, 150);
    assert_string_equal(d->route, "main");
    assert_int_equal(d->lambda, 1234567);
    assert_string_equal(d->task, "math");
    assert_int_equal(d->t_out_cap, 500);
    assert_int_equal(d->floor_q16, 100);
    assert_int_equal(d->max_cost, 5000000);
    wire_free(&d->base);
}

static void attempts_at_one_deployment_share_a_server(void **state)
{
    (void)state;
    static struct sample s;
    sample_init(&s, 1);
    struct record_attempt attempts[4] = {s.attempts[0], s.attempts[1], s.attempts[0],
                                         s.attempts[1]};
    s.o.attempts = attempts;
    s.o.attempt_count = 4;
    Decision *d = encode_both(&s.d, RECORD_FULL, &s.o, 0);
    assert_int_equal(d->n_servers, 2);
    assert_int_equal(d->attempt[2]->endpoint, 0);
    assert_int_equal(d->attempt[3]->endpoint, 1);
    wire_free(&d->base);
}

static void features_are_left_out_and_flagged(void **state)
{
    (void)state;
    static struct sample s;
    sample_init(&s, 1);
    Decision *d = encode(&s.d, RECORD_NO_FEATURES);
    assert_int_equal(d->packed_features.len, 0);
    assert_int_equal(d->n_dense, 0);
    assert_true((d->flags & RECORD_FLAG_FEATURES_DROPPED) != 0);
    wire_free(&d->base);
    s.d.features = NULL;
    d = encode(&s.d, RECORD_NO_FEATURES);
    assert_true((d->flags & RECORD_FLAG_FEATURES_DROPPED) == 0);
    wire_free(&d->base);
}

static void the_flags_of_the_outcome_replace_those_of_the_intent(void **state)
{
    (void)state;
    struct record_decision d = {.flags = RECORD_FLAG_STREAM};
    struct record_outcome o = {.flags = 0};
    Decision *out = encode_both(&d, RECORD_FULL, &o, 0);
    assert_int_equal(out->flags, 0);
    wire_free(&out->base);
    out = encode_both(&d, RECORD_FULL, &o, RECORD_FLAG_FEATURES_DROPPED);
    assert_int_equal(out->flags, RECORD_FLAG_FEATURES_DROPPED);
    wire_free(&out->base);
}

static void an_empty_decision_is_small_and_reads_back(void **state)
{
    (void)state;
    struct record_decision d = {0};
    struct record_outcome o = {.status = RECORD_STATUS_FAILED};
    Decision *out = encode_both(&d, RECORD_FULL, &o, 0);
    assert_int_equal(out->n_cand, 0);
    assert_int_equal(out->status, STEELYARD__TELEMETRY__V1__DECISION_STATUS__STATUS_FAILED);
    wire_free(&out->base);
}

static void text_that_is_not_utf8_or_too_long_cannot_spoil_a_batch(void **state)
{
    (void)state;
    char text[400];
    memset(text, 'a', sizeof(text));
    text[255] = '\xc3'; /* A character across the limit. */
    text[256] = '\xa9';
    text[10] = '\xff';
    struct record_decision d = {.alias = {.data = text, .len = sizeof(text)}};
    Decision *out = encode(&d, RECORD_FULL);
    assert_true(str_valid_utf8(str_from(out->alias)));
    assert_int_equal(strlen(out->alias), 255);
    assert_int_equal(out->alias[10], '?');
    wire_free(&out->base);
}

/* Each at its place and not a byte beside it, whatever stands before and behind. */
static void texts_of_every_length_pass_the_ring(void **state)
{
    (void)state;
    static struct flat_scratch scratch;
    static uint8_t flat[FLAT_DECISION_MAX];
    char text[300];
    for (size_t i = 0; i < sizeof(text); i++)
        text[i] = (char)('!' + i % 90);
    for (size_t n = 0; n <= FLAT_TEXT_MAX; n++) {
        const struct record_decision d = {.conv_hash = {text + 3, n % 9},
                                          .alias = {text, n},
                                          .policy_version = {text + 1, n / 2},
                                          .client_request_id = {text + 2, FLAT_TEXT_MAX - n},
                                          .client_nonce = {text + 7, n}};
        struct record_decision out;
        memset(flat, 0xee, sizeof(flat));
        uint8_t *end = flat_put_decision(flat, &d);
        assert_int_equal(*end, 0xee);
        struct str data = {(const char *)flat, (size_t)(end - flat)};
        assert_true(flat_take_decision(&data, &scratch, &out));
        assert_int_equal(data.len, 0);
        assert_true(str_eq(out.conv_hash, d.conv_hash));
        assert_true(str_eq(out.alias, d.alias));
        assert_true(str_eq(out.policy_version, d.policy_version));
        assert_true(str_eq(out.client_request_id, d.client_request_id));
        assert_true(str_eq(out.client_nonce, d.client_nonce));
        assert_int_equal(out.route.len + out.task.len + out.endpoint.len, 0);
    }
}

static void every_buffer_that_is_too_small_is_refused(void **state)
{
    (void)state;
    static struct sample s;
    sample_init(&s, 1);
    size_t whole = 0, len = 0;
    assert_int_equal(record_encode_decision(&s.d, RECORD_FULL, bytes, sizeof(bytes), &whole), 0);
    for (size_t cap = 0; cap < whole; cap++)
        assert_int_equal(record_encode_decision(&s.d, RECORD_FULL, bytes, cap, &len),
                         ERR_TOO_LARGE);
    assert_int_equal(record_encode_outcome(&s.o, 0, bytes, sizeof(bytes), &whole), 0);
    for (size_t cap = 0; cap < whole; cap++)
        assert_int_equal(record_encode_outcome(&s.o, 0, bytes, cap, &len), ERR_TOO_LARGE);
    s.o.attempt_count = RECORD_ATTEMPTS_MAX + 1;
    assert_int_equal(record_encode_outcome(&s.o, 0, bytes, sizeof(bytes), &len), ERR_INVALID);
    s.d.charge_count = RECORD_CHARGES_MAX + 1;
    assert_int_equal(record_encode_decision(&s.d, RECORD_FULL, bytes, sizeof(bytes), &len),
                     ERR_INVALID);
    s.d.charge_count = 0;
    s.d.tag_count = RECORD_TAGS_MAX + 1;
    assert_int_equal(record_encode_decision(&s.d, RECORD_FULL, bytes, sizeof(bytes), &len),
                     ERR_INVALID);
}

static void feedback_and_gaps_read_back(void **state)
{
    (void)state;
    struct record_feedback f = {.ts_us = 5,
                                .key_id = 7,
                                .source = STR("thumb"),
                                .score_q16 = 65536,
                                .label = STR("good"),
                                .comment = {.data = "\0\xff", .len = 2},
                                .label_prob = 1U << 30};
    size_t len = 0;
    assert_int_equal(record_encode_feedback(&f, bytes, sizeof(bytes), &len), 0);
    ProtobufCMessage *m = NULL;
    struct str packed = {.data = (const char *)bytes, .len = len};
    assert_int_equal(wire_unpack(&steelyard__telemetry__v1__feedback__descriptor, packed, &m), 0);
    const Steelyard__Telemetry__V1__Feedback *back = (const Steelyard__Telemetry__V1__Feedback *)m;
    assert_int_equal(back->score_q16, 65536);
    assert_int_equal(back->comment.len, 2);
    assert_int_equal(back->label_prob, 1U << 30);
    assert_string_equal(back->source, "thumb");
    wire_free(m);
    assert_int_equal(record_encode_gap(3, 9, "lost", bytes, sizeof(bytes), &len), 0);
    packed.len = len;
    assert_int_equal(wire_unpack(&steelyard__telemetry__v1__gap__descriptor, packed, &m), 0);
    const Steelyard__Telemetry__V1__Gap *gap = (const Steelyard__Telemetry__V1__Gap *)m;
    assert_int_equal(gap->from, 3);
    assert_int_equal(gap->to, 9);
    wire_free(m);
}

/* A ring of a node that knew no chances ends after the texts. */
static void a_vote_passes_the_ring_and_one_without_a_chance_is_read_as_always(void **state)
{
    (void)state;
    static uint64_t ring[FLAT_FEEDBACK_MAX / 8 + 1];
    const struct record_feedback f = {.ts_us = 5,
                                      .key_id = 7,
                                      .source = STR("thumb"),
                                      .score_q16 = 65536,
                                      .label = STR("good"),
                                      .comment = STR("fine"),
                                      .label_prob = 1U << 30};
    struct record_feedback back;
    uint8_t *at = (uint8_t *)ring;
    size_t len = (size_t)(flat_put_feedback(at, &f) - at);
    size_t old = len - sizeof f.label_prob;
    assert_true(len <= FLAT_FEEDBACK_MAX);
    for (size_t cut = 0; cut <= len; cut++) {
        struct str data = {.data = (const char *)at, .len = cut};
        assert_int_equal(flat_take_feedback(&data, &back), cut == old || cut == len);
        if (cut != old && cut != len)
            continue;
        assert_int_equal(data.len, 0);
        assert_int_equal(back.label_prob, cut == len ? 1U << 30 : 0);
        assert_int_equal(back.score_q16, 65536);
        assert_int_equal(back.key_id, 7);
        assert_true(str_is(back.source, "thumb") && str_is(back.label, "good") &&
                    str_is(back.comment, "fine"));
    }
}

static void enumerations_are_those_of_the_protocol(void **state)
{
    (void)state;
    assert_int_equal(RECORD_STATUS_DECIDED,
                     STEELYARD__TELEMETRY__V1__DECISION_STATUS__STATUS_DECIDED);
    assert_int_equal(RECORD_STATUS_NODE_CRASH,
                     STEELYARD__TELEMETRY__V1__DECISION_STATUS__STATUS_NODE_CRASH);
    assert_int_equal(RECORD_STATUS_PARTIAL,
                     STEELYARD__TELEMETRY__V1__DECISION_STATUS__STATUS_PARTIAL);
    assert_int_equal(RECORD_FLAG_NO_POLICY,
                     STEELYARD__TELEMETRY__V1__DECISION_FLAG__FLAG_NO_POLICY);
    assert_int_equal(RECORD_FLAG_SENT_AGAIN,
                     STEELYARD__TELEMETRY__V1__DECISION_FLAG__FLAG_SENT_AGAIN);
    assert_int_equal(RECORD_FLAG_FEATURES_DROPPED,
                     STEELYARD__TELEMETRY__V1__DECISION_FLAG__FLAG_FEATURES_DROPPED);
    assert_int_equal(RECORD_FLAG_COST_UNKNOWN,
                     STEELYARD__TELEMETRY__V1__DECISION_FLAG__FLAG_COST_UNKNOWN);
    assert_int_equal(RECORD_REASON_NODE_CRASH,
                     STEELYARD__TELEMETRY__V1__ATTEMPT_REASON__ATTEMPT_NODE_CRASH);
    assert_int_equal(RECORD_REASON_ADDRESS,
                     STEELYARD__TELEMETRY__V1__ATTEMPT_REASON__ATTEMPT_ADDRESS);
}

static void a_sync_that_was_asked_for_comes_without_waiting_for_the_second(void **state)
{
    (void)state;
    char *dir = temp_dir_make();
    struct spool_options options = {.dir = dir, .spools = 1, .sync_ms = 3600000};
    struct err err = {0};
    struct spool_set *set = NULL;
    assert_int_equal(spool_set_create(&options, &set, NULL, &err), 0);
    struct spool *spool = spool_set_spool(set, 0);
    static struct sample s;
    sample_init(&s, 1);
    struct spool_intent *intent = NULL;
    spool_position position = 0;
    assert_int_equal(spool_intent(spool, &s.d, &s.attempts[0], &intent, &position), 0);
    assert_true(spool_synced(spool) < position);
    spool_request_sync(spool);
    uint64_t deadline_ms = clock_mono_ms() + 120000;
    while (spool_synced(spool) < position && clock_mono_ms() < deadline_ms)
        sched_yield();
    assert_true(spool_synced(spool) >= position);
    spool_set_destroy(set);
    temp_dir_remove(dir);
}

static void the_part_in_a_rollout_arrives_whole_with_its_shadow_and_without(void **state)
{
    (void)state;
    static struct sample s;
    sample_init(&s, 42);
    const struct record_rollout rollout = s.rollout;
    s.d.rollout = NULL;
    Decision *d = encode(&s.d, RECORD_FULL);
    assert_true(d->rollout_id == 0 && d->arm == 0 && d->unit == 0 && d->shadow == NULL);
    wire_free(&d->base);
    s.d.rollout = &s.rollout;
    for (uint32_t shadow = 0; shadow < 2; shadow++) {
        s.rollout.has_shadow = shadow;
        d = encode_both(&s.d, RECORD_FULL, &s.o, 0);
        assert_true(d->rollout_id == rollout.id);
        assert_true(d->unit == rollout.unit);
        assert_int_equal(d->stage, 3);
        assert_int_equal(d->arm, 1);
        assert_int_equal(d->slot, 9999);
        assert_int_equal(d->shadow != NULL, shadow);
        if (shadow) {
            assert_int_equal(d->shadow->params_sha.len, 32);
            assert_memory_equal(d->shadow->params_sha.data, rollout.shadow_params_sha, 32);
            assert_int_equal(d->shadow->chosen, 3);
            assert_int_equal(d->shadow->q, 65536);
            assert_true(d->shadow->cost == PRICE_UNKNOWN);
            assert_int_equal(d->shadow->excl_any, 20);
            assert_true(d->shadow->lambda == rollout.shadow_lambda);
            assert_true(d->shadow->mu == -5);
            assert_int_equal(d->shadow->floor_q16, 60000);
            assert_int_equal(d->shadow->t_out_cap, 900);
            assert_int_equal(d->shadow->ranked, 3);
        }
        wire_free(&d->base);
    }
}

static void the_way_of_an_order_passes_the_ring_and_arrives(void **state)
{
    (void)state;
    static struct sample s;
    static struct flat_scratch scratch;
    static uint64_t ring[FLAT_DECISION_MAX / 8];
    struct record_decision back;
    struct way_input way = {.way = WAY_LEAST_BUSY,
                            .count = 3,
                            .candidates = {{-3, 1, 0}, {INT64_MAX, WAY_WEIGHT_MAX, 2}, {0, 0, 1}}};
    sample_init(&s, 42);
    s.d.way = &way;
    for (int with_rollout = 0; with_rollout < 2; with_rollout++) {
        s.d.rollout = with_rollout ? &s.rollout : NULL;
        uint8_t *at = (uint8_t *)ring;
        size_t len = (size_t)(flat_put_decision(at, &s.d) - at);
        struct str data = {.data = (const char *)at, .len = len};
        assert_true(flat_take_decision(&data, &scratch, &back));
        assert_int_equal(data.len, 0);
        assert_int_equal(back.rollout != NULL, with_rollout);
        assert_int_equal(back.way->way, WAY_LEAST_BUSY);
        assert_memory_equal(back.way->candidates, way.candidates, 3 * sizeof way.candidates[0]);
        for (size_t cut = 0; cut < len; cut++) {
            data = (struct str){.data = (const char *)at, .len = cut};
            assert_false(flat_take_decision(&data, &scratch, &back));
        }
    }
    Decision *d = encode(&s.d, RECORD_FULL);
    assert_int_equal(d->way, WAY_LEAST_BUSY);
    assert_true(d->n_way_measure == 3 && d->n_way_weight == 3 && d->n_way_priority == 3);
    assert_true(d->way_measure[0] == -3 && d->way_measure[1] == INT64_MAX);
    assert_true(d->way_weight[1] == WAY_WEIGHT_MAX && d->way_priority[2] == 1);
    wire_free(&d->base);
    way.way = WAY_LOWEST_COST; /* What it looks at is in the candidates' rows. */
    d = encode(&s.d, RECORD_FULL);
    assert_true(d->n_way_measure == 0 && d->n_way_weight == 3);
    wire_free(&d->base);
    size_t len;
    way.count = 2;
    assert_int_equal(record_encode_decision(&s.d, RECORD_FULL, bytes, sizeof bytes, &len),
                     ERR_INVALID);
}

static void a_fingerprint_passes_the_ring_with_or_without_its_text(void **state)
{
    (void)state;
    static _Alignas(8) uint8_t at[FLAT_ATTEMPT_MAX];
    static struct sample s;
    char long_text[RECORD_PRINT_BYTES_MAX + 9];
    memset(long_text, 'm', sizeof(long_text));
    sample_init(&s, 1);
    for (int with = 0; with < 3; with++) {
        struct record_attempt back, a = s.attempts[1];
        struct record_held held;
        if (with == 0)
            a.fingerprint_text_len = 0;
        else if (with == 2) {
            a.fingerprint_text = long_text;
            a.fingerprint_text_len = sizeof(long_text);
        }
        size_t len = (size_t)(flat_put_attempt(at, &a) - at);
        struct str data = {.data = (const char *)at, .len = len};
        assert_true(flat_take_attempt(&data, &held, &back));
        assert_int_equal(data.len, 0);
        assert_true(back.fingerprint == a.fingerprint);
        assert_int_equal(back.held->charge_count, 1);
        assert_int_equal(back.fingerprint_text_len,
                         with == 2 ? RECORD_PRINT_BYTES_MAX : a.fingerprint_text_len);
        assert_true(str_is(back.server, "local/small"));
        for (size_t cut = 0; cut < len; cut++) {
            data = (struct str){.data = (const char *)at, .len = cut};
            assert_false(flat_take_attempt(&data, &held, &back));
        }
    }
}

static void how_it_was_picked_passes_the_ring_beside_what_else_there_is(void **state)
{
    (void)state;
    static _Alignas(8) uint8_t at[FLAT_ATTEMPT_MAX];
    static struct sample s;
    sample_init(&s, 1);
    for (unsigned without = 0; without < 8; without++) {
        struct record_attempt back, a = s.attempts[1];
        struct record_held held;
        if ((without & 1) != 0)
            a.held = NULL;
        if ((without & 2) != 0)
            a.fingerprint = 0;
        if ((without & 4) != 0)
            memset(&a.picked, 0, sizeof a.picked);
        size_t len = (size_t)(flat_put_attempt(at, &a) - at);
        assert_true(len <= flat_attempt_bound(&a));
        struct str data = {.data = (const char *)at, .len = len};
        assert_true(flat_take_attempt(&data, &held, &back));
        assert_int_equal(data.len, 0);
        assert_memory_equal(&back.picked, &a.picked, sizeof a.picked);
        assert_true(back.fingerprint == a.fingerprint && (back.held == NULL) == (a.held == NULL));
        for (size_t cut = 0; cut < len; cut++) {
            data = (struct str){.data = (const char *)at, .len = cut};
            assert_false(flat_take_attempt(&data, &held, &back));
        }
    }
}

static void a_part_in_a_rollout_passes_the_ring_and_is_refused_where_it_is_cut(void **state)
{
    (void)state;
    static struct sample s;
    static struct flat_scratch scratch;
    static uint64_t ring[FLAT_DECISION_MAX / 8];
    struct record_decision back;
    sample_init(&s, 42);
    for (int shape = 0; shape < 3; shape++) {
        s.rollout.has_shadow = shape == 2;
        s.d.rollout = shape == 0 ? NULL : &s.rollout;
        uint8_t *at = (uint8_t *)ring;
        size_t len = (size_t)(flat_put_decision(at, &s.d) - at);
        struct str data = {.data = (const char *)at, .len = len};
        assert_true(flat_take_decision(&data, &scratch, &back));
        assert_int_equal(data.len, 0);
        assert_int_equal(back.rollout != NULL, shape != 0);
        if (shape != 0)
            assert_memory_equal(back.rollout, &s.rollout,
                                shape == 2 ? sizeof s.rollout
                                           : offsetof(struct record_rollout, shadow_lambda));
        if (shape == 1) /* What is not there is not left over from the one before. */
            assert_true(back.rollout->shadow_ranked == 0);
        for (size_t cut = 0; cut < len; cut++) {
            data = (struct str){.data = (const char *)at, .len = cut};
            assert_false(flat_take_decision(&data, &scratch, &back));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_field_of_a_decision_arrives),
        cmocka_unit_test(attempts_at_one_deployment_share_a_server),
        cmocka_unit_test(features_are_left_out_and_flagged),
        cmocka_unit_test(the_flags_of_the_outcome_replace_those_of_the_intent),
        cmocka_unit_test(an_empty_decision_is_small_and_reads_back),
        cmocka_unit_test(text_that_is_not_utf8_or_too_long_cannot_spoil_a_batch),
        cmocka_unit_test(every_buffer_that_is_too_small_is_refused),
        cmocka_unit_test(feedback_and_gaps_read_back),
        cmocka_unit_test(a_vote_passes_the_ring_and_one_without_a_chance_is_read_as_always),
        cmocka_unit_test(enumerations_are_those_of_the_protocol),
        cmocka_unit_test(a_sync_that_was_asked_for_comes_without_waiting_for_the_second),
        cmocka_unit_test(the_part_in_a_rollout_arrives_whole_with_its_shadow_and_without),
        cmocka_unit_test(the_way_of_an_order_passes_the_ring_and_arrives),
        cmocka_unit_test(how_it_was_picked_passes_the_ring_beside_what_else_there_is),
        cmocka_unit_test(texts_of_every_length_pass_the_ring),
        cmocka_unit_test(a_fingerprint_passes_the_ring_with_or_without_its_text),
        cmocka_unit_test(a_part_in_a_rollout_passes_the_ring_and_is_refused_where_it_is_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
