/* snapshot_disk.h: the last good snapshot and the one before, for starts without a control plane.
 *
 *   state-dir/snapshot/current    resources.h's file
 *   state-dir/snapshot/previous   the one before it
 *   state-dir/snapshot/applying   "era generation deaths": current has not yet served for 30 s
 *   state-dir/snapshot/crashed    "era generation": blamed for crashes, refused until a newer one
 * came
 *
 * A marker at start means a process died soon after applying. The first death is counted (power,
 * OOM and kill -9 are no fault of a snapshot); the second one brings `previous` back. Control loop.
 */
#ifndef STEELYARD_DATAPLANE_STATE_SNAPSHOT_DISK_H
#define STEELYARD_DATAPLANE_STATE_SNAPSHOT_DISK_H

#include "common/base/err.h"
#include "dataplane/state/resources.h"

#define SNAPSHOT_DEATHS_MAX 2U

struct snapshot_loaded {
    struct resource_set *set; /* NULL: nothing usable on disk. The caller's. */
    uint32_t era;
    uint64_t generation;
    bool unsettled; /* The marker is there: it goes after 30 s of service. */
    bool has_crashed;
    uint32_t crashed_era;
    uint64_t crashed_generation;
};
/* dir is made if missing. An unreadable file is passed over, not an error. */
int snapshot_disk_load(const char *dir, struct snapshot_loaded *out, struct err *err) MUST_CHECK;
int snapshot_disk_save(const char *dir, const struct resource_set *set, uint32_t era,
                       uint64_t generation, struct err *err) MUST_CHECK;
/* The snapshot in service has proved itself, or the process ends in order. */
void snapshot_disk_settle(const char *dir);

#endif
