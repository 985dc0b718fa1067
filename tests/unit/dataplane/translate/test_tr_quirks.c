#include "dataplane/translate/quirks.h"

#include <string.h>

#include "tests/lib/fault.h"

static void globs_match_whole_texts(void **state)
{
    (void)state;
    static const struct {
        const char *pattern, *text;
        bool found;
    } rows[] = {
        {"*", "", true},
        {"*", "anything", true},
        {"a", "a", true},
        {"a", "ab", false},
        {"a*", "ab", true},
        {"*b", "ab", true},
        {"*b*", "abc", true},
        {"a?c", "abc", true},
        {"a?c", "ac", false},
        {"o[0-9]*", "o3-mini", true},
        {"o[0-9]*", "ollama", false},
        {"[ab]x", "bx", true},
        {"[ab]x", "cx", false},
        {"GPT-*", "gpt-5", true},
        {"gpt-*", "GPT-5", true},
        {"*a*b*c*", "xxaxxbxxc", true},
        {"*a*b*c*", "xxaxxcxxb", false},
        {"", "", true},
        {"", "a", false},
        {"*-4-[78]*", "claude-opus-4-8", true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (tr_glob_match(rows[i].pattern, str_from(rows[i].text)) != rows[i].found)
            fail_msg("%s ~ %s", rows[i].pattern, rows[i].text);
}

static void a_hostile_name_takes_no_longer_than_its_length_times_the_pattern(void **state)
{
    (void)state;
    static char name[4096];
    memset(name, 'a', sizeof name);
    assert_false(tr_glob_match("*a*a*a*a*a*a*a*a*b", (struct str){name, sizeof name}));
}

static bool has(enum dialect dialect, const char *model, enum tr_quirk quirk)
{
    return tr_quirks_has(tr_quirks_find(dialect, str_from(model)), quirk);
}

static void models_have_the_quirks_they_are_known_for(void **state)
{
    (void)state;
    assert_true(has(DIALECT_OPENAI, "o3-mini", TR_QUIRK_NO_SAMPLING));
    assert_true(has(DIALECT_OPENAI, "o3-mini", TR_QUIRK_MAX_COMPLETION));
    assert_true(has(DIALECT_OPENAI, "gpt-5.1", TR_QUIRK_SAMPLING_AT_NONE));
    assert_false(has(DIALECT_OPENAI, "gpt-5-mini", TR_QUIRK_SAMPLING_AT_NONE));
    assert_false(has(DIALECT_OPENAI, "gpt-5-chat-latest", TR_QUIRK_REASONS));
    assert_false(has(DIALECT_OPENAI, "gpt-4o-mini", TR_QUIRK_NO_SAMPLING));
    assert_false(has(DIALECT_OPENAI, "llama-3.3-70b", TR_QUIRK_MAX_COMPLETION));
    assert_true(has(DIALECT_RESPONSES, "o3", TR_QUIRK_REASONS));
    assert_true(has(DIALECT_OPENAI, "openai/gpt-5-mini", TR_QUIRK_MAX_COMPLETION));
    assert_true(has(DIALECT_OPENAI, "accounts/x/models/o3", TR_QUIRK_NO_SAMPLING));
    assert_false(has(DIALECT_OPENAI, "openai/", TR_QUIRK_REASONS));
    assert_true(has(DIALECT_ANTHROPIC, "claude-sonnet-4-5-20250929", TR_QUIRK_ONE_SAMPLING));
    assert_true(has(DIALECT_ANTHROPIC, "claude-sonnet-5-5", TR_QUIRK_BETWEEN_TOOLS));
    assert_true(has(DIALECT_ANTHROPIC, "claude-next-9", TR_QUIRK_NO_SAMPLING));
    assert_false(has(DIALECT_ANTHROPIC, "claude-3-haiku-20240307", TR_QUIRK_REASONS));
    assert_true(has(DIALECT_BEDROCK, "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
                    TR_QUIRK_ONE_SAMPLING));
    assert_true(has(DIALECT_BEDROCK, "mistral.mistral-large-2407-v1:0", TR_QUIRK_NINE_IDS));
    assert_true(has(DIALECT_GEMINI, "gemini-3-flash", TR_QUIRK_LEVEL));
    assert_false(has(DIALECT_GEMINI, "gemini-2.5-flash", TR_QUIRK_LEVEL));
    assert_true(has(DIALECT_GEMINI, "gemma-3-27b-it", TR_QUIRK_NO_SYSTEM));
    assert_int_equal(tr_quirks_find(DIALECT_ANTHROPIC, STR("claude-3-haiku-20240307"))->max_output,
                     4096);
}

static void every_dialect_has_a_row_for_whatever_comes(void **state)
{
    (void)state;
    for (int d = 0; d < DIALECTS; d++) {
        const struct tr_quirks *q = tr_quirks_find((enum dialect)d, STR("~~"));
        assert_non_null(q);
        assert_string_equal(q->pattern, "*");
        if (d != DIALECT_RESPONSES)
            assert_int_equal(q->dialect, d);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(globs_match_whole_texts),
        cmocka_unit_test(a_hostile_name_takes_no_longer_than_its_length_times_the_pattern),
        cmocka_unit_test(models_have_the_quirks_they_are_known_for),
        cmocka_unit_test(every_dialect_has_a_row_for_whatever_comes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
