#include "dataplane/request/queue.h"

#include <stddef.h>

static const struct queue_place *find(const struct queue *q, const void *who)
{
    for (uint32_t i = 0; i < QUEUE_MAX; i++)
        if (q->places[i].who == who)
            return &q->places[i];
    return NULL;
}

enum queue_answer queue_join(struct queue *q, const void *who, const void *where, uint64_t tenant,
                             uint32_t tokens, uint64_t now_ms)
{
    struct queue_place *room = NULL;
    uint64_t start = q->now;
    uint32_t same = 0;
    if (q->count == QUEUE_MAX)
        return QUEUE_FULL;
    for (uint32_t i = 0; i < QUEUE_MAX; i++) {
        struct queue_place *p = &q->places[i];
        if (p->who == NULL) {
            room = room == NULL ? p : room;
        } else if (p->tenant == tenant) {
            same++;
            start = p->finish > start ? p->finish : start;
        }
    }
    if (same >= QUEUE_SHARE_MAX)
        return QUEUE_OVER_SHARE;
    *room =
        (struct queue_place){.who = who,
                             .where = where,
                             .tenant = tenant,
                             .start = start,
                             .finish = start + (tokens > 0 ? tokens : 1),
                             .until_ms = now_ms + (q->wait_ms != 0 ? q->wait_ms : QUEUE_WAIT_MS)};
    q->count++;
    return QUEUE_JOINED;
}

bool queue_waits(const struct queue *q, const void *where)
{
    for (uint32_t i = 0; q->count != 0 && i < QUEUE_MAX; i++)
        if (q->places[i].who != NULL && q->places[i].where == where)
            return true;
    return false;
}

/* Equal ones as they came: the earlier has the earlier end. */
static bool is_before(const struct queue_place *a, const struct queue_place *b)
{
    return a->start != b->start ? a->start < b->start : a->until_ms < b->until_ms;
}

bool queue_is_next(const struct queue *q, const void *who)
{
    const struct queue_place *p = find(q, who);
    for (uint32_t i = 0; p != NULL && i < QUEUE_MAX; i++) {
        const struct queue_place *other = &q->places[i];
        if (other->who != NULL && other->where == p->where && is_before(other, p))
            return false;
    }
    return true;
}

bool queue_is_over(const struct queue *q, const void *who, uint64_t now_ms)
{
    const struct queue_place *p = find(q, who);
    return p == NULL || now_ms >= p->until_ms;
}

void queue_leave(struct queue *q, const void *who, bool served)
{
    for (uint32_t i = 0; q->count != 0 && i < QUEUE_MAX; i++) {
        struct queue_place *p = &q->places[i];
        if (p->who != who)
            continue;
        if (served && p->start > q->now)
            q->now = p->start;
        *p = (struct queue_place){.who = NULL};
        q->count--;
        return;
    }
}
