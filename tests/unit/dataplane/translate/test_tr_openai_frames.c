/* What hosts of chat completions answer, in events. */
#include <string.h>

#include "tests/unit/dataplane/translate/tr_kit.h"

#define CHUNK(delta, finish)                                                                       \
    "data: {\"id\":\"x1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m-1\","   \
    "\"choices\":[{\"index\":0,\"delta\":" delta ",\"finish_reason\":" finish "}]}\n\n"
#define USAGE(usage)                                                                               \
    "data: {\"id\":\"x1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m-1\","   \
    "\"choices\":[],\"usage\":" usage "}\n\n"
#define END "data: [DONE]\n\n"

static void reads(struct tr_kit *kit, const char *stream, const char *expected)
{
    tr_kit_reset(kit);
    assert_int_equal(tr_kit_stream(kit, DIALECT_OPENAI, str_from(stream), 0), 0);
    assert_string_equal(tr_kit_log(kit), expected);
    tr_kit_reset(kit);
    assert_int_equal(tr_kit_stream(kit, DIALECT_OPENAI, str_from(stream), 1), 0);
    assert_string_equal(tr_kit_log(kit), expected);
}

static void a_stream_is_told_in_events(void **state)
{
    reads(*state,
          CHUNK("{\"role\":\"assistant\",\"content\":\"\"}", "null")
              CHUNK("{\"content\":\"Hel\"}", "null") CHUNK("{\"content\":\"lo\"}", "null")
                  CHUNK("{}", "\"stop\"")
                      USAGE("{\"prompt_tokens\":9,\"completion_tokens\":2,\"total_tokens\":11,"
                            "\"prompt_tokens_details\":{\"cached_tokens\":4},"
                            "\"completion_tokens_details\":{\"reasoning_tokens\":1}}") END,
          "start x1 m-1\ntext Hel\ntext lo\nfinish stop stop\n"
          "usage in 9 out 2 cached 4 written 0 reasoning 1\ndone\n");
}

static void t06_every_cut_gives_the_same_events(void **state)
{
    struct tr_kit *kit = *state;
    static const char stream[] = "\xef\xbb\xbf" CHUNK(
        "{\"role\":\"assistant\",\"content\":\"\"}",
        "null") ": note\r\n\r\n" CHUNK("{\"reasoning_content\":\"h\\u00e4\"}", "null")
        CHUNK(
            "{\"content\":\"\\ud83d\\ude00 \xf0\x9f\x98\x80\\u0000\"}",
            "null") "data: {\"id\":\"x1\",\r\ndata: "
                    "\"choices\":[{\"index\":0,\"delta\":{\"content\":\"two\"}}]}"
                    "\r\n\r\n" CHUNK("{\"tool_calls\":[{\"index\":0,\"id\":\"c\",\"type\":"
                                     "\"function\",\"function\":{"
                                     "\"name\":\"f\",\"arguments\":\"{\\\"a\\\":\"}}]}",
                                     "null")
                        CHUNK(
                            "{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"1}\"}}]}",
                            "null") CHUNK("{}", "\"tool_calls\"") END;
    struct str s = {stream, sizeof stream - 1};
    char whole[1024];
    assert_int_equal(tr_kit_stream(kit, DIALECT_OPENAI, s, 0), 0);
    assert_true(str_copy(str_from(tr_kit_log(kit)), whole, sizeof whole));
    assert_non_null(strstr(whole, "\ndone\n"));
    for (size_t at = 0; at <= s.len; at++) {
        tr_kit_reset(kit);
        assert_int_equal(tr_kit_stream_cut(kit, DIALECT_OPENAI, s, at), 0);
        assert_string_equal(tr_kit_log(kit), whole);
    }
    for (size_t end = 0; end + 16 < s.len; end++) { /* A cut stream never ends well. */
        tr_kit_reset(kit);
        if (tr_kit_stream(kit, DIALECT_OPENAI, str_slice(s, 0, end), 0) == 0)
            assert_null(strstr(tr_kit_log(kit), "done"));
    }
}

static void t01_calls_are_numbered_as_they_begin(void **state)
{
    reads(*state,
          CHUNK("{\"tool_calls\":[{\"index\":0,\"id\":\"a\",\"function\":{\"name\":\"f\","
                "\"arguments\":\"\"}}]}",
                "null")
              CHUNK("{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"{\"}}]}", "null")
                  CHUNK("{\"tool_calls\":[{\"index\":1,\"id\":\"b\",\"function\":{\"name\":\"g\","
                        "\"arguments\":\"{}\"}}]}",
                        "null")
                      CHUNK("{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"}\"}}]}",
                            "null") CHUNK("{}", "\"tool_calls\"") END,
          "start x1 m-1\ncall 0 a f\narguments 0 {\ncall 1 b g\narguments 1 {}\narguments 0 }\n"
          "finish tool_calls tool_calls\ndone\n");
}

static void calls_without_an_index_are_told_apart_by_id(void **state)
{
    reads(*state,
          CHUNK("{\"tool_calls\":[{\"id\":\"a\",\"function\":{\"name\":\"f\",\"arguments\":\"1\"}}"
                "]}",
                "null") CHUNK("{\"tool_calls\":[{\"function\":{\"arguments\":\"2\"}}]}", "null")
              CHUNK("{\"tool_calls\":[{\"id\":\"a\",\"function\":{\"name\":\"f\",\"arguments\":"
                    "\"3\"}}]}",
                    "null") CHUNK("{\"tool_calls\":[{\"id\":\"b\",\"function\":{\"name\":\"f\","
                                  "\"arguments\":\"4\"}}]}",
                                  "null") CHUNK("{}", "\"stop\"") END,
          "start x1 m-1\ncall 0 a f\narguments 0 1\narguments 0 2\narguments 0 3\ncall 1 b f\n"
          "arguments 1 4\nfinish tool_calls stop\ndone\n");
}

static void an_index_that_is_used_again_is_the_next_call(void **state)
{
    reads(*state,
          CHUNK("{\"tool_calls\":[{\"index\":0,\"id\":\"a\",\"function\":{\"name\":\"f\","
                "\"arguments\":\"{}\"}}]}",
                "null")
              CHUNK("{\"tool_calls\":[{\"index\":0,\"id\":\"b\",\"function\":{\"name\":\"g\","
                    "\"arguments\":\"{}\"}}]}",
                    "null")
                  CHUNK("{\"tool_calls\":[{\"index\":0,\"id\":\"b\",\"function\":{\"arguments\":"
                        "\" \"}}]}",
                        "null") CHUNK("{}", "\"tool_calls\"") END,
          "start x1 m-1\ncall 0 a f\narguments 0 {}\ncall 1 b g\narguments 1 {}\narguments 1  \n"
          "finish tool_calls tool_calls\ndone\n");
}

static void t19_calls_with_one_id_are_two_by_their_index(void **state)
{
    reads(*state,
          CHUNK("{\"tool_calls\":[{\"index\":0,\"id\":\"a\",\"function\":{\"name\":\"f\"}},"
                "{\"index\":1,\"id\":\"a\",\"function\":{\"name\":\"f\"}}]}",
                "\"tool_calls\"") END,
          "start x1 m-1\ncall 0 a f\ncall 1 a f\nfinish tool_calls tool_calls\ndone\n");
    tr_kit_reset(*state);
    assert_int_equal(
        tr_kit_reply(*state, DIALECT_OPENAI,
                     "{\"id\":\"x\",\"model\":\"m\",\"choices\":[{\"message\":{\"tool_calls\":["
                     "{\"id\":\"a\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}},{\"id\":"
                     "\"a\",\"function\":{\"name\":\"f\",\"arguments\":{\"b\":2}}}]},"
                     "\"finish_reason\":\"stop\"}]}"),
        0);
    assert_string_equal(tr_kit_log(*state),
                        "start x m\ncall 0 a f\narguments 0 {}\ncall 1 a f\n"
                        "arguments 1 {\"b\":2}\nfinish tool_calls stop\ndone\n");
}

static void azure_begins_with_a_chunk_about_the_prompt(void **state)
{
    reads(
        *state,
        "data: {\"choices\":[],\"created\":0,\"id\":\"\",\"model\":\"\",\"object\":\"\","
        "\"prompt_filter_results\":[{\"prompt_index\":0,\"content_filter_results\":{}}]}\n\n" CHUNK(
            "{\"content\":\"a\"}", "null") CHUNK("{}", "\"content_filter\"") END,
        "start x1 m-1\ntext a\nfinish content_filter content_filter\ndone\n");
}

static void usage_of_groq_xai_and_deepseek_is_found(void **state)
{
    reads(*state,
          "data: {\"id\":\"g\",\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{},"
          "\"finish_reason\":\"stop\"}],\"x_groq\":{\"id\":\"r\",\"usage\":{\"prompt_tokens\":3,"
          "\"completion_tokens\":2,\"total_tokens\":5}}}\n\n" END,
          "start g m\nfinish stop stop\nusage in 3 out 2 cached 0 written 0 reasoning 0\ndone\n");
    reads(*state,
          CHUNK("{\"content\":\"a\"}", "\"stop\"")
              USAGE("{\"prompt_tokens\":3,\"completion_tokens\":2,\"total_tokens\":12,"
                    "\"completion_tokens_details\":{\"reasoning_tokens\":7}}") END,
          "start x1 m-1\ntext a\nfinish stop stop\n"
          "usage in 3 out 9 cached 0 written 0 reasoning 7\ndone\n");
    reads(*state,
          CHUNK("{\"content\":\"a\"}", "\"stop\"")
              USAGE("{\"prompt_tokens\":3,\"completion_tokens\":2,\"prompt_cache_hit_tokens\":1}")
                  END,
          "start x1 m-1\ntext a\nfinish stop stop\n"
          "usage in 3 out 2 cached 1 written 0 reasoning 0\ndone\n");
}

static void t22_more_cached_than_prompt_tokens_is_told_as_it_is(void **state)
{
    struct tr_kit *kit = *state;
    reads(kit,
          USAGE("{\"prompt_tokens\":3,\"completion_tokens\":2,\"prompt_tokens_details\":{"
                "\"cached_tokens\":8}}"),
          "start x1 m-1\nusage in 3 out 2 cached 8 written 0 reasoning 0\n");
    /* The exchange puts it right for all dialects; so does the printer. */
    struct call_usage u = {.known = true, .tokens_in = 3, .tokens_out = 2, .tokens_cached = 8};
    provider_usage_check(&u, 3, 0, 0);
    assert_int_equal(u.tokens_cached, 3);
}

static void reasoning_comes_under_all_its_names(void **state)
{
    reads(*state,
          CHUNK("{\"reasoning_content\":\"a\",\"reasoning\":\"a\"}", "null")
              CHUNK("{\"reasoning\":\"b\",\"content\":null}", "null")
                  CHUNK("{\"content\":[{\"type\":\"thinking\",\"thinking\":[{\"type\":\"text\","
                        "\"text\":\"c\"}]},{\"type\":\"text\",\"text\":\"d\"}]}",
                        "null") CHUNK("{\"refusal\":\"e\"}", "\"length\"") END,
          "start x1 m-1\nreasoning a\nreasoning b\nreasoning c\ntext d\nrefusal e\n"
          "finish length length\ndone\n");
}

static void calls_of_the_old_kind_and_of_gemini_are_read(void **state)
{
    reads(*state,
          CHUNK("{\"function_call\":{\"name\":\"f\",\"arguments\":\"\"}}", "null")
              CHUNK("{\"function_call\":{\"arguments\":\"{}\"}}", "null")
                  CHUNK("{}", "\"function_call\"") END,
          "start x1 m-1\ncall 0  f\narguments 0 {}\nfinish tool_calls function_call\ndone\n");
    reads(*state,
          CHUNK("{\"tool_calls\":[{\"index\":0,\"id\":\"a\",\"function\":{\"name\":\"f\","
                "\"arguments\":\"{}\"},\"extra_content\":{\"google\":{\"thought_signature\":"
                "\"S\"}}}]}",
                "\"stop\"") END,
          "start x1 m-1\ncall 0 a f signed S\narguments 0 {}\nfinish tool_calls stop\ndone\n");
}

static void t10_an_error_in_a_stream_is_an_event(void **state)
{
    reads(*state,
          "data: {\"error\":{\"message\":\"no room\",\"type\":\"overloaded_error\",\"code\":null}}"
          "\n\n" CHUNK("{\"content\":\"late\"}", "null"),
          "error 8 no room (overloaded_error)\n");
    reads(*state,
          CHUNK("{\"content\":\"a\"}", "null") "data: "
                                               "{\"id\":\"x\",\"error\":{\"code\":502,\"message\":"
                                               "\"gone\"},\"choices\":[]}\n\n",
          "start x1 m-1\ntext a\nerror 10 gone (502)\n");
}

static void t11_an_end_without_finish_is_no_end(void **state)
{
    reads(*state, CHUNK("{\"content\":\"a\"}", "null"), "start x1 m-1\ntext a\n");
    reads(*state, CHUNK("{\"content\":\"a\"}", "\"stop\""),
          "start x1 m-1\ntext a\nfinish stop stop\ndone\n");
    reads(*state,
          CHUNK("{\"content\":\"a\"}", "\"stop\"") "data: "
                                                   "{\"id\":\"x1\",\"choices\":[{\"index\":1,"
                                                   "\"delta\":{\"content\":\"b\"}}]}\n\n",
          "start x1 m-1\ntext a\nfinish stop stop\ntext[1] b\n");
}

static void what_follows_the_end_is_nobodys(void **state)
{
    reads(*state,
          CHUNK("{}", "\"stop\"") CHUNK("{}", "\"stop\"") END CHUNK("{\"content\":\"x\"}", "null"),
          "start x1 m-1\nfinish stop stop\ndone\n");
}

static void t06_long_arguments_and_deep_frames_are_read_or_refused(void **state)
{
    struct tr_kit *kit = *state;
    struct buf b;
    buf_init(&b, 4U << 20);
    assert_int_equal(buf_append_text(&b,
                                     "{\"choices\":[{\"message\":{\"tool_calls\":[{\"id\":\"a\","
                                     "\"function\":{\"name\":\"f\",\"arguments\":\""),
                     0);
    for (unsigned i = 0; i < 1U << 19; i++)
        assert_int_equal(buf_append_text(&b, "\\n"), 0);
    assert_int_equal(buf_append_text(&b, "\"}}]},\"finish_reason\":\"stop\"}]}"), 0);
    assert_int_equal(tr_kit_reply(kit, DIALECT_OPENAI, buf_cstr(&b)), 0);
    assert_true(kit->log.len > 1U << 19);
    buf_clear(&b);
    assert_int_equal(buf_append_text(&b, "data: {\"choices\":[],\"x\":"), 0);
    for (unsigned i = 0; i < 128; i++)
        assert_int_equal(buf_append_text(&b, "["), 0);
    for (unsigned i = 0; i < 128; i++)
        assert_int_equal(buf_append_text(&b, "]"), 0);
    assert_int_equal(buf_append_text(&b, "}\n\n"), 0);
    assert_int_equal(tr_kit_stream(kit, DIALECT_OPENAI, buf_str(&b), 0), 0);
    buf_deinit(&b);
}

static void what_is_no_chunk_is_a_protocol_error(void **state)
{
    static const char *const streams[] = {
        "data: {\n\n",
        "data: []\n\n",
        "data: {}\n\n",
        "data: {\"choices\":{}}\n\n",
        "data: {\"choices\":[1]}\n\n",
        "data: {\"choices\":[{\"index\":99,\"delta\":{}}]}\n\n",
        "data: {\"choices\":[{\"index\":-1,\"delta\":{}}]}\n\n",
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[7]}}]}\n\n",
    };
    for (size_t i = 0; i < sizeof streams / sizeof streams[0]; i++)
        assert_int_equal(tr_kit_stream(*state, DIALECT_OPENAI, str_from(streams[i]), 0),
                         ERR_PROTOCOL);
    assert_int_equal(tr_kit_reply(*state, DIALECT_OPENAI, "<html>"), ERR_PROTOCOL);
    assert_int_equal(tr_kit_reply(*state, DIALECT_OPENAI, "{\"choices\":[]}"), ERR_PROTOCOL);
}

static void more_calls_than_there_is_room_for_end_the_reading(void **state)
{
    struct buf b;
    buf_init(&b, 1U << 20);
    for (unsigned i = 0; i < 129; i++)
        assert_int_equal(buf_printf(&b,
                                    "data: {\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{"
                                    "\"index\":%u,\"id\":\"i%u\",\"function\":{\"name\":\"f\"}}]}}]"
                                    "}\n\n",
                                    i, i),
                         0);
    assert_int_equal(tr_kit_stream(*state, DIALECT_OPENAI, buf_str(&b), 0), ERR_TOO_LARGE);
    buf_deinit(&b);
}

static void a_whole_reply_is_told_in_events(void **state)
{
    struct tr_kit *kit = *state;
    assert_int_equal(
        tr_kit_reply(
            kit, DIALECT_OPENAI,
            "{\"id\":\"x\",\"model\":\"m\",\"choices\":[{\"index\":0,\"message\":{"
            "\"content\":\"a\\n\",\"reasoning_content\":\"r\"},\"finish_reason\":\"stop\"},"
            "{\"message\":{\"content\":\"b\"},\"finish_reason\":\"weird\"}],\"usage\":{"
            "\"prompt_tokens\":1,\"completion_tokens\":2}}"),
        0);
    assert_string_equal(tr_kit_log(kit),
                        "start x m\nreasoning r\ntext a\n\nfinish stop stop\ntext[1] b\n"
                        "finish[1] other weird\nusage in 1 out 2 cached 0 written 0 reasoning 0\n"
                        "done\n");
}

static void t16_errors_have_a_kind_and_perhaps_a_wait(void **state)
{
    static const struct {
        unsigned status;
        enum tr_error_kind kind;
        int64_t wait_ms;
        const char *body, *message, *code;
    } cases[] = {
        {429, TR_ERROR_RATE_LIMITED, 1500,
         "{\"error\":{\"message\":\"Please try again in 1.5s.\",\"type\":\"tokens\",\"param\":null,"
         "\"code\":\"rate_limit_exceeded\"}}",
         "Please try again in 1.5s.", "rate_limit_exceeded"},
        {429, TR_ERROR_RATE_LIMITED, 360250, "{\"error\":{\"message\":\"try again in 6m0.25s\"}}",
         "try again in 6m0.25s", ""},
        {429, TR_ERROR_RATE_LIMITED, -1, "", "", ""},
        {429, TR_ERROR_QUOTA, -1,
         "{\"error\":{\"message\":\"You exceeded your current quota\",\"code\":"
         "\"insufficient_quota\"}}",
         "You exceeded your current quota", "insufficient_quota"},
        {400, TR_ERROR_CONTEXT_LENGTH, -1,
         "{\"error\":{\"message\":\"too long\",\"type\":\"invalid_request_error\",\"code\":"
         "\"context_length_exceeded\"}}",
         "too long", "context_length_exceeded"},
        {400, TR_ERROR_CONTEXT_LENGTH, -1,
         "{\"object\":\"error\",\"message\":\"This model's maximum context length is 4096\","
         "\"type\":\"BadRequestError\",\"param\":null,\"code\":400}",
         "This model's maximum context length is 4096", "400"},
        {400, TR_ERROR_CONTENT_POLICY, -1,
         "{\"error\":{\"message\":\"The response was filtered due to Azure's content management "
         "policy\",\"code\":\"content_filter\",\"innererror\":{\"code\":"
         "\"ResponsibleAIPolicyViolation\"}}}",
         "The response was filtered due to Azure's content management policy", "content_filter"},
        {400, TR_ERROR_AUTHENTICATION, -1,
         "{\"code\":\"invalid-argument\",\"error\":\"Incorrect API key provided\"}",
         "Incorrect API key provided", ""},
        {400, TR_ERROR_INVALID_REQUEST, -1, "{\"error\":{\"message\":\"bad\"}}", "bad", ""},
        {401, TR_ERROR_AUTHENTICATION, -1, "{\"message\":\"Unauthorized\"}", "Unauthorized", ""},
        {402, TR_ERROR_QUOTA, -1, "{\"error\":{\"message\":\"Insufficient Balance\"}}",
         "Insufficient Balance", ""},
        {403, TR_ERROR_PERMISSION, -1, "<html>no</html>", "", ""},
        {404, TR_ERROR_NOT_FOUND, -1, "{\"detail\":\"Not Found\"}", "Not Found", ""},
        {413, TR_ERROR_RATE_LIMITED, -1,
         "{\"error\":{\"message\":\"Request too large\",\"code\":\"rate_limit_exceeded\"}}",
         "Request too large", "rate_limit_exceeded"},
        {413, TR_ERROR_CONTEXT_LENGTH, -1, "", "", ""},
        {422, TR_ERROR_INVALID_REQUEST, -1,
         "{\"detail\":[{\"type\":\"extra_forbidden\",\"loc\":[\"body\",\"x\"],\"msg\":\"Extra "
         "inputs are not permitted\"}]}",
         "Extra inputs are not permitted", ""},
        {422, TR_ERROR_INVALID_REQUEST, -1,
         "{\"object\":\"error\",\"message\":{\"detail\":[{\"msg\":\"wrong\"}]},\"type\":"
         "\"invalid_request_error\",\"code\":null}",
         "wrong", "invalid_request_error"},
        {408, TR_ERROR_TIMEOUT, -1, "", "", ""},
        {504, TR_ERROR_TIMEOUT, -1, "", "", ""},
        {503, TR_ERROR_OVERLOADED, -1, "[{\"error\":{\"code\":503,\"message\":\"busy\"}}]", "busy",
         "503"},
        {529, TR_ERROR_OVERLOADED, -1, "", "", ""},
        {500, TR_ERROR_UPSTREAM, -1, "{\"error\":\"boom\"}", "boom", ""},
        {502, TR_ERROR_UPSTREAM, -1, "", "", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct tr_error e = tr_kit_error(*state, DIALECT_OPENAI, cases[i].status, cases[i].body);
        assert_int_equal(e.kind, cases[i].kind);
        assert_int_equal(e.wait_ms, cases[i].wait_ms);
        assert_true(str_is(e.message, cases[i].message));
        assert_true(str_is(e.code, cases[i].code));
    }
}

static void a_long_message_is_cut_between_characters(void **state)
{
    struct tr_kit *kit = *state;
    assert_int_equal(buf_append_text(&kit->out, "{\"error\":{\"message\":\"x"), 0);
    for (unsigned i = 0; i < 1000; i++)
        assert_int_equal(buf_append_text(&kit->out, "\xc3\xa4"), 0);
    assert_int_equal(buf_append_text(&kit->out, "\"}}"), 0);
    struct tr_error e = tr_kit_error(kit, DIALECT_OPENAI, 400, tr_kit_out(kit));
    assert_int_equal(e.message.len, 1023);
    assert_true(str_valid_utf8(e.message));
}

static void reading_survives_each_failed_allocation(void **state)
{
    struct tr_kit *kit = *state;
    static const char stream[] = CHUNK("{\"content\":\"a\\nb\"}", "null")
        CHUNK("{\"tool_calls\":[{\"index\":0,\"id\":\"c\\n\",\"function\":{\"name\":\"f\\n\","
              "\"arguments\":\"{\\n}\"}}]}",
              "\"stop\"") END;
    static const char body[] =
        "{\"choices\":[{\"message\":{\"content\":\"a\\n\"},\"finish_reason\":\"stop\"}]}";
    for (int whole = 0; whole < 2; whole++) {
        bool fired = true;
        for (unsigned n = 0; fired; n++) {
            tr_kit_reset(kit);
            json_deinit(&kit->json);
            json_init(&kit->json, JSON_NODES_MAX);
            fault_arm_alloc(n);
            int rc = whole ? tr_kit_reply(kit, DIALECT_OPENAI, body)
                           : tr_kit_stream(kit, DIALECT_OPENAI, str_from(stream), 7);
            fired = fault_disarm();
            assert_int_equal(rc, fired ? ERR_NOMEM : 0);
        }
    }
    fault_arm_alloc(0);
    struct tr_error e = tr_kit_error(kit, DIALECT_OPENAI, 429, "{}");
    (void)fault_disarm();
    assert_int_equal(e.kind, TR_ERROR_RATE_LIMITED);
}

#define T(name) cmocka_unit_test_setup_teardown(name, tr_kit_setup, tr_kit_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_stream_is_told_in_events),
        T(t06_every_cut_gives_the_same_events),
        T(t01_calls_are_numbered_as_they_begin),
        T(calls_without_an_index_are_told_apart_by_id),
        T(an_index_that_is_used_again_is_the_next_call),
        T(t19_calls_with_one_id_are_two_by_their_index),
        T(azure_begins_with_a_chunk_about_the_prompt),
        T(usage_of_groq_xai_and_deepseek_is_found),
        T(t22_more_cached_than_prompt_tokens_is_told_as_it_is),
        T(reasoning_comes_under_all_its_names),
        T(calls_of_the_old_kind_and_of_gemini_are_read),
        T(t10_an_error_in_a_stream_is_an_event),
        T(t11_an_end_without_finish_is_no_end),
        T(what_follows_the_end_is_nobodys),
        T(t06_long_arguments_and_deep_frames_are_read_or_refused),
        T(what_is_no_chunk_is_a_protocol_error),
        T(more_calls_than_there_is_room_for_end_the_reading),
        T(a_whole_reply_is_told_in_events),
        T(t16_errors_have_a_kind_and_perhaps_a_wait),
        T(a_long_message_is_cut_between_characters),
        T(reading_survives_each_failed_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
