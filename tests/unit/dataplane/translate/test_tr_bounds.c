/* What a budget's clamp leaves for reasoning, and what a refusal names. */
#include <string.h>

#include "dataplane/translate/exchange.h"
#include "dataplane/translate/quirks.h"
#include "tests/unit/dataplane/translate/tr_kit.h"

/* ---- a clamp of the output ---- */

static void reasoning_stays_below_what_a_clamp_leaves(void **state)
{
    struct tr_kit *kit = *state;
#define ASK                                                                                        \
    "{\"model\":\"m\",\"max_tokens\":32000,\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":"  \
    "10000},\"messages\":[{\"role\":\"user\",\"content\":\"q\"}]}"
    static const struct {
        enum dialect caller, provider;
        const char *host, *model;
        uint32_t clamp;
        const char *has, *hasnt, *note;
    } rows[] = {
        {DIALECT_OPENAI, DIALECT_ANTHROPIC, "anthropic", "claude-sonnet-4-5", 4000,
         "\"max_tokens\":4000", "10000", "clamped_thinking_budget"},
        {DIALECT_OPENAI, DIALECT_ANTHROPIC, "anthropic", "claude-sonnet-4-5", 4000,
         "\"budget_tokens\":3999", "10000", "clamped_thinking_budget"},
        {DIALECT_OPENAI, DIALECT_ANTHROPIC, "anthropic", "claude-sonnet-4-5", 1024,
         "\"max_tokens\":1024", "thinking", "dropped_reasoning_effort"},
        {DIALECT_ANTHROPIC, DIALECT_BEDROCK, "bedrock", "anthropic.claude-sonnet-4-5", 4000,
         "\"budget_tokens\":3999", "10000", "clamped_thinking_budget"},
        {DIALECT_ANTHROPIC, DIALECT_BEDROCK, "bedrock", "anthropic.claude-sonnet-4-5", 1000,
         "\"maxTokens\":1000", "thinking", "dropped_reasoning_effort"},
        {DIALECT_ANTHROPIC, DIALECT_GEMINI, "gemini", "gemini-2.5-flash", 4000,
         "\"thinkingBudget\":3999", "10000", ""},
        {DIALECT_ANTHROPIC, DIALECT_GEMINI, "gemini", "gemini-2.5-flash-lite", 300,
         "\"thinkingBudget\":0", "10000", "dropped_reasoning_effort"},
        {DIALECT_ANTHROPIC, DIALECT_GEMINI, "gemini", "gemini-2.5-pro", 300,
         "\"thinkingBudget\":299", "10000", ""},
        {DIALECT_ANTHROPIC, DIALECT_COHERE, "cohere", "command-a-reasoning", 4000,
         "\"token_budget\":3999", "10000", ""},
        {DIALECT_ANTHROPIC, DIALECT_COHERE, "cohere", "command-a-reasoning", 1,
         "\"type\":\"disabled\"", "token_budget", "dropped_reasoning_effort"},
        {DIALECT_ANTHROPIC, DIALECT_GEMINI, "gemini", "gemini-2.5-flash", 20000,
         "\"thinkingBudget\":10000", "32000", ""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct tr_target target = tr_kit_target(rows[i].host, rows[i].model);
        target.clamp_output = rows[i].clamp;
        const char *out = tr_kit_asked(kit, rows[i].caller, ASK, rows[i].provider, &target);
        assert_non_null(strstr(out, rows[i].has));
        assert_null(strstr(out, rows[i].hasnt));
        if (strstr(kit->notes, rows[i].note) == NULL)
            fail_msg("row %zu notes %s", i, kit->notes);
        tr_kit_reset(kit);
    }
#undef ASK
}

/* ---- refusals ---- */

#define QUESTION "\"messages\":[{\"role\":\"user\",\"content\":\"q\"}]"
#define TOOL     "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\"}}]"
#define IMAGES                                                                                     \
    "\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\",\"image_url\":{"        \
    "\"url\":\"data:text/plain;base64,aGk=\"}}]}]"
/* Requests of each dialect: with these members; about a question, and more. */
#define OPENAI(members)                                                                            \
    {                                                                                              \
        DIALECT_OPENAI, "{\"model\":\"m\"," members "}"                                            \
    }
#define CHAT(more) OPENAI(QUESTION "," more)
#define RESPONSES(more)                                                                            \
    {                                                                                              \
        DIALECT_RESPONSES, "{\"model\":\"m\",\"input\":\"q\"," more "}"                            \
    }
#define MESSAGES(more)                                                                             \
    {                                                                                              \
        DIALECT_ANTHROPIC, "{\"model\":\"m\",\"max_tokens\":9000," QUESTION "," more "}"           \
    }

static const struct {
    enum dialect caller;
    const char *body;
} asked[] = {
    CHAT("\"n\":2"),
    CHAT("\"seed\":7"),
    CHAT("\"top_k\":7"),
    CHAT("\"temperature\":0.5"),
    CHAT("\"top_p\":0.5"),
    CHAT("\"frequency_penalty\":0.5"),
    CHAT("\"presence_penalty\":0.5"),
    CHAT("\"logprobs\":true"),
    CHAT("\"logit_bias\":{\"1\":1}"),
    CHAT("\"stop\":[\" \"]"),
    CHAT("\"user\":\"u\""),
    CHAT("\"verbosity\":\"low\""),
    CHAT("\"metadata\":{\"a\":\"b\"}"),
    CHAT("\"service_tier\":\"flex\""),
    CHAT("\"prompt_cache_key\":\"k\""),
    CHAT("\"reasoning_effort\":\"low\""),
    CHAT("\"reasoning\":{\"effort\":\"low\"}"),
    CHAT("\"store\":true"),
    CHAT("\"web_search_options\":{}"),
    CHAT("\"modalities\":[\"audio\"]"),
    CHAT(TOOL ",\"tool_choice\":\"required\""),
    CHAT(TOOL ",\"tool_choice\":{\"type\":\"function\",\"function\":{\"name\":\"g\"}}"),
    CHAT("\"tools\":[{\"type\":\"magic\"}]"),
    OPENAI(IMAGES),
    OPENAI("\"messages\":[{\"role\":\"user\",\"content\":\"q\"},{\"role\":\"assistant\","
           "\"content\":\"a\"}]"),
    OPENAI("\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"input_audio\","
           "\"input_audio\":{\"data\":\"aGk=\",\"format\":\"mp3\"}}]}]"),
    RESPONSES("\"temperature\":0.5"),
    RESPONSES("\"user\":\"u\""),
    RESPONSES("\"safety_identifier\":\"u\""),
    RESPONSES("\"text\":{\"verbosity\":\"low\"}"),
    RESPONSES("\"reasoning\":{\"effort\":\"low\"}"),
    RESPONSES("\"truncation\":\"auto\""),
    RESPONSES("\"include\":[\"x\"]"),
    RESPONSES("\"top_logprobs\":2"),
    RESPONSES("\"previous_response_id\":\"r\""),
    {DIALECT_RESPONSES, "{\"model\":\"m\",\"input\":[{\"role\":\"user\",\"content\":\"q\"},{"
                        "\"role\":\"assistant\",\"content\":\"a\"}]}"},
    MESSAGES("\"top_k\":7"),
    MESSAGES("\"temperature\":0.5"),
    MESSAGES("\"stop_sequences\":[\"a\"]"),
    MESSAGES("\"metadata\":{\"user_id\":\"u\"}"),
    MESSAGES("\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":2000}"),
    MESSAGES("\"thinking\":{\"type\":\"adaptive\"}"),
    MESSAGES("\"output_config\":{\"effort\":\"low\"}"),
    MESSAGES("\"speed\":\"fast\""),
    MESSAGES("\"mcp_servers\":[]"),
    MESSAGES("\"tools\":[{\"name\":\"f\"}],\"tool_choice\""
             ":{\"type\":\"tool\",\"name\":\"g\"}"),
};

static const struct {
    enum dialect dialect;
    const char *host, *model;
} providers[] = {
    {DIALECT_OPENAI, "groq", "llama-3.3-70b"},
    {DIALECT_OPENAI, "mistral", "mistral-large"},
    {DIALECT_OPENAI, "openai", "gpt-5"},
    {DIALECT_RESPONSES, "openai", "gpt-5"},
    {DIALECT_RESPONSES, "openai", "gpt-4.1"},
    {DIALECT_ANTHROPIC, "anthropic", "claude-opus-5-5"},
    {DIALECT_ANTHROPIC, "anthropic", "claude-3-haiku"},
    {DIALECT_GEMINI, "gemini", "gemini-2.0-flash"},
    {DIALECT_GEMINI, "vertex", "gemini-3-pro"},
    {DIALECT_BEDROCK, "bedrock", "amazon.nova-pro-v1:0"},
    {DIALECT_BEDROCK, "bedrock", "anthropic.claude-3-haiku"},
    {DIALECT_COHERE, "cohere", "command-a"},
};

/* True: it was refused, and what is named stands in the body. */
static bool refused(struct tr_kit *kit, enum dialect caller, const char *body, size_t provider)
{
    const struct tr_exchange_config config = {
        .caller = caller,
        .provider = providers[provider].dialect,
        .target = {.model = str_from(providers[provider].model),
                   .host = host_find(str_from(providers[provider].host)),
                   .reject_unsupported = true},
        .answer_id = STR("0198"),
        .answer_model = STR("served"),
    };
    struct str out, path;
    struct call_refusal refusal;
    struct tr_exchange *x = tr_exchange_create(&config);
    assert_non_null(x);
    assert_int_equal(json_parse(&kit->json, str_from(body), NULL), 0);
    int rc = tr_exchange_write(x, &kit->json, &kit->arena, &out, &path, &refusal);
    assert_true(rc == 0 || rc == ERR_INVALID);
    if (rc == ERR_INVALID) {
        size_t root = 0;
        while (root < refusal.param.len && refusal.param.data[root] != '.' &&
               refusal.param.data[root] != '[')
            root++;
        if (root == 0 ||
            json_get(&kit->json, JSON_ROOT, str_slice(refusal.param, 0, root)) == JSON_NONE)
            fail_msg("%s at %s is refused for '%.*s'", body, providers[provider].model,
                     (int)refusal.param.len, refusal.param.data);
    }
    tr_exchange_destroy(x);
    tr_kit_reset(kit);
    return rc == ERR_INVALID;
}

static void t13_t20_what_a_refusal_names_stands_in_the_request(void **state)
{
    for (size_t i = 0; i < sizeof asked / sizeof asked[0]; i++)
        for (size_t p = 0; p < sizeof providers / sizeof providers[0]; p++)
            if (asked[i].caller != providers[p].dialect)
                (void)refused(*state, asked[i].caller, asked[i].body, p);
    assert_true(refused(*state, DIALECT_OPENAI, asked[0].body, 5)); /* n */
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, tr_kit_setup, tr_kit_teardown)
    const struct CMUnitTest tests[] = {
        T(reasoning_stays_below_what_a_clamp_leaves),
        T(t13_t20_what_a_refusal_names_stands_in_the_request),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
