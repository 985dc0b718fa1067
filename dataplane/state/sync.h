/* sync.h: the node's side of Control.Sync. Keeps one stream to the control plane, takes what it
 * sends, builds and verifies the next snapshot, saves it to disk, puts it in service, and answers
 * ACK or NACK. Without a control plane the node serves what it has, for ever.
 *
 * Belongs to the node's control loop: building happens there, off the workers' threads.
 * Order of an update: verify and build, write to disk with marker `applying`, publish, ACK; the
 * marker is removed after 30 s of service. A node that finds the marker at its start died with that
 * snapshot: it loads the one before and refuses that generation with code CRASHED. */
#ifndef STEELYARD_DATAPLANE_STATE_SYNC_H
#define STEELYARD_DATAPLANE_STATE_SYNC_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "common/base/err.h"
#include "common/link/rpc.h"
#include "dataplane/state/snapshot.h"

struct sync_health { /* What Health reports. */
    uint64_t spool_records;
    uint64_t spool_bytes;
    uint32_t inflight;
    uint64_t requests;
};

struct sync_options {
    uv_loop_t *loop;
    struct rpc_client *client; /* NULL: no control plane; only what is on disk. Borrowed. */
    const char *state_dir;     /* Snapshots live in state_dir/snapshot. */
    const char *node_id;       /* UUID text. */
    const char *build;
    uint64_t epoch;                                             /* Of this process, for Hello. */
    struct snapshot_cell *cell;                                 /* Borrowed. */
    struct keeper *keeper; /* Borrowed; NULL: no credential is fetched. */
    void (*health)(void *user, struct sync_health *out_health); /* NULL: zeros. */
    /* A snapshot went into service (also the one from disk). */
    void (*on_applied)(void *user, const struct snapshot *snapshot);
    void *user;
    uint32_t health_ms; /* 0: 10000. */
    uint32_t settle_ms; /* 0: 30000: how long a snapshot must serve before its marker goes. */
    struct rpc_backoff backoff;
};

struct sync;
/* Loads the last good snapshot, if there is one, and publishes it before returning. A missing or
 * unreadable one is no error (*out_loaded false): the node is not ready until the first push. */
int sync_create(const struct sync_options *options, struct sync **out_sync, bool *out_loaded,
                struct err *err) MUST_CHECK;
void sync_start(struct sync *sync);
/* Builds the snapshot in service again when a provider's key on this node is another than the one
 * in use: its file was replaced, or has come. Nothing is sent, saved or counted; while a file
 * cannot be read, all stays as it is. True: there are new keys. */
bool sync_refresh_secrets(struct sync *sync);
/* cb once, later; the object is gone then. Close it before the client. */
void sync_close(struct sync *sync, void (*cb)(void *user), void *user);

struct sync_status {
    bool connected;
    uint32_t era;
    uint64_t generation; /* In service, 0: none. */
    uint64_t acked;      /* Messages applied since start. */
    uint64_t nacked;     /* Refused since start. */
    uint64_t reconnects;
    int64_t last_contact_us;   /* Wall clock of the last message, 0: never. */
    char last_nack[256];       /* "CODE key: detail" of the last refusal, or empty. */
    size_t rollouts_open;      /* Whose candidate is in use here. */
    uint64_t rollouts_expired; /* Since start: nobody watched them for their ttl ... */
    uint64_t rollouts_aborted; /* ... and by the control plane's word. */
};
void sync_get_status(const struct sync *sync, struct sync_status *out_status);

#endif
