/* compare.h: what an import would change. Pure. */
#ifndef STEELYARD_CONTROLPLANE_CATALOG_COMPARE_H
#define STEELYARD_CONTROLPLANE_CATALOG_COMPARE_H

#include "common/route/price.h"

#define CATALOG_FACTOR_INFINITE UINT64_MAX
#define CATALOG_FACTOR_LARGE    3000 /* Permille: what needs to be accepted explicitly. */

/* The largest factor, either way, between two known rates of the same kind, in permille rounded up:
 * 1000 is "nothing changed", 2500 "two and a half times, up or down". From or to free is infinite.
 * Compares the base rates and what holds at each size that either price names; a rate that only one
 * of them knows is not compared. */
uint64_t catalog_factor(const struct price *old, const struct price *now);

#endif
