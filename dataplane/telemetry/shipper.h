/* shipper.h: sends the spool's records to the control plane and deletes what was committed there.
 * Runs on the node's control loop beside sync, over the same rpc_client. Tails all epochs, old ones
 * first; batches of at most 500 records or 256 KiB, at least 32 unless they have waited 200 ms; at
 * most 8 MiB unacknowledged and never more than the plane's credit, one batch waiting behind another
 * (docs/decisions/0277). After a reconnect everything
 * unacknowledged is sent again; the plane drops what it has. Acknowledged segments are kept ten
 * minutes (at most 64 MiB) in case the database loses its last commits and asks for them again. */
#ifndef STEELYARD_DATAPLANE_TELEMETRY_SHIPPER_H
#define STEELYARD_DATAPLANE_TELEMETRY_SHIPPER_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "common/base/err.h"
#include "common/link/rpc.h"
#include "dataplane/telemetry/spool.h"

struct shipper_options {
    uv_loop_t *loop;
    struct rpc_client *client; /* Borrowed. */
    struct spool_set *spools;  /* Borrowed. */
    const char *node_id;
    const char *build;
    uint32_t batch_ms;     /* 0: 200. */
    uint64_t keep_ms;      /* 0: ten minutes. */
    uint64_t keep_bytes;   /* 0: 64 MiB. */
    uint64_t window_bytes; /* 0: 8 MiB. */
    struct rpc_backoff backoff;
};

struct shipper;
int shipper_create(const struct shipper_options *options, struct shipper **out_shipper,
                   struct err *err) MUST_CHECK;
void shipper_start(struct shipper *shipper);
/* Sends what is synced now, without waiting for the batch timer (drain, tests). */
void shipper_kick(struct shipper *shipper);
/* cb once, later; the object is gone then. Close it before the client and the spools. */
void shipper_close(struct shipper *shipper, void (*cb)(void *user), void *user);

struct shipper_status {
    bool connected;
    uint64_t sent_records; /* Resent ones too. */
    uint64_t acked_records;
    uint64_t unacked_bytes;
    uint64_t gaps;        /* Gap records sent. */
    uint64_t quarantined; /* Frames found corrupt while tailing. */
    uint64_t reconnects;
    bool idle; /* Everything that is synced was acknowledged. */
};
void shipper_get_status(const struct shipper *shipper, struct shipper_status *out_status);

#endif
