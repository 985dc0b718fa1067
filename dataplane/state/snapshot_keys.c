/* Keys of a snapshot: the parts of the one before, but for those whose resource changed. */
#include "dataplane/state/builder.h"

#include <stdio.h>

/* A part of the snapshot before, if it was made from a body with these bytes. */
static struct keyring_part *shared_part(struct keyring_part *before, const struct resource *r)
{
    if (before == NULL ||
        !digest_equal(keyring_part_resource(before)->sha256.bytes, r->sha256.bytes, SHA256_BYTES))
        return NULL;
    return keyring_part_ref(before);
}

static int take_part(struct builder *b, const struct resource *r, int shard,
                     struct keyring_part *before)
{
    struct keyring_fault fault;
    struct keyring_part *part = shared_part(before, r);
    b->at = r;
    if (part == NULL) {
        int rc = keyring_part_create(r, shard, &part, &fault);
        if (rc != 0)
            return builder_refuse(b, rc, fault.code, "%s", fault.detail);
    }
    int rc = keyring_put(&b->s->keyring, shard, part);
    if (rc != 0)
        return builder_refuse(b, rc, "LIMIT", "more than %u keys", KEYRING_KEYS_MAX);
    return 0;
}

int build_keys(struct builder *b)
{
    const struct snapshot *previous = b->inputs->previous;
    bool sharded = false;
    int rc = 0;
    for (unsigned i = 0; rc == 0 && i < KEYRING_SHARDS; i++) {
        char key[16];
        (void)snprintf(key, sizeof key, "keys/%02x", i);
        const struct resource *r = resource_set_get(b->set, str_from(key));
        if (r == NULL)
            continue;
        sharded = true;
        rc = take_part(b, r, (int)i, previous != NULL ? previous->keyring.shards[i] : NULL);
    }
    /* An older control plane's. Where there are shards, it says nothing any more. */
    const struct resource *r = resource_set_get(b->set, STR("keys"));
    if (rc == 0 && !sharded && r != NULL)
        rc = take_part(b, r, KEYRING_SHARD_ANY, previous != NULL ? previous->keyring.whole : NULL);
    return rc;
}
