#include "common/base/slab.h"

#include <string.h>
#include <sys/mman.h>

#include "common/base/mem.h"
#include "tests/lib/fault.h"

#define OBJECT_BYTES 200
#define OBJECTS      1000

static void objects_do_not_touch_and_their_places_are_used_again(void **state)
{
    (void)state;
    struct slab s;
    unsigned char *objects[OBJECTS];
    uint64_t before = mem_live_bytes();
    slab_init(&s, OBJECT_BYTES);
    for (size_t i = 0; i < OBJECTS; i++) {
        objects[i] = slab_take(&s);
        assert_non_null(objects[i]);
        assert_int_equal((uintptr_t)objects[i] % 8, 0);
        memset(objects[i], (int)(i % 251), OBJECT_BYTES);
    }
    uint64_t full = mem_live_bytes() - before;
    assert_true(full < OBJECTS * (OBJECT_BYTES + 16) + 2 * SLAB_BLOCK_BYTES);
    for (size_t i = 0; i < OBJECTS; i++)
        for (size_t k = 0; k < OBJECT_BYTES; k++)
            assert_int_equal(objects[i][k], i % 251);
    slab_give(&s, NULL);
    for (size_t i = 0; i < OBJECTS; i += 2) /* Every block keeps some. */
        slab_give(&s, objects[i]);
    assert_int_equal(mem_live_bytes() - before, full);
    for (size_t i = 0; i < OBJECTS; i += 2) { /* Their places are used again. */
        objects[i] = slab_take(&s);
        assert_non_null(objects[i]);
    }
    assert_int_equal(mem_live_bytes() - before, full);
    for (size_t i = 0; i < OBJECTS; i++)
        slab_give(&s, objects[i]);
    assert_int_equal(mem_live_bytes() - before, full);
    slab_trim_all(&s);
    assert_int_equal(mem_live_bytes(), before);
    objects[0] = slab_take(&s);
    assert_non_null(objects[0]);
    slab_trim_all(&s); /* One in use stays. */
    memset(objects[0], 1, OBJECT_BYTES);
    slab_give(&s, objects[0]);
    slab_deinit(&s);
    assert_int_equal(mem_live_bytes(), before);
}

static void taking_and_giving_one_object_costs_no_allocation(void **state)
{
    (void)state;
    struct slab s;
    slab_init(&s, OBJECT_BYTES);
    slab_give(&s, slab_take(&s));
    fault_arm_alloc(0);
    for (int i = 0; i < 100; i++) {
        void *object = slab_take(&s);
        assert_non_null(object);
        slab_give(&s, object);
    }
    assert_false(fault_disarm());
    slab_deinit(&s);
}

static void rise_and_fall(struct slab *s, size_t count)
{
    void *objects[OBJECTS];
    for (size_t i = 0; i < count; i++) {
        objects[i] = slab_take(s);
        assert_non_null(objects[i]);
    }
    for (size_t i = 0; i < count; i++)
        slab_give(s, objects[i]);
}

static void what_comes_and_goes_costs_nothing_and_what_stays_unused_is_given_back(void **state)
{
    (void)state;
    struct slab s;
    const uint64_t before = mem_live_bytes();
    slab_init(&s, OBJECT_BYTES);
    rise_and_fall(&s, OBJECTS);
    slab_trim(&s); /* The rise needed all of it. */
    const uint64_t risen = mem_live_bytes() - before;
    assert_true(risen >= OBJECTS * OBJECT_BYTES);
    const size_t few = 2 * s.per_block + 1;
    fault_arm_alloc(0);
    for (int i = 0; i < 10; i++)
        rise_and_fall(&s, few);
    assert_false(fault_disarm());
    slab_trim(&s); /* But for three blocks nothing was needed. */
    const uint64_t kept = mem_live_bytes() - before;
    assert_true(kept > 0 && kept <= 3 * (SLAB_BLOCK_BYTES + 64));
    fault_arm_alloc(0);
    rise_and_fall(&s, few);
    slab_trim(&s);
    rise_and_fall(&s, few);
    assert_false(fault_disarm());
    assert_int_equal(mem_live_bytes() - before, kept);
    slab_trim(&s);
    slab_trim(&s); /* None was needed between the two. */
    assert_int_equal(mem_live_bytes(), before);
    slab_deinit(&s);
}

/* What is freed is not the process's any more, whatever malloc would keep. */
static void blocks_are_apart_from_malloc(void **state)
{
    (void)state;
#ifndef STEELYARD_ASAN
    struct slab s;
    void *objects[OBJECTS];
    slab_init(&s, OBJECT_BYTES);
    for (size_t i = 0; i < OBJECTS; i++) {
        objects[i] = slab_take(&s);
        assert_non_null(objects[i]);
    }
    uintptr_t page = (uintptr_t)objects[OBJECTS / 2] & ~(uintptr_t)4095;
    unsigned char in_core;
    assert_int_equal(mincore((void *)page, 4096, &in_core), 0);
    for (size_t i = 0; i < OBJECTS; i++)
        slab_give(&s, objects[i]);
    slab_trim_all(&s);
    assert_int_equal(mincore((void *)page, 4096, &in_core), -1); /* Not mapped. */
    slab_deinit(&s);
#endif
}

static void without_memory_nothing_is_taken(void **state)
{
    (void)state;
    struct slab s;
    slab_init(&s, OBJECT_BYTES);
    fault_arm_alloc(0);
    assert_null(slab_take(&s));
    assert_true(fault_disarm());
    void *object = slab_take(&s);
    assert_non_null(object);
    slab_give(&s, object);
    slab_deinit(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(objects_do_not_touch_and_their_places_are_used_again),
        cmocka_unit_test(taking_and_giving_one_object_costs_no_allocation),
        cmocka_unit_test(what_comes_and_goes_costs_nothing_and_what_stays_unused_is_given_back),
        cmocka_unit_test(blocks_are_apart_from_malloc),
        cmocka_unit_test(without_memory_nothing_is_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
