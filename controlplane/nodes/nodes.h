/* nodes.h: where nodes come in: the gRPC server of Control.Sync, Telemetry.Push Budget.Lease
 * and Rates.Share,
 * one object per connected node. It moves messages and keeps the protocol's rules; what a
 * generation holds and how records are stored is behind two tables of callbacks which the plane
 * fills (release/ and ingest/).
 *
 * Everything runs on the plane's loop. */
#ifndef STEELYARD_CONTROLPLANE_NODES_NODES_H
#define STEELYARD_CONTROLPLANE_NODES_NODES_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/str.h"
#include "common/link/rpc.h"
#include "controlplane/budgets/lease_store.h"

#define NODES_ID_BYTES          64 /* Of a node id, with the NUL. */
#define NODES_BATCH_RECORDS_MAX 1000U
#define NODES_BATCH_RAW_MAX     4194304U
#define NODES_RECORD_BYTES_MAX  131072U

/* ---- resources: one immutable, reference-counted list per generation ---- */

struct nodes_resource {
    struct str key;     /* "catalogue", "params/default", ... */
    uint32_t type;      /* ResourceType of control.proto. */
    struct str version; /* Hex sha256 of body. */
    struct str body;
    uint32_t ttl_s;
};
struct nodes_resources;
/* Nothing is copied: what is added is borrowed until release(owner), which is called once, with the
 * last reference (release may be NULL). One reference. NULL: out of memory, release is not called.
 */
struct nodes_resources *nodes_resources_create(uint32_t era, uint64_t generation,
                                               void (*release)(void *owner), void *owner);
/* In push order (catalogue, prices, limits, artifacts, params, keys, rollouts). ERR_EXISTS for a
 * repeated key, ERR_NOMEM. Before anyone else holds a reference. */
int nodes_resources_add(struct nodes_resources *r,
                        const struct nodes_resource *resource) MUST_CHECK;
uint32_t nodes_resources_era(const struct nodes_resources *r);
uint64_t nodes_resources_generation(const struct nodes_resources *r);
size_t nodes_resources_count(const struct nodes_resources *r);
const struct nodes_resource *nodes_resources_at(const struct nodes_resources *r, size_t index);
const struct nodes_resource *nodes_resources_find(const struct nodes_resources *r, struct str key);
/* Must the step from one generation to another skip the debounce? Keys (a revocation) and
 * parameters (a rollback) must. before NULL: yes. */
bool nodes_resources_urgent(const struct nodes_resources *before,
                            const struct nodes_resources *now);
struct nodes_resources *nodes_resources_ref(struct nodes_resources *r);
void nodes_resources_unref(struct nodes_resources *r); /* NULL is allowed. */

/* ---- what the plane provides ---- */

struct nodes_nack {
    struct str key;
    struct str version;
    struct str code;
    struct str detail; /* From the node: escape it where it is shown. */
};
struct nodes_push_result {
    const char *node_id;
    uint32_t era;
    uint64_t generation; /* The one that was pushed. */
    uint64_t applied;    /* What the node serves now. */
    bool accepted;
    uint64_t latency_us;            /* From the push to the answer. */
    const struct nodes_nack *nacks; /* When not accepted. */
    size_t nack_count;
};

struct nodes_release_ops {
    /* The current generation, with a reference for the caller; NULL: nothing is published yet. */
    struct nodes_resources *(*resources)(void *plane);
    void (*on_result)(void *plane, const struct nodes_push_result *result);
    /* A node's Sync stream came or went, or a Health arrived (NULL is allowed). */
    void (*on_node)(void *plane, const char *node_id, bool connected);
    /* A node refused the candidate of this policy, or its rollout, or died of what brought it: the
     * wave has stopped, nodes that have not got it do not get it (wave.h). on_result comes first.
     * NULL is allowed. */
    void (*on_wave_nack)(void *plane, struct str policy, const struct nodes_push_result *result);
};

/* A batch as it came, after decompression: `records` is a packed RecordList whose framing was
 * checked (count entries, each at most NODES_RECORD_BYTES_MAX); the records themselves were not
 * read: a single bad one is the intake's to put aside (B43, F10). Seqs
 * first_seq..first_seq+count-1, but a Gap travels alone in its batch (count 1) and covers from..to.
 */
struct nodes_batch {
    const char *node_id; /* The authenticated name under mTLS; UUID text. */
    uint64_t epoch;
    uint64_t first_seq;
    uint32_t count;
    struct buf records; /* submit may take the memory (and empty it). */
};
struct nodes_intake_result {
    int status; /* 0: committed. ERR_CONFLICT: see expected_seq. Else: not stored, try again later.
                 */
    uint64_t acked_through; /* Committed up to here, for status 0. */
    uint64_t expected_seq;  /* For ERR_CONFLICT: what must come next. */
};
typedef void (*nodes_intake_cb)(void *user, const struct nodes_intake_result *result);
struct nodes_intake_ops {
    /* 0: cb exactly once, later, after the COMMIT (or its failure). An error (ERR_BUSY): no cb; the
     * batch is offered again a little later, and the node's stream is not read until then. */
    int (*submit)(void *plane, struct nodes_batch *batch, nodes_intake_cb cb, void *user);
    /* false: the store is away, nodes get no credit and keep their records. NULL: always true. */
    bool (*ready)(void *plane);
};

/* Both: 0: cb exactly once, later, and what is passed stays where it is until then. An error: no
 * cb, the stream is closed. */
typedef void (*nodes_lease_cb)(void *user, int status, const struct lease_reply *reply);
struct nodes_lease_ops {
    int (*report)(void *plane, const struct lease_report *report, nodes_lease_cb cb, void *user);
    int (*recalls)(void *plane, const struct uuid *node_id, uint64_t epoch, nodes_lease_cb cb,
                   void *user);
    uint32_t fence_after_s; /* Told to nodes; 0: GRANT_FENCE_AFTER_S. */
};

/* ---- the server ---- */

struct nodes_options {
    uv_loop_t *loop;
    const char *address; /* --sync-listen */
    struct rpc_tls tls;  /* cert_file NULL: plain text, loopback and unix only. */
    const struct nodes_release_ops *release;
    const struct nodes_intake_ops *intake;
    const struct nodes_lease_ops *lease; /* NULL: no budgets are shared out here. */
    void *plane;                         /* First argument of all of them. */
    uint32_t nodes_max;                  /* 0: 1000. */
    uint32_t debounce_ms;                /* 0: 100. */
    uint32_t debounce_max_ms;            /* 0: 10000. */
    uint32_t heartbeat_ms;               /* 0: 10000. */
    uint64_t stream_max_ms;   /* 0: 30 min, +- 20 %: streams are closed and spread again. */
    uint64_t credit_bytes;    /* Unacknowledged payload per node; 0: 8 MiB. */
    uint32_t wave_healthy_ms; /* A candidate must have served so long; 0: 30000. */
};

struct nodes;
int nodes_start(const struct nodes_options *options, struct nodes **out_nodes,
                struct err *err) MUST_CHECK;
const char *nodes_address(const struct nodes *nodes); /* As bound. */
/* The current generation changed: push it, after the debounce unless urgent. */
void nodes_changed(struct nodes *nodes, bool urgent);
/* From now on shares of rates are handed out here (term > 0, above every earlier holder's; first:
 * there was none), or here no more (0): then nodes are sent on with RPC_UNAVAILABLE. A node finds
 * who does by trying one control plane after the other. ERR_NOMEM: they are not. */
int nodes_lead_rates(struct nodes *nodes, uint64_t term, bool first) MUST_CHECK;
/* Something was recalled from this node: if it is connected here, tell it. */
void nodes_recall(struct nodes *nodes, struct str node_id);

/* Rollouts whose guards somebody looks at: said to every node connected here with each heartbeat,
 * whereupon their ttl starts again. Replaces what was said before, copies; an id that is new is
 * told at once. Above NODES_ROLLOUTS_MAX the rest is left out. Call it with count 0 when nobody
 * looks any more: candidates then revert by themselves when their ttl ends. */
#define NODES_ROLLOUTS_MAX 256U
void nodes_watch(struct nodes *nodes, const uint64_t *ids, size_t count);
/* Back to stable at once and for good, on every node connected here, without a generation: nodes
 * remember the id and never serve it again, whatever is published (a new attempt is a new id). Said
 * again with every heartbeat and to every node that connects, for the last NODES_ROLLOUTS_MAX ids.
 * For a halt that may be resumed publish a generation without the rollout, or stop watching. */
void nodes_abort(struct nodes *nodes, uint64_t id);
/* Nothing more is taken in: new streams are refused, so that nodes go to another control plane;
 * those about telemetry and budgets end when what was taken on them is answered. Sync streams go on
 * until nodes_close: an abort still gets to the nodes. */
void nodes_drain(struct nodes *nodes);
size_t nodes_outstanding(const struct nodes *nodes); /* Batches and reports under way. */
/* cb once, after all streams ended; batches at the intake are waited for. Streams on which nothing
 * is under way are ended, the others cut after grace_ms. */
void nodes_close(struct nodes *nodes, uint64_t grace_ms, void (*cb)(void *user), void *user);

/* ---- for GET /status and promotion gates ---- */

struct nodes_info {
    const char *node_id;
    bool connected; /* Its Sync stream is open. */
    bool shipping;  /* Its Push stream is open. */
    const char *build;
    const char *peer;
    uint32_t era;
    uint64_t generation;        /* Acknowledged. */
    uint64_t nacked_generation; /* The last it refused, 0: none. */
    uint64_t epoch;
    int64_t last_seen_us;
    uint64_t spool_records;
    uint64_t spool_bytes;
    uint32_t inflight;
    uint64_t requests;
};
size_t
nodes_count(const struct nodes *nodes); /* Known ones: connected, or seen in the last hour. */
/* index < nodes_count; borrowed until the next loop turn. */
void nodes_get_info(const struct nodes *nodes, size_t index, struct nodes_info *out_info);
size_t nodes_connected(const struct nodes *nodes);
bool nodes_is_connected(const struct nodes *nodes, struct str node_id);
/* Where a generation is, among the nodes connected here. */
struct nodes_spread {
    uint64_t connected;
    uint64_t acked; /* Serve it or a later one. */
    uint64_t owing; /* Do not, and may soon: they have not refused it, and have not owed an answer
                     * to what was sent to them for silent_ms. */
};
struct nodes_spread nodes_spread(const struct nodes *nodes, uint64_t generation,
                                 uint64_t silent_ms);
/* How many connected nodes have acknowledged this resource in this version ("rollout/auto": a
 * stage has begun where nearly all have it). */
size_t nodes_holding(const struct nodes *nodes, struct str key, struct str version);

#endif
