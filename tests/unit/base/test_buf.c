#include "common/base/buf.h"
#include "tests/lib/fault.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/mem.h"

static void appends_up_to_its_maximum(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 10);
    assert_int_equal(buf_append_text(&b, "hello"), 0);
    assert_int_equal(buf_append_str(&b, STR("worlds")), ERR_TOO_LARGE);
    assert_int_equal(buf_append_str(&b, STR("world")), 0);
    assert_int_equal(buf_append_char(&b, '!'), ERR_TOO_LARGE);
    assert_int_equal(buf_reserve(&b, SIZE_MAX), ERR_TOO_LARGE);
    assert_string_equal(buf_cstr(&b), "helloworld");
    buf_consume(&b, 5);
    assert_string_equal(buf_cstr(&b), "world");
    buf_consume(&b, 5);
    assert_int_equal(b.len, 0);
    assert_int_equal(buf_append(&b, NULL, 0), 0);
    buf_deinit(&b);
    buf_deinit(&b);
    assert_string_equal(buf_cstr(&b), "");
    buf_deinit(&b);
}

static void numbers_are_decimal(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 200);
    assert_int_equal(buf_append_u64(&b, 0), 0);
    assert_int_equal(buf_append_char(&b, ' '), 0);
    assert_int_equal(buf_append_u64(&b, UINT64_MAX), 0);
    assert_int_equal(buf_append_char(&b, ' '), 0);
    assert_int_equal(buf_append_i64(&b, INT64_MIN), 0);
    assert_string_equal(buf_cstr(&b), "0 18446744073709551615 -9223372036854775808");
    b.max = b.len + 2;
    size_t len = b.len;
    assert_int_equal(buf_append_i64(&b, -10), ERR_TOO_LARGE);
    assert_int_equal(b.len, len);
    buf_deinit(&b);
}

static void printf_fits_exactly_or_not_at_all(void **state)
{
    (void)state;
    for (size_t max = 0; max < 200; max++) {
        struct buf b;
        buf_init(&b, max);
        int rc = buf_printf(&b, "%0100d", 7);
        assert_int_equal(rc, max >= 100 ? 0 : ERR_TOO_LARGE);
        assert_int_equal(b.len, max >= 100 ? 100 : 0);
        if (rc == 0) {
            rc = buf_printf(&b, "%s", "0123456789");
            assert_int_equal(rc, max >= 110 ? 0 : ERR_TOO_LARGE);
            assert_int_equal(strlen(buf_cstr(&b)), max >= 110 ? 110 : 100);
        }
        buf_deinit(&b);
    }
}

static void growth_survives_each_failed_allocation(void **state)
{
    (void)state;
    bool fired = true;
    for (unsigned n = 0; fired; n++) {
        struct buf b;
        buf_init(&b, 1000);
        int rc = 0;
        size_t before = 0;
        fault_arm_alloc(n);
        for (unsigned i = 0; i < 900 && rc == 0; i++) {
            before = b.len;
            rc = buf_append_char(&b, 'x');
        }
        fired = fault_disarm();
        assert_int_equal(rc, fired ? ERR_NOMEM : 0);
        assert_int_equal(b.len, fired ? before : 900);
        buf_deinit(&b);
    }
    assert_int_equal(mem_live_bytes(), 0);
}

static void a_file_is_replaced_whole_and_read_back(void **state)
{
    (void)state;
    char directory[] = "/tmp/steelyard-buf-XXXXXX";
    char path[64];
    struct buf b;
    struct err err = {0};
    struct stat st;
    assert_non_null(mkdtemp(directory));
    (void)snprintf(path, sizeof path, "%s/f", directory);
    assert_int_equal(buf_write_file(STR("first, longer"), path, 0644, &err), 0);
    assert_int_equal(buf_write_file(STR("second"), path, 0600, &err), 0);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    buf_init(&b, 100);
    assert_int_equal(buf_append_text(&b, "> "), 0);
    assert_int_equal(buf_read_file(&b, path, 6, &err), 0);
    assert_string_equal(buf_cstr(&b), "> second");
    assert_int_equal(buf_read_file(&b, path, 5, &err), ERR_TOO_LARGE);
    assert_string_equal(buf_cstr(&b), "> second");
    b.max = 10;
    assert_int_equal(buf_read_file(&b, path, 50, &err), ERR_TOO_LARGE);
    assert_int_equal(b.len, 8);
    b.max = 14;
    assert_int_equal(buf_read_file(&b, path, 50, &err), 0);
    buf_deinit(&b);
    struct buf zeroed = {0};
    assert_int_equal(buf_read_file(&zeroed, path, 50, &err), 0);
    assert_string_equal(buf_cstr(&zeroed), "second");
    buf_deinit(&zeroed);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(directory), 0); /* No temporary file is left. */
}

static void file_errors_name_the_path_and_the_cause(void **state)
{
    (void)state;
    struct buf b;
    struct err err = {0};
    buf_init(&b, 100);
    assert_int_equal(buf_read_file(&b, "/nonexistent/x", 10, &err), ERR_NOT_FOUND);
    assert_string_equal(err.message, "read '/nonexistent/x': No such file or directory");
    assert_int_equal(buf_write_file(STR("a"), "/nonexistent/x", 0600, &err), ERR_NOT_FOUND);
    assert_string_equal(err.message, "write '/nonexistent/x': No such file or directory");
    assert_true(buf_read_file(&b, "/tmp", 10, NULL) < 0);
    buf_deinit(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(appends_up_to_its_maximum),
        cmocka_unit_test(numbers_are_decimal),
        cmocka_unit_test(printf_fits_exactly_or_not_at_all),
        cmocka_unit_test(growth_survives_each_failed_allocation),
        cmocka_unit_test(a_file_is_replaced_whole_and_read_back),
        cmocka_unit_test(file_errors_name_the_path_and_the_cause),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
