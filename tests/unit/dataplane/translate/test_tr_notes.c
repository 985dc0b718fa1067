#include "dataplane/translate/notes.h"

#include <stdio.h>
#include <string.h>

#include "tests/lib/fault.h"

static void notes_are_listed_once_in_their_order(void **state)
{
    (void)state;
    struct tr_terms terms = {0};
    struct buf b;
    buf_init(&b, 256);
    assert_int_equal(tr_notes_print(&terms, &b), 0);
    assert_int_equal(b.len, 0);
    tr_note(&terms, "filled_result");
    tr_note_word(&terms, "dropped_", STR("seed"));
    tr_note(&terms, "filled_result");
    tr_note_word(&terms, "dropped_", STR("seed"));
    tr_note_word(&terms, "dropped_", STR("a\r\nb: c"));
    assert_int_equal(tr_notes_print(&terms, &b), 0);
    assert_true(str_is(buf_str(&b), "filled_result, dropped_seed, dropped_a__b__c"));
    buf_deinit(&b);
}

static void what_is_past_the_room_is_not_noted(void **state)
{
    (void)state;
    struct tr_terms terms = {0};
    for (int i = 0; i < 100; i++) {
        char word[64];
        int len = snprintf(word, sizeof word, "a_very_long_word_of_some_caller_%d", i);
        tr_note_word(&terms, "dropped_", (struct str){word, (size_t)len});
    }
    assert_true(terms.note_count <= TR_NOTES_MAX);
    assert_true(terms.words_used <= sizeof terms.words);
}

static void what_the_provider_has_no_word_for_is_dropped_or_refused(void **state)
{
    (void)state;
    static const char *const unknown[] = {"logit_bias", "audio"};
    const struct tr_request r = {.unknown = unknown, .unknown_count = 2};
    struct tr_target target = {.reject_unsupported = false};
    struct tr_terms terms = {0};
    struct call_refusal refusal;
    assert_int_equal(tr_drop_unknown(&r, &target, &terms, &refusal), 0);
    assert_int_equal(terms.note_count, 2);
    assert_string_equal(terms.notes[1], "dropped_audio");
    target.reject_unsupported = true;
    assert_int_equal(tr_drop_unknown(&r, &target, &terms, &refusal), ERR_INVALID);
    assert_int_equal(refusal.defect, CALL_BAD_FIELD);
    assert_true(str_is(refusal.param, "logit_bias"));
}

static void a_refusal_names_the_field_as_the_caller_does(void **state)
{
    (void)state;
    assert_true(str_is(tr_param_for(DIALECT_ANTHROPIC, STR("stop")), "stop_sequences"));
    assert_true(str_is(tr_param_for(DIALECT_RESPONSES, STR("messages")), "input"));
    assert_true(str_is(tr_param_for(DIALECT_OPENAI, STR("stop")), "stop"));
    assert_true(str_is(tr_param_for(DIALECT_ANTHROPIC, STR("seed")), "seed"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(notes_are_listed_once_in_their_order),
        cmocka_unit_test(what_is_past_the_room_is_not_noted),
        cmocka_unit_test(what_the_provider_has_no_word_for_is_dropped_or_refused),
        cmocka_unit_test(a_refusal_names_the_field_as_the_caller_does),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
