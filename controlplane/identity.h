/* identity.h: the two secrets of a deployment, made at the first start and kept in the state
 * directory with mode 0600: hash.key (32 random bytes, from which the keys of features, draws,
 * decision ids and texts derive; it never enters Postgres) and operator.key (the admin API's). */
#ifndef STEELYARD_CONTROLPLANE_IDENTITY_H
#define STEELYARD_CONTROLPLANE_IDENTITY_H

#include "common/base/err.h"
#include "common/crypto/secret.h"
#include "controlplane/config/config.h"

/* Makes the directory, and hash.key in it when it is not there. key_file (may be NULL) is read
 * instead of hash.key and never made: 32 bytes, or 64 hex digits with or without a newline. */
int identity_load_keys(const char *state_dir, const char *key_file, struct config_keys *out_keys,
                       struct err *err) MUST_CHECK;
/* given NULL: operator.key of the directory, made when it is not there. */
int identity_load_operator(const char *state_dir, const char *given, struct secret **out_secret,
                           struct err *err) MUST_CHECK;

#endif
