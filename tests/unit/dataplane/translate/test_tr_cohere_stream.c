/* What Cohere's v2 chat answers, as events. */
#include <string.h>

#include "tests/unit/dataplane/translate/tr_kit.h"

#define EVENT(name, rest) "event: " name "\ndata: {\"type\":\"" name "\"" rest "}\n\n"
#define DELTA(name, rest) EVENT(name, ",\"index\":0,\"delta\":{\"message\":{" rest "}}")
#define START                                                                                      \
    EVENT("message-start", ",\"id\":\"c1\",\"delta\":{\"message\":{\"role\":\"assistant\"}}")
#define CALL(id, name)                                                                             \
    DELTA("tool-call-start",                                                                       \
          "\"tool_calls\":{\"id\":\"" id "\",\"type\":\"function\",\"function\":{"                 \
          "\"name\":\"" name "\",\"arguments\":\"\"}}")
#define ARGUMENTS(text)                                                                            \
    DELTA("tool-call-delta", "\"tool_calls\":{\"function\":{\"arguments\":\"" text "\"}}")
#define END(why)                                                                                   \
    EVENT("message-end", ",\"delta\":{\"finish_reason\":\"" why "\",\"usage\":{\"billed_units\":{" \
                         "\"input_tokens\":5,\"output_tokens\":7},\"tokens\":{\"input_tokens\":"   \
                         "71,\"output_tokens\":9},\"cached_tokens\":2}}")

static const char stream[] = START EVENT("debug", ",\"prompt\":\"x\"")
    DELTA("content-start", "\"content\":{\"type\":\"thinking\",\"thinking\":\"\"}")
        DELTA("content-delta", "\"content\":{\"thinking\":\"h\\nm\"}") EVENT("content-end",
                                                                             ",\"index\":0")
            DELTA("content-start", "\"content\":{\"type\":\"text\",\"text\":\"\"}")
                DELTA("content-delta", "\"content\":{\"text\":\"\xc3\xa9\\ud83d\\ude00\"}")
                    DELTA("citation-start", "\"citations\":{\"start\":1,\"end\":2,\"text\":\"x\"}")
                        EVENT("citation-end", ",\"index\":0") EVENT("content-end", ",\"index\":1")
                            DELTA("tool-plan-delta", "\"tool_plan\":\"I will look.\"")
                                CALL("t1", "f") ARGUMENTS("{\\\"a\\\":") ARGUMENTS("1}")
                                    EVENT("tool-call-end", ",\"index\":0") CALL("t2", "g")
                                        ARGUMENTS("null") EVENT("tool-call-end", ",\"index\":1")
                                            END("TOOL_CALL");

static const char lines[] =
    "start c1 \nreasoning h\nm\ntext \xc3\xa9\xf0\x9f\x98\x80\ntext I will look.\ncall 0 t1 f\n"
    "arguments 0 {\"a\":\narguments 0 1}\npart_end\ncall 1 t2 g\npart_end\n"
    "finish tool_calls TOOL_CALL\nusage in 5 out 7 cached 2 written 0 reasoning 0\ndone\n";

static struct str whole_stream(void)
{
    return (struct str){stream, sizeof stream - 1};
}

static void t02_t06_a_stream_says_the_same_wherever_it_is_cut(void **state)
{
    struct tr_kit *kit = *state;
    for (size_t at = 0; at <= sizeof stream - 1; at++) {
        tr_kit_reset(kit);
        assert_int_equal(tr_kit_stream_cut(kit, DIALECT_COHERE, whole_stream(), at), 0);
        assert_string_equal(tr_kit_log(kit), lines);
    }
    for (size_t step = 1; step < 20; step++) {
        tr_kit_reset(kit);
        assert_int_equal(tr_kit_stream(kit, DIALECT_COHERE, whole_stream(), step), 0);
        assert_string_equal(tr_kit_log(kit), lines);
    }
}

static void t11_a_stream_without_its_end_is_not_done(void **state)
{
    struct tr_kit *kit = *state;
    struct str cut = str_slice(whole_stream(), 0, sizeof stream - 60);
    assert_int_equal(tr_kit_stream(kit, DIALECT_COHERE, cut, 0), 0);
    assert_null(strstr(tr_kit_log(kit), "done"));
}

static void t08_t09_t10_every_end_is_one_of_ours(void **state)
{
    static const struct {
        const char *text, *log;
    } rows[] = {
        {END("COMPLETE"), "finish stop COMPLETE\n"
                          "usage in 5 out 7 cached 2 written 0 reasoning 0\ndone\n"},
        {EVENT("message-end", ",\"delta\":{\"finish_reason\":\"STOP_SEQUENCE\",\"usage\":{"
                              "\"tokens\":{\"input_tokens\":3,\"output_tokens\":4}}}"),
         "finish stop STOP_SEQUENCE\nusage in 3 out 4 cached 0 written 0 reasoning 0\ndone\n"},
        {EVENT("message-end", ",\"delta\":{\"finish_reason\":\"MAX_TOKENS\"}"),
         "finish length MAX_TOKENS\ndone\n"},
        {EVENT("message-end", ",\"delta\":{\"finish_reason\":\"ERROR_TOXIC\"}") START,
         "finish content_filter ERROR_TOXIC\ndone\n"},
        {EVENT("message-end", ",\"delta\":{\"finish_reason\":\"NEW\"}"),
         "finish other NEW\ndone\n"},
        {EVENT("message-end",
               ",\"delta\":{\"finish_reason\":\"ERROR\",\"error\":\"it \\\"broke\\\"\","
               "\"usage\":{\"tokens\":{\"input_tokens\":3}}}"),
         "usage in 3 out 0 cached 0 written 0 reasoning 0\nerror 10 it \"broke\" ()\n"},
        {EVENT("message-end", ",\"delta\":{\"finish_reason\":\"TIMEOUT\"}"), "error 9  ()\n"},
        {"data: {\"message\":\"no\",\"id\":\"x\"}\n\n", "error 10 no ()\n"},
        {CALL("a", "f") CALL("b", "g") END("COMPLETE"),
         "call 0 a f\npart_end\ncall 1 b g\npart_end\nfinish stop COMPLETE\n"
         "usage in 5 out 7 cached 2 written 0 reasoning 0\ndone\n"},
    };
    struct tr_kit *kit = *state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        tr_kit_reset(kit);
        assert_int_equal(tr_kit_stream(kit, DIALECT_COHERE, str_from(rows[i].text), 0), 0);
        assert_string_equal(tr_kit_log(kit), rows[i].log);
    }
}

static void b37_what_is_no_event_is_told(void **state)
{
    static const char *const bad[] = {"data: [DONE]\n\n", "data: {}\n\n",
                                      "data: 1\n\n",      ARGUMENTS("{}"),
                                      CALL("a", ""),      "data: {\"type\":\"message-end\"\n\n"};
    struct tr_kit *kit = *state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (tr_kit_stream(kit, DIALECT_COHERE, str_from(bad[i]), 0) != ERR_PROTOCOL)
            fail_msg("%s", bad[i]);
}

#define WHOLE                                                                                      \
    "{\"id\":\"c1\",\"finish_reason\":\"TOOL_CALL\",\"message\":{\"role\":\"assistant\","          \
    "\"content\":[{\"type\":\"thinking\",\"thinking\":\"hm\"},{\"type\":\"text\",\"text\":"        \
    "\"h\\ti\"}],\"tool_plan\":\"p\",\"tool_calls\":[{\"id\":\"t\",\"type\":\"function\","         \
    "\"function\":{\"name\":\"f\",\"arguments\":\"{\\\"a\\\":1}\"}},{\"id\":\"u\",\"type\":"       \
    "\"function\",\"function\":{\"name\":\"g\",\"arguments\":\"null\"}}],\"citations\":[{}]},"     \
    "\"usage\":{\"billed_units\":{\"input_tokens\":5,\"output_tokens\":2},\"tokens\":{"            \
    "\"input_tokens\":50,\"output_tokens\":2},\"cached_tokens\":40}}"

static void a_whole_reply_says_the_same_as_a_stream(void **state)
{
    struct tr_kit *kit = *state;
    assert_int_equal(tr_kit_reply(kit, DIALECT_COHERE, WHOLE), 0);
    assert_string_equal(tr_kit_log(kit), "start c1 \nreasoning hm\ntext h\ti\ntext p\ncall 0 t f\n"
                                         "arguments 0 {\"a\":1}\npart_end\ncall 1 u g\npart_end\n"
                                         "finish tool_calls TOOL_CALL\n"
                                         "usage in 5 out 2 cached 5 written 0 reasoning 0\ndone\n");
    tr_kit_reset(kit);
    assert_int_equal(tr_kit_reply(kit, DIALECT_COHERE,
                                  "{\"finish_reason\":\"ERROR\",\"message\":{\"content\":[]}}"),
                     0);
    assert_string_equal(tr_kit_log(kit), "start  \nerror 10  ()\n");
}

static void t10_an_error_under_200_is_no_reply(void **state)
{
    static const char *const bad[] = {"", "{}", "[]", "{\"message\":\"no\"}", "<html>"};
    struct tr_kit *kit = *state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(tr_kit_reply(kit, DIALECT_COHERE, bad[i]), ERR_PROTOCOL);
}

#define ERROR(message) "{\"id\":\"x\",\"message\":\"" message "\"}"

static void t16_errors_are_of_their_kind(void **state)
{
    static const struct {
        unsigned status;
        const char *body;
        enum tr_error_kind kind;
    } rows[] = {
        {400, ERROR("invalid request"), TR_ERROR_INVALID_REQUEST},
        {422, ERROR("x"), TR_ERROR_INVALID_REQUEST},
        {400, ERROR("too many tokens: total number of tokens is 9"), TR_ERROR_CONTEXT_LENGTH},
        {400, ERROR("blocked input: please adjust"), TR_ERROR_CONTENT_POLICY},
        {401, ERROR("invalid api token"), TR_ERROR_AUTHENTICATION},
        {498, ERROR("x"), TR_ERROR_AUTHENTICATION},
        {402, ERROR("x"), TR_ERROR_QUOTA},
        {403, ERROR("x"), TR_ERROR_PERMISSION},
        {404, ERROR("model 'x' not found"), TR_ERROR_NOT_FOUND},
        {429, ERROR("slow"), TR_ERROR_RATE_LIMITED},
        {429, ERROR("a Trial key, which is limited to 1000 API calls / month"), TR_ERROR_QUOTA},
        {500, ERROR("x"), TR_ERROR_UPSTREAM},
        {499, ERROR("x"), TR_ERROR_UPSTREAM},
        {503, "<html>", TR_ERROR_OVERLOADED},
        {504, "", TR_ERROR_TIMEOUT},
    };
    struct tr_kit *kit = *state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct tr_error e = tr_kit_error(kit, DIALECT_COHERE, rows[i].status, rows[i].body);
        assert_int_equal(e.kind, rows[i].kind);
        assert_int_equal(e.wait_ms, -1);
        assert_true(e.message.len == 0 || rows[i].body[0] == '{');
    }
}

static void a_message_is_cut_between_characters(void **state)
{
    char body[4096];
    struct buf b = {.data = body, .cap = sizeof body, .max = sizeof body};
    assert_int_equal(buf_append_text(&b, "{\"message\":\"x"), 0);
    for (int i = 0; i < 600; i++)
        assert_int_equal(buf_append_text(&b, "\xc3\xa9"), 0);
    assert_int_equal(buf_append(&b, "\"}", 3), 0);
    struct tr_error e = tr_kit_error(*state, DIALECT_COHERE, 400, body);
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
        int rc = tr_kit_stream(kit, DIALECT_COHERE, whole_stream(), 64);
        if (rc == 0)
            rc = tr_kit_reply(kit, DIALECT_COHERE, WHOLE);
        fired = fault_disarm();
        assert_int_equal(rc, fired ? ERR_NOMEM : 0);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, tr_kit_setup, tr_kit_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(t02_t06_a_stream_says_the_same_wherever_it_is_cut),
        TEST(t11_a_stream_without_its_end_is_not_done),
        TEST(t08_t09_t10_every_end_is_one_of_ours),
        TEST(b37_what_is_no_event_is_told),
        TEST(a_whole_reply_says_the_same_as_a_stream),
        TEST(t10_an_error_under_200_is_no_reply),
        TEST(t16_errors_are_of_their_kind),
        TEST(a_message_is_cut_between_characters),
        TEST(every_failed_allocation_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
