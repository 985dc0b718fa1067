/* Linear probing with backward-shift deletion: no tombstones, so lookups stay short for ever. */
#include "common/base/map.h"

#include <assert.h>

#include "common/base/mem.h"
#include "common/base/rand.h"

#define MAP_FIRST_CAPACITY 8U

void map_init(struct map *m)
{
    *m = (struct map){.hash_key = {.k0 = rand_u64(), .k1 = rand_u64()}};
}

void map_deinit(struct map *m)
{
    mem_free(m->entries);
    m->entries = NULL;
    m->capacity = 0;
    m->count = 0;
}

static size_t map_home(const struct map *m, struct str key)
{
    return (size_t)siphash_1_3(m->hash_key, key.data, key.len) & (m->capacity - 1);
}

/* The slot that holds key, or the empty one where it belongs. There is always an empty slot. */
static size_t map_slot(const struct map *m, struct str key)
{
    size_t i = map_home(m, key);
    while (m->entries[i].value != NULL && !str_eq(m->entries[i].key, key))
        i = (i + 1) & (m->capacity - 1);
    return i;
}

static int map_grow(struct map *m)
{
    struct map bigger = *m;
    bigger.capacity = m->capacity > 0 ? m->capacity * 2 : MAP_FIRST_CAPACITY;
    bigger.entries = mem_calloc(bigger.capacity, sizeof *bigger.entries);
    if (bigger.entries == NULL)
        return ERR_NOMEM;
    for (size_t i = 0; i < m->capacity; i++) {
        if (m->entries[i].value != NULL)
            bigger.entries[map_slot(&bigger, m->entries[i].key)] = m->entries[i];
    }
    mem_free(m->entries);
    *m = bigger;
    return 0;
}

void *map_get(const struct map *m, struct str key)
{
    return m->count > 0 ? m->entries[map_slot(m, key)].value : NULL;
}

int map_put(struct map *m, struct str key, void *value, void **out_old)
{
    assert(value != NULL);
    void *old = map_get(m, key);
    if (old == NULL && m->count + 1 > m->capacity / 4 * 3) {
        int rc = map_grow(m);
        if (rc != 0)
            return rc;
    }
    m->entries[map_slot(m, key)] = (struct map_entry){.key = key, .value = value};
    if (old == NULL)
        m->count++;
    if (out_old != NULL)
        *out_old = old;
    return 0;
}

void *map_remove(struct map *m, struct str key)
{
    if (m->count == 0)
        return NULL;
    size_t mask = m->capacity - 1;
    size_t hole = map_slot(m, key);
    void *value = m->entries[hole].value;
    if (value == NULL)
        return NULL;
    /* Pull back every follower that the hole would cut off from its home. */
    for (size_t i = (hole + 1) & mask; m->entries[i].value != NULL; i = (i + 1) & mask) {
        size_t home = map_home(m, m->entries[i].key);
        if (((i - home) & mask) >= ((i - hole) & mask)) {
            m->entries[hole] = m->entries[i];
            hole = i;
        }
    }
    m->entries[hole] = (struct map_entry){.value = NULL};
    m->count--;
    return value;
}

const struct map_entry *map_next(const struct map *m, size_t *io_index)
{
    while (*io_index < m->capacity) {
        const struct map_entry *entry = &m->entries[(*io_index)++];
        if (entry->value != NULL)
            return entry;
    }
    return NULL;
}
