/* google_key.h: a service account made up for a test, with a key of its own. */
#ifndef STEELYARD_TESTS_GOOGLE_KEY_H
#define STEELYARD_TESTS_GOOGLE_KEY_H

#include <openssl/evp.h>

#include "common/base/buf.h"

/* The account's JSON, appended to out; the key is the caller's (EVP_PKEY_free). */
EVP_PKEY *google_key_make(const char *token_uri, struct buf *out);

#endif
