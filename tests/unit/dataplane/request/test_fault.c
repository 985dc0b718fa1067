#include "dataplane/request/fault.h"

#include "common/json/json.h"
#include "tests/lib/fault.h"

static void every_error_is_json_with_all_four_keys(void **state)
{
    (void)state;
    struct json j;
    struct buf out;
    json_init(&j, 100);
    buf_init(&out, 4096);
    for (int f = FAULT_NONE + 1; f < FAULT_COUNT; f++) {
        struct fault_detail detail = FAULT_DETAIL_NONE;
        if (f % 2 == 0)
            detail = (struct fault_detail){.param = STR("a[1].b"), .offset = 7, .wait_ms = -1};
        buf_clear(&out);
        assert_int_equal(fault_write_json((enum fault)f, &detail, &out), 0);
        assert_int_equal(json_parse(&j, buf_str(&out), NULL), 0);
        uint32_t error = json_get(&j, JSON_ROOT, STR("error"));
        assert_int_equal(json_count(&j, error), 4);
        assert_true(json_text_length(&j, json_get(&j, error, STR("message"))) > 20);
        assert_true(json_text_length(&j, json_get(&j, error, STR("type"))) > 0);
        assert_true(json_text_length(&j, json_get(&j, error, STR("code"))) > 0);
        assert_int_equal(json_kind(&j, json_get(&j, error, STR("param"))),
                         f % 2 == 0 ? JSON_STRING : JSON_NULL);
    }
    json_deinit(&j);
    buf_deinit(&out);
}

static void statuses_and_advice_are_those_of_the_interface(void **state)
{
    (void)state;
    static const struct {
        enum fault fault;
        unsigned status;
        const char *code;
        int64_t wait_ms;
        bool retry;
    } rows[] = {
        {FAULT_BAD_JSON, 400, "invalid_value", -1, false},
        {FAULT_FORBIDDEN_FIELD, 400, "unsupported_parameter", -1, false},
        {FAULT_CONTEXT_LENGTH, 400, "context_length_exceeded", -1, false},
        {FAULT_NO_KEY, 401, "invalid_api_key", -1, false},
        {FAULT_MODEL_NOT_FOUND, 404, "model_not_found", -1, false},
        {FAULT_TOO_LARGE, 413, "request_too_large", -1, false},
        {FAULT_UPSTREAM_RATE_LIMITED, 429, "rate_limit_exceeded", 5, true},
        {FAULT_UPSTREAM_FAILED, 502, "upstream_error", -1, false},
        {FAULT_UPSTREAM_AUTH, 502, "upstream_auth", -1, false},
        {FAULT_NO_UPSTREAM, 503, "no_healthy_upstream", 60000, true},
        {FAULT_NO_UPSTREAM, 503, "no_healthy_upstream", 60001, false},
        {FAULT_NO_UPSTREAM, 503, "no_healthy_upstream", -1, false},
        {FAULT_TIMEOUT, 504, "timeout", -1, false},
        {FAULT_UNAVAILABLE, 503, "unavailable", -1, true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct fault_row *row = fault_get(rows[i].fault);
        assert_int_equal(row->status, rows[i].status);
        assert_string_equal(row->code, rows[i].code);
        assert_int_equal(fault_should_retry(rows[i].fault, rows[i].wait_ms), rows[i].retry);
    }
}

/* ... and but the one that is over when another request is. */
static void b46_no_4xx_but_rate_limits_says_try_again(void **state)
{
    (void)state;
    for (int f = FAULT_NONE + 1; f < FAULT_COUNT; f++) {
        unsigned status = fault_get((enum fault)f)->status;
        if (status < 500 && status != 429 && f != FAULT_IDEMPOTENCY_RUNNING)
            assert_false(fault_should_retry((enum fault)f, 0));
    }
}

static void f30_writing_an_error_survives_each_failed_allocation(void **state)
{
    (void)state;
    bool fired = true;
    for (unsigned n = 0; fired; n++) {
        struct buf out;
        buf_init(&out, 4096);
        fault_arm_alloc(n);
        int rc = fault_write_json(FAULT_NO_KEY, &FAULT_DETAIL_NONE, &out);
        fired = fault_disarm();
        assert_true((rc == 0) == !fired);
        buf_deinit(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_error_is_json_with_all_four_keys),
        cmocka_unit_test(statuses_and_advice_are_those_of_the_interface),
        cmocka_unit_test(b46_no_4xx_but_rate_limits_says_try_again),
        cmocka_unit_test(f30_writing_an_error_survives_each_failed_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
