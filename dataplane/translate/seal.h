/* seal.h: opaque values of vendors (signatures, encrypted reasoning) as callers hold them for us:
 * "sy1.<dialect>-<maker>." before the value says who made it, so that it goes back to nobody else:
 * the dialect, and 8 hexadecimal digits that stand for the type of provider and the model there. It
 * is a label, not a proof: the vendor checks its own values. One without a maker ("sy1.<dialect>.")
 * is of anybody who speaks the dialect. Pure. */
#ifndef STEELYARD_DATAPLANE_TRANSLATE_SEAL_H
#define STEELYARD_DATAPLANE_TRANSLATE_SEAL_H

#include "common/base/buf.h"
#include "common/hosts/hosts.h"

/* Room for the prefix of any dialect. */
#define TR_SEAL_BYTES_MAX 24U

/* Who makes values that nobody else can use: this model at hosts of this type; where they are bound
 * to an account (the Responses dialect), at this provider alone. Never 0, which stands for nobody
 * in particular. */
uint32_t tr_seal_maker(enum dialect vendor, struct str type, struct str provider, struct str model);
/* "sy1.gemini-01ab23cd."; in room. */
struct str tr_seal_prefix(enum dialect vendor, uint32_t maker, char room[TR_SEAL_BYTES_MAX]);
/* The value without its seal, and whose it is; DIALECTS and the value as it is: not ours. */
struct str tr_seal_take(struct str value, enum dialect *out_vendor, uint32_t *out_maker);
/* Does a value of this maker go to that one? */
static inline bool tr_seal_fits(uint32_t maker, uint32_t target)
{
    return maker == 0 || maker == target;
}

#endif
