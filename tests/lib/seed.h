/* seed.h: where a test's chance begins: in STEELYARD_TEST_SEED, a number that a failing run has
 * printed, or at what is usual for it. */
#ifndef STEELYARD_TESTS_LIB_SEED_H
#define STEELYARD_TESTS_LIB_SEED_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/base/str.h"

static inline uint64_t test_seed(uint64_t usual)
{
    const char *text = getenv("STEELYARD_TEST_SEED");
    uint64_t seed = usual;
    if (text != NULL)
        assert_int_equal(str_parse_u64(str_from(text), UINT64_MAX, &seed), 0);
    print_message("seed %llu (STEELYARD_TEST_SEED)\n", (unsigned long long)seed);
    return seed;
}

#endif
