/* worker.h: one event-loop thread: its listener (SO_REUSEPORT), its connections and requests, its
 * view of upstreams, its spool. Shares nothing with other workers but atomics.
 *
 *   created -> started (thread runs) -> quiet (no listener) -> stopping -> finished -> joined
 *
 * Functions are for the node's control thread; what they ask for is done on the worker's. */
#ifndef STEELYARD_DATAPLANE_WORKER_H
#define STEELYARD_DATAPLANE_WORKER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/base/err.h"
#include "dataplane/conn.h"

struct worker_config { /* All borrowed for the worker's life. */
    struct request_shared *shared;
    struct snapshot_reader *reader;
    struct spool *spool;
    struct metrics_shard *shard;
    struct endpoint_registry *registry;
    const char *listen;           /* With the port all workers share. */
    struct listener_limit *limit; /* Of all workers. */
    uint64_t memory_max_bytes;    /* Of the process (F24); 0: not watched. */
    uint32_t unsent_max_bytes;    /* Of a client's socket (F23); 0: the system's. */
    uint32_t send_buffer_bytes;
    struct conn_config conn;
};

struct worker;
/* Binds at once, so that a taken port is an error here. */
int worker_create(const struct worker_config *config, struct worker **out_worker,
                  struct err *err) MUST_CHECK;
int worker_start(struct worker *w, struct err *err) MUST_CHECK;
uint16_t worker_port(const struct worker *w);

void worker_quiet(struct worker *w); /* No new connections; idle ones close. */
void worker_stop(struct worker *w);  /* Cuts what is left and ends the thread. */
/* Started or not; worker_finished() for started ones, else worker_stop is implied. */
void worker_destroy(struct worker *w); /* NULL is allowed. Joins. */

/* Any thread; as of the last fifth of a second, or the last second while nothing happens. */
uint64_t worker_heartbeat_ms(const struct worker *w);
uint32_t worker_active(const struct worker *w); /* Requests under way. */
uint32_t worker_connections(const struct worker *w);
uint64_t worker_served(const struct worker *w); /* Requests ended. */
bool worker_finished(const struct worker *w);

#endif
