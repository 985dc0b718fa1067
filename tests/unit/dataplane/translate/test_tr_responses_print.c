/* Replies as callers of the Responses dialect get them. */
#include <stdio.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/net/sse.h"
#include "dataplane/translate/seal.h"
#include "tests/unit/dataplane/translate/tr_kit.h"

static const struct tr_print print = {
    .id = {.data = "0a", .len = 2},
    .model = {.data = "served", .len = 6},
    .created_s = 17,
    .tokens_in = 12,
    .vendor = DIALECT_ANTHROPIC,
};

#define TEXT(t)                                                                                    \
    {                                                                                              \
        .kind = TR_EVENT_TEXT, .text = { t, sizeof(t) - 1 }                                        \
    }
#define REFUSAL(t)                                                                                 \
    {                                                                                              \
        .kind = TR_EVENT_REFUSAL, .text = { t, sizeof(t) - 1 }                                     \
    }
#define REASONING(t)                                                                               \
    {                                                                                              \
        .kind = TR_EVENT_REASONING, .text = { t, sizeof(t) - 1 }                                   \
    }
#define SEAL(t)                                                                                    \
    {                                                                                              \
        .kind = TR_EVENT_SEAL, .opaque = { t, sizeof(t) - 1 }                                      \
    }
#define REDACTED(t)                                                                                \
    {                                                                                              \
        .kind = TR_EVENT_REDACTED, .opaque = { t, sizeof(t) - 1 }                                  \
    }
#define CALL(i, d, n)                                                                              \
    {                                                                                              \
        .kind = TR_EVENT_CALL, .call_index = i, .call = {                                          \
            .id = {d, sizeof(d) - 1},                                                              \
            .name = {n, sizeof(n) - 1}                                                             \
        }                                                                                          \
    }
#define ARGUMENTS(i, t)                                                                            \
    {                                                                                              \
        .kind = TR_EVENT_ARGUMENTS, .call_index = i, .text = { t, sizeof(t) - 1 }                  \
    }
#define PART_END(i)                                                                                \
    {                                                                                              \
        .kind = TR_EVENT_PART_END, .call_index = i                                                 \
    }
#define FINISH(f)                                                                                  \
    {                                                                                              \
        .kind = TR_EVENT_FINISH, .finish = CALL_FINISH_##f                                         \
    }
#define USAGE                                                                                      \
    {                                                                                              \
        .kind = TR_EVENT_USAGE, .usage = {                                                         \
            .known = true,                                                                         \
            .tokens_in = 9,                                                                        \
            .tokens_out = 5,                                                                       \
            .tokens_cached = 4,                                                                    \
            .tokens_reasoning = 2                                                                  \
        }                                                                                          \
    }
#define START                                                                                      \
    {                                                                                              \
        .kind = TR_EVENT_START                                                                     \
    }
#define DONE                                                                                       \
    {                                                                                              \
        .kind = TR_EVENT_DONE                                                                      \
    }

/* ---- what every stream must hold to: the SDKs throw otherwise ---- */

#define SEEN_MAX 32

struct seen_item {
    char type[32], id[64], call_id[32];
    bool done;
};
struct seen {
    struct json json;
    struct seen_item items[SEEN_MAX];
    uint32_t item_count;
    uint32_t events;
    char last[64];
    struct buf lines; /* The types, and what is told in deltas. */
};

static void copy_member(const struct json *j, uint32_t object, const char *key, char *out,
                        size_t room)
{
    size_t len = json_text_head(j, json_get(j, object, str_from(key)), room - 1, out);
    out[len] = '\0';
}

static int64_t number(const struct json *j, uint32_t object, const char *key)
{
    int64_t v = -1;
    (void)!json_i64(j, json_get(j, object, str_from(key)), 0, INT32_MAX, &v);
    return v;
}

static void check_item(struct seen *s, uint32_t index, uint32_t item, bool done)
{
    struct seen_item now = {.done = done};
    copy_member(&s->json, item, "type", now.type, sizeof now.type);
    copy_member(&s->json, item, "id", now.id, sizeof now.id);
    copy_member(&s->json, item, "call_id", now.call_id, sizeof now.call_id);
    assert_true(now.id[0] != '\0' && index < SEEN_MAX);
    if (!done) {
        assert_int_equal(index, s->item_count);
        s->items[s->item_count++] = now;
        return;
    }
    assert_true(index < s->item_count);
    assert_string_equal(s->items[index].type, now.type);
    assert_string_equal(s->items[index].id, now.id);
    assert_string_equal(s->items[index].call_id, now.call_id);
    s->items[index].done = true;
}

static void check_last(struct seen *s, uint32_t response)
{
    uint32_t item, index = 0, output = json_get(&s->json, response, STR("output"));
    if (strcmp(s->last, "response.failed") == 0)
        return;
    assert_int_equal(json_count(&s->json, output), s->item_count);
    for (uint32_t at = 0; json_next_element(&s->json, output, &at, &item); index++) {
        assert_true(s->items[index].done);
        check_item(s, index, item, true);
    }
}

static void check_response(struct seen *s, uint32_t response)
{
    static const char *const members[] = {
        "id",           "object",      "created_at", "status", "error", "incomplete_details",
        "instructions", "metadata",    "model",      "output", "usage", "parallel_tool_calls",
        "temperature",  "tool_choice", "tools",      "top_p"};
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++)
        assert_int_not_equal(json_get(&s->json, response, str_from(members[i])), JSON_NONE);
    assert_true(json_string_is(&s->json, json_get(&s->json, response, STR("id")), STR("resp_0a")));
}

static void check_event(struct seen *s, const struct sse_event *event)
{
    char delta[64];
    assert_int_equal(json_parse(&s->json, event->data, NULL), 0);
    copy_member(&s->json, JSON_ROOT, "type", s->last, sizeof s->last);
    assert_true(str_is(event->name, s->last));
    assert_int_equal(number(&s->json, JSON_ROOT, "sequence_number"), s->events);
    s->events++;
    uint32_t item = json_get(&s->json, JSON_ROOT, STR("item"));
    uint32_t response = json_get(&s->json, JSON_ROOT, STR("response"));
    int64_t index = number(&s->json, JSON_ROOT, "output_index");
    if (item != JSON_NONE)
        check_item(s, (uint32_t)index, item, strstr(s->last, ".done") != NULL);
    if (response != JSON_NONE)
        check_response(s, response);
    if (strcmp(s->last, "response.completed") == 0 || strcmp(s->last, "response.incomplete") == 0)
        check_last(s, response);
    copy_member(&s->json, JSON_ROOT, "delta", delta, sizeof delta);
    assert_int_equal(buf_printf(&s->lines, "%s%s%s\n",
                                strncmp(s->last, "response.", 9) == 0 ? s->last + 9 : s->last,
                                delta[0] != '\0' ? " " : "", delta),
                     0);
}

/* Checks a whole stream; the lines are in s, which the caller frees. */
static void check_stream(struct seen *s, struct str stream)
{
    struct sse_reader reader;
    struct sse_event event;
    memset(s, 0, sizeof *s);
    json_init(&s->json, JSON_NODES_MAX);
    buf_init(&s->lines, 1U << 20);
    sse_reader_init(&reader, 32U << 20);
    while (sse_reader_next(&reader, &stream, &event))
        if (event.has_data)
            check_event(s, &event);
    assert_int_equal(sse_reader_status(&reader), 0);
    sse_reader_deinit(&reader);
}

static void seen_free(struct seen *s)
{
    json_deinit(&s->json);
    buf_deinit(&s->lines);
}

static void assert_lines(struct tr_kit *kit, const struct tr_event *events, size_t count,
                         const char *lines)
{
    struct seen s;
    tr_kit_reset(kit);
    assert_int_equal(tr_kit_print(kit, DIALECT_RESPONSES, &print, events, count), 0);
    check_stream(&s, buf_str(&kit->out));
    assert_string_equal(buf_cstr(&s.lines), lines);
    seen_free(&s);
}
#define COUNT(a) (sizeof(a) / sizeof(a)[0])

/* ---- streams ---- */

static void a_text_goes_through_all_of_its_events(void **state)
{
    static const struct tr_event events[] = {
        START, TEXT("Gr\xc3\xbc"), TEXT("\xc3\x9f \"e\n"), PART_END(0), FINISH(STOP), USAGE, DONE};
    assert_lines(*state, events, COUNT(events),
                 "created\nin_progress\noutput_item.added\ncontent_part.added\n"
                 "output_text.delta Gr\xc3\xbc\noutput_text.delta \xc3\x9f \"e\n\n"
                 "output_text.done\ncontent_part.done\noutput_item.done\ncompleted\n");
    const char *out = tr_kit_out(*state);
    assert_non_null(strstr(out,
                           "\"output_index\":0,\"content_index\":0,\"text\":\"Gr\xc3\xbc\xc3\x9f "
                           "\\\"e\\n\",\"logprobs\":[]}"));
    assert_non_null(strstr(
        out,
        "\"output\":[{\"id\":\"msg_sy1_0a_0\",\"type\":\"message\",\"status\":\"completed\","
        "\"role\":"
        "\"assistant\",\"content\":[{\"type\":\"output_text\",\"annotations\":[],\"logprobs\":[],"
        "\"text\":\"Gr\xc3\xbc\xc3\x9f \\\"e\\n\"}]}]"));
    assert_non_null(strstr(out, "\"usage\":{\"input_tokens\":9,\"input_tokens_details\":{"
                                "\"cached_tokens\":4,\"cache_write_tokens\":0},\"output_tokens\":5,"
                                "\"output_tokens_details\":{\"reasoning_tokens\":2},"
                                "\"total_tokens\":14}"));
}

static void reasoning_then_calls_in_one_turn(void **state)
{
    static const struct tr_event events[] = {START,
                                             REASONING("th"),
                                             REASONING("ink"),
                                             SEAL("SIG"),
                                             PART_END(0),
                                             REDACTED("opaque"),
                                             PART_END(0),
                                             TEXT("I call."),
                                             PART_END(0),
                                             CALL(0, "c1", "f"),
                                             CALL(1, "c2", "g"),
                                             ARGUMENTS(1, "{\"b\""),
                                             ARGUMENTS(0, "{}"),
                                             PART_END(0),
                                             ARGUMENTS(1, ":1}"),
                                             FINISH(TOOL_CALLS),
                                             DONE};
    assert_lines(*state, events, COUNT(events),
                 "created\nin_progress\n"
                 "output_item.added\nreasoning_summary_part.added\n"
                 "reasoning_summary_text.delta th\nreasoning_summary_text.delta ink\n"
                 "reasoning_summary_text.done\nreasoning_summary_part.done\noutput_item.done\n"
                 "output_item.added\noutput_item.done\n"
                 "output_item.added\ncontent_part.added\noutput_text.delta I call.\n"
                 "output_text.done\ncontent_part.done\noutput_item.done\n"
                 "output_item.added\noutput_item.added\n"
                 "function_call_arguments.delta {\"b\"\nfunction_call_arguments.delta {}\n"
                 "function_call_arguments.done\noutput_item.done\n"
                 "function_call_arguments.delta :1}\n"
                 "function_call_arguments.done\noutput_item.done\ncompleted\n");
    const char *out = tr_kit_out(*state);
    assert_non_null(strstr(out,
                           "{\"id\":\"rs_sy1_0a_0\",\"type\":\"reasoning\",\"summary\":[{\"type\":"
                           "\"summary_text\",\"text\":\"think\"}],\"encrypted_content\":"
                           "\"sy1.anthropic.SIG\"}"));
    assert_non_null(strstr(out, "\"summary\":[],\"encrypted_content\":\"sy1.anthropic.=opaque\"}"));
    assert_non_null(strstr(out, "{\"id\":\"fc_sy1_0a_4\",\"type\":\"function_call\",\"status\":"
                                "\"completed\",\"call_id\":\"c2\",\"name\":\"g\",\"arguments\":"
                                "\"{\\\"b\\\":1}\"}"));
    /* Nothing was counted for us: it is estimated. */
    assert_non_null(strstr(out, "\"usage\":{\"input_tokens\":12,"));
}

static void t02_a_call_without_arguments_has_an_empty_object(void **state)
{
    static const struct tr_event events[] = {CALL(0, "c", "f"), FINISH(TOOL_CALLS), DONE};
    assert_lines(*state, events, COUNT(events),
                 "created\nin_progress\noutput_item.added\nfunction_call_arguments.delta {}\n"
                 "function_call_arguments.done\noutput_item.done\ncompleted\n");
}

static void t09_a_refusal_before_and_after_text(void **state)
{
    static const struct tr_event events[] = {REFUSAL("No."), TEXT("But"), REFUSAL("Stop."),
                                             FINISH(CONTENT_FILTER), DONE};
    assert_lines(*state, events, COUNT(events),
                 "created\nin_progress\noutput_item.added\ncontent_part.added\n"
                 "refusal.delta No.\nrefusal.done\ncontent_part.done\ncontent_part.added\n"
                 "output_text.delta But\noutput_text.done\ncontent_part.done\ncontent_part.added\n"
                 "refusal.delta Stop.\nrefusal.done\ncontent_part.done\noutput_item.done\n"
                 "incomplete\n");
    const char *out = tr_kit_out(*state);
    assert_non_null(strstr(out, "\"status\":\"incomplete\",\"error\":null,\"incomplete_details\":{"
                                "\"reason\":\"content_filter\"}"));
    assert_non_null(strstr(out, "{\"type\":\"refusal\",\"refusal\":\"Stop.\"}"));
}

static void what_is_cut_by_length_is_incomplete(void **state)
{
    static const struct tr_event events[] = {TEXT("a"), FINISH(LENGTH), DONE};
    assert_lines(
        *state, events, COUNT(events),
        "created\nin_progress\noutput_item.added\ncontent_part.added\noutput_text.delta a\n"
        "output_text.done\ncontent_part.done\noutput_item.done\nincomplete\n");
    assert_non_null(strstr(tr_kit_out(*state), "\"reason\":\"max_output_tokens\""));
    assert_non_null(strstr(tr_kit_out(*state),
                           "\"output\":[{\"id\":\"msg_sy1_0a_0\",\"type\":\"message\",\"status\":"
                           "\"incomplete\""));
}

static void the_signature_of_a_call_goes_as_an_item_before_it(void **state)
{
    const struct tr_event events[] = {
        {.kind = TR_EVENT_CALL, .call = {.id = STR("c"), .name = STR("f"), .signature = STR("S")}},
        FINISH(TOOL_CALLS),
        DONE};
    assert_lines(*state, events, COUNT(events),
                 "created\nin_progress\noutput_item.added\noutput_item.done\noutput_item.added\n"
                 "function_call_arguments.delta {}\nfunction_call_arguments.done\n"
                 "output_item.done\ncompleted\n");
    assert_non_null(strstr(tr_kit_out(*state), "\"encrypted_content\":\"sy1.anthropic.~S\""));
}

static void an_empty_answer_and_a_ping_are_answers_too(void **state)
{
    static const struct tr_event events[] = {
        {.kind = TR_EVENT_PING}, START, {.kind = TR_EVENT_PING}, FINISH(STOP), DONE};
    assert_lines(*state, events, COUNT(events), "created\nin_progress\ncompleted\n");
    assert_int_equal(strncmp(tr_kit_out(*state), ": keepalive\n\nevent: ", 20), 0);
}

static void t13_of_several_answers_the_first_is_told(void **state)
{
    static const struct tr_event events[] = {
        TEXT("a"), {.kind = TR_EVENT_TEXT, .choice = 1, .text = {"b", 1}}, FINISH(STOP), DONE};
    assert_lines(
        *state, events, COUNT(events),
        "created\nin_progress\noutput_item.added\ncontent_part.added\noutput_text.delta a\n"
        "output_text.done\ncontent_part.done\noutput_item.done\ncompleted\n");
}

static void t06_an_answer_past_the_limit_is_too_large(void **state)
{
    struct tr_kit *kit = *state;
    const struct tr_caller_dialect *d = tr_caller_find(DIALECT_RESPONSES);
    void *s = mem_zalloc(d->state_bytes);
    char *text = mem_alloc(1U << 20);
    assert_true(s != NULL && text != NULL);
    memset(text, 'x', 1U << 20);
    const struct tr_event event = {.kind = TR_EVENT_TEXT, .text = {text, 1U << 20}};
    int rc = 0;
    unsigned n = 0;
    for (; rc == 0 && n < 64; n++) {
        buf_clear(&kit->out);
        rc = d->print_event(s, &print, &event, &kit->out);
    }
    assert_int_equal(rc, ERR_TOO_LARGE);
    assert_int_equal(n, 16);
    d->end(s);
    mem_free(s);
    mem_free(text);
}

static void f30_a_stream_survives_each_failed_allocation(void **state)
{
    static const struct tr_event events[] = {
        REASONING("r"),     SEAL("S"),          TEXT("t"),
        CALL(0, "c1", "f"), CALL(1, "c2", "g"), ARGUMENTS(0, "{}"),
        ARGUMENTS(1, "{}"), FINISH(STOP),       DONE};
    bool fired = true;
    for (unsigned n = 0; fired; n++) {
        struct tr_kit *kit = *state;
        tr_kit_teardown(state);
        tr_kit_setup(state);
        fault_arm_alloc(n);
        int rc = tr_kit_print(kit, DIALECT_RESPONSES, &print, events, COUNT(events));
        fired = fault_disarm();
        assert_int_equal(rc, fired ? ERR_NOMEM : 0);
    }
}

/* ---- one body ---- */

static void an_answer_is_one_body(void **state)
{
    struct tr_kit *kit = *state;
    static const struct tr_answer_part parts[] = {
        {.kind = TR_PART_REASONING, .text = {"hm", 2}, .opaque = {"SIG", 3}},
        {.kind = TR_PART_REASONING, .redacted = true, .opaque = {"all", 3}},
        {.kind = TR_PART_TEXT, .text = {"Hi\n", 3}},
        {.kind = TR_PART_REFUSAL, .text = {"no", 2}},
        {.kind = TR_PART_CALL, .call = {.id = {"c1", 2}, .name = {"f", 1}, .signature = {"T", 1}}},
        {.kind = TR_PART_CALL,
         .text = {"{\"a\":1}", 7},
         .call = {.id = {"c2", 2}, .name = {"g", 1}}},
    };
    static const struct tr_choice_answer choice = {
        .parts = parts, .part_count = COUNT(parts), .finish = CALL_FINISH_TOOL_CALLS};
    const struct tr_answer answer = {
        .choices = &choice,
        .choice_count = 1,
        .usage = {.known = true, .tokens_in = 3, .tokens_out = 4, .tokens_cached = 9}};
    assert_int_equal(tr_caller_find(DIALECT_RESPONSES)->print_answer(&print, &answer, &kit->out),
                     0);
    assert_string_equal(
        tr_kit_out(kit),
        "{\"id\":\"resp_0a\",\"object\":\"response\",\"created_at\":17,\"status\":\"completed\","
        "\"error\":null,\"incomplete_details\":null,\"model\":\"served\",\"output\":["
        "{\"id\":\"rs_sy1_0a_0\",\"type\":\"reasoning\",\"summary\":[{\"type\":\"summary_text\","
        "\"text\":"
        "\"hm\"}],\"encrypted_content\":\"sy1.anthropic.SIG\"},"
        "{\"id\":\"rs_sy1_0a_1\",\"type\":\"reasoning\",\"summary\":[],\"encrypted_content\":"
        "\"sy1.anthropic.=all\"},"
        "{\"id\":\"msg_sy1_0a_2\",\"type\":\"message\",\"status\":\"completed\",\"role\":"
        "\"assistant\","
        "\"content\":[{\"type\":\"output_text\",\"annotations\":[],\"logprobs\":[],\"text\":"
        "\"Hi\\n\"},"
        "{\"type\":\"refusal\",\"refusal\":\"no\"}]},"
        "{\"id\":\"rs_sy1_0a_3\",\"type\":\"reasoning\",\"summary\":[],\"encrypted_content\":"
        "\"sy1.anthropic.~T\"},"
        "{\"id\":\"fc_sy1_0a_4\",\"type\":\"function_call\",\"status\":\"completed\",\"call_id\":"
        "\"c1\","
        "\"name\":\"f\",\"arguments\":\"{}\"},"
        "{\"id\":\"fc_sy1_0a_5\",\"type\":\"function_call\",\"status\":\"completed\",\"call_id\":"
        "\"c2\","
        "\"name\":\"g\",\"arguments\":\"{\\\"a\\\":1}\"}],"
        "\"instructions\":null,\"metadata\":{},\"parallel_tool_calls\":true,\"temperature\":null,"
        "\"tool_choice\":\"auto\",\"tools\":[],\"top_p\":null,\"store\":false,"
        /* t22: more cached tokens than there were. */
        "\"usage\":{\"input_tokens\":3,\"input_tokens_details\":{\"cached_tokens\":3,"
        "\"cache_write_tokens\":0},\"output_tokens\":4,\"output_tokens_details\":{"
        "\"reasoning_tokens\":0},\"total_tokens\":7}}");
}

/* ---- what is repeated ---- */

static void assert_echo(struct tr_kit *kit, const char *body, const char *want)
{
    tr_kit_reset(kit);
    assert_int_equal(tr_kit_read(kit, DIALECT_RESPONSES, body), 0);
    assert_int_equal(tr_caller_find(DIALECT_RESPONSES)->print_echo(&kit->request, &kit->out), 0);
    assert_string_equal(tr_kit_out(kit), want);
}

static void what_was_asked_is_repeated(void **state)
{
    assert_echo(
        *state, "{\"model\":\"m\",\"input\":\"x\"}",
        "\"instructions\":null,\"metadata\":{},\"parallel_tool_calls\":true,"
        "\"temperature\":null,\"tool_choice\":\"auto\",\"tools\":[],\"top_p\":null,"
        "\"background\":false,\"max_output_tokens\":null,\"previous_response_id\":null,"
        "\"reasoning\":{\"effort\":null,\"summary\":null},\"service_tier\":\"default\","
        "\"store\":false,\"text\":{\"format\":{\"type\":\"text\"}},\"truncation\":\"disabled\","
        "\"safety_identifier\":null,\"prompt_cache_key\":null");
    assert_echo(
        *state,
        "{\"model\":\"m\",\"input\":[{\"role\":\"system\",\"content\":\"other\"},{\"role\":"
        "\"user\","
        "\"content\":\"x\"}],\"instructions\":\"Be \\\"x\\\"\",\"metadata\":{\"a\":\"b\"},"
        "\"parallel_tool_calls\":false,\"temperature\":0.5,\"top_p\":1,\"max_output_tokens\":9,"
        "\"tools\":[{\"type\":\"function\",\"name\":\"f\",\"parameters\":{\"type\":\"object\"},"
        "\"strict\":true}],\"tool_choice\":{\"type\":\"function\",\"name\":\"f\"},\"reasoning\":{"
        "\"effort\":\"low\",\"summary\":\"concise\"},\"user\":\"u\",\"text\":{\"format\":{\"type\":"
        "\"json_schema\",\"name\":\"s\",\"schema\":{\"a\":1}},\"verbosity\":\"low\"}}",
        "\"instructions\":\"Be "
        "\\\"x\\\"\",\"metadata\":{\"a\":\"b\"},\"parallel_tool_calls\":false,"
        "\"temperature\":0.5,\"tool_choice\":{\"type\":\"function\",\"name\":\"f\"},\"tools\":[{"
        "\"type\":\"function\",\"name\":\"f\",\"description\":null,\"parameters\":{\"type\":"
        "\"object\"},\"strict\":true}],\"top_p\":1,\"background\":false,\"max_output_tokens\":9,"
        "\"previous_response_id\":null,\"reasoning\":{\"effort\":\"low\",\"summary\":\"auto\"},"
        "\"service_tier\":\"default\",\"store\":false,\"text\":{\"format\":{\"type\":\"json_"
        "schema\","
        "\"name\":\"s\",\"schema\":{\"a\":1},\"strict\":false},\"verbosity\":\"low\"},"
        "\"truncation\":\"disabled\",\"safety_identifier\":\"u\",\"prompt_cache_key\":null");
}

static void long_texts_are_repeated_only_where_there_is_room(void **state)
{
    struct tr_kit *kit = *state;
    struct buf body, out;
    buf_init(&body, 1U << 20);
    buf_init(&out, 24576);
    assert_int_equal(buf_append_text(&body, "{\"model\":\"m\",\"input\":\"x\",\"instructions\":\""),
                     0);
    for (unsigned i = 0; i < 30000; i++)
        assert_int_equal(buf_append_char(&body, 'i'), 0);
    assert_int_equal(buf_append_text(&body, "\",\"temperature\":1}"), 0);
    assert_int_equal(tr_kit_read(kit, DIALECT_RESPONSES, buf_cstr(&body)), 0);
    assert_int_equal(tr_caller_find(DIALECT_RESPONSES)->print_echo(&kit->request, &out), 0);
    assert_int_equal(strncmp(buf_cstr(&out), "\"instructions\":null,", 20), 0);
    assert_non_null(strstr(buf_cstr(&out), "\"temperature\":1,"));
    buf_deinit(&body);
    buf_deinit(&out);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, tr_kit_setup, tr_kit_teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_text_goes_through_all_of_its_events),
        TEST(reasoning_then_calls_in_one_turn),
        TEST(t02_a_call_without_arguments_has_an_empty_object),
        TEST(t09_a_refusal_before_and_after_text),
        TEST(what_is_cut_by_length_is_incomplete),
        TEST(the_signature_of_a_call_goes_as_an_item_before_it),
        TEST(an_empty_answer_and_a_ping_are_answers_too),
        TEST(t13_of_several_answers_the_first_is_told),
        TEST(t06_an_answer_past_the_limit_is_too_large),
        TEST(f30_a_stream_survives_each_failed_allocation),
        TEST(an_answer_is_one_body),
        TEST(what_was_asked_is_repeated),
        TEST(long_texts_are_repeated_only_where_there_is_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
