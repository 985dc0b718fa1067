#include "dataplane/state/resources.h"

#include <string.h>

#include "common/base/mem.h"
#include "common/link/wire.h"
#include "control.pb-c.h"

static const char magic[8] = {'S', 'Y', 'S', 'N', 'A', 'P', '1', '\n'};
#define HEAD_BYTES (sizeof(magic) + SHA256_BYTES)

struct resource *resource_create(uint32_t type, struct str key, struct str body)
{
    char *bytes = mem_alloc(sizeof(struct resource) + key.len + body.len);
    if (bytes == NULL)
        return NULL;
    struct resource *r = (struct resource *)(void *)bytes;
    *r = (struct resource){.type = type};
    atomic_init(&r->refs, 1);
    char *text = bytes + sizeof(*r);
    if (key.len > 0)
        memcpy(text, key.data, key.len);
    if (body.len > 0)
        memcpy(text + key.len, body.data, body.len);
    r->key = (struct str){.data = text, .len = key.len};
    r->body = (struct str){.data = text + key.len, .len = body.len};
    r->sha256 = digest_sha256(r->body.data, r->body.len);
    hex_encode(r->sha256.bytes, SHA256_BYTES, r->version);
    return r;
}

struct resource *resource_ref(const struct resource *r)
{
    struct resource *shared = (struct resource *)(uintptr_t)r;
    atomic_fetch_add_explicit(&shared->refs, 1, memory_order_relaxed);
    return shared;
}

bool resource_holds_keys(struct str key)
{
    return str_is(key, "keys") || str_starts(key, STR("keys/"));
}

void resource_unref(struct resource *r)
{
    if (r != NULL && atomic_fetch_sub(&r->refs, 1) == 1)
        mem_free(r);
}

struct resource_set *resource_set_create(void)
{
    struct resource_set *set = mem_zalloc(sizeof(*set));
    if (set != NULL)
        map_init(&set->by_key);
    return set;
}

struct resource_set *resource_set_clone(const struct resource_set *set)
{
    struct resource_set *copy = resource_set_create();
    if (copy == NULL || set == NULL)
        return copy;
    const struct map_entry *e;
    for (size_t i = 0; (e = map_next(&set->by_key, &i)) != NULL;) {
        if (resource_set_put(copy, resource_ref(e->value)) != 0) {
            resource_set_destroy(copy);
            return NULL;
        }
    }
    return copy;
}

void resource_set_destroy(struct resource_set *set)
{
    if (set == NULL)
        return;
    const struct map_entry *e;
    for (size_t i = 0; (e = map_next(&set->by_key, &i)) != NULL;)
        resource_unref(e->value);
    map_deinit(&set->by_key);
    mem_free(set);
}

int resource_set_put(struct resource_set *set, struct resource *r)
{
    const struct resource *had = map_get(&set->by_key, r->key);
    uint64_t bytes = set->bytes + r->body.len - (had != NULL ? had->body.len : 0);
    int rc = 0;
    if (had == NULL && set->by_key.count >= RESOURCES_MAX)
        rc = ERR_LIMIT;
    else if (bytes > RESOURCES_BYTES_MAX)
        rc = ERR_TOO_LARGE;
    if (rc == 0) {
        /* The map's key must be the new body's, not the one that goes. */
        struct resource *old = map_remove(&set->by_key, r->key);
        rc = map_put(&set->by_key, r->key, r, NULL);
        set->bytes = rc == 0 ? bytes : set->bytes - (old != NULL ? old->body.len : 0);
        resource_unref(old);
    }
    if (rc != 0)
        resource_unref(r);
    return rc;
}

void resource_set_remove(struct resource_set *set, struct str key)
{
    struct resource *r = map_remove(&set->by_key, key);
    if (r != NULL)
        set->bytes -= r->body.len;
    resource_unref(r);
}

const struct resource *resource_set_get(const struct resource_set *set, struct str key)
{
    return map_get(&set->by_key, key);
}

int resource_set_decode(struct str file, struct resource_set **out_set, uint32_t *out_era,
                        uint64_t *out_generation)
{
    if (file.len < HEAD_BYTES)
        return ERR_CORRUPT;
    if (memcmp(file.data, magic, sizeof(magic)) != 0)
        return ERR_VERSION;
    struct str packed = str_slice(file, HEAD_BYTES, file.len);
    struct sha256 sum = digest_sha256(packed.data, packed.len);
    if (!digest_equal(sum.bytes, file.data + sizeof(magic), SHA256_BYTES))
        return ERR_CORRUPT;
    ProtobufCMessage *base = NULL;
    int rc = wire_unpack(&steelyard__control__v1__plane_msg__descriptor, packed, &base);
    if (rc != 0)
        return rc;
    const Steelyard__Control__V1__PlaneMsg *m = (const Steelyard__Control__V1__PlaneMsg *)base;
    struct resource_set *set = resource_set_create();
    rc = set == NULL ? ERR_NOMEM : 0;
    for (size_t i = 0; rc == 0 && i < m->n_set; i++) {
        struct resource *r = resource_create((uint32_t)m->set[i]->type, str_from(m->set[i]->key),
                                             wire_bytes(m->set[i]->body));
        if (r == NULL)
            rc = ERR_NOMEM;
        else if (!str_is(str_from(r->version), m->set[i]->version)) {
            resource_unref(r);
            rc = ERR_CORRUPT;
        } else
            rc = resource_set_put(set, r);
    }
    if (rc == 0) {
        *out_set = set;
        *out_era = m->era;
        *out_generation = m->generation;
    } else {
        resource_set_destroy(set);
    }
    wire_free(base);
    return rc;
}
