/* nodes_internal.h: shared by nodes.c, sync_rpc.c and telemetry_rpc.c. Everything is on the loop.
 */
#ifndef STEELYARD_CONTROLPLANE_NODES_NODES_INTERNAL_H
#define STEELYARD_CONTROLPLANE_NODES_NODES_INTERNAL_H

#include "common/base/list.h"
#include "common/base/map.h"
#include "controlplane/budgets/rates.h"
#include "controlplane/nodes/nodes.h"

#define NODES_BUILD_BYTES 64
#define NODES_PEER_BYTES  96
#define NODES_TICK_MS     50U
#define NODES_FORGET_US   INT64_C(3600000000)
#define NODES_SEND_QUEUE  2097152U
#define NODES_OUTSTANDING 8U /* Batches of one stream at the intake. */

extern const struct rpc_method nodes_methods[4];
enum { NODES_METHOD_SYNC, NODES_METHOD_PUSH, NODES_METHOD_LEASE, NODES_METHOD_RATES };

/* One known node, connected or not. */
struct node_entry {
    struct list link; /* Of nodes->entries. */
    char id[NODES_ID_BYTES];
    char build[NODES_BUILD_BYTES];
    char peer[NODES_PEER_BYTES];
    struct sync_peer *sync;   /* Its Sync stream, or NULL. */
    struct push_peer *push;   /* Its Push stream, or NULL. */
    struct lease_peer *lease; /* Its Lease stream, or NULL. */
    struct rates_peer *rates; /* Its Share stream, or NULL. */
    uint32_t era;
    uint64_t generation;
    uint64_t nacked_generation;
    uint64_t epoch;
    int64_t last_seen_us;
    uint64_t spool_records, spool_bytes, requests;
    uint32_t inflight;
};

struct told { /* Rollout ids, as they are sent. */
    size_t count;
    char text[NODES_ROLLOUTS_MAX][21];
};

struct nodes {
    struct nodes_options options;
    struct told watched;
    struct told aborted; /* A ring: */
    size_t aborted_next; /* the oldest is overwritten. */
    struct rpc_server *server;
    struct list entries; /* Oldest first. */
    struct map by_id;
    struct list sync_peers;
    struct list push_peers;
    struct list lease_peers;
    struct list rates_peers;
    struct rates *rates; /* NULL: none are shared out here. */
    uv_timer_t debounce_timer, heartbeat_timer, tick_timer;
    unsigned handles;
    uint64_t changed_since_ms; /* First change of a debounce, 0: none waiting. */
    size_t outstanding;        /* Batches at the intake, reports at the lease service. */
    bool closing, server_closed;
    void (*on_closed)(void *user);
    void *closed_user;
};

/* The entry of a node, made if need be. NULL: at the limit, or no memory. */
struct node_entry *nodes_entry(struct nodes *n, const char *id);
/* Is this a usable id, and does the peer's certificate carry it? 0 or an RPC code. */
int nodes_check_id(const struct rpc_stream *stream, const char *id);
void nodes_batch_done(struct nodes *n); /* One less outstanding. */
/* When a stream made now should be closed, so that streams spread again. */
uint64_t nodes_stream_expiry(const struct nodes *n);

void sync_peer_accept(struct nodes *n, struct rpc_stream *stream);
void sync_peers_push(struct nodes *n);
void sync_peers_heartbeat(struct nodes *n);
void sync_peers_tell(struct nodes *n); /* A heartbeat at once: something is new in it. */
bool sync_peer_holds(const struct sync_peer *p, struct str key, struct str version);
void push_peer_accept(struct nodes *n, struct rpc_stream *stream);
void push_peers_tick(struct nodes *n);
void lease_peer_accept(struct nodes *n, struct rpc_stream *stream);
void lease_peers_tick(struct nodes *n);
void rates_peer_accept(struct nodes *n, struct rpc_stream *stream);
void rates_peers_tick(struct nodes *n);

#endif
