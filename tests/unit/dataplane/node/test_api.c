#include "tests/unit/dataplane/node/replies.h"
#include "tests/unit/dataplane/node/rig.h"

#include <string.h>

#include "common/crypto/uuid.h"

#define AUTH "Authorization: Bearer " RIG_KEY "\r\n"
#define ASK  "{\"model\":\"auto\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}"
#define OK_REPLY                                                                                   \
    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n"             \
    "{\"model\":\"up-small\",\"choices\":[{\"message\":{\"content\":\"hello\"},\"finish_reason\":" \
    "\"stop\"}],\"usage\":null}"

/* One request, one answer. */
struct row {
    const char *name;
    const char *request; /* Head without Content-Length when there is a body. */
    const char *body;    /* NULL: none. */
    unsigned status;
    const char *has;  /* In the body. */
    const char *line; /* In the head; NULL: not looked at. */
};

static void check(struct rig *r, const struct row *row)
{
    static char request[70000];
    struct rig_answer a;
    struct buf b = {.data = request, .cap = sizeof request, .max = sizeof request};
    assert_int_equal(buf_append_text(&b, row->request), 0);
    if (row->body != NULL)
        assert_int_equal(buf_printf(&b, "Content-Length: %zu\r\n", strlen(row->body)), 0);
    assert_int_equal(buf_append_text(&b, "\r\n"), 0);
    if (row->body != NULL)
        assert_int_equal(buf_append_text(&b, row->body), 0);
    rig_exchange_raw(r, b.data, b.len, &a);
    if (a.status != row->status ||
        (row->has != NULL && str_search(buf_str(&a.body), str_from(row->has)) < 0) ||
        (row->line != NULL && !rig_has_header(&a, row->line)))
        fail_msg("%s: status %u, head %.*s body %.*s", row->name, a.status, STR_ARG(a.head),
                 (int)a.body.len, a.body.data);
    assert_true(a.complete);
    buf_deinit(&a.body);
}

static void check_all(const struct row *rows, size_t count, uint64_t records)
{
    struct rig r;
    rig_start(&r, NULL);
    rig_script(&r, 0, (struct rig_script){.reply = OK_REPLY});
    rig_script(&r, 1, (struct rig_script){.reply = OK_REPLY});
    for (size_t i = 0; i < count; i++)
        check(&r, &rows[i]);
    assert_int_equal(rig_records(&r), records);
    rig_stop(&r);
}
#define CHECK(rows, records) check_all(rows, sizeof(rows) / sizeof((rows)[0]), records)

#define POST "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"

static void b23_every_wrong_credential_gets_the_same_401(void **state)
{
    (void)state;
    static char long_key[1200];
    struct buf b = {.data = long_key, .cap = sizeof long_key, .max = sizeof long_key};
    assert_int_equal(buf_append_text(&b, POST "x-api-key: "), 0);
    for (int i = 0; i < 600; i++)
        assert_int_equal(buf_append_char(&b, 'a'), 0);
    assert_int_equal(buf_append(&b, "\r\n", 3), 0);
    const struct row rows[] = {
        {"none", POST, ASK, 401, "invalid_api_key", "x-should-retry: false\r\n"},
        {"wrong", POST "Authorization: Bearer sk-sy-0123456789-x\r\n", ASK, 401, "invalid_api_key",
         NULL},
        {"unknown", POST "x-api-key: sk-sy-9999999999-abc\r\n", ASK, 401, "invalid_api_key", NULL},
        {"twice", POST AUTH AUTH, ASK, 401, "invalid_api_key", NULL},
        {"basic", POST "Authorization: Basic abc\r\n", ASK, 401, "invalid_api_key", NULL},
        {"too long", long_key, ASK, 401, "invalid_api_key", NULL},
        {"first in the fixed order counts",
         POST "api-key: " RIG_KEY "\r\nAuthorization: Bearer no\r\n", ASK, 401, "invalid_api_key",
         NULL},
        {"x-api-key", POST "x-api-key: " RIG_KEY "\r\n", ASK, 200, "hello", NULL},
        {"api-key", POST "api-key: " RIG_KEY "\r\n", ASK, 200, "hello", NULL},
        {"x-goog-api-key", POST "x-goog-api-key: " RIG_KEY "\r\n", ASK, 200, "hello", NULL},
    };
    CHECK(rows, 3);
}

static unsigned ask_again(struct rig *r, struct rig_client *c)
{
    struct rig_answer a;
    rig_ask(c, ASK);
    rig_until(r, rig_answered(c) || c->ended);
    rig_answer_read(c, &a);
    assert_true(a.complete);
    buf_consume(&c->in, a.bytes);
    buf_deinit(&a.body);
    return a.status;
}

/* However often it was found before, and on a connection that stays. */
static void b23_a_revoked_key_stops_with_the_next_request(void **state)
{
    (void)state;
    struct rig r;
    struct rig_client c;
    struct rig_options o = {.key = RIG_KEY, .generation = 1};
    rig_start(&r, &o);
    rig_script(&r, 0, (struct rig_script){.reply = OK_REPLY});
    rig_script(&r, 1, (struct rig_script){.reply = OK_REPLY});
    rig_connect(&r, &c);
    const char *const others[] = {"", "sk-sy-0123456789-another"};
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(ask_again(&r, &c), 200);
        assert_int_equal(ask_again(&r, &c), 200);
        o.key = others[i];
        o.generation++;
        rig_publish(&r, &o);
        assert_int_equal(ask_again(&r, &c), 401);
        assert_int_equal(ask_again(&r, &c), 401);
        o.key = RIG_KEY;
        o.generation++;
        rig_publish(&r, &o);
    }
    assert_int_equal(ask_again(&r, &c), 200);
    rig_disconnect(&r, &c);
    rig_stop(&r);
}

/* What a key may not use is answered like what is not there. */
static void a_key_is_held_to_its_endpoints_models_and_cost(void **state)
{
    (void)state;
    struct rig r;
    struct rig_options o = {.key_endpoint = (char *)(uintptr_t) "models", .generation = 1};
    const struct row listing = {
        "may list", "GET /v1/models HTTP/1.1\r\nHost: x\r\n" AUTH, NULL, 200, "\"list\"", NULL};
    const struct row no_call = {"may not call", POST AUTH, ASK, 404, "unknown_url", NULL};
    const struct row call = {"may call", POST AUTH, ASK, 200, "hello", NULL};
    const struct row dear = {"too dear", POST AUTH, ASK, 400, "cost cap", NULL};
    const struct row own_cap = {"its own cap is lower still",
                                POST AUTH "x-steelyard-max-cost-usd: 0.000000001\r\n",
                                ASK,
                                400,
                                "cost cap",
                                NULL};
    const struct row no_cap = {"asking for more gives no more",
                               POST AUTH "x-steelyard-max-cost-usd: 100\r\n",
                               ASK,
                               400,
                               "cost cap",
                               NULL};
    const struct row other_model = {
        "another model",
        POST AUTH,
        "{\"model\":\"small\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}",
        404,
        "model_not_found",
        NULL};
    const struct row before = {"the secret before",
                               POST "x-api-key: sk-sy-0123456789-before\r\n",
                               ASK,
                               200,
                               "hello",
                               NULL};
    rig_start(&r, &o);
    for (size_t i = 0; i < 2; i++)
        rig_script(&r, i, (struct rig_script){.reply = OK_REPLY});
    check(&r, &listing);
    check(&r, &no_call);
    o = (struct rig_options){.key_endpoint = (char *)(uintptr_t) "chat.completions",
                             .generation = 2};
    rig_publish(&r, &o);
    check(&r, &call);
    o = (struct rig_options){.key_max_cost = 1, .generation = 3};
    rig_publish(&r, &o);
    check(&r, &dear);
    check(&r, &no_cap);
    o = (struct rig_options){.key_max_cost = 1000000000, .generation = 4};
    rig_publish(&r, &o);
    check(&r, &call);
    check(&r, &own_cap);
    o = (struct rig_options){.key_model = (char *)(uintptr_t) "large", .generation = 5};
    rig_publish(&r, &o);
    check(&r, &other_model);
    o = (struct rig_options){.key_before = "sk-sy-0123456789-before", .generation = 6};
    rig_publish(&r, &o);
    check(&r, &before);
    check(&r, &call);
    rig_stop(&r);
}

static void b6_b7_paths_and_methods_match_exactly(void **state)
{
    (void)state;
    const struct row rows[] = {
        {"trailing slash", "GET /v1/models/ HTTP/1.1\r\nHost: x\r\n" AUTH, NULL, 200, "\"list\"",
         NULL},
        {"prefix", "GET /openai/v1/models HTTP/1.1\r\nHost: x\r\n" AUTH, NULL, 200, "\"list\"",
         NULL},
        {"query", "GET /v1/models?limit=1000 HTTP/1.1\r\nHost: x\r\n" AUTH, NULL, 200, "\"list\"",
         NULL},
        {"double slash", "GET //v1/models HTTP/1.1\r\nHost: x\r\n" AUTH, NULL, 404, "unknown_url",
         NULL},
        {"case", "GET /V1/models HTTP/1.1\r\nHost: x\r\n" AUTH, NULL, 404, "unknown_url", NULL},
        {"escape", "GET /v1%2fmodels HTTP/1.1\r\nHost: x\r\n" AUTH, NULL, 404, "unknown_url", NULL},
        {"admin", "GET /api/v1/status HTTP/1.1\r\nHost: x\r\n" AUTH, NULL, 404, "unknown_url",
         NULL},
        {"method", "GET /v1/chat/completions HTTP/1.1\r\nHost: x\r\n" AUTH, NULL, 405,
         "method_not_allowed", NULL},
        {"trace", "TRACE /v1/models HTTP/1.1\r\nHost: x\r\n", NULL, 405, "method_not_allowed",
         NULL},
        {"version", "GET /v1/models HTTP/2.0\r\nHost: x\r\n", NULL, 505, "error", NULL},
        {"no host", "GET /v1/models HTTP/1.1\r\n", NULL, 400, "error", "connection: close\r\n"},
    };
    CHECK(rows, 0);
}

static void b6_a_path_after_the_same_one_matches_no_less_exactly(void **state)
{
    (void)state;
#define MODELS(method, path) method " " path " HTTP/1.1\r\nHost: x\r\n" AUTH
    const struct row rows[] = {
        {"first", MODELS("GET", "/v1/models"), NULL, 200, "\"list\"", NULL},
        {"same", MODELS("GET", "/v1/models"), NULL, 200, "\"list\"", NULL},
        {"method", MODELS("DELETE", "/v1/models"), NULL, 405, "method_not_allowed", NULL},
        {"other byte", MODELS("GET", "/v1/modelz"), NULL, 404, "unknown_url", NULL},
        {"shorter", MODELS("GET", "/v1/model"), NULL, 404, "unknown_url", NULL},
        {"longer", MODELS("GET", "/v1/models/nobody"), NULL, 404, "error", NULL},
        {"other path", MODELS("GET", "/openai/v1/models"), NULL, 200, "\"list\"", NULL},
        {"that again", MODELS("GET", "/openai/v1/models"), NULL, 200, "\"list\"", NULL},
        {"back", MODELS("GET", "/v1/models"), NULL, 200, "\"list\"", NULL},
    };
    CHECK(rows, 0);
}

static void b8_b12_expectations_and_media_types_are_understood_or_refused(void **state)
{
    (void)state;
#define HEAD "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n" AUTH
    const struct row rows[] = {
        {"form", HEAD "Content-Type: application/x-www-form-urlencoded\r\n", ASK, 415,
         "unsupported_media_type", NULL},
        {"multipart", HEAD "Content-Type: multipart/form-data; boundary=x\r\n", ASK, 415,
         "unsupported_media_type", NULL},
        {"gzip", HEAD "Content-Type: application/json\r\nContent-Encoding: gzip\r\n", ASK, 415,
         "unsupported_media_type", NULL},
        {"charset", HEAD "Content-Type: application/json; charset=utf-8\r\n", ASK, 200, "hello",
         NULL},
        {"expectation", HEAD "Expect: more\r\n", ASK, 417, "error", NULL},
    };
    CHECK(rows, 1);
}

static void b8_100_continue_comes_only_after_authentication(void **state)
{
    (void)state;
    struct rig r;
    struct rig_client c;
    rig_start(&r, NULL);
    rig_script(&r, 0, (struct rig_script){.reply = OK_REPLY});
    static const char good[] = POST AUTH "Expect: 100-continue\r\nContent-Length: 60\r\n\r\n";
    static const char bad[] = POST "Expect: 100-continue\r\nContent-Length: 60\r\n\r\n";
    rig_connect(&r, &c);
    rig_send(&c, good, sizeof good - 1);
    rig_until(&r, c.in.len > 0);
    assert_true(str_eq(buf_str(&c.in), STR("HTTP/1.1 100 Continue\r\n\r\n")));
    rig_disconnect(&r, &c);
    rig_connect(&r, &c);
    rig_send(&c, bad, sizeof bad - 1);
    rig_until(&r, c.ended || c.broken);
    assert_true(str_starts(buf_str(&c.in), STR("HTTP/1.1 401 ")));
    rig_disconnect(&r, &c);
    rig_stop(&r);
}

static void b4_a_body_over_the_limit_is_413(void **state)
{
    (void)state;
    struct rig r;
    struct rig_answer a;
    const struct rig_options options = {.abort_stops_billing = true, .body_max_bytes = 1000};
    static const char declared[] = POST AUTH "Content-Length: 1001\r\n\r\n";
    static char chunked[4000];
    rig_start(&r, &options);
    rig_exchange_raw(&r, declared, sizeof declared - 1, &a);
    assert_int_equal(a.status, 413);
    assert_true(rig_has_header(&a, "connection: close\r\n"));
    buf_deinit(&a.body);
    struct buf b = {.data = chunked, .cap = sizeof chunked, .max = sizeof chunked};
    assert_int_equal(buf_append_text(&b, POST AUTH "Transfer-Encoding: chunked\r\n\r\n7d0\r\n"), 0);
    for (int i = 0; i < 2000; i++)
        assert_int_equal(buf_append_char(&b, ' '), 0);
    rig_exchange_raw(&r, b.data, b.len, &a);
    assert_int_equal(a.status, 413);
    assert_true(str_search(buf_str(&a.body), STR("request_too_large")) >= 0);
    buf_deinit(&a.body);
    rig_stop(&r);
}

static void b10_a_head_that_drips_is_408(void **state)
{
    (void)state;
    struct rig r;
    struct rig_client c;
    const struct rig_options options = {.abort_stops_billing = true, .head_timeout_ms = 50};
    rig_start(&r, &options);
    rig_connect(&r, &c);
    rig_send(&c, "POST", 4);
    rig_until(&r, c.ended || c.broken);
    assert_true(str_starts(buf_str(&c.in), STR("HTTP/1.1 408 ")));
    rig_disconnect(&r, &c);
    rig_stop(&r);
}

static void b21_unknown_models_and_forbidden_fields_are_told_apart(void **state)
{
    (void)state;
#define SAY(model) "{\"model\":\"" model "\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}"
    const struct row rows[] = {
        {"unknown", POST AUTH, SAY("nope"), 404, "model_not_found", NULL},
        {"unknown at provider", POST AUTH, SAY("one/nope"), 404, "model_not_found", NULL},
        {"pinned", POST AUTH, SAY("small"), 200, "\"model\":\"small\"",
         "x-steelyard-policy: pinned\r\n"},
        {"at provider", POST AUTH, SAY("one/small"), 200, "\"model\":\"small\"", NULL},
        {"by its upstream name", POST AUTH, SAY("one/up-small"), 200, "\"model\":\"small\"", NULL},
        {"forbidden", POST AUTH, "{\"model\":\"auto\",\"api_base\":\"http://x\",\"messages\":[]}",
         400, "unsupported_parameter", NULL},
        {"bad json", POST AUTH, "{\"model\":", 400, "(at byte 9)", "x-should-retry: false\r\n"},
        {"bad field", POST AUTH, "{\"model\":\"auto\",\"messages\":[{\"role\":\"x\"}]}", 400,
         "\"param\":\"messages[0].role\"", NULL},
        {"all keys always", POST AUTH, "[]", 400,
         "\"type\":\"invalid_request_error\",\"param\":null,\"code\":", NULL},
    };
    CHECK(rows, 3);
}

static void b46_steering_headers_are_obeyed_refused_or_warned_about(void **state)
{
    (void)state;
    const struct row rows[] = {
        {"quality", POST AUTH "x-steelyard-quality: 1.5\r\n", ASK, 400, "x-steelyard-quality",
         NULL},
        {"quality text", POST AUTH "x-steelyard-quality: high\r\n", ASK, 400, "x-steelyard-quality",
         NULL},
        {"cost", POST AUTH "x-steelyard-max-cost-usd: -1\r\n", ASK, 400, "x-steelyard-max-cost-usd",
         NULL},
        {"cost too fine", POST AUTH "x-steelyard-max-cost-usd: 0.0000000001\r\n", ASK, 400, "error",
         NULL},
        {"policy", POST AUTH "x-steelyard-policy: a@b\r\n", ASK, 400, "x-steelyard-policy", NULL},
        {"no-log", POST AUTH "x-steelyard-no-log: maybe\r\n", ASK, 400, "x-steelyard-no-log", NULL},
        {"tags", POST AUTH "x-steelyard-tags: \"x\"=1\r\n", ASK, 400, "x-steelyard-tags", NULL},
        {"no-log not granted", POST AUTH "x-steelyard-no-log: true\r\n", ASK, 200, "hello",
         "x-steelyard-warnings: no_log_not_granted\r\n"},
        {"unknown policy", POST AUTH "x-steelyard-policy: other@3\r\n", ASK, 200, "hello",
         "x-steelyard-warnings: policy_unknown\r\n"},
        {"tags fine", POST AUTH "x-steelyard-tags: task=math, team=a\r\n", ASK, 200, "hello", NULL},
        {"a cost nobody meets", POST AUTH "x-steelyard-max-cost-usd: 0.000000001\r\n", ASK, 400,
         "Loosen", NULL},
        {"session", POST AUTH "x-steelyard-session: chat-1\r\n", ASK, 200, "hello",
         "x-steelyard-session: s1."},
        {"own id", POST AUTH "x-request-id: My.Id-1:2\r\n", ASK, 200, "hello",
         "x-request-id: My.Id-1:2\r\nrequest-id: My.Id-1:2\r\n"},
        {"odd id is replaced", POST AUTH "x-request-id: a b\r\n", ASK, 200, "hello", NULL},
    };
    CHECK(rows, 7);
}

static void lists_show_routes_and_models_of_the_key(void **state)
{
    (void)state;
    const struct row rows[] = {
        {"list", "GET /v1/models HTTP/1.1\r\nHost: x\r\n" AUTH, NULL, 200,
         "{\"object\":\"list\",\"data\":[{\"id\":\"auto\",\"object\":\"model\",\"created\":", NULL},
        {"one", "GET /v1/models/small HTTP/1.1\r\nHost: x\r\n" AUTH, NULL, 200, "{\"id\":\"small\"",
         NULL},
        {"none", "GET /v1/models/nope HTTP/1.1\r\nHost: x\r\n" AUTH, NULL, 404, "model_not_found",
         NULL},
    };
    CHECK(rows, 0);
}

/* The number behind `name` in a body, in units of 1e-9. */
static int64_t nano_in(const struct rig_answer *a, const char *name)
{
    struct str body = buf_str(&a->body);
    int64_t nano = -1;
    ptrdiff_t at = str_search(body, str_from(name));
    assert_true(at >= 0);
    size_t from = (size_t)at + strlen(name), to = from;
    while (to < body.len &&
           (body.data[to] == '.' || (body.data[to] >= '0' && body.data[to] <= '9')))
        to++;
    assert_int_equal(str_parse_fixed(str_slice(body, from, to), 9, &nano), 0);
    return nano;
}

/* What is decided with, and what is charged, are the rates of the tier that the prompt is in. */
static void prompts_above_a_tier_are_weighed_and_charged_at_its_rates(void **state)
{
    (void)state;
    static const char decision[] =
        "POST /v1/decision HTTP/1.1\r\nHost: x\r\n" AUTH "Content-Type: application/json\r\n"
        "Connection: close\r\nContent-Length: 60\r\n\r\n" ASK;
    assert_int_equal(sizeof ASK - 1, 60);
    static const struct {
        uint64_t above;
        const char *charged; /* 10 tokens in at 1 micro-dollar, 5 out at 2, or thrice that. */
        int64_t times;
    } rows[] = {{1000, "x-steelyard-cost-usd: 0.00002\r\n", 1},
                {10, "x-steelyard-cost-usd: 0.00002\r\n", 1},
                {9, "x-steelyard-cost-usd: 0.00006\r\n", 0},
                {1, "x-steelyard-cost-usd: 0.00006\r\n", 3}};
    struct rig r;
    int64_t expected = 0;
    rig_start(&r, NULL);
    for (uint64_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct rig_options o = {.tier_above = rows[i].above, .generation = i + 2};
        struct rig_answer a;
        rig_publish(&r, &o);
        rig_script(&r, 0, (struct rig_script){.reply = replies_whole()});
        rig_exchange(&r, ASK, &a);
        assert_int_equal(a.status, 200);
        assert_true(rig_has_header(&a, rows[i].charged));
        buf_deinit(&a.body);
        rig_exchange_raw(&r, decision, sizeof decision - 1, &a);
        assert_int_equal(a.status, 200);
        if (i == 0)
            expected = nano_in(&a, "\"cost_usd\":");
        if (rows[i].times != 0) /* The estimate of the prompt lies somewhere between 1 and 10. */
            assert_int_equal(nano_in(&a, "\"cost_usd\":"), expected * rows[i].times);
        buf_deinit(&a.body);
    }
    rig_stop(&r);
}

static void a_decision_names_candidates_and_calls_nobody(void **state)
{
    (void)state;
    struct rig r;
    const struct row row = {"decision",
                            "POST /v1/decision HTTP/1.1\r\nHost: x\r\n" AUTH,
                            ASK,
                            200,
                            "\"chosen\":\"small\"",
                            "x-steelyard-decision-id: "};
    const struct row candidates = {"decision",
                                   "POST /openai/v1/decision HTTP/1.1\r\nHost: x\r\n" AUTH,
                                   ASK,
                                   200,
                                   "\"probability\":1,\"excluded\":[]",
                                   NULL};
    rig_start(&r, NULL);
    check(&r, &row);
    check(&r, &candidates);
    assert_int_equal(r.providers[0].requests + r.providers[1].requests, 0);
    assert_int_equal(rig_records(&r), 2);
    rig_stop(&r);
}

#define VOTE "POST /v1/feedback HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n" AUTH

static void b31_feedback_is_checked_and_counted_once(void **state)
{
    (void)state;
    struct rig r;
    struct rig_answer a;
    char body[256], own[UUID_TEXT_BYTES], foreign[UUID_TEXT_BYTES];
    const struct siphash_key key = {0x0303030303030303, 0x0303030303030303};
    struct uuid id = uuid_v7_signed(1000000, 78, key);
    uuid_format(&id, foreign);
    rig_start(&r, NULL);
    rig_script(&r, 0, (struct rig_script){.reply = OK_REPLY});
    rig_exchange(&r, ASK, &a);
    ptrdiff_t at = str_search(a.head, STR("x-steelyard-decision-id: "));
    assert_true(at >= 0);
    assert_true(
        str_copy(str_slice(a.head, (size_t)at + 25, (size_t)at + 25 + 36), own, sizeof own));
    buf_deinit(&a.body);
    const struct {
        const char *format, *id;
        unsigned status;
    } rows[] = {
        {"{\"decision_id\":\"%s\",\"score\":1.1}", own, 400},
        {"{\"decision_id\":\"%s\",\"score\":-0.1}", own, 400},
        {"{\"decision_id\":\"%s\",\"score\":NaN}", own, 400},
        {"{\"decision_id\":\"%s\"}", own, 400},
        {"{\"decision_id\":\"%s\",\"score\":1,\"odd\":1}", own, 400},
        {"{\"decision_id\":\"%s\",\"score\":1,\"source\":\"me\"}", own, 400},
        {"{\"decision_id\":\"%s\",\"score\":1}", foreign, 404},
        {"{\"decision_id\":\"%s\",\"score\":1}", "01890a5d-ac96-774b-bcce-b302099a8057", 404},
        {"{\"decision_id\":\"%s\",\"score\":1}", "x", 404},
        {"{\"decision_id\":\"%s\",\"score\":0.75,\"comment\":\"ok\"}", own, 200},
        {"{\"request_id\":\"%s\",\"label\":\"good\"}", own, 409},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct buf b = {.data = body, .cap = sizeof body, .max = sizeof body};
        const char *cut = strstr(rows[i].format, "%s");
        assert_int_equal(buf_append(&b, rows[i].format, (size_t)(cut - rows[i].format)), 0);
        assert_int_equal(buf_append_text(&b, rows[i].id), 0);
        assert_int_equal(buf_append(&b, cut + 2, strlen(cut + 2) + 1), 0);
        const struct row row = {body, VOTE, body, rows[i].status, NULL, NULL};
        check(&r, &row);
    }
    assert_int_equal(rig_records(&r), 2); /* The decision and one vote. */
    rig_stop(&r);
}

struct votes {
    uint32_t label_prob[16];
    size_t count;
};

static void keep_vote(const Steelyard__Telemetry__V1__Feedback *vote, void *arg)
{
    struct votes *votes = arg;
    assert_true(votes->count < sizeof votes->label_prob / sizeof votes->label_prob[0]);
    votes->label_prob[votes->count++] = vote->label_prob;
}

/* A decision of its own for each, as a second vote on one is refused. */
static void vote_with(struct rig *r, const char *chance, unsigned status)
{
    struct rig_answer a;
    char body[256];
    struct buf b = {.data = body, .cap = sizeof body, .max = sizeof body};
    rig_exchange(r, ASK, &a);
    ptrdiff_t at = str_search(a.head, STR("x-steelyard-decision-id: "));
    assert_true(at >= 0);
    struct str id = str_slice(a.head, (size_t)at + 25, (size_t)at + 25 + 36);
    assert_int_equal(buf_printf(&b, "{\"decision_id\":\"%.*s\",\"score\":1%s%s}", STR_ARG(id),
                                chance != NULL ? ",\"label_prob\":" : "",
                                chance != NULL ? chance : ""),
                     0);
    buf_deinit(&a.body);
    const struct row row = {chance != NULL ? chance : "absent",  VOTE, buf_cstr(&b), status,
                            status == 400 ? "label_prob" : NULL, NULL};
    check(r, &row);
}

static void the_chance_of_a_label_is_above_nothing_and_at_most_1(void **state)
{
    (void)state;
    static const char *const bad[] = {"0",     "0.0",   "-0.5",        "-1e-9",
                                      "1.1",   "2",     "1.000000001", "1.0000000001",
                                      "1e-10", "1e300", "-0",          "\"0.5\"",
                                      "true",  "[0.5]", "{}",          "0.1234567890123456789"};
    struct rig r;
    struct votes votes = {0};
    rig_start(&r, NULL);
    rig_script(&r, 0, (struct rig_script){.reply = OK_REPLY});
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        vote_with(&r, bad[i], 400);
    assert_int_equal(rig_records(&r), sizeof bad / sizeof bad[0]); /* The decisions alone. */
    r.on_vote = keep_vote;
    r.on_row_arg = &votes;
    rig_stop(&r);
    assert_int_equal(votes.count, 0);
}

static void the_chance_of_a_label_is_recorded_to_a_billionth(void **state)
{
    (void)state;
    /* In parts of 2^32, cut; 0: always. */
    static const struct {
        const char *text;
        uint32_t label_prob;
    } rows[] = {
        {NULL, 0},
        {"null", 0},
        {"1", 0},
        {"1.000000000000", 0},
        {"10e-1", 0},
        {"0.5", 1U << 31},
        {"5e-1", 1U << 31},
        {"0.25", 1U << 30},
        {"0.2", 858993459},
        {"0.999999999", 4294967291},
        {"0.9999999999", 4294967291},
        {"0.000000001", 4},
        {"1e-9", 4},
        {"0.014285714285714285", 61356674}, /* As languages write 1 / 70. */
    };
    struct rig r;
    struct votes votes = {0};
    const size_t count = sizeof rows / sizeof rows[0];
    rig_start(&r, NULL);
    rig_script(&r, 0, (struct rig_script){.reply = OK_REPLY});
    for (size_t i = 0; i < count; i++)
        vote_with(&r, rows[i].text, 200);
    r.on_vote = keep_vote;
    r.on_row_arg = &votes;
    rig_stop(&r);
    assert_int_equal(votes.count, count);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(votes.label_prob[i], rows[i].label_prob);
}

static void without_a_configuration_everything_is_503(void **state)
{
    (void)state;
    struct rig r;
    struct rig_answer a;
    const struct rig_options options = {.without_snapshot = true};
    rig_start(&r, &options);
    rig_exchange(&r, ASK, &a);
    assert_int_equal(a.status, 503);
    assert_true(rig_has_header(&a, "retry-after-ms: 200\r\n"));
    assert_true(rig_has_header(&a, "x-should-retry: true\r\n"));
    buf_deinit(&a.body);
    rig_stop(&r);
}

/* Any split of a request is the same request. */
static void b9_a_request_split_anywhere_is_the_same(void **state)
{
    (void)state;
    struct rig r;
    static const char request[] =
        POST AUTH "Transfer-Encoding: chunked\r\n\r\n"
                  "5\r\n{\"mod\r\n31;x=y\r\nel\":\"auto\",\"messages\":[{\"role\":\"user\","
                  "\"content\":\"\r\n6\r\nhi\"}]}\r\n0\r\n\r\n";
    rig_start(&r, NULL);
    rig_script(&r, 0, (struct rig_script){.reply = OK_REPLY});
    for (size_t cut = 1; cut < sizeof request - 1; cut++) {
        struct rig_client c;
        struct rig_answer a;
        rig_connect(&r, &c);
        rig_send(&c, request, cut);
        rig_turn(&r);
        rig_send(&c, request + cut, sizeof request - 1 - cut);
        rig_until(&r, rig_answered(&c) || c.ended);
        rig_answer_read(&c, &a);
        assert_int_equal(a.status, 200);
        assert_true(str_search(buf_str(&r.providers[0].last),
                               STR("\r\n\r\n{\"model\":\"up-small\",\"messages\"")) > 0);
        buf_deinit(&a.body);
        rig_disconnect(&r, &c);
    }
    rig_stop(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(b23_every_wrong_credential_gets_the_same_401),
        cmocka_unit_test(b23_a_revoked_key_stops_with_the_next_request),
        cmocka_unit_test(b6_b7_paths_and_methods_match_exactly),
        cmocka_unit_test(b6_a_path_after_the_same_one_matches_no_less_exactly),
        cmocka_unit_test(b8_b12_expectations_and_media_types_are_understood_or_refused),
        cmocka_unit_test(b8_100_continue_comes_only_after_authentication),
        cmocka_unit_test(b4_a_body_over_the_limit_is_413),
        cmocka_unit_test(b10_a_head_that_drips_is_408),
        cmocka_unit_test(b21_unknown_models_and_forbidden_fields_are_told_apart),
        cmocka_unit_test(b46_steering_headers_are_obeyed_refused_or_warned_about),
        cmocka_unit_test(lists_show_routes_and_models_of_the_key),
        cmocka_unit_test(prompts_above_a_tier_are_weighed_and_charged_at_its_rates),
        cmocka_unit_test(a_decision_names_candidates_and_calls_nobody),
        cmocka_unit_test(b31_feedback_is_checked_and_counted_once),
        cmocka_unit_test(the_chance_of_a_label_is_above_nothing_and_at_most_1),
        cmocka_unit_test(the_chance_of_a_label_is_recorded_to_a_billionth),
        cmocka_unit_test(a_key_is_held_to_its_endpoints_models_and_cost),
        cmocka_unit_test(without_a_configuration_everything_is_503),
        cmocka_unit_test(b9_a_request_split_anywhere_is_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
