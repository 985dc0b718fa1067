/* digits.h: decimal digits at a place that has room for them; for what is written for each request.
 */
#ifndef STEELYARD_COMMON_BASE_DIGITS_H
#define STEELYARD_COMMON_BASE_DIGITS_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define DIGITS_BYTES 20U /* Of any uint64_t. */

/* "00", "01" and so on to "99". */
extern const char digits_pairs[200];

/* Two digits of a number below 100. */
static inline void digits_put_two(char *at, uint32_t value)
{
    memcpy(at, digits_pairs + 2 * (size_t)value, 2);
}

/* Writes to at and returns where it ended; there is room for DIGITS_BYTES. */
static inline char *digits_put_u64(char *at, uint64_t value)
{
    if (value < 10) {
        *at = (char)('0' + value);
        return at + 1;
    }
    if (value < 100) {
        digits_put_two(at, (uint32_t)value);
        return at + 2;
    }
    if (value < 1000) {
        const uint32_t hundreds = (uint32_t)value / 100;
        *at = (char)('0' + hundreds);
        digits_put_two(at + 1, (uint32_t)value - 100 * hundreds);
        return at + 3;
    }
    size_t digits = 4;
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
