/* google.h: tokens of Google Cloud: a service account's key signs an assertion (RFC 7523) that is
 * changed for a token; on Google's own machines the metadata server gives one. Pure, but for the
 * signature, which takes OpenSSL's memory. */
#ifndef STEELYARD_DATAPLANE_CREDENTIAL_GOOGLE_H
#define STEELYARD_DATAPLANE_CREDENTIAL_GOOGLE_H

#include "common/base/arena.h"
#include "common/base/buf.h"

#define GOOGLE_SCOPE        "https://www.googleapis.com/auth/cloud-platform"
#define GOOGLE_TOKEN_URI    "https://oauth2.googleapis.com/token"
#define GOOGLE_METADATA     "metadata.google.internal"
#define GOOGLE_TOKEN_TARGET "/computeMetadata/v1/instance/service-accounts/default/token"
#define GOOGLE_LIFE_S       3600

struct google_account { /* Texts live in the arena. */
    struct str email;
    struct str key_id; /* May be empty. */
    struct str key;    /* PEM, PKCS #8. */
    struct str token_uri;
    struct str project; /* May be empty. */
};

/* The JSON file of a service account. ERR_INVALID: it is none, or its token_uri is no https address
 * of this form (http is taken for loopback alone). ERR_NOMEM, ERR_TOO_LARGE. */
int google_read_account(struct str json, struct arena *arena,
                        struct google_account *out) MUST_CHECK;
/* "https://host/path" into "https://host" and "/path". */
int google_split_uri(struct str uri, struct str *out_origin, struct str *out_target) MUST_CHECK;
/* The body of the form that asks for a token, with an assertion of this time. ERR_INVALID: the key
 * is no RSA key. */
int google_print_grant(const struct google_account *account, int64_t now_s,
                       struct buf *out) MUST_CHECK;
/* {"access_token":...,"expires_in":3599,...}: the token, and its life in seconds. ERR_PROTOCOL. */
int google_read_token(struct str body, struct buf *out, int64_t *out_life_s) MUST_CHECK;

#endif
