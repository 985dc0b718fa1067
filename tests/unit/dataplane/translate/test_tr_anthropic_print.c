/* Answers as a caller of the Messages dialect gets them. */
#include <string.h>

#include "tests/unit/dataplane/translate/tr_kit.h"

static const struct tr_print print = {.id = {.data = "r1", .len = 2},
                                      .model = {.data = "served", .len = 6},
                                      .tokens_in = 12,
                                      .vendor = DIALECT_GEMINI};

#define FRAME(name, rest) "event: " name "\ndata: {\"type\":\"" name "\"" rest "}\n\n"
#define START                                                                                      \
    FRAME("message_start",                                                                         \
          ",\"message\":{\"id\":\"msg_r1\",\"type\":\"message\",\"role\":\"assistant\",\"model\":" \
          "\"served\",\"content\":[],\"stop_reason\":null,\"stop_sequence\":null,\"usage\":{"      \
          "\"input_tokens\":12,\"cache_creation_input_tokens\":0,\"cache_read_input_tokens\":0,"   \
          "\"output_tokens\":0}}")
#define OPEN(index, block)                                                                         \
    FRAME("content_block_start", ",\"index\":" index ",\"content_block\":{" block "}")
#define DELTA(index, delta)                                                                        \
    FRAME("content_block_delta", ",\"index\":" index ",\"delta\":{" delta "}")
#define CLOSE(index)    FRAME("content_block_stop", ",\"index\":" index)
#define OPEN_TEXT(i)    OPEN(i, "\"type\":\"text\",\"text\":\"\"")
#define TEXT(i, text)   DELTA(i, "\"type\":\"text_delta\",\"text\":\"" text "\"")
#define OPEN_THINK(i)   OPEN(i, "\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"\"")
#define THINK(i, text)  DELTA(i, "\"type\":\"thinking_delta\",\"thinking\":\"" text "\"")
#define SIGNED(i, text) DELTA(i, "\"type\":\"signature_delta\",\"signature\":\"" text "\"")
#define OPEN_USE(i, id)                                                                            \
    OPEN(i, "\"type\":\"tool_use\",\"id\":\"" id "\",\"name\":\"f\",\"input\":{}")
#define ARGS(i, text) DELTA(i, "\"type\":\"input_json_delta\",\"partial_json\":\"" text "\"")
#define FINISH(reason, usage)                                                                      \
    FRAME("message_delta", ",\"delta\":{\"stop_reason\":" reason "},\"usage\":{" usage "}")        \
    FRAME("message_stop", "")
#define USAGE                                                                                      \
    "\"input_tokens\":5,\"cache_creation_input_tokens\":2,\"cache_read_input_tokens\":3,"          \
    "\"output_tokens\":7"

static const struct tr_event start = {.kind = TR_EVENT_START};
static const struct tr_event done = {.kind = TR_EVENT_DONE};
static const struct tr_event part_end = {.kind = TR_EVENT_PART_END};
static const struct tr_event usage = {.kind = TR_EVENT_USAGE,
                                      .usage = {.known = true,
                                                .tokens_in = 10,
                                                .tokens_cached = 3,
                                                .tokens_cache_write = 2,
                                                .tokens_out = 7}};

static struct tr_event text_of(enum tr_event_kind kind, const char *text)
{
    return (struct tr_event){.kind = kind, .text = str_from(text), .opaque = str_from(text)};
}

static struct tr_event call_of(uint32_t index, const char *id)
{
    return (struct tr_event){
        .kind = TR_EVENT_CALL, .call_index = index, .call = {.id = str_from(id), .name = STR("f")}};
}

static struct tr_event arguments_of(uint32_t index, const char *text)
{
    return (struct tr_event){
        .kind = TR_EVENT_ARGUMENTS, .call_index = index, .text = str_from(text)};
}

static struct tr_event end_of(uint32_t index)
{
    return (struct tr_event){.kind = TR_EVENT_PART_END, .call_index = index};
}

static struct tr_event finish_of(enum call_finish finish, const char *stop)
{
    return (struct tr_event){
        .kind = TR_EVENT_FINISH, .finish = finish, .stop_sequence = str_from(stop)};
}

static void printed(void **state, const struct tr_event *events, size_t count, const char *expected)
{
    struct tr_kit *kit = *state;
    tr_kit_reset(kit);
    assert_int_equal(tr_kit_print(kit, DIALECT_ANTHROPIC, &print, events, count), 0);
    assert_string_equal(tr_kit_out(kit), expected);
}
#define PRINTED(state, expected, ...)                                                              \
    do {                                                                                           \
        const struct tr_event events_[] = {__VA_ARGS__};                                           \
        printed(state, events_, sizeof events_ / sizeof events_[0], expected);                     \
    } while (0)

static void text_is_one_block_and_usage_comes_last(void **state)
{
    PRINTED(state,
            START OPEN_TEXT("0") TEXT("0", "Hel") TEXT("0", "lo\\n") CLOSE("0")
                FINISH("\"end_turn\",\"stop_sequence\":null", USAGE),
            start, text_of(TR_EVENT_TEXT, "Hel"), text_of(TR_EVENT_TEXT, ""),
            text_of(TR_EVENT_REFUSAL, "lo\n"), finish_of(CALL_FINISH_STOP, ""), usage, done);
}

static void reasoning_text_and_a_call_are_blocks_in_order(void **state)
{
    PRINTED(state,
            START OPEN_THINK("0") THINK("0", "hm") SIGNED("0", "sy1.gemini.c2ln") CLOSE("0")
                OPEN_TEXT("1") TEXT("1", "so") CLOSE("1") OPEN_USE("2", "c1")
                    ARGS("2", "{\\\"a\\\"") ARGS("2", ":1}") CLOSE("2")
                        FINISH("\"tool_use\",\"stop_sequence\":null", USAGE),
            start, text_of(TR_EVENT_REASONING, "hm"), text_of(TR_EVENT_SEAL, "c2ln"),
            text_of(TR_EVENT_TEXT, "so"), call_of(0, "c1"), arguments_of(0, "{\"a\""),
            arguments_of(0, ":1}"), end_of(0), finish_of(CALL_FINISH_TOOL_CALLS, ""), usage, done);
}

static void a_signature_alone_and_redacted_reasoning_have_blocks(void **state)
{
    PRINTED(state,
            START OPEN_THINK("0") SIGNED("0", "sy1.gemini.c2ln") CLOSE("0")
                OPEN("1", "\"type\":\"redacted_thinking\",\"data\":\"sy1.gemini.eA\"") CLOSE("1"),
            text_of(TR_EVENT_SEAL, "c2ln"), part_end, text_of(TR_EVENT_REDACTED, "eA"), part_end);
}

static void t02_a_call_without_arguments_sends_one_empty_piece(void **state)
{
    PRINTED(state,
            START OPEN_USE("0", "c1") ARGS("0", "") CLOSE("0") OPEN_USE("1", "c2") ARGS("1", "")
                CLOSE("1"),
            start, call_of(0, "c1"), end_of(0), call_of(1, "c2"), end_of(1),
            text_of(TR_EVENT_TEXT, ""));
}

/* The second begins before the first is whole, and their pieces come in turn. */
static void t01_calls_that_come_side_by_side_are_blocks_one_after_the_other(void **state)
{
    const char *expected = START OPEN_USE("0", "a") ARGS("0", "{\\\"x\\\":[") ARGS("0", "1]}")
        CLOSE("0") OPEN_USE("1", "b") ARGS("1", "{\\\"y\\\":") ARGS("1", "\\\"}\\\"}") CLOSE("1")
            OPEN_USE("2", "c") ARGS("2", "") CLOSE("2") OPEN_TEXT("3") TEXT("3", "t");
    PRINTED(state, expected, start, call_of(0, "a"), arguments_of(0, "{\"x\":["), call_of(1, "b"),
            arguments_of(1, "{\"y\":"), call_of(2, "c"), arguments_of(0, "1]}"),
            arguments_of(1, "\"}\"}"), end_of(0), end_of(1), end_of(2),
            text_of(TR_EVENT_TEXT, "t"));
    PRINTED(state, expected, start, call_of(0, "a"), call_of(1, "b"), call_of(2, "c"),
            arguments_of(0, "{\"x\":["), arguments_of(1, "{\"y\":"), arguments_of(0, "1]}"),
            arguments_of(1, "\"}\"}"), text_of(TR_EVENT_TEXT, "t"));
}

static void t08_a_stop_sequence_is_named(void **state)
{
    PRINTED(state,
            START FINISH("\"stop_sequence\",\"stop_sequence\":\"E\\\"\"",
                         "\"input_tokens\":12,\"cache_creation_input_tokens\":0,"
                         "\"cache_read_input_tokens\":0,\"output_tokens\":0"),
            start, finish_of(CALL_FINISH_STOP, "E\""), done);
}

static void t09_every_finish_has_its_stop_reason(void **state)
{
    static const struct {
        enum call_finish finish;
        const char *reason;
    } rows[] = {
        {CALL_FINISH_STOP, "\"end_turn\""},       {CALL_FINISH_LENGTH, "\"max_tokens\""},
        {CALL_FINISH_TOOL_CALLS, "\"tool_use\""}, {CALL_FINISH_CONTENT_FILTER, "\"refusal\""},
        {CALL_FINISH_OTHER, "\"end_turn\""},
    };
    struct tr_kit *kit = *state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct tr_event events[] = {start, finish_of(rows[i].finish, ""), usage, done};
        tr_kit_reset(kit);
        assert_int_equal(tr_kit_print(kit, DIALECT_ANTHROPIC, &print, events, 4), 0);
        assert_non_null(strstr(tr_kit_out(kit), rows[i].reason));
    }
}

static void a_ping_passes_and_other_choices_do_not(void **state)
{
    struct tr_event second = text_of(TR_EVENT_TEXT, "x");
    const struct tr_event ping = {.kind = TR_EVENT_PING};
    second.choice = 1;
    PRINTED(state, START "event: ping\ndata: {\"type\": \"ping\"}\n\n", start, ping, second);
}

static struct str member(void *arg, const struct call_usage *told)
{
    (void)arg;
    assert_int_equal(told->tokens_out, 7);
    return STR("\"steelyard\":{\"cost_usd\":1}");
}

static void a_whole_answer_is_one_message(void **state)
{
    struct tr_kit *kit = *state;
    struct tr_print asked = print;
    const struct tr_answer_part parts[] = {
        {.kind = TR_PART_REASONING, .text = STR("hm"), .opaque = STR("c2ln")},
        {.kind = TR_PART_REASONING, .redacted = true, .opaque = STR("eA")},
        {.kind = TR_PART_TEXT, .text = STR("so")},
        {.kind = TR_PART_TEXT},
        {.kind = TR_PART_CALL,
         .text = STR(" {\"a\":1}"),
         .call = {.id = STR("c"), .name = STR("f")}},
        {.kind = TR_PART_CALL, .call = {.id = STR("d"), .name = STR("f")}},
        {.kind = TR_PART_CALL, .text = STR("oops"), .call = {.id = STR("e"), .name = STR("f")}},
    };
    const struct tr_choice_answer choice = {.parts = parts,
                                            .part_count = sizeof parts / sizeof parts[0],
                                            .finish = CALL_FINISH_TOOL_CALLS};
    const struct tr_answer answer = {.choices = &choice, .choice_count = 1, .usage = usage.usage};
    asked.usage_member = member;
    assert_int_equal(tr_caller_find(DIALECT_ANTHROPIC)->print_answer(&asked, &answer, &kit->out),
                     0);
    assert_string_equal(
        tr_kit_out(kit),
        "{\"id\":\"msg_r1\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"served\","
        "\"content\":[{\"type\":\"thinking\",\"thinking\":\"hm\",\"signature\":\"sy1.gemini.c2ln\"}"
        ",{\"type\":\"redacted_thinking\",\"data\":\"sy1.gemini.eA\"},{\"type\":\"text\",\"text\":"
        "\"so\"},{\"type\":\"tool_use\",\"id\":\"c\",\"name\":\"f\",\"input\":{\"a\":1}},{\"type\":"
        "\"tool_use\",\"id\":\"d\",\"name\":\"f\",\"input\":{}},{\"type\":\"tool_use\",\"id\":"
        "\"e\",\"name\":\"f\",\"input\":{\"rawInvalidInput\":\"oops\"}}],\"stop_reason\":"
        "\"tool_use\",\"stop_sequence\":null,\"usage\":{" USAGE ",\"steelyard\":{\"cost_usd\":1}}"
        "}");
}

static void every_failed_allocation_is_told(void **state)
{
    struct tr_kit *kit = *state;
    bool fired = true;
    for (unsigned n = 0; fired; n++) {
        const struct tr_event events[] = {
            start, call_of(0, "a"), call_of(1, "b"), arguments_of(1, "{}"), end_of(0), done};
        tr_kit_teardown(state);
        tr_kit_setup(state);
        fault_arm_alloc(n);
        int rc = tr_kit_print(kit, DIALECT_ANTHROPIC, &print, events, 6);
        fired = fault_disarm();
        assert_int_equal(rc, fired ? ERR_NOMEM : 0);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, tr_kit_setup, tr_kit_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(text_is_one_block_and_usage_comes_last),
        TEST(reasoning_text_and_a_call_are_blocks_in_order),
        TEST(a_signature_alone_and_redacted_reasoning_have_blocks),
        TEST(t02_a_call_without_arguments_sends_one_empty_piece),
        TEST(t01_calls_that_come_side_by_side_are_blocks_one_after_the_other),
        TEST(t08_a_stop_sequence_is_named),
        TEST(t09_every_finish_has_its_stop_reason),
        TEST(a_ping_passes_and_other_choices_do_not),
        TEST(a_whole_answer_is_one_message),
        TEST(every_failed_allocation_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
