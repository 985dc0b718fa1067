#include "dataplane/state/keyring.h"

#include <stdatomic.h>
#include <string.h>

#include "common/base/rand.h"

#define PREFIX "sk-sy-"

/* What an unknown key is compared with: nobody's hash. */
static const struct identity nobody = {0};

void keyring_init(struct keyring *k)
{
    static atomic_uint_fast64_t serials;
    map_init(&k->by_public_id);
    k->count = 0;
    k->serial = atomic_fetch_add_explicit(&serials, 1, memory_order_relaxed) + 1;
}

void keyring_deinit(struct keyring *k)
{
    map_deinit(&k->by_public_id);
    k->count = 0;
}

int keyring_add(struct keyring *k, const struct identity *identity)
{
    if (k->count >= KEYRING_KEYS_MAX)
        return ERR_LIMIT;
    if (map_get(&k->by_public_id, identity->public_id) != NULL)
        return ERR_EXISTS;
    int rc = map_put(&k->by_public_id, identity->public_id, (void *)(uintptr_t)identity, NULL);
    if (rc == 0)
        k->count++;
    return rc;
}

/* The part between "sk-sy-" and the next '-'. */
static struct str public_id(struct str text)
{
    struct str prefix = STR(PREFIX);
    struct str id, rest;
    if (!str_starts(text, prefix) ||
        !str_cut(str_slice(text, prefix.len, text.len), '-', &id, &rest))
        return STR_NULL;
    return id;
}

static bool usable(const struct identity *i, int64_t wall_us)
{
    return !i->disabled && (i->expires_us == 0 || wall_us < i->expires_us);
}

int keyring_find(const struct keyring *k, struct str text, int64_t wall_us,
                 const struct identity **out_identity)
{
    if (text.len > KEYRING_TEXT_BYTES_MAX)
        return ERR_UNAUTHENTICATED;
    struct str id = public_id(text);
    const struct identity *found = id.len > 0 ? map_get(&k->by_public_id, id) : NULL;
    const struct identity *compared = found != NULL ? found : &nobody;
    struct sha256 hash = digest_sha256(text.data, text.len);
    bool equal = digest_equal(hash.bytes, compared->hash.bytes, SHA256_BYTES);
    if (!equal || found == NULL || !usable(found, wall_us))
        return ERR_UNAUTHENTICATED;
    *out_identity = found;
    return 0;
}

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
    if (seen->tag == tag && seen->serial == k->serial && usable(seen->identity, wall_us)) {
        *out_identity = seen->identity;
        return 0;
    }
    int rc = keyring_find(k, text, wall_us, out_identity);
    if (rc == 0)
        *seen = (struct keyring_seen){.serial = k->serial, .tag = tag, .identity = *out_identity};
    return rc;
}
