/* prices.h: the small price table the project ships, for files that give no price. A price belongs
 * to a model at a host: the same name served elsewhere costs something else. Pure. */
#ifndef STEELYARD_CONTROLPLANE_CONFIG_PRICES_H
#define STEELYARD_CONTROLPLANE_CONFIG_PRICES_H

#include <stdint.h>

#include "common/base/str.h"

struct price_known { /* nano-USD per million tokens, -1: unknown. */
    const char *host;
    const char *model;
    int64_t input;
    int64_t output;
    int64_t cached_input;
    int64_t cache_write;
    uint32_t context_window; /* Tokens. */
    uint32_t max_output;
};

/* NULL: not known. */
const struct price_known *prices_find(struct str host, struct str model);
size_t prices_count(void);
const struct price_known *prices_at(size_t index);

#endif
