#include "common/base/rand.h"
#include "tests/lib/fault.h"

#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void a_seed_makes_it_repeatable(void **state)
{
    (void)state;
    uint64_t first[8];
    rand_seed_thread(7);
    for (unsigned i = 0; i < 8; i++)
        first[i] = rand_u64();
    rand_seed_thread(7);
    for (unsigned i = 0; i < 8; i++)
        assert_int_equal(rand_u64(), first[i]);
    rand_seed_thread(8);
    assert_int_not_equal(rand_u64(), first[0]);
}

static void below_is_within_bounds_and_even(void **state)
{
    (void)state;
    unsigned seen[10] = {0};
    rand_seed_thread(1);
    for (unsigned i = 0; i < 100000; i++)
        seen[rand_below(10)]++;
    for (unsigned i = 0; i < 10; i++)
        assert_in_range(seen[i], 9500, 10500);
    for (unsigned i = 0; i < 100; i++) {
        assert_int_equal(rand_below(1), 0);
        assert_true(rand_below(UINT64_MAX) < UINT64_MAX);
    }
}

static void secure_bytes_fill_the_whole_buffer(void **state)
{
    (void)state;
    unsigned char a[64] = {0};
    unsigned char b[64] = {0};
    assert_int_equal(rand_secure(a, sizeof a), 0);
    assert_int_equal(rand_secure(b, sizeof b), 0);
    assert_memory_not_equal(a, b, sizeof a);
    assert_memory_not_equal(a + 48, b + 48, 16);
    assert_int_equal(rand_secure(a, 0), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_seed_makes_it_repeatable),
        cmocka_unit_test(below_is_within_bounds_and_even),
        cmocka_unit_test(secure_bytes_fill_the_whole_buffer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
