/* What Bedrock answers: frames of ConverseStream cut at every byte, whole replies, errors; and what
 * callers of each dialect are told of it. */
#include <string.h>

#include "dataplane/translate/exchange.h"
#include "tests/lib/aws_encode.h"
#include "tests/unit/dataplane/translate/tr_kit.h"

static char plain_room[2][16384];

/* Test texts have ' for ". */
static const char *q(unsigned slot, const char *text)
{
    size_t i = 0;
    for (; text[i] != '\0' && i < sizeof plain_room[0] - 1; i++)
        plain_room[slot][i] = text[i] == '\'' ? '"' : text[i];
    plain_room[slot][i] = '\0';
    return plain_room[slot];
}

static void encode(const char *lines, struct buf *out)
{
    buf_init(out, 16U << 20);
    assert_int_equal(aws_encode_lines(out, str_from(q(0, lines))), 0);
}

static void streams(void **state, const char *lines, const char *events)
{
    struct tr_kit *kit = *state;
    struct buf stream;
    encode(lines, &stream);
    for (size_t at = 0; at < stream.len; at++) {
        tr_kit_reset(kit);
        assert_int_equal(tr_kit_stream_cut(kit, DIALECT_BEDROCK, buf_str(&stream), at), 0);
        assert_string_equal(tr_kit_log(kit), events);
    }
    tr_kit_reset(kit);
    assert_int_equal(tr_kit_stream(kit, DIALECT_BEDROCK, buf_str(&stream), 1), 0);
    assert_string_equal(tr_kit_log(kit), events);
    buf_deinit(&stream);
}

#define START "messageStart {'role':'assistant','p':'abc'}\n"
#define TEXT(i, t)                                                                                 \
    "contentBlockDelta {'contentBlockIndex':" i ",'delta':{'text':'" t "'},'p':'a'}\n"
#define STOP(i) "contentBlockStop {'contentBlockIndex':" i "}\n"
#define END(r)  "messageStop {'stopReason':'" r "'}\n"
#define META                                                                                       \
    "metadata {'usage':{'inputTokens':10,'outputTokens':5,'totalTokens':118,"                      \
    "'cacheReadInputTokens':100,'cacheWriteInputTokens':3},'metrics':{'latencyMs':7}}\n"
#define META_EVENT "usage in 113 out 5 cached 100 written 3 reasoning 0\n"

static void a_text_comes_as_it_was_written(void **state)
{
    streams(state,
            START TEXT("0", "Gr\\u00fc\xc3\x9f ") TEXT("0", "dich\\n") STOP("0") END("end_turn")
                META,
            "start  \ntext Gr\xc3\xbc\xc3\x9f \ntext dich\n\npart_end\nfinish stop "
            "end_turn\n" META_EVENT "done\n");
}

static void t01_two_calls_have_indexes_of_their_own(void **state)
{
    streams(
        state,
        START TEXT("0", "Well") STOP(
            "0") "contentBlockStart {'contentBlockIndex':1,'start':{'toolUse':{'toolUseId':'t1',"
                 "'name':'f'}}}\n"
                 "contentBlockDelta {'contentBlockIndex':1,'delta':{'toolUse':{'input':'{\\'a'}}}\n"
                 "contentBlockStart {'contentBlockIndex':2,'start':{'toolUse':{'toolUseId':'t2',"
                 "'name':'g'}}}\n"
                 "contentBlockDelta "
                 "{'contentBlockIndex':1,'delta':{'toolUse':{'input':'\\':1}'}}}\n"
                 "contentBlockDelta "
                 "{'contentBlockIndex':2,'delta':{'toolUse':{'input':'{}'}}}\n" STOP("1") STOP("2")
                     END("tool_use") META,
        "start  \ntext Well\npart_end\ncall 0 t1 f\narguments 0 {\"a\ncall 1 t2 g\n"
        "arguments 0 \":1}\narguments 1 {}\npart_end\npart_end\nfinish tool_calls "
        "tool_use\n" META_EVENT "done\n");
}

static void t02_a_call_without_arguments_has_none(void **state)
{
    streams(state,
            START "contentBlockStart {'contentBlockIndex':0,'start':{'toolUse':{'toolUseId':'t',"
                  "'name':'f'}}}\n" STOP("0") END("tool_use") META,
            "start  \ncall 0 t f\npart_end\nfinish tool_calls tool_use\n" META_EVENT "done\n");
}

static void t07_reasoning_comes_with_its_signature(void **state)
{
    streams(
        state,
        START "contentBlockDelta {'contentBlockIndex':0,'delta':{'reasoningContent':{'text':'hm'}"
              "}}\ncontentBlockDelta {'contentBlockIndex':0,'delta':{'reasoningContent':"
              "{'signature':'c2ln'}}}\n" STOP(
                  "0") "contentBlockDelta {'contentBlockIndex':1,'delta':{'reasoningContent':"
                       "{'redactedContent':'cmVk'}}}\n" STOP("1") TEXT("2", "a") STOP("2")
                           END("end_turn") META,
        "start  \nreasoning hm\nseal c2ln\npart_end\nredacted cmVk\npart_end\ntext a\npart_end\n"
        "finish stop end_turn\n" META_EVENT "done\n");
}

static void t08_the_stop_sequence_that_was_hit_is_told(void **state)
{
    streams(state,
            START TEXT("0", "a") STOP(
                "0") "messageStop {'stopReason':'stop_sequence','additionalModelResponseFields':"
                     "{'stop_sequence':'END'}}\n" META,
            "start  \ntext a\npart_end\nfinish stop stop_sequence at END\n" META_EVENT "done\n");
}

static void t09_a_guardrail_is_a_content_filter_before_and_after_text(void **state)
{
    streams(state, START END("guardrail_intervened") META,
            "start  \nfinish content_filter guardrail_intervened\n" META_EVENT "done\n");
    streams(state, START TEXT("0", "a") END("content_filtered") META,
            "start  \ntext a\nfinish content_filter content_filtered\n" META_EVENT "done\n");
}

static void t11_an_end_without_a_reason_is_none(void **state)
{
    streams(state, START TEXT("0", "a"), "start  \ntext a\n");
    streams(state, START TEXT("0", "a") META, "start  \ntext a\n" META_EVENT);
}

static void a_stream_without_its_metadata_is_whole(void **state)
{
    streams(state, START TEXT("0", "a") END("max_tokens"),
            "start  \ntext a\nfinish length max_tokens\ndone\n");
    streams(state, START META END("end_turn") META TEXT("0", "b"),
            "start  \n" META_EVENT "finish stop end_turn\ndone\n");
    streams(state, START META END("model_context_window_exceeded"),
            "start  \n" META_EVENT "finish length model_context_window_exceeded\ndone\n");
}

static void t18_an_exception_in_mid_stream_ends_it(void **state)
{
    streams(state,
            START TEXT("0", "half") "!modelStreamErrorException {'message':'it broke',"
                                    "'originalStatusCode':500}\n" TEXT("0", "more") END("end_turn")
                                        META,
            "start  \ntext half\nerror 10 it broke (modelStreamErrorException)\n");
    streams(state, "!throttlingException {'message':'slow down'}\n",
            "error 6 slow down (throttlingException)\n");
    streams(state, START "!validationException {'message':'Input is too long for this model.'}\n",
            "start  \nerror 1 Input is too long for this model. (validationException)\n");
    streams(state, "!internalServerException \n", "error 10  (internalServerException)\n");
    streams(state, START END("malformed_tool_use") META,
            "start  \nerror 10 the model's output was malformed (malformed_tool_use)\n");
}

static void what_later_versions_send_is_skipped(void **state)
{
    streams(state,
            "initial-response {}\n" START
            "contentBlockDelta {'contentBlockIndex':0,'delta':{'citation':{'title':'x'}}}\n"
            "contentBlockStart {'contentBlockIndex':4,'start':{'image':{}}}\n"
            "contentBlockDelta {'contentBlockIndex':4,'delta':{'toolUse':{'input':'x'}}}\n"
            "somethingNew {'a':1}\n" TEXT("0", "a") END("brand_new") META,
            "start  \ntext a\nfinish other brand_new\n" META_EVENT "done\n");
}

static void frames_that_are_no_json_are_refused(void **state)
{
    static const char *const broken[] = {"messageStart {\n", "messageStop {}\n", "metadata []\n"};
    struct tr_kit *kit = *state;
    for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++) {
        struct buf stream;
        encode(broken[i], &stream);
        tr_kit_reset(kit);
        assert_int_equal(tr_kit_stream(kit, DIALECT_BEDROCK, buf_str(&stream), 0), ERR_PROTOCOL);
        buf_deinit(&stream);
    }
}

static void t06_a_character_that_is_cut_between_reads_stays_whole(void **state)
{
    streams(state, TEXT("0", "\\ud83d\\ude00\xf0\x9f\x98\x80") END("end_turn") META,
            "text \xf0\x9f\x98\x80\xf0\x9f\x98\x80\nfinish stop end_turn\n" META_EVENT "done\n");
}

static void t06_an_argument_of_a_mebibyte_comes_whole(void **state)
{
    struct tr_kit *kit = *state;
    struct buf line, stream;
    buf_init(&line, 4U << 20);
    buf_init(&stream, 4U << 20);
    assert_int_equal(
        aws_encode_lines(&stream, str_from(q(0, "contentBlockStart {'contentBlockIndex':0,"
                                                "'start':{'toolUse':{'toolUseId':'t',"
                                                "'name':'f'}}}\n"))),
        0);
    assert_int_equal(buf_append_text(&line, "contentBlockDelta {\"contentBlockIndex\":0,\"delta\":"
                                            "{\"toolUse\":{\"input\":\""),
                     0);
    for (unsigned i = 0; i < 65536; i++)
        assert_int_equal(buf_append_text(&line, "0123456789abcdef"), 0);
    assert_int_equal(buf_append_text(&line, "\"}}}"), 0);
    assert_int_equal(aws_encode_line(&stream, buf_str(&line)), 0);
    assert_int_equal(tr_kit_stream(kit, DIALECT_BEDROCK, buf_str(&stream), 4096), 0);
    assert_true(kit->log.len > 1U << 20);
    buf_deinit(&line);
    buf_deinit(&stream);
}

/* ---- whole replies ---- */

static void replies(void **state, const char *body, const char *events)
{
    struct tr_kit *kit = *state;
    tr_kit_reset(kit);
    assert_int_equal(tr_kit_reply(kit, DIALECT_BEDROCK, q(0, body)), 0);
    assert_string_equal(tr_kit_log(kit), events);
}

#define USAGE "'usage':{'inputTokens':1,'outputTokens':2,'totalTokens':3}"

static void a_whole_reply_says_what_a_stream_says(void **state)
{
    replies(state,
            "{'output':{'message':{'role':'assistant','content':[{'reasoningContent':"
            "{'reasoningText':{'text':'hm','signature':'c2ln'}}},{'text':'hi'},{'toolUse':"
            "{'toolUseId':'t1','name':'f','input':{'a':[1, 2]}}},{'toolUse':{'toolUseId':'t2',"
            "'name':'g','input':{}}},{'citationsContent':{}}]}},'stopReason':'tool_use'," USAGE "}",
            "start  \nreasoning hm\nseal c2ln\npart_end\ntext hi\npart_end\ncall 0 t1 f\n"
            "arguments 0 {\"a\":[1, 2]}\npart_end\ncall 1 t2 g\npart_end\nfinish tool_calls "
            "tool_use\nusage in 1 out 2 cached 0 written 0 reasoning 0\ndone\n");
    replies(state,
            "{'output':{'message':{'role':'assistant','content':[]}},'stopReason':"
            "'malformed_model_output'," USAGE "}",
            "start  \nerror 10 the model's output was malformed (malformed_model_output)\n");
}

static void t22_counts_that_cannot_be_are_suspect(void **state)
{
    replies(state,
            "{'output':{'message':{'role':'assistant','content':[{'text':'a'}]}},'stopReason':"
            "'end_turn','usage':{'inputTokens':-1,'outputTokens':2}}",
            "start  \ntext a\npart_end\nfinish stop end_turn\n"
            "usage in 0 out 2 cached 0 written 0 reasoning 0 suspect\ndone\n");
}

static void what_is_no_reply_is_refused(void **state)
{
    static const char *const broken[] = {"", "[]", "{}", "{'output':{'message':{'content':[]}}}",
                                         "<html>"};
    struct tr_kit *kit = *state;
    for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++)
        assert_int_equal(tr_kit_reply(kit, DIALECT_BEDROCK, q(0, broken[i])), ERR_PROTOCOL);
}

/* ---- errors ---- */

static void failed(void **state, unsigned status, const char *name, const char *body,
                   enum tr_error_kind kind, const char *message)
{
    struct tr_error e = tr_kit_error_named(*state, DIALECT_BEDROCK, status, name, q(0, body));
    assert_int_equal(e.kind, kind);
    assert_true(str_is(e.message, message));
    assert_int_equal(e.wait_ms, -1);
}

static void t16_errors_are_told_by_name_and_by_words(void **state)
{
    failed(state, 429, "ThrottlingException", "{'message':'Too many requests'}",
           TR_ERROR_RATE_LIMITED, "Too many requests");
    failed(state, 429, "ModelNotReadyException:http://internal.amazon.com/coral/x/", "{}",
           TR_ERROR_RATE_LIMITED, "");
    failed(state, 400, NULL, "{'__type':'com.amazon.coral#ValidationException','Message':'bad'}",
           TR_ERROR_INVALID_REQUEST, "bad");
    failed(state, 400, "ValidationException", "{'message':'Input is too long for model'}",
           TR_ERROR_CONTEXT_LENGTH, "Input is too long for model");
    failed(state, 403, "ExpiredTokenException", "{'message':'expired'}", TR_ERROR_AUTHENTICATION,
           "expired");
    failed(state, 403, "UnrecognizedClientException", "{}", TR_ERROR_AUTHENTICATION, "");
    failed(state, 403, "AccessDeniedException", "{'message':'no'}", TR_ERROR_PERMISSION, "no");
    failed(state, 404, "ResourceNotFoundException", "{}", TR_ERROR_NOT_FOUND, "");
    failed(state, 400, "ServiceQuotaExceededException", "{}", TR_ERROR_QUOTA, "");
    failed(state, 503, "ServiceUnavailableException", "{}", TR_ERROR_OVERLOADED, "");
    failed(state, 408, "ModelTimeoutException", "{}", TR_ERROR_TIMEOUT, "");
    failed(state, 424, "ModelErrorException", "{}", TR_ERROR_UPSTREAM, "");
    failed(state, 500, "InternalServerException", "{}", TR_ERROR_UPSTREAM, "");
    failed(state, 503, NULL, "<html>", TR_ERROR_OVERLOADED, "");
    failed(state, 418, NULL, "", TR_ERROR_INVALID_REQUEST, "");
}

/* ---- through the exchange, to each caller ---- */

static const char *told(void **state, enum dialect caller, bool stream, const char *answer,
                        bool *out_done)
{
    struct tr_kit *kit = *state;
    struct tr_target target = tr_kit_target("bedrock", "us.anthropic.claude-sonnet-4-5-v1:0");
    struct tr_exchange_config config = {
        .caller = caller,
        .provider = DIALECT_BEDROCK,
        .target = target,
        .answer_id = STR("id1"),
        .answer_model = STR("m"),
        .created_s = 1,
        .stream = stream,
    };
    static const char *const bodies[] = {
        [DIALECT_OPENAI] = "{'model':'m','messages':[{'role':'user','content':'hi'}]",
        [DIALECT_RESPONSES] = "{'model':'m','input':'hi'",
        [DIALECT_ANTHROPIC] = ("{'model':'m','max_tokens':9,"
                               "'messages':[{'role':'user','content':'hi'}]"),
    };
    struct provider_reply reply = {.done = false};
    struct provider_out out;
    struct call_refusal refusal;
    struct str body, path, text;
    enum provider_event kind;
    struct buf request, bytes, gathered;
    tr_kit_reset(kit);
    provider_reply_reset(&reply);
    buf_init(&request, 4096);
    buf_init(&gathered, 65536);
    assert_int_equal(
        buf_printf(&request, "%s%s}", q(0, bodies[caller]), stream ? ",\"stream\":true" : ""), 0);
    struct tr_exchange *x = tr_exchange_create(&config);
    assert_non_null(x);
    assert_int_equal(json_parse(&kit->json, buf_str(&request), NULL), 0);
    assert_int_equal(tr_exchange_write(x, &kit->json, &kit->arena, &body, &path, &refusal), 0);
    assert_true(str_is(path, stream ? "/model/us.anthropic.claude-sonnet-4-5-v1%3A0/converse-stream"
                                    : "/model/us.anthropic.claude-sonnet-4-5-v1%3A0/converse"));
    if (stream) {
        encode(answer, &bytes);
        struct str input = buf_str(&bytes);
        provider_out_start(&out, &gathered);
        while (tr_exchange_read_next(x, &kit->json, &reply, &input, &out, &kind))
            ;
        tr_exchange_read_end(x, &kit->json, &reply, &out);
        assert_int_equal(buf_append_str(&kit->out, buf_str(&gathered)), 0);
        assert_int_equal(buf_append_str(&kit->out, buf_str(&reply.end)), 0);
        buf_deinit(&bytes);
    } else {
        assert_int_equal(tr_exchange_read_reply(x, &kit->json, &reply, str_from(q(0, answer)),
                                                &kit->arena, &text),
                         0);
        assert_int_equal(buf_append_str(&kit->out, text), 0);
    }
    *out_done = reply.done;
    provider_reply_deinit(&reply);
    tr_exchange_destroy(x);
    buf_deinit(&request);
    buf_deinit(&gathered);
    return tr_kit_out(kit);
}

static void holds(const char *text, const char *part)
{
    if (strstr(text, q(1, part)) == NULL)
        fail_msg("no %s in %s", plain_room[1], text);
}

#define CALLED                                                                                     \
    START TEXT("0", "Well")                                                                        \
        STOP("0") "contentBlockStart "                                                             \
                  "{'contentBlockIndex':1,'start':{'toolUse':{'toolUseId':'t1','name':'f'}}}"      \
                  "\ncontentBlockDelta "                                                           \
                  "{'contentBlockIndex':1,'delta':{'toolUse':{'input':'{}'}}}\n" STOP("1")         \
                      END("tool_use") META

static void a_stream_is_told_in_each_callers_dialect(void **state)
{
    bool done;
    const char *out = told(state, DIALECT_OPENAI, true, CALLED, &done);
    assert_true(done);
    holds(out, "'delta':{'content':'Well'}");
    holds(out, "'tool_calls':[{'index':0,'id':'t1','type':'function','function':{'name':'f',");
    holds(out, "'finish_reason':'tool_calls'");
    holds(out, "data: [DONE]");
    out = told(state, DIALECT_ANTHROPIC, true, CALLED, &done);
    assert_true(done);
    holds(out, "'text_delta','text':'Well'");
    holds(out, "'type':'tool_use','id':'t1','name':'f'");
    holds(out, "'stop_reason':'tool_use'");
    holds(out, "'cache_read_input_tokens':100");
    out = told(state, DIALECT_RESPONSES, true, CALLED, &done);
    assert_true(done);
    holds(out, "'type':'response.output_text.delta'");
    holds(out, "'call_id':'t1'");
    holds(out, "'type':'response.completed'");
}

static void a_whole_answer_is_told_in_each_callers_dialect(void **state)
{
    static const char answer[] =
        "{'output':{'message':{'role':'assistant','content':[{'text':'hi'}]}},'stopReason':"
        "'end_turn'," USAGE "}";
    bool done;
    const char *out = told(state, DIALECT_OPENAI, false, answer, &done);
    holds(out, "'content':'hi'");
    holds(out, "'finish_reason':'stop'");
    holds(out, "'prompt_tokens':1,'completion_tokens':2");
    holds(told(state, DIALECT_ANTHROPIC, false, answer, &done), "'stop_reason':'end_turn'");
    holds(told(state, DIALECT_RESPONSES, false, answer, &done), "'status':'completed'");
}

static void t18_a_caller_is_never_told_that_a_broken_stream_is_whole(void **state)
{
    static const enum dialect callers[] = {DIALECT_OPENAI, DIALECT_RESPONSES, DIALECT_ANTHROPIC};
    for (size_t i = 0; i < 3; i++) {
        bool done = true;
        const char *out = told(state, callers[i], true,
                               START TEXT("0", "half") "!internalServerException {}\n" STOP("0")
                                   END("end_turn") META,
                               &done);
        assert_false(done);
        holds(out, "half");
        assert_null(strstr(out, "[DONE]"));
        assert_null(strstr(out, "message_stop"));
        assert_null(strstr(out, "response.completed"));
    }
}

static void memory_that_is_refused_is_told(void **state)
{
    struct tr_kit *kit = *state;
    struct buf stream;
    bool fired = true;
    encode(CALLED TEXT("2", "\\n"), &stream);
    for (unsigned n = 0; fired; n++) {
        tr_kit_teardown(state);
        tr_kit_setup(state);
        fault_arm_alloc(n);
        int rc = tr_kit_stream(kit, DIALECT_BEDROCK, buf_str(&stream), 7);
        fired = fault_disarm();
        assert_int_equal(rc, fired ? ERR_NOMEM : 0);
    }
    buf_deinit(&stream);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, tr_kit_setup, tr_kit_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_text_comes_as_it_was_written),
        TEST(t01_two_calls_have_indexes_of_their_own),
        TEST(t02_a_call_without_arguments_has_none),
        TEST(t06_a_character_that_is_cut_between_reads_stays_whole),
        TEST(t06_an_argument_of_a_mebibyte_comes_whole),
        TEST(t07_reasoning_comes_with_its_signature),
        TEST(t08_the_stop_sequence_that_was_hit_is_told),
        TEST(t09_a_guardrail_is_a_content_filter_before_and_after_text),
        TEST(t11_an_end_without_a_reason_is_none),
        TEST(a_stream_without_its_metadata_is_whole),
        TEST(t18_an_exception_in_mid_stream_ends_it),
        TEST(what_later_versions_send_is_skipped),
        TEST(frames_that_are_no_json_are_refused),
        TEST(a_whole_reply_says_what_a_stream_says),
        TEST(t22_counts_that_cannot_be_are_suspect),
        TEST(what_is_no_reply_is_refused),
        TEST(t16_errors_are_told_by_name_and_by_words),
        TEST(a_stream_is_told_in_each_callers_dialect),
        TEST(a_whole_answer_is_told_in_each_callers_dialect),
        TEST(t18_a_caller_is_never_told_that_a_broken_stream_is_whole),
        TEST(memory_that_is_refused_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
