/* Corner cases of RFC 8259 with the verdict that this reader gives. */
#include "common/json/json.h"
#include "tests/lib/fault.h"

#include <string.h>

struct verdict {
    struct str text;
    enum json_problem problem;
    size_t offset;
};

#define OK(s)                                                                                      \
    {                                                                                              \
        STR(s), JSON_PROBLEM_NONE, 0                                                               \
    }
#define BAD(s, problem, at)                                                                        \
    {                                                                                              \
        STR(s), JSON_PROBLEM_##problem, at                                                         \
    }

static const struct verdict structure[] = {
    OK("{}"),
    OK("[]"),
    OK("null"),
    OK("true"),
    OK("false"),
    OK("\"\""),
    OK("0"),
    OK(" 1 "),
    OK("\t\n\r [ ] \t\n\r "),
    OK("{\"a\":[]}"),
    OK("{\"a\":{\"a\":{\"a\":1}}}"),
    OK("[[],[],{}]"),
    OK("{\"\":0}"),
    OK("[1,\"a\",null,true,false,{},[]]"),
    OK("{\"a\" : 1 , \"b\" : 2}"),
    BAD("", EARLY_END, 0),
    BAD("  ", EARLY_END, 2),
    BAD("[", EARLY_END, 1),
    BAD("{", EARLY_END, 1),
    BAD("[1", EARLY_END, 2),
    BAD("[1,", EARLY_END, 3),
    BAD("{\"a\"", EARLY_END, 4),
    BAD("{\"a\":", EARLY_END, 5),
    BAD("{\"a\":1", EARLY_END, 6),
    BAD("{\"a\":1,", EARLY_END, 7),
    BAD("tru", EARLY_END, 3),
    BAD("nul", EARLY_END, 3),
    BAD("f", EARLY_END, 1),
    BAD("]", SYNTAX, 0),
    BAD("}", SYNTAX, 0),
    BAD("[}", SYNTAX, 1),
    BAD("{]", SYNTAX, 1),
    BAD("[1}", SYNTAX, 2),
    BAD("{\"a\":1]", SYNTAX, 6),
    BAD("[,1]", SYNTAX, 1),
    BAD("[1,,2]", SYNTAX, 3),
    BAD("[1 2]", SYNTAX, 3),
    BAD("{\"a\" 1}", SYNTAX, 5),
    BAD("{\"a\"::1}", SYNTAX, 5),
    BAD("{\"a\":1 \"b\":2}", SYNTAX, 7),
    BAD("{1:2}", SYNTAX, 1),
    BAD("{a:1}", SYNTAX, 1),
    BAD("{'a':1}", SYNTAX, 1),
    BAD("['a']", SYNTAX, 1),
    BAD("{null:1}", SYNTAX, 1),
    BAD("{\"a\"}", SYNTAX, 4),
    BAD("{,}", SYNTAX, 1),
    BAD("True", SYNTAX, 0),
    BAD("nulL", SYNTAX, 3),
    BAD("truE", SYNTAX, 3),
    BAD("undefined", SYNTAX, 0),
    BAD("[\v1]", SYNTAX, 1),
    BAD("[\f1]", SYNTAX, 1),
    BAD("\0", SYNTAX, 0),
    BAD("[\xC2\xA0]", SYNTAX, 1),
    BAD("\xE2\x81\xA0[]", SYNTAX, 0),
    BAD("[1]\0", TRAILING, 3),
    BAD("*", SYNTAX, 0),
};

static const struct verdict b13[] = {
    BAD("[1,]", SYNTAX, 3),
    BAD("{\"a\":1,}", SYNTAX, 7),
    BAD("[1],", TRAILING, 3),
    BAD("{}{}", TRAILING, 2),
    BAD("1 2", TRAILING, 2),
    BAD("nullx", TRAILING, 4),
    BAD("[] // c", TRAILING, 3),
    BAD("/**/[]", SYNTAX, 0),
    BAD("[/**/1]", SYNTAX, 1),
    BAD("# c\n[]", SYNTAX, 0),
    BAD("\xEF\xBB\xBF{}", BOM, 0),
    BAD("\xEF\xBB\xBF", BOM, 0),
    BAD("NaN", SYNTAX, 0),
    BAD("[NaN]", SYNTAX, 1),
    BAD("Infinity", SYNTAX, 0),
    BAD("-Infinity", NUMBER, 1),
    BAD("[+1]", SYNTAX, 1),
    BAD("nan", SYNTAX, 1),
    BAD("\"a\nb\"", CONTROL, 2),
    BAD("\"\t\"", CONTROL, 1),
    BAD("\"\0\"", CONTROL, 1),
    BAD("\"\x1F\"", CONTROL, 1),
    OK("\"\x7F\""),
    BAD("\"a", EARLY_END, 2),
    BAD("\"", EARLY_END, 1),
    BAD("\"\x80\"", UTF8, 1),
    BAD("\"\xC0\xAF\"", UTF8, 1),
    BAD("\"\xC1\xBF\"", UTF8, 1),
    BAD("\"\xE0\x80\xAF\"", UTF8, 1),
    BAD("\"\xED\xA0\x80\"", UTF8, 1),
    BAD("\"\xED\xBF\xBF\"", UTF8, 1),
    BAD("\"\xF0\x80\x80\xAF\"", UTF8, 1),
    BAD("\"\xF4\x90\x80\x80\"", UTF8, 1),
    BAD("\"\xF5\x80\x80\x80\"", UTF8, 1),
    BAD("\"\xFF\"", UTF8, 1),
    BAD("\"\xE2\x82\"", UTF8, 1),
    BAD("\"ab\xC3\"", UTF8, 3),
    BAD("\"\xC3\xA9\xC3\"", UTF8, 3),
    BAD("{\"\xFF\":1}", UTF8, 2),
    BAD("\"\xE2\x82", UTF8, 1),
    OK("\"\xC3\xA9\""),
    OK("\"\xE2\x82\xAC\""),
    OK("\"\xF0\x9F\x98\x80\""),
    OK("\"\xF4\x8F\xBF\xBF\""),
    OK("\"\xED\x9F\xBF\""),
    OK("\"\xEE\x80\x80\""),
    OK("\"\xEF\xBF\xBF\""),
    OK("\"\xE2\x80\xA8\""),
    OK("\"\xEF\xBB\xBF\""),
    OK("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0000\\uABcd\""),
    OK("\"\\ud83d\\ude00\""),
    OK("\"\\uDBFF\\uDFFF\""),
    BAD("\"\\x41\"", ESCAPE, 1),
    BAD("\"\\a\"", ESCAPE, 1),
    BAD("\"\\'\"", ESCAPE, 1),
    BAD("\"\\U0041\"", ESCAPE, 1),
    BAD("\"\\u12\"", ESCAPE, 1),
    BAD("\"\\u12G4\"", ESCAPE, 1),
    BAD("\"\\u+123\"", ESCAPE, 1),
    BAD("\"\\u\"", ESCAPE, 1),
    BAD("\"\\\0\"", ESCAPE, 1),
    BAD("\"\\", EARLY_END, 1),
    BAD("\"\\u00", EARLY_END, 1),
    BAD("\"\\\"", EARLY_END, 3),
    BAD("\"\\ud800\"", SURROGATE, 1),
    BAD("\"\\udc00\"", SURROGATE, 1),
    BAD("\"a\\ud83dx\"", SURROGATE, 2),
    BAD("\"\\ud83d\\n\"", SURROGATE, 1),
    BAD("\"\\ud83d\\ud83d\"", SURROGATE, 1),
    BAD("\"\\ude00\\ud83d\"", SURROGATE, 1),
    BAD("\"\\ud83d\\u0041\"", SURROGATE, 1),
    BAD("\"\\ud83d\\u00\"", SURROGATE, 1),
};

static const struct verdict b16[] = {
    OK("-0"),
    OK("-1"),
    OK("10"),
    OK("0.5"),
    OK("-0.0"),
    OK("1e5"),
    OK("1E+5"),
    OK("1e-5"),
    OK("0e0"),
    OK("1e999999"),
    OK("123456789012345678901234567890"),
    OK("1.00000000000000000000000000001"),
    BAD("-", EARLY_END, 1),
    BAD("[-]", NUMBER, 2),
    BAD("01", NUMBER, 1),
    BAD("-01", NUMBER, 2),
    BAD("00", NUMBER, 1),
    BAD("1.", EARLY_END, 2),
    BAD("[1.]", NUMBER, 3),
    BAD(".5", SYNTAX, 0),
    BAD("[-.5]", NUMBER, 2),
    BAD("[1e]", NUMBER, 3),
    BAD("[1e+]", NUMBER, 4),
    BAD("1e", EARLY_END, 2),
    BAD("[1.e5]", NUMBER, 3),
    BAD("1.5.5", TRAILING, 3),
    BAD("1e5.5", TRAILING, 3),
    BAD("0x10", TRAILING, 1),
    BAD("1_000", TRAILING, 1),
    BAD("--1", NUMBER, 1),
    BAD("1-", TRAILING, 1),
    BAD("1a", TRAILING, 1),
    BAD("\xEF\xBC\x91", SYNTAX, 0),
};

static int code_of(enum json_problem problem)
{
    if (problem == JSON_PROBLEM_NONE)
        return 0;
    return problem == JSON_PROBLEM_EARLY_END ? ERR_EOF : ERR_SYNTAX;
}

/* Each text in a block of its own size, so that a sanitizer sees a read past its end. */
static void check(const struct verdict *table, size_t count)
{
    struct json j;
    json_init(&j, JSON_NODES_MAX);
    for (size_t i = 0; i < count; i++) {
        struct json_error error = {0};
        char *text = test_malloc(table[i].text.len + (table[i].text.len == 0 ? 1 : 0));
        memcpy(text, table[i].text.data, table[i].text.len);
        int rc = json_parse(&j, (struct str){.data = text, .len = table[i].text.len}, &error);
        if (rc != code_of(table[i].problem) || error.problem != table[i].problem ||
            error.offset != table[i].offset)
            fail_msg("%.*s: code %d, '%s' at %zu", STR_ARG(table[i].text), rc,
                     json_problem_text(error.problem), error.offset);
        test_free(text);
    }
    json_deinit(&j);
}

static void accepts_and_refuses_structure_as_the_rfc_says(void **state)
{
    (void)state;
    check(structure, sizeof structure / sizeof structure[0]);
}

static void b13_broken_text_is_refused_with_its_offset(void **state)
{
    (void)state;
    check(b13, sizeof b13 / sizeof b13[0]);
}

static void b16_numbers_follow_the_grammar(void **state)
{
    (void)state;
    check(b16, sizeof b16 / sizeof b16[0]);
}

static void every_prefix_of_a_body_is_refused(void **state)
{
    (void)state;
    static const char body[] =
        "{\"model\":\"a\\n\\ud83d\\ude00\xE2\x82\xAC\",\"n\":[-1.5e+3,true,false,null,{}]}";
    struct json j;
    json_init(&j, JSON_NODES_MAX);
    for (size_t len = 0; len < sizeof body - 1; len++) {
        char *text = test_malloc(len + 1);
        memcpy(text, body, len);
        assert_true(json_parse(&j, (struct str){.data = text, .len = len}, NULL) < 0);
        assert_int_equal(json_kind(&j, JSON_ROOT), JSON_MISSING);
        test_free(text);
    }
    assert_int_equal(json_parse(&j, str_from(body), NULL), 0);
    json_deinit(&j);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accepts_and_refuses_structure_as_the_rfc_says),
        cmocka_unit_test(b13_broken_text_is_refused_with_its_offset),
        cmocka_unit_test(b16_numbers_follow_the_grammar),
        cmocka_unit_test(every_prefix_of_a_body_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
