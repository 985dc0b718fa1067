/* view.h: a snapshot as one worker uses it: for each deployment the worker's live state (endpoint)
 * and the connections that reach it (origin). Built when a snapshot is new to the worker, which is
 * rare; a request only pins it, with a plain counter.
 *
 * Origins are kept across snapshots while scheme, host, port, CA and address rule stay the same, so
 * that a new policy costs no connection. The credential is never part of an origin: it is read from
 * the snapshot's provider for each attempt and refused on an origin that is not the provider's
 * (promise P5). An origin says which transport its calls are made with. One thread. */
#ifndef STEELYARD_DATAPLANE_UPSTREAM_VIEW_H
#define STEELYARD_DATAPLANE_UPSTREAM_VIEW_H

#include "common/base/list.h"
#include "dataplane/state/snapshot.h"
#include "dataplane/upstream/endpoint.h"
#include "dataplane/upstream/transport.h"

struct upstream_origin {
    struct list link;
    const struct transport_ops *ops; /* How `origin` is used. */
    struct transport_origin *origin;
    uint32_t uses; /* Views that name it. */
    bool allow_private;
    char *url;
    char *ca_file; /* NULL: the system's. */
};

struct upstream_target {
    const struct snapshot_deployment *deployment;
    struct endpoint *endpoint;
    struct upstream_origin *origin; /* NULL: the address or CA cannot be used. */
};

struct upstream_view {
    const struct snapshot *snapshot;
    struct upstream_target *targets; /* By deployment ordinal. */
    uint32_t *turns;                 /* Of routes by ordinal, then of models: counted by turns. */
    /* Private. */
    struct snapshot_pin *pin;
    uint32_t uses; /* Requests, and 1 while current. */
};

enum upstream_wire_kind { UPSTREAM_WIRE_LEAN, UPSTREAM_WIRE_LIBCURL, UPSTREAM_WIRE_COUNT };
#define UPSTREAM_WIRE_DEFAULT UPSTREAM_WIRE_LEAN /* By measurement: decision 0095. */

/* One of the transports that stand side by side. */
struct upstream_wire {
    const struct transport_ops *ops;
    struct transport *transport; /* NULL: no provider has asked for it yet. */
};

struct upstream {
    struct upstream_wire wires[UPSTREAM_WIRE_COUNT]; /* The default one is there from the start. */
    uint32_t wires_closing;
    fetch_close_cb on_closed;
    void *on_closed_arg;
    uv_loop_t *loop;
    struct snapshot_reader *reader;
    struct endpoint_table endpoints;
    struct list origins;
    struct upstream_view *current;
    uint64_t origins_refused; /* Origins that could not be made. */
};

/* loop, reader and registry are borrowed. ERR_NOMEM. */
int upstream_init(struct upstream *u, uv_loop_t *loop, struct snapshot_reader *reader,
                  struct endpoint_registry *registry) MUST_CHECK;
/* No request pins a view any more. cb comes once the transports are gone; then upstream_deinit. */
void upstream_close(struct upstream *u, fetch_close_cb cb, void *arg);
void upstream_deinit(struct upstream *u);

/* After the events of each turn of the loop: what providers said in it, and, last in the turn, what
 * is said to them. */
void upstream_work(struct upstream *u);
void upstream_send(struct upstream *u);
/* About once a second: what the transports kept and did not need since is given back. */
void upstream_trim(struct upstream *u);

/* The view in service; NULL: no snapshot yet, or no memory for it. */
struct upstream_view *upstream_pin(struct upstream *u);
void upstream_unpin(struct upstream *u, struct upstream_view *view);
/* Now and then while idle: lets go of a superseded snapshot. */
void upstream_refresh(struct upstream *u);

static inline const struct upstream_target *upstream_target(const struct upstream_view *v,
                                                            const struct snapshot_deployment *d)
{
    return &v->targets[d->ordinal];
}

#endif
