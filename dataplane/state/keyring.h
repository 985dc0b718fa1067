/* keyring.h: API keys, known only by their SHA-256. One lookup by the public part of the key, then
 * one comparison in constant time; an unknown key costs the same comparison against a dummy, so
 * that time tells nothing (reliability row B23). Built once with a snapshot, immutable afterwards,
 * readable from any thread. */
#ifndef STEELYARD_DATAPLANE_STATE_KEYRING_H
#define STEELYARD_DATAPLANE_STATE_KEYRING_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/err.h"
#include "common/base/hash.h"
#include "common/base/map.h"
#include "common/base/str.h"
#include "common/crypto/digest.h"

#define KEYRING_TEXT_BYTES_MAX 512 /* A longer key is refused unread. */
#define KEYRING_KEYS_MAX       200000

/* A set of ordinals of a snapshot (models or routes). NULL stands for all. */
struct scope {
    uint32_t count; /* Bits. */
    uint64_t bits[];
};

/* Who is asking. Lives as long as the snapshot it came from. */
struct identity {
    uint64_t id; /* Numeric key id: owner of decision ids, Decision.key_id. */
    struct str public_id;
    struct str name;
    struct sha256 hash;
    const struct scope *routes; /* NULL: all. Names unknown to the snapshot allow nothing. */
    const struct scope *models; /* NULL: all. */
    const uint64_t *accounts;
    uint32_t account_count;
    uint32_t segment;
    int64_t expires_us; /* 0: never. */
    bool disabled;
    bool no_explore;
    bool may_no_log;
};

static inline bool scope_has(const struct scope *scope, uint32_t ordinal)
{
    return scope == NULL ||
           (ordinal < scope->count && (scope->bits[ordinal / 64] >> (ordinal % 64) & 1) != 0);
}

struct keyring {
    struct map by_public_id;
    size_t count;
    uint64_t serial; /* No other keyring of this process has or had it. */
};

void keyring_init(struct keyring *k);
void keyring_deinit(struct keyring *k);
/* The identity is borrowed and must outlive the keyring. ERR_EXISTS for a repeated public id,
 * ERR_LIMIT above KEYRING_KEYS_MAX, ERR_NOMEM. */
int keyring_add(struct keyring *k, const struct identity *identity) MUST_CHECK;
/* text: the whole key as sent, "sk-sy-<public id>-<secret>". Unknown, wrong, disabled and expired
 * keys are all ERR_UNAUTHENTICATED. *out_identity is borrowed from the snapshot. */
int keyring_find(const struct keyring *k, struct str text, int64_t wall_us,
                 const struct identity **out_identity) MUST_CHECK;

/* What one thread remembers of the keys that it found, so that a client pays for SHA-256 once and
 * not with each request. No key is kept, only its tag under a random secret of this memory. A tag
 * holds for one keyring: what is revoked or changed is looked up anew by the first request that
 * sees the new snapshot. Expiry is looked at each time; refused keys are not remembered. */
#define KEYRING_SEEN_SLOTS 256U
struct keyring_memory {
    bool ready; /* Without randomness nothing is remembered. */
    struct siphash_key secret;
    struct keyring_seen {
        uint64_t serial; /* Of the keyring; 0: free. */
        uint64_t tag;
        const struct identity *identity;
    } seen[KEYRING_SEEN_SLOTS];
};
void keyring_memory_init(struct keyring_memory *m);
void keyring_memory_deinit(struct keyring_memory *m); /* Cleanses it. */
/* The same answer as keyring_find. */
int keyring_recall(const struct keyring *k, struct keyring_memory *m, struct str text,
                   int64_t wall_us, const struct identity **out_identity) MUST_CHECK;

#endif
