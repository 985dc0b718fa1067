/* keyring.h: API keys, known only by their SHA-256, and what each may do.
 *
 * A keyring is up to 256 parts, by the first byte of the SHA-256 of a key's public id: one part for
 * each resource "keys/00" to "keys/ff". A part is made once from its resource, immutable, counted,
 * and shared by all snapshots in which that resource is the same: a change of one key costs one
 * part, whatever the number of keys. A part knows routes, models and endpoints by name, so no part
 * is touched when the catalogue changes.
 *
 * One lookup by the public part of the key, then two comparisons in constant time (its secret, and
 * the one before the last rotation); an unknown key costs the same against a dummy, so that time
 * tells nothing (reliability row B23). Readable from any thread. */
#ifndef STEELYARD_DATAPLANE_STATE_KEYRING_H
#define STEELYARD_DATAPLANE_STATE_KEYRING_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/err.h"
#include "common/base/hash.h"
#include "common/base/str.h"
#include "common/crypto/digest.h"
#include "common/route/require.h"
#include "dataplane/state/resources.h"

#define KEYRING_TEXT_BYTES_MAX 512 /* A longer key is refused unread. */
#define KEYRING_SHARDS         256U
#define KEYRING_KEYS_MAX       1000000U /* The control plane stops earlier. */
#define KEYRING_ACCOUNTS_MAX   16U      /* On the path of one key. */
#define KEYRING_NAMES_MAX      4096U    /* In one scope, and of one key's tags. */

/* What a key may use: names, ascending by hash. NULL stands for all. */
struct scope {
    uint32_t count;
    struct scope_name {
        uint64_t hash; /* scope_hash(name) */
        struct str name;
    } names[];
};
/* The same in every process; a model or route has it ready. */
uint64_t scope_hash(struct str name);
/* hash: scope_hash(name). */
bool scope_has_name(const struct scope *scope, struct str name, uint64_t hash);
static inline bool scope_has(const struct scope *scope, struct str name, uint64_t hash)
{
    return scope == NULL || scope_has_name(scope, name, hash);
}

/* What a key may do and how much; keys of one part with the same terms share them. */
struct key_terms {
    const struct scope *routes; /* Names that nothing has allow nothing. */
    const struct scope *models;
    const struct scope *endpoints; /* "chat.completions", ...: request_path.endpoint. */
    const struct str *tags;        /* Tag accounts each request is charged to as well. */
    uint32_t tag_count;
    struct require require;   /* Beside what the route requires. */
    int64_t max_cost_nanousd; /* Of one request; this and the next three: 0 is no limit. */
    uint64_t rpm;
    uint64_t tpm;
    uint64_t concurrency;
};

/* The secret before the last rotation. */
struct key_previous {
    const uint8_t *sha256;
    int64_t until_us;
};

/* Who is asking. Lives as long as a snapshot it was found in. */
struct identity {
    uint64_t id; /* Numeric key id: owner of decision ids, Decision.key_id. */
    struct str public_id;
    struct str name;
    const uint8_t *sha256;               /* Of the whole key. */
    const struct key_previous *previous; /* NULL: none. */
    const struct key_terms *terms;       /* Never NULL. */
    const uint64_t *accounts;            /* Charged by each request, ascending. */
    int64_t expires_us;                  /* 0: never. */
    uint32_t segment;
    uint8_t account_count;
    bool disabled;
    bool no_explore;
    bool may_no_log;
};

/* ---- parts ---- */

struct keyring_part;

struct keyring_fault { /* Why a part cannot be made; see struct snapshot_refusal. */
    const char *code;
    char detail[128];
};
#define KEYRING_SHARD_ANY (-1) /* Keys of every shard. */
/* Keeps a reference to the resource: names and hashes stay where they lie in its body. ERR_CORRUPT,
 * ERR_INVALID, ERR_EXISTS (a public id appears twice), ERR_LIMIT, ERR_NOMEM. One reference. */
int keyring_part_create(const struct resource *r, int shard, struct keyring_part **out_part,
                        struct keyring_fault *out_fault) MUST_CHECK;
struct keyring_part *keyring_part_ref(struct keyring_part *part);
void keyring_part_unref(struct keyring_part *part); /* NULL is allowed. Any thread. */
const struct resource *keyring_part_resource(const struct keyring_part *part);
uint32_t keyring_part_count(const struct keyring_part *part);
const struct identity *keyring_part_at(const struct keyring_part *part, uint32_t index);

/* ---- the keyring ---- */

struct keyring { /* Parts are reached by keyring_*; NULL: without keys. */
    struct keyring_part *shards[KEYRING_SHARDS];
    struct keyring_part
        *whole; /* Of a control plane that sends "keys"; then there are no shards. */
    size_t count;
};

void keyring_init(struct keyring *k);
void keyring_deinit(struct keyring *k);
/* Takes the reference, also on error. ERR_LIMIT above KEYRING_KEYS_MAX. Once for each shard. */
int keyring_put(struct keyring *k, int shard, struct keyring_part *part) MUST_CHECK;
/* text: the whole key as sent, "sk-sy-<public id>-<secret>". Unknown, wrong, disabled and expired
 * keys are all ERR_UNAUTHENTICATED. *out_identity is borrowed from the snapshot. */
int keyring_find(const struct keyring *k, struct str text, int64_t wall_us,
                 const struct identity **out_identity) MUST_CHECK;

/* What one thread remembers of the keys that it found, so that a client pays for SHA-256 once and
 * not with each request. No key is kept, only its tag under a random secret of this memory. A tag
 * holds for one part: what is revoked or changed is looked up anew by the first request that sees
 * the new snapshot. Expiry is looked at each time; refused keys are not remembered. */
#define KEYRING_SEEN_SLOTS 256U
struct keyring_memory {
    bool ready; /* Without randomness nothing is remembered. */
    struct siphash_key secret;
    struct keyring_seen {
        uint64_t serial; /* Of the part; 0: free. */
        uint64_t tag;
        const struct identity *identity;
        uint16_t shard;
        bool is_previous; /* It was the secret before the last rotation. */
    } seen[KEYRING_SEEN_SLOTS];
};
void keyring_memory_init(struct keyring_memory *m);
void keyring_memory_deinit(struct keyring_memory *m); /* Cleanses it. */
/* The same answer as keyring_find. */
int keyring_recall(const struct keyring *k, struct keyring_memory *m, struct str text,
                   int64_t wall_us, const struct identity **out_identity) MUST_CHECK;

#endif
