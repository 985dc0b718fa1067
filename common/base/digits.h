/* digits.h: decimal digits at a place that has room for them; for what is written for each request.
 */
#ifndef STEELYARD_COMMON_BASE_DIGITS_H
#define STEELYARD_COMMON_BASE_DIGITS_H

#include <stddef.h>
#include <stdint.h>

#define DIGITS_BYTES 20U /* Of any uint64_t. */

/* The last two digits of it. */
static inline void digits_put_two(char *at, uint32_t value)
{
    uint32_t tens = value * 103 >> 10; /* Exact below 100. */
    at[0] = (char)('0' + tens);
    at[1] = (char)('0' + (value - tens * 10));
}

/* Writes to at and returns where it ended; there is room for DIGITS_BYTES. */
static inline char *digits_put_u64(char *at, uint64_t value)
{
    if (value < 10) {
        *at = (char)('0' + value);
        return at + 1;
    }
    size_t digits = value < 100 ? 2 : value < 1000 ? 3 : 4;
    for (uint64_t rest = value / 10000; rest > 0; rest /= 10)
        digits++;
    size_t left = digits;
    for (; left >= 2; left -= 2, value /= 100)
        digits_put_two(at + left - 2, (uint32_t)(value % 100));
    if (left == 1)
        *at = (char)('0' + value);
    return at + digits;
}

#endif
