/* keyring_part.h: between keyring.c and keyring_part.c only. */
#ifndef STEELYARD_DATAPLANE_STATE_KEYRING_PART_H
#define STEELYARD_DATAPLANE_STATE_KEYRING_PART_H

#include <stdatomic.h>

#include "common/base/arena.h"
#include "dataplane/state/keyring.h"

struct keyring_part {
    atomic_uint refs;
    uint64_t serial; /* No other part of this process has or had it. */
    struct resource *resource;
    uint32_t count;
    uint32_t mask; /* Slots - 1. */
    struct siphash_key hash_key;
    struct identity *identities;
    uint32_t *slots; /* Index of an identity + 1; 0: free. Linear probing, at most half full. */
    struct arena_pool pool;
    struct arena arena; /* Accounts, scopes, terms, previous secrets. */
};
/* NULL: not there. */
const struct identity *keyring_part_get(const struct keyring_part *part, struct str public_id);

#endif
