/* A packed Keys message -> identities. The body is read where it lies: a full keyring is hundreds
 * of thousands of small messages, and their texts stay in the resource that is kept anyway. */
#include "dataplane/state/keyring_part.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/map.h"
#include "common/base/mem.h"
#include "common/base/rand.h"
#include "common/link/wire.h"

#define NAME_BYTES_MAX  256U
#define ARENA_BYTES_MAX 1073741824U
#define KEYS_FIELD      1U /* Keys.keys */

enum { LIST_ROUTES, LIST_MODELS, LIST_ENDPOINTS, LIST_TAGS, LIST_REGIONS, LIST_COUNT };

struct names {
    struct str *items;
    size_t count, cap;
};

/* One Key, as far as it was read. */
struct fields {
    uint64_t id, segment, rpm, tpm, concurrency, require_data;
    int64_t expires_us, max_cost, prev_until_us;
    struct str public_id, sha256, name, prev_sha256;
    bool disabled, no_explore, may_no_log;
    uint64_t accounts[KEYRING_ACCOUNTS_MAX];
    uint32_t account_count;
};

struct making {
    struct keyring_part *part;
    int shard;
    struct keyring_fault *fault;
    struct names lists[LIST_COUNT];
    struct buf joined;
    struct map by_names; /* Names of a list, joined -> struct scope, or struct str[] of tags */
    struct map by_terms; /* Bytes of a struct key_terms -> itself */
    struct fields key;
};

static int PRINTF_LIKE(4, 5)
    refuse(struct making *m, int rc, const char *code, const char *format, ...)
{
    m->fault->code = code;
    va_list args;
    va_start(args, format);
    (void)vsnprintf(m->fault->detail, sizeof(m->fault->detail), format, args);
    va_end(args);
    return rc;
}

static int no_memory(struct making *m)
{
    return refuse(m, ERR_NOMEM, "NOMEM", "out of memory");
}

static int malformed(struct making *m)
{
    return refuse(m, ERR_CORRUPT, "MALFORMED", "the body cannot be read");
}

static int too_many(struct making *m, const char *what, unsigned max)
{
    return refuse(m, ERR_LIMIT, "LIMIT", "key %llu has more than %u %s",
                  (unsigned long long)m->key.id, max, what);
}

/* ---- reading ---- */

static int take_name(struct making *m, unsigned list, struct str name)
{
    struct names *n = &m->lists[list];
    if (n->count == KEYRING_NAMES_MAX)
        return too_many(m, "names in one list", KEYRING_NAMES_MAX);
    if (n->count == n->cap) {
        size_t cap = n->cap != 0 ? n->cap * 2 : 16;
        struct str *items = mem_realloc(n->items, cap * sizeof(*items));
        if (items == NULL)
            return no_memory(m);
        n->items = items;
        n->cap = cap;
    }
    n->items[n->count++] = name;
    return 0;
}

static int take_account(struct making *m, uint64_t account)
{
    if (m->key.account_count == KEYRING_ACCOUNTS_MAX)
        return too_many(m, "accounts", KEYRING_ACCOUNTS_MAX);
    m->key.accounts[m->key.account_count++] = account;
    return 0;
}

/* Packed, as proto3 writes them. */
static int take_accounts(struct making *m, struct str packed)
{
    if (packed.len % 8 != 0)
        return malformed(m);
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < packed.len; i += 8) {
        uint64_t account = 0;
        for (size_t k = 0; k < 8; k++)
            account |= (uint64_t)(uint8_t)packed.data[i + k] << (8 * k);
        rc = take_account(m, account);
    }
    return rc;
}

static int take_text(struct making *m, const struct wire_field *f)
{
    switch (f->number) {
    case 2:
        m->key.public_id = f->bytes;
        return 0;
    case 3:
        m->key.sha256 = f->bytes;
        return 0;
    case 4:
        m->key.name = f->bytes;
        return 0;
    case 5:
        return take_name(m, LIST_ROUTES, f->bytes);
    case 6:
        return take_name(m, LIST_MODELS, f->bytes);
    case 12:
        return take_accounts(m, f->bytes);
    case 13:
        return take_name(m, LIST_ENDPOINTS, f->bytes);
    case 15:
        m->key.prev_sha256 = f->bytes;
        return 0;
    case 20:
        return take_name(m, LIST_TAGS, f->bytes);
    case 21:
        return take_name(m, LIST_REGIONS, f->bytes);
    default:
        return 0; /* Of a newer control plane. */
    }
}

static void take_number(struct making *m, const struct wire_field *f)
{
    struct fields *k = &m->key;
    switch (f->number) {
    case 7:
        k->disabled = f->value != 0;
        break;
    case 8:
        k->expires_us = (int64_t)f->value;
        break;
    case 9:
        k->no_explore = f->value != 0;
        break;
    case 10:
        k->may_no_log = f->value != 0;
        break;
    case 11:
        k->segment = f->value;
        break;
    case 14:
        k->max_cost = (int64_t)f->value;
        break;
    case 16:
        k->prev_until_us = (int64_t)f->value;
        break;
    case 17:
        k->rpm = f->value;
        break;
    case 18:
        k->tpm = f->value;
        break;
    case 19:
        k->concurrency = f->value;
        break;
    case 22:
        k->require_data = f->value;
        break;
    default:
        break;
    }
}

/* Bit n: field n is of that wire type. A known field in another one is malformed: dropping it could
 * drop a limit. */
#define TEXT_FIELDS                                                                                \
    (1U << 2 | 1U << 3 | 1U << 4 | 1U << 5 | 1U << 6 | 1U << 12 | 1U << 13 | 1U << 15 | 1U << 20 | \
     1U << 21)
#define NUMBER_FIELDS                                                                              \
    (1U << 7 | 1U << 8 | 1U << 9 | 1U << 10 | 1U << 11 | 1U << 14 | 1U << 16 | 1U << 17 |          \
     1U << 18 | 1U << 19 | 1U << 22)
#define FIXED_FIELDS (1U << 1 | 1U << 12)
#define KNOWN_MAX    22U

static bool type_is_right(const struct wire_field *f)
{
    static const uint32_t of_type[8] = {[WIRE_TYPE_VARINT] = NUMBER_FIELDS,
                                        [WIRE_TYPE_FIXED64] = FIXED_FIELDS,
                                        [WIRE_TYPE_BYTES] = TEXT_FIELDS};
    return f->number > KNOWN_MAX || (of_type[f->type] >> f->number & 1) != 0;
}

static int read_key(struct making *m, struct str body)
{
    struct wire_field f;
    int rc;
    m->key = (struct fields){0};
    for (unsigned i = 0; i < LIST_COUNT; i++)
        m->lists[i].count = 0;
    while ((rc = wire_field_next(&body, &f)) > 0) {
        if (!type_is_right(&f))
            return malformed(m);
        rc = 0;
        if (f.type == WIRE_TYPE_BYTES)
            rc = take_text(m, &f);
        else if (f.type == WIRE_TYPE_FIXED64 && f.number == 1)
            m->key.id = f.value;
        else if (f.type == WIRE_TYPE_FIXED64 && f.number == 12)
            rc = take_account(m, f.value);
        else if (f.type == WIRE_TYPE_VARINT)
            take_number(m, &f);
        if (rc != 0)
            return rc;
    }
    return rc == 0 ? 0 : malformed(m);
}

/* ---- what keys share ---- */

static void *keep(struct making *m, const void *data, size_t len)
{
    void *copy = arena_alloc(&m->part->arena, len != 0 ? len : 1);
    if (copy != NULL && len != 0)
        memcpy(copy, data, len);
    return copy;
}

static int by_hash(const void *a, const void *b)
{
    uint64_t x = ((const struct scope_name *)a)->hash, y = ((const struct scope_name *)b)->hash;
    return (x > y) - (x < y);
}

static void *make_scope(struct making *m, const struct names *n)
{
    struct scope *s =
        arena_alloc(&m->part->arena, sizeof(struct scope) + n->count * sizeof(struct scope_name));
    if (s == NULL)
        return NULL;
    s->count = (uint32_t)n->count;
    for (size_t i = 0; i < n->count; i++)
        s->names[i] = (struct scope_name){.hash = scope_hash(n->items[i]), .name = n->items[i]};
    qsort(s->names, n->count, sizeof(s->names[0]), by_hash);
    return s;
}

/* Names as they are; the others are scopes. */
static bool is_plain(unsigned list)
{
    return list == LIST_TAGS || list == LIST_REGIONS;
}

/* Equal lists become one object: many keys, few scopes. NULL for an empty list. */
static int share_names(struct making *m, unsigned list, const void **out)
{
    const struct names *n = &m->lists[list];
    *out = NULL;
    if (n->count == 0)
        return 0;
    buf_clear(&m->joined);
    int rc = buf_append_char(&m->joined, is_plain(list) ? 't' : 's');
    for (size_t i = 0; rc == 0 && i < n->count; i++) {
        rc = buf_append_u64(&m->joined, n->items[i].len);
        if (rc == 0)
            rc = buf_append_char(&m->joined, ':');
        if (rc == 0)
            rc = buf_append_str(&m->joined, n->items[i]);
    }
    if (rc != 0)
        return no_memory(m);
    void *shared = map_get(&m->by_names, buf_str(&m->joined));
    if (shared == NULL) {
        shared =
            is_plain(list) ? keep(m, n->items, n->count * sizeof(n->items[0])) : make_scope(m, n);
        char *key = mem_strndup(m->joined.data, m->joined.len);
        struct str text = {.data = key, .len = m->joined.len};
        if (shared == NULL || key == NULL || map_put(&m->by_names, text, shared, NULL) != 0) {
            mem_free(key);
            return no_memory(m);
        }
    }
    *out = shared;
    return 0;
}

static int share_terms(struct making *m, const struct key_terms **out)
{
    struct key_terms t;
    const void *lists[LIST_COUNT] = {NULL};
    for (unsigned i = 0; i < LIST_COUNT; i++) {
        int rc = share_names(m, i, &lists[i]);
        if (rc != 0)
            return rc;
    }
    memset(&t, 0, sizeof t); /* With its padding: its bytes are compared. */
    t.routes = lists[LIST_ROUTES];
    t.models = lists[LIST_MODELS];
    t.endpoints = lists[LIST_ENDPOINTS];
    t.tags = lists[LIST_TAGS];
    t.tag_count = (uint32_t)m->lists[LIST_TAGS].count;
    t.require.regions = lists[LIST_REGIONS];
    t.require.region_count = (uint32_t)m->lists[LIST_REGIONS].count;
    t.require.data = (uint32_t)m->key.require_data;
    t.max_cost_nanousd = m->key.max_cost;
    t.rpm = m->key.rpm;
    t.tpm = m->key.tpm;
    t.concurrency = m->key.concurrency;
    struct key_terms *shared =
        map_get(&m->by_terms, (struct str){.data = (const char *)&t, .len = sizeof t});
    if (shared == NULL) {
        shared = keep(m, &t, sizeof t);
        if (shared == NULL ||
            map_put(&m->by_terms, (struct str){.data = (const char *)shared, .len = sizeof t},
                    shared, NULL) != 0)
            return no_memory(m);
    }
    *out = shared;
    return 0;
}

/* ---- one key ---- */

static int check_key(struct making *m)
{
    const struct fields *k = &m->key;
    unsigned long long id = k->id;
    if (k->sha256.len != SHA256_BYTES ||
        (k->prev_sha256.len != 0 && k->prev_sha256.len != SHA256_BYTES))
        return refuse(m, ERR_INVALID, "INVALID", "key %llu: hash is not 32 bytes long", id);
    if (k->public_id.len == 0 || k->public_id.len > NAME_BYTES_MAX)
        return refuse(m, ERR_INVALID, "INVALID",
                      "public id of key %llu: empty or longer than %u bytes", id, NAME_BYTES_MAX);
    for (size_t i = 0; i < k->public_id.len; i++)
        if ((unsigned char)k->public_id.data[i] < 0x20 || k->public_id.data[i] == 0x7f)
            return refuse(m, ERR_INVALID, "INVALID", "public id of key %llu: control byte", id);
    if (m->lists[LIST_REGIONS].count > REQUIRE_REGIONS_MAX || k->require_data > UINT32_MAX)
        return refuse(m, ERR_LIMIT, "LIMIT", "key %llu requires too much", id);
    if (k->max_cost < 0)
        return refuse(m, ERR_INVALID, "INVALID", "key %llu: negative cost of a request", id);
    if (m->shard != KEYRING_SHARD_ANY &&
        digest_sha256(k->public_id.data, k->public_id.len).bytes[0] != m->shard)
        return refuse(m, ERR_INVALID, "INVALID", "key %llu is not of this shard", id);
    return 0;
}

static int make_identity(struct making *m, struct identity *out)
{
    const struct fields *k = &m->key;
    int rc = check_key(m);
    if (rc == 0)
        rc = share_terms(m, &out->terms);
    if (rc != 0)
        return rc;
    out->id = k->id;
    out->public_id = k->public_id;
    out->name = str_slice(k->name, 0, NAME_BYTES_MAX);
    out->sha256 = (const uint8_t *)k->sha256.data;
    out->accounts = keep(m, k->accounts, k->account_count * sizeof(k->accounts[0]));
    if (out->accounts == NULL)
        return no_memory(m);
    out->account_count = (uint8_t)k->account_count;
    out->segment = (uint32_t)k->segment;
    out->expires_us = k->expires_us;
    out->disabled = k->disabled;
    out->no_explore = k->no_explore;
    out->may_no_log = k->may_no_log;
    if (k->prev_sha256.len != 0) {
        const struct key_previous previous = {.sha256 = (const uint8_t *)k->prev_sha256.data,
                                              .until_us = k->prev_until_us};
        out->previous = keep(m, &previous, sizeof previous);
        if (out->previous == NULL)
            return no_memory(m);
    }
    return 0;
}

/* The slot of a public id, or the free one where it belongs. */
static uint32_t *slot_of(const struct keyring_part *part, struct str public_id)
{
    uint32_t i = (uint32_t)siphash_1_3(part->hash_key, public_id.data, public_id.len);
    for (;; i++) {
        uint32_t *slot = &part->slots[i & part->mask];
        if (*slot == 0 || str_eq(part->identities[*slot - 1].public_id, public_id))
            return slot;
    }
}

const struct identity *keyring_part_get(const struct keyring_part *part, struct str public_id)
{
    uint32_t at = *slot_of(part, public_id);
    return at != 0 ? &part->identities[at - 1] : NULL;
}

static int add_key(struct making *m, struct str body)
{
    struct keyring_part *part = m->part;
    struct identity *identity = &part->identities[part->count];
    int rc = read_key(m, body);
    if (rc == 0)
        rc = make_identity(m, identity);
    if (rc != 0)
        return rc;
    uint32_t *slot = slot_of(part, identity->public_id);
    if (*slot != 0)
        return refuse(m, ERR_EXISTS, "DUPLICATE", "public id '%.*s' appears twice",
                      (int)str_slice(identity->public_id, 0, 64).len, identity->public_id.data);
    *slot = ++part->count;
    return 0;
}

/* ---- the whole part ---- */

static int count_keys(struct making *m, struct str body, size_t *out_count)
{
    struct wire_field f;
    size_t count = 0;
    int rc;
    while ((rc = wire_field_next(&body, &f)) > 0) {
        if (f.number == KEYS_FIELD && f.type != WIRE_TYPE_BYTES)
            return malformed(m);
        count += f.number == KEYS_FIELD;
    }
    if (rc != 0)
        return malformed(m);
    if (count > KEYRING_KEYS_MAX)
        return refuse(m, ERR_LIMIT, "LIMIT", "more than %u keys", KEYRING_KEYS_MAX);
    *out_count = count;
    return 0;
}

static int fill(struct making *m, struct str body)
{
    struct keyring_part *part = m->part;
    struct wire_field f;
    size_t count = 0;
    int rc = count_keys(m, body, &count);
    if (rc != 0)
        return rc;
    uint32_t slots = 8;
    while (slots < count * 2)
        slots *= 2;
    part->mask = slots - 1;
    part->slots = mem_calloc(slots, sizeof(*part->slots));
    part->identities = mem_calloc(count + 1, sizeof(*part->identities));
    if (part->slots == NULL || part->identities == NULL)
        return no_memory(m);
    while (rc == 0 && wire_field_next(&body, &f) > 0)
        if (f.number == KEYS_FIELD)
            rc = add_key(m, f.bytes);
    return rc;
}

static void making_deinit(struct making *m)
{
    const struct map_entry *e;
    for (size_t i = 0; (e = map_next(&m->by_names, &i)) != NULL;)
        mem_free((char *)(uintptr_t)e->key.data);
    map_deinit(&m->by_names);
    map_deinit(&m->by_terms);
    buf_deinit(&m->joined);
    for (unsigned i = 0; i < LIST_COUNT; i++)
        mem_free(m->lists[i].items);
}

int keyring_part_create(const struct resource *r, int shard, struct keyring_part **out_part,
                        struct keyring_fault *out_fault)
{
    static atomic_uint_fast64_t serials;
    struct making m = {.shard = shard, .fault = out_fault};
    m.part = mem_zalloc(sizeof(*m.part));
    if (m.part == NULL)
        return no_memory(&m);
    atomic_init(&m.part->refs, 1);
    m.part->serial = atomic_fetch_add_explicit(&serials, 1, memory_order_relaxed) + 1;
    m.part->resource = resource_ref(r);
    m.part->hash_key = (struct siphash_key){.k0 = rand_u64(), .k1 = rand_u64()};
    arena_pool_init(&m.part->pool, 0);
    arena_init(&m.part->arena, &m.part->pool, ARENA_BYTES_MAX);
    map_init(&m.by_names);
    map_init(&m.by_terms);
    buf_init(&m.joined, SIZE_MAX);
    int rc = fill(&m, r->body);
    making_deinit(&m);
    if (rc != 0)
        keyring_part_unref(m.part);
    else
        *out_part = m.part;
    return rc;
}

struct keyring_part *keyring_part_ref(struct keyring_part *part)
{
    atomic_fetch_add_explicit(&part->refs, 1, memory_order_relaxed);
    return part;
}

void keyring_part_unref(struct keyring_part *part)
{
    if (part == NULL || atomic_fetch_sub_explicit(&part->refs, 1, memory_order_acq_rel) != 1)
        return;
    arena_reset(&part->arena);
    arena_pool_deinit(&part->pool);
    mem_free(part->slots);
    mem_free(part->identities);
    resource_unref(part->resource);
    mem_free(part);
}

const struct resource *keyring_part_resource(const struct keyring_part *part)
{
    return part->resource;
}

uint32_t keyring_part_count(const struct keyring_part *part)
{
    return part->count;
}

const struct identity *keyring_part_at(const struct keyring_part *part, uint32_t index)
{
    return &part->identities[index];
}
