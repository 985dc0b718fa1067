/* What a request wishes, source by source: what is read, what is refused and under which path. */
#include "dataplane/request/wishes.h"

#include <string.h>

#include "common/base/buf.h"
#include "tests/lib/fault.h"

static struct arena_pool pool;
static struct arena arena;
static struct json json;
static struct wishes w;
static struct wishes_refusal refusal;

static int setup(void **state)
{
    (void)state;
    arena_pool_init(&pool, 4);
    arena_init(&arena, &pool, 1U << 20);
    json_init(&json, JSON_NODES_MAX);
    wishes_init(&w);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    json_deinit(&json);
    arena_reset(&arena);
    arena_pool_deinit(&pool);
    return 0;
}

static int models(const char *text)
{
    return wishes_read_models(&json, str_from(text), &arena, &w, &refusal);
}

static int provider(const char *text)
{
    return wishes_read_provider(&json, str_from(text), &arena, &w, &refusal);
}

static int preferences(const char *text)
{
    return wishes_read_preferences(&json, str_from(text), "modelPreferences", &arena, &w, &refusal);
}

static void assert_str(struct str s, const char *text)
{
    assert_int_equal(s.len, strlen(text));
    assert_memory_equal(s.data, text, s.len);
}

static void assert_refused(int rc, const char *param)
{
    assert_int_equal(rc, ERR_INVALID);
    assert_str(refusal.param, param);
}

static void a_list_of_models_keeps_its_order(void **state)
{
    (void)state;
    assert_int_equal(models("[\"a\", \"b/\\u0063\"]"), 0);
    assert_int_equal(w.target_count, 2);
    assert_str(w.targets[0].model, "a");
    assert_str(w.targets[1].model, "b/c");
    assert_str(w.targets[1].path, "models[1]");
}

static void a_list_of_models_that_is_none_is_refused_by_its_path(void **state)
{
    (void)state;
    assert_refused(models("\"a\""), "models");
    assert_refused(models("[\"a\", 1]"), "models[1]");
    assert_refused(models("[\"\"]"), "models[0]");
    assert_refused(models("[\"a\\n\"]"), "models[0]");
    char many[33 * 4 + 2];
    struct buf text = {.data = many, .cap = sizeof many, .max = sizeof many};
    for (int i = 0; i < 33; i++)
        assert_int_equal(buf_append_text(&text, i == 0 ? "[\"a\"" : ",\"a\""), 0);
    assert_int_equal(buf_append(&text, "]", 2), 0);
    wishes_init(&w);
    assert_refused(models(many), "models[32]");
}

static void all_of_openrouters_provider_object_is_read(void **state)
{
    (void)state;
    assert_int_equal(
        provider(
            "{\"order\":[\"anthropic\",\"Amazon Bedrock\"],\"only\":[\"x\"],\"ignore\":[\"y\"],"
            "\"allow_fallbacks\":false,\"sort\":\"price\",\"require_parameters\":true,"
            "\"data_collection\":\"deny\",\"quantizations\":[\"fp8\"],"
            "\"max_price\":{\"prompt\":1,\"completion\":\"2.5\",\"request\":0.01}}"),
        0);
    assert_int_equal(w.order.count, 2);
    assert_str(w.order.names[1], "Amazon Bedrock");
    assert_str(w.only.names[0], "x");
    assert_str(w.ignore.names[0], "y");
    assert_true(w.no_fallbacks && w.require_parameters && w.data == REQUIRE_NOT_COLLECTED);
    assert_int_equal(w.sort, WISHES_SORT_PRICE);
    assert_int_equal(w.max_input, 1000000000);
    assert_int_equal(w.max_output, 2500000000);
    assert_int_equal(w.max_cost_nanousd, 10000000);
    assert_int_equal(w.ignored, WISHES_IGNORED_QUANTIZATIONS);
}

static void a_sort_may_be_an_object(void **state)
{
    (void)state;
    assert_int_equal(provider("{\"sort\":{\"by\":\"throughput\",\"partition\":\"none\"}}"), 0);
    assert_int_equal(w.sort, WISHES_SORT_THROUGHPUT);
    assert_int_equal(provider("{\"sort\":null,\"zdr\":true}"), 0);
    assert_int_equal(w.data, REQUIRE_NOT_KEPT);
}

static void b46_a_malformed_preference_of_providers_is_refused_by_its_path(void **state)
{
    (void)state;
    static const struct {
        const char *text, *param;
    } cases[] = {
        {"[]", "provider"},
        {"{", "provider"},
        {"{\"order\":\"a\"}", "provider.order"},
        {"{\"only\":[1]}", "provider.only[0]"},
        {"{\"allow_fallbacks\":\"no\"}", "provider.allow_fallbacks"},
        {"{\"sort\":\"best\"}", "provider.sort"},
        {"{\"sort\":{\"by\":\"best\"}}", "provider.sort.by"},
        {"{\"max_price\":{\"prompt\":-1}}", "provider.max_price.prompt"},
        {"{\"max_price\":{\"prompt\":\"dear\"}}", "provider.max_price.prompt"},
        {"{\"max_price\":{\"tokens\":1}}", "provider.max_price.tokens"},
        {"{\"data_collection\":\"maybe\"}", "provider.data_collection"},
        {"{\"region\":\"eu\"}", "provider.region"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_refused(provider(cases[i].text), cases[i].param);
}

static void what_is_too_long_is_refused_unread(void **state)
{
    (void)state;
    static char text[WISHES_BYTES_MAX + 2];
    memset(text, ' ', sizeof text - 1);
    assert_refused(provider(text), "provider");
}

static void usage_asks_for_the_cost(void **state)
{
    (void)state;
    assert_int_equal(wishes_read_usage(&json, STR("{\"include\":true}"), &arena, &w, &refusal), 0);
    assert_true(w.include_cost);
    assert_refused(wishes_read_usage(&json, STR("{\"include\":1}"), &arena, &w, &refusal),
                   "usage.include");
    assert_int_equal(wishes_read_route(&json, STR("\"fallback\""), &arena, &w, &refusal), 0);
    assert_refused(wishes_read_route(&json, STR("\"x\""), &arena, &w, &refusal), "route");
}

static void priorities_of_mcp_become_a_place_and_a_weight(void **state)
{
    (void)state;
    assert_int_equal(preferences("{\"hints\":[{\"name\":\"sonnet\"},{\"name\":\"claude\"}],"
                                 "\"costPriority\":0.3,\"intelligencePriority\":0.9,"
                                 "\"speedPriority\":0.5}"),
                     0);
    assert_int_equal(w.position, 75);
    assert_int_equal(w.speed_q16, 32768);
    assert_str(w.hints.names[1], "claude");
    wishes_init(&w);
    assert_int_equal(preferences("{\"costPriority\":1}"), 0);
    assert_int_equal(w.position, 0);
    wishes_init(&w);
    assert_int_equal(preferences("{}"), 0);
    assert_int_equal(w.position, -1);
    assert_refused(preferences("{\"costPriority\":1.5}"), "modelPreferences.costPriority");
    assert_refused(preferences("{\"hints\":[{\"name\":3}]}"), "modelPreferences.hints[0].name");
}

static void metadata_become_tags(void **state)
{
    (void)state;
    struct str tags[2];
    uint32_t count;
    assert_int_equal(wishes_read_metadata(&json, STR("{\"env\":\"prod\",\"_user\":\"u 1\"}"),
                                          &arena, tags, 2, &count, &refusal),
                     0);
    assert_int_equal(count, 2);
    assert_str(tags[0], "env=prod");
    assert_str(tags[1], "_user=u 1");
    assert_int_equal(wishes_read_metadata(&json, STR("{\"a\":\"1\",\"b\":\"2\",\"c\":\"3\"}"),
                                          &arena, tags, 2, &count, &refusal),
                     ERR_INVALID);
    assert_int_equal(
        wishes_read_metadata(&json, STR("{\"a\":1}"), &arena, tags, 2, &count, &refusal),
        ERR_INVALID);
}

static void suffixes_are_wishes(void **state)
{
    (void)state;
    struct str name;
    assert_true(wishes_read_suffix(STR("a/b:floor"), &w, &name));
    assert_str(name, "a/b");
    assert_int_equal(w.sort, WISHES_SORT_PRICE);
    assert_true(wishes_read_suffix(STR("a:nitro"), &w, &name));
    assert_int_equal(w.sort, WISHES_SORT_THROUGHPUT);
    assert_false(wishes_read_suffix(STR(":floor"), &w, &name));
    assert_false(wishes_read_suffix(STR("a:free"), &w, &name));
}

static void a_routers_name_has_a_threshold(void **state)
{
    (void)state;
    struct str name;
    assert_true(wishes_read_router(STR("router-mf-0.11593"), &w, &name));
    assert_str(name, "mf");
    assert_int_equal(w.threshold_q16, 7598);
    assert_true(wishes_read_router(STR("router-my-route-1"), &w, &name));
    assert_str(name, "my-route");
    assert_int_equal(w.threshold_q16, 65536);
    assert_false(wishes_read_router(STR("router-mf"), &w, &name));
    assert_false(wishes_read_router(STR("router--0.1"), &w, &name));
    assert_false(wishes_read_router(STR("router-mf-1.5"), &w, &name));
    assert_false(wishes_read_router(STR("router-mf-x"), &w, &name));
}

static void a_provider_is_found_by_name_type_or_title(void **state)
{
    (void)state;
    struct str mine = STR("mine"), type = STR("bedrock"), title = STR("Amazon Bedrock");
    assert_true(wishes_names_provider(STR("Mine"), mine, type, title));
    assert_true(wishes_names_provider(STR("amazon-bedrock"), mine, type, title));
    assert_true(wishes_names_provider(STR("Bedrock/eu"), mine, type, title));
    assert_true(wishes_names_provider(STR("amazon-bedrock"), mine, type, STR_NULL));
    assert_false(wishes_names_provider(STR("bed"), mine, type, title));
    assert_false(wishes_names_provider(STR("-"), mine, type, STR_NULL));
    assert_false(wishes_names_provider(STR("/"), mine, type, STR_NULL));
}

int main(void)
{
#define T(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(a_list_of_models_keeps_its_order),
        T(a_list_of_models_that_is_none_is_refused_by_its_path),
        T(all_of_openrouters_provider_object_is_read),
        T(a_sort_may_be_an_object),
        T(b46_a_malformed_preference_of_providers_is_refused_by_its_path),
        T(what_is_too_long_is_refused_unread),
        T(usage_asks_for_the_cost),
        T(priorities_of_mcp_become_a_place_and_a_weight),
        T(metadata_become_tags),
        T(suffixes_are_wishes),
        T(a_routers_name_has_a_threshold),
        T(a_provider_is_found_by_name_type_or_title),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
