#include "common/base/map.h"
#include "common/base/mem.h"
#include "control.pb-c.h"
#include "controlplane/nodes/nodes.h"

#define RESOURCES_MAX 4096U

struct nodes_resources {
    unsigned refs; /* Loop thread only. */
    uint32_t era;
    uint64_t generation;
    void (*release)(void *owner);
    void *owner;
    struct nodes_resource *items;
    size_t count, cap;
    struct map by_key; /* key -> index + 1 */
};

struct nodes_resources *nodes_resources_create(uint32_t era, uint64_t generation,
                                               void (*release)(void *owner), void *owner)
{
    struct nodes_resources *r = mem_zalloc(sizeof(*r));
    if (r == NULL)
        return NULL;
    *r = (struct nodes_resources){
        .refs = 1, .era = era, .generation = generation, .release = release, .owner = owner};
    map_init(&r->by_key);
    return r;
}

int nodes_resources_add(struct nodes_resources *r, const struct nodes_resource *resource)
{
    if (map_get(&r->by_key, resource->key) != NULL)
        return ERR_EXISTS;
    if (r->count == RESOURCES_MAX)
        return ERR_LIMIT;
    if (r->count == r->cap) {
        size_t cap = r->cap != 0 ? r->cap * 2 : 16;
        struct nodes_resource *items = mem_realloc(r->items, cap * sizeof(*items));
        if (items == NULL)
            return ERR_NOMEM;
        r->items = items;
        r->cap = cap;
    }
    /* The list may move: the map holds positions. */
    int rc = map_put(&r->by_key, resource->key, (void *)(uintptr_t)(r->count + 1), NULL);
    if (rc != 0)
        return rc;
    r->items[r->count++] = *resource;
    return 0;
}

uint32_t nodes_resources_era(const struct nodes_resources *r)
{
    return r->era;
}

uint64_t nodes_resources_generation(const struct nodes_resources *r)
{
    return r->generation;
}

size_t nodes_resources_count(const struct nodes_resources *r)
{
    return r->count;
}

const struct nodes_resource *nodes_resources_at(const struct nodes_resources *r, size_t index)
{
    return &r->items[index];
}

const struct nodes_resource *nodes_resources_find(const struct nodes_resources *r, struct str key)
{
    uintptr_t index = (uintptr_t)map_get(&r->by_key, key);
    return index != 0 ? &r->items[index - 1] : NULL;
}

/* Keys (a revocation), policies and rollouts (a rollback) do not wait for the debounce. */
static bool is_urgent_type(uint32_t type)
{
    return type == STEELYARD__CONTROL__V1__RESOURCE_TYPE__RESOURCE_KEYS ||
           type == STEELYARD__CONTROL__V1__RESOURCE_TYPE__RESOURCE_PARAMS ||
           type == STEELYARD__CONTROL__V1__RESOURCE_TYPE__RESOURCE_ROLLOUT;
}

/* Does `to` lack one of them that `from` has, or have it otherwise? */
static bool loses_urgent(const struct nodes_resources *from, const struct nodes_resources *to)
{
    for (size_t i = 0; i < nodes_resources_count(from); i++) {
        const struct nodes_resource *was = nodes_resources_at(from, i);
        const struct nodes_resource *is =
            is_urgent_type(was->type) ? nodes_resources_find(to, was->key) : was;
        if (is == NULL || !str_eq(is->version, was->version))
            return true;
    }
    return false;
}

/* Whatever was between the two: generations may be skipped, and a shard without keys is gone. */
bool nodes_resources_urgent(const struct nodes_resources *before, const struct nodes_resources *now)
{
    return before == NULL || loses_urgent(before, now) || loses_urgent(now, before);
}

struct nodes_resources *nodes_resources_ref(struct nodes_resources *r)
{
    r->refs++;
    return r;
}

void nodes_resources_unref(struct nodes_resources *r)
{
    if (r == NULL || --r->refs > 0)
        return;
    if (r->release != NULL)
        r->release(r->owner);
    map_deinit(&r->by_key);
    mem_free(r->items);
    mem_free(r);
}
