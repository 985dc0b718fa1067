#include "common/crypto/digest.h"
#include "tests/lib/fault.h"

#include <string.h>

#include "common/base/mem.h"

static void expect_sha256(struct sha256 digest, const char *expected)
{
    char hex[SHA256_HEX_BYTES];
    hex_encode(digest.bytes, sizeof digest.bytes, hex);
    assert_string_equal(hex, expected);
}

static void sha256_gives_the_values_of_fips_180(void **state)
{
    (void)state;
    expect_sha256(digest_sha256("abc", 3),
                  "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    expect_sha256(digest_sha256(NULL, 0),
                  "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

static void a_stream_gives_the_same_for_any_split(void **state)
{
    (void)state;
    static const char text[] =
        "The quick brown fox jumps over the lazy dog, twice over and back again.";
    struct sha256 whole = digest_sha256(text, sizeof text);
    for (size_t at = 0; at <= sizeof text; at++) {
        struct digest_stream *d = digest_stream_create();
        assert_non_null(d);
        digest_stream_update(d, text, at);
        digest_stream_update(d, text + at, sizeof text - at);
        struct sha256 split = digest_stream_final(d);
        assert_true(digest_equal(&split, &whole, sizeof whole));
    }
    fault_arm_alloc(0);
    assert_null(digest_stream_create());
    assert_true(fault_disarm());
    assert_int_equal(mem_live_bytes(), 0);
}

static void equality_sees_every_byte(void **state)
{
    (void)state;
    struct sha256 a = digest_sha256("abc", 3);
    for (unsigned i = 0; i < SHA256_BYTES; i++) {
        struct sha256 b = a;
        b.bytes[i] ^= 1;
        assert_false(digest_equal(&a, &b, sizeof a));
    }
}

static void hex_is_strict(void **state)
{
    (void)state;
    unsigned char out[3] = {9, 9, 9};
    assert_int_equal(hex_decode(STR("00fFa5"), out, 3), 0);
    assert_memory_equal(out, "\x00\xFF\xA5", 3);
    assert_int_equal(hex_decode(STR("00ff"), out, 3), ERR_INVALID);
    assert_int_equal(hex_decode(STR("00fff"), out, 3), ERR_INVALID);
    assert_int_equal(hex_decode(STR("00ffgg"), out, 3), ERR_SYNTAX);
    assert_memory_equal(out, "\x00\xFF\xA5", 3);
}

static void base64_gives_the_values_of_rfc_4648(void **state)
{
    (void)state;
    static const char *const table[][2] = {
        {"", ""},
        {"f", "Zg=="},
        {"fo", "Zm8="},
        {"foo", "Zm9v"},
        {"foob", "Zm9vYg=="},
        {"fooba", "Zm9vYmE="},
        {"foobar", "Zm9vYmFy"},
        {"\xFB\xFF\xFE", "+//+"},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct buf b;
        buf_init(&b, 100);
        assert_int_equal(base64_encode(str_from(table[i][0]), &b), 0);
        assert_string_equal(buf_cstr(&b), table[i][1]);
        buf_clear(&b);
        assert_int_equal(base64_decode(str_from(table[i][1]), &b), 0);
        assert_string_equal(buf_cstr(&b), table[i][0]);
        buf_deinit(&b);
    }
}

static void base64_has_one_text_for_each_value(void **state)
{
    (void)state;
    static const char *const bad[] = {"Z",    "Zg",   "Zg=",  "Zg===",  "Zh==", "Zm9=", "Zg==Zg==",
                                      "Z===", "====", "=Zg=", "Zm9v\n", "Zm 9", "Zm-_", "Zg=x"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct buf b;
        buf_init(&b, 100);
        assert_int_equal(base64_decode(str_from(bad[i]), &b), ERR_SYNTAX);
        assert_int_equal(b.len, 0);
        buf_deinit(&b);
    }
    struct buf small;
    buf_init(&small, 3);
    assert_int_equal(base64_encode(STR("a"), &small), ERR_TOO_LARGE);
    assert_int_equal(base64_decode(STR("Zm9vYmFy"), &small), ERR_TOO_LARGE);
    assert_int_equal(base64_decode(STR("Zm9v"), &small), 0);
    buf_deinit(&small);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sha256_gives_the_values_of_fips_180),
        cmocka_unit_test(a_stream_gives_the_same_for_any_split),
        cmocka_unit_test(equality_sees_every_byte),
        cmocka_unit_test(hex_is_strict),
        cmocka_unit_test(base64_gives_the_values_of_rfc_4648),
        cmocka_unit_test(base64_has_one_text_for_each_value),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
