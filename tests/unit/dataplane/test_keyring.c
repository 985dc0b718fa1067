#include "dataplane/state/keyring.h"
#include "tests/lib/fault.h"

#include <stdio.h>
#include <string.h>

#define KEY "sk-sy-0123456789-abcdefghijklmnopqrstuvwxyzABCDEF"

static struct identity identity_of(const char *public_id, const char *text)
{
    return (struct identity){
        .id = 7, .public_id = str_from(public_id), .hash = digest_sha256(text, strlen(text))};
}

static int recall(const struct keyring *k, struct keyring_memory *m, struct str text,
                  const struct identity **out)
{
    const struct identity *looked_up = NULL;
    int wanted = keyring_find(k, text, 5, &looked_up);
    *out = NULL;
    int rc = keyring_recall(k, m, text, 5, out);
    assert_int_equal(rc, wanted);
    assert_ptr_equal(*out, looked_up);
    return rc;
}

static void b23_a_remembered_key_admits_itself_alone(void **state)
{
    (void)state;
    static struct keyring_memory m;
    struct keyring k;
    const struct identity *found;
    struct identity identity = identity_of("0123456789", KEY);
    char text[sizeof KEY + 1] = KEY "x";
    keyring_init(&k);
    keyring_memory_init(&m);
    assert_true(m.ready);
    assert_int_equal(keyring_add(&k, &identity), 0);
    for (int i = 0; i < 3; i++)
        assert_int_equal(recall(&k, &m, STR(KEY), &found), 0);
    for (size_t i = 0; i < sizeof KEY - 1; i++) {
        for (int bit = 0; bit < 8; bit++) {
            text[i] ^= (char)(1 << bit);
            assert_int_equal(recall(&k, &m, (struct str){text, sizeof KEY - 1}, &found),
                             ERR_UNAUTHENTICATED);
            text[i] ^= (char)(1 << bit);
        }
        assert_int_equal(recall(&k, &m, (struct str){text, i}, &found), ERR_UNAUTHENTICATED);
    }
    assert_int_equal(recall(&k, &m, (struct str){text, sizeof KEY}, &found), ERR_UNAUTHENTICATED);
    assert_int_equal(recall(&k, &m, STR_NULL, &found), ERR_UNAUTHENTICATED);
    assert_int_equal(recall(&k, &m, STR(KEY), &found), 0);
    keyring_memory_deinit(&m);
    keyring_deinit(&k);
}

static void a_remembered_key_still_expires_and_is_disabled(void **state)
{
    (void)state;
    static struct keyring_memory m;
    struct keyring k;
    const struct identity *found;
    struct identity identity = identity_of("0123456789", KEY);
    identity.expires_us = 100;
    keyring_init(&k);
    keyring_memory_init(&m);
    assert_int_equal(keyring_add(&k, &identity), 0);
    assert_int_equal(keyring_recall(&k, &m, STR(KEY), 99, &found), 0);
    assert_int_equal(keyring_recall(&k, &m, STR(KEY), 99, &found), 0);
    assert_int_equal(keyring_recall(&k, &m, STR(KEY), 100, &found), ERR_UNAUTHENTICATED);
    identity.disabled = true;
    assert_int_equal(keyring_recall(&k, &m, STR(KEY), 99, &found), ERR_UNAUTHENTICATED);
    keyring_memory_deinit(&m);
    keyring_deinit(&k);
}

static void a_key_is_remembered_for_one_keyring_only(void **state)
{
    (void)state;
    static struct keyring_memory m;
    struct keyring k;
    const struct identity *found;
    struct identity first = identity_of("0123456789", KEY), second = first;
    keyring_memory_init(&m);
    keyring_init(&k);
    assert_int_equal(keyring_add(&k, &first), 0);
    assert_int_equal(recall(&k, &m, STR(KEY), &found), 0);
    keyring_deinit(&k);
    keyring_init(&k); /* Where the one before it was. */
    assert_int_equal(recall(&k, &m, STR(KEY), &found), ERR_UNAUTHENTICATED);
    assert_int_equal(keyring_add(&k, &second), 0);
    assert_int_equal(recall(&k, &m, STR(KEY), &found), 0);
    assert_ptr_equal(found, &second);
    keyring_memory_deinit(&m);
    keyring_deinit(&k);
}

/* More keys than are remembered; each is its own. */
static void keys_that_push_each_other_out_are_found_all_the_same(void **state)
{
    (void)state;
    enum { KEYS = 4 * KEYRING_SEEN_SLOTS };
    static struct keyring_memory m;
    static struct identity identities[KEYS];
    static char texts[KEYS][40], ids[KEYS][16];
    struct keyring k;
    const struct identity *found;
    keyring_init(&k);
    keyring_memory_init(&m);
    for (unsigned i = 0; i < KEYS; i++) {
        (void)snprintf(ids[i], sizeof ids[i], "key%u", i);
        (void)snprintf(texts[i], sizeof texts[i], "sk-sy-key%u-secret", i);
        identities[i] = identity_of(ids[i], texts[i]);
        assert_int_equal(keyring_add(&k, &identities[i]), 0);
    }
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned i = 0; i < KEYS; i++) {
            assert_int_equal(recall(&k, &m, str_from(texts[i]), &found), 0);
            assert_int_equal(recall(&k, &m, str_from(texts[i]), &found), 0);
            assert_ptr_equal(found, &identities[i]);
        }
    }
    keyring_memory_deinit(&m);
    keyring_deinit(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(b23_a_remembered_key_admits_itself_alone),
        cmocka_unit_test(a_remembered_key_still_expires_and_is_disabled),
        cmocka_unit_test(a_key_is_remembered_for_one_keyring_only),
        cmocka_unit_test(keys_that_push_each_other_out_are_found_all_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
