#include "dataplane/request/idempotency_table.h"

#include <assert.h>
#include <stdbool.h>
#include <string.h>
#include <uv.h>

#include "common/base/list.h"
#include "common/base/mem.h"

#define BUCKETS 4096U

enum entry_state { ENTRY_RUNNING, ENTRY_DONE };

struct idempotency_entry {
    struct list link; /* table->order, unless it was dropped. */
    struct idempotency_entry *next;
    struct sha256 name;
    struct sha256 body;
    enum entry_state state;
    bool dropped; /* Not found any more; there until nobody holds it. */
    uint32_t holders;
    uint64_t until_ms;
    char *block; /* What answer points to; NULL: not yet. */
    size_t block_bytes;
    struct idempotency_answer answer;
};

struct idempotency_table {
    uv_mutex_t lock; /* Of all that follows. */
    uint64_t bytes, bytes_max;
    struct list order; /* By claim: whose day is over first comes first. */
    struct idempotency_entry *buckets[BUCKETS];
};

struct idempotency_table *idempotency_table_create(uint64_t memory_max)
{
    struct idempotency_table *t = mem_zalloc(sizeof *t);
    if (t == NULL)
        return NULL;
    if (uv_mutex_init(&t->lock) != 0) {
        mem_free(t);
        return NULL;
    }
    t->bytes_max = memory_max / IDEMPOTENCY_PART;
    if (t->bytes_max > IDEMPOTENCY_BYTES_MAX)
        t->bytes_max = IDEMPOTENCY_BYTES_MAX;
    if (t->bytes_max < IDEMPOTENCY_BYTES_MIN)
        t->bytes_max = IDEMPOTENCY_BYTES_MIN;
    list_init(&t->order);
    return t;
}

static struct idempotency_entry **bucket_of(struct idempotency_table *t, const struct sha256 *name)
{
    uint32_t index;
    memcpy(&index, name->bytes, sizeof index);
    return &t->buckets[index % BUCKETS];
}

static uint64_t bytes_of(const struct idempotency_entry *e)
{
    return sizeof *e + e->block_bytes;
}

static void entry_free(struct idempotency_entry *e)
{
    mem_free(e->block);
    mem_free(e);
}

/* It is not found any more; who holds it keeps it. */
static void drop(struct idempotency_table *t, struct idempotency_entry *e)
{
    struct idempotency_entry **at = bucket_of(t, &e->name);
    while (*at != e)
        at = &(*at)->next;
    *at = e->next;
    list_remove(&e->link);
    t->bytes -= bytes_of(e);
    e->dropped = true;
    if (e->holders == 0)
        entry_free(e);
}

void idempotency_table_destroy(struct idempotency_table *t)
{
    if (t == NULL)
        return;
    while (!list_empty(&t->order))
        drop(t, container_of(t->order.next, struct idempotency_entry, link));
    uv_mutex_destroy(&t->lock);
    mem_free(t);
}

/* Those whose day is over; a request that still runs stays. */
static void expire(struct idempotency_table *t, uint64_t now_ms)
{
    for (struct list *n = t->order.next, *next; n != &t->order; n = next) {
        struct idempotency_entry *e = container_of(n, struct idempotency_entry, link);
        next = n->next;
        if (e->until_ms > now_ms)
            return;
        if (e->state == ENTRY_DONE)
            drop(t, e);
    }
}

/* false: what is left is under way. */
static bool make_room(struct idempotency_table *t, uint64_t bytes, uint64_t *out_dropped)
{
    struct list *n = t->order.next, *next;
    for (; t->bytes + bytes > t->bytes_max && n != &t->order; n = next) {
        struct idempotency_entry *e = container_of(n, struct idempotency_entry, link);
        next = n->next;
        if (e->state != ENTRY_DONE)
            continue;
        drop(t, e);
        (*out_dropped)++;
    }
    return t->bytes + bytes <= t->bytes_max;
}

static struct idempotency_entry *find(struct idempotency_table *t, const struct sha256 *name)
{
    struct idempotency_entry *e = *bucket_of(t, name);
    while (e != NULL && memcmp(&e->name, name, sizeof *name) != 0)
        e = e->next;
    return e;
}

static struct idempotency_entry *add(struct idempotency_table *t, const struct sha256 *name,
                                     const struct sha256 *body, uint64_t now_ms,
                                     uint64_t *out_dropped)
{
    struct idempotency_entry **bucket = bucket_of(t, name);
    struct idempotency_entry *e;
    if (!make_room(t, sizeof *e, out_dropped) || (e = mem_zalloc(sizeof *e)) == NULL)
        return NULL;
    e->name = *name;
    e->body = *body;
    e->state = ENTRY_RUNNING;
    e->until_ms = now_ms + IDEMPOTENCY_KEPT_MS;
    e->holders = 1;
    e->next = *bucket;
    *bucket = e;
    list_push_back(&t->order, &e->link);
    t->bytes += bytes_of(e);
    return e;
}

enum idempotency_state idempotency_claim(struct idempotency_table *t, const struct sha256 *name,
                                         const struct sha256 *body, uint64_t now_ms,
                                         struct idempotency_entry **out_entry,
                                         uint64_t *out_dropped)
{
    enum idempotency_state state = IDEMPOTENCY_CLAIMED;
    *out_entry = NULL;
    *out_dropped = 0;
    uv_mutex_lock(&t->lock);
    expire(t, now_ms);
    struct idempotency_entry *e = find(t, name);
    if (e == NULL) {
        *out_entry = add(t, name, body, now_ms, out_dropped);
        if (*out_entry == NULL)
            state = IDEMPOTENCY_FULL;
    } else if (memcmp(&e->body, body, sizeof *body) != 0) {
        state = IDEMPOTENCY_OTHER;
    } else if (e->state == ENTRY_RUNNING) {
        state = IDEMPOTENCY_RUNNING;
    } else {
        e->holders++;
        *out_entry = e;
        state = IDEMPOTENCY_DONE;
    }
    uv_mutex_unlock(&t->lock);
    return state;
}

/* Where what follows goes; the copy. */
static struct str put(char **at, struct str s)
{
    struct str copy = {.data = *at, .len = s.len};
    if (s.len > 0)
        memcpy(*at, s.data, s.len);
    *at += s.len;
    return copy;
}

static char *copy_answer(const struct idempotency_answer *from, size_t bytes,
                         struct idempotency_answer *to)
{
    char *block = mem_alloc(bytes), *at = block;
    if (block == NULL)
        return NULL;
    to->status = from->status;
    to->content_type = put(&at, from->content_type);
    to->decision = put(&at, from->decision);
    to->policy = put(&at, from->policy);
    to->provider = put(&at, from->provider);
    to->model = put(&at, from->model);
    to->body = put(&at, from->body);
    return block;
}

int idempotency_keep(struct idempotency_table *t, struct idempotency_entry *e,
                     const struct idempotency_answer *answer, uint64_t *out_dropped)
{
    struct idempotency_answer copy;
    const size_t bytes = answer->content_type.len + answer->decision.len + answer->policy.len +
                         answer->provider.len + answer->model.len + answer->body.len;
    *out_dropped = 0;
    if (bytes > IDEMPOTENCY_ANSWER_MAX || bytes > t->bytes_max / IDEMPOTENCY_SHARE)
        return ERR_TOO_LARGE;
    char *block = copy_answer(answer, bytes, &copy);
    if (block == NULL)
        return ERR_NOMEM;
    uv_mutex_lock(&t->lock);
    assert(e->state == ENTRY_RUNNING && !e->dropped);
    const bool room = make_room(t, bytes, out_dropped);
    if (room) {
        e->answer = copy;
        e->block = block;
        e->block_bytes = bytes;
        e->state = ENTRY_DONE;
        t->bytes += bytes;
    }
    uv_mutex_unlock(&t->lock);
    if (room)
        return 0;
    mem_free(block);
    return ERR_NOMEM;
}

const struct idempotency_answer *idempotency_answer(const struct idempotency_entry *e)
{
    return &e->answer;
}

void idempotency_release(struct idempotency_table *t, struct idempotency_entry *e)
{
    uv_mutex_lock(&t->lock);
    e->holders--;
    if (!e->dropped && e->state == ENTRY_RUNNING)
        drop(t, e);
    else if (e->dropped && e->holders == 0)
        entry_free(e);
    uv_mutex_unlock(&t->lock);
}

uint64_t idempotency_bytes(struct idempotency_table *t)
{
    uv_mutex_lock(&t->lock);
    uint64_t bytes = t->bytes;
    uv_mutex_unlock(&t->lock);
    return bytes;
}
