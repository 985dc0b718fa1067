/* Requests for hosts of chat completions. What is asked here by a caller of the same dialect never
 * goes this way in earnest, but says the neutral form best. */
#include <stdio.h>
#include <string.h>

#include "dataplane/translate/notes.h"
#include "tests/unit/dataplane/translate/tr_kit.h"

#define HI "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]"

static const char *asked_of(struct tr_kit *kit, const struct tr_target *target, const char *body)
{
    return tr_kit_asked(kit, DIALECT_OPENAI, body, DIALECT_OPENAI, target);
}

static const char *asked(void **state, const char *host, const char *model, const char *body)
{
    struct tr_target target = tr_kit_target(host, model);
    return asked_of(*state, &target, body);
}

static void refused(void **state, const char *host, const char *model, const char *body,
                    const char *param)
{
    struct tr_kit *kit = *state;
    struct tr_target target = tr_kit_target(host, model);
    tr_kit_reset(kit);
    assert_int_equal(tr_kit_ask(kit, DIALECT_OPENAI, body, DIALECT_OPENAI, &target), ERR_INVALID);
    assert_true(str_is(kit->refusal.param, param));
    assert_int_equal(kit->out.len, 0);
}

static const char *notes(void **state)
{
    return ((struct tr_kit *)*state)->notes;
}

static void a_plain_request_is_plain(void **state)
{
    assert_string_equal(asked(state, "openai", "gpt-4o", "{\"model\":\"m\"," HI "}"),
                        "{\"model\":\"gpt-4o\"," HI "}");
    assert_string_equal(notes(state), "");
}

static void a_stream_asks_for_its_usage_where_the_host_takes_that(void **state)
{
    assert_string_equal(asked(state, "groq", "llama-4", "{\"model\":\"m\",\"stream\":true," HI "}"),
                        "{\"model\":\"llama-4\"," HI
                        ",\"stream\":true,\"stream_options\":{\"include_usage\":true}}");
    assert_string_equal(
        asked(state, "mistral", "mistral-large", "{\"model\":\"m\",\"stream\":true," HI "}"),
        "{\"model\":\"mistral-large\"," HI ",\"stream\":true}");
}

#define ALL                                                                                        \
    HI ",\"max_tokens\":100,\"temperature\":0.5,\"top_p\":0.9,\"top_k\":3,\"seed\":7,\"n\":2,"     \
       "\"stop\":[\"a\",\"b\",\"c\",\"d\",\"e\"],\"frequency_penalty\":1,"                         \
       "\"presence_penalty\":-0.5,\"logprobs\":true,\"user\":\"u\",\"metadata\":{\"k\":\"v\"},"    \
       "\"service_tier\":\"flex\",\"prompt_cache_key\":\"ck\",\"verbosity\":\"low\","              \
       "\"reasoning_effort\":\"xhigh\",\"logit_bias\":{}"

static void every_parameter_goes_where_it_is_taken(void **state)
{
    assert_string_equal(
        asked(state, "openai", "gpt-4o", "{\"model\":\"m\"," ALL "}"),
        "{\"model\":\"gpt-4o\"," HI
        ",\"max_completion_tokens\":100,\"seed\":7,\"n\":2,\"stop\":[\"a\",\"b\",\"c\",\"d\"],"
        "\"temperature\":0.5,\"top_p\":0.9,\"frequency_penalty\":1,\"presence_penalty\":-0.5,"
        "\"safety_identifier\":\"u\",\"prompt_cache_key\":\"ck\",\"service_tier\":\"flex\","
        "\"metadata\":{\"k\":\"v\"}}");
    assert_string_equal(notes(state), "dropped_logit_bias, clipped_stop, dropped_top_k, "
                                      "dropped_logprobs, dropped_reasoning_effort, "
                                      "dropped_verbosity");
}

static void reasoning_models_are_not_given_what_they_refuse(void **state)
{
    assert_string_equal(
        asked(state, "openai", "gpt-5", "{\"model\":\"m\"," ALL "}"),
        "{\"model\":\"gpt-5\"," HI
        ",\"max_completion_tokens\":100,\"seed\":7,\"n\":2,\"stop\":[\"a\",\"b\",\"c\",\"d\"],"
        "\"reasoning_effort\":\"high\",\"verbosity\":\"low\",\"safety_identifier\":\"u\","
        "\"prompt_cache_key\":\"ck\",\"service_tier\":\"flex\",\"metadata\":{\"k\":\"v\"}}");
    assert_non_null(strstr(notes(state), "dropped_temperature"));
    assert_non_null(strstr(notes(state), "clipped_reasoning_effort"));
    assert_string_equal(asked(state, "openai", "gpt-5.1",
                              "{\"model\":\"m\"," HI
                              ",\"temperature\":1,\"presence_penalty\":1,\"reasoning_effort\":"
                              "\"none\"}"),
                        "{\"model\":\"gpt-5.1\"," HI
                        ",\"temperature\":1,\"reasoning_effort\":\"none\"}");
    assert_string_equal(notes(state), "dropped_presence_penalty");
}

static void strict_hosts_are_given_less(void **state)
{
    assert_string_equal(
        asked(state, "mistral", "mistral-large", "{\"model\":\"m\"," ALL "}"),
        "{\"model\":\"mistral-large\"," HI
        ",\"max_tokens\":100,\"random_seed\":7,\"n\":2,\"stop\":[\"a\",\"b\",\"c\",\"d\"],"
        "\"temperature\":0.5,\"top_p\":0.9,\"frequency_penalty\":1,\"presence_penalty\":-0.5}");
    assert_non_null(strstr(notes(state), "dropped_user"));
    assert_non_null(strstr(notes(state), "dropped_metadata"));
    assert_non_null(strstr(notes(state), "dropped_service_tier"));
}

static void what_is_not_supported_is_refused_where_that_is_wanted(void **state)
{
    struct tr_kit *kit = *state;
    struct tr_target target = tr_kit_target("openai", "gpt-4o");
    target.reject_unsupported = true;
    assert_int_equal(tr_kit_ask(kit, DIALECT_OPENAI, "{\"model\":\"m\"," HI ",\"top_k\":3}",
                                DIALECT_OPENAI, &target),
                     ERR_INVALID);
    assert_true(str_is(kit->refusal.param, "top_k"));
}

static void limits_are_the_models_and_the_budgets(void **state)
{
    struct tr_target target = tr_kit_target("ollama", "llama");
    target.max_output = 50;
    assert_string_equal(asked_of(*state, &target, "{\"model\":\"m\"," HI ",\"max_tokens\":90}"),
                        "{\"model\":\"llama\"," HI ",\"max_tokens\":50}");
    assert_string_equal(notes(state), "clipped_max_tokens");
    target.clamp_output = 20;
    assert_string_equal(asked_of(*state, &target, "{\"model\":\"m\"," HI ",\"max_tokens\":40}"),
                        "{\"model\":\"llama\"," HI ",\"max_tokens\":20}");
    assert_string_equal(asked_of(*state, &target, "{\"model\":\"m\"," HI "}"),
                        "{\"model\":\"llama\"," HI ",\"max_tokens\":20}");
}

static void t15_no_limit_is_no_limit(void **state)
{
    assert_string_equal(asked(state, "openai", "o3", "{\"model\":\"m\"," HI "}"),
                        "{\"model\":\"o3\"," HI "}");
}

static void long_identities_go_as_their_hash(void **state)
{
    const char *out = asked(state, "openai", "gpt-4o",
                            "{\"model\":\"m\"," HI
                            ",\"user\":\"0123456789012345678901234567890123456789012345678901234567"
                            "89012345\"}");
    const char *hash = strstr(out, "\"safety_identifier\":\"");
    assert_non_null(hash);
    assert_int_equal(strspn(hash + 21, "0123456789abcdef"), 64);
}

static void t03_system_texts_are_one_message_in_front(void **state)
{
    static const char body[] =
        "{\"model\":\"m\",\"messages\":[{\"role\":\"system\",\"content\":\"one\"},{\"role\":"
        "\"user\",\"content\":\"hi\"},{\"role\":\"developer\",\"content\":\"two\"}]}";
    assert_string_equal(asked(state, "openai", "gpt-4o", body),
                        "{\"model\":\"gpt-4o\",\"messages\":[{\"role\":\"system\",\"content\":"
                        "\"one\\n\\ntwo\"},{\"role\":\"user\",\"content\":\"hi\"}]}");
    assert_non_null(
        strstr(asked(state, "openai", "o3", body), "{\"role\":\"developer\",\"content\":\"one"));
}

#define CALLS                                                                                      \
    "{\"role\":\"user\",\"content\":\"x\"},{\"role\":\"assistant\",\"content\":null,"              \
    "\"tool_calls\":[{\"id\":\"call_1\",\"type\":\"function\",\"function\":{\"name\":\"f\","       \
    "\"arguments\":\"\"}},{\"id\":\"call_2\",\"type\":\"function\",\"function\":{\"name\":\"g\","  \
    "\"arguments\":\"{\\\"a\\\":1}\"}}]}"
#define CALLS_OUT                                                                                  \
    "{\"role\":\"user\",\"content\":\"x\"},{\"role\":\"assistant\",\"content\":null,"              \
    "\"tool_calls\":[{\"id\":\"call_1\",\"type\":\"function\",\"function\":{\"name\":\"f\","       \
    "\"arguments\":\"{}\"}},{\"id\":\"call_2\",\"type\":\"function\",\"function\":{\"name\":"      \
    "\"g\",\"arguments\":\"{\\\"a\\\":1}\"}}]}"

static void t01_results_stand_in_the_order_of_their_calls(void **state)
{
    assert_string_equal(
        asked(state, "openai", "gpt-4o",
              "{\"model\":\"m\",\"messages\":[" CALLS
              ",{\"role\":\"tool\",\"tool_call_id\":\"call_2\",\"content\":\"two\"},"
              "{\"role\":\"tool\",\"tool_call_id\":\"call_1\",\"content\":\"one\"}]}"),
        "{\"model\":\"gpt-4o\",\"messages\":[" CALLS_OUT
        ",{\"role\":\"tool\",\"content\":\"one\",\"tool_call_id\":\"call_1\"},"
        "{\"role\":\"tool\",\"content\":\"two\",\"tool_call_id\":\"call_2\"}]}");
}

static void t04_pictures_of_results_follow_as_a_users_message(void **state)
{
    assert_string_equal(
        asked(state, "openai", "gpt-4o",
              "{\"model\":\"m\",\"messages\":[" CALLS
              ",{\"role\":\"tool\",\"tool_call_id\":\"call_1\",\"content\":[{\"type\":\"text\","
              "\"text\":\"a\"},{\"type\":\"text\",\"text\":\"b\"},{\"type\":\"image_url\","
              "\"image_url\":{\"url\":\"https://x/y.png\"}}]},"
              "{\"role\":\"tool\",\"tool_call_id\":\"call_2\",\"content\":\"two\"}]}"),
        "{\"model\":\"gpt-4o\",\"messages\":[" CALLS_OUT
        ",{\"role\":\"tool\",\"content\":\"a\\n\\nb\",\"tool_call_id\":\"call_1\"},"
        "{\"role\":\"tool\",\"content\":\"two\",\"tool_call_id\":\"call_2\"},"
        "{\"role\":\"user\",\"content\":[{\"type\":\"image_url\",\"image_url\":{\"url\":"
        "\"https://x/y.png\"}}]}]}");
}

static void a_missing_result_is_filled_in(void **state)
{
    const char *out =
        asked(state, "openai", "gpt-4o",
              "{\"model\":\"m\",\"messages\":[" CALLS
              ",{\"role\":\"tool\",\"tool_call_id\":\"call_1\",\"content\":\"one\"}]}");
    assert_non_null(
        strstr(out, "{\"role\":\"tool\",\"content\":\"no result\",\"tool_call_id\":\"call_2\"}"));
    assert_string_equal(notes(state), "filled_result");
}

static void ids_for_mistral_are_nine_characters_and_agree(void **state)
{
    const char *out =
        asked(state, "mistral", "mistral-large",
              "{\"model\":\"m\",\"messages\":[" CALLS
              ",{\"role\":\"tool\",\"tool_call_id\":\"call_1\",\"content\":\"one\"},"
              "{\"role\":\"tool\",\"tool_call_id\":\"call_2\",\"content\":\"two\"}]}");
    const char *id = strstr(out, "\"id\":\"");
    assert_non_null(id);
    assert_int_equal(strcspn(id + 6, "\""), 9);
    const char *result = strstr(out, "\"content\":\"one\",\"tool_call_id\":\"");
    assert_non_null(result);
    assert_memory_equal(result + 32, id + 6, 9);
    assert_null(strstr(out, "call_1"));
}

#define TOOLS                                                                                      \
    "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"description\":\"d\","        \
    "\"parameters\":{\"type\":\"object\"},\"strict\":true}},{\"type\":\"function\",\"function\":{" \
    "\"name\":\"g\"}}]"
#define F_OUT                                                                                      \
    "{\"type\":\"function\",\"function\":{\"name\":\"f\",\"description\":\"d\",\"parameters\":{"   \
    "\"type\":\"object\"},\"strict\":true}}"
#define G_OUT                                                                                      \
    "{\"type\":\"function\",\"function\":{\"name\":\"g\",\"parameters\":{\"type\":\"object\","     \
    "\"properties\":{}}}}"

static void tools_and_choices_are_printed(void **state)
{
    static const struct {
        const char *in, *out;
    } choices[] = {
        {"\"auto\"", "\"auto\""},
        {"\"none\"", "\"none\""},
        {"\"required\"", "\"required\""},
        {"{\"type\":\"function\",\"function\":{\"name\":\"g\"}}",
         "{\"type\":\"function\",\"function\":{\"name\":\"g\"}}"},
    };
    char in[1024], out[1024];
    for (size_t i = 0; i < sizeof choices / sizeof choices[0]; i++) {
        (void)snprintf(in, sizeof in,
                       "{\"model\":\"m\"," HI "," TOOLS
                       ",\"tool_choice\":%s,\"parallel_tool_calls\":false}",
                       choices[i].in);
        (void)snprintf(out, sizeof out,
                       "{\"model\":\"gpt-4o\"," HI ",\"tools\":[" F_OUT "," G_OUT
                       "],\"tool_choice\":%s,\"parallel_tool_calls\":false}",
                       choices[i].out);
        assert_string_equal(asked(state, "openai", "gpt-4o", in), out);
    }
}

static void mistral_has_any_and_no_named_tool(void **state)
{
    assert_string_equal(asked(state, "mistral", "mistral-large",
                              "{\"model\":\"m\"," HI "," TOOLS ",\"tool_choice\":\"required\"}"),
                        "{\"model\":\"mistral-large\"," HI ",\"tools\":[" F_OUT "," G_OUT
                        "],\"tool_choice\":\"any\"}");
    assert_string_equal(asked(state, "mistral", "mistral-large",
                              "{\"model\":\"m\"," HI "," TOOLS
                              ",\"tool_choice\":{\"type\":\"function\",\"function\":{\"name\":"
                              "\"g\"}}}"),
                        "{\"model\":\"mistral-large\"," HI ",\"tools\":[" G_OUT
                        "],\"tool_choice\":\"any\"}");
}

static void one_call_is_kept_where_one_cannot_be_asked_for(void **state)
{
    struct tr_kit *kit = *state;
    const char *out = asked(state, "deepseek", "deepseek-chat",
                            "{\"model\":\"m\"," HI "," TOOLS ",\"parallel_tool_calls\":false}");
    assert_null(strstr(out, "parallel"));
    assert_true(kit->terms.first_call_only);
    assert_string_equal(notes(state), "first_call_only");
}

static void t21_no_tools_and_no_choice_without_tools(void **state)
{
    assert_string_equal(asked(state, "openai", "gpt-4o",
                              "{\"model\":\"m\"," HI ",\"tools\":[],\"tool_choice\":\"auto\","
                              "\"parallel_tool_calls\":false}"),
                        "{\"model\":\"gpt-4o\"," HI "}");
}

static void a_choice_of_no_tool_there_is_is_refused(void **state)
{
    refused(state, "openai", "gpt-4o",
            "{\"model\":\"m\"," HI "," TOOLS
            ",\"tool_choice\":{\"type\":\"function\",\"function\":{\"name\":\"h\"}}}",
            "tool_choice");
}

#define SCHEMA                                                                                     \
    ",\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"n\",\"schema\":{"  \
    "\"type\":\"object\"},\"strict\":true}}"

static void formats_are_printed(void **state)
{
    assert_string_equal(asked(state, "openai", "gpt-4o", "{\"model\":\"m\"," HI SCHEMA "}"),
                        "{\"model\":\"gpt-4o\"," HI SCHEMA "}");
    assert_string_equal(
        asked(state, "openai", "gpt-4o",
              "{\"model\":\"m\"," HI ",\"response_format\":{\"type\":\"json_object\"}}"),
        "{\"model\":\"gpt-4o\"," HI ",\"response_format\":{\"type\":\"json_object\"}}");
}

static void t14_a_schema_goes_as_text_where_there_is_none(void **state)
{
    assert_string_equal(
        asked(state, "deepseek", "deepseek-chat", "{\"model\":\"m\"," HI SCHEMA "}"),
        "{\"model\":\"deepseek-chat\",\"messages\":[{\"role\":\"system\",\"content\":\"Answer with "
        "one JSON object that fits this JSON schema, and nothing else:\\n{\\\"type\\\":"
        "\\\"object\\\"}\"},{\"role\":\"user\",\"content\":\"hi\"}],"
        "\"response_format\":{\"type\":\"json_object\"}}");
    assert_string_equal(notes(state), "schema_as_text");
}

static void parts_of_all_kinds_are_printed(void **state)
{
    assert_string_equal(
        asked(state, "openai", "gpt-4o",
              "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":["
              "{\"type\":\"text\",\"text\":\"look\"},"
              "{\"type\":\"image_url\",\"image_url\":{\"url\":\"https://x/i.png\",\"detail\":"
              "\"low\"}},"
              "{\"type\":\"image_url\",\"image_url\":{\"url\":"
              "\"data:image/jpeg;base64,iVBORw0KGgoAAAANSUhEUg==\"}},"
              "{\"type\":\"file\",\"file\":{\"file_data\":\"data:application/pdf;base64,"
              "JVBERi0xLjcK\"}},"
              "{\"type\":\"file\",\"file\":{\"filename\":\"a.txt\",\"file_data\":"
              "\"data:text/plain;base64,aGVsbG8=\"}},"
              "{\"type\":\"input_audio\",\"input_audio\":{\"data\":\"AAAA\",\"format\":"
              "\"mp3\"}}]}]}"),
        "{\"model\":\"gpt-4o\",\"messages\":[{\"role\":\"user\",\"content\":["
        "{\"type\":\"text\",\"text\":\"look\"},"
        "{\"type\":\"image_url\",\"image_url\":{\"url\":\"https://x/i.png\",\"detail\":\"low\"}},"
        "{\"type\":\"image_url\",\"image_url\":{\"url\":"
        "\"data:image/png;base64,iVBORw0KGgoAAAANSUhEUg==\"}},"
        "{\"type\":\"file\",\"file\":{\"filename\":\"file.pdf\",\"file_data\":"
        "\"data:application/pdf;base64,JVBERi0xLjcK\"}},"
        "{\"type\":\"text\",\"text\":\"hello\"},"
        "{\"type\":\"input_audio\",\"input_audio\":{\"data\":\"AAAA\",\"format\":\"mp3\"}}]}]}");
}

static void a_file_by_its_address_is_refused(void **state)
{
    refused(state, "openai", "gpt-4o",
            "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"file\","
            "\"file\":{\"file_data\":\"https://x/a.pdf\"}}]}]}",
            "messages");
}

#define PREFILL                                                                                    \
    "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"x\"},{\"role\":"              \
    "\"assistant\",\"content\":\"so\"}]}"

static void a_prefill_goes_to_who_goes_on_from_it(void **state)
{
    assert_non_null(strstr(asked(state, "mistral", "mistral-large", PREFILL),
                           "{\"role\":\"assistant\",\"content\":\"so\",\"prefix\":true}"));
    refused(state, "openai", "gpt-4o", PREFILL, "messages");
}

static void refusals_are_apart_or_what_was_said(void **state)
{
    static const char body[] =
        "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"x\"},{\"role\":"
        "\"assistant\",\"refusal\":\"no\"},{\"role\":\"user\",\"content\":\"y\"}]}";
    assert_non_null(strstr(asked(state, "openai", "gpt-4o", body),
                           "{\"role\":\"assistant\",\"content\":null,\"refusal\":\"no\"}"));
    assert_non_null(
        strstr(asked(state, "groq", "llama", body), "{\"role\":\"assistant\",\"content\":\"no\"}"));
}

#define THOUGHT                                                                                    \
    "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"x\"},{\"role\":"              \
    "\"assistant\",\"content\":\"a\",\"reasoning_content\":\"old\"},{\"role\":\"user\","           \
    "\"content\":\"y\"},{\"role\":\"assistant\",\"content\":null,\"reasoning_content\":\"new\","   \
    "\"tool_calls\":[{\"id\":\"c\",\"type\":\"function\",\"function\":{\"name\":\"f\","            \
    "\"arguments\":\"{}\"}}]},{\"role\":\"tool\",\"tool_call_id\":\"c\",\"content\":\"1\"}]}"

static void t07_reasoning_goes_back_to_who_wants_it_alone(void **state)
{
    assert_null(strstr(asked(state, "openai", "gpt-4o", THOUGHT), "reasoning"));
    const char *out = asked(state, "deepseek", "deepseek-reasoner", THOUGHT);
    assert_null(strstr(out, "old"));
    assert_non_null(strstr(out, "\"content\":null,\"reasoning_content\":\"new\",\"tool_calls\""));
    out = asked(state, "deepseek", "deepseek-v4", THOUGHT);
    assert_non_null(strstr(out, "\"content\":\"a\",\"reasoning_content\":\"old\"}"));
    assert_non_null(strstr(out, "\"reasoning_content\":\"new\""));
    assert_non_null(strstr(asked(state, "deepseek", "deepseek-v4",
                                 "{\"model\":\"m\",\"messages\":[{\"role\":\"assistant\","
                                 "\"content\":\"a\"},{\"role\":\"user\",\"content\":\"x\"}]}"),
                           "\"content\":\"a\",\"reasoning_content\":\"\"}"));
}

static void names_that_a_host_refuses_are_changed(void **state)
{
    const char *out =
        asked(state, "openai", "gpt-4o",
              "{\"model\":\"m\"," HI ",\"tools\":[{\"type\":\"function\",\"function\":{\"name\":"
              "\"a.b c\"}}],\"tool_choice\":{\"type\":\"function\",\"function\":{\"name\":"
              "\"a.b c\"}}}");
    assert_non_null(strstr(out, "\"name\":\"a_b_c\",\"parameters\""));
    assert_non_null(strstr(out, "\"function\":{\"name\":\"a_b_c\"}}"));
    assert_string_equal(notes(state), "renamed_tool");
}

static void gemini_behind_this_dialect_has_its_first_call_signed(void **state)
{
    const char *out =
        asked(state, "openrouter", "google/gemini-3-pro",
              "{\"model\":\"m\",\"messages\":[" CALLS
              ",{\"role\":\"tool\",\"tool_call_id\":\"call_2\",\"content\":\"two\"},"
              "{\"role\":\"tool\",\"tool_call_id\":\"call_1\",\"content\":\"one\"}]}");
    assert_non_null(strstr(out,
                           "\"name\":\"f\",\"arguments\":\"{}\"},\"extra_content\":{\"google\":{"
                           "\"thought_signature\":\"skip_thought_signature_validator\"}}}"));
    assert_non_null(strstr(out, "\"name\":\"g\",\"arguments\":\"{\\\"a\\\":1}\"}}]"));
}

static void paths_are_azures_or_the_usual(void **state)
{
    static const struct {
        const char *host, *model, *version, *path;
    } cases[] = {
        {"openai", "gpt-4o", "2024-10-21", "/chat/completions"},
        {"azure", "gpt-4o", "", "/openai/v1/chat/completions"},
        {"azure", "gpt-4o", "v1", "/openai/v1/chat/completions"},
        {"azure", "my dep/1", "2024-10-21",
         "/openai/deployments/my%20dep%2F1/chat/completions?api-version=2024-10-21"},
    };
    struct tr_kit *kit = *state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct tr_target target = tr_kit_target(cases[i].host, cases[i].model);
        target.version = str_from(cases[i].version);
        buf_clear(&kit->out);
        assert_int_equal(tr_provider_find(DIALECT_OPENAI)->print_path(&target, true, &kit->out), 0);
        assert_string_equal(tr_kit_out(kit), cases[i].path);
    }
}

static void asking_survives_each_failed_allocation(void **state)
{
    tr_kit_ask_starved(state, DIALECT_OPENAI,
                       "{\"model\":\"m\",\"messages\":[" CALLS
                       ",{\"role\":\"tool\",\"tool_call_id\":\"call_1\",\"content\":["
                       "{\"type\":\"text\",\"text\":\"a\"},{\"type\":\"text\",\"text\":"
                       "\"b\"}]}],\"tools\":[{\"type\":\"function\",\"function\":{\"name\":"
                       "\"a.b\"}}]" SCHEMA "}",
                       "mistral", "mistral-large");
}

#define T(name) cmocka_unit_test_setup_teardown(name, tr_kit_setup, tr_kit_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_plain_request_is_plain),
        T(a_stream_asks_for_its_usage_where_the_host_takes_that),
        T(every_parameter_goes_where_it_is_taken),
        T(reasoning_models_are_not_given_what_they_refuse),
        T(strict_hosts_are_given_less),
        T(what_is_not_supported_is_refused_where_that_is_wanted),
        T(limits_are_the_models_and_the_budgets),
        T(t15_no_limit_is_no_limit),
        T(long_identities_go_as_their_hash),
        T(t03_system_texts_are_one_message_in_front),
        T(t01_results_stand_in_the_order_of_their_calls),
        T(t04_pictures_of_results_follow_as_a_users_message),
        T(a_missing_result_is_filled_in),
        T(ids_for_mistral_are_nine_characters_and_agree),
        T(tools_and_choices_are_printed),
        T(mistral_has_any_and_no_named_tool),
        T(one_call_is_kept_where_one_cannot_be_asked_for),
        T(t21_no_tools_and_no_choice_without_tools),
        T(a_choice_of_no_tool_there_is_is_refused),
        T(formats_are_printed),
        T(t14_a_schema_goes_as_text_where_there_is_none),
        T(parts_of_all_kinds_are_printed),
        T(a_file_by_its_address_is_refused),
        T(a_prefill_goes_to_who_goes_on_from_it),
        T(refusals_are_apart_or_what_was_said),
        T(t07_reasoning_goes_back_to_who_wants_it_alone),
        T(names_that_a_host_refuses_are_changed),
        T(gemini_behind_this_dialect_has_its_first_call_signed),
        T(paths_are_azures_or_the_usual),
        T(asking_survives_each_failed_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
