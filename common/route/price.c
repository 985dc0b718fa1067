#include "common/route/price.h"

#include <stddef.h>

__extension__ typedef unsigned __int128 u128;

static bool rate_valid(int64_t rate)
{
    return rate == PRICE_UNKNOWN || (rate >= 0 && rate <= PRICE_RATE_MAX);
}

static bool rates_valid(const struct price_rates *r)
{
    return rate_valid(r->input) && rate_valid(r->output) && rate_valid(r->cached_read) &&
           rate_valid(r->cache_write) && rate_valid(r->cache_write_1h) && rate_valid(r->reasoning);
}

bool price_is_valid(const struct price *price)
{
    if (!rates_valid(&price->base) || price->tier_count > PRICE_TIERS_MAX)
        return false;
    uint64_t above = 0;
    for (uint32_t i = 0; i < price->tier_count; i++) {
        if (price->tiers[i].above <= above || !rates_valid(&price->tiers[i].rates))
            return false;
        above = price->tiers[i].above;
    }
    return true;
}

bool price_known(const struct price *price)
{
    if (price == NULL || price->base.input == PRICE_UNKNOWN ||
        price->base.output == PRICE_UNKNOWN || !price_is_valid(price))
        return false;
    for (uint32_t i = 0; i < price->tier_count; i++) {
        if (price->tiers[i].rates.input == PRICE_UNKNOWN ||
            price->tiers[i].rates.output == PRICE_UNKNOWN)
            return false;
    }
    return true;
}

/* --- what a rate that nobody published counts as -------------------------------------------------
 */

static int64_t dearer(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static int64_t read_rate(const struct price_rates *r)
{
    return r->cached_read != PRICE_UNKNOWN ? r->cached_read : r->input;
}

static int64_t write_rate(const struct price_rates *r)
{
    if (r->cache_write != PRICE_UNKNOWN)
        return r->cache_write;
    return r->input != PRICE_UNKNOWN ? 2 * r->input : PRICE_UNKNOWN;
}

static int64_t write_1h_rate(const struct price_rates *r)
{
    if (r->cache_write_1h != PRICE_UNKNOWN)
        return r->cache_write_1h;
    return r->input != PRICE_UNKNOWN ? dearer(2 * r->input, r->cache_write) : PRICE_UNKNOWN;
}

static int64_t reasoning_rate(const struct price_rates *r)
{
    return r->reasoning != PRICE_UNKNOWN ? r->reasoning : r->output;
}

/* --- exact costs ---------------------------------------------------------------------------------
 */

/* Adds tokens * rate; an unknown rate is an error only where there are tokens. The sum of six
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

static uint64_t all_input(const struct price_tokens *t)
{
    u128 all = (u128)t->input + t->cached_read + t->cache_write + t->cache_write_1h;
    return all > UINT64_MAX ? UINT64_MAX : (uint64_t)all;
}

static int total_input(const struct price_rates *r, const struct price_tokens *t, u128 *out_total)
{
    u128 total = 0;
    int rc = add_kind(t->input, r->input, &total);
    if (rc == 0)
        rc = add_kind(t->cached_read, read_rate(r), &total);
    if (rc == 0)
        rc = add_kind(t->cache_write, write_rate(r), &total);
    if (rc == 0)
        rc = add_kind(t->cache_write_1h, write_1h_rate(r), &total);
    if (rc == 0)
        *out_total = total;
    return rc;
}

static int round_up(u128 total, int64_t *out_cost_nanousd)
{
    total += PRICE_TOKENS_PER_UNIT - 1;
    /* Nearly every call fits in 64 bits, where the division is ten times cheaper. */
    u128 cost = total <= UINT64_MAX ? (uint64_t)total / PRICE_TOKENS_PER_UNIT
                                    : total / PRICE_TOKENS_PER_UNIT;
    if (cost > INT64_MAX)
        return ERR_OVERFLOW;
    *out_cost_nanousd = (int64_t)cost;
    return 0;
}

int price_cost(const struct price *price, const struct price_tokens *tokens,
               int64_t *out_cost_nanousd)
{
    u128 total = 0;
    if (!price_is_valid(price))
        return ERR_INVALID;
    const struct price_rates *r = price_rates_at(price, all_input(tokens));
    int rc = total_input(r, tokens, &total);
    if (rc == 0)
        rc = add_kind(tokens->output, r->output, &total);
    if (rc == 0)
        rc = add_kind(tokens->reasoning, reasoning_rate(r), &total);
    return rc == 0 ? round_up(total, out_cost_nanousd) : rc;
}

/* --- worst cases ---------------------------------------------------------------------------------
 */

/* What requests of at most tokens_in input tokens can meet in tier `i` (0: the base rates): the
 * most tokens there and the dearest rates. False: they cannot get there. Nothing says that a higher
 * tier is a dearer one, so each has to be looked at. */
struct worst {
    uint64_t tokens_in;
    int64_t in;
    int64_t out;
};

static bool worst_in_tier(const struct price *p, uint32_t i, uint64_t tokens_in,
                          struct worst *out_worst)
{
    if (i > p->tier_count || (i > 0 && tokens_in <= p->tiers[i - 1].above))
        return false;
    const struct price_rates *r = i == 0 ? &p->base : &p->tiers[i - 1].rates;
    uint64_t most = i < p->tier_count ? p->tiers[i].above : UINT64_MAX;
    *out_worst = (struct worst){
        .tokens_in = tokens_in < most ? tokens_in : most,
        .in = PRICE_UNKNOWN,
        .out = PRICE_UNKNOWN,
    };
    if (r->input != PRICE_UNKNOWN)
        out_worst->in =
            dearer(dearer(r->input, read_rate(r)), dearer(write_rate(r), write_1h_rate(r)));
    if (r->output != PRICE_UNKNOWN)
        out_worst->out = dearer(r->output, reasoning_rate(r));
    return true;
}

int price_worst(const struct price *price, uint64_t tokens_in, uint64_t tokens_out,
                int64_t *out_cost_nanousd)
{
    struct worst w;
    u128 most = 0;
    if (!price_is_valid(price))
        return ERR_INVALID;
    for (uint32_t i = 0; worst_in_tier(price, i, tokens_in, &w); i++) {
        u128 total = 0;
        int rc = add_kind(w.tokens_in, w.in, &total);
        if (rc == 0)
            rc = add_kind(tokens_out, w.out, &total);
        if (rc != 0)
            return rc;
        if (total > most)
            most = total;
    }
    return round_up(most, out_cost_nanousd);
}

/* (budget - used) / rate, down. */
static uint64_t output_within(u128 budget, u128 used, int64_t rate)
{
    if (used > budget)
        return 0;
    if (rate == 0)
        return UINT64_MAX;
    u128 tokens = (budget - used) / (uint64_t)rate;
    return tokens > UINT64_MAX ? UINT64_MAX : (uint64_t)tokens;
}

static u128 in_units(int64_t budget_nanousd)
{
    return budget_nanousd > 0 ? (u128)(uint64_t)budget_nanousd * PRICE_TOKENS_PER_UNIT : 0;
}

int price_worst_output(const struct price *price, uint64_t tokens_in, int64_t budget_nanousd,
                       uint64_t *out_tokens)
{
    struct worst w;
    uint64_t least = UINT64_MAX;
    if (!price_is_valid(price))
        return ERR_INVALID;
    for (uint32_t i = 0; worst_in_tier(price, i, tokens_in, &w); i++) {
        u128 used = 0;
        int rc = add_kind(w.tokens_in, w.in, &used);
        if (rc == 0 && w.out == PRICE_UNKNOWN)
            rc = ERR_NOT_FOUND;
        if (rc != 0)
            return rc;
        uint64_t tokens = output_within(in_units(budget_nanousd), used, w.out);
        if (tokens < least)
            least = tokens;
    }
    *out_tokens = least;
    return 0;
}

int price_affordable_output(const struct price *price, const struct price_tokens *input,
                            int64_t budget_nanousd, uint64_t *out_tokens)
{
    u128 used;
    if (!price_is_valid(price))
        return ERR_INVALID;
    const struct price_rates *r = price_rates_at(price, all_input(input));
    int rc = total_input(r, input, &used);
    if (rc == 0 && r->output == PRICE_UNKNOWN)
        rc = ERR_NOT_FOUND;
    if (rc != 0)
        return rc;
    *out_tokens =
        output_within(in_units(budget_nanousd), used, dearer(r->output, reasoning_rate(r)));
    return 0;
}
