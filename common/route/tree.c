#include "common/route/tree.h"

#include <string.h>

#include "common/route/way.h"

#define STEPS_MAX 1024U
#define STACK_MAX (TREE_DEPTH_MAX * TREE_MEMBERS_MAX + 1)

static bool members_valid(const struct tree *t, const struct tree_target *target)
{
    if (target->count == 0 || target->count > TREE_MEMBERS_MAX)
        return false;
    for (uint32_t i = 0; i < target->count; i++)
        if (target->members[i].what >= t->models + t->count ||
            target->members[i].weight > WAY_WEIGHT_MAX)
            return false;
    return true;
}

/* One more than the deepest member, as far as is known. */
static uint32_t depth_of(const struct tree *t, const struct tree_target *target,
                         const uint32_t *depth)
{
    uint32_t deepest = 0;
    for (uint32_t i = 0; i < target->count; i++) {
        const uint32_t what = target->members[i].what;
        if (what >= t->models && depth[what - t->models] > deepest)
            deepest = depth[what - t->models];
    }
    return deepest + 1;
}

bool tree_valid(const struct tree *t)
{
    uint32_t depth[TREE_TARGETS_MAX] = {0};
    if (t->models == 0 || t->models > WAY_CANDIDATES_MAX || t->count > TREE_TARGETS_MAX)
        return false;
    for (uint32_t i = 0; i < t->count; i++)
        if (!members_valid(t, &t->targets[i]))
            return false;
    /* Each round finds what is one deeper; what contains itself never ends. */
    for (uint32_t round = 0; round <= TREE_DEPTH_MAX; round++) {
        bool changed = false;
        for (uint32_t i = 0; i < t->count; i++) {
            const uint32_t d = depth_of(t, &t->targets[i], depth);
            changed = changed || d != depth[i];
            depth[i] = d;
        }
        if (!changed)
            break;
    }
    for (uint32_t i = 0; i < t->count; i++)
        if (depth[i] > TREE_DEPTH_MAX)
            return false;
    return true;
}

/* splitmix64 (Steele, Lea and Flood, 2014). */
static uint32_t draw_of(uint64_t seed, uint32_t step)
{
    uint64_t z = seed + UINT64_C(0x9e3779b97f4a7c15) * (step + UINT64_C(1));
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return (uint32_t)((z ^ z >> 31) >> 32);
}

static void order_members(const struct tree_target *target, uint32_t draw, uint8_t *out)
{
    static const int64_t equal[TREE_MEMBERS_MAX];
    struct way_input in = {.way = WAY_WEIGHTED, .count = target->count};
    uint32_t p[TREE_MEMBERS_MAX];
    for (uint32_t i = 0; i < target->count; i++) {
        out[i] = (uint8_t)i;
        in.candidates[i].weight = target->members[i].weight;
    }
    if (target->balance)
        (void)way_order(&in, equal, UINT64_MAX, draw, out, p);
}

uint32_t tree_order(const struct tree *t, uint32_t what, uint64_t seed, uint8_t *out_order)
{
    uint32_t stack[STACK_MAX];
    uint32_t depth = 0, count = 0;
    uint64_t seen = 0;
    stack[depth++] = what;
    for (uint32_t step = 0; depth > 0 && step < STEPS_MAX; step++) {
        const uint32_t top = stack[--depth];
        uint8_t order[TREE_MEMBERS_MAX];
        if (top < t->models) {
            if ((seen >> top & 1) == 0)
                out_order[count++] = (uint8_t)top;
            seen |= UINT64_C(1) << top;
            continue;
        }
        const struct tree_target *target = &t->targets[top - t->models];
        order_members(target, draw_of(seed, step), order);
        for (uint32_t i = target->count; i > 0 && depth < STACK_MAX; i--)
            stack[depth++] = target->members[order[i - 1]].what;
    }
    return count;
}
