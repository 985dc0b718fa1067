/* credential.h: one credential that may change while it is used: a text of at most
 * CREDENTIAL_BYTES_MAX with the time until which it holds. One thread writes (the control loop),
 * any number read, none of them waits: it is a sequence lock over words that are atomic by
 * themselves, so a reader that was overtaken copies again. Shared by reference count. */
#ifndef STEELYARD_DATAPLANE_CREDENTIAL_CREDENTIAL_H
#define STEELYARD_DATAPLANE_CREDENTIAL_CREDENTIAL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/base/arena.h"

#define CREDENTIAL_BYTES_MAX 8192U
#define CREDENTIAL_FOREVER   UINT64_MAX

struct credential;
struct credential *credential_create(void); /* Empty, one reference. NULL: out of memory. */
struct credential *credential_ref(struct credential *c);
void credential_unref(struct credential *c);           /* NULL is allowed; the last one erases. */
bool credential_is_shared(const struct credential *c); /* Others than the caller hold it. */

/* Writer. until_ms: of the monotonic clock. ERR_TOO_LARGE: it stays as it was. */
int credential_set(struct credential *c, struct str text, uint64_t until_ms) MUST_CHECK;

/* Readers. Is there one that holds now? */
bool credential_is_valid(const struct credential *c, uint64_t now_ms);
/* A copy in the arena. ERR_UNAUTHENTICATED: there is none, or it ran out. ERR_TOO_LARGE, as the
 * arena's ceiling; ERR_AGAIN: it is being written, over and over. */
int credential_get(const struct credential *c, uint64_t now_ms, struct arena *arena,
                   struct str *out) MUST_CHECK;

#endif
