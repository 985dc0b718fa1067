#include "controlplane/catalog/compare.h"

__extension__ typedef unsigned __int128 u128;

static uint64_t factor(int64_t a, int64_t b)
{
    if (a == PRICE_UNKNOWN || b == PRICE_UNKNOWN || a == b)
        return 1000;
    if (a == 0 || b == 0)
        return CATALOG_FACTOR_INFINITE;
    uint64_t high = (uint64_t)(a > b ? a : b), low = (uint64_t)(a > b ? b : a);
    u128 permille = ((u128)high * 1000 + low - 1) / low;
    return permille > UINT64_MAX ? UINT64_MAX : (uint64_t)permille;
}

static void widen(uint64_t *io_most, uint64_t value)
{
    if (value > *io_most)
        *io_most = value;
}

static void compare_at(const struct price *old, const struct price *now, uint64_t tokens_in,
                       uint64_t *io_most)
{
    const struct price_rates *a = price_rates_at(old, tokens_in);
    const struct price_rates *b = price_rates_at(now, tokens_in);
    widen(io_most, factor(a->input, b->input));
    widen(io_most, factor(a->output, b->output));
    widen(io_most, factor(a->cached_read, b->cached_read));
    widen(io_most, factor(a->cache_write, b->cache_write));
    widen(io_most, factor(a->cache_write_1h, b->cache_write_1h));
    widen(io_most, factor(a->reasoning, b->reasoning));
}

uint64_t catalog_factor(const struct price *old, const struct price *now)
{
    uint64_t most = 1000;
    compare_at(old, now, 0, &most);
    for (uint32_t i = 0; i < old->tier_count; i++)
        compare_at(old, now, old->tiers[i].above + 1, &most);
    for (uint32_t i = 0; i < now->tier_count; i++)
        compare_at(old, now, now->tiers[i].above + 1, &most);
    return most;
}
