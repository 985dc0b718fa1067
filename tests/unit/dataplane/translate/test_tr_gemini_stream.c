/* What generateContent answers, as events, and how it looks to callers. */
#include <string.h>

#include "tests/unit/dataplane/translate/tr_kit.h"

#define DATA(rest) "data: {" rest "}\r\n\r\n"
#define HEAD       "\"responseId\":\"r1\",\"modelVersion\":\"gemini-3\""
#define PARTS(list)                                                                                \
    "\"candidates\":[{\"index\":0,\"content\":{\"role\":\"model\",\"parts\":[" list "]}}],"
#define LAST(list, why)                                                                            \
    "\"candidates\":[{\"content\":{\"parts\":[" list "]},\"finishReason\":\"" why "\"}],"
#define USAGE(out)                                                                                 \
    "\"usageMetadata\":{\"promptTokenCount\":10,\"toolUsePromptTokenCount\":2,"                    \
    "\"cachedContentTokenCount\":4,\"candidatesTokenCount\":" out ",\"thoughtsTokenCount\":3,"     \
    "\"totalTokenCount\":99},"

static const char stream[] = DATA(PARTS("{\"text\":\"h\\nm\",\"thought\":true}") USAGE("1") HEAD)
    DATA(PARTS("{\"text\":\"\xc3\xa9\"},{\"text\":\"\\ud83d\\ude00\\u0000\"}") HEAD) DATA(PARTS(
        "{\"executableCode\":{\"code\":\"x\"}},{\"text\":\"\",\"thoughtSignature\":\"S0\"}") HEAD)
        DATA(PARTS(
            "{\"functionCall\":{\"name\":\"f\",\"args\":{\"a\": 1}},\"thoughtSignature\":\"S1\"},"
            "{\"functionCall\":{\"id\":\"c2\",\"name\":\"g\",\"args\":{}}}") USAGE("5") HEAD)
            DATA(LAST("{\"functionCall\":{\"id\":\"c3\",\"name\":\"g\"}}", "STOP") USAGE("7") HEAD);

static const char lines[] =
    "start r1 gemini-3\nreasoning h\nm\ntext \xc3\xa9\ntext \xf0\x9f\x98\x80\nseal S0\n"
    "call 0  f signed S1\narguments 0 {\"a\": 1}\npart_end\ncall 1 c2 g\narguments 1 {}\npart_end\n"
    "call 2 c3 g\npart_end\nfinish tool_calls STOP\n"
    "usage in 12 out 10 cached 4 written 0 reasoning 3\ndone\n";

/* A NUL in a text ends what is logged as a C string; so it is left out of the lines. */
static const char *log_of(struct tr_kit *kit)
{
    size_t at = 0;
    for (size_t i = 0; i < kit->log.len; i++)
        if (kit->log.data[i] != '\0')
            kit->log.data[at++] = kit->log.data[i];
    kit->log.len = at;
    return tr_kit_log(kit);
}

static struct str whole_stream(void)
{
    return (struct str){stream, sizeof stream - 1};
}

static void t06_a_stream_says_the_same_wherever_it_is_cut(void **state)
{
    struct tr_kit *kit = *state;
    for (size_t at = 0; at <= sizeof stream - 1; at++) {
        tr_kit_reset(kit);
        assert_int_equal(tr_kit_stream_cut(kit, DIALECT_GEMINI, whole_stream(), at), 0);
        assert_string_equal(log_of(kit), lines);
    }
    for (size_t step = 1; step < 20; step++) {
        tr_kit_reset(kit);
        assert_int_equal(tr_kit_stream(kit, DIALECT_GEMINI, whole_stream(), step), 0);
        assert_string_equal(log_of(kit), lines);
    }
}

static void t11_a_stream_is_done_at_its_end_if_it_said_why(void **state)
{
    struct tr_kit *kit = *state;
    struct str cut = str_slice(whole_stream(), 0, (size_t)(strstr(stream, "c3") - stream) - 90);
    assert_int_equal(tr_kit_stream(kit, DIALECT_GEMINI, cut, 0), 0);
    assert_null(strstr(log_of(kit), "done"));
    tr_kit_reset(kit);
    assert_int_equal(tr_kit_stream(kit, DIALECT_GEMINI, STR(""), 0), 0);
    assert_string_equal(tr_kit_log(kit), "");
}

struct said {
    const char *text, *log;
};

static void check(struct tr_kit *kit, const struct said *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        tr_kit_reset(kit);
        assert_int_equal(tr_kit_stream(kit, DIALECT_GEMINI, str_from(rows[i].text), 0), 0);
        assert_string_equal(tr_kit_log(kit), rows[i].log);
    }
}
#define CHECK(rows) check(*state, rows, sizeof rows / sizeof rows[0])

static void every_answer_of_several_ends_by_itself(void **state)
{
    static const struct said rows[] = {
        {DATA(
             "\"candidates\":[{\"index\":1,\"content\":{\"parts\":[{\"text\":\"b\"}]},"
             "\"finishReason\":\"STOP\"},{\"index\":0,\"content\":{\"parts\":[{\"text\":\"a\"}]}}]")
             DATA("\"candidates\":[{\"index\":1,\"content\":{\"parts\":[{\"text\":\"late\"}]}}]")
                 DATA("\"candidates\":[{\"finishReason\":\"MAX_TOKENS\"}]"),
         "start  \ntext[1] b\nfinish[1] stop STOP\ntext a\nfinish length MAX_TOKENS\ndone\n"},
        {DATA("\"candidates\":[{\"index\":1,\"finishReason\":\"STOP\"},{\"index\":0}]"),
         "start  \nfinish[1] stop STOP\n"},
    };
    CHECK(rows);
}

static void t08_t09_every_reason_is_one_of_ours(void **state)
{
    static const struct said rows[] = {
        {DATA(LAST("", "MAX_TOKENS") HEAD), "start r1 gemini-3\nfinish length MAX_TOKENS\ndone\n"},
        {DATA(LAST("{\"text\":\"x\"}", "SAFETY") HEAD),
         "start r1 gemini-3\ntext x\nfinish content_filter SAFETY\ndone\n"},
        {DATA(LAST("", "IMAGE_RECITATION") HEAD),
         "start r1 gemini-3\nfinish content_filter IMAGE_RECITATION\ndone\n"},
        {DATA(LAST("", "OF_A_LATER_VERSION") HEAD),
         "start r1 gemini-3\nfinish other OF_A_LATER_VERSION\ndone\n"},
        {DATA(LAST("{\"text\":\"x\"}", "FINISH_REASON_UNSPECIFIED") HEAD),
         "start r1 gemini-3\ntext x\n"},
        {DATA("\"candidates\":[{\"finishReason\":\"MALFORMED_FUNCTION_CALL\",\"finishMessage\":"
              "\"bad \\\"call\\\"\"}]," USAGE("0") HEAD),
         "start r1 gemini-3\nusage in 12 out 3 cached 4 written 0 reasoning 3\n"
         "error 10 bad \"call\" (MALFORMED_FUNCTION_CALL)\n"},
    };
    CHECK(rows);
}

static void t17_a_question_that_is_blocked_is_filtered(void **state)
{
    static const struct said rows[] = {
        {DATA("\"promptFeedback\":{\"blockReason\":\"PROHIBITED_CONTENT\"}," USAGE("0") HEAD),
         "start r1 gemini-3\nfinish content_filter PROHIBITED_CONTENT\n"
         "usage in 12 out 3 cached 4 written 0 reasoning 3\ndone\n"},
        {DATA("\"promptFeedback\":{\"safetyRatings\":[]}," LAST("{\"text\":\"x\"}", "STOP") HEAD),
         "start r1 gemini-3\ntext x\nfinish stop STOP\ndone\n"},
    };
    CHECK(rows);
}

static void t10_an_error_in_a_stream_ends_it(void **state)
{
    static const struct said rows[] = {
        {DATA("\"error\":{\"code\":503,\"message\":\"busy\",\"status\":\"UNAVAILABLE\"}")
             DATA(LAST("{\"text\":\"x\"}", "STOP") HEAD),
         "error 8 busy (UNAVAILABLE)\n"},
        {"data: [{\"error\":{\"code\":429,\"message\":\"slow\"}}]\n\n", "error 6 slow ()\n"},
        {DATA("\"error\":{}"), "error 10  ()\n"},
    };
    CHECK(rows);
}

static void t12_usage_comes_with_the_end_and_the_last_counts(void **state)
{
    static const struct said rows[] = {
        {DATA(LAST("{\"text\":\"x\"}", "STOP") HEAD) DATA(USAGE("9") HEAD),
         "start r1 gemini-3\ntext x\nfinish stop STOP\n"
         "usage in 12 out 12 cached 4 written 0 reasoning 3\ndone\n"},
        {DATA(LAST("", "STOP") "\"usageMetadata\":{\"promptTokenCount\":-1}"),
         "start  \nfinish stop STOP\nusage in 0 out 0 cached 0 written 0 reasoning 0 suspect\n"
         "done\n"},
    };
    CHECK(rows);
}

#define CALL(rest)         DATA(PARTS("{\"functionCall\":{" rest "}}") HEAD)
#define PIECE(path, value) "{\"jsonPath\":\"" path "\"," value "}"

static void arguments_that_come_in_pieces_become_one_text(void **state)
{
    static const struct said rows[] = {
        {CALL("\"name\":\"f\",\"id\":\"i\",\"willContinue\":true") CALL("\"partialArgs\":[" PIECE(
             "$.c", "\"stringValue\":\"Bos\",\"willContinue\":true") "],\"willContinue\":true")
             CALL("\"partialArgs\":[" PIECE("$.c", "\"stringValue\":\"t\\\"n\"") "," PIECE(
                 "$.o.n[0].x",
                 "\"numberValue\":1.5") "," PIECE("$.o.n[0]['a b']",
                                                  "\"boolValue\":true") "," PIECE("$.o.n[1].x",
                                                                                  "\"nullValue\":"
                                                                                  "null") "],"
                                                                                          "\"willCo"
                                                                                          "ntinue\""
                                                                                          ":true")
                 CALL("\"partialArgs\":[" PIECE("$.z[0]", "\"stringValue\":\"\"") "," PIECE(
                     "$.z[1]", "\"stringValue\":\"q\"") "],\"willContinue\":true")
                     DATA(LAST("{\"functionCall\":{}}", "STOP") HEAD),
         "start r1 gemini-3\ncall 0 i f\narguments 0 {\"c\":\"Bos\n"
         "arguments 0 t\\\"n\",\"o\":{\"n\":[{\"x\":1.5,\"a b\":true},{\"x\":null\n"
         "arguments 0 }]},\"z\":[\"\",\"q\"\narguments 0 ]}\npart_end\nfinish tool_calls STOP\n"
         "done\n"},
        {CALL("\"name\":\"f\",\"partialArgs\":[" PIECE(
             "$.a", "\"stringValue\":\"x\",\"willContinue\":true") "],\"willContinue\":true")
             DATA(LAST("", "STOP") HEAD),
         "start r1 gemini-3\ncall 0  f\narguments 0 {\"a\":\"x\narguments 0 \"}\npart_end\n"
         "finish tool_calls STOP\ndone\n"},
        {CALL("\"name\":\"f\",\"willContinue\":true") CALL("")
             CALL("\"name\":\"g\",\"args\":{\"b\":2}") DATA(LAST("", "STOP") HEAD),
         "start r1 gemini-3\ncall 0  f\npart_end\ncall 1  g\narguments 1 {\"b\":2}\npart_end\n"
         "finish tool_calls STOP\ndone\n"},
    };
    CHECK(rows);
}

#define ALL_PIECES(list) CALL("\"name\":\"f\",\"partialArgs\":[" list "],\"willContinue\":true")

static void pieces_that_fit_nowhere_are_told(void **state)
{
    static const char *const bad[] = {
        ALL_PIECES("{}"),
        ALL_PIECES(PIECE("a", "\"numberValue\":1")),
        ALL_PIECES(PIECE("$", "\"numberValue\":1")),
        ALL_PIECES(PIECE("$.", "\"numberValue\":1")),
        ALL_PIECES(PIECE("$[0]", "\"numberValue\":1")),
        ALL_PIECES(PIECE("$.a[", "\"numberValue\":1")),
        ALL_PIECES(PIECE("$.a[x]", "\"numberValue\":1")),
        ALL_PIECES(PIECE("$.a['x", "\"numberValue\":1")),
        ALL_PIECES(PIECE("$.a[0", "\"numberValue\":1")),
        ALL_PIECES(PIECE("$.a", "\"boolValue\":1")),
        ALL_PIECES(PIECE("$.a", "\"numberValue\":1") "," PIECE("$.a", "\"numberValue\":1")),
        ALL_PIECES(PIECE("$.a", "\"numberValue\":1") "," PIECE("$.a.b", "\"numberValue\":1")),
        ALL_PIECES(PIECE("$.a.b", "\"numberValue\":1") "," PIECE("$.a", "\"numberValue\":1")),
        ALL_PIECES(PIECE("$.a.b", "\"numberValue\":1") "," PIECE("$.a[0]", "\"numberValue\":1")),
    };
    struct tr_kit *kit = *state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (tr_kit_stream(kit, DIALECT_GEMINI, str_from(bad[i]), 0) != ERR_PROTOCOL)
            fail_msg("%s", bad[i]);
}

static void b37_what_is_no_reply_is_told(void **state)
{
    static const char *const bad[] = {
        "data: [DONE]\n\n",
        "data: {}\n\n",
        "data: 1\n\n",
        "data: []\n\n",
        "data: {\"candidates\":[1]}\n\n",
        "data: {\"candidates\":[{\"index\":8}]}\n\n",
        "data: {\"candidates\":[{\"index\":\"0\"}]}\n\n",
        "data: {\"candidates\":[{\"content\":{\"parts\":[1]}}]}\n\n",
        "data: {\"candidates\":[{\"content\":{\"parts\":[{\"functionCall\":1}]}}]}\n\n",
        "data: {\"candidates\":[{\"content\":{\"parts\":[{\"functionCall\":{}}]}}]}\n\n",
        "data: {\"candidates\":[\n\n"};
    struct tr_kit *kit = *state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (tr_kit_stream(kit, DIALECT_GEMINI, str_from(bad[i]), 0) != ERR_PROTOCOL)
            fail_msg("%s", bad[i]);
}

#define WHOLE                                                                                      \
    "{\n  \"candidates\": [{\"content\": {\"parts\": [{\"text\": \"hm\", \"thought\": true},"      \
    "{\"text\": \"h\\ti\", \"thoughtSignature\": \"S\"}], \"role\": \"model\"},"                   \
    "\"finishReason\": \"STOP\", \"index\": 0}]," USAGE("1") HEAD "}"

static void a_whole_reply_says_the_same_as_a_stream(void **state)
{
    static const struct said rows[] = {
        {WHOLE, "start r1 gemini-3\nreasoning hm\nseal S\ntext h\ti\nfinish stop STOP\n"
                "usage in 12 out 4 cached 4 written 0 reasoning 3\ndone\n"},
        {"{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"x\"}]}}]," USAGE("1") HEAD "}",
         "start r1 gemini-3\ntext x\nfinish other \n"
         "usage in 12 out 4 cached 4 written 0 reasoning 3\ndone\n"},
        {"{\"promptFeedback\":{\"blockReason\":\"SAFETY\"}}",
         "start  \nfinish content_filter SAFETY\ndone\n"},
        {"{\"error\":{\"code\":500,\"message\":\"m\",\"status\":\"INTERNAL\"}}",
         "error 10 m (INTERNAL)\n"},
    };
    struct tr_kit *kit = *state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        tr_kit_reset(kit);
        assert_int_equal(tr_kit_reply(kit, DIALECT_GEMINI, rows[i].text), 0);
        assert_string_equal(tr_kit_log(kit), rows[i].log);
    }
}

static void t10_what_is_no_answer_under_200_is_told(void **state)
{
    static const char *const bad[] = {"",
                                      "{}",
                                      "[]",
                                      "<html>",
                                      "{\"candidates\":[]}",
                                      "{\"usageMetadata\":{}}",
                                      "{\"promptFeedback\":{}}"};
    struct tr_kit *kit = *state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(tr_kit_reply(kit, DIALECT_GEMINI, bad[i]), ERR_PROTOCOL);
}

#define ERROR(status, message, details)                                                            \
    "{\"error\":{\"code\":400,\"message\":\"" message "\",\"status\":\"" status                    \
    "\",\"details\":[" details "]}}"
#define RETRY(delay)                                                                               \
    "{\"@type\":\"type.googleapis.com/google.rpc.RetryInfo\",\"retryDelay\":\"" delay "\"}"
#define REASON(reason)                                                                             \
    "{\"@type\":\"type.googleapis.com/google.rpc.ErrorInfo\",\"reason\":\"" reason "\"}"
#define QUOTA(id)                                                                                  \
    "{\"@type\":\"type.googleapis.com/"                                                            \
    "google.rpc.QuotaFailure\",\"violations\":[{\"quotaId\":\"" id "\"}]}"

static void t16_errors_are_of_their_kind(void **state)
{
    static const struct {
        unsigned status;
        const char *body;
        enum tr_error_kind kind;
        int64_t wait_ms;
    } rows[] = {
        {400, ERROR("INVALID_ARGUMENT", "no", ""), TR_ERROR_INVALID_REQUEST, -1},
        {400, ERROR("FAILED_PRECONDITION", "no", ""), TR_ERROR_INVALID_REQUEST, -1},
        {400, ERROR("OUT_OF_RANGE", "no", ""), TR_ERROR_INVALID_REQUEST, -1},
        {400,
         ERROR("INVALID_ARGUMENT",
               "The input token count (9) exceeds the maximum number of tokens allowed (8).", ""),
         TR_ERROR_CONTEXT_LENGTH, -1},
        {400, ERROR("INVALID_ARGUMENT", "API key not valid.", ""), TR_ERROR_AUTHENTICATION, -1},
        {400, ERROR("INVALID_ARGUMENT", "x", REASON("API_KEY_INVALID")), TR_ERROR_AUTHENTICATION,
         -1},
        {400, "[" ERROR("INVALID_ARGUMENT", "x", REASON("API_KEY_INVALID")) "]",
         TR_ERROR_AUTHENTICATION, -1},
        {401, ERROR("UNAUTHENTICATED", "x", ""), TR_ERROR_AUTHENTICATION, -1},
        {403, ERROR("PERMISSION_DENIED", "x", ""), TR_ERROR_PERMISSION, -1},
        {404, ERROR("NOT_FOUND", "x", ""), TR_ERROR_NOT_FOUND, -1},
        {429, ERROR("RESOURCE_EXHAUSTED", "x", ""), TR_ERROR_RATE_LIMITED, -1},
        {429, ERROR("RESOURCE_EXHAUSTED", "x", RETRY("13s")), TR_ERROR_RATE_LIMITED, 13000},
        {429, ERROR("RESOURCE_EXHAUSTED", "x", RETRY("34.074824224s")), TR_ERROR_RATE_LIMITED,
         34074},
        {429, ERROR("RESOURCE_EXHAUSTED", "x", RETRY("soon")), TR_ERROR_RATE_LIMITED, -1},
        {429,
         ERROR("RESOURCE_EXHAUSTED", "x",
               QUOTA("GenerateRequestsPerMinutePerProjectPerModel") "," RETRY("2s")),
         TR_ERROR_RATE_LIMITED, 2000},
        {429,
         ERROR("RESOURCE_EXHAUSTED", "x",
               RETRY("2s") "," QUOTA("GenerateRequestsPerDayPerProjectPerModel-FreeTier")),
         TR_ERROR_QUOTA, 2000},
        {503, ERROR("UNAVAILABLE", "x", ""), TR_ERROR_OVERLOADED, -1},
        {504, ERROR("DEADLINE_EXCEEDED", "x", ""), TR_ERROR_TIMEOUT, -1},
        {500, ERROR("INTERNAL", "x", ""), TR_ERROR_UPSTREAM, -1},
        {499, ERROR("CANCELLED", "x", ""), TR_ERROR_UPSTREAM, -1},
        {503, "<html>busy</html>", TR_ERROR_OVERLOADED, -1},
        {429, "", TR_ERROR_RATE_LIMITED, -1},
        {418, "{}", TR_ERROR_INVALID_REQUEST, -1},
        {502, "", TR_ERROR_UPSTREAM, -1},
    };
    struct tr_kit *kit = *state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct tr_error e = tr_kit_error(kit, DIALECT_GEMINI, rows[i].status, rows[i].body);
        if (e.kind != rows[i].kind || e.wait_ms != rows[i].wait_ms)
            fail_msg("%u %s: %u %lld", rows[i].status, rows[i].body, (unsigned)e.kind,
                     (long long)e.wait_ms);
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
    struct tr_error e = tr_kit_error(*state, DIALECT_GEMINI, 400, body);
    assert_int_equal(e.message.len, 1023);
    assert_true(str_valid_utf8(e.message));
}

/* A signed call as a Messages caller gets it: what it sends back holds the signature. */
static void t07_the_signature_of_a_call_stands_before_it_for_messages(void **state)
{
    struct tr_kit *kit = *state;
    const struct tr_print print = {.id = STR("i"), .model = STR("m"), .vendor = DIALECT_GEMINI};
    const struct tr_event events[] = {
        {.kind = TR_EVENT_START},
        {.kind = TR_EVENT_CALL, .call = {.id = STR("c"), .name = STR("f"), .signature = STR("S")}},
        {.kind = TR_EVENT_PART_END},
        {.kind = TR_EVENT_CALL, .call_index = 1, .call = {.id = STR("d"), .name = STR("g")}},
        {.kind = TR_EVENT_PART_END, .call_index = 1},
        {.kind = TR_EVENT_FINISH, .finish = CALL_FINISH_TOOL_CALLS},
        {.kind = TR_EVENT_DONE}};
    assert_int_equal(
        tr_kit_print(kit, DIALECT_ANTHROPIC, &print, events, sizeof events / sizeof events[0]), 0);
    const char *thinking = strstr(tr_kit_out(kit), "\"type\":\"thinking\"");
    const char *seal = strstr(tr_kit_out(kit), "\"signature\":\"sy1.gemini.S\"");
    const char *call = strstr(tr_kit_out(kit), "\"type\":\"tool_use\"");
    assert_true(thinking != NULL && seal != NULL && call != NULL);
    assert_true(thinking < seal && seal < call);
    const struct tr_answer_part part = {
        .kind = TR_PART_CALL, .call = {.id = STR("c"), .name = STR("f"), .signature = STR("S")}};
    const struct tr_choice_answer choice = {.parts = &part, .part_count = 1};
    const struct tr_answer answer = {.choices = &choice, .choice_count = 1};
    buf_clear(&kit->out);
    assert_int_equal(tr_caller_find(DIALECT_ANTHROPIC)->print_answer(&print, &answer, &kit->out),
                     0);
    assert_non_null(strstr(tr_kit_out(kit),
                           "\"content\":[{\"type\":\"thinking\",\"thinking\":\"\",\"signature\":"
                           "\"sy1.gemini.S\"},{\"type\":\"tool_use\""));
}

static void every_failed_allocation_is_told(void **state)
{
    struct tr_kit *kit = *state;
    bool fired = true;
    for (unsigned n = 0; fired; n++) {
        tr_kit_teardown(state);
        tr_kit_setup(state);
        fault_arm_alloc(n);
        int rc = tr_kit_stream(kit, DIALECT_GEMINI, whole_stream(), 64);
        if (rc == 0)
            rc = tr_kit_stream(kit, DIALECT_GEMINI,
                               STR(ALL_PIECES(PIECE("$.a", "\"numberValue\":1"))), 0);
        if (rc == 0)
            rc = tr_kit_reply(kit, DIALECT_GEMINI, WHOLE);
        fired = fault_disarm();
        assert_int_equal(rc, fired ? ERR_NOMEM : 0);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, tr_kit_setup, tr_kit_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(t06_a_stream_says_the_same_wherever_it_is_cut),
        TEST(t11_a_stream_is_done_at_its_end_if_it_said_why),
        TEST(every_answer_of_several_ends_by_itself),
        TEST(t08_t09_every_reason_is_one_of_ours),
        TEST(t17_a_question_that_is_blocked_is_filtered),
        TEST(t10_an_error_in_a_stream_ends_it),
        TEST(t12_usage_comes_with_the_end_and_the_last_counts),
        TEST(arguments_that_come_in_pieces_become_one_text),
        TEST(pieces_that_fit_nowhere_are_told),
        TEST(b37_what_is_no_reply_is_told),
        TEST(a_whole_reply_says_the_same_as_a_stream),
        TEST(t10_what_is_no_answer_under_200_is_told),
        TEST(t16_errors_are_of_their_kind),
        TEST(a_message_is_cut_between_characters),
        TEST(t07_the_signature_of_a_call_stands_before_it_for_messages),
        TEST(every_failed_allocation_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
