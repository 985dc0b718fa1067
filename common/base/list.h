/* list.h: intrusive doubly linked list and free list. The caller embeds the node and owns the
 * memory; nothing here allocates. Not thread-safe. */
#ifndef STEELYARD_COMMON_BASE_LIST_H
#define STEELYARD_COMMON_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

/* A list head is a node whose ring holds the members; an unlinked node points to itself. */
struct list {
    struct list *next;
    struct list *prev;
};

static inline void list_init(struct list *l)
{
    l->next = l;
    l->prev = l;
}

static inline bool list_empty(const struct list *l)
{
    return l->next == l;
}

static inline void list_push_back(struct list *head, struct list *node)
{
    node->prev = head->prev;
    node->next = head;
    head->prev->next = node;
    head->prev = node;
}

static inline void list_push_front(struct list *head, struct list *node)
{
    list_push_back(head->next, node);
}

/* Safe on an initialised node that is in no list. */
static inline void list_remove(struct list *node)
{
    node->prev->next = node->next;
    node->next->prev = node->prev;
    list_init(node);
}

/* NULL when empty. */
static inline struct list *list_pop_front(struct list *head)
{
    struct list *node = head->next;
    if (node == head)
        return NULL;
    list_remove(node);
    return node;
}

/* The current node may be removed inside a LIST_FOREACH_SAFE. */
#define LIST_FOREACH(it, head) for (struct list *it = (head)->next; it != (head); it = it->next)
#define LIST_FOREACH_SAFE(it, tmp, head)                                                           \
    for (struct list *it = (head)->next, *tmp = it->next; it != (head); it = tmp, tmp = it->next)

/* Free list: objects kept for re-use, up to a maximum. Singly linked through the first word. */
struct freelist {
    void *head;
    size_t count;
};

static inline void *freelist_take(struct freelist *f)
{
    void *p = f->head;
    if (p != NULL) {
        f->head = *(void **)p;
        f->count--;
    }
    return p;
}

static inline void freelist_put(struct freelist *f, void *p)
{
    *(void **)p = f->head;
    f->head = p;
    f->count++;
}

#endif
