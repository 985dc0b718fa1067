/* address.h: addresses as options and addresses.json have them: "127.0.0.1:8080", "[::1]:8080",
 * ":8080" (all addresses), "unix:/run/x.sock". Pure but for addresses_write. */
#ifndef STEELYARD_COMMON_NET_ADDRESS_H
#define STEELYARD_COMMON_NET_ADDRESS_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/err.h"

#define ADDRESS_BYTES_MAX 300U /* With the NUL. */

/* The same with another port, for binding; a unix address stays as it is. ERR_TOO_LARGE when out
 * (ADDRESS_BYTES_MAX) is too small. */
int address_with_port(const char *address, uint16_t port, char *out, struct err *err) MUST_CHECK;

/* One line of addresses.json. */
struct address_entry {
    const char *name; /* "http" */
    const char *address;
    uint16_t port; /* What it became; 0: as the address says. */
};
/* Replaces dir/addresses.json: where people and tests connect to, so all addresses become
 * 127.0.0.1. */
int addresses_write(const char *dir, const struct address_entry *entries, size_t count,
                    struct err *err) MUST_CHECK;

#endif
