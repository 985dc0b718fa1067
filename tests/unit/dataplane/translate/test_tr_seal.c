#include "dataplane/translate/seal.h"

#include <string.h>

#include "tests/lib/fault.h"

static struct str sealed(enum dialect vendor, uint32_t maker, const char *value)
{
    static char text[128];
    char room[TR_SEAL_BYTES_MAX];
    struct str prefix = tr_seal_prefix(vendor, maker, room);
    memcpy(text, prefix.data, prefix.len);
    memcpy(text + prefix.len, value, strlen(value) + 1);
    return str_from(text);
}

static void a_seal_says_whose_a_value_is_and_comes_off_again(void **state)
{
    (void)state;
    static const uint32_t makers[] = {0, 1, 0x01ab23cd, UINT32_MAX};
    for (int d = 0; d < DIALECTS; d++)
        for (size_t i = 0; i < sizeof makers / sizeof makers[0]; i++) {
            enum dialect vendor;
            uint32_t maker;
            struct str value =
                tr_seal_take(sealed((enum dialect)d, makers[i], "a.b=="), &vendor, &maker);
            assert_int_equal(vendor, d);
            assert_int_equal(maker, makers[i]);
            assert_true(str_is(value, "a.b=="));
        }
    assert_true(str_is(sealed(DIALECT_GEMINI, 0x01ab23cd, "x"), "sy1.gemini-01ab23cd.x"));
    assert_true(str_is(sealed(DIALECT_GEMINI, 0, "x"), "sy1.gemini.x"));
    assert_true(str_is(sealed(DIALECTS, 7, "x"), "x"));
}

static void a_value_without_our_seal_is_nobodys(void **state)
{
    (void)state;
    static const char *const values[] = {"",
                                         "sy1",
                                         "sy1.",
                                         "sy1.nobody.x",
                                         "sy2.gemini.x",
                                         "EqQBCgIYAhIM",
                                         "Sy1.gemini.x",
                                         "sy1.gemini",
                                         "sy1.gemini-",
                                         "sy1.gemini-01ab23cd",
                                         "sy1.gemini-01ab23c.x",
                                         "sy1.gemini-01ab23cdx",
                                         "sy1.gemini-01AB23CD.x",
                                         "sy1.gemini-01ab23cg.x",
                                         "sy1.gemini-00000000.x",
                                         "sy1.gemini-01ab23cd01.x"};
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        enum dialect vendor;
        uint32_t maker;
        struct str value = tr_seal_take(str_from(values[i]), &vendor, &maker);
        assert_int_equal(vendor, DIALECTS);
        assert_true(str_is(value, values[i]));
    }
}

static void a_maker_is_a_type_and_a_model_and_where_it_must_be_a_provider(void **state)
{
    (void)state;
    const struct str type = STR("openai"), model = STR("m"), a = STR("a"), b = STR("b");
    const uint32_t maker = tr_seal_maker(DIALECT_ANTHROPIC, type, a, model);
    assert_int_equal(tr_seal_maker(DIALECT_ANTHROPIC, type, b, model), maker);
    assert_int_not_equal(tr_seal_maker(DIALECT_ANTHROPIC, type, a, STR("m2")), maker);
    assert_int_not_equal(tr_seal_maker(DIALECT_ANTHROPIC, STR("azure"), a, model), maker);
    assert_int_not_equal(tr_seal_maker(DIALECT_ANTHROPIC, STR("opena"), a, STR("im")), maker);
    assert_int_not_equal(tr_seal_maker(DIALECT_RESPONSES, type, a, model),
                         tr_seal_maker(DIALECT_RESPONSES, type, b, model));
    assert_true(tr_seal_fits(0, maker) && tr_seal_fits(maker, maker));
    assert_false(tr_seal_fits(maker, maker + 1) || tr_seal_fits(maker, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_seal_says_whose_a_value_is_and_comes_off_again),
        cmocka_unit_test(a_value_without_our_seal_is_nobodys),
        cmocka_unit_test(a_maker_is_a_type_and_a_model_and_where_it_must_be_a_provider),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
