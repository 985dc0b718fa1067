/* varint.h: numbers seven bits a byte, the lowest first, each byte but the last with its highest
 * bit set (Protocol Buffers' encoding). Readers differ in what they refuse and stand with their
 * formats. Pure. */
#ifndef STEELYARD_COMMON_BASE_VARINT_H
#define STEELYARD_COMMON_BASE_VARINT_H

#include <stdint.h>

/* In the shortest form; `at` has room for it, ten bytes at most. Where it ends. */
static inline uint8_t *varint_write(uint8_t *at, uint64_t value)
{
    for (; value >= 0x80; value >>= 7)
        *at++ = (uint8_t)(value | 0x80);
    *at++ = (uint8_t)value;
    return at;
}

#endif
