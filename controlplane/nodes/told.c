/* What nodes are told of rollouts beside their resources: which are watched, which are over. */
#include <stdio.h>

#include "common/base/clock.h"
#include "controlplane/nodes/nodes_internal.h"

static void told_set(struct told *t, size_t at, uint64_t id)
{
    (void)snprintf(t->text[at], sizeof(t->text[at]), "%llu", (unsigned long long)id);
}

static bool told_has(const struct told *t, uint64_t id)
{
    for (size_t i = 0; i < t->count; i++) {
        uint64_t had = 0;
        if (str_parse_u64(str_from(t->text[i]), UINT64_MAX, &had) == 0 && had == id)
            return true;
    }
    return false;
}

void nodes_watch(struct nodes *n, const uint64_t *ids, size_t count)
{
    bool is_new = false;
    if (count > NODES_ROLLOUTS_MAX)
        count = NODES_ROLLOUTS_MAX;
    for (size_t i = 0; i < count; i++)
        is_new = is_new || !told_has(&n->watched, ids[i]);
    n->watched.count = count;
    for (size_t i = 0; i < count; i++)
        told_set(&n->watched, i, ids[i]);
    if (is_new && !n->closing)
        sync_peers_tell(n);
}

void nodes_abort(struct nodes *n, uint64_t id)
{
    if (id == 0 || told_has(&n->aborted, id))
        return;
    told_set(&n->aborted, n->aborted_next, id);
    n->aborted_next = (n->aborted_next + 1) % NODES_ROLLOUTS_MAX;
    if (n->aborted.count < NODES_ROLLOUTS_MAX)
        n->aborted.count++;
    if (!n->closing)
        sync_peers_tell(n);
}
