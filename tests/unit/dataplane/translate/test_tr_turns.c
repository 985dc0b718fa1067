#include "dataplane/translate/turns.h"

#include <stdio.h>
#include <string.h>

#include "tests/unit/dataplane/translate/tr_kit.h"

/* The dialogues are read from chat completions, and shown as one line: a turn is its role's letter
 * and its parts in brackets. */
static const struct tr_turns_options claude = {.merge = true,
                                               .user_first = true,
                                               .drop_empty = true,
                                               .trim_last = true,
                                               .text_before_calls = true,
                                               .replay = TR_REPLAY_SIGNED,
                                               .vendor = DIALECT_ANTHROPIC,
                                               .id_class = TR_ID_WORD};
static const struct tr_turns_options chat = {
    .tool_turns = true, .text_results = true, .id_class = TR_ID_ANY};

static void show_part(struct buf *b, const struct tr_part *p)
{
    int rc = 0;
    switch (p->kind) {
    case TR_PART_TEXT:
    case TR_PART_REFUSAL:
        rc = buf_printf(b, "'%.*s'", STR_ARG(p->text));
        break;
    case TR_PART_IMAGE:
    case TR_PART_FILE:
    case TR_PART_AUDIO:
        rc = buf_append_text(b, "image");
        break;
    case TR_PART_REASONING:
        rc = buf_printf(b, "think(%.*s)", STR_ARG(p->reasoning.text));
        break;
    case TR_PART_CALL:
        rc = buf_printf(b, "call(%.*s %.*s)", STR_ARG(p->call.id), STR_ARG(p->call.name));
        break;
    case TR_PART_RESULT:
        rc = buf_printf(b, "result(%.*s %.*s%s", STR_ARG(p->result.call_id),
                        STR_ARG(p->result.name), p->result.is_error ? " error" : "");
        for (uint32_t i = 0; rc == 0 && i < p->result.part_count; i++) {
            rc = buf_append_char(b, ' ');
            show_part(b, &p->result.parts[i]);
        }
        rc = buf_append_char(b, ')');
        break;
    }
    assert_int_equal(rc, 0);
}

static const char *show(struct tr_kit *kit, const struct tr_turns *turns)
{
    static const char letters[] = "uat";
    buf_clear(&kit->out);
    for (uint32_t i = 0; i < turns->count; i++) {
        assert_true(turns->turns[i].part_count > 0);
        assert_int_equal(
            buf_printf(&kit->out, "%s%c[", i > 0 ? " " : "", letters[turns->turns[i].role]), 0);
        for (uint32_t k = 0; k < turns->turns[i].part_count; k++) {
            if (k > 0)
                assert_int_equal(buf_append_char(&kit->out, ' '), 0);
            show_part(&kit->out, &turns->turns[i].parts[k]);
        }
        assert_int_equal(buf_append_char(&kit->out, ']'), 0);
    }
    return buf_cstr(&kit->out);
}

static int prepare(struct tr_kit *kit, const struct tr_turns_options *options, bool no_repair,
                   const char *messages, struct tr_turns *out)
{
    struct buf body;
    struct tr_target target = tr_kit_target("anthropic", "claude-sonnet-4-5");
    target.no_repair = no_repair;
    tr_kit_reset(kit);
    buf_init(&body, 1U << 20);
    assert_int_equal(buf_printf(&body, "{\"model\":\"m\",\"messages\":[%s]}", messages), 0);
    struct str text = arena_copy(&kit->arena, buf_str(&body));
    buf_deinit(&body);
    int rc = tr_kit_read(kit, DIALECT_OPENAI, text.data);
    if (rc != 0)
        fail_msg("%s", messages);
    return tr_turns_prepare(&kit->request, options, &target, &kit->arena, &kit->terms,
                            &kit->refusal, out);
}

static void check(struct tr_kit *kit, const struct tr_turns_options *options, const char *messages,
                  const char *expected)
{
    struct tr_turns turns;
    assert_int_equal(prepare(kit, options, false, messages, &turns), 0);
    assert_string_equal(show(kit, &turns), expected);
}

#define USER(text) "{\"role\":\"user\",\"content\":\"" text "\"}"
#define SAYS(text) "{\"role\":\"assistant\",\"content\":\"" text "\"}"
#define CALL(id, name)                                                                             \
    "{\"id\":\"" id "\",\"type\":\"function\",\"function\":{\"name\":\"" name                      \
    "\",\"arguments\":\"{}\"}}"
#define CALLS(list)      "{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[" list "]}"
#define RESULT(id, text) "{\"role\":\"tool\",\"tool_call_id\":\"" id "\",\"content\":\"" text "\"}"

static void t01_results_stand_in_the_order_of_calls_before_the_users_text(void **state)
{
    const char *messages = USER("q") "," CALLS(CALL("a", "f") "," CALL("b", "g")) "," RESULT(
        "b", "2") "," USER("and?") "," RESULT("a", "1");
    check(*state, &claude, messages,
          "u['q'] a[call(a f) call(b g)] u[result(a f '1') result(b g '2') 'and?']");
    check(*state, &chat, messages,
          "u['q'] a[call(a f) call(b g)] t[result(a f '1') result(b g '2')] u['and?']");
}

static void neighbours_of_one_role_are_one_turn_where_they_must(void **state)
{
    const char *messages = USER("1") "," USER("2") "," SAYS("3") "," SAYS("4") "," USER("5");
    check(*state, &claude, messages, "u['1' '2'] a['3' '4'] u['5']");
    check(*state, &chat, messages, "u['1'] u['2'] a['3'] a['4'] u['5']");
}

static void a_missing_result_is_filled_or_refused(void **state)
{
    struct tr_kit *kit = *state;
    struct tr_turns turns;
    const char *messages =
        USER("q") "," CALLS(CALL("a", "f") "," CALL("b", "g")) "," RESULT("a", "1") "," USER("x");
    check(kit, &claude, messages,
          "u['q'] a[call(a f) call(b g)] u[result(a f '1') result(b g error 'no result') 'x']");
    assert_string_equal(kit->terms.notes[0], "filled_result");
    assert_int_equal(prepare(kit, &claude, true, messages, &turns), ERR_INVALID);
    assert_true(str_is(kit->refusal.param, "messages"));
    check(kit, &chat, USER("q") "," CALLS(CALL("a", "f")),
          "u['q'] a[call(a f)] t[result(a f error 'no result')]");
}

static void a_result_without_a_call_becomes_text(void **state)
{
    struct tr_kit *kit = *state;
    struct tr_turns turns;
    const char *messages = USER("q") "," RESULT("z", "lost");
    check(kit, &claude, messages, "u['q' 'The result of a tool, whose call is not known:' 'lost']");
    assert_string_equal(kit->terms.notes[0], "orphaned_result");
    assert_int_equal(prepare(kit, &claude, true, messages, &turns), ERR_INVALID);
}

static void t19_equal_ids_are_told_apart(void **state)
{
    struct tr_kit *kit = *state;
    struct tr_turns turns;
    assert_int_equal(
        prepare(kit, &claude, false,
                USER("q") "," CALLS(CALL("x", "f") "," CALL("x", "g")) "," RESULT(
                    "x", "1") "," RESULT("x", "2") "," CALLS(CALL("x", "h")) "," RESULT("x", "3"),
                &turns),
        0);
    assert_int_equal(turns.count, 5);
    const struct tr_part *calls = turns.turns[1].parts, *results = turns.turns[2].parts;
    assert_false(str_eq(calls[0].call.id, calls[1].call.id));
    assert_false(str_eq(calls[1].call.id, turns.turns[3].parts[0].call.id));
    assert_true(str_eq(calls[0].call.id, results[0].result.call_id));
    assert_true(str_eq(calls[1].call.id, results[1].result.call_id));
    assert_true(str_is(results[1].result.parts[0].text, "2"));
    assert_true(str_eq(turns.turns[3].parts[0].call.id, turns.turns[4].parts[0].result.call_id));
}

static void empty_texts_and_blanks_at_the_end_go(void **state)
{
    struct tr_kit *kit = *state;
    check(kit, &claude, USER("q") "," SAYS("") "," USER("") "," USER("r") "," SAYS("so: \\n\\t "),
          "u['q' 'r'] a['so:']");
    check(kit, &claude, USER("q") "," SAYS("  "), "u['q']");
    check(kit, &chat, USER("q") "," SAYS("so: "), "u['q'] a['so: ']");
}

static void the_first_turn_is_the_users(void **state)
{
    struct tr_kit *kit = *state;
    struct tr_turns turns;
    check(kit, &claude, SAYS("hello") "," USER("q"), "u['.'] a['hello'] u['q']");
    assert_string_equal(kit->terms.notes[0], "added_user_message");
    check(kit, &claude, "{\"role\":\"system\",\"content\":\"s\"}", "u['.']");
    assert_int_equal(prepare(kit, &claude, true, SAYS("hello"), &turns), ERR_INVALID);
}

static struct tr_part text(const char *words)
{
    return (struct tr_part){.kind = TR_PART_TEXT, .text = str_from(words)};
}

static struct tr_part call(const char *id)
{
    return (struct tr_part){.kind = TR_PART_CALL,
                            .call = {.id = str_from(id), .name = STR("f"), .arguments = STR("{}")}};
}

static struct tr_part thought(const char *words, const char *signature, enum dialect vendor)
{
    return (struct tr_part){
        .kind = TR_PART_REASONING,
        .reasoning = {.text = str_from(words), .signature = str_from(signature), .vendor = vendor}};
}

static int prepare_parts(struct tr_kit *kit, const struct tr_turns_options *options,
                         struct tr_part *parts, uint32_t count, struct tr_turns *out)
{
    struct tr_part question = text("q");
    struct tr_turn turns[] = {{TR_USER, &question, 1}, {TR_ASSISTANT, parts, count}};
    const struct tr_request request = {.turns = turns, .turn_count = 2};
    struct tr_target target = tr_kit_target("anthropic", "claude-sonnet-4-5");
    tr_kit_reset(kit);
    return tr_turns_prepare(&request, options, &target, &kit->arena, &kit->terms, &kit->refusal,
                            out);
}

static void t07_reasoning_goes_back_to_its_maker_alone(void **state)
{
    struct tr_kit *kit = *state;
    struct tr_turns turns;
    struct tr_part parts[] = {thought("mine", "sig", DIALECT_ANTHROPIC),
                              thought("unsigned", "", DIALECT_ANTHROPIC),
                              thought("other", "sig", DIALECT_GEMINI), call("a")};
    assert_int_equal(prepare_parts(kit, &claude, parts, 4, &turns), 0);
    assert_string_equal(show(kit, &turns),
                        "u['q'] a[think(mine) call(a f)] u[result(a f error 'no result')]");
    assert_false(turns.unsigned_calls);
    assert_int_equal(prepare_parts(kit, &claude, parts + 1, 3, &turns), 0);
    assert_string_equal(show(kit, &turns), "u['q'] a[call(a f)] u[result(a f error 'no result')]");
    assert_true(turns.unsigned_calls);
    struct tr_turns_options texts = chat;
    texts.replay = TR_REPLAY_TEXT;
    assert_int_equal(prepare_parts(kit, &texts, parts, 4, &turns), 0);
    assert_string_equal(show(kit, &turns), "u['q'] a[think(mine) think(unsigned) think(other) "
                                           "call(a f)] t[result(a f error 'no result')]");
}

static void texts_stand_before_calls_between_reasonings(void **state)
{
    struct tr_kit *kit = *state;
    struct tr_turns turns;
    struct tr_part parts[] = {thought("1", "s", DIALECT_ANTHROPIC),
                              call("a"),
                              text("x"),
                              thought("2", "s", DIALECT_ANTHROPIC),
                              call("b"),
                              call("c"),
                              text("y")};
    assert_int_equal(prepare_parts(kit, &claude, parts, 7, &turns), 0);
    turns.count = 2;
    assert_string_equal(show(kit, &turns), "u['q'] a[think(1) 'x' call(a f) think(2) 'y' call(b f) "
                                           "call(c f)]");
}

static void t04_a_picture_in_a_result_follows_it_where_results_are_text(void **state)
{
    struct tr_kit *kit = *state;
    struct tr_turns turns;
    struct tr_part question = text("q"), asked = call("a");
    struct tr_part held[] = {{.kind = TR_PART_IMAGE, .media = {.url = STR("https://x/y.png")}}};
    struct tr_part result = {.kind = TR_PART_RESULT,
                             .result = {.call_id = STR("a"), .parts = held, .part_count = 1}};
    struct tr_turn dialogue[] = {
        {TR_USER, &question, 1}, {TR_ASSISTANT, &asked, 1}, {TR_TOOL, &result, 1}};
    const struct tr_request request = {.turns = dialogue, .turn_count = 3};
    struct tr_target target = tr_kit_target("openai", "gpt-4o");
    assert_int_equal(
        tr_turns_prepare(&request, &chat, &target, &kit->arena, &kit->terms, &kit->refusal, &turns),
        0);
    assert_string_equal(show(kit, &turns), "u['q'] a[call(a f)] t[result(a f 'The result is in the "
                                           "next message.')] u[image]");
    assert_int_equal(tr_turns_prepare(&request, &claude, &target, &kit->arena, &kit->terms,
                                      &kit->refusal, &turns),
                     0);
    assert_string_equal(show(kit, &turns), "u['q'] a[call(a f)] u[result(a f image)]");
}

/* Results in reverse order, all with ids of one chain or of none: not a product of the two. */
static void many_calls_are_matched_without_looking_at_all_results_each(void **state)
{
    enum { MANY = 8000 };
    struct tr_kit *kit = *state;
    static struct tr_part calls[MANY], results[MANY];
    static char ids[MANY][8];
    struct tr_turns turns;
    for (int i = 0; i < MANY; i++) {
        snprintf(ids[i], sizeof ids[i], "c%d", i);
        calls[i] = call(ids[i]);
        results[MANY - 1 - i] =
            (struct tr_part){.kind = TR_PART_RESULT, .result = {.call_id = str_from(ids[i])}};
    }
    struct tr_part question = text("q");
    struct tr_turn dialogue[] = {
        {TR_USER, &question, 1}, {TR_ASSISTANT, calls, MANY}, {TR_TOOL, results, MANY}};
    const struct tr_request request = {.turns = dialogue, .turn_count = 3};
    struct tr_target target = tr_kit_target("openai", "gpt-4o");
    assert_int_equal(tr_turns_prepare(&request, &claude, &target, &kit->arena, &kit->terms,
                                      &kit->refusal, &turns),
                     0);
    for (int i = 0; i < MANY; i++)
        assert_true(str_is(turns.turns[2].parts[i].result.call_id, ids[i]));
    assert_int_equal(kit->terms.note_count, 0);
}

static void texts_are_joined_by_a_blank_line(void **state)
{
    struct tr_kit *kit = *state;
    struct str out;
    struct tr_part parts[] = {text("a"), text(""), call("x"), text("b")};
    assert_int_equal(tr_parts_text(parts, 4, &kit->arena, &out), 0);
    assert_true(str_is(out, "a\n\nb"));
    assert_int_equal(tr_parts_text(parts, 3, &kit->arena, &out), 0);
    assert_true(str_is(out, "a"));
    assert_int_equal(tr_parts_text(parts, 0, &kit->arena, &out), 0);
    assert_int_equal(out.len, 0);
}

static void a_fifth_mark_drops_the_earliest(void **state)
{
    (void)state;
    struct tr_part parts[] = {text("a"), text("b"), text("c")};
    struct tr_tool tool = {.cache = {300}};
    struct tr_part system = text("s");
    struct tr_turn turn = {TR_USER, parts, 3};
    struct tr_turns turns = {.turns = &turn, .count = 1};
    const struct tr_request request = {
        .tools = &tool, .tool_count = 1, .system = &system, .system_count = 1};
    parts[0].cache.ttl_s = parts[1].cache.ttl_s = parts[2].cache.ttl_s = 300;
    assert_int_equal(tr_marks_to_drop(&request, &turns), 0);
    system.cache.ttl_s = 3600;
    assert_int_equal(tr_marks_to_drop(&request, &turns), 1);
}

static void each_failed_allocation_is_told(void **state)
{
    struct tr_kit *kit = *state;
    bool fired = true;
    for (unsigned n = 0; fired; n++) {
        struct tr_turns turns;
        struct tr_part parts[] = {call("a"), text("x"), call("..")};
        struct tr_part question = text("q");
        struct tr_turn dialogue[] = {{TR_USER, &question, 1}, {TR_ASSISTANT, parts, 3}};
        const struct tr_request request = {.turns = dialogue, .turn_count = 2};
        struct tr_target target = tr_kit_target("anthropic", "claude-sonnet-4-5");
        arena_reset(&kit->arena);
        arena_pool_trim(&kit->pool, 0);
        fault_arm_alloc(n);
        int rc = tr_turns_prepare(&request, &claude, &target, &kit->arena, &kit->terms,
                                  &kit->refusal, &turns);
        fired = fault_disarm();
        assert_int_equal(rc, fired ? ERR_TOO_LARGE : 0);
    }
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, tr_kit_setup, tr_kit_teardown)
    const struct CMUnitTest tests[] = {
        T(t01_results_stand_in_the_order_of_calls_before_the_users_text),
        T(neighbours_of_one_role_are_one_turn_where_they_must),
        T(a_missing_result_is_filled_or_refused),
        T(a_result_without_a_call_becomes_text),
        T(t19_equal_ids_are_told_apart),
        T(empty_texts_and_blanks_at_the_end_go),
        T(the_first_turn_is_the_users),
        T(t07_reasoning_goes_back_to_its_maker_alone),
        T(texts_stand_before_calls_between_reasonings),
        T(t04_a_picture_in_a_result_follows_it_where_results_are_text),
        T(many_calls_are_matched_without_looking_at_all_results_each),
        T(texts_are_joined_by_a_blank_line),
        T(a_fifth_mark_drops_the_earliest),
        T(each_failed_allocation_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
