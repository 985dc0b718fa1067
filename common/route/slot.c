#include "common/route/slot.h"

#include <endian.h>
#include <string.h>

uint32_t slot_of(struct siphash_key salt, uint32_t segment, uint64_t unit)
{
    uint8_t bytes[12];
    segment = htole32(segment);
    unit = htole64(unit);
    memcpy(bytes, &segment, 4);
    memcpy(bytes + 4, &unit, 8);
    return (uint32_t)(siphash_2_4(salt, bytes, sizeof bytes) % SLOT_COUNT);
}
