/* shipper_internal.h: shared by shipper.c and shipper_age.c. Control loop. */
#ifndef STEELYARD_DATAPLANE_TELEMETRY_SHIPPER_INTERNAL_H
#define STEELYARD_DATAPLANE_TELEMETRY_SHIPPER_INTERNAL_H

#include "common/link/rpc_keep.h"
#include "dataplane/telemetry/shipper.h"
#include "dataplane/telemetry/shipper_batch.h"
#include "dataplane/telemetry/shipper_pace.h"
#include "dataplane/telemetry/shipper_read.h"

struct ship_epoch {
    struct list link;
    struct spool_epoch *epoch;
    struct shipper_cursor cursor;
    uint64_t acked;       /* Every seq up to here is committed. */
    uint64_t counted;     /* Of them, subtracted from the set's records. */
    uint64_t acked_at_ms; /* When `acked` last moved. */
    uint64_t rewound_to;  /* Last expected_seq obeyed. */
    uint64_t rewound_at_ms;
    bool more; /* Stopped by window or credit. */
    struct shipper_pace pace;
};

struct ship_batch { /* Sent, not acknowledged. */
    struct list link;
    struct ship_epoch *epoch;
    uint64_t last_seq;
    uint64_t bytes;
};

struct shipper {
    struct shipper_options options;
    struct rpc_keep *keep;
    bool closing;
    bool contacted; /* The plane answered on this stream. */
    uv_timer_t batch_timer;
    uv_async_t synced; /* The sync thread has brought more. */
    unsigned handles;  /* Not closed yet. */
    struct list epochs;
    struct list batches;
    uint64_t sent_bytes;        /* On this stream. */
    uint64_t credit_bytes;      /* On this stream. */
    uint64_t passed_bytes;      /* Acknowledged, ever. */
    struct shipper_batch batch; /* Under construction. */
    struct shipper_status status;
    void (*on_closed)(void *user);
    void *closed_user;
};

void shipper_epoch_free(struct shipper *s, struct ship_epoch *e);
/* shipper_age.c: deletes what is acknowledged and kept long enough, or what there is no room for.
 */
void shipper_age(struct shipper *s);

#endif
