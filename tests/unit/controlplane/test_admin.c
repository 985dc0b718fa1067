/* The admin API over HTTP with real rows: credentials, keys, policies, decisions made by the router
 * itself, their explanation and replay, and a training run from start to push. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/base/rand.h"
#include "common/route/policy.h"
#include "control.pb-c.h"
#include "controlplane/admin/admin.h"
#include "controlplane/ingest/intake.h"
#include "dataplane/telemetry/record.h"
#include "tests/lib/fault.h"
#include "tests/unit/controlplane/admin_fixture.h"
#include "tests/unit/controlplane/fixture.h"

static const char yaml[] =
    "version: 1\n"
    "providers: {sim: {base_url: \"http://127.0.0.1:1/v1\", private: true}}\n"
    "models:\n"
    "  large: {deployments: [{provider: sim}], price: {input: 2 USD, output: 8 USD}, "
    "prior_quality: 0.9}\n"
    "  small: {deployments: [{provider: sim}], price: {input: 0.1 USD, output: 0.4 USD}, "
    "prior_quality: 0.6}\n"
    "routes: {auto: {models: [small, large]}}\n";

static const char *database;

/* --- credentials -------------------------------------------------------------------------------
 */

static void fill_path(const struct admin_route_facts *route, char *out, size_t bytes)
{
    size_t at = (size_t)snprintf(out, bytes, "%s", route->prefix);
    for (const char *p = route->pattern; *p != '\0' && at + 40 < bytes; p++) {
        if (*p != '{') {
            out[at++] = *p;
            continue;
        }
        at += (size_t)snprintf(out + at, bytes - at, "%s",
                               strncmp(p, "{version", 8) == 0 ? "1" : "x");
        p = strchr(p, '}');
    }
    out[at] = '\0';
}

static void every_route_wants_the_operator_key(void **state)
{
    struct admin_route_facts route;
    char path[256];
    (void)state;
    size_t i = 0;
    for (; admin_route_at(i, &route); i++) {
        const char *method = route.method;
        fill_path(&route, path, sizeof path);
        assert_int_equal(admin_ask_as(NULL, method, path, "{}", NULL, NULL, 0), 401);
        assert_int_equal(admin_ask_as("Bearer wrong", method, path, "{}", NULL, NULL, 0), 401);
        assert_int_equal(admin_ask_as("Bearer ", method, path, "{}", NULL, NULL, 0), 401);
        assert_int_equal(admin_ask_as("Basic " ADMIN_KEY, method, path, "{}", NULL, NULL, 0), 401);
        assert_int_equal(admin_ask_as("Bearer " ADMIN_KEY "x", method, path, "{}", NULL, NULL, 0),
                         401);
        assert_int_not_equal(
            admin_ask_as("Bearer " ADMIN_KEY, method, path, "{\"nonsense\":1}", NULL, NULL, 0),
            401);
    }
    assert_true(i >= 17);
    assert_int_equal(admin_ask_as(NULL, "GET", "/nothing", NULL, NULL, NULL, 0), 401);
    json_decref(admin_ask("GET", "/api/v1/nothing", NULL, 404));
    json_decref(admin_ask("POST", "/api/v1/status", NULL, 405));
    assert_true(admin_is_loopback(STR("127.0.0.1:1")) && admin_is_loopback(STR("[::1]:1")));
    assert_false(admin_is_loopback(STR(":8090")) || admin_is_loopback(STR("10.0.0.1:1")));
}

/* --- keys --------------------------------------------------------------------------------------
 */

static void b28_unknown_and_malformed_fields_are_400_and_change_nothing(void **state)
{
    static const char *const bodies[] = {"{\"name\":\"a\",\"role\":\"god\"}",
                                         "{\"name\":\"a\",\"routes\":[\"nowhere\"]}",
                                         "{\"name\":7}",
                                         "{\"name\":\"\"}",
                                         "{}",
                                         "[]",
                                         "{\"name\":\"a\",\"name\":\"b\"}",
                                         "{\"na",
                                         "{\"name\":\"a\",\"expires\":\"yesterday\"}",
                                         "{\"name\":\"a\",\"expires\":\"2020-01-01\"}",
                                         "{\"name\":\"a\\nb\"}",
                                         "{\"name\":\"a\",\"models\":[1]}"};
    (void)state;
    struct pq_conn *c = fixture_connect(database);
    int64_t audit = fixture_i64(c, "SELECT count(*) FROM audit_log");
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        json_t *problem = admin_ask("POST", "/api/v1/keys", bodies[i], 400);
        assert_int_equal(json_integer_value(json_object_get(problem, "status")), 400);
        assert_non_null(json_string_value(json_object_get(problem, "code")));
        json_decref(problem);
    }
    assert_int_equal(fixture_i64(c, "SELECT count(*) FROM api_key"), 0);
    assert_int_equal(fixture_i64(c, "SELECT count(*) FROM audit_log"), audit);
    pq_conn_close(c);
}

static void a_key_is_shown_once_listed_in_pages_and_disabled(void **state)
{
    char path[128], body[64];
    json_t *key = NULL;
    (void)state;
    for (int i = 0; i < 5; i++) {
        json_decref(key);
        snprintf(body, sizeof body, "{\"name\":\"key %d\",\"routes\":[\"auto\"]}", i);
        key = admin_ask("POST", "/api/v1/keys", body, 201);
    }
    const char *text = json_string_value(json_object_get(key, "key"));
    const char *id = json_string_value(json_object_get(key, "id"));
    assert_int_equal(strncmp(text, "sk-sy-", 6), 0);
    assert_int_equal(strlen(text), 6 + 10 + 1 + 32);
    int seen = 0;
    char cursor[64] = "";
    for (;;) {
        snprintf(path, sizeof path, "/api/v1/keys?limit=2%s%s",
                 cursor[0] == '\0' ? "" : "&cursor=", cursor);
        json_t *page = admin_ask("GET", path, NULL, 200);
        const json_t *items = json_object_get(page, "items");
        seen += (int)json_array_size(items);
        char *dump = json_dumps(page, 0);
        assert_null(strstr(dump, "sk-sy-"));
        (free)(dump);
        const char *next = json_string_value(json_object_get(page, "next"));
        snprintf(cursor, sizeof cursor, "%s", next == NULL ? "" : next);
        json_decref(page);
        if (cursor[0] == '\0')
            break;
    }
    assert_int_equal(seen, 5);
    snprintf(path, sizeof path, "/api/v1/keys/%s/disable", id);
    json_t *item = admin_ask("POST", path, "{\"reason\":\"lost\"}", 200);
    assert_true(json_is_true(json_object_get(item, "disabled")));
    json_decref(item);
    json_decref(admin_ask("POST", "/api/v1/keys/nobody/disable", "{}", 404));
    struct pq_conn *c = fixture_connect(database);
    assert_int_equal(fixture_i64(c,
                                 "SELECT count(*) FROM audit_log WHERE action = 'key.disable' AND "
                                 "actor = 'operator' AND reason = 'lost'"),
                     1);
    pq_conn_close(c);
    json_decref(key);
}

static size_t listed(const char *path)
{
    json_t *list = admin_ask("GET", path, NULL, 200);
    const size_t count = json_array_size(json_object_get(list, "items"));
    assert_true(json_is_null(json_object_get(list, "next")));
    json_decref(list);
    return count;
}

static void what_there_is_of_one_name_is_listed_up_to_the_limit(void **state)
{
    (void)state;
    struct pq_conn *c = fixture_connect(database);
    fixture_exec(c, "INSERT INTO drift_event (policy, kind, value) VALUES ('p', 'better', 1), "
                    "('p', 'worse', 1), ('q', 'worse', 1)");
    fixture_exec(c, "INSERT INTO fingerprint SELECT 'm', 's', n, NULL, now(), now(), NULL, now(), "
                    "1 FROM generate_series(1, 3) n");
    assert_int_equal(listed("/api/v1/policies/p/drift"), 2);
    assert_int_equal(listed("/api/v1/policies/p/drift?limit=1"), 1);
    assert_int_equal(listed("/api/v1/policies/r/drift"), 0);
    assert_int_equal(listed("/api/v1/policies/p/history?limit=1"), 0);
    assert_int_equal(listed("/api/v1/models/fingerprints"), 3);
    assert_int_equal(listed("/api/v1/models/fingerprints?model=m&limit=2"), 2);
    assert_int_equal(listed("/api/v1/models/fingerprints?model=n"), 0);
    json_decref(admin_ask("GET", "/api/v1/policies/p/drift?limit=0", NULL, 400));
    fixture_exec(c, "DELETE FROM drift_event");
    fixture_exec(c, "DELETE FROM fingerprint");
    pq_conn_close(c);
}

/* --- decisions ---------------------------------------------------------------------------------
 */

/* The router decides and the node's own writer packs, as in service. */
struct maker {
    struct buf list;
    uint32_t count;
    struct features_hasher hasher;
    struct artifact *artifact;
    struct policy_params params;
    uint8_t artifact_sha[32], params_sha[32];
    bool routed;
};

static void maker_init(struct maker *m, struct pq_conn *c)
{
    struct pq_result *r = NULL;
    struct buf bytes = {0};
    enum artifact_reason reason;
    memset(m, 0, sizeof *m);
    buf_init(&bytes, 64U << 20);
    features_hasher_init(&m->hasher, siphash_key_from_bytes(admin_fixture_keys()->feature));
    assert_int_equal(
        pq_conn_query(c,
                      "SELECT v.params, v.artifact, a.body, p.body FROM policy_version v "
                      "JOIN policy_params p ON p.sha256 = v.params "
                      "LEFT JOIN policy_artifact a ON a.sha256 = v.artifact "
                      "WHERE v.name = 'default' AND v.state = 'current'",
                      NULL, &r, NULL),
        0);
    assert_int_equal(pq_result_bytes(r, 0, 0, &bytes), 0);
    memcpy(m->params_sha, bytes.data, 32);
    policy_params_init(&m->params);
    if (!pq_result_is_null(r, 0, 1)) {
        buf_clear(&bytes);
        assert_int_equal(pq_result_bytes(r, 0, 1, &bytes), 0);
        memcpy(m->artifact_sha, bytes.data, 32);
        buf_clear(&bytes);
        assert_int_equal(pq_result_bytes(r, 0, 2, &bytes), 0);
        assert_int_equal(artifact_decode(buf_str(&bytes), &m->artifact, &reason, NULL), 0);
        policy_params_from_artifact(&m->params, m->artifact, 0);
    }
    buf_clear(&bytes);
    assert_int_equal(pq_result_bytes(r, 0, 3, &bytes), 0);
    Steelyard__Control__V1__Params *published =
        steelyard__control__v1__params__unpack(NULL, bytes.len, (const uint8_t *)bytes.data);
    assert_non_null(published);
    m->params.eps_cap = published->eps_cap;
    steelyard__control__v1__params__free_unpacked(published, NULL);
    m->params.draw_key = siphash_key_from_bytes(admin_fixture_keys()->draw);
    pq_result_destroy(r);
    buf_deinit(&bytes);
}

static void append_record(struct maker *m, uint8_t field, const uint8_t *data, size_t len)
{
    uint8_t inner[8], outer[8];
    size_t a = 0, b = 0;
    inner[a++] = (uint8_t)(field << 3 | 2);
    for (size_t rest = len;; rest >>= 7) {
        inner[a++] = (uint8_t)((rest & 0x7f) | (rest > 0x7f ? 0x80U : 0U));
        if (rest <= 0x7f)
            break;
    }
    outer[b++] = 0x0a;
    for (size_t rest = len + a;; rest >>= 7) {
        outer[b++] = (uint8_t)((rest & 0x7f) | (rest > 0x7f ? 0x80U : 0U));
        if (rest <= 0x7f)
            break;
    }
    if (m->list.max == 0)
        buf_init(&m->list, 64U << 20);
    assert_int_equal(buf_append(&m->list, outer, b) | buf_append(&m->list, inner, a) |
                         buf_append(&m->list, data, len),
                     0);
    m->count++;
}

static void vote(struct maker *m, struct uuid id, double score)
{
    uint8_t packed[512];
    size_t len;
    struct record_feedback f = {.request_id = id,
                                .ts_us = clock_wall_us() - 1000,
                                .key_id = 3,
                                .source = STR("eval"),
                                .score_q16 = (int32_t)(score * 65536)};
    assert_int_equal(record_encode_feedback(&f, packed, sizeof packed, &len), 0);
    append_record(m, 2, packed, len);
}

/* pin: position of the model a client named, or -1 for the route. */
static struct uuid decide(struct maker *m, const char *text, int pin, double score)
{
    static const char *const names[] = {"small", "large"};
    static const int64_t in_rate[] = {100000000, 2000000000}, out_rate[] = {400000000, 8000000000};
    struct features_input input = {.text = str_from(text),
                                   .alias = STR("auto"),
                                   .bytes = strlen(text),
                                   .t_in = 200,
                                   .messages = 1,
                                   .turns = 1,
                                   .temperature_q8 = FEATURES_TEMPERATURE_UNSET};
    struct features features;
    uint8_t indices[FEATURES_PACKED_MAX];
    struct policy_candidate candidates[2];
    struct record_candidate models[2];
    struct policy_params params = m->params;
    struct policy_request q = {.t_in = 200, .explore = true, .sticky = POLICY_NONE};
    struct policy_decision d;
    uint32_t count = pin < 0 ? 2 : 1;
    int64_t now = clock_wall_us() - 2000000 + m->count;
    struct uuid id =
        uuid_v7_signed(now, 3, siphash_key_from_bytes(admin_fixture_keys()->decision_id));
    features_extract(&m->hasher, &input, &features);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t k = pin < 0 ? i : (uint32_t)pin;
        models[i] = (struct record_candidate){.model = str_from(names[k]), .price_id = k + 1};
        candidates[i] = (struct policy_candidate){
            .ordinal = m->artifact != NULL && pin < 0
                           ? artifact_model(m->artifact, str_from(names[k]))
                           : POLICY_UNKNOWN_MODEL,
            .price_in = in_rate[k],
            .price_out = out_rate[k],
            .price_cached = PRICE_UNKNOWN,
            .ttft_est_ms = 100,
            .tpot_est_us = 1000,
            .prior_q16 = k == 0 ? 39322 : 58982};
    }
    if (pin >= 0) {
        policy_params_init(&params);
        params.strategy = POLICY_STATIC;
        params.draw_key = m->params.draw_key;
    }
    const struct artifact *artifact = pin < 0 ? m->artifact : NULL;
    q.lambda = params.lambda;
    q.mu = params.mu;
    q.floor_q16 = params.floor_q16;
    if (artifact != NULL)
        q.policy_version = (struct str){.data = (const char *)m->artifact_sha, .len = 32};
    memcpy(q.request_id, id.bytes, 16);
    assert_int_equal(policy_decide(artifact, &features, &params, &q, candidates, count, &d), 0);
    uint32_t served = d.chosen;
    uint32_t k = pin < 0 ? served : (uint32_t)pin;
    int64_t cost = (200 * in_rate[k] + 50 * out_rate[k]) / 1000000;
    struct sha256 text_hash = digest_sha256(text, strlen(text));
    struct record_attempt attempt = {.model = served,
                                     .server = STR("sim/x"),
                                     .start_us = now,
                                     .ttft_ms = 90,
                                     .total_ms = 200,
                                     .status = 200,
                                     .tokens_in = 200,
                                     .tokens_out = 50,
                                     .cost_nanousd = cost};
    struct record_decision r = {
        .request_id = id,
        .ts_us = now,
        .key_id = 3,
        .alias = pin < 0 ? STR("auto") : str_from(names[pin]),
        .route = pin < 0 ? STR("auto") : STR(""),
        .policy_version = q.policy_version,
        .params_sha =
            pin < 0 ? (struct str){.data = (const char *)m->params_sha, .len = 32} : STR_NULL,
        .generation = 1,
        .hash_key_id = admin_fixture_keys()->hash_key_id,
        .features = &features,
        .packed_features = {.data = (const char *)indices,
                            .len = features_pack(&features, indices)},
        .t_in = 200,
        .pref = -1,
        .candidates = candidates,
        .models = models,
        .decision = &d,
        .flags = record_flags_from_policy(d.flags) | (pin >= 0 ? RECORD_FLAG_PINNED : 0U),
        .text_hash = {.data = (const char *)text_hash.bytes, .len = 16},
        .endpoint = STR("chat.completions"),
        .lambda = q.lambda,
        .mu = q.mu,
        .floor_q16 = q.floor_q16,
        .explore = q.explore,
        .task = STR("sums")};
    struct record_outcome o = {.flags = r.flags,
                               .attempts = &attempt,
                               .attempt_count = 1,
                               .status = RECORD_STATUS_OK,
                               .served = served + 1,
                               .cost_nanousd = cost,
                               .http_status = 200,
                               .finish_reason = STR("stop"),
                               .ttft_ms = 90,
                               .duration_ms = 200};
    uint8_t packed[RECORD_BYTES_MAX];
    size_t len, more;
    assert_int_equal(record_encode_decision(&r, RECORD_FULL, packed, sizeof packed, &len), 0);
    assert_int_equal(record_encode_outcome(&o, 0, packed + len, sizeof packed - len, &more), 0);
    append_record(m, 1, packed, len + more);
    if (score >= 0)
        vote(m, id, score);
    return id;
}

static void on_stored(void *arg, const struct intake_result *result)
{
    assert_int_equal(result->outcome, INTAKE_STORED);
    assert_int_equal(result->quarantined, 0);
    *(bool *)arg = true;
}

static void ingest(struct maker *m)
{
    static uint64_t epoch = 1;
    uv_loop_t loop;
    struct intake *in = NULL;
    struct err err = {0};
    bool done = false;
    struct intake_batch b = {
        .epoch = epoch++, .first_seq = 1, .count = m->count, .records = m->list};
    uv_loop_init(&loop);
    assert_int_equal(intake_create(&loop,
                                   &(struct intake_config){.conninfo = database, .connections = 1},
                                   &in, &err),
                     0);
    assert_int_equal(intake_submit(in, &b, on_stored, &done), 0);
    while (!done)
        uv_run(&loop, UV_RUN_ONCE);
    intake_close(in, NULL, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
    m->list = (struct buf){0};
    m->count = 0;
}

static void maker_deinit(struct maker *m)
{
    artifact_destroy(m->artifact);
}

static const json_t *at(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    if (value == NULL)
        fail_msg("no member \"%s\"", key);
    return value;
}

static void expect_replay(int64_t checked, int64_t skipped)
{
    char text[4096];
    assert_int_equal(admin_ask_as("Bearer " ADMIN_KEY, "POST", "/api/v1/decisions/replay", "{}",
                                  NULL, text, sizeof text),
                     200);
    char *last = text;
    for (char *line = text; (line = strchr(line, '\n')) != NULL && line[1] != '\0'; line++)
        last = line + 1;
    json_t *result = json_loads(last, JSON_DISABLE_EOF_CHECK, NULL);
    if (json_integer_value(at(result, "differ")) != 0)
        fail_msg("replay: %s", last);
    assert_int_equal(json_integer_value(at(result, "checked")), checked);
    assert_int_equal(json_integer_value(at(result, "equal")), checked - skipped);
    json_decref(result);
}

static void decisions_are_listed_explained_and_replayed_to_the_bit(void **state)
{
    char path[128], id[UUID_TEXT_BYTES];
    struct maker m;
    (void)state;
    struct pq_conn *c = fixture_connect(database);
    maker_init(&m, c);
    struct uuid last = {0};
    for (int i = 0; i < 40; i++) {
        char text[64];
        snprintf(text, sizeof text, "what is %d plus %d?", i, i * 7);
        last = decide(&m, text, i % 10 == 9 ? 0 : -1, i % 4 == 0 ? 1.0 : -1);
    }
    ingest(&m);
    expect_replay(40, 0);
    json_t *list = admin_ask("GET", "/api/v1/decisions?limit=30", NULL, 200);
    assert_int_equal(json_array_size(at(list, "items")), 30);
    const char *next = json_string_value(at(list, "next"));
    snprintf(path, sizeof path, "/api/v1/decisions?limit=30&cursor=%s", next);
    json_t *rest = admin_ask("GET", path, NULL, 200);
    assert_int_equal(json_array_size(at(rest, "items")), 10);
    json_decref(rest);
    json_decref(list);
    list =
        admin_ask("GET", "/api/v1/decisions?route=auto&status=ok&since=1h&limit=1000", NULL, 200);
    assert_int_equal(json_array_size(at(list, "items")), 36);
    json_decref(list);
    json_decref(admin_ask("GET", "/api/v1/decisions?status=odd", NULL, 400));
    json_decref(admin_ask("GET", "/api/v1/decisions?limit=0", NULL, 400));
    json_decref(admin_ask("GET", "/api/v1/decisions?since=whenever", NULL, 400));
    (void)last;
    list = admin_ask("GET", "/api/v1/decisions?route=auto&limit=1", NULL, 200);
    snprintf(id, sizeof id, "%s",
             json_string_value(at(json_array_get(at(list, "items"), 0), "id")));
    assert_string_equal(json_string_value(at(json_array_get(at(list, "items"), 0), "policy")),
                        "default@1");
    json_decref(list);
    snprintf(path, sizeof path, "/api/v1/decisions/%s", id);
    json_t *one = admin_ask("GET", path, NULL, 200);
    assert_int_equal(json_array_size(at(one, "candidates")), 2);
    assert_int_equal(json_array_size(at(one, "attempts")), 1);
    json_decref(one);
    snprintf(path, sizeof path, "/api/v1/decisions/%s/why", id);
    json_t *why = admin_ask("GET", path, NULL, 200);
    assert_true(json_is_true(at(why, "reproduced")));
    assert_true(json_array_size(at(why, "terms")) > 0);
    assert_string_equal(json_string_value(at(at(why, "outcome"), "status")), "ok");
    json_decref(why);
    json_decref(
        admin_ask("GET", "/api/v1/decisions/01890a5d-ac96-774b-bcce-b302099a8057", NULL, 404));
    json_decref(admin_ask("GET", "/api/v1/decisions/not-an-id/why", NULL, 404));
    json_t *report = admin_ask("GET", "/api/v1/report", NULL, 200);
    assert_int_equal(json_integer_value(at(report, "decisions")), 40);
    assert_true(fabs(json_number_value(at(report, "quality")) - 1.0) < 1e-9);
    assert_true(json_number_value(at(report, "cost_always_best_usd")) >=
                json_number_value(at(report, "cost_always_cheapest_usd")));
    assert_int_equal(json_array_size(at(report, "by_day")), 1);
    json_decref(report);
    maker_deinit(&m);
    pq_conn_close(c);
}

static void pages_survive_odd_queries(void **state)
{
    static const char *const paths[] = {"/api/v1/decisions?cursor=%zz",
                                        "/api/v1/keys?cursor=%00",
                                        "/api/v1/audit?cursor=-1",
                                        "/api/v1/decisions?since=%",
                                        "/api/v1/keys?limit=99999999999999999999",
                                        "/api/v1/policies?cursor=x",
                                        "/api/v1/decisions?model=%ff%fe"};
    (void)state;
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++)
        json_decref(admin_ask("GET", paths[i], NULL, 400));
    json_decref(admin_ask("GET", "/api/v1/policies/nobody/1", NULL, 404));
    json_decref(admin_ask("GET", "/api/v1/policies/default/0", NULL, 404));
    json_decref(admin_ask("GET", "/api/v1/policies/default/frontier", NULL, 404));
    json_decref(admin_ask("GET", "/api/v1/jobs/nothing", NULL, 404));
    json_decref(admin_ask("POST", "/api/v1/policies/default/1/promote", "{}", 400));
    json_decref(admin_ask("POST", "/api/v1/policies/default/1/promote", "{\"reason\":\"r\"}", 409));
    json_decref(
        admin_ask("POST", "/api/v1/policies/nobody/train", "{\"target\":{\"quality\":1}}", 404));
    json_decref(
        admin_ask("POST", "/api/v1/policies/default/train", "{\"target\":{\"qualty\":1}}", 400));
    json_decref(
        admin_ask("POST", "/api/v1/policies/default/train", "{\"target\":{\"quality\":2}}", 400));
}

/* --- training ----------------------------------------------------------------------------------
 */

static json_t *wait_for(const char *job)
{
    char path[96];
    snprintf(path, sizeof path, "/api/v1/jobs/%s", job);
    for (;;) {
        json_t *j = admin_ask("GET", path, NULL, 200);
        const char *state = json_string_value(at(j, "state"));
        if (strcmp(state, "done") == 0 || strcmp(state, "failed") == 0)
            return j;
        json_decref(j);
        usleep(20000); /* Another process's work; its end is the event. */
    }
}

static json_t *train(const char *body)
{
    json_t *started = admin_ask("POST", "/api/v1/policies/default/train", body, 202);
    json_t *job = wait_for(json_string_value(at(started, "job")));
    json_decref(started);
    return job;
}

/* The version's state is the database's; what the control plane pushes comes later. Seen here as it
 * is in between: no head tells the program of the new generation. */
static void acknowledgements_of_the_generation_before_do_not_count_for_a_new_one(void **state)
{
    (void)state;
    struct pq_conn *c = fixture_connect(database);
    int64_t before = fixture_i64(c, "SELECT generation FROM resource WHERE key = 'params/default'");
    fixture_exec(c, "INSERT INTO push_log (node_id, generation, accepted) SELECT 'n', generation, "
                    "true FROM resource WHERE key = 'params/default'");
    json_t *version = admin_ask("GET", "/api/v1/policies/default/1", NULL, 200);
    const json_t *push = at(version, "push");
    assert_int_equal(json_integer_value(at(push, "generation")), before);
    assert_int_equal(json_integer_value(at(push, "acked")), 1);
    json_decref(version);
    fixture_exec(c, "UPDATE resource SET generation = generation + 1 WHERE key = 'params/default'");
    version = admin_ask("GET", "/api/v1/policies/default/1", NULL, 200);
    push = at(version, "push");
    assert_int_equal(json_integer_value(at(push, "generation")), before + 1);
    assert_int_equal(json_integer_value(at(push, "acked")), 0);
    json_decref(version);
    fixture_exec(c, "UPDATE resource SET generation = generation - 1 WHERE key = 'params/default'");
    fixture_exec(c, "DELETE FROM push_log");
    pq_conn_close(c);
}

/* Questions whose first word says whether the small model can answer them. */
static void ask_both(struct maker *m, unsigned i)
{
    char text[96];
    bool hard = i % 3 == 0;
    snprintf(text, sizeof text, "%s %s number %u", hard ? "prove theorem" : "spell word",
             i % 2 == 0 ? "about apples" : "about pears", i);
    (void)decide(m, text, 0, hard ? 0.0 : 1.0);
    (void)decide(m, text, 1, 1.0);
}

static void training_from_answers_of_both_models_becomes_a_pushed_policy(void **state)
{
    struct maker m;
    (void)state;
    struct pq_conn *c = fixture_connect(database);
    maker_init(&m, c);
    json_t *job = train("{\"target\":{\"quality\":0.97},\"data\":{\"mode\":\"full\"}}");
    assert_string_equal(json_string_value(at(job, "state")), "failed"); /* Too few rows. */
    json_decref(job);
    for (unsigned i = 0; i < 1500; i++) {
        ask_both(&m, i);
        if (i % 500 == 499)
            ingest(&m);
    }
    job = train("{\"target\":{\"quality\":0.97},\"data\":{\"mode\":\"full\"}}");
    if (strcmp(json_string_value(at(job, "state")), "done") != 0)
        fail_msg("training: %s", json_string_value(at(job, "message")));
    const json_t *result = at(job, "result");
    assert_int_equal(json_integer_value(at(result, "version")), 2);
    json_t *version = admin_ask("GET", "/api/v1/policies/default/2", NULL, 200);
    assert_string_equal(json_string_value(at(version, "state")), "candidate");
    assert_int_equal(json_integer_value(at(version, "rows")), 1500);
    assert_true(json_is_array(at(version, "gates")));
    json_decref(version);
    json_t *frontier = admin_ask("GET", "/api/v1/policies/default/frontier?version=2", NULL, 200);
    assert_true(json_array_size(at(frontier, "points")) >= 2);
    json_decref(frontier);
    json_t *promoted =
        admin_ask("POST", "/api/v1/policies/default/2/promote", "{\"reason\":\"better\"}", 200);
    json_decref(promoted);
    maker_deinit(&m);
    /* Decisions with the learned policy are reproduced to the bit, and easy ones go to small. */
    maker_init(&m, c);
    assert_non_null(m.artifact);
    for (unsigned i = 0; i < 60; i++) {
        char text[96];
        snprintf(text, sizeof text, "%s about apples number %u",
                 i % 3 == 0 ? "prove theorem" : "spell word", 5000 + i);
        (void)decide(&m, text, -1, i % 2 == 0 ? 1.0 : -1);
    }
    ingest(&m);
    expect_replay(40 + 3000 + 60, 0);
    assert_true(fixture_i64(c, "SELECT count(*) FROM decision WHERE policy_sha IS NOT NULL AND "
                               "chosen_model = 'small'") >= 35);
    assert_true(fixture_i64(c, "SELECT count(*) FROM decision WHERE policy_sha IS NOT NULL AND "
                               "chosen_model = 'large'") >= 15);
    json_t *back =
        admin_ask("POST", "/api/v1/policies/default/rollback", "{\"reason\":\"drill\"}", 200);
    assert_int_equal(json_integer_value(at(back, "version")), 3);
    json_decref(back);
    json_decref(job);
    maker_deinit(&m);
    pq_conn_close(c);
}

static int setup(void **state)
{
    (void)state;
    cluster_start();
    database = cluster_database("admin", true);
    admin_fixture_start(database, yaml);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    admin_fixture_stop();
    cluster_stop();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_route_wants_the_operator_key),
        cmocka_unit_test(b28_unknown_and_malformed_fields_are_400_and_change_nothing),
        cmocka_unit_test(a_key_is_shown_once_listed_in_pages_and_disabled),
        cmocka_unit_test(what_there_is_of_one_name_is_listed_up_to_the_limit),
        cmocka_unit_test(decisions_are_listed_explained_and_replayed_to_the_bit),
        cmocka_unit_test(pages_survive_odd_queries),
        cmocka_unit_test(acknowledgements_of_the_generation_before_do_not_count_for_a_new_one),
        cmocka_unit_test(training_from_answers_of_both_models_becomes_a_pushed_policy),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
