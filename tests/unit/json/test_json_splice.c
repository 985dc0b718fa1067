#include "common/json/json_splice.h"
#include "tests/lib/fault.h"

#include <string.h>

#define NONE                                                                                       \
    {                                                                                              \
        STR_NULL, STR_NULL                                                                         \
    }
#define EDITS_MAX 4

struct row {
    const char *body;
    struct json_edit edits[EDITS_MAX];
    const char *expected;
};

static void check(const struct row *r)
{
    struct json j;
    struct buf out;
    struct str spans[JSON_SPLICE_SPANS(EDITS_MAX)];
    size_t edit_count = 0;
    size_t count = 0;
    while (edit_count < EDITS_MAX && r->edits[edit_count].key.data != NULL)
        edit_count++;
    json_init(&j, 1000);
    buf_init(&out, 10000);
    assert_int_equal(json_parse(&j, str_from(r->body), NULL), 0);
    assert_int_equal(json_splice(&j, r->edits, edit_count, spans, &count), 0);
    assert_true(count <= JSON_SPLICE_SPANS(edit_count));
    assert_int_equal(json_splice_flatten(spans, count, &out), 0);
    assert_int_equal(json_splice_length(spans, count), out.len);
    assert_string_equal(buf_cstr(&out), r->expected);
    assert_int_equal(json_parse(&j, buf_str(&out), NULL), 0);
    buf_deinit(&out);
    json_deinit(&j);
}

static void members_are_replaced_added_and_removed(void **state)
{
    (void)state;
    const struct json_edit set_a = {STR("a"), STR("9")};
    const struct json_edit set_z = {STR("z"), STR("{\"y\":1}")};
    const struct json_edit del_a = {STR("a"), STR_NULL};
    const struct json_edit del_b = {STR("b"), STR_NULL};
    const struct json_edit del_c = {STR("c"), STR_NULL};
    const struct row rows[] = {
        {"{\"a\":1}", {NONE}, "{\"a\":1}"},
        {" { \"a\" : 1 , \"b\" : [ ] } ", {set_a}, " { \"a\" : 9 , \"b\" : [ ] } "},
        {"{\"\\u0061\":\"x\",\"b\":2}", {set_a}, "{\"\\u0061\":9,\"b\":2}"},
        {"{\"b\":{\"a\":1}}", {set_a}, "{\"b\":{\"a\":1},\"a\":9}"},
        {"{}", {set_a}, "{\"a\":9}"},
        {" { } ", {set_a, set_z}, " {\"a\":9,\"z\":{\"y\":1} } "},
        {"{\"a\":1}\n", {set_z}, "{\"a\":1,\"z\":{\"y\":1}}\n"},
        {"{\"a\":1, \"b\":2, \"c\":3}", {del_a}, "{\"b\":2, \"c\":3}"},
        {"{\"a\":1,\"b\":2,\"c\":3}", {del_b}, "{\"a\":1,\"c\":3}"},
        {"{\"a\":1, \"b\":2, \"c\":3 }", {del_c}, "{\"a\":1, \"b\":2 }"},
        {"{\"a\":1,\"b\":2,\"c\":3}", {del_a, del_b}, "{\"c\":3}"},
        {"{\"a\":1,\"b\":2,\"c\":3}", {del_b, del_c}, "{\"a\":1}"},
        {"{\"a\":1,\"b\":2,\"c\":3}", {del_a, del_c}, "{\"b\":2}"},
        {"{\"a\":1,\"b\":2,\"c\":3}", {del_a, del_b, del_c}, "{}"},
        {"{\"a\":1,\"b\":2,\"c\":3}", {del_a, del_b, del_c, set_z}, "{\"z\":{\"y\":1}}"},
        {"{\"a\":1,\"b\":2,\"c\":3}", {set_a, del_b, del_c, set_z}, "{\"a\":9,\"z\":{\"y\":1}}"},
        {"{\"c\":3,\"b\":2,\"a\":1}", {set_a, del_b, set_z}, "{\"c\":3,\"a\":9,\"z\":{\"y\":1}}"},
        {"{\"x\":0}", {del_a, del_b}, "{\"x\":0}"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        check(&rows[i]);
}

/* Every choice of what to do with each of four members, against a model. */
static void every_mix_of_edits_gives_what_a_model_gives(void **state)
{
    (void)state;
    static const char *const names[] = {"a", "b", "c", "d"};
    for (unsigned mix = 0; mix < 3 * 3 * 3 * 3 * 2; mix++) {
        struct json_edit edits[5];
        struct str spans[JSON_SPLICE_SPANS(5)];
        size_t edit_count = 0;
        size_t count = 0;
        struct buf expected;
        struct buf out;
        struct json j;
        unsigned rest = mix;
        buf_init(&expected, 1000);
        buf_init(&out, 1000);
        assert_int_equal(buf_append_char(&expected, '{'), 0);
        for (unsigned i = 0; i < 4; i++, rest /= 3) {
            if (rest % 3 == 1)
                edits[edit_count++] = (struct json_edit){str_from(names[i]), STR("true")};
            else if (rest % 3 == 2)
                edits[edit_count++] = (struct json_edit){str_from(names[i]), STR_NULL};
            if (rest % 3 == 2)
                continue;
            assert_int_equal(buf_printf(&expected, "%s\"%s\":%s", expected.len > 1 ? "," : "",
                                        names[i], rest % 3 == 1 ? "true" : "0"),
                             0);
        }
        if (rest == 1) {
            edits[edit_count++] = (struct json_edit){STR("e"), STR("5")};
            assert_int_equal(buf_printf(&expected, "%s\"e\":5", expected.len > 1 ? "," : ""), 0);
        }
        assert_int_equal(buf_append_char(&expected, '}'), 0);
        json_init(&j, 100);
        assert_int_equal(json_parse(&j, STR("{\"a\":0,\"b\":0,\"c\":0,\"d\":0}"), NULL), 0);
        assert_int_equal(json_splice(&j, edits, edit_count, spans, &count), 0);
        assert_true(count <= JSON_SPLICE_SPANS(edit_count));
        assert_int_equal(json_splice_flatten(spans, count, &out), 0);
        assert_string_equal(buf_cstr(&out), buf_cstr(&expected));
        json_deinit(&j);
        buf_deinit(&out);
        buf_deinit(&expected);
    }
}

static void only_objects_and_plain_keys_can_be_edited(void **state)
{
    (void)state;
    struct json j;
    struct str spans[JSON_SPLICE_SPANS(1)];
    size_t count = 0;
    const struct json_edit plain = {STR("a"), STR("1")};
    const struct json_edit quoted = {STR("a\"b"), STR("1")};
    json_init(&j, 10);
    assert_int_equal(json_parse(&j, STR("[1]"), NULL), 0);
    assert_int_equal(json_splice(&j, &plain, 1, spans, &count), ERR_INVALID);
    assert_int_equal(json_parse(&j, STR("{}"), NULL), 0);
    assert_int_equal(json_splice(&j, &quoted, 1, spans, &count), ERR_INVALID);
    json_deinit(&j);
}

static void flattening_into_too_small_a_buffer_changes_nothing(void **state)
{
    (void)state;
    struct buf out;
    const struct str spans[] = {STR("abc"), STR("def")};
    buf_init(&out, 6);
    assert_int_equal(buf_append_char(&out, 'x'), 0);
    assert_int_equal(json_splice_flatten(spans, 2, &out), ERR_TOO_LARGE);
    assert_int_equal(out.len, 1);
    buf_deinit(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(members_are_replaced_added_and_removed),
        cmocka_unit_test(every_mix_of_edits_gives_what_a_model_gives),
        cmocka_unit_test(only_objects_and_plain_keys_can_be_edited),
        cmocka_unit_test(flattening_into_too_small_a_buffer_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
