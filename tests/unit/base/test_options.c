#include "common/base/options.h"
#include "tests/lib/fault.h"

#include <stdlib.h>
#include <string.h>

struct settings {
    const char *state_dir;
    bool verbose;
    uint64_t port;
    uint64_t timeout_ms;
    uint64_t body_bytes;
};

static const struct option_row rows[] = {
    {.name = "state-dir",
     .type = OPTION_STRING,
     .offset = offsetof(struct settings, state_dir),
     .example = "/var/lib/x",
     .help = "Where | state is kept."},
    {.name = "verbose",
     .type = OPTION_BOOL,
     .offset = offsetof(struct settings, verbose),
     .default_value = "false",
     .help = "Says more."},
    {.name = "port",
     .type = OPTION_U64,
     .offset = offsetof(struct settings, port),
     .default_value = "8080",
     .min = 1,
     .max = 65535,
     .example = "8080",
     .help = "Port to listen on."},
    {.name = "timeout",
     .type = OPTION_DURATION,
     .offset = offsetof(struct settings, timeout_ms),
     .default_value = "30s",
     .min = 1,
     .max = 60000,
     .unit = "ms",
     .example = "10s",
     .help = "How long to wait."},
    {.name = "body",
     .type = OPTION_SIZE,
     .offset = offsetof(struct settings, body_bytes),
     .default_value = "4MiB",
     .help = "Largest body."},
    {.name = NULL},
};

static int parse(struct settings *out, int *out_rest, struct err *err, const char *const *words)
{
    char *argv[16] = {(char[]){"x"}};
    int argc = 1;
    for (; words[argc - 1] != NULL; argc++)
        argv[argc] = (char *)(uintptr_t)words[argc - 1];
    memset(out, 0, sizeof *out);
    return options_parse(rows, out, argc, argv, out_rest, err);
}

#define PARSE(...) parse(&s, &rest, &err, (const char *const[]){__VA_ARGS__ __VA_OPT__(, ) NULL})

static void defaults_then_environment_then_flags(void **state)
{
    (void)state;
    struct settings s;
    struct err err = {0};
    int rest = 0;
    assert_int_equal(PARSE(), 0);
    assert_null(s.state_dir);
    assert_false(s.verbose);
    assert_int_equal(s.port, 8080);
    assert_int_equal(s.timeout_ms, 30000);
    assert_int_equal(s.body_bytes, 4194304);
    assert_int_equal(rest, 1);
    assert_int_equal(setenv("STEELYARD_STATE_DIR", "/env", 1), 0);
    assert_int_equal(setenv("STEELYARD_PORT", "1", 1), 0);
    assert_int_equal(PARSE("--port", "2"), 0);
    assert_string_equal(s.state_dir, "/env");
    assert_int_equal(s.port, 2);
    assert_int_equal(setenv("STEELYARD_PORT", "zero", 1), 0);
    assert_int_equal(PARSE("--port=3"), 0); /* A bad value that is not used does no harm. */
    assert_int_equal(PARSE(), ERR_INVALID);
    assert_string_equal(
        err.message, "STEELYARD_PORT='zero': want a whole number, for example STEELYARD_PORT=8080");
    assert_int_equal(unsetenv("STEELYARD_PORT"), 0);
    assert_int_equal(unsetenv("STEELYARD_STATE_DIR"), 0);
}

static void every_spelling_of_an_option_works(void **state)
{
    (void)state;
    struct settings s;
    struct err err = {0};
    int rest = 0;
    assert_int_equal(PARSE("--verbose", "--state-dir", "a", "--timeout=2s", "--body", "1KiB"), 0);
    assert_true(s.verbose);
    assert_string_equal(s.state_dir, "a");
    assert_int_equal(s.timeout_ms, 2000);
    assert_int_equal(s.body_bytes, 1024);
    assert_int_equal(PARSE("--verbose", "--no-verbose"), 0);
    assert_false(s.verbose);
    assert_int_equal(PARSE("--verbose", "true", "--port", "7", "rest"), 0);
    assert_true(s.verbose);
    assert_int_equal(s.port, 7);
    assert_int_equal(rest, 5);
    assert_int_equal(PARSE("--verbose=no"), 0);
    assert_false(s.verbose);
    assert_int_equal(PARSE("--state-dir=a=b"), 0);
    assert_string_equal(s.state_dir, "a=b");
    assert_int_equal(PARSE("--state-dir="), 0);
    assert_string_equal(s.state_dir, "");
    assert_int_equal(PARSE("--port", "1", "--port", "2"), 0);
    assert_int_equal(s.port, 2);
}

static void options_end_at_two_dashes_or_the_first_word(void **state)
{
    (void)state;
    struct settings s;
    struct err err = {0};
    int rest = 0;
    assert_int_equal(PARSE("--verbose", "--", "--port"), 0);
    assert_int_equal(rest, 3);
    assert_int_equal(PARSE("noun", "--port"), 0);
    assert_int_equal(rest, 1);
    assert_int_equal(PARSE("--verbose", "-"), 0);
    assert_int_equal(rest, 2);
}

static void errors_name_the_option_the_value_and_a_good_one(void **state)
{
    (void)state;
    struct settings s;
    struct err err = {0};
    int rest = 0;
    assert_int_equal(PARSE("--port", "abc"), ERR_INVALID);
    assert_string_equal(err.message, "--port 'abc': want a whole number, for example --port 8080");
    assert_int_equal(PARSE("--port", "70000"), ERR_INVALID);
    assert_string_equal(err.message,
                        "--port '70000': want a whole number in 1..65535, for example --port 8080");
    assert_int_equal(PARSE("--timeout", "2d"), ERR_INVALID);
    assert_string_equal(err.message, "--timeout '2d': want a duration (ms, s, m, h, d) in 1..60000 "
                                     "ms, for example --timeout 10s");
    assert_int_equal(PARSE("--prot", "1"), ERR_INVALID);
    assert_string_equal(err.message, "unknown option '--prot'; did you mean '--port'?");
    assert_int_equal(PARSE("--no-port"), ERR_INVALID);
    assert_int_equal(PARSE("--something"), ERR_INVALID);
    assert_string_equal(err.message, "unknown option '--something'; --help lists all");
    assert_int_equal(PARSE("-v"), ERR_INVALID);
    assert_int_equal(PARSE("--port"), ERR_INVALID);
    assert_string_equal(err.message, "'--port' needs a whole number, for example --port 8080");
    assert_int_equal(PARSE("--verbose=maybe"), ERR_INVALID);
}

static void help_and_reference_hold_every_row(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, 10000);
    assert_int_equal(options_help(rows, &out), 0);
    for (const struct option_row *r = rows; r->name != NULL; r++)
        assert_true(str_search(buf_str(&out), str_from(r->name)) >= 0);
    assert_true(str_search(buf_str(&out), STR("STEELYARD_STATE_DIR")) >= 0);
    assert_true(str_search(buf_str(&out), STR("Range: 1 to 65535. Default: 8080.")) >= 0);
    buf_clear(&out);
    assert_int_equal(options_markdown(rows, &out), 0);
    assert_true(str_search(buf_str(&out), STR("| `--timeout DURATION` | `STEELYARD_TIMEOUT` | "
                                              "`30s` | 1 to 60000 ms | How long to wait. |\n")) >=
                0);
    assert_true(str_search(buf_str(&out), STR("Where \\| state")) >= 0);
    for (size_t max = 0; max < out.len; max++) {
        struct buf small;
        buf_init(&small, max);
        assert_int_equal(options_markdown(rows, &small), ERR_TOO_LARGE);
        buf_deinit(&small);
    }
    buf_deinit(&out);
}

static void the_nearest_word_is_at_most_two_edits_away(void **state)
{
    (void)state;
    static const char *const known[] = {"create", "delete", "list", NULL};
    assert_string_equal(options_nearest("craete", known), "create");
    assert_string_equal(options_nearest("lst", known), "list");
    assert_null(options_nearest("rotate-all", known));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_then_environment_then_flags),
        cmocka_unit_test(every_spelling_of_an_option_works),
        cmocka_unit_test(options_end_at_two_dashes_or_the_first_word),
        cmocka_unit_test(errors_name_the_option_the_value_and_a_good_one),
        cmocka_unit_test(help_and_reference_hold_every_row),
        cmocka_unit_test(the_nearest_word_is_at_most_two_edits_away),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
