/* Keys of a snapshot: identities and what they may use. */
#include "dataplane/state/builder.h"

#include <string.h>

#include "common/link/wire.h"
#include "control.pb-c.h"

typedef Steelyard__Control__V1__Keys Keys;
typedef Steelyard__Control__V1__Key Key;

/* ---- keys ---- */

typedef const void *(*lookup_fn)(const struct snapshot *s, struct str name, uint32_t *out_ordinal);

static const void *lookup_model(const struct snapshot *s, struct str name, uint32_t *out_ordinal)
{
    const struct snapshot_model *m = snapshot_model(s, name);
    if (m != NULL)
        *out_ordinal = m->ordinal;
    return m;
}

static const void *lookup_route(const struct snapshot *s, struct str name, uint32_t *out_ordinal)
{
    const struct snapshot_route *r = snapshot_route(s, name);
    if (r != NULL)
        *out_ordinal = r->ordinal;
    return r;
}

/* Equal sets share one bitmap: many keys, few scopes. */
static int take_scope(struct builder *b, char **names, size_t count, uint32_t bits,
                      lookup_fn lookup, const struct scope **out)
{
    *out = NULL;
    if (count == 0)
        return 0;
    size_t words = ((size_t)bits + 63) / 64;
    size_t size = sizeof(struct scope) + words * sizeof(uint64_t);
    struct arena_mark mark = arena_mark(&b->s->arena);
    struct scope *scope = builder_alloc(b, 1, size);
    if (scope == NULL)
        return builder_no_memory(b);
    scope->count = bits;
    for (size_t i = 0; i < count; i++) {
        uint32_t ordinal;
        /* An unknown name allows nothing: models come and go, keys stay. */
        if (lookup(b->s, str_from(names[i]), &ordinal) != NULL)
            scope->bits[ordinal / 64] |= UINT64_C(1) << (ordinal % 64);
    }
    struct str key = {.data = (const char *)scope, .len = size};
    struct scope *same = map_get(&b->scopes, key);
    if (same != NULL) {
        arena_rewind(&b->s->arena, mark);
        scope = same;
    } else if (map_put(&b->scopes, key, scope, NULL) != 0) {
        return builder_no_memory(b);
    }
    *out = scope;
    return 0;
}

static int take_identity(struct builder *b, const Key *m, struct identity *out)
{
    if (m->sha256.len != SHA256_BYTES)
        return builder_refuse(b, ERR_INVALID, "INVALID", "key %llu: hash is not 32 bytes long",
                              (unsigned long long)m->id);
    out->id = m->id;
    memcpy(out->hash.bytes, m->sha256.data, SHA256_BYTES);
    int rc = builder_name(b, "public id of a key", m->public_id, &out->public_id);
    if (rc == 0)
        rc = builder_text(b, str_slice(str_from(m->name), 0, SNAPSHOT_NAME_BYTES_MAX), &out->name);
    if (rc == 0)
        rc = take_scope(b, m->routes, m->n_routes, b->s->route_count, lookup_route, &out->routes);
    if (rc == 0)
        rc = take_scope(b, m->models, m->n_models, b->s->model_count, lookup_model, &out->models);
    if (rc != 0)
        return rc;
    if (m->n_accounts > 16)
        return builder_refuse(b, ERR_LIMIT, "LIMIT", "key %llu has more than 16 accounts",
                              (unsigned long long)m->id);
    uint64_t *accounts = builder_alloc(b, m->n_accounts, sizeof(*accounts));
    if (accounts == NULL)
        return builder_no_memory(b);
    if (m->n_accounts > 0)
        memcpy(accounts, m->accounts, m->n_accounts * sizeof(*accounts));
    out->accounts = accounts;
    out->account_count = (uint32_t)m->n_accounts;
    out->segment = m->segment;
    out->expires_us = m->expires_us;
    out->disabled = m->disabled;
    out->no_explore = m->no_explore;
    out->may_no_log = m->may_no_log;
    return 0;
}

int build_keys(struct builder *b)
{
    ProtobufCMessage *m;
    int rc = builder_unpack(b, "keys", &steelyard__control__v1__keys__descriptor, &m);
    if (rc != 0 || m == NULL)
        return rc;
    const Keys *keys = (const Keys *)m;
    struct identity *list = NULL;
    if (keys->n_keys > KEYRING_KEYS_MAX)
        rc = builder_refuse(b, ERR_LIMIT, "LIMIT", "more than %d keys", KEYRING_KEYS_MAX);
    else if ((list = builder_alloc(b, keys->n_keys, sizeof(*list))) == NULL)
        rc = builder_no_memory(b);
    for (size_t i = 0; rc == 0 && i < keys->n_keys; i++) {
        rc = take_identity(b, keys->keys[i], &list[i]);
        if (rc == 0)
            rc = keyring_add(&b->s->keyring, &list[i]);
        if (rc == ERR_EXISTS)
            rc = builder_refuse(b, rc, "DUPLICATE", "public id '%s' appears twice",
                                keys->keys[i]->public_id);
        else if (rc == ERR_NOMEM)
            rc = builder_no_memory(b);
    }
    wire_free(m);
    return rc;
}
