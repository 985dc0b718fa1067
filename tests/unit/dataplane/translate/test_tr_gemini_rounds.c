/* Dialogues of several rounds with Gemini, as clients of each dialect lead them: they send back
 * what they were given, and what was signed arrives as it was. */
#include <string.h>

#include "dataplane/translate/collect.h"
#include "dataplane/translate/exchange.h"
#include "tests/unit/dataplane/translate/tr_kit.h"

#define ROUNDS 3

/* What a client puts around what it was given. */
static const struct client {
    enum dialect dialect;
    const char *head, *ask, *tail;
    const char *before, *after; /* Around the given. */
    const char *result;         /* "%d": the round. */
} clients[] = {
    {DIALECT_OPENAI, "{\"model\":\"m\",\"messages\":[", "{\"role\":\"user\",\"content\":\"go\"}",
     "]}", "", "", "{\"role\":\"tool\",\"tool_call_id\":\"c%d\",\"content\":\"r\"}"},
    {DIALECT_ANTHROPIC, "{\"model\":\"m\",\"max_tokens\":99,\"messages\":[",
     "{\"role\":\"user\",\"content\":\"go\"}", "]}", "{\"role\":\"assistant\",\"content\":", "}",
     "{\"role\":\"user\",\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":\"c%d\","
     "\"content\":\"r\"}]}"},
    {DIALECT_RESPONSES, "{\"model\":\"m\",\"input\":[", "{\"role\":\"user\",\"content\":\"go\"}",
     "]}", "", "", "{\"type\":\"function_call_output\",\"call_id\":\"c%d\",\"output\":\"r\"}"},
};

static int collect(void *arg, const struct tr_event *event)
{
    return tr_collect_put(arg, event);
}

/* What the caller gets of a round: reasoning, a text, and two calls of which the first is signed.
 */
static void answer(struct tr_kit *kit, enum dialect caller, int round)
{
    char body[1024];
    struct tr_collect c;
    struct tr_answer whole;
    const struct tr_sink sink = {collect, &c};
    const struct tr_print print = {.id = STR("id"), .model = STR("m"), .vendor = DIALECT_GEMINI};
    struct buf b = {.data = body, .cap = sizeof body, .max = sizeof body};
    assert_int_equal(
        buf_printf(
            &b,
            "{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"hm\",\"thought\":true},"
            "{\"text\":\"I look.\"},{\"functionCall\":{\"id\":\"c%d\",\"name\":\"f\","
            "\"args\":{\"n\":%d}},\"thoughtSignature\":\"SIG%d=\"},{\"functionCall\":{\"id\":"
            "\"d%d\",\"name\":\"f\",\"args\":{}}}]},\"finishReason\":\"STOP\"}]}",
            round, round, round, round),
        0);
    tr_collect_init(&c, &kit->arena);
    assert_int_equal(tr_provider_find(DIALECT_GEMINI)->read_reply(&kit->json, buf_str(&b), &sink),
                     0);
    assert_int_equal(tr_collect_finish(&c, &whole), 0);
    buf_clear(&kit->out);
    assert_int_equal(tr_caller_find(caller)->print_answer(&print, &whole, &kit->out), 0);
    assert_int_equal(json_parse(&kit->json, buf_str(&kit->out), NULL), 0);
}

static struct str given(const struct tr_kit *kit, enum dialect caller)
{
    const struct json *j = &kit->json;
    if (caller == DIALECT_ANTHROPIC)
        return json_raw(j, json_get(j, JSON_ROOT, STR("content")));
    if (caller == DIALECT_OPENAI)
        return json_raw(
            j, json_get(j, json_at(j, json_get(j, JSON_ROOT, STR("choices")), 0), STR("message")));
    struct str items = json_raw(j, json_get(j, JSON_ROOT, STR("output")));
    return str_slice(items, 1, items.len - 1);
}

static void lead(struct tr_kit *kit, const struct client *client, struct buf *dialogue)
{
    assert_int_equal(buf_printf(dialogue, "%s%s", client->head, client->ask), 0);
    for (int round = 1; round <= ROUNDS; round++) {
        answer(kit, client->dialect, round);
        assert_int_equal(buf_printf(dialogue, ",%s%.*s%s,", client->before,
                                    STR_ARG(given(kit, client->dialect)), client->after),
                         0);
        struct str rest = str_from(client->result), first;
        assert_true(str_cut(rest, '%', &first, &rest));
        assert_int_equal(buf_printf(dialogue, "%.*s%d%.*s", STR_ARG(first), round,
                                    STR_ARG(str_slice(rest, 1, rest.len))),
                         0);
    }
    assert_int_equal(buf_append_text(dialogue, client->tail), 0);
}

static void t07_each_round_gets_its_signature_back(void **state)
{
    struct tr_kit *kit = *state;
    for (size_t i = 0; i < sizeof clients / sizeof clients[0]; i++) {
        struct buf dialogue;
        struct tr_target target = tr_kit_target("gemini", "gemini-3-pro");
        tr_kit_reset(kit);
        buf_init(&dialogue, 1U << 20);
        lead(kit, &clients[i], &dialogue);
        const char *out =
            tr_kit_asked(kit, clients[i].dialect, buf_cstr(&dialogue), DIALECT_GEMINI, &target);
        for (int round = 1; round <= ROUNDS; round++) {
            char signed_call[160];
            struct buf b = {
                .data = signed_call, .cap = sizeof signed_call, .max = sizeof signed_call};
            assert_int_equal(
                buf_printf(&b,
                           "{\"functionCall\":{\"id\":\"c%d\",\"name\":\"f\",\"args\":{"
                           "\"n\":%d}},\"thoughtSignature\":\"SIG%d=\"},{"
                           "\"functionCall\":{\"id\":\"d%d\",\"name\":\"f\",\"args\":{}}}",
                           round, round, round, round),
                0);
            if (str_search(str_from(out), buf_str(&b)) < 0)
                fail_msg("%s: %s", dialect_name(clients[i].dialect), out);
        }
        assert_null(strstr(out, "sy1."));
        assert_null(strstr(out, "skip_thought"));
        assert_null(strstr(out, "\"hm\""));
        buf_deinit(&dialogue);
    }
}

static void t07_another_vendor_gets_no_signature(void **state)
{
    static const char *const others[][2] = {
        {"anthropic", "claude-sonnet-4-5"}, {"openai", "gpt-5.1"}, {"cohere", "command-a"}};
    struct tr_kit *kit = *state;
    for (size_t i = 0; i < sizeof clients / sizeof clients[0]; i++) {
        struct buf dialogue;
        buf_init(&dialogue, 1U << 20);
        tr_kit_reset(kit);
        lead(kit, &clients[i], &dialogue);
        for (size_t k = 0; k < sizeof others / sizeof others[0]; k++) {
            struct tr_target target = tr_kit_target(others[k][0], others[k][1]);
            const char *out = tr_kit_asked(kit, clients[i].dialect, buf_cstr(&dialogue),
                                           target.host->dialect, &target);
            assert_null(strstr(out, "sy1."));
            assert_null(strstr(out, "SIG"));
            assert_non_null(strstr(out, "I look."));
        }
        buf_deinit(&dialogue);
    }
}

/* A stream to a caller of chat completions: how it is told what it took. */
static void stream(struct buf *out, bool want_usage, const char *text)
{
    const struct tr_exchange_config config = {
        .caller = DIALECT_OPENAI,
        .provider = DIALECT_GEMINI,
        .target = {.model = STR("gemini-2.5-pro"), .host = host_find(STR("gemini"))},
        .answer_id = STR("id"),
        .answer_model = STR("m"),
        .stream = true,
        .want_usage = want_usage};
    struct provider_reply reply = {.done = false};
    struct provider_out pieces;
    struct buf gathered;
    struct json json;
    enum provider_event kind;
    struct tr_exchange *x = tr_exchange_create(&config);
    struct str input = str_from(text);
    assert_non_null(x);
    json_init(&json, JSON_NODES_MAX);
    provider_reply_reset(&reply);
    buf_init(&gathered, 1U << 20);
    provider_out_start(&pieces, &gathered);
    while (tr_exchange_read_next(x, &json, &reply, &input, &pieces, &kind)) {
    }
    tr_exchange_read_end(x, &json, &reply, &pieces);
    assert_true(reply.done && reply.usage.known);
    assert_int_equal(reply.usage.tokens_in, 7);
    assert_int_equal(reply.usage.tokens_out, 5);
    assert_int_equal(buf_append_str(out, buf_str(&gathered)), 0);
    assert_int_equal(buf_append_str(out, buf_str(&reply.end)), 0);
    provider_reply_deinit(&reply);
    buf_deinit(&gathered);
    json_deinit(&json);
    tr_exchange_destroy(x);
}

static void t12_usage_is_told_to_who_asked_for_it(void **state)
{
    static const char text[] =
        "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"hi\"}]},\"finishReason\":"
        "\"STOP\"}],\"usageMetadata\":{\"promptTokenCount\":7,\"candidatesTokenCount\":4,"
        "\"thoughtsTokenCount\":1}}\n\n";
    struct tr_kit *kit = *state;
    stream(&kit->out, false, text);
    assert_null(strstr(tr_kit_out(kit), "usage"));
    assert_non_null(strstr(tr_kit_out(kit), "[DONE]"));
    buf_clear(&kit->out);
    stream(&kit->out, true, text);
    assert_non_null(strstr(tr_kit_out(kit), "\"choices\":[],\"usage\":{\"prompt_tokens\":7,"
                                            "\"completion_tokens\":5"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, tr_kit_setup, tr_kit_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(t07_each_round_gets_its_signature_back),
        TEST(t07_another_vendor_gets_no_signature),
        TEST(t12_usage_is_told_to_who_asked_for_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
