/* map.h: hash map from str to a pointer. Keys are borrowed: they must live as long as the entry.
 * Open addressing, SipHash with a key drawn per map (so that clients cannot aim collisions).
 * Reads of a map that nobody changes are safe from any thread. */
#ifndef STEELYARD_COMMON_BASE_MAP_H
#define STEELYARD_COMMON_BASE_MAP_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/err.h"
#include "common/base/hash.h"
#include "common/base/str.h"

struct map_entry {
    struct str key;
    void *value; /* NULL marks an empty slot, so NULL cannot be stored. */
};

struct map {
    struct map_entry *entries;
    size_t capacity; /* Power of two, or 0. */
    size_t count;
    struct siphash_key hash_key;
};

void map_init(struct map *m); /* Allocates nothing. */
void map_deinit(struct map *m);
void *map_get(const struct map *m, struct str key); /* NULL: not there. Borrowed. */
/* Adds or replaces; *out_old (may be NULL) gets the replaced value or NULL. */
int map_put(struct map *m, struct str key, void *value, void **out_old) MUST_CHECK;
void *map_remove(struct map *m, struct str key); /* The value, or NULL. */
/* Iteration: for (size_t i = 0; (e = map_next(m, &i)) != NULL;). No changes while iterating. */
const struct map_entry *map_next(const struct map *m, size_t *io_index);

#endif
