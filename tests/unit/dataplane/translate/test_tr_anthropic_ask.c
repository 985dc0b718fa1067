/* What a Messages provider is asked, of a caller of chat completions. */
#include <string.h>

#include "dataplane/translate/notes.h"
#include "tests/unit/dataplane/translate/tr_kit.h"

#define HI    "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]"
#define HI_UP "\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"hi\"}]}]"
#define TOOL                                                                                       \
    "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"description\":\"d\","        \
    "\"parameters\":{\"type\":\"object\",\"properties\":{}}}}]"
#define TOOL_UP                                                                                    \
    "\"tools\":[{\"name\":\"f\",\"description\":\"d\",\"input_schema\":{\"type\":\"object\","      \
    "\"properties\":{}}}]"
#define CALL(id, args)                                                                             \
    "{\"id\":\"" id "\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"" args  \
    "\"}}"
#define RESULT(id, text) "{\"role\":\"tool\",\"tool_call_id\":\"" id "\",\"content\":\"" text "\"}"
#define USE(id, input)                                                                             \
    "{\"type\":\"tool_use\",\"id\":\"" id "\",\"name\":\"f\",\"input\":" input "}"
#define RESULT_UP(id, text)                                                                        \
    "{\"type\":\"tool_result\",\"tool_use_id\":\"" id "\",\"content\":\"" text "\"}"
#define TEXT_UP(text) "{\"type\":\"text\",\"text\":\"" text "\"}"

#define OLD   "claude-3-5-haiku-20241022" /* No reasoning, no schema, takes a prefill. */
#define MID   "claude-sonnet-4-5"         /* Budgets; temperature or top_p. */
#define NEW   "claude-haiku-5-5"          /* Efforts; no sampling. */
#define FIXED "claude-opus-5-5"           /* Reasons unasked and cannot be told not to. */

static void asked(void **state, const struct tr_target *target, const char *body,
                  const char *expected, const char *notes)
{
    struct tr_kit *kit = *state;
    assert_string_equal(tr_kit_asked(kit, DIALECT_OPENAI, body, DIALECT_ANTHROPIC, target),
                        expected);
    assert_string_equal(kit->notes, notes);
}

static void asked_of(void **state, const char *model, const char *body, const char *expected,
                     const char *notes)
{
    struct tr_target target = tr_kit_target("anthropic", model);
    asked(state, &target, body, expected, notes);
}

static void refused(void **state, const struct tr_target *target, const char *body,
                    const char *param)
{
    struct tr_kit *kit = *state;
    tr_kit_reset(kit);
    assert_int_equal(tr_kit_ask(kit, DIALECT_OPENAI, body, DIALECT_ANTHROPIC, target), ERR_INVALID);
    assert_true(str_is(kit->refusal.param, param));
    assert_int_equal(kit->out.len, 0);
}

static void t15_max_tokens_that_is_absent_is_the_models_most(void **state)
{
    struct tr_target target = tr_kit_target("anthropic", OLD);
    asked_of(state, OLD, "{\"model\":\"m\"," HI "}",
             "{\"model\":\"" OLD "\",\"max_tokens\":8192," HI_UP "}", "");
    target.max_output = 7000;
    asked(state, &target, "{\"model\":\"m\"," HI "}",
          "{\"model\":\"" OLD "\",\"max_tokens\":7000," HI_UP "}", "");
    target.clamp_output = 50;
    asked(state, &target, "{\"model\":\"m\"," HI "}",
          "{\"model\":\"" OLD "\",\"max_tokens\":50," HI_UP "}", "");
    asked_of(state, "something-else", "{\"model\":\"m\"," HI "}",
             "{\"model\":\"something-else\",\"max_tokens\":4096," HI_UP "}", "");
    asked_of(state, OLD, "{\"model\":\"m\"," HI ",\"max_tokens\":99999}",
             "{\"model\":\"" OLD "\",\"max_tokens\":8192," HI_UP "}", "clamped_max_tokens");
}

static void parameters_have_their_names_and_bounds(void **state)
{
    asked_of(state, OLD,
             "{\"model\":\"m\"," HI ",\"max_tokens\":5,\"temperature\":1.5,\"top_p\":0.5,"
             "\"stop\":[\"END\",\"\\n\"],\"user\":\"u\",\"stream\":true,\"service_tier\":\"default"
             "\",\"seed\":3,\"presence_penalty\":0}",
             "{\"model\":\"" OLD "\",\"max_tokens\":5," HI_UP
             ",\"temperature\":1,\"top_p\":0.5,\"stop_sequences\":[\"END\"],\"metadata\":{"
             "\"user_id\":\"u\"},\"service_tier\":\"standard_only\",\"stream\":true}",
             "dropped_seed, clamped_temperature, dropped_stop");
    asked_of(
        state, MID, "{\"model\":\"m\"," HI ",\"max_tokens\":5,\"temperature\":0.2,\"top_p\":1}",
        "{\"model\":\"" MID "\",\"max_tokens\":5," HI_UP ",\"temperature\":0.2}", "dropped_top_p");
    asked_of(state, NEW, "{\"model\":\"m\"," HI ",\"max_tokens\":5,\"temperature\":0.2}",
             "{\"model\":\"" NEW "\",\"max_tokens\":5," HI_UP "}", "dropped_temperature");
}

static void the_version_of_2026_10_21_has_no_sampling(void **state)
{
    struct tr_target target = tr_kit_target("anthropic", OLD);
    target.version = STR("2026-10-21");
    asked(state, &target, "{\"model\":\"m\"," HI ",\"max_tokens\":5,\"temperature\":0.2}",
          "{\"model\":\"" OLD "\",\"max_tokens\":5," HI_UP "}", "dropped_temperature");
    target.version = STR("2023-06-01");
    asked(state, &target, "{\"model\":\"m\"," HI ",\"max_tokens\":5,\"temperature\":0.2}",
          "{\"model\":\"" OLD "\",\"max_tokens\":5," HI_UP ",\"temperature\":0.2}", "");
}

static void t13_two_answers_are_refused(void **state)
{
    struct tr_target target = tr_kit_target("anthropic", OLD);
    refused(state, &target, "{\"model\":\"m\"," HI ",\"n\":2}", "n");
    target.reject_unsupported = true;
    refused(state, &target, "{\"model\":\"m\"," HI ",\"seed\":2}", "seed");
}

static void t03_system_text_amid_the_dialogue_is_hoisted_in_order(void **state)
{
    asked_of(state, OLD,
             "{\"model\":\"m\",\"max_tokens\":5,\"messages\":[{\"role\":\"system\",\"content\":"
             "\"one\"},{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"developer\",\"content\":"
             "\"two\"},{\"role\":\"user\",\"content\":\"b\"}]}",
             "{\"model\":\"" OLD "\",\"max_tokens\":5,\"system\":[" TEXT_UP("one") "," TEXT_UP(
                 "two") "],\"messages\":[{\"role\":\"user\",\"content\":"
                        "[" TEXT_UP("a") "," TEXT_UP("b") "]}]}",
             "");
}

#define TWO_CALLS CALL("a", "{\\\"x\\\":1}") "," CALL("b", "")
#define TWO_USES  USE("a", "{\"x\":1}") "," USE("b", "{}")
#define TWO_BACK  RESULT_UP("a", "1") "," RESULT_UP("b", "2") "," TEXT_UP("go")

static void t01_t05_results_in_any_order_are_one_turn_after_their_calls(void **state)
{
    asked_of(
        state, OLD,
        "{\"model\":\"m\",\"max_tokens\":5,\"messages\":[{\"role\":\"user\",\"content\":\"q\"},"
        "{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[" TWO_CALLS
        "]}," RESULT("b", "2") "," RESULT("a", "1") ",{\"role\":\"user\",\"content\":\"go\"}]," TOOL
                                                    "}",
        "{\"model\":\"" OLD "\",\"max_tokens\":5," TOOL_UP ",\"messages\":[{\"role\":\"user\","
        "\"content\":[" TEXT_UP("q") "]},{\"role\":\"assistant\",\"content\":[" TWO_USES
                                     "]},{\"role\":\"user\",\"content\":[" TWO_BACK "]}]}",
        "");
}

static void t06_arguments_that_are_no_object_are_wrapped(void **state)
{
    asked_of(state, OLD,
             "{\"model\":\"m\",\"max_tokens\":5,\"messages\":[{\"role\":\"user\",\"content\":\"q\"}"
             ",{\"role\":\"assistant\",\"tool_calls\":[" CALL("a", "{oops") "]}," RESULT(
                 "a", "1") "]," TOOL "}",
             "{\"model\":\"" OLD "\",\"max_tokens\":5," TOOL_UP ",\"messages\":[{\"role\":\"user\","
             "\"content\":[" TEXT_UP("q") "]},{\"role\":\"assistant\",\"content\":[" USE(
                 "a", "{\"rawInvalidInput\":\"{oops\"}") "]},{\"role\":\"user\",\"content\":"
                                                         "[" RESULT_UP("a", "1") "]}]}",
             "");
}

static void a_result_that_is_missing_is_filled_in(void **state)
{
    struct tr_kit *kit = *state;
    struct tr_target target = tr_kit_target("anthropic", OLD);
    const char *body =
        "{\"model\":\"m\",\"max_tokens\":5,\"messages\":[{\"role\":\"user\",\"content\":\"q\"},"
        "{\"role\":\"assistant\",\"tool_calls\":[" CALL("a", "{}") "]},{\"role\":\"user\","
                                                                   "\"content\":\"go\"}]," TOOL "}";
    const char *up = tr_kit_asked(kit, DIALECT_OPENAI, body, DIALECT_ANTHROPIC, &target);
    assert_non_null(strstr(up, "{\"type\":\"tool_result\",\"tool_use_id\":\"a\",\"is_error\":true,"
                               "\"content\":\"no result\"}"));
    target.no_repair = true;
    tr_kit_reset(kit);
    assert_int_equal(tr_kit_ask(kit, DIALECT_OPENAI, body, DIALECT_ANTHROPIC, &target),
                     ERR_INVALID);
}

static void t19_ids_that_are_not_taken_or_come_twice_are_mapped(void **state)
{
    struct tr_kit *kit = *state;
    struct tr_target target = tr_kit_target("anthropic", OLD);
    const char *up = tr_kit_asked(
        kit, DIALECT_OPENAI,
        "{\"model\":\"m\",\"max_tokens\":5,\"messages\":[{\"role\":\"user\",\"content\":\"q\"},"
        "{\"role\":\"assistant\",\"tool_calls\":[" CALL("a:b", "{}") "]}," RESULT(
            "a:b", "1") ",{"
                        "\"role\":\"assistant\",\"tool_calls\":[" CALL("a:b", "{}") "]}," RESULT(
                            "a:b", "2") "]," TOOL "}",
        DIALECT_ANTHROPIC, &target);
    uint32_t messages = json_get(&kit->json, JSON_ROOT, STR("messages"));
    struct str ids[2];
    for (uint32_t i = 0; i < 2; i++) {
        uint32_t use = json_at(
            &kit->json,
            json_get(&kit->json, json_at(&kit->json, messages, 1 + 2 * i), STR("content")), 0);
        uint32_t result = json_at(
            &kit->json,
            json_get(&kit->json, json_at(&kit->json, messages, 2 + 2 * i), STR("content")), 0);
        ids[i] = json_plain(&kit->json, json_get(&kit->json, use, STR("id")));
        assert_true(
            json_string_is(&kit->json, json_get(&kit->json, result, STR("tool_use_id")), ids[i]));
    }
    assert_false(str_eq(ids[0], ids[1]));
    assert_null(strstr(up, "a:b"));
}

static void t21_no_tools_means_no_field_and_no_choice(void **state)
{
    asked_of(state, OLD,
             "{\"model\":\"m\"," HI ",\"max_tokens\":5,\"tools\":[],\"tool_choice\":\"auto\"}",
             "{\"model\":\"" OLD "\",\"max_tokens\":5," HI_UP "}", "");
}

static void choices_of_a_tool_have_their_words(void **state)
{
    static const struct {
        const char *said;
        const char *up;
    } rows[] = {
        {"\"tool_choice\":\"auto\"", ",\"tool_choice\":{\"type\":\"auto\"}"},
        {"\"tool_choice\":\"none\"", ",\"tool_choice\":{\"type\":\"none\"}"},
        {"\"tool_choice\":\"required\"", ",\"tool_choice\":{\"type\":\"any\"}"},
        {"\"tool_choice\":{\"type\":\"function\",\"function\":{\"name\":\"f\"}}",
         ",\"tool_choice\":{\"type\":\"tool\",\"name\":\"f\"}"},
        {"\"parallel_tool_calls\":false",
         ",\"tool_choice\":{\"type\":\"auto\",\"disable_parallel_tool_use\":true}"},
        {"\"parallel_tool_calls\":true", ""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char body[512], up[512];
        struct buf b = {.data = body, .cap = sizeof body, .max = sizeof body};
        struct buf u = {.data = up, .cap = sizeof up, .max = sizeof up};
        assert_int_equal(buf_printf(&b, "{\"model\":\"m\"," HI ",\"max_tokens\":5," TOOL ",%s}%c",
                                    rows[i].said, 0),
                         0);
        assert_int_equal(
            buf_printf(&u, "{\"model\":\"" OLD "\",\"max_tokens\":5," TOOL_UP "%s," HI_UP "}%c",
                       rows[i].up, 0),
            0);
        asked_of(state, OLD, body, up, "");
    }
}

static void a_tool_is_not_forced_of_who_reasons(void **state)
{
    asked_of(state, FIXED,
             "{\"model\":\"m\"," HI ",\"max_tokens\":5," TOOL ",\"tool_choice\":\"required\"}",
             "{\"model\":\"" FIXED "\",\"max_tokens\":5," TOOL_UP ",\"tool_choice\":{\"type\":"
             "\"auto\"}," HI_UP "}",
             "tool_choice_auto");
}

static void efforts_are_budgets_or_words_as_the_model_has_it(void **state)
{
    asked_of(state, MID, "{\"model\":\"m\"," HI ",\"reasoning_effort\":\"high\"}",
             "{\"model\":\"" MID "\",\"max_tokens\":64000," HI_UP
             ",\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":16384}}",
             "");
    asked_of(state, MID,
             "{\"model\":\"m\"," HI ",\"reasoning_effort\":\"high\",\"max_tokens\":3000}",
             "{\"model\":\"" MID "\",\"max_tokens\":3000," HI_UP
             ",\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":2999}}",
             "");
    asked_of(state, MID, "{\"model\":\"m\"," HI ",\"reasoning_effort\":\"low\",\"max_tokens\":500}",
             "{\"model\":\"" MID "\",\"max_tokens\":500," HI_UP "}", "dropped_reasoning_effort");
    asked_of(state, MID, "{\"model\":\"m\"," HI ",\"reasoning_effort\":\"none\",\"max_tokens\":5}",
             "{\"model\":\"" MID "\",\"max_tokens\":5," HI_UP
             ",\"thinking\":{\"type\":\"disabled\"}}",
             "");
    asked_of(state, NEW,
             "{\"model\":\"m\"," HI ",\"reasoning_effort\":\"minimal\",\"max_tokens\":5}",
             "{\"model\":\"" NEW "\",\"max_tokens\":5," HI_UP ",\"thinking\":{\"type\":\"adaptive\""
             "},\"output_config\":{\"effort\":\"low\"}}",
             "");
    asked_of(state, FIXED,
             "{\"model\":\"m\"," HI ",\"reasoning_effort\":\"none\",\"max_tokens\":5}",
             "{\"model\":\"" FIXED "\",\"max_tokens\":5," HI_UP
             ",\"output_config\":{\"effort\":\"low\"}}",
             "reasoning_not_off");
    asked_of(state, OLD, "{\"model\":\"m\"," HI ",\"reasoning_effort\":\"high\",\"max_tokens\":5}",
             "{\"model\":\"" OLD "\",\"max_tokens\":5," HI_UP "}", "dropped_reasoning_effort");
    asked_of(state, "something-else", "{\"model\":\"m\"," HI ",\"reasoning_effort\":\"low\"}",
             "{\"model\":\"something-else\",\"max_tokens\":6144," HI_UP
             ",\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":2048}}",
             "");
}

#define SCHEMA "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\"}}}"
#define FORMAT                                                                                     \
    "\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"n\","               \
    "\"schema\":" SCHEMA "}}"

static void t14_a_schema_goes_as_the_model_takes_it(void **state)
{
    struct tr_kit *kit = *state;
    struct tr_target target = tr_kit_target("anthropic", MID);
    const char *up =
        tr_kit_asked(kit, DIALECT_OPENAI, "{\"model\":\"m\"," HI ",\"max_tokens\":5," FORMAT "}",
                     DIALECT_ANTHROPIC, &target);
    assert_non_null(
        strstr(up, "\"output_config\":{\"format\":{\"type\":\"json_schema\",\"schema\":{"));
    assert_non_null(strstr(up, "\"additionalProperties\":false"));
    asked_of(state, OLD, "{\"model\":\"m\"," HI ",\"max_tokens\":5," FORMAT "}",
             "{\"model\":\"" OLD "\",\"max_tokens\":5,\"tools\":[{\"name\":\"json\","
             "\"input_schema\":" SCHEMA
             "}],\"tool_choice\":{\"type\":\"tool\",\"name\":\"json\"}," HI_UP "}",
             "");
    assert_true(kit->terms.answer_is_a_tool);
    target = tr_kit_target("anthropic", OLD);
    up = tr_kit_asked(kit, DIALECT_OPENAI,
                      "{\"model\":\"m\"," HI ",\"max_tokens\":5," TOOL "," FORMAT "}",
                      DIALECT_ANTHROPIC, &target);
    assert_non_null(strstr(up, "valid against this JSON schema"));
    assert_false(kit->terms.answer_is_a_tool);
    assert_string_equal(kit->notes, "format_in_words");
    up = tr_kit_asked(kit, DIALECT_OPENAI,
                      "{\"model\":\"m\"," HI ",\"max_tokens\":5,\"response_format\":{\"type\":"
                      "\"json_object\"}}",
                      DIALECT_ANTHROPIC, &target);
    assert_non_null(strstr(up, "\"system\":[{\"type\":\"text\",\"text\":\"Answer with one JSON"));
}

#define THINKING(signature)                                                                        \
    "\"thinking_blocks\":[{\"type\":\"thinking\",\"thinking\":\"hm\",\"signature\":\"" signature   \
    "\"}],"
#define LOOP(thinking)                                                                             \
    "{\"model\":\"m\",\"max_tokens\":5000,\"reasoning_effort\":\"low\",\"messages\":[{\"role\":"   \
    "\"user\",\"content\":\"q\"},{\"role\":\"assistant\"," thinking                                \
    "\"tool_calls\":[" CALL("a", "{}") "]}," RESULT("a", "1") "]," TOOL "}"

static void t07_signed_thinking_goes_back_to_its_vendor_alone(void **state)
{
    asked_of(state, MID, LOOP(THINKING("sy1.anthropic.c2ln")),
             "{\"model\":\"" MID "\",\"max_tokens\":5000," TOOL_UP ",\"messages\":[{\"role\":"
             "\"user\",\"content\":[" TEXT_UP(
                 "q") "]},{\"role\":\"assistant\",\"content\":[{"
                      "\"type\":\"thinking\",\"thinking\":\"hm\","
                      "\"signature\":\"c2ln\"}," USE(
                          "a", "{}") "]},{\"role\":\"user\",\"content\":"
                                     "[" RESULT_UP("a", "1") "]}],"
                                                             "\"thinking\":{\"type\":"
                                                             "\"enabled\",\"budget_"
                                                             "tokens\":2048}}",
             "");
}

#define LOOP_UNSIGNED                                                                              \
    "{\"model\":\"" MID "\",\"max_tokens\":5000," TOOL_UP ",\"messages\":[{\"role\":\"user\","     \
    "\"content\":[" TEXT_UP("q") "]},{\"role\":\"assistant\",\"content\":[" USE(                   \
        "a",                                                                                       \
        "{}") "]},{\"role\":\"user\",\"content\":[" RESULT_UP("a",                                 \
                                                              "1") "]}],\"thinking\":{\"type\":"   \
                                                                   "\"disabled\"}}"

static void t07_a_turn_that_lost_its_thinking_is_taken_without_any(void **state)
{
    struct tr_kit *kit = *state;
    struct tr_target target = tr_kit_target("anthropic", MID);
    static const char *const lost[] = {LOOP(""), LOOP(THINKING("sy1.gemini.c2ln")),
                                       LOOP(THINKING("")), LOOP("\"reasoning_content\":\"hm\",")};
    for (size_t i = 0; i < sizeof lost / sizeof lost[0]; i++) {
        assert_string_equal(tr_kit_asked(kit, DIALECT_OPENAI, lost[i], DIALECT_ANTHROPIC, &target),
                            LOOP_UNSIGNED);
        assert_non_null(strstr(kit->notes, "reasoning_off_unsigned"));
    }
}

#define PNG "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk"

static void t04_pictures_are_named_by_what_they_are(void **state)
{
    struct tr_target target = tr_kit_target("anthropic", OLD);
    asked_of(state, OLD,
             "{\"model\":\"m\",\"max_tokens\":5,\"messages\":[{\"role\":\"user\",\"content\":[{"
             "\"type\":\"image_url\",\"image_url\":{\"url\":\"data:image/jpeg;base64," PNG "\"}},{"
             "\"type\":\"image_url\",\"image_url\":{\"url\":\"https://x/y\"}},{\"type\":\"file\","
             "\"file\":{\"file_data\":\"data:application/pdf;base64,JVBERi0xLjQK\",\"filename\":"
             "\"a.pdf\"}}]}]}",
             "{\"model\":\"" OLD "\",\"max_tokens\":5,\"messages\":[{\"role\":\"user\",\"content\":"
             "[{\"type\":\"image\",\"source\":{\"type\":\"base64\",\"media_type\":\"image/png\","
             "\"data\":\"" PNG "\"}},{\"type\":\"image\",\"source\":{\"type\":\"url\",\"url\":"
             "\"https://x/y\"}},{\"type\":\"document\",\"source\":{\"type\":\"base64\","
             "\"media_type\":\"application/pdf\",\"data\":\"JVBERi0xLjQK\"},\"title\":\"a.pdf\"}]}"
             "]}",
             "");
    refused(state, &target,
            "{\"model\":\"m\",\"max_tokens\":5,\"messages\":[{\"role\":\"user\",\"content\":[{"
            "\"type\":\"input_audio\",\"input_audio\":{\"data\":\"UklGRg==\",\"format\":\"wav\"}}]}"
            "]}",
            "messages");
}

/* What is amid printing when a part of a result turns out to be none. */
static void t04_a_result_that_cannot_be_said_is_refused(void **state)
{
    struct tr_target target = tr_kit_target("anthropic", OLD);
    refused(
        state, &target,
        "{\"model\":\"m\",\"max_tokens\":5,\"messages\":[{\"role\":\"user\",\"content\":\"q\"},{"
        "\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":\"i\",\"type\":"
        "\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}]},{\"role\":\"tool\","
        "\"tool_call_id\":\"i\",\"content\":[{\"type\":\"text\",\"text\":\"a\"},{\"type\":"
        "\"image_url\",\"image_url\":{\"url\":\"data:image/bmp;base64,QUJD\"}},{\"type\":\"text\","
        "\"text\":\"b\"}]}],\"stream\":true}",
        "messages");
}

static void a_last_turn_of_the_assistant_is_for_models_that_continue_it(void **state)
{
    struct tr_target target = tr_kit_target("anthropic", NEW);
    const char *body = "{\"model\":\"m\",\"max_tokens\":5,\"messages\":[{\"role\":\"user\","
                       "\"content\":\"q\"},{\"role\":\"assistant\",\"content\":\"The  \"}]}";
    refused(state, &target, body, "messages");
    asked_of(state, OLD, body,
             "{\"model\":\"" OLD "\",\"max_tokens\":5,\"messages\":[{\"role\":\"user\",\"content\":"
             "[" TEXT_UP("q") "]},{\"role\":\"assistant\",\"content\":[" TEXT_UP("The") "]}]}",
             "");
}

#define MARK(ttl)          "\"cache_control\":{\"type\":\"ephemeral\"" ttl "}"
#define MARKED(text, mark) "{\"type\":\"text\",\"text\":\"" text "\"," mark "}"

static void at_most_four_marks_go_and_the_earliest_is_left_out(void **state)
{
    asked_of(
        state, OLD,
        "{\"model\":\"m\",\"max_tokens\":5,\"messages\":[{\"role\":\"system\",\"content\":"
        "[" MARKED("s", MARK("")) "]},{\"role\":\"user\",\"content\":[" MARKED(
            "a",
            MARK(
                ",\"ttl\":\"1h\"")) "," MARKED("b",
                                               MARK(
                                                   "")) "," MARKED("c",
                                                                   MARK(
                                                                       "")) "," MARKED("d",
                                                                                       MARK(
                                                                                           "")) "]}"
                                                                                                "]"
                                                                                                "}",
        "{\"model\":\"" OLD "\",\"max_tokens\":5,\"system\":[" TEXT_UP(
            "s") "],\"messages\":[{"
                 "\"role\":\"user\",\"content\":[" MARKED("a", MARK(",\"ttl\":\"1h\"")) "," MARKED(
                     "b", MARK("")) "," MARKED("c", MARK("")) "," MARKED("d", MARK("")) "]}]}",
        "dropped_cache_control");
}

static void on_vertex_the_model_stands_in_the_path(void **state)
{
    struct tr_kit *kit = *state;
    struct tr_target target = tr_kit_target("vertex-anthropic", OLD);
    const struct tr_provider_dialect *d = tr_provider_find(DIALECT_ANTHROPIC);
    asked(state, &target, "{\"model\":\"m\"," HI ",\"max_tokens\":5,\"stream\":true}",
          "{\"anthropic_version\":\"vertex-2023-10-16\",\"max_tokens\":5," HI_UP
          ",\"stream\":true}",
          "");
    tr_kit_reset(kit);
    assert_int_equal(d->print_path(&target, true, &kit->out), 0);
    assert_string_equal(tr_kit_out(kit), "/models/" OLD ":streamRawPredict");
    tr_kit_reset(kit);
    target = tr_kit_target("anthropic", OLD);
    assert_int_equal(d->print_path(&target, true, &kit->out), 0);
    assert_string_equal(tr_kit_out(kit), "/v1/messages");
}

static void every_failed_allocation_is_told(void **state)
{
    tr_kit_ask_starved(state, DIALECT_OPENAI, LOOP(THINKING("sy1.anthropic.c2ln")), "anthropic",
                       MID);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, tr_kit_setup, tr_kit_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(t15_max_tokens_that_is_absent_is_the_models_most),
        TEST(parameters_have_their_names_and_bounds),
        TEST(the_version_of_2026_10_21_has_no_sampling),
        TEST(t13_two_answers_are_refused),
        TEST(t03_system_text_amid_the_dialogue_is_hoisted_in_order),
        TEST(t01_t05_results_in_any_order_are_one_turn_after_their_calls),
        TEST(t06_arguments_that_are_no_object_are_wrapped),
        TEST(a_result_that_is_missing_is_filled_in),
        TEST(t19_ids_that_are_not_taken_or_come_twice_are_mapped),
        TEST(t21_no_tools_means_no_field_and_no_choice),
        TEST(choices_of_a_tool_have_their_words),
        TEST(a_tool_is_not_forced_of_who_reasons),
        TEST(efforts_are_budgets_or_words_as_the_model_has_it),
        TEST(t14_a_schema_goes_as_the_model_takes_it),
        TEST(t07_signed_thinking_goes_back_to_its_vendor_alone),
        TEST(t07_a_turn_that_lost_its_thinking_is_taken_without_any),
        TEST(t04_pictures_are_named_by_what_they_are),
        TEST(t04_a_result_that_cannot_be_said_is_refused),
        TEST(a_last_turn_of_the_assistant_is_for_models_that_continue_it),
        TEST(at_most_four_marks_go_and_the_earliest_is_left_out),
        TEST(on_vertex_the_model_stands_in_the_path),
        TEST(every_failed_allocation_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
