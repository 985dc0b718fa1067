/* keeper.h: fetches the credentials that are not fixed, and keeps them fresh. One source a struct
 * credential; whoever takes the same source shares it. A token is fetched again at about four
 * fifths of its life, no two nodes at once (jitter); while that fails the old one serves until it
 * expires, and what happens is logged when it changes. Belongs to the control loop; workers only
 * read what it writes.
 *
 * Sources follow the environment of the programs of their clouds:
 *   AWS web identity: AWS_ROLE_ARN, AWS_WEB_IDENTITY_TOKEN_FILE, AWS_ROLE_SESSION_NAME,
 *   AWS_ENDPOINT_URL_STS; Google's metadata: GCE_METADATA_HOST. */
#ifndef STEELYARD_DATAPLANE_CREDENTIAL_KEEPER_H
#define STEELYARD_DATAPLANE_CREDENTIAL_KEEPER_H

#include <uv.h>

#include "common/base/err.h"
#include "dataplane/credential/credential.h"

#define KEEPER_SOURCES_MAX 256U

enum keeper_kind {
    KEEPER_AWS_KEYS, /* As given; nothing is fetched. */
    KEEPER_AWS_WEB_IDENTITY,
    KEEPER_GOOGLE_ACCOUNT,
    KEEPER_GOOGLE_METADATA,
};

struct keeper_options {
    uv_loop_t *loop;
    const char *(*env)(const char *name); /* NULL: the process's. */
};

struct keeper;
struct keeper *keeper_create(const struct keeper_options *options); /* NULL: out of memory. */
/* cb once, later. What was taken stays valid until it expires. */
void keeper_close(struct keeper *k, void (*cb)(void *arg), void *arg);

/* secret: the account's JSON, or keys of AWS as an operator gave them. region: of AWS. One
 * reference for the caller; what nobody else holds is let go of. The first fetch begins at once. k
 * may be NULL for KEEPER_AWS_KEYS. ERR_INVALID: the secret is no such one; ERR_NOT_FOUND: the
 * environment does not say what is needed; ERR_LIMIT, ERR_NOMEM. */
int keeper_take(struct keeper *k, enum keeper_kind kind, struct str secret, struct str region,
                struct credential **out) MUST_CHECK;

struct keeper_status {
    uint32_t sources;
    uint32_t valid;
    uint64_t fetched; /* Since start. */
    uint64_t failed;
};
void keeper_get_status(const struct keeper *k, struct keeper_status *out);

#endif
