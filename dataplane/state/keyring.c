#include "dataplane/state/keyring.h"

#include <string.h>

#define PREFIX "sk-sy-"

/* What an unknown key is compared with: nobody's hash. */
static const struct identity nobody = {0};

void keyring_init(struct keyring *k)
{
    map_init(&k->by_public_id);
    k->count = 0;
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
    if (!equal || found == NULL || found->disabled ||
        (found->expires_us != 0 && wall_us >= found->expires_us))
        return ERR_UNAUTHENTICATED;
    *out_identity = found;
    return 0;
}
