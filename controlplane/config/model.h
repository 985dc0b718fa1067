/* model.h: struct config, shared by the files of this room. Private. */
#ifndef STEELYARD_CONTROLPLANE_CONFIG_MODEL_H
#define STEELYARD_CONTROLPLANE_CONFIG_MODEL_H

#include "common/route/require.h"
#include "controlplane/config/prices.h"
#include "controlplane/config/table.h"

#define CONFIG_ROUTE_MODELS_MAX 64 /* As many as a decision can weigh. */
#define CONFIG_CONDITIONS_MAX   32 /* Of a route. */

struct config {
    struct arena_pool chunks;
    struct arena arena;
    struct root_config root;
};

/* "2026-11-01" -> unix microseconds of its first moment, UTC. ERR_INVALID. */
int config_parse_day(struct str day, int64_t *out_us) MUST_CHECK;
/* Prices that a model gives, ascending by day. ERR_INVALID: one is no price, or too many;
 * ERR_EXISTS: two from the same day. */
int config_model_prices(const struct model_config *m, struct price_fact out[PRICES_GIVEN_MAX],
                        size_t *out_count) MUST_CHECK;

/* REQUIRE_NOT_* bits. */
static inline uint32_t config_require_data(const struct require_config *q)
{
    return (q->data_collection != 0 ? (uint32_t)REQUIRE_NOT_COLLECTED : 0U) |
           (q->zdr ? (uint32_t)REQUIRE_NOT_KEPT : 0U);
}

#endif
