#include "common/route/way.h"

#include <string.h>

#include "common/base/err.h"

const char *way_name(uint32_t way)
{
    static const char *const names[] = {
#define X(name, text) text,
        WAY_TABLE(X)
#undef X
    };
    return way < WAYS ? names[way] : NULL;
}

int way_find(struct str name, enum way *out_way)
{
    static const struct {
        const char *name;
        enum way way;
    } aliases[] = {
        {"simple-shuffle", WAY_WEIGHTED},
        {"latency-based-routing", WAY_LOWEST_LATENCY},
        {"cost-based-routing", WAY_LOWEST_COST},
        {"usage-based-routing", WAY_USAGE_BASED},
        {"usage-based-routing-v2", WAY_USAGE_BASED},
    };
    for (uint32_t i = 0; i < WAYS; i++)
        if (str_is(name, way_name(i))) {
            *out_way = (enum way)i;
            return 0;
        }
    for (size_t i = 0; i < sizeof aliases / sizeof aliases[0]; i++)
        if (str_is(name, aliases[i].name)) {
            *out_way = aliases[i].way;
            return 0;
        }
    return ERR_NOT_FOUND;
}

/* Another 32 bits for each further place (the finalizer of MurmurHash3). */
static uint32_t next_draw(uint32_t draw)
{
    draw += UINT32_C(0x9e3779b9);
    draw = (draw ^ draw >> 16) * UINT32_C(0x85ebca6b);
    draw = (draw ^ draw >> 13) * UINT32_C(0xc2b2ae35);
    return draw ^ draw >> 16;
}

/* The best of those in `left`, all of them that are equal. */
static uint64_t equals(const struct way_input *in, const int64_t *measure, uint64_t left)
{
    uint32_t best = (uint32_t)__builtin_ctzll(left);
    uint64_t group = 0;
    for (uint64_t bits = left; bits != 0; bits &= bits - 1) {
        const uint32_t i = (uint32_t)__builtin_ctzll(bits);
        const struct way_candidate *c = &in->candidates[i], *b = &in->candidates[best];
        if (c->priority == b->priority && measure[i] == measure[best]) {
            group |= UINT64_C(1) << i;
        } else if (c->priority < b->priority ||
                   (c->priority == b->priority && measure[i] < measure[best])) {
            best = i;
            group = UINT64_C(1) << i;
        }
    }
    return group;
}

static uint64_t total_weight(const struct way_input *in, uint64_t group)
{
    uint64_t total = 0;
    for (uint64_t bits = group; bits != 0; bits &= bits - 1)
        total += in->candidates[__builtin_ctzll(bits)].weight;
    return total;
}

/* One of the group; where nobody has weight the first. */
static uint32_t pick(const struct way_input *in, uint64_t group, uint64_t total, uint32_t draw)
{
    const uint64_t at = total * draw >> 32; /* At most 64 * 10^6 * 2^32. */
    uint64_t passed = 0;
    for (uint64_t bits = group; bits != 0; bits &= bits - 1) {
        const uint32_t i = (uint32_t)__builtin_ctzll(bits);
        passed += in->candidates[i].weight;
        if (at < passed)
            return i;
    }
    return (uint32_t)__builtin_ctzll(group);
}

static void chances(const struct way_input *in, uint64_t group, uint64_t total, uint32_t *out_p)
{
    uint64_t left = UINT64_C(1) << 32;
    uint32_t first = UINT32_MAX;
    for (uint64_t bits = group; total != 0 && bits != 0; bits &= bits - 1) {
        const uint32_t i = (uint32_t)__builtin_ctzll(bits);
        const uint32_t weight = in->candidates[i].weight;
        if (weight == 0)
            continue;
        if (first == UINT32_MAX) {
            first = i;
            continue;
        }
        out_p[i] = (uint32_t)(((uint64_t)weight << 32) / total);
        left -= out_p[i];
    }
    if (first == UINT32_MAX) /* The first, whatever is drawn. */
        first = (uint32_t)__builtin_ctzll(group);
    out_p[first] = left > UINT32_MAX ? WAY_ALWAYS : (uint32_t)left;
}

uint32_t way_order(const struct way_input *in, const int64_t *measure, uint64_t open, uint32_t draw,
                   uint8_t *out_order, uint32_t *out_p)
{
    uint32_t count = 0;
    if (in->count < WAY_CANDIDATES_MAX)
        open &= (UINT64_C(1) << in->count) - 1;
    memset(out_p, 0, in->count * sizeof out_p[0]);
    for (uint64_t left = open; left != 0; draw = next_draw(draw)) {
        const uint64_t group = equals(in, measure, left);
        const uint64_t total = total_weight(in, group);
        if (count == 0)
            chances(in, group, total, out_p);
        const uint32_t i = pick(in, group, total, draw);
        out_order[count++] = (uint8_t)i;
        left &= ~(UINT64_C(1) << i);
    }
    return count;
}
