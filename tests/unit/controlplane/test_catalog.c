#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "controlplane/catalog/builtin.h"
#include "controlplane/catalog/compare.h"
#include "controlplane/catalog/lint.h"
#include "controlplane/catalog/read.h"
#include "controlplane/catalog/vendors.h"
#include "tests/lib/fault.h"

#define EXTRACTS STEELYARD_SOURCE_DIR "/../shared/catalog/"

static void read_ok(const char *text, enum catalog_format expected, struct catalog_rows *t)
{
    struct err err = {0};
    enum catalog_format format = CATALOG_AUTO;
    catalog_rows_init(t);
    int rc = catalog_read(str_from(text), CATALOG_AUTO, t, &format, &err);
    if (rc != 0)
        fail_msg("%s", err.message);
    assert_int_equal(format, expected);
}

static const struct catalog_row *row_of(const struct catalog_rows *t, const char *provider,
                                        const char *model)
{
    const struct catalog_row *row = catalog_rows_find(t, str_from(provider), str_from(model));
    assert_non_null(row);
    return row;
}

static void assert_skipped(const struct catalog_rows *t, const char *name, const char *reason)
{
    for (size_t i = 0; i < t->skip_count; i++) {
        if (str_is(t->skips[i].name, name)) {
            if (str_search(t->skips[i].reason, str_from(reason)) < 0)
                fail_msg("%s: %.*s", name, STR_ARG(t->skips[i].reason));
            return;
        }
    }
    fail_msg("%s was not skipped", name);
}

/* --- rates ---------------------------------------------------------------------------------------
 */

static void decimal_text_becomes_an_exact_rate(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        unsigned per;
        int64_t rate;
    } good[] = {
        {"0.075", 6, 75000000},
        {"2", 6, 2000000000},
        {"2.50", 6, 2500000000},
        {"100", 6, 100000000000},
        {"0", 6, 0},
        {"0.000", 0, 0},
        {"1e-06", 0, 1000000000},
        {"1.25e-6", 0, 1250000000},
        {"1.25E-06", 0, 1250000000},
        {"0.00000015", 0, 150000000},
        {"7.5e-8", 0, 75000000},
        {"1e-15", 0, 1},
        {"0.000000001", 6, 1},
        {"1000000", 6, PRICE_RATE_MAX},
        {"1e6", 6, PRICE_RATE_MAX},
        {"10.0e5", 6, PRICE_RATE_MAX},
        {"0.0000000000000000000000000000000000000000", 6, 0},
        {"0e-99", 0, 0},
    };
    static const struct {
        const char *text;
        unsigned per;
        int rc;
    } bad[] = {
        {"", 6, ERR_SYNTAX},
        {".5", 6, ERR_SYNTAX},
        {"5.", 6, ERR_SYNTAX},
        {"1,5", 6, ERR_SYNTAX},
        {"0x1", 6, ERR_SYNTAX},
        {"1e", 6, ERR_SYNTAX},
        {"1e-", 6, ERR_SYNTAX},
        {"1e100", 6, ERR_SYNTAX},
        {"NaN", 6, ERR_SYNTAX},
        {"1.2.3", 6, ERR_SYNTAX},
        {" 1", 6, ERR_SYNTAX},
        {"--1", 6, ERR_SYNTAX},
        {"-1", 6, ERR_RANGE},
        {"1000000.1", 6, ERR_RANGE},
        {"1e-16", 0, ERR_RANGE},
        {"0.0000000001", 6, ERR_RANGE},
        {"2.9999999999999997e-06", 0, ERR_RANGE},
        {"1e99", 6, ERR_RANGE},
        {"99999999999999999999999999", 6, ERR_RANGE},
    };
    int64_t rate;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        rate = -7;
        if (catalog_rate(str_from(good[i].text), good[i].per, &rate) != 0 || rate != good[i].rate)
            fail_msg("%s: %lld", good[i].text, (long long)rate);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        rate = -7;
        if (catalog_rate(str_from(bad[i].text), bad[i].per, &rate) != bad[i].rc || rate != -7)
            fail_msg("%s", bad[i].text);
    }
}

static void rates_written_are_read_back(void **state)
{
    (void)state;
    char text[32];
    uint64_t seed = 17;
    for (unsigned i = 0; i < 20000; i++) {
        int64_t rate = -7, again = (int64_t)(seed >> (14 + i % 50)) % (PRICE_RATE_MAX + 1);
        seed = seed * 6364136223846793005U + 1442695040888963407U;
        assert_int_equal(catalog_rate(str_from(catalog_rate_text(again, text)), 6, &rate), 0);
        assert_int_equal(rate, again);
    }
    assert_string_equal(catalog_rate_text(PRICE_UNKNOWN, text), "");
    assert_string_equal(catalog_rate_text(75000000, text), "0.075");
    assert_string_equal(catalog_rate_text(3000000000, text), "3");
}

static void tiers_written_are_read_back(void **state)
{
    (void)state;
    struct buf text = {0};
    struct price p = {.base = {1, 2, 3, 4, 5, 6}, .tier_count = 2}, again = {.base = p.base};
    p.tiers[0] = (struct price_tier){128000, {7, 8, -1, 10, -1, 12}};
    p.tiers[1] = (struct price_tier){200000, PRICE_RATES_UNKNOWN};
    buf_init(&text, 1000);
    assert_int_equal(catalog_tiers_write(&p, &text), 0);
    assert_true(str_is(buf_str(&text), "128000:7:8::10::12;200000::::::"));
    assert_int_equal(catalog_tiers_read(buf_str(&text), &again), 0);
    assert_true(catalog_price_equal(&p, &again));
    static const char *const bad[] = {"1",          "1:2:3",
                                      ";",          "1:1:1:1:1:1:1;",
                                      "x:::::::",   "1:-2:::::",
                                      "0::::::",    "5::::::;5::::::",
                                      "1:::::::::", "99999999999999999999::::::"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (catalog_tiers_read(str_from(bad[i]), &again) != ERR_SYNTAX)
            fail_msg("%s", bad[i]);
    }
    assert_true(catalog_price_equal(&p, &again));
    assert_int_equal(catalog_tiers_read(STR(""), &again), 0);
    assert_int_equal(again.tier_count, 0);
    buf_deinit(&text);
}

/* --- readers -------------------------------------------------------------------------------------
 */

static const char modelsdev[] =
    "{\"google\":{\"id\":\"google\",\"npm\":\"@ai-sdk/google\",\"name\":\"Google\",\"models\":{"
    "\"gemini-2.5-pro\":{\"id\":\"gemini-2.5-pro\",\"tool_call\":true,\"reasoning\":true,"
    "\"structured_output\":true,\"release_date\":\"2025-06-17\","
    "\"modalities\":{\"input\":[\"text\",\"image\"],\"output\":[\"text\"]},"
    "\"cost\":{\"input\":1.25,\"output\":10,\"cache_read\":0.125,\"input_audio\":9,"
    "\"context_over_200k\":{\"input\":2.5,\"output\":15,\"cache_read\":0.25}},"
    "\"limit\":{\"context\":1048576,\"output\":65536}},"
    "\"tiered\":{\"cost\":{\"input\":1,\"output\":2,\"reasoning\":9,\"tiers\":["
    "{\"tier\":{\"type\":\"context\",\"size\":32000},\"input\":3},"
    "{\"tier\":{\"type\":\"context\",\"size\":128000},\"input\":4,\"output\":5}],"
    "\"context_over_200k\":{\"input\":99,\"output\":99}}},"
    "\"no-cost\":{\"id\":\"no-cost\"},"
    "\"half\":{\"cost\":{\"input\":1}},"
    "\"negative\":{\"cost\":{\"input\":-1,\"output\":2}},"
    "\"fine\":{\"cost\":{\"input\":1e-12,\"output\":2}},"
    "\"words\":{\"cost\":{\"input\":\"1\",\"output\":2}},"
    "\"odd-tier\":{\"cost\":{\"input\":1,\"output\":2,\"tiers\":[{\"input\":1}]}},"
    "\"free\":{\"cost\":{\"input\":0,\"output\":0}}}},"
    "\"empty\":{\"models\":{}},\"broken\":{}}";

static void models_dev_is_read_with_tiers_limits_and_capabilities(void **state)
{
    (void)state;
    struct catalog_rows t;
    read_ok(modelsdev, CATALOG_MODELSDEV, &t);
    const struct catalog_row *r = row_of(&t, "google", "gemini-2.5-pro");
    assert_int_equal(r->price.base.input, 1250000000);
    assert_int_equal(r->price.base.output, 10000000000);
    assert_int_equal(r->price.base.cached_read, 125000000);
    assert_int_equal(r->price.base.cache_write, PRICE_UNKNOWN);
    assert_int_equal(r->price.tier_count, 1);
    assert_int_equal(r->price.tiers[0].above, 200000);
    assert_int_equal(r->price.tiers[0].rates.output, 15000000000);
    assert_int_equal(r->context, 1048576);
    assert_int_equal(r->max_output, 65536);
    assert_int_equal(r->can, CATALOG_TOOLS | CATALOG_IMAGES | CATALOG_JSON | CATALOG_STREAM |
                                 CATALOG_REASONING);
    assert_true(str_is(r->released, "2025-06-17"));
    r = row_of(&t, "google", "tiered"); /* Its own tiers, not the summary beside them. */
    assert_int_equal(r->price.tier_count, 2);
    assert_int_equal(r->price.tiers[0].rates.input, 3000000000);
    assert_int_equal(r->price.tiers[0].rates.output, 2000000000);
    assert_int_equal(r->price.tiers[0].rates.reasoning, 9000000000);
    assert_int_equal(r->price.tiers[1].above, 128000);
    assert_int_equal(row_of(&t, "google", "free")->price.base.output, 0);
    assert_int_equal(t.count, 3);
    catalog_rows_deinit(&t);
}

static void every_row_that_cannot_be_taken_has_a_reason(void **state)
{
    (void)state;
    struct catalog_rows t;
    read_ok(modelsdev, CATALOG_MODELSDEV, &t);
    assert_skipped(&t, "google/no-cost", "no price");
    assert_skipped(&t, "google/half", "no price for input and output");
    assert_skipped(&t, "google/negative", "cost.input");
    assert_skipped(&t, "google/fine", "cost.input");
    assert_skipped(&t, "google/words", "cost.input");
    assert_skipped(&t, "google/odd-tier", "cost.tiers");
    assert_skipped(&t, "broken/", "without models");
    assert_int_equal(t.skip_count, 7);
    catalog_rows_deinit(&t);
}

static const char litellm[] =
    "{\"sample_spec\":{\"litellm_provider\":\"one of ...\",\"input_cost_per_token\":0},"
    "\"claude-x\":{\"litellm_provider\":\"anthropic\",\"mode\":\"chat\","
    "\"input_cost_per_token\":3e-06,\"output_cost_per_token\":1.5e-05,"
    "\"cache_read_input_token_cost\":3e-07,\"cache_creation_input_token_cost\":3.75e-06,"
    "\"cache_creation_input_token_cost_above_1hr\":6e-06,"
    "\"input_cost_per_token_above_200k_tokens\":6e-06,"
    "\"output_cost_per_token_above_200k_tokens\":2.25e-05,"
    "\"cache_creation_input_token_cost_above_1hr_above_200k_tokens\":1.2e-05,"
    "\"max_input_tokens\":200000,\"max_output_tokens\":64000,"
    "\"supports_function_calling\":true,\"supports_vision\":true},"
    "\"gemini/gemini-y\":{\"litellm_provider\":\"gemini\",\"mode\":\"chat\","
    "\"input_cost_per_token\":\"1e-06\",\"output_cost_per_token\":2e-06,"
    "\"output_cost_per_reasoning_token\":4e-06},"
    "\"gemini-y\":{\"litellm_provider\":\"gemini\",\"mode\":\"chat\","
    "\"input_cost_per_token\":1e-06,\"output_cost_per_token\":2e-06,"
    "\"output_cost_per_reasoning_token\":4e-06},"
    "\"groq/openai/gpt-oss\":{\"litellm_provider\":\"groq\",\"input_cost_per_token\":1e-07,"
    "\"output_cost_per_token\":2e-07},"
    "\"dashscope/qwen\":{\"litellm_provider\":\"dashscope\",\"mode\":\"chat\",\"tiered_pricing\":["
    "{\"range\":[0,32000],\"input_cost_per_token\":1e-06,\"output_cost_per_token\":2e-06},"
    "{\"range\":[32000.0,128e3],\"input_cost_per_token\":3e-06,\"output_cost_per_token\":4e-06}]},"
    "\"vertex_ai/claude-x\":{\"litellm_provider\":\"vertex_ai-anthropic_models\","
    "\"input_cost_per_token\":1e-06,\"output_cost_per_token\":2e-06},"
    "\"dall-e\":{\"litellm_provider\":\"openai\",\"mode\":\"image_generation\","
    "\"input_cost_per_pixel\":1e-08,\"output_cost_per_pixel\":0},"
    "\"rounded\":{\"litellm_provider\":\"openai\",\"input_cost_per_token\":2.9999999999999997e-06,"
    "\"output_cost_per_token\":1e-06},"
    "\"openai/twice\":{\"litellm_provider\":\"openai\",\"input_cost_per_token\":1e-06,"
    "\"output_cost_per_token\":1e-06},"
    "\"twice\":{\"litellm_provider\":\"openai\",\"input_cost_per_token\":2e-06,"
    "\"output_cost_per_token\":1e-06},"
    "\"nobody\":{\"input_cost_per_token\":1e-06}}";

static void litellm_is_read_by_token_with_its_names_made_ours(void **state)
{
    (void)state;
    struct catalog_rows t;
    read_ok(litellm, CATALOG_LITELLM, &t);
    const struct catalog_row *r = row_of(&t, "anthropic", "claude-x");
    assert_int_equal(r->price.base.input, 3000000000);
    assert_int_equal(r->price.base.cache_write, 3750000000);
    assert_int_equal(r->price.base.cache_write_1h, 6000000000);
    assert_int_equal(r->price.tier_count, 1);
    assert_int_equal(r->price.tiers[0].rates.input, 6000000000);
    assert_int_equal(r->price.tiers[0].rates.cache_write_1h, 12000000000);
    assert_int_equal(r->max_output, 64000);
    assert_int_equal(r->can, CATALOG_TOOLS | CATALOG_IMAGES);
    assert_int_equal(row_of(&t, "google", "gemini-y")->price.base.reasoning, 4000000000);
    assert_int_equal(row_of(&t, "groq", "openai/gpt-oss")->price.base.input, 100000000);
    r = row_of(&t, "alibaba", "qwen");
    assert_int_equal(r->price.base.input, 1000000000);
    assert_int_equal(r->price.tiers[0].above, 32000);
    assert_int_equal(r->price.tiers[0].rates.output, 4000000000);
    (void)row_of(&t, "google-vertex-anthropic", "claude-x");
    assert_int_equal(row_of(&t, "openai", "twice")->price.base.input, 1000000000);
    assert_skipped(&t, "openai/dall-e", "not priced by tokens");
    assert_skipped(&t, "openai/rounded", "exactly");
    assert_skipped(&t, "openai/twice", "named twice with different prices");
    assert_skipped(&t, "nobody", "no litellm_provider");
    assert_int_equal(t.skip_count, 4);
    assert_int_equal(t.count, 6);
    catalog_rows_deinit(&t);
}

static void tables_with_a_header_are_read_by_the_names_of_columns(void **state)
{
    (void)state;
    struct catalog_rows t;
    read_ok("# facts\nmodel,\"provider\",price_out,price_in,extra,price_tiers\r\n"
            "m1,p,2,1,\"a, \"\"b\"\"\",200000:3/4/0.5/;300000:5/6//\r\n"
            "\"m,2\",p,2,0.5,,\n"
            "\nm3,p,,1,,\nm4,p,x,1,,\nm5,p,1,1,,200000\n\"m6,p\n",
            CATALOG_CSV, &t);
    const struct catalog_row *r = row_of(&t, "p", "m1");
    assert_int_equal(r->price.base.input, 1000000000);
    assert_int_equal(r->price.tier_count, 2);
    assert_int_equal(r->price.tiers[0].rates.cached_read, 500000000);
    assert_int_equal(r->price.tiers[1].rates.input, 5000000000);
    (void)row_of(&t, "p", "m,2");
    assert_int_equal(t.count, 2);
    assert_skipped(&t, "p/m3", "no price");
    assert_skipped(&t, "p/m4", "price_out");
    assert_skipped(&t, "p/m5", "price_tiers");
    assert_skipped(&t, "\"m6,p", "line 9");
    catalog_rows_deinit(&t);
    read_ok(
        "litellm_provider,model,price_in,price_out,tier_threshold,price_in_tier,price_out_tier\n"
        "gemini,gemini/g,1,2,200k,3,\n",
        CATALOG_CSV, &t);
    r = row_of(&t, "google", "g");
    assert_int_equal(r->price.tiers[0].above, 200000);
    assert_int_equal(r->price.tiers[0].rates.input, 3000000000);
    assert_int_equal(r->price.tiers[0].rates.output, 2000000000);
    catalog_rows_deinit(&t);
}

static void a_file_that_is_something_else_is_refused_with_a_line(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *says;
    } files[] = {
        {"", "empty"},
        {"# nothing\n", "empty"},
        {"a,b\n", "first line has to name"},
        {"{}", "neither"},
        {"{\"a\":1}", "neither"},
        {"{\"a\":{\"models\":{}},\n\"a\":{}}", "line 2"},
        {"{\"a\":\n{\"models\":\n", "line 3"},
        {"{\"a\":{\"models\":{}}} x", "line 1"},
    };
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        struct catalog_rows t;
        struct err err = {0};
        catalog_rows_init(&t);
        int rc = catalog_read(str_from(files[i].text), CATALOG_AUTO, &t, NULL, &err);
        if (rc != ERR_SYNTAX || strstr(err.message, files[i].says) == NULL)
            fail_msg("file %zu: %d %s", i, rc, err.message);
        catalog_rows_deinit(&t);
    }
}

static void names_that_cannot_be_shown_or_stored_are_skipped(void **state)
{
    (void)state;
    struct catalog_rows t;
    char text[400];
    snprintf(text, sizeof text,
             "provider,model,price_in,price_out\n,m,1,1\np,,1,1\np,a\tb,1,1\np,%0130d,1,1\n"
             "p,\xff,1,1\n",
             7);
    read_ok(text, CATALOG_CSV, &t);
    assert_int_equal(t.count, 0);
    assert_int_equal(t.skip_count, 5);
    assert_skipped(&t, "p/a?b", "not printable");
    assert_skipped(&t, "p/?", "not printable");
    catalog_rows_deinit(&t);
}

static void reading_survives_each_failed_allocation(void **state)
{
    (void)state;
    static const char *const texts[] = {
        modelsdev, litellm, "provider,model,price_in,price_out\np,\"m\",1,2\np,n,x,2\n"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        bool fired = true;
        for (unsigned n = 0; fired; n++) {
            struct catalog_rows t;
            struct err err = {0};
            catalog_rows_init(&t);
            fault_arm_alloc(n);
            int rc = catalog_read(str_from(texts[i]), CATALOG_AUTO, &t, NULL, &err);
            fired = fault_disarm();
            assert_int_equal(rc, fired ? ERR_NOMEM : 0);
            catalog_rows_deinit(&t);
        }
    }
}

/* --- lint, comparison, the shipped table ---------------------------------------------------------
 */

static struct catalog_row plain_row(void)
{
    return (struct catalog_row){
        .provider = STR("p"),
        .model = STR("m"),
        .price = {.base = {1000000000, 4000000000, 100000000, 1250000000, 2000000000, -1}}};
}

static void suspicious_prices_are_found(void **state)
{
    (void)state;
    struct catalog_row good = plain_row(), r;
    assert_int_equal(catalog_lint(&good, &good), 0);
#define FINDS(change, bit)                                                                         \
    do {                                                                                           \
        r = plain_row();                                                                           \
        change;                                                                                    \
        assert_true((catalog_lint(&r, &good) & 1U << (bit)) != 0);                                 \
    } while (0)
    FINDS(r.price.base.output = 900000000, CATALOG_OUTPUT_BELOW_INPUT);
    FINDS(r.price.base.input = 0, CATALOG_FREE);
    FINDS(r.price.base.cached_read = 1000000001, CATALOG_CACHED_ABOVE_INPUT);
    FINDS(r.price.base.cache_write = 999999999, CATALOG_CACHE_WRITE_BELOW_INPUT);
    FINDS(r.price.base.cache_write_1h = 1, CATALOG_HOUR_BELOW_MINUTES);
    FINDS(r.price.base.reasoning = 1, CATALOG_REASONING_BELOW_OUTPUT);
    FINDS(
        (r.price.tier_count = 1, r.price.tiers[0] = (struct price_tier){5, {1, 1, -1, -1, -1, -1}}),
        CATALOG_TIER_BELOW_BASE);
    FINDS((r.context = 5, r.max_output = 6), CATALOG_OUTPUT_ABOVE_CONTEXT);
    FINDS(r.price.base.output = INT64_C(4000) * 1000000000, CATALOG_UNIT_1E3);
    FINDS(r.price.base.output = INT64_C(4000) * 1000000000, CATALOG_UNIT);
    FINDS(r.price.base.input = 1000, CATALOG_UNIT_1E6);
    FINDS(r.price.base.input = 3000000000, CATALOG_DIFFERS);
#undef FINDS
    for (unsigned i = 0; i < CATALOG_SUSPICION_COUNT; i++)
        assert_true(catalog_suspicion_name((enum catalog_suspicion)i)[0] != '\0' &&
                    catalog_suspicion_text((enum catalog_suspicion)i)[0] != '\0');
}

static void a_factor_is_the_largest_over_kinds_and_sizes(void **state)
{
    (void)state;
    struct price a = plain_row().price, b = a;
    assert_true(catalog_factor(&a, &b) == 1000);
    b.base.output = 10000000000;
    assert_true(catalog_factor(&a, &b) == 2500);
    assert_true(catalog_factor(&b, &a) == 2500);
    b.base.output = 10000000001; /* Never rounded below what it is. */
    assert_true(catalog_factor(&a, &b) == 2501);
    b.base.cached_read = 0;
    assert_true(catalog_factor(&a, &b) == CATALOG_FACTOR_INFINITE);
    b = a;
    b.base.reasoning = 5; /* Only one of them knows it. */
    assert_true(catalog_factor(&a, &b) == 1000);
    b = a;
    b.tier_count = 1;
    b.tiers[0] = (struct price_tier){200000, a.base};
    b.tiers[0].rates.input *= 7;
    assert_true(catalog_factor(&a, &b) == 7000);
}

static void the_shipped_table_is_sorted_dated_and_without_suspicions(void **state)
{
    (void)state;
    assert_in_range(catalog_builtin.count, 40, 200);
    for (size_t i = 0; i < catalog_builtin.count; i++) {
        const struct catalog_row *r = &catalog_builtin.rows[i];
        assert_ptr_equal(catalog_rows_find(&catalog_builtin, r->provider, r->model), r);
        assert_true(price_known(&r->price));
        assert_true(r->context > 0 && r->max_output > 0);
        assert_int_equal(r->released.len, 10);
        assert_int_equal(r->as_of.len, 10);
        assert_true(r->source.len > 0);
        /* Perplexity does charge less for its reasoning than for its answer. */
        uint32_t true_all_the_same =
            str_is(r->model, "sonar-deep-research") ? 1U << CATALOG_REASONING_BELOW_OUTPUT : 0;
        if (catalog_lint(r, NULL) != true_all_the_same)
            fail_msg("%.*s: %x", STR_ARG(r->model), catalog_lint(r, NULL));
    }
    const struct catalog_row *gemini =
        catalog_rows_find(&catalog_builtin, STR("google"), STR("gemini-2.5-pro"));
    assert_int_equal(gemini->price.tiers[0].above, 200000);
    assert_int_equal(
        row_of(&catalog_builtin, "anthropic", "claude-sonnet-4-5")->price.base.cache_write_1h,
        6000000000);
}

static void sellers_have_one_name(void **state)
{
    (void)state;
    assert_true(str_is(vendor_of_url(STR("https://api.openai.com/v1")), "openai"));
    assert_true(str_is(vendor_of_url(STR("https://api.x.ai:443/v1")), "xai"));
    assert_null(vendor_of_url(STR("http://127.0.0.1:8000/v1")).data);
    assert_null(vendor_of_url(STR("https://api.openai.com.example/v1")).data);
    assert_true(str_is(vendor_of_litellm(STR("gemini")), "google"));
    assert_true(str_is(vendor_of_litellm(STR("openai")), "openai"));
    assert_true(
        str_is(vendor_litellm_model(STR("groq"), STR("openai/gpt-oss-20b")), "openai/gpt-oss-20b"));
    assert_true(str_is(vendor_litellm_model(STR("xai"), STR("xai/grok")), "grok"));
}

/* --- the extracts of the public catalogues, where they are ---------------------------------------
 */

static void read_extract(const char *name, size_t rows, size_t clean_at_least)
{
    struct buf text = {0};
    struct catalog_rows t;
    struct err err = {0};
    char path[512];
    snprintf(path, sizeof path, "%s%s", EXTRACTS, name);
    if (access(path, R_OK) != 0) {
        print_message("[  SKIPPED ] %s is not here\n", name);
        skip();
    }
    buf_init(&text, CATALOG_FILE_BYTES_MAX);
    catalog_rows_init(&t);
    assert_int_equal(buf_read_file(&text, path, CATALOG_FILE_BYTES_MAX, &err), 0);
    assert_int_equal(catalog_read(buf_str(&text), CATALOG_AUTO, &t, NULL, &err), 0);
    print_message("%s: %zu of %zu rows taken, %zu skipped with a reason\n", name, t.count, rows,
                  t.skip_count);
    for (size_t i = 0; i < t.skip_count; i++) {
        assert_true(t.skips[i].reason.len > 0);
        if (str_search(t.skips[i].reason, STR("exactly")) >= 0)
            print_message("  %.*s: %.*s\n", STR_ARG(t.skips[i].name), STR_ARG(t.skips[i].reason));
    }
    assert_true(t.count >= clean_at_least);
    assert_true(t.count + t.skip_count <= rows);
    catalog_rows_deinit(&t);
    buf_deinit(&text);
}

static void the_extract_of_models_dev_is_taken(void **state)
{
    (void)state;
    read_extract("models-dev-all.csv", 5276, 4800);
}
static void the_core_extract_of_models_dev_is_taken(void **state)
{
    (void)state;
    read_extract("models-core.csv", 1453, 1200);
}
static void the_extract_of_litellm_is_taken(void **state)
{
    (void)state;
    read_extract("litellm-prices.csv", 2557, 2000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decimal_text_becomes_an_exact_rate),
        cmocka_unit_test(rates_written_are_read_back),
        cmocka_unit_test(tiers_written_are_read_back),
        cmocka_unit_test(models_dev_is_read_with_tiers_limits_and_capabilities),
        cmocka_unit_test(every_row_that_cannot_be_taken_has_a_reason),
        cmocka_unit_test(litellm_is_read_by_token_with_its_names_made_ours),
        cmocka_unit_test(tables_with_a_header_are_read_by_the_names_of_columns),
        cmocka_unit_test(a_file_that_is_something_else_is_refused_with_a_line),
        cmocka_unit_test(names_that_cannot_be_shown_or_stored_are_skipped),
        cmocka_unit_test(reading_survives_each_failed_allocation),
        cmocka_unit_test(suspicious_prices_are_found),
        cmocka_unit_test(a_factor_is_the_largest_over_kinds_and_sizes),
        cmocka_unit_test(the_shipped_table_is_sorted_dated_and_without_suspicions),
        cmocka_unit_test(sellers_have_one_name),
        cmocka_unit_test(the_extract_of_models_dev_is_taken),
        cmocka_unit_test(the_core_extract_of_models_dev_is_taken),
        cmocka_unit_test(the_extract_of_litellm_is_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
