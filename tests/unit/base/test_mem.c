#include "common/base/mem.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "common/base/process.h"
#include "tests/lib/fault.h"

enum { THREADS = 200, BLOCKS = 100, LARGE = 12, LARGE_BYTES = 512 << 10, MB = 1 << 20 };

static void *blocks[THREADS][BLOCKS];

static void *take_blocks(void *arg)
{
    void **mine = arg;
    for (int i = 0; i < BLOCKS; i++)
        mine[i] = mem_alloc(1000);
    return NULL;
}

static void *give_blocks(void *arg)
{
    void **theirs = arg;
    for (int i = 0; i < BLOCKS; i++)
        mem_free(theirs[i]);
    return NULL;
}

static void run_all(void *(*fn)(void *))
{
    static pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, fn, blocks[i]), 0);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
}

/* More threads than there are counters, and what one allocates another frees. */
static void f24_the_ledger_adds_up_over_threads_that_come_and_go(void **state)
{
    (void)state;
    uint64_t before = mem_live_bytes();
    run_all(take_blocks);
    assert_in_range(mem_live_bytes() - before, THREADS * BLOCKS * 1000, THREADS * BLOCKS * 1100);
    run_all(give_blocks);
    assert_int_equal(mem_live_bytes(), before);
}

static void f24_the_ledger_follows_growth_and_failure(void **state)
{
    (void)state;
    uint64_t before = mem_live_bytes();
    void *p = mem_alloc(100);
    assert_non_null(p);
    p = mem_realloc(p, 100000);
    assert_non_null(p);
    assert_in_range(mem_live_bytes() - before, 100000, 105000);
    fault_arm_alloc(0);
    assert_null(mem_realloc(p, 200000));
    assert_true(fault_disarm());
    assert_in_range(mem_live_bytes() - before, 100000, 105000);
    mem_free(p);
    mem_trim();
    assert_int_equal(mem_live_bytes(), before);
}

/* A sanitizer has a malloc of its own. */
#if !defined(STEELYARD_ASAN) && !defined(STEELYARD_TSAN)
static uint64_t resident(void)
{
    uint64_t virtual_bytes, resident_bytes;
    process_memory(&virtual_bytes, &resident_bytes);
    return resident_bytes;
}

/* 6 MiB in a heap of its own, freed again, stay at its end until it looks itself. */
static void *leave_an_end(void *arg)
{
    uint64_t *left = arg;
    void *large[LARGE];
    const unsigned trims = mem_trims();
    for (unsigned i = 0; i < LARGE; i++) {
        large[i] = mem_alloc(LARGE_BYTES);
        assert_non_null(large[i]);
        memset(large[i], 1, LARGE_BYTES);
    }
    for (unsigned i = 0; i < LARGE; i++)
        mem_free(large[i]);
    mem_trim();
    assert_int_equal(mem_trims(), trims + 1);
    left[0] = resident();
    mem_trim_end();
    left[1] = resident();
    return NULL;
}

static void the_end_of_a_threads_heap_is_given_back(void **state)
{
    (void)state;
    pthread_t thread;
    uint64_t left[2];
    mem_limit_heaps(4);
    assert_int_equal(pthread_create(&thread, NULL, leave_an_end, left), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_true(left[0] > left[1] && left[0] - left[1] >= 5 * MB);
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(f24_the_ledger_adds_up_over_threads_that_come_and_go),
        cmocka_unit_test(f24_the_ledger_follows_growth_and_failure),
#if !defined(STEELYARD_ASAN) && !defined(STEELYARD_TSAN)
        cmocka_unit_test(the_end_of_a_threads_heap_is_given_back),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
