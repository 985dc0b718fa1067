/* Chat completions and Messages, one asked by the other: whole requests in and out, and reasoning
 * on its way through several turns and vendors. */
#include <string.h>

#include "dataplane/translate/seal.h"
#include "tests/unit/dataplane/translate/tr_kit.h"

/* As a coding agent asks. */
#define AGENT                                                                                      \
    "{\"model\":\"claude-auto\",\"max_tokens\":32000,\"stream\":true,\"metadata\":{\"user_id\":"   \
    "\"u-1\"},\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":10000},\"system\":[{\"type\":"  \
    "\"text\",\"text\":\"You are an agent.\"},{\"type\":\"text\",\"text\":\"Be terse.\","          \
    "\"cache_control\":{\"type\":\"ephemeral\"}}],\"tools\":[{\"name\":\"Read\",\"description\":"  \
    "\"Reads.\",\"input_schema\":{\"type\":\"object\",\"properties\":{\"p\":{\"type\":"            \
    "\"string\"}}}}],\"tool_choice\":{\"type\":\"auto\",\"disable_parallel_tool_use\":true},"      \
    "\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"<note>\"},"       \
    "{\"type\":\"text\",\"text\":\"Look.\"}]},{\"role\":\"assistant\",\"content\":[{\"type\":"     \
    "\"thinking\",\"thinking\":\"hm\",\"signature\":\"sy1.anthropic.AA\"},{\"type\":\"text\","     \
    "\"text\":\"Reading.\"},{\"type\":\"tool_use\",\"id\":\"toolu_1\",\"name\":\"Read\","          \
    "\"input\":{\"p\":\"a\"}}]},{\"role\":\"user\",\"content\":[{\"type\":\"tool_result\","        \
    "\"tool_use_id\":\"toolu_1\",\"content\":[{\"type\":\"text\",\"text\":\"one\"},{\"type\":"     \
    "\"image\",\"source\":{\"type\":\"base64\",\"media_type\":\"image/png\",\"data\":"             \
    "\"iVBORw0KGgoAAAANSUhEUg==\"}}]},{\"type\":\"text\",\"text\":\"Go on.\"}]}]}"

static void t04_t07_an_agents_request_reaches_a_reasoning_model(void **state)
{
    struct tr_target target = tr_kit_target("openai", "gpt-5.1");
    assert_string_equal(
        tr_kit_asked(*state, DIALECT_ANTHROPIC, AGENT, DIALECT_OPENAI, &target),
        "{\"model\":\"gpt-5.1\",\"messages\":[{\"role\":\"developer\",\"content\":\"You are an "
        "agent.\\n\\nBe terse.\"},{\"role\":\"user\",\"content\":\"<note>\\n\\nLook.\"},{\"role\":"
        "\"assistant\",\"content\":\"Reading.\",\"tool_calls\":[{\"id\":\"toolu_1\",\"type\":"
        "\"function\",\"function\":{\"name\":\"Read\",\"arguments\":\"{\\\"p\\\":\\\"a\\\"}\"}}]},"
        "{\"role\":\"tool\",\"content\":\"one\",\"tool_call_id\":\"toolu_1\"},{\"role\":\"user\","
        "\"content\":[{\"type\":\"image_url\",\"image_url\":{\"url\":"
        "\"data:image/"
        "png;base64,iVBORw0KGgoAAAANSUhEUg==\"}}]},{\"role\":\"user\",\"content\":\"Go "
        "on.\"}],\"stream\":true,\"stream_options\":{\"include_usage\":true},"
        "\"max_completion_tokens\":32000,\"reasoning_effort\":\"medium\",\"tools\":[{\"type\":"
        "\"function\",\"function\":{\"name\":\"Read\",\"description\":\"Reads.\",\"parameters\":{"
        "\"type\":\"object\",\"properties\":{\"p\":{\"type\":\"string\"}}}}}],\"tool_choice\":"
        "\"auto\",\"parallel_tool_calls\":false,\"safety_identifier\":\"u-1\"}");
}

static void an_agents_request_reaches_a_strict_host(void **state)
{
    struct tr_kit *kit = *state;
    struct tr_target target = tr_kit_target("mistral", "mistral-large");
    const char *out = tr_kit_asked(kit, DIALECT_ANTHROPIC, AGENT, DIALECT_OPENAI, &target);
    assert_null(strstr(out, "toolu_1"));
    assert_null(strstr(out, "stream_options"));
    assert_null(strstr(out, "u-1"));
    assert_null(strstr(out, "reasoning"));
    assert_non_null(strstr(out, "\"role\":\"system\""));
    assert_non_null(strstr(out, "\"max_tokens\":32000"));
    assert_non_null(strstr(kit->notes, "dropped_user"));
    assert_non_null(strstr(kit->notes, "dropped_reasoning_effort"));
}

/* Three turns with a model of anthropic, as a client puts the chunks of the answers together (it
 * joins texts and lists blocks), then the same dialogue with others. */
#define DIALOGUE                                                                                   \
    "{\"model\":\"m\",\"max_tokens\":20000,\"reasoning_effort\":\"high\",\"tools\":[{\"type\":"    \
    "\"function\",\"function\":{\"name\":\"f\",\"parameters\":{\"type\":\"object\"}}}],"           \
    "\"messages\":[{\"role\":\"user\",\"content\":\"go\"},"                                        \
    "{\"role\":\"assistant\",\"content\":\"\",\"reasoning_content\":\"first \xc3\xa4\","           \
    "\"thinking_blocks\":[{\"index\":0,\"type\":\"thinking\",\"thinking\":\"\","                   \
    "\"reasoning_bytes\":8,\"signature\":\"sy1.anthropic.S1\"}],\"tool_calls\":[{\"index\":0,"     \
    "\"id\":\"toolu_1\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":"         \
    "\"{}\"}}]},"                                                                                  \
    "{\"role\":\"tool\",\"tool_call_id\":\"toolu_1\",\"content\":\"1\"},"                          \
    "{\"role\":\"assistant\",\"content\":\"\",\"reasoning_content\":\"second\","                   \
    "\"thinking_blocks\":[{\"index\":0,\"type\":\"redacted_thinking\",\"data\":"                   \
    "\"sy1.anthropic.R\"},{\"index\":1,\"type\":\"thinking\",\"thinking\":\"\","                   \
    "\"reasoning_bytes\":6,\"signature\":\"sy1.anthropic.S2\"}],\"tool_calls\":[{\"index\":0,"     \
    "\"id\":\"toolu_2\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":"         \
    "\"{}\"}}]},"                                                                                  \
    "{\"role\":\"tool\",\"tool_call_id\":\"toolu_2\",\"content\":\"2\"}]}"

static void t07_signed_reasoning_goes_back_byte_by_byte(void **state)
{
    struct tr_target target = tr_kit_target("anthropic", "claude-opus-4-1");
    const char *out = tr_kit_asked(*state, DIALECT_OPENAI, DIALOGUE, DIALECT_ANTHROPIC, &target);
    assert_non_null(strstr(out, "{\"type\":\"thinking\",\"thinking\":\"first \xc3\xa4\","
                                "\"signature\":\"S1\"},{\"type\":\"tool_use\""));
    assert_non_null(strstr(out, "{\"type\":\"redacted_thinking\",\"data\":\"R\"},{\"type\":"
                                "\"thinking\",\"thinking\":\"second\",\"signature\":\"S2\"},"
                                "{\"type\":\"tool_use\""));
    assert_null(strstr(out, "sy1."));
}

static void t07_it_stays_away_from_other_vendors(void **state)
{
    static const struct {
        const char *host, *model;
    } others[] = {{"openai", "gpt-5"}, {"groq", "llama"}, {"mistral", "mistral-large"}};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        struct tr_target target = tr_kit_target(others[i].host, others[i].model);
        const char *out = tr_kit_asked(*state, DIALECT_OPENAI, DIALOGUE, DIALECT_OPENAI, &target);
        assert_null(strstr(out, "first"));
        assert_null(strstr(out, "sy1."));
        assert_null(strstr(out, "thinking"));
    }
}

/* What the printer says of a stream is what the reader takes back. */
static void t07_the_chunks_say_all_that_goes_back(void **state)
{
    struct tr_kit *kit = *state;
    static const char stream[] =
        "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"x\","
        "\"model\":\"m\",\"usage\":{\"input_tokens\":3,\"output_tokens\":1}}}\n\n"
        "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,"
        "\"content_block\":{\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"\"}}\n\n"
        "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,"
        "\"delta\":{\"type\":\"thinking_delta\",\"thinking\":\"first \xc3\xa4\"}}\n\n"
        "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,"
        "\"delta\":{\"type\":\"signature_delta\",\"signature\":\"S1\"}}\n\n"
        "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n";
    const struct tr_print print = {.id = STR("i"), .model = STR("m"), .vendor = DIALECT_ANTHROPIC};
    const struct tr_event events[] = {{.kind = TR_EVENT_REASONING, .text = STR("first \xc3\xa4")},
                                      {.kind = TR_EVENT_SEAL, .opaque = STR("S1")}};
    assert_int_equal(
        tr_kit_stream(kit, DIALECT_ANTHROPIC, (struct str){stream, sizeof stream - 1}, 0), 0);
    assert_non_null(strstr(tr_kit_log(kit), "reasoning first \xc3\xa4\nseal S1\n"));
    assert_int_equal(tr_kit_print(kit, DIALECT_OPENAI, &print, events, 2), 0);
    assert_non_null(strstr(tr_kit_out(kit), "{\"reasoning_content\":\"first \xc3\xa4\"}"));
    assert_non_null(strstr(tr_kit_out(kit),
                           "{\"index\":0,\"type\":\"thinking\",\"thinking\":\"\","
                           "\"reasoning_bytes\":8,\"signature\":\"sy1.anthropic.S1\"}"));
}

#define T(name) cmocka_unit_test_setup_teardown(name, tr_kit_setup, tr_kit_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(t04_t07_an_agents_request_reaches_a_reasoning_model),
        T(an_agents_request_reaches_a_strict_host),
        T(t07_signed_reasoning_goes_back_byte_by_byte),
        T(t07_it_stays_away_from_other_vendors),
        T(t07_the_chunks_say_all_that_goes_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
