#include "dataplane/translate/ids.h"

#include <string.h>

#include "tests/lib/fault.h"

struct fixture {
    struct arena_pool pool;
    struct arena arena;
};
static const uint8_t key[16] = {1, 2, 3};

static int setup(void **state)
{
    static struct fixture f;
    arena_pool_init(&f.pool, 4);
    arena_init(&f.arena, &f.pool, 1U << 22);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    arena_reset(&f->arena);
    arena_pool_deinit(&f->pool);
    return 0;
}

static struct str take(struct tr_ids *ids, const char *outside)
{
    struct str out = STR_NULL;
    assert_int_equal(tr_ids_take(ids, str_from(outside), &out), 0);
    assert_true(tr_id_fits(ids->id_class, out));
    return out;
}

static void an_id_that_fits_stays(void **state)
{
    struct fixture *f = *state;
    struct tr_ids ids;
    assert_int_equal(tr_ids_init(&ids, TR_ID_WORD, key, 2, &f->arena), 0);
    assert_true(str_is(take(&ids, "toolu_01A-b"), "toolu_01A-b"));
    assert_true(str_is(take(&ids, "call_2"), "call_2"));
}

static void an_id_that_does_not_fit_is_always_changed_to_the_same(void **state)
{
    struct fixture *f = *state;
    struct tr_ids a, b;
    for (int c = TR_ID_ANY; c <= TR_ID_NINE; c++) {
        assert_int_equal(tr_ids_init(&a, (enum tr_id_class)c, key, 3, &f->arena), 0);
        assert_int_equal(tr_ids_init(&b, (enum tr_id_class)c, key, 3, &f->arena), 0);
        assert_true(
            str_eq(take(&a, "call:with.dots/and more"), take(&b, "call:with.dots/and more")));
        assert_true(str_eq(take(&a, ""), take(&b, "")));
    }
    assert_int_equal(tr_ids_init(&a, TR_ID_NINE, key, 1, &f->arena), 0);
    assert_int_equal(take(&a, "call_abcdefghijklmnopqrstuvwx").len, 9);
}

static void t19_ids_that_occur_twice_are_told_apart(void **state)
{
    struct fixture *f = *state;
    struct tr_ids ids;
    struct str seen[64];
    assert_int_equal(tr_ids_init(&ids, TR_ID_WORD, key, 64, &f->arena), 0);
    for (size_t i = 0; i < 64; i++) {
        seen[i] = take(&ids, "call_0");
        for (size_t k = 0; k < i; k++)
            assert_false(str_eq(seen[i], seen[k]));
    }
    struct str more;
    assert_int_equal(tr_ids_take(&ids, STR("x"), &more), ERR_TOO_LARGE);
}

static void fresh_ids_differ_and_fit(void **state)
{
    (void)state;
    char a[TR_ID_FRESH_BYTES], b[TR_ID_FRESH_BYTES];
    tr_id_fresh(a);
    tr_id_fresh(b);
    assert_memory_not_equal(a, b, sizeof a);
    assert_memory_equal(a, "call_", 5);
    assert_true(tr_id_fits(TR_ID_WORD, (struct str){a, sizeof a}));
}

static void without_room_it_says_so(void **state)
{
    (void)state;
    struct arena_pool pool;
    struct arena arena;
    struct tr_ids ids;
    struct str out;
    arena_pool_init(&pool, 0);
    arena_init(&arena, &pool, 64);
    assert_int_equal(tr_ids_init(&ids, TR_ID_WORD, key, 1000, &arena), ERR_TOO_LARGE);
    arena_init(&arena, &pool, 8 * sizeof(struct str) + 8);
    assert_int_equal(tr_ids_init(&ids, TR_ID_NINE, key, 4, &arena), 0);
    assert_int_equal(tr_ids_take(&ids, STR("long enough"), &out), ERR_TOO_LARGE);
    arena_reset(&arena);
    arena_pool_deinit(&pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_id_that_fits_stays, setup, teardown),
        cmocka_unit_test_setup_teardown(an_id_that_does_not_fit_is_always_changed_to_the_same,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(t19_ids_that_occur_twice_are_told_apart, setup, teardown),
        cmocka_unit_test(fresh_ids_differ_and_fit),
        cmocka_unit_test(without_room_it_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
