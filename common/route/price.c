#include "common/route/price.h"

#include <stddef.h>

__extension__ typedef unsigned __int128 u128;

static bool rate_valid(int64_t rate)
{
    return rate == PRICE_UNKNOWN || (rate >= 0 && rate <= PRICE_RATE_MAX);
}

bool price_is_valid(const struct price *price)
{
    return rate_valid(price->input) && rate_valid(price->output) &&
           rate_valid(price->cached_read) && rate_valid(price->cache_write) &&
           rate_valid(price->reasoning);
}

/* Adds tokens * rate; an unknown rate is an error only where there are tokens. The sum of five
 * kinds stays below 2^118: 64 bits of tokens, at most 2 * 2^50 of rate. */
static int add_kind(uint64_t tokens, int64_t rate, u128 *io_total)
{
    if (tokens == 0)
        return 0;
    if (rate == PRICE_UNKNOWN)
        return ERR_NOT_FOUND;
    *io_total += (u128)tokens * (uint64_t)rate;
    return 0;
}

static int total_input(const struct price *p, const struct price_tokens *t, u128 *out_total)
{
    int64_t read = p->cached_read != PRICE_UNKNOWN ? p->cached_read : p->input;
    int64_t write = p->cache_write;
    if (write == PRICE_UNKNOWN && p->input != PRICE_UNKNOWN)
        write = 2 * p->input;
    u128 total = 0;
    if (!price_is_valid(p))
        return ERR_INVALID;
    int rc = add_kind(t->input, p->input, &total);
    if (rc == 0)
        rc = add_kind(t->cached_read, read, &total);
    if (rc == 0)
        rc = add_kind(t->cache_write, write, &total);
    if (rc == 0)
        *out_total = total;
    return rc;
}

int price_cost(const struct price *price, const struct price_tokens *tokens,
               int64_t *out_cost_nanousd)
{
    u128 total;
    int rc = total_input(price, tokens, &total);
    if (rc == 0)
        rc = add_kind(tokens->output, price->output, &total);
    if (rc == 0)
        rc = add_kind(tokens->reasoning,
                      price->reasoning != PRICE_UNKNOWN ? price->reasoning : price->output, &total);
    if (rc != 0)
        return rc;
    total += PRICE_TOKENS_PER_UNIT - 1;
    /* Nearly every call fits in 64 bits, where the division is ten times cheaper. */
    u128 cost = total <= UINT64_MAX ? (uint64_t)total / PRICE_TOKENS_PER_UNIT
                                    : total / PRICE_TOKENS_PER_UNIT;
    if (cost > INT64_MAX)
        return ERR_OVERFLOW;
    *out_cost_nanousd = (int64_t)cost;
    return 0;
}

int price_affordable_output(const struct price *price, const struct price_tokens *input,
                            int64_t budget_nanousd, uint64_t *out_tokens)
{
    u128 used;
    int rc = total_input(price, input, &used);
    if (rc != 0)
        return rc;
    if (price->output == PRICE_UNKNOWN)
        return ERR_NOT_FOUND;
    u128 budget = budget_nanousd > 0 ? (u128)(uint64_t)budget_nanousd * PRICE_TOKENS_PER_UNIT : 0;
    if (used > budget) {
        *out_tokens = 0;
    } else if (price->output == 0) {
        *out_tokens = UINT64_MAX;
    } else {
        u128 tokens = (budget - used) / (uint64_t)price->output;
        *out_tokens = tokens > UINT64_MAX ? UINT64_MAX : (uint64_t)tokens;
    }
    return 0;
}
