/* The command line: parsing, advice, help and everything else that is read off the table. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/str.h"
#include "controlplane/ctl/command.h"
#include "tests/unit/controlplane/ctl_fixture.h"

static int parse(const char *const *words, struct invocation *in, struct err *err)
{
    static char text[16][128];
    char *argv[17];
    int argc = 0;
    for (; words[argc] != NULL; argc++) {
        (void)str_copy(str_from(words[argc]), text[argc], sizeof(text[argc]));
        argv[argc] = text[argc];
    }
    *err = (struct err){0};
    return command_parse(argc, argv, in, err);
}

static void flags_may_stand_anywhere_in_any_form(void **state)
{
    (void)state;
    const char *const *const forms[] = {
        WORDS("steelyard", "-o", "json", "decisions", "list", "--limit", "5"),
        WORDS("steelyard", "decisions", "-ojson", "list", "--limit=5"),
        WORDS("steelyard", "decisions", "list", "--output=json", "--limit", "5"),
    };
    for (size_t i = 0; i < 3; i++) {
        struct invocation in;
        struct err err;
        assert_int_equal(parse(forms[i], &in, &err), 0);
        assert_string_equal(in.command->verb, "list");
        assert_string_equal(invocation_text(&in, "output"), "json");
        assert_int_equal(invocation_u64(&in, "limit"), 5);
        assert_null(invocation_text(&in, "model"));
    }
}

static void the_environment_gives_way_to_a_flag(void **state)
{
    (void)state;
    struct invocation in;
    struct err err;
    assert_int_equal(setenv("STEELYARD_SERVER", "http://env:1", 1), 0);
    assert_int_equal(parse(WORDS("steelyard", "status"), &in, &err), 0);
    assert_string_equal(invocation_text(&in, "server"), "http://env:1");
    assert_int_equal(parse(WORDS("steelyard", "status", "-s", "http://flag:2"), &in, &err), 0);
    assert_string_equal(invocation_text(&in, "server"), "http://flag:2");
    unsetenv("STEELYARD_SERVER");
}

static void words_after_two_dashes_are_arguments(void **state)
{
    (void)state;
    struct invocation in;
    struct err err;
    assert_int_equal(parse(WORDS("steelyard", "keys", "disable", "--", "-x"), &in, &err), 0);
    assert_int_equal(in.arg_count, 1);
    assert_string_equal(in.args[0], "-x");
}

static void wrong_use_says_what_was_meant(void **state)
{
    (void)state;
    const struct {
        const char *const *words;
        const char *says;
    } wrong[] = {
        {WORDS("steelyard", "polices"), "did you mean 'policies'?"},
        {WORDS("steelyard", "policies", "trian"), "did you mean 'policies train'?"},
        {WORDS("steelyard", "decisions", "list", "--limt", "3"), "did you mean --limit?"},
        {WORDS("steelyard", "decisions", "list", "--limit", "many"),
         "'many' is not a whole number"},
        {WORDS("steelyard", "decisions", "list", "--limit"), "--limit needs a value"},
        {WORDS("steelyard", "status", "--timeout", "soon"), "'soon' is not a duration"},
        {WORDS("steelyard", "decisions", "why"), "missing argument: steelyard decisions why ID"},
        {WORDS("steelyard", "keys", "disable", "a", "b"), "unexpected argument 'b'"},
        {WORDS("steelyard", "-z"), "unknown flag '-z'"},
        {WORDS("steelyard", "status", "--quiet=perhaps"), "neither true nor false"},
    };
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct invocation in;
        struct err err;
        assert_int_equal(parse(wrong[i].words, &in, &err), ERR_INVALID);
        if (strstr(err.message, wrong[i].says) == NULL)
            fail_msg("'%s' does not say '%s'", err.message, wrong[i].says);
    }
}

static void wrong_use_exits_2_and_writes_nothing_to_stdout(void **state)
{
    (void)state;
    struct ran r = ctl_do(WORDS("keys", "lst"));
    assert_int_equal(r.code, 2);
    assert_int_equal(r.out_len, 0);
    assert_non_null(strstr(r.err, "steelyard: unknown command 'keys lst'"));
    ran_free(&r);
    r = ctl_do(WORDS("status", "-o", "xml"));
    assert_int_equal(r.code, 2);
    assert_non_null(strstr(r.err, "'xml' is none of"));
    ran_free(&r);
}

static void every_command_has_help_that_names_its_flags(void **state)
{
    (void)state;
    for (const struct command *k = commands; k->noun != NULL; k++) {
        struct buf text;
        buf_init(&text, 1U << 20);
        assert_int_equal(command_help(k->noun, k, &text), 0);
        const char *shown = buf_cstr(&text);
        assert_non_null(strstr(shown, k->summary));
        for (const struct flag *f = k->flags; f != NULL && f->name != NULL; f++)
            assert_non_null(strstr(shown, f->name));
        buf_deinit(&text);
    }
}

static void reference_man_page_and_completion_hold_every_command(void **state)
{
    (void)state;
    struct buf pages[4];
    for (size_t i = 0; i < 4; i++)
        buf_init(&pages[i], 1U << 20);
    assert_int_equal(command_markdown(&pages[0]), 0);
    assert_int_equal(command_man(&pages[1]), 0);
    assert_int_equal(command_completion("bash", &pages[2]), 0);
    assert_int_equal(command_completion("fish", &pages[3]), 0);
    for (const struct command *k = commands; k->noun != NULL; k++) {
        if (k->hidden)
            continue;
        for (size_t i = 0; i < 4; i++) {
            assert_non_null(strstr(buf_cstr(&pages[i]), k->noun));
            if (k->verb != NULL)
                assert_non_null(strstr(buf_cstr(&pages[i]), k->verb));
        }
    }
    struct buf none;
    buf_init(&none, 1000);
    assert_int_equal(command_completion("tcsh", &none), ERR_INVALID);
    buf_deinit(&none);
    for (size_t i = 0; i < 4; i++)
        buf_deinit(&pages[i]);
}

static void no_command_at_all_shows_the_list_and_exits_2(void **state)
{
    (void)state;
    struct ran r = ctl_do(WORDS("-q"));
    assert_int_equal(r.code, 2);
    assert_non_null(strstr(r.err, "usage: steelyard"));
    ran_free(&r);
    r = ctl_do(WORDS("--help"));
    assert_int_equal(r.code, 0);
    assert_non_null(strstr(r.out, "policies train [NAME]"));
    ran_free(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(flags_may_stand_anywhere_in_any_form),
        cmocka_unit_test(the_environment_gives_way_to_a_flag),
        cmocka_unit_test(words_after_two_dashes_are_arguments),
        cmocka_unit_test(wrong_use_says_what_was_meant),
        cmocka_unit_test(wrong_use_exits_2_and_writes_nothing_to_stdout),
        cmocka_unit_test(every_command_has_help_that_names_its_flags),
        cmocka_unit_test(reference_man_page_and_completion_hold_every_command),
        cmocka_unit_test(no_command_at_all_shows_the_list_and_exits_2),
    };
    return cmocka_run_group_tests_name("ctl_command", tests, NULL, NULL);
}
