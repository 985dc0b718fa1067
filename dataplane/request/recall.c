#include "dataplane/request/recall.h"

#include <string.h>

#include "common/base/mem.h"
#include "dataplane/request/scan.h"

#define WORDS (RECALL_ITEM_BYTES / sizeof(uint64_t))

/* Even: at rest; odd: being written. The words are atomics, so that a reader that is too late reads
 * nonsense, but never races. */
struct place {
    _Atomic uint64_t version;
    _Atomic uint64_t key_id;
    _Atomic uint64_t id_hash;
    _Atomic uint64_t len;
    _Atomic uint64_t words[WORDS];
};
struct recall {
    struct place places[RECALL_PLACES];
};

struct recall *recall_create(void)
{
    return mem_calloc(1, sizeof(struct recall));
}

void recall_destroy(struct recall *memory)
{
    mem_free(memory);
}

static void set(_Atomic uint64_t *word, uint64_t value)
{
    atomic_store_explicit(word, value, memory_order_release);
}

static uint64_t get(_Atomic uint64_t *word)
{
    return atomic_load_explicit(word, memory_order_acquire);
}

void recall_put(struct recall *memory, uint64_t key_id, uint64_t id_hash, struct str item)
{
    struct place *p = &memory->places[id_hash % RECALL_PLACES];
    uint64_t version = atomic_load_explicit(&p->version, memory_order_relaxed);
    if (item.len == 0 || item.len > RECALL_ITEM_BYTES || version % 2 != 0 ||
        !atomic_compare_exchange_strong_explicit(&p->version, &version, version + 1,
                                                 memory_order_acquire, memory_order_relaxed))
        return; /* Somebody else is at it: nothing is waited for. */
    set(&p->key_id, key_id);
    set(&p->id_hash, id_hash);
    set(&p->len, item.len);
    for (size_t at = 0; at < item.len; at += sizeof(uint64_t)) {
        uint64_t word = 0;
        size_t left = item.len - at;
        memcpy(&word, item.data + at, left < sizeof word ? left : sizeof word);
        set(&p->words[at / sizeof word], word);
    }
    set(&p->version, version + 2);
}

size_t recall_find(struct recall *memory, uint64_t key_id, uint64_t id_hash, char *out)
{
    struct place *p = &memory->places[id_hash % RECALL_PLACES];
    const uint64_t version = get(&p->version);
    const uint64_t len = get(&p->len);
    if (version == 0 || version % 2 != 0 || get(&p->key_id) != key_id ||
        get(&p->id_hash) != id_hash || len > RECALL_ITEM_BYTES)
        return 0;
    for (size_t at = 0; at < len; at += sizeof(uint64_t)) {
        uint64_t word = get(&p->words[at / sizeof word]);
        memcpy(out + at, &word, len - at < sizeof word ? len - at : sizeof word);
    }
    return atomic_load_explicit(&p->version, memory_order_relaxed) == version ? (size_t)len : 0;
}

/* ---- ids ---- */

/* As dataplane/translate makes them for messages and calls. Reasoning that is referred to is left
 * out when a body is read. */
static bool is_ours(struct str id)
{
    return str_starts(id, STR("msg_sy1_")) || str_starts(id, STR("fc_sy1_"));
}

static uint64_t hash_of(const struct request *r, struct str id)
{
    return siphash_2_4(r->snapshot->limits.text_key, id.data, id.len);
}

static bool works_here(const struct request *r)
{
    return r->dialect == DIALECT_RESPONSES && r->env->shared->recall != NULL &&
           r->identity != NULL && r->snapshot != NULL;
}

/* ---- keeping ---- */

/* The response object of the last event of a stream. */
static struct str last_event(struct str frames)
{
    const struct str mark = STR("\ndata: ");
    struct str found = STR_NULL;
    for (ptrdiff_t at; (at = str_search(frames, mark)) >= 0;) {
        frames = str_slice(frames, (size_t)at + mark.len, frames.len);
        found = frames;
    }
    const char *end = found.len > 0 ? memchr(found.data, '\n', found.len) : NULL;
    return end != NULL ? (struct str){found.data, (size_t)(end - found.data)} : STR_NULL;
}

static void keep_items(struct request *r, uint32_t output)
{
    const struct json *j = &r->env->json;
    uint32_t item;
    for (uint32_t at = 0; json_next_element(j, output, &at, &item);) {
        struct str id = json_plain(j, json_get(j, item, STR("id")));
        if (is_ours(id))
            recall_put(r->env->shared->recall, r->identity->id, hash_of(r, id), json_raw(j, item));
    }
}

void recall_keep(struct request *r)
{
    const struct attempt *a = &r->attempt;
    if (!works_here(r) || a->exchange == NULL || !r->committed || r->fault != FAULT_NONE)
        return;
    const bool whole = r->stream == STREAM_NONE;
    if (whole && r->piece_count != 1)
        return;
    struct str text = whole ? r->pieces[0] : last_event(buf_str(&a->reply.end));
    struct json *j = &r->env->json;
    if (text.len == 0 || json_parse(j, text, NULL) != 0)
        return;
    uint32_t response = whole ? JSON_ROOT : json_get(j, JSON_ROOT, STR("response"));
    keep_items(r, json_get(j, response, STR("output")));
}

/* ---- recalling ---- */

static bool is_reference(const struct json *j, uint32_t item, struct str *out_id)
{
    uint32_t type = json_get(j, item, STR("type"));
    *out_id = json_plain(j, json_get(j, item, STR("id")));
    if (!is_ours(*out_id))
        return false;
    return json_string_is(j, type, STR("item_reference")) ||
           (json_kind(j, type) <= JSON_NULL && json_get(j, item, STR("role")) == JSON_NONE);
}

/* From `from` up to the item, then what is kept in its place; *io_from is behind the item then. */
static int replace(struct request *r, struct str item, struct str kept, size_t *io_from,
                   struct buf *out)
{
    size_t at = (size_t)(item.data - r->body.data);
    int rc = buf_append_str(out, str_slice(r->body, *io_from, at));
    *io_from = at + item.len;
    return rc == 0 ? buf_append_str(out, kept) : rc;
}

static int expand_into(struct request *r, struct buf *out)
{
    const struct json *j = &r->env->json;
    char kept[RECALL_ITEM_BYTES];
    size_t from = 0;
    unsigned looked_up = 0;
    uint32_t item;
    int rc = 0;
    for (uint32_t at = 0; rc == 0 && looked_up < RECALL_REFERENCES &&
                          json_next_element(j, json_get(j, JSON_ROOT, STR("input")), &at, &item);) {
        struct str id;
        if (!is_reference(j, item, &id))
            continue;
        looked_up++;
        size_t len = recall_find(r->env->shared->recall, r->identity->id, hash_of(r, id), kept);
        if (len > 0)
            rc = replace(r, json_raw(j, item), (struct str){kept, len}, &from, out);
    }
    if (rc == 0 && from > 0)
        rc = buf_append_str(out, str_slice(r->body, from, r->body.len));
    return rc;
}

int recall_expand(struct request *r)
{
    struct buf made;
    if (!works_here(r) || r->early || str_search(r->body, STR("_sy1_")) < 0)
        return 0;
    if (json_parse(&r->env->json, r->body, NULL) != 0)
        return 0; /* Whoever reads it next says what is wrong. */
    buf_init(&made, r->body.len + RECALL_REFERENCES * RECALL_ITEM_BYTES);
    int rc = expand_into(r, &made);
    if (rc == 0 && made.len > 0) {
        struct str body = arena_copy(&r->arena, buf_str(&made));
        rc = body.data != NULL ? 0 : ERR_NOMEM;
        if (rc == 0) {
            r->body = body;
            scan_give(r);
        }
    }
    buf_deinit(&made);
    return rc;
}
