#include "dataplane/translate/names.h"

#include <stdio.h>
#include <string.h>

#include "dataplane/translate/notes.h"
#include "tests/lib/fault.h"

static struct tr_tool tool(const char *name)
{
    return (struct tr_tool){.name = str_from(name)};
}

static void names_that_fit_cost_nothing(void **state)
{
    (void)state;
    struct tr_tool tools[] = {tool("get_weather"), tool("a-b")};
    const struct tr_request r = {.tools = tools, .tool_count = 2};
    struct tr_terms terms = {0};
    struct call_refusal refusal;
    assert_int_equal(tr_names_build(&terms, &r, TR_NAME_COMMON, &refusal), 0);
    assert_null(terms.names);
    assert_int_equal(terms.note_count, 0);
    assert_true(str_is(tr_names_inside(&terms, STR("a-b")), "a-b"));
    assert_true(str_is(tr_names_outside(&terms, STR("a-b")), "a-b"));
}

static void other_names_are_changed_and_come_back(void **state)
{
    (void)state;
    char longest[101] = {0};
    memset(longest, 'x', 100);
    struct tr_tool tools[] = {tool("mcp.files/read"), tool("mcp_files_read"),
                              tool("mcp files read"), tool(longest), tool("\xc3\xa4\xc3\xb6")};
    struct tr_part call = {.kind = TR_PART_CALL, .call = {.name = STR("old.tool")}};
    struct tr_turn turn = {.role = TR_ASSISTANT, .parts = &call, .part_count = 1};
    const struct tr_request r = {.tools = tools, .tool_count = 5, .turns = &turn, .turn_count = 1};
    struct tr_terms terms = {0};
    struct call_refusal refusal;
    assert_int_equal(tr_names_build(&terms, &r, TR_NAME_COMMON, &refusal), 0);
    assert_string_equal(terms.notes[0], "renamed_tool");
    for (size_t i = 0; i < 5; i++) {
        struct str inside = tr_names_inside(&terms, tools[i].name);
        assert_true(inside.len > 0 && inside.len <= 64);
        assert_true(str_eq(tr_names_outside(&terms, inside), tools[i].name));
        for (size_t k = 0; k < i; k++)
            assert_false(str_eq(inside, tr_names_inside(&terms, tools[k].name)));
    }
    assert_true(str_is(tr_names_inside(&terms, STR("mcp_files_read")), "mcp_files_read"));
    assert_true(str_is(tr_names_inside(&terms, STR("old.tool")), "old_tool"));
    tr_terms_deinit(&terms);
}

static void classes_differ_in_what_they_allow(void **state)
{
    (void)state;
    struct tr_tool tools[] = {tool("9.lives"), tool("a.b:c")};
    const struct tr_request r = {.tools = tools, .tool_count = 2};
    struct tr_terms terms = {0};
    struct call_refusal refusal;
    assert_int_equal(tr_names_build(&terms, &r, TR_NAME_GEMINI, &refusal), 0);
    assert_true(str_is(tr_names_inside(&terms, STR("9.lives")), "_9.lives"));
    assert_true(str_is(tr_names_inside(&terms, STR("a.b:c")), "a.b:c"));
    tr_terms_deinit(&terms);
    assert_int_equal(tr_names_build(&terms, &r, TR_NAME_ANTHROPIC, &refusal), 0);
    assert_true(str_is(tr_names_inside(&terms, STR("9.lives")), "9_lives"));
    tr_terms_deinit(&terms);
}

static void an_empty_name_and_too_many_names_are_refused(void **state)
{
    (void)state;
    static char names[600][40];
    static struct tr_tool tools[600];
    struct tr_terms terms = {0};
    struct call_refusal refusal;
    tools[0] = tool("");
    struct tr_request r = {.tools = tools, .tool_count = 1};
    assert_int_equal(tr_names_build(&terms, &r, TR_NAME_COMMON, &refusal), ERR_INVALID);
    assert_true(str_is(refusal.param, "tools"));
    for (int i = 0; i < 600; i++) {
        snprintf(names[i], sizeof names[i], "some.name.with.dots.%d", i);
        tools[i] = tool(names[i]);
    }
    r.tool_count = 600;
    assert_int_equal(tr_names_build(&terms, &r, TR_NAME_COMMON, &refusal), ERR_INVALID);
    tr_terms_deinit(&terms);
}

static void without_memory_it_says_so(void **state)
{
    (void)state;
    struct tr_tool tools[] = {tool("a.b")};
    const struct tr_request r = {.tools = tools, .tool_count = 1};
    struct tr_terms terms = {0};
    struct call_refusal refusal;
    fault_arm_alloc(0);
    int rc = tr_names_build(&terms, &r, TR_NAME_COMMON, &refusal);
    assert_true(fault_disarm());
    assert_int_equal(rc, ERR_NOMEM);
    tr_terms_deinit(&terms);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_that_fit_cost_nothing),
        cmocka_unit_test(other_names_are_changed_and_come_back),
        cmocka_unit_test(classes_differ_in_what_they_allow),
        cmocka_unit_test(an_empty_name_and_too_many_names_are_refused),
        cmocka_unit_test(without_memory_it_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
