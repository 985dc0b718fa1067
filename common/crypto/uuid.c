#include "common/crypto/uuid.h"

#include <endian.h>
#include <string.h>

#include "common/base/rand.h"
#include "common/base/siphash.h"
#include "common/crypto/digest.h"

/* Layout: 48 bits of milliseconds | 4 version | 12 rand_a | 2 variant | 62 rand_b. */
#define UUID_MAC_OFFSET 12U
#define UUID_MAC_BYTES  4U

static void store_be(uint8_t *out, uint64_t value, unsigned bytes)
{
    uint64_t big = htobe64(value << (64 - 8 * bytes));
    memcpy(out, &big, bytes);
}

struct uuid uuid_v7(int64_t wall_us)
{
    struct uuid u;
    uint64_t us = wall_us > 0 ? (uint64_t)wall_us : 0;
    uint64_t fraction = us % 1000 * 4096 / 1000; /* Of a millisecond, in 12 bits. */
    store_be(u.bytes, us / 1000, 6);
    store_be(u.bytes + 6, 0x7000U | fraction, 2);
    store_be(u.bytes + 8, (rand_u64() & 0x3FFFFFFFFFFFFFFFU) | 0x8000000000000000U, 8);
    return u;
}

int64_t uuid_time_ms(const struct uuid *u)
{
    uint64_t ms = 0;
    for (unsigned i = 0; i < 6; i++)
        ms = ms << 8 | u->bytes[i];
    return (int64_t)ms;
}

/* Where the dashes stand: 8-4-4-4-12. */
static bool uuid_dash_before(unsigned byte)
{
    return byte == 4 || byte == 6 || byte == 8 || byte == 10;
}

void uuid_format(const struct uuid *u, char out[UUID_TEXT_BYTES])
{
    char hex[2 * sizeof u->bytes + 1];
    hex_encode(u->bytes, sizeof u->bytes, hex);
    memcpy(out, hex, 8);
    memcpy(out + 9, hex + 8, 4);
    memcpy(out + 14, hex + 12, 4);
    memcpy(out + 19, hex + 16, 4);
    memcpy(out + 24, hex + 20, 12);
    out[8] = out[13] = out[18] = out[23] = '-';
    out[36] = '\0';
}

int uuid_parse(struct str text, struct uuid *out)
{
    struct uuid u;
    size_t at = 0;
    if (text.len != UUID_TEXT_BYTES - 1)
        return ERR_SYNTAX;
    for (unsigned i = 0; i < sizeof u.bytes; i++) {
        if (uuid_dash_before(i) && text.data[at++] != '-')
            return ERR_SYNTAX;
        int rc = hex_decode(str_slice(text, at, at + 2), &u.bytes[i], 1);
        if (rc != 0)
            return ERR_SYNTAX;
        at += 2;
    }
    *out = u;
    return 0;
}

static void uuid_mac(const struct uuid *u, uint64_t owner, struct siphash_key key,
                     uint8_t out[UUID_MAC_BYTES])
{
    /* SipHash-2-4 of twenty bytes, its blocks written out: the id's first twelve and the owner, big
     * endian. */
    uint64_t first, second = 0, big = htobe64(owner);
    memcpy(&first, u->bytes, 8);
    memcpy(&second, u->bytes + 8, UUID_MAC_OFFSET - 8);
    first = le64toh(first);
    second = le64toh(second);
    big = le64toh(big);
    struct sip s = sip_block_2(sip_begin(key), first);
    s = sip_block_2(s, second | big << 32);
    const uint64_t mac =
        sip_final_4(sip_block_2(s, big >> 32 | (uint64_t)(UUID_MAC_OFFSET + 8) << 56));
    store_be(out, mac & 0xFFFFFFFFU, UUID_MAC_BYTES);
}

struct uuid uuid_v7_signed(int64_t wall_us, uint64_t owner, struct siphash_key key)
{
    struct uuid u = uuid_v7(wall_us);
    uuid_mac(&u, owner, key, u.bytes + UUID_MAC_OFFSET);
    return u;
}

bool uuid_signed_by(const struct uuid *u, uint64_t owner, struct siphash_key key)
{
    uint8_t mac[UUID_MAC_BYTES];
    uuid_mac(u, owner, key, mac);
    return digest_equal(mac, u->bytes + UUID_MAC_OFFSET, sizeof mac);
}
