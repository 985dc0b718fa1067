/* price.h: tokens to integer nano-dollars (1e-9 USD), overflow-checked.
 *
 * A rate is int64 nano-USD per million tokens, so $0.075 a million is 75,000,000 and the smallest
 * rate is 1e-15 USD a token. A cost is the exact sum over the kinds of tokens, rounded up once to a
 * whole nano-USD. An unknown rate is PRICE_UNKNOWN, never 0: free and unknown are not the same.
 *
 * A price may have tiers by context size, as Google and Anthropic publish them: with more input
 * tokens than a tier's `above` (all kinds of input counted) the whole request, output included, is
 * charged at that tier's rates. Pure; thread-safe. */
#ifndef STEELYARD_COMMON_ROUTE_PRICE_H
#define STEELYARD_COMMON_ROUTE_PRICE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/err.h"

#define PRICE_UNKNOWN         INT64_C(-1)
#define PRICE_TOKENS_PER_UNIT 1000000
#define PRICE_RATE_MAX        INT64_C(1000000000000000) /* 1e6 USD a million tokens. */
#define PRICE_TIERS_MAX       4
#define PRICE_RATES_UNKNOWN                                                                        \
    {                                                                                              \
        PRICE_UNKNOWN, PRICE_UNKNOWN, PRICE_UNKNOWN, PRICE_UNKNOWN, PRICE_UNKNOWN, PRICE_UNKNOWN   \
    }
#define PRICE_UNKNOWN_ALL ((struct price){.base = PRICE_RATES_UNKNOWN})

struct price_rates { /* nano-USD per million tokens, or PRICE_UNKNOWN. */
    int64_t input;
    int64_t output;
    int64_t cached_read; /* Unknown: counts as input. */
    int64_t cache_write; /* Kept 5 minutes, or as long as the provider keeps it. Unknown: counts
                          * as twice the input (the dearest published multiple). */
    int64_t
        cache_write_1h; /* Kept an hour. Unknown: twice the input, or as cache_write if dearer. */
    int64_t reasoning;  /* Unknown: counts as output, as nearly all providers bill it. */
};

struct price_tier {
    uint64_t above; /* Holds from above + 1 input tokens on. */
    struct price_rates rates;
};

struct price {
    struct price_rates base;
    uint32_t tier_count;
    struct price_tier tiers[PRICE_TIERS_MAX]; /* above ascending, at least 1. */
};

/* Disjoint kinds: input holds no cached tokens, output no reasoning. */
struct price_tokens {
    uint64_t input;
    uint64_t output;
    uint64_t cached_read;
    uint64_t cache_write;
    uint64_t reasoning;
    uint64_t cache_write_1h;
};

/* Each rate unknown or 0..PRICE_RATE_MAX, tiers ascending. */
bool price_is_valid(const struct price *price);
/* Input and output have a rate in every tier: any request can be priced. NULL: no. Who is held to a
 * budget must be refused a model for which this is false. */
bool price_known(const struct price *price);
/* The rates for a request with so many input tokens, of all kinds. */
static inline const struct price_rates *price_rates_at(const struct price *price,
                                                       uint64_t tokens_in)
{
    const struct price_rates *rates = &price->base;
    for (uint32_t i = 0; i < price->tier_count && tokens_in > price->tiers[i].above; i++)
        rates = &price->tiers[i].rates;
    return rates;
}

/* ERR_NOT_FOUND: a kind with tokens has no rate (nothing is assumed to be free); ERR_OVERFLOW;
 * ERR_INVALID: a rate out of range. */
int price_cost(const struct price *price, const struct price_tokens *tokens,
               int64_t *out_cost_nanousd) MUST_CHECK;

/* The most that a request with at most tokens_in input tokens and at most tokens_out output tokens
 * can cost, whatever their kinds: what to reserve. Rises with both. Errors as price_cost. */
int price_worst(const struct price *price, uint64_t tokens_in, uint64_t tokens_out,
                int64_t *out_cost_nanousd) MUST_CHECK;
/* Largest output whose price_worst is within the budget; 0 if even the input is not (ask
 * price_worst with 0 to tell this from an output of 0); UINT64_MAX if output is free. */
int price_worst_output(const struct price *price, uint64_t tokens_in, int64_t budget_nanousd,
                       uint64_t *out_tokens) MUST_CHECK;
/* The same where the kinds of input are known: (budget - input cost) / the dearer of the output
 * rates, rounded down so that price_cost of the result never exceeds the budget. 0 if even the
 * input does not fit; UINT64_MAX if output is free. Output in `input` is ignored. Errors as
 * price_cost. */
int price_affordable_output(const struct price *price, const struct price_tokens *input,
                            int64_t budget_nanousd, uint64_t *out_tokens) MUST_CHECK;

#endif
