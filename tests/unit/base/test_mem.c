#include "common/base/mem.h"

#include <pthread.h>
#include <stdatomic.h>

#include "tests/lib/fault.h"

enum { THREADS = 200, BLOCKS = 100 };

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(f24_the_ledger_adds_up_over_threads_that_come_and_go),
        cmocka_unit_test(f24_the_ledger_follows_growth_and_failure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
