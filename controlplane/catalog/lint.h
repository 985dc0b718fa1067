/* lint.h: prices that are probably wrong. Suspicions, not errors: some are what the seller really
 * charges. Pure. */
#ifndef STEELYARD_CONTROLPLANE_CATALOG_LINT_H
#define STEELYARD_CONTROLPLANE_CATALOG_LINT_H

#include "controlplane/catalog/rows.h"

enum catalog_suspicion {
    CATALOG_OUTPUT_BELOW_INPUT,
    CATALOG_FREE, /* Input or both cost nothing. */
    CATALOG_CACHED_ABOVE_INPUT,
    CATALOG_CACHE_WRITE_BELOW_INPUT, /* And not 0. */
    CATALOG_HOUR_BELOW_MINUTES,      /* A 1-hour cache write below the short one. */
    CATALOG_REASONING_BELOW_OUTPUT,
    CATALOG_TIER_BELOW_BASE, /* Larger prompts cost less. */
    CATALOG_OUTPUT_ABOVE_CONTEXT,
    CATALOG_UNIT,     /* So high or low that a unit seems mistaken. */
    CATALOG_UNIT_1E3, /* A thousand times the shipped price, or its thousandth. */
    CATALOG_UNIT_1E6,
    CATALOG_DIFFERS, /* Three times the shipped price or a third of it. */
    CATALOG_SUSPICION_COUNT,
};

/* "output_below_input", and what it means for a person. Static. */
const char *catalog_suspicion_name(enum catalog_suspicion s);
const char *catalog_suspicion_text(enum catalog_suspicion s);

/* Bits 1 << enum catalog_suspicion. `shipped` is the row to compare with, or NULL. */
uint32_t catalog_lint(const struct catalog_row *row, const struct catalog_row *shipped);

#endif
