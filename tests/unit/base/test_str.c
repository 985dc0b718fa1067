#include "common/base/str.h"
#include "tests/lib/fault.h"

#include <string.h>

static void slices_are_clamped(void **state)
{
    (void)state;
    struct str s = STR("abcdef");
    assert_true(str_is(str_slice(s, 1, 3), "bc"));
    assert_true(str_is(str_slice(s, 4, 100), "ef"));
    assert_int_equal(str_slice(s, 5, 2).len, 0);
    assert_int_equal(str_slice(STR_NULL, 0, 9).len, 0);
    assert_null(str_slice(STR_NULL, 0, 9).data);
}

static void comparisons_see_bytes(void **state)
{
    (void)state;
    assert_true(str_eq(STR_NULL, STR("")));
    assert_false(str_eq(STR("a\0b"), STR("a\0c")));
    assert_true(str_eq_nocase(STR("Content-TYPE"), STR("content-type")));
    assert_false(str_eq_nocase(STR("["), STR("{")));
    assert_true(str_starts(STR("abc"), STR("ab")));
    assert_false(str_starts(STR("a"), STR("ab")));
    assert_true(str_ends(STR("abc"), STR("bc")));
    assert_true(str_compare(STR("a"), STR("b")) < 0);
    assert_true(str_compare(STR("ab"), STR("a")) > 0);
    assert_true(str_compare(STR("\xFF"), STR("a")) > 0);
    assert_int_equal(str_compare(STR_NULL, STR("")), 0);
    assert_int_equal(str_find(STR("abc"), 'c'), 2);
    assert_int_equal(str_find(STR_NULL, 'c'), -1);
    assert_int_equal(str_search(STR("abcabd"), STR("abd")), 3);
    assert_int_equal(str_search(STR("ab"), STR("abd")), -1);
    assert_true(str_is(str_trim(STR(" \ta b\t ")), "a b"));
    assert_int_equal(str_trim(STR(" ")).len, 0);
}

static void a_cut_splits_at_the_first_separator(void **state)
{
    (void)state;
    struct str head;
    struct str rest;
    assert_true(str_cut(STR("a=b=c"), '=', &head, &rest));
    assert_true(str_is(head, "a") && str_is(rest, "b=c"));
    assert_true(str_cut(STR("a="), '=', &head, &rest));
    assert_true(str_is(head, "a") && rest.len == 0);
    assert_false(str_cut(STR("abc"), '=', &head, &rest));
    assert_true(str_is(head, "abc") && rest.len == 0);
}

static void plain_is_what_json_holds_as_it_is(void **state)
{
    (void)state;
    assert_true(str_is_plain(STR_NULL));
    for (int c = 0; c < 256; c++) {
        const char text[] = {'a', (char)c, 'b'};
        assert_true(str_is_plain((struct str){text, 3}) ==
                    (c >= 0x20 && c < 0x7f && c != '"' && c != '\\'));
    }
}

static void a_copy_fits_or_fails(void **state)
{
    (void)state;
    char out[4];
    assert_true(str_copy(STR("abc"), out, sizeof out));
    assert_string_equal(out, "abc");
    assert_false(str_copy(STR("abcd"), out, sizeof out));
    assert_string_equal(out, "");
    assert_false(str_copy(STR("a\0b"), out, sizeof out));
    assert_true(str_copy(STR_NULL, out, 1));
}

static void integers_are_digits_within_a_range(void **state)
{
    (void)state;
    uint64_t u = 0;
    int64_t i = 0;
    assert_int_equal(str_parse_u64(STR("18446744073709551615"), UINT64_MAX, &u), 0);
    assert_int_equal(u, UINT64_MAX);
    assert_int_equal(str_parse_u64(STR("18446744073709551616"), UINT64_MAX, &u), ERR_RANGE);
    assert_int_equal(str_parse_u64(STR("11"), 10, &u), ERR_RANGE);
    assert_int_equal(str_parse_u64(STR("007"), 10, &u), 0);
    static const char *const bad[] = {"",   "-1",  "+1",  " 1",
                                      "1 ", "0x1", "1.0", "99999999999999999999x"};
    for (unsigned k = 0; k < sizeof bad / sizeof bad[0]; k++)
        assert_int_equal(str_parse_u64(str_from(bad[k]), UINT64_MAX, &u), ERR_SYNTAX);
    assert_int_equal(str_parse_i64(STR("-9223372036854775808"), INT64_MIN, INT64_MAX, &i), 0);
    assert_true(i == INT64_MIN);
    assert_int_equal(str_parse_i64(STR("-9223372036854775809"), INT64_MIN, INT64_MAX, &i),
                     ERR_RANGE);
    assert_int_equal(str_parse_i64(STR("9223372036854775808"), INT64_MIN, INT64_MAX, &i),
                     ERR_RANGE);
    assert_int_equal(str_parse_i64(STR("-5"), -4, 4, &i), ERR_RANGE);
    assert_int_equal(str_parse_i64(STR("-"), -4, 4, &i), ERR_SYNTAX);
    assert_int_equal(str_parse_i64(STR("--1"), -4, 4, &i), ERR_SYNTAX);
}

static void durations_and_sizes_need_their_unit(void **state)
{
    (void)state;
    uint64_t v = 0;
    assert_int_equal(str_parse_duration_ms(STR("250ms"), &v), 0);
    assert_int_equal(v, 250);
    assert_int_equal(str_parse_duration_ms(STR("7d"), &v), 0);
    assert_int_equal(v, 604800000);
    assert_int_equal(str_parse_duration_ms(STR("2m"), &v), 0);
    assert_int_equal(v, 120000);
    assert_int_equal(str_parse_duration_ms(STR("30"), &v), ERR_SYNTAX);
    assert_int_equal(str_parse_duration_ms(STR("1.5s"), &v), ERR_SYNTAX);
    assert_int_equal(str_parse_duration_ms(STR("-1s"), &v), ERR_SYNTAX);
    assert_int_equal(str_parse_duration_ms(STR("s"), &v), ERR_SYNTAX);
    assert_int_equal(str_parse_duration_ms(STR("18446744073709551615d"), &v), ERR_RANGE);
    assert_int_equal(str_parse_size(STR("512"), &v), 0);
    assert_int_equal(v, 512);
    assert_int_equal(str_parse_size(STR("4MiB"), &v), 0);
    assert_int_equal(v, 4194304);
    assert_int_equal(str_parse_size(STR("4MB"), &v), ERR_SYNTAX);
}

static void money_is_exact_or_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        unsigned scale;
        int rc;
        int64_t value;
    } table[] = {
        {"0.95", 4, 0, 9500},
        {"-0.95", 4, 0, -9500},
        {"12", 2, 0, 1200},
        {"0.12000", 2, 0, 12},
        {"0.123", 2, ERR_RANGE, 0},
        {"9223372036854775807", 0, 0, INT64_MAX},
        {"-9223372036854775808", 0, 0, INT64_MIN},
        {"9223372036854775808", 0, ERR_RANGE, 0},
        {"9223372036.854775807", 9, 0, INT64_MAX},
        {"9223372036.854775808", 9, ERR_RANGE, 0},
        {"0", 100, 0, 0},
        {"", 2, ERR_SYNTAX, 0},
        {".5", 2, ERR_SYNTAX, 0},
        {"5.", 2, ERR_SYNTAX, 0},
        {"1e2", 2, ERR_SYNTAX, 0},
        {"1,5", 2, ERR_SYNTAX, 0},
        {"-", 2, ERR_SYNTAX, 0},
        {"+1", 2, ERR_SYNTAX, 0},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        int64_t value = 0;
        int rc = str_parse_fixed(str_from(table[i].text), table[i].scale, &value);
        if (rc != table[i].rc || value != table[i].value)
            fail_msg("%s: %d, %lld", table[i].text, rc, (long long)value);
    }
}

/* A second opinion: decode the code point and ask whether it needs exactly these bytes. */
static size_t model_length(const unsigned char *p, size_t left)
{
    uint32_t c = 0;
    size_t n = p[0] < 0x80 ? 1 : p[0] >> 5 == 6 ? 2 : p[0] >> 4 == 14 ? 3 : p[0] >> 3 == 30 ? 4 : 0;
    if (n == 0 || n > left)
        return 0;
    c = n == 1 ? p[0] : p[0] & (0x7FU >> n);
    for (size_t i = 1; i < n; i++) {
        if (p[i] >> 6 != 2)
            return 0;
        c = c << 6 | (p[i] & 0x3FU);
    }
    size_t need = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    return need == n && c <= 0x10FFFF && (c < 0xD800 || c > 0xDFFF) ? n : 0;
}

static void a_head_holds_whole_characters(void **state)
{
    (void)state;
    const struct str s = STR("a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80");
    static const size_t lens[] = {0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10, 10};
    for (size_t max = 0; max < sizeof lens / sizeof lens[0]; max++)
        assert_true(str_eq(str_utf8_head(s, max), str_slice(s, 0, lens[max])));
}

static void utf8_is_what_unicode_says(void **state)
{
    (void)state;
    static const unsigned char edges[] = {0x00, 0x41, 0x7F, 0x80, 0x8F, 0x90,
                                          0x9F, 0xA0, 0xBF, 0xC0, 0xFF};
    const size_t n = sizeof edges;
    for (unsigned lead = 0; lead < 256; lead++) {
        for (size_t i = 0; i < n * n * n; i++) {
            unsigned char p[4] = {(unsigned char)lead, edges[i % n], edges[i / n % n],
                                  edges[i / n / n]};
            for (size_t len = 1; len <= 4; len++) {
                struct str s = {.data = (const char *)p, .len = len};
                assert_int_equal(str_utf8_length(s, 0), model_length(p, len));
            }
        }
    }
    assert_int_equal(str_utf8_length(STR("a"), 1), 0);
}

static void a_bad_byte_is_found_anywhere(void **state)
{
    (void)state;
    char text[40];
    for (size_t at = 0; at < sizeof text; at++) {
        memset(text, 'a', sizeof text);
        assert_true(str_valid_utf8((struct str){.data = text, .len = sizeof text}));
        text[at] = (char)0xC3;
        assert_false(str_valid_utf8((struct str){.data = text, .len = sizeof text}));
        if (at + 1 < sizeof text) {
            text[at + 1] = (char)0xA9;
            assert_true(str_valid_utf8((struct str){.data = text, .len = sizeof text}));
        }
    }
    assert_true(str_valid_utf8(STR_NULL));
}

static char lower_of(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

static void case_is_ignored_for_letters_and_nothing_else(void **state)
{
    (void)state;
    char a[19], b[19];
    for (size_t len = 1; len <= sizeof(a); len += 3) {
        memset(a, 'x', len);
        memset(b, 'X', len);
        for (unsigned pair = 0; pair < 65536; pair++) {
            size_t at = pair % len;
            a[at] = (char)(pair & 0xff);
            b[at] = (char)(pair >> 8);
            bool same = lower_of(a[at]) == lower_of(b[at]);
            assert_int_equal(str_eq_nocase((struct str){a, len}, (struct str){b, len}), same);
            a[at] = 'x';
            b[at] = 'X';
        }
        assert_false(str_eq_nocase((struct str){a, len}, (struct str){b, len - 1}));
    }
}

/* One byte differs, or none: what lies around does not matter. */
static void the_same_is_seen_at_every_length(void **state)
{
    (void)state;
    char a[102], b[102];
    for (size_t len = 0; len <= 100; len++) {
        memset(a, 'a', sizeof a);
        memset(b, 'b', sizeof b);
        memset(a + 1, 'x', len);
        memset(b + 1, 'x', len);
        assert_true(str_same(a + 1, b + 1, len));
        for (size_t at = 0; at < len; at++) {
            b[1 + at] = (char)('x' ^ (1 << at % 8));
            assert_false(str_same(a + 1, b + 1, len));
            b[1 + at] = 'x';
        }
    }
}

static void hexadecimal_digits_have_their_value(void **state)
{
    (void)state;
    static const char lower[] = "0123456789abcdef", upper[] = "0123456789ABCDEF";
    for (int c = 1; c < 256; c++) {
        const char *at = strchr(lower, c), *other = strchr(upper, c);
        const long value = at != NULL ? at - lower : other != NULL ? other - upper : -1;
        assert_int_equal(str_hex_value((char)c), value);
    }
    assert_int_equal(str_hex_value('\0'), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_is_seen_at_every_length),
        cmocka_unit_test(case_is_ignored_for_letters_and_nothing_else),
        cmocka_unit_test(slices_are_clamped),
        cmocka_unit_test(comparisons_see_bytes),
        cmocka_unit_test(a_cut_splits_at_the_first_separator),
        cmocka_unit_test(plain_is_what_json_holds_as_it_is),
        cmocka_unit_test(a_copy_fits_or_fails),
        cmocka_unit_test(hexadecimal_digits_have_their_value),
        cmocka_unit_test(integers_are_digits_within_a_range),
        cmocka_unit_test(durations_and_sizes_need_their_unit),
        cmocka_unit_test(money_is_exact_or_refused),
        cmocka_unit_test(utf8_is_what_unicode_says),
        cmocka_unit_test(a_head_holds_whole_characters),
        cmocka_unit_test(a_bad_byte_is_found_anywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
