/* A caller's Messages body in the neutral form. */
#include <string.h>

#include "tests/unit/dataplane/translate/tr_kit.h"

static const struct tr_request *read_ok(void **state, const char *body)
{
    struct tr_kit *kit = *state;
    tr_kit_reset(kit);
    int rc = tr_kit_read(kit, DIALECT_ANTHROPIC, body);
    if (rc != 0)
        print_error("refused: %.*s\n", STR_ARG(kit->refusal.param));
    assert_int_equal(rc, 0);
    return &kit->request;
}

static void refused(void **state, const char *body, const char *param)
{
    struct tr_kit *kit = *state;
    tr_kit_reset(kit);
    assert_int_equal(tr_kit_read(kit, DIALECT_ANTHROPIC, body), ERR_INVALID);
    assert_int_equal(kit->refusal.defect, CALL_BAD_FIELD);
    if (!str_is(kit->refusal.param, param))
        print_error("param: %.*s\n", STR_ARG(kit->refusal.param));
    assert_true(str_is(kit->refusal.param, param));
}

static void is(struct str text, const char *expected)
{
    assert_int_equal(text.len, strlen(expected));
    assert_memory_equal(text.data, expected, text.len);
}

#define HEAD        "{\"model\":\"m\",\"max_tokens\":9,"
#define HI          "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]"
#define USER(parts) HEAD "\"messages\":[{\"role\":\"user\",\"content\":[" parts "]}]}"

static void a_plain_body_says_what_it_says_and_nothing_else(void **state)
{
    const struct tr_request *q = read_ok(state, HEAD HI "}");
    is(q->model, "m");
    assert_int_equal(q->turn_count, 1);
    assert_int_equal(q->turns[0].role, TR_USER);
    is(q->turns[0].parts[0].text, "hi");
    assert_int_equal(q->max_output, 9);
    assert_true(q->temperature == TR_UNSET && q->top_p == TR_UNSET && q->top_k == TR_UNSET);
    assert_true(q->think_budget == TR_UNSET && q->effort == TR_EFFORT_UNSET && !q->think_auto);
    assert_int_equal(q->tool_choice, TR_CHOICE_UNSET);
    assert_int_equal(q->parallel, -1);
    assert_int_equal(q->system_count + q->tool_count + q->unknown_count, 0);
}

static void every_parameter_has_its_place(void **state)
{
    const struct tr_request *q = read_ok(
        state, HEAD HI ",\"stream\":true,\"temperature\":0.7,\"top_p\":0.95,\"top_k\":40,"
                       "\"stop_sequences\":[\"a\",\"b\"],\"metadata\":{\"user_id\":\"u\"},"
                       "\"service_tier\":\"standard_only\",\"output_config\":{\"effort\":\"max\","
                       "\"format\":{\"type\":\"json_schema\",\"schema\":{\"type\":\"object\"}}},"
                       "\"thinking\":{\"type\":\"adaptive\",\"display\":\"summarized\"},"
                       "\"container\":\"c\",\"context_management\":null,\"mcp_servers\":[]}");
    assert_true(q->stream && q->think_auto);
    assert_int_equal(q->temperature, 700000);
    assert_int_equal(q->top_p, 950000);
    assert_int_equal(q->top_k, 40);
    assert_int_equal(q->stop_count, 2);
    is(q->stops[1], "b");
    is(q->user, "u");
    assert_int_equal(q->tier, TR_TIER_DEFAULT);
    assert_int_equal(q->effort, TR_EFFORT_MAX);
    assert_int_equal(q->think_shown, 1);
    assert_int_equal(q->format, TR_FORMAT_SCHEMA);
    is(q->format_schema, "{\"type\":\"object\"}");
    assert_int_equal(q->unknown_count, 2);
    assert_string_equal(q->unknown[0], "container");
    assert_string_equal(q->unknown[1], "mcp_servers");
}

static void thinking_is_off_free_or_so_many_tokens(void **state)
{
    const struct tr_request *q =
        read_ok(state, HEAD HI ",\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":2048}}");
    assert_int_equal(q->think_budget, 2048);
    q = read_ok(state, HEAD HI ",\"thinking\":{\"type\":\"disabled\"},"
                               "\"output_config\":{\"effort\":\"high\"}}");
    assert_int_equal(q->think_budget, 0);
    assert_int_equal(q->effort, TR_EFFORT_NONE);
    q = read_ok(state, HEAD HI ",\"thinking\":{\"type\":\"between_tools\"}}");
    assert_int_equal(q->effort, TR_EFFORT_NONE);
    refused(state, HEAD HI ",\"thinking\":{\"type\":\"enabled\"}}", "thinking");
    refused(state, HEAD HI ",\"thinking\":{\"type\":\"x\"}}", "thinking.type");
    refused(state, HEAD HI ",\"output_config\":{\"effort\":\"x\"}}", "output_config.effort");
}

static void t03_system_texts_are_in_order_wherever_they_stood(void **state)
{
    const struct tr_request *q =
        read_ok(state, HEAD
                "\"messages\":[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"system\","
                "\"content\":\"two\"},{\"role\":\"assistant\",\"content\":\"b\"},{\"role\":"
                "\"system\",\"content\":[{\"type\":\"text\",\"text\":\"three\"}]}],\"system\":[{"
                "\"type\":\"text\",\"text\":\"one\",\"cache_control\":{\"type\":\"ephemeral\","
                "\"ttl\":\"1h\"}}]}");
    assert_int_equal(q->system_count, 3);
    is(q->system[0].text, "one");
    is(q->system[1].text, "two");
    is(q->system[2].text, "three");
    assert_int_equal(q->system[0].cache.ttl_s, 3600);
    assert_int_equal(q->turn_count, 2);
    refused(state,
            HEAD HI ",\"system\":[{\"type\":\"image\",\"source\":{\"type\":\"url\",\"url\":"
                    "\"u\"}}]}",
            "system");
}

static void t01_results_are_a_turn_of_their_own(void **state)
{
    const struct tr_request *q = read_ok(
        state,
        HEAD "\"messages\":[{\"role\":\"assistant\",\"content\":[{\"type\":\"tool_use\",\"id\":"
             "\"t1\",\"name\":\"f\",\"input\":{ \"x\" : 1 }},{\"type\":\"tool_use\",\"id\":\"t2\","
             "\"name\":\"g\",\"input\":{}}]},{\"role\":\"user\",\"content\":[{\"type\":\"text\","
             "\"text\":\"go\"},{\"type\":\"tool_result\",\"tool_use_id\":\"t2\",\"is_error\":true,"
             "\"content\":\"no\"},{\"type\":\"tool_result\",\"tool_use_id\":\"t1\"}]}]}");
    assert_int_equal(q->turn_count, 3);
    assert_int_equal(q->turns[0].role, TR_ASSISTANT);
    is(q->turns[0].parts[0].call.id, "t1");
    is(q->turns[0].parts[0].call.arguments, "{ \"x\" : 1 }");
    is(q->turns[0].parts[1].call.name, "g");
    assert_int_equal(q->turns[1].role, TR_TOOL);
    assert_int_equal(q->turns[1].part_count, 2);
    is(q->turns[1].parts[0].result.call_id, "t2");
    assert_true(q->turns[1].parts[0].result.is_error);
    is(q->turns[1].parts[0].result.parts[0].text, "no");
    assert_int_equal(q->turns[1].parts[1].result.part_count, 0);
    assert_int_equal(q->turns[2].role, TR_USER);
    is(q->turns[2].parts[0].text, "go");
}

static void t04_a_result_holds_texts_and_pictures(void **state)
{
    const struct tr_request *q = read_ok(
        state, USER("{\"type\":\"tool_result\",\"tool_use_id\":\"t\",\"content\":[{\"type\":"
                    "\"text\",\"text\":\"a\"},{\"type\":\"image\",\"source\":{\"type\":\"base64\","
                    "\"media_type\":\"image/png\",\"data\":\"iVBO\"}},{\"type\":\"search_result\","
                    "\"content\":[{\"type\":\"text\",\"text\":\"s1\"},{\"type\":\"text\",\"text\":"
                    "\"s2\"}]}],\"cache_control\":{\"type\":\"ephemeral\"}}"));
    const struct tr_part *part = &q->turns[0].parts[0];
    assert_int_equal(part->cache.ttl_s, 300);
    assert_int_equal(part->result.part_count, 4);
    assert_int_equal(part->result.parts[1].kind, TR_PART_IMAGE);
    is(part->result.parts[1].media.mime, "image/png");
    is(part->result.parts[3].text, "s2");
}

static void documents_are_files_or_texts(void **state)
{
    const struct tr_request *q = read_ok(
        state,
        USER("{\"type\":\"document\",\"title\":\"T\",\"source\":{\"type\":\"base64\","
             "\"media_type\":\"application/pdf\",\"data\":\"JVBE\"}},{\"type\":\"document\","
             "\"title\":\"T\",\"source\":{\"type\":\"text\",\"media_type\":\"text/plain\","
             "\"data\":\"d\"}},{\"type\":\"document\",\"source\":{\"type\":\"content\",\"content\":"
             "[{\"type\":\"text\",\"text\":\"e\"},{\"type\":\"text\",\"text\":\"f\"}]},"
             "\"cache_control\":{\"type\":\"ephemeral\"}},{\"type\":\"document\",\"source\":{"
             "\"type\":\"url\",\"url\":\"https://x/a.pdf\"}}"));
    const struct tr_part *parts = q->turns[0].parts;
    assert_int_equal(q->turns[0].part_count, 5);
    assert_int_equal(parts[0].kind, TR_PART_FILE);
    is(parts[0].media.name, "T");
    is(parts[1].text, "T\n\nd");
    is(parts[2].text, "e");
    assert_int_equal(parts[2].cache.ttl_s, 0);
    assert_int_equal(parts[3].cache.ttl_s, 300);
    is(parts[4].media.url, "https://x/a.pdf");
}

static void t07_reasoning_is_whose_seal_it_bears(void **state)
{
    const struct tr_request *q = read_ok(
        state, HEAD
        "\"messages\":[{\"role\":\"assistant\",\"content\":[{\"type\":\"thinking\","
        "\"thinking\":\"a\",\"signature\":\"sy1.gemini.c2ln\"},{\"type\":\"thinking\","
        "\"thinking\":\"b\",\"signature\":\"c2ln\"},{\"type\":\"thinking\",\"thinking\":\"c\","
        "\"signature\":\"\"},{\"type\":\"redacted_thinking\",\"data\":\"sy1.bedrock.eA\"}]}]}");
    const struct tr_part *parts = q->turns[0].parts;
    assert_int_equal(parts[0].reasoning.vendor, DIALECT_GEMINI);
    is(parts[0].reasoning.signature, "c2ln");
    assert_int_equal(parts[1].reasoning.vendor, DIALECT_ANTHROPIC);
    assert_int_equal(parts[2].reasoning.vendor, DIALECTS);
    assert_int_equal(parts[3].reasoning.vendor, DIALECT_BEDROCK);
    is(parts[3].reasoning.opaque, "eA");
}

static void tools_and_choices_are_read(void **state)
{
    const struct tr_request *q = read_ok(
        state, HEAD HI ",\"tools\":[{\"name\":\"f\",\"description\":\"d\",\"input_schema\":{"
                       "\"type\":\"object\"},\"strict\":true,\"cache_control\":{\"type\":"
                       "\"ephemeral\"}},{\"type\":\"custom\",\"name\":\"g\",\"input_examples\":[1]"
                       "}],\"tool_choice\":{\"type\":\"tool\",\"name\":\"g\","
                       "\"disable_parallel_tool_use\":true}}");
    assert_int_equal(q->tool_count, 2);
    is(q->tools[0].name, "f");
    is(q->tools[0].description, "d");
    is(q->tools[0].schema, "{\"type\":\"object\"}");
    assert_int_equal(q->tools[0].strict, 1);
    assert_int_equal(q->tools[0].cache.ttl_s, 300);
    assert_int_equal(q->tools[1].strict, -1);
    assert_int_equal(q->tool_choice, TR_CHOICE_NAMED);
    is(q->tool_name, "g");
    assert_int_equal(q->parallel, 0);
    assert_string_equal(q->unknown[0], "tools.input_examples");
    q = read_ok(state, HEAD HI ",\"tools\":[],\"tool_choice\":{\"type\":\"any\"}}");
    assert_int_equal(q->tool_count, 0); /* Corner case 21. */
    assert_int_equal(q->tool_choice, TR_CHOICE_REQUIRED);
}

static void a_mark_of_the_whole_request_stands_at_its_end(void **state)
{
    const struct tr_request *q = read_ok(
        state, "{\"model\":\"m\",\"max_tokens\":1,\"cache_control\":{\"type\":\"ephemeral\"},"
               "\"messages\":[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"user\",\"content\":"
               "[{\"type\":\"text\",\"text\":\"b\"},{\"type\":\"text\",\"text\":\"c\"}]}]}");
    assert_int_equal(q->turns[0].parts[0].cache.ttl_s, 0);
    assert_int_equal(q->turns[1].parts[0].cache.ttl_s, 0);
    assert_int_equal(q->turns[1].parts[1].cache.ttl_s, 300);
}

static void t20_what_cannot_be_translated_is_refused_with_its_path(void **state)
{
    static const struct {
        const char *body;
        const char *param;
    } rows[] = {
        {USER("{\"type\":\"text\",\"text\":\"a\"},{\"type\":\"new\"}"),
         "messages[0].content[1].type"},
        {USER("{\"type\":\"server_tool_use\"}"), "messages[0].content[0].type"},
        {USER("{\"type\":\"tool_use\",\"id\":\"t\",\"name\":\"f\"}"),
         "messages[0].content[0].type"},
        {USER("{\"type\":\"image\",\"source\":{\"type\":\"file\",\"file_id\":\"f\"}}"),
         "messages[0].content[0].source"},
        {USER("{\"type\":\"tool_result\",\"content\":\"x\"}"), "messages[0].content[0]"},
        {USER("{\"type\":\"document\",\"source\":{\"type\":\"content\",\"content\":[{\"type\":"
              "\"document\",\"source\":{\"type\":\"content\",\"content\":[{\"type\":\"text\","
              "\"text\":\"x\"},{\"type\":\"text\",\"text\":\"y\"}]}}]}}"),
         "messages[0].content[0].source.content[0].source.content"},
        {HEAD HI ",\"tools\":[{\"type\":\"web_search_20250305\",\"name\":\"web_search\"}]}",
         "tools[0].type"},
        {HEAD HI ",\"tools\":[{\"description\":\"x\"}]}", "tools[0]"},
        {HEAD HI ",\"tool_choice\":{\"type\":\"tool\"}}", "tool_choice"},
        {HEAD HI ",\"tool_choice\":{\"type\":\"x\"}}", "tool_choice.type"},
        {HEAD HI ",\"service_tier\":\"x\"}", "service_tier"},
        {HEAD HI ",\"output_config\":{\"format\":{\"type\":\"x\"}}}", "output_config.format"},
    };
    struct tr_kit *kit = *state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        refused(state, rows[i].body, rows[i].param);
    refused(state, rows[6].body, rows[6].param);
    assert_true(str_starts(str_from(kit->refusal.message), STR("unsupported_tool")));
}

static void t06_escapes_are_undone(void **state)
{
    const struct tr_request *q =
        read_ok(state, USER("{\"type\":\"text\",\"text\":\"\\u0000\\ud83d\\ude00\\n\"}"));
    assert_int_equal(q->turns[0].parts[0].text.len, 6);
    assert_memory_equal(q->turns[0].parts[0].text.data, "\0\xf0\x9f\x98\x80\n", 6);
}

static void every_failed_allocation_is_told(void **state)
{
    struct tr_kit *kit = *state;
    bool fired = true;
    for (unsigned n = 0; fired; n++) {
        tr_kit_teardown(state);
        tr_kit_setup(state);
        fault_arm_alloc(n);
        int rc = tr_kit_read(
            kit, DIALECT_ANTHROPIC,
            USER("{\"type\":\"document\",\"title\":\"\\n\",\"source\":{\"type\":\"text\",\"data\":"
                 "\"\\t\"}},{\"type\":\"tool_result\",\"tool_use_id\":\"\\n\",\"content\":[]}"));
        fired = fault_disarm();
        assert_int_equal(rc, fired ? ERR_NOMEM : 0);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, tr_kit_setup, tr_kit_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_plain_body_says_what_it_says_and_nothing_else),
        TEST(every_parameter_has_its_place),
        TEST(thinking_is_off_free_or_so_many_tokens),
        TEST(t03_system_texts_are_in_order_wherever_they_stood),
        TEST(t01_results_are_a_turn_of_their_own),
        TEST(t04_a_result_holds_texts_and_pictures),
        TEST(documents_are_files_or_texts),
        TEST(t07_reasoning_is_whose_seal_it_bears),
        TEST(tools_and_choices_are_read),
        TEST(a_mark_of_the_whole_request_stands_at_its_end),
        TEST(t20_what_cannot_be_translated_is_refused_with_its_path),
        TEST(t06_escapes_are_undone),
        TEST(every_failed_allocation_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
