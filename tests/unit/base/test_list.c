#include "common/base/list.h"
#include "tests/lib/fault.h"

struct item {
    int value;
    struct list link;
};

static int item_value(struct list *l)
{
    return container_of(l, struct item, link)->value;
}

static void members_keep_their_order(void **state)
{
    (void)state;
    struct list head;
    struct item items[3] = {{.value = 1}, {.value = 2}, {.value = 3}};
    list_init(&head);
    assert_true(list_empty(&head));
    assert_null(list_pop_front(&head));
    list_push_back(&head, &items[1].link);
    list_push_back(&head, &items[2].link);
    list_push_front(&head, &items[0].link);
    int expected = 1;
    LIST_FOREACH (it, &head)
        assert_int_equal(item_value(it), expected++);
    assert_int_equal(expected, 4);
    list_remove(&items[1].link);
    list_remove(&items[1].link); /* Again: it is in no list now. */
    assert_int_equal(item_value(list_pop_front(&head)), 1);
    assert_int_equal(item_value(list_pop_front(&head)), 3);
    assert_true(list_empty(&head));
}

static void the_current_member_may_leave_a_safe_walk(void **state)
{
    (void)state;
    struct list head;
    struct item items[4];
    list_init(&head);
    for (int i = 0; i < 4; i++) {
        items[i].value = i;
        list_push_back(&head, &items[i].link);
    }
    LIST_FOREACH_SAFE (it, tmp, &head) {
        if (item_value(it) % 2 == 0)
            list_remove(it);
    }
    assert_int_equal(item_value(head.next), 1);
    assert_int_equal(item_value(head.prev), 3);
}

static void a_free_list_gives_back_what_it_got(void **state)
{
    (void)state;
    struct freelist f = {0};
    struct item items[2];
    assert_null(freelist_take(&f));
    freelist_put(&f, &items[0]);
    freelist_put(&f, &items[1]);
    assert_int_equal(f.count, 2);
    assert_ptr_equal(freelist_take(&f), &items[1]);
    assert_ptr_equal(freelist_take(&f), &items[0]);
    assert_null(freelist_take(&f));
    assert_int_equal(f.count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(members_keep_their_order),
        cmocka_unit_test(the_current_member_may_leave_a_safe_walk),
        cmocka_unit_test(a_free_list_gives_back_what_it_got),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
