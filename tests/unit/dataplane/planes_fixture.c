#include "tests/unit/dataplane/planes_fixture.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/list.h"
#include "common/base/mem.h"
#include "common/base/rand.h"
#include "common/link/wire.h"
#include "control.pb-c.h"
#include "telemetry.pb-c.h"

/* ---- release ---- */

struct owned_bodies {
    struct buf bodies[16];
    char keys[16][64];
    char versions[16][SHA256_HEX_BYTES];
    size_t count;
};

static void release_bodies(void *owner)
{
    struct owned_bodies *o = owner;
    for (size_t i = 0; i < o->count; i++)
        buf_deinit(&o->bodies[i]);
    mem_free(o);
}

static uint32_t type_of(const char *key)
{
    if (strncmp(key, "keys", 4) == 0)
        return STEELYARD__CONTROL__V1__RESOURCE_TYPE__RESOURCE_KEYS;
    if (strncmp(key, "params/", 7) == 0)
        return STEELYARD__CONTROL__V1__RESOURCE_TYPE__RESOURCE_PARAMS;
    if (strncmp(key, "rollout/", 8) == 0)
        return STEELYARD__CONTROL__V1__RESOURCE_TYPE__RESOURCE_ROLLOUT;
    return STEELYARD__CONTROL__V1__RESOURCE_TYPE__RESOURCE_CATALOGUE;
}

void plane_publish(struct plane *p, uint32_t era, uint64_t generation, const char *const *keys,
                   const struct str *bodies, size_t count)
{
    struct owned_bodies *o = mem_zalloc(sizeof(*o));
    assert_non_null(o);
    struct nodes_resources *r = nodes_resources_create(era, generation, release_bodies, o);
    assert_non_null(r);
    for (size_t i = 0; i < count; i++) {
        buf_init(&o->bodies[i], SIZE_MAX);
        assert_int_equal(buf_append_str(&o->bodies[i], bodies[i]), 0);
        (void)snprintf(o->keys[i], sizeof(o->keys[i]), "%s", keys[i]);
        struct sha256 sum = digest_sha256(bodies[i].data, bodies[i].len);
        hex_encode(sum.bytes, SHA256_BYTES, o->versions[i]);
        o->count = i + 1;
        struct nodes_resource item = {.key = str_from(o->keys[i]),
                                      .type = type_of(keys[i]),
                                      .version = str_from(o->versions[i]),
                                      .body = buf_str(&o->bodies[i])};
        if (item.type == STEELYARD__CONTROL__V1__RESOURCE_TYPE__RESOURCE_ROLLOUT)
            item.ttl_s = p->rollout_ttl_s;
        assert_int_equal(nodes_resources_add(r, &item), 0);
    }
    bool urgent = p->debounce_ms == 0 || nodes_resources_urgent(p->resources, r);
    nodes_resources_unref(p->resources);
    p->resources = r;
    if (p->nodes != NULL)
        nodes_changed(p->nodes, urgent);
}

static struct nodes_resources *on_resources(void *plane)
{
    struct plane *p = plane;
    return p->resources != NULL ? nodes_resources_ref(p->resources) : NULL;
}

static void on_result(void *plane, const struct nodes_push_result *result)
{
    struct plane *p = plane;
    if (result->accepted) {
        p->accepted++;
        p->accepted_generation = result->generation;
        return;
    }
    p->refused++;
    assert_true(result->nack_count > 0);
    (void)snprintf(p->last_code, sizeof(p->last_code), "%.*s", STR_ARG(result->nacks[0].code));
    (void)snprintf(p->last_key, sizeof(p->last_key), "%.*s", STR_ARG(result->nacks[0].key));
}

static void on_wave_nack(void *plane, struct str policy, const struct nodes_push_result *result)
{
    struct plane *p = plane;
    assert_false(result->accepted);
    p->waves_refused++;
    (void)snprintf(p->last_policy, sizeof(p->last_policy), "%.*s", STR_ARG(policy));
}

static const struct nodes_release_ops release_ops = {
    .resources = on_resources, .on_result = on_result, .on_wave_nack = on_wave_nack};

/* ---- intake ---- */

struct commit {
    uv_timer_t timer;
    struct plane *plane;
    struct nodes_intake_result result;
    nodes_intake_cb cb;
    void *user;
};

static void on_commit_closed(uv_handle_t *handle)
{
    mem_free(container_of((uv_timer_t *)handle, struct commit, timer));
}

static void on_commit(uv_timer_t *timer)
{
    struct commit *c = container_of(timer, struct commit, timer);
    c->cb(c->user, &c->result);
    uv_close((uv_handle_t *)timer, on_commit_closed);
}

static struct stored_epoch *epoch_of(struct plane *p, uint64_t epoch)
{
    for (size_t i = 0; i < p->epoch_count; i++)
        if (p->epochs[i].epoch == epoch)
            return &p->epochs[i];
    assert_true(p->epoch_count < PLANE_EPOCHS);
    p->epochs[p->epoch_count] = (struct stored_epoch){.epoch = epoch, .next_seq = 1};
    return &p->epochs[p->epoch_count++];
}

/* As 4.2: skip what is known, refuse a hole, store the rest. */
static void store(struct plane *p, const struct nodes_batch *batch,
                  struct nodes_intake_result *result)
{
    struct stored_epoch *e = epoch_of(p, batch->epoch);
    if (batch->first_seq > e->next_seq) {
        result->status = ERR_CONFLICT;
        result->expected_seq = e->next_seq;
        return;
    }
    ProtobufCMessage *m = NULL;
    assert_int_equal(wire_unpack(&steelyard__telemetry__v1__record_list__descriptor,
                                 buf_str(&batch->records), &m),
                     0);
    const Steelyard__Telemetry__V1__RecordList *list =
        (const Steelyard__Telemetry__V1__RecordList *)m;
    assert_int_equal(list->n_records, batch->count);
    for (size_t i = 0; i < list->n_records; i++) {
        const Steelyard__Telemetry__V1__Record *r = list->records[i];
        uint64_t seq = batch->first_seq + i;
        if (r->body_case == STEELYARD__TELEMETRY__V1__RECORD__BODY_GAP) {
            assert_int_equal(list->n_records, 1);
            assert_int_equal(r->gap->from, seq);
            if (r->gap->to >= e->next_seq) {
                p->gaps++;
                p->gap_records += r->gap->to - e->next_seq + 1;
                e->next_seq = r->gap->to + 1;
            }
            continue;
        }
        if (seq < e->next_seq)
            continue;
        e->next_seq = seq + 1;
        p->stored++;
        if (r->body_case == STEELYARD__TELEMETRY__V1__RECORD__BODY_FEEDBACK) {
            p->feedback++;
            continue;
        }
        p->crashes +=
            r->decision->status == STEELYARD__TELEMETRY__V1__DECISION_STATUS__STATUS_NODE_CRASH;
        assert_true(r->decision->t_in < PLANE_ROWS);
        p->rows[r->decision->t_in]++;
    }
    wire_free(m);
    result->acked_through = e->next_seq - 1;
}

static bool one_in(struct plane *p, unsigned n)
{
    return n != 0 && p->random() % n == 0;
}

static int on_submit(void *plane, struct nodes_batch *batch, nodes_intake_cb cb, void *user)
{
    struct plane *p = plane;
    if (one_in(p, p->busy_one_in))
        return ERR_BUSY;
    struct commit *c = mem_zalloc(sizeof(*c));
    assert_non_null(c);
    *c = (struct commit){.plane = p, .cb = cb, .user = user};
    bool lose = one_in(p, p->lose_one_in);
    /* A commit may fail before it happens, or happen without anyone hearing of it. */
    if (!lose || p->random() % 2 == 0)
        store(p, batch, &c->result);
    if (lose)
        c->result = (struct nodes_intake_result){.status = ERR_DATABASE};
    (void)uv_timer_init(p->loop, &c->timer);
    uint64_t delay = p->delay_ms_max != 0 ? p->random() % p->delay_ms_max : 0;
    (void)uv_timer_start(&c->timer, on_commit, delay, 0);
    return 0;
}

static bool on_ready(void *plane)
{
    return ((struct plane *)plane)->ready;
}

static const struct nodes_intake_ops intake_ops = {.submit = on_submit, .ready = on_ready};

/* ---- life ---- */

void plane_init(struct plane *p, uv_loop_t *loop)
{
    *p = (struct plane){.loop = loop, .ready = true, .random = rand_u64};
    p->rows = mem_calloc(PLANE_ROWS, 1);
    assert_non_null(p->rows);
}

void plane_deinit(struct plane *p)
{
    nodes_resources_unref(p->resources);
    mem_free(p->rows);
}

void plane_start(struct plane *p, const char *address, const struct rpc_tls *tls)
{
    unsigned pid = (unsigned)getpid(); /* At most 22 bits. */
    char own[64];
    (void)snprintf(own, sizeof(own), "127.%u.%u.%u:0", 64U | (pid >> 16 & 63U), pid >> 8 & 255U,
                   pid & 255U);
    struct nodes_options options = {.loop = p->loop,
                                    .address = address != NULL ? address : own,
                                    .release = &release_ops,
                                    .intake = &intake_ops,
                                    .plane = p,
                                    .debounce_ms = p->debounce_ms,
                                    .debounce_max_ms = p->debounce_ms,
                                    .heartbeat_ms = 200,
                                    .wave_healthy_ms = p->wave_healthy_ms};
    if (tls != NULL)
        options.tls = *tls;
    struct err err = {0};
    if (nodes_start(&options, &p->nodes, &err) != 0)
        fail_msg("%s", err.message);
    (void)snprintf(p->address, sizeof(p->address), "%s", nodes_address(p->nodes));
}

static void on_flag(void *user)
{
    *(bool *)user = true;
}

void plane_stop(struct plane *p)
{
    bool closed = false;
    nodes_close(p->nodes, 0, on_flag, &closed);
    while (!closed)
        uv_run(p->loop, UV_RUN_ONCE);
    p->nodes = NULL;
}

/* ---- bodies ---- */

static void pack(struct buf *out, const ProtobufCMessage *m)
{
    buf_init(out, SIZE_MAX);
    assert_int_equal(wire_pack(m, out), 0);
}

void body_catalogue(struct buf *out, const char *policy)
{
    Steelyard__Control__V1__Provider provider = STEELYARD__CONTROL__V1__PROVIDER__INIT;
    provider.name = wire_text("local");
    provider.type = wire_text("openai");
    provider.base_url = wire_text("http://127.0.0.1:1234/v1/");
    provider.allow_private = true;
    Steelyard__Control__V1__Provider *providers[] = {&provider};
    Steelyard__Control__V1__Deployment deployment[2];
    Steelyard__Control__V1__Deployment *deployments[2];
    Steelyard__Control__V1__Model model[2];
    Steelyard__Control__V1__Model *models[2];
    static const char *const ids[] = {"small", "large"};
    for (int i = 0; i < 2; i++) {
        steelyard__control__v1__deployment__init(&deployment[i]);
        deployment[i].provider = wire_text("local");
        deployment[i].upstream_model = wire_text(ids[i]);
        deployments[i] = &deployment[i];
        steelyard__control__v1__model__init(&model[i]);
        model[i].id = wire_text(ids[i]);
        model[i].deployments = &deployments[i];
        model[i].n_deployments = 1;
        models[i] = &model[i];
    }
    Steelyard__Control__V1__Route route = STEELYARD__CONTROL__V1__ROUTE__INIT;
    char *names[] = {wire_text("small"), wire_text("large")};
    route.name = wire_text("main");
    route.policy = wire_text(policy);
    route.models = names;
    route.n_models = 2;
    Steelyard__Control__V1__Route *routes[] = {&route};
    Steelyard__Control__V1__Catalogue c = STEELYARD__CONTROL__V1__CATALOGUE__INIT;
    c.providers = providers;
    c.n_providers = 1;
    c.models = models;
    c.n_models = 2;
    c.routes = routes;
    c.n_routes = 1;
    pack(out, &c.base);
}

void body_keys(struct buf *out, bool disabled)
{
    struct sha256 sum = digest_sha256(TEST_KEY, sizeof(TEST_KEY) - 1);
    Steelyard__Control__V1__Key key = STEELYARD__CONTROL__V1__KEY__INIT;
    char *models[] = {wire_text("large"), wire_text("gone")};
    key.id = 7;
    key.public_id = wire_text("abcdefghij");
    key.sha256 = (ProtobufCBinaryData){.len = SHA256_BYTES, .data = sum.bytes};
    key.name = wire_text("test");
    key.models = models;
    key.n_models = 2;
    key.disabled = disabled;
    Steelyard__Control__V1__Key *keys[] = {&key};
    Steelyard__Control__V1__Keys m = STEELYARD__CONTROL__V1__KEYS__INIT;
    m.keys = keys;
    m.n_keys = 1;
    pack(out, &m.base);
}

void body_limits(struct buf *out)
{
    static uint8_t bytes[16];
    ProtobufCBinaryData key = {.len = sizeof(bytes), .data = bytes};
    Steelyard__Control__V1__Limits m = STEELYARD__CONTROL__V1__LIMITS__INIT;
    m.feature_key = m.draw_key = m.decision_id_key = m.text_key = key;
    m.hash_key_id = 0;
    pack(out, &m.base);
}

/* ---- helpers ---- */

static void on_wake(uv_timer_t *timer)
{
    (void)timer;
}

void run_until_named(uv_loop_t *loop, planes_done done, void *arg, const char *name)
{
    /* The timer only makes sure that a loop without events comes back to look at the clock. */
    uv_timer_t timer;
    (void)uv_timer_init(loop, &timer);
    (void)uv_timer_start(&timer, on_wake, 50, 50);
    uint64_t deadline_ms = clock_mono_ms() + 120000;
    while (!done(arg)) {
        if (clock_mono_ms() > deadline_ms)
            fail_msg("two minutes were waited for %s", name);
        uv_run(loop, UV_RUN_ONCE);
    }
    uv_close((uv_handle_t *)&timer, NULL);
    uv_run(loop, UV_RUN_NOWAIT);
    uv_run(loop, UV_RUN_NOWAIT);
}

char *temp_dir_make(void)
{
    const char *base = getenv("TMPDIR");
    char path[512];
    (void)snprintf(path, sizeof(path), "%s/steelyard-XXXXXX", base != NULL ? base : "/tmp");
    assert_non_null(mkdtemp(path));
    return mem_strdup(path);
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
    (void)st;
    (void)kind;
    (void)ftw;
    return remove(path);
}

void temp_dir_remove(char *dir)
{
    (void)nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    mem_free(dir);
}

void sample_init(struct sample *s, uint32_t number)
{
    static const uint8_t sha[32] = {1, 2, 3};
    memset(s, 0, sizeof(*s));
    s->features.n = 300;
    for (uint16_t i = 0; i < 300; i++)
        s->features.index[i] = (uint16_t)(i * 200 + number % 100);
    for (int i = 0; i < FEATURES_DENSE; i++)
        s->features.dense[i] = (int16_t)(i * 37 - 300);
    s->decision.count = 3;
    s->decision.greedy = 1;
    s->decision.chosen = 2;
    s->decision.draw = 0xdeadbeef;
    s->decision.fallback_count = 2;
    s->decision.fallback[0] = 1;
    for (int i = 0; i < 3; i++) {
        s->candidates[i] = (struct policy_candidate){.ordinal = i - 1,
                                                     .price_in = 150000000,
                                                     .price_out = PRICE_UNKNOWN,
                                                     .max_out = 4096,
                                                     .ttft_est_ms = 250,
                                                     .tpot_est_us = 9000,
                                                     .prior_q16 = i == 0 ? POLICY_NO_PRIOR : 40000,
                                                     .prior_out = 200,
                                                     .domain = 3,
                                                     .live = 2};
        s->models[i] = (struct record_candidate){.model = STR("model-name"), .price_id = 77};
        s->decision.row[i] = (struct policy_row){.z = -12345 * i,
                                                 .q = 50000,
                                                 .out_tok = 321,
                                                 .cost = i == 0 ? PRICE_UNKNOWN : 987654,
                                                 .lat_ms = 2222,
                                                 .u = -(INT64_C(1) << 40) * i,
                                                 .excl = 4,
                                                 .p = 0x80000000};
    }
    s->attempts[0] = (struct record_attempt){.model = 2,
                                             .server = STR("local/large"),
                                             .start_us = 1700000000000000,
                                             .ttft_ms = 80,
                                             .total_ms = 900,
                                             .status = 503,
                                             .reason = RECORD_REASON_STATUS,
                                             .provider_id = STR("req_1")};
    s->attempts[1] =
        (struct record_attempt){.model = 1,
                                .server = STR("local/small"),
                                .start_us = 1700000000900000,
                                .ttft_ms = 70,
                                .total_ms = 800,
                                .status = 200,
                                .tokens_in = 10,
                                .tokens_out = 20,
                                .tokens_cached = 3,
                                .tokens_reasoning = 4,
                                .tokens_cache_write = 5,
                                .price_id = 77,
                                .cost_nanousd = 4567,
                                .flags = RECORD_FLAG_USAGE_ESTIMATED,
                                .usage = RECORD_USAGE_COUNTED,
                                .held = &s->held,
                                .fingerprint = UINT64_MAX - 5,
                                .fingerprint_text = "small-2026-05 fp_1",
                                .fingerprint_text_len = 18,
                                .picked = {.usable = UINT64_C(0x8000000000000001),
                                           .notes = UINT64_C(1) << 34,
                                           .passed = PICKED_PASSED(REGION) | PICKED_PASSED(EJECTED),
                                           .place = 64,
                                           .deployments = 64,
                                           .equals = 2,
                                           .by = PICKED_BY_WEIGHT}};
    s->held = (struct record_held){.reserved_nanousd = 8888, .charge_count = 1};
    s->held.charges[0] = (struct record_charge){.budget = 33, .period_start_us = 5, .cfg = 1};
    s->charges[0] = (struct record_charge){UINT64_MAX, 1699999000000000, 3};
    s->charges[1] = (struct record_charge){.budget = 32, .cfg = 1};
    s->rollout = (struct record_rollout){.id = 1700000000123,
                                         .unit = UINT64_MAX - 1,
                                         .stage = 3,
                                         .arm = RECORD_ARM_STABLE,
                                         .slot = 9999,
                                         .has_shadow = 1,
                                         .shadow_cost_nanousd = PRICE_UNKNOWN,
                                         .shadow_chosen = 3,
                                         .shadow_q = 65536,
                                         .shadow_excl_any = 20,
                                         .shadow_lambda = INT64_C(1) << 59,
                                         .shadow_mu = -5,
                                         .shadow_floor_q16 = 60000,
                                         .shadow_out_cap = 900,
                                         .shadow_ranked = 3};
    for (uint8_t i = 0; i < sizeof(s->rollout.shadow_params_sha); i++)
        s->rollout.shadow_params_sha[i] = i;
    s->tags[0] = STR("task=math");
    s->tags[1] = STR("team=a");
    s->accounts[0] = 11;
    s->accounts[1] = UINT64_MAX;
    s->d = (struct record_decision){
        .ts_us = 1700000000000000,
        .key_id = 7,
        .accounts = s->accounts,
        .account_count = 2,
        .charges = s->charges,
        .charge_count = 2,
        .lease_epoch = UINT64_C(5) << 32,
        .pressure_q16 = 40000,
        .budget_clamp = 300,
        .segment = 4,
        .tags = s->tags,
        .tag_count = 2,
        .conv_hash = STR("12345678"),
        .alias = STR("main"),
        .policy_version = {.data = (const char *)sha, .len = 32},
        .params_sha = {.data = (const char *)sha, .len = 32},
        .era = 1,
        .generation = 9,
        .hash_key_id = 5,
        .config_age_s = 60,
        .ts_correction_us = -3,
        .rollout = &s->rollout,
        .features = &s->features,
        .packed_features = {.data = (const char *)s->packed,
                            .len = features_pack(&s->features, s->packed)},
        .t_in = number,
        .pref = -1,
        .candidates = s->candidates,
        .models = s->models,
        .decision = &s->decision,
        .flags = RECORD_FLAG_STREAM,
        .reserved_nanousd = 99999,
        .text_hash = STR("87654321"),
        .endpoint = STR("chat.completions"),
        .client_request_id = STR("r-1"),
        .route = STR("main"),
        .lambda = 1234567,
        .mu = 0,
        .task = STR("math"),
        .t_out_cap = 500,
        .floor_q16 = 100,
        .max_cost_nanousd = 5000000,
    };
    memcpy(s->d.request_id.bytes, &number, sizeof(number));
    s->o = (struct record_outcome){
        .flags = RECORD_FLAG_STREAM,
        .attempts = s->attempts,
        .attempt_count = 2,
        .status = RECORD_STATUS_OK,
        .served = 2,
        .cost_nanousd = 4567,
        .http_status = 200,
        .finish_reason = STR("stop"),
        .ttft_ms = 170,
        .duration_ms = 1800,
        .overhead_us = 150,
    };
}
