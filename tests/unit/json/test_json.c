#include "common/json/json.h"
#include "common/json/json_internal.h"
#include "tests/lib/fault.h"

#include <string.h>

#include "common/base/buf.h"
#include "common/base/mem.h"

static int setup(void **state)
{
    static struct json j;
    json_init(&j, JSON_NODES_MAX);
    *state = &j;
    return 0;
}

static int teardown(void **state)
{
    json_deinit(*state);
    assert_int_equal(mem_live_bytes(), 0);
    return 0;
}

static void parse(struct json *j, const char *text)
{
    struct json_error error = {0};
    int rc = json_parse(j, str_from(text), &error);
    if (rc != 0)
        fail_msg("%s: %s at %zu", text, json_problem_text(error.problem), error.offset);
}

static void members_are_found_by_key_after_unescaping(void **state)
{
    struct json *j = *state;
    parse(j, "{\"a\":1,\"b\\u0062\":{\"c\":[10,20]},\"\":\"x\"}");
    assert_int_equal(json_count(j, JSON_ROOT), 3);
    uint32_t b = json_get(j, JSON_ROOT, STR("bb"));
    assert_int_equal(json_kind(j, b), JSON_OBJECT);
    assert_true(str_is(json_raw(j, b), "{\"c\":[10,20]}"));
    uint32_t c = json_get(j, b, STR("c"));
    assert_int_equal(json_count(j, c), 2);
    assert_true(str_is(json_raw(j, json_at(j, c, 1)), "20"));
    assert_int_equal(json_at(j, c, 2), JSON_NONE);
    assert_true(json_string_is(j, json_get(j, JSON_ROOT, STR("")), STR("x")));
    assert_int_equal(json_get(j, JSON_ROOT, STR("b")), JSON_NONE);
}

static void missing_values_can_be_chained(void **state)
{
    struct json *j = *state;
    int64_t number = 7;
    bool flag = false;
    uint32_t at = 0;
    uint32_t key = 0;
    uint32_t value = 0;
    parse(j, "[1]");
    uint32_t none = json_get(j, json_at(j, json_get(j, JSON_ROOT, STR("a")), 3), STR("b"));
    assert_int_equal(none, JSON_NONE);
    assert_int_equal(json_kind(j, none), JSON_MISSING);
    assert_int_equal(json_count(j, none), 0);
    assert_int_equal(json_raw(j, none).len, 0);
    assert_false(json_string_is(j, none, STR("")));
    assert_int_equal(json_text_length(j, none), 0);
    assert_int_equal(json_i64(j, none, 0, 9, &number), ERR_INVALID);
    assert_int_equal(json_fixed(j, none, 0, &number, NULL), ERR_INVALID);
    assert_int_equal(json_bool(j, none, &flag), ERR_INVALID);
    assert_false(json_next_member(j, none, &at, &key, &value));
    assert_false(json_next_element(j, none, &at, &value));
    assert_false(json_next_member(j, JSON_ROOT, &at, &key, &value));
    assert_int_equal(number, 7);
}

static void members_and_elements_come_in_order(void **state)
{
    struct json *j = *state;
    struct buf seen;
    buf_init(&seen, 1000);
    uint32_t key = 0;
    uint32_t value = 0;
    uint32_t element = 0;
    parse(j, " {\"x\":[[],[1,2],{\"y\":0}],\"z\":{},\"w\":null} ");
    for (uint32_t at = 0; json_next_member(j, JSON_ROOT, &at, &key, &value);) {
        assert_int_equal(buf_append_str(&seen, json_raw(j, key)), 0);
        for (uint32_t in = 0; json_next_element(j, value, &in, &element);)
            assert_int_equal(buf_append_str(&seen, json_raw(j, element)), 0);
    }
    assert_string_equal(buf_cstr(&seen), "\"x\"[][1,2]{\"y\":0}\"z\"\"w\"");
    buf_deinit(&seen);
}

static void strings_are_borrowed_until_they_need_decoding(void **state)
{
    struct json *j = *state;
    struct arena a;
    struct str s;
    arena_init(&a, NULL, 1000);
    parse(j, "[\"plain \xC3\xA9\",\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\\u20AC\\ud83d\\ude00x\",1]");
    assert_int_equal(json_text(j, json_at(j, 0, 0), &a, &s), 0);
    assert_true(str_is(s, "plain \xC3\xA9"));
    assert_int_equal(a.used_bytes, 0);
    uint32_t escaped = json_at(j, 0, 1);
    assert_int_equal(json_text(j, escaped, &a, &s), 0);
    struct str decoded = STR("\"\\/\b\f\n\r\t\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80x");
    assert_true(str_eq(s, decoded));
    assert_int_equal(json_text_length(j, escaped), decoded.len);
    assert_true(json_string_is(j, escaped, decoded));
    assert_false(json_string_is(j, escaped, str_slice(decoded, 0, decoded.len - 1)));
    assert_false(json_string_is(j, escaped, STR("\"")));
    assert_int_equal(json_text(j, json_at(j, 0, 2), &a, &s), ERR_INVALID);
    a.max_bytes = a.used_bytes;
    assert_int_equal(json_text(j, escaped, &a, &s), ERR_TOO_LARGE);
    arena_reset(&a);
}

static void b17_an_escaped_nul_is_a_byte_like_others(void **state)
{
    struct json *j = *state;
    struct arena a;
    struct str s;
    arena_init(&a, NULL, 1000);
    parse(j, "\"a\\u0000b\"");
    assert_int_equal(json_text(j, JSON_ROOT, &a, &s), 0);
    assert_true(str_eq(s, STR("a\0b")));
    assert_true(json_string_is(j, JSON_ROOT, STR("a\0b")));
    assert_true(str_is(json_raw(j, JSON_ROOT), "\"a\\u0000b\""));
    arena_reset(&a);
}

static void b16_counts_are_exact_integers_or_refused(void **state)
{
    struct json *j = *state;
    static const struct {
        const char *text;
        int rc;
        int64_t value;
    } table[] = {
        {"0", 0, 0},
        {"-0", 0, 0},
        {"42", 0, 42},
        {"-42", 0, -42},
        {"999999999999999999", 0, 999999999999999999},
        {"-999999999999999999", 0, -999999999999999999},
        {"1000000000000000000", ERR_RANGE, 0},
        {"99999999999999999999999999", ERR_RANGE, 0},
        {"9007199254740993", 0, 9007199254740993},
        {"1.0", ERR_INVALID, 0},
        {"1e2", ERR_INVALID, 0},
        {"1e999999", ERR_INVALID, 0},
        {"\"1\"", ERR_INVALID, 0},
        {"true", ERR_INVALID, 0},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        int64_t value = 0;
        parse(j, table[i].text);
        assert_int_equal(json_i64(j, JSON_ROOT, INT64_MIN, INT64_MAX, &value), table[i].rc);
        assert_int_equal(value, table[i].value);
    }
    int64_t value = 0;
    parse(j, "-1");
    assert_int_equal(json_i64(j, JSON_ROOT, 0, 10, &value), ERR_RANGE);
    assert_int_equal(json_i64(j, JSON_ROOT, -1, 10, &value), 0);
    parse(j, "11");
    assert_int_equal(json_i64(j, JSON_ROOT, 0, 10, &value), ERR_RANGE);
}

static void fractions_become_fixed_point(void **state)
{
    struct json *j = *state;
    static const struct {
        const char *text;
        unsigned scale;
        int rc;
        int64_t value;
        bool exact;
    } table[] = {
        {"0.7", 4, 0, 7000, true},
        {"1", 4, 0, 10000, true},
        {"-0.25", 2, 0, -25, true},
        {"7e-1", 4, 0, 7000, true},
        {"7E+2", 1, 0, 7000, true},
        {"0.12345", 3, 0, 123, false},
        {"-0.12345", 3, 0, -123, false},
        {"0.1000000000000000000000", 1, 0, 1, true},
        {"0.30000000000000004", 4, 0, 3000, false},
        {"0.0", 9, 0, 0, true},
        {"0e999999999999", 9, 0, 0, true},
        {"1e999999", 0, ERR_RANGE, 0, true},
        {"1e-999999", 9, 0, 0, false},
        {"1e18", 0, 0, 1000000000000000000, true},
        {"1e19", 0, ERR_RANGE, 0, true},
        {"1234567890123456789", 0, ERR_RANGE, 0, true},
        {"1000000000000000001", 0, ERR_RANGE, 0, true},
        {"100000000000000000", 0, 0, 100000000000000000, true},
        {"0.000000000000000000000001e24", 0, 0, 1, true},
        {"12000e-3", 0, 0, 12, true},
        {"100200300e-2", 0, 0, 1002003, true},
        {"1e-9999999999999999999999", 0, 0, 0, false},
        {"100.50", 1, 0, 1005, true},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        int64_t value = 0;
        bool exact = true;
        parse(j, table[i].text);
        int rc = json_fixed(j, JSON_ROOT, table[i].scale, &value, &exact);
        if (rc != table[i].rc || value != table[i].value || exact != table[i].exact)
            fail_msg("%s: %d, %lld", table[i].text, rc, (long long)value);
        rc = json_fixed(j, JSON_ROOT, table[i].scale, &value, NULL);
        assert_int_equal(rc, table[i].exact ? table[i].rc : ERR_RANGE);
    }
}

static void booleans_are_neither_numbers_nor_null(void **state)
{
    struct json *j = *state;
    bool flag = false;
    parse(j, "[true,false,null,0]");
    assert_int_equal(json_bool(j, json_at(j, 0, 0), &flag), 0);
    assert_true(flag);
    assert_int_equal(json_bool(j, json_at(j, 0, 1), &flag), 0);
    assert_false(flag);
    assert_int_equal(json_bool(j, json_at(j, 0, 2), &flag), ERR_INVALID);
    assert_int_equal(json_bool(j, json_at(j, 0, 3), &flag), ERR_INVALID);
}

static void expect_repeated(struct json *j, struct str text, const char *path, size_t offset)
{
    struct json_error error;
    assert_int_equal(json_parse(j, text, &error), ERR_EXISTS);
    assert_int_equal(error.problem, JSON_PROBLEM_REPEATED_KEY);
    assert_string_equal(error.path, path);
    assert_int_equal(error.offset, offset);
}

static void b14_a_repeated_key_is_refused_with_its_path(void **state)
{
    struct json *j = *state;
    expect_repeated(j, STR("{\"a\":1,\"a\":2}"), "a", 7);
    expect_repeated(j, STR("{\"a\":1,\"\\u0061\":2}"), "a", 7);
    expect_repeated(j, STR("{\"\\u0061\":1,\"\\u0061\":2}"), "a", 12);
    expect_repeated(j, STR("{\"\":1,\"\":2}"), "", 6);
    expect_repeated(j, STR("{\"m\":[1,{},{\"x\":{\"k\":[],\"k\":0}}]}"), "m[2].x.k", 24);
    expect_repeated(j, STR("[[0],[1,{\"<b>\":1,\"<b>\":2}]]"), "[1][1].?b?", 17);
    parse(j, "{\"a\":{\"a\":{\"a\":1}},\"b\":{\"a\":1},\"A\":0,\"a \":0,\"aa\":0}");
}

/* n members k0, k1, ...; then `last`. */
static void big_object(struct buf *out, unsigned n, const char *last)
{
    buf_init(out, 64U << 20);
    assert_int_equal(buf_append_char(out, '{'), 0);
    for (unsigned i = 0; i < n; i++)
        assert_int_equal(buf_printf(out, "\"k%u\":0,", i), 0);
    assert_int_equal(buf_printf(out, "%s:1}", last), 0);
}

static void b14_a_repeated_key_is_found_among_many(void **state)
{
    struct json *j = *state;
    for (unsigned n = 1; n < 70; n++) {
        struct buf text;
        struct json_error error;
        big_object(&text, n, "\"k\\u0030\"");
        assert_int_equal(json_parse(j, buf_str(&text), &error), ERR_EXISTS);
        assert_string_equal(error.path, "k0");
        buf_deinit(&text);
        big_object(&text, n, "\"k\"");
        assert_int_equal(json_parse(j, buf_str(&text), &error), 0);
        assert_int_equal(json_count(j, JSON_ROOT), n + 1);
        buf_deinit(&text);
    }
}

static void b14_an_object_may_fill_the_node_limit(void **state)
{
    struct json *j = *state;
    struct buf text;
    big_object(&text, 49998, "\"last\"");
    assert_int_equal(json_parse(j, buf_str(&text), NULL), 0);
    assert_int_equal(j->count, 1 + 2 * 49999);
    buf_deinit(&text);
}

static void long_keys_hash_as_a_whole_whether_escaped_or_not(void **state)
{
    struct json *j = *state;
    struct siphash_key key = {.k0 = 1, .k1 = 2};
    for (unsigned len = 0; len < 200; len++) {
        struct buf text;
        buf_init(&text, 10000);
        for (unsigned form = 0; form < 3; form++) {
            assert_int_equal(buf_append_text(&text, form == 0 ? "[\"" : ",\""), 0);
            for (unsigned i = 0; i < len; i++)
                assert_int_equal(form == 1 ? buf_printf(&text, "\\u%04x", 'a' + i % 26)
                                           : buf_append_char(&text, (char)('a' + i % 26)),
                                 0);
            assert_int_equal(buf_append_text(&text, form == 2 ? "!\"]" : "\""), 0);
        }
        assert_int_equal(json_parse(j, buf_str(&text), NULL), 0);
        assert_true(json_strings_equal(j, 1, 2));
        assert_int_equal(json_string_hash(j, 1, key), json_string_hash(j, 2, key));
        assert_false(json_strings_equal(j, 1, 3));
        assert_int_not_equal(json_string_hash(j, 1, key), json_string_hash(j, 3, key));
        assert_int_equal(json_text_length(j, 2), len);
        buf_deinit(&text);
    }
}

static void b15_depth_is_limited_without_recursion(void **state)
{
    struct json *j = *state;
    struct json_error error;
    static char text[200000];
    memset(text, '[', JSON_DEPTH_MAX);
    memset(text + JSON_DEPTH_MAX, ']', JSON_DEPTH_MAX);
    struct str fits = {.data = text, .len = 2 * (size_t)JSON_DEPTH_MAX};
    assert_int_equal(json_parse(j, fits, &error), 0);
    memset(text, '[', sizeof text);
    assert_int_equal(json_parse(j, (struct str){.data = text, .len = sizeof text}, &error),
                     ERR_LIMIT);
    assert_int_equal(error.problem, JSON_PROBLEM_DEPTH);
    assert_int_equal(error.offset, JSON_DEPTH_MAX);
}

static void b15_nodes_are_limited(void **state)
{
    (void)state;
    struct json j;
    struct json_error error;
    json_init(&j, 4);
    assert_int_equal(json_parse(&j, STR("[1,2,3]"), &error), 0);
    assert_int_equal(json_parse(&j, STR("[1,2,3,4]"), &error), ERR_LIMIT);
    assert_int_equal(error.problem, JSON_PROBLEM_NODES);
    assert_int_equal(json_parse(&j, STR("{\"a\":1,\"b\":2}"), &error), ERR_LIMIT);
    json_deinit(&j);
}

static void memory_stays_within_ten_times_the_text(void **state)
{
    struct json *j = *state;
    static const char *const elements[] = {"1,", "[],", "\"\",", "{},"};
    for (unsigned i = 0; i < 4; i++) {
        struct buf text;
        buf_init(&text, 1 << 20);
        assert_int_equal(buf_append_char(&text, '['), 0);
        for (unsigned n = 0; n < 90000; n++)
            assert_int_equal(buf_append_text(&text, elements[i]), 0);
        assert_int_equal(buf_append_text(&text, "0]"), 0);
        assert_int_equal(json_parse(j, buf_str(&text), NULL), 0);
        assert_in_range(j->capacity * sizeof(struct json_node), 0, 10 * text.len + 4096);
        buf_deinit(&text);
        json_reset(j, 0);
        assert_null(j->nodes);
    }
}

static void a_path_names_any_node(void **state)
{
    struct json *j = *state;
    char path[JSON_PATH_BYTES];
    parse(j, "{\"messages\":[{\"role\":\"u\"},{\"content\":[{\"text\":\"a\"}]}],\"n\":1}");
    uint32_t text = json_get(
        j,
        json_at(j, json_get(j, json_at(j, json_get(j, 0, STR("messages")), 1), STR("content")), 0),
        STR("text"));
    json_path(j, text, path);
    assert_string_equal(path, "messages[1].content[0].text");
    json_path(j, text - 1, path); /* Its key. */
    assert_string_equal(path, "messages[1].content[0].text");
    json_path(j, json_get(j, 0, STR("n")), path);
    assert_string_equal(path, "n");
    json_path(j, JSON_ROOT, path);
    assert_string_equal(path, "");
    json_path(j, JSON_NONE, path);
    assert_string_equal(path, "");
}

static void a_long_path_is_cut_and_echoes_no_markup(void **state)
{
    struct json *j = *state;
    char path[JSON_PATH_BYTES];
    struct buf text;
    buf_init(&text, 100000);
    for (unsigned i = 0; i < 50; i++)
        assert_int_equal(buf_append_text(&text, "{\"<script>\\n\":"), 0);
    assert_int_equal(buf_append_text(&text, "1"), 0);
    for (unsigned i = 0; i < 50; i++)
        assert_int_equal(buf_append_char(&text, '}'), 0);
    assert_int_equal(json_parse(j, buf_str(&text), NULL), 0);
    json_path(j, j->count - 1, path);
    assert_int_equal(strlen(path), JSON_PATH_BYTES - 1);
    assert_memory_equal(path, "?script??.?script??.", 20);
    buf_deinit(&text);
}

static void expect_same_lengths(const unsigned char *bytes, size_t len)
{
    const struct json_lengths *scalar = json_lengths_of(JSON_WAY_SCALAR);
    for (int way = JSON_WAY_SSE2; way < JSON_WAYS; way++) {
        const struct json_lengths *wide = json_lengths_of((enum json_way)way);
        if (wide == NULL)
            continue;
        uint32_t wide_escapes = 0, escapes = 0;
        assert_int_equal(wide->plain(bytes, len, &wide_escapes),
                         scalar->plain(bytes, len, &escapes));
        assert_int_equal(wide_escapes, escapes);
        assert_int_equal(wide->space(bytes, len), scalar->space(bytes, len));
        assert_int_equal(wide->wide(bytes, len), scalar->wide(bytes, len));
    }
    uint32_t wide_escapes = 0, escapes = 0;
    assert_int_equal(json_plain_length(bytes, len, &wide_escapes),
                     scalar->plain(bytes, len, &escapes));
    assert_int_equal(wide_escapes, escapes);
    uint32_t short_escapes = 0;
    assert_int_equal(json_short_length(bytes, len, &short_escapes),
                     json_plain_length(bytes, len, &wide_escapes));
    assert_int_equal(short_escapes, escapes);
}

static void all_ways_to_skip_bytes_see_the_same(void **state)
{
    (void)state;
    unsigned char bytes[150];
    for (unsigned fill = 0; fill < 2; fill++) {
        for (unsigned at = 0; at < sizeof bytes; at++) {
            for (unsigned c = 0; c < 256; c++) {
                memset(bytes, fill == 0 ? 'x' : ' ', sizeof bytes);
                bytes[at] = (unsigned char)c;
                for (size_t len = at > 17 ? at - 1 : 0; len <= sizeof bytes; len += 13)
                    expect_same_lengths(bytes, len);
                memset(bytes + c % 64, '\\', c % 5);
                expect_same_lengths(bytes, sizeof bytes - c % 3);
            }
        }
    }
}

/* Of texts that are many blocks: what is special stands in each block and at each place of it,
 * behind an escape or not, and the text ends anywhere behind it. */
static void all_ways_skip_long_texts_alike(void **state)
{
    (void)state;
    static const unsigned char kinds[] = {0,    0x1F, ' ',  '!',  '"', '#', '[',
                                          '\\', ']',  0x7F, 0x80, 'n', 0xFF};
    enum { BYTES = 700 };
    const size_t ends[] = {256, 257, 512, 600, BYTES};
    for (size_t at = 0; at < BYTES; at++)
        for (size_t i = 0; i < 2 * sizeof kinds; i++) {
            unsigned char *bytes =
                mem_alloc(BYTES); /* Of its own: what is read behind it is seen. */
            assert_non_null(bytes);
            memset(bytes, 'x', BYTES);
            if (i % 2 == 1 && at > 100)
                memcpy(bytes + at / 3, "\\n", 2);
            bytes[at] = kinds[i / 2];
            expect_same_lengths(bytes, at + 1);
            for (size_t k = 0; k < sizeof ends / sizeof ends[0]; k++)
                if (ends[k] > at)
                    expect_same_lengths(bytes, ends[k]);
            mem_free(bytes);
        }
}

/* Every pair of bytes behind leads of each length, across the borders of blocks. */
static void all_ways_check_characters_alike(void **state)
{
    static const char *const leads[] = {"", "\xE2", "\xE0", "\xED", "\xF0\x9F", "\xF4", "\xF0"};
    unsigned char bytes[128];
    (void)state;
    for (size_t l = 0; l < sizeof leads / sizeof leads[0]; l++) {
        for (unsigned pair = 0; pair < 65536; pair++) {
            size_t at = 28 + pair % 7;
            for (size_t i = 0; i < sizeof bytes; i += 2)
                memcpy(bytes + i, "\xD0\xB6", 2);
            memset(bytes + at, 'a', 8);
            if (at % 2 == 1)
                bytes[at - 1] = 'a';
            memcpy(bytes + at, leads[l], strlen(leads[l]));
            bytes[at + strlen(leads[l])] = (unsigned char)(pair >> 8);
            bytes[at + strlen(leads[l]) + 1] = (unsigned char)pair;
            expect_same_lengths(bytes, sizeof bytes - pair % 3);
        }
    }
}

static void parsing_survives_each_failed_allocation(void **state)
{
    struct buf text;
    struct json j;
    (void)state;
    big_object(&text, 3000, "\"last\"");
    bool fired = true;
    for (unsigned n = 0; fired; n++) {
        struct json_error error = {0};
        json_init(&j, JSON_NODES_MAX);
        fault_arm_alloc(n);
        int rc = json_parse(&j, buf_str(&text), &error);
        fired = fault_disarm();
        assert_int_equal(rc, fired ? ERR_NOMEM : 0);
        assert_int_equal(error.problem, fired ? JSON_PROBLEM_MEMORY : JSON_PROBLEM_NONE);
        assert_int_equal(json_kind(&j, JSON_ROOT), fired ? JSON_MISSING : JSON_OBJECT);
        json_deinit(&j);
    }
    buf_deinit(&text);
}

static void every_problem_has_a_text(void **state)
{
    (void)state;
    for (int p = JSON_PROBLEM_NONE; p <= JSON_PROBLEM_MEMORY; p++)
        assert_string_not_equal(json_problem_text((enum json_problem)p), "unknown problem");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(members_are_found_by_key_after_unescaping),
        TEST(missing_values_can_be_chained),
        TEST(members_and_elements_come_in_order),
        TEST(strings_are_borrowed_until_they_need_decoding),
        TEST(b17_an_escaped_nul_is_a_byte_like_others),
        TEST(b16_counts_are_exact_integers_or_refused),
        TEST(fractions_become_fixed_point),
        TEST(booleans_are_neither_numbers_nor_null),
        TEST(b14_a_repeated_key_is_refused_with_its_path),
        TEST(b14_a_repeated_key_is_found_among_many),
        TEST(b14_an_object_may_fill_the_node_limit),
        TEST(long_keys_hash_as_a_whole_whether_escaped_or_not),
        TEST(b15_depth_is_limited_without_recursion),
        TEST(b15_nodes_are_limited),
        TEST(memory_stays_within_ten_times_the_text),
        TEST(a_path_names_any_node),
        TEST(a_long_path_is_cut_and_echoes_no_markup),
        TEST(all_ways_to_skip_bytes_see_the_same),
        TEST(all_ways_skip_long_texts_alike),
        TEST(all_ways_check_characters_alike),
        TEST(parsing_survives_each_failed_allocation),
        TEST(every_problem_has_a_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
