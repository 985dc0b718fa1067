#include "common/base/arena.h"
#include "tests/lib/fault.h"

#include <string.h>

#include "common/base/mem.h"

static void memory_is_aligned_and_does_not_overlap(void **state)
{
    (void)state;
    struct arena_pool pool;
    struct arena a;
    arena_pool_init(&pool, 4);
    arena_init(&a, &pool, 1 << 20);
    unsigned char *made[300];
    for (unsigned i = 0; i < 300; i++) {
        made[i] = arena_alloc(&a, i);
        assert_non_null(made[i]);
        assert_int_equal((uintptr_t)made[i] % 16, 0);
        memset(made[i], (int)(i & 255), i);
    }
    for (unsigned i = 0; i < 300; i++) {
        for (unsigned k = 0; k < i; k++)
            assert_int_equal(made[i][k], i & 255);
    }
    arena_reset(&a);
    arena_pool_deinit(&pool);
    assert_int_equal(mem_live_bytes(), 0);
}

static void the_ceiling_counts_what_was_asked_for(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a, NULL, 100);
    assert_non_null(arena_alloc(&a, 60));
    assert_null(arena_alloc(&a, 41));
    assert_non_null(arena_alloc(&a, 40));
    assert_null(arena_alloc(&a, 1));
    assert_null(arena_alloc(&a, SIZE_MAX));
    assert_null(arena_zalloc(&a, SIZE_MAX / 2, 3));
    assert_int_equal(a.used_bytes, 100);
    arena_reset(&a);
    assert_int_equal(a.used_bytes, 0);
    assert_non_null(arena_alloc(&a, 100));
    arena_reset(&a);
}

static void a_rewind_frees_what_came_after_the_mark(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a, NULL, 1 << 20);
    struct str kept = arena_copy(&a, STR("kept"));
    struct arena_mark mark = arena_mark(&a);
    uint64_t live = mem_live_bytes();
    for (unsigned i = 0; i < 50; i++)
        assert_non_null(arena_alloc(&a, 5000));
    arena_rewind(&a, mark);
    assert_int_equal(mem_live_bytes(), live);
    assert_int_equal(a.used_bytes, 5);
    assert_true(str_is(kept, "kept"));
    assert_non_null(arena_alloc(&a, 8));
    assert_true(str_is(kept, "kept"));
    arena_reset(&a);
    struct arena_mark empty = arena_mark(&a);
    assert_non_null(arena_alloc(&a, 8));
    arena_rewind(&a, empty);
    assert_int_equal(mem_live_bytes(), 0);
}

static void a_warm_pool_needs_no_malloc(void **state)
{
    (void)state;
#ifndef STEELYARD_ASAN
    struct arena_pool pool;
    struct arena a;
    arena_pool_init(&pool, 2);
    arena_init(&a, &pool, 1 << 20);
    assert_non_null(arena_alloc(&a, 3000));
    assert_non_null(arena_alloc(&a, 3000));
    assert_non_null(arena_alloc(&a, 3000));
    arena_reset(&a);
    assert_int_equal(pool.free_count, 2);
    fault_arm_alloc(0);
    assert_non_null(arena_alloc(&a, 3000));
    assert_non_null(arena_alloc(&a, 3000));
    assert_false(fault_disarm());
    arena_reset(&a);
    assert_non_null(arena_alloc(&a, ARENA_CHUNK_BYTES + 1)); /* A large one is not kept. */
    arena_reset(&a);
    assert_int_equal(pool.free_count, 2);
    arena_pool_deinit(&pool);
    assert_int_equal(mem_live_bytes(), 0);
#endif
}

static void copies_and_prints_end_in_nul(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a, NULL, 64);
    struct str s = arena_copy(&a, STR("a\0b"));
    assert_int_equal(s.len, 3);
    assert_memory_equal(s.data, "a\0b", 4);
    assert_string_equal(arena_printf(&a, "%d-%s", 7, "x"), "7-x");
    assert_null(arena_printf(&a, "%100d", 7));
    assert_null(arena_copy(&a, (struct str){.data = "", .len = SIZE_MAX}).data);
    const unsigned char *zero = arena_zalloc(&a, 3, 4);
    for (unsigned i = 0; i < 12; i++)
        assert_int_equal(zero[i], 0);
    arena_reset(&a);
}

static void a_failed_allocation_leaves_the_arena_usable(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a, NULL, 1 << 20);
    fault_arm_alloc(0);
    assert_null(arena_alloc(&a, 100));
    assert_true(fault_disarm());
    assert_int_equal(a.used_bytes, 0);
    assert_non_null(arena_alloc(&a, 100));
    arena_reset(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_is_aligned_and_does_not_overlap),
        cmocka_unit_test(the_ceiling_counts_what_was_asked_for),
        cmocka_unit_test(a_rewind_frees_what_came_after_the_mark),
        cmocka_unit_test(a_warm_pool_needs_no_malloc),
        cmocka_unit_test(copies_and_prints_end_in_nul),
        cmocka_unit_test(a_failed_allocation_leaves_the_arena_usable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
