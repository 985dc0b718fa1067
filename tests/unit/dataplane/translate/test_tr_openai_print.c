/* Replies as callers of chat completions get them. */
#include <string.h>

#include "tests/unit/dataplane/translate/tr_kit.h"

static const struct tr_print plain = {
    .id = {.data = "chatcmpl-1", .len = 10},
    .model = {.data = "acme/m", .len = 6},
    .created_s = 1700000000,
    .vendor = DIALECT_ANTHROPIC,
};

#define HEAD(object)                                                                               \
    "{\"id\":\"chatcmpl-1\",\"object\":\"" object "\",\"created\":1700000000,\"model\":\"acme/"    \
    "m\","
#define CHUNK(delta, finish)                                                                       \
    "data: " HEAD("chat.completion.chunk") "\"choices\":[{\"index\":0,\"delta\":" delta            \
                                           ",\"finish_reason\":" finish "}]}\n\n"
#define CHUNK_NULL(delta, finish)                                                                  \
    "data: " HEAD("chat.completion.chunk") "\"choices\":[{\"index\":0,\"delta\":" delta            \
                                           ",\"finish_reason\":" finish "}],\"usage\":null}\n\n"
#define ROLE "{\"role\":\"assistant\",\"content\":\"\"}"
#define TEXT(t)                                                                                    \
    {                                                                                              \
        .kind = TR_EVENT_TEXT, .text = { t, sizeof(t) - 1 }                                        \
    }
#define S(text)                                                                                    \
    {                                                                                              \
        text, sizeof(text) - 1                                                                     \
    }
#define FINISH(how)                                                                                \
    {                                                                                              \
        .kind = TR_EVENT_FINISH, .finish = CALL_FINISH_##how                                       \
    }
#define START                                                                                      \
    {                                                                                              \
        .kind = TR_EVENT_START                                                                     \
    }
#define DONE                                                                                       \
    {                                                                                              \
        .kind = TR_EVENT_DONE                                                                      \
    }
#define USAGE                                                                                      \
    {                                                                                              \
        .kind = TR_EVENT_USAGE, .usage = {                                                         \
            .known = true,                                                                         \
            .tokens_in = 10,                                                                       \
            .tokens_out = 4,                                                                       \
            .tokens_cached = 3,                                                                    \
            .tokens_reasoning = 2                                                                  \
        }                                                                                          \
    }

static void prints(struct tr_kit *kit, const struct tr_print *print, const struct tr_event *events,
                   size_t count, const char *expected)
{
    tr_kit_reset(kit);
    assert_int_equal(tr_kit_print(kit, DIALECT_OPENAI, print, events, count), 0);
    assert_string_equal(tr_kit_out(kit), expected);
}
#define PRINTS(kit, print, events, expected)                                                       \
    prints(kit, print, events, sizeof(events) / sizeof(events)[0], expected)

static void a_stream_begins_with_the_role_and_ends_with_done(void **state)
{
    const struct tr_event events[] = {START,        TEXT("Hel"), TEXT("lo\n\"\xc3\xa4\""),
                                      FINISH(STOP), USAGE,       DONE};
    PRINTS(*state, &plain, events,
           CHUNK(ROLE, "null") CHUNK("{\"content\":\"Hel\"}", "null")
               CHUNK("{\"content\":\"lo\\n\\\"\xc3\xa4\\\"\"}", "null")
                   CHUNK("{}", "\"stop\"") "data: [DONE]\n\n");
}

static struct str member(void *arg, const struct call_usage *usage)
{
    (void)arg;
    return usage->tokens_out == 4 ? STR("\"steelyard\":{}") : STR_NULL;
}

static void t12_usage_comes_alone_and_only_if_asked_for(void **state)
{
    const struct tr_event events[] = {START, TEXT("a"), USAGE, FINISH(LENGTH), DONE};
    struct tr_print asked = plain;
    asked.want_usage = true;
    asked.usage_member = member;
    PRINTS(
        *state, &asked, events,
        CHUNK_NULL(ROLE, "null") CHUNK_NULL("{\"content\":\"a\"}", "null")
            CHUNK_NULL("{}", "\"length\"") "data: " HEAD(
                "chat.completion.chunk") "\"choices\":[],\"usage\":{\"prompt_tokens\":10,"
                                         "\"completion_tokens\":4,"
                                         "\"total_tokens\":14,\"prompt_tokens_details\":{\"cached_"
                                         "tokens\":3,"
                                         "\"cache_write_tokens\":0},\"completion_tokens_details\":{"
                                         "\"reasoning_tokens\":2},\"steelyard\":{}}}\n\ndata: "
                                         "[DONE]\n\n");
    PRINTS(*state, &plain, events,
           CHUNK(ROLE, "null") CHUNK("{\"content\":\"a\"}", "null")
               CHUNK("{}", "\"length\"") "data: [DONE]\n\n");
}

static void t01_indexes_count_calls_and_stop_becomes_tool_calls(void **state)
{
    const struct tr_event events[] = {
        START,
        TEXT("so"),
        {.kind = TR_EVENT_PART_END},
        {.kind = TR_EVENT_CALL, .call = {.id = S("c1"), .name = S("f")}},
        {.kind = TR_EVENT_ARGUMENTS, .text = S("{\"a\":")},
        {.kind = TR_EVENT_ARGUMENTS, .text = S("1}")},
        {.kind = TR_EVENT_CALL, .call_index = 1, .call = {.id = S("c2"), .name = S("g")}},
        {.kind = TR_EVENT_ARGUMENTS, .call_index = 1, .text = S("{}")},
        FINISH(STOP),
        DONE};
    PRINTS(*state, &plain, events,
           CHUNK(ROLE, "null") CHUNK("{\"content\":\"so\"}", "null") CHUNK(
               "{\"tool_calls\":[{\"index\":0,\"id\":\"c1\",\"type\":\"function\",\"function\":{"
               "\"name\":\"f\",\"arguments\":\"\"}}]}",
               "null")
               CHUNK("{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"{\\\"a\\\":\"}}]"
                     "}",
                     "null")
                   CHUNK("{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"1}\"}}]}",
                         "null")
                       CHUNK("{\"tool_calls\":[{\"index\":1,\"id\":\"c2\",\"type\":\"function\","
                             "\"function\":{\"name\":\"g\",\"arguments\":\"\"}}]}",
                             "null")
                           CHUNK("{\"tool_calls\":[{\"index\":1,\"function\":{\"arguments\":"
                                 "\"{}\"}}]}",
                                 "null") CHUNK("{}", "\"tool_calls\"") "data: [DONE]\n\n");
}

static void t02_a_call_without_arguments_has_an_empty_object(void **state)
{
    const struct tr_event events[] = {
        START,
        {.kind = TR_EVENT_CALL, .call = {.id = S("c1"), .name = S("f")}},
        FINISH(TOOL_CALLS)};
    PRINTS(*state, &plain, events,
           CHUNK(ROLE,
                 "null") CHUNK("{\"tool_calls\":[{\"index\":0,\"id\":\"c1\",\"type\":\"function\","
                               "\"function\":{\"name\":\"f\",\"arguments\":\"\"}}]}",
                               "null")
               CHUNK("{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"{}\"}}]}", "null")
                   CHUNK("{}", "\"tool_calls\""));
}

static void t07_reasoning_is_streamed_and_sealed_for_its_way_back(void **state)
{
    const struct tr_event events[] = {
        START,
        {.kind = TR_EVENT_REASONING, .text = S("ab")},
        {.kind = TR_EVENT_REASONING, .text = S("\xc3\xa4")},
        {.kind = TR_EVENT_SEAL, .opaque = S("SIG==")},
        {.kind = TR_EVENT_REDACTED, .opaque = S("sy1.anthropic.R")},
    };
    PRINTS(*state, &plain, events,
           CHUNK(ROLE, "null") CHUNK("{\"reasoning_content\":\"ab\"}", "null")
               CHUNK("{\"reasoning_content\":\"\xc3\xa4\"}", "null")
                   CHUNK("{\"thinking_blocks\":[{\"index\":0,\"type\":\"thinking\",\"thinking\":"
                         "\"\",\"reasoning_bytes\":4,\"signature\":\"sy1.anthropic.SIG==\"}]}",
                         "null")
                       CHUNK("{\"thinking_blocks\":[{\"index\":1,\"type\":\"redacted_thinking\","
                             "\"data\":\"sy1.anthropic.R\"}]}",
                             "null"));
}

static void a_signature_of_a_call_is_sealed_where_google_has_it(void **state)
{
    const struct tr_event events[] = {
        START,
        {.kind = TR_EVENT_CALL, .call = {.id = S("c"), .name = S("f"), .signature = S("XYZ")}}};
    struct tr_print print = plain;
    print.vendor = DIALECT_GEMINI;
    PRINTS(*state, &print, events,
           CHUNK(ROLE, "null")
               CHUNK("{\"tool_calls\":[{\"index\":0,\"id\":\"c\",\"type\":\"function\",\"function\""
                     ":{\"name\":\"f\",\"arguments\":\"\"},\"extra_content\":{\"google\":{"
                     "\"thought_signature\":\"sy1.gemini.XYZ\"}}}]}",
                     "null"));
}

static void t09_a_refusal_is_streamed_apart(void **state)
{
    const struct tr_event events[] = {
        START, {.kind = TR_EVENT_REFUSAL, .text = S("no")}, FINISH(CONTENT_FILTER)};
    PRINTS(*state, &plain, events,
           CHUNK(ROLE, "null") CHUNK("{\"refusal\":\"no\"}", "null")
               CHUNK("{}", "\"content_filter\""));
}

static void no_word_of_a_vendor_is_printed_and_a_ping_is_a_comment(void **state)
{
    const struct tr_event events[] = {
        {.kind = TR_EVENT_PING},
        {.kind = TR_EVENT_FINISH, .finish = CALL_FINISH_OTHER, .vendor_finish = S("pause_turn")}};
    PRINTS(*state, &plain, events, ": keepalive\n\n" CHUNK(ROLE, "null") CHUNK("{}", "\"stop\""));
}

static void each_choice_begins_by_itself(void **state)
{
    const struct tr_event events[] = {START, {.kind = TR_EVENT_TEXT, .choice = 1, .text = S("b")}};
    struct tr_kit *kit = *state;
    assert_int_equal(tr_kit_print(kit, DIALECT_OPENAI, &plain, events, 2), 0);
    assert_non_null(strstr(tr_kit_out(kit), "[{\"index\":1,\"delta\":" ROLE));
    assert_non_null(strstr(tr_kit_out(kit), "[{\"index\":1,\"delta\":{\"content\":\"b\"}"));
    const struct tr_event wrong[] = {{.kind = TR_EVENT_TEXT, .choice = CALL_CHOICES_MAX}};
    assert_int_equal(tr_kit_print(kit, DIALECT_OPENAI, &plain, wrong, 1), ERR_TOO_LARGE);
}

static void a_whole_answer_has_all_of_it(void **state)
{
    struct tr_kit *kit = *state;
    const struct tr_answer_part parts[] = {
        {.kind = TR_PART_REASONING, .text = S("why"), .opaque = S("S")},
        {.kind = TR_PART_REASONING, .opaque = S("R"), .redacted = true},
        {.kind = TR_PART_TEXT, .text = S("Hel")},
        {.kind = TR_PART_TEXT, .text = S("lo")},
        {.kind = TR_PART_CALL, .call = {.id = S("c"), .name = S("f")}},
        {.kind = TR_PART_CALL, .text = S("{\"a\":1}"), .call = {.id = S("d"), .name = S("g")}}};
    const struct tr_choice_answer choice = {
        .parts = parts, .part_count = 6, .finish = CALL_FINISH_STOP};
    const struct tr_answer answer = {
        .choices = &choice,
        .choice_count = 1,
        .usage = {.known = true, .tokens_in = 5, .tokens_out = 6, .tokens_cached = 9}};
    assert_int_equal(tr_caller_find(DIALECT_OPENAI)->print_answer(&plain, &answer, &kit->out), 0);
    assert_string_equal(
        tr_kit_out(kit),
        HEAD("chat.completion") "\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\","
                                "\"content\":\"Hello\",\"refusal\":null,\"reasoning_content\":"
                                "\"why\","
                                "\"thinking_blocks\":[{\"type\":\"thinking\",\"thinking\":\"why\","
                                "\"signature\":"
                                "\"sy1.anthropic.S\"},{\"type\":\"redacted_thinking\",\"data\":"
                                "\"sy1.anthropic.R\"}],"
                                "\"tool_calls\":[{\"id\":\"c\",\"type\":\"function\",\"function\":{"
                                "\"name\":\"f\","
                                "\"arguments\":\"{}\"}},{\"id\":\"d\",\"type\":\"function\","
                                "\"function\":{\"name\":\"g\","
                                "\"arguments\":\"{\\\"a\\\":1}\"}}]},\"logprobs\":null,\"finish_"
                                "reason\":\"tool_calls\"}],"
                                "\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":6,\"total_"
                                "tokens\":11,"
                                "\"prompt_tokens_details\":{\"cached_tokens\":5,\"cache_write_"
                                "tokens\":0},"
                                "\"completion_tokens_details\":{\"reasoning_tokens\":0}}}");
}

static void t05_a_whole_answer_of_calls_alone_has_null_for_text(void **state)
{
    struct tr_kit *kit = *state;
    const struct tr_answer_part call = {.kind = TR_PART_CALL,
                                        .call = {.id = S("c"), .name = S("f")}};
    const struct tr_choice_answer choices[] = {
        {.parts = &call, .part_count = 1, .finish = CALL_FINISH_TOOL_CALLS}, {.part_count = 0}};
    const struct tr_answer answer = {.choices = choices, .choice_count = 2};
    assert_int_equal(tr_caller_find(DIALECT_OPENAI)->print_answer(&plain, &answer, &kit->out), 0);
    assert_non_null(strstr(tr_kit_out(kit), "\"content\":null"));
    assert_non_null(strstr(tr_kit_out(kit), "\"index\":1,\"message\":{\"role\":\"assistant\","
                                            "\"content\":\"\",\"refusal\":null}"));
    assert_null(strstr(tr_kit_out(kit), "usage"));
}

/* What is printed is read again as it was meant. */
static void t06_any_text_survives_its_way(void **state)
{
    struct tr_kit *kit = *state;
    static const char text[] = "\0\x01\"\\\xf0\x9f\x98\x80\xe2\x80\xa8</";
    const struct tr_event events[] = {{.kind = TR_EVENT_TEXT, .text = {text, sizeof text - 1}}};
    struct str content;
    assert_int_equal(tr_kit_print(kit, DIALECT_OPENAI, &plain, events, 1), 0);
    const char *second = strstr(tr_kit_out(kit), "\n\ndata: ");
    assert_non_null(second);
    assert_int_equal(json_parse(&kit->json, str_trim(str_from(second + 8)), NULL), 0);
    uint32_t choice = json_at(&kit->json, json_get(&kit->json, 0, STR("choices")), 0);
    uint32_t node =
        json_get(&kit->json, json_get(&kit->json, choice, STR("delta")), STR("content"));
    assert_int_equal(json_text(&kit->json, node, &kit->arena, &content), 0);
    assert_true(str_eq(content, events[0].text));
}

static void printing_survives_each_failed_allocation(void **state)
{
    struct tr_kit *kit = *state;
    const struct tr_event events[] = {START, TEXT("a"), USAGE, FINISH(STOP), DONE};
    struct tr_print asked = plain;
    bool fired = true;
    asked.want_usage = true;
    for (unsigned n = 0; fired; n++) {
        buf_deinit(&kit->out);
        buf_init(&kit->out, 1U << 20);
        fault_arm_alloc(n);
        int rc = tr_kit_print(kit, DIALECT_OPENAI, &asked, events, 5);
        fired = fault_disarm();
        assert_int_equal(rc, fired ? ERR_NOMEM : 0);
    }
}

#define T(name) cmocka_unit_test_setup_teardown(name, tr_kit_setup, tr_kit_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_stream_begins_with_the_role_and_ends_with_done),
        T(t12_usage_comes_alone_and_only_if_asked_for),
        T(t01_indexes_count_calls_and_stop_becomes_tool_calls),
        T(t02_a_call_without_arguments_has_an_empty_object),
        T(t07_reasoning_is_streamed_and_sealed_for_its_way_back),
        T(a_signature_of_a_call_is_sealed_where_google_has_it),
        T(t09_a_refusal_is_streamed_apart),
        T(no_word_of_a_vendor_is_printed_and_a_ping_is_a_comment),
        T(each_choice_begins_by_itself),
        T(a_whole_answer_has_all_of_it),
        T(t05_a_whole_answer_of_calls_alone_has_null_for_text),
        T(t06_any_text_survives_its_way),
        T(printing_survives_each_failed_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
