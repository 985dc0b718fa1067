#include "dataplane/request/recall.h"

#include <string.h>

#include "common/base/mem.h"
#include "common/base/seqlock.h"

struct place {
    struct seqlock lock;
    _Atomic uint64_t key_id;
    _Atomic uint64_t id_hash;
    _Atomic uint64_t len;
    _Atomic uint64_t words[SEQLOCK_WORDS(RECALL_ITEM_BYTES)];
};
struct recall {
    uint32_t count;
    struct place places[];
};

struct recall *recall_create(uint64_t memory_max)
{
    uint64_t count = memory_max / RECALL_PART / sizeof(struct place);
    if (count > RECALL_PLACES_MAX)
        count = RECALL_PLACES_MAX;
    if (count < RECALL_PLACES_MIN)
        count = RECALL_PLACES_MIN;
    struct recall *memory = mem_calloc(1, sizeof *memory + count * sizeof memory->places[0]);
    if (memory != NULL)
        memory->count = (uint32_t)count;
    return memory;
}

uint32_t recall_places(const struct recall *memory)
{
    return memory->count;
}

void recall_destroy(struct recall *memory)
{
    mem_free(memory);
}

void recall_put(struct recall *memory, uint64_t key_id, uint64_t id_hash, struct str item)
{
    struct place *p = &memory->places[id_hash % memory->count];
    if (item.len == 0 || item.len > RECALL_ITEM_BYTES || !seqlock_write_begin(&p->lock))
        return; /* Where somebody else writes, nothing is waited for. */
    seqlock_store(&p->key_id, key_id);
    seqlock_store(&p->id_hash, id_hash);
    seqlock_store(&p->len, item.len);
    seqlock_store_bytes(p->words, item.data, item.len);
    seqlock_write_end(&p->lock);
}

size_t recall_find(struct recall *memory, uint64_t key_id, uint64_t id_hash, char *out)
{
    const struct place *p = &memory->places[id_hash % memory->count];
    uint64_t version;
    if (!seqlock_read_begin(&p->lock, &version) || seqlock_load(&p->key_id) != key_id ||
        seqlock_load(&p->id_hash) != id_hash)
        return 0;
    const uint64_t len = seqlock_load(&p->len); /* Never more than there is room for. */
    seqlock_load_bytes(p->words, out, len);
    return seqlock_read_end(&p->lock, version) ? (size_t)len : 0;
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
    if (!works_here(r) || !r->committed || r->fault != FAULT_NONE)
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
    if (!works_here(r) || r->early || json_parse(&r->env->json, r->body, NULL) != 0)
        return 0;
    buf_init(&made, r->body.len + RECALL_REFERENCES * RECALL_ITEM_BYTES);
    int rc = expand_into(r, &made);
    if (rc == 0 && made.len > 0) {
        struct str body = arena_copy(&r->arena, buf_str(&made));
        rc = body.data != NULL ? 1 : ERR_NOMEM;
        if (rc > 0)
            r->body = body;
    }
    buf_deinit(&made);
    return rc;
}
