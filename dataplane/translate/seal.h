/* seal.h: opaque values of vendors (signatures, encrypted reasoning) as callers hold them for us:
 * "sy1.<dialect>." before the value says who made it, so that it goes back to nobody else. It is a
 * label, not a proof: the vendor checks its own values. Pure. */
#ifndef STEELYARD_DATAPLANE_TRANSLATE_SEAL_H
#define STEELYARD_DATAPLANE_TRANSLATE_SEAL_H

#include "common/base/buf.h"
#include "common/hosts/hosts.h"

/* Room for the prefix of any dialect. */
#define TR_SEAL_BYTES_MAX 16U

struct str tr_seal_prefix(enum dialect vendor); /* "sy1.gemini."; static. */
/* Nothing for an empty value, and a value that is sealed already is left so. */
int tr_seal_put(struct buf *out, enum dialect vendor, struct str value) MUST_CHECK;
/* The value without its seal, and whose it is; DIALECTS and the value as it is: not ours. */
struct str tr_seal_take(struct str value, enum dialect *out_vendor);

#endif
