/* Reasoning as OpenRouter has it: given out, and taken back by the vendor that made it. */
#include <string.h>

#include "dataplane/translate/exchange.h"
#include "tests/unit/dataplane/translate/tr_kit.h"

static const struct tr_event thought[] = {
    {.kind = TR_EVENT_START},
    {.kind = TR_EVENT_REASONING, .text = {"first \xc3\xa4", 8}},
    {.kind = TR_EVENT_REASONING, .text = {" more", 5}},
    {.kind = TR_EVENT_SEAL, .opaque = {"S1", 2}},
    {.kind = TR_EVENT_REDACTED, .opaque = {"R", 1}},
    {.kind = TR_EVENT_CALL, .call = {.id = {"c1", 2}, .name = {"f", 1}, .signature = {"G", 1}}},
    {.kind = TR_EVENT_ARGUMENTS, .text = {"{}", 2}},
    {.kind = TR_EVENT_FINISH, .finish = CALL_FINISH_TOOL_CALLS},
};
static const struct tr_print print = {
    .id = {"i", 1}, .model = {"m", 1}, .vendor = DIALECT_ANTHROPIC, .details = true};

#define CHUNK(delta)                                                                               \
    "data: {\"id\":\"i\",\"object\":\"chat.completion.chunk\",\"created\":0,\"model\":\"m\","      \
    "\"choices\":[{\"index\":0,\"delta\":" delta ",\"finish_reason\":null}]}\n\n"
#define TEXT(text)                                                                                 \
    CHUNK("{\"reasoning\":\"" text "\",\"reasoning_details\":[{\"type\":\"reasoning.text\","       \
          "\"text\":\"" text "\",\"format\":\"anthropic-claude-v1\",\"index\":0}]}")

static void a_stream_says_it_in_the_words_of_openrouter(void **state)
{
    struct tr_kit *kit = *state;
    assert_int_equal(tr_kit_print(kit, DIALECT_OPENAI, &print, thought, 7), 0);
    assert_string_equal(
        tr_kit_out(kit),
        CHUNK("{\"role\":\"assistant\",\"content\":\"\"}") TEXT("first \xc3\xa4") TEXT(" more")
            CHUNK("{\"reasoning_details\":[{\"type\":\"reasoning.text\",\"signature\":"
                  "\"sy1.anthropic.S1\",\"format\":\"anthropic-claude-v1\",\"index\":0}]}")
                CHUNK("{\"reasoning_details\":[{\"type\":\"reasoning.encrypted\",\"data\":"
                      "\"sy1.anthropic.R\",\"format\":\"anthropic-claude-v1\",\"index\":1}]}")
                    CHUNK("{\"tool_calls\":[{\"index\":0,\"id\":\"c1\",\"type\":\"function\","
                          "\"function\":{\"name\":\"f\",\"arguments\":\"\"}}],"
                          "\"reasoning_details\":[{\"type\":\"reasoning.encrypted\",\"data\":"
                          "\"sy1.anthropic.G\",\"id\":\"c1\",\"format\":\"anthropic-claude-v1\","
                          "\"index\":2}]}")
                        CHUNK("{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"{}\"}}"
                              "]}"));
}

static void whose_it_is_is_told(void **state)
{
    struct tr_kit *kit = *state;
    static const struct {
        enum dialect vendor;
        const char *text, *sealed;
    } rows[] = {
        {DIALECT_GEMINI,
         "{\"type\":\"reasoning.text\",\"text\":\" more\",\"format\":"
         "\"google-gemini-v1\",\"index\":0}",
         "{\"type\":\"reasoning.text\",\"signature\":\"sy1.gemini.S1\",\"format\":"},
        {DIALECT_RESPONSES,
         "{\"type\":\"reasoning.summary\",\"summary\":\" more\",\"format\":"
         "\"openai-responses-v1\",\"index\":0}",
         "{\"type\":\"reasoning.encrypted\",\"data\":\"sy1.responses.S1\",\"format\":"
         "\"openai-responses-v1\",\"index\":0}"},
        {DIALECT_COHERE, "\"format\":\"unknown\"", "sy1.cohere.S1"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct tr_print other = print;
        other.vendor = rows[i].vendor;
        assert_int_equal(tr_kit_print(kit, DIALECT_OPENAI, &other, thought, 7), 0);
        assert_non_null(strstr(tr_kit_out(kit), rows[i].text));
        assert_non_null(strstr(tr_kit_out(kit), rows[i].sealed));
        tr_kit_reset(kit);
    }
}

/* ---- whole exchanges ---- */

#define SONNET "sy1.anthropic-0595cb32." /* claude-sonnet-4-5 at a provider of type anthropic. */

#define ASK(reasoning)                                                                             \
    "{\"model\":\"m\",\"max_tokens\":9000," reasoning ",\"messages\":[{\"role\":\"user\","         \
    "\"content\":\"q\"}]}"
#define ANTHROPIC                                                                                  \
    "{\"id\":\"c\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"m\",\"content\":[{"     \
    "\"type\":\"thinking\",\"thinking\":\"hm\",\"signature\":\"S\"},{\"type\":"                    \
    "\"redacted_thinking\",\"data\":\"R\"},{\"type\":\"text\",\"text\":\"Yes.\"}],"                \
    "\"stop_reason\":\"end_turn\",\"usage\":{\"input_tokens\":7,\"output_tokens\":5}}"
#define GEMINI                                                                                     \
    "{\"responseId\":\"c\",\"modelVersion\":\"m\",\"candidates\":[{\"content\":{\"role\":"         \
    "\"model\",\"parts\":[{\"text\":\"hm\",\"thought\":true},{\"functionCall\":{\"id\":\"c1\","    \
    "\"name\":\"f\",\"args\":{}},\"thoughtSignature\":\"G\"}]},\"finishReason\":\"STOP\"}]}"

static const char *answered(struct tr_kit *kit, const char *ask, enum dialect provider,
                            const char *host, const char *model, const char *reply)
{
    const struct tr_exchange_config config = {
        .caller = DIALECT_OPENAI,
        .provider = provider,
        .target = {.model = str_from(model), .host = host_find(str_from(host))},
        .answer_id = STR("0198"),
        .answer_model = STR("served"),
    };
    struct provider_reply r = {.done = false};
    struct str body, path, out;
    struct call_refusal refusal;
    provider_reply_reset(&r);
    struct tr_exchange *x = tr_exchange_create(&config);
    assert_non_null(x);
    assert_int_equal(json_parse(&kit->json, str_from(ask), NULL), 0);
    assert_int_equal(tr_exchange_write(x, &kit->json, &kit->arena, &body, &path, &refusal), 0);
    assert_int_equal(tr_exchange_read_reply(x, &kit->json, &r, str_from(reply), &kit->arena, &out),
                     0);
    assert_int_equal(json_parse(&kit->json, out, NULL), 0);
    char *text = arena_alloc(&kit->arena, out.len + 1);
    assert_non_null(text);
    memcpy(text, out.data, out.len);
    text[out.len] = '\0';
    tr_exchange_destroy(x);
    provider_reply_deinit(&r);
    return text;
}

static void who_asks_as_openrouter_does_is_answered_so(void **state)
{
    struct tr_kit *kit = *state;
    static const char *const asks[] = {
        ASK("\"reasoning\":{\"effort\":\"low\"}"),
        ASK("\"reasoning\":{\"max_tokens\":2000}"),
        ASK("\"reasoning\":{\"enabled\":true}"),
        ASK("\"include_reasoning\":true"),
    };
    for (size_t i = 0; i < sizeof asks / sizeof asks[0]; i++) {
        const char *out =
            answered(kit, asks[i], DIALECT_ANTHROPIC, "anthropic", "claude-sonnet-4-5", ANTHROPIC);
        assert_non_null(strstr(
            out, "\"content\":\"Yes.\",\"refusal\":null,\"reasoning\":\"hm\",\"reasoning_details\":"
                 "[{\"type\":\"reasoning.text\",\"text\":\"hm\",\"signature\":\"" SONNET "S\","
                 "\"format\":\"anthropic-claude-v1\",\"index\":0},{\"type\":\"reasoning.encrypted\""
                 ",\"data\":\"" SONNET "R\",\"format\":\"anthropic-claude-v1\",\"index\":1}]"));
        assert_null(strstr(out, "thinking_blocks"));
        assert_null(strstr(out, "reasoning_content"));
    }
    const char *out = answered(kit, ASK("\"reasoning_effort\":\"low\""), DIALECT_ANTHROPIC,
                               "anthropic", "claude-sonnet-4-5", ANTHROPIC);
    assert_non_null(strstr(out, "thinking_blocks"));
    assert_null(strstr(out, "reasoning_details"));
    out = answered(kit, asks[0], DIALECT_GEMINI, "gemini", "gemini-3-pro", GEMINI);
    assert_non_null(strstr(out, "{\"type\":\"reasoning.encrypted\",\"data\":\"sy1.gemini-4b838f99."
                                "G\",\"id\":\"c1\",\"format\":"
                                "\"google-gemini-v1\",\"index\":1}"));
    assert_null(strstr(out, "extra_content"));
}

static void what_is_excluded_is_not_said(void **state)
{
    static const char *const asks[] = {
        ASK("\"reasoning\":{\"effort\":\"low\",\"exclude\":true}"),
        ASK("\"include_reasoning\":false"),
    };
    for (size_t i = 0; i < sizeof asks / sizeof asks[0]; i++) {
        const char *out = answered(*state, asks[i], DIALECT_ANTHROPIC, "anthropic",
                                   "claude-sonnet-4-5", ANTHROPIC);
        assert_null(strstr(out, "hm"));
        assert_null(strstr(out, "sy1.anthropic.S"));
        assert_non_null(strstr(out, "Yes."));
    }
}

/* ---- and back ---- */

#define DIALOGUE(details)                                                                          \
    "{\"model\":\"m\",\"max_tokens\":20000,\"reasoning\":{\"effort\":\"high\"},\"tools\":[{"       \
    "\"type\":\"function\",\"function\":{\"name\":\"f\"}}],\"messages\":[{\"role\":\"user\","      \
    "\"content\":\"go\"},{\"role\":\"assistant\",\"content\":\"\",\"reasoning\":\"all of it\","    \
    "\"reasoning_details\":[" details "],\"tool_calls\":[{\"id\":\"c1\",\"type\":\"function\","    \
    "\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}]},{\"role\":\"tool\",\"tool_call_id\":"   \
    "\"c1\",\"content\":\"1\"}]}"
#define PIECE(text) "{\"type\":\"reasoning.text\",\"text\":\"" text "\",\"index\":0},"
#define SIGNED(text, signature, index)                                                             \
    "{\"type\":\"reasoning.text\",\"text\":\"" text "\",\"signature\":\"" signature                \
    "\",\"format\":\"x\",\"index\":" index "}"

static void t07_it_goes_back_to_its_vendor_whole_or_in_pieces(void **state)
{
    static const char *const sent[] = {
        /* As the pieces of the stream came, and as one. */
        DIALOGUE(PIECE("fir") PIECE("st ") PIECE(
            "\\u00e4") "{\"type\":\"reasoning.text\",\"signature\":\"sy1.anthropic.S1\",\"index\":"
                       "0},{\"type\":\"reasoning.encrypted\",\"data\":\"sy1.anthropic.R\","
                       "\"index\":1}," SIGNED("second", "sy1.anthropic.S2", "2")),
        DIALOGUE(SIGNED("first \xc3\xa4", "sy1.anthropic.S1",
                        "0") ",{\"type\":\"reasoning.encrypted\",\"data\":\"sy1.anthropic.R\","
                             "\"index\":1}," SIGNED("second", "sy1.anthropic.S2", "2")),
        /* Without indexes, with what is null, and with something of a kind that is not known. */
        DIALOGUE(
            "{\"type\":\"reasoning.text\",\"text\":\"first \xc3\xa4\",\"signature\":null},"
            "{\"type\":\"reasoning.text\",\"text\":null,\"signature\":\"sy1.anthropic.S1\"},"
            "{\"type\":\"reasoning.new\",\"x\":1},7,{\"type\":\"reasoning.encrypted\",\"id\":"
            "null,\"data\":\"sy1.anthropic.R\"}," SIGNED("second", "sy1.anthropic.S2", "null")),
    };
    struct tr_target target = tr_kit_target("anthropic", "claude-sonnet-4-5");
    for (size_t i = 0; i < sizeof sent / sizeof sent[0]; i++) {
        const char *out = tr_kit_asked(*state, DIALECT_OPENAI, sent[i], DIALECT_ANTHROPIC, &target);
        assert_non_null(strstr(
            out, "\"content\":[{\"type\":\"thinking\",\"thinking\":\"first \xc3\xa4\","
                 "\"signature\":\"S1\"},{\"type\":\"redacted_thinking\",\"data\":\"R\"},{"
                 "\"type\":\"thinking\",\"thinking\":\"second\",\"signature\":\"S2\"},{\"type\":"
                 "\"tool_use\""));
        tr_kit_reset(*state);
    }
}

static void t07_a_calls_signature_goes_back_to_gemini_alone(void **state)
{
    static const char *const ask =
        DIALOGUE("{\"type\":\"reasoning.text\",\"text\":\"hm\",\"index\":0},{\"type\":"
                 "\"reasoning.encrypted\",\"data\":\"sy1.gemini.G\",\"id\":\"c1\",\"index\":1}");
    struct tr_target target = tr_kit_target("gemini", "gemini-3-pro");
    const char *out = tr_kit_asked(*state, DIALECT_OPENAI, ask, DIALECT_GEMINI, &target);
    assert_non_null(strstr(out, "\"thoughtSignature\":\"G\""));
    assert_null(strstr(out, "skip_thought_signature_validator"));
    tr_kit_reset(*state);
    target = tr_kit_target("anthropic", "claude-sonnet-4-5");
    out = tr_kit_asked(*state, DIALECT_OPENAI, ask, DIALECT_ANTHROPIC, &target);
    assert_null(strstr(out, "\"G\""));
    assert_null(strstr(out, "hm"));
}

static void t07_a_summary_goes_back_with_what_is_encrypted(void **state)
{
    struct tr_target target = tr_kit_target("openai", "gpt-5");
    const char *out = tr_kit_asked(
        *state, DIALECT_OPENAI,
        DIALOGUE("{\"type\":\"reasoning.summary\",\"summary\":\"h\",\"index\":0},{\"type\":"
                 "\"reasoning.summary\",\"summary\":\"m\",\"index\":0},{\"type\":"
                 "\"reasoning.encrypted\",\"data\":\"sy1.responses.rs_1:E\",\"index\":0}"),
        DIALECT_RESPONSES, &target);
    assert_non_null(strstr(
        out, "{\"type\":\"reasoning\",\"id\":\"rs_1\",\"summary\":[{\"type\":\"summary_text\","
             "\"text\":\"hm\"}],\"encrypted_content\":\"E\"},{\"type\":\"function_call\""));
}

/* Very many pieces are a few parts. */
static void a_long_list_of_pieces_is_one_part(void **state)
{
    struct tr_kit *kit = *state;
    struct buf body;
    buf_init(&body, 4U << 20);
    int rc = buf_append_text(&body, "{\"model\":\"m\",\"messages\":[{\"role\":\"assistant\","
                                    "\"content\":\"a\",\"reasoning_details\":[");
    for (int i = 0; rc == 0 && i < 3000; i++)
        rc = buf_append_text(&body, PIECE("p"));
    if (rc == 0)
        rc = buf_append_text(&body, SIGNED("q", "sy1.anthropic.S", "0") "]}]}");
    if (rc == 0)
        rc = buf_append_char(&body, '\0');
    assert_int_equal(rc, 0);
    assert_int_equal(tr_kit_read(kit, DIALECT_OPENAI, body.data), 0);
    const struct tr_turn *turn = &kit->request.turns[0];
    assert_int_equal(turn->part_count, 2);
    assert_int_equal(turn->parts[0].reasoning.text.len, 3001);
    assert_true(str_is(turn->parts[0].reasoning.signature, "S"));
    buf_deinit(&body);
}

static void each_failed_allocation_is_told(void **state)
{
    tr_kit_ask_starved(state, DIALECT_OPENAI,
                       DIALOGUE(PIECE("fir") SIGNED("st", "sy1.anthropic.S1", "0")), "anthropic",
                       "claude-sonnet-4-5");
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, tr_kit_setup, tr_kit_teardown)
    const struct CMUnitTest tests[] = {
        T(a_stream_says_it_in_the_words_of_openrouter),
        T(whose_it_is_is_told),
        T(who_asks_as_openrouter_does_is_answered_so),
        T(what_is_excluded_is_not_said),
        T(t07_it_goes_back_to_its_vendor_whole_or_in_pieces),
        T(t07_a_calls_signature_goes_back_to_gemini_alone),
        T(t07_a_summary_goes_back_with_what_is_encrypted),
        T(a_long_list_of_pieces_is_one_part),
        T(each_failed_allocation_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
