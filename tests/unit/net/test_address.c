#include "common/net/address.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "tests/lib/fault.h"

static void a_port_takes_the_place_of_the_one_before(void **state)
{
    (void)state;
    static const char *const rows[][2] = {{"127.0.0.1:0", "127.0.0.1:8080"},
                                          {"[::1]:65535", "[::1]:8080"},
                                          {":0", ":8080"},
                                          {"unix:/run/x.sock", "unix:/run/x.sock"}};
    char out[ADDRESS_BYTES_MAX], longest[2 * ADDRESS_BYTES_MAX];
    struct err err = {0};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(address_with_port(rows[i][0], 8080, out, &err), 0);
        assert_string_equal(out, rows[i][1]);
    }
    memset(longest, 'x', sizeof longest);
    memcpy(longest + sizeof longest - 3, ":0", 3);
    assert_int_equal(address_with_port(longest, 8080, out, &err), ERR_TOO_LARGE);
}

static void addresses_are_written_as_something_to_connect_to(void **state)
{
    (void)state;
    char dir[] = "/tmp/steelyard-address-XXXXXX", path[64];
    struct err err = {0};
    struct buf file = {0};
    const struct address_entry entries[] = {
        {"http", ":0", 8080}, {"metrics", "127.0.0.1:9", 0}, {"x", "unix:/run/x", 7}};
    assert_non_null(mkdtemp(dir));
    assert_int_equal(addresses_write(dir, entries, 3, &err), 0);
    struct buf b = {.data = path, .cap = sizeof path, .max = sizeof path};
    assert_int_equal(buf_append_text(&b, dir), 0);
    assert_int_equal(buf_append(&b, "/addresses.json", 16), 0);
    assert_int_equal(buf_read_file(&file, path, 4096, &err), 0);
    assert_string_equal(buf_cstr(&file), "{\"http\":\"127.0.0.1:8080\",\"metrics\":\"127.0.0.1:9\","
                                         "\"x\":\"unix:/run/x\"}\n");
    buf_deinit(&file);
    for (unsigned n = 0;; n++) {
        fault_arm_alloc(n);
        int rc = addresses_write(dir, entries, 3, &err);
        if (!fault_disarm())
            break;
        assert_int_equal(rc, ERR_NOMEM);
    }
    (void)unlink(path);
    (void)rmdir(dir);
    assert_true(addresses_write(dir, entries, 3, &err) != 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_port_takes_the_place_of_the_one_before),
        cmocka_unit_test(addresses_are_written_as_something_to_connect_to),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
