#include "dataplane/translate/ids.h"

#include <string.h>

#include "common/base/hash.h"
#include "common/base/rand.h"

#define NINE   9U
#define HASHED 24U /* Digits of an id that is made of another. */

struct tr_ids_entry {
    struct str id; /* .data NULL: free. */
};

static const char digits[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/* Eight digits of 62 are 47 bits: what a word gives without showing a bias. */
static void put_digits(char *out, size_t count, uint64_t word)
{
    for (size_t i = 0; i < count; i++, word /= 62)
        out[i] = digits[word % 62];
}

void tr_id_fresh(char out[TR_ID_FRESH_BYTES])
{
    memcpy(out, "call_", 5);
    for (size_t i = 5; i < TR_ID_FRESH_BYTES; i += 8)
        put_digits(out + i, 8, rand_u64());
}

static bool is_alphanumeric(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

bool tr_id_fits(enum tr_id_class id_class, struct str id)
{
    if (id.len == 0 || id.len > TR_ID_BYTES_MAX || (id_class == TR_ID_NINE && id.len != NINE))
        return false;
    for (size_t i = 0; id_class != TR_ID_ANY && i < id.len; i++) {
        char c = id.data[i];
        if (!is_alphanumeric(c) && (id_class == TR_ID_NINE || (c != '_' && c != '-')))
            return false;
    }
    return true;
}

int tr_ids_init(struct tr_ids *ids, enum tr_id_class id_class, const uint8_t key[16],
                uint32_t calls_max, struct arena *arena)
{
    uint32_t capacity = 8;
    while (capacity / 2 < calls_max)
        capacity *= 2;
    struct tr_ids_entry *entries = arena_zalloc(arena, capacity, sizeof *entries);
    if (entries == NULL)
        return ERR_TOO_LARGE;
    *ids = (struct tr_ids){arena, key, id_class, entries, capacity, 0};
    return 0;
}

static struct siphash_key key_of(const struct tr_ids *ids)
{
    static const uint8_t none[16];
    return siphash_key_from_bytes(ids->key != NULL ? ids->key : none);
}

/* Its place, or the free one where it belongs. */
static struct tr_ids_entry *find(const struct tr_ids *ids, struct str id)
{
    uint32_t at = (uint32_t)siphash_1_3(key_of(ids), id.data, id.len) & (ids->capacity - 1);
    while (ids->entries[at].id.data != NULL && !str_eq(ids->entries[at].id, id))
        at = (at + 1) & (ids->capacity - 1);
    return &ids->entries[at];
}

/* A keyed hash of the id, different for each turn of the loop that asks. */
static struct str make(const struct tr_ids *ids, struct str outside, uint32_t turn,
                       char out[TR_ID_FRESH_BYTES])
{
    struct siphash_key key = key_of(ids);
    size_t head = ids->id_class == TR_ID_NINE ? 0 : 5;
    size_t count = ids->id_class == TR_ID_NINE ? NINE : HASHED;
    memcpy(out, "call_", head);
    for (size_t i = 0; i < count; i += 8) {
        struct siphash_key word_key = {key.k0 ^ turn, key.k1 ^ (i + 1)};
        size_t left = count - i < 8 ? count - i : 8;
        put_digits(out + head + i, left, siphash_2_4(word_key, outside.data, outside.len));
    }
    return (struct str){out, head + count};
}

int tr_ids_take(struct tr_ids *ids, struct str outside, struct str *out_inside)
{
    if (ids->count >= ids->capacity / 2)
        return ERR_TOO_LARGE;
    char room[TR_ID_FRESH_BYTES];
    struct str id = outside;
    struct tr_ids_entry *entry = tr_id_fits(ids->id_class, id) ? find(ids, id) : NULL;
    for (uint32_t turn = 0; entry == NULL || entry->id.data != NULL; turn++) {
        id = make(ids, outside, turn, room);
        entry = find(ids, id);
    }
    if (id.data == room)
        id = arena_copy(ids->arena, id);
    if (id.data == NULL)
        return ERR_TOO_LARGE;
    entry->id = id;
    ids->count++;
    *out_inside = id;
    return 0;
}
