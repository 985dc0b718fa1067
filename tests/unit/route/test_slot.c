#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "common/route/slot.h"
#include "tests/unit/route/fixture.h"

#define UNITS 100000U

static const struct siphash_key salt = {UINT64_C(0x0706050403020100), UINT64_C(0x0f0e0d0c0b0a0908)};

static void slots_are_those_of_siphash_of_segment_and_unit(void **state)
{
    (void)state;
    static const struct {
        uint32_t segment;
        uint64_t unit;
        uint8_t bytes[12];
    } rows[] = {
        {0, 0, {0}},
        {0, 1, {0, 0, 0, 0, 1}},
        {0x03020100, UINT64_C(0x0b0a090807060504), {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_int_equal(slot_of(salt, rows[i].segment, rows[i].unit),
                         siphash_2_4(salt, rows[i].bytes, 12) % 10000);
    /* The published vector of twelve bytes, 00 to 0b, under the key 00 to 0f. */
    assert_int_equal(slot_of(salt, 0x03020100, UINT64_C(0x0b0a090807060504)),
                     UINT64_C(0x751e8fbc860ee5fb) % 10000);
}

static void a_larger_share_only_adds_units(void **state)
{
    (void)state;
    static const uint32_t stages[] = {100, 500, 2500, 5000, 10000};
    struct random r = {1};
    for (uint32_t i = 0; i < UNITS; i++) {
        uint32_t slot = slot_of(salt, 0, random_u64(&r));
        assert_true(slot < SLOT_COUNT);
        bool was = false;
        for (size_t k = 0; k < sizeof stages / sizeof stages[0]; k++) {
            bool is = slot < stages[k];
            assert_true(is || !was);
            was = is;
        }
        assert_true(was); /* At 100 % everybody is the candidate's. */
    }
}

/* Four standard deviations of a binomial. */
static void check_share(uint32_t got, uint32_t of, uint32_t pct_bp)
{
    double p = pct_bp / 10000.0, mean = of * p, variance = of * p * (1 - p);
    double off = got - mean;
    assert_true(off * off <= 16 * variance);
}

static void units_spread_evenly_and_independently_of_another_salt(void **state)
{
    (void)state;
    static const uint32_t stages[] = {100, 500, 2500, 5000};
    struct siphash_key other = {salt.k0 ^ 1, salt.k1};
    for (size_t k = 0; k < sizeof stages / sizeof stages[0]; k++) {
        uint32_t first = 0, both = 0;
        for (uint64_t unit = 0; unit < UNITS; unit++) { /* Also units that are just counted up. */
            bool a = slot_of(salt, 0, unit) < stages[k];
            first += a;
            both += a && slot_of(other, 0, unit) < stages[k];
        }
        check_share(first, UNITS, stages[k]);
        check_share(both, first, stages[k]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slots_are_those_of_siphash_of_segment_and_unit),
        cmocka_unit_test(a_larger_share_only_adds_units),
        cmocka_unit_test(units_spread_evenly_and_independently_of_another_salt),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
