#include "common/json/json.h"
#include "common/json/json_writer.h"
#include "tests/lib/fault.h"

#include <string.h>

static void write_sample(struct json_writer *w)
{
    json_writer_begin_object(w);
    json_writer_key(w, "s");
    json_writer_string(w, STR("a\"b"));
    json_writer_key_str(w, STR("k\n"));
    json_writer_begin_array(w);
    json_writer_i64(w, INT64_MIN);
    json_writer_u64(w, UINT64_MAX);
    json_writer_bool(w, true);
    json_writer_bool(w, false);
    json_writer_null(w);
    json_writer_text(w, NULL);
    json_writer_text(w, "t");
    json_writer_begin_object(w);
    json_writer_end_object(w);
    json_writer_begin_array(w);
    json_writer_end_array(w);
    json_writer_raw(w, STR("{\"raw\": 1}"));
    json_writer_end_array(w);
    json_writer_key(w, "p");
    json_writer_begin_string(w);
    json_writer_part(w, STR("one "));
    json_writer_part(w, STR("\"two\""));
    json_writer_end_string(w);
    json_writer_key(w, "e");
    json_writer_string(w, STR_NULL);
    json_writer_end_object(w);
}

static const char sample[] =
    "{\"s\":\"a\\\"b\",\"k\\n\":[-9223372036854775808,18446744073709551615,true,false,null,null,"
    "\"t\",{},[],{\"raw\": 1}],\"p\":\"one \\\"two\\\"\",\"e\":\"\"}";

static void commas_and_nesting_come_by_themselves(void **state)
{
    (void)state;
    struct buf out;
    struct json_writer w;
    buf_init(&out, 1000);
    assert_int_equal(buf_append_text(&out, "data: "), 0);
    json_writer_init(&w, &out);
    write_sample(&w);
    assert_int_equal(json_writer_finish(&w), 0);
    assert_memory_equal(out.data, "data: ", 6);
    assert_string_equal(buf_cstr(&out) + 6, sample);
    buf_deinit(&out);
}

static void check_string(struct str text, const char *expected)
{
    struct buf out;
    struct json_writer w;
    struct json j;
    buf_init(&out, 1000);
    json_writer_init(&w, &out);
    json_writer_string(&w, text);
    assert_int_equal(json_writer_finish(&w), 0);
    assert_string_equal(buf_cstr(&out), expected);
    json_init(&j, 10);
    assert_int_equal(json_parse(&j, buf_str(&out), NULL), 0);
    json_deinit(&j);
    buf_deinit(&out);
}

static void strings_are_escaped_and_broken_utf8_is_replaced(void **state)
{
    (void)state;
    check_string(STR("a/\b\f\n\r\t\\\x7F"), "\"a/\\b\\f\\n\\r\\t\\\\\x7F\"");
    check_string(STR("\0\x01\x1F"), "\"\\u0000\\u0001\\u001f\"");
    check_string(STR("\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80"),
                 "\"\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80\"");
    check_string(STR("a\xFF"
                     "b\xC3"),
                 "\"a\xEF\xBF\xBD"
                 "b\xEF\xBF\xBD\"");
    check_string(STR("\xED\xA0\x80"), "\"\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\"");
}

static void every_byte_pair_gives_valid_json(void **state)
{
    (void)state;
    struct buf out;
    struct json j;
    buf_init(&out, 1000);
    json_init(&j, 10);
    for (unsigned i = 0; i < 65536; i++) {
        char bytes[2] = {(char)(i >> 8), (char)(i & 255)};
        struct json_writer w;
        buf_clear(&out);
        json_writer_init(&w, &out);
        json_writer_string(&w, (struct str){.data = bytes, .len = 2});
        assert_int_equal(json_writer_finish(&w), 0);
        assert_int_equal(json_parse(&j, buf_str(&out), NULL), 0);
        if (str_valid_utf8((struct str){.data = bytes, .len = 2}))
            assert_true(json_string_is(&j, JSON_ROOT, (struct str){.data = bytes, .len = 2}));
    }
    json_deinit(&j);
    buf_deinit(&out);
}

static void fixed_point_is_written_in_its_shortest_form(void **state)
{
    (void)state;
    static const struct {
        int64_t value;
        unsigned scale;
        const char *text;
    } table[] = {
        {7000, 4, "0.7"},
        {120, 1, "12"},
        {0, 9, "0"},
        {-25, 2, "-0.25"},
        {1, 18, "0.000000000000000001"},
        {INT64_MIN, 18, "-9.223372036854775808"},
        {INT64_MAX, 0, "9223372036854775807"},
        {-1000, 3, "-1"},
        {1234567, 6, "1.234567"},
        {100, 0, "100"},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct buf out;
        struct json_writer w;
        buf_init(&out, 100);
        json_writer_init(&w, &out);
        json_writer_fixed(&w, table[i].value, table[i].scale);
        assert_int_equal(json_writer_finish(&w), 0);
        assert_string_equal(buf_cstr(&out), table[i].text);
        buf_deinit(&out);
    }
}

static void a_full_buffer_sticks_and_leaves_no_half_value(void **state)
{
    (void)state;
    for (size_t max = 0; max < sizeof sample - 1; max++) {
        struct buf out;
        struct json_writer w;
        buf_init(&out, max);
        json_writer_init(&w, &out);
        write_sample(&w);
        assert_int_equal(json_writer_finish(&w), ERR_TOO_LARGE);
        assert_int_equal(out.len, 0);
        buf_deinit(&out);
    }
}

static void nesting_past_the_limit_is_an_error(void **state)
{
    (void)state;
    struct buf out;
    struct json_writer w;
    buf_init(&out, 10000);
    json_writer_init(&w, &out);
    for (unsigned i = 0; i <= JSON_WRITER_DEPTH_MAX; i++)
        json_writer_begin_array(&w);
    for (unsigned i = 0; i <= JSON_WRITER_DEPTH_MAX; i++)
        json_writer_end_array(&w);
    assert_int_equal(json_writer_finish(&w), ERR_LIMIT);
    buf_deinit(&out);
}

static void writing_survives_each_failed_allocation(void **state)
{
    (void)state;
    bool fired = true;
    for (unsigned n = 0; fired; n++) {
        struct buf out;
        struct json_writer w;
        buf_init(&out, 10000);
        fault_arm_alloc(n);
        json_writer_init(&w, &out);
        write_sample(&w);
        int rc = json_writer_finish(&w);
        fired = fault_disarm();
        assert_int_equal(rc, fired ? ERR_NOMEM : 0);
        assert_int_equal(out.len, fired ? 0 : sizeof sample - 1);
        buf_deinit(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(commas_and_nesting_come_by_themselves),
        cmocka_unit_test(strings_are_escaped_and_broken_utf8_is_replaced),
        cmocka_unit_test(every_byte_pair_gives_valid_json),
        cmocka_unit_test(fixed_point_is_written_in_its_shortest_form),
        cmocka_unit_test(a_full_buffer_sticks_and_leaves_no_half_value),
        cmocka_unit_test(nesting_past_the_limit_is_an_error),
        cmocka_unit_test(writing_survives_each_failed_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
