/* secret.h: a string that has no printer. Its pages are locked and kept out of core dumps where the
 * system allows, and erased when destroyed. Thread-safe to read. */
#ifndef STEELYARD_COMMON_CRYPTO_SECRET_H
#define STEELYARD_COMMON_CRYPTO_SECRET_H

#include "common/base/err.h"
#include "common/base/str.h"

struct secret;
struct secret *secret_create(struct str value); /* Copies; NULL: out of memory. */
void secret_destroy(struct secret *s);          /* NULL is allowed; erases. */
struct str secret_get(const struct secret *s);  /* Borrowed; NULL gives STR_NULL. */

/* Resolves "env:NAME" or "file:/path" (one trailing newline is cut). */
int secret_resolve(struct str reference, struct secret **out_secret, struct err *err) MUST_CHECK;

#endif
