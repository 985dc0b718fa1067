/* What a model signed, on its way through callers of every dialect: an answer is taken as it came
 * into the next request, which goes to who made it, or to somebody else. */
#include <stdio.h>
#include <string.h>

#include "dataplane/translate/exchange.h"
#include "tests/unit/dataplane/translate/tr_kit.h"

struct at { /* Whom is asked. */
    enum dialect dialect;
    const char *host, *provider, *model;
};

static struct tr_exchange *open(enum dialect caller, const struct at *at, bool stream)
{
    const struct tr_exchange_config config = {
        .caller = caller,
        .provider = at->dialect,
        .target = {.model = str_from(at->model),
                   .host = host_find(str_from(at->host)),
                   .provider = str_from(at->provider)},
        .answer_id = STR("0198"),
        .answer_model = STR("served"),
        .stream = stream,
    };
    assert_non_null(config.target.host);
    struct tr_exchange *x = tr_exchange_create(&config);
    assert_non_null(x);
    return x;
}

static const char *as_text(struct tr_kit *kit, struct str s)
{
    char *text = arena_alloc(&kit->arena, s.len + 1);
    assert_non_null(text);
    memcpy(text, s.data != NULL ? s.data : "", s.len);
    text[s.len] = '\0';
    return text;
}

/* A request's body there. */
static const char *written(struct tr_kit *kit, struct tr_exchange *x, const char *ask)
{
    struct str body, path;
    struct call_refusal refusal;
    assert_int_equal(json_parse(&kit->json, str_from(ask), NULL), 0);
    assert_int_equal(tr_exchange_write(x, &kit->json, &kit->arena, &body, &path, &refusal), 0);
    return as_text(kit, body);
}

static const char *const first_asks[DIALECT_CALLERS] = {
    [DIALECT_OPENAI] = "{\"model\":\"m\",\"max_tokens\":9000,\"reasoning_effort\":\"high\","
                       "\"messages\":[{\"role\":\"user\",\"content\":\"q\"}]}",
    [DIALECT_RESPONSES] = "{\"model\":\"m\",\"reasoning\":{\"effort\":\"high\"},\"input\":\"q\"}",
    [DIALECT_ANTHROPIC] = "{\"model\":\"m\",\"max_tokens\":9000,\"thinking\":{\"type\":\"enabled\","
                          "\"budget_tokens\":2000},\"messages\":[{\"role\":\"user\",\"content\":"
                          "\"q\"}]}",
};

/* The answer, and what the tool gave. */
static const char *next_ask(struct tr_kit *kit, enum dialect caller, const char *answer)
{
    struct buf b;
    const struct json *j = &kit->json;
    assert_int_equal(json_parse(&kit->json, str_from(answer), NULL), 0);
    buf_init(&b, 1U << 20);
    struct str said;
    if (caller == DIALECT_OPENAI) {
        said = json_raw(
            j, json_get(j, json_at(j, json_get(j, JSON_ROOT, STR("choices")), 0), STR("message")));
        assert_int_equal(
            buf_printf(&b,
                       "{\"model\":\"m\",\"max_tokens\":9000,\"reasoning_effort\":\"high\","
                       "\"messages\":[{\"role\":\"user\",\"content\":\"q\"},%.*s,{\"role\":"
                       "\"tool\",\"tool_call_id\":\"c1\",\"content\":\"1\"}]}",
                       STR_ARG(said)),
            0);
    } else if (caller == DIALECT_RESPONSES) {
        said = json_raw(j, json_get(j, JSON_ROOT, STR("output")));
        said = str_slice(said, 1, said.len - 1);
        assert_int_equal(
            buf_printf(&b,
                       "{\"model\":\"m\",\"reasoning\":{\"effort\":\"high\"},\"input\":[{\"role\":"
                       "\"user\",\"content\":\"q\"},%.*s,{\"type\":\"function_call_output\","
                       "\"call_id\":\"c1\",\"output\":\"1\"}]}",
                       STR_ARG(said)),
            0);
    } else {
        said = json_raw(j, json_get(j, JSON_ROOT, STR("content")));
        assert_int_equal(
            buf_printf(&b,
                       "{\"model\":\"m\",\"max_tokens\":9000,\"thinking\":{\"type\":\"enabled\","
                       "\"budget_tokens\":2000},\"messages\":[{\"role\":\"user\",\"content\":\"q\"}"
                       ",{\"role\":\"assistant\",\"content\":%.*s},{\"role\":\"user\",\"content\":["
                       "{\"type\":\"tool_result\",\"tool_use_id\":\"c1\",\"content\":\"1\"}]}]}",
                       STR_ARG(said)),
            0);
    }
    const char *text = as_text(kit, buf_str(&b));
    buf_deinit(&b);
    return text;
}

/* The whole answer of a provider to a caller. */
static const char *answered(struct tr_kit *kit, enum dialect caller, const struct at *at,
                            const char *reply)
{
    struct tr_exchange *x = open(caller, at, false);
    struct provider_reply r = {.done = false};
    struct str out;
    provider_reply_reset(&r);
    (void)written(kit, x, first_asks[caller]);
    assert_int_equal(tr_exchange_read_reply(x, &kit->json, &r, str_from(reply), &kit->arena, &out),
                     0);
    const char *text = as_text(kit, out);
    tr_exchange_destroy(x);
    provider_reply_deinit(&r);
    return text;
}

static const char *asked_next(struct tr_kit *kit, enum dialect caller, const struct at *at,
                              const char *answer)
{
    const char *ask = next_ask(kit, caller, answer);
    struct tr_exchange *x = open(caller, at, false);
    const char *body = written(kit, x, ask);
    tr_exchange_destroy(x);
    assert_null(strstr(body, "sy1."));
    return body;
}

/* ---- the vendors ---- */

#define USE "\"name\":\"f\",\"input\":{}}"
#define CHAT(message)                                                                              \
    "{\"id\":\"x\",\"object\":\"chat.completion\",\"model\":\"m\",\"choices\":[{\"index\":0,"      \
    "\"message\":{\"role\":\"assistant\",\"content\":null," message "},\"finish_reason\":"         \
    "\"tool_calls\"}],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":1}}"
#define CALL(extra)                                                                                \
    "\"tool_calls\":[{\"index\":0,\"id\":\"c1\",\"type\":\"function\"," extra                      \
    "\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}]"

static const struct vendor {
    struct at at;
    struct at others[3];
    const char *reply;
    const char *back; /* As it goes up again. */
} vendors[] = {
    {{DIALECT_ANTHROPIC, "anthropic", "a", "claude-sonnet-4-5"},
     {{DIALECT_ANTHROPIC, "anthropic", "a", "claude-opus-4-5"},
      {DIALECT_ANTHROPIC, "minimax", "a", "claude-sonnet-4-5"},
      {DIALECT_BEDROCK, "bedrock", "a", "claude-sonnet-4-5"}},
     "{\"id\":\"x\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"m\",\"content\":[{"
     "\"type\":\"thinking\",\"thinking\":\"hm\",\"signature\":\"SIG==\"},{\"type\":\"tool_use\","
     "\"id\":\"c1\"," USE "],\"stop_reason\":\"tool_use\",\"usage\":{\"input_tokens\":1,"
     "\"output_tokens\":1}}",
     "{\"type\":\"thinking\",\"thinking\":\"hm\",\"signature\":\"SIG==\"}"},
    {{DIALECT_GEMINI, "gemini", "a", "gemini-3-pro"},
     {{DIALECT_GEMINI, "gemini", "a", "gemini-3-flash"},
      {DIALECT_GEMINI, "vertex", "a", "gemini-3-pro"},
      {DIALECT_OPENAI, "custom", "a", "gemini-3-pro"}},
     "{\"responseId\":\"x\",\"modelVersion\":\"m\",\"candidates\":[{\"content\":{\"role\":"
     "\"model\",\"parts\":[{\"functionCall\":{\"id\":\"c1\",\"name\":\"f\",\"args\":{}},"
     "\"thoughtSignature\":\"SIG==\"}]},\"finishReason\":\"STOP\"}]}",
     "\"args\":{}},\"thoughtSignature\":\"SIG==\"}"},
    {{DIALECT_BEDROCK, "bedrock", "a", "anthropic.claude-sonnet-4-5"},
     {{DIALECT_BEDROCK, "bedrock", "a", "anthropic.claude-opus-4-5"},
      {DIALECT_ANTHROPIC, "anthropic", "a", "anthropic.claude-sonnet-4-5"},
      {DIALECT_BEDROCK, "bedrock", "a", "us.anthropic.claude-sonnet-4-5"}},
     "{\"output\":{\"message\":{\"role\":\"assistant\",\"content\":[{\"reasoningContent\":{"
     "\"reasoningText\":{\"text\":\"hm\",\"signature\":\"SIG==\"}}},{\"toolUse\":{\"toolUseId\":"
     "\"c1\"," USE "}]}},\"stopReason\":\"tool_use\",\"usage\":{\"inputTokens\":1,"
     "\"outputTokens\":1,\"totalTokens\":2}}",
     "\"signature\":\"SIG==\""},
    {{DIALECT_RESPONSES, "openai", "a", "gpt-5.1"},
     {{DIALECT_RESPONSES, "openai", "a", "gpt-5.2"},
      {DIALECT_RESPONSES, "openai", "b", "gpt-5.1"}, /* Another account of ours. */
      {DIALECT_RESPONSES, "azure", "a", "gpt-5.1"}},
     "{\"id\":\"x\",\"object\":\"response\",\"status\":\"completed\",\"model\":\"m\",\"output\":[{"
     "\"type\":\"reasoning\",\"id\":\"rs_1\",\"summary\":[{\"type\":\"summary_text\",\"text\":"
     "\"hm\"}],\"encrypted_content\":\"SIG==\"},{\"type\":\"function_call\",\"id\":\"fc_1\","
     "\"call_id\":\"c1\",\"name\":\"f\",\"arguments\":\"{}\"}],\"usage\":{\"input_tokens\":1,"
     "\"output_tokens\":1}}",
     "{\"type\":\"reasoning\",\"id\":\"rs_1\",\"summary\":[{\"type\":\"summary_text\",\"text\":"
     "\"hm\"}],\"encrypted_content\":\"SIG==\"}"},
    /* Chat completions, as OpenRouter has Claude ... */
    {{DIALECT_OPENAI, "openrouter", "a", "anthropic/claude-sonnet-4.5"},
     {{DIALECT_OPENAI, "openrouter", "a", "anthropic/claude-opus-4.5"},
      {DIALECT_OPENAI, "custom", "a", "anthropic/claude-sonnet-4.5"},
      {DIALECT_OPENAI, "deepseek", "a", "deepseek-v4"}},
     CHAT("\"reasoning\":\"hm\",\"reasoning_details\":[{\"type\":\"reasoning.text\",\"text\":"
          "\"hm\",\"signature\":\"SIG==\",\"format\":\"anthropic-claude-v1\",\"index\":0},{"
          "\"type\":\"reasoning.encrypted\",\"data\":\"RED==\",\"format\":\"anthropic-claude-v1\","
          "\"index\":1}]," CALL("")),
     "\"reasoning_details\":[{\"type\":\"reasoning.text\",\"format\":\"anthropic-claude-v1\","
     "\"index\":0,\"text\":\"hm\",\"signature\":\"SIG==\"},{\"type\":\"reasoning.encrypted\","
     "\"format\":\"anthropic-claude-v1\",\"index\":1,\"data\":\"RED==\"}],\"tool_calls\":[{\"id\":"
     "\"c1\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}]"},
    /* ... Gemini, whose signature is of the call ... */
    {{DIALECT_OPENAI, "openrouter", "a", "google/gemini-3-pro"},
     {{DIALECT_OPENAI, "openrouter", "a", "google/gemini-3-flash"},
      {DIALECT_OPENAI, "vercel", "a", "google/gemini-3-pro"},
      {DIALECT_GEMINI, "gemini", "a", "google/gemini-3-pro"}},
     CHAT("\"reasoning\":\"hm\",\"reasoning_details\":[{\"type\":\"reasoning.text\",\"text\":"
          "\"hm\",\"format\":\"google-gemini-v1\",\"index\":0},{\"type\":\"reasoning.encrypted\","
          "\"data\":\"SIG==\",\"id\":\"c1\",\"format\":\"google-gemini-v1\",\"index\":0}]," CALL(
              "")),
     "\"reasoning_details\":[{\"type\":\"reasoning.text\",\"format\":\"google-gemini-v1\",\"index\""
     ":0,\"text\":\"hm\"},{\"type\":\"reasoning.encrypted\",\"format\":\"google-gemini-v1\","
     "\"index\":0,\"id\":\"c1\",\"data\":\"SIG==\"}],\"tool_calls\":[{\"id\":\"c1\",\"type\":"
     "\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}]"},
    /* ... and OpenAI's models. */
    {{DIALECT_OPENAI, "openrouter", "a", "openai/gpt-5.1"},
     {{DIALECT_OPENAI, "openrouter", "a", "openai/gpt-5.2"},
      {DIALECT_OPENAI, "openai", "a", "gpt-5.1"},
      {DIALECT_RESPONSES, "openai", "a", "openai/gpt-5.1"}},
     CHAT("\"reasoning\":\"hm\",\"reasoning_details\":[{\"type\":\"reasoning.summary\",\"summary\":"
          "\"hm\",\"format\":\"openai-responses-v1\",\"index\":0},{\"type\":"
          "\"reasoning.encrypted\",\"data\":\"SIG==\",\"id\":\"rs_1:x\",\"format\":"
          "\"openai-responses-v1\",\"index\":0}]," CALL("")),
     "\"reasoning_details\":[{\"type\":\"reasoning.summary\",\"format\":\"openai-responses-v1\","
     "\"index\":0,\"summary\":\"hm\"},{\"type\":\"reasoning.encrypted\",\"format\":"
     "\"openai-responses-v1\",\"index\":0,\"id\":\"rs_1:x\",\"data\":\"SIG==\"}]"},
    /* Google's own endpoint of chat completions. */
    {{DIALECT_OPENAI, "custom", "a", "gemini-3-pro"},
     {{DIALECT_OPENAI, "custom", "a", "gemini-3-flash"},
      {DIALECT_OPENAI, "openrouter", "a", "gemini-3-pro"},
      {DIALECT_GEMINI, "gemini", "a", "gemini-3-pro"}},
     CHAT(CALL("\"extra_content\":{\"google\":{\"thought_signature\":\"SIG==\"}},")),
     "\"extra_content\":{\"google\":{\"thought_signature\":\"SIG==\"}}"},
};
#define VENDORS (sizeof vendors / sizeof vendors[0])

/* Those who do not speak the vendor's dialect themselves. */
static bool is_translated(enum dialect caller, const struct vendor *v)
{
    return caller != v->at.dialect;
}

static void t07_what_a_model_signed_goes_back_to_it_from_callers_of_every_dialect(void **state)
{
    for (size_t i = 0; i < VENDORS; i++)
        for (int c = 0; c < DIALECT_CALLERS; c++) {
            const enum dialect caller = (enum dialect)c;
            if (!is_translated(caller, &vendors[i]))
                continue;
            tr_kit_reset(*state);
            const char *answer = answered(*state, caller, &vendors[i].at, vendors[i].reply);
            const char *body = asked_next(*state, caller, &vendors[i].at, answer);
            if (strstr(body, vendors[i].back) == NULL)
                fail_msg("%s to %s:\n%s\n%s", dialect_name(caller), vendors[i].at.model, answer,
                         body);
        }
}

static void t07_nobody_else_gets_it(void **state)
{
    for (size_t i = 0; i < VENDORS; i++)
        for (int c = 0; c < DIALECT_CALLERS; c++)
            for (size_t k = 0; k < 3; k++) {
                const enum dialect caller = (enum dialect)c;
                const struct at *other = &vendors[i].others[k];
                if (!is_translated(caller, &vendors[i]) || caller == other->dialect)
                    continue;
                tr_kit_reset(*state);
                const char *answer = answered(*state, caller, &vendors[i].at, vendors[i].reply);
                const char *body = asked_next(*state, caller, other, answer);
                if (strstr(body, "SIG==") != NULL || strstr(body, "RED==") != NULL)
                    fail_msg("%s at %s %s:\n%s\n%s", dialect_name(caller), other->host,
                             other->model, answer, body);
                if (other->dialect != DIALECT_BEDROCK) /* Without tools: calls are words. */
                    assert_non_null(strstr(body, "\"f\""));
            }
}

/* An account that is renamed, or another of the same type: of a signature that is bound to none,
 * that makes no difference. */
static void t07_what_is_not_bound_to_an_account_goes_to_any_of_the_type(void **state)
{
    struct at renamed = vendors[0].at;
    renamed.provider = "b";
    const char *answer = answered(*state, DIALECT_OPENAI, &vendors[0].at, vendors[0].reply);
    assert_non_null(strstr(asked_next(*state, DIALECT_OPENAI, &renamed, answer), vendors[0].back));
}

/* ---- streams of hosts that sign ---- */

#define DELTA(delta)                                                                               \
    "data: {\"id\":\"x\",\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":" delta "}]}\n\n"
#define DETAIL(type, members)                                                                      \
    "{\"type\":\"reasoning." type "\",\"format\":\"google-gemini-v1\",\"index\":0," members "}"
#define THOUGHT(text)                                                                              \
    DELTA("{\"reasoning\":\"" text                                                                 \
          "\",\"reasoning_details\":[" DETAIL("text", "\"text\":\"" text "\"") "]}")
static const char stream[] = DELTA("{\"role\":\"assistant\",\"content\":\"\"}") THOUGHT("h\\u00e4")
    THOUGHT("m") DELTA("{\"reasoning_details\":[" DETAIL("text", "\"signature\":\"S1\"") "]}")
        THOUGHT("more") DELTA("{\"content\":\"So.\"}")
            DELTA("{\"tool_calls\":[{\"index\":0,\"id\":\"c1\",\"type\":\"function\","
                  "\"function\":{\"name\":\"f\",\"arguments\":\"{\"}}]}")
                DELTA("{\"reasoning_details\":[" DETAIL("encrypted",
                                                        "\"id\":\"c1\",\"data\":\"S2\"") "]}")
                    DELTA("{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"}\"}"
                          "}]}") "data: "
                                 "{\"id\":\"x\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_"
                                 "reason\":\"tool_calls\"}]}"
                                 "\n\ndata: [DONE]\n\n";

/* What comes amid the pieces of a call waits for its end. */
static void a_stream_says_what_is_signed_wherever_it_is_cut(void **state)
{
    struct tr_kit *kit = *state;
    const struct str all = {stream, sizeof stream - 1};
    static const char *const want = "reasoning h\xc3\xa4\nreasoning m\nseal T:0:google-gemini-v1:0:"
                                    "S1\nreasoning more\ntext So.\n";
    for (size_t at = 0; at < all.len; at++) {
        tr_kit_reset(kit);
        assert_int_equal(tr_kit_stream_cut(kit, DIALECT_OPENAI, all, at), 0);
        const char *log = tr_kit_log(kit);
        const char *held = strstr(log, "redacted E:0:google-gemini-v1:2:c1S2\nfinish");
        assert_non_null(strstr(log, want));
        assert_non_null(held);
        assert_non_null(strstr(log, "arguments"));
    }
}

/* A host may say anything: what is not understood is left out, and nothing is said twice. */
static void details_of_no_known_form_are_passed_over(void **state)
{
    static const struct {
        const char *message, *log;
    } rows[] = {
        {"\"reasoning\":\"hm\",\"reasoning_details\":[]", "reasoning hm\n"},
        {"\"reasoning\":\"hm\",\"reasoning_details\":null", "reasoning hm\n"},
        {"\"reasoning\":\"hm\",\"reasoning_details\":\"x\"", "reasoning hm\n"},
        {"\"reasoning\":\"hm\",\"reasoning_details\":[1,null,{},{\"type\":1},{\"type\":\"x\"}]",
         "reasoning hm\n"},
        {"\"reasoning\":\"hm\",\"reasoning_details\":[{\"type\":\"reasoning.text\",\"text\":\"hm\"}"
         "]",
         "reasoning hm\n"},
        {"\"reasoning\":\"\",\"reasoning_details\":[{\"type\":\"reasoning.encrypted\",\"data\":"
         "\"D\"}]",
         "redacted E:::0:D\n"},
        {"\"reasoning_details\":[{\"type\":\"reasoning.encrypted\",\"data\":\"\"},{\"type\":"
         "\"reasoning.encrypted\",\"data\":7}]",
         ""},
        {"\"reasoning_details\":[{\"type\":\"reasoning.encrypted\",\"data\":\"D\",\"index\":-1,"
         "\"format\":\"a:b\",\"id\":\"i:1\"}]",
         "redacted E:::3:i:1D\n"},
    };
    struct tr_kit *kit = *state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char body[1024];
        tr_kit_reset(kit);
        snprintf(body, sizeof body,
                 "{\"id\":\"x\",\"choices\":[{\"index\":0,\"message\":{%s},\"finish_reason\":"
                 "\"stop\"}]}",
                 rows[i].message);
        assert_int_equal(tr_kit_reply(kit, DIALECT_OPENAI, body), 0);
        const char *log = strchr(tr_kit_log(kit), '\n') + 1; /* Behind the start. */
        assert_int_equal(strncmp(log, rows[i].log, strlen(rows[i].log)), 0);
        assert_int_equal(strncmp(log + strlen(rows[i].log), "finish", 6), 0);
    }
}

/* ---- what comes back is a caller's ---- */

static void what_a_caller_made_of_it_is_not_sent(void **state)
{
    struct tr_kit *kit = *state;
    static const char *const values[] = {
        "T",          "T:",        "T:0:f",         "T:0:f:0:",  "X:0:f:0:D",
        "TT:0:f:0:D", "T:x:f:0:D", "T:99999:f:0:D", "T:0:F:0:D", "T:0:f:9:D",
        "T:0:f:-1:D", "T:0:f::D",  ":::0:D",
    };
    struct tr_target target = tr_kit_target("openrouter", "anthropic/claude-sonnet-4.5");
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        char body[1024];
        snprintf(body, sizeof body,
                 "{\"model\":\"m\",\"max_tokens\":9000,\"messages\":[{\"role\":\"user\","
                 "\"content\":\"q\"},{\"role\":\"assistant\",\"content\":[{\"type\":\"thinking\","
                 "\"thinking\":\"hm\",\"signature\":\"sy1.openai.%s\"},{\"type\":\"text\","
                 "\"text\":\"Yes.\"}]},{\"role\":\"user\",\"content\":\"q\"}]}",
                 values[i]);
        const char *out = tr_kit_asked(kit, DIALECT_ANTHROPIC, body, DIALECT_OPENAI, &target);
        assert_null(strstr(out, "reasoning_details"));
        assert_non_null(strstr(out, "\"Yes.\""));
    }
}

static void f30_each_failed_allocation_is_told(void **state)
{
    tr_kit_ask_starved(state, DIALECT_ANTHROPIC,
                       "{\"model\":\"m\",\"max_tokens\":9000,\"messages\":[{\"role\":\"user\","
                       "\"content\":\"q\"},{\"role\":\"assistant\",\"content\":[{\"type\":"
                       "\"thinking\",\"thinking\":\"hm\",\"signature\":\"sy1.openai.T:0:f:0:D\"},{"
                       "\"type\":\"tool_use\",\"id\":\"c1\",\"name\":\"f\",\"input\":{}}]},{"
                       "\"role\":\"user\",\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":"
                       "\"c1\",\"content\":\"1\"}]}]}",
                       "openrouter", "anthropic/claude-sonnet-4.5");
}

#define T(name) cmocka_unit_test_setup_teardown(name, tr_kit_setup, tr_kit_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(t07_what_a_model_signed_goes_back_to_it_from_callers_of_every_dialect),
        T(t07_nobody_else_gets_it),
        T(t07_what_is_not_bound_to_an_account_goes_to_any_of_the_type),
        T(a_stream_says_what_is_signed_wherever_it_is_cut),
        T(details_of_no_known_form_are_passed_over),
        T(what_a_caller_made_of_it_is_not_sent),
        T(f30_each_failed_allocation_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
