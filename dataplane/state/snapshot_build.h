/* snapshot_build.h: resource bodies -> snapshot, or the reason why not. Pure but for resolving
 * secret references. Control loop. */
#ifndef STEELYARD_DATAPLANE_STATE_SNAPSHOT_BUILD_H
#define STEELYARD_DATAPLANE_STATE_SNAPSHOT_BUILD_H

#include "dataplane/credential/keeper.h"
#include "dataplane/state/resources.h"
#include "dataplane/state/snapshot.h"

/* What a NACK says. Codes: MALFORMED, INVALID, REFERENCE, DUPLICATE, LIMIT, VERSION (a policy
 * version that is older, or has another content), ARTIFACT_<reason of common/route>, NOMEM; made by
 * sync: CHECKSUM, CHUNKS, STALE, CRASHED, DISK. */
struct snapshot_refusal {
    char key[RESOURCE_KEY_BYTES_MAX + 1];
    char version[SHA256_HEX_BYTES];
    char code[48];
    char detail[256];
};

struct snapshot_inputs {
    uint32_t era;
    uint64_t generation;
    /* In service, or NULL: policy versions must not go back, decoded artifacts are shared. */
    const struct snapshot *previous;
    /* Of credentials that are fetched; NULL: providers that need one are not used. */
    struct keeper *keeper;
    /* NULL: secret_resolve. Tests and fuzzers bring their own. */
    int (*resolve)(struct str reference, struct secret **out_secret, struct err *err);
};
/* Takes `set` on success (it lives as long as the snapshot). One reference for the caller. On error
 * (any ERR_*) *out_refusal says why and set stays the caller's. */
int snapshot_build(struct resource_set *set, const struct snapshot_inputs *inputs,
                   struct snapshot **out_snapshot, struct snapshot_refusal *out_refusal) MUST_CHECK;
/* Some provider's key file holds another key than the snapshot, and each of them can be read.
 * Reads files. */
bool snapshot_secrets_changed(const struct snapshot *s);
void snapshot_free(struct snapshot *s); /* By the last snapshot_unref. */

/* "https://host[:port][/prefix]" into its parts; false: not such a URL. Pure. */
bool snapshot_parse_url(struct str url, bool *out_tls, struct str *out_host, uint16_t *out_port,
                        struct str *out_prefix);

#endif
