/* snapshot_files.h: resources on disk, shared by snapshot_disk.c and tests only.
 *
 *   bodies/<version>   a body under the hex SHA-256 of its bytes: written once, never changed
 *   a manifest         "SYSNAP2\n" | sha256 of the rest | PlaneMsg of resources without bodies
 *
 * So what did not change is not written again, whatever its size. Control loop. */
#ifndef STEELYARD_DATAPLANE_STATE_SNAPSHOT_FILES_H
#define STEELYARD_DATAPLANE_STATE_SNAPSHOT_FILES_H

#include <protobuf-c/protobuf-c.h>

#include "common/base/err.h"
#include "dataplane/state/resources.h"

/* Which resources a manifest lists. */
enum snapshot_share {
    SNAPSHOT_SHARE_KEYS, /* resource_holds_keys */
    SNAPSHOT_SHARE_REST,
};

/* Writes the bodies of the set that are not there yet; they are on disk when it returns. */
int snapshot_bodies_store(const char *dir, const struct resource_set *set,
                          struct err *err) MUST_CHECK;

struct snapshot_manifest {
    uint32_t era;
    uint64_t generation;
    ProtobufCMessage *message; /* Private. */
};
/* Replaces the file; it is on disk when it returns. */
int snapshot_manifest_write(const char *dir, const char *name, const struct resource_set *set,
                            enum snapshot_share share, uint32_t era, uint64_t generation,
                            struct err *err) MUST_CHECK;
/* ERR_NOT_FOUND; ERR_VERSION: a file of another format; ERR_CORRUPT. Others say nothing of the file:
 * ERR_NOMEM, ERR_IO, ... */
int snapshot_manifest_read(const char *dir, const char *name,
                           struct snapshot_manifest *out) MUST_CHECK;
void snapshot_manifest_deinit(struct snapshot_manifest *m); /* Also of a zeroed one. */
/* Does it list exactly this share of the set? */
bool snapshot_manifest_lists(const struct snapshot_manifest *m, const struct resource_set *set,
                             enum snapshot_share share);
/* Puts what it lists into the set. A body that is missing or damaged is left out and counted in
 * *out_lost; a damaged file is removed, so that it is written again. Other errors: ERR_NOMEM, ...
 */
int snapshot_manifest_load(const struct snapshot_manifest *m, const char *dir,
                           struct resource_set *set, size_t *out_lost) MUST_CHECK;

/* Removes bodies that neither the set nor the manifest (a zeroed one: none) names. What fails waits for the
 * next time: nothing names such a body. */
void snapshot_bodies_collect(const char *dir, const struct resource_set *set,
                             const struct snapshot_manifest *also);

#endif
