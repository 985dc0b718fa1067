/* The value that workers read while the control loop writes it. */
#include <pthread.h>
#include <string.h>

#include "dataplane/credential/credential.h"
#include "tests/lib/fault.h"

struct kit {
    struct arena_pool pool;
    struct arena arena;
};

static void setup(struct kit *kit)
{
    arena_pool_init(&kit->pool, 4);
    arena_init(&kit->arena, &kit->pool, 1U << 20);
}

static void teardown(struct kit *kit)
{
    arena_reset(&kit->arena);
    arena_pool_deinit(&kit->pool);
}

static void a_credential_holds_until_its_time(void **state)
{
    struct credential *c = credential_create();
    struct kit kit;
    struct str text;
    (void)state;
    setup(&kit);
    assert_non_null(c);
    assert_false(credential_is_valid(c, 0));
    assert_int_equal(credential_get(c, 0, &kit.arena, &text), ERR_UNAUTHENTICATED);
    assert_int_equal(credential_set(c, STR("a token of some length"), 100), 0);
    assert_true(credential_is_valid(c, 99));
    assert_int_equal(credential_get(c, 99, &kit.arena, &text), 0);
    assert_true(str_is(text, "a token of some length"));
    assert_false(credential_is_valid(c, 100));
    assert_int_equal(credential_get(c, 100, &kit.arena, &text), ERR_UNAUTHENTICATED);
    assert_int_equal(credential_set(c, STR("b"), CREDENTIAL_FOREVER), 0);
    assert_int_equal(credential_get(c, 1ULL << 50, &kit.arena, &text), 0);
    assert_true(str_is(text, "b"));
    credential_unref(c);
    teardown(&kit);
}

static void what_is_too_long_changes_nothing(void **state)
{
    static char large[CREDENTIAL_BYTES_MAX + 1];
    struct credential *c = credential_create();
    struct kit kit;
    struct str text;
    (void)state;
    setup(&kit);
    memset(large, 'x', sizeof large);
    assert_int_equal(credential_set(c, STR("a"), 100), 0);
    assert_int_equal(credential_set(c, (struct str){large, sizeof large}, 200), ERR_TOO_LARGE);
    assert_int_equal(credential_get(c, 1, &kit.arena, &text), 0);
    assert_true(str_is(text, "a"));
    assert_int_equal(credential_set(c, (struct str){large, sizeof large - 1}, 200), 0);
    assert_int_equal(credential_get(c, 1, &kit.arena, &text), 0);
    assert_int_equal(text.len, CREDENTIAL_BYTES_MAX);
    arena_reset(&kit.arena);
    kit.arena.max_bytes = 64;
    assert_int_equal(credential_get(c, 1, &kit.arena, &text), ERR_TOO_LARGE);
    credential_unref(c);
    credential_unref(NULL);
    teardown(&kit);
}

static void it_is_shared_while_somebody_else_holds_it(void **state)
{
    struct credential *c = credential_create();
    (void)state;
    assert_false(credential_is_shared(c));
    credential_unref(credential_ref(c));
    struct credential *other = credential_ref(c);
    assert_true(credential_is_shared(c));
    credential_unref(other);
    assert_false(credential_is_shared(c));
    credential_unref(c);
    fault_arm_alloc(0);
    assert_null(credential_create());
    assert_true(fault_disarm());
}

#define ROUNDS 20000

struct race {
    struct credential *credential;
    unsigned torn;
};

static void *read_all(void *arg)
{
    struct race *race = arg;
    struct kit kit;
    struct str text;
    setup(&kit);
    for (unsigned i = 0; i < ROUNDS; i++) {
        int rc = credential_get(race->credential, 1, &kit.arena, &text);
        if (rc == 0)
            for (size_t k = 1; k < text.len; k++)
                race->torn += text.data[k] != text.data[0];
        arena_reset(&kit.arena);
    }
    teardown(&kit);
    return NULL;
}

static void readers_never_see_half_of_two_values(void **state)
{
    char text[96];
    struct race races[2] = {{.credential = credential_create()}};
    pthread_t threads[2];
    (void)state;
    races[1].credential = races[0].credential;
    memset(text, 'a', sizeof text);
    assert_int_equal(credential_set(races[0].credential, (struct str){text, 96}, 100), 0);
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, read_all, &races[i]), 0);
    for (unsigned i = 0; i < ROUNDS; i++) {
        memset(text, 'a' + (int)(i % 26), sizeof text);
        assert_int_equal(credential_set(races[0].credential, (struct str){text, 8 + i % 89}, 100),
                         0);
    }
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_int_equal(races[0].torn + races[1].torn, 0);
    credential_unref(races[0].credential);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_credential_holds_until_its_time),
        cmocka_unit_test(what_is_too_long_changes_nothing),
        cmocka_unit_test(it_is_shared_while_somebody_else_holds_it),
        cmocka_unit_test(readers_never_see_half_of_two_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
