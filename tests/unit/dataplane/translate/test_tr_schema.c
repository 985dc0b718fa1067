#include "dataplane/translate/schema.h"

#include <stdio.h>
#include <string.h>

#include "common/json/json.h"
#include "tests/unit/dataplane/translate/tr_kit.h"

typedef int (*rewrite_fn)(struct str schema, struct arena *arena, struct str *out);

static void check(struct tr_kit *kit, rewrite_fn rewrite, const char *schema, const char *expected)
{
    struct str out = STR_NULL;
    assert_int_equal(rewrite(str_from(schema), &kit->arena, &out), 0);
    if (!str_is(out, expected))
        fail_msg("%s\n-> %.*s\n!= %s", schema, STR_ARG(out), expected);
    if (out.len > 0)
        assert_int_equal(json_parse(&kit->json, out, NULL), 0);
}

static void gemini_schemas_have_references_inlined_and_words_of_openapi(void **state)
{
    struct tr_kit *k = *state;
    check(k, tr_schema_gemini,
          "{\"$schema\":\"x\",\"type\":\"object\",\"properties\":{\"a\":{\"$ref\":\"#/$defs/A\"},"
          "\"b\":{\"type\":[\"string\",\"null\"],\"default\":\"x\"}},\"required\":[\"a\",\"zz\"],"
          "\"additionalProperties\":false,\"$defs\":{\"A\":{\"type\":\"integer\",\"minimum\":1}}}",
          "{\"type\":\"object\",\"required\":[\"a\"],\"properties\":{\"a\":{\"type\":\"integer\","
          "\"minimum\":1},\"b\":{\"type\":\"string\",\"nullable\":true}}}");
    check(k, tr_schema_gemini,
          "{\"type\":\"object\",\"properties\":{\"k\":{\"const\":\"x\"},\"n\":{\"enum\":[1,2]},"
          "\"m\":{\"enum\":[\"a\",null]}}}",
          "{\"type\":\"object\",\"properties\":{\"k\":{\"type\":\"string\",\"enum\":[\"x\"]},"
          "\"n\":{\"type\":\"string\",\"format\":\"enum\",\"enum\":[\"1\",\"2\"]},"
          "\"m\":{\"type\":\"string\",\"enum\":[\"a\"],\"nullable\":true}}}");
    check(k, tr_schema_gemini,
          "{\"type\":\"object\",\"properties\":{\"x\":{\"description\":\"d\",\"anyOf\":[{\"type\":"
          "\"null\"},{\"$ref\":\"#/$defs/P\"}]},\"y\":{\"oneOf\":[{\"type\":\"string\"},{\"type\":"
          "\"number\",\"format\":\"float\"}]},\"z\":{\"type\":\"array\"},\"w\":true},\"$defs\":{"
          "\"P\":{\"description\":\"p\",\"properties\":{\"q\":{\"type\":\"string\",\"format\":"
          "\"uri\"}}}}}",
          "{\"type\":\"object\",\"properties\":{\"x\":{\"description\":\"d\",\"type\":\"object\","
          "\"nullable\":true,\"properties\":{\"q\":{\"type\":\"string\"}}},\"y\":{\"anyOf\":[{"
          "\"type\":\"string\"},{\"type\":\"number\",\"format\":\"float\"}]},\"z\":{\"type\":"
          "\"array\",\"items\":{\"type\":\"string\"}},\"w\":{}}}");
    check(k, tr_schema_gemini, "{\"properties\":{\"v\":{\"type\":[\"string\",\"integer\"]}}}",
          "{\"type\":\"object\",\"properties\":{\"v\":{\"anyOf\":[{\"type\":\"string\"},{\"type\":"
          "\"integer\"}]}}}");
}

static void an_object_without_properties_is_left_out_at_the_root(void **state)
{
    struct tr_kit *k = *state;
    check(k, tr_schema_gemini, "", "");
    check(k, tr_schema_gemini, "{}", "");
    check(k, tr_schema_gemini, "{\"type\":\"object\",\"properties\":{}}", "");
    check(k, tr_schema_gemini,
          "{\"type\":\"object\",\"properties\":{\"o\":{\"type\":\"object\",\"properties\":{}}}}",
          "{\"type\":\"object\",\"properties\":{\"o\":{\"type\":\"object\"}}}");
}

static void schemas_that_refer_to_themselves_are_for_others(void **state)
{
    struct tr_kit *k = *state;
    static const char *const schemas[] = {
        "{\"type\":\"object\",\"properties\":{\"next\":{\"$ref\":\"#\"}}}",
        "{\"$ref\":\"#\"}",
        "{\"$ref\":\"#/$defs/A\",\"$defs\":{\"A\":{\"$ref\":\"#/$defs/B\"},\"B\":{\"$ref\":"
        "\"#/$defs/A\"}}}",
        "{\"type\":\"array\",\"items\":{\"$ref\":\"#/$defs/T\"},\"$defs\":{\"T\":{\"anyOf\":[{"
        "\"type\":\"null\"},{\"type\":\"object\",\"properties\":{\"l\":{\"$ref\":\"#/$defs/T\"}}}]}"
        "}}",
        "{\"$ref\":\"https://example.com/schema\"}",
        "{\"type\":\"array\",\"items\":{\"$ref\":\"#/$defs/missing\"}}",
    };
    struct str out;
    for (size_t i = 0; i < sizeof schemas / sizeof schemas[0]; i++)
        assert_int_equal(tr_schema_gemini(str_from(schemas[i]), &k->arena, &out), ERR_UNSUPPORTED);
}

/* Each definition holds the one before it twice: 2^40 leaves. */
static void references_that_multiply_have_an_end(void **state)
{
    struct tr_kit *k = *state;
    struct buf b;
    struct str out;
    buf_init(&b, 65536);
    assert_int_equal(buf_append_text(&b, "{\"$ref\":\"#/$defs/d40\",\"$defs\":{\"d0\":{\"type\":"
                                         "\"string\"}"),
                     0);
    for (int i = 1; i <= 40; i++)
        assert_int_equal(buf_printf(&b,
                                    ",\"d%d\":{\"type\":\"object\",\"properties\":{\"a\":{\"$ref\":"
                                    "\"#/$defs/d%d\"},\"b\":{\"$ref\":\"#/$defs/d%d\"}}}",
                                    i, i - 1, i - 1),
                         0);
    assert_int_equal(buf_append_text(&b, "}}"), 0);
    assert_int_equal(tr_schema_gemini(buf_str(&b), &k->arena, &out), ERR_TOO_LARGE);
    buf_deinit(&b);
}

static void strict_schemas_close_objects_and_tell_bounds_in_words(void **state)
{
    struct tr_kit *k = *state;
    check(k, tr_schema_strict,
          "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\",\"description\":\"A.\","
          "\"minLength\":2,\"pattern\":\"^x\\\"\"},\"n\":{\"type\":\"integer\",\"maximum\":9},"
          "\"f\":{\"type\":\"string\",\"format\":\"uuid\"},\"g\":{\"type\":\"string\",\"format\":"
          "\"iri\"}},\"required\":[\"a\"],\"additionalProperties\":true}",
          "{\"additionalProperties\":false,\"type\":\"object\",\"properties\":{\"a\":{"
          "\"description\":\"A. (minLength: 2, pattern: ^x\\\")\",\"type\":\"string\"},\"n\":{"
          "\"description\":\"(maximum: 9)\",\"type\":\"integer\"},\"f\":{\"type\":\"string\","
          "\"format\":\"uuid\"},\"g\":{\"description\":\"(format: iri)\",\"type\":\"string\"}},"
          "\"required\":[\"a\"]}");
    check(k, tr_schema_strict,
          "{\"oneOf\":[{\"type\":\"string\"},{\"$ref\":\"#/$defs/A\"}],\"$defs\":{\"A\":{\"type\":["
          "\"object\",\"null\"],\"properties\":{\"r\":{\"$ref\":\"#/$defs/A\"}}}}}",
          "{\"anyOf\":[{\"type\":\"string\"},{\"$ref\":\"#/$defs/A\"}],\"$defs\":{\"A\":{"
          "\"additionalProperties\":false,\"type\":[\"object\",\"null\"],\"properties\":{\"r\":{"
          "\"$ref\":\"#/$defs/A\"}}}}}");
    /* A property may bear the name of a keyword. */
    check(k, tr_schema_strict,
          "{\"type\":\"object\",\"properties\":{\"pattern\":{\"type\":\"string\"},\"minimum\":{"
          "\"type\":\"number\"},\"items\":true}}",
          "{\"additionalProperties\":false,\"type\":\"object\",\"properties\":{\"pattern\":{"
          "\"type\":\"string\"},\"minimum\":{\"type\":\"number\"},\"items\":true}}");
}

static void an_object_schema_says_that_it_is_one(void **state)
{
    struct tr_kit *k = *state;
    check(k, tr_schema_object, "", "{\"type\":\"object\",\"properties\":{}}");
    check(k, tr_schema_object, "{}", "{\"type\":\"object\"}");
    check(k, tr_schema_object, "{\"type\":\"object\"}", "{\"type\":\"object\"}");
    check(k, tr_schema_object, "{\"properties\":{\"a\":{}}}",
          "{\"type\":\"object\",\"properties\":{\"a\":{}}}");
}

static void what_is_no_object_is_invalid(void **state)
{
    struct tr_kit *k = *state;
    static const rewrite_fn all[] = {tr_schema_gemini, tr_schema_strict, tr_schema_object};
    struct str out;
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(all[i](STR("[]"), &k->arena, &out), ERR_INVALID);
        assert_int_equal(all[i](STR("{\"a\""), &k->arena, &out), ERR_INVALID);
    }
}

static void deep_schemas_are_too_large_and_not_too_deep_for_the_stack(void **state)
{
    struct tr_kit *k = *state;
    struct buf b;
    struct str out;
    buf_init(&b, 65536);
    for (int i = 0; i < 200; i++)
        assert_int_equal(buf_append_text(&b, "{\"items\":"), 0);
    assert_int_equal(buf_append_text(&b, "{\"type\":\"string\"}"), 0);
    for (int i = 0; i < 200; i++)
        assert_int_equal(buf_append_char(&b, '}'), 0);
    assert_int_equal(tr_schema_gemini(buf_str(&b), &k->arena, &out), ERR_TOO_LARGE);
    assert_int_equal(tr_schema_strict(buf_str(&b), &k->arena, &out), ERR_TOO_LARGE);
    buf_deinit(&b);
}

static void each_failed_allocation_is_told(void **state)
{
    struct tr_kit *k = *state;
    static const rewrite_fn all[] = {tr_schema_gemini, tr_schema_strict, tr_schema_object};
    for (size_t i = 0; i < 3; i++) {
        bool fired = true;
        for (unsigned n = 0; fired; n++) {
            struct str out;
            tr_kit_reset(k);
            fault_arm_alloc(n);
            int rc = all[i](STR("{\"properties\":{\"a\\u0062\":{\"const\":1,\"minimum\":2,"
                                "\"description\":\"\\u0041\"}}}"),
                            &k->arena, &out);
            fired = fault_disarm();
            assert_true(fired ? rc == ERR_NOMEM || rc == ERR_TOO_LARGE : rc == 0);
        }
    }
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, tr_kit_setup, tr_kit_teardown)
    const struct CMUnitTest tests[] = {
        T(gemini_schemas_have_references_inlined_and_words_of_openapi),
        T(an_object_without_properties_is_left_out_at_the_root),
        T(schemas_that_refer_to_themselves_are_for_others),
        T(references_that_multiply_have_an_end),
        T(strict_schemas_close_objects_and_tell_bounds_in_words),
        T(an_object_schema_says_that_it_is_one),
        T(what_is_no_object_is_invalid),
        T(deep_schemas_are_too_large_and_not_too_deep_for_the_stack),
        T(each_failed_allocation_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
