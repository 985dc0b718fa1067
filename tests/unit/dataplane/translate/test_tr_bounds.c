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

#define CHAT      "\"messages\":[{\"role\":\"user\",\"content\":\"q\"}]"
#define RESPONSES "\"input\":\"q\""
#define MESSAGES  "\"max_tokens\":9000,\"messages\":[{\"role\":\"user\",\"content\":\"q\"}]"
#define TOOL      "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\"}}]"
#define IMAGES                                                                                     \
    "\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\",\"image_url\":{"        \
    "\"url\":\"data:text/plain;base64,aGk=\"}}]}]"

static const struct {
    enum dialect caller;
    const char *body;
} asked[] = {
    {DIALECT_OPENAI, "{\"model\":\"m\"," CHAT ",\"n\":2}"},
    {DIALECT_OPENAI, "{\"model\":\"m\"," CHAT ",\"seed\":7}"},
    {DIALECT_OPENAI, "{\"model\":\"m\"," CHAT ",\"top_k\":7}"},
    {DIALECT_OPENAI, "{\"model\":\"m\"," CHAT ",\"temperature\":0.5}"},
    {DIALECT_OPENAI, "{\"model\":\"m\"," CHAT ",\"top_p\":0.5}"},
    {DIALECT_OPENAI, "{\"model\":\"m\"," CHAT ",\"frequency_penalty\":0.5}"},
    {DIALECT_OPENAI, "{\"model\":\"m\"," CHAT ",\"presence_penalty\":0.5}"},
    {DIALECT_OPENAI, "{\"model\":\"m\"," CHAT ",\"logprobs\":true}"},
    {DIALECT_OPENAI, "{\"model\":\"m\"," CHAT ",\"logit_bias\":{\"1\":1}}"},
    {DIALECT_OPENAI, "{\"model\":\"m\"," CHAT ",\"stop\":[\" \"]}"},
    {DIALECT_OPENAI, "{\"model\":\"m\"," CHAT ",\"user\":\"u\"}"},
    {DIALECT_OPENAI, "{\"model\":\"m\"," CHAT ",\"verbosity\":\"low\"}"},
    {DIALECT_OPENAI, "{\"model\":\"m\"," CHAT ",\"metadata\":{\"a\":\"b\"}}"},
    {DIALECT_OPENAI, "{\"model\":\"m\"," CHAT ",\"service_tier\":\"flex\"}"},
    {DIALECT_OPENAI, "{\"model\":\"m\"," CHAT ",\"prompt_cache_key\":\"k\"}"},
    {DIALECT_OPENAI, "{\"model\":\"m\"," CHAT ",\"reasoning_effort\":\"low\"}"},
    {DIALECT_OPENAI, "{\"model\":\"m\"," CHAT ",\"reasoning\":{\"effort\":\"low\"}}"},
    {DIALECT_OPENAI, "{\"model\":\"m\"," CHAT ",\"store\":true}"},
    {DIALECT_OPENAI, "{\"model\":\"m\"," CHAT ",\"web_search_options\":{}}"},
    {DIALECT_OPENAI, "{\"model\":\"m\"," CHAT ",\"modalities\":[\"audio\"]}"},
    {DIALECT_OPENAI, "{\"model\":\"m\"," CHAT "," TOOL ",\"tool_choice\":\"required\"}"},
    {DIALECT_OPENAI, "{\"model\":\"m\"," CHAT "," TOOL
                     ",\"tool_choice\":{\"type\":\"function\",\"function\":{\"name\":\"g\"}}}"},
    {DIALECT_OPENAI, "{\"model\":\"m\"," CHAT ",\"tools\":[{\"type\":\"magic\"}]}"},
    {DIALECT_OPENAI, "{\"model\":\"m\"," IMAGES "}"},
    {DIALECT_OPENAI, "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"q\"},{"
                     "\"role\":\"assistant\",\"content\":\"a\"}]}"},
    {DIALECT_OPENAI, "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":"
                     "\"input_audio\",\"input_audio\":{\"data\":\"aGk=\",\"format\":\"mp3\"}}]}]}"},
    {DIALECT_RESPONSES, "{\"model\":\"m\"," RESPONSES ",\"temperature\":0.5}"},
    {DIALECT_RESPONSES, "{\"model\":\"m\"," RESPONSES ",\"user\":\"u\"}"},
    {DIALECT_RESPONSES, "{\"model\":\"m\"," RESPONSES ",\"safety_identifier\":\"u\"}"},
    {DIALECT_RESPONSES, "{\"model\":\"m\"," RESPONSES ",\"text\":{\"verbosity\":\"low\"}}"},
    {DIALECT_RESPONSES, "{\"model\":\"m\"," RESPONSES ",\"reasoning\":{\"effort\":\"low\"}}"},
    {DIALECT_RESPONSES, "{\"model\":\"m\"," RESPONSES ",\"truncation\":\"auto\"}"},
    {DIALECT_RESPONSES, "{\"model\":\"m\"," RESPONSES ",\"include\":[\"x\"]}"},
    {DIALECT_RESPONSES, "{\"model\":\"m\"," RESPONSES ",\"top_logprobs\":2}"},
    {DIALECT_RESPONSES, "{\"model\":\"m\"," RESPONSES ",\"previous_response_id\":\"r\"}"},
    {DIALECT_RESPONSES, "{\"model\":\"m\",\"input\":[{\"role\":\"user\",\"content\":\"q\"},{"
                        "\"role\":\"assistant\",\"content\":\"a\"}]}"},
    {DIALECT_ANTHROPIC, "{\"model\":\"m\"," MESSAGES ",\"top_k\":7}"},
    {DIALECT_ANTHROPIC, "{\"model\":\"m\"," MESSAGES ",\"temperature\":0.5}"},
    {DIALECT_ANTHROPIC, "{\"model\":\"m\"," MESSAGES ",\"stop_sequences\":[\"a\"]}"},
    {DIALECT_ANTHROPIC, "{\"model\":\"m\"," MESSAGES ",\"metadata\":{\"user_id\":\"u\"}}"},
    {DIALECT_ANTHROPIC,
     "{\"model\":\"m\"," MESSAGES ",\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":2000}}"},
    {DIALECT_ANTHROPIC, "{\"model\":\"m\"," MESSAGES ",\"thinking\":{\"type\":\"adaptive\"}}"},
    {DIALECT_ANTHROPIC, "{\"model\":\"m\"," MESSAGES ",\"output_config\":{\"effort\":\"low\"}}"},
    {DIALECT_ANTHROPIC, "{\"model\":\"m\"," MESSAGES ",\"speed\":\"fast\"}"},
    {DIALECT_ANTHROPIC, "{\"model\":\"m\"," MESSAGES ",\"mcp_servers\":[]}"},
    {DIALECT_ANTHROPIC, "{\"model\":\"m\"," MESSAGES ",\"tools\":[{\"name\":\"f\"}],\"tool_choice\""
                        ":{\"type\":\"tool\",\"name\":\"g\"}}"},
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
