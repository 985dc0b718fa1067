/* What the options of the control plane mean together. */
#include "controlplane/settings.h"

#include <string.h>

#include "common/base/str.h"
#include "tests/lib/fault.h"

static int parse(struct settings *s, char *option, char *value, struct err *err)
{
    char program[] = "steelyard-controlplane";
    char *argv[] = {program, option, value, NULL};
    int rest = 0;
    memset(s, 0, sizeof *s);
    int rc = options_parse(settings_table, s, option == NULL ? 1 : 3, argv, &rest, err);
    return rc != 0 ? rc : settings_check(s, err);
}

static void how_long_is_kept_is_the_options_word_before_the_files(void **state)
{
    struct settings s;
    struct err err = {0};
    char option[] = "--retention-days";
    (void)state;
    assert_int_equal(parse(&s, NULL, NULL, &err), 0);
    assert_int_equal(settings_retention_days(&s, 0), 395);
    assert_int_equal(settings_retention_days(&s, 30), 30);
    assert_int_equal(parse(&s, option, (char[]){"90"}, &err), 0);
    assert_int_equal(settings_retention_days(&s, 30), 90);
    assert_int_equal(settings_retention_days(&s, 0), 90);
    assert_int_equal(parse(&s, option, (char[]){"0"}, &err), 0);
    assert_int_equal(settings_retention_days(&s, 30), 0); /* For ever. */
}

static void a_number_of_days_that_is_none_is_refused(void **state)
{
    static const char *const bad[] = {"", "30d", "-1", "36501", "1.5"};
    struct settings s;
    char option[] = "--retention-days", value[16];
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct err err = {0};
        assert_true(str_copy(str_from(bad[i]), value, sizeof value));
        assert_int_equal(parse(&s, option, value, &err), ERR_INVALID);
        assert_non_null(strstr(err.message, "0 to 36500"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(how_long_is_kept_is_the_options_word_before_the_files),
        cmocka_unit_test(a_number_of_days_that_is_none_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
