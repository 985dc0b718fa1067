/* What a Messages provider answers, as events. */
#include <string.h>

#include "tests/unit/dataplane/translate/tr_kit.h"

#define EVENT(name, rest) "event: " name "\ndata: {\"type\":\"" name "\"" rest "}\n\n"

static const char stream[] = EVENT(
    "message_start",
    ",\"message\":{\"id\":\"msg_1\",\"model\":\"claude\",\"usage\":{\"input_tokens\":4,"
    "\"cache_creation_input_tokens\":30,\"cache_read_input_tokens\":200,\"output_tokens\":1}}")
    EVENT("ping", "") EVENT("content_block_start",
                            ",\"index\":0,\"content_block\":{\"type\":"
                            "\"thinking\",\"thinking\":\"\",\"signature\":"
                            "\"\"}") EVENT("content_block_delta",
                                           ",\"index\":0,\"delta\":{\"type\":\"thinking_delta\","
                                           "\"thinking\":\"h\\nm\"}")
        EVENT("content_block_delta", ",\"index\":0,\"delta\":{\"type\":\"signature_delta\","
                                     "\"signature\":\"c2ln\"}") EVENT(
            "content_block_stop",
            ",\"index\":0") EVENT("content_block_start",
                                  ",\"index\":1,\"content_block\":{\"type\":\"redacted_thinking\","
                                  "\"data\":\"eA\"}") EVENT("content_block_stop", ",\"index\":1")
            EVENT("content_block_start",
                  ",\"index\":2,\"content_block\":{\"type\":\"text\",\"text\":\"\"}")
                EVENT("content_block_delta", ",\"index\":2,\"delta\":{\"type\":\"text_delta\","
                                             "\"text\":\"\xc3\xa9\\ud83d\\ude00\"}")
                    EVENT("content_block_delta",
                          ",\"index\":2,\"delta\":{\"type\":\"citations_delta\",\"citation\":{}}")
                        EVENT("content_block_stop", ",\"index\":2") EVENT(
                            "content_block_start",
                            ",\"index\":3,\"content_block\":{\"type\":\"server_tool_use\","
                            "\"id\":\"s\",\"name\":\"web_search\",\"input\":{}}")
                            EVENT("content_block_delta", ",\"index\":3,\"delta\":{\"type\":\"input_"
                                                         "json_delta\",\"partial_json\":\"{}\"}")
                                EVENT("content_block_stop", ",\"index\":3") EVENT(
                                    "content_block_start",
                                    ",\"index\":4,\"content_block\":{\"type\":\"tool_use\",\"id\":"
                                    "\"t1\",\"name\":\"f\",\"input\":{}}")
                                    EVENT("content_block_delta",
                                          ",\"index\":4,\"delta\":{\"type\":\"input_json_delta\","
                                          "\"partial_json\":\"\"}")
                                        EVENT("content_block_delta",
                                              ",\"index\":4,\"delta\":{\"type\":\"input_json_"
                                              "delta\",\"partial_json\":\"{\\\"a\\\":1}\"}")
                                            EVENT("content_block_stop", ",\"index\":4") EVENT(
                                                "content_block_start",
                                                ",\"index\":5,\"content_block\":{\"type\":\"tool_"
                                                "use\",\"id\":"
                                                "\"t2\",\"name\":\"g\",\"input\":{\"b\":2}}")
                                                EVENT("content_block_stop", ",\"index\":5")
                                                    EVENT("of_a_later_version", ",\"x\":1") EVENT(
                                                        "message_delta",
                                                        ",\"delta\":{\"stop_reason\":\"tool_use\","
                                                        "\"stop_sequence\":null},\"usage\":{"
                                                        "\"output_tokens\":11,\"output_tokens_"
                                                        "details\":{\"thinking_tokens\":3}}")
                                                        EVENT("message_stop", "");

static const char lines[] =
    "start msg_1 claude\nping\nreasoning h\nm\nseal c2ln\npart_end\nredacted eA\n"
    "text \xc3\xa9\xf0\x9f\x98\x80\npart_end\ncall 0 t1 f\narguments 0 {\"a\":1}\npart_end\n"
    "call 1 t2 g\narguments 1 {\"b\":2}\npart_end\nfinish tool_calls tool_use\n"
    "usage in 234 out 11 cached 200 written 30 reasoning 3\ndone\n";

static void a_stream_says_the_same_wherever_it_is_cut(void **state)
{
    struct tr_kit *kit = *state;
    for (size_t at = 0; at <= sizeof stream - 1; at++) {
        tr_kit_reset(kit);
        assert_int_equal(
            tr_kit_stream_cut(kit, DIALECT_ANTHROPIC, (struct str){stream, sizeof stream - 1}, at),
            0);
        assert_string_equal(tr_kit_log(kit), lines);
    }
    for (size_t step = 1; step < 20; step++) {
        tr_kit_reset(kit);
        assert_int_equal(
            tr_kit_stream(kit, DIALECT_ANTHROPIC, (struct str){stream, sizeof stream - 1}, step),
            0);
        assert_string_equal(tr_kit_log(kit), lines);
    }
}

static void t11_a_stream_without_its_end_is_not_done(void **state)
{
    struct tr_kit *kit = *state;
    struct str cut = str_slice((struct str){stream, sizeof stream - 1}, 0, sizeof stream - 60);
    assert_int_equal(tr_kit_stream(kit, DIALECT_ANTHROPIC, cut, 0), 0);
    assert_null(strstr(tr_kit_log(kit), "done"));
}

static void t09_t10_errors_and_refusals_in_a_stream(void **state)
{
    static const struct {
        const char *text;
        const char *log;
    } rows[] = {
        {EVENT("error", ",\"error\":{\"type\":\"overloaded_error\",\"message\":\"busy\"}"),
         "error 8 busy (overloaded_error)\n"},
        {EVENT("error", ",\"error\":{\"type\":\"rate_limit_error\",\"message\":\"m\",\"details\":{"
                        "\"error_code\":\"workspace_spend_limit_reached\"}}"),
         "error 7 m (workspace_spend_limit_reached)\n"},
        {EVENT("error", ",\"error\":{}"), "error 10  ()\n"},
        {EVENT("message_delta", ",\"delta\":{\"stop_reason\":\"refusal\",\"stop_details\":{}},"
                                "\"usage\":{\"output_tokens\":0}"),
         "finish content_filter refusal\nusage in 0 out 0 cached 0 written 0 reasoning 0\n"},
        {EVENT("message_delta", ",\"delta\":{\"stop_reason\":\"stop_sequence\",\"stop_sequence\":"
                                "\"END\"}"),
         "finish stop stop_sequence at END\n"},
    };
    struct tr_kit *kit = *state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        tr_kit_reset(kit);
        assert_int_equal(tr_kit_stream(kit, DIALECT_ANTHROPIC, str_from(rows[i].text), 0), 0);
        assert_string_equal(tr_kit_log(kit), rows[i].log);
    }
}

static void b37_what_is_no_event_is_told(void **state)
{
    static const char *const bad[] = {"data: [DONE]\n\n", "data: {}\n\n", "data: 1\n\n",
                                      "data: {\"type\":\"message_start\"}\n\n",
                                      "data: {\"type\":\"ping\"\n\n"};
    struct tr_kit *kit = *state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(tr_kit_stream(kit, DIALECT_ANTHROPIC, str_from(bad[i]), 0), ERR_PROTOCOL);
}

#define WHOLE                                                                                      \
    "{\"id\":\"msg_1\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"claude\","          \
    "\"content\":[{\"type\":\"thinking\",\"thinking\":\"hm\",\"signature\":\"c2ln\"},{\"type\":"   \
    "\"text\",\"text\":\"h\\ti\"},{\"type\":\"tool_use\",\"id\":\"t\",\"name\":\"f\",\"input\":"   \
    "{}}],\"stop_reason\":\"tool_use\",\"stop_sequence\":null,\"usage\":{\"input_tokens\":5,"      \
    "\"output_tokens\":2}}"

static void a_whole_reply_says_the_same_as_a_stream(void **state)
{
    struct tr_kit *kit = *state;
    assert_int_equal(tr_kit_reply(kit, DIALECT_ANTHROPIC, WHOLE), 0);
    assert_string_equal(tr_kit_log(kit),
                        "start msg_1 claude\nreasoning hm\nseal c2ln\npart_end\ntext h\ti\n"
                        "part_end\ncall 0 t f\npart_end\nfinish tool_calls tool_use\n"
                        "usage in 5 out 2 cached 0 written 0 reasoning 0\ndone\n");
}

static void what_is_no_message_is_no_reply(void **state)
{
    static const char *const bad[] = {"", "{}", "[]", "{\"type\":\"message\"}", "<html>"};
    struct tr_kit *kit = *state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(tr_kit_reply(kit, DIALECT_ANTHROPIC, bad[i]), ERR_PROTOCOL);
}

static void t10_an_error_under_200_is_told_as_one(void **state)
{
    struct tr_kit *kit = *state;
    assert_int_equal(tr_kit_reply(kit, DIALECT_ANTHROPIC,
                                  "{\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\","
                                  "\"message\":\"Overloaded\"}}"),
                     0);
    assert_true(str_starts(str_from(tr_kit_log(kit)), STR("error ")));
}

#define ERROR(type, message)                                                                       \
    "{\"type\":\"error\",\"error\":{\"type\":\"" type "\",\"message\":\"" message                  \
    "\"},\"request_id\":\"r\"}"

static void t16_errors_are_of_their_kind(void **state)
{
    static const struct {
        unsigned status;
        const char *body;
        enum tr_error_kind kind;
    } rows[] = {
        {400, ERROR("invalid_request_error", "no"), TR_ERROR_INVALID_REQUEST},
        {400, ERROR("invalid_request_error", "prompt is too long: 2 > 1"), TR_ERROR_CONTEXT_LENGTH},
        {413, ERROR("request_too_large", "x"), TR_ERROR_CONTEXT_LENGTH},
        {400, ERROR("invalid_request_error", "Output blocked by content filtering policy"),
         TR_ERROR_CONTENT_POLICY},
        {400, ERROR("invalid_request_error", "Your credit balance is too low"), TR_ERROR_QUOTA},
        {401, ERROR("authentication_error", "x"), TR_ERROR_AUTHENTICATION},
        {402, ERROR("billing_error", "x"), TR_ERROR_QUOTA},
        {403, ERROR("permission_error", "x"), TR_ERROR_PERMISSION},
        {404, ERROR("not_found_error", "x"), TR_ERROR_NOT_FOUND},
        {409, ERROR("conflict_error", "x"), TR_ERROR_UPSTREAM},
        {429, ERROR("rate_limit_error", "x"), TR_ERROR_RATE_LIMITED},
        {429,
         "{\"error\":{\"type\":\"rate_limit_error\",\"details\":{\"error_code\":"
         "\"organization_spend_limit_reached\"}}}",
         TR_ERROR_QUOTA},
        {500, ERROR("api_error", "x"), TR_ERROR_UPSTREAM},
        {504, ERROR("timeout_error", "x"), TR_ERROR_TIMEOUT},
        {529, ERROR("overloaded_error", "x"), TR_ERROR_OVERLOADED},
        {529, "<html>busy</html>", TR_ERROR_OVERLOADED},
        {502, "", TR_ERROR_UPSTREAM},
        {418, "{}", TR_ERROR_INVALID_REQUEST},
    };
    struct tr_kit *kit = *state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct tr_error e = tr_kit_error(kit, DIALECT_ANTHROPIC, rows[i].status, rows[i].body);
        assert_int_equal(e.kind, rows[i].kind);
        assert_int_equal(e.wait_ms, -1);
        assert_true(e.message.len == 0 || rows[i].body[0] == '{');
    }
}

static void a_message_is_cut_between_characters(void **state)
{
    char body[4096];
    struct buf b = {.data = body, .cap = sizeof body, .max = sizeof body};
    assert_int_equal(buf_append_text(&b, "{\"error\":{\"message\":\"x"), 0);
    for (int i = 0; i < 600; i++)
        assert_int_equal(buf_append_text(&b, "\xc3\xa9"), 0);
    assert_int_equal(buf_append(&b, "\"}}", 4), 0);
    struct tr_error e = tr_kit_error(*state, DIALECT_ANTHROPIC, 400, body);
    assert_int_equal(e.message.len, 1023);
    assert_true(str_valid_utf8(e.message));
}

static void every_failed_allocation_is_told(void **state)
{
    struct tr_kit *kit = *state;
    bool fired = true;
    for (unsigned n = 0; fired; n++) {
        tr_kit_teardown(state);
        tr_kit_setup(state);
        fault_arm_alloc(n);
        int rc = tr_kit_stream(kit, DIALECT_ANTHROPIC, (struct str){stream, sizeof stream - 1}, 64);
        if (rc == 0)
            rc = tr_kit_reply(kit, DIALECT_ANTHROPIC, WHOLE);
        fired = fault_disarm();
        assert_int_equal(rc, fired ? ERR_NOMEM : 0);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, tr_kit_setup, tr_kit_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_stream_says_the_same_wherever_it_is_cut),
        TEST(t11_a_stream_without_its_end_is_not_done),
        TEST(t09_t10_errors_and_refusals_in_a_stream),
        TEST(b37_what_is_no_event_is_told),
        TEST(a_whole_reply_says_the_same_as_a_stream),
        TEST(what_is_no_message_is_no_reply),
        TEST(t10_an_error_under_200_is_told_as_one),
        TEST(t16_errors_are_of_their_kind),
        TEST(a_message_is_cut_between_characters),
        TEST(every_failed_allocation_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
