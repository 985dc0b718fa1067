/* replicas.h: what the control planes on one database know of each other: which there are, and
 * which node is connected to which of them. Each keeps its own rows: when something changed, and
 * every 10 s. A row counts while its replica was seen in the last REPLICAS_ALIVE_S seconds. */
#ifndef STEELYARD_CONTROLPLANE_REPLICAS_REPLICAS_H
#define STEELYARD_CONTROLPLANE_REPLICAS_REPLICAS_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "controlplane/store/work.h"

#define REPLICAS_ALIVE_S    30
#define REPLICAS_ID_BYTES   128
#define REPLICAS_NODE_MAX   4096U /* Nodes of a list. */
#define REPLICAS_TEXT_BYTES 96

struct replicas_node {
    char node_id[64];
    char replica[REPLICAS_ID_BYTES]; /* Ignored when it is written. */
    char build[64];
    char peer[REPLICAS_TEXT_BYTES];
    bool connected;
    uint64_t applied; /* Generation. */
    uint64_t nacked;  /* The last one it refused; 0: none. */
    uint64_t epoch;
    uint64_t spool_records, spool_bytes, inflight;
    int64_t seen_us;
};

/* --- keeping one's own rows; loop thread --- */

struct replicas;
struct replicas_config {
    struct work *work;   /* Borrowed until replicas_close is done. */
    const char *id;      /* Copied, as are the next two. */
    const char *address; /* Where nodes reach this replica. */
    const char *build;
    uint32_t every_ms; /* 0: 10 s. */
    /* The node with this index as it is now; false: there are no more. */
    bool (*node_at)(void *arg, size_t index, struct replicas_node *out_node);
    /* Names of the roles led here, for people; may be NULL. */
    void (*leads)(void *arg, char *out, size_t out_bytes);
    void *arg;
};
int replicas_start(uv_loop_t *loop, const struct replicas_config *config,
                   struct replicas **out_replicas, struct err *err) MUST_CHECK;
/* Something changed: rows follow within 200 ms. NULL is allowed. */
void replicas_touch(struct replicas *r);
/* Takes its rows back, if Postgres answers. */
void replicas_close(struct replicas *r, void (*cb)(void *arg), void *arg);

/* --- asking; blocking, worker thread --- */

/* How many nodes are connected to any living replica, and how many of them run this generation or a
 * later one. */
int replicas_acked(struct pq_conn *c, uint64_t generation, uint64_t *out_acked,
                   uint64_t *out_connected, struct err *err) MUST_CHECK;
/* The nodes that any replica knows, by id. A node whose replica is not alive is not connected. The
 * caller frees the list with mem_free. */
int replicas_nodes(struct pq_conn *c, struct replicas_node **out_nodes, size_t *out_count,
                   struct err *err) MUST_CHECK;

#endif
