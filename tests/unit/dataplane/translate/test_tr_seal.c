#include "dataplane/translate/seal.h"

#include <string.h>

#include "tests/lib/fault.h"

static void a_seal_says_whose_a_value_is_and_comes_off_again(void **state)
{
    (void)state;
    for (int d = 0; d < DIALECTS; d++) {
        struct buf b;
        enum dialect vendor;
        buf_init(&b, 256);
        assert_int_equal(tr_seal_put(&b, (enum dialect)d, STR("a.b==")), 0);
        assert_true(b.len <= TR_SEAL_BYTES_MAX + 5);
        struct str value = tr_seal_take(buf_str(&b), &vendor);
        assert_int_equal(vendor, d);
        assert_true(str_is(value, "a.b=="));
        buf_deinit(&b);
    }
}

static void a_value_without_our_seal_is_nobodys(void **state)
{
    (void)state;
    static const char *const values[] = {
        "", "sy1", "sy1.", "sy1.nobody.x", "sy2.gemini.x", "EqQBCgIYAhIM", "Sy1.gemini.x"};
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        enum dialect vendor;
        struct str value = tr_seal_take(str_from(values[i]), &vendor);
        assert_int_equal(vendor, DIALECTS);
        assert_true(str_is(value, values[i]));
    }
}

static void nothing_is_sealed_twice_and_nothing_empty(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 256);
    assert_int_equal(tr_seal_put(&b, DIALECT_GEMINI, STR("")), 0);
    assert_int_equal(b.len, 0);
    assert_int_equal(tr_seal_put(&b, DIALECT_GEMINI, STR("sy1.anthropic.x")), 0);
    assert_true(str_is(buf_str(&b), "sy1.anthropic.x"));
    buf_deinit(&b);
    buf_init(&b, 12);
    assert_int_equal(tr_seal_put(&b, DIALECT_GEMINI, STR("too long")), ERR_TOO_LARGE);
    assert_int_equal(b.len, 0);
    buf_deinit(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_seal_says_whose_a_value_is_and_comes_off_again),
        cmocka_unit_test(a_value_without_our_seal_is_nobodys),
        cmocka_unit_test(nothing_is_sealed_twice_and_nothing_empty),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
