/* resources.h: the bodies the control plane sent, by key. A set is small (one entry a key); bodies
 * are shared between sets by reference counts, so that a change of one key copies pointers only.
 * Control loop; counts are atomic because the last snapshot may go elsewhere in tests. */
#ifndef STEELYARD_DATAPLANE_STATE_RESOURCES_H
#define STEELYARD_DATAPLANE_STATE_RESOURCES_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/list.h"
#include "common/base/map.h"
#include "common/base/str.h"
#include "common/crypto/digest.h"

#define RESOURCES_MAX          4096U
#define RESOURCE_BODY_MAX      67108864U
#define RESOURCES_BYTES_MAX    536870912U
#define RESOURCE_KEY_BYTES_MAX 300U

struct resource {
    atomic_uint refs;
    uint32_t type;  /* ResourceType */
    uint32_t ttl_s; /* As it came with it; 0: none said. Set after it was made. */
    struct str key;
    char version[SHA256_HEX_BYTES];
    struct sha256 sha256;
    struct str body;
};
/* Copies key and body; computes the version. NULL: out of memory. */
struct resource *resource_create(uint32_t type, struct str key, struct str body);
struct resource *resource_ref(const struct resource *r);
/* "keys/00" to "keys/ff", and "keys" of older control planes: who may come in. Kept on disk apart
 * from the rest, newest only: no way back to an older configuration brings an older key back. */
bool resource_holds_keys(struct str key);
void resource_unref(struct resource *r);

struct resource_set {
    struct map by_key;
    uint64_t bytes;
};
struct resource_set *resource_set_create(void);
struct resource_set *resource_set_clone(const struct resource_set *set); /* NULL: no memory. */
void resource_set_destroy(struct resource_set *set);                     /* NULL is allowed. */
/* Takes the reference, also on error. ERR_LIMIT, ERR_TOO_LARGE, ERR_NOMEM. */
int resource_set_put(struct resource_set *set, struct resource *r) MUST_CHECK;
void resource_set_remove(struct resource_set *set, struct str key);
const struct resource *resource_set_get(const struct resource_set *set, struct str key);

/* A file of a version before manifests: "SYSNAP1\n" | sha256 of the rest | PlaneMsg with every
 * resource whole. ERR_CORRUPT, ERR_VERSION, ERR_NOMEM. */
int resource_set_decode(struct str file, struct resource_set **out_set, uint32_t *out_era,
                        uint64_t *out_generation) MUST_CHECK;

#endif
