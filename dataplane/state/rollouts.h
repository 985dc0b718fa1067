/* rollouts.h: which rollouts' candidates this node may use right now. A rollout that came with a
 * snapshot opens, and stays open as long as the control plane says within its ttl that somebody
 * looks at its guards; then its gate closes and every request is served by the stable version
 * again, without a control plane and without a new snapshot. An aborted one closes for good, also
 * over restarts. docs/decisions/0170 has the reasons.
 *
 *   arrives -> OPEN -> (ttl ends) -> CLOSED -> (watched again, still listed) -> OPEN
 *   any -> (aborted) -> ABORTED, remembered by id; any -> (not in the snapshot) -> forgotten
 *
 * Pure but for the gates: time is an argument, nothing is read, written or logged here. Running
 * ttls count monotonic time; what is kept for the next start is wall-clock time, and a clock that
 * went backwards counts as a ttl that ended. Control loop. */
#ifndef STEELYARD_DATAPLANE_STATE_ROLLOUTS_H
#define STEELYARD_DATAPLANE_STATE_ROLLOUTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "dataplane/state/snapshot.h"

#define ROLLOUTS_MAX            SNAPSHOT_POLICIES_MAX
#define ROLLOUTS_ABORTED_MAX    256U /* The latest ids are remembered. */
#define ROLLOUTS_FILE_BYTES_MAX 65536U

struct rollouts_time {
    uint64_t mono_ms;
    int64_t wall_us;
};

enum rollouts_event {
    ROLLOUTS_OPENED,  /* The candidate is in use. */
    ROLLOUTS_EXPIRED, /* Nobody watched it for its ttl. */
    ROLLOUTS_ABORTED,
    ROLLOUTS_REVIVED, /* Watched again after it had expired. */
};
typedef void (*rollouts_event_cb)(void *user, uint64_t id, enum rollouts_event event);

struct rollouts_entry { /* Private, as the rest. */
    uint64_t id;
    char version[SHA256_HEX_BYTES];
    struct rollout_gate *gate;
    bool may_open; /* Its state is one that is known. */
    uint32_t ttl_ms;
    uint64_t watched_mono_ms; /* Arrived, or watched last. */
    int64_t watched_wall_us;
    int64_t saved_wall_us; /* As it stands on disk. */
};
struct rollouts {
    rollouts_event_cb on_event;
    void *user;
    size_t count;
    struct rollouts_entry entries[ROLLOUTS_MAX];
    size_t aborted_count, aborted_next;
    uint64_t aborted[ROLLOUTS_ABORTED_MAX];
    /* Read from disk: when each was watched last, for the first snapshot. */
    size_t known_count;
    struct rollouts_known {
        uint64_t id;
        int64_t watched_wall_us;
    } known[ROLLOUTS_MAX];
    bool unsaved; /* Something is not on disk that has to be there soon. */
};
void rollouts_init(struct rollouts *r, rollouts_event_cb on_event, void *user);
void rollouts_deinit(struct rollouts *r); /* Lets go of the gates; leaves them as they are. */

/* This snapshot goes into service. fresh: from the control plane just now, so that the ttl of a
 * rollout begins whose resource is new or another than before; else from disk, where it goes on
 * from what was saved. What is in it no more is closed. Before the snapshot is published. */
void rollouts_take(struct rollouts *r, const struct snapshot *s, bool fresh,
                   struct rollouts_time now);
/* The ttl starts again. One that expired comes back only if still_listed: the control plane's
 * configuration, which lists it, is the one in service here. Unknown and aborted ids: nothing. */
void rollouts_watch(struct rollouts *r, uint64_t id, bool still_listed, struct rollouts_time now);
void rollouts_abort(struct rollouts *r, uint64_t id);
/* Closes what has expired. Returns the milliseconds until the next one does, 0: none is open. */
uint64_t rollouts_expire(struct rollouts *r, uint64_t mono_ms);
size_t rollouts_open(const struct rollouts *r); /* How many are. */

/* ---- what the next start must know ---- */

/* Something is worth writing: an abort, an opening, or a watch a minute newer than what is there.
 */
bool rollouts_need_save(const struct rollouts *r);
/* A text of lines with its checksum; rollouts_saved when it is on disk. ERR_NOMEM. */
int rollouts_encode(const struct rollouts *r, struct buf *out) MUST_CHECK;
void rollouts_saved(struct rollouts *r);
/* Into one that was just inited. ERR_CORRUPT: nothing was taken, so nothing opens from disk. */
int rollouts_decode(struct rollouts *r, struct str file) MUST_CHECK;

#endif
