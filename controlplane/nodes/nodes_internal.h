/* nodes_internal.h: shared by the files of this room. Everything is on the loop. */
#ifndef STEELYARD_CONTROLPLANE_NODES_NODES_INTERNAL_H
#define STEELYARD_CONTROLPLANE_NODES_NODES_INTERNAL_H

#include "common/base/list.h"
#include "common/base/map.h"
#include "controlplane/budgets/rates.h"
#include "controlplane/nodes/nodes.h"
#include "controlplane/nodes/wave.h"

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

#define NODES_KEY_BYTES      301U /* Of a resource, with the NUL. */
#define NODES_VERSION_BYTES  65U
#define NODES_WAVE_KEY_BYTES NODES_KEY_BYTES

struct have { /* A resource the node has. */
    char key[NODES_KEY_BYTES];
    char version[NODES_VERSION_BYTES];
    uint64_t since_ms; /* Acknowledged, or said in this stream's Hello. */
};

struct sync_peer { /* sync_rpc.c */
    struct list link;
    struct nodes *nodes;
    struct rpc_stream *stream;
    struct node_entry *entry; /* NULL before Hello. */
    struct map have;          /* key -> struct have */
    uint64_t nonce;           /* Of the last update. */
    bool dirty;               /* Something changed since the last difference was computed. */
    uint64_t refused;         /* Generation the node refused: not sent again. */
    uint32_t refused_era;
    /* The update under way. */
    struct nodes_resources *sending; /* NULL: none. */
    size_t index;
    uint32_t chunk;
    bool sent; /* Whole; the answer is awaited. */
    uint64_t sent_at_ns;
    uint64_t expires_ms;
};

/* The way of one candidate, "params/<policy>/candidate" and what belongs to it, over the nodes. */
struct nodes_wave {
    struct list link; /* Of nodes->waves. */
    char policy[NODES_KEY_BYTES];
    char params_key[NODES_WAVE_KEY_BYTES], artifact_key[NODES_WAVE_KEY_BYTES];
    char params[NODES_VERSION_BYTES];
    char artifact[NODES_VERSION_BYTES]; /* Empty: none of its own. */
    enum wave_step step;
    uint64_t wait_until_ms;             /* One that had just got it is away. */
    size_t room;                        /* How many more may be sent it; counted at each tick. */
    const struct sync_peer *granted_to; /* By the last waves_view only. */
    bool listed;
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
    struct list waves;
    uint32_t waves_era; /* Of the generation that they were found in. */
    uint64_t waves_generation;
    struct rates *rates; /* NULL: none are shared out here. */
    uv_timer_t debounce_timer, heartbeat_timer, tick_timer;
    unsigned handles;
    uint64_t changed_since_ms; /* First change of a debounce, 0: none waiting. */
    size_t outstanding;        /* Batches at the intake, reports at the lease service. */
    bool draining, closing, server_closed;
    void (*on_closed)(void *user);
    void *closed_user;
};

/* The entry of a node, made if need be. NULL: at the limit, or no memory. */
struct node_entry *nodes_entry(struct nodes *n, const char *id);
/* DNS name in the certificate of any node: for deployments that give all their nodes one. */
#define NODES_ROLE_NAME "steelyard-node"
/* Is this a usable id, and may the peer's certificate use it: does it name the node (nodes with
 * certificates of their own), or the role of nodes? 0 or an RPC code. */
int nodes_check_id(const struct rpc_stream *stream, const char *id);
const char *nodes_refusal(int code);    /* For the one who is refused; static. */
void nodes_batch_done(struct nodes *n); /* One less outstanding. */
/* When a stream made now should be closed, so that streams spread again. */
uint64_t nodes_stream_expiry(const struct nodes *n);
/* on_end of every stream here: who says no more is let go. */
void nodes_stream_end(struct rpc_stream *stream, void *user);

void sync_peer_accept(struct nodes *n, struct rpc_stream *stream);
void sync_peers_push(struct nodes *n);
void sync_peers_heartbeat(struct nodes *n);
void sync_peers_tell(struct nodes *n); /* A heartbeat at once: something is new in it. */
void sync_peers_tick(struct nodes *n);
void sync_peers_end(struct nodes *n);
/* When the node got what it has under this key; UINT64_MAX: nothing. */
uint64_t sync_peer_since(const struct sync_peer *p, struct str key);
bool sync_peer_holds(const struct sync_peer *p, struct str key, struct str version);
void push_peer_accept(struct nodes *n, struct rpc_stream *stream);
void push_peers_tick(struct nodes *n);
void push_peers_drain(struct nodes *n);
void lease_peer_accept(struct nodes *n, struct rpc_stream *stream);
void lease_peers_tick(struct nodes *n);
void lease_peers_drain(struct nodes *n);
void rates_peer_accept(struct nodes *n, struct rpc_stream *stream);
void rates_peers_tick(struct nodes *n);
void rates_peers_end(struct nodes *n);

/* waves.c. What of the current generation this node may be sent: it, or a part of it; a reference.
 * NULL: out of memory. */
struct nodes_resources *waves_view(struct nodes *n, const struct sync_peer *p,
                                   struct nodes_resources *current);
void waves_update(struct nodes *n, const struct nodes_resources *current);
bool waves_tick(struct nodes *n); /* true: some wave has room for another node. */
/* A node refused what was sent. true: for what came by a wave, which has stopped. */
bool waves_refused(struct nodes *n, const struct sync_peer *p, const struct nodes_resources *sent,
                   const struct nodes_push_result *result);
void waves_left(struct nodes *n, const struct sync_peer *p); /* Its stream has ended. */
void waves_clear(struct nodes *n);

#endif
