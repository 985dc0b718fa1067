/* Requests of callers as Cohere's v2 chat takes them. */
#include <string.h>

#include "tests/unit/dataplane/translate/tr_kit.h"

#define HOST  "cohere"
#define MODEL "command-a-03-2025"
#define DEEP  "\"arguments\":\"{\\\"a\\\":[[[["

static void an_agents_request_reaches_cohere(void **state)
{
    static const struct tr_kit_pair rows[] = {
        {DIALECT_ANTHROPIC, "cohere", "command-a-reasoning-08-2025", "", TR_KIT_AGENT,
         "{\"model\":\"command-a-reasoning-08-2025\",\"messages\":[{\"role\":\"system\","
         "\"content\":\"You are an agent.\\n\\nBe "
         "terse.\"},{\"role\":\"user\",\"content\":\"Look.\"},{\"role\":\"assistant\",\"tool_"
         "calls\":[{\"id\":\"toolu_1\",\"type\":\"function\",\"function\":{\"name\":\"Read\","
         "\"arguments\":\"{\\\"a\\\":\\\"x\\\"}\"}}]},{\"role\":\"tool\",\"tool_call_id\":\"toolu_"
         "1\",\"content\":\"one\"},{\"role\":\"user\",\"content\":[{\"type\":\"image_url\",\"image_"
         "url\":{\"url\":\"data:image/"
         "png;base64,iVBORw0KGgoAAAANSUhEUg==\"}}]},{\"role\":\"user\",\"content\":\"Go "
         "on.\"}],\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"Read\","
         "\"description\":\"Reads.\",\"parameters\":{\"type\":\"object\",\"properties\":{\"a\":{"
         "\"type\":\"string\"}},\"required\":[\"a\"]}}}],\"thinking\":{\"type\":\"enabled\","
         "\"token_budget\":10000},\"max_tokens\":32000,\"stream\":true}",
         "dropped_user, dropped_citations, first_call_only"},
    };
    tr_kit_pairs(*state, rows, sizeof rows / sizeof rows[0]);
}

static void a_response_reaches_cohere(void **state)
{
    static const struct tr_kit_pair rows[] = {
        {DIALECT_RESPONSES, "cohere", "command-a-03-2025", "",
         "{\"model\":\"m\",\"instructions\":\"Be "
         "brief.\",\"max_output_tokens\":100,\"reasoning\":{\"effort\":\"low\",\"summary\":"
         "\"auto\"},\"text\":{\"format\":{\"type\":\"json_schema\",\"name\":\"n\",\"schema\":{"
         "\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\"}},\"required\":[\"a\"]},"
         "\"strict\":true}},\"input\":[{\"role\":\"user\",\"content\":[{\"type\":\"input_text\","
         "\"text\":\"hi\"},{\"type\":\"input_image\",\"image_url\":\"data:image/"
         "png;base64,iVBORw0KGgoAAAANSUhEUg==\"}]},{\"type\":\"function_call\",\"call_id\":\"c1\","
         "\"name\":\"f\",\"arguments\":\"{\\\"a\\\":\\\"1\\\"}\"},{\"type\":\"function_call_"
         "output\",\"call_id\":\"c1\",\"output\":\"{\\\"ok\\\":true}\"}]}",
         "{\"model\":\"command-a-03-2025\",\"messages\":[{\"role\":\"system\",\"content\":\"Be "
         "brief.\"},{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"hi\"},{\"type\":"
         "\"image_url\",\"image_url\":{\"url\":\"data:image/"
         "png;base64,iVBORw0KGgoAAAANSUhEUg==\"}}]},{\"role\":\"assistant\",\"tool_calls\":[{"
         "\"id\":\"c1\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{"
         "\\\"a\\\":\\\"1\\\"}\"}}]},{\"role\":\"tool\",\"tool_call_id\":\"c1\",\"content\":\"{"
         "\\\"ok\\\":true}\"}],\"response_format\":{\"type\":\"json_object\",\"json_schema\":{"
         "\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\"}},\"required\":[\"a\"]}},"
         "\"max_tokens\":100,\"stream\":false}",
         "dropped_citations, dropped_reasoning_effort"},
    };
    tr_kit_pairs(*state, rows, sizeof rows / sizeof rows[0]);
}

static void t01_t02_parallel_calls_are_answered_in_their_order(void **state)
{
    static const struct tr_kit_pair rows[] = {
        {DIALECT_OPENAI, "cohere", "command-a-03-2025", "",
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
         "{\"model\":\"command-a-03-2025\",\"messages\":[{\"role\":\"user\",\"content\":\"go\"},{"
         "\"role\":\"assistant\",\"tool_calls\":[{\"id\":\"a\",\"type\":\"function\",\"function\":{"
         "\"name\":\"f\",\"arguments\":\"{\\\"a\\\":\\\"1\\\"}\"}},{\"id\":\"b\",\"type\":"
         "\"function\",\"function\":{\"name\":\"g\",\"arguments\":\"{}\"}}]},{\"role\":\"tool\","
         "\"tool_call_id\":\"a\",\"content\":\"{\\\"t\\\": "
         "1}\"},{\"role\":\"tool\",\"tool_call_id\":\"b\",\"content\":\"two\"},{\"role\":\"user\","
         "\"content\":\"and?\"}],\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\","
         "\"parameters\":{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\"}},"
         "\"required\":[\"a\"]}}},{\"type\":\"function\",\"function\":{\"name\":\"g\","
         "\"parameters\":{\"type\":\"object\",\"properties\":{}}}}],\"stream\":false}",
         "dropped_citations"},
    };
    tr_kit_pairs(*state, rows, sizeof rows / sizeof rows[0]);
}

static void t03_t04_t05_messages_are_as_cohere_has_them(void **state)
{
    static const struct tr_kit_pair rows[] = {
        {DIALECT_OPENAI, "cohere", "command-a-03-2025", "",
         "{\"model\":\"m\",\"messages\":[{\"role\":\"system\",\"content\":\"a\"},{\"role\":"
         "\"user\",\"content\":\"q\"},{\"role\":\"assistant\",\"content\":\"w\",\"tool_calls\":[{"
         "\"id\":\"a\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}]},"
         "{\"role\":\"tool\",\"tool_call_id\":\"a\",\"content\":[{\"type\":\"text\",\"text\":"
         "\"see\"},{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:image/"
         "png;base64,iVBORw0KGgoAAAANSUhEUg==\"}}]},{\"role\":\"system\",\"content\":\"b\"},{"
         "\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"x\"},{\"type\":\"image_"
         "url\",\"image_url\":{\"url\":\"https://x/a.png\",\"detail\":\"low\"}}]}]}",
         "{\"model\":\"command-a-03-2025\",\"messages\":[{\"role\":\"system\",\"content\":"
         "\"a\\n\\nb\"},{\"role\":\"user\",\"content\":\"q\"},{\"role\":\"assistant\",\"tool_"
         "plan\":\"w\",\"tool_calls\":[{\"id\":\"a\",\"type\":\"function\",\"function\":{\"name\":"
         "\"f\",\"arguments\":\"{}\"}}]},{\"role\":\"tool\",\"tool_call_id\":\"a\",\"content\":"
         "\"see\"},{\"role\":\"user\",\"content\":[{\"type\":\"image_url\",\"image_url\":{\"url\":"
         "\"data:image/"
         "png;base64,iVBORw0KGgoAAAANSUhEUg==\"}}]},{\"role\":\"user\",\"content\":[{\"type\":"
         "\"text\",\"text\":\"x\"},{\"type\":\"image_url\",\"image_url\":{\"url\":\"https://x/"
         "a.png\",\"detail\":\"low\"}}]}],\"stream\":false}",
         "dropped_citations"},
    };
    tr_kit_pairs(*state, rows, sizeof rows / sizeof rows[0]);
}

static void t07_reasoning_of_others_stays_behind(void **state)
{
    static const struct tr_kit_pair rows[] = {
        {DIALECT_OPENAI, "cohere", "command-a-03-2025", "",
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
         "{\"model\":\"command-a-03-2025\",\"messages\":[{\"role\":\"user\",\"content\":\"go\"},{"
         "\"role\":\"assistant\",\"tool_calls\":[{\"id\":\"a\",\"type\":\"function\",\"function\":{"
         "\"name\":\"f\",\"arguments\":\"{}\"}},{\"id\":\"b\",\"type\":\"function\",\"function\":{"
         "\"name\":\"f\",\"arguments\":\"{}\"}}]},{\"role\":\"tool\",\"tool_call_id\":\"a\","
         "\"content\":\"1\"},{\"role\":\"tool\",\"tool_call_id\":\"b\",\"content\":\"2\"},{"
         "\"role\":\"assistant\",\"tool_calls\":[{\"id\":\"c\",\"type\":\"function\",\"function\":{"
         "\"name\":\"f\",\"arguments\":\"{}\"}}]},{\"role\":\"tool\",\"tool_call_id\":\"c\","
         "\"content\":\"3\"}],\"stream\":false}",
         "dropped_citations"},
    };
    tr_kit_pairs(*state, rows, sizeof rows / sizeof rows[0]);
}

static void t14_a_form_is_asked_for_or_told_in_words(void **state)
{
    static const struct tr_kit_pair rows[] = {
        {DIALECT_OPENAI, "cohere", "command-a-03-2025", "",
         "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"response_"
         "format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"n\",\"schema\":{\"type\":"
         "\"object\",\"properties\":{\"a\":{\"type\":\"string\"}},\"required\":[\"a\"]}}}}",
         "{\"model\":\"command-a-03-2025\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],"
         "\"response_format\":{\"type\":\"json_object\",\"json_schema\":{\"type\":\"object\","
         "\"properties\":{\"a\":{\"type\":\"string\"}},\"required\":[\"a\"]}},\"stream\":false}",
         ""},
        {DIALECT_OPENAI, "cohere", "command-a-03-2025", "",
         "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"response_"
         "format\":{\"type\":\"json_object\"}}",
         "{\"model\":\"command-a-03-2025\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],"
         "\"response_format\":{\"type\":\"json_object\"},\"stream\":false}",
         ""},
        {DIALECT_OPENAI, "cohere", "command-a-03-2025", "",
         "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"tools\":[{"
         "\"type\":\"function\",\"function\":{\"name\":\"f\"}}],\"response_format\":{\"type\":"
         "\"json_schema\",\"json_schema\":{\"name\":\"n\",\"schema\":{\"type\":\"object\","
         "\"properties\":{\"a\":{\"type\":\"string\"}},\"required\":[\"a\"]}}}}",
         "{\"model\":\"command-a-03-2025\",\"messages\":[{\"role\":\"system\",\"content\":\"Answer "
         "with one JSON object and nothing else: no text before or after it, no code fence. It "
         "must be valid against this JSON "
         "schema:\\n{\\\"type\\\":\\\"object\\\",\\\"properties\\\":{\\\"a\\\":{\\\"type\\\":"
         "\\\"string\\\"}},\\\"required\\\":[\\\"a\\\"]}\"},{\"role\":\"user\",\"content\":\"hi\"}]"
         ",\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":{\"type\":"
         "\"object\",\"properties\":{}}}}],\"stream\":false}",
         "format_in_words"},
    };
    tr_kit_pairs(*state, rows, sizeof rows / sizeof rows[0]);
}

static void t15_fields_have_their_names_or_are_dropped(void **state)
{
    static const struct tr_kit_pair rows[] = {
        {DIALECT_OPENAI, "cohere", "command-a-03-2025", "",
         "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"temperature\":0."
         "5,\"top_p\":1,\"seed\":7,\"stop\":[\"a\"],\"frequency_penalty\":-1,\"presence_penalty\":"
         "0.5,\"user\":\"u\",\"logprobs\":true,\"service_tier\":\"flex\",\"metadata\":{\"k\":\"v\"}"
         ",\"max_tokens\":5,\"stream\":true}",
         "{\"model\":\"command-a-03-2025\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],"
         "\"max_tokens\":5,\"temperature\":0.5,\"p\":0.99,\"frequency_penalty\":0,\"presence_"
         "penalty\":0.5,\"seed\":7,\"stop_sequences\":[\"a\"],\"priority\":999,\"stream\":true}",
         "dropped_logprobs, dropped_user, dropped_metadata, clamped_top_p, "
         "clamped_frequency_penalty"},
        {DIALECT_OPENAI, "cohere", "command-a-03-2025", "",
         "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"n\":2}",
         "!n: only one answer is supported by this model's provider", ""},
        {DIALECT_OPENAI, "cohere", "command-a-03-2025", "reject",
         "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"seed\":-1}",
         "!seed: is not supported by this model's provider", ""},
        {DIALECT_ANTHROPIC, "cohere", "command-a-03-2025", "",
         "{\"model\":\"m\",\"max_tokens\":9,\"top_k\":900,\"stop_sequences\":[\"1\",\"2\",\"3\","
         "\"4\",\"5\",\"6\"],\"messages\":[{\"role\":\"user\",\"content\":\"q\"}]}",
         "{\"model\":\"command-a-03-2025\",\"messages\":[{\"role\":\"user\",\"content\":\"q\"}],"
         "\"max_tokens\":9,\"k\":500,\"stop_sequences\":[\"1\",\"2\",\"3\",\"4\",\"5\"],\"stream\":"
         "false}",
         "clamped_top_k, clipped_stop"},
    };
    tr_kit_pairs(*state, rows, sizeof rows / sizeof rows[0]);
}

static void t19_ids_that_come_twice_are_told_apart(void **state)
{
    static const struct tr_kit_pair rows[] = {
        {DIALECT_OPENAI, "cohere", "command-a-03-2025", "",
         "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"go\"},{\"role\":"
         "\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":\"x\",\"type\":\"function\","
         "\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}},{\"id\":\"x\",\"type\":\"function\","
         "\"function\":{\"name\":\"g\",\"arguments\":\"not "
         "json\"}}]},{\"role\":\"tool\",\"tool_call_id\":\"x\",\"content\":\"1\"},{\"role\":"
         "\"tool\",\"tool_call_id\":\"x\",\"content\":\"2\"}]}",
         "{\"model\":\"command-a-03-2025\",\"messages\":[{\"role\":\"user\",\"content\":\"go\"},{"
         "\"role\":\"assistant\",\"tool_calls\":[{\"id\":\"x\",\"type\":\"function\",\"function\":{"
         "\"name\":\"f\",\"arguments\":\"{}\"}},{\"id\":\"call_JAM3Poz92zHDqY7PkWlIRyjH\",\"type\":"
         "\"function\",\"function\":{\"name\":\"g\",\"arguments\":\"{\\\"rawInvalidInput\\\":"
         "\\\"not "
         "json\\\"}\"}}]},{\"role\":\"tool\",\"tool_call_id\":\"x\",\"content\":\"1\"},{\"role\":"
         "\"tool\",\"tool_call_id\":\"call_JAM3Poz92zHDqY7PkWlIRyjH\",\"content\":\"2\"}],"
         "\"stream\":false}",
         "dropped_citations"},
    };
    tr_kit_pairs(*state, rows, sizeof rows / sizeof rows[0]);
}

static void t21_tools_and_who_chooses_them(void **state)
{
    static const struct tr_kit_pair rows[] = {
        {DIALECT_OPENAI, "cohere", "command-a-03-2025", "",
         "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"tools\":[],"
         "\"tool_choice\":\"auto\"}",
         "{\"model\":\"command-a-03-2025\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],"
         "\"stream\":false}",
         ""},
        {DIALECT_OPENAI, "cohere", "command-a-03-2025", "",
         "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"tools\":[{"
         "\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":{\"type\":\"object\","
         "\"properties\":{\"a\":{\"type\":\"string\"}},\"required\":[\"a\"]},\"strict\":true}}],"
         "\"tool_choice\":\"auto\"}",
         "{\"model\":\"command-a-03-2025\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],"
         "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":{\"type\":"
         "\"object\",\"properties\":{\"a\":{\"type\":\"string\"}},\"required\":[\"a\"]}}}],"
         "\"strict_tools\":true,\"stream\":false}",
         ""},
        {DIALECT_OPENAI, "cohere", "command-a-03-2025", "",
         "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"tools\":[{"
         "\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":{\"type\":\"object\","
         "\"properties\":{\"a\":{\"type\":\"string\"}},\"required\":[\"a\"]}}},{\"type\":"
         "\"function\",\"function\":{\"name\":\"g\"}}],\"tool_choice\":\"none\",\"parallel_tool_"
         "calls\":false}",
         "{\"model\":\"command-a-03-2025\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],"
         "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":{\"type\":"
         "\"object\",\"properties\":{\"a\":{\"type\":\"string\"}},\"required\":[\"a\"]}}},{"
         "\"type\":\"function\",\"function\":{\"name\":\"g\",\"parameters\":{\"type\":\"object\","
         "\"properties\":{}}}}],\"tool_choice\":\"NONE\",\"stream\":false}",
         "first_call_only"},
        {DIALECT_OPENAI, "cohere", "command-a-03-2025", "",
         "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"tools\":[{"
         "\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":{\"type\":\"object\","
         "\"properties\":{\"a\":{\"type\":\"string\"}},\"required\":[\"a\"]}}},{\"type\":"
         "\"function\",\"function\":{\"name\":\"g\"}}],\"tool_choice\":{\"type\":\"function\","
         "\"function\":{\"name\":\"g\"}}}",
         "{\"model\":\"command-a-03-2025\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],"
         "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"g\",\"parameters\":{\"type\":"
         "\"object\",\"properties\":{}}}}],\"tool_choice\":\"REQUIRED\",\"stream\":false}",
         ""},
        {DIALECT_OPENAI, "cohere", "command-a-03-2025", "",
         "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"tools\":[{"
         "\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":{\"type\":\"object\","
         "\"properties\":{\"a\":{\"type\":\"string\"}},\"required\":[\"a\"]}}},{\"type\":"
         "\"function\",\"function\":{\"name\":\"g\"}}],\"tool_choice\":{\"type\":\"function\","
         "\"function\":{\"name\":\"no\"}}}",
         "!tool_choice: names a tool that is not among the tools", ""},
    };
    tr_kit_pairs(*state, rows, sizeof rows / sizeof rows[0]);
}

static void how_much_it_is_to_reason(void **state)
{
    static const struct tr_kit_pair rows[] = {
        {DIALECT_OPENAI, "cohere", "command-a-reasoning-08-2025", "",
         "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"reasoning_"
         "effort\":\"none\"}",
         "{\"model\":\"command-a-reasoning-08-2025\",\"messages\":[{\"role\":\"user\",\"content\":"
         "\"hi\"}],\"thinking\":{\"type\":\"disabled\"},\"stream\":false}",
         ""},
        {DIALECT_OPENAI, "cohere", "command-a-reasoning-08-2025", "",
         "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"reasoning_"
         "effort\":\"low\"}",
         "{\"model\":\"command-a-reasoning-08-2025\",\"messages\":[{\"role\":\"user\",\"content\":"
         "\"hi\"}],\"thinking\":{\"type\":\"enabled\",\"token_budget\":2048},\"stream\":false}",
         ""},
        {DIALECT_OPENAI, "cohere", "command-a-03-2025", "",
         "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"reasoning_"
         "effort\":\"low\"}",
         "{\"model\":\"command-a-03-2025\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],"
         "\"stream\":false}",
         "dropped_reasoning_effort"},
        {DIALECT_OPENAI, "cohere", "command-a-reasoning-08-2025", "",
         "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"reasoning_"
         "effort\":\"low\",\"max_tokens\":1}",
         "{\"model\":\"command-a-reasoning-08-2025\",\"messages\":[{\"role\":\"user\",\"content\":"
         "\"hi\"}],\"thinking\":{\"type\":\"disabled\"},\"max_tokens\":1,\"stream\":false}",
         "dropped_reasoning_effort"},
        {DIALECT_ANTHROPIC, "cohere", "command-a-reasoning-08-2025", "",
         "{\"model\":\"m\",\"max_tokens\":9000,\"thinking\":{\"type\":\"adaptive\"},\"messages\":[{"
         "\"role\":\"user\",\"content\":\"q\"}]}",
         "{\"model\":\"command-a-reasoning-08-2025\",\"messages\":[{\"role\":\"user\",\"content\":"
         "\"q\"}],\"thinking\":{\"type\":\"enabled\"},\"max_tokens\":9000,\"stream\":false}",
         ""},
    };
    tr_kit_pairs(*state, rows, sizeof rows / sizeof rows[0]);
}

static void files_are_documents_unless_there_are_tools(void **state)
{
    static const struct tr_kit_pair rows[] = {
        {DIALECT_OPENAI, "cohere", "command-a-03-2025", "",
         "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"file\","
         "\"file\":{\"filename\":\"a.txt\",\"file_data\":\"data:text/plain;base64,aGVsbG8=\"}}]}]}",
         "{\"model\":\"command-a-03-2025\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":"
         "\"text\",\"text\":\"See the "
         "documents.\"}]}],\"documents\":[{\"data\":{\"title\":\"a.txt\",\"text\":\"hello\"}}],"
         "\"stream\":false}",
         "dropped_citations"},
        {DIALECT_OPENAI, "cohere", "command-a-03-2025", "",
         "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\","
         "\"text\":\"q\"},{\"type\":\"file\",\"file\":{\"filename\":\"a.txt\",\"file_data\":\"data:"
         "text/"
         "plain;base64,aGVsbG8=\"}}]}],\"tools\":[{\"type\":\"function\",\"function\":{\"name\":"
         "\"f\"}}]}",
         "{\"model\":\"command-a-03-2025\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":"
         "\"text\",\"text\":\"q\"},{\"type\":\"text\",\"text\":\"hello\"}]}],\"tools\":[{\"type\":"
         "\"function\",\"function\":{\"name\":\"f\",\"parameters\":{\"type\":\"object\","
         "\"properties\":{}}}}],\"stream\":false}",
         ""},
        {DIALECT_OPENAI, "cohere", "command-a-03-2025", "",
         "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"file\","
         "\"file\":{\"filename\":\"a.pdf\",\"file_data\":\"data:application/"
         "pdf;base64,JVBERi0x\"}}]}]}",
         "!messages: a file must be text, by value, for this model's provider", ""},
    };
    tr_kit_pairs(*state, rows, sizeof rows / sizeof rows[0]);
}

static void what_cannot_be_said_is_refused(void **state)
{
    static const struct tr_kit_pair rows[] = {
        {DIALECT_OPENAI, "cohere", "command-a-03-2025", "",
         "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"q\"},{\"role\":"
         "\"assistant\",\"content\":\"pre\"}]}",
         "!messages: this provider does not go on from a last message of the assistant", ""},
        {DIALECT_OPENAI, "cohere", "command-a-03-2025", "",
         "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"input_audio\","
         "\"input_audio\":{\"data\":\"QUJD\",\"format\":\"mp3\"}}]}]}",
         "!messages: sound is not supported by this model's provider", ""},
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

#define TEST(name) cmocka_unit_test_setup_teardown(name, tr_kit_setup, tr_kit_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_agents_request_reaches_cohere),
        TEST(a_response_reaches_cohere),
        TEST(t01_t02_parallel_calls_are_answered_in_their_order),
        TEST(t03_t04_t05_messages_are_as_cohere_has_them),
        TEST(t07_reasoning_of_others_stays_behind),
        TEST(t14_a_form_is_asked_for_or_told_in_words),
        TEST(t15_fields_have_their_names_or_are_dropped),
        TEST(t19_ids_that_come_twice_are_told_apart),
        TEST(t21_tools_and_who_chooses_them),
        TEST(how_much_it_is_to_reason),
        TEST(files_are_documents_unless_there_are_tools),
        TEST(what_cannot_be_said_is_refused),
        TEST(t06_long_and_deep_arguments_arrive),
        TEST(every_failed_allocation_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
