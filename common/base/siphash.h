/* siphash.h: the rounds of SipHash (Aumasson and Bernstein, 2012), for those who hash messages of a
 * known shape and write the blocks out. Everyone else takes hash.h. Inline, pure. */
#ifndef STEELYARD_COMMON_BASE_SIPHASH_H
#define STEELYARD_COMMON_BASE_SIPHASH_H

#include <stdint.h>
#include <string.h>

#include "common/base/hash.h"

struct sip {
    uint64_t v0, v1, v2, v3;
};

#define SIP_ROTL(x, b) ((x) << (b) | (x) >> (64 - (b)))

static inline struct sip sip_begin(struct siphash_key key)
{
    return (struct sip){
        key.k0 ^ UINT64_C(0x736f6d6570736575), key.k1 ^ UINT64_C(0x646f72616e646f6d),
        key.k0 ^ UINT64_C(0x6c7967656e657261), key.k1 ^ UINT64_C(0x7465646279746573)};
}

static inline struct sip sip_round(struct sip s)
{
    s.v0 += s.v1;
    s.v1 = SIP_ROTL(s.v1, 13) ^ s.v0;
    s.v0 = SIP_ROTL(s.v0, 32);
    s.v2 += s.v3;
    s.v3 = SIP_ROTL(s.v3, 16) ^ s.v2;
    s.v0 += s.v3;
    s.v3 = SIP_ROTL(s.v3, 21) ^ s.v0;
    s.v2 += s.v1;
    s.v1 = SIP_ROTL(s.v1, 17) ^ s.v2;
    s.v2 = SIP_ROTL(s.v2, 32);
    return s;
}

/* Of the variant 1-3: one round a block, three at the end. */
static inline struct sip sip_block(struct sip s, uint64_t m)
{
    s.v3 ^= m;
    s = sip_round(s);
    s.v0 ^= m;
    return s;
}

static inline uint64_t sip_final(struct sip s)
{
    s.v2 ^= 0xff;
    s = sip_round(sip_round(sip_round(s)));
    return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}

/* Of the variant 2-4: two and four. */
static inline struct sip sip_block_2(struct sip s, uint64_t m)
{
    s.v3 ^= m;
    s = sip_round(sip_round(s));
    s.v0 ^= m;
    return s;
}

static inline uint64_t sip_final_4(struct sip s)
{
    s.v2 ^= 0xff;
    s = sip_round(sip_round(sip_round(sip_round(s))));
    return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}

static inline uint64_t sip_load(const uint8_t *p)
{
    uint64_t value;
    memcpy(&value, p, 8);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    value = __builtin_bswap64(value);
#endif
    return value;
}

/* The last block of a message: the bytes left over (fewer than eight) and the length. The end of a
 * message of eight bytes or more is read as one word, and what is hashed already is shifted out. */
static inline uint64_t sip_last(const uint8_t *message, size_t len)
{
    const size_t left = len % 8;
    uint64_t last = 0;
    if (len >= 8 && left > 0)
        last = sip_load(message + len - 8) >> (8 * (8 - left));
    else
        for (size_t i = 0; i < left; i++)
            last |= (uint64_t)message[i] << (8 * i);
    return last | (uint64_t)len << 56;
}

#endif
