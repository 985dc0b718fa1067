#include "dataplane/state/keyring.h"

#include <assert.h>
#include <string.h>

#include "common/base/rand.h"
#include "dataplane/state/keyring_part.h"

#define PREFIX      "sk-sy-"
#define SHARD_WHOLE KEYRING_SHARDS /* In struct keyring_seen. */

/* What an unknown key is compared with: nobody's hash. */
static const uint8_t nobody[SHA256_BYTES];

/* ---- scopes ---- */

uint64_t scope_hash(struct str name)
{
    /* Not secret: names are compared as well, and come from operators. */
    static const struct siphash_key key = {.k0 = 0x5363, .k1 = 0x6f7065};
    return siphash_1_3(key, name.data, name.len);
}

bool scope_has_name(const struct scope *scope, struct str name, uint64_t hash)
{
    uint32_t from = 0;
    for (uint32_t count = scope->count; count > 0;) {
        uint32_t half = count / 2;
        if (scope->names[from + half].hash < hash) {
            from += half + 1;
            count -= half + 1;
        } else {
            count = half;
        }
    }
    for (; from < scope->count && scope->names[from].hash == hash; from++)
        if (str_eq(scope->names[from].name, name))
            return true;
    return false;
}

/* ---- the keyring ---- */

void keyring_init(struct keyring *k)
{
    *k = (struct keyring){.count = 0};
}

void keyring_deinit(struct keyring *k)
{
    for (unsigned i = 0; i < KEYRING_SHARDS; i++)
        keyring_part_unref(k->shards[i]);
    keyring_part_unref(k->whole);
    *k = (struct keyring){.count = 0};
}

int keyring_put(struct keyring *k, int shard, struct keyring_part *part)
{
    assert(shard == KEYRING_SHARD_ANY || (shard >= 0 && shard < (int)KEYRING_SHARDS));
    struct keyring_part **slot = shard == KEYRING_SHARD_ANY ? &k->whole : &k->shards[shard];
    assert(*slot == NULL);
    if (k->count + part->count > KEYRING_KEYS_MAX) {
        keyring_part_unref(part);
        return ERR_LIMIT;
    }
    k->count += part->count;
    *slot = part;
    return 0;
}

/* The part between "sk-sy-" and the next '-'. */
static struct str public_id(struct str text)
{
    struct str prefix = STR(PREFIX);
    struct str id, rest;
    if (!str_starts(text, prefix) ||
        !str_cut(str_slice(text, prefix.len, text.len), '-', &id, &rest))
        return STR("");
    return id;
}

static bool usable(const struct identity *i, bool is_previous, int64_t wall_us)
{
    return !i->disabled && (i->expires_us == 0 || wall_us < i->expires_us) &&
           (!is_previous || wall_us < i->previous->until_us);
}

static const struct keyring_part *part_of(const struct keyring *k, uint16_t shard)
{
    return shard == SHARD_WHOLE ? k->whole : k->shards[shard];
}

/* As keyring_find; what it found goes to *out. */
static int find(const struct keyring *k, struct str text, int64_t wall_us, struct keyring_seen *out)
{
    if (text.len > KEYRING_TEXT_BYTES_MAX)
        return ERR_UNAUTHENTICATED;
    struct str id = public_id(text);
    uint16_t shard = k->whole != NULL ? SHARD_WHOLE : digest_sha256(id.data, id.len).bytes[0];
    const struct keyring_part *part = part_of(k, shard);
    const struct identity *found = part != NULL ? keyring_part_get(part, id) : NULL;
    const struct key_previous *previous = found != NULL ? found->previous : NULL;
    struct sha256 hash = digest_sha256(text.data, text.len);
    bool is_current =
        digest_equal(hash.bytes, found != NULL ? found->sha256 : nobody, SHA256_BYTES);
    bool is_previous =
        digest_equal(hash.bytes, previous != NULL ? previous->sha256 : nobody, SHA256_BYTES);
    is_previous = is_previous && previous != NULL && !is_current;
    if (found == NULL || !(is_current || is_previous) || !usable(found, is_previous, wall_us))
        return ERR_UNAUTHENTICATED;
    *out = (struct keyring_seen){
        .serial = part->serial, .identity = found, .shard = shard, .is_previous = is_previous};
    return 0;
}

int keyring_find(const struct keyring *k, struct str text, int64_t wall_us,
                 const struct identity **out_identity)
{
    struct keyring_seen found;
    int rc = find(k, text, wall_us, &found);
    if (rc == 0)
        *out_identity = found.identity;
    return rc;
}

/* ---- memory ---- */

void keyring_memory_init(struct keyring_memory *m)
{
    memset(m, 0, sizeof *m);
    m->ready = rand_secure(&m->secret, sizeof m->secret) == 0;
}

void keyring_memory_deinit(struct keyring_memory *m)
{
    explicit_bzero(m, sizeof *m);
}

int keyring_recall(const struct keyring *k, struct keyring_memory *m, struct str text,
                   int64_t wall_us, const struct identity **out_identity)
{
    if (!m->ready || text.len == 0 || text.len > KEYRING_TEXT_BYTES_MAX)
        return keyring_find(k, text, wall_us, out_identity);
    uint64_t tag = siphash_2_4(m->secret, text.data, text.len);
    struct keyring_seen *seen = &m->seen[tag % KEYRING_SEEN_SLOTS];
    if (seen->tag == tag && seen->serial != 0) {
        /* The identity is the part's: only when the part is still here may it be looked at. */
        const struct keyring_part *part = part_of(k, seen->shard);
        if (part != NULL && part->serial == seen->serial &&
            usable(seen->identity, seen->is_previous, wall_us)) {
            *out_identity = seen->identity;
            return 0;
        }
    }
    struct keyring_seen found;
    int rc = find(k, text, wall_us, &found);
    if (rc != 0)
        return rc;
    found.tag = tag;
    *seen = found;
    *out_identity = found.identity;
    return 0;
}
