/* What a node keeps of its answers for who refers to them: whole or not at all, each key its own.
 */
#include "dataplane/request/recall.h"

#include <string.h>

#include "tests/lib/fault.h"

static char room[RECALL_ITEM_BYTES];

static struct str find(struct recall *memory, uint64_t key_id, uint64_t hash)
{
    return (struct str){room, recall_find(memory, key_id, hash, room)};
}

static void an_item_is_found_by_its_key_alone_until_another_takes_its_place(void **state)
{
    (void)state;
    struct recall *memory = recall_create(UINT64_MAX);
    assert_non_null(memory);
    assert_int_equal(find(memory, 7, 5).len, 0);
    recall_put(memory, 7, 5, STR("{\"id\":\"msg_sy1_a\"}"));
    assert_true(str_is(find(memory, 7, 5), "{\"id\":\"msg_sy1_a\"}"));
    assert_int_equal(find(memory, 8, 5).len, 0);
    assert_int_equal(find(memory, 7, 5 + RECALL_PLACES_MAX).len, 0);
    recall_put(memory, 8, 5 + RECALL_PLACES_MAX, STR("other"));
    assert_int_equal(find(memory, 7, 5).len, 0);
    assert_true(str_is(find(memory, 8, 5 + RECALL_PLACES_MAX), "other"));
    recall_destroy(memory);
}

static void items_of_every_length_come_back_as_they_were(void **state)
{
    (void)state;
    static char item[RECALL_ITEM_BYTES + 1];
    struct recall *memory = recall_create(UINT64_MAX);
    for (size_t i = 0; i < sizeof item; i++)
        item[i] = (char)('a' + i % 23);
    for (size_t len = 1; len <= RECALL_ITEM_BYTES; len += len < 40 ? 1 : 1601) {
        recall_put(memory, 1, len, (struct str){item, len});
        assert_true(str_eq(find(memory, 1, len), (struct str){item, len}));
    }
    recall_put(memory, 1, 3, (struct str){item, sizeof item}); /* Too long: the old one stays. */
    assert_int_equal(find(memory, 1, 3).len, 3);
    recall_destroy(memory);
}

static void the_table_is_a_sixteenth_of_what_the_process_may_use_at_most(void **state)
{
    (void)state;
    const uint64_t place = RECALL_ITEM_BYTES + 32;
    const uint64_t of[][2] = {{0, RECALL_PLACES_MIN},
                              {24U << 20, (24U << 20) / RECALL_PART / place},
                              {1ULL << 30, RECALL_PLACES_MAX},
                              {UINT64_MAX, RECALL_PLACES_MAX}};
    for (size_t i = 0; i < sizeof of / sizeof of[0]; i++) {
        struct recall *memory = recall_create(of[i][0]);
        assert_int_equal(recall_places(memory), of[i][1]);
        recall_put(memory, 1, UINT64_MAX, STR("item"));
        assert_true(str_is(find(memory, 1, UINT64_MAX), "item"));
        recall_destroy(memory);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_item_is_found_by_its_key_alone_until_another_takes_its_place),
        cmocka_unit_test(items_of_every_length_come_back_as_they_were),
        cmocka_unit_test(the_table_is_a_sixteenth_of_what_the_process_may_use_at_most),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
