/* A caller's chat completion body in the neutral form. */
#include <string.h>

#include "common/base/mem.h"
#include "dataplane/translate/seal.h"
#include "tests/unit/dataplane/translate/tr_kit.h"

static const struct tr_request *read_ok(struct tr_kit *kit, const char *body)
{
    tr_kit_reset(kit);
    int rc = tr_kit_read(kit, DIALECT_OPENAI, body);
    if (rc != 0)
        print_error("refused: %.*s\n", STR_ARG(kit->refusal.param));
    assert_int_equal(rc, 0);
    return &kit->request;
}

static void read_refused(struct tr_kit *kit, const char *body, const char *param)
{
    tr_kit_reset(kit);
    assert_int_equal(tr_kit_read(kit, DIALECT_OPENAI, body), ERR_INVALID);
    assert_true(kit->refusal.defect == CALL_BAD_FIELD ||
                kit->refusal.defect == CALL_FORBIDDEN_FIELD);
    assert_int_equal(kit->refusal.param.len, strlen(param));
    assert_memory_equal(kit->refusal.param.data, param, strlen(param));
}

static void is(struct str text, const char *expected)
{
    assert_int_equal(text.len, strlen(expected));
    assert_memory_equal(text.data, expected, text.len);
}

#define HI "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]"

static void a_plain_body_says_what_it_says_and_nothing_else(void **state)
{
    const struct tr_request *q = read_ok(*state, "{\"model\":\"m\"," HI "}");
    is(q->model, "m");
    assert_int_equal(q->turn_count, 1);
    assert_int_equal(q->turns[0].role, TR_USER);
    is(q->turns[0].parts[0].text, "hi");
    assert_true(q->max_output == TR_UNSET && q->temperature == TR_UNSET && q->seed == TR_UNSET);
    assert_true(q->top_p == TR_UNSET && q->top_k == TR_UNSET && q->think_budget == TR_UNSET);
    assert_int_equal(q->parallel, -1);
    assert_int_equal(q->logprobs, -1);
    assert_int_equal(q->choices, 1);
    assert_int_equal(q->unknown_count, 0);
    assert_int_equal(q->tool_choice, TR_CHOICE_UNSET);
}

static void every_parameter_has_its_place(void **state)
{
    const struct tr_request *q = read_ok(
        *state,
        "{\"model\":\"m\"," HI ",\"stream\":true,\"stream_options\":{\"include_usage\":true},"
        "\"max_tokens\":5,\"max_completion_tokens\":7,\"temperature\":0.7,\"top_p\":0.95,"
        "\"top_k\":40,\"n\":2,\"stop\":[\"a\",\"b\"],\"seed\":-3,\"frequency_penalty\":-1.5,"
        "\"presence_penalty\":2,\"logprobs\":true,\"top_logprobs\":3,"
        "\"parallel_tool_calls\":false,\"reasoning_effort\":\"high\",\"verbosity\":\"low\","
        "\"service_tier\":\"flex\",\"metadata\":{\"k\":\"v\"},\"user\":\"u\","
        "\"safety_identifier\":\"s\",\"prompt_cache_key\":\"c\",\"modalities\":[\"text\"],"
        "\"store\":false,\"seedling\":1,\"logit_bias\":{\"1\":2},\"models\":[\"x\"]}");
    assert_true(q->stream);
    assert_int_equal(q->max_output, 7);
    assert_int_equal(q->temperature, 700000);
    assert_int_equal(q->top_p, 950000);
    assert_int_equal(q->top_k, 40);
    assert_int_equal(q->choices, 2);
    assert_int_equal(q->stop_count, 2);
    is(q->stops[1], "b");
    assert_int_equal(q->seed, -3);
    assert_int_equal(q->frequency_penalty, -1500000);
    assert_int_equal(q->presence_penalty, 2000000);
    assert_int_equal(q->logprobs, 1);
    assert_int_equal(q->top_logprobs, 3);
    assert_int_equal(q->parallel, 0);
    assert_int_equal(q->effort, TR_EFFORT_HIGH);
    is(q->verbosity, "low");
    assert_int_equal(q->tier, TR_TIER_FLEX);
    assert_int_equal(q->metadata_count, 1);
    is(q->metadata[0].key, "k");
    is(q->metadata[0].value, "v");
    is(q->user, "s");
    is(q->cache_key, "c");
    assert_int_equal(q->unknown_count, 2);
    assert_string_equal(q->unknown[0], "seedling");
    assert_string_equal(q->unknown[1], "logit_bias");
}

static void one_stop_may_be_a_string_and_null_is_nothing(void **state)
{
    const struct tr_request *q =
        read_ok(*state, "{\"model\":\"m\"," HI ",\"stop\":\"END\",\"seed\":null,\"tools\":null}");
    assert_int_equal(q->stop_count, 1);
    is(q->stops[0], "END");
    assert_true(q->seed == TR_UNSET);
    q = read_ok(*state, "{\"model\":\"m\"," HI ",\"stop\":null}");
    assert_int_equal(q->stop_count, 0);
}

static void reasoning_may_be_asked_for_in_the_words_of_other_gateways(void **state)
{
    const struct tr_request *q = read_ok(
        *state, "{\"model\":\"m\"," HI ",\"reasoning\":{\"effort\":\"low\",\"exclude\":true}}");
    assert_int_equal(q->effort, TR_EFFORT_LOW);
    assert_int_equal(q->think_shown, 0);
    q = read_ok(*state, "{\"model\":\"m\"," HI ",\"reasoning\":{\"max_tokens\":2000}}");
    assert_int_equal(q->think_budget, 2000);
    q = read_ok(*state, "{\"model\":\"m\"," HI ",\"reasoning\":{\"enabled\":false}}");
    assert_int_equal(q->effort, TR_EFFORT_NONE);
    q = read_ok(*state, "{\"model\":\"m\"," HI
                        ",\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":1024}}");
    assert_int_equal(q->think_budget, 1024);
    q = read_ok(*state, "{\"model\":\"m\"," HI ",\"thinking\":{\"type\":\"adaptive\"}}");
    assert_true(q->think_auto);
    read_refused(*state, "{\"model\":\"m\"," HI ",\"reasoning_effort\":\"huge\"}",
                 "reasoning_effort");
}

static void formats_are_text_json_and_schema(void **state)
{
    const struct tr_request *q =
        read_ok(*state, "{\"model\":\"m\"," HI ",\"response_format\":{\"type\":\"text\"}}");
    assert_int_equal(q->format, TR_FORMAT_TEXT);
    q = read_ok(*state, "{\"model\":\"m\"," HI ",\"response_format\":{\"type\":\"json_object\"}}");
    assert_int_equal(q->format, TR_FORMAT_JSON);
    q = read_ok(
        *state,
        "{\"model\":\"m\"," HI ",\"response_format\":{\"type\":\"json_schema\","
        "\"json_schema\":{\"name\":\"n\",\"strict\":true,\"schema\":{\"type\":\"object\"}}}}");
    assert_int_equal(q->format, TR_FORMAT_SCHEMA);
    is(q->format_name, "n");
    is(q->format_schema, "{\"type\":\"object\"}");
    assert_int_equal(q->format_strict, 1);
    read_refused(*state, "{\"model\":\"m\"," HI ",\"response_format\":{\"type\":\"grammar\"}}",
                 "response_format.type");
}

#define TOOLS                                                                                      \
    "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"a\",\"description\":\"d\","        \
    "\"parameters\":{\"type\":\"object\"},\"strict\":false},\"cache_control\":{\"type\":"          \
    "\"ephemeral\",\"ttl\":\"1h\"}},{\"type\":\"function\",\"function\":{\"name\":\"b\"}}]"

static void tools_and_choices_are_read_in_both_forms(void **state)
{
    const struct tr_request *q =
        read_ok(*state, "{\"model\":\"m\"," HI "," TOOLS ",\"tool_choice\":\"required\"}");
    assert_int_equal(q->tool_count, 2);
    is(q->tools[0].name, "a");
    is(q->tools[0].description, "d");
    is(q->tools[0].schema, "{\"type\":\"object\"}");
    assert_int_equal(q->tools[0].strict, 0);
    assert_int_equal(q->tools[0].cache.ttl_s, 3600);
    assert_int_equal(q->tools[1].strict, -1);
    assert_int_equal(q->tools[1].schema.len, 0);
    assert_int_equal(q->tool_choice, TR_CHOICE_REQUIRED);
    q = read_ok(*state, "{\"model\":\"m\"," HI "," TOOLS
                        ",\"tool_choice\":{\"type\":\"function\",\"function\":{\"name\":\"b\"}}}");
    assert_int_equal(q->tool_choice, TR_CHOICE_NAMED);
    is(q->tool_name, "b");
    q = read_ok(*state, "{\"model\":\"m\"," HI
                        ",\"functions\":[{\"name\":\"f\"}],\"function_call\":{\"name\":\"f\"}}");
    assert_int_equal(q->tool_count, 1);
    assert_int_equal(q->tool_choice, TR_CHOICE_NAMED);
    q = read_ok(*state, "{\"model\":\"m\"," HI "," TOOLS
                        ",\"tool_choice\":{\"type\":\"allowed_tools\",\"allowed_tools\":{\"mode\":"
                        "\"auto\",\"tools\":[{\"type\":\"function\",\"function\":{\"name\":"
                        "\"b\"}}]}}}");
    assert_int_equal(q->tool_count, 1);
    is(q->tools[0].name, "b");
    assert_int_equal(q->tool_choice, TR_CHOICE_AUTO);
}

static void tools_of_the_provider_are_refused(void **state)
{
    read_refused(*state, "{\"model\":\"m\"," HI ",\"tools\":[{\"type\":\"web_search\"}]}",
                 "tools[0].type");
    assert_non_null(strstr(((struct tr_kit *)*state)->refusal.message, "unsupported_tool"));
    read_refused(*state, "{\"model\":\"m\"," HI ",\"web_search_options\":{}}",
                 "web_search_options");
}

static void t21_empty_tools_are_none(void **state)
{
    const struct tr_request *q = read_ok(*state, "{\"model\":\"m\"," HI ",\"tools\":[]}");
    assert_int_equal(q->tool_count, 0);
}

static void t03_system_texts_are_gathered_wherever_they_stand(void **state)
{
    const struct tr_request *q = read_ok(
        *state,
        "{\"model\":\"m\",\"messages\":[{\"role\":\"system\",\"content\":\"one\"},"
        "{\"role\":\"user\",\"content\":\"hi\"},{\"role\":\"developer\",\"content\":"
        "[{\"type\":\"text\",\"text\":\"two\",\"cache_control\":{\"type\":\"ephemeral\"}},"
        "{\"type\":\"text\",\"text\":\"three\"}]},{\"role\":\"user\",\"content\":\"yo\"}]}");
    assert_int_equal(q->system_count, 3);
    is(q->system[0].text, "one");
    is(q->system[1].text, "two");
    assert_int_equal(q->system[1].cache.ttl_s, 300);
    is(q->system[2].text, "three");
    assert_int_equal(q->turn_count, 2);
}

static void parts_of_all_kinds_are_read(void **state)
{
    const struct tr_request *q = read_ok(
        *state,
        "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":["
        "{\"type\":\"text\",\"text\":\"look\"},"
        "{\"type\":\"image_url\",\"image_url\":{\"url\":\"https://x/i.png\",\"detail\":\"low\"}},"
        "{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:image/png;base64,iVBORw0KGgo=\"}},"
        "{\"type\":\"file\",\"file\":{\"filename\":\"a.pdf\",\"file_data\":"
        "\"data:application/pdf;base64,JVBERi0=\"}},"
        "{\"type\":\"input_audio\",\"input_audio\":{\"data\":\"UklGRg==\",\"format\":\"wav\"},"
        "\"cache_control\":{\"type\":\"ephemeral\",\"ttl\":\"5m\"}}]}]}");
    const struct tr_part *p = q->turns[0].parts;
    assert_int_equal(q->turns[0].part_count, 5);
    assert_int_equal(p[1].kind, TR_PART_IMAGE);
    is(p[1].media.url, "https://x/i.png");
    is(p[1].media.detail, "low");
    is(p[2].media.mime, "image/png");
    is(p[2].media.base64, "iVBORw0KGgo=");
    assert_int_equal(p[3].kind, TR_PART_FILE);
    is(p[3].media.name, "a.pdf");
    is(p[3].media.mime, "application/pdf");
    assert_int_equal(p[4].kind, TR_PART_AUDIO);
    is(p[4].media.mime, "audio/wav");
    assert_int_equal(p[4].cache.ttl_s, 300);
}

static void t20_an_unknown_part_is_refused_with_its_path(void **state)
{
    read_refused(*state,
                 "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":"
                 "\"text\",\"text\":\"x\"},{\"type\":\"hologram\",\"hologram\":{}}]}]}",
                 "messages[0].content[1].type");
    read_refused(*state,
                 "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":"
                 "\"video_url\",\"video_url\":{\"url\":\"x\"}}]}]}",
                 "messages[0].content[0].type");
}

static void t05_a_turn_of_calls_alone_has_no_text(void **state)
{
    const struct tr_request *q = read_ok(
        *state, "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"x\"},"
                "{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":\"c1\","
                "\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}]},"
                "{\"role\":\"tool\",\"tool_call_id\":\"c1\",\"content\":\"42\"}]}");
    assert_int_equal(q->turn_count, 3);
    assert_int_equal(q->turns[1].part_count, 1);
    assert_int_equal(q->turns[1].parts[0].kind, TR_PART_CALL);
    is(q->turns[1].parts[0].call.id, "c1");
    assert_int_equal(q->turns[2].role, TR_TOOL);
    const struct tr_result *result = &q->turns[2].parts[0].result;
    is(result->call_id, "c1");
    is(result->parts[0].text, "42");
}

static void t04_a_result_may_hold_a_picture(void **state)
{
    const struct tr_request *q =
        read_ok(*state, "{\"model\":\"m\",\"messages\":[{\"role\":\"tool\",\"tool_call_id\":\"c\","
                        "\"content\":[{\"type\":\"text\",\"text\":\"see\"},{\"type\":\"image_url\","
                        "\"image_url\":{\"url\":\"https://x/y.png\"}}]}]}");
    const struct tr_result *result = &q->turns[0].parts[0].result;
    assert_int_equal(result->part_count, 2);
    assert_int_equal(result->parts[1].kind, TR_PART_IMAGE);
}

static void calls_of_the_old_kind_are_paired_with_their_results(void **state)
{
    const struct tr_request *q = read_ok(
        *state, "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"x\"},"
                "{\"role\":\"assistant\",\"content\":null,\"function_call\":{\"name\":\"f\","
                "\"arguments\":\"{}\"}},{\"role\":\"function\",\"name\":\"f\",\"content\":\"1\"},"
                "{\"role\":\"assistant\",\"function_call\":{\"name\":\"g\",\"arguments\":\"{}\"}},"
                "{\"role\":\"function\",\"name\":\"g\",\"content\":\"2\"}]}");
    assert_int_equal(q->turn_count, 5);
    struct str first = q->turns[1].parts[0].call.id, second = q->turns[3].parts[0].call.id;
    assert_false(str_eq(first, second));
    assert_true(str_eq(first, q->turns[2].parts[0].result.call_id));
    assert_true(str_eq(second, q->turns[4].parts[0].result.call_id));
    is(q->turns[4].parts[0].result.name, "g");
}

static void t07_reasoning_comes_back_unsealed_and_in_blocks(void **state)
{
    const struct tr_request *q = read_ok(
        *state,
        "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"x\"},"
        "{\"role\":\"assistant\",\"content\":\"hello\",\"reasoning_content\":\"abcde\","
        "\"thinking_blocks\":[{\"type\":\"thinking\",\"thinking\":\"\",\"reasoning_bytes\":2,"
        "\"signature\":\"sy1.anthropic.S1\"},{\"type\":\"redacted_thinking\",\"data\":"
        "\"sy1.anthropic.R\"},{\"type\":\"thinking\",\"thinking\":\"\",\"reasoning_bytes\":3,"
        "\"signature\":\"sy1.gemini.S2\"}]}]}");
    const struct tr_turn *turn = &q->turns[1];
    assert_int_equal(turn->part_count, 4);
    is(turn->parts[0].reasoning.text, "ab");
    is(turn->parts[0].reasoning.signature, "S1");
    assert_int_equal(turn->parts[0].reasoning.vendor, DIALECT_ANTHROPIC);
    is(turn->parts[1].reasoning.opaque, "R");
    is(turn->parts[2].reasoning.text, "cde");
    assert_int_equal(turn->parts[2].reasoning.vendor, DIALECT_GEMINI);
    is(turn->parts[3].text, "hello");
}

static void reasoning_of_nobody_known_is_told_apart(void **state)
{
    const struct tr_request *q = read_ok(
        *state,
        "{\"model\":\"m\",\"messages\":[{\"role\":\"assistant\",\"content\":\"a\","
        "\"reasoning_content\":\"why\"},{\"role\":\"assistant\",\"content\":\"b\","
        "\"thinking_blocks\":[{\"type\":\"thinking\",\"thinking\":\"full\",\"signature\":"
        "\"raw\"}]},{\"role\":\"assistant\",\"content\":\"c\",\"reasoning_content\":\"one\","
        "\"thinking_blocks\":[{\"type\":\"thinking\",\"thinking\":\"\",\"signature\":"
        "\"sy1.anthropic.S\"}]},{\"role\":\"assistant\",\"content\":\"d\","
        "\"reasoning_content\":\"\xc3\xa4\",\"thinking_blocks\":[{\"type\":\"thinking\","
        "\"reasoning_bytes\":1,\"signature\":\"sy1.anthropic.S\"}]}]}");
    is(q->turns[0].parts[0].reasoning.text, "why");
    assert_int_equal(q->turns[0].parts[0].reasoning.vendor, DIALECTS);
    is(q->turns[1].parts[0].reasoning.text, "full");
    assert_int_equal(q->turns[1].parts[0].reasoning.vendor, DIALECTS);
    is(q->turns[2].parts[0].reasoning.text, "one");
    assert_int_equal(q->turns[3].parts[0].reasoning.text.len, 0); /* Half a character is no text. */
    assert_int_equal(q->turns[3].parts[0].reasoning.signature.len, 0);
}

static void signatures_of_calls_are_only_taken_under_their_seal(void **state)
{
    const struct tr_request *q = read_ok(
        *state,
        "{\"model\":\"m\",\"messages\":[{\"role\":\"assistant\",\"tool_calls\":["
        "{\"id\":\"1\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"\"},"
        "\"extra_content\":{\"google\":{\"thought_signature\":\"sy1.gemini.AbC\"}}},"
        "{\"id\":\"2\",\"function\":{\"name\":\"f\",\"arguments\":{\"a\":1}},"
        "\"extra_content\":{\"google\":{\"thought_signature\":\"AbC\"}}}]}]}");
    is(q->turns[0].parts[0].call.signature, "AbC");
    assert_int_equal(q->turns[0].parts[1].call.signature.len, 0);
    is(q->turns[0].parts[1].call.arguments, "{\"a\":1}");
}

static void a_refusal_and_a_mark_on_a_message_are_kept(void **state)
{
    const struct tr_request *q = read_ok(
        *state, "{\"model\":\"m\",\"messages\":[{\"role\":\"assistant\",\"content\":\"\","
                "\"refusal\":\"no\"},{\"role\":\"assistant\",\"content\":null},{\"role\":\"user\","
                "\"name\":\"bob\",\"content\":\"x\",\"cache_control\":{\"type\":\"ephemeral\"}}]}");
    assert_int_equal(q->turn_count, 2); /* The one that said nothing is gone. */
    assert_int_equal(q->turns[0].parts[0].kind, TR_PART_REFUSAL);
    is(q->turns[0].parts[0].text, "no");
    assert_int_equal(q->turns[1].parts[0].cache.ttl_s, 300);
    assert_string_equal(q->unknown[0], "messages.name");
}

static void what_is_wrong_is_named_by_its_path(void **state)
{
    static const struct {
        const char *body, *param;
    } cases[] = {
        {"{\"messages\":[{\"role\":\"wizard\",\"content\":\"x\"}]}", "messages[0].role"},
        {"{\"messages\":[{\"role\":\"tool\",\"content\":\"x\"}]}", "messages[0]"},
        {"{\"messages\":[{\"role\":\"user\",\"content\":5}]}", "messages[0].content"},
        {"{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\",\"image_url\":{"
         "\"url\":\"data:image/png,x\"}}]}]}",
         "messages[0].content[0].image_url.url"},
        {"{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"file\",\"file\":{}}]}]}",
         "messages[0].content[0].file"},
        {"{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"file\",\"file\":{\"file_id\":"
         "\"file-1\"}}]}]}",
         "messages[0].content[0].file.file_id"},
        {"{\"messages\":[{\"role\":\"assistant\",\"tool_calls\":[{\"id\":\"a\",\"type\":"
         "\"custom\"}]}]}",
         "messages[0].tool_calls[0]"},
        {"{\"messages\":[{\"role\":\"assistant\",\"tool_calls\":[{\"id\":\"a\",\"type\":"
         "\"magic\"}]}]}",
         "messages[0].tool_calls[0].type"},
        {"{\"tools\":[{\"type\":\"custom\",\"custom\":{}}]}", "tools[0].custom"},
        {"{\"tools\":[{\"type\":\"custom\",\"custom\":{\"name\":\"g\",\"format\":{\"type\":"
         "\"grammar\",\"grammar\":{\"syntax\":\"bnf\",\"definition\":\"x\"}}}}]}",
         "tools[0].custom.format.grammar.syntax"},
        {"{\"tools\":[{\"type\":\"custom\",\"custom\":{\"name\":\"g\",\"format\":{\"type\":"
         "\"grammar\",\"grammar\":{\"syntax\":\"lark\"}}}}]}",
         "tools[0].custom.format.grammar"},
        {"{\"tools\":[{\"type\":\"function\",\"function\":{}}]}", "tools[0].function"},
        {"{\"tool_choice\":\"sometimes\"}", "tool_choice"},
        {"{\"metadata\":{\"a\":1}}", "metadata.a"},
        {"{\"stop\":[1]}", "stop[0]"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        read_refused(*state, cases[i].body, cases[i].param);
}

static void more_turns_than_there_is_room_for_are_refused(void **state)
{
    struct tr_kit *kit = *state;
    struct buf body;
    buf_init(&body, 1U << 20);
    assert_int_equal(buf_append_text(&body, "{\"messages\":["), 0);
    for (unsigned i = 0; i <= TR_TURNS_MAX; i++)
        assert_int_equal(buf_append_text(&body, i == 0 ? "{\"role\":\"user\",\"content\":\"x\"}"
                                                       : ",{\"role\":\"user\",\"content\":\"x\"}"),
                         0);
    assert_int_equal(buf_append_text(&body, "]}"), 0);
    read_refused(kit, buf_cstr(&body), "messages");
    buf_deinit(&body);
}

static void reading_survives_each_failed_allocation(void **state)
{
    struct tr_kit *kit = *state;
    bool fired = true;
    for (unsigned n = 0; fired; n++) {
        tr_kit_reset(kit);
        arena_pool_trim(&kit->pool, 0);
        json_deinit(&kit->json);
        json_init(&kit->json, JSON_NODES_MAX);
        fault_arm_alloc(n);
        int rc =
            tr_kit_read(kit, DIALECT_OPENAI,
                        "{\"model\":\"a\\nb\",\"x\\ty\":1,\"metadata\":{\"k\\n\":\"v\\n\"}," TOOLS
                        ",\"messages\":[{\"role\":\"system\",\"content\":\"s\\n\"},"
                        "{\"role\":\"assistant\",\"tool_calls\":[{\"id\":\"1\\n\","
                        "\"function\":{\"name\":\"f\\n\",\"arguments\":\"{}\\n\"}}],"
                        "\"function_call\":{\"name\":\"f\"}}]}");
        fired = fault_disarm();
        assert_int_equal(rc, fired ? ERR_NOMEM : 0);
    }
}

#define T(name) cmocka_unit_test_setup_teardown(name, tr_kit_setup, tr_kit_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_plain_body_says_what_it_says_and_nothing_else),
        T(every_parameter_has_its_place),
        T(one_stop_may_be_a_string_and_null_is_nothing),
        T(reasoning_may_be_asked_for_in_the_words_of_other_gateways),
        T(formats_are_text_json_and_schema),
        T(tools_and_choices_are_read_in_both_forms),
        T(tools_of_the_provider_are_refused),
        T(t21_empty_tools_are_none),
        T(t03_system_texts_are_gathered_wherever_they_stand),
        T(parts_of_all_kinds_are_read),
        T(t20_an_unknown_part_is_refused_with_its_path),
        T(t05_a_turn_of_calls_alone_has_no_text),
        T(t04_a_result_may_hold_a_picture),
        T(calls_of_the_old_kind_are_paired_with_their_results),
        T(t07_reasoning_comes_back_unsealed_and_in_blocks),
        T(reasoning_of_nobody_known_is_told_apart),
        T(signatures_of_calls_are_only_taken_under_their_seal),
        T(a_refusal_and_a_mark_on_a_message_are_kept),
        T(what_is_wrong_is_named_by_its_path),
        T(more_turns_than_there_is_room_for_are_refused),
        T(reading_survives_each_failed_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
