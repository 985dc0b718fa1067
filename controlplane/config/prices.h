/* prices.h: which price holds when, for a model at a provider, and its form in the Prices resource.
 * The configuration wins over what was imported, which wins over the shipped table. Pure. */
#ifndef STEELYARD_CONTROLPLANE_CONFIG_PRICES_H
#define STEELYARD_CONTROLPLANE_CONFIG_PRICES_H

#include "common/base/arena.h"
#include "common/route/price.h"
#include "control.pb-c.h"
#include "controlplane/catalog/rows.h"

#define PRICES_PER_MODEL_MAX 16 /* As a node takes. */
#define PRICES_GIVEN_MAX     8  /* Of these, in the configuration. */
#define PRICES_IMPORTED_MAX  7

struct price_fact {
    struct price price;
    int64_t valid_from_us; /* Holds from then on, until the next one. */
    Steelyard__Control__V1__PriceSource source;
    struct str facts; /* "models.dev 2026-07-02"; may be empty. */
};

/* The seller of a provider's models, in the names of the catalogue; STR_NULL: not known. */
struct str prices_vendor(struct str base_url, struct str named);
/* The shipped row; NULL: none. */
const struct catalog_row *prices_shipped(struct str vendor, struct str model);

/* What holds when: `given` and `imported` (each ascending by valid_from, the newest of them at most
 * PRICES_GIVEN_MAX and PRICES_IMPORTED_MAX) and the shipped row (may be NULL), which holds before
 * anything else does. From the first given one on only the given ones count. Returns how many, in
 * ascending order; their texts are borrowed. */
size_t prices_merge(const struct price_fact *given, size_t given_count,
                    const struct price_fact *imported, size_t imported_count,
                    const struct catalog_row *shipped, struct price_fact out[PRICES_PER_MODEL_MAX]);

/* The row of the resource. Tiers and texts lie in the arena. ERR_NOMEM. */
int prices_write(struct arena *a, struct str provider, struct str model,
                 const struct price_fact *fact, Steelyard__Control__V1__Price *out) MUST_CHECK;
/* facts is borrowed. False: no valid price. */
bool prices_read(const Steelyard__Control__V1__Price *row, struct price_fact *out);
/* Made of the content: the same price has the same id, a changed one another. Never 0, fits a
 * signed column. */
uint64_t prices_id(const Steelyard__Control__V1__Price *row);

#endif
