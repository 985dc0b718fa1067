/* snapshot_disk.h: the last good snapshot and the one before, for starts without a control plane.
 *
 *   state-dir/snapshot/keys       who may come in, newest only (snapshot_files.h)
 *   state-dir/snapshot/current    the rest: catalogue, policies, ...
 *   state-dir/snapshot/previous   the rest as it was before
 *   state-dir/snapshot/bodies/    what those three name
 *   state-dir/snapshot/applying   "era generation deaths": current has not yet served for 30 s
 *   state-dir/snapshot/rollouts   when each was watched last, and which were aborted (rollouts.h)
 *   state-dir/snapshot/crashed    "era generation": blamed for crashes, refused until a newer one
 * came
 *
 * A marker at start means a process died soon after applying. The first death is counted (power,
 * OOM and kill -9 are no fault of a snapshot); the second one brings `previous` back. Keys never go
 * back: whichever of the others is loaded, they are those of `keys`; when that file is damaged,
 * nothing is loaded. So a key that was revoked before snapshot_disk_save returned is gone for good.
 * Control loop. */
#ifndef STEELYARD_DATAPLANE_STATE_SNAPSHOT_DISK_H
#define STEELYARD_DATAPLANE_STATE_SNAPSHOT_DISK_H

#include "common/base/err.h"
#include "dataplane/state/resources.h"

#define SNAPSHOT_DEATHS_MAX 2U

struct snapshot_loaded {
    struct resource_set *set; /* NULL: nothing usable on disk. The caller's. */
    uint32_t era;
    uint64_t generation;
    /* What was saved last, maybe later than the above: nothing older may be applied. */
    uint32_t newest_era;
    uint64_t newest_generation;
    size_t lost;    /* Resources of keys whose bodies are missing or damaged. */
    bool unsettled; /* The marker is there: it goes after 30 s of service. */
    bool has_crashed;
    uint32_t crashed_era;
    uint64_t crashed_generation;
};
/* dir is made if missing. An unreadable file is passed over, not an error. */
int snapshot_disk_load(const char *dir, struct snapshot_loaded *out, struct err *err) MUST_CHECK;
/* Keys first. What is on disk already is not written again. On an error keys may be saved and the
 * rest not, or nothing: call it again. */
int snapshot_disk_save(const char *dir, const struct resource_set *set, uint32_t era,
                       uint64_t generation, struct err *err) MUST_CHECK;
/* The snapshot in service has proved itself, or the process ends in order. */
void snapshot_disk_settle(const char *dir);

#endif
