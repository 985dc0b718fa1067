#include "common/hosts/hosts.h"

#include <string.h>

#include "tests/lib/fault.h"

static void each_host_is_found_by_its_name_and_the_table_is_sorted(void **state)
{
    (void)state;
    assert_true(host_count() >= 35);
    for (size_t i = 0; i < host_count(); i++) {
        const struct host *h = host_at(i);
        assert_ptr_equal(host_find(h->name), h);
        assert_true(h->title.len > 0);
        if (i > 0)
            assert_true(str_compare(host_at(i - 1)->name, h->name) < 0);
    }
    assert_null(host_at(host_count()));
    assert_null(host_find(STR("nobody")));
    assert_null(host_find(STR("")));
    assert_null(host_find(STR("OpenAI")));
}

static void addresses_begin_with_a_scheme_and_end_without_a_slash(void **state)
{
    (void)state;
    for (size_t i = 0; i < host_count(); i++) {
        const struct host *h = host_at(i);
        if (h->base_url.len == 0)
            continue;
        struct str scheme = h->local ? STR("http://127.0.0.1:") : STR("https://");
        assert_true(str_starts(h->base_url, scheme));
        assert_int_not_equal(h->base_url.data[h->base_url.len - 1], '/');
    }
}

static void a_host_that_needs_no_key_names_none(void **state)
{
    (void)state;
    for (size_t i = 0; i < host_count(); i++) {
        const struct host *h = host_at(i);
        if (h->auth == HOST_AUTH_NONE) {
            assert_true(h->local);
            assert_int_equal(h->env.len, 0);
        }
    }
}

static void the_names_that_people_know_are_there(void **state)
{
    (void)state;
    static const char *const names[] = {
        "openai",    "azure",      "anthropic", "gemini",   "vertex",     "bedrock",
        "cohere",    "openrouter", "groq",      "mistral",  "deepseek",   "xai",
        "together",  "fireworks",  "ollama",    "vllm",     "perplexity", "cerebras",
        "nvidia",    "deepinfra",  "moonshot",  "zai",      "alibaba",    "minimax",
        "novita",    "nebius",     "sglang",    "llamacpp", "lmstudio",   "github-models",
        "sambanova", "cloudflare", "litellm",   "portkey",  "huggingface"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (host_find(str_from(names[i])) == NULL)
            fail_msg("no host %s", names[i]);
}

static void requests_of_the_responses_dialect_stay_so_where_they_can(void **state)
{
    (void)state;
    const struct host *openai = host_find(STR("openai"));
    const struct host *together = host_find(STR("together"));
    const struct host *anthropic = host_find(STR("anthropic"));
    assert_int_equal(host_dialect_for(openai, DIALECT_RESPONSES), DIALECT_RESPONSES);
    assert_int_equal(host_dialect_for(openai, DIALECT_OPENAI), DIALECT_OPENAI);
    assert_int_equal(host_dialect_for(openai, DIALECT_ANTHROPIC), DIALECT_OPENAI);
    assert_int_equal(host_dialect_for(together, DIALECT_RESPONSES), DIALECT_OPENAI);
    assert_int_equal(host_dialect_for(anthropic, DIALECT_ANTHROPIC), DIALECT_ANTHROPIC);
    assert_int_equal(host_dialect_for(anthropic, DIALECT_RESPONSES), DIALECT_ANTHROPIC);
}

static void models_that_have_no_chat_completions_are_asked_for_responses(void **state)
{
    (void)state;
    static const char *const alone[] = {"gpt-5-codex", "gpt-5.1-codex-max", "codex-mini-latest",
                                        "gpt-5-pro",   "o1-pro-2025-03-19", "o3-deep-research"};
    static const char *const others[] = {"gpt-5", "gpt-4o", "o3", "sonar-pro", "qwen-codex", ""};
    const struct host *openai = host_find(STR("openai"));
    const struct host *router = host_find(STR("openrouter"));
    for (size_t i = 0; i < sizeof alone / sizeof alone[0]; i++) {
        struct str model = str_from(alone[i]);
        assert_int_equal(host_dialect_for_model(openai, DIALECT_OPENAI, model), DIALECT_RESPONSES);
        assert_int_equal(host_dialect_for_model(openai, DIALECT_ANTHROPIC, model),
                         DIALECT_RESPONSES);
        assert_int_equal(host_dialect_for_model(router, DIALECT_OPENAI, model), DIALECT_OPENAI);
    }
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        assert_int_equal(host_dialect_for_model(openai, DIALECT_OPENAI, str_from(others[i])),
                         DIALECT_OPENAI);
}

static void addresses_of_clouds_follow_from_region_and_project(void **state)
{
    static const struct {
        const char *type, *region, *project, *address;
        int rc;
    } rows[] = {
        {"vertex", "europe-west1", "p-1",
         "https://europe-west1-aiplatform.googleapis.com/v1/projects/p-1/locations/europe-west1",
         0},
        {"vertex", "", "example.com:p",
         "https://aiplatform.googleapis.com/v1/projects/example.com:p/locations/global", 0},
        {"vertex", "eu", "p", "https://aiplatform.eu.rep.googleapis.com/v1/projects/p/locations/eu",
         0},
        {"vertex-anthropic", "us-east5", "p",
         "https://us-east5-aiplatform.googleapis.com/v1/projects/p/locations/us-east5/publishers/"
         "anthropic",
         0},
        {"bedrock", "us-east-1", "", "https://bedrock-runtime.us-east-1.amazonaws.com", 0},
        {"bedrock", "", "", "", ERR_INVALID},
        {"vertex", "us", "", "", ERR_INVALID},
        {"vertex", "us", "a/b", "", ERR_INVALID},
        {"vertex", "us.evil", "p", "", ERR_INVALID},
        {"azure", "us", "p", "", ERR_UNSUPPORTED},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char room[256];
        struct buf out = {.data = room, .cap = sizeof room, .max = sizeof room};
        assert_int_equal(host_address(host_find(str_from(rows[i].type)), str_from(rows[i].region),
                                      str_from(rows[i].project), &out),
                         rows[i].rc);
        assert_true(str_is(buf_str(&out), rows[i].address));
        out = (struct buf){.data = room, .cap = 20, .max = 20};
        if (rows[i].rc == 0)
            assert_int_equal(host_address(host_find(str_from(rows[i].type)),
                                          str_from(rows[i].region), str_from(rows[i].project),
                                          &out),
                             ERR_TOO_LARGE);
        assert_int_equal(out.len, 0);
    }
}

static void dialects_have_names(void **state)
{
    (void)state;
    for (int d = 0; d < DIALECTS; d++)
        for (int e = 0; e < d; e++)
            assert_string_not_equal(dialect_name((enum dialect)d), dialect_name((enum dialect)e));
    assert_string_equal(dialect_name(DIALECT_GEMINI), "gemini");
    assert_string_equal(dialect_name(DIALECTS), "");
}

static void a_profile_of_bedrock_runs_in_its_area(void **state)
{
    (void)state;
    static const struct {
        const char *type, *region, *model, *runs_in;
    } rows[] = {
        {"bedrock", "eu-west-1", "eu.anthropic.claude-x", "eu"},
        {"bedrock", "us-east-1", "global.anthropic.claude-x", "global"},
        {"bedrock", "us-gov-west-1", "us-gov.anthropic.claude-x", "us-gov"},
        {"bedrock", "eu-west-1", "amazon.nova-lite-v1:0", "eu-west-1"},
        {"bedrock", "eu-west-1", "arn:aws:bedrock:eu-west-1:1:inference-profile/x", ""},
        {"bedrock", "eu-west-1", "plain", "eu-west-1"},
        {"vertex", "europe-west4", "eu.x", "europe-west4"},
        {"openai", "", "gpt", ""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct str runs = host_region(host_find(str_from(rows[i].type)),
                                            str_from(rows[i].region), str_from(rows[i].model));
        if (!str_is(runs, rows[i].runs_in))
            fail_msg("%s: %.*s", rows[i].model, STR_ARG(runs));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_host_is_found_by_its_name_and_the_table_is_sorted),
        cmocka_unit_test(addresses_begin_with_a_scheme_and_end_without_a_slash),
        cmocka_unit_test(a_host_that_needs_no_key_names_none),
        cmocka_unit_test(the_names_that_people_know_are_there),
        cmocka_unit_test(requests_of_the_responses_dialect_stay_so_where_they_can),
        cmocka_unit_test(models_that_have_no_chat_completions_are_asked_for_responses),
        cmocka_unit_test(addresses_of_clouds_follow_from_region_and_project),
        cmocka_unit_test(a_profile_of_bedrock_runs_in_its_area),
        cmocka_unit_test(dialects_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
