#include "dataplane/llm/anthropic.h"

#include <string.h>

#include "common/base/buf.h"
#include "common/route/features.h"
#include "tests/lib/fault.h"
#include "tests/unit/dataplane/llm/llm_kit.h"

static int read_text(struct llm_kit *f, const char *body)
{
    return llm_kit_read(f, &provider_anthropic, body);
}

static void assert_refused(struct llm_kit *f, const char *body, enum call_defect defect,
                           const char *param)
{
    llm_kit_assert_refused(f, read_text(f, body), defect, param);
}

#define HEAD "{\"model\":\"m\",\"max_tokens\":9,"
#define USER "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]"

static const char *const agent_turn =
    "{\"model\":\"claude-auto\",\"max_tokens\":32000,\"system\":[{\"type\":\"text\",\"text\":\"be "
    "brief\",\"cache_control\":{\"type\":\"ephemeral\",\"ttl\":\"1h\"}},{\"type\":\"text\",\"text\""
    ":\"and kind\"}],\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":"
    "\"a\\nb\"},{\"type\":\"image\",\"source\":{\"type\":\"base64\",\"media_type\":\"image/png\","
    "\"data\":\"iVBORw0KGgo=\"}},{\"type\":\"text\",\"text\":\"c\"}]},{\"role\":\"assistant\","
    "\"content\":[{\"type\":\"thinking\",\"thinking\":\"hm\",\"signature\":\"S\"},{\"type\":"
    "\"tool_use\",\"id\":\"t1\",\"name\":\"f\",\"input\":{\"x\":1}}]},{\"role\":\"user\","
    "\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":\"t1\",\"content\":[{\"type\":\"text\","
    "\"text\":\"two\"},{\"type\":\"image\",\"source\":{\"type\":\"url\",\"url\":\"https://x/y.png\""
    "}}]}]},{\"role\":\"system\",\"content\":\"now hurry\"}],\"tools\":[{\"name\":\"f\","
    "\"input_schema\":{\"type\":\"object\"}},{\"type\":\"bash_20250124\",\"name\":\"bash\"}],"
    "\"thinking\":{\"type\":\"adaptive\"},\"output_config\":{\"effort\":\"high\",\"format\":{"
    "\"type\":\"json_schema\",\"schema\":{}}},\"metadata\":{\"user_id\":\"u7\"},\"temperature\":0."
    "5,"
    "\"stream\":true,\"context_management\":{\"edits\":[]},\"x\":[1,{\"y\":null}]}";

static void a_call_is_summed_up(void **state)
{
    struct llm_kit *f = *state;
    assert_int_equal(read_text(f, agent_turn), 0);
    assert_true(str_is(f->call.model, "claude-auto"));
    assert_true(str_is(f->call.text, "a\nb\nc"));
    assert_true(str_is(f->call.system, "be brief\nand kind"));
    assert_true(str_is(f->call.user, "u7"));
    assert_int_equal(f->call.messages, 4);
    assert_int_equal(f->call.turns, 1); /* Results alone are no turn of the user's. */
    assert_int_equal(f->call.images, 2);
    assert_int_equal(f->call.tool_count, 2);
    assert_true(str_is(f->call.tools[1], "bash"));
    assert_int_equal(f->call.max_tokens, 32000);
    assert_int_equal(f->call.temperature_q8, 128);
    assert_true(f->call.stream && f->call.json_mode && f->call.has_tools && f->call.has_images);
    assert_true(f->call.reasoning && f->call.include_usage && !f->call.price_varies);
    assert_true(str_starts(f->call.dialogue, STR("[{\"role\":\"user\"")));
    assert_in_range(f->call.tokens_in, 100, 3000);
    assert_true(f->call.tokens_most > f->call.tokens_in);
}

static void text_blocks_and_a_string_weigh_the_same(void **state)
{
    struct llm_kit *f = *state;
    assert_int_equal(read_text(f, HEAD USER "}"), 0);
    uint32_t plain = f->call.tokens_in;
    assert_int_equal(read_text(f, HEAD "\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":"
                                       "\"text\",\"text\":\"hi\"}]}]}"),
                     0);
    assert_int_equal(f->call.tokens_in, plain);
    assert_true(str_is(f->call.text, "hi"));
    assert_int_equal(f->call.text_bytes, 2);
}

static void what_must_be_there_is_named(void **state)
{
    struct llm_kit *f = *state;
    assert_refused(f, "{\"max_tokens\":1," USER "}", CALL_MISSING_FIELD, "model");
    assert_refused(f, "{\"model\":\"m\",\"max_tokens\":1}", CALL_MISSING_FIELD, "messages");
    assert_refused(f, "{\"model\":\"m\"," USER "}", CALL_MISSING_FIELD, "max_tokens");
    assert_refused(f, "{\"model\":\"m\",\"max_tokens\":null," USER "}", CALL_MISSING_FIELD,
                   "max_tokens");
}

static void a_body_of_count_tokens_needs_no_max_tokens(void **state)
{
    struct llm_kit *f = *state;
    struct str body = STR("{\"model\":\"m\",\"system\":\"be\"," USER "}");
    assert_int_equal(anthropic_read_count(&f->json, body, &f->arena, &f->call, &f->refusal), 0);
    assert_in_range(f->call.tokens_in, 8, 20);
    assert_true(str_is(f->call.system, "be"));
}

static void bad_fields_are_named_by_their_path(void **state)
{
    struct llm_kit *f = *state;
    static const struct {
        const char *body;
        const char *param;
    } rows[] = {
        {HEAD "\"messages\":[]}", "messages"},
        {HEAD "\"messages\":[{\"role\":\"user\"}]}", "messages[0]"},
        {HEAD "\"messages\":[{\"role\":\"tool\",\"content\":\"x\"}]}", "messages[0].role"},
        {HEAD "\"messages\":[{\"role\":\"user\",\"content\":7}]}", "messages[0].content"},
        {HEAD "\"messages\":[{\"role\":\"user\",\"content\":[{\"text\":\"x\"}]}]}",
         "messages[0].content[0]"},
        {HEAD "\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image\"}]}]}",
         "messages[0].content[0]"},
        {HEAD "\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"tool_result\",\"content\":"
              "[{\"type\":\"text\",\"text\":1}]}]}]}",
         "messages[0].content[0].content[0].text"},
        {HEAD USER ",\"system\":{}}", "system"},
        {HEAD USER ",\"tools\":{}}", "tools"},
        {HEAD USER ",\"thinking\":{}}", "thinking"},
        {HEAD USER ",\"output_config\":1}", "output_config"},
        {HEAD USER ",\"metadata\":{\"user_id\":1}}", "metadata.user_id"},
        {HEAD USER ",\"stop_sequences\":[1]}", "stop_sequences[0]"},
        {HEAD USER ",\"top_k\":1.5}", "top_k"},
        {HEAD USER ",\"stream\":1}", "stream"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_refused(f, rows[i].body, CALL_BAD_FIELD, rows[i].param);
}

static void b14_a_repeated_key_is_refused_with_its_path(void **state)
{
    struct llm_kit *f = *state;
    assert_refused(f, HEAD USER ",\"max_t\\u006fkens\":3}", CALL_BAD_JSON, "max_tokens");
}

static void b16_max_tokens_is_a_whole_number_above_none(void **state)
{
    struct llm_kit *f = *state;
    static const char *const bad[] = {"-1", "0", "1.5", "1e3", "9999999999999999999", "\"7\""};
    char body[256];
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct buf b = {.data = body, .cap = sizeof body, .max = sizeof body};
        assert_int_equal(
            buf_printf(&b, "{\"model\":\"m\"," USER ",\"max_tokens\":%s}%c", bad[i], 0), 0);
        assert_refused(f, body, CALL_BAD_FIELD, "max_tokens");
    }
}

static void b18_where_a_request_goes_is_not_the_callers_to_say(void **state)
{
    struct llm_kit *f = *state;
    static const char *const names[] = {"api_base", "base_url",      "api_key",
                                        "headers",  "extra_headers", "extra_body"};
    char body[256];
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct buf b = {.data = body, .cap = sizeof body, .max = sizeof body};
        assert_int_equal(buf_printf(&b, HEAD USER ",\"%s\":\"x\"}%c", names[i], 0), 0);
        assert_refused(f, body, CALL_FORBIDDEN_FIELD, names[i]);
    }
}

static void b18_what_changes_the_price_is_noted(void **state)
{
    struct llm_kit *f = *state;
    static const struct {
        const char *body;
        bool varies;
    } rows[] = {
        {HEAD USER ",\"service_tier\":\"auto\"}", false},
        {HEAD USER ",\"service_tier\":\"standard_only\"}", false},
        {HEAD USER ",\"service_tier\":\"priority\"}", true},
        {HEAD USER ",\"speed\":\"standard\"}", false},
        {HEAD USER ",\"speed\":\"fast\"}", true},
        {HEAD USER ",\"inference_geo\":\"us\"}", true},
        {HEAD USER ",\"tools\":[{\"type\":\"web_search_20250305\",\"name\":\"web_search\"}]}",
         true},
        {HEAD USER ",\"tools\":[{\"type\":\"custom\",\"name\":\"web_search\"}]}", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(read_text(f, rows[i].body), 0);
        assert_int_equal(f->call.price_varies, rows[i].varies);
    }
}

static void blocks_and_fields_of_later_versions_pass(void **state)
{
    struct llm_kit *f = *state;
    assert_int_equal(
        read_text(f, HEAD "\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"new_thing\","
                          "\"data\":{\"a\":[1]}},{\"type\":\"search_result\",\"content\":[{"
                          "\"type\":\"text\",\"text\":\"s\"}]},{\"type\":\"document\",\"source\":{"
                          "\"type\":\"content\",\"content\":\"d\"}},{\"type\":\"tool_result\","
                          "\"tool_use_id\":\"t\"},{\"type\":\"document\",\"source\":{\"type\":"
                          "\"text\",\"data\":\"ddd\"}}]}],\"mcp_servers\":[]}"),
        0);
    assert_int_equal(f->call.text_bytes, 5);
    assert_int_equal(f->call.turns, 1);
}

static struct str sent(struct llm_kit *f, const char *body, const char *model, uint32_t clamp)
{
    static char text[8192];
    struct str pieces[PROVIDER_REQUEST_PIECES_MAX];
    struct buf b = {.data = text, .cap = sizeof text, .max = sizeof text};
    size_t count = 0;
    assert_int_equal(read_text(f, body), 0);
    f->call.clamp_out = clamp;
    assert_int_equal(
        anthropic_write_call(&f->call, str_from(body), str_from(model), &f->arena, pieces, &count),
        0);
    assert_true(count <= PROVIDER_REQUEST_PIECES_MAX);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(buf_append_str(&b, pieces[i]), 0);
    return buf_str(&b);
}

static void what_a_clamp_leaves_for_reasoning_stays_below_it(void **state)
{
    struct llm_kit *f = *state;
#define THINK(budget) "\"thinking\":{\"budget_tokens\":" budget " ,\"type\":\"enabled\"},"
    static const struct {
        const char *body;
        uint32_t clamp;
        enum call_clamp says;
        const char *want;
    } rows[] = {
        {"{\"model\":\"m\",\"max_tokens\":32000," THINK("10000") USER "}", 4000, CALL_CLAMP_LOWERS,
         "{\"model\":\"m\",\"max_tokens\":4000," THINK("3999") USER "}"},
        {"{" THINK("10000") "\"model\":\"m\",\"max_tokens\":32000," USER "}", 10000,
         CALL_CLAMP_LOWERS, "{" THINK("9999") "\"model\":\"m\",\"max_tokens\":10000," USER "}"},
        {"{\"model\":\"m\",\"max_tokens\":32000," THINK("10000") USER "}", 1025, CALL_CLAMP_LOWERS,
         "{\"model\":\"m\",\"max_tokens\":1025," THINK("1024") USER "}"},
        {"{\"model\":\"m\",\"max_tokens\":32000," THINK("10000") USER "}", 1024,
         CALL_CLAMP_SWITCHES_OFF,
         "{\"model\":\"m\",\"max_tokens\":1024,\"thinking\":{\"type\":\"disabled\"}," USER "}"},
        /* What is no whole number, or too large for one, is more than any clamp. */
        {"{\"model\":\"m\",\"max_tokens\":32000," THINK("1e4") USER "}", 4000, CALL_CLAMP_LOWERS,
         "{\"model\":\"m\",\"max_tokens\":4000," THINK("3999") USER "}"},
        {"{\"model\":\"m\",\"max_tokens\":32000," THINK("4294967296") USER "}", 4000,
         CALL_CLAMP_LOWERS, "{\"model\":\"m\",\"max_tokens\":4000," THINK("3999") USER "}"},
        {"{\"model\":\"m\",\"max_tokens\":32000," THINK("-1e9") USER "}", 4000, CALL_CLAMP_NOTHING,
         "{\"model\":\"m\",\"max_tokens\":4000," THINK("-1e9") USER "}"},
        {"{\"model\":\"m\",\"max_tokens\":32000," THINK("2000") USER "}", 4000, CALL_CLAMP_NOTHING,
         "{\"model\":\"m\",\"max_tokens\":4000," THINK("2000") USER "}"},
        {"{\"model\":\"m\",\"max_tokens\":32000,\"thinking\":{\"type\":\"adaptive\"}," USER "}", 9,
         CALL_CLAMP_NOTHING,
         "{\"model\":\"m\",\"max_tokens\":9,\"thinking\":{\"type\":\"adaptive\"}," USER "}"},
        {"{\"model\":\"m\",\"max_tokens\":32000," THINK("10000") USER "}", 0, CALL_CLAMP_NOTHING,
         "{\"model\":\"m\",\"max_tokens\":32000," THINK("10000") USER "}"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_true(str_is(sent(f, rows[i].body, "m", rows[i].clamp), rows[i].want));
        assert_int_equal(call_clamp_of(&f->call, CALL_THINK_THINKING), rows[i].says);
    }
    /* Seals are taken off at the same time; what they switch off is not lowered as well. */
    static const char *const calls[] = {"sy1.anthropic.S", "sy1.gemini.S"};
    static const char *const want[] = {THINK("3999"), "\"thinking\":{\"type\":\"disabled\"},"};
    for (size_t i = 0; i < 2; i++) {
        char body[1024];
        struct buf b = {.data = body, .cap = sizeof body, .max = sizeof body};
        assert_int_equal(
            buf_printf(
                &b,
                "{\"model\":\"m\",\"max_tokens\":32000," THINK(
                    "10000") "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"},{\"role\":"
                             "\"assistant\",\"content\":[{\"type\":\"thinking\",\"thinking\":\"h\","
                             "\"signature\":\"%s\"},{\"type\":\"tool_use\",\"id\":\"t\",\"name\":"
                             "\"f\","
                             "\"input\":{}}]},{\"role\":\"user\",\"content\":[{\"type\":\"tool_"
                             "result\","
                             "\"tool_use_id\":\"t\",\"content\":\"1\"}]}]}",
                calls[i]),
            0);
        assert_int_equal(buf_append_char(&b, '\0'), 0);
        struct str out = sent(f, body, "m", 4000);
        assert_true(str_search(out, str_from(want[i])) >= 0);
        assert_true(str_search(out, STR("\"max_tokens\":4000,")) >= 0);
        assert_int_equal(json_parse(&f->json, out, NULL), 0);
    }
#undef THINK
}

static void where_the_address_says_the_model_the_body_says_the_version(void **state)
{
    struct llm_kit *f = *state;
#define VERSION "\"anthropic_version\":\"vertex-2023-10-16\""
    assert_true(str_is(sent(f, "{\"model\" : \"m\",\"max_tokens\":9," USER "}", "", 0),
                       "{" VERSION ",\"max_tokens\":9," USER "}"));
    assert_true(str_is(sent(f, "{" USER ",\"max_tokens\":9,\"mod\\u0065l\":\n\"a\\\"b\"}", "", 5),
                       "{" USER ",\"max_tokens\":5," VERSION "}"));
    assert_true(str_is(sent(f, "{\"models\":[\"m\"],\"max_tokens\":9," USER "}", "", 0),
                       "{" VERSION ",\"models\":[\"m\"],\"max_tokens\":9," USER "}"));
#undef VERSION
}

/* Every byte but the model's is the caller's. */
static void only_the_model_changes_on_the_way_up(void **state)
{
    struct llm_kit *f = *state;
    assert_true(str_is(sent(f, agent_turn, "claude-auto", 0), agent_turn));
    struct str up = sent(f, agent_turn, "claude-x-5", 0);
    assert_true(str_starts(up, STR("{\"model\":\"claude-x-5\",\"max_tokens\":32000,")));
    const char *rest = strstr(agent_turn, ",\"max_tokens\"");
    assert_true(str_ends(up, str_from(rest)));
    assert_int_equal(up.len, strlen("{\"model\":\"claude-x-5\"") + strlen(rest));
    const char *odd = " { \"max_tokens\" : 5 ,\t" USER ", \"model\" : \"a\\u0062\" } ";
    up = sent(f, odd, "q\"q", 3);
    assert_true(str_is(up, " { \"max_tokens\" : 3 ,\t" USER ", \"model\" : \"q\\\"q\" } "));
}

#define THINK(signature)                                                                           \
    "{\"type\":\"thinking\",\"thinking\":\"h\",\"signature\":\"" signature "\"}"
#define GONE(data) "{\"type\":\"redacted_thinking\",\"data\":\"" data "\"}"
#define USE        "{\"type\":\"tool_use\",\"id\":\"t\",\"name\":\"f\",\"input\":{}}"
#define BACK       "{\"role\":\"user\",\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":\"t\"}]}"
#define ASK        "{\"role\":\"user\",\"content\":\"q\"}"
#define SAID(list) "{\"role\":\"assistant\",\"content\":[ " list " ]}"
#define TALK(thinking, list)                                                                       \
    "{\"model\":\"m\",\"max_tokens\":9,\"thinking\":" thinking ",\"messages\":[" list "]}"
#define BUDGET "{\"type\":\"enabled\",\"budget_tokens\":1024}"

static void t07_reasoning_of_other_dialects_is_taken_out_of_a_switched_dialogue(void **state)
{
    struct llm_kit *f = *state;
    static const struct {
        const char *body;
        const char *up;
    } rows[] = {
        /* The vendor's own passes; ours is unsealed. */
        {TALK(BUDGET, ASK "," SAID(THINK("c2ln") "," USE) "," BACK),
         TALK(BUDGET, ASK "," SAID(THINK("c2ln") "," USE) "," BACK)},
        {TALK(BUDGET, ASK "," SAID(THINK("sy1.anthropic.c2ln") "," GONE("sy1.anthropic.eA"))),
         TALK(BUDGET, ASK "," SAID(THINK("c2ln") "," GONE("eA")))},
        /* Whether one that names its model was made by the model that is asked, nobody knows. */
        {TALK(BUDGET, ASK "," SAID(THINK("sy1.anthropic-0595cb32.c2ln") "," USE) "," BACK),
         TALK("{\"type\":\"disabled\"}", ASK "," SAID(USE) "," BACK)},
        /* One of another vendor goes, wherever it stands; with a budget, calls need theirs. */
        {TALK(BUDGET, ASK "," SAID(THINK("sy1.gemini.x") " , " USE) "," BACK),
         TALK("{\"type\":\"disabled\"}", ASK "," SAID(USE) "," BACK)},
        {TALK(BUDGET, ASK "," SAID(THINK("sy1.gemini.x") "," USE) "," BACK "," ASK),
         TALK(BUDGET, ASK "," SAID(USE) "," BACK "," ASK)},
        {TALK("{\"type\":\"adaptive\"}",
              ASK "," SAID(THINK("sy1.bedrock.x") "," GONE("sy1.gemini.x") "," USE "," THINK(
                  "sy1.openai.y")) "," BACK),
         TALK("{\"type\":\"adaptive\"}", ASK "," SAID(USE) "," BACK)},
        /* A turn of nothing else goes as a whole. */
        {TALK(BUDGET, ASK "," SAID(THINK("sy1.gemini.x")) "," ASK), TALK(BUDGET, ASK "," ASK)},
        {TALK(BUDGET, ASK "," SAID(THINK("sy1.anthropic.a")) "," SAID(GONE("sy1.gemini.x"))),
         TALK(BUDGET, ASK "," SAID(THINK("a")))},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(read_text(f, rows[i].body), 0);
        assert_int_equal(f->call.sealed, i > 0);
        assert_true(str_is(sent(f, rows[i].body, "m", 0), rows[i].up));
    }
    struct str up = sent(f, rows[1].body, "other", 3);
    assert_true(str_starts(up, STR("{\"model\":\"other\",\"max_tokens\":3,")));
}

static void fail_each_allocation(struct llm_kit *f, const char *body)
{
    bool fired = true;
    for (unsigned n = 0; fired; n++) {
        struct str pieces[PROVIDER_REQUEST_PIECES_MAX];
        size_t count;
        arena_reset(&f->arena);
        arena_pool_trim(&f->pool, 0);
        json_deinit(&f->json);
        json_init(&f->json, JSON_NODES_MAX);
        fault_arm_alloc(n);
        int rc = anthropic_read_call(&f->json, str_from(body), &f->arena, &f->call, &f->refusal);
        if (rc == 0) {
            f->call.clamp_out = 7;
            rc = anthropic_write_call(&f->call, str_from(body), STR("other"), &f->arena, pieces,
                                      &count);
        }
        fired = fault_disarm();
        assert_int_equal(rc, fired ? ERR_NOMEM : 0);
    }
}

static void every_failed_allocation_is_told(void **state)
{
    fail_each_allocation(*state, agent_turn);
    fail_each_allocation(*state, TALK(BUDGET, ASK "," SAID(THINK("sy1.gemini.x") "," USE)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_call_is_summed_up, llm_kit_setup, llm_kit_teardown),
        cmocka_unit_test_setup_teardown(text_blocks_and_a_string_weigh_the_same, llm_kit_setup,
                                        llm_kit_teardown),
        cmocka_unit_test_setup_teardown(what_must_be_there_is_named, llm_kit_setup,
                                        llm_kit_teardown),
        cmocka_unit_test_setup_teardown(a_body_of_count_tokens_needs_no_max_tokens, llm_kit_setup,
                                        llm_kit_teardown),
        cmocka_unit_test_setup_teardown(bad_fields_are_named_by_their_path, llm_kit_setup,
                                        llm_kit_teardown),
        cmocka_unit_test_setup_teardown(b14_a_repeated_key_is_refused_with_its_path, llm_kit_setup,
                                        llm_kit_teardown),
        cmocka_unit_test_setup_teardown(b16_max_tokens_is_a_whole_number_above_none, llm_kit_setup,
                                        llm_kit_teardown),
        cmocka_unit_test_setup_teardown(b18_where_a_request_goes_is_not_the_callers_to_say,
                                        llm_kit_setup, llm_kit_teardown),
        cmocka_unit_test_setup_teardown(b18_what_changes_the_price_is_noted, llm_kit_setup,
                                        llm_kit_teardown),
        cmocka_unit_test_setup_teardown(blocks_and_fields_of_later_versions_pass, llm_kit_setup,
                                        llm_kit_teardown),
        cmocka_unit_test_setup_teardown(what_a_clamp_leaves_for_reasoning_stays_below_it,
                                        llm_kit_setup, llm_kit_teardown),
        cmocka_unit_test_setup_teardown(where_the_address_says_the_model_the_body_says_the_version,
                                        llm_kit_setup, llm_kit_teardown),
        cmocka_unit_test_setup_teardown(only_the_model_changes_on_the_way_up, llm_kit_setup,
                                        llm_kit_teardown),
        cmocka_unit_test_setup_teardown(
            t07_reasoning_of_other_dialects_is_taken_out_of_a_switched_dialogue, llm_kit_setup,
            llm_kit_teardown),
        cmocka_unit_test_setup_teardown(every_failed_allocation_is_told, llm_kit_setup,
                                        llm_kit_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
