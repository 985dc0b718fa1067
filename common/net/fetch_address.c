/* Which addresses may be connected to (B40): the registries of RFC 6890 and its updates. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include "common/net/fetch.h"

enum address_kind { ADDRESS_PUBLIC, ADDRESS_PRIVATE, ADDRESS_BANNED };

struct prefix4 {
    uint32_t network;
    unsigned bits;
    enum address_kind kind;
};

static enum address_kind kind_of_ipv4(uint32_t host)
{
    static const struct prefix4 rows[] = {
        {0x7f000000, 8, ADDRESS_PRIVATE},  /* 127/8 loopback. */
        {0x0a000000, 8, ADDRESS_PRIVATE},  /* 10/8. */
        {0xac100000, 12, ADDRESS_PRIVATE}, /* 172.16/12. */
        {0xc0a80000, 16, ADDRESS_PRIVATE}, /* 192.168/16. */
        {0x646464c8, 32, ADDRESS_BANNED},  /* 100.100.100.200: a cloud's metadata. */
        {0x64400000, 10, ADDRESS_PRIVATE}, /* 100.64/10 shared. */
        {0xa9fe0000, 16, ADDRESS_BANNED},  /* 169.254/16 link-local and metadata. */
        {0x00000000, 8, ADDRESS_BANNED},   /* "This" network. */
        {0xc0000000, 24, ADDRESS_BANNED},  /* 192.0.0/24 protocol assignments, one cloud's metadata.
                                            */
        {0xc0000200, 24, ADDRESS_BANNED},  /* Documentation, three blocks. */
        {0xc6336400, 24, ADDRESS_BANNED},  {0xcb007100, 24, ADDRESS_BANNED},
        {0xc6120000, 15, ADDRESS_PRIVATE}, /* 198.18/15 benchmarks. */
        {0xa83f8110, 32, ADDRESS_BANNED},  /* 168.63.129.16: a cloud's wire server. */
        {0xe0000000, 4, ADDRESS_BANNED},   /* Multicast. */
        {0xf0000000, 4, ADDRESS_BANNED},   /* Reserved and broadcast. */
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if ((host ^ rows[i].network) >> (32 - rows[i].bits) == 0)
            return rows[i].kind;
    return ADDRESS_PUBLIC;
}

static uint32_t ipv4_at(const uint8_t *b)
{
    return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

static enum address_kind kind_of_ipv6(const uint8_t *b)
{
    static const uint8_t zeros[15] = {0};
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    static const uint8_t nat64[12] = {0, 0x64, 0xff, 0x9b};
    static const uint8_t metadata[16] = {0xfd, 0x00, 0x0e, 0xc2, 0, 0, 0, 0,
                                         0,    0,    0,    0,    0, 0, 2, 0x54};
    if (memcmp(b, mapped, 12) == 0 || memcmp(b, nat64, 12) == 0)
        return kind_of_ipv4(ipv4_at(b + 12));
    if (memcmp(b, zeros, 15) == 0)
        return b[15] == 1 ? ADDRESS_PRIVATE : ADDRESS_BANNED; /* Loopback; unspecified. */
    if (memcmp(b, zeros, 12) == 0 || memcmp(b, metadata, 16) == 0)
        return ADDRESS_BANNED; /* IPv4-compatible, long dead. */
    if (b[0] == 0x20 && b[1] == 0x02)
        return kind_of_ipv4(ipv4_at(b + 2)) == ADDRESS_PUBLIC ? ADDRESS_PUBLIC : ADDRESS_BANNED;
    if ((b[0] & 0xfe) == 0xfc)
        return ADDRESS_PRIVATE; /* fc00::/7 unique-local. */
    if ((b[0] & 0xe0) == 0x20 && !(b[0] == 0x20 && b[1] == 0x01 && b[2] == 0x0d && b[3] == 0xb8))
        return ADDRESS_PUBLIC; /* 2000::/3 without documentation. */
    return ADDRESS_BANNED;     /* Link-local, site-local, multicast, what is not assigned. */
}

static enum address_kind kind_of(const struct sockaddr *address)
{
    if (address->sa_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, address, sizeof(in));
        return kind_of_ipv4(ntohl(in.sin_addr.s_addr));
    }
    if (address->sa_family == AF_INET6) {
        struct sockaddr_in6 in6;
        memcpy(&in6, address, sizeof(in6));
        return kind_of_ipv6(in6.sin6_addr.s6_addr);
    }
    return ADDRESS_BANNED;
}

bool fetch_address_allowed(const struct sockaddr *address, bool allow_private)
{
    enum address_kind kind = kind_of(address);
    return kind == ADDRESS_PUBLIC || (kind == ADDRESS_PRIVATE && allow_private);
}

bool fetch_address_is_private(const struct sockaddr *address)
{
    return kind_of(address) == ADDRESS_PRIVATE;
}

bool fetch_address_is_metadata(const struct sockaddr *address)
{
    struct sockaddr_in in;
    if (address->sa_family != AF_INET)
        return false;
    memcpy(&in, address, sizeof(in));
    return ntohl(in.sin_addr.s_addr) == 0xa9fea9fe;
}
