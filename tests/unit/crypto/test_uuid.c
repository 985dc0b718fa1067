#include "common/crypto/uuid.h"
#include "tests/lib/fault.h"

#include <string.h>

#include "common/base/rand.h"

static void version_variant_and_time_are_in_place(void **state)
{
    (void)state;
    struct uuid u = uuid_v7(1645557742000999);
    char text[UUID_TEXT_BYTES];
    uuid_format(&u, text);
    assert_memory_equal(text, "017f22e2-79b0-7", 15); /* The time of RFC 9562 appendix A.6. */
    assert_int_equal(u.bytes[8] >> 6, 2);
    assert_int_equal(uuid_time_ms(&u), 1645557742000);
    assert_int_equal((u.bytes[6] & 15) << 8 | u.bytes[7], 999 * 4096 / 1000);
    assert_int_equal(strlen(text), UUID_TEXT_BYTES - 1);
}

static void ids_sort_by_time_and_differ(void **state)
{
    (void)state;
    struct uuid last = uuid_v7(1645557742000000);
    for (int64_t us = 1; us < 3000; us++) {
        struct uuid u = uuid_v7(1645557742000000 + us);
        assert_true(memcmp(&last, &u, sizeof u) < 0);
        last = u;
    }
    struct uuid a = uuid_v7(5);
    struct uuid b = uuid_v7(5);
    assert_memory_not_equal(&a, &b, sizeof a);
    a = uuid_v7(-5);
    assert_int_equal(uuid_time_ms(&a), 0);
}

static void only_the_canonical_form_is_parsed(void **state)
{
    (void)state;
    struct uuid u;
    struct uuid again;
    char text[UUID_TEXT_BYTES];
    for (unsigned i = 0; i < 16; i++)
        u.bytes[i] = (uint8_t)(i * 17);
    uuid_format(&u, text);
    assert_string_equal(text, "00112233-4455-6677-8899-aabbccddeeff");
    assert_int_equal(uuid_parse(str_from(text), &again), 0);
    assert_memory_equal(&u, &again, sizeof u);
    assert_int_equal(uuid_parse(STR("00112233-4455-6677-8899-AABBCCDDEEFF"), &again), 0);
    assert_memory_equal(&u, &again, sizeof u);
    static const char *const bad[] = {
        "",
        "00112233-4455-6677-8899-aabbccddeef",
        "00112233-4455-6677-8899-aabbccddeeff0",
        "00112233445566778899aabbccddeeff",
        "{0112233-4455-6677-8899-aabbccddeef}",
        "0011223-34455-6677-8899-aabbccddeeff",
        "00112233-4455-6677-8899-aabbccddeefg",
        "00112233-4455-6677-8899_aabbccddeeff",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(uuid_parse(str_from(bad[i]), &again), ERR_SYNTAX);
}

static void a_signed_id_binds_owner_and_every_bit(void **state)
{
    (void)state;
    const struct siphash_key key = {.k0 = 1, .k1 = 2};
    const struct siphash_key other = {.k0 = 1, .k1 = 3};
    rand_seed_thread(3);
    struct uuid u = uuid_v7_signed(1645557742000000, 42, key);
    assert_true(uuid_signed_by(&u, 42, key));
    assert_false(uuid_signed_by(&u, 43, key));
    assert_false(uuid_signed_by(&u, 42, other));
    assert_int_equal(u.bytes[6] >> 4, 7);
    for (unsigned bit = 0; bit < 128; bit++) {
        struct uuid changed = u;
        changed.bytes[bit / 8] ^= (uint8_t)(1U << bit % 8);
        assert_false(uuid_signed_by(&changed, 42, key));
    }
}

/* Ids that were given out stay what they are: SipHash-2-4 of the first twelve bytes and the owner.
 */
static void the_signature_is_siphash_of_id_and_owner(void **state)
{
    (void)state;
    rand_seed_thread(4);
    for (unsigned i = 0; i < 10000; i++) {
        const struct siphash_key key = {.k0 = rand_u64(), .k1 = rand_u64()};
        const uint64_t owner = rand_u64() >> i % 64;
        const struct uuid u = uuid_v7_signed((int64_t)(rand_u64() >> 12), owner, key);
        uint8_t covered[20];
        memcpy(covered, u.bytes, 12);
        for (unsigned b = 0; b < 8; b++)
            covered[12 + b] = (uint8_t)(owner >> (56 - 8 * b));
        const uint64_t mac = siphash_2_4(key, covered, sizeof covered);
        for (unsigned b = 0; b < 4; b++)
            assert_int_equal(u.bytes[12 + b], (uint8_t)(mac >> (24 - 8 * b)));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(version_variant_and_time_are_in_place),
        cmocka_unit_test(ids_sort_by_time_and_differ),
        cmocka_unit_test(only_the_canonical_form_is_parsed),
        cmocka_unit_test(the_signature_is_siphash_of_id_and_owner),
        cmocka_unit_test(a_signed_id_binds_owner_and_every_bit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
