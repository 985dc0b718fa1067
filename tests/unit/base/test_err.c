#include "common/base/err.h"
#include "tests/lib/fault.h"

#include <errno.h>
#include <string.h>

#include <uv.h>

#include "common/base/mem.h"

static void every_code_has_a_name_and_a_text(void **state)
{
    (void)state;
    for (int code = -1; code >= -(int)ERR_INDEX_COUNT; code--) {
        assert_string_not_equal(err_name(code), "UNKNOWN");
        assert_string_not_equal(err_text(code), "unknown error");
    }
    assert_string_equal(err_name(ERR_TIMEOUT), "TIMEOUT");
    assert_string_equal(err_text(ERR_TIMEOUT), "timed out");
    assert_string_equal(err_name(0), "OK");
    assert_string_equal(err_name(1), "UNKNOWN");
    assert_string_equal(err_name(-1000), "UNKNOWN");
    assert_string_equal(err_text(-1000), "unknown error");
}

static void messages_are_wrapped_from_the_outside(void **state)
{
    (void)state;
    struct err err = {0};
    assert_int_equal(err_set(&err, ERR_RANGE, "%d is too much", 7), ERR_RANGE);
    err_wrap(&err, "read '%s'", "f");
    assert_string_equal(err.message, "read 'f': 7 is too much");
    assert_int_equal(err.code, ERR_RANGE);
    assert_int_equal(err_set(&err, ERR_IO, "again: %s", err.message), ERR_IO);
    assert_string_equal(err.message, "again: read 'f': 7 is too much");
    struct err bare = {.code = ERR_NOMEM};
    err_wrap(&bare, "start");
    assert_string_equal(bare.message, "start: out of memory");
    assert_int_equal(err_set(NULL, ERR_IO, "x"), ERR_IO);
    err_wrap(NULL, "x");
}

static void a_long_message_is_cut(void **state)
{
    (void)state;
    struct err err = {0};
    (void)err_set(&err, ERR_IO, "%0600d", 1);
    assert_int_equal(strlen(err.message), ERR_MESSAGE_BYTES - 1);
    err_wrap(&err, "%0510d", 1);
    assert_int_equal(strlen(err.message), ERR_MESSAGE_BYTES - 1);
    err_wrap(&err, "%0600d", 1);
    assert_int_equal(strlen(err.message), ERR_MESSAGE_BYTES - 1);
}

static void foreign_codes_are_translated(void **state)
{
    (void)state;
    assert_int_equal(err_from_errno(0), 0);
    assert_int_equal(err_from_errno(ENOENT), ERR_NOT_FOUND);
    assert_int_equal(err_from_errno(ENOSPC), ERR_NO_SPACE);
    assert_int_equal(err_from_errno(12345), ERR_IO);
    assert_int_equal(err_from_uv(0), 0);
    assert_int_equal(err_from_uv(UV_EOF), ERR_EOF);
    assert_int_equal(err_from_uv(UV_ECONNREFUSED), ERR_REFUSED);
    assert_int_equal(err_from_uv(UV_ECANCELED), ERR_CANCELED);
    assert_int_equal(err_from_uv(UV_EAI_NONAME), ERR_UNREACHABLE);
    assert_int_equal(err_from_uv(UV_ETIMEDOUT), ERR_TIMEOUT);
}

static void memory_is_counted_and_can_be_made_to_fail(void **state)
{
    (void)state;
    uint64_t before = mem_live_bytes();
    char *p = mem_alloc(100);
    assert_in_range(mem_live_bytes() - before, 100, 200);
    p = mem_realloc(p, 1000);
    assert_in_range(mem_live_bytes() - before, 1000, 1100);
    fault_arm_alloc(0);
    assert_null(mem_realloc(p, 2000));
    assert_true(fault_disarm());
    mem_free(p);
    assert_null(mem_calloc(SIZE_MAX, 2));
    assert_null(mem_strndup("a", SIZE_MAX));
    p = mem_strndup("abc", 2);
    assert_string_equal(p, "ab");
    mem_free(p);
    p = mem_calloc(0, 8);
    assert_non_null(p);
    mem_free(p);
    p = mem_realloc(NULL, 0);
    assert_non_null(p);
    mem_free(p);
    mem_free(NULL);
    assert_int_equal(mem_live_bytes(), before);
    unsigned failed = 0;
    for (unsigned n = 0; n < 4; n++) {
        fault_arm_alloc(0);
        void *made = n == 0   ? mem_alloc(1)
                     : n == 1 ? mem_zalloc(1)
                     : n == 2 ? mem_calloc(1, 1)
                              : mem_strdup("");
        failed += made == NULL;
        (void)fault_disarm();
    }
    assert_int_equal(failed, 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code_has_a_name_and_a_text),
        cmocka_unit_test(messages_are_wrapped_from_the_outside),
        cmocka_unit_test(a_long_message_is_cut),
        cmocka_unit_test(foreign_codes_are_translated),
        cmocka_unit_test(memory_is_counted_and_can_be_made_to_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
