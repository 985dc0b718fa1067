#include "common/base/map.h"
#include "tests/lib/fault.h"

#include <stdio.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/base/rand.h"

#define KEYS 500

static char names[KEYS][8];

static struct str name(unsigned i)
{
    (void)snprintf(names[i], sizeof names[i], "k%u", i);
    return str_from(names[i]);
}

static void behaves_as_a_model_under_random_changes(void **state)
{
    (void)state;
    struct map m;
    void *model[KEYS] = {0};
    size_t count = 0;
    rand_seed_thread(1);
    map_init(&m);
    for (unsigned step = 0; step < 50000; step++) {
        unsigned i = (unsigned)rand_below(KEYS);
        void *value = &names[rand_below(KEYS)];
        if (rand_below(2) == 0) {
            void *old = NULL;
            assert_int_equal(map_put(&m, name(i), value, &old), 0);
            assert_ptr_equal(old, model[i]);
            count += model[i] == NULL;
            model[i] = value;
        } else {
            assert_ptr_equal(map_remove(&m, name(i)), model[i]);
            count -= model[i] != NULL;
            model[i] = NULL;
        }
        assert_int_equal(m.count, count);
        unsigned probe = (unsigned)rand_below(KEYS);
        assert_ptr_equal(map_get(&m, name(probe)), model[probe]);
    }
    for (unsigned i = 0; i < KEYS; i++)
        assert_ptr_equal(map_get(&m, name(i)), model[i]);
    size_t seen = 0;
    const struct map_entry *e = NULL;
    for (size_t at = 0; (e = map_next(&m, &at)) != NULL; seen++)
        assert_ptr_equal(map_get(&m, e->key), e->value);
    assert_int_equal(seen, count);
    map_deinit(&m);
}

static void an_empty_map_holds_nothing_and_no_memory(void **state)
{
    (void)state;
    struct map m;
    size_t at = 0;
    map_init(&m);
    assert_null(map_get(&m, STR("a")));
    assert_null(map_remove(&m, STR("a")));
    assert_null(map_next(&m, &at));
    map_deinit(&m);
    assert_int_equal(mem_live_bytes(), 0);
}

static void keys_are_bytes(void **state)
{
    (void)state;
    struct map m;
    int a = 0;
    int b = 0;
    map_init(&m);
    assert_int_equal(map_put(&m, STR("a\0b"), &a, NULL), 0);
    assert_int_equal(map_put(&m, STR_NULL, &b, NULL), 0);
    assert_ptr_equal(map_get(&m, STR("a\0b")), &a);
    assert_null(map_get(&m, STR("a")));
    assert_ptr_equal(map_get(&m, STR("")), &b);
    map_deinit(&m);
}

static void a_failed_growth_leaves_the_map_as_it_was(void **state)
{
    (void)state;
    bool fired = true;
    for (unsigned n = 0; fired; n++) {
        struct map m;
        int rc = 0;
        unsigned i = 0;
        map_init(&m);
        fault_arm_alloc(n);
        for (; i < 100 && rc == 0; i++)
            rc = map_put(&m, name(i), names, NULL);
        fired = fault_disarm();
        assert_int_equal(rc, fired ? ERR_NOMEM : 0);
        assert_int_equal(m.count, fired ? i - 1 : 100);
        for (unsigned k = 0; k < m.count; k++)
            assert_ptr_equal(map_get(&m, name(k)), names);
        map_deinit(&m);
    }
    assert_int_equal(mem_live_bytes(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(behaves_as_a_model_under_random_changes),
        cmocka_unit_test(an_empty_map_holds_nothing_and_no_memory),
        cmocka_unit_test(keys_are_bytes),
        cmocka_unit_test(a_failed_growth_leaves_the_map_as_it_was),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
