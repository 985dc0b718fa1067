#include "dataplane/request/dialect.h"

#include <string.h>

#include "common/json/json.h"
#include "tests/lib/fault.h"

struct fixture {
    struct json json;
    struct buf out;
    struct fault_detail detail;
    struct responses_seen seen;
};

static int set_up(void **state)
{
    static struct fixture f;
    json_init(&f.json, 200);
    buf_init(&f.out, 16384);
    f.detail = FAULT_DETAIL_NONE;
    f.seen = (struct responses_seen){.next = 7};
    *state = &f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    json_deinit(&f->json);
    buf_deinit(&f->out);
    return 0;
}

static struct dialect_error error_of(const struct fixture *f, enum fault fault)
{
    return (struct dialect_error){
        .fault = fault,
        .detail = &f->detail,
        .request_id = STR("req-1"),
        .answer_id = STR("0190"),
        .model = STR("m\"1"),
        .seen = &f->seen,
    };
}

static bool says(const struct json *j, uint32_t node, const char *name, const char *value)
{
    return json_string_is(j, json_get(j, node, str_from(name)), str_from(value));
}

static void statuses_and_types_for_anthropic_callers_are_those_of_the_interface(void **state)
{
    (void)state;
    static const struct {
        enum fault fault;
        unsigned status;
        const char *type;
    } rows[] = {
        {FAULT_BAD_JSON, 400, "invalid_request_error"},
        {FAULT_CONTEXT_LENGTH, 400, "invalid_request_error"},
        {FAULT_CONTENT_POLICY, 400, "invalid_request_error"},
        {FAULT_NO_KEY, 401, "authentication_error"},
        {FAULT_MODEL_NOT_FOUND, 404, "not_found_error"},
        {FAULT_NOT_FOUND, 404, "not_found_error"},
        {FAULT_TOO_LARGE, 413, "request_too_large"},
        {FAULT_TOO_MANY_REQUESTS, 429, "rate_limit_error"},
        {FAULT_UPSTREAM_RATE_LIMITED, 429, "rate_limit_error"},
        {FAULT_BUDGET_SPENT, 402, "billing_error"},
        {FAULT_UPSTREAM_FAILED, 502, "api_error"},
        {FAULT_NO_UPSTREAM, 529, "overloaded_error"},
        {FAULT_TIMEOUT, 504, "timeout_error"},
        {FAULT_UNAVAILABLE, 503, "overloaded_error"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(dialect_status(DIALECT_ANTHROPIC, rows[i].fault), rows[i].status);
        assert_string_equal(dialect_anthropic_type(rows[i].fault), rows[i].type);
        assert_int_equal(dialect_status(DIALECT_RESPONSES, rows[i].fault),
                         fault_get(rows[i].fault)->status);
    }
}

static void every_error_is_json_in_every_dialect(void **state)
{
    struct fixture *f = *state;
    for (int k = FAULT_NONE + 1; k < FAULT_COUNT; k++) {
        for (int d = 0; d < DIALECT_CALLERS; d++) {
            f->detail.param = k % 2 == 0 ? STR("a[1].b") : STR_NULL;
            f->detail.said = k % 3 == 0 ? STR("no \"such\" \n thing") : STR_NULL;
            const struct dialect_error e = error_of(f, (enum fault)k);
            buf_clear(&f->out);
            assert_int_equal(dialect_write_error((enum dialect)d, &e, &f->out), 0);
            assert_int_equal(json_parse(&f->json, buf_str(&f->out), NULL), 0);
            uint32_t error = json_get(&f->json, JSON_ROOT, STR("error"));
            assert_true(json_text_length(&f->json, json_get(&f->json, error, STR("message"))) > 10);
            if (d != DIALECT_ANTHROPIC) {
                assert_int_equal(json_count(&f->json, error), 4);
                continue;
            }
            assert_true(says(&f->json, JSON_ROOT, "type", "error"));
            assert_true(says(&f->json, JSON_ROOT, "request_id", "req-1"));
            assert_true(says(&f->json, json_get(&f->json, error, STR("details")), "error_code",
                             fault_get((enum fault)k)->code));
        }
    }
}

static void clients_find_the_words_they_recover_by(void **state)
{
    struct fixture *f = *state;
    f->detail.param = STR("n");
    struct dialect_error e = error_of(f, FAULT_CAPABILITY);
    assert_int_equal(dialect_write_error(DIALECT_ANTHROPIC, &e, &f->out), 0);
    assert_true(str_find(buf_str(&f->out), '"') >= 0);
    assert_non_null(strstr(buf_cstr(&f->out), "\"message\":\"capability_rejected: n: "));
    buf_clear(&f->out);
    f->detail.param = STR_NULL;
    e = error_of(f, FAULT_CONTEXT_LENGTH);
    assert_int_equal(dialect_write_error(DIALECT_ANTHROPIC, &e, &f->out), 0);
    assert_non_null(strstr(buf_cstr(&f->out), "\"message\":\"prompt is too long: "));
    buf_clear(&f->out);
    f->detail.said = STR("the vendor's words");
    assert_int_equal(dialect_write_error(DIALECT_OPENAI, &e, &f->out), 0);
    assert_non_null(
        strstr(buf_cstr(&f->out), "\"message\":\"context_length_exceeded: the vendor's words\""));
    buf_clear(&f->out);
    f->detail.said = STR("Input is too long for requested model.");
    assert_int_equal(dialect_write_error(DIALECT_ANTHROPIC, &e, &f->out), 0);
    assert_non_null(strstr(buf_cstr(&f->out), "\"prompt is too long: Input is too long for req"));
    buf_clear(&f->out);
    f->detail.said = STR("prompt is too long: 9 tokens > 8 maximum");
    assert_int_equal(dialect_write_error(DIALECT_ANTHROPIC, &e, &f->out), 0);
    assert_non_null(strstr(buf_cstr(&f->out), "\"message\":\"prompt is too long: 9 tokens"));
}

static void a_broken_stream_ends_as_its_dialect_says(void **state)
{
    struct fixture *f = *state;
    const struct dialect_error e = error_of(f, FAULT_UPSTREAM_FAILED);
    static const char *const begins[] = {"data: {\"error\":", "event: response.failed\ndata: {",
                                         "event: error\ndata: {"};
    for (int d = 0; d < DIALECT_CALLERS; d++) {
        buf_clear(&f->out);
        assert_int_equal(dialect_write_error_event((enum dialect)d, &e, &f->out), 0);
        struct str text = buf_str(&f->out);
        assert_true(str_starts(text, str_from(begins[d])));
        assert_memory_equal(text.data + text.len - 3, "}\n\n", 3);
        const char *data = strstr(buf_cstr(&f->out), "data: ") + 6;
        struct str body = {data, (size_t)(text.data + text.len - 2 - data)};
        assert_int_equal(json_parse(&f->json, body, NULL), 0);
        if (d != DIALECT_RESPONSES)
            continue;
        uint32_t response = json_get(&f->json, JSON_ROOT, STR("response"));
        assert_true(says(&f->json, JSON_ROOT, "type", "response.failed"));
        assert_true(says(&f->json, response, "status", "failed"));
        assert_true(says(&f->json, response, "id", "0190"));
        assert_non_null(strstr(data, "\"sequence_number\":7,"));
    }
}

static void the_next_number_follows_the_last_that_is_no_text(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        uint64_t next;
    } rows[] = {
        {"", 5},
        {"data: {}", 5},
        {"data: {\"sequence_number\":0}\n\n", 1},
        {"data: {\"sequence_number\": 11}\n\ndata: {\"sequence_number\":12,\"x\":1}\n\n", 13},
        {"data: {\"sequence_number\":3,\"delta\":\"\\\"sequence_number\\\":90\"}\n\n", 4},
        {"data: {\"sequence_number\":\"no\"}", 5},
        {"\"sequence_number\":", 5},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_int_equal(dialect_next_sequence(str_from(rows[i].bytes), 5), rows[i].next);
}

static enum dialect dialect_of(const char *text)
{
    struct http1_head head;
    http1_request_init(&head);
    assert_int_equal(http1_head_parse(&head, text, strlen(text)), HTTP1_DONE);
    return dialect_of_head(&head);
}

static void a_path_that_says_nothing_is_answered_by_its_prefix_or_its_headers(void **state)
{
    (void)state;
    assert_int_equal(dialect_of("GET /anthropic/v1/x HTTP/1.1\r\nhost: a\r\n\r\n"),
                     DIALECT_ANTHROPIC);
    assert_int_equal(dialect_of("GET /v1/messages/batches HTTP/1.1\r\nhost: a\r\n\r\n"),
                     DIALECT_ANTHROPIC);
    assert_int_equal(
        dialect_of("GET /openai/v1/models HTTP/1.1\r\nhost: a\r\nanthropic-version: 1\r\n\r\n"),
        DIALECT_OPENAI);
    assert_int_equal(
        dialect_of("GET /v1/models HTTP/1.1\r\nhost: a\r\nanthropic-version: 1\r\n\r\n"),
        DIALECT_ANTHROPIC);
    assert_int_equal(dialect_of("GET /v1/models HTTP/1.1\r\nhost: a\r\n\r\n"), DIALECT_OPENAI);
}

static void f30_an_error_event_survives_each_failed_allocation(void **state)
{
    struct fixture *f = *state;
    const struct dialect_error e = error_of(f, FAULT_NO_KEY);
    bool fired = true;
    for (unsigned n = 0; fired; n++) {
        struct buf out;
        buf_init(&out, 4096);
        fault_arm_alloc(n);
        int rc = dialect_write_error_event(DIALECT_RESPONSES, &e, &out);
        fired = fault_disarm();
        assert_true((rc == 0) == !fired);
        buf_deinit(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(statuses_and_types_for_anthropic_callers_are_those_of_the_interface),
        cmocka_unit_test_setup_teardown(every_error_is_json_in_every_dialect, set_up, tear_down),
        cmocka_unit_test_setup_teardown(clients_find_the_words_they_recover_by, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_broken_stream_ends_as_its_dialect_says, set_up,
                                        tear_down),
        cmocka_unit_test(the_next_number_follows_the_last_that_is_no_text),
        cmocka_unit_test(a_path_that_says_nothing_is_answered_by_its_prefix_or_its_headers),
        cmocka_unit_test_setup_teardown(f30_an_error_event_survives_each_failed_allocation, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
