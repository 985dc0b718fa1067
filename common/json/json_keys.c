/* json_keys.c: no object may repeat a key; and the room for nodes, which the check borrows. */
#include <string.h>

#include "common/base/mem.h"
#include "common/base/rand.h"
#include "common/json/json_internal.h"

#define PAIRWISE_MEMBERS_MAX 16U /* Up to here, comparing all pairs is the fastest. */

/* Grows by a quarter: the smallest element takes two bytes ("1,") and a node sixteen, so that the
 * memory stays within ten times the text. */
bool json_reserve(struct json *j, uint64_t need)
{
    if (need <= j->capacity)
        return true;
    uint64_t capacity = (uint64_t)j->capacity + j->capacity / 4 + 64;
    if (j->capacity == 0 && capacity < j->text.len / 32U)
        capacity = j->text.len / 32U; /* What a chat request needs, in one go. */
    if (j->capacity == 0 && capacity > j->max_nodes)
        capacity = j->max_nodes;
    if (capacity < need)
        capacity = need;
    struct json_node *grown = mem_realloc(j->nodes, capacity * sizeof *grown);
    if (grown == NULL)
        return false;
    j->nodes = grown;
    j->capacity = (uint32_t)capacity;
    return true;
}

static inline bool keys_equal(const struct json *j, uint32_t a, uint32_t b)
{
    const struct json_node *x = &j->nodes[a], *y = &j->nodes[b];
    if (((x->info | y->info) & JSON_INFO_ESCAPED) != 0)
        return json_strings_equal(j, a, b);
    uint32_t len = x->end - x->start;
    return len == y->end - y->start &&
           memcmp(j->text.data + x->start, j->text.data + y->start, len) == 0;
}

/* Lengths first: mostly they tell the keys apart. An escaped key may be as long as any. */
static enum json_problem differ_pairwise(const struct json *j, uint32_t object, uint32_t count,
                                         uint32_t *out_repeated)
{
    __attribute__((uninitialized)) uint32_t keys[PAIRWISE_MEMBERS_MAX], lens[PAIRWISE_MEMBERS_MAX];
    uint32_t key = object + 1;
    bool escaped = false;
    for (uint32_t i = 0; i < count; i++) {
        const struct json_node *n = &j->nodes[key];
        uint32_t len = n->end - n->start;
        escaped |= (n->info & JSON_INFO_ESCAPED) != 0;
        for (uint32_t k = 0; k < i; k++) {
            if ((lens[k] == len || escaped) && keys_equal(j, keys[k], key)) {
                *out_repeated = key;
                return JSON_PROBLEM_REPEATED_KEY;
            }
        }
        keys[i] = key;
        lens[i] = len;
        key = n[1].next;
    }
    return JSON_PROBLEM_NONE;
}

/* Hash table of key nodes, in the room behind the last node. Node 0 is never a key: 0 is empty. */
static enum json_problem differ_hashed(struct json *j, uint32_t object, uint32_t count,
                                       uint32_t *out_repeated)
{
    struct siphash_key hash_key = {.k0 = rand_u64(), .k1 = rand_u64()};
    uint32_t slots = 16;
    while (slots < count + count / 2)
        slots *= 2;
    uint32_t extra = slots / (uint32_t)(sizeof(struct json_node) / sizeof(uint32_t));
    if (!json_reserve(j, (uint64_t)j->count + extra))
        return JSON_PROBLEM_MEMORY;
    uint32_t *table = (uint32_t *)(void *)(j->nodes + j->count);
    memset(table, 0, slots * sizeof *table);
    uint32_t key = object + 1;
    for (uint32_t i = 0; i < count; i++, key = j->nodes[key + 1].next) {
        uint32_t slot = (uint32_t)json_string_hash(j, key, hash_key) & (slots - 1);
        for (; table[slot] != 0; slot = (slot + 1) & (slots - 1)) {
            if (keys_equal(j, table[slot], key)) {
                *out_repeated = key;
                return JSON_PROBLEM_REPEATED_KEY;
            }
        }
        table[slot] = key;
    }
    return JSON_PROBLEM_NONE;
}

enum json_problem json_check_keys(struct json *j, uint32_t object, uint32_t count,
                                  uint32_t *out_repeated)
{
    return count <= PAIRWISE_MEMBERS_MAX ? differ_pairwise(j, object, count, out_repeated)
                                         : differ_hashed(j, object, count, out_repeated);
}
