#include "dataplane/translate/collect.h"

#include <string.h>

#include "tests/unit/dataplane/translate/tr_kit.h"

static const struct tr_event events[] = {
    {.kind = TR_EVENT_START},
    {.kind = TR_EVENT_REASONING, .text = {"think", 5}},
    {.kind = TR_EVENT_SEAL, .opaque = {"sig", 3}},
    {.kind = TR_EVENT_REDACTED, .opaque = {"hidden", 6}},
    {.kind = TR_EVENT_TEXT, .text = {"Hel", 3}},
    {.kind = TR_EVENT_TEXT, .text = {"lo", 2}},
    {.kind = TR_EVENT_CALL, .call_index = 0, .call = {.id = {"a", 1}, .name = {"f", 1}}},
    {.kind = TR_EVENT_CALL, .call_index = 1, .call = {.id = {"b", 1}, .name = {"g", 1}}},
    {.kind = TR_EVENT_ARGUMENTS, .call_index = 0, .text = {"{\"x\"", 4}},
    {.kind = TR_EVENT_ARGUMENTS, .call_index = 1, .text = {"{}", 2}},
    {.kind = TR_EVENT_ARGUMENTS, .call_index = 0, .text = {":1}", 3}},
    {.kind = TR_EVENT_TEXT, .choice = 1, .text = {"other", 5}},
    {.kind = TR_EVENT_FINISH, .finish = CALL_FINISH_TOOL_CALLS, .vendor_finish = {"tool_use", 8}},
    {.kind = TR_EVENT_FINISH, .choice = 1, .finish = CALL_FINISH_STOP, .stop_sequence = {"X", 1}},
    {.kind = TR_EVENT_USAGE, .usage = {.known = true, .tokens_in = 1, .tokens_out = 2}},
    {.kind = TR_EVENT_USAGE, .usage = {.known = true, .tokens_in = 3, .tokens_out = 4}},
    {.kind = TR_EVENT_DONE},
};
#define EVENTS (sizeof events / sizeof events[0])

/* What an event points to is overwritten once it is put. */
static int put(struct tr_collect *c, const struct tr_event *event)
{
    char text[16], opaque[16], name[16];
    struct tr_event e = *event;
    memcpy(text, e.text.data != NULL ? e.text.data : "", e.text.len);
    memcpy(opaque, e.opaque.data != NULL ? e.opaque.data : "", e.opaque.len);
    memcpy(name, e.call.name.data != NULL ? e.call.name.data : "", e.call.name.len);
    e.text.data = text;
    e.opaque.data = opaque;
    e.call.name.data = name;
    int rc = tr_collect_put(c, &e);
    memset(text, '!', sizeof text);
    memset(opaque, '!', sizeof opaque);
    memset(name, '!', sizeof name);
    return rc;
}

static int collect(struct tr_kit *kit, struct tr_collect *c, struct tr_answer *out)
{
    int rc = 0;
    tr_collect_init(c, &kit->arena);
    for (size_t i = 0; rc == 0 && i < EVENTS; i++)
        rc = put(c, &events[i]);
    return rc == 0 ? tr_collect_finish(c, out) : rc;
}

static void parts_are_whole_and_in_the_order_of_their_beginning(void **state)
{
    struct tr_kit *kit = *state;
    struct tr_collect c;
    struct tr_answer a;
    assert_int_equal(collect(kit, &c, &a), 0);
    assert_int_equal(a.choice_count, 2);
    assert_int_equal(a.usage.tokens_in, 3);
    const struct tr_choice_answer *first = &a.choices[0];
    assert_int_equal(first->part_count, 5);
    assert_int_equal(first->finish, CALL_FINISH_TOOL_CALLS);
    assert_true(str_is(first->vendor_finish, "tool_use"));
    assert_true(str_is(first->parts[0].text, "think"));
    assert_true(str_is(first->parts[0].opaque, "sig"));
    assert_true(first->parts[1].redacted);
    assert_true(str_is(first->parts[1].opaque, "hidden"));
    assert_true(str_is(first->parts[2].text, "Hello"));
    assert_true(str_is(first->parts[3].call.arguments, "{\"x\":1}"));
    assert_true(str_is(first->parts[4].call.name, "g"));
    assert_true(str_is(first->parts[4].call.arguments, "{}"));
    assert_int_equal(a.choices[1].part_count, 1);
    assert_true(str_is(a.choices[1].stop_sequence, "X"));
}

static void an_end_of_a_part_begins_another(void **state)
{
    struct tr_kit *kit = *state;
    static const struct tr_event said[] = {{.kind = TR_EVENT_TEXT, .text = {"a", 1}},
                                           {.kind = TR_EVENT_PART_END},
                                           {.kind = TR_EVENT_TEXT, .text = {"b", 1}}};
    struct tr_collect c;
    struct tr_answer a;
    tr_collect_init(&c, &kit->arena);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(put(&c, &said[i]), 0);
    assert_int_equal(tr_collect_finish(&c, &a), 0);
    assert_int_equal(a.choices[0].part_count, 2);
}

static void nothing_at_all_is_one_empty_answer(void **state)
{
    struct tr_kit *kit = *state;
    struct tr_collect c;
    struct tr_answer a;
    tr_collect_init(&c, &kit->arena);
    assert_int_equal(tr_collect_finish(&c, &a), 0);
    assert_int_equal(a.choice_count, 1);
    assert_int_equal(a.choices[0].part_count, 0);
}

static void too_many_parts_and_choices_are_refused(void **state)
{
    struct tr_kit *kit = *state;
    struct tr_collect c;
    const struct tr_event far = {.kind = TR_EVENT_TEXT, .choice = CALL_CHOICES_MAX};
    const struct tr_event call = {.kind = TR_EVENT_CALL};
    int rc = 0;
    tr_collect_init(&c, &kit->arena);
    assert_int_equal(tr_collect_put(&c, &far), ERR_TOO_LARGE);
    for (unsigned i = 0; rc == 0 && i < 100000; i++)
        rc = tr_collect_put(&c, &call);
    assert_int_equal(rc, ERR_TOO_LARGE);
}

static void each_failed_allocation_is_told(void **state)
{
    struct tr_kit *kit = *state;
    bool fired = true;
    for (unsigned n = 0; fired; n++) {
        struct tr_collect c;
        struct tr_answer a;
        arena_reset(&kit->arena);
        arena_pool_trim(&kit->pool, 0);
        fault_arm_alloc(n);
        int rc = collect(kit, &c, &a);
        fired = fault_disarm();
        assert_int_equal(rc, fired ? ERR_TOO_LARGE : 0);
    }
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, tr_kit_setup, tr_kit_teardown)
    const struct CMUnitTest tests[] = {
        T(parts_are_whole_and_in_the_order_of_their_beginning),
        T(an_end_of_a_part_begins_another),
        T(nothing_at_all_is_one_empty_answer),
        T(too_many_parts_and_choices_are_refused),
        T(each_failed_allocation_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
