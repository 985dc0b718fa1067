/* One node's Control.Sync stream. Hello says what the node has; from then on the peer computes the
 * difference to the current generation, sends it chunk by chunk and waits for the answer: at most
 * one unanswered update per node, later changes wait in `dirty` and join into the next difference.
 */
#include <string.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/link/wire.h"
#include "control.pb-c.h"
#include "controlplane/nodes/nodes_internal.h"

#define CHUNK_BYTES 262144U
#define HAVE_MAX    4096U
#define NACKS_MAX   64U

typedef Steelyard__Control__V1__NodeMsg NodeMsg;
typedef Steelyard__Control__V1__PlaneMsg PlaneMsg;
typedef Steelyard__Control__V1__Resource Resource;
typedef Steelyard__Control__V1__Hello Hello;
typedef Steelyard__Control__V1__Ack Ack;

static void have_clear(struct map *have)
{
    const struct map_entry *e;
    for (size_t i = 0; (e = map_next(have, &i)) != NULL;)
        mem_free(e->value);
    map_deinit(have);
    map_init(have);
}

static int have_put(struct sync_peer *p, struct str key, struct str version)
{
    struct have *h = mem_zalloc(sizeof(*h));
    if (h == NULL)
        return ERR_NOMEM;
    if (!str_copy(key, h->key, sizeof(h->key)) ||
        !str_copy(version, h->version, sizeof(h->version)) || p->have.count >= HAVE_MAX) {
        mem_free(h);
        return ERR_INVALID;
    }
    struct have *old = map_remove(&p->have, key);
    mem_free(old);
    h->since_ms = clock_mono_ms();
    int rc = map_put(&p->have, str_from(h->key), h, NULL);
    if (rc != 0)
        mem_free(h);
    return rc;
}

bool sync_peer_holds(const struct sync_peer *p, struct str key, struct str version)
{
    const struct have *h = map_get(&p->have, key);
    return h != NULL && str_eq(str_from(h->version), version);
}

uint64_t sync_peer_since(const struct sync_peer *p, struct str key)
{
    const struct have *h = map_get(&p->have, key);
    return h != NULL ? h->since_ms : UINT64_MAX;
}

static bool node_has(const struct sync_peer *p, const struct nodes_resource *r)
{
    return sync_peer_holds(p, r->key, r->version);
}

/* ---- sending ---- */

static int send_chunk(struct sync_peer *p, const struct nodes_resource *r)
{
    uint32_t chunks = (uint32_t)((r->body.len + CHUNK_BYTES - 1) / CHUNK_BYTES);
    char key[NODES_KEY_BYTES], version[NODES_VERSION_BYTES];
    if (!str_copy(r->key, key, sizeof(key)) || !str_copy(r->version, version, sizeof(version)))
        return ERR_INVALID;
    size_t from = (size_t)p->chunk * CHUNK_BYTES;
    Resource resource = STEELYARD__CONTROL__V1__RESOURCE__INIT;
    Resource *list[1] = {&resource};
    resource.key = key;
    resource.version = version;
    resource.type = (Steelyard__Control__V1__ResourceType)r->type;
    resource.ttl_s = r->ttl_s;
    resource.body = wire_data(str_slice(r->body, from, from + CHUNK_BYTES));
    resource.chunk = p->chunk;
    resource.chunks = chunks;
    PlaneMsg m = STEELYARD__CONTROL__V1__PLANE_MSG__INIT;
    m.era = nodes_resources_era(p->sending);
    m.generation = nodes_resources_generation(p->sending);
    m.nonce = p->nonce;
    m.set = list;
    m.n_set = 1;
    m.more = true;
    int rc = rpc_stream_send(p->stream, &m.base);
    if (rc == 0 && ++p->chunk >= chunks) {
        p->chunk = 0;
        p->index++;
    }
    return rc;
}

static int send_last(struct sync_peer *p)
{
    char **removed = mem_calloc(p->have.count + 1, sizeof(*removed));
    if (removed == NULL)
        return ERR_NOMEM;
    size_t n = 0;
    const struct map_entry *e;
    for (size_t i = 0; (e = map_next(&p->have, &i)) != NULL;)
        if (nodes_resources_find(p->sending, e->key) == NULL)
            removed[n++] = ((struct have *)e->value)->key;
    PlaneMsg m = STEELYARD__CONTROL__V1__PLANE_MSG__INIT;
    m.era = nodes_resources_era(p->sending);
    m.generation = nodes_resources_generation(p->sending);
    m.nonce = p->nonce;
    m.removed = removed;
    m.n_removed = n;
    int rc = rpc_stream_send(p->stream, &m.base);
    mem_free(removed);
    return rc;
}

static void list_told(struct told *told, char **out)
{
    for (size_t i = 0; i < told->count; i++)
        out[i] = told->text[i];
}

/* A full queue is a sign of life of its own; but what was aborted must reach the node: the stream
 * that cannot take it ends, and the next one says it first. */
static void send_heartbeat(struct sync_peer *p)
{
    struct nodes *n = p->nodes;
    if (p->entry == NULL)
        return;
    char *watched[NODES_ROLLOUTS_MAX], *aborted[NODES_ROLLOUTS_MAX];
    list_told(&n->watched, watched);
    list_told(&n->aborted, aborted);
    PlaneMsg m = STEELYARD__CONTROL__V1__PLANE_MSG__INIT;
    m.heartbeat = true;
    struct nodes_resources *current = n->options.release->resources(n->options.plane);
    if (current != NULL) {
        m.era = nodes_resources_era(current);
        m.generation = nodes_resources_generation(current);
        nodes_resources_unref(current);
    }
    m.watched_rollout = watched;
    m.n_watched_rollout = n->watched.count;
    m.abort_rollout = aborted;
    m.n_abort_rollout = n->aborted.count;
    if (rpc_stream_send(p->stream, &m.base) != 0 && n->aborted.count > 0)
        rpc_stream_cancel(p->stream, RPC_EXHAUSTED, "an abort cannot be sent");
}

/* Sends on until the queue is full; on_writable goes on. */
static void update_pump(struct sync_peer *p)
{
    if (p->sending == NULL || p->sent)
        return;
    int rc = 0;
    while (rc == 0 && p->index < nodes_resources_count(p->sending)) {
        const struct nodes_resource *r = nodes_resources_at(p->sending, p->index);
        if (p->chunk == 0 && node_has(p, r))
            p->index++;
        else
            rc = send_chunk(p, r);
    }
    if (rc == 0)
        rc = send_last(p);
    if (rc == 0)
        p->sent = true;
    else if (rc != ERR_BUSY)
        rpc_stream_cancel(p->stream, RPC_INTERNAL, "cannot send");
}

static bool up_to_date(const struct sync_peer *p, const struct nodes_resources *r)
{
    if (p->entry->era != nodes_resources_era(r) ||
        p->entry->generation != nodes_resources_generation(r) ||
        p->have.count != nodes_resources_count(r))
        return false;
    for (size_t i = 0; i < nodes_resources_count(r); i++)
        if (!node_has(p, nodes_resources_at(r, i)))
            return false;
    return true;
}

static void update_start(struct sync_peer *p)
{
    if (p->entry == NULL || p->sending != NULL) {
        p->dirty = true;
        return;
    }
    p->dirty = false;
    struct nodes *n = p->nodes;
    struct nodes_resources *current = n->options.release->resources(n->options.plane);
    if (current == NULL)
        return;
    bool refused = p->refused == nodes_resources_generation(current) &&
                   p->refused_era == nodes_resources_era(current) && p->refused != 0;
    struct nodes_resources *view = refused ? NULL : waves_view(n, p, current);
    nodes_resources_unref(current);
    if (view == NULL && !refused)
        rpc_stream_cancel(p->stream, RPC_EXHAUSTED, "out of memory");
    if (view == NULL)
        return;
    if (up_to_date(p, view)) {
        nodes_resources_unref(view);
        return;
    }
    p->sending = view;
    p->nonce++;
    p->index = 0;
    p->chunk = 0;
    p->sent = false;
    p->sent_at_ns = clock_mono_ns();
    update_pump(p);
}

static void update_end(struct sync_peer *p)
{
    nodes_resources_unref(p->sending);
    p->sending = NULL;
    p->sent = false;
}

/* ---- receiving ---- */

static void on_hello(struct sync_peer *p, const Hello *hello)
{
    int code = p->entry != NULL ? RPC_INVALID : nodes_check_id(p->stream, hello->node_id);
    if (code != 0) {
        rpc_stream_cancel(p->stream, code, nodes_refusal(code));
        return;
    }
    struct nodes *n = p->nodes;
    struct node_entry *entry = nodes_entry(n, hello->node_id);
    if (entry == NULL) {
        rpc_stream_cancel(p->stream, RPC_EXHAUSTED, "too many nodes");
        return;
    }
    for (size_t i = 0; i < hello->n_have; i++)
        if (have_put(p, str_from(hello->have[i]->key), str_from(hello->have[i]->value)) != 0) {
            rpc_stream_cancel(p->stream, RPC_INVALID, "unusable list of resources");
            return;
        }
    if (entry->sync != NULL) { /* The node came back before its old stream was seen to end. */
        entry->sync->entry = NULL;
        rpc_stream_cancel(entry->sync->stream, RPC_CANCELLED, "replaced by a newer stream");
    }
    entry->sync = p;
    p->entry = entry;
    entry->era = hello->era;
    entry->generation = hello->applied_generation;
    entry->epoch = hello->epoch;
    (void)str_copy(str_slice(str_from(hello->build), 0, NODES_BUILD_BYTES - 1), entry->build,
                   sizeof(entry->build));
    (void)str_copy(str_slice(str_from(rpc_stream_peer(p->stream)), 0, NODES_PEER_BYTES - 1),
                   entry->peer, sizeof(entry->peer));
    if (n->options.release->on_node != NULL)
        n->options.release->on_node(n->options.plane, entry->id, true);
    send_heartbeat(p);
    update_start(p);
}

/* The node has what was sent, and nothing else. */
static void have_update(struct sync_peer *p)
{
    struct map before = p->have;
    map_init(&p->have);
    for (size_t i = 0; i < nodes_resources_count(p->sending); i++) {
        const struct nodes_resource *r = nodes_resources_at(p->sending, i);
        const struct have *had = map_get(&before, r->key);
        if (have_put(p, r->key, r->version) != 0)
            break; /* Sent again with the next difference: no harm. */
        struct have *has = map_get(&p->have, r->key);
        if (had != NULL && strcmp(had->version, has->version) == 0)
            has->since_ms = had->since_ms;
    }
    have_clear(&before);
    map_deinit(&before);
}

/* false: the node refused it, and not for what came by a wave. */
static bool report(struct sync_peer *p, const Ack *ack)
{
    struct nodes *n = p->nodes;
    struct nodes_nack nacks[NACKS_MAX];
    size_t count = ack->n_nack < NACKS_MAX ? ack->n_nack : NACKS_MAX;
    for (size_t i = 0; i < count; i++)
        nacks[i] = (struct nodes_nack){.key = str_from(ack->nack[i]->key),
                                       .version = str_from(ack->nack[i]->version),
                                       .code = str_from(ack->nack[i]->code),
                                       .detail = str_from(ack->nack[i]->detail)};
    struct nodes_push_result result = {
        .node_id = p->entry->id,
        .era = nodes_resources_era(p->sending),
        .generation = nodes_resources_generation(p->sending),
        .applied = ack->applied_generation,
        .accepted = ack->n_nack == 0,
        .latency_us = (clock_mono_ns() - p->sent_at_ns) / 1000,
        .nacks = nacks,
        .nack_count = count,
    };
    n->options.release->on_result(n->options.plane, &result);
    return result.accepted || waves_refused(n, p, p->sending, &result);
}

static void on_ack(struct sync_peer *p, const Ack *ack)
{
    if (p->sending == NULL || !p->sent || ack->nonce != p->nonce)
        return; /* A stale nonce. */
    struct node_entry *entry = p->entry;
    if (ack->n_nack == 0) {
        have_update(p);
        entry->era = nodes_resources_era(p->sending);
        entry->generation = nodes_resources_generation(p->sending);
    } else {
        entry->nacked_generation = nodes_resources_generation(p->sending);
    }
    /* What a wave brought is not sent again; of the rest, nothing of this generation is. */
    if (!report(p, ack)) {
        p->refused = nodes_resources_generation(p->sending);
        p->refused_era = nodes_resources_era(p->sending);
    }
    update_end(p);
    if (p->dirty || !list_empty(&p->nodes->waves))
        update_start(p);
}

static void on_message(struct rpc_stream *stream, const ProtobufCMessage *base, void *user)
{
    struct sync_peer *p = user;
    const NodeMsg *m = (const NodeMsg *)base;
    if (p->entry == NULL && m->body_case != STEELYARD__CONTROL__V1__NODE_MSG__BODY_HELLO) {
        rpc_stream_cancel(stream, RPC_INVALID, "hello comes first");
        return;
    }
    switch (m->body_case) {
    case STEELYARD__CONTROL__V1__NODE_MSG__BODY_HELLO:
        on_hello(p, m->hello);
        break;
    case STEELYARD__CONTROL__V1__NODE_MSG__BODY_ACK:
        on_ack(p, m->ack);
        break;
    case STEELYARD__CONTROL__V1__NODE_MSG__BODY_HEALTH:
        p->entry->spool_records = m->health->spool_records;
        p->entry->spool_bytes = m->health->spool_bytes;
        p->entry->inflight = m->health->inflight;
        p->entry->requests = m->health->requests;
        break;
    case STEELYARD__CONTROL__V1__NODE_MSG__BODY__NOT_SET:
    case _STEELYARD__CONTROL__V1__NODE_MSG__BODY__CASE_IS_INT_SIZE:
        break; /* Newer than this program. */
    }
    if (p->entry != NULL)
        p->entry->last_seen_us = clock_wall_us();
}

static void on_writable(struct rpc_stream *stream, void *user)
{
    (void)stream;
    update_pump(user);
}

static void on_close(struct rpc_stream *stream, const struct rpc_status *status, void *user)
{
    (void)stream;
    (void)status;
    struct sync_peer *p = user;
    struct nodes *n = p->nodes;
    struct node_entry *entry = p->entry;
    if (entry != NULL && entry->sync == p) {
        entry->sync = NULL;
        entry->last_seen_us = clock_wall_us();
        waves_left(n, p);
        if (n->options.release->on_node != NULL)
            n->options.release->on_node(n->options.plane, entry->id, false);
    }
    list_remove(&p->link);
    update_end(p);
    have_clear(&p->have);
    map_deinit(&p->have);
    mem_free(p);
}

static const struct rpc_stream_events sync_events = {.on_message = on_message,
                                                     .on_writable = on_writable,
                                                     .on_end = nodes_stream_end,
                                                     .on_close = on_close};

void sync_peer_accept(struct nodes *n, struct rpc_stream *stream)
{
    struct sync_peer *p = mem_zalloc(sizeof(*p));
    if (p == NULL) {
        rpc_stream_cancel(stream, RPC_EXHAUSTED, "out of memory");
        return;
    }
    p->nodes = n;
    p->stream = stream;
    p->expires_ms = nodes_stream_expiry(n);
    map_init(&p->have);
    list_push_back(&n->sync_peers, &p->link);
    rpc_stream_set_send_max(stream, NODES_SEND_QUEUE);
    rpc_stream_set_user(stream, &sync_events, p);
}

void sync_peers_push(struct nodes *n)
{
    LIST_FOREACH_SAFE (it, tmp, &n->sync_peers)
        update_start(container_of(it, struct sync_peer, link));
}

void sync_peers_heartbeat(struct nodes *n)
{
    uint64_t now_ms = clock_mono_ms();
    LIST_FOREACH_SAFE (it, tmp, &n->sync_peers) {
        struct sync_peer *p = container_of(it, struct sync_peer, link);
        if (now_ms >= p->expires_ms && p->sending == NULL)
            rpc_stream_finish(p->stream, RPC_OK, "streams are spread again");
        else
            send_heartbeat(p);
    }
}

void sync_peers_tell(struct nodes *n)
{
    LIST_FOREACH (it, &n->sync_peers)
        send_heartbeat(container_of(it, struct sync_peer, link));
}

void sync_peers_end(struct nodes *n)
{
    LIST_FOREACH_SAFE (it, tmp, &n->sync_peers)
        rpc_stream_finish(container_of(it, struct sync_peer, link)->stream, RPC_OK,
                          "this control plane is ending");
}

void sync_peers_tick(struct nodes *n)
{
    if (list_empty(&n->waves) || !waves_tick(n))
        return;
    LIST_FOREACH_SAFE (it, tmp, &n->sync_peers) {
        struct sync_peer *p = container_of(it, struct sync_peer, link);
        if (p->entry != NULL && p->sending == NULL)
            update_start(p);
    }
}
