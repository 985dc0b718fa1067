/* price.h: tokens to integer nano-dollars (1e-9 USD), overflow-checked.
 *
 * A rate is int64 nano-USD per million tokens, so $0.075 a million is 75,000,000 and the smallest
 * rate is 1e-15 USD a token. A cost is the exact sum over the kinds of tokens, rounded up once to a
 * whole nano-USD. An unknown rate is PRICE_UNKNOWN, never 0: free and unknown are not the same.
 * Pure; thread-safe. */
#ifndef STEELYARD_COMMON_ROUTE_PRICE_H
#define STEELYARD_COMMON_ROUTE_PRICE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/err.h"

#define PRICE_UNKNOWN         INT64_C(-1)
#define PRICE_TOKENS_PER_UNIT 1000000
#define PRICE_RATE_MAX        INT64_C(1000000000000000) /* 1e6 USD a million tokens. */
#define PRICE_UNKNOWN_ALL                                                                          \
    ((struct price){PRICE_UNKNOWN, PRICE_UNKNOWN, PRICE_UNKNOWN, PRICE_UNKNOWN, PRICE_UNKNOWN})

struct price { /* nano-USD per million tokens, or PRICE_UNKNOWN. */
    int64_t input;
    int64_t output;
    int64_t cached_read; /* Unknown: counts as input. */
    int64_t cache_write; /* Unknown: counts as twice the input (the dearest published multiple). */
    int64_t reasoning;   /* Unknown: counts as output, as all providers bill it today. */
};

struct price_tokens { /* Disjoint kinds: input holds no cached tokens, output no reasoning. */
    uint64_t input;
    uint64_t output;
    uint64_t cached_read;
    uint64_t cache_write;
    uint64_t reasoning;
};

bool price_is_valid(const struct price *price); /* Each rate unknown or 0..PRICE_RATE_MAX. */
/* ERR_NOT_FOUND: a kind with tokens has no rate (nothing is assumed to be free); ERR_OVERFLOW;
 * ERR_INVALID: a rate out of range. */
int price_cost(const struct price *price, const struct price_tokens *tokens,
               int64_t *out_cost_nanousd) MUST_CHECK;
/* Largest output that fits: (budget - input cost) / output rate, rounded down so that price_cost of
 * the result never exceeds the budget. 0 if even the input does not fit; UINT64_MAX if output is
 * free. Errors as price_cost. */
int price_affordable_output(const struct price *price, const struct price_tokens *input,
                            int64_t budget_nanousd, uint64_t *out_tokens) MUST_CHECK;

#endif
