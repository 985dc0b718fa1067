/* builtin.h: the price table the project ships: builtin.csv, made into a constant at build. */
#ifndef STEELYARD_CONTROLPLANE_CATALOG_BUILTIN_H
#define STEELYARD_CONTROLPLANE_CATALOG_BUILTIN_H

#include "controlplane/catalog/rows.h"

/* Sorted; of its members only rows and count are set. */
extern const struct catalog_rows catalog_builtin;

#endif
