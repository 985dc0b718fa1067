/* Tools, fields and paths of callers' requests as generateContent takes them. */
#include <string.h>

#include "tests/unit/dataplane/translate/tr_kit.h"

static void t14_a_form_is_asked_for_as_the_model_has_it(void **state)
{
    static const struct tr_kit_pair rows[] = {
        {DIALECT_OPENAI, "gemini", "gemini-2.5-flash", "",
         "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"response_"
         "format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"n\",\"schema\":{\"type\":"
         "\"object\",\"properties\":{\"a\":{\"type\":\"string\"}},\"required\":[\"a\"]}}}}",
         "{\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"hi\"}]}],\"generationConfig\":{"
         "\"responseJsonSchema\":{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\"}},"
         "\"required\":[\"a\"]},\"responseMimeType\":\"application/json\"}}",
         ""},
        {DIALECT_OPENAI, "gemini", "gemini-2.0-flash", "",
         "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"response_"
         "format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"n\",\"schema\":{\"type\":"
         "\"object\",\"properties\":{\"a\":{\"type\":\"string\"}},\"required\":[\"a\"]}}}}",
         "{\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"hi\"}]}],\"generationConfig\":{"
         "\"responseSchema\":{\"type\":\"object\",\"required\":[\"a\"],\"properties\":{\"a\":{"
         "\"type\":\"string\"}}},\"responseMimeType\":\"application/json\"}}",
         ""},
        {DIALECT_OPENAI, "gemini", "gemini-2.0-flash", "",
         "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"response_"
         "format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"n\",\"schema\":{\"type\":"
         "\"object\",\"properties\":{\"n\":{\"$ref\":\"#\"}}}}}}",
         "{\"systemInstruction\":{\"parts\":[{\"text\":\"Answer with one JSON object and nothing "
         "else: no text before or after it, no code fence. It must be valid against this JSON "
         "schema:\\n{\\\"type\\\":\\\"object\\\",\\\"properties\\\":{\\\"n\\\":{\\\"$ref\\\":\\\"#"
         "\\\"}}}\"}]},\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"hi\"}]}],"
         "\"generationConfig\":{}}",
         "format_in_words"},
        {DIALECT_OPENAI, "gemini", "gemini-2.5-flash", "",
         "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"response_"
         "format\":{\"type\":\"json_object\"}}",
         "{\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"hi\"}]}],\"generationConfig\":{"
         "\"responseMimeType\":\"application/json\"}}",
         ""},
        {DIALECT_OPENAI, "gemini", "gemma-3-27b", "",
         "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"response_"
         "format\":{\"type\":\"json_object\"}}",
         "{\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"Answer with one JSON object and "
         "nothing else: no text before or after it, no code "
         "fence.\"},{\"text\":\"hi\"}]}],\"generationConfig\":{}}",
         "format_in_words"},
        {DIALECT_OPENAI, "gemini", "gemini-2.5-flash", "",
         "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"tools\":[{"
         "\"type\":\"function\",\"function\":{\"name\":\"f\"}}],\"response_format\":{\"type\":"
         "\"json_schema\",\"json_schema\":{\"name\":\"n\",\"schema\":{\"type\":\"object\","
         "\"properties\":{\"a\":{\"type\":\"string\"}},\"required\":[\"a\"]}}}}",
         "{\"systemInstruction\":{\"parts\":[{\"text\":\"Answer with one JSON object and nothing "
         "else: no text before or after it, no code fence. It must be valid against this JSON "
         "schema:\\n{\\\"type\\\":\\\"object\\\",\\\"properties\\\":{\\\"a\\\":{\\\"type\\\":"
         "\\\"string\\\"}},\\\"required\\\":[\\\"a\\\"]}\"}]},\"contents\":[{\"role\":\"user\","
         "\"parts\":[{\"text\":\"hi\"}]}],\"tools\":[{\"functionDeclarations\":[{\"name\":\"f\"}]}]"
         ",\"generationConfig\":{}}",
         "format_in_words"},
    };
    tr_kit_pairs(*state, rows, sizeof rows / sizeof rows[0]);
}

static void t21_tools_and_who_chooses_them(void **state)
{
    static const struct tr_kit_pair rows[] = {
        {DIALECT_OPENAI, "gemini", "gemini-2.5-flash", "",
         "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"tools\":[],"
         "\"tool_choice\":\"auto\"}",
         "{\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"hi\"}]}],\"generationConfig\":{}"
         "}",
         ""},
        {DIALECT_OPENAI, "gemini", "gemini-2.5-flash", "",
         "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"tools\":[{"
         "\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":{\"type\":\"object\","
         "\"properties\":{\"a\":{\"type\":\"string\"}},\"required\":[\"a\"]},\"strict\":true}}]}",
         "{\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"hi\"}]}],\"tools\":[{"
         "\"functionDeclarations\":[{\"name\":\"f\",\"parameters\":{\"type\":\"object\","
         "\"required\":[\"a\"],\"properties\":{\"a\":{\"type\":\"string\"}}}}]}],\"toolConfig\":{"
         "\"functionCallingConfig\":{\"mode\":\"VALIDATED\"}},\"generationConfig\":{}}",
         ""},
        {DIALECT_OPENAI, "gemini", "gemini-2.5-flash", "",
         "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"tools\":[{"
         "\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":{\"type\":\"object\","
         "\"properties\":{\"a\":{\"type\":\"string\"}},\"required\":[\"a\"]}}},{\"type\":"
         "\"function\",\"function\":{\"name\":\"g\"}}],\"tool_choice\":\"none\",\"parallel_tool_"
         "calls\":false}",
         "{\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"hi\"}]}],\"tools\":[{"
         "\"functionDeclarations\":[{\"name\":\"f\",\"parameters\":{\"type\":\"object\","
         "\"required\":[\"a\"],\"properties\":{\"a\":{\"type\":\"string\"}}}},{\"name\":\"g\"}]}],"
         "\"toolConfig\":{\"functionCallingConfig\":{\"mode\":\"NONE\"}},\"generationConfig\":{}}",
         "first_call_only"},
        {DIALECT_OPENAI, "gemini", "gemini-2.5-flash", "",
         "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"tools\":[{"
         "\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":{\"type\":\"object\","
         "\"properties\":{\"a\":{\"type\":\"string\"}},\"required\":[\"a\"]}}},{\"type\":"
         "\"function\",\"function\":{\"name\":\"g\"}}],\"tool_choice\":\"required\"}",
         "{\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"hi\"}]}],\"tools\":[{"
         "\"functionDeclarations\":[{\"name\":\"f\",\"parameters\":{\"type\":\"object\","
         "\"required\":[\"a\"],\"properties\":{\"a\":{\"type\":\"string\"}}}},{\"name\":\"g\"}]}],"
         "\"toolConfig\":{\"functionCallingConfig\":{\"mode\":\"ANY\"}},\"generationConfig\":{}}",
         ""},
        {DIALECT_OPENAI, "gemini", "gemini-2.5-flash", "",
         "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"tools\":[{"
         "\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":{\"type\":\"object\","
         "\"properties\":{\"n\":{\"$ref\":\"#\"}}}}},{\"type\":\"function\",\"function\":{\"name\":"
         "\"a "
         "b!\",\"parameters\":{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\"}},"
         "\"required\":[\"a\"]}}}],\"tool_choice\":{\"type\":\"function\",\"function\":{\"name\":"
         "\"a b!\"}}}",
         "{\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"hi\"}]}],\"tools\":[{"
         "\"functionDeclarations\":[{\"name\":\"f\",\"parametersJsonSchema\":{\"type\":\"object\","
         "\"properties\":{\"n\":{\"$ref\":\"#\"}}}},{\"name\":\"a_b_\",\"parameters\":{\"type\":"
         "\"object\",\"required\":[\"a\"],\"properties\":{\"a\":{\"type\":\"string\"}}}}]}],"
         "\"toolConfig\":{\"functionCallingConfig\":{\"mode\":\"ANY\",\"allowedFunctionNames\":["
         "\"a_b_\"]}},\"generationConfig\":{}}",
         "renamed_tool"},
        {DIALECT_OPENAI, "gemini", "gemini-2.0-flash", "",
         "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"tools\":[{"
         "\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":{\"type\":\"object\","
         "\"properties\":{\"n\":{\"$ref\":\"#\"}}}}}]}",
         "!tools: this model takes no schema that refers to itself", ""},
        {DIALECT_OPENAI, "gemini", "gemini-2.5-flash", "",
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
        {DIALECT_OPENAI, "gemini", "gemini-2.5-flash", "",
         "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"reasoning_"
         "effort\":\"none\"}",
         "{\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"hi\"}]}],\"generationConfig\":{"
         "\"thinkingConfig\":{\"thinkingBudget\":0}}}",
         ""},
        {DIALECT_OPENAI, "gemini", "gemini-2.5-pro", "",
         "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"reasoning_"
         "effort\":\"none\"}",
         "{\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"hi\"}]}],\"generationConfig\":{"
         "\"thinkingConfig\":{\"thinkingBudget\":128}}}",
         "reasoning_not_off"},
        {DIALECT_OPENAI, "gemini", "gemini-2.5-flash", "",
         "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"reasoning_"
         "effort\":\"high\"}",
         "{\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"hi\"}]}],\"generationConfig\":{"
         "\"thinkingConfig\":{\"thinkingBudget\":16384,\"includeThoughts\":true}}}",
         ""},
        {DIALECT_OPENAI, "gemini", "gemini-2.5-flash", "",
         "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"reasoning_"
         "effort\":\"high\",\"max_tokens\":1000}",
         "{\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"hi\"}]}],\"generationConfig\":{"
         "\"maxOutputTokens\":1000,\"thinkingConfig\":{\"thinkingBudget\":999,\"includeThoughts\":"
         "true}}}",
         ""},
        {DIALECT_OPENAI, "gemini", "gemini-3-pro", "",
         "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"reasoning_"
         "effort\":\"medium\"}",
         "{\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"hi\"}]}],\"generationConfig\":{"
         "\"thinkingConfig\":{\"thinkingLevel\":\"low\",\"includeThoughts\":true}}}",
         "clipped_reasoning_effort"},
        {DIALECT_OPENAI, "gemini", "gemini-3-flash", "",
         "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"reasoning_"
         "effort\":\"none\"}",
         "{\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"hi\"}]}],\"generationConfig\":{"
         "\"thinkingConfig\":{\"thinkingLevel\":\"minimal\"}}}",
         "reasoning_not_off"},
        {DIALECT_OPENAI, "gemini", "gemini-2.0-flash", "",
         "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"reasoning_"
         "effort\":\"high\"}",
         "{\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"hi\"}]}],\"generationConfig\":{}"
         "}",
         "dropped_reasoning_effort"},
        {DIALECT_ANTHROPIC, "gemini", "gemini-2.5-flash", "",
         "{\"model\":\"m\",\"max_tokens\":9000,\"thinking\":{\"type\":\"adaptive\"},\"messages\":[{"
         "\"role\":\"user\",\"content\":\"q\"}]}",
         "{\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"q\"}]}],\"generationConfig\":{"
         "\"maxOutputTokens\":9000,\"thinkingConfig\":{\"thinkingBudget\":-1,\"includeThoughts\":"
         "true}}}",
         ""},
    };
    tr_kit_pairs(*state, rows, sizeof rows / sizeof rows[0]);
}

static void fields_have_their_names_or_are_dropped(void **state)
{
    static const struct tr_kit_pair rows[] = {
        {DIALECT_OPENAI, "gemini", "gemini-2.5-flash", "",
         "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"temperature\":0."
         "5,\"top_p\":1,\"seed\":7,\"n\":3,\"stop\":[\"a\",\"b\",\"c\",\"d\"],\"frequency_"
         "penalty\":0.5,\"user\":\"u\",\"logprobs\":true,\"service_tier\":\"flex\",\"metadata\":{"
         "\"k\":\"v\"},\"verbosity\":\"low\",\"prompt_cache_key\":\"x\",\"logit_bias\":{}}",
         "{\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"hi\"}]}],\"generationConfig\":{"
         "\"temperature\":0.5,\"topP\":1,\"stopSequences\":[\"a\",\"b\",\"c\",\"d\"],\"seed\":7,"
         "\"candidateCount\":3},\"serviceTier\":\"flex\"}",
         "dropped_logit_bias, dropped_frequency_penalty, dropped_logprobs, dropped_verbosity, "
         "dropped_user, dropped_prompt_cache_key, dropped_metadata"},
        {DIALECT_OPENAI, "vertex", "gemini-2.5-flash", "",
         "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"frequency_"
         "penalty\":0.5,\"service_tier\":\"flex\",\"metadata\":{\"k\":\"v\",\"K\":\"w\"}}",
         "{\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"hi\"}]}],\"generationConfig\":{"
         "\"frequencyPenalty\":0.5},\"labels\":{\"k\":\"v\"}}",
         "dropped_service_tier, dropped_metadata"},
        {DIALECT_ANTHROPIC, "gemini", "gemini-2.5-flash", "",
         "{\"model\":\"m\",\"max_tokens\":9,\"top_k\":4,\"stop_sequences\":[\"1\",\"2\",\"3\","
         "\"4\",\"5\",\"6\"],\"messages\":[{\"role\":\"user\",\"content\":\"q\"}]}",
         "{\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"q\"}]}],\"generationConfig\":{"
         "\"maxOutputTokens\":9,\"topK\":4,\"stopSequences\":[\"1\",\"2\",\"3\",\"4\",\"5\"]}}",
         "clipped_stop"},
        {DIALECT_OPENAI, "gemini", "gemini-2.5-flash", "reject",
         "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"user\":\"u\"}",
         "!user: is not supported by this model's provider", ""},
    };
    tr_kit_pairs(*state, rows, sizeof rows / sizeof rows[0]);
}

static void paths_name_the_model_and_how_it_answers(void **state)
{
    static const struct {
        const char *host, *model, *path;
        bool stream;
    } rows[] = {
        {"gemini", "gemini-2.5-pro", "/models/gemini-2.5-pro:generateContent", false},
        {"gemini", "models/gemini-3", "/models/gemini-3:streamGenerateContent?alt=sse", true},
        {"gemini", "tunedModels/a/b", "/tunedModels/a%2Fb:generateContent", false},
        {"vertex", "gemini-2.5-pro",
         "/publishers/google/models/gemini-2.5-pro:streamGenerateContent?alt=sse", true},
        {"vertex", "a b?@1", "/publishers/google/models/a%20b%3F%401:generateContent", false},
        {"vertex", "endpoints/12", "/endpoints/12:generateContent", false},
    };
    struct tr_kit *kit = *state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct tr_target target = tr_kit_target(rows[i].host, rows[i].model);
        buf_clear(&kit->out);
        assert_int_equal(
            tr_provider_find(DIALECT_GEMINI)->print_path(&target, rows[i].stream, &kit->out), 0);
        assert_string_equal(tr_kit_out(kit), rows[i].path);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, tr_kit_setup, tr_kit_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(t14_a_form_is_asked_for_as_the_model_has_it),
        TEST(t21_tools_and_who_chooses_them),
        TEST(how_much_it_is_to_reason),
        TEST(fields_have_their_names_or_are_dropped),
        TEST(paths_name_the_model_and_how_it_answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
