/* The dialogue of callers' requests as generateContent takes it. */
#include <string.h>

#include "tests/unit/dataplane/translate/tr_kit.h"

#define HOST  "gemini"
#define MODEL "gemini-3-pro"
#define DEEP  "\"args\":{\"a\":[[[["

static void an_agents_request_reaches_gemini(void **state)
{
    static const struct tr_kit_pair rows[] = {
        {DIALECT_ANTHROPIC, "gemini", "gemini-3-pro", "", TR_KIT_AGENT,
         "{\"systemInstruction\":{\"parts\":[{\"text\":\"You are an agent.\"},{\"text\":\"Be "
         "terse.\"}]},\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"Look.\"}]},{\"role\":"
         "\"model\",\"parts\":[{\"functionCall\":{\"id\":\"toolu_1\",\"name\":\"Read\",\"args\":{"
         "\"a\":\"x\"}},\"thoughtSignature\":\"AA==\"}]},{\"role\":\"user\",\"parts\":[{"
         "\"functionResponse\":{\"id\":\"toolu_1\",\"name\":\"Read\",\"response\":{\"name\":"
         "\"Read\",\"content\":\"one\"},\"parts\":[{\"inlineData\":{\"mimeType\":\"image/"
         "png\",\"data\":\"iVBORw0KGgoAAAANSUhEUg==\"}}]}},{\"text\":\"Go "
         "on.\"}]}],\"tools\":[{\"functionDeclarations\":[{\"name\":\"Read\",\"description\":"
         "\"Reads.\",\"parameters\":{\"type\":\"object\",\"required\":[\"a\"],\"properties\":{"
         "\"a\":{\"type\":\"string\"}}}}]}],\"toolConfig\":{\"functionCallingConfig\":{\"mode\":"
         "\"AUTO\"}},\"generationConfig\":{\"maxOutputTokens\":32000,\"thinkingConfig\":{"
         "\"thinkingLevel\":\"low\",\"includeThoughts\":true}}}",
         "dropped_user, clipped_reasoning_effort, dropped_cache_control, first_call_only"},
        {DIALECT_ANTHROPIC, "gemini", "gemini-2.5-flash", "", TR_KIT_AGENT,
         "{\"systemInstruction\":{\"parts\":[{\"text\":\"You are an agent.\"},{\"text\":\"Be "
         "terse.\"}]},\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"Look.\"}]},{\"role\":"
         "\"model\",\"parts\":[{\"functionCall\":{\"id\":\"toolu_1\",\"name\":\"Read\",\"args\":{"
         "\"a\":\"x\"}},\"thoughtSignature\":\"AA==\"}]},{\"role\":\"user\",\"parts\":[{"
         "\"functionResponse\":{\"id\":\"toolu_1\",\"name\":\"Read\",\"response\":{\"name\":"
         "\"Read\",\"content\":\"one\"}}},{\"inlineData\":{\"mimeType\":\"image/"
         "png\",\"data\":\"iVBORw0KGgoAAAANSUhEUg==\"}},{\"text\":\"Go "
         "on.\"}]}],\"tools\":[{\"functionDeclarations\":[{\"name\":\"Read\",\"description\":"
         "\"Reads.\",\"parameters\":{\"type\":\"object\",\"required\":[\"a\"],\"properties\":{"
         "\"a\":{\"type\":\"string\"}}}}]}],\"toolConfig\":{\"functionCallingConfig\":{\"mode\":"
         "\"AUTO\"}},\"generationConfig\":{\"maxOutputTokens\":32000,\"thinkingConfig\":{"
         "\"thinkingBudget\":10000,\"includeThoughts\":true}}}",
         "dropped_user, dropped_cache_control, first_call_only"},
    };
    tr_kit_pairs(*state, rows, sizeof rows / sizeof rows[0]);
}

static void a_response_reaches_gemini(void **state)
{
    static const struct tr_kit_pair rows[] = {
        {DIALECT_RESPONSES, "gemini", "gemini-3-pro", "",
         "{\"model\":\"m\",\"instructions\":\"Be "
         "brief.\",\"max_output_tokens\":100,\"reasoning\":{\"effort\":\"low\",\"summary\":"
         "\"auto\"},\"text\":{\"format\":{\"type\":\"json_schema\",\"name\":\"n\",\"schema\":{"
         "\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\"}},\"required\":[\"a\"]},"
         "\"strict\":true}},\"input\":[{\"role\":\"user\",\"content\":[{\"type\":\"input_text\","
         "\"text\":\"hi\"},{\"type\":\"input_image\",\"image_url\":\"data:image/"
         "png;base64,iVBORw0KGgoAAAANSUhEUg==\"}]},{\"type\":\"function_call\",\"call_id\":\"c1\","
         "\"name\":\"f\",\"arguments\":\"{\\\"a\\\":\\\"1\\\"}\"},{\"type\":\"function_call_"
         "output\",\"call_id\":\"c1\",\"output\":\"{\\\"ok\\\":true}\"}]}",
         "{\"systemInstruction\":{\"parts\":[{\"text\":\"Be "
         "brief.\"}]},\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"hi\"},{"
         "\"inlineData\":{\"mimeType\":\"image/"
         "png\",\"data\":\"iVBORw0KGgoAAAANSUhEUg==\"}}]},{\"role\":\"model\",\"parts\":[{"
         "\"functionCall\":{\"id\":\"c1\",\"name\":\"f\",\"args\":{\"a\":\"1\"}},"
         "\"thoughtSignature\":\"skip_thought_signature_validator\"}]},{\"role\":\"user\","
         "\"parts\":[{\"functionResponse\":{\"id\":\"c1\",\"name\":\"f\",\"response\":{\"ok\":true}"
         "}}]}],\"generationConfig\":{\"maxOutputTokens\":100,\"thinkingConfig\":{"
         "\"thinkingLevel\":\"low\",\"includeThoughts\":true},\"responseJsonSchema\":{\"type\":"
         "\"object\",\"properties\":{\"a\":{\"type\":\"string\"}},\"required\":[\"a\"]},"
         "\"responseMimeType\":\"application/json\"}}",
         ""},
        {DIALECT_RESPONSES, "vertex", "gemini-2.5-pro", "",
         "{\"model\":\"m\",\"instructions\":\"Be "
         "brief.\",\"max_output_tokens\":100,\"reasoning\":{\"effort\":\"low\",\"summary\":"
         "\"auto\"},\"text\":{\"format\":{\"type\":\"json_schema\",\"name\":\"n\",\"schema\":{"
         "\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\"}},\"required\":[\"a\"]},"
         "\"strict\":true}},\"input\":[{\"role\":\"user\",\"content\":[{\"type\":\"input_text\","
         "\"text\":\"hi\"},{\"type\":\"input_image\",\"image_url\":\"data:image/"
         "png;base64,iVBORw0KGgoAAAANSUhEUg==\"}]},{\"type\":\"function_call\",\"call_id\":\"c1\","
         "\"name\":\"f\",\"arguments\":\"{\\\"a\\\":\\\"1\\\"}\"},{\"type\":\"function_call_"
         "output\",\"call_id\":\"c1\",\"output\":\"{\\\"ok\\\":true}\"}]}",
         "{\"systemInstruction\":{\"parts\":[{\"text\":\"Be "
         "brief.\"}]},\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"hi\"},{"
         "\"inlineData\":{\"mimeType\":\"image/"
         "png\",\"data\":\"iVBORw0KGgoAAAANSUhEUg==\"}}]},{\"role\":\"model\",\"parts\":[{"
         "\"functionCall\":{\"name\":\"f\",\"args\":{\"a\":\"1\"}}}]},{\"role\":\"user\",\"parts\":"
         "[{\"functionResponse\":{\"name\":\"f\",\"response\":{\"ok\":true}}}]}],"
         "\"generationConfig\":{\"maxOutputTokens\":100,\"thinkingConfig\":{\"thinkingBudget\":128,"
         "\"includeThoughts\":true},\"responseJsonSchema\":{\"type\":\"object\",\"properties\":{"
         "\"a\":{\"type\":\"string\"}},\"required\":[\"a\"]},\"responseMimeType\":\"application/"
         "json\"}}",
         ""},
    };
    tr_kit_pairs(*state, rows, sizeof rows / sizeof rows[0]);
}

static void t01_t02_parallel_calls_are_answered_in_their_order(void **state)
{
    static const struct tr_kit_pair rows[] = {
        {DIALECT_OPENAI, "gemini", "gemini-3-pro", "",
         "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"go\"},{\"role\":"
         "\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":\"a\",\"type\":\"function\","
         "\"function\":{\"name\":\"f\",\"arguments\":\"{\\\"a\\\":\\\"1\\\"}\"}},{\"id\":\"b\","
         "\"type\":\"function\",\"function\":{\"name\":\"g\",\"arguments\":\"\"}}]},{\"role\":"
         "\"tool\",\"tool_call_id\":\"b\",\"content\":\"two\"},{\"role\":\"tool\",\"tool_call_id\":"
         "\"a\",\"content\":\"{\\\"t\\\": "
         "1}\"},{\"role\":\"user\",\"content\":\"and?\"}],\"tools\":[{\"type\":\"function\","
         "\"function\":{\"name\":\"f\",\"parameters\":{\"type\":\"object\",\"properties\":{\"a\":{"
         "\"type\":\"string\"}},\"required\":[\"a\"]}}},{\"type\":\"function\",\"function\":{"
         "\"name\":\"g\"}}]}",
         "{\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"go\"}]},{\"role\":\"model\","
         "\"parts\":[{\"functionCall\":{\"id\":\"a\",\"name\":\"f\",\"args\":{\"a\":\"1\"}},"
         "\"thoughtSignature\":\"skip_thought_signature_validator\"},{\"functionCall\":{\"id\":"
         "\"b\",\"name\":\"g\",\"args\":{}}}]},{\"role\":\"user\",\"parts\":[{\"functionResponse\":"
         "{\"id\":\"a\",\"name\":\"f\",\"response\":{\"t\": "
         "1}}},{\"functionResponse\":{\"id\":\"b\",\"name\":\"g\",\"response\":{\"name\":\"g\","
         "\"content\":\"two\"}}},{\"text\":\"and?\"}]}],\"tools\":[{\"functionDeclarations\":[{"
         "\"name\":\"f\",\"parameters\":{\"type\":\"object\",\"required\":[\"a\"],\"properties\":{"
         "\"a\":{\"type\":\"string\"}}}},{\"name\":\"g\"}]}],\"generationConfig\":{}}",
         ""},
        {DIALECT_OPENAI, "vertex", "gemini-2.5-flash", "",
         "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"go\"},{\"role\":"
         "\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":\"a\",\"type\":\"function\","
         "\"function\":{\"name\":\"f\",\"arguments\":\"{\\\"a\\\":\\\"1\\\"}\"}},{\"id\":\"b\","
         "\"type\":\"function\",\"function\":{\"name\":\"g\",\"arguments\":\"\"}}]},{\"role\":"
         "\"tool\",\"tool_call_id\":\"b\",\"content\":\"two\"},{\"role\":\"tool\",\"tool_call_id\":"
         "\"a\",\"content\":\"{\\\"t\\\": 1}\"},{\"role\":\"user\",\"content\":\"and?\"}]}",
         "{\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"go\"}]},{\"role\":\"model\","
         "\"parts\":[{\"functionCall\":{\"name\":\"f\",\"args\":{\"a\":\"1\"}}},{\"functionCall\":{"
         "\"name\":\"g\",\"args\":{}}}]},{\"role\":\"user\",\"parts\":[{\"functionResponse\":{"
         "\"name\":\"f\",\"response\":{\"t\": "
         "1}}},{\"functionResponse\":{\"name\":\"g\",\"response\":{\"name\":\"g\",\"content\":"
         "\"two\"}}},{\"text\":\"and?\"}]}],\"generationConfig\":{}}",
         ""},
    };
    tr_kit_pairs(*state, rows, sizeof rows / sizeof rows[0]);
}

static void t03_system_texts_stand_apart_wherever_they_were(void **state)
{
    static const struct tr_kit_pair rows[] = {
        {DIALECT_OPENAI, "gemini", "gemini-2.5-flash", "",
         "{\"model\":\"m\",\"messages\":[{\"role\":\"system\",\"content\":\"a\"},{\"role\":"
         "\"user\",\"content\":\"q\"},{\"role\":\"assistant\",\"content\":\"r\"},{\"role\":"
         "\"system\",\"content\":\"b\"},{\"role\":\"user\",\"content\":\"s\"}]}",
         "{\"systemInstruction\":{\"parts\":[{\"text\":\"a\"},{\"text\":\"b\"}]},\"contents\":[{"
         "\"role\":\"user\",\"parts\":[{\"text\":\"q\"}]},{\"role\":\"model\",\"parts\":[{\"text\":"
         "\"r\"}]},{\"role\":\"user\",\"parts\":[{\"text\":\"s\"}]}],\"generationConfig\":{}}",
         ""},
        {DIALECT_OPENAI, "gemini", "gemma-3-27b", "",
         "{\"model\":\"m\",\"messages\":[{\"role\":\"system\",\"content\":\"a\"},{\"role\":"
         "\"user\",\"content\":\"q\"}]}",
         "{\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"a\"},{\"text\":\"q\"}]}],"
         "\"generationConfig\":{}}",
         ""},
    };
    tr_kit_pairs(*state, rows, sizeof rows / sizeof rows[0]);
}

static void t04_pictures_in_results_have_a_place(void **state)
{
    static const struct tr_kit_pair rows[] = {
        {DIALECT_OPENAI, "gemini", "gemini-2.5-flash", "",
         "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"go\"},{\"role\":"
         "\"assistant\",\"content\":\"w\",\"tool_calls\":[{\"id\":\"a\",\"type\":\"function\","
         "\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}]},{\"role\":\"tool\",\"tool_call_"
         "id\":\"a\",\"content\":[{\"type\":\"text\",\"text\":\"see\"},{\"type\":\"image_url\","
         "\"image_url\":{\"url\":\"data:image/png;base64,iVBORw0KGgoAAAANSUhEUg==\"}}]}]}",
         "{\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"go\"}]},{\"role\":\"model\","
         "\"parts\":[{\"text\":\"w\"},{\"functionCall\":{\"id\":\"a\",\"name\":\"f\",\"args\":{}}}]"
         "},{\"role\":\"user\",\"parts\":[{\"functionResponse\":{\"id\":\"a\",\"name\":\"f\","
         "\"response\":{\"name\":\"f\",\"content\":\"see\"}}},{\"inlineData\":{\"mimeType\":"
         "\"image/png\",\"data\":\"iVBORw0KGgoAAAANSUhEUg==\"}}]}],\"generationConfig\":{}}",
         ""},
    };
    tr_kit_pairs(*state, rows, sizeof rows / sizeof rows[0]);
}

static void t05_t15_what_is_not_said_is_not_sent(void **state)
{
    static const struct tr_kit_pair rows[] = {
        {DIALECT_OPENAI, "gemini", "gemini-3-pro", "",
         "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"a\"},{\"role\":"
         "\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":\"a\",\"type\":\"function\","
         "\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}]}]}",
         "{\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"a\"}]},{\"role\":\"model\","
         "\"parts\":[{\"functionCall\":{\"id\":\"a\",\"name\":\"f\",\"args\":{}},"
         "\"thoughtSignature\":\"skip_thought_signature_validator\"}]},{\"role\":\"user\","
         "\"parts\":[{\"functionResponse\":{\"id\":\"a\",\"name\":\"f\",\"response\":{\"name\":"
         "\"f\",\"error\":\"no result\"}}}]}],\"generationConfig\":{}}",
         "filled_result"},
        {DIALECT_OPENAI, "gemini", "gemini-9-flash", "",
         "{\"model\":\"m\",\"messages\":[{\"role\":\"assistant\",\"content\":\"b\"},{\"role\":"
         "\"user\",\"content\":[{\"type\":\"text\",\"text\":\"\"},{\"type\":\"text\",\"text\":"
         "\"c\"}]}],\"max_tokens\":9999999}",
         "{\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\".\"}]},{\"role\":\"model\","
         "\"parts\":[{\"text\":\"b\"}]},{\"role\":\"user\",\"parts\":[{\"text\":\"c\"}]}],"
         "\"generationConfig\":{\"maxOutputTokens\":65536}}",
         "added_user_message, clipped_max_tokens"},
    };
    tr_kit_pairs(*state, rows, sizeof rows / sizeof rows[0]);
}

static void t07_signatures_go_back_where_they_came_from(void **state)
{
    static const struct tr_kit_pair rows[] = {
        {DIALECT_OPENAI, "gemini", "gemini-3-pro", "",
         "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"go\"},{\"role\":"
         "\"assistant\",\"content\":\"\",\"reasoning_content\":\"r\",\"tool_calls\":[{\"id\":\"a\","
         "\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"},\"extra_"
         "content\":{\"google\":{\"thought_signature\":\"sy1.gemini.S1\"}}},{\"id\":\"b\",\"type\":"
         "\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}]},{\"role\":\"tool\","
         "\"tool_call_id\":\"a\",\"content\":\"1\"},{\"role\":\"tool\",\"tool_call_id\":\"b\","
         "\"content\":\"2\"},{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":"
         "\"c\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"},\"extra_"
         "content\":{\"google\":{\"thought_signature\":\"sy1.gemini.S2\"}}}]},{\"role\":\"tool\","
         "\"tool_call_id\":\"c\",\"content\":\"3\"}]}",
         "{\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"go\"}]},{\"role\":\"model\","
         "\"parts\":[{\"functionCall\":{\"id\":\"a\",\"name\":\"f\",\"args\":{}},"
         "\"thoughtSignature\":\"S1\"},{\"functionCall\":{\"id\":\"b\",\"name\":\"f\",\"args\":{}}}"
         "]},{\"role\":\"user\",\"parts\":[{\"functionResponse\":{\"id\":\"a\",\"name\":\"f\","
         "\"response\":{\"name\":\"f\",\"content\":\"1\"}}},{\"functionResponse\":{\"id\":\"b\","
         "\"name\":\"f\",\"response\":{\"name\":\"f\",\"content\":\"2\"}}}]},{\"role\":\"model\","
         "\"parts\":[{\"functionCall\":{\"id\":\"c\",\"name\":\"f\",\"args\":{}},"
         "\"thoughtSignature\":\"S2\"}]},{\"role\":\"user\",\"parts\":[{\"functionResponse\":{"
         "\"id\":\"c\",\"name\":\"f\",\"response\":{\"name\":\"f\",\"content\":\"3\"}}}]}],"
         "\"generationConfig\":{}}",
         ""},
        {DIALECT_ANTHROPIC, "gemini", "gemini-3-pro", "",
         "{\"model\":\"m\",\"max_tokens\":9,\"messages\":[{\"role\":\"user\",\"content\":\"q\"},{"
         "\"role\":\"assistant\",\"content\":[{\"type\":\"thinking\",\"thinking\":\"th\","
         "\"signature\":\"sy1.gemini.S1\"},{\"type\":\"text\",\"text\":\"t\"},{\"type\":"
         "\"thinking\",\"thinking\":\"\",\"signature\":\"sy1.gemini.S2\"}]},{\"role\":\"user\","
         "\"content\":\"n\"},{\"role\":\"assistant\",\"content\":[{\"type\":\"thinking\","
         "\"thinking\":\"x\",\"signature\":\"sy1.anthropic.N\"},{\"type\":\"thinking\","
         "\"thinking\":\"\",\"signature\":\"sy1.gemini.S3\"},{\"type\":\"tool_use\",\"id\":\"i\","
         "\"name\":\"f\",\"input\":{}}]},{\"role\":\"user\",\"content\":[{\"type\":\"tool_result\","
         "\"tool_use_id\":\"i\",\"content\":\"r\",\"is_error\":true}]}]}",
         "{\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"q\"}]},{\"role\":\"model\","
         "\"parts\":[{\"text\":\"t\",\"thoughtSignature\":\"S1\"},{\"text\":\"\","
         "\"thoughtSignature\":\"S2\"}]},{\"role\":\"user\",\"parts\":[{\"text\":\"n\"}]},{"
         "\"role\":\"model\",\"parts\":[{\"functionCall\":{\"id\":\"i\",\"name\":\"f\",\"args\":{}}"
         ",\"thoughtSignature\":\"S3\"}]},{\"role\":\"user\",\"parts\":[{\"functionResponse\":{"
         "\"id\":\"i\",\"name\":\"f\",\"response\":{\"name\":\"f\",\"error\":\"r\"}}}]}],"
         "\"generationConfig\":{\"maxOutputTokens\":9}}",
         ""},
    };
    tr_kit_pairs(*state, rows, sizeof rows / sizeof rows[0]);
}

static void t19_ids_that_come_twice_are_told_apart(void **state)
{
    static const struct tr_kit_pair rows[] = {
        {DIALECT_OPENAI, "gemini", "gemini-3-pro", "",
         "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"go\"},{\"role\":"
         "\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":\"x\",\"type\":\"function\","
         "\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}},{\"id\":\"x\",\"type\":\"function\","
         "\"function\":{\"name\":\"g\",\"arguments\":\"not "
         "json\"}}]},{\"role\":\"tool\",\"tool_call_id\":\"x\",\"content\":\"1\"},{\"role\":"
         "\"tool\",\"tool_call_id\":\"x\",\"content\":\"2\"}]}",
         "{\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"go\"}]},{\"role\":\"model\","
         "\"parts\":[{\"functionCall\":{\"id\":\"x\",\"name\":\"f\",\"args\":{}},"
         "\"thoughtSignature\":\"skip_thought_signature_validator\"},{\"functionCall\":{\"id\":"
         "\"call_JAM3Poz92zHDqY7PkWlIRyjH\",\"name\":\"g\",\"args\":{\"rawInvalidInput\":\"not "
         "json\"}}}]},{\"role\":\"user\",\"parts\":[{\"functionResponse\":{\"id\":\"x\",\"name\":"
         "\"f\",\"response\":{\"name\":\"f\",\"content\":\"1\"}}},{\"functionResponse\":{\"id\":"
         "\"call_JAM3Poz92zHDqY7PkWlIRyjH\",\"name\":\"g\",\"response\":{\"name\":\"g\","
         "\"content\":\"2\"}}}]}],\"generationConfig\":{}}",
         ""},
    };
    tr_kit_pairs(*state, rows, sizeof rows / sizeof rows[0]);
}

static void pictures_and_files_by_value_and_by_address(void **state)
{
    static const struct tr_kit_pair rows[] = {
        {DIALECT_OPENAI, "gemini", "gemini-2.5-flash", "",
         "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\","
         "\"image_url\":{\"url\":\"https://x/"
         "a.png\"}},{\"type\":\"input_audio\",\"input_audio\":{\"data\":\"QUJD\",\"format\":"
         "\"mp3\"}},{\"type\":\"file\",\"file\":{\"filename\":\"a.pdf\",\"file_data\":\"data:"
         "application/pdf;base64,JVBERi0x\"}}]}]}",
         "{\"contents\":[{\"role\":\"user\",\"parts\":[{\"fileData\":{\"mimeType\":\"image/"
         "png\",\"fileUri\":\"https://x/a.png\"}},{\"inlineData\":{\"mimeType\":\"audio/"
         "mpeg\",\"data\":\"QUJD\"}},{\"inlineData\":{\"mimeType\":\"application/"
         "pdf\",\"data\":\"JVBERi0x\"}}]}],\"generationConfig\":{}}",
         ""},
        {DIALECT_OPENAI, "gemini", "gemini-2.0-flash", "",
         "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\","
         "\"image_url\":{\"url\":\"https://x/a.png\"}}]}]}",
         "!messages: this model takes pictures and files by value, not by address", ""},
        {DIALECT_OPENAI, "vertex", "gemini-2.0-flash", "",
         "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\","
         "\"image_url\":{\"url\":\"gs://b/a.png\"}}]}]}",
         "{\"contents\":[{\"role\":\"user\",\"parts\":[{\"fileData\":{\"mimeType\":\"image/"
         "png\",\"fileUri\":\"gs://b/a.png\"}}]}],\"generationConfig\":{}}",
         ""},
        {DIALECT_OPENAI, "gemini", "gemini-2.5-flash", "",
         "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\","
         "\"image_url\":{\"url\":\"gs://b/a.png\"}}]}]}",
         "!messages: this model takes pictures and files by value, not by address", ""},
    };
    tr_kit_pairs(*state, rows, sizeof rows / sizeof rows[0]);
}

static void what_cannot_be_said_is_refused(void **state)
{
    static const struct tr_kit_pair rows[] = {
        {DIALECT_OPENAI, "gemini", "gemini-3-pro", "",
         "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"q\"},{\"role\":"
         "\"assistant\",\"content\":\"pre\"}]}",
         "!messages: this model does not continue a last message of the assistant", ""},
        {DIALECT_OPENAI, "gemini", "gemini-3-pro", "no repair",
         "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"q\"},{\"role\":"
         "\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":\"a\",\"type\":\"function\","
         "\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}]}]}",
         "!messages: must hold a result for each call of a tool", ""},
    };
    tr_kit_pairs(*state, rows, sizeof rows / sizeof rows[0]);
}

static void t06_long_and_deep_arguments_arrive(void **state)
{
    tr_kit_ask_deep(*state, HOST, MODEL, DEEP);
}

static void every_failed_allocation_is_told(void **state)
{
    tr_kit_ask_starved(state, DIALECT_ANTHROPIC, TR_KIT_AGENT, HOST, MODEL);
}
static void t07_another_vendor_gets_none_of_it(void **state)
{
    struct tr_kit *kit = *state;
    struct tr_target target = tr_kit_target("anthropic", "claude-sonnet-4-5");
    const char *out =
        tr_kit_asked(kit, DIALECT_ANTHROPIC, TR_KIT_AGENT, DIALECT_ANTHROPIC, &target);
    assert_null(strstr(out, "AA=="));
    assert_null(strstr(out, "sy1."));
    assert_non_null(strstr(out, "\"tool_use\""));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, tr_kit_setup, tr_kit_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_agents_request_reaches_gemini),
        TEST(a_response_reaches_gemini),
        TEST(t01_t02_parallel_calls_are_answered_in_their_order),
        TEST(t03_system_texts_stand_apart_wherever_they_were),
        TEST(t04_pictures_in_results_have_a_place),
        TEST(t05_t15_what_is_not_said_is_not_sent),
        TEST(t07_signatures_go_back_where_they_came_from),
        TEST(t19_ids_that_come_twice_are_told_apart),
        TEST(pictures_and_files_by_value_and_by_address),
        TEST(what_cannot_be_said_is_refused),
        TEST(t06_long_and_deep_arguments_arrive),
        TEST(every_failed_allocation_is_told),
        TEST(t07_another_vendor_gets_none_of_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
