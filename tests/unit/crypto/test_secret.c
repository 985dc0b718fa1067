#include "common/crypto/secret.h"
#include "tests/lib/fault.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/mem.h"

static void a_secret_is_a_copy(void **state)
{
    (void)state;
    char value[] = "hunter2";
    struct secret *s = secret_create(str_from(value));
    memset(value, 'x', sizeof value - 1);
    assert_true(str_is(secret_get(s), "hunter2"));
    secret_destroy(s);
    secret_destroy(NULL);
    assert_null(secret_get(NULL).data);
    s = secret_create(STR_NULL);
    assert_int_equal(secret_get(s).len, 0);
    secret_destroy(s);
    static char large[20000];
    s = secret_create((struct str){.data = large, .len = sizeof large});
    assert_int_equal(secret_get(s).len, sizeof large);
    secret_destroy(s);
    assert_null(secret_create((struct str){.data = large, .len = SIZE_MAX - 10}));
}

static void references_name_a_variable_or_a_file(void **state)
{
    (void)state;
    static const char *const files[][2] = {
        {"abc\n", "abc"}, {"abc\r\n", "abc"}, {"abc\n\n", "abc\n"}, {"abc", "abc"}, {"", ""}};
    char path[] = "/tmp/steelyard-secret-XXXXXX";
    char reference[64];
    struct secret *s = NULL;
    struct err err = {0};
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    (void)snprintf(reference, sizeof reference, "file:%s", path);
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        assert_int_equal(buf_write_file(str_from(files[i][0]), path, 0600, &err), 0);
        assert_int_equal(secret_resolve(str_from(reference), &s, &err), 0);
        assert_true(str_is(secret_get(s), files[i][1]));
        secret_destroy(s);
    }
    assert_int_equal(unlink(path), 0);
    assert_int_equal(setenv("STEELYARD_TEST_SECRET", "v\n", 1), 0);
    assert_int_equal(secret_resolve(STR("env:STEELYARD_TEST_SECRET"), &s, &err), 0);
    assert_true(str_is(secret_get(s), "v\n"));
    secret_destroy(s);
    assert_int_equal(mem_live_bytes(), 0);
}

static void a_bad_reference_is_not_echoed(void **state)
{
    (void)state;
    struct secret *s = NULL;
    struct err err = {0};
    assert_int_equal(secret_resolve(STR("sk-very-secret"), &s, &err), ERR_INVALID);
    assert_null(strstr(err.message, "very"));
    assert_int_equal(secret_resolve(STR("env:"), &s, &err), ERR_INVALID);
    assert_int_equal(secret_resolve(STR("env:NOT\0SET"), &s, &err), ERR_INVALID);
    assert_int_equal(secret_resolve(STR("env:STEELYARD_NOT_SET"), &s, &err), ERR_NOT_FOUND);
    assert_int_equal(secret_resolve(STR("file:/nonexistent"), &s, &err), ERR_NOT_FOUND);
    assert_null(s);
}

static void resolving_survives_each_failed_allocation(void **state)
{
    (void)state;
    char path[] = "/tmp/steelyard-secret-XXXXXX";
    char reference[64];
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "abc\n", 4), 4);
    close(fd);
    (void)snprintf(reference, sizeof reference, "file:%s", path);
    bool fired = true;
    for (unsigned n = 0; fired; n++) {
        struct secret *s = NULL;
        struct err err = {0};
        fault_arm_alloc(n);
        int rc = secret_resolve(str_from(reference), &s, &err);
        fired = fault_disarm();
        assert_int_equal(rc, fired ? ERR_NOMEM : 0);
        assert_true((s == NULL) == fired);
        secret_destroy(s);
    }
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mem_live_bytes(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_secret_is_a_copy),
        cmocka_unit_test(references_name_a_variable_or_a_file),
        cmocka_unit_test(a_bad_reference_is_not_echoed),
        cmocka_unit_test(resolving_survives_each_failed_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
