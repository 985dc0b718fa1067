#include "controlplane/catalog/lint.h"

#include <assert.h>

#include "controlplane/catalog/compare.h"

#define NANO     INT64_C(1000000000)
/* USD per million tokens: nothing that is sold is beyond these today, and a price per token, per
 * thousand tokens or in cents taken for one per million is. */
#define DEAREST  (1000 * NANO)
#define CHEAPEST (NANO / 2000)

static const struct {
    const char *name, *text;
} words[CATALOG_SUSPICION_COUNT] = {
    [CATALOG_OUTPUT_BELOW_INPUT] = {"output_below_input", "output costs less than input"},
    [CATALOG_FREE] = {"free", "costs nothing"},
    [CATALOG_CACHED_ABOVE_INPUT] = {"cached_above_input",
                                    "input read from the cache costs more than fresh input"},
    [CATALOG_CACHE_WRITE_BELOW_INPUT] = {"cache_write_below_input",
                                         "writing to the cache costs less than input"},
    [CATALOG_HOUR_BELOW_MINUTES] = {"hour_below_minutes",
                                    "a cache entry for an hour costs less than a short one"},
    [CATALOG_REASONING_BELOW_OUTPUT] = {"reasoning_below_output",
                                        "reasoning costs less than output"},
    [CATALOG_TIER_BELOW_BASE] = {"tier_below_base", "larger prompts cost less"},
    [CATALOG_OUTPUT_ABOVE_CONTEXT] = {"output_above_context",
                                      "more output tokens than the context holds"},
    [CATALOG_UNIT] = {"unit", "so high or low that the unit seems mistaken"},
    [CATALOG_UNIT_1E3] = {"unit_1e3",
                          "off by about a thousand from the shipped price: per 1,000 tokens?"},
    [CATALOG_UNIT_1E6] = {"unit_1e6", "off by about a million from the shipped price: per token?"},
    [CATALOG_DIFFERS] = {"differs", "three times the shipped price or more, or a third or less"},
};

const char *catalog_suspicion_name(enum catalog_suspicion s)
{
    assert(s < CATALOG_SUSPICION_COUNT);
    return words[s].name;
}

const char *catalog_suspicion_text(enum catalog_suspicion s)
{
    assert(s < CATALOG_SUSPICION_COUNT);
    return words[s].text;
}

static uint32_t bit_if(bool holds, enum catalog_suspicion s)
{
    return holds ? 1U << s : 0;
}

static bool unit_seems_wrong(int64_t rate)
{
    return rate > DEAREST || (rate > 0 && rate < CHEAPEST);
}

static uint32_t lint_rates(const struct price_rates *r)
{
    uint32_t found = 0;
    found |= bit_if(r->output > 0 && r->output < r->input, CATALOG_OUTPUT_BELOW_INPUT);
    found |= bit_if(r->input == 0, CATALOG_FREE);
    found |= bit_if(r->cached_read > r->input, CATALOG_CACHED_ABOVE_INPUT);
    found |=
        bit_if(r->cache_write > 0 && r->cache_write < r->input, CATALOG_CACHE_WRITE_BELOW_INPUT);
    found |= bit_if(r->cache_write_1h >= 0 && r->cache_write_1h < r->cache_write,
                    CATALOG_HOUR_BELOW_MINUTES);
    found |= bit_if(r->reasoning >= 0 && r->reasoning < r->output, CATALOG_REASONING_BELOW_OUTPUT);
    found |= bit_if(unit_seems_wrong(r->input) || unit_seems_wrong(r->output), CATALOG_UNIT);
    return found;
}

/* Permille, within a quarter. */
static bool about(uint64_t factor, uint64_t times)
{
    return factor >= times * 750 && factor <= times * 1250;
}

static uint32_t lint_against(const struct price *price, const struct price *shipped)
{
    struct price a = {.base = shipped->base}, b = {.base = price->base};
    uint64_t factor = catalog_factor(&a, &b);
    if (about(factor, 1000))
        return 1U << CATALOG_UNIT_1E3;
    if (about(factor, 1000000))
        return 1U << CATALOG_UNIT_1E6;
    return bit_if(factor >= CATALOG_FACTOR_LARGE, CATALOG_DIFFERS);
}

uint32_t catalog_lint(const struct catalog_row *row, const struct catalog_row *shipped)
{
    const struct price *p = &row->price;
    uint32_t found = lint_rates(&p->base);
    for (uint32_t i = 0; i < p->tier_count; i++) {
        const struct price_rates *below = i == 0 ? &p->base : &p->tiers[i - 1].rates;
        const struct price_rates *tier = &p->tiers[i].rates;
        found |= lint_rates(tier);
        found |= bit_if(tier->input < below->input || tier->output < below->output,
                        CATALOG_TIER_BELOW_BASE);
    }
    found |=
        bit_if(row->context > 0 && row->max_output > row->context, CATALOG_OUTPUT_ABOVE_CONTEXT);
    if (shipped != NULL)
        found |= lint_against(p, &shipped->price);
    return found;
}
