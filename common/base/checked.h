/* checked.h: integer arithmetic that says when it overflows. Money is int64 nano-USD. Pure. */
#ifndef STEELYARD_COMMON_BASE_CHECKED_H
#define STEELYARD_COMMON_BASE_CHECKED_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/err.h"

/* true: *out holds the exact result. false: it would overflow, *out is not to be used. */
#define checked_add(a, b, out) (!__builtin_add_overflow((a), (b), (out)))
#define checked_sub(a, b, out) (!__builtin_sub_overflow((a), (b), (out)))
#define checked_mul(a, b, out) (!__builtin_mul_overflow((a), (b), (out)))

/* Floor shift on a signed value: rounds towards minus infinity, also for negatives (section 5.2 of
 * the decision function). C leaves >> of a negative to the compiler; this does not. */
static inline int64_t floor_shift_i64(int64_t value, unsigned bits)
{
    return value >= 0 ? value >> bits : ~(~value >> bits);
}

#endif
