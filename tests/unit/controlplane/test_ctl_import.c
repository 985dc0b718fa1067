/* steelyard import, and config diff and apply: exit codes, streams, files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/controlplane/ctl_fixture.h"

static char directory[64];

static const char *path_of(const char *name)
{
    static char paths[4][128];
    static unsigned at;
    char *path = paths[at++ % 4];
    (void)snprintf(path, sizeof paths[0], "%s/%s", directory, name);
    return path;
}

static const char *file(const char *name, const char *text)
{
    const char *path = path_of(name);
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
    return path;
}

static int make_directory(void **state)
{
    (void)snprintf(directory, sizeof directory, "/tmp/steelyard-import-XXXXXX");
    return mkdtemp(directory) == NULL ? -1 : ctl_start_admin(state);
}

static int remove_directory(void **state)
{
    static const char *const names[] = {"in", "out", "old", "new"};
    for (size_t n = 0; n < sizeof names / sizeof names[0]; n++)
        (void)unlink(path_of(names[n]));
    (void)rmdir(directory);
    return ctl_stop_admin(state);
}

#define EXACT "model_list: [{model_name: m, litellm_params: {model: openai/gpt-4o}}]\n"
#define LOSSY EXACT "guardrails: [{a: b}]\n"

static void an_import_that_loses_nothing_exits_0(void **state)
{
    (void)state;
    struct ran r = ctl_do(WORDS("import", "litellm", file("in", EXACT)));
    assert_int_equal(r.code, 0);
    assert_non_null(strstr(r.out, "version: 1\n"));
    assert_non_null(strstr(r.err, ":1:27: model_list[0].model_name: exact: model m\n"));
    assert_non_null(strstr(r.err, "2 exact, 0 approximate, 0 manual, 0 unsupported"));
    ran_free(&r);
}

static void an_import_that_loses_something_exits_10_unless_allowed(void **state)
{
    (void)state;
    const char *in = file("in", LOSSY);
    struct ran r = ctl_do(WORDS("import", "litellm", in, "-q"));
    assert_int_equal(r.code, 10);
    assert_string_equal(r.err, "");
    ran_free(&r);
    r = ctl_do(WORDS("import", "litellm", in, "--allow-lossy"));
    assert_int_equal(r.code, 0);
    ran_free(&r);
}

static void an_import_is_written_beside_nothing(void **state)
{
    (void)state;
    const char *in = file("in", EXACT), *out = path_of("out");
    struct ran r = ctl_do(WORDS("import", "litellm", in, "--write", out));
    assert_int_equal(r.code, 0);
    assert_string_equal(r.out, "");
    ran_free(&r);
    r = ctl_do(WORDS("config", "validate", out));
    assert_int_equal(r.code, 0);
    ran_free(&r);
    r = ctl_do(WORDS("import", "litellm", in, "--write", out));
    assert_int_equal(r.code, 5);
    ran_free(&r);
    r = ctl_do(WORDS("import", "litellm", in, "--write", out, "--yes"));
    assert_int_equal(r.code, 0);
    ran_free(&r);
}

static void an_import_as_json_holds_findings_and_result(void **state)
{
    (void)state;
    struct ran r = ctl_do(WORDS("import", "litellm", file("in", LOSSY), "-o", "json"));
    assert_int_equal(r.code, 10);
    assert_non_null(strstr(r.out, "\"unsupported\": 1"));
    assert_non_null(strstr(r.out, "\"path\": \"guardrails\""));
    assert_non_null(strstr(r.out, "\"yaml\": \"# Imported from litellm"));
    assert_string_equal(r.err, "");
    ran_free(&r);
}

static void what_cannot_be_imported_is_refused(void **state)
{
    (void)state;
    struct ran r = ctl_do(WORDS("import", "nginx", file("in", EXACT)));
    assert_int_equal(r.code, 2);
    ran_free(&r);
    r = ctl_do(WORDS("import", "portkey", path_of("none")));
    assert_int_equal(r.code, 3);
    ran_free(&r);
    r = ctl_do(WORDS("import", "portkey", file("in", "{\"a\": }")));
    assert_int_equal(r.code, 1);
    assert_non_null(strstr(r.err, ":1:7: "));
    ran_free(&r);
}

#define CONFIG(weight)                                                                             \
    "version: 1\nproviders: {a: {type: openai}}\n"                                                 \
    "models: {m: {deployments: [{provider: a, weight: " weight "}]}}\n"

static void a_diff_of_two_files_names_each_value(void **state)
{
    (void)state;
    const char *old = file("old", CONFIG("1")), *now = file("new", CONFIG("2"));
    struct ran r = ctl_do(WORDS("config", "diff", now, old, "--exit-code"));
    assert_int_equal(r.code, 10);
    assert_string_equal(r.out, "VALUE                           NOW  THEN\n"
                               "models.m.deployments[0].weight  1    2\n");
    ran_free(&r);
    r = ctl_do(WORDS("config", "diff", now, now, "--exit-code"));
    assert_int_equal(r.code, 0);
    assert_string_equal(r.out, "");
    ran_free(&r);
    r = ctl_do(WORDS("config", "diff", now, old));
    assert_int_equal(r.code, 0);
    ran_free(&r);
    r = ctl_do(WORDS("config", "diff", file("new", "version: 2\n"), old));
    assert_int_equal(r.code, 10);
    ran_free(&r);
}

static void a_diff_asks_the_server_what_is_in_force(void **state)
{
    struct fake_admin *a = *state;
    fake_admin_answer(a, "GET /api/v1/config", 200,
                      "{\"values\":{\"models.m.deployments[0].weight\":\"7\",\"gone\":\"x\"}}");
    struct ran r = ctl_do_at(a, WORDS("config", "diff", file("new", CONFIG("2")), "-o", "jsonl"));
    assert_int_equal(r.code, 0);
    assert_non_null(strstr(r.out, "{\"path\":\"models.m.deployments[0].weight\",\"old\":\"7\","
                                  "\"new\":\"2\"}\n"));
    assert_non_null(strstr(r.out, "{\"path\":\"gone\",\"old\":\"x\",\"new\":null}\n"));
    ran_free(&r);
}

static void only_a_valid_file_is_applied(void **state)
{
    (void)state;
    const char *out = file("out", CONFIG("1"));
    struct ran r = ctl_do(WORDS("config", "apply", file("new", "version: 9\n"), "--to", out));
    assert_int_equal(r.code, 10);
    ran_free(&r);
    r = ctl_do(WORDS("config", "diff", out, file("old", CONFIG("1")), "--exit-code"));
    assert_int_equal(r.code, 0);
    ran_free(&r);
    const char *now = file("new", CONFIG("3"));
    r = ctl_do(WORDS("config", "apply", now, "--to", out, "--dry-run"));
    assert_int_equal(r.code, 0);
    assert_non_null(strstr(r.out, "weight  1    3"));
    ran_free(&r);
    r = ctl_do(WORDS("config", "apply", now, "--to", out));
    assert_int_equal(r.code, 0);
    ran_free(&r);
    r = ctl_do(WORDS("config", "diff", out, now, "--exit-code"));
    assert_int_equal(r.code, 0);
    ran_free(&r);
    r = ctl_do(WORDS("config", "apply", now));
    assert_int_equal(r.code, 2);
    ran_free(&r);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, make_directory, remove_directory)
    const struct CMUnitTest tests[] = {
        TEST(an_import_that_loses_nothing_exits_0),
        TEST(an_import_that_loses_something_exits_10_unless_allowed),
        TEST(an_import_is_written_beside_nothing),
        TEST(an_import_as_json_holds_findings_and_result),
        TEST(what_cannot_be_imported_is_refused),
        TEST(a_diff_of_two_files_names_each_value),
        TEST(a_diff_asks_the_server_what_is_in_force),
        TEST(only_a_valid_file_is_applied),
    };
    return cmocka_run_group_tests(tests, ctl_start, ctl_stop);
}
