#include "common/base/slab.h"

#include <assert.h>

#include "common/base/mem.h"

struct slab_block {
    struct list link;
    struct freelist free; /* Linked through the objects themselves. */
    uint32_t fresh;       /* Places from here on were never taken. */
    uint32_t used;
    char places[];
};

/* The word before each object says which block it is of. */
struct slab_place {
    struct slab_block *block;
    char object[];
};

void slab_init(struct slab *s, size_t object_bytes)
{
    assert(object_bytes >= sizeof(void *) && object_bytes <= SLAB_OBJECT_BYTES_MAX);
    size_t place = sizeof(struct slab_place) + (object_bytes + 7) / 8 * 8;
    *s = (struct slab){
        .object_bytes = (uint32_t)place,
        .per_block = (uint32_t)((SLAB_BLOCK_BYTES - sizeof(struct slab_block)) / place),
    };
    list_init(&s->blocks);
}

void slab_deinit(struct slab *s)
{
    assert(s->live == 0);
    for (struct list *it; (it = list_pop_front(&s->blocks)) != NULL;)
        mem_unmap(container_of(it, struct slab_block, link), SLAB_BLOCK_BYTES);
    s->empty = s->spare = 0;
}

/* One with room; the list's front has some if any block has. */
static struct slab_block *block_with_room(struct slab *s)
{
    if (!list_empty(&s->blocks)) {
        struct slab_block *b = container_of(s->blocks.next, struct slab_block, link);
        if (b->used < s->per_block)
            return b;
    }
    struct slab_block *b = mem_map(SLAB_BLOCK_BYTES);
    if (b == NULL)
        return NULL;
    *b = (struct slab_block){.used = 0};
    list_push_front(&s->blocks, &b->link);
    s->empty++;
    return b;
}

void *slab_take(struct slab *s)
{
    struct slab_block *b = block_with_room(s);
    if (b == NULL)
        return NULL;
    void *object = freelist_take(&b->free);
    if (object == NULL) {
        struct slab_place *place =
            (struct slab_place *)(void *)(b->places + (size_t)b->fresh++ * s->object_bytes);
        place->block = b;
        object = place->object;
    }
    if (b->used++ == 0 && --s->empty < s->spare)
        s->spare = s->empty;
    s->live++;
    if (b->used == s->per_block) {
        list_remove(&b->link);
        list_push_back(&s->blocks, &b->link);
    }
    return object;
}

void slab_give(struct slab *s, void *object)
{
    if (object == NULL)
        return;
    struct slab_block *b = container_of((char *)object, struct slab_place, object)->block;
    assert(b->used > 0 && s->live > 0);
    freelist_put(&b->free, object);
    s->live--;
    bool was_full = b->used-- == s->per_block;
    s->empty += b->used == 0;
    if (was_full) {
        list_remove(&b->link);
        list_push_front(&s->blocks, &b->link);
    }
}

static void give_empty(struct slab *s, uint32_t count)
{
    LIST_FOREACH_SAFE (it, tmp, &s->blocks) {
        struct slab_block *b = container_of(it, struct slab_block, link);
        if (count == 0)
            break;
        if (b->used > 0)
            continue;
        list_remove(&b->link);
        mem_unmap(b, SLAB_BLOCK_BYTES);
        s->empty--;
        count--;
    }
    s->spare = s->empty;
}

void slab_trim(struct slab *s)
{
    give_empty(s, s->spare);
}

void slab_trim_all(struct slab *s)
{
    give_empty(s, s->empty);
}
