#include "common/base/url.h"

#include "tests/lib/fault.h"

static void a_url_is_taken_apart(void **state)
{
    (void)state;
    struct url u;
    assert_int_equal(url_parse(STR("https://api.example.com/v1/"), &u), 0);
    assert_true(u.tls && u.port == 443 && str_is(u.host, "api.example.com"));
    assert_true(str_is(u.authority, "api.example.com") && str_is(u.path, "/v1/"));
    assert_int_equal(url_parse(STR("http://[::1]:8080"), &u), 0);
    assert_true(!u.tls && u.port == 8080 && str_is(u.host, "::1") && u.path.len == 0);
    assert_true(str_is(u.authority, "[::1]:8080"));
    assert_int_equal(url_parse(STR("http://[::1]/"), &u), 0);
    assert_true(u.port == 80 && str_is(u.authority, "[::1]") && str_is(u.path, "/"));
}

static void what_is_no_address_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",           "h",           "ftp://a",      "https://",        "https:///a", "https://u@h",
        "https://:1", "https://h:0", "https://h:",   "https://h:x",     "http://[",   "http://[]",
        "http://[a",  "http://[a]b", "http://[a]:",  "https://h:65536", "http://h?q", "http://h/#f",
        "http://h /", "http://h\\x", "http://h:1:2", "http://h\x80"};
    struct url u;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(url_parse(str_from(bad[i]), &u), ERR_INVALID);
}

static void a_host_has_a_greatest_length(void **state)
{
    (void)state;
    char text[8 + URL_HOST_BYTES_MAX + 1] = "https://";
    struct url u;
    for (size_t i = 8; i < sizeof text; i++)
        text[i] = 'h';
    assert_int_equal(url_parse((struct str){text, sizeof text - 1}, &u), 0);
    assert_int_equal(url_parse((struct str){text, sizeof text}, &u), ERR_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_url_is_taken_apart),
        cmocka_unit_test(what_is_no_address_is_refused),
        cmocka_unit_test(a_host_has_a_greatest_length),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
